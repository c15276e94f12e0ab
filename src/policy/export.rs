//! A routing table as TOML in canonical form: entries of keys, each with what it says.
//!
//! Comments stand where they stood; within a list they make it stand on lines of its own. The text is whole, passwords of next hops included, since it must read back to the same table. Beside
//! what is written there each value has a form that may be shown to anybody.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use crate::document::{self, quoted};
use crate::mail::{Priority, Timestamp};

use super::comments::{Comments, Note, Notes, Step, Way, all_but_last_paragraph, append};
use super::next_hop::NextHop;
use super::sources::Source;
use super::table::{
    AcceptsFrom, Gateway, Group, Redirect, Room, RoomScan, RoutingTable, Strictness,
};

/// What an entry of a table is, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Room,
    Group,
    Gateway,
    Redirect,
    /// No entry: what is said of the table as a whole.
    Table,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Room, Self::Group, Self::Gateway, Self::Redirect];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Group => "group",
            Self::Gateway => "gateway",
            Self::Redirect => "redirect",
            Self::Table => "table",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// One entry of a table. A gateway or a room's redirect may have several of one name.
#[derive(PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
    note: Note,
    /// Comments below its last line.
    tail: Vec<String>,
}

/// A key, and what it says, in TOML.
#[derive(PartialEq, Eq)]
pub(super) struct Key {
    part: Part,
    name: &'static str,
    pub(super) value: Written,
    note: Note,
    /// At the head before it, where there is one.
    head: Note,
    /// At each item of a list, and after the last; empty where there is nothing.
    items: Vec<Note>,
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

#[derive(PartialEq, Eq)]
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

impl Part {
    /// From an entry to the table that its keys stand in. `workstations`: how many there are before it.
    fn way(self, workstations: usize) -> Way {
        let key = |key| Step::Key(Cow::Borrowed(key));
        match self {
            Self::Entry => Vec::new(),
            Self::Workstation => vec![key("workstation"), Step::Item(workstations)],
            Self::Strictness => vec![key("strictness")],
            Self::Scan => vec![key("scan")],
        }
    }
}

impl Key {
    fn annotate(&mut self, way: &Way, notes: &mut Notes) {
        self.note = notes.inner.remove(way).unwrap_or_default();
        let Written::List(items) = &self.value else {
            return;
        };
        let inside = notes.take_items(way);
        match inside.len() == items.len() + 1 {
            true => self.items = inside,
            // Of items that are written no more.
            false => {
                let stray = inside.into_iter().flat_map(Note::into_lines);
                self.note.above.extend(stray);
            }
        }
        if self.items.iter().all(Note::is_empty) {
            self.items.clear();
        }
    }

    /// `name = value`; a list on several lines where there are comments in it.
    fn text(&self) -> String {
        let name = self.name;
        let items = match &self.value {
            Written::One(value) => return format!("{name} = {value}"),
            Written::List(items) => items.iter().map(|it| it.whole.as_str()),
        };
        if self.items.is_empty() {
            let items: Vec<&str> = items.collect();
            return format!("{name} = [{}]", items.join(", "));
        }
        let mut out = format!("{name} = [\n");
        for (item, note) in items.zip(&self.items) {
            commented(&mut out, "  ", note, &format!("{item},"));
        }
        if let Some(end) = self.items.last() {
            lines(&mut out, "  ", &end.above);
        }
        out.push(']');
        out
    }

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
    fn new(kind: Kind, name: String) -> Self {
        Self {
            kind,
            name,
            keys: Vec::new(),
            note: Note::default(),
            tail: Vec::new(),
        }
    }

    fn put(&mut self, part: Part, name: &'static str, value: Written) {
        self.keys.push(Key {
            part,
            name,
            value,
            note: Note::default(),
            head: Note::default(),
            items: Vec::new(),
        });
    }

    /// Every comment, a line each, in the order of an export.
    pub(super) fn comments(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter();
        let inner = keys.flat_map(|it| [&it.head, &it.note].into_iter().chain(&it.items));
        let notes = [&self.note].into_iter().chain(inner);
        let tail = self.tail.iter().map(String::as_str);
        notes.flat_map(Note::lines).chain(tail)
    }

