//! Wiring and lifetime: open everything, start everything, watch for changes, stop gracefully.
//!
//! It connects the parts and decides nothing about mail. A part that cannot start stops the start
//! with a clear line; a long-lived worker that dies stops the process, since a relay that half works
//! is worse than one that is started anew. It never waits for ever: stopping is bounded.

use std::fmt;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Settings;
use crate::delivery::client::Caller;
use crate::delivery::maildir::Writers;
use crate::delivery::resolve::Resolver;
use crate::delivery::trust::Trust;
use crate::delivery::ways::Ways;
use crate::limits::{Acquaintances, Checks, Connections, FailedLogins, REMEMBERED, Rates};
use crate::mail::{Reference, StationKind, Timestamp};
use crate::ops::measures::follow_measures;
use crate::ops::privacy::retention;
use crate::ops::route_alarm::RouteAlarm;
use crate::ops::second_look::{self, TakenBack};
use crate::ops::{self, evidence, routes};
use crate::policy::table::RoutingTable;
use crate::queue;
use crate::scan::measures::Measures;
use crate::scan::{self, Desk, Gate};
use crate::smtp::server::{self, Listener, ListenerTls};
use crate::spool::store::{Store, StoreError};
use crate::spool::{Feed, Spool};
use crate::supervisor::{self, Pulse, Pulses, Supervisor};
use crate::tls;

/// Fresh messages that may wait in memory for the queue.
const WINDOW: usize = 1000;
/// How often a portion of finished contents is deleted, and of free space given back.
const TIDY: Duration = Duration::from_secs(1);
/// How often it is looked for what was kept in quarantine long enough.
const FORGET: Duration = Duration::from_secs(60);
/// How long a routing table that could not be read is left alone.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// How long stopping may take in all, whatever hangs.
const STOP: Duration = Duration::from_secs(40);
/// How many times within the service manager's patience it is told that the relay lives; and that is
/// not looked at more often than this.
const SIGNS_OF_LIFE: u32 = 3;
const LOOK_FOR_LIFE: Duration = Duration::from_secs(1);
/// How often certificates on disk are looked at.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(2);

/// Why the relay did not start, or stopped.
#[derive(Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// A relay whose listeners are bound and whose parts are ready.
#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    spool: Spool,
    feed: Feed,
    table: watch::Sender<Arc<RoutingTable>>,
    listeners: Vec<Listener>,
    tls: Option<tls::Reloading>,
    caller: Caller,
    last: Option<Reference>,
    supervisor: Supervisor,
    signer: Arc<evidence::Signer>,
}

impl Relay {
    /// Makes everything ready: listeners bound, TLS loaded, the routing table in place.
    pub async fn start(
        settings: Settings,
        store: Arc<dyn Store>,
        table: RoutingTable,
    ) -> Result<Self, Fault> {
        let tls = match &settings.tls {
            Some(tls)
                if settings
                    .listeners
                    .iter()
                    .any(|it| it.tls != ListenerTls::Off) =>
            {
                Some(tls::Reloading::load(tls).map_err(|fault| Fault(fault.to_string()))?)
            }
            _ => None,
        };
        let client_ca = settings
            .tls
            .as_ref()
            .and_then(|tls| tls.client_ca.as_deref());
        let trust = Trust::new(client_ca).map_err(|it| Fault(it.to_string()))?;
        let mut listeners = Vec::new();
        for listener in &settings.listeners {
            let bound = server::bind(listener).map_err(|fault| {
                Fault(format!(
                    "listener {:?} cannot listen on {}: {fault}",
                    listener.name, listener.address
                ))
            })?;
            listeners.push(bound);
        }
        let last = store
            .last_reference()
            .await
            .map_err(|fault| Fault(fault.to_string()))?;
        let signer = evidence::Signer::new(Arc::clone(&store), &settings.log)
            .map_err(|fault| Fault(fault.to_string()))?;
        let (spool, feed) = Spool::new(store, last, settings.limits.memory, WINDOW);
        spool.remember_recent().await;
        spool.say_nothing_before(settings.schedule().first_word(&table));
        let table = watch::Sender::new(Arc::new(settings.in_force(table)));
        let caller = Caller {
            hostname: settings.hostname.clone(),
            trust,
            resolver: Arc::new(Resolver::new(settings.resolver.clone())),
            timeouts: settings.delivery.timeouts,
            ways: Ways::named_in(table.subscribe()),
            writers: Writers::default(),
        };
        Ok(Self {
            settings,
            spool,
            feed,
            table,
            listeners,
            tls,
            caller,
            last,
            supervisor: Supervisor::of_environment(),
            signer: Arc::new(signer),
        })
    }

