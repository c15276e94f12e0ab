//! Rooms and workstations as lists: rows of a spreadsheet into the text of a routing table, and back.
//!
//! A row changes the room that it names, or makes it; a column that is not there changes nothing, nor does a
//! cell that is not there, and an empty cell takes the key out. Whether the table is sound then is asked of the table itself
//! (`RoutingTable::parse`); what that finds is told by the row and the column. Pure: nothing is put in force.
//! Every mistake of a list is told at once.

use std::collections::{HashMap, HashSet};

use crate::document::{Fault, quoted};
use crate::mail::RoomId;
use crate::nearest::nearest;
use crate::spreadsheet::{Row, Sheet};

use super::edit::{self, Draft, Entry, Place, PlaceByLine, Said};
use super::keys::{self, Key, Shape};
use super::next_hop::SCHEMES;
use super::table::{NextHop, RoutingTable, Source};

/// Between the items of one cell, as an export writes them.
const BETWEEN: &str = " | ";
/// A list without items; an empty cell says nothing.
const NO_ITEM: &str = "[]";
const ANY: &str = "any";
const ID: &str = "id";
const ROOM: &str = "room";

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Rooms,
    Workstations,
}

/// Those without which an export would say nothing of a room.
const ALWAYS: [&str; 8] = [
    ID,
    "name",
    "kind",
    "phone",
    "domains",
    "next_hops",
    "recipients",
    "accepts_from",
];

const SOURCES: [&str; 3] = ["network", "certificate", "user"];

/// Heads and rows.
pub type Exported = (Vec<String>, Vec<Vec<String>>);

/// The rooms or workstations of a table; `toml` is its export.
pub fn export(list: List, table: &RoutingTable, toml: &str) -> Result<Exported, Vec<Fault>> {
    match list {
        List::Rooms => export_rooms(toml),
        List::Workstations => Ok(export_workstations(table)),
    }
}

fn export_rooms(toml: &str) -> Result<Exported, Vec<Fault>> {
    let mut draft = Draft::of(toml)?;
    let columns = keys::of_room();
    let row = |room: Entry<'_>| -> Vec<String> {
        let cell = |it: &Key| cell(&room, &it.name, it.shape);
        columns.iter().map(cell).collect()
    };
    let rows: Vec<Vec<String>> = draft.rooms().map(row).collect();
    let is_said = |at: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(at));
        cells.any(|cell| !cell.is_empty())
    };
    let kept: Vec<usize> = (0..)
        .zip(&columns)
        .filter(|(at, key)| ALWAYS.contains(&key.name.as_str()) || is_said(*at))
        .map(|(at, _)| at)
        .collect();
    let heads = columns.iter().map(|it| it.name.clone()).collect();
    let of_kept = |all: Vec<String>| -> Vec<String> {
        let kept = kept.iter().filter_map(|at| all.get(*at).cloned());
        kept.collect()
    };
    Ok((of_kept(heads), rows.into_iter().map(of_kept).collect()))
}

fn cell(room: &Entry<'_>, key: &str, shape: Shape) -> String {
    match room.said(key) {
        None => String::new(),
        Some(Said::List(items)) if items.is_empty() => NO_ITEM.to_owned(),
        Some(Said::List(items)) => items.join(BETWEEN),
        Some(Said::Flag(flag)) => flag.to_string(),
        Some(Said::Number(number)) => number.to_string(),
        Some(Said::Text(text)) if shape == Shape::Text && text.is_empty() => quoted(""),
        Some(Said::Text(text)) => text,
        Some(Said::Moment(_)) => String::new(),
    }
}

fn export_workstations(table: &RoutingTable) -> Exported {
    let row = |room: &RoomId, source: &Source| {
        let (key, name) = source.entry();
        let cell = |it: &str| {
            if it == key {
                name.clone()
            } else {
                String::new()
            }
        };
        let sources = SOURCES.map(cell);
        let room = std::iter::once(room.to_string());
        room.chain(sources).collect::<Vec<_>>()
    };
    let rows = table.rooms().flat_map(|room| {
        let sources = room.workstations.iter();
        sources.map(move |source| row(&room.id, source))
    });
    let heads = std::iter::once(ROOM).chain(SOURCES);
    (heads.map(str::to_owned).collect(), rows.collect())
}

/// A list that is to become part of a table.
#[derive(Debug, Clone)]
pub struct Import {
    pub list: List,
    /// What it came from, as the person who has it calls it.
    pub file: String,
    pub sheet: Sheet,
    /// Columns that are none of ours.
    pub ignored: Vec<String>,
    /// What is not in the list is taken out of the table.
    pub is_whole: bool,
}

