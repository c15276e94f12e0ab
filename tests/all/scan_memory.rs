//! Many large messages with attachments at once: what is decoded for their scans is bounded, and what finds
//! no room waits, and never passes unscanned.

use std::fs;
use std::sync::Arc;
use std::thread;

use ilbud::mail::{Priority, Reference, Verdict};
use ilbud::scan::{Desk, EngineSettings, Job, Kind, Matter, Settings, clamd};

use crate::client::{Reply, letter, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::relay::{Relay, Setup};
use crate::scans::{attaching, engine, status};
use crate::sink::Sink;
use crate::wait;

const MIB: usize = 1 << 20;

fn with_attachment(octets: usize) -> Vec<u8> {
    attaching("a.bin", &vec![7; octets])
}

/// A desk with one engine, that has so much memory for what is decoded.
fn desk(scanner: &FakeScanner, memory: usize) -> Arc<Desk> {
    let kind = Kind::Clamd(clamd::Settings {
        address: scanner.address().parse().unwrap(),
    });
    Arc::new(Desk::new(&Settings {
        memory,
        engines: vec![EngineSettings {
            name: "clamd".to_owned(),
            timeout: std::time::Duration::from_secs(60),
            kind,
        }],
        ..Settings::default()
    }))
}

fn job(number: u64, message: Vec<u8>, priority: Priority) -> Job {
    Job {
        reference: Reference::from_number(number),
        matter: Matter::Message(message.into()),
        priority,
        may_try: true,
    }
}

/// While an engine hangs with what was decoded of a large message, others of that size are not decoded;
/// small and urgent ones pass them by.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_decoded_waits_for_memory() {
    let scanner = FakeScanner::start();
    let desk = desk(&scanner, 4 * MIB);
    scanner.script(&[Fault::Stall]);
    let mut first = desk.begin(job(1, with_attachment(2 * MIB), Priority::ROUTINE));
    wait::until("the first scan", || scanner.scans() == 1);
    let mut others: Vec<_> = (2..8)
        .map(|at| desk.begin(job(at, with_attachment(2 * MIB), Priority::ROUTINE)))
        .collect();
    let small = letter(&vakt("a"), &vakt("b"));
    for at in 100..120 {
        let mut scan = desk.begin(job(at, small.clone(), Priority::ROUTINE));
        let outcome = scan.join_next().await.unwrap().unwrap();
        assert_eq!(outcome.inspection.verdict, Verdict::Clean);
    }
    let mut urgent = desk.begin(job(200, with_attachment(2 * MIB), Priority::MOST_URGENT));
    let outcome = urgent.join_next().await.unwrap().unwrap();
    assert_eq!(outcome.inspection.verdict, Verdict::Clean);
    assert_eq!(scanner.scans(), 1 + 20 + 2, "the others wait");
    scanner.go_on();
    for scan in std::iter::once(&mut first).chain(&mut others) {
        let outcome = scan.join_next().await.unwrap().unwrap();
        assert_eq!(outcome.inspection.verdict, Verdict::Clean);
    }
}

/// The most memory that the relay has had so far, in MiB.
fn most_memory(relay: &Relay) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() / 1024
}

/// What each of so many senders of this message hears, all at once.
fn send_all(relay: &Relay, count: usize, message: &[u8]) -> Vec<Reply> {
    thread::scope(|scope| {
        let send = || relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
        let sending: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
        sending.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// There is room for all of them: each is kept, and scanned in its turn.
fn is_bounded(fault: Option<Fault>, has_engine: bool) {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(fault);
    let engine = match has_engine {
        true => engine(&scanner, "clamd", "60s"),
        false => String::new(),
    };
    let settings = format!(
        "[limits]\nmessage_size = \"2 MiB\"\nmemory = \"24 MiB\"\n\
         [scan]\ninline_deadline = \"1s\"\n{engine}"
    );
    let relay = Setup::from_a_to(&sink.hop()).settings(&settings).start();
    let replies = send_all(&relay, 6, &with_attachment(MIB));
    let memory = most_memory(&relay);
    assert!(memory < 128, "{memory} MiB");
    scanner.always(None);
    for reply in replies {
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        let reference = reply.reference();
        wait::until("its delivery", || {
            // A stream that was begun before may come to where it stalls only now.
            scanner.go_on();
            status(&relay, &reference) == "delivered"
        });
    }
    let sent = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &sent);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
}

#[test]
fn memory_is_bounded_without_an_engine() {
    is_bounded(None, false);
}

#[test]
fn memory_is_bounded_with_an_engine() {
    is_bounded(None, true);
}

#[test]
fn memory_is_bounded_with_an_engine_that_hangs() {
    is_bounded(Some(Fault::Stall), true);
}
