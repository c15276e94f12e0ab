//! Days as people write and say them: `i går`, `forrige uke`, `mandag`, `22.11.`, `22. november 2026`.

use crate::mail::timestamp::Day;

/// From one day to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    pub first: Day,
    pub last: Day,
}

impl Days {
    const fn one(day: Day) -> Self {
        Self {
            first: day,
            last: day,
        }
    }
}

/// Days before today.
const AGO: &[(&str, i64)] = &[
    ("i dag", 0),
    ("idag", 0),
    ("today", 0),
    ("i går", 1),
    ("igår", 1),
    ("i gar", 1),
    ("i gaar", 1),
    ("igaar", 1),
    ("yesterday", 1),
    ("i forgårs", 2),
    ("forgårs", 2),
    ("i forgaars", 2),
    ("day before yesterday", 2),
    ("the day before yesterday", 2),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Week,
    Month,
    Year,
}

/// Calendar weeks, months and years before this one.
const PERIODS: &[(&str, Period, i64)] = &[
    ("denne uka", Period::Week, 0),
    ("denne uken", Period::Week, 0),
    ("denne uke", Period::Week, 0),
    ("this week", Period::Week, 0),
    ("forrige uke", Period::Week, 1),
    ("forrige uka", Period::Week, 1),
    ("forrige uken", Period::Week, 1),
    ("sist uke", Period::Week, 1),
    ("last week", Period::Week, 1),
    ("previous week", Period::Week, 1),
    ("denne måneden", Period::Month, 0),
    ("denne måned", Period::Month, 0),
    ("this month", Period::Month, 0),
    ("forrige måned", Period::Month, 1),
    ("last month", Period::Month, 1),
    ("i år", Period::Year, 0),
    ("this year", Period::Year, 0),
    ("i fjor", Period::Year, 1),
    ("last year", Period::Year, 1),
];

const WEEKDAYS: [[&str; 2]; 7] = [
    ["mandag", "monday"],
    ["tirsdag", "tuesday"],
    ["onsdag", "wednesday"],
    ["torsdag", "thursday"],
    ["fredag", "friday"],
    ["lørdag", "saturday"],
    ["søndag", "sunday"],
];

const MONTHS: [&[&str]; 12] = [
    &["januar", "january", "jan"],
    &["februar", "february", "feb"],
    &["mars", "march", "mar"],
    &["april", "apr"],
    &["mai", "may"],
    &["juni", "june", "jun"],
    &["juli", "july", "jul"],
    &["august", "aug"],
    &["september", "sept", "sep"],
    &["oktober", "october", "okt", "oct"],
    &["november", "nov"],
    &["desember", "december", "des", "dec"],
];

/// Before a day.
const MARKERS: &[&str] = &["på", "den", "on", "the"];
/// Before the name of a day that is not today.
const LAST: &[&str] = &["forrige", "sist", "siste", "last"];

/// The days that the words begin with.
pub(super) fn days(words: &[&str], today: Day) -> Option<(usize, Days)> {
    if let Some(found) = named(words, today) {
        return Some(found);
    }
    let (first, rest) = words.split_first()?;
    match MARKERS.contains(first) {
        true => days(rest, today).map(|(used, it)| (used + 1, it)),
        false => None,
    }
}

fn named(words: &[&str], today: Day) -> Option<(usize, Days)> {
    let phrases = (1..=4).rev();
    let mut phrases = phrases.filter_map(|length| Some((length, words.get(..length)?.join(" "))));
    let found = phrases.find_map(|(length, phrase)| {
        let ago = AGO.iter().find(|(it, _)| *it == phrase);
        let period = PERIODS.iter().find(|(it, _, _)| *it == phrase);
        let days = ago
            .map(|(_, ago)| Days::one(today.plus(-ago)))
            .or_else(|| period.and_then(|(_, period, ago)| period.days(*ago, today)));
        days.map(|days| (length, days))
    });
    found
        .or_else(|| weekday(words, today))
        .or_else(|| week(words, today))
        .or_else(|| date(words, today))
}

impl Period {
    /// This one, or so many before it.
    fn days(self, ago: i64, today: Day) -> Option<Days> {
        Some(match self {
            Self::Week => {
                let first = today.plus(-i64::from(today.weekday()) - 7 * ago);
                let last = first.plus(6);
                Days { first, last }
            }
            Self::Month => {
                let this = Day::new(today.year(), today.month(), 1)?;
                let first = (0..ago).fold(this, |it, _| first_of_month(it.plus(-1)));
                let last = first_of_month(first.plus(31)).plus(-1);
                Days { first, last }
            }
            Self::Year => {
                let year = today.year().saturating_sub(i16::try_from(ago).ok()?);
                let (first, last) = (Day::new(year, 1, 1)?, Day::new(year, 12, 31)?);
                Days { first, last }
            }
        })
    }
}

