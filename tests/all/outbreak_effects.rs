//! What is opened in an outbreak acts on what comes, and on what waits already.

use crate::client::{letter, vakt};
use crate::fake_scanner::FakeScanner;
use crate::quarantine::with_file;
use crate::relay::{Relay, Setup, free_port};
use crate::sink::{Sink, Step};
use crate::wait;

/// A relay whose room `b` cannot be reached yet, and the port where it will be.
fn apart(scanner: &FakeScanner) -> (Relay, u16) {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .settings(&scanner.engine())
        .start();
    (relay, port)
}

fn deferred(relay: &Relay, message: &[u8]) -> String {
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let reference = reply.reference();
    wait::until("the deferral", || {
        relay.events(&reference).contains(&"deferred".to_owned())
    });
    reference
}

fn state(relay: &Relay, reference: &str) -> String {
    let rows = relay.rows(&["log", "search", reference]);
    rows[0]["status"].as_str().unwrap().to_owned()
}

fn until_state(relay: &Relay, reference: &str, expected: &str) {
    wait::until(expected, || state(relay, reference) == expected);
}

#[test]
fn a_block_catches_what_waits_and_refuses_what_comes() {
    let scanner = FakeScanner::start();
    let (relay, port) = apart(&scanner);
    let infected = with_file("hei", "faktura.scr", "x");
    let bad = deferred(&relay, &infected);
    let good = deferred(&relay, &with_file("hei", "rapport.txt", "x"));
    relay.done(&[
        "outbreak", "block", "--file", "*.scr", "--for", "1h", "--reason", "bølge",
    ]);
    until_state(&relay, &bad, "quarantined");
    let story = relay.story(&bad);
    let asked = story.iter().find(|it| it["event"] == "rescanned").unwrap();
    assert_eq!(asked["reason"], "block file *.scr");
    let caught = story
        .iter()
        .find(|it| it["event"] == "quarantined")
        .unwrap();
    assert_eq!(caught["engine"], "outbreak");
    assert_eq!(caught["malware"][0], "block file *.scr: \"faktura.scr\"");
    wait::until("the report", || !relay.maildir("a", "vakt").is_empty());
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &with_file("hei", "x.SCR", "y"));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    assert!(reply.text().contains("x.SCR"), "{reply}");
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    sink.wait_for(1);
    until_state(&relay, &good, "delivered");
    assert_eq!(sink.count(), 1);
}

#[test]
fn held_attachments_wait_for_the_end_and_text_does_not() {
    let scanner = FakeScanner::start();
    let (relay, port) = apart(&scanner);
    let first = deferred(&relay, &with_file("hei", "a.txt", "x"));
    let text = deferred(&relay, &letter(&vakt("a"), &vakt("b")));
    relay.done(&[
        "outbreak",
        "hold-attachments",
        "--for",
        "1h",
        "--reason",
        "wave",
    ]);
    until_state(&relay, &first, "held");
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    sink.wait_for(1);
    until_state(&relay, &text, "delivered");
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &with_file("hei", "b.txt", "x"));
    let second = reply.reference();
    until_state(&relay, &second, "held");
    let story = relay.story(&first);
    let held = story.iter().find(|it| it["event"] == "held").unwrap();
    assert_eq!(held["measure"], "hold attachments");
    assert!(
        held["until"].is_string() && held["by"].is_string(),
        "{held}"
    );
    assert!(held["reason"].as_str().unwrap().contains("wave"), "{held}");
    // One is let through, and scanned once more before.
    let scans = scanner.scans();
    relay.done(&["queue", "release", &second]);
    until_state(&relay, &second, "delivered");
    assert!(scanner.scans() > scans);
    assert_eq!(state(&relay, &first), "held");
    relay.done(&["outbreak", "end", "1"]);
    until_state(&relay, &first, "delivered");
    assert_eq!(sink.count(), 3);
}

#[test]
fn what_an_operator_holds_is_not_let_out_by_the_end_of_a_measure() {
    let scanner = FakeScanner::start();
    let (relay, port) = apart(&scanner);
    let message = deferred(&relay, &with_file("hei", "a.txt", "x"));
    relay.done(&["queue", "hold", &message, "--reason", "mine"]);
    relay.done(&["outbreak", "hold-attachments"]);
    wait::until("the rescan", || {
        relay.events(&message).contains(&"rescanned".to_owned())
    });
    relay.done(&["outbreak", "end", "1"]);
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    let other = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    until_state(&relay, &other.reference(), "delivered");
    assert_eq!(state(&relay, &message), "held");
    relay.done(&["queue", "release", &message]);
    until_state(&relay, &message, "delivered");
    assert_eq!(sink.count(), 2);
}

#[test]
fn what_waits_is_scanned_again_when_somebody_asks() {
    let scanner = FakeScanner::start();
    let (relay, port) = apart(&scanner);
    let bad = deferred(&relay, &with_file("hei", "a.txt", "ormen lange"));
    let good = deferred(&relay, &letter(&vakt("a"), &vakt("b")));
    scanner.find("ormen lange", "Worm.Long");
    let said = relay.done(&["outbreak", "rescan", &good]);
    assert_eq!(said, "1 to be scanned again.\n");
    let said = relay.done(&["outbreak", "rescan", "--all", "--reason", "new signatures"]);
    assert_eq!(said, "2 to be scanned again.\n");
    until_state(&relay, &bad, "quarantined");
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    sink.wait_for(1);
    until_state(&relay, &good, "delivered");
    let complaint = relay.fails(1, &["outbreak", "rescan", &good]);
    assert!(complaint.contains("nothing of"), "{complaint}");
    relay.fails(2, &["outbreak", "rescan"]);
    assert_eq!(sink.count(), 1);
}

#[test]
fn what_is_blocked_or_held_while_no_relay_runs_is_not_delivered_by_the_next() {
    let scanner = FakeScanner::start();
    let (mut relay, port) = apart(&scanner);
    let bad = deferred(&relay, &with_file("hei", "faktura.scr", "x"));
    let held = deferred(&relay, &with_file("hei", "rapport.txt", "x"));
    let good = deferred(&relay, &letter(&vakt("a"), &vakt("b")));
    relay.kill();
    relay.done(&["outbreak", "block", "--file", "*.scr", "--reason", "wave"]);
    relay.done(&["outbreak", "hold-attachments", "--reason", "wave"]);
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    relay.start();
    until_state(&relay, &good, "delivered");
    until_state(&relay, &bad, "quarantined");
    until_state(&relay, &held, "held");
    assert_eq!(sink.count(), 1);
    let events = relay.events(&bad);
    assert!(!events.contains(&"alarm".to_owned()), "{events:?}");
}
