//! The revisions of the routing table, and what was decided on them.
//!
//! Which revision counts is what the view `in_force` says, so that no reader ever sees one that waits for
//! its approval. Each change asks again, in its own transaction, whether it is still due; what it was made
//! from may have changed meanwhile, and is then a `Conflict`.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::write::insert_event;
use crate::mail::{Details, Event, EventKind, Reference, Timestamp};
use crate::spool::revision::{
    Approval, Chapter, Conditions, Decision, Revision, RevisionState, RoutesMark, Unconfirmed,
};
use crate::spool::store::StoreError;

/// How often a reference is sought that nothing else has.
const PATIENCE: u32 = 100;

const IN_FORCE: &str = "SELECT revision, at, by, reason, summary, routes FROM revision
    WHERE revision = (SELECT revision FROM in_force)";

pub(super) fn in_force(connection: &Connection) -> Result<Option<Revision>, StoreError> {
    Ok(connection
        .prepare_cached(IN_FORCE)?
        .query_row([], to_revision)
        .optional()?)
}

/// Whoever writes a revision, by whatever program: triggers count it.
pub(super) fn mark(connection: &Connection) -> Result<Option<RoutesMark>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT revision, count FROM in_force, revision_written WHERE revision IS NOT NULL",
        )?
        .query_row([], |row| {
            Ok(RoutesMark {
                revision: row.get::<_, i64>(0)?.unsigned_abs(),
                written: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        })
        .optional()?)
}

pub(super) fn one(connection: &Connection, number: u64) -> Result<Option<Revision>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT revision, at, by, reason, summary, routes FROM revision WHERE revision = ?1",
        )?
        .query_row([column(number)], to_revision)
        .optional()?)
}

/// There is none beyond what the column holds.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        revision: row.get::<_, i64>(0)?.unsigned_abs(),
        at: Timestamp::from_millis(row.get(1)?),
        by: row.get(2)?,
        reason: row.get(3)?,
        summary: row.get(4)?,
        // What is no text at all is no table either; whoever reads it says so.
        table: String::from_utf8_lossy(row.get_ref(5)?.as_bytes()?).into_owned(),
    })
}

/// Newest first.
pub(super) fn history(connection: &Connection) -> Result<Vec<Chapter>, StoreError> {
    let current = number_in_force(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT revision.revision, at, by, revision.reason, summary, '',
                base, is_approved, decided_at, decided_by, approval.reason,
                back_to, since, until, confirmed_at, confirmed_by
            FROM revision LEFT JOIN approval USING (revision) LEFT JOIN confirmation USING (revision)
            ORDER BY revision DESC",
    )?;
    let chapters = statement.query_map([], |row| to_chapter(row, current))?;
    Ok(chapters.collect::<Result<_, _>>()?)
}

fn to_chapter(row: &Row<'_>, current: u64) -> rusqlite::Result<Chapter> {
    let revision = to_revision(row)?;
    let approval = to_approval(row)?;
    let unconfirmed = to_unconfirmed(row, revision.revision)?;
    let confirmed: Option<i64> = row.get(14)?;
    let confirmed = match confirmed {
        Some(at) => Some((Timestamp::from_millis(at), row.get(15)?)),
        None => None,
    };
    let is_unconfirmed = unconfirmed.is_some() && confirmed.is_none();
    let decision = approval.as_ref().map(|it| (it.base, &it.decision));
    let state = match (decision, unconfirmed) {
        (Some((base, None)), _) if base == current => RevisionState::Waiting,
        (Some((_, None)), _) => RevisionState::Overtaken,
        (Some((_, Some(decision))), _) if !decision.is_approved => RevisionState::Rejected,
        (_, Some(it)) if revision.revision == current && confirmed.is_none() => {
            RevisionState::Unconfirmed(it)
        }
        _ if revision.revision == current => RevisionState::InForce,
        _ => RevisionState::Past,
    };
    Ok(Chapter {
        revision,
        state,
        approval,
        confirmed,
        is_unconfirmed,
    })
}

