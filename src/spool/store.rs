//! The seam to the database: `trait Store` and the plain values that cross it.
//!
//! Each verb is one transaction. No SQL text, driver type or product's name crosses this seam, and
//! errors are five words. A backend decides nothing: what may become of a message is decided in
//! `lifecycle`, and a verb either happens whole or not at all.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::revision::{Chapter, Conditions, Decision, Revision, RoutesMark, Unconfirmed};
use crate::credential::Verifiers;
use crate::evidence::{Digest, Head, Start, walk};
use crate::mail::event::State;
use crate::mail::measure::{Closing, Measure};
use crate::mail::{
    Address, Attachment, Content, Details, Event, EventKind, Facts, Lapse, Priority, Reference,
    Refusal, RoomId, Sighting, Station, Terms, Timestamp, Waiver, Wishes,
};

/// What a verb gives: a future that owns all it needs.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Why the store could not do it. All of them are our own trouble: a 4xx to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Too much is waiting, or another process holds the store. Try again soon.
    Busy(String),
    /// No space left.
    Full(String),
    /// It cannot be reached, read or written.
    Down(String),
    /// What it holds makes no sense.
    Corrupt(String),
    /// What was to be changed had changed.
    Conflict(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, cause) = match self {
            Self::Busy(cause) => ("the store is busy", cause),
            Self::Full(cause) => ("the store has no space left", cause),
            Self::Down(cause) => ("the store cannot be reached", cause),
            Self::Corrupt(cause) => ("the store cannot be used", cause),
            Self::Conflict(cause) => ("changed in the meantime", cause),
        };
        write!(f, "{word}: {cause}")
    }
}

impl std::error::Error for StoreError {}

/// A recipient of one message: the message's reference and the recipient's place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientId {
    pub reference: Reference,
    pub number: u32,
}

/// A message as it is first written, with the state in which each recipient starts.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub reference: Reference,
    pub accepted_at: Timestamp,
    /// `None` is the null sender.
    pub sender: Option<Address>,
    pub sender_room: Option<RoomId>,
    /// The client's address; empty for what the relay wrote itself.
    pub client: String,
    pub smtputf8: bool,
    /// The content was declared as 8-bit (RFC 6152). What was not may be so all the same.
    pub eight_bit: bool,
    pub terms: Terms,
    pub facts: Facts,
    pub content: Content,
    pub recipients: Vec<NewRecipient>,
    pub events: Vec<Event>,
    /// Rows beside the message's own, for members of a group that were left out. Their events are
    /// among `events`.
    pub left_out: Vec<Refusal>,
    /// It is yet to be scanned.
    pub scan: Option<NewScan>,
}

/// A scan that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewScan {
    pub due_at: Timestamp,
    /// The measure that holds the message until then, or the exception under which it goes out till then.
    pub held_by: Option<u64>,
    /// Scans that came to nothing so far; of these, those in which it stalled or killed an engine.
    pub attempts: u32,
    pub stalls: u32,
    /// Of these, the last ones in a row in which an engine said that it cannot look into it.
    pub answers: u32,
    /// There are engines: without one it is not let through.
    pub is_owed: bool,
}

/// A message that waits for a scan. It has this as long as it has no verdict, whatever becomes of its
/// recipients meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRow {
    pub reference: Reference,
    /// Octets, our trace fields included.
    pub size: u64,
    pub priority: Priority,
    /// Scans that came to nothing so far.
    pub attempts: u32,
    /// Of these, those in which it stalled or killed an engine that answered for others.
    pub stalls: u32,
    /// The last ones in a row in which an engine said that it cannot look into it.
    pub answers: u32,
    /// Why the last one came to nothing.
    pub reason: Option<String>,
    pub held_by: Option<u64>,
    /// No measure holds it any more: an operator has released it.
    pub is_excused: bool,
    /// It came while there were engines.
    pub is_owed: bool,
    /// Counts up when somebody asks for a new scan.
    pub round: u64,
}

impl ScanRow {
    /// Of a message that was just kept.
    pub fn of(record: &MessageRecord) -> Self {
        let first = record.recipients.first();
        Self {
            reference: record.reference,
            size: record.size,
            priority: first.map_or(Priority::ROUTINE, |it| it.terms.priority),
            attempts: 0,
            stalls: 0,
            answers: 0,
            reason: None,
            held_by: None,
            is_excused: false,
            is_owed: true,
            round: 0,
        }
    }
}

