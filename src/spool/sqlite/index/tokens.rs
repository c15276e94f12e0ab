//! Tokens: how the index writes that a row has a term.
//!
//! A role's letter, then `x` and the number of a plain term, `y` and an odd one as it is, or `z` and a hash
//! of what is found as a whole only. Letters, digits and what is not ASCII: nothing has to be quoted.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::super::super::findable::{Kind, Role, Term};
use super::volume::sql;

/// Terms of a volume whose numbers are remembered.
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

/// Numbers of the terms of a volume, as far as they are known without asking.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    known: HashMap<String, (i64, i64)>,
}

impl Dictionary {
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
        let bit = term.role.bit();
        if let Some(&(id, roles)) = self.known.get(&term.text)
            && roles & bit != 0
        {
            return Ok(id);
        }
        let (id, roles) = match find(index, volume, &term.text)? {
            Some(found) => found,
            None => (add(index, volume, &term.text)?, 0),
        };
        let all = roles | bit;
        if all != roles {
            index
                .prepare_cached(&sql("UPDATE term_# SET roles = ?2 WHERE id = ?1", volume))?
                .execute([id, all])?;
        }
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(term.text.clone(), (id, all));
        Ok(id)
    }
}

/// The number of a term, and its roles.
pub(super) fn find(
    index: &Connection,
    volume: i64,
    text: &str,
) -> rusqlite::Result<Option<(i64, i64)>> {
    index
        .prepare_cached(&sql("SELECT id, roles FROM term_# WHERE text = ?1", volume))?
        .query_row([text], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn add(index: &Connection, volume: i64, text: &str) -> rusqlite::Result<i64> {
    index
        .prepare_cached(&sql(
            "INSERT INTO term_# (text, roles) VALUES (?1, 0)",
            volume,
        ))?
        .execute([text])?;
    let id = index.last_insert_rowid();
    index
        .prepare_cached(&sql(
            "INSERT INTO part_# (rowid, text) VALUES (?1, ?2)",
            volume,
        ))?
        .execute(params![id, text])?;
    Ok(id)
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
