//! What is known of a message on its way: who brought it, for whom it is, and its bytes.
//!
//! Plain values without behaviour of their own. A [`Received`] is complete and immutable: it is
//! made once, at the true end of DATA, and everything after it only reads it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Address, FileType, Reference, Terms, Timestamp, Wishes};

/// A room's `id` in the routing table, such as `amk-oslo`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(Arc<str>);

impl RoomId {
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RoomId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What TLS gave: facts for the `Received` field (RFC 8314 §4.3) and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLSv1.3`
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`
    pub cipher: String,
}

/// How the client speaks (RFC 3848 "with" keywords are made from this and TLS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HELO
    Smtp,
    /// EHLO
    Esmtp,
}

/// Who a client has shown itself to be with AUTH, in this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// With a password.
    User(String),
    /// With its certificate, as this one of the names in it.
    Certificate(String),
}

impl Login {
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Certificate(name) => name,
        }
    }
}

/// The other end of one connection, as far as it has shown itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// The name given with EHLO or HELO; empty before that. Never trusted, only noted.
    pub helo: String,
    pub protocol: Protocol,
    pub tls: Option<TlsSession>,
    /// What it has shown in the handshake, whether that proves anything or not.
    pub certificate: Option<Certificate>,
    /// Authenticated (SMTP AUTH), in this connection.
    pub user: Option<Login>,
}

impl Peer {
    /// The DNS names that its certificate proves, in lower case.
    pub fn certificate_names(&self) -> &[String] {
        self.certificate.as_ref().map_or(&[], Certificate::names)
    }
}

/// Names that are kept of a certificate that proves none of them.
const MOST_CLAIMS: usize = 8;

/// The certificate that a client has shown. It proves its names, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    names: Arc<[String]>,
    /// So many more are in it.
    left_out: usize,
    not_after: Option<Timestamp>,
    doubt: Option<Doubt>,
}

impl Certificate {
    /// `names`: the DNS names in it. `doubt`: why they are not proved; few of them are kept then, since
    /// anybody may write as many as it likes. Whatever an authority of ours has vouched for is kept.
    pub fn new(
        names: impl IntoIterator<Item = String>,
        not_after: Option<Timestamp>,
        doubt: Option<Doubt>,
    ) -> Self {
        let most = match doubt {
            None => usize::MAX,
            Some(_) => MOST_CLAIMS,
        };
        let mut names = names.into_iter();
        let kept = names.by_ref().take(most);
        Self {
            names: kept.map(|name| name.to_ascii_lowercase()).collect(),
            left_out: names.count(),
            not_after,
            doubt,
        }
    }

    /// The DNS names that it proves, in lower case; none while anything speaks against it.
    pub fn names(&self) -> &[String] {
        match self.doubt {
            None => &self.names,
            Some(_) => &[],
        }
    }

    /// The first DNS names that are written in it, by whomever: for people to find it by, and never to
    /// be believed.
    pub fn claims(&self) -> &[String] {
        &self.names
    }

    /// Until when it is valid; unknown where it cannot be read.
    pub const fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// As the log tells it: `ws1.amk-oslo.nodnett.test`, `ws1.amk-oslo.nodnett.test (was revoked)`.
    pub fn told(&self) -> String {
        match &self.doubt {
            None => self.to_string(),
            Some(doubt) => format!("{self} ({doubt})"),
        }
    }

    /// Why it proves nothing.
    pub const fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }
}

/// Which certificate it is: `ws1.amk-oslo.nodnett.test`, `a.test and 7 others`.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.split_first() {
            None => f.write_str("without a DNS name"),
            Some((name, others)) => match others.len().saturating_add(self.left_out) {
                0 => f.write_str(name),
                others => write!(f, "{name} and {others} others"),
            },
        }
    }
}

