//! One room's way out: what waits for it, and the workers that carry it.
//!
//! A worker carries one message after the other over the connection it keeps, and leaves when
//! nothing has come for a while. There are as many as there is work, up to the room's limit.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::{Body, Job, PORTION, Shared, WINDOW, deferrals};
use crate::delivery::{self, Kept};
use crate::mail::{Content, RoomId};
use crate::policy::table::NextHop;

/// How long a worker keeps its connection for the next message.
const IDLE: Duration = Duration::from_secs(5);
/// How long a worker waits for memory before it looks again whether the relay is stopping.
const MEMORY: Duration = Duration::from_secs(5);
/// One lane's share of the memory for waiting bodies: one part in so many.
const SHARE: usize = 8;

#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    next_hops: Vec<NextHop>,
    state: Mutex<State>,
    /// How many workers there are.
    workers: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Recipients in `waiting`.
    recipients: usize,
    /// Octets of the bodies in `waiting`.
    octets: usize,
    /// Workers with nothing to do; the last one to come is the first to go, so that connections
    /// in use stay in use and the others are closed.
    parked: Vec<oneshot::Sender<Job>>,
    /// The rooms whose mail goes this way.
    rooms: HashSet<RoomId>,
    /// Takes no more: another lane has taken its place, or the relay is stopping.
    closed: bool,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, next_hops: Vec<NextHop>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            next_hops,
            state: Mutex::default(),
            workers: watch::Sender::new(0),
        })
    }

    pub(super) fn leads_to(&self, next_hops: &[NextHop]) -> bool {
        self.next_hops == next_hops
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the job to a worker, or lets it wait. `Some`: there is no room for it.
    pub(super) fn push(lane: &Arc<Self>, mut job: Job) -> Option<Job> {
        let mut state = lane.state();
        state.note_room(&job);
        while let Some(worker) = state.parked.pop() {
            match worker.send(job) {
                Ok(()) => return None,
                Err(back) => job = back, // it was just leaving
            }
        }
        if *lane.workers.borrow() < lane.shared.settings.connections_per_room.max(1) {
            lane.workers.send_modify(|count| *count += 1);
            tokio::spawn(work(Arc::clone(lane), job));
            return None;
        }
        if state.recipients >= WINDOW {
            return Some(job);
        }
        lane.shed_body(&state, &mut job);
        state.add(job, &lane.shared);
        None
    }

    /// A body that finds no memory left to wait in is read again when its turn comes.
    fn shed_body(&self, state: &State, job: &mut Job) {
        let size = job.octets();
        let memory = self.shared.settings.memory;
        let held = self.shared.known().octets;
        if state.octets + size > memory / SHARE || held + size > memory {
            job.body = None;
        }
    }

    /// Takes all that waits, and lets no more in.
    pub(super) fn clear(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        state.parked.clear();
        let mut jobs = Vec::with_capacity(state.waiting.len());
        while let Some(job) = state.remove(&self.shared) {
            jobs.push(job);
        }
        jobs
    }

    pub(super) fn rooms_if_full(&self) -> Vec<RoomId> {
        let state = self.state();
        if state.recipients >= PORTION {
            state.rooms.iter().cloned().collect()
        } else {
            Vec::new()
        }
    }

    /// Ready when no worker is left.
    pub(super) async fn idle(&self) {
        let mut workers = self.workers.subscribe();
        // The sender lives as long as this lane.
        let _ = workers.wait_for(|count| *count == 0).await;
    }

    /// The next job, after a wait if need be; `None`: this worker is done.
    async fn next(&self) -> Option<Job> {
        let mut handed = {
            let mut state = self.state();
            if let Some(job) = state.remove(&self.shared) {
                self.ring_when_low(&state);
                return Some(job);
            }
            if state.closed {
                return None;
            }
            let (sender, handed) = oneshot::channel();
            state.parked.push(sender);
            handed
        };
        match timeout(IDLE, &mut handed).await {
            Ok(job) => job.ok(),
            Err(_) => {
                handed.close();
                handed.try_recv().ok()
            }
        }
    }

    /// A lane that was full has the store asked again while it still has some work.
    fn ring_when_low(&self, state: &State) {
        if state.recipients == PORTION / 4 {
            self.shared.room.notify_one();
        }
    }
}

