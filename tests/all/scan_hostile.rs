//! Hostile content, with an engine and without: a verdict each time, and bounded memory; what comes after
//! is scanned as ever.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};

use crate::clamav::Clamd;
use crate::client::{letter, vakt};
use crate::peer::all_here;
use crate::relay::Relay;
use crate::scans::{attaching, receipts, relay, send, status, wait_for_status};
use crate::sink::Sink;
use crate::wait;

/// The most that the relay may ever have had in memory, in KiB: far more than it needs, and far less
/// than what is packed into these messages.
const MOST_KIB: u64 = 400 * 1024;

fn noughts(mut sink: impl std::io::Write, mib: usize) {
    let block = vec![0; 1 << 20];
    for _ in 0..mib {
        sink.write_all(&block).unwrap();
    }
}

/// So many MiB of noughts, packed.
fn gzip(mib: usize) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    noughts(&mut packed, mib);
    packed.finish().unwrap()
}

fn crc(content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(content);
    crc.sum()
}

/// A member of a zip archive, packed.
struct Member {
    name: String,
    packed: Vec<u8>,
    size: u32,
    crc: u32,
}

impl Member {
    fn of(name: &str, content: &[u8]) -> Self {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content).unwrap();
        Self {
            name: name.to_owned(),
            packed: packed.finish().unwrap(),
            size: u32::try_from(content.len()).unwrap(),
            crc: crc(content),
        }
    }

    /// Not made smaller: one stored block.
    fn stored(name: &str, content: &[u8]) -> Self {
        let length = u16::try_from(content.len()).unwrap();
        let block = [
            &[1],
            &length.to_le_bytes()[..],
            &(!length).to_le_bytes(),
            content,
        ];
        Self {
            packed: block.concat(),
            name: name.to_owned(),
            size: u32::from(length),
            crc: crc(content),
        }
    }

    /// What the local header and that of the directory have in common.
    fn header(&self) -> Vec<u8> {
        let mut header = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
        header.extend(self.crc.to_le_bytes());
        header.extend(u32::try_from(self.packed.len()).unwrap().to_le_bytes());
        header.extend(self.size.to_le_bytes());
        header.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        header.extend([0, 0]);
        header
    }
}

fn zip(members: &[&Member]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let at = u32::try_from(archive.len()).unwrap();
        archive.extend(b"PK\x03\x04");
        archive.extend(member.header());
        archive.extend(member.name.as_bytes());
        archive.extend(&member.packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(member.header());
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(member.name.as_bytes());
    }
    let at = u32::try_from(archive.len()).unwrap();
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let length = u32::try_from(directory.len()).unwrap();
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count, count].concat());
    archive.extend(length.to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// Sixteen of sixteen of sixteen of 16 MiB: 64 GiB.
fn bomb() -> Vec<u8> {
    let mut inner = zip(&[&Member::of("0.dat", &vec![0; 16 << 20])]);
    for _ in 0..3 {
        let member = Member::of("inner.zip", &inner);
        inner = zip(&[&member; 16]);
    }
    inner
}

fn archive_in_archives(depth: usize) -> Vec<u8> {
    (0..depth).fold(b"hei".to_vec(), |inner, _| {
        zip(&[&Member::stored("inner.zip", &inner)])
    })
}

fn head() -> String {
    format!(
        "From: {}\r\nTo: {}\r\nSubject: x\r\nMIME-Version: 1.0\r\n",
        vakt("a"),
        vakt("b")
    )
}

fn nested_multiparts(depth: usize) -> Vec<u8> {
    let mut text = head();
    for n in 0..depth {
        write!(
            text,
            "Content-Type: multipart/mixed; boundary=\"b{n}\"\r\n\r\n--b{n}\r\n"
        )
        .unwrap();
    }
    text += "Content-Type: application/octet-stream; name=x.bin\r\n\r\nhei\r\n";
    for n in (0..depth).rev() {
        write!(text, "--b{n}--\r\n").unwrap();
    }
    text.into_bytes()
}

fn nested_messages(depth: usize) -> Vec<u8> {
    let mut text = head();
    for _ in 0..depth {
        text += "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n";
    }
    (text + "\r\nhei\r\n").into_bytes()
}

fn many_parts(count: usize) -> Vec<u8> {
    let mut text = head() + "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for n in 0..count {
        write!(
            text,
            "--b\r\nContent-Type: application/octet-stream; name=\"{n}.bin\"\r\n\r\n{n}\r\n"
        )
        .unwrap();
    }
    (text + "--b--\r\n").into_bytes()
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let large = zip(&[&Member::of("0.dat", &vec![0; 100 << 20])]);
    vec![
        ("a zip bomb", attaching("bomb.zip", &bomb())),
        ("100 MiB in a zip", attaching("large.zip", &large)),
        ("100 MiB in a gzip", attaching("large.gz", &gzip(100))),
        (
            "an archive in 200",
            attaching("deep.zip", &archive_in_archives(200)),
        ),
        ("1,000 multiparts deep", nested_multiparts(1000)),
        ("1,000 messages deep", nested_messages(1000)),
        ("10,000 parts", many_parts(10_000)),
    ]
}

/// For a scan on a busy machine.
const A_WHILE: Duration = Duration::from_secs(240);

/// The most memory that the relay has had so far.
fn most_memory(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

fn each_gets_a_verdict(settings: &str) {
    let sink = Sink::start();
    let settings = format!("[scan]\ninline_deadline = \"10s\"\n{settings}");
    let relay = relay(&sink, &settings);
    for (what, message) in hostile() {
        let reply = send(&relay, &message);
        let reference = reply.reference();
        match reply.code {
            550 => assert_eq!(relay.refusal(&reference)["status"], "refused", "{what}"),
            250 => {
                // Ten thousand attachments take an engine a while, one by one.
                let is_told = || !receipts(&relay, &reference).is_empty();
                assert!(wait::within(A_WHILE, is_told), "{what}");
                let receipt = receipts(&relay, &reference).remove(0);
                let verdict = receipt["verdict"].as_str().unwrap();
                match verdict {
                    "clean" => {
                        wait_for_status(&relay, &reference, "delivered");
                        assert!(receipt["marks"][0].is_string(), "{what}: {receipt}");
                    }
                    _ => assert_eq!(status(&relay, &reference), "unscanned", "{what}"),
                }
            }
            _ => panic!("{what}: {reply}"),
        }
    }
    let memory = most_memory(&relay);
    assert!(memory < MOST_KIB, "{memory} KiB");
    let reply = send(&relay, &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
}

#[test]
fn hostile_content_gets_a_verdict_without_an_engine() {
    each_gets_a_verdict("");
}

#[test]
fn hostile_content_gets_a_verdict_with_clamd() {
    if !all_here(&["clamd"]) {
        return;
    }
    let clamd = Clamd::start();
    each_gets_a_verdict(&format!(
        "[[scan.engine]]\nkind = \"clamd\"\naddress = \"{}\"\n",
        clamd.socket().display()
    ));
}
