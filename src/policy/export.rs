//! A routing table as TOML in canonical form: entries of keys, each with what it says.
//!
//! The text is whole, passwords of next hops included, since it must read back to the same table. Beside
//! what is written there each value has a form that may be shown to anybody.

use std::fmt::Write as _;

use crate::document::{self, quoted};
use crate::mail::{Priority, Timestamp};

use super::next_hop::NextHop;
use super::sources::Source;
use super::table::{
    AcceptsFrom, Gateway, Group, Redirect, Room, RoomScan, RoutingTable, Strictness,
};

/// What an entry of a table is, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Room,
    Group,
    Gateway,
    Redirect,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Room, Self::Group, Self::Gateway, Self::Redirect];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Group => "group",
            Self::Gateway => "gateway",
            Self::Redirect => "redirect",
        }
    }
}

/// One entry of a table. A gateway or a room's redirect may have several of one name.
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
}

/// A key, and what it says, in TOML.
pub(super) struct Key {
    part: Part,
    name: &'static str,
    pub(super) value: Written,
}

/// The part of an entry that a key stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Entry,
    /// Each has a head of its own.
    Workstation,
    Strictness,
    Scan,
}

pub(super) enum Written {
    One(String),
    List(Vec<Item>),
}

/// One of a list.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// As it is exported.
    pub(super) whole: String,
    /// The same without a password.
    pub(super) shown: String,
}

impl Key {
    /// As it is called where the whole entry is meant: `strictness.missing_tls`.
    pub(super) fn path(&self) -> String {
        match self.part {
            Part::Entry => self.name.to_owned(),
            Part::Workstation => "workstation".to_owned(),
            Part::Strictness => format!("strictness.{}", self.name),
            Part::Scan => format!("scan.{}", self.name),
        }
    }

    /// What it says, as items: workstations are told apart by their keys.
    pub(super) fn items(&self) -> Vec<Item> {
        match &self.value {
            Written::List(items) => items.clone(),
            Written::One(value) if self.part == Part::Workstation => {
                vec![Item::plain(format!("{} {value}", self.name))]
            }
            Written::One(value) => vec![Item::plain(value.clone())],
        }
    }

    /// Whether more than one may stand in its place.
    pub(super) const fn is_list(&self) -> bool {
        matches!(self.part, Part::Workstation) || matches!(self.value, Written::List(_))
    }
}

impl Item {
    pub(super) fn plain(text: String) -> Self {
        Self {
            shown: text.clone(),
            whole: text,
        }
    }

    fn hop(hop: &NextHop) -> Self {
        Self {
            whole: quoted(&hop.url()),
            shown: quoted(&hop.to_string()),
        }
    }
}

impl Entry {
    const fn new(kind: Kind, name: String) -> Self {
        Self {
            kind,
            name,
            keys: Vec::new(),
        }
    }

    fn put(&mut self, part: Part, name: &'static str, value: Written) {
        self.keys.push(Key { part, name, value });
    }

    fn text(&self) -> String {
        let mut out = format!("[[{}]]\n", self.kind.word());
        let mut before = Part::Entry;
        for key in &self.keys {
            match key.part {
                Part::Workstation => out.push_str("[[room.workstation]]\n"),
                Part::Strictness if before != key.part => out.push_str("[room.strictness]\n"),
                Part::Scan if before != key.part => out.push_str("[room.scan]\n"),
                _ => (),
            }
            before = key.part;
            let _ = match &key.value {
                Written::One(value) => writeln!(out, "{} = {value}", key.name),
                Written::List(items) => {
                    let items: Vec<&str> = items.iter().map(|it| it.whole.as_str()).collect();
                    writeln!(out, "{} = [{}]", key.name, items.join(", "))
                }
            };
        }
        out
    }
}

pub fn table(table: &RoutingTable) -> String {
    let entries = entries(table);
    let entries: Vec<String> = entries.iter().map(Entry::text).collect();
    entries.join("\n")
}

/// Rooms by id, groups by address, gateways by name, redirects by room; keys in one order.
pub(super) fn entries(table: &RoutingTable) -> Vec<Entry> {
    let entries = table.rooms().map(room);
    let entries = entries.chain(table.groups().into_iter().map(group));
    let entries = entries.chain(table.gateways().map(gateway));
    entries.chain(table.redirects().map(redirect)).collect()
}

