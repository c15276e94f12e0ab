//! The text of a routing table while it is edited: entries found, added and taken out, keys set and unset.
//!
//! What is not touched stays as it was written, comments and order with it. What an entry means is not
//! looked at: whoever has edited reads the text again as a table. Pure. Only text that is no TOML is
//! refused; what is not there is `None` or `false`. The crate `toml_edit` lives here.

mod list;
mod places;

use std::collections::HashMap;
use std::fmt;

use toml_edit::{ArrayOfTables, Decor, DocumentMut, Item, RawString, Table, TableLike, Value};

use crate::document::Fault;
use crate::mail::{Address, RoomId, Timestamp};

use super::export;
use super::table::Source;
pub use places::{Place, PlaceByLine};

/// Between the name of a table and a key in it: `strictness.missing_tls`.
const DOT: char = '.';

/// What a key of a workstation says: `network`, `certificate` or `user`.
pub fn source(key: &str, text: &str) -> Result<Source, String> {
    super::read::source(key, text)
}

/// A table that is edited.
pub struct Draft {
    document: DocumentMut,
    /// Where each room is among the rooms.
    rooms: HashMap<String, usize>,
}

/// Without the text, which has passwords in it.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = self.rooms.len();
        f.debug_struct("Draft")
            .field("rooms", &rooms)
            .finish_non_exhaustive()
    }
}

/// What a key is to say.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    Text(String),
    List(Vec<String>),
    Flag(bool),
    Number(u8),
    Moment(Timestamp),
}

/// Without what is said: it may be a password.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}

impl Said {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::List(items) => items.iter().collect(),
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => i64::from(*number).into(),
            Self::Moment(at) => moment(*at),
        }
    }

    fn is_said_by(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Flag(flag) => value.as_bool() == Some(*flag),
            Self::Number(number) => value.as_integer() == Some(i64::from(*number)),
            Self::List(_) | Self::Moment(_) => false,
        }
    }
}

/// As an export writes it.
fn moment(at: Timestamp) -> Value {
    let written = export::moment(at);
    written.parse().unwrap_or_else(|_| Value::from(written))
}

impl Draft {
    pub fn of(toml: &str) -> Result<Self, Vec<Fault>> {
        let document: DocumentMut = toml.parse().map_err(|fault| vec![located(toml, &fault)])?;
        let mut draft = Self {
            document,
            rooms: HashMap::new(),
        };
        draft.count_rooms();
        Ok(draft)
    }

