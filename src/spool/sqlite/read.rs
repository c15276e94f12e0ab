//! The verbs that only read, as SQL. Each runs on a reader's own connection.

use std::collections::HashMap;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, MAIN_DB, OptionalExtension, Row, params, params_from_iter};

use super::super::store::{
    LogRow, LoggedEvent, MessageRecord, Names, OfLate, Pair, Recent, RecipientId, StoreError, Told,
    Waiting, WaitingFilter, WaitingGroup, WaitingOrder, Window,
};
use super::members;
use crate::mail::{
    Address, Attachment, ByMode, Content, DeliverBy, FileType, Priority, Reference, RoomId, Terms,
    Timestamp, Waiver, Wishes, reply,
};

/// The columns of a [`Waiting`], in the order that [`to_waiting`] reads them.
const WAITING: &str = "SELECT r.reference, r.number, r.address, r.room, r.state, r.attempts,
        m.accepted_at, r.next_attempt_at, r.last_reply, m.sender, m.sender_room, m.smtputf8,
        m.eight_bit, m.size, m.subject, m.message_id, coalesce(r.waits_since, m.accepted_at),
        r.told, r.notify, r.original, r.priority, m.require_tls, m.deliver_by, m.deliver_by_mode,
        m.ret, m.envelope_id, r.doubtful, r.start, r.of_late, m.client = '',
        r.state IN ('held', 'cancelled') AND (
            EXISTS (SELECT 1 FROM scan s WHERE s.reference = r.reference)
            OR EXISTS (SELECT 1 FROM quarantine q WHERE q.reference = r.reference)),
        r.waiver
    FROM recipient r JOIN message m ON m.reference = r.reference";

/// What waits for one room with one priority.
#[derive(Debug)]
pub(super) struct WaitingLane {
    pub(super) room: String,
    pub(super) priority: i8,
}

/// The lanes in which something waits, the most urgent first, found by skipping through the index:
/// to the next priority of the same room, or else to the next room.
pub(super) fn waiting_lanes(connection: &Connection) -> Result<Vec<WaitingLane>, StoreError> {
    let mut same_room = connection.prepare_cached(
        "SELECT room, priority FROM recipient INDEXED BY recipient_waiting
         WHERE finished_at IS NULL AND room = ?1 AND priority > ?2 ORDER BY priority LIMIT 1",
    )?;
    let mut next_room = connection.prepare_cached(
        "SELECT room, priority FROM recipient INDEXED BY recipient_waiting
         WHERE finished_at IS NULL AND room > ?1 ORDER BY room, priority LIMIT 1",
    )?;
    let to_lane = |row: &Row<'_>| {
        Ok(WaitingLane {
            room: row.get(0)?,
            priority: row.get(1)?,
        })
    };
    let mut lanes: Vec<WaitingLane> = Vec::new();
    loop {
        let last = lanes.last();
        let (room, priority) = last.map_or(("", i8::MIN), |it| (&it.room, it.priority));
        let next = same_room
            .query_row(params![room, priority], to_lane)
            .optional()?;
        let next = match next {
            None => next_room.query_row([room], to_lane).optional()?,
            found => found,
        };
        match next {
            Some(lane) => lanes.push(lane),
            None => break,
        }
    }
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.priority));
    Ok(lanes)
}

/// Reads no more than the index of what waits, however long the log is.
pub(super) fn waiting_after(
    connection: &Connection,
    after: Option<RecipientId>,
    last: Reference,
    limit: usize,
) -> Result<Vec<RecipientId>, StoreError> {
    let after = after.map_or((-1, 0), |id| (id.reference.number() as i64, id.number));
    let mut statement = connection.prepare_cached(
        "SELECT reference, number FROM recipient INDEXED BY recipient_waiting
         WHERE finished_at IS NULL AND (reference, number) > (?1, ?2) AND reference <= ?3
         ORDER BY reference, number LIMIT ?4",
    )?;
    let ids = statement.query_map(
        params![after.0, after.1, last.number() as i64, limit as i64],
        recipient_id,
    )?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn to_look_at(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING} WHERE r.look_at <= ?1 ORDER BY r.look_at LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![now.as_millis(), limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(readable(row));
    }
    Ok(found)
}

