//! What is inside of attachments, as SQL.

use std::ops::Range;

use rusqlite::{Connection, params};

use super::super::store::StoreError;
use super::read::file_type;
use super::write::number;
use crate::mail::{Attachment, Reference};

/// Those that are not there yet; gives their numbers. Attachments themselves are left alone.
pub(super) fn add(
    connection: &Connection,
    reference: Reference,
    files: &[Attachment],
) -> Result<Range<usize>, StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO member (reference, number, within, name, size, sha256, kind)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut members = files.iter().filter(|it| it.within.is_some()).peekable();
    if members.peek().is_none() {
        return Ok(0..0);
    }
    let known = of(connection, reference)?;
    let mut end = known.len();
    for (place, file) in (known.len()..).zip(members.filter(|it| !known.contains(it))) {
        insert.execute(params![
            number(reference),
            place as i64,
            file.within,
            file.name,
            file.size.map(u64::cast_signed),
            file.sha256,
            file.kind.word(),
        ])?;
        end = place + 1;
    }
    Ok(known.len()..end)
}

pub(super) fn of(
    connection: &Connection,
    reference: Reference,
) -> Result<Vec<Attachment>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, within, size, sha256, kind FROM member WHERE reference = ?1 ORDER BY number",
    )?;
    let members = statement.query_map([number(reference)], |row| {
        Ok(Attachment {
            name: row.get(0)?,
            within: row.get(1)?,
            size: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
            sha256: row.get(3)?,
            kind: file_type(row.get::<_, Option<String>>(4)?.as_deref()),
        })
    })?;
    Ok(members.collect::<Result<_, _>>()?)
}
