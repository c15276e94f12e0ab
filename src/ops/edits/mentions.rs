//! What still mentions a room or a group that is to go.

use std::fmt;

use crate::mail::{Address, RoomId};
use crate::policy::edit::{Draft, Entry, Said};
use crate::policy::table::{AcceptsFrom, Redirect, Room, RoutingTable};

/// An entry that mentions something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mention {
    /// A group and its member.
    Member(Address, Address),
    AcceptsFrom(RoomId),
    Redirect(Redirect),
}

impl fmt::Display for Mention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(group, member) => write!(f, "group {group} has the member {member}"),
            Self::AcceptsFrom(room) => write!(f, "room \"{room}\" has it in accepts_from"),
            Self::Redirect(redirect) => redirect.fmt(f),
        }
    }
}

pub(super) fn of_room(table: &RoutingTable, room: &Room) -> Vec<Mention> {
    let members = members(table, |it| is_in(room, it));
    let lists = table
        .rooms()
        .filter(|other| other.id != room.id && names(&other.accepts_from, &room.id))
        .map(|other| Mention::AcceptsFrom(other.id.clone()));
    let redirects = table
        .redirects()
        .filter(|it| it.room == room.id || it.to == room.id)
        .map(|it| Mention::Redirect(it.clone()));
    members.into_iter().chain(lists).chain(redirects).collect()
}

/// The groups that have this one as a member.
pub(super) fn of_group(table: &RoutingTable, address: &Address) -> Vec<Mention> {
    members(table, |it| it == address)
}

fn members(table: &RoutingTable, is_meant: impl Fn(&Address) -> bool) -> Vec<Mention> {
    let mut found = Vec::new();
    for group in table.groups() {
        let members = group.members.iter().filter(|it| is_meant(it));
        found.extend(members.map(|it| Mention::Member(group.address.clone(), it.clone())));
    }
    found
}

fn is_in(room: &Room, address: &Address) -> bool {
    room.domains.contains(address.domain())
}

fn names(list: &AcceptsFrom, id: &RoomId) -> bool {
    matches!(list, AcceptsFrom::Rooms(rooms) if rooms.contain(id))
}

pub(super) fn take_out_room(draft: &mut Draft, room: &Room) {
    take_out_members(draft, |it| is_in(room, it));
    for mut other in draft.rooms() {
        keep(&mut other, "accepts_from", |it| it != room.id.as_str());
    }
    draft.remove_redirects_with(&room.id);
}

pub(super) fn take_out_members(draft: &mut Draft, is_meant: impl Fn(&Address) -> bool) {
    for mut group in draft.groups() {
        keep(&mut group, "members", |it| {
            !Address::parse(it).is_ok_and(|it| is_meant(&it))
        });
    }
}

/// Leaves in a list what is to stay.
pub(super) fn keep(entry: &mut Entry<'_>, key: &str, stays: impl Fn(&str) -> bool) {
    let Some(mut items) = entry.list(key) else {
        return;
    };
    let before = items.len();
    items.retain(|it| stays(it));
    if items.len() < before {
        entry.set(key, &Said::List(items));
    }
}