/// What was let through by any other exception than these, and is queued or deferred still.
pub(super) fn waived(
    connection: &Connection,
    in_force: &[u64],
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let numbers =
        serde_json::to_string(in_force).map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING} WHERE r.waiver > 0 AND r.finished_at IS NULL
             AND r.waiver NOT IN (SELECT value FROM json_each(?1))
             AND r.state IN ('queued', 'deferred')
         ORDER BY r.reference, r.number LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![numbers, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(readable(row));
    }
    Ok(found)
}

pub(super) fn due_in_lane(
    connection: &Connection,
    lane: &WaitingLane,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING} WHERE r.room = ?1 AND r.priority = ?2 AND r.finished_at IS NULL
             AND r.due_at <= ?3 ORDER BY r.due_at LIMIT ?4"
    ))?;
    let mut rows = statement.query(params![
        lane.room,
        lane.priority,
        now.as_millis(),
        limit as i64
    ])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.extend(readable(row));
    }
    Ok(due)
}

pub(super) fn content(
    connection: &Connection,
    reference: Reference,
) -> Result<Option<Content>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT trace, bytes FROM content WHERE reference = ?1")?
        .query_row([reference.number() as i64], |row| {
            Ok(Content {
                trace: row.get::<_, Vec<u8>>(0)?.into(),
                bytes: row.get::<_, Vec<u8>>(1)?.into(),
            })
        })
        .optional()?)
}

/// Reads no more of a large message than is asked for.
pub(super) fn beginning(
    connection: &Connection,
    reference: Reference,
    octets: usize,
) -> Result<Option<Content>, StoreError> {
    let row = reference.number() as i64;
    let mut is_there = connection.prepare_cached("SELECT 1 FROM content WHERE reference = ?1")?;
    if !is_there.exists([row])? {
        return Ok(None);
    }
    let first = |column: &str| -> rusqlite::Result<_> {
        let blob = connection.blob_open(MAIN_DB, "content", column, row, true)?;
        let mut bytes = vec![0; octets.min(blob.len())];
        blob.read_at_exact(&mut bytes, 0)?;
        Ok(bytes.into())
    };
    Ok(Some(Content {
        trace: first("trace")?,
        bytes: first("bytes")?,
    }))
}

pub(super) fn message(
    connection: &Connection,
    reference: Reference,
) -> Result<Option<MessageRecord>, StoreError> {
    let recipients = recipients_of(connection, reference)?;
    let attachments = files_of(connection, reference)?;
    let mut statement = connection.prepare_cached(
        "SELECT accepted_at, sender, sender_room, client, size, subject, message_id
             FROM message WHERE reference = ?1",
    )?;
    let mut rows = statement.query([reference.number() as i64])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(MessageRecord {
        reference,
        accepted_at: Timestamp::from_millis(row.get(0)?),
        sender: row
            .get::<_, Option<String>>(1)?
            .map(|text| to_address(&text))
            .transpose()?,
        sender_room: row.get::<_, Option<String>>(2)?.map(|id| RoomId::new(&id)),
        client: row.get(3)?,
        size: row.get::<_, i64>(4)?.unsigned_abs(),
        subject: row.get(5)?,
        message_id: row.get(6)?,
        attachments,
        recipients,
    }))
}

fn recipients_of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING} WHERE r.reference = ?1 ORDER BY r.number"
    ))?;
    let mut rows = statement.query([reference.number() as i64])?;
    let mut recipients = Vec::new();
    while let Some(row) = rows.next()? {
        recipients.push(to_waiting(row)?);
    }
    Ok(recipients)
}

/// Attachments, and what is inside of them.
pub(super) fn files_of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<Attachment>, StoreError> {
    let mut files = attachments_of(connection, reference)?;
    files.extend(members::of(connection, reference)?);
    Ok(files)
}

pub(super) fn names_of(
    connection: &Connection,
    references: &[Reference],
) -> Result<HashMap<Reference, Names>, StoreError> {
    let mut subject = connection.prepare_cached(
        "SELECT coalesce((SELECT subject FROM message WHERE reference = ?1),
             (SELECT subject FROM refusal WHERE reference = ?1 AND subject IS NOT NULL))",
    )?;
    let mut all = HashMap::new();
    for reference in references {
        let names = Names {
            subject: subject.query_row([reference.number() as i64], |row| row.get(0))?,
            files: files_of(connection, *reference)?,
        };
        if names != Names::default() {
            all.insert(*reference, names);
        }
    }
    Ok(all)
}

