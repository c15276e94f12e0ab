//! How much one client, room or gateway may send: settings, connections, and message rates.
//!
//! The crate `governor` lives here. A rate is a bucket that fills evenly: `120/min` lets 120
//! messages pass at once and then one every half second. Nothing here blocks or fails; who is over
//! the limit is told how long to wait.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::mail::{Origin, RoomId};

/// `[limits]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Octets of content.
    pub message_size: usize,
    /// Recipients of one message.
    pub recipients: usize,
    pub connections: usize,
    pub connections_per_address: usize,
    /// Octets for the bodies of messages in hand.
    pub memory: usize,
    pub rates: RateSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            message_size: 25 * 1024 * 1024,
            recipients: 100,
            connections: 5000,
            connections_per_address: 100,
            memory: 512 << 20,
            rates: RateSettings::default(),
        }
    }
}

/// `[limits.rates]`: messages; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateSettings {
    pub workstation: Option<Rate>,
    pub room: Option<Rate>,
    pub gateway: Option<Rate>,
}

/// So many messages in such a time: `120/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn word(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

impl Rate {
    fn quota(self) -> Option<Quota> {
        let every = self.period.length() / self.count.get();
        Some(Quota::with_period(every)?.allow_burst(self.count))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.word())
    }
}

/// The text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateFault;

impl fmt::Display for RateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a rate is written like \"120/min\": a number from 1 to 1000000, then /s, /min or /h",
        )
    }
}

impl std::error::Error for RateFault {}

impl FromStr for Rate {
    type Err = RateFault;

    fn from_str(text: &str) -> Result<Self, RateFault> {
        let (count, word) = text.split_once('/').ok_or(RateFault)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| RateFault)?;
        let period = Period::ALL
            .into_iter()
            .find(|period| period.word() == word.trim())
            .ok_or(RateFault)?;
        if count.get() > 1_000_000 {
            return Err(RateFault);
        }
        Ok(Self { count, period })
    }
}

/// Connections that are open, in all and from each address.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    /// Unknown at first behind a load balancer.
    address: Option<IpAddr>,
}

impl Connections {
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            most: settings.connections,
            most_per_address: settings.connections_per_address,
            open: Mutex::default(),
        })
    }

    /// A place for one more from `address`; `None`: the house, or the address's share, is full.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut seat = self.take_unnamed()?;
        seat.name(address).then_some(seat)
    }

    /// A place for one more, whose address is not known yet; `None`: the house is full.
    pub fn take_unnamed(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open();
        if open.all >= self.most {
            return None;
        }
        open.all += 1;
        Some(Seat {
            connections: Arc::clone(self),
            address: None,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whose it is is known now. `false`: that address's share is full.
    pub fn name(&mut self, address: IpAddr) -> bool {
        let mut open = self.connections.open();
        let mine = open.by_address.get(&address).copied().unwrap_or(0);
        if self.address.is_some() || mine >= self.connections.most_per_address {
            return false;
        }
        open.by_address.insert(address, mine + 1);
        drop(open);
        self.address = Some(address);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all = open.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(mine) = open.by_address.get_mut(&address) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                open.by_address.remove(&address);
            }
        }
    }
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

fn take<K: Hash + Eq + Clone>(buckets: Option<&Buckets<K>>, key: &K) -> Result<(), Duration> {
    buckets.map_or(Ok(()), |buckets| buckets.take(key))
}

/// After so many messages, full buckets are forgotten.
const PRUNE_EVERY: u32 = 4096;

/// A bucket a key. Those that are full again hold no memory for long.
struct Buckets<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    taken: AtomicU32,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Option<Rate>) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_and_prints_rates() {
        for (text, printed) in [
            ("120/min", Some("120/min")),
            ("1/s", Some("1/s")),
            (" 7 / h ", Some("7/h")),
            ("1000000/s", Some("1000000/s")),
            ("1000001/s", None),
            ("0/min", None),
            ("-1/min", None),
            ("120", None),
            ("120/", None),
            ("/min", None),
            ("120/day", None),
            ("", None),
        ] {
            let rate = text.parse::<Rate>().ok().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), printed, "{text:?}");
        }
    }

    #[test]
    fn seats_are_counted_in_all_and_by_address() {
        let connections = Connections::new(&Settings {
            connections: 3,
            connections_per_address: 2,
            ..Settings::default()
        });
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|it| it.parse().unwrap());
        let first = connections.take(one).unwrap();
        let second = connections.take(one).unwrap();
        assert!(connections.take(one).is_none(), "the address's share");
        let third = connections.take(two).unwrap();
        assert!(connections.take(two).is_none(), "the house");
        drop(first);
        let fourth = connections.take(two).unwrap();
        assert!(connections.take(one).is_none(), "the house again");
        drop((second, third, fourth));
        assert!(connections.open().by_address.is_empty());
    }

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
