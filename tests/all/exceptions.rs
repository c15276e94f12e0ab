//! While an exception is open, what cannot be scanned is delivered, with a mark; and not a moment longer.

use crate::client::{letter, vakt};
use crate::fake_scanner::{EICAR, FakeScanner};
use crate::quarantine::with_file;
use crate::relay::{Relay, Setup, free_port};
use crate::scans::{receipts, saying};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

fn send(relay: &Relay, message: &[u8]) -> String {
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

fn state(relay: &Relay, reference: &str) -> String {
    let rows = relay.rows(&["log", "search", reference]);
    rows[0]["status"].as_str().unwrap().to_owned()
}

fn until_state(relay: &Relay, reference: &str, expected: &str) {
    wait::until(expected, || state(relay, reference) == expected);
}

#[test]
fn text_that_waits_unscanned_is_delivered_while_an_exception_is_open() {
    let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&scanner.engine())
        .start();
    scanner.refuse();
    let text = send(&relay, &letter(&vakt("a"), &vakt("b")));
    let file = send(&relay, &with_file("hei", "a.txt", "x"));
    until_state(&relay, &text, "unscanned");
    relay.done(&[
        "scan",
        "exception",
        "open",
        "--for",
        "30m",
        "--reason",
        "engine room flooded",
    ]);
    until_state(&relay, &text, "delivered");
    let arrived = sink.wait_for(1)[0].text();
    let (head, _) = arrived.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    assert!(head.contains("X-Ilbud-Scan: NOT SCANNED;"), "{head}");
    assert!(head.contains("engine room flooded"), "{head}");
    let story = relay.story(&text);
    let row = story.iter().find(|it| it["exception"].is_number()).unwrap();
    assert_eq!(
        (&row["event"], &row["exception"]),
        (&"scanned".into(), &1.into())
    );
    assert!(
        row["reason"]
            .as_str()
            .unwrap()
            .contains("engine room flooded"),
        "{row}"
    );
    assert_eq!(state(&relay, &file), "unscanned");
    relay.done(&["scan", "exception", "close"]);
    wait::until("its end to be known", || {
        let late = send(&relay, &letter(&vakt("a"), &vakt("b")));
        state(&relay, &late) == "unscanned"
    });
    let late = send(&relay, &letter(&vakt("a"), &vakt("b")));
    assert_eq!(state(&relay, &late), "unscanned");
    scanner.listen();
    until_state(&relay, &file, "delivered");
    until_state(&relay, &late, "delivered");
    assert!(
        relay
            .rows(&["log", "show", &late])
            .iter()
            .any(|it| it["verdict"] == "clean")
    );
}

const OPEN: [&str; 8] = [
    "scan",
    "exception",
    "open",
    "--everything",
    "--for",
    "30m",
    "--reason",
    "engine room flooded",
];

/// Room `b` can be reached again.
fn opened(port: u16) -> Sink {
    Sink::on(port, |_, _, _| Step::Agree)
}

/// A relay whose engine is down while an exception is open, between `a` and `b`, which cannot be reached
/// at this port.
fn under_an_exception(port: u16) -> (Relay, FakeScanner) {
    let mut scanner = FakeScanner::start();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .settings(&scanner.engine())
        .delivery("retry = [\"1s\"]")
        .start();
    scanner.refuse();
    relay.done(&OPEN);
    (relay, scanner)
}

/// Sends until the exception is known, and gives what it let through.
fn let_through(relay: &Relay, message: &[u8]) -> String {
    wait::find("what is let through", || {
        let reference = send(relay, message);
        (state(relay, &reference) != "unscanned").then_some(reference)
    })
}

#[test]
fn what_was_not_delivered_by_the_end_of_its_exception_is_scanned_first() {
    let port = free_port();
    let (relay, mut scanner) = under_an_exception(port);
    let clean = let_through(&relay, &saying("hei"));
    let bad = let_through(&relay, &saying(EICAR.get(..40).unwrap()));
    scanner.find(EICAR.get(..40).unwrap(), "Half-Eicar");
    until_state(&relay, &clean, "deferred");
    until_state(&relay, &bad, "deferred");
    relay.done(&["scan", "exception", "close"]);
    until_state(&relay, &clean, "unscanned");
    until_state(&relay, &bad, "unscanned");
    let rows = relay.rows(&["log", "show", &bad]);
    let called_back = rows.iter().find(|row| row["event"] == "rescanned").unwrap();
    assert_eq!(called_back["exception"], 1, "{called_back}");
    assert_eq!(called_back["reason"], "exception 1 is over");

    // The room can be reached again, and the engine cannot: it goes no further.
    let sink = opened(port);
    wait::until("somebody to speak with", || {
        sink.reached(Stage::Connect) > 0
    });
    assert_eq!(sink.count(), 0);

    scanner.listen();
    until_state(&relay, &clean, "delivered");
    until_state(&relay, &bad, "quarantined");
    for message in sink.kept() {
        let field = message.field("X-Ilbud-Scan").unwrap();
        assert!(field.starts_with("clean;"), "{field}");
    }
    let rows = relay.rows(&["log", "search", &clean]);
    assert!(rows[0]["exception"].is_null(), "{}", rows[0]);
}

#[test]
fn what_its_exception_outlived_only_while_the_relay_was_down_is_scanned_first() {
    let port = free_port();
    let (mut relay, mut scanner) = under_an_exception(port);
    let reference = let_through(&relay, &saying("hei"));
    until_state(&relay, &reference, "deferred");
    relay.kill();
    relay.done(&["scan", "exception", "close"]);
    let sink = opened(port);
    relay.start();
    until_state(&relay, &reference, "unscanned");
    wait::until("a scan that comes to nothing", || {
        receipts(&relay, &reference).len() > 1
    });
    assert_eq!(sink.count(), 0);
    scanner.listen();
    until_state(&relay, &reference, "delivered");
    let field = sink.wait_for(1)[0].field("X-Ilbud-Scan").unwrap();
    assert!(field.starts_with("clean;"), "{field}");
}

#[test]
fn each_row_of_what_went_out_under_an_exception_says_so() {
    let port = free_port();
    let (relay, _scanner) = under_an_exception(port);
    let reference = let_through(&relay, &saying("hei"));
    until_state(&relay, &reference, "deferred");
    let listed = relay.rows(&["queue", "list"]);
    let waiting = listed.iter().find(|row| row["ref"] == *reference).unwrap();
    assert_eq!(waiting["exception"], 1, "{waiting}");
    let sink = opened(port);
    until_state(&relay, &reference, "delivered");
    let field = sink.kept()[0].field("X-Ilbud-Scan").unwrap();
    assert!(field.starts_with("NOT SCANNED;"), "{field}");
    // It may have waited before the exception was known.
    let mut rows = relay.rows(&["log", "show", &reference]);
    rows.retain(|row| row["event"] != "duplicate");
    let first = rows.iter().position(|row| row["exception"] == 1).unwrap();
    let since: Vec<_> = rows.drain(first..).collect();
    assert_eq!(since[0]["event"], "scanned");
    for row in since {
        assert_eq!(row["exception"], 1, "{row}");
    }
    let found = relay.rows(&["log", "search", &reference]);
    assert_eq!(found[0]["exception"], 1, "{}", found[0]);
}
