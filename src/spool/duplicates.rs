//! The same Message-ID for the same recipient, twice within a while: a client that sent again.
//!
//! A window on what was accepted of late, bounded in time and in number; the oldest leave it first.
//! It remembers and compares, and decides nothing: such a message is as good as any other. What came
//! without a Message-ID is not known here. Pure; it cannot fail.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::mail::{Address, Reference, RoomId, Timestamp};

/// How long a message is remembered: clients send again within seconds, people within minutes.
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// Recipients remembered at a time, a few dozen octets each.
const MOST: usize = 200_000;

/// A recipient of a message with a Message-ID, from one room or from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(u64);

/// A message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub reference: Reference,
    pub at: Timestamp,
}

/// The window.
#[derive(Debug)]
pub(super) struct Duplicates {
    hasher: RandomState,
    latest: HashMap<Key, Seen>,
    /// Oldest first. One that is no longer the latest of its key is only passed over.
    order: VecDeque<(Key, Seen)>,
    most: usize,
}

impl Duplicates {
    pub fn new(hasher: RandomState) -> Self {
        Self {
            hasher,
            latest: HashMap::new(),
            order: VecDeque::new(),
            most: MOST,
        }
    }

    /// `room` is the sender's; `None`: it came through a gateway.
    pub fn key(&self, room: Option<&RoomId>, message_id: &str, recipient: &Address) -> Key {
        Key(self.hasher.hash_one((room, message_id, recipient)))
    }

    /// Remembers what comes now; gives what came within the window, if anything did.
    pub fn add(&mut self, key: Key, seen: Seen) -> Option<Seen> {
        self.forget_before(seen.at.before(WINDOW));
        let earlier = self.latest.insert(key, seen);
        self.order.push_back((key, seen));
        while self.order.len() > self.most {
            self.forget_oldest();
        }
        earlier
    }

    /// What was added has not been kept after all.
    pub fn take_back(&mut self, key: Key, reference: Reference, earlier: Option<Seen>) {
        if self
            .latest
            .get(&key)
            .is_none_or(|it| it.reference != reference)
        {
            return;
        }
        match earlier {
            Some(earlier) => {
                self.latest.insert(key, earlier);
                self.order.push_front((key, earlier));
            }
            None => drop(self.latest.remove(&key)),
        }
    }

    /// Remembers what came before anything that was added; the newest is given first.
    pub fn add_older(&mut self, key: Key, seen: Seen) {
        if self.order.len() < self.most && !self.latest.contains_key(&key) {
            self.latest.insert(key, seen);
            self.order.push_front((key, seen));
        }
    }

    fn forget_before(&mut self, moment: Timestamp) {
        while self.order.front().is_some_and(|(_, it)| it.at < moment) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, seen)) = self.order.pop_front()
            && self.latest.get(&key) == Some(&seen)
        {
            self.latest.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn seen(number: u64, second: u64) -> Seen {
        Seen {
            reference: Reference::from_number(number),
            at: START.after(Duration::from_secs(second)),
        }
    }

    fn window() -> Duplicates {
        Duplicates::new(RandomState::new())
    }

    #[test]
    fn a_key_is_room_and_message_id_and_recipient() {
        let window = window();
        let (a, b) = (RoomId::new("a"), RoomId::new("b"));
        let address = |text| Address::parse(text).unwrap();
        let key = |room, id, recipient| window.key(room, id, &address(recipient));
        let first = key(Some(&a), "x@a.test", "vakt@b.test");
        assert_eq!(first, key(Some(&a), "x@a.test", "Vakt@B.test"));
        for other in [
            key(Some(&b), "x@a.test", "vakt@b.test"),
            key(None, "x@a.test", "vakt@b.test"),
            key(Some(&a), "y@a.test", "vakt@b.test"),
            key(Some(&a), "x@a.test", "leder@b.test"),
            key(Some(&a), "x@a.testv", "akt@b.test"),
            key(Some(&a), "X@a.test", "vakt@b.test"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn the_latest_within_the_window_is_given() {
        let mut window = window();
        let length = WINDOW.as_secs();
        for (key, number, second, expected) in [
            (1, 1, 0, None),
            (2, 2, 1, None),
            (1, 3, length, Some(1)),
            (1, 4, 2 * length, Some(3)),
            (1, 5, 3 * length + 1, None),
            (2, 6, 3 * length + 1, None),
        ] {
            let earlier = window.add(Key(key), seen(number, second));
            assert_eq!(
                earlier.map(|it| it.reference.number()),
                expected,
                "{number}"
            );
        }
        assert_eq!((window.latest.len(), window.order.len()), (2, 2));
    }

    #[test]
    fn what_was_not_kept_is_forgotten() {
        let mut window = window();
        let first = seen(1, 0);
        window.add(Key(1), first);
        let earlier = window.add(Key(1), seen(2, 1));
        window.take_back(Key(1), Reference::from_number(2), earlier);
        assert_eq!(window.add(Key(1), seen(3, 2)), Some(first));
        // Another came meanwhile, and stays.
        window.take_back(Key(1), Reference::from_number(1), None);
        assert_eq!(window.add(Key(1), seen(4, 3)), Some(seen(3, 2)));
        window.add(Key(2), seen(5, 4));
        window.take_back(Key(2), Reference::from_number(5), None);
        assert_eq!(window.add(Key(2), seen(6, 5)), None);
    }

    #[test]
    fn what_came_before_a_start_is_remembered_behind_what_came_since() {
        let mut window = window();
        window.add(Key(1), seen(9, 100));
        for (key, number, second) in [(1, 8, 50), (2, 7, 40), (2, 6, 30), (3, 5, 0)] {
            window.add_older(Key(key), seen(number, second));
        }
        assert_eq!(window.add(Key(1), seen(10, 101)), Some(seen(9, 100)));
        assert_eq!(window.add(Key(2), seen(11, 102)), Some(seen(7, 40)));
        assert_eq!(window.add(Key(3), seen(12, WINDOW.as_secs() + 1)), None);
    }

    #[test]
    fn memory_has_an_end_whatever_comes() {
        let mut window = window();
        window.most = 3;
        for number in 0..10 {
            window.add(Key(number), seen(number, number));
            window.add(Key(0), seen(100 + number, number));
        }
        assert!(window.latest.len() <= 3 && window.order.len() == 3);
        window.add_older(Key(77), seen(1, 0));
        assert!(!window.latest.contains_key(&Key(77)));
        assert!(window.add(Key(0), seen(200, 10)).is_some());
    }
}
