//! Volumes: the index by time, each 2^32 ms of the log (50 days) in tables of their own.
//!
//! So a search of a time looks at little, the newest are found first, and what is forgotten goes with its
//! tables, its words included. An entry's id is its millisecond and a number among those of the same.

use rusqlite::Connection;

const SCHEMA: &str = include_str!("../../schema/sqlite/search_volume.sql");
/// Bits of a time within its volume.
const SPAN_BITS: u32 = 32;
/// Bits of an entry's id below its millisecond.
const SLOT_BITS: u32 = 10;
/// The row of a crowded millisecond may stand so many later.
pub(super) const SPILL: i64 = 64;

/// The volume of a row of that time.
pub(super) const fn of(millis: i64) -> i64 {
    at_least_zero(millis) >> SPAN_BITS
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
        .prepare_cached(
            "INSERT OR IGNORE INTO volume (number, refill, packed) VALUES (?1, NULL, 0)",
        )?
        .execute([volume])?;
    Ok(())
}

/// A volume, and from where on its words are read anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volume {
    pub(super) number: i64,
    pub(super) refill: Option<i64>,
    pub(super) packed: bool,
}

/// The newest first.
pub(super) fn all(index: &Connection) -> rusqlite::Result<Vec<Volume>> {
    let mut statement =
        index.prepare_cached("SELECT number, refill, packed FROM volume ORDER BY number DESC")?;
    let all = statement.query_map([], |row| {
        Ok(Volume {
            number: row.get(0)?,
            refill: row.get(1)?,
            packed: row.get(2)?,
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

/// Makes one piece of the many in which a volume was written: it is asked several times faster.
pub(super) fn pack(index: &Connection, volume: i64) -> rusqlite::Result<()> {
    index.execute_batch(&sql(
        "INSERT INTO part_# (part_#) VALUES ('optimize');
         INSERT INTO doc_# (doc_#) VALUES ('optimize');
         UPDATE volume SET packed = 1 WHERE number = #;",
        volume,
    ))
}

/// Lets go of all words of the volumes of that time. Nothing of them is left in the file, nor beside it.
pub(super) fn forget(index: &mut Connection, first: i64, last: i64) -> rusqlite::Result<()> {
    let step = index.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let meant = of(first)..=of(last);
    for volume in all(&step)?.iter().filter(|it| meant.contains(&it.number)) {
        let number = volume.number;
        let drop = "DROP TABLE doc_#; DROP TABLE part_#; DROP TABLE term_#;";
        step.execute_batch(&sql(drop, number))?;
        make(&step, number)?;
        step.prepare_cached("UPDATE volume SET refill = 0, packed = 0 WHERE number = ?1")?
            .execute([number])?;
    }
    step.commit()?;
    index.pragma_update(None, "wal_checkpoint", "TRUNCATE")
}