fn first_of_month(day: Day) -> Day {
    day.plus(1 - i64::from(day.day()))
}

/// The last one, today included unless it is said otherwise.
fn weekday(words: &[&str], today: Day) -> Option<(usize, Days)> {
    let (first, rest) = words.split_first()?;
    let is_last = LAST.contains(first);
    let name = match is_last {
        true => rest.first()?,
        false => first,
    };
    let place = WEEKDAYS.iter().position(|it| it.contains(name))?;
    let back = i64::from(today.weekday()) - i64::try_from(place).ok()?;
    let back = match back.rem_euclid(7) {
        0 if is_last => 7,
        back => back,
    };
    Some((1 + usize::from(is_last), Days::one(today.plus(-back))))
}

/// `uke 47`: the last one of that number that has begun.
fn week(words: &[&str], today: Day) -> Option<(usize, Days)> {
    let [name, number, ..] = words else {
        return None;
    };
    let number: i8 = number
        .parse()
        .ok()
        .filter(|_| ["uke", "week"].contains(name))?;
    let years = (0..8).map(|back| today.year().saturating_sub(back));
    let mut weeks = years.filter_map(|year| Day::of_week(year, number));
    let first = weeks.find(|it| *it <= today)?;
    let last = first.plus(6);
    Some((2, Days { first, last }))
}

fn date(words: &[&str], today: Day) -> Option<(usize, Days)> {
    let word = words.first()?;
    let found = in_one(word, today).map(|day| (1, day));
    let found = found.or_else(|| in_words(words, today));
    found.map(|(used, day)| (used, Days::one(day)))
}

/// `2026-11-22`, `22.11.`, `22.11.2026`, `22/11`
fn in_one(word: &str, today: Day) -> Option<Day> {
    let number = |text: &str| {
        let is_number = text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<i16>().ok().filter(|_| is_number)
    };
    let small = |text: &str| i8::try_from(number(text).filter(|_| text.len() <= 2)?).ok();
    if let [year, month, day] = *word.split('-').collect::<Vec<_>>().as_slice() {
        return Day::new(
            number(year).filter(|_| year.len() == 4)?,
            small(month)?,
            small(day)?,
        );
    }
    let is_ended = word.ends_with('.');
    let parts: Vec<&str> = word.trim_end_matches('.').split(['.', '/']).collect();
    match *parts.as_slice() {
        [day, month] if is_ended || word.contains('/') || (day.len(), month.len()) == (2, 2) => {
            last_of(today, small(month)?, small(day)?)
        }
        [day, month, year] => {
            let number = number(year)?;
            let year = match year.len() {
                2 => number + 2000,
                4 => number,
                _ => return None,
            };
            Day::new(year, small(month)?, small(day)?)
        }
        _ => None,
    }
}

/// `22. november`, `22 nov 2026`, `november 22nd`
fn in_words(words: &[&str], today: Day) -> Option<(usize, Day)> {
    let [first, second, ..] = words else {
        return None;
    };
    let month = |text: &str| {
        let name = text.trim_end_matches('.');
        let place = MONTHS.iter().position(|it| it.contains(&name))?;
        i8::try_from(place + 1).ok()
    };
    let day = |text: &str| {
        let ends = [".", "st", "nd", "rd", "th"];
        let digits = ends
            .iter()
            .find_map(|it| text.strip_suffix(it))
            .unwrap_or(text);
        let is_day =
            (1..=2).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
        digits.parse::<i8>().ok().filter(|_| is_day)
    };
    let (month, day) = match (month(second), month(first)) {
        (Some(month), _) if let Some(day) = day(first) => (month, day),
        (_, Some(month)) => (month, day(second)?),
        _ => return None,
    };
    let year = words.get(2).filter(|it| it.len() == 4);
    let year = year.and_then(|it| it.parse::<i16>().ok());
    match year.filter(|it| (1970..2200).contains(it)) {
        Some(year) => Some((3, Day::new(year, month, day)?)),
        None => Some((2, last_of(today, month, day)?)),
    }
}

/// The last such day that is not to come. The 29th of February does not come each year.
fn last_of(today: Day, month: i8, day: i8) -> Option<Day> {
    let years = (0..9).map(|back| today.year().saturating_sub(back));
    let mut days = years.filter_map(|year| Day::new(year, month, day));
    days.find(|it| *it <= today)
}
