//! Finds rows of the log, newest first, a page at a time.
//!
//! The index names rows that may be meant, volume by volume, the newest first; each is then read from the store
//! and looked at, so that a row is found as it is now. What the index does not know is looked at as well: what
//! has happened since, and what was not filled in yet, which without an index is everything.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::super::super::findable::Wish;
use super::ask::{Asked, Question};
use super::volume::{self, SPILL, Volume, first_id, millis_of, sql};
use super::{Trouble, fill, read};
use crate::mail::{Reference, Timestamp};
use crate::spool::store::{Cursor, LogPage, LogRow, Search, StoreError};

/// Words that one part may mean before they are too many to ask for.
const MANY: usize = 4_000;
/// Rows that are looked at before the index is asked for all words after all.
const ENOUGH: usize = 500;
/// Rows that the index names at a time: first, and at most.
const FIRST: usize = 128;
const MOST: usize = 4_096;
/// Events that the index may be behind. An index that is further behind is not used.
const BEHIND: usize = 100_000;
/// So much later than others with greater references may a row be, at most: a session does not last so long,
/// and clocks are not so wrong.
const ASTRAY: i64 = 86_400_000;
/// States in which a recipient waits, of which the store has an index.
const WAITING: [&str; 5] = ["unscanned", "queued", "deferred", "held", "quarantined"];
/// So many that wait are looked at one by one.
const FEW: usize = 5_000;

pub(super) fn search(
    store: &Connection,
    index: Option<&Connection>,
    search: &Search,
) -> Result<Vec<LogRow>, Trouble> {
    let mut page = Page::new(store, search);
    if let Some(reference) = search.reference {
        page.look_at_all(reference)?;
        return Ok(page.finish());
    }
    if let Some(few) = waiting(store, search)? {
        for (reference, place) in few {
            page.look_at_one(reference, place)?;
        }
        return Ok(page.finish());
    }
    let known = match index {
        Some(index) => Known::of(store, index)?,
        None => None,
    };
    if let (Some(index), Some(known)) = (index, &known) {
        page.look_at_late(known)?;
        let question = |many| Question::of(index, many, &page.wishes);
        let (first, all) = (question(MANY), question(usize::MAX));
        for volume in &known.volumes {
            Shelf {
                index,
                known,
                volume: volume.number,
                questions: [&first, &all],
            }
            .look_through(&mut page)?;
        }
    }
    page.look_at_rest(known.map_or(i64::MAX, |it| it.below))?;
    Ok(page.finish())
}

/// The rows that are meant among those of the next references, past the index: for who wants all of them.
pub(super) fn page(
    store: &Connection,
    search: &Search,
    after: Option<Reference>,
) -> Result<LogPage, StoreError> {
    let first = search.since.map_or(0, |it| it.as_millis() - ASTRAY);
    let first = Reference::first_at(Timestamp::from_millis(first))
        .number()
        .cast_signed();
    let after = after.map_or(first - 1, |it| it.number().cast_signed());
    let references = read::references_above(store, after, search.limit)?;
    let all = Search {
        limit: usize::MAX,
        ..search.clone()
    };
    let mut page = Page::new(store, &all);
    let mut found = LogPage::default();
    for reference in &references {
        page.look_at_all(*reference)?;
        let mut rows: Vec<LogRow> = std::mem::take(&mut page.rows).into_values().rev().collect();
        rows.sort_by_key(|it| it.at);
        found.rows.append(&mut rows);
    }
    let may_be_more = |it: &&Reference| {
        let last = search.until.map_or(i64::MAX, Timestamp::as_millis);
        it.made_at().as_millis() <= last.saturating_add(ASTRAY)
    };
    found.reached = references
        .last()
        .filter(|_| references.len() == search.limit)
        .filter(may_be_more)
        .copied();
    Ok(found)
}

/// The recipients in the state that is meant, where few wait in it.
fn waiting(
    store: &Connection,
    search: &Search,
) -> Result<Option<Vec<(Reference, i64)>>, StoreError> {
    let state = search.status.as_deref().filter(|it| WAITING.contains(it));
    let Some(state) = state else {
        return Ok(None);
    };
    let few = read::waiting_in(store, state, FEW + 1)?;
    Ok(Some(few).filter(|it| it.len() <= FEW))
}

