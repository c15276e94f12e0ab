//! By which words a row of the log is found, what a search wants, and whether a row has it.
//!
//! A row has [`Term`]s: parts of addresses, rooms, words of its subject, and so on, each in a [`Role`]. A
//! search is [`Wish`]es, all of which a row must meet; each can be put as [`Way`]s to ask an index of terms,
//! which may name rows too many but never too few, and [`Wish::is_met_by`] has the last word on each. Pure:
//! looks at nothing but what it is given, and cannot fail.

use super::store::{LogRow, Search};
use crate::mail::{Attachment, Reference};
use crate::pattern;

/// Words of one text by which it is found: more than one has that the log keeps, in whatever form it was written.
const WORDS: usize = 4_096;
/// Letters of a word by which it is found: the same.
const LETTERS: usize = 8_192;
/// Attachments of one message by which it is found.
const FILES: usize = 64;
/// Letters of an address, or of another name: the same.
const NAME: usize = 8_192;
/// A word with a digit and so many letters is a number of some kind: each stands in one row or few.
const NUMBER: usize = 4;

/// In the place of what nobody sees, in what the log keeps.
const UNSEEN: char = '?';

/// Where a term stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    Sender,
    Recipient,
    SenderRoom,
    RecipientRoom,
    Subject,
    Attachment,
    Sha256,
    Reply,
    User,
    Client,
    MessageId,
    Status,
    /// Nowhere: the row has more than it is found by, and is looked at whatever is sought.
    More,
}

impl Role {
    pub(super) const ALL: &[Self] = &[
        Self::Sender,
        Self::Recipient,
        Self::SenderRoom,
        Self::RecipientRoom,
        Self::Subject,
        Self::Attachment,
        Self::Sha256,
        Self::Reply,
        Self::User,
        Self::Client,
        Self::MessageId,
        Self::Status,
        Self::More,
    ];

    /// The letter by which an index knows it.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Sender => 'a',
            Self::Recipient => 'b',
            Self::SenderRoom => 'e',
            Self::RecipientRoom => 'f',
            Self::Subject => 's',
            Self::Attachment => 'n',
            Self::Sha256 => 'k',
            Self::Reply => 'p',
            Self::User => 'u',
            Self::Client => 'i',
            Self::MessageId => 'm',
            Self::Status => 'z',
            Self::More => 'w',
        }
    }

    /// A place among others, for a set of roles in one number.
    pub(super) const fn bit(self) -> i64 {
        1 << self as i64
    }

    pub(super) fn bits(roles: &[Self]) -> i64 {
        roles.iter().fold(0, |bits, it| bits | it.bit())
    }

    /// Whether odd terms stand there.
    pub(super) const fn has_odd(self) -> bool {
        matches!(self, Self::Subject | Self::Attachment | Self::Reply)
    }
}

/// How a term is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// By any part of it.
    Plain,
    /// A number, or a name that a machine gave: by how it begins.
    Odd,
    /// As a whole.
    Whole,
}

/// Something by which a row is found, as people compare it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Term {
    pub(super) role: Role,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The terms of a row, each once.
pub(super) fn terms(row: &LogRow, files: &[Attachment]) -> Vec<Term> {
    let mut terms = Terms::default();
    for (role, name) in [
        (Role::Sender, row.sender.as_deref()),
        (Role::Recipient, row.recipient.as_deref()),
        (Role::SenderRoom, row.sender_room.as_deref()),
        (Role::RecipientRoom, row.recipient_room.as_deref()),
        (Role::User, row.user.as_deref()),
        (Role::User, row.certificate.as_deref()),
        (Role::Client, Some(row.client.as_str())),
    ] {
        terms.name(role, name.unwrap_or_default());
    }
    if row.sender.as_deref().unwrap_or_default().is_empty() {
        // The null sender.
        terms.add(Role::Sender, Kind::Whole, "", 0);
    }
    terms.words(Role::Subject, row.subject.as_deref().unwrap_or_default());
    terms.words(Role::Reply, &reply(row));
    for file in files.iter().take(FILES) {
        terms.words(Role::Attachment, &file.name);
        if let Some(sha256) = &file.sha256 {
            terms.add(Role::Sha256, Kind::Whole, sha256, LETTERS);
        }
    }
    if let Some(id) = &row.message_id {
        terms.add(Role::MessageId, Kind::Odd, bare(id), LETTERS);
    }
    if RARE.contains(&row.status.as_str()) {
        terms.add(Role::Status, Kind::Whole, &row.status, LETTERS);
    }
    terms.more |= FILES < files.len();
    terms.finish()
}

