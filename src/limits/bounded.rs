//! A table with a bound: what is past is forgotten, and then, if need be, what is nearest to it.
//!
//! Whoever has many addresses can make many keys; they cost no more memory than this. They push out
//! those that have used the least, first of all each other: who goes on and on stays, and who was
//! pushed out begins anew, so that nobody is locked out.

use std::collections::HashMap;
use std::hash::Hash;

/// Keys that are remembered at a time.
pub(super) const MOST_KEYS: usize = 10_000;
/// So few are not worth looking through.
const FEW_KEYS: usize = 256;

/// A value for each key, that says until when it means anything.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    map: HashMap<K, V>,
    /// At so many keys it is time to forget.
    full_at: usize,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            full_at: FEW_KEYS,
        }
    }
}

impl<K: Hash + Eq, V: Ord + Copy> Bounded<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.map.get(key).copied()
    }

    /// What is `now` or earlier is past.
    pub(super) fn insert(&mut self, key: K, until: V, now: V) {
        if self.map.len() >= self.full_at && !self.map.contains_key(&key) {
            self.forget(now);
        }
        self.map.insert(key, until);
    }

    fn forget(&mut self, now: V) {
        self.map.retain(|_, until| *until > now);
        if self.map.len() >= MOST_KEYS {
            self.forget_nearest(self.map.len() / 4);
        }
        let left = self.map.len() * 2;
        self.map.shrink_to(left);
        self.full_at = left.clamp(FEW_KEYS, MOST_KEYS);
    }

    fn forget_nearest(&mut self, mut count: usize) {
        let mut values: Vec<V> = self.map.values().copied().collect();
        let (_, &mut bound, _) = values.select_nth_unstable(count);
        self.map.retain(|_, until| {
            let goes = *until < bound && count > 0;
            count -= usize::from(goes);
            !goes
        });
        // Many that are all alike.
        self.map.retain(|_, until| {
            let goes = *until == bound && count > 0;
            count -= usize::from(goes);
            !goes
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_take_the_room_of_ten_thousand() {
        let mut table = Bounded::default();
        table.insert(u64::MAX, u64::MAX, 0);
        for key in 0..200_000 {
            table.insert(key, 5, 0);
            assert!(table.len() <= MOST_KEYS);
        }
        assert!(table.map.capacity() <= 4 * MOST_KEYS);
        assert_eq!(table.get(&u64::MAX), Some(u64::MAX), "who has most stays");
        assert_eq!(table.get(&199_999), Some(5), "the newest is there");
    }

    #[test]
    fn what_is_past_is_forgotten_and_its_room_given_back() {
        let mut table = Bounded::default();
        for key in 0..9000_u64 {
            table.insert(key, key, 0);
        }
        for key in 0..10_000_u64 {
            table.insert(100_000 + key, 20_000 + key, 10_000);
        }
        assert_eq!(table.get(&8999), None);
        assert_eq!(table.get(&109_999), Some(29_999));
        for key in 0..MOST_KEYS as u64 {
            table.insert(200_000 + key, 40_000, 39_999);
        }
        assert_eq!(table.get(&109_999), None);
    }
}
