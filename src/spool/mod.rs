//! The only memory: what is accepted is kept here, and every change of it goes through here.
//!
//! [`Spool`] is what the program uses; [`store::Store`] is what a database implements. The spool
//! hands a freshly kept message to the queue in memory, wakes it for what is only in the store,
//! bounds the memory that bodies take, marks what a client sent twice, sums up floods of refusals before
//! they are written, and writes of the workstations that were met only what is new. It decides nothing about mail, and it never says that something was kept before the store said so:
//! a [`Receipt`] has no other maker.

mod duplicates;
mod findable;
mod refusals;
pub mod revision;
mod sightings;
pub mod sqlite;
pub mod store;
mod unnamed;

use std::cmp::Reverse;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::lifecycle::{self, Keeping};
use crate::mail::{
    Address, Content, Details, Event, EventKind, Received, Reference, References, Refusal, RoomId,
    Sighting, State, Timestamp,
};
use duplicates::{Duplicates, Key, Seen};
use refusals::Refusals;
use sightings::Sightings;
use store::{
    Applied, Change, LogRow, NewMessage, Recent, RecipientId, Store, StoreError, Told, Waiting,
};

/// A message just kept, with its bytes still in memory.
#[derive(Debug)]
pub struct Fresh {
    pub waiting: Vec<Waiting>,
    pub content: Content,
    pub permit: BodyPermit,
}

/// The proof of a commit. A 250 can be made from nothing else.
#[derive(Debug)]
pub struct Receipt {
    reference: Reference,
}

impl Receipt {
    pub const fn reference(&self) -> Reference {
        self.reference
    }
}

/// A share of the memory set aside for bodies; given back when dropped.
#[derive(Debug, Default)]
pub struct BodyPermit {
    permit: Option<OwnedSemaphorePermit>,
    /// Of the part for small ones.
    small: Option<OwnedSemaphorePermit>,
    /// The right to come to an end past all memory: one message has it at a time.
    ending: Option<OwnedSemaphorePermit>,
}

impl BodyPermit {
    /// Nothing is held.
    const fn is_empty(&self) -> bool {
        self.permit.is_none() && self.small.is_none()
    }

    pub fn merge(&mut self, other: Self) {
        merge(&mut self.permit, other.permit);
        merge(&mut self.small, other.small);
        merge(&mut self.ending, other.ending);
    }
}

fn merge(mine: &mut Option<OwnedSemaphorePermit>, theirs: Option<OwnedSemaphorePermit>) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.merge(theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
}

/// Memory is counted in pieces of this many octets.
const PIECE: usize = 1024;
/// A body up to this size is small.
pub const SMALL_BODY: usize = 256 * 1024;
/// Beside the memory for bodies there is a little more for small ones alone, so that they find
/// their way past large ones: one part in so many.
const SMALL_PART: usize = 16;
/// How long the queue may hold a fresh message in memory before the store gives it out again.
const LEASE: Duration = Duration::from_secs(1800);
/// Refusals, and attachments of theirs, written in one go, so that mail is not held up by them.
const PORTION: usize = 200;
/// How long refusals and sightings are gathered before they are written: well within a second.
const GATHER: Duration = Duration::from_millis(250);
/// How long a store that took no sightings is left alone with them.
const LEAVE_ALONE: Duration = Duration::from_secs(10);

/// As many recipients of late as are looked for after a start, in these states, those first that
/// leave little to look through. A start waits for them no longer than this.
const RECENT: usize = 10_000;
const RECENT_STATES: [State; 4] = [
    State::Queued,
    State::Deferred,
    State::Delivered,
    State::Failed,
];
const RECALL: Duration = Duration::from_millis(250);
/// A message has its reference from MAIL on, rarely so long before it is accepted.
const TRANSACTION: Duration = Duration::from_secs(300);

/// The spool. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    references: References,
    noise: RandomState,
    memory: Arc<Semaphore>,
    small: Arc<Semaphore>,
    /// Of one: see [`Spool::reserve_more`].
    ending: Arc<Semaphore>,
    pieces: usize,
    fresh: mpsc::Sender<Fresh>,
    wake: Arc<Notify>,
    refusals: Mutex<Refusals>,
    refused: Notify,
    sightings: Mutex<Sightings>,
    seen: Notify,
    duplicates: Mutex<Duplicates>,
    /// In milliseconds.
    first_word: AtomicU64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}

