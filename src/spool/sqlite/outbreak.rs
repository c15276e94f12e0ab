//! Measures, and the hunt for who had a file, as SQL.
//!
//! What is sought stands in indices: of hashes, of names, and of the few events and refusals that tell of
//! malware. Names are compared one after the other, each distinct one once.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde_json::Value;

use super::super::store::{Hunt, Hunted, Quarry, Standing, StoreError};
use super::read;
use super::write::insert_event;
use crate::mail::measure::{Aim, Closing, Measure};
use crate::mail::{Event, Reference, RoomId, Timestamp};
use crate::pattern::{self, NamePattern};

pub(super) fn open(
    connection: &Connection,
    measure: &Measure,
    event: &Event,
) -> Result<u64, StoreError> {
    let reference = measure.reference.number() as i64;
    // Another process may have made it for something else in the same millisecond.
    let is_taken: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM event WHERE reference = ?1)")?
        .query_row([reference], |row| row.get(0))?;
    if is_taken {
        let cause = format!("the reference {} is in use", measure.reference);
        return Err(StoreError::Conflict(cause));
    }
    connection
        .prepare_cached(
            "INSERT INTO measure (reference, kind, value, opened_at, by, reason, until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            reference,
            measure.aim.kind(),
            measure.aim.value(),
            measure.opened_at.as_millis(),
            measure.by,
            measure.reason,
            measure.until.as_millis(),
        ])?;
    let number = connection.last_insert_rowid().unsigned_abs();
    insert_event(connection, event)?;
    Ok(number)
}

pub(super) fn close(
    connection: &Connection,
    number: u64,
    closing: &Closing,
    event: &Event,
) -> Result<bool, StoreError> {
    let closed = connection
        .prepare_cached(
            "UPDATE measure SET closed_at = ?2, closed_by = ?3
                 WHERE number = ?1 AND closed_at IS NULL AND ?2 < until",
        )?
        .execute(params![number as i64, closing.at.as_millis(), closing.by])?;
    if closed == 1 {
        insert_event(connection, event)?;
    }
    Ok(closed == 1)
}

const MEASURES: &str = "SELECT number, reference, kind, value, opened_at, by, reason, until,
    closed_at, closed_by FROM measure";

pub(super) fn all(connection: &Connection) -> Result<Vec<Measure>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{MEASURES} ORDER BY number"))?;
    let found = statement.query_map([], to_measure)?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn until_after(
    connection: &Connection,
    moment: Timestamp,
) -> Result<Vec<Measure>, StoreError> {
    let sql = format!("{MEASURES} WHERE closed_at IS NULL AND until > ?1 ORDER BY number");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map([moment.as_millis()], to_measure)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn to_measure(row: &Row<'_>) -> rusqlite::Result<Measure> {
    let time = |column| row.get(column).map(Timestamp::from_millis);
    let kind: String = row.get(2)?;
    let value: Option<String> = row.get(3)?;
    let aim = Aim::from_words(&kind, value.as_deref());
    let closed_at: Option<i64> = row.get(8)?;
    let closed_by: Option<String> = row.get(9)?;
    Ok(Measure {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        reference: Reference::from_number(row.get::<_, i64>(1)?.unsigned_abs()),
        aim: aim.ok_or_else(|| rusqlite::Error::InvalidColumnType(2, kind, Type::Text))?,
        opened_at: time(4)?,
        by: row.get(5)?,
        reason: row.get(6)?,
        until: time(7)?,
        closed: closed_at.zip(closed_by).map(|(at, by)| Closing {
            at: Timestamp::from_millis(at),
            by,
        }),
    })
}

/// Of these, the messages of which something is to be delivered.
pub(super) fn standing(
    connection: &Connection,
    references: &[Reference],
) -> Result<Vec<Standing>, StoreError> {
    let mut rooms = connection.prepare_cached(
        "SELECT DISTINCT room FROM recipient
             WHERE reference = ?1 AND state IN ('queued', 'deferred', 'held') ORDER BY room",
    )?;
    let mut message = connection.prepare_cached(
        "SELECT sender, sender_room, subject, client = '' FROM message WHERE reference = ?1",
    )?;
    let mut found = Vec::new();
    for &reference in references {
        let key = [reference.number() as i64];
        let to = rooms.query_map(key, |row| Ok(RoomId::new(&row.get::<_, String>(0)?)))?;
        let rooms: Vec<RoomId> = to.collect::<Result<_, _>>()?;
        if rooms.is_empty() {
            continue;
        }
        let attachments = read::attachments_of(connection, reference)?;
        let standing = message.query_row(key, |row| {
            Ok(Standing {
                reference,
                sender: row.get(0)?,
                sender_room: row.get::<_, Option<String>>(1)?.map(|id| RoomId::new(&id)),
                subject: row.get(2)?,
                is_ours: row.get(3)?,
                rooms,
                attachments,
            })
        });
        found.extend(standing.optional()?);
    }
    Ok(found)
}

/// What was found in one transaction.
#[derive(Debug, Default)]
struct Find {
    files: Vec<File>,
    malware: Vec<String>,
}

/// An attachment, or what is inside of one, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct File {
    name: Option<String>,
    /// The attachment that it is inside of.
    within: Option<String>,
    sha256: Option<String>,
}

