//! Where a message passes its scan: before the 250 as long as its sender waits, and after it, until
//! it has its verdict.
//!
//! The most urgent goes first, and then the oldest. While an engine is down, one message at a time is
//! tried, every few seconds, and the others wait; once it answers they follow at once. What a verdict
//! means is decided in `lifecycle`; a message has one scan at a time. It fails never: what cannot be
//! read or written is tried again, and what a stop interrupts is scanned after the next start.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Settings;
use super::desk::{Claim, Desk, Job, Matter, Outcome, outcome};
use super::inline::{Answer, Patience, Unfinished};
use super::measures::Measures;
use super::slots::{Slot, Slots};
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::lifecycle::{self, Guard, Occasion, Ruling, Scanned};
use crate::mail::{
    Content, Event, Inspection, OnFailure, Priority, Received, Reference, Timestamp, Verdict,
};
use crate::policy::table::RoutingTable;
use crate::spool::Spool;
use crate::spool::store::{Change, MessageRecord, ScanRow, ScanStep, StoreError};
use crate::stop::stopped;

/// How often the store is asked for what is due.
const LOOK: Duration = Duration::from_millis(250);
/// As many of what is due are looked at for those that a place is kept for.
const LOOKED_AT: usize = 500;
/// Recipients called back at a time, when an exception is over.
const CALLED_BACK: usize = 500;
/// The pause before the store is asked again for what it could not do.
const WRITE_AGAIN: Duration = Duration::from_millis(100);
/// For others to give memory back.
const MEMORY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Gate {
    pub desk: Arc<Desk>,
    pub spool: Spool,
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// What is blocked, held and let through.
    pub measures: watch::Receiver<Arc<Measures>>,
    pub settings: Settings,
    pub schedule: Schedule,
    pub letterhead: Letterhead,
    /// Becomes `true` when the relay stops.
    pub stop: watch::Receiver<bool>,
    pub noise: RandomState,
    pub start: Timestamp,
    pub up_since: Instant,
}

/// A scan that is over, and what is known of its message.
struct Finished {
    row: ScanRow,
    record: MessageRecord,
    trace: bytes::Bytes,
    outcome: Outcome,
}

