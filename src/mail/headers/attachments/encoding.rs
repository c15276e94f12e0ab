//! Transfer encodings undone, in each way in which readers undo what is written wrongly.
//!
//! A sound encoding has one reading. Padding in the middle, noise and words that nobody knows have
//! several, and a file that only one reader finds is still a file. Cannot fail: at worst a body is
//! given as it stands.

use bytes::Bytes;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::inline;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
    Uuencode,
}

/// What a Content-Transfer-Encoding field says (RFC 2045 §6.1): more than one where readers may differ.
pub(super) fn read(value: &[u8]) -> Vec<Encoding> {
    let word = without_comments(value);
    let has = |it: &str| word.contains(it);
    let is_plain = value.trim_ascii().eq_ignore_ascii_case(word.as_bytes());
    match word.as_str() {
        // Some readers know the bare word only.
        "base64" if !is_plain => vec![Encoding::Base64, Encoding::Identity],
        "base64" => vec![Encoding::Base64],
        "quoted-printable" if is_plain => vec![Encoding::QuotedPrintable],
        "" | "7bit" | "8bit" | "binary" => vec![Encoding::Identity],
        _ if has("quoted") => vec![Encoding::QuotedPrintable, Encoding::Identity],
        _ if has("uue") => vec![Encoding::Uuencode, Encoding::Identity],
        // RFC 2045 §6.4 has readers leave it alone. Some guess.
        _ => vec![Encoding::Base64, Encoding::Identity],
    }
}

/// In lower case, with nothing in it that some readers overlook.
fn without_comments(value: &[u8]) -> String {
    let mut depth = 0_usize;
    let mut word = String::new();
    for byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b'"' | b'\'' | b';' => {}
            _ if byte.is_ascii_graphic() => word.push(byte.to_ascii_lowercase() as char),
            _ => {}
        }
    }
    word
}

/// At least one reading of a body, the likeliest first, each once.
pub(super) fn readings(body: &Bytes, encoding: Encoding) -> Vec<Bytes> {
    let mut readings: Vec<Bytes> = Vec::new();
    let mut add = |bytes: Bytes| {
        if !readings.contains(&bytes) {
            readings.push(bytes);
        }
    };
    match encoding {
        Encoding::Identity => add(body.clone()),
        Encoding::Base64 => base64(body).into_iter().for_each(add),
        Encoding::QuotedPrintable => match quoted_printable_decode(body) {
            Some(decoded) => add(decoded.into()),
            None => {
                add(quoted_printable(body).into());
                add(body.clone());
            }
        },
        Encoding::Uuencode => {
            let files = inline::enclosed(body, 1).into_iter();
            files.for_each(|it| add(it.bytes.into()));
            add(body.clone());
        }
    }
    readings
}

/// How many octets the readings of a body may need.
pub(super) const fn cost(body: &Bytes, encoding: Encoding) -> usize {
    match encoding {
        Encoding::Identity => 0,
        Encoding::Base64 | Encoding::QuotedPrintable | Encoding::Uuencode => body.len(),
    }
}

/// How a padding sign in the middle is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// As the end of all.
    Ends,
    /// As the end of a piece, with another after it.
    Parts,
    /// Like any other noise.
    Skipped,
}

#[derive(Debug, Default)]
struct Decoded {
    bytes: Vec<u8>,
    /// Something stands after the padding.
    goes_on: bool,
    /// Octets that have no place there.
    noise: usize,
}

fn base64(body: &Bytes) -> Vec<Bytes> {
    let first = base64_with(body, Padding::Ends);
    let (goes_on, noise) = (first.goes_on, first.noise);
    let mut readings = vec![Bytes::from(first.bytes)];
    if goes_on {
        readings.push(base64_with(body, Padding::Parts).bytes.into());
        readings.push(base64_with(body, Padding::Skipped).bytes.into());
    }
    if noise > 0 || goes_on {
        readings.push(body.clone());
    }
    readings
}

/// A line of base64 on its own.
pub(super) fn base64_line(line: &[u8]) -> Vec<u8> {
    base64_with(line, Padding::Parts).bytes
}

