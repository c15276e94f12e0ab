//! One knocker at each shut door, and what follows when it opens.
//!
//! It tries the room's next hops, wherever they are at that moment, at growing intervals and at
//! once when prompted, for as long as something waits for the room. When somebody answers, the
//! connection goes to a worker, and all that is deferred in the room is made due. It never tries a
//! message. A knocker that dies leaves the door ajar.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::WRITE_AGAIN;
use super::desk::{Alive, Desk, Hand, Lane};
use super::door::{own_time, pause};
use super::work::{self, Place, deferral, open, unless_it_panics};
use crate::delivery::outcome::Attempt;
use crate::delivery::{self, Kept};
use crate::mail::{RoomId, Timestamp};
use crate::policy::decide;
use crate::policy::table::NextHop;
use crate::spool::store::{WaitingFilter, WaitingOrder};
use crate::stop::stopped;

/// After so many knocks it is asked whether anything waits for the room: about once a minute.
const ASK_AFTER: u32 = 12;
/// How often to look whether all that shared a finding is written.
const LOOK: Duration = Duration::from_millis(20);

/// At the door of a room, as long as it is shut as it was at `turn`.
pub(super) struct Knocker {
    pub desk: Arc<Desk>,
    pub room: RoomId,
    pub turn: u64,
    /// How many knocks count as made already.
    pub knocks: u32,
    pub bell: Arc<Notify>,
    pub alive: Alive,
}

/// Nothing stands in the way.
enum Through {
    /// Somebody answered, or there is a folder to write to.
    Ready,
    /// Nobody was spoken with.
    NobodyThere,
}

impl Drop for Knocker {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        if let Some(lane) = hand.lane(&self.room)
            && lane.door.prompts(self.turn).is_some()
        {
            lane.door.leave_ajar();
        }
    }
}

impl Knocker {
    /// Knocks until the door opens, or something else is known of it, or the relay stops.
    pub(super) async fn work(self) {
        let mut stop = self.desk.stop.clone();
        tokio::select! {
            () = self.knock_until_open() => {}
            () = stopped(&mut stop) => {}
        }
    }

    async fn knock_until_open(&self) {
        let mut kept = None;
        let mut cut_short = 0;
        for knocks in self.knocks.. {
            let noise = self.desk.noise.hash_one((&self.room, knocks, self.turn));
            tokio::select! {
                () = tokio::time::sleep(pause(knocks, noise)) => {}
                () = self.bell.notified() => {}
            }
            if knocks % ASK_AFTER == ASK_AFTER - 1 && self.nothing_waits().await {
                return self.forget();
            }
            loop {
                let Some(prompts) = self.prompts() else {
                    return;
                };
                match self.knock(&mut kept, own_time(cut_short)).await {
                    Some(Ok(through)) => return self.opened(through, kept),
                    Some(Err(finding)) => {
                        cut_short = 0;
                        if self.not_opened(finding, prompts) {
                            break;
                        }
                    }
                    // Prompted again.
                    None => cut_short += 1,
                }
            }
        }
    }

    /// Neither here nor in the store.
    async fn nothing_waits(&self) -> bool {
        let filter = WaitingFilter {
            room: Some(self.room.clone()),
            ..WaitingFilter::default()
        };
        let waiting = self
            .desk
            .spool
            .store()
            .waiting_ids(filter, WaitingOrder::Age, 1);
        waiting.await.is_ok_and(|ids| ids.is_empty())
    }

    /// Whoever comes next finds out.
    fn forget(&self) {
        tracing::info!(room = %self.room, "nothing waits for it any more; it is not tried further");
        let hand = &mut *self.desk.hand();
        if let Some(lane) = self.lane(hand) {
            lane.door.forget();
            self.desk.staff(lane, &self.room, &self.alive);
        }
    }

