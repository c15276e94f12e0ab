//! Facts read from the content, and the trace fields that we add.
//!
//! One scan of our own finds the fields, so that what policy judges is what stands there: it counts
//! a field that other readers might overlook, and holds whatever they might split differently to be
//! unclear. The crate `mail-parser` lives here; it decodes texts and takes MIME apart. Content is
//! read, never re-serialised (product.md, promise 5). Nothing here fails: what cannot be read is
//! missing from the facts.

mod attachments;
mod author;
mod scan_field;
mod urgency;

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

use super::reply::harmless;
use super::{Content, Dissection, Envelope, Facts, Part, Priority, Protocol, Recipient};

use attachments::dissect;
pub use author::{Author, Claim, Origination};
use author::{author, resembled};
pub use scan_field::{scan_field, with_scan_field};

/// Text from header fields is for the log: more of it than a line (RFC 5322 §2.1.1) helps nobody.
const TEXT_OCTETS: usize = 998;
/// As much of one field as is read for its text.
const FIELD_OCTETS: usize = 16 * 1024;
/// As many fields that say whom a message is from as anybody means.
const MOST_CLAIMS: usize = 100;
/// RFC 5322 §2.1.1: a longer line may be broken on its way to a reader, some by a few octets earlier.
const LINE_OCTETS: usize = 998;
const EARLIEST_BREAK: usize = 900;
/// Of removed fields' names, as many as tell a person what came, and as much of each.
const REMOVED_NAMES: usize = 10;
const REMOVED_NAME_OCTETS: usize = 64;
/// RFC 5321 §4.5.3.1.2
const HELO_OCTETS: usize = 255;

/// All that is read from a message's bytes, in one pass over its header section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFacts {
    pub facts: Facts,
    /// What the message holds, in the bytes as they came.
    pub dissection: Dissection,
    /// What the fields say that tell whom it is from: From first, then Sender, then those of whoever
    /// has sent it on.
    pub claims: Vec<Claim>,
    /// How many Received fields there are (RFC 5321 §6.3).
    pub hops: usize,
    /// How urgent its author holds it to be; the most urgent field counts.
    pub priority: Option<Priority>,
    /// The bytes without incoming `X-Ilbud-…` fields, and what was removed; `None` where there are
    /// none and the bytes stay as they came.
    pub cleaned: Option<(Bytes, Removed)>,
}

/// Incoming fields that bore our own name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// The first few, each once and shortened.
    pub names: Vec<String>,
    /// Fields in all.
    pub count: usize,
}

impl Removed {
    fn add(&mut self, name: &[u8]) {
        self.count += 1;
        if self.names.len() < REMOVED_NAMES {
            let name = name.get(..REMOVED_NAME_OCTETS).unwrap_or(name);
            let name = String::from_utf8_lossy(name);
            if self.names.iter().all(|known| *known != name) {
                self.names.push(name.into_owned());
            }
        }
    }
}

/// For the log: `X-Ilbud-A, X-Ilbud-B (17 fields in all)`.
impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))?;
        if self.count > self.names.len() {
            write!(f, " ({} fields in all)", self.count)?;
        }
        Ok(())
    }
}

/// What a message holds: its attachments and texts. [`read`] gives it, too.
pub fn dissected(message: &Bytes) -> Dissection {
    dissect(message)
}

/// Reads a message. Never fails: what cannot be read is missing from the facts.
pub fn read(bytes: &Bytes) -> HeaderFacts {
    let section = Section::scan(bytes);
    let dissection = dissect(bytes);
    HeaderFacts {
        facts: Facts {
            subject: section.subject.and_then(text),
            message_id: section.message_id.and_then(message_id),
            attachments: dissection
                .attachments
                .iter()
                .map(Part::attachment)
                .collect(),
        },
        dissection,
        claims: section.claims(),
        hops: section.hops,
        priority: section.priority,
        cleaned: section.cleaned(bytes),
    }
}

impl HeaderFacts {
    /// The mailboxes that it seems to be from, as written.
    pub fn authors(&self) -> Vec<String> {
        let mailboxes = self.claims.iter().filter_map(|claim| match &claim.author {
            Author::Mailboxes(written) => Some(written),
            _ => None,
        });
        mailboxes.flatten().cloned().collect()
    }
}

/// One field of a header section.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    /// With its folded lines and the last line end.
    whole: &'a [u8],
    at: usize,
}

/// The fields of a header section, one after the other, up to the empty line.
#[derive(Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = self.bytes.get(self.at..)?;
        if rest.is_empty() || is_empty_line(rest) {
            return None;
        }
        let mut end = line_length(rest);
        // RFC 5322 §2.2.3: a line that begins with a space belongs to the field before it.
        while let Some(next) = rest
            .get(end..)
            .filter(|it| it.starts_with(b" ") || it.starts_with(b"\t"))
        {
            end += line_length(next);
        }
        let field = Field {
            whole: rest.get(..end)?,
            at: self.at,
        };
        self.at += end;
        Some(field)
    }
}

fn line_length(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

fn is_empty_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\r\n") || bytes.starts_with(b"\n")
}

impl<'a> Field<'a> {
    /// Name and value. RFC 5322 §4.5 lets spaces stand before the colon.
    fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let colon = self.whole.iter().position(|byte| *byte == b':')?;
        let (name, value) = self.whole.split_at_checked(colon)?;
        let is_one_line = !name.contains(&b'\n');
        let name = name.trim_ascii_end();
        let is_plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        Some((name, value.get(1..)?)).filter(|_| is_one_line && is_plain)
    }

    /// A field of which only some readers know: its name is spelt oddly, or it hides in another one.
    fn hidden(&self) -> Option<Origination> {
        let mut lines = self.whole.split_inclusive(|byte| *byte == b'\n');
        // Some readers begin anew after a line that is no field, be the next one folded or not.
        let is_field = self.parts().is_some();
        lines.find_map(|line| match is_field {
            true => hidden_in(line),
            false => resembled(line).or_else(|| hidden_in(line)),
        })
    }

    /// A folded line with nothing on it, which some readers take for the end of the section.
    fn has_blank_line(&self) -> bool {
        self.whole.contains(&b'\n')
            && self
                .whole
                .split_inclusive(|byte| *byte == b'\n')
                .any(|line| line.trim_ascii().is_empty())
    }

    /// Octets that some readers take for a line end, or stop at: a field may hide behind them.
    fn has_breaks(&self) -> bool {
        let breaks = |byte: &u8| matches!(byte, 0 | 0x0b | 0x0c | 0x1c..=0x1e);
        self.whole.iter().any(breaks) || has_bare_newline(self.whole)
    }

    /// Octets that have no place in a field that names somebody.
    fn has_controls(&self) -> bool {
        let odd = |byte: &u8| (*byte < b' ' && !b"\t\r\n".contains(byte)) || *byte == 0x7f;
        self.whole.iter().any(odd)
    }
}

