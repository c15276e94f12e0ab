//! Whatever an engine does wrong, nothing passes unscanned: what is held is delivered once the engine is
//! well again, without a restart, and what is rejected may be sent again.

use std::thread;

use crate::client::{letter, vakt};
use crate::fake_scanner::{EICAR, EICAR_NAME, FakeScanner, Fault};
use crate::relay::{Setup, column};
use crate::scans::{engine, receipts, relay, saying, send, status, wait_for_status, waiting};
use crate::sink::Sink;
use crate::wait;

/// Larger than what fits between the relay and an engine that does not read.
const LARGE: usize = 8 << 20;

/// What goes wrong.
#[derive(Debug, Clone)]
enum Trouble {
    Refuses,
    Does(Fault),
    /// With a message that does not fit unread into what lies between.
    WithALarge(Fault),
}

/// What goes wrong, and what the log says of it.
fn troubles() -> Vec<(Trouble, &'static str)> {
    use Trouble::{Does, Refuses, WithALarge};
    vec![
        (Refuses, "down"),
        (Does(Fault::HangUp), "down"),
        (Does(Fault::Deaf), "timeout"),
        (Does(Fault::Stall), "timeout"),
        (Does(Fault::DieMidStream), "down"),
        (Does(Fault::Silent), "down"),
        (Does(Fault::Half), "down"),
        (Does(Fault::Say("what?")), "broken"),
        (Does(Fault::Raw(b"\xff\xfe\0")), "broken"),
        (Does(Fault::Raw(b"\0")), "broken"),
        (Does(Fault::Endless), "broken"),
        (Does(Fault::Twice), "broken"),
        (WithALarge(Fault::EarlyAndGone), "broken"),
        (Does(Fault::TooLarge), "too large"),
    ]
}

impl Trouble {
    fn message(&self) -> Vec<u8> {
        match self {
            Self::WithALarge(_) => saying(&format!("{}\r\n", "x".repeat(76)).repeat(LARGE / 78)),
            _ => letter(&vakt("a"), &vakt("b")),
        }
    }

    fn begin(&self, scanner: &mut FakeScanner) {
        match self {
            Self::Refuses => scanner.refuse(),
            Self::Does(fault) | Self::WithALarge(fault) => scanner.always(fault.clone()),
        }
    }

    fn end(&self, scanner: &mut FakeScanner) {
        scanner.always(None);
        scanner.go_on();
        scanner.listen();
    }
}

/// Each in a relay of its own, a few at once.
fn for_each_trouble(check: impl Fn(&Trouble, &str) + Sync) {
    let troubles = troubles();
    let check = &check;
    for some in troubles.chunks(5) {
        thread::scope(|scope| {
            for (trouble, why) in some {
                scope.spawn(move || check(trouble, why));
            }
        });
    }
}

#[test]
fn what_cannot_be_scanned_is_held_until_the_engine_is_well() {
    for_each_trouble(|trouble, why| {
        let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
        trouble.begin(&mut scanner);
        let relay = relay(&sink, &engine(&scanner, "one", "1s"));
        let message = trouble.message();
        let reply = send(&relay, &message);
        assert_eq!(reply.said(), "250 2.0.0", "{trouble:?}: {reply}");
        let reference = reply.reference();

        let (state, reason) = waiting(&relay, &reference).unwrap();
        assert_eq!(state, "unscanned", "{trouble:?}");
        let begins = format!("waits for its scan: {why}");
        assert!(reason.starts_with(&begins), "{trouble:?}: {reason}");
        let receipt = receipts(&relay, &reference).remove(0);
        assert_eq!(receipt["verdict"], "unscannable", "{trouble:?}");
        assert_eq!(receipt["engine"], "one", "{trouble:?}");
        let told = receipt["reason"].as_str().unwrap();
        assert!(told.starts_with(why), "{trouble:?}: {told}");
        assert_eq!(status(&relay, &reference), "unscanned", "{trouble:?}");
        assert_eq!(sink.count(), 0, "{trouble:?}");

        trouble.end(&mut scanner);
        let above = sink.wait_for(1)[0].above(&message);
        assert!(
            above.contains("X-Ilbud-Scan: clean;\r\n one ("),
            "{trouble:?}: {above}"
        );
        assert!(scanner.passed().contains(&message), "{trouble:?}");
        wait_for_status(&relay, &reference, "delivered");
        let last = receipts(&relay, &reference).pop().unwrap();
        assert_eq!(last["verdict"], "clean", "{trouble:?}");
        let events = column(&relay.rows(&["log", "show", &reference]), "event");
        assert_eq!(events[0], "accepted", "{trouble:?}");
        assert_eq!(events[events.len() - 2..], ["scanned", "delivered"]);
        assert!(relay.queue_is_empty(), "{trouble:?}");
    });
}

