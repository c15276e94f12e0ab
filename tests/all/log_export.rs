//! `ilbud log export` of rows: all of them, the oldest first, whole or not at all, in memory that does not grow.

use std::fs;
use std::process::{Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::client::{letter, vakt};
use crate::fake_scanner::EICAR;
use crate::log_privacy::{FILE, SUBJECT, message, send};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

#[test]
fn all_rows_come_out_the_oldest_first() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(send(&relay, &letter(&vakt("a"), &vakt("b"))));
        let refused = send(&relay, &message(SUBJECT, FILE, EICAR));
        relay.refusal(&refused);
        sent.push(refused);
    }
    wait::until("delivery", || relay.queue_is_empty());
    let rows = lines(&relay.done(&["log", "export", "--json"]));
    assert_eq!(column(&rows, "ref"), sent);
    let mut found = relay.rows(&["log", "search"]);
    found.reverse();
    for row in &mut found {
        // Where the next page begins, which a file has no use for.
        row.as_object_mut().unwrap().remove("cursor");
    }
    assert_eq!(rows, found);
    let rows = lines(&relay.done(&[
        "log", "export", "--json", "--status", "refused", "--room", "room-b",
    ]));
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["subject"], SUBJECT);
    let sheet = relay.done(&["log", "export", FILE]);
    assert!(
        sheet.starts_with("\u{feff}ref,at,status,sender,"),
        "{sheet}"
    );
    assert_eq!(sheet.matches("\r\n").count(), 4, "{sheet}");
    let output = relay.run(&["log", "export"]);
    assert!(
        output.stderr.is_empty(),
        "no progress where nobody looks: {output:?}"
    );
    relay.fails(2, &["log", "export", "--csv", "--json"]);
    relay.fails(2, &["log", "export", "--case", &sent[0], "--json"]);
    relay.fails(2, &["log", "export", "--case", &sent[0], "ola"]);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    send(&relay, &letter(&vakt("a"), &vakt("b")));
    let file = relay.path("ut.csv");
    let name = file.display().to_string();
    relay.done(&["log", "export", "-o", &name, "--reason", "tilsyn"]);
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 2, "{written}");
    let access = &relay.rows(&["log", "access"])[0];
    assert_eq!(
        (&access["command"], &access["rows"]),
        (&"log export".into(), &1.into())
    );
    assert_eq!(access["reason"], "tilsyn");
    // Nobody may know that it was read: so nobody has it.
    let holder = Connection::open(relay.path("ilbud.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let other = relay.path("annet.csv").display().to_string();
    let complaint = relay.fails(1, &["log", "export", "-o", &other, "--reason", "tilsyn"]);
    assert!(complaint.contains("nothing is shown"), "{complaint}");
    holder.execute_batch("ROLLBACK").unwrap();
    let left: Vec<String> = fs::read_dir(relay.home())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.contains("annet") || it.starts_with(".tmp"))
        .collect();
    assert_eq!(left, [""; 0]);
    let complaint = relay.fails(1, &["log", "export", "-o", "/nowhere/ut.csv"]);
    assert!(
        complaint.starts_with("ilbud: /nowhere/ut.csv: "),
        "{complaint}"
    );
}

/// A log of so many messages, made by hand.
fn generated(messages: u64) -> Relay {
    let relay = Setup::from_a_to("maildir:mail/b").prepare();
    relay.done(&["log", "search"]);
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    store
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
             INSERT INTO message (reference, accepted_at, sender, client, smtputf8, eight_bit, size, subject)
                 SELECT i * 1000, i, 'vakt@a.nodnett.test', '127.0.1.9', 0, 0, 7, 'melding ' || i || hex(zeroblob(200)) FROM n;
             INSERT INTO recipient (reference, number, address, room, state, attempts, next_attempt_at, finished_at, last_reply)
                 SELECT reference, 0, 'vakt@b.nodnett.test', 'room-b', 'delivered', 1, 0, 1, '250 2.0.0 ok' FROM message;
             COMMIT"
        ))
        .unwrap();
    relay
}