/// A field that begins in the middle of a line: behind what is a line end in Unicode, or where a line
/// that is too long may be broken.
fn hidden_in(line: &[u8]) -> Option<Origination> {
    const BREAKS: [&[u8]; 3] = [
        "\u{85}".as_bytes(),
        "\u{2028}".as_bytes(),
        "\u{2029}".as_bytes(),
    ];
    let after = |at: usize| {
        let rest = line.get(at..)?;
        let end = BREAKS.into_iter().find(|end| rest.starts_with(end))?;
        resembled(rest.get(end.len()..)?)
    };
    let is_lead = |byte: &u8| matches!(byte, 0xc2 | 0xe2);
    let leads = line.iter().enumerate().filter(|(_, byte)| is_lead(byte));
    leads
        .map(|(at, _)| at)
        .find_map(after)
        .or_else(|| broken_off(line))
}

/// Names that stand where a long line may be broken.
fn broken_off(line: &[u8]) -> Option<Origination> {
    let is_long = line.len() > LINE_OCTETS;
    let rest = line.get(EARLIEST_BREAK..).filter(|_| is_long)?;
    Origination::ALL.into_iter().find(|field| {
        let name = field.name().as_bytes();
        let mut ends = rest.windows(name.len() + 1);
        ends.any(|it| {
            it.ends_with(b":")
                && it
                    .get(..name.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(name))
        })
    })
}

fn has_bare_newline(bytes: &[u8]) -> bool {
    let mut before = 0;
    for &byte in bytes {
        if (before == b'\r') != (byte == b'\n') {
            return true;
        }
        before = byte;
    }
    before == b'\r'
}

/// A field that says whom the message is from.
#[derive(Debug)]
struct Named<'a> {
    field: Origination,
    value: &'a [u8],
    /// Readers split what stands before it, or itself, differently.
    is_unclear: bool,
}

/// What one scan of a header section finds.
#[derive(Debug, Default)]
struct Section<'a> {
    named: Vec<Named<'a>>,
    /// Fields that only some readers see.
    hidden: Vec<Origination>,
    /// Something that readers split differently: it may hide any field, or be one.
    is_unclear: bool,
    subject: Option<&'a [u8]>,
    message_id: Option<&'a [u8]>,
    hops: usize,
    priority: Option<Priority>,
    /// Whether a field bears our own name.
    has_ours: bool,
}

impl<'a> Section<'a> {
    fn scan(bytes: &'a [u8]) -> Self {
        let mut section = Self::default();
        let mut is_doubtful = false;
        for field in (Fields { bytes, at: 0 }) {
            section.is_unclear |= field.has_breaks();
            section.note_hidden(&field);
            let blank = field.has_blank_line();
            match field.parts() {
                Some((name, value)) => match Origination::of(name) {
                    Some(known) => section.note_named(Named {
                        field: known,
                        value,
                        is_unclear: is_doubtful || blank || field.has_controls(),
                    }),
                    None => section.note(name, value),
                },
                None => is_doubtful = true,
            }
            is_doubtful |= blank;
        }
        section
    }

    fn note_hidden(&mut self, field: &Field<'_>) {
        if let Some(hidden) = field.hidden()
            && !self.hidden.contains(&hidden)
        {
            self.hidden.push(hidden);
        }
    }

    fn note_named(&mut self, named: Named<'a>) {
        match self.named.len() < MOST_CLAIMS {
            true => self.named.push(named),
            false => self.is_unclear = true,
        }
    }

    fn note(&mut self, name: &'a [u8], value: &'a [u8]) {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"received") {
            self.hops += 1;
        } else if is(b"subject") {
            self.subject = self.subject.or(Some(value));
        } else if is(b"message-id") {
            self.message_id = self.message_id.or(Some(value));
        } else if let Some(scale) = urgency::scale(name) {
            // A field of nonsense (`None`) leaves the others in force.
            self.priority = self.priority.max(urgency::read(scale, value));
        } else {
            self.has_ours |= is_ours(name);
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let from = self.only(Origination::From).unwrap_or(Author::Missing);
        let claim = |field, author| Claim { field, author };
        let mut claims = vec![claim(Origination::From, from)];
        let sender = self.only(Origination::Sender);
        claims.extend(sender.map(|it| claim(Origination::Sender, it)));
        let resent = self.named.iter().filter(|it| it.field.may_repeat());
        claims.extend(resent.map(|it| claim(it.field, it.author())));
        let hidden = self.hidden.iter().filter(|it| it.may_repeat());
        claims.extend(hidden.map(|it| claim(*it, Author::Unclear)));
        claims
    }

    /// What a field says that may stand there once; `None`: it does not.
    fn only(&self, field: Origination) -> Option<Author> {
        let mut found = self.named.iter().filter(|it| it.field == field);
        let is_unclear =
            self.hidden.contains(&field) || (self.is_unclear && field == Origination::From);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Some(Author::Doubled),
            _ if is_unclear => Some(Author::Unclear),
            (named, _) => named.map(Named::author),
        }
    }

    /// A second walk, so that a message made of nothing but such fields costs no memory for each.
    fn cleaned(&self, bytes: &Bytes) -> Option<(Bytes, Removed)> {
        if !self.has_ours {
            return None;
        }
        let mut kept = BytesMut::with_capacity(bytes.len());
        let mut removed = Removed::default();
        let mut after = 0;
        for field in (Fields { bytes, at: 0 }) {
            let Some((name, _)) = field.parts().filter(|(name, _)| is_ours(name)) else {
                continue;
            };
            removed.add(name);
            kept.extend_from_slice(bytes.get(after..field.at).unwrap_or_default());
            after = field.at + field.whole.len();
        }
        kept.extend_from_slice(bytes.get(after..).unwrap_or_default());
        Some((kept.freeze(), removed))
    }
}

