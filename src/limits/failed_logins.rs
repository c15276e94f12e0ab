//! Wrong logins of late: who may try again, and when.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bounded::Bounded;
use super::buckets::Buckets;
use super::network;
use super::rate::{Period, Rate, Unit};

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
            unit: Unit::Each,
        };
        Self {
            address: a_minute(20),
            user: a_minute(10),
        }
    }
}

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
    addresses: Bounded<IpAddr, Instant>,
    users: Bounded<u64, Instant>,
    /// Until when an address counts as one that failed.
    failed: Bounded<IpAddr, Instant>,
}

impl FailedLogins {
    pub fn new(settings: &FailedLoginSettings) -> Self {
        Self {
            addresses: Buckets::new(settings.address, 0),
            users: Buckets::new(settings.user, 0),
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
        let by_user = by_user.filter(|_| blocked.failed.get(&client).is_some_and(|it| it > now));
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
        let address_wait = wait_of(self.addresses.as_ref(), &client);
        let user_wait = wait_of(self.users.as_ref(), &user);
        let mut blocked = self.blocked();
        blocked.failed.insert(client, now + GRUDGE, now);
        if let Some(wait) = address_wait {
            blocked.addresses.insert(client, now + wait, now);
        }
        if let Some(wait) = user_wait {
            blocked.users.insert(user, now + wait, now);
        }
    }

    fn blocked(&self) -> MutexGuard<'_, Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more, and says how long to wait where that is too many.
fn wait_of<K: Hash + Eq + Clone>(buckets: Option<&Buckets<K>>, key: &K) -> Option<Duration> {
    buckets?.take(key, 1, false).err()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::bounded::MOST_KEYS;
    use super::*;

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

    /// Whoever has any number of networks cannot use them to be forgotten, nor to fill the memory.
    #[test]
    fn many_addresses_let_nobody_off_and_lock_nobody_out() {
        let logins = FailedLogins::new(&FailedLoginSettings {
            address: "2/h".parse().unwrap(),
            user: "2/h".parse().unwrap(),
        });
        let honest = IpAddr::from([10, 0, 0, 1]);
        let of = |n: u128| IpAddr::from((0x2001_0db8_u128 << 96 | n << 64).to_be_bytes());
        for _ in 0..4 {
            logins.add(of(0), "guessed");
        }
        for n in 1..100_000 {
            logins.add(of(n), "guessed");
        }
        assert!(logins.check(of(0), "other").is_err(), "it goes on waiting");
        assert!(logins.check(of(99_999), "guessed").is_err());
        assert!(logins.check(honest, "guessed").is_ok());
        let blocked = logins.blocked();
        assert!(blocked.failed.len() <= MOST_KEYS && blocked.users.len() <= MOST_KEYS);
    }
}
