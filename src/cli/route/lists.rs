//! `ilbud route csv`: the rooms or workstations of the table as a spreadsheet's list, and back.
//!
//! An import is an edit like any other (`ops::edits`): it is planned, refused and put in force like one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};

use super::edits::{self, How, Order};
use super::none_yet;
use crate::cli::{Failure, exposed, print};
use crate::config::Settings;
use crate::ops::edits::Edit;
use crate::ops::routes;
use crate::policy::lists::{self, Import, List};
use crate::spool::store::{Store, StoreError};
use crate::spreadsheet::{self, Row, Separator, Sheet};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Csv {
    /// Print the rooms, with the passwords in it, or the workstations, as CSV
    Export {
        list: Listed,
        /// Separate by semicolons, as spreadsheets expect in languages with a decimal comma
        #[arg(long)]
        semicolon: bool,
    },
    /// Change the table as a list says: a row changes what it names, or adds it
    ///
    /// The first row has the heads: those of an export, in any order. A column that is left out changes
    /// nothing, nor does a cell that is missing at the end of a row; an empty cell takes the key out. Items in
    /// one cell are separated by `|`.
    Import {
        list: Listed,
        file: PathBuf,
        /// What is not in the list is taken out of the table
        #[arg(long)]
        replace: bool,
        /// A column that is none of ours
        #[arg(long, value_name = "COLUMN")]
        ignore: Vec<String>,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Listed {
    Rooms,
    Workstations,
}

impl Listed {
    const fn list(self) -> List {
        match self {
            Self::Rooms => List::Rooms,
            Self::Workstations => List::Workstations,
        }
    }
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    csv: &Csv,
    settings: &Settings,
) -> Result<(), Failure> {
    match csv {
        Csv::Export { list, semicolon } => {
            let separator = match semicolon {
                true => Separator::Semicolon,
                false => Separator::Comma,
            };
            export(store, list.list(), separator).await
        }
        Csv::Import {
            list,
            file,
            replace,
            ignore,
            how,
        } => {
            let import = Import {
                list: list.list(),
                file: file.display().to_string(),
                sheet: sheet(file)?,
                ignored: ignore.clone(),
                is_whole: *replace,
            };
            let order = Order {
                warnings: doubts(file, &import.sheet),
                edit: Edit::Import(import),
                how,
            };
            edits::run(store, order, settings).await
        }
    }
}

async fn export(store: &Arc<dyn Store>, list: List, separator: Separator) -> Result<(), Failure> {
    let found = match routes::current(store).await {
        Ok(found) => found,
        Err(fault) => return Err(unreadable(store, fault).await),
    };
    let (revision, table) = found.ok_or_else(none_yet)?;
    let (heads, rows) = lists::export(list, &table, &revision.table).map_err(Failure::of)?;
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    Ok(print::csv(separator, &heads, rows.into_iter())?)
}

/// A table that cannot be read is no list.
async fn unreadable(store: &Arc<dyn Store>, fault: StoreError) -> Failure {
    match fault {
        StoreError::Corrupt(_) => {
            let remedy = routes::find_remedy(store).await;
            Failure::new(format!("{fault}; {remedy}"))
        }
        fault => fault.into(),
    }
}

fn sheet(file: &Path) -> Result<Sheet, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|fault| Failure::new(format!("{shown}: {fault}")))?;
    let sheet = spreadsheet::read(&bytes);
    sheet.map_err(|faults| Failure::of(faults.iter().map(|it| format!("{shown}: {it}"))))
}

/// What is worth knowing of a list as a file.
fn doubts(file: &Path, sheet: &Sheet) -> Vec<String> {
    let shown = file.display();
    let guessed = sheet.is_guessed.then(|| format!(
        "{shown}: this is not UTF-8; it was read as Windows-1252, so look at names with letters like \u{e6}, \u{f8} and \u{e5}"
    ));
    let exposed = exposed(file, lists::has_password(sheet));
    let short = short_rows(file, sheet);
    guessed.into_iter().chain(exposed).chain(short).collect()
}

/// As many rows as are named.
const NAMED: usize = 8;

/// Some programs leave out empty cells at the end of a row, and so does a slip.
fn short_rows(file: &Path, sheet: &Sheet) -> Option<String> {
    let heads = sheet.heads.len();
    let is_short = |row: &&Row| row.cells.len() < heads;
    let short: Vec<String> = (sheet.rows.iter().filter(is_short))
        .map(|row| row.number.to_string())
        .collect();
    let named: Vec<&str> = short.iter().take(NAMED).map(String::as_str).collect();
    let rows = match (short.as_slice(), short.len().saturating_sub(NAMED)) {
        ([], _) => return None,
        ([one], _) => format!("row {one} has"),
        (_, 0) => format!("rows {} have", named.join(", ")),
        (_, more) => format!("rows {} and {more} more have", named.join(", ")),
    };
    Some(format!(
        "{}: {rows} fewer than {heads} cells; what their missing cells are for stays as it was",
        file.display()
    ))
}