    /// Name, address and TLS of each listener.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, SocketAddr, &'static str)> {
        self.listeners
            .iter()
            .map(|it| (it.name(), it.address(), it.tls().word()))
    }

    fn places(&self) -> String {
        let places = self
            .listeners()
            .map(|(name, address, _)| format!("{address} ({name})"));
        places.collect::<Vec<_>>().join(", ")
    }

    pub fn table(&self) -> Arc<RoutingTable> {
        Arc::clone(&self.table.borrow())
    }

    /// Runs until `stop` is ready, then stops gracefully.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Fault> {
        let (stopping, stopped) = watch::channel(false);
        let post = Post {
            places: self.places(),
            spool: self.spool.clone(),
            table: self.table.subscribe(),
            supervisor: self.supervisor,
        };
        let mut pulses = Pulses::default();
        let mut background = JoinSet::new();
        let mut foreground = JoinSet::new();
        background.spawn(self.spool.clone().write_refusals());
        background.spawn(self.spool.clone().write_sightings());
        background.spawn(follow_routes(
            self.spool.clone(),
            self.table.clone(),
            self.settings.clone(),
        ));
        background.spawn(tidy(self.spool.clone(), self.settings.store.keep_bodies));
        background.spawn(evidence::sign_at_intervals(
            Arc::clone(&self.signer),
            self.settings.log.clone(),
        ));
        background.spawn(retention::keep(
            Arc::clone(self.spool.store()),
            self.settings.privacy.retention,
        ));
        let certificates = self.tls.as_ref().map(tls::Reloading::subscribe);
        if let Some(tls) = self.tls {
            background.spawn(tls.watch_files(LOOK_AT_CERTIFICATES));
        }
        let measures = watch::Sender::new(Arc::new(measures_in_force(&self.spool).await));
        let gate = Arc::new(Gate {
            desk: Arc::new(Desk::new(&self.settings.scan)),
            spool: self.spool.clone(),
            table: self.table.subscribe(),
            measures: measures.subscribe(),
            settings: self.settings.scan.clone(),
            schedule: self.settings.schedule(),
            letterhead: self.settings.letterhead(),
            stop: stopped.clone(),
            noise: RandomState::new(),
            start: Timestamp::now(),
            up_since: tokio::time::Instant::now(),
        });
        background.spawn(ops::outbreak::follow(
            Arc::clone(self.spool.store()),
            measures.subscribe(),
        ));
        background.spawn(forget_caught(
            self.spool.clone(),
            self.settings.scan.quarantine,
        ));
        let measures_seen = measures.subscribe();
        background.spawn(follow_measures(Arc::clone(self.spool.store()), measures));
        background.spawn(watch_engines(Arc::clone(&gate)));
        foreground.spawn(Arc::clone(&gate).run());
        let pulse = pulses.add("the queue");
        let queue = queue::run(queue::Parts {
            feed: self.feed,
            spool: self.spool.clone(),
            table: self.table.subscribe(),
            measures: measures_seen,
            caller: self.caller,
            last: self.last,
            settings: self.settings.delivery.clone(),
            letterhead: self.settings.letterhead(),
            stop: stopped.clone(),
            pulse: pulse.clone(),
        });
        let heeding = ops::outbreak::heed(Arc::clone(self.spool.store()));
        foreground.spawn(after(heeding, queue, pulse, stopped.clone()));
        let parts = Arc::new(server::Parts {
            hostname: self.settings.hostname.clone(),
            limits: self.settings.limits.clone(),
            connections: Connections::new(&self.settings.limits),
            rates: Rates::new(&self.settings.limits),
            failed_logins: FailedLogins::new(&self.settings.limits.failed_logins),
            acquaintances: acquaintances(&self.spool).await,
            checks: Checks::new(half_of_the_processors()),
            spool: self.spool.clone(),
            gate,
            table: self.table.subscribe(),
            tls: certificates,
            stop: stopped,
        });
        for listener in self.listeners {
            let pulse = pulses.add(format!("the listener {:?}", listener.name()));
            foreground.spawn(server::run(listener, Arc::clone(&parts), pulse));
        }
        post.supervisor.tell(supervisor::READY, &post.standing());
        let post = Arc::new(post);
        background.spawn(Arc::clone(&post).report_life(pulses));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            _ = background.join_next() => Err(Fault("a part of the relay died; start it again".to_owned())),
            _ = foreground.join_next() => Err(Fault("a part of the relay died; start it again".to_owned())),
        };
        tracing::info!("stopping: transactions in hand are finished, new ones are refused");
        post.supervisor
            .tell(supervisor::STOPPING, &farewell(&outcome));
        stopping.send_replace(true);
        let last_works = async {
            while foreground.join_next().await.is_some() {}
            self.spool.flush_refusals().await;
            self.signer.sign_and_tell().await;
            // What is lost comes again with the next message.
            let _ = self.spool.flush_sightings().await;
        };
        if tokio::time::timeout(STOP, last_works).await.is_err() {
            tracing::error!("stopped before everything was done: the store did not answer in time");
        }
        outcome
    }
}

