//! How many messages are scanned at once, and for whom a place is kept.
//!
//! Urgent and small messages have places of their own beside those for all, so that neither waits
//! until a few large ones are through. It never fails; who waits is served in the order of coming.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to this size a message is small, in octets.
const SMALL: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// `count` for all, and a quarter as many each for urgent and for small messages.
    pub(super) fn new(count: usize) -> Self {
        let reserve = (count / 4).max(1);
        Self {
            all: Arc::new(Semaphore::new(count)),
            urgent: Arc::new(Semaphore::new(reserve)),
            small: Arc::new(Semaphore::new(reserve)),
        }
    }

    pub(super) async fn take(&self, is_urgent: bool, octets: usize) -> Slot {
        let is_small = octets <= SMALL;
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&self.all).acquire_owned() => permit,
            permit = Arc::clone(&self.urgent).acquire_owned(), if is_urgent => permit,
            permit = Arc::clone(&self.small).acquire_owned(), if is_small => permit,
        };
        Slot {
            _permit: permit.ok(),
        }
    }
}
