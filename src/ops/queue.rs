//! What waits, as people handle it: list, retry, hold, release, cancel.

use std::sync::Arc;

use crate::lifecycle::{self, Operation};
use crate::mail::Timestamp;
use crate::spool::store::{Store, StoreError, WaitingFilter};

/// Recipients changed in one transaction, so that mail is never held up for long.
const PORTION: usize = 500;

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
    mut filter: WaitingFilter,
    by: &str,
    now: Timestamp,
) -> Result<Count, StoreError> {
    let mut count = Count::default();
    filter.limit = Some(PORTION);
    loop {
        let portion = store.waiting(filter.clone()).await?;
        let Some(last) = portion.last() else {
            return Ok(count);
        };
        filter.after = Some(last.id);
        let change = lifecycle::operated(operation, &portion, by, now, None);
        let tried = change.recipients.len();
        let applied = store.apply(Arc::new(change)).await?;
        count.matched += portion.len();
        count.changed += tried - applied.skipped.len();
    }
}
