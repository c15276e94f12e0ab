//! Digests: what they are made of, and how they are written.

use sha2::Digest as _;

/// How octets are written, for people and in JSON: in lower-case hex.
macro_rules! in_hex {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&crate::mail::part::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $crate::evidence::hash::octets(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use in_hex;

/// SHA-256 of something. Written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }
}

in_hex!(Digest);

/// Octets in lower-case hex, exactly so many; there is one way to write them.
pub(super) fn octets<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let wrong = || format!("{text:?} is not {} digits of lower-case hex", N * 2);
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let octets: Option<Vec<u8>> = pairs.collect();
    octets.and_then(|it| it.try_into().ok()).ok_or_else(wrong)
}

/// SHA-256 over parts, each with its length before it. The first says what is hashed, so that no digest of
/// one thing is one of another.
pub(super) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(super) fn of(what: &str) -> Self {
        Self(sha2::Sha256::new()).and(what.as_bytes())
    }

    pub(super) fn add(&mut self, part: &[u8]) {
        // No part comes near four gigabytes: the store takes none that long.
        self.0.update((part.len() as u32).to_be_bytes());
        self.0.update(part);
    }

    pub(super) fn and(mut self, part: &[u8]) -> Self {
        self.add(part);
        self
    }

    pub(super) fn end(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Where the chain begins: the row that is first in it, and the name of this log, which no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub first: u64,
    pub log: Digest,
}

impl Start {
    /// What the first row is chained to.
    pub fn digest(&self) -> Digest {
        Hasher::of("ilbud log")
            .and(&self.log.0)
            .and(&self.first.to_be_bytes())
            .end()
    }
}

/// The digest of a row: of all rows up to it.
pub fn link(before: Digest, sequence: u64, row: Digest) -> Digest {
    Hasher::of("ilbud row of log")
        .and(&before.0)
        .and(&sequence.to_be_bytes())
        .and(&row.0)
        .end()
}

/// By what somebody is known whose name was masked: without the key nobody finds out who it is.
pub fn pseudonym(key: &[u8], name: &str) -> Digest {
    Hasher::of("pseudonym").and(key).and(name.as_bytes()).end()
}
