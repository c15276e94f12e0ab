//! The report to a sender: its message failed, is late, or was delivered (RFC 3464, RFC 3461).
//!
//! Decides to whom a report may go: to a sender in a registered room, never outside and never for
//! a report. It is as urgent as the message it is about. Of a message that must travel guarded it
//! tells nothing but the envelope, so that it gets home to any server. `human` writes for an
//! operator in a hurry, `machine` for programs, and `why` knows the causes in plain words. Pure, the
//! MIME boundary included. The crate `mail-builder` lives here.

mod human;
mod machine;
#[cfg(test)]
mod tests;
mod why;

pub use why::Why;

use std::sync::Arc;
use std::time::Duration;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Mailbox;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};

use super::acceptance::urgency;
use super::operations::of_the_last_attempt;
use super::scanning;
use super::{Occasion, REPORTS};
use crate::delivery::outcome::{Attempt, Cause, Outcome};
use crate::mail::headers::header_section;
use crate::mail::{
    Address, Answer, Content, Details, Event, EventKind, Facts, Language, Notify, Reference,
    Return, RoomId, State, Terms, Timestamp, Wishes,
};
use crate::spool::store::{NewMessage, NewRecipient, Waiting};

/// How the relay signs what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letterhead {
    pub hostname: String,
    pub language: Language,
}

/// What there is to tell about one recipient.
#[derive(Debug, Clone)]
pub struct Notice {
    pub waiting: Waiting,
    news: News,
    last: Option<Last>,
}

#[derive(Debug, Clone)]
pub enum News {
    Failed(Failure),
    /// Not delivered yet, and tried on.
    Delayed(Outlook),
    /// Not delivered yet, and not tried while an operator holds it; with the time by which the sender
    /// wanted it delivered, where that has just passed (RFC 2852, mode N).
    Held(Option<Timestamp>),
    /// In the mailbox.
    Delivered,
    /// With a server that tells the sender nothing.
    Relayed,
}

/// How it came to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// By the last answer.
    Refused,
    /// It was tried for this long.
    GivenUp(Duration),
    /// The sender did not want it delivered after this time (RFC 2852, mode R).
    Expired(Timestamp),
    /// By an operator, who may have said why.
    Cancelled(Option<String>),
    /// This was found in it.
    Caught(String),
    /// This was found once it had been let through: an attempt may have come first, and nobody knows.
    CaughtLate(String),
}

/// What comes next for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// By when the sender wanted it delivered, where that has just passed (RFC 2852, mode N).
    pub overdue: Option<Timestamp>,
    /// `None`: as soon as its turn comes.
    pub next: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// What is known of the last attempt.
#[derive(Debug, Clone)]
pub struct Last {
    pub cause: Cause,
    /// It may have been delivered.
    pub(super) is_unsure: bool,
    hop: Option<Arc<str>>,
    at: Option<Timestamp>,
}

/// One report tells one kind of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failure,
    Delay,
    Success,
}

/// How much of the original's header section a report carries.
const HEADERS: usize = 32 * 1024;
/// The largest message that is returned whole where RET=FULL asks for it; of a larger one the header
/// section is returned, as RFC 3461 §4.3 leaves to the server.
const WHOLE: usize = 1024 * 1024;
/// RFC 2046 §5.1.1.
const LONGEST_BOUNDARY: usize = 70;
/// RFC 5322 §2.1.1, without CRLF.
const LINE: usize = 998;
/// How much of a hop's words fits a line of the report (RFC 5322 §2.1.1 allows 998).
const WORDS: usize = 400;
/// How the last reply of a recipient begins that may have been delivered.
pub(super) const POSSIBLY: &str = "possibly delivered: ";

impl Kind {
    pub const ALL: [Self; REPORTS] = [Self::Failure, Self::Delay, Self::Success];

    const fn reference(self, names: [Reference; REPORTS]) -> Reference {
        let [failure, delay, success] = names;
        match self {
            Self::Failure => failure,
            Self::Delay => delay,
            Self::Success => success,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Failure => "failed",
            Self::Delay => "is late",
            Self::Success => "was delivered",
        }
    }
}

