//! What waits, as people handle it: list, retry, hold, release, cancel.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::routes;
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::lifecycle::{self, Occasion, Operation, REPORTS};
use crate::mail::{Content, References, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{
    Applied, Change, RecipientId, Store, StoreError, WaitingFilter, WaitingOrder,
};

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
    let ids = store
        .waiting_ids(filter, WaitingOrder::Age, usize::MAX)
        .await?;
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

/// Tells senders of what people did, as the relay itself would.
#[derive(Debug)]
pub struct Teller {
    letterhead: Letterhead,
    schedule: Schedule,
    table: RoutingTable,
    references: References,
    noise: RandomState,
}

impl Teller {
    /// With the routing table in force; without one there is nobody to tell.
    pub async fn new(
        store: &Arc<dyn Store>,
        letterhead: Letterhead,
        schedule: Schedule,
    ) -> Result<Self, StoreError> {
        let table = routes::current(store).await?.map(|(_, table)| table);
        Ok(Self {
            letterhead,
            schedule,
            table: table.ok_or_else(|| StoreError::Conflict("there is no routing table".into()))?,
            references: References::after(store.last_reference().await?),
            noise: RandomState::new(),
        })
    }

    fn occasion<'a>(&'a self, content: Option<&'a Content>) -> Occasion<'a> {
        let now = Timestamp::now();
        let noise = self.noise.hash_one(now);
        Occasion {
            now,
            noise,
            schedule: &self.schedule,
            letterhead: &self.letterhead,
            table: &self.table,
            content,
            reports: [(); REPORTS].map(|()| self.references.next(now, (noise >> 32) as u32)),
            redirect: None,
        }
    }
}

/// Cancels all that `filter` names, a message at a time, and tells each sender.
pub async fn cancel_and_tell(
    store: &Arc<dyn Store>,
    filter: WaitingFilter,
    by: &str,
    reason: Option<&str>,
    teller: &Teller,
) -> Result<Count, StoreError> {
    let ids = store
        .waiting_ids(filter, WaitingOrder::Age, usize::MAX)
        .await?;
    let mut count = Count {
        matched: ids.len(),
        changed: 0,
    };
    for message in ids.chunk_by(|a, b| a.reference == b.reference) {
        let change = cancellation(store, message, by, reason, teller).await?;
        let steps = change.recipients.len();
        let applied = insist(store, &Arc::new(change)).await?;
        count.changed += steps - applied.skipped.len();
    }
    Ok(count)
}

/// The change that cancels these recipients of one message.
async fn cancellation(
    store: &Arc<dyn Store>,
    ids: &[RecipientId],
    by: &str,
    reason: Option<&str>,
    teller: &Teller,
) -> Result<Change, StoreError> {
    let rows = store.waiting(ids.to_vec()).await?;
    let content = match ids.first() {
        Some(id) => store.content(id.reference).await?,
        None => None,
    };
    let occasion = teller.occasion(content.as_ref());
    Ok(lifecycle::cancelled(&rows, by, reason, &occasion))
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
