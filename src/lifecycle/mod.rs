//! What may become of a message: states, allowed moves, and the `Change` each move makes.
//!
//! Pure: the time, new references and the settings come in as arguments. Every move names the
//! states it may start from, and carries the event that explains it; a move that comes too late is
//! skipped by the store, and [`overtaken`] still leaves its trace. Nothing here fails: whatever
//! happened to a message, there is a change that says so.

pub mod bounce;
pub mod retry;

use std::time::Duration;

use crate::delivery::outcome::{Attempt, Cause, Outcome};
use crate::mail::{
    BodyKind, Content, Details, Event, EventKind, Received, Recipient, Reference, Refusal, Reply,
    RoomId, State, Timestamp,
};
use crate::policy::table::RoutingTable;
use crate::spool::store::{
    Change, NewMessage, NewRecipient, RecipientChange, RecipientId, Told, Waiting,
};

use bounce::{Failure, Letterhead};
use retry::{Next, Schedule};

/// States in which a recipient still waits.
const WAITING: &[State] = &[
    State::Unscanned,
    State::Queued,
    State::Deferred,
    State::Held,
];
/// States in which the queue may work on a recipient.
const ACTIVE: &[State] = &[State::Queued, State::Deferred];

/// A message as it is first kept: every recipient `queued` and due at once, with its events.
/// `leased_until`: until when the queue holds it in memory.
pub fn accepted(received: &Received, leased_until: Timestamp) -> NewMessage {
    let envelope = &received.envelope;
    let client = envelope.peer.address.ip().to_string();
    let events = received.remarks.iter().cloned();
    let acceptances = envelope.recipients.iter();
    NewMessage {
        reference: envelope.reference,
        accepted_at: envelope.received_at,
        sender: envelope.sender.clone(),
        sender_room: envelope.origin.room().cloned(),
        smtputf8: envelope.smtputf8,
        eight_bit: envelope.body == BodyKind::EightBitMime || !received.content.bytes.is_ascii(),
        terms: envelope.terms.clone(),
        facts: received.facts.clone(),
        content: received.content.clone(),
        recipients: envelope
            .recipients
            .iter()
            .map(|recipient| queued(recipient, envelope.received_at, leased_until))
            .collect(),
        events: acceptances
            .map(|recipient| acceptance(received, recipient, &client))
            .chain(events)
            .collect(),
        left_out: received
            .remarks
            .iter()
            .filter(|event| event.kind == EventKind::LeftOut)
            .filter_map(|event| left_out(received, event))
            .collect(),
        client,
    }
}

/// The row by which a member that was left out of a group is found.
fn left_out(received: &Received, event: &Event) -> Option<Refusal> {
    let envelope = &received.envelope;
    let member = event.recipient.as_ref()?.to_string();
    let group = event.details.group.as_deref().unwrap_or_default();
    let reply = Reply::left_out_of_group(&member, group).with_reference(event.reference);
    Some(Refusal {
        reference: event.reference,
        at: event.at,
        client: envelope.peer.address.ip(),
        helo: envelope.peer.helo.clone(),
        sender: envelope.sender.as_ref().map(ToString::to_string),
        sender_room: envelope.origin.room().cloned(),
        recipient: Some(member),
        recipient_room: event.details.room.as_deref().map(RoomId::new),
        subject: received.facts.subject.clone(),
        message_id: received.facts.message_id.clone(),
        size: u64::try_from(received.content.len()).ok(),
        reply: reply.to_string(),
        rule: event.details.rule.clone(),
        revision: event.details.revision,
        count: 1,
    })
}

fn queued(recipient: &Recipient, due_at: Timestamp, leased_until: Timestamp) -> NewRecipient {
    NewRecipient {
        address: recipient.address.clone(),
        room: recipient.room.clone(),
        wishes: recipient.wishes.clone(),
        state: State::Queued,
        next_attempt_at: due_at,
        leased_until,
    }
}

