//! What the queue has in hand: a lane for each room, and who is in which.
//!
//! Everything here is a window on the store, bounded by the number of rooms: it may be dropped at
//! any time, and is given back. A recipient is in hand once at most. Bodies stay in memory only
//! where they will soon be sent: not before a door that is shut or that nobody has come through
//! yet, unless they are small, and never more of one room than its share. It decides nothing about
//! mail; which task goes next is decided in [`lane`](super::lane), whether the next hops can be
//! spoken with in [`door`](super::door).

use std::collections::{HashMap, HashSet};
use std::hash::RandomState;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::clock::{Dial, Reading};
use super::door::Door;
use super::lane::{Call, Choice, Crew, Line, Urgency};
use super::mood::Mood;
use super::work::{self, Place};
use crate::delivery::client::Caller;
use crate::delivery::outcome::Attempt;
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::mail::{Content, Priority, Reference, RoomId, Timestamp};
use crate::policy::table::RoutingTable;
use crate::scan::measures::Measures;
use crate::spool::store::{Portion, RecipientId, Told, Waiting};
use crate::spool::{BodyPermit, Fresh, SMALL_BODY, Spool};

/// How long the store gives out to nobody else what we took.
pub(super) const LEASE: Duration = Duration::from_secs(1800);
/// Urgent tasks of one room that came fresh and are in memory, and as many routine ones; more go to
/// the store, from which as many of either kind may come in beside them.
const LANE: usize = 300;
/// Recipients of one room taken from the store at a time, of either kind: the fewer, the more rooms
/// have a backlog, so that one look does not keep the store for long.
const PORTIONS: RangeInclusive<usize> = 12..=200;
const ALL_PORTIONS: usize = 2000;
/// The same for a room whose door is shut, and for all such rooms together.
const SHUT_PORTION: usize = 25;
const ALL_SHUT_PORTIONS: usize = 100;
/// Recipients given back to the store at a time.
const GIVEN_BACK: usize = 1000;
/// One lane's part of the memory for bodies: one in so many.
const LANE_SHARE: usize = 16;
const KIB: usize = 1024;
/// So many looks in a row at which more was due behind a shut door than its portion: more waits there
/// than can come round again in the first waits of a schedule.
const OUTPACED: u32 = 20;
/// How long no worker is added where the hop took no more connections.
const CROWDED: Duration = Duration::from_secs(5);
/// A connection on which nothing has come to an end for so long does not speak for its hop.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Proof that someone still works; the queue waits for all of them when it stops.
pub(super) type Alive = mpsc::Sender<()>;

/// What workers share.
pub(super) struct Desk {
    pub spool: Spool,
    pub table: watch::Receiver<Arc<RoutingTable>>,
    pub measures: watch::Receiver<Arc<Measures>>,
    pub caller: Caller,
    pub schedule: Schedule,
    /// The same with the longest wait after every attempt, for what is more than the pace allows.
    pub patient: Schedule,
    pub workers_per_room: usize,
    pub letterhead: Letterhead,
    pub noise: RandomState,
    pub hand: Mutex<Hand>,
    pub wake: Arc<Notify>,
    pub stop: watch::Receiver<bool>,
    pub dial: watch::Receiver<Dial>,
    /// Names this start of the relay.
    pub start: Timestamp,
    pub up_since: Instant,
    /// How often others were seen to have changed the store.
    pub foreign: AtomicU64,
}

/// How far a recipient in hand has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In a lane.
    InLine,
    /// A worker has it. What its sender was told meanwhile, beside what its row says.
    UnderWay(Told),
    /// What becomes of it is being written.
    Settling,
}

/// Whose it is when it is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No worker's: it is in hand for the look now.
    Free { is_in_line: bool },
    /// A worker's. What its sender was told meanwhile.
    UnderWay(Told),
    /// What becomes of it is being written, and says when to look again.
    Settling,
}

