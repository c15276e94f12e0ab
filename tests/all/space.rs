//! Memory and disk follow what is waiting, not what has passed.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ilbud::spool::sqlite::{self, Sqlite};
use ilbud::spool::{BodyPermit, Spool};

use crate::client::{Client, letter, letter_saying, vakt};
use crate::relay::{Relay, Setup, source};
use crate::sink::Sink;
use crate::wait;

const MIB: u64 = 1024 * 1024;

/// Octets of the store's files.
fn store_size(relay: &Relay) -> u64 {
    ["ilbud.db", "ilbud.db-wal"]
        .iter()
        .filter_map(|name| fs::metadata(relay.path(name)).ok())
        .map(|file| file.len())
        .sum()
}

#[test]
fn the_space_of_what_has_passed_is_used_again() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let body = format!("{}\r\n", "x".repeat(70)).repeat(14_000);
    let mut client = relay.client("a");
    for _ in 0..120 {
        let message = letter_saying(&vakt("a"), &vakt("b"), &body);
        let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    }
    sink.wait_for(120);
    wait::until("an empty queue", || relay.queue_is_empty());
    wait::until("a small store", || store_size(&relay) < 50 * MIB);
}

/// Octets that the process has in memory.
fn resident(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn many_large_messages_at_once_wait_for_memory_and_the_relay_lives() {
    let mut relay = Setup::three_rooms()
        .settings("[limits]\nmemory = \"8 MiB\"\nmessage_size = \"4 MiB\"")
        .start();
    let body = format!("{}\r\n", "x".repeat(998)).repeat(3_500);
    let port = relay.port;
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::greeted(port, &source("a"));
                    let message = letter_saying(&vakt("a"), &vakt("b"), &body);
                    client.send(&vakt("a"), &[&vakt("b")], &message).code
                })
            })
            .collect();
        clients.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(
        codes.iter().all(|code| [250, 451, 452].contains(code)),
        "{codes:?}"
    );
    let kept = codes.iter().filter(|code| **code == 250).count();
    assert!(relay.is_running());
    assert!(resident(&relay) < 300 * MIB, "{} octets", resident(&relay));
    wait::until("what was kept", || relay.maildir("b", "vakt").len() == kept);
    let small = letter(&vakt("a"), &vakt("b"));
    assert_eq!(
        relay
            .client("a")
            .send(&vakt("a"), &[&vakt("b")], &small)
            .code,
        250
    );
}

/// Each holds a part of all memory, and waits for more: one of them goes on past it, and what it gives
/// back is enough for the next.
#[tokio::test]
async fn of_many_that_wait_for_the_memory_of_the_others_one_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&sqlite::Settings {
        path: folder.path().join("ilbud.db"),
        keep_bodies: Duration::ZERO,
    });
    let (spool, _feed) = Spool::new(Arc::new(store.unwrap()), None, 4 << 20, 1);
    let more = async |held: &mut BodyPermit, octets| {
        let granted = spool.reserve_more(held, octets, Duration::ZERO);
        granted.await
    };
    let (mut first, mut second) = (BodyPermit::default(), BodyPermit::default());
    assert!(more(&mut first, 2 << 20).await && more(&mut second, 2 << 20).await);
    let mut third = BodyPermit::default();
    assert!(!more(&mut third, 1 << 20).await, "it holds nothing yet");
    assert!(more(&mut first, 1 << 20).await && more(&mut first, 1 << 20).await);
    assert!(!more(&mut second, 1 << 20).await, "one at a time");
    drop(first);
    assert!(more(&mut second, 2 << 20).await && more(&mut second, 1 << 20).await);
    assert!(!more(&mut third, 1 << 20).await);
    drop(second);
    assert!(more(&mut third, 1 << 20).await);
}
