//! Edits of a room: its keys, whether it is disabled, its workstations, and that it is there at all.

use std::collections::HashSet;

use crate::mail::{Domain, RoomId};
use crate::policy::edit::{Draft, Said, source};
use crate::policy::table::{RoutingTable, Source};

use super::{Keys, Unfit, Workstation, mentions, near, no_room, room_of};

pub(super) fn add(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    keys: &Keys,
    workstations: &[Workstation],
) -> Result<(), Unfit> {
    if table.room(id).is_some() {
        return Err(Unfit::RoomExists(id.clone()));
    }
    refuse_taken(table, id, keys)?;
    let mut room = draft.add_room(id).ok_or(Unfit::Unusual("room"))?;
    keys.iter().for_each(|(key, said)| room.set(key, said));
    for (key, name) in workstations {
        room.add_workstation(key, name);
    }
    Ok(())
}

pub(super) fn set(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    keys: &Keys,
    unset: &[String],
) -> Result<(), Unfit> {
    let mut room = room_of(draft, table, id)?;
    refuse_taken(table, id, keys)?;
    refuse_set_and_unset(keys, unset)?;
    keys.iter().for_each(|(key, said)| room.set(key, said));
    for key in unset {
        room.unset(key);
    }
    Ok(())
}

pub(super) fn disable(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    is_disabled: bool,
) -> Result<(), Unfit> {
    let mut room = room_of(draft, table, id)?;
    if is_disabled {
        room.set("disabled", &Said::Flag(true));
    } else {
        room.unset("disabled");
    }
    Ok(())
}

pub(super) fn remove(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    with_mentions: bool,
) -> Result<(), Unfit> {
    let room = table.room(id).ok_or_else(|| no_room(table, id))?;
    let found = mentions::of_room(table, room);
    if with_mentions {
        mentions::take_out_room(draft, room);
    } else if !found.is_empty() {
        return Err(Unfit::Mentioned(format!("room \"{id}\""), found));
    }
    draft.remove_room(id);
    Ok(())
}

pub(super) fn refuse_set_and_unset(keys: &Keys, unset: &[String]) -> Result<(), Unfit> {
    let is_set = |it: &String| {
        keys.iter().any(|(key, _)| {
            let rest = key.strip_prefix(it.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    match unset.iter().find(|it| is_set(it)) {
        Some(both) => Err(Unfit::SetAndUnset(both.clone())),
        None => Ok(()),
    }
}

/// A domain belongs to one room only; the table's own words for it name a line.
fn refuse_taken(table: &RoutingTable, id: &RoomId, keys: &Keys) -> Result<(), Unfit> {
    let domains = keys.iter().filter(|(key, _)| *key == "domains");
    for (_, said) in domains {
        let Said::List(domains) = said else {
            continue;
        };
        let mut given = HashSet::new();
        for domain in domains {
            let parsed = Domain::parse(domain).ok();
            let owner = parsed.as_ref().and_then(|it| table.room_of(it));
            if parsed.is_some_and(|it| !given.insert(it)) {
                return Err(Unfit::Twice(domain.clone()));
            }
            if let Some(other) = owner.filter(|it| it.id != *id) {
                return Err(Unfit::Taken(domain.clone(), other.id.clone()));
            }
        }
    }
    Ok(())
}

pub(super) fn add_workstations(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    workstations: &[Workstation],
) -> Result<(), Unfit> {
    let mut entry = room_of(draft, table, id)?;
    let room = table.room(id).ok_or_else(|| no_room(table, id))?;
    for (key, name) in workstations {
        let is_there = |it: Source| room.workstations.contains(&it);
        if !source(key, name).is_ok_and(is_there) {
            entry.add_workstation(key, name);
        }
    }
    Ok(())
}

pub(super) fn remove_workstations(
    draft: &mut Draft,
    table: &RoutingTable,
    id: &RoomId,
    workstations: &[Workstation],
) -> Result<(), Unfit> {
    let room = table.room(id).ok_or_else(|| no_room(table, id))?;
    let known: Vec<String> = room.workstations.iter().map(ToString::to_string).collect();
    for workstation in workstations {
        if !is_taken_out(draft, id, workstation) {
            let shown = shown(workstation);
            let near = near(&shown, &known);
            return Err(Unfit::NoWorkstation(id.clone(), shown, near));
        }
    }
    Ok(())
}

fn is_taken_out(draft: &mut Draft, room: &RoomId, (key, name): &Workstation) -> bool {
    let Ok(meant) = source(key, name) else {
        return false;
    };
    let is_meant = |key: &str, name: &str| source(key, name).is_ok_and(|it| it == meant);
    draft.remove_workstations(room, is_meant) > 0
}

/// As the table's lines are told.
fn shown((key, name): &Workstation) -> String {
    source(key, name).map_or_else(|_| format!("{key} {name:?}"), |it| it.to_string())
}