impl Notice {
    pub const fn new(waiting: Waiting, news: News, last: Option<Last>) -> Self {
        Self {
            waiting,
            news,
            last,
        }
    }

    pub const fn kind(&self) -> Kind {
        match self.news {
            News::Failed(_) => Kind::Failure,
            News::Delayed(_) | News::Held(_) => Kind::Delay,
            News::Delivered | News::Relayed => Kind::Success,
        }
    }

    /// RFC 3461 §4.1. What is told of a success was asked for.
    pub fn is_wanted(&self) -> bool {
        let wishes = &self.waiting.wishes;
        match self.kind() {
            Kind::Failure => wishes.wants_failure(),
            Kind::Delay => wishes.wants_delay(),
            Kind::Success => true,
        }
    }

    /// Whether it may have been delivered in the last attempt.
    fn is_unsure(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.is_unsure)
    }

    /// What has no verdict, or a bad one, goes to nobody, and not back to its sender either.
    fn is_known_to_be_clean(&self) -> bool {
        let is_caught = matches!(
            self.news,
            News::Failed(Failure::Caught(_) | Failure::CaughtLate(_))
        );
        let is_open = matches!(self.waiting.state, State::Unscanned | State::Quarantined);
        // Of what was cancelled or held the row of its scan tells it.
        let is_clean = !self.waiting.awaits_scan && self.waiting.waiver.is_none();
        !is_caught && !is_open && is_clean
    }

    /// An operator holds it.
    const fn is_held(&self) -> bool {
        matches!(self.news, News::Held(_))
    }

    fn answer(&self) -> Option<&Answer> {
        match &self.last.as_ref()?.cause {
            Cause::Said(answer) => Some(answer),
            Cause::Found(_) | Cause::Unfit { .. } => None,
        }
    }
}

impl Last {
    pub fn of(attempt: &Attempt, waiting: &Waiting, at: Timestamp) -> Self {
        let is_unsure =
            waiting.is_doubtful || matches!(attempt.outcome, Outcome::PossiblyDelivered(_));
        let cause = match &attempt.outcome {
            Outcome::Delivered(answer) => Cause::Said(answer.clone()),
            Outcome::Deferred(cause)
            | Outcome::Failed(cause)
            | Outcome::PossiblyDelivered(cause) => cause.clone(),
        };
        Self {
            cause,
            is_unsure,
            hop: attempt.hop.clone(),
            at: Some(at),
        }
    }

    /// As the recipient's row tells it, where no attempt was made just now.
    pub fn remembered(waiting: &Waiting) -> Option<Self> {
        let words = match waiting.last_reply.as_deref()? {
            // No attempt was made since; that an earlier one may have delivered it is known all the same.
            words if scanning::tells_of_a_scan(words) => waiting.is_doubtful.then_some(""),
            words => of_the_last_attempt(words),
        }?;
        Some(Self {
            cause: why::read(words.strip_prefix(POSSIBLY).unwrap_or(words)),
            is_unsure: waiting.is_doubtful,
            hop: None,
            at: None,
        })
    }
}

/// The report on one message; or why there is none.
pub fn written(
    kind: Kind,
    notices: &[Notice],
    occasion: &Occasion<'_>,
) -> Result<NewMessage, String> {
    let first = notices.first().ok_or("there is nothing to tell")?;
    // RFC 5321 §6.1: never a report on a report.
    let sender = first.waiting.sender.as_ref();
    let sender = sender.ok_or("the message has the null sender")?;
    let room = occasion
        .table
        .room_of(sender.domain())
        .ok_or_else(|| format!("{sender} is outside the registered rooms, and nothing leaves"))?;
    let letter = Letter {
        kind,
        notices,
        first: &first.waiting,
        sender,
        reference: kind.reference(occasion.reports),
        occasion,
    };
    Ok(letter.addressed_to(&room.id))
}

/// One report while it is written.
struct Letter<'a> {
    kind: Kind,
    notices: &'a [Notice],
    first: &'a Waiting,
    sender: &'a Address,
    reference: Reference,
    occasion: &'a Occasion<'a>,
}

