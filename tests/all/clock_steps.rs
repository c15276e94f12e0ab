//! The clock jumps an hour either way: nothing freezes, nothing fires early, nobody is given up.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::Timestamp;
use serde_json::Value;

use crate::client::{letter, vakt};
use crate::peer::all_here;
use crate::relay::{Relay, Setup, column};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const HOUR: i64 = 3600;
/// Well before the next try.
const SOON: Duration = Duration::from_secs(20);

/// A clock that the test sets, for a relay that runs under it.
pub struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    pub fn new() -> Self {
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
    pub fn set(&self, seconds: i64) {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    pub fn run(&self, setup: Setup) -> Relay {
        self.run_in(setup, &[])
    }

    /// The same with more in its environment.
    fn run_in(&self, setup: Setup, more: &[&str]) -> Relay {
        let usual = self.environment();
        let usual: Vec<&str> = usual.iter().map(String::as_str).collect();
        setup.under(&[&usual[..], more].concat()).start()
    }

    /// What a program that goes by this clock is run under.
    pub fn environment(&self) -> Vec<String> {
        let folders = fs::read_dir("/usr/lib").unwrap();
        let libraries = folders.map(|it| it.unwrap().path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.into_iter().find(|it| it.is_file()).unwrap();
        let library = format!("LD_PRELOAD={}", library.display());
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display());
        [
            "env",
            &library,
            &file,
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_NO_CACHE=1",
        ]
        .map(str::to_owned)
        .into()
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

/// The clock was set while the relay was down: what waits is tried at once all the same.
#[test]
fn an_hour_either_way_while_it_is_down_neither_freezes_nor_ends_anything() {
    if !all_here(&["faketime"]) {
        return;
    }
    for seconds in [HOUR, -HOUR] {
        let (clock, sink) = (Clock::new(), hop());
        let setup = Setup::from_a_to(&sink.hop());
        let delivery = "retry = [\"20m\"]\nwarn_after = \"10m\"\ngive_up_after = \"30m\"";
        let mut relay = clock.run(setup.delivery(delivery));
        let reference = send(&relay, &vakt("b"));
        relay.expect_events(&reference, &["accepted", "deferred"]);
        assert!(relay.stop().success());
        clock.set(seconds);
        relay.start();
        assert_eq!(sink.wait_within(SOON, 1).len(), 1, "{seconds}");
        relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
        let later = send(&relay, &vakt("b"));
        relay.expect_events(&later, &["accepted", "delivered"]);
    }
}

/// For all that the relay knows it was down for that hour: every attempt of the schedule is made
/// before anything is given up.
#[test]
fn an_hour_forward_while_it_is_down_gives_nothing_up_at_the_first_trouble() {
    if !all_here(&["faketime"]) {
        return;
    }
    let (clock, sink) = (Clock::new(), hop());
    let setup = Setup::from_a_to(&sink.hop());
    let delivery =
        "retry = [\"20m\", \"1s\", \"1s\"]\nwarn_after = \"2h\"\ngive_up_after = \"30m\"";
    let mut relay = clock.run(setup.delivery(delivery));
    let full = "full@b.nodnett.test";
    let reference = send(&relay, full);
    relay.expect_events(&reference, &["accepted", "deferred"]);
    assert!(relay.stop().success());
    clock.set(HOUR);
    relay.start();
    let events = || relay.events(&reference);
    wait::until("an attempt since", || events().len() == 3);
    assert_eq!(events(), ["accepted", "deferred", "deferred"]);
    for attempts in 3..=4 {
        relay.done(&["queue", "retry", &reference]);
        let tried = || relay.rows(&["log", "show", &reference]);
        let tried = || {
            tried()
                .iter()
                .filter(|row| row["attempt"] == attempts)
                .count()
        };
        wait::until("the next attempt", || tried() == 1);
    }
    let events = events();
    let ends: Vec<&str> = events.iter().map(String::as_str).collect();
    assert!(
        ends.contains(&"failed") && !ends[..5].contains(&"failed"),
        "{ends:?}"
    );
}

/// When the clocks in Norway are changed, in UTC: an hour comes twice in autumn, and none in spring.
const AUTUMN: &str = "2026-10-25T01:00:00Z";
const SPRING: &str = "2027-03-28T01:00:00Z";

#[test]
fn a_summer_time_night_changes_nothing_and_every_time_is_told_plainly() {
    if !all_here(&["faketime"]) {
        return;
    }
    let plain = ["", ""];
    for (night, [before, after], marks) in [
        (AUTUMN, [2, 1], [" (UTC+2)", " (UTC+1)"]),
        (SPRING, [1, 2], plain),
    ] {
        let change: Timestamp = night.parse().unwrap();
        let (clock, home) = (Clock::new(), Sink::start());
        clock.set((change.as_millis() - Timestamp::now().as_millis()) / 1000 - 8);
        let sink = hop();
        let setup = Setup::no_rooms()
            .room("a", &home.hop())
            .room("b", &sink.hop())
            .delivery("retry = [\"3s\"]\nwarn_after = \"1s\"\ngive_up_after = \"1h\"");
        let relay = clock.run_in(setup, &["TZ=Europe/Oslo"]);
        let reference = send(&relay, "full@b.nodnett.test");
        let report = home.wait_for(1).remove(0).text();
        let shown = |at: i64| {
            let (hours, mark) = match at < change.as_millis() {
                true => (before, marks[0]),
                false => (after, marks[1]),
            };
            let there = Timestamp::from_millis(at + hours * HOUR * 1000).to_string();
            format!("{}{mark}", &there[11..19])
        };
        let moment = |text: &Value| -> i64 {
            let moment: Timestamp = text.as_str().unwrap().parse().unwrap();
            moment.as_millis()
        };
        let events = || relay.rows(&["log", "show", &reference]);
        let accepted = moment(&events()[0]["at"]);
        for line in [
            format!("at {}\r\n", shown(accepted)),
            format!("Trying until:   {}\r\n", shown(accepted + HOUR * 1000)),
        ] {
            assert!(report.contains(&line), "{line}\n{report}");
        }
        assert!(report.contains(" second"), "{report}");
        // Attempts go on through the change as before it.
        wait::until("an attempt of the new hour", || {
            events()
                .iter()
                .any(|it| it["event"] == "deferred" && moment(&it["at"]) > change.as_millis())
        });
        let events = events();
        for event in events.iter().filter(|it| it["event"] == "deferred") {
            let wait = moment(&event["next_attempt_at"]) - moment(&event["at"]);
            assert!((0..=3300).contains(&wait), "{event}");
            let age = moment(&event["at"]) - accepted;
            assert!((0..HOUR * 500).contains(&age), "{event}");
        }
        assert!(!column(&events, "event").contains(&"failed".to_owned()));
        let row = &relay.rows(&["queue", "list"])[0];
        assert_eq!(row["accepted_at"], events[0]["at"], "{row}");
        assert_eq!(home.count(), 1);
    }
}

#[test]
fn a_clock_that_jumps_fills_no_bucket_and_empties_none() {
    if !all_here(&["faketime"]) {
        return;
    }
    let clock = Clock::new();
    let relay = clock.run(Setup::three_rooms().settings("[limits.rates]\nworkstation = \"2/h\""));
    let mail = format!("MAIL FROM:<{}> MT-PRIORITY=0", vakt("a"));
    clock.set(-24 * HOUR);
    send(&relay, &vakt("c"));
    clock.set(24 * HOUR);
    send(&relay, &vakt("c"));
    for days in [1, 9, -9] {
        clock.set(days * 24 * HOUR);
        let reply = relay.client("a").say(&mail);
        assert_eq!(reply.said(), "450 4.7.1", "{days} days off: {reply}");
    }
}