impl Import {
    /// Makes the list part of the text of `table`.
    pub fn write(&self, draft: &mut Draft, table: &RoutingTable) -> Result<(), Vec<Fault>> {
        let faults = match self.list {
            _ if self.is_whole && self.sheet.rows.is_empty() => vec![self.nothing_left()],
            List::Rooms => self.rooms(draft),
            List::Workstations => self.workstations(draft, table),
        };
        let of_file = |it: Fault| Fault {
            text: self.of_file(&it.text),
            ..it
        };
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.into_iter().map(of_file).collect()),
        }
    }

    fn of_file(&self, text: &str) -> String {
        format!("{}: {text}", self.file)
    }

    /// Why a list without rows takes the place of nothing: it is rather the wrong file.
    fn nothing_left(&self) -> Fault {
        let what = match self.list {
            List::Rooms => "room",
            List::Workstations => "workstation",
        };
        let text = format!(
            "row 1: no row follows, and with --replace that would take out every {what}; leave out --replace"
        );
        Fault { line: None, text }
    }

    /// What the table says of its text, told by rows and columns.
    pub fn tell(&self, toml: &str, faults: Vec<Fault>) -> Vec<Fault> {
        let places = PlaceByLine::of(toml);
        let tell = |fault: Fault| {
            let place = fault.line.and_then(|line| places.at(line));
            let of_row = place.and_then(|it| self.row_of(it));
            let key = place.and_then(|it| it.key.as_deref());
            let told = without_line(&fault.text, key.unwrap_or_default());
            let text = match (of_row, place) {
                (Some(of_row), _) => self.of_file(&format!("{of_row}: {told}")),
                (None, Some(place)) if !place.is_named_in(&told) => {
                    format!("{} {}: {told}", place.kind, place.name)
                }
                (None, _) => told,
            };
            Fault { line: None, text }
        };
        faults.into_iter().map(tell).collect()
    }

    /// `row 4 (amk-oslo), column domains`, where this is what a row says.
    fn row_of(&self, place: &Place) -> Option<String> {
        if place.kind != ROOM {
            return None;
        }
        let workstation = place.workstation.as_deref();
        let (head, key) = match self.list {
            List::Rooms if workstation.is_none() => (ID, place.key.as_deref()),
            List::Workstations if workstation.is_some() => (ROOM, place.key.as_deref()),
            _ => return None,
        };
        let names = self.column(head)?;
        let at = key.and_then(|key| self.column(key));
        let is_it = |row: &&Row| {
            let cell = |at: usize| row.cells.get(at).map(String::as_str);
            let is_said = workstation.is_none_or(|it| at.and_then(cell) == Some(it));
            cell(names) == Some(place.name.as_str()) && is_said
        };
        let row = self.sheet.rows.iter().find(is_it)?;
        let column = key.filter(|_| at.is_some());
        let column = column.map_or_else(String::new, |key| format!(", column {key}"));
        Some(format!("row {} ({}){column}", row.number, place.name))
    }

    fn column(&self, key: &str) -> Option<usize> {
        let heads = &self.sheet.heads;
        heads.iter().position(|head| head.eq_ignore_ascii_case(key))
    }

    /// Where the columns are that are known, and what is wrong with the heads.
    fn columns<S: Copy>(&self, known: &[(String, S)]) -> (Vec<(usize, String, S)>, Vec<Fault>) {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (at, head) in self.sheet.heads.iter().enumerate() {
            let ignored = |it: &String| it.eq_ignore_ascii_case(head);
            if self.ignored.iter().any(ignored) {
                continue;
            }
            let key = head.to_lowercase();
            match known.iter().find(|(name, _)| *name == key) {
                _ if !seen.insert(key.clone()) => faults.push(twice(head)),
                Some((name, shape)) => found.push((at, name.clone(), *shape)),
                None => faults.push(unknown(head, known.iter().map(|(name, _)| name.as_str()))),
            }
        }
        for column in &self.ignored {
            if self.column(column).is_none() {
                let text = format!("there is no column {column:?} to ignore");
                faults.push(Fault { line: None, text });
            }
        }
        (found, faults)
    }

    fn rooms(&self, draft: &mut Draft) -> Vec<Fault> {
        let known = keys::of_room().into_iter();
        let known: Vec<(String, Shape)> = known.map(|it| (it.name, it.shape)).collect();
        let (columns, mut faults) = self.columns(&known);
        let Some(ids) = self.column(ID) else {
            faults.push(missing(ID));
            return faults;
        };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for row in &self.sheet.rows {
            let id = row.cells.get(ids).map_or("", String::as_str);
            if id.is_empty() {
                faults.push(of_row(row, "write the id of the room"));
            } else if let Some(first) = seen.insert(id, row.number) {
                let text = format!("room {id:?} is in row {first} already");
                faults.push(of_row(row, &text));
            } else {
                faults.extend(room(draft, row, &RoomId::new(id), &columns));
            }
        }
        if self.is_whole {
            let is_listed = |id: &str| seen.contains_key(id);
            let others = draft
                .rooms()
                .filter_map(|it| it.text(ID).map(str::to_owned));
            let others: Vec<String> = others.filter(|id| !is_listed(id)).collect();
            for id in others {
                draft.remove_room(&RoomId::new(&id));
            }
        }
        faults
    }

    fn workstations(&self, draft: &mut Draft, table: &RoutingTable) -> Vec<Fault> {
        let known = std::iter::once(ROOM).chain(SOURCES);
        let known: Vec<(String, ())> = known.map(|it| (it.to_owned(), ())).collect();
        let (columns, mut faults) = self.columns(&known);
        if self.column(ROOM).is_none() {
            faults.push(missing(ROOM));
        }
        if !columns.iter().any(|(_, key, ())| key != ROOM) {
            let text = format!("row 1: there has to be a column {}", SOURCES.join(" or "));
            faults.push(Fault { line: None, text });
        }
        if !faults.is_empty() {
            return faults;
        }
        let mut listed = HashSet::new();
        for row in &self.sheet.rows {
            match workstation(row, &columns, table) {
                Ok(it) => drop(listed.insert(it)),
                Err(text) => faults.push(of_row(row, &text)),
            }
        }
        self.put_workstations(draft, table, &listed);
        faults
    }

    fn put_workstations(
        &self,
        draft: &mut Draft,
        table: &RoutingTable,
        listed: &HashSet<(RoomId, Source)>,
    ) {
        for room in table.rooms().filter(|_| self.is_whole) {
            let is_listed = |source: &Source| listed.contains(&(room.id.clone(), source.clone()));
            draft.remove_workstations(&room.id, |key, name| {
                edit::source(key, name).is_ok_and(|it| !is_listed(&it))
            });
        }
        let mut new: Vec<_> = listed.iter().filter(|it| !is_there(it, table)).collect();
        new.sort();
        for (id, source) in new {
            let (key, name) = source.entry();
            if let Some(mut entry) = draft.room_mut(id) {
                entry.add_workstation(key, &name);
            }
        }
    }
}

