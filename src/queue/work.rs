//! A worker: takes a room's tasks one after the other, and an attempt's outcome back to the store.
//!
//! A worker without a connection knocks before it takes a body into memory; where nobody can be
//! spoken with, the finding answers for its task and for all others of the room. An outcome that
//! cannot be written yet is kept and written later, and its recipients are not tried again
//! meanwhile. An attempt that panics costs its recipients a deferral, anything else that panics
//! costs them nothing: they are given back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::{self, Reading};
use super::desk::{Alive, Body, Desk, Found, Hand, Lane, Task};
use super::knock::Knocker;
use super::lane::Urgency;
use super::settle::{Grip, Ruling, Settlement};
use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome, STOPPING};
use crate::delivery::patience::Stop;
use crate::delivery::{self, Job, Kept};
use crate::lifecycle;
use crate::mail::{RoomId, State, Timestamp, Waiver};
use crate::policy::decide::{self, Route};
use crate::policy::table::{NextHop, RoutingTable};
use crate::spool::store::{RecipientId, Waiting};
use crate::stop::stopped;

/// How long a worker keeps a connection with nothing to send.
const IDLE: Duration = Duration::from_secs(5);
/// How long a job waits for memory before it goes back to the store.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// A worker's place in its lane; free again when dropped, also by a panic.
pub(super) struct Place {
    pub desk: Arc<Desk>,
    pub room: RoomId,
    pub alive: Alive,
    /// The way that the room's mail went when it was taken on: it works for no other.
    pub way: watch::Receiver<u64>,
    /// What it is working on.
    on: Option<Urgency>,
    connected: bool,
}

/// A task, and what was known of its room's door when it was picked.
pub(super) struct Picked {
    pub task: Task,
    pub finding: Option<Arc<Attempt>>,
    turn: u64,
    is_proven: bool,
    foreign: u64,
    /// More waits behind the shut door than comes round again soon.
    is_outpaced: bool,
}

/// What a task has shown of the room's door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// A next hop was ready to take mail.
    Open,
    Nothing,
}

impl Place {
    pub(super) fn new(desk: &Arc<Desk>, room: &RoomId, lane: &mut Lane, alive: &Alive) -> Self {
        lane.crew.workers += 1;
        Self {
            desk: Arc::clone(desk),
            room: room.clone(),
            alive: alive.clone(),
            way: lane.way.subscribe(),
            on: None,
            connected: false,
        }
    }

