//! A rate as it is written: `120/min`, or `200 MiB/min` for bytes.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::document;

/// Counted in KiB, so that 32 bits are enough.
const KIB: u64 = 1024;
const MOST: u64 = 1_000_000;
const MOST_BYTES: u64 = 100 << 30;

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub(super) count: NonZeroU32,
    pub(super) period: Period,
    pub(super) unit: Unit,
}

/// What is counted: each one, or each KiB that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Each,
    KiB,
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
    /// `200 MiB/min`
    pub fn of_bytes(text: &str) -> Result<Self, ByteRateFault> {
        let (size, period) = split(text).ok_or(ByteRateFault)?;
        let octets = document::size(size).filter(|it| (KIB..=MOST_BYTES).contains(it));
        let count = octets.and_then(|it| u32::try_from(it / KIB).ok());
        Ok(Self {
            count: count.and_then(NonZeroU32::new).ok_or(ByteRateFault)?,
            period,
            unit: Unit::KiB,
        })
    }

    /// What passes at once, in units.
    pub(super) const fn size(self) -> NonZeroU32 {
        self.count
    }

    /// For one unit more.
    pub(super) fn every(self) -> Duration {
        (self.period.length() / self.count.get()).max(Duration::from_nanos(1))
    }

    /// So many, or so many bytes, in units.
    pub(super) const fn units(self, amount: u64) -> u64 {
        match self.unit {
            Unit::Each => amount,
            Unit::KiB => amount.div_ceil(KIB),
        }
    }

    /// A part of what passes at once, in units.
    pub(super) fn share(self, percent: u8) -> u64 {
        u64::from(self.count.get()) * u64::from(percent) / 100
    }

    /// Whether it lets more pass than `other`, at once or in the long run.
    pub(super) fn exceeds(self, other: Self) -> bool {
        self.count > other.count || self.every() < other.every()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, period) = (self.count.get(), self.period.word());
        match self.unit {
            Unit::Each => write!(f, "{count}/{period}"),
            Unit::KiB if count % (1 << 20) == 0 => write!(f, "{} GiB/{period}", count >> 20),
            Unit::KiB if count % (1 << 10) == 0 => write!(f, "{} MiB/{period}", count >> 10),
            Unit::KiB => write!(f, "{count} KiB/{period}"),
        }
    }
}

/// What stands before the slash, and the period behind it.
fn split(text: &str) -> Option<(&str, Period)> {
    let (amount, word) = text.split_once('/')?;
    let mut periods = Period::ALL.into_iter();
    let period = periods.find(|period| period.word() == word.trim())?;
    Some((amount.trim(), period))
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

/// The text is no rate of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRateFault;

impl fmt::Display for ByteRateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a rate of bytes is written like \"200 MiB/min\": a size from 1 KiB to 100 GiB, then /s, /min or /h",
        )
    }
}

impl std::error::Error for ByteRateFault {}

impl FromStr for Rate {
    type Err = RateFault;

    fn from_str(text: &str) -> Result<Self, RateFault> {
        let (count, period) = split(text).ok_or(RateFault)?;
        let count: u32 = count.parse().map_err(|_| RateFault)?;
        if u64::from(count) > MOST {
            return Err(RateFault);
        }
        Ok(Self {
            count: NonZeroU32::new(count).ok_or(RateFault)?,
            period,
            unit: Unit::Each,
        })
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

    #[test]
    fn reads_and_prints_rates_of_bytes() {
        for (text, printed) in [
            ("200 MiB/min", Some("200 MiB/min")),
            ("1KiB / h", Some("1 KiB/h")),
            ("1.5 MiB/s", None),
            ("3 MB/s", Some("2929 KiB/s")),
            ("2048 MiB/s", Some("2 GiB/s")),
            ("100 GiB/s", Some("100 GiB/s")),
            ("101 GiB/s", None),
            ("1023 B/s", None),
            ("200 MiB", None),
            ("200/min", None),
            ("", None),
        ] {
            let rate = Rate::of_bytes(text).ok().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), printed, "{text:?}");
        }
    }

    #[test]
    fn more_is_more_at_once_or_in_the_long_run() {
        for (one, other, expected) in [
            ("120/min", "120/min", false),
            ("121/min", "120/min", true),
            ("3/s", "120/min", true),
            ("2/s", "120/min", false),
            ("1000/h", "120/min", true),
        ] {
            let [rate, than] = [one, other].map(|it| it.parse::<Rate>().unwrap());
            assert_eq!(rate.exceeds(than), expected, "{one} and {other}");
        }
    }
}
