//! What may become of a message: states, allowed moves, and the `Change` each move makes.
//!
//! Pure: the time, new references and the settings come in as arguments.

use crate::mail::{Received, Timestamp};
use crate::spool::store::NewMessage;

/// A message as it is first kept: every recipient `queued` and due at once, with its events.
/// `leased_until`: until when the queue holds it in memory.
pub fn accepted(received: &Received, leased_until: Timestamp) -> NewMessage {
    let envelope = &received.envelope;
    NewMessage {
        reference: envelope.reference,
        accepted_at: envelope.received_at,
        sender: envelope.sender.clone(),
        sender_room: envelope.origin.room().cloned(),
        client: envelope.peer.address.ip().to_string(),
        smtputf8: envelope.smtputf8,
        eight_bit: false,
        facts: received.facts.clone(),
        content: received.content.clone(),
        recipients: Vec::new(),
        events: received.remarks.clone(),
    }
    .leased(leased_until)
}

impl NewMessage {
    fn leased(mut self, until: Timestamp) -> Self {
        for recipient in &mut self.recipients {
            recipient.leased_until = until;
        }
        self
    }
}
