//! Everything that can happen to a message, one flat record each.
//!
//! An [`Event`] is written in the transaction of the change it explains and never altered. The log
//! is the product: scripts and operators read these very names (`product.md`, Words).

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Address, Attachment, Reference, RoomId, Timestamp};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word used in the store, the log, metrics and the command line.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|it| it.word() == word).ok_or(())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.word())
            }
        }
    };
}

pub(crate) use words;

words! {
    /// The state of one recipient of a message.
    State {
        Unscanned = "unscanned",
        Queued = "queued",
        Deferred = "deferred",
        Held = "held",
        Quarantined = "quarantined",
        Delivered = "delivered",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl State {
    /// Nothing more will happen to this recipient.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

words! {
    /// What happened.
    EventKind {
        /// A recipient of an accepted message, with the rule that let it in.
        Accepted = "accepted",
        /// A command or message was refused.
        Refused = "refused",
        /// A member of a group was left out, since its room does not accept the sender.
        LeftOut = "left out",
        /// Something about the message was changed on the way in (product.md, promise 5).
        Altered = "altered",
        /// What the sender's room will refuse once it enforces it; the client was told.
        Tolerated = "tolerated",
        /// A scan came to an end, or to nothing; `verdict` says to what.
        Scanned = "scanned",
        /// Somebody asked for a new scan.
        Rescanned = "rescanned",
        /// It is kept for what was found in it, and not delivered.
        Quarantined = "quarantined",
        /// Somebody read it in quarantine.
        Viewed = "viewed",
        /// Somebody should look at this now; `reason` says at what.
        Alarm = "alarm",
        /// What an alarm was about is well again; `reason` says what.
        AllClear = "all clear",
        Delivered = "delivered",
        Deferred = "deferred",
        /// The next hop vanished after the final dot: it may have the message.
        PossiblyDelivered = "possibly delivered",
        Failed = "failed",
        /// A report to the sender was written; `report` is its reference.
        Bounced = "bounced",
        /// No report could be sent; `reason` says why.
        NotBounced = "not bounced",
        /// The sender was told that it is late; `report` is the reference of what was written.
        Warned = "warned",
        /// The sender was told that it arrived, or was passed on, as asked; `report` likewise.
        Confirmed = "confirmed",
        /// The same Message-ID had come for the same recipient a while ago; `reason` says when.
        Duplicate = "duplicate",
        Held = "held",
        Released = "released",
        /// An operator asked for a new attempt now.
        Retried = "retried",
        Cancelled = "cancelled",
        /// A block, or a hold on attachments, is in force; `measure` says what, and `until` until when.
        MeasureOpened = "measure opened",
        /// It was ended before its time.
        MeasureClosed = "measure closed",
        /// What cannot be scanned is delivered, until `until`.
        ExceptionOpened = "exception opened",
        /// It was ended before its time.
        ExceptionClosed = "exception closed",
        /// Another routing table is in force: `revision` says which, and `summary` what changed.
        RoutesChanged = "routes changed",
        /// Somebody has read the log: `by` says who, `command` and `query` what, `rows` how much, `reason` why
        /// what is masked was shown.
        LogRead = "log read",
        /// What was old was masked or purged for good; `summary` says how much.
        LogRetention = "log retention",
    }
}

/// What an event knows. One flat record; what does not apply is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helo: Option<String>,
    /// As whom the client had logged in, or tried to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The certificate that the client had shown, and why it proves nothing where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Where no message remembers it: the sender of a refused attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Each engine's part in a scan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<ScannedBy>,
    /// What the built-in rules found, and let pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// Files inside of attachments beyond those that the log lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_left_out: Option<u64>,
    /// The exception under which it is delivered unscanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<u64>,
    /// What was found, as the engine calls it, with the attachment that it is in: `Eicar in a.zip`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub malware: Vec<String>,
    /// What was put in force for a while: `block file *.scr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What changed in the routing table, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The next hop as configured: `smtp://10.1.0.5:25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// The hop's own words, or ours in a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Attempts made so far, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// In plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who: an operator's login name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How urgent it is, where it is not routine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// By when it is to be delivered (RFC 2852).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_by: Option<String>,
    /// It must not travel in plain text (RFC 8689).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_tls: Option<bool>,
    /// What a stricter room would have refused: `missing_tls`, `bare_newlines`,
    /// `unknown_workstation`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerated: Vec<String>,
    /// The reference of the report that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// With which command somebody has read the log, and what was asked for, as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// How many rows there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Rows that were pseudonymised since they were old, and those that were purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purged: Option<u64>,
}

/// One engine's part in a scan: the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScannedBy {
    pub engine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<String>,
    /// How old its signatures were, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_age_s: Option<u64>,
    pub verdict: String,
    pub duration_ms: u64,
}

/// One thing that happened to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub reference: Reference,
    pub at: Timestamp,
    pub kind: EventKind,
    /// The recipient it concerns; `None` concerns the whole message.
    pub recipient: Option<Address>,
    pub details: Details,
}

/// An attempt that we refused: a row of the log of its own, with no message behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reference: Reference,
    pub at: Timestamp,
    pub client: IpAddr,
    pub helo: String,
    /// As whom the client had logged in, or tried to.
    pub user: Option<String>,
    /// The certificate that it had shown, and why it proves nothing where it does not.
    pub certificate: Option<String>,
    /// As written by the client, since it may be no address at all; empty is the null sender.
    pub sender: Option<String>,
    pub sender_room: Option<RoomId>,
    pub recipient: Option<String>,
    pub recipient_room: Option<RoomId>,
    pub subject: Option<String>,
    pub message_id: Option<String>,
    pub size: Option<u64>,
    /// Of the message that was refused, where it came so far; and what is inside of them, where it was scanned.
    pub attachments: Arc<[Attachment]>,
    /// Files inside of them beyond those.
    pub files_left_out: u64,
    /// What was found in it.
    pub malware: Vec<String>,
    /// What we said.
    pub reply: String,
    /// The rule that refused, and the table's revision, where policy refused.
    pub rule: Option<String>,
    pub revision: Option<u64>,
    /// How many like it this row stands for (a flood from one client is summed up).
    pub count: u64,
}

impl Refusal {
    /// What the refusal's event knows.
    pub fn details(&self) -> Details {
        Details {
            room: self.recipient_room.as_ref().map(RoomId::to_string),
            rule: self.rule.clone(),
            revision: self.revision,
            client: Some(self.client.to_string()),
            helo: (!self.helo.is_empty()).then(|| self.helo.clone()),
            user: self.user.clone(),
            certificate: self.certificate.clone(),
            sender: self.sender.clone(),
            size: self.size,
            malware: self.malware.clone(),
            files_left_out: (self.files_left_out > 0).then_some(self.files_left_out),
            reply: Some(self.reply.clone()),
            reason: (self.count > 1).then(|| format!("{} refusals like this one", self.count)),
            ..Details::default()
        }
    }
}
