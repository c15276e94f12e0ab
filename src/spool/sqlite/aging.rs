//! What grows old in the log is pseudonymised, and later purged, as SQL.
//!
//! A portion is one transaction: rows lose their salts and what stood in them, or go and leave a stub, so that the
//! chain holds. What waits, is held, or lies in quarantine is passed over, and comes again. A row that is not as it
//! was written is left as it is: nobody's changes are hidden by this.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::store::{Aged, Aging, AgingPlan, Forgotten, StoreError};
use super::chain;
use super::write::number;
use crate::evidence;
use crate::evidence::leaf::MASKED;
use crate::mail::part::hex;
use crate::mail::{Details, EventKind, Reference, Timestamp};

/// Events of the log as a whole that say what became of it: they stay.
const STAYS: &str = "log retention";
/// Octets of a pseudonym: that two addresses share one is as good as impossible.
const PSEUDONYM: usize = 8;
/// In milliseconds.
const DAY: i64 = 86_400_000;

/// A portion: of what is oldest first.
pub(super) fn age(connection: &Connection, aging: &Aging) -> Result<Aged, StoreError> {
    let mut aged = Aged::default();
    let mut left = aging.limit;
    for (before, is_purge) in [
        (aging.purge_before, true),
        (aging.pseudonymise_before, false),
    ] {
        let Some(before) = before.filter(|_| left > 0) else {
            continue;
        };
        let step = Step {
            connection,
            is_purge,
            now: aging.now,
        };
        let (found, is_full) = step.portion(before, left)?;
        left = left.saturating_sub(found.len());
        aged.is_more |= is_full;
        for reference in found {
            step.one(reference, &mut aged)?;
        }
    }
    connection
        .prepare_cached("UPDATE retention SET masked = masked + ?1, purged = purged + ?2")?
        .execute(params![aged.masked as i64, aged.purged as i64])?;
    Ok(aged)
}

struct Step<'a> {
    connection: &'a Connection,
    is_purge: bool,
    now: Timestamp,
}

impl Step<'_> {
    const fn column(&self) -> &'static str {
        match self.is_purge {
            true => "purged_to",
            false => "pseudonymised_to",
        }
    }

    /// What was left before and may go now, then what comes next, and whether there may be more; how far that is,
    /// is written down.
    fn portion(&self, before: Timestamp, limit: usize) -> Result<(Vec<i64>, bool), StoreError> {
        let end = number(Reference::first_at(before));
        let mut old = self.connection.prepare_cached(
            "SELECT reference FROM retention_left WHERE reference < ?1 ORDER BY reference",
        )?;
        let old = old.query_map([end], |row| row.get(0))?;
        let mut found: Vec<i64> = Vec::new();
        for reference in old {
            let reference = reference?;
            if found.len() < limit && self.may_go(reference)? {
                found.push(reference);
            }
        }
        let to = format!("SELECT {} FROM retention", self.column());
        let mut to: i64 = self
            .connection
            .prepare_cached(&to)?
            .query_row([], |row| row.get(0))?;
        let mut next = self.connection.prepare_cached(
            "SELECT DISTINCT reference FROM event WHERE reference > ?1 AND reference < ?2
             ORDER BY reference LIMIT ?3",
        )?;
        let room = limit - found.len();
        let next = next.query_map(params![to, end, room as i64], |row| row.get(0))?;
        let mut looked = 0;
        for reference in next {
            to = reference?;
            looked += 1;
            match self.may_go(to)? {
                true => found.push(to),
                false => self.leave(to)?,
            }
        }
        let set = format!("UPDATE retention SET {} = ?1", self.column());
        self.connection.prepare_cached(&set)?.execute([to])?;
        Ok((found, looked == room))
    }

    fn leave(&self, reference: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO retention_left VALUES (?1)")?
            .execute([reference])?;
        Ok(())
    }

    fn may_go(&self, reference: i64) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached(&format!("SELECT {MAY_GO}"))?
            .query_row([reference, self.now.as_millis()], |row| row.get(0))?)
    }

    fn one(&self, reference: i64, aged: &mut Aged) -> Result<(), StoreError> {
        let rows = rows_of(self.connection, reference)?;
        let mut is_whole = true;
        for row in rows {
            let outcome = match self.is_purge {
                true => purge(self.connection, row),
                false => pseudonymise(self.connection, row),
            };
            match outcome {
                Ok(true) if self.is_purge => aged.purged += 1,
                Ok(true) => aged.masked += 1,
                Ok(false) => {}
                Err(StoreError::Conflict(_)) => {
                    is_whole = false;
                    aged.not_as_written.push(row.sequence.unsigned_abs());
                }
                Err(fault) => return Err(fault),
            }
        }
        let beside: &[&str] = match (self.is_purge, is_whole) {
            (true, true) => &[
                "message",
                "recipient",
                "attachment",
                "member",
                "refusal",
                "content",
            ],
            // What stands beside a row that was changed shows what was done.
            (_, false) => &[],
            (false, true) => &["content"],
        };
        for table in beside {
            self.connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE reference = ?1"))?
                .execute([reference])?;
        }
        self.connection
            .prepare_cached(
                "UPDATE recipient SET last_reply = NULL WHERE reference = ?1 AND last_reply IS NOT NULL",
            )?
            .execute([reference])?;
        // What was blocked may have been said of a person; that something was blocked is still counted.
        self.connection
            .prepare_cached(
                "UPDATE measure SET reason = NULL,
                     value = CASE WHEN kind IN ('file', 'subject', 'sender') THEN ?2 ELSE value END
                 WHERE reference = ?1",
            )?
            .execute(params![reference, MASKED])?;
        self.connection
            .prepare_cached("DELETE FROM retention_left WHERE reference = ?1")?
            .execute([reference])?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO forgotten (day) VALUES (?1)")?
            .execute([Reference::from_number(reference.unsigned_abs())
                .made_at()
                .as_millis()
                .div_euclid(DAY)])?;
        aged.references += 1;
        Ok(())
    }
}

