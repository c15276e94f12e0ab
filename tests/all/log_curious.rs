//! Somebody who may read the log wants to see subjects and names of files, and leave no trace of it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;

use crate::fake_hop::{ALL, At, FakeHop, Fault};
use crate::fake_scanner::EICAR;
use crate::log_privacy::{FILE, SUBJECT, assert_masked, message, send};
use crate::relay::{Relay, Setup, column};
use crate::wait;

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// One message that waits, of which the hop repeats all, and one that was caught.
struct Secrets {
    relay: Relay,
    waiting: String,
    caught: String,
    _hop: FakeHop,
    _runtime: tokio::runtime::Runtime,
}

impl Secrets {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let said = "450 4.7.1 \"Epikrise Ola Nordmann\" with ola-nordmann.txt is not wanted";
        let hop = runtime.block_on(FakeHop::start(ALL, &[(At::Dot, Fault::Say(said))]));
        let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", hop.port))
            .delivery("retry = [\"1h\"]")
            .settings("[scan.rules]\neicar = \"quarantine\"")
            .start();
        let waiting = send(&relay, &message(SUBJECT, FILE, "notat"));
        let caught = send(&relay, &message(SUBJECT, FILE, EICAR));
        wait::until("both", || {
            let replies = column(&relay.rows(&["queue", "list"]), "last_reply");
            !relay.rows(&["quarantine", "list"]).is_empty()
                && replies.iter().any(|it| it.contains("not wanted"))
        });
        Self {
            relay,
            waiting,
            caught,
            _hop: hop,
            _runtime: runtime,
        }
    }

    fn accesses(&self) -> Vec<String> {
        column(&self.relay.rows(&["log", "access"]), "command")
    }
}

#[test]
fn whatever_is_shown_to_a_script_is_a_row() {
    let secrets = Secrets::new();
    let (relay, waits, caught) = (&secrets.relay, &*secrets.waiting, &*secrets.caught);
    for arguments in [
        &["log", "search", "--json"][..],
        &["log", "show", waits, "--json"],
        &["log", "answer", waits, "--json"],
        &["log", "export", "--json"],
        &["log", "export"],
        &["log", "export", "--case", waits],
        &["queue", "list", "--json"],
        &["queue", "show", waits, "--json"],
        &["quarantine", "list", "--json"],
        &["quarantine", "show", caught, "--json"],
        &["outbreak", "hunt", "ola*", "--json"],
        &["outbreak", "hunt", "ola*", "--csv"],
    ] {
        let before = secrets.accesses().len();
        let shown = relay.done(arguments).to_lowercase();
        assert!(shown.contains("nordmann"), "{arguments:?}: {shown}");
        let now = secrets.accesses();
        let command = arguments[..2].join(" ");
        assert!(now.len() > before, "{arguments:?} left no trace");
        assert_eq!(now[0], command, "{arguments:?}");
    }
    // Who asks for a part of a name is told whether it is one, and leaves a trace, whatever is masked.
    for arguments in [
        &["queue", "list", "--reason", "nordm"][..],
        &["queue", "list", "--reason", "nordx"],
        &["outbreak", "hunt", "ola-n*"],
        &["outbreak", "hunt", "ola-x*"],
        &["log", "search", "--reply", "nordm"],
        &["log", "search", "nordx"],
    ] {
        let before = secrets.accesses().len();
        relay.done(arguments);
        let now = relay.rows(&["log", "access"]);
        assert!(now.len() > before, "{arguments:?} left no trace");
        let word = arguments.last().unwrap();
        assert!(
            now[0]["query"].as_str().unwrap().contains(word),
            "{:?}",
            now[0]
        );
    }
    // What shows nothing of it, again and again, is no look at the log.
    let before = secrets.accesses().len();
    relay.done(&["queue", "list", "--json", "--room", "room-a"]);
    relay.done(&["queue", "list"]);
    relay.done(&["quarantine", "list"]);
    assert_eq!(secrets.accesses().len(), before);
}

