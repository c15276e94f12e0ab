//! `ilbud serve`: make what is missing, say so, run the relay, and say what to try next.

use std::fmt::Arguments;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use super::{
    AS_ROOT, DEFAULT_CONFIG, Failure, NO_ENGINE, alike, certs, exposed_table, is_root, load,
    operator, print,
};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::routes::{self, Proposal};
use crate::ops::second_look;
use crate::policy::decide;
use crate::policy::table::{Room, RoutingTable};
use crate::relay::{self, Relay};
use crate::scan::EngineSettings;
use crate::spool::sqlite::Sqlite;
use crate::spool::store::{Store, StoreError};

/// The shipped settings and table, for a folder that has none.
const SETTINGS: &str = include_str!("../../config/ilbud.toml");
const ROUTES: &str = include_str!("../../config/routes.toml");
/// Descriptors for everything but clients: the store, next hops, Maildirs.
const DESCRIPTORS: u64 = 1000;
/// The environment variable that says how much the process tells of itself.
const VERBOSITY: &str = "ILBUD_LOG";

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    start_tracing();
    make_settings(config)?;
    let settings = load(config)?;
    make_certificates(&settings)?;
    raise_descriptors(settings.limits.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(config, settings));
    // A question to the disk or to DNS that still hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// A connection is a descriptor. The system's soft limit is often a quarter of what is needed.
fn raise_descriptors(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.maximum, limit.maximum);
    if let Err(fault) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        tracing::warn!(%fault, "the limit of open files cannot be raised");
    }
    let wanted = connections as u64 + DESCRIPTORS;
    if let Some(open) = limit.maximum.filter(|&open| open < wanted) {
        tracing::warn!(
            "only {open} files may be open, so not all of {connections} connections can be taken; \
             raise the limit to {wanted} (LimitNOFILE=), or lower limits.connections"
        );
    }
}

/// One line for whoever looks on. Nobody need: a full disk or a closed pipe stops no relay.
fn tell(line: Arguments<'_>) {
    drop(print::line(line));
}

