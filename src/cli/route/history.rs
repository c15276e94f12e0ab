//! What has become of the routing table: export, history, show, diff; and what is decided on a revision
//! after it was made: confirm, approve, reject.

use std::sync::Arc;

use clap::Args;

use super::change::{back_to, tell_until, until};
use super::none_yet;
use crate::cli::{Failure, operator, print};
use crate::mail::Timestamp;
use crate::ops::second_look::{self, TakenBack};
use crate::ops::{reason, routes};
use crate::policy::difference::{Altered, Change, How};
use crate::spool::revision::{Chapter, Decision, RevisionState};
use crate::spool::store::Store;

pub(super) async fn export(store: &Arc<dyn Store>) -> Result<(), Failure> {
    let revision = store.routes().await?.ok_or_else(none_yet)?;
    print::text(&revision.table)?;
    Ok(())
}

pub(super) async fn list(store: &Arc<dyn Store>, json: bool) -> Result<(), Failure> {
    let chapters = store.route_history().await?;
    if json {
        for chapter in &chapters {
            print::json(&described(chapter))?;
        }
        return Ok(());
    }
    let row = |it: &Chapter| {
        vec![
            it.revision.revision.to_string(),
            print::local(it.revision.at),
            it.revision.by.clone(),
            standing(it),
            it.revision.summary.clone(),
            it.revision.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = chapters.iter().map(row).collect();
    let heads = ["revision", "at", "by", "state", "summary", "reason"];
    Ok(print::table(&heads, &rows)?)
}

/// Where a revision stands, and who has made it so.
fn standing(it: &Chapter) -> String {
    let decided = it.approval.as_ref().and_then(|it| it.decision.as_ref());
    let word = it.state.word();
    match (it.state, decided) {
        (RevisionState::Unconfirmed(waiting), _) => {
            format!("{word}, until {}", print::local(waiting.until))
        }
        (RevisionState::Rejected, Some(made)) => format!("{word} by {}", made.by),
        (_, Some(made)) => format!("{word}, approved by {}", made.by),
        (_, None) => word.to_owned(),
    }
}

fn described(it: &Chapter) -> serde_json::Value {
    let decision = it.approval.as_ref().and_then(|it| it.decision.as_ref());
    let decided_by = |is_approved| {
        let made = decision.filter(|it| it.is_approved == is_approved);
        made.map(|it| it.by.as_str())
    };
    serde_json::json!({
        "revision": it.revision.revision, "at": it.revision.at, "by": it.revision.by,
        "reason": it.revision.reason, "summary": it.revision.summary,
        "state": it.state.word(), "until": until(it.state), "back_to": back_to(it.state),
        "base": it.approval.as_ref().map(|it| it.base),
        "approved_by": decided_by(true), "rejected_by": decided_by(false),
        "decided_at": decision.map(|it| it.at),
        "decision_reason": decision.and_then(|it| it.reason.as_deref()),
        "confirmed_by": it.confirmed.as_ref().map(|(_, by)| by),
        "confirmed_at": it.confirmed.as_ref().map(|(at, _)| *at),
    })
}

pub(super) async fn confirm(store: &Arc<dyn Store>, json: bool) -> Result<(), Failure> {
    let revision = second_look::confirm(store, operator(), Timestamp::now()).await?;
    match json {
        true => print::json(&serde_json::json!({ "revision": revision, "state": "in force" }))?,
        false => print::line(format_args!("Revision {revision} stays in force."))?,
    }
    Ok(())
}

/// A decision on what somebody else has proposed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Decide {
    #[arg(value_name = "REV")]
    revision: u64,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
    reason: Option<String>,
    #[arg(long)]
    json: bool,
}

pub(super) async fn decide(
    store: &Arc<dyn Store>,
    asked: &Decide,
    is_approved: bool,
) -> Result<(), Failure> {
    let number = asked.revision;
    let decision = Decision {
        is_approved,
        at: Timestamp::now(),
        by: operator(),
        reason: asked.reason.clone(),
    };
    let state = second_look::decide(store, number, decision).await?;
    if asked.json {
        return Ok(print::json(&serde_json::json!({
            "revision": number, "state": state.word(),
            "until": until(state), "back_to": back_to(state),
        }))?);
    }
    print::line(format_args!(
        "Revision {number} is {}.",
        match is_approved {
            true => "in force",
            false => "rejected",
        }
    ))?;
    tell_until(state)
}

/// On stderr, since nobody has asked.
pub(super) fn tell_taken_back(taken: &TakenBack) {
    print::complaint(&format!(
        "warning: nobody has confirmed revision {} in time: the table of revision {} is in force again, as revision {}",
        taken.what.revision, taken.what.back_to, taken.revision
    ));
}

pub(super) async fn show(store: &Arc<dyn Store>, number: u64, json: bool) -> Result<(), Failure> {
    let revision = routes::revision(store, number).await?;
    match json {
        true => print::json(&of_history(store, number).await?)?,
        false => print::text(&revision.table)?,
    }
    Ok(())
}

async fn of_history(store: &Arc<dyn Store>, number: u64) -> Result<serde_json::Value, Failure> {
    let chapters = store.route_history().await?;
    let found = chapters.iter().find(|it| it.revision.revision == number);
    found.map(described).ok_or_else(none_yet)
}

pub(super) async fn diff(
    store: &Arc<dyn Store>,
    before: u64,
    after: u64,
    json: bool,
) -> Result<(), Failure> {
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
pub(super) fn differences(changes: &[Change]) -> Result<(), Failure> {
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

pub(super) fn as_json(change: &Change) -> serde_json::Value {
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
