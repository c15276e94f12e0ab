//! Due recipients to attempts to outcomes: the worker that empties the spool.
//!
//! Fresh messages go straight from memory into the lane of the room they travel to; what is only in
//! the store is taken when a lane has room for it. Each lane has its own attempts, at most so many
//! at once, so that a dead or slow room delays nobody else. Decides only order and number; what
//! becomes of a message is decided in `lifecycle`, and remembered by the spool before anything else
//! is done with it. An outcome that cannot be written is kept and tried again; its recipient is
//! never attempted meanwhile. An attempt that panics costs its recipients one deferral.

mod known;
mod lane;
mod settle;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::delivery::client::Caller;
use crate::delivery::outcome::{Attempt, Cause, Outcome};
use crate::lifecycle::bounce::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::lifecycle::{self, Occasion};
use crate::mail::{Content, RoomId, Timestamp};
use crate::policy::decide;
use crate::policy::table::RoutingTable;
use crate::spool::store::{RecipientId, StoreError, Waiting};
use crate::spool::{BodyPermit, Feed, Fresh, Spool};

use known::{Known, Standing};
use lane::Lane;
use settle::Settled;

/// What the queue is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub schedule: Schedule,
    pub connections_per_room: usize,
    pub letterhead: Letterhead,
    /// Octets of bodies that may wait in all lanes together; past it they are read again from the
    /// store when their turn comes.
    pub memory: usize,
}

/// What the queue works with.
#[derive(Debug)]
pub struct Means {
    pub spool: Spool,
    pub feed: Feed,
    pub table: watch::Receiver<Arc<RoutingTable>>,
    pub caller: Caller,
    /// `true`: finish what is in hand, and end.
    pub stopping: watch::Receiver<bool>,
}

/// How long a recipient taken from the store is ours.
const LEASE: Duration = Duration::from_secs(1_800);
/// Recipients taken for one room at a time; a lane with as many waiting takes no more.
const PORTION: usize = 500;
/// Recipients that may wait in memory for one lane; the store keeps the others.
const WINDOW: usize = 20_000;
/// The store is asked at least this often.
const TICK: Duration = Duration::from_secs(1);
/// The store is asked at most this often.
const PAUSE: Duration = Duration::from_millis(20);
/// How long attempts in hand may take once the relay stops.
const GRACE: Duration = Duration::from_secs(8);
/// How long writing the last outcomes may take after that.
const LAST_WORDS: Duration = Duration::from_secs(4);
/// How long the queue waits before it asks a store again that had trouble.
const TROUBLE: Duration = Duration::from_millis(500);
/// Fresh messages handed out at a time.
const HANDFUL: usize = 64;

/// A message's bytes in memory, with their share of the budget.
#[derive(Debug, Clone)]
struct Body {
    content: Content,
    _permit: Arc<BodyPermit>,
}

/// A message and those of its recipients that are in one room.
#[derive(Debug)]
struct Job {
    waiting: Vec<Waiting>,
    /// `None`: to be read from the store.
    body: Option<Body>,
    /// Handed over at its acceptance, so nobody has tried it before.
    first_try: bool,
}

impl Job {
    fn ids(&self) -> impl Iterator<Item = RecipientId> + '_ {
        self.waiting.iter().map(|row| row.id)
    }
}

/// What the lanes share.
#[derive(Debug)]
struct Shared {
    spool: Spool,
    caller: Caller,
    settings: Settings,
    table: watch::Receiver<Arc<RoutingTable>>,
    stopping: watch::Receiver<bool>,
    known: Mutex<Known>,
    settled: mpsc::Sender<Settled>,
    /// Rung when a lane has room again.
    room: tokio::sync::Notify,
    noise: RandomState,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<RoutingTable> {
        Arc::clone(&self.table.borrow())
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Decides with `lifecycle` what the attempts come to, and hands it on to be written.
    async fn settle(
        &self,
        waiting: Vec<Waiting>,
        attempts: Vec<Attempt>,
        content: Option<&Content>,
    ) {
        let ids = waiting.iter().map(|row| row.id).collect();
        let now = Timestamp::now();
        let table = self.table();
        let occasion = Occasion {
            now,
            noise: self
                .noise
                .hash_one((now, waiting.first().map(|row| row.id))),
            schedule: &self.settings.schedule,
            letterhead: &self.settings.letterhead,
            table: &table,
            content,
            report: self.spool.next_reference(),
        };
        let tried = waiting.into_iter().zip(attempts).collect();
        let change = lifecycle::attempted(tried, &occasion);
        // The writer outlives the lanes; if it is gone, so is the process.
        let _ = self.settled.send(Settled { ids, change }).await;
    }
}

/// Takes what is fresh and what is due, until told to stop. An error says why the relay must stop.
pub async fn run(settings: Settings, means: Means) -> Result<(), String> {
    let (settled, writing) = mpsc::channel(1_024);
    let mut stopping = means.stopping.clone();
    let foreign = means.spool.store().foreign_changes();
    let shared = Arc::new(Shared {
        spool: means.spool,
        caller: means.caller,
        settings,
        table: means.table.clone(),
        stopping: means.stopping,
        known: Mutex::default(),
        settled,
        room: tokio::sync::Notify::new(),
        noise: RandomState::new(),
    });
    let mut writer = tokio::spawn(settle::write(Arc::clone(&shared), writing));
    let mut queue = Queue {
        shared,
        lanes: HashMap::new(),
        taking: None,
        is_stale: false,
        ask_at: Instant::now(),
        started_at: Timestamp::now(),
        start: Start::default(),
    };
    let mut feed = means.feed;
    let (mut table, mut foreign) = (means.table, foreign);
    let mut tick = interval(TICK);
    let mut handful = Vec::with_capacity(HANDFUL);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            ended = &mut writer => return Err(format!("the queue's writer ended: {ended:?}")),
            count = feed.fresh.recv_many(&mut handful, HANDFUL) => {
                if count == 0 {
                    return Err("the spool ended before the queue".into());
                }
                handful.drain(..).for_each(|fresh| queue.welcome(fresh));
            }
            answer = answer(&mut queue.taking) => queue.taken(answer),
            () = sleep_until(queue.ask_at), if queue.taking.is_none() => queue.ask(Vec::new()),
            () = feed.wake.notified() => queue.want(),
            () = queue.shared.room.notified() => queue.want(),
            _ = tick.tick() => queue.want(),
            Ok(()) = table.changed() => queue.think_again(),
            Ok(()) = foreign.changed() => queue.think_again(),
        }
    }
    queue.stop(writer).await;
    Ok(())
}