/// What the queue holds of the spool's: fresh messages, and a bell for those only in the store.
#[derive(Debug)]
pub struct Feed {
    pub fresh: mpsc::Receiver<Fresh>,
    pub wake: Arc<Notify>,
}

impl Spool {
    /// `last`: the greatest reference in use. `memory`: octets for bodies. `window`: fresh messages
    /// that may wait for the queue in memory.
    pub fn new(
        store: Arc<dyn Store>,
        last: Option<Reference>,
        memory: usize,
        window: usize,
    ) -> (Self, Feed) {
        let (sender, fresh) = mpsc::channel(window.max(1));
        let wake = Arc::new(Notify::new());
        let pieces = (memory / PIECE).clamp(1, Semaphore::MAX_PERMITS);
        let shared = Shared {
            store,
            references: References::after(last),
            noise: RandomState::new(),
            memory: Arc::new(Semaphore::new(pieces)),
            small: Arc::new(Semaphore::new(pieces / SMALL_PART)),
            ending: Arc::new(Semaphore::new(1)),
            pieces,
            fresh: sender,
            wake: Arc::clone(&wake),
            refusals: Mutex::default(),
            refused: Notify::new(),
            sightings: Mutex::default(),
            seen: Notify::new(),
            duplicates: Mutex::new(Duplicates::new(RandomState::new())),
            first_word: AtomicU64::new(0),
        };
        (
            Self {
                shared: Arc::new(shared),
            },
            Feed { fresh, wake },
        )
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    pub fn next_reference(&self) -> Reference {
        let now = Timestamp::now();
        // The upper half: hashing mixes it best.
        let noise = self.shared.noise.hash_one(now) >> 32;
        self.shared.references.next(now, noise as u32)
    }

    /// Memory for `octets` of a body, waiting at most `wait` for others to give theirs back.
    pub async fn reserve(&self, octets: usize, wait: Duration) -> Option<BodyPermit> {
        // What is larger than all there is may have all there is.
        let pieces = octets.div_ceil(PIECE).min(self.shared.pieces);
        let pieces = u32::try_from(pieces).ok()?;
        let (memory, small) = (&self.shared.memory, &self.shared.small);
        let is_small = octets <= SMALL_BODY.min(self.shared.pieces / SMALL_PART * PIECE);
        if let Some(permit) = self.free(octets) {
            return Some(permit);
        }
        let either = async {
            tokio::select! {
                biased;
                permit = Arc::clone(small).acquire_many_owned(pieces), if is_small => BodyPermit {
                    small: permit.ok(),
                    ..BodyPermit::default()
                },
                permit = Arc::clone(memory).acquire_many_owned(pieces) => BodyPermit {
                    permit: permit.ok(),
                    ..BodyPermit::default()
                },
            }
        };
        tokio::time::timeout(wait, either).await.ok()
    }

    /// Memory that nobody has.
    fn free(&self, octets: usize) -> Option<BodyPermit> {
        let pieces = octets.div_ceil(PIECE).min(self.shared.pieces);
        let memory = Arc::clone(&self.shared.memory);
        let permit = memory.try_acquire_many_owned(u32::try_from(pieces).ok()?);
        permit.ok().map(|permit| BodyPermit {
            permit: Some(permit),
            ..BodyPermit::default()
        })
    }

    /// Memory for `octets` more of a body on its way in, likewise. Where many hold a part of all there
    /// is and wait for more, nobody would come to an end: one of them goes on past it, to its own.
    pub async fn reserve_more(&self, held: &mut BodyPermit, octets: usize, wait: Duration) -> bool {
        if held.ending.is_some() {
            return true;
        }
        let more = match self.free(octets) {
            None => tokio::select! {
                biased;
                ending = Arc::clone(&self.shared.ending).acquire_owned(), if !held.is_empty() => {
                    Some(BodyPermit { ending: ending.ok(), ..BodyPermit::default() })
                }
                more = self.reserve(octets, wait) => more,
            },
            more => more,
        };
        let is_granted = more.is_some();
        held.merge(more.unwrap_or_default());
        is_granted
    }

    /// How soon any sender may be told anything of its message, from here on.
    pub fn say_nothing_before(&self, first_word: Duration) {
        let millis = u64::try_from(first_word.as_millis()).unwrap_or(u64::MAX);
        self.shared.first_word.store(millis, Ordering::Relaxed);
    }

    fn first_word(&self) -> Duration {
        Duration::from_millis(self.shared.first_word.load(Ordering::Relaxed))
    }

    /// Octets set aside for bodies.
    pub fn memory(&self) -> usize {
        self.shared.pieces * PIECE
    }

    /// Keeps a message. `Ok` means that it is on stable storage.
    pub async fn accept(
        &self,
        received: Received,
        keeping: &Keeping,
        permit: BodyPermit,
    ) -> Result<Receipt, StoreError> {
        // What came past all memory is not kept in it.
        let is_ready = keeping.state.is_none() && permit.ending.is_none();
        let place = is_ready.then(|| self.place_in_memory()).flatten();
        let lease = if place.is_some() {
            LEASE
        } else {
            Duration::ZERO
        };
        let leased_until = received.envelope.received_at.after(lease);
        let mut message = lifecycle::accepted(&received, keeping, leased_until, self.first_word());
        let remembered = self.remember(&mut message);
        let waiting = place.as_ref().map(|_| waiting(&message));
        let content = message.content.clone();
        let kept = self.shared.store.accept(message).await;
        if let Err(fault) = kept {
            self.forget(received.envelope.reference, remembered);
            return Err(fault);
        }
        match (place, waiting) {
            (Some(place), Some(waiting)) => {
                drop(place.send(Fresh {
                    waiting,
                    content,
                    permit,
                }));
            }
            _ => self.shared.wake.notify_one(),
        }
        Ok(Receipt {
            reference: received.envelope.reference,
        })
    }

    /// Marks the recipients for whom the same Message-ID came a while ago. Gives what to forget, should
    /// the message not be kept.
    fn remember(&self, message: &mut NewMessage) -> Vec<(Key, Option<Seen>)> {
        let Some(message_id) = &message.facts.message_id else {
            return Vec::new();
        };
        let (reference, at) = (message.reference, message.accepted_at);
        let room = message.sender_room.as_ref();
        let mut window = self.duplicates();
        let mut remembered = Vec::with_capacity(message.recipients.len());
        for recipient in &message.recipients {
            let key = window.key(room, message_id, &recipient.address);
            let earlier = window.add(key, Seen { reference, at });
            let event = earlier.map(|it| duplicate(reference, at, recipient, it));
            message.events.extend(event);
            remembered.push((key, earlier));
        }
        remembered
    }

    fn forget(&self, reference: Reference, remembered: Vec<(Key, Option<Seen>)>) {
        let mut window = self.duplicates();
        for (key, earlier) in remembered {
            window.take_back(key, reference, earlier);
        }
    }

    /// Learns from the store what was accepted of late: a crash is when clients send again. Whoever
    /// starts waits for it a moment, and no longer: it goes on meanwhile, and without it nothing but
    /// marks in the log is missing.
    pub async fn remember_recent(&self) {
        let spool = self.clone();
        let recalling = tokio::spawn(async move { spool.recall().await });
        drop(tokio::time::timeout(RECALL, recalling).await);
    }

    async fn recall(&self) {
        let rows = match self.recent().await {
            Ok(rows) => rows,
            Err(fault) => {
                return tracing::warn!(%fault, "what is sent again goes unmarked for a while");
            }
        };
        let mut window = self.duplicates();
        // Without a client it is a report of our own.
        for row in rows.iter().filter(|it| !it.client.is_empty()) {
            let recipient = row.recipient.as_deref().map(Address::parse);
            if let (Some(id), Some(Ok(recipient))) = (&row.message_id, recipient) {
                let room = row.sender_room.as_deref().map(RoomId::new);
                let key = window.key(room.as_ref(), id, &recipient);
                let (reference, at) = (row.reference, row.at);
                window.add_older(key, Seen { reference, at });
            }
        }
    }

    /// Recipients accepted of late, newest first. State by state, so that no refusal is looked at.
    async fn recent(&self) -> Result<Vec<LogRow>, StoreError> {
        let since = Timestamp::now().before(duplicates::WINDOW);
        let mut first = Reference::first_at(since.before(TRANSACTION));
        let mut rows = Vec::new();
        for state in RECENT_STATES {
            let recent = Recent {
                state,
                since,
                not_below: first,
                limit: RECENT,
            };
            rows.extend(self.shared.store.recent(recent).await?);
            rows.sort_by_key(|row| Reverse(row.reference));
            if let Some(last) = rows.get(RECENT - 1) {
                first = last.reference;
                rows.truncate(RECENT);
            }
        }
        Ok(rows)
    }

    fn duplicates(&self) -> MutexGuard<'_, Duplicates> {
        self.shared
            .duplicates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the queue's window, unless it is full or memory is short: then the message is
    /// read from the store when its turn comes.
    fn place_in_memory(&self) -> Option<mpsc::OwnedPermit<Fresh>> {
        if self.shared.memory.available_permits() < self.shared.pieces / 2 {
            return None;
        }
        self.shared.fresh.clone().try_reserve_owned().ok()
    }

    /// Notes a refusal in the log. Never waits, and never gets ahead of mail.
    pub fn note(&self, refusal: Refusal) {
        self.refusals().add(refusal);
        self.shared.refused.notify_one();
    }

    /// Writes refusals as they come, for as long as the relay lives.
    pub async fn write_refusals(self) {
        loop {
            self.shared.refused.notified().await;
            tokio::time::sleep(GATHER).await;
            self.flush_refusals().await;
        }
    }

    /// Writes the refusals gathered so far; those that cannot be written now are kept.
    pub async fn flush_refusals(&self) {
        let rows = self.refusals().take();
        for portion in refusals::portions(&rows, PORTION) {
            if let Err(fault) = self.shared.store.note(portion.to_vec()).await {
                tracing::warn!(%fault, rows = portion.len(), "refusals wait to be written to the log");
                self.refusals().put_back(portion.to_vec());
                self.shared.refused.notify_one();
            }
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.shared
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a workstation was met. Never waits, and never gets ahead of mail; what a crash
    /// takes is made good by the next message.
    pub fn saw(&self, sighting: Sighting) {
        if self.sightings().add(sighting) {
            self.shared.seen.notify_one();
        }
    }

    /// Writes sightings as they come, for as long as the relay lives.
    pub async fn write_sightings(self) {
        loop {
            self.shared.seen.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(fault) = self.flush_sightings().await {
                tracing::warn!(%fault, "which workstations were seen is not remembered for now");
                tokio::time::sleep(LEAVE_ALONE).await;
            }
        }
    }

    /// Writes the sightings gathered so far; those that cannot be written now come again with mail.
    pub async fn flush_sightings(&self) -> Result<(), StoreError> {
        let rows = self.sightings().take();
        for portion in rows.chunks(PORTION) {
            self.shared.store.saw(portion.to_vec()).await?;
            self.sightings().written(portion);
        }
        Ok(())
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.shared
            .sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Something in the store may be due.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Makes a change, whole and durably. Reports that it wrote wake the queue.
    pub async fn apply(&self, change: Arc<Change>) -> Result<Applied, StoreError> {
        let reports = !change.messages.is_empty();
        let applied = self.shared.store.apply(change).await?;
        if reports {
            self.shared.wake.notify_one();
        }
        Ok(applied)
    }
}

/// For a recipient for whom the same Message-ID came before.
fn duplicate(
    reference: Reference,
    at: Timestamp,
    recipient: &store::NewRecipient,
    earlier: Seen,
) -> Event {
    Event {
        reference,
        at,
        kind: EventKind::Duplicate,
        recipient: Some(recipient.address.clone()),
        details: Details {
            room: Some(recipient.room.to_string()),
            reason: Some(format!(
                "the same Message-ID came for this recipient at {} as {}",
                earlier.at, earlier.reference
            )),
            ..Details::default()
        },
    }
}

/// What the queue needs to know of each recipient of a message just kept.
fn waiting(message: &NewMessage) -> Vec<Waiting> {
    let one = |(number, recipient): (u32, &store::NewRecipient)| Waiting {
        id: RecipientId {
            reference: message.reference,
            number,
        },
        recipient: recipient.address.clone(),
        room: recipient.room.clone(),
        state: recipient.state,
        attempts: 0,
        of_late: store::OfLate::default(),
        accepted_at: message.accepted_at,
        waits_since: message.accepted_at,
        next_attempt_at: recipient.next_attempt_at,
        last_reply: None,
        told: Told::NOTHING,
        is_doubtful: false,
        wishes: recipient.wishes.clone(),
        terms: message.terms.clone(),
        is_ours: message.client.is_empty(),
        awaits_scan: message.scan.is_some(),
        waiver: recipient.waiver,
        sender: message.sender.clone(),
        sender_room: message.sender_room.clone(),
        smtputf8: message.smtputf8,
        eight_bit: message.eight_bit,
        size: message.content.len() as u64,
        subject: message.facts.subject.clone(),
        message_id: message.facts.message_id.clone(),
    };
    (0..).zip(&message.recipients).map(one).collect()
}