fn start_tracing() {
    let filter = EnvFilter::try_from_env(VERBOSITY).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Nowhere to write is no reason to stop carrying mail: it would say so, in vain, and panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// On the default path only: a path that somebody typed is not made, it is a mistake.
fn make_settings(config: &Path) -> Result<(), Failure> {
    if config != Path::new(DEFAULT_CONFIG) || config.exists() {
        return Ok(());
    }
    let folder = config.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)?;
    for (path, text) in [
        (config.to_owned(), SETTINGS),
        (folder.join("routes.toml"), ROUTES),
    ] {
        if !path.exists() {
            std::fs::write(&path, text)?;
            tell(format_args!(
                "made {} (the shipped example)",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Development certificates, where the settings name the default files and none of them is there.
fn make_certificates(settings: &Settings) -> Result<(), Failure> {
    let Some(tls) = settings.tls.as_ref().filter(|tls| certs::are_wanted(tls)) else {
        return Ok(());
    };
    for path in certs::make_for(tls, &settings.hostname)? {
        tell(format_args!(
            "made {} (development only: see certs/README.md)",
            path.display()
        ));
    }
    Ok(())
}

async fn serve(config: &Path, settings: Settings) -> Result<(), Failure> {
    let _lock = Sqlite::lock(&settings.store.path)?;
    let is_new = !settings.store.path.exists();
    let store = Sqlite::open_with(&settings.store, settings.privacy.discretion())?;
    store.follow()?;
    let store: Arc<dyn Store> = Arc::new(store);
    if is_new {
        tell(format_args!(
            "made {} (the store)",
            settings.store.path.display()
        ));
    }
    let is_imported = import_routes(config, &settings, &store).await?;
    if settings.scan.engines.is_empty() {
        tracing::warn!("{NO_ENGINE}");
    }
    let engines: Vec<String> = settings.scan.engines.iter().map(engine).collect();
    if is_root() {
        tracing::warn!("{AS_ROOT}");
    }
    if let Some(taken) = second_look::take_back_overdue(&store, Timestamp::now()).await? {
        let (revision, back_to) = (taken.what.revision, taken.what.back_to);
        tracing::warn!(
            revision,
            back_to,
            "nobody has confirmed a routing table in time: it is taken back"
        );
    }
    let found = routes::readable(&store)
        .await
        .map_err(|fault| match fault {
            StoreError::Corrupt(_) => Failure::new(format!("{fault}; {}", routes::NONE_READABLE)),
            fault => fault.into(),
        })?;
    let Some(found) = found else {
        return Err(Failure::new(format!(
            "there is no routing table: put one beside {} as routes.toml, or run ilbud route apply FILE",
            config.display()
        )));
    };
    let table = found.table;
    if let Some(fault) = found.trouble {
        let good = table.revision();
        tracing::error!(
            "{fault}; revision {good} is in force: {}",
            routes::remedy(good)
        );
    }
    if !is_imported {
        let (of_settings, of_rooms) = routes::doubt_times(&table, &settings.delivery);
        let of_rooms = of_rooms.into_iter().map(|it| it.text);
        for doubt in of_settings.into_iter().chain(of_rooms) {
            tracing::warn!("{doubt}");
        }
    }
    let stop = relay::stop_signal();
    let relay = Relay::start(settings, store, table)
        .await
        .map_err(Failure::new)?;
    print_welcome(config, &relay, &engines)?;
    relay.run(stop).await.map_err(Failure::new)
}

/// Whether there was none, and is one now.
async fn import_routes(
    config: &Path,
    settings: &Settings,
    store: &Arc<dyn Store>,
) -> Result<bool, Failure> {
    let file = config.with_file_name("routes.toml");
    if store.routes().await?.is_some() || !file.exists() {
        return Ok(false);
    }
    let toml = std::fs::read_to_string(&file)?;
    if let Some(fault) = exposed_table(&file, &toml) {
        return Err(Failure::new(fault));
    }
    let proposal = Proposal {
        toml,
        by: operator(),
        reason: Some(format!("imported from {}", file.display())),
        expected: None,
        confirm: None,
        strict: false,
        warnings: Vec::new(),
        needs_approval: false,
    };
    let outcome = routes::apply(store, proposal, &settings.surroundings(), Timestamp::now())
        .await
        .map_err(|refused| Failure::of_table(&file.display().to_string(), refused))?;
    for warning in alike::few(outcome.warnings.lines(&file.display().to_string())) {
        tracing::warn!("{warning}");
    }
    tell(format_args!(
        "imported {} as revision {}",
        file.display(),
        outcome.revision
    ));
    Ok(true)
}

/// How this program was called, so that what it advises can be typed.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "ilbud".to_owned())
}

/// Its name, and its kind where that is another word.
fn engine(engine: &EngineSettings) -> String {
    match engine.kind.word() {
        kind if kind == engine.name => kind.to_owned(),
        kind => format!("{} ({kind})", engine.name),
    }
}

fn print_welcome(config: &Path, relay: &Relay, engines: &[String]) -> Result<(), Failure> {
    tell(format_args!(""));
    for (name, address, tls) in relay.listeners() {
        tell(format_args!(
            "Ilbud listens on {address} ({name}, TLS {tls})."
        ));
    }
    if !engines.is_empty() {
        tell(format_args!(
            "Messages are scanned by {}.",
            engines.join(", ")
        ));
    }
    let option = match config == Path::new(DEFAULT_CONFIG) {
        true => String::new(),
        false => format!(" --config {}", config.display()),
    };
    if let (Some((_, address, _)), Some((from, to))) =
        (relay.listeners().next(), first_message(&relay.table()))
    {
        tell(format_args!(
            "\nSend the first message from another terminal:\n  \
             swaks --server {address} --from {from} --to {to} --header 'Subject: Hei'\n\
             Without swaks:\n  \
             printf 'From: {from}\\nTo: {to}\\nSubject: Hei\\n\\nHei!\\n' | curl --crlf --mail-from {from} --mail-rcpt {to} -T - smtp://{address}"
        ));
    }
    let program = program();
    tell(format_args!(
        "\nSee what happened to it:\n  {program} log search{option}\n  {program} log tail{option}\n\nStop with Ctrl-C."
    ));
    Ok(())
}

/// A sender and a recipient with which a message from this very machine would be accepted.
fn first_message(table: &RoutingTable) -> Option<(String, String)> {
    let here = IpAddr::from([127, 0, 0, 1]);
    let now = Timestamp::now();
    let rooms: Vec<&Room> = table.rooms().take(20).collect();
    let pairs = rooms
        .iter()
        .flat_map(|from| rooms.iter().rev().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from.id != to.id)
        .find_map(|(from, to)| {
            let (from, to) = (mailbox(from)?, mailbox(to)?);
            let answers =
                decide::explain(&from, &to, Some(&decide::Client::Address(here)), table, now);
            answers
                .iter()
                .all(|answer| answer.decision == "accept")
                .then_some((from, to))
        })
}

fn mailbox(room: &Room) -> Option<String> {
    match room
        .recipients
        .as_ref()
        .and_then(|known| known.listed().first())
    {
        Some(first) => Some(first.to_string()),
        None => Some(format!("vakt@{}", room.domains.first()?.unicode())),
    }
}