/// Works once that is done, and shows meanwhile that it lives. Never, where the relay stops before.
async fn after(
    first: impl Future<Output = ()>,
    work: impl Future<Output = ()>,
    pulse: Pulse,
    mut stop: watch::Receiver<bool>,
) {
    let mut first = std::pin::pin!(first);
    loop {
        tokio::select! {
            () = &mut first => break,
            () = tokio::time::sleep(LOOK_FOR_LIFE) => pulse.beat(),
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
    work.await;
}

fn farewell(outcome: &Result<(), Fault>) -> String {
    match outcome {
        Ok(()) => "stopping: transactions in hand are finished, new ones are refused".to_owned(),
        Err(fault) => format!("stopping: {fault}"),
    }
}

/// Who tells the service manager how things stand.
struct Post {
    /// Where the relay listens.
    places: String,
    spool: Spool,
    table: watch::Receiver<Arc<RoutingTable>>,
    supervisor: Supervisor,
}

impl Post {
    /// Tells it that the relay lives, for as long as it does: a relay that only seems to live is to be
    /// started anew.
    async fn report_life(self: Arc<Self>, mut pulses: Pulses) {
        let Some(patience) = self.supervisor.patience() else {
            return std::future::pending().await;
        };
        let every = (patience / SIGNS_OF_LIFE).max(LOOK_FOR_LIFE);
        let mut is_well = true;
        loop {
            tokio::time::sleep(every).await;
            let trouble = match self.store_answers(every).await {
                true => pulses.silent().join(" and "),
                false => "the store".to_owned(),
            };
            is_well = self.report(&trouble, is_well);
        }
    }

    fn report(&self, trouble: &str, was_well: bool) -> bool {
        if trouble.is_empty() {
            self.supervisor.tell(supervisor::ALIVE, &self.standing());
            if !was_well {
                tracing::warn!("every part of the relay answers again");
            }
            return true;
        }
        let status = format!("in trouble: {trouble} does not answer");
        tracing::error!("{status}; unless that changes, the service manager starts the relay anew");
        self.supervisor.tell("", &status);
        false
    }

    /// Whether the store reads and commits, or says why it cannot: one that says so is not dead.
    async fn store_answers(&self, within: Duration) -> bool {
        let store = self.spool.store();
        let both = async {
            let commit = store.give_back(Vec::new());
            (store.last_event().await, commit.await)
        };
        tokio::time::timeout(within, both).await.is_ok()
    }

    fn standing(&self) -> String {
        let table = self.table.borrow();
        format!(
            "carrying mail between {} rooms (routing table {}), on {}",
            table.rooms().count(),
            table.revision(),
            self.places
        )
    }
}

/// A store that does not tell is asked again at once, by whoever follows them.
async fn measures_in_force(spool: &Spool) -> Measures {
    let current = ops::measures::current(spool.store(), Timestamp::now()).await;
    current.unwrap_or_else(|fault| {
        tracing::error!(%fault, "blocks and exceptions cannot be read");
        Measures::default()
    })
}

async fn watch_engines(gate: Arc<Gate>) {
    scan::watch(&gate.desk, &gate.spool, &gate.settings).await;
}

fn half_of_the_processors() -> usize {
    std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2))
}

/// Those of the time before this start. A store that does not tell holds nobody up.
async fn acquaintances(spool: &Spool) -> Acquaintances {
    let known = Acquaintances::default();
    let now = Timestamp::now();
    match spool.store().workstations().await {
        Ok(workstations) => workstations
            .iter()
            .filter(|it| it.station.kind != StationKind::Address)
            .filter(|it| it.last_seen_at.after(REMEMBERED) > now)
            .filter_map(|it| it.address.parse().ok())
            .for_each(|address| known.add(address, Instant::now())),
        Err(fault) => tracing::warn!(%fault, "which workstations were here before is not known"),
    }
    known
}

/// Ready when the process is told to stop, by SIGTERM or SIGINT. They are heard from this call on,
/// whenever it is waited for. Needs a runtime.
pub fn stop_signal() -> impl Future<Output = ()> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async {
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(fault), _) | (_, Err(fault)) => {
                tracing::error!(%fault, "signals cannot be heard: only SIGKILL stops this relay");
                std::future::pending().await
            }
        }
    }
}

