//! What waits for its verdict and what was caught, as SQL.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::super::store::{
    Caught, CaughtMessage, NewScan, ScanQueue, ScanRow, ScanStep, StoreError,
};
use super::write::number;
use crate::mail::{Priority, Reference, Timestamp};

/// No scan waits as long for the next one by the same clock.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn reference(row: &Row<'_>, place: usize) -> rusqlite::Result<Reference> {
    let number: i64 = row.get(place)?;
    Ok(Reference::from_number(number.unsigned_abs()))
}

/// Of a message that is in the store already.
pub(super) fn insert(
    connection: &Connection,
    reference: Reference,
    scan: NewScan,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO scan (reference, priority, size, due_at, held_by, attempts, stalls, answers, owed)
             SELECT m.reference, r.priority, m.size, ?2, ?3, ?4, ?5, ?6, ?7
                 FROM message m JOIN recipient r ON r.reference = m.reference
                 WHERE m.reference = ?1 LIMIT 1",
        )?
        .execute(params![
            number(reference),
            scan.due_at.as_millis(),
            scan.held_by.map(u64::cast_signed),
            scan.attempts,
            scan.stalls,
            scan.answers,
            scan.is_owed,
        ])?;
    Ok(())
}

pub(super) fn apply(connection: &Connection, step: &ScanStep) -> Result<(), StoreError> {
    match step {
        ScanStep::Done { reference, trace } => {
            connection
                .prepare_cached("DELETE FROM scan WHERE reference = ?1")?
                .execute([number(*reference)])?;
            set_trace(connection, *reference, trace)
        }
        ScanStep::Again {
            reference,
            due_at,
            attempts,
            stalls,
            answers,
            reason,
        } => {
            connection
                .prepare_cached(
                    "UPDATE scan SET due_at = ?2, attempts = ?3, stalls = ?4, reason = ?5, answers = ?6,
                         held_by = NULL
                     WHERE reference = ?1",
                )?
                .execute(params![
                    number(*reference),
                    due_at.map(Timestamp::as_millis),
                    attempts,
                    stalls,
                    reason,
                    answers,
                ])?;
            Ok(())
        }
        ScanStep::HeldBy {
            reference,
            measure,
            due_at,
            trace,
        } => {
            connection
                .prepare_cached("UPDATE scan SET due_at = ?2, held_by = ?3 WHERE reference = ?1")?
                .execute(params![
                    number(*reference),
                    due_at.as_millis(),
                    measure.cast_signed(),
                ])?;
            set_trace(connection, *reference, trace)
        }
        ScanStep::Anew {
            reference,
            at,
            is_excused,
        } => anew(connection, *reference, *at, *is_excused),
    }
}

fn anew(
    connection: &Connection,
    reference: Reference,
    at: Timestamp,
    is_excused: bool,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO scan (reference, priority, size, due_at, excused, round)
             SELECT m.reference, r.priority, m.size, ?2, ?3, 1
                 FROM message m JOIN recipient r ON r.reference = m.reference
                 WHERE m.reference = ?1 LIMIT 1
             ON CONFLICT (reference) DO UPDATE SET due_at = ?2, stalls = 0, answers = 0, held_by = NULL,
                 attempts = 0, excused = max(excused, ?3), round = round + 1",
        )?
        .execute(params![number(reference), at.as_millis(), is_excused])?;
    Ok(())
}

/// Whether a new scan was asked for since this one was begun.
pub(super) fn is_void(
    connection: &Connection,
    scan: Reference,
    round: u64,
) -> Result<bool, StoreError> {
    let mut newer =
        connection.prepare_cached("SELECT 1 FROM scan WHERE reference = ?1 AND round > ?2")?;
    Ok(newer.exists(params![number(scan), round.cast_signed()])?)
}

/// What has no verdict is scanned now.
pub(super) fn make_all_due(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE scan SET due_at = ?1, attempts = 0 WHERE held_by IS NULL AND due_at > ?1",
        )?
        .execute([now.as_millis()])?;
    Ok(())
}

/// A recipient that waits for a scan without a row here would wait for ever.
pub(super) fn mend(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let made = connection
        .prepare_cached(
            "INSERT INTO scan (reference, priority, size, due_at, round)
             SELECT m.reference, max(r.priority), m.size, ?1, 1
                 FROM recipient r INDEXED BY recipient_waiting JOIN message m ON m.reference = r.reference
                 WHERE r.finished_at IS NULL AND r.state = 'unscanned'
                     AND NOT EXISTS (SELECT 1 FROM scan s WHERE s.reference = r.reference)
                 GROUP BY m.reference",
        )?
        .execute([now.as_millis()])?;
    Ok(made as u64)
}

pub(super) fn end_holds(
    connection: &Connection,
    in_force: &[u64],
    now: Timestamp,
) -> Result<(), StoreError> {
    let numbers =
        serde_json::to_string(in_force).map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    connection
        .prepare_cached(
            "UPDATE scan SET due_at = ?2 WHERE held_by IS NOT NULL AND due_at > ?2
                 AND held_by NOT IN (SELECT value FROM json_each(?1))",
        )?
        .execute(params![numbers, now.as_millis()])?;
    Ok(())
}