impl File {
    /// From three columns.
    fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(first)?,
            within: row.get(first + 1)?,
            sha256: row.get(first + 2)?,
        })
    }

    /// As the built-in rules name it: `a.zip/b.exe`.
    fn is_called(&self, path: &str) -> bool {
        let name = self.name.as_deref().unwrap_or_default();
        match &self.within {
            Some(attachment) => {
                let inside = path.strip_prefix(attachment.as_str());
                inside.and_then(|it| it.strip_prefix('/')) == Some(name)
            }
            None => path == name,
        }
    }
}

pub(super) fn hunt(connection: &Connection, hunt: &Hunt) -> Result<Vec<Hunted>, StoreError> {
    let first = hunt.not_below.map_or(0, |it| it.number() as i64);
    let infected = infected(connection, first)?;
    let mut finds: BTreeMap<i64, Find> = BTreeMap::new();
    match &hunt.quarry {
        Quarry::Hash(hash) => files_of_hash(connection, hash, first, &mut finds)?,
        Quarry::Word(word) => {
            files_of_name(connection, &NamePattern::new(word), hunt, &mut finds)?;
            malware_of_name(connection, word, &infected, &mut finds)?;
            told_in_replies(connection, word, first, &mut finds)?;
        }
    }
    let mut traces = Vec::new();
    for (reference, mut find) in finds {
        if find.malware.is_empty() {
            find.malware = infected.get(&reference).cloned().unwrap_or_default();
        }
        trace(connection, reference, &find, hunt.since, &mut traces)?;
    }
    traces.sort_by_key(|it| (it.at, it.reference));
    Ok(traces)
}

/// What was found in each transaction that had anything in it.
fn infected(connection: &Connection, first: i64) -> Result<HashMap<i64, Vec<String>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, details FROM event INDEXED BY event_malware
         WHERE instr(details, '\"malware\":') > 0 AND reference >= ?1",
    )?;
    let mut rows = statement.query([first])?;
    let mut infected: HashMap<i64, Vec<String>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let details = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let details: Value = serde_json::from_str(details).unwrap_or_default();
        let known = infected.entry(row.get(0)?).or_default();
        for name in names(details.get("malware")) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    Ok(infected)
}

