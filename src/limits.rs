//! How much one client, room or gateway may send: settings, connections, and message rates.
//!
//! The crate `governor` lives here. A rate is a bucket that fills evenly: `120/min` lets 120
//! messages pass at once and then one every half second. Nothing here blocks or fails; who is over
//! the limit is told how long to wait.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    pub failed_logins: FailedLoginSettings,
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
            failed_logins: FailedLoginSettings::default(),
        }
    }
}

/// `[limits.failed_logins]`: how many wrong ones are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedLoginSettings {
    pub address: Rate,
    pub user: Rate,
}

impl Default for FailedLoginSettings {
    fn default() -> Self {
        let a_minute = |count: u32| Rate {
            count: NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN),
            period: Period::Minute,
        };
        Self {
            address: a_minute(20),
            user: a_minute(10),
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

/// Keys that are remembered at a time; when there are more, some are let off.
const MOST_KEYS: usize = 10_000;
/// How long an address that failed is held up by what others fail with the same user.
const GRUDGE: Duration = Duration::from_secs(3600);

/// Wrong logins of late, by address and by user.
///
/// Who is right is never held up by itself, and never by what others got wrong: a limit of the user
/// concerns addresses only that failed themselves within the hour, or else anybody could lock a
/// workstation out by guessing in its name. Of IPv6 the /64 counts.
#[derive(Debug)]
pub struct FailedLogins {
    addresses: Option<Buckets<IpAddr>>,
    users: Option<Buckets<u64>>,
    /// Names are kept as their hashes: what clients say may be long.
    noise: RandomState,
    blocked: Mutex<Blocked>,
}

#[derive(Debug, Default)]
struct Blocked {
    addresses: HashMap<IpAddr, Instant>,
    users: HashMap<u64, Instant>,
    /// Until when an address counts as one that failed.
    failed: HashMap<IpAddr, Instant>,
}

impl FailedLogins {
    pub fn new(settings: &FailedLoginSettings) -> Self {
        Self {
            addresses: Buckets::new(Some(settings.address)),
            users: Buckets::new(Some(settings.user)),
            noise: RandomState::new(),
            blocked: Mutex::default(),
        }
    }

    /// May this address try to be this user? `Err`: how long to wait.
    pub fn check(&self, client: IpAddr, user: &str) -> Result<(), Duration> {
        let (now, client) = (Instant::now(), network(client));
        let blocked = self.blocked();
        let user = self.noise.hash_one(user);
        let by_user = blocked.users.get(&user);
        let by_user = by_user.filter(|_| blocked.failed.get(&client).is_some_and(|it| *it > now));
        let until = blocked.addresses.get(&client).max(by_user);
        match until.map(|until| until.saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// A login was wrong.
    pub fn add(&self, client: IpAddr, user: &str) {
        let (now, client) = (Instant::now(), network(client));
        let user = self.noise.hash_one(user);
        let address_wait = take(self.addresses.as_ref(), &client).err();
        let user_wait = take(self.users.as_ref(), &user).err();
        let mut blocked = self.blocked();
        remember(&mut blocked.failed, client, now + GRUDGE, now);
        if let Some(wait) = address_wait {
            remember(&mut blocked.addresses, client, now + wait, now);
        }
        if let Some(wait) = user_wait {
            remember(&mut blocked.users, user, now + wait, now);
        }
    }

    fn blocked(&self) -> MutexGuard<'_, Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember<K: Hash + Eq>(map: &mut HashMap<K, Instant>, key: K, until: Instant, now: Instant) {
    if map.len() >= MOST_KEYS {
        map.retain(|_, until| *until > now);
    }
    if map.len() < MOST_KEYS || map.contains_key(&key) {
        map.insert(key, until);
    }
}

/// What one client can have all of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
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
    fn wrong_logins_hold_up_who_made_them_and_nobody_else() {
        let logins = FailedLogins::new(&FailedLoginSettings {
            address: "3/h".parse().unwrap(),
            user: "2/h".parse().unwrap(),
        });
        let [one, two, three] = [1_u8, 2, 3].map(|it| IpAddr::from([10, 0, 0, it]));
        for _ in 0..3 {
            assert!(logins.check(one, "ws").is_ok());
            logins.add(one, "ws");
        }
        let wait = logins.check(one, "ws").unwrap_err();
        assert!(wait <= Duration::from_secs(1800), "{wait:?}");
        assert!(
            logins.check(one, "other").is_ok(),
            "the address has one left"
        );
        assert!(logins.check(two, "ws").is_ok(), "it failed at nothing");
        logins.add(two, "other");
        assert!(logins.check(two, "ws").is_err());
        logins.add(one, "other");
        assert!(logins.check(one, "third").is_err(), "the address's limit");
        assert!(logins.check(three, "ws").is_ok());
        let wide = |it: &str| network(it.parse().unwrap());
        assert_eq!(wide("2001:db8::1"), wide("2001:db8::ffff:2"));
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
