//! What becomes of a message, move by move.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use super::retry::Next;
use super::*;
use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome};
use crate::mail::{
    Address, Answer, BodyKind, ByMode, DeliverBy, Details, Envelope, EventKind, Facts, Language,
    Lapses, Notify, Origin, Peer, Priority, Protocol, Received, Recipient, RoomId, Terms,
    TlsSession, Wishes,
};
use crate::spool::store::{NextLook, OfLate, Told};
use bytes::Bytes;

const NOW: Timestamp = Timestamp::from_millis(1_795_345_200_000);
const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn table() -> RoutingTable {
    let text = r#"
        [[room]]
        id = "room-a"
        name = "Rom A"
        phone = "+47 00 00 00 01"
        domains = ["a.nodnett.test"]
        next_hops = ["smtp://127.0.0.1:25"]
    "#;
    RoutingTable::parse(text, 7).unwrap().0
}

fn waiting(state: State, age: Duration) -> Waiting {
    Waiting {
        id: RecipientId {
            reference: Reference::from_number(5),
            number: 0,
        },
        recipient: Address::parse("vakt@a.nodnett.test").unwrap(),
        room: RoomId::new("room-a"),
        state,
        attempts: 2,
        of_late: OfLate {
            start: START,
            attempts: 2,
        },
        accepted_at: NOW.before(age),
        next_attempt_at: NOW,
        last_reply: None,
        waits_since: NOW.before(age),
        told: Told::default(),
        is_doubtful: false,
        wishes: Wishes::default(),
        terms: Terms::default(),
        is_ours: false,
        awaits_scan: false,
        waiver: None,
        sender: Some(Address::parse("leder@a.nodnett.test").unwrap()),
        sender_room: Some(RoomId::new("room-a")),
        smtputf8: false,
        eight_bit: false,
        size: 10,
        subject: None,
        message_id: None,
    }
}

fn answer(code: u16) -> Answer {
    Answer {
        code,
        enhanced: None,
        text: "words".into(),
    }
}

fn attempt(outcome: Outcome) -> Attempt {
    Attempt {
        outcome,
        reached: true,
        handover: Handover::Relayed,
        hop: Some("smtp://127.0.0.1:25".into()),
        tls: Some("none".into()),
        duration: Duration::from_millis(12),
    }
}

