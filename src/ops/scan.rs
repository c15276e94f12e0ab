//! How the engines stand, and whether they scan at all.
//!
//! A running relay writes what it knows into the store. Where none has written of late, the engines are
//! asked from here.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::mail::Timestamp;
use crate::ops::outbreak::{self, Kind};
use crate::scan::{self, Settings};
use crate::spool::store::{EngineRow, Store, StoreError};

/// A relay that has written nothing for so long does not run.
const STALE: Duration = Duration::from_secs(10);

/// An engine; field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    pub engine: String,
    pub kind: String,
    pub up: bool,
    /// Why it is down.
    pub reason: Option<String>,
    /// Up or down since then, as far as is known.
    pub since: Timestamp,
    pub version: Option<String>,
    pub signatures: Option<String>,
    pub signatures_at: Option<Timestamp>,
    /// Left out where the time is not known, or lies in the future.
    pub signature_age_s: Option<u64>,
    /// `found`, `clean` or `no finding`.
    pub self_test: Option<String>,
    /// It says that clean is what it has not looked into.
    pub blind: bool,
    pub self_tested_at: Option<Timestamp>,
    pub p50_ms: Option<u64>,
    pub p99_ms: Option<u64>,
}

impl EngineStatus {
    fn of(row: EngineRow, now: Timestamp) -> Self {
        let past = row.signatures_at.filter(|at| *at <= now);
        let (self_test, self_tested_at) = row.self_test.unzip();
        let (self_test, blind) = match self_test.as_deref().and_then(|it| it.split_once("; ")) {
            Some((found, _)) => (Some(found.to_owned()), true),
            None => (self_test, false),
        };
        Self {
            engine: row.engine,
            kind: row.kind,
            up: row.down.is_none(),
            reason: row.down,
            since: row.since,
            version: row.version,
            signatures: row.signatures,
            signatures_at: row.signatures_at,
            signature_age_s: past.map(|at| now.since(at).as_secs()),
            self_test,
            blind,
            self_tested_at,
            p50_ms: row.p50_ms,
            p99_ms: row.p99_ms,
        }
    }
}

/// What concerns all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Messages that wait for their scan.
    pub queue: u64,
    pub urgent: u64,
    /// Those that are scanned again only when somebody asks.
    pub poison: u64,
    pub oldest_at: Option<Timestamp>,
    /// In force.
    pub exceptions: usize,
    /// When the running relay wrote this of its engines; none: they were asked now.
    pub seen_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Status {
    pub engines: Vec<EngineStatus>,
    pub summary: Summary,
}

pub async fn status(
    store: &Arc<dyn Store>,
    settings: &Settings,
    now: Timestamp,
) -> Result<Status, StoreError> {
    let told = store.engines().await?;
    let seen_at = told.first().map(|(at, _)| *at);
    // A time in the future is of a clock that was set back.
    let seen_at = seen_at.filter(|at| *at <= now.after(STALE) && now.since(*at) < STALE);
    let rows: Vec<EngineRow> = match seen_at {
        Some(_) => told.into_iter().map(|(_, row)| row).collect(),
        None => {
            let asked = scan::ask(settings, false).await;
            asked.into_iter().map(|it| it.row).collect()
        }
    };
    let queue = store.scan_queue().await?;
    let exceptions = outbreak::list(store, Kind::Exception, false, now).await?;
    let engines = rows.into_iter().map(|row| EngineStatus::of(row, now));
    Ok(Status {
        engines: engines.collect(),
        summary: Summary {
            queue: queue.waiting,
            urgent: queue.urgent,
            poison: queue.poison,
            oldest_at: queue.oldest_at,
            exceptions: exceptions.len(),
            seen_at,
        },
    })
}

/// Gives each engine the test file of EICAR: a mistake for each that does not find it.
pub async fn test(settings: &Settings, now: Timestamp) -> (Vec<EngineStatus>, Findings) {
    let asked = scan::ask(settings, true).await;
    let warnings = asked.iter().filter_map(blindness).collect();
    let missed = asked.iter().filter(|it| it.found == Some(false));
    let faults = missed.map(|it| match &it.row.down {
        Some(why) => format!("engine {:?} does not find EICAR: {why}", it.row.engine),
        None => format!("engine {:?} finds EICAR clean", it.row.engine),
    });
    let findings = Findings {
        mistakes: faults.collect(),
        warnings,
    };
    let rows = asked.into_iter().map(|it| EngineStatus::of(it.row, now));
    (rows.collect(), findings)
}

fn blindness(asked: &scan::Asked) -> Option<String> {
    let EngineRow { engine, kind, .. } = &asked.row;
    asked
        .is_blind
        .then(|| format!("engine {engine:?}: {}", scan::blindness(kind)))
}

/// What is wrong with the engines.
#[derive(Debug, Default)]
pub struct Findings {
    pub mistakes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Asks each engine who it is, and for a scan of a harmless message, and whether it says what it has not
/// looked into.
pub async fn check(settings: &Settings, now: Timestamp) -> Findings {
    let mut findings = Findings::default();
    for asked in scan::ask(settings, false).await {
        findings.warnings.extend(blindness(&asked));
        let engine = EngineStatus::of(asked.row, now);
        let name = &engine.engine;
        if let Some(why) = &engine.reason {
            let line = format!("engine {name:?} cannot scan: {why}");
            findings.mistakes.push(line);
        }
        let most = settings.signature_max_age.as_secs();
        match engine.signature_age_s {
            Some(age) if age > most => findings.warnings.push(format!(
                "engine {name:?}: its signatures are {} h old",
                age / 3600
            )),
            None if engine.up => findings.warnings.push(format!(
                "engine {name:?}: how old its signatures are is not known"
            )),
            _ => {}
        }
    }
    findings
}
