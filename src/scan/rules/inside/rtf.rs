//! Rich text (RTF): the objects that are embedded in it, in hexadecimal digits.

use super::octets::{contains, far_at, find, finds, narrow, piece, rest};
use super::unpack::{Method, unpack};
use super::{Place, Walk, compound};

/// Objects by which documents of this kind run what they bring along.
#[rustfmt::skip]
const CLASSES: &[&[u8]] = &[
    b"equation.", b"ole2link", b"otkloadr", b"htmlfile", b"scriptfile", b"scriptlet", b"shell.explorer",
    b"wscript",
];
const OBJECTS: usize = 100;

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let mark: &[u8] = b"\\objdata";
    for at in finds(bytes, mark).take(OBJECTS) {
        let most = walk.budget.left().min(walk.budget.bounds().member);
        let (object, read) = decoded(rest(bytes, at + mark.len()), most);
        walk.budget.spend(read);
        if object.is_empty() {
            walk.bound(place, "has an embedded object that cannot be read");
        } else if !embedded(walk, place, &object) {
            return;
        }
    }
    if finds(bytes, mark).nth(OBJECTS).is_some() {
        walk.bound(place, "has more embedded objects than are looked at");
    }
}

/// Hexadecimal digits until the group ends; what stands between them is passed over, as Word does.
/// Gives the octets, and how much was read for them.
fn decoded(digits: &[u8], most: usize) -> (Vec<u8>, usize) {
    let mut octets = Vec::new();
    let mut high: Option<u8> = None;
    let (mut depth, mut at) = (0_u32, 0);
    while octets.len() < most && at / 2 <= most {
        let Some(octet) = digits.get(at) else { break };
        at += 1;
        match octet {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b'\\' => at += control_word(rest(digits, at), &mut octets, most),
            _ => {
                let Some(digit) = char::from(*octet).to_digit(16) else {
                    continue;
                };
                let digit = u8::try_from(digit).unwrap_or(0);
                match high.take() {
                    None => high = Some(digit),
                    Some(first) => octets.push(first << 4 | digit),
                }
            }
        }
    }
    (octets, at)
}

/// How long the word is; `\bin` has octets of its own behind it.
fn control_word(word: &[u8], octets: &mut Vec<u8>, most: usize) -> usize {
    let letters = word
        .iter()
        .take_while(|it| it.is_ascii_alphabetic())
        .count();
    if letters == 0 {
        return if word.first() == Some(&b'\'') { 3 } else { 1 };
    }
    let number = rest(word, letters);
    let sign = usize::from(number.first() == Some(&b'-'));
    let digits = rest(number, sign)
        .iter()
        .take_while(|it| it.is_ascii_digit())
        .count();
    let space = usize::from(rest(number, sign + digits).first() == Some(&b' '));
    let length = letters + sign + digits + space;
    if piece(word, 0, letters) != b"bin" || sign > 0 {
        return length;
    }
    let count = std::str::from_utf8(piece(number, 0, digits)).unwrap_or("");
    let count: usize = count.parse().unwrap_or(0);
    let content = piece(word, length, count.min(most.saturating_sub(octets.len())));
    octets.extend_from_slice(content);
    length + content.len()
}

/// An object as OLE 1 writes it ([MS-OLEDS] §2.2): version, format, class, two names, size, content.
fn embedded(walk: &mut Walk<'_>, place: &Place, object: &[u8]) -> bool {
    let head = piece(object, 0, 512).to_ascii_lowercase();
    if let Some(class) = CLASSES.iter().find(|class| contains(&head, class)) {
        let class = String::from_utf8_lossy(class).into_owned();
        walk.macros(
            place,
            &format!("has an embedded object that runs ({class})"),
        );
    }
    let mut at = 8;
    let mut text = || {
        let length = far_at(object, at)?;
        let text = narrow(piece(object, at + 4, length));
        at = at.checked_add(4)?.checked_add(length)?;
        Some(text)
    };
    let class = text().unwrap_or_default();
    let native = match (text(), text()) {
        (Some(_), Some(_)) => rest(object, at.saturating_add(4)),
        _ => &[],
    };
    if class.eq_ignore_ascii_case("package") {
        compound::packaged(walk, place, native);
    }
    let content = match find(piece(object, 0, 4096), compound::MARK) {
        Some(at) => rest(object, at),
        None if native.is_empty() => object,
        None => native,
    };
    let unpacked = unpack(Method::Stored, content, walk.budget);
    walk.member(&place.of("embedded object"), &unpacked)
}
