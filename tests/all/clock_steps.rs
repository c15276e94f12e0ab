//! The clock jumps an hour either way: nothing freezes, nothing fires early, nobody is given up.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ilbud::mail::Timestamp;

use crate::client::{letter, vakt};
use crate::peer::all_here;
use crate::relay::{Relay, Setup};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const HOUR: i64 = 3600;

/// A clock that the test sets, for a relay that runs under it.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    fn new() -> Self {
        let clock = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        clock.set(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// So many seconds off the true time. In one step: never an empty file.
    fn set(&self, seconds: i64) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn run(&self, setup: Setup) -> Relay {
        let folders = fs::read_dir("/usr/lib").unwrap();
        let libraries = folders.map(|it| it.unwrap().path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.into_iter().find(|it| it.is_file()).unwrap();
        setup
            .under(&[
                "env",
                &format!("LD_PRELOAD={}", library.display()),
                &format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "FAKETIME_NO_CACHE=1",
            ])
            .start()
    }
}

/// A hop that puts off the first message, and every one to `full@`.
fn hop() -> Sink {
    Sink::scripted(|stage, n, line| match (stage, n) {
        (Stage::Rcpt, _) if line.contains("full@") => Step::Say("452 4.2.2 full"),
        (Stage::Rcpt, 1) => Step::Say("451 4.7.1 later"),
        _ => Step::Agree,
    })
}

fn send(relay: &Relay, to: &str) -> String {
    let message = letter(&vakt("a"), to);
    let reply = relay.client("a").send(&vakt("a"), &[to], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

fn next_attempt(relay: &Relay, reference: &str) -> Timestamp {
    let rows = relay.rows(&["queue", "list"]);
    let row = rows.iter().find(|row| row["ref"] == reference).unwrap();
    row["next_attempt_at"].as_str().unwrap().parse().unwrap()
}

fn wait_until_moved(relay: &Relay, reference: &str, from: Timestamp, seconds: i64) {
    wait::until("moved times", || {
        let moved = next_attempt(relay, reference).as_millis() - from.as_millis();
        (moved - seconds * 1000).abs() < 1500
    });
}

#[test]
fn an_hour_back_freezes_nothing() {
    if !all_here(&["faketime"]) {
        return;
    }
    let (clock, sink) = (Clock::new(), hop());
    let relay = clock.run(Setup::from_a_to(&sink.hop()).delivery("retry = [\"4s\"]"));
    let reference = send(&relay, &vakt("b"));
    relay.expect_events(&reference, &["accepted", "deferred"]);
    clock.set(-HOUR);
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
    let later = send(&relay, &vakt("b"));
    relay.expect_events(&later, &["accepted", "delivered"]);
}

#[test]
fn an_hour_forward_fires_nothing_early_and_gives_nothing_up() {
    if !all_here(&["faketime"]) {
        return;
    }
    let (clock, sink) = (Clock::new(), hop());
    let setup = Setup::from_a_to(&sink.hop());
    let relay = clock.run(setup.delivery("retry = [\"20m\"]\ngive_up_after = \"30m\""));
    let full = "full@b.nodnett.test";
    let reference = send(&relay, full);
    relay.expect_events(&reference, &["accepted", "deferred"]);
    let due = next_attempt(&relay, &reference);
    clock.set(HOUR);
    wait_until_moved(&relay, &reference, due, HOUR);
    let later = send(&relay, &vakt("b"));
    relay.expect_events(&later, &["accepted", "delivered"]);
    assert_eq!(relay.events(&reference), ["accepted", "deferred"]);
    // Were it an hour older, this attempt would be its last.
    relay.done(&["queue", "retry", &reference]);
    relay.expect_events(&reference, &["accepted", "deferred", "retried", "deferred"]);
}

#[test]
fn an_attempt_in_hand_does_not_age_by_a_step() {
    if !all_here(&["faketime"]) {
        return;
    }
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, n, _| match (stage, n) {
        (Stage::Mail, 1) => Step::WaitFor(Arc::clone(&held)),
        (Stage::Rcpt, 1) => Step::Say("451 4.7.1 later"),
        _ => Step::Agree,
    });
    let clock = Clock::new();
    let setup = Setup::from_a_to(&sink.hop());
    let relay = clock.run(setup.delivery("retry = [\"2s\"]\ngive_up_after = \"30m\""));
    let reference = send(&relay, &vakt("b"));
    wait::until("the attempt", || sink.reached(Stage::Mail) == 1);
    let due = next_attempt(&relay, &reference);
    clock.set(HOUR);
    wait_until_moved(&relay, &reference, due, HOUR);
    gate.open();
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
}

#[test]
fn an_hour_back_that_is_put_right_ages_nothing() {
    if !all_here(&["faketime"]) {
        return;
    }
    let (clock, sink) = (Clock::new(), hop());
    let setup = Setup::from_a_to(&sink.hop());
    let relay = clock.run(setup.delivery("retry = [\"20m\"]\ngive_up_after = \"30m\""));
    let full = "full@b.nodnett.test";
    let put_off = || {
        let reference = send(&relay, full);
        relay.expect_events(&reference, &["accepted", "deferred"]);
        let due = next_attempt(&relay, &reference);
        (reference, due)
    };
    let (before, due_before) = put_off();
    clock.set(-HOUR);
    wait_until_moved(&relay, &before, due_before, -HOUR);
    let (between, due_between) = put_off();
    clock.set(0);
    wait_until_moved(&relay, &between, due_between, HOUR);
    wait_until_moved(&relay, &before, due_before, 0);
    // Were they an hour older, these attempts would be their last.
    for reference in [before, between] {
        relay.done(&["queue", "retry", &reference]);
        relay.expect_events(&reference, &["accepted", "deferred", "retried", "deferred"]);
    }
}
