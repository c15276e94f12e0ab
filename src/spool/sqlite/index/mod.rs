//! The search index: a database of its own beside the store, made from the store alone.
//!
//! A follower fills it behind the mail (`fill`), and a search asks it for the rows that may be meant and
//! the store for what became of them (`seek`). It holds the words of the log, so it is as secret as the
//! store. Nothing is lost with it: when it is missing, broken, or of another store, it is made anew. What
//! it does not know yet a search reads from the store itself.
//!
//! Rows are `entry`: their ids grow with the time of the row, so that the newest are the last. The words
//! of the log are `term`, found by their parts in `part`; which rows have them is in `doc`.

mod fill;
mod seek;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::super::store::{LogRow, Search, StoreError};
use super::{PATIENCE, STATEMENTS, make_file, read};

const SCHEMA: &str = include_str!("../../schema/sqlite/search.sql");
/// Of the schema and of what is written by it. Another one: the index is made anew.
const VERSION: u32 = 1;
/// Events that the index may be behind when it is asked. What is further behind is filled in first.
const BEHIND: u64 = 2_000;
/// Connections kept open between searches.
const IDLE: usize = 4;
/// Bits of an entry's id below its millisecond.
const SLOT_BITS: u32 = 10;

/// The index beside a store.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
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

    /// `store`: a connection that only reads. An index that cannot be used is made anew.
    pub(super) fn search(&self, store: &Connection, search: &Search) -> Result<Vec<LogRow>, StoreError> {
        match self.ask(store, search) {
            Err(StoreError::Corrupt(fault)) => {
                tracing::warn!(fault, "the search index cannot be read and is made anew");
                self.remove()?;
                self.ask(store, search)
            }
            found => found,
        }
    }

    fn ask(&self, store: &Connection, search: &Search) -> Result<Vec<LogRow>, StoreError> {
        let mut index = self.take()?;
        while BEHIND < fill::behind(store, &index)? {
            fill::portion(store, &mut index)?;
        }
        let found = seek::search(store, &index, search)?;
        self.give_back(index);
        Ok(found)
    }

    /// Fills in a portion of what the store has and the index has not; whether there is more.
    pub(super) fn follow(&self, store: &Connection) -> Result<bool, StoreError> {
        let mut index = self.take()?;
        let more = fill::portion(store, &mut index);
        match more {
            Ok(_) => self.give_back(index),
            Err(StoreError::Corrupt(_)) => self.remove()?,
            Err(_) => (),
        }
        more
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let kept = self.lock().pop();
        match kept {
            Some(connection) => Ok(connection),
            None => open(&self.path),
        }
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self) -> Result<(), StoreError> {
        self.lock().clear();
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Down(format!("{}: {fault}", Path::new(&name).display())));
            }
            _ => (),
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    match connect(path) {
        Err(StoreError::Corrupt(_)) => {
            remove(path)?;
            connect(path)
        }
        opened => opened,
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    make_file(path)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power failure may cost the last portion, with its position: it is filled in again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let version = |it: &Connection| it.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    match version(&connection)? {
        VERSION => Ok(connection),
        0 => {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            // Another process may have made it meanwhile.
            if version(&connection)? == 0 {
                connection.execute_batch(SCHEMA)?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            connection.execute_batch("COMMIT")?;
            Ok(connection)
        }
        other => Err(StoreError::Corrupt(format!("search index of version {other}"))),
    }
}

/// The first id of a row of that millisecond.
const fn first_id(millis: i64) -> i64 {
    let millis = if millis < 0 { 0 } else { millis };
    millis.saturating_mul(1 << SLOT_BITS)
}
