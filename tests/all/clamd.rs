//! The engine behind a clamd socket: against a fake one with every fault, and against ClamAV's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilbud::mail::{Identity, Timestamp, Verdict, Why};
use ilbud::scan::{self, EngineSettings, Kind, Part, Scanner, Specimen};

use crate::clamav::{self, STREAM_MAX, TEST_NAME};
use crate::fake_scanner::{EICAR, EICAR_NAME, FakeScanner, Fault};
use crate::peer::all_here;
use crate::wait;

const LETTER: &str = "Subject: x\r\n\r\nhei\r\n";

fn engine_at(address: &str) -> Arc<dyn Scanner> {
    let address = address.parse().unwrap();
    scan::engine(&EngineSettings {
        name: "clamd".into(),
        timeout: Duration::from_secs(30),
        kind: Kind::Clamd(scan::clamd::Settings { address }),
    })
}

fn whole(message: impl Into<Bytes>) -> Arc<Specimen> {
    Arc::new(Specimen::whole(message.into()))
}

fn with_parts(message: &str, parts: &[(&str, &[u8])]) -> Arc<Specimen> {
    let part = |&(name, bytes): &(&str, &[u8])| Part::new(name, Bytes::copy_from_slice(bytes));
    Arc::new(Specimen {
        parts: parts.iter().map(part).collect(),
        ..Specimen::whole(Bytes::copy_from_slice(message.as_bytes()))
    })
}

/// Larger than what fits unread into the buffers between the two.
fn large() -> Bytes {
    Bytes::from(vec![b'x'; 24 * 1024 * 1024])
}

async fn verdict(address: &str, specimen: &Arc<Specimen>) -> String {
    engine_at(address)
        .scan(Arc::clone(specimen))
        .await
        .to_string()
}

fn on_both() -> (FakeScanner, FakeScanner, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path: PathBuf = home.path().join("clamd.ctl");
    (FakeScanner::start(), FakeScanner::at_socket(&path), home)
}

#[tokio::test]
async fn each_fault_has_its_verdict() {
    #[rustfmt::skip]
    let cases = [
        (Fault::Right, "clean"),
        (Fault::Slow, "clean"),
        (Fault::Stay, "clean"),
        (Fault::Say("stream: OK\n"), "clean"),
        (Fault::Found("Worm.A"), "infected: Worm.A"),
        (Fault::Say("stream: A FOUND\nstream: B FOUND\n"), "infected: A, B"),
        (Fault::Say("stream: Heuristics.Encrypted.Zip FOUND"),
            "unscannable: encrypted: it answered: \"stream: Heuristics.Encrypted.Zip FOUND\""),
        (Fault::Say("stream: Heuristics.Limits.Exceeded.MaxFiles FOUND"),
            "unscannable: limit: it answered: \"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\""),
        (Fault::Silent, "unscannable: down: it hung up without an answer"),
        (Fault::Half, "unscannable: down: it broke off in its answer: \"strea\""),
        (Fault::Raw(b"stream: OK"), "unscannable: down: it broke off in its answer: \"stream: OK\""),
        (Fault::Raw(b"\0"), "unscannable: broken: it gave an empty answer: \"\""),
        (Fault::Raw(b""), "unscannable: down: it hung up without an answer"),
        (Fault::Raw(b"\x16\x03\x01\xff\n"), "unscannable: broken: it answered: \"????\""),
        (Fault::Say("stream: Can't allocate memory ERROR"),
            "unscannable: broken: it answered: \"stream: Can't allocate memory ERROR\""),
        (Fault::Say("COMMAND READ TIMED OUT"), "unscannable: timeout: it answered: \"COMMAND READ TIMED OUT\""),
        (Fault::Twice, "unscannable: broken: it answered more than once: \"stream: OK?stream: OK\""),
        (Fault::TooLarge, "unscannable: too large: it answered: \"INSTREAM size limit exceeded. ERROR\""),
    ];
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        let total = cases.len();
        for (fault, expected) in &cases {
            scanner.script(std::slice::from_ref(fault));
            // What does not fit into the buffers shows more of them.
            let message = match fault {
                Fault::TooLarge => large(),
                _ => LETTER.into(),
            };
            let verdict = verdict(&scanner.address(), &whole(message)).await;
            assert_eq!(&verdict, expected, "{fault:?} at {}", scanner.address());
        }
        assert_eq!(scanner.scans(), total, "one stream for each message");
        assert_eq!(scanner.connections(), total);
    }
}

