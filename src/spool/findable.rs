//! By which words a row of the log is found, what a search wants of them, and whether a row has it.
//!
//! A row has [`Term`]s: parts of addresses, rooms, words of its subject, and so on, each in a [`Role`]. A
//! search wants several things at once; each may be met in several ways. An index of terms finds the rows
//! that may be meant, and [`Wanted::is_met_by`] has the last word on each; what no index knows yet is asked the same. Pure: looks at
//! nothing but what it is given, and cannot fail.

use super::store::{LogRow, Search};
use crate::mail::{Attachment, Reference};

/// As many words are found by of one text.
const WORDS: usize = 64;
/// Letters of a word by which it is found.
const LETTERS: usize = 64;
/// A word with so many digits is a number of some kind: each stands in one row or few.
const DIGITS: usize = 4;
/// So is one with any digit that is so long.
const LONG: usize = 7;

/// Where a term stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    SenderLocal,
    SenderDomain,
    RecipientLocal,
    RecipientDomain,
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
}

impl Role {
    /// The letter by which an index knows it.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::SenderLocal => 'a',
            Self::SenderDomain => 'b',
            Self::RecipientLocal => 'c',
            Self::RecipientDomain => 'd',
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
        }
    }

    /// A place among others, for a set of roles in one number.
    pub(super) const fn bit(self) -> i64 {
        1 << self as i64
    }
}

/// How a term is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// By any part of it.
    Plain,
    /// A number or a name that a machine gave: by how it begins.
    Odd,
    /// As a whole.
    Whole,
}

/// Something by which a row is found, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Term {
    pub(super) role: Role,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The terms of a row, each once.
pub(super) fn terms(row: &LogRow, attachments: &[Attachment]) -> Vec<Term> {
    let mut found = Vec::new();
    if let Some(sender) = &row.sender {
        address(&mut found, sender, Role::SenderLocal, Role::SenderDomain);
    }
    if let Some(recipient) = &row.recipient {
        address(&mut found, recipient, Role::RecipientLocal, Role::RecipientDomain);
    }
    let plain = [
        (Role::SenderRoom, row.sender_room.as_deref()),
        (Role::RecipientRoom, row.recipient_room.as_deref()),
        (Role::User, row.user.as_deref()),
        (Role::Client, Some(row.client.as_str())),
    ];
    for (role, text) in plain {
        let text = text.filter(|it| !it.is_empty());
        found.extend(text.map(|it| term(role, Kind::Plain, it)));
    }
    for (role, text) in [(Role::Subject, &row.subject), (Role::Reply, &row.reply)] {
        found.extend(words(text.as_deref().unwrap_or_default()).map(|it| word(role, it)));
    }
    for id in message_id(row.message_id.as_deref().unwrap_or_default()) {
        found.push(term(Role::MessageId, Kind::Whole, id));
    }
    for attachment in attachments.iter().take(WORDS) {
        found.extend(words(&attachment.name).map(|it| word(Role::Attachment, it)));
        found.extend(attachment.sha256.iter().map(|it| term(Role::Sha256, Kind::Whole, it)));
    }
    found.push(term(Role::Status, Kind::Whole, &row.status));
    found.sort();
    found.dedup();
    found
}

fn term(role: Role, kind: Kind, text: &str) -> Term {
    Term {
        role,
        kind,
        text: lower(text),
    }
}

fn lower(text: &str) -> String {
    text.chars().take(LETTERS).flat_map(char::to_lowercase).collect()
}

/// The null sender is found as a whole, as nothing.
fn address(found: &mut Vec<Term>, text: &str, local: Role, domain: Role) {
    if text.is_empty() {
        found.push(term(local, Kind::Whole, ""));
        return;
    }
    let (mailbox, host) = text.rsplit_once('@').unwrap_or((text, ""));
    found.push(term(local, Kind::Plain, mailbox));
    if !host.is_empty() {
        found.push(term(domain, Kind::Plain, host));
    }
}

fn word(role: Role, text: &str) -> Term {
    let kind = if is_odd(text) { Kind::Odd } else { Kind::Plain };
    term(role, kind, text)
}

fn is_odd(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    word.is_ascii() && (digits >= DIGITS || digits > 0 && word.len() >= LONG)
}

/// Runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|it| !it.is_empty()).take(WORDS)
}

/// All of it, and what stands before the `@`.
fn message_id(text: &str) -> impl Iterator<Item = &str> {
    let bare = bare(text);
    let left = bare.split_once('@').map(|(left, _)| left);
    [Some(bare), left].into_iter().flatten().filter(|it| !it.is_empty())
}

fn bare(text: &str) -> &str {
    let inner = text.trim().strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    inner.unwrap_or(text.trim())
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
    Begins,
    Ends,
    Whole,
}

impl Atom {
    /// Whether a term of that kind and text is meant, whatever its role.
    pub(super) fn means(&self, kind: Kind, text: &str) -> bool {
        let sought = self.text.as_str();
        match (self.how, kind) {
            (How::Whole, _) => text == sought,
            (_, Kind::Whole) => false,
            (How::Part, Kind::Odd) | (How::Begins, _) => text.starts_with(sought),
            (How::Part, Kind::Plain) => text.contains(sought),
            (How::Ends, _) => text.ends_with(sought),
        }
    }

