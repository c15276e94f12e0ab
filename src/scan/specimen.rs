//! What an engine is given: a message as it came, and what it holds, decoded.
//!
//! Made once for all engines and for the built-in rules. Pure; it decides nothing and cannot fail: what
//! cannot be decoded is given as it stands in the message.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::memory::Share;
use crate::mail::{Dissection, Gap, Malware, Received, headers};

pub use crate::mail::Part;

/// Names of attachments that have the same in them, where that is bad.
const MOST_NAMES: usize = 20;

/// What is in an attachment, and maybe in others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    /// Which attachment it is; counted from nought.
    pub place: usize,
    pub part: &'a Part,
}

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
    /// Octets that it takes beside the message.
    pub decoded: usize,
    /// The memory for them, kept for as long as this is.
    pub share: Option<Arc<Share>>,
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

    /// A message that was taken apart already; `None`: it was not.
    pub fn received(received: &Received) -> Option<Self> {
        let dissection = received.dissection.clone()?;
        Some(Self {
            authors: received.authors.clone(),
            subject: received.facts.subject.clone(),
            ..Self::new(received.content.bytes.clone(), dissection)
        })
    }

    fn new(message: Bytes, dissection: Dissection) -> Self {
        Self {
            parts: dissection.attachments,
            texts: dissection.texts,
            gaps: dissection.gaps,
            decoded: dissection.decoded,
            ..Self::whole(message)
        }
    }

    /// What is attached, with something in it: each content once, in the order in which they stand there.
    pub(super) fn contents(&self) -> Vec<Content<'_>> {
        let mut known = HashSet::new();
        let all = self.parts.iter().enumerate();
        all.filter(|(_, part)| !part.bytes.is_empty() && known.insert(part.sha256()))
            .map(|(place, part)| Content { place, part })
            .collect()
    }

    /// What was found in an attachment, with the names of all that have the same in them.
    pub(super) fn within(&self, part: &Part, found: &[Malware]) -> Vec<Malware> {
        let same = self.parts.iter();
        let same = same.filter(|it| it.bytes.len() == part.bytes.len() && it.bytes == part.bytes);
        let named = same.take(MOST_NAMES).flat_map(|part| {
            let within = |it: &Malware| Malware::within(it.name.clone(), part.name.clone());
            found.iter().map(within)
        });
        named.collect()
    }

    /// A message of which nothing is taken apart.
    pub const fn whole(message: Bytes) -> Self {
        Self {
            message,
            parts: Vec::new(),
            texts: Vec::new(),
            gaps: Vec::new(),
            decoded: 0,
            share: None,
            authors: Vec::new(),
            subject: None,
        }
    }
}
