//! What is due becomes an attempt, and an attempt's outcome becomes a change.
//!
//! The road of a recipient, from due to outcome:
//! 1. The loop here hands on what is fresh (from the spool, in memory) and what is due (from the
//!    store) to the [`desk`], which puts it into its room's lane.
//! 2. The [`lane`] says which task goes next and on how many connections, so that urgent mail goes
//!    first, routine mail still moves, and a slow or dead room delays nobody else.
//! 3. A worker ([`work`]) takes the task. Where the [`door`] of the room is shut, since nobody at
//!    its next hops can be spoken with, the finding answers for the task; otherwise it makes an
//!    attempt (`delivery`). Its outcome becomes a change (`lifecycle`) and goes to the store.
//! 4. At a shut door one knocker ([`knock`]) tries until it opens; then all that waits is due. So it
//!    is when hops that put everything off take a message again ([`mood`]).
//!
//! Beside the road: [`look`] sees what waits too long, whatever becomes of attempts; [`ways`] sees when
//! a room's mail goes elsewhere, and then another crew takes over; [`clock`] sees when the wall clock
//! was set. What the queue holds in memory it may drop at any time: the store has it, under a lease
//! that is given back. It decides neither where mail goes (`policy`) nor what an outcome means
//! (`lifecycle`). It fails never: trouble with the store is told, and tried again.

mod clock;
mod desk;
mod door;
mod knock;
mod lane;
mod look;
mod mood;
mod settle;
mod ways;
mod work;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::delivery;
use crate::delivery::client::Caller;
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::mail::{Reference, Timestamp};
use crate::policy::table::RoutingTable;
use crate::scan::measures::Measures;
use crate::spool::store::{Pending, Shift};
use crate::spool::{Feed, Spool};
use crate::stop::stopped;
use crate::supervisor::Pulse;
use clock::{Clock, Dial, Reading};
use desk::{Alive, Desk, LEASE};
use ways::Ways;

/// How often the store is asked for what is due.
const LOOK: Duration = Duration::from_millis(250);
/// Recipients whose times are moved along when the clock was set: found at a time, and moved at a time,
/// so that mail is not held up.
const MOVED: usize = 50_000;
const MOVED_AT_A_TIME: usize = 1000;
/// The pause before the store is asked again for what it could not do.
const WRITE_AGAIN: Duration = Duration::from_millis(100);
/// How long attempts in hand may take when the relay stops.
const GRACE: Duration = Duration::from_secs(15);

/// What the queue works with.
#[derive(Debug)]
pub struct Parts {
    pub feed: Feed,
    pub spool: Spool,
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// An exception is over the moment it ends.
    pub measures: watch::Receiver<Arc<Measures>>,
    pub caller: Caller,
    pub settings: delivery::Settings,
    /// The greatest reference in use when the relay started: these waited before.
    pub last: Option<Reference>,
    pub letterhead: Letterhead,
    /// Becomes `true` when the relay stops.
    pub stop: watch::Receiver<bool>,
    /// Beats as long as the queue turns.
    pub pulse: Pulse,
}

/// Runs the queue until the relay stops.
pub async fn run(parts: Parts) {
    let Parts {
        feed: Feed { mut fresh, wake },
        settings,
        mut stop,
        pulse,
        ..
    } = parts;
    let (alive, mut all_gone) = mpsc::channel(1);
    let dial = watch::Sender::new(Dial {
        seen: Reading::now(),
        moving: false,
    });
    let schedule = Schedule {
        retry: settings.retry,
        warn_after: settings.warn_after,
        give_up_after: settings.give_up_after,
    };
    let desk = Arc::new(Desk {
        spool: parts.spool,
        table: parts.table,
        measures: parts.measures,
        caller: parts.caller,
        patient: schedule.patient(),
        schedule,
        workers_per_room: settings.connections_per_room,
        letterhead: parts.letterhead,
        noise: RandomState::new(),
        hand: Mutex::default(),
        wake: Arc::clone(&wake),
        stop: stop.clone(),
        dial: dial.subscribe(),
        start: Timestamp::now(),
        up_since: Instant::now(),
        foreign: AtomicU64::new(0),
    });
    let mut foreign = desk.spool.store().foreign_changes();
    let mut starting = pin!(make_all_due(&desk, parts.last));
    let mut started = false;
    let mut watcher = Watcher::new(Arc::clone(&desk), alive.clone(), dial);
    let mut looking = pin!(look::run(&desk, parts.last.is_some()));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.beat();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(message) = fresh.recv() => desk.take_fresh(message, &alive),
            () = &mut starting, if !started => started = true,
            Ok(()) = foreign.changed() => desk.start_over().await,
            () = watcher.moved() => {}
            () = &mut looking => {}
            () = wake.notified() => watcher.look(false).await,
            _ = look.tick() => watcher.look(true).await,
        }
    }
    drop((alive, watcher));
    if tokio::time::timeout(GRACE, all_gone.recv()).await.is_err() {
        tracing::warn!(
            "some attempts did not end in time; they are made again after the next start"
        );
    }
}

