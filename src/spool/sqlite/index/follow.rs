//! The thread of the relay that keeps the index no more than a moment behind the log.
//!
//! It never holds mail up: it reads beside it, rests as long as it worked while it fills in what was there
//! before, and leaves the disk alone where that is nearly full. It never fails: what is in the way is told and
//! tried again, and an index that cannot be used is made anew.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::super::super::store::StoreError;
use super::super::Readers;
use super::super::disk::Disk;
use super::fill::{Filler, Progress};
use super::{Index, Trouble, file_id, open_to_fill, remove};

/// How often it looks for what is new.
const LOOK: Duration = Duration::from_millis(100);
/// After trouble.
const LATER: Duration = Duration::from_secs(5);

/// For as long as the index is there.
pub(in super::super) fn follow(index: &Weak<Index>, readers: &Arc<Readers>) {
    let mut follower = Follower::default();
    while let Some(index) = index.upgrade() {
        let from = Instant::now();
        let worked = follower.work(&index, readers);
        let rest = follower.rest(worked, from.elapsed());
        drop(index);
        std::thread::sleep(rest);
    }
}

/// Until it knows all that is there now.
pub(in super::super) fn fill(index: &Index, readers: &Readers) -> Result<(), StoreError> {
    let mut follower = Follower::default();
    loop {
        match follower.work(index, readers)? {
            Progress::Nothing => return Ok(()),
            Progress::Followed | Progress::Behind | Progress::Filled => (),
        }
    }
}

#[derive(Default)]
struct Follower {
    filler: Option<Filler>,
    /// It was told.
    trouble: Option<String>,
}

impl Follower {
    fn work(&mut self, index: &Index, readers: &Readers) -> Result<Progress, StoreError> {
        if !Disk::under(&index.path).has_room_for_more() {
            return Err(StoreError::Full(
                "the disk under the store is nearly full".to_owned(),
            ));
        }
        // Whoever takes the file away wants another.
        let is_there = |it: &Filler| Some(it.file) == file_id(&index.path);
        let filler = match self.filler.take().filter(is_there) {
            Some(filler) => filler,
            None => Filler::new(open_to_fill(&index.path)?),
        };
        let filler = self.filler.insert(filler);
        let done = readers.ask(|store| match filler.step(store) {
            Err(Trouble::Store(fault)) => Err(fault),
            other => Ok(other),
        })?;
        done.map_err(|trouble| {
            self.filler = None;
            mend(index, trouble)
        })
    }

    fn rest(&mut self, worked: Result<Progress, StoreError>, took: Duration) -> Duration {
        let trouble = worked.as_ref().err().map(ToString::to_string);
        if let Some(fault) = trouble.as_ref().filter(|_| self.trouble.is_none()) {
            tracing::warn!(
                fault,
                "the search index is not filled for now; searches take longer"
            );
        }
        if self.trouble.is_some() && trouble.is_none() {
            tracing::info!("the search index is filled again");
        }
        self.trouble = trouble;
        match worked {
            Ok(Progress::Nothing | Progress::Followed) => LOOK,
            Ok(Progress::Behind) => Duration::ZERO,
            Ok(Progress::Filled) => took.min(LOOK),
            Err(_) => LATER,
        }
    }
}

/// An index that cannot be used goes.
fn mend(index: &Index, trouble: Trouble) -> StoreError {
    let fault = match trouble {
        Trouble::Index(fault) => StoreError::from(fault),
        Trouble::Foreign => StoreError::Corrupt("it was made from another store".to_owned()),
        Trouble::Store(fault) => return fault,
    };
    if !matches!(fault, StoreError::Busy(_) | StoreError::Full(_)) {
        remove(&index.path);
    }
    fault
}
