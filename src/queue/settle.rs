//! Outcomes to the spool: gathered while one change is being written, and written together.
//!
//! An outcome that cannot be written is kept and tried until it can: nothing is delivered twice
//! because our store had trouble. Workers wait while too many are unwritten.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Shared, return_leases};
use crate::lifecycle;
use crate::spool::Spool;
use crate::spool::store::{Applied, Change, RecipientId, StoreError};

/// What an attempt came to, and whose it was.
#[derive(Debug)]
pub(super) struct Settled {
    pub ids: Vec<RecipientId>,
    pub change: Change,
}

/// Outcomes written in one transaction at most.
const TOGETHER: usize = 256;
/// The wait after a first failure to write, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Writes outcomes for as long as somebody can have one.
pub(super) async fn write(shared: Arc<Shared>, mut settled: mpsc::Receiver<Settled>) {
    let writer = Writer {
        spool: shared.spool.clone(),
        // Held strongly, its end of the channel would keep this task alive for ever.
        shared: Arc::downgrade(&shared),
    };
    drop(shared);
    loop {
        let mut batch = Vec::with_capacity(TOGETHER);
        if settled.recv_many(&mut batch, TOGETHER).await == 0 {
            return;
        }
        if let Err(batch) = writer.write(batch).await {
            // One of them cannot be written: it must not hold up the others.
            for one in batch {
                let writer = writer.clone();
                tokio::spawn(async move { writer.insist(one).await });
            }
        }
    }
}

#[derive(Clone)]
struct Writer {
    spool: Spool,
    shared: Weak<Shared>,
}

impl Writer {
    /// All together, however long the store takes to come back. What the store finds wrong with the
    /// change itself is returned.
    async fn write(&self, batch: Vec<Settled>) -> Result<(), Vec<Settled>> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.spool.apply(merged(&batch)).await {
                Ok(applied) => {
                    self.conclude(&batch, &applied).await;
                    return Ok(());
                }
                Err(StoreError::Conflict(_) | StoreError::Corrupt(_)) if batch.len() > 1 => {
                    return Err(batch);
                }
                Err(fault) => {
                    let count = batch.len();
                    tracing::warn!(%fault, count, "outcomes wait to be written");
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One that may be at fault itself: tried until it can be written.
    async fn insist(&self, one: Settled) {
        // A batch of one is never returned.
        let _ = self.write(vec![one]).await;
    }

    async fn conclude(&self, batch: &[Settled], applied: &Applied) {
        if !applied.skipped.is_empty() {
            self.tell_overtaken(batch, applied).await;
        }
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let ids: Vec<RecipientId> = batch.iter().flat_map(|it| it.ids.iter().copied()).collect();
        let named_again = shared.known().conclude(&ids);
        return_leases(&shared, named_again).await;
    }

    /// Somebody decided otherwise meanwhile; what happened is still told.
    async fn tell_overtaken(&self, batch: &[Settled], applied: &Applied) {
        for Settled { change, .. } in batch {
            let told = lifecycle::overtaken(change, &applied.skipped);
            if !told.events.is_empty()
                && let Err(fault) = self.spool.apply(told).await
            {
                tracing::warn!(%fault, "an event that came too late could not be written");
            }
        }
    }
}

fn merged(batch: &[Settled]) -> Change {
    let mut whole = Change::default();
    for Settled { change, .. } in batch {
        whole.recipients.extend_from_slice(&change.recipients);
        whole.messages.extend_from_slice(&change.messages);
        whole.events.extend_from_slice(&change.events);
    }
    whole
}
