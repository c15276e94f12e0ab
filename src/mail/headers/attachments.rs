//! A message taken apart: the one place where MIME is read, for the log and for the scan.
//!
//! Readers understand broken MIME differently, and a file that one of them finds and we do not is a
//! hole. So what is said twice is read twice, and what either this walk or `mail-parser` finds counts.
//! Work and memory are bounded by the size of the message; what lies beyond is not looked at, and that
//! is a [`Gap`]. Decides nothing and cannot fail.

mod encoding;
mod head;
mod inline;
mod second;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use memchr::memmem;

use super::{line_length, shortened};
use crate::mail::FileType;
use crate::mail::part::{Dissection, Gap, Part};
use encoding::Encoding;
use head::Head;
use second::Opinion;

/// Multiparts within multiparts, messages within messages.
const DEPTH: usize = 100;
/// Parts that are looked at, and files that come of them.
const PARTS: usize = 10_000;
/// Octets of work for each octet of the message, and as many as any message has.
const WORK: (usize, usize) = (40, 256 << 20);
/// Octets of memory for what was encoded, likewise.
const MEMORY: (usize, usize) = (4, 1 << 20);
/// To take the digest of an octet, or to decode it, is so much more work than to look at it.
const DIGEST: usize = 4;

pub(super) fn dissect(message: &Bytes) -> Dissection {
    let budget = |(each, least): (usize, usize)| message.len().saturating_mul(each) + least;
    let mut walk = Walk {
        found: Dissection::default(),
        parts: PARTS,
        work: budget(WORK),
        memory: budget(MEMORY),
        seen: BTreeSet::new(),
        digests: BTreeMap::new(),
    };
    walk.message(message, DEPTH);
    walk.found.decoded = budget(MEMORY).saturating_sub(walk.memory);
    walk.found
}

#[derive(Debug)]
struct Walk {
    found: Dissection,
    /// What is left of each.
    parts: usize,
    work: usize,
    memory: usize,
    /// Bodies by their place in memory, as far as two readings may meet at them.
    seen: BTreeSet<(usize, usize)>,
    /// Which attachment it is that has this digest.
    digests: BTreeMap<String, usize>,
}

/// By whom a part was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finder {
    Walk,
    /// It is new only if its content is.
    Second,
}

impl Walk {
    /// A message with nothing encoded around it, in both readings.
    fn message(&mut self, message: &Bytes, depth: usize) {
        self.entity(message, depth, false);
        match second::opinion(message) {
            Opinion::Same => {}
            Opinion::None => self.gap(Gap::Odd),
            Opinion::Parts(places) => {
                for place in places {
                    self.second(message, place, depth);
                }
            }
        }
    }

    /// A message, or a part of one: header fields, an empty line, a body (RFC 2045 §2.4).
    fn entity(&mut self, bytes: &Bytes, depth: usize, is_in_digest: bool) {
        if !self.take_part() || !self.take_work(bytes.len()) {
            return;
        }
        let head = Head::read(bytes);
        let bodies = head.bodies.iter().map(|at| rest_of(bytes, *at));
        let bodies: Vec<Bytes> = bodies.collect();
        self.content(&head, &bodies, depth, is_in_digest, Finder::Walk);
    }

    /// What the header fields are of, beginning at each place where it may begin.
    fn content(
        &mut self,
        head: &Head,
        bodies: &[Bytes],
        depth: usize,
        in_digest: bool,
        by: Finder,
    ) {
        self.note_oddities(head);
        if let Some(whole) = bodies.first().filter(|_| head.is_multipart()) {
            let has_parts = self.multipart(head, whole, depth);
            if has_parts && head.is_only_multipart() {
                self.seen.extend(bodies.iter().map(place_of));
                return;
            }
        }
        for body in bodies {
            self.body(head, body, depth, in_digest, by);
        }
    }

    fn note_oddities(&mut self, head: &Head) {
        if head.is_cut {
            self.gap(Gap::Field);
        }
        // RFC 2046 §5.2.2: nobody knows what it is before it is put together.
        if head.is("message", "partial") {
            self.gap(Gap::Partial);
        }
        if head.is("message", "external-body") {
            self.gap(Gap::External);
        }
    }

    /// Whether every reader sees parts in it.
    fn multipart(&mut self, head: &Head, body: &Bytes, depth: usize) -> bool {
        let is_digest = head.is("multipart", "digest");
        if self.parts_of(head, body, depth) {
            return true;
        }
        let guessed = guessed_boundary(body);
        if let Some(boundary) = guessed.filter(|it| !head.boundaries.contains(it)) {
            self.split(body, &boundary, depth, is_digest);
        }
        // RFC 2045 §6.4 forbids it, and some read it.
        for decoded in self.readings(head, body) {
            if decoded != *body {
                self.parts_of(head, &decoded, depth);
            }
        }
        false
    }