#[derive(Default)]
pub(super) struct Hand {
    lanes: HashMap<RoomId, Lane>,
    held: HashMap<RecipientId, Phase>,
    /// Of these, those that the store gave out once more meanwhile: it gives them to nobody until
    /// they are given back.
    leased_again: HashSet<RecipientId>,
    /// To be given back to the store.
    orphans: Vec<RecipientId>,
    /// The store is being asked what is due; whose outcome was written meanwhile may be named in
    /// its answer all the same.
    asking: bool,
    written: HashSet<RecipientId>,
    /// Lanes for which the store had a whole portion or more, when it was last asked.
    backlogs: Option<usize>,
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
        let (held, free): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|it| self.held.contains_key(&it.id));
        self.leased_again.extend(held.into_iter().map(|it| it.id));
        free
    }

    /// A worker takes these up.
    pub(super) fn take_up(&mut self, ids: impl Iterator<Item = RecipientId>) {
        self.held
            .extend(ids.map(|id| (id, Phase::UnderWay(Told::NOTHING))));
    }

    pub(super) fn put_down(&mut self, ids: impl Iterator<Item = RecipientId>) {
        self.held.extend(ids.map(|id| (id, Phase::InLine)));
    }

    /// What becomes of these is about to be made out; what their senders were told while they were
    /// under way is added to their rows.
    pub(super) fn settle(&mut self, rows: &mut [Waiting]) {
        for row in rows {
            if let Some(Phase::UnderWay(told)) = self.held.insert(row.id, Phase::Settling) {
                row.told = row.told.and(told);
            }
        }
    }

    /// What is in line comes out of it. Of what is under way both may tell the sender: who comes
    /// first leaves word of it for the other.
    pub(super) fn take_for_a_look(&mut self, id: RecipientId, room: &RoomId) -> Standing {
        let is_in_line = match self.held.get(&id) {
            None => false,
            Some(Phase::InLine) => true,
            Some(Phase::UnderWay(told)) => return Standing::UnderWay(*told),
            Some(Phase::Settling) => return Standing::Settling,
        };
        if is_in_line {
            self.take_out_of_line(id.reference, room);
        }
        self.held.insert(id, Phase::Settling);
        Standing::Free { is_in_line }
    }

    /// The sender was told of one that is under way.
    pub(super) fn tell(&mut self, id: RecipientId, also: Told) {
        if let Some(Phase::UnderWay(told)) = self.held.get_mut(&id) {
            *told = told.and(also);
        }
    }

    /// It was not, after all.
    pub(super) fn take_back_what_was_told(&mut self, id: RecipientId) {
        if let Some(Phase::UnderWay(told)) = self.held.get_mut(&id) {
            *told = Told::NOTHING;
        }
    }

    fn take_out_of_line(&mut self, reference: Reference, room: &RoomId) {
        let Some(lane) = self.lanes.get_mut(room) else {
            return;
        };
        for task in lane.take_out(reference) {
            for id in task.ids() {
                self.held.remove(&id);
                self.orphans.push(id);
            }
        }
    }

    /// The rooms whose lanes are meant.
    pub(super) fn rooms(&mut self, mut is_meant: impl FnMut(&mut Lane) -> bool) -> Vec<RoomId> {
        let lanes = self.lanes.iter_mut();
        lanes
            .filter_map(|(room, lane)| is_meant(lane).then(|| room.clone()))
            .collect()
    }

    pub(super) fn lane(&mut self, room: &RoomId) -> Option<&mut Lane> {
        self.lanes.get_mut(room)
    }

    pub(super) fn let_go(&mut self, ids: &[RecipientId], give_back: bool) {
        for id in ids {
            self.held.remove(id);
            // Whatever was written, its time is in the row: that is when it is due.
            if self.leased_again.remove(id) || give_back {
                self.orphans.push(*id);
            }
        }
        if self.asking {
            self.written.extend(ids);
        }
    }
}

/// One room's tasks in memory, those who work on them, and what is known of its next hops.
pub(super) struct Lane {
    line: Line<Task>,
    /// Of the tasks in line, those that came from the store.
    stored: Stored,
    pub crew: Crew,
    pub door: Door,
    pub mood: Mood,
    /// Counts up when the room's mail goes elsewhere: a worker belongs to the way it was taken on for.
    pub way: watch::Sender<u64>,
    /// Rings for an idle worker.
    pub bell: Arc<Notify>,
    /// The lane's part of the memory for bodies that are read from the store: a room that holds
    /// its mail for long must not take everybody's.
    share: Option<Arc<Semaphore>>,
    /// Octets of bodies in the line.
    octets: usize,
    /// The store has more for this room than there was place for.
    pub more: bool,
    /// Looks in a row at which more was due than a shut door's portion.
    pub outpaced: u32,
    /// Tasks that share the finding at the door, and whose outcome is not written yet.
    pub sharing: usize,
    /// Somebody makes due what is deferred in the room, and should do so once more.
    pub makes_due: bool,
    pub makes_due_again: bool,
    crowded_until: Option<Instant>,
    seen_alive_at: Instant,
}

