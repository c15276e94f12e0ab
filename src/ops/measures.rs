//! The measures in force, as a running relay knows them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::mail::Timestamp;
use crate::scan::measures::Measures;
use crate::spool::store::{Store, StoreError};

/// What ended so recently is read too: the clock may be set back.
const LATE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long measures that could not be read are left alone.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// All that are in force, or may be.
pub async fn current(store: &Arc<dyn Store>, now: Timestamp) -> Result<Measures, StoreError> {
    let rows = store.measures(Some(now.before(LATE))).await?;
    Ok(Measures::new(rows))
}

/// Puts into `measures` what another process has opened or closed, within a second, for as long as the relay
/// lives. While they cannot be read, those read last are in force. What this process opens by itself
/// it has to put there by itself.
pub async fn follow_measures(store: Arc<dyn Store>, measures: watch::Sender<Arc<Measures>>) {
    let mut foreign = store.foreign_changes();
    // What was changed between the first reading and this line.
    foreign.mark_changed();
    while foreign.changed().await.is_ok() {
        match current(&store, Timestamp::now()).await {
            Ok(new) => {
                measures.send_if_modified(|old| {
                    let is_new = **old != new;
                    if is_new {
                        *old = Arc::new(new);
                    }
                    is_new
                });
            }
            Err(fault) => {
                tracing::error!(%fault, "blocks and exceptions cannot be read; those read last stay in force");
                tokio::time::sleep(READ_AGAIN).await;
                foreign.mark_changed();
            }
        }
    }
}