/// What a step does to a message's scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanStep {
    /// It has its verdict; `trace`: the new trace fields.
    Done { reference: Reference, trace: Bytes },
    /// It came to nothing. `due_at`: when it is made again; `None`: once somebody asks for it.
    Again {
        reference: Reference,
        due_at: Option<Timestamp>,
        attempts: u32,
        stalls: u32,
        answers: u32,
        reason: String,
    },
    /// Kept from delivery until then by an outbreak measure, or let through till then by an exception; and
    /// scanned again.
    HeldBy {
        reference: Reference,
        measure: u64,
        due_at: Timestamp,
        trace: Bytes,
    },
    /// From the beginning, whether it was scanned before or not.
    Anew {
        reference: Reference,
        at: Timestamp,
        is_excused: bool,
    },
}

/// Why a message is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    pub reference: Reference,
    pub at: Timestamp,
    /// What was found, with the attachment that it is in.
    pub malware: String,
    /// The engine that found it; `rules` for a built-in rule.
    pub engine: String,
    pub reason: String,
}

/// A message in quarantine. Field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CaughtMessage {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub at: Timestamp,
    pub sender: Option<String>,
    pub sender_room: Option<String>,
    pub recipients: Vec<String>,
    pub subject: Option<String>,
    pub size: u64,
    pub malware: String,
    pub engine: String,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub struct NewRecipient {
    pub address: Address,
    pub room: RoomId,
    pub wishes: Wishes,
    pub state: State,
    /// Why it is in a state in which nobody tries it.
    pub reason: Option<String>,
    pub waiver: Option<Waiver>,
    /// When it is first due.
    pub next_attempt_at: Timestamp,
    /// When it is first looked at, should it still wait then.
    pub look_at: Timestamp,
    /// Not given out by `take_due` before this: the lease of who holds it in memory.
    pub leased_until: Timestamp,
}

/// New state of one recipient. Applied only while its state is one of `from`; otherwise it is
/// skipped together with its event, and reported in [`Applied::skipped`].
#[derive(Debug, Clone)]
pub struct RecipientChange {
    pub id: RecipientId,
    pub from: &'static [State],
    /// `None` keeps the state, and with it the time when it is due and any lease.
    pub to: Option<State>,
    /// Attempts made so far; `None` keeps what is there.
    pub attempts: Option<u32>,
    /// When it is next due; `None` keeps what is there.
    pub next_attempt_at: Option<Timestamp>,
    /// The hop's answer or our reason, for listings; `None` keeps what is there.
    pub last_reply: Option<String>,
    /// What the sender was told in this step, beside what it was told before.
    pub told: Told,
    /// It may have arrived all the same; stays so.
    pub is_doubtful: bool,
    /// `None` keeps what is there.
    pub of_late: Option<OfLate>,
    pub next_look: NextLook,
    pub clearance: Clearance,
    pub event: Option<Event>,
}

impl RecipientChange {
    /// A step that changes nothing yet.
    pub const fn of(id: RecipientId, from: &'static [State]) -> Self {
        Self {
            id,
            from,
            to: None,
            attempts: None,
            next_attempt_at: None,
            last_reply: None,
            told: Told::NOTHING,
            is_doubtful: false,
            of_late: None,
            next_look: NextLook::AsBefore,
            clearance: Clearance::AsBefore,
            event: None,
        }
    }
}

/// When a recipient is next looked at for what the clock decides, whatever attempts come to: that
/// its sender is to be told something, or that its time is over. What is finished is looked at no
/// more unless the step says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NextLook {
    #[default]
    AsBefore,
    At(Timestamp),
    Never,
}

/// What a recipient's message may go out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clearance {
    #[default]
    AsBefore,
    /// Its scan, or none: it waits for one.
    Scan,
    Waiver(Waiver),
}

/// All that one step does, in one transaction. Where every recipient's step is skipped, the events
/// that come with it are too. With messages it is made whole or not at all: a report names all of the
/// recipients.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub recipients: Vec<RecipientChange>,
    /// Reports to senders.
    pub messages: Vec<NewMessage>,
    /// Events that hang on no recipient's change.
    pub events: Vec<Event>,
    /// The scan that all this came of, and its round. Where a new one was asked for since it was begun,
    /// nothing is made.
    pub scan_of: Option<(Reference, u64)>,
    /// Made unless every recipient's step is skipped; so is what comes after it.
    pub scans: Vec<ScanStep>,
    pub caught: Vec<Caught>,
    /// What a scan has found inside of a message's attachments: what is not in the log yet.
    pub inside: Vec<(Reference, Vec<Attachment>)>,
}

/// What came of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Recipients that were no longer in a state the change could start from.
    pub skipped: Vec<RecipientId>,
    /// Nothing at all was changed, because of them.
    pub is_undone: bool,
    /// Nothing was changed, since a new scan was asked for.
    pub is_void: bool,
}

impl Applied {
    /// Whether what was told to senders in the change is told.
    pub const fn is_made(&self) -> bool {
        !self.is_undone && !self.is_void
    }
}