fn acceptance(received: &Received, recipient: &Recipient, client: &str) -> Event {
    let envelope = &received.envelope;
    let peer = &envelope.peer;
    Event {
        reference: envelope.reference,
        at: envelope.received_at,
        kind: EventKind::Accepted,
        recipient: Some(recipient.address.clone()),
        details: Details {
            room: Some(recipient.room.to_string()),
            group: recipient.group.as_ref().map(ToString::to_string),
            rule: Some(recipient.rule.clone()),
            revision: Some(recipient.revision),
            client: Some(client.to_owned()),
            helo: (!peer.helo.is_empty()).then(|| peer.helo.clone()),
            size: u64::try_from(received.content.len()).ok(),
            tls: peer
                .tls
                .as_ref()
                .map(|tls| format!("{} {}", tls.version, tls.cipher)),
            ..Details::default()
        },
    }
}

/// How many reports one move may write: of failure, of delay, of a time that has passed, of success.
pub const REPORTS: usize = 4;

/// What a move depends on beside the outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    pub now: Timestamp,
    /// Decides the jitter.
    pub noise: u64,
    pub schedule: &'a Schedule,
    pub letterhead: &'a Letterhead,
    pub table: &'a RoutingTable,
    /// The message, for the header fields in a report; `None` when it could not be read.
    pub content: Option<&'a Content>,
    /// Names for the reports, should they be written.
    pub reports: [Reference; REPORTS],
    /// The rule that sent it to another room's next hops, while a redirect is open.
    pub redirect: Option<&'a str>,
}

impl Occasion<'_> {
    /// The name of a failure report.
    const fn report(&self) -> Reference {
        let [failure, ..] = self.reports;
        failure
    }
}

/// One attempt was made for these recipients of one message.
pub fn attempted(tried: Vec<(Waiting, Attempt)>, occasion: &Occasion<'_>) -> Change {
    let mut change = Change::default();
    let mut failures = Vec::new();
    for (waiting, attempt) in tried {
        match settle(&waiting, &attempt, occasion) {
            Settled::Over(kind, state) => {
                change
                    .recipients
                    .push(moved(waiting, attempt, kind, state, occasion.now))
            }
            Settled::Later(kind, due_at) => {
                let mut later = moved(waiting, attempt, kind, State::Deferred, occasion.now);
                later.next_attempt_at = Some(due_at);
                if let Some(event) = &mut later.event {
                    event.details.next_attempt_at = Some(due_at.to_string());
                }
                change.recipients.push(later);
            }
            Settled::Hopeless(tried_for) => {
                let failure = Failure::new(waiting, attempt, tried_for);
                change.recipients.push(failed(&failure, occasion.now));
                failures.push(failure);
            }
        }
    }
    if let Some(rule) = occasion.redirect {
        for event in change
            .recipients
            .iter_mut()
            .filter_map(|it| it.event.as_mut())
        {
            event.details.rule = Some(rule.to_owned());
            event.details.revision = Some(occasion.table.revision());
        }
    }
    if !failures.is_empty() {
        tell_sender(&mut change, &failures, occasion);
    }
    change
}

/// What one outcome comes to.
enum Settled {
    Over(EventKind, State),
    Later(EventKind, Timestamp),
    /// It failed: at once, or after it was tried for this long.
    Hopeless(Option<Duration>),
}

fn settle(waiting: &Waiting, attempt: &Attempt, occasion: &Occasion<'_>) -> Settled {
    let kind = match attempt.outcome {
        Outcome::Delivered(_) => return Settled::Over(EventKind::Delivered, State::Delivered),
        Outcome::Failed(_) => return Settled::Hopeless(None),
        Outcome::Deferred(_) => EventKind::Deferred,
        Outcome::PossiblyDelivered(_) => EventKind::PossiblyDelivered,
    };
    let noise = occasion.noise.wrapping_add(u64::from(waiting.id.number));
    let number = waiting.attempts.saturating_add(1);
    match occasion
        .schedule
        .after(number, waiting.waits_since, occasion.now, noise)
    {
        Next::At(due_at) => Settled::Later(kind, due_at),
        Next::GiveUp(tried_for) => Settled::Hopeless(Some(tried_for)),
    }
}

