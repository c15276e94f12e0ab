//! The chain of the log, as SQL: what is written with each row, and what is read of it to look at it later.
//!
//! What a row commits to is put together here, in one way for writing and reading; what is made of it is
//! `evidence`'s to say. A row is chained to the last one in the transaction that writes it, whichever process
//! that is. It proves nothing by itself and fails as the store does; a row that makes no sense is no failure
//! but a finding of whoever reads it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::value::RawValue;

use super::super::store::{RecipientState, StoreError, Unchained};
use super::write::number;
use crate::evidence::finding::Name;
use crate::evidence::leaf::{self, Field, Kept, Leaf, MASKED, Seed};
use crate::evidence::walk::{self, Fields};
use crate::evidence::{Digest, Head, Start, link};
use crate::mail::{EventKind, Reference, Timestamp};
use crate::spool::store::RecipientId;

/// Years are written with four digits up to this one.
const YEAR_10000: i64 = 253_402_300_800_000;

/// A row that is to be written.
pub(super) struct NewRow<'a> {
    pub reference: i64,
    pub at: i64,
    pub kind: &'a str,
    pub recipient: Option<&'a str>,
    /// JSON.
    pub details: &'a str,
    /// The rows of other tables that it speaks for, which are there already.
    pub covers: Option<&'a str>,
}

/// Writes a row of the log at the end of the chain.
pub(super) fn append(connection: &Connection, row: &NewRow<'_>) -> Result<(), StoreError> {
    let (last, before, seed) = end(connection)?;
    let mut fields = own_fields(row).map_err(StoreError::Corrupt)?;
    if let Some(covers) = row.covers {
        beside(connection, row.reference, covers, &mut fields)?;
    }
    let leaves = leaf::sealed(&seed, fields);
    let sequence = last.saturating_add(1);
    let digest = link(before, sequence.unsigned_abs(), leaf::row_hash(&leaves));
    connection
        .prepare_cached(
            "INSERT INTO event (sequence, reference, at, kind, recipient, details, covers, seed, digest, marks)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            sequence,
            row.reference,
            row.at,
            row.kind,
            row.recipient,
            row.details,
            row.covers,
            seed.0,
            digest.0,
            leaf::marks(&leaves),
        ])?;
    Ok(())
}

/// The last row with its digest, whether it is there still or was purged, and a new seed. The random numbers are SQLite's: ChaCha20, with a key that
/// each process has from the system.
fn end(connection: &Connection) -> Result<(i64, Digest, Seed), StoreError> {
    let read = |row: &Row<'_>| {
        let digest: Option<[u8; 32]> = row.get(1)?;
        Ok((row.get(0)?, digest.map(Digest), Seed(row.get(2)?)))
    };
    let last: Option<(i64, Option<Digest>, Seed)> = connection
        .prepare_cached(
            "SELECT sequence, digest, randomblob(16) FROM (
                 SELECT sequence, digest FROM blinded
                     WHERE hash IS NOT NULL
                         AND sequence > (SELECT coalesce(max(sequence), -1) FROM event)
                 UNION ALL
                 SELECT * FROM (SELECT sequence, digest FROM event ORDER BY sequence DESC LIMIT 1))
             ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row([], read)
        .optional()?;
    match last {
        Some((sequence, Some(digest), seed)) => Ok((sequence, digest, seed)),
        // The first row of the chain.
        Some((sequence, None, seed)) => Ok((sequence, start(connection)?.digest(), seed)),
        None => {
            let start = start(connection)?;
            let seed = connection.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
            let last = start.first.saturating_sub(1);
            Ok((last.cast_signed(), start.digest(), Seed(seed)))
        }
    }
}

pub(super) fn start(connection: &Connection) -> Result<Start, StoreError> {
    let mut statement = connection.prepare_cached("SELECT first, log FROM chain")?;
    Ok(statement.query_row([], |row| {
        Ok(Start {
            first: row.get::<_, i64>(0)?.unsigned_abs(),
            log: Digest(row.get(1)?),
        })
    })?)
}