    /// As it is written now.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    fn count_rooms(&mut self) {
        let rooms = self.all("room").map_or_else(HashMap::new, |rooms| {
            let id = |table: &Table| table.get("id").and_then(Item::as_str).map(str::to_owned);
            let ids = rooms.iter().map(id).zip(0..);
            ids.filter_map(|(id, at)| Some((id?, at))).collect()
        });
        self.rooms = rooms;
    }

    /// Every `[[kind]]`, if there is one. Those written as a list of inline tables become such.
    fn all(&mut self, kind: &str) -> Option<&mut ArrayOfTables> {
        many(self.document.as_table_mut(), kind)
    }

    fn all_or_new(&mut self, kind: &str) -> Option<&mut ArrayOfTables> {
        many_or_new(self.document.as_table_mut(), kind)
    }

    pub fn room_mut(&mut self, id: &RoomId) -> Option<Entry<'_>> {
        let at = *self.rooms.get(id.as_str())?;
        self.all("room")?.get_mut(at).map(Entry)
    }

    /// A new room after the others, with nothing but its id. `None`: `room` is something else in this text.
    pub fn add_room(&mut self, id: &RoomId) -> Option<Entry<'_>> {
        let at = self.all("room").map_or(0, |rooms| rooms.len());
        self.rooms.insert(id.as_str().to_owned(), at);
        self.add("room", "id", id.as_str())
    }

    pub fn remove_room(&mut self, id: &RoomId) -> bool {
        let at = self.rooms.get(id.as_str()).copied();
        let is_done = at.is_some_and(|at| self.remove("room", at));
        self.count_rooms();
        is_done
    }

    pub fn group_mut(&mut self, address: &Address) -> Option<Entry<'_>> {
        let at = self.place("group", |it| is_group(it, address))?;
        self.all("group")?.get_mut(at).map(Entry)
    }

    /// A new group after the others, with nothing but its address.
    pub fn add_group(&mut self, address: &Address) -> Option<Entry<'_>> {
        self.add("group", "address", &address.to_string())
    }

    pub fn remove_group(&mut self, address: &Address) -> bool {
        let at = self.place("group", |it| is_group(it, address));
        at.is_some_and(|at| self.remove("group", at))
    }

    /// The first gateway of this name.
    pub fn gateway_mut(&mut self, name: &str) -> Option<Entry<'_>> {
        let at = self.place("gateway", |it| says(it, "name", name))?;
        self.all("gateway")?.get_mut(at).map(Entry)
    }

    /// A new gateway after the others, with nothing but its name.
    pub fn add_gateway(&mut self, name: &str) -> Option<Entry<'_>> {
        self.add("gateway", "name", name)
    }

    /// Takes out every gateway of this name, and says how many there were.
    pub fn remove_gateways(&mut self, name: &str) -> usize {
        let mut count = 0;
        while let Some(at) = self.place("gateway", |it| says(it, "name", name)) {
            self.remove("gateway", at);
            count += 1;
        }
        count
    }

    /// A new redirect after the others, with nothing but its room.
    pub fn add_redirect(&mut self, room: &RoomId) -> Option<Entry<'_>> {
        self.add("redirect", "room", room.as_str())
    }

    /// Takes out the redirect of `room` that stands after `earlier` others of that room.
    pub fn remove_redirect(&mut self, room: &RoomId, earlier: usize) -> bool {
        let mut left = earlier;
        let at = self.place("redirect", |it| {
            let is_of_room = says(it, "room", room.as_str());
            let is_meant = is_of_room && left == 0;
            left = left.saturating_sub(usize::from(is_of_room));
            is_meant
        });
        at.is_some_and(|at| self.remove("redirect", at))
    }

    /// Takes out every redirect from or to `room`.
    pub fn remove_redirects_with(&mut self, room: &RoomId) {
        let id = room.as_str();
        while let Some(at) = self.place("redirect", |it| says(it, "room", id) || says(it, "to", id))
        {
            self.remove("redirect", at);
        }
    }

    /// Every group, as an entry.
    pub fn groups(&mut self) -> impl Iterator<Item = Entry<'_>> {
        let groups = self.all("group").into_iter();
        groups.flat_map(ArrayOfTables::iter_mut).map(Entry)
    }

    /// Every room, as an entry.
    pub fn rooms(&mut self) -> impl Iterator<Item = Entry<'_>> {
        let rooms = self.all("room").into_iter();
        rooms.flat_map(ArrayOfTables::iter_mut).map(Entry)
    }

    fn place(&mut self, kind: &str, is_meant: impl FnMut(&Table) -> bool) -> Option<usize> {
        self.all(kind)?.iter().position(is_meant)
    }

    fn add(&mut self, kind: &str, key: &str, name: &str) -> Option<Entry<'_>> {
        let is_first = self.document.as_table().is_empty();
        let mut table = Table::new();
        table.insert(key, Item::Value(name.into()));
        let above = match is_first {
            true => String::new(),
            false => format!("{}\n", self.take_below(kind)),
        };
        table.decor_mut().set_prefix(above);
        let all = self.all_or_new(kind)?;
        all.push(table);
        all.iter_mut().last().map(Entry)
    }

    /// The comment right below the entry that a new one of this kind comes behind. It stays with that entry.
    fn take_below(&mut self, kind: &str) -> String {
        let last = match self.all(kind) {
            // Behind one that is new itself there is none.
            Some(all) => all.iter().last().and_then(last_position),
            None => last_position(self.document.as_table()),
        };
        let Some(last) = last else {
            return String::new();
        };
        if let Some(next) = next_in(self.document.as_table_mut(), Some(last)) {
            let decor = next.decor_mut();
            let above = raw(decor.prefix());
            let (below, rest) = above.split_once("\n\n").unwrap_or_default();
            return match below.starts_with('#') {
                true => {
                    let below = format!("{below}\n");
                    decor.set_prefix(format!("\n{rest}"));
                    below
                }
                false => String::new(),
            };
        }
        let trailing = self.document.trailing().as_str().unwrap_or_default();
        if !trailing.starts_with('#') {
            return String::new();
        }
        let (below, rest) = trailing.split_once("\n\n").unwrap_or((trailing, ""));
        let below = format!("{}\n", below.trim_end());
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!("\n{rest}")
        };
        self.document.set_trailing(rest);
        below
    }

    /// Takes out every workstation of a room whose key and name are meant, and says how many there were.
    pub fn remove_workstations(
        &mut self,
        room: &RoomId,
        is_meant: impl Fn(&str, &str) -> bool,
    ) -> usize {
        let Some(Entry(table)) = self.room_mut(room) else {
            return 0;
        };
        let gone = take_workstations(table, is_meant);
        gone.iter().for_each(|table| self.keep_comment(table));
        gone.len()
    }

    fn remove(&mut self, kind: &str, at: usize) -> bool {
        let Some(all) = self.all(kind).filter(|all| at < all.len()) else {
            return false;
        };
        let table = all.remove(at);
        if all.is_empty() {
            self.document.remove(kind);
        }
        self.keep_comment(&table);
        true
    }

    /// The comment right above a table goes with it. What is further above stays where it is: before
    /// whatever comes next in the text.
    fn keep_comment(&mut self, gone: &Table) {
        let above = raw(gone.decor().prefix());
        let Some((comment, _)) = above.rsplit_once("\n\n").filter(|it| it.0.contains('#')) else {
            return;
        };
        let before = |old: &str| match old.starts_with('\n') {
            true => format!("{comment}\n{old}"),
            false => format!("{comment}\n\n{old}"),
        };
        let next = next_in(self.document.as_table_mut(), gone.position());
        if let Some(next) = next {
            let decor = next.decor_mut();
            decor.set_prefix(before(&raw(decor.prefix())));
        } else {
            let trailing = before(self.document.trailing().as_str().unwrap_or_default());
            self.document
                .set_trailing(format!("{}\n", trailing.trim_end()));
        }
    }
}