/// The change that an attempt makes to its recipient.
fn moved(
    waiting: Waiting,
    attempt: Attempt,
    kind: EventKind,
    to: State,
    now: Timestamp,
) -> RecipientChange {
    let attempts = waiting.attempts.saturating_add(1);
    let (reply, reason) = match attempt.outcome {
        Outcome::Delivered(answer)
        | Outcome::Deferred(Cause::Said(answer))
        | Outcome::Failed(Cause::Said(answer))
        | Outcome::PossiblyDelivered(Cause::Said(answer)) => (Some(answer.to_string()), None),
        Outcome::Deferred(cause) | Outcome::Failed(cause) | Outcome::PossiblyDelivered(cause) => {
            (None, Some(cause.to_string()))
        }
    };
    let possibly = matches!(kind, EventKind::PossiblyDelivered).then(|| kind.word());
    let words = reply.as_ref().or(reason.as_ref());
    RecipientChange {
        id: waiting.id,
        // A delivery is a fact, whatever was decided meanwhile; a deferral leaves a hold alone.
        from: if to == State::Delivered {
            WAITING
        } else {
            ACTIVE
        },
        to,
        attempts: Some(attempts),
        next_attempt_at: None,
        last_reply: match possibly {
            Some(word) => words.map(|words| format!("{word}: {words}")),
            None => words.cloned(),
        },
        told: Told::default(),
        event: Some(Event {
            reference: waiting.id.reference,
            at: now,
            kind,
            recipient: Some(waiting.recipient),
            details: Details {
                room: Some(waiting.room.to_string()),
                hop: attempt.hop.as_deref().map(str::to_owned),
                tls: attempt.tls.as_deref().map(str::to_owned),
                duration_ms: u64::try_from(attempt.duration.as_millis()).ok(),
                attempt: Some(attempts),
                reply,
                reason,
                ..Details::default()
            },
        }),
    }
}

fn failed(failure: &Failure, now: Timestamp) -> RecipientChange {
    let (waiting, attempt) = (failure.waiting.clone(), failure.attempt.clone());
    let mut change = moved(waiting, attempt, EventKind::Failed, State::Failed, now);
    change.from = WAITING;
    if let (Some(tried_for), Some(event)) = (failure.tried_for, &mut change.event) {
        let last = change.last_reply.take().unwrap_or_default();
        let reason = format!("tried for {}; at last: {last}", span(tried_for));
        change.last_reply = Some(reason.clone());
        event.details.reason = Some(reason);
    }
    change
}

/// Adds the report to the sender, or the reason why there is none.
fn tell_sender(change: &mut Change, failures: &[Failure], occasion: &Occasion<'_>) {
    let (kind, report, reason) = match bounce::report(failures, occasion) {
        Ok(message) => {
            change.messages.push(message);
            (
                EventKind::Bounced,
                Some(occasion.report().to_string()),
                None,
            )
        }
        Err(reason) => (EventKind::NotBounced, None, Some(reason)),
    };
    change.events.extend(failures.iter().map(|failure| Event {
        reference: failure.waiting.id.reference,
        at: occasion.now,
        kind,
        recipient: Some(failure.waiting.recipient.clone()),
        details: Details {
            report: report.clone(),
            reason: reason.clone(),
            ..Details::default()
        },
    }));
}

/// `4 h`, `12 min` or `30 s`.
fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds >= 7_200 => format!("{} h", seconds / 3_600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Try again now.
    Retry,
    /// Keep, and try no more until released.
    Hold,
    Release,
    /// Give up, silently.
    Cancel,
}

impl Operation {
    /// The states it may start from.
    pub const fn starts_from(self) -> &'static [State] {
        match self {
            Self::Retry | Self::Hold => ACTIVE,
            Self::Release => &[State::Held],
            Self::Cancel => WAITING,
        }
    }

    const fn event(self) -> EventKind {
        match self {
            Self::Retry => EventKind::Retried,
            Self::Hold => EventKind::Held,
            Self::Release => EventKind::Released,
            Self::Cancel => EventKind::Cancelled,
        }
    }

    const fn leads_to(self, state: State) -> State {
        match self {
            Self::Retry => state,
            Self::Hold => State::Held,
            Self::Release => State::Queued,
            Self::Cancel => State::Cancelled,
        }
    }
}