/// Somebody holds the store for as long as it takes.
#[test]
fn what_cannot_be_logged_is_masked_for_scripts_too() {
    let secrets = Secrets::new();
    let (relay, waits, caught) = (&secrets.relay, &*secrets.waiting, &*secrets.caught);
    let holder = Connection::open(relay.path("ilbud.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let file = relay.path("ut.json").display().to_string();
    let cases: [(&[&str], i32); 11] = [
        (&["log", "search", "--json"], 0),
        (&["log", "show", waits, "--json"], 0),
        (&["log", "answer", waits, "--json"], 0),
        (&["log", "export", "--json"], 0),
        (&["log", "export", "--json", "-o", &file], 0),
        (&["log", "export", "--case", waits], 1),
        (&["queue", "list", "--json"], 0),
        (&["queue", "show", waits, "--json"], 0),
        (&["quarantine", "list", "--json"], 0),
        (&["quarantine", "show", caught, "--json"], 0),
        (&["outbreak", "hunt", "*", "--csv"], 0),
    ];
    std::thread::scope(|scope| {
        for (arguments, status) in cases {
            scope.spawn(move || {
                let output = relay.run(arguments);
                let said = text(&output);
                assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
                assert_masked(&arguments.join(" "), &said);
                assert!(said.contains("the store is busy"), "{arguments:?}: {said}");
            });
        }
    });
    assert_masked("a file", &fs::read_to_string(&file).unwrap());
    let mut tail = relay
        .command(&["log", "tail", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 400];
    tail.stdout.take().unwrap().read_exact(&mut first).unwrap();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_masked("log tail", &String::from_utf8_lossy(&first));
    holder.execute_batch("ROLLBACK").unwrap();
}

/// The command may write to no file at all: its own pipes are all that it has.
#[test]
fn who_takes_the_right_to_write_from_a_command_sees_nothing() {
    let secrets = Secrets::new();
    let (relay, waits) = (&secrets.relay, &*secrets.waiting);
    let limits = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""];
    for arguments in [
        &["log", "search", "--json"][..],
        &["log", "show", waits, "--json"],
        &["log", "export", "--json"],
        &["log", "export", "--case", waits],
        &["quarantine", "list", "--json"],
        &["quarantine", "show", &secrets.caught, "--message"],
        &["log", "search", "--reason", "tilsyn"],
    ] {
        let before = secrets.accesses().len();
        let said = text(&relay.run_under(&limits, arguments));
        let is_noted = secrets.accesses().len() > before;
        if !is_noted {
            assert_masked(&arguments.join(" "), &said);
        }
    }
}

/// An export is stopped with SIGKILL as soon as something of it can be read beside the file that it is to be.
#[test]
fn an_export_that_is_killed_was_a_look_at_the_log() {
    let relay = Setup::from_a_to("maildir:mail/b").prepare();
    relay.done(&["log", "search"]);
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    store
        .execute_batch(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO message (reference, accepted_at, sender, client, smtputf8, eight_bit, size, subject)
                 SELECT i * 1000, i, 'vakt@a.nodnett.test', '127.0.1.9', 0, 0, 7, 'Epikrise Ola ' || i FROM n;
             INSERT INTO recipient (reference, number, address, room, state, attempts, next_attempt_at, finished_at)
                 SELECT reference, 0, 'vakt@b.nodnett.test', 'room-b', 'delivered', 1, 0, 1 FROM message;
             COMMIT",
        )
        .unwrap();
    let looks = || {
        relay
            .rows(&["log", "access"])
            .iter()
            .filter(|it| it["command"] == "log export")
            .count()
    };
    for more in [&[][..], &["--reason", "tilsyn"]] {
        let before = looks();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ut.csv").display().to_string();
        let mut export = relay
            .command(&[&["log", "export", "-o", &file], more].concat())
            .spawn()
            .unwrap();
        let is_there = || {
            let mut files = fs::read_dir(folder.path()).unwrap();
            files.any(|it| it.unwrap().metadata().is_ok_and(|it| it.len() > 10_000))
        };
        let mut ended = false;
        wait::until("octets that can be read", || {
            ended = export.try_wait().unwrap().is_some();
            ended || is_there()
        });
        export.kill().unwrap();
        export.wait().unwrap();
        assert!(looks() > before, "{more:?}: seen, and no row says so");
    }
}

#[test]
fn a_reason_is_something_that_can_be_read() {
    let relay = Setup::from_a_to("maildir:mail/b").prepare();
    let long = "x".repeat(65_536);
    for reason in [
        "",
        "  ",
        "\u{a0}",
        "\u{3164}",
        "\u{ad}\u{ad}",
        "\u{2800}",
        "\u{34f}",
        "\u{e0041}\u{e0042}",
        "...",
        "-",
        "a\tb",
        "a\u{202e}b",
        "\x1b[8mx",
        &long,
    ] {
        let output = relay.run(&["log", "search", &format!("--reason={reason}")]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{reason:?}: {said}");
        assert!(said.contains("a reason is one line of"), "{said}");
    }
    relay.done(&["log", "search", "--reason", "7"]);
    relay.done(&["log", "search", "--reason", "på vakt"]);
}

#[test]
fn a_proof_is_nobody_elses_to_read_whatever_was_there_before() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    let (file, other) = (relay.path("sak.json"), relay.path("annet.txt"));
    let export = |name: &str| {
        let file = relay.path(name).display().to_string();
        relay.done(&["log", "export", "--case", &reference, "-o", &file]);
    };
    let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    export("sak.json");
    assert_eq!(mode(), 0o600);
    // A link that somebody has put there is not followed.
    fs::remove_file(&file).unwrap();
    fs::write(&other, "not mine").unwrap();
    std::os::unix::fs::symlink(&other, &file).unwrap();
    export("sak.json");
    assert_eq!(fs::read_to_string(&other).unwrap(), "not mine");
    assert!(fs::read_to_string(&file).unwrap().contains(SUBJECT));
    let folder = relay.home().display().to_string();
    let complaint = relay.fails(1, &["log", "export", "--case", &reference, "-o", &folder]);
    assert!(
        complaint.starts_with(&format!("ilbud: {folder}: ")),
        "{complaint}"
    );
}

/// What is no file (a pipe, /dev/null) is written to, and still there afterwards.
#[test]
fn what_is_no_file_is_written_to() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    let pipe = relay.path("rør");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let name = pipe.display().to_string();
    for (more, expected) in [
        (&["--json"][..], SUBJECT),
        (&[], SUBJECT),
        (&["--case", &reference], "ilbud"),
    ] {
        let mut export = relay
            .command(&[&["log", "export", "-o", &name], more].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Opened for both ends, so that nobody waits for anybody.
        let mut reader = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pipe)
            .unwrap();
        assert!(export.wait().unwrap().success(), "{more:?}");
        let mut octets = vec![0; 65_536];
        let kind = fs::symlink_metadata(&pipe).unwrap().file_type();
        assert!(!kind.is_file(), "{more:?}: the pipe is a file now");
        let length = reader.read(&mut octets).unwrap();
        let read = String::from_utf8_lossy(&octets[..length]).into_owned();
        assert!(read.contains(expected), "{more:?}: {read}");
    }
}

/// As `/dev/stdout` is one, where stdout is a file.
#[test]
fn a_link_to_a_stream_of_the_command_stays_one() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    let link = relay.path("strøm");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).unwrap();
    let name = link.display().to_string();
    for more in [&["--json"][..], &["--case", &reference]] {
        let shown = relay.path("vist.txt");
        let status = relay
            .command(&[&["log", "export", "-o", &name], more].concat())
            .stdout(fs::File::create(&shown).unwrap())
            .status();
        assert!(status.unwrap().success(), "{more:?}");
        let kind = fs::symlink_metadata(&link).unwrap().file_type();
        assert!(kind.is_symlink(), "{more:?}: the link is a file now");
        assert!(
            fs::read_to_string(&shown).unwrap().contains(SUBJECT),
            "{more:?}"
        );
    }
}

