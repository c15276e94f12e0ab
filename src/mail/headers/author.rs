//! Whom a message says that it is from: every mailbox that any reader could see in From, Sender,
//! Resent-From and Resent-Sender.
//!
//! The grammar is RFC 5322 §3.4 without the obsolete forms that readers take apart differently. What
//! is not in the grammar is [`Author::Unclear`], never a guess. A display name that shows an address
//! counts as naming it, since that is what a person in a hurry sees. Nothing here knows which
//! mailboxes are whose.

use std::iter::Peekable;
use std::str::Chars;

use crate::mail::Address;

/// A field that says whom a message is from, or who has sent it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origination {
    From,
    Sender,
    ResentFrom,
    ResentSender,
}

impl Origination {
    pub const ALL: [Self; 4] = [
        Self::From,
        Self::Sender,
        Self::ResentFrom,
        Self::ResentSender,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::From => "From",
            Self::Sender => "Sender",
            Self::ResentFrom => "Resent-From",
            Self::ResentSender => "Resent-Sender",
        }
    }

    /// The field of that name, spelt without a fault.
    pub fn of(name: &[u8]) -> Option<Self> {
        let is = |it: &Self| name.eq_ignore_ascii_case(it.name().as_bytes());
        Self::ALL.into_iter().find(is)
    }

    /// RFC 5322 §3.6.6: once for each time that somebody sent the message on.
    pub const fn may_repeat(self) -> bool {
        matches!(self, Self::ResentFrom | Self::ResentSender)
    }

    /// RFC 5322 §3.6.2: one mailbox, and no group (which RFC 6854 allows, and few readers know).
    pub const fn names_one(self) -> bool {
        matches!(self, Self::Sender | Self::ResentSender)
    }
}

/// What one such field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub field: Origination,
    pub author: Author,
}

/// The mailboxes in such a field, as policy must see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// At least one, every one of them listed (as written, decoded; not yet proved to be addresses).
    Mailboxes(Vec<String>),
    /// There is no From field.
    Missing,
    /// The field is there more than once, and may not be.
    Doubled,
    /// More than one mailbox in a field for one.
    Several,
    /// A field that names no mailbox, or one that readers would understand differently.
    Unclear,
}

/// Reads a field. `written` is its value, `decoded` the same with encoded words decoded.
pub fn author(field: Origination, written: &str, decoded: &str) -> Author {
    let Some(pieces) = pieces(written) else {
        return Author::Unclear;
    };
    let found = match mailboxes(&pieces) {
        Some(found) if found.len() > 1 && field.names_one() => return Author::Several,
        Some(found) => found,
        None => return Author::Unclear,
    };
    let has_group = pieces.iter().any(|piece| piece.is(':'));
    match with_shown(found, decoded) {
        Some(found) if !(found.is_empty() || has_group && field.names_one()) => {
            Author::Mailboxes(found)
        }
        _ => Author::Unclear,
    }
}

/// As much of a line as the name of a field may fill, with all that is put between its letters.
const NAME_OCTETS: usize = 64;

/// One of these fields that only some readers, or a person's eyes, see in `line`: its name is spelt
/// oddly, or begins with what is no name. What is spelt without a fault looks like itself. Whatever
/// could still become a name where its room ends counts as one: a line is looked at so often that each
/// look must be short.
pub fn resembled(line: &[u8]) -> Option<Origination> {
    let start = line.get(..NAME_OCTETS).unwrap_or(line);
    let is_whole = start.len() == line.len();
    let chars = start.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    let letters = chars.filter_map(as_letter).skip_while(|c| *c == ':');
    let is = |it: &Origination| {
        let mut name = it.name().chars().map(|c| c.to_ascii_lowercase());
        for letter in letters.clone() {
            match (letter, name.next()) {
                (':', None) => return true,
                (letter, Some(expected)) if letter == expected => {}
                _ => return false,
            }
        }
        !is_whole || name.next().is_none()
    };
    Origination::ALL.into_iter().find(is)
}