/// The size of a message counts its trace fields.
fn set_trace(
    connection: &Connection,
    reference: Reference,
    trace: &[u8],
) -> Result<(), StoreError> {
    let row = number(reference);
    connection
        .prepare_cached(
            "UPDATE message SET size = size + ?2
                 - (SELECT length(trace) FROM content WHERE reference = ?1)
             WHERE reference = ?1 AND EXISTS (SELECT 1 FROM content WHERE reference = ?1)",
        )?
        .execute(params![row, trace.len() as i64])?;
    connection
        .prepare_cached("UPDATE content SET trace = ?2 WHERE reference = ?1")?
        .execute(params![row, trace])?;
    Ok(())
}

pub(super) fn catch(connection: &Connection, caught: &Caught) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO quarantine (reference, at, malware, engine, reason)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (reference) DO UPDATE SET malware = ?3, engine = ?4, reason = ?5",
        )?
        .execute(params![
            number(caught.reference),
            caught.at.as_millis(),
            caught.malware,
            caught.engine,
            caught.reason,
        ])?;
    Ok(())
}

/// Of a message of which nothing is quarantined any more.
pub(super) fn let_out(connection: &Connection, reference: Reference) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM quarantine WHERE reference = ?1 AND NOT EXISTS (
                 SELECT 1 FROM recipient WHERE reference = ?1 AND state = 'quarantined')",
        )?
        .execute([number(reference)])?;
    Ok(())
}

/// Of a message of which nothing is to be delivered any more.
pub(super) fn finish(connection: &Connection, reference: Reference) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM scan WHERE reference = ?1 AND NOT EXISTS
                 (SELECT 1 FROM recipient WHERE reference = ?1
                     AND (finished_at IS NULL OR look_at IS NOT NULL))",
        )?
        .execute([number(reference)])?;
    Ok(())
}

pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<ScanRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, priority, size, attempts, stalls, reason, held_by, excused, round, owed, answers
         FROM scan INDEXED BY scan_due WHERE due_at IS NOT NULL
             AND (due_at <= ?1 OR (held_by IS NULL AND due_at > ?3))
         ORDER BY priority DESC, reference LIMIT ?2",
    )?;
    // So far ahead no scan is put off: the clock was set back since.
    let beyond = now.after(LONGEST_WAIT).as_millis();
    let rows = statement.query_map(params![now.as_millis(), limit as i64, beyond], |row| {
        Ok(ScanRow {
            reference: reference(row, 0)?,
            priority: Priority::new(row.get(1)?).unwrap_or(Priority::ROUTINE),
            size: row.get::<_, i64>(2)?.unsigned_abs(),
            attempts: row.get(3)?,
            stalls: row.get(4)?,
            reason: row.get(5)?,
            held_by: row.get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
            is_excused: row.get(7)?,
            round: row.get::<_, i64>(8)?.unsigned_abs(),
            is_owed: row.get(9)?,
            answers: row.get(10)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn count(connection: &Connection) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM scan")?
        .query_row([], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) fn queue(connection: &Connection) -> Result<ScanQueue, StoreError> {
    let found = connection
        .prepare_cached(
            "WITH waiting AS (SELECT * FROM scan WHERE held_by IS NULL
                 OR held_by NOT IN (SELECT number FROM measure WHERE kind = 'exception'))
             SELECT count(*), count(*) FILTER (WHERE priority > 0),
                 count(*) FILTER (WHERE due_at IS NULL), count(*) FILTER (WHERE owed),
                 (SELECT accepted_at FROM message
                     WHERE reference = (SELECT min(reference) FROM waiting))
             FROM waiting",
        )?
        .query_row([], |row| {
            let count = |place| row.get::<_, i64>(place).map(i64::unsigned_abs);
            Ok(ScanQueue {
                waiting: count(0)?,
                urgent: count(1)?,
                poison: count(2)?,
                owed: count(3)?,
                oldest_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            })
        })?;
    Ok(found)
}

pub(super) fn quarantined(
    connection: &Connection,
    only: Option<Reference>,
    limit: usize,
) -> Result<Vec<CaughtMessage>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT q.reference, q.at, m.sender, m.sender_room, m.subject, m.size, q.malware, q.engine,
             q.reason
         FROM quarantine q JOIN message m ON m.reference = q.reference
         WHERE ?1 IS NULL OR q.reference = ?1 ORDER BY q.reference DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![only.map(number), limit], |row| {
        Ok(CaughtMessage {
            reference: reference(row, 0)?,
            at: Timestamp::from_millis(row.get(1)?),
            sender: row.get(2)?,
            sender_room: row.get(3)?,
            recipients: Vec::new(),
            subject: row.get(4)?,
            size: row.get::<_, i64>(5)?.unsigned_abs(),
            malware: row.get(6)?,
            engine: row.get(7)?,
            reason: row.get(8)?,
        })
    })?;
    let mut caught: Vec<CaughtMessage> = rows.collect::<Result<_, _>>()?;
    let mut recipients = connection.prepare_cached(
        "SELECT address FROM recipient WHERE reference = ?1 AND state = 'quarantined'
         ORDER BY number",
    )?;
    for message in &mut caught {
        let found = recipients.query_map([number(message.reference)], |row| row.get(0))?;
        message.recipients = found.collect::<Result<_, _>>()?;
    }
    Ok(caught)
}

pub(super) fn caught_before(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Reference>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT reference FROM quarantine WHERE at < ?1 ORDER BY at LIMIT ?2")?;
    let found = statement.query_map(params![before.as_millis(), limit as i64], |row| {
        reference(row, 0)
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
