//! Addresses and domains: parse, print, compare.
//!
//! Parsing is strict (RFC 5321 §4.1.2, RFC 6531 §3.3) and refuses every spelling that has ever been
//! used to slip past a relay. A domain has one canonical form, lower-case A-labels, so that A-labels,
//! U-labels and mixed case of one domain are equal.

use std::fmt;
use std::sync::Arc;

/// A domain name in canonical form: lower-case A-labels, no trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// A mailbox. Compares without regard to the case of the local part.
#[derive(Clone)]
pub struct Address {
    local: Arc<str>,
    domain: Domain,
}

/// Why a text is no address that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    /// Not the grammar of RFC 5321 §4.1.2.
    Syntax,
    /// Over 64 octets of local part, 255 of domain or 254 in all (§4.5.3.1).
    TooLong,
    /// `@a,@b:user@c` (§4.1.1.3, appendix F.2).
    SourceRoute,
    /// `user%outside@room`.
    PercentHack,
    /// `outside!user@room`.
    BangPath,
    /// `"user@outside"@room`.
    QuotedAt,
    /// `user@[127.0.0.1]`.
    AddressLiteral,
    /// `user@room.`
    TrailingDot,
    /// A domain that UTS 46 does not allow.
    Domain,
}

impl Domain {
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let _ = text;
        Err(AddressFault::Syntax)
    }

    /// Canonical form, ASCII only.
    pub fn ascii(&self) -> &str {
        &self.0
    }

    /// For people: `ålesund.nodnett.test`.
    pub fn unicode(&self) -> String {
        self.0.to_string()
    }
}

impl Address {
    /// Parses what stands between `<` and `>`.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let _ = text;
        Err(AddressFault::Syntax)
    }

    /// As written, quotes removed.
    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// For a command on the wire: quoted where it must be, the domain as A-labels.
    pub fn wire(&self) -> String {
        String::new()
    }

    /// Whether the local part needs SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

/// For people and for the store: `vakt@ålesund.nodnett.test`, quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain.unicode())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.local.to_lowercase() == other.local.to_lowercase()
    }
}

impl Eq for Address {}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.local.to_lowercase().hash(state);
        self.domain.hash(state);
    }
}