pub(super) fn attachments_of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<Attachment>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, size, sha256, kind FROM attachment WHERE reference = ?1 ORDER BY number",
    )?;
    let attachments = statement.query_map([reference.number() as i64], |row| {
        Ok(Attachment {
            name: row.get(0)?,
            within: None,
            size: Some(row.get::<_, i64>(1)?.unsigned_abs()),
            sha256: Some(row.get(2)?),
            kind: file_type(row.get::<_, Option<String>>(3)?.as_deref()),
        })
    })?;
    Ok(attachments.collect::<Result<_, _>>()?)
}

/// A word that a newer relay wrote is unknown to this one.
pub(super) fn file_type(word: Option<&str>) -> FileType {
    word.and_then(|it| it.parse().ok())
        .unwrap_or(FileType::Unknown)
}

/// From the index of what waits, however much the log remembers.
pub(super) fn waiting_ids(
    connection: &Connection,
    filter: &WaitingFilter,
    order: WaitingOrder,
    limit: usize,
) -> Result<Vec<RecipientId>, StoreError> {
    let (source, mut terms) = meant(filter);
    let condition = terms.condition();
    let order = match order {
        WaitingOrder::Age => "reference, number",
        WaitingOrder::Room => "room, reference, number",
        WaitingOrder::Reason => "last_reply, reference, number",
        WaitingOrder::Next => "due_at IS NULL, next_attempt_at, reference, number",
    };
    let sql =
        format!("SELECT reference, number FROM {source} {condition} ORDER BY {order} LIMIT ?");
    terms
        .values
        .push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare_cached(&sql)?;
    let ids = statement.query_map(params_from_iter(terms.values), recipient_id)?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The acceptance by today's clock.
const SINCE: &str = "coalesce(waits_since, (SELECT accepted_at FROM message m
        WHERE m.reference = recipient.reference))";

/// Where what a filter means is looked for, and on what conditions.
fn meant(filter: &WaitingFilter) -> (&'static str, Conditions) {
    let mut terms = Conditions::default();
    terms.conditions.push("finished_at IS NULL".to_owned());
    if let Some(room) = &filter.room {
        terms.push("room = ?", Value::Text(room.as_str().to_owned()));
    }
    match filter.state {
        Some(state) => terms.push("state = ?", Value::Text(state.word().to_owned())),
        // What was caught waits for nothing.
        None => terms.conditions.push("state <> 'quarantined'".to_owned()),
    }
    if let Some(before) = filter.since_before {
        terms.push(format!("{SINCE} < ?"), Value::Integer(before.as_millis()));
    }
    if let Some(reason) = &filter.reason {
        terms.push("holds(last_reply, ?)", lower(reason));
    }
    if filter.references.is_empty() {
        return ("recipient INDEXED BY recipient_waiting", terms);
    }
    let places = vec!["?"; filter.references.len()].join(", ");
    terms.conditions.push(format!("reference IN ({places})"));
    let numbers = filter.references.iter().map(|it| it.number() as i64);
    terms.values.extend(numbers.map(Value::Integer));
    ("recipient", terms)
}

/// One pass over what waits, in the order of the index. References grow with time, so the smallest
/// of a group is its oldest.
pub(super) fn waiting_groups(
    connection: &Connection,
    filter: &WaitingFilter,
) -> Result<Vec<WaitingGroup>, StoreError> {
    let (source, terms) = meant(filter);
    let condition = terms.condition();
    let sql = format!(
        "SELECT room, state, coalesce(last_reply, ''), reference, number, next_attempt_at
         FROM {source} {condition}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(terms.values))?;
    let mut sums = Sums::default();
    while let Some(row) = rows.next()? {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let (room, state, reply) = (text(0)?, text(1)?, text(2)?);
        let key = (row.get(3)?, row.get(4)?);
        sums.add([room, state, reply], key, row.get(5)?);
    }
    sums.groups(connection)
}

/// What waits, summed up by room, state and reason.
#[derive(Default)]
struct Sums {
    places: HashMap<[String; 3], usize>,
    sums: Vec<Sum>,
    /// The words of the row before, and its place: many that wait for one room say the same.
    last: Option<([String; 3], usize)>,
}

struct Sum {
    count: u64,
    /// Reference and number.
    oldest: (i64, u32),
    next: i64,
}

