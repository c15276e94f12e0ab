//! What is due becomes an attempt, and an attempt's outcome becomes a change.
//!
//! Every room has a lane: jobs in memory, and at most so many workers on them, each with a next hop
//! of its own, so that a slow or dead room delays nobody else. Fresh messages come from the spool
//! in memory; everything else is taken from the store when it is due. What the queue holds in
//! memory it may drop at any time: the store has it, under a lease that is given back. It decides
//! neither where mail goes (`policy`) nor what an outcome means (`lifecycle`). A recipient is in
//! hand once at most; an outcome that cannot be written yet is kept and written later, and its
//! recipient is not tried again meanwhile. An attempt that panics costs its recipients a deferral.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::delivery::client::Caller;
use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome};
use crate::delivery::{self, Job, Kept};
use crate::lifecycle::bounce::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::lifecycle::{self, Occasion, REPORTS};
use crate::mail::{Content, Reference, RoomId, Timestamp};
use crate::policy::decide::{self, Route};
use crate::policy::table::RoutingTable;
use crate::spool::store::{Applied, Change, Portion, RecipientId, StoreError, Waiting};
use crate::spool::{BodyPermit, Feed, Fresh, Spool};

/// How often the store is asked for what is due.
const LOOK: Duration = Duration::from_millis(250);
/// How long the store gives out to nobody else what we took.
const LEASE: Duration = Duration::from_secs(1800);
/// Jobs of one room in memory; more stay in the store.
const LANE: usize = 400;
/// Recipients of one room taken from the store at a time.
const PORTION: usize = 200;
/// One lane's part of the memory for bodies, where they are read from the store: one in so many.
const LANE_SHARE: usize = 16;
const KIB: usize = 1024;
/// How long a worker keeps a connection with nothing to send.
const IDLE: Duration = Duration::from_secs(5);
/// How long a job waits for memory before it goes back to the store.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// First and longest pause before an outcome that could not be written is written again.
const WRITE_AGAIN: Duration = Duration::from_millis(100);
const WRITE_AGAIN_AT_MOST: Duration = Duration::from_secs(5);
/// How long attempts in hand may take when the relay stops.
const GRACE: Duration = Duration::from_secs(15);

/// What the queue works with.
#[derive(Debug)]
pub struct Parts {
    pub feed: Feed,
    pub spool: Spool,
    pub table: watch::Receiver<Arc<RoutingTable>>,
    pub caller: Caller,
    pub settings: delivery::Settings,
    /// The greatest reference in use when the relay started: these waited before.
    pub last: Option<Reference>,
    pub letterhead: Letterhead,
    /// Becomes `true` when the relay stops.
    pub stop: watch::Receiver<bool>,
}

/// Runs the queue until the relay stops.
pub async fn run(parts: Parts) {
    let Parts {
        feed: Feed { mut fresh, wake },
        settings,
        mut stop,
        ..
    } = parts;
    let (alive, mut all_gone) = mpsc::channel(1);
    let desk = Arc::new(Desk {
        spool: parts.spool,
        table: parts.table,
        caller: parts.caller,
        schedule: Schedule {
            retry: settings.retry,
            warn_after: settings.warn_after,
            give_up_after: settings.give_up_after,
        },
        workers_per_room: settings.connections_per_room,
        letterhead: parts.letterhead,
        noise: RandomState::new(),
        hand: Mutex::default(),
        wake: Arc::clone(&wake),
        stop: stop.clone(),
    });
    let mut foreign = desk.spool.store().foreign_changes();
    let mut starting = pin!(make_all_due(&desk, parts.last));
    let mut started = false;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(message) = fresh.recv() => desk.take_fresh(message, &alive),
            () = &mut starting, if !started => {
                started = true;
                desk.take_due(&alive).await;
            }
            Ok(()) = foreign.changed() => desk.give_back_what_waits().await,
            () = wake.notified(), if started => desk.take_due(&alive).await,
            _ = look.tick(), if started => desk.take_due(&alive).await,
        }
    }
    drop(alive);
    if tokio::time::timeout(GRACE, all_gone.recv()).await.is_err() {
        tracing::warn!(
            "some attempts did not end in time; they are made again after the next start"
        );
    }
}

/// Ready when the relay stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stopping| *stopping).await);
}

