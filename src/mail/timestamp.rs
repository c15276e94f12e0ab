//! A moment, to the millisecond, and the forms in which mail and people write it.
//!
//! The clock is read only by the shells (`Timestamp::now`); pure code is given the time. The crate
//! `jiff` lives here and nowhere else.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The wall clock. Only shells call this; pure code takes the moment as an argument.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment `length` later; far ends stop at the far end.
    pub fn after(self, length: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The moment `length` earlier.
    pub fn before(self, length: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero when the clock went back since.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `Sun, 22 Nov 2026 12:00:00 +0100`, in the zone of this machine (RFC 5322 §3.3).
    pub fn rfc5322(self) -> String {
        self.zoned()
            .strftime("%a, %d %b %Y %H:%M:%S %z")
            .to_string()
    }

    /// `22.11.2026 kl. 12:00:00` style parts for people: (`2026-11-22`, `12:00:00`) in local time.
    pub fn local_parts(self) -> (String, String) {
        let zoned = self.zoned();
        (
            zoned.strftime("%Y-%m-%d").to_string(),
            zoned.strftime("%H:%M:%S").to_string(),
        )
    }

    /// The zone that belongs beside [`Timestamp::local_parts`], where a reader in Norway would take them
    /// for another time: `UTC`, `UTC-5`, or `UTC+1` in the hour that comes twice when summer time ends.
    pub fn zone_mark(self) -> Option<String> {
        zone_mark(&self.zoned())
    }

    /// What calendar and clock here show.
    pub fn shown_here(self) -> Shown {
        let zoned = self.zoned();
        let begin = jiff::civil::date(1970, 1, 1);
        Shown {
            year: zoned.year(),
            month: zoned.month(),
            day: zoned.day(),
            days: zoned.date().duration_since(begin).as_hours() / 24,
            clock: zoned.strftime("%H:%M:%S").to_string(),
            zone: zone_mark(&zoned),
        }
    }

    /// `2026-11-22 12:00:00+01:00`: local time, and which one that is.
    pub fn local(self) -> String {
        self.zoned().strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
    }

    /// `2026-11-22 14:00`, with or without seconds, or `2026-11-22` (when that day begins), in local time.
    pub fn from_local(text: &str) -> Result<Self, LocalFault> {
        Self::from_local_in(text, &TimeZone::system())
    }

    fn from_local_in(text: &str, zone: &TimeZone) -> Result<Self, LocalFault> {
        if let Ok(civil) = text.parse::<DateTime>()
            && text.contains(':')
        {
            return moment(civil, zone);
        }
        let day: jiff::civil::Date = text.parse().map_err(|_| LocalFault::Unread)?;
        let begin = day.to_zoned(zone.clone()).map_err(|_| LocalFault::Unread)?;
        Ok(Self(begin.timestamp().as_millisecond()))
    }

    /// The next moment after this one at which a clock here shows `07:00`, with or without seconds.
    pub fn next_local(self, text: &str) -> Result<Self, LocalFault> {
        self.next_in(text, &TimeZone::system())
    }

    fn next_in(self, text: &str, zone: &TimeZone) -> Result<Self, LocalFault> {
        let is_clock =
            text.contains(':') && text.bytes().all(|it| it == b':' || it.is_ascii_digit());
        let text = match text.split_once(':') {
            Some((hour, _)) if hour.len() == 1 => format!("0{text}"),
            _ => text.to_owned(),
        };
        let time: Option<jiff::civil::Time> = text.parse().ok().filter(|_| is_clock);
        let time = time.ok_or(LocalFault::Unread)?;
        let here = jiff::Timestamp::from_millisecond(self.0).map_err(|_| LocalFault::Unread)?;
        let today = here.to_zoned(zone.clone()).date();
        let days = [Some(today), today.tomorrow().ok()];
        let moments = days.into_iter().flatten();
        let mut later = moments.filter_map(|day| self.next_of(day.to_datetime(time), zone));
        later.next().unwrap_or(Err(LocalFault::Unread))
    }

    /// The moment at which a clock shows this, unless it is over. The second of two is known once the first is.
    fn next_of(self, civil: DateTime, zone: &TimeZone) -> Option<Result<Self, LocalFault>> {
        let found = moment(civil, zone);
        let (first, last) = match &found {
            Ok(at) => (Some(*at), Some(*at)),
            Err(LocalFault::Unread) => (None, None),
            Err(LocalFault::Skipped { instead, .. }) => (Some(*instead), Some(*instead)),
            Err(LocalFault::Twice { first, second, .. }) => (Some(*first), Some(*second)),
        };
        if last.is_none_or(|it| it <= self) {
            return None;
        }
        match first.is_some_and(|it| it > self) {
            true => Some(found),
            false => last.map(Ok),
        }
    }

    fn zoned(self) -> jiff::Zoned {
        jiff::Timestamp::from_millisecond(self.0)
            .unwrap_or_default()
            .to_zoned(TimeZone::system())
    }
}

/// What calendar and clock show at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub year: i16,
    /// From 1.
    pub month: i8,
    pub day: i8,
    /// Since 1970 began: the day after has one more, however long the night was.
    pub days: i64,
    /// `14:02:11`
    pub clock: String,
    /// As in [`Timestamp::zone_mark`].
    pub zone: Option<String>,
}

