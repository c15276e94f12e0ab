//! What the delivery log does without: subjects that are never kept, and what is old. Judged by the very octets of
//! the store's files.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ilbud::mail::{Details, EventKind, Timestamp};
use ilbud::ops::privacy::Retention;
use ilbud::ops::privacy::retention::Keeper;
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::Store;
use rusqlite::Connection;
use serde_json::Value;

use crate::client::{Client, letter, vakt};
use crate::fake_hop::{ALL, At, FakeHop, Fault};
use crate::fake_scanner::EICAR;
use crate::log_privacy::{FILE, SUBJECT, message, send};
use crate::relay::{Relay, Setup, column, source};
use crate::wait;

/// Which of these words stand in a file of the store, in whatever case.
fn found(relay: &Relay, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for name in [
        "ilbud.db",
        "ilbud.db-wal",
        "ilbud.db-heads",
        "ilbud.db-search",
        "ilbud.db-search-wal",
    ] {
        let octets = fs::read(relay.path(name)).unwrap_or_default();
        let octets = octets.to_ascii_lowercase();
        for word in words {
            let sought = word.to_lowercase();
            let at = octets
                .windows(sought.len())
                .position(|it| it == sought.as_bytes());
            if let Some(at) = at {
                let around = &octets[at.saturating_sub(60)..octets.len().min(at + 60)];
                let around = String::from_utf8_lossy(around).escape_debug().to_string();
                found.push(format!("{word} in {name}, octet {at}: {around}"));
            }
        }
    }
    found
}

fn set(relay: &Relay, log: &str) {
    let file = relay.path("ilbud.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let settings = settings.split("\n[log]").next().unwrap().to_owned();
    fs::write(&file, format!("{settings}\n[log]\n{log}\n")).unwrap();
}

fn verified(relay: &Relay) -> Value {
    let output = relay.run(&["log", "verify", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["findings"], 0, "{text}");
    summary
}

#[test]
fn where_no_subjects_are_kept_none_is_in_the_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let said = "450 4.7.1 EPIKRISE  Ola Nordmann with Ola-Nordmann.txt is not wanted now";
    let hop = runtime.block_on(FakeHop::start(ALL, &[(At::Dot, Fault::Say(said))]));
    let mut relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", hop.port))
        .settings("[log]\nkeep_subjects = false")
        .start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &message(SUBJECT, FILE, EICAR));
    // The sender is told which file it was.
    assert!(reply.text().contains(FILE), "{reply}");
    let refused = relay.refusal(&reply.reference());
    assert_eq!(refused["subject"], Value::Null);
    let kept = refused["reply"].as_str().unwrap();
    assert!(kept.contains("EICAR-Test-File in •••"), "{kept}");
    let events = relay.rows(&["log", "show", &reference]);
    let deferred = events.iter().find(|it| it["event"] == "deferred").unwrap();
    assert_eq!(
        deferred["reply"],
        "450 4.7.1 ••• with ••• is not wanted now"
    );
    assert_eq!(events[0]["attachments"][0]["name"], "•••");
    assert!(events[0]["attachments"][0]["sha256"].is_string());
    relay.done(&["log", "search", "--subject", SUBJECT, "--attachment", FILE]);
    let words = ["nordmann", "epikrise", "ola-nord"];
    // The write-ahead log is cut once nothing changes for a moment.
    wait::until("a store without names", || found(&relay, &words).is_empty());
    assert!(relay.stop().success());
    assert_eq!(found(&relay, &words), [""; 0]);
    verified(&relay);
}

#[test]
fn what_waits_is_blocked_by_its_subject_where_that_is_not_kept() {
    let relay = Setup::from_a_to("smtp://127.0.0.1:9")
        .delivery("retry = [\"1h\"]")
        .settings("[log]\nkeep_subjects = false")
        .start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    relay.expect_events(&reference, &["accepted", "deferred"]);
    relay.done(&["outbreak", "block", "--subject", "epikrise ola"]);
    wait::until("quarantine", || {
        column(&relay.rows(&["quarantine", "list"]), "ref") == [reference.as_str()]
    });
    let caught = &relay.rows(&["quarantine", "list"])[0];
    let text = caught.to_string().to_lowercase();
    assert!(!text.contains("nordmann"), "{caught}");
}

/// Two messages that were delivered, a refusal, and two that are not over: one held, one caught.
struct Old {
    relay: Relay,
    delivered: [String; 2],
    refused: String,
    held: String,
    caught: String,
}

