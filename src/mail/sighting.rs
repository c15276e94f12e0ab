//! Workstations as they were met: who it was, by what the routing table knew it, and what it did that
//! strictness may refuse.
//!
//! Plain values. What a room makes of a lapse is policy's.

use std::net::IpAddr;

use super::{Origin, Timestamp};

/// What a client lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lapse {
    /// It spoke in plain text.
    MissingTls,
    /// A CR or LF stood alone in its message.
    BareNewlines,
    /// No line of the routing table names it.
    UnknownWorkstation,
}

impl Lapse {
    pub const ALL: [Self; 3] = [
        Self::MissingTls,
        Self::BareNewlines,
        Self::UnknownWorkstation,
    ];

    /// The word in the log and in listings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MissingTls => "missing_tls",
            Self::BareNewlines => "bare_newlines",
            Self::UnknownWorkstation => "unknown_workstation",
        }
    }

    /// In the plain words of a sentence.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::MissingTls => "no TLS",
            Self::BareNewlines => "line ends that are not CRLF",
            Self::UnknownWorkstation => "not a registered workstation",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::MissingTls => 1,
            Self::BareNewlines => 2,
            Self::UnknownWorkstation => 4,
        }
    }
}

/// Some of them, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lapses(u8);

impl Lapses {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn and(self, lapse: Lapse) -> Self {
        Self(self.0 | lapse.bit())
    }

    /// The same, and this one if `holds`.
    #[must_use]
    pub const fn and_if(self, holds: bool, lapse: Lapse) -> Self {
        if holds { self.and(lapse) } else { self }
    }

    pub const fn has(self, lapse: Lapse) -> bool {
        self.0 & lapse.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Lapse> {
        Lapse::ALL.into_iter().filter(move |it| self.has(*it))
    }

    pub fn words(self) -> Vec<String> {
        self.iter().map(|it| it.word().to_owned()).collect()
    }
}

impl FromIterator<Lapse> for Lapses {
    fn from_iter<I: IntoIterator<Item = Lapse>>(lapses: I) -> Self {
        lapses.into_iter().fold(Self::NONE, Self::and)
    }
}

/// By what the routing table knows a workstation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StationKind {
    Certificate,
    User,
    Address,
}

impl StationKind {
    pub const ALL: [Self; 3] = [Self::Certificate, Self::User, Self::Address];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::User => "user",
            Self::Address => "address",
        }
    }
}

/// A workstation of a room, or a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Station {
    pub origin: Origin,
    pub kind: StationKind,
    /// The certificate's name, the user, or the address.
    pub name: String,
}

/// It was let in, at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub station: Station,
    pub at: Timestamp,
    pub address: IpAddr,
    /// `TLSv1.3`; `None`: plain text.
    pub tls: Option<String>,
    /// When the certificate that it showed ends; `None` where that proved nothing.
    pub certificate_ends_at: Option<Timestamp>,
    pub lapses: Lapses,
}