/// What the store said when it was asked: what is due, and how many were made due at the start.
type Taken = Result<(Vec<Waiting>, u64), StoreError>;

/// The answer to the question before the store, if there is one.
async fn answer(taking: &mut Option<JoinHandle<Taken>>) -> Taken {
    match taking {
        Some(question) => question
            .await
            .unwrap_or_else(|e| Err(StoreError::Down(format!("asking broke down: {e}")))),
        None => std::future::pending().await,
    }
}

/// How far it has come to make due what waited before this start.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    largest: u64,
    is_done: bool,
}

impl Start {
    /// A portion smaller than one before it was the last: what is left was accepted since.
    fn made_due(&mut self, count: u64) {
        self.is_done |= count == 0 || count < self.largest;
        self.largest = self.largest.max(count);
    }
}

struct Queue {
    shared: Arc<Shared>,
    /// By the room whose next hops are used.
    lanes: HashMap<RoomId, Arc<Lane>>,
    /// The question now before the store.
    taking: Option<JoinHandle<Taken>>,
    /// Something was changed since the question: what the answer names is given back.
    is_stale: bool,
    /// When the store may be asked next.
    ask_at: Instant,
    started_at: Timestamp,
    start: Start,
}

/// Never, as far as anybody is concerned.
const FAR: Duration = Duration::from_secs(86_400);

impl Queue {
    fn want(&mut self) {
        self.ask_at = self.ask_at.min(Instant::now() + PAUSE);
    }

    /// A message that was accepted a moment ago.
    fn welcome(&mut self, fresh: Fresh) {
        let body = Body {
            content: fresh.content,
            _permit: Arc::new(fresh.permit),
        };
        let mut waiting = fresh.waiting;
        {
            let mut known = self.shared.known();
            waiting.retain(|row| known.enter(row.id) == Standing::New);
        }
        self.hand_out(waiting, Some(&body));
    }

    /// Puts recipients of one message into the lanes of their rooms.
    fn hand_out(&mut self, mut waiting: Vec<Waiting>, body: Option<&Body>) {
        while let Some(first) = waiting.first() {
            let room = first.room.clone();
            let others = if waiting.iter().all(|row| row.room == room) {
                Vec::new()
            } else {
                let (same, others) = waiting.into_iter().partition(|row| row.room == room);
                waiting = same;
                others
            };
            let job = Job {
                waiting,
                body: body.cloned(),
                first_try: body.is_some(),
            };
            self.enqueue(&room, job);
            waiting = others;
        }
    }

    fn enqueue(&mut self, room: &RoomId, job: Job) {
        let table = self.shared.table();
        let Some(route) = decide::route(room, &table, Timestamp::now()) else {
            return self.defer(job, "the room is no longer in the routing table");
        };
        let lane = self.lanes.get(&route.via);
        if let Some(lane) = lane.filter(|it| it.leads_to(&route.next_hops)) {
            return self.push(lane, job);
        }
        let replaced = lane.map(|it| it.clear()).unwrap_or_default();
        let lane = Lane::new(Arc::clone(&self.shared), route.next_hops);
        for job in replaced.into_iter().chain([job]) {
            self.push(&lane, job);
        }
        self.lanes.insert(route.via, lane);
    }

    fn push(&self, lane: &Arc<Lane>, job: Job) {
        if let Some(refused) = Lane::push(lane, job) {
            self.give_back(refused.ids().collect());
        }
    }

