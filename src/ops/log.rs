//! The delivery log as people read it: what they type, made into a search.

use std::fmt;
use std::time::Duration;

use crate::document::duration;
use crate::mail::{Address, Domain, LocalFault, Reference, State, Timestamp};

/// A status to search for: a recipient's state, or `refused`.
pub fn status(word: &str) -> Result<String, String> {
    let word = word.to_lowercase();
    let known = || {
        State::ALL
            .iter()
            .map(|state| state.word())
            .chain(["refused"])
    };
    if known().any(|it| it == word) {
        return Ok(word);
    }
    let all = known().collect::<Vec<_>>().join(", ");
    Err(format!("no status is called {word:?}; there are: {all}"))
}

/// An address, or a part of one, in the form in which the log keeps it: domains as U-labels.
pub fn address(typed: &str) -> String {
    if let Ok(address) = typed.parse::<Address>() {
        return address.to_string();
    }
    let (local, domain) = typed
        .rsplit_once('@')
        .map_or(("", typed), |(local, it)| (local, it));
    match Domain::parse(domain) {
        Ok(domain) if typed.contains("xn--") && typed.contains('@') => {
            format!("{local}@{}", domain.unicode())
        }
        Ok(domain) if typed.contains("xn--") => domain.unicode(),
        _ => typed.to_owned(),
    }
}

/// A Message-ID or a word as people paste it, without the angle brackets round it.
pub fn bare(typed: &str) -> String {
    let inner = typed.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    inner
        .filter(|it| !it.is_empty())
        .unwrap_or(typed)
        .to_owned()
}

/// A reference is made before its message is accepted, and never a day before.
pub fn first_reference(since: Timestamp) -> Reference {
    Reference::first_at(since.before(Duration::from_secs(86_400)))
}

/// A moment as people type it: RFC 3339, `2026-11-22 14:00` or `2026-11-22` in local time, or how
/// long ago it was: `30m`, `2h`, `7d`.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, MomentFault> {
    if let Some(length) = duration(text) {
        return Ok(now.before(length));
    }
    text.parse()
        .or_else(|_| Timestamp::from_local(text))
        .map_err(|fault| match fault {
            LocalFault::Unread => MomentFault::Unread(text.to_owned()),
            fault => MomentFault::Local(fault),
        })
}

/// The text names no moment, or more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MomentFault {
    Unread(String),
    Local(LocalFault),
}

impl fmt::Display for MomentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(text) => write!(
                f,
                "{text:?} is no time; write 2h (ago), 2026-11-22, \"2026-11-22 14:00\" or 2026-11-22T14:00:00+01:00"
            ),
            Self::Local(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for MomentFault {}

/// A reference as typed, or what is wrong with it.
pub fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|fault| format!("{text:?}: {fault}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn moments_are_read_as_people_type_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (typed, meant) in [
            ("2h", "2026-11-22T10:00:00Z"),
            ("90s", "2026-11-22T11:58:30Z"),
            ("30 min", "2026-11-22T11:30:00Z"),
            ("1d", "2026-11-21T12:00:00Z"),
            ("2026-11-22T11:00:00+01:00", "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(moment(typed, now), Ok(meant.parse().unwrap()), "{typed}");
        }
        for typed in ["", "h", "-2h", "tomorrow", "2026-13-01"] {
            assert_eq!(
                moment(typed, now),
                Err(MomentFault::Unread(typed.to_owned()))
            );
        }
    }

    #[test]
    fn an_address_is_sought_as_it_is_kept() {
        for (typed, sought) in [
            ("vakt@xn--bt-yia.nodnett.test", "vakt@båt.nodnett.test"),
            ("@xn--bt-yia.nodnett.test", "@båt.nodnett.test"),
            ("xn--bt-yia.nodnett.test", "båt.nodnett.test"),
            ("vakt@b", "vakt@b"),
            ("vakt", "vakt"),
            ("leder@", "leder@"),
        ] {
            assert_eq!(address(typed), sought, "{typed}");
        }
    }

    #[test]
    fn a_status_is_a_state_or_refused() {
        assert_eq!(status("Refused"), Ok("refused".to_owned()));
        assert_eq!(status("delivered"), Ok("delivered".to_owned()));
        assert!(status("sent").unwrap_err().contains("delivered"));
    }
}