/// The most memory that a process has held, in KiB.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|it| it.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_long_log_takes_no_more_memory_than_a_short_one() {
    let most = |messages: u64| {
        let relay = generated(messages);
        let mut export = relay
            .command(&["log", "export", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(export.stdout.take().unwrap());
        let (mut rows, mut line, mut most) = (0, String::new(), 0);
        while std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0 {
            rows += 1;
            line.clear();
            // While it waits for somebody to read, it is there to be looked at.
            if rows % 500 == 0 {
                most = most.max(peak(export.id()).unwrap_or(0));
            }
        }
        assert!(export.wait().unwrap().success());
        assert_eq!(rows, messages);
        most
    };
    let (short, long) = (most(2_000), most(60_000));
    assert!(
        short > 0 && long < short + 16 * 1024,
        "{short} KiB, {long} KiB"
    );
}

#[test]
fn whoever_has_seen_enough_is_not_told_of_a_broken_pipe() {
    let relay = generated(5_000);
    let mut export = relay
        .command(&["log", "export"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(export.stdout.take());
    let output = export.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Runs a command with streams at a terminal, as the first argument names them; puts out what the terminal shows.
const TERMINAL: &str = r#"
import os, pty, subprocess, sys
at, file, *command = sys.argv[1:]
terminal, slave = pty.openpty()
other = open(file, "wb")
streams = {name: slave if name in at.split("+") else other for name in ("stdout", "stderr")}
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams)
os.close(slave)
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
sys.exit(child.wait())
"#;

/// What a terminal shows, and what the stream has that is none. `under`: what runs the command.
fn at_terminal(relay: &Relay, at: &str, under: &[&str], arguments: &[&str]) -> (Output, String) {
    let file = relay.path("stream");
    let mut python = peer::command("python3");
    python.current_dir(relay.home()).args(["-c", TERMINAL, at]);
    python
        .arg(&file)
        .args(under)
        .arg(env!("CARGO_BIN_EXE_ilbud"));
    python.args(arguments).arg("--config");
    let output = python.arg(relay.path("ilbud.toml")).output().unwrap();
    (output, fs::read_to_string(file).unwrap())
}

#[test]
fn how_far_it_is_stands_on_a_terminal_and_nowhere_else() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = generated(5_000);
    let expected = relay.done(&["log", "export", "--json"]);
    assert_eq!(expected.lines().count(), 5_000);
    let done = |at: &str, arguments: &[&str]| {
        let (output, other) = at_terminal(&relay, at, &[], arguments);
        (peer::succeeded("python3", &output), other)
    };
    let whole = |shown: &str| {
        assert!(shown.starts_with("\r\u{1b}[K500 rows, "), "{shown:?}");
        assert!(shown.ends_with("\r\u{1b}[K5000 rows\r\n"), "{shown:?}");
        let told = shown.split("\r\u{1b}[K").filter(|it| !it.is_empty());
        let counts: Vec<usize> = told
            .map(|it| it.split(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(counts.is_sorted() && counts.len() > 1, "{shown:?}");
    };
    // Into a pipe, and into a file.
    let (shown, piped) = done("stderr", &["log", "export", "--json"]);
    whole(&shown);
    assert_eq!(piped, expected);
    let into_file = ["log", "export", "--json", "-o", "ut.jsonl"];
    let (shown, beside) = done("stdout+stderr", &into_file);
    whole(&shown);
    assert_eq!(beside, "");
    assert_eq!(
        fs::read_to_string(relay.path("ut.jsonl")).unwrap(),
        expected
    );
    // Complaints go elsewhere: so does nothing of this.
    let (shown, said) = done("stdout", &into_file);
    assert_eq!((shown.as_str(), said.as_str()), ("", ""));
    // Between rows it would be in the way.
    let (shown, said) = done("stdout+stderr", &["log", "export", "--json"]);
    assert_eq!(shown.replace("\r\n", "\n"), expected);
    assert_eq!(said, "");
}

#[test]
fn an_export_that_fails_leaves_no_half_line_on_the_terminal() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = generated(5_000);
    // It is told how far it is, and then the disk is full.
    let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$@\"";
    let under = ["sh", "-c", limited, "sh"];
    let (output, _) = at_terminal(&relay, "stderr", &under, &["log", "export"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.starts_with("\r\u{1b}[K500 rows, "), "{shown:?}");
    let (_, complaint) = shown.rsplit_once("\r\u{1b}[K").unwrap();
    assert_eq!(complaint, "ilbud: File too large (os error 27)\r\n");
}
