//! The routing table while the relay runs: each change is in the log, what waits follows the new table and
//! says by which rule, and a store that somebody broke by hand takes nothing down.

use std::io::{BufRead, BufReader};

use ilbud::mail::Reference;
use serde_json::Value;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, free_port, room};
use crate::wait;

const GARBAGE: &str = "[[room]\nid = ";

/// What somebody does to the store by hand.
pub fn by_hand(relay: &Relay, sql: &str) {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    store
        .busy_timeout(std::time::Duration::from_secs(20))
        .unwrap();
    store.execute_batch(sql).unwrap();
}

pub fn write_garbage(relay: &Relay) {
    by_hand(
        relay,
        &format!(
            "INSERT INTO revision (revision, at, by, summary, routes) SELECT max(revision) + 1, 1, 'hand', 'x', '{GARBAGE}' FROM revision"
        ),
    );
}

/// Events of the table, oldest first, as `log show` gives them.
fn told(relay: &Relay) -> Vec<Value> {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let sql = "SELECT reference FROM event WHERE kind IN ('alarm', 'all clear', 'routes changed') ORDER BY sequence";
    let mut statement = store.prepare(sql).unwrap();
    let numbers = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let references: Vec<i64> = numbers.map(Result::unwrap).collect();
    let shown = references.iter().map(|it| {
        let reference = Reference::from_number(it.unsigned_abs()).to_string();
        let mut rows = relay.rows(&["log", "show", &reference]);
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    });
    shown.collect()
}

fn words(events: &[Value]) -> Vec<String> {
    let told = |it: &Value| format!("{} {}", it["event"].as_str().unwrap(), it["revision"]);
    events.iter().map(told).collect()
}

fn wait_for(relay: &Relay, expected: &[&str]) -> Vec<Value> {
    wait::until("what is told", || {
        words(&told(relay)).len() >= expected.len()
    });
    let told = told(relay);
    assert_eq!(words(&told), expected, "{told:?}");
    told
}

fn two_rooms() -> String {
    ["a", "b"]
        .map(|it| room(it, &format!("maildir:mail/{it}"), ""))
        .concat()
}