#[derive(Debug, Default)]
struct Stored {
    urgent: usize,
    routine: usize,
}

impl Stored {
    const fn of(&mut self, urgency: Urgency) -> &mut usize {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Routine => &mut self.routine,
        }
    }
}

impl Lane {
    fn new(most: usize) -> Self {
        Self {
            line: Line::default(),
            stored: Stored::default(),
            crew: Crew::of_at_most(most),
            door: Door::default(),
            mood: Mood::default(),
            way: watch::Sender::new(0),
            bell: Arc::default(),
            share: None,
            octets: 0,
            more: false,
            outpaced: 0,
            sharing: 0,
            makes_due: false,
            makes_due_again: false,
            crowded_until: None,
            seen_alive_at: Instant::now(),
        }
    }

    /// Nothing is known of the next hops any more, and nobody who works for the old ones counts.
    fn turn(&mut self) {
        self.door.forget();
        self.mood = Mood::default();
        self.crew.turn();
        self.way.send_modify(|way| *way += 1);
        self.bell = Arc::default();
        self.share = None;
        self.crowded_until = None;
        self.outpaced = 0;
    }

    fn push(&mut self, task: Task) {
        let (priority, since) = (task.priority(), task.waits_since());
        self.count(&task);
        self.line.push(priority, since, task);
    }

    pub(super) fn put_back(&mut self, task: Task) {
        let (priority, since) = (task.priority(), task.waits_since());
        self.count(&task);
        self.line.put_back(priority, since, task);
    }

    fn count(&mut self, task: &Task) {
        self.octets += task.octets();
        *self.stored.of(Urgency::of(task.priority())) += usize::from(task.is_stored);
    }

    pub(super) fn pick(&mut self, choice: Choice) -> Option<(Urgency, Task)> {
        let (urgency, task) = self.line.pick(choice)?;
        self.count_out(&task);
        Some((urgency, task))
    }

    /// Takes one message out of the line.
    fn take_out(&mut self, reference: Reference) -> Vec<Task> {
        let taken = self.line.take_out(|task| task.reference == reference);
        taken.iter().for_each(|task| self.count_out(task));
        taken
    }

    fn count_out(&mut self, task: &Task) {
        self.octets = self.octets.saturating_sub(task.octets());
        let stored = self.stored.of(Urgency::of(task.priority()));
        *stored = stored.saturating_sub(usize::from(task.is_stored));
    }

    fn drain(&mut self) -> impl Iterator<Item = Task> + use<> {
        self.octets = 0;
        self.stored = Stored::default();
        self.line.drain()
    }

    /// What came fresh never takes the place of what comes from the store, nor the other way round.
    fn has_place_for(&mut self, task: &Task) -> bool {
        let urgency = Urgency::of(task.priority());
        let stored = *self.stored.of(urgency);
        let same = match task.is_stored {
            true => stored,
            false => self.line.len(urgency).saturating_sub(stored),
        };
        same < LANE
    }

    /// Whether a body of so many octets is worth its memory while its task waits.
    fn has_room_for(&self, octets: usize, share: usize) -> bool {
        let soon = self.door.is_proven() || (!self.door.is_shut() && octets <= SMALL_BODY);
        soon && self.octets + octets <= share
    }

    /// The hop takes no more connections for now.
    pub(super) fn take_no_more_workers(&mut self) {
        self.crowded_until = Some(Instant::now() + CROWDED);
    }

    /// Something came to a good end.
    pub(super) fn is_alive(&mut self) {
        self.seen_alive_at = Instant::now();
    }

    /// Somebody is being spoken with, and not in vain.
    pub(super) fn speaks(&self) -> bool {
        self.crew.connected > 0 && self.seen_alive_at.elapsed() < SIGN_OF_LIFE
    }

