//! The writer: one thread, one connection, and group commit.
//!
//! Whatever waits is done in one transaction; then one commit makes all of it durable and each is
//! answered. Should a deed fail, the transaction is begun anew with a savepoint around each, so that
//! its failure undoes that deed alone. When nothing else waits a deed is committed at once; under
//! load the writer pauses for a fraction of a millisecond first, since commits are what the time
//! goes to. A commit that fails answers every deed in it with the error: nothing was kept, and
//! nobody was told that it was.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::super::store::{Pending, StoreError};
use super::disk::{Disk, Space};
use super::{PATIENCE, connect_to_write};

/// Deeds that may wait; more are refused as busy, so that memory stays bounded.
const BACKLOG: usize = 8192;
/// Deeds in one commit.
const BATCH: usize = 1024;
/// Octets of new mail in one commit, so that a small message never waits for many large ones.
const BATCH_OCTETS: u64 = 32 << 20;
/// Under load, how long to wait for more before a commit.
const PAUSE: Duration = Duration::from_micros(400);
/// How often to look whether another process changed the store.
const LOOK: Duration = Duration::from_millis(200);
/// How long nothing changes before the write-ahead log is cut to nothing.
const REST: Duration = Duration::from_secs(2);

/// Hands deeds to the writer's thread. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    deeds: SyncSender<Box<dyn Deed>>,
}

/// Something to be done inside the next commit and answered after it.
trait Deed: Send {
    /// Does it; `false` if it failed and must be undone. May be asked to again, once undone.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Refuses it before it was tried.
    fn fail(&mut self, fault: StoreError);
    /// Why it failed.
    fn fault(&self) -> StoreError;
    /// Octets of new mail, which is not taken when the disk is nearly full.
    fn new_mail(&self) -> Option<u64>;
    /// Answers it, once the commit has come out.
    fn finish(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Task<T, F> {
    work: F,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
    new_mail: Option<u64>,
    /// Failed before it was tried.
    is_refused: bool,
}

impl<T, F> Deed for Task<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        if self.is_refused {
            return true;
        }
        self.outcome = Some((self.work)(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn fail(&mut self, fault: StoreError) {
        self.is_refused = true;
        self.outcome = Some(Err(fault));
    }

    fn fault(&self) -> StoreError {
        match &self.outcome {
            Some(Err(fault)) => fault.clone(),
            _ => undone(),
        }
    }

    fn new_mail(&self) -> Option<u64> {
        self.new_mail
    }

    fn finish(self: Box<Self>, commit: Result<(), StoreError>) {
        let outcome = match (self.outcome, commit) {
            (None | Some(Ok(_)), Err(fault)) => Err(fault),
            (None, Ok(())) => Err(undone()),
            (Some(outcome), _) => outcome,
        };
        // Nobody waits any more when the client went away; what was done stands all the same.
        drop(self.answer.send(outcome));
    }
}

impl Writer {
    pub(super) fn start(
        path: PathBuf,
        connection: Connection,
        foreign: watch::Sender<u64>,
    ) -> Result<Self, StoreError> {
        let (deeds, waiting) = sync_channel(BACKLOG);
        let desk = Desk {
            disk: Disk::under(&path),
            path,
            version: data_version(&connection)?,
            connection,
            foreign,
            looked_at: Instant::now(),
            folds_by: 0,
            changes: 0,
            changed_at: Instant::now(),
            is_folded: false,
            ailing: false,
        };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || desk.work(&waiting))
            .map_err(|fault| StoreError::Down(format!("no thread for the writer: {fault}")))?;
        Ok(Self { deeds })
    }

    pub(super) fn submit<T, F>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.send(work, None)
    }

    pub(super) fn submit_new_mail<T, F>(&self, octets: u64, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.send(work, Some(octets))
    }

    fn send<T, F>(&self, work: F, new_mail: Option<u64>) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let task = Task {
            work,
            outcome: None,
            answer,
            new_mail,
            is_refused: false,
        };
        let sent = self.deeds.try_send(Box::new(task));
        Box::pin(async move {
            match sent {
                Ok(()) => answered.await.unwrap_or_else(|_| Err(gone())),
                Err(TrySendError::Full(_)) => {
                    Err(StoreError::Busy(format!("{BACKLOG} changes wait already")))
                }
                Err(TrySendError::Disconnected(_)) => Err(gone()),
            }
        })
    }
}

fn undone() -> StoreError {
    StoreError::Down("the writer did not get to it".to_owned())
}

fn gone() -> StoreError {
    StoreError::Down("the writer has stopped".to_owned())
}

/// What the thread has at hand.
struct Desk {
    path: PathBuf,
    connection: Connection,
    disk: Disk,
    foreign: watch::Sender<u64>,
    /// `data_version` as last seen.
    version: i64,
    looked_at: Instant,
    /// As `wal_autocheckpoint` was last set.
    folds_by: u64,
    /// Rows changed so far, when that was last seen to grow, and whether the log was cut since.
    changes: u64,
    changed_at: Instant,
    is_folded: bool,
    /// The last commit failed in a way that a new connection may cure.
    ailing: bool,
}

