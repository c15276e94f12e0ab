//! `ilbud log export`: what is taken along.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::asked::Asked;
use super::output::Output;
use super::{Why, rows, search_box};
use crate::cli::Failure;
use crate::cli::reading::Reader;
use crate::config::Settings;
use crate::mail::{Reference, Timestamp};
use crate::ops;
use crate::ops::inquiry::Register;
use crate::spool::store::{Search, Store};

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// A proof of what the log says of this message or refusal, to be checked anywhere with log verify --proof
    #[arg(long, value_name = "REF", value_parser = ops::log::reference, conflicts_with_all = ["csv", "json", "words"])]
    case: Option<Reference>,
    #[command(flatten)]
    asked: Asked,
    /// For a spreadsheet; this is what is written where nothing is said
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Where it is written; left out: stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) why: Why,
}

const HIDDEN: &str = "a proof shows subjects and names of attachments, which [log] mask = \"all\" hides: say why with --reason";

impl Export {
    /// What is asked for, as typed.
    pub(super) fn query(&self, keep_subjects: bool) -> String {
        match self.case {
            Some(reference) => format!("--case {reference}"),
            None => self.asked.typed(keep_subjects),
        }
    }
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    register: &Register,
    settings: &Settings,
    export: &Export,
    reader: &Reader,
) -> Result<(), Failure> {
    let output = export.output.as_deref();
    if let Some(reference) = export.case {
        return case(store, &settings.log, reference, output, reader).await;
    }
    let search = Search {
        limit: rows::PORTION,
        ..search_box::wanted(store, register, &export.asked, settings.language).await?
    };
    rows::export(store, search, export.json, output, reader).await
}

async fn case(
    store: &Arc<dyn Store>,
    settings: &ops::evidence::Settings,
    reference: Reference,
    output: Option<&Path>,
    reader: &Reader,
) -> Result<(), Failure> {
    if !reader.is_shown() {
        return Err(Failure::new(HIDDEN));
    }
    reader.announce().await?;
    if !reader.is_shown() {
        return Err(Failure::new(
            "nothing is shown: a proof has nothing masked in it",
        ));
    }
    let now = Timestamp::now();
    let proof = ops::evidence::case(store, settings, reference, now)
        .await
        .map_err(Failure::new)?;
    let output = Output::open(output)?;
    let mut out = output.writer()?;
    out.write_all(proof.text().as_bytes())?;
    out.flush()?;
    output.keep()
}
