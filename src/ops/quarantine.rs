//! What was caught, as people handle it: list, show, read, release, delete; and how long
//! it is kept.
//!
//! A release scans again, here and now, with the engines of the settings, whether the relay runs or
//! not.

use std::sync::Arc;
use std::time::Duration;

use super::measures;
use crate::lifecycle::{self, Guard, Hand, Release};
use crate::mail::{Content, Priority, Reference, State, Timestamp, Verdict};
use crate::policy::table::RoutingTable;
use crate::scan::{self, Desk};
use crate::spool::store::{Applied, CaughtMessage, MessageRecord, Store, StoreError, Waiting};

/// Messages that are done away with one after the other, until others have their turn.
const PORTION: usize = 100;

/// Why it was not done.
#[derive(Debug)]
pub enum Refused {
    /// It is not in quarantine, nor held since it cannot be scanned.
    NotThere,
    /// It still fails its scan: why.
    StillFails(String),
    /// Somebody else was faster.
    Overtaken,
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// One message, and what is known of it.
pub async fn show(
    store: &Arc<dyn Store>,
    reference: Reference,
) -> Result<(CaughtMessage, MessageRecord), Refused> {
    let caught = store.quarantined(Some(reference), 1).await?.pop();
    let record = store.message(reference).await?;
    caught.zip(record).ok_or(Refused::NotThere)
}

/// The bytes of a caught message. That somebody reads them is a row.
pub async fn read(
    store: &Arc<dyn Store>,
    reference: Reference,
    hand: Hand<'_>,
) -> Result<Content, Refused> {
    show(store, reference).await?;
    let content = store.content(reference).await?.ok_or(Refused::NotThere)?;
    let change = lifecycle::read_by(reference, hand);
    store.apply(Arc::new(change)).await?;
    Ok(content)
}

/// Scans it again and lets it out: what was caught, or cannot be scanned. `is_forced`: whatever the scan
/// says.
pub async fn release(
    store: &Arc<dyn Store>,
    reference: Reference,
    settings: &scan::Settings,
    table: &RoutingTable,
    is_forced: bool,
    hand: Hand<'_>,
) -> Result<(), Refused> {
    let record = store.message(reference).await?.ok_or(Refused::NotThere)?;
    if !record.recipients.iter().any(lifecycle::is_kept) {
        return Err(Refused::NotThere);
    }
    let caught = store.quarantined(Some(reference), 1).await?.pop();
    let content = store.content(reference).await?.ok_or(Refused::NotThere)?;
    let inspection = Arc::new(Desk::new(settings))
        .once(scan::Job {
            reference,
            matter: scan::Matter::Message(content.bytes),
            priority: Priority::ROUTINE,
            may_try: true,
        })
        .await;
    let measures = measures::current(store, hand.now).await?;
    let guard = Guard {
        now: hand.now,
        table,
        on_failure: settings.on_failure,
        actions: &settings.rules.actions,
        measures: &measures,
        has_engines: !settings.engines.is_empty(),
    };
    let release = Release {
        reference,
        recipients: &record.recipients,
        trace: &content.trace,
        inspection: &inspection,
        is_owed: caught.is_none_or(|it| lifecycle::is_by_engine(&it.engine)),
        is_forced,
    };
    if matches!(inspection.verdict, Verdict::Infected(_)) {
        rescan_others(store, &record, hand).await?;
    }
    let change = lifecycle::let_out(&release, hand, &guard).map_err(Refused::StillFails)?;
    made(store.apply(Arc::new(change)).await?)
}

/// What is known to be infected by now goes to nobody else for whom it still waits.
async fn rescan_others(
    store: &Arc<dyn Store>,
    record: &MessageRecord,
    hand: Hand<'_>,
) -> Result<(), StoreError> {
    let waits = |it: &&Waiting| matches!(it.state, State::Queued | State::Deferred);
    let others: Vec<Waiting> = record.recipients.iter().filter(waits).cloned().collect();
    if !others.is_empty() {
        let reason = Some("a scan of its copy in quarantine found malware");
        let change = lifecycle::rescanned(&others, hand.by, reason, hand.now);
        store.apply(Arc::new(change)).await?;
    }
    Ok(())
}

/// Does away with it for good.
pub async fn delete(
    store: &Arc<dyn Store>,
    reference: Reference,
    hand: Hand<'_>,
) -> Result<(), Refused> {
    let (_, record) = show(store, reference).await?;
    let is_caught = |state| state == State::Quarantined;
    if !record.recipients.iter().any(|it| is_caught(it.state)) {
        return Err(Refused::NotThere);
    }
    let change = lifecycle::done_away(&record.recipients, hand);
    made(store.apply(Arc::new(change)).await?)
}

/// Does away with what was caught longer ago than that, a portion. Whether there may be more.
pub async fn forget(
    store: &Arc<dyn Store>,
    kept_for: Duration,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let old = store.caught_before(now.before(kept_for), PORTION).await?;
    for &reference in &old {
        if let Some(record) = store.message(reference).await? {
            let change = lifecycle::lapsed(&record.recipients, kept_for, now);
            store.apply(Arc::new(change)).await?;
        }
    }
    Ok(old.len() == PORTION)
}

fn made(applied: Applied) -> Result<(), Refused> {
    match applied.is_made() {
        true => Ok(()),
        false => Err(Refused::Overtaken),
    }
}
