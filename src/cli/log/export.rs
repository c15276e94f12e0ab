//! `ilbud log export`: what is taken along.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::output::Output;
use super::{Asked, Why, rows, search_box};
use crate::cli::Failure;
use crate::cli::reading::Reader;
use crate::config::Settings;
use crate::mail::{Reference, Timestamp};
use crate::ops;
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
    why: Why,
}

const HIDDEN: &str = "a proof shows subjects and names of attachments, which [log] mask = \"all\" hides: say why with --reason";

pub(super) async fn run(
    store: &Arc<dyn Store>,
    settings: &Settings,
    export: &Export,
) -> Result<(), Failure> {
    match export.case {
        Some(reference) => case(store, settings, reference, export).await,
        None => {
            let query = export.asked.typed(settings.privacy.keep_subjects);
            let (mask, reason) = (settings.privacy.mask, export.why.reason.as_deref());
            let reader = Reader::new(store, mask, true, "log export", query, reason);
            let search = Search {
                limit: rows::PORTION,
                ..search_box::wanted(store, &export.asked, settings.language).await?
            };
            let output = export.output.as_deref();
            rows::export(store, search, export.json, output, &reader).await
        }
    }
}

async fn case(
    store: &Arc<dyn Store>,
    settings: &Settings,
    reference: Reference,
    export: &Export,
) -> Result<(), Failure> {
    let (mask, reason) = (settings.privacy.mask, export.why.reason.as_deref());
    let query = format!("--case {reference}");
    let reader = Reader::new(store, mask, true, "log export", query, reason);
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
    let proof = ops::evidence::case(store, &settings.log, reference, now)
        .await
        .map_err(Failure::new)?;
    let output = Output::open(export.output.as_deref())?;
    let mut out = output.writer()?;
    out.write_all(proof.text().as_bytes())?;
    out.flush()?;
    output.keep()
}
