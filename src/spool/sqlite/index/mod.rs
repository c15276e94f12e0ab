//! The search index: a database of its own beside the store, made from the store alone.
//!
//! The relay fills it behind the mail (`follow`, `fill`), and retention takes words out (`forget`); everybody else
//! only reads it. A search asks it for the rows that may be meant (`ask`), and the store for what became of them
//! (`seek`). What it does not know yet a search reads from the store itself, all of it if need be: without an
//! index a search is slow, and never wrong. So nothing is lost with it: one that is missing, broken or of another store is made anew. It holds
//! the words of the log, and is as secret as the store.

mod ask;
mod fill;
mod follow;
mod forget;
mod seek;
mod tokens;
mod volume;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::store::{LogPage, LogRow, Search, StoreError};
use super::{PATIENCE, aging, make_file, read};
use crate::mail::Reference;

pub(super) use follow::{fill, follow};

const SCHEMA: &str = include_str!("../../schema/sqlite/search.sql");
/// Of the schema and of what is written by it. Another one: the index is made anew.
const VERSION: u32 = 7;
/// Connections kept open between searches.
const IDLE: usize = 4;
/// What a reader keeps in memory, in KiB below zero.
const READ_CACHE: i64 = -32_768;
/// A few for each volume.
const STATEMENTS: usize = 256;

/// The index beside a store.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    idle: Mutex<Vec<Opened>>,
}

/// The index as it was opened.
#[derive(Debug)]
struct Opened {
    file: FileId,
    connection: Connection,
}

/// Which file it is, whatever its name: device and number.
type FileId = (u64, u64);

/// What was in the way.
#[derive(Debug)]
enum Trouble {
    /// Of the index, without which a search is slow and nothing worse.
    Index(rusqlite::Error),
    /// It was made from another store.
    Foreign,
    Store(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(fault: rusqlite::Error) -> Self {
        Self::Index(fault)
    }
}

impl From<StoreError> for Trouble {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

impl Index {
    pub(super) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-search");
        Self {
            path: path.into(),
            idle: Mutex::default(),
        }
    }

    /// `store`: a connection that only reads.
    pub(super) fn search(
        &self,
        store: &Connection,
        search: &Search,
    ) -> Result<Vec<LogRow>, StoreError> {
        let Some(opened) = self.take() else {
            return without_index(store, search);
        };
        match seek::search(store, Some(&opened.connection), search) {
            Ok(found) => {
                self.give_back(opened);
                Ok(found)
            }
            Err(Trouble::Store(fault)) => Err(fault),
            Err(trouble) => {
                tracing::warn!(?trouble, "the log is searched without its index");
                if is_damage(&trouble) {
                    drop(opened.connection);
                    self.remove_if(opened.file);
                }
                without_index(store, search)
            }
        }
    }

    /// The rows that are meant among the next ones, for which no index is needed.
    pub(super) fn page(
        store: &Connection,
        search: &Search,
        after: Option<Reference>,
    ) -> Result<LogPage, StoreError> {
        seek::page(store, search, after)
    }

    /// Lets go of the words of rows of that time, at once; the relay reads them anew.
    pub(super) fn forget(&self, first: i64, last: i64) -> Result<(), StoreError> {
        if file_id(&self.path).is_none() {
            return Ok(());
        }
        let mut connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        match version(&connection)? {
            VERSION => forget::forget(&mut connection, first, last)?,
            // It is only just being made.
            0 => (),
            _ => remove(&self.path),
        }
        Ok(())
    }

    /// `None`: there is no index that can be used.
    fn take(&self) -> Option<Opened> {
        let file = file_id(&self.path)?;
        let mut idle = self.lock();
        idle.retain(|it| it.file == file);
        let kept = idle.pop();
        drop(idle);
        kept.or_else(|| {
            let opened = open_to_read(&self.path).inspect_err(|fault| {
                if is_damage_code(fault.sqlite_error_code()) {
                    self.remove_if(file);
                }
            });
            let connection = opened.ok().flatten()?;
            Some(Opened { file, connection })
        })
    }

    /// Folds its write-ahead log and cuts it to nothing; `false`: somebody is in the way.
    pub(super) fn fold(&self) -> Result<bool, StoreError> {
        match file_id(&self.path) {
            Some(_) => aging::fold(&connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?),
            None => Ok(true),
        }
    }

    fn give_back(&self, opened: Opened) {
        let mut idle = self.lock();
        if idle.len() < IDLE {
            idle.push(opened);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever finds it broken takes it away, and the relay makes another. Not another one than that.
    fn remove_if(&self, file: FileId) {
        if file_id(&self.path) == Some(file) {
            remove(&self.path);
        }
    }
}

/// Whether the file is no good; else trying again may help.
fn is_damage(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Index(fault) => is_damage_code(fault.sqlite_error_code()),
        Trouble::Foreign | Trouble::Store(_) => false,
    }
}

const fn is_damage_code(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn without_index(store: &Connection, search: &Search) -> Result<Vec<LogRow>, StoreError> {
    seek::search(store, None, search).map_err(|trouble| match trouble {
        Trouble::Store(fault) => fault,
        Trouble::Index(fault) => fault.into(),
        Trouble::Foreign => StoreError::Down("the search index is of another store".to_owned()),
    })
}

fn file_id(path: &Path) -> Option<FileId> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// The file goes last: with it there, nothing else is taken for part of another one.
fn remove(path: &Path) {
    for end in ["-wal", "-shm", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        drop(std::fs::remove_file(name));
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // What is deleted here was masked or purged there.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// `None`: it is not one that this relay made.
fn open_to_read(path: &Path) -> rusqlite::Result<Option<Connection>> {
    // Not READ_ONLY: reading a WAL that a dead process left behind needs to write its index.
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", READ_CACHE)?;
    Ok((version(&connection)? == VERSION).then_some(connection))
}

/// Makes it where there is none, and anew where it cannot be used.
fn open_to_fill(path: &Path) -> Result<Opened, StoreError> {
    match make(path) {
        Err(StoreError::Corrupt(fault)) => {
            tracing::warn!(fault, "the search index is made anew");
            remove(path);
            make(path)
        }
        opened => opened,
    }
}

fn make(path: &Path) -> Result<Opened, StoreError> {
    if file_id(path).is_none() {
        // What another one left behind is not for this one.
        remove(path);
        make_file(path)?;
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let file = file_id(path).ok_or_else(|| StoreError::Busy("the search index went".to_owned()))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power failure may cost the last portion, with its position: it is filled in again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    match version(&connection)? {
        VERSION => (),
        0 => connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"
        ))?,
        other => return Err(StoreError::Corrupt(format!("it is of version {other}"))),
    }
    Ok(Opened { file, connection })
}