pub(super) fn unchained(connection: &Connection) -> Result<Unchained, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT before, (SELECT count(*) FROM event WHERE sequence < first) FROM chain",
    )?;
    Ok(statement.query_row([], |row| {
        Ok(Unchained {
            then: row.get::<_, i64>(0)?.unsigned_abs(),
            now: row.get::<_, i64>(1)?.unsigned_abs(),
        })
    })?)
}

/// The fields of the row itself.
fn own_fields<'a>(row: &NewRow<'a>) -> Result<Vec<Field<'a>>, String> {
    let mut fields = vec![
        Field::owned("reference", reference(row.reference)),
        Field::owned("at", moment(row.at)),
        Field::new("kind", row.kind),
    ];
    fields.extend(row.recipient.map(|it| Field::new("recipient", it)));
    fields.extend(row.covers.map(|it| Field::new("covers", it)));
    for (name, value) in details(row.details)? {
        fields.push(Field::new(format!("details.{name}"), value.get()));
    }
    Ok(fields)
}

/// The details by name, each as it is written. There is one way to write them: nothing stands between them.
fn details(text: &str) -> Result<BTreeMap<&str, &RawValue>, String> {
    let wrong = "its details are not as the relay writes them";
    let details: BTreeMap<&str, &RawValue> =
        serde_json::from_str(text).map_err(|_| wrong.to_owned())?;
    // Braces, and with each: quotes, a colon and a comma, of which the last one is none.
    let written = details
        .iter()
        .map(|(name, value)| name.len() + value.get().len() + 4);
    let length = (2 + written.sum::<usize>()).saturating_sub(usize::from(!details.is_empty()));
    match length == text.len() {
        true => Ok(details),
        false => Err(wrong.to_owned()),
    }
}

/// As people write it, where it is one; otherwise its number.
fn reference(number: i64) -> String {
    let reference = Reference::from_number(number.unsigned_abs());
    match reference.number().cast_signed() == number {
        true => reference.to_string(),
        false => number.to_string(),
    }
}

fn moment(millis: i64) -> String {
    match (0..YEAR_10000).contains(&millis) {
        true => Timestamp::from_millis(millis).to_string(),
        false => millis.to_string(),
    }
}

/// The fields of the rows of other tables for which a row speaks.
fn beside(
    connection: &Connection,
    reference: i64,
    covers: &str,
    fields: &mut Vec<Field<'_>>,
) -> Result<(), StoreError> {
    for word in covers.split(' ') {
        let (what, which) = word.split_once(':').unwrap_or((word, ""));
        match what {
            "message" => message(connection, reference, fields)?,
            "attachments" => attachments(connection, reference, fields)?,
            "members" => members(connection, reference, which, fields)?,
            "refusal" => refusal(connection, which, fields)?,
            _ => {}
        }
    }
    Ok(())
}

fn add<'a>(fields: &mut Vec<Field<'a>>, name: impl Into<String>, value: Option<String>) {
    fields.extend(value.map(|value| Field::owned(name.into(), value)));
}

/// A field of each of the first columns.
fn add_all(
    fields: &mut Vec<Field<'_>>,
    names: &[&'static str],
    row: &Row<'_>,
) -> Result<(), StoreError> {
    for (place, name) in names.iter().enumerate() {
        add(fields, *name, row.get(place)?);
    }
    Ok(())
}

fn message(
    connection: &Connection,
    reference: i64,
    fields: &mut Vec<Field<'_>>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sender, sender_room, client, subject, message_id, envelope_id, accepted_at,
             json_array(smtputf8, eight_bit, require_tls, deliver_by,
                 deliver_by_mode, ret)
         FROM message WHERE reference = ?1",
    )?;
    let mut rows = statement.query([reference])?;
    if let Some(row) = rows.next()? {
        const NAMES: [&str; 6] = [
            "message.sender",
            "message.sender_room",
            "message.client",
            "message.subject",
            "message.message_id",
            "message.envelope_id",
        ];
        add_all(fields, &NAMES, row)?;
        add(fields, "message.accepted_at", Some(moment(row.get(6)?)));
        add(fields, "message.terms", row.get(7)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT number, address, original, json_array(room, priority, notify)
         FROM recipient WHERE reference = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([reference])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        add(fields, format!("recipient.{number}.address"), row.get(1)?);
        add(fields, format!("recipient.{number}.original"), row.get(2)?);
        add(fields, format!("recipient.{number}.terms"), row.get(3)?);
    }
    Ok(())
}

fn attachments(
    connection: &Connection,
    reference: i64,
    fields: &mut Vec<Field<'_>>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, name, json_array(size, sha256, kind)
         FROM attachment WHERE reference = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([reference])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        add(fields, format!("attachment.{number}.name"), row.get(1)?);
        add(fields, format!("attachment.{number}.content"), row.get(2)?);
    }
    Ok(())
}

