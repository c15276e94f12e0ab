//! `ilbud log export` of rows: CSV or JSON lines, the oldest first, in memory that does not grow with the log.
//!
//! That it is done is noted before the first octet is written anywhere, and how much it was when it is done. CSV is RFC 4180 in UTF-8 with a
//! mark at its beginning, without which spreadsheets read it as something else; no cell of it is a formula (one that
//! would be begins with an apostrophe), and control characters are written as `\\u{1b}`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use super::output::Output;
use super::progress::Progress;
use crate::cli::reading::Reader;
use crate::cli::{Failure, cells, print};
use crate::mail::Timestamp;
use crate::ops::privacy::Veils;
use crate::spool::store::{LogRow, Search, Store};
use crate::spreadsheet::{Separator, Writing};

/// Rows read at a time.
pub(super) const PORTION: usize = 500;
/// By which spreadsheets know UTF-8.
const MARK: &str = "\u{feff}";
const COLUMNS: [&str; 16] = [
    "ref",
    "at",
    "status",
    "sender",
    "sender_room",
    "recipient",
    "recipient_room",
    "subject",
    "size",
    "message_id",
    "client",
    "user",
    "reply",
    "count",
    "exception",
    "certificate",
];

/// Writes all rows that fit.
pub(super) async fn export(
    store: &Arc<dyn Store>,
    search: Search,
    json: bool,
    output: Option<&Path>,
    reader: &Reader,
) -> Result<(), Failure> {
    reader.announce().await?;
    let progress = Progress::new(output.is_some() || !io::stdout().is_terminal());
    let output = Output::open(output)?;
    let (rows, out) = stream(store, search, json, output.writer()?, progress, reader).await?;
    drop(out);
    reader.sum_up(rows).await;
    output.keep()
}

/// Gives back how many rows there were.
async fn stream<W: Write>(
    store: &Arc<dyn Store>,
    search: Search,
    json: bool,
    mut out: W,
    mut progress: Progress,
    reader: &Reader,
) -> Result<(usize, W), Failure> {
    if !json {
        out.write_all(MARK.as_bytes())?;
    }
    let mut sheet = match json {
        true => Sheet::Lines(out),
        false => Sheet::Table(Box::new(Writing::begin(out, Separator::Comma, &COLUMNS)?)),
    };
    let (mut rows, mut after, mut first) = (0, None, None);
    loop {
        let page = store.log_page(search.clone(), after).await?;
        let veils = reader.of_rows(&page.rows).await?;
        for row in &page.rows {
            sheet.row(&veils, row)?;
        }
        rows += page.rows.len();
        let Some(reached) = page.reached else { break };
        after = page.reached;
        let at = reached.made_at();
        let begin = *first.get_or_insert(at);
        progress.tell(|| format!("{rows} rows, {} %", percent(begin, at, &search)));
    }
    let out = sheet.end()?;
    progress.end(format_args!("{rows} rows"));
    Ok((rows, out))
}

/// How much of the time that is asked for is done: how many rows there will be, nobody knows.
fn percent(begin: Timestamp, at: Timestamp, search: &Search) -> u128 {
    let now = Timestamp::now();
    let end = search.until.map_or(now, |it| it.min(now));
    let whole = end.since(begin).as_millis().max(1);
    (at.since(begin).as_millis() * 100 / whole).min(100)
}

enum Sheet<W: Write> {
    Lines(W),
    Table(Box<Writing<W>>),
}

impl<W: Write> Sheet<W> {
    fn row(&mut self, veils: &Veils, found: &LogRow) -> io::Result<()> {
        let found = veils.row(found);
        match self {
            Self::Lines(out) => writeln!(out, "{}", print::as_json(&found)?),
            Self::Table(table) => table.row(&cells::in_a_sheet(row(&found))),
        }
    }

    fn end(self) -> io::Result<W> {
        let mut out = match self {
            Self::Lines(out) => out,
            Self::Table(table) => table.end()?,
        };
        out.flush()?;
        Ok(out)
    }
}

fn row(row: &LogRow) -> Vec<String> {
    vec![
        row.reference.to_string(),
        row.at.to_string(),
        row.status.clone(),
        cells::text(&row.sender),
        cells::text(&row.sender_room),
        cells::text(&row.recipient),
        cells::text(&row.recipient_room),
        cells::text(&row.subject),
        cells::number(row.size),
        cells::text(&row.message_id),
        print::harmless(&row.client),
        cells::text(&row.user),
        cells::text(&row.reply),
        row.count.to_string(),
        cells::number(row.exception),
        cells::text(&row.certificate),
    ]
}
