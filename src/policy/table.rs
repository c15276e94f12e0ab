//! The routing table: rooms, groups, gateways and redirects. To construct it is to validate it.
//!
//! A table that exists is sound: every room, member and redirect in it leads somewhere, every domain
//! belongs to one room, nothing goes in a circle. It answers questions by look-up, never by search,
//! and is never altered: a new table takes its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::{
    Address, Domain, OnFailure, Origin, Peer, Priority, RoomId, SaidActions, Timestamp,
};
use crate::nearest::nearest;

use super::checks::EntryLines;
use super::comments::Comments;
use super::sources::Sources;

pub use super::next_hop::{HopServer, HopTls, NextHop};
pub use super::sources::{Holder, Line, Source};
pub use super::strictness::{Measure, Strictness};
pub use crate::document::Fault;

/// A table that has been found sound. Immutable; shared between sessions behind an `Arc`. The default
/// knows nobody.
#[derive(Debug, Default)]
pub struct RoutingTable {
    pub(super) revision: u64,
    pub(super) rooms: BTreeMap<RoomId, Arc<Room>>,
    pub(super) domains: HashMap<Domain, Arc<Room>>,
    pub(super) groups: HashMap<Address, Group>,
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) redirects: BTreeMap<RoomId, Vec<Redirect>>,
    pub(super) sources: Sources,
    pub(super) comments: Comments,
    /// In the text that it was read from.
    pub(super) entry_lines: EntryLines,
    pub(super) postmaster: Option<Address>,
    pub(super) relay: Option<Domain>,
}

/// One room as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub kind: RoomKind,
    /// Shown where a sender must be told to call instead.
    pub phone: Option<String>,
    /// It takes no mail for now, but may send.
    pub is_disabled: bool,
    pub domains: Vec<Domain>,
    /// Tried in order.
    pub next_hops: Vec<NextHop>,
    /// `None`: any local part.
    pub recipients: Option<Mailboxes>,
    pub accepts_from: AcceptsFrom,
    /// When senders to it are told that it is late, and that it failed; `None`: as the settings say.
    pub warn_after: Option<Duration>,
    pub give_up_after: Option<Duration>,
    /// The most urgent that its own mail may be.
    pub priority_ceiling: Priority,
    /// What its workstations may lack.
    pub strictness: Strictness,
    /// How its mail is scanned, where that is not as the settings say.
    pub scan: RoomScan,
    /// Who may send as this room.
    pub workstations: Vec<Source>,
}

/// What a room says of scanning; what it leaves out is as the settings say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomScan {
    pub on_failure: Option<OnFailure>,
    pub actions: SaidActions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomKind {
    Amk,
    Legevakt,
    Akuttmottak,
    Other,
}

/// The mailboxes of a room that names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailboxes {
    /// As written, at the room's first domain.
    listed: Vec<Address>,
    known: HashSet<Address>,
}

/// Which rooms may write to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptsFrom {
    Any,
    Rooms(Rooms),
}

/// Rooms that somebody has listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// As written.
    listed: Vec<RoomId>,
    known: HashSet<RoomId>,
}

/// One address for several mailboxes. Wins over a mailbox of the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub address: Address,
    /// As written: mailboxes, and other groups.
    pub members: Vec<Address>,
    /// The mailboxes in the end, each once.
    pub mailboxes: Vec<Address>,
}

/// A way in from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub name: String,
    pub source: Source,
    /// The most urgent that mail through it may be.
    pub priority_ceiling: Priority,
}

/// A room's mail goes to another room for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub room: RoomId,
    pub to: RoomId,
    /// `None`: since ever.
    pub from: Option<Timestamp>,
    /// `None`: until the line is taken out.
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
}

impl RoomKind {
    pub const WORDS: [(&str, Self); 4] = [
        ("amk", Self::Amk),
        ("legevakt", Self::Legevakt),
        ("akuttmottak", Self::Akuttmottak),
        ("other", Self::Other),
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Amk => "amk",
            Self::Legevakt => "legevakt",
            Self::Akuttmottak => "akuttmottak",
            Self::Other => "other",
        }
    }
}

impl Mailboxes {
    pub(super) fn new(listed: Vec<Address>) -> Self {
        Self {
            known: listed.iter().cloned().collect(),
            listed,
        }
    }

    pub fn listed(&self) -> &[Address] {
        &self.listed
    }

    /// Whether `address`, at any of the room's domains, is one of them.
    fn contain(&self, address: &Address) -> bool {
        self.listed
            .first()
            .is_some_and(|first| match first.domain() == address.domain() {
                true => self.known.contains(address),
                false => self.known.contains(&address.at(first.domain())),
            })
    }

    /// The one that `address` is most likely a misspelling of, at the domain of `address`.
    fn nearest(&self, address: &Address) -> Option<Address> {
        let near = nearest(address.local(), self.listed.iter().map(Address::local))?;
        let listed = self.listed.iter().find(|it| it.local() == near)?;
        Some(listed.at(address.domain()))
    }
}

impl Room {
    /// Whether `address`, whose domain is one of this room's, is a mailbox here.
    pub fn has(&self, address: &Address) -> bool {
        self.recipients
            .as_ref()
            .is_none_or(|mailboxes| mailboxes.contain(address))
    }

    /// The mailbox that `address` was probably meant to be.
    pub fn nearest(&self, address: &Address) -> Option<Address> {
        self.recipients.as_ref()?.nearest(address)
    }
}

impl Rooms {
    pub(super) fn new(listed: Vec<RoomId>) -> Self {
        Self {
            known: listed.iter().cloned().collect(),
            listed,
        }
    }

    pub fn listed(&self) -> &[RoomId] {
        &self.listed
    }

