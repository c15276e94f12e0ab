//! The comments of a routing table's file, and what each of them stands at.
//!
//! A comment is about what it stands above, or what it stands beside at the end of a line. Read here from
//! the text alone; `export` writes each again at the same place. What stands in front of everything and is
//! followed by an empty line is about the whole table, and so is what comes after the last entry. A block that
//! ends an entry without an empty line before it, and has one behind it, belongs to that entry. Decides
//! nothing about the table, and cannot fail: what has no place is kept with its entry. The crate
//! `toml_parser` lives here.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::export::Kind;

/// Between two paragraphs.
const EMPTY_LINE: &str = "";

/// What is said at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// A line each. Only above an entry may empty ones be among them.
    pub(super) above: Vec<String>,
    /// At the end of its line.
    pub(super) beside: Option<String>,
}

impl Note {
    pub(super) const fn is_empty(&self) -> bool {
        self.above.is_empty() && self.beside.is_none()
    }

    /// All of it, a line each.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.above.iter().chain(&self.beside);
        lines.map(String::as_str)
    }

    pub(super) fn into_lines(self) -> impl Iterator<Item = String> {
        self.above.into_iter().chain(self.beside)
    }

    fn add_beside(&mut self, text: String) {
        self.beside = Some(match self.beside.take() {
            Some(before) => format!("{before} {text}"),
            None => text,
        });
    }
}

/// One step from an entry to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step<'t> {
    Key(Cow<'t, str>),
    Item(usize),
}

pub(super) type Way = Vec<Step<'static>>;

/// The comments of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) own: Note,
    /// By the way from the entry to what they are at.
    pub(super) inner: BTreeMap<Way, Note>,
    /// Below its last line.
    pub(super) tail: Vec<String>,
}

/// The comments of a whole file; entries are known by where they stand among those of their kind.
#[derive(Debug, Default)]
pub(super) struct Written {
    top: Vec<String>,
    end: Vec<String>,
    entries: HashMap<(Kind, usize), Notes>,
}

/// The comments of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comments {
    pub(super) top: Vec<String>,
    pub(super) end: Vec<String>,
    /// Of each entry of that name, in the order of an export.
    entries: HashMap<(Kind, String), Vec<Notes>>,
}

impl Comments {
    /// Of the entry of that name before which there are `before` others.
    pub(super) fn of(&self, kind: Kind, name: &str, before: usize) -> Option<&Notes> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&(kind, name.to_owned()))?.get(before)
    }

    pub(super) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }
}

impl Written {
    pub(super) fn is_empty(&self) -> bool {
        self.top.is_empty() && self.end.is_empty() && self.entries.is_empty()
    }

    /// The same by name. `places`: each entry's kind, its place in the file and its name, in the order of an
    /// export.
    pub(super) fn named(mut self, places: impl Iterator<Item = (Kind, usize, String)>) -> Comments {
        let mut entries: HashMap<(Kind, String), Vec<Notes>> = HashMap::new();
        for (kind, place, name) in places {
            let notes = self.entries.remove(&(kind, place)).unwrap_or_default();
            entries.entry((kind, name)).or_default().push(notes);
        }
        entries.retain(|_, notes| notes.iter().any(|it| *it != Notes::default()));
        let mut stray: Vec<_> = self.entries.into_iter().collect();
        stray.sort_by_key(|(place, _)| *place);
        for (_, notes) in stray {
            append(&mut self.end, notes.into_lines().collect());
        }
        Comments {
            top: self.top,
            end: self.end,
            entries,
        }
    }
}

impl Notes {
    /// What is said at each item of a list, and after the last of them.
    pub(super) fn take_items(&mut self, list: &Way) -> Vec<Note> {
        let at = |item| {
            let mut way = list.clone();
            way.push(Step::Item(item));
            way
        };
        let last = self.inner.range(at(0)..=at(usize::MAX)).next_back();
        let Some((Some(Step::Item(last)), _)) = last.map(|(way, note)| (way.get(list.len()), note))
        else {
            return Vec::new();
        };
        let last = *last;
        let note = |item| self.inner.remove(&at(item)).unwrap_or_default();
        (0..=last).map(note).collect()
    }