    /// Its lane, for as long as the room's mail goes the same way.
    fn lane<'a>(&self, hand: &'a mut Hand) -> Option<&'a mut Lane> {
        hand.lane(&self.room).filter(|_| !self.has_turned())
    }

    fn has_turned(&self) -> bool {
        self.way.has_changed().unwrap_or(true)
    }

    /// Ready when the room's mail goes elsewhere.
    async fn turned(&self) {
        drop(self.way.clone().changed().await);
    }

    /// Puts down what it worked on, and takes the next task; `None` when there is none for it or
    /// the relay stops.
    fn next(&mut self, shown: Shown, connected: bool) -> Option<Picked> {
        let desk = Arc::clone(&self.desk);
        let hand = &mut *desk.hand();
        let lane = self.lane(hand)?;
        if let Some(urgency) = self.on.take() {
            lane.crew.ends(urgency);
        }
        self.connected = count_connection(lane, self.connected, connected);
        // A connection that broke says nothing of a door that was found shut meanwhile.
        if shown == Shown::Open && (connected || !lane.door.is_shut()) {
            self.opened(lane);
        }
        let picked = self.pick(lane)?;
        hand.take_up(picked.task.ids());
        Some(picked)
    }

    fn pick(&mut self, lane: &mut Lane) -> Option<Picked> {
        if self.desk.is_stopping() || lane.door.is_awaited() {
            return None;
        }
        let (urgency, task) = lane.pick(lane.crew.choice())?;
        lane.crew.starts(urgency);
        self.on = Some(urgency);
        let finding = lane.door.finding();
        lane.sharing += usize::from(finding.is_some());
        Some(Picked {
            task,
            finding,
            turn: lane.door.turn(),
            is_proven: lane.door.is_proven(),
            foreign: self.desk.foreign.load(Ordering::Relaxed),
            is_outpaced: lane.is_outpaced(),
        })
    }

    /// Waits a while for the next task, so that a connection is used again.
    async fn await_next(&mut self) -> Option<Picked> {
        let desk = Arc::clone(&self.desk);
        let bell = {
            let hand = &mut *desk.hand();
            let lane = self.lane(hand)?;
            if let Some(picked) = self.pick(lane) {
                hand.take_up(picked.task.ids());
                return Some(picked);
            }
            if std::mem::take(&mut lane.more) {
                self.desk.wake.notify_one();
            }
            lane.crew.idle += 1;
            Arc::clone(&lane.bell)
        };
        let mut stop = self.desk.stop.clone();
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = stopped(&mut stop) => {}
            () = self.turned() => {}
        }
        let hand = &mut *desk.hand();
        let lane = self.lane(hand)?;
        lane.crew.idle = lane.crew.idle.saturating_sub(1);
        let picked = self.pick(lane)?;
        hand.take_up(picked.task.ids());
        Some(picked)
    }

    /// A connection was opened: others may come too.
    fn came_through(&mut self) {
        let desk = Arc::clone(&self.desk);
        let hand = &mut *desk.hand();
        if let Some(lane) = self.lane(hand) {
            self.connected = count_connection(lane, self.connected, true);
            self.opened(lane);
        }
    }

    fn opened(&self, lane: &mut Lane) {
        lane.is_alive();
        if lane.door.open() {
            self.desk.make_room_due(lane, &self.room, &self.alive);
        }
        self.desk.staff(lane, &self.room, &self.alive);
    }

    /// What the hops said of each recipient, kept in mind for the time when they say otherwise.
    fn heard(&self, recipients: &[Waiting], attempts: &[Attempt]) {
        let hand = &mut *self.desk.hand();
        let Some(lane) = self.lane(hand) else { return };
        let mut took_one = false;
        for (row, attempt) in recipients.iter().zip(attempts) {
            match &attempt.outcome {
                Outcome::Delivered(_) => took_one = true,
                Outcome::Deferred(cause) if attempt.reached => {
                    lane.mood.put_off(row.id.reference, &row.recipient, cause);
                }
                _ => {}
            }
        }
        if took_one && lane.mood.took_one(Instant::now()) {
            tracing::info!(room = %self.room, "its next hop takes mail again");
            self.desk.make_room_due(lane, &self.room, &self.alive);
        }
    }

    /// Nobody was reached by one who has no connection.
    fn found_nobody(&mut self, turn: u64, finding: Attempt) -> Found {
        let desk = Arc::clone(&self.desk);
        let hand = &mut *desk.hand();
        let Some(lane) = self.lane(hand) else {
            return Found::Outdated;
        };
        self.connected = count_connection(lane, self.connected, false);
        if lane.speaks() {
            lane.take_no_more_workers();
            return Found::Crowded;
        }
        if self.desk.is_stopping() {
            return Found::Outdated;
        }
        let finding = Arc::new(finding);
        let knocks = lane.door.knocks();
        let Some(bell) = lane.door.shut(turn, Arc::clone(&finding)) else {
            return Found::Outdated;
        };
        tracing::warn!(room = %self.room, "no next hop can be spoken with; it is tried until one can");
        let knocker = Knocker {
            desk: Arc::clone(&self.desk),
            room: self.room.clone(),
            turn: lane.door.turn(),
            knocks,
            bell,
            alive: self.alive.clone(),
        };
        tokio::spawn(knocker.work());
        lane.outpaced = 0;
        lane.sharing += 1;
        Found::Shut(finding)
    }

    /// Sees to it that there is somebody to speak with. Whether there is, as far as can be told
    /// before a message is tried.
    async fn come_through(
        &mut self,
        route: &Route,
        (turn, is_proven): (u64, bool),
        kept: &mut Option<Kept>,
    ) -> Result<bool, Found> {
        // There is no connection to a Maildir: it is there as long as nothing else is found.
        let is_folder = matches!(route.next_hops.first(), Some(NextHop::Maildir(_)));
        if kept.is_none() && !(is_folder && is_proven) {
            let desk = Arc::clone(&self.desk);
            let knocked = tokio::select! {
                knocked = desk.knock(route, kept) => Some(knocked),
                () = self.turned() => None,
            };
            let knocked = knocked.ok_or(Found::Outdated)?;
            knocked.map_err(|nobody| self.found_nobody(turn, nobody))?;
        }
        if kept.is_some() && !self.connected {
            self.came_through();
        }
        Ok(kept.is_some())
    }

    fn put_back(&self, task: Task) {
        let hand = &mut *self.desk.hand();
        hand.put_down(task.ids());
        if let Some(lane) = hand.lane(&self.room) {
            lane.put_back(task);
        }
    }
}