/// What a sender was told about one recipient that waits, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// That it is late (`warn_after`).
    pub late: bool,
    /// That it was not delivered by the time the sender named (RFC 2852, mode N).
    pub overdue: bool,
}

impl Told {
    pub const NOTHING: Self = Self {
        late: false,
        overdue: false,
    };

    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            late: self.late || other.late,
            overdue: self.overdue || other.overdue,
        }
    }
}

/// Attempts since the schedule last began anew: with a start of the relay, or when it was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfLate {
    /// Names the start of the relay that made them; the default is no start.
    pub start: Timestamp,
    pub attempts: u32,
}

impl OfLate {
    /// How many were made since this start.
    pub fn since(self, start: Timestamp) -> u32 {
        if self.start == start {
            self.attempts
        } else {
            0
        }
    }
}

/// The clock was set by so many milliseconds, and what was accepted before has to move along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub millis: i64,
    /// Made before the step: references up to this one.
    pub known: Reference,
    /// Made after the step: references after this one. Of those between the two nothing is known.
    pub until: Reference,
    /// Lies between what the old clock said at last and what the new one says.
    pub parting: Timestamp,
    /// The least that the new clock can have said.
    pub earliest: Timestamp,
    /// Transactions that were open at the step are over by then, by the new clock.
    pub closed_by: Timestamp,
}

impl Shift {
    /// Whether a message was accepted before the step. `waits_since` is there when it was moved
    /// before.
    pub fn moves(
        &self,
        reference: Reference,
        accepted_at: Timestamp,
        waits_since: Option<Timestamp>,
    ) -> bool {
        if self.until < reference {
            return false;
        }
        if self.millis > 0 {
            // Nothing is accepted between the two clocks.
            return waits_since.unwrap_or(accepted_at) < self.parting;
        }
        let by_the_old_clock_alone = accepted_at < self.earliest || self.parting <= accepted_at;
        // Begun before the step and accepted after it: before it was begun, by the new clock.
        let was_open = accepted_at < reference.made_at() && accepted_at < self.closed_by;
        waits_since.is_some() || by_the_old_clock_alone || (reference <= self.known && !was_open)
    }
}

/// How many recipients of one room to take from the store at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    pub urgent: usize,
    pub routine: usize,
}

/// A waiting recipient, with what a delivery attempt needs of its message.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: RecipientId,
    pub recipient: Address,
    pub room: RoomId,
    pub state: State,
    pub attempts: u32,
    pub of_late: OfLate,
    pub accepted_at: Timestamp,
    /// The acceptance, by today's clock: steps of the clock since then are taken out of it. Ages
    /// are counted from here.
    pub waits_since: Timestamp,
    pub next_attempt_at: Timestamp,
    pub last_reply: Option<String>,
    pub told: Told,
    /// An attempt may have delivered it, and nobody knows.
    pub is_doubtful: bool,
    pub wishes: Wishes,
    pub terms: Terms,
    /// The relay wrote it itself: a report.
    pub is_ours: bool,
    /// It has no verdict yet, or something was caught in it, whatever its state; known of what is held
    /// or cancelled.
    pub awaits_scan: bool,
    /// No scan found it clean, and it goes out all the same.
    pub waiver: Option<Waiver>,
    pub sender: Option<Address>,
    pub sender_room: Option<RoomId>,
    pub smtputf8: bool,
    /// As declared; see [`NewMessage`].
    pub eight_bit: bool,
    /// Octets, our trace fields included.
    pub size: u64,
    pub subject: Option<String>,
    pub message_id: Option<String>,
}

/// Which waiting recipients an operator means. All given conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct WaitingFilter {
    pub references: Vec<Reference>,
    pub room: Option<RoomId>,
    pub state: Option<State>,
    /// Waiting since before this.
    pub since_before: Option<Timestamp>,
    /// Found in the last reply, whatever the case of letters.
    pub reason: Option<String>,
}

/// In which order waiting recipients are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitingOrder {
    /// As they were accepted: the oldest first.
    #[default]
    Age,
    /// By room, and then by age.
    Room,
    /// By last reply, and then by age.
    Reason,
    /// Who is tried next.
    Next,
}

/// Recipients of one room that wait in one state for one reason.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WaitingGroup {
    pub room: String,
    pub state: String,
    /// The last reply without what differs from message to message.
    pub reason: String,
    pub count: u64,
    /// The oldest of them, and since when it waits.
    #[serde(skip)]
    pub first: RecipientId,
    pub oldest_at: Timestamp,
    /// The first next attempt among them.
    pub next_attempt_at: Timestamp,
}

