//! What an operator sees of what waits: summed up, in the order asked for, and no more than asked for.

use ilbud::mail::Timestamp;
use serde_json::Value;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, free_port};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

/// Two messages for room `b`, which is away, and then two for room `c`, which is busy.
fn four_waiting() -> (Relay, Sink) {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("450 4.2.0 <vakt@c.nodnett.test> busy, see id 4XyZ12abcd"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .room("c", &sink.hop())
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    for to in ["b", "b", "c", "c"] {
        client.send(&vakt("a"), &[&vakt(to)], &letter(&vakt("a"), &vakt(to)));
    }
    wait::until("four attempts", || {
        column(&relay.rows(&["queue", "list"]), "state") == ["deferred"; 4]
    });
    (relay, sink)
}

#[test]
fn reasons_are_grouped_by_room_oldest_first() {
    let (relay, _sink) = four_waiting();
    let shown = relay.done(&["queue", "list"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0].starts_with("4 waiting, the oldest for "),
        "{shown}"
    );
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(2)[..4], ["room", "state", "count", "oldest"]);
    assert_eq!(words(3)[..3], ["room-b", "deferred", "2"], "{shown}");
    assert_eq!(words(4)[..3], ["room-c", "deferred", "2"], "{shown}");
    assert!(lines[4].ends_with("450 4.2.0 … busy, see id …"), "{shown}");
    assert_eq!(shown.matches("vakt@b.nodnett.test").count(), 2, "{shown}");
}

#[test]
fn only_what_is_meant_in_the_order_asked_for() {
    let (relay, _sink) = four_waiting();
    for (arguments, expected) in [
        (&[][..], "bbcc"),
        (&["--reason", "BUSY"], "cc"),
        (&["--reason", "nothing like it"], ""),
        (&["--older-than", "1h"], ""),
        (&["--older-than", "0s"], "bbcc"),
        (&["--by", "room", "--room", "room-c"], "cc"),
        (&["--by", "reason", "--state", "held"], ""),
    ] {
        let rows = relay.rows(&[&["queue", "list"], arguments].concat());
        let rooms: String = column(&rows, "room")
            .iter()
            .filter_map(|room| room.chars().last())
            .collect();
        assert_eq!(rooms, expected, "{arguments:?}");
    }
    let rows = relay.rows(&["queue", "list", "--by", "next"]);
    let times = column(&rows, "next_attempt_at");
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(
        relay
            .run(&["queue", "list", "--older-than", "soon"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_long_queue_says_how_much_is_not_shown() {
    let (relay, _sink) = four_waiting();
    let shown = relay.done(&["queue", "list", "--limit", "1"]);
    assert!(shown.contains("and 3 more"), "{shown}");
    assert_eq!(shown.matches("vakt@").count(), 1, "{shown}");
    assert!(
        !relay
            .done(&["queue", "list", "--limit", "0"])
            .contains("more")
    );
    assert_eq!(relay.rows(&["queue", "list", "--limit", "1"]).len(), 4);
}

#[test]
fn what_is_cancelled_with_a_report_is_told() {
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &format!("smtp://127.0.0.1:{}", free_port()))
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    let mut send = || client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    let (silent, told) = (send().reference(), send().reference());
    wait::until("two attempts", || {
        column(&relay.rows(&["queue", "list"]), "state") == ["deferred"; 2]
    });
    relay.done(&["queue", "cancel", &silent]);
    let reason = ["--report", "--reason", "told by telephone"];
    relay.done(&[&["queue", "cancel", told.as_str()], &reason[..]].concat());
    let report = home.wait_for(1)[0].text();
    assert!(report.contains(&told), "{report}");
    assert!(report.contains("Action: failed"), "{report}");
    relay.expect_events(&silent, &["accepted", "deferred", "cancelled"]);
    relay.expect_events(&told, &["accepted", "deferred", "cancelled", "bounced"]);
    let events = relay.story(&told);
    assert_eq!(column(&events, "reason")[2], "told by telephone");
    assert_eq!(home.count(), 1);
}

#[test]
fn what_is_not_found_is_not_said_to_be_nothing() {
    let (relay, _sink) = four_waiting();
    for arguments in [
        &["--reason", "bussy"][..],
        &["--state", "held"],
        &["--older-than", "1d"],
        &["--room", "room-a"],
    ] {
        let shown = relay.done(&[&["queue", "list"], arguments].concat());
        let expected = "Nothing like that is waiting; all that waits: ilbud queue list\n";
        assert_eq!(shown, expected, "{arguments:?}");
    }
    let mistyped = relay.fails(2, &["queue", "list", "--state", "hold"]);
    assert!(mistyped.contains("held"), "{mistyped}");
    relay.done(&["queue", "cancel", "--all"]);
    for arguments in [&[][..], &["--state", "held"]] {
        let shown = relay.done(&[&["queue", "list"], arguments].concat());
        assert_eq!(shown, "Nothing is waiting.\n");
    }
}

/// What one hop put off together does not come back together.
#[test]
fn next_attempts_are_spread_within_a_tenth_to_either_side() {
    const MINUTE: i64 = 60_000;
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("451 4.3.2 not now"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("retry = [\"1h\"]\nwarn_after = \"3h\"")
        .start();
    let mut client = relay.client("a");
    for _ in 0..40 {
        client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    }
    let rows = || relay.rows(&["queue", "list"]);
    wait::until("forty deferrals", || {
        column(&rows(), "state") == ["deferred"; 40]
    });
    let moment = |text: &Value| -> i64 {
        let moment: Timestamp = text.as_str().unwrap().parse().unwrap();
        moment.as_millis()
    };
    let mut waits = Vec::new();
    for row in rows() {
        assert_eq!(row["attempts"], 1, "{row}");
        let events = relay.rows(&["log", "show", row["ref"].as_str().unwrap()]);
        waits.push(moment(&row["next_attempt_at"]) - moment(&events[1]["at"]));
    }
    let bounds = 54 * MINUTE..=66 * MINUTE;
    assert!(waits.iter().all(|it| bounds.contains(it)), "{waits:?}");
    waits.sort_unstable();
    assert!(waits[39] - waits[0] > 4 * MINUTE, "{waits:?}");
    waits.dedup();
    assert!(waits.len() > 30, "{waits:?}");
}
