//! `ilbud route csv`: the rooms or workstations of the table as a spreadsheet's list, and back.
//!
//! An import is an edit like any other (`ops::edits`): it is planned, refused and put in force like one.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};

use super::edits::{self, How, Order};
use super::none_yet;
use crate::cli::{Failure, print};
use crate::config::Settings;
use crate::ops::edits::Edit;
use crate::ops::routes;
use crate::policy::lists::{self, Import, List};
use crate::spool::store::Store;
use crate::spreadsheet::{self, Separator, Sheet};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Csv {
    /// Print the rooms, or the workstations, as CSV
    Export {
        list: Listed,
        /// Separate by semicolons, as spreadsheets expect in languages with a decimal comma
        #[arg(long)]
        semicolon: bool,
    },
    /// Change the table as a list says: a row changes what it names, or adds it
    ///
    /// The first row has the heads: those of an export, in any order. A column that is left out changes
    /// nothing; an empty cell takes the key out. Items in one cell are separated by `|`.
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
                sheet: sheet(file)?,
                ignored: ignore.clone(),
                is_whole: *replace,
            };
            let edit = Edit::Import(import);
            let done = edits::run(store, Order { edit, how }, settings).await;
            done.map_err(|failure| failure.of_file(file))
        }
    }
}

async fn export(store: &Arc<dyn Store>, list: List, separator: Separator) -> Result<(), Failure> {
    let (revision, table) = routes::current(store).await?.ok_or_else(none_yet)?;
    let (heads, rows) = lists::export(list, &table, &revision.table).map_err(Failure::of)?;
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    Ok(print::csv(separator, &heads, rows.into_iter())?)
}

fn sheet(file: &PathBuf) -> Result<Sheet, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|fault| Failure::new(format!("{shown}: {fault}")))?;
    let sheet = spreadsheet::read(&bytes);
    let sheet =
        sheet.map_err(|faults| Failure::of(faults.iter().map(|it| format!("{shown}: {it}"))))?;
    if sheet.is_guessed {
        print::complaint(&format!(
            "warning: {shown}: this is not UTF-8; it was read as Windows-1252, so look at names with letters like \u{e6}, \u{f8} and \u{e5}"
        ));
    }
    Ok(sheet)
}
