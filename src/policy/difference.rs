//! What differs between two routing tables: which entries came, went or changed, and in which keys.
//!
//! Entries are told apart by kind and name: a room's id, a group's address, a gateway's name, the room
//! of a redirect. Comments that are not as they were count as a key of their entry, without what they say. A change can be shown to anybody: passwords of next hops never stand in it, but that
//! one changed does. Pure, and it cannot fail: both tables are sound.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::export::{Content, Entry, Item, Key, content};
use super::table::RoutingTable;

pub use super::export::Kind;

/// In the place of a key: what is written in comments.
const COMMENTS: &str = "comments";
/// As many names as a summary lists of one kind of change.
const NAMES: usize = 8;
/// Lists with more items than this in all are shown by what came and went.
const ITEMS: usize = 6;

/// One entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    pub name: String,
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    Added,
    Removed,
    Changed(Vec<Altered>),
}

/// A key that says something else than it did; of comments it is not told what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    pub key: String,
    /// `None`: it was not said.
    pub before: Option<Said>,
    pub after: Option<Said>,
    /// A next hop that looks the same has another password.
    pub has_new_password: bool,
}

/// What a key says, in TOML, without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    items: Vec<String>,
    is_list: bool,
}

impl How {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
        }
    }
}

impl Change {
    /// The room that it is about: of a room or a redirect.
    pub fn room(&self) -> Option<&str> {
        matches!(self.kind, Kind::Room | Kind::Redirect).then_some(self.name.as_str())
    }

    /// Whether nothing but comments is not as it was.
    fn is_of_comments(&self) -> bool {
        matches!(&self.how, How::Changed(keys) if keys.iter().all(Altered::is_comments))
    }

    fn title(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }

    /// In one line: `room changed: phone "1" → "2"; domains [...] → [...]`.
    pub fn summary(&self) -> String {
        let mut text = format!("{} {}", self.kind.word(), self.how.word());
        if let How::Changed(keys) = &self.how {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let _ = write!(text, ": {}", keys.join("; "));
        }
        text
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = self.items.join(", ");
        match self.is_list {
            true => write!(f, "[{items}]"),
            false => f.write_str(&items),
        }
    }
}

impl Altered {
    fn comments() -> Self {
        Self {
            key: COMMENTS.to_owned(),
            before: None,
            after: None,
            has_new_password: false,
        }
    }

    /// Whether it is no key, but what is written in comments.
    fn is_comments(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// `phone "1" → "2"`, or of a long list what came and went.
impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if self.is_comments() {
            return Ok(());
        }
        f.write_str(" ")?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if before == after => return f.write_str(NEW_PASSWORD),
            (Some(before), Some(after)) => match exchange(before, after) {
                Some(exchange) => f.write_str(&exchange)?,
                None => write!(f, "{before} → {after}")?,
            },
            (Some(before), None) => write!(f, "{before} → not said")?,
            (None, Some(after)) => write!(f, "not said → {after}")?,
            (None, None) => (),
        }
        match self.has_new_password {
            true => write!(f, ", {NEW_PASSWORD}"),
            false => Ok(()),
        }
    }
}

const NEW_PASSWORD: &str = "with another password";

/// What came into a long list and what went out of it; `None` where that does not tell more.
fn exchange(before: &Said, after: &Said) -> Option<String> {
    if before.items.len() + after.items.len() <= ITEMS {
        return None;
    }
    let missing = |from: &Said, other: &Said| -> String {
        let missing = from.items.iter().filter(|it| !other.items.contains(it));
        missing.cloned().collect::<Vec<_>>().join(", ")
    };
    let (gone, come) = (missing(before, after), missing(after, before));
    match (gone.as_str(), come.as_str()) {
        ("", "") => Some("in another order".to_owned()),
        ("", come) => Some(format!("with {come}")),
        (gone, "") => Some(format!("without {gone}")),
        (gone, come) => Some(format!("without {gone}, with {come}")),
    }
}

