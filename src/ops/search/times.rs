//! When: days and clocks put together, before and after, so long ago; and what all of them leave.

use std::time::Duration;

use super::clocks::{self, Stretch};
use super::days::{self, Days};
use super::{Desk, Unclear, said};
use crate::mail::Timestamp;
use crate::mail::timestamp::{Clock, DAY, Day};

/// A day, a clock, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    days: Option<Days>,
    clock: Option<Stretch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    During(When),
    /// From when it begins.
    Since(When),
    /// From when it is over, where it is a day.
    After(When),
    /// Until it begins.
    Before(When),
    /// Until it is over, where it is a day.
    Until(When),
    /// From the one to the other.
    From(When, When),
    /// Moments that depend on no calendar.
    Exact {
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    },
}

const SINCE: &[&str] = &["siden", "since", "fom", "f.o.m", "f.o.m."];
const AFTER: &[&str] = &["etter", "after"];
const BEFORE: &[&str] = &["før", "before"];
const UNTIL: &[&str] = &["til", "until", "till", "innen", "tom", "t.o.m", "t.o.m."];
const FROM: &[&str] = &["fra", "from"];
const TO: &[&str] = &["til", "to", "until", "-", "–", "—"];
const BETWEEN: &[&str] = &["mellom", "between"];
const AND: &[&str] = &["og", "and"];

/// The time that the words begin with.
pub(super) fn piece(words: &[&str], desk: Desk<'_>) -> Option<(usize, Piece)> {
    let (today, _) = desk.zone.shown(desk.now);
    let (first, rest) = words.split_first()?;
    let begins = |with: &[&str]| with.contains(first);
    let one = |piece: fn(When) -> Piece| {
        let (used, when) = when(rest, today, true)?;
        Some((used + 1, piece(when)))
    };
    match () {
        () if let Some(found) = exact(words, desk.now) => Some(found),
        () if begins(FROM) => from(rest, TO, today).or_else(|| from_on(rest, today)),
        () if begins(BETWEEN) => from(rest, AND, today),
        () if begins(SINCE) => match exact(rest, desk.now) {
            Some((used, Piece::Exact { since, .. })) => {
                Some((used + 1, Piece::Exact { since, until: None }))
            }
            _ => one(Piece::Since),
        },
        () if begins(AFTER) => one(Piece::After),
        () if begins(BEFORE) => one(Piece::Before),
        // A number after it may be anything.
        () if begins(UNTIL) => {
            let (used, when) = when(rest, today, false)?;
            Some((used + 1, Piece::Until(when)))
        }
        () => when(words, today, false).map(|(used, it)| (used, Piece::During(it))),
    }
}

/// `fra mandag til onsdag`, `mellom 14 og 15 i går`
fn from(words: &[&str], to: &[&str], today: Day) -> Option<(usize, Piece)> {
    let (used, mut begin) = when_without_range(words, today)?;
    let rest = words.get(used..)?;
    rest.first().filter(|it| to.contains(it))?;
    let (more, mut end) = when(rest.get(1..)?, today, true)?;
    if end.days.is_none() {
        end.days = begin.days;
    }
    if begin.days.is_none() {
        begin.days = end.days;
    }
    Some((used + more + 2, Piece::From(begin, end)))
}

/// `fra i går`: a number alone may be anything.
fn from_on(words: &[&str], today: Day) -> Option<(usize, Piece)> {
    let (used, when) = when(words, today, false)?;
    Some((used + 1, Piece::Since(when)))
}

/// One end of two, which is no range itself.
fn when_without_range(words: &[&str], today: Day) -> Option<(usize, When)> {
    let longest = words.len().min(7);
    let ends = (1..longest).filter(|it| {
        let next = words.get(*it);
        next.is_some_and(|it| TO.contains(it) || AND.contains(it))
    });
    ends.filter_map(|end| when(words.get(..end)?, today, true).filter(|(used, _)| *used == end))
        .next()
}

/// A day and a clock, in any order, or one of them.
fn when(words: &[&str], today: Day, is_marked: bool) -> Option<(usize, When)> {
    if let Some(found) = part_of_today(words, today) {
        return Some(found);
    }
    if let Some(found) = day_and_clock_in_one(words.first()?) {
        return Some((1, found));
    }
    if let Some((used, days)) = days::days(words, today) {
        let rest = words.get(used..).unwrap_or_default();
        let clock = part(rest).or_else(|| clocks::clock(rest, true));
        let (more, clock) = clock.map_or((0, None), |(more, it)| (more, Some(it)));
        let days = Some(days);
        return Some((used + more, When { days, clock }));
    }
    let (used, clock) = clocks::clock(words, is_marked)?;
    let after = days::days(words.get(used..).unwrap_or_default(), today);
    let (more, days) = after.map_or((0, None), |(more, it)| (more, Some(it)));
    let clock = Some(clock);
    Some((used + more, When { days, clock }))
}