/// `which`: `FROM-TO`, the second left out.
fn members(
    connection: &Connection,
    reference: i64,
    which: &str,
    fields: &mut Vec<Field<'_>>,
) -> Result<(), StoreError> {
    let (from, to) = which.split_once('-').unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
    let mut statement = connection.prepare_cached(
        "SELECT number, within, name, json_array(size, sha256, kind)
         FROM member WHERE reference = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
    )?;
    let mut rows = statement.query([reference, number(from), number(to)])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        add(fields, format!("member.{number}.within"), row.get(1)?);
        add(fields, format!("member.{number}.name"), row.get(2)?);
        add(fields, format!("member.{number}.content"), row.get(3)?);
    }
    Ok(())
}

fn refusal(
    connection: &Connection,
    id: &str,
    fields: &mut Vec<Field<'_>>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sender, recipient, subject, message_id, reply, user, client, certificate,
             json_array(reference, at, sender_room, recipient_room,
                 size, count)
         FROM refusal WHERE id = ?1",
    )?;
    let mut rows = statement.query([id.parse::<i64>().unwrap_or(-1)])?;
    if let Some(row) = rows.next()? {
        const NAMES: [&str; 9] = [
            "refusal.sender",
            "refusal.recipient",
            "refusal.subject",
            "refusal.message_id",
            "refusal.reply",
            "refusal.user",
            "refusal.client",
            "refusal.certificate",
            "refusal.terms",
        ];
        add_all(fields, &NAMES, row)?;
    }
    Ok(())
}

const ROWS: &str =
    "SELECT e.sequence, e.reference, e.at, e.kind, e.recipient, e.details, e.covers, e.seed,
        e.digest, e.marks, b.leaves
    FROM event e LEFT JOIN blinded b ON b.sequence = e.sequence";

/// Rows of the chain after this one, in order, those that were purged among them.
pub(super) fn rows(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<walk::Row>, StoreError> {
    // What is beside a row is read as it is at the same moment.
    let moment = connection.unchecked_transaction()?;
    rows_at(&moment, after, limit)
}

fn rows_at(moment: &Connection, after: u64, limit: usize) -> Result<Vec<walk::Row>, StoreError> {
    let sql = format!("{ROWS} WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2");
    let mut found = read_rows(moment, &sql, &[after.cast_signed(), limit as i64])?;
    let end = match found.last() {
        Some(last) if found.len() == limit => last.name.sequence.cast_signed(),
        _ => i64::MAX,
    };
    let mut purged = purged(moment, after, end, limit)?;
    if purged.len() == limit {
        let end = purged.last().map_or(0, |it| it.name.sequence);
        found.retain(|it| it.name.sequence < end);
    }
    found.append(&mut purged);
    found.sort_by_key(|it| it.name.sequence);
    Ok(found)
}

fn purged(
    connection: &Connection,
    after: u64,
    end: i64,
    limit: usize,
) -> Result<Vec<walk::Row>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, hash, digest FROM blinded
         WHERE sequence > ?1 AND sequence <= ?2 AND hash IS NOT NULL ORDER BY sequence LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after.cast_signed(), end, limit as i64], |row| {
        Ok(walk::Row {
            name: Name {
                sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                reference: "nothing that is known".to_owned(),
                event: "purged".to_owned(),
            },
            digest: Some(Digest(row.get(2)?)),
            marks: Vec::new(),
            fields: Fields::Purged(Digest(row.get(1)?)),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The rows of the chain of one reference, in order.
pub(super) fn rows_of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<walk::Row>, StoreError> {
    let moment = connection.unchecked_transaction()?;
    let sql = format!("{ROWS} WHERE e.reference = ?1 AND e.digest IS NOT NULL ORDER BY e.sequence");
    read_rows(&moment, &sql, &[number(reference)])
}

fn read_rows(
    connection: &Connection,
    sql: &str,
    values: &[i64],
) -> Result<Vec<walk::Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_row(connection, row)?);
    }
    Ok(found)
}

