//! Who wrote a message: every mailbox that any reader could see in its From field.
//!
//! The grammar is RFC 5322 §3.4 without the obsolete forms that readers take apart differently. What
//! is not in the grammar is [`Author::Unclear`], never a guess. A display name that shows an address
//! counts as naming it, since that is what a person in a hurry sees. Nothing here knows which
//! mailboxes are whose.

use std::iter::Peekable;
use std::str::Chars;

use crate::mail::Address;

/// The author(s) in the From field, as policy must see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Exactly one From field, with at least one mailbox, every one of them listed (as written,
    /// decoded; not yet proved to be addresses).
    Mailboxes(Vec<String>),
    Missing,
    Doubled,
    /// A From field that names no mailbox, or one that readers would understand differently.
    Unclear,
}

/// Reads a From field. `written` is its value, `decoded` the same with encoded words decoded.
pub fn author(written: &str, decoded: &str) -> Author {
    let named = mailboxes(written).and_then(|found| with_shown(found, decoded));
    match named {
        Some(found) if !found.is_empty() => Author::Mailboxes(found),
        _ => Author::Unclear,
    }
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
fn mailboxes(text: &str) -> Option<Vec<String>> {
    let pieces = pieces(text)?;
    let mut rest = pieces.as_slice();
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
    let plain: String = decoded
        .chars()
        .filter(|c| *c != '\\')
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

/// Controls, and marks that turn or hide text.
fn is_treacherous(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\r' | '\n'))
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What people take for `@` and `.`
const fn as_ascii(c: char) -> char {
    match c {
        '\u{ff20}' | '\u{fe6b}' => '@',
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{2024}' | '\u{fe52}' => '.',
        _ => c,
    }
}
