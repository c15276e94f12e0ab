//! Volumes: the index by time, each 2^32 ms of the log (50 days) in tables of their own.
//!
//! So a search of a time looks at little, the newest are found first, and each word knows in which volumes it is.
//! An entry's id is its millisecond and a number among those of the same.

use rusqlite::Connection;

const SCHEMA: &str = include_str!("../../schema/sqlite/search_volume.sql");
/// Bits of a time within its volume.
const SPAN_BITS: u32 = 32;
/// Pages of a volume that are written anew at a time.
const PAGES: i64 = 1_000;
/// Bits of an entry's id below its millisecond.
const SLOT_BITS: u32 = 10;
/// The row of a crowded millisecond may stand so many later.
pub(super) const SPILL: i64 = 64;

/// The volume of a row of that time.
pub(super) const fn of(millis: i64) -> i64 {
    at_least_zero(millis) >> SPAN_BITS
}

/// A volume's bit among those of a word.
pub(super) const fn bit(volume: i64) -> i64 {
    1 << (volume & 63)
}

/// The first id of a row of that millisecond.
pub(super) const fn first_id(millis: i64) -> i64 {
    at_least_zero(millis).saturating_mul(1 << SLOT_BITS)
}

/// The millisecond of an id: its row is of that one, or a little older.
pub(super) const fn millis_of(id: i64) -> i64 {
    id >> SLOT_BITS
}

/// All rows of a volume, and of those before it, are older.
pub(super) const fn end(volume: i64) -> i64 {
    (volume + 1) << SPAN_BITS
}

const fn at_least_zero(millis: i64) -> i64 {
    if millis < 0 { 0 } else { millis }
}

/// Statements about a volume.
pub(super) fn sql(statement: &str, volume: i64) -> String {
    statement.replace('#', &volume.to_string())
}

pub(super) fn make(index: &Connection, volume: i64) -> rusqlite::Result<()> {
    index.execute_batch(&sql(SCHEMA, volume))?;
    index
        .prepare_cached("INSERT OR IGNORE INTO volume (number, packed) VALUES (?1, 0)")?
        .execute([volume])?;
    Ok(())
}

/// A volume, and the ids of which words are read anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volume {
    pub(super) number: i64,
    pub(super) refill: Option<(i64, i64)>,
    pub(super) packed: bool,
}

/// The newest first.
pub(super) fn all(index: &Connection) -> rusqlite::Result<Vec<Volume>> {
    let mut statement = index.prepare_cached(
        "SELECT number, refill, refill_to, packed FROM volume ORDER BY number DESC",
    )?;
    let all = statement.query_map([], |row| {
        let (from, to): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        Ok(Volume {
            number: row.get(0)?,
            refill: from.zip(to),
            packed: row.get(3)?,
        })
    })?;
    all.collect()
}

/// A volume in which little changes any more. All but the newest, once they are filled.
pub(super) fn to_pack(all: &[Volume]) -> Option<i64> {
    let older = all.iter().skip(1);
    let mut ready = older.filter(|it| !it.packed && it.refill.is_none());
    ready.next().map(|it| it.number)
}

/// A portion of the way to one piece, where a volume was written in many: it is then asked several times faster.
pub(super) fn pack(index: &Connection, volume: i64) -> rusqlite::Result<()> {
    if !merge(index, "part")? && !merge(index, &sql("doc_#", volume))? {
        index
            .prepare_cached("UPDATE volume SET packed = 1 WHERE number = ?1")?
            .execute([volume])?;
    }
    Ok(())
}

/// A portion of making one piece of a table's many, without what was deleted; `false`: it is one.
pub(super) fn merge(index: &Connection, table: &str) -> rusqlite::Result<bool> {
    let changes = || -> rusqlite::Result<i64> {
        let mut statement = index.prepare_cached("SELECT total_changes()")?;
        statement.query_row([], |row| row.get(0))
    };
    let before = changes()?;
    index
        .prepare_cached(&format!(
            "INSERT INTO {table} ({table}, rank) VALUES ('merge', ?1)"
        ))?
        .execute([-PAGES])?;
    // One change is the command.
    Ok(changes()? - before > 1)
}
