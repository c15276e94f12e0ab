//! Where a line of the text of a table stands: in which entry, and at which key.

use toml_edit::{Document, Item, Table, TableLike};

/// What stands on a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `room`, `group`, `gateway` or `redirect`.
    pub kind: String,
    /// The entry's id, address, name or room.
    pub name: String,
    /// `None` at the head of an entry.
    pub key: Option<String>,
    /// What the entry at `room.workstation` says: `10.1.0.0/24`.
    pub workstation: Option<String>,
}

impl Place {
    /// Whether a sentence says already which entry it is of.
    pub fn is_named_in(&self, told: &str) -> bool {
        let Self { kind, name, .. } = self;
        told.contains(&format!("{kind} {name:?}")) || told.contains(&format!("{kind} {name} "))
    }
}

/// Every place of a text, by line.
#[derive(Debug)]
pub struct PlaceByLine(Vec<(usize, Place)>);

impl PlaceByLine {
    /// None in what is no TOML.
    pub fn of(toml: &str) -> Self {
        let Ok(document) = Document::parse(toml) else {
            return Self(Vec::new());
        };
        let ends: Vec<usize> = toml.match_indices('\n').map(|(at, _)| at).collect();
        let mut found = Vec::new();
        for (kind, item) in document.iter() {
            for entry in item.as_array_of_tables().into_iter().flatten() {
                walk(kind, entry, &mut found);
            }
        }
        found.sort();
        let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
        let placed = found.into_iter().map(|(at, place)| (line(at), place));
        Self(placed.collect())
    }

    /// What stands on this line, or begins above it.
    pub fn at(&self, line: usize) -> Option<&Place> {
        let after = self.0.partition_point(|(start, _)| *start <= line);
        let (_, place) = self.0.get(after.checked_sub(1)?)?;
        Some(place)
    }
}

fn walk(kind: &str, entry: &Table, found: &mut Vec<(usize, Place)>) {
    let names = ["id", "address", "name", "room"].iter();
    let name = names.filter_map(|key| entry.get(key)?.as_str()).next();
    let mut place = Place {
        kind: kind.to_owned(),
        name: name.unwrap_or_default().to_owned(),
        key: None,
        workstation: None,
    };
    if let Some(span) = entry.span() {
        found.push((span.start, place.clone()));
    }
    keys(entry, "", &place, found);
    for source in entry.get("workstation").into_iter().flat_map(tables) {
        let said = source.iter().find_map(|(_, item)| item.as_str());
        place.workstation = Some(said.unwrap_or_default().to_owned());
        keys(source, "", &place, found);
    }
}

fn tables(item: &Item) -> Vec<&dyn TableLike> {
    let inline = item.as_array().into_iter().flatten();
    let inline = inline.filter_map(|it| it.as_inline_table().map(|it| it as &dyn TableLike));
    let tables = item.as_array_of_tables().into_iter().flatten();
    tables
        .map(|it| it as &dyn TableLike)
        .chain(inline)
        .collect()
}

/// Each key of an entry, and of the tables in it: `strictness.missing_tls`.
fn keys(table: &dyn TableLike, prefix: &str, of: &Place, found: &mut Vec<(usize, Place)>) {
    for (name, item) in table.iter() {
        let key = format!("{prefix}{name}");
        if let Some(inner) = item.as_table_like() {
            keys(inner, &format!("{key}."), of, found);
        }
        let span = table.key(name).and_then(toml_edit::Key::span);
        if let Some(span) = span.or_else(|| item.span()) {
            let key = Some(key);
            found.push((span.start, Place { key, ..of.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_place() {
        let toml = "# Head.\n[[room]]\nid = \"a\"\nnext_hops = [\n  \"x\",\n]\n[room.strictness]\n\
            missing_tls = \"off\"\n[[room.workstation]]\nnetwork = \"10.0.0.0/8\"\n\n[[group]]\n\
            address = \"g@b\"\nmembers = []\n";
        let places = PlaceByLine::of(toml);
        let told = |line| {
            places.at(line).map_or_else(String::new, |it| {
                let parts = [it.key.as_deref(), it.workstation.as_deref()];
                let parts = parts.map(Option::unwrap_or_default).join(" ");
                format!("{} {} {parts}", it.kind, it.name)
                    .trim_end()
                    .to_owned()
            })
        };
        for (line, expected) in [
            (1, ""),
            (2, "room a"),
            (3, "room a id"),
            (4, "room a next_hops"),
            (5, "room a next_hops"),
            (8, "room a strictness.missing_tls"),
            (10, "room a network 10.0.0.0/8"),
            (12, "group g@b"),
            (13, "group g@b address"),
            (14, "group g@b members"),
            (99, "group g@b members"),
        ] {
            assert_eq!(told(line), expected, "line {line}");
        }
        assert_eq!(PlaceByLine::of("[[room]\n").at(1), None);
    }
}
