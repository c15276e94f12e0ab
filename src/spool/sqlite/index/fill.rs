//! Fills the index: what happened in the store since the last time, a portion in one transaction.
//!
//! A row is written once it is there, and again when more is known of it: what became of it, or what was
//! found inside of its attachments. Several processes may fill the same index.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::super::findable;
use super::tokens::Dictionary;
use super::{SLOT_BITS, first_id, read};
use crate::mail::Reference;
use crate::spool::store::{LogRow, StoreError};

/// Events at a time.
const PORTION: u64 = 2_000;
/// The row of a crowded millisecond may stand in a later one.
pub(super) const SPILL: i64 = 64;

/// The last event that the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    sequence: i64,
    reference: i64,
    at: i64,
}

fn position(index: &Connection) -> Result<Position, StoreError> {
    let position = index
        .prepare_cached("SELECT sequence, reference, at FROM position")?
        .query_row([], to_position)?;
    Ok(position)
}

fn to_position(row: &rusqlite::Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position {
        sequence: row.get(0)?,
        reference: row.get(1)?,
        at: row.get(2)?,
    })
}

/// The last event that the index knows.
pub(super) fn last_known(index: &Connection) -> Result<i64, StoreError> {
    Ok(position(index)?.sequence)
}

/// How many events the store has that the index has not. An index of another store is told as corrupt.
pub(super) fn behind(store: &Connection, index: &Connection) -> Result<u64, StoreError> {
    let known = position(index)?;
    let last = read::last_event(store)?.cast_signed();
    let there = event_at(store, known.sequence)?;
    let is_other = last < known.sequence || there.is_some_and(|it| it != known);
    if is_other {
        let words = "the search index was made from another store".to_owned();
        return Err(StoreError::Corrupt(words));
    }
    Ok(last.abs_diff(known.sequence))
}

fn event_at(store: &Connection, sequence: i64) -> Result<Option<Position>, StoreError> {
    Ok(store
        .prepare_cached("SELECT sequence, reference, at FROM event WHERE sequence = ?1")?
        .query_row([sequence], to_position)
        .optional()?)
}

/// Whether there is more to be filled in.
pub(super) fn portion(store: &Connection, index: &mut Connection) -> Result<bool, StoreError> {
    if behind(store, index)? == 0 {
        return Ok(false);
    }
    let step = index.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // What another process has filled in meanwhile is seen only now.
    let behind = behind(store, &step)?;
    let known = position(&step)?;
    let events = events_after(store, known.sequence)?;
    if let Some(last) = events.last() {
        let references: BTreeSet<i64> = events.iter().map(|it| it.reference).collect();
        let mut dictionary = Dictionary::default();
        for reference in references {
            fill_in(store, &step, &mut dictionary, reference)?;
        }
        step.prepare_cached("UPDATE position SET sequence = ?1, reference = ?2, at = ?3")?
            .execute([last.sequence, last.reference, last.at])?;
    }
    step.commit()?;
    Ok(behind > PORTION)
}

fn events_after(store: &Connection, sequence: i64) -> Result<Vec<Position>, StoreError> {
    let mut statement = store.prepare_cached(
        "SELECT sequence, reference, at FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let events = statement.query_map([sequence, PORTION.cast_signed()], to_position)?;
    Ok(events.collect::<Result<_, _>>()?)
}

fn fill_in(
    store: &Connection,
    index: &Connection,
    dictionary: &mut Dictionary,
    reference: i64,
) -> Result<(), StoreError> {
    let named = Reference::from_number(reference.unsigned_abs());
    let rows = read::rows_of(store, named)?;
    if rows.is_empty() {
        return Ok(());
    }
    let files = read::files_of(store, named)?;
    for (place, row) in rows {
        let mut tokens = Vec::new();
        for term in findable::terms(&row, &files) {
            tokens.push(dictionary.token(index, &term)?);
        }
        put(index, reference, place, &row, &tokens.join(" "))?;
    }
    Ok(())
}

fn put(
    index: &Connection,
    reference: i64,
    place: i64,
    row: &LogRow,
    tokens: &str,
) -> Result<(), StoreError> {
    let millis = row.at.as_millis();
    let id = match known_id(index, reference, place, millis)? {
        Some(id) => {
            index.prepare_cached("DELETE FROM doc WHERE rowid = ?1")?.execute([id])?;
            id
        }
        None => {
            let id = free_id(index, millis)?;
            index
                .prepare_cached("INSERT INTO entry (id, reference, place) VALUES (?1, ?2, ?3)")?
                .execute([id, reference, place])?;
            id
        }
    };
    index
        .prepare_cached("INSERT INTO doc (rowid, tokens) VALUES (?1, ?2)")?
        .execute(params![id, tokens])?;
    Ok(())
}

fn known_id(index: &Connection, reference: i64, place: i64, millis: i64) -> Result<Option<i64>, StoreError> {
    Ok(index
        .prepare_cached(
            "SELECT id FROM entry WHERE id >= ?1 AND id < ?2 AND reference = ?3 AND place = ?4",
        )?
        .query_row([first_id(millis), first_id(millis + SPILL), reference, place], |row| row.get(0))
        .optional()?)
}

/// Behind the last of its millisecond; where that is full, in the next one with room.
fn free_id(index: &Connection, millis: i64) -> Result<i64, StoreError> {
    let mut last = index.prepare_cached("SELECT max(id) FROM entry WHERE id >= ?1 AND id < ?2")?;
    let mut millis = millis;
    loop {
        let (first, end) = (first_id(millis), first_id(millis) + (1 << SLOT_BITS));
        let last: Option<i64> = last.query_row([first, end], |row| row.get(0))?;
        let id = last.map_or(first, |it| it + 1);
        if id < end {
            return Ok(id);
        }
        millis += 1;
    }
}