impl Sums {
    fn add(&mut self, words: [&str; 3], key: (i64, u32), next: i64) {
        let place = self.place(words);
        if let Some(sum) = self.sums.get_mut(place) {
            sum.count += 1;
            sum.oldest = sum.oldest.min(key);
            sum.next = sum.next.min(next);
        }
    }

    fn place(&mut self, words: [&str; 3]) -> usize {
        if let Some((last, place)) = &self.last
            && *last == words
        {
            return *place;
        }
        let [room, state, reply] = words;
        let key = [room.to_owned(), state.to_owned(), reply::gist(reply)];
        let place = *self.places.entry(key).or_insert_with(|| {
            self.sums.push(Sum {
                count: 0,
                oldest: (i64::MAX, u32::MAX),
                next: i64::MAX,
            });
            self.sums.len() - 1
        });
        self.last = Some((words.map(str::to_owned), place));
        place
    }

    fn groups(self, connection: &Connection) -> Result<Vec<WaitingGroup>, StoreError> {
        let mut since = connection.prepare_cached(&format!(
            "SELECT min({SINCE}) FROM recipient WHERE reference = ?1 AND finished_at IS NULL"
        ))?;
        let mut groups = Vec::with_capacity(self.places.len());
        for ([room, state, reason], place) in self.places {
            let Some(sum) = self.sums.get(place) else {
                continue;
            };
            let (reference, number) = sum.oldest;
            groups.push(WaitingGroup {
                first: RecipientId {
                    reference: Reference::from_number(reference.unsigned_abs()),
                    number,
                },
                room,
                state,
                reason,
                count: sum.count,
                oldest_at: Timestamp::from_millis(since.query_row([reference], |row| row.get(0))?),
                next_attempt_at: Timestamp::from_millis(sum.next),
            });
        }
        groups.sort_by(|a, b| {
            let key = |it: &WaitingGroup| (it.oldest_at, it.room.clone(), it.state.clone());
            key(a).cmp(&key(b))
        });
        Ok(groups)
    }
}

/// From the columns reference and number.
pub(super) fn recipient_id(row: &Row<'_>) -> rusqlite::Result<RecipientId> {
    Ok(RecipientId {
        reference: Reference::from_number(row.get::<_, i64>(0)?.unsigned_abs()),
        number: row.get(1)?,
    })
}

pub(super) fn waiting(
    connection: &Connection,
    ids: &[RecipientId],
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING} WHERE r.reference = ?1 AND r.number = ?2
             AND (r.finished_at IS NULL OR r.look_at IS NOT NULL)"
    ))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query(params![id.reference.number() as i64, id.number])?;
        if let Some(row) = rows.next()? {
            found.extend(readable(row));
        }
    }
    Ok(found)
}

/// A row that cannot be read is told, and never in the way of the others.
fn readable(row: &Row<'_>) -> Option<Waiting> {
    to_waiting(row)
        .inspect_err(|fault| {
            let reference = to_reference(row, 0);
            tracing::error!(%fault, ?reference, "a waiting recipient cannot be read");
        })
        .ok()
}

