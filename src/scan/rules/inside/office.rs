//! What the parts of an office document say of the document: macros, encryption, a template from
//! elsewhere.
//!
//! The parts are judged one by one as members of their archive: by name, and by what only such a part
//! says. A macro project under another name is found by its content ([`super::compound`]).

use super::octets::contains;
use super::{Place, Walk};

/// Text of which so much is searched. Lists of parts are short.
const SEARCHED: usize = 1024 * 1024;

/// A document's part of this name.
pub fn named(walk: &mut Walk<'_>, document: &Place, name: &str) {
    let name = name.to_ascii_lowercase().replace('\\', "/");
    let name = name.trim_start_matches('/');
    let last = name.rsplit('/').next().unwrap_or(name);
    let module = |folder: &str| {
        name.strip_prefix(folder)
            .is_some_and(|rest| rest.contains('/') && !rest.ends_with('/'))
    };
    if last.ends_with("vbaproject.bin") || last == "vbadata.xml" {
        walk.macros(document, "has macros (VBA)");
    }
    if name.contains("macrosheets/") {
        walk.macros(document, "has macros (Excel 4)");
    }
    if module("basic/") || module("scripts/") {
        walk.macros(document, "has macros (OpenDocument)");
    }
    if last == "encrypted-package" {
        walk.encrypted(document);
    }
}

/// Text that may be such a part, or a document in one file.
pub fn text(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let head = super::octets::piece(bytes, 0, SEARCHED);
    let start = super::octets::piece(head, 0, 1024);
    if !start.trim_ascii_start().starts_with(b"<")
        && !contains(start, b"<\0")
        && !contains(start, b"MIME-Version")
    {
        return;
    }
    let has = |mark: &[u8]| contains(head, mark) || contains(head, &widened(mark));
    if has(b"ContentType") && (has(b"vbaProject") || has(b"macroEnabled")) {
        walk.macros(place, "says that the document has macros (VBA)");
    }
    if has(b"ContentType") && (has(b"macrosheet") || has(b"Macrosheet")) {
        walk.macros(place, "says that the document has macros (Excel 4)");
    }
    if has(b"attachedTemplate") && has(b"External") {
        walk.macros(place, "has its template from elsewhere");
    }
    if has(b"encryption-data") && has(b"manifest") {
        walk.encrypted(place);
    }
    if has(b"script:module") || has(b"library:library ") && has(b"library:element") {
        walk.macros(place, "has macros (OpenDocument)");
    }
    // ActiveMime in base64: macros in documents that Word and Excel save as XML or as a web page.
    if has(b"QWN0aXZlTWltZQ") || has(b"w:macrosPresent=\"yes\"") {
        walk.macros(place, "has macros (ActiveMime)");
    }
}

fn widened(mark: &[u8]) -> Vec<u8> {
    mark.iter().flat_map(|octet| [*octet, 0]).collect()
}
