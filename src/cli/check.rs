//! `ilbud check`: settings, certificates, routing table, store and engines; every mistake at once.

use std::path::Path;
use std::sync::Arc;

use super::{AS_ROOT, Failure, NO_ENGINE, alike, certs, exposed_table, is_root, print};
use crate::config::{self, Settings};
use crate::delivery::trust::Trust;
use crate::mail::Timestamp;
use crate::ops::{doubts, routes, scan};
use crate::policy::table::{Fault, RoutingTable};
use crate::spool::sqlite::Sqlite;
use crate::spool::store::Store;
use crate::tls;

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Findings {
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn run(config: &Path, all: bool) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match config::load(config) {
        Ok(settings) => check_parts(config, &settings, &mut findings)?,
        Err(faults) => {
            let lines = faults
                .iter()
                .map(|fault| format!("{}: {fault}", config.display()));
            findings.mistakes.extend(lines);
            // The table beside the settings can be read without them.
            drop(check_file(config, &mut findings));
        }
    }
    let warnings = std::mem::take(&mut findings.warnings);
    for warning in alike::few_unless(all, warnings) {
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
    let retention = &settings.privacy.retention;
    if retention.is_asked() {
        let note = format!("{retention}: see ilbud log retention --plan");
        findings.warnings.push(note);
    }
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
    let store: Arc<dyn Store> =
        match Sqlite::open_with(&settings.store, settings.privacy.discretion()) {
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
        Ok(Some((revision, _))) => {
            if let Some(table) = check_table(&revision.table, "routing table", findings) {
                check_around("routing table", &store, &table, settings, findings).await;
            }
        }
        Ok(None) => {
            if let Some((name, table)) = check_file(config, findings) {
                check_around(&name, &store, &table, settings, findings).await;
            }
        }
        Err(fault) => {
            let remedy = routes::find_remedy(&store).await;
            findings.mistakes.push(format!("{fault}; {remedy}"));
        }
    }
}

/// What takes settings, users and files to see.
async fn check_around(
    name: &str,
    store: &Arc<dyn Store>,
    table: &RoutingTable,
    settings: &Settings,
    findings: &mut Findings,
) {
    let around = settings.surroundings();
    match doubts::of(store, table, &around, Timestamp::now()).await {
        Ok(found) => {
            findings.mistakes.extend(lines(name, found.exposed));
            findings.warnings.extend(lines(name, found.of_table));
            findings.warnings.extend(found.of_settings);
        }
        Err(fault) => findings.mistakes.push(fault.to_string()),
    }
}

/// `routes.toml` beside the settings, which `serve` would import.
fn check_file(config: &Path, findings: &mut Findings) -> Option<(String, RoutingTable)> {
    let file = config.with_file_name("routes.toml");
    let name = file.display().to_string();
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let table = check_table(&text, &name, findings);
            findings.mistakes.extend(exposed_table(&file, &text));
            Some((name, table?))
        }
        Err(_) => {
            findings.warnings.push(format!(
                "there is no routing table yet: put one at {name}, or run ilbud route apply FILE"
            ));
            None
        }
    }
}

fn lines(name: &str, faults: Vec<Fault>) -> impl Iterator<Item = String> {
    faults
        .into_iter()
        .map(move |fault| format!("{name}: {fault}"))
}

fn check_table(text: &str, name: &str, findings: &mut Findings) -> Option<RoutingTable> {
    match RoutingTable::parse(text, 0) {
        Ok((table, warnings)) => {
            findings.warnings.extend(lines(name, warnings));
            Some(table)
        }
        Err(faults) => {
            findings.mistakes.extend(lines(name, faults));
            None
        }
    }
}