const HOUR: Clock = 3_600;

/// Parts of a day, by name.
const PARTS: &[(&str, Clock, Clock)] = &[
    ("natt", 0, 6),
    ("morgen", 5, 10),
    ("morning", 5, 12),
    ("formiddag", 8, 12),
    ("ettermiddag", 12, 18),
    ("afternoon", 12, 18),
    ("kveld", 17, 24),
    ("evening", 17, 24),
    ("night", 20, 30),
];

/// `i går kveld`
fn part(words: &[&str]) -> Option<(usize, Stretch)> {
    let name = words.first()?;
    let (_, begin, end) = PARTS.iter().find(|(it, _, _)| it == name)?;
    Some((1, stretch(*begin, *end)))
}

const fn stretch(begin: Clock, end: Clock) -> Stretch {
    Stretch {
        at: begin * HOUR,
        begin: begin * HOUR,
        end: end * HOUR,
        is_dial: false,
    }
}

/// Parts of this day, and of the night before it: days back, begin, end.
const PARTS_OF_TODAY: &[(&str, i64, Clock, Clock)] = &[
    ("i natt", 1, 22, 30),
    ("last night", 1, 18, 30),
    ("i morges", 0, 5, 10),
    ("i formiddag", 0, 8, 12),
    ("i ettermiddag", 0, 12, 18),
    ("i kveld", 0, 17, 24),
    ("this morning", 0, 5, 12),
    ("this afternoon", 0, 12, 18),
    ("this evening", 0, 17, 24),
];

fn part_of_today(words: &[&str], today: Day) -> Option<(usize, When)> {
    let phrase = words.get(..2)?.join(" ");
    let (_, ago, begin, end) = PARTS_OF_TODAY.iter().find(|(it, ..)| *it == phrase)?;
    let day = today.plus(-ago);
    let days = Some(Days {
        first: day,
        last: day,
    });
    let clock = Some(stretch(*begin, *end));
    Some((2, When { days, clock }))
}

/// `2026-11-22t14:05`
fn day_and_clock_in_one(word: &str) -> Option<When> {
    let (day, clock) = word.split_once('t').filter(|(day, _)| day.len() == 10)?;
    let (_, days) = days::days(&[day], Day::new(1970, 1, 1)?)?;
    let (_, clock) = clocks::clock(&[clock], false)?;
    let (days, clock) = (Some(days), Some(clock));
    Some(When { days, clock })
}

/// RFC 3339, and lengths counted from now.
fn exact(words: &[&str], now: Timestamp) -> Option<(usize, Piece)> {
    let word = words.first()?;
    if let Ok(at) = word.to_uppercase().parse::<Timestamp>() {
        let around = Duration::from_secs(60);
        let (since, until) = (Some(at.before(around)), Some(at.after(around)));
        return Some((1, Piece::Exact { since, until }));
    }
    if let Some(found) = of_late(words, now).or_else(|| ago(words, now)) {
        return Some(found);
    }
    let since = Some(now.before(length_in_one(word)?));
    Some((1, Piece::Exact { since, until: None }))
}

const SECONDS: &[(&str, u64)] = &[
    ("s", 1),
    ("sek", 1),
    ("sekund", 1),
    ("sekunder", 1),
    ("sec", 1),
    ("second", 1),
    ("seconds", 1),
    ("m", 60),
    ("min", 60),
    ("mins", 60),
    ("minutt", 60),
    ("minuttet", 60),
    ("minutter", 60),
    ("minuttene", 60),
    ("minute", 60),
    ("minutes", 60),
    ("kvarter", 900),
    ("halvtime", 1_800),
    ("halvtimen", 1_800),
    ("t", 3_600),
    ("h", 3_600),
    ("hr", 3_600),
    ("hrs", 3_600),
    ("time", 3_600),
    ("timen", 3_600),
    ("timer", 3_600),
    ("timene", 3_600),
    ("hour", 3_600),
    ("hours", 3_600),
    ("d", 86_400),
    ("dag", 86_400),
    ("dager", 86_400),
    ("dagene", 86_400),
    ("døgn", 86_400),
    ("døgnet", 86_400),
    ("døgnene", 86_400),
    ("day", 86_400),
    ("days", 86_400),
    ("u", 604_800),
    ("w", 604_800),
    ("uke", 604_800),
    ("uka", 604_800),
    ("uken", 604_800),
    ("uker", 604_800),
    ("ukene", 604_800),
    ("week", 604_800),
    ("weeks", 604_800),
];

