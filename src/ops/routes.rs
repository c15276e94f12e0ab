//! The routing table as people handle it: apply, export, history, differences, explain.
//!
//! A table is applied whole or not at all; a table equal to the one in force makes no revision. To go back
//! is to apply an old table anew: no revision is ever changed or taken out. What is decided on a revision
//! afterwards is in `ops::second_look`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::doubts::{self, Doubts, Surroundings};
use crate::delivery;
use crate::document::length;
use crate::mail::{Address, RoomId, Timestamp};
use crate::nearest::nearest;
use crate::policy::difference::{Change, difference};
use crate::policy::table::{Fault, Room, RoutingTable};
use crate::spool::revision::{Conditions, Revision, RevisionState, Unconfirmed};
use crate::spool::store::{Store, StoreError};

/// How often a change is made anew on the table that somebody else has put in force meanwhile.
pub(super) const TRIES: usize = 20;

/// A table that someone wants in force.
#[derive(Clone)]
pub struct Proposal {
    pub toml: String,
    pub by: String,
    pub reason: Option<String>,
    /// Refuse when the table in force is no longer this revision.
    pub expected: Option<u64>,
    /// Taken back so long after, unless somebody confirms it.
    pub confirm: Option<Duration>,
    /// Refuse when there is anything to warn of, here or in `warnings`.
    pub strict: bool,
    /// What is worth knowing of where it came from.
    pub warnings: Vec<String>,
    /// Somebody else has to approve it, as the settings want.
    pub needs_approval: bool,
}

/// Without the table, which has passwords in it.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal")
            .field("by", &self.by)
            .field("reason", &self.reason)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The revision that was made, or else the one in force.
    pub revision: u64,
    pub state: RevisionState,
    /// What changed, in a line; `None` when nothing did.
    pub summary: Option<String>,
    pub warnings: Warnings,
}

/// What is worth knowing of a table.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Of its entries.
    pub of_table: Vec<Fault>,
    /// Of what is around it.
    pub others: Vec<String>,
}

impl Warnings {
    pub(super) fn new(of_table: Vec<Fault>, found: Doubts) -> Self {
        let mut of_table: Vec<Fault> = of_table
            .into_iter()
            .chain(found.exposed)
            .chain(found.of_table)
            .collect();
        of_table.sort_by_key(|it| it.line.unwrap_or(usize::MAX));
        Self {
            of_table,
            others: found.of_settings,
        }
    }

    pub(super) fn and(mut self, others: &[String]) -> Self {
        self.others.extend_from_slice(others);
        self
    }

    /// A line for each, with `source` before those of its entries, unless that is empty.
    pub fn lines(&self, source: &str) -> Vec<String> {
        let of_table = self.of_table.iter().map(|it| match source {
            "" => it.to_string(),
            source => format!("{source}: {it}"),
        });
        of_table.chain(self.others.iter().cloned()).collect()
    }

    /// Whether it is well enough for who is `strict`.
    pub(super) fn check(self, strict: bool) -> Result<Self, Refused> {
        let is_well = self.of_table.is_empty() && self.others.is_empty();
        match strict && !is_well {
            true => Err(Refused::Strict(self)),
            false => Ok(self),
        }
    }
}

