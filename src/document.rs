//! A TOML document read key by key, collecting every mistake with its line.
//!
//! The caller takes the keys it knows out of a [`Table`]; what is left when the table is dropped is
//! unknown, and a mistake that names the nearest known key of that table. A value of the wrong kind
//! is a mistake too, and reads as `None`, so that the reader goes on and finds the rest. Nothing
//! here knows what a document is about. The crate `toml` lives here.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mail::Timestamp;
use crate::nearest::nearest;

/// The times that TOML can write: up to the year 9999, and from 1970 since nobody means earlier.
const ERA: RangeInclusive<Timestamp> =
    Timestamp::from_millis(0)..=Timestamp::from_millis(253_402_300_799_999);

/// One mistake in a document, in words, with its line where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Reads a whole document with `reader`. `Ok` only when nobody found a mistake.
pub fn read<T>(
    text: &str,
    reader: impl FnOnce(Table<'_>, &Mistakes) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let mistakes = Mistakes::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        mistakes.add(Some(mistakes.line(at)), in_one_line(error.message()));
    }
    if mistakes.is_empty() {
        let root = Table::new(String::new(), None, document.into_inner(), &mistakes);
        if let Some(value) = reader(root, &mistakes)
            && mistakes.is_empty()
        {
            return Ok(value);
        }
    }
    Err(mistakes.sorted())
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The mistakes found so far.
#[derive(Debug)]
pub struct Mistakes {
    /// Where each line ends.
    ends: Vec<usize>,
    found: RefCell<Vec<Fault>>,
}

impl Mistakes {
    fn of(text: &str) -> Self {
        Self {
            ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            found: RefCell::default(),
        }
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    pub fn add(&self, line: Option<usize>, text: impl Into<String>) {
        self.found.borrow_mut().push(Fault {
            line,
            text: text.into(),
        });
    }

    fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    fn sorted(self) -> Vec<Fault> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        found
    }
}

/// A table whose keys are taken one by one.
#[derive(Debug)]
pub struct Table<'d> {
    /// As written in its header: `delivery`, `limits.rates`; empty for the document itself.
    name: String,
    line: Option<usize>,
    entries: DeTable<'d>,
    known: Vec<&'static str>,
    mistakes: &'d Mistakes,
}

impl<'d> Table<'d> {
    fn new(
        name: String,
        line: Option<usize>,
        entries: DeTable<'d>,
        mistakes: &'d Mistakes,
    ) -> Self {
        Self {
            name,
            line,
            entries,
            known: Vec::new(),
            mistakes,
        }
    }

    /// The line of its header.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The value of `key`, if it is there.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        let (written, value) = self.entries.remove_entry(key)?;
        Some(Value {
            name: key.to_owned(),
            path: self.path_of(key),
            line: self.mistakes.line(written.span().start),
            value,
            mistakes: self.mistakes,
        })
    }

    /// The value of `key`; a mistake if it is not there.
    pub fn require(&mut self, key: &'static str) -> Option<Value<'d>> {
        let value = self.take(key);
        if value.is_none() {
            self.fault(format!("{key:?} is missing{}", self.place()));
        }
        value
    }

    /// The table `[key]`, if it is there.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'d>> {
        self.take(key)?.table()
    }

    /// Every table `[[key]]`.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        self.take(key).map(Value::tables).unwrap_or_default()
    }

    /// A mistake in the table as a whole.
    pub fn fault(&self, text: impl Into<String>) {
        self.mistakes.add(self.line, text);
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn place(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", self.name)
        }
    }

    fn unknown(&self, key: &str) -> String {
        let advice = match nearest(key, self.known.iter().copied()) {
            Some(known) => format!("did you mean {known:?}?"),
            None => format!("known here: {}", self.known.join(", ")),
        };
        format!("unknown key {key:?}{}; {advice}", self.place())
    }
}

/// What nobody took is unknown.
impl Drop for Table<'_> {
    fn drop(&mut self) {
        for key in self.entries.keys() {
            let line = self.mistakes.line(key.span().start);
            self.mistakes.add(Some(line), self.unknown(key.get_ref()));
        }
    }
}

/// One value, to be read as what it should be.
#[derive(Debug)]
pub struct Value<'d> {
    name: String,
    path: String,
    line: usize,
    value: Spanned<DeValue<'d>>,
    mistakes: &'d Mistakes,
}

