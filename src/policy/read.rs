//! From TOML to a sound routing table: every mistake at once, each with its line and a way out.
//!
//! First each entry is read for itself, then what they say of each other is checked. What cannot
//! work is a mistake; what works and is probably not meant is a warning.

mod across;
mod others;
mod room;
mod sources;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub(super) use self::sources::source;
use super::checks::{At, EntryLines};
use super::comments::{self, Comments};
use super::export::Kind;
use super::sources::{Source, Sources};
use super::table::{Gateway, Group, Redirect, Room, RoutingTable};
use crate::document::{self, Fault, Table, Value};
use crate::mail::{Address, Domain, Priority, RoomId};

/// For as many unknown names the nearest known one is searched for.
const SEARCHES: usize = 100;

pub fn table(toml: &str, revision: u64) -> Result<(RoutingTable, Vec<Fault>), Vec<Fault>> {
    document::read(toml, |root, mistakes| {
        let mut draft = Draft::read(root);
        draft.check(mistakes);
        Some(draft.finish(revision, toml))
    })
}

/// Whether `toml` has the entries of `table`, each as it is there, in the order of an export, and its comments.
/// What the entries say of each other is then as it is in `table`, and is not looked at.
pub(super) fn has_entries_of(toml: &str, table: &RoutingTable) -> bool {
    let compared = document::read(toml, |root, _| {
        let draft = Draft::read(root);
        Some(draft.has_entries_of(table) && draft.comments(toml) == table.comments)
    });
    compared == Ok(true)
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Draft {
    /// Every id that is written, also of rooms with other mistakes.
    ids: HashMap<RoomId, usize>,
    /// Every domain, with the id of its room.
    domains: HashMap<Domain, At<String>>,
    /// What some room has for a domain is none, so that nobody knows whose members are unknown.
    has_bad_domain: bool,
    rooms: Vec<At<Arc<Room>>>,
    /// Where `accepts_from` stands.
    accepts: HashMap<RoomId, usize>,
    /// Rooms that something points to.
    mentions: Vec<At<RoomId>>,
    addresses: HashMap<Address, usize>,
    groups: Vec<At<Vec<At<Address>>>>,
    group_addresses: Vec<Address>,
    gateways: Vec<At<Arc<Gateway>>>,
    redirects: Vec<At<Redirect>>,
    /// Found out by `check`.
    sources: Sources,
    /// How often the nearest name was searched for.
    searches: Cell<usize>,
    warnings: Vec<Fault>,
}

impl Draft {
    /// Each entry for itself.
    fn read(mut root: Table<'_>) -> Self {
        let mut draft = Self::default();
        let entries = [
            root.tables("room"),
            root.tables("group"),
            root.tables("gateway"),
            root.tables("redirect"),
        ];
        let [rooms, groups, gateways, redirects] = entries;
        rooms.into_iter().for_each(|it| draft.read_room(it));
        groups.into_iter().for_each(|it| draft.read_group(it));
        gateways.into_iter().for_each(|it| draft.read_gateway(it));
        redirects.into_iter().for_each(|it| draft.read_redirect(it));
        draft
    }

    fn has_entries_of(&self, table: &RoutingTable) -> bool {
        let rooms = self.rooms.iter().map(|it| &*it.value);
        let gateways = self.gateways.iter().map(|it| &*it.value);
        let redirects = self.redirects.iter().map(|it| &it.value);
        let groups = self.group_addresses.iter().zip(&self.groups);
        let groups = groups.map(|(address, members)| {
            let members = members.value.iter().map(|it| &it.value);
            (address, members.collect::<Vec<_>>())
        });
        let of_table = table.groups().into_iter();
        let of_table = of_table.map(|it| (&it.address, it.members.iter().collect()));
        rooms.eq(table.rooms())
            && groups.eq(of_table)
            && gateways.eq(table.gateways())
            && redirects.eq(table.redirects())
    }

    fn warn(&mut self, line: Option<usize>, text: impl Into<String>) {
        self.warnings.push(Fault {
            line,
            text: text.into(),
        });
    }

    /// The id of a room that may stand further down.
    fn mention(&mut self, value: Value<'_>) -> Option<RoomId> {
        let line = value.line();
        let id = RoomId::new(&value.string()?);
        let value = id.clone();
        self.mentions.push(At { line, value });
        Some(id)
    }

    fn rooms_by_domain(&self) -> HashMap<Domain, Arc<Room>> {
        let mut rooms = HashMap::new();
        for At { value: room, .. } in &self.rooms {
            for domain in &room.domains {
                rooms.insert(domain.clone(), Arc::clone(room));
            }
        }
        rooms
    }

    fn entry_lines(&self) -> EntryLines {
        let mut lines = EntryLines::default();
        for At { line, value } in &self.rooms {
            lines.rooms.insert(value.id.clone(), *line);
        }
        for At { line, value } in &self.gateways {
            lines.gateways.entry(value.name.clone()).or_insert(*line);
        }
        for At { line, value } in &self.redirects {
            let of_room = lines.redirects.entry(value.room.clone());
            of_room.or_default().push(*line);
        }
        lines
    }

    /// Each entry's kind, its place in the file and its name, in the order of an export.
    fn order(&self) -> Vec<(Kind, usize, String)> {
        let rooms = self.rooms.iter().map(|it| it.value.id.to_string());
        let rooms = rooms.zip(0..).map(|(name, at)| (Kind::Room, at, name));
        let groups = self.group_addresses.iter().map(Address::to_string);
        let groups = groups.zip(0..).map(|(name, at)| (Kind::Group, at, name));
        let redirects = self.redirects.iter().map(|it| it.value.room.to_string());
        let redirects = redirects.zip(0..);
        let redirects = redirects.map(|(name, at)| (Kind::Redirect, at, name));
        let mut gateways: Vec<(&Gateway, usize)> =
            self.gateways.iter().map(|it| &*it.value).zip(0..).collect();
        gateways.sort_by_key(|(it, _)| in_order(it));
        let gateways = gateways.into_iter();
        let gateways = gateways.map(|(it, at)| (Kind::Gateway, at, it.name.clone()));
        let entries = rooms.chain(groups).chain(gateways);
        entries.chain(redirects).collect()
    }

    fn comments(&self, toml: &str) -> Comments {
        let written = comments::read(toml);
        match written.is_empty() {
            true => Comments::default(),
            false => written.named(self.order().into_iter()),
        }
    }

    fn finish(mut self, revision: u64, toml: &str) -> (RoutingTable, Vec<Fault>) {
        self.warnings.sort_by_key(|it| it.line);
        let domains = self.rooms_by_domain();
        let entry_lines = self.entry_lines();
        let groups = self.expanded_groups();
        let comments = self.comments(toml);
        let mut gateways: Vec<Arc<Gateway>> =
            self.gateways.into_iter().map(|it| it.value).collect();
        gateways.sort_by(|one, other| in_order(one).cmp(&in_order(other)));
        let mut redirects: BTreeMap<RoomId, Vec<Redirect>> = BTreeMap::new();
        for At { value, .. } in self.redirects {
            redirects.entry(value.room.clone()).or_default().push(value);
        }
        let rooms = self
            .rooms
            .into_iter()
            .map(|it| (it.value.id.clone(), it.value));
        let table = RoutingTable {
            revision,
            rooms: rooms.collect(),
            domains,
            groups,
            gateways,
            redirects,
            sources: self.sources,
            comments,
            entry_lines,
            postmaster: None,
            relay: None,
        };
        (table, self.warnings)
    }

    fn expanded_groups(&self) -> HashMap<Address, Group> {
        let written: HashMap<&Address, Vec<&Address>> = self
            .group_addresses
            .iter()
            .zip(&self.groups)
            .map(|(address, group)| (address, group.value.iter().map(|it| &it.value).collect()))
            .collect();
        let group = |address: &Address| Group {
            address: address.clone(),
            members: written
                .get(address)
                .map(|members| members.iter().copied().cloned().collect())
                .unwrap_or_default(),
            mailboxes: mailboxes(address, &written),
        };
        let addresses = self.group_addresses.iter();
        addresses
            .map(|address| (address.clone(), group(address)))
            .collect()
    }
}

/// The mailboxes behind a group, in the order of the members, each once.
fn mailboxes(group: &Address, written: &HashMap<&Address, Vec<&Address>>) -> Vec<Address> {
    let mut seen = HashSet::from([group]);
    let mut found = Vec::new();
    let mut ahead: Vec<&Address> = written
        .get(group)
        .into_iter()
        .flatten()
        .rev()
        .copied()
        .collect();
    while let Some(address) = ahead.pop() {
        if !seen.insert(address) {
            continue;
        }
        match written.get(address) {
            Some(members) => ahead.extend(members.iter().rev()),
            None => found.push(address.clone()),
        }
    }
    found
}

/// The most urgent that mail may be: from 0, routine, to 9.
fn ceiling(entry: &mut Table<'_>) -> Priority {
    let level = entry
        .take("priority_ceiling")
        .and_then(|it| it.integer(0..10));
    level
        .and_then(|it| i8::try_from(it).ok())
        .and_then(Priority::new)
        .unwrap_or(Priority::HIGH)
}

/// By what gateways are put in order.
const fn in_order(gateway: &Gateway) -> (&String, &Source) {
    (&gateway.name, &gateway.source)
}