#[derive(Default)]
struct Terms {
    found: Vec<Term>,
    /// Something was left out.
    more: bool,
}

impl Terms {
    fn add(&mut self, role: Role, kind: Kind, text: &str, letters: usize) {
        let text = lower(text, letters);
        self.found.push(Term { role, kind, text });
    }

    fn name(&mut self, role: Role, name: &str) {
        self.more |= folded(name).chars().nth(NAME).is_some();
        if !name.is_empty() {
            self.add(role, Kind::Plain, name, NAME);
        }
    }

    fn words(&mut self, role: Role, text: &str) {
        for (number, word) in words(&folded(text)).enumerate() {
            self.more |= number == WORDS || word.chars().nth(LETTERS).is_some();
            if number == WORDS {
                return;
            }
            let kind = if is_odd(word) { Kind::Odd } else { Kind::Plain };
            self.add(role, kind, word, LETTERS);
        }
    }

    fn finish(mut self) -> Vec<Term> {
        if self.more {
            self.add(Role::More, Kind::Whole, "", 0);
        }
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// As people compare it. What is not seen is kept as a question mark, which parts no word in two.
fn folded(text: &str) -> String {
    let text = pattern::folded(text);
    let mut parts = text.split(UNSEEN);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = whole.trim_end_matches(UNSEEN);
        match known.ends_with(char::is_alphabetic) && part.starts_with(char::is_alphabetic) {
            true => whole.truncate(known.len()),
            false => whole.push(UNSEEN),
        }
        whole.push_str(part);
    }
    whole
}

fn lower(text: &str, letters: usize) -> String {
    folded(text).chars().take(letters).collect()
}

fn is_odd(word: &str) -> bool {
    NUMBER <= word.len() && word.is_ascii() && word.bytes().any(|it| it.is_ascii_digit())
}

/// Runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|it| !it.is_empty())
}

/// Without the row's own reference, by which it is found anyhow.
fn reply(row: &LogRow) -> String {
    let reply = row.reply.as_deref().unwrap_or_default();
    reply.replace(&row.reference.to_string(), "")
}

fn bare(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    inner.filter(|it| !it.is_empty()).unwrap_or(text)
}

/// One thing about a term, in any of these roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) roles: &'static [Role],
    pub(super) how: How,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The term has this in it, or, where it is odd, begins with it.
    Part,
    /// An odd term begins so.
    Opens,
    Whole,
}

impl Atom {
    fn of(roles: &'static [Role], how: How, text: &str) -> Self {
        let text = lower(text, NAME);
        Self { roles, how, text }
    }
}

/// One way to meet a wish: all of these. Without any: every row may meet it.
pub(super) type Way = Vec<Atom>;

/// One thing that a search wants of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    what: What,
    /// As people compare it.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Anywhere,
    Sender,
    Recipient,
    Address,
    Room,
    Subject,
    Attachment,
    MessageId,
    Client,
    Reply,
    Status,
}

const ROOMS: &[Role] = &[Role::SenderRoom, Role::RecipientRoom];
/// What is found by any part of it.
const NAMES: &[Role] = &[
    Role::Sender,
    Role::Recipient,
    Role::SenderRoom,
    Role::RecipientRoom,
    Role::User,
    Role::Client,
];
/// As few rows end so, compared with all, that an index helps.
const RARE: [&str; 3] = ["failed", "cancelled", "refused"];
/// How people write the null sender, which the log keeps as nothing.
const NULL_SENDER: &str = "<>";

impl Wish {
    /// All that a search wants but its reference, times and place.
    pub(super) fn all(search: &Search) -> Vec<Self> {
        let anywhere = search.words.iter().map(|it| (What::Anywhere, Some(it)));
        let fields = [
            (What::Sender, &search.sender),
            (What::Recipient, &search.recipient),
            (What::Address, &search.address),
            (What::Room, &search.room),
            (What::Subject, &search.subject),
            (What::Attachment, &search.attachment),
            (What::MessageId, &search.message_id),
            (What::Client, &search.client),
            (What::Reply, &search.reply),
            (What::Status, &search.status),
        ];
        let fields = fields.into_iter().map(|(what, text)| (what, text.as_ref()));
        let wish = |(what, text): (What, Option<&String>)| {
            let text = folded(bare(text?));
            Some(Self { what, text })
        };
        anywhere.chain(fields).filter_map(wish).collect()
    }

