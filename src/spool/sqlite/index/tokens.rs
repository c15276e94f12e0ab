//! Tokens: how the index writes that a row has a term.
//!
//! A role's letter, then `x` and the number of a plain term, `y` and an odd one as it is, or `z` and a hash
//! of what is found as a whole only. All are of letters and digits, so that nothing has to be quoted.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::super::super::findable::{Kind, Role, Term};
use crate::spool::store::StoreError;

/// Terms whose numbers are remembered.
const KNOWN: usize = 200_000;

pub(super) fn plain(role: Role, id: i64) -> String {
    format!("{}x{id}", role.letter())
}

pub(super) fn odd(role: Role, text: &str) -> String {
    format!("{}y{text}", role.letter())
}

pub(super) fn whole(role: Role, text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let short = hash.iter().take(5);
    let hex: String = short.map(|it| format!("{it:02x}")).collect();
    format!("{}z{hex}", role.letter())
}

/// Numbers of terms, as far as they are known without asking.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    known: HashMap<String, (i64, i64)>,
}

impl Dictionary {
    pub(super) fn token(&mut self, index: &Connection, term: &Term) -> Result<String, StoreError> {
        Ok(match term.kind {
            Kind::Plain => plain(term.role, self.number(index, term)?),
            Kind::Odd => odd(term.role, &term.text),
            Kind::Whole => whole(term.role, &term.text),
        })
    }

    fn number(&mut self, index: &Connection, term: &Term) -> Result<i64, StoreError> {
        let bit = term.role.bit();
        if let Some(&(id, roles)) = self.known.get(&term.text)
            && roles & bit != 0
        {
            return Ok(id);
        }
        let (id, roles) = find(index, &term.text)?.map_or_else(|| add(index, &term.text), Ok)?;
        let all = roles | bit;
        if all != roles {
            index
                .prepare_cached("UPDATE term SET roles = ?2 WHERE id = ?1")?
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
pub(super) fn find(index: &Connection, text: &str) -> Result<Option<(i64, i64)>, StoreError> {
    Ok(index
        .prepare_cached("SELECT id, roles FROM term WHERE text = ?1")?
        .query_row([text], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

fn add(index: &Connection, text: &str) -> Result<(i64, i64), StoreError> {
    index
        .prepare_cached("INSERT INTO term (text, roles) VALUES (?1, 0)")?
        .execute([text])?;
    let id = index.last_insert_rowid();
    index
        .prepare_cached("INSERT INTO part (rowid, text) VALUES (?1, ?2)")?
        .execute(params![id, text])?;
    Ok((id, 0))
}
