//! How the commands print: tables for people, one JSON object a line for scripts.
//!
//! What came from outside (a subject, a hop's reply) is made harmless before it meets a terminal.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::time::Duration;

use crate::mail::Timestamp;
use crate::mail::reply::{harmless_json, is_harmful};
use crate::spreadsheet::{self, Separator};

/// One JSON object on a line of its own.
pub(super) fn json(value: &impl serde::Serialize) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", as_json(value)?)
}

/// On one line, and harmless.
pub(super) fn as_json(value: &impl serde::Serialize) -> io::Result<String> {
    Ok(harmless_json(serde_json::to_string(value)?))
}

/// One line for people.
pub(super) fn line(line: Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// One line on stderr; where that cannot be written, nobody is there to be told.
pub(super) fn complaint(line: &str) {
    drop(writeln!(
        io::stderr().lock(),
        "{}",
        harmless(&shortened(&with_local_times(line)))
    ));
}

/// Longer than any screen: what somebody has written by mistake, and that is quoted.
const LONGEST: usize = 4_000;
/// At the end of a line stands what is wrong, and what to do.
const AT_THE_END: usize = 1_000;

/// The beginning and the end of what is too long to read.
fn shortened(line: &str) -> Cow<'_, str> {
    let length = line.chars().count();
    if length <= LONGEST {
        return line.into();
    }
    let begin = line.chars().take(LONGEST - AT_THE_END);
    let end = line.chars().skip(length - AT_THE_END);
    begin.chain(" … ".chars()).chain(end).collect()
}

/// Text as it is: a file for another command.
pub(super) fn text(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Control characters, and characters that reorder text, as visible escapes.
pub(super) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) {
            true => safe.extend(c.escape_unicode()),
            false => safe.push(c),
        }
    }
    safe
}

/// A moment for people: local date and time, with the offset.
pub(super) fn local(moment: Timestamp) -> String {
    moment.local()
}

/// A sentence of ours for people: what decides knows no zone, and has put moments in UTC into it.
pub(super) fn with_local_times(text: &str) -> String {
    const LENGTH: usize = "2026-11-22T11:00:00.000Z".len();
    let mut told = String::with_capacity(text.len());
    let mut seen = 0;
    for (last, _) in text.match_indices('Z') {
        let begin = (last + 1).saturating_sub(LENGTH).max(seen);
        let written = text.get(begin..=last).unwrap_or_default();
        let moment = written.parse::<Timestamp>().ok();
        if let Some(moment) = moment.filter(|it| it.to_string() == written) {
            told.push_str(text.get(seen..begin).unwrap_or_default());
            told.push_str(&local(moment));
            seen = last + 1;
        }
    }
    told.push_str(text.get(seen..).unwrap_or_default());
    told
}

/// `45 s`, `12 min`, `5 h` or `3 d`.
pub(super) fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7_200 => format!("{} min", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Rows in columns as wide as their widest cell.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| harmless(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        let head = heads.get(column).map_or(0, |head| head.chars().count());
        cells.chain([head]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = io::stdout().lock();
    let head: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in [head].iter().chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Rows for a spreadsheet, with a line of heads.
pub(super) fn csv(
    separator: Separator,
    heads: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    spreadsheet::write(io::stdout().lock(), separator, heads, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_a_sentence_is_local() {
        let at = |text: &str| text.parse().map(local).unwrap_or_default();
        let one = at("2026-11-22T11:00:00.000Z");
        for (text, expected) in [
            ("", String::new()),
            ("2026-11-22T11:00:00.000Z", one.clone()),
            (
                "ÆZ until 2026-11-22T11:00:00.000Z: ZZ, 2026-11-22T11:00:00.000ZZ",
                format!("ÆZ until {one}: ZZ, {one}Z"),
            ),
            // As it stands in a table, or was typed by somebody.
            ("2026-11-22T11:00:00Z", "2026-11-22T11:00:00Z".to_owned()),
        ] {
            assert_eq!(with_local_times(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(
            harmless("\x1b[2Jhei\u{202e}\r\nå"),
            "\\u{1b}[2Jhei\\u{202e}\\u{d}\\u{a}å"
        );
        let text = "\x1b]52;c;x\x07\u{7f}\u{9b}2J\u{61c}\u{2066}å";
        let line = as_json(&text).unwrap_or_default();
        assert_eq!(
            line,
            "\"\\u001b]52;c;x\\u0007\\u007f\\u009b2J\\u061c\\u2066å\""
        );
        let read: Result<String, _> = serde_json::from_str(&line);
        assert_eq!(read.ok().as_deref(), Some(text));
    }
}
