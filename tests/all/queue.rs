//! An operator and what is waiting: hold, release, retry, cancel, each taking effect at once.

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column, free_port};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

/// A relay whose room `b` is away, with one message waiting for it.
fn one_waiting(retry: &str) -> (Relay, u16, String) {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .delivery(&format!("retry = [\"{retry}\"]"))
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait::until("the first attempt", || states(&relay) == ["deferred"]);
    (relay, port, reply.reference())
}

fn states(relay: &Relay) -> Vec<String> {
    column(&relay.rows(&["queue", "list"]), "state")
}

#[test]
fn a_waiting_recipient_says_why() {
    let (relay, port, reference) = one_waiting("1h");
    let row = &relay.rows(&["queue", "list"])[0];
    assert_eq!(row["ref"], reference.as_str());
    assert_eq!(row["recipient"], "vakt@b.nodnett.test");
    assert_eq!(row["room"], "room-b");
    assert_eq!(row["attempts"], 1);
    for field in ["accepted_at", "next_attempt_at"] {
        assert!(row[field].as_str().unwrap().ends_with('Z'), "{row}");
    }
    let reason = row["last_reply"].as_str().unwrap();
    assert!(
        reason.contains(&port.to_string()) || reason.len() > 10,
        "{row}"
    );
}