/// Where the last of a table, and of those in it, stands in the text; `None`: it is new.
fn last_position(table: &Table) -> Option<isize> {
    let inner = table.iter().flat_map(|(_, item)| match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter().collect(),
        _ => Vec::new(),
    });
    inner
        .filter_map(last_position)
        .chain(table.position())
        .max()
}

/// What comes after a place in the text: this table, or the first of those in it.
fn next_in(table: &mut Table, after: Option<isize>) -> Option<&mut Table> {
    if table.position() > after {
        return Some(table);
    }
    let inner = table.iter_mut().flat_map(|(_, item)| match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
        _ => Vec::new(),
    });
    inner
        .filter_map(|it| next_in(it, after))
        .min_by_key(|it| it.position())
}

fn take_workstations(room: &mut Table, is_meant: impl Fn(&str, &str) -> bool) -> Vec<Table> {
    let Some(all) = many(room, "workstation") else {
        return Vec::new();
    };
    let is_meant = |table: &Table| {
        let said = |(key, item): (&str, &Item)| Some(is_meant(key, item.as_str()?));
        table.iter().filter_map(said).any(|it| it)
    };
    let meant: Vec<usize> = all
        .iter()
        .zip(0..)
        .filter_map(|(table, at)| is_meant(table).then_some(at))
        .collect();
    // From the end, so that a comment that is kept goes past those that are gone, too.
    let gone = meant.into_iter().rev().map(|at| all.remove(at)).collect();
    if all.is_empty() {
        room.remove("workstation");
    }
    gone
}

fn located(toml: &str, fault: &toml_edit::TomlError) -> Fault {
    let before = fault.span().and_then(|span| toml.get(..span.start));
    Fault {
        line: before.map(|before| before.matches('\n').count() + 1),
        text: fault.message().to_owned(),
    }
}