/// Why a table was not applied. Nothing changed.
#[derive(Debug)]
pub enum Refused {
    Faults(Vec<Fault>),
    /// There is something to warn of, and it was to be strict.
    Strict(Warnings),
    /// It was to be taken back by itself, and there is no table to go back to.
    NothingBefore,
    /// A change of a part would build on what may be taken back.
    Unconfirmed(Unconfirmed),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// Puts a table in force, whole or not at all.
pub async fn apply(
    store: &Arc<dyn Store>,
    proposal: Proposal,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Outcome, Refused> {
    for _ in 1..TRIES {
        match put(store, &proposal, around, now).await {
            // What changes was worked out against a table that is no longer in force.
            Err(Refused::Store(StoreError::Conflict(_))) if proposal.expected.is_none() => (),
            outcome => return outcome,
        }
    }
    put(store, &proposal, around, now).await
}

async fn put(
    store: &Arc<dyn Store>,
    proposal: &Proposal,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Outcome, Refused> {
    let current = store.routes().await?;
    let number = current.as_ref().map_or(0, |current| current.revision);
    let before = read_beside(current.as_ref());
    let (table, warnings) =
        RoutingTable::parse(&proposal.toml, number + 1).map_err(Refused::Faults)?;
    let export = table.export();
    let table = Arc::new(table);
    let is_rewritten = export != proposal.toml;
    let again = is_rewritten.then(|| check_beside(Arc::clone(&table), export.clone()));
    expect(proposal.expected, number)?;
    let found = doubts::of(store, &table, around, now).await?;
    let warnings = Warnings::new(warnings, found).and(&proposal.warnings);
    let warnings = warnings.check(proposal.strict)?;
    if let Some(current) = current.as_ref().filter(|current| current.table == export) {
        return Ok(Outcome {
            revision: current.revision,
            state: state(store).await?,
            summary: None,
            warnings,
        });
    }
    if current.is_none() && proposal.confirm.is_some() {
        return Err(Refused::NothingBefore);
    }
    // A table that can no longer be read is replaced like any other.
    let before = before.await.unwrap_or_default();
    let summary = match (&before, &current) {
        (None, Some(unreadable)) => format!(
            "in the place of revision {}, which cannot be read: {}",
            unreadable.revision,
            table.summary(None)
        ),
        (before, _) => table.summary(before.as_ref()),
    };
    if let Some(again) = again {
        again
            .await
            .map_err(|it| StoreError::Down(it.to_string()))??;
    }
    let revision = Revision {
        revision: number + 1,
        at: now,
        by: proposal.by.clone(),
        reason: proposal.reason.clone(),
        summary: summary.clone(),
        table: export,
    };
    let conditions = Conditions {
        confirm: proposal.confirm,
        needs_approval: proposal.needs_approval,
    };
    let revision = store
        .replace_routes(revision, Some(number), conditions)
        .await?;
    let state = match proposal.needs_approval && current.is_some() {
        true => RevisionState::Waiting,
        false => state(store).await?,
    };
    Ok(Outcome {
        revision,
        state,
        summary: Some(summary),
        warnings,
    })
}

/// Reads a stored table while something else is done. A large one takes a while.
pub(super) fn read_beside(revision: Option<&Revision>) -> JoinHandle<Option<RoutingTable>> {
    let stored = revision.map(|it| (it.table.clone(), it.revision));
    spawn_blocking(move || {
        let (toml, number) = stored?;
        let (table, _) = RoutingTable::parse(&toml, number).ok()?;
        Some(table)
    })
}

/// Where the revision in force stands.
async fn state(store: &Arc<dyn Store>) -> Result<RevisionState, StoreError> {
    let unconfirmed = store.unconfirmed_routes().await?;
    Ok(unconfirmed.map_or(RevisionState::InForce, RevisionState::Unconfirmed))
}

/// Refuses what would build on a table that may yet be taken back.
pub async fn refuse_while_unconfirmed(store: &Arc<dyn Store>) -> Result<(), Refused> {
    match store.unconfirmed_routes().await? {
        Some(it) => Err(Refused::Unconfirmed(it)),
        None => Ok(()),
    }
}

/// Why an old revision was of no use.
#[derive(Debug)]
pub enum Unusable {
    /// There is none of that number; the newest, if any.
    Unknown(u64, Option<u64>),
    /// Its table is refused by the rules of today.
    Faults(u64, Vec<Fault>),
    Store(StoreError),
}

impl From<StoreError> for Unusable {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// A revision as it was written.
pub async fn revision(store: &Arc<dyn Store>, number: u64) -> Result<Revision, Unusable> {
    if let Some(found) = store.revision(number).await? {
        return Ok(found);
    }
    let newest = store.routes().await?.map(|it| it.revision);
    Err(Unusable::Unknown(number, newest))
}

/// What revision `after` has otherwise than revision `before`.
pub async fn between(
    store: &Arc<dyn Store>,
    before: u64,
    after: u64,
) -> Result<Vec<Change>, Unusable> {
    let before = revision(store, before).await?;
    let after = revision(store, after).await?;
    Ok(difference(&read(&before)?, &read(&after)?))
}

pub(super) fn read(revision: &Revision) -> Result<RoutingTable, Unusable> {
    let number = revision.revision;
    match RoutingTable::parse(&revision.table, number) {
        Ok((table, _)) => Ok(table),
        Err(faults) => Err(Unusable::Faults(number, faults)),
    }
}

/// The same, while something else is done.
fn check_beside(table: Arc<RoutingTable>, export: String) -> JoinHandle<Result<(), Refused>> {
    spawn_blocking(move || check_readable(&table, &export))
}

/// What is stored must be read again at every start.
pub(super) fn check_readable(table: &RoutingTable, export: &str) -> Result<(), Refused> {
    match table.reads_back(export) {
        true => Ok(()),
        false => Err(Refused::Faults(vec![Fault {
            line: None,
            text: "the table cannot be kept in a form that reads back; please report it".to_owned(),
        }])),
    }
}

/// What is wrong with the setting `postmaster`, if anything: nobody would get that mail.
pub fn doubt_postmaster(table: &RoutingTable, postmaster: &Address) -> Option<String> {
    match table.room_of(postmaster.domain()) {
        None => Some(format!("postmaster {postmaster} is in no registered room")),
        Some(room) if !room.has(postmaster) => Some(format!(
            "postmaster {postmaster} is not among the recipients of room \"{}\"",
            room.id
        )),
        Some(room) if room.is_disabled => Some(format!(
            "postmaster {postmaster} is in room \"{}\", which is disabled",
            room.id
        )),
        Some(_) => None,
    }
}

/// Where senders would hear that a message failed and never that it is late: by the settings alone, and in
/// rooms, the settings taken into account.
pub fn doubt_times(
    table: &RoutingTable,
    settings: &delivery::Settings,
) -> (Option<String>, Vec<Fault>) {
    let (warn, give_up) = (settings.warn_after, settings.give_up_after);
    let of_all = (give_up <= warn).then(|| {
        format!(
            "[delivery]: nobody is warned, since warn_after ({}) is not before give_up_after ({})",
            length(warn),
            length(give_up)
        )
    });
    let of_room = |room: &Room| {
        Some(Fault {
            line: table.line_of(&room.id),
            text: format!(
                "room \"{}\": nobody is warned, since {}",
                room.id,
                never_late(room, warn, give_up)?
            ),
        })
    };
    (of_all, table.rooms().filter_map(of_room).collect())
}

/// Why senders to this room never hear that it is late.
fn never_late(room: &Room, warn: Duration, give_up: Duration) -> Option<String> {
    match (room.warn_after, room.give_up_after) {
        (Some(warn), Some(give_up)) if give_up <= warn => Some(format!(
            "its warn_after ({}) is not before its give_up_after ({})",
            length(warn),
            length(give_up)
        )),
        (Some(own), None) if give_up <= own => Some(format!(
            "its warn_after ({}) is not before the give_up_after of the settings ({})",
            length(own),
            length(give_up)
        )),
        (None, Some(own)) if own <= warn => Some(format!(
            "its give_up_after ({}) is not after the warn_after of the settings ({})",
            length(own),
            length(warn)
        )),
        _ => None,
    }
}

/// What to say of a room that nobody has registered, with the nearest that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    id: String,
    meant: Option<String>,
}

impl NoRoom {
    pub(super) fn of(id: &str, table: &RoutingTable) -> Self {
        let ids = table.rooms().map(|room| room.id.as_str());
        Self {
            id: id.to_owned(),
            meant: nearest(id, ids).map(str::to_owned),
        }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, meant } = self;
        match meant {
            Some(meant) => write!(f, "there is no room {id:?}; did you mean {meant:?}?"),
            None => write!(f, "there is no room {id:?}; see: ilbud route export"),
        }
    }
}

/// Whether a room stands in the table in force. Where that cannot be read, nobody knows.
pub async fn missing_room(store: &Arc<dyn Store>, id: &str) -> Result<Option<NoRoom>, StoreError> {
    let table = match current(store).await {
        Ok(found) => found.map(|(_, table)| table),
        Err(StoreError::Corrupt(_)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let table = table.unwrap_or_default();
    let is_missing = table.room(&RoomId::new(id)).is_none();
    Ok(is_missing.then(|| NoRoom::of(id, &table)))
}

/// Refuses to go on from another revision than was expected.
pub fn expect(expected: Option<u64>, current: u64) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != current => Err(StoreError::Conflict(format!(
            "the routing table is at revision {current}, not {expected}: plan again"
        ))),
        _ => Ok(()),
    }
}

/// The table in force, as stored and as read; `None` when there is none yet.
pub async fn current(
    store: &Arc<dyn Store>,
) -> Result<Option<(Revision, RoutingTable)>, StoreError> {
    let Some(revision) = store.routes().await? else {
        return Ok(None);
    };
    // A large one would keep whoever shares this thread waiting.
    let read = spawn_blocking(move || read_stored(&revision).map(|table| (revision, table)));
    let read = read
        .await
        .map_err(|fault| StoreError::Down(fault.to_string()))?;
    read.map(Some)
}

/// A table that was found sound when it was stored.
fn read_stored(revision: &Revision) -> Result<RoutingTable, StoreError> {
    match RoutingTable::parse(&revision.table, revision.revision) {
        Ok((table, _)) => Ok(table),
        Err(faults) => Err(StoreError::Corrupt(format!(
            "routing table, revision {}: {}",
            revision.revision,
            shortened(&faults)
        ))),
    }
}

/// As many mistakes as one line holds.
const SHOWN: usize = 3;

fn shortened(faults: &[Fault]) -> String {
    let shown = faults.iter().take(SHOWN).map(ToString::to_string);
    let shown: Vec<String> = shown.collect();
    match faults.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// The newest table that counts and that can be read.
#[derive(Debug)]
pub struct Readable {
    pub table: RoutingTable,
    /// Why it is not the one in force.
    pub trouble: Option<StoreError>,
}

/// The table in force, or the newest before it where that cannot be read. Neither what waits for an approval
/// nor what nobody has confirmed is gone back to. `None` when there is no table yet.
pub async fn readable(store: &Arc<dyn Store>) -> Result<Option<Readable>, StoreError> {
    let fault = match current(store).await {
        Ok(found) => {
            return Ok(found.map(|(_, table)| Readable {
                table,
                trouble: None,
            }));
        }
        Err(fault @ StoreError::Corrupt(_)) => fault,
        Err(fault) => return Err(fault),
    };
    for chapter in store.route_history().await? {
        let did_count = matches!(
            chapter.state,
            RevisionState::InForce | RevisionState::Unconfirmed(_) | RevisionState::Past
        );
        if !did_count || chapter.is_unconfirmed {
            continue;
        }
        let number = chapter.revision.revision;
        if let Some(revision) = store.revision(number).await?
            && let Ok((table, _)) = RoutingTable::parse(&revision.table, number)
        {
            let trouble = Some(fault);
            return Ok(Some(Readable { table, trouble }));
        }
    }
    Err(fault)
}

/// Where not even an older one can be read.
pub const NONE_READABLE: &str =
    "no revision can be read; put a good table in force with: ilbud route apply FILE";

/// What is to be done about a table in force that cannot be read, while revision `good` can.
pub fn remedy(good: u64) -> String {
    format!("put a good table in force with: ilbud route apply FILE, or ilbud route revert {good}")
}

/// The same, where it is not known yet whether any revision can be read.
pub async fn find_remedy(store: &Arc<dyn Store>) -> String {
    let good = readable(store).await.ok().flatten();
    good.map_or_else(
        || NONE_READABLE.to_owned(),
        |it| remedy(it.table.revision()),
    )
}
