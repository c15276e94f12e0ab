//! While an exception is open, what cannot be scanned is delivered, with a mark; and not a moment longer.

use crate::client::{letter, vakt};
use crate::fake_scanner::FakeScanner;
use crate::quarantine::with_file;
use crate::relay::{Relay, Setup};
use crate::sink::Sink;
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