impl Desk {
    fn work(mut self, waiting: &Receiver<Box<dyn Deed>>) {
        let mut last = 0;
        loop {
            match waiting.recv_timeout(LOOK) {
                Ok(first) => {
                    let mut batch = vec![first];
                    gather(waiting, &mut batch, last);
                    last = batch.len();
                    self.commit(batch);
                }
                Err(RecvTimeoutError::Timeout) => last = 0,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_for_foreign_changes();
            self.fold_when_at_rest();
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Deed>>) {
        let commit = self
            .renew_if_ailing()
            .and_then(|()| self.transact(&mut batch));
        if let Err(fault) = &commit {
            tracing::error!(%fault, changes = batch.len(), "nothing could be committed to the store");
            self.ailing |= matches!(fault, StoreError::Down(_) | StoreError::Corrupt(_));
        }
        for deed in batch {
            deed.finish(commit.clone());
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Deed>]) -> Result<(), StoreError> {
        if let Some(mut space) = self.disk.look() {
            self.fold_log_by(space.log_pages());
            if space.is_short() {
                // Pages of the file that nothing uses are room as well.
                space.add_pages(self.spare_pages()?);
            }
            refuse_what_has_no_room(batch, space);
        }
        self.run("BEGIN IMMEDIATE")?;
        let done = self.run_all(batch).and_then(|()| self.run("COMMIT"));
        if done.is_err() && !self.connection.is_autocommit() {
            // The transaction is void either way; a failing rollback is cured by a new connection.
            self.ailing = self.run("ROLLBACK").is_err();
        }
        done
    }

    fn run_all(&self, batch: &mut [Box<dyn Deed>]) -> Result<(), StoreError> {
        if batch.iter_mut().all(|deed| deed.run(&self.connection)) {
            return Ok(());
        }
        // Savepoints cost a copy of every page touched, so only a batch with a failure has them.
        // A full disk or a read error has ended the transaction already.
        if !self.connection.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        self.run("BEGIN IMMEDIATE")?;
        batch
            .iter_mut()
            .try_for_each(|deed| self.run_in_savepoint(deed.as_mut()))
    }

    fn run_in_savepoint(&self, deed: &mut dyn Deed) -> Result<(), StoreError> {
        self.run("SAVEPOINT deed")?;
        if !deed.run(&self.connection) {
            if self.connection.is_autocommit() {
                // The failure ended the whole transaction: it is everybody's.
                return Err(deed.fault());
            }
            self.run("ROLLBACK TO deed")?;
        }
        self.run("RELEASE deed")
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn renew_if_ailing(&mut self) -> Result<(), StoreError> {
        if self.ailing {
            self.connection = connect_to_write(&self.path)?;
            self.ailing = false;
            self.folds_by = 0;
            // What happened while it was gone is not known: look at everything.
            self.version = data_version(&self.connection)?;
            self.foreign.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    fn spare_pages(&self) -> Result<u64, StoreError> {
        let pages: i64 = self
            .connection
            .prepare_cached("PRAGMA freelist_count")?
            .query_row([], |row| row.get(0))?;
        Ok(pages.unsigned_abs())
    }

    /// Sets how long the write-ahead log may get before it is folded into the file.
    fn fold_log_by(&mut self, pages: u64) {
        if pages != self.folds_by {
            self.folds_by = pages;
            let set = self
                .connection
                .pragma_update(None, "wal_autocheckpoint", pages as i64);
            if let Err(fault) = set {
                tracing::warn!(%fault, "the write-ahead log cannot be bounded");
            }
        }
    }

    /// Once nothing has changed for a while, the log is folded in and cut to nothing.
    fn fold_when_at_rest(&mut self) {
        let changes = self.connection.total_changes();
        if changes != self.changes {
            self.changes = changes;
            self.changed_at = Instant::now();
            self.is_folded = false;
        } else if !self.is_folded && self.changed_at.elapsed() > REST {
            self.is_folded = true;
            // Readers may be in the way; then the next change brings the next chance.
            drop(self.connection.busy_timeout(Duration::ZERO));
            drop(
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())),
            );
            drop(self.connection.busy_timeout(PATIENCE));
        }
    }

    fn look_for_foreign_changes(&mut self) {
        if self.looked_at.elapsed() < LOOK {
            return;
        }
        self.looked_at = Instant::now();
        match data_version(&self.connection) {
            Ok(version) if version != self.version => {
                self.version = version;
                self.foreign.send_modify(|count| *count += 1);
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "cannot see whether others changed the store"),
        }
    }
}

/// Changes only when another connection commits.
fn data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))?)
}

fn refuse_what_has_no_room(batch: &mut [Box<dyn Deed>], mut space: Space) {
    for deed in batch {
        if let Some(Err(fault)) = deed.new_mail().map(|octets| space.take(octets)) {
            deed.fail(fault);
        }
    }
}

/// Takes what waits; under load, waits a moment for more.
fn gather(waiting: &Receiver<Box<dyn Deed>>, batch: &mut Vec<Box<dyn Deed>>, last: usize) {
    drain(waiting, batch);
    if last > 1 || batch.len() > 1 {
        std::thread::sleep(PAUSE);
        drain(waiting, batch);
    }
}

fn drain(waiting: &Receiver<Box<dyn Deed>>, batch: &mut Vec<Box<dyn Deed>>) {
    let mut octets: u64 = batch.iter().filter_map(|deed| deed.new_mail()).sum();
    while batch.len() < BATCH && octets < BATCH_OCTETS {
        match waiting.try_recv() {
            Ok(deed) => {
                octets = octets.saturating_add(deed.new_mail().unwrap_or(0));
                batch.push(deed);
            }
            Err(_) => return,
        }
    }
}
