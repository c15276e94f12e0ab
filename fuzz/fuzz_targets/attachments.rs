//! A message is taken apart without a panic and within its bounds, and no attachment that another reader
//! finds in it is missing, unless that is said.
#![no_main]

use bytes::Bytes;
use ilbud::mail::{Dissection, headers};
use libfuzzer_sys::fuzz_target;
use mail_parser::{Encoding, Message, MessageParser};

const PARTS: usize = 10_000;

/// The content of each part that another reader takes for an attachment. What it decodes of a message
/// within, our own walk goes through once more by itself.
fn theirs(message: &Message<'_>, found: &mut Vec<Vec<u8>>) {
    for part in message.attachments() {
        match part.message() {
            Some(nested) if part.encoding == Encoding::None => theirs(nested, found),
            Some(_) => {}
            None if part.is_text() => {}
            None => found.push(part.contents().trim_ascii().to_vec()),
        }
    }
}

/// The other reader drops the end of base64 that is not padded, and takes a multipart whose boundary it
/// does not see for a file.
fn holds(ours: &Dissection, content: &[u8]) -> bool {
    let mut all = ours.attachments.iter().chain(&ours.texts);
    let is_whole = content.windows(3).any(|it| it == b"\n--") || content.starts_with(b"--");
    content.len() < 3 || is_whole || all.any(|it| it.bytes.trim_ascii_start().starts_with(content))
}

fuzz_target!(|message: &[u8]| {
    let bytes = Bytes::copy_from_slice(message);
    let ours = headers::dissected(&bytes);
    assert!(ours.attachments.len() + ours.texts.len() <= 4 * PARTS);
    let memory: usize = ours.attachments.iter().map(|it| it.name.len()).sum();
    assert!(memory <= ours.attachments.len() * 4 * 998);
    assert!(
        ours.attachments
            .iter()
            .all(|it| !it.name.is_empty() && it.sha256().len() == 64)
    );
    if !ours.gaps.is_empty() {
        return;
    }
    let mut found = Vec::new();
    if let Some(read) = MessageParser::default().parse(message) {
        theirs(&read, &mut found);
    }
    for content in found {
        assert!(
            holds(&ours, &content),
            "{:?} is missing",
            String::from_utf8_lossy(&content)
        );
    }
});