fn to_approval(row: &Row<'_>) -> rusqlite::Result<Option<Approval>> {
    let Some(base) = row.get::<_, Option<i64>>(6)? else {
        return Ok(None);
    };
    let decision = match row.get(7)? {
        Some(is_approved) => Some(Decision {
            is_approved,
            at: Timestamp::from_millis(row.get(8)?),
            by: row.get(9)?,
            reason: row.get(10)?,
        }),
        None => None,
    };
    Ok(Some(Approval {
        base: base.unsigned_abs(),
        decision,
    }))
}

fn to_unconfirmed(row: &Row<'_>, revision: u64) -> rusqlite::Result<Option<Unconfirmed>> {
    let Some(back_to) = row.get::<_, Option<i64>>(11)? else {
        return Ok(None);
    };
    Ok(Some(Unconfirmed {
        revision,
        back_to: back_to.unsigned_abs(),
        since: Timestamp::from_millis(row.get(12)?),
        until: Timestamp::from_millis(row.get(13)?),
    }))
}

/// The revision in force, where it is taken back unless it is confirmed.
pub(super) fn unconfirmed(connection: &Connection) -> Result<Option<Unconfirmed>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT revision, back_to, since, until FROM confirmation
                WHERE revision = (SELECT revision FROM in_force) AND confirmed_at IS NULL",
        )?
        .query_row([], |row| {
            Ok(Unconfirmed {
                revision: row.get::<_, i64>(0)?.unsigned_abs(),
                back_to: row.get::<_, i64>(1)?.unsigned_abs(),
                since: Timestamp::from_millis(row.get(2)?),
                until: Timestamp::from_millis(row.get(3)?),
            })
        })
        .optional()?)
}

/// 0 while there is none.
fn number_in_force(connection: &Connection) -> Result<u64, StoreError> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT revision FROM in_force")?
        .query_row([], |row| row.get(0))?;
    Ok(number.unwrap_or_default().unsigned_abs())
}

fn still(current: u64, expected: u64) -> Result<(), StoreError> {
    match current == expected {
        true => Ok(()),
        false => Err(moved_on(current, expected)),
    }
}

/// What is said where the table is no longer the one that somebody looked at.
pub(super) fn moved_on(current: u64, expected: u64) -> StoreError {
    StoreError::Conflict(format!(
        "the routing table is at revision {current}, not {expected}: plan again"
    ))
}

/// Writes a new revision, and gives it its number.
pub(super) fn put(
    connection: &Connection,
    new: &Revision,
    expected: Option<u64>,
    conditions: Conditions,
) -> Result<u64, StoreError> {
    let current = number_in_force(connection)?;
    if let Some(expected) = expected {
        still(current, expected)?;
    }
    let back_to = unconfirmed(connection)?.map_or(current, |it| it.back_to);
    let number = insert(connection, new)?;
    if conditions.needs_approval && current > 0 {
        propose(connection, number, current, conditions)?;
        return Ok(number);
    }
    tell(connection, new, number)?;
    if let Some(length) = conditions.confirm.filter(|_| back_to > 0) {
        await_confirmation(connection, number, back_to, new.at, new.at.after(length))?;
    }
    Ok(number)
}

fn insert(connection: &Connection, new: &Revision) -> Result<u64, StoreError> {
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce(max(revision), 0) FROM revision")?
        .query_row([], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO revision (revision, at, by, reason, summary, routes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            newest + 1,
            new.at.as_millis(),
            new.by,
            new.reason,
            new.summary,
            new.table
        ])?;
    Ok((newest + 1).unsigned_abs())
}

/// Writes the event that a revision came in force as it was made.
fn tell(connection: &Connection, new: &Revision, number: u64) -> Result<(), StoreError> {
    let revision = Revision {
        revision: number,
        ..new.clone()
    };
    let reference = unused_reference(connection, new.at)?;
    let (by, reason) = (&new.by, new.reason.as_deref());
    insert_event(connection, &revision.came_in_force(reference, by, reason))
}

/// Writes an event of no message.
pub(super) fn tell_event(
    connection: &Connection,
    at: Timestamp,
    kind: EventKind,
    details: &Details,
) -> Result<Reference, StoreError> {
    let reference = unused_reference(connection, at)?;
    let event = Event {
        reference,
        at,
        kind,
        recipient: None,
        details: details.clone(),
    };
    insert_event(connection, &event)?;
    Ok(reference)
}

