//! What a volume of the index is asked for, so that it names all rows that may be meant and few others.
//!
//! Parts of words are looked up among the words of the index first, once for all volumes. A part that far too many
//! of them have is left to a look at the rows themselves.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use rusqlite::Connection;

use super::super::super::findable::{Atom, How, Role, Way, Wish};
use super::tokens::{self, Word};
use super::volume::bit;

/// Words of all roles and volumes may be so many times as many.
const ALL: usize = 8;

/// Words of one part that are asked for at all: each takes memory while it is asked for. Who has sent more has
/// made a search for that part a look at the rows, and nothing worse.
const MOST: usize = 20_000;

/// An expression, or why there is none.
#[derive(Debug)]
pub(super) enum Asked {
    /// No row can be meant.
    Nothing,
    /// It cannot tell: every row may be.
    Everything,
    /// It can tell of some of what is wanted.
    Part(String),
    Whole(String),
}

impl Asked {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Part(text) | Self::Whole(text) => Some(text),
            Self::Nothing | Self::Everything => None,
        }
    }

    pub(super) const fn is_partial(&self) -> bool {
        matches!(self, Self::Part(_) | Self::Everything)
    }

    /// All of them hold.
    fn and(asked: impl Iterator<Item = rusqlite::Result<Self>>) -> rusqlite::Result<Self> {
        let (mut all, mut is_partial) = (Vec::new(), false);
        for one in asked {
            let one = one?;
            is_partial |= one.is_partial();
            match one {
                Self::Nothing => return Ok(Self::Nothing),
                Self::Everything => (),
                Self::Part(text) | Self::Whole(text) => all.push(text),
            }
        }
        Ok(match (all.is_empty(), is_partial) {
            (true, _) => Self::Everything,
            (_, true) => Self::Part(format!("({})", all.join(" AND "))),
            (_, false) => Self::Whole(format!("({})", all.join(" AND "))),
        })
    }

    /// One of them holds.
    fn or(asked: impl Iterator<Item = rusqlite::Result<Self>>) -> rusqlite::Result<Self> {
        let (mut any, mut is_partial) = (Vec::new(), false);
        for one in asked {
            let one = one?;
            is_partial |= one.is_partial();
            match one {
                Self::Nothing => (),
                Self::Everything => return Ok(Self::Everything),
                Self::Part(text) | Self::Whole(text) => any.push(text),
            }
        }
        Ok(match (any.is_empty(), is_partial) {
            (true, _) => Self::Nothing,
            (_, true) => Self::Part(format!("({})", any.join(" OR "))),
            (_, false) => Self::Whole(format!("({})", any.join(" OR "))),
        })
    }
}

/// What is asked of each volume; a part may mean that `many` words of it.
pub(super) struct Question<'a> {
    index: &'a Connection,
    many: usize,
    /// How each wish can be met.
    wishes: Vec<Vec<Way>>,
    /// Words with a part in them, by the part. `None`: too many.
    parts: RefCell<HashMap<String, Option<Rc<[Word]>>>>,
    wholes: RefCell<HashMap<String, Option<Word>>>,
}

impl<'a> Question<'a> {
    pub(super) fn of(index: &'a Connection, many: usize, wishes: &[Wish]) -> Self {
        Self {
            index,
            many,
            wishes: wishes.iter().map(Wish::ways).collect(),
            parts: RefCell::default(),
            wholes: RefCell::default(),
        }
    }

    pub(super) fn about(&self, volume: i64) -> rusqlite::Result<Asked> {
        Asked::and(self.wishes.iter().map(|ways| {
            let all = Asked::or(ways.iter().map(|way| self.way(way, volume)))?;
            Ok(match all {
                // Whatever is sought may be in what a row is not found by.
                Asked::Part(text) => Asked::Part(format!("({text} OR {})", more())),
                Asked::Whole(text) => Asked::Whole(format!("({text} OR {})", more())),
                Asked::Nothing => Asked::Whole(more()),
                Asked::Everything => Asked::Everything,
            })
        }))
    }