fn to_waiting(row: &Row<'_>) -> Result<Waiting, StoreError> {
    let state: String = row.get(4)?;
    let accepted_at = Timestamp::from_millis(row.get(6)?);
    let waits_since = Timestamp::from_millis(row.get(16)?);
    Ok(Waiting {
        id: RecipientId {
            reference: to_reference(row, 0)?,
            number: row.get(1)?,
        },
        recipient: to_address(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        room: RoomId::new(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?),
        state: state
            .parse()
            .map_err(|()| StoreError::Corrupt(format!("state {state:?}")))?,
        attempts: row.get(5)?,
        of_late: OfLate {
            start: Timestamp::from_millis(row.get(27)?),
            attempts: row.get(28)?,
        },
        accepted_at,
        next_attempt_at: Timestamp::from_millis(row.get(7)?),
        last_reply: row.get(8)?,
        is_ours: row.get(29)?,
        awaits_scan: row.get(30)?,
        waiver: to_waiver(row.get(31)?),
        sender: row
            .get::<_, Option<String>>(9)?
            .map(|text| to_address(&text))
            .transpose()?,
        sender_room: row.get::<_, Option<String>>(10)?.map(|id| RoomId::new(&id)),
        smtputf8: row.get(11)?,
        eight_bit: row.get(12)?,
        size: row.get::<_, i64>(13)?.unsigned_abs(),
        subject: row.get(14)?,
        message_id: row.get(15)?,
        waits_since,
        told: to_told(row.get(17)?),
        is_doubtful: row.get(26)?,
        wishes: Wishes {
            notify: word(row, 18)?,
            original: row.get(19)?,
        },
        terms: to_terms(row, waits_since.as_millis() - accepted_at.as_millis())?,
    })
}

/// What `write::waiver` wrote.
fn to_waiver(number: Option<i64>) -> Option<Waiver> {
    number.map(|it| match it {
        0 => Waiver::Person,
        number => Waiver::Exception(number.unsigned_abs()),
    })
}

const fn to_told(bits: u8) -> Told {
    Told {
        late: bits & 1 != 0,
        overdue: bits & 2 != 0,
    }
}

/// `step`: by how many milliseconds the clock was set since the acceptance.
fn to_terms(row: &Row<'_>, step: i64) -> Result<Terms, StoreError> {
    let level = row.get(20)?;
    let mode: Option<String> = row.get(23)?;
    Ok(Terms {
        priority: Priority::new(level)
            .ok_or_else(|| StoreError::Corrupt(format!("priority {level}")))?,
        require_tls: row.get(21)?,
        deliver_by: row.get::<_, Option<i64>>(22)?.map(|at| DeliverBy {
            at: Timestamp::from_millis(at + step),
            mode: match mode.as_deref() {
                Some("R" | "RT") => ByMode::Return,
                _ => ByMode::Notify,
            },
            trace: mode.as_deref().is_some_and(|it| it.ends_with('T')),
        }),
        ret: word(row, 24)?,
        envelope_id: row.get(25)?,
    })
}

/// A column that holds one of a few words, or nothing.
fn word<T: FromStr>(row: &Row<'_>, column: usize) -> Result<Option<T>, StoreError> {
    row.get::<_, Option<String>>(column)?
        .map(|text| {
            text.parse()
                .map_err(|_| StoreError::Corrupt(format!("the word {text:?}")))
        })
        .transpose()
}

/// Recipients in that state, newest first, past the search index: of late, that is quicker.
pub(super) fn recent(connection: &Connection, recent: &Recent) -> Result<Vec<LogRow>, StoreError> {
    let sql = format!(
        "{OF_RECIPIENT} WHERE r.state = ?1 AND m.accepted_at >= ?2 AND m.reference >= ?3
         ORDER BY m.reference DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        recent.state.word(),
        recent.since.as_millis(),
        recent.not_below.number() as i64,
        recent.limit as i64
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(to_log_row(row)?);
    }
    Ok(found)
}

/// Conditions and the values for their places.
#[derive(Default)]
struct Conditions {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn push(&mut self, condition: impl Into<String>, value: Value) {
        self.conditions.push(condition.into());
        self.values.push(value);
    }

    fn condition(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.conditions.join(" AND "))
        }
    }
}

fn lower(text: &str) -> Value {
    Value::Text(text.to_lowercase())
}

fn to_log_row(row: &Row<'_>) -> Result<LogRow, StoreError> {
    Ok(LogRow {
        reference: to_reference(row, 0)?,
        at: Timestamp::from_millis(row.get(1)?),
        status: row.get(2)?,
        sender: row.get(3)?,
        sender_room: row.get(4)?,
        recipient: row.get(5)?,
        recipient_room: row.get(6)?,
        subject: row.get(7)?,
        size: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
        message_id: row.get(9)?,
        client: row.get(10)?,
        user: row.get(13)?,
        reply: row.get(11)?,
        count: row.get::<_, i64>(12)?.unsigned_abs(),
        exception: to_waiver(row.get(14)?).and_then(Waiver::exception),
        place: row.get(15)?,
        certificate: row.get(16)?,
    })
}

/// The columns of a [`LogRow`] of a recipient, and its place.
const OF_RECIPIENT: &str =
    "SELECT m.reference, m.accepted_at, r.state, coalesce(m.sender, ''), m.sender_room, r.address, r.room,
         m.subject, m.size, m.message_id, m.client, r.last_reply, 1, NULL, r.waiver, r.number, NULL
     FROM message m CROSS JOIN recipient r ON r.reference = m.reference";