impl Letter<'_> {
    fn addressed_to(&self, room: &RoomId) -> NewMessage {
        let now = self.occasion.now;
        let bytes = self.written();
        NewMessage {
            reference: self.reference,
            accepted_at: now,
            sender: None,
            sender_room: None,
            client: String::new(),
            smtputf8: self.speaks_utf8(),
            eight_bit: false, // so that a home server that knows only ASCII gets it too
            terms: Terms {
                priority: self.first.terms.priority,
                ..Terms::default()
            },
            facts: Facts {
                subject: Some(self.subject()),
                message_id: Some(self.message_id()),
                attachments: Vec::new(),
            },
            recipients: vec![NewRecipient {
                address: self.sender.clone(),
                room: room.clone(),
                // RFC 3461 §6.1: no server is to report on a report.
                wishes: Wishes {
                    notify: Some(Notify::NEVER),
                    original: None,
                },
                state: State::Queued,
                reason: None,
                waiver: None,
                next_attempt_at: now,
                // Nobody is told that a report is late.
                look_at: now.after(self.occasion.schedule.give_up_after),
                leased_until: now,
            }],
            events: vec![self.acceptance(room, bytes.len())],
            left_out: Vec::new(),
            scan: None,
            content: Content {
                trace: bytes::Bytes::new(),
                bytes: bytes.into(),
            },
        }
    }

    fn acceptance(&self, room: &RoomId, size: usize) -> Event {
        let terms = &self.first.terms;
        Event {
            reference: self.reference,
            at: self.occasion.now,
            kind: EventKind::Accepted,
            recipient: Some(self.sender.clone()),
            details: Details {
                room: Some(room.to_string()),
                rule: Some("report to the sender".into()),
                revision: Some(self.occasion.table.revision()),
                size: u64::try_from(size).ok(),
                reason: Some(format!("{} {}", self.first.id.reference, self.kind.word())),
                priority: urgency(terms.priority),
                ..Details::default()
            },
        }
    }

    /// The whole message, as bytes with CRLF.
    fn written(&self) -> Vec<u8> {
        let hostname = &self.occasion.letterhead.hostname;
        let mut builder = MessageBuilder::new()
            .from(Mailbox::new_address(
                Some("Ilbud"),
                format!("MAILER-DAEMON@{hostname}"),
            ))
            .to(Mailbox::new_address(None::<&str>, self.sender.wire()))
            .subject(self.subject())
            .header("Date", Raw::new(self.occasion.now.rfc5322()))
            .message_id(self.message_id())
            .header("Auto-Submitted", Raw::new("auto-replied")); // RFC 3834 §5
        if let Some(original) = self.original_id() {
            builder = builder.in_reply_to(original.clone()).references(original);
        }
        let mut bytes = Vec::new();
        builder.body(self.parts()).serialize(&mut bytes);
        bytes
    }

    /// RFC 8689 §5: what quotes a message that asked for REQUIRETLS must be guarded like it. Servers
    /// that promise that are rare, and a report that finds none would tell nobody; so it quotes
    /// nothing, and goes as any other.
    const fn is_redacted(&self) -> bool {
        self.first.terms.require_tls
    }

    fn original_id(&self) -> Option<String> {
        let id = self.first.message_id.as_deref();
        let id = id.filter(|_| !self.is_redacted())?;
        let bare = id.trim().trim_start_matches('<').trim_end_matches('>');
        let sound = bare.len() < 250 && bare.bytes().all(|octet| octet.is_ascii_graphic());
        (sound && !bare.is_empty()).then(|| bare.to_owned())
    }

    /// Made of its own reference, by which a report is known for what it is.
    fn message_id(&self) -> String {
        let hostname = &self.occasion.letterhead.hostname;
        format!("{}@{hostname}", self.reference)
    }

    /// Whether it needs SMTPUTF8 on its way in any case, so that other addresses may stand in it as
    /// they are. For their sake alone it does not: it must get home.
    fn speaks_utf8(&self) -> bool {
        self.sender.needs_smtputf8()
    }

    fn parts(&self) -> MimePart<'static> {
        let kind = ContentType::new("multipart/report")
            .attribute("report-type", "delivery-status")
            .attribute("boundary", self.boundary());
        let human = MimePart::new(
            ContentType::new("text/plain").attribute("charset", "utf-8"),
            BodyPart::Text(self.human().into()),
        );
        let returned = (!self.is_redacted()).then(|| self.returned_part());
        let parts = [Some(human), Some(self.machine_part()), returned];
        MimePart::new(kind, parts.into_iter().flatten().collect::<Vec<_>>())
    }

    /// A line that stands nowhere in the message, whatever its author thought of.
    fn boundary(&self) -> String {
        let mut boundary = format!("report-{}", self.reference);
        let stands = |boundary: &str| {
            let bytes = self.occasion.content.map(|content| &content.bytes[..]);
            let mut places = bytes.unwrap_or_default().windows(boundary.len());
            places.any(|place| place == boundary.as_bytes())
        };
        while boundary.len() < LONGEST_BOUNDARY && stands(&boundary) {
            boundary.push('-');
        }
        boundary
    }

    fn machine_part(&self) -> MimePart<'static> {
        let (kind, encoding) = if self.speaks_utf8() {
            ("message/global-delivery-status", "8bit")
        } else {
            ("message/delivery-status", "7bit")
        };
        MimePart::new(
            ContentType::new(kind),
            BodyPart::Binary(self.machine().into_bytes().into()),
        )
        .transfer_encoding(encoding)
    }

    /// The message itself, or its header section (RFC 3461 §4.3).
    fn returned_part(&self) -> MimePart<'static> {
        let Some(content) = self.occasion.content else {
            return headers_part(Vec::new());
        };
        let is_whole = self.kind == Kind::Failure
            && self.first.terms.ret == Some(Return::Full)
            && content.len() <= WHOLE
            && self.notices.iter().all(Notice::is_known_to_be_clean)
            && is_sound(&content.bytes);
        if is_whole {
            whole_part(content, self.first.smtputf8)
        } else {
            headers_part(sound(&header_section(content, HEADERS)))
        }
    }
}