/// What an index knows.
struct Known<'a> {
    /// Messages and refusals of which something has happened since.
    late: BTreeSet<Reference>,
    below: i64,
    volumes: Vec<Volume>,
    /// All that the index says is of one moment, before that of the store.
    _moment: rusqlite::Transaction<'a>,
}

impl<'a> Known<'a> {
    /// `None`: too little.
    fn of(store: &Connection, index: &'a Connection) -> Result<Option<Self>, Trouble> {
        let moment = index.unchecked_transaction()?;
        let Some(position) = fill::position(&moment)? else {
            return Ok(None);
        };
        let volumes = volume::all(&moment)?;
        let behind = position.behind(store, BEHIND + 1)?;
        if BEHIND < behind.len() {
            return Ok(None);
        }
        let late = behind
            .iter()
            .map(|it| Reference::from_number(it.reference.unsigned_abs()));
        Ok(Some(Self {
            late: late.collect(),
            below: position.below,
            volumes,
            _moment: moment,
        }))
    }
}

/// What has been found, in its order.
struct Page<'a> {
    store: &'a Connection,
    search: &'a Search,
    wishes: Vec<Wish>,
    rows: BTreeMap<Cursor, LogRow>,
}

impl<'a> Page<'a> {
    fn new(store: &'a Connection, search: &'a Search) -> Self {
        Self {
            store,
            search,
            wishes: Wish::all(search),
            rows: BTreeMap::new(),
        }
    }

    fn look_at_all(&mut self, reference: Reference) -> Result<Timestamp, StoreError> {
        let mut newest = Timestamp::from_millis(i64::MIN);
        for row in read::rows_of(self.store, reference)? {
            newest = newest.max(row.at);
            self.look_at(row)?;
        }
        Ok(newest)
    }

    fn look_at_one(&mut self, reference: Reference, place: i64) -> Result<(), StoreError> {
        match read::row_at(self.store, reference, place)? {
            Some(row) => self.look_at(row),
            None => Ok(()),
        }
    }

    fn look_at(&mut self, row: LogRow) -> Result<(), StoreError> {
        if !self.is_in_range(&row) {
            return Ok(());
        }
        if self.is_meant(&row)? {
            self.rows.insert(row.cursor(), row);
            if self.search.limit < self.rows.len() {
                self.rows.pop_first();
            }
        }
        Ok(())
    }

    /// The files are read only where they decide.
    fn is_meant(&self, row: &LogRow) -> Result<bool, StoreError> {
        let unmet = self.wishes.iter().filter(|it| !it.is_met_by(row, &[]));
        let unmet: Vec<&Wish> = unmet.collect();
        if unmet.is_empty() || unmet.iter().any(|it| !it.asks_for_files()) {
            return Ok(unmet.is_empty());
        }
        let files = read::files_of(self.store, row.reference)?;
        Ok(unmet.iter().all(|it| it.is_met_by(row, &files)))
    }

    fn is_in_range(&self, row: &LogRow) -> bool {
        let search = self.search;
        search.since.is_none_or(|it| it <= row.at)
            && search.until.is_none_or(|it| row.at <= it)
            && search.reference.is_none_or(|it| it == row.reference)
            && search.before.is_none_or(|it| row.cursor() < it)
    }

    /// A row that is older than that can be on the page no more.
    fn oldest_millis(&self) -> i64 {
        let since = self.search.since.map_or(0, Timestamp::as_millis);
        let last = self.rows.first_key_value();
        let last = last.filter(|_| self.search.limit <= self.rows.len());
        last.map_or(since, |(it, _)| it.at.as_millis().max(since))
    }

    fn look_at_late(&mut self, known: &Known<'_>) -> Result<(), StoreError> {
        let named: Vec<Reference> = self.wishes.iter().filter_map(Wish::reference).collect();
        for reference in known.late.iter().copied().chain(named) {
            self.look_at_all(reference)?;
        }
        Ok(())
    }

