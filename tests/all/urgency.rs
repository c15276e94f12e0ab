//! Urgent mail first, and routine mail still moves. What waits is put into the store beside the
//! relay, as another process would.

use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::event::State;
use ilbud::mail::{Address, Content, Facts, Priority, Reference, RoomId, Terms, Timestamp, Wishes};
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{NewMessage, NewRecipient, Store};

use crate::client::{letter_saying, next_id, vakt};
use crate::relay::{Relay, Setup, column, free_port};
use crate::sink::{Gate, Message, Sink, Stage, Step};
use crate::wait;

const URGENT: i8 = 4;
const ROUTINE: i8 = 0;

/// One message after the other, each with its priority and text, from a mailbox of room `a`.
fn put(relay: &Relay, sender: &str, messages: &[(i8, &str)]) {
    let path = relay.path("ilbud.db");
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pending: Vec<_> = messages
        .iter()
        .map(|(level, text)| store.accept(message(sender, *level, text)))
        .collect();
    for one in pending {
        runtime.block_on(one).unwrap();
    }
}

fn message(sender: &str, level: i8, text: &str) -> NewMessage {
    let now = Timestamp::now();
    NewMessage {
        // Of now, in the order in which they are made.
        reference: Reference::from_number(Reference::first_at(now).number() + next_id()),
        accepted_at: now,
        sender: Some(Address::parse(sender).unwrap()),
        sender_room: Some(RoomId::new("room-a")),
        client: "127.0.1.9".to_owned(),
        smtputf8: false,
        eight_bit: false,
        terms: Terms {
            priority: Priority::new(level).unwrap(),
            ..Terms::default()
        },
        facts: Facts::default(),
        content: Content {
            trace: "Received: x\r\n".into(),
            bytes: letter_saying(sender, &vakt("b"), &format!("{text}\r\n")).into(),
        },
        recipients: vec![NewRecipient {
            waiver: None,
            address: Address::parse(&vakt("b")).unwrap(),
            room: RoomId::new("room-b"),
            wishes: Wishes::default(),
            state: State::Queued,
            reason: None,
            next_attempt_at: now,
            look_at: now.after(Duration::from_secs(5)),
            leased_until: now,
        }],
        events: Vec::new(),
        left_out: Vec::new(),
        scan: None,
    }
}

/// Waits until the relay has taken so many from the store: under a lease, they are due later than
/// they are tried.
fn in_hand(relay: &Relay, count: i64) {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let leased = "SELECT count(*) FROM recipient WHERE due_at > next_attempt_at";
    wait::until("the relay to take what waits", || {
        store
            .query_one(leased, [], |row| row.get::<_, i64>(0))
            .unwrap()
            == count
    });
}

/// The last line of each message.
fn texts(kept: &[Message]) -> Vec<String> {
    let last = |it: &Message| it.text().lines().last().unwrap().to_owned();
    kept.iter().map(last).collect()
}