/// Everything that `after` has otherwise than `before`: rooms first, each kind by name.
pub fn difference(before: &RoutingTable, after: &RoutingTable) -> Vec<Change> {
    let (before, after) = (content(before), content(after));
    let of_all = of_all(&before, &after);
    let mut both: BTreeMap<(Kind, String), [Vec<Entry>; 2]> = BTreeMap::new();
    for entry in before.entries {
        let [old, _] = both.entry((entry.kind, entry.name.clone())).or_default();
        old.push(entry);
    }
    for entry in after.entries {
        let [_, new] = both.entry((entry.kind, entry.name.clone())).or_default();
        new.push(entry);
    }
    let changes = |((kind, name), [old, new]): ((Kind, String), [Vec<Entry>; 2])| {
        let changes = hows(kind, &old, &new).into_iter();
        changes.map(move |how| Change {
            kind,
            name: name.clone(),
            how,
        })
    };
    let entries = both.into_iter().flat_map(changes);
    entries.chain(of_all).collect()
}

/// What became of the entries of one name. Of a room's redirects, one that came or went is told as that,
/// whatever others there are.
fn hows(kind: Kind, old: &[Entry], new: &[Entry]) -> Vec<How> {
    let (mut gone, mut come) = (Vec::from_iter(old), Vec::from_iter(new));
    if kind == Kind::Redirect {
        gone.retain(|it| !new.contains(it));
        come.retain(|it| !old.contains(it));
    }
    match (gone.as_slice(), come.as_slice()) {
        ([], come @ [_, ..]) => vec![How::Added; come.len()],
        (gone @ [_, ..], []) => vec![How::Removed; gone.len()],
        _ => how(kind, old, new).into_iter().collect(),
    }
}

/// Comments on the table as a whole.
fn of_all(before: &Content, after: &Content) -> Option<Change> {
    (!before.has_same_comments(after)).then(|| Change {
        kind: Kind::Table,
        name: "itself".to_owned(),
        how: How::Changed(vec![Altered::comments()]),
    })
}

fn how(kind: Kind, old: &[Entry], new: &[Entry]) -> Option<How> {
    if old == new {
        return None;
    }
    let mut altered = match (old, new) {
        ([], _) => return Some(How::Added),
        (_, []) => return Some(How::Removed),
        ([old], [new]) => altered(&keys(old), &keys(new)),
        _ => altered(&as_one(kind, old), &as_one(kind, new)),
    };
    // Where all keys are as they were, a comment stands elsewhere.
    if altered.is_empty() || !comments(old).eq(comments(new)) {
        altered.push(Altered::comments());
    }
    Some(How::Changed(altered))
}

fn comments(entries: &[Entry]) -> impl Iterator<Item = &str> {
    entries.iter().flat_map(Entry::comments)
}

/// A key with all its items.
struct Field {
    key: String,
    items: Vec<Item>,
    is_list: bool,
}

impl Field {
    fn said(&self) -> Said {
        Said {
            items: self.items.iter().map(|it| it.shown.clone()).collect(),
            is_list: self.is_list,
        }
    }
}

/// The keys of one entry; those of one name, which stand together, as one.
fn keys(entry: &Entry) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for key in &entry.keys {
        let path = key.path();
        match fields.last_mut() {
            Some(last) if last.key == path => last.items.extend(key.items()),
            _ => fields.push(Field {
                key: path,
                items: key.items(),
                is_list: key.is_list(),
            }),
        }
    }
    fields
}

/// Several entries of one name: an item each.
fn as_one(kind: Kind, entries: &[Entry]) -> Vec<Field> {
    let key = |key: &Key| {
        let items = key.items().into_iter().map(|it| it.shown);
        format!("{} {}", key.path(), items.collect::<Vec<_>>().join(", "))
    };
    let item = |entry: &Entry| {
        let keys: Vec<String> = entry.keys.iter().skip(1).map(key).collect();
        Item::plain(keys.join(", "))
    };
    vec![Field {
        key: format!("{}s", kind.word()),
        items: entries.iter().map(item).collect(),
        is_list: true,
    }]
}

fn altered(old: &[Field], new: &[Field]) -> Vec<Altered> {
    let find = |fields: &'_ [Field], key: &str| fields.iter().position(|it| it.key == key);
    let gone = old.iter().filter(|it| find(new, &it.key).is_none());
    let gone = gone.map(|before| pair(Some(before), None));
    let kept = new.iter().filter_map(|after| {
        let before = find(old, &after.key).and_then(|at| old.get(at));
        let is_same = before.is_some_and(|before| before.items == after.items);
        (!is_same || before.is_some_and(|it| it.is_list != after.is_list))
            .then(|| pair(before, Some(after)))
    });
    kept.chain(gone).collect()
}