    /// Recipients that cannot even be attempted.
    fn defer(&self, job: Job, reason: &'static str) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let attempts = deferrals(job.waiting.len(), reason);
            let content = job.body.map(|body| body.content);
            shared.settle(job.waiting, attempts, content.as_ref()).await;
        });
    }

    /// These leave memory without an attempt; the store gives them out again.
    fn give_back(&self, ids: Vec<RecipientId>) {
        self.shared.known().give_up(&ids);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { return_leases(&shared, ids).await });
    }

    /// Empties the lanes; their workers leave when they are done with what is in hand.
    fn close_lanes(&mut self) -> (Vec<Arc<Lane>>, Vec<RecipientId>) {
        let lanes: Vec<Arc<Lane>> = self.lanes.drain().map(|(_, lane)| lane).collect();
        let jobs: Vec<Job> = lanes.iter().flat_map(|lane| lane.clear()).collect();
        (lanes, jobs.iter().flat_map(Job::ids).collect())
    }

    /// The table or the store was changed by others: what waits in memory is read again.
    fn think_again(&mut self) {
        let (_, ids) = self.close_lanes();
        if self.taking.is_some() {
            self.is_stale = true;
            self.give_back(ids);
        } else {
            self.shared.known().give_up(&ids);
            self.ask(ids);
        }
    }

    /// Asks the store for what is due, having given back the leases of `ids`.
    fn ask(&mut self, ids: Vec<RecipientId>) {
        self.ask_at = Instant::now() + FAR;
        self.shared.known().asked();
        let full = self.full_rooms();
        let (shared, start, started_at) = (Arc::clone(&self.shared), self.start, self.started_at);
        self.taking = Some(tokio::spawn(async move {
            return_leases(&shared, ids).await;
            let store = shared.spool.store();
            let made_due = match start.is_done {
                true => 0,
                false => store.make_all_due(started_at).await?,
            };
            let now = Timestamp::now();
            let leased_until = now.after(LEASE);
            let taken = store.take_due(now, leased_until, PORTION, full).await?;
            Ok((taken, made_due))
        }));
    }

    fn taken(&mut self, answer: Taken) {
        self.taking = None;
        let is_stale = std::mem::take(&mut self.is_stale);
        let (taken, made_due) = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::warn!(%fault, "what is due cannot be read; trying again");
                self.shared.known().answered();
                self.ask_at = Instant::now() + TROUBLE;
                return;
            }
        };
        self.start.made_due(made_due);
        if is_stale || !taken.is_empty() || !self.start.is_done {
            self.want();
        }
        let new = self.new_ones(taken);
        if is_stale {
            return self.give_back(new.iter().map(|row| row.id).collect());
        }
        for waiting in by_message(new) {
            self.hand_out(waiting, None);
        }
    }

    /// Those that are not in memory already.
    fn new_ones(&self, mut taken: Vec<Waiting>) -> Vec<Waiting> {
        let mut outdated = Vec::new();
        {
            let mut known = self.shared.known();
            taken.retain(|row| {
                let standing = known.enter(row.id);
                if standing == Standing::Written {
                    outdated.push(row.id);
                }
                standing == Standing::New
            });
            known.answered();
        }
        if !outdated.is_empty() {
            self.give_back(outdated);
        }
        taken
    }

    /// Rooms whose lanes have enough waiting.
    fn full_rooms(&self) -> Vec<RoomId> {
        let lanes = self.lanes.values();
        lanes.flat_map(|lane| lane.rooms_if_full()).collect()
    }

    /// Attempts in hand get a bounded time; what waits is given back.
    async fn stop(mut self, writer: JoinHandle<()>) {
        if let Some(question) = self.taking.take() {
            question.abort();
        }
        let (lanes, ids) = self.close_lanes();
        let in_hand = async {
            for lane in &lanes {
                lane.idle().await;
            }
        };
        if timeout(GRACE, in_hand).await.is_err() {
            tracing::warn!("attempts in hand were cut off; they are made again after the start");
        }
        return_leases(&self.shared, ids).await;
        drop(lanes);
        drop(self);
        // Ends when nobody is left who could have an outcome.
        if timeout(LAST_WORDS, writer).await.is_err() {
            tracing::warn!("outcomes could not all be written; their attempts are made again");
        }
    }
}

/// Trouble here is no loss: the lease runs out by itself.
async fn return_leases(shared: &Shared, ids: Vec<RecipientId>) {
    if ids.is_empty() {
        return;
    }
    if let Err(fault) = shared.spool.store().give_back(ids).await {
        tracing::warn!(%fault, "leases could not be given back");
    }
}

/// Recipients of one message together, the messages in the order in which they came.
fn by_message(taken: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut messages: Vec<Vec<Waiting>> = Vec::new();
    let mut places = HashMap::new();
    for row in taken {
        let place = *places.entry(row.id.reference).or_insert(messages.len());
        match messages.get_mut(place) {
            Some(message) => message.push(row),
            None => messages.push(vec![row]),
        }
    }
    messages
}

/// The same reason for each of so many recipients.
fn deferrals(count: usize, reason: &str) -> Vec<Attempt> {
    let attempt = Attempt {
        outcome: Outcome::Deferred(Cause::Found(reason.to_owned())),
        hop: None,
        tls: None,
        duration: Duration::ZERO,
    };
    vec![attempt; count]
}