    /// While nobody was spoken with, one worker goes alone. So does one more, after a while, where the
    /// hop took no more connections.
    fn may_hire(&self) -> bool {
        let alone = self.crew.workers == 0;
        let more = match self.crowded_until {
            None => true,
            Some(end) => end <= Instant::now() && self.crew.workers <= self.crew.connected,
        };
        alone || self.door.is_shut() || (self.door.is_proven() && more)
    }

    /// How much to take from the store for this room now, where `usual` is taken for others and
    /// `paced` for those with a shut door.
    fn portion(&self, usual: usize, paced: usize) -> Portion {
        let place = |urgency, stored| match self.door.is_shut() {
            true => paced.saturating_sub(self.line.len(urgency)),
            false if LANE - PORTIONS.end() < stored => 0,
            false => usual,
        };
        Portion {
            urgent: place(Urgency::Urgent, self.stored.urgent),
            routine: place(Urgency::Routine, self.stored.routine),
        }
    }

    /// Notes whether all of a shut door's portion was due.
    fn note_pace(&mut self, portion: Portion, urgent: usize, routine: usize) {
        let is_full = |due, most| most > 0 && due == most;
        if !self.door.is_shut() {
            self.outpaced = 0;
        } else if is_full(urgent, portion.urgent) || is_full(routine, portion.routine) {
            self.outpaced = self.outpaced.saturating_add(1);
        } else if portion.urgent > 0 && portion.routine > 0 {
            self.outpaced = 0;
        }
    }

    /// More waits behind the door than comes round again soon.
    pub(super) const fn is_outpaced(&self) -> bool {
        self.outpaced >= OUTPACED
    }
}

/// Recipients of one message in one room, and the bytes if they are still in memory.
pub(super) struct Task {
    pub room: RoomId,
    pub reference: Reference,
    pub recipients: Vec<Waiting>,
    pub body: Option<Body>,
    /// It came from the store.
    pub is_stored: bool,
    /// Both clocks when, at the latest, the recipients were read.
    pub since: Reading,
}

pub(super) struct Body {
    pub content: Content,
    /// It came in memory just now: nobody can have tried it before.
    pub is_fresh: bool,
    pub _permit: Arc<BodyPermit>,
    pub _share: Option<OwnedSemaphorePermit>,
}

impl Body {
    /// As much of a message as a report quotes: too little to count.
    pub(super) fn quoted(content: Content) -> Self {
        Self {
            content,
            is_fresh: false,
            _permit: Arc::default(),
            _share: None,
        }
    }
}

impl Task {
    pub(super) fn ids(&self) -> impl Iterator<Item = RecipientId> {
        self.recipients.iter().map(|it| it.id)
    }

    /// All recipients of a message have the message's.
    pub(super) fn priority(&self) -> Priority {
        let first = self.recipients.first();
        first.map_or(Priority::ROUTINE, |it| it.terms.priority)
    }

    pub(super) fn waits_since(&self) -> Timestamp {
        let first = self.recipients.first();
        first.map_or_else(Timestamp::default, |it| it.waits_since)
    }

    pub(super) fn octets(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.content.len())
    }
}

impl Desk {
    pub(super) fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mail of these rooms goes elsewhere now: nothing is known of their next hops, and nothing
    /// has to wait for the old ones.
    pub(super) fn turn(self: &Arc<Self>, rooms: &[RoomId], alive: &Alive) {
        for room in rooms {
            let hand = &mut *self.hand();
            if let Some(lane) = hand.lane(room) {
                lane.turn();
                self.staff(lane, room, alive);
                self.make_room_due(lane, room, alive);
            }
        }
    }

    /// Whether the mail of a room goes elsewhere since `way`.
    pub(super) fn has_turned(&self, room: &RoomId, way: u64) -> bool {
        self.hand()
            .lane(room)
            .is_some_and(|it| *it.way.borrow() != way)
    }

