//! A routing table as TOML in canonical form, and what differs between two tables.

use std::fmt::Write as _;

use crate::document::{self, quoted};
use crate::mail::{Priority, Timestamp};

use super::next_hop::NextHop;
use super::sources::Source;
use super::table::{
    AcceptsFrom, Gateway, Group, Redirect, Room, RoomScan, RoutingTable, Strictness,
};

/// As many names as a summary lists of one kind of change.
const NAMES: usize = 8;

/// Rooms by id, groups by address, gateways by name, redirects by room; keys in one order.
pub fn table(table: &RoutingTable) -> String {
    let entries = table.rooms().map(room);
    let entries = entries.chain(table.groups().into_iter().map(group));
    let entries = entries.chain(table.gateways().map(gateway));
    let entries = entries.chain(table.redirects().map(redirect));
    entries.collect::<Vec<_>>().join("\n")
}

fn room(room: &Room) -> String {
    let mut out = "[[room]]\n".to_owned();
    line(&mut out, "id", &quoted(room.id.as_str()));
    line(&mut out, "name", &quoted(&room.name));
    line(&mut out, "kind", &quoted(room.kind.word()));
    if let Some(phone) = &room.phone {
        line(&mut out, "phone", &quoted(phone));
    }
    line(
        &mut out,
        "domains",
        &list(room.domains.iter().map(|it| it.unicode())),
    );
    line(
        &mut out,
        "next_hops",
        &list(room.next_hops.iter().map(NextHop::url)),
    );
    if let Some(mailboxes) = &room.recipients {
        let names = mailboxes
            .listed()
            .iter()
            .map(|it| it.written_local().into_owned());
        line(&mut out, "recipients", &list(names));
    }
    let accepts_from = match &room.accepts_from {
        AcceptsFrom::Any => quoted("any"),
        AcceptsFrom::Rooms(rooms) => list(rooms.iter().map(ToString::to_string)),
    };
    line(&mut out, "accepts_from", &accepts_from);
    for (key, time) in [
        ("warn_after", room.warn_after),
        ("give_up_after", room.give_up_after),
    ] {
        if let Some(time) = time {
            line(&mut out, key, &quoted(&document::length(time)));
        }
    }
    ceiling(&mut out, room.priority_ceiling);
    strictness(&mut out, &room.strictness);
    scan(&mut out, &room.scan);
    for workstation in &room.workstations {
        out.push_str("[[room.workstation]]\n");
        source(&mut out, workstation);
    }
    out
}

fn group(group: &Group) -> String {
    let mut out = "[[group]]\n".to_owned();
    line(&mut out, "address", &quoted(&group.address.to_string()));
    line(
        &mut out,
        "members",
        &list(group.members.iter().map(ToString::to_string)),
    );
    out
}

fn gateway(gateway: &Gateway) -> String {
    let mut out = "[[gateway]]\n".to_owned();
    line(&mut out, "name", &quoted(&gateway.name));
    ceiling(&mut out, gateway.priority_ceiling);
    source(&mut out, &gateway.source);
    out
}

fn redirect(redirect: &Redirect) -> String {
    let mut out = "[[redirect]]\n".to_owned();
    line(&mut out, "room", &quoted(redirect.room.as_str()));
    line(&mut out, "to", &quoted(redirect.to.as_str()));
    for (key, at) in [("from", redirect.from), ("until", redirect.until)] {
        if let Some(at) = at {
            line(&mut out, key, &moment(at));
        }
    }
    if let Some(reason) = &redirect.reason {
        line(&mut out, "reason", &quoted(reason));
    }
    out
}

fn source(out: &mut String, source: &Source) {
    match source {
        Source::Network(network) => line(out, "network", &quoted(&network.to_string())),
        Source::Certificate(name) => line(out, "certificate", &quoted(name)),
        Source::User(name) => line(out, "user", &quoted(name)),
    }
}

/// Left out where it is what it would be unsaid.
fn ceiling(out: &mut String, ceiling: Priority) {
    if ceiling != Priority::HIGH {
        line(out, "priority_ceiling", &ceiling.to_string());
    }
}

