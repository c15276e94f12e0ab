//! A message as it is first kept, with the events that say how it came in.

use std::sync::Arc;
use std::time::Duration;

use super::retry::Schedule;
use super::scanning::Keeping;
use crate::mail::{
    BodyKind, Certificate, Content, Details, Event, EventKind, Facts, Priority, Received,
    Recipient, Refusal, Reply, RoomId, State, Timestamp, headers,
};
use crate::spool::store::{NewMessage, NewRecipient};

/// A message as it is first kept: every recipient in the state that its scan leads to, `queued` and
/// due at once where it is clean, with its events.
/// `leased_until`: until when the queue holds it in memory. `first_word`: how soon any sender may
/// be told anything of it.
pub fn accepted(
    received: &Received,
    keeping: &Keeping,
    leased_until: Timestamp,
    first_word: Duration,
) -> NewMessage {
    let envelope = &received.envelope;
    let look_at = Schedule::first_look(envelope.received_at, first_word, &envelope.terms);
    let client = envelope.peer.address.ip().to_string();
    let events = received.remarks.iter().cloned();
    let acceptances = envelope.recipients.iter();
    NewMessage {
        reference: envelope.reference,
        accepted_at: envelope.received_at,
        sender: envelope.sender.clone(),
        sender_room: envelope.origin.room().cloned(),
        smtputf8: envelope.smtputf8,
        eight_bit: envelope.body == BodyKind::EightBitMime,
        terms: envelope.terms.clone(),
        facts: facts(received, keeping),
        content: Content {
            trace: match keeping.field.is_empty() {
                true => received.content.trace.clone(),
                false => headers::with_scan_field(&received.content.trace, &keeping.field),
            },
            bytes: received.content.bytes.clone(),
        },
        scan: keeping.scan,
        recipients: envelope
            .recipients
            .iter()
            .map(|recipient| NewRecipient {
                state: keeping.state.unwrap_or(State::Queued),
                reason: keeping.reason.clone(),
                waiver: keeping.waiver,
                ..queued(recipient, envelope.received_at, look_at, leased_until)
            })
            .collect(),
        events: acceptances
            .map(|recipient| acceptance(received, recipient, &client))
            .chain(events)
            .chain(keeping.events.iter().cloned())
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

/// With what its scan has found inside of its attachments.
fn facts(received: &Received, keeping: &Keeping) -> Facts {
    let mut facts = received.facts.clone();
    facts.attachments.extend_from_slice(&keeping.inside.files);
    facts
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
        user: envelope.peer.user.as_ref().map(|it| it.name().to_owned()),
        certificate: envelope.peer.certificate.as_ref().map(Certificate::told),
        sender: envelope.sender.as_ref().map(ToString::to_string),
        sender_room: envelope.origin.room().cloned(),
        recipient: Some(member),
        recipient_room: event.details.room.as_deref().map(RoomId::new),
        subject: received.facts.subject.clone(),
        message_id: received.facts.message_id.clone(),
        size: u64::try_from(received.content.len()).ok(),
        attachments: Arc::default(),
        files_left_out: 0,
        malware: Vec::new(),
        reply: reply.to_string(),
        rule: event.details.rule.clone(),
        revision: event.details.revision,
        count: 1,
    })
}

fn queued(
    recipient: &Recipient,
    due_at: Timestamp,
    look_at: Timestamp,
    leased_until: Timestamp,
) -> NewRecipient {
    NewRecipient {
        address: recipient.address.clone(),
        room: recipient.room.clone(),
        wishes: recipient.wishes.clone(),
        state: State::Queued,
        reason: None,
        waiver: None,
        next_attempt_at: due_at,
        look_at,
        leased_until,
    }
}

fn acceptance(received: &Received, recipient: &Recipient, client: &str) -> Event {
    let envelope = &received.envelope;
    let (peer, terms) = (&envelope.peer, &envelope.terms);
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
            user: peer.user.as_ref().map(|it| it.name().to_owned()),
            certificate: peer.certificate.as_ref().map(Certificate::told),
            size: u64::try_from(received.content.len()).ok(),
            tls: peer
                .tls
                .as_ref()
                .map(|tls| format!("{} {}", tls.version, tls.cipher)),
            priority: urgency(terms.priority),
            deliver_by: terms.deliver_by.map(|by| by.at.to_string()),
            require_tls: terms.require_tls.then_some(true),
            tolerated: received.tolerated.words(),
            ..Details::default()
        },
    }
}

/// As events tell it: only where it is not routine.
pub(super) fn urgency(priority: Priority) -> Option<i8> {
    (priority != Priority::ROUTINE).then(|| priority.level())
}
