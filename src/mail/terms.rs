//! What a sender asks for beside the transport itself: how urgent, by when, how guarded, and what to
//! be told.
//!
//! Plain values and their words on the wire (RFC 6710, RFC 2852, RFC 8689, RFC 3461). Nothing here
//! decides whether a wish is granted; a word that is not understood is `Err(())`, and whoever reads
//! it has a reply for that.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// How urgent a message is, from -9 to 9 (RFC 6710 §2). More than 0 is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i8);

impl Priority {
    pub const ROUTINE: Self = Self(0);
    /// What `X-Priority: 1`, `Importance: high` and `Priority: urgent` mean, and the most that a room
    /// may ask for where its table says nothing else.
    pub const HIGH: Self = Self(4);
    pub const MOST_URGENT: Self = Self(Self::MOST);
    const MOST: i8 = 9;

    /// `None` beyond -9 to 9.
    pub const fn new(level: i8) -> Option<Self> {
        if level >= -Self::MOST && level <= Self::MOST {
            Some(Self(level))
        } else {
            None
        }
    }

    pub const fn level(self) -> i8 {
        self.0
    }

    pub const fn is_urgent(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What becomes of a message that is not delivered in time (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `R`: it fails, and is not delivered later.
    Return,
    /// `N`: the sender is told, and it is tried on.
    Notify,
}

/// By when a message is to be delivered (RFC 2852).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    pub at: Timestamp,
    pub mode: ByMode,
    /// `T`: each relay on the way reports that it passed it on.
    pub trace: bool,
}

/// How much of the message a failure report carries (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Return {
    Full,
    Headers,
}

impl Return {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

impl FromStr for Return {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Full, Self::Headers]
            .into_iter()
            .find(|it| it.word().eq_ignore_ascii_case(word))
            .ok_or(())
    }
}

/// Of what a sender wants to be told about one recipient (RFC 3461 §4.1). None of them: `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    pub const NEVER: Self = Self {
        success: false,
        failure: false,
        delay: false,
    };
}

/// `NEVER`, or `SUCCESS,FAILURE,DELAY` as far as they are wanted.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let wanted: Vec<&str> = words.iter().filter(|it| it.0).map(|it| it.1).collect();
        match wanted.is_empty() {
            true => f.write_str("NEVER"),
            false => f.write_str(&wanted.join(",")),
        }
    }
}

impl FromStr for Notify {
    type Err = ();

    fn from_str(words: &str) -> Result<Self, ()> {
        if words.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::NEVER);
        }
        words.split(',').try_fold(Self::NEVER, |wanted, word| {
            Ok(match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => Self {
                    success: true,
                    ..wanted
                },
                "FAILURE" => Self {
                    failure: true,
                    ..wanted
                },
                "DELAY" => Self {
                    delay: true,
                    ..wanted
                },
                _ => return Err(()),
            })
        })
    }
}

/// What is asked for a message as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// As granted: never above the ceiling of whoever sent it.
    pub priority: Priority,
    /// Never in plain text, nor to a server that does not promise the same (RFC 8689).
    pub require_tls: bool,
    pub deliver_by: Option<DeliverBy>,
    pub ret: Option<Return>,
    /// ENVID, in xtext as it came (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
}

/// What is asked for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wishes {
    /// `None`: nothing was said, so failures and delays are told (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT as it came: `rfc822;` and xtext (RFC 3461 §4.2).
    pub original: Option<String>,
}

impl Wishes {
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|it| it.success)
    }

    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|it| it.failure)
    }

    pub fn wants_delay(&self) -> bool {
        self.notify.is_none_or(|it| it.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_read_and_written() {
        for (text, expected) in [
            ("NEVER", Ok("NEVER")),
            ("never", Ok("NEVER")),
            ("SUCCESS", Ok("SUCCESS")),
            ("delay,Failure", Ok("FAILURE,DELAY")),
            ("SUCCESS,FAILURE,DELAY", Ok("SUCCESS,FAILURE,DELAY")),
            ("FAILURE,FAILURE", Ok("FAILURE")),
            ("NEVER,SUCCESS", Err(())),
            ("", Err(())),
            ("SUCCESS,", Err(())),
            ("ALWAYS", Err(())),
        ] {
            let read = text.parse::<Notify>().map(|it| it.to_string());
            assert_eq!(read.as_deref().map_err(|()| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn priorities_have_an_end() {
        for (level, expected) in [
            (-10, None),
            (-9, Some(-9)),
            (0, Some(0)),
            (9, Some(9)),
            (10, None),
        ] {
            assert_eq!(Priority::new(level).map(Priority::level), expected);
        }
        assert!(Priority::HIGH.is_urgent() && !Priority::ROUTINE.is_urgent());
    }

    #[test]
    fn what_is_not_said_means_failures_and_delays() {
        let wishes = |notify| Wishes {
            notify,
            original: None,
        };
        let told = |it: &Wishes| (it.wants_success(), it.wants_failure(), it.wants_delay());
        assert_eq!(told(&wishes(None)), (false, true, true));
        assert_eq!(told(&wishes(Some(Notify::NEVER))), (false, false, false));
    }
}