    /// What is below a reference, all of it, until nothing older can be meant.
    fn look_at_rest(&mut self, mut below: i64) -> Result<(), StoreError> {
        while below > 0 {
            let references = read::references_below(self.store, below, MOST)?;
            let mut newest = Timestamp::from_millis(i64::MIN);
            for reference in &references {
                newest = newest.max(self.look_at_all(*reference)?);
            }
            below = references.last().map_or(0, |it| it.number().cast_signed());
            if newest.as_millis().saturating_add(ASTRAY) < self.oldest_millis() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<LogRow> {
        self.rows.into_values().rev().collect()
    }
}

/// A volume that is looked through.
struct Shelf<'a> {
    index: &'a Connection,
    known: &'a Known<'a>,
    volume: i64,
    /// The second one is asked where the first one leaves too much open.
    questions: [&'a Question<'a>; 2],
}

impl Shelf<'_> {
    fn look_through(&self, page: &mut Page<'_>) -> Result<(), Trouble> {
        if volume::end(self.volume) < page.oldest_millis() || self.is_newer(page.search) {
            return Ok(());
        }
        let [first, all] = self.questions;
        let asked = first.about(self.volume)?;
        if matches!(asked, Asked::Nothing) || self.go(page, asked.text(), asked.is_partial())? {
            return Ok(());
        }
        match all.about(self.volume)? {
            Asked::Nothing => Ok(()),
            asked => self.go(page, asked.text(), false).map(drop),
        }
    }

    fn is_newer(&self, search: &Search) -> bool {
        volume::of(newest_millis(search)) < self.volume
    }

    /// Looks at the rows that an expression names, the newest first. `false`: gave up, having found too
    /// little in too much.
    fn go(
        &self,
        page: &mut Page<'_>,
        expression: Option<&str>,
        may_give_up: bool,
    ) -> Result<bool, Trouble> {
        let lowest = page.search.since.map_or(0, |it| first_id(it.as_millis()));
        let mut below = first_id(newest_millis(page.search).saturating_add(SPILL));
        let (mut portion, mut seen) = (FIRST, 0);
        loop {
            let entries = self.entries(expression, below, lowest, portion)?;
            for &(id, reference, place) in &entries {
                if millis_of(id).saturating_add(SPILL) < page.oldest_millis() {
                    return Ok(true);
                }
                let reference = Reference::from_number(reference.unsigned_abs());
                if !self.known.late.contains(&reference) {
                    page.look_at_one(reference, place)?;
                }
            }
            seen += entries.len();
            match entries.last() {
                Some((last, ..)) if entries.len() == portion => below = *last,
                _ => return Ok(true),
            }
            if may_give_up && ENOUGH < seen {
                return Ok(false);
            }
            portion = (portion * 2).min(MOST);
        }
    }

    /// Id, reference and place.
    fn entries(
        &self,
        expression: Option<&str>,
        below: i64,
        lowest: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, i64, i64)>> {
        let limit = limit as i64;
        let to_entry = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let statement = match expression {
            Some(_) => {
                "SELECT e.id, e.reference, e.place FROM doc_# d CROSS JOIN entry_# e ON e.id = d.rowid
                 WHERE d.doc_# MATCH ?4 AND d.rowid < ?1 AND d.rowid >= ?2
                 ORDER BY d.rowid DESC LIMIT ?3"
            }
            None => {
                "SELECT id, reference, place FROM entry_# WHERE id < ?1 AND id >= ?2
                 ORDER BY id DESC LIMIT ?3"
            }
        };
        let mut statement = self.index.prepare_cached(&sql(statement, self.volume))?;
        match expression {
            Some(expression) => statement
                .query_map(params![below, lowest, limit, expression], to_entry)?
                .collect(),
            None => statement
                .query_map([below, lowest, limit], to_entry)?
                .collect(),
        }
    }
}

/// Nothing younger is meant.
fn newest_millis(search: &Search) -> i64 {
    let bounds = [search.until, search.before.map(|it| it.at)];
    let newest = bounds.into_iter().flatten().min();
    newest.map_or(i64::MAX >> 12, Timestamp::as_millis)
}
