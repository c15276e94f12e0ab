//! Clocks as people write and say them: `14:05`, `kl 14`, `2pm-3pm`, `ca 14`, `mellom 14 og 15`, `halv tre`.

use super::times::is_unit;
use crate::mail::timestamp::{Clock, DAY};

/// A stretch of a day. It may end in the day after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The clock as it was written; where there are two, the first.
    pub at: Clock,
    pub begin: Clock,
    /// Not included.
    pub end: Clock,
    /// Read off a dial: it may be twelve hours earlier as well.
    pub is_dial: bool,
}

const HOUR: Clock = 3_600;
const MINUTE: Clock = 60;
/// Once around a dial.
const ROUND: Clock = DAY / 2;

/// One clock as written.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: Clock,
    precision: Clock,
    /// Digits alone, which may be anything.
    is_bare: bool,
    /// Nobody has said which half of the day.
    is_open: bool,
    is_dial: bool,
}

/// Before a clock that is not exact.
const ABOUT: &[&str] = &[
    "ca",
    "ca.",
    "cirka",
    "circa",
    "omtrent",
    "omkring",
    "rundt",
    "about",
    "around",
    "approx",
    "approx.",
    "approximately",
    "roughly",
    "~",
];
/// Before a clock.
const MARKERS: &[&str] = &["kl", "kl.", "klokka", "klokken", "at", "ved", "klokkeslett"];
const BETWEEN: [(&str, &str); 2] = [("mellom", "og"), ("between", "and")];
const DASHES: [char; 3] = ['-', '–', '—'];
const UP_TO: [&str; 5] = ["-", "–", "—", "til", "to"];

/// The clock that the words begin with. `is_marked`: something before has said that one comes.
pub(super) fn clock(words: &[&str], is_marked: bool) -> Option<(usize, Stretch)> {
    let (first, rest) = words.split_first()?;
    if MARKERS.contains(first) {
        let said = || said(rest, true).map(|(point, used)| (used, point.stretch()));
        let found = said().or_else(|| clock(rest, true));
        return found.map(|(used, it)| (used + 1, it));
    }
    if is_about(first) {
        return about(rest).map(|(used, it)| (used + 1, it));
    }
    if let Some(inner) = first.strip_prefix('~') {
        let (point, _) = point(inner, None)?;
        return Some((1, point.about()));
    }
    if let Some((_, and)) = BETWEEN.iter().find(|(it, _)| it == first) {
        return range(rest, &[and], true).map(|(used, it)| (used + 1, it));
    }
    // A number alone is one behind a word for clocks: "yesterday to hamar" is none.
    if let Some((point, used)) = said(words, false) {
        return Some((used, point.stretch()));
    }
    let one = range_in_one(first, words.get(1).copied(), is_marked);
    let range = one.or_else(|| range(words, &UP_TO, is_marked));
    range.or_else(|| alone(words, is_marked))
}

pub(super) fn is_about(word: &str) -> bool {
    ABOUT.contains(&word)
}

/// `ca 14`, `ca kl. 14`, `ca to`
fn about(words: &[&str]) -> Option<(usize, Stretch)> {
    let marked = words.first().is_some_and(|it| MARKERS.contains(it));
    let skipped = usize::from(marked);
    let rest = words.get(skipped..)?;
    let written = || point(rest.first()?, rest.get(1).copied());
    let (point, used) = said(rest, true).or_else(written)?;
    Some((skipped + used, point.about()))
}

/// The hours of a dial. One is no article.
const HOURS: [&[&str]; 12] = [
    &["ett", "one"],
    &["to", "two"],
    &["tre", "three"],
    &["fire", "four"],
    &["fem", "five"],
    &["seks", "six"],
    &["sju", "syv", "seven"],
    &["åtte", "eight"],
    &["ni", "nine"],
    &["ti", "ten"],
    &["elleve", "eleven"],
    &["tolv", "twelve"],
];

