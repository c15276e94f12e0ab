//! How much of messages is decoded at once for their scans, and for whom memory is kept.
//!
//! A message that is taken apart takes memory beside its own octets for as long as it is scanned, and so
//! long as an engine hangs. A share is taken before, and nobody who has one waits for another: that ends
//! every wait. Urgent and small messages have some of their own. It never fails; who waits is
//! served in the order of coming.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in pieces of this many octets.
const PIECE: usize = 1024;
/// Up to this size a message is small, in octets.
const SMALL: usize = 256 * 1024;
/// What is kept for urgent and for small messages: one part in so many, on top of it all, each.
const KEPT: usize = 8;

#[derive(Debug)]
pub(super) struct Memory {
    all: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    small: Arc<Semaphore>,
    /// How many pieces there are for all.
    pieces: usize,
}

/// Memory, given back when dropped.
#[derive(Debug)]
pub struct Share {
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new(octets: usize) -> Self {
        let pieces = (octets / PIECE).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let kept = (pieces / KEPT).max(1);
        Self {
            all: Arc::new(Semaphore::new(pieces)),
            urgent: Arc::new(Semaphore::new(kept)),
            small: Arc::new(Semaphore::new(kept)),
            pieces,
        }
    }

    /// Waits for memory for so many octets. What is larger than all there is may have all there is.
    pub(super) async fn take(&self, is_urgent: bool, octets: usize) -> Share {
        let part = |most: usize| u32::try_from(octets.div_ceil(PIECE).min(most)).unwrap_or(1);
        let whole = part(self.pieces);
        let own = part((self.pieces / KEPT).max(1));
        let is_small = octets <= SMALL.min(self.pieces / KEPT * PIECE);
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&self.all).acquire_many_owned(whole) => permit,
            permit = Arc::clone(&self.urgent).acquire_many_owned(own), if is_urgent => permit,
            permit = Arc::clone(&self.small).acquire_many_owned(own), if is_small => permit,
        };
        Share {
            permit: permit.ok(),
        }
    }
}

impl Share {
    /// Gives back all but what these octets take.
    pub(super) fn shrink_to(&mut self, octets: usize) {
        if let Some(permit) = &mut self.permit {
            let spare = permit.num_permits().saturating_sub(octets.div_ceil(PIECE));
            drop(permit.split(spare));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_is_urgent_or_small_finds_a_way_past_the_others() {
        const MIB: usize = 1 << 20;
        let memory = Memory::new(8 * MIB);
        let free = |is_urgent, octets| memory.take(is_urgent, octets).now_or_never();
        let mut large = free(false, 100 * MIB);
        assert!(large.is_some() && free(false, MIB).is_none());
        let small = free(false, SMALL);
        let urgent = free(true, 20 * MIB);
        assert!(small.is_some() && urgent.is_some());
        assert!(free(true, MIB).is_none());
        if let Some(share) = &mut large {
            share.shrink_to(6 * MIB);
        }
        assert!(free(false, 3 * MIB).is_none());
        assert!(free(false, 2 * MIB).is_some());
        drop(large);
        assert!(free(false, 8 * MIB).is_some());
    }
}
