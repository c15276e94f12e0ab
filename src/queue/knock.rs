//! One knocker at each shut door, and what follows when it opens.
//!
//! It tries the room's next hops, wherever they are at that moment, at growing intervals and at
//! once when prompted. When somebody answers, the connection goes to a worker, and all that is
//! deferred in the room is made due. It never tries a message. A knocker that dies leaves the door
//! as one that nobody has tried.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::desk::{Alive, Desk};
use super::door::pause;
use super::work::{self, Place, deferral, unless_it_panics};
use super::{WRITE_AGAIN, stopped};
use crate::delivery::outcome::Attempt;
use crate::delivery::{self, Kept};
use crate::mail::{RoomId, Timestamp};
use crate::policy::decide;

/// A prompt ends a knock that has gone on for this long; a younger one is waited for.
const OWN_TIME: Duration = Duration::from_secs(1);
/// How often to look whether all that shared a finding is written.
const LOOK: Duration = Duration::from_millis(20);

/// At the door of a room, as long as it is shut as it was at `turn`.
pub(super) struct Knocker {
    pub desk: Arc<Desk>,
    pub room: RoomId,
    pub turn: u64,
    pub bell: Arc<Notify>,
    pub alive: Alive,
}

impl Drop for Knocker {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        if let Some(lane) = hand.lane(&self.room)
            && lane.door.prompts(self.turn).is_some()
        {
            lane.door.forget();
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
        for knocks in 0.. {
            let noise = self.desk.noise.hash_one((&self.room, knocks, self.turn));
            tokio::select! {
                () = tokio::time::sleep(pause(knocks, noise)) => {}
                () = self.bell.notified() => {}
            }
            while let Some(prompts) = self.prompts() {
                match self.knock(&mut kept).await {
                    Some(Ok(())) => return self.opened(kept),
                    Some(Err(finding)) => {
                        self.not_opened(finding, prompts);
                        break;
                    }
                    // Prompted again.
                    None => {}
                }
            }
            if self.prompts().is_none() {
                return;
            }
        }
    }

    fn prompts(&self) -> Option<u64> {
        self.desk
            .hand()
            .lane(&self.room)
            .and_then(|lane| lane.door.prompts(self.turn))
    }

    /// `None`: cut short by a prompt, to begin anew.
    async fn knock(&self, kept: &mut Option<Kept>) -> Option<Result<(), Attempt>> {
        let table = Arc::clone(&self.desk.table.borrow());
        let Some(route) = decide::route(&self.room, &table, Timestamp::now()) else {
            let reason = format!("room {} is no longer in the routing table", self.room);
            return Some(Err(deferral(&reason)));
        };
        let begun = Instant::now();
        let knock = delivery::knock(&route.next_hops, kept, &self.desk.caller);
        let prompted = async {
            self.bell.notified().await;
            tokio::time::sleep_until(begun + OWN_TIME).await;
        };
        tokio::select! {
            biased;
            outcome = unless_it_panics(knock) => {
                Some(outcome.unwrap_or_else(|| Err(deferral("the attempt broke down: our fault"))))
            }
            () = prompted => None,
        }
    }

    fn not_opened(&self, finding: Attempt, prompts: u64) {
        let hand = &mut *self.desk.hand();
        if let Some(lane) = hand.lane(&self.room) {
            lane.door.still_shut(self.turn, Arc::new(finding), prompts);
            self.desk.staff(lane, &self.room, &self.alive);
        }
    }

    /// The connection is used for the first message, and everything that waits comes after it.
    fn opened(&self, kept: Option<Kept>) {
        tracing::info!(room = %self.room, "its next hop is back");
        let hand = &mut *self.desk.hand();
        let Some(lane) = hand.lane(&self.room) else {
            return;
        };
        lane.door.open();
        if kept.is_some() {
            let place = Place::new(&self.desk, &self.room, lane, &self.alive);
            tokio::spawn(work::work(place, kept));
        }
        self.desk.staff(lane, &self.room, &self.alive);
        self.desk.make_room_due(&self.room, &self.alive);
    }
}

impl Desk {
    /// What is deferred in a room is due now, the most urgent first, a portion at a time.
    pub(super) fn make_room_due(self: &Arc<Self>, room: &RoomId, alive: &Alive) {
        let (desk, room, alive) = (Arc::clone(self), room.clone(), alive.clone());
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            let _alive = alive;
            tokio::select! {
                () = desk.make_deferred_due(&room) => {}
                () = stopped(&mut stop) => {}
            }
        });
    }

    async fn make_deferred_due(&self, room: &RoomId) {
        while self.shares(room) {
            tokio::time::sleep(LOOK).await;
        }
        let now = Timestamp::now();
        let mut most = 0;
        loop {
            match self.spool.store().make_room_due(room.clone(), now).await {
                // What is deferred anew meanwhile is left alone: a portion that is smaller than the
                // one before was the last.
                Ok(made) if made == 0 || made < most => break,
                Ok(made) => most = made,
                Err(fault) => {
                    tracing::warn!(%fault, %room, "what waits for a room cannot be made due yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
            self.wake.notify_one();
        }
        self.wake.notify_one();
    }
}
