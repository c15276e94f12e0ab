//! What is inside of attachments: it stands in the log, and a hunt finds it.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{next_id, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

/// Makes zip archives, in base64. An argument is a member: its name and its content; `@` before a name: an
/// archive with the rest in it; `!`: what follows is encrypted, as far as a reader sees.
const ZIP: &str = r##"
import base64, io, sys, zipfile
def packed(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for at, (name, content) in enumerate(members):
            if name.startswith("@"):
                archive.writestr(name[1:], packed(members[at + 1:]))
                break
            for n in range(int(content[1:])) if content.startswith("*") else [None]:
                one = name if n is None else name.replace("#", str(n))
                archive.writestr(one, content if n is None else str(n))
    return out.getvalue()
is_closed = sys.argv[1] == "!"
words = sys.argv[2:] if is_closed else sys.argv[1:]
found = packed(list(zip(words[::2], words[1::2])))
if is_closed:
    found = bytearray(found)
    for mark, at in (b"PK\3\4", 6), (b"PK\1\2", 8):
        place = found.find(mark)
        while place >= 0:
            found[place + at] |= 1
            place = found.find(mark, place + 1)
print(base64.encodebytes(bytes(found)).decode())
"##;

fn zip(members: &[&str]) -> String {
    peer::python(ZIP, members).trim().replace('\n', "\r\n")
}

/// A message with this archive.
fn with_archive(name: &str, base64: &str) -> Vec<u8> {
    let id = next_id();
    format!(
        "From: {}\r\nTo: {}\r\nSubject: arkiv {id}\r\nMessage-ID: <{id}@ws.test>\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/zip; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment\r\n\r\n{base64}\r\n",
        vakt("a"),
        vakt("b")
    )
    .into_bytes()
}

fn sent(relay: &Relay, message: &[u8], said: &str) -> String {
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
    assert_eq!(reply.said(), said, "{reply}");
    reply.reference()
}

fn sha256(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Status, file, and the attachment that it is in, of each row that is found.
fn hunted(relay: &Relay, quarry: &str) -> Vec<String> {
    let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
    let rows = relay.rows(&["outbreak", "hunt", quarry]);
    let row = |it: &Value| ["status", "attachment", "within"].map(|field| text(&it[field]));
    rows.iter().map(|it| row(it).join(" ")).collect()
}

/// What the log says is in a message.
fn known(relay: &Relay, reference: &str) -> Vec<Value> {
    let events = relay.rows(&["log", "show", reference]);
    let found = events.iter().find_map(|it| it["attachments"].as_array());
    found.cloned().unwrap_or_default()
}

/// A letter with a file attached to it.
const LETTER: &str = "From: x@example.com\r\nSubject: svar\r\nMIME-Version: 1.0\r\n\
     Content-Type: application/octet-stream\r\n\
     Content-Disposition: attachment; filename=\"vedlegg.dat\"\r\n\r\ninnerst";

#[test]
fn a_hunt_finds_what_is_inside_of_archives_of_mail_that_came_and_of_mail_that_was_refused() {
    let relay = Setup::three_rooms().start();
    let deep = zip(&["ett.txt", "en", "@indre.zip", "", "to.txt", "andre"]);
    let first = sent(&relay, &with_archive("arkiv.zip", &deep), "250 2.0.0");
    let letter = zip(&["svar.eml", LETTER]);
    sent(&relay, &with_archive("brev.zip", &letter), "250 2.0.0");
    let bad = zip(&["mappe/Faktura.exe", "MZ ond"]);
    let refused = sent(&relay, &with_archive("faktura.zip", &bad), "550 5.7.1");
    relay.refusal(&refused);
    relay.expect_events(&first, &["accepted", "delivered"]);
    let exe = "refused mappe/Faktura.exe faktura.zip";
    let expected: [(&str, &[&str]); 8] = [
        ("ett.txt", &["delivered ett.txt arkiv.zip"]),
        ("TO.*", &["delivered indre.zip/to.txt arkiv.zip"]),
        (&sha256("andre"), &["delivered indre.zip/to.txt arkiv.zip"]),
        ("vedlegg.dat", &["delivered svar.eml/vedlegg.dat brev.zip"]),
        (
            &sha256("innerst"),
            &["delivered svar.eml/vedlegg.dat brev.zip"],
        ),
        ("faktura.exe", &[exe]),
        ("*.exe", &[exe]),
        (&sha256("MZ ond"), &[exe]),
    ];
    for (quarry, rows) in expected {
        wait::until(quarry, || hunted(&relay, quarry) == rows);
    }
    let masked = relay.done(&["outbreak", "hunt", "*.exe"]);
    assert!(masked.contains("••• in •••"), "{masked}");
    assert!(!masked.contains("aktura"), "{masked}");
    let listed = relay.done(&["outbreak", "hunt", "*.exe", "--reason", "utbrudd"]);
    assert!(
        listed.contains("mappe/Faktura.exe in faktura.zip"),
        "{listed}"
    );
    let csv = relay.done(&["outbreak", "hunt", "*.exe", "--csv"]);
    let row = format!(",mappe/Faktura.exe in faktura.zip,{},", sha256("MZ ond"));
    assert!(csv.contains(&row), "{csv}");

    for (reference, sought) in [
        (&first, "to.txt"),
        (&first, &sha256("en")),
        (&refused, "faktura.exe"),
    ] {
        let rows = relay.rows(&["log", "search", "--attachment", sought]);
        assert_eq!(column(&rows, "ref"), [reference.as_str()], "{sought}");
    }
    let files = known(&relay, &first);
    let named = |it: &Value| format!("{} {} {}", it["name"], it["within"], it["size"]);
    let files: Vec<String> = files.iter().skip(1).map(named).collect();
    let inner = r#""indre.zip" "arkiv.zip""#;
    assert_eq!(files[0], r#""ett.txt" "arkiv.zip" 2"#);
    assert!(files[1].starts_with(inner), "{files:?}");
    assert_eq!(files[2], r#""indre.zip/to.txt" "arkiv.zip" 5"#);
    assert_eq!(files.len(), 3);
    let shown = relay.done(&["log", "show", &first, "--reason", "utbrudd"]);
    assert!(shown.contains("indre.zip/to.txt in arkiv.zip"), "{shown}");
    let shown = relay.done(&["log", "show", &refused, "--reason", "utbrudd"]);
    assert!(
        shown.contains("mappe/Faktura.exe in faktura.zip"),
        "{shown}"
    );
}

#[test]
fn a_scan_after_the_250_tells_the_log_what_is_inside_and_another_one_tells_it_no_second_time() {
    let scanner = FakeScanner::start();
    let away = format!("smtp://127.0.0.1:{}", crate::relay::free_port());
    let relay = Setup::from_a_to(&away)
        .settings(&format!(
            "[scan]\ninline_deadline = \"100ms\"\n{}",
            scanner.engine()
        ))
        .start();
    scanner.always(Fault::Stall);
    let archive = zip(&["en.txt", "en", "to.txt", "to"]);
    let late = sent(&relay, &with_archive("arkiv.zip", &archive), "250 2.0.0");
    assert_eq!(known(&relay, &late).len(), 1);
    scanner.always(None);
    scanner.go_on();
    wait::until("its verdict", || {
        relay.events(&late).contains(&"deferred".to_owned())
    });
    assert_eq!(hunted(&relay, "to.txt"), ["deferred to.txt arkiv.zip"]);
    assert_eq!(known(&relay, &late).len(), 3);
    let scans = |relay: &Relay| {
        let rows = relay.rows(&["log", "show", &late]);
        rows.iter().filter(|it| it["event"] == "scanned").count()
    };
    let before = scans(&relay);
    relay.done(&["outbreak", "rescan", &late]);
    wait::until("another scan", || scans(&relay) > before);
    assert_eq!(known(&relay, &late).len(), 3);
    let rows = hunted(&relay, &sha256("to"));
    assert_eq!(rows.len(), 1, "{rows:?}");
}

#[test]
fn the_log_says_that_there_are_more_files_than_it_lists_and_lists_those_that_run_first() {
    let relay = Setup::three_rooms()
        .settings("[scan.rules]\narchived_executable = \"mark\"")
        .start();
    let many = zip(&["#.txt", "*300", "sist.js", "WScript.Echo(1)"]);
    let reference = sent(&relay, &with_archive("mye.zip", &many), "250 2.0.0");
    relay.expect_events(&reference, &["accepted", "delivered"]);
    assert_eq!(known(&relay, &reference).len(), 1 + 200);
    assert_eq!(hunted(&relay, "sist.js"), ["delivered sist.js mye.zip"]);
    let events = relay.rows(&["log", "show", &reference]);
    let scan = events.iter().find(|it| it["event"] == "scanned").unwrap();
    assert_eq!(scan["files_left_out"], 101, "{scan}");
    let shown = relay.done(&["log", "show", &reference]);
    assert!(shown.contains("files_left_out  101"), "{shown}");

    let relay = Setup::three_rooms().start();
    let bad = zip(&["#.txt", "*300", "sist.exe", "MZ"]);
    let refused = sent(&relay, &with_archive("mye.zip", &bad), "550 5.7.1");
    relay.refusal(&refused);
    let event = &relay.rows(&["log", "show", &refused])[0];
    assert_eq!(event["files_left_out"], 101, "{event}");
}

#[test]
fn what_is_encrypted_is_known_by_its_name_and_a_hunt_says_what_it_cannot_know() {
    let relay = Setup::three_rooms().start();
    let closed = zip(&["!", "hemmelig.pdf", "innhold"]);
    let reference = sent(&relay, &with_archive("l\u{e5}st.zip", &closed), "250 2.0.0");
    relay.expect_events(&reference, &["accepted", "delivered"]);
    let found = hunted(&relay, "hemmelig.pdf");
    assert_eq!(found, ["delivered hemmelig.pdf l\u{e5}st.zip"]);
    let member = &known(&relay, &reference)[1];
    assert_eq!(
        (&member["sha256"], &member["size"]),
        (&Value::Null, &Value::Null)
    );
    assert!(hunted(&relay, &sha256("innhold")).is_empty());
    for options in [&[][..], &["--json"], &["--csv"]] {
        let output = relay.run(&[&["outbreak", "hunt", &sha256("innhold")], options].concat());
        let hint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(hint.lines().count(), 1, "{hint}");
        assert!(hint.contains("encrypted"), "{hint}");
    }
}
