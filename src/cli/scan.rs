//! `ilbud scan`: how the engines stand, a self-test, and exceptions from scanning.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use super::{Failure, cells, operator, outbreak as measures, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::mail::measure::{Aim, Scope};
use crate::ops::outbreak::{self, Kind, Order};
use crate::ops::reason;
use crate::ops::scan::{self, EngineStatus};
use crate::spool::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// For a while: deliver what cannot be scanned
    #[command(subcommand)]
    Exception(Exception),
    /// How the engines stand, and what waits for its scan
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Let each engine look at the test file of EICAR, now
    Test {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Exception {
    /// From now on, what cannot be scanned is delivered, with a mark on it
    Open {
        /// It ends by itself, a day from now at most: 30m, 2h
        #[arg(long = "for", value_name = "TIME", value_parser = outbreak::exception_time)]
        length: Duration,
        /// Why, for the list and the log
        #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
        reason: String,
        /// Only messages without attachments; so it is unless --everything is said
        #[arg(long)]
        text: bool,
        /// Messages with attachments too
        #[arg(long, conflicts_with = "text")]
        everything: bool,
    },
    /// End it before its time
    Close {
        /// All that are open, where none is named
        #[arg(value_name = "NUMBER")]
        numbers: Vec<u64>,
    },
    /// What is open, by whom and why
    List {
        /// What has ended too
        #[arg(long)]
        all: bool,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    let exception = match command {
        Command::Exception(exception) => exception,
        Command::Status { json } => return status(&store, &settings, *json).await,
        Command::Test { json } => return test(&settings, *json).await,
    };
    match exception {
        Exception::Open {
            length,
            reason,
            text: _,
            everything,
        } => {
            let scope = match everything {
                true => Scope::Everything,
                false => Scope::Text,
            };
            open(&store, scope, *length, reason).await
        }
        Exception::Close { numbers } if numbers.is_empty() => close_all(&store).await,
        Exception::Close { numbers } => measures::end(&store, Kind::Exception, numbers).await,
        Exception::List { all, json } => measures::list(&store, Kind::Exception, *all, *json).await,
    }
}

async fn status(store: &Arc<dyn Store>, settings: &Settings, json: bool) -> Result<(), Failure> {
    let status = scan::status(store, &settings.scan, Timestamp::now()).await?;
    if json {
        status.engines.iter().try_for_each(print::json)?;
        return Ok(print::json(&status.summary)?);
    }
    print_engines(&status.engines)?;
    let summary = &status.summary;
    let seen = match summary.seen_at {
        Some(at) => format!("As the running relay saw it at {}.", print::local(at)),
        None => "No relay runs, or it has no engine: this is what the engines say now.".to_owned(),
    };
    print::line(format_args!("{seen}"))?;
    let oldest = summary.oldest_at.map(|at| {
        let age = Timestamp::now().since(at);
        format!("; the oldest for {}", print::span(age))
    });
    print::line(format_args!(
        "Waiting for their scan: {} messages, {} of them urgent, {} only until somebody asks{}.",
        summary.queue,
        summary.urgent,
        summary.poison,
        oldest.unwrap_or_default()
    ))?;
    if summary.exceptions > 0 {
        measures::list(store, Kind::Exception, false, false).await?;
    }
    Ok(())
}

fn print_engines(engines: &[EngineStatus]) -> Result<(), Failure> {
    if engines.is_empty() {
        let line = "There is no [[scan.engine]]: only the built-in rules scan.";
        return Ok(print::line(format_args!("{line}"))?);
    }
    let heads = [
        "engine",
        "kind",
        "is",
        "since",
        "version",
        "signatures",
        "age",
        "self-test",
        "p50",
        "p99",
        "reason",
    ];
    let rows: Vec<_> = engines.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

/// In words that nobody takes for good news when they are not.
fn self_test(it: &EngineStatus) -> &str {
    match (it.self_test.as_deref(), it.blind) {
        (Some("found"), false) => "found",
        (Some("found"), true) => "found; CLEAN WHERE IT DOES NOT LOOK",
        (Some("clean"), _) => "FAILED: it calls EICAR clean",
        (Some(_), _) => "FAILED: no finding",
        (None, _) => "",
    }
}

fn row(it: &EngineStatus) -> Vec<String> {
    let span = |seconds| print::span(Duration::from_secs(seconds));
    let millis = |it: Option<u64>| it.map(|it| format!("{it} ms")).unwrap_or_default();
    let tested = it.self_tested_at.map(print::local);
    vec![
        it.engine.clone(),
        it.kind.clone(),
        if it.up { "up" } else { "down" }.to_owned(),
        print::local(it.since),
        cells::text(&it.version),
        cells::text(&it.signatures),
        it.signature_age_s.map_or("unknown".to_owned(), span),
        format!("{} {}", self_test(it), tested.unwrap_or_default()),
        millis(it.p50_ms),
        millis(it.p99_ms),
        cells::text(&it.reason),
    ]
}

async fn test(settings: &Settings, json: bool) -> Result<(), Failure> {
    let (engines, findings) = scan::test(&settings.scan, Timestamp::now()).await;
    match json {
        true => engines.iter().try_for_each(print::json)?,
        false => print_engines(&engines)?,
    }
    for warning in &findings.warnings {
        print::complaint(&format!("warning: {warning}"));
    }
    match findings.mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(findings.mistakes)),
    }
}

async fn open(
    store: &Arc<dyn Store>,
    scope: Scope,
    length: Duration,
    reason: &str,
) -> Result<(), Failure> {
    let order = Order {
        aim: Aim::Exception(scope),
        by: operator(),
        reason: Some(reason.to_owned()),
        length,
    };
    let measure = outbreak::open(store, order, Timestamp::now()).await?;
    let line = measures::in_force(&measure);
    Ok(print::line(format_args!("{line}"))?)
}

async fn close_all(store: &Arc<dyn Store>) -> Result<(), Failure> {
    let ended = outbreak::end_exceptions(store, &operator(), Timestamp::now()).await?;
    for measure in ended {
        print::line(format_args!("{}", measures::ended(&measure)))?;
    }
    Ok(())
}
