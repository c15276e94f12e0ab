//! What an engine is given: a message as it came, and what it holds, decoded.
//!
//! Made once for all engines and for the built-in rules. Pure; it decides nothing and cannot fail: what
//! cannot be decoded is given as it stands in the message.

use bytes::Bytes;

use crate::mail::{Dissection, Gap, Received, headers};

pub use crate::mail::Part;

/// A message and its attachments.
#[derive(Debug, Clone)]
pub struct Specimen {
    /// The whole message, as it came: CRLF line ends, no dot-stuffing.
    pub message: Bytes,
    /// The attachments, those of nested messages too.
    pub parts: Vec<Part>,
    /// What a reader shows by itself. The rules look at it; to engines it is a part of the message.
    pub texts: Vec<Part>,
    /// Why there may be more in the message than stands here.
    pub gaps: Vec<Gap>,
    /// The mailboxes in From, Sender and their like, as written.
    pub authors: Vec<String>,
    pub subject: Option<String>,
}

impl Specimen {
    /// Takes a message apart.
    pub fn of(message: Bytes) -> Self {
        let read = headers::read(&message);
        Self {
            authors: read.authors(),
            subject: read.facts.subject,
            ..Self::new(message, read.dissection)
        }
    }

    /// A message that was taken apart already.
    pub fn received(received: &Received) -> Self {
        Self {
            authors: received.authors.clone(),
            subject: received.facts.subject.clone(),
            ..Self::new(received.content.bytes.clone(), received.dissection.clone())
        }
    }

    fn new(message: Bytes, dissection: Dissection) -> Self {
        Self {
            parts: dissection.attachments,
            texts: dissection.texts,
            gaps: dissection.gaps,
            ..Self::whole(message)
        }
    }

    /// A message of which nothing is taken apart.
    pub const fn whole(message: Bytes) -> Self {
        Self {
            message,
            parts: Vec::new(),
            texts: Vec::new(),
            gaps: Vec::new(),
            authors: Vec::new(),
            subject: None,
        }
    }
}