/// After a start nothing keeps its old lease: everything that waited is tried again at once. What is
/// due is taken meanwhile: whatever is in hand is not taken twice, even if its lease is forgotten
/// with the old ones. The writer has three times as long a rest after each portion as it took.
async fn make_all_due(desk: &Desk, last: Option<Reference>) {
    let Some(last) = last else { return };
    let now = Timestamp::now();
    let mut most = 0;
    loop {
        let begun = Instant::now();
        // What is taken meanwhile is leased since then.
        let ours = now.after(LEASE)..=Timestamp::now().after(LEASE);
        match desk.spool.store().make_all_due(now, last, ours).await {
            // What is deferred anew meanwhile is left alone: the last portion is a smaller one.
            Ok(made) if made == 0 || made < most => break,
            Ok(made) => most = made,
            Err(fault) => {
                tracing::warn!(%fault, "what waits cannot be made due yet");
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        }
        desk.wake.notify_one();
        tokio::time::sleep(3 * begun.elapsed()).await;
    }
    desk.wake.notify_one();
}

/// What is looked at again and again: both clocks, where mail goes, and what is due.
struct Watcher {
    desk: Arc<Desk>,
    alive: Alive,
    clock: Clock,
    dial: watch::Sender<Dial>,
    ways: Ways,
    steps: VecDeque<Shift>,
    /// Moves the times of what waits after a step. Nothing is taken from the store meanwhile.
    moving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Watcher {
    fn new(desk: Arc<Desk>, alive: Alive, dial: watch::Sender<Dial>) -> Self {
        let table = Arc::clone(&desk.table.borrow());
        let seen = dial.borrow().seen;
        Self {
            clock: Clock::at(seen, desk.spool.next_reference()),
            dial,
            ways: Ways::of(table, Timestamp::now()),
            steps: VecDeque::new(),
            moving: None,
            desk,
            alive,
        }
    }

    /// Takes what is due; at a `paced` look also for rooms with a shut door, and looks where mail goes.
    async fn look(&mut self, paced: bool) {
        self.look_at_the_clock();
        if paced {
            let table = Arc::clone(&self.desk.table.borrow());
            let turned = self.ways.turned(&table, Timestamp::now());
            self.desk.turn(&turned, &self.alive);
            self.desk.look_at_lanes(&self.alive);
            self.desk.probe().await;
        }
        if self.moving.is_none() {
            let since = self.clock.seen();
            self.desk.take_due(paced, since, &self.alive).await;
        }
    }

    fn look_at_the_clock(&mut self) {
        // In this order: whatever was accepted before the reading has a smaller reference.
        let now = Reading::now();
        let reference = self.desk.spool.next_reference();
        if let Some(step) = self.clock.look(now, reference) {
            let seconds = step.millis / 1000;
            tracing::warn!(
                seconds,
                "the clock was set; the times of what waits are moved along"
            );
            self.steps.push_back(step);
        }
        if self.moving.is_none()
            && let Some(step) = self.steps.pop_front()
        {
            let desk = Arc::clone(&self.desk);
            self.moving = Some(Box::pin(async move { move_along(&desk, step).await }));
        }
        self.tell();
    }

    fn tell(&self) {
        self.dial.send_replace(Dial {
            seen: self.clock.seen(),
            moving: self.moving.is_some() || !self.steps.is_empty(),
        });
    }

    /// Ready when the times of what waits have been moved; never where there is nothing to move.
    async fn moved(&mut self) {
        match &mut self.moving {
            Some(moving) => moving.await,
            None => std::future::pending().await,
        }
        self.moving = None;
        self.tell();
        self.desk.wake.notify_one();
    }
}

/// Moves the times of all that was accepted before the step, a portion at a time, each recipient once.
async fn move_along(desk: &Desk, step: Shift) {
    let mut after = None;
    loop {
        let store = desk.spool.store();
        let ids = until_done(|| store.waiting_after(after, step.until, MOVED)).await;
        for portion in ids.chunks(MOVED_AT_A_TIME) {
            until_done(|| store.shift(step, portion.to_vec())).await;
        }
        match ids.last() {
            Some(last) if ids.len() == MOVED => after = Some(*last),
            _ => return,
        }
    }
}

/// Asks the store until it has done it: what failed has changed nothing.
async fn until_done<T>(ask: impl Fn() -> Pending<T>) -> T {
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(fault) => {
                tracing::warn!(%fault, "the times of what waits cannot be moved yet");
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        }
    }
}