    /// A reference is a word too.
    pub(super) fn reference(&self) -> Option<Reference> {
        let text = Some(&self.text).filter(|_| self.what == What::Anywhere);
        text.and_then(|it| it.parse().ok())
    }

    /// Whether the files of a message must be known to tell whether a row of it is meant.
    pub(super) fn asks_for_files(&self) -> bool {
        matches!(self.what, What::Anywhere | What::Attachment)
    }

    pub(super) fn is_met_by(&self, row: &LogRow, files: &[Attachment]) -> bool {
        let text = self.text.as_str();
        let is_room = |room: &Option<String>| room.as_ref().is_some_and(|it| folded(it) == text);
        let client = folded(&row.client);
        match self.what {
            What::Sender => is_sender(row, text),
            What::Recipient => holds(row.recipient.as_deref(), text),
            What::Address => is_sender(row, text) || holds(row.recipient.as_deref(), text),
            What::Room => is_room(&row.sender_room) || is_room(&row.recipient_room),
            What::Subject => has_words(row.subject.as_deref().unwrap_or_default(), text),
            What::Attachment => files.iter().any(|it| is_file(it, text)),
            What::MessageId => is_message_id(row, text),
            What::Client => client == text,
            What::Reply => is_reply(row, text),
            What::Status => row.status == text,
            What::Anywhere => self.is_anywhere(row, files),
        }
    }

    fn is_anywhere(&self, row: &LogRow, files: &[Attachment]) -> bool {
        let text = self.text.as_str();
        let names = [
            &row.sender_room,
            &row.recipient_room,
            &row.user,
            &row.certificate,
        ];
        self.reference() == Some(row.reference)
            || is_sender(row, text)
            || holds(row.recipient.as_deref(), text)
            || names.into_iter().any(|it| holds(it.as_deref(), text))
            || holds(Some(&row.client), text)
            || has_phrase(row.subject.as_deref().unwrap_or_default(), text)
            || is_message_id(row, text)
            || is_reply(row, text)
            || files.iter().any(|it| is_file(it, text))
    }

    /// How an index is asked for it; any of these will do.
    pub(super) fn ways(&self) -> Vec<Way> {
        let text = self.text.as_str();
        match self.what {
            What::Sender => sender_ways(text),
            What::Recipient => part(&[Role::Recipient], text),
            What::Address => [sender_ways(text), part(&[Role::Recipient], text)].concat(),
            What::Room => vec![vec![Atom::of(ROOMS, How::Whole, text)]],
            What::Subject => written(&[Role::Subject], text),
            What::Attachment => file_ways(text),
            What::MessageId => message_id_ways(text),
            What::Client => vec![vec![Atom::of(&[Role::Client], How::Whole, text)]],
            What::Reply => written(&[Role::Reply], text),
            What::Status if RARE.contains(&text) => {
                vec![vec![Atom::of(&[Role::Status], How::Whole, text)]]
            }
            What::Status => vec![Vec::new()],
            What::Anywhere => [
                part(NAMES, text),
                null_sender_ways(text),
                written(&[Role::Subject], text),
                message_id_ways(text),
                written(&[Role::Reply], text),
                file_ways(text),
            ]
            .concat(),
        }
    }
}

fn holds(text: Option<&str>, sought: &str) -> bool {
    text.is_some_and(|it| folded(it).contains(sought))
}

fn is_sender(row: &LogRow, sought: &str) -> bool {
    match sought {
        NULL_SENDER | "" => row.sender.as_deref().unwrap_or_default().is_empty(),
        _ => holds(row.sender.as_deref(), sought),
    }
}

/// By all of it, or by how it begins.
fn is_message_id(row: &LogRow, sought: &str) -> bool {
    let id = folded(bare(row.message_id.as_deref().unwrap_or_default()));
    !sought.is_empty() && id.starts_with(sought)
}

fn is_reply(row: &LogRow, sought: &str) -> bool {
    let reply = reply(row);
    holds(Some(&reply), sought) && has_words(&reply, sought)
}

