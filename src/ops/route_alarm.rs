//! The alarm that the routing table in force cannot be read, and its end.
//!
//! Said once for each trouble, in the delivery log and on stderr, with what to do. Decides nothing about
//! which table is in force. Where the log cannot be written, it is said again with the next look.

use std::sync::Arc;

use super::routes::{NONE_READABLE, remedy};
use crate::mail::{Details, Event, EventKind, Timestamp};
use crate::spool::Spool;
use crate::spool::store::{Change, StoreError};

/// What was told and is not over.
#[derive(Debug, Default)]
pub struct RouteAlarm {
    seen: Option<StoreError>,
    /// It stands in the log.
    is_logged: bool,
}

impl RouteAlarm {
    /// The table in force cannot be read; revision `good` stays. `stored`: the newest that can still be read.
    /// A store that is only busy is no alarm.
    pub async fn raise(
        &mut self,
        spool: &Spool,
        fault: &StoreError,
        good: u64,
        stored: Option<u64>,
    ) {
        if self.seen.as_ref() != Some(fault) {
            tracing::error!(%fault, "the routing table cannot be read; the last good one, revision {good}, stays in force");
            self.seen = Some(fault.clone());
            self.is_logged = false;
        }
        if let (StoreError::Corrupt(why), false) = (fault, self.is_logged) {
            let reason = format!("{why}; {}", standing(good, stored));
            self.is_logged = log(spool, EventKind::Alarm, good, reason).await;
        }
    }

    /// The table in force is read.
    pub async fn end(&mut self, spool: &Spool, revision: u64) {
        if self.seen.is_none() {
            return;
        }
        let reason =
            format!("the routing table can be read again: revision {revision} is in force");
        tracing::warn!("{reason}");
        if !self.is_logged || log(spool, EventKind::AllClear, revision, reason).await {
            *self = Self::default();
        }
    }
}

fn standing(good: u64, stored: Option<u64>) -> String {
    match stored {
        Some(stored) if stored == good => {
            format!("revision {good} stays in force: {}", remedy(stored))
        }
        stored => {
            let remedy = stored.map_or_else(|| NONE_READABLE.to_owned(), remedy);
            format!("revision {good} stays in force only until the relay stops: {remedy}")
        }
    }
}

/// Whether it stands in the log.
async fn log(spool: &Spool, kind: EventKind, revision: u64, reason: String) -> bool {
    let event = Event {
        reference: spool.next_reference(),
        at: Timestamp::now(),
        kind,
        recipient: None,
        details: Details {
            revision: Some(revision),
            reason: Some(reason),
            ..Details::default()
        },
    };
    let change = Change {
        events: vec![event],
        ..Change::default()
    };
    let written = spool.apply(Arc::new(change)).await;
    if let Err(fault) = &written {
        tracing::error!(%fault, "what is the matter with the routing table cannot be logged yet");
    }
    written.is_ok()
}