impl Named<'_> {
    fn author(&self) -> Author {
        match self.is_unclear || self.value.len() > FIELD_OCTETS {
            true => Author::Unclear,
            false => read_author(self.field, self.value),
        }
    }
}

/// Whether a field is one that only this relay may write.
fn is_ours(name: &[u8]) -> bool {
    starts_with_word(name, b"x-ilbud-")
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.trim_ascii_start()
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn read_author(field: Origination, value: &[u8]) -> Author {
    let written = String::from_utf8_lossy(value);
    if !written.contains("=?") {
        return author(field, &written, &written);
    }
    if !has_sound_encoded_words(&written) {
        return Author::Unclear;
    }
    author(field, &written, &decoded(value))
}

/// Whether every encoded word stands alone (RFC 2047 §5) and in a character set that can be read:
/// elsewhere some readers decode it and others do not.
fn has_sound_encoded_words(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || "()<>,:;\"".contains(c))
        .filter(|piece| piece.contains("=?"))
        .all(is_sound_encoded_word)
}

fn is_sound_encoded_word(piece: &str) -> bool {
    let mut parts = piece.split('?');
    let (Some("="), Some(charset), Some(encoding), Some(_), Some("="), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    // RFC 2231 §5: a language may follow the character set.
    let charset = charset.split('*').next().unwrap_or_default();
    matches!(encoding, "q" | "Q" | "b" | "B") && is_known_charset(charset)
}

fn is_known_charset(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset_decoder(charset.as_bytes()).is_some()
}

/// A field's text, unfolded, with encoded words decoded (RFC 2047).
fn decoded(value: &[u8]) -> String {
    let ended = |value: &[u8]| {
        let parsed = MessageStream::new(value).parse_unstructured();
        parsed.as_text().unwrap_or_default().to_owned()
    };
    // The stream gives a text only when it comes to a line end.
    if value.ends_with(b"\n") {
        ended(value)
    } else {
        ended(&[value, b"\n"].concat())
    }
}

fn text(value: &[u8]) -> Option<String> {
    let read = value.get(..FIELD_OCTETS).unwrap_or(value);
    shortened(&decoded(read))
}

/// Without its angle brackets.
fn message_id(value: &[u8]) -> Option<String> {
    let read = value.get(..FIELD_OCTETS).unwrap_or(value).trim_ascii();
    let written = String::from_utf8_lossy(read);
    let inside = written
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    shortened(inside.map_or(&*written, |(id, _)| id))
}

/// Harmless, and no longer than is of use: what is longer ends with `…`. `None` when there is nothing left.
fn shortened(text: &str) -> Option<String> {
    const MORE: char = '\u{2026}';
    if text.len() <= TEXT_OCTETS {
        return Some(harmless(text)).filter(|it| !it.is_empty());
    }
    let end = text.floor_char_boundary(TEXT_OCTETS - MORE.len_utf8());
    let mut text = harmless(text.get(..end)?);
    text.push(MORE);
    Some(text)
}

/// Our `Received` field (RFC 5321 §4.4, RFC 8314 §4.3), folded, ending in CRLF.
pub fn received_field(hostname: &str, envelope: &Envelope) -> Bytes {
    let peer = &envelope.peer;
    let mut field = format!(
        "Received: from {} ({})\r\n\tby {hostname} with {}",
        helo(&peer.helo),
        address_literal(peer.address.ip()),
        protocol(envelope)
    );
    if let Some(tls) = &peer.tls {
        let _ = write!(field, " ({})", tls.version);
    }
    let _ = write!(field, " id {}", envelope.reference);
    if let [only] = envelope.recipients.as_slice()
        && may_be_named(only, envelope.smtputf8)
    {
        let recipient = if envelope.smtputf8 {
            only.address.to_string()
        } else {
            only.address.wire()
        };
        let _ = write!(field, "\r\n\tfor <{recipient}>");
    }
    // RFC 6710 §7
    if envelope.terms.priority != Priority::ROUTINE {
        let _ = write!(field, "\r\n\tPRIORITY {}", envelope.terms.priority);
    }
    // RFC 8314 §4.3: the name in the IANA registry.
    if let Some(tls) = &peer.tls {
        let _ = write!(field, "\r\n\ttls {}", tls.cipher.replace("TLS13_", "TLS_"));
    }
    let _ = write!(field, ";\r\n\t{}\r\n", envelope.received_at.rfc5322());
    Bytes::from(field)
}

/// A member of a group is not the sender's to know, and a name that needs SMTPUTF8 must not stand in
/// a message that came without (RFC 6532 §3).
fn may_be_named(recipient: &Recipient, smtputf8: bool) -> bool {
    recipient.group.is_none() && (smtputf8 || !recipient.address.needs_smtputf8())
}

/// The name the client gave, with nothing in it that could end the clause.
fn helo(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-.:[]_".contains(c) {
            c
        } else {
            '?'
        }
    };
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.chars().take(HELO_OCTETS).map(plain).collect()
    }
}

/// RFC 5321 §4.1.3
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// RFC 3848, RFC 6531 §4.3: the word after "with".
fn protocol(envelope: &Envelope) -> String {
    let peer = &envelope.peer;
    let base = match peer.protocol {
        Protocol::Smtp => return "SMTP".to_owned(),
        Protocol::Esmtp if envelope.smtputf8 => "UTF8SMTP",
        Protocol::Esmtp => "ESMTP",
    };
    let tls = if peer.tls.is_some() { "S" } else { "" };
    let user = if peer.user.is_some() { "A" } else { "" };
    format!("{base}{tls}{user}")
}