fn read_row(connection: &Connection, row: &Row<'_>) -> Result<walk::Row, StoreError> {
    let (kind, details): (String, String) = (row.get(3)?, row.get(5)?);
    let (recipient, covers): (Option<String>, Option<String>) = (row.get(4)?, row.get(6)?);
    let new = NewRow {
        reference: row.get(1)?,
        at: row.get(2)?,
        kind: &kind,
        recipient: recipient.as_deref(),
        details: &details,
        covers: covers.as_deref(),
    };
    let seed: Option<[u8; 16]> = row.get(7)?;
    let kept: Option<String> = row.get(10)?;
    Ok(walk::Row {
        name: Name {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            reference: reference(new.reference),
            event: kind.clone(),
        },
        digest: row.get::<_, Option<[u8; 32]>>(8)?.map(Digest),
        marks: row.get::<_, Option<Vec<u8>>>(9)?.unwrap_or_default(),
        fields: fields(connection, &new, seed.map(Seed), kept.as_deref())?,
    })
}

fn fields(
    connection: &Connection,
    row: &NewRow<'_>,
    seed: Option<Seed>,
    kept: Option<&str>,
) -> Result<Fields, StoreError> {
    let mut fields = match own_fields(row) {
        Ok(fields) => fields,
        Err(why) => return Ok(Fields::Unreadable(why)),
    };
    if let Some(covers) = row.covers {
        beside(connection, row.reference, covers, &mut fields)?;
    }
    let fields = fields.into_iter().map(|it| Field {
        name: it.name.into_owned().into(),
        value: it.value.into_owned().into(),
    });
    let fields: Vec<Field<'static>> = fields.collect();
    Ok(match (seed, kept) {
        (Some(seed), None) => Fields::Leaves {
            leaves: leaf::sealed(&seed, fields),
            misplaced: Vec::new(),
        },
        (_, Some(kept)) => match serde_json::from_str(kept) {
            Ok(kept) => masked(fields, kept),
            Err(_) => Fields::Unreadable("what is kept of its masked fields is no JSON".to_owned()),
        },
        (None, None) => Fields::Unreadable("its seed is gone".to_owned()),
    })
}

/// The leaves of a row of which fields were masked.
fn masked(fields: Vec<Field<'static>>, mut kept: BTreeMap<String, Kept>) -> Fields {
    let mut misplaced = Vec::new();
    let mut leaves: Vec<Leaf<'static>> = Vec::new();
    for field in fields {
        match kept.remove(&*field.name) {
            Some(Kept::Salt(salt)) => leaves.push(Leaf::open(field, salt)),
            Some(Kept::Commitment(commitment)) => {
                if !field.is_mask() {
                    misplaced.push(field.name.clone().into_owned());
                }
                leaves.push(Leaf::bare(field.name, commitment));
            }
            // It has been added: with any salt at all the row is another one.
            None => leaves.push(Leaf::open(field, Seed([0; 16]).salt(""))),
        }
    }
    let bare = kept.into_iter().filter_map(|(name, kept)| match kept {
        Kept::Commitment(commitment) => Some(Leaf::bare(name.into(), commitment)),
        Kept::Salt(_) => None,
    });
    leaves.extend(bare);
    Fields::Leaves {
        leaves: leaf::sorted(leaves),
        misplaced,
    }
}