/// Keeps count of the workers that hold a connection.
fn count_connection(lane: &mut Lane, before: bool, now: bool) -> bool {
    let others = lane.crew.connected.saturating_sub(usize::from(before));
    lane.crew.connected = others + usize::from(now);
    now
}

impl Drop for Place {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lane(&self.room) else {
            return;
        };
        if self.has_turned() {
            lane.crew.is_left();
        } else {
            if let Some(urgency) = self.on.take() {
                lane.crew.ends(urgency);
            }
            count_connection(lane, self.connected, false);
            lane.crew.workers = lane.crew.workers.saturating_sub(1);
        }
        if std::mem::take(&mut lane.more) {
            self.desk.wake.notify_one();
        }
        self.desk.staff(lane, &self.room, &self.alive);
    }
}

/// Works on one room's lane until nothing has come for a while.
pub(super) async fn work(mut place: Place, mut kept: Option<Kept>) {
    let mut shown = Shown::Nothing;
    if kept.is_some() {
        place.came_through();
    }
    loop {
        let picked = match place.next(shown, kept.is_some()) {
            Some(picked) => Some(picked),
            None if kept.is_some() => place.await_next().await,
            None => None,
        };
        let Some(picked) = picked else { break };
        match try_task(&mut place, picked, &mut kept).await {
            Some(it) => shown = it,
            None => break,
        }
    }
    // Taking leave of the next hop takes a while; the place is free before that.
    drop(place);
    if let Some(kept) = kept {
        kept.close().await;
    }
}

/// One attempt for one task; its outcome is written while the worker goes on. `None`: there is no
/// connection to be had for this worker.
async fn try_task(place: &mut Place, picked: Picked, kept: &mut Option<Kept>) -> Option<Shown> {
    let table = Arc::clone(&place.desk.table.borrow());
    let route = decide::route(&place.room, &table, Timestamp::now());
    let mut errand = Errand {
        grip: Grip::on(place, &picked),
        foreign: picked.foreign,
        task: picked.task,
        table,
        route,
        is_patient: false,
    };
    if errand.is_too_late() {
        errand.expire().await;
        return Some(Shown::Nothing);
    }
    let route = match open(&place.room, errand.route.clone()) {
        Ok(route) => route,
        Err(reason) => {
            errand.put_off(&deferral(&reason)).await;
            return Some(Shown::Nothing);
        }
    };
    let found = match picked.finding {
        Some(finding) => Err(Found::Shut(finding)),
        None => {
            let known = (picked.turn, picked.is_proven);
            place.come_through(&route, known, kept).await
        }
    };
    match found {
        Ok(is_open) => {
            let known = (picked.turn, is_open);
            Some(errand.send(place, &route, known, kept).await)
        }
        Err(Found::Shut(finding)) => {
            errand.grip.shares = true;
            errand.is_patient = picked.is_outpaced;
            errand.put_off(&finding).await;
            Some(Shown::Nothing)
        }
        Err(Found::Outdated) => {
            errand.back_into_line(place);
            Some(Shown::Nothing)
        }
        Err(Found::Crowded) => {
            errand.back_into_line(place);
            None
        }
    }
}

/// A way that leads somewhere; or why a room's mail waits: the room may come back.
pub(super) fn open(room: &RoomId, route: Option<Route>) -> Result<Route, String> {
    match route {
        Some(route) if route.next_hops.is_empty() => Err(route.rule),
        Some(route) => Ok(route),
        None => Err(unknown(room)),
    }
}

fn unknown(room: &RoomId) -> String {
    format!("room {room} is no longer in the routing table")
}

/// One task in a worker's hands.
struct Errand {
    grip: Grip,
    /// What others had changed in the store when it was picked.
    foreign: u64,
    task: Task,
    table: Arc<RoutingTable>,
    route: Option<Route>,
    /// It is tried again after the longest wait.
    is_patient: bool,
}

/// Why there are no bytes to send.
enum Absent {
    NoMemory,
    Unreadable(String),
    /// They were to go another way than the room's mail goes now.
    NoLonger,
}

impl Errand {
    fn back_into_line(self, place: &Place) {
        self.grip.loosen();
        place.put_back(self.task);
    }

    /// The time named by the sender is the message's, so it has passed for all of them or for none.
    fn is_too_late(&self) -> bool {
        let now = Timestamp::now();
        let mut rows = self.task.recipients.iter();
        rows.any(|row| lifecycle::overdue(row, now))
    }

    /// They fail without another attempt.
    async fn expire(self) {
        let quoted = self.grip.desk.quoted(self.task.reference).await;
        self.make_out(quoted.map(Body::quoted), Ruling::Expired);
    }