fn says(table: &Table, key: &str, text: &str) -> bool {
    table.get(key).and_then(Item::as_str) == Some(text)
}

fn is_group(table: &Table, address: &Address) -> bool {
    let written = table.get("address").and_then(Item::as_str);
    written.and_then(|it| Address::parse(it).ok()).as_ref() == Some(address)
}

fn many<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut ArrayOfTables> {
    let item = table.get_mut(key)?;
    if item.is_array() {
        *item = match std::mem::take(item).into_array_of_tables() {
            Ok(tables) => Item::ArrayOfTables(tables),
            Err(other) => other,
        };
        table.key_mut(key)?.leaf_decor_mut().clear();
    }
    table.get_mut(key)?.as_array_of_tables_mut()
}

fn many_or_new<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut ArrayOfTables> {
    if !table.contains_key(key) {
        table.insert(key, Item::ArrayOfTables(ArrayOfTables::new()));
    }
    many(table, key)
}

fn raw(text: Option<&RawString>) -> String {
    let text = text.and_then(RawString::as_str);
    text.unwrap_or_default().to_owned()
}

/// One entry of a table: a room, a group, a redirect.
pub struct Entry<'a>(&'a mut Table);

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Entry<'_> {
    /// Lets `key` say this; `strictness.missing_tls` is a key in a table of the entry.
    pub fn set(&mut self, key: &str, said: &Said) {
        let Some((part, key)) = key.split_once(DOT) else {
            return put(self.0, key, said);
        };
        let item = self.0.entry(part).or_insert_with(|| {
            let mut table = Table::new();
            table.decor_mut().set_prefix("");
            Item::Table(table)
        });
        if let Some(table) = item.as_table_like_mut() {
            put(table, key, said);
        }
    }

    /// Whether `key` was there.
    pub fn unset(&mut self, key: &str) -> bool {
        let Some((part, key)) = key.split_once(DOT) else {
            return self.0.remove(key).is_some();
        };
        let item = self.0.get_mut(part).and_then(Item::as_table_like_mut);
        let Some(table) = item else {
            return false;
        };
        let was_there = table.remove(key).is_some();
        if table.is_empty() {
            self.0.remove(part);
        }
        was_there
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Item::as_str)
    }

    /// What `key` says; `None` where it is not there, or says what no key of ours does.
    pub fn said(&self, key: &str) -> Option<Said> {
        let value = match key.split_once(DOT) {
            None => self.0.get(key)?.as_value()?,
            Some((part, key)) => {
                let table = self.0.get(part)?.as_table_like()?;
                table.get(key)?.as_value()?
            }
        };
        match value {
            Value::String(text) => Some(Said::text(text.value())),
            Value::Boolean(flag) => Some(Said::Flag(*flag.value())),
            Value::Integer(number) => u8::try_from(*number.value()).ok().map(Said::Number),
            Value::Array(array) => Some(Said::List(list::texts(array))),
            Value::Float(_) | Value::Datetime(_) | Value::InlineTable(_) => None,
        }
    }

    /// The texts in a list; `None` where `key` is not there, or no list.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        self.0.get(key)?.as_array().map(list::texts)
    }

    /// Another `[[room.workstation]]`, after the others.
    pub fn add_workstation(&mut self, key: &str, name: &str) {
        let mut table = Table::new();
        table.insert(key, Item::Value(name.into()));
        table.decor_mut().set_prefix("");
        if let Some(all) = many_or_new(self.0, "workstation") {
            all.push(table);
        }
    }
}

/// Sets a key, and leaves the comment on its line where it is.
fn put(table: &mut dyn TableLike, key: &str, said: &Said) {
    let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) else {
        table.insert(key, Item::Value(said.value()));
        return;
    };
    match (old, said) {
        (Value::Array(array), Said::List(items)) => list::change(array, items),
        (old, said) if said.is_said_by(old) => (),
        (old, said) => {
            let decor: Decor = old.decor().clone();
            *old = said.value();
            *old.decor_mut() = decor;
        }
    }
}

#[cfg(test)]
mod tests;