/// A search in the delivery log. All given conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Each must be found in the reference, an address, a room, the user, the client, the subject, an
    /// attachment, the Message-ID or the reply.
    pub words: Vec<String>,
    pub reference: Option<Reference>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    /// The one or the other.
    pub address: Option<String>,
    pub room: Option<String>,
    /// A state, or `refused`.
    pub status: Option<String>,
    /// Each word of it.
    pub subject: Option<String>,
    pub attachment: Option<String>,
    pub message_id: Option<String>,
    pub client: Option<String>,
    /// The last answer of a next hop, or the reason of a refusal.
    pub reply: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only what comes behind it.
    pub before: Option<Cursor>,
    pub limit: usize,
}

/// Recipients to look for that were accepted of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    pub state: State,
    pub since: Timestamp,
    /// Nothing with a smaller reference is meant: spares the reader what is older.
    pub not_below: Reference,
    pub limit: usize,
}

/// A row of the log, by its place in the order in which rows are found: the newest first, recipients of one
/// message as they were named. What is found first is greater. As text it is opaque to whoever passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub at: Timestamp,
    pub reference: Reference,
    pub place: i64,
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let older = (self.at, self.reference).cmp(&(other.at, other.reference));
        older.then(other.place.cmp(&self.place))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, place) = (self.at.as_millis(), self.place);
        write!(f, "{}.{at}.{place}", self.reference)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (reference, rest) = text.trim().split_once('.')?;
            let (at, place) = rest.split_once('.')?;
            Some(Self {
                at: Timestamp::from_millis(at.parse().ok()?),
                reference: reference.parse().ok()?,
                place: place.parse().ok()?,
            })
        };
        read().ok_or_else(|| {
            format!("{text:?} is no cursor: take one as log search wrote it, from its last line or from a row of --json")
        })
    }
}

/// A row of the log: a message's recipient, or a refusal. Field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogRow {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub at: Timestamp,
    pub status: String,
    /// Empty is the null sender; none was given in what was refused before MAIL.
    pub sender: Option<String>,
    pub sender_room: Option<String>,
    pub recipient: Option<String>,
    pub recipient_room: Option<String>,
    pub subject: Option<String>,
    pub size: Option<u64>,
    pub message_id: Option<String>,
    pub client: String,
    /// As whom the client had logged in, or tried to, where that was refused.
    pub user: Option<String>,
    pub reply: Option<String>,
    /// More than one where a flood of refusals was summed up.
    pub count: u64,
    /// The exception under which it goes out, or went, unscanned.
    pub exception: Option<u64>,
    /// Of the recipient in its message; below zero: of the refusal among all.
    #[serde(skip)]
    pub place: i64,
}

impl LogRow {
    pub const fn cursor(&self) -> Cursor {
        Cursor {
            at: self.at,
            reference: self.reference,
            place: self.place,
        }
    }
}

/// What is hidden of a message or refusal from whoever gives no reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    pub subject: Option<String>,
    /// Attachments, and what is inside of them.
    pub files: Vec<Attachment>,
}

/// What is old, and how much of it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aging {
    /// What came before this is pseudonymised, and what came before that is purged.
    pub pseudonymise_before: Option<Timestamp>,
    pub purge_before: Option<Timestamp>,
    pub now: Timestamp,
    /// Messages and refusals.
    pub limit: usize,
}

/// What came of a portion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aged {
    /// Messages and refusals.
    pub references: u64,
    /// Rows.
    pub masked: u64,
    pub purged: u64,
    /// Rows that somebody has changed: they were left as they are.
    pub not_as_written: Vec<u64>,
    pub is_more: bool,
}

/// What is to go: messages and refusals, and rows. Field names are those of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct AgingPlan {
    pub pseudonymise: u64,
    pub pseudonymise_rows: u64,
    pub purge: u64,
    pub purge_rows: u64,
    /// Old as they are, they wait, are held, or lie in quarantine.
    pub left: u64,
}

/// Times of whose rows something was masked or purged, for whoever has made something of them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// All that was forgotten up to this one is among them.
    pub number: u64,
    pub times: Vec<RangeInclusive<Timestamp>>,
}

/// From one moment to another, each included; left out: there is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Rows from one place in the log to another, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    pub rows: Vec<LogRow>,
    /// Up to here it was looked at; `None`: up to the end.
    pub reached: Option<Reference>,
}

/// An event as stored, with its place in the order of commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    pub sequence: u64,
    pub reference: Reference,
    pub at: Timestamp,
    /// The event's word; a refusal's is `refused`.
    pub event: String,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub details: Details,
}

/// Rows of the log from before its chain began: how many there were then, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchained {
    pub then: u64,
    pub now: u64,
}

/// A recipient's state, and what happened to it and to its message as a whole, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientState {
    pub id: RecipientId,
    pub address: String,
    pub state: String,
    pub events: Vec<EventKind>,
}

