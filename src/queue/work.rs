//! A worker: takes a room's tasks one after the other, and an attempt's outcome back to the store.
//!
//! A worker without a connection knocks before it takes a body into memory; where nobody can be
//! spoken with, the finding answers for its task and for all others of the room. An outcome that
//! cannot be written yet is kept and written later, and its recipients are not tried again
//! meanwhile. An attempt that panics costs its recipients a deferral, anything else that panics
//! costs them nothing: they are given back.

use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::clock::{self, Reading};
use super::desk::{Alive, Body, Desk, Found, Lane, Task};
use super::knock::Knocker;
use super::lane::Urgency;
use super::{WRITE_AGAIN, stopped};
use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome, STOPPING};
use crate::delivery::patience::Stop;
use crate::delivery::{self, Job, Kept};
use crate::lifecycle::{self, Occasion, REPORTS};
use crate::mail::{Content, RoomId, Timestamp};
use crate::policy::decide::{self, Route};
use crate::policy::table::{NextHop, RoutingTable};
use crate::spool::store::{Applied, Change, RecipientId, StoreError, Waiting};

/// How long a worker keeps a connection with nothing to send.
const IDLE: Duration = Duration::from_secs(5);
/// How long a job waits for memory before it goes back to the store.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Held recipients looked at, at a time.
const HELD: usize = 1000;
/// The longest pause before an outcome that could not be written is written again.
const WRITE_AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// A worker's place in its lane; free again when dropped, also by a panic.
pub(super) struct Place {
    desk: Arc<Desk>,
    room: RoomId,
    alive: Alive,
    /// What it is working on.
    on: Option<Urgency>,
    connected: bool,
}

/// A task, and what was known of its room's door when it was picked.
struct Picked {
    task: Task,
    finding: Option<Arc<Attempt>>,
    turn: u64,
    is_proven: bool,
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
            on: None,
            connected: false,
        }
    }

    /// Puts down what it worked on, and takes the next task; `None` when there is none for it or
    /// the relay stops.
    fn next(&mut self, shown: Shown, connected: bool) -> Option<Picked> {
        let desk = Arc::clone(&self.desk);
        let hand = &mut *desk.hand();
        let lane = hand.lane(&self.room)?;
        if let Some(urgency) = self.on.take() {
            lane.crew.ends(urgency);
        }
        self.connected = count_connection(lane, self.connected, connected);
        if shown == Shown::Open {
            self.opened(lane);
        }
        self.pick(lane)
    }

    fn pick(&mut self, lane: &mut Lane) -> Option<Picked> {
        if self.desk.is_stopping() || lane.door.is_awaited() {
            return None;
        }
        let (urgency, task) = lane.line.pick(lane.crew.choice())?;
        lane.crew.starts(urgency);
        lane.octets = lane.octets.saturating_sub(task.octets());
        self.on = Some(urgency);
        let finding = lane.door.finding();
        lane.sharing += usize::from(finding.is_some());
        Some(Picked {
            task,
            finding,
            turn: lane.door.turn(),
            is_proven: lane.door.is_proven(),
        })
    }

    /// Waits a while for the next task, so that a connection is used again.
    async fn await_next(&mut self) -> Option<Picked> {
        let desk = Arc::clone(&self.desk);
        let bell = {
            let hand = &mut *desk.hand();
            let lane = hand.lane(&self.room)?;
            if let Some(picked) = self.pick(lane) {
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
        }
        let hand = &mut *desk.hand();
        let lane = hand.lane(&self.room)?;
        lane.crew.idle = lane.crew.idle.saturating_sub(1);
        self.pick(lane)
    }

    /// A connection was opened: others may come too.
    fn came_through(&mut self) {
        let hand = &mut *self.desk.hand();
        if let Some(lane) = hand.lane(&self.room) {
            self.connected = count_connection(lane, self.connected, true);
            self.opened(lane);
        }
    }

    fn opened(&self, lane: &mut Lane) {
        let is_news = !lane.door.is_proven();
        if lane.door.open() {
            self.desk.make_room_due(&self.room, &self.alive);
        }
        if is_news {
            self.desk.staff(lane, &self.room, &self.alive);
        }
    }

    /// Nobody was reached by one who has no connection.
    fn found_nobody(&mut self, turn: u64, finding: Attempt) -> Found {
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lane(&self.room) else {
            return Found::Outdated;
        };
        self.connected = count_connection(lane, self.connected, false);
        if lane.crew.connected > 0 {
            lane.take_no_more_workers();
            return Found::Crowded;
        }
        if self.desk.is_stopping() {
            return Found::Outdated;
        }
        let finding = Arc::new(finding);
        let Some(bell) = lane.door.shut(turn, Arc::clone(&finding)) else {
            return Found::Outdated;
        };
        tracing::warn!(room = %self.room, "no next hop can be spoken with; it is tried until one can");
        let knocker = Knocker {
            desk: Arc::clone(&self.desk),
            room: self.room.clone(),
            turn: lane.door.turn(),
            bell,
            alive: self.alive.clone(),
        };
        tokio::spawn(knocker.work());
        lane.sharing += 1;
        Found::Shut(finding)
    }

    /// Sees to it that there is somebody to speak with.
    async fn come_through(
        &mut self,
        route: &Route,
        (turn, is_proven): (u64, bool),
        kept: &mut Option<Kept>,
    ) -> Result<(), Found> {
        // There is no connection to a Maildir: it is there as long as nothing else is found.
        let is_folder = matches!(route.next_hops.first(), Some(NextHop::Maildir(_)));
        if kept.is_none() && !(is_folder && is_proven) {
            let knocked = self.desk.knock(route, kept).await;
            knocked.map_err(|nobody| self.found_nobody(turn, nobody))?;
        }
        if kept.is_some() && !self.connected {
            self.came_through();
        }
        Ok(())
    }

    fn put_back(&self, task: Task) {
        let hand = &mut *self.desk.hand();
        if let Some(lane) = hand.lane(&self.room) {
            lane.octets += task.octets();
            let (priority, since) = (task.priority(), task.waits_since());
            lane.line.put_back(priority, since, task);
        }
    }
}