/// Only what is not as it would be unsaid.
fn strictness(out: &mut String, strictness: &Strictness) {
    let unsaid = Strictness::default().entries();
    let said = strictness.entries().into_iter().zip(unsaid);
    let said: Vec<_> = said.filter(|(own, unsaid)| own != unsaid).collect();
    if !said.is_empty() {
        out.push_str("[room.strictness]\n");
    }
    for ((key, measure), _) in said {
        line(out, key, &quoted(measure.word()));
    }
}

/// Only what is said.
fn scan(out: &mut String, scan: &RoomScan) {
    if *scan != RoomScan::default() {
        out.push_str("[room.scan]\n");
    }
    if let Some(on_failure) = scan.on_failure {
        line(out, "on_failure", &quoted(on_failure.word()));
    }
    for (rule, action) in scan.actions.entries() {
        line(out, rule.word(), &quoted(action.word()));
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {value}");
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|it| quoted(&it)).collect();
    format!("[{}]", items.join(", "))
}

/// Whole seconds without a fraction, as people write them.
fn moment(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}

pub fn summary(after: &RoutingTable, before: Option<&RoutingTable>) -> String {
    let Some(before) = before else {
        return first(after);
    };
    let mut parts = Vec::new();
    for (what, old, new) in [
        ("room", rooms(before), rooms(after)),
        ("group", groups(before), groups(after)),
        ("gateway", gateways(before), gateways(after)),
        ("redirect", redirects(before), redirects(after)),
    ] {
        parts.extend(differences(what, &old, &new));
    }
    if parts.is_empty() {
        "nothing changed".to_owned()
    } else {
        parts.join(", ")
    }
}

fn first(table: &RoutingTable) -> String {
    let counts = [
        counted(table.rooms().count(), "room"),
        counted(table.groups().len(), "group"),
        counted(table.gateways().count(), "gateway"),
        counted(table.redirects().count(), "redirect"),
    ];
    format!("the first table: {}", counts.join(", "))
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The name of an entry, and the entry as it is exported.
type Entry = (String, String);

fn rooms(table: &RoutingTable) -> Vec<Entry> {
    table
        .rooms()
        .map(|it| (it.id.to_string(), room(it)))
        .collect()
}

fn groups(table: &RoutingTable) -> Vec<Entry> {
    let groups = table.groups().into_iter();
    groups
        .map(|it| (it.address.to_string(), group(it)))
        .collect()
}

fn gateways(table: &RoutingTable) -> Vec<Entry> {
    joined(table.gateways().map(|it| (it.name.clone(), gateway(it))))
}

fn redirects(table: &RoutingTable) -> Vec<Entry> {
    joined(
        table
            .redirects()
            .map(|it| (it.room.to_string(), redirect(it))),
    )
}

/// Entries of one name, which stand together, as one.
fn joined(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::new();
    for (name, text) in entries {
        match out.last_mut() {
            Some((last, whole)) if *last == name => whole.push_str(&text),
            _ => out.push((name, text)),
        }
    }
    out
}

/// Both sides are sorted by name.
fn differences(what: &str, old: &[Entry], new: &[Entry]) -> Vec<String> {
    let find = |entries: &[Entry], name: &str| {
        let place = entries.binary_search_by(|(it, _)| it.as_str().cmp(name));
        place
            .ok()
            .and_then(|at| entries.get(at).map(|(_, text)| text.clone()))
    };
    let names = |entries: &[Entry], wanted: &dyn Fn(&Entry) -> bool| -> Vec<String> {
        let chosen = entries.iter().filter(|it| wanted(it));
        chosen.map(|(name, _)| name.clone()).collect()
    };
    let added = names(new, &|(name, _)| find(old, name).is_none());
    let removed = names(old, &|(name, _)| find(new, name).is_none());
    let changed = names(new, &|(name, text)| {
        find(old, name).is_some_and(|before| before != *text)
    });
    [("added", added), ("removed", removed), ("changed", changed)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(verb, names)| format!("{} {verb} ({})", counted(names.len(), what), few(&names)))
        .collect()
}

fn few(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(NAMES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES {
        let _ = write!(text, " and {} more", names.len() - NAMES);
    }
    text
}