/// What is kept of a message when its bytes may be gone.
#[derive(Debug, Clone)]
pub struct MessageRecord {
    pub reference: Reference,
    pub accepted_at: Timestamp,
    pub sender: Option<Address>,
    pub sender_room: Option<RoomId>,
    pub client: String,
    pub size: u64,
    pub subject: Option<String>,
    pub message_id: Option<String>,
    pub attachments: Vec<Attachment>,
    pub recipients: Vec<Waiting>,
}

/// Messages from one sender to one recipient, as the log has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `None` is the null sender.
    pub sender: Option<String>,
    /// `None`: it came through a gateway, or from the relay itself.
    pub sender_room: Option<RoomId>,
    /// The relay wrote them itself: reports.
    pub is_ours: bool,
    /// A mailbox.
    pub recipient: String,
    /// The group that it was reached through.
    pub group: Option<String>,
    pub messages: u64,
}

/// A user who can log in with a password, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub user: String,
    /// When the password was set.
    pub since: Timestamp,
    /// A login of late, to the minute.
    pub used_at: Option<Timestamp>,
}

/// What a user's password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Of a user who does not exist they are not real.
    pub verifiers: Verifiers,
    pub used_at: Option<Timestamp>,
}

/// A workstation or gateway that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workstation {
    pub station: Station,
    /// Where it was last.
    pub address: String,
    pub first_seen_at: Timestamp,
    /// To the minute.
    pub last_seen_at: Timestamp,
    /// The last time; `None`: plain text.
    pub tls: Option<String>,
    pub certificate_ends_at: Option<Timestamp>,
    /// When it last did what strictness may refuse, each that it ever did.
    pub failed: Vec<(Lapse, Timestamp)>,
}

/// What is hunted for, back to where the log begins.
#[derive(Debug, Clone)]
pub struct Hunt {
    pub quarry: Quarry,
    pub since: Option<Timestamp>,
    /// Nothing with a smaller reference is meant.
    pub not_below: Option<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quarry {
    /// SHA-256 of an attachment, in lower-case hex.
    Hash(String),
    /// The name of an attachment, or a pattern of such names; or a part of what malware is called.
    Word(String),
}

/// A recipient of what was hunted for, or a refusal of it. Field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hunted {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub at: Timestamp,
    /// A state, or `refused`.
    pub status: String,
    /// Empty is the null sender.
    pub sender: Option<String>,
    pub sender_room: Option<String>,
    pub recipient: Option<String>,
    pub recipient_room: Option<String>,
    /// Where it is known in which file it was.
    pub attachment: Option<String>,
    /// The attachment that this file is inside of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    pub sha256: Option<String>,
    /// What was found in the message.
    pub malware: Option<String>,
    pub client: String,
    /// More than one where a flood of refusals was summed up.
    pub count: u64,
}

/// A message of which something is to be delivered, as far as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub reference: Reference,
    pub sender: Option<String>,
    pub sender_room: Option<RoomId>,
    pub subject: Option<String>,
    /// The relay wrote it itself: a report.
    pub is_ours: bool,
    /// Of the recipients who still wait.
    pub rooms: Vec<RoomId>,
    pub attachments: Vec<Attachment>,
}

/// How an engine stands, as the running relay knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRow {
    pub engine: String,
    pub kind: String,
    /// Why it is down; `None`: it is up.
    pub down: Option<String>,
    /// Up or down since then.
    pub since: Timestamp,
    pub version: Option<String>,
    pub signatures: Option<String>,
    pub signatures_at: Option<Timestamp>,
    /// How the last self-test ended, in words, and when.
    pub self_test: Option<(String, Timestamp)>,
    pub p50_ms: Option<u64>,
    pub p99_ms: Option<u64>,
}

/// What waits for its scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanQueue {
    /// Messages in all; urgent ones among them; and those that are scanned again only when somebody asks.
    pub waiting: u64,
    pub urgent: u64,
    pub poison: u64,
    /// Those for which the built-in rules alone are not enough, since there were engines when they came.
    pub owed: u64,
    /// When the oldest was accepted.
    pub oldest_at: Option<Timestamp>,
}

