//! How the engines stand, from outside: alarms in the log, `scan status`, `scan test` and `check`.

use ilbud::mail::Reference;
use serde_json::Value;

use crate::clamav::Clamd;
use crate::client::{letter, vakt};
use crate::fake_scanner::FakeScanner;
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

fn version(time: &str) -> String {
    format!("ClamAV 1.4.3/27600/{time}")
}

/// One engine, tested every second.
fn tested(scanner: &FakeScanner, more: &str) -> Setup {
    let settings = format!("[scan]\nself_test = \"1s\"\n{more}\n{}", scanner.engine());
    Setup::three_rooms().settings(&settings)
}

fn status(relay: &Relay) -> (Value, Value) {
    let mut rows = relay.rows(&["scan", "status"]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    let summary = rows.pop().unwrap();
    (rows.pop().unwrap(), summary)
}

/// Waits until the engine stands so in the eyes of the running relay.
fn wait_for(relay: &Relay, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::find(what, || {
        let (engine, summary) = status(relay);
        (!summary["seen_at"].is_null() && holds(&engine)).then_some(engine)
    })
}

/// What the log says of engines, oldest first: the reference, and `event: reason`.
fn rows_told(relay: &Relay) -> Vec<(String, String)> {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let mut statement = store
        .prepare(
            "SELECT reference, kind || ': ' || json_extract(details, '$.reason') FROM event
             WHERE kind IN ('alarm', 'all clear') ORDER BY rowid",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let number: i64 = row.get(0)?;
        Ok((
            Reference::from_number(number.unsigned_abs()).to_string(),
            row.get(1)?,
        ))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn told(relay: &Relay) -> Vec<String> {
    rows_told(relay).into_iter().map(|(_, it)| it).collect()
}

fn wait_to_be_told(relay: &Relay, expected: &[&str]) {
    wait::until(&format!("{expected:?}"), || {
        told(relay).len() >= expected.len()
    });
    let found = told(relay);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}, not {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
}

#[test]
fn an_engine_that_is_down_is_an_alarm_and_a_row_when_it_is_back() {
    let mut scanner = FakeScanner::start();
    scanner.version("ClamAV 1.4.3");
    let relay = tested(&scanner, "").start();
    let found = |it: &Value| it["self_test"] == "found";
    let engine = wait_for(&relay, "a self-test", found);
    assert_eq!(engine["up"], true);
    scanner.refuse();
    let down = wait_for(&relay, "the engine to be down", |it| it["up"] == false);
    assert!(
        down["reason"].is_string() && down["since"].is_string(),
        "{down}"
    );
    scanner.listen();
    wait_for(&relay, "the engine to be up", |it| it["up"] == true);
    let expected = [
        "alarm: signature age unknown",
        "alarm: engine down",
        "all clear: engine up",
    ];
    wait_to_be_told(&relay, &expected);
}

#[test]
fn an_engine_that_misses_eicar_is_an_alarm_and_scans_on() {
    let scanner = FakeScanner::start();
    scanner.version("ClamAV 1.4.3");
    scanner.find_nothing();
    let relay = tested(&scanner, "").start();
    wait_for(&relay, "a self-test", |it| it["self_test"] == "clean");
    let sent = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &sent);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let complaint = relay.fails(1, &["scan", "test"]);
    assert!(
        complaint.contains("engine \"clamd\" finds EICAR clean"),
        "{complaint}"
    );
    let before = scanner.self_tests();
    wait::until("more tests", || scanner.self_tests() > before + 2);
    scanner.find(crate::fake_scanner::EICAR, "Eicar");
    wait_for(&relay, "a self-test", |it| it["self_test"] == "found");
    relay.done(&["scan", "test"]);
    let expected = [
        "alarm: signature age unknown",
        "alarm: self-test: EICAR came back clean",
        "all clear: self-test: EICAR found",
    ];
    wait_to_be_told(&relay, &expected);
}

/// As clamd is without `AlertExceedsMax`: what it does not look into is clean to it.
#[test]
fn an_engine_that_is_clean_where_it_does_not_look_is_warned_of() {
    let scanner = FakeScanner::start();
    scanner.version("ClamAV 1.4.3");
    scanner.be_blind(true);
    let relay = tested(&scanner, "").start();
    let blind = |it: &Value| it["self_test"] == "found" && it["blind"] == true;
    wait_for(&relay, "a self-test", blind);
    let remedy = "warning: engine \"clamd\": EICAR in many archives came back clean although it \
                  was not looked into; set \"AlertExceedsMax yes\" in its clamd.conf";
    for command in [&["check"][..], &["scan", "test"]] {
        let output = relay.run(command);
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && words.contains(remedy), "{words}");
    }
    let before = scanner.self_tests();
    wait::until("more tests", || scanner.self_tests() > before + 2);
    scanner.be_blind(false);
    wait_for(&relay, "a self-test", |it| it["blind"] == false);
    let words = String::from_utf8(relay.run(&["check"]).stderr).unwrap();
    assert!(!words.contains("AlertExceedsMax"), "{words}");
    // It is no event of the log: that is how somebody set it up.
    wait_to_be_told(&relay, &["alarm: signature age unknown"]);
}

#[test]
fn a_clamd_without_alert_exceeds_max_is_seen_through() {
    if !peer::all_here(&["clamd"]) {
        return;
    }
    for (more, is_warned) in [("", true), ("AlertExceedsMax yes\n", false)] {
        let clamd = Clamd::with(more);
        let engine = format!(
            "[[scan.engine]]\nkind = \"clamd\"\naddress = \"{}\"\n",
            clamd.socket().display()
        );
        let relay = Setup::three_rooms().settings(&engine).start();
        for command in [&["check"][..], &["scan", "test"]] {
            let output = relay.run(command);
            let words = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{more}{words}");
            let warning = words.contains("set \"AlertExceedsMax yes\" in its clamd.conf");
            assert_eq!(warning, is_warned, "{more}{words}");
        }
    }
}

#[test]
fn old_signatures_are_an_alarm_once_until_they_are_fresh() {
    let scanner = FakeScanner::start();
    scanner.version(&version("Mon Nov 23 08:00:00 2020"));
    let relay = tested(&scanner, "").start();
    let engine = wait_for(&relay, "a self-test", |it| it["self_test"] == "found");
    assert_eq!(engine["signatures"], "27600");
    assert!(engine["signature_age_s"].as_u64().unwrap() > 5 * 365 * 86_400);
    let before = scanner.versions();
    wait::until("more looks", || scanner.versions() > before + 2);
    wait_to_be_told(&relay, &["alarm: signatures too old"]);
    let shown = relay.rows(&["log", "show", &rows_told(&relay)[0].0]);
    assert_eq!(column(&shown, "event"), ["alarm"]);
    assert_eq!(column(&shown, "engine"), ["clamd"]);

    let warned = relay.run(&["check"]);
    let words = String::from_utf8(warned.stderr).unwrap();
    assert!(
        words.contains("warning: engine \"clamd\": its signatures are"),
        "{words}"
    );
}

#[test]
fn signatures_of_tomorrow_are_of_unknown_age() {
    let scanner = FakeScanner::start();
    scanner.version(&version("Mon Nov 23 08:00:00 2099"));
    let relay = tested(&scanner, "").start();
    let engine = wait_for(&relay, "a self-test", |it| it["self_test"] == "found");
    assert!(engine["signature_age_s"].is_null(), "{engine}");
    let before = scanner.versions();
    wait::until("more looks", || scanner.versions() > before + 2);
    wait_to_be_told(&relay, &["alarm: signature age unknown"]);
}

#[test]
fn without_a_relay_the_engines_are_asked() {
    let mut scanner = FakeScanner::start();
    let relay = tested(&scanner, "").prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let (engine, summary) = status(&relay);
    assert_eq!(engine["up"], true, "{engine}");
    assert_eq!(engine["version"], "ClamAV 1.4.3");
    assert!(
        summary["seen_at"].is_null() && summary["queue"] == 0,
        "{summary}"
    );
    assert!(relay.done(&["check"]).contains("All is well."));
    scanner.refuse();
    let (engine, _) = status(&relay);
    assert_eq!(engine["up"], false, "{engine}");
    let complaint = relay.fails(1, &["check"]);
    assert!(
        complaint.contains("engine \"clamd\" cannot scan: "),
        "{complaint}"
    );
    let complaint = relay.fails(1, &["scan", "test"]);
    assert!(
        complaint.contains("engine \"clamd\" does not find EICAR: "),
        "{complaint}"
    );
}

#[test]
fn what_waits_for_its_scan_is_counted() {
    let mut scanner = FakeScanner::start();
    let relay = tested(&scanner, "").start();
    scanner.refuse();
    let sent = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &sent);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let (_, summary) = status(&relay);
    assert_eq!(summary["queue"], 1, "{summary}");
    assert_eq!(summary["urgent"], 0);
    assert!(summary["oldest_at"].is_string());
    scanner.listen();
    relay.expect_events(&reply.reference(), &["accepted", "scanned", "delivered"]);
    assert_eq!(status(&relay).1["queue"], 0);
}

