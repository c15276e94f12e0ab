//! The keys that a room may have: one list, from which columns and what can be unset are made.
//!
//! What reads a room and what exports one name each key themselves, since each has its own type there; a test
//! keeps them in step with the list.

use super::strictness::Strictness;
use crate::mail::Rule;

/// What a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Flag,
    Number,
    /// Names, which no comma is part of.
    Names,
    /// What a comma or a space may be part of.
    Hops,
    AnyOrNames,
}

/// One key of a room; `strictness.missing_tls` is one of a table within.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub shape: Shape,
    /// No room is without it.
    pub is_required: bool,
}

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

/// In the order of an export.
pub fn of_room() -> Vec<Key> {
    let plain = [
        ("id", Shape::Text, REQUIRED),
        ("name", Shape::Text, REQUIRED),
        ("kind", Shape::Text, OPTIONAL),
        ("phone", Shape::Text, OPTIONAL),
        (DISABLED, Shape::Flag, OPTIONAL),
        ("domains", Shape::Names, REQUIRED),
        ("next_hops", Shape::Hops, REQUIRED),
        ("recipients", Shape::Names, OPTIONAL),
        ("accepts_from", Shape::AnyOrNames, OPTIONAL),
        ("warn_after", Shape::Text, OPTIONAL),
        ("give_up_after", Shape::Text, OPTIONAL),
        ("priority_ceiling", Shape::Number, OPTIONAL),
    ];
    let key = |name: String, shape, is_required| Key {
        name,
        shape,
        is_required,
    };
    let plain = plain.map(|(name, shape, is_required)| key(name.to_owned(), shape, is_required));
    let measures = Strictness::default().entries();
    let measures = measures.map(|(name, _)| format!("strictness.{name}"));
    let scan = of_scan().map(|name| format!("scan.{name}"));
    let tables = measures.into_iter().chain(scan);
    let tables = tables.map(|name| key(name, Shape::Text, OPTIONAL));
    plain.into_iter().chain(tables).collect()
}

/// Those of `scan`: what a room may say of the scan of its mail.
pub fn of_scan() -> impl Iterator<Item = &'static str> {
    let rules = Rule::ALL.iter().map(|rule| rule.word());
    ["on_failure"].into_iter().chain(rules)
}

/// A room is disabled and enabled, and neither set nor unset so.
const DISABLED: &str = "disabled";

/// What can be left out of a room: single keys, and whole tables within it.
pub fn unsettable() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let keys = of_room().into_iter();
    for Key { name, .. } in keys.filter(|it| !it.is_required && it.name != DISABLED) {
        if let Some((table, _)) = name.split_once('.')
            && !found.iter().any(|it| it == table)
        {
            found.push(table.to_owned());
        }
        found.push(name);
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::mail::RoomId;
    use crate::policy::table::{Room, RoutingTable};

    /// What a room says of this key, other than it would be unsaid.
    fn example(key: &Key) -> &'static str {
        match (key.name.as_str(), key.shape) {
            ("id", _) => "\"a\"",
            ("domains", _) => "[\"a.test\"]",
            ("kind", _) => "\"amk\"",
            ("warn_after" | "give_up_after", _) => "\"7m\"",
            ("priority_ceiling", _) => "2",
            ("accepts_from", _) => "[\"a\"]",
            ("scan.on_failure", _) => "\"reject\"",
            (_, Shape::Hops) => "[\"maildir:x\"]",
            (_, Shape::Names) => "[\"x\"]",
            (_, Shape::Flag) => "true",
            (name, _) if name.starts_with("strictness.") => "\"warn\"",
            (name, _) if name.starts_with("scan.") => "\"refuse\"",
            (_, Shape::Text) => "\"x\"",
            (name, _) => panic!("an example of {name}"),
        }
    }

    /// The keys that stand for each part of a room. One that is added has to be named here.
    fn said_by(room: &Room) -> [&'static str; 14] {
        let Room {
            id: _,
            name: _,
            kind: _,
            phone: _,
            is_disabled: _,
            domains: _,
            next_hops: _,
            recipients: _,
            accepts_from: _,
            warn_after: _,
            give_up_after: _,
            priority_ceiling: _,
            strictness: _,
            scan: _,
            workstations: _,
        } = room;
        [
            "id",
            "name",
            "kind",
            "phone",
            "disabled",
            "domains",
            "next_hops",
            "recipients",
            "accepts_from",
            "warn_after",
            "give_up_after",
            "priority_ceiling",
            "strictness",
            "scan",
        ]
    }

    fn exported(table: &RoutingTable) -> Vec<String> {
        let text = table.export();
        let mut within = String::new();
        let mut found = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("[room.") {
                within = name.replace(']', ".");
            } else if let Some((key, _)) = line.split_once(" = ") {
                found.push(format!("{within}{key}"));
            }
        }
        found
    }

    #[test]
    fn what_is_read_and_what_is_exported_are_the_keys_of_the_list_in_its_order() {
        let keys = of_room();
        let lines = keys
            .iter()
            .map(|it| format!("{} = {}\n", it.name, example(it)));
        let toml = ["[[room]]\n".to_owned()]
            .into_iter()
            .chain(lines)
            .collect::<String>();
        let (table, _) = RoutingTable::parse(&toml, 1).unwrap_or_else(|it| panic!("{it:?} {toml}"));
        let names: Vec<&str> = keys.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(exported(&table), names);
        let mut outer: Vec<&str> = names.iter().filter_map(|it| it.split('.').next()).collect();
        outer.dedup();
        let room = table.room(&RoomId::new("a")).unwrap();
        assert_eq!(outer, said_by(room));
    }

    #[test]
    fn a_room_is_read_without_any_key_that_is_not_required_and_with_none_that_is() {
        let keys = of_room();
        for left_out in &keys {
            let others = keys.iter().filter(|it| *it != left_out);
            let lines = others.map(|it| format!("{} = {}\n", it.name, example(it)));
            let toml = ["[[room]]\n".to_owned()]
                .into_iter()
                .chain(lines)
                .collect::<String>();
            let read = RoutingTable::parse(&toml, 1);
            assert_eq!(read.is_err(), left_out.is_required, "{}", left_out.name);
        }
    }
}
