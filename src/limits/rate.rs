//! A rate as it is written: `120/min`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::Quota;

/// So many messages in such a time: `120/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub(super) count: NonZeroU32,
    pub(super) period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    const fn word(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

impl Rate {
    pub(super) fn quota(self) -> Option<Quota> {
        let every = self.period.length() / self.count.get();
        Some(Quota::with_period(every)?.allow_burst(self.count))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.word())
    }
}

/// The text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateFault;

impl fmt::Display for RateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a rate is written like \"120/min\": a number from 1 to 1000000, then /s, /min or /h",
        )
    }
}

impl std::error::Error for RateFault {}

impl FromStr for Rate {
    type Err = RateFault;

    fn from_str(text: &str) -> Result<Self, RateFault> {
        let (count, word) = text.split_once('/').ok_or(RateFault)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| RateFault)?;
        let period = Period::ALL
            .into_iter()
            .find(|period| period.word() == word.trim())
            .ok_or(RateFault)?;
        if count.get() > 1_000_000 {
            return Err(RateFault);
        }
        Ok(Self { count, period })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_and_prints_rates() {
        for (text, printed) in [
            ("120/min", Some("120/min")),
            ("1/s", Some("1/s")),
            (" 7 / h ", Some("7/h")),
            ("1000000/s", Some("1000000/s")),
            ("1000001/s", None),
            ("0/min", None),
            ("-1/min", None),
            ("120", None),
            ("120/", None),
            ("/min", None),
            ("120/day", None),
            ("", None),
        ] {
            let rate = text.parse::<Rate>().ok().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), printed, "{text:?}");
        }
    }
}