impl<'d> Value<'d> {
    pub const fn line(&self) -> usize {
        self.line
    }

    /// A mistake in this value.
    pub fn fault(&self, text: impl fmt::Display) {
        self.mistakes
            .add(Some(self.line), format!("{:?}: {text}", self.name));
    }

    /// Says what it should have been, and is not.
    fn wanted<T>(&self, what: &str) -> Option<T> {
        self.fault(format!(
            "must be {what}, this is {}",
            kind(self.value.get_ref())
        ));
        None
    }

    /// Text. Control characters have no place in settings.
    pub fn string(self) -> Option<String> {
        let Some(text) = self.value.get_ref().as_str() else {
            return self.wanted("a text in quotes");
        };
        if text.chars().any(char::is_control) {
            self.fault("must not contain control characters");
            return None;
        }
        Some(text.to_owned())
    }

    /// Text with something in it.
    pub fn filled(self) -> Option<String> {
        self.parse(|text| {
            if text.trim().is_empty() {
                Err("must not be empty")
            } else {
                Ok(text.to_owned())
            }
        })
    }

    /// Text that `parse` understands.
    pub fn parse<T, E: fmt::Display>(self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (name, line, mistakes) = (self.name.clone(), self.line, self.mistakes);
        let text = self.string()?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                mistakes.add(Some(line), format!("{name:?}: {error}"));
                None
            }
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("{text:?} is not known; it is one of {}", known.join(", "))
            })
        })
    }

    pub fn boolean(self) -> Option<bool> {
        self.value
            .get_ref()
            .as_bool()
            .or_else(|| self.wanted("true or false"))
    }

    /// A whole number within `range`.
    pub fn integer(self, range: Range<u64>) -> Option<u64> {
        let Some(written) = self.value.get_ref().as_integer() else {
            return self.wanted("a whole number");
        };
        let number = u64::from_str_radix(written.as_str(), written.radix())
            .ok()
            .filter(|number| range.contains(number));
        if number.is_none() {
            let last = range.end.saturating_sub(1);
            self.fault(format!("must be from {} to {last}", range.start));
        }
        number
    }

    /// `10s`, `5m`, `4h`, `1d`, `250ms`.
    pub fn duration(self) -> Option<Duration> {
        self.parse(|text| {
            duration(text)
                .ok_or("must be a length of time such as \"10s\", \"5m\", \"4h\" or \"1d\"")
        })
    }

    /// The same, where nothing makes no sense.
    pub fn positive_duration(self) -> Option<Duration> {
        self.parse(|text| match duration(text) {
            Some(Duration::ZERO) => Err("must be more than nothing"),
            Some(duration) => Ok(duration),
            None => Err("must be a length of time such as \"10s\", \"5m\", \"4h\" or \"1d\""),
        })
    }

    /// `25 MiB`, in octets.
    pub fn size(self) -> Option<u64> {
        self.parse(|text| size(text).ok_or("must be a size such as \"512 KiB\" or \"25 MiB\""))
    }

    /// `2026-11-22T20:00:00+01:00`.
    pub fn moment(self) -> Option<Timestamp> {
        const EXAMPLE: &str = "a time with its offset, such as 2026-11-22T20:00:00+01:00";
        let Some(written) = self.value.get_ref().as_datetime() else {
            return self.wanted(EXAMPLE);
        };
        let moment = written
            .to_string()
            .parse()
            .ok()
            .filter(|it| ERA.contains(it));
        if moment.is_none() {
            self.fault(format!("must be {EXAMPLE}, this is {written}"));
        }
        moment
    }

    /// The values of a list, each with its own line.
    pub fn list(self) -> Option<Vec<Value<'d>>> {
        if !self.value.get_ref().is_array() {
            return self.wanted("a list in [ ]");
        }
        let (name, path, mistakes) = (self.name, self.path, self.mistakes);
        let DeValue::Array(items) = self.value.into_inner() else {
            return None;
        };
        let value = |value: Spanned<DeValue<'d>>| Value {
            name: name.clone(),
            path: path.clone(),
            line: mistakes.line(value.span().start),
            value,
            mistakes,
        };
        Some(items.into_iter().map(value).collect())
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether this is a list with nothing in it.
    pub fn is_empty_list(&self) -> bool {
        self.value
            .get_ref()
            .as_array()
            .is_some_and(|it| it.is_empty())
    }

    pub fn table(self) -> Option<Table<'d>> {
        if !self.value.get_ref().is_table() {
            return self.wanted(&format!("one table, [{}]", self.path));
        }
        match self.value.into_inner() {
            DeValue::Table(entries) => Some(Table::new(
                self.path,
                Some(self.line),
                entries,
                self.mistakes,
            )),
            _ => None,
        }
    }

    fn tables(self) -> Vec<Table<'d>> {
        if !self.value.get_ref().is_array() {
            let _: Option<()> = self.wanted(&format!("written [[{}]]", self.path));
            return Vec::new();
        }
        let items = self.list().unwrap_or_default();
        items.into_iter().filter_map(Value::table).collect()
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A number and the word after it.
fn amount(text: &str) -> Option<(u64, &str)> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A length of time as written in settings.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = amount(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A length of time as [`duration`] reads it, in the largest unit that it is a whole number of.
pub fn length(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ];
    units
        .into_iter()
        .find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit))
        .map_or_else(
            || format!("{millis}ms"),
            |(word, unit)| format!("{}{word}", millis / unit),
        )
}