fn is_there((id, source): &(RoomId, Source), table: &RoutingTable) -> bool {
    let room = table.room(id);
    room.is_some_and(|it| it.workstations.contains(source))
}

fn room(
    draft: &mut Draft,
    row: &Row,
    id: &RoomId,
    columns: &[(usize, String, Shape)],
) -> Vec<Fault> {
    if draft.room_mut(id).is_none() {
        draft.add_room(id);
    }
    let Some(mut entry) = draft.room_mut(id) else {
        return vec![of_row(
            row,
            "the table does not write each room as [[room]]",
        )];
    };
    let mut faults = Vec::new();
    for (at, key, shape) in columns {
        let Some(text) = row.cells.get(*at) else {
            continue;
        };
        match said(text, *shape) {
            Ok(None) => drop(entry.unset(key)),
            Ok(Some(said)) => entry.set(key, &said),
            Err(advice) => faults.push(of_row(row, &format!("column {key}: {advice}"))),
        }
    }
    faults
}

/// What a cell says; an empty one says nothing.
fn said(text: &str, shape: Shape) -> Result<Option<Said>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let said = match shape {
        Shape::Text if text == quoted("") => Said::text(""),
        Shape::Text => Said::text(text),
        Shape::Number => match text.parse() {
            Ok(number) => Said::Number(number),
            Err(_) => return Err(format!("{text:?} is no whole number")),
        },
        Shape::Flag => match text.to_lowercase().as_str() {
            "true" | "yes" | "ja" | "1" => Said::Flag(true),
            "false" | "no" | "nei" | "0" => Said::Flag(false),
            _ => return Err(format!("{text:?} is neither \"true\" nor \"false\"")),
        },
        Shape::AnyOrNames if text.eq_ignore_ascii_case(ANY) => Said::text(ANY),
        Shape::Names | Shape::AnyOrNames => Said::List(items(text, &['|', '\n', ',', ';'])),
        Shape::Hops => Said::List(hops(text)?),
    };
    Ok(Some(said))
}

