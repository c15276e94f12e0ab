//! Buckets that fill evenly, one a key, with a reserve below for what is urgent. The crate `governor`
//! lives here.
//!
//! What is urgent and what is not draw from the same bucket; only the urgent may go on into the
//! reserve. So routine mail never touches it, however much there is of it, and while some of it is
//! used, the bucket fills for the urgent first. The clock is the monotonic one: nobody sets it.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::bounded::Bounded;
use super::rate::Rate;

/// What a reserve is at most, in what flows into it by then.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A bucket a key, all of one rate.
pub(super) struct Buckets<K: Hash + Eq + Clone> {
    table: Table<K>,
    taking: Pair<K>,
    /// The same, and nothing is taken.
    looking: Pair<K>,
    /// For one unit to flow in.
    every: Duration,
    /// Units that the bucket holds, and the reserve below it.
    size: NonZeroU32,
    reserve: u32,
}

struct Pair<K: Hash + Eq + Clone> {
    routine: Limiter<K>,
    urgent: Limiter<K>,
}

/// All limiters of a table were made in the same microsecond, and that is how exactly they agree.
type Limiter<K> = RateLimiter<K, Table<K>, MonotonicClock, NoOpMiddleware<Instant>>;

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// `None`: the rate cannot be.
    pub(super) fn new(rate: Rate, reserve: u32) -> Option<Self> {
        let (every, size) = (rate.every(), rate.size());
        let longest = LONGEST.as_nanos() / every.as_nanos().max(1);
        let reserve = reserve.min(u32::try_from(longest).unwrap_or(u32::MAX));
        let reserve = reserve.min(u32::MAX - size.get());
        let quota = Quota::with_period(every)?;
        let table = Table::new();
        let pair = |keeps| {
            let limiter = |size| {
                let table = Table {
                    keeps,
                    ..table.clone()
                };
                RateLimiter::new(quota.allow_burst(size), table, MonotonicClock)
            };
            Pair {
                routine: limiter(size),
                urgent: limiter(size.saturating_add(reserve)),
            }
        };
        Some(Self {
            taking: pair(true),
            looking: pair(false),
            table,
            every,
            size,
            reserve,
        })
    }

    /// Takes so many units, all or none; `Err`: how long to wait. Gives how many were counted: what is
    /// larger than the bucket passes when that is full, and what is urgent and larger than the reserve
    /// when that is full, or else it would never pass.
    pub(super) fn take(&self, key: &K, units: u64, is_urgent: bool) -> Result<u32, Duration> {
        self.ask(&self.taking, key, units, is_urgent)
    }

    /// What [`Buckets::take`] would say.
    pub(super) fn look(&self, key: &K, units: u64, is_urgent: bool) -> Result<u32, Duration> {
        self.ask(&self.looking, key, units, is_urgent)
    }

    /// Takes so many units, or as many as are there: of the reserve only for what is urgent.
    pub(super) fn drain(&self, key: &K, units: u64, is_urgent: bool) {
        let whole = match is_urgent {
            true => self.size.saturating_add(self.reserve),
            false => self.size,
        };
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let whole = self.every.saturating_mul(whole.get());
        self.table
            .raise(key, self.every.saturating_mul(units), whole);
    }

    fn ask(&self, pair: &Pair<K>, key: &K, units: u64, is_urgent: bool) -> Result<u32, Duration> {
        let Some(units) = NonZeroU32::new(u32::try_from(units).unwrap_or(u32::MAX)) else {
            return Ok(0);
        };
        if !is_urgent {
            return self.take_from(&pair.routine, key, units.min(self.size));
        }
        let whole = self.size.saturating_add(self.reserve);
        let taken = self.take_from(&pair.urgent, key, units.min(whole));
        match NonZeroU32::new(self.reserve) {
            Some(reserve) if taken.is_err() && units > reserve => {
                self.take_from(&pair.urgent, key, reserve)
            }
            _ => taken,
        }
    }

    fn take_from(&self, limiter: &Limiter<K>, key: &K, units: NonZeroU32) -> Result<u32, Duration> {
        match limiter.check_key_n(key, units) {
            Ok(Ok(())) => Ok(units.get()),
            Ok(Err(refused)) => Err(refused.wait_time_from(limiter.clock().now())),
            // Cannot be: no limiter is asked for more than it holds.
            Err(_) => Err(self.every),
        }
    }

    /// Pours back what was taken.
    pub(super) fn give_back(&self, key: &K, units: u32) {
        self.table.lower(key, self.every.saturating_mul(units));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.map().len()
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buckets({} every {:?})", self.size, self.every)
    }
}

/// When each bucket will be full again, counted from a moment when the table was made.
struct Table<K> {
    map: Arc<Mutex<Bounded<K, Nanos>>>,
    start: Instant,
    /// What a limiter decides is done.
    keeps: bool,
}

