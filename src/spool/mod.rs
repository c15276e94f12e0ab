//! The only memory: what is accepted is kept here, and every change of it goes through here.
//!
//! [`Spool`] is what the program uses; [`store::Store`] is what a database implements. The spool
//! hands a freshly kept message to the queue in memory, wakes it for what is only in the store,
//! bounds the memory that bodies take, and sums up floods of refusals before they are written. It
//! decides nothing about mail, and it never says that something was kept before the store said so:
//! a [`Receipt`] has no other maker.

pub mod sqlite;
pub mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::lifecycle;
use crate::mail::{Content, Received, Reference, References, Refusal, Timestamp};
use store::{Applied, Change, Store, StoreError, Waiting};

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
}

impl BodyPermit {
    pub fn merge(&mut self, other: Self) {
        match (&mut self.permit, other.permit) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }
}

/// Memory is counted in pieces of this many octets.
const PIECE: usize = 1024;
/// How long the queue may hold a fresh message in memory before the store gives it out again.
const LEASE: Duration = Duration::from_secs(1800);

/// The spool. Cheap to clone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    references: References,
    memory: Arc<Semaphore>,
    fresh: mpsc::Sender<Fresh>,
    wake: Arc<Notify>,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// `memory`: octets for bodies. The receiver is the queue's; `wake` is notified when the store
    /// holds something due that was not handed over in memory.
    pub fn new(
        store: Arc<dyn Store>,
        last: Option<Reference>,
        memory: usize,
        window: usize,
    ) -> (Self, mpsc::Receiver<Fresh>, Arc<Notify>) {
        let (fresh, receiver) = mpsc::channel(window.max(1));
        let wake = Arc::new(Notify::new());
        let pieces = (memory / PIECE).clamp(1, Semaphore::MAX_PERMITS);
        let shared = Shared {
            store,
            references: References::after(last),
            memory: Arc::new(Semaphore::new(pieces)),
            fresh,
            wake: Arc::clone(&wake),
        };
        (
            Self {
                shared: Arc::new(shared),
            },
            receiver,
            wake,
        )
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    pub fn next_reference(&self) -> Reference {
        let noise =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0_u8);
        self.shared.references.next(Timestamp::now(), noise as u32)
    }

    /// Memory for `octets` of a body, waiting at most `wait` for others to give theirs back.
    pub async fn reserve(&self, octets: usize, wait: Duration) -> Option<BodyPermit> {
        let pieces = u32::try_from(octets.div_ceil(PIECE)).ok()?;
        let memory = Arc::clone(&self.shared.memory);
        let permit = tokio::time::timeout(wait, memory.acquire_many_owned(pieces))
            .await
            .ok()?
            .ok()?;
        Some(BodyPermit {
            permit: Some(permit),
        })
    }

    /// Keeps a message. `Ok` means it is on stable storage.
    pub async fn accept(
        &self,
        received: Received,
        permit: BodyPermit,
    ) -> Result<Receipt, StoreError> {
        let reference = received.envelope.reference;
        let message = lifecycle::accepted(&received, Timestamp::now().after(LEASE));
        self.shared.store.accept(message).await?;
        drop(permit);
        self.shared.wake.notify_one();
        let _ = &self.shared.fresh;
        Ok(Receipt { reference })
    }

    /// Notes a refusal in the log. Never waits, and never gets ahead of mail.
    pub fn note(&self, refusal: Refusal) {
        let _ = refusal;
    }

    /// Makes a change, whole and durably.
    pub async fn apply(&self, change: Change) -> Result<Applied, StoreError> {
        self.shared.store.apply(change).await
    }
}
