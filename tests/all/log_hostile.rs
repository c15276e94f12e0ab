//! Whatever stands in a subject, a name or a reply, no command about the log lets it run in a terminal or a
//! spreadsheet.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::client::{next_id, vakt};
use crate::fake_hop::{ALL, At, FakeHop, Fault};
use crate::fake_scanner::EICAR;
use crate::relay::{Relay, Setup, column};
use crate::wait;

const HOSTILE: [&str; 12] = [
    "\x1b]0;eid\x07\x1b[2J\x1b[31mrot",
    "\x1b]8;;http://evil.test\x1b\\klikk\x1b]8;;\x1b\\",
    "\x1b]52;c;ZWlk\x07",
    "\u{9b}2J\u{9d}0;x\u{9c}",
    "epikrise\u{202e}gpj.exe\u{202c}",
    "\u{2066}\u{61c}\u{200f}\u{feff}\u{2028}x",
    "a\0b",
    "a\r\nBcc: x@y.test",
    "=HYPERLINK(\"http://evil.test\")",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)\t=1",
];

/// RFC 2047, in words of 45 octets.
fn encoded(text: &str) -> String {
    let words = text.as_bytes().chunks(45);
    let words = words.map(|it| format!("=?utf-8?B?{}?=", STANDARD.encode(it)));
    words.collect::<Vec<_>>().join("\r\n ")
}

fn message(subject: &[u8], file: &str, content: &str) -> Vec<u8> {
    let id = next_id();
    let head = format!(
        "From: {0}\r\nTo: {1}\r\nMessage-ID: <{id}@ws.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\nSubject: ",
        vakt("a"),
        vakt("b")
    );
    let rest = format!(
        "\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhei\r\n--x\r\nContent-Type: text/plain\r\n\
         Content-Disposition: attachment; filename=\"{}\"\r\n\r\n{content}\r\n--x--\r\n",
        encoded(file)
    );
    [head.as_bytes(), subject, rest.as_bytes()].concat()
}