impl Old {
    fn new() -> Self {
        let rules = "[scan.rules]\nfile_names = [\"*.scr\"]\nfile_name = \"quarantine\"";
        let mut relay = Setup::from_a_to("maildir:mail/b").settings(rules).start();
        let one = || send(&relay, &message(SUBJECT, FILE, "notat"));
        let delivered = [one(), one()];
        let refused = send(&relay, &message(SUBJECT, FILE, EICAR));
        relay.refusal(&refused);
        wait::until("delivery", || relay.queue_is_empty());
        let caught = send(&relay, &message("Venter", "venter.scr", "notat"));
        wait::until("quarantine", || {
            !relay.rows(&["quarantine", "list"]).is_empty()
        });
        relay.apply(&format!(
            "{}{}",
            crate::relay::room("a", "maildir:mail/a", ""),
            crate::relay::room("b", "smtp://127.0.0.1:9", "")
        ));
        let held = wait::find("one that waits", || {
            let reference = send(&relay, &message("Holdes", "holdes.txt", "notat"));
            relay.run(&["queue", "hold", &reference]);
            (column(&relay.rows(&["queue", "list"]), "state").last()? == "held")
                .then_some(reference)
        });
        assert!(relay.stop().success());
        Self {
            relay,
            delivered,
            refused,
            held,
            caught,
        }
    }
}

