//! The commands. Each body calls `relay::` or `ops::` and prints; nothing is decided here.
//!
//! The crate `clap` lives in this folder. Exit status: 0 done, 1 failed with a clear line on stderr
//! for each mistake, 2 wrong usage. Every command takes `--config`, every listing `--json`.

mod alike;
mod cells;
mod certs;
mod check;
mod credential;
mod development;
mod log;
mod operator;
mod outbreak;
mod print;
mod quarantine;
mod queue;
mod reading;
mod route;
mod scan;
mod serve;
mod workstation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::config::{self, Settings};
use crate::ops::routes::{Refused, Warnings};
use crate::policy::table::{Fault, NextHop, RoutingTable};
use crate::secrecy;
use crate::spool::sqlite::Sqlite;
use crate::spool::store::{Store, StoreError};
use operator::operator;

/// What `serve` and `check` say, and go on.
const NO_ENGINE: &str = "no [[scan.engine]]: only the built-in rules scan (README, \"Scanning\")";

/// What both say where root runs them.
const AS_ROOT: &str = "this runs as root, which it never needs: start it as a user of its own (README, \"Install as a service\")";

/// Where the settings are unless `--config` says otherwise.
pub const DEFAULT_CONFIG: &str = "config/ilbud.toml";

/// Internal mail relay for emergency medical control rooms.
#[derive(Debug, Parser)]
#[command(name = "ilbud", version, disable_help_subcommand = true)]
pub struct Cli {
    /// The settings.
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay
    Serve,
    /// Check settings, certificates, routing table, store and engines; say every mistake at once
    Check {
        /// Each warning, also where many are alike
        #[arg(long)]
        all: bool,
    },
    /// The routing table
    #[command(subcommand)]
    Route(route::Command),
    /// The delivery log: what happened to a message
    #[command(subcommand)]
    Log(log::Command),
    /// What is waiting
    #[command(subcommand)]
    Queue(queue::Command),
    /// What was caught by the scan
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Scanning, and exceptions from it
    #[command(subcommand)]
    Scan(scan::Command),
    /// Block and hunt what spreads
    #[command(subcommand)]
    Outbreak(outbreak::Command),
    /// Which workstations were seen, and what keeps them from strict ground
    #[command(subcommand)]
    Workstation(workstation::Command),
    /// Passwords of workstations that log in
    #[command(subcommand)]
    Credential(credential::Command),
    /// Certificates
    #[command(subcommand)]
    Certs(certs::Command),
}

/// Why a command failed: a line for each mistake, ready to be read.
#[derive(Debug)]
pub struct Failure {
    pub lines: Vec<String>,
}

impl Failure {
    fn new(line: impl ToString) -> Self {
        Self {
            lines: vec![line.to_string()],
        }
    }

    fn of(faults: impl IntoIterator<Item = impl ToString>) -> Self {
        Self {
            lines: faults.into_iter().map(|fault| fault.to_string()).collect(),
        }
    }
}

impl Failure {
    /// A routing table that was not applied: every mistake in it, with its `source` where the lines are of
    /// one that somebody has seen, or the store's trouble.
    fn of_table(source: &str, refused: Refused) -> Self {
        let line = move |it: Fault| match source {
            "" => it.to_string(),
            source => format!("{source}: {it}"),
        };
        let lines = |faults: Vec<Fault>| faults.into_iter().map(line);
        match refused {
            Refused::Faults(faults) => Self::of(lines(faults)),
            Refused::Strict(warnings) => Self::of_strict(source, &warnings, false),
            Refused::NothingBefore => Self::new(
                "--confirm goes back to the table before, and there is none yet: leave it out",
            ),
            Refused::Unconfirmed(it) => Self::new(format!(
                "revision {} may be taken back yet, at {}: let it stay with ilbud route confirm, or go back with ilbud route revert {}, and try again",
                it.revision,
                print::local(it.until),
                it.back_to
            )),
            Refused::Store(fault) => fault.into(),
        }
    }
}

