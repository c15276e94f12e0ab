//! Heads: signed statements of how far the log had come, each chained to the one before.

use serde::{Deserialize, Serialize};

use super::hash::{Digest, Hasher, Start};
use super::key::{PublicKey, Signature, SigningKey};
use crate::mail::Timestamp;

/// A signed head. As a line of JSON it is what the file beside the store has, and what is taken elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Counts from 1.
    pub head: u64,
    /// When it was signed, in UTC.
    pub at: String,
    /// The log's name.
    pub log: Digest,
    /// The rows that are in the tree: those since the head before.
    pub first: u64,
    pub last: u64,
    /// The digest of the last row.
    pub digest: Digest,
    /// The root of the tree over the rows' digests.
    pub root: Digest,
    /// The hash of the head before; of the first one, what its first row is chained to.
    pub previous: Digest,
    pub key: PublicKey,
    pub signature: Signature,
}

/// What a new head follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub head: u64,
    pub last: u64,
    pub hash: Digest,
    pub log: Digest,
}

impl Before {
    /// Before the first head.
    pub fn none(start: &Start) -> Self {
        Self {
            head: 0,
            last: start.first.saturating_sub(1),
            hash: start.digest(),
            log: start.log,
        }
    }

    /// The head over the rows since, of which the last one has this digest.
    pub fn followed_by(
        self,
        rows: u64,
        digest: Digest,
        root: Digest,
        at: Timestamp,
        key: &SigningKey,
    ) -> Head {
        let mut head = Head {
            head: self.head.saturating_add(1),
            at: at.to_string(),
            log: self.log,
            first: self.last.saturating_add(1),
            last: self.last.saturating_add(rows),
            digest,
            root,
            previous: self.hash,
            key: key.public(),
            signature: Signature::NONE,
        };
        head.signature = key.sign(head.hash());
        head
    }
}

impl Head {
    /// Of all it says, its signature apart; this is what is signed.
    pub fn hash(&self) -> Digest {
        Hasher::of("ilbud head")
            .and(&self.head.to_be_bytes())
            .and(self.at.as_bytes())
            .and(&self.log.0)
            .and(&self.first.to_be_bytes())
            .and(&self.last.to_be_bytes())
            .and(&self.digest.0)
            .and(&self.root.0)
            .and(&self.previous.0)
            .and(self.key.to_string().as_bytes())
            .end()
    }

    /// Whether the key that it names has signed it.
    pub fn is_signed(&self) -> bool {
        self.key.verifies(self.hash(), &self.signature)
    }

    pub fn before_next(&self) -> Before {
        Before {
            head: self.head,
            last: self.last,
            hash: self.hash(),
            log: self.log,
        }
    }

    /// Whether it says that it follows that one.
    pub fn follows(&self, before: &Before) -> bool {
        self.head == before.head.saturating_add(1)
            && self.first == before.last.saturating_add(1)
            && self.last >= self.first
            && self.previous == before.hash
            && self.log == before.log
    }

    pub const fn covers(&self, sequence: u64) -> bool {
        self.first <= sequence && sequence <= self.last
    }

    pub fn rows(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}
