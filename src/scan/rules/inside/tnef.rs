//! Outlook's own wrapping of attachments ([MS-OXTNEF]): winmail.dat.

use super::octets::{far_at, narrow, piece, u8_at, u32_at};
use super::unpack::{Method, unpack};
use super::{Place, Walk};

const MARK: &[u8] = b"\x78\x9f\x3e\x22";
/// Begins with a new attachment.
const RENDERING: u32 = 0x0006_9002;
const TITLE: u32 = 0x0001_8010;
const DATA: u32 = 0x0006_800f;

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    if !bytes.starts_with(MARK) {
        return;
    }
    let mut at = 6;
    let mut name: Option<String> = None;
    let mut content: &[u8] = &[];
    loop {
        let attribute = match (
            u8_at(bytes, at),
            u32_at(bytes, at + 1),
            far_at(bytes, at + 5),
        ) {
            (Some(1 | 2), Some(id), Some(length)) => Some((id, length)),
            _ => None,
        };
        let is_new = attribute.is_none_or(|(id, _)| id == RENDERING);
        if is_new && (name.is_some() || !content.is_empty()) {
            let member = place.of(&name.take().unwrap_or_else(|| "attachment".to_owned()));
            let unpacked = unpack(Method::Stored, content, walk.budget);
            if !walk.member(&member, &unpacked) {
                return;
            }
            content = &[];
        }
        let Some((id, length)) = attribute else { break };
        let value = piece(bytes, at + 9, length);
        match id {
            TITLE => name = Some(narrow(value)),
            DATA => content = value,
            _ => {}
        }
        at = (at + 11).saturating_add(length);
    }
    // Some writers put an empty line behind it.
    let surplus = bytes.get(at..).map(<[u8]>::trim_ascii_start);
    if surplus != Some(&[]) {
        walk.bound(place, "is broken (TNEF)");
    }
}
