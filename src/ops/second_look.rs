//! What is decided on a revision of the routing table after it was made: confirm, approve, reject, and
//! taking back what nobody has confirmed.
//!
//! The store asks again whether each is still due, in the transaction that does it, so two people who
//! decide at once decide once. A revision is taken back by the relay when its time is over, and where none
//! runs by the next command that looks; if the store cannot do it then, the relay tries again.

use std::sync::Arc;

use crate::mail::Timestamp;
use crate::mail::reply::harmless;
use crate::policy::table::RoutingTable;
use crate::spool::revision::{Approval, Chapter, Decision, Revision, RevisionState, Unconfirmed};
use crate::spool::store::{Store, StoreError};

/// By whom a revision is made that nobody asked for.
const RELAY: &str = "ilbud";

/// Why nothing was decided.
#[derive(Debug)]
pub enum Undecided {
    /// In a sentence that says what to do.
    Because(String),
    Store(StoreError),
}

impl From<StoreError> for Undecided {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

fn because<T>(why: impl Into<String>) -> Result<T, Undecided> {
    Err(Undecided::Because(why.into()))
}

/// The revision in force stays. Gives its number.
pub async fn confirm(store: &Arc<dyn Store>, by: String, now: Timestamp) -> Result<u64, Undecided> {
    let Some(waiting) = store.unconfirmed_routes().await? else {
        return because("no revision waits for its confirmation; see: ilbud route history");
    };
    store.confirm_routes(waiting.revision, by, now).await?;
    Ok(waiting.revision)
}

/// Somebody else than its author lets a revision come in force, or does not. Gives where it stands then.
pub async fn decide(
    store: &Arc<dyn Store>,
    number: u64,
    decision: Decision,
) -> Result<RevisionState, Undecided> {
    let (revision, approval) = waiting(store, number).await?;
    let is_approved = decision.is_approved;
    if is_approved && revision.by == decision.by {
        return because(format!(
            "revision {number} was proposed by {}: somebody else has to approve it",
            revision.by
        ));
    }
    if is_approved {
        check_base(store, number, &approval).await?;
    }
    store.decide_routes(number, decision).await?;
    Ok(match (is_approved, store.unconfirmed_routes().await?) {
        (true, Some(it)) if it.revision == number => RevisionState::Unconfirmed(it),
        (true, _) => RevisionState::InForce,
        (false, _) => RevisionState::Rejected,
    })
}

async fn waiting(store: &Arc<dyn Store>, number: u64) -> Result<(Revision, Approval), Undecided> {
    let chapter = store.route_history().await?.into_iter();
    let chapter = chapter.map(|it: Chapter| (it.revision, it.approval));
    let found = { chapter }.find(|(revision, _)| revision.revision == number);
    match found {
        None => because(format!(
            "there is no revision {number}; see: ilbud route history"
        )),
        Some((_, None)) => because(format!("revision {number} never needed an approval")),
        Some((revision, Some(approval))) => match &approval.decision {
            None => Ok((revision, approval)),
            Some(made) => because(format!(
                "revision {number} was {} by {} already",
                if made.is_approved {
                    "approved"
                } else {
                    "rejected"
                },
                made.by
            )),
        },
    }
}

/// A revision is approved as the change that it was, not as one that undoes what came since.
async fn check_base(
    store: &Arc<dyn Store>,
    number: u64,
    approval: &Approval,
) -> Result<(), Undecided> {
    let current = store.routes().await?.map_or(0, |it| it.revision);
    match current == approval.base {
        true => Ok(()),
        false => because(format!(
            "revision {number} was made from revision {}, and revision {current} is in force now: \
             make the change anew on that one, or propose the whole table again with ilbud route revert {number}, \
             which takes back what has come since (ilbud route diff {current} {number})",
            approval.base
        )),
    }
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    pub what: Unconfirmed,
    /// The revision that took its place.
    pub revision: u64,
}

/// Takes back the revision in force, if its time is over at `now` and nobody has confirmed it.
pub async fn take_back_overdue(
    store: &Arc<dyn Store>,
    now: Timestamp,
) -> Result<Option<TakenBack>, StoreError> {
    match store.unconfirmed_routes().await? {
        Some(what) if what.left(now).is_zero() => take_back(store, what, now).await,
        _ => Ok(None),
    }
}

/// Puts the table before an unconfirmed revision in force again. `None`: it was confirmed or replaced.
pub async fn take_back(
    store: &Arc<dyn Store>,
    what: Unconfirmed,
    now: Timestamp,
) -> Result<Option<TakenBack>, StoreError> {
    let Some(old) = store.revision(what.back_to).await? else {
        let text = format!("revision {}, to which to go back, is gone", what.back_to);
        return Err(StoreError::Corrupt(text));
    };
    let unconfirmed = store.revision(what.revision).await?;
    let old = Revision {
        at: now,
        by: RELAY.to_owned(),
        reason: Some(format!(
            "nobody has confirmed revision {}: back to revision {}",
            what.revision, what.back_to
        )),
        summary: summary(&old, unconfirmed.as_ref()),
        ..old
    };
    match store.take_back_routes(what.revision, old).await {
        Ok(revision) => Ok(Some(TakenBack { what, revision })),
        Err(StoreError::Conflict(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What changes by going back to `old`. Tables that cannot be read are gone back to all the same.
fn summary(old: &Revision, new: Option<&Revision>) -> String {
    let read = |it: &Revision| RoutingTable::parse(&it.table, it.revision).ok();
    let before = new.and_then(read).map(|(table, _)| table);
    match read(old) {
        Some((table, _)) => table.summary(before.as_ref()),
        None => harmless(&old.summary),
    }
}
