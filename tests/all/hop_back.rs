//! A hop that was away and comes back is noticed at once, for all that waits for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, free_port};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

/// Well before the next try, and a little more than the longest pause between two knocks.
const SOON: Duration = Duration::from_secs(20);
const SLOW_RETRY: &str = "retry = [\"1h\"]";

fn deferred(relay: &Relay) -> Vec<Value> {
    relay.rows(&["queue", "list", "--state", "deferred"])
}

fn send(relay: &Relay, count: usize, to: &str) -> Vec<String> {
    let mut client = relay.client("a");
    let one = |_| {
        let message = letter(&vakt("a"), &vakt(to));
        client.send(&vakt("a"), &[&vakt(to)], &message).reference()
    };
    (0..count).map(one).collect()
}

#[test]
fn all_that_waits_goes_out_when_the_hop_is_back() {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .delivery(SLOW_RETRY)
        .start();
    let sent = send(&relay, 30, "b");
    wait::until("thirty deferrals", || deferred(&relay).len() == 30);
    for row in deferred(&relay) {
        assert_eq!(row["attempts"], 1, "{row}");
        assert!(
            row["last_reply"].as_str().unwrap().contains("refused"),
            "{row}"
        );
    }
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    assert_eq!(sink.wait_within(SOON, 30).len(), 30);
    for reference in sent {
        relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
    }
}

#[test]
fn an_operator_who_retries_is_answered_at_once() {
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .delivery(SLOW_RETRY)
        .start();
    let sent = send(&relay, 3, "b");
    wait::until("three deferrals", || deferred(&relay).len() == 3);
    relay.done(&["queue", "retry", "--all"]);
    for reference in &sent {
        relay.expect_events(reference, &["accepted", "deferred", "retried", "deferred"]);
    }
    assert_eq!(column(&deferred(&relay), "attempts"), ["2"; 3]);
}