/// After a start nothing keeps its old lease: everything that waited is tried again at once. Until
/// that is done nothing is taken from the store, so that no lease of ours is forgotten with the old.
async fn make_all_due(desk: &Desk, last: Option<Reference>) {
    let Some(last) = last else { return };
    let now = Timestamp::now();
    loop {
        match desk.spool.store().make_all_due(now, last).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(fault) => {
                tracing::warn!(%fault, "what waits cannot be made due yet");
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        }
    }
}

/// Proof that someone still works; the queue waits for all of them when it stops.
type Alive = mpsc::Sender<()>;

/// What workers share.
struct Desk {
    spool: Spool,
    table: watch::Receiver<Arc<RoutingTable>>,
    caller: Caller,
    schedule: Schedule,
    workers_per_room: usize,
    letterhead: Letterhead,
    noise: RandomState,
    hand: Mutex<Hand>,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
}

/// What the queue has in hand.
#[derive(Default)]
struct Hand {
    lanes: HashMap<RoomId, Lane>,
    /// In a lane, being tried, or with an outcome that is being written.
    held: HashSet<RecipientId>,
    /// To be given back to the store.
    orphans: Vec<RecipientId>,
    /// The store is being asked what is due; whose outcome was written meanwhile may be named in
    /// its answer all the same.
    asking: bool,
    written: HashSet<RecipientId>,
}

impl Hand {
    /// Before the store is asked.
    fn ask(&mut self) {
        self.asking = true;
        self.written.clear();
    }

    /// Of the store's answer, what nobody has in hand. What is out of date goes back.
    fn sort_out(&mut self, due: Vec<Waiting>) -> Vec<Waiting> {
        self.asking = false;
        let (old, due): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|it| self.written.contains(&it.id));
        self.orphans.extend(old.into_iter().map(|it| it.id));
        due.into_iter()
            .filter(|it| !self.held.contains(&it.id))
            .collect()
    }

    fn let_go(&mut self, id: RecipientId) {
        self.held.remove(&id);
        if self.asking {
            self.written.insert(id);
        }
    }
}

#[derive(Default)]
struct Lane {
    tasks: VecDeque<Task>,
    workers: usize,
    /// Workers with nothing to do, each on a connection that it keeps for a while.
    idle: usize,
    /// Rings for one of them.
    bell: Arc<Notify>,
    /// The lane's part of the memory for bodies that are read from the store: a room that holds
    /// its mail for long must not take everybody's.
    share: Option<Arc<Semaphore>>,
    /// The store has more for this room than there was place for.
    more: bool,
}

/// Recipients of one message in one room, and the bytes if they are still in memory.
struct Task {
    room: RoomId,
    reference: Reference,
    recipients: Vec<Waiting>,
    body: Option<Body>,
}

struct Body {
    content: Content,
    /// It came in memory just now: nobody can have tried it before.
    is_fresh: bool,
    _permit: Arc<BodyPermit>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Task {
    fn ids(&self) -> impl Iterator<Item = RecipientId> {
        self.recipients.iter().map(|it| it.id)
    }
}

impl Desk {
    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_fresh(self: &Arc<Self>, fresh: Fresh, alive: &Alive) {
        let permit = Arc::new(fresh.permit);
        let mut waiting = fresh.waiting;
        {
            let hand = self.hand();
            waiting.retain(|it| !hand.held.contains(&it.id));
        }
        for mut task in into_tasks(waiting) {
            let content = fresh.content.clone();
            task.body = Some(Body {
                content,
                is_fresh: true,
                _permit: Arc::clone(&permit),
                _share: None,
            });
            self.enqueue(task, alive);
        }
    }

    async fn take_due(self: &Arc<Self>, alive: &Alive) {
        self.give_back_orphans().await;
        let now = Timestamp::now();
        let none = Portion {
            urgent: 0,
            routine: 0,
        };
        let usual = Portion {
            urgent: PORTION,
            routine: PORTION,
        };
        let full = self.full_rooms().into_iter().map(|room| (room, none));
        let full = full.collect();
        self.hand().ask();
        let taken = self
            .spool
            .store()
            .take_due(now, now.after(LEASE), usual, full)
            .await;
        let due = match taken {
            Ok(due) => due,
            Err(fault) => return tracing::warn!(%fault, "the store cannot say what is due"),
        };
        self.note_rooms_with_more(&due);
        let free = self.hand().sort_out(due);
        for task in into_tasks(free) {
            self.enqueue(task, alive);
        }
    }