/// Rows with their digests, after this one.
pub(super) fn digests(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Option<Digest>)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, digest FROM event WHERE sequence > ?1
         UNION ALL SELECT sequence, digest FROM blinded WHERE sequence > ?1 AND hash IS NOT NULL
         ORDER BY sequence LIMIT ?2",
    )?;
    let rows = statement.query_map([after.cast_signed(), limit as i64], |row| {
        let digest: Option<[u8; 32]> = row.get(1)?;
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), digest.map(Digest)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Heads after this one, with their numbers, as they were written.
pub(super) fn heads(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, String)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT head, text FROM head WHERE head > ?1 ORDER BY head LIMIT ?2")?;
    let rows = statement.query_map([after.cast_signed(), limit as i64], |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn last_head(connection: &Connection) -> Result<Option<(u64, String)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT head, text FROM head ORDER BY head DESC LIMIT 1")?;
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
    Ok(statement.query_row([], read).optional()?)
}

/// The first head whose last row is not before this one.
pub(super) fn head_over(
    connection: &Connection,
    sequence: u64,
) -> Result<Option<String>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT text FROM head WHERE last >= ?1 ORDER BY last LIMIT 1")?;
    Ok(statement
        .query_row([sequence.cast_signed()], |row| row.get(0))
        .optional()?)
}

pub(super) fn add_head(connection: &Connection, head: &Head) -> Result<(), StoreError> {
    let last: i64 = connection
        .prepare_cached("SELECT coalesce(max(head), 0) FROM head")?
        .query_row([], |row| row.get(0))?;
    if last.unsigned_abs().saturating_add(1) != head.head {
        return Err(StoreError::Conflict("another head was signed".to_owned()));
    }
    let text =
        serde_json::to_string(head).map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    connection
        .prepare_cached("INSERT INTO head (head, last, text) VALUES (?1, ?2, ?3)")?
        .execute(params![
            head.head.cast_signed(),
            head.last.cast_signed(),
            text
        ])?;
    Ok(())
}

/// Recipients after this one, each with what happened to it and to its message as a whole.
pub(super) fn recipient_states(
    connection: &Connection,
    after: Option<RecipientId>,
    limit: usize,
) -> Result<Vec<RecipientState>, StoreError> {
    let moment = connection.unchecked_transaction()?;
    let mut statement = moment.prepare_cached(
        "SELECT reference, number, address, state FROM recipient
         WHERE (reference, number) > (?1, ?2) ORDER BY reference, number LIMIT ?3",
    )?;
    let (reference, place) =
        after.map_or((-1, -1), |it| (number(it.reference), i64::from(it.number)));
    let mut rows = statement.query(params![reference, place, limit as i64])?;
    let mut found: Vec<RecipientState> = Vec::new();
    while let Some(row) = rows.next()? {
        let reference: i64 = row.get(0)?;
        let address: String = row.get(2)?;
        found.push(RecipientState {
            id: RecipientId {
                reference: Reference::from_number(reference.unsigned_abs()),
                number: row.get(1)?,
            },
            state: row.get(3)?,
            events: events(&moment, reference, &address)?,
            address,
        });
    }
    Ok(found)
}

fn events(
    connection: &Connection,
    reference: i64,
    recipient: &str,
) -> Result<Vec<EventKind>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind FROM event
         WHERE reference = ?1 AND (recipient = ?2 OR recipient IS NULL) ORDER BY sequence",
    )?;
    let mut rows = statement.query(params![reference, recipient])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: Option<EventKind> = row.get_ref(0)?.as_str().ok().and_then(|it| it.parse().ok());
        found.extend(kind);
    }
    Ok(found)
}

/// Refusals after this one of which no row of the log speaks, and the last one looked at; `None` at the end.
pub(super) fn unexplained_refusals(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<(Option<u64>, Vec<Reference>), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.id, r.reference, EXISTS (SELECT 1 FROM event e WHERE e.reference = r.reference
             AND (e.digest IS NULL OR instr(' ' || e.covers || ' ', ' refusal:' || r.id || ' ') > 0))
         FROM refusal r WHERE r.id > ?1 ORDER BY r.id LIMIT ?2",
    )?;
    let mut rows = statement.query([after.cast_signed(), limit as i64])?;
    let (mut last, mut found) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        last = Some(row.get::<_, i64>(0)?.unsigned_abs());
        if !row.get::<_, bool>(2)? {
            found.push(Reference::from_number(row.get::<_, i64>(1)?.unsigned_abs()));
        }
    }
    Ok((last, found))
}

