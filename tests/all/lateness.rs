//! Whoever sent what waits hears of it in time, wherever it waits: in line, in an attempt that takes
//! long, or stopped by an operator; and nobody is told that it failed while it may still arrive.

use std::sync::Arc;

use crate::client::{Client, letter, vakt};
use crate::relay::{Relay, Setup, column};
use crate::sink::{Gate, Message, Sink, Stage, Step};
use crate::wait;

/// A hop that takes one message and does not say so before the gate opens; the end is `last`.
fn slow(gate: &Arc<Gate>, last: Step) -> Sink {
    let gate = Arc::clone(gate);
    Sink::scripted(move |stage, number, _| match (stage, number) {
        (Stage::Dot, 1) => {
            gate.pass();
            last.clone()
        }
        _ => Step::Agree,
    })
}

/// From room a, whose mail goes to `home`, to room b at `hop`, one connection at a time.
fn relay(home: &Sink, hop: &Sink, delivery: &str) -> Relay {
    Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &hop.hop())
        .delivery(&format!(
            "retry = [\"1s\"]\nconnections_per_room = 1\n{delivery}"
        ))
        .start()
}

fn send(client: &mut Client, parameters: &str) -> String {
    let refused = client.envelope(&vakt("a"), &[&vakt("b")], parameters);
    assert!(refused.is_none(), "{refused:?}");
    client.data(&letter(&vakt("a"), &vakt("b"))).reference()
}

/// One message that the hop has heard all of and not answered, and another in line behind it.
fn one_under_way_and_one_in_line(relay: &Relay, hop: &Sink, parameters: &str) -> [String; 2] {
    let mut client = relay.client("a");
    let first = send(&mut client, "");
    wait::until("the final dot", || hop.reached(Stage::Dot) == 1);
    [first, send(&mut client, parameters)]
}

fn reports_on<'a>(reference: &str, kept: &'a [Message]) -> Vec<&'a Message> {
    let is_about = |it: &&Message| it.text().contains(reference);
    kept.iter().filter(is_about).collect()
}

#[test]
fn a_sender_hears_that_it_is_late_while_it_waits_for_its_turn() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let hop = slow(&gate, Step::Agree);
    let relay = relay(&home, &hop, "warn_after = \"1s\"");
    let sent = one_under_way_and_one_in_line(&relay, &hop, "");
    let kept = home.wait_for(2);
    for reference in &sent {
        let [warning] = reports_on(reference, &kept)[..] else {
            panic!("one warning on {reference}, not these: {kept:?}");
        };
        assert!(warning.text().contains("Action: delayed"), "{warning:?}");
        assert!(warning.text().contains("+47 00 00 00 02"), "{warning:?}");
    }
    let in_line = reports_on(&sent[1], &kept)[0].text();
    assert!(in_line.contains("Many messages are waiting"), "{in_line}");
    gate.open();
    for reference in &sent {
        relay.expect_events(reference, &["accepted", "warned", "delivered"]);
    }
    assert_eq!((hop.count(), home.count()), (2, 2));
}

#[test]
fn what_must_not_come_late_ends_in_line() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let hop = slow(&gate, Step::Agree);
    let relay = relay(&home, &hop, "");
    let [first, second] = one_under_way_and_one_in_line(&relay, &hop, " BY=1;R");
    relay.expect_events(&second, &["accepted", "failed", "bounced"]);
    assert_eq!(reports_on(&second, &home.wait_for(1)).len(), 1);
    gate.open();
    relay.expect_events(&first, &["accepted", "delivered"]);
    wait::until("an empty queue", || relay.queue_is_empty());
    assert_eq!(hop.count(), 1);
}

#[test]
fn what_waits_for_its_turn_too_long_is_given_up() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let hop = slow(&gate, Step::Agree);
    let delivery = "warn_after = \"1h\"\ngive_up_after = \"2s\"";
    let relay = relay(&home, &hop, delivery);
    let [first, second] = one_under_way_and_one_in_line(&relay, &hop, "");
    relay.expect_events(&second, &["accepted", "failed", "bounced"]);
    let report = &home.wait_for(1)[0];
    assert!(report.text().contains("It waited for"), "{report:?}");
    gate.open();
    relay.expect_events(&first, &["accepted", "delivered"]);
    wait::until("an empty queue", || relay.queue_is_empty());
    assert_eq!(hop.count(), 1);
}

