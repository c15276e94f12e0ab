//! Lets go of words: of what rows of a time are found by, and of each word that no other row has.
//!
//! In short steps with rests between them, so that the index follows the log meanwhile. First the rows are found by nothing, and looked at
//! whatever is sought, until the relay has read them anew; then what was written of them goes from the file, and
//! then the words. Nothing stays half done: until all of it is, the store asks for it again.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::super::findable::Role;
use super::tokens::{self, Word};
use super::volume::{self, SPILL, bit, first_id, sql};

/// Entries, or words, at a time.
const PORTION: usize = 2_000;
/// Between two steps, at most.
const REST: Duration = Duration::from_millis(50);

/// Of rows of that time.
pub(super) fn forget(index: &mut Connection, first: i64, last: i64) -> rusqlite::Result<()> {
    let (from, to) = (first_id(first), first_id(last.saturating_add(1 + SPILL)));
    let all: Vec<i64> = volume::all(index)?.iter().map(|it| it.number).collect();
    let meant = volume::of(first)..=volume::of(last);
    let meant: Vec<i64> = all
        .iter()
        .copied()
        .filter(|it| meant.contains(it))
        .collect();
    for volume in &meant {
        let mut next = Some(from);
        while let Some(from) = next {
            next = step(index, |it| blank(it, *volume, from, to))?;
        }
        let table = sql("doc_#", *volume);
        while step(index, |it| volume::merge(it, &table))? {}
    }
    let mut behind = Some(0);
    while let Some(id) = behind {
        behind = step(index, |it| drop_unused(it, &meant, &all, id))?;
    }
    // Nothing of it is left beside the file either. Where somebody is in the way, `Index::fold` comes again.
    index.pragma_update(None, "wal_checkpoint", "TRUNCATE")
}

/// In a transaction, and others have as much of the index as this had.
fn step<T>(
    index: &mut Connection,
    what: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let from = Instant::now();
    let step = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = what(&step)?;
    step.commit()?;
    std::thread::sleep(from.elapsed().min(REST));
    Ok(done)
}

/// Entries from one id to below another are found by nothing. From where to go on, if there may be more.
fn blank(index: &Connection, volume: i64, from: i64, to: i64) -> rusqlite::Result<Option<i64>> {
    let ids = sql(
        "SELECT id FROM entry_# WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        volume,
    );
    let mut statement = index.prepare_cached(&ids)?;
    let ids = statement.query_map([from, to, PORTION as i64], |row| row.get(0))?;
    let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
    let Some(last) = ids.last() else {
        return Ok(None);
    };
    let (put, blank) = (tokens::put(volume), tokens::whole(Role::More, ""));
    let mut put = index.prepare_cached(&put)?;
    for id in &ids {
        put.execute(params![id, blank])?;
    }
    index
        .prepare_cached(
            "UPDATE volume SET packed = 0, refill = min(coalesce(refill, ?2), ?2),
                 refill_to = max(coalesce(refill_to, ?3), ?3)
             WHERE number = ?1",
        )?
        .execute([volume, from, last + 1])?;
    Ok((ids.len() == PORTION).then_some(last + 1))
}

/// Of the next words in these volumes, those that are in them no more. The last one that was looked at, if any.
fn drop_unused(
    index: &Connection,
    meant: &[i64],
    all: &[i64],
    behind: i64,
) -> rusqlite::Result<Option<i64>> {
    let bits = meant.iter().fold(0, |bits, it| bits | bit(*it));
    let words = tokens::in_volumes(index, bits, behind, PORTION)?;
    for word in &words {
        let mut left = word.volumes;
        let had = bits & left;
        for bit in (0..64).map(|it| 1_i64 << it).filter(|it| it & had != 0) {
            let mut sharing = all.iter().filter(|it| volume::bit(**it) == bit);
            if !any(&mut sharing, |it| is_in(index, *it, word))? {
                left &= !bit;
            }
        }
        if left != word.volumes {
            tokens::keep(index, word, left)?;
        }
    }
    Ok(words.last().map(|it| it.id))
}

fn any<T>(
    all: &mut impl Iterator<Item = T>,
    is_so: impl Fn(T) -> rusqlite::Result<bool>,
) -> rusqlite::Result<bool> {
    all.try_fold(false, |is_any, it| Ok(is_any || is_so(it)?))
}

/// Whether an entry of the volume has it.
fn is_in(index: &Connection, volume: i64, word: &Word) -> rusqlite::Result<bool> {
    let tokens = word.tokens(Role::ALL).join(" OR ");
    let found: Option<i64> = index
        .prepare_cached(&sql(
            "SELECT rowid FROM doc_# WHERE doc_# MATCH ?1 LIMIT 1",
            volume,
        ))?
        .query_row([tokens], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}