#[test]
fn that_there_is_no_engine_is_said_only_where_there_is_none() {
    let scanner = FakeScanner::start();
    let said = |relay: &Relay| String::from_utf8(relay.run(&["check"]).stderr).unwrap();
    let without = Setup::three_rooms().start();
    assert!(without.log().contains("only the built-in rules scan"));
    assert!(said(&without).contains("only the built-in rules scan"));
    let with = tested(&scanner, "").start();
    assert!(!with.log().contains("only the built-in rules scan"));
    assert!(with.log().contains("Messages are scanned by clamd."));
    assert!(!said(&with).contains("only the built-in rules scan"));
}

#[test]
fn real_engines_find_the_test_file() {
    if !peer::all_here(&["clamd", "clamscan"]) {
        return;
    }
    let clamd = Clamd::start();
    let signatures = clamd.socket().with_file_name("signatures");
    let settings = format!(
        "[[scan.engine]]\nkind = \"clamd\"\naddress = \"{}\"\n\
         [[scan.engine]]\nkind = \"command\"\nname = \"clamscan\"\n\
         command = [\"clamscan\", \"--no-summary\", \"--database={}\", \"{{files}}\"]\n\
         infected = [1]\ndown = [2]\nversion = [\"clamscan\", \"--version\"]\n",
        clamd.socket().display(),
        signatures.display(),
    );
    let relay = Setup::three_rooms().settings(&settings).prepare();
    let rows = relay.rows(&["scan", "test"]);
    assert_eq!(column(&rows, "engine"), ["clamd", "clamscan"]);
    // This clamscan lacks --alert-exceeds-max.
    assert_eq!(column(&rows, "self_test"), ["found", "found"]);
    assert_eq!(column(&rows, "blind"), ["false", "true"]);
    let rows = relay.rows(&["scan", "status"]);
    assert_eq!(column(&rows[..2], "up"), ["true", "true"], "{rows:?}");
}