/// `2h`
fn length_in_one(word: &str) -> Option<Duration> {
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = word.strip_suffix(letters)?;
    length(digits, letters)
}

fn length(number: &str, unit: &str) -> Option<Duration> {
    let said = NUMBERS.iter().find(|(it, _)| it.contains(&number));
    let number: u64 = match (said, number) {
        (Some((_, number)), _) => *number,
        (None, digits) if digits.len() <= 4 => digits.parse().ok().filter(|it| *it > 0)?,
        _ => return None,
    };
    let (_, seconds) = SECONDS.iter().find(|(it, _)| *it == unit)?;
    Some(Duration::from_secs(number * seconds))
}

/// Whether a number before it makes a length of time.
pub(super) fn is_unit(word: &str) -> bool {
    SECONDS.iter().any(|(it, _)| *it == word && it.len() > 1)
}

const NUMBERS: [(&[&str], u64); 14] = [
    (&["en", "ei", "et", "ett", "én", "one", "an", "a"], 1),
    (&["to", "two"], 2),
    (&["tre", "three"], 3),
    (&["fire", "four"], 4),
    (&["fem", "five"], 5),
    (&["seks", "six"], 6),
    (&["sju", "syv", "seven"], 7),
    (&["åtte", "eight"], 8),
    (&["ni", "nine"], 9),
    (&["ti", "ten"], 10),
    (&["femten", "fifteen"], 15),
    (&["tjue", "twenty"], 20),
    (&["tretti", "thirty"], 30),
    (&["førti", "forty"], 40),
];
const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

/// `2 timer`, `2h`, `en halvtime`, `half an hour`
fn amount(words: &[&str]) -> Option<(usize, Duration)> {
    match *words {
        ["half", "an" | "a", "hour", ..] | ["en", "halv", "time", ..] => Some((3, HALF_AN_HOUR)),
        ["half", "hour", ..] | ["halv", "time", ..] => Some((2, HALF_AN_HOUR)),
        [number, unit, ..] if let Some(length) = length(number, unit) => Some((2, length)),
        [word, ..] => Some((1, length_in_one(word)?)),
        [] => None,
    }
}

const OF_LATE: &[&str] = &["siste", "last", "past"];
/// What is no older than a quarter of an hour.
const JUST_NOW: [&[&str]; 5] = [
    &["nettopp"],
    &["nå", "nettopp"],
    &["akkurat", "nå"],
    &["just", "now"],
    &["right", "now"],
];
const QUARTER: Duration = Duration::from_secs(900);

/// `siste 2 timer`, `de siste 30 min`, `last hour`, `nettopp`
fn of_late(words: &[&str], now: Timestamp) -> Option<(usize, Piece)> {
    let until = |length| Piece::Exact {
        since: Some(now.before(length)),
        until: None,
    };
    if let Some(said) = JUST_NOW.iter().find(|it| words.starts_with(it)) {
        return Some((said.len(), until(QUARTER)));
    }
    let (first, rest) = words.split_first()?;
    if ["de", "det", "den", "the"].contains(first)
        && rest.first().is_some_and(|it| OF_LATE.contains(it))
    {
        return of_late(rest, now).map(|(used, it)| (used + 1, it));
    }
    let is_week_of_calendar = *first == "last" && rest.first() == Some(&"week");
    if !OF_LATE.contains(first) || is_week_of_calendar {
        return None;
    }
    let one = || Some((1, length("1", rest.first()?)?));
    let (used, length) = amount(rest).or_else(one)?;
    Some((used + 1, until(length)))
}

/// `for 2 timer siden`, `2 hours ago`: about then.
fn ago(words: &[&str], now: Timestamp) -> Option<(usize, Piece)> {
    let is_before = |it: &&&str| **it == "for" || clocks::is_about(it);
    let before = words.iter().take_while(is_before).count();
    let words = words.get(before..)?;
    let (used, length) = amount(words)?;
    words.get(used).filter(|it| ["siden", "ago"].contains(it))?;
    // People round what they remember.
    let around = (length / 4).max(Duration::from_secs(300));
    let at = now.before(length);
    let (since, until) = (Some(at.before(around)), Some(at.after(around).min(now)));
    Some((before + used + 1, Piece::Exact { since, until }))
}