/// How it breaks off is the kernel's to say.
#[tokio::test]
async fn who_breaks_off_is_down_and_had_begun() {
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        for fault in [Fault::HangUp, Fault::DieMidStream] {
            for message in [Bytes::from(LETTER), large()] {
                scanner.script(std::slice::from_ref(&fault));
                let engine = engine_at(&scanner.address());
                let Verdict::Unscannable(gap) = engine.scan(whole(message)).await else {
                    panic!("{fault:?} has a verdict");
                };
                assert_eq!((gap.why, gap.begun), (Why::Down, true), "{gap}");
            }
        }
        scanner.script(&[Fault::Endless]);
        let endless = verdict(&scanner.address(), &whole(LETTER)).await;
        assert!(
            endless.starts_with("unscannable: broken: it answered without an end"),
            "{endless}"
        );
    }
}

#[tokio::test]
async fn an_answer_before_the_end_is_not_for_this_message() {
    let early = "unscannable: broken: it answered before it had everything: \"stream: OK\"";
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        for (fault, message) in [
            (Fault::Early, large()),
            (Fault::EarlyAndDeaf, large()),
            (Fault::EarlyAndGone, large()),
            // Even what fits into the buffers was not read.
            (Fault::EarlyAndGone, LETTER.into()),
        ] {
            scanner.script(std::slice::from_ref(&fault));
            let verdict = verdict(&scanner.address(), &whole(message)).await;
            assert_eq!(verdict, early, "{fault:?} at {}", scanner.address());
        }
    }
}

