//! A question about one reference: all that the store has of it, for its answer; or the nearest idea.
//!
//! Reads and changes nothing. What the answer says is decided in [`answer`](super::answer).

use std::sync::Arc;

use super::answer::{self, Known, Sheet, Trace};
use crate::mail::{Language, Reference, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{LogRow, Search, Store, StoreError};

/// Of a table's postmaster and relay the answer says nothing.
async fn table(store: &Arc<dyn Store>) -> Result<RoutingTable, StoreError> {
    let Some(revision) = store.routes().await? else {
        return Ok(RoutingTable::default());
    };
    let parsed = RoutingTable::parse(&revision.table, revision.revision);
    Ok(parsed.map(|(table, _)| table).unwrap_or_default())
}

/// All that the log has of it.
pub async fn trace(store: &Arc<dyn Store>, reference: Reference) -> Result<Trace, StoreError> {
    Ok(Trace {
        reference,
        message: store.message(reference).await?,
        attachments: store.attachments(reference).await?,
        events: store.events(reference).await?,
        refusals: refusals(store, reference).await?,
    })
}

/// The answer; `None`: nothing is known of it. `shown`: whether subjects and names of attachments may be seen.
pub async fn answer(
    store: &Arc<dyn Store>,
    trace: &Trace,
    language: Language,
    shown: bool,
) -> Result<Option<Sheet>, StoreError> {
    let known = Known {
        trace,
        table: &table(store).await?,
        now: Timestamp::now(),
        zone: Timestamp::shown_here,
        shown,
    };
    Ok(answer::sheet(&known, language))
}

/// More rows than a transaction can have.
const ROWS: usize = 10_000;

/// In the order in which they were refused.
async fn refusals(store: &Arc<dyn Store>, reference: Reference) -> Result<Vec<LogRow>, StoreError> {
    let search = Search {
        reference: Some(reference),
        status: Some("refused".to_owned()),
        limit: ROWS,
        ..Search::default()
    };
    let mut rows = store.search(search).await?;
    rows.reverse();
    Ok(rows)
}

/// Of so many references that are near each is named.
const IDEAS: usize = 3;

/// What to say of a reference that nothing is known of: which one was probably meant, or when it would
/// have been made.
pub async fn unknown(
    store: &Arc<dyn Store>,
    reference: Reference,
    now: Timestamp,
) -> Result<String, StoreError> {
    let mut ideas: Vec<String> = Vec::new();
    for near in reference.near() {
        if ideas.len() < IDEAS && is_known(store, near).await? {
            ideas.push(near.to_string());
        }
    }
    let nothing = format!("nothing is known of {reference}");
    if !ideas.is_empty() {
        return Ok(format!("{nothing}: did they mean {}?", ideas.join(", or ")));
    }
    let made_at = reference.made_at();
    Ok(match made_at > now || made_at < BEGINNING {
        true => format!(
            "{nothing}: it would have been made at {made_at}, which cannot be, so a letter or digit of it is wrong; have it read out again, or search by address and time: ilbud log search"
        ),
        false => format!(
            "{nothing}: it would have been made at {made_at}, and the log has nothing near; have it read out again, or search by address and time: ilbud log search"
        ),
    })
}

/// 2020 began: no reference is older.
const BEGINNING: Timestamp = Timestamp::from_millis(1_577_836_800_000);

async fn is_known(store: &Arc<dyn Store>, reference: Reference) -> Result<bool, StoreError> {
    Ok(!store.events(reference).await?.is_empty())
}
