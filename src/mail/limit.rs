//! Who is limited, in what, and what a limit that is reached says of itself.
//!
//! Plain values, shared by the dialogue, which asks and answers, and by the limits, which count.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::{Origin, Priority, RoomId};

/// A workstation as it is told from others: by the strongest proof that it gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Workstation {
    /// It has logged in.
    User(String),
    /// A name in its certificate, by which the table knows it.
    Certificate(String),
    Address(IpAddr),
}

impl fmt::Display for Workstation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Certificate(name) => write!(f, "certificate {name:?}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Whether a message is urgent enough for the reserve, as far as is known at MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    Urgent,
    Routine,
    /// Its header fields may yet say so.
    Unsaid,
}

impl Urgency {
    /// Of a priority that was granted.
    pub fn of(granted: Priority) -> Self {
        match granted >= Priority::HIGH {
            true => Self::Urgent,
            false => Self::Routine,
        }
    }

    /// Of what MAIL asks for, where this much may be granted.
    pub fn asked(asked: Option<Priority>, ceiling: Priority) -> Self {
        match asked {
            None if ceiling >= Priority::HIGH => Self::Unsaid,
            None => Self::Routine,
            Some(asked) => Self::of(asked.min(ceiling)),
        }
    }

    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Urgent)
    }
}

/// Somebody asks to send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub origin: Origin,
    pub workstation: Workstation,
    pub urgency: Urgency,
    /// What MAIL announced.
    pub octets: u64,
    /// Its room does not know it, and lets it pass.
    pub is_stranger: bool,
}

/// A message that has come in, complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    pub urgency: Urgency,
    pub recipients: u64,
    pub octets: u64,
}

/// Whose sending is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Account {
    Workstation(Workstation),
    Room(RoomId),
    /// All that pass as this room without being known to it; they have a rate like a room's.
    Strangers(RoomId),
    Gateway(String),
}

impl Account {
    /// `workstation`, `room` or `gateway`, as in the settings.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Workstation(_) => "workstation",
            Self::Room(_) | Self::Strangers(_) => "room",
            Self::Gateway(_) => "gateway",
        }
    }
}

/// `workstation 127.0.1.9`
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Workstation(it) => write!(f, "{kind} {it}"),
            Self::Room(it) => write!(f, "{kind} {it}"),
            Self::Strangers(room) => write!(f, "strangers of {room}"),
            Self::Gateway(it) => write!(f, "{kind} {it}"),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    Messages,
    Recipients,
    Bytes,
}

impl Counted {
    pub const ALL: [Self; 3] = [Self::Messages, Self::Recipients, Self::Bytes];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Recipients => "recipients",
            Self::Bytes => "bytes",
        }
    }

    /// The table of the settings that limits it, below `limits`.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Messages => "rates",
            Self::Recipients => "recipient_rates",
            Self::Bytes => "byte_rates",
        }
    }
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverLimit {
    pub counted: Counted,
    pub account: Account,
    /// As written: `120/min`, `200 MiB/min`.
    pub rate: String,
    /// The reserve for urgent mail is used up as well.
    pub urgent: bool,
    pub wait: Duration,
}

/// For the log: `limits.rates: more than 120/min messages from workstation 127.0.1.9`.
impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, rate, what) = (self.counted.setting(), &self.rate, self.counted.word());
        let from = &self.account;
        write!(f, "limits.{setting}: more than {rate} {what} from {from}")?;
        match self.urgent {
            true => f.write_str(", the reserve for urgent mail included"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_is_what_may_be_and_says_so() {
        let level = |it| Priority::new(it).unwrap_or_default();
        for (asked, ceiling, expected) in [
            (Some(4), 4, Urgency::Urgent),
            (Some(9), 4, Urgency::Urgent),
            (Some(9), 3, Urgency::Routine),
            (Some(3), 9, Urgency::Routine),
            (Some(-4), 4, Urgency::Routine),
            (None, 4, Urgency::Unsaid),
            (None, 3, Urgency::Routine),
        ] {
            let found = Urgency::asked(asked.map(level), level(ceiling));
            assert_eq!(found, expected, "{asked:?} below {ceiling}");
        }
    }
}
