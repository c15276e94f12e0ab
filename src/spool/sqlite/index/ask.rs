//! What a volume of the index is asked for, so that it names all rows that may be meant and few others.
//!
//! Parts of words are looked up among the words of the volume first. A part that far too many of them have is
//! left to a look at the rows themselves.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use rusqlite::Connection;

use super::super::super::findable::{Atom, How, Role, Way, Wish};
use super::tokens;
use super::volume::sql;

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

/// A volume that is asked; a part may mean that `many` words.
pub(super) struct Question<'a> {
    index: &'a Connection,
    volume: i64,
    many: usize,
    /// Words with a part in them, by the part.
    looked_up: RefCell<HashMap<String, Option<Rc<[Word]>>>>,
}

/// A word of the volume: its number, its roles and its text.
struct Word {
    id: i64,
    roles: i64,
    text: String,
}

impl<'a> Question<'a> {
    pub(super) fn of(index: &'a Connection, volume: i64, many: usize) -> Self {
        Self {
            index,
            volume,
            many,
            looked_up: RefCell::default(),
        }
    }

    pub(super) fn about(&self, wishes: &[Wish]) -> rusqlite::Result<Asked> {
        Asked::and(wishes.iter().map(|wish| {
            let ways = wish.ways();
            let all = Asked::or(ways.iter().map(|way| self.way(way)))?;
            Ok(match all {
                // Whatever is sought may be in what a row is not found by.
                Asked::Part(text) => Asked::Part(format!("({text} OR {})", more())),
                Asked::Whole(text) => Asked::Whole(format!("({text} OR {})", more())),
                Asked::Nothing => Asked::Whole(more()),
                Asked::Everything => Asked::Everything,
            })
        }))
    }

    fn way(&self, way: &Way) -> rusqlite::Result<Asked> {
        Asked::and(way.iter().map(|atom| {
            Ok(match self.tokens(atom)? {
                None => Asked::Everything,
                Some(tokens) if tokens.is_empty() => Asked::Nothing,
                Some(tokens) => Asked::Whole(any(&tokens)),
            })
        }))
    }

    /// `None`: too many.
    fn tokens(&self, atom: &Atom) -> rusqlite::Result<Option<Vec<String>>> {
        let odd = |role: &Role| tokens::odd(*role, &atom.text) + "*";
        match atom.how {
            How::Opens => Ok(Some(atom.roles.iter().map(odd).collect())),
            How::Whole => self.whole(atom).map(Some),
            How::Part => {
                let mut found = self.parts(atom)?;
                if let Some(found) = &mut found {
                    found.extend(atom.roles.iter().filter(|it| it.has_odd()).map(odd));
                }
                Ok(found)
            }
        }
    }

    fn whole(&self, atom: &Atom) -> rusqlite::Result<Vec<String>> {
        let whole = |role: &Role| tokens::whole(*role, &atom.text);
        let mut found: Vec<String> = atom.roles.iter().map(whole).collect();
        if let Some((id, roles)) = tokens::find(self.index, self.volume, &atom.text)? {
            found.extend(plain(atom, id, roles));
        }
        Ok(found)
    }

    /// The plain terms that are meant.
    fn parts(&self, atom: &Atom) -> rusqlite::Result<Option<Vec<String>>> {
        let known = self.looked_up.borrow().get(&atom.text).cloned();
        let words = match known {
            Some(words) => words,
            None => {
                let words = self.look_up(&atom.text)?.map(Rc::from);
                let mut all = self.looked_up.borrow_mut();
                all.insert(atom.text.clone(), words.clone());
                words
            }
        };
        Ok(words.map(|words| {
            let meant = words.iter().filter(|it| atom.means(&it.text));
            meant.flat_map(|it| plain(atom, it.id, it.roles)).collect()
        }))
    }

    fn look_up(&self, part: &str) -> rusqlite::Result<Option<Vec<Word>>> {
        let sought = trigrams(part);
        if sought.is_none() && self.many < usize::MAX {
            return Ok(None);
        }
        let statement = match sought {
            Some(_) => {
                "SELECT t.id, t.roles, t.text FROM part_# p CROSS JOIN term_# t ON t.id = p.rowid
                 WHERE p.part_# MATCH ?1"
            }
            None => "SELECT t.id, t.roles, t.text FROM term_# t WHERE ?1 = ''",
        };
        let mut statement = self.index.prepare_cached(&sql(statement, self.volume))?;
        let mut rows = statement.query([sought.unwrap_or_default()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get_ref(2)?.as_str()?.contains(part) {
                found.push(Word {
                    id: row.get(0)?,
                    roles: row.get(1)?,
                    text: row.get(2)?,
                });
            }
            if self.many < found.len() {
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

/// A term in those of its roles that are meant.
fn plain(atom: &Atom, id: i64, roles: i64) -> Vec<String> {
    let meant = atom.roles.iter().filter(|it| it.bit() & roles != 0);
    meant.map(|it| tokens::plain(*it, id)).collect()
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
