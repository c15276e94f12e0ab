//! What a task came to goes back to the store, however long that takes.
//!
//! An outcome must not be lost, nor its message sent again: while the store cannot write, it is kept
//! and written later, and its recipients stay in hand. A report goes with it that names those
//! recipients that are still as the outcome found them; of the others what happened is told. It
//! decides nothing (`lifecycle` does). An outcome that cannot be made out stays as it is until the
//! relay is started again.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::WRITE_AGAIN;
use super::clock::{self, Reading};
use super::desk::{Alive, Body, Desk};
use super::work::{Picked, Place};
use crate::delivery::outcome::Attempt;
use crate::lifecycle::{self, Occasion, REPORTS};
use crate::mail::{RoomId, State, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{Applied, Change, NextLook, RecipientId, StoreError, Waiting};

/// The longest pause before an outcome that could not be written is written again.
const WRITE_AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// Recipients in hand; let go of when dropped. Unless their outcome was written they are given
/// back to the store, so that a panic costs them one attempt and no more.
pub(super) struct Grip {
    pub desk: Arc<Desk>,
    room: RoomId,
    /// The way that the room's mail went when they were taken in hand.
    way: u64,
    ids: Vec<RecipientId>,
    written: bool,
    /// They are counted among those that share a finding.
    pub shares: bool,
    pub alive: Alive,
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
    pub(super) fn on(place: &Place, picked: &Picked) -> Self {
        Self {
            desk: Arc::clone(&place.desk),
            room: place.room.clone(),
            way: *place.way.borrow(),
            ids: picked.task.ids().collect(),
            written: false,
            shares: picked.finding.is_some(),
            alive: place.alive.clone(),
        }
    }

    /// The task goes back into its lane, still in hand.
    pub(super) fn loosen(mut self) {
        self.ids.clear();
        self.written = true;
    }

    /// All that a change says of them is written, or came too late.
    fn are_settled(&mut self, change: &Change) {
        let spoken_of: HashSet<RecipientId> = change.recipients.iter().map(|it| it.id).collect();
        let (settled, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.ids)
            .into_iter()
            .partition(|id| spoken_of.contains(id));
        self.ids = left;
        self.desk.hand().let_go(&settled, false);
    }

    /// Better not tried again before the next start than delivered over and over.
    fn keep_for_ever(mut self, why: &str) {
        tracing::error!("{why}; it stays as it is until the relay is started again");
        self.ids.clear();
        self.written = true;
    }
}

/// What a task came to.
pub(super) enum Ruling {
    Tried(Vec<(Waiting, Attempt)>),
    /// The time that the sender named has passed.
    Expired(Vec<Waiting>),
}

impl Ruling {
    fn decide(&self, occasion: &Occasion<'_>) -> Change {
        match self {
            Self::Tried(tried) => lifecycle::attempted(tried, occasion),
            Self::Expired(rows) => lifecycle::expired(rows, occasion),
        }
    }

    /// Leaves these out.
    fn without(&mut self, ids: &[RecipientId]) {
        match self {
            Self::Tried(tried) => tried.retain(|(row, _)| !ids.contains(&row.id)),
            Self::Expired(rows) => rows.retain(|row| !ids.contains(&row.id)),
        }
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::Tried(tried) => tried.is_empty(),
            Self::Expired(rows) => rows.is_empty(),
        }
    }
}

/// What a task came to, until it is written.
pub(super) struct Settlement {
    pub grip: Grip,
    pub ruling: Ruling,
    /// What a report quotes.
    pub body: Option<Body>,
    pub table: Arc<RoutingTable>,
    /// The rule by which it went where it went.
    pub route: Option<String>,
    /// More waits with it than comes round again soon.
    pub is_patient: bool,
    /// Both clocks when it was settled.
    pub since: Reading,
}

impl Settlement {
    pub(super) async fn write(mut self) {
        let desk = Arc::clone(&self.grip.desk);
        while let Some(change) = self.change() {
            if change.messages.is_empty() {
                self.body = None;
            }
            let applied = match desk.settle(&change, self.since).await {
                Ok(applied) => applied,
                Err(fault) => {
                    let why = format!("an outcome contradicts the store: {fault}");
                    return self.grip.keep_for_ever(&why);
                }
            };
            desk.tell_overtaken(&change, &applied).await;
            self.ruling.without(&applied.skipped);
            if applied.is_made() || self.ruling.is_empty() {
                return self.grip.are_settled(&change);
            }
        }
        self.grip.keep_for_ever("an outcome could not be made out");
    }

