//! The text in pieces: words, "exact words", and fields with their values.

use super::fields::Field;
use crate::pattern;

/// One piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// It stood in quotation marks.
    Exact,
    /// It stood after the name of a field; empty where nothing did.
    Of(Field),
}

pub(super) struct Tokens {
    pub listed: Vec<Token>,
    pub left_out: usize,
}

const QUOTES: [char; 6] = ['"', '“', '”', '„', '«', '»'];
/// What people write after a word, and that belongs to no word.
const MARKS: [char; 6] = [',', ';', '!', '?', '(', ')'];

pub(super) fn split(text: &str, most: usize) -> Tokens {
    let mut rest = text.trim_start();
    let mut tokens = Tokens {
        listed: Vec::new(),
        left_out: 0,
    };
    while !rest.is_empty() {
        let (token, after) = next(rest);
        rest = after.trim_start();
        match token {
            None => {}
            Some(_) if tokens.listed.len() >= most => tokens.left_out += 1,
            Some(token) => tokens.listed.push(token),
        }
    }
    tokens
}

fn next(text: &str) -> (Option<Token>, &str) {
    let (written, after) = piece(text);
    if text.starts_with(QUOTES) {
        return (token(written, Kind::Exact), after);
    }
    let Some((field, value)) = field_of(text, written) else {
        return (token(written, Kind::Plain), after);
    };
    // What stands apart from its field is its value all the same.
    let (value, after) = match value.is_empty() {
        true => piece(after.trim_start()),
        false => piece(text.get(written.len() - value.len()..).unwrap_or_default()),
    };
    let token = Token {
        text: trimmed(value).to_owned(),
        kind: Kind::Of(field),
    };
    (Some(token), after)
}

/// Up to the next white space, or what stands in quotation marks.
fn piece(text: &str) -> (&str, &str) {
    let mut letters = text.chars();
    let is_quoted = letters.next().is_some_and(|it| QUOTES.contains(&it));
    let (text, end) = match is_quoted {
        true => {
            let inner = letters.as_str();
            (inner, inner.find(QUOTES))
        }
        false => (text, text.find(char::is_whitespace)),
    };
    let (written, after) = text.split_at(end.unwrap_or(text.len()));
    (written, after.strip_prefix(QUOTES).unwrap_or(after))
}

fn field_of<'t>(text: &'t str, written: &'t str) -> Option<(Field, &'t str)> {
    let (name, value) = written.split_once(':')?;
    debug_assert!(text.starts_with(name));
    Some((Field::named(name)?, value))
}

fn token(written: &str, kind: Kind) -> Option<Token> {
    let text = match kind {
        Kind::Plain => trimmed(written),
        _ => written.trim(),
    };
    let text = text.to_owned();
    (!text.is_empty()).then_some(Token { text, kind })
}

/// Without marks and what nobody sees at its ends, unless it is nothing else.
fn trimmed(written: &str) -> &str {
    let is_apart = |c: char| MARKS.contains(&c) || pattern::is_unseen(c);
    match written.trim_matches(is_apart) {
        "" => written.trim_matches(pattern::is_unseen),
        inner => inner,
    }
}