    /// All of it, a line each.
    fn into_lines(self) -> impl Iterator<Item = String> {
        let inner = self.inner.into_values().flat_map(Note::into_lines);
        self.own.into_lines().chain(inner).chain(self.tail)
    }
}

/// Puts a paragraph after what is there.
pub(super) fn append(lines: &mut Vec<String>, more: Vec<String>) {
    if !lines.is_empty() && !more.is_empty() {
        lines.push(EMPTY_LINE.to_owned());
    }
    lines.extend(more);
}

/// Takes everything up to the last empty line out.
pub(super) fn all_but_last_paragraph(lines: &mut Vec<String>) -> Vec<String> {
    let Some(at) = lines.iter().rposition(|it| it == EMPTY_LINE) else {
        return Vec::new();
    };
    let last = lines.split_off(at + 1);
    lines.pop();
    std::mem::replace(lines, last)
}

/// Reads the comments of a document that is known to be sound.
pub(super) fn read(toml: &str) -> Written {
    if !toml.contains('#') {
        return Written::default();
    }
    let source = Source::new(toml);
    let mut reader = Reader {
        source,
        written: Written::default(),
        tables: BTreeMap::new(),
        head: Vec::new(),
        keys: Vec::new(),
        path: Vec::new(),
        lengths: Vec::new(),
        open: Vec::new(),
        waiting: Waiting::default(),
        last: Vec::new(),
        is_beside: false,
        seen: 0,
    };
    let tokens = source.lex().into_vec();
    parse_document(&tokens, &mut |event| reader.take(event), &mut ());
    reader.finish()
}

/// Comments on lines of their own, of which it is not known yet what they are about.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<String>,
    /// The first of them stands right below something.
    is_below: bool,
    /// Something has been written since the last empty line.
    is_close: bool,
    is_line_empty: bool,
}

impl Waiting {
    fn newline(&mut self) {
        if self.is_line_empty {
            self.is_close = false;
            self.part();
        }
        self.is_line_empty = true;
    }

    /// A paragraph ends here.
    fn part(&mut self) {
        if self.lines.last().is_some_and(|it| it != EMPTY_LINE) {
            self.lines.push(EMPTY_LINE.to_owned());
        }
    }

    fn comment(&mut self, text: String) {
        if self.lines.is_empty() {
            self.is_below = self.is_close;
        }
        self.lines.push(text);
    }

    /// What stands right below the last entry and is parted from what follows.
    fn tail(&mut self) -> Vec<String> {
        let end = self.lines.iter().position(|it| it == EMPTY_LINE);
        match end {
            Some(end) if self.is_below => {
                let rest = self.lines.split_off(end + 1);
                self.lines.pop();
                std::mem::replace(&mut self.lines, rest)
            }
            _ => Vec::new(),
        }
    }

    fn rest(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        if lines.last().is_some_and(|it| it == EMPTY_LINE) {
            lines.pop();
        }
        lines
    }
}

/// A value that has others in it.
#[derive(Debug)]
enum Open {
    /// So many comments had been seen before it.
    Array {
        items: usize,
        seen: usize,
    },
    Table,
}

/// The tables that `[[name]]` has made so far.
#[derive(Default)]
struct Tables<'t> {
    count: usize,
    /// Those in the last one of them.
    inner: BTreeMap<Step<'t>, Tables<'t>>,
}

struct Reader<'t> {
    source: Source<'t>,
    written: Written,
    tables: BTreeMap<Step<'t>, Tables<'t>>,
    head: Vec<Step<'t>>,
    /// The keys of a head or before a `=`.
    keys: Vec<Step<'t>>,
    /// Where we are, from the document down.
    path: Vec<Step<'t>>,
    /// How long the path was before each key on it.
    lengths: Vec<usize>,
    open: Vec<Open>,
    waiting: Waiting,
    /// What a comment on this line would stand beside, if anything does.
    last: Vec<Step<'t>>,
    is_beside: bool,
    /// How many comments there have been.
    seen: usize,
}

