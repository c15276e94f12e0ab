//! Any octets are an answer of an ICAP service, in any pieces, or garbage; and clean is only 204, or the
//! very message that was sent.
#![no_main]

use bytes::{Bytes, BytesMut};
use ilbud::mail::Verdict;
use ilbud::scan::icap::answer::{Answer, Garbage, Step};
use ilbud::scan::icap::judge::Judge;
use ilbud::scan::icap::options;
use libfuzzer_sys::fuzz_target;

const SENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

#[derive(Debug, PartialEq)]
enum End {
    More,
    Garbage,
    Complete,
    Verdict(Verdict),
}

struct Read {
    end: End,
    status: u16,
    body: Vec<u8>,
}

fn read(octets: &[u8], piece: usize, is_c_icap: bool) -> Read {
    let (mut answer, mut buffer) = (Answer::default(), BytesMut::new());
    let mut judge = Judge::new(Bytes::from_static(SENT), "message/rfc822", &[], is_c_icap);
    let (mut status, mut body) = (0, Vec::new());
    let mut pieces = octets.chunks(piece);
    let end = loop {
        let verdict = match answer.read(&mut buffer) {
            Ok(Step::More) => match pieces.next() {
                Some(piece) => {
                    buffer.extend_from_slice(piece);
                    continue;
                }
                None => break End::More,
            },
            Ok(Step::Icap(head)) => {
                status = head.status.expect("ICAP has a status");
                let identity = options::identity(&head.fields);
                assert!(identity.version.is_none_or(|it| it.chars().count() <= 120));
                options::Abilities::read(&head, None);
                judge.icap(&head)
            }
            Ok(Step::Http(head)) => judge.http(&head),
            Ok(Step::Body(octets)) => {
                assert!(!octets.is_empty());
                body.extend_from_slice(&octets);
                judge.body(&octets)
            }
            Ok(Step::End) => break End::Complete,
            Err(Garbage(_)) => break End::Garbage,
        };
        if let Some(verdict) = verdict {
            break End::Verdict(verdict);
        }
    };
    let end = match end {
        End::Complete => End::Verdict(judge.end(status)),
        end => end,
    };
    Read { end, status, body }
}

fuzz_target!(|octets: &[u8]| {
    let Some((first, octets)) = octets.split_first() else {
        return;
    };
    let is_c_icap = first & 1 == 1;
    let whole = read(octets, octets.len().max(1), is_c_icap);
    let pieces = read(octets, usize::from(first >> 1) + 1, is_c_icap);
    assert_eq!(whole.end, pieces.end);
    match &whole.end {
        End::Verdict(Verdict::Clean) => assert!(whole.status == 204 || whole.body == SENT),
        End::Verdict(Verdict::Infected(found)) => {
            assert!(!found.is_empty() && found.len() <= 16);
            for it in found {
                assert!(it.name.chars().count() <= 160);
                assert!(!it.name.chars().any(char::is_control));
            }
        }
        _ => {}
    }
});
