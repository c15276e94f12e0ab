//! Whatever is done to the delivery log behind the relay's back is found by `log verify`, and named.
//!
//! The store's file is changed with SQLite itself, as somebody would who has the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ilbud::evidence::proof::Proof;
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{Store, StoreError};
use rusqlite::Connection;
use serde_json::Value;

use crate::client::{Client, letter, next_id, vakt};
use crate::relay::{BINARY, Relay, Setup, source};
use crate::wait;

/// Soon enough for a test to wait for it.
const OFTEN: &str = "[log]\nsign_every = \"50ms\"";

fn with_attachment() -> Vec<u8> {
    let id = next_id();
    format!(
        "From: {0}\r\nTo: {1}\r\nSubject: Epikrise\r\nMessage-ID: <{id}@ws.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhei\r\n--x\r\n\
         Content-Type: text/plain; name=\"notat.txt\"\r\n\
         Content-Disposition: attachment; filename=\"notat.txt\"\r\n\r\nnotat\r\n--x--\r\n",
        vakt("a"),
        vakt("b")
    )
    .into_bytes()
}

/// What `log verify --json` says at its end.
fn summary(relay: &Relay) -> Value {
    let output = relay.run(&["log", "verify", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap()
}

fn wait_until_signed(relay: &Relay) {
    wait::until("a head over all rows", || {
        let summary = summary(relay);
        summary["unsigned"] == 0 && summary["head"].is_u64()
    });
}

/// Waits for an event without reading the log, which would be a row in it.
fn wait_for(relay: &Relay, reference: &str, kind: &str) {
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    let key = rusqlite::params![number(reference) as i64, kind];
    wait::until(kind, || {
        let sql = "SELECT count(*) FROM event WHERE reference = ?1 AND kind = ?2";
        store
            .query_row(sql, key, |row| row.get::<_, i64>(0))
            .is_ok_and(|it| it > 0)
    });
}

/// A log with three heads or more, at rest: the table, a message with an attachment, a refusal, another message.
struct Log {
    relay: Relay,
    /// The files as they were: the store, the heads, the key and its public half.
    files: Vec<(PathBuf, Vec<u8>)>,
    message: String,
    refused: String,
    other: String,
}

impl Log {
    fn new() -> Self {
        let mut relay = Setup::from_a_to("maildir:mail/b").settings(OFTEN).start();
        wait_until_signed(&relay);
        let mut client = relay.client("a");
        let message = client.send(&vakt("a"), &[&vakt("b")], &with_attachment());
        let message = message.reference();
        wait_for(&relay, &message, "delivered");
        let refused = client
            .send(&vakt("a"), &["lege@sykehus.test"], b"")
            .reference();
        wait_for(&relay, &refused, "refused");
        wait_until_signed(&relay);
        let other = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        let other = other.reference();
        wait_for(&relay, &other, "delivered");
        wait_until_signed(&relay);
        assert!(relay.stop().success());
        let mut log = Self {
            relay,
            files: Vec::new(),
            message,
            refused,
            other,
        };
        // All of it is in one file.
        let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
        log.open().query_row(fold, [], |_| Ok(())).unwrap();
        log.files = [
            "ilbud.db",
            "ilbud.db-heads",
            "ilbud.db-key",
            "ilbud.db-key.pub",
        ]
        .map(|name| {
            (
                log.relay.path(name),
                fs::read(log.relay.path(name)).unwrap(),
            )
        })
        .into();
        log
    }

    fn restore(&self) {
        for name in ["ilbud.db-wal", "ilbud.db-shm"] {
            drop(fs::remove_file(self.relay.path(name)));
        }
        for (file, content) in &self.files {
            fs::write(file, content).unwrap();
        }
    }

    fn open(&self) -> Connection {
        Connection::open(self.relay.path("ilbud.db")).unwrap()
    }

    /// The place of an event of a message.
    fn row(&self, reference: &str, kind: &str) -> u64 {
        let number: ilbud::mail::Reference = reference.parse().unwrap();
        let sql = "SELECT sequence FROM event WHERE reference = ?1 AND kind = ?2";
        let key = rusqlite::params![number.number() as i64, kind];
        let row: i64 = self.open().query_row(sql, key, |row| row.get(0)).unwrap();
        row as u64
    }

    fn last(&self) -> u64 {
        let sql = "SELECT max(sequence) FROM event";
        let row: i64 = self.open().query_row(sql, [], |row| row.get(0)).unwrap();
        row as u64
    }

    /// The last row of a head, and when it was signed.
    fn head(&self, number: u64) -> (u64, String) {
        let sql = "SELECT text FROM head WHERE head = ?1";
        let text: String = self
            .open()
            .query_row(sql, [number as i64], |row| row.get(0))
            .unwrap();
        let head: Value = serde_json::from_str(&text).unwrap();
        let at = head["at"].as_str().unwrap().to_owned();
        (head["last"].as_u64().unwrap(), at)
    }

    /// The last head before the second message, with its last row; and what takes away all that came after it.
    fn before_the_other(&self) -> (u64, u64, String) {
        let first = self.row(&self.other, "accepted");
        let heads = (1..=self.heads()).map(|it| (it, self.head(it).0));
        let (head, row) = heads.take_while(|(_, row)| *row < first).last().unwrap();
        let other = number(&self.other);
        let gone = format!(
            "DELETE FROM event WHERE sequence > {row}; DELETE FROM recipient WHERE reference = {other};"
        );
        (head, row, gone)
    }

    fn heads(&self) -> u64 {
        let sql = "SELECT max(head) FROM head";
        let last: i64 = self.open().query_row(sql, [], |row| row.get(0)).unwrap();
        last as u64
    }

    /// What is found once this was done, line by line.
    fn found(&self, sql: &str) -> Vec<String> {
        self.restore();
        let store = self.open();
        store.execute_batch(sql).unwrap();
        assert!(store.total_changes() > 0, "{sql} changes nothing");
        drop(store);
        self.findings(&[])
    }

    fn findings(&self, arguments: &[&str]) -> Vec<String> {
        let complaint = self
            .relay
            .fails(1, &[&["log", "verify"], arguments].concat());
        let lines = complaint.lines().filter(|it| !it.starts_with("note: "));
        lines
            .map(|line| line.strip_prefix("ilbud: ").unwrap_or(line).to_owned())
            .collect()
    }

    fn path(&self, name: &str) -> String {
        self.relay.path(name).display().to_string()
    }
}

fn number(reference: &str) -> u64 {
    reference
        .parse::<ilbud::mail::Reference>()
        .unwrap()
        .number()
}

#[test]
fn an_untouched_log_holds_and_says_how_far() {
    let log = Log::new();
    let last = log.last();
    let told = log.relay.done(&["log", "verify"]);
    assert!(
        told.starts_with(&format!("{last} rows, chained since 20")),
        "{told}"
    );
    assert!(
        told.contains(&format!(
            ", signed up to row {last} (head {} of 20",
            log.heads()
        )),
        "{told}"
    );
    let summary = summary(&log.relay);
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["findings"], 0);
    assert_eq!(summary["unsigned"], 0);
    assert_eq!(summary["signed_to"], last);
    for secret in ["ilbud.db-key", "ilbud.db-heads"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(log.relay.path(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn a_changed_row_is_named_with_its_field() {
    let log = Log::new();
    let (m, r) = (&log.message, &log.refused);
    let (accepted, delivered) = (log.row(m, "accepted"), log.row(m, "delivered"));
    let refused = log.row(r, "refused");
    let reference = number(m);
    #[rustfmt::skip]
    let cases = [
        (format!("UPDATE event SET at = at + 1 WHERE sequence = {delivered}"),
            format!("row changed: row {delivered} (delivered of {m}): at")),
        (format!("UPDATE event SET details = json_set(details, '$.reply', 'x') WHERE sequence = {refused}"),
            format!("row changed: row {refused} (refused of {r}): details.reply")),
        (format!("UPDATE event SET recipient = NULL WHERE sequence = {delivered}"),
            format!("row changed: row {delivered} (delivered of {m}): 1 of its fields are gone")),
        (format!("UPDATE event SET details = details || ' ' WHERE sequence = {delivered}"),
            format!("row changed: row {delivered} (delivered of {m}): its details are not as the relay writes them")),
        (format!("UPDATE event SET seed = NULL WHERE sequence = {delivered}"),
            format!("row changed: row {delivered} (delivered of {m}): its seed is gone")),
        (format!("UPDATE event SET digest = zeroblob(32) WHERE sequence = {delivered}"),
            format!("row changed: row {delivered} (delivered of {m}): its digest")),
        (format!("UPDATE message SET subject = 'Annet' WHERE reference = {reference}"),
            format!("row changed: row {accepted} (accepted of {m}): message.subject")),
        (format!("UPDATE message SET sender = 'leder@a.nodnett.test' WHERE reference = {reference}"),
            format!("row changed: row {accepted} (accepted of {m}): message.sender")),
        (format!("UPDATE recipient SET address = 'leder@b.nodnett.test' WHERE reference = {reference}"),
            format!("row changed: row {accepted} (accepted of {m}): recipient.0.address")),
        (format!("UPDATE attachment SET name = 'annet.txt' WHERE reference = {reference}"),
            format!("row changed: row {accepted} (accepted of {m}): attachment.0.name")),
        (format!("UPDATE attachment SET sha256 = '{}' WHERE reference = {reference}", "0".repeat(64)),
            format!("row changed: row {accepted} (accepted of {m}): attachment.0.content")),
        (format!("DELETE FROM attachment WHERE reference = {reference}"),
            format!("row changed: row {accepted} (accepted of {m}): 2 of its fields are gone")),
        (format!("INSERT INTO attachment VALUES ({reference}, 1, 'ny.txt', 1, '{}', 'text')", "0".repeat(64)),
            format!("row changed: row {accepted} (accepted of {m}): attachment.1.content, attachment.1.name")),
        (format!("UPDATE refusal SET reply = '250 2.0.0 ok' WHERE reference = {}", number(r)),
            format!("row changed: row {refused} (refused of {r}): refusal.reply")),
    ];
    for (sql, expected) in cases {
        let found = log.found(&sql);
        // A recipient that is another one has no event either.
        assert_eq!(found.first(), Some(&expected), "{sql}: {found:?}");
    }
}

#[test]
fn more_findings_than_anybody_reads_are_counted() {
    let log = Log::new();
    let heads = log.relay.path("ilbud.db-heads");
    let mut text = fs::read(&heads).unwrap();
    text.extend("not a head\n".repeat(1200).into_bytes());
    fs::write(&heads, text).unwrap();
    let found = log.findings(&[]);
    assert_eq!(found.len(), 1001);
    assert_eq!(found[1000], "… and 200 more findings");
    assert_eq!(summary(&log.relay)["findings"], 1200);
}

#[test]
fn rows_removed_inserted_and_reordered_are_told_apart() {
    let log = Log::new();
    let m = &log.message;
    let (accepted, delivered) = (log.row(m, "accepted"), log.row(m, "delivered"));
    let scanned = log.row(m, "scanned");
    assert_eq!((accepted + 1, accepted + 2), (scanned, delivered));
    let renumber = |from: u64, by: i64| {
        format!(
            "UPDATE event SET sequence = sequence + 1000000 WHERE sequence >= {from};
             UPDATE event SET sequence = sequence - 1000000 + {by} WHERE sequence >= 1000000;"
        )
    };
    let copy = |from: u64, to: u64| {
        format!(
            "INSERT INTO event SELECT {to}, reference, at, kind, recipient, details, covers, seed, digest, marks
             FROM event WHERE sequence = {from};"
        )
    };
    let (before, after) = (scanned - 1, scanned + 1);
    let last = log.last();
    let other = &log.other;
    #[rustfmt::skip]
    let cases = [
        (format!("DELETE FROM event WHERE sequence = {scanned}"),
            vec![format!("rows removed: row {scanned}, between row {before} and row {after}")]),
        (format!("DELETE FROM event WHERE sequence BETWEEN {accepted} AND {scanned}"),
            vec![format!("rows removed: rows {accepted} to {scanned}, between row {} and row {after}", accepted - 1)]),
        (format!("DELETE FROM event WHERE sequence = {scanned}; {}", renumber(scanned, -1)),
            vec![format!("rows removed: 1 between row {before} and row {scanned}, and those after them renumbered")]),
        (format!("{}{}", renumber(scanned, 1), copy(last + 1, scanned)),
            vec![format!("row inserted: row {scanned} (delivered of {other})")]),
        (format!("INSERT INTO event VALUES ({}, {}, 5, 'viewed', NULL, '{{}}', NULL, zeroblob(16), zeroblob(32), x'0000')", last + 1, number(m)),
            vec![format!("row inserted: row {} (viewed of {m})", last + 1)]),
        (format!("INSERT INTO event VALUES (0, {}, 5, 'viewed', NULL, '{{}}', NULL, NULL, NULL, NULL)", number(m)),
            vec!["row inserted: before the chain begins there were 0 rows, and there are 1".to_owned()]),
        (format!("UPDATE event SET sequence = -1 WHERE sequence = {scanned}; UPDATE event SET sequence = {scanned} WHERE sequence = {delivered};
                  UPDATE event SET sequence = {delivered} WHERE sequence = -1"),
            vec![format!("rows reordered: row {scanned} (delivered of {m}) stood at {delivered}"),
                 format!("rows reordered: row {delivered} (scanned of {m}) stood at {scanned}")]),
    ];
    for (sql, expected) in cases {
        let mut found = log.found(&sql);
        found.retain(|it| !it.starts_with("state unexplained"));
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn a_state_that_no_event_explains_is_found() {
    let log = Log::new();
    let (m, r, b) = (&log.message, &log.refused, vakt("b"));
    let set = |state: &str, finished: &str| {
        format!(
            "UPDATE recipient SET state = '{state}', finished_at = {finished}, due_at = NULL
             WHERE reference = {}",
            number(m)
        )
    };
    for (state, finished) in [
        ("failed", "1"),
        ("cancelled", "1"),
        ("held", "NULL"),
        ("quarantined", "NULL"),
    ] {
        let expected = format!(
            "state unexplained: {b} of {m} is {state}, and its last event that says so is delivered"
        );
        assert_eq!(log.found(&set(state, finished)), [expected]);
    }
    let added = format!(
        "INSERT INTO recipient (reference, number, address, room, state, attempts, next_attempt_at, finished_at)
         VALUES (77, 0, '{b}', 'room-b', 'delivered', 1, 1, 1)"
    );
    let reference = ilbud::mail::Reference::from_number(77);
    let expected =
        format!("state unexplained: {b} of {reference} is delivered, and it has no event");
    assert_eq!(log.found(&added), [expected]);
    let added = format!(
        "INSERT INTO refusal (reference, at, client, reply, count) SELECT reference, at, client, 'x', 1
         FROM refusal WHERE reference = {}",
        number(r)
    );
    let expected = format!(
        "message unexplained: refusal {r} is in the store, and no row of the log says how it came"
    );
    assert_eq!(log.found(&added), [expected]);
}

#[test]
fn a_cut_tail_is_found_even_where_its_heads_were_cut_too() {
    let log = Log::new();
    let heads = log.heads();
    let signed = log.head(heads).0;
    let (head, left, gone) = log.before_the_other();
    let ends = format!("signed row {signed}, and the log ends with row {left}");
    let is_told = |found: Vec<String>, of: &str| {
        let begin = format!("tail cut: head {heads} of ");
        let end = format!("{of} {ends}");
        let is_right = |it: &String| it.starts_with(&begin) && it.ends_with(&end);
        assert!(found.len() == 1 && found.iter().all(is_right), "{found:?}");
    };
    is_told(log.found(&gone), "");
    let both = format!("{gone} DELETE FROM head WHERE head > {head}");
    let file = log.path("ilbud.db-heads");
    is_told(log.found(&both), &format!(" in {file}"));
    // A copy from elsewhere tells, where the file beside the store was cut with the rest.
    let copy = log.path("from-elsewhere");
    fs::copy(&file, &copy).unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let cut: String = whole
        .split_inclusive('\n')
        .take(usize::try_from(head).unwrap())
        .collect();
    fs::write(&file, cut).unwrap();
    let told = log.relay.done(&["log", "verify"]);
    assert!(
        told.contains(&format!("signed up to row {left} ")),
        "{told}"
    );
    is_told(log.findings(&["--heads", &copy]), &format!(" in {copy}"));
}

#[test]
fn a_chain_that_was_written_anew_is_found() {
    let log = Log::new();
    let (head, left, gone) = log.before_the_other();
    let next = head + 1;
    let signed = log.head(next).0;
    log.restore();
    log.open().execute_batch(&gone).unwrap();
    for n in left..=log.head(log.heads()).0 {
        let room = crate::relay::room("d", "maildir:mail/d", "");
        let room = room.replace("Rom D", &format!("Rom {n}"));
        let own = crate::relay::room("a", "maildir:mail/a", "");
        log.relay.apply(&format!("{own}{room}"));
    }
    let more = match log.heads() - next {
        0 => String::new(),
        more => format!(", and so did {more} heads after it"),
    };
    let expected = format!(
        "chain rewritten: since head {head} (row {left}): head {next} signed another row {signed}{more}"
    );
    assert_eq!(log.findings(&[]), [expected]);
    // And with the head, by the relay itself.
    let sql = format!("DELETE FROM head WHERE head > {head}");
    log.open().execute(&sql, []).unwrap();
    let file = log.path("ilbud.db-heads");
    let mut relay = log.relay;
    relay.start();
    wait::until("a head in the place of the old one", || {
        summary(&relay)["unsigned"] == 0
    });
    assert!(relay.stop().success());
    let complaint = relay.fails(1, &["log", "verify"]);
    let expected = format!(
        "ilbud: chain rewritten: since head {head}: head {next} in {file} is another one than the store's\n"
    );
    assert!(complaint.contains(&expected), "{complaint}");
}

#[test]
fn heads_and_keys_are_looked_at_too() {
    let log = Log::new();
    let heads = log.heads();
    let file = log.path("ilbud.db-heads");
    assert_eq!(
        log.found(
            "UPDATE head SET text = replace(text, '\"at\":\"20', '\"at\":\"19') WHERE head = 2"
        ),
        ["head changed: head 2: its signature does not fit what it says"]
    );
    assert_eq!(
        log.found("UPDATE head SET text = 'x' WHERE head = 2"),
        ["head changed: head 2: its signature does not fit what it says"]
    );
    assert_eq!(
        log.found("DELETE FROM head WHERE head = 2"),
        [
            "heads removed: 1 between head 1 and head 3".to_owned(),
            format!("heads removed: head 2 from the store: {file} has them"),
        ]
    );
    log.restore();
    fs::remove_file(&file).unwrap();
    assert_eq!(
        log.findings(&[]),
        [format!(
            "heads removed: heads 1 to {heads} from {file}: the store has them"
        )]
    );
    log.restore();
    let text = fs::read_to_string(&file)
        .unwrap()
        .replacen("\"at\":\"20", "\"at\":\"19", 1);
    fs::write(&file, text).unwrap();
    let expected = format!(
        "head changed: line 1 of {file} is no head: its signature does not fit what it says"
    );
    assert_eq!(log.findings(&[]), [expected]);
}

#[test]
fn a_swapped_key_is_found() {
    let log = Log::new();
    let heads = log.heads();
    let old = fs::read_to_string(log.relay.path("ilbud.db-key.pub")).unwrap();
    let other = Setup::no_rooms().prepare();
    for name in ["ilbud.db-key", "ilbud.db-key.pub"] {
        fs::remove_file(log.relay.path(name)).unwrap();
    }
    let mut relay = log.relay;
    relay.start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    wait_until_signed(&relay);
    assert!(relay.stop().success());
    assert!(
        relay
            .log()
            .contains("the log was signed with another key so far"),
        "{}",
        relay.log()
    );
    let new = fs::read_to_string(relay.path("ilbud.db-key.pub")).unwrap();
    let id = |key: &str| {
        key.trim()
            .parse::<ilbud::evidence::PublicKey>()
            .unwrap()
            .id()
    };
    let complaint = relay.fails(1, &["log", "verify"]);
    let expected = format!(
        "ilbud: key swapped: from head 1 on it is signed with key {}, not with {}\n",
        id(&old),
        id(&new)
    );
    assert_eq!(complaint, expected);
    let complaint = relay.fails(1, &["log", "verify", "--key", old.trim()]);
    let expected = format!(
        "ilbud: key swapped: from head {} on it is signed with key {}, not with {}\n",
        heads + 1,
        id(&new),
        id(&old)
    );
    assert_eq!(complaint, expected);
    // Whoever changed it knows both.
    relay.done(&["log", "verify", "--key", old.trim(), "--key", new.trim()]);
    let complaint = other.fails(2, &["log", "verify", "--key", "abc"]);
    assert!(
        complaint.contains("a key is 64 digits of hex, or a file with them"),
        "{complaint}"
    );
}

#[test]
fn a_key_that_others_may_read_starts_no_relay() {
    use std::os::unix::fs::PermissionsExt;
    let mut relay = Setup::from_a_to("maildir:mail/b").start();
    assert!(relay.stop().success());
    let key = relay.path("ilbud.db-key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let complaint = relay.fails(1, &["serve"]);
    let expected = format!(
        "{}: others on this machine may read this file, and there is the relay's key for its log in it",
        key.display()
    );
    assert!(complaint.contains(&expected), "{complaint}");
}

/// One client, message after message, until the relay is gone or the time is over.
fn fill(port: u16, over: &AtomicBool) {
    let Ok(mut client) = Client::silent(port, &source("a")) else {
        return;
    };
    if client.reply().code != 220 || client.say("EHLO ws.test").code != 250 {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        let reply = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        if reply.code < 2 || client.send(&vakt("a"), &["x@y.test"], b"").code < 2 {
            return;
        }
    }
}

#[test]
fn a_log_holds_under_load_and_after_each_kill_9() {
    let mut relay = Setup::from_a_to("maildir:mail/b").settings(OFTEN).prepare();
    let mut rows = 0;
    for round in 1..=6 {
        relay.start();
        let over = AtomicBool::new(false);
        let port = relay.port;
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| fill(port, &over));
            }
            wait::until("rows", || {
                let summary = summary(&relay);
                assert_eq!(summary["findings"], 0, "round {round}: {summary}");
                let now = summary["rows"].as_u64().unwrap();
                let has_grown = now > rows + 20;
                rows = now.max(rows);
                has_grown
            });
            relay.kill();
            over.store(true, Ordering::Relaxed);
        });
        let summary = summary(&relay);
        assert_eq!(summary["findings"], 0, "round {round}: {summary}");
    }
    relay.start();
    wait_until_signed(&relay);
    assert!(relay.stop().success());
    let told = relay.done(&["log", "verify"]);
    assert!(!told.contains("not signed"), "{told}");
}

/// Runs a command in an empty folder.
fn elsewhere(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_proof_is_checked_without_the_store() {
    let log = Log::new();
    let proof = log.relay.done(&["log", "export", "--case", &log.message]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.json");
    fs::write(&file, &proof).unwrap();
    let key = fs::read_to_string(log.relay.path("ilbud.db-key.pub")).unwrap();
    let m = &log.message;
    let (is_good, told) = elsewhere(
        folder.path(),
        &["log", "verify", "--proof", "case.json", "--key", key.trim()],
    );
    assert!(is_good, "{told}");
    assert!(
        told.starts_with("The proof holds. Who has the key "),
        "{told}"
    );
    assert!(
        told.contains(&format!("that these 3 rows on {m} stood in the log")),
        "{told}"
    );
    assert!(
        told.contains(&format!(
            "It does not prove that there are no other rows on {m}"
        )),
        "{told}"
    );
    for word in [
        "accepted",
        "delivered",
        "message.subject         Epikrise",
        "attachment.0.name       notat.txt",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let (is_good, told) = elsewhere(
        folder.path(),
        &["log", "verify", "--proof", "case.json", "--json"],
    );
    assert!(is_good, "{told}");
    let kinds: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["accepted", "scanned", "delivered"]);
    let other = "ab".repeat(32);
    let (is_good, told) = elsewhere(
        folder.path(),
        &["log", "verify", "--proof", "case.json", "--key", &other],
    );
    assert!(
        !is_good && told.contains("case.json proves nothing: it is signed with key "),
        "{told}"
    );
    fs::write(&file, proof.replacen("Epikrise", "Epikrisa", 1)).unwrap();
    let (is_good, told) = elsewhere(folder.path(), &["log", "verify", "--proof", "case.json"]);
    let row = log.row(m, "accepted");
    assert!(
        !is_good
            && told.contains(&format!(
                "case.json proves nothing: row {row} is not the row that head "
            )),
        "{told}"
    );
}

#[test]
fn each_octet_of_a_proof_counts() {
    let log = Log::new();
    let proof = log.relay.done(&["log", "export", "--case", &log.message]);
    let key = fs::read_to_string(log.relay.path("ilbud.db-key.pub")).unwrap();
    let keys = [key.trim().parse().unwrap()];
    assert!(Proof::check(&proof, &keys).is_ok());
    for at in 0..proof.len() {
        for mask in [0x01, 0x20] {
            let mut bent = proof.clone().into_bytes();
            bent[at] ^= mask;
            let bent = String::from_utf8_lossy(&bent);
            assert!(Proof::check(&bent, &keys).is_err(), "octet {at} of {proof}");
        }
    }
    let shorter = &proof[..proof.len() - 1];
    assert!(
        Proof::check(shorter, &keys).is_err() && Proof::check(&format!("{proof} "), &keys).is_err()
    );
}

#[test]
fn what_is_not_signed_yet_is_signed_for_a_proof_where_the_key_is() {
    let relay = Setup::from_a_to("maildir:mail/b")
        .settings("[log]\nsign_every = \"1h\"")
        .start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    let reference = reply.reference();
    relay.expect_events(&reference, &["accepted", "delivered"]);
    let key = relay.path("ilbud.db-key");
    let away = relay.path("away");
    fs::rename(&key, &away).unwrap();
    let complaint = relay.fails(1, &["log", "export", "--case", &reference]);
    assert!(
        complaint.contains("is not signed yet, and the relay's key is not in "),
        "{complaint}"
    );
    fs::rename(&away, &key).unwrap();
    let file = relay.path("case.json").display().to_string();
    relay.done(&["log", "export", "--case", &reference, "--output", &file]);
    relay.done(&["log", "verify", "--proof", &file]);
    assert_eq!(summary(&relay)["findings"], 0);
    let complaint = relay.fails(1, &["log", "export", "--case", "0000-0000-0001"]);
    assert_eq!(complaint, "ilbud: nothing is known of 0000-0000-0001\n");
}

#[test]
fn what_is_masked_or_purged_for_good_leaves_a_chain_that_holds() {
    let log = Log::new();
    let (accepted, delivered) = (
        log.row(&log.message, "accepted"),
        log.row(&log.message, "delivered"),
    );
    let refused = log.row(&log.refused, "refused");
    let settings = Settings {
        path: log.relay.path("ilbud.db"),
        keep_bodies: Duration::ZERO,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&settings).unwrap());
    let mask = |row: u64, fields: &[&str]| {
        let fields = fields.iter().map(|&it| it.to_owned()).collect();
        runtime.block_on(store.mask(row, fields))
    };
    mask(
        accepted,
        &[
            "message.subject",
            "attachment.0.name",
            "recipient.0.address",
        ],
    )
    .unwrap();
    mask(accepted, &["details.client", "message.client", "recipient"]).unwrap();
    mask(delivered, &["details.hop"]).unwrap();
    runtime.block_on(store.purge_row(refused)).unwrap();
    drop(store);
    let gone = format!(
        "DELETE FROM refusal WHERE reference = {}",
        number(&log.refused)
    );
    log.open().execute(&gone, []).unwrap();
    let told = log.relay.done(&["log", "verify"]);
    assert!(
        told.ends_with("; of 2 rows something was masked for good; 1 rows were purged\n"),
        "{told}"
    );
    let columns = "subject IS NULL AND client = 'masked'";
    let reference = number(&log.message);
    let sql = format!("SELECT {columns} FROM message WHERE reference = {reference}");
    let is_gone: bool = log.open().query_row(&sql, [], |row| row.get(0)).unwrap();
    assert!(is_gone);
    let m = &log.message;
    let proof = log.relay.done(&["log", "export", "--case", m]);
    assert!(!proof.contains("Epikrise") && !proof.contains("notat.txt"));
    let file = log.relay.path("case.json").display().to_string();
    fs::write(&file, proof).unwrap();
    let told = log.relay.done(&["log", "verify", "--proof", &file]);
    assert!(
        told.contains("In 2 of the rows something had been masked for good"),
        "{told}"
    );
    // What is masked is nobody's to fill in, and what was changed is not masked.
    let put = "UPDATE message SET subject = 'Annet' WHERE reference = ";
    log.open()
        .execute(&format!("{put}{reference}"), [])
        .unwrap();
    let expected = format!(
        "row changed: row {accepted} (accepted of {m}): something was put where message.subject had been masked for good"
    );
    assert_eq!(log.findings(&[]), [expected]);
    log.restore();
    log.open()
        .execute(&format!("{put}{reference}"), [])
        .unwrap();
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&settings).unwrap());
    let fault = runtime.block_on(store.mask(accepted, vec!["details.client".to_owned()]));
    let expected = format!("row {accepted} of the log is not as it was written");
    assert_eq!(fault, Err(StoreError::Conflict(expected)));
}

#[test]
fn a_log_from_before_is_chained_from_then_on() {
    let relay = Setup::from_a_to("maildir:mail/b").prepare();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spool/schema/sqlite");
    let mut scripts: Vec<PathBuf> = fs::read_dir(schema)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.file_name().unwrap().to_str().unwrap() < "014")
        .collect();
    scripts.sort();
    let old = Connection::open(relay.path("ilbud.db")).unwrap();
    for script in &scripts {
        old.execute_batch(&fs::read_to_string(script).unwrap())
            .unwrap();
    }
    old.execute_batch(&format!(
        "INSERT INTO event VALUES (1, 9, 5, 'accepted', NULL, '{{}}'), (2, 9, 6, 'viewed', NULL, '{{}}');
         PRAGMA user_version = {}",
        scripts.len()
    ))
    .unwrap();
    drop(old);
    let told = relay.done(&["log", "verify"]);
    assert_eq!(
        told,
        "0 rows, not signed yet; 2 rows before are not chained\n"
    );
    relay.done(&[
        "route",
        "apply",
        &relay.path("routes.toml").display().to_string(),
    ]);
    let told = relay.done(&["log", "verify"]);
    assert!(told.starts_with("1 rows, chained since 20"), "{told}");
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    store
        .execute("DELETE FROM event WHERE sequence = 2", [])
        .unwrap();
    let complaint = relay.fails(1, &["log", "verify"]);
    let expected =
        "ilbud: rows removed: before the chain begins there were 2 rows, and there are 1\n";
    assert_eq!(complaint, expected);
    let complaint = relay.fails(1, &["log", "export", "--case", "0000-0000-0009"]);
    assert!(
        complaint.contains("was written before the log was chained"),
        "{complaint}"
    );
}