    fn full_rooms(&self) -> Vec<RoomId> {
        let hand = self.hand();
        let full = hand
            .lanes
            .iter()
            .filter(|(_, lane)| LANE - PORTION < lane.tasks.len());
        full.map(|(room, _)| room.clone()).collect()
    }

    fn note_rooms_with_more(&self, due: &[Waiting]) {
        let mut count: HashMap<&RoomId, usize> = HashMap::new();
        for waiting in due {
            *count.entry(&waiting.room).or_default() += 1;
        }
        let mut hand = self.hand();
        for (room, _) in count.into_iter().filter(|&(_, count)| count == PORTION) {
            hand.lanes.entry(room.clone()).or_default().more = true;
        }
    }

    /// Puts a task into its room's lane, and a worker on it if the room may have one more.
    fn enqueue(self: &Arc<Self>, task: Task, alive: &Alive) {
        let room = task.room.clone();
        let hand = &mut *self.hand();
        let lane = hand.lanes.entry(room.clone()).or_default();
        if LANE <= lane.tasks.len() {
            // Goes back to the store, and comes again when there is place.
            lane.more = true;
            hand.orphans.extend(task.ids());
            return;
        }
        hand.held.extend(task.ids());
        lane.tasks.push_back(task);
        if lane.tasks.len() <= lane.idle {
            lane.bell.notify_one();
        } else if lane.workers < self.workers_per_room {
            lane.workers += 1;
            let place = Place {
                desk: Arc::clone(self),
                room,
            };
            tokio::spawn(work(place, alive.clone()));
        }
    }

    /// The next task of a room; `None` when there is none or the relay stops.
    fn next_task(&self, room: &RoomId) -> Option<Task> {
        if *self.stop.borrow() {
            return None;
        }
        self.hand().lanes.get_mut(room)?.tasks.pop_front()
    }

    /// Waits a while for the next task of a room, so that a connection is used again.
    async fn await_task(&self, room: &RoomId) -> Option<Task> {
        if *self.stop.borrow() {
            return None;
        }
        let bell = {
            let hand = &mut *self.hand();
            let lane = hand.lanes.get_mut(room)?;
            if let Some(task) = lane.tasks.pop_front() {
                return Some(task);
            }
            if std::mem::take(&mut lane.more) {
                self.wake.notify_one();
            }
            lane.idle += 1;
            Arc::clone(&lane.bell)
        };
        let mut stop = self.stop.clone();
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = stopped(&mut stop) => {}
        }
        if let Some(lane) = self.hand().lanes.get_mut(room) {
            lane.idle = lane.idle.saturating_sub(1);
        }
        self.next_task(room)
    }

    /// An operator changed something: what only waits in memory is read anew from the store.
    async fn give_back_what_waits(&self) {
        {
            let hand = &mut *self.hand();
            for task in hand
                .lanes
                .values_mut()
                .flat_map(|lane| lane.tasks.drain(..))
            {
                hand.orphans.extend(task.ids());
            }
            for id in &hand.orphans {
                hand.held.remove(id);
            }
        }
        self.give_back_orphans().await;
        self.wake.notify_one();
    }

    async fn give_back_orphans(&self) {
        let orphans = std::mem::take(&mut self.hand().orphans);
        if orphans.is_empty() {
            return;
        }
        if let Err(fault) = self.spool.store().give_back(orphans.clone()).await {
            tracing::warn!(%fault, "leases cannot be given back yet");
            self.hand().orphans.extend(orphans);
        }
    }
}

/// Recipients of one message that share a room become one task.
fn into_tasks(waiting: Vec<Waiting>) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut places: HashMap<(Reference, RoomId), usize> = HashMap::new();
    for one in waiting {
        let key = (one.id.reference, one.room.clone());
        match places.get(&key).and_then(|&place| tasks.get_mut(place)) {
            Some(task) => task.recipients.push(one),
            None => {
                places.insert(key, tasks.len());
                let (room, reference) = (one.room.clone(), one.id.reference);
                tasks.push(Task {
                    room,
                    reference,
                    recipients: vec![one],
                    body: None,
                });
            }
        }
    }
    tasks
}