/// The same of a refusal.
const OF_REFUSAL: &str =
    "SELECT reference, at, 'refused', sender, sender_room, recipient, recipient_room,
         subject, size, message_id, client, reply, count, user, NULL, -1 - id, certificate
     FROM refusal";

/// All rows of the log under a reference.
pub(super) fn rows_of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<LogRow>, StoreError> {
    let number = reference.number() as i64;
    let mut found = Vec::new();
    for sql in [
        format!("{OF_RECIPIENT} WHERE m.reference = ?1"),
        format!("{OF_REFUSAL} WHERE reference = ?1"),
    ] {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([number])?;
        while let Some(row) = rows.next()? {
            found.push(to_log_row(row)?);
        }
    }
    Ok(found)
}

/// One of them.
pub(super) fn row_at(
    connection: &Connection,
    reference: Reference,
    place: i64,
) -> Result<Option<LogRow>, StoreError> {
    let sql = match place < 0 {
        true => format!("{OF_REFUSAL} WHERE reference = ?1 AND id = -1 - ?2"),
        false => format!("{OF_RECIPIENT} WHERE m.reference = ?1 AND r.number = ?2"),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([reference.number() as i64, place])?;
    rows.next()?.map(to_log_row).transpose()
}

/// What waits in a state.
pub(super) fn waiting_in(
    connection: &Connection,
    state: &str,
    limit: usize,
) -> Result<Vec<(Reference, i64)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, number FROM recipient INDEXED BY recipient_waiting
         WHERE finished_at IS NULL AND state = ?1 LIMIT ?2",
    )?;
    let mut rows = statement.query(params![state, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((to_reference(row, 0)?, row.get(1)?));
    }
    Ok(found)
}

/// References of messages and refusals below that one, the greatest first.
pub(super) fn references_below(
    connection: &Connection,
    below: i64,
    limit: usize,
) -> Result<Vec<Reference>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference FROM message WHERE reference < ?1
         UNION SELECT reference FROM refusal WHERE reference < ?1
         ORDER BY 1 DESC LIMIT ?2",
    )?;
    let mut rows = statement.query([below, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(to_reference(row, 0)?);
    }
    Ok(found)
}

/// References of messages and refusals above that one, the smallest first.
pub(super) fn references_above(
    connection: &Connection,
    above: i64,
    limit: usize,
) -> Result<Vec<Reference>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference FROM message WHERE reference > ?1
         UNION SELECT reference FROM refusal WHERE reference > ?1
         ORDER BY 1 LIMIT ?2",
    )?;
    let mut rows = statement.query([above, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(to_reference(row, 0)?);
    }
    Ok(found)
}

/// An event, by its place in the order of commit, its reference and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventMark {
    pub(super) sequence: i64,
    pub(super) reference: i64,
    pub(super) at: i64,
}

fn to_mark(row: &Row<'_>) -> rusqlite::Result<EventMark> {
    Ok(EventMark {
        sequence: row.get(0)?,
        reference: row.get(1)?,
        at: row.get(2)?,
    })
}

pub(super) fn mark_of(
    connection: &Connection,
    sequence: i64,
) -> Result<Option<EventMark>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT sequence, reference, at FROM event WHERE sequence = ?1")?
        .query_row([sequence], to_mark)
        .optional()?)
}

/// Events behind that one, in the order of commit.
pub(super) fn marks_after(
    connection: &Connection,
    sequence: i64,
    limit: usize,
) -> Result<Vec<EventMark>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, reference, at FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let marks = statement.query_map([sequence, limit as i64], to_mark)?;
    Ok(marks.collect::<Result<_, _>>()?)
}

