//! `ilbud quarantine`: list, show, release, delete.

use std::io::Write as _;
use std::sync::Arc;

use clap::Subcommand;

use super::log::print_attachment;
use super::reading::Reader;
use super::{Failure, operator, print};
use crate::config::Settings;
use crate::lifecycle::Hand;
use crate::mail::{Reference, Timestamp};
use crate::ops::quarantine::Refused;
use crate::ops::{self, quarantine, routes};
use crate::spool::store::{CaughtMessage, MessageRecord, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What was caught, newest first
    List {
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Show subjects and names of attachments, and say why: it is logged
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// One message: what was found in it, and what is attached to it
    Show {
        #[arg(value_name = "REF", value_parser = ops::log::reference)]
        reference: Reference,
        /// Write the message itself to stdout, dangerous as it is. That you did is logged
        #[arg(long, conflicts_with = "json")]
        message: bool,
        /// Show subject and names of attachments, and say why: it is logged
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Scan again, and deliver
    Release {
        #[arg(value_name = "REF", required = true, value_parser = ops::log::reference)]
        references: Vec<Reference>,
        /// Deliver although it still fails its scan
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why, for the log and the message's X-Ilbud-Scan
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
    },
    /// Do away with it
    Delete {
        #[arg(value_name = "REF", required = true, value_parser = ops::log::reference)]
        references: Vec<Reference>,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
    },
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    let mask = settings.privacy.mask;
    let reader = |command, query, reason: &Option<String>, json| {
        Reader::new(&store, mask, json, command, query, reason.as_deref())
    };
    match command {
        Command::List {
            limit,
            reason,
            json,
        } => {
            let reader = reader("quarantine list", String::new(), reason, *json);
            let caught = store.quarantined(None, *limit).await?;
            reader.announce_if_revealing().await?;
            list(&reader.caught(&caught).await?, *json)
        }
        Command::Show {
            reference,
            message: true,
            reason,
            ..
        } => write_out(&store, *reference, reason.as_deref()).await,
        Command::Show {
            reference,
            reason,
            json,
            ..
        } => {
            let reader = reader("quarantine show", reference.to_string(), reason, *json);
            let (caught, mut record) = quarantine::show(&store, *reference)
                .await
                .map_err(|it| failure(*reference, it))?;
            reader.announce_if_revealing().await?;
            let caught = reader.caught(&[caught]).await?;
            let veil = reader.veil(*reference).await?;
            for it in &mut record.attachments {
                *it = veil.attachment(it);
            }
            for it in caught {
                show(&it, &record, *json)?;
            }
            Ok(())
        }
        Command::Release {
            references,
            force,
            reason,
        } => release(&store, &settings, references, *force, reason.as_deref()).await,
        Command::Delete { references, reason } => {
            delete(&store, references, reason.as_deref()).await
        }
    }
}

fn list(caught: &[CaughtMessage], json: bool) -> Result<(), Failure> {
    if json {
        return Ok(caught.iter().try_for_each(print::json)?);
    }
    if caught.is_empty() {
        return Ok(print::line(format_args!("Nothing is in quarantine."))?);
    }
    let heads = ["REF", "CAUGHT", "FROM", "TO", "WHY"];
    let row = |it: &CaughtMessage| {
        vec![
            it.reference.to_string(),
            print::local(it.at),
            it.sender.clone().unwrap_or_else(|| "<>".to_owned()),
            it.recipients.join(", "),
            it.reason.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = caught.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

fn show(caught: &CaughtMessage, record: &MessageRecord, json: bool) -> Result<(), Failure> {
    if json {
        return Ok(print::json(caught)?);
    }
    let local = print::local(caught.at);
    let facts = [
        ("Reference", caught.reference.to_string()),
        ("Caught", local),
        (
            "Sender",
            caught.sender.clone().unwrap_or_else(|| "<>".to_owned()),
        ),
        ("Recipients", caught.recipients.join(", ")),
        ("Subject", caught.subject.clone().unwrap_or_default()),
        ("Size", format!("{} octets", caught.size)),
        ("Found", caught.malware.clone()),
        ("By", caught.engine.clone()),
    ];
    for (label, fact) in facts {
        print::line(format_args!("{label:<12}{}", print::harmless(&fact)))?;
    }
    Ok(record.attachments.iter().try_for_each(print_attachment)?)
}

async fn write_out(
    store: &Arc<dyn Store>,
    reference: Reference,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let by = operator();
    let hand = Hand {
        by: &by,
        reason,
        now: Timestamp::now(),
    };
    let content = quarantine::read(store, reference, hand)
        .await
        .map_err(|it| failure(reference, it))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&content.trace)?;
    out.write_all(&content.bytes)?;
    Ok(out.flush()?)
}

async fn release(
    store: &Arc<dyn Store>,
    settings: &Settings,
    references: &[Reference],
    force: bool,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let table = routes::current(store).await?;
    let table = table.map(|(_, table)| table).unwrap_or_default();
    let by = operator();
    let mut mistakes = Vec::new();
    for &reference in references {
        let now = Timestamp::now();
        let by = by.as_str();
        let hand = Hand { by, reason, now };
        let released =
            quarantine::release(store, reference, &settings.scan, &table, force, hand).await;
        match released {
            Ok(()) => print::line(format_args!("{reference} is released."))?,
            Err(refused) => mistakes.push(complaint(reference, refused)),
        }
    }
    outcome(mistakes)
}

async fn delete(
    store: &Arc<dyn Store>,
    references: &[Reference],
    reason: Option<&str>,
) -> Result<(), Failure> {
    let by = operator();
    let mut mistakes = Vec::new();
    for &reference in references {
        let now = Timestamp::now();
        let by = by.as_str();
        match quarantine::delete(store, reference, Hand { by, reason, now }).await {
            Ok(()) => print::line(format_args!("{reference} is deleted."))?,
            Err(refused) => mistakes.push(complaint(reference, refused)),
        }
    }
    outcome(mistakes)
}

fn outcome(mistakes: Vec<String>) -> Result<(), Failure> {
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(mistakes)),
    }
}

fn failure(reference: Reference, refused: Refused) -> Failure {
    Failure::new(complaint(reference, refused))
}

fn complaint(reference: Reference, refused: Refused) -> String {
    match refused {
        Refused::NotThere => format!(
            "{reference} is not in quarantine; what became of it: ilbud log show {reference}"
        ),
        Refused::StillFails(why) => format!(
            "{reference} still fails its scan ({why}); to deliver it all the same: ilbud quarantine \
             release {reference} --force --reason TEXT"
        ),
        Refused::Overtaken => format!("{reference} was changed by somebody else meanwhile"),
        Refused::Store(fault) => fault.to_string(),
    }
}
