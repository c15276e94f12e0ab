//! What engines are tested with: the test file of EICAR, as it is and where hardly any engine looks.
//!
//! Pure, and it cannot fail. Nothing here stands in this program as it would be found in it.

use std::fmt::Write as _;

use bytes::Bytes;

use super::Specimen;
use super::rules::EICAR;

/// So many archives within archives. clamd looks into 17 layers by default, and its manual warns
/// against more.
const LAYERS: usize = 40;

/// A message with the test file of EICAR attached to it.
pub(super) fn plain() -> Specimen {
    let [first, second] = EICAR;
    let field = b"Content-Disposition: attachment; filename=\"eicar.com\"\r\n\r\n".as_slice();
    attaching(&[field, first, second].concat())
}

/// The same in an archive in an archive, and so on: an engine that does not look so deep must say so.
pub(super) fn deep() -> Specimen {
    let field = "Content-Disposition: attachment; filename=\"eicar.zip\"\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    attaching((field.to_owned() + &quoted(&archive())).as_bytes())
}

/// Quoted-printable (RFC 2045 §6.7), lines of 73.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(24) {
        for octet in line {
            let _ = write!(text, "={octet:02X}");
        }
        text.push_str("=\r\n");
    }
    text
}

/// `part`: what tells of it as a part, and it.
fn attaching(part: &[u8]) -> Specimen {
    let begin = b"Subject: Self-test of the scan\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=self-test\r\n\r\n--self-test\r\n\
        Content-Type: application/octet-stream\r\n"
        .as_slice();
    let end = b"\r\n--self-test--\r\n".as_slice();
    Specimen::of(Bytes::from([begin, part, end].concat()))
}

fn archive() -> Vec<u8> {
    let file = EICAR.concat();
    let innermost = zip("eicar.com", 8, &file, &deflated(&file));
    (1..LAYERS).fold(innermost, |inner, _| zip("eicar.zip", 0, &inner, &inner))
}

/// An archive with one member (APPNOTE §4.3), `packed` by this method.
fn zip(name: &str, method: u16, file: &[u8], packed: &[u8]) -> Vec<u8> {
    let length = |it: usize| u32::try_from(it).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = Vec::new();
    header.extend([20, 0, 0, 0]);
    header.extend(method.to_le_bytes());
    // 1980-01-01.
    header.extend([0, 0, 0x21, 0]);
    header.extend(crc32(file).to_le_bytes());
    header.extend(length(packed.len()));
    header.extend(length(file.len()));
    header.extend(u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
    header.extend([0, 0]);
    let local = [b"PK\x03\x04", &*header, name.as_bytes(), packed].concat();
    let listed = [b"PK\x01\x02\x14\0", &*header, &[0; 14], name.as_bytes()].concat();
    let end = [
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(),
        &length(listed.len()),
        &length(local.len()),
        &[0, 0],
    ]
    .concat();
    [local, listed, end].concat()
}

/// Of a text: one block, each character as it stands in the table of RFC 1951 §3.2.6, so that the text is
/// not found in what comes of it.
fn deflated(text: &[u8]) -> Vec<u8> {
    const LAST_WITH_FIXED_CODES: [bool; 3] = [true, true, false];
    let code = |octet: &u8| {
        let code = u16::from(*octet) + 0x30;
        (0..8).rev().map(move |at| code >> at & 1 == 1)
    };
    let bits = LAST_WITH_FIXED_CODES.into_iter();
    let bits = bits.chain(text.iter().flat_map(code)).chain([false; 7]);
    let bits: Vec<bool> = bits.collect();
    let octet = |bits: &[bool]| {
        bits.iter()
            .rev()
            .fold(0, |it, bit| it << 1 | u8::from(*bit))
    };
    bits.chunks(8).map(octet).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32| match crc & 1 {
        0 => crc >> 1,
        _ => crc >> 1 ^ POLYNOMIAL,
    };
    let octet = |crc: u32, octet: &u8| (0..8).fold(crc ^ u32::from(*octet), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, octet)
}

#[cfg(test)]
mod tests {
    use super::super::rules::inside::{Bounds, Budget, look};
    use super::*;

    #[test]
    fn the_test_file_is_attached_as_it_is() {
        let specimen = plain();
        let files: Vec<_> = specimen.parts.iter().map(|it| &*it.name).collect();
        assert_eq!(files, ["eicar.com"]);
        assert!(specimen.parts.iter().all(|it| it.bytes.len() == 68));
    }

    #[test]
    fn it_is_there_in_the_depth_too() {
        let specimen = deep();
        let bounds = Bounds {
            depth: LAYERS,
            ..Bounds::default()
        };
        let mut found = Vec::new();
        for part in &specimen.parts {
            let findings = look(
                &part.name,
                &part.bytes,
                &mut Budget::new(bounds),
                &mut |it| {
                    if it.bytes == EICAR.concat() {
                        found.push((it.path.split('/').count(), it.whole));
                    }
                },
            );
            assert!(
                findings.iter().all(|it| !it.what.contains("broken")),
                "{findings:?}"
            );
        }
        assert_eq!(found, [(LAYERS, true)]);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
