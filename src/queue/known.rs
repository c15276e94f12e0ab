//! Which recipients are in memory, so that none is attempted twice at a time.
//!
//! The store is asked while outcomes are being written, so its answer can be older than what is
//! known here; this is where the two are told apart. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::spool::store::RecipientId;

/// Recipients waiting in a lane, being attempted, or with an outcome not yet written.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether the store has named it again since: then its lease is given back when it leaves.
    ids: HashMap<RecipientId, bool>,
    /// Those whose outcome was written while the store was being asked.
    written: Option<HashSet<RecipientId>>,
    /// Octets of bodies that wait in lanes.
    pub octets: usize,
}

/// What is known of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    Here,
    /// Its outcome was written after the store was asked.
    Written,
}

impl Known {
    pub fn enter(&mut self, id: RecipientId) -> Standing {
        if self.written.as_ref().is_some_and(|it| it.contains(&id)) {
            return Standing::Written;
        }
        match self.ids.entry(id) {
            Entry::Occupied(mut here) => {
                here.insert(true);
                Standing::Here
            }
            Entry::Vacant(place) => {
                place.insert(false);
                Standing::New
            }
        }
    }

    /// These were given up without an attempt; the store may name them at once.
    pub fn give_up(&mut self, ids: &[RecipientId]) {
        for id in ids {
            self.ids.remove(id);
        }
    }

    /// The outcome of these is on the disk. Gives those whose lease must go back.
    pub fn conclude(&mut self, ids: &[RecipientId]) -> Vec<RecipientId> {
        if let Some(written) = &mut self.written {
            written.extend(ids);
        }
        let mut named_again = ids.to_vec();
        named_again.retain(|id| self.ids.remove(id) == Some(true));
        named_again
    }

    /// The store is asked now.
    pub fn asked(&mut self) {
        self.written = Some(HashSet::new());
    }

    /// The store's answer has been taken in.
    pub fn answered(&mut self) {
        self.written = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Reference;

    fn id(number: u32) -> RecipientId {
        RecipientId {
            reference: Reference::from_number(1),
            number,
        }
    }

    #[test]
    fn nobody_is_here_twice() {
        let mut known = Known::default();
        assert_eq!(known.enter(id(1)), Standing::New);
        assert_eq!(known.enter(id(1)), Standing::Here);
        assert_eq!(known.conclude(&[id(1)]), [id(1)], "its lease goes back");
        assert_eq!(known.enter(id(1)), Standing::New);
        assert_eq!(known.conclude(&[id(1)]), [], "nobody named it meanwhile");
    }

    #[test]
    fn an_old_answer_does_not_bring_back_what_was_delivered() {
        let mut known = Known::default();
        assert_eq!(known.enter(id(1)), Standing::New);
        known.asked();
        assert_eq!(known.conclude(&[id(1)]), []);
        assert_eq!(known.enter(id(1)), Standing::Written);
        known.answered();
        assert_eq!(known.enter(id(1)), Standing::New);
    }

    #[test]
    fn what_was_given_up_may_come_again_at_once() {
        let mut known = Known::default();
        assert_eq!(known.enter(id(1)), Standing::New);
        known.asked();
        known.give_up(&[id(1)]);
        assert_eq!(known.enter(id(1)), Standing::New);
    }
}
