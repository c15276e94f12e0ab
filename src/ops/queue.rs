//! What waits, as people handle it: list, retry, hold, release, cancel.

use std::sync::Arc;

use crate::lifecycle::{self, Operation};
use crate::mail::Timestamp;
use crate::spool::store::{Applied, Change, Store, StoreError, WaitingFilter, WaitingOrder};

/// Recipients changed in one transaction, so that mail is never held up for long.
const PORTION: usize = 500;
/// Times that a busy store is asked again; each waits for seconds.
const PATIENCE: usize = 3;

/// How many recipients were meant, and how many could be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub matched: usize,
    pub changed: usize,
}

/// Does `operation` to all that `filter` names, a portion at a time.
pub async fn operate(
    store: &Arc<dyn Store>,
    operation: Operation,
    filter: WaitingFilter,
    by: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<Count, StoreError> {
    let ids = store.waiting_ids(filter, WaitingOrder::Age).await?;
    let mut count = Count {
        matched: ids.len(),
        changed: 0,
    };
    for portion in ids.chunks(PORTION) {
        let waiting = store.waiting(portion.to_vec()).await?;
        let change = Arc::new(lifecycle::operated(operation, &waiting, by, now, reason));
        let applied = insist(store, &change).await?;
        count.changed += change.recipients.len() - applied.skipped.len();
    }
    Ok(count)
}

/// The running relay may have the store for itself again and again; this waits its turn.
async fn insist(store: &Arc<dyn Store>, change: &Arc<Change>) -> Result<Applied, StoreError> {
    for _ in 0..PATIENCE {
        match store.apply(Arc::clone(change)).await {
            Err(StoreError::Busy(_)) => {}
            outcome => return outcome,
        }
    }
    store.apply(Arc::clone(change)).await
}