fn hour_of_dial(word: &str) -> Option<Clock> {
    let digits = || word.parse().ok().filter(|it| (1..=12).contains(it));
    let hours = (1..).zip(HOURS);
    let mut said = hours.filter(|(_, words)| words.contains(&word));
    said.next().map(|(hour, _)| hour).or_else(digits)
}

/// As it is said: `halv tre`, `kvart over ett`, `half past two`, `two o'clock`; `to` where a clock is expected.
fn said(words: &[&str], is_marked: bool) -> Option<(Point, usize)> {
    let (minutes, hour, used) = match *words {
        ["halv", hour, ..] => (ROUND - 30 * MINUTE, hour, 2),
        ["kvart", "over", hour, ..] | ["quarter", "past", hour, ..] => (15 * MINUTE, hour, 3),
        ["kvart", "på", hour, ..] | ["quarter", "to", hour, ..] => (ROUND - 15 * MINUTE, hour, 3),
        ["half", "past", hour, ..] => (30 * MINUTE, hour, 3),
        [hour, "o'clock", ..] => (0, hour, 2),
        [hour, ..] if is_marked && hour.parse::<Clock>().is_err() => (0, hour, 1),
        _ => return None,
    };
    // Two hours are no clock.
    if words.get(used).is_some_and(|it| is_unit(it)) {
        return None;
    }
    let point = Point {
        at: (hour_of_dial(hour)? * HOUR + minutes) % ROUND + ROUND,
        precision: if minutes == 0 { HOUR } else { MINUTE },
        is_bare: false,
        is_open: true,
        is_dial: true,
    };
    Some((point, used))
}

fn alone(words: &[&str], is_marked: bool) -> Option<(usize, Stretch)> {
    let word = words.first()?;
    // 14-tiden: about two in the afternoon.
    if let Some(hour) = word
        .strip_suffix("-tiden")
        .or_else(|| word.strip_suffix("-tida"))
    {
        return point(hour, None).map(|(point, _)| (1, point.about()));
    }
    let (point, used) = point(word, words.get(1).copied())?;
    (is_marked || !point.is_bare).then(|| (used, point.stretch()))
}

/// `14-15`, `2-3pm`
fn range_in_one(word: &str, next: Option<&str>, is_marked: bool) -> Option<(usize, Stretch)> {
    let (first, last) = word.split_once(DASHES)?;
    let (begin, _) = point(first, None)?;
    let (end, used) = point(last, next)?;
    let is_pair = (first.len(), last.len()) == (2, 2) && begin.at < end.at;
    let is_told = is_marked || is_pair || !(begin.is_bare && end.is_bare);
    is_told.then(|| (used, begin.until(end)))
}

/// `14:00 til 15:00`, `14 - 15`
fn range(words: &[&str], up_to: &[&str], is_marked: bool) -> Option<(usize, Stretch)> {
    let (begin, used) = point(words.first()?, words.get(1).copied())?;
    let rest = words.get(used..)?;
    let join = rest.first().filter(|it| up_to.contains(it))?;
    let skipped = match rest.get(1) {
        Some(marker) if MARKERS.contains(marker) => 2,
        _ => 1,
    };
    let (end, more) = point(rest.get(skipped)?, rest.get(skipped + 1).copied())?;
    let is_dash = join.starts_with(DASHES);
    let is_told = is_marked || is_dash || !(begin.is_bare && end.is_bare);
    is_told.then(|| (used + skipped + more, begin.until(end)))
}

/// One clock, and how many words it is: `14`, `1405`, `14:05`, `14.05`, `14:05:10`, `2pm`, `2:30 pm`.
fn point(word: &str, next: Option<&str>) -> Option<(Point, usize)> {
    let (digits, half, used) = match half_of(word) {
        Some((digits, half)) => (digits, Some(half), 1),
        None => match next.and_then(|it| half_of(it).filter(|(digits, _)| digits.is_empty())) {
            Some((_, half)) => (word, Some(half), 2),
            None => (word, None, 1),
        },
    };
    let (hour, minute, second) = numbers(digits)?;
    let is_half = (1..=12).contains(&hour);
    let hour = match half {
        Some(_) if !is_half => return None,
        Some(Half::Morning) => hour % 12,
        Some(Half::Afternoon) => hour % 12 + 12,
        None => hour,
    };
    let at = hour * HOUR + minute.unwrap_or(0) * MINUTE + second.unwrap_or(0);
    let precision = match (minute, second) {
        (None, _) => HOUR,
        (Some(_), None) => MINUTE,
        (Some(_), Some(_)) => 1,
    };
    let point = Point {
        at,
        precision,
        is_bare: half.is_none() && !digits.contains(':'),
        is_open: half.is_none(),
        is_dial: false,
    };
    (at <= DAY).then_some((point, used))
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Morning,
    Afternoon,
}

