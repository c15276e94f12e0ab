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

    /// A place that is free now.
    pub(super) fn try_take(&self, is_urgent: bool, octets: usize) -> Option<Slot> {
        let free = |place: &Arc<Semaphore>| Arc::clone(place).try_acquire_owned().ok();
        let permit = free(&self.all)
            .or_else(|| is_urgent.then(|| free(&self.urgent)).flatten())
            .or_else(|| (octets <= SMALL).then(|| free(&self.small)).flatten());
        permit.map(|permit| Slot {
            _permit: Some(permit),
        })
    }

    /// Nobody could take one now.
    pub(super) fn are_taken(&self) -> bool {
        let places = [&self.all, &self.urgent, &self.small];
        places.iter().all(|it| it.available_permits() == 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_a_place_for_urgent_and_one_for_small_messages() {
        let slots = Slots::new(2);
        let large = SMALL + 1;
        let taken: Vec<Slot> = (0..2)
            .filter_map(|_| slots.try_take(false, large))
            .collect();
        assert_eq!(taken.len(), 2);
        assert!(slots.try_take(false, large).is_none());
        let small = slots.try_take(false, SMALL);
        assert!(small.is_some() && slots.try_take(false, SMALL).is_none());
        assert!(!slots.are_taken());
        let urgent = slots.try_take(true, large);
        assert!(urgent.is_some() && slots.are_taken());
        drop(small);
        assert!(slots.try_take(true, 1).is_some());
    }
}
