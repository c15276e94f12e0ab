//! Scans that were not over in time where nothing is kept without a verdict: they go on, and the message
//! is likely to come again, the same to the last octet.
//!
//! A message that comes again waits for the scan that is under way, or hears at once what that came
//! to; without this, one that takes longer than its sender waits would be refused at every try. Only a
//! verdict is remembered, for a while, and of so many, and counts as long as the engines have the
//! signatures that it was made with. It never fails; what is forgotten is scanned anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::desk::outcome;
use super::inline::Unfinished;
use crate::mail::{Inspection, Verdict};

/// For how long a verdict is remembered, and how many at once.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
const MOST: usize = 100;
/// So many scans go on at once, of so many octets in all: while an engine hangs, each keeps its message.
const MOST_OPEN: usize = 16;
const MOST_OCTETS: usize = 64 << 20;

/// What a scan came to; `None`: it is not over.
type Found = Option<Inspection>;

#[derive(Debug, Clone, Default)]
pub(super) struct Late(Arc<Mutex<VecDeque<Entry>>>);

#[derive(Debug)]
struct Entry {
    name: Name,
    octets: usize,
    since: Instant,
    found: watch::Receiver<Found>,
}

impl Entry {
    /// Its scan goes on.
    fn is_open(&self) -> bool {
        self.found.borrow().is_none()
    }
}

/// What a message is known by: the digest of all its octets.
type Name = [u8; 32];

fn name(message: &[u8]) -> Name {
    Sha256::digest(message).into()
}

impl Late {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was a place for it.
    fn add(&self, entry: Entry) -> bool {
        let mut entries = self.entries();
        let open = entries.iter().filter(|it| it.is_open());
        let (count, octets) = open.fold((0, entry.octets), |(count, octets), it| {
            (count + 1, octets + it.octets)
        });
        if count >= MOST_OPEN || (count > 0 && octets > MOST_OCTETS) {
            return false;
        }
        if entries.len() >= MOST {
            let oldest = entries.iter().position(|it| !it.is_open());
            drop(oldest.and_then(|place| entries.remove(place)));
        }
        entries.push_back(entry);
        true
    }

    /// The scan of the same message, under way or over. `None`: there is none, or it came to nothing.
    pub(super) fn of(&self, message: &[u8]) -> Option<Waited> {
        let is_old = |it: &Entry| !it.is_open() && it.since.elapsed() > REMEMBERED;
        {
            let mut entries = self.entries();
            entries.retain(|it| !is_old(it));
            if entries.is_empty() {
                return None;
            }
        }
        let name = name(message);
        let entries = self.entries();
        let entry = entries.iter().find(|it| it.name == name)?;
        Some(Waited(entry.found.clone()))
    }

    /// Lets the scan of this message go on, and remembers what it comes to; unless so many go on already
    /// that it ends here.
    pub(super) fn keep(&self, message: &[u8], unfinished: Unfinished) {
        let (tell, found) = watch::channel(None);
        let entry = Entry {
            name: name(message),
            octets: message.len(),
            since: Instant::now(),
            found,
        };
        let name = entry.name;
        if !self.add(entry) {
            return;
        }
        let late = self.clone();
        tokio::spawn(async move {
            let Unfinished {
                claim,
                mut task,
                permit,
            } = unfinished;
            let inspection = outcome(task.join_next().await).inspection;
            drop((claim, permit));
            // What came to nothing is tried anew, when the message comes again.
            if matches!(inspection.verdict, Verdict::Unscannable(_)) {
                late.entries().retain(|it| it.name != name);
            }
            tell.send_replace(Some(inspection));
        });
    }
}

/// A scan that somebody else began.
#[derive(Debug)]
pub(super) struct Waited(watch::Receiver<Found>);

impl Waited {
    /// `None`: it is gone without a word.
    pub(super) async fn inspection(mut self) -> Option<Inspection> {
        let found = self.0.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}
