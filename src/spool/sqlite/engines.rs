//! How the engines stand, as SQL.

use rusqlite::{Connection, Row, params};

use super::super::store::{EngineRow, StoreError};
use crate::mail::Timestamp;

pub(super) fn stand(
    connection: &Connection,
    at: Timestamp,
    engines: &[EngineRow],
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM engine")?
        .execute([])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO engine (name, position, at, kind, down, since, version, signatures,
             signatures_at, self_test, self_tested_at, p50_ms, p99_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for (position, it) in engines.iter().enumerate() {
        let test = it.self_test.as_ref();
        insert.execute(params![
            it.engine,
            position as i64,
            at.as_millis(),
            it.kind,
            it.down,
            it.since.as_millis(),
            it.version,
            it.signatures,
            it.signatures_at.map(Timestamp::as_millis),
            test.map(|(words, _)| words),
            test.map(|(_, at)| at.as_millis()),
            it.p50_ms.map(u64::cast_signed),
            it.p99_ms.map(u64::cast_signed),
        ])?;
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(Timestamp, EngineRow)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT at, name, kind, down, since, version, signatures, signatures_at, self_test,
             self_tested_at, p50_ms, p99_ms FROM engine ORDER BY position",
    )?;
    let rows = statement.query_map([], to_engine)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn to_engine(row: &Row<'_>) -> rusqlite::Result<(Timestamp, EngineRow)> {
    let time = |place| {
        let millis: Option<i64> = row.get(place)?;
        Ok::<_, rusqlite::Error>(millis.map(Timestamp::from_millis))
    };
    let number = |place| {
        let number: Option<i64> = row.get(place)?;
        Ok::<_, rusqlite::Error>(number.map(i64::unsigned_abs))
    };
    let engine = EngineRow {
        engine: row.get(1)?,
        kind: row.get(2)?,
        down: row.get(3)?,
        since: Timestamp::from_millis(row.get(4)?),
        version: row.get(5)?,
        signatures: row.get(6)?,
        signatures_at: time(7)?,
        self_test: row.get::<_, Option<String>>(8)?.zip(time(9)?),
        p50_ms: number(10)?,
        p99_ms: number(11)?,
    };
    Ok((Timestamp::from_millis(row.get(0)?), engine))
}