/// A reference made at that moment, which nothing else has.
fn unused_reference(connection: &Connection, at: Timestamp) -> Result<Reference, StoreError> {
    let first = Reference::first_at(at).number();
    let next = Reference::first_at(at.after(Duration::from_millis(1)));
    let within = next.number().saturating_sub(first).max(1);
    for attempt in 0..PATIENCE {
        let number = first + RandomState::new().hash_one(attempt) % within;
        let is_taken: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM event WHERE reference = ?1)")?
            .query_row([number.cast_signed()], |row| row.get(0))?;
        if !is_taken {
            return Ok(Reference::from_number(number));
        }
    }
    Err(StoreError::Conflict("no reference is free".to_owned()))
}

fn propose(
    connection: &Connection,
    number: u64,
    base: u64,
    conditions: Conditions,
) -> Result<(), StoreError> {
    let confirm_for = conditions.confirm.map(|it| it.as_millis() as i64);
    connection
        .prepare_cached("INSERT INTO approval (revision, base, confirm_for) VALUES (?1, ?2, ?3)")?
        .execute(params![column(number), column(base), confirm_for])?;
    Ok(())
}

fn await_confirmation(
    connection: &Connection,
    number: u64,
    back_to: u64,
    since: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO confirmation (revision, back_to, since, until) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            column(number),
            column(back_to),
            since.as_millis(),
            until.as_millis()
        ])?;
    Ok(())
}

/// Decides on a revision that waits for it. One that is approved is in force from now on.
pub(super) fn decide(
    connection: &Connection,
    number: u64,
    decision: &Decision,
) -> Result<(), StoreError> {
    let current = number_in_force(connection)?;
    let waiting: Option<(i64, Option<i64>)> = connection
        .prepare_cached(
            "SELECT base, confirm_for FROM approval WHERE revision = ?1 AND is_approved IS NULL",
        )?
        .query_row([column(number)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((base, confirm_for)) = waiting else {
        let text = format!("revision {number} does not wait for an approval");
        return Err(StoreError::Conflict(text));
    };
    if decision.is_approved {
        still(current, base.unsigned_abs())?;
        if let Some(length) = confirm_for {
            let back_to = unconfirmed(connection)?.map_or(current, |it| it.back_to);
            let until = Timestamp::from_millis(decision.at.as_millis().saturating_add(length));
            await_confirmation(connection, number, back_to, decision.at, until)?;
        }
    }
    if decision.is_approved
        && let Some(approved) = one(connection, number)?
    {
        let reference = unused_reference(connection, decision.at)?;
        let approved = Revision {
            at: decision.at,
            ..approved
        };
        let reason = decision.reason.as_deref().or(approved.reason.as_deref());
        let event = approved.came_in_force(reference, &decision.by, reason);
        insert_event(connection, &event)?;
    }
    connection
        .prepare_cached(
            "UPDATE approval SET is_approved = ?2, decided_at = ?3, decided_by = ?4, reason = ?5
                WHERE revision = ?1",
        )?
        .execute(params![
            column(number),
            decision.is_approved,
            decision.at.as_millis(),
            decision.by,
            decision.reason
        ])?;
    Ok(())
}

/// The revision in force stays, if it is still that one and waits for its confirmation.
pub(super) fn confirm(
    connection: &Connection,
    number: u64,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE confirmation SET confirmed_at = ?2, confirmed_by = ?3
                WHERE revision = ?1 AND confirmed_at IS NULL
                    AND revision = (SELECT revision FROM in_force)",
        )?
        .execute(params![column(number), at.as_millis(), by])?;
    no_longer_waits(changed > 0, number)
}

/// Puts `old` in force in the place of a revision that nobody has confirmed.
pub(super) fn take_back(
    connection: &Connection,
    number: u64,
    old: &Revision,
) -> Result<u64, StoreError> {
    let due = unconfirmed(connection)?.is_some_and(|it| it.revision == number);
    no_longer_waits(due, number)?;
    let number = insert(connection, old)?;
    tell(connection, old, number)?;
    Ok(number)
}

fn no_longer_waits(does_wait: bool, number: u64) -> Result<(), StoreError> {
    match does_wait {
        true => Ok(()),
        false => Err(StoreError::Conflict(format!(
            "revision {number} does not wait for its confirmation"
        ))),
    }
}