impl<K> Clone for Table<K> {
    fn clone(&self) -> Self {
        let map = Arc::clone(&self.map);
        Self { map, ..*self }
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new() -> Self {
        Self {
            map: Arc::default(),
            start: Instant::now(),
            keeps: true,
        }
    }

    fn map(&self) -> MutexGuard<'_, Bounded<K, Nanos>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }

    /// Full so much later, but not later than `most` from now.
    fn raise(&self, key: &K, by: Duration, most: Duration) {
        let mut map = self.map();
        let now = self.now();
        let full_at = map.get(key).map_or(now, |it| it.max(now));
        let raised = full_at + Nanos::from(by.min(most));
        let raised = raised.min(now + Nanos::from(most)).max(full_at);
        map.insert(key.clone(), raised, now);
    }

    fn lower(&self, key: &K, by: Duration) {
        let mut map = self.map();
        if let Some(full_at) = map.get(key) {
            map.insert(
                key.clone(),
                full_at.saturating_sub(by.into()),
                Nanos::new(0),
            );
        }
    }
}

impl<K: Hash + Eq + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut map = self.map();
        let (answer, full_at) = decide(map.get(key))?;
        if self.keeps {
            map.insert(key.clone(), full_at, self.now());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::bounded::MOST_KEYS;
    use super::*;

    fn buckets(rate: &str, reserve: u32) -> Buckets<u32> {
        Buckets::new(rate.parse().unwrap(), reserve).unwrap()
    }

    #[test]
    fn routine_never_touches_the_reserve_and_urgent_goes_on_into_it() {
        let buckets = buckets("3/h", 2);
        for _ in 0..3 {
            assert_eq!(buckets.take(&1, 1, false), Ok(1));
        }
        for _ in 0..100 {
            let wait = buckets.take(&1, 1, false).unwrap_err();
            assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1200));
        }
        assert_eq!(buckets.take(&1, 1, true), Ok(1));
        assert_eq!(buckets.take(&1, 1, true), Ok(1));
        assert!(buckets.take(&1, 1, true).is_err());
        assert_eq!(buckets.take(&2, 1, false), Ok(1), "somebody else");
        let wait = buckets.take(&1, 1, false).unwrap_err();
        assert!(
            wait > Duration::from_secs(2 * 1200),
            "the reserve fills first: {wait:?}"
        );
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let buckets = buckets("3/h", 0);
        assert_eq!(buckets.take(&1, 3, false), Ok(3));
        assert!(buckets.take(&1, 1, false).is_err());
        buckets.give_back(&1, 2);
        assert_eq!(buckets.take(&1, 2, false), Ok(2));
        assert!(buckets.take(&1, 1, false).is_err());
        buckets.give_back(&1, 100);
        assert_eq!(buckets.take(&1, 3, false), Ok(3), "full, and no more");
        assert!(buckets.take(&1, 1, false).is_err());
    }

    #[test]
    fn to_look_takes_nothing() {
        let buckets = buckets("3/h", 2);
        for _ in 0..9 {
            assert_eq!(buckets.look(&1, 3, false), Ok(3));
            assert_eq!(buckets.look(&1, 5, true), Ok(5));
        }
        assert_eq!(buckets.len(), 0);
        assert_eq!(buckets.take(&1, 3, false), Ok(3));
        assert!(buckets.look(&1, 1, false).is_err());
        assert_eq!(buckets.look(&1, 2, true), Ok(2));
    }

    #[test]
    fn what_is_drained_is_what_is_there_and_no_more() {
        let buckets = buckets("3/h", 2);
        buckets.drain(&1, 2, false);
        assert_eq!(buckets.take(&1, 1, false), Ok(1));
        for _ in 0..9 {
            buckets.drain(&1, 1000, false);
        }
        let wait = buckets.take(&1, 1, false).unwrap_err();
        // One cell is to come, in twenty minutes, and not two. A wait is a difference of floating point.
        assert!(wait < Duration::from_secs(1201), "{wait:?}");
        assert_eq!(buckets.take(&1, 1, true), Ok(1), "of the reserve");
        buckets.drain(&1, 1000, false);
        assert_eq!(buckets.take(&1, 1, true), Ok(1), "of the reserve still");
        buckets.drain(&2, 1000, true);
        assert!(buckets.take(&2, 1, true).is_err());
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_that_is_full() {
        let buckets = buckets("3/h", 2);
        assert_eq!(buckets.take(&1, 1000, false), Ok(3));
        assert!(buckets.take(&1, 1000, false).is_err());
        assert_eq!(buckets.take(&1, 1000, true), Ok(2));
        assert!(buckets.take(&1, 1000, true).is_err());
        assert_eq!(buckets.take(&2, 1, false), Ok(1));
        assert!(buckets.take(&2, 1000, false).is_err(), "not quite full");
        assert_eq!(buckets.take(&3, 4, true), Ok(4));
        assert_eq!(buckets.take(&4, 1000, true), Ok(5));
        assert_eq!(buckets.take(&5, 0, false), Ok(0));
    }

    #[test]
    fn many_keys_let_nobody_off_who_has_used_much() {
        let buckets = buckets("3/h", 0);
        assert_eq!(buckets.take(&0, 3, false), Ok(3));
        for key in 1..200_000 {
            assert_eq!(buckets.take(&key, 1, false), Ok(1));
            assert!(buckets.len() <= MOST_KEYS);
        }
        assert!(buckets.take(&0, 1, false).is_err());
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = buckets("1000000/s", 0);
        for key in 0..200_000 {
            assert_eq!(buckets.take(&key, 1, false), Ok(1));
        }
        assert!(buckets.len() < MOST_KEYS);
    }

    #[test]
    fn no_rate_is_too_slow_or_too_fast() {
        for rate in ["1/h", "1000000/s"] {
            let buckets = buckets(rate, u32::MAX);
            assert!(buckets.take(&1, u64::MAX, true).is_ok());
            assert!(buckets.take(&1, u64::MAX, true).is_err());
        }
    }
}