impl State {
    fn note_room(&mut self, job: &Job) {
        if let Some(first) = job.waiting.first()
            && !self.rooms.contains(&first.room)
        {
            self.rooms.insert(first.room.clone());
        }
    }

    fn add(&mut self, job: Job, shared: &Shared) {
        self.recipients += job.waiting.len();
        self.octets += job.octets();
        shared.known().octets += job.octets();
        self.waiting.push_back(job);
    }

    fn remove(&mut self, shared: &Shared) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.recipients -= job.waiting.len();
        self.octets -= job.octets();
        shared.known().octets -= job.octets();
        Some(job)
    }
}

impl Job {
    /// Octets of its body in memory.
    fn octets(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.content.len())
    }
}

/// A worker's life. Its place is given up however it ends.
async fn work(lane: Arc<Lane>, first: Job) {
    let place = Place(Arc::clone(&lane));
    let mut kept = None;
    let mut next = Some(first);
    while let Some(job) = next {
        carry(&lane, job, &mut kept).await;
        next = lane.next().await;
    }
    drop(place);
    if let Some(kept) = kept {
        kept.close().await;
    }
}

/// A worker's place in its lane.
struct Place(Arc<Lane>);

impl Drop for Place {
    /// What came in while the worker was leaving is carried by another: no job waits alone.
    fn drop(&mut self) {
        let lane = &self.0;
        let mut state = lane.state();
        match state.remove(&lane.shared) {
            Some(job) => {
                // Without a runtime the process is ending, and the store remembers.
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(work(Arc::clone(lane), job));
                }
            }
            None => lane.workers.send_modify(|count| *count -= 1),
        }
    }
}

/// One attempt, from the body to the outcome on its way to be written.
async fn carry(lane: &Lane, job: Job, kept: &mut Option<Kept>) {
    let shared = &lane.shared;
    let Job {
        waiting,
        body,
        first_try,
    } = job;
    let body = match body {
        Some(body) => Ok(body),
        None => fetch(shared, &waiting).await,
    };
    let (attempts, content) = match body {
        Ok(body) => {
            let job = delivery::Job {
                waiting: &waiting,
                content: &body.content,
                first_try,
            };
            let attempt = delivery::attempt(&job, &lane.next_hops, kept, &shared.caller);
            let attempts = unless_it_breaks(attempt).await;
            let attempts = attempts
                .unwrap_or_else(|| deferrals(waiting.len(), "the attempt broke down: our fault"));
            (attempts, Some(body.content))
        }
        Err(Absent::Stopping) => {
            let ids = waiting.iter().map(|row| row.id).collect();
            return super::return_leases(shared, ids).await;
        }
        Err(Absent::Unreadable(reason)) => (deferrals(waiting.len(), &reason), None),
    };
    shared.settle(waiting, attempts, content.as_ref()).await;
}

/// Why there is no body to send.
enum Absent {
    Stopping,
    Unreadable(String),
}

/// Reads a body from the store, once there is memory for it.
async fn fetch(shared: &Shared, waiting: &[super::Waiting]) -> Result<Body, Absent> {
    let Some(first) = waiting.first() else {
        return Err(Absent::Stopping);
    };
    let size = usize::try_from(first.size).unwrap_or(usize::MAX);
    let permit = loop {
        if shared.is_stopping() {
            return Err(Absent::Stopping);
        }
        if let Some(permit) = shared.spool.reserve(size, MEMORY).await {
            break permit;
        }
    };
    let content: Result<Option<Content>, _> =
        shared.spool.store().content(first.id.reference).await;
    match content {
        Ok(Some(content)) => Ok(Body {
            content,
            _permit: Arc::new(permit),
        }),
        Ok(None) => Err(Absent::Unreadable(
            "the store no longer has the message's bytes".into(),
        )),
        Err(fault) => Err(Absent::Unreadable(format!(
            "the message could not be read: {fault}"
        ))),
    }
}

/// What the future gives; `None` when it panics, which is then told by the panic hook.
async fn unless_it_breaks<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