/// RFC 2045 §6.8: what is not of the alphabet is to be ignored.
fn base64_with(body: &[u8], padding: Padding) -> Decoded {
    let mut out = Decoded {
        bytes: Vec::with_capacity(body.len() / 4 * 3 + 3),
        ..Decoded::default()
    };
    let (mut group, mut count) = (0_u32, 0_u8);
    let mut is_padded = false;
    let mut rest = body;
    loop {
        if count == 0 && !(is_padded && padding == Padding::Ends) {
            rest = whole_groups(rest, &mut out.bytes);
        }
        let Some((&byte, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        match SEXTETS.get(usize::from(byte)).copied().unwrap_or(NOISE) {
            _ if is_padded && padding == Padding::Ends => {
                if !matches!(byte, b'=' | b' ' | b'\t' | b'\r' | b'\n') {
                    out.goes_on = true;
                    return out;
                }
            }
            NOISE if byte == b'=' => {
                if padding != Padding::Skipped {
                    out.flush(group, count);
                    (group, count) = (0, 0);
                    is_padded = true;
                }
            }
            NOISE => out.noise += usize::from(!byte.is_ascii_whitespace()),
            sextet => {
                group = (group << 6) | u32::from(sextet);
                count += 1;
                if count == 4 {
                    let [_, triple @ ..] = group.to_be_bytes();
                    out.bytes.extend_from_slice(&triple);
                    (group, count) = (0, 0);
                }
            }
        }
    }
    out.flush(group, count);
    out
}

/// Decodes as long as four octets at a time are of the alphabet, as most are, and gives what is left.
fn whole_groups<'a>(body: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let sextet = |octet: u8| SEXTETS.get(usize::from(octet)).copied().unwrap_or(NOISE);
    let mut rest = body;
    while let Some((group, after)) = rest.split_first_chunk::<4>() {
        let sextets = group.map(sextet);
        // No sextet has the bit that noise has.
        if sextets.iter().fold(0, |all, it| all | it) == NOISE {
            break;
        }
        let group = sextets.iter().fold(0, |all, it| all << 6 | u32::from(*it));
        let [_, triple @ ..] = group.to_be_bytes();
        out.extend_from_slice(&triple);
        rest = after;
    }
    rest
}

impl Decoded {
    /// What there is of a last group.
    fn flush(&mut self, group: u32, count: u8) {
        let [a, b, ..] = (group << (32 - 6 * u32::from(count.clamp(1, 4)))).to_be_bytes();
        match count {
            2 => self.bytes.push(a),
            3 => self.bytes.extend_from_slice(&[a, b]),
            _ => {}
        }
    }
}

const NOISE: u8 = 0xff;

static SEXTETS: [u8; 256] = sextets();

#[allow(clippy::indexing_slicing)]
const fn sextets() -> [u8; 256] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NOISE; 256];
    let mut at = 0_u8;
    while at < 64 {
        table[ALPHABET[at as usize] as usize] = at;
        at += 1;
    }
    table
}

/// RFC 2045 §6.7, with what is no encoding left as it stands.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'=' {
            out.push(*byte);
        } else if let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else if let Some(after) = soft_break(after) {
            rest = after;
        } else {
            out.push(b'=');
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char)
        .to_digit(16)
        .and_then(|it| u8::try_from(it).ok())
}

fn soft_break(after: &[u8]) -> Option<&[u8]> {
    let is_blank = |it: &u8| matches!(it, b' ' | b'\t' | b'\r');
    let end = after.iter().position(|it| !is_blank(it))?;
    after.get(end..)?.strip_prefix(b"\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_field_s_word_is_read_as_others_read_it() {
        use Encoding::{Base64, Identity, QuotedPrintable, Uuencode};
        #[rustfmt::skip]
        let cases: [(&str, &[Encoding]); 13] = [
            (" base64",                     &[Base64]),
            (" BASE64 ",                    &[Base64]),
            (" (a (b) c) bAse64 (d)",       &[Base64, Identity]),
            (" \"base64\"",                 &[Base64, Identity]),
            (" base\u{0}64",                &[Base64, Identity]),
            (" base64;",                    &[Base64, Identity]),
            (" x-base64",                   &[Base64, Identity]),
            (" nonsense",                   &[Base64, Identity]),
            (" Quoted-Printable",           &[QuotedPrintable]),
            (" quoted printable",           &[QuotedPrintable, Identity]),
            (" x-uuencode",                 &[Uuencode, Identity]),
            (" 8BIT",                       &[Identity]),
            ("",                            &[Identity]),
        ];
        for (value, expected) in cases {
            assert_eq!(read(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn base64_is_read_in_each_way_that_it_may_be_read() {
        let sound = |text: &str| vec![text.to_owned()];
        let all = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        #[rustfmt::skip]
        let cases = [
            ("aGVp",                    sound("hei")),
            ("aGVpIQ==",                sound("hei!")),
            ("aGVpIQ",                  sound("hei!")),
            ("aGVpISE",                 sound("hei!!")),
            ("aG\r\nVp\r\n",            sound("hei")),
            ("aGVpIQ==\r\n=\r\n",       sound("hei!")),
            ("",                        sound("")),
            ("a",                       sound("")),
            ("aG*Vp",                   all(&["hei", "aG*Vp"])),
            ("aGVpIQ==aGVp",            all(&["hei!", "hei!hei", "hei!\u{06}\u{86}V", "aGVpIQ==aGVp"])),
            ("aG=Vp",                   all(&["h", "hV\u{29}", "hei", "aG=Vp"])),
        ];
        for (written, expected) in cases {
            let readings: Vec<String> =
                readings(&Bytes::from_static(written.as_bytes()), Encoding::Base64)
                    .into_iter()
                    .map(|it| it.iter().map(|it| *it as char).collect())
                    .collect();
            let first = |all: &[String]| all[0].clone();
            assert_eq!(first(&readings), first(&expected), "{written:?}");
            if expected.len() == 1 {
                assert_eq!(readings, expected, "{written:?}");
            } else {
                assert!(readings.contains(expected.last().unwrap()), "{written:?}");
            }
        }
    }

    #[test]
    fn quoted_printable_is_read_in_each_way_that_it_may_be_read() {
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 6] = [
            ("h=65i",           &["hei"]),
            ("h=\r\nei",        &["hei"]),
            ("h= \t\r\nei",     &["hei"]),
            ("h=zz=65",         &["h=zze", "h=zz=65"]),
            ("h=",              &["h"]),
            ("h==65",           &["h=e", "h==65"]),
        ];
        for (written, expected) in cases {
            let body = Bytes::from_static(written.as_bytes());
            let readings = readings(&body, Encoding::QuotedPrintable);
            assert_eq!(readings, expected, "{written:?}");
        }
    }
}
