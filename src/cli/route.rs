//! `ilbud route`: apply, export, history, explain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::{Failure, exposed_table, operator, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::routes::{self, Proposal};
use crate::ops::{reason, workstations};
use crate::policy::decide;
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
        #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
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
    for warning in &outcome.warnings {
        print::complaint(&format!("warning: {}: {warning}", file.display()));
    }
    if let Some(fault) = exposed {
        print::complaint(&format!("warning: {fault}"));
    }
    if let Some((_, table)) = routes::current(store).await? {
        let users = workstations::doubt_users(store, &table).await?;
        let times = routes::doubt_times(&table, &settings.delivery);
        for doubt in times.into_iter().chain(users) {
            print::complaint(&format!("warning: {doubt}"));
        }
    }
    if json {
        let summary = outcome.summary.unwrap_or_default();
        print::json(&serde_json::json!({ "revision": outcome.revision, "summary": summary }))?;
    } else if let Some(summary) = outcome.summary {
        print::line(format_args!(
            "Revision {} is in force: {}",
            outcome.revision,
            print::harmless(&summary)
        ))?;
    } else {
        print::line(format_args!(
            "No difference: revision {} stays in force.",
            outcome.revision
        ))?;
    }
    Ok(())
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
        print::json(&serde_json::json!({
            "revision": it.revision, "at": it.at, "by": it.by,
            "reason": it.reason, "summary": it.summary,
        }))?;
    }
    Ok(())
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
