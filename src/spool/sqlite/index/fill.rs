//! Fills the index: what happened in the store since the last time, then what was there before, from the newest
//! to the oldest, then what was forgotten; a portion of each in one transaction.
//!
//! A row is written once it is there, and again when it is found by something else: by what became of it, or
//! by what was found inside of its attachments.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::super::findable;
use super::tokens::{Dictionary, hash, put};
use super::volume::{self, SPILL, first_id, sql};
use super::{FileId, Opened, Trouble, read};
use crate::mail::{Attachment, Reference};
use crate::spool::store::LogRow;

/// Events at a time.
const EVENTS: usize = 4_000;
/// Messages and refusals of before at a time.
const PORTION: usize = 2_000;

/// How far the index has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    last: read::EventMark,
    /// Nothing with a smaller reference was filled in yet, but for what has happened since.
    pub(super) below: i64,
}

/// `None`: it was not begun.
pub(super) fn position(index: &Connection) -> rusqlite::Result<Option<Position>> {
    let mut statement =
        index.prepare_cached("SELECT sequence, reference, at, below FROM position")?;
    let position = statement.query_row([], |row| {
        Ok(Position {
            last: read::EventMark {
                sequence: row.get(0)?,
                reference: row.get(1)?,
                at: row.get(2)?,
            },
            below: row.get(3)?,
        })
    });
    position.optional()
}

impl Position {
    /// The events behind it; more than `limit` are not told.
    pub(super) fn behind(
        &self,
        store: &Connection,
        limit: usize,
    ) -> Result<Vec<read::EventMark>, Trouble> {
        let known = self.last.sequence;
        let there = read::mark_of(store, known)?;
        let is_other = there.is_some_and(|it| it != self.last);
        if is_other || read::last_event(store)?.cast_signed() < known {
            return Err(Trouble::Foreign);
        }
        Ok(read::marks_after(store, known, limit)?)
    }
}

/// The one that fills.
pub(super) struct Filler {
    pub(super) file: FileId,
    index: Connection,
    words: Dictionary,
    /// Of the file as others have left it.
    seen: i64,
}

/// What there was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// All that had happened is known.
    Followed,
    /// There is more that has happened.
    Behind,
    /// There may be more from before.
    Filled,
}

/// A row, and the files of its message.
type Found = (LogRow, Vec<Attachment>);

impl Filler {
    pub(super) fn new(opened: Opened) -> Self {
        Self {
            file: opened.file,
            index: opened.connection,
            words: Dictionary::default(),
            seen: 0,
        }
    }

    /// A portion. After trouble there has to be another filler.
    pub(super) fn step(&mut self, store: &Connection) -> Result<Progress, Trouble> {
        let is_idle = |position: &Position| -> Result<bool, Trouble> {
            Ok(position.below == 0
                && position.behind(store, 1)?.is_empty()
                && all_done(&volume::all(&self.index)?))
        };
        if let Some(position) = position(&self.index)?
            && is_idle(&position)?
        {
            return Ok(Progress::Nothing);
        }
        let step = self
            .index
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen = step.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if seen != self.seen {
            // Somebody may have forgotten words.
            self.words.clear();
            self.seen = seen;
        }
        let mut writer = Writer {
            store,
            index: &step,
            words: &mut self.words,
        };
        let progress = writer.portion()?;
        step.commit()?;
        Ok(progress)
    }
}

fn all_done(volumes: &[volume::Volume]) -> bool {
    volumes.iter().all(|it| it.refill.is_none()) && volume::to_pack(volumes).is_none()
}

struct Writer<'a> {
    store: &'a Connection,
    index: &'a Connection,
    words: &'a mut Dictionary,
}

/// What is to be written for a row.
struct Entry {
    volume: i64,
    id: i64,
    tokens: String,
}

