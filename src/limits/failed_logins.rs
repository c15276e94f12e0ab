//! Wrong logins of late: who may try again, and when.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::buckets::{Buckets, take};
use super::network;
use super::rate::{Period, Rate};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
}
