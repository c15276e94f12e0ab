//! The store on SQLite: a file, WAL, `synchronous=FULL`.
//!
//! One writer thread (`writer`) makes all changes and commits whatever waits together; readers have
//! connections of their own and never hold it up. What is said to be kept is on stable storage when
//! it is said. It decides nothing about mail. It fails as one of the five [`StoreError`]s, and it
//! recovers by itself: a connection that went bad is opened anew.

mod aging;
mod chain;
mod credentials;
mod disk;
mod engines;
mod index;
mod members;
mod outbreak;
mod read;
mod revisions;
mod scans;
mod workstations;
mod write;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, TryLockError};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, functions::FunctionFlags};
use tokio::sync::watch;

use super::store::{
    Aged, Aging, AgingPlan, Applied, CaughtMessage, Change, Credential, EngineRow, Forgotten, Hunt,
    Hunted, Known, LogPage, LogRow, LoggedEvent, MessageRecord, Names, NewMessage, Pair, Pending,
    Portion, Recent, RecipientId, RecipientState, ScanQueue, ScanRow, Search, Shift, Standing,
    Store, StoreError, Unchained, Waiting, WaitingFilter, WaitingGroup, WaitingOrder, Window,
    Workstation,
};
use super::unnamed;
use crate::credential::Verifiers;
use crate::evidence::{Digest, Head, Start, walk};
use crate::mail::measure::{Closing, Measure};
use crate::mail::{
    Attachment, Content, Details, Event, EventKind, Reference, Refusal, RoomId, Sighting,
    Timestamp, headers,
};
use crate::spool::revision::{Chapter, Conditions, Decision, Revision, RoutesMark, Unconfirmed};
use index::Index;
use writer::Writer;

/// Numbered migrations; `user_version` says how many the file has had.
const MIGRATIONS: &[&str] = &[
    include_str!("../schema/sqlite/001_main_job.sql"),
    include_str!("../schema/sqlite/002_delivery.sql"),
    include_str!("../schema/sqlite/003_time.sql"),
    include_str!("../schema/sqlite/004_credential.sql"),
    include_str!("../schema/sqlite/005_workstation.sql"),
    include_str!("../schema/sqlite/006_scan.sql"),
    include_str!("../schema/sqlite/007_outbreak.sql"),
    include_str!("../schema/sqlite/008_attachment.sql"),
    include_str!("../schema/sqlite/009_engine.sql"),
    include_str!("../schema/sqlite/010_waiver.sql"),
    include_str!("../schema/sqlite/011_member.sql"),
    include_str!("../schema/sqlite/012_checks.sql"),
    include_str!("../schema/sqlite/013_change.sql"),
    include_str!("../schema/sqlite/014_written.sql"),
    include_str!("../schema/sqlite/015_chain.sql"),
    include_str!("../schema/sqlite/016_privacy.sql"),
    include_str!("../schema/sqlite/017_certificate.sql"),
];
/// How long a change waits for another process that holds the file.
const PATIENCE: Duration = Duration::from_secs(5);
/// The write-ahead log is folded into the file when it is this long, in pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 8192;
/// After a burst the write-ahead log is cut back to this many octets.
const LOG_OCTETS: i64 = 64 << 20;
/// `auto_vacuum`: free pages are given back when asked to.
const INCREMENTAL: i64 = 2;
const STATEMENTS: usize = 64;
/// Readers kept open between questions.
const IDLE_READERS: usize = 4;

/// What the store on SQLite wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub path: PathBuf,
    /// A finished message's bytes are kept this long; zero deletes them with the last outcome.
    pub keep_bodies: Duration,
}

/// What a store is to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discretion {
    /// No subject and no name of an attachment is written; see `unnamed`.
    pub is_nameless: bool,
    /// What is deleted is overwritten at once, so that nobody finds it in the file.
    pub is_thorough: bool,
}

/// The store on SQLite.
pub struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Arc<Readers>,
    index: Arc<Index>,
    keep_bodies: bool,
    is_nameless: bool,
    foreign: watch::Receiver<u64>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Held by the one relay that runs on a store; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct RelayLock {
    _file: File,
}