#[test]
fn what_is_old_is_pseudonymised_and_then_purged_and_the_chain_holds() {
    let old = Old::new();
    let relay = &old.relay;
    let told = relay.done(&["log", "retention"]);
    assert_eq!(
        told,
        "0 messages and refusals: 0 rows were pseudonymised, 0 rows were purged.\n"
    );
    set(relay, "pseudonymise_after = \"1ms\"\npurge_after = \"1y\"");
    let warned = relay.run(&["check"]);
    let warned = String::from_utf8(warned.stderr).unwrap();
    assert!(
        warned.contains("the log is pseudonymised after 1ms, and purged after 365d"),
        "{warned}"
    );
    let rows_before = relay.rows(&["log", "show", &old.delivered[0]]).len();
    let plan = &relay.rows(&["log", "retention", "--plan"])[0];
    assert_eq!(
        (&plan["left"], &plan["purge"]),
        (&2.into(), &0.into()),
        "{plan}"
    );
    assert!(plan["pseudonymise"].as_u64().unwrap() >= 3, "{plan}");
    assert!(!found(relay, &["nordmann"]).is_empty());
    let done = &relay.rows(&["log", "retention"])[0];
    assert_eq!(done["purged"], 0, "{done}");
    let masked = done["pseudonymised"].as_u64().unwrap();
    assert!(masked >= 7, "{done}");
    assert_eq!(done["not_as_written"], serde_json::json!([]), "{done}");
    assert_eq!(found(relay, &["nordmann", "epikrise"]), [""; 0]);
    let summary = verified(relay);
    assert_eq!(
        (&summary["masked"], &summary["masked_by_age"]),
        (&masked.into(), &masked.into())
    );
    assert_eq!(summary["notes"].as_array().unwrap().len(), 0, "{summary}");
    // The same address is the same pseudonym, and its room is known.
    let mut names = HashSet::new();
    for reference in &old.delivered {
        let row = &relay.rows(&["log", "search", reference])[0];
        let name = row["recipient"].as_str().unwrap().to_owned();
        assert!(
            name.starts_with("masked-") && name.ends_with("@b.nodnett.test"),
            "{row}"
        );
        assert_eq!(
            (&row["recipient_room"], &row["status"]),
            (&"room-b".into(), &"delivered".into())
        );
        for field in ["subject", "message_id", "reply"] {
            assert_eq!(row[field], Value::Null, "{row}");
        }
        names.insert(name);
        let answer = relay.done(&["log", "answer", reference]);
        assert!(
            answer.contains("masked-") && !answer.contains("vakt@"),
            "{answer}"
        );
        let story = relay.rows(&["log", "show", reference]);
        assert_eq!(story.len(), rows_before);
        assert!(!Value::from(story).to_string().contains("127.0.1.9"));
    }
    assert_eq!(names.len(), 1, "{names:?}");
    let row = &relay.rows(&["log", "search", &old.refused])[0];
    assert!(
        row["sender"].as_str().unwrap().starts_with("masked-"),
        "{row}"
    );
    let row = &relay.rows(&["log", "search", &old.held])[0];
    assert_eq!(
        (&row["subject"], &row["recipient"]),
        (&"Holdes".into(), &vakt("b").into())
    );
    let row = &relay.rows(&["quarantine", "list"])[0];
    assert_eq!(
        (&row["ref"], &row["subject"]),
        (&old.caught.as_str().into(), &"Venter".into())
    );
    // A key that is gone makes others of the same.
    relay.done(&["log", "retention", "--forget-pseudonyms"]);
    set(relay, "purge_after = \"1ms\"");
    let done = &relay.rows(&["log", "retention"])[0];
    assert!(done["purged"].as_u64().unwrap() >= masked, "{done}");
    let summary = verified(relay);
    assert_eq!(summary["purged"], done["purged"], "{summary}");
    let told = relay.done(&["log", "verify"]);
    assert!(
        told.contains("(since they were old, as log retention says: "),
        "{told}"
    );
    let left: HashSet<String> = column(&relay.rows(&["log", "search"]), "ref")
        .into_iter()
        .collect();
    assert_eq!(left, [old.held.clone(), old.caught.clone()].into());
    for reference in old.delivered.iter().chain([&old.refused]) {
        let complaint = relay.fails(1, &["log", "show", reference]);
        let expected = format!("ilbud: nothing is known of {reference}");
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
    // What was held and caught is as it was, and may go when it is over.
    relay.done(&["quarantine", "delete", &old.caught]);
    let done = &relay.rows(&["log", "retention"])[0];
    assert!(done["purged"].as_u64().unwrap() > 0, "{done}");
    let left = column(&relay.rows(&["log", "search"]), "ref");
    assert_eq!(left, [old.held.as_str()]);
    verified(relay);
    // And the search index was told.
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    let sql = "SELECT count(*) FROM forgotten";
    let forgotten: i64 = store.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(forgotten, 0);
}

#[test]
fn a_row_that_somebody_has_changed_is_left_to_be_found() {
    let old = Old::new();
    let relay = &old.relay;
    let number: ilbud::mail::Reference = old.delivered[0].parse().unwrap();
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    let sql = "UPDATE message SET sender = 'x@a.nodnett.test' WHERE reference = ?1";
    store.execute(sql, [number.number() as i64]).unwrap();
    set(relay, "pseudonymise_after = \"1ms\"");
    let complaint = relay.fails(1, &["log", "retention"]);
    assert!(
        complaint.contains("1 rows are not as they were written, and were left"),
        "{complaint}"
    );
    let complaint = relay.fails(1, &["log", "verify"]);
    assert!(complaint.contains("row changed: "), "{complaint}");
    assert!(complaint.contains(": message.sender\n"), "{complaint}");
}

#[test]
fn a_clock_that_is_far_ahead_deletes_nothing() {
    let old = Old::new();
    let relay = &old.relay;
    set(relay, "pseudonymise_after = \"90d\"\npurge_after = \"2y\"");
    relay.done(&["log", "retention"]);
    let store = Connection::open(relay.path("ilbud.db")).unwrap();
    // It was 2016 when the log was last looked at.
    let sql = "UPDATE retention SET looked_at = 1460000000000";
    store.execute(sql, []).unwrap();
    for arguments in [&["log", "retention"][..], &["log", "retention", "--plan"]] {
        let complaint = relay.fails(1, arguments);
        assert!(
            complaint.starts_with("ilbud: nothing is deleted from the log: by the clock it is "),
            "{complaint}"
        );
        assert!(complaint.contains("--clock-is-right"), "{complaint}");
    }
    relay.done(&["log", "retention", "--clock-is-right"]);
    relay.done(&["log", "retention", "--forget-pseudonyms"]);
    let said: Vec<_> = relay
        .rows(&["log", "access"])
        .into_iter()
        .filter(|it| it["command"] == "log retention")
        .map(|it| it["query"].clone())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for one in ["--clock-is-right", "--forget-pseudonyms"] {
        assert!(said.contains(&one.into()), "{said:?}");
    }
    relay.done(&["log", "retention"]);
    let row = &relay.rows(&["log", "search", &old.delivered[0]])[0];
    assert_eq!(row["subject"], SUBJECT);
}

#[test]
fn a_clock_that_is_not_believed_is_an_alarm_and_its_end_is_told() {
    let mut old = Old::new();
    set(&old.relay, "purge_after = \"2y\"");
    old.relay.done(&["log", "retention"]);
    let store = Connection::open(old.relay.path("ilbud.db")).unwrap();
    let sql = "UPDATE retention SET looked_at = 1460000000000";
    store.execute(sql, []).unwrap();
    drop(store);
    // Looked at each second.
    set(&old.relay, "purge_after = \"24s\"");
    old.relay.start();
    let relay = &old.relay;
    let mut tail = relay
        .command(&["log", "tail", "--limit", "100000", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut told = lines.filter_map(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let reason = event["reason"].as_str()?.to_owned();
        let kind = event["event"].as_str()?;
        matches!(kind, "alarm" | "all clear").then(|| format!("{kind}: {reason}"))
    });
    let alarm = told.next().unwrap();
    for part in [
        "alarm: nothing is deleted from the log: by the clock it is ",
        ", and the last that the log knows is 2016-04-07T",
        "ilbud log retention --clock-is-right",
    ] {
        assert!(alarm.contains(part), "{alarm}");
    }
    relay.done(&["log", "retention", "--clock-is-right"]);
    let clear = told.next().unwrap();
    assert!(
        clear.starts_with("all clear: the clock is believed again"),
        "{clear}"
    );
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test]
async fn a_clock_is_doubted_once_however_often_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        path: folder.path().join("ilbud.db"),
        keep_bodies: Duration::ZERO,
    };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&settings).unwrap());
    let retention = Retention {
        pseudonymise_after: None,
        purge_after: Some(Duration::from_secs(86_400)),
    };
    let mut keeper = Keeper::new(Arc::clone(&store), retention);
    let begin: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let days = |days: u64| begin.after(Duration::from_secs(86_400 * days));
    let note = |at| {
        let details = Details {
            reason: Some("seen".to_owned()),
            ..Details::default()
        };
        store.tell(at, EventKind::MeasureOpened, details)
    };
    note(begin).await.unwrap();
    // Nobody has ever looked: what is written by the wrong clock makes it no better.
    for _ in 0..3 {
        keeper.look(days(400)).await;
        note(days(400)).await.unwrap();
        keeper.look(days(401)).await;
    }
    keeper.look(days(1)).await;
    keeper.look(days(1)).await;
    keeper.look(days(400)).await;
    keeper.look(days(400)).await;
    let events = store.events_after(0, 1000).await.unwrap();
    let told: Vec<&str> = events
        .iter()
        .map(|it| it.event.as_str())
        .filter(|it| *it != "measure opened")
        .collect();
    assert_eq!(told, ["alarm", "all clear", "alarm"]);
}

