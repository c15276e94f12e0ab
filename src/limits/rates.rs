//! Messages: how fast a workstation, a room and a gateway may send them.
//!
//! `120/min` lets 120 messages pass at once and then one every half second.

use std::net::IpAddr;
use std::time::Duration;

use super::buckets::{Buckets, take};
use super::rate::Rate;
use crate::mail::{Origin, RoomId};

/// `[limits.rates]`: messages; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateSettings {
    pub workstation: Option<Rate>,
    pub room: Option<Rate>,
    pub gateway: Option<Rate>,
}

/// The message rates in force, and what each sender has used of them.
#[derive(Debug)]
pub struct Rates {
    workstations: Option<Buckets<IpAddr>>,
    rooms: Option<Buckets<RoomId>>,
    gateways: Option<Buckets<String>>,
}

impl Rates {
    pub fn new(settings: &RateSettings) -> Self {
        Self {
            workstations: Buckets::new(settings.workstation),
            rooms: Buckets::new(settings.room),
            gateways: Buckets::new(settings.gateway),
        }
    }

    /// Counts one message. `Err` says how long to wait for the next.
    pub fn check(&self, origin: &Origin, client: IpAddr) -> Result<(), Duration> {
        match origin {
            Origin::Room(room) => {
                take(self.workstations.as_ref(), &client)?;
                take(self.rooms.as_ref(), room)
            }
            Origin::Gateway(name) => take(self.gateways.as_ref(), name),
            Origin::Relay => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::buckets::PRUNE_EVERY;
    use super::*;

    fn rates(workstation: &str, room: &str, gateway: &str) -> Rates {
        Rates::new(&RateSettings {
            workstation: workstation.parse().ok(),
            room: room.parse().ok(),
            gateway: gateway.parse().ok(),
        })
    }

    fn room(id: &str) -> Origin {
        Origin::Room(RoomId::new(id))
    }

    #[test]
    fn counts_each_workstation_by_itself() {
        let rates = rates("2/h", "", "");
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!(rates.check(&room("a"), one).is_ok());
        assert!(rates.check(&room("a"), one).is_ok());
        let wait = rates.check(&room("a"), one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1800));
        assert!(rates.check(&room("a"), two).is_ok());
        assert!(rates.check(&Origin::Gateway("g".into()), one).is_ok());
    }

    #[test]
    fn counts_a_room_over_all_its_workstations() {
        let rates = rates("", "1/h", "");
        let (one, two) = ("10.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        assert!(rates.check(&room("a"), one).is_ok());
        assert!(rates.check(&room("a"), two).is_err());
        assert!(rates.check(&room("b"), two).is_ok());
    }

    #[test]
    fn counts_gateways_and_never_the_relay() {
        let rates = rates("1/h", "1/h", "1/h");
        let client = "10.0.0.1".parse().unwrap();
        assert!(rates.check(&Origin::Gateway("g".into()), client).is_ok());
        assert!(rates.check(&Origin::Gateway("g".into()), client).is_err());
        assert!(rates.check(&Origin::Relay, client).is_ok());
        assert!(rates.check(&Origin::Relay, client).is_ok());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rates = rates("", "", "");
        let client = "10.0.0.1".parse().unwrap();
        assert!((0..1000).all(|_| rates.check(&room("a"), client).is_ok()));
    }

    #[test]
    fn forgets_buckets_that_are_full_again() {
        let rates = rates("1000000/s", "", "");
        for number in 0..PRUNE_EVERY {
            let client = std::net::Ipv4Addr::from(number).into();
            assert!(rates.check(&room("a"), client).is_ok());
        }
        let buckets = rates.workstations.as_ref().unwrap();
        assert!(buckets.limiter.len() < PRUNE_EVERY as usize);
    }
}