/// The letter of a field's name that people or readers may take `c` for; `None`: nothing at all.
const fn as_letter(c: char) -> Option<char> {
    Some(match c {
        '\u{ff01}'..='\u{ff5e}' => match char::from_u32(c as u32 - 0xfee0) {
            Some(twin) => twin.to_ascii_lowercase(),
            None => c,
        },
        'е' | 'Е' | 'Ε' => 'e',
        'о' | 'О' | 'ο' | 'Ο' => 'o',
        'ѕ' | 'Ѕ' | 'ſ' => 's',
        'г' => 'r',
        'м' | 'М' | 'Μ' => 'm',
        'п' | 'ո' | 'Ν' => 'n',
        'ԁ' => 'd',
        'т' | 'Т' | 'Τ' => 't',
        'ƒ' => 'f',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{a789}' | '\u{2236}' | '\u{fe55}' => ':',
        _ if c.is_ascii_graphic() => c.to_ascii_lowercase(),
        _ if c.is_ascii() || c.is_whitespace() || is_hidden(c) => return None,
        _ => c,
    })
}

/// Marks that take no room, or turn the direction of the text.
const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[derive(Debug, PartialEq)]
enum Token {
    /// A run of characters that mean nothing by themselves, `.` and `@` among them.
    Word(String),
    /// A quoted string, without its quotes and escapes.
    Quoted(String),
    /// `<`, `>`, `,`, `:` or `;`
    Sign(char),
}

/// A token, and whether a space or a comment stands before it.
#[derive(Debug)]
struct Piece {
    token: Token,
    apart: bool,
}

impl Piece {
    fn is(&self, sign: char) -> bool {
        self.token == Token::Sign(sign)
    }

    const fn is_sign(&self) -> bool {
        matches!(self.token, Token::Sign(_))
    }
}

/// The mailboxes by the grammar; `None` where the text does not follow it.
fn mailboxes(pieces: &[Piece]) -> Option<Vec<String>> {
    let mut rest = pieces;
    let mut found = Vec::new();
    let mut in_group = false;
    loop {
        let words = rest.iter().take_while(|piece| !piece.is_sign()).count();
        let (phrase, after) = rest.split_at_checked(words)?;
        match after.split_first() {
            Some((sign, after)) if sign.is('<') => {
                let (mailbox, after) = angle(after)?;
                found.push(mailbox);
                rest = after;
            }
            // RFC 5322 §3.4 group: its mailboxes count like any others.
            Some((sign, after)) if sign.is(':') && !in_group && !phrase.is_empty() => {
                in_group = true;
                rest = after;
                if rest.first().is_some_and(|piece| !piece.is(';')) {
                    continue;
                }
            }
            _ => {
                found.push(addr_spec(phrase)?);
                rest = after;
            }
        }
        if in_group && rest.first().is_some_and(|piece| piece.is(';')) {
            in_group = false;
            rest = rest.get(1..)?;
        }
        match rest.split_first() {
            None if in_group => return None,
            None => return Some(found),
            Some((sign, after)) if sign.is(',') => rest = after,
            Some(_) => return None,
        }
    }
}

/// `vakt@a.test>`, and what comes after.
fn angle(rest: &[Piece]) -> Option<(String, &[Piece])> {
    let words = rest.iter().take_while(|piece| !piece.is_sign()).count();
    let (inside, after) = rest.split_at_checked(words)?;
    let (end, after) = after.split_first()?;
    end.is('>').then_some(())?;
    Some((addr_spec(inside)?, after))
}

/// RFC 5322 §3.4.1, in one piece: spaces and comments within it are obsolete, and a trap.
fn addr_spec(pieces: &[Piece]) -> Option<String> {
    let text = match pieces {
        [
            Piece {
                token: Token::Word(word),
                ..
            },
        ] => word.clone(),
        [
            Piece {
                token: Token::Quoted(local),
                ..
            },
            Piece {
                token: Token::Word(domain),
                apart: false,
            },
        ] if domain.starts_with('@') => {
            format!(
                "\"{}\"{domain}",
                local.replace('\\', "\\\\").replace('"', "\\\"")
            )
        }
        _ => return None,
    };
    let domain = text.rsplit_once('@').map(|(_, domain)| domain)?;
    let plain = !domain.is_empty() && !text.starts_with('@') && !text.contains("=?");
    plain.then_some(text)
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut apart = false;
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        let token = match c {
            ' ' | '\t' | '\r' | '\n' => {
                chars.next();
                apart = true;
                continue;
            }
            '(' => {
                skip_comment(&mut chars)?;
                apart = true;
                continue;
            }
            '"' => Token::Quoted(quoted(&mut chars)?),
            '<' | '>' | ',' | ':' | ';' => {
                chars.next();
                Token::Sign(c)
            }
            ')' | '[' | ']' | '\\' => return None,
            _ => Token::Word(word(&mut chars)),
        };
        pieces.push(Piece { token, apart });
        apart = false;
    }
    Some(pieces)
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| !" \t\r\n()<>[]:;,\\\"".contains(*c)) {
        word.push(c);
    }
    word
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    chars.next();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            '\r' | '\n' => {}
            c => text.push(c),
        }
    }
}

