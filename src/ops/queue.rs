//! What waits, as people handle it: list, retry, hold, release, cancel.

use std::sync::Arc;

use super::routes::{self, NoRoom};
use crate::lifecycle::{self, Order};
use crate::mail::{RoomId, State};
use crate::spool::store::{
    Applied, Change, NextLook, Store, StoreError, WaitingFilter, WaitingOrder,
};

/// Recipients changed in one transaction, so that mail is never held up for long.
const PORTION: usize = 500;
/// Times that a busy store is asked again; each waits for seconds.
const PATIENCE: usize = 3;

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Recipients that were meant.
    pub matched: usize,
    /// Those that could be changed.
    pub changed: usize,
    /// Those cancelled whose senders the relay tells.
    pub told: usize,
}

/// What is wrong with a room that is not in the table, and that nothing waits for either: what
/// waits for a room of the past is still handled.
pub async fn missing_room(
    store: &Arc<dyn Store>,
    room: &RoomId,
) -> Result<Option<NoRoom>, StoreError> {
    let Some(missing) = routes::missing_room(store, room.as_str()).await? else {
        return Ok(None);
    };
    let filter = WaitingFilter {
        room: Some(room.clone()),
        ..WaitingFilter::default()
    };
    let ids = store.waiting_ids(filter, WaitingOrder::Age, 1).await?;
    Ok(ids.is_empty().then_some(missing))
}

/// Does what is ordered to all that `filter` names, a portion at a time.
pub async fn operate(
    store: &Arc<dyn Store>,
    order: Order<'_>,
    filter: WaitingFilter,
) -> Result<Count, StoreError> {
    let ids = store
        .waiting_ids(filter, WaitingOrder::Age, usize::MAX)
        .await?;
    let mut count = Count {
        matched: ids.len(),
        ..Count::default()
    };
    for portion in ids.chunks(PORTION) {
        let waiting = store.waiting(portion.to_vec()).await?;
        let change = Arc::new(lifecycle::operated(order, &waiting));
        let applied = insist(store, &change).await?;
        let steps = change.recipients.iter();
        let done = steps.filter(|step| !applied.skipped.contains(&step.id));
        for step in done {
            let is_over = step.to.is_some_and(State::is_final);
            count.changed += 1;
            count.told += usize::from(is_over && step.next_look != NextLook::Never);
        }
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