impl Writer<'_> {
    fn portion(&mut self) -> Result<Progress, Trouble> {
        let Some(position) = position(self.index)? else {
            self.begin()?;
            return Ok(Progress::Filled);
        };
        let events = position.behind(self.store, EVENTS)?;
        if let Some(last) = events.last() {
            self.follow(&events)?;
            self.index
                .prepare_cached("UPDATE position SET sequence = ?1, reference = ?2, at = ?3")?
                .execute([last.sequence, last.reference, last.at])?;
        }
        if events.len() == EVENTS {
            return Ok(Progress::Behind);
        }
        match (self.make_good(position.below)?, events.is_empty()) {
            (true, _) => Ok(Progress::Filled),
            (false, true) => Ok(Progress::Nothing),
            (false, false) => Ok(Progress::Followed),
        }
    }

    /// A portion of what is not news; `false`: there is none.
    fn make_good(&mut self, below: i64) -> Result<bool, Trouble> {
        let volumes = volume::all(self.index)?;
        let refill = |it: &volume::Volume| Some((it.number, it.refill?));
        if below > 0 {
            self.fill(below)?;
        } else if let Some((volume, ids)) = volumes.iter().find_map(refill) {
            self.refill(volume, ids)?;
        } else if let Some(volume) = volume::to_pack(&volumes) {
            volume::pack(self.index, volume)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// From here on it follows; what is there is filled in.
    fn begin(&self) -> Result<(), Trouble> {
        let last = read::last_event(self.store)?.cast_signed();
        let mark = read::mark_of(self.store, last)?;
        let (reference, at) = mark.map_or((0, 0), |it| (it.reference, it.at));
        self.index
            .prepare_cached("INSERT INTO position VALUES (1, ?1, ?2, ?3, ?4)")?
            .execute([last, reference, at, i64::MAX])?;
        Ok(())
    }

    fn follow(&mut self, events: &[read::EventMark]) -> Result<(), Trouble> {
        let references: BTreeSet<i64> = events.iter().map(|it| it.reference).collect();
        let references = references.into_iter().map(|it| it.unsigned_abs());
        let rows = self.rows_of(references.map(Reference::from_number))?;
        self.put(rows)
    }

    fn fill(&mut self, below: i64) -> Result<(), Trouble> {
        let references = read::references_below(self.store, below, PORTION)?;
        let lowest = references.last().map(|it| it.number().cast_signed());
        let rows = self.rows_of(references)?;
        self.put(rows)?;
        self.index
            .prepare_cached("UPDATE position SET below = ?1")?
            .execute([lowest.unwrap_or(0)])?;
        Ok(())
    }

    fn rows_of(
        &self,
        references: impl IntoIterator<Item = Reference>,
    ) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        for reference in references {
            let rows = read::rows_of(self.store, reference)?;
            if rows.is_empty() {
                continue;
            }
            let files = read::files_of(self.store, reference)?;
            found.extend(rows.into_iter().map(|row| (row, files.clone())));
        }
        Ok(found)
    }

    /// In the order of their time: so few ids go back, and each that does is a merge more.
    fn put(&mut self, mut rows: Vec<Found>) -> Result<(), Trouble> {
        rows.sort_by_key(|(row, _)| row.cursor());
        let mut made = HashSet::new();
        let mut entries = Vec::new();
        for (row, files) in rows {
            let volume = volume::of(row.at.as_millis());
            if made.insert(volume) {
                volume::make(self.index, volume)?;
            }
            let tokens = self.tokens(volume, &row, &files)?;
            if let Some(id) = enter(self.index, volume, &row, &tokens)? {
                entries.push(Entry { volume, id, tokens });
            }
        }
        Ok(self.write(entries)?)
    }

    fn tokens(
        &mut self,
        volume: i64,
        row: &LogRow,
        files: &[Attachment],
    ) -> rusqlite::Result<String> {
        let mut tokens = String::new();
        for term in findable::terms(row, files) {
            tokens.push_str(&self.words.token(self.index, volume, &term)?);
            tokens.push(' ');
        }
        Ok(tokens)
    }

    fn write(&self, mut entries: Vec<Entry>) -> rusqlite::Result<()> {
        entries.sort_by_key(|it| it.id);
        for entry in entries {
            self.index
                .prepare_cached(&put(entry.volume))?
                .execute(params![entry.id, entry.tokens])?;
        }
        Ok(())
    }

    /// Reads anew what was forgotten, of entries from one id to below another. Entries of rows that are no more go.
    fn refill(&mut self, volume: i64, (from, to): (i64, i64)) -> Result<(), Trouble> {
        let entries = entries_between(self.index, volume, from, to)?;
        let mut found = Vec::new();
        for &(id, reference, place) in &entries {
            let reference = Reference::from_number(reference.unsigned_abs());
            match read::row_at(self.store, reference, place)? {
                Some(row) => {
                    let files = read::files_of(self.store, reference)?;
                    let tokens = self.tokens(volume, &row, &files)?;
                    found.push(Entry { volume, id, tokens });
                }
                None => remove(self.index, volume, id)?,
            }
        }
        self.write(found)?;
        let next = entries.last().map(|(id, ..)| id + 1);
        let to = next.map(|_| to);
        self.index
            .prepare_cached("UPDATE volume SET refill = ?2, refill_to = ?3 WHERE number = ?1")?
            .execute(params![volume, next, to])?;
        Ok(())
    }
}

