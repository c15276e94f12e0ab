//! `ilbud log answer`: what to say on the telephone of one message.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::Why;
use crate::cli::reading::Reader;
use crate::cli::{Failure, print};
use crate::mail::{Language, Reference, Timestamp};
use crate::ops;
use crate::ops::answer::{Sheet, Trace};
use crate::ops::inquiry::{self, Register};
use crate::spool::store::Store;

#[derive(Debug, Args)]
pub(in crate::cli) struct Question {
    #[arg(value_name = "REF", value_parser = ops::log::reference)]
    pub(super) reference: Reference,
    /// nb or en; otherwise as the settings say
    #[arg(long, value_name = "nb|en")]
    language: Option<Language>,
    #[command(flatten)]
    pub(super) why: Why,
    #[arg(long)]
    pub(super) json: bool,
}

/// The answer, or why there is none.
pub(super) async fn of(
    store: &Arc<dyn Store>,
    register: &Register,
    trace: &Trace,
    language: Language,
    reader: &Reader,
) -> Result<Sheet, Failure> {
    match inquiry::answer(register, trace, language, reader.is_shown()).await? {
        Some(sheet) => Ok(sheet),
        None => {
            let idea = inquiry::unknown(store, trace.reference, Timestamp::now()).await?;
            Err(Failure::new(idea))
        }
    }
}

/// `spoken`: the language of the settings.
pub(super) async fn run(
    store: &Arc<dyn Store>,
    register: &Register,
    question: &Question,
    spoken: Language,
    reader: &Reader,
) -> Result<(), Failure> {
    let trace = inquiry::trace(store, question.reference).await?;
    let language = question.language.unwrap_or(spoken);
    reader.settle(Some(trace.events.len())).await?;
    let sheet = match of(store, register, &trace, language, reader).await {
        Ok(sheet) => sheet,
        Err(unknown) => return reader.show(0, || Err(unknown)).await,
    };
    let shown = reader.show(sheet.timeline.len(), || match question.json {
        true => Ok(print::json(&sheet)?),
        false => Ok(print_sheet(&sheet)?),
    });
    shown.await
}

fn print_sheet(sheet: &Sheet) -> io::Result<()> {
    print_head(sheet)?;
    if sheet.recipients.len() > 1 {
        blank()?;
        for it in &sheet.recipients {
            say(&format!("{}  {}", it.recipient, it.sentence))?;
        }
    }
    if !sheet.timeline.is_empty() {
        blank()?;
    }
    for it in &sheet.timeline {
        say(&format!("{}  {}", print::local(it.at), it.text))?;
    }
    Ok(())
}

/// What is read out, what to do next, and which message it is about.
pub(super) fn print_head(sheet: &Sheet) -> io::Result<()> {
    say(&sheet.sentence)?;
    for line in &sheet.advice {
        say(line)?;
    }
    if let Some(about) = &sheet.about {
        blank()?;
        say(about)?;
    }
    Ok(())
}

pub(super) fn say(line: &str) -> io::Result<()> {
    print::line(format_args!(
        "{}",
        print::harmless(&print::with_local_times(line))
    ))
}

fn blank() -> io::Result<()> {
    print::line(format_args!(""))
}
