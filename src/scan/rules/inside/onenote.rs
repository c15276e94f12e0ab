//! OneNote sections ([MS-ONESTORE] §2.6.13): the files that are embedded in them.

use super::octets::{far, finds, piece, u64_at};
use super::unpack::{Method, unpack};
use super::{Place, Walk};

/// FileDataStoreObject.
const MARK: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    for at in finds(bytes, MARK) {
        let length = far(u64_at(bytes, at + 16).unwrap_or(0));
        let content = piece(bytes, at + 36, length);
        let unpacked = unpack(Method::Stored, content, walk.budget);
        if !walk.member(&place.of("embedded file"), &unpacked) {
            return;
        }
    }
}