fn half_of(word: &str) -> Option<(&str, Half)> {
    let halves = [
        ("a.m.", Half::Morning),
        ("am", Half::Morning),
        ("p.m.", Half::Afternoon),
        ("pm", Half::Afternoon),
    ];
    let mut halves = halves.into_iter();
    halves.find_map(|(it, half)| Some((word.strip_suffix(it)?, half)))
}

fn numbers(digits: &str) -> Option<(Clock, Option<Clock>, Option<Clock>)> {
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<Clock>().ok().filter(|_| is_number)
    };
    let below = |text: &str| number(text).filter(|it| text.len() == 2 && *it < 60);
    if digits.len() == 4 && digits.bytes().all(|it| it.is_ascii_digit()) {
        let (hour, minute) = digits.split_at(2);
        return Some((
            number(hour).filter(|it| *it <= 24)?,
            Some(below(minute)?),
            None,
        ));
    }
    let mut parts = digits.split([':', '.']);
    let hour = number(parts.next()?).filter(|it| *it <= 24)?;
    let minute = match parts.next() {
        Some(text) => Some(below(text)?),
        None => None,
    };
    let second = match parts.next() {
        Some(text) => Some(below(text)?),
        None => None,
    };
    parts.next().is_none().then_some((hour, minute, second))
}

impl Stretch {
    /// What a dial means: on a day that is named, by day; otherwise the last time that it showed so before `now`.
    pub(super) fn meant(self, is_of_day: bool, now: Clock) -> Self {
        const MORNING: Clock = 7 * HOUR;
        let earlier = Self {
            at: self.at.saturating_sub(ROUND),
            begin: self.begin.saturating_sub(ROUND),
            end: self.end.saturating_sub(ROUND),
            is_dial: false,
        };
        let is_earlier = match is_of_day {
            true => earlier.at >= MORNING,
            false => (earlier.begin..self.begin).contains(&now),
        };
        match self.is_dial && is_earlier {
            true => earlier,
            false => self,
        }
    }
}

impl Point {
    /// What a person means who reads it off a clock.
    fn stretch(self) -> Stretch {
        let (begin, end) = match self.precision {
            HOUR => (self.at, self.at + HOUR),
            MINUTE => (self.at.saturating_sub(5 * MINUTE), self.at + 5 * MINUTE),
            _ => (self.at.saturating_sub(MINUTE), self.at + MINUTE),
        };
        Stretch {
            at: self.at,
            begin,
            end,
            is_dial: self.is_dial,
        }
    }

    /// What a person means who is not sure.
    fn about(self) -> Stretch {
        let around = match self.precision {
            HOUR => HOUR / 2,
            _ => HOUR / 4,
        };
        Stretch {
            at: self.at,
            begin: self.at.saturating_sub(around),
            end: self.at + around,
            is_dial: self.is_dial,
        }
    }

    /// `2-3pm` is in the afternoon both times; `23-01` ends the day after.
    fn until(self, end: Self) -> Stretch {
        let half = DAY / 2;
        let begin = match self.is_open && !end.is_open && end.at >= half && self.at + half < end.at
        {
            true => self.at + half,
            false => self.at,
        };
        let end = match end.at > begin {
            true => end.at,
            false => end.at + DAY,
        };
        Stretch {
            at: begin,
            begin,
            end,
            is_dial: false,
        }
    }
}