/// The header section of a message, for a report: up to and with the empty line, at most `limit`;
/// whole lines.
pub fn header_section(content: &Content, limit: usize) -> Bytes {
    let mut fields = Fields {
        bytes: &content.bytes,
        at: 0,
    };
    fields.by_ref().for_each(drop);
    let rest = content.bytes.get(fields.at..).unwrap_or_default();
    let end = if rest.is_empty() {
        fields.at
    } else {
        fields.at + line_length(rest)
    };
    let length = content.trace.len() + end;
    let mut section = BytesMut::with_capacity(length.min(limit));
    for part in [
        &content.trace[..],
        content.bytes.get(..end).unwrap_or_default(),
    ] {
        for line in part.split_inclusive(|byte| *byte == b'\n') {
            if section.len() + line.len() > limit {
                return section.freeze();
            }
            section.extend_from_slice(line);
        }
    }
    section.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::mail::{
        Address, BodyKind, Login, Origin, Peer, Reference, RoomId, Terms, Timestamp, TlsSession,
        Wishes,
    };

    fn named(names: &[&str]) -> Author {
        Author::Mailboxes(names.iter().map(|it| (*it).to_owned()).collect())
    }

    fn author_of(fields: &str) -> Author {
        let claims = claims(fields);
        assert_eq!(claims[0].field, Origination::From);
        claims[0].author.clone()
    }

    fn claims(fields: &str) -> Vec<Claim> {
        read(&Bytes::from(format!("{fields}\r\n\r\nhei\r\n"))).claims
    }

    #[test]
    fn every_mailbox_in_the_from_field_is_found() {
        let a = &["vakt@a.test"][..];
        #[rustfmt::skip]
        let cases = [
            ("From: vakt@a.test",                               named(a)),
            ("from:vakt@a.test",                                named(a)),
            ("FROM : <vakt@a.test>",                            named(a)),
            ("From: Vakt <vakt@a.test>",                        named(a)),
            ("From: AMK Oslo, vakt <vakt@a.test>",              Author::Unclear),
            ("From: \"AMK Oslo, vakt\" <vakt@a.test>",          named(a)),
            ("From: Ola N. Nordmann <vakt@a.test>",             named(a)),
            ("From: Bjørn Ås <vakt@a.test>",                    named(a)),
            ("From: vakt@a.test (Vakt (Oslo))",                 named(a)),
            ("From: (c) Vakt <vakt@a.test> (d)",                named(a)),
            ("From:\r\n Vakt\r\n\t<vakt@a.test>",               named(a)),
            ("From: =?utf-8?q?Bj=C3=B8rn?= <vakt@a.test>",      named(a)),
            ("From: =?UTF-8?B?QmrDuHJu?= =?iso-8859-1?Q?=C5s?= <vakt@a.test>", named(a)),
            ("From: \"vakt@a.test\" <vakt@a.test>",             named(a)),
            ("From: vakt@a.test <vakt@a.test>",                 named(a)),
            ("From: \"Ring 113 @ AMK\" <vakt@a.test>",          named(a)),
            ("From: \u{202a}AMK\u{200b} Oslo\u{202c} <vakt@a.test>", named(a)),
            ("From: \"leder@b.te\u{200b}st\" <vakt@a.test>",     named(&["vakt@a.test", "leder@b.test"])),
            ("From: leder\u{feff}@b.test <vakt@a.test>",        named(&["vakt@a.test", "leder@b.test"])),
            ("From: bjørn@ålesund.test",                        named(&["bjørn@ålesund.test"])),
            ("From: \"va kt\"@a.test",                          named(&["\"va kt\"@a.test"])),
            ("From: vakt@a.test, leder@b.test",                 named(&["vakt@a.test", "leder@b.test"])),
            ("From: vakt@a.test,\r\n leder@b.test",             named(&["vakt@a.test", "leder@b.test"])),
            ("From: Alle: vakt@a.test, <leder@b.test>;",        named(&["vakt@a.test", "leder@b.test"])),
            ("From: Alle: vakt@a.test;, leder@b.test",          named(&["vakt@a.test", "leder@b.test"])),
            // a display name that shows somebody else
            ("From: vakt@a.test <leder@b.test>",                named(&["leder@b.test", "vakt@a.test"])),
            ("From: \"vakt@a.test\" <leder@b.test>",            named(&["leder@b.test", "vakt@a.test"])),
            ("From: \"vakt\\@a.test\" <leder@b.test>",          named(&["leder@b.test", "vakt@a.test"])),
            ("From: leder@b.test (vakt@a.test)",                named(&["leder@b.test", "vakt@a.test"])),
            ("From: =?utf-8?q?vakt=40a.test?= <leder@b.test>",  named(&["leder@b.test", "vakt@a.test"])),
            ("From: =?utf-8?b?dmFrdEBhLnRlc3Q=?= <leder@b.test>", named(&["leder@b.test", "vakt@a.test"])),
            ("From: =?utf-8?q?vakt=40?= =?utf-8?q?a.test?= <leder@b.test>", named(&["leder@b.test", "vakt@a.test"])),
            ("From: \"=?utf-8?q?vakt=40a.test?=\" <leder@b.test>", named(&["leder@b.test", "vakt@a.test"])),
            ("From: =?utf-8?q?=3Cvakt=40a.test=3E?= <leder@b.test>", named(&["leder@b.test", "vakt@a.test"])),
            ("From: =?utf-7?q?vakt+AEA-a.test?= <leder@b.test>", named(&["leder@b.test", "vakt@a.test"])),
            ("From: vakt\"@\"a.te\"\"st <leder@b.test>",         Author::Unclear),
            ("From: \"va\"\"kt@a.test\" <leder@b.test>",       named(&["leder@b.test", "kt@a.test", "vakt@a.test"])),
            ("From: \"vakt＠a.test\" <leder@b.test>",           named(&["leder@b.test", "vakt@a.test"])),
            ("From: \"vakt@a。test\" <leder@b.test>",           named(&["leder@b.test", "vakt@a.test"])),
            // left to policy, which finds no address in it
            ("From: vakt%b.test@a.test",                        named(&["vakt%b.test@a.test"])),
            ("From: vakt@a.test.",                              named(&["vakt@a.test.", "vakt@a.test"])),
        ];
        for (fields, author) in cases {
            assert_eq!(author_of(fields), author, "{fields}");
        }
    }

    #[test]
    fn what_readers_understand_differently_is_unclear() {
        #[rustfmt::skip]
        let cases = [
            "From:", "From: ", "From: vakt", "From: \"vakt\"", "From: <>", "From: Vakt <>", "From: Vakt",
            "From: undisclosed:;", "From: vakt@b.test@x <leder@a.test>", "From: \"vakt@b.test..@x\" <leder@a.test>", "From: @a.test", "From: vakt@", "From: (vakt@a.test)",
            "From: =?utf-8?q?vakt=40a.test?=", "From: =?utf-8?q?vakt?=@a.test", "From: <=?utf-8?q?vakt?=@a.test>",
            "From: vakt@a.test leder@b.test", "From: <vakt@a.test> <leder@b.test>", "From: <vakt@a.test> leder@b.test",
            "From: <vakt@a.test", "From: vakt@a.test>", "From: <<vakt@a.test>>", "From: <vakt@a.test,leder@b.test>",
            "From: <@b.test:vakt@a.test>", "From: @b.test:vakt@a.test", "From: vakt@[127.0.0.1]",
            "From: vakt @a.test", "From: vakt@ a.test", "From: vakt@a.test .b.test", "From: vakt@a.test(x).b.test",
            "From: vakt(x)@a.test", "From: va.\"kt\"@a.test", "From: \"vakt\" @a.test", "From: \"vakt@a.test", "From: vakt@a.test (x",
            "From: vakt@a.test)", "From: vakt\\@a.test", "From: vakt@a.test,", "From: ,vakt@a.test", "From: ;",
            "From: Alle: vakt@a.test", "From: A: B: vakt@a.test;;", "From: : vakt@a.test;", "From: Alle: vakt@a.test; leder@b.test",
            "From: =?x-unknown?q?vakt?= <vakt@a.test>", "From: =?utf-8?q?vakt=40?=a.test <leder@b.test>",
            "From: x=?utf-8?q?vakt=40a.test?= <leder@b.test>", "From: =?utf-8?x?vakt?= <vakt@a.test>",
            "From: =?utf-8?q?va=00kt?= <vakt@a.test>", "From: =?utf-8?q?va=0D=0AFrom:_leder=40b.test?= <vakt@a.test>x",
            "From: \"tset.b\u{202e}\" <vakt@a.test>", "From: <va\u{200b}kt@a.test>", "From: \"x\u{202d}y\" <vakt@a.test>",
            "From: vakt\"@b.test\" <leder@a.test>", "From: \"vakt @b.test\" <leder@a.test>", "From: \"vakt@ b.test\" <leder@a.test>",
            "From: \"vakt @ b.test\" <leder@a.test>", "From: \"vakt\"\"@\"\"b.test\" <leder@a.test>",
            "From: =?utf-8?q?vakt?=@b.test=?utf-8?q?_?= <leder@a.test>",
            "From: \"leder@b..test\" <vakt@a.test>", "From: Va\0kt <vakt@a.test>", "From: Vakt\u{b} <vakt@a.test>",
            // spelt or placed so that only some readers see the field
            "Fr om: vakt@a.test", "From\0: vakt@a.test", "\u{feff}From: vakt@a.test", " From: vakt@a.test", "From\r\n : vakt@a.test",
            "From: vakt@a.test\r\nFr om: leder@b.test", "From: vakt@a.test\r\nSubject: x\rFrom: leder@b.test",
            "From: vakt@a.test\r\nSubject: x\nFrom; leder@b.test", "Not a field\r\nFrom: vakt@a.test",
            "Subject: x\r\n \r\nFrom: vakt@a.test", "From:\r\n \r\n vakt@a.test", "From vakt@b.test Sun Nov 22\r\nFrom: vakt@a.test",
            "From: vakt@a.test\r\n:From: leder@b.test", "From: vakt@a.test\r\nNot a field\r\n From: leder@b.test",
            "From: vakt@a.test\r\n: x\r\n\tfrom : leder@b.test", "From: vakt@a.test\r\nFr\u{43e}m: leder@b.test",
            "From: vakt@a.test\r\n\u{ff26}\u{ff52}\u{ff4f}\u{ff4d}\u{ff1a} leder@b.test", "From: vakt@a.test\r\nFrom\u{a0}: leder@b.test",
            "From: vakt@a.test\r\nFrom\u{200b}: leder@b.test", "From: vakt@a.test\r\nSubject: x\u{2028}From: leder@b.test",
            "From: vakt@a.test\r\nSubject: x\u{85} from: leder@b.test",
        ];
        for fields in cases {
            assert_eq!(author_of(fields), Author::Unclear, "{fields:?}");
        }
    }

    #[test]
    fn there_is_exactly_one_from_field() {
        #[rustfmt::skip]
        let cases = [
            ("To: leder@b.test",                                        Author::Missing),
            ("X-From: vakt@a.test\r\nFrom-X: vakt@a.test",              Author::Missing),
            ("Subject: x\r\n From: vakt@a.test",                        Author::Missing),
            ("Subject: x\r\n\r\nFrom: vakt@a.test",                     Author::Missing),
            ("",                                                        Author::Missing),
            ("From: vakt@a.test\r\nFrom: vakt@a.test",                  Author::Doubled),
            ("From: vakt@a.test\r\nfrom : leder@b.test",                Author::Doubled),
            ("From: vakt@a.test\r\nNot a field\r\n \r\nFROM:",          Author::Doubled),
            ("From: vakt@a.test\r\nSubject: x\r\n \r\n y",              named(&["vakt@a.test"])),
            ("From: vakt@a.test\r\nNot a field",                        named(&["vakt@a.test"])),
            ("From: vakt@a.test\r\nSubject: x\u{2028}From Oslo: y",      named(&["vakt@a.test"])),
            ("From: vakt@a.test\r\nSubject: x\r\n :From: y",            named(&["vakt@a.test"])),
            ("From: vakt@a.test\r\n\r\nFrom: leder@b.test",             named(&["vakt@a.test"])),
        ];
        for (fields, author) in cases {
            assert_eq!(author_of(fields), author, "{fields:?}");
        }
    }

    #[test]
    fn a_field_does_not_begin_where_a_long_line_may_be_broken() {
        for (octets, author) in [
            (870, named(&["vakt@a.test"])),
            (900, Author::Unclear),
            (985, Author::Unclear),
            (1040, Author::Unclear),
        ] {
            let long = "x".repeat(octets);
            let tail = "y".repeat(100);
            let fields = format!("From: vakt@a.test\r\nX-A: {long}From: leder@b.test{tail}");
            assert_eq!(author_of(&fields), author, "{octets}");
        }
        let honest = "=?utf-8?q?x?=\r\n from: y".repeat(400);
        let fields = format!("From: vakt@a.test\r\nSubject: {honest}");
        assert_eq!(author_of(&fields), named(&["vakt@a.test"]));
    }

    /// As text: `Sender a@b.test c@d.test`.
    fn claimed(fields: &str) -> Vec<String> {
        let all = claims(&format!("From: vakt@a.test\r\n{fields}"));
        let said = |claim: &Claim| match &claim.author {
            Author::Mailboxes(found) => format!("{} {}", claim.field.name(), found.join(" ")),
            other => format!("{} {other:?}", claim.field.name()),
        };
        all.iter().skip(1).map(said).collect()
    }

    #[test]
    fn whoever_has_sent_it_is_found_as_its_author_is() {
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 22] = [
            ("Subject: x",                                              &[]),
            ("X-Sender: vakt@b.test\r\nReply-To: vakt@b.test",          &[]),
            ("Subject: x\r\n Sender: vakt@b.test",                      &[]),
            ("Sender: Vakt <vakt@b.test>",                              &["Sender vakt@b.test"]),
            ("SENDER : =?utf-8?q?leder=40a.test?= <vakt@b.test>",       &["Sender vakt@b.test leder@a.test"]),
            ("Sender: \"vakt@b.test\" <vakt@b.test>",                   &["Sender vakt@b.test"]),
            ("Sender: vakt@a.test, leder@a.test",                       &["Sender Several"]),
            ("Sender: Alle: vakt@a.test;",                              &["Sender Unclear"]),
            ("Sender:",                                                 &["Sender Unclear"]),
            ("Sender: <>",                                              &["Sender Unclear"]),
            ("Sender: vakt@a.test\r\nsender: vakt@a.test",              &["Sender Doubled"]),
            ("Sender: vakt@a.test\r\nSen der: vakt@b.test",             &["Sender Unclear"]),
            (":Sender: vakt@b.test",                                    &["Sender Unclear"]),
            ("Not a field\r\nSender: vakt@a.test",                      &["Sender Unclear"]),
            ("Not a field\r\n Sender: vakt@b.test",                     &["Sender Unclear"]),
            ("Sender: Va\0kt <vakt@a.test>",                            &["Sender Unclear"]),
            ("S\u{435}nder: vakt@b.test",                               &["Sender Unclear"]),
            ("Resent-From: vakt@b.test, Alle: leder@b.test;\r\nResent-Sender: x@b.test\r\nresent-from: y@b.test",
                &["Resent-From vakt@b.test leder@b.test", "Resent-Sender x@b.test", "Resent-From y@b.test"]),
            ("Resent-Sender: x@a.test, y@a.test",                       &["Resent-Sender Several"]),
            ("Resent-Sender: x@a.test\r\nSender: y@a.test",             &["Sender y@a.test", "Resent-Sender x@a.test"]),
            ("Resent\u{2011}From: x@a.test",                            &["Resent-From Unclear"]),
            ("Resent-From:\r\nResent-Sender: x",                        &["Resent-From Unclear", "Resent-Sender Unclear"]),
        ];
        for (fields, found) in cases {
            assert_eq!(claimed(fields), found, "{fields:?}");
        }
    }

    #[test]
    fn a_flood_of_claims_is_unclear_and_costs_little() {
        let flood = "Resent-From: vakt@a.test\r\n".repeat(100_000);
        let all = claims(&format!("From: vakt@a.test\r\n{flood}X: y"));
        assert_eq!((all.len(), &all[0].author), (100, &Author::Unclear));
    }

    /// Where each mark is looked at to the end of its line, this does not end within the hour.
    #[test]
    fn a_line_full_of_line_ends_of_unicode_costs_little() {
        for (mark, is_unclear) in [
            ("\u{85}", true),
            ("\u{2029}\u{200b}", true),
            ("\u{85}x", false),
            ("\u{2028}fro", false),
        ] {
            let line = mark.repeat(200_000);
            let author = author_of(&format!("From: vakt@a.test\r\nX: {line}"));
            assert_eq!(author == Author::Unclear, is_unclear, "{mark:?}");
        }
    }

    #[test]
    fn reads_the_facts() {
        #[rustfmt::skip]
        let cases = [
            ("Subject: hei",                                "hei",                  ""),
            ("SUBJECT :  hei  der ",                        "hei  der",             ""),
            ("Subject: hei\r\n\tder",                       "hei der",              ""),
            ("Subject: pr\u{f8}ve",                         "prøve",                ""),
            ("Subject: =?iso-8859-1?q?pr=F8ve?=",           "prøve",                ""),
            ("Subject: =?utf-8?b?cHLDuA==?= =?utf-8?q?ve?=", "prøve",               ""),
            ("Subject: a=?utf-8?q?=0D=0A=1B?=",             "a ???",                ""),
            ("Subject: en\r\nSubject: to",                  "en",                   ""),
            ("Subject:",                                    "",                     ""),
            ("Message-ID: <x@a.test>",                      "",                     "x@a.test"),
            ("message-id:\r\n <x@a.test> (c)",              "",                     "x@a.test"),
            ("Message-ID: x",                               "",                     "x"),
        ];
        for (fields, subject, id) in cases {
            let facts = read(&Bytes::from(format!("{fields}\r\n\r\n"))).facts;
            assert_eq!(
                facts.subject.as_deref().unwrap_or_default(),
                subject,
                "{fields}"
            );
            assert_eq!(
                facts.message_id.as_deref().unwrap_or_default(),
                id,
                "{fields}"
            );
            assert!(facts.attachments.is_empty());
        }
        let unended = read(&Bytes::from_static(b"Subject: hei")).facts.subject;
        assert_eq!(unended.as_deref(), Some("hei"));
        let long = format!("Subject: {}\r\n\r\n", "ø".repeat(100_000));
        let long = read(&Bytes::from(long)).facts.subject.unwrap();
        assert!((995..=998).contains(&long.len()) && long.ends_with('\u{2026}'));
    }

    #[test]
    fn the_most_urgent_field_counts() {
        #[rustfmt::skip]
        let cases = [
            ("Subject: x",                                          None),
            ("X-Priority: 3",                                       Some(0)),
            ("X-Priority: 5\r\nImportance: high",                   Some(4)),
            ("Importance: high\r\nX-Priority: 5",                   Some(4)),
            ("X-Priority: 5\r\npriority : normal",                  Some(0)),
            ("X-Priority: 5\r\nX-Priority: soon",                   Some(-4)),
            ("Importance:\r\n (x)\r\n\tlow",                        Some(-4)),
            ("Subject: x\r\n Priority: urgent",                     None),
            ("Subject: x\r\n\r\nPriority: urgent",                  None),
        ];
        for (fields, expected) in cases {
            let found = read(&Bytes::from(format!("{fields}\r\n\r\n"))).priority;
            assert_eq!(found.map(Priority::level), expected, "{fields:?}");
        }
    }

    #[test]
    fn counts_the_hops() {
        let fields = "Received: x\r\nreceived : y\r\n z\r\nX-Received: n\r\nReceived: z\r\n\r\nReceived: n\r\n";
        assert_eq!(read(&Bytes::from(fields)).hops, 3);
    }

    #[test]
    fn removes_our_own_fields_and_nothing_else() {
        #[rustfmt::skip]
        let cases: [(&[u8], &[u8], &[&str]); 5] = [
            (b"A: 1\r\nX-Ilbud-Scan: clean\r\n  folded\r\nB: \xff\x00\r\n\r\nX-Ilbud-Scan: body\r\n",
             b"A: 1\r\nB: \xff\x00\r\n\r\nX-Ilbud-Scan: body\r\n", &["X-Ilbud-Scan"]),
            (b"x-ilbud-a : 1\r\nA: 1\r\nX-ILBUD-B:2\r\n\r\nhei", b"A: 1\r\n\r\nhei", &["x-ilbud-a", "X-ILBUD-B"]),
            (b"X-Ilbud-A: 1\r\n\r\n", b"\r\n", &["X-Ilbud-A"]),
            (b"X-Ilbud-A: 1", b"", &["X-Ilbud-A"]),
            (b"X-Ilbud-A: 1\r\n \r\n x\r\nB: 2\r\n\r\n", b"B: 2\r\n\r\n", &["X-Ilbud-A"]),
        ];
        for (before, after, names) in cases {
            let (bytes, removed) = read(&Bytes::from_static(before)).cleaned.unwrap();
            assert_eq!(bytes, after);
            assert_eq!(removed.names, names);
            assert_eq!(removed.count, names.len());
        }
        for untouched in [
            "X-Ilbud: 1\r\n\r\n",
            "A: x-ilbud-a: 1\r\n X-Ilbud-A: 2\r\n\r\n",
            "\r\nX-Ilbud-A: 1\r\n",
            "",
        ] {
            assert_eq!(read(&Bytes::from(untouched)).cleaned, None, "{untouched}");
        }
    }

    #[test]
    fn a_flood_of_our_own_fields_leaves_a_short_remark() {
        let same = "X-Ilbud-:\r\n".repeat(100_000);
        let (bytes, removed) = read(&Bytes::from(format!("{same}A: 1\r\n\r\n")))
            .cleaned
            .unwrap();
        assert_eq!(bytes, "A: 1\r\n\r\n");
        assert_eq!(removed.to_string(), "X-Ilbud- (100000 fields in all)");
        let long = "x".repeat(1000);
        let many: String = (0..50)
            .map(|it| format!("X-Ilbud-{it}-{long}: 1\r\n"))
            .collect();
        let (_, removed) = read(&Bytes::from(many)).cleaned.unwrap();
        assert_eq!((removed.names.len(), removed.count), (10, 50));
        assert!(removed.names.iter().all(|name| name.len() == 64));
    }

    fn attached(message: &str) -> Vec<(String, u64, String)> {
        let facts = read(&Bytes::from(message.replace('\n', "\r\n"))).facts;
        let start = |it: &str| it.chars().take(8).collect();
        facts
            .attachments
            .into_iter()
            .map(|it| (it.name, it.size.unwrap(), start(&it.sha256.unwrap())))
            .collect()
    }

    fn file(name: &str, size: u64, sha256: &str) -> (String, u64, String) {
        (name.to_owned(), size, sha256.to_owned())
    }

    #[test]
    fn finds_attachments_as_they_were() {
        let mixed = |parts: &str| {
            format!("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhei\n--x\n{parts}--x--\n")
        };
        #[rustfmt::skip]
        let cases = [
            ("Content-Type: text/plain\n\nhei\n".to_owned(), vec![]),
            ("Content-Type: text/html\n\n<p>hei\n".to_owned(), vec![]),
            (mixed("Content-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\naGVp\n"),
                vec![file("a.pdf", 3, "f9d1af62")]),
            (mixed("Content-Type: text/plain; charset=iso-8859-1\nContent-Disposition: attachment; filename*=utf-8''pr%C3%B8ve.txt\nContent-Transfer-Encoding: quoted-printable\n\npr=F8ve\n"),
                vec![file("prøve.txt", 5, "0e9352fd")]),
            (mixed("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"=?utf-8?q?pr=C3=B8ve?=\"\n\nhei\n"),
                vec![file("prøve", 3, "f9d1af62")]),
            (mixed("Content-Type: multipart/mixed; boundary=\"x y\"\n\n--x y\nContent-Type: a/b\n\nhei\n--xx\n\n--x y--\n\nend\n"),
                vec![file("unnamed", 11, "8ab30711")]),
            ("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b\n\nhei".to_owned(), vec![file("unnamed", 3, "f9d1af62")]),
            ("Content-Type: multipart/mixed\n\n--\nhei\n".to_owned(), vec![file("unnamed", 9, "c2eb6003")]),
            (mixed("Content-Type: application/x-zip\n\nhei\n"), vec![file("unnamed", 3, "f9d1af62")]),
            (mixed("Content-Type: message/rfc822\n\nSubject: x\n\nhei\n"), vec![file("message.eml", 17, "8a6fdbee")]),
            ("Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf\n\nhei\n".to_owned(),
                vec![file("a.pdf", 5, "0032a9b6")]),
            ("Content-Disposition: attachment; filename=a.txt\n\nhei\n".to_owned(), vec![file("a.txt", 5, "0032a9b6")]),
        ];
        for (message, files) in cases {
            assert_eq!(attached(&message), files, "{message}");
        }
    }

    #[test]
    fn a_message_built_to_wear_us_out_costs_no_more_than_another() {
        let part = "--x\nContent-Type: application/x\n\n";
        let many = format!(
            "Content-Type: multipart/mixed; boundary=x\n\n{}",
            part.repeat(50_000)
        );
        assert_eq!(attached(&many).len(), 9_999);
        let deep = "Content-Type: message/rfc822\n\n".repeat(5000);
        assert_eq!(attached(&deep).len(), 101);
        let nested = (0..5000).map(|depth| {
            format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n")
        });
        assert!(attached(&nested.collect::<String>()).is_empty());
    }

    fn envelope() -> Envelope {
        let recipient = Recipient {
            address: Address::parse("vakt@ålesund.test").unwrap(),
            room: RoomId::new("b"),
            group: None,
            rule: String::new(),
            revision: 1,
            wishes: Wishes::default(),
        };
        Envelope {
            reference: Reference::from_number(31),
            received_at: Timestamp::from_millis(1_795_000_000_000),
            peer: Peer {
                address: "127.0.1.9:2525".parse().unwrap(),
                helo: "ws.test".to_owned(),
                protocol: Protocol::Esmtp,
                tls: None,
                certificate: None,
                user: None,
            },
            origin: Origin::Relay,
            sender: None,
            smtputf8: false,
            body: BodyKind::SevenBit,
            terms: Terms::default(),
            recipients: vec![recipient],
        }
    }

    #[test]
    fn writes_a_received_field() {
        let date = Timestamp::from_millis(1_795_000_000_000).rfc5322();
        let plain = envelope();
        assert_eq!(
            received_field("relay.test", &plain),
            format!(
                "Received: from ws.test ([127.0.1.9])\r\n\tby relay.test with ESMTP id 0000-0000-000Z\r\n\
                 \tfor <vakt@xn--lesund-hua.test>;\r\n\t{date}\r\n"
            )
        );
        let mut rich = envelope();
        rich.smtputf8 = true;
        rich.terms.priority = Priority::HIGH;
        rich.peer.user = Some(Login::User("ws1".to_owned()));
        rich.peer.address = "[2001:db8::1]:25".parse().unwrap();
        rich.peer.helo = "ws\r\nX: (y) ".to_owned();
        rich.peer.tls = Some(TlsSession {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        });
        assert_eq!(
            received_field("relay.test", &rich),
            format!(
                "Received: from ws??X:??y?? ([IPv6:2001:db8::1])\r\n\tby relay.test with UTF8SMTPSA (TLSv1.3) id 0000-0000-000Z\r\n\
                 \tfor <vakt@ålesund.test>\r\n\tPRIORITY 4\r\n\ttls TLS_AES_256_GCM_SHA384;\r\n\t{date}\r\n"
            )
        );
    }

    #[test]
    fn a_received_field_names_no_member_of_a_group_and_no_letters_that_were_not_agreed_on() {
        let mut member = envelope();
        member.recipients[0].group = Some(Address::parse("alle@b.test").unwrap());
        let mut letters = envelope();
        letters.recipients[0].address = Address::parse("bjørn@b.test").unwrap();
        for unnamed in [member, letters] {
            let field = received_field("r", &unnamed);
            assert!(
                field.is_ascii() && !field.windows(5).any(|it| it == b" for " || it == b"\tfor ")
            );
        }
    }

    #[test]
    fn names_the_protocol_and_no_second_recipient() {
        #[rustfmt::skip]
        let cases = [
            (Protocol::Smtp,    false, false, "SMTP"),
            (Protocol::Esmtp,   false, false, "ESMTP"),
            (Protocol::Esmtp,   true,  false, "ESMTPS"),
            (Protocol::Esmtp,   false, true,  "ESMTPA"),
            (Protocol::Esmtp,   true,  true,  "ESMTPSA"),
        ];
        for (protocol, tls, user, word) in cases {
            let mut envelope = envelope();
            envelope.recipients.clear();
            envelope.peer.helo.clear();
            envelope.peer.protocol = protocol;
            envelope.peer.user = user.then(|| Login::User("x".to_owned()));
            envelope.peer.tls = tls.then(|| TlsSession {
                version: "TLSv1.2".to_owned(),
                cipher: "X".to_owned(),
            });
            let field = String::from_utf8(received_field("r", &envelope).to_vec()).unwrap();
            assert!(field.contains(&format!(" with {word} ")), "{field}");
            assert!(
                field.contains("from unknown ") && !field.contains(" for "),
                "{field}"
            );
        }
    }

    #[test]
    fn cuts_out_the_header_section() {
        let content = |bytes: &'static str| Content {
            trace: Bytes::from_static(b"Received: x\r\n"),
            bytes: Bytes::from_static(bytes.as_bytes()),
        };
        #[rustfmt::skip]
        let cases = [
            ("A: 1\r\n 2\r\nB: 3\r\n\r\nbody\r\n\r\n",  usize::MAX, "Received: x\r\nA: 1\r\n 2\r\nB: 3\r\n\r\n"),
            ("A: 1\r\n",                                usize::MAX, "Received: x\r\nA: 1\r\n"),
            ("\r\nbody\r\n",                            usize::MAX, "Received: x\r\n\r\n"),
            ("",                                        usize::MAX, "Received: x\r\n"),
            ("A: 1\r\nB: 3\r\n\r\n",                    22,         "Received: x\r\nA: 1\r\n"),
            ("A: 1\r\n",                                5,          ""),
        ];
        for (bytes, limit, section) in cases {
            assert_eq!(header_section(&content(bytes), limit), section, "{bytes:?}");
        }
    }
}