fn entries_between(
    index: &Connection,
    volume: i64,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<(i64, i64, i64)>> {
    let between = sql(
        "SELECT id, reference, place FROM entry_# WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        volume,
    );
    let mut statement = index.prepare_cached(&between)?;
    let to_entry = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    statement
        .query_map([from, to, PORTION as i64], to_entry)?
        .collect()
}

fn remove(index: &Connection, volume: i64, id: i64) -> rusqlite::Result<()> {
    for gone in [
        "DELETE FROM doc_# WHERE rowid = ?1",
        "DELETE FROM entry_# WHERE id = ?1",
    ] {
        index.prepare_cached(&sql(gone, volume))?.execute([id])?;
    }
    Ok(())
}

/// The id of a row, old or new. `None`: it is found by the same as before.
fn enter(
    index: &Connection,
    volume: i64,
    row: &LogRow,
    tokens: &str,
) -> rusqlite::Result<Option<i64>> {
    let stamp = hash(tokens).cast_signed() >> 33;
    let id = match known(index, volume, row)? {
        Some((_, known)) if known == stamp => return Ok(None),
        Some((id, _)) => id,
        None => free_id(index, volume, row.at.as_millis())?,
    };
    let reference = row.reference.number().cast_signed();
    index
        .prepare_cached(&sql(
            "INSERT OR REPLACE INTO entry_# VALUES (?1, ?2, ?3, ?4)",
            volume,
        ))?
        .execute([id, reference, row.place, stamp])?;
    Ok(Some(id))
}

/// A row's id and stamp.
fn known(index: &Connection, volume: i64, row: &LogRow) -> rusqlite::Result<Option<(i64, i64)>> {
    let (first, end) = ids(row.at.as_millis());
    let reference = row.reference.number().cast_signed();
    index
        .prepare_cached(&sql(
            "SELECT id, stamp FROM entry_# WHERE id >= ?1 AND id < ?2 AND reference = ?3 AND place = ?4",
            volume,
        ))?
        .query_row([first, end, reference, row.place], |it| Ok((it.get(0)?, it.get(1)?)))
        .optional()
}

/// Those that a row of that millisecond may have.
const fn ids(millis: i64) -> (i64, i64) {
    (first_id(millis), first_id(millis + SPILL))
}

/// Behind the last one that a row of that millisecond has.
fn free_id(index: &Connection, volume: i64, millis: i64) -> rusqlite::Result<i64> {
    let mut statement = index.prepare_cached(&sql(
        "SELECT max(id) FROM entry_# WHERE id >= ?1 AND id < ?2",
        volume,
    ))?;
    let mut millis = millis;
    loop {
        let (first, end) = (first_id(millis), first_id(millis + 1));
        let last: Option<i64> = statement.query_row([first, end], |row| row.get(0))?;
        let id = last.map_or(first, |it| it + 1);
        if id < end {
            return Ok(id);
        }
        millis += 1;
    }
}
