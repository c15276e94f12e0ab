//! Sockets, TLS and deadlines around the pure session.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// One `[[listener]]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    pub name: String,
    pub address: SocketAddr,
    pub tls: ListenerTls,
}

/// What a listener does about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerTls {
    Off,
    /// STARTTLS is offered.
    StartTls,
    /// STARTTLS is offered, and nothing is taken before it.
    Required,
    /// TLS from the first byte (RFC 8314 §3.3).
    Implicit,
}

impl ListenerTls {
    pub const ALL: [Self; 4] = [Self::Off, Self::StartTls, Self::Required, Self::Implicit];

    /// The word in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::StartTls => "starttls",
            Self::Required => "required",
            Self::Implicit => "implicit",
        }
    }
}

impl fmt::Display for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ListenerTls {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or(())
    }
}
