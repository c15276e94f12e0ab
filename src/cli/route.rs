//! `ilbud route`: apply, export, history, show, diff, revert, explain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::{Failure, exposed_table, operator, print, said};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::routes::{self, Outcome, Proposal, Unusable};
use crate::ops::workstations;
use crate::policy::decide;
use crate::policy::difference::{Altered, Change, How};
use crate::policy::table::Fault;
use crate::spool::store::{Revision, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put a routing table in force: all of it or nothing
    Apply {
        file: PathBuf,
        /// Only if the table in force is still this revision
        #[arg(long, value_name = "REV")]
        expect: Option<u64>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Print the table in force as a file that `apply` takes
    Export,
    /// Every revision: when, by whom, what and why
    History {
        #[arg(long)]
        json: bool,
    },
    /// The table of a revision, with the passwords in it, as a file that `apply` takes
    Show {
        #[arg(value_name = "REV")]
        revision: u64,
        /// When it was made, by whom, what and why, and not the table
        #[arg(long)]
        json: bool,
    },
    /// What revision B has otherwise than revision A, room by room; no password is shown
    Diff {
        #[arg(value_name = "A")]
        before: u64,
        #[arg(value_name = "B")]
        after: u64,
        #[arg(long)]
        json: bool,
    },
    /// Put the table of an old revision in force again, as a new revision
    Revert {
        #[arg(value_name = "REV")]
        revision: u64,
        /// Only if the table in force is still this revision
        #[arg(long, value_name = "REV")]
        expect: Option<u64>,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// What would happen to a message from FROM to TO, and by which rule
    Explain {
        from: String,
        to: String,
        /// The client's address, the user that it logs in as, or a name in its certificate; left out, any workstation of FROM's room
        #[arg(long, value_name = "IP or NAME")]
        client: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    match command {
        Command::Apply {
            file,
            expect,
            reason,
            json,
        } => {
            let proposal = proposal(file, *expect, reason.clone())?;
            apply(&store, file, proposal, &settings, *json).await
        }
        Command::Export => export(&store).await,
        Command::History { json } => history(&store, *json).await,
        Command::Show { revision, json } => show(&store, *revision, *json).await,
        Command::Diff {
            before,
            after,
            json,
        } => diff(&store, *before, *after, *json).await,
        Command::Revert {
            revision,
            expect,
            reason,
            json,
        } => {
            let reason = said(reason).map(str::to_owned);
            let (by, now) = (operator(), Timestamp::now());
            let outcome = routes::revert(&store, *revision, by, reason, *expect, now).await?;
            let source = format!("revision {revision}");
            warn(&store, &source, &outcome.warnings, &settings).await?;
            tell(&outcome, *json)
        }
        Command::Explain {
            from,
            to,
            client,
            json,
        } => {
            let client = client.as_deref().map(decide::Client::from);
            explain(&store, (from, to), client, settings, *json).await
        }
    }
}

fn proposal(
    file: &Path,
    expected: Option<u64>,
    reason: Option<String>,
) -> Result<Proposal, Failure> {
    let toml = std::fs::read_to_string(file)
        .map_err(|fault| Failure::new(format!("{}: {fault}", file.display())))?;
    Ok(Proposal {
        toml,
        by: operator(),
        reason,
        expected,
    })
}

async fn apply(
    store: &Arc<dyn Store>,
    file: &Path,
    proposal: Proposal,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let exposed = exposed_table(file, &proposal.toml);
    let outcome = routes::apply(store, proposal, Timestamp::now())
        .await
        .map_err(|refused| Failure::of_table(file, refused))?;
    if let Some(fault) = exposed {
        print::complaint(&format!("warning: {fault}"));
    }
    let source = file.display().to_string();
    warn(store, &source, &outcome.warnings, settings).await?;
    tell(&outcome, json)
}

/// What is worth knowing of the table that is in force now.
async fn warn(
    store: &Arc<dyn Store>,
    source: &str,
    warnings: &[Fault],
    settings: &Settings,
) -> Result<(), Failure> {
    for warning in warnings {
        print::complaint(&format!("warning: {source}: {warning}"));
    }
    if let Some((_, table)) = routes::current(store).await? {
        let users = workstations::doubt_users(store, &table).await?;
        let times = routes::doubt_times(&table, &settings.delivery);
        for doubt in times.into_iter().chain(users) {
            print::complaint(&format!("warning: {doubt}"));
        }
    }
    Ok(())
}

fn tell(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    if json {
        let summary = outcome.summary.as_deref().unwrap_or_default();
        print::json(&serde_json::json!({ "revision": outcome.revision, "summary": summary }))?;
    } else if let Some(summary) = &outcome.summary {
        print::line(format_args!(
            "Revision {} is in force: {}",
            outcome.revision,
            print::harmless(summary)
        ))?;
    } else {
        print::line(format_args!(
            "No difference: revision {} stays in force.",
            outcome.revision
        ))?;
    }
    Ok(())
}

impl From<Unusable> for Failure {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Unknown(_, None) => none_yet(),
            Unusable::Unknown(number, Some(newest)) => Self::new(format!(
                "there is no revision {number}; the newest is {newest}; see: ilbud route history"
            )),
            Unusable::Faults(number, faults) => Self::of(
                faults
                    .iter()
                    .map(|fault| format!("revision {number}: {fault}")),
            ),
            Unusable::Store(fault) => fault.into(),
        }
    }
}

fn none_yet() -> Failure {
    Failure::new("there is no routing table yet; make one with: ilbud route apply FILE")
}

async fn export(store: &Arc<dyn Store>) -> Result<(), Failure> {
    let revision = store.routes().await?.ok_or_else(none_yet)?;
    print::text(&revision.table)?;
    Ok(())
}

async fn history(store: &Arc<dyn Store>, json: bool) -> Result<(), Failure> {
    let revisions = store.route_history().await?;
    if !json {
        let row = |it: &Revision| {
            let reason = it.reason.clone().unwrap_or_default();
            vec![
                it.revision.to_string(),
                print::local(it.at),
                it.by.clone(),
                it.summary.clone(),
                reason,
            ]
        };
        let rows: Vec<_> = revisions.iter().map(row).collect();
        return Ok(print::table(
            &["revision", "at", "by", "summary", "reason"],
            &rows,
        )?);
    }
    for it in revisions {
        print::json(&described(&it))?;
    }
    Ok(())
}

fn described(it: &Revision) -> serde_json::Value {
    serde_json::json!({
        "revision": it.revision, "at": it.at, "by": it.by,
        "reason": it.reason, "summary": it.summary,
    })
}

async fn show(store: &Arc<dyn Store>, number: u64, json: bool) -> Result<(), Failure> {
    let revision = routes::revision(store, number).await?;
    match json {
        true => print::json(&described(&revision))?,
        false => print::text(&revision.table)?,
    }
    Ok(())
}

async fn diff(store: &Arc<dyn Store>, before: u64, after: u64, json: bool) -> Result<(), Failure> {
    let changes = routes::between(store, before, after).await?;
    if json {
        for change in &changes {
            print::json(&as_json(change))?;
        }
    } else if changes.is_empty() {
        print::line(format_args!(
            "No difference between revision {before} and revision {after}."
        ))?;
    } else {
        differences(&changes)?;
    }
    Ok(())
}

/// A line for each entry, and one for each key of what changed.
fn differences(changes: &[Change]) -> Result<(), Failure> {
    for change in changes {
        print::line(format_args!(
            "{} {} {}",
            change.kind.word(),
            print::harmless(&change.name),
            change.how.word()
        ))?;
        if let How::Changed(keys) = &change.how {
            for key in keys {
                print::line(format_args!("  {}", print::harmless(&key.to_string())))?;
            }
        }
    }
    Ok(())
}

fn as_json(change: &Change) -> serde_json::Value {
    let key = |it: &Altered| {
        serde_json::json!({
            "key": it.key,
            "before": it.before.as_ref().map(ToString::to_string),
            "after": it.after.as_ref().map(ToString::to_string),
            "new_password": it.has_new_password,
        })
    };
    let keys: Vec<_> = match &change.how {
        How::Changed(keys) => keys.iter().map(key).collect(),
        How::Added | How::Removed => Vec::new(),
    };
    serde_json::json!({
        "kind": "change", "room": change.room(), "summary": change.summary(),
        "entry": change.kind.word(), "name": change.name, "change": change.how.word(),
        "keys": keys,
    })
}

async fn explain(
    store: &Arc<dyn Store>,
    (from, to): (&str, &str),
    client: Option<decide::Client>,
    settings: Settings,
    json: bool,
) -> Result<(), Failure> {
    let (_, table) = routes::current(store).await?.ok_or_else(none_yet)?;
    let table = settings.in_force(table);
    for explanation in decide::explain(from, to, client.as_ref(), &table, Timestamp::now()) {
        if json {
            print::json(&explanation)?;
            continue;
        }
        print::line(format_args!(
            "{}: {}",
            explanation.decision,
            print::harmless(&explanation.rule)
        ))?;
        print::line(format_args!("  revision   {}", explanation.revision))?;
        if let Some(room) = &explanation.recipient_room {
            print::line(format_args!("  room       {room}"))?;
        }
        for hop in &explanation.next_hops {
            print::line(format_args!("  next hop   {}", print::harmless(hop)))?;
        }
        print::line(format_args!(
            "  reply      {}",
            print::harmless(&explanation.reply)
        ))?;
    }
    Ok(())
}