#[test]
fn what_is_cancelled_while_it_is_delivered_is_delivered() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let hop = slow(&gate, Step::Agree);
    let relay = relay(&home, &hop, "");
    let [first, second] = one_under_way_and_one_in_line(&relay, &hop, "");
    relay.done(&["queue", "cancel", "--all", "--report", "--reason", "ringt"]);
    // In line it is stopped, and told with what the operator wrote.
    relay.expect_events(&second, &["accepted", "cancelled", "bounced"]);
    let report = home.wait_for(1)[0].text();
    assert!(
        report.contains(&second) && report.contains("ringt"),
        "{report}"
    );
    gate.open();
    relay.expect_events(&first, &["accepted", "cancelled", "delivered"]);
    let rows = relay.rows(&["log", "search", &first]);
    assert_eq!(column(&rows, "status"), ["delivered"]);
    wait::until("the report is delivered", || relay.queue_is_empty());
    assert_eq!((hop.count(), home.count()), (1, 1));
}

#[test]
fn what_is_cancelled_while_it_may_arrive_is_told_as_a_doubt() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let hop = slow(&gate, Step::HangUp);
    let relay = relay(&home, &hop, "");
    let mut client = relay.client("a");
    let reference = send(&mut client, "");
    wait::until("the final dot", || hop.reached(Stage::Dot) == 1);
    relay.done(&["queue", "cancel", &reference, "--report"]);
    gate.open();
    let story = ["accepted", "cancelled", "possibly delivered", "bounced"];
    relay.expect_events(&reference, &story);
    let report = home.wait_for(1)[0].text();
    assert!(report.contains("Perhaps not delivered"), "{report}");
}

#[test]
fn a_doubt_outlives_what_is_heard_later() {
    let home = Sink::start();
    let hop = Sink::scripted(|stage, number, _| match (stage, number) {
        (Stage::Dot, 1) => Step::HangUp,
        (Stage::Mail, 2) => Step::Say("451 4.3.2 busy"),
        (Stage::Mail, 3) => Step::Say("550 5.7.1 no"),
        _ => Step::Agree,
    });
    let relay = relay(&home, &hop, "");
    let reference = send(&mut relay.client("a"), "");
    let story = [
        "accepted",
        "possibly delivered",
        "deferred",
        "failed",
        "bounced",
    ];
    relay.expect_events(&reference, &story);
    let report = home.wait_for(1)[0].text();
    assert!(report.contains("Perhaps not delivered"), "{report}");
    let row = &relay.rows(&["log", "search", &reference])[0];
    let reply = row["reply"].as_str().unwrap();
    assert!(
        reply.ends_with("it may have arrived all the same"),
        "{reply}"
    );
}

#[test]
fn who_was_told_that_it_is_late_is_told_of_the_end() {
    let home = Sink::start();
    let hop = Sink::scripted(|stage, _, _| match stage {
        Stage::Mail => Step::Say("451 4.3.2 busy"),
        _ => Step::Agree,
    });
    let relay = relay(&home, &hop, "warn_after = \"1s\"");
    let reference = send(&mut relay.client("a"), "");
    home.wait_for(1);
    let said = relay.done(&["queue", "cancel", &reference]);
    assert!(
        said.contains("1 of them had been reported as late"),
        "{said}"
    );
    let kept = home.wait_for(2);
    assert!(kept[1].text().contains("Action: failed"), "{kept:?}");
    let events = relay.events(&reference);
    assert_eq!(events[events.len() - 2..], ["cancelled", "bounced"]);
}

#[test]
fn what_is_held_is_told_with_the_time_that_the_sender_named() {
    let (home, gate) = (Sink::start(), Arc::<Gate>::default());
    let busy = slow(&gate, Step::Agree);
    let relay = relay(&home, &busy, "");
    let [_, second] = one_under_way_and_one_in_line(&relay, &busy, " BY=2;N");
    relay.done(&["queue", "hold", &second]);
    relay.expect_events(&second, &["accepted", "held", "warned"]);
    let report = home.wait_for(1)[0].text();
    assert!(report.contains("You asked for delivery by"), "{report}");
    assert!(report.contains("held by the service desk"), "{report}");
    gate.open();
}
