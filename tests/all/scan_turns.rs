//! Whose turn it is at the engines: urgent before old, a place for small and for urgent messages beside
//! large ones, and a message that kills engines holds up nobody but itself.

use std::thread;
use std::time::Duration;

use crate::client::{letter, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::relay::Relay;
use crate::scans::{engine, receipts, relay, saying, send, status, wait_for_status, waiting};
use crate::sink::Sink;
use crate::wait;

/// More than a small message.
fn large(text: &str) -> Vec<u8> {
    saying(&format!(
        "{text}\r\n{}",
        format!("{}\r\n", "x".repeat(76)).repeat(8000)
    ))
}

fn urgent(text: &[u8]) -> Vec<u8> {
    [b"Importance: High\r\n", text].concat()
}

/// How many wait for their scan and are due.
fn due(relay: &Relay) -> i64 {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let query = "SELECT count(*) FROM scan WHERE due_at <= unixepoch('subsec') * 1000";
    store.query_one(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_waited_is_scanned_urgent_first_and_then_oldest() {
    let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
    scanner.refuse();
    let engine = engine(&scanner, "one", "60s");
    let mut relay = relay(&sink, &format!("[scan]\nslots = 1\n{engine}"));
    let name = |kind: &str, n: usize| format!("{kind} number {n}.");
    let routine: Vec<String> = (0..4).map(|n| name("routine", n)).collect();
    let urgents: Vec<String> = (0..3).map(|n| name("urgent", n)).collect();
    let messages = routine.iter().map(|it| large(it));
    let messages = messages.chain(urgents.iter().map(|it| urgent(&large(it))));
    for message in messages {
        let reply = send(&relay, &message);
        assert_eq!(waiting(&relay, &reply.reference()).unwrap().0, "unscanned");
    }
    // While the engine is down one after the other is tried with it, and then not due for a while. A relay that
    // does not run tries none.
    assert!(relay.stop().success());
    let turns: Vec<&String> = urgents.iter().chain(&routine).collect();
    wait::until("all to be due", || due(&relay) == turns.len() as i64);
    turns.iter().for_each(|it| scanner.hold(it));
    scanner.listen();
    relay.start();
    // Those that are or were at the engine, in the order in which they came to it.
    let come = || {
        let given = scanner.given();
        let named = |message: &Vec<u8>| {
            let text = String::from_utf8_lossy(message).into_owned();
            turns.iter().find(|it| text.contains(it.as_str())).copied()
        };
        given.iter().filter_map(named).collect::<Vec<_>>()
    };
    // One place is for all, and one for urgent messages.
    wait::until("two at the engine", || come().len() >= 2);
    let mut first = come();
    first.sort_unstable();
    assert_eq!(first, turns[..2]);
    scanner.let_go(turns[0]);
    wait::until("the last urgent one", || come().len() >= 3);
    assert_eq!(come()[2], turns[2]);
    // From here on there is one place, whoever has which of the two.
    scanner.let_go(turns[1]);
    scanner.let_go(turns[2]);
    for n in 3..turns.len() {
        wait::until("the next one", || come().len() > n);
        assert_eq!(come()[3..], turns[3..=n]);
        scanner.let_go(turns[n]);
    }
    sink.wait_for(turns.len());
    assert_eq!(come().len(), turns.len());
}

/// Large messages that stall at the engine, as many as there are places; who sends them waits.
fn while_large_ones_stall(wait_for_250: bool) {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.find("malign", "Test.Malign");
    let deadline = if wait_for_250 { "60s" } else { "0s" };
    let engine = engine(&scanner, "one", "120s");
    let relay = relay(
        &sink,
        &format!("[scan]\nslots = 2\ninline_deadline = \"{deadline}\"\n{engine}"),
    );
    scanner.script(&[Fault::Stall, Fault::Stall]);
    thread::scope(|scope| {
        let send = |message: Vec<u8>| send(&relay, &message);
        let senders: Vec<_> = (0..2)
            .map(|_| scope.spawn(move || send(large("x"))))
            .collect();
        wait::until("both at the engine", || scanner.given().len() == 2);
        // One more waits for its turn.
        let third = scope.spawn(move || send(large("y")));
        let small = send(letter(&vakt("a"), &vakt("b")));
        let urgent = send(urgent(&large("z")));
        for reply in [&small, &urgent] {
            assert_eq!(reply.code, 250, "{reply}");
            wait_for_status(&relay, &reply.reference(), "delivered");
        }
        assert_eq!(sink.count(), 2);
        scanner.go_on();
        for sender in senders.into_iter().chain([third]) {
            assert_eq!(sender.join().unwrap().code, 250);
        }
    });
    sink.wait_for(5);
}

#[test]
fn small_and_urgent_messages_pass_large_ones_before_their_250() {
    while_large_ones_stall(true);
}

#[test]
fn small_and_urgent_messages_pass_large_ones_after_their_250() {
    while_large_ones_stall(false);
}

#[test]
fn small_and_urgent_messages_pass_a_large_one_that_is_scanned_again() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let engine = engine(&scanner, "one", "120s");
    let relay = relay(&sink, &format!("[scan]\nslots = 1\n{engine}"));
    let fails_at_first = |message: &[u8]| {
        scanner.script(&[Fault::Half]);
        let reference = send(&relay, message).reference();
        assert_eq!(waiting(&relay, &reference).unwrap().0, "unscanned");
        reference
    };
    let passes = || {
        scanner.script(&[Fault::Right]);
        let reply = send(&relay, &letter(&vakt("a"), &vakt("b")));
        wait_for_status(&relay, &reply.reference(), "delivered");
    };
    scanner.always(Fault::Stall);
    let first = large("first");
    let large_one = fails_at_first(&first);
    let seen = || scanner.given().iter().filter(|it| **it == first).count();
    wait::until("the large one to stall", || seen() == 2);
    passes();
    let small = fails_at_first(&letter(&vakt("a"), &vakt("b")));
    passes();
    scanner.always(None);
    let urgent = fails_at_first(&urgent(&large("urgent")));
    wait_for_status(&relay, &small, "delivered");
    wait_for_status(&relay, &urgent, "delivered");
    assert_eq!(status(&relay, &large_one), "unscanned");
    scanner.go_on();
    wait_for_status(&relay, &large_one, "delivered");
}

#[test]
fn a_message_that_kills_the_engine_each_time_waits_for_a_person_and_holds_up_nobody() {
    const PATIENCE: Duration = Duration::from_secs(120);
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.kill_by("poison");
    let relay = relay(&sink, &engine(&scanner, "one", "30s"));
    let poison = saying("poison");
    let reference = send(&relay, &poison).reference();
    let mut others = 0;
    let held = wait::within(PATIENCE, || {
        let reply = send(&relay, &letter(&vakt("a"), &vakt("b")));
        assert_eq!(reply.code, 250, "{reply}");
        others += 1;
        waiting(&relay, &reference).is_some_and(|it| it.0 == "held")
    });
    assert!(held, "{:?}", waiting(&relay, &reference));
    sink.wait_for(others);
    let (_, reason) = waiting(&relay, &reference).unwrap();
    assert!(
        reason.starts_with("held: it cannot be scanned: 5 scans of it"),
        "{reason}"
    );
    let events = relay.rows(&["log", "show", &reference]);
    let alarm = events.iter().find(|it| it["event"] == "alarm").unwrap();
    assert_eq!(alarm["engine"], "one", "{alarm}");
    let seen = scanner.kills();
    relay.done(&["queue", "release", &reference]);
    wait::until("another try", || scanner.kills() > seen);
    assert!(sink.kept().iter().all(|it| !it.data.ends_with(&poison)));
    scanner.kill_by("");
    wait_for_status(&relay, &reference, "delivered");
    assert!(scanner.passed().contains(&poison));
    let last = receipts(&relay, &reference).pop().unwrap();
    assert_eq!(last["verdict"], "clean");
}

#[test]
fn an_engine_that_is_down_for_everybody_makes_nothing_poison() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(Fault::Silent);
    let relay = relay(&sink, &engine(&scanner, "one", "30s"));
    let replies: Vec<_> = (0..4)
        .map(|_| send(&relay, &letter(&vakt("a"), &vakt("b"))))
        .collect();
    wait::until("many trials", || scanner.scans() > 14);
    for reply in &replies {
        assert_eq!(status(&relay, &reply.reference()), "unscanned");
    }
    scanner.always(None);
    sink.wait_for(4);
    for reply in &replies {
        wait_for_status(&relay, &reply.reference(), "delivered");
    }
}
