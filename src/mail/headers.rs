//! Facts read from the content, and the trace fields that we add.
//!
//! The crate `mail-parser` lives here. Content is read, never re-serialised (product.md, promise 5).

use bytes::Bytes;

use super::{Content, Envelope, Facts};

/// The author(s) in the From field, as policy must see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Exactly one From field, with at least one mailbox, every one of them listed (as written,
    /// decoded; not yet proved to be addresses).
    Mailboxes(Vec<String>),
    Missing,
    Doubled,
    /// A From field that names no mailbox, or one that readers would understand differently.
    Unclear,
}

/// All that is read from a message's bytes, in one pass over its header section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFacts {
    pub facts: Facts,
    pub author: Author,
    /// How many Received fields there are (RFC 5321 §6.3).
    pub hops: usize,
    /// The bytes without incoming `X-Ilbud-…` fields, and the names of those removed; `None` where
    /// there are none and the bytes stay as they came.
    pub cleaned: Option<(Bytes, Vec<String>)>,
}

/// Reads a message. Never fails: what cannot be read is missing from the facts.
pub fn read(bytes: &Bytes) -> HeaderFacts {
    let _ = bytes;
    HeaderFacts {
        facts: Facts::default(),
        author: Author::Missing,
        hops: 0,
        cleaned: None,
    }
}

/// Our `Received` field (RFC 5321 §4.4, RFC 8314 §4.3), folded, ending in CRLF.
pub fn received_field(hostname: &str, envelope: &Envelope) -> Bytes {
    let _ = (hostname, envelope);
    Bytes::new()
}

/// The header section of a message, for a report: up to and with the empty line, at most `limit`.
pub fn header_section(content: &Content, limit: usize) -> Bytes {
    let _ = (content, limit);
    Bytes::new()
}
