//! What a routing table would change before it is applied, and what it would have done to real mail.
//!
//! Nothing is changed by a plan. What it says of mail is as good as the log: who wrote to whom in the last
//! days, asked again of both tables. Mail that nobody has sent yet is not in it.

use std::sync::Arc;
use std::time::Duration;

use crate::mail::Timestamp;
use crate::policy::difference::{Change, difference};
use crate::policy::replay::{Traffic, replay};
use crate::policy::table::RoutingTable;
use crate::spool::store::{Pair, Store, StoreError};

use super::doubts::{self, Surroundings};
use super::log::first_reference;
use super::routes::{Refused, Warnings, check_readable, read_beside};

/// As many pairs of sender and recipient as are asked again: those that wrote last.
pub const PAIRS: usize = 100_000;
const DAY: Duration = Duration::from_secs(86_400);

/// What would come of a table.
#[derive(Debug)]
pub struct Plan {
    /// The table as it would be in force.
    pub table: RoutingTable,
    pub warnings: Warnings,
    /// The revision in force; 0: there is none yet.
    pub revision: u64,
    /// The table in force cannot be read, so all of the new one counts as added.
    pub is_blind: bool,
    pub changes: Vec<Change>,
    /// Mail that would fare otherwise, of so many pairs.
    pub traffic: Vec<Traffic>,
    pub pairs: usize,
    /// There were more pairs than [`PAIRS`].
    pub is_cut: bool,
}

/// What is planned, and how.
#[derive(Debug)]
pub struct Question<'a> {
    pub toml: &'a str,
    /// How far back in the log.
    pub days: u32,
    /// Refuse when there is anything to warn of, here or in `warnings`.
    pub strict: bool,
    /// What is worth knowing of where it came from.
    pub warnings: &'a [String],
    pub around: Surroundings<'a>,
}

/// Looks at what applying a table would do. `in_force`: a table as it is in force here.
pub async fn plan(
    store: &Arc<dyn Store>,
    question: &Question<'_>,
    in_force: impl Fn(RoutingTable) -> RoutingTable,
    now: Timestamp,
) -> Result<Plan, Refused> {
    let current = store.routes().await?;
    let revision = current.as_ref().map_or(0, |it| it.revision);
    let before = read_beside(current.as_ref());
    let (table, warnings) =
        RoutingTable::parse(question.toml, revision + 1).map_err(Refused::Faults)?;
    let export = table.export();
    if export != question.toml {
        check_readable(&table, &export)?;
    }
    let found = doubts::of(store, &table, &question.around, now).await?;
    let warnings = Warnings::new(warnings, found).and(question.warnings);
    let warnings = warnings.check(question.strict)?;
    let table = in_force(table);
    let before = before.await.unwrap_or_default().map(in_force);
    let changes = match &before {
        Some(before) => difference(before, &table),
        None => difference(&RoutingTable::default(), &table),
    };
    let mut plan = Plan {
        table,
        warnings,
        revision,
        is_blind: before.is_none() && current.is_some(),
        changes,
        traffic: Vec::new(),
        pairs: 0,
        is_cut: false,
    };
    if let Some(before) = before.filter(|_| !plan.changes.is_empty()) {
        let (pairs, is_cut) = logged(store, question.days, now).await?;
        plan.pairs = pairs.len();
        plan.is_cut = is_cut;
        plan.traffic = replay(pairs, &before, &plan.table, now);
    }
    Ok(plan)
}

/// The pairs of the last days, and whether there were more.
async fn logged(
    store: &Arc<dyn Store>,
    days: u32,
    now: Timestamp,
) -> Result<(Vec<Pair>, bool), StoreError> {
    let since = now.before(DAY.saturating_mul(days));
    let not_below = first_reference(since);
    let mut pairs = store.pairs(since, not_below, PAIRS + 1).await?;
    let is_cut = pairs.len() > PAIRS;
    pairs.truncate(PAIRS);
    Ok((pairs, is_cut))
}
