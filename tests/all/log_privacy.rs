//! Who sees what of the delivery log: what is masked until somebody says why, and the row that says who has
//! read it.

use std::fs;
use std::process::{Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::client::{next_id, vakt};
use crate::fake_hop::{ALL, At, FakeHop, Fault};
use crate::fake_scanner::EICAR;
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

const SUBJECT: &str = "Epikrise Ola Nordmann";
const FILE: &str = "ola-nordmann.txt";
/// What is left of it.
const MASK: &str = "•••";

fn message(subject: &str, file: &str, content: &str) -> Vec<u8> {
    let id = next_id();
    format!(
        "From: {0}\r\nTo: {1}\r\nSubject: {subject}\r\nMessage-ID: <{id}@ws.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhei\r\n--x\r\n\
         Content-Type: text/plain; name=\"{file}\"\r\n\
         Content-Disposition: attachment; filename=\"{file}\"\r\n\r\n{content}\r\n--x--\r\n",
        vakt("a"),
        vakt("b")
    )
    .into_bytes()
}

fn send(relay: &Relay, message: &[u8]) -> String {
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
    reply.reference()
}

/// Neither subject nor name of a file is in it, in whatever case.
fn assert_masked(what: &str, text: &str) {
    let lower = text.to_lowercase();
    for word in ["ola", "nordmann", "epikrise"] {
        assert!(!lower.contains(word), "{what} says {word}: {text}");
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// A message that waits, and whose hop repeats what is in it.
struct Waiting {
    relay: Relay,
    reference: String,
    _hop: FakeHop,
    _runtime: tokio::runtime::Runtime,
}

impl Waiting {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let said = "450 4.7.1 <vakt@b.nodnett.test>: \"EPIKRISE  Ola Nordmann\" with Ola-Nordmann.txt is not wanted";
        let faults = [(At::Dot, Fault::Say(said)), (At::Dot, Fault::Say(said))];
        let hop = runtime.block_on(FakeHop::start(ALL, &faults));
        let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", hop.port))
            .delivery("retry = [\"1h\"]")
            .start();
        let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
        wait::until("a reply", || {
            column(&relay.rows(&["queue", "list"]), "last_reply")
                .first()
                .is_some_and(|it| it.contains("not wanted"))
        });
        Self {
            relay,
            reference,
            _hop: hop,
            _runtime: runtime,
        }
    }
}

#[test]
fn people_see_neither_subject_nor_names_until_they_say_why() {
    let waiting = Waiting::new();
    let (relay, r) = (&waiting.relay, waiting.reference.as_str());
    let listings: [&[&str]; 4] = [
        &["log", "search", r],
        &["log", "show", r],
        &["queue", "list"],
        &["queue", "show", r],
    ];
    for listing in listings {
        let masked = relay.done(listing);
        assert_masked(&listing.join(" "), &masked);
        assert!(masked.contains("with ••• is not wanted"), "{masked}");
        assert!(masked.contains(r) || listing.len() == 2, "{masked}");
        let why = match listing {
            ["queue", "list"] => "--reveal",
            _ => "--reason",
        };
        let shown = relay.done(&[listing, &[why, "pasienten ringer"]].concat());
        assert!(shown.contains("with Ola-Nordmann.txt is not"), "{shown}");
    }
    let shown = relay.done(&["log", "show", r, "--reason", "pasienten ringer"]);
    assert!(shown.contains(SUBJECT) && shown.contains(FILE), "{shown}");
    assert!(!shown.contains(MASK), "{shown}");
    // Scripts have always had them.
    let row = &relay.rows(&["log", "search", r])[0];
    assert_eq!(row["subject"], SUBJECT);
    let row = &relay.rows(&["log", "show", r])[0];
    assert_eq!(row["attachments"][0]["name"], FILE);
    relay.fails(2, &["log", "search", r, "--reason", "a\nb"]);
    relay.fails(2, &["log", "show", r, "--reason", ""]);
}

#[test]
fn masks_are_for_everybody_or_nobody_where_the_settings_say_so() {
    let mut waiting = Waiting::new();
    waiting.relay.stop();
    let (relay, r) = (&waiting.relay, waiting.reference.as_str());
    let file = relay.path("ilbud.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{settings}\n[log]\nmask = \"all\"\n")).unwrap();
    for listing in [
        &["log", "search", r, "--json"][..],
        &["log", "show", r, "--json"],
        &["queue", "list", "--json"],
        &["queue", "show", r, "--json"],
    ] {
        let masked = relay.done(listing);
        assert_masked(&listing.join(" "), &masked);
        let row: Value = serde_json::from_str(masked.lines().next().unwrap()).unwrap();
        assert_eq!(row["ref"], r, "{masked}");
    }
    let row = &relay.rows(&["log", "search", r, "--reason", "tilsyn"])[0];
    assert_eq!(row["subject"], SUBJECT);
    let complaint = relay.fails(1, &["log", "export", "--case", r]);
    assert!(complaint.contains("say why with --reason"), "{complaint}");
    let proof = relay.done(&["log", "export", "--case", r, "--reason", "tilsyn"]);
    assert!(proof.contains(SUBJECT), "{proof}");
    fs::write(&file, format!("{settings}\n[log]\nmask = \"none\"\n")).unwrap();
    let shown = relay.done(&["log", "search", r]);
    assert!(shown.contains(SUBJECT), "{shown}");
}

#[test]
fn what_was_caught_names_no_file_either() {
    let quarantine = "[scan.rules]\neicar = \"quarantine\"\narchived_executable = \"quarantine\"";
    let relay = Setup::from_a_to("maildir:mail/b")
        .settings(quarantine)
        .start();
    let caught = send(&relay, &message(SUBJECT, FILE, EICAR));
    wait::until("quarantine", || {
        !relay.rows(&["quarantine", "list"]).is_empty()
    });
    let refused = Setup::from_a_to("maildir:mail/b").start();
    let refusal = send(&refused, &message(SUBJECT, FILE, EICAR));
    assert!(
        refused.refusal(&refusal)["reply"]
            .as_str()
            .unwrap()
            .contains(FILE)
    );
    for (relay, listing) in [
        (&relay, &["quarantine", "list"][..]),
        (&relay, &["quarantine", "show", &caught]),
        (&relay, &["log", "show", &caught]),
        (&relay, &["log", "search", &caught]),
        (&refused, &["log", "show", &refusal]),
        (&refused, &["log", "search", &refusal]),
    ] {
        let masked = relay.done(listing);
        assert_masked(&listing.join(" "), &masked);
        assert!(masked.contains("EICAR"), "{masked}");
        let shown = relay.done(&[listing, &["--reason", "pasienten ringer"]].concat());
        assert!(shown.contains(FILE), "{shown}");
    }
}

fn accesses(relay: &Relay) -> Vec<String> {
    let rows = relay.rows(&["log", "access"]);
    let told = |row: &Value| {
        let field = |name: &str| match &row[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        ["command", "query", "rows", "reason"]
            .map(field)
            .join(" | ")
    };
    rows.iter().map(told).collect()
}

#[test]
fn who_reads_the_log_is_in_the_log() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    let r = reference.as_str();
    assert_eq!(relay.done(&["log", "access"]), "Nobody has read the log.\n");
    relay.done(&[
        "log",
        "search",
        "ola",
        "--room",
        "room-b",
        "--subject",
        "to ord",
    ]);
    relay.done(&["log", "search", "--json"]);
    relay.done(&["log", "show", r, "--reason", "pasienten ringer"]);
    relay.fails(1, &["log", "show", "0000-0000-0001"]);
    relay.done(&["log", "export", "--case", r, "--reason", "tilsyn"]);
    // A listing of what waits is none, unless it reveals something.
    relay.done(&["queue", "list"]);
    relay.done(&["queue", "list", "--reveal", "jeg må vite det"]);
    let rows = relay.rows(&["log", "show", r]).len();
    let told = accesses(&relay);
    assert_eq!(
        told,
        [
            format!("log show | {r} | {rows} | -"),
            "queue list | - | - | jeg må vite det".to_owned(),
            format!("log export | --case {r} | - | tilsyn"),
            "log show | 0000-0000-0001 | 0 | -".to_owned(),
            format!("log show | {r} | {rows} | pasienten ringer"),
            "log search | - | 1 | -".to_owned(),
            "log search | ola --room room-b --subject \"to ord\" | 0 | -".to_owned(),
        ]
    );
    let all = relay.rows(&["log", "access"]);
    assert!(all.iter().all(|it| it["by"] == peer::login()), "{all:?}");
    let listed = relay.done(&["log", "access", "--limit", "1"]);
    assert!(
        listed.contains("log show") && !listed.contains("log search"),
        "{listed}"
    );
    assert_eq!(
        accesses(&relay).len(),
        7,
        "who asks for it is no reader of the log"
    );
    assert!(relay.rows(&["log", "access", "--until", "1h"]).is_empty());
    assert_eq!(relay.rows(&["log", "access", "--since", "1h"]).len(), 7);
    // No search finds them, and no message's story has them.
    let found = column(&relay.rows(&["log", "search"]), "ref");
    assert_eq!(found, [r]);
    let events = column(&relay.rows(&["log", "show", r]), "event");
    assert_eq!(events, ["accepted", "scanned", "delivered"]);
    let told = relay.done(&["log", "verify"]);
    assert!(told.contains(" rows, chained since"), "{told}");
}

#[test]
fn a_tail_shows_who_reads_and_is_noted_once() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let mut tail = relay
        .command(&["log", "tail", "--limit", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(tail.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines);
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let own = next();
    assert_eq!(
        (&own["event"], &own["command"]),
        (&"log read".into(), &"log tail".into())
    );
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    let kinds: Vec<Value> = (0..3).map(|_| next()["event"].clone()).collect();
    assert_eq!(kinds, ["accepted", "scanned", "delivered"]);
    relay.done(&["log", "show", &reference]);
    let other = next();
    assert_eq!(
        (&other["event"], &other["query"]),
        (&"log read".into(), &reference.into())
    );
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(accesses(&relay).len(), 2);
}

/// Somebody holds the store, longer than anybody waits for it.
#[test]
fn what_cannot_be_logged_is_masked_but_not_withheld() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    let r = reference.as_str();
    let holder = Connection::open(relay.path("ilbud.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let masked = relay.run(&["log", "search", r]);
    assert!(masked.status.success(), "{masked:?}");
    let said = text(&masked);
    assert_masked("log search", &said);
    assert!(said.contains(r), "{said}");
    let warning = "warning: that the log was read could not be logged: the store is busy";
    assert!(said.contains(warning), "{said}");
    let refused = relay.run(&["log", "search", r, "--reason", "pasienten ringer"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused);
    assert_masked("log search --reason", &said);
    let why = "ilbud: nothing is shown, since it cannot be logged that somebody saw it (the store is busy";
    assert!(said.starts_with(why), "{said}");
    holder.execute_batch("ROLLBACK").unwrap();
    assert!(accesses(&relay).is_empty());
    let shown = relay.done(&["log", "search", r, "--reason", "pasienten ringer"]);
    assert!(shown.contains(SUBJECT), "{shown}");
}