impl Sqlite {
    /// Opens the store, making the file and its folder when they are missing, and brings its
    /// schema up to date.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        Self::open_with(settings, Discretion::default())
    }

    pub fn open_with(settings: &Settings, discretion: Discretion) -> Result<Self, StoreError> {
        make_folder(&settings.path)?;
        let is_thorough = discretion.is_thorough;
        let connection = connect_to_write(&settings.path, is_thorough)?;
        sync_folder(&settings.path)?;
        let (announce, foreign) = watch::channel(0);
        let writer = Writer::start(settings.path.clone(), is_thorough, connection, announce)?;
        Ok(Self {
            path: settings.path.clone(),
            writer,
            readers: Arc::new(Readers {
                path: settings.path.clone(),
                idle: Mutex::default(),
            }),
            index: Arc::new(Index::beside(&settings.path)),
            keep_bodies: !settings.keep_bodies.is_zero(),
            is_nameless: discretion.is_nameless,
            foreign,
        })
    }

    /// Fills the search index behind the log, for as long as the store is there. For the one relay on it.
    pub fn follow(&self) -> Result<(), StoreError> {
        let (index, readers) = (Arc::downgrade(&self.index), Arc::clone(&self.readers));
        std::thread::Builder::new()
            .name("log-index".to_owned())
            .spawn(move || index::follow(&index, &readers))
            .map_err(|fault| {
                StoreError::Down(format!("no thread for the search index: {fault}"))
            })?;
        Ok(())
    }

    /// Fills the search index now, until it knows all that is there. Not beside a relay.
    pub fn fill_index(&self) -> Result<(), StoreError> {
        index::fill(&self.index, &self.readers)
    }

    /// Makes this process the one relay on the store at `path`.
    pub fn lock(path: &Path) -> Result<RelayLock, StoreError> {
        make_folder(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".relay");
        let down = |fault: std::io::Error| {
            StoreError::Down(format!("{}: {fault}", Path::new(&name).display()))
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(down)?;
        match file.try_lock() {
            Ok(()) => Ok(RelayLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy(format!(
                "another relay runs on {}; stop it first, or give this one a store of its own",
                path.display()
            ))),
            Err(TryLockError::Error(fault)) => Err(down(fault)),
        }
    }

    fn read<T, F>(&self, question: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || readers.ask(question))
                .await
                .unwrap_or_else(|fault| Err(StoreError::Down(fault.to_string())))
        })
    }
}

impl Sqlite {
    /// What is to be left out stands in the messages' bytes, and nowhere else: they are read first, while the
    /// writer goes on.
    fn apply_unnamed(&self, change: Arc<Change>) -> Pending<Applied> {
        let keep_bodies = self.keep_bodies;
        let references = unnamed::spoken_of(&change);
        let facts = self.read(move |connection| {
            let mut all = HashMap::new();
            for reference in references {
                if let Some(content) = read::content(connection, reference)? {
                    all.insert(reference, headers::read(&content.bytes).facts);
                }
            }
            Ok(all)
        });
        let writer = self.writer.clone();
        Box::pin(async move {
            let facts = facts.await?;
            let mut change = Change::clone(&change);
            unnamed::change(&mut change, |reference| facts.get(&reference).cloned());
            let write =
                writer.submit(move |connection| write::apply(connection, &change, keep_bodies));
            write.await
        })
    }
}

impl Store for Sqlite {
    fn accept(&self, mut message: NewMessage) -> Pending<()> {
        if self.is_nameless {
            unnamed::message(&mut message);
        }
        let octets = message.content.len() as u64;
        self.writer.submit_new_mail(octets, move |connection| {
            write::accept(connection, &message)
        })
    }

    fn apply(&self, change: Arc<Change>) -> Pending<Applied> {
        let keep_bodies = self.keep_bodies;
        if self.is_nameless {
            return self.apply_unnamed(change);
        }
        self.writer
            .submit(move |connection| write::apply(connection, &change, keep_bodies))
    }

    fn note(&self, mut refusals: Vec<Refusal>) -> Pending<()> {
        if self.is_nameless {
            unnamed::refusals(&mut refusals);
        }
        self.writer
            .submit(move |connection| write::note(connection, &refusals))
    }

    fn take_due(
        &self,
        now: Timestamp,
        leased_until: Timestamp,
        usual: Portion,
        other: HashMap<RoomId, Portion>,
    ) -> Pending<Vec<Waiting>> {
        self.writer
            .submit(move |connection| write::take_due(connection, now, leased_until, usual, &other))
    }

