//! Small edits of the routing table: one room, workstation, group, gateway or redirect, without a file.
//!
//! An edit is made on the text of the table in force, and anew on the next one when somebody else has put
//! that in force meanwhile. What it makes is applied like any other table (`ops::routes`): all or nothing.
//! Nobody has seen the lines of that text, so mistakes are told without them (by the row, where a
//! list is imported), and of warnings only what the edit brings.

mod gateways;
mod groups;
mod mentions;
mod redirects;
mod rooms;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::mail::{Address, LocalFault, RoomId, Timestamp};
use crate::nearest::nearest;
use crate::policy::edit::{Draft, Entry, Said};
use crate::policy::lists::{self, Import, List};
use crate::policy::table::{Fault, RoutingTable};
use crate::spool::store::{Store, StoreError};

use super::doubts::{self, Surroundings};
use super::routes::{
    self, NoRoom, Outcome, Proposal, Refused, TRIES, Warnings, refuse_while_unconfirmed,
};
use super::when::When;
use mentions::Mention;

/// Keys of a room or a gateway, and what they are to say.
pub type Keys = Vec<(Cow<'static, str>, Said)>;

/// What a workstation or a gateway is known by, a key and its name: `network` and `10.1.0.0/24`.
pub type Workstation = (&'static str, String);

/// What is to be otherwise.
pub enum Edit {
    AddRoom(RoomId, Keys, Vec<Workstation>),
    SetRoom(RoomId, Keys, Vec<String>),
    /// Whether it is to be disabled.
    Disable(RoomId, bool),
    /// Together with what mentions it?
    RemoveRoom(RoomId, bool),
    AddWorkstations(RoomId, Vec<Workstation>),
    RemoveWorkstations(RoomId, Vec<Workstation>),
    AddGroup(Address, Vec<Address>),
    RemoveGroup(Address, bool),
    Join(Address, Vec<Address>),
    Leave(Address, Vec<Address>),
    AddGateway(String, Vec<Workstation>, Keys),
    SetGateway(String, Vec<Workstation>, Keys, Vec<String>),
    RemoveGateway(String),
    OpenRedirect(Opening),
    /// Those that are not open, too?
    CloseRedirect(RoomId, bool),
    Import(Import),
}

/// Without what it says, which may be a password.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").finish_non_exhaustive()
    }
}

/// A redirect that is to be.
#[derive(Debug, Clone)]
pub struct Opening {
    pub room: RoomId,
    pub to: RoomId,
    pub from: Option<When>,
    pub until: Option<When>,
    pub reason: Option<String>,
}