/// A database that keeps mail. See the module's header for what every verb promises.
pub trait Store: Send + Sync + fmt::Debug {
    /// Writes a message durably: when this is ready with `Ok`, the message is on stable storage.
    fn accept(&self, message: NewMessage) -> Pending<()>;
    /// Makes a change whole, durably, together with its events.
    fn apply(&self, change: Arc<Change>) -> Pending<Applied>;
    /// Writes refusals to the log. Never ahead of mail.
    fn note(&self, refusals: Vec<Refusal>) -> Pending<()>;
    /// Waiting recipients that are due and leased to nobody, the most urgent first and then the
    /// oldest due, of each room a portion: `usual`, or what `other` says of the room. Leases them
    /// until `leased_until`.
    fn take_due(
        &self,
        now: Timestamp,
        leased_until: Timestamp,
        usual: Portion,
        other: HashMap<RoomId, Portion>,
    ) -> Pending<Vec<Waiting>>;
    /// Gives up the leases of these: they are due when their next attempt is.
    fn give_back(&self, ids: Vec<RecipientId>) -> Pending<()>;
    /// After a start: whatever waits and was accepted up to `last` is due by `now`, under whatever
    /// lease; but leases that end at a time in `ours` were given since the start, and stand. What was
    /// accepted in the future, by today's clock, was accepted now. A portion at a time; returns how
    /// many were changed, 0 when all are done.
    fn make_all_due(
        &self,
        now: Timestamp,
        last: Reference,
        ours: RangeInclusive<Timestamp>,
    ) -> Pending<u64>;
    /// What is deferred in a room and leased to nobody is due by `now`. A portion at a time; returns
    /// how many were changed, 0 when all are done.
    fn make_room_due(&self, room: RoomId, now: Timestamp) -> Pending<u64>;
    /// Recipients that wait, after `after` and up to the message `last`, in the order of their keys.
    fn waiting_after(
        &self,
        after: Option<RecipientId>,
        last: Reference,
        limit: usize,
    ) -> Pending<Vec<RecipientId>>;
    /// Moves the times of those of these that the shift means and that wait still.
    fn shift(&self, shift: Shift, ids: Vec<RecipientId>) -> Pending<()>;
    /// Recipients that are to be looked at by `now`, those whose time came first before the others.
    /// Cancelled ones too, where the sender is still to be told.
    fn to_look_at(&self, now: Timestamp, limit: usize) -> Pending<Vec<Waiting>>;
    /// Messages whose scan is due, the most urgent first and then the oldest.
    fn to_scan(&self, now: Timestamp, limit: usize) -> Pending<Vec<ScanRow>>;
    /// What any other measure than these holds is to be scanned now.
    fn end_holds(&self, in_force: Vec<u64>, now: Timestamp) -> Pending<()>;
    /// What has no verdict, and no measure holds, is to be scanned now.
    fn make_scans_due(&self, now: Timestamp) -> Pending<()>;
    /// What was let through by any other exception than these, and is queued or deferred still.
    fn waived(&self, in_force: Vec<u64>, limit: usize) -> Pending<Vec<Waiting>>;
    /// What waits for a scan that nobody knows of is to be scanned now. How many messages that are.
    fn mend_scans(&self, now: Timestamp) -> Pending<u64>;
    /// How many wait for a scan, whether it is due or not.
    fn unscanned(&self) -> Pending<u64>;
    fn scan_queue(&self) -> Pending<ScanQueue>;
    /// How the engines stand at `at`, in the place of what was said before.
    fn engines_stand(&self, at: Timestamp, engines: Vec<EngineRow>) -> Pending<()>;
    /// What was said last, and when; nothing where no relay with engines ever ran.
    fn engines(&self) -> Pending<Vec<(Timestamp, EngineRow)>>;
    /// What is attached to a message, also to one that was refused, and what is inside of that.
    fn attachments(&self, reference: Reference) -> Pending<Vec<Attachment>>;
    /// What is in quarantine, newest first; or only one message.
    fn quarantined(
        &self,
        reference: Option<Reference>,
        limit: usize,
    ) -> Pending<Vec<CaughtMessage>>;
    /// What came into quarantine before this, the oldest first.
    fn caught_before(&self, before: Timestamp, limit: usize) -> Pending<Vec<Reference>>;
    fn content(&self, reference: Reference) -> Pending<Option<Content>>;
    /// The first `octets` of a message.
    fn beginning(&self, reference: Reference, octets: usize) -> Pending<Option<Content>>;
    fn message(&self, reference: Reference) -> Pending<Option<MessageRecord>>;
    /// Rows of the log, the newest first, all that are meant up to the limit: also those that were written
    /// a moment ago.
    fn search(&self, search: Search) -> Pending<Vec<LogRow>>;
    fn recent(&self, recent: Recent) -> Pending<Vec<LogRow>>;
    /// What the rows of that time are found by is forgotten, and read anew from what is left of them: for when
    /// they were masked or purged.
    fn forget(&self, times: RangeInclusive<Timestamp>) -> Pending<()>;
    /// The same rows from the oldest on, behind this reference, for a log of any length: those that are meant
    /// among the next `limit` messages and refusals.
    fn log_page(&self, search: Search, after: Option<Reference>) -> Pending<LogPage>;
    fn events(&self, reference: Reference) -> Pending<Vec<LoggedEvent>>;
    /// Who wrote to whom since then, in messages that were accepted, summed up; at most `limit` pairs,
    /// those that wrote last first. Nothing with a smaller reference is meant.
    fn pairs(&self, since: Timestamp, not_below: Reference, limit: usize) -> Pending<Vec<Pair>>;
    /// Events committed after `sequence`, oldest first, at most `limit`.
    fn events_after(&self, sequence: u64, limit: usize) -> Pending<Vec<LoggedEvent>>;
    /// Writes an event of no message, under a reference of its own.
    fn tell(&self, at: Timestamp, kind: EventKind, details: Details) -> Pending<Reference>;
    /// Events that the log was read, newest first: those before this one.
    fn readings(
        &self,
        window: Window,
        before: Option<u64>,
        limit: usize,
    ) -> Pending<Vec<LoggedEvent>>;
    /// Of each of these messages and refusals, those left out of which there is nothing.
    fn names_of(&self, references: Vec<Reference>) -> Pending<HashMap<Reference, Names>>;
    /// The sequence of the newest event, 0 when there is none.
    fn last_event(&self) -> Pending<u64>;
    /// Where the chain of the log begins.
    fn log_start(&self) -> Pending<Start>;
    /// Counts them.
    fn unchained(&self) -> Pending<Unchained>;
    /// Rows of the log's chain committed after `after`, oldest first, with what they commit to.
    fn log_rows(&self, after: u64, limit: usize) -> Pending<Vec<walk::Row>>;
    /// Those of one message or refusal, all of them.
    fn log_rows_of(&self, reference: Reference) -> Pending<Vec<walk::Row>>;
    /// Rows committed after `after` with their digests, oldest first.
    fn log_digests(&self, after: u64, limit: usize) -> Pending<Vec<(u64, Option<Digest>)>>;
    /// Signed heads after this one with their numbers, as they were written.
    fn heads(&self, after: u64, limit: usize) -> Pending<Vec<(u64, String)>>;
    fn last_head(&self) -> Pending<Option<(u64, String)>>;
    /// The first head that covers this row or one after it.
    fn head_over(&self, sequence: u64) -> Pending<Option<String>>;
    /// `Conflict` when it does not come next.
    fn add_head(&self, head: Head) -> Pending<()>;
    /// Recipients after `after`, in the order of their keys.
    fn recipient_states(
        &self,
        after: Option<RecipientId>,
        limit: usize,
    ) -> Pending<Vec<RecipientState>>;
    /// Of `limit` refusals after `after` those of which the log says nothing, and the last one that was looked
    /// at; `None`: there were none.
    fn unexplained_refusals(
        &self,
        after: u64,
        limit: usize,
    ) -> Pending<(Option<u64>, Vec<Reference>)>;
    /// Masks fields of a row of the log for good, by the names under which the row commits to them
    /// (`details.reply`, `message.subject`, `attachment.0.name` …). The chain holds. `Conflict` when the row is
    /// not as it was written.
    fn mask(&self, sequence: u64, fields: Vec<String>) -> Pending<()>;
    /// Deletes a row of the log for good; its hash stays, and the chain holds. `Conflict` likewise.
    fn purge_row(&self, sequence: u64) -> Pending<()>;
    /// Makes the log forget a portion of what is old. Never what waits, is held, or lies in quarantine.
    fn age(&self, aging: Aging) -> Pending<Aged>;
    /// What that would come to.
    fn aging_plan(&self, aging: Aging) -> Pending<AgingPlan>;
    /// Says in the log what was done since it was last said, if anything was; how many rows were masked and
    /// purged.
    fn tell_aging(&self, at: Timestamp) -> Pending<(u64, u64)>;
    /// Rows masked and purged, as the log says.
    fn accounted_aging(&self) -> Pending<(u64, u64)>;
    /// When the log was last made to forget, and when the newest row of mail was written.
    fn aging_clocks(&self) -> Pending<(Option<Timestamp>, Option<Timestamp>)>;
    fn aging_looked_at(&self, now: Timestamp) -> Pending<()>;
    /// Pseudonyms so far are nobody's any more: the same address gets another one from now on.
    fn forget_pseudonyms(&self) -> Pending<()>;
    /// What the search index has to forget yet.
    fn forgotten(&self) -> Pending<Forgotten>;
    /// It has forgotten that.
    fn forgot(&self, number: u64) -> Pending<()>;
    /// Overwrites a portion of what was deleted; whether there may be more.
    fn scrub(&self) -> Pending<bool>;
    /// Nothing deleted is left in files beside the store; `false`: somebody is in the way.
    fn fold(&self) -> Pending<bool>;
    /// The first `limit` of those waiting recipients, in this order.
    fn waiting_ids(
        &self,
        filter: WaitingFilter,
        order: WaitingOrder,
        limit: usize,
    ) -> Pending<Vec<RecipientId>>;
    /// The same, summed up by room, state and reason; what waits longest first.
    fn waiting_groups(&self, filter: WaitingFilter) -> Pending<Vec<WaitingGroup>>;
    /// These recipients, those left out that are finished, and not to be looked at either.
    fn waiting(&self, ids: Vec<RecipientId>) -> Pending<Vec<Waiting>>;
    /// The routing table in force.
    fn routes(&self) -> Pending<Option<Revision>>;
    /// Another one whenever another table may be in force, or the same one was changed by hand; it is found
    /// without reading the table. `None` while there is none.
    fn routes_mark(&self) -> Pending<Option<RoutesMark>>;
    /// One revision of the routing table, as it was written.
    fn revision(&self, number: u64) -> Pending<Option<Revision>>;
    /// Newest first; each `table` is left empty.
    fn route_history(&self) -> Pending<Vec<Chapter>>;
    /// The revision in force, where it is taken back unless somebody confirms it.
    fn unconfirmed_routes(&self) -> Pending<Option<Unconfirmed>>;
    /// Writes a new revision, and gives it its number. Where it is in force with that, an event says so; so
    /// do the two below that put one in force. `Conflict` when `expected` is given and is not the
    /// one in force.
    fn replace_routes(
        &self,
        revision: Revision,
        expected: Option<u64>,
        conditions: Conditions,
    ) -> Pending<u64>;
    /// Decides on a revision that waits for a second person. `Conflict` when it does not, or, where it is
    /// approved, when another came in force meanwhile.
    fn decide_routes(&self, number: u64, decision: Decision) -> Pending<()>;
    /// The revision in force stays. `Conflict` when it is no longer that one, or does not wait for this.
    fn confirm_routes(&self, number: u64, by: String, at: Timestamp) -> Pending<()>;
    /// Puts `old` in force, under a new number, in the place of the one that nobody has confirmed.
    /// `Conflict` when somebody has, or when another came in force.
    fn take_back_routes(&self, number: u64, old: Revision) -> Pending<u64>;
    /// What to check a user's password against, whether there is such a user or not.
    fn credential(&self, user: String) -> Pending<Known>;
    /// By user.
    fn credentials(&self) -> Pending<Vec<Credential>>;
    /// Puts the password of a user in the place of the one before, if any.
    fn set_credential(&self, user: String, verifiers: Verifiers, now: Timestamp) -> Pending<()>;
    /// Whether there was one.
    fn remove_credential(&self, user: String) -> Pending<bool>;
    /// A user has logged in.
    fn credential_used(&self, user: String, at: Timestamp) -> Pending<()>;
    /// Workstations were met. Of too many the oldest are forgotten, first those that no line of the
    /// table named.
    fn saw(&self, sightings: Vec<Sighting>) -> Pending<()>;
    /// Rooms before gateways, each by name, and then by what is known of the workstation.
    fn workstations(&self) -> Pending<Vec<Workstation>>;
    /// Puts a measure in force, whatever its number says, and gives the number that it has. `Conflict`
    /// when its reference is in use.
    fn open_measure(&self, measure: Measure, event: Event) -> Pending<u64>;
    /// Ends a measure before its time. Whether it was in force: otherwise nothing is changed or written.
    fn close_measure(&self, number: u64, closing: Closing, event: Event) -> Pending<bool>;
    /// By number: all of them, or those that nobody has closed and that end after `until_after`.
    fn measures(&self, until_after: Option<Timestamp>) -> Pending<Vec<Measure>>;
    /// Who sent it and who was to receive it, in the order of time.
    fn hunt(&self, hunt: Hunt) -> Pending<Vec<Hunted>>;
    /// Of these messages, those with recipients that are queued, deferred or held.
    fn standing(&self, references: Vec<Reference>) -> Pending<Vec<Standing>>;
    /// Looks at a portion of the contents after `after`, and deletes those whose messages are
    /// finished since before `finished_before`. Returns where to go on; `None` at the end.
    fn purge(
        &self,
        finished_before: Timestamp,
        after: Option<Reference>,
    ) -> Pending<Option<Reference>>;
    /// Gives a portion of free space back, when there is much of it.
    fn shrink(&self) -> Pending<()>;
    /// Reads and proves its own soundness; a sentence per fault.
    fn check(&self) -> Pending<Vec<String>>;
    /// The greatest reference in use.
    fn last_reference(&self) -> Pending<Option<Reference>>;
    /// Counts up whenever another process changed the store.
    fn foreign_changes(&self) -> tokio::sync::watch::Receiver<u64>;
}
