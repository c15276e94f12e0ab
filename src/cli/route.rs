//! `ilbud route`: the routing table. What the commands are; each does its work in a file of its own.

mod change;
mod editor;
mod edits;
mod explain;
mod history;
mod lists;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::Failure;
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::routes::Unusable;
use crate::ops::second_look::{self, Undecided};
use crate::spool::store::Store;
use change::Change;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What applying a routing table would change, and what it would have done to real mail; changes nothing
    ///
    /// Who wrote to whom of late is asked again of the table in force and of the one in FILE. Which
    /// workstation it came from is not asked.
    Plan(plan::Question),
    /// Put a routing table in force: all of it or nothing
    Apply {
        file: PathBuf,
        #[command(flatten)]
        change: Change,
    },
    /// Let a revision stay that was applied with --confirm
    Confirm {
        #[arg(long)]
        json: bool,
    },
    /// Let a revision come in force that somebody else has proposed ([routes] approval = true)
    Approve {
        #[command(flatten)]
        decision: history::Decide,
    },
    /// Take a proposed revision off the list; its author may, too
    Reject {
        #[command(flatten)]
        decision: history::Decide,
    },
    /// Print the table in force as a file that `apply` takes
    Export,
    /// Every revision: when, by whom, what and why, and where it stands
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
        #[command(flatten)]
        change: Change,
    },
    /// The table in force in $VISUAL or $EDITOR; what comes of it is shown as a plan before it counts
    Edit(editor::Editing),
    /// A room: add it, set its keys, disable it for a while, remove it
    #[command(subcommand)]
    Room(edits::Room),
    /// Who may send as a room
    #[command(subcommand)]
    Workstation(edits::Workstation),
    /// One address for several mailboxes
    #[command(subcommand)]
    Group(edits::Group),
    /// A way in from outside
    #[command(subcommand)]
    Gateway(edits::Gateway),
    /// A room's mail goes to another room for a while
    #[command(subcommand)]
    Redirect(edits::Redirect),
    /// Lists of rooms and workstations, as spreadsheets have them
    #[command(subcommand)]
    Csv(lists::Csv),
    /// What would happen to a message from FROM to TO: each rule that is tried, and how its next hops stand
    Explain(explain::Question),
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    // Where no relay runs, nobody else takes back what is overdue.
    if let Some(taken) = second_look::take_back_overdue(&store, Timestamp::now()).await? {
        history::tell_taken_back(&taken);
    }
    match command {
        Command::Plan(question) => plan::run(&store, question, &settings).await,
        Command::Apply { file, change } => {
            change::apply_file(&store, file, change, &settings).await
        }
        Command::Confirm { json } => history::confirm(&store, *json).await,
        Command::Approve { decision } => history::decide(&store, decision, true).await,
        Command::Reject { decision } => history::decide(&store, decision, false).await,
        Command::Export => history::export(&store).await,
        Command::History { json } => history::list(&store, *json).await,
        Command::Show { revision, json } => history::show(&store, *revision, *json).await,
        Command::Diff {
            before,
            after,
            json,
        } => history::diff(&store, *before, *after, *json).await,
        Command::Revert { revision, change } => {
            change::revert(&store, *revision, change, &settings).await
        }
        Command::Edit(asked) => editor::run(&store, asked, &settings).await,
        Command::Room(room) => edits::run(&store, room.order(), &settings).await,
        Command::Workstation(it) => edits::run(&store, it.order(), &settings).await,
        Command::Group(group) => edits::run(&store, group.order(), &settings).await,
        Command::Gateway(gateway) => edits::run(&store, gateway.order(), &settings).await,
        Command::Csv(csv) => lists::run(&store, csv, &settings).await,
        Command::Redirect(redirect) => edits::run(&store, redirect.order(), &settings).await,
        Command::Explain(question) => explain::run(&store, question, settings).await,
    }
}

/// A table that somebody has written. What is empty was written by nobody: a shell leaves such a file where
/// the command before it has failed.
fn read(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => Err(Failure::new(format!(
            "{shown}: there is nothing in it; begin with what ilbud route export prints"
        ))),
        Ok(text) => Ok(text),
        Err(fault) => Err(Failure::new(format!("{shown}: {fault}"))),
    }
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

impl From<Undecided> for Failure {
    fn from(why: Undecided) -> Self {
        match why {
            Undecided::Because(text) => Self::new(text),
            Undecided::Store(fault) => fault.into(),
        }
    }
}

fn none_yet() -> Failure {
    Failure::new("there is no routing table yet; make one with: ilbud route apply FILE")
}