/// Nothing waits, is held, lies in quarantine, or is in force.
const MAY_GO: &str = "NOT EXISTS (SELECT 1 FROM recipient
        WHERE reference = ?1 AND (finished_at IS NULL OR look_at IS NOT NULL))
    AND NOT EXISTS (SELECT 1 FROM quarantine WHERE reference = ?1)
    AND NOT EXISTS (SELECT 1 FROM scan WHERE reference = ?1)
    AND NOT EXISTS (SELECT 1 FROM measure
        WHERE reference = ?1 AND closed_at IS NULL AND until > ?2)";

#[derive(Debug, Clone, Copy)]
struct LogPlace {
    sequence: i64,
    is_chained: bool,
}

fn rows_of(connection: &Connection, reference: i64) -> Result<Vec<LogPlace>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, digest IS NOT NULL FROM event WHERE reference = ?1 AND kind <> ?2
         ORDER BY sequence",
    )?;
    let rows = statement.query_map(params![reference, STAYS], |row| {
        Ok(LogPlace {
            sequence: row.get(0)?,
            is_chained: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether it was done.
fn purge(connection: &Connection, row: LogPlace) -> Result<bool, StoreError> {
    if row.is_chained {
        chain::purge(connection, row.sequence.unsigned_abs())?;
        return Ok(true);
    }
    connection
        .prepare_cached("DELETE FROM event WHERE sequence = ?1")?
        .execute([row.sequence])?;
    connection
        .prepare_cached("UPDATE chain SET before = before - 1")?
        .execute([])?;
    Ok(true)
}

/// Whether there was anything to mask.
fn pseudonymise(connection: &Connection, row: LogPlace) -> Result<bool, StoreError> {
    let sequence = row.sequence.unsigned_abs();
    let fields: Vec<(String, String)> = chain::fields_of(connection, sequence)?
        .into_iter()
        .filter(|(name, value)| {
            is_personal(name, value) && !value.trim_matches('"').starts_with(MASKED)
        })
        .collect();
    if fields.is_empty() {
        return Ok(false);
    }
    let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
    if row.is_chained {
        chain::blind(connection, sequence, &names)?;
    }
    chain::erase(connection, sequence, &names)?;
    let key = key(connection)?;
    for (name, value) in &fields {
        if is_address(name) {
            let pseudonym = pseudonym(&key, value.trim_matches('"'));
            chain::put(connection, sequence, name, &pseudonym)?;
        }
    }
    Ok(true)
}

/// Fields that hold one address, of which the domain stays.
fn is_address(name: &str) -> bool {
    matches!(
        name,
        "recipient"
            | "message.sender"
            | "refusal.sender"
            | "refusal.recipient"
            | "details.sender"
            | "details.group"
    ) || (name.starts_with("recipient.") && name.ends_with(".address"))
}

/// Fields that say something of a person, or may.
fn is_personal(name: &str, value: &str) -> bool {
    const ALL: [&str; 21] = [
        "message.client",
        "message.envelope_id",
        "message.message_id",
        "message.subject",
        "refusal.certificate",
        "refusal.client",
        "refusal.message_id",
        "refusal.reply",
        "refusal.subject",
        "refusal.user",
        "details.certificate",
        "details.client",
        "details.engines",
        "details.helo",
        "details.malware",
        "details.marks",
        "details.measure",
        "details.query",
        "details.reason",
        "details.reply",
        "details.user",
    ];
    let is_name = ["attachment.", "member."]
        .iter()
        .any(|it| name.starts_with(it))
        && (name.ends_with(".name") || name.ends_with(".within"));
    // What a block or a scan found is told with the name of the file.
    let is_block =
        name == "details.rule" && (value.contains("block ") || value.starts_with("\"scan: "));
    let is_empty = matches!(value, "" | "\"\"");
    !is_empty
        && (is_address(name)
            || is_name
            || is_block
            || name.ends_with(".original")
            || ALL.contains(&name))
}

/// The same for the same address, for as long as the key is the same.
fn pseudonym(key: &[u8], address: &str) -> String {
    let digest = evidence::pseudonym(key, &address.to_lowercase());
    let name = hex(digest.0.get(..PSEUDONYM).unwrap_or_default());
    match address.rsplit_once('@') {
        Some((_, domain)) => format!("{MASKED}-{name}@{domain}"),
        None => format!("{MASKED}-{name}"),
    }
}

fn key(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO secret VALUES ('pseudonyms', randomblob(32))")?
        .execute([])?;
    Ok(connection
        .prepare_cached("SELECT octets FROM secret WHERE name = 'pseudonyms'")?
        .query_row([], |row| row.get(0))?)
}

/// From now on the same address gets another pseudonym, and nobody can find out which it had.
pub(super) fn forget_key(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM secret WHERE name = 'pseudonyms'")?
        .execute([])?;
    Ok(())
}

/// The event that says what was done since the last one, if anything was.
pub(super) fn told(connection: &Connection) -> Result<Option<Details>, StoreError> {
    let done: (i64, i64) = connection
        .prepare_cached("SELECT masked, purged FROM retention")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (masked, purged) = (done.0.unsigned_abs(), done.1.unsigned_abs());
    if masked + purged == 0 {
        return Ok(None);
    }
    connection
        .prepare_cached("UPDATE retention SET masked = 0, purged = 0")?
        .execute([])?;
    Ok(Some(Details {
        masked: Some(masked),
        purged: Some(purged),
        summary: Some(format!(
            "{masked} rows were pseudonymised, {purged} rows were purged"
        )),
        ..Details::default()
    }))
}

/// When it was last looked at, and when the newest row was written that mail has brought.
pub(super) fn clocks(
    connection: &Connection,
) -> Result<(Option<Timestamp>, Option<Timestamp>), StoreError> {
    let looked: Option<i64> = connection
        .prepare_cached("SELECT looked_at FROM retention")?
        .query_row([], |row| row.get(0))?;
    let newest: Option<i64> = connection
        .prepare_cached(
            "SELECT at FROM event WHERE kind <> 'log read' AND kind <> 'log retention'
             ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok((
        looked.map(Timestamp::from_millis),
        newest.map(Timestamp::from_millis),
    ))
}

pub(super) fn looked_at(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE retention SET looked_at = ?1")?
        .execute([now.as_millis()])?;
    Ok(())
}

/// What would go, in one pass over what is old.
pub(super) fn plan(connection: &Connection, aging: &Aging) -> Result<AgingPlan, StoreError> {
    let count = |column: &str, before: Option<Timestamp>, from: Option<Timestamp>| {
        let Some(before) = before else {
            return Ok((0, 0, 0));
        };
        let from = from.map_or(-1, |it| number(Reference::first_at(it)));
        let sql = format!(
            "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(NOT may_go), 0) FROM (
                 SELECT reference, count(*) AS rows, ({}) AS may_go FROM event e
                 WHERE reference >= ?1 AND reference < ?3 AND kind <> '{STAYS}'
                     AND (reference > (SELECT {column} FROM retention)
                         OR reference IN (SELECT reference FROM retention_left))
                 GROUP BY reference)",
            MAY_GO.replace("?1", "e.reference")
        );
        let end = number(Reference::first_at(before));
        connection
            .prepare(&sql)?
            .query_row(params![from, aging.now.as_millis(), end], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                ))
            })
    };
    let purge = count("purged_to", aging.purge_before, None)?;
    let pseudonymise = count(
        "pseudonymised_to",
        aging.pseudonymise_before,
        aging.purge_before,
    )?;
    Ok(AgingPlan {
        purge: (purge.0 - purge.2).unsigned_abs(),
        purge_rows: purge.1.unsigned_abs(),
        pseudonymise: (pseudonymise.0 - pseudonymise.2).unsigned_abs(),
        pseudonymise_rows: pseudonymise.1.unsigned_abs(),
        left: (purge.2 + pseudonymise.2).unsigned_abs(),
    })
}

/// What the search index is to forget yet. A row is no more than a day younger than its reference.
pub(super) fn forgotten(connection: &Connection) -> Result<Forgotten, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT number, day FROM forgotten ORDER BY day")?;
    let mut rows = statement.query([])?;
    let mut forgotten = Forgotten::default();
    while let Some(row) = rows.next()? {
        forgotten.number = forgotten.number.max(row.get::<_, i64>(0)?.unsigned_abs());
        let day: i64 = row.get(1)?;
        let first = Timestamp::from_millis(day * DAY);
        let last = Timestamp::from_millis((day + 2) * DAY - 1);
        match forgotten.times.last_mut() {
            Some(times) if first <= *times.end() => *times = *times.start()..=last,
            _ => forgotten.times.push(first..=last),
        }
    }
    Ok(forgotten)
}