#[test]
fn one_connection_at_a_time_knocks_at_a_dead_hop() {
    let sink = Sink::scripted(|stage, n, _| match (stage, n) {
        (Stage::Connect, 1..=2) => Step::HangUp,
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    send(&relay, 20, "b");
    assert_eq!(sink.wait_within(SOON, 20).len(), 20);
    assert!(
        sink.reached(Stage::Connect) <= 2 + 20,
        "{}",
        sink.reached(Stage::Connect)
    );
    wait::until("an empty queue", || relay.queue_is_empty());
}

#[test]
fn what_one_message_is_refused_for_shuts_no_door() {
    let sink = Sink::scripted(|stage, _, line| match stage {
        Stage::Rcpt if line.contains("full@") => Step::Say("452 4.2.2 full"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    let mut client = relay.client("a");
    let full = "full@b.nodnett.test";
    let put_off = client.send(&vakt("a"), &[full], &letter(&vakt("a"), full));
    relay.expect_events(&put_off.reference(), &["accepted", "deferred"]);
    for reference in send(&relay, 3, "b") {
        relay.expect_events(&reference, &["accepted", "delivered"]);
    }
    assert_eq!(relay.events(&put_off.reference()), ["accepted", "deferred"]);
}

#[test]
fn a_hop_that_takes_few_connections_is_not_dead() {
    let sink = Sink::scripted(|stage, n, _| match (stage, n) {
        (Stage::Connect, 2..) => Step::Say("421 4.7.0 one is enough"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    let sent = send(&relay, 20, "b");
    assert_eq!(sink.wait_within(SOON, 20).len(), 20);
    for reference in sent {
        relay.expect_events(&reference, &["accepted", "delivered"]);
    }
}

#[test]
fn a_hung_transaction_does_not_freeze_its_room() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, n, _| match (stage, n) {
        (Stage::Mail, 1) => Step::WaitFor(Arc::clone(&held)),
        (Stage::Connect, 2) => Step::Say("421 4.7.0 one is enough"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    send(&relay, 1, "b");
    wait::until("the transaction that hangs", || {
        sink.reached(Stage::Mail) == 1
    });
    let other = send(&relay, 1, "b").remove(0);
    assert_eq!(sink.wait_within(SOON, 1).len(), 1);
    relay.expect_events(&other, &["accepted", "delivered"]);
    gate.open();
    sink.wait_for(2);
}

/// A hop without space until the gate is opened, and so many messages that it put off.
fn full_hop(count: usize) -> (Relay, Sink, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let full = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, _, _| match stage {
        Stage::Mail if !full.is_open() => Step::Say("452 4.3.1 no space left"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    send(&relay, count, "b");
    wait::until("the deferrals", || deferred(&relay).len() == count);
    (relay, sink, gate)
}

#[test]
fn a_hop_that_took_nothing_for_a_while_gets_it_all_when_it_takes_one() {
    let (relay, sink, gate) = full_hop(3);
    gate.open();
    send(&relay, 1, "b");
    assert_eq!(sink.wait_within(SOON, 4).len(), 4);
}

#[test]
fn a_hop_that_takes_mail_again_is_noticed_without_new_mail() {
    let (relay, sink, gate) = full_hop(5);
    gate.open();
    assert_eq!(sink.wait_within(SOON, 5).len(), 5);
    assert!(wait::within(SOON, || relay.queue_is_empty()));
}

#[test]
fn prompts_do_not_keep_a_slow_hop_from_answering() {
    let sink = Sink::scripted(|stage, n, _| match (stage, n) {
        (Stage::Connect, 1) => Step::HangUp,
        (Stage::Connect, _) => Step::AfterAWhile(Duration::from_millis(2500)),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    send(&relay, 1, "b");
    wait::until("a deferral", || deferred(&relay).len() == 1);
    let arrived = wait::within(SOON, || {
        relay.run(&["queue", "retry", "--room", "room-b"]);
        sink.count() == 1
    });
    assert!(arrived, "cut short for ever");
}

#[test]
fn a_folder_that_can_be_written_to_again_gets_all_that_waits() {
    let setup = Setup::from_a_to("maildir:mail/b").delivery(SLOW_RETRY);
    let mut relay = setup.prepare();
    let folder = relay.path("mail").join("b");
    std::fs::create_dir(relay.path("mail")).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    relay.start();
    send(&relay, 5, "b");
    wait::until("five deferrals", || deferred(&relay).len() == 5);
    std::fs::remove_file(&folder).unwrap();
    let arrived = wait::within(SOON, || relay.maildir("b", "vakt").len() == 5);
    assert!(arrived, "{:?}", deferred(&relay));
    wait::until("an empty queue", || relay.queue_is_empty());
}

/// A hop that answers each message as `trouble` says at one stage, until it is well.
fn ill(at: Stage, trouble: fn(&Arc<Gate>) -> Step) -> (Sink, Arc<Gate>) {
    let well = Arc::new(Gate::default());
    let shared = Arc::clone(&well);
    let sink = Sink::scripted(move |stage, _, _| match stage == at && !shared.is_open() {
        true => trouble(&shared),
        false => Step::Agree,
    });
    (sink, well)
}

/// Whatever it said and wherever: the next try of what waits would be an hour away.
#[test]
fn a_hop_that_was_ill_at_any_stage_and_takes_one_gets_all_that_waits() {
    let full: fn(&Arc<Gate>) -> Step = |_| Step::Say("451 4.3.2 not now");
    let closing: fn(&Arc<Gate>) -> Step = |_| Step::Say("421 4.3.2 closing");
    let gone: fn(&Arc<Gate>) -> Step = |_| Step::HangUp;
    let hung: fn(&Arc<Gate>) -> Step = |well| Step::WaitFor(Arc::clone(well));
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data] {
        for (name, trouble) in [
            ("451", full),
            ("421", closing),
            ("gone", gone),
            ("hung", hung),
        ] {
            let (sink, well) = ill(stage, trouble);
            let delivery =
                format!("{SLOW_RETRY}\n[delivery.timeouts]\nenvelope = \"1s\"\ndata = \"1s\"");
            let relay = Setup::from_a_to(&sink.hop()).delivery(&delivery).start();
            // One recipient alone, put off again and again, would say nothing of its hop.
            let mut client = relay.client("a");
            for to in ["x@b.nodnett.test", "y@b.nodnett.test", "z@b.nodnett.test"] {
                client.send(&vakt("a"), &[to], &letter(&vakt("a"), to));
            }
            wait::until("three deferrals", || deferred(&relay).len() == 3);
            well.open();
            send(&relay, 1, "b");
            let arrived = sink.wait_within(SOON, 4).len();
            assert_eq!(arrived, 4, "{stage:?} {name}: {:?}", deferred(&relay));
        }
    }
}
