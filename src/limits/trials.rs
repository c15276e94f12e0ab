//! Messages let in beyond a limit to see whether they are urgent: a few at a time.
//!
//! Their number is bounded, and nothing is counted: a client that goes round and round with what is
//! not urgent uses up its own few places, and no reserve. However many its room has taken, a workstation
//! that has none gets one. A place is given back when dropped; who dawdles in one holds up nobody for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::mail::Account;

/// At a time, from one workstation, and from one room or gateway.
const OF_WORKSTATION: usize = 4;
const OF_HOUSE: usize = 16;
/// For so long a place counts as taken. Connections are limited elsewhere.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Trials {
    /// Since when each place is taken; as many as there are connections at most.
    open: Mutex<HashMap<Account, Vec<Instant>>>,
}

/// A place for one message.
#[derive(Debug)]
pub(super) struct Place {
    trials: Arc<Trials>,
    accounts: Vec<Account>,
    since: Instant,
}

impl Trials {
    /// `None`: all are taken.
    pub(super) fn take(self: &Arc<Self>, accounts: &[Account], now: Instant) -> Option<Place> {
        let mut open = self.open();
        let is_fresh = |since: &&Instant| now.saturating_duration_since(**since) < LONGEST;
        let taken = |account: &Account| {
            let taken = open.get(account).map_or(&[][..], Vec::as_slice);
            taken.iter().filter(is_fresh).count()
        };
        let is_workstation = |it: &&Account| matches!(it, Account::Workstation(_));
        let mine = accounts.iter().find(is_workstation).map(taken);
        let is_first = |account: &Account| match account {
            // They could be any number.
            Account::Strangers(_) => false,
            _ => mine == Some(0),
        };
        let is_free = |account: &Account| taken(account) < most(account) || is_first(account);
        if !accounts.iter().all(is_free) {
            return None;
        }
        for account in accounts {
            open.entry(account.clone()).or_default().push(now);
        }
        drop(open);
        Some(Place {
            trials: Arc::clone(self),
            accounts: accounts.to_vec(),
            since: now,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Account, Vec<Instant>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn most(account: &Account) -> usize {
    match account {
        Account::Workstation(_) => OF_WORKSTATION,
        Account::Room(_) | Account::Strangers(_) | Account::Gateway(_) => OF_HOUSE,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.trials.open();
        for account in &self.accounts {
            let Some(taken) = open.get_mut(account) else {
                continue;
            };
            if let Some(mine) = taken.iter().position(|since| *since == self.since) {
                taken.swap_remove(mine);
            }
            if taken.is_empty() {
                open.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{RoomId, Workstation};

    #[test]
    fn a_workstation_has_a_few_and_leaves_some_to_its_room() {
        let trials = Arc::new(Trials::default());
        let of = |n: u8| {
            let workstation = Workstation::Address([10, 0, 0, n].into());
            let room = Account::Room(RoomId::new("a"));
            [Account::Workstation(workstation), room]
        };
        let start = Instant::now();
        let take = |n| trials.take(&of(n), start);
        let first: Vec<_> = std::iter::repeat_with(|| take(1)).take(5).collect();
        assert_eq!(first.iter().flatten().count(), OF_WORKSTATION);
        let others: Vec<_> = (2..8).flat_map(|n| [take(n), take(n)]).collect();
        assert_eq!(
            others.iter().flatten().count() + OF_WORKSTATION,
            OF_HOUSE,
            "the room's"
        );
        let late = take(99);
        assert!(late.is_some(), "the first of a workstation");
        assert!(take(99).is_none());
        drop(late);
        drop(first);
        let dawdling: Vec<_> = std::iter::repeat_with(|| take(9)).take(4).collect();
        assert!(take(9).is_none() && dawdling.iter().all(Option::is_some));
        assert!(
            trials.take(&of(9), start + LONGEST).is_some(),
            "who dawdles holds up nobody for long"
        );
        drop((others, dawdling));
        assert!(trials.open().is_empty());
    }
}