/// A relay with one connection to a hop that takes the first message only when the gate is opened,
/// and that message on its way.
fn one_connection() -> (Relay, Sink, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, n, _| match (stage, n) {
        (Stage::Data, 1) => Step::WaitFor(Arc::clone(&held)),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("connections_per_room = 1")
        .start();
    put(&relay, &vakt("a"), &[(ROUTINE, "first")]);
    wait::until("the first in hand", || sink.reached(Stage::Data) == 1);
    (relay, sink, gate)
}

#[test]
fn urgent_mail_overtakes_what_waits_for_the_same_connection() {
    let (relay, sink, gate) = one_connection();
    let waiting = [(ROUTINE, "second"), (ROUTINE, "third"), (URGENT, "urgent")];
    put(&relay, &vakt("a"), &waiting);
    put(&relay, &vakt("a"), &[(9, "most urgent")]);
    in_hand(&relay, 5);
    gate.open();
    let order = texts(&sink.wait_for(5));
    let place = |text: &str| order.iter().position(|it| it == text).unwrap();
    assert_eq!(place("first"), 0, "{order:?}");
    assert!(place("urgent") < place("third"), "{order:?}");
    assert!(place("most urgent") < place("third"), "{order:?}");
}

#[test]
fn what_a_client_marks_as_urgent_goes_first() {
    let (relay, sink, gate) = one_connection();
    let mut client = relay.client("a");
    // Urgent mail may have a connection of its own, which takes a while to be made.
    let routine = 20;
    let marks = ["Importance: High\r\n", "X-Priority: 1 (Highest)\r\n"];
    let all = std::iter::repeat_n("", routine).chain(marks);
    for (number, mark) in all.enumerate() {
        let from = vakt("a");
        let text = format!("From: {from}\r\n{mark}Subject: x\r\n\r\n{number}\r\n");
        client.send(&from, &[&vakt("b")], text.as_bytes());
    }
    let count = 1 + routine + marks.len();
    in_hand(&relay, i64::try_from(count).unwrap());
    gate.open();
    let order = texts(&sink.wait_for(count));
    let place = |number: usize| {
        order
            .iter()
            .position(|it| *it == number.to_string())
            .unwrap()
    };
    for urgent in routine..routine + marks.len() {
        assert!(place(urgent) < place(routine - 1), "{order:?}");
    }
}

#[test]
fn routine_mail_moves_through_a_flood_of_urgent_mail() {
    let (relay, sink, gate) = one_connection();
    put(&relay, &vakt("a"), &[(ROUTINE, "routine")]);
    put(&relay, &vakt("a"), &[(URGENT, "urgent"); 40]);
    in_hand(&relay, 42);
    gate.open();
    let order = texts(&sink.wait_for(42));
    let place = order.iter().position(|it| it == "routine").unwrap();
    assert!(place < 20, "{order:?}");
}

#[test]
fn urgent_mail_passes_a_burst_of_large_messages() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, _, line| match stage {
        Stage::Mail if line.contains("leder@") => Step::WaitFor(Arc::clone(&held)),
        _ => Step::Agree,
    });
    // Two of the large ones fill the memory for bodies.
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("connections_per_room = 5")
        .settings("[limits]\nmemory = \"24MB\"\nmessage_size = \"20MB\"")
        .start();
    let large = format!("{}\r\n", "x".repeat(76)).repeat(150_000);
    put(
        &relay,
        "leder@a.nodnett.test",
        &[(ROUTINE, large.as_str()); 8],
    );
    wait::until("large ones in hand", || sink.reached(Stage::Mail) > 0);
    put(&relay, &vakt("a"), &[(URGENT, "urgent")]);
    assert_eq!(texts(&sink.wait_for(1)), ["urgent"]);
    gate.open();
    sink.wait_for(9);
}

#[test]
fn what_is_more_than_the_pace_at_a_dead_hop_comes_round_slowly() {
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .delivery("retry = [\"4s\", \"8s\", \"16s\", \"1h\"]")
        .start();
    put(&relay, &vakt("a"), &[(ROUTINE, "x"); 1500]);
    let attempts = || {
        let rows = relay.rows(&["queue", "list", "--state", "deferred"]);
        column(&rows, "attempts")
    };
    wait::until("a finding for each", || attempts().len() == 1500);
    let soon = Timestamp::now().after(Duration::from_secs(60));
    let rows = relay.rows(&["queue", "list"]);
    let next = column(&rows, "next_attempt_at");
    let late = next
        .iter()
        .filter(|at| at.parse::<Timestamp>().unwrap() > soon);
    assert!(late.count() > 200, "{:?}", attempts());
}

#[test]
fn an_urgent_stream_leaves_room_for_routine_mail_in_the_store() {
    let (relay, sink, gate) = one_connection();
    // More of it than the relay holds in memory, and what is less urgent came first.
    put(&relay, &vakt("a"), &[(1, "older")]);
    put(&relay, &vakt("a"), &[(URGENT, "urgent"); 900]);
    gate.open();
    let order = texts(&sink.wait_for(902));
    let place = order.iter().position(|it| it == "older").unwrap();
    assert!(place < 40, "{place}");
}

#[test]
fn routine_mail_moves_while_urgent_mail_keeps_coming() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Dot => Step::AfterAWhile(Duration::from_millis(20)),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("connections_per_room = 3")
        .start();
    put(&relay, &vakt("a"), &[(URGENT, "urgent"); 100]);
    let mut client = relay.client("a");
    let mut say = |mark: &str, text: &str| {
        let from = vakt("a");
        let text = format!("From: {from}\r\n{mark}Subject: x\r\n\r\n{text}\r\n");
        client.send(&from, &[&vakt("b")], text.as_bytes());
    };
    say("", "routine");
    let mut said = 101;
    let arrived = wait::within(Duration::from_secs(30), || {
        for _ in 0..10 {
            say("Importance: High\r\n", "urgent");
        }
        said += 10;
        texts(&sink.kept()).iter().any(|it| it == "routine")
    });
    assert!(arrived, "{} of {said} were taken", sink.count());
    assert!(sink.count() < said, "urgent mail waited all the time");
}
