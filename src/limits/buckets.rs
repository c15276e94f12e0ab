//! Buckets that fill evenly, one a key. The crate `governor` lives here.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use super::rate::Rate;

pub(super) fn take<K: Hash + Eq + Clone>(
    buckets: Option<&Buckets<K>>,
    key: &K,
) -> Result<(), Duration> {
    buckets.map_or(Ok(()), |buckets| buckets.take(key))
}

/// After so many messages, full buckets are forgotten.
pub(super) const PRUNE_EVERY: u32 = 4096;

/// A bucket a key. Those that are full again hold no memory for long.
pub(super) struct Buckets<K: Hash + Eq + Clone> {
    pub(super) limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    taken: AtomicU32,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(super) fn new(rate: Option<Rate>) -> Option<Self> {
        Some(Self {
            limiter: RateLimiter::keyed(rate?.quota()?),
            clock: DefaultClock::default(),
            taken: AtomicU32::new(0),
        })
    }

    fn take(&self, key: &K) -> Result<(), Duration> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        if taken % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter
            .check_key(key)
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buckets({})", self.limiter.len())
    }
}