/// A worker's place in its lane; free again when dropped, also by a panic.
struct Place {
    desk: Arc<Desk>,
    room: RoomId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lanes.get_mut(&self.room) else {
            return;
        };
        lane.workers = lane.workers.saturating_sub(1);
        if lane.workers > 0 {
            return;
        }
        // What came in while the last worker was leaving is read again from the store.
        let left: Vec<RecipientId> = lane.tasks.iter().flat_map(Task::ids).collect();
        let asks = lane.more || !left.is_empty();
        hand.lanes.remove(&self.room);
        for id in left {
            hand.held.remove(&id);
            hand.orphans.push(id);
        }
        if asks {
            self.desk.wake.notify_one();
        }
    }
}

/// Recipients in hand; let go of when dropped. Unless their outcome was written they are given
/// back to the store, so that a panic costs them one attempt and no more.
struct Grip {
    desk: Arc<Desk>,
    ids: Vec<RecipientId>,
    written: bool,
}

impl Drop for Grip {
    fn drop(&mut self) {
        let mut hand = self.desk.hand();
        for &id in &self.ids {
            hand.let_go(id);
        }
        if !self.written {
            hand.orphans.append(&mut self.ids);
        }
    }
}

/// Works on one room's lane until nothing has come for a while.
async fn work(place: Place, alive: Alive) {
    let (desk, room) = (Arc::clone(&place.desk), place.room.clone());
    let mut kept = None;
    loop {
        let task = match desk.next_task(&room) {
            Some(task) => Some(task),
            None if kept.is_some() => desk.await_task(&room).await,
            None => None,
        };
        let Some(task) = task else { break };
        let grip = Grip {
            desk: Arc::clone(&desk),
            ids: task.ids().collect(),
            written: false,
        };
        try_task(grip, task, &mut kept, &alive).await;
    }
    // Taking leave of the next hop takes a while; the place is free before that.
    drop(place);
    if let Some(kept) = kept {
        kept.close().await;
    }
}

/// One attempt for one task; its outcome is written while the worker goes on.
async fn try_task(grip: Grip, task: Task, kept: &mut Option<Kept>, alive: &Alive) {
    let desk = Arc::clone(&grip.desk);
    let Task {
        room,
        reference,
        recipients,
        body,
    } = task;
    let body = match body {
        Some(body) => Ok(body),
        None => desk.fetch(&room, reference, &recipients).await,
    };
    let table = Arc::clone(&desk.table.borrow());
    let route = decide::route(&room, &table, Timestamp::now());
    let attempts = match (&body, &route) {
        // It may come back; until then its mail waits.
        (_, None) => {
            let reason = format!("room {room} is no longer in the routing table");
            vec![deferral(&reason); recipients.len()]
        }
        (Ok(body), Some(route)) => desk.attempt(&recipients, body, route, kept).await,
        // It goes back to the store, and comes again.
        (Err(Absent::NoMemory), _) => return,
        (Err(Absent::Unreadable(reason)), _) => vec![deferral(reason); recipients.len()],
    };
    let tried = recipients.into_iter().zip(attempts).collect();
    let content = body.as_ref().ok().map(|body| &body.content);
    let redirect = route.as_ref().filter(|route| route.via != room);
    let redirect = redirect.map(|route| route.rule.as_str());
    let settled = catch_unwind(AssertUnwindSafe(|| {
        desk.settle(tried, content, &table, redirect)
    }));
    match settled {
        Ok(change) => drop(tokio::spawn(write(grip, Arc::new(change), alive.clone()))),
        Err(_) => grip.keep_for_ever(&format!("{reference}: its outcome could not be made out")),
    }
}

/// Why there are no bytes to send.
enum Absent {
    NoMemory,
    Unreadable(String),
}

/// An attempt that ended before any next hop was asked.
fn deferral(reason: &str) -> Attempt {
    let outcome = Outcome::Deferred(Cause::Found(reason.to_owned()));
    Attempt {
        outcome,
        hop: None,
        reached: true,
        handover: Handover::Relayed,
        tls: None,
        duration: Duration::ZERO,
    }
}

/// What the future gives; `None` when it panics, which the panic hook then tells.
async fn unless_it_panics<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

impl Desk {
    async fn attempt(
        &self,
        recipients: &[Waiting],
        body: &Body,
        route: &Route,
        kept: &mut Option<Kept>,
    ) -> Vec<Attempt> {
        let job = Job {
            waiting: recipients,
            content: &body.content,
            first_try: body.is_fresh,
            now: Timestamp::now(),
        };
        unless_it_panics(delivery::attempt(
            &job,
            &route.next_hops,
            kept,
            &self.caller,
        ))
        .await
        .unwrap_or_else(|| vec![deferral("the attempt broke down: our fault"); recipients.len()])
    }