    /// What waits in line is worked on again where that has rested for a while.
    pub(super) fn look_at_lanes(self: &Arc<Self>, alive: &Alive) {
        for (room, lane) in &mut self.hand().lanes {
            self.staff(lane, room, alive);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) fn take_fresh(self: &Arc<Self>, fresh: Fresh, alive: &Alive) {
        let permit = Arc::new(fresh.permit);
        let mut waiting = fresh.waiting;
        {
            let hand = self.hand();
            waiting.retain(|it| !hand.held.contains_key(&it.id));
        }
        for mut task in into_tasks(waiting, Reading::now(), false) {
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

    /// Takes what is due from the store. Rooms with a shut door have their small portion only at a
    /// `look`, so that a million waiting for dead rooms cost the store little. `since`: the clocks, by
    /// which the times in the store are right.
    pub(super) async fn take_due(self: &Arc<Self>, look: bool, since: Reading, alive: &Alive) {
        self.give_back_orphans().await;
        let now = Timestamp::now();
        let (usual, other) = self.portions(look);
        self.hand().ask();
        let store = self.spool.store();
        let leased_until = now.after(LEASE);
        let taken = store.take_due(now, leased_until, usual, other.clone());
        let due = match taken.await {
            Ok(due) => due,
            Err(fault) => return tracing::warn!(%fault, "the store cannot say what is due"),
        };
        self.note_rooms_with_more(&due, usual, &other, look);
        let free = self.hand().sort_out(due);
        for task in into_tasks(free, since, true) {
            self.enqueue(task, alive);
        }
    }

    /// The usual portion, and the rooms that get another.
    fn portions(&self, look: bool) -> (Portion, HashMap<RoomId, Portion>) {
        let hand = self.hand();
        let (least, most) = (*PORTIONS.start(), *PORTIONS.end());
        let backlogs = hand.backlogs.unwrap_or(ALL_PORTIONS).max(1);
        let most = (ALL_PORTIONS / backlogs).clamp(least, most);
        let usual = Portion {
            urgent: most,
            routine: most,
        };
        let shut = hand.lanes.values().filter(|lane| lane.door.is_shut());
        let each = ALL_SHUT_PORTIONS / shut.count().max(1);
        let paced = if look { each.clamp(1, SHUT_PORTION) } else { 0 };
        let other = hand.lanes.iter();
        let other = other
            .map(|(room, lane)| (room, lane, lane.portion(most, paced)))
            .filter(|(_, lane, portion)| lane.door.is_shut() || *portion != usual)
            .map(|(room, _, portion)| (room.clone(), portion));
        (usual, other.collect())
    }

    fn note_rooms_with_more(
        &self,
        due: &[Waiting],
        usual: Portion,
        other: &HashMap<RoomId, Portion>,
        look: bool,
    ) {
        let mut counts: HashMap<&RoomId, (usize, usize)> = HashMap::new();
        for waiting in due {
            let (urgent, routine) = counts.entry(&waiting.room).or_default();
            match Urgency::of(waiting.terms.priority) {
                Urgency::Urgent => *urgent += 1,
                Urgency::Routine => *routine += 1,
            }
        }
        let hand = &mut *self.hand();
        if look {
            for (room, portion) in other {
                let (urgent, routine) = counts.get(room).copied().unwrap_or_default();
                if let Some(lane) = hand.lane(room) {
                    lane.note_pace(*portion, urgent, routine);
                }
            }
        }
        counts.retain(|_, (urgent, routine)| *urgent == usual.urgent || *routine == usual.routine);
        hand.backlogs = Some(counts.len());
        for room in counts.into_keys() {
            self.lane_of(hand, room).more = true;
        }
    }

    fn lane_of<'a>(&self, hand: &'a mut Hand, room: &RoomId) -> &'a mut Lane {
        hand.lanes
            .entry(room.clone())
            .or_insert_with(|| Lane::new(self.workers_per_room))
    }

    /// Puts a task into its room's lane, and a worker on it if the room may have one more.
    fn enqueue(self: &Arc<Self>, mut task: Task, alive: &Alive) {
        let room = task.room.clone();
        let hand = &mut *self.hand();
        let lane = self.lane_of(hand, &room);
        if !lane.has_place_for(&task) {
            // Goes back to the store, and comes again when there is place.
            lane.more = true;
            hand.orphans.extend(task.ids());
            return;
        }
        if !lane.has_room_for(task.octets(), self.spool.memory() / LANE_SHARE) {
            task.body = None;
        }
        let ids: Vec<RecipientId> = task.ids().collect();
        lane.push(task);
        self.staff(lane, &room, alive);
        hand.put_down(ids.into_iter());
    }

    /// Sees to it that the tasks in line are worked on.
    pub(super) fn staff(self: &Arc<Self>, lane: &mut Lane, room: &RoomId, alive: &Alive) {
        while !lane.door.is_awaited() && !self.is_stopping() {
            match lane.crew.call(&lane.line) {
                Call::Another if lane.may_hire() => {
                    let place = Place::new(self, room, lane, alive);
                    tokio::spawn(work::work(place, None));
                }
                Call::Idle => return lane.bell.notify_one(),
                Call::Another | Call::Nobody => return,
            }
        }
    }

    /// What a finding was shared with, where the outcome is not written yet.
    pub(super) fn shares(&self, room: &RoomId) -> bool {
        self.hand().lane(room).is_some_and(|lane| lane.sharing > 0)
    }

    /// An operator changed something: what only waits in memory is read anew from the store, and
    /// shut doors are knocked at.
    pub(super) async fn start_over(&self) {
        self.foreign.fetch_add(1, Ordering::Relaxed);
        for lane in self.hand().lanes.values_mut() {
            lane.door.prompt();
        }
        self.give_back_what_waits().await;
        self.wake.notify_one();
    }

    pub(super) async fn give_back_what_waits(&self) {
        {
            let hand = &mut *self.hand();
            for lane in hand.lanes.values_mut() {
                for task in lane.drain() {
                    hand.orphans.extend(task.ids());
                }
            }
            for id in &hand.orphans {
                hand.held.remove(id);
                hand.leased_again.remove(id);
            }
        }
        self.give_back_orphans().await;
    }

    async fn give_back_orphans(&self) {
        let orphans = std::mem::take(&mut self.hand().orphans);
        let mut portions = orphans.chunks(GIVEN_BACK);
        while let Some(portion) = portions.next() {
            if let Err(fault) = self.spool.store().give_back(portion.to_vec()).await {
                tracing::warn!(%fault, "leases cannot be given back yet");
                let hand = &mut *self.hand();
                hand.orphans.extend(portion);
                hand.orphans.extend(portions.flatten());
                return;
            }
        }
    }

    /// Waits for the room's own part of the memory; one message always has a place, and small ones
    /// need none.
    pub(super) async fn share(&self, room: &RoomId, octets: usize) -> Option<OwnedSemaphorePermit> {
        if octets <= SMALL_BODY {
            return None;
        }
        let whole = (self.spool.memory() / LANE_SHARE / KIB).max(1);
        let share = {
            let hand = &mut *self.hand();
            let share = &mut hand.lane(room)?.share;
            Arc::clone(share.get_or_insert_with(|| Arc::new(Semaphore::new(whole))))
        };
        let pieces = u32::try_from(octets.div_ceil(KIB).clamp(1, whole)).unwrap_or(u32::MAX);
        share.acquire_many_owned(pieces).await.ok()
    }
}

/// What was found at a room's door by one who came to it without a connection.
pub(super) enum Found {
    /// Nobody can be spoken with: this answers for the task.
    Shut(Arc<Attempt>),
    /// Others are being spoken with: the hop takes no more connections just now.
    Crowded,
    /// What is known has changed meanwhile.
    Outdated,
}

/// Recipients of one message that share a room become one task.
fn into_tasks(waiting: Vec<Waiting>, since: Reading, is_stored: bool) -> Vec<Task> {
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
                    is_stored,
                    since,
                });
            }
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::event::State;
    use crate::mail::{Address, Terms, Wishes};
    use crate::spool::store::{OfLate, Told};

    fn waiting(number: u64) -> Waiting {
        let now = Timestamp::from_millis(0);
        Waiting {
            id: id(number),
            recipient: Address::parse("vakt@b.nodnett.test").unwrap(),
            room: RoomId::new("b"),
            state: State::Queued,
            attempts: 0,
            accepted_at: now,
            waits_since: now,
            next_attempt_at: now,
            last_reply: None,
            told: Told::default(),
            is_doubtful: false,
            is_ours: false,
            awaits_scan: false,
            waiver: None,
            of_late: OfLate::default(),
            wishes: Wishes::default(),
            terms: Terms::default(),
            sender: None,
            sender_room: None,
            smtputf8: false,
            eight_bit: false,
            size: 0,
            subject: None,
            message_id: None,
        }
    }

    const fn id(number: u64) -> RecipientId {
        RecipientId {
            reference: Reference::from_number(number),
            number: 0,
        }
    }

    fn sorted_out(hand: &mut Hand, due: &[u64]) -> Vec<RecipientId> {
        let due = due.iter().map(|it| waiting(*it)).collect();
        let free = hand.sort_out(due).into_iter();
        free.map(|it| it.id).collect()
    }

    #[test]
    fn what_the_store_gives_out_while_it_is_in_hand_goes_back_when_it_is_let_go() {
        for is_given_back in [true, false] {
            let mut hand = Hand::default();
            hand.put_down([id(1), id(2)].into_iter());
            hand.ask();
            assert_eq!(sorted_out(&mut hand, &[1, 3]), [id(3)]);
            assert!(hand.orphans.is_empty());
            hand.let_go(&[id(1)], is_given_back);
            assert_eq!(hand.orphans, [id(1)]);
            hand.let_go(&[id(2)], false);
            assert_eq!(hand.orphans, [id(1)]);
        }
    }

    #[test]
    fn what_was_written_while_the_store_was_asked_goes_back() {
        let mut hand = Hand::default();
        hand.put_down([id(1)].into_iter());
        hand.ask();
        hand.let_go(&[id(1)], false);
        assert!(sorted_out(&mut hand, &[1]).is_empty());
        assert_eq!(hand.orphans, [id(1)]);
        hand.ask();
        assert_eq!(sorted_out(&mut hand, &[1]), [id(1)]);
    }

    fn task(number: u64, is_stored: bool) -> Task {
        let tasks = into_tasks(vec![waiting(number)], Reading::now(), is_stored);
        tasks.into_iter().next().unwrap()
    }

    #[test]
    fn what_comes_fresh_leaves_the_store_its_place() {
        let mut lane = Lane::new(1);
        let (usual, numbers) = (*PORTIONS.end(), 1..);
        for number in numbers.take(LANE) {
            assert!(lane.has_place_for(&task(number, false)));
            lane.push(task(number, false));
        }
        assert!(!lane.has_place_for(&task(0, false)));
        assert!(lane.has_place_for(&task(0, true)));
        assert_eq!(lane.portion(usual, 0).routine, usual);
        for number in 1000..1000 + LANE as u64 {
            lane.push(task(number, true));
        }
        assert_eq!(lane.portion(usual, 0).routine, 0);
        while let Some((_, task)) = lane.pick(Choice::Any) {
            if task.reference.number() == 1000 + usual as u64 {
                lane.put_back(task);
                break;
            }
        }
        assert_eq!(lane.portion(usual, 0).routine, usual);
        assert_eq!(lane.drain().count(), LANE - usual);
    }

    #[test]
    fn a_crowded_lane_hires_one_at_a_time_after_a_while() {
        let mut lane = Lane::new(5);
        lane.door.open();
        lane.crew.workers = 2;
        lane.crew.connected = 1;
        assert!(lane.may_hire());
        lane.take_no_more_workers();
        assert!(!lane.may_hire());
        lane.crowded_until = Some(Instant::now());
        assert!(!lane.may_hire(), "one is on its way");
        lane.crew.connected = 2;
        assert!(lane.may_hire());
    }

    #[test]
    fn a_door_is_outpaced_when_more_is_due_for_a_while() {
        let pace = |urgent, routine| Portion { urgent, routine };
        let mut lane = Lane::new(1);
        let nobody = super::work::deferral("nobody");
        lane.door.shut(0, Arc::new(nobody));
        for _ in 1..OUTPACED {
            lane.note_pace(pace(25, 25), 0, 25);
        }
        lane.note_pace(pace(25, 0), 0, 0);
        assert!(!lane.is_outpaced());
        lane.note_pace(pace(25, 20), 3, 20);
        assert!(lane.is_outpaced());
        lane.note_pace(pace(25, 25), 24, 24);
        assert!(!lane.is_outpaced());
    }
}
