//! A change of the routing table from the command line: its options, how it is put in force, and what is
//! told of it.
//!
//! Every command that changes the table comes through here. Nothing is decided here: see `ops::routes`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::read;
use crate::cli::{Failure, alike, exposed_table, operator, print};
use crate::config::Settings;
use crate::document::{duration, length};
use crate::mail::Timestamp;
use crate::ops::edits::{self, Edit, Opening, Unfit};
use crate::ops::reason;
use crate::ops::routes::{self, Outcome, Proposal, Warnings};
use crate::policy::table::Redirect;
use crate::spool::revision::RevisionState;
use crate::spool::store::Store;

/// How long a confirmation may be waited for.
const LONGEST: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_secs(1);

/// The options of every command that changes the table.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Change {
    /// Only if the table in force is still this revision
    #[arg(long, value_name = "REV")]
    pub(super) expect: Option<u64>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
    pub(super) reason: Option<String>,
    /// Taken back by itself after so long, unless `ilbud route confirm` comes first
    #[arg(long, value_name = "10m", value_parser = time_to_confirm)]
    pub(super) confirm: Option<Duration>,
    /// Change nothing if there is anything to warn of
    #[arg(long)]
    pub(super) strict: bool,
    #[arg(long)]
    pub(super) json: bool,
}

fn time_to_confirm(typed: &str) -> Result<Duration, String> {
    let time =
        duration(typed).ok_or_else(|| format!("{typed:?} is no length of time; write 10m"))?;
    match (SHORTEST..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err(format!(
            "write a time between {} and {}",
            length(SHORTEST),
            length(LONGEST)
        )),
    }
}

pub(super) async fn apply_file(
    store: &Arc<dyn Store>,
    file: &Path,
    change: &Change,
    settings: &Settings,
) -> Result<(), Failure> {
    let toml = read(file)?;
    let exposed = exposed_table(file, &toml).into_iter().collect();
    let source = file.display().to_string();
    put(store, &source, (toml, exposed), change, settings).await
}

/// Puts the table of an old revision in force again.
pub(super) async fn revert(
    store: &Arc<dyn Store>,
    number: u64,
    change: &Change,
    settings: &Settings,
) -> Result<(), Failure> {
    let old = routes::revision(store, number).await?;
    let mut change = change.clone();
    change
        .reason
        .get_or_insert_with(|| format!("back to revision {number}"));
    let source = format!("revision {number}");
    put(store, &source, (old.table, Vec::new()), &change, settings).await
}

/// Puts a table in force as the options say, and tells what came of it. `source`: where its lines are; with
/// the table comes what is worth knowing of it already.
pub(super) async fn put(
    store: &Arc<dyn Store>,
    source: &str,
    (toml, warnings): (String, Vec<String>),
    change: &Change,
    settings: &Settings,
) -> Result<(), Failure> {
    let proposal = Proposal {
        warnings,
        ..proposal(toml, change, settings)
    };
    let outcome = routes::apply(store, proposal, &settings.surroundings(), Timestamp::now())
        .await
        .map_err(|refused| Failure::of_table(source, refused))?;
    warn(source, &outcome.warnings, false);
    tell(&outcome, change.json)
}

fn proposal(toml: String, change: &Change, settings: &Settings) -> Proposal {
    Proposal {
        toml,
        by: operator(),
        reason: change.reason.clone(),
        expected: change.expect,
        confirm: change.confirm,
        strict: change.strict,
        warnings: Vec::new(),
        needs_approval: settings.routes_need_approval,
    }
}

/// Makes a small edit of the table in force, and tells what came of it.
pub(super) async fn edit(
    store: &Arc<dyn Store>,
    edit: &Edit,
    warnings: Vec<String>,
    change: &Change,
    settings: &Settings,
) -> Result<(), Failure> {
    let proposal = Proposal {
        warnings,
        ..proposal(String::new(), change, settings)
    };
    let now = Timestamp::now();
    let outcome = edits::apply(store, edit, proposal, &settings.surroundings(), now).await?;
    warn_of_edit(&outcome.warnings);
    tell(&outcome, change.json)?;
    match edit {
        Edit::OpenRedirect(opening) if outcome.summary.is_some() && !change.json => {
            let is_open = outcome.state != RevisionState::Waiting;
            tell_opened(opening, now, is_open)
        }
        _ => Ok(()),
    }
}

/// 07:00 may be that of tomorrow.
pub(super) fn tell_opened(opening: &Opening, now: Timestamp, is_open: bool) -> Result<(), Failure> {
    let redirect = opening.at(now).map_err(Unfit::NoMoment)?;
    let Redirect { room, to, .. } = &redirect;
    let goes = if is_open { "goes" } else { "would go" };
    let from = redirect.from.map(print::local);
    let from = from.map_or_else(String::new, |it| format!(" from {it}"));
    let until = redirect.until.map(print::local).map_or_else(
        || format!("it is closed: ilbud route redirect close {room}"),
        |it| format!("{it}."),
    );
    let line = format!("Mail for {room} {goes} to {to}{from} until {until}");
    Ok(print::line(format_args!("{}", print::harmless(&line)))?)
}

/// `all`: however many are alike.
pub(super) fn warn(source: &str, warnings: &Warnings, all: bool) {
    alike::few_unless(all, warnings.lines(source))
        .into_iter()
        .for_each(complain);
}

fn complain(warning: String) {
    print::complaint(&format!("warning: {warning}"));
}

/// Of a text whose lines nobody has seen.
pub(super) fn warn_of_edit(warnings: &Warnings) {
    let of_table = warnings.of_table.iter().map(|it| &it.text);
    let lines = of_table.chain(&warnings.others).cloned().collect();
    alike::few(lines).into_iter().for_each(complain);
}

fn tell(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    let Outcome {
        revision, state, ..
    } = outcome;
    if json {
        return print::json(&serde_json::json!({
            "revision": revision, "state": state.word(),
            "summary": outcome.summary.as_deref().unwrap_or_default(),
            "back_to": back_to(*state), "until": until(*state),
        }))
        .map_err(Into::into);
    }
    let line = match (&outcome.summary, state) {
        (None, _) => format!("No difference: revision {revision} stays in force."),
        (Some(summary), RevisionState::Waiting) => format!(
            "Revision {revision} waits for somebody else's approval (ilbud route approve {revision}): {}",
            print::harmless(summary)
        ),
        (Some(summary), _) => format!(
            "Revision {revision} is in force: {}",
            print::harmless(summary)
        ),
    };
    print::line(format_args!("{line}"))?;
    tell_until(*state)
}

/// Until when something has to be done, where it has.
pub(super) fn tell_until(state: RevisionState) -> Result<(), Failure> {
    if let RevisionState::Unconfirmed(it) = state {
        print::line(format_args!(
            "Revision {} comes back at {}, unless you confirm: ilbud route confirm",
            it.back_to,
            print::local(it.until)
        ))?;
    }
    Ok(())
}

pub(super) fn until(state: RevisionState) -> Option<Timestamp> {
    match state {
        RevisionState::Unconfirmed(it) => Some(it.until),
        _ => None,
    }
}

pub(super) fn back_to(state: RevisionState) -> Option<u64> {
    match state {
        RevisionState::Unconfirmed(it) => Some(it.back_to),
        _ => None,
    }
}