    fn change(&self) -> Option<Arc<Change>> {
        let content = self.body.as_ref().map(|body| &body.content);
        let occasion = self.grip.desk.occasion(&self.table);
        let occasion = Occasion {
            now: self.since.wall(),
            content,
            route: self.route.as_deref(),
            ..occasion
        };
        let occasion = match self.is_patient {
            true => Occasion {
                schedule: &self.grip.desk.patient,
                ..occasion
            },
            false => occasion,
        };
        let decided = catch_unwind(AssertUnwindSafe(|| self.ruling.decide(&occasion)));
        let mut change = decided.ok()?;
        if self.grip.desk.has_turned(&self.grip.room, self.grip.way) {
            make_due_at_once(&mut change, occasion.now);
        }
        Some(Arc::new(change))
    }
}

/// What could not be delivered where the room's mail does not go any more is tried anew at once.
fn make_due_at_once(change: &mut Change, now: Timestamp) {
    for step in &mut change.recipients {
        if let Some(at) = &mut step.next_attempt_at {
            *at = now;
            if let Some(event) = &mut step.event {
                event.details.next_attempt_at = Some(now.to_string());
            }
        }
    }
}

impl Desk {
    /// All that a decision may depend on, but for the message.
    pub(super) fn occasion<'a>(&'a self, table: &'a RoutingTable) -> Occasion<'a> {
        let reports = [(); REPORTS].map(|()| self.spool.next_reference());
        Occasion {
            now: Timestamp::now(),
            noise: self.noise.hash_one(reports),
            schedule: &self.schedule,
            letterhead: &self.letterhead,
            table,
            content: None,
            reports,
            route: None,
            start: self.start,
            up_for: self.up_since.elapsed(),
        }
    }

    /// Writes what was made out by the clock of `since`, and without its report where that is what
    /// the store cannot take.
    async fn settle(&self, change: &Arc<Change>, since: Reading) -> Result<Applied, StoreError> {
        match self.insist(change, since).await {
            Err(fault) if !change.messages.is_empty() => {
                tracing::error!(%fault, "an outcome contradicts the store; written without its report");
                let why = format!("the report could not be kept: {fault}");
                let bare = lifecycle::without_reports(change, &why);
                self.insist(&Arc::new(bare), since).await
            }
            applied => applied,
        }
    }

    /// Somebody decided otherwise meanwhile; what happened is told all the same.
    async fn tell_overtaken(&self, change: &Change, applied: &Applied) {
        if applied.skipped.is_empty() {
            return;
        }
        let late = Arc::new(lifecycle::overtaken(change, &applied.skipped));
        if let Err(fault) = self.insist(&late, Reading::now()).await {
            tracing::error!(%fault, "what came too late cannot be told");
        }
    }

    /// Applies a change as soon as the store can; fails only where trying again cannot help. Times
    /// are right in a row that waits only once all have been moved; what is over waits for nothing.
    async fn insist(&self, change: &Arc<Change>, since: Reading) -> Result<Applied, StoreError> {
        let mut pause = WRITE_AGAIN;
        let steps = &change.recipients;
        let is_over = steps.iter().all(|it| it.to.is_some_and(State::is_final));
        loop {
            if !is_over {
                clock::steady(&self.dial).await;
            }
            let step = since.step_until(Reading::now());
            match self.spool.apply(moved_along(change, step)).await {
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

/// The change by today's clock, which was set by so many milliseconds since it was made out.
fn moved_along(change: &Arc<Change>, step: i64) -> Arc<Change> {
    if step == 0 {
        return Arc::clone(change);
    }
    let mut change = Change::clone(change);
    let move_one = |at: &mut Timestamp| *at = clock::moved(*at, step);
    for row in &mut change.recipients {
        row.next_attempt_at.iter_mut().for_each(move_one);
        if let NextLook::At(at) = &mut row.next_look {
            move_one(at);
        }
    }
    for message in &mut change.messages {
        move_one(&mut message.accepted_at);
        for row in &mut message.recipients {
            move_one(&mut row.next_attempt_at);
            move_one(&mut row.look_at);
            move_one(&mut row.leased_until);
        }
    }
    Arc::new(change)
}
