//! Somebody is in the way while the log forgets, or wants it to forget too much, too early or never.

use std::collections::BTreeSet;
use std::fs;

use rusqlite::Connection;
use serde_json::Value;

use crate::client::{next_id, vakt};
use crate::log_privacy::{FILE, SUBJECT, message, send};
use crate::relay::{Relay, Setup, column};
use crate::wait;

const FILES: [&str; 5] = [
    "ilbud.db",
    "ilbud.db-wal",
    "ilbud.db-heads",
    "ilbud.db-search",
    "ilbud.db-search-wal",
];

/// Which of these words stand in which file of the store.
fn left(relay: &Relay, words: &[String]) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for name in FILES {
        let octets = fs::read(relay.path(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&octets).to_lowercase();
        for word in words {
            if text.contains(&word.to_lowercase()) {
                left.insert(format!("{word} in {name}"));
            }
        }
    }
    left
}

fn set(relay: &Relay, log: &str) {
    let file = relay.path("ilbud.toml");
    let settings = fs::read_to_string(&file).unwrap();
    let settings = settings.split("\n[log]").next().unwrap().to_owned();
    fs::write(&file, format!("{settings}\n[log]\n{log}\n")).unwrap();
}

fn assert_holds(relay: &Relay) {
    let output = relay.run(&["log", "verify", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["findings"], 0, "{text}");
}

/// Every other message is delivered, and goes; those between wait, and stay. All have words that no other has.
#[test]
fn what_goes_leaves_nothing_behind_among_what_stays() {
    let mut relay = Setup::from_a_to("maildir:mail/b")
        .room("c", "smtp://127.0.0.1:9")
        .delivery("retry = [\"1h\"]")
        .start();
    let word = |number: u64, of: &str| {
        // Spread over the alphabet, so that it is put between others.
        format!("{of}{:016x}q", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    let mut client = relay.client("a");
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for number in 1..=300 {
        let to = if number % 2 == 0 { "c" } else { "b" };
        let words = ["emne", "fil", "id"].map(|it| word(number, it));
        let message = format!(
            "From: {}\r\nSubject: {} {} igjen\r\nMessage-ID: <{}.{}@ws.test>\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; name=\"{}.txt\"\r\n\
             Content-Disposition: attachment; filename=\"{}.txt\"\r\n\r\nhei\r\n",
            vakt("a"),
            words[0],
            "fyll ".repeat((number % 17) as usize),
            words[2],
            next_id(),
            words[1],
            words[1],
        );
        client.send(&vakt("a"), &[&vakt(to)], message.as_bytes());
        if to == "b" {
            going.extend(words)
        } else {
            staying.extend(words)
        }
    }
    wait::until("delivery", || {
        relay
            .rows(&["queue", "list"])
            .iter()
            .all(|it| it["room"] == "room-c" && it["state"] == "deferred")
    });
    wait::until("an index", || {
        !relay
            .rows(&[
                "log",
                "search",
                "--subject",
                going.last().map_or("", String::as_str),
            ])
            .is_empty()
            || !relay
                .rows(&["log", "search", "--subject", &going[going.len() - 3]])
                .is_empty()
    });
    assert!(relay.stop().success());
    assert!(left(&relay, &going).len() > 300);
    set(&relay, "purge_after = \"1ms\"");
    relay.start();
    wait::until("what is old to go", || {
        relay
            .rows(&["log", "search", "--room", "room-b", "--status", "delivered"])
            .is_empty()
    });
    wait::until("nothing of it to be left", || {
        left(&relay, &going).is_empty()
    });
    assert!(relay.stop().success());
    assert_eq!(left(&relay, &going), BTreeSet::new());
    assert!(left(&relay, &staying).len() >= staying.len());
    assert_holds(&relay);
}

/// Somebody reads for as long as the log forgets, and the write-ahead logs cannot be cut.
#[test]
fn what_somebody_was_in_the_way_of_goes_at_the_next_look() {
    let mut relay = Setup::from_a_to("maildir:mail/b").start();
    for _ in 0..3 {
        send(&relay, &message(SUBJECT, FILE, "notat"));
    }
    wait::until("delivery", || relay.queue_is_empty());
    wait::until("an index", || {
        relay.rows(&["log", "search", "nordmann"]).len() == 3
    });
    assert!(relay.stop().success());
    let words = ["nordmann".to_owned(), "epikrise".to_owned()];
    let readers =
        ["ilbud.db", "ilbud.db-search"].map(|it| Connection::open(relay.path(it)).unwrap());
    for reader in &readers {
        reader.execute_batch("BEGIN").unwrap();
        let _: i64 = reader
            .query_row("SELECT count(*) FROM sqlite_schema", [], |it| it.get(0))
            .unwrap();
    }
    set(&relay, "purge_after = \"1ms\"");
    relay.start();
    wait::until("what is old to go", || {
        relay.rows(&["log", "search"]).is_empty()
    });
    assert!(
        !left(&relay, &words).is_empty(),
        "they were in the way of nothing"
    );
    for reader in &readers {
        reader.execute_batch("COMMIT").unwrap();
    }
    wait::until("nothing of it to be left", || {
        left(&relay, &words).is_empty()
    });
    drop(readers);
    assert!(relay.stop().success());
    assert_eq!(left(&relay, &words), BTreeSet::new());
    assert_holds(&relay);
}

#[test]
fn what_was_blocked_is_forgotten_too() {
    let mut relay = Setup::from_a_to("maildir:mail/b").start();
    for (flag, value) in [
        ("--subject", "kari normann"),
        ("--sender", "kari@normann.test"),
        ("--file", "normann*.scr"),
    ] {
        relay.done(&[
            "outbreak",
            "block",
            flag,
            value,
            "--reason",
            "om Normann",
            "--for",
            "1h",
        ]);
    }
    relay.done(&["outbreak", "block", "--subject", "varer ved", "--for", "1h"]);
    for number in ["1", "2", "3"] {
        relay.done(&["outbreak", "end", number]);
    }
    let words = ["normann".to_owned()];
    assert!(relay.stop().success());
    for (how, after) in [
        ("pseudonymise_after = \"1ms\"", "pseudonymised"),
        ("purge_after = \"1ms\"", "purged"),
    ] {
        set(&relay, how);
        relay.done(&["log", "retention"]);
        assert_eq!(left(&relay, &words), BTreeSet::new(), "{after}");
        let listed = relay.rows(&["outbreak", "list", "--all"]);
        assert_eq!(listed.len(), 4, "{listed:?}");
        relay.done(&["outbreak", "list", "--all"]);
    }
    // What is in force is let alone.
    let listed = relay.done(&["outbreak", "list"]);
    assert!(listed.contains("varer ved"), "{listed}");
    assert_holds(&relay);
}

#[test]
fn where_no_subjects_are_kept_none_is_kept_of_a_search_either() {
    let relay = Setup::from_a_to("maildir:mail/b")
        .settings("[log]\nkeep_subjects = false")
        .start();
    for words in [
        &["emne:\"Ola Nordmann\""][..],
        &["hamar", "subject:nordmann", "vedlegg:nordmann.txt"],
        &["nordmann.pdf"],
        &["emne:", "nordmann"],
        &["fil:", "\"ola", "nordmann\""],
        &["--subject", "nordmann", "--attachment", "nordmann"],
    ] {
        relay.run(&[&["log", "search"], words].concat());
        relay.run(&[&["log", "export"], words].concat());
    }
    let told = relay.rows(&["log", "access"]);
    assert!(told.len() >= 12, "{told:?}");
    let told = Value::from(told).to_string();
    assert!(!told.to_lowercase().contains("nordmann"), "{told}");
    assert!(told.contains("hamar emne:••• vedlegg:•••"), "{told}");
}

#[test]
fn odd_ages_are_mistakes_and_not_the_end_of_the_log() {
    let mut relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || relay.queue_is_empty());
    assert!(relay.stop().success());
    for wrong in [
        "purge_after = \"0s\"",
        "pseudonymise_after = \"0ms\"",
        "purge_after = \"-1d\"",
        "purge_after = \"\"",
        "purge_after = 7",
        "purge_after = \"1d\"\npseudonymise_after = \"2d\"",
        "purge_after = \"1d\"\npseudonymise_after = \"1d\"",
        "purge_after = \"99999999999999999999y\"",
        "purge_after = \"1e3d\"",
        "purge_after = \"NaN\"",
    ] {
        set(&relay, wrong);
        let complaint = relay.fails(1, &["log", "retention"]);
        assert!(complaint.contains("_after"), "{wrong}: {complaint}");
    }
    for endless in [
        "purge_after = \"200y\"",
        "pseudonymise_after = \"100000d\"\npurge_after = \"5000y\"",
    ] {
        set(&relay, endless);
        relay.done(&["log", "retention", "--plan"]);
        let done = &relay.rows(&["log", "retention"])[0];
        assert_eq!(
            (&done["purged"], &done["pseudonymised"]),
            (&0.into(), &0.into()),
            "{endless}: {done}"
        );
    }
    set(&relay, "");
    assert_eq!(
        relay.rows(&["log", "search", &reference])[0]["subject"],
        SUBJECT
    );
}

/// All rows that there are when it begins and that stay come out, each once, whatever goes meanwhile.
#[test]
fn an_export_goes_on_while_the_log_forgets() {
    let mut relay = Setup::from_a_to("maildir:mail/b")
        .room("c", "smtp://127.0.0.1:9")
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    let mut stays = Vec::new();
    for number in 0..60 {
        let to = if number % 3 == 0 { "c" } else { "b" };
        let reply = client.send(&vakt("a"), &[&vakt(to)], &message(SUBJECT, FILE, "notat"));
        if to == "c" {
            stays.push(reply.reference());
        }
    }
    wait::until("delivery", || {
        relay
            .rows(&["queue", "list"])
            .iter()
            .all(|it| it["state"] == "deferred" && it["room"] == "room-c")
    });
    assert!(relay.stop().success());
    set(&relay, "purge_after = \"1ms\"");
    std::thread::scope(|scope| {
        let forgetting = scope.spawn(|| {
            [
                relay.run(&["log", "retention"]),
                relay.run(&["log", "retention"]),
            ]
        });
        let other = scope.spawn(|| relay.run(&["log", "retention"]));
        for _ in 0..5 {
            let rows = relay.rows(&["log", "export"]);
            let found: Vec<String> = column(&rows, "ref")
                .into_iter()
                .filter(|it| stays.contains(it))
                .collect();
            assert_eq!(found, stays);
        }
        for done in forgetting
            .join()
            .unwrap()
            .iter()
            .chain([&other.join().unwrap()])
        {
            assert!(done.status.success(), "{done:?}");
        }
    });
    assert_eq!(column(&relay.rows(&["log", "export"]), "ref"), stays);
    assert_holds(&relay);
}