    fn is_met_by(&self, terms: &[Term]) -> bool {
        let meant = |it: &Term| self.roles.contains(&it.role) && self.means(it.kind, &it.text);
        terms.iter().any(meant)
    }
}

/// One way to meet a wish: all of these.
pub(super) type Way = Vec<Atom>;

/// One thing that a search wants; any way will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wish {
    pub(super) ways: Vec<Way>,
    /// Or the row has this reference.
    pub(super) reference: Option<Reference>,
}

/// What a search wants of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) wishes: Vec<Wish>,
}

const SENDER: [Role; 2] = [Role::SenderLocal, Role::SenderDomain];
const RECIPIENT: [Role; 2] = [Role::RecipientLocal, Role::RecipientDomain];
/// Texts that are found by any part of them.
const NAMES: &[Role] = &[
    Role::SenderLocal,
    Role::SenderDomain,
    Role::RecipientLocal,
    Role::RecipientDomain,
    Role::SenderRoom,
    Role::RecipientRoom,
    Role::User,
    Role::Client,
];
const WRITTEN: &[Role] = &[Role::Subject, Role::Attachment, Role::Reply];
const ROOMS: &[Role] = &[Role::SenderRoom, Role::RecipientRoom];
/// As few rows end so, compared with all, that an index helps.
const RARE: [&str; 3] = ["failed", "cancelled", "refused"];

impl Wanted {
    pub(super) fn of(search: &Search) -> Self {
        let mut wishes: Vec<Wish> = search.words.iter().map(|it| anywhere(it)).collect();
        let mut wish = |ways: Option<Vec<Way>>| {
            wishes.extend(ways.map(|ways| Wish { ways, reference: None }));
        };
        wish(search.sender.as_deref().map(|it| address_ways(it, SENDER)));
        wish(search.recipient.as_deref().map(|it| address_ways(it, RECIPIENT)));
        wish(search.room.as_deref().map(|it| vec![vec![atom(ROOMS, How::Whole, it)]]));
        wish(search.subject.as_deref().map(|it| written(&[Role::Subject], it)));
        wish(search.attachment.as_deref().map(attachment_ways));
        wish(search.message_id.as_deref().map(|it| vec![vec![atom(&[Role::MessageId], How::Whole, bare(it))]]));
        wish(search.client.as_deref().map(|it| vec![vec![atom(&[Role::Client], How::Whole, it)]]));
        let rare = search.status.as_deref().filter(|it| RARE.contains(it));
        wish(rare.map(|it| vec![vec![atom(&[Role::Status], How::Whole, it)]]));
        Self { wishes }
    }

    pub(super) fn is_met_by(&self, row: &LogRow, attachments: &[Attachment]) -> bool {
        let terms = terms(row, attachments);
        let is_met = |wish: &Wish| {
            let by_terms = |way: &Way| way.iter().all(|it| it.is_met_by(&terms));
            wish.reference == Some(row.reference) || wish.ways.iter().any(by_terms)
        };
        self.wishes.iter().all(is_met)
    }
}

fn atom(roles: &'static [Role], how: How, text: &str) -> Atom {
    Atom {
        roles,
        how,
        text: lower(text),
    }
}

/// A word of the one box.
fn anywhere(text: &str) -> Wish {
    let text = bare(text);
    let mut ways = vec![vec![atom(NAMES, How::Part, text)]];
    if text.contains('@') {
        ways.extend(address_ways(text, SENDER));
        ways.extend(address_ways(text, RECIPIENT));
    }
    ways.extend(written(WRITTEN, text));
    ways.push(vec![atom(&[Role::MessageId, Role::Sha256], How::Whole, text)]);
    Wish {
        ways,
        reference: text.parse().ok(),
    }
}

/// An address, or part of one: what stands before an `@` ends a mailbox, what stands behind it begins a domain.
fn address_ways(text: &str, [local, domain]: [Role; 2]) -> Vec<Way> {
    let roles: (&'static [Role], &'static [Role], &'static [Role]) = match local {
        Role::SenderLocal => (&[Role::SenderLocal], &[Role::SenderDomain], &SENDER),
        _ => (&[Role::RecipientLocal], &[Role::RecipientDomain], &RECIPIENT),
    };
    let _ = domain;
    if text.is_empty() || text == "<>" {
        return vec![vec![atom(roles.0, How::Whole, "")]];
    }
    match text.rsplit_once('@') {
        None => vec![vec![atom(roles.2, How::Part, text)]],
        Some((mailbox, host)) => {
            let ends = (!mailbox.is_empty()).then(|| atom(roles.0, How::Ends, mailbox));
            let begins = (!host.is_empty()).then(|| atom(roles.1, How::Begins, host));
            vec![ends.into_iter().chain(begins).collect()]
        }
    }
}

/// Each word of it in some word of the text; nothing where there is none.
fn written(roles: &'static [Role], text: &str) -> Vec<Way> {
    let way: Way = words(text).map(|it| atom(roles, How::Part, it)).collect();
    if way.is_empty() { Vec::new() } else { vec![way] }
}

fn attachment_ways(text: &str) -> Vec<Way> {
    let mut ways = written(&[Role::Attachment], text);
    ways.push(vec![atom(&[Role::Sha256], How::Whole, text)]);
    ways
}