    async fn send(
        mut self,
        place: &mut Place,
        route: &Route,
        (turn, is_open): (u64, bool),
        kept: &mut Option<Kept>,
    ) -> Shown {
        if !self.is_still_meant().await {
            return Shown::Nothing;
        }
        let body = match self.task.body.take() {
            Some(body) => Ok(body),
            None => tokio::select! {
                body = place.desk.fetch(&self.task) => body,
                () = place.turned() => Err(Absent::NoLonger),
            },
        };
        let body = match body {
            Ok(body) => body,
            Err(Absent::NoLonger) => {
                self.back_into_line(place);
                return Shown::Nothing;
            }
            // It goes back to the store, and comes again.
            Err(Absent::NoMemory) => return Shown::Nothing,
            Err(Absent::Unreadable(reason)) => {
                self.settle_alike(&deferral(&reason), None);
                return Shown::Nothing;
            }
        };
        let recipients = &self.task.recipients;
        let Some(mut attempts) = place.desk.attempt(recipients, &body, route, kept).await else {
            let broke_down = deferral("the attempt broke down: our fault");
            self.settle_alike(&broke_down, Some(body));
            return Shown::Nothing;
        };
        place.heard(recipients, &attempts);
        let shown = if attempts.iter().any(|it| it.reached) {
            Shown::Open
        } else if is_open {
            // Somebody was there just now: what this message found out says nothing to others. The
            // next one knocks.
            Shown::Nothing
        } else {
            let nobody = attempts.first().cloned();
            let found = nobody.map(|nobody| place.found_nobody(turn, nobody));
            self.grip.shares = matches!(found, Some(Found::Shut(_)));
            Shown::Nothing
        };
        self.leave_what_a_stop_would_fail(&mut attempts);
        if !attempts.is_empty() {
            self.settle(attempts, Some(body));
        }
        shown
    }

    /// What an exception let through goes out no more once that is over: it is let go of, and called
    /// back to be scanned.
    fn leave_what_is_let_through_no_more(&mut self) {
        let measures = Arc::clone(&self.grip.desk.measures.borrow());
        let now = Timestamp::now();
        let lasts = |number| measures.is_in_force(number, now);
        let recipients = &mut self.task.recipients;
        recipients.retain(|it| it.waiver.and_then(Waiver::exception).is_none_or(lasts));
    }

    /// An operator may have held or cancelled some of them since they were picked: those are let go
    /// of. `false` where that is all of them, or where nobody knows.
    async fn is_still_meant(&mut self) -> bool {
        self.leave_what_is_let_through_no_more();
        if self.task.recipients.is_empty() {
            return false;
        }
        let desk = &self.grip.desk;
        if desk.foreign.load(Ordering::Relaxed) == self.foreign {
            return true;
        }
        let ids = self.task.ids().collect();
        let Ok(rows) = desk.spool.store().waiting(ids).await else {
            return false;
        };
        let is_active = |row: &&Waiting| matches!(row.state, State::Queued | State::Deferred);
        let meant: Vec<RecipientId> = rows.iter().filter(is_active).map(|it| it.id).collect();
        self.task.recipients.retain(|it| meant.contains(&it.id));
        !self.task.recipients.is_empty()
    }

    /// Whose time is over is not given up for an attempt that the stop cut short: it has another one
    /// after the next start.
    fn leave_what_a_stop_would_fail(&mut self, attempts: &mut Vec<Attempt>) {
        let (now, room) = (Timestamp::now(), self.table.room(&self.task.room));
        let schedule = &self.grip.desk.schedule;
        let stays = |(row, attempt): (&Waiting, &Attempt)| {
            !attempt.was_cut_short() || schedule.course(row, room).until(now).is_some()
        };
        let rows = self.task.recipients.iter();
        let stay: Vec<bool> = rows.zip(attempts.iter()).map(stays).collect();
        let (mut of_rows, mut of_attempts) = (stay.iter(), stay.iter());
        let recipients = &mut self.task.recipients;
        recipients.retain(|_| *of_rows.next().unwrap_or(&true));
        attempts.retain(|_| *of_attempts.next().unwrap_or(&true));
    }

    /// The finding answers for all of them. Their message is read only if senders are to be told.
    async fn put_off(mut self, finding: &Attempt) {
        self.task.body = None;
        let desk = Arc::clone(&self.grip.desk);
        let quoted = match desk.news_is_due(&self.task, &self.table) {
            true => desk.quoted(self.task.reference).await,
            false => None,
        };
        self.settle_alike(finding, quoted.map(Body::quoted));
    }