    /// Its lane, for as long as the door is shut as it was.
    fn lane<'a>(&self, hand: &'a mut Hand) -> Option<&'a mut Lane> {
        let lane = hand.lane(&self.room)?;
        lane.door.prompts(self.turn).map(|_| lane)
    }

    fn prompts(&self) -> Option<u64> {
        self.desk
            .hand()
            .lane(&self.room)
            .and_then(|lane| lane.door.prompts(self.turn))
    }

    /// `None`: cut short by a prompt after its own time, to begin anew.
    async fn knock(
        &self,
        kept: &mut Option<Kept>,
        own_time: Duration,
    ) -> Option<Result<Through, Attempt>> {
        let table = Arc::clone(&self.desk.table.borrow());
        let route = decide::route(&self.room, &table, Timestamp::now());
        let route = match open(&self.room, route) {
            Ok(route) => route,
            Err(reason) => return Some(Err(deferral(&reason))),
        };
        let begun = Instant::now();
        let prompted = async {
            self.bell.notified().await;
            tokio::time::sleep_until(begun + own_time).await;
        };
        let outcome = {
            let knock = delivery::knock(&route.next_hops, kept, &self.desk.caller);
            tokio::select! {
                biased;
                outcome = unless_it_panics(knock) => outcome,
                () = prompted => return None,
            }
        };
        let broke_down = || Err(deferral("the attempt broke down: our fault"));
        let is_folder = |hop: &NextHop| matches!(hop, NextHop::Maildir(_));
        let ready = kept.is_some() || route.next_hops.iter().any(is_folder);
        Some(outcome.unwrap_or_else(broke_down).map(|()| match ready {
            true => Through::Ready,
            false => Through::NobodyThere,
        }))
    }

    /// Whether every prompt has been answered: one that came during the knock has not.
    fn not_opened(&self, finding: Attempt, prompts: u64) -> bool {
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lane(&self.room) else {
            return true;
        };
        lane.door.still_shut(self.turn, Arc::new(finding), prompts);
        self.desk.staff(lane, &self.room, &self.alive);
        lane.door.prompts(self.turn).is_none_or(|it| it == prompts)
    }

    /// The connection is used for the first message, and everything that waits comes after it.
    fn opened(&self, through: Through, kept: Option<Kept>) {
        let hand = &mut *self.desk.hand();
        let Some(lane) = self.lane(hand) else {
            return;
        };
        match through {
            Through::NobodyThere => lane.door.leave_ajar(),
            Through::Ready => {
                tracing::info!(room = %self.room, "its next hop is back");
                lane.is_alive();
                lane.door.open();
                self.desk.make_room_due(lane, &self.room, &self.alive);
            }
        }
        if kept.is_some() {
            let place = Place::new(&self.desk, &self.room, lane, &self.alive);
            tokio::spawn(work::work(place, kept));
        }
        self.desk.staff(lane, &self.room, &self.alive);
    }
}

/// Makes due what is deferred in a room; one at a time.
struct DueMaker {
    desk: Arc<Desk>,
    room: RoomId,
    is_over: bool,
    _alive: Alive,
}

impl Drop for DueMaker {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(lane) = self.desk.hand().lane(&self.room) {
            lane.makes_due = false;
        }
    }
}

impl Desk {
    /// What is deferred in a room is due now, the most urgent first, a portion at a time.
    pub(super) fn make_room_due(self: &Arc<Self>, lane: &mut Lane, room: &RoomId, alive: &Alive) {
        lane.makes_due_again = true;
        if std::mem::replace(&mut lane.makes_due, true) {
            return;
        }
        let maker = DueMaker {
            desk: Arc::clone(self),
            room: room.clone(),
            is_over: false,
            _alive: alive.clone(),
        };
        tokio::spawn(maker.work());
    }
}

impl DueMaker {
    async fn work(mut self) {
        let mut stop = self.desk.stop.clone();
        tokio::select! {
            () = self.work_until_done() => {}
            () = stopped(&mut stop) => {}
        }
    }

    async fn work_until_done(&mut self) {
        while self.is_asked_again() {
            self.make_due().await;
        }
        self.is_over = true;
    }

    /// Whether somebody asked since it last began. Where nobody did, it is over from here on.
    fn is_asked_again(&self) -> bool {
        let hand = &mut *self.desk.hand();
        hand.lane(&self.room).is_some_and(|lane| {
            lane.makes_due = std::mem::take(&mut lane.makes_due_again);
            lane.makes_due
        })
    }

    /// The writer has as long a rest after each portion as the portion took.
    async fn make_due(&self) {
        let (desk, room) = (&self.desk, &self.room);
        while desk.shares(room) {
            tokio::time::sleep(LOOK).await;
        }
        let now = Timestamp::now();
        let mut most = 0;
        loop {
            let begun = Instant::now();
            match desk.spool.store().make_room_due(room.clone(), now).await {
                // What is deferred anew meanwhile is left alone: a portion that is smaller than the
                // one before was the last.
                Ok(made) if made == 0 || made < most => break,
                Ok(made) => most = made,
                Err(fault) => {
                    tracing::warn!(%fault, %room, "what waits for a room cannot be made due yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
            desk.wake.notify_one();
            tokio::time::sleep(begun.elapsed()).await;
        }
        desk.wake.notify_one();
    }
}