/// One, or several.
fn names(malware: Option<&Value>) -> Vec<String> {
    match malware {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several
            .iter()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

fn files_of_hash(
    connection: &Connection,
    hash: &str,
    first: i64,
    finds: &mut BTreeMap<i64, Find>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, name, NULL, sha256 FROM attachment INDEXED BY attachment_sha256
             WHERE sha256 = ?1 AND reference >= ?2
         UNION ALL SELECT reference, name, within, sha256 FROM member INDEXED BY member_sha256
             WHERE sha256 = ?1 AND reference >= ?2",
    )?;
    let mut rows = statement.query(params![hash, first])?;
    while let Some(row) = rows.next()? {
        let find = finds.entry(row.get(0)?).or_default();
        find.files.push(File::read(row, 1)?);
    }
    Ok(())
}

/// Where names are looked through.
struct Names {
    /// All of them, each distinct one once after the other.
    all: &'static str,
    /// Of late there is less to look through than there are names.
    late: &'static str,
    one: &'static str,
}

const NAMES: [Names; 2] = [
    Names {
        all: "SELECT reference, number, name FROM attachment INDEXED BY attachment_name
                  WHERE reference >= ?1 ORDER BY name",
        late: "SELECT reference, number, name FROM attachment WHERE reference >= ?1",
        one: "SELECT name, NULL, sha256 FROM attachment WHERE reference = ?1 AND number = ?2",
    },
    Names {
        all: "SELECT reference, number, name FROM member INDEXED BY member_name
                  WHERE reference >= ?1 ORDER BY name",
        late: "SELECT reference, number, name FROM member WHERE reference >= ?1",
        one: "SELECT name, within, sha256 FROM member WHERE reference = ?1 AND number = ?2",
    },
];

fn files_of_name(
    connection: &Connection,
    pattern: &NamePattern,
    hunt: &Hunt,
    finds: &mut BTreeMap<i64, Find>,
) -> Result<(), StoreError> {
    for names in NAMES {
        let mut file = connection.prepare_cached(names.one)?;
        let mut statement = connection.prepare_cached(match hunt.not_below {
            Some(_) => names.late,
            None => names.all,
        })?;
        let mut rows = statement.query([hunt.not_below.map_or(0, |it| it.number() as i64)])?;
        let (mut last, mut fits) = (String::new(), pattern.fits(""));
        while let Some(row) = rows.next()? {
            let name = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            if last != name {
                fits = pattern.fits(name);
                last.clear();
                last.push_str(name);
            }
            if fits {
                let (reference, number): (i64, i64) = (row.get(0)?, row.get(1)?);
                let found = file.query_row([reference, number], |row| File::read(row, 0));
                let find = finds.entry(reference).or_default();
                find.files.extend(found.optional()?);
            }
        }
    }
    Ok(())
}

/// Whether what somebody calls malware is this.
struct Name {
    pattern: NamePattern,
    part: Option<String>,
}

impl Name {
    /// A part of it is enough where nothing in it stands for anything else.
    fn new(word: &str) -> Self {
        let pattern = NamePattern::new(word);
        let part = pattern.is_plain().then(|| pattern::folded(word));
        Self { pattern, part }
    }

    /// `malware`: with the attachment that it is in, or without.
    fn fits(&self, malware: &str) -> bool {
        let (name, _) = parted(malware);
        match &self.part {
            Some(part) => pattern::folded(name).contains(part),
            None => self.pattern.fits(name),
        }
    }
}

/// `Eicar in a.zip`: the name, and the attachment; `Eicar (in the message itself)`: the name.
fn parted(malware: &str) -> (&str, Option<&str>) {
    let malware = malware.split(" (in ").next().unwrap_or(malware);
    malware
        .split_once(" in ")
        .map_or((malware, None), |(name, attachment)| {
            (name, Some(attachment))
        })
}

fn malware_of_name(
    connection: &Connection,
    word: &str,
    infected: &HashMap<i64, Vec<String>>,
    finds: &mut BTreeMap<i64, Find>,
) -> Result<(), StoreError> {
    let name = Name::new(word);
    let mut files = connection.prepare_cached(
        "SELECT number, name, NULL, sha256 FROM attachment WHERE reference = ?1
         UNION ALL SELECT number + 100000, name, within, sha256 FROM member WHERE reference = ?1
         ORDER BY 1",
    )?;
    for (&reference, malware) in infected {
        let found: Vec<&String> = malware.iter().filter(|it| name.fits(it)).collect();
        if found.is_empty() {
            continue;
        }
        let find = finds.entry(reference).or_default();
        find.malware = found.iter().map(|&it| it.clone()).collect();
        if !find.files.is_empty() {
            continue;
        }
        let known = files.query_map([reference], |row| File::read(row, 1))?;
        let known: Vec<File> = known.collect::<Result<_, _>>()?;
        let places = found.iter().map(|it| place(&known, parted(it).1));
        find.files = places.flatten().collect();
        find.files.dedup();
    }
    Ok(())
}

/// The file that something was found in, as far as it is known which.
fn place(known: &[File], path: Option<&str>) -> Option<File> {
    let Some(path) = path else {
        let mut attachments = known.iter().filter(|it| it.within.is_none());
        let only = attachments.next()?;
        return attachments.next().is_none().then(|| only.clone());
    };
    let named = known.iter().find(|it| it.is_called(path));
    Some(named.cloned().unwrap_or_else(|| File {
        name: Some(path.to_owned()),
        ..File::default()
    }))
}

/// Malware that only the reply of a refusal tells of.
fn told_in_replies(
    connection: &Connection,
    word: &str,
    first: i64,
    finds: &mut BTreeMap<i64, Find>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, reply FROM refusal INDEXED BY refusal_malware
         WHERE instr(lower(reply), 'malware') > 0 AND reference >= ?1",
    )?;
    let name = Name::new(word);
    let mut rows = statement.query([first])?;
    while let Some(row) = rows.next()? {
        let reply = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        // After that comes the attachment.
        let told = reply.split(" found in ").next().unwrap_or_default();
        let mut words = told.split_whitespace();
        if let Some(malware) = words.find(|it| name.fits(it)) {
            let find = finds.entry(row.get(0)?).or_default();
            if find.malware.is_empty() {
                find.malware.push(malware.to_owned());
            }
        }
    }
    Ok(())
}

/// A row for each recipient, and each refusal, of each file.
fn trace(
    connection: &Connection,
    reference: i64,
    find: &Find,
    since: Option<Timestamp>,
    traces: &mut Vec<Hunted>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.accepted_at, r.state, coalesce(m.sender, ''), m.sender_room, r.address, r.room,
             m.client, 1
         FROM message m JOIN recipient r ON r.reference = m.reference WHERE m.reference = ?1
         UNION ALL
         SELECT at, 'refused', sender, sender_room, recipient, recipient_room, client, count
         FROM refusal WHERE reference = ?1",
    )?;
    let whole = [File::default()];
    let files = match find.files.is_empty() {
        true => &whole[..],
        false => &find.files[..],
    };
    let mut rows = statement.query([reference])?;
    while let Some(row) = rows.next()? {
        let at = Timestamp::from_millis(row.get(0)?);
        if since.is_some_and(|since| at < since) {
            continue;
        }
        for file in files {
            traces.push(Hunted {
                reference: Reference::from_number(reference.unsigned_abs()),
                at,
                status: row.get(1)?,
                sender: row.get(2)?,
                sender_room: row.get(3)?,
                recipient: row.get(4)?,
                recipient_room: row.get(5)?,
                attachment: file.name.clone(),
                within: file.within.clone(),
                sha256: file.sha256.clone(),
                malware: (!find.malware.is_empty()).then(|| find.malware.join(", ")),
                client: row.get(6)?,
                count: row.get::<_, i64>(7)?.unsigned_abs(),
            });
        }
    }
    Ok(())
}