/// When clocks in a zone show this.
fn moment(civil: DateTime, zone: &TimeZone) -> Result<Timestamp, LocalFault> {
    let found = zone.to_ambiguous_timestamp(civil);
    let at = |it: Result<jiff::Timestamp, jiff::Error>| {
        let it = it.map_err(|_| LocalFault::Unread)?;
        Ok(Timestamp(it.as_millisecond()))
    };
    let written = civil.strftime("%Y-%m-%d %H:%M").to_string();
    match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => at(found.compatible()),
        AmbiguousOffset::Gap { .. } => Err(LocalFault::Skipped {
            written,
            instead: at(found.later())?,
        }),
        AmbiguousOffset::Fold { .. } => Err(LocalFault::Twice {
            written,
            first: at(found.earlier())?,
            second: at(found.later())?,
        }),
    }
}

/// The time in Norway, by rule, so that it is known on a machine without a list of zones.
const NORWAY: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn zone_mark(local: &jiff::Zoned) -> Option<String> {
    let is_twice = local
        .time_zone()
        .to_ambiguous_timestamp(local.datetime())
        .is_ambiguous();
    let norway = TimeZone::posix(NORWAY).ok();
    let there = norway.map(|zone| zone.to_offset(local.timestamp()));
    if there == Some(local.offset()) && !is_twice {
        return None;
    }
    let minutes = local.offset().seconds() / 60;
    let (sign, length) = if minutes < 0 {
        ('-', -minutes)
    } else {
        ('+', minutes)
    };
    Some(match (length / 60, length % 60) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    })
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T11:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{moment:.3}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 3339 with an offset.
impl FromStr for Timestamp {
    type Err = TimestampFault;

    fn from_str(text: &str) -> Result<Self, TimestampFault> {
        text.parse::<jiff::Timestamp>()
            .map(|moment| Self(moment.as_millisecond()))
            .map_err(|_| TimestampFault)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampFault;

impl fmt::Display for TimestampFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is written like 2026-11-22T20:00:00+01:00")
    }
}

impl std::error::Error for TimestampFault {}

/// What clocks here show, or never do, is no one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalFault {
    /// It is no such text.
    Unread,
    /// Clocks are put forward past it.
    Skipped { written: String, instead: Timestamp },
    /// Clocks are put back to before it.
    Twice {
        written: String,
        first: Timestamp,
        second: Timestamp,
    },
}

impl LocalFault {
    /// The moment, or one an hour from it, for whom that is near enough.
    pub const fn about(&self) -> Option<Timestamp> {
        match self {
            Self::Unread => None,
            Self::Skipped { instead: it, .. } | Self::Twice { first: it, .. } => Some(*it),
        }
    }
}

impl fmt::Display for LocalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => TimestampFault.fmt(f),
            Self::Skipped { written, instead } => write!(
                f,
                "{written} never comes, since clocks here are put forward past it; write \"{}\"",
                instead.local()
            ),
            Self::Twice {
                written,
                first,
                second,
            } => write!(
                f,
                "{written} comes twice, since clocks here are put back; write \"{}\" or \"{}\"",
                first.local(),
                second.local()
            ),
        }
    }
}

