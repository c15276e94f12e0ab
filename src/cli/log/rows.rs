//! `ilbud log export` of rows: CSV or JSON lines, the oldest first, in memory that does not grow with the log.
//!
//! A file appears whole or not at all: it is written beside itself, and renamed. CSV is RFC 4180 in UTF-8 with a
//! mark at its beginning, without which spreadsheets read it as something else; no cell of it is a formula (one that
//! would be begins with an apostrophe), and control characters are written as `\\u{1b}`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

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

/// Writes all rows that fit. That it was done is noted before a file appears, or anything is written to stdout.
pub(super) async fn export(
    store: &Arc<dyn Store>,
    search: Search,
    json: bool,
    output: Option<&Path>,
    reader: &Reader,
) -> Result<(), Failure> {
    let Some(file) = output else {
        reader.announce().await?;
        let out = BufWriter::new(io::stdout());
        let progress = Progress::new(!io::stdout().is_terminal());
        let (rows, out) = stream(store, search, json, out, progress, reader).await?;
        drop(out);
        return reader.show(rows, || Ok(())).await;
    };
    let name = |fault: io::Error| Failure::new(format!("{}: {fault}", file.display()));
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Gone with this function, unless it is renamed. Nobody else may read it.
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(name)?;
    let out = BufWriter::new(beside.as_file().try_clone().map_err(name)?);
    let progress = Progress::new(true);
    let (rows, out) = stream(store, search, json, out, progress, reader).await?;
    drop(out);
    let keep = || {
        beside.as_file().sync_all().map_err(name)?;
        match beside.persist(file) {
            Ok(_) => Ok(()),
            Err(fault) => Err(name(fault.error)),
        }
    };
    reader.show(rows, keep).await
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
            Self::Table(table) => table.row(&row(&found)),
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