    fn settle_alike(self, attempt: &Attempt, body: Option<Body>) {
        let attempts = vec![attempt.clone(); self.task.recipients.len()];
        self.settle(attempts, body);
    }

    fn settle(self, attempts: Vec<Attempt>, body: Option<Body>) {
        self.make_out(body, |rows| {
            Ruling::Tried(rows.into_iter().zip(attempts).collect())
        });
    }

    /// Has what becomes of the recipients made out and written, while the worker goes on.
    fn make_out(self, body: Option<Body>, ruling: impl FnOnce(Vec<Waiting>) -> Ruling) {
        let since = Reading::now();
        let mut rows: Vec<Waiting> = self.task.by_todays_clock().collect();
        self.grip.desk.hand().settle(&mut rows);
        let alive = self.grip.alive.clone();
        let room = rows.first().map(|row| &row.room);
        let rule = self.route.map(|route| route.rule);
        let rule = rule.or_else(|| room.map(unknown));
        let settlement = Settlement {
            grip: self.grip,
            route: rule,
            ruling: ruling(rows),
            body,
            table: self.table,
            is_patient: self.is_patient,
            since,
        };
        tokio::spawn(async move {
            let _alive = alive;
            settlement.write().await;
        });
    }
}

impl Task {
    /// Its recipients, with their ages as the clock goes now: it may have been set while they were
    /// in hand.
    fn by_todays_clock(self) -> impl Iterator<Item = Waiting> {
        let step = self.since.step_until(Reading::now());
        self.recipients.into_iter().map(move |mut it| {
            it.waits_since = clock::moved(it.waits_since, step);
            if let Some(by) = &mut it.terms.deliver_by {
                by.at = clock::moved(by.at, step);
            }
            it
        })
    }
}

/// An attempt that ended before any next hop was asked.
pub(super) fn deferral(reason: &str) -> Attempt {
    let outcome = Outcome::Deferred(Cause::Found(reason.to_owned()));
    Attempt {
        outcome,
        hop: None,
        reached: false,
        handover: Handover::Relayed,
        tls: None,
        duration: Duration::ZERO,
    }
}

/// What the future gives; `None` when it panics, which the panic hook then tells.
pub(super) async fn unless_it_panics<F: Future>(future: F) -> Option<F::Output> {
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
    /// Opens a connection before there is anything to send; a stop does not wait for it.
    pub(super) async fn knock(
        &self,
        route: &Route,
        kept: &mut Option<Kept>,
    ) -> Result<(), Attempt> {
        let mut stop = self.stop.clone();
        let knock = delivery::knock(&route.next_hops, kept, &self.caller);
        tokio::select! {
            biased;
            outcome = unless_it_panics(knock) => {
                outcome.unwrap_or_else(|| Err(deferral("the attempt broke down: our fault")))
            }
            () = stopped(&mut stop) => Err(deferral(STOPPING)),
        }
    }

    async fn attempt(
        &self,
        recipients: &[Waiting],
        body: &Body,
        route: &Route,
        kept: &mut Option<Kept>,
    ) -> Option<Vec<Attempt>> {
        let job = Job {
            waiting: recipients,
            content: &body.content,
            first_try: body.is_fresh,
            now: Timestamp::now(),
            stop: Stop::new(self.stop.clone(), delivery::GRACE),
        };
        unless_it_panics(delivery::attempt(
            &job,
            &route.next_hops,
            kept,
            &self.caller,
        ))
        .await
    }

    /// Whether another deferral may be told to a sender, in a report that quotes the message.
    fn news_is_due(&self, task: &Task, table: &RoutingTable) -> bool {
        let (now, room) = (Timestamp::now(), table.room(&task.room));
        let mut rows = task.recipients.iter();
        rows.any(|row| self.schedule.course(row, room).has_news(now))
    }

    /// A message's bytes from the store, under a share of the memory for bodies.
    async fn fetch(&self, task: &Task) -> Result<Body, Absent> {
        let first = task.recipients.first();
        let size = first.map_or(0, |it| usize::try_from(it.size).unwrap_or(usize::MAX));
        let mut stop = self.stop.clone();
        let memory = async {
            let share = self.share(&task.room, size).await;
            let permit = self.spool.reserve(size, MEMORY_WAIT).await;
            permit.map(|permit| (permit, share))
        };
        let memory = tokio::select! {
            memory = memory => memory,
            () = stopped(&mut stop) => None,
        };
        let (permit, share) = memory.ok_or(Absent::NoMemory)?;
        match self.spool.store().content(task.reference).await {
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
}