/// Why a certificate proves nothing. It reads on after "the certificate".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It, or one between it and its authority.
    Expired(Timestamp),
    NotYetValid(Timestamp),
    Revoked,
    /// It leads to none of the authorities in `client_ca`.
    UnknownAuthority,
    /// Its extended key usage is another.
    NotForClients,
    /// Nothing is wrong with it, but that it has no DNS name in it.
    Nameless,
    /// The client has not shown that it holds the key, or the key is of a kind that cannot be checked.
    KeyUnproved,
    Unreadable,
    /// In words.
    Unfit(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(at) => write!(f, "expired at {at}"),
            Self::NotYetValid(from) => write!(f, "is not valid before {from}"),
            Self::Revoked => f.write_str("was revoked"),
            Self::UnknownAuthority => f.write_str("is of an authority that is not known here"),
            Self::NotForClients => f.write_str("is not meant for clients"),
            Self::Nameless => f.write_str("has no DNS name in it"),
            Self::KeyUnproved => f.write_str("has a key that could not be checked"),
            Self::Unreadable => f.write_str("cannot be read"),
            Self::Unfit(why) => write!(f, "is not fit: {why}"),
        }
    }
}

/// On whose behalf a message is sent, as policy found it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A workstation of a registered room.
    Room(RoomId),
    /// A registered gateway, by name.
    Gateway(String),
    /// The relay itself: reports.
    Relay,
}

impl Origin {
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Room(id) => Some(id),
            Self::Gateway(_) | Self::Relay => None,
        }
    }
}

/// One recipient and the decision that let it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub address: Address,
    /// The room it is for. A redirect changes where the mail goes, not this.
    pub room: RoomId,
    /// The group address it came from, if any.
    pub group: Option<Address>,
    /// The rule that decided, in words, and the table's revision.
    pub rule: String,
    pub revision: u64,
    pub wishes: Wishes,
}

/// RFC 6152 / RFC 3030 BODY parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    SevenBit,
    EightBitMime,
}

/// Everything about a message but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub reference: Reference,
    pub received_at: Timestamp,
    pub peer: Peer,
    pub origin: Origin,
    /// `None` is the null sender `<>`.
    pub sender: Option<Address>,
    /// The client said SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    pub body: BodyKind,
    pub terms: Terms,
    /// Each once, groups expanded.
    pub recipients: Vec<Recipient>,
}

/// A file as found in the message: an attachment, or what is inside of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Of what is inside: its path there.
    pub name: String,
    /// The attachment that it is inside of; `None`: it is one itself.
    pub within: Option<String>,
    /// `None`: it was not looked at whole.
    pub size: Option<u64>,
    /// Lower-case hex; `None` likewise.
    pub sha256: Option<String>,
    /// What it really is, by its content.
    pub kind: FileType,
}

/// As people are told of it: `setup.exe in tools.zip`.
impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.within {
            Some(attachment) => write!(f, " in {attachment}"),
            None => Ok(()),
        }
    }
}

/// Facts read from the header fields, for the log and for policy. All text is decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub subject: Option<String>,
    pub message_id: Option<String>,
    pub attachments: Vec<Attachment>,
}

/// A message's bytes: what came, and the header fields we put on top.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// `Received` first, then any `X-Ilbud-…`; each line ends with CRLF.
    pub trace: Bytes,
    /// The bytes as they came, dot-unstuffed; newlines that stood alone are CRLF, where that is let pass.
    pub bytes: Bytes,
}

impl Content {
    /// Octets on the wire, dot-stuffing apart.
    pub fn len(&self) -> usize {
        self.trace.len() + self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.trace.is_empty() && self.bytes.is_empty()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} octets)", self.len())
    }
}

/// A complete message, not yet kept: envelope, facts and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub envelope: Envelope,
    pub facts: Facts,
    /// The mailboxes in From, Sender and their like, as written.
    pub authors: Vec<String>,
    /// Where it takes next to no memory; otherwise it is taken apart again for its scan.
    pub dissection: Option<super::Dissection>,
    pub content: Content,
    /// What the way in wants to have in the log beside the acceptance: refused group members,
    /// removed header fields.
    pub remarks: Vec<super::Event>,
    /// What a stricter room would have refused.
    pub tolerated: super::Lapses,
}
