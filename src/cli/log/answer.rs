//! `ilbud log answer`: what to say on the telephone of one message.

use std::io;
use std::sync::Arc;

use crate::cli::{Failure, print};
use crate::mail::{Language, Reference, Timestamp};
use crate::ops::answer::{Sheet, Trace};
use crate::ops::inquiry;
use crate::spool::store::Store;

/// Subjects and names of attachments are for whoever may run these commands.
pub(super) const SHOWN: bool = true;

/// `nb` or `en`, as in the settings.
pub(super) fn language(word: &str) -> Result<Language, String> {
    match word {
        "nb" => Ok(Language::Nb),
        "en" => Ok(Language::En),
        other => Err(format!("the answer is in nb or en, not in {other:?}")),
    }
}

/// The answer, or why there is none.
pub(super) async fn of(
    store: &Arc<dyn Store>,
    trace: &Trace,
    language: Language,
) -> Result<Sheet, Failure> {
    match inquiry::answer(store, trace, language, SHOWN).await? {
        Some(sheet) => Ok(sheet),
        None => {
            let idea = inquiry::unknown(store, trace.reference, Timestamp::now()).await?;
            Err(Failure::new(idea))
        }
    }
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    reference: Reference,
    language: Language,
    json: bool,
) -> Result<(), Failure> {
    let trace = inquiry::trace(store, reference).await?;
    let sheet = of(store, &trace, language).await?;
    if json {
        return Ok(print::json(&sheet)?);
    }
    print_head(&sheet)?;
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

fn say(line: &str) -> io::Result<()> {
    print::line(format_args!(
        "{}",
        print::harmless(&print::with_local_times(line))
    ))
}

fn blank() -> io::Result<()> {
    print::line(format_args!(""))
}
