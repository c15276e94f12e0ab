//! The alphabets in which DSN parameters carry text: xtext, and its twin for addresses in UTF-8.
//!
//! Texts stay in them from the client to the next hop and are only looked into here: what they hide
//! is printable ASCII or, in an address of the type `utf-8`, letters. So nothing that could end a
//! line is ever carried along. Pure, never fails.

use std::fmt::Write as _;

/// Whether this is xtext (RFC 3461 §4) that stands for printable ASCII (§4.2, §4.4).
pub fn is_printable(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let is_sound = match octet {
            b'=' => false,
            b'+' => matches!(
                (octets.next().and_then(digit), octets.next().and_then(digit)),
                (Some(high), Some(low)) if (0x20..0x7f).contains(&(high * 16 + low))
            ),
            other => other.is_ascii_graphic(),
        };
        if !is_sound {
            return false;
        }
    }
    true
}

/// RFC 3461 §4: the letters of a hexchar are upper case.
const fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// Whether this is an address of the type `utf-8`, in ASCII or with its letters as they are
/// (RFC 6533 §3): `\x{…}` stands for what the alphabet lacks.
pub fn is_utf8_address(text: &str) -> bool {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = match c {
            '\\' => embedded(rest),
            '+' | '=' => None,
            c if c.is_ascii_graphic() || (!c.is_ascii() && is_letter(c)) => {
                rest.get(c.len_utf8()..)
            }
            _ => None,
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// What follows `\x{…}`, where that stands for a character that may be carried.
fn embedded(text: &str) -> Option<&str> {
    let (digits, after) = text.strip_prefix("\\x{")?.split_once('}')?;
    let is_hex = (2..=6).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let c = u32::from_str_radix(digits, 16)
        .ok()
        .and_then(char::from_u32)?;
    (is_hex && is_letter(c)).then_some(after)
}

fn is_letter(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}

/// How many octets [`in_ascii`] takes for a character.
pub fn width(c: char) -> usize {
    if c.is_ascii() {
        1
    } else {
        // `\x{…}`
        4 + (u32::from(c).ilog2() / 4 + 1) as usize
    }
}

/// The same original recipient, its letters beyond ASCII as `\x{…}` (RFC 6533 §3).
pub fn in_ascii(original: &str) -> String {
    let mut text = String::with_capacity(original.len());
    for c in original.chars() {
        push(c, &mut text);
    }
    text
}

fn push(c: char, text: &mut String) {
    if c.is_ascii() {
        text.push(c);
    } else {
        let _ = write!(text, "\\x{{{:X}}}", u32::from(c));
    }
}

/// An address as an original recipient: `rfc822;` and xtext (RFC 3461 §4.2), or `utf-8;` and its
/// alphabet (RFC 6533 §3).
pub fn original(address: &str) -> String {
    let is_ascii = address.is_ascii();
    let mut text = String::from(if is_ascii { "rfc822;" } else { "utf-8;" });
    for c in address.chars() {
        match c {
            '+' | '=' | ' ' if is_ascii => {
                let _ = write!(text, "+{:02X}", u32::from(c));
            }
            '+' | '=' | '\\' | ' ' if !is_ascii => {
                let _ = write!(text, "\\x{{{:02X}}}", u32::from(c));
            }
            c => push(c, &mut text),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_stands_for_printable_ascii() {
        for (text, expected) in [
            ("", true),
            ("QQ314159", true),
            ("vakt@b.test", true),
            ("a+2Bb+3Dc+20d", true),
            ("a\\b", true),
            ("+7E", true),
            ("a=b", false),
            ("a b", false),
            ("a\tb", false),
            ("å", false),
            ("+", false),
            ("+2", false),
            ("+2b", false),
            ("+GG", false),
            ("+å", false),
            ("+0D+0A", false),
            ("+00", false),
            ("+09", false),
            ("+7F", false),
            ("+80", false),
            ("+FF", false),
        ] {
            assert_eq!(is_printable(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_address_in_utf_8_has_an_alphabet_of_its_own() {
        for (text, expected) in [
            ("vakt@b.test", true),
            ("blåbær@b.test", true),
            ("bl\\x{E5}b\\x{e6}r@b.test", true),
            ("\\x{1F691}@b.test", true),
            ("a\\x{2B}b@b.test", true),
            ("a+2Bb@b.test", false),
            ("a=b", false),
            ("a\\b", false),
            ("a\\x{}b", false),
            ("a\\x{E5", false),
            ("\\x{D}", false),
            ("\\x{0D}", false),
            ("\\x{0A}", false),
            ("\\x{85}", false),
            ("\\x{2028}", false),
            ("\\x{D800}", false),
            ("\\x{110000}", false),
            ("\\x{+1F}", false),
            ("a b", false),
            ("a\u{85}b", false),
        ] {
            assert_eq!(is_utf8_address(text), expected, "{text:?}");
        }
    }

    #[test]
    fn originals_are_written_in_ascii_and_read_back() {
        for (address, expected) in [
            ("alle@b.test", "rfc822;alle@b.test"),
            ("a+b=c@b.test", "rfc822;a+2Bb+3Dc@b.test"),
            ("\"a b\\\\\"@b.test", "rfc822;\"a+20b\\\\\"@b.test"),
            ("blåbær@b.test", "utf-8;bl\\x{E5}b\\x{E6}r@b.test"),
            ("å+\\= @b", "utf-8;\\x{E5}\\x{2B}\\x{5C}\\x{3D}\\x{20}@b"),
            ("\u{1f691}@b", "utf-8;\\x{1F691}@b"),
        ] {
            let written = original(address);
            assert_eq!(written, expected);
            let (kind, text) = written.split_once(';').unwrap_or_default();
            assert!(match kind {
                "utf-8" => is_utf8_address(text),
                _ => is_printable(text),
            });
        }
        for original in [
            "utf-8;blåbær@ålesund.test",
            "utf-8;\u{1f691}",
            "rfc822;a+20b",
        ] {
            let ascii = in_ascii(original);
            assert!(ascii.is_ascii());
            assert_eq!(original.chars().map(width).sum::<usize>(), ascii.len());
        }
    }
}
