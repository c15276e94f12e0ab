//! After any restart, what was waiting or in flight goes out within ten seconds.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, free_port};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const PROMISED: Duration = Duration::from_secs(10);
const SLOW_RETRY: &str = "retry = [\"1h\"]";

#[test]
fn what_waited_goes_out_after_a_restart() {
    let port = free_port();
    let mut relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .delivery(SLOW_RETRY)
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait::until("the first attempt", || {
        column(&relay.rows(&["queue", "list"]), "state") == ["deferred"]
    });
    assert!(relay.stop().success());
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    relay.start();
    assert_eq!(sink.wait_within(PROMISED, 1).len(), 1);
    sink.kept()[0].above(&message);
    relay.expect_events(&reply.reference(), &["accepted", "deferred", "delivered"]);
}

#[test]
fn what_waits_keeps_its_age_and_its_attempts() {
    let mut relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .delivery(SLOW_RETRY)
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    let tried = |relay: &Relay, times: u64| {
        let tried_so_often = || {
            let rows = relay.rows(&["queue", "list"]);
            let row = rows.into_iter().next();
            row.filter(|row| row["attempts"] == times)
        };
        wait::find_within(PROMISED, tried_so_often).unwrap()
    };
    let before = tried(&relay, 1);
    assert!(relay.stop().success());
    relay.start();
    let after = tried(&relay, 2);
    assert_eq!(after["accepted_at"], before["accepted_at"]);
    assert_eq!(after["last_reply"], before["last_reply"]);
}

#[test]
fn what_was_in_flight_goes_out_after_a_crash() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, n, _| match (stage, n) {
        (Stage::Data, 1) => Step::WaitFor(Arc::clone(&held)),
        _ => Step::Agree,
    });
    let mut relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    wait::until("the attempt", || sink.reached(Stage::Data) == 1);
    relay.kill();
    gate.open();
    relay.start();
    assert_eq!(sink.wait_within(PROMISED, 1).len(), 1);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    assert_eq!(sink.count(), 1);
}

#[test]
fn a_hop_that_vanishes_after_the_dot_may_have_the_message() {
    let sink = Sink::scripted(|stage, n, _| match (stage, n) {
        (Stage::Dot, 1) => Step::HangUp,
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(
        &reply.reference(),
        &["accepted", "possibly delivered", "delivered"],
    );
}

#[test]
fn a_dead_or_slow_room_delays_no_other() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let slow = Sink::scripted(move |stage, _, _| match stage {
        Stage::Connect => Step::WaitFor(Arc::clone(&held)),
        _ => Step::Agree,
    });
    let quick = Sink::start();
    let relay = Setup::from_a_to(&slow.hop())
        .room("c", &quick.hop())
        .room("d", &format!("smtp://127.0.0.1:{}", free_port()))
        .start();
    let mut client = relay.client("a");
    for _ in 0..50 {
        for room in ["b", "d"] {
            let reply = client.send(&vakt("a"), &[&vakt(room)], &letter(&vakt("a"), &vakt(room)));
            assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        }
    }
    for _ in 0..50 {
        client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    }
    quick.wait_for(50);
    assert_eq!(slow.count(), 0);
    gate.open();
    slow.wait_for(50);
}

#[test]
fn a_room_that_comes_back_gets_what_waited() {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}")).start();
    let mut client = relay.client("a");
    let sent: Vec<String> = (0..20)
        .map(|_| {
            let message = letter(&vakt("a"), &vakt("b"));
            client.send(&vakt("a"), &[&vakt("b")], &message).reference()
        })
        .collect();
    wait::until("twenty attempts", || {
        column(
            &relay.rows(&["queue", "list", "--state", "deferred"]),
            "ref",
        )
        .len()
            == sent.len()
    });
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    sink.wait_for(20);
    wait::until("an empty queue", || relay.queue_is_empty());
    assert_eq!(sink.count(), 20);
}