/// Keeps count of the workers that hold a connection.
fn count_connection(lane: &mut Lane, before: bool, now: bool) -> bool {
    let others = lane.crew.connected - usize::from(before);
    lane.crew.connected = others + usize::from(now);
    now
}

impl Drop for Place {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lane(&self.room) else {
            return;
        };
        if let Some(urgency) = self.on.take() {
            lane.crew.ends(urgency);
        }
        count_connection(lane, self.connected, false);
        lane.crew.workers = lane.crew.workers.saturating_sub(1);
        if std::mem::take(&mut lane.more) {
            self.desk.wake.notify_one();
        }
        self.desk.staff(lane, &self.room, &self.alive);
    }
}

/// Recipients in hand; let go of when dropped. Unless their outcome was written they are given
/// back to the store, so that a panic costs them one attempt and no more.
struct Grip {
    desk: Arc<Desk>,
    room: RoomId,
    ids: Vec<RecipientId>,
    written: bool,
    /// They are counted among those that share a finding.
    shares: bool,
    alive: Alive,
}

impl Drop for Grip {
    fn drop(&mut self) {
        let mut hand = self.desk.hand();
        hand.let_go(&self.ids, !self.written);
        if self.shares
            && let Some(lane) = hand.lane(&self.room)
        {
            lane.sharing = lane.sharing.saturating_sub(1);
        }
    }
}

impl Grip {
    fn on(place: &Place, picked: &Picked) -> Self {
        Self {
            desk: Arc::clone(&place.desk),
            room: place.room.clone(),
            ids: picked.task.ids().collect(),
            written: false,
            shares: picked.finding.is_some(),
            alive: place.alive.clone(),
        }
    }

    /// The task goes back into its lane, still in hand.
    fn loosen(mut self) {
        self.ids.clear();
        self.written = true;
    }

