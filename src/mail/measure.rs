//! What a named person has put in force for a while: a block, a hold on attachments, an exception
//! from scanning. Each has a number to be called by, an end, and a reference of its own in the log.

use std::fmt;

use super::event::words;
use super::{Details, Event, EventKind, Reference, RoomId, Timestamp};

words! {
    /// What is delivered although it was not scanned, for as long as an exception lasts.
    Scope {
        /// Messages without attachments.
        Text = "text",
        Everything = "everything",
    }
}

/// What a measure is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// A file with this SHA-256 is blocked, in lower-case hex.
    Hash(String),
    /// A file whose name fits this pattern is.
    File(String),
    /// A message in whose subject this stands is.
    Subject(String),
    /// A message of this address, or of anybody in a domain (`@x.test`), is.
    Sender(String),
    /// Messages with attachments wait: those of and to one room, or all of them.
    HoldAttachments(Option<RoomId>),
    /// What cannot be scanned is delivered all the same.
    Exception(Scope),
}

impl Aim {
    /// The word for its kind, in the store and in listings.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hash(_) => "hash",
            Self::File(_) => "file",
            Self::Subject(_) => "subject",
            Self::Sender(_) => "sender",
            Self::HoldAttachments(_) => "hold-attachments",
            Self::Exception(_) => "exception",
        }
    }

    /// The hash, pattern, words, sender, room or scope.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Hash(it) | Self::File(it) | Self::Subject(it) | Self::Sender(it) => Some(it),
            Self::HoldAttachments(room) => room.as_ref().map(RoomId::as_str),
            Self::Exception(scope) => Some(scope.word()),
        }
    }

    /// What [`Aim::kind`] and [`Aim::value`] said.
    pub fn from_words(kind: &str, value: Option<&str>) -> Option<Self> {
        let text = value.map(str::to_owned);
        match kind {
            "hash" => text.map(Self::Hash),
            "file" => text.map(Self::File),
            "subject" => text.map(Self::Subject),
            "sender" => text.map(Self::Sender),
            "hold-attachments" => Some(Self::HoldAttachments(value.map(RoomId::new))),
            "exception" => value?.parse().ok().map(Self::Exception),
            _ => None,
        }
    }

    pub const fn is_exception(&self) -> bool {
        matches!(self, Self::Exception(_))
    }
}

/// `block file *.scr`
impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(it) | Self::File(it) | Self::Subject(it) | Self::Sender(it) => {
                write!(f, "block {} {it}", self.kind())
            }
            Self::HoldAttachments(None) => f.write_str("hold attachments"),
            Self::HoldAttachments(Some(room)) => write!(f, "hold attachments of {room}"),
            Self::Exception(Scope::Text) => f.write_str("deliver text unscanned"),
            Self::Exception(Scope::Everything) => f.write_str("deliver everything unscanned"),
        }
    }
}

/// Why something goes out that no scan found clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiver {
    /// For as long as this exception lasts.
    Exception(u64),
    /// A named person let it out, and said why.
    Person,
}

impl Waiver {
    pub const fn exception(self) -> Option<u64> {
        match self {
            Self::Exception(number) => Some(number),
            Self::Person => None,
        }
    }
}

/// That somebody ended it before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    pub at: Timestamp,
    pub by: String,
}

/// A measure, in force or not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// From 1, in the order in which they were opened.
    pub number: u64,
    /// Its name in the log.
    pub reference: Reference,
    pub aim: Aim,
    pub opened_at: Timestamp,
    /// An operator's login name.
    pub by: String,
    pub reason: Option<String>,
    /// It ends by itself.
    pub until: Timestamp,
    pub closed: Option<Closing>,
}

impl Measure {
    /// Where the clock was set back, what is forbidden stays so, and what was let through waits.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        let has_begun = !self.aim.is_exception() || self.opened_at <= now;
        self.closed.is_none() && has_begun && now < self.until
    }

    /// `in force`, `expired` or `ended`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match &self.closed {
            Some(_) => "ended",
            None if now < self.until => "in force",
            None => "expired",
        }
    }

    /// The event that it was opened.
    pub fn opened(&self) -> Event {
        let kind = match self.aim.is_exception() {
            true => EventKind::ExceptionOpened,
            false => EventKind::MeasureOpened,
        };
        let mut event = self.event(kind, self.opened_at, &self.by);
        event.details.until = Some(self.until.to_string());
        event.details.reason.clone_from(&self.reason);
        event
    }

    /// The event that it was closed.
    pub fn closed(&self, closing: &Closing) -> Event {
        let kind = match self.aim.is_exception() {
            true => EventKind::ExceptionClosed,
            false => EventKind::MeasureClosed,
        };
        self.event(kind, closing.at, &closing.by)
    }

    fn event(&self, kind: EventKind, at: Timestamp, by: &str) -> Event {
        let room = match &self.aim {
            Aim::HoldAttachments(room) => room.as_ref().map(RoomId::to_string),
            _ => None,
        };
        Event {
            reference: self.reference,
            at,
            kind,
            recipient: None,
            details: Details {
                measure: Some(self.aim.to_string()),
                room,
                by: Some(by.to_owned()),
                ..Details::default()
            },
        }
    }
}
