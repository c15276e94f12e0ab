//! A stop in the midst of an attempt: what was settled is written and not done again, and what may
//! have been delivered is called so before it is tried again.

use std::sync::Arc;
use std::time::Duration;

use ilbud::policy::table::{HopTls, NextHop};
use ilbud::spool::store::Waiting;

use crate::attempt::{Worker, hop, rows, server, told, word};
use crate::client::{letter, vakt};
use crate::fake_hop::{ALL, At, FakeHop, Fault, Manner, Offers};
use crate::relay::{Relay, Setup, column};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const SLOW_RETRY: &str = "retry = [\"1h\"]";

/// Says yes, but is held up at the first arrival at a stage.
fn held_up_at(stage: Stage, nth: usize) -> (Sink, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |at, n, _| match (at, n) {
        (at, n) if (at, n) == (stage, nth) => Step::WaitFor(Arc::clone(&held)),
        _ => Step::Agree,
    });
    (sink, gate)
}

fn send(relay: &Relay, recipients: &[&str]) -> String {
    let message = letter(&vakt("a"), recipients[0]);
    let mut client = relay.client("a");
    let reply = client.send(&vakt("a"), recipients, &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

/// What became of one recipient, in order.
fn story(relay: &Relay, reference: &str, recipient: &str) -> Vec<String> {
    let rows = relay.rows(&["log", "show", reference]);
    let of_it = rows.into_iter().filter(|row| row["recipient"] == recipient);
    column(&of_it.collect::<Vec<_>>(), "event")
}

#[test]
fn what_the_final_answer_is_awaited_for_is_possibly_delivered() {
    let (sink, gate) = held_up_at(Stage::Dot, 1);
    let mut relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    let reference = send(&relay, &[&vakt("b")]);
    wait::until("the final dot", || sink.reached(Stage::Dot) == 1);
    assert!(relay.stop().success());
    gate.open();
    let told = ["accepted", "possibly delivered"];
    assert_eq!(relay.events(&reference), told);
    relay.start();
    relay.expect_events(&reference, &[&told[..], &["delivered"]].concat());
}

#[test]
fn what_was_not_sent_whole_waits_and_is_tried_again() {
    let (sink, gate) = held_up_at(Stage::Mail, 1);
    let mut relay = Setup::from_a_to(&sink.hop()).delivery(SLOW_RETRY).start();
    let reference = send(&relay, &[&vakt("b")]);
    wait::until("MAIL", || sink.reached(Stage::Mail) == 1);
    assert!(relay.stop().success());
    gate.open();
    let rows = relay.story(&reference);
    assert_eq!(column(&rows, "event"), ["accepted", "deferred"]);
    let reason = rows[1]["reason"].as_str().unwrap();
    assert!(reason.contains("the relay is stopping"), "{reason}");
    relay.start();
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
}

#[test]
fn what_the_first_hop_took_is_not_sent_again() {
    let first = Sink::scripted(|stage, _, line| match stage {
        Stage::Rcpt if line.contains("late@") => Step::Say("450 4.2.1 busy"),
        _ => Step::Agree,
    });
    let (second, gate) = held_up_at(Stage::Mail, 1);
    let hops = format!("{}\", \"{}", first.hop(), second.hop());
    let mut relay = Setup::from_a_to(&hops).delivery(SLOW_RETRY).start();
    let (soon, late) = ("soon@b.nodnett.test", "late@b.nodnett.test");
    let reference = send(&relay, &[soon, late]);
    wait::until("the second hop", || second.reached(Stage::Mail) == 1);
    assert!(relay.stop().success());
    gate.open();
    assert_eq!(story(&relay, &reference, soon).last().unwrap(), "delivered");
    assert_eq!(story(&relay, &reference, late).last().unwrap(), "deferred");
    relay.start();
    wait::until("the other", || second.count() == 1);
    wait::until("an empty queue", || relay.queue_is_empty());
    assert_eq!((first.count(), second.count()), (1, 1));
}

/// The hop that is asked first goes on without a word; the relay opens no connection to the next.
#[test]
fn a_stop_begins_no_further_hop() {
    let (first, gate) = held_up_at(Stage::Mail, 1);
    let second = Sink::start();
    let hops = format!("{}\", \"{}", first.hop(), second.hop());
    let mut relay = Setup::from_a_to(&hops).delivery(SLOW_RETRY).start();
    let reference = send(&relay, &[&vakt("b")]);
    wait::until("MAIL", || first.reached(Stage::Mail) == 1);
    assert!(relay.stop().success());
    gate.open();
    assert_eq!(relay.events(&reference), ["accepted", "deferred"]);
    assert_eq!(second.reached(Stage::Connect), 0);
}

/// Its time is over when the attempt is cut short, but it has not been refused by anybody.
#[test]
fn a_stop_gives_nothing_up() {
    for stage in [Stage::Mail, Stage::Dot] {
        let (sink, gate) = held_up_at(stage, 1);
        let short = format!("{SLOW_RETRY}\nwarn_after = \"1h\"\ngive_up_after = \"1s\"");
        let mut relay = Setup::from_a_to(&sink.hop()).delivery(&short).start();
        let reference = send(&relay, &[&vakt("b")]);
        wait::until("the stage", || sink.reached(stage) == 1);
        assert!(relay.stop().success());
        gate.open();
        assert_eq!(relay.events(&reference), ["accepted"]);
        relay.start();
        relay.expect_events(&reference, &["accepted", "delivered"]);
    }
}

/// Makes one attempt, and stops it as soon as the hop has heard this so often.
async fn cut(fake: &FakeHop, heard: (&str, usize), rows: &[Waiting], hops: &[NextHop]) -> Told {
    let mut worker = Worker::new();
    let stopping = worker.stopping();
    let stop = async {
        while fake.count(heard.0) < heard.1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stopping.send_replace(true);
    };
    let bytes = [b"x".repeat(900).as_slice(), b"\r\n"]
        .concat()
        .repeat(6_000);
    let (attempts, ()) = tokio::join!(worker.carry(rows, &bytes, hops), stop);
    fake.go_on();
    attempts.iter().map(|it| (word(it), told(it))).collect()
}

type Told = Vec<(&'static str, String)>;

#[tokio::test]
async fn what_a_stop_means_depends_on_how_far_it_had_come() {
    const DATA: Offers = &["PIPELINING"];
    const BDAT: Offers = &["PIPELINING", "CHUNKING"];
    let lmtp = |lmtp| Manner {
        lmtp,
        ..Manner::default()
    };
    for (stage, offers, heard, expected) in [
        (At::Greeting, DATA, "connect", "deferred"),
        (At::Ehlo, DATA, "", "deferred"),
        (At::Mail, DATA, "MAIL", "deferred"),
        (At::Rcpt, DATA, "RCPT", "deferred"),
        (At::Data, DATA, "DATA", "deferred"),
        (At::Content, DATA, "DATA", "deferred"),
        (At::Dot, DATA, ".", "possibly"),
        (At::Content, BDAT, "BDAT", "deferred"),
        (At::Chunk, BDAT, "BDAT", "deferred"),
        (At::Dot, BDAT, "BDAT 169140 LAST", "possibly"),
    ] {
        for manner in [lmtp(false), lmtp(true)] {
            let fake = FakeHop::with(manner, offers, &[(stage, Fault::Stall)]).await;
            let next = FakeHop::start(offers, &[]).await;
            let to = server(fake.port, HopTls::Off);
            let first = match manner.lmtp {
                true => NextHop::Lmtp(to),
                false => NextHop::Smtp(to),
            };
            let rows = rows(&["vakt@b.nodnett.test"]);
            let hops = [first, hop(next.port)];
            let told = cut(&fake, (heard, 1), &rows, &hops).await;
            let what = format!("{stage:?} {offers:?} {manner:?}: {told:?}");
            assert_eq!(told[0].0, expected, "{what}");
            assert!(told[0].1.starts_with("the relay is stopping"), "{what}");
            assert_eq!(next.count("connect"), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn batches_that_were_taken_stay_taken_and_no_other_is_begun() {
    let addresses: Vec<String> = (0..250).map(|n| format!("u{n}@b.nodnett.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    for (faults, heard, expected) in [
        (
            [(At::Mail, Fault::Right), (At::Mail, Fault::Stall)],
            ("MAIL", 2),
            [100, 0, 150],
        ),
        (
            [(At::Dot, Fault::Right), (At::Dot, Fault::Stall)],
            (".", 2),
            [100, 100, 50],
        ),
    ] {
        let fake = FakeHop::start(&["PIPELINING"], &faults).await;
        let told = cut(&fake, heard, &rows(&addresses), &[hop(fake.port)]).await;
        let count = |word| told.iter().filter(|it| it.0 == word).count();
        assert_eq!(["delivered", "possibly", "deferred"].map(count), expected);
        assert_eq!(fake.count("MAIL"), 2);
    }
}

#[tokio::test]
async fn who_was_answered_over_lmtp_stays_so() {
    let faults = [
        (At::Dot, Fault::Right),
        (At::Dot, Fault::Say("550 5.1.1 gone")),
        (At::Dot, Fault::Stall),
    ];
    let lmtp = Manner {
        lmtp: true,
        ..Manner::default()
    };
    let fake = FakeHop::with(lmtp, ALL, &faults).await;
    let hops = [NextHop::Lmtp(server(fake.port, HopTls::Off))];
    let four = ["a", "b", "c", "d"].map(|it| format!("{it}@b.nodnett.test"));
    let rows = rows(&four.each_ref().map(String::as_str));
    let told = cut(&fake, (".", 1), &rows, &hops).await;
    let words: Vec<&str> = told.iter().map(|it| it.0).collect();
    assert_eq!(words, ["delivered", "failed", "possibly", "possibly"]);
}

/// What the hop said before the stop is what is known of those whom another hop was not asked for.
#[tokio::test]
async fn what_was_said_before_the_stop_stands() {
    let faults = [
        (At::Rcpt, Fault::Say("450 4.2.1 busy")),
        (At::Dot, Fault::Stall),
    ];
    let fake = FakeHop::start(ALL, &faults).await;
    let next = FakeHop::start(ALL, &[]).await;
    let rows = rows(&["a@b.nodnett.test", "b@b.nodnett.test"]);
    let hops = [hop(fake.port), hop(next.port)];
    let told = cut(&fake, (".", 1), &rows, &hops).await;
    assert_eq!(told[0], ("deferred", "450 4.2.1 busy".to_owned()));
    assert_eq!((told[1].0, next.count("connect")), ("possibly", 0));
}
