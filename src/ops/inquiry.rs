//! A question about one reference: all that the store has of it, for its answer; or the nearest idea.
//!
//! Reads and changes nothing. What the answer says is decided in [`answer`](super::answer).

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::answer::{self, Known, Sheet, Trace};
use super::routes::{self, NoRoom};
use crate::mail::{Language, Reference, RoomId, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{LogRow, Search, Store, StoreError};

/// The routing table, as names and telephones are told from it: read when it is first needed, and once, since
/// a large one takes longer than all the rest. Where the one in force cannot be read, it is the last that can, as
/// for the relay. Of a table's postmaster and relay no answer says anything.
#[derive(Debug)]
pub struct Register {
    store: Arc<dyn Store>,
    read: OnceCell<Entries>,
}

/// What is read of it.
#[derive(Debug, Default)]
struct Entries {
    table: RoutingTable,
    /// Why it is not the one in force.
    doubt: Option<String>,
}

impl Register {
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            read: OnceCell::new(),
        }
    }

    pub async fn table(&self) -> Result<&RoutingTable, StoreError> {
        Ok(&self.entries().await?.table)
    }

    async fn entries(&self) -> Result<&Entries, StoreError> {
        self.read.get_or_try_init(|| read(&self.store)).await
    }

    /// What is to be said of it, if it was needed and is not the one in force.
    pub fn doubt(&self) -> Option<&str> {
        self.read.get()?.doubt.as_deref()
    }

    /// Whether nobody has registered a room of this id. Where the table in force cannot be read, nobody knows.
    pub async fn missing_room(&self, id: &str) -> Result<Option<NoRoom>, StoreError> {
        let entries = self.entries().await?;
        let is_known = entries.doubt.is_some() || entries.table.room(&RoomId::new(id)).is_some();
        Ok((!is_known).then(|| NoRoom::of(id, &entries.table)))
    }
}

/// An answer without rooms' names is better than none.
async fn read(store: &Arc<dyn Store>) -> Result<Entries, StoreError> {
    let (table, doubt) = match routes::readable(store).await {
        Ok(None) => return Ok(Entries::default()),
        Ok(Some(found)) => {
            let good = found.table.revision();
            let doubt = found.trouble.map(|fault| {
                let remedy = routes::remedy(good);
                format!(
                    "{fault}: names of rooms and telephones are as in revision {good}; {remedy}"
                )
            });
            (found.table, doubt)
        }
        Err(fault @ StoreError::Corrupt(_)) => {
            let doubt = format!(
                "{fault}: rooms are told by their ids alone, since {}",
                routes::NONE_READABLE
            );
            (RoutingTable::default(), Some(doubt))
        }
        Err(fault) => return Err(fault),
    };
    Ok(Entries { table, doubt })
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
    register: &Register,
    trace: &Trace,
    language: Language,
    shown: bool,
) -> Result<Option<Sheet>, StoreError> {
    if trace.is_empty() {
        return Ok(None);
    }
    let known = Known {
        trace,
        table: register.table().await?,
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

/// Known references that differ from this one as what is misheard does.
pub async fn near(
    store: &Arc<dyn Store>,
    reference: Reference,
) -> Result<Vec<Reference>, StoreError> {
    let mut ideas = Vec::new();
    for near in reference.near() {
        if ideas.len() < IDEAS && is_known(store, near).await? {
            ideas.push(near);
        }
    }
    Ok(ideas)
}

/// What to say of a reference that nothing is known of: which one was probably meant, or when it would
/// have been made.
pub async fn unknown(
    store: &Arc<dyn Store>,
    reference: Reference,
    now: Timestamp,
) -> Result<String, StoreError> {
    let ideas = near(store, reference).await?;
    let ideas: Vec<String> = ideas.iter().map(Reference::to_string).collect();
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
