//! Finds rows of the log, newest first, a page at a time.
//!
//! The index names rows that may be meant, the newest first; each is then read from the store and looked at,
//! so that a row is found as it is now. What the index does not know yet is looked at as well. A wish that
//! far too many words would meet is left to that look; should it be met too rarely, the index is asked for
//! all of these words after all.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::super::findable::{Atom, How, Kind, Role, Wanted, Way, Wish};
use super::fill::{SPILL, last_known};
use super::{SLOT_BITS, first_id, read, tokens};
use crate::mail::Reference;
use crate::spool::store::{LogRow, Search, StoreError};

/// Words that one part may mean before they are too many to ask for.
const MANY: usize = 200;
/// Rows that are looked at before the index is asked for all words after all.
const ENOUGH: usize = 20_000;
/// Rows that the index names at a time: first, and at most.
const FIRST: usize = 128;
const MOST: usize = 4_096;
/// States in which a recipient waits, of which the store has an index.
const WAITING: [&str; 5] = ["unscanned", "queued", "deferred", "held", "quarantined"];

pub(super) fn search(
    store: &Connection,
    index: &Connection,
    search: &Search,
) -> Result<Vec<LogRow>, StoreError> {
    // The index is looked at first, so that the store knows at least as much.
    let _of_index = index.unchecked_transaction()?;
    let known = last_known(index)?;
    let _of_store = store.unchecked_transaction()?;
    let wanted = Wanted::of(search);
    let mut late = late(store, known)?;
    late.extend(wanted.wishes.iter().filter_map(|it| it.reference).map(number));
    late.extend(search.reference.map(number));
    let mut page = Page {
        store,
        search,
        wanted: &wanted,
        reads_files: search.attachment.is_some() || !search.words.is_empty(),
        rows: Vec::new(),
    };
    for reference in &late {
        page.look_at_all(*reference)?;
    }
    if search.reference.is_none() {
        Candidates { index, late: &late }.look_through(&mut page)?;
    }
    Ok(page.finish())
}

fn number(reference: Reference) -> i64 {
    reference.number().cast_signed()
}

/// Messages and refusals of which the index does not know all.
fn late(store: &Connection, known: i64) -> Result<BTreeSet<i64>, StoreError> {
    let mut statement =
        store.prepare_cached("SELECT DISTINCT reference FROM event WHERE sequence > ?1")?;
    let late = statement.query_map([known], |row| row.get(0))?;
    Ok(late.collect::<Result<_, _>>()?)
}

/// What has been found.
struct Page<'a> {
    store: &'a Connection,
    search: &'a Search,
    wanted: &'a Wanted,
    reads_files: bool,
    rows: Vec<(i64, LogRow)>,
}

impl Page<'_> {
    fn look_at_all(&mut self, reference: i64) -> Result<(), StoreError> {
        for (place, row) in read::rows_of(self.store, to_reference(reference))? {
            self.look_at(place, row)?;
        }
        Ok(())
    }

    fn look_at(&mut self, place: i64, row: LogRow) -> Result<(), StoreError> {
        if !self.is_plainly_meant(place, &row) {
            return Ok(());
        }
        let files = match self.reads_files {
            true => read::files_of(self.store, row.reference)?,
            false => Vec::new(),
        };
        if self.wanted.is_met_by(&row, &files) {
            self.rows.push((place, row));
        }
        Ok(())
    }

    fn is_plainly_meant(&self, place: i64, row: &LogRow) -> bool {
        let search = self.search;
        search.since.is_none_or(|it| it <= row.at)
            && search.until.is_none_or(|it| row.at <= it)
            && search.reference.is_none_or(|it| it == row.reference)
            && search.status.as_ref().is_none_or(|it| *it == row.status)
            && search.before.is_none_or(|it| (row.at, row.reference, place) < (it.at, it.reference, it.place))
    }

    /// Whether what is of that millisecond, or older, can no longer be on it.
    fn is_full_at(&self, millis: i64) -> bool {
        let oldest = self.rows.iter().map(|(_, row)| row.at.as_millis()).min();
        self.search.limit <= self.rows.len() && oldest.is_some_and(|it| millis + SPILL < it)
    }

    fn finish(mut self) -> Vec<LogRow> {
        self.rows.sort_by_key(|(place, row)| Reverse((row.at, row.reference, *place)));
        self.rows.dedup_by_key(|(place, row)| (row.reference, *place));
        self.rows.truncate(self.search.limit);
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn to_reference(number: i64) -> Reference {
    Reference::from_number(number.unsigned_abs())
}

/// Rows that may be meant.
struct Candidates<'a> {
    index: &'a Connection,
    /// These were looked at already.
    late: &'a BTreeSet<i64>,
}

