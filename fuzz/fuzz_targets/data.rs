//! What the writer writes the reader reads back; and where a message ends does not depend on how it
//! was cut into pieces, nor on whether newlines are normalised.
#![no_main]

use ilbud::mail::Content;
use ilbud::smtp::data::{self, Reader, Unfit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, octets)) = input.split_first() else {
        return;
    };
    written_is_read_back(octets, cut);
    cutting_changes_nothing(octets, usize::from(cut) + 1);
    normalising_moves_no_end(octets, usize::from(cut) + 1);
    normalised_chunks_are_fit(octets, usize::from(cut) + 1);
});

fn written_is_read_back(octets: &[u8], cut: u8) {
    let (trace, bytes) = octets.split_at(usize::from(cut).min(octets.len()));
    let content = Content {
        trace: bytes::Bytes::copy_from_slice(trace),
        bytes: bytes::Bytes::copy_from_slice(bytes),
    };
    let wire = data::stuff(&content);
    let mut reader = Reader::new(wire.len());
    assert_eq!(reader.read(&wire), Some(wire.len()));
    let bare = reader.unfit() == Some(Unfit::BareNewline);
    let mut expected = octets.to_vec();
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(bare, has_bare_newline(&expected));
    assert_eq!(reader.into_body(), expected);
}

fn has_bare_newline(octets: &[u8]) -> bool {
    (0..octets.len()).any(|at| match octets[at] {
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        _ => false,
    })
}

fn cutting_changes_nothing(wire: &[u8], size: usize) {
    let limit = wire.len() / 2;
    let mut whole = Reader::new(limit);
    let end = whole.read(wire);
    let mut cut = Reader::new(limit);
    let mut end_when_cut = None;
    for (number, piece) in wire.chunks(size).enumerate() {
        if let Some(taken) = cut.read(piece) {
            end_when_cut = Some(number * size + taken);
            break;
        }
    }
    assert_eq!(end, end_when_cut);
    assert_eq!(whole.unfit(), cut.unfit());
    assert_eq!(whole.into_body(), cut.into_body());
    // The end, if there is one, is CRLF.CRLF, or .CRLF at the very start.
    if let Some(end) = end {
        let message = &wire[..end];
        assert!(message == b".\r\n" || message.ends_with(b"\r\n.\r\n"));
    }
}

/// A reader that normalises ends where a strict one does, and what it keeps goes out as one message.
fn normalising_moves_no_end(wire: &[u8], size: usize) {
    let mut strict = Reader::new(usize::MAX);
    let end = strict.read(wire);
    let mut reader = Reader::normalising(usize::MAX);
    let mut found = None;
    for (number, piece) in wire.chunks(size).enumerate() {
        if let Some(taken) = reader.read(piece) {
            found = Some(number * size + taken);
            break;
        }
    }
    assert_eq!(end, found);
    assert!(reader.unfit().is_none() && reader.len() <= reader_growth(wire));
    let Some(_) = end else { return };
    let bare = strict.unfit() == Some(Unfit::BareNewline);
    assert_eq!(reader.normalised() > 0, bare);
    let body = reader.into_body();
    assert_eq!(body, normalised(strict.body()));
    let content = Content {
        trace: bytes::Bytes::new(),
        bytes: bytes::Bytes::copy_from_slice(&body),
    };
    let out = data::stuff(&content);
    let mut hop = Reader::new(usize::MAX);
    assert_eq!(hop.read(&out), Some(out.len()));
    assert!(hop.unfit().is_none() && hop.into_body() == body);
}

fn normalised_chunks_are_fit(octets: &[u8], size: usize) {
    let mut reader = Reader::normalising(usize::MAX);
    for piece in octets.chunks(size) {
        reader.read_chunk(piece);
    }
    reader.end_chunks();
    assert_eq!(reader.normalised() > 0, has_bare_newline(octets));
    assert!(reader.len() <= reader_growth(octets));
    assert_eq!(reader.into_body(), normalised(octets));
}

fn reader_growth(octets: &[u8]) -> usize {
    Reader::normalising(0).growth(octets.len())
}

/// Every CR and LF that stands alone as CRLF.
fn normalised(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &octet) in octets.iter().enumerate() {
        match octet {
            b'\r' if octets.get(at + 1) != Some(&b'\n') => out.extend_from_slice(b"\r\n"),
            b'\n' if at == 0 || octets[at - 1] != b'\r' => out.extend_from_slice(b"\r\n"),
            octet => out.push(octet),
        }
    }
    out
}
