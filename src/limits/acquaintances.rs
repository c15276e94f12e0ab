//! Addresses from which somebody has lately shown who it is, with a login or a certificate that counted.
//!
//! A place is given before anybody can say a word. Where a room has no network in the routing table, it is this that
//! tells its workstations from strangers while places are short. It is nobody's identity, and lets nobody send
//! anything. Bounded: the oldest are forgotten first, and each after a month.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bounded::Bounded;
use super::network;

/// How long an address is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Of IPv6 the /64 counts.
#[derive(Debug, Default)]
pub struct Acquaintances(Mutex<Bounded<IpAddr, Instant>>);

impl Acquaintances {
    pub fn add(&self, address: IpAddr, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(network(address), now + REMEMBERED, now);
    }

    pub fn have(&self, address: IpAddr, now: Instant) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&network(address)).is_some_and(|it| it > now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_remembered_for_a_month() {
        let (known, now) = (Acquaintances::default(), Instant::now());
        let [one, near, other] =
            ["2001:db8::1", "2001:db8::2", "10.0.0.1"].map(|it| it.parse().unwrap());
        known.add(one, now);
        assert!(known.have(one, now) && known.have(near, now));
        assert!(!known.have(other, now));
        assert!(!known.have(one, now + REMEMBERED));
    }
}