    fn give_back(&self, ids: Vec<RecipientId>) -> Pending<()> {
        self.writer
            .submit(move |connection| write::give_back(connection, &ids))
    }

    fn make_all_due(
        &self,
        now: Timestamp,
        last: Reference,
        ours: RangeInclusive<Timestamp>,
    ) -> Pending<u64> {
        self.writer
            .submit(move |connection| write::make_all_due(connection, now, last, &ours))
    }

    fn make_room_due(&self, room: RoomId, now: Timestamp) -> Pending<u64> {
        self.writer
            .submit(move |connection| write::make_room_due(connection, &room, now))
    }

    fn waiting_after(
        &self,
        after: Option<RecipientId>,
        last: Reference,
        limit: usize,
    ) -> Pending<Vec<RecipientId>> {
        self.read(move |connection| read::waiting_after(connection, after, last, limit))
    }

    fn shift(&self, shift: Shift, ids: Vec<RecipientId>) -> Pending<()> {
        self.writer
            .submit(move |connection| write::shift(connection, &shift, &ids))
    }

    fn to_look_at(&self, now: Timestamp, limit: usize) -> Pending<Vec<Waiting>> {
        self.read(move |connection| read::to_look_at(connection, now, limit))
    }

    fn to_scan(&self, now: Timestamp, limit: usize) -> Pending<Vec<ScanRow>> {
        self.read(move |connection| scans::due(connection, now, limit))
    }