impl<'t> Reader<'t> {
    fn take(&mut self, event: Event) {
        match event.kind() {
            EventKind::Whitespace => return,
            EventKind::Newline => {
                self.is_beside = false;
                return self.waiting.newline();
            }
            EventKind::Comment => {
                self.waiting.is_line_empty = false;
                return self.comment(event);
            }
            EventKind::SimpleKey => self.key(event),
            EventKind::StdTableClose => self.table_head(false),
            EventKind::ArrayTableClose => self.table_head(true),
            EventKind::KeyValSep => self.key_is_whole(),
            EventKind::ArrayOpen | EventKind::InlineTableOpen => self.opened(event.kind()),
            EventKind::ArrayClose | EventKind::InlineTableClose => self.closed(),
            EventKind::Scalar => {
                self.value_begins();
                self.value_ends();
            }
            EventKind::StdTableOpen
            | EventKind::ArrayTableOpen
            | EventKind::KeySep
            | EventKind::ValueSep
            | EventKind::Error => (),
        }
        self.waiting.is_line_empty = false;
        self.waiting.is_close = true;
    }

    fn comment(&mut self, event: Event) {
        let raw = self.source.get(event.span());
        let text = plain(raw.map_or("", |it| it.as_str()));
        self.seen += 1;
        match self.is_beside {
            true => {
                let last = std::mem::take(&mut self.last);
                self.note(&last, |note| note.add_beside(text));
            }
            false => self.waiting.comment(text),
        }
    }

    fn key(&mut self, event: Event) {
        let mut key = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event.span()) {
            let raw = toml_parser::Raw::new_unchecked(raw.as_str(), event.encoding(), event.span());
            raw.decode_key(&mut key, &mut ());
        }
        self.keys.push(Step::Key(key));
    }

    /// `[a.b]` or `[[a.b]]`: what is meant by `a` is the last one of them.
    fn table_head(&mut self, is_array: bool) {
        let path = self.resolved(is_array);
        match is_array && path.len() == 2 {
            true => self.entry_begins(&path),
            false => self.put_above(&path),
        }
        self.is_beside = true;
        self.last.clone_from(&path);
        self.path.clone_from(&path);
        self.head = path;
    }

    /// The path that the keys of a head lead along.
    fn resolved(&mut self, is_array: bool) -> Vec<Step<'t>> {
        let mut keys = std::mem::take(&mut self.keys).into_iter();
        let Some(name) = keys.next() else {
            return Vec::new();
        };
        let inner: Vec<Step<'_>> = keys.collect();
        let tables = self.tables.entry(name.clone()).or_default();
        let mut path = Vec::with_capacity(4);
        path.push(name);
        if inner.is_empty() && is_array {
            tables.count += 1;
            tables.inner.clear();
        }
        if tables.count > 0 {
            path.push(Step::Item(tables.count - 1));
        }
        path.extend(inner);
        if let (true, Some(last)) = (is_array, path.get(2)) {
            let tables = tables.inner.entry(last.clone()).or_default();
            path.push(Step::Item(tables.count));
            tables.count += 1;
        }
        path
    }

    fn entry_begins(&mut self, path: &[Step<'t>]) {
        if self.waiting.lines.is_empty() {
            return;
        }
        if self.head.is_empty() {
            let mut above = std::mem::take(&mut self.waiting.lines);
            let top = all_but_last_paragraph(&mut above);
            append(&mut self.written.top, top);
            return self.note(path, |note| note.above.extend(above));
        }
        let tail = self.waiting.tail();
        self.put_below(tail);
        let above = self.waiting.rest();
        self.note(path, |note| note.above.extend(above));
    }

    /// Below the entry that ends here.
    fn put_below(&mut self, lines: Vec<String>) {
        if let (false, Some((place, _))) = (lines.is_empty(), address(&self.head)) {
            let notes = self.written.entries.entry(place).or_default();
            notes.tail.extend(lines);
        }
    }

    fn put_above(&mut self, path: &[Step<'t>]) {
        if self.waiting.lines.is_empty() {
            return;
        }
        let mut lines = self.waiting.rest();
        lines.retain(|it| it != EMPTY_LINE);
        self.note(path, |note| note.above.extend(lines));
    }

    fn put_above_here(&mut self) {
        let path = std::mem::take(&mut self.path);
        self.put_above(&path);
        self.path = path;
    }

    fn key_is_whole(&mut self) {
        self.lengths.push(self.path.len());
        self.path.append(&mut self.keys);
        self.put_above_here();
    }

    fn value_begins(&mut self) {
        if let (Some(Open::Array { items, .. }), Some(last)) =
            (self.open.last(), self.path.last_mut())
        {
            *last = Step::Item(*items);
            self.put_above_here();
        }
    }

    fn value_ends(&mut self) {
        self.is_beside = true;
        self.last.clone_from(&self.path);
        match self.open.last_mut() {
            Some(Open::Array { items, .. }) => *items += 1,
            Some(Open::Table) | None => {
                let length = self.lengths.pop().unwrap_or_default();
                self.path.truncate(length);
            }
        }
    }

    fn opened(&mut self, kind: EventKind) {
        self.value_begins();
        self.is_beside = false;
        if kind == EventKind::InlineTableOpen {
            return self.open.push(Open::Table);
        }
        self.path.push(Step::Item(0));
        self.open.push(Open::Array {
            items: 0,
            seen: self.seen,
        });
    }

    fn closed(&mut self) {
        match self.open.pop() {
            Some(Open::Array { items, seen }) => {
                self.path.pop();
                if seen != self.seen {
                    self.path.push(Step::Item(items));
                    self.put_above_here();
                    // Also where nothing is there: it tells how many items the file has.
                    let path = std::mem::take(&mut self.path);
                    self.note(&path, |_| ());
                    self.path = path;
                    self.path.pop();
                }
            }
            Some(Open::Table) => self.put_above_here(),
            None => (),
        }
        self.value_ends();
    }

    fn note(&mut self, path: &[Step<'t>], put: impl FnOnce(&mut Note)) {
        let Some((place, way)) = address(path) else {
            let mut note = Note::default();
            put(&mut note);
            return append(&mut self.written.top, note.into_lines().collect());
        };
        let notes = self.written.entries.entry(place).or_default();
        match way {
            [] => put(&mut notes.own),
            way => put(notes
                .inner
                .entry(way.iter().map(owned).collect())
                .or_default()),
        }
    }

    fn finish(mut self) -> Written {
        if self.head.is_empty() {
            let rest = self.waiting.rest();
            append(&mut self.written.top, rest);
            return self.written;
        }
        self.waiting.part();
        let tail = self.waiting.tail();
        self.put_below(tail);
        self.written.end = self.waiting.rest();
        self.written
    }
}

/// The entry that a path leads into, and the way within it.
fn address<'p, 't>(path: &'p [Step<'t>]) -> Option<((Kind, usize), &'p [Step<'t>])> {
    match path {
        [Step::Key(kind), Step::Item(place), way @ ..] => Some(((Kind::parse(kind)?, *place), way)),
        _ => None,
    }
}