    fn parts_of(&mut self, head: &Head, body: &Bytes, depth: usize) -> bool {
        let mut has_parts = false;
        let is_digest = head.is("multipart", "digest");
        for boundary in &head.boundaries {
            has_parts |= self.split(body, boundary, depth, is_digest);
        }
        has_parts
    }

    fn split(&mut self, body: &Bytes, boundary: &[u8], depth: usize, is_digest: bool) -> bool {
        if !self.take_work(body.len()) {
            return false;
        }
        let mut has_parts = false;
        for (begin, end) in parts(body, boundary) {
            has_parts = true;
            let Some(depth) = depth.checked_sub(1) else {
                self.gap(Gap::Depth);
                break;
            };
            if self.parts == 0 {
                self.gap(Gap::Parts);
                break;
            }
            self.entity(&body.slice(begin..end), depth, is_digest);
        }
        has_parts
    }

    /// What is no multipart: a text, a file or a message.
    fn body(&mut self, head: &Head, body: &Bytes, depth: usize, in_digest: bool, by: Finder) {
        self.seen.insert(place_of(body));
        let is_message = head.is_message() || (in_digest && !head.has_type());
        for decoded in self.readings(head, body) {
            let kind = FileType::of(&decoded);
            self.keep(head, kind, is_message, &decoded, by);
            self.keep_enclosed(&decoded);
            let is_raw = decoded.as_ptr() == body.as_ptr();
            if is_message || (kind == FileType::Message && head.is_attachment()) {
                self.nested(&decoded, depth, is_raw);
            }
        }
    }

    fn nested(&mut self, message: &Bytes, depth: usize, is_raw: bool) {
        match depth.checked_sub(1) {
            None => self.gap(Gap::Depth),
            // The other reading goes through the whole of what is around it.
            Some(depth) if is_raw => self.entity(message, depth, false),
            Some(depth) => self.message(message, depth),
        }
    }

    /// RFC 2045 §6: the body as it was before it was encoded.
    fn readings(&mut self, head: &Head, body: &Bytes) -> Vec<Bytes> {
        let mut readings: Vec<Bytes> = Vec::new();
        for encoding in head.encodings() {
            let cost = encoding::cost(body, *encoding);
            if cost > self.memory || !self.take_work(cost.saturating_mul(DIGEST)) {
                self.gap(Gap::Work);
                continue;
            }
            for reading in encoding::readings(body, *encoding) {
                if reading.as_ptr() != body.as_ptr() {
                    self.memory = self.memory.saturating_sub(reading.len());
                }
                if !readings.contains(&reading) {
                    readings.push(reading);
                }
            }
        }
        if readings.is_empty() {
            readings.push(body.clone());
        }
        readings
    }

    fn keep(&mut self, head: &Head, kind: FileType, is_message: bool, bytes: &Bytes, by: Finder) {
        let is_file = head.is_attachment() || is_message || !is_shown(kind);
        if !is_file {
            if by == Finder::Walk || !bytes.trim_ascii().is_empty() {
                let names = head.names.clone();
                let text = Part::text(display(&names, "text"), names, kind, bytes.clone());
                self.found.texts.push(text);
            }
            return;
        }
        let unnamed = if is_message { "message.eml" } else { "unnamed" };
        self.attach(head.names.clone(), unnamed, kind, bytes.clone(), by);
    }

    /// Files within a text.
    fn keep_enclosed(&mut self, text: &Bytes) {
        if !self.take_work(text.len()) {
            return;
        }
        for file in inline::enclosed(text, self.parts.saturating_add(1)) {
            if !self.take_part() || file.bytes.len() > self.memory {
                self.gap(Gap::Work);
                return;
            }
            self.memory -= file.bytes.len();
            let bytes = Bytes::from(file.bytes);
            let names = vec![file.name];
            self.attach(names, "unnamed", FileType::of(&bytes), bytes, Finder::Walk);
        }
    }

    fn attach(
        &mut self,
        names: Vec<String>,
        unnamed: &str,
        kind: FileType,
        bytes: Bytes,
        by: Finder,
    ) {
        if !self.take_work(bytes.len().saturating_mul(DIGEST)) {
            // Its content is looked at all the same.
            let part = Part::text(display(&names, unnamed), names, kind, bytes);
            return self.found.texts.push(part);
        }
        let part = Part::file(display(&names, unnamed), names, kind, bytes);
        let digest = part.sha256().into_owned();
        match self.digests.get(&digest) {
            Some(known) if by == Finder::Second => {
                if let Some(known) = self.found.attachments.get_mut(*known) {
                    add_names(known, part.names);
                }
            }
            _ => {
                self.digests.insert(digest, self.found.attachments.len());
                self.found.attachments.push(part);
            }
        }
    }