fn is_file(file: &Attachment, sought: &str) -> bool {
    file.sha256.as_deref() == Some(sought)
        || holds(Some(&file.name), sought) && has_words(&file.name, sought)
}

/// Each word that is sought is part of some word; of an odd one, its beginning.
fn has_words(text: &str, sought: &str) -> bool {
    let text = folded(text);
    let is_there = |sought: &str| {
        words(&text).any(|word| match is_odd(word) {
            true => word.starts_with(sought),
            false => word.contains(sought),
        })
    };
    words(sought).next().is_some() && words(sought).all(is_there)
}

/// The same; several words stand together as they are sought.
fn has_phrase(text: &str, sought: &str) -> bool {
    let is_one = !sought.contains(char::is_whitespace);
    has_words(text, sought) && (is_one || holds(Some(text), sought))
}

fn part(roles: &'static [Role], text: &str) -> Vec<Way> {
    vec![vec![Atom::of(roles, How::Part, text)]]
}

fn sender_ways(text: &str) -> Vec<Way> {
    let null = null_sender_ways(text);
    match null.is_empty() {
        true => part(&[Role::Sender], text),
        false => null,
    }
}

fn null_sender_ways(text: &str) -> Vec<Way> {
    let is_null = matches!(text, NULL_SENDER | "");
    let way = || vec![Atom::of(&[Role::Sender], How::Whole, "")];
    is_null.then(way).into_iter().collect()
}

/// Each word of it in some word of the text.
fn written(roles: &'static [Role], text: &str) -> Vec<Way> {
    let cut = |word| Atom {
        text: lower(word, LETTERS),
        ..Atom::of(roles, How::Part, word)
    };
    let way: Way = words(text).map(cut).collect();
    if way.is_empty() {
        Vec::new()
    } else {
        vec![way]
    }
}

fn file_ways(text: &str) -> Vec<Way> {
    let mut ways = written(&[Role::Attachment], text);
    ways.push(vec![Atom::of(&[Role::Sha256], How::Whole, text)]);
    ways
}

fn message_id_ways(text: &str) -> Vec<Way> {
    let text = lower(text, LETTERS);
    match text.is_empty() {
        true => Vec::new(),
        false => vec![vec![Atom::of(&[Role::MessageId], How::Opens, &text)]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Timestamp;

    fn row(text: &str) -> LogRow {
        LogRow {
            reference: Reference::from_number(7),
            at: Timestamp::from_millis(0),
            status: "delivered".to_owned(),
            sender: Some(text.to_owned()),
            sender_room: None,
            recipient: Some(text.to_owned()),
            recipient_room: None,
            subject: Some(text.to_owned()),
            size: None,
            message_id: Some(text.to_owned()),
            client: String::new(),
            user: None,
            reply: Some(text.to_owned()),
            place: 0,
            count: 1,
            exception: None,
            certificate: None,
        }
    }

    /// A row that has more than it is found by is looked at whatever is sought.
    #[test]
    fn no_text_of_the_log_makes_every_search_look_at_its_row() {
        for text in [
            "q".repeat(998),
            "q ".repeat(499),
            "\u{fdfa}".repeat(332),
            "\u{3300}".repeat(332),
            "\u{fb03}".repeat(332),
            "7a7b".repeat(249),
        ] {
            let terms = terms(&row(&text), &[]);
            assert!(terms.iter().all(|it| it.role != Role::More), "{text}");
        }
    }

    #[test]
    fn a_word_is_the_same_in_whatever_form_it_was_written() {
        for (one, other) in [
            ("Bla\u{30a}lys", "BL\u{c5}LYS"),
            ("for?mann", "formann"),
            ("for???mann", "formann"),
            ("\u{39f}\u{3a3}", "\u{3bf}\u{3c2}"),
            ("\u{fb01}n", "fin"),
        ] {
            let row = row(one);
            let search = Search {
                words: vec![other.to_owned()],
                ..Search::default()
            };
            let wishes = Wish::all(&search);
            assert!(
                wishes.iter().all(|it| it.is_met_by(&row, &[])),
                "{one}, {other}"
            );
        }
        assert_eq!(folded("hva? nei ?7 a?7 ?"), "hva? nei ?7 a?7 ?");
    }
}