impl Gate {
    /// Runs until the relay stops.
    pub async fn run(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        let mut measures = self.measures.clone();
        let mut followed: Option<Vec<u64>> = None;
        let mut is_in_order = false;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        let places = Slots::new(self.settings.slots);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                Ok(()) = measures.changed() => {}
                () = self.desk.wake.notified() => {}
                _ = tick.tick() => {}
            }
            while under_way.try_join_next().is_some() {}
            let now = Timestamp::now();
            if !is_in_order {
                match self.put_in_order().await {
                    Ok(()) => is_in_order = true,
                    Err(fault) => tracing::warn!(%fault, "what waits cannot be put in order yet"),
                }
            }
            let in_force = self.measures.borrow().numbers_in_force(now);
            if followed.as_ref() != Some(&in_force) {
                followed = match self.follow(now).await {
                    Ok(()) => Some(in_force),
                    Err(fault) => {
                        tracing::warn!(%fault, "what measures held or let through waits still");
                        None
                    }
                };
            }
            let most = self.most(under_way.len());
            if most == 0 || places.are_taken() {
                continue;
            }
            match self.due(&places, most).await {
                Ok(due) => due.into_iter().for_each(|(place, claim, row)| {
                    let gate = Arc::clone(&self);
                    under_way.spawn(async move {
                        gate.scan(claim, row).await;
                        drop(place);
                    });
                }),
                Err(fault) => tracing::warn!(%fault, "what is to be scanned cannot be read yet"),
            }
        }
    }

    /// Something is to be scanned.
    pub fn wake(&self) {
        self.desk.wake.notify_one();
    }

    /// Scans a message that came just now, for as long as its sender waits: what it is told, and the
    /// scan itself where it is not over.
    pub async fn before_it_is_kept(&self, received: &Received) -> (Ruling, Option<Unfinished>) {
        let scan = self.scan_inline(received);
        let (outcome, unfinished) = match scan.await {
            Some(Answer::Done(outcome)) => (Some(outcome), None),
            Some(Answer::Unfinished(scan)) => (None, Some(scan)),
            None => (None, None),
        };
        let inspection = outcome.as_ref().map(|it| &it.inspection);
        let mut ruling = self.ruled(received, inspection);
        if outcome.is_some_and(|it| it.stalled) {
            ruling.stalled();
        }
        (ruling, unfinished)
    }

    async fn scan_inline(&self, received: &Received) -> Option<Answer> {
        let deadline = self.settings.inline_deadline;
        if let Some(scan) = self.desk.late.of(&received.content.bytes) {
            // It came before, and was refused since this took too long.
            let Ok(inspection) = timeout(deadline, scan.inspection()).await else {
                return None;
            };
            // With other signatures an engine may say something else.
            if let Some(inspection) = inspection.filter(|it| self.desk.would_say_so_still(it)) {
                let stalled = false;
                return Some(Answer::Done(Outcome {
                    inspection,
                    stalled,
                }));
            }
        }
        let patience = Patience {
            deadline,
            // Where nothing is kept without a verdict, nothing waits that an engine could be tried with.
            may_try: self.settings.on_failure == OnFailure::Reject,
        };
        let is_refused = |found: &Inspection| {
            let ruling = self.ruled(received, Some(found));
            matches!(ruling, Ruling::Refused(refused) if refused.is_final())
        };
        self.desk.inline(received, patience, is_refused).await
    }

    fn ruled(&self, received: &Received, inspection: Option<&Inspection>) -> Ruling {
        let table = Arc::clone(&self.table.borrow());
        let measures = Arc::clone(&self.measures.borrow());
        let guard = self.guard(&table, &measures, Timestamp::now());
        lifecycle::ruled(received, inspection, &guard)
    }

    /// A message was refused for now since this takes too long; it is likely to come again.
    pub fn set_aside(&self, message: &[u8], unfinished: Unfinished) {
        self.desk.late.keep(message, unfinished);
    }

    /// After a start, as soon as the store can: what nobody would scan is scanned, and what waits for an
    /// engine in vain is told.
    async fn put_in_order(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let store = self.spool.store();
        let found = store.mend_scans(now).await?;
        if found > 0 {
            tracing::error!(found, "messages waited for a scan that nobody knew of");
        }
        let owed = store.scan_queue().await?.owed;
        if owed > 0 && self.settings.engines.is_empty() {
            self.alarm(lifecycle::no_engine(self.spool.next_reference(), owed, now))
                .await?;
        }
        Ok(())
    }

    async fn alarm(&self, alarm: Event) -> Result<(), StoreError> {
        let reason = alarm.details.reason.clone().unwrap_or_default();
        tracing::error!(reason);
        let change = Change {
            events: vec![alarm],
            ..Change::default()
        };
        self.spool.apply(Arc::new(change)).await.map(drop)
    }

    /// What an exception let through waits again once that is over.
    async fn call_back(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let in_force = self.measures.borrow().numbers_in_force(now);
            let waived = self.spool.store().waived(in_force, CALLED_BACK).await?;
            if waived.is_empty() {
                return Ok(());
            }
            let change = lifecycle::called_back(&waived, now);
            self.spool.apply(Arc::new(change)).await?;
        }
    }

    /// Measures were opened, closed, or are over: what they held or let through is scanned now.
    async fn follow(&self, now: Timestamp) -> Result<(), StoreError> {
        let in_force = self.measures.borrow().numbers_in_force(now);
        let store = self.spool.store();
        self.call_back(now).await?;
        store.end_holds(in_force, now).await?;
        let is_excepted = self.measures.borrow().exception(now).is_some();
        match is_excepted {
            true => store.make_scans_due(now).await,
            false => Ok(()),
        }
    }

    /// How many more may be scanned now, where there are places for them.
    fn most(&self, under_way: usize) -> usize {
        let now = Timestamp::now();
        let is_excepted = self.measures.borrow().exception(now).is_some();
        match self.desk.trial_at() {
            // Nobody waits for an engine then.
            _ if is_excepted => usize::MAX,
            None => usize::MAX,
            Some(at) if at <= Instant::now() => 1_usize.saturating_sub(under_way),
            Some(_) => 0,
        }
    }

    async fn due(
        &self,
        places: &Slots,
        most: usize,
    ) -> Result<Vec<(Slot, Claim, ScanRow)>, StoreError> {
        // As many may be in hand already, here or before their 250.
        let limit = LOOKED_AT + self.desk.count_in_hand();
        let rows = self.spool.store().to_scan(Timestamp::now(), limit).await?;
        let claimed = rows.into_iter().filter_map(|row| {
            let claim = self.desk.claim(row.reference)?;
            let size = usize::try_from(row.size).unwrap_or(usize::MAX);
            let place = places.try_take(row.priority > Priority::ROUTINE, size)?;
            Some((place, claim, row))
        });
        Ok(claimed.take(most).collect())
    }

    async fn scan(&self, claim: Claim, row: ScanRow) {
        let size = usize::try_from(row.size).unwrap_or(usize::MAX);
        let Some(permit) = self.spool.reserve(size, MEMORY).await else {
            return;
        };
        match self.read(row.reference).await {
            Ok(Some((record, content))) => {
                let mut task = self.desk.begin(Job {
                    reference: row.reference,
                    matter: Matter::Message(content.bytes),
                    priority: row.priority,
                    may_try: true,
                });
                let outcome = outcome(task.join_next().await);
                let (record, trace) = (record, content.trace);
                self.settle(Finished {
                    row,
                    record,
                    trace,
                    outcome,
                })
                .await;
            }
            // Its bytes are gone, and with them what there was to scan.
            Ok(None) => {
                self.insist(Change {
                    scans: vec![ScanStep::Done {
                        reference: row.reference,
                        trace: bytes::Bytes::new(),
                    }],
                    ..Change::default()
                })
                .await;
            }
            Err(fault) => {
                tracing::warn!(reference = %row.reference, %fault, "a message cannot be read to be scanned");
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        }
        drop((permit, claim));
    }

    async fn read(
        &self,
        reference: Reference,
    ) -> Result<Option<(MessageRecord, Content)>, StoreError> {
        let store = self.spool.store();
        let record = store.message(reference).await?;
        let content = store.content(reference).await?;
        Ok(record.zip(content))
    }

    /// A scan that was begun before the 250 goes on, now that its message is kept.
    pub fn take_over(self: &Arc<Self>, reference: Reference, unfinished: Unfinished) {
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            let mut stop = gate.stop.clone();
            tokio::select! {
                () = gate.finish(reference, unfinished) => {}
                () = stopped(&mut stop) => {}
            }
        });
    }

    async fn finish(&self, reference: Reference, unfinished: Unfinished) {
        let Unfinished {
            claim,
            mut task,
            permit,
        } = unfinished;
        let outcome = outcome(task.join_next().await);
        drop(permit);
        loop {
            match self.read(reference).await {
                Ok(Some((record, content))) => {
                    let row = ScanRow::of(&record);
                    let trace = content.trace;
                    self.settle(Finished {
                        row,
                        record,
                        trace,
                        outcome,
                    })
                    .await;
                    break;
                }
                Ok(None) => break,
                Err(fault) => {
                    tracing::warn!(%reference, %fault, "a verdict cannot be written yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
        drop(claim);
    }

    /// Writes what the scan came to, however long that takes.
    async fn settle(&self, mut finished: Finished) {
        let inspection = &finished.outcome.inspection;
        let reference = finished.row.reference;
        tracing::debug!(%reference, verdict = %inspection.verdict, "scanned");
        if !finished.outcome.stalled && matches!(inspection.verdict, Verdict::Unscannable(_)) {
            // Nobody else may have asked meanwhile: is it the engine, or this message?
            let name = self.spool.next_reference();
            let stalled = self.desk.answers_for_others(inspection, name).await;
            finished.outcome.stalled = stalled;
        }
        loop {
            let change = Arc::new(self.change(&finished));
            match self.spool.apply(change).await {
                Ok(applied) if applied.is_made() => return self.spool.wake(),
                // Somebody asked for a new scan meanwhile, and it is due.
                Ok(applied) if applied.is_void => return,
                Ok(_) => {}
                Err(fault) => {
                    tracing::warn!(%reference, %fault, "a verdict cannot be written yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
            // An operator was faster with some of its recipients.
            match self.spool.store().message(reference).await {
                Ok(Some(record)) => finished.record = record,
                _ => tokio::time::sleep(WRITE_AGAIN).await,
            }
        }
    }

    fn change(&self, finished: &Finished) -> Change {
        let table = Arc::clone(&self.table.borrow());
        let now = Timestamp::now();
        let scan = Scanned {
            row: &finished.row,
            recipients: &finished.record.recipients,
            trace: &finished.trace,
            inspection: &finished.outcome.inspection,
            stalled: finished.outcome.stalled,
        };
        let measures = Arc::clone(&self.measures.borrow());
        let guard = self.guard(&table, &measures, now);
        lifecycle::scanned(&scan, &guard, &self.occasion(&table, now))
    }

    fn guard<'a>(
        &'a self,
        table: &'a RoutingTable,
        measures: &'a Measures,
        now: Timestamp,
    ) -> Guard<'a> {
        Guard {
            now,
            table,
            on_failure: self.settings.on_failure,
            actions: &self.settings.rules.actions,
            measures,
            has_engines: !self.settings.engines.is_empty(),
        }
    }

    fn occasion<'a>(&'a self, table: &'a RoutingTable, now: Timestamp) -> Occasion<'a> {
        Occasion {
            now,
            noise: self.noise.hash_one(now),
            schedule: &self.schedule,
            letterhead: &self.letterhead,
            table,
            content: None,
            reports: [(); lifecycle::REPORTS].map(|()| self.spool.next_reference()),
            route: None,
            start: self.start,
            up_for: self.up_since.elapsed(),
        }
    }

    async fn insist(&self, change: Change) {
        let change = Arc::new(change);
        while let Err(fault) = self.spool.apply(Arc::clone(&change)).await {
            tracing::warn!(%fault, "what became of a scan cannot be written yet");
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }
}