    fn way(&self, way: &Way, volume: i64) -> rusqlite::Result<Asked> {
        Asked::and(way.iter().map(|atom| {
            Ok(match self.tokens(atom, volume)? {
                None => Asked::Everything,
                Some(tokens) if tokens.is_empty() => Asked::Nothing,
                Some(tokens) => Asked::Whole(any(&tokens)),
            })
        }))
    }

    /// `None`: too many.
    fn tokens(&self, atom: &Atom, volume: i64) -> rusqlite::Result<Option<Vec<String>>> {
        let odd = |role: &Role| tokens::odd(*role, &atom.text) + "*";
        match atom.how {
            How::Opens => Ok(Some(atom.roles.iter().map(odd).collect())),
            How::Whole => self.whole(atom, volume).map(Some),
            How::Part => {
                let mut found = self.parts(atom, volume)?;
                if let Some(found) = &mut found {
                    found.extend(atom.roles.iter().filter(|it| it.has_odd()).map(odd));
                }
                Ok(found)
            }
        }
    }

    fn whole(&self, atom: &Atom, volume: i64) -> rusqlite::Result<Vec<String>> {
        let whole = |role: &Role| tokens::whole(*role, &atom.text);
        let mut found: Vec<String> = atom.roles.iter().map(whole).collect();
        let mut wholes = self.wholes.borrow_mut();
        let word = match wholes.get(&atom.text) {
            Some(known) => known,
            None => {
                let word = tokens::find(self.index, &atom.text)?;
                wholes.entry(atom.text.clone()).or_insert(word)
            }
        };
        let meant = (Role::bits(atom.roles), bit(volume));
        let word = word.as_ref().filter(|it| it.has(meant.0, meant.1));
        found.extend(word.into_iter().flat_map(|it| it.tokens(atom.roles)));
        Ok(found)
    }

    /// The plain terms of the volume that are meant.
    fn parts(&self, atom: &Atom, volume: i64) -> rusqlite::Result<Option<Vec<String>>> {
        let known = self.parts.borrow().get(&atom.text).cloned();
        let words = match known {
            Some(words) => words,
            None => {
                let words = self.look_up(&atom.text)?.map(Rc::from);
                let mut all = self.parts.borrow_mut();
                all.insert(atom.text.clone(), words.clone());
                words
            }
        };
        let (roles, bit) = (Role::bits(atom.roles), bit(volume));
        let is_meant = |it: &&Word| it.has(roles, bit);
        let most = self.many.min(MOST);
        let is_few = |it: &Rc<[Word]>| it.iter().filter(is_meant).count() <= most;
        Ok(words.filter(is_few).map(|words| {
            let meant = words.iter().filter(is_meant);
            meant.flat_map(|it| it.tokens(atom.roles)).collect()
        }))
    }

    fn look_up(&self, part: &str) -> rusqlite::Result<Option<Vec<Word>>> {
        let sought = trigrams(part);
        if sought.is_none() && self.many < usize::MAX {
            return Ok(None);
        }
        let statement = match sought {
            Some(_) => {
                "SELECT t.id, t.text, t.roles, t.volumes
                 FROM part p CROSS JOIN term t ON t.id = p.rowid WHERE p.part MATCH ?1"
            }
            None => "SELECT id, text, roles, volumes FROM term WHERE ?1 = ''",
        };
        let mut statement = self.index.prepare_cached(statement)?;
        let mut rows = statement.query([sought.unwrap_or_default()])?;
        let most = self.many.saturating_mul(ALL);
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get_ref(1)?.as_str()?.contains(part) {
                found.push(Word::read(row)?);
            }
            if most < found.len() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }
}

/// Any of them will do. In halves of halves: one long row of them is read in time that grows with its square.
fn any(tokens: &[String]) -> String {
    const FEW: usize = 16;
    if tokens.len() <= FEW {
        return format!("({})", tokens.join(" OR "));
    }
    let (some, others) = tokens.split_at(tokens.len() / 2);
    format!("({} OR {})", any(some), any(others))
}

fn more() -> String {
    tokens::whole(Role::More, "")
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