/// From when to when, as far as it is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// What all of them leave.
pub(super) fn bounds(pieces: &[Piece], desk: Desk<'_>) -> Result<Bounds, Unclear> {
    let pieces = read_off(pieces, desk);
    let day = day_of_clocks(&pieces, desk);
    let mut all = Bounds::default();
    for piece in pieces {
        let one = piece.bounds(day, desk)?;
        all.since = all.since.max(one.since);
        all.until = match (all.until, one.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    match (all.since, all.until) {
        (Some(since), Some(until)) if since > until => {
            Err(Unclear(said::contradiction(desk, since, until)))
        }
        _ => Ok(all),
    }
}

/// The day that stands alone beside clocks.
fn alone(pieces: &[Piece]) -> Option<Day> {
    pieces.iter().find_map(|it| match it {
        Piece::During(When {
            days: Some(days),
            clock: None,
        }) if days.first == days.last => Some(days.first),
        _ => None,
    })
}

/// With what each dial meant.
fn read_off(pieces: &[Piece], desk: Desk<'_>) -> Vec<Piece> {
    let (_, now) = desk.zone.shown(desk.now);
    let has_day = alone(pieces).is_some();
    let read = |it: When| When {
        clock: it
            .clock
            .map(|clock| clock.meant(has_day || it.days.is_some(), now)),
        ..it
    };
    let pieces = pieces.iter().map(|it| match *it {
        Piece::During(it) => Piece::During(read(it)),
        Piece::Since(it) => Piece::Since(read(it)),
        Piece::After(it) => Piece::After(read(it)),
        Piece::Before(it) => Piece::Before(read(it)),
        Piece::Until(it) => Piece::Until(read(it)),
        Piece::From(begin, end) => Piece::From(read(begin), read(end)),
        exact @ Piece::Exact { .. } => exact,
    });
    pieces.collect()
}

/// The day of clocks that say none: one that stands alone beside them; or today, or yesterday where it is
/// not so late yet.
fn day_of_clocks(pieces: &[Piece], desk: Desk<'_>) -> Day {
    let (today, now) = desk.zone.shown(desk.now);
    let is_to_come = |it: &Piece| match it {
        Piece::During(it) | Piece::Since(it) | Piece::After(it) | Piece::From(it, _) => {
            it.days.is_none() && it.clock.is_some_and(|it| it.begin > now)
        }
        _ => false,
    };
    match alone(pieces) {
        Some(day) => day,
        None if pieces.iter().any(is_to_come) => today.plus(-1),
        None => today,
    }
}

impl Piece {
    fn bounds(self, day: Day, desk: Desk<'_>) -> Result<Bounds, Unclear> {
        let between = |begin: (Day, Clock), end: (Day, Clock)| {
            let found = desk.zone.between(begin, end);
            found.map_err(|_| Unclear(said::never_was(desk.language, begin, end)))
        };
        let since = |begin: (Day, Clock)| Ok(Some(between(begin, minute_after(begin))?.0));
        let until = |end: (Day, Clock)| {
            let (_, last) = between(end, minute_after(end))?;
            Ok(Some(last.before(Duration::from_secs(60))))
        };
        let (since, until) = match self {
            Self::During(it) => {
                let (begin, end) = it.stretch(day);
                let (first, last) = between(begin, end)?;
                (Some(first), Some(last))
            }
            Self::Since(it) => (since(it.begin(day))?, None),
            Self::After(it) => (since(it.after(day))?, None),
            Self::Before(it) => (None, until(it.begin(day))?),
            Self::Until(it) => (None, until(it.after(day))?),
            Self::From(begin, end) => {
                let (begin, mut end) = (begin.begin(day), end.after(day));
                if end <= begin && end.0 == begin.0 {
                    end.1 += DAY;
                }
                let (first, last) = between(begin, end)?;
                (Some(first), Some(last))
            }
            Self::Exact { since, until } => (since, until),
        };
        Ok(Bounds { since, until })
    }
}

const fn minute_after((day, clock): (Day, Clock)) -> (Day, Clock) {
    (day, clock + 60)
}

impl When {
    fn days(self, day: Day) -> Days {
        self.days.unwrap_or(Days {
            first: day,
            last: day,
        })
    }

    /// All of it. Of several days a clock is meant on the first and the last.
    fn stretch(self, day: Day) -> ((Day, Clock), (Day, Clock)) {
        let days = self.days(day);
        let (begin, end) = self.clock.map_or((0, DAY), |it| (it.begin, it.end));
        ((days.first, begin), (days.last, end))
    }

    fn begin(self, day: Day) -> (Day, Clock) {
        (self.days(day).first, self.clock.map_or(0, |it| it.at))
    }

    /// The clock itself; where there is none, the end of the day.
    fn after(self, day: Day) -> (Day, Clock) {
        (self.days(day).last, self.clock.map_or(DAY, |it| it.at))
    }
}