fn assert_harmless(what: &str, octets: &[u8]) {
    let text = std::str::from_utf8(octets).unwrap_or_else(|_| panic!("{what} is no UTF-8"));
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line_end =
        |c: char| c == '\n' || (c == '\r' && (what.contains("export") || what.contains("--csv")));
    let moves = |c: char| {
        (c.is_control() && !line_end(c))
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if let Some((at, c)) = text.char_indices().find(|it| moves(it.1)) {
        let around = text[..at].chars().rev().take(60).collect::<String>();
        let around: String = around.chars().rev().collect();
        panic!("{what} prints {c:?} after {around:?}");
    }
}

/// What a command prints, on both streams.
fn printed(relay: &Relay, arguments: &[&str]) -> Vec<u8> {
    let output = relay.run(arguments);
    let what = arguments.join(" ");
    assert!(output.status.success(), "{what}: {output:?}");
    assert_harmless(&what, &output.stdout);
    assert_harmless(&what, &output.stderr);
    if arguments.contains(&"--json") {
        for line in output.stdout.split(|it| *it == b'\n') {
            if !line.is_empty() {
                serde_json::from_slice::<Value>(line).unwrap();
            }
        }
    }
    output.stdout
}

/// Everything hostile came in: taken, refused, waiting with a hop's words, and caught.
fn besieged() -> (Relay, Vec<String>, FakeHop, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let said = "450 4.2.0 \x1b]52;c;ZWlk\x07\u{202e}\u{9b}2J=1+1\u{61c} not now";
    let faults = vec![(At::Dot, Fault::Say(said)); 40];
    let hop = runtime.block_on(FakeHop::start(ALL, &faults));
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", hop.port))
        .delivery("retry = [\"1h\"]")
        .settings("[scan.rules]\nfile_names = [\"*.exe*\"]\nfile_name = \"quarantine\"")
        .start();
    let mut references = Vec::new();
    let mut client = relay.client("a");
    let mut send = |message: &[u8]| {
        let reply = client.send(&vakt("a"), &[&vakt("b")], message);
        references.push(reply.reference());
    };
    for hostile in HOSTILE {
        send(&message(encoded(hostile).as_bytes(), hostile, "notat"));
        send(&message(
            hostile.replace(['\0', '\r', '\n'], " ").as_bytes(),
            "x",
            "notat",
        ));
        send(&message(encoded(hostile).as_bytes(), hostile, EICAR));
    }
    send(&message(b"\xff\xfe\x1b[2J\xc3", "x", "notat"));
    send(&message(
        encoded(&"=lang\u{e5} ".repeat(9000)).as_bytes(),
        &"@n".repeat(9000),
        "notat",
    ));
    let refused = client.say("RCPT TO:<x>");
    references.push(refused.reference());
    for address in ["\u{202e}vakt@b.nodnett.test", "=1+1@\u{61c}.test", "@b"] {
        client.say(format!("MAIL FROM:<{}>", vakt("a")));
        let refused = client.say(format!("RCPT TO:<{address}>"));
        references.push(refused.reference());
        client.say("RSET");
    }
    let last = references.last().unwrap().clone();
    relay.refusal(&last);
    wait::until("a reply for each that waits", || {
        let rows = relay.rows(&["queue", "list"]);
        rows.len() >= 20 && rows.iter().all(|it| it["last_reply"].is_string())
    });
    (relay, references, hop, runtime)
}

#[test]
fn nothing_hostile_runs_in_a_terminal_or_a_spreadsheet() {
    let (relay, references, _hop, _runtime) = besieged();
    let why = "\u{e5} se det";
    for listing in [
        &["log", "search", "--limit", "1000"][..],
        &["log", "access"],
        &["queue", "list", "--limit", "0"],
        &["quarantine", "list"],
        &["outbreak", "hunt", "*"],
        &["outbreak", "hunt", "*", "--csv"],
        &["log", "verify"],
        &["log", "retention", "--plan"],
    ] {
        printed(&relay, listing);
        if !listing.contains(&"--csv") {
            printed(&relay, &[listing, &["--json"]].concat());
        }
        let reveal = match listing {
            ["queue", ..] => "--reveal",
            ["log", "search", ..] | ["quarantine", ..] | ["outbreak", ..] => "--reason",
            _ => continue,
        };
        printed(&relay, &[listing, &[reveal, why]].concat());
    }
    for reference in &references {
        let show = ["log", "show", reference];
        printed(&relay, &show);
        printed(&relay, &[&show[..], &["--json"]].concat());
        printed(&relay, &[&show[..], &["--reason", why]].concat());
        let proof = printed(&relay, &["log", "export", "--case", reference]);
        fs::write(relay.path("case.json"), proof).unwrap();
        let proof = relay.path("case.json").display().to_string();
        printed(&relay, &["log", "verify", "--proof", &proof]);
        printed(&relay, &["log", "verify", "--proof", &proof, "--json"]);
    }
    for hostile in HOSTILE.iter().filter(|it| !it.contains('\0')) {
        printed(&relay, &["log", "search", &format!("x{hostile}")]);
    }
    printed(&relay, &["log", "access"]);
    printed(&relay, &["log", "access", "--json"]);
    // What is cut off says so.
    let rows = relay.rows(&["log", "search", "lang\u{e5}"]);
    let subject = rows[0]["subject"].as_str().unwrap();
    assert!(subject.len() < 1000 && subject.ends_with('…'), "{subject}");
}

/// How many columns and rows there are, and cells that would have been formulas.
fn sheet(relay: &Relay, arguments: &[&str]) -> (usize, usize, usize) {
    let text = String::from_utf8(printed(relay, arguments)).unwrap();
    let mut rows = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let heads = rows.headers().unwrap().len();
    let (mut count, mut marked) = (0, 0);
    for row in rows.records() {
        for cell in row.unwrap().iter() {
            let begins = cell.chars().next().unwrap_or('a');
            assert!(!"=+-@\t\r".contains(begins), "{cell}");
            marked += usize::from(begins == '\'');
        }
        count += 1;
    }
    (heads, count, marked)
}

#[test]
fn nothing_hostile_runs_in_a_spreadsheet() {
    let (relay, _, _hop, _runtime) = besieged();
    let (heads, count, marked) = sheet(&relay, &["outbreak", "hunt", "*", "--csv"]);
    assert_eq!(heads, 12);
    assert!(count > 30 && marked >= 4, "{count} rows, {marked} marked");
    let (heads, count, marked) = sheet(&relay, &["log", "export", "--csv"]);
    assert_eq!(heads, 16);
    assert!(count > 40 && marked >= 8, "{count} rows, {marked} marked");
    let lines = printed(&relay, &["log", "export", "--json"]);
    let lines = String::from_utf8(lines).unwrap();
    let rows: Vec<Value> = lines
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(rows.len(), count);
    // As it is: a script is no spreadsheet.
    assert!(
        column(&rows, "subject")
            .iter()
            .any(|it| it.starts_with("=HYPERLINK"))
    );
}

/// Spreadsheets in Norway take semicolons for what stands between the cells, whatever the file has.
#[test]
fn no_separator_makes_a_formula_of_what_came_from_outside() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let mut client = relay.client("a");
    for hostile in [
        "hei;=cmd|' /C calc'!A0;",
        "a; \"=HYPERLINK(1);",
        "b;\u{a0}+1;;-1",
        "c;\"\"=1+1",
        "d;\u{ff1d}1;@x",
        "e, =1;'=1",
    ] {
        let message = message(encoded(hostile).as_bytes(), hostile, "notat");
        client.send(&vakt("a"), &[&vakt("b")], &message);
    }
    client.say(format!("MAIL FROM:<{}>", vakt("a")));
    let refused = client.say("RCPT TO:<\"x;=1+1;\"@nowhere.test>");
    relay.refusal(&refused.reference());
    for arguments in [
        &["log", "export", "--csv"][..],
        &["outbreak", "hunt", "*", "--csv"],
    ] {
        let sheet = printed(&relay, arguments);
        let text = String::from_utf8(sheet).unwrap();
        let text = text.trim_start_matches('\u{feff}');
        for delimiter in [b',', b';', b'\t'] {
            let mut rows = csv::ReaderBuilder::new()
                .delimiter(delimiter)
                // Those of the other separator stand within a cell, and mean nothing.
                .quoting(delimiter == b',')
                .flexible(true)
                .has_headers(false)
                .from_reader(text.as_bytes());
            let mut count = 0;
            for row in rows.records() {
                count += 1;
                for cell in row.unwrap().iter() {
                    let begin = cell.trim_start_matches([' ', '"', '\u{a0}']);
                    assert!(
                        !begin.starts_with(['=', '+', '-', '@', '\u{ff1d}']),
                        "{arguments:?}: {cell}"
                    );
                }
            }
            assert!(count > 6, "{text}");
        }
    }
}

#[test]
fn nothing_hostile_runs_in_a_tail() {
    let (relay, references, _hop, _runtime) = besieged();
    for more in [&["--json"][..], &[], &["--reason", "tilsyn"]] {
        let arguments = [&["log", "tail", "--limit", "100000"][..], more].concat();
        let mut tail = relay
            .command(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let last = references.last().unwrap();
        for line in BufReader::new(tail.stdout.take().unwrap()).split(b'\n') {
            let line = line.unwrap();
            assert_harmless(&arguments.join(" "), &line);
            let text = String::from_utf8(line).unwrap();
            if text.contains(last.as_str()) {
                break;
            }
        }
        tail.kill().unwrap();
        tail.wait().unwrap();
    }
}