    pub fn contain(&self, room: &RoomId) -> bool {
        self.known.contains(room)
    }
}

impl AcceptsFrom {
    pub fn allows(&self, room: &RoomId) -> bool {
        match self {
            Self::Any => true,
            Self::Rooms(rooms) => rooms.contain(room),
        }
    }
}

/// Of so many rooms a rule names each one: it stands in every row of the log.
const NAMED: usize = 20;

/// As it is put into a rule: `any`, `amk-oslo, amk-bergen`.
impl fmt::Display for AcceptsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Rooms(rooms) if rooms.listed.is_empty() => f.write_str("no room"),
            Self::Rooms(rooms) => {
                let named = rooms.listed.iter().take(NAMED).map(RoomId::as_str);
                f.write_str(&named.collect::<Vec<_>>().join(", "))?;
                match rooms.listed.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

impl Redirect {
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Whether there is a time at which both are open.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| match (a.until, b.from) {
            (Some(until), Some(from)) => until <= from,
            _ => false,
        };
        !before(self, other) && !before(other, self)
    }
}

/// As it is put into a rule: `room "legevakt-hamar" is redirected to "amk-oslo" until …: Flytting`.
impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room \"{}\" is redirected to \"{}\"", self.room, self.to)?;
        if let Some(until) = self.until {
            write!(f, " until {until}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

impl RoutingTable {
    /// Reads and validates a table. All mistakes at once; otherwise the table and its warnings.
    pub fn parse(toml: &str, revision: u64) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        super::read::table(toml, revision)
    }

    /// The same table, with the address that `<postmaster>` stands for.
    #[must_use]
    pub fn with_postmaster(self, postmaster: Option<Address>) -> Self {
        Self { postmaster, ..self }
    }

    /// The same table, with the name of the relay, from which our own reports come.
    #[must_use]
    pub fn with_relay(self, relay: Option<Domain>) -> Self {
        Self { relay, ..self }
    }

    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The same table as TOML in canonical form, comments included: a function of the table alone.
    pub fn export(&self) -> String {
        super::export::table(self)
    }

    /// Whether `export` reads back to this table.
    pub fn reads_back(&self, export: &str) -> bool {
        let read = || Self::parse(export, self.revision).ok();
        let is_same = |(again, _): (Self, _)| again.export() == self.export();
        // A comment may be kept in another place for the same export.
        super::read::has_entries_of(export, self) || read().is_some_and(is_same)
    }

    /// What changed from `before`, in one line: `2 rooms added (a, b), 1 room changed (c)`.
    pub fn summary(&self, before: Option<&Self>) -> String {
        super::difference::summary(self, before)
    }

    /// Redirects that are over at `now`: worth knowing, harmless.
    pub fn stale(&self, now: Timestamp) -> Vec<Fault> {
        let over = |it: &Redirect| it.until.is_some_and(|until| until <= now);
        let fault = |(line, it): (Option<usize>, &Redirect)| Fault {
            line,
            text: format!("{it}: this time is over; the line can be taken out"),
        };
        let redirects = self.redirects.iter().flat_map(|(room, redirects)| {
            let lines = self.entry_lines.redirects.get(room);
            let line = move |place| lines.and_then(|it: &Vec<_>| it.get(place)).copied();
            let redirects = redirects.iter().enumerate();
            redirects.map(move |(place, it)| (line(place), it))
        });
        redirects.filter(|(_, it)| over(it)).map(fault).collect()
    }

    /// The line of a room in the text that the table was read from.
    pub fn line_of(&self, room: &RoomId) -> Option<usize> {
        self.entry_lines.rooms.get(room).copied()
    }

    /// The line of the first gateway of this name.
    pub fn line_of_gateway(&self, name: &str) -> Option<usize> {
        self.entry_lines.gateways.get(name).copied()
    }

    pub fn room(&self, id: &RoomId) -> Option<&Room> {
        self.rooms.get(id).map(Arc::as_ref)
    }

    /// The room a domain belongs to.
    pub fn room_of(&self, domain: &Domain) -> Option<&Room> {
        self.domains.get(domain).map(Arc::as_ref)
    }

    /// By id.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values().map(Arc::as_ref)
    }

    /// What is done about the lapses of whoever sends for `origin`.
    pub fn strictness(&self, origin: &Origin) -> Strictness {
        let room = origin.room().and_then(|id| self.room(id));
        room.map_or_else(Strictness::default, |room| room.strictness)
    }

    pub fn group(&self, address: &Address) -> Option<&Group> {
        self.groups.get(address)
    }

    /// By address.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by_cached_key(|group| group.address.to_string());
        groups
    }

    /// By name.
    pub fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        self.gateways.iter().map(Arc::as_ref)
    }

    /// By room, and then as written.
    pub fn redirects(&self) -> impl Iterator<Item = &Redirect> {
        self.redirects.values().flatten()
    }

    /// All redirects of `room`, as written.
    pub fn redirects_of(&self, room: &RoomId) -> &[Redirect] {
        self.redirects.get(room).map_or(&[], Vec::as_slice)
    }

    pub const fn postmaster(&self) -> Option<&Address> {
        self.postmaster.as_ref()
    }

    /// Whether `domain` is the relay's own name, as which nobody else sends.
    pub fn is_relay(&self, domain: &Domain) -> bool {
        self.relay.as_ref() == Some(domain)
    }

    /// Every line of the table that names this peer.
    pub fn lines<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a Line> {
        self.sources.matching(peer)
    }

    /// Whether a network of the table holds this address.
    pub fn names(&self, address: IpAddr) -> bool {
        self.sources.around(address, 128).next().is_some()
    }
}