fn pair(before: Option<&Field>, after: Option<&Field>) -> Altered {
    let items = |side: Option<&Field>| side.map_or_else(Vec::new, |it| it.items.clone());
    let key = after
        .or(before)
        .map_or_else(String::new, |it| it.key.clone());
    Altered {
        key,
        has_new_password: has_new_password(&items(before), &items(after)),
        before: before.map(Field::said),
        after: after.map(Field::said),
    }
}

/// Something that looks as it did, and is not.
fn has_new_password(before: &[Item], after: &[Item]) -> bool {
    after.iter().any(|new| {
        let mut alike = before.iter().filter(|it| it.shown == new.shown).peekable();
        alike.peek().is_some() && alike.all(|it| it.whole != new.whole)
    })
}

/// What changed, in one line: `2 rooms added (a, b), 1 room changed (c)`.
pub(super) fn summary(after: &RoutingTable, before: Option<&RoutingTable>) -> String {
    let Some(before) = before else {
        return first(after);
    };
    match difference(before, after) {
        none if none.is_empty() => "nothing changed".to_owned(),
        changes => counts(&changes).join(", "),
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

fn counts(changes: &[Change]) -> Vec<String> {
    let (talk, changes): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|it| it.is_of_comments());
    let mut parts = Vec::new();
    for kind in Kind::ALL {
        for verb in ["added", "removed", "changed"] {
            let meant = changes
                .iter()
                .filter(|it| it.kind == kind && it.how.word() == verb);
            let names: Vec<&str> = meant.map(|it| it.name.as_str()).collect();
            if !names.is_empty() {
                let count = counted(names.len(), kind.word());
                parts.push(format!("{count} {verb} ({})", few(&names)));
            }
        }
    }
    if !talk.is_empty() {
        let names: Vec<String> = talk.iter().map(|it| it.title()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        parts.push(format!("comments changed ({})", few(&names)));
    }
    parts
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn few(names: &[&str]) -> String {
    let listed: Vec<&str> = names.iter().take(NAMES).copied().collect();
    let mut text = listed.join(", ");
    if names.len() > NAMES {
        let _ = write!(text, " and {} more", names.len() - NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const A: &str =
        "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:a\"]\n";
    const B: &str = "[[room]]\nid = \"b\"\nname = \"B\"\ndomains = [\"b.test\"]\nnext_hops = [\"smtps://u:one@10.0.0.1:465\"]\n";
    const INN: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.9.0/24\"\n";
    const UT: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.8.0/24\"\n";

    fn table(toml: &str) -> RoutingTable {
        RoutingTable::parse(toml, 1).unwrap().0
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let changes = difference(&table(before), &table(after));
        changes
            .iter()
            .map(|it| format!("{} {}", it.name, it.summary()))
            .collect()
    }

    #[test]
    fn each_difference_is_told() {
        let phone = [A, "phone = \"1\"\n"].concat();
        let strict = [A, "[room.strictness]\nmissing_tls = \"warn\"\n"].concat();
        let stations = [
            A,
            "[[room.workstation]]\nnetwork = \"10.0.0.0/24\"\n[[room.workstation]]\nuser = \"u\"\n",
        ]
        .concat();
        let many = [A, "recipients = [\"p\", \"q\", \"r\", \"s\"]\n"].concat();
        let other = [A, "recipients = [\"p\", \"q\", \"r\", \"t\"]\n"].concat();
        let turned = [A, "recipients = [\"q\", \"p\", \"r\", \"s\"]\n"].concat();
        for (before, after, expected) in [
            (A.to_owned(), A.to_owned(), &[] as &[&str]),
            ([A, B].concat(), [B, A].concat(), &[]),
            (A.to_owned(), [A, B].concat(), &["b room added"]),
            ([A, B].concat(), A.to_owned(), &["b room removed"]),
            (
                A.to_owned(),
                A.replace("\"A\"", "\"Å\""),
                &["a room changed: name \"A\" → \"Å\""],
            ),
            (
                A.to_owned(),
                phone.clone(),
                &["a room changed: phone not said → \"1\""],
            ),
            (
                phone,
                A.to_owned(),
                &["a room changed: phone \"1\" → not said"],
            ),
            (
                A.to_owned(),
                A.replace("[\"maildir:a\"]", "[\"maildir:a\", \"maildir:z\"]"),
                &["a room changed: next_hops [\"maildir:a\"] → [\"maildir:a\", \"maildir:z\"]"],
            ),
            (
                A.to_owned(),
                strict,
                &["a room changed: strictness.missing_tls not said → \"warn\""],
            ),
            (
                A.to_owned(),
                stations,
                &["a room changed: workstation not said → [network \"10.0.0.0/24\", user \"u\"]"],
            ),
            (
                many.clone(),
                other,
                &["a room changed: recipients without \"s\", with \"t\""],
            ),
            (
                many,
                turned,
                &["a room changed: recipients in another order"],
            ),
            (
                [A, INN].concat(),
                [A, UT].concat(),
                &["inn gateway changed: network \"10.0.9.0/24\" → \"10.0.8.0/24\""],
            ),
            (
                [A, INN].concat(),
                [A, INN, UT].concat(),
                &[
                    "inn gateway changed: gateways [network \"10.0.9.0/24\"] → [network \"10.0.8.0/24\", network \"10.0.9.0/24\"]",
                ],
            ),
        ] {
            assert_eq!(told(&before, &after), expected, "{before}\n{after}");
        }
    }

    #[test]
    fn a_password_is_never_told_but_that_it_changed_is() {
        let other = B.replace(":one@", ":two@");
        assert_eq!(
            told(B, &other),
            ["b room changed: next_hops with another password"]
        );
        let more = other.replace("465\"]", "465\", \"maildir:b\"]");
        let line = told(B, &more).concat();
        assert!(line.ends_with(", with another password"), "{line}");
        let user = told(B, &B.replace("//u:", "//v:"));
        for line in [line, user.concat()] {
            assert!(!line.contains("one") && !line.contains("two"), "{line}");
        }
    }

    #[test]
    fn a_comment_that_changed_is_told_and_what_it_says_is_not() {
        let phone = A.replace("name", "phone = \"1\"\nname");
        let listed = |inside: &str| [A, "recipients = [", inside, "]\n"].concat();
        for (before, after, expected, summary) in [
            (
                A.to_owned(),
                ["# of a\n", A].concat(),
                "a room changed: comments",
                "comments changed (room a)",
            ),
            (
                ["# of a\n", A].concat(),
                ["# of A\n", A].concat(),
                "a room changed: comments",
                "comments changed (room a)",
            ),
            (
                A.to_owned(),
                ["# all\n\n", A].concat(),
                "itself table changed: comments",
                "comments changed (table itself)",
            ),
            (
                A.to_owned(),
                [A, "\n# end\n"].concat(),
                "itself table changed: comments",
                "comments changed (table itself)",
            ),
            // from one place to another
            (
                ["# of a\n", A].concat(),
                A.replace("\"A\"", "\"A\" # of a"),
                "a room changed: comments",
                "comments changed (room a)",
            ),
            (
                listed("\"x\", # x\n\"y\""),
                listed("\"x\",\n# x\n\"y\""),
                "a room changed: comments",
                "comments changed (room a)",
            ),
            // with a key, and with its key
            (
                A.to_owned(),
                ["# of a\n", &phone].concat(),
                "a room changed: phone not said → \"1\"; comments",
                "1 room changed (a)",
            ),
            (
                phone.replace("\"1\"", "\"1\" # p"),
                A.to_owned(),
                "a room changed: phone \"1\" → not said; comments",
                "1 room changed (a)",
            ),
            (
                ["# of a\n", A].concat(),
                ["# of a\n", &phone].concat(),
                "a room changed: phone not said → \"1\"",
                "1 room changed (a)",
            ),
        ] {
            assert_eq!(told(&before, &after), [expected], "{before}\n{after}");
            assert_eq!(table(&after).summary(Some(&table(&before))), summary);
        }
        let same = A.replace("\"A\"", "\"A\"   # a  ");
        assert_eq!(told(&A.replace("\"A\"", "\"A\" # a"), &same), [""; 0]);
    }

    #[test]
    fn a_summary_counts_and_names() {
        let summary = |before: &str, after: &str| table(after).summary(Some(&table(before)));
        assert_eq!(summary(A, A), "nothing changed");
        assert_eq!(
            summary(A, &[B, INN].concat()),
            "1 room added (b), 1 room removed (a), 1 gateway added (inn)"
        );
        assert_eq!(
            table(A).summary(None),
            "the first table: 1 room, 0 groups, 0 gateways, 0 redirects"
        );
    }
}
