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
    BodyKind, Content, Details, Event, EventKind, Received, Recipient, Reference, State, Timestamp,
};
use crate::policy::table::RoutingTable;
use crate::spool::store::{
    Change, NewMessage, NewRecipient, RecipientChange, RecipientId, Waiting,
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
        client,
    }
}

fn queued(recipient: &Recipient, due_at: Timestamp, leased_until: Timestamp) -> NewRecipient {
    NewRecipient {
        address: recipient.address.clone(),
        room: recipient.room.clone(),
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
    /// The name of the report, should one be written.
    pub report: Reference,
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
        .after(number, waiting.accepted_at, occasion.now, noise)
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
        Outcome::Deferred(Cause::Found(reason))
        | Outcome::Failed(Cause::Found(reason))
        | Outcome::PossiblyDelivered(Cause::Found(reason)) => (None, Some(reason)),
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
        attempts,
        next_attempt_at: None,
        last_reply: match possibly {
            Some(word) => words.map(|words| format!("{word}: {words}")),
            None => words.cloned(),
        },
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
            (EventKind::Bounced, Some(occasion.report.to_string()), None)
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
                attempts: row.attempts,
                next_attempt_at: matches!(operation, Operation::Retry | Operation::Release)
                    .then_some(now),
                last_reply: None,
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