/// One client, message after message, until the relay is gone or the time is over; how many were taken.
fn fill(port: u16, over: &AtomicBool, taken: &AtomicUsize) {
    let Ok(mut client) = Client::silent(port, &source("a")) else {
        return;
    };
    if client.reply().code != 220 || client.say("EHLO ws.test").code != 250 {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        let reply = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        match reply.code {
            250 => taken.fetch_add(1, Ordering::Relaxed),
            0 | 1 => return,
            _ => panic!("{reply}"),
        };
    }
}

#[test]
fn mail_flows_while_the_log_forgets_and_a_kill_9_is_no_harm() {
    let mut relay = Setup::from_a_to("maildir:mail/b")
        .settings(
            "[log]\npseudonymise_after = \"1s\"\npurge_after = \"2s\"\nsign_every = \"200ms\"",
        )
        .prepare();
    let taken = AtomicUsize::new(0);
    let mut purged = 0;
    for round in 0..3 {
        relay.start();
        let over = AtomicBool::new(false);
        let port = relay.port;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| fill(port, &over, &taken));
            }
            wait::until("rows that are gone", || {
                let store = Connection::open(relay.path("ilbud.db")).unwrap();
                let sql = "SELECT count(*) FROM blinded WHERE hash IS NOT NULL";
                let now: i64 = store.query_row(sql, [], |row| row.get(0)).unwrap_or(0);
                let has_grown = now > purged + 20;
                purged = now.max(purged);
                has_grown
            });
            if round == 1 {
                relay.kill();
            }
            over.store(true, Ordering::Relaxed);
        });
        if round == 1 {
            verified(&relay);
        } else {
            wait::until("delivery", || relay.queue_is_empty());
            assert!(relay.stop().success());
        }
    }
    // Nothing that was taken is lost, whatever the log knows of it by now.
    let delivered = relay.maildir("b", "vakt").len();
    let taken = taken.load(Ordering::Relaxed);
    assert!(delivered >= taken, "{delivered} of {taken}");
    wait::until("all of it to be old", || {
        relay.done(&["log", "retention"]);
        relay.rows(&["log", "search"]).is_empty()
    });
    let summary = verified(&relay);
    assert!(summary["purged"].as_u64().unwrap() > 60, "{summary}");
    assert_eq!(summary["notes"], serde_json::json!([]), "{summary}");
    assert_eq!(found(&relay, &["ws.test>", "vakt@a."]), [""; 0]);
}
