//! The word that the relay stops, as those hear it who work until then.
//!
//! It decides nothing and never fails: a relay that is gone has stopped.

use tokio::sync::watch;

/// Ready when the relay stops, or is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stopping| *stopping).await);
}