/// One pass over what was accepted since then; which group a recipient was reached through is in its
/// event alone.
pub(super) fn pairs(
    connection: &Connection,
    since: Timestamp,
    not_below: Reference,
    limit: usize,
) -> Result<Vec<Pair>, StoreError> {
    let mut statement = connection.prepare_cached(
        "WITH reached AS MATERIALIZED (
             SELECT e.reference, e.recipient, json_extract(e.details, '$.group') AS through
             FROM message m CROSS JOIN event e ON e.reference = m.reference
             WHERE m.reference >= ?2 AND m.accepted_at >= ?1 AND e.kind = 'accepted'
                 AND instr(e.details, '\"group\":') > 0)
         SELECT m.sender, m.sender_room, m.client = '', r.address, g.through, count(*)
         FROM message m CROSS JOIN recipient r ON r.reference = m.reference
             LEFT JOIN reached g ON g.reference = r.reference AND g.recipient = r.address
         WHERE m.reference >= ?2 AND m.accepted_at >= ?1
         GROUP BY 1, 2, 3, 4, 5 ORDER BY max(m.reference) DESC, r.address LIMIT ?3",
    )?;
    let pairs = statement.query_map(
        params![since.as_millis(), not_below.number() as i64, limit as i64],
        |row| {
            Ok(Pair {
                sender: row.get(0)?,
                sender_room: row.get::<_, Option<String>>(1)?.map(|id| RoomId::new(&id)),
                is_ours: row.get(2)?,
                recipient: row.get(3)?,
                group: row.get(4)?,
                messages: row.get::<_, i64>(5)?.unsigned_abs(),
            })
        },
    )?;
    Ok(pairs.collect::<Result<_, _>>()?)
}

/// The columns of a [`LoggedEvent`].
const EVENTS: &str =
    "SELECT e.sequence, e.reference, e.at, e.kind, m.sender, e.recipient, e.details
    FROM event e LEFT JOIN message m ON m.reference = e.reference";

pub(super) fn events(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let sql = format!("{EVENTS} WHERE e.reference = ?1 ORDER BY e.sequence");
    read_events(connection, &sql, &[reference.number() as i64])
}

pub(super) fn events_after(
    connection: &Connection,
    sequence: u64,
    limit: usize,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let sql = format!("{EVENTS} WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2");
    read_events(connection, &sql, &[sequence as i64, limit as i64])
}

/// The newest first.
pub(super) fn readings(
    connection: &Connection,
    window: Window,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let sql = EVENTS.replace("event e", "event e INDEXED BY event_reading");
    let sql = format!(
        "{sql} WHERE e.kind = 'log read' AND e.sequence < ?1 AND e.at BETWEEN ?2 AND ?3
         ORDER BY e.sequence DESC LIMIT ?4"
    );
    let since = window.since.map_or(i64::MIN, Timestamp::as_millis);
    let until = window.until.map_or(i64::MAX, Timestamp::as_millis);
    let before = before.map_or(i64::MAX, u64::cast_signed);
    read_events(connection, &sql, &[before, since, until, limit as i64])
}

fn read_events(
    connection: &Connection,
    sql: &str,
    values: &[i64],
) -> Result<Vec<LoggedEvent>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let details = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
        found.push(LoggedEvent {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            reference: to_reference(row, 1)?,
            at: Timestamp::from_millis(row.get(2)?),
            event: row.get(3)?,
            sender: row.get(4)?,
            recipient: row.get(5)?,
            details: serde_json::from_str(details)
                .map_err(|fault| StoreError::Corrupt(fault.to_string()))?,
        });
    }
    Ok(found)
}

/// Those that were purged count.
pub(super) fn last_event(connection: &Connection) -> Result<u64, StoreError> {
    let last: i64 = connection.query_row(
        "SELECT max((SELECT coalesce(max(sequence), 0) FROM event),
             (SELECT coalesce(max(sequence), 0) FROM blinded))",
        [],
        |row| row.get(0),
    )?;
    Ok(last.unsigned_abs())
}

pub(super) fn check(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare("PRAGMA quick_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

pub(super) fn last_reference(connection: &Connection) -> Result<Option<Reference>, StoreError> {
    let last: Option<i64> = connection.query_row(
        "SELECT max(reference) FROM (SELECT max(reference) AS reference FROM message
             UNION ALL SELECT max(reference) FROM refusal
             UNION ALL SELECT max(reference) FROM measure)",
        [],
        |row| row.get(0),
    )?;
    Ok(last.map(|number| Reference::from_number(number.unsigned_abs())))
}

fn to_reference(row: &Row<'_>, place: usize) -> Result<Reference, StoreError> {
    Ok(Reference::from_number(
        row.get::<_, i64>(place)?.unsigned_abs(),
    ))
}

fn to_address(text: &str) -> Result<Address, StoreError> {
    Address::parse(text)
        .map_err(|fault| StoreError::Corrupt(format!("address {text:?}: {fault:?}")))
}
