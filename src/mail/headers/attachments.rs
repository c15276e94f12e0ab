//! The attachments of a message: names, sizes and digests, for the log.
//!
//! A digest is of the file as it was attached: transfer encoding undone, character set untouched. A
//! message that is built to wear its reader out has none: it is not taken apart at all.

use std::borrow::Cow;
use std::fmt::Write as _;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use sha2::{Digest, Sha256};

use super::shortened;
use crate::mail::Attachment;

/// Lines that begin a part or describe it, at most: each costs memory in the parser.
const PART_LINES: usize = 10_000;
/// Multiparts times octets, at most: each is looked for to the end of the message.
const SEARCH_OCTETS: usize = 1 << 29;
/// However large, a message may have so many.
const MULTIPARTS: usize = 16;
/// Messages within messages.
const DEPTH: usize = 5;
const ATTACHMENTS: usize = 1000;

pub fn attachments(bytes: &[u8]) -> Vec<Attachment> {
    let mut found = Vec::new();
    if is_harmless(bytes)
        && let Some(message) = MessageParser::new()
            .with_mime_headers()
            .default_header_ignore()
            .parse(bytes)
    {
        collect(&message, DEPTH, &mut found);
    }
    found
}

/// Whether taking the message apart costs no more than its size lets expect.
fn is_harmless(bytes: &[u8]) -> bool {
    let mut lines = 0;
    let mut multiparts = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_start();
        if line.starts_with(b"--") || starts_with_word(line, b"content-") {
            lines += 1;
        }
        if line.len() < 2000 {
            multiparts += line
                .windows(9)
                .filter(|it| it.eq_ignore_ascii_case(b"multipart"))
                .count();
        }
    }
    lines <= PART_LINES && multiparts <= MULTIPARTS.max(SEARCH_OCTETS / bytes.len().max(1))
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn collect(message: &Message<'_>, depth: usize, found: &mut Vec<Attachment>) {
    for part in message.attachments() {
        if found.len() >= ATTACHMENTS {
            return;
        }
        found.push(attachment(message, part));
        if let PartType::Message(inner) = &part.body
            && depth > 0
        {
            collect(inner, depth - 1, found);
        }
    }
}

fn attachment(message: &Message<'_>, part: &MessagePart<'_>) -> Attachment {
    let file = file(message, part);
    Attachment {
        name: part
            .attachment_name()
            .and_then(shortened)
            .unwrap_or_else(|| unnamed(part)),
        size: file.len() as u64,
        sha256: hex(&Sha256::digest(&file)),
    }
}

fn unnamed(part: &MessagePart<'_>) -> String {
    match part.body {
        PartType::Message(_) => "message.eml".to_owned(),
        _ => "unnamed".to_owned(),
    }
}

/// The attached file. The parser converts texts and nested messages, so these are decoded anew.
fn file<'a>(message: &'a Message<'_>, part: &'a MessagePart<'_>) -> Cow<'a, [u8]> {
    if let PartType::Binary(file) | PartType::InlineBinary(file) = &part.body {
        return Cow::Borrowed(file);
    }
    let range = part.raw_body_offset() as usize..part.raw_end_offset() as usize;
    let raw = message.raw_message().get(range).unwrap_or_default();
    let decoded = match part.encoding {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(raw),
        Encoding::QuotedPrintable => quoted_printable_decode(raw),
    };
    decoded.map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(
        String::with_capacity(octets.len() * 2),
        |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        },
    )
}