fn headers_part(headers: Vec<u8>) -> MimePart<'static> {
    MimePart::new(
        ContentType::new("text/rfc822-headers"),
        BodyPart::Binary(headers.into()),
    )
}

fn whole_part(content: &Content, is_utf8: bool) -> MimePart<'static> {
    // RFC 6533 §4: a message with addresses beyond ASCII is `message/global`.
    let kind = if is_utf8 && !content.bytes.is_ascii() {
        "message/global"
    } else {
        "message/rfc822"
    };
    let bytes = [&content.trace[..], &content.bytes[..]].concat();
    // RFC 2046 §5.2.1: a message within a message is never encoded.
    let encoding = if bytes.is_ascii() { "7bit" } else { "8bit" };
    MimePart::new(ContentType::new(kind), BodyPart::Binary(bytes.into()))
        .transfer_encoding(encoding)
}

/// Whether servers take it as it is (RFC 5321 §2.3.7, RFC 5322 §2.1.1): a report must not be refused
/// for what it quotes.
fn is_sound(bytes: &[u8]) -> bool {
    let odd = |octet: &u8| matches!(octet, 0 | b'\r' | b'\n');
    let mut lines = bytes.split_inclusive(|octet| *octet == b'\n');
    lines.all(|line| {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        line.len() <= LINE && !line.iter().any(odd)
    })
}

/// The same lines, with `?` for what no server takes.
fn sound(bytes: &[u8]) -> Vec<u8> {
    let plain = |octet: &u8| match octet {
        0 | b'\r' | b'\n' => b'?',
        other => *other,
    };
    let mut text = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                text.extend(line.iter().map(plain));
                text.extend(b"\r\n");
            }
            None => text.extend(line.iter().map(plain)),
        }
    }
    text
}

/// One line without control characters, cut where it grows long.
fn one_line(text: &str) -> String {
    let plain = text.chars().take(WORDS);
    plain
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
