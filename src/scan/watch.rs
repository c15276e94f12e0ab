//! What the engines say of themselves, asked for now and then.
//!
//! An engine that is down is looked after more often, so that it is used again as soon as it answers.
//! It decides nothing about mail, and never fails.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::desk::Desk;
use crate::spool::Spool;

/// How often an engine that is up is asked, and one that is down.
const UP: Duration = Duration::from_secs(60);
const DOWN: Duration = Duration::from_secs(2);

/// For as long as the relay lives.
pub async fn watch(desk: &Desk, spool: &Spool) {
    join_all(desk.engines().iter().map(async |engine| {
        loop {
            engine.identify(spool.next_reference()).await;
            let asked_at = Instant::now();
            // It may go down meanwhile.
            while asked_at.elapsed() < UP {
                tokio::time::sleep(DOWN).await;
                if engine.trial_at().is_some() {
                    break;
                }
            }
        }
    }))
    .await;
    // Without an engine there is nothing to look after.
    std::future::pending().await
}