/// Why an edit was not made. Nothing changed.
#[derive(Debug)]
pub enum Unfit {
    /// There is no table to edit.
    NoTable,
    /// The rules of today refuse the table in force.
    Unreadable(u64, Vec<Fault>),
    NoRoom(NoRoom),
    NoGroup(Address, Option<String>),
    RoomExists(RoomId),
    GroupExists(Address),
    NoGateway(String, Option<String>),
    GatewayExists(String),
    /// There is more than one of that name.
    SeveralGateways(String),
    /// A domain that belongs to another room.
    Taken(String, RoomId),
    /// A domain that is given twice.
    Twice(String),
    /// A key that is to be set, and this one unset.
    SetAndUnset(String),
    Mentioned(String, Vec<Mention>),
    NoWorkstation(RoomId, String, Option<String>),
    NoMember(Address, Address, Option<String>),
    /// It is redirected at that time already.
    Redirected(String, RoomId),
    /// No redirect is open; those that are not.
    NoneOpen(RoomId, Vec<String>),
    IsOver(Timestamp),
    /// What clocks here never show, or show twice.
    NoMoment(LocalFault),
    /// What is wrong with a list, row by row.
    List(Vec<Fault>),
    /// The table is written in a way that edits know nothing of.
    Unusual(&'static str),
    Refused(Refused),
}

impl From<Refused> for Unfit {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

impl From<StoreError> for Unfit {
    fn from(fault: StoreError) -> Self {
        Self::Refused(Refused::Store(fault))
    }
}

/// A line for each mistake. [`Unfit::Refused`] is told like any other table's.
impl Unfit {
    pub fn lines(self) -> Result<Vec<String>, Refused> {
        let line = match self {
            Self::Refused(refused) => return Err(refused),
            Self::Unreadable(revision, faults) => {
                let line = |it: &Fault| format!("revision {revision}, in force: {it}");
                let last = "nothing was changed: repair the table with ilbud route edit";
                return Ok(faults.iter().map(line).chain([last.to_owned()]).collect());
            }
            Self::List(faults) => return Ok(faults.iter().map(Fault::to_string).collect()),
            Self::Mentioned(name, mentions) => {
                let line = |it: &Mention| format!("{name} cannot be removed: {it}");
                let last = "nothing was changed: change these first, or add --with-mentions";
                return Ok(mentions.iter().map(line).chain([last.to_owned()]).collect());
            }
            Self::NoTable => {
                "there is no routing table yet; make one with: ilbud route apply FILE, or begin with ilbud route room add".to_owned()
            }
            Self::NoRoom(it) => it.to_string(),
            Self::NoGroup(it, near) => format!("there is no group {it}{}", meant(near, "see: ilbud route export")),
            Self::RoomExists(id) => format!(
                "there is a room \"{id}\" already; change it with: ilbud route room set {id}"
            ),
            Self::GroupExists(it) => format!(
                "there is a group {it} already; add to it with: ilbud route group join {it} MEMBER"
            ),
            Self::NoGateway(name, near) => {
                let near = near.map(|it| format!("{it:?}"));
                format!("there is no gateway {name:?}{}", meant(near, "see: ilbud route export"))
            }
            Self::GatewayExists(name) => format!(
                "there is a gateway {name:?} already; change it with: ilbud route gateway set"
            ),
            Self::SeveralGateways(name) => format!(
                "there are several gateways {name:?}; change one of them with: ilbud route edit"
            ),
            Self::Taken(domain, room) => format!(
                "domain {domain:?} already belongs to room \"{room}\"; it can have only one"
            ),
            Self::Twice(domain) => format!("domain {domain:?} is given twice"),
            Self::SetAndUnset(key) => {
                format!("{key} is to be set and to be unset: leave out one of them")
            }
            Self::NoWorkstation(room, it, near) => {
                format!("room \"{room}\" has no workstation {it}{}", meant(near, "see: ilbud route export"))
            }
            Self::NoMember(group, it, near) => {
                format!("{it} is no member of group {group}{}", meant(near, "see: ilbud route export"))
            }
            Self::Redirected(redirect, room) => format!(
                "{redirect}, at the same time; end that first: ilbud route redirect close {room}"
            ),
            Self::NoneOpen(room, others) if others.is_empty() => {
                format!("room \"{room}\" has no redirect")
            }
            Self::NoneOpen(room, others) => format!(
                "no redirect of room \"{room}\" is open now; --all takes these out: {}",
                others.join(", ")
            ),
            Self::IsOver(until) => format!("{until} is over already"),
            Self::NoMoment(fault) => fault.to_string(),
            Self::Unusual(kind) => format!(
                "the table does not write each {kind} as [[{kind}]]; change it with: ilbud route edit"
            ),
        };
        Ok(vec![line])
    }
}

fn meant(near: Option<String>, otherwise: &str) -> String {
    match near {
        Some(near) => format!("; did you mean {near}?"),
        None => format!("; {otherwise}"),
    }
}

/// What an edit makes of the table in force.
pub struct Edited {
    pub toml: String,
    /// The revision that it was made on; 0: there is none yet.
    pub base: u64,
    /// What was to be warned of before.
    pub known: Warnings,
}

/// Without the table, which has passwords in it.
impl fmt::Debug for Edited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edited")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Makes an edit and puts the table in force.
pub async fn apply(
    store: &Arc<dyn Store>,
    edit: &Edit,
    proposal: Proposal,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Outcome, Unfit> {
    for _ in 1..TRIES {
        match put(store, edit, &proposal, around, now).await {
            Err(Unfit::Refused(Refused::Store(StoreError::Conflict(_))))
                if proposal.expected.is_none() => {}
            outcome => return outcome,
        }
    }
    put(store, edit, &proposal, around, now).await
}

async fn put(
    store: &Arc<dyn Store>,
    edit: &Edit,
    proposal: &Proposal,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Outcome, Unfit> {
    refuse_while_unconfirmed(store).await?;
    let edited = make(store, edit, around, now).await?;
    let proposal = Proposal {
        toml: edited.toml,
        expected: proposal.expected.or(Some(edited.base)),
        ..proposal.clone()
    };
    let toml = proposal.toml.clone();
    let mut outcome = routes::apply(store, proposal, around, now)
        .await
        .map_err(|refused| edit.refused(&toml, refused))?;
    outcome.warnings = edit.news(&toml, outcome.warnings, &edited.known);
    Ok(outcome)
}

/// The table in force as the edit makes it. Changes nothing.
pub async fn make(
    store: &Arc<dyn Store>,
    edit: &Edit,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Edited, Unfit> {
    let current = store.routes().await?;
    let base = current.as_ref().map_or(0, |it| it.revision);
    let begins = edit.begins_a_table();
    let text = match current {
        Some(revision) => revision.table,
        None if begins => String::new(),
        None => return Err(Unfit::NoTable),
    };
    let read = RoutingTable::parse(&text, base);
    let (table, known) = read.map_err(|faults| Unfit::Unreadable(base, faults))?;
    let mut draft = Draft::of(&text).map_err(|faults| Unfit::Unreadable(base, faults))?;
    edit.on(&mut draft, &table, now)?;
    let toml = draft.text();
    let found = doubts::of(store, &table, around, now).await?;
    let known = Warnings::new(known, found);
    Ok(Edited { toml, base, known })
}

impl Edit {
    const fn begins_a_table(&self) -> bool {
        match self {
            Self::AddRoom(..) => true,
            Self::Import(import) => matches!(import.list, List::Rooms),
            _ => false,
        }
    }

    /// Mistakes in the text that it has made, and that nobody has seen: by the rows of a list, or without
    /// a line.
    fn located(&self, toml: &str, faults: Vec<Fault>) -> Vec<Fault> {
        let without_line = |it: Fault| Fault {
            line: None,
            text: lists::without_line(&it.text, ""),
        };
        match self {
            Self::Import(import) => import.tell(toml, faults),
            _ => faults.into_iter().map(without_line).collect(),
        }
    }

    /// Why the text that it has made was refused.
    pub fn refused(&self, toml: &str, why: Refused) -> Refused {
        match why {
            Refused::Faults(faults) => Refused::Faults(self.located(toml, faults)),
            Refused::Strict(warnings) => Refused::Strict(Warnings {
                of_table: self.located(toml, warnings.of_table),
                ..warnings
            }),
            other => other,
        }
    }

    /// What was not to be warned of before.
    pub fn news(&self, toml: &str, warnings: Warnings, known: &Warnings) -> Warnings {
        let is_new = |it: &Fault| known.of_table.iter().all(|old| old.text != it.text);
        let is_new_too = |it: &String| !known.others.contains(it);
        let of_table = warnings.of_table.into_iter().filter(is_new).collect();
        Warnings {
            of_table: self.located(toml, of_table),
            others: warnings.others.into_iter().filter(is_new_too).collect(),
        }
    }

    fn on(&self, draft: &mut Draft, table: &RoutingTable, now: Timestamp) -> Result<(), Unfit> {
        match self {
            Self::AddRoom(id, keys, workstations) => {
                rooms::add(draft, table, id, keys, workstations)
            }
            Self::SetRoom(id, keys, unset) => rooms::set(draft, table, id, keys, unset),
            Self::Disable(id, is_disabled) => rooms::disable(draft, table, id, *is_disabled),
            Self::RemoveRoom(id, with_mentions) => rooms::remove(draft, table, id, *with_mentions),
            Self::AddWorkstations(id, them) => rooms::add_workstations(draft, table, id, them),
            Self::RemoveWorkstations(id, them) => {
                rooms::remove_workstations(draft, table, id, them)
            }
            Self::AddGroup(address, members) => groups::add(draft, table, address, members),
            Self::RemoveGroup(address, with_mentions) => {
                groups::remove(draft, table, address, *with_mentions)
            }
            Self::Join(address, members) => groups::join(draft, table, address, members),
            Self::Leave(address, members) => groups::leave(draft, table, address, members),
            Self::AddGateway(name, sources, keys) => {
                gateways::add(draft, table, name, sources, keys)
            }
            Self::SetGateway(name, sources, keys, unset) => {
                gateways::set(draft, table, name, (sources, keys), unset)
            }
            Self::RemoveGateway(name) => gateways::remove(draft, table, name),
            Self::OpenRedirect(opening) => redirects::open(draft, table, opening, now),
            Self::CloseRedirect(room, all) => redirects::close(draft, table, room, *all, now),
            Self::Import(import) => import.write(draft, table).map_err(Unfit::List),
        }
    }
}

fn room_of<'d>(
    draft: &'d mut Draft,
    table: &RoutingTable,
    id: &RoomId,
) -> Result<Entry<'d>, Unfit> {
    draft.room_mut(id).ok_or_else(|| no_room(table, id))
}

fn no_room(table: &RoutingTable, id: &RoomId) -> Unfit {
    Unfit::NoRoom(NoRoom::of(id.as_str(), table))
}

/// The nearest of some names.
fn near(word: &str, names: &[String]) -> Option<String> {
    nearest(word, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests;
