//! `ilbud log retention`: what is old is forgotten, now; or what would be.

use std::sync::Arc;

use clap::Args;

use crate::cli::{Failure, operator, print};
use crate::mail::Timestamp;
use crate::ops::privacy::access::{self, Reading};
use crate::ops::privacy::{Retention, retention};
use crate::spool::store::{AgingPlan, Store};

#[derive(Debug, Args)]
pub(in crate::cli) struct Terms {
    /// Only say what would go
    #[arg(long)]
    plan: bool,
    /// The clock is right, although it is far ahead of what the log knows
    #[arg(long)]
    clock_is_right: bool,
    /// Throw the key of the pseudonyms away: the same address gets another one from now on
    #[arg(long)]
    forget_pseudonyms: bool,
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    settings: &Retention,
    terms: &Terms,
) -> Result<(), Failure> {
    let now = Timestamp::now();
    if terms.forget_pseudonyms && !terms.plan {
        note(store, "--forget-pseudonyms", now).await?;
        store.forget_pseudonyms().await?;
        print::complaint("the key of the pseudonyms is gone");
    }
    if !settings.is_asked() {
        print::complaint(
            "note: nothing is ever forgotten: neither log.pseudonymise_after nor log.purge_after is set",
        );
    }
    if terms.clock_is_right && !terms.plan {
        note(store, "--clock-is-right", now).await?;
        retention::trust_the_clock(store, now).await?;
    }
    if terms.plan {
        let plan = retention::plan(store, settings, now).await;
        return tell_plan(settings, &plan.map_err(Failure::new)?, terms.json);
    }
    let done = retention::run(store, settings, now).await;
    let done = done.map_err(Failure::new)?;
    if terms.json {
        print::json(&done)?;
    } else {
        print::line(format_args!(
            "{} messages and refusals: {} rows were pseudonymised, {} rows were purged.",
            done.references, done.pseudonymised, done.purged
        ))?;
    }
    match done.not_as_written.as_slice() {
        [] => Ok(()),
        rows => Err(Failure::new(format!(
            "{} rows are not as they were written, and were left (the first is row {}): see ilbud log verify",
            rows.len(),
            rows.first().copied().unwrap_or_default()
        ))),
    }
}

/// Who has said so stands in the log before anything follows from it.
async fn note(store: &Arc<dyn Store>, said: &str, now: Timestamp) -> Result<(), Failure> {
    let reading = Reading {
        by: operator(),
        command: "log retention",
        query: said.to_owned(),
        reason: None,
        rows: None,
    };
    access::note(store, &reading, now).await?;
    Ok(())
}

fn tell_plan(settings: &Retention, plan: &AgingPlan, json: bool) -> Result<(), Failure> {
    if json {
        return Ok(print::json(plan)?);
    }
    print::line(format_args!(
        "As the settings say, {settings}. Now that is:"
    ))?;
    print::line(format_args!(
        "    {:<16}{} messages and refusals, {} rows",
        "pseudonymise", plan.pseudonymise, plan.pseudonymise_rows
    ))?;
    print::line(format_args!(
        "    {:<16}{} messages and refusals, {} rows",
        "purge", plan.purge, plan.purge_rows
    ))?;
    Ok(print::line(format_args!(
        "    {:<16}{} that wait, are held, or lie in quarantine",
        "let alone", plan.left
    ))?)
}