#[test]
fn retry_goes_out_now() {
    let sink = Sink::scripted(|stage, n, _| match (stage, n) {
        (Stage::Rcpt, 1) => Step::Say("451 4.7.1 later"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("retry = [\"1h\"]")
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait::until("the first attempt", || states(&relay) == ["deferred"]);
    relay.done(&["queue", "retry", &reply.reference()]);
    sink.wait_for(1);
    relay.expect_events(
        &reply.reference(),
        &["accepted", "deferred", "retried", "delivered"],
    );
}

#[test]
fn what_is_held_stays_until_released() {
    let (relay, port, reference) = one_waiting("1s");
    relay.done(&["queue", "hold", &reference]);
    wait::until("the hold", || states(&relay) == ["held"]);
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    relay.done(&["queue", "retry", "--room", "room-a"]);
    let other = letter(&vakt("a"), &vakt("b"));
    let quick = relay.client("a").send(&vakt("a"), &[&vakt("b")], &other);
    sink.wait_for(1)[0].above(&other);
    wait::until("the delivery of the other", || {
        relay.events(&quick.reference()).last().unwrap() == "delivered"
    });
    assert_eq!(states(&relay), ["held"]);
    relay.done(&["queue", "release", &reference]);
    sink.wait_for(2);
    let events = relay.events(&reference);
    let kept: Vec<&str> = events
        .iter()
        .map(String::as_str)
        .filter(|event| *event != "deferred")
        .collect();
    wait::until("the delivery's row", || {
        relay.events(&reference).last().unwrap() == "delivered"
    });
    assert_eq!(kept[..3], ["accepted", "held", "released"]);
}

#[test]
fn what_is_cancelled_is_never_sent() {
    let (relay, port, reference) = one_waiting("1s");
    relay.done(&["queue", "cancel", &reference]);
    wait::until("an empty queue", || relay.queue_is_empty());
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    let other = letter(&vakt("a"), &vakt("b"));
    relay.client("a").send(&vakt("a"), &[&vakt("b")], &other);
    sink.wait_for(1)[0].above(&other);
    assert_eq!(sink.count(), 1);
    let rows = relay.rows(&["log", "search", &reference]);
    assert_eq!(column(&rows, "status"), ["cancelled"]);
    assert_eq!(relay.events(&reference).last().unwrap(), "cancelled");
}

#[test]
fn a_whole_room_or_everything_at_once() {
    let away = || format!("smtp://127.0.0.1:{}", free_port());
    let relay = Setup::from_a_to(&away())
        .room("c", &away())
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    for to in ["b", "b", "c"] {
        client.send(&vakt("a"), &[&vakt(to)], &letter(&vakt("a"), &vakt(to)));
    }
    wait::until("three attempts", || states(&relay) == ["deferred"; 3]);
    relay.done(&["queue", "hold", "--room", "room-b"]);
    let held = || relay.rows(&["queue", "list", "--state", "held"]);
    wait::until("a room on hold", || {
        column(&held(), "room") == ["room-b"; 2]
    });
    assert_eq!(
        column(&relay.rows(&["queue", "list", "--room", "room-c"]), "state"),
        ["deferred"]
    );
    relay.done(&["queue", "release", "--all"]);
    wait::until("none on hold", || held().is_empty());
    relay.done(&["queue", "cancel", "--all"]);
    wait::until("an empty queue", || relay.queue_is_empty());
}

#[test]
fn the_queue_is_worked_on_while_the_relay_is_down() {
    let (mut relay, port, reference) = one_waiting("1h");
    assert!(relay.stop().success());
    relay.done(&["queue", "hold", &reference]);
    assert_eq!(states(&relay), ["held"]);
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    relay.start();
    assert_eq!(states(&relay), ["held"]);
    relay.done(&["queue", "release", &reference]);
    sink.wait_for(1);
}

#[test]
fn a_reference_that_is_not_there_is_an_error() {
    let relay = Setup::three_rooms().start();
    let complaint = relay.fails(1, &["queue", "retry", "K7F3-2QXM-9A1B"]);
    assert!(complaint.contains("waiting"), "{complaint}");
    assert_eq!(relay.run(&["queue", "retry"]).status.code(), Some(2));
    relay.fails(1, &["log", "show", "K7F3-2QXM-9A1B"]);
}

#[test]
fn what_is_held_says_by_whom_and_why() {
    let (relay, _, reference) = one_waiting("1h");
    let by = peer::login();
    let says = |state: &str, words: &str| {
        let row = &relay.rows(&["queue", "list"])[0];
        assert_eq!(
            (&row["state"], &row["last_reply"]),
            (&state.into(), &words.into())
        );
        let found = relay.rows(&["log", "search", &reference]);
        assert_eq!(column(&found, "reply"), [words]);
        row["next_attempt_at"].clone()
    };
    relay.done(&["queue", "hold", &reference, "--reason", "venter på vakt"]);
    let held = format!("held by {by}: venter på vakt");
    assert_eq!(says("held", &held), serde_json::Value::Null);
    let shown = relay.done(&["queue", "show", &reference]);
    assert!(shown.contains("  -  ") && shown.contains(&held), "{shown}");
    // What the hop said last is in the log.
    let events = relay.story(&reference);
    assert!(
        column(&events, "reason")[1].contains("refused"),
        "{events:?}"
    );

    relay.done(&["queue", "release", &reference]);
    relay.expect_events(
        &reference,
        &["accepted", "deferred", "held", "released", "deferred"],
    );
    let row = &relay.rows(&["queue", "list"])[0];
    assert!(
        row["last_reply"].as_str().unwrap().contains("refused"),
        "{row}"
    );
    assert!(row["next_attempt_at"].is_string(), "{row}");

    relay.done(&["queue", "hold", &reference]);
    says("held", &format!("held by {by}"));
    relay.done(&["queue", "cancel", &reference, "--reason", "ringt inn"]);
    let found = relay.rows(&["log", "search", &reference]);
    assert_eq!(
        column(&found, "reply"),
        [format!("cancelled by {by}: ringt inn")]
    );
}

#[test]
fn a_room_that_is_not_there_is_an_error() {
    let (relay, ..) = one_waiting("1h");
    let known = "ilbud: there is no room \"room_b\"; did you mean \"room-b\"?\n";
    for command in [
        &["queue", "hold"][..],
        &["queue", "release"],
        &["queue", "retry"],
        &["queue", "cancel"],
        &["queue", "list"],
        &["queue", "list", "--json"],
    ] {
        let mistyped = [command, &["--room", "room_b"]].concat();
        assert_eq!(relay.fails(1, &mistyped), known, "{command:?}");
    }
    assert_eq!(
        relay.fails(1, &["queue", "hold", "--room", "vakta"]),
        "ilbud: there is no room \"vakta\"; see: ilbud route export\n"
    );
    assert_eq!(states(&relay), ["deferred"]);
    // A room of the past may be meant: only a hint.
    let search = relay.run(&["log", "search", "--room", "room_b"]);
    assert_eq!(search.status.code(), Some(0));
    let hint = String::from_utf8(search.stderr).unwrap();
    assert_eq!(hint, known.replace("ilbud: ", "hint: "));
    let none = relay.run(&["log", "search", "--room", "room-b", "--subject", "xyz"]);
    assert_eq!(String::from_utf8(none.stderr).unwrap(), "");
}

#[test]
fn what_waits_for_a_room_that_is_gone_is_still_handled() {
    let (relay, ..) = one_waiting("1h");
    relay.apply(&crate::relay::room("a", "maildir:mail/a", ""));
    let here = ["--room", "room-b"];
    relay.done(&[&["queue", "hold"], &here[..]].concat());
    assert_eq!(
        relay.rows(&[&["queue", "list"], &here[..]].concat()).len(),
        1
    );
    relay.done(&[&["queue", "cancel"], &here[..]].concat());
    wait::until("an empty queue", || relay.queue_is_empty());
    relay.fails(1, &[&["queue", "cancel"], &here[..]].concat());
}

#[test]
fn orders_given_at_once_are_all_done() {
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    for _ in 0..20 {
        client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    }
    wait::until("twenty attempts", || states(&relay) == ["deferred"; 20]);
    std::thread::scope(|scope| {
        for order in ["hold", "retry", "hold", "release"] {
            scope.spawn(|| relay.done(&["queue", order, "--all"]));
        }
    });
    relay.done(&["queue", "hold", "--all"]);
    assert_eq!(states(&relay), ["held"; 20]);
    relay.done(&["queue", "cancel", "--all"]);
    assert!(relay.queue_is_empty());
}