    fn end_holds(&self, in_force: Vec<u64>, now: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| scans::end_holds(connection, &in_force, now))
    }

    fn make_scans_due(&self, now: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| scans::make_all_due(connection, now))
    }

    fn waived(&self, in_force: Vec<u64>, limit: usize) -> Pending<Vec<Waiting>> {
        self.read(move |connection| read::waived(connection, &in_force, limit))
    }

    fn mend_scans(&self, now: Timestamp) -> Pending<u64> {
        self.writer
            .submit(move |connection| scans::mend(connection, now))
    }

    fn unscanned(&self) -> Pending<u64> {
        self.read(scans::count)
    }

    fn scan_queue(&self) -> Pending<ScanQueue> {
        self.read(scans::queue)
    }

    fn engines_stand(&self, at: Timestamp, engines: Vec<EngineRow>) -> Pending<()> {
        self.writer
            .submit(move |connection| engines::stand(connection, at, &engines))
    }

    fn engines(&self) -> Pending<Vec<(Timestamp, EngineRow)>> {
        self.read(engines::all)
    }

    fn attachments(&self, reference: Reference) -> Pending<Vec<Attachment>> {
        self.read(move |connection| read::files_of(connection, reference))
    }

    fn quarantined(
        &self,
        reference: Option<Reference>,
        limit: usize,
    ) -> Pending<Vec<CaughtMessage>> {
        self.read(move |connection| scans::quarantined(connection, reference, limit))
    }

    fn caught_before(&self, before: Timestamp, limit: usize) -> Pending<Vec<Reference>> {
        self.read(move |connection| scans::caught_before(connection, before, limit))
    }

    fn content(&self, reference: Reference) -> Pending<Option<Content>> {
        self.read(move |connection| read::content(connection, reference))
    }

    fn beginning(&self, reference: Reference, octets: usize) -> Pending<Option<Content>> {
        self.read(move |connection| read::beginning(connection, reference, octets))
    }

    fn message(&self, reference: Reference) -> Pending<Option<MessageRecord>> {
        self.read(move |connection| read::message(connection, reference))
    }

    fn search(&self, search: Search) -> Pending<Vec<LogRow>> {
        let index = Arc::clone(&self.index);
        self.read(move |connection| index.search(connection, &search))
    }

    fn recent(&self, recent: Recent) -> Pending<Vec<LogRow>> {
        self.read(move |connection| read::recent(connection, &recent))
    }

    fn forget(&self, times: RangeInclusive<Timestamp>) -> Pending<()> {
        let index = Arc::clone(&self.index);
        self.read(move |_| index.forget(times.start().as_millis(), times.end().as_millis()))
    }

    fn log_page(&self, search: Search, after: Option<Reference>) -> Pending<LogPage> {
        self.read(move |connection| Index::page(connection, &search, after))
    }

    fn pairs(&self, since: Timestamp, not_below: Reference, limit: usize) -> Pending<Vec<Pair>> {
        self.read(move |connection| read::pairs(connection, since, not_below, limit))
    }

    fn events(&self, reference: Reference) -> Pending<Vec<LoggedEvent>> {
        self.read(move |connection| read::events(connection, reference))
    }

    fn events_after(&self, sequence: u64, limit: usize) -> Pending<Vec<LoggedEvent>> {
        self.read(move |connection| read::events_after(connection, sequence, limit))
    }

    fn tell(&self, at: Timestamp, kind: EventKind, details: Details) -> Pending<Reference> {
        self.writer
            .submit(move |connection| revisions::tell_event(connection, at, kind, &details))
    }

    fn readings(
        &self,
        window: Window,
        before: Option<u64>,
        limit: usize,
    ) -> Pending<Vec<LoggedEvent>> {
        self.read(move |connection| read::readings(connection, window, before, limit))
    }

    fn names_of(&self, references: Vec<Reference>) -> Pending<HashMap<Reference, Names>> {
        self.read(move |connection| read::names_of(connection, &references))
    }

    fn last_event(&self) -> Pending<u64> {
        self.read(read::last_event)
    }

    fn log_start(&self) -> Pending<Start> {
        self.read(chain::start)
    }

    fn unchained(&self) -> Pending<Unchained> {
        self.read(chain::unchained)
    }

    fn log_rows(&self, after: u64, limit: usize) -> Pending<Vec<walk::Row>> {
        self.read(move |connection| chain::rows(connection, after, limit))
    }

    fn log_rows_of(&self, reference: Reference) -> Pending<Vec<walk::Row>> {
        self.read(move |connection| chain::rows_of(connection, reference))
    }

    fn log_digests(&self, after: u64, limit: usize) -> Pending<Vec<(u64, Option<Digest>)>> {
        self.read(move |connection| chain::digests(connection, after, limit))
    }

    fn heads(&self, after: u64, limit: usize) -> Pending<Vec<(u64, String)>> {
        self.read(move |connection| chain::heads(connection, after, limit))
    }

    fn last_head(&self) -> Pending<Option<(u64, String)>> {
        self.read(chain::last_head)
    }

    fn head_over(&self, sequence: u64) -> Pending<Option<String>> {
        self.read(move |connection| chain::head_over(connection, sequence))
    }

    fn add_head(&self, head: Head) -> Pending<()> {
        self.writer
            .submit(move |connection| chain::add_head(connection, &head))
    }

    fn recipient_states(
        &self,
        after: Option<RecipientId>,
        limit: usize,
    ) -> Pending<Vec<RecipientState>> {
        self.read(move |connection| chain::recipient_states(connection, after, limit))
    }

    fn unexplained_refusals(
        &self,
        after: u64,
        limit: usize,
    ) -> Pending<(Option<u64>, Vec<Reference>)> {
        self.read(move |connection| chain::unexplained_refusals(connection, after, limit))
    }

    fn mask(&self, sequence: u64, fields: Vec<String>) -> Pending<()> {
        self.writer.submit(move |connection| {
            chain::blind(connection, sequence, &fields)?;
            chain::erase(connection, sequence, &fields)
        })
    }

    fn purge_row(&self, sequence: u64) -> Pending<()> {
        self.writer
            .submit(move |connection| chain::purge(connection, sequence))
    }

    fn age(&self, aging: Aging) -> Pending<Aged> {
        self.writer
            .submit(move |connection| aging::age(connection, &aging))
    }

    fn aging_plan(&self, aging: Aging) -> Pending<AgingPlan> {
        self.read(move |connection| aging::plan(connection, &aging))
    }

    fn tell_aging(&self, at: Timestamp) -> Pending<(u64, u64)> {
        self.writer.submit(move |connection| {
            let Some(details) = aging::told(connection)? else {
                return Ok((0, 0));
            };
            revisions::tell_event(connection, at, EventKind::LogRetention, &details)?;
            Ok((
                details.masked.unwrap_or_default(),
                details.purged.unwrap_or_default(),
            ))
        })
    }

    fn accounted_aging(&self) -> Pending<(u64, u64)> {
        self.read(aging::accounted)
    }

    fn aging_clocks(&self) -> Pending<(Option<Timestamp>, Option<Timestamp>)> {
        self.read(aging::clocks)
    }

    fn aging_looked_at(&self, now: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| aging::looked_at(connection, now))
    }

    fn forget_pseudonyms(&self) -> Pending<()> {
        self.writer.submit(aging::forget_key)
    }

    fn forgotten(&self) -> Pending<Forgotten> {
        self.read(aging::forgotten)
    }

    fn forgot(&self, number: u64) -> Pending<()> {
        self.writer
            .submit(move |connection| aging::forgot(connection, number))
    }

    fn scrub(&self) -> Pending<bool> {
        self.writer.submit(aging::scrub)
    }

    fn fold(&self) -> Pending<bool> {
        let index = Arc::clone(&self.index);
        self.read(move |connection| Ok(index.fold()? && aging::fold(connection)?))
    }

    fn waiting_ids(
        &self,
        filter: WaitingFilter,
        order: WaitingOrder,
        limit: usize,
    ) -> Pending<Vec<RecipientId>> {
        self.read(move |connection| read::waiting_ids(connection, &filter, order, limit))
    }

    fn waiting_groups(&self, filter: WaitingFilter) -> Pending<Vec<WaitingGroup>> {
        self.read(move |connection| read::waiting_groups(connection, &filter))
    }

    fn waiting(&self, ids: Vec<RecipientId>) -> Pending<Vec<Waiting>> {
        self.read(move |connection| read::waiting(connection, &ids))
    }

    fn routes(&self) -> Pending<Option<Revision>> {
        self.read(revisions::in_force)
    }

    fn revision(&self, number: u64) -> Pending<Option<Revision>> {
        self.read(move |connection| revisions::one(connection, number))
    }

    fn routes_mark(&self) -> Pending<Option<RoutesMark>> {
        self.read(revisions::mark)
    }

    fn route_history(&self) -> Pending<Vec<Chapter>> {
        self.read(revisions::history)
    }

    fn unconfirmed_routes(&self) -> Pending<Option<Unconfirmed>> {
        self.read(revisions::unconfirmed)
    }

    fn replace_routes(
        &self,
        revision: Revision,
        expected: Option<u64>,
        conditions: Conditions,
    ) -> Pending<u64> {
        self.writer
            .submit(move |connection| revisions::put(connection, &revision, expected, conditions))
    }

    fn decide_routes(&self, number: u64, decision: Decision) -> Pending<()> {
        self.writer
            .submit(move |connection| revisions::decide(connection, number, &decision))
    }

    fn confirm_routes(&self, number: u64, by: String, at: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| revisions::confirm(connection, number, &by, at))
    }

    fn take_back_routes(&self, number: u64, old: Revision) -> Pending<u64> {
        self.writer
            .submit(move |connection| revisions::take_back(connection, number, &old))
    }

    fn credential(&self, user: String) -> Pending<Known> {
        self.read(move |connection| credentials::find(connection, &user))
    }

    fn credentials(&self) -> Pending<Vec<Credential>> {
        self.read(credentials::all)
    }

    fn set_credential(&self, user: String, verifiers: Verifiers, now: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| credentials::set(connection, &user, &verifiers, now))
    }

    fn remove_credential(&self, user: String) -> Pending<bool> {
        self.writer
            .submit(move |connection| credentials::remove(connection, &user))
    }

    fn credential_used(&self, user: String, at: Timestamp) -> Pending<()> {
        self.writer
            .submit(move |connection| credentials::used(connection, &user, at))
    }

    fn saw(&self, sightings: Vec<Sighting>) -> Pending<()> {
        self.writer
            .submit(move |connection| workstations::saw(connection, &sightings))
    }

    fn workstations(&self) -> Pending<Vec<Workstation>> {
        self.read(workstations::all)
    }

    fn open_measure(&self, measure: Measure, event: Event) -> Pending<u64> {
        self.writer
            .submit(move |connection| outbreak::open(connection, &measure, &event))
    }

    fn close_measure(&self, number: u64, closing: Closing, event: Event) -> Pending<bool> {
        self.writer
            .submit(move |connection| outbreak::close(connection, number, &closing, &event))
    }

    fn measures(&self, until_after: Option<Timestamp>) -> Pending<Vec<Measure>> {
        self.read(move |connection| match until_after {
            Some(moment) => outbreak::until_after(connection, moment),
            None => outbreak::all(connection),
        })
    }

    fn hunt(&self, hunt: Hunt) -> Pending<Vec<Hunted>> {
        self.read(move |connection| outbreak::hunt(connection, &hunt))
    }

    fn standing(&self, references: Vec<Reference>) -> Pending<Vec<Standing>> {
        self.read(move |connection| outbreak::standing(connection, &references))
    }

    fn purge(
        &self,
        finished_before: Timestamp,
        after: Option<Reference>,
    ) -> Pending<Option<Reference>> {
        self.writer
            .submit(move |connection| write::purge(connection, finished_before, after))
    }

    fn shrink(&self) -> Pending<()> {
        self.writer.submit(write::shrink)
    }

    fn check(&self) -> Pending<Vec<String>> {
        self.read(read::check)
    }

    fn last_reference(&self) -> Pending<Option<Reference>> {
        self.read(read::last_reference)
    }

    fn foreign_changes(&self) -> watch::Receiver<u64> {
        self.foreign.clone()
    }
}