/// An operator's move. Recipients in a state that the operation does not start from are left out.
pub fn operated(
    operation: Operation,
    waiting: &[Waiting],
    by: &str,
    now: Timestamp,
    reason: Option<&str>,
) -> Change {
    let meant = |row: &&Waiting| operation.starts_from().contains(&row.state);
    Change {
        recipients: waiting
            .iter()
            .filter(meant)
            .map(|row| RecipientChange {
                id: row.id,
                from: operation.starts_from(),
                to: operation.leads_to(row.state),
                attempts: None,
                next_attempt_at: matches!(operation, Operation::Retry | Operation::Release)
                    .then_some(now),
                last_reply: None,
                told: Told::default(),
                event: Some(Event {
                    reference: row.id.reference,
                    at: now,
                    kind: operation.event(),
                    recipient: Some(row.recipient.clone()),
                    details: Details {
                        by: Some(by.to_owned()),
                        reason: reason.map(str::to_owned),
                        ..Details::default()
                    },
                }),
            })
            .collect(),
        ..Change::default()
    }
}

/// Moves that came too late, since somebody had decided otherwise: nothing moves, but what
/// happened is told.
pub fn overtaken(change: &Change, skipped: &[RecipientId]) -> Change {
    let late = change
        .recipients
        .iter()
        .filter(|it| skipped.contains(&it.id));
    Change {
        events: late.filter_map(|it| it.event.clone()).collect(),
        ..Change::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::delivery::outcome::Handover;
    use crate::mail::{
        Address, Answer, Envelope, Facts, Language, Origin, Peer, Protocol, RoomId, Terms,
        TlsSession, Wishes,
    };
    use bytes::Bytes;

    const NOW: Timestamp = Timestamp::from_millis(1_795_345_200_000);

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
            accepted_at: NOW.before(age),
            next_attempt_at: NOW,
            last_reply: None,
            waits_since: NOW.before(age),
            told: Told::default(),
            wishes: Wishes::default(),
            terms: Terms::default(),
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

    fn move_after(outcome: Outcome, row: Waiting) -> Change {
        let letterhead = Letterhead {
            hostname: "relay.nodnett.test".into(),
            language: Language::En,
        };
        let schedule = Schedule {
            retry: vec![Duration::from_secs(60)],
            warn_after: Duration::from_secs(300),
            give_up_after: Duration::from_secs(3_600),
        };
        let occasion = Occasion {
            now: NOW,
            noise: 6_000,
            schedule: &schedule,
            letterhead: &letterhead,
            table: &table(),
            content: None,
            reports: [Reference::from_number(9); REPORTS],
            redirect: None,
        };
        attempted(vec![(row, attempt(outcome))], &occasion)
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
                "tried for 60 min; at last: gone",
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
                (to, kind, Some(last_reply), messages),
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
            assert!(from.iter().all(|state| !state.is_final()), "{outcome:?}");
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
                vec![(Queued, Queued), (Deferred, Deferred)],
            ),
            (Operation::Hold, vec![(Queued, Held), (Deferred, Held)]),
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
                let change = operated(operation, &[row], "kari", NOW, Some("flom"));
                for step in change.recipients {
                    let event = step.event.unwrap();
                    assert_eq!(event.details.by.as_deref(), Some("kari"));
                    assert_eq!(event.details.reason.as_deref(), Some("flom"));
                    assert_eq!(event.kind, operation.event());
                    assert_eq!(step.attempts, None);
                    let due = matches!(operation, Operation::Retry | Operation::Release);
                    assert_eq!(step.next_attempt_at, due.then_some(NOW));
                    moves.push((state, step.to));
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
        assert_eq!(told.events[0].kind, EventKind::Delivered);
        assert!(told.recipients.is_empty());
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
                    certificate_names: Vec::new().into(),
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
            facts: Facts::default(),
            content: Content {
                trace: Bytes::from_static(b"Received: x\r\n"),
                bytes: Bytes::from_static(bytes),
            },
            remarks: Vec::new(),
        }
    }

    #[test]
    fn an_accepted_message_is_queued_with_the_rule_that_let_it_in() {
        let lease = NOW.after(Duration::from_secs(1));
        let message = accepted(
            &received(b"Subject: x\r\n\r\nhei\r\n", BodyKind::SevenBit),
            lease,
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
    fn eight_bit_content_is_known_whether_declared_or_not() {
        for (bytes, body, expected) in [
            (&b"hei\r\n"[..], BodyKind::SevenBit, false),
            (b"hei\r\n", BodyKind::EightBitMime, true),
            (b"bl\xe5\r\n", BodyKind::SevenBit, true),
        ] {
            let message = accepted(&received(bytes, body), NOW);
            assert_eq!(message.eight_bit, expected, "{bytes:?} {body:?}");
        }
    }
}