/// Whatever form a hop gives to what it repeats.
#[test]
fn a_hop_that_repeats_a_subject_in_another_form_tells_nobody() {
    let forms = [
        "Epikrise_Ola_Nordmann",
        "EPIKRISE-OLA-NORDMANN",
        "=?utf-8?Q?Epikrise_Ola_Nordmann?=",
        "=?utf-8?B?RXBpa3Jpc2UgT2xhIE5vcmRtYW5u?=",
        "Epi\u{ad}krise O\u{200b}la Nord\u{301}mann",
        "Epikrise Ola Nordm... (cut)",
        "\u{ff25}\u{ff50}ikrise Ola Nordmann",
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let said: Vec<&'static str> = forms
        .iter()
        .map(|it| &*format!("450 4.7.1 no: {it} is no subject").leak())
        .collect();
    let faults: Vec<_> = said.iter().map(|it| (At::Dot, Fault::Say(it))).collect();
    let hop = runtime.block_on(FakeHop::start(ALL, &faults));
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", hop.port))
        .delivery("retry = [\"1h\"]")
        .start();
    for number in 1..=forms.len() {
        send(&relay, &message(SUBJECT, FILE, "notat"));
        wait::until("an answer", || {
            let replies = column(&relay.rows(&["queue", "list"]), "last_reply");
            replies.iter().filter(|it| it.contains("4.7.1")).count() == number
        });
    }
    let listed = relay.done(&["queue", "list"]);
    let lower = listed.to_lowercase();
    for word in ["nordm", "ordmann", "epikrise", "rxbpa3", "ikrise"] {
        assert!(!lower.contains(word), "{word} in {listed}");
    }
}