fn room(room: &Room) -> Entry {
    let mut out = Entry::new(Kind::Room, room.id.to_string());
    line(&mut out, "id", one(quoted(room.id.as_str())));
    line(&mut out, "name", one(quoted(&room.name)));
    line(&mut out, "kind", one(quoted(room.kind.word())));
    if let Some(phone) = &room.phone {
        line(&mut out, "phone", one(quoted(phone)));
    }
    if room.is_disabled {
        line(&mut out, "disabled", one("true".to_owned()));
    }
    let domains = room.domains.iter().map(|it| it.unicode());
    line(&mut out, "domains", list(domains));
    let next_hops = room.next_hops.iter().map(Item::hop);
    out.put(Part::Entry, "next_hops", Written::List(next_hops.collect()));
    if let Some(mailboxes) = &room.recipients {
        let names = mailboxes
            .listed()
            .iter()
            .map(|it| it.written_local().into_owned());
        line(&mut out, "recipients", list(names));
    }
    let accepts_from = match &room.accepts_from {
        AcceptsFrom::Any => one(quoted("any")),
        AcceptsFrom::Rooms(rooms) => list(rooms.iter().map(ToString::to_string)),
    };
    line(&mut out, "accepts_from", accepts_from);
    for (key, time) in [
        ("warn_after", room.warn_after),
        ("give_up_after", room.give_up_after),
    ] {
        if let Some(time) = time {
            line(&mut out, key, one(quoted(&document::length(time))));
        }
    }
    ceiling(&mut out, room.priority_ceiling);
    strictness(&mut out, &room.strictness);
    scan(&mut out, &room.scan);
    for workstation in &room.workstations {
        source(&mut out, Part::Workstation, workstation);
    }
    out
}

fn group(group: &Group) -> Entry {
    let mut out = Entry::new(Kind::Group, group.address.to_string());
    line(&mut out, "address", one(quoted(&group.address.to_string())));
    let members = group.members.iter().map(ToString::to_string);
    line(&mut out, "members", list(members));
    out
}

fn gateway(gateway: &Gateway) -> Entry {
    let mut out = Entry::new(Kind::Gateway, gateway.name.clone());
    line(&mut out, "name", one(quoted(&gateway.name)));
    ceiling(&mut out, gateway.priority_ceiling);
    source(&mut out, Part::Entry, &gateway.source);
    out
}

fn redirect(redirect: &Redirect) -> Entry {
    let mut out = Entry::new(Kind::Redirect, redirect.room.to_string());
    line(&mut out, "room", one(quoted(redirect.room.as_str())));
    line(&mut out, "to", one(quoted(redirect.to.as_str())));
    for (key, at) in [("from", redirect.from), ("until", redirect.until)] {
        if let Some(at) = at {
            line(&mut out, key, one(moment(at)));
        }
    }
    if let Some(reason) = &redirect.reason {
        line(&mut out, "reason", one(quoted(reason)));
    }
    out
}

fn source(out: &mut Entry, part: Part, source: &Source) {
    let (name, value) = match source {
        Source::Network(network) => ("network", network.to_string()),
        Source::Certificate(name) => ("certificate", name.clone()),
        Source::User(name) => ("user", name.clone()),
    };
    out.put(part, name, one(quoted(&value)));
}

/// Left out where it is what it would be unsaid.
fn ceiling(out: &mut Entry, ceiling: Priority) {
    if ceiling != Priority::HIGH {
        line(out, "priority_ceiling", one(ceiling.to_string()));
    }
}

/// Only what is not as it would be unsaid.
fn strictness(out: &mut Entry, strictness: &Strictness) {
    let unsaid = Strictness::default().entries();
    let said = strictness.entries().into_iter().zip(unsaid);
    for ((key, measure), _) in said.filter(|(own, unsaid)| own != unsaid) {
        out.put(Part::Strictness, key, one(quoted(measure.word())));
    }
}

/// Only what is said.
fn scan(out: &mut Entry, scan: &RoomScan) {
    if let Some(on_failure) = scan.on_failure {
        out.put(Part::Scan, "on_failure", one(quoted(on_failure.word())));
    }
    for (rule, action) in scan.actions.entries() {
        out.put(Part::Scan, rule.word(), one(quoted(action.word())));
    }
}

fn line(out: &mut Entry, name: &'static str, value: Written) {
    out.put(Part::Entry, name, value);
}

const fn one(value: String) -> Written {
    Written::One(value)
}

fn list(items: impl Iterator<Item = String>) -> Written {
    Written::List(items.map(|it| Item::plain(quoted(&it))).collect())
}

/// Whole seconds without a fraction, as people write them.
fn moment(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}