impl Candidates<'_> {
    fn look_through(&self, page: &mut Page<'_>) -> Result<(), StoreError> {
        match self.expression(page.wanted, MANY)? {
            Asked::Nothing => Ok(()),
            Asked::Everything if let Some(state) = waiting(page.search) => self.look_at_waiting(page, state),
            asked => {
                let is_partial = asked.is_partial();
                if self.go(page, asked.text(), is_partial)? {
                    return Ok(());
                }
                match self.expression(page.wanted, usize::MAX)? {
                    Asked::Nothing => Ok(()),
                    asked => self.go(page, asked.text(), false).map(|_| ()),
                }
            }
        }
    }

    /// Looks at the rows that an expression names, the newest first. `false`: gave up, having found too
    /// little in too much.
    fn go(&self, page: &mut Page<'_>, expression: Option<&str>, may_give_up: bool) -> Result<bool, StoreError> {
        let search = page.search;
        let lowest = search.since.map_or(0, |it| first_id(it.as_millis()));
        let newest = [search.until, search.before.map(|it| it.at)].into_iter().flatten().min();
        let mut below = newest.map_or(i64::MAX, |it| first_id(it.as_millis() + SPILL));
        let (mut portion, mut seen) = (FIRST, 0);
        loop {
            let ids = self.ids(expression, below, lowest, portion)?;
            for id in &ids {
                if page.is_full_at(id >> SLOT_BITS) {
                    return Ok(true);
                }
                self.look_at(page, *id)?;
            }
            seen += ids.len();
            match ids.last() {
                Some(last) if ids.len() == portion => below = *last,
                _ => return Ok(true),
            }
            if may_give_up && ENOUGH < seen {
                return Ok(false);
            }
            portion = (portion * 2).min(MOST);
        }
    }

    fn ids(&self, expression: Option<&str>, below: i64, lowest: i64, limit: usize) -> Result<Vec<i64>, StoreError> {
        let limit = limit as i64;
        let to_id = |row: &rusqlite::Row<'_>| row.get(0);
        Ok(match expression {
            Some(expression) => self
                .index
                .prepare_cached(
                    "SELECT rowid FROM doc WHERE doc MATCH ?1 AND rowid < ?2 AND rowid >= ?3
                     ORDER BY rowid DESC LIMIT ?4",
                )?
                .query_map(params![expression, below, lowest, limit], to_id)?
                .collect::<Result<_, _>>()?,
            None => self
                .index
                .prepare_cached(
                    "SELECT id FROM entry WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3",
                )?
                .query_map([below, lowest, limit], to_id)?
                .collect::<Result<_, _>>()?,
        })
    }

    fn look_at(&self, page: &mut Page<'_>, id: i64) -> Result<(), StoreError> {
        let entry = self
            .index
            .prepare_cached("SELECT reference, place FROM entry WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((reference, place)) = entry.filter(|(reference, _)| !self.late.contains(reference)) else {
            return Ok(());
        };
        match read::row_at(page.store, to_reference(reference), place)? {
            Some(row) => page.look_at(place, row),
            None => Ok(()),
        }
    }

    /// From the store's own index of what waits.
    fn look_at_waiting(&self, page: &mut Page<'_>, state: &str) -> Result<(), StoreError> {
        for (reference, place) in read::waiting_in(page.store, state)? {
            let row = match self.late.contains(&reference) {
                true => None,
                false => read::row_at(page.store, to_reference(reference), place)?,
            };
            if let Some(row) = row {
                if page.is_full_at(row.at.as_millis()) {
                    return Ok(());
                }
                page.look_at(place, row)?;
            }
        }
        Ok(())
    }

    /// What the index is asked for; a part may mean that `many` words.
    fn expression(&self, wanted: &Wanted, many: usize) -> Result<Asked, StoreError> {
        let (mut all, mut is_partial) = (Vec::new(), false);
        for wish in &wanted.wishes {
            match self.wish(wish, many)? {
                Asked::Nothing => return Ok(Asked::Nothing),
                Asked::Everything => is_partial = true,
                Asked::Part(text) => {
                    is_partial = true;
                    all.push(text);
                }
                Asked::Whole(text) => all.push(text),
            }
        }
        Ok(match (all.is_empty(), is_partial) {
            (true, _) => Asked::Everything,
            (_, true) => Asked::Part(all.join(" AND ")),
            (_, false) => Asked::Whole(all.join(" AND ")),
        })
    }

    fn wish(&self, wish: &Wish, many: usize) -> Result<Asked, StoreError> {
        let (mut any, mut is_partial) = (Vec::new(), false);
        for way in &wish.ways {
            match self.way(way, many)? {
                Asked::Nothing => (),
                Asked::Everything => return Ok(Asked::Everything),
                Asked::Part(text) => {
                    is_partial = true;
                    any.push(text);
                }
                Asked::Whole(text) => any.push(text),
            }
        }
        let text = format!("({})", any.join(" OR "));
        Ok(match (any.is_empty(), is_partial) {
            (true, _) => Asked::Nothing,
            (_, true) => Asked::Part(text),
            (_, false) => Asked::Whole(text),
        })
    }

    fn way(&self, way: &Way, many: usize) -> Result<Asked, StoreError> {
        let (mut all, mut is_partial) = (Vec::new(), false);
        for atom in way {
            match self.tokens(atom, many)? {
                None => is_partial = true,
                Some(tokens) if tokens.is_empty() => return Ok(Asked::Nothing),
                Some(tokens) => all.push(format!("({})", tokens.join(" OR "))),
            }
        }
        let text = format!("({})", all.join(" AND "));
        Ok(match (all.is_empty(), is_partial) {
            (true, _) => Asked::Everything,
            (_, true) => Asked::Part(text),
            (_, false) => Asked::Whole(text),
        })
    }

    /// What an atom is written as; `None`: as too much.
    fn tokens(&self, atom: &Atom, many: usize) -> Result<Option<Vec<String>>, StoreError> {
        if atom.how == How::Whole {
            return self.whole(atom).map(Some);
        }
        let Some(terms) = self.terms(atom, many)? else {
            return Ok(None);
        };
        let plain = terms.iter().flat_map(|(id, roles)| {
            let of_term = atom.roles.iter().filter(move |it| it.bit() & roles != 0);
            of_term.map(move |role| tokens::plain(*role, *id))
        });
        let mut found: Vec<String> = plain.collect();
        if atom.how == How::Part && atom.text.bytes().all(|it| it.is_ascii_alphanumeric()) {
            let odd = atom.roles.iter().filter(|it| has_odd(**it));
            found.extend(odd.map(|role| tokens::odd(*role, &atom.text) + "*"));
        }
        Ok(Some(found))
    }

    fn whole(&self, atom: &Atom) -> Result<Vec<String>, StoreError> {
        let mut found: Vec<String> = atom.roles.iter().map(|it| tokens::whole(*it, &atom.text)).collect();
        if let Some((id, roles)) = tokens::find(self.index, &atom.text)? {
            let plain = atom.roles.iter().filter(|it| it.bit() & roles != 0);
            found.extend(plain.map(|role| tokens::plain(*role, id)));
        }
        Ok(found)
    }

    /// The plain terms that are meant, with their roles; `None`: too many.
    fn terms(&self, atom: &Atom, many: usize) -> Result<Option<Vec<(i64, i64)>>, StoreError> {
        let sought = trigrams(&atom.text);
        if sought.is_none() && many < usize::MAX {
            return Ok(None);
        }
        let all = atom.roles.iter().fold(0, |all, role| all | role.bit());
        let sql = match sought {
            Some(_) => "SELECT t.id, t.roles, t.text FROM part p CROSS JOIN term t ON t.id = p.rowid WHERE p.text MATCH ?1",
            None => "SELECT t.id, t.roles, t.text FROM term t WHERE ?1 = ''",
        };
        let mut statement = self.index.prepare_cached(sql)?;
        let mut rows = statement.query([sought.unwrap_or_default()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, roles): (i64, i64) = (row.get(0)?, row.get(1)?);
            let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            if roles & all != 0 && atom.means(Kind::Plain, text) {
                found.push((id, roles));
            }
            if many < found.len() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }
}

/// The state that a search is for, where a recipient waits in it.
fn waiting(search: &Search) -> Option<&str> {
    search.status.as_deref().filter(|it| WAITING.contains(it))
}

const fn has_odd(role: Role) -> bool {
    matches!(role, Role::Subject | Role::Attachment | Role::Reply)
}

/// Each three letters in a row of a text, as a question for `part`; `None` where it has fewer.
fn trigrams(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().collect();
    let quoted = |three: &[char]| {
        let three: String = three.iter().collect();
        format!("\"{}\"", three.replace('"', "\"\""))
    };
    let all: BTreeSet<String> = letters.windows(3).map(quoted).collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(" AND "))
}

/// What the index is asked for.
enum Asked {
    /// No row can be meant.
    Nothing,
    /// It cannot tell: every row may be.
    Everything,
    /// It can tell of some of what is wanted.
    Part(String),
    Whole(String),
}

impl Asked {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Part(text) | Self::Whole(text) => Some(text),
            Self::Nothing | Self::Everything => None,
        }
    }

    const fn is_partial(&self) -> bool {
        matches!(self, Self::Part(_) | Self::Everything)
    }
}
