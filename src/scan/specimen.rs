//! What an engine is given: a message as it came, and what is attached to it, decoded.
//!
//! Made once for all engines. Pure; it decides nothing and cannot fail: what cannot be decoded is
//! given as it stands in the message.

use bytes::Bytes;

/// A message and its attachments.
#[derive(Debug, Clone)]
pub struct Specimen {
    /// The whole message, as it came: CRLF line ends, no dot-stuffing.
    pub message: Bytes,
    /// Those of nested messages too.
    pub parts: Vec<Part>,
}

/// An attachment with its transfer encoding undone.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    pub bytes: Bytes,
}

impl Specimen {
    /// A message of which nothing is taken apart.
    pub const fn whole(message: Bytes) -> Self {
        Self {
            message,
            parts: Vec::new(),
        }
    }
}