fn sent(relay: &Relay) -> String {
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

/// It takes and delivers mail, by this revision as soon as it is in force.
fn carries_mail_by(relay: &Relay, revision: u64) {
    let reference = wait::find("mail by the revision", || {
        let reference = sent(relay);
        (relay.story(&reference)[0]["revision"] == revision).then_some(reference)
    });
    relay.expect_events(&reference, &["accepted", "delivered"]);
    for row in relay.story(&reference) {
        assert_eq!(row["revision"], revision, "{row}");
    }
}

#[test]
fn a_broken_revision_leaves_the_last_good_one_in_force_with_an_alarm() {
    let mut relay = Setup::three_rooms().start();
    relay.apply(&two_rooms());
    write_garbage(&relay);
    let expected = ["routes changed 1", "routes changed 2", "alarm 2"];
    let alarm = wait_for(&relay, &expected).remove(2);
    let reason = alarm["reason"].as_str().unwrap();
    for part in [
        "routing table, revision 3: line 1: ",
        "; revision 2 stays in force: put a good table in force with: ilbud route apply FILE, or ilbud route revert 2",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    carries_mail_by(&relay, 2);
    assert!(
        relay
            .log()
            .contains("the last good one, revision 2, stays in force"),
        "{}",
        relay.log()
    );
    for command in [&["check"][..], &["route", "csv", "export", "rooms"]] {
        let complaint = relay.fails(1, command);
        for part in [
            "revision 3: line 1: ",
            "; put a good table in force with: ilbud route apply FILE, or ilbud route revert 2",
        ] {
            assert!(complaint.contains(part), "{part}: {complaint}");
        }
    }
    assert!(relay.is_running());
    // What is explained is what the relay does.
    let explained = relay.run(&["route", "explain", &vakt("a"), &vakt("b"), "--json"]);
    let row: Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(
        (&row["decision"], &row["revision"]),
        (&"accept".into(), &2.into())
    );
    let complaint = String::from_utf8(explained.stderr).unwrap();
    assert!(
        complaint.contains("the relay goes by revision 2, and so does this; put a good table"),
        "{complaint}"
    );
    // What it says to do mends it.
    relay.done(&["route", "revert", "2"]);
    let expected = [&expected[..], &["routes changed 4", "all clear 4"]].concat();
    let told = wait_for(&relay, &expected);
    let clear = told[4]["reason"].as_str().unwrap();
    assert_eq!(
        clear,
        "the routing table can be read again: revision 4 is in force"
    );
    let summary = told[3]["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("in the place of revision 3, which cannot be read: "),
        "{summary}"
    );
    carries_mail_by(&relay, 4);
    assert!(relay.run(&["check"]).status.success());
}

#[test]
fn what_is_no_text_at_all_is_no_table_either() {
    let mut relay = Setup::three_rooms().start();
    by_hand(
        &relay,
        "UPDATE revision SET routes = CAST(x'ff00fe' AS TEXT)",
    );
    let alarm = wait_for(&relay, &["routes changed 1", "alarm 1"]).remove(1);
    let reason = alarm["reason"].as_str().unwrap();
    let end = "; revision 1 stays in force only until the relay stops: no revision can be read; put a good table in force with: ilbud route apply FILE";
    assert!(reason.ends_with(end), "{reason}");
    assert!(relay.is_running());
    carries_mail_by(&relay, 1);
    relay.apply(&two_rooms());
    wait_for(
        &relay,
        &[
            "routes changed 1",
            "alarm 1",
            "routes changed 2",
            "all clear 2",
        ],
    );
}

#[test]
fn what_a_hand_breaks_and_mends_is_seen_whatever_its_length_and_number() {
    let relay = Setup::three_rooms().start();
    let swap = |one: &str, other: &str| {
        by_hand(
            &relay,
            &format!("UPDATE revision SET routes = replace(routes, '{one}', '{other}')"),
        );
    };
    let expected = ["routes changed 1", "alarm 1", "all clear 1"];
    wait_for(&relay, &expected[..1]);
    swap("[[room]]", "[[roam]]");
    let alarm = wait_for(&relay, &expected[..2]).remove(1);
    let reason = alarm["reason"].as_str().unwrap();
    assert!(reason.contains("unknown key \"roam\""), "{reason}");
    swap("[[roam]]", "[[room]]");
    wait_for(&relay, &expected);
    carries_mail_by(&relay, 1);
    // Not only for as long as there is an alarm.
    swap("[[room]]", "[[roam]]");
    wait_for(&relay, &[&expected[..], &["alarm 1"]].concat());
}

#[test]
fn a_relay_starts_on_the_newest_revision_that_can_be_read() {
    let mut relay = Setup::three_rooms().start();
    relay.apply(&two_rooms());
    assert!(relay.stop().success());
    write_garbage(&relay);
    write_garbage(&relay);
    std::fs::remove_file(relay.path("serve.log")).unwrap();
    relay.start();
    let line = "revision 2 is in force: put a good table in force with: ilbud route apply FILE, or ilbud route revert 2";
    assert!(relay.log().contains(line), "{}", relay.log());
    assert!(
        relay.log().contains("revision 4: line 1: "),
        "{}",
        relay.log()
    );
    let expected = ["routes changed 1", "routes changed 2", "alarm 2"];
    wait_for(&relay, &expected);
    carries_mail_by(&relay, 2);
    relay.apply(&two_rooms());
    wait_for(
        &relay,
        &[&expected[..], &["routes changed 5", "all clear 5"]].concat(),
    );
    carries_mail_by(&relay, 5);
}

#[test]
fn what_nobody_confirmed_or_approved_is_not_gone_back_to() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let only = |letter: &str| room(letter, "maildir:mail/x", "");
    std::fs::write(relay.path("new.toml"), only("a")).unwrap();
    relay.done(&["route", "apply", "new.toml", "--confirm", "1h"]);
    // As if its time had passed.
    by_hand(&relay, "UPDATE confirmation SET since = 1, until = 2");
    relay.done(&["route", "history"]);
    let told = told(&relay);
    assert_eq!(
        words(&told),
        ["routes changed 1", "routes changed 2", "routes changed 3"]
    );
    assert_eq!(told[2]["by"], "ilbud");
    assert_eq!(
        told[2]["reason"],
        "nobody has confirmed revision 2: back to revision 1"
    );
    by_hand(
        &relay,
        &format!("UPDATE revision SET routes = '{GARBAGE}' WHERE revision = 3"),
    );
    let mut relay = relay;
    relay.start();
    carries_mail_by(&relay, 1);
}

#[test]
fn a_relay_without_any_table_that_can_be_read_says_so_and_ends() {
    let mut relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    by_hand(&relay, &format!("UPDATE revision SET routes = '{GARBAGE}'"));
    relay.launch();
    assert_eq!(relay.ended().code(), Some(1));
    let log = relay.log();
    let line = "no revision can be read; put a good table in force with: ilbud route apply FILE";
    assert!(
        log.contains("revision 1: line 1: ") && log.contains(line),
        "{log}"
    );
    assert!(relay.fails(1, &["check"]).contains(line));
    relay.done(&["route", "apply", "routes.toml"]);
    relay.start();
    carries_mail_by(&relay, 2);
}

#[test]
fn each_change_of_the_table_is_an_event() {
    let relay = Setup::three_rooms()
        .settings("[routes]\napproval = true")
        .start();
    let first = wait_for(&relay, &["routes changed 1"]).remove(0);
    assert!(
        first["reason"]
            .as_str()
            .unwrap()
            .starts_with("imported from "),
        "{first}"
    );
    std::fs::write(relay.path("new.toml"), two_rooms()).unwrap();
    relay.done(&[
        "route",
        "apply",
        "new.toml",
        "--reason",
        "Rom C er lagt ned",
    ]);
    // It waits, and nothing has changed yet.
    assert_eq!(words(&told(&relay)), ["routes changed 1"]);
    by_hand(
        &relay,
        "UPDATE revision SET by = 'somebody else' WHERE revision = 2",
    );
    relay.done(&["route", "approve", "2"]);
    let change = wait_for(&relay, &["routes changed 1", "routes changed 2"]).remove(1);
    assert_eq!(change["reason"], "Rom C er lagt ned");
    assert_eq!(change["summary"], "1 room removed (room-c)");
    assert!(
        change["by"].is_string() && change["by"] != "somebody else",
        "{change}"
    );
    carries_mail_by(&relay, 2);
    // No difference is no change.
    relay.done(&["route", "apply", "new.toml"]);
    assert_eq!(told(&relay).len(), 2);
}

#[test]
fn a_change_is_seen_by_who_follows_the_log() {
    let relay = Setup::three_rooms().start();
    let mut tail = std::process::Command::new(env!("CARGO_BIN_EXE_ilbud"))
        .args(["log", "tail", "--json", "--config"])
        .arg(relay.path("ilbud.toml"))
        .current_dir(relay.home())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    relay.apply(&two_rooms());
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let found = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let found = { found }.find(|it| it["event"] == "routes changed" && it["revision"] == 2);
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(found.unwrap()["summary"], "1 room removed (room-c)");
}

#[test]
fn what_was_accepted_before_follows_the_new_table_and_says_by_which_rule() {
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .delivery("retry = [\"1h\"]")
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reference = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &message)
        .reference();
    wait::until("the first attempt", || {
        relay.events(&reference) == ["accepted", "deferred"]
    });
    let redirect = "[[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\nuntil = 2099-01-01T00:00:00Z\nreason = \"Flytting\"\n";
    relay.apply(&[two_rooms(), redirect.to_owned()].concat());
    relay.expect_events(&reference, &["accepted", "deferred", "delivered"]);
    let story = relay.story(&reference);
    assert_eq!(column(&story, "revision"), ["1", "1", "2"]);
    assert_eq!(
        column(&story, "rule"),
        [
            "room \"room-b\" accepts from any; recipients are not limited",
            "room \"room-b\" has these next hops",
            "room \"room-b\" is redirected to \"room-a\" until 2099-01-01T00:00:00.000Z: Flytting",
        ]
    );
}

#[test]
fn what_waits_for_a_room_that_was_removed_says_so_with_the_revision() {
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port())).start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    let reference = reply.reference();
    relay.done(&["route", "room", "remove", "room-b"]);
    let removed = || {
        let story = relay.story(&reference);
        let mut rows = story.into_iter();
        rows.find(|row| row["event"] == "deferred" && row["revision"] == 2)
    };
    let row = wait::find("an attempt by the new table", removed);
    assert_eq!(row["rule"], "room room-b is no longer in the routing table");
}
