//! Tokens: how the index writes that a row has a term.
//!
//! A role's letter, then `x` and the number of a plain term, `y` and an odd one as it is, or `z` and a hash
//! of what is found as a whole only. Letters, digits and what is not ASCII: nothing has to be quoted.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::super::super::findable::{Kind, Role, Term};
use super::volume::{bit, sql};

/// Words that are remembered.
const KNOWN: usize = 200_000;

pub(super) fn plain(role: Role, id: i64) -> String {
    format!("{}x{id}", role.letter())
}

/// What is neither letter nor digit is moved out of ASCII, octet by octet, and still begins what it began.
pub(super) fn odd(role: Role, text: &str) -> String {
    let letters = text.chars().map(|it| match u32::from(it) {
        code @ 0..128 if !it.is_ascii_alphanumeric() => char::from_u32(0x100 + code).unwrap_or(it),
        _ => it,
    });
    [role.letter(), 'y'].into_iter().chain(letters).collect()
}

pub(super) fn whole(role: Role, text: &str) -> String {
    format!("{}z{:010x}", role.letter(), hash(text) >> 24)
}

/// Enough to tell whether it is another text.
pub(super) fn hash(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    let octets = hash.iter().take(8);
    octets.fold(0, |number, it| number << 8 | u64::from(*it))
}

/// Puts what an entry is found by in the place of what it was found by.
pub(super) fn put(volume: i64) -> String {
    sql(
        "INSERT OR REPLACE INTO doc_# (rowid, tokens) VALUES (?1, ?2)",
        volume,
    )
}

/// A plain term: in which roles and volumes it was seen.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) id: i64,
    pub(super) text: String,
    roles: i64,
    pub(super) volumes: i64,
}

impl Word {
    /// From these columns of `term`: id, text, roles, volumes.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            text: row.get(1)?,
            roles: row.get(2)?,
            volumes: row.get(3)?,
        })
    }

    /// In those of its roles that are meant.
    pub(super) fn tokens(&self, meant: &[Role]) -> Vec<String> {
        let meant = meant.iter().filter(|it| it.bit() & self.roles != 0);
        meant.map(|it| plain(*it, self.id)).collect()
    }

    /// Whether it is in any of these.
    pub(super) const fn has(&self, roles: i64, volumes: i64) -> bool {
        self.roles & roles != 0 && self.volumes & volumes != 0
    }

    const fn covers(&self, roles: i64, volumes: i64) -> bool {
        self.roles & roles == roles && self.volumes & volumes == volumes
    }
}

/// Words of the index, as far as they are known without asking.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    known: HashMap<String, Word>,
}

impl Dictionary {
    /// Somebody may have dropped words.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    pub(super) fn token(
        &mut self,
        index: &Connection,
        volume: i64,
        term: &Term,
    ) -> rusqlite::Result<String> {
        Ok(match term.kind {
            Kind::Plain => plain(term.role, self.number(index, volume, term)?),
            Kind::Odd => odd(term.role, &term.text),
            Kind::Whole => whole(term.role, &term.text),
        })
    }

    fn number(&mut self, index: &Connection, volume: i64, term: &Term) -> rusqlite::Result<i64> {
        let (role, bit) = (term.role.bit(), bit(volume));
        if let Some(word) = self.known.get(&term.text)
            && word.covers(role, bit)
        {
            return Ok(word.id);
        }
        let mut word = match find(index, &term.text)? {
            Some(found) => found,
            None => add(index, &term.text)?,
        };
        if !word.covers(role, bit) {
            word.roles |= role;
            word.volumes |= bit;
            index
                .prepare_cached("UPDATE term SET roles = ?2, volumes = ?3 WHERE id = ?1")?
                .execute([word.id, word.roles, word.volumes])?;
        }
        let id = word.id;
        if self.known.len() >= KNOWN {
            self.clear();
        }
        self.known.insert(term.text.clone(), word);
        Ok(id)
    }
}

pub(super) fn find(index: &Connection, text: &str) -> rusqlite::Result<Option<Word>> {
    index
        .prepare_cached("SELECT id, text, roles, volumes FROM term WHERE text = ?1")?
        .query_row([text], Word::read)
        .optional()
}

fn add(index: &Connection, text: &str) -> rusqlite::Result<Word> {
    index
        .prepare_cached("INSERT INTO term (text, roles, volumes) VALUES (?1, 0, 0)")?
        .execute([text])?;
    let id = index.last_insert_rowid();
    index
        .prepare_cached("INSERT INTO part (rowid, text) VALUES (?1, ?2)")?
        .execute(params![id, text])?;
    Ok(Word {
        id,
        text: text.to_owned(),
        roles: 0,
        volumes: 0,
    })
}

/// The next words in any of these volumes, by id.
pub(super) fn in_volumes(
    index: &Connection,
    bits: i64,
    behind: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Word>> {
    let mut statement = index.prepare_cached(
        "SELECT id, text, roles, volumes FROM term WHERE id > ?1 AND volumes & ?2 <> 0
         ORDER BY id LIMIT ?3",
    )?;
    let words = statement.query_map([behind, bits, limit as i64], Word::read)?;
    words.collect()
}

/// In these volumes alone; in none it goes.
pub(super) fn keep(index: &Connection, word: &Word, volumes: i64) -> rusqlite::Result<()> {
    if volumes != 0 {
        index
            .prepare_cached("UPDATE term SET volumes = ?2 WHERE id = ?1")?
            .execute([word.id, volumes])?;
        return Ok(());
    }
    index
        .prepare_cached("DELETE FROM term WHERE id = ?1")?
        .execute([word.id])?;
    index
        .prepare_cached("INSERT INTO part (part, rowid, text) VALUES ('delete', ?1, ?2)")?
        .execute(params![word.id, word.text])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_a_text_begins_its_token() {
        let whole = odd(Role::MessageId, "20261130.ab-1@ws1.test");
        for part in ["2", "20261130.", "20261130.ab-1@", "20261130.ab-1@ws1.test"] {
            assert!(whole.starts_with(&odd(Role::MessageId, part)), "{part}");
        }
        assert!(!whole.starts_with(&odd(Role::MessageId, "20261130-")));
        assert!(
            whole
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || !it.is_ascii())
        );
    }
}
