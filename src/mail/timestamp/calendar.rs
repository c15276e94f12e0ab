//! Days and clocks as people name them, in one zone.
//!
//! Decides which moments a day and a clock mean, also in the nights in which clocks are changed. Pure: the
//! zone is a value.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::{NORWAY, Timestamp};

/// Where clocks are read.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// `None`: there is no such day.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        Date::new(year, month, day).ok().map(Self)
    }

    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// From 1.
    pub fn month(self) -> i8 {
        self.0.month()
    }

    pub fn day(self) -> i8 {
        self.0.day()
    }

    /// Monday is 0.
    pub fn weekday(self) -> i8 {
        self.0.weekday().to_monday_zero_offset()
    }

    /// So many days later, or before; far ends stop at the far end.
    pub fn plus(self, days: i64) -> Self {
        Self(
            self.0
                .saturating_add(jiff::Span::new().try_days(days).unwrap_or_default()),
        )
    }

    /// The Monday of this week of the year (ISO 8601).
    pub fn of_week(year: i16, week: i8) -> Option<Self> {
        let monday = jiff::civil::Weekday::Monday;
        let found = jiff::civil::ISOWeekDate::new(year, week, monday).ok()?;
        Some(Self(found.date()))
    }
}

/// What a clock shows: seconds since the day began, of a day that has 24 hours.
pub type Clock = u32;

/// Seconds that a day has on a clock.
pub const DAY: Clock = 86_400;

/// A stretch of days and clocks in which no moment lies: clocks are put forward past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeverWas;

impl Zone {
    /// As the clocks of this machine.
    pub fn here() -> Self {
        Self(TimeZone::system())
    }

    /// As in Norway, by rule.
    pub fn norway() -> Self {
        Self(TimeZone::posix(NORWAY).unwrap_or(TimeZone::UTC))
    }

    /// What calendar and clock show.
    pub fn shown(&self, at: Timestamp) -> (Day, Clock) {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let local = self.0.to_datetime(at);
        let [hour, minute, second] =
            [local.hour(), local.minute(), local.second()].map(i8::unsigned_abs);
        let clock = Clock::from(hour) * 3_600 + Clock::from(minute) * 60 + Clock::from(second);
        (Day(local.date()), clock)
    }

    /// The first and the last moment from one day and clock to another, the last not included. A clock that
    /// shows an hour twice means both of them.
    pub fn between(
        &self,
        (first, begin): (Day, Clock),
        (last, end): (Day, Clock),
    ) -> Result<(Timestamp, Timestamp), NeverWas> {
        let [begin, end] = [civil(first, begin), civil(last, end)];
        let since = self.edge(begin, true);
        let until = self.edge(end, false);
        let is_in_gap = |it| {
            matches!(
                self.0.to_ambiguous_timestamp(it).offset(),
                AmbiguousOffset::Gap { .. }
            )
        };
        let is_within = begin.date() == end.date() && is_in_gap(begin);
        let last = end.saturating_sub(jiff::Span::new().seconds(1));
        match since < until && !(is_within && is_in_gap(last)) {
            true => Ok((since, Timestamp::from_millis(until.as_millis() - 1))),
            false => Err(NeverWas),
        }
    }

    /// Whether a clock shows this twice that day.
    pub fn is_twice(&self, day: Day, clock: Clock) -> bool {
        let found = self.0.to_ambiguous_timestamp(civil(day, clock));
        matches!(found.offset(), AmbiguousOffset::Fold { .. })
    }

    /// Where more than one moment is possible, the one that leaves nothing out.
    fn edge(&self, civil: DateTime, is_first: bool) -> Timestamp {
        let found = self.0.to_ambiguous_timestamp(civil);
        let moment = match is_first {
            true => found.earlier(),
            false => found.later(),
        };
        // Beyond what can be told there is nothing, at either end.
        let far = match civil.year() > 0 {
            true => jiff::Timestamp::MAX,
            false => jiff::Timestamp::MIN,
        };
        Timestamp::from_millis(moment.unwrap_or(far).as_millisecond())
    }
}

fn civil(Day(day): Day, clock: Clock) -> DateTime {
    let days = i64::from(clock / DAY);
    let part = |number: Clock| i8::try_from(number).unwrap_or_default();
    let clock = clock % DAY;
    let (hour, minute) = (part(clock / 3_600), part(clock / 60 % 60));
    let time = Time::new(hour, minute, part(clock % 60), 0).unwrap_or_default();
    Day(day).plus(days).0.to_datetime(time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stretch_of_a_day_is_known_also_when_clocks_are_changed() {
        let zone = Zone::norway();
        let day = |text: (i16, i8, i8)| Day::new(text.0, text.1, text.2).unwrap();
        let hour = 3_600;
        for (date, begin, end, expected) in [
            (
                (2026, 11, 22),
                14 * hour,
                15 * hour,
                Some(("13:00:00.000", "13:59:59.999")),
            ),
            (
                (2026, 10, 25),
                2 * hour,
                3 * hour,
                Some(("00:00:00.000", "01:59:59.999")),
            ),
            (
                (2026, 10, 25),
                9_000,
                9_060,
                Some(("00:30:00.000", "01:30:59.999")),
            ),
            ((2026, 3, 29), 2 * hour, 3 * hour, None),
            ((2026, 3, 29), 9_000, 9_060, None),
            (
                (2026, 3, 29),
                hour,
                3 * hour,
                Some(("00:00:00.000", "00:59:59.999")),
            ),
        ] {
            let day = day(date);
            let found = zone.between((day, begin), (day, end)).ok();
            let clock = |at: Timestamp| at.to_string()[11..23].to_owned();
            let found = found.map(|(since, until)| (clock(since), clock(until)));
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(found, expected, "{date:?} {begin}");
        }
        let (autumn, spring) = (day((2026, 10, 25)), day((2026, 3, 29)));
        let length = |day: Day| {
            let (since, until) = zone.between((day, 0), (day, DAY)).unwrap();
            (until.as_millis() + 1 - since.as_millis()) / 3_600_000
        };
        assert_eq!((length(autumn), length(spring)), (25, 23));
        assert!(zone.is_twice(autumn, 9_000) && !zone.is_twice(spring, 9_000));
        let noon: Timestamp = "2026-11-22T11:00:05Z".parse().unwrap();
        assert_eq!(zone.shown(noon), (day((2026, 11, 22)), 43_205));
        assert_eq!(Day::of_week(2026, 47), Day::new(2026, 11, 16));
        assert_eq!(Day::of_week(2026, 54), None);
        assert_eq!(day((2026, 11, 22)).weekday(), 6);
    }
}
