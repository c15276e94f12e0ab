//! The hunt for who had a file, or what malware was found in: all that the log knows of it.
//!
//! It only asks. What the log was never told, as of what is encrypted, it cannot find; where the store
//! cannot be read it says so.

use std::sync::Arc;

use super::is_hash;
use crate::mail::Timestamp;
use crate::ops::log;
use crate::spool::store::{Hunt, Hunted, Quarry, Store, StoreError};

/// Who sent and who was to receive a file, by its SHA-256, its name or a pattern of names; or a message
/// with malware, by a part of what that is called.
pub async fn hunt(
    store: &Arc<dyn Store>,
    typed: &str,
    since: Option<Timestamp>,
) -> Result<Vec<Hunted>, StoreError> {
    let quarry = match is_hash(typed) {
        true => Quarry::Hash(typed.to_lowercase()),
        false => Quarry::Word(typed.to_owned()),
    };
    let not_below = since.map(log::first_reference);
    let hunt = Hunt {
        quarry,
        since,
        not_below,
    };
    store.hunt(hunt).await
}