#[tokio::test]
async fn who_refuses_the_connection_is_down_and_has_not_begun() {
    let (mut tcp, mut socket, _home) = on_both();
    for scanner in [&mut tcp, &mut socket] {
        scanner.refuse();
        let engine = engine_at(&scanner.address());
        let Verdict::Unscannable(gap) = engine.scan(whole(LETTER)).await else {
            panic!("a verdict of nobody");
        };
        assert_eq!((gap.why, gap.begun), (Why::Down, false), "{gap}");
        assert!(engine.identify().await.is_err());
        scanner.listen();
        assert_eq!(engine.scan(whole(LETTER)).await, Verdict::Clean);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_ends_when_its_caller_gives_up() {
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        scanner.script(&[Fault::Stall]);
        let engine = engine_at(&scanner.address());
        let asked = tokio::spawn(async move { engine.scan(whole(LETTER)).await });
        wait::until("the stream", || scanner.given().len() == 1);
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        wait::until("the end of the connection", || scanner.given_up() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_signatures_are_waited_for() {
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        scanner.script(&[Fault::Stall, Fault::Deaf]);
        for seen in [1, 2] {
            let engine = engine_at(&scanner.address());
            let asked = tokio::spawn(async move { engine.scan(whole(LETTER)).await });
            wait::until("the stream", || scanner.scans() == seen);
            wait::until("the verdict", || {
                scanner.go_on();
                asked.is_finished()
            });
            assert_eq!(asked.await.unwrap(), Verdict::Clean);
        }
    }
}

#[tokio::test]
async fn it_is_given_what_came_byte_for_byte() {
    let (tcp, socket, _home) = on_both();
    for scanner in [tcp, socket] {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_001).collect();
        let message = Bytes::from(bytes);
        let parts = [
            Bytes::from_static(b"one"),
            message.slice(5..100_000),
            Bytes::new(),
        ];
        let part = |bytes: &Bytes| Part::new("x", bytes.clone());
        let specimen = Specimen {
            parts: parts.iter().map(part).collect(),
            ..Specimen::whole(message.clone())
        };
        let engine = engine_at(&scanner.address());
        assert_eq!(engine.scan(Arc::new(specimen)).await, Verdict::Clean);
        let mut given = scanner.given();
        assert_eq!(given.remove(0), message, "the whole message goes first");
        given.sort();
        let mut sent = vec![parts[0].to_vec(), parts[1].to_vec()];
        sent.sort();
        assert_eq!(given, sent, "then the attachments with something in them");
    }
}

#[tokio::test]
async fn what_is_found_names_its_attachment() {
    let scanner = FakeScanner::start();
    scanner.find("evil", "Worm.A");
    let plain = with_parts(
        "evil",
        &[("a.txt", b"good"), ("b.exe", b"evil"), ("c", b"evil")],
    );
    let encoded = with_parts(
        "ZXZpbA==",
        &[
            ("a.txt", b"good"),
            ("b.exe", b"evil"),
            ("c.com", EICAR.as_bytes()),
        ],
    );
    let body = with_parts("evil", &[("a.txt", b"good")]);
    for (specimen, expected) in [
        (plain, "infected: Worm.A in b.exe, Worm.A in c".to_owned()),
        (
            encoded,
            format!("infected: Worm.A in b.exe, {EICAR_NAME} in c.com"),
        ),
        (body, "infected: Worm.A (in the message itself)".to_owned()),
    ] {
        assert_eq!(verdict(&scanner.address(), &specimen).await, expected);
    }
}

#[tokio::test]
async fn each_attachment_must_be_clean_too() {
    let scanner = FakeScanner::start();
    let parts: [(&str, &[u8]); 2] = [("a.zip", b"a"), ("b.zip", b"b")];
    let one = with_parts(LETTER, &parts[..1]);
    let encrypted = Fault::Say("stream: Heuristics.Encrypted.Zip FOUND");
    for (faults, specimen, expected) in [
        (
            vec![Fault::Right, Fault::Silent],
            &one,
            "unscannable: down: it hung up without an answer",
        ),
        (
            vec![Fault::Right, Fault::Twice],
            &one,
            "unscannable: broken: a.zip: it answered more than once: \"stream: OK?stream: OK\"",
        ),
        (
            vec![Fault::Right, encrypted.clone()],
            &one,
            "unscannable: encrypted: a.zip: it answered: \"stream: Heuristics.Encrypted.Zip FOUND\"",
        ),
        // What kept it from looking at the whole may not be in the worst of its parts.
        (
            vec![encrypted.clone(), Fault::Found("Worm.A")],
            &one,
            "infected: Worm.A in a.zip",
        ),
        (
            vec![encrypted, Fault::Right],
            &one,
            "unscannable: encrypted: it answered: \"stream: Heuristics.Encrypted.Zip FOUND\"",
        ),
        // The trouble with the name leaves the verdict.
        (
            vec![Fault::Found("Worm.A"), Fault::Silent],
            &one,
            "infected: Worm.A",
        ),
    ] {
        scanner.script(&faults);
        assert_eq!(verdict(&scanner.address(), specimen).await, expected);
    }
    scanner.script(&[Fault::Silent]);
    let before = scanner.scans();
    verdict(&scanner.address(), &with_parts(LETTER, &parts)).await;
    assert_eq!(
        scanner.scans(),
        before + 1,
        "an engine that is down is not asked again"
    );
}

/// Found is found, though the rest hangs.
#[tokio::test]
async fn what_was_found_is_said_though_the_name_is_not() {
    let scanner = FakeScanner::start();
    scanner.script(&[Fault::Found("Worm.A"), Fault::Stall]);
    let specimen = with_parts(LETTER, &[("a.zip", b"a")]);
    assert_eq!(
        verdict(&scanner.address(), &specimen).await,
        "infected: Worm.A"
    );
}

#[tokio::test]
async fn all_attachments_are_looked_at_and_each_content_once() {
    let scanner = FakeScanner::start();
    let part = |at: usize| Part::new(format!("{at}.txt"), Bytes::from((at % 2000).to_string()));
    let specimen = Arc::new(Specimen {
        parts: (0..10_000).map(part).collect(),
        ..Specimen::whole(LETTER.into())
    });
    assert_eq!(verdict(&scanner.address(), &specimen).await, "clean");
    assert_eq!(scanner.scans(), 2001, "the message, and what is in it");
}

#[tokio::test]
async fn more_than_is_looked_at_is_not_clean() {
    let scanner = FakeScanner::start();
    let large = Bytes::from(vec![b'x'; 300 << 20]);
    let part = |bytes: Bytes| Part::new("x", bytes);
    let specimen = Arc::new(Specimen {
        parts: vec![
            part(large.clone()),
            part(large.slice(1..)),
            part("y".into()),
        ],
        ..Specimen::whole(LETTER.into())
    });
    assert_eq!(
        verdict(&scanner.address(), &specimen).await,
        "unscannable: limit: 1 of 3 attachments were looked at"
    );
}

#[tokio::test]
async fn it_says_who_it_is() {
    let scanner = FakeScanner::start();
    let engine = engine_at(&scanner.address());
    let local = |text| Some(Timestamp::from_local(text).unwrap());
    let known = |version: &str, signatures: Option<&str>, signatures_at| {
        Ok(Identity {
            version: Some(version.to_owned()),
            signatures: signatures.map(str::to_owned),
            signatures_at,
        })
    };
    #[rustfmt::skip]
    let cases = [
        ("ClamAV 1.4.3/27600/Mon Nov 23 08:00:00 2020", known("ClamAV 1.4.3", Some("27600"), local("2020-11-23 08:00:00"))),
        ("ClamAV 1.4.3/27600/Mon Nov 23 08:00:00 9999", known("ClamAV 1.4.3", Some("27600"), None)),
        ("ClamAV 1.4.3/27600/Mon Foo 99 99:00:00 2020", known("ClamAV 1.4.3", Some("27600"), None)),
        ("ClamAV 1.4.3", known("ClamAV 1.4.3", None, None)),
        ("Other 7", known("Other 7", None, None)),
    ];
    for (version, expected) in cases {
        scanner.version(version);
        assert_eq!(engine.identify().await, expected, "{version}");
    }
    assert_eq!(scanner.versions(), 5);
    for version in ["", "UNKNOWN COMMAND"] {
        scanner.version(version);
        assert!(engine.identify().await.is_err(), "{version}");
        assert_eq!(engine.scan(whole(LETTER)).await, Verdict::Clean);
    }
}

#[tokio::test]
async fn it_is_asked_as_long_as_it_lasts() {
    let scanner = FakeScanner::start();
    let infected = whole(EICAR);
    let found = format!("infected: {EICAR_NAME}");
    assert_eq!(verdict(&scanner.address(), &infected).await, found);
    scanner.find_nothing();
    assert_eq!(verdict(&scanner.address(), &infected).await, "clean");
    scanner.always(Fault::Found("Worm.A"));
    for _ in 0..3 {
        assert_eq!(
            verdict(&scanner.address(), &infected).await,
            "infected: Worm.A"
        );
    }
    scanner.always(None);
    assert_eq!(verdict(&scanner.address(), &infected).await, "clean");
}

#[test]
fn a_mistake_in_its_address_is_named() {
    let shipped = include_str!("../../config/ilbud.toml");
    let read = |engine: &str| ilbud::config::parse(&format!("{shipped}\n{engine}"));
    assert!(read(&FakeScanner::start().engine()).is_ok());
    let engine = "[[scan.engine]]\nkind = \"clamd\"\n";
    for (line, fault) in [
        ("", "\"address\" is missing in [scan.engine]"),
        (
            "address = \"clamd\"",
            "\"address\": must be a socket's path with a / in it, or host:port",
        ),
        (
            "address = \"127.0.0.1:99999\"",
            "\"address\": the port must be a number from 1 to 65535",
        ),
    ] {
        let faults = read(&format!("{engine}{line}\n")).unwrap_err();
        let faults: Vec<&str> = faults.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(faults, [fault]);
    }
}

fn both_addresses(clamd: &clamav::Clamd) -> [String; 2] {
    [
        clamd.socket().display().to_string(),
        format!("127.0.0.1:{}", clamd.port),
    ]
}

#[tokio::test]
async fn clamd_finds_eicar_and_nothing_else() {
    if !all_here(&["clamd"]) {
        return;
    }
    let clamd = clamav::Clamd::start();
    for address in both_addresses(&clamd) {
        let infected = format!("Subject: x\r\n\r\n{EICAR}\r\n");
        let name = clamav::found(EICAR_NAME);
        let found = format!("infected: {name}");
        for (specimen, expected) in [
            (whole(LETTER), "clean".to_owned()),
            (whole(""), "clean".to_owned()),
            (whole(infected.clone()), found),
            (
                with_parts(&infected, &[("a.txt", b"hei"), ("b.com", EICAR.as_bytes())]),
                format!("infected: {name} in b.com"),
            ),
            (
                whole(vec![b'x'; STREAM_MAX + 1]),
                "unscannable: too large: it answered: \"INSTREAM size limit exceeded. ERROR\""
                    .to_owned(),
            ),
            (whole(vec![b'x'; STREAM_MAX]), "clean".to_owned()),
        ] {
            assert_eq!(verdict(&address, &specimen).await, expected, "{address}");
        }
        let identity = engine_at(&address).identify().await.unwrap();
        let version = identity.version.unwrap();
        assert!(version.starts_with("ClamAV "), "{version}");
    }
}

#[tokio::test]
async fn clamd_finds_each_of_its_test_files() {
    if !all_here(&["clamd", "clamav-testfiles"]) {
        return;
    }
    let clamd = clamav::Clamd::start();
    let [socket, _] = both_addresses(&clamd);
    for file in clamav::test_files() {
        let bytes = clamav::test_file(&file);
        let specimen = with_parts(LETTER, &[(&file, &bytes)]);
        let verdict = verdict(&socket, &specimen).await;
        let expected = [TEST_NAME.to_owned(), format!("Packed.{file}")];
        let expected = expected.map(|it| format!("infected: {} in {file}", clamav::found(&it)));
        assert!(expected.contains(&verdict), "{file}: {verdict}");
    }
}
