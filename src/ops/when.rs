//! A moment to come, as people type it.

use std::fmt;
use std::time::Duration;

use crate::document::duration;
use crate::mail::{LocalFault, Timestamp};

/// `07:00`: the next time that a clock here shows it; `2h`: so long from now; or a date and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Clock(String),
    In(Duration),
    At(Timestamp),
}

/// The text names no moment, or more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhenFault {
    Unread(String),
    Local(LocalFault),
}

impl fmt::Display for WhenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(text) => write!(
                f,
                "{text:?} is no time; write 07:00 (the next), 2h (from now), \"2026-11-22 14:00\" or 2026-11-22T14:00:00+01:00"
            ),
            Self::Local(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for WhenFault {}

impl When {
    pub fn parse(text: &str) -> Result<Self, WhenFault> {
        if let Some(length) = duration(text) {
            return Ok(Self::In(length));
        }
        let clock = Timestamp::default().next_local(text);
        if clock != Err(LocalFault::Unread) {
            return Ok(Self::Clock(text.to_owned()));
        }
        let at = text.parse().or_else(|_| Timestamp::from_local(text));
        at.map(Self::At).map_err(|fault| match fault {
            LocalFault::Unread => WhenFault::Unread(text.to_owned()),
            fault => WhenFault::Local(fault),
        })
    }

    /// The moment, counted from `begin`. Clocks may go past a time of the day, or show it twice.
    pub fn after(&self, begin: Timestamp) -> Result<Timestamp, LocalFault> {
        match self {
            Self::Clock(text) => begin.next_local(text),
            Self::In(length) => Ok(begin.after(*length)),
            Self::At(at) => Ok(*at),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn moments_to_come_are_read_as_people_type_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (typed, meant) in [
            ("2h", "2026-11-22T14:00:00Z"),
            ("90s", "2026-11-22T12:01:30Z"),
            ("7d", "2026-11-29T12:00:00Z"),
            ("2026-11-22T14:00:00+01:00", "2026-11-22T13:00:00Z"),
        ] {
            let when = When::parse(typed).unwrap();
            assert_eq!(when.after(now), Ok(meant.parse().unwrap()), "{typed}");
        }
        let clock = When::parse("07:00").unwrap().after(now).unwrap();
        assert!(clock > now && clock <= now.after(Duration::from_secs(90_000)));
        assert_eq!(clock.local_parts().1, "07:00:00");
        let day = When::parse("2026-11-22").unwrap().after(now).unwrap();
        assert_eq!(day.local_parts(), ("2026-11-22".into(), "00:00:00".into()));
        for typed in ["", "h", "-2h", "tomorrow", "7", "25:00", "2026-13-01"] {
            let fault = WhenFault::Unread(typed.to_owned());
            assert_eq!(When::parse(typed), Err(fault), "{typed}");
        }
    }
}