    /// A part as the second reading has it.
    fn second(&mut self, message: &Bytes, place: second::Place, depth: usize) {
        let (head, body) = (message.get(place.head), message.get(place.body));
        let (Some(head), Some(body)) = (head, body) else {
            return;
        };
        let head = Head::read(head);
        let mut body = message.slice_ref(body);
        // It was not told that this is encoded, and has read on behind its end. Base64 has no dashes.
        if head.is_message() && head.encodings().contains(&Encoding::Base64) {
            let end = memmem::find(&body, b"--").unwrap_or(body.len());
            body.truncate(end);
        }
        if self.seen.contains(&place_of(&body)) {
            return;
        }
        if !self.take_part() || !self.take_work(body.len()) {
            return;
        }
        self.content(&head, &[body], depth, false, Finder::Second);
    }

    fn take_part(&mut self) -> bool {
        match self.parts.checked_sub(1) {
            Some(rest) => self.parts = rest,
            None => {
                self.gap(Gap::Parts);
                return false;
            }
        }
        true
    }

    fn take_work(&mut self, octets: usize) -> bool {
        match self.work.checked_sub(octets) {
            Some(rest) => self.work = rest,
            None => {
                self.gap(Gap::Work);
                return false;
            }
        }
        true
    }

    fn gap(&mut self, gap: Gap) {
        if !self.found.gaps.contains(&gap) {
            self.found.gaps.push(gap);
        }
    }
}

/// What a reader shows by itself, if nobody says that it is a file.
const fn is_shown(kind: FileType) -> bool {
    matches!(
        kind,
        FileType::Text | FileType::Html | FileType::Message | FileType::Script | FileType::Unknown
    )
}

fn display(names: &[String], unnamed: &str) -> String {
    let named = names.iter().find_map(|it| shortened(it));
    named.unwrap_or_else(|| unnamed.to_owned())
}

fn add_names(part: &mut Part, names: Vec<String>) {
    for name in names {
        if !part.names.contains(&name) {
            part.names.push(name);
        }
    }
}

/// Where a body stands, whether or not its last line end is counted to it.
fn place_of(body: &Bytes) -> (usize, usize) {
    (body.as_ptr() as usize, body.trim_ascii_end().len())
}

fn rest_of(bytes: &Bytes, at: usize) -> Bytes {
    bytes.slice(at.min(bytes.len())..)
}

/// RFC 2046 §5.1.1: what stands between the boundary lines. The line end before a boundary is its.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mark = [b"--", boundary].concat();
    let finder = memmem::Finder::new(&mark).into_owned();
    let mut at = 0;
    let mut begin = None;
    let mut is_over = false;
    std::iter::from_fn(move || {
        while let Some(place) = finder.find(body.get(at..)?).map(|it| at + it) {
            let rest = body.get(place..)?;
            let line = rest.get(..line_length(rest))?;
            at = place + mark.len();
            let is_at_start = place
                .checked_sub(1)
                .is_none_or(|it| body.get(it) == Some(&b'\n'));
            let Some(is_last) = boundary_line(line, &mark).filter(|_| is_at_start) else {
                continue;
            };
            at = place + line.len();
            let part = begin.map(|begin| (begin, before_line_end(body, begin, place)));
            begin = (!is_last).then_some(at);
            if part.is_some() {
                return part;
            }
        }
        // A last part that nothing ends: cut off on the way, and still a part.
        let begin = begin
            .take()
            .filter(|_| !std::mem::replace(&mut is_over, true))?;
        let part = body.get(begin..)?;
        (!part.trim_ascii().is_empty()).then_some((begin, body.len()))
    })
}

/// Whether this boundary line is the last one; `None` where the line is none.
fn boundary_line(line: &[u8], mark: &[u8]) -> Option<bool> {
    match line.strip_prefix(mark)?.trim_ascii() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

fn before_line_end(body: &[u8], begin: usize, end: usize) -> usize {
    let part = body.get(begin..end).unwrap_or_default();
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    begin + part.strip_suffix(b"\r").unwrap_or(part).len()
}

/// What a reader takes for the boundary that finds none: the first line with two dashes before it.
fn guessed_boundary(body: &[u8]) -> Option<Vec<u8>> {
    /// RFC 2046 §5.1.1 has 70.
    const LONGEST: usize = 200;
    let mut places = memmem::find_iter(body, b"--");
    let at = places.find(|at| {
        at.checked_sub(1)
            .is_none_or(|it| body.get(it) == Some(&b'\n'))
    })?;
    let rest = body.get(at + 2..)?;
    let line = rest.get(..line_length(rest))?.trim_ascii_end();
    (!line.is_empty() && line.len() <= LONGEST).then(|| line.to_vec())
}

#[cfg(test)]
mod tests;