fn owned(step: &Step<'_>) -> Step<'static> {
    match step {
        Step::Key(key) => Step::Key(Cow::Owned(key.clone().into_owned())),
        Step::Item(at) => Step::Item(*at),
    }
}

/// Those control characters that TOML lets pass would reach the terminal of whoever reads an export.
fn plain(text: &str) -> String {
    let clean = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    let clean: String = text.chars().map(clean).collect();
    clean.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use crate::policy::difference::difference;
    use crate::policy::table::RoutingTable;

    fn table(toml: &str) -> RoutingTable {
        RoutingTable::parse(toml, 1)
            .unwrap_or_else(|faults| panic!("{faults:?}\n{toml}"))
            .0
    }

    /// The export, which reads back to the same table.
    fn exported(toml: &str) -> String {
        let first = table(toml);
        let exported = first.export();
        let again = table(&exported);
        assert_eq!(again.export(), exported, "{toml}");
        assert!(first.reads_back(&exported), "{toml}");
        assert_eq!(difference(&first, &again), [], "{toml}\n{exported}");
        exported
    }

    const A: &str =
        "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:a\"]\n";
    const B: &str =
        "[[room]]\nid = \"b\"\nname = \"B\"\ndomains = [\"b.test\"]\nnext_hops = [\"maildir:b\"]\n";

    /// What an export writes of these rooms where nothing is said of them.
    fn written(room: &str) -> String {
        room.replace("domains", "kind = \"other\"\ndomains") + "accepts_from = \"any\"\n"
    }

    #[test]
    fn a_comment_is_written_again_where_it_stood() {
        let (a, b) = (written(A), written(B));
        #[rustfmt::skip]
        let cases = [
            // at the top, at an entry, in front of all others, and at the end
            (format!("# top\n\n{A}\n{B}\n# end\n"), format!("# top\n\n{a}\n{b}\n# end\n")),
            (format!("# all\n# of it\n\n# more\n\n# of b\n{B}\n# of a\n{A}"), format!("# all\n# of it\n\n# more\n\n# of a\n{a}\n# of b\n{b}")),
            (format!("# of a\n{A}"), format!("# of a\n{a}")),
            (format!("{B}\n# north\n\n# of a\n{A}"), format!("# north\n\n# of a\n{a}\n{b}")),
            (format!("{A}\n# south\n\n# of b\n{B}"), format!("{a}\n# south\n\n# of b\n{b}")),
            (format!("{A}\n# loose\n\n{B}"), format!("{a}\n# loose\n{b}")),
            // right below an entry and parted from the next: of the first
            (format!("{B}# x = 1\n# y\n\n{A}"), format!("{a}\n{b}# x = 1\n# y\n")),
            (format!("{B}# of a\n{A}"), format!("# of a\n{a}\n{b}")),
            (format!("{A}# below\n\n# end"), format!("{a}# below\n\n# end\n")),
            // nothing but comments
            ("# a\n\n\n#\n  # b".to_owned(), "# a\n\n#\n# b\n".to_owned()),
            // at heads and keys
            (A.replace("]]\n", "]] # room\n").replace("name", "# above\n\n  # too\nname").replace("\"A\"", "\"A\"# beside"),
             a.replace("]]\n", "]] # room\n").replace("name", "# above\n# too\nname").replace("\"A\"", "\"A\" # beside")),
            (format!("{A}# hash = \"# none\"\nphone = \"#1\" # phone\n"),
             a.replace("domains", "# hash = \"# none\"\nphone = \"#1\" # phone\ndomains")),
            // workstations and tables, in their order and with their heads
            (format!("{A}# head\n[[room.workstation]] # w1\nuser = \"x\" # u\n# two\n[[room.workstation]]\n# v\nuser = \"y\"\n# s\n[room.strictness] # how\nmissing_tls = \"warn\" # t\n"),
             format!("{a}# s\n[room.strictness] # how\nmissing_tls = \"warn\" # t\n# head\n[[room.workstation]] # w1\nuser = \"x\" # u\n# two\n[[room.workstation]]\n# v\nuser = \"y\"\n")),
            (format!("{A}strictness = {{ missing_tls = \"warn\" }} # s\nworkstation = [ # all\n  {{ user = \"x\" }}, # x\n  # y\n  {{ user = \"y\" }},\n]\n"),
             format!("{a}[room.strictness] # s\nmissing_tls = \"warn\"\n# all\n[[room.workstation]] # x\nuser = \"x\"\n# y\n[[room.workstation]]\nuser = \"y\"\n")),
            (format!("{A}# d\nstrictness.missing_tls = \"warn\" # t\n"), format!("{a}[room.strictness]\n# d\nmissing_tls = \"warn\" # t\n")),
            // of what an export leaves out
            (format!("{A}# p\npriority_ceiling = 4 # most\n"), format!("# p\n# most\n{a}")),
            (format!("{A}[room.strictness] # s\n# t\nmissing_tls = \"report\" # r\n"), format!("# s\n# t\n# r\n{a}")),
            // in lists
            (format!("{A}recipients = [ # all\n  # first\n  \"x\", # one\n  \"y\", \"z\" # three\n  # \"w\",\n] # list\n"),
             a.replace("accepts", "recipients = [\n  # all\n  # first\n  \"x\", # one\n  \"y\",\n  \"z\", # three\n  # \"w\",\n] # list\naccepts")),
            (format!("{A}recipients = [\n  # none\n]\n"), a.replace("accepts", "recipients = [\n  # none\n]\naccepts")),
            (format!("{A}recipients = [\n  \"x\",\n  \"x\", # twice\n  \"y\", # y\n]\n"), a.replace("accepts", "# twice\n# y\nrecipients = [\"x\", \"y\"]\naccepts")),
            // without an end of line, with another one, and with quoted keys
            (format!("{A}\"phone\" = \"1\" # p"), a.replace("domains", "phone = \"1\" # p\ndomains")),
            (format!("# top\n\n# a\n{A}").replace('\n', "\r\n"), format!("# top\n\n# a\n{a}")),
            // what TOML lets pass and a terminal would not
            (format!("# a\tb \u{9b}31m\u{85}\n{A}"), format!("# a\tb  31m\n{a}")),
        ];
        for (toml, expected) in cases {
            assert_eq!(exported(&toml), expected, "{toml}");
        }
    }

    #[test]
    fn namesakes_keep_their_own() {
        let toml = format!(
            "{A}\n{B}\n# z\n[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.9\" # z\n\n# y\n[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.1\"\n\n\
             # late\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nfrom = 2027-01-01T00:00:00Z\nuntil = 2028-01-01T00:00:00Z\n\n\
             # early\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-01T00:00:00Z # soon\n"
        );
        let exported = exported(&toml);
        for kept in [
            "# y\n[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.1/32\"\n\n# z\n[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.9/32\" # z\n",
            "# late\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nfrom = 2027",
            "# early\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-01T00:00:00Z # soon\n",
        ] {
            assert!(exported.contains(kept), "{kept}\n{exported}");
        }
    }

    /// Every kind of line that a table may have.
    const LINES: &str = "[[room]]|id = \"b\"|name = \"B\"|domains = [|\"b.test\",|\"c.test\"|]|next_hops = [\"maildir:b\"]\
        |recipients = [|\"vakt\",|\"leder\", \"vakt\",|]|strictness.missing_tls = \"warn\"|priority_ceiling = 4\
        |[room.scan]|macros = \"refuse\"|[[room.workstation]]|user = \"x\"|[[room.workstation]]|network = \"10.0.0.0/24\"\
        |[[gateway]]|name = \"inn\"|user = \"z\"|[[gateway]]|name = \"inn\"|user = \"a\"\
        |[[room]]|id = \"a\"|name = \"A\"|domains = [\"a.test\"]|next_hops = [|]|accepts_from = [|\"b\"|,|\"a\"|]\
        |workstation = [|{ user = \"p\" },|{ user = \"q\" }|]|[room.strictness]|missing_tls = \"report\"\
        |[[group]]|address = \"alle@a.test\"|members = [ \"vakt@b.test\",|\"leder@b.test\",|]\
        |[[redirect]]|room = \"b\"|to = \"a\"|until = 2027-01-01T00:00:00Z";

    #[test]
    fn no_comment_is_lost_wherever_it_stands() {
        let lines = LINES.replace("next_hops = [|]", "next_hops = [|\"maildir:a\"|]");
        let mut chance = 1_u64;
        let mut next = |below: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (chance >> 33) % below
        };
        for often in [2, 3, 8, 60].repeat(50) {
            let (mut toml, mut count) = (String::new(), 0);
            let mut comment = |toml: &mut String, end: &str| {
                count += 1;
                *toml += &format!("# n{count}.{end}");
            };
            for line in lines.split('|') {
                while next(often) == 0 {
                    match next(2) {
                        0 => toml.push('\n'),
                        _ => comment(&mut toml, "\n"),
                    }
                }
                toml += line;
                match next(often) {
                    0 => comment(&mut toml, "\n"),
                    _ => toml.push('\n'),
                }
            }
            if next(2) == 0 {
                comment(&mut toml, "");
            }
            let exported = exported(&toml);
            for n in 1..=count {
                let found = exported.matches(&format!("# n{n}.")).count();
                assert_eq!(found, 1, "{n}\n{toml}\n{exported}");
            }
            let bare = |text: &str| {
                let lines = text.lines().map(|it| it.split('#').next().unwrap().trim());
                lines
                    .filter(|it| !it.is_empty())
                    .collect::<Vec<_>>()
                    .concat()
            };
            let plain = table(&lines.replace('|', "\n")).export();
            assert_eq!(
                bare(&exported).replace(",]", "]").replace(", ", ","),
                bare(&plain).replace(", ", ",")
            );
        }
    }
}
