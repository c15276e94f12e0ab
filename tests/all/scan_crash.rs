//! kill -9 while messages are scanned, and between a verdict and its commit: after the restart nothing
//! unscanned is delivered, and what got its 250 arrives.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::{Client, letter, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::relay::{Relay, Setup, source};
use crate::scans::{engine, saying, send, status};
use crate::sink::Sink;
use crate::wait;

const ROUNDS: usize = 6;
const SENDERS: usize = 6;
/// Promises in each round, before the crash.
const PROMISES: usize = 30;

/// Reference and message of those that got their 250.
type Promised = Mutex<HashMap<String, Vec<u8>>>;

/// One client, message after message, until the relay is gone.
fn fill(port: u16, over: &AtomicBool, promised: &Promised) {
    let Ok(mut client) = Client::silent(port, &source("a")) else {
        return;
    };
    if client.reply().code != 220 || client.say("EHLO ws.test").code != 250 {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        let message = letter(&vakt("a"), &vakt("b"));
        let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
        match reply.code {
            250 => drop(promised.lock().unwrap().insert(reply.reference(), message)),
            0 | 1 => return,
            400..=499 => {}
            _ => panic!("{reply}"),
        }
    }
}

fn has(messages: &[Vec<u8>], sent: &[u8]) -> bool {
    messages.iter().any(|it| it == sent)
}

/// Whatever stalls goes on, until nothing waits.
fn drain(relay: &Relay, scanner: &FakeScanner) {
    scanner.always(None);
    let drained = wait::within(Duration::from_secs(90), || {
        scanner.go_on();
        relay.queue_is_empty()
    });
    assert!(drained, "{:?}", relay.rows(&["queue", "list"]));
}

#[test]
fn nothing_unscanned_passes_and_nothing_is_lost_when_the_relay_is_killed() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let engine = engine(&scanner, "one", "60s");
    let mut relay = Setup::from_a_to(&sink.hop())
        .settings("[limits]\nconnections_per_address = 1000")
        .settings(&format!("[scan]\ninline_deadline = \"1s\"\n{engine}"))
        .prepare();
    let promised = Promised::default();
    for round in 0..ROUNDS {
        relay.start();
        let (port, over) = (relay.port, AtomicBool::new(false));
        let mut faults = vec![Fault::Right; PROMISES];
        faults.extend([Fault::Half, Fault::Right, Fault::Right]);
        scanner.script(&faults);
        scanner.always((round % 2 == 0).then_some(Fault::Stall));
        let (given, count) = (scanner.given().len(), promised.lock().unwrap().len());
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| fill(port, &over, &promised));
            }
            wait::until("load", || {
                promised.lock().unwrap().len() >= count + PROMISES
                    && scanner.given().len() > given + PROMISES + round
            });
            // What stalled is answered in the moment in which the relay is killed.
            scanner.go_on();
            relay.kill();
            over.store(true, Ordering::Relaxed);
        });
        scanner.go_on();
    }
    relay.start();
    drain(&relay, &scanner);
    let (kept, passed) = (sink.kept(), HashSet::from_iter(scanner.passed()));
    let passed: HashSet<Vec<u8>> = passed;
    for (reference, sent) in &promised.into_inner().unwrap() {
        assert!(
            kept.iter().any(|it| it.data.ends_with(sent)),
            "{reference} is lost"
        );
        assert_eq!(status(&relay, reference), "delivered");
    }
    for message in &kept {
        let mut passed = passed.iter();
        assert!(
            passed.any(|it| message.data.ends_with(it)),
            "unscanned: {}",
            message.text()
        );
    }
}

#[test]
fn what_is_killed_between_the_verdict_and_its_commit_is_scanned_again() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.find("malign", "Test.Malign");
    let engine = engine(&scanner, "one", "60s");
    let mut relay = Setup::from_a_to(&sink.hop())
        .settings(&format!(
            "[scan]\nslots = 40\ninline_deadline = \"0s\"\n{engine}"
        ))
        .prepare();
    scanner.always(Fault::Stall);
    let (mut clean, mut infected) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        relay.start();
        let (good, bad) = (letter(&vakt("a"), &vakt("b")), saying("malign"));
        clean.push((send(&relay, &good).reference(), good.clone()));
        infected.push((send(&relay, &bad).reference(), bad.clone()));
        wait::until("both at the engine", || {
            let given = scanner.given();
            has(&given, &good) && has(&given, &bad)
        });
        scanner.go_on();
        relay.kill();
    }
    relay.start();
    drain(&relay, &scanner);
    let kept = sink.kept();
    for (reference, sent) in &clean {
        assert!(kept.iter().any(|it| it.data.ends_with(sent)), "{reference}");
        assert_eq!(status(&relay, reference), "delivered");
    }
    for (reference, sent) in &infected {
        assert!(!kept.iter().any(|it| it.data.ends_with(sent)));
        assert_eq!(status(&relay, reference), "quarantined");
    }
}