/// Puts a new revision in force as soon as another process has stored one. A table that cannot be
/// read leaves the last good one in force, with an alarm until it can.
async fn follow_routes(spool: Spool, table: watch::Sender<Arc<RoutingTable>>, settings: Settings) {
    let mut foreign = spool.store().foreign_changes();
    let mut alarm = RouteAlarm::default();
    let mut seen = None;
    loop {
        // Most changes of a store are of other things, and to read a large table takes a while.
        let mark = spool.store().routes_mark().await.ok().flatten();
        if mark.is_none() || mark != seen {
            let stored = put_in_force(&spool, &table, &settings).await;
            seen = mark.filter(|_| stored.trouble.is_none());
            let revision = table.borrow().revision();
            if let Some(fault) = stored.trouble {
                let newest = stored.newest;
                alarm.raise(&spool, &fault, revision, newest).await;
                tokio::time::sleep(READ_AGAIN).await;
                foreign.mark_changed();
            }
        }
        if seen.is_some() {
            let revision = table.borrow().revision();
            alarm.end(&spool, revision).await;
        }
        tokio::select! {
            changed = foreign.changed() => if changed.is_err() { return },
            () = taken_back(spool.store()) => {}
        }
    }
}

/// How reading the stored table went.
struct Stored {
    /// The newest that could be read.
    newest: Option<u64>,
    /// Why that is not the one in force.
    trouble: Option<StoreError>,
}

/// Puts the stored table in force if it is another one.
async fn put_in_force(
    spool: &Spool,
    table: &watch::Sender<Arc<RoutingTable>>,
    settings: &Settings,
) -> Stored {
    let (new, trouble) = match routes::readable(spool.store()).await {
        Ok(Some(found)) => (found.table, found.trouble),
        Ok(None) => {
            return Stored {
                newest: None,
                trouble: None,
            };
        }
        Err(fault) => {
            return Stored {
                newest: None,
                trouble: Some(fault),
            };
        }
    };
    let (revision, before) = (new.revision(), table.borrow().revision());
    // What was read before it was broken stays, rather than one before it.
    let is_new = match trouble {
        None => revision != before,
        Some(_) => revision > before,
    };
    if is_new {
        tracing::info!(revision, "a new routing table is in force");
        spool.say_nothing_before(settings.schedule().first_word(&new));
        table.send_replace(Arc::new(settings.in_force(new)));
    }
    Stored {
        newest: Some(revision),
        trouble,
    }
}

/// Ready when the table in force was one that nobody has confirmed in time, and no longer counts.
async fn taken_back(store: &Arc<dyn Store>) {
    loop {
        match take_back_in_time(store).await {
            Ok(Some(taken)) => {
                let (revision, back_to) = (taken.what.revision, taken.what.back_to);
                tracing::warn!(
                    revision,
                    back_to,
                    "nobody has confirmed a routing table in time: it is taken back"
                );
                return;
            }
            // What somebody else does to it is a foreign change.
            Ok(None) => std::future::pending().await,
            Err(fault) => {
                tracing::error!(%fault, "an unconfirmed routing table cannot be taken back yet");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
    }
}

/// Waits as long as the revision in force has, whatever the clock does meanwhile.
async fn take_back_in_time(store: &Arc<dyn Store>) -> Result<Option<TakenBack>, StoreError> {
    let Some(what) = store.unconfirmed_routes().await? else {
        return Ok(None);
    };
    tokio::time::sleep(what.left(Timestamp::now())).await;
    second_look::take_back(store, what, Timestamp::now()).await
}

/// Deletes what need not be kept any longer, and gives free space back: a portion at a time, so that
/// mail is not held up.
async fn tidy(spool: Spool, keep_bodies: Duration) {
    let mut tick = tokio::time::interval(TIDY);
    let mut after = None;
    loop {
        tick.tick().await;
        let finished_before = Timestamp::now().before(keep_bodies);
        let purged = spool.store().purge(finished_before, after).await;
        match (purged, spool.store().shrink().await) {
            (Ok(last), Ok(())) => after = last,
            (Err(fault), _) | (_, Err(fault)) => {
                tracing::warn!(%fault, "the store cannot be tidied yet");
            }
        }
    }
}

/// Does away with what lay in quarantine for as long as it is kept.
async fn forget_caught(spool: Spool, kept_for: Duration) {
    let mut tick = tokio::time::interval(FORGET);
    loop {
        tick.tick().await;
        loop {
            match ops::quarantine::forget(spool.store(), kept_for, Timestamp::now()).await {
                Ok(true) => tokio::time::sleep(TIDY).await,
                Ok(false) => break,
                Err(fault) => {
                    tracing::warn!(%fault, "what was kept in quarantine long enough cannot be deleted yet");
                    break;
                }
            }
        }
    }
}
