//! `ilbud certs dev`, and what `serve` makes by itself on a fresh machine.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::development::{self, Existing};
use super::{DEFAULT_CONFIG, Failure, load, print};
use crate::tls;

/// Where development certificates go unless the settings name another folder.
const FOLDER: &str = "certs";
/// Our name where there are no settings yet.
const HOSTNAME: &str = "relay.nodnett.test";
/// One workstation of each room in the shipped routing table.
const WORKSTATIONS: [&str; 3] = [
    "ws1.amk-oslo.nodnett.test",
    "ws1.legevakt-hamar.nodnett.test",
    "ws1.akuttmottak-bergen.nodnett.test",
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a development CA, a relay certificate and workstation certificates
    Dev {
        /// DNS names of workstations
        #[arg(value_name = "WORKSTATION", default_values = WORKSTATIONS)]
        workstations: Vec<String>,
        /// Where to; the folder of the certificate in the settings unless said
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Replace certificates and keys that are there
        #[arg(long)]
        replace: bool,
    },
}

pub(super) fn run(command: &Command, config: &Path) -> Result<(), Failure> {
    let Command::Dev {
        workstations,
        folder,
        replace,
    } = command;
    // The very first command on a machine may be this one, before there are settings.
    let settings = match config == Path::new(DEFAULT_CONFIG) && !config.exists() {
        true => None,
        false => Some(load(config)?),
    };
    let hostname = settings
        .as_ref()
        .map_or(HOSTNAME, |settings| &settings.hostname);
    let tls = settings.as_ref().and_then(|settings| settings.tls.as_ref());
    let folder = folder
        .as_deref()
        .or_else(|| tls.map(folder_of))
        .unwrap_or(Path::new(FOLDER));
    let existing = if *replace {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let made = development::make(folder, hostname, workstations, existing).map_err(Failure::new)?;
    if made.is_empty() {
        print::line(format_args!(
            "All of them are there already, in {}.",
            folder.display()
        ))?;
    }
    for path in made {
        print::line(format_args!("made {}", path.display()))?;
    }
    Ok(())
}

fn folder_of(tls: &tls::Settings) -> &Path {
    match tls.certificate.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether the settings name the files that `certs dev` makes, and none of them is there. Other
/// names were typed by somebody: files missing there are a mistake.
pub(super) fn are_wanted(tls: &tls::Settings) -> bool {
    tls.certificate == Path::new("certs/relay.pem")
        && tls.private_key == Path::new("certs/relay.key")
        && !tls.certificate.exists()
        && !tls.private_key.exists()
}

/// Makes them, and gives the files that were made.
pub(super) fn make_for(tls: &tls::Settings, hostname: &str) -> Result<Vec<PathBuf>, Failure> {
    let workstations = WORKSTATIONS.map(str::to_owned);
    development::dev(folder_of(tls), hostname, &workstations).map_err(Failure::new)
}
