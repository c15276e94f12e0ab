//! A moment to come, as people type it.

use std::fmt;
use std::time::Duration;

use crate::document::duration;
use crate::mail::Timestamp;

/// `07:00`: the next time that a clock here shows it; `2h`: so long from now; or a date and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Clock(String),
    In(Duration),
    At(Timestamp),
}

/// The text names no moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhenFault(String);

impl fmt::Display for WhenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no time; write 07:00 (the next), 2h (from now), \"2026-11-22 14:00\" or 2026-11-22T14:00:00+01:00",
            self.0
        )
    }
}

impl std::error::Error for WhenFault {}

impl When {
    pub fn parse(text: &str) -> Result<Self, WhenFault> {
        if let Some(length) = duration(text) {
            return Ok(Self::In(length));
        }
        if Timestamp::default().next_local(text).is_ok() {
            return Ok(Self::Clock(text.to_owned()));
        }
        let at = text.parse().or_else(|_| Timestamp::from_local(text));
        at.map(Self::At).map_err(|_| WhenFault(text.to_owned()))
    }

    /// The moment, counted from `begin`.
    pub fn after(&self, begin: Timestamp) -> Timestamp {
        match self {
            Self::Clock(text) => begin.next_local(text).unwrap_or(begin),
            Self::In(length) => begin.after(*length),
            Self::At(at) => *at,
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
            assert_eq!(when.after(now), meant.parse().unwrap(), "{typed}");
        }
        let clock = When::parse("07:00").unwrap().after(now);
        assert!(clock > now && clock <= now.after(Duration::from_secs(90_000)));
        assert_eq!(clock.local_parts().1, "07:00:00");
        let day = When::parse("2026-11-22").unwrap().after(now);
        assert_eq!(day.local_parts(), ("2026-11-22".into(), "00:00:00".into()));
        for typed in ["", "h", "-2h", "tomorrow", "7", "25:00", "2026-13-01"] {
            let fault = WhenFault(typed.to_owned());
            assert_eq!(When::parse(typed), Err(fault), "{typed}");
        }
    }
}
