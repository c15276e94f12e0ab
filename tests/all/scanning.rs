//! A message and its scan, from outside: what its sender hears, what the log says, what arrives.

use crate::client::{letter, vakt};
use crate::fake_scanner::{EICAR, FakeScanner, Fault};
use crate::relay::{Setup, column};
use crate::scans::{attaching, relay, send};
use crate::sink::Sink;

#[test]
fn a_clean_message_is_delivered_with_a_receipt() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&scanner.engine())
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let above = sink.wait_for(1)[0].above(&message);
    assert!(
        above.contains("\r\nX-Ilbud-Scan: clean;\r\n clamd ("),
        "{above}"
    );
    let rows = relay.rows(&["log", "show", &reply.reference()]);
    assert_eq!(column(&rows, "event"), ["accepted", "scanned", "delivered"]);
    assert_eq!(rows[1]["engine"], "clamd");
    assert_eq!(rows[1]["verdict"], "clean");
    assert_eq!(scanner.given()[0], message);
}

#[test]
fn malware_is_refused_with_its_name() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&scanner.engine())
        .start();
    let message = crate::client::letter_saying(&vakt("a"), &vakt("b"), &format!("{EICAR}\r\n"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    let refusal = relay.refusal(&reply.reference());
    assert_eq!(refusal["status"], "refused");
    assert_eq!(sink.count(), 0);
}

/// A sender must not have to guess what was wrong: where the attachment is not known, that is said.
#[test]
fn a_refusal_says_where_the_malware_is_or_that_nobody_knows() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = relay(&sink, &scanner.engine());
    let message = attaching("faktura.bin", b"evil");
    scanner.find("evil", "Worm.A");
    scanner.find("Subject: x", "Phish.B");
    for (faults, expected) in [
        (
            &[][..],
            ["Worm.A in faktura.bin", "Phish.B (in the message itself)"],
        ),
        (
            &[Fault::Found("Worm.A"), Fault::Silent],
            ["Worm.A (in which part of the message is not known)", ""],
        ),
        (
            &[Fault::Found("Worm.A"), Fault::Stall],
            ["Worm.A (in which part of the message is not known)", ""],
        ),
    ] {
        scanner.script(faults);
        let reply = send(&relay, &message);
        assert_eq!(reply.said(), "550 5.7.1", "{reply}");
        for words in expected {
            assert!(reply.text().contains(words), "{reply}");
        }
    }
    scanner.go_on();
    assert_eq!(sink.count(), 0);
}
