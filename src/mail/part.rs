//! A message taken apart: its attachments, its texts, and what was left out.
//!
//! Plain values, made in [`headers`](super::headers). Nothing here decides or fails.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::event::words;
use super::{Attachment, FileType};

/// A file, or a text, with its transfer encoding undone and its character set untouched.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// For people: harmless, no longer than is of use, never empty.
    pub name: String,
    /// Every name that some reader may give it, as it is written there.
    pub names: Vec<String>,
    /// By its content.
    pub kind: FileType,
    pub bytes: Bytes,
    /// Where it is known already.
    digest: Option<String>,
}

impl Part {
    /// A file with one name.
    pub fn new(name: impl Into<String>, bytes: Bytes) -> Self {
        let name = name.into();
        Self::file(name.clone(), vec![name], FileType::of(&bytes), bytes)
    }

    pub(super) fn file(name: String, names: Vec<String>, kind: FileType, bytes: Bytes) -> Self {
        Self {
            digest: Some(sha256(&bytes)),
            ..Self::text(name, names, kind, bytes)
        }
    }

    /// A part whose digest hardly anybody asks for.
    pub(super) const fn text(
        name: String,
        names: Vec<String>,
        kind: FileType,
        bytes: Bytes,
    ) -> Self {
        Self {
            name,
            names,
            kind,
            bytes,
            digest: None,
        }
    }

    /// In lower-case hex.
    pub fn sha256(&self) -> Cow<'_, str> {
        match &self.digest {
            Some(digest) => Cow::Borrowed(digest),
            None => Cow::Owned(sha256(&self.bytes)),
        }
    }

    /// What the log keeps of it.
    pub fn attachment(&self) -> Attachment {
        Attachment {
            name: self.name.clone(),
            within: None,
            size: Some(self.bytes.len() as u64),
            sha256: Some(self.sha256().into_owned()),
            kind: self.kind,
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, kind) = (self.bytes.len(), self.kind);
        write!(f, "Part({:?}, {kind}, {length} octets)", self.names)
    }
}

words! {
    /// Why a message was not taken apart to its end. It reads on after "not looked at whole: ".
    Gap {
        Parts = "it has more than 10,000 parts",
        Depth = "it is nested more than 100 deep",
        Work = "there is too much of it in too many layers",
        Field = "a field that says what a part is has too much in it",
        Odd = "it is so odd that only one of two readers could read it",
        Partial = "it is a piece of a message that is sent in pieces",
        External = "a part of it lies elsewhere",
    }
}

/// All that a message holds, in nested messages too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dissection {
    /// In the order in which they stand there.
    pub attachments: Vec<Part>,
    /// What a reader shows by itself.
    pub texts: Vec<Part>,
    /// What keeps the two from being everything; each once.
    pub gaps: Vec<Gap>,
    /// Octets of memory that it takes beside the message: what was encoded there.
    pub decoded: usize,
}

impl Dissection {
    /// What takes less memory than this is worth being kept until the scan.
    const LIGHT: usize = 64 * 1024;

    /// Itself, where it takes next to no memory.
    pub fn light(self) -> Option<Self> {
        (self.decoded <= Self::LIGHT).then_some(self)
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// In lower case, as a SHA-256 is written everywhere.
pub fn hex(octets: &[u8]) -> String {
    let text = String::with_capacity(octets.len() * 2);
    octets.iter().fold(text, |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
