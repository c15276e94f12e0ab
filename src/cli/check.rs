//! `ilbud check`: settings, certificates, routing table, store and engines; every mistake at once.

use std::path::Path;
use std::sync::Arc;

use super::{AS_ROOT, Failure, NO_ENGINE, certs, exposed_table, is_root, print};
use crate::config::{self, Settings};
use crate::delivery::trust::{self, Doubt, Trust};
use crate::mail::Timestamp;
use crate::ops::{routes, scan, workstations};
use crate::policy::table::{Fault, NextHop, RoutingTable};
use crate::smtp::server::ListenerTls;
use crate::spool::sqlite::Sqlite;
use crate::spool::store::Store;
use crate::tls;

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Findings {
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match config::load(config) {
        Ok(settings) => check_parts(config, &settings, &mut findings)?,
        Err(faults) => {
            let lines = faults
                .iter()
                .map(|fault| format!("{}: {fault}", config.display()));
            findings.mistakes.extend(lines);
            // The table beside the settings can be read without them.
            drop(check_file(config, None, &mut findings));
        }
    }
    for warning in &findings.warnings {
        print::complaint(&format!("warning: {warning}"));
    }
    if !findings.mistakes.is_empty() {
        return Err(Failure::of(findings.mistakes));
    }
    Ok(print::line(format_args!("All is well."))?)
}

fn check_parts(config: &Path, settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let engines = &settings.scan.engines;
    let no_engine = engines.is_empty().then(|| NO_ENGINE.to_owned());
    findings.warnings.extend(no_engine);
    findings
        .warnings
        .extend(is_root().then(|| AS_ROOT.to_owned()));
    findings.warnings.extend(settings.limits.doubts());
    check_tls(settings, findings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        check_store(config, settings, findings).await;
        let engines = scan::check(&settings.scan, Timestamp::now()).await;
        findings.mistakes.extend(engines.mistakes);
        findings.warnings.extend(engines.warnings);
    });
    Ok(())
}

fn check_tls(settings: &Settings, findings: &mut Findings) {
    let Some(tls) = &settings.tls else { return };
    if certs::are_wanted(tls) {
        let line = "there are no certificates yet: `ilbud serve` makes some for development";
        findings.warnings.push(line.to_owned());
        return;
    }
    let ours = match tls::load(tls) {
        Ok(incoming) => {
            findings.warnings.extend(incoming.doubts(Timestamp::now()));
            None
        }
        Err(fault) => Some(fault.to_string()),
    };
    let theirs = Trust::new(tls.client_ca.as_deref()).err();
    // Both read `client_ca`; what is wrong with it is one mistake.
    let theirs = theirs
        .map(|fault| fault.to_string())
        .filter(|it| ours.as_ref() != Some(it));
    findings.mistakes.extend(ours.into_iter().chain(theirs));
}

async fn check_store(config: &Path, settings: &Settings, findings: &mut Findings) {
    let store: Arc<dyn Store> = match Sqlite::open(&settings.store) {
        Ok(store) => Arc::new(store),
        Err(fault) => return findings.mistakes.push(fault.to_string()),
    };
    match store.check().await {
        Ok(faults) => findings
            .mistakes
            .extend(faults.iter().map(|it| format!("store: {it}"))),
        Err(fault) => findings.mistakes.push(fault.to_string()),
    }
    match routes::current(&store).await {
        Ok(Some((revision, table))) => {
            check_table(&revision.table, "routing table", Some(settings), findings);
            check_workstations(&store, &table, settings, findings).await;
            let doubt = settings.postmaster.as_ref();
            let doubt = doubt.and_then(|it| routes::doubt_postmaster(&table, it));
            findings.warnings.extend(doubt);
        }
        Ok(None) => {
            if let Some(table) = check_file(config, Some(settings), findings) {
                check_workstations(&store, &table, settings, findings).await;
            }
        }
        Err(fault) => findings.mistakes.push(fault.to_string()),
    }
}

/// Workstations of the table that have no way of showing who they are.
async fn check_workstations(
    store: &Arc<dyn Store>,
    table: &RoutingTable,
    settings: &Settings,
    findings: &mut Findings,
) {
    match workstations::doubt_users(store, table).await {
        Ok(doubts) => findings.warnings.extend(doubts),
        Err(fault) => findings.mistakes.push(fault.to_string()),
    }
    let tls = settings.tls.as_ref();
    if tls.and_then(|it| it.client_ca.as_ref()).is_none() {
        let doubts = workstations::doubt_certificates(table);
        findings.warnings.extend(doubts);
    }
    let mut listeners = settings.listeners.iter();
    if listeners.all(|it| it.tls == ListenerTls::Off) {
        findings.warnings.extend(workstations::doubt_tls(table));
    }
}

/// `routes.toml` beside the settings, which `serve` would import.
fn check_file(
    config: &Path,
    settings: Option<&Settings>,
    findings: &mut Findings,
) -> Option<RoutingTable> {
    let file = config.with_file_name("routes.toml");
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let table = check_table(&text, &file.display().to_string(), settings, findings);
            findings.mistakes.extend(exposed_table(&file, &text));
            table
        }
        Err(_) => {
            findings.warnings.push(format!(
                "there is no routing table yet: put one at {}, or run ilbud route apply FILE",
                file.display()
            ));
            None
        }
    }
}

fn check_table(
    text: &str,
    name: &str,
    settings: Option<&Settings>,
    findings: &mut Findings,
) -> Option<RoutingTable> {
    let lines = |faults: Vec<Fault>| {
        faults
            .into_iter()
            .map(|fault| format!("{name}: {fault}"))
            .collect::<Vec<_>>()
    };
    match RoutingTable::parse(text, 0) {
        Ok((table, warnings)) => {
            let (mistakes, doubts) = doubt_files(&table);
            findings.mistakes.extend(lines(mistakes));
            findings.warnings.extend(lines(warnings));
            findings.warnings.extend(lines(doubts));
            let times = settings.map(|it| routes::doubt_times(&table, &it.delivery));
            findings.warnings.extend(times.into_iter().flatten());
            Some(table)
        }
        Err(faults) => {
            findings.mistakes.extend(lines(faults));
            None
        }
    }
}

/// Files that next hops name and that cannot be used as they are: mail would wait for them. First
/// those that others may read, which are mistakes, then all others.
fn doubt_files(table: &RoutingTable) -> (Vec<Fault>, Vec<Fault>) {
    let (mut mistakes, mut doubts) = (Vec::new(), Vec::new());
    for room in table.rooms() {
        for server in room.next_hops.iter().filter_map(NextHop::server) {
            let (found, doubt) = match trust::doubt(server) {
                None => continue,
                Some(Doubt::Exposed(words)) => (&mut mistakes, words),
                Some(Doubt::Unusable(words)) => (&mut doubts, words),
            };
            found.push(Fault {
                line: None,
                text: format!("room \"{}\", next hop {}: {doubt}", room.id, server.host),
            });
        }
    }
    (mistakes, doubts)
}
