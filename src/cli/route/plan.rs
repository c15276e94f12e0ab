//! `ilbud route plan`: what a table would change, and whose real mail would fare otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::change::{warn, warn_of_edit};
use super::history::{as_json, differences};
use super::read;
use crate::cli::{Failure, exposed_table, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::edits::{Edit, Unfit};
use crate::ops::plan::{self, Plan};
use crate::ops::routes::{self, Refused, Warnings};
use crate::policy::replay::{Effect, Traffic};
use crate::spool::store::Store;

#[derive(Debug, Args)]
pub(in crate::cli) struct Question {
    #[arg(required_unless_present = "revision")]
    file: Option<PathBuf>,
    /// The table of that revision instead of a file: what waits for your approval, or an old one
    #[arg(long, value_name = "REV", conflicts_with = "file")]
    revision: Option<u64>,
    /// How far back in the log
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Fail if there is anything to warn of
    #[arg(long)]
    strict: bool,
    /// Tell each warning, also where many are alike
    #[arg(long)]
    all: bool,
    #[arg(long)]
    json: bool,
}

/// What is planned: a table, whence it came, and what puts it in force.
pub(super) struct Subject<'a> {
    pub(super) toml: String,
    /// Before the line of a mistake.
    pub(super) source: String,
    /// The command, without `--expect`; `None`: it is asked for right away.
    pub(super) command: Option<String>,
    /// What is worth knowing already.
    pub(super) warnings: Vec<String>,
    /// Each warning is told.
    pub(super) all: bool,
    /// The edit that has made it, so that nobody has seen its lines, and what was to be warned of before.
    pub(super) edit: Option<(&'a Edit, Warnings)>,
}

impl Subject<'_> {
    fn refused(&self, why: Refused) -> Failure {
        match (&self.edit, why) {
            (Some((edit, _)), why) => Unfit::from(edit.refused(&self.toml, why)).into(),
            (None, Refused::Strict(warnings)) => {
                Failure::of_strict(&self.source, &warnings, self.all)
            }
            (None, why) => Failure::of_table(&self.source, why),
        }
    }

    fn warn(&self, warnings: Warnings) {
        match &self.edit {
            None => warn(&self.source, &warnings, self.all),
            Some((edit, known)) => warn_of_edit(&edit.news(&self.toml, warnings, known)),
        }
    }
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    question: &Question,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut subject = subject(store, question).await?;
    if let Some(file) = &question.file {
        subject.warnings.extend(exposed_table(file, &subject.toml));
    }
    show(
        store,
        &subject,
        question.days,
        question.strict,
        question.json,
        settings,
    )
    .await
}

async fn subject(store: &Arc<dyn Store>, question: &Question) -> Result<Subject<'static>, Failure> {
    if let Some(number) = question.revision {
        return Ok(Subject {
            toml: routes::revision(store, number).await?.table,
            source: format!("revision {number}"),
            warnings: Vec::new(),
            command: Some(format!("ilbud route revert {number}")),
            all: question.all,
            edit: None,
        });
    }
    let file = question.file.clone().unwrap_or_default();
    let source = file.display().to_string();
    Ok(Subject {
        toml: read(&file)?,
        warnings: Vec::new(),
        command: Some(format!(
            "ilbud route apply {}",
            print::harmless(&argument(&source))
        )),
        source,
        all: question.all,
        edit: None,
    })
}

/// Shows what a table would do. Changes nothing.
pub(super) async fn show(
    store: &Arc<dyn Store>,
    subject: &Subject<'_>,
    days: u32,
    strict: bool,
    json: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    let in_force = |table| settings.in_force(table);
    let question = plan::Question {
        toml: &subject.toml,
        days,
        strict,
        warnings: &subject.warnings,
        around: settings.surroundings(),
    };
    let mut plan = plan::plan(store, &question, in_force, Timestamp::now())
        .await
        .map_err(|refused| subject.refused(refused))?;
    subject.warn(std::mem::take(&mut plan.warnings));
    doubt_reach(&plan);
    match json {
        true => plan_as_json(&plan),
        false => plan_for_people(&plan, subject.command.as_deref(), days),
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

fn plan_for_people(plan: &Plan, command: Option<&str>, days: u32) -> Result<(), Failure> {
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
    if let Some(command) = command {
        let in_force = match plan.revision {
            0 => "No table is in force yet".to_owned(),
            revision => format!("Revision {revision} is in force"),
        };
        print::line(format_args!(
            "{in_force}. To apply this: {command} --expect {}",
            plan.revision
        ))?;
    }
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
        Effect::Waiting => "wait",
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
        let fate = print::with_local_times(&fate.to_string());
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