/// The items of a cell; what separates them may stand between quotation marks in one.
fn items(text: &str, separators: &[char]) -> Vec<String> {
    if text == NO_ITEM {
        return Vec::new();
    }
    let mut is_quoted = false;
    let items = text.split(|c: char| {
        is_quoted ^= c == '"';
        !is_quoted && separators.contains(&c)
    });
    let items = items.map(str::trim).filter(|it| !it.is_empty());
    items.map(str::to_owned).collect()
}

/// Next hops. What separates them may stand in a password, and no part of that is told.
fn hops(text: &str) -> Result<Vec<String>, String> {
    let hops = items(text, &['|', '\n']);
    let begins = |it: &String| {
        let scheme = it.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|it| SCHEMES.contains(&it))
    };
    match hops.iter().skip(1).all(begins) {
        true => Ok(hops),
        false => Err(format!(
            "after each | comes another next hop, which begins with one of {}; a | within one is written %7C",
            SCHEMES.join(", ")
        )),
    }
}

/// Whether a list of rooms has the password of a next hop in it.
pub fn has_password(sheet: &Sheet) -> bool {
    let is_meant = |head: &String| head.eq_ignore_ascii_case("next_hops");
    let Some(at) = sheet.heads.iter().position(is_meant) else {
        return false;
    };
    let cells = sheet.rows.iter().filter_map(|row| row.cells.get(at));
    let hops = cells.filter_map(|cell| hops(cell).ok()).flatten();
    let mut hops = hops.filter_map(|it| NextHop::parse(&it).ok());
    hops.any(|hop| hop.server().is_some_and(|it| it.credentials.is_some()))
}

/// The workstation of a row.
fn workstation(
    row: &Row,
    columns: &[(usize, String, ())],
    table: &RoutingTable,
) -> Result<(RoomId, Source), String> {
    let cell = |(at, key, ()): &(usize, String, ())| {
        let text = row.cells.get(*at).filter(|it| !it.is_empty())?;
        Some((key.clone(), text.as_str()))
    };
    let said: Vec<_> = columns.iter().filter_map(cell).collect();
    let (rooms, sources): (Vec<_>, Vec<_>) = said.iter().partition(|(key, _)| key == ROOM);
    let [(_, id)] = rooms.as_slice() else {
        return Err("write the id of the room".to_owned());
    };
    let [(key, name)] = sources.as_slice() else {
        return Err(format!("write exactly one of {}", SOURCES.join(", ")));
    };
    let id = RoomId::new(id);
    if table.room(&id).is_none() {
        return Err(no_room(table, id.as_str()));
    }
    match edit::source(key, name) {
        Ok(source) => Ok((id, source)),
        Err(fault) => Err(format!("column {key}: {fault}")),
    }
}

fn no_room(table: &RoutingTable, id: &str) -> String {
    let near = nearest(id, table.rooms().map(|it| it.id.as_str()));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    format!("there is no room {id:?}{near}")
}

/// What is wrong with a key, without its name and without the number of another line.
pub fn without_line(text: &str, key: &str) -> String {
    let text = text.strip_prefix(&format!("{key:?}: ")).unwrap_or(text);
    let Some((before, after)) = text.split_once(" (line ") else {
        return text.to_owned();
    };
    let (_, after) = after.split_once(')').unwrap_or(("", after));
    format!("{before}{after}")
}

fn of_row(row: &Row, text: &str) -> Fault {
    Fault {
        line: None,
        text: format!("row {}: {text}", row.number),
    }
}

fn missing(head: &str) -> Fault {
    Fault {
        line: None,
        text: format!("row 1: there is no column {head:?}"),
    }
}

fn twice(head: &str) -> Fault {
    Fault {
        line: None,
        text: format!("row 1: there are two columns {head:?}"),
    }
}

fn unknown<'k>(head: &str, known: impl Iterator<Item = &'k str>) -> Fault {
    let near = nearest(head, known);
    let near = near.map_or_else(
        || ".".to_owned(),
        |near| format!("; did you mean {near:?}?"),
    );
    Fault {
        line: None,
        text: format!(
            "row 1: column {head:?} is unknown{near} Leave it out with --ignore {}",
            quoted(head)
        ),
    }
}

#[cfg(test)]
mod tests;