/// Connections for reading, kept between questions.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect_to_read(&self.path)?,
        };
        let answer = question(&connection);
        // A connection that met trouble is not used again.
        if answer.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
        }
        answer
    }
}

/// Mail and the passwords of next hops are nobody else's to read. What SQLite puts beside the file
/// has the file's mode.
fn make_file(path: &Path) -> Result<(), StoreError> {
    match File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(fault) if fault.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Down(format!("{}: {fault}", path.display())))
        }
        _ => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|fault| StoreError::Down(format!("{}: {fault}", folder.display()))),
        _ => Ok(()),
    }
}

/// The names of new files are on the disk too, not only their contents.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|fault| StoreError::Down(format!("{}: {fault}", folder.display())))
}

fn connect_to_write(path: &Path, is_thorough: bool) -> Result<Connection, StoreError> {
    make_file(path)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // Takes effect while the file is still empty; later it would be a write of its own.
    let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if vacuum != INCREMENTAL {
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on the disk when it returns. NORMAL can lose it with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_OCTETS)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // FAST: in pages that are written anyhow nothing deleted is left, which costs nothing. What is left in pages
    // that are free is overwritten when they are given back (`aging::scrub`).
    let secure_delete = if is_thorough { "ON" } else { "FAST" };
    connection.pragma_update(None, "secure_delete", secure_delete)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    migrate(&connection)?;
    Ok(connection)
}

fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    // Not READ_ONLY: reading a WAL that a dead process left behind needs to write its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("holds", 2, flags, |context| {
        let needle = context.get_raw(1).as_str()?;
        let text = context.get_raw(0).as_str_or_null()?;
        Ok(text.is_some_and(|text| text.to_lowercase().contains(needle)))
    })?;
    Ok(connection)
}

/// A statement is planned once, and not each time anew since its `LIMIT` might be another one.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let done = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    if done(connection)? as usize == MIGRATIONS.len() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = run_migrations(connection, done(connection)?);
    connection.execute_batch(if outcome.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    })?;
    outcome
}

fn run_migrations(connection: &Connection, done: u32) -> Result<(), StoreError> {
    let Some(missing) = MIGRATIONS.get(done as usize..) else {
        return Err(StoreError::Corrupt(format!(
            "the store was written by a newer ilbud (schema {done}, this one knows {})",
            MIGRATIONS.len()
        )));
    };
    for script in missing {
        connection.execute_batch(script)?;
    }
    connection.pragma_update(None, "user_version", MIGRATIONS.len() as u32)?;
    Ok(())
}

/// The one place where the driver's errors become ours.
impl From<rusqlite::Error> for StoreError {
    fn from(fault: rusqlite::Error) -> Self {
        let text = fault.to_string();
        match fault.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            Some(ErrorCode::ConstraintViolation) => Self::Conflict(text),
            Some(_) => Self::Down(text),
            // A value that is not what the schema promises.
            None => Self::Corrupt(text),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_planned_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ilbud.db");
        for connection in [
            connect_to_write(&path, false).unwrap(),
            connect_to_read(&path).unwrap(),
        ] {
            let mut some = connection
                .prepare("SELECT reference FROM recipient ORDER BY reference LIMIT ?1")
                .unwrap();
            for limit in [9, 1, 9] {
                assert!(!some.exists([limit]).unwrap());
            }
            assert_eq!(some.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