    /// Puts comments where they belong. What belongs to nothing that is written stands above the entry.
    fn annotate(&mut self, mut notes: Notes) {
        let mut workstations = 0;
        let mut before = Part::Entry;
        for key in &mut self.keys {
            let has_head = key.part == Part::Workstation || key.part != before;
            before = key.part;
            let mut way = key.part.way(workstations);
            if has_head && !way.is_empty() {
                key.head = notes.inner.remove(&way).unwrap_or_default();
            }
            workstations += usize::from(key.part == Part::Workstation);
            way.push(Step::Key(Cow::Borrowed(key.name)));
            key.annotate(&way, &mut notes);
        }
        self.note = notes.own;
        self.tail = notes.tail;
        let stray = notes.inner.into_values().flat_map(Note::into_lines);
        self.note.above.extend(stray);
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let head = format!("[[{}]]", self.kind.word());
        commented(&mut out, "", &self.note, &head);
        let mut before = Part::Entry;
        for key in &self.keys {
            match key.part {
                Part::Workstation => commented(&mut out, "", &key.head, "[[room.workstation]]"),
                Part::Strictness if before != key.part => {
                    commented(&mut out, "", &key.head, "[room.strictness]");
                }
                Part::Scan if before != key.part => {
                    commented(&mut out, "", &key.head, "[room.scan]");
                }
                _ => (),
            }
            before = key.part;
            commented(&mut out, "", &key.note, &key.text());
        }
        lines(&mut out, "", &self.tail);
        out
    }
}

/// A line, or several, with comments.
fn commented(out: &mut String, indent: &str, note: &Note, text: &str) {
    lines(out, indent, &note.above);
    let _ = match &note.beside {
        Some(beside) => writeln!(out, "{indent}{text} {beside}"),
        None => writeln!(out, "{indent}{text}"),
    };
}

fn lines(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = match line.is_empty() {
            true => writeln!(out),
            false => writeln!(out, "{indent}{line}"),
        };
    }
}

pub fn table(table: &RoutingTable) -> String {
    let content = content(table);
    let mut out = String::new();
    lines(&mut out, "", &content.top);
    for entry in &content.entries {
        part(&mut out);
        out.push_str(&entry.text());
    }
    if !content.end.is_empty() {
        part(&mut out);
        lines(&mut out, "", &content.end);
    }
    out
}

/// An empty line, unless nothing stands before it.
fn part(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

/// Everything that an export has.
pub(super) struct Content {
    /// Comments on the table as a whole.
    top: Vec<String>,
    pub(super) entries: Vec<Entry>,
    end: Vec<String>,
}

impl Content {
    /// Whether both say the same of the table as a whole.
    pub(super) fn has_same_comments(&self, other: &Self) -> bool {
        self.top == other.top && self.end == other.end
    }
}

/// Rooms by id, groups by address, gateways by name, redirects by room; keys in one order.
pub(super) fn content(table: &RoutingTable) -> Content {
    let entries = table.rooms().map(room);
    let entries = entries.chain(table.groups().into_iter().map(group));
    let entries = entries.chain(table.gateways().map(gateway));
    let entries = entries.chain(table.redirects().map(redirect)).collect();
    let mut content = Content {
        top: table.comments.top.clone(),
        entries,
        end: table.comments.end.clone(),
    };
    content.annotate(&table.comments);
    content
}

impl Content {
    /// As it will be read again: what stands first in a file and is parted from the first entry is about all.
    fn annotate(&mut self, comments: &Comments) {
        if comments.has_entries() {
            let mut namesakes: HashMap<(Kind, String), usize> = HashMap::new();
            for entry in &mut self.entries {
                let before = namesakes
                    .entry((entry.kind, entry.name.clone()))
                    .or_default();
                if let Some(notes) = comments.of(entry.kind, &entry.name, *before) {
                    entry.annotate(notes.clone());
                }
                *before += 1;
            }
        }
        match self.entries.first_mut() {
            Some(first) => append(&mut self.top, all_but_last_paragraph(&mut first.note.above)),
            None => append(&mut self.top, std::mem::take(&mut self.end)),
        }
    }
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
        AcceptsFrom::Rooms(rooms) => list(rooms.listed().iter().map(ToString::to_string)),
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
    let (name, value) = source.entry();
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
pub(super) fn moment(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}