/// With the settings of these tests.
fn on_occasion<T>(decide: impl FnOnce(&Occasion<'_>) -> T) -> T {
    let letterhead = Letterhead {
        hostname: "relay.nodnett.test".into(),
        language: Language::En,
    };
    let schedule = Schedule {
        retry: vec![Duration::from_secs(60)],
        warn_after: Duration::from_secs(300),
        give_up_after: Duration::from_secs(3_600),
    };
    decide(&Occasion {
        now: NOW,
        noise: 6_000,
        schedule: &schedule,
        letterhead: &letterhead,
        table: &table(),
        content: None,
        reports: [9, 10, 11].map(Reference::from_number),
        route: None,
        start: START,
        up_for: Duration::from_secs(86_400),
    })
}

fn move_after(outcome: Outcome, row: Waiting) -> Change {
    on_occasion(|occasion| attempted(&[(row, attempt(outcome))], occasion))
}

fn said(code: u16) -> Cause {
    Cause::Said(answer(code))
}

#[test]
fn each_outcome_makes_its_move() {
    let young = Duration::from_secs(10);
    let old = Duration::from_secs(3_600);
    for (outcome, age, to, kind, last_reply, messages) in [
        (
            Outcome::Delivered(answer(250)),
            young,
            State::Delivered,
            EventKind::Delivered,
            "250 words",
            0,
        ),
        (
            Outcome::Delivered(answer(250)),
            old,
            State::Delivered,
            EventKind::Delivered,
            "250 words",
            0,
        ),
        (
            Outcome::Deferred(said(451)),
            young,
            State::Deferred,
            EventKind::Deferred,
            "451 words",
            0,
        ),
        (
            Outcome::Deferred(said(451)),
            old,
            State::Failed,
            EventKind::Failed,
            "tried for 60 min; at last: 451 words",
            1,
        ),
        (
            Outcome::Failed(said(550)),
            young,
            State::Failed,
            EventKind::Failed,
            "550 words",
            1,
        ),
        (
            Outcome::PossiblyDelivered(Cause::Found("gone".into())),
            young,
            State::Deferred,
            EventKind::PossiblyDelivered,
            "possibly delivered: gone",
            0,
        ),
        (
            Outcome::PossiblyDelivered(Cause::Found("gone".into())),
            old,
            State::Failed,
            EventKind::Failed,
            "tried for 60 min; at last: gone; it may have arrived all the same",
            1,
        ),
    ] {
        let change = move_after(outcome.clone(), waiting(State::Queued, age));
        let step = &change.recipients[0];
        let event = step.event.as_ref().unwrap();
        assert_eq!(
            (
                step.to,
                event.kind,
                step.last_reply.as_deref(),
                change.messages.len()
            ),
            (Some(to), kind, Some(last_reply), messages),
            "{outcome:?} after {age:?}"
        );
        assert_eq!(step.attempts, Some(3));
        assert_eq!(event.details.attempt, Some(3));
        let due = (to == State::Deferred).then(|| NOW.after(Duration::from_secs(60)));
        assert_eq!(step.next_attempt_at, due);
        assert_eq!(event.details.next_attempt_at, due.map(|at| at.to_string()));
    }
}

#[test]
fn a_delivery_overrules_a_hold_and_a_deferral_does_not() {
    let row = || waiting(State::Queued, Duration::ZERO);
    for (outcome, held) in [
        (Outcome::Delivered(answer(250)), true),
        (Outcome::Failed(said(550)), true),
        (Outcome::Deferred(said(450)), false),
    ] {
        let change = move_after(outcome.clone(), row());
        let from = change.recipients[0].from;
        assert_eq!(from.contains(&State::Held), held, "{outcome:?}");
        // Nobody can take a delivery back.
        let cancelled = matches!(outcome, Outcome::Delivered(_));
        assert_eq!(from.contains(&State::Cancelled), cancelled, "{outcome:?}");
        assert!(!from.contains(&State::Delivered), "{outcome:?}");
    }
}

#[test]
fn a_failure_is_reported_to_rooms_only() {
    for (sender, expected) in [
        (Some("leder@a.nodnett.test"), Ok(())),
        (None, Err("the message has the null sender")),
        (
            Some("ola@outside.test"),
            Err("ola@outside.test is outside the registered rooms, and nothing leaves"),
        ),
    ] {
        let mut row = waiting(State::Queued, Duration::ZERO);
        row.sender = sender.map(|it| Address::parse(it).unwrap());
        let change = move_after(Outcome::Failed(said(550)), row);
        let event = &change.events[0];
        match expected {
            Ok(()) => {
                assert_eq!(event.kind, EventKind::Bounced);
                assert_eq!(event.details.report.as_deref(), Some("0000-0000-0009"));
                let report = &change.messages[0];
                assert_eq!(report.sender, None);
                assert_eq!(report.recipients[0].address.to_string(), sender.unwrap());
                assert_eq!(report.recipients[0].room, RoomId::new("room-a"));
                let rule = report.events[0].details.rule.as_deref();
                assert_eq!(rule, Some("report to the sender"));
            }
            Err(reason) => {
                assert_eq!(event.kind, EventKind::NotBounced);
                assert_eq!(event.details.reason.as_deref(), Some(reason));
                assert!(change.messages.is_empty());
            }
        }
    }
}

#[test]
fn operations_start_only_where_they_may() {
    use State::*;
    let all = [
        Unscanned,
        Queued,
        Deferred,
        Held,
        Quarantined,
        Delivered,
        Failed,
        Cancelled,
    ];
    for (operation, expected) in [
        (
            Operation::Retry,
            vec![
                (Unscanned, Unscanned),
                (Queued, Queued),
                (Deferred, Deferred),
            ],
        ),
        (
            Operation::Hold,
            vec![(Unscanned, Held), (Queued, Held), (Deferred, Held)],
        ),
        (Operation::Release, vec![(Held, Queued)]),
        (
            Operation::Cancel,
            vec![
                (Unscanned, Cancelled),
                (Queued, Cancelled),
                (Deferred, Cancelled),
                (Held, Cancelled),
            ],
        ),
    ] {
        let mut moves = Vec::new();
        for state in all {
            let row = waiting(state, Duration::ZERO);
            let order = Order {
                operation,
                by: "kari",
                reason: Some("flom"),
                report: false,
                now: NOW,
            };
            let change = operated(order, &[row]);
            for step in change.recipients {
                let event = step.event.unwrap();
                assert_eq!(event.details.by.as_deref(), Some("kari"));
                assert_eq!(event.details.reason.as_deref(), Some("flom"));
                assert_eq!(event.kind, operation.event());
                assert_eq!(step.attempts, None);
                let due = matches!(operation, Operation::Retry | Operation::Release);
                assert_eq!(step.next_attempt_at, due.then_some(NOW));
                moves.push((state, step.to.unwrap()));
            }
        }
        assert_eq!(moves, expected, "{operation:?}");
    }
}

#[test]
fn what_came_too_late_is_still_told() {
    let row = waiting(State::Queued, Duration::ZERO);
    let change = move_after(Outcome::Delivered(answer(250)), row);
    assert!(overtaken(&change, &[]).events.is_empty());
    let told = overtaken(&change, &[change.recipients[0].id]);
    let kinds: Vec<_> = told.events.iter().map(|it| it.kind).collect();
    // Whatever a scan said meanwhile: it is there, and somebody should know.
    assert_eq!(kinds, [EventKind::Delivered, EventKind::Alarm]);
    let steps = told.recipients.iter();
    let moves: Vec<_> = steps.map(|step| (step.to, step.from)).collect();
    assert_eq!(moves, [(Some(State::Delivered), CAUGHT)]);
}

fn received(bytes: &'static [u8], body: BodyKind) -> Received {
    let recipient = |address: &str, group: Option<&str>| Recipient {
        address: Address::parse(address).unwrap(),
        room: RoomId::new("room-a"),
        group: group.map(|it| Address::parse(it).unwrap()),
        rule: "room room-a accepts from any".into(),
        revision: 7,
        wishes: Wishes::default(),
    };
    Received {
        envelope: Envelope {
            reference: Reference::from_number(5),
            received_at: NOW,
            peer: Peer {
                address: "127.0.1.9:4711".parse().unwrap(),
                helo: "ws1".into(),
                protocol: Protocol::Esmtp,
                tls: Some(TlsSession {
                    version: "TLSv1.3".into(),
                    cipher: "TLS13_AES_256_GCM_SHA384".into(),
                }),
                certificate: None,
                user: None,
            },
            origin: Origin::Room(RoomId::new("room-a")),
            sender: Some(Address::parse("leder@a.nodnett.test").unwrap()),
            smtputf8: false,
            body,
            terms: Terms::default(),
            recipients: vec![
                recipient("vakt@a.nodnett.test", None),
                recipient("lege@a.nodnett.test", Some("alle@gruppe.nodnett.test")),
            ],
        },
        authors: Vec::new(),
        dissection: None,
        facts: Facts::default(),
        content: Content {
            trace: Bytes::from_static(b"Received: x\r\n"),
            bytes: Bytes::from_static(bytes),
        },
        remarks: Vec::new(),
        tolerated: Lapses::NONE,
    }
}

#[test]
fn an_accepted_message_is_queued_with_the_rule_that_let_it_in() {
    let lease = NOW.after(Duration::from_secs(1));
    let message = accepted(
        &received(b"Subject: x\r\n\r\nhei\r\n", BodyKind::SevenBit),
        &Keeping::default(),
        lease,
        minutes(5),
    );
    assert_eq!(message.sender_room, Some(RoomId::new("room-a")));
    assert_eq!(message.client, "127.0.1.9");
    for recipient in &message.recipients {
        assert_eq!(recipient.state, State::Queued);
        assert_eq!(
            (recipient.next_attempt_at, recipient.leased_until),
            (NOW, lease)
        );
    }
    let groups: Vec<_> = message
        .events
        .iter()
        .map(|it| it.details.group.clone())
        .collect();
    assert_eq!(groups, [None, Some("alle@gruppe.nodnett.test".to_owned())]);
    assert_eq!(
        message.events[0].details,
        Details {
            room: Some("room-a".into()),
            rule: Some("room room-a accepts from any".into()),
            revision: Some(7),
            client: Some("127.0.1.9".into()),
            helo: Some("ws1".into()),
            size: Some(32),
            tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384".into()),
            ..Details::default()
        }
    );
}

#[test]
fn eight_bit_content_is_what_was_declared_as_such() {
    for (bytes, body, expected) in [
        (&b"hei\r\n"[..], BodyKind::SevenBit, false),
        (b"hei\r\n", BodyKind::EightBitMime, true),
        (b"bl\xe5\r\n", BodyKind::SevenBit, false),
    ] {
        let message = accepted(&received(bytes, body), &Keeping::default(), NOW, minutes(5));
        assert_eq!(message.eight_bit, expected, "{bytes:?} {body:?}");
    }
}

/// What the log is told of a move, in order: the event, the report's number or the reason for none.
fn story(change: &Change) -> Vec<String> {
    let steps = change.recipients.iter().filter_map(|it| it.event.as_ref());
    let events = steps.chain(&change.events);
    let tell = |event: &crate::mail::Event| {
        let details = &event.details;
        let more = match event.kind {
            EventKind::NotBounced | EventKind::Held => details.reason.as_ref(),
            _ => details.report.as_ref(),
        };
        match more {
            Some(more) => format!("{}: {more}", event.kind),
            None => event.kind.to_string(),
        }
    };
    events.map(tell).collect()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[test]
fn a_sender_is_told_once_that_it_is_late() {
    for (age, told, state, expected) in [
        (minutes(4), false, State::Deferred, vec!["deferred"]),
        (
            minutes(5),
            false,
            State::Deferred,
            vec!["deferred", "warned: 0000-0000-000A"],
        ),
        (minutes(6), true, State::Deferred, vec!["deferred"]),
        (
            minutes(60),
            false,
            State::Failed,
            vec!["failed", "bounced: 0000-0000-0009"],
        ),
    ] {
        let mut row = waiting(State::Queued, age);
        row.told.late = told;
        let change = move_after(Outcome::Deferred(said(451)), row);
        assert_eq!(story(&change), expected, "{age:?} {told}");
        let step = &change.recipients[0];
        assert_eq!(step.to, Some(state));
        assert_eq!(
            step.told.late,
            expected.len() == 2 && state == State::Deferred
        );
    }
}

#[test]
fn who_is_not_warned_is_not_thought_of_again() {
    let late = || waiting(State::Queued, minutes(5));
    for (row, reason) in [
        (
            Waiting {
                sender: None,
                ..late()
            },
            "the message has the null sender",
        ),
        (
            Waiting {
                sender: Some(Address::parse("ola@outside.test").unwrap()),
                ..late()
            },
            "ola@outside.test is outside the registered rooms, and nothing leaves",
        ),
        (
            Waiting {
                wishes: wishes(Notify::NEVER),
                ..late()
            },
            "the sender asked not to be told (NOTIFY)",
        ),
    ] {
        let change = move_after(Outcome::Deferred(said(451)), row);
        let expected = format!("not bounced: not told that it is late: {reason}");
        assert_eq!(story(&change), ["deferred".to_owned(), expected]);
        assert!(change.recipients[0].told.late);
        assert!(change.messages.is_empty());
    }
}

fn wishes(notify: Notify) -> Wishes {
    Wishes {
        notify: Some(notify),
        original: None,
    }
}

fn by(at: Timestamp, mode: ByMode, trace: bool) -> Option<DeliverBy> {
    Some(DeliverBy { at, mode, trace })
}

#[test]
fn the_time_that_a_sender_names_is_kept_or_told() {
    let past = NOW.before(Duration::from_secs(1));
    let young = || waiting(State::Deferred, minutes(1));
    // RFC 2852 §4.1: R returns, N notifies.
    for (at, mode, overdue_told, expected) in [
        (
            past,
            ByMode::Return,
            false,
            vec!["failed", "bounced: 0000-0000-0009"],
        ),
        (
            NOW,
            ByMode::Return,
            false,
            vec!["failed", "bounced: 0000-0000-0009"],
        ),
        (
            NOW.after(minutes(1)),
            ByMode::Return,
            false,
            vec!["deferred"],
        ),
        (
            past,
            ByMode::Notify,
            false,
            vec!["deferred", "warned: 0000-0000-000A"],
        ),
        (past, ByMode::Notify, true, vec!["deferred"]),
    ] {
        let mut row = young();
        row.terms.deliver_by = by(at, mode, false);
        row.told.overdue = overdue_told;
        let change = move_after(Outcome::Deferred(said(451)), row);
        assert_eq!(story(&change), expected, "{at} {mode:?} {overdue_told}");
        let told = change.recipients[0].told;
        assert_eq!(told.overdue, expected.len() == 2 && mode == ByMode::Notify);
    }
}

#[test]
fn what_is_overdue_is_ended_before_it_is_tried() {
    let mut row = waiting(State::Deferred, minutes(1));
    row.terms.deliver_by = by(NOW, ByMode::Return, false);
    row.last_reply = Some("451 4.3.2 busy".into());
    assert!(overdue(&row, NOW) && !overdue(&row, NOW.before(minutes(1))));
    let untouched = waiting(State::Deferred, minutes(1));
    let change = on_occasion(|occasion| expired(&[row, untouched], occasion));
    assert_eq!(story(&change), ["failed", "bounced: 0000-0000-0009"]);
    let reason = format!("not delivered by {NOW}, as the sender demanded; at last: 451 4.3.2 busy");
    assert_eq!(change.recipients[0].last_reply.as_deref(), Some(&*reason));
    assert_eq!(change.recipients[0].to, Some(State::Failed));
}

#[test]
fn a_delivery_is_confirmed_to_who_asked() {
    let success = Notify {
        success: true,
        ..Notify::NEVER
    };
    let failure = Notify {
        failure: true,
        ..Notify::NEVER
    };
    let soon = NOW.after(minutes(1));
    let confirmed = vec!["delivered", "confirmed: 0000-0000-000B"];
    let silent = vec!["delivered"];
    use Handover::*;
    for (handover, notify, trace, expected) in [
        (Mailbox, None, false, &silent),
        (Mailbox, Some(success), false, &confirmed),
        (Relayed, Some(success), false, &confirmed),
        (Reporting, Some(success), false, &silent),
        (Relayed, Some(failure), false, &silent),
        (Mailbox, None, true, &silent),
        (Relayed, None, true, &confirmed),
        (Reporting, None, true, &confirmed),
        (Reporting, Some(Notify::NEVER), true, &silent),
    ] {
        let mut row = waiting(State::Queued, Duration::ZERO);
        row.wishes.notify = notify;
        row.terms.deliver_by = by(soon, ByMode::Notify, trace).filter(|_| trace);
        let attempt = Attempt {
            handover,
            ..attempt(Outcome::Delivered(answer(250)))
        };
        let change = on_occasion(|occasion| attempted(&[(row, attempt)], occasion));
        assert_eq!(&story(&change), expected, "{handover:?} {notify:?} {trace}");
    }
}

#[test]
fn one_step_can_bring_news_of_every_kind() {
    let success = Notify {
        success: true,
        failure: true,
        delay: true,
    };
    let outcomes = [
        Outcome::Delivered(answer(250)),
        Outcome::Deferred(said(451)),
        Outcome::Failed(said(550)),
        Outcome::Failed(said(554)),
    ];
    let tried = outcomes.into_iter().zip(0..).map(|(outcome, number)| {
        let mut row = waiting(State::Queued, minutes(5));
        row.id.number = number;
        row.wishes = wishes(success);
        (row, attempt(outcome))
    });
    let tried: Vec<_> = tried.collect();
    let change = on_occasion(|occasion| attempted(&tried, occasion));
    assert_eq!(
        story(&change),
        [
            "delivered",
            "deferred",
            "failed",
            "failed",
            "bounced: 0000-0000-0009",
            "bounced: 0000-0000-0009",
            "warned: 0000-0000-000A",
            "confirmed: 0000-0000-000B",
        ]
    );
    assert_eq!(change.messages.len(), 3);
}

#[test]
fn a_report_that_cannot_be_delivered_waits_for_an_operator() {
    let change = move_after(
        Outcome::Failed(said(550)),
        waiting(State::Queued, Duration::ZERO),
    );
    let report = &change.messages[0];
    let row = |age| Waiting {
        id: RecipientId {
            reference: report.reference,
            number: 0,
        },
        is_ours: report.client.is_empty(),
        awaits_scan: false,
        waiver: None,
        sender: report.sender.clone(),
        ..waiting(State::Queued, age)
    };
    for (outcome, age, reason) in [
        (Outcome::Failed(said(550)), 0, "550 words"),
        (
            Outcome::Deferred(said(451)),
            60,
            "tried for 60 min; at last: 451 words",
        ),
    ] {
        let change = move_after(outcome, row(minutes(age)));
        let reason = format!("a report that could not be delivered: {reason}");
        assert_eq!(story(&change), [format!("held: {reason}")]);
        let step = &change.recipients[0];
        assert_eq!(
            (step.to, step.next_look),
            (Some(State::Held), NextLook::Never)
        );
        assert_eq!(step.last_reply.as_deref(), Some(&*reason));
    }
}

#[test]
fn a_foreign_report_that_fails_is_over() {
    let mut row = waiting(State::Queued, Duration::ZERO);
    row.sender = None;
    // As ours would be: its reference was in the reply to MAIL already.
    row.message_id = Some("0000-0000-0005@relay.nodnett.test".into());
    let change = move_after(Outcome::Failed(said(550)), row);
    let unsaid = "not bounced: the message has the null sender";
    assert_eq!(story(&change), ["failed", unsaid]);
}

/// What a look at one recipient comes to.
fn look(waiting: Waiting, is_under_way: bool, reason: Option<&str>) -> Change {
    let look = Look {
        waiting,
        is_under_way,
        reason: reason.map(str::to_owned),
    };
    on_occasion(|occasion| looked_at(&[look], occasion))
}

const LATE: Told = Told {
    late: true,
    overdue: false,
};

/// So many seconds from now, and back.
fn at(seconds: i64) -> NextLook {
    NextLook::At(Timestamp::from_millis(NOW.as_millis() + seconds * 1000))
}

#[test]
fn what_the_clock_decides_of_what_waits() {
    use NextLook::{AsBefore, Never};
    use State::{Cancelled, Deferred, Failed, Held, Queued};
    let row = |state, age| waiting(state, minutes(age));
    let told = |state, age| Waiting {
        told: LATE,
        ..row(state, age)
    };
    let tried = |age, attempts| Waiting {
        of_late: OfLate {
            start: START,
            attempts,
        },
        ..told(Deferred, age)
    };
    // Due for as long as it waits, and never tried.
    let in_line = |age| Waiting {
        next_attempt_at: NOW.before(minutes(age)),
        ..tried(age, 0)
    };
    let own = |state, age| Waiting {
        sender: None,
        is_ours: true,
        awaits_scan: false,
        waiver: None,
        ..row(state, age)
    };
    let by_now = |row, mode| by_row(row, by(NOW, mode, false));
    const WARNED: &[&str] = &["warned: 0000-0000-000A"];
    const FAILED: &[&str] = &["failed", "bounced: 0000-0000-0009"];
    const UNDELIVERABLE: &str = "held: a report that could not be delivered: tried for 62 min";
    type Case = (
        Waiting,
        bool,
        &'static [&'static str],
        Option<State>,
        NextLook,
    );
    #[rustfmt::skip]
    let cases: [Case; 18] = [
        // What waits, whether an attempt is under way; the story, the new state, the next look.
        (row(Queued, 4),    false, &[],    None, at(65)),
        (row(Queued, 5),    false, WARNED, None, at(55 * 60 + 5)),
        (row(Queued, 5),    true,  WARNED, None, at(55 * 60 + 5)),
        (told(Deferred, 5), false, &[],    None, at(55 * 60 + 5)),
        (tried(62, 1),      false, FAILED, Some(Failed), AsBefore),
        (tried(62, 1),      true,  &[],    None, at(60)),
        (tried(62, 0),      false, &[],    None, at(60)),
        (in_line(62),       false, FAILED, Some(Failed), AsBefore),
        (own(Deferred, 62), false, &[UNDELIVERABLE], Some(Held), Never),
        (by_now(row(Queued, 1), ByMode::Return), false, FAILED, Some(Failed), AsBefore),
        (by_now(row(Queued, 5), ByMode::Notify), false, WARNED, None, at(55 * 60 + 5)),
        (row(Held, 5),      false, WARNED, None, Never),
        (row(Held, 4),      false, &[],    None, at(60)),
        (told(Held, 62),    false, &[],    None, Never),
        (own(Held, 5),      false, &[],    None, Never),
        (by_now(row(Held, 1), ByMode::Notify), false, WARNED, None, at(4 * 60)),
        (row(Cancelled, 1), false, &["bounced: 0000-0000-0009"], None, Never),
        (row(Cancelled, 1), true,  &[],    None, at(1)),
    ];
    for (number, (row, is_under_way, expected, to, next_look)) in cases.into_iter().enumerate() {
        let change = look(row, is_under_way, None);
        assert_eq!(story(&change), expected, "case {number}");
        let step = &change.recipients[0];
        assert_eq!((step.to, step.next_look), (to, next_look), "case {number}");
    }
}

fn by_row(row: Waiting, deliver_by: Option<DeliverBy>) -> Waiting {
    Waiting {
        terms: Terms {
            deliver_by,
            ..row.terms
        },
        ..row
    }
}

#[test]
fn an_operator_s_move_says_when_to_look_again() {
    use NextLook::{AsBefore, Never};
    use Operation::{Cancel, Hold, Release, Retry};
    use State::{Deferred, Held, Queued};
    let anew = Some(OfLate::default());
    #[rustfmt::skip]
    let cases = [
        // From where, was told that it is late, to be told; looked at when, schedule anew.
        (Retry,   Deferred, false, false, AsBefore, None),
        (Hold,    Queued,   false, false, at(0),    None),
        (Release, Held,     false, false, at(0),    anew),
        (Cancel,  Deferred, false, false, Never,    None),
        (Cancel,  Deferred, false, true,  at(0),    None),
        // It was promised word of the end.
        (Cancel,  Held,     true,  false, at(0),    None),
    ];
    for (operation, from, late, report, next_look, of_late) in cases {
        let order = Order {
            operation,
            by: "kari",
            reason: None,
            report,
            now: NOW,
        };
        let row = Waiting {
            told: Told {
                late,
                overdue: false,
            },
            ..waiting(from, minutes(1))
        };
        let change = operated(order, &[row]);
        let step = &change.recipients[0];
        let found = (step.next_look, step.of_late);
        assert_eq!(found, (next_look, of_late), "{operation:?} {late} {report}");
    }
}

#[test]
fn a_row_says_who_ordered_what_and_keeps_a_doubt() {
    use Operation::{Cancel, Hold, Release, Retry};
    let lost = "possibly delivered: the connection was lost";
    #[rustfmt::skip]
    let cases = [
        (Hold,    "451 busy", false, Some("vann"), Some("held by kari: vann"), None),
        (Hold,    "451 busy", false, None, Some("held by kari"), None),
        (Hold,    lost, true, Some("vann"), Some("held by kari: vann; possibly delivered: the connection was lost"), Some("the connection was lost")),
        (Release, "held by ola", false, None, Some("released by kari"), None),
        (Release, "held by ola; possibly delivered: gone", true, None, Some("released by kari; possibly delivered: gone"), Some("gone")),
        (Cancel,  "held by ola: vann", false, Some("ringt"), Some("cancelled by kari: ringt"), None),
        (Cancel,  "451 busy", false, Some("ringt"), None, None),
        (Retry,   "451 busy", false, None, None, None),
    ];
    for (operation, before, is_doubtful, reason, words, attempt) in cases {
        let order = Order {
            operation,
            by: "kari",
            reason,
            report: false,
            now: NOW,
        };
        let state = match operation {
            Release => State::Held,
            _ => State::Queued,
        };
        let row = Waiting {
            is_doubtful,
            last_reply: Some(before.into()),
            ..waiting(state, minutes(1))
        };
        let change = operated(order, &[row]);
        let said = change.recipients[0].last_reply.as_deref();
        assert_eq!(said, words, "{operation:?} {before}");
        if let Some(said) = said {
            assert_eq!(operations::of_the_last_attempt(said), attempt, "{said}");
        }
    }
    assert_eq!(operations::of_the_last_attempt(lost), Some(lost));
}

#[test]
fn a_doubt_is_remembered() {
    let gone = Cause::Found("the connection was closed without an answer".into());
    let change = move_after(
        Outcome::PossiblyDelivered(gone),
        waiting(State::Queued, minutes(1)),
    );
    assert!(change.recipients[0].is_doubtful);
    let doubtful = |age| Waiting {
        is_doubtful: true,
        last_reply: Some("451 busy".into()),
        ..waiting(State::Deferred, minutes(age))
    };
    for change in [
        move_after(Outcome::Deferred(said(451)), doubtful(60)),
        move_after(Outcome::Failed(said(550)), doubtful(1)),
        look(doubtful(62), false, None),
    ] {
        let subject = change.messages[0].facts.subject.as_deref();
        assert_eq!(subject, Some("Perhaps not delivered: (no subject)"));
        let reason = change.recipients[0].last_reply.as_deref().unwrap();
        assert!(
            reason.ends_with("; it may have arrived all the same"),
            "{reason}"
        );
    }
}

#[test]
fn a_room_may_have_times_of_its_own() {
    let usual = table().room(&RoomId::new("room-a")).unwrap().clone();
    let own = Room {
        warn_after: Some(minutes(1)),
        give_up_after: Some(minutes(2)),
        ..usual.clone()
    };
    for (room, age, late, next) in [
        (&usual, 1, false, Next::At(NOW.after(minutes(1)))),
        (&own, 0, false, Next::At(NOW.after(minutes(1)))),
        (&own, 1, true, Next::At(NOW.after(minutes(1)))),
        (&own, 2, true, Next::GiveUp(minutes(2))),
    ] {
        let row = waiting(State::Queued, minutes(age));
        let found = on_occasion(|occasion| {
            let course = occasion.schedule.course(&row, Some(room));
            (course.is_late(NOW), course.after(3, NOW, occasion.noise))
        });
        assert_eq!(found, (late, next), "{age} min");
    }
}

#[test]
fn ages_do_not_follow_the_clock_when_it_is_set() {
    let mut row = waiting(State::Queued, minutes(70));
    row.waits_since = NOW.before(minutes(4));
    let change = move_after(Outcome::Deferred(said(451)), row);
    assert_eq!(story(&change), ["deferred"]);
}

#[test]
fn a_report_is_as_urgent_as_its_message_and_gets_home_to_any_server() {
    let mut row = waiting(State::Queued, Duration::ZERO);
    row.terms.priority = Priority::HIGH;
    row.terms.require_tls = true;
    let change = move_after(Outcome::Failed(said(550)), row);
    let report = &change.messages[0];
    let expected = Terms {
        priority: Priority::HIGH,
        ..Terms::default()
    };
    assert_eq!(report.terms, expected);
    assert_eq!(report.recipients[0].wishes, wishes(Notify::NEVER));
    let details = &report.events[0].details;
    assert_eq!((details.priority, details.require_tls), (Some(4), None));
}

#[test]
fn an_acceptance_tells_what_was_asked_for() {
    let mut received = received(b"hei\r\n", BodyKind::SevenBit);
    received.envelope.terms = Terms {
        priority: Priority::HIGH,
        require_tls: true,
        deliver_by: by(NOW, ByMode::Return, false),
        ..Terms::default()
    };
    let details = &accepted(&received, &Keeping::default(), NOW, minutes(5)).events[0].details;
    assert_eq!(details.priority, Some(4));
    assert_eq!(details.require_tls, Some(true));
    assert_eq!(details.deliver_by, Some(NOW.to_string()));
}

#[test]
fn where_reports_cannot_be_kept_that_is_told() {
    let all = Notify {
        success: true,
        failure: true,
        delay: true,
    };
    let outcomes = [
        Outcome::Delivered(answer(250)),
        Outcome::Deferred(said(451)),
        Outcome::Failed(said(550)),
        Outcome::Failed(said(554)),
    ];
    let tried = outcomes.into_iter().zip(0..).map(|(outcome, number)| {
        let mut row = waiting(State::Queued, minutes(5));
        row.id.number = number;
        row.wishes = wishes(if number < 3 { all } else { Notify::NEVER });
        (row, attempt(outcome))
    });
    let tried: Vec<_> = tried.collect();
    let change = on_occasion(|occasion| attempted(&tried, occasion));
    let bare = without_reports(&change, "changed in the meantime");
    assert_eq!(
        story(&bare),
        [
            "delivered",
            "deferred",
            "failed",
            "failed",
            "not bounced: the sender asked not to be told (NOTIFY)",
            "not bounced: changed in the meantime",
            "not bounced: not told that it is late: changed in the meantime",
            "not bounced: not told that it was delivered: changed in the meantime",
        ]
    );
    assert!(bare.messages.is_empty());
}