impl Failure {
    /// Warnings that are mistakes since somebody asked for that. `all`: however many are alike.
    fn of_strict(source: &str, warnings: &Warnings, all: bool) -> Self {
        let last = "nothing was changed: with --strict a warning is a mistake";
        let lines = alike::few_unless(all, warnings.lines(source));
        Self::of(lines.into_iter().chain([last.to_owned()]))
    }
}

impl From<StoreError> for Failure {
    fn from(fault: StoreError) -> Self {
        Self::new(fault)
    }
}

impl From<std::io::Error> for Failure {
    fn from(fault: std::io::Error) -> Self {
        match fault.kind() {
            // Whoever read our output has seen enough (`| head`): nothing to complain of.
            std::io::ErrorKind::BrokenPipe => Self { lines: Vec::new() },
            _ => Self::new(fault),
        }
    }
}

/// Parses the command line, runs the one command, and tells how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(fault) => {
            // Help and version are "errors" of status 0.
            let status = u8::from(fault.use_stderr()) * 2;
            drop(fault.print());
            return ExitCode::from(status);
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in &failure.lines {
                print::complaint(&format!("ilbud: {line}"));
            }
            // Without a line there is nothing to complain of: see `From<std::io::Error>`.
            match failure.lines.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let config = cli.config.as_path();
    match &cli.command {
        Command::Serve => serve::run(config),
        Command::Check { all } => check::run(config, *all),
        Command::Route(command) => on_store(config, |store, settings| {
            route::run(command, store, settings)
        }),
        Command::Log(command) => match command.without_store() {
            Some(outcome) => outcome,
            None => on_store(config, |store, settings| log::run(command, store, settings)),
        },
        Command::Queue(command) => on_store(config, async |store, settings| {
            queue::run(command, store, settings).await
        }),
        Command::Quarantine(command) => on_store(config, async |store, settings| {
            quarantine::run(command, store, settings).await
        }),
        Command::Scan(command) => on_store(config, async |store, settings| {
            scan::run(command, store, settings).await
        }),
        Command::Outbreak(command) => on_store(config, async |store, settings| {
            outbreak::run(command, store, settings).await
        }),
        Command::Workstation(command) => on_store(config, async |store, _| {
            workstation::run(command, store).await
        }),
        Command::Credential(command) => on_store(config, async |store, _| {
            credential::run(command, store).await
        }),
        Command::Certs(command) => certs::run(command, config),
    }
}

/// Runs a command's body on the store that the settings name.
fn on_store<F>(
    config: &Path,
    body: impl FnOnce(Arc<dyn Store>, Settings) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let settings = load(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(Sqlite::open_with(
            &settings.store,
            settings.privacy.discretion(),
        )?);
        body(store, settings).await
    })
}

/// The settings, or every mistake in them.
fn load(config: &Path) -> Result<Settings, Failure> {
    config::load(config).map_err(|faults| {
        Failure::of(
            faults
                .iter()
                .map(|fault| format!("{}: {fault}", config.display())),
        )
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What is wrong with a file that holds this table, and passwords with it, and that others may read.
fn exposed_table(file: &Path, text: &str) -> Option<String> {
    let fault = exposed(file, may_hold_passwords(text))?;
    let (table, _) = RoutingTable::parse(text, 0).ok()?;
    let mut servers = table
        .rooms()
        .flat_map(|room| room.next_hops.iter().filter_map(NextHop::server));
    let has_password = servers.any(|server| server.credentials.is_some());
    has_password.then_some(fault)
}

/// What is wrong with a file that has passwords of next hops in it, if others may read it.
fn exposed(file: &Path, has_password: bool) -> Option<String> {
    let metadata = std::fs::metadata(file).ok().filter(|_| has_password)?;
    let fault = secrecy::fault(file, &metadata, "a next hop's password")?;
    Some(format!("{}: {fault}", file.display()))
}

/// A quick look that saves reading a large table once more. A password stands between `://` and `@`, unless a
/// backslash hides them.
fn may_hold_passwords(text: &str) -> bool {
    let between = |line: &str| {
        let url = line.split_once("://");
        url.is_some_and(|(_, rest)| rest.contains('@'))
    };
    text.contains('\\') || text.lines().any(between)
}
