//! `ilbud route`: plan, apply, export, history, show, diff, revert, explain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::{Failure, exposed_table, operator, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::plan::{self, Plan};
use crate::ops::routes::{self, Outcome, Proposal, Unusable};
use crate::ops::{reason, workstations};
use crate::policy::decide;
use crate::policy::difference::{Altered, Change, How};
use crate::policy::replay::{Effect, Traffic};
use crate::policy::table::{Fault, RoutingTable};
use crate::spool::store::{Revision, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What applying a routing table would change, and what it would have done to real mail; changes nothing
    ///
    /// Who wrote to whom of late is asked again of the table in force and of the one in FILE. Which
    /// workstation it came from is not asked.
    Plan {
        file: PathBuf,
        /// How far back in the log
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        #[arg(long)]
        json: bool,
    },
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
        #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
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
        Command::Plan { file, days, json } => plan(&store, file, *days, settings, *json).await,
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
            let reason = reason.clone();
            let (by, now) = (operator(), Timestamp::now());
            let outcome = routes::revert(&store, *revision, by, reason, *expect, now).await?;
            let source = format!("revision {revision}");
            warn(&source, &outcome.warnings);
            doubt_current(&store, &settings).await?;
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

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|fault| Failure::new(format!("{}: {fault}", file.display())))
}

async fn plan(
    store: &Arc<dyn Store>,
    file: &Path,
    days: u32,
    settings: Settings,
    json: bool,
) -> Result<(), Failure> {
    let toml = read(file)?;
    let in_force = |table| settings.in_force(table);
    let plan = plan::plan(store, &toml, days, in_force, Timestamp::now())
        .await
        .map_err(|refused| Failure::of_table(file, refused))?;
    if let Some(fault) = exposed_table(file, &toml) {
        print::complaint(&format!("warning: {fault}"));
    }
    let source = file.display().to_string();
    warn(&source, &plan.warnings);
    doubt(store, &plan.table, &settings).await?;
    doubt_reach(&plan);
    match json {
        true => plan_as_json(&plan),
        false => plan_for_people(&plan, file, days),
    }
}

/// What a plan could not look at.
fn doubt_reach(plan: &Plan) {
    if plan.is_blind {
        let revision = plan.revision;
        print::complaint(&format!(
            "warning: the table in force, revision {revision}, cannot be read: everything counts as added, and no mail was asked again"
        ));
    }
    if plan.is_cut {
        print::complaint(&format!(
            "warning: only the {} pairs of sender and recipient that wrote last were asked again; --days takes fewer days",
            plan.pairs
        ));
    }
}

fn plan_as_json(plan: &Plan) -> Result<(), Failure> {
    for change in &plan.changes {
        print::json(&as_json(change))?;
    }
    for it in &plan.traffic {
        print::json(&serde_json::json!({
            "kind": "traffic",
            "sender": it.pair.sender.as_deref().unwrap_or_default(),
            "recipient": it.pair.recipient, "group": it.pair.group,
            "messages": it.pair.messages,
            "before": it.before.to_string(), "after": it.after.to_string(),
        }))?;
    }
    Ok(())
}

fn plan_for_people(plan: &Plan, file: &Path, days: u32) -> Result<(), Failure> {
    if plan.changes.is_empty() {
        return Ok(print::line(format_args!(
            "No difference: revision {} stays in force.",
            plan.revision
        ))?);
    }
    differences(&plan.changes)?;
    print::line(format_args!(""))?;
    for effect in Effect::ALL {
        traffic(plan, effect, days)?;
    }
    if plan.traffic.is_empty() && !plan.is_blind {
        print::line(format_args!(
            "Of the mail {}, nothing would have fared otherwise ({}).",
            period(days),
            counted(plan.pairs as u64, "pair")
        ))?;
    }
    let in_force = match plan.revision {
        0 => "No table is in force yet".to_owned(),
        revision => format!("Revision {revision} is in force"),
    };
    let file = file.display().to_string();
    print::line(format_args!(
        "{in_force}. To apply this: ilbud route apply {} --expect {}",
        print::harmless(&argument(&file)),
        plan.revision
    ))?;
    Ok(())
}

/// As many pairs of one kind as people are shown.
const SHOWN: usize = 20;

/// The pairs that would fare otherwise in one way, under a line that counts them.
fn traffic(plan: &Plan, effect: Effect, days: u32) -> Result<(), Failure> {
    let found = || plan.traffic.iter().filter(|it| it.effect == effect);
    let (pairs, messages) = (found().count(), found().map(|it| it.pair.messages).sum());
    if pairs == 0 {
        return Ok(());
    }
    let fate = match effect {
        Effect::Refused => "be refused",
        Effect::Accepted => "be accepted",
        Effect::Elsewhere => "go another way",
    };
    print::line(format_args!(
        "{} would {fate} from now on ({} {}):",
        counted(pairs as u64, "pair"),
        counted(messages, "message"),
        period(days)
    ))?;
    for it in found().take(SHOWN) {
        pair(it)?;
    }
    if pairs > SHOWN {
        let rest = pairs - SHOWN;
        print::line(format_args!("  and {rest} more; --json has them all"))?;
    }
    Ok(())
}

fn pair(it: &Traffic) -> Result<(), Failure> {
    let sender = it.pair.sender.as_deref().unwrap_or("<>");
    let group = it.pair.group.as_ref();
    let group = group.map_or_else(String::new, |it| format!(" through {it}"));
    let line = format!(
        "{sender} to {}{group} ({})",
        it.pair.recipient,
        counted(it.pair.messages, "message")
    );
    print::line(format_args!("  {}", print::harmless(&line)))?;
    for (when, fate) in [("before", &it.before), ("after", &it.after)] {
        let fate = fate.to_string();
        print::line(format_args!("    {when:6} {}", print::harmless(&fate)))?;
    }
    Ok(())
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn period(days: u32) -> String {
    match days {
        1 => "in the last day".to_owned(),
        7 => "last week".to_owned(),
        days => format!("in the last {days} days"),
    }
}

/// As a shell takes it for one argument.
fn argument(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn proposal(
    file: &Path,
    expected: Option<u64>,
    reason: Option<String>,
) -> Result<Proposal, Failure> {
    Ok(Proposal {
        toml: read(file)?,
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
    warn(&source, &outcome.warnings);
    doubt_current(store, settings).await?;
    tell(&outcome, json)
}

fn warn(source: &str, warnings: &[Fault]) {
    for warning in warnings {
        print::complaint(&format!("warning: {source}: {warning}"));
    }
}

/// What is worth knowing of the table that is in force now.
async fn doubt_current(store: &Arc<dyn Store>, settings: &Settings) -> Result<(), Failure> {
    match routes::current(store).await? {
        Some((_, table)) => doubt(store, &table, settings).await,
        None => Ok(()),
    }
}

/// What is worth knowing of a table together with the settings and the users.
async fn doubt(
    store: &Arc<dyn Store>,
    table: &RoutingTable,
    settings: &Settings,
) -> Result<(), Failure> {
    let users = workstations::doubt_users(store, table).await?;
    let times = routes::doubt_times(table, &settings.delivery);
    for doubt in times.into_iter().chain(users) {
        print::complaint(&format!("warning: {doubt}"));
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