/// A number of octets as written in settings.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = amount(text)?;
    let octets: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(octets)
}

/// A text as a TOML basic string, in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A reader that knows one key of every kind.
    fn read_all(text: &str) -> Result<(), Vec<String>> {
        read(text, |mut root, _| {
            root.require("name")?.filled();
            root.take("flag").and_then(Value::boolean);
            root.take("count").and_then(|v| v.integer(1..10));
            root.take("wait").and_then(Value::duration);
            root.take("room").and_then(Value::size);
            root.take("at").and_then(Value::moment);
            root.take("colour")
                .and_then(|v| v.word(&[("red", 1), ("blue", 2)]));
            for word in root.take("words").and_then(Value::list).unwrap_or_default() {
                word.filled();
            }
            if let Some(mut limits) = root.table("limits") {
                limits.take("size").and_then(Value::size);
                if let Some(mut rates) = limits.table("rates") {
                    rates.take("gateway").and_then(Value::string);
                }
            }
            for mut hop in root.tables("hop") {
                hop.require("url").and_then(Value::filled);
            }
            Some(())
        })
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn names_every_mistake() {
        #[rustfmt::skip]
        let cases = [
            ("", vec!["\"name\" is missing"]),
            ("name = \"\"", vec!["line 1: \"name\": must not be empty"]),
            ("name = \"a\\u0007b\"", vec!["line 1: \"name\": must not contain control characters"]),
            ("name = 4", vec!["line 1: \"name\": must be a text in quotes, this is a whole number"]),
            ("name = \"a\"\n[limitz]\n", vec!["line 2: unknown key \"limitz\"; did you mean \"limits\"?"]),
            ("name = \"a\"\n\nxyzzy = 1\n", vec![
                "line 3: unknown key \"xyzzy\"; known here: name, flag, count, wait, room, at, colour, words, limits, hop"]),
            ("name = \"a\"\n[limits]\nsizes = 1\n[limits.ratez]\n", vec![
                "line 3: unknown key \"sizes\" in [limits]; did you mean \"size\"?",
                "line 4: unknown key \"ratez\" in [limits]; did you mean \"rates\"?"]),
            ("name = \"a\"\n[limits.rates]\ngatway = \"x\"\n", vec![
                "line 3: unknown key \"gatway\" in [limits.rates]; did you mean \"gateway\"?"]),
            ("name = \"a\"\n[[hop]]\nurl = \"x\"\n[[hop]]\nurk = \"x\"\n", vec![
                "line 4: \"url\" is missing in [hop]",
                "line 5: unknown key \"urk\" in [hop]; did you mean \"url\"?"]),
            ("name = \"a\"\n[hop]\nurl = \"x\"\n", vec!["line 2: \"hop\": must be written [[hop]], this is a table"]),
            ("name = \"a\"\n[[limits]]\n", vec!["line 2: \"limits\": must be one table, [limits], this is a list"]),
            ("name = \"a\"\nlimits = 1\n", vec!["line 2: \"limits\": must be one table, [limits], this is a whole number"]),
            ("name = \"a\"\nflag = \"no\"", vec!["line 2: \"flag\": must be true or false, this is a text"]),
            ("name = \"a\"\ncount = 10", vec!["line 2: \"count\": must be from 1 to 9"]),
            ("name = \"a\"\ncount = -1", vec!["line 2: \"count\": must be from 1 to 9"]),
            ("name = \"a\"\ncount = 99999999999999999999", vec!["line 2: \"count\": must be from 1 to 9"]),
            ("name = \"a\"\nwait = \"10\"", vec!["line 2: \"wait\": must be a length of time such as \"10s\", \"5m\", \"4h\" or \"1d\""]),
            ("name = \"a\"\nroom = \"many\"", vec!["line 2: \"room\": must be a size such as \"512 KiB\" or \"25 MiB\""]),
            ("name = \"a\"\nat = 2026-11-22T20:00:00", vec![
                "line 2: \"at\": must be a time with its offset, such as 2026-11-22T20:00:00+01:00, this is 2026-11-22T20:00:00"]),
            ("name = \"a\"\ncolour = \"green\"", vec!["line 2: \"colour\": \"green\" is not known; it is one of red, blue"]),
            ("name = \"a\"\nwords = [\n  \"x\",\n  5,\n]", vec!["line 4: \"words\": must be a text in quotes, this is a whole number"]),
            ("name = \"a\"\nwords = \"x\"", vec!["line 2: \"words\": must be a list in [ ], this is a text"]),
        ];
        for (text, mistakes) in cases {
            let mistakes: Vec<String> = mistakes.into_iter().map(str::to_owned).collect();
            assert_eq!(read_all(text), Err(mistakes), "{text}");
        }
    }

    #[test]
    fn names_bad_syntax_by_its_line() {
        for (text, line) in [
            ("name = \"a\"\ncount = \n", "line 2: "),
            ("name = \"a\"\nname = \"b\"\n", "line 2: "),
            ("name = \"a\"\n[limits\n", "line 2: "),
            ("name = \"a", "line 1: "),
        ] {
            let mistakes = read_all(text).unwrap_err();
            assert!(
                mistakes.iter().all(|it| it.starts_with(line)),
                "{mistakes:?}"
            );
        }
    }

    #[test]
    fn takes_what_is_right() {
        let text = "name = \"a\"\nflag = true\ncount = 9\nwait = \"5m\"\nroom = \"25 MiB\"\n\
                    at = 2026-11-22 20:00:00+01:00\ncolour = \"red\"\nwords = [\"x\"]\n\
                    [limits]\nrates = { gateway = \"x\" }\n[[hop]]\nurl = \"x\"\n";
        assert_eq!(read_all(text), Ok(()));
    }

    #[test]
    fn reads_lengths_and_sizes() {
        #[rustfmt::skip]
        let cases = [
            ("10s", Some(10_000)), ("5m", Some(300_000)), ("4h", Some(14_400_000)), ("1d", Some(86_400_000)),
            ("250ms", Some(250)), ("0s", Some(0)), ("5", None), ("s", None), ("-1s", None), ("", None),
            ("1.5h", None), ("99999999999999999999s", None), ("18446744073709551615d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
        #[rustfmt::skip]
        let cases = [
            ("25 MiB", Some(25 << 20)), ("25MiB", Some(25 << 20)), ("1 GiB", Some(1 << 30)), ("10 B", Some(10)),
            ("4 KiB", Some(4096)), ("1 MB", Some(1_000_000)), ("25", None), ("MiB", None), ("1 TiB", None),
        ];
        for (text, octets) in cases {
            assert_eq!(size(text), octets, "{text}");
        }
    }

    #[test]
    fn quotes_what_toml_reads_back() {
        for text in [
            "",
            "vakt",
            "a\"b\\c",
            "Ålesund",
            "tab\there",
            "\u{1}\u{7f}\u{85}",
        ] {
            let document = format!("text = {}", quoted(text));
            let back: toml::Table = document.parse().unwrap();
            assert_eq!(back.get("text").and_then(|it| it.as_str()), Some(text));
        }
    }
}
