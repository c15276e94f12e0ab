//! What waits or was caught is scanned again, since somebody asks for it or something is in force now.
//!
//! The running relay scans; this only sends messages back to their scan, and what waits is not delivered
//! before that. It decides nothing of what the scan will say. A busy store is asked again; what else it
//! cannot do is given back, and what was sent until then stays sent.

use std::sync::Arc;

use super::PATIENCE;
use crate::lifecycle;
use crate::mail::{Reference, Timestamp};
use crate::spool::store::{Change, Store, StoreError, WaitingFilter, WaitingOrder};

/// Messages that are sent back to their scan together.
const FEW: usize = 50;

/// What is to be scanned again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    These(Vec<Reference>),
    /// All that waits, and all that lies in quarantine.
    All,
    Quarantine,
}

/// Who wants something scanned again, and why.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Login name.
    pub by: &'a str,
    pub reason: Option<&'a str>,
    pub now: Timestamp,
}

/// Has it scanned again by the running relay, before any of it is delivered: those messages of which
/// anything waits, or lies in quarantine.
pub async fn rescan(
    store: &Arc<dyn Store>,
    which: Which,
    wish: Wish<'_>,
) -> Result<Vec<Reference>, StoreError> {
    let mut references = match which {
        Which::These(references) => references,
        Which::All => {
            let mut all = waiting(store).await?;
            all.extend(in_quarantine(store).await?);
            all
        }
        Which::Quarantine => in_quarantine(store).await?,
    };
    references.sort_unstable();
    references.dedup();
    scan_again(store, &references, wish).await
}

async fn in_quarantine(store: &Arc<dyn Store>) -> Result<Vec<Reference>, StoreError> {
    let caught = store.quarantined(None, usize::MAX).await?;
    Ok(caught.iter().map(|it| it.reference).collect())
}

pub(super) async fn waiting(store: &Arc<dyn Store>) -> Result<Vec<Reference>, StoreError> {
    let ids = store
        .waiting_ids(WaitingFilter::default(), WaitingOrder::Age, usize::MAX)
        .await?;
    let mut references: Vec<Reference> = ids.iter().map(|it| it.reference).collect();
    references.sort_unstable();
    references.dedup();
    Ok(references)
}

/// A few at a time, so that mail is not held up. Gives those that are meant.
pub(super) async fn scan_again(
    store: &Arc<dyn Store>,
    references: &[Reference],
    wish: Wish<'_>,
) -> Result<Vec<Reference>, StoreError> {
    let mut meant = Vec::new();
    for few in references.chunks(FEW) {
        let mut recipients = Vec::new();
        for &reference in few {
            let record = store.message(reference).await?;
            recipients.extend(record.into_iter().flat_map(|it| it.recipients));
        }
        let change = lifecycle::rescanned(&recipients, wish.by, wish.reason, wish.now);
        meant.extend(change.events.iter().map(|it| it.reference));
        apply(store, &Arc::new(change)).await?;
    }
    Ok(meant)
}

/// The running relay may have the store for itself again and again; this waits its turn.
async fn apply(store: &Arc<dyn Store>, change: &Arc<Change>) -> Result<(), StoreError> {
    for _ in 0..PATIENCE {
        match store.apply(Arc::clone(change)).await {
            Err(StoreError::Busy(_)) => {}
            outcome => return outcome.map(drop),
        }
    }
    store.apply(Arc::clone(change)).await.map(drop)
}