impl std::error::Error for LocalFault {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn speaks_rfc_3339_in_utc() {
        let moment: Timestamp = "2026-11-22T20:00:00+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-11-22T19:00:00.000Z");
        assert_eq!("soon".parse::<Timestamp>(), Err(TimestampFault));
    }

    #[test]
    fn what_is_shown_here_is_what_the_parts_say() {
        let moment: Timestamp = "2026-03-28T22:30:00.700Z".parse().unwrap();
        for hours in 0..60 {
            let at = moment.after(Duration::from_secs(hours * 3_600));
            let shown = at.shown_here();
            let date = format!("{:04}-{:02}-{:02}", shown.year, shown.month, shown.day);
            assert_eq!((date, shown.clock), at.local_parts());
            assert_eq!(shown.zone, at.zone_mark());
            let begin = Timestamp::from_local(&at.local_parts().0).unwrap();
            let day = begin.shown_here().days;
            assert_eq!(shown.days, day, "{at}");
            let noon = begin.after(Duration::from_secs(36 * 3_600));
            assert_eq!(noon.shown_here().days, day + 1, "{at}");
        }
    }

    #[test]
    fn a_clock_shows_a_time_again() {
        let oslo = TimeZone::posix(NORWAY).unwrap();
        for (now, clock, next) in [
            ("2026-11-22T05:59:59Z", "07:00", "2026-11-22T06:00:00Z"),
            ("2026-11-22T06:00:00Z", "07:00", "2026-11-23T06:00:00Z"),
            ("2026-11-22T23:30:00Z", "00:15", "2026-11-23T23:15:00Z"),
            ("2026-11-22T23:30:00Z", "0:15", "2026-11-23T23:15:00Z"),
            ("2026-12-31T20:00:00Z", "07:00:30", "2027-01-01T06:00:30Z"),
            // The nights in which summer time begins and ends.
            ("2026-03-28T20:00:00Z", "07:00", "2026-03-29T05:00:00Z"),
            ("2026-10-24T20:00:00Z", "07:00", "2026-10-25T06:00:00Z"),
            ("2026-03-29T01:30:00Z", "02:30", "2026-03-30T00:30:00Z"),
            // The first 02:30 of that night is over, and the second is to come; then both are over.
            ("2026-10-25T00:30:00Z", "02:30", "2026-10-25T01:30:00Z"),
            ("2026-10-25T01:30:00Z", "02:30", "2026-10-26T01:30:00Z"),
        ] {
            let now: Timestamp = now.parse().unwrap();
            let found = now.next_in(clock, &oslo);
            assert_eq!(found, Ok(next.parse().unwrap()), "{now} {clock}");
        }
        for text in [
            "7",
            "25:00",
            "",
            "2h",
            "07:00 ",
            "T07:00",
            "2026-11-22",
            ":",
        ] {
            let now = Timestamp::from_millis(0);
            assert_eq!(now.next_in(text, &oslo), Err(LocalFault::Unread), "{text}");
        }
    }

    #[test]
    fn what_clocks_skip_or_show_twice_is_no_moment() {
        let oslo = TimeZone::posix(NORWAY).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let skipped = |written: &str, instead: &str| LocalFault::Skipped {
            written: written.to_owned(),
            instead: at(instead),
        };
        let twice = |written: &str, first: &str, second: &str| LocalFault::Twice {
            written: written.to_owned(),
            first: at(first),
            second: at(second),
        };
        for (text, expected) in [
            ("2026-03-29 01:59", Ok(at("2026-03-29T00:59:00Z"))),
            (
                "2026-03-29 02:30",
                Err(skipped("2026-03-29 02:30", "2026-03-29T01:30:00Z")),
            ),
            ("2026-03-29 03:00", Ok(at("2026-03-29T01:00:00Z"))),
            (
                "2026-10-25T02:00",
                Err(twice(
                    "2026-10-25 02:00",
                    "2026-10-25T00:00:00Z",
                    "2026-10-25T01:00:00Z",
                )),
            ),
            ("2026-10-25 03:00", Ok(at("2026-10-25T02:00:00Z"))),
            ("2026-10-25", Ok(at("2026-10-24T22:00:00Z"))),
            ("02:30", Err(LocalFault::Unread)),
        ] {
            let found = Timestamp::from_local_in(text, &oslo);
            assert_eq!(found, expected, "{text}");
        }
        for (now, expected) in [
            (
                "2026-03-28T20:00:00Z",
                skipped("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
            ),
            (
                "2026-10-24T20:00:00Z",
                twice(
                    "2026-10-25 02:30",
                    "2026-10-25T00:30:00Z",
                    "2026-10-25T01:30:00Z",
                ),
            ),
        ] {
            assert_eq!(at(now).next_in("02:30", &oslo), Err(expected), "{now}");
        }
    }

    #[test]
    fn a_time_that_could_be_another_names_its_zone() {
        let oslo = TimeZone::posix(NORWAY).unwrap();
        let fixed = |seconds| TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).unwrap());
        for (moment, zone, expected) in [
            ("2026-11-22T11:00:00Z", oslo.clone(), None),
            ("2026-07-22T11:00:00Z", oslo.clone(), None),
            ("2026-07-22T11:00:00Z", fixed(7_200), None),
            ("2026-07-22T11:00:00Z", fixed(3_600), Some("UTC+1")),
            ("2026-11-22T11:00:00Z", TimeZone::UTC, Some("UTC")),
            ("2026-11-22T11:00:00Z", fixed(-18_000), Some("UTC-5")),
            ("2026-11-22T11:00:00Z", fixed(19_800), Some("UTC+5:30")),
            // The night in which summer time ends, and the one in which it begins.
            ("2026-10-24T23:59:59Z", oslo.clone(), None),
            ("2026-10-25T00:30:00Z", oslo.clone(), Some("UTC+2")),
            ("2026-10-25T01:30:00Z", oslo.clone(), Some("UTC+1")),
            ("2026-10-25T02:00:00Z", oslo.clone(), None),
            ("2026-03-29T00:59:59Z", oslo.clone(), None),
            ("2026-03-29T01:00:00Z", oslo, None),
        ] {
            let local = moment.parse::<jiff::Timestamp>().unwrap().to_zoned(zone);
            assert_eq!(zone_mark(&local).as_deref(), expected, "{local}");
        }
    }

    #[test]
    fn never_counts_backwards() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