/// Takes the salts of these fields of a row away for good. The row must be as it was written: what somebody
/// has changed is not to be hidden by this. What stands in the fields is the caller's to take away, in the
/// same transaction; only nothing, or what begins with [`MASKED`], may stand there afterwards.
pub(super) fn blind(
    connection: &Connection,
    sequence: u64,
    names: &[String],
) -> Result<(), StoreError> {
    let leaves = intact(connection, sequence)?;
    let kept: BTreeMap<&str, Kept> = leaves
        .iter()
        .map(|leaf| {
            let salt = leaf
                .open
                .as_ref()
                .filter(|_| !names.iter().any(|it| *it == leaf.name));
            let kept = salt.map_or(Kept::Commitment(leaf.commitment), |(salt, _)| {
                Kept::Salt(*salt)
            });
            (&*leaf.name, kept)
        })
        .collect();
    let text =
        serde_json::to_string(&kept).map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO blinded (sequence, leaves) VALUES (?1, ?2)")?
        .execute(params![sequence.cast_signed(), text])?;
    connection
        .prepare_cached("UPDATE event SET seed = NULL WHERE sequence = ?1")?
        .execute([sequence.cast_signed()])?;
    Ok(())
}

/// Deletes a row of the log for good; its hash and its digest stay. Likewise.
pub(super) fn purge(connection: &Connection, sequence: u64) -> Result<(), StoreError> {
    let hash = leaf::row_hash(&intact(connection, sequence)?);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO blinded (sequence, hash, digest)
             SELECT sequence, ?2, digest FROM event WHERE sequence = ?1",
        )?
        .execute(params![sequence.cast_signed(), hash.0])?;
    connection
        .prepare_cached("DELETE FROM event WHERE sequence = ?1")?
        .execute([sequence.cast_signed()])?;
    Ok(())
}

/// What stands in the fields of a row now, whether it is as it was written or not.
pub(super) fn fields_of(
    connection: &Connection,
    sequence: u64,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, at, kind, recipient, details, covers FROM event WHERE sequence = ?1",
    )?;
    let mut rows = statement.query([sequence.cast_signed()])?;
    let Some(row) = rows.next()? else {
        return Ok(Vec::new());
    };
    let (kind, details): (String, String) = (row.get(2)?, row.get(4)?);
    let (recipient, covers): (Option<String>, Option<String>) = (row.get(3)?, row.get(5)?);
    let new = NewRow {
        reference: row.get(0)?,
        at: row.get(1)?,
        kind: &kind,
        recipient: recipient.as_deref(),
        details: &details,
        covers: covers.as_deref(),
    };
    let changed = |_| {
        StoreError::Conflict(format!(
            "row {sequence} of the log is not as it was written"
        ))
    };
    let mut fields = own_fields(&new).map_err(changed)?;
    if let Some(covers) = new.covers {
        beside(connection, new.reference, covers, &mut fields)?;
    }
    let text = |it: Field<'_>| {
        let value = String::from_utf8_lossy(&it.value).into_owned();
        (it.name.into_owned(), value)
    };
    Ok(fields.into_iter().map(text).collect())
}

/// The leaves of a row that follows the one before it.
fn intact(connection: &Connection, sequence: u64) -> Result<Vec<Leaf<'static>>, StoreError> {
    let wrong = || {
        StoreError::Conflict(format!(
            "row {sequence} of the log is not as it was written"
        ))
    };
    let before = sequence.saturating_sub(1);
    let start = start(connection)?;
    let row = rows_at(connection, before, 1)?.pop();
    let row = row
        .filter(|it| it.name.sequence == sequence)
        .ok_or_else(wrong)?;
    let before = match sequence == start.first {
        true => Some(start.digest()),
        false => digests(connection, before.saturating_sub(1), 1)?
            .pop()
            .filter(|(at, _)| *at == before)
            .and_then(|(_, digest)| digest),
    };
    match (row.fields, before) {
        (Fields::Leaves { leaves, .. }, Some(before))
            if row.digest == Some(link(before, sequence, leaf::row_hash(&leaves))) =>
        {
            Ok(leaves)
        }
        _ => Err(wrong()),
    }
}