#[test]
fn what_cannot_be_scanned_is_rejected_where_a_house_wants_that() {
    for_each_trouble(|trouble, why| {
        let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
        trouble.begin(&mut scanner);
        let engine = engine(&scanner, "one", "1s");
        let relay = relay(&sink, &format!("[scan]\non_failure = \"reject\"\n{engine}"));
        let message = trouble.message();
        let reply = send(&relay, &message);
        assert_eq!(reply.said(), "451 4.3.0", "{trouble:?}: {reply}");
        assert!(reply.text().contains(why), "{trouble:?}: {reply}");
        let refusal = relay.refusal(&reply.reference());
        assert_eq!(refusal["status"], "refused");
        assert!(relay.queue_is_empty(), "{trouble:?}");

        trouble.end(&mut scanner);
        let taken = wait::find("the engine to be used again", || {
            let reply = send(&relay, &message);
            (reply.code == 250).then_some(reply)
        });
        assert!(scanner.passed().contains(&message), "{trouble:?}");
        assert_eq!(sink.wait_for(1).len(), 1);
        relay.expect_events(&taken.reference(), &["accepted", "delivered"]);
    });
}

#[test]
fn an_engine_that_reads_slowly_is_waited_for() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(Fault::Slow);
    let relay = relay(&sink, &engine(&scanner, "one", "30s"));
    let message = saying(&"x\r\n".repeat(20_000));
    let reply = send(&relay, &message);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    assert_eq!(scanner.passed(), [message]);
}

#[test]
fn what_comes_while_signatures_are_loaded_is_scanned_after() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(Fault::Stall);
    let relay = relay(&sink, &engine(&scanner, "one", "30s"));
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&relay, &message));
        wait::until("the message at the engine", || scanner.given().len() == 1);
        scanner.go_on();
        sender.join().unwrap()
    });
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let receipts = receipts(&relay, &reply.reference());
    assert_eq!(column(&receipts, "verdict"), ["clean"]);
    assert_eq!(scanner.scans(), 1);
}

#[test]
fn a_time_of_signatures_that_cannot_be_holds_up_nothing() {
    let versions = [
        "ClamAV 1.4.3/27600/Mon Nov 23 08:00:00 2099",
        "ClamAV 1.4.3/27600/Tue Foo 99 99:99:99 -1",
        "ClamAV 1.4.3/0/Thu Jan  1 00:00:00 1970",
        "what",
        "",
    ];
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    for (n, version) in (1..).zip(versions) {
        scanner.version(version);
        let relay = relay(&sink, &engine(&scanner, "one", "30s"));
        let asked = scanner.versions();
        wait::until("the engine to be asked", || {
            scanner.versions() > 0 || asked > 0
        });
        let reply = send(&relay, &letter(&vakt("a"), &vakt("b")));
        assert_eq!(reply.code, 250, "{version:?}: {reply}");
        sink.wait_for(n);
        let receipts = receipts(&relay, &reply.reference());
        assert_eq!(receipts[0]["verdict"], "clean", "{version:?}");
    }
}