    /// Better not tried again before the next start than delivered over and over.
    fn keep_for_ever(mut self, why: &str) {
        tracing::error!("{why}; it stays as it is until the relay is started again");
        self.ids.clear();
        self.written = true;
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
        task: picked.task,
        table,
        route,
    };
    if errand.is_too_late() {
        errand.expire().await;
        return Some(Shown::Nothing);
    }
    let Some(route) = errand.route.clone() else {
        // It may come back; until then its mail waits.
        let reason = format!("room {} is no longer in the routing table", place.room);
        errand.put_off(&deferral(&reason)).await;
        return Some(Shown::Nothing);
    };
    let found = match picked.finding {
        Some(finding) => Err(Found::Shut(finding)),
        None => {
            let known = (picked.turn, picked.is_proven);
            place.come_through(&route, known, kept).await
        }
    };
    match found {
        Ok(()) => Some(errand.send(place, &route, picked.turn, kept).await),
        Err(Found::Shut(finding)) => {
            errand.grip.shares = true;
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

/// One task in a worker's hands.
struct Errand {
    grip: Grip,
    task: Task,
    table: Arc<RoutingTable>,
    route: Option<Route>,
}

/// Why there are no bytes to send.
enum Absent {
    NoMemory,
    Unreadable(String),
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
    async fn expire(mut self) {
        let body = match self.task.body.take() {
            Some(body) => Ok(body),
            None => self.grip.desk.fetch(&self.task).await,
        };
        let body = match body {
            Err(Absent::NoMemory) => return,
            body => body.ok(),
        };
        let content = body.as_ref().map(|body| &body.content);
        self.make_out(content, |rows, occasion| {
            lifecycle::expired(rows.collect(), occasion)
        });
    }

    async fn send(
        mut self,
        place: &mut Place,
        route: &Route,
        turn: u64,
        kept: &mut Option<Kept>,
    ) -> Shown {
        let body = match self.task.body.take() {
            Some(body) => Ok(body),
            None => place.desk.fetch(&self.task).await,
        };
        let body = match body {
            Ok(body) => body,
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
            self.settle_alike(&broke_down, Some(&body.content));
            return Shown::Nothing;
        };
        let shown = if attempts.iter().any(|it| it.reached) {
            Shown::Open
        } else {
            let nobody = attempts.first().cloned();
            let found = nobody.map(|nobody| place.found_nobody(turn, nobody));
            self.grip.shares = matches!(found, Some(Found::Shut(_)));
            Shown::Nothing
        };
        self.leave_what_a_stop_would_fail(&mut attempts);
        if !attempts.is_empty() {
            self.settle(attempts, Some(&body.content));
        }
        shown
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
        let body = match desk.news_is_due(&self.task, &self.table) {
            true => desk.fetch(&self.task).await.map(Some),
            false => Ok(None),
        };
        let body = match body {
            Ok(body) => body,
            Err(Absent::NoMemory) => return,
            Err(Absent::Unreadable(_)) => None,
        };
        self.settle_alike(finding, body.as_ref().map(|body| &body.content));
    }

    fn settle_alike(self, attempt: &Attempt, content: Option<&Content>) {
        let attempts = vec![attempt.clone(); self.task.recipients.len()];
        self.settle(attempts, content);
    }

    fn settle(self, attempts: Vec<Attempt>, content: Option<&Content>) {
        self.make_out(content, |rows, occasion| {
            lifecycle::attempted(rows.zip(attempts).collect(), occasion)
        });
    }

    /// Makes out what becomes of the recipients, and has it written.
    fn make_out(
        self,
        content: Option<&Content>,
        decide: impl FnOnce(&mut dyn Iterator<Item = Waiting>, &Occasion<'_>) -> Change,
    ) {
        let Self {
            grip,
            task,
            table,
            route,
        } = self;
        let redirect = route.as_ref().filter(|route| route.via != task.room);
        let redirect = redirect.map(|route| route.rule.as_str());
        let (reference, since) = (task.reference, Reading::now());
        let made_out = catch_unwind(AssertUnwindSafe(|| {
            let mut rows = task.by_todays_clock();
            let decide = |occasion: &Occasion<'_>| decide(&mut rows, occasion);
            grip.desk.on_occasion(content, &table, redirect, decide)
        }));
        match made_out {
            Ok(change) => {
                let alive = grip.alive.clone();
                tokio::spawn(write(grip, change, since, alive));
            }
            Err(_) => {
                grip.keep_for_ever(&format!("{reference}: its outcome could not be made out"));
            }
        }
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

    /// Senders of what is held are told that it is late.
    pub(super) async fn tell_of_what_is_held(&self) {
        let table = Arc::clone(&self.table.borrow());
        let before = Timestamp::now().before(self.schedule.first_warning(&table));
        let held = match self.spool.store().held_since(before, HELD).await {
            Ok(held) => held,
            Err(fault) => return tracing::warn!(%fault, "the store cannot say what is held"),
        };
        for rows in held.chunk_by(|a, b| a.id.reference == b.id.reference) {
            let Some(first) = rows.first() else { continue };
            let content = self.spool.store().content(first.id.reference).await;
            let content = content.ok().flatten();
            let change = self.on_occasion(content.as_ref(), &table, None, |occasion| {
                lifecycle::held_too_long(rows.to_vec(), occasion)
            });
            if !change.recipients.is_empty()
                && let Err(fault) = self.spool.apply(Arc::new(change)).await
            {
                return tracing::warn!(%fault, "senders of what is held cannot be told yet");
            }
        }
    }

    /// A message's bytes from the store, under a share of the memory for bodies.
    async fn fetch(&self, task: &Task) -> Result<Body, Absent> {
        let first = task.recipients.first();
        let size = first.map_or(0, |it| usize::try_from(it.size).unwrap_or(usize::MAX));
        let share = self.share(&task.room, size).await;
        let permit = self.spool.reserve(size, MEMORY_WAIT).await;
        let permit = permit.ok_or(Absent::NoMemory)?;
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

    /// A change, with all that it may depend on.
    fn on_occasion(
        &self,
        content: Option<&Content>,
        table: &RoutingTable,
        redirect: Option<&str>,
        decide: impl FnOnce(&Occasion<'_>) -> Change,
    ) -> Change {
        let reports = [(); REPORTS].map(|()| self.spool.next_reference());
        decide(&Occasion {
            now: Timestamp::now(),
            noise: self.noise.hash_one(reports),
            schedule: &self.schedule,
            letterhead: &self.letterhead,
            table,
            content,
            reports,
            redirect,
        })
    }
}

/// Writes an outcome, however long it takes: it must not be lost, nor the message sent again.
/// It was made out by the clock of `since`.
async fn write(mut grip: Grip, mut change: Change, since: Reading, _alive: Alive) {
    clock::steady(&grip.desk.dial).await;
    let step = since.step_until(Reading::now());
    for due in change
        .recipients
        .iter_mut()
        .filter_map(|it| it.next_attempt_at.as_mut())
    {
        *due = clock::moved(*due, step);
    }
    let change = Arc::new(change);
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
