//! kill -9 at random moments under load: what got its 250 arrives, and the bytes are equal.
//!
//! `ILBUD_CRASH_ROUNDS` sets the number of rounds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Client, letter_saying, next_id, vakt};
use crate::relay::{Relay, Setup, source};
use crate::sink::{Message, Sink};
use crate::wait;

const SESSIONS: usize = 12;

fn rounds() -> usize {
    env::var("ILBUD_CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap())
}

/// What the clients know.
#[derive(Default)]
struct Ledger {
    sent: Mutex<HashMap<String, Vec<u8>>>,
    /// Message-ID to reference of those that got their 250.
    promised: Mutex<BTreeMap<String, String>>,
}

impl Ledger {
    /// One client, message after message, until the relay is gone.
    fn fill(&self, port: u16, over: &AtomicBool) {
        let Ok(mut client) = Client::silent(port, &source("a")) else {
            return;
        };
        if client.reply().code != 220 || client.say("EHLO ws.test").code != 250 {
            return;
        }
        while !over.load(Ordering::Relaxed) {
            let body = format!("{}\r\n.\r\n", next_id()).repeat(300);
            let message = letter_saying(&vakt("a"), &vakt("b"), &body);
            let id = message_id(&message);
            self.sent
                .lock()
                .unwrap()
                .insert(id.clone(), message.clone());
            let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
            match reply.code {
                250 => self.promised.lock().unwrap().insert(id, reply.reference()),
                400..=499 => None,
                0 | 1 => return,
                _ => panic!("a fault of ours was said to be for good: {reply}"),
            };
        }
    }
}

fn message_id(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text
        .lines()
        .find(|line| line.starts_with("Message-ID:"))
        .unwrap_or_default();
    line.to_owned()
}

/// Between 20 and 420 ms into the load.
fn random_moment() -> Duration {
    Duration::from_millis(20 + RandomState::new().hash_one(0) % 400)
}

/// Load, and a crash in the middle of it.
fn round(relay: &mut Relay, ledger: &Ledger) {
    let over = AtomicBool::new(false);
    let port = relay.port;
    std::thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| ledger.fill(port, &over));
        }
        std::thread::sleep(random_moment());
        relay.kill();
        over.store(true, Ordering::Relaxed);
    });
}

/// Each message that arrived is one that was sent, unchanged; twice only in two of the relay's lives.
fn arrivals(kept: &[Message], sent: &HashMap<String, Vec<u8>>) -> (BTreeSet<String>, usize) {
    let mut lives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for message in kept {
        let id = message_id(&message.data);
        let original = sent
            .get(&id)
            .unwrap_or_else(|| panic!("nobody sent {id:?}"));
        assert!(message.above(original).starts_with("Received:"));
        lives.entry(id).or_default().push(message.life);
    }
    for (id, lives) in &lives {
        let once_each: BTreeSet<_> = lives.iter().collect();
        assert_eq!(
            once_each.len(),
            lives.len(),
            "{id} twice in one life: {lives:?}"
        );
    }
    let doubled = kept.len() - lives.len();
    (lives.into_keys().collect(), doubled)
}

#[test]
fn what_got_its_250_survives_kill_9() {
    let sink = Sink::start();
    let mut relay = Setup::from_a_to(&sink.hop())
        .settings("[limits]\nconnections_per_address = 1000")
        .prepare();
    let ledger = Ledger::default();
    let rounds = rounds();
    for n in 1..=rounds {
        relay.start();
        round(&mut relay, &ledger);
        wait::until("the end of its connections", || {
            sink.open_connections() == 0
        });
        sink.next_life();
        if n % 10 == 0 {
            let promised = ledger.promised.lock().unwrap().len();
            eprintln!(
                "{n} crashes, {promised} promises, {} arrivals",
                sink.count()
            );
        }
    }
    relay.start();
    wait::until("an empty queue", || relay.queue_is_empty());
    let sent = ledger.sent.into_inner().unwrap();
    let promised = ledger.promised.into_inner().unwrap();
    let (arrived, doubled) = arrivals(&sink.kept(), &sent);
    let lost: Vec<_> = promised
        .keys()
        .filter(|id| !arrived.contains(*id))
        .collect();
    eprintln!(
        "{rounds} crashes: {} sent, {} promised, {} arrived, {doubled} of them twice",
        sent.len(),
        promised.len(),
        arrived.len()
    );
    assert_eq!(lost, [""; 0], "lost");
    assert!(promised.len() >= rounds, "too little load to mean anything");
    let limit = (sent.len() * 2).to_string();
    let delivered: BTreeSet<String> = relay
        .rows(&["log", "search", "--status", "delivered", "--limit", &limit])
        .iter()
        .map(|row| row["ref"].as_str().unwrap().to_owned())
        .collect();
    let untold: Vec<_> = promised
        .values()
        .filter(|r| !delivered.contains(*r))
        .collect();
    assert_eq!(untold, [""; 0], "delivered, and the log does not say so");
}
