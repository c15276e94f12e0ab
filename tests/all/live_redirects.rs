//! A redirect or a new table takes effect for what waits, not only for what comes.

use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::Timestamp;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, free_port, room};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const SLOW_RETRY: &str = "retry = [\"1h\"]";

/// Room `b` is away; what waits for it, and the port where it would be.
fn waiting_for_b(redirect: &str) -> (Relay, String, u16) {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .room("c", "maildir:mail/c")
        .routes(redirect)
        .delivery(SLOW_RETRY)
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    (relay, reply.reference(), port)
}

fn wait_for_deferral(relay: &Relay) {
    wait::until("the first attempt", || {
        column(&relay.rows(&["queue", "list"]), "state") == ["deferred"]
    });
}

fn in_seconds(seconds: u64) -> Timestamp {
    Timestamp::now().after(Duration::from_secs(seconds))
}

#[test]
fn a_redirect_begins_for_what_waits() {
    let redirect = format!(
        "[[redirect]]\nroom = \"room-b\"\nto = \"room-c\"\nfrom = {}\n",
        in_seconds(6)
    );
    let (relay, reference, _) = waiting_for_b(&redirect);
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
    assert_eq!(relay.maildir("c", "vakt").len(), 1);
    let rows = relay.rows(&["log", "search", &reference]);
    assert_eq!(column(&rows, "recipient_room"), ["room-b"]);
}

#[test]
fn a_redirect_ends_for_what_waits() {
    let away = free_port();
    let sink = Sink::start();
    let redirect = format!(
        "[[redirect]]\nroom = \"room-b\"\nto = \"room-d\"\nuntil = {}\n",
        in_seconds(8)
    );
    let relay = Setup::from_a_to(&sink.hop())
        .room("d", &format!("smtp://127.0.0.1:{away}"))
        .routes(&redirect)
        .delivery(SLOW_RETRY)
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait_for_deferral(&relay);
    assert_eq!(sink.count(), 0);
    sink.wait_for(1)[0].above(&message);
    relay.expect_events(&reply.reference(), &["accepted", "deferred", "delivered"]);
}

#[test]
fn a_new_next_hop_is_used_for_what_waits() {
    let (relay, reference, _) = waiting_for_b("");
    wait_for_deferral(&relay);
    let sink = Sink::on(free_port(), |_, _, _| Step::Agree);
    let routes = [
        room("a", "maildir:mail/a", ""),
        room("b", &sink.hop(), ""),
        room("c", "maildir:mail/c", ""),
    ];
    relay.apply(&routes.concat());
    sink.wait_for(1);
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
}

/// A relay with so many connections to a hop that answers no MAIL, and a message on each.
fn all_hanging(connections: usize, answer: Step) -> (Relay, Sink, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let old = Sink::scripted(move |stage, _, _| match stage {
        Stage::Mail => Step::WaitFor(Arc::clone(&held)),
        Stage::Rcpt => answer.clone(),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&old.hop())
        .delivery(&format!(
            "{SLOW_RETRY}\nconnections_per_room = {connections}"
        ))
        .start();
    send_to_b(&relay, connections);
    wait::until("every connection in use", || {
        old.reached(Stage::Mail) == connections
    });
    (relay, old, gate)
}

fn send_to_b(relay: &Relay, count: usize) {
    let mut client = relay.client("a");
    for _ in 0..count {
        client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    }
}

#[test]
fn a_new_next_hop_is_used_while_all_connections_hang_on_the_old_one() {
    let (relay, old, gate) = all_hanging(1, Step::Agree);
    send_to_b(&relay, 3);
    let new = Sink::start();
    let routes = [
        room("a", "maildir:mail/a", ""),
        room("b", &new.hop(), ""),
        room("c", "maildir:mail/c", ""),
    ];
    relay.apply(&routes.concat());
    new.wait_for(3);
    send_to_b(&relay, 3);
    new.wait_for(6);
    assert_eq!(old.reached(Stage::Mail), 1, "nothing more goes the old way");
    // What was in hand is finished where it was begun.
    gate.open();
    old.wait_for(1);
    wait::until("an empty queue", || relay.queue_is_empty());
}

#[test]
fn what_the_old_hop_puts_off_goes_the_new_way_at_once() {
    let (relay, _old, gate) = all_hanging(1, Step::Say("451 4.3.0 not today"));
    send_to_b(&relay, 1);
    let new = Sink::start();
    relay.apply(&[room("a", "maildir:mail/a", ""), room("b", &new.hop(), "")].concat());
    new.wait_for(1);
    gate.open();
    new.wait_for(2);
}

#[test]
fn a_group_with_one_bad_member_reaches_the_rest() {
    let (full, good) = (
        Sink::scripted(|stage, _, _| match stage {
            crate::sink::Stage::Rcpt => Step::Say("550 5.1.1 nobody here"),
            _ => Step::Agree,
        }),
        Sink::start(),
    );
    let relay = Setup::from_a_to(&full.hop())
        .room("c", &good.hop())
        .room("d", &format!("smtp://127.0.0.1:{}", free_port()))
        .routes(
            "[[group]]\naddress = \"alle@a.nodnett.test\"\nmembers = [\"vakt@b.nodnett.test\", \
             \"vakt@c.nodnett.test\", \"vakt@d.nodnett.test\", \"vakt@a.nodnett.test\"]\n",
        )
        .delivery(SLOW_RETRY)
        .start();
    let group = "alle@a.nodnett.test";
    let message = letter(&vakt("a"), group);
    let reply = relay.client("a").send(&vakt("a"), &[group], &message);
    good.wait_for(1)[0].above(&message);
    let status = |room: &str| {
        let rows = relay.rows(&["log", "search", &reply.reference()]);
        let mut rows = rows.iter();
        let row = rows.find(|row| row["recipient_room"] == room);
        row.unwrap()["status"].as_str().unwrap().to_owned()
    };
    for (room, expected) in [
        ("room-a", "delivered"),
        ("room-b", "failed"),
        ("room-c", "delivered"),
        ("room-d", "deferred"),
    ] {
        wait::until(room, || status(room) == expected);
    }
}