/// It has forgotten what there was up to this number.
pub(super) fn forgot(connection: &Connection, number: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM forgotten WHERE number <= ?1")?
        .execute([number.cast_signed()])?;
    Ok(())
}

/// What retention has said of itself: rows masked and purged.
pub(super) fn accounted(connection: &Connection) -> Result<(u64, u64), StoreError> {
    debug_assert_eq!(EventKind::LogRetention.word(), STAYS);
    let sums: (i64, i64) = connection
        .prepare_cached(
            "SELECT coalesce(sum(json_extract(details, '$.masked')), 0) + (SELECT masked FROM retention),
                 coalesce(sum(json_extract(details, '$.purged')), 0) + (SELECT purged FROM retention)
             FROM event INDEXED BY event_retention WHERE kind = 'log retention'",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((sums.0.unsigned_abs(), sums.1.unsigned_abs()))
}

/// Gives a portion of the pages back that nothing uses; whether there may be more.
pub(super) fn scrub(connection: &Connection) -> Result<bool, StoreError> {
    const PAGES: u32 = 256;
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    let spare: i64 = connection
        .prepare_cached("PRAGMA freelist_count")?
        .query_row([], |row| row.get(0))?;
    Ok(spare > 0)
}

/// Folds the write-ahead log into the file and cuts it to nothing; `false`: somebody is in the way.
pub(super) fn fold(connection: &Connection) -> Result<bool, StoreError> {
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}