#[test]
fn who_waits_no_longer_has_its_message_kept_and_the_same_scan_goes_on() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.script(&[Fault::Stall, Fault::Half]);
    let engine = engine(&scanner, "one", "60s");
    let relay = relay(
        &sink,
        &format!("[scan]\ninline_deadline = \"1s\"\n{engine}"),
    );
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = send(&relay, &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let reference = reply.reference();
    let (state, reason) = waiting(&relay, &reference).unwrap();
    assert_eq!(state, "unscanned");
    assert!(reason.contains("no verdict in time"), "{reason}");
    // What is due later is scanned meanwhile, which shows that it was looked for.
    let other = send(&relay, &letter(&vakt("a"), &vakt("b")));
    sink.wait_for(1);
    wait_for_status(&relay, &other.reference(), "delivered");
    let seen = || scanner.given().iter().filter(|it| **it == message).count();
    assert_eq!(seen(), 1);
    assert_eq!(status(&relay, &reference), "unscanned");
    scanner.go_on();
    sink.wait_for(2);
    wait_for_status(&relay, &reference, "delivered");
    let receipts = receipts(&relay, &reference);
    assert_eq!(column(&receipts, "verdict").last().unwrap(), "clean");
}

#[test]
fn what_is_found_after_the_250_is_caught_and_told_without_its_content() {
    const SECRET: &str = "hemmelig innhold";
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.find("malign", "Test.Malign");
    scanner.script(&[Fault::Stall]);
    let engine = engine(&scanner, "one", "60s");
    let relay = relay(
        &sink,
        &format!("[scan]\ninline_deadline = \"1s\"\n{engine}"),
    );
    let message = saying(&format!("{SECRET}, malign"));
    let reply = send(&relay, &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let reference = reply.reference();
    assert_eq!(waiting(&relay, &reference).unwrap().0, "unscanned");
    scanner.go_on();
    wait_for_status(&relay, &reference, "quarantined");
    let report = wait::find("the report", || relay.maildir("a", "vakt").pop());
    let report = String::from_utf8_lossy(&report).into_owned();
    assert!(report.contains("Test.Malign"), "{report}");
    assert!(!report.contains(SECRET), "{report}");
    let receipts = receipts(&relay, &reference);
    assert_eq!(column(&receipts, "verdict"), ["infected"]);
    let events = relay.events(&reference);
    for event in ["scanned", "quarantined"] {
        assert!(events.contains(&event.to_owned()), "{events:?}");
    }
    assert_eq!(scanner.scans(), 1);
    assert_eq!(sink.count(), 0);
}

#[test]
fn without_an_engine_the_rules_alone_scan() {
    let sink = Sink::start();
    let relay = relay(&sink, "");
    let infected = send(&relay, &saying(EICAR));
    assert_eq!(infected.said(), "550 5.7.1", "{infected}");
    assert!(infected.text().contains("EICAR"), "{infected}");
    assert_eq!(relay.refusal(&infected.reference())["status"], "refused");
    let clean = send(&relay, &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&clean.reference(), &["accepted", "delivered"]);
    let receipts = receipts(&relay, &clean.reference());
    assert_eq!(column(&receipts, "engine"), ["rules"]);
    assert_eq!(column(&receipts, "verdict"), ["clean"]);
    assert_eq!(sink.count(), 1);
}

#[test]
fn two_engines_must_both_say_clean() {
    let sink = Sink::start();
    let (one, two) = (FakeScanner::start(), FakeScanner::start());
    one.find_nothing();
    two.find("malign", EICAR_NAME);
    let engines = engine(&one, "one", "30s") + &engine(&two, "two", "30s");
    let relay = Setup::from_a_to(&sink.hop()).settings(&engines).start();
    let reply = send(&relay, &saying("malign"));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    two.script(&[Fault::Half]);
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = send(&relay, &message);
    assert_eq!(waiting(&relay, &reply.reference()).unwrap().0, "unscanned");
    sink.wait_for(1);
    assert!(one.passed().contains(&message) && two.passed().contains(&message));
}