/// RFC 5322 §3.2.2: comments nest.
fn skip_comment(chars: &mut Peekable<Chars<'_>>) -> Option<()> {
    let mut depth = 0_usize;
    loop {
        match chars.next()? {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(()),
            ')' => depth -= 1,
            '\\' => drop(chars.next()?),
            _ => {}
        }
    }
}

/// Adds what only looks like a mailbox: in display names, comments and encoded words.
fn with_shown(mut found: Vec<String>, decoded: &str) -> Option<Vec<String>> {
    // An encoded word that could not be decoded, or a text that is read backwards.
    if decoded.contains("=?") || decoded.chars().any(is_treacherous) {
        return None;
    }
    if found.iter().any(|it| it.contains(is_hidden)) {
        return None;
    }
    // Marks that take no room come with names that are pasted; nobody sees them.
    let plain: String = decoded
        .chars()
        .filter(|c| *c != '\\' && !is_hidden(*c))
        .map(as_ascii)
        .collect();
    let plain = without_quoted_mailboxes(plain, &found);
    add_shown(&mut found, &plain)?;
    if plain.contains('"') {
        // A reader that leaves the quotes out shows what stands on both sides of them as one.
        add_shown(&mut found, &plain.replace('"', ""))?;
    }
    Some(found)
}

/// A quoted local part is in two pieces to a scan for words; it is known already.
fn without_quoted_mailboxes(mut plain: String, found: &[String]) -> String {
    for mailbox in found.iter().filter(|it| it.starts_with('"')) {
        plain = plain.replace(&mailbox.replace('\\', ""), " ");
    }
    plain
}

/// `None`: an address is shown in pieces that a person reads as one.
fn add_shown(found: &mut Vec<String>, plain: &str) -> Option<()> {
    let mut words = plain
        .split(|c: char| c.is_whitespace() || "()<>[]:;,\"".contains(c))
        .map(|word| word.trim_matches(['.', '\'', '`']))
        .filter(|word| !word.is_empty())
        .peekable();
    while let Some(shown) = words.next() {
        // Which of the signs is the one, only eyes decide.
        if shown.contains('.') && shown.matches('@').nth(1).is_some() {
            return None;
        }
        let (Some((local, _)), Some((_, domain))) = (shown.split_once('@'), shown.rsplit_once('@'))
        else {
            continue;
        };
        if local.is_empty() || domain.is_empty() {
            let mut next_is_dotted = || words.peek().is_some_and(|next| next.contains('.'));
            if domain.contains('.') || (domain.is_empty() && next_is_dotted()) {
                return None;
            }
        } else if domain.contains('.') && !listed(found, shown) {
            Address::parse(shown).ok()?;
            found.push(shown.to_owned());
        }
    }
    Some(())
}

fn listed(found: &[String], shown: &str) -> bool {
    found.iter().any(|mailbox| mailbox == shown)
}

/// Controls, and marks that turn the direction of the text or end its line.
fn is_treacherous(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
        || matches!(
            c,
            '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202b}'
                | '\u{202d}'
                | '\u{202e}'
                | '\u{2067}'
        )
}

/// What people take for `@` and `.`
const fn as_ascii(c: char) -> char {
    match c {
        '\u{ff20}' | '\u{fe6b}' => '@',
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{2024}' | '\u{fe52}' => '.',
        _ => c,
    }
}