/// Takes away what stands in these fields of a row and of what it speaks for, once they were blinded.
pub(super) fn erase(
    connection: &Connection,
    sequence: u64,
    names: &[String],
) -> Result<(), StoreError> {
    change_details(connection, sequence, |left| {
        left.retain(|name, _| {
            !names
                .iter()
                .any(|it| it.strip_prefix("details.") == Some(name))
        });
    })?;
    for name in names {
        set_column(connection, sequence, name, None)?;
    }
    Ok(())
}

/// Puts this in the place of a field that was blinded; it begins with [`MASKED`].
pub(super) fn put(
    connection: &Connection,
    sequence: u64,
    name: &str,
    value: &str,
) -> Result<(), StoreError> {
    let Some(detail) = name.strip_prefix("details.") else {
        return set_column(connection, sequence, name, Some(value));
    };
    change_details(connection, sequence, |left| {
        left.insert(detail.to_owned(), value.into());
    })
}

fn change_details(
    connection: &Connection,
    sequence: u64,
    change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT details FROM event WHERE sequence = ?1")?;
    let before: String = statement.query_row([sequence.cast_signed()], |row| row.get(0))?;
    let corrupt = |fault: serde_json::Error| StoreError::Corrupt(fault.to_string());
    let mut left = serde_json::from_str(&before).map_err(corrupt)?;
    change(&mut left);
    let after = serde_json::to_string(&left).map_err(corrupt)?;
    if before != after {
        connection
            .prepare_cached("UPDATE event SET details = ?2 WHERE sequence = ?1")?
            .execute(params![sequence.cast_signed(), after])?;
    }
    Ok(())
}

/// `None`: nothing, or [`MASKED`] where something has to stand.
fn set_column(
    connection: &Connection,
    sequence: u64,
    name: &str,
    value: Option<&str>,
) -> Result<(), StoreError> {
    let parts: Vec<&str> = name.split('.').collect();
    let of_row = |what: &str| format!("(SELECT {what} FROM event WHERE sequence = {sequence})");
    let (table, key, column) = match *parts.as_slice() {
        ["recipient"] => ("event", format!("sequence = {sequence}"), "recipient"),
        ["message", column] => (
            "message",
            format!("reference = {}", of_row("reference")),
            column,
        ),
        ["refusal", column] => {
            let id = refusal_of(connection, sequence)?;
            ("refusal", format!("id = {id}"), column)
        }
        [
            table @ ("recipient" | "attachment" | "member"),
            number,
            column,
        ] => {
            let number: i64 = number.parse().unwrap_or(-1);
            let reference = of_row("reference");
            let key = format!("reference = {reference} AND number = {number}");
            (table, key, column)
        }
        _ => return Ok(()),
    };
    let Some((column, empty)) = ERASED.iter().find(|(it, _)| *it == column) else {
        return Ok(());
    };
    let value = value.or_else(|| empty.then_some(MASKED));
    connection
        .prepare(&format!("UPDATE {table} SET {column} = ?1 WHERE {key}"))?
        .execute([value])?;
    Ok(())
}

/// The refusal that a row speaks for.
fn refusal_of(connection: &Connection, sequence: u64) -> Result<i64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT covers FROM event WHERE sequence = ?1")?;
    let covers: Option<String> = statement.query_row([sequence.cast_signed()], |row| row.get(0))?;
    let covers = covers.unwrap_or_default();
    let refusal = covers.split(' ').find_map(|it| it.strip_prefix("refusal:"));
    Ok(refusal.and_then(|it| it.parse().ok()).unwrap_or(-1))
}

/// The columns that can be masked, and whether something has to stand in them.
const ERASED: &[(&str, bool)] = &[
    ("address", true),
    ("certificate", false),
    ("client", true),
    ("envelope_id", false),
    ("message_id", false),
    ("name", true),
    ("original", false),
    ("recipient", false),
    ("reply", true),
    ("sender", false),
    ("subject", false),
    ("user", false),
    ("within", true),
];