    /// A message's bytes from the store, under a share of the memory for bodies.
    async fn fetch(
        &self,
        room: &RoomId,
        reference: Reference,
        recipients: &[Waiting],
    ) -> Result<Body, Absent> {
        let size = recipients
            .first()
            .map_or(0, |it| usize::try_from(it.size).unwrap_or(usize::MAX));
        let share = self.share(room, size).await;
        let permit = self
            .spool
            .reserve(size, MEMORY_WAIT)
            .await
            .ok_or(Absent::NoMemory)?;
        match self.spool.store().content(reference).await {
            Ok(Some(content)) => Ok(Body {
                content,
                is_fresh: false,
                _permit: Arc::new(permit),
                _share: share,
            }),
            Ok(None) => Err(Absent::Unreadable(
                "the store has no bytes of this message".to_owned(),
            )),
            Err(fault) => Err(Absent::Unreadable(format!(
                "the message cannot be read: {fault}"
            ))),
        }
    }

    /// Waits for the room's own part of the memory; one message always has a place.
    async fn share(&self, room: &RoomId, octets: usize) -> Option<OwnedSemaphorePermit> {
        let whole = (self.spool.memory() / LANE_SHARE / KIB).max(1);
        let share = {
            let hand = &mut *self.hand();
            let share = &mut hand.lanes.get_mut(room)?.share;
            Arc::clone(share.get_or_insert_with(|| Arc::new(Semaphore::new(whole))))
        };
        let pieces = u32::try_from(octets.div_ceil(KIB).clamp(1, whole)).unwrap_or(u32::MAX);
        share.acquire_many_owned(pieces).await.ok()
    }

    fn settle(
        &self,
        tried: Vec<(Waiting, Attempt)>,
        content: Option<&Content>,
        table: &RoutingTable,
        redirect: Option<&str>,
    ) -> Change {
        let reports = [(); REPORTS].map(|()| self.spool.next_reference());
        lifecycle::attempted(
            tried,
            &Occasion {
                now: Timestamp::now(),
                noise: self.noise.hash_one(reports),
                schedule: &self.schedule,
                letterhead: &self.letterhead,
                table,
                content,
                reports,
                redirect,
            },
        )
    }
}

impl Grip {
    /// Better not tried again before the next start than delivered over and over.
    fn keep_for_ever(mut self, why: &str) {
        tracing::error!("{why}; it stays as it is until the relay is started again");
        self.ids.clear();
        self.written = true;
    }
}

/// Writes an outcome, however long it takes: it must not be lost, nor the message sent again.
async fn write(mut grip: Grip, change: Arc<Change>, _alive: Alive) {
    let mut applied = grip.desk.apply(&change).await;
    if let Err(fault) = &applied {
        tracing::error!(%fault, "an outcome contradicts the store; written without its report");
        let recipients = change.recipients.clone();
        let bare = Change {
            recipients,
            ..Change::default()
        };
        applied = grip.desk.apply(&Arc::new(bare)).await;
    }
    match applied {
        Ok(applied) => {
            grip.written = true;
            grip.desk.tell_overtaken(&change, &applied).await;
        }
        Err(fault) => grip.keep_for_ever(&format!("an outcome contradicts the store: {fault}")),
    }
}

impl Desk {
    /// Somebody decided otherwise meanwhile; what happened is told all the same.
    async fn tell_overtaken(&self, change: &Change, applied: &Applied) {
        if applied.skipped.is_empty() {
            return;
        }
        let late = Arc::new(lifecycle::overtaken(change, &applied.skipped));
        if let Err(fault) = self.apply(&late).await {
            tracing::error!(%fault, "what came too late cannot be told");
        }
    }
}

impl Desk {
    /// Applies a change as soon as the store can; fails only where trying again cannot help.
    async fn apply(&self, change: &Arc<Change>) -> Result<Applied, StoreError> {
        let mut pause = WRITE_AGAIN;
        loop {
            match self.spool.apply(Arc::clone(change)).await {
                Err(fault) if !matches!(fault, StoreError::Conflict(_)) => {
                    tracing::warn!(%fault, "an outcome waits to be written");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(WRITE_AGAIN_AT_MOST);
                }
                outcome => return outcome,
            }
        }
    }
}
