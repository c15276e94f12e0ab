//! Password checks at once: each takes a processor for a moment, and mail needs some too.
//!
//! Who waits for a check waits in line with its like: who failed of late behind who is new here, and
//! those behind whoever was right before or is known to the routing table. So two hundred that guess
//! hold up each other, and nobody else. That is all that is remembered of a login: it lets nobody in.
//! What is remembered is bounded, and what is good pushes out what is not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::{Guest, network};

/// Addresses that are remembered at a time.
const MOST: usize = 10_000;
/// How long it is remembered that an address was right, or wrong.
const PRAISE: Duration = Duration::from_secs(30 * 24 * 3600);
const GRUDGE: Duration = Duration::from_secs(3600);

/// Password checks at once, and who goes first.
#[derive(Debug)]
pub struct Checks {
    all: Semaphore,
    /// Those among them of whom nothing good is known.
    unproved: Semaphore,
    /// Those among these that failed of late.
    suspects: Semaphore,
    seen: Mutex<HashMap<IpAddr, Seen>>,
}

/// How the last login from an address came out, and until when that is remembered.
#[derive(Debug, Clone, Copy)]
struct Seen {
    is_right: bool,
    until: Instant,
}

/// The right to check a password now; given back when dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _seats: [Option<SemaphorePermit<'a>>; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Proved,
    New,
    Suspect,
}

impl Checks {
    pub fn new(at_once: usize) -> Self {
        Self {
            all: Semaphore::new(at_once),
            unproved: Semaphore::new(at_once.div_ceil(2)),
            suspects: Semaphore::new(1),
            seen: Mutex::default(),
        }
    }

    /// Ready when it is this client's turn.
    pub async fn turn(&self, client: IpAddr, guest: Guest) -> Result<Turn<'_>, AcquireError> {
        let standing = self.standing(client, guest, Instant::now());
        let suspect = match standing {
            Standing::Suspect => Some(self.suspects.acquire().await?),
            Standing::Proved | Standing::New => None,
        };
        let unproved = match standing {
            Standing::Suspect | Standing::New => Some(self.unproved.acquire().await?),
            Standing::Proved => None,
        };
        let own = Some(self.all.acquire().await?);
        Ok(Turn {
            _seats: [own, unproved, suspect],
        })
    }

    /// How a login came out.
    pub fn remember(&self, client: IpAddr, is_right: bool, now: Instant) {
        let client = network(client);
        let mut seen = self.seen();
        let is_new = !seen.contains_key(&client);
        if is_new && seen.len() >= MOST {
            seen.retain(|_, it| it.until > now);
        }
        if is_new && seen.len() >= MOST {
            if !is_right {
                return;
            }
            forget_least(&mut seen);
        }
        let until = now + if is_right { PRAISE } else { GRUDGE };
        seen.insert(client, Seen { is_right, until });
    }

    fn standing(&self, client: IpAddr, guest: Guest, now: Instant) -> Standing {
        let seen = self.seen().get(&network(client)).copied();
        match (seen.filter(|it| it.until > now), guest) {
            (Some(Seen { is_right: true, .. }), _) | (None, Guest::Known) => Standing::Proved,
            (Some(_), _) => Standing::Suspect,
            (None, Guest::Stranger) => Standing::New,
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<IpAddr, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for something good: grudges go first, then what is oldest. Many go at once, so that it
/// is seldom looked for.
fn forget_least(seen: &mut HashMap<IpAddr, Seen>) {
    let mut worth: Vec<_> = seen
        .iter()
        .map(|(client, it)| (it.is_right, it.until, *client))
        .collect();
    let (least, ..) = worth.select_nth_unstable(MOST / 64);
    for (.., client) in least {
        seen.remove(client);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_was_right_goes_first_and_who_was_wrong_last() {
        let (checks, now) = (Checks::new(1), Instant::now());
        let [good, bad, new] = [1, 2, 3].map(|it| IpAddr::from([10, 0, 0, it]));
        checks.remember(good, true, now);
        checks.remember(bad, false, now);
        let (later, much_later) = (now + GRUDGE, now + PRAISE);
        for (client, guest, at, standing) in [
            (good, Guest::Stranger, now, Standing::Proved),
            (good, Guest::Stranger, later, Standing::Proved),
            (good, Guest::Stranger, much_later, Standing::New),
            (bad, Guest::Stranger, now, Standing::Suspect),
            (bad, Guest::Known, now, Standing::Suspect),
            (bad, Guest::Stranger, later, Standing::New),
            (new, Guest::Stranger, now, Standing::New),
            (new, Guest::Known, now, Standing::Proved),
        ] {
            let told = checks.standing(client, guest, at);
            assert_eq!(told, standing, "{client} {guest:?}");
        }
        checks.remember(bad, true, now);
        assert_eq!(checks.standing(bad, Guest::Stranger, now), Standing::Proved);
    }

    #[test]
    fn many_that_guess_wait_for_each_other_and_let_others_pass() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let checks = std::sync::Arc::new(Checks::new(1));
        let address = |it: u8| IpAddr::from([10, 0, 0, it]);
        for n in 0..100 {
            checks.remember(address(n), false, Instant::now());
        }
        let order = std::sync::Arc::new(Mutex::new(Vec::new()));
        { runtime }.build().unwrap().block_on(async {
            let first = checks.turn(address(0), Guest::Stranger).await.unwrap();
            let mut waiting = tokio::task::JoinSet::new();
            for n in 1..=102 {
                let (checks, order) = (checks.clone(), order.clone());
                let guest = match n {
                    102 => Guest::Known,
                    _ => Guest::Stranger,
                };
                waiting.spawn(async move {
                    let turn = checks.turn(address(n), guest).await.unwrap();
                    order.lock().unwrap().push(n);
                    tokio::task::yield_now().await;
                    drop(turn);
                });
                tokio::task::yield_now().await;
            }
            drop(first);
            while waiting.join_next().await.is_some() {}
        });
        let order = order.lock().unwrap();
        let place = |n: u8| order.iter().position(|it| *it == n).unwrap();
        assert_eq!(place(102), 0, "{order:?}");
        assert!(place(100) <= 2 && place(101) <= 3, "{order:?}");
    }

    #[test]
    fn what_is_good_is_remembered_however_many_guess() {
        let (checks, now) = (Checks::new(1), Instant::now());
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        for n in 0..20_000 {
            checks.remember(address(n), false, now);
        }
        for n in 30_000..50_000 {
            checks.remember(address(n), true, now);
            let standing = checks.standing(address(n), Guest::Stranger, now);
            assert_eq!(standing, Standing::Proved, "{n}");
        }
        assert!(checks.seen().len() <= MOST);
        checks.remember(address(1), false, now);
        let standing = checks.standing(address(49_999), Guest::Stranger, now);
        assert_eq!(standing, Standing::Proved, "no grudge pushes it out");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (checks, now) = (Checks::new(1), Instant::now());
        for n in 0..20_000_u32 {
            checks.remember(std::net::Ipv4Addr::from(n).into(), false, now);
        }
        assert_eq!(checks.seen().len(), MOST);
        checks.remember([10, 0, 0, 1].into(), true, now + GRUDGE);
        assert_eq!(checks.seen().len(), 1);
    }
}
