//! A change of the table that is taken back unless it is confirmed, and one that a second person approves.

use std::process::Output;
use std::time::Duration;

use ilbud::mail::Timestamp;
use serde_json::Value;

use crate::client::vakt;
use crate::clock_steps::Clock;
use crate::peer::{self, all_here};
use crate::relay::{Relay, Setup, room};
use crate::wait;

const APPROVAL: &str = "[routes]\napproval = true\n";
const HOUR: i64 = 3600;

fn table(letters: &str) -> String {
    let one = |it: char| room(&it.to_string(), &format!("maildir:mail/{it}"), "");
    letters.chars().map(one).collect()
}

fn write(relay: &Relay, letters: &str) {
    std::fs::write(relay.path("new.toml"), table(letters)).unwrap();
}

/// Applies the rooms of `letters`, with these options.
fn apply(relay: &Relay, letters: &str, options: &[&str]) -> String {
    write(relay, letters);
    relay.done(&[&["route", "apply", "new.toml"], options].concat())
}

fn takes(relay: &Relay, letter: &str) -> bool {
    let mut client = relay.client("a");
    client.envelope(&vakt("a"), &[&vakt(letter)], "").is_none()
}

fn history(relay: &Relay) -> Vec<Value> {
    relay.rows(&["route", "history"])
}

/// `revision state` of each, newest first.
fn standing(relay: &Relay) -> Vec<String> {
    let told = |it: &Value| format!("{} {}", it["revision"], it["state"].as_str().unwrap());
    history(relay).iter().map(told).collect()
}

fn exported(relay: &Relay) -> String {
    relay.done(&["route", "export"])
}

#[test]
fn what_is_confirmed_stays() {
    let relay = Setup::three_rooms().start();
    let told = apply(&relay, "ab", &["--confirm", "2s"]);
    assert!(told.contains("Revision 2 is in force"), "{told}");
    assert!(
        told.contains("Revision 1 comes back at ") && told.contains("ilbud route confirm"),
        "{told}"
    );
    assert_eq!(standing(&relay), ["2 unconfirmed", "1 past"]);
    assert!(history(&relay)[0]["until"].is_string());
    assert_eq!(
        relay.done(&["route", "confirm"]),
        "Revision 2 stays in force.\n"
    );
    let said = relay.fails(1, &["route", "confirm"]);
    assert!(said.contains("no revision waits"), "{said}");
    // A later change that is taken back shows that the time of the first is long over.
    apply(&relay, "abcd", &["--confirm", "3s"]);
    wait::until("the later one is taken back", || {
        standing(&relay).first().map(String::as_str) == Some("4 in force")
    });
    assert_eq!(
        standing(&relay),
        ["4 in force", "3 past", "2 past", "1 past"]
    );
    assert_eq!(exported(&relay), relay.done(&["route", "show", "2"]));
    assert!(!takes(&relay, "c"));
}

#[test]
fn what_nobody_confirms_is_taken_back_in_the_running_relay() {
    let relay = Setup::three_rooms().start();
    let before = exported(&relay);
    apply(&relay, "ab", &["--confirm", "3s"]);
    wait::until("in force", || !takes(&relay, "c"));
    wait::until("taken back", || takes(&relay, "c"));
    assert_eq!(exported(&relay), before);
    let newest = &history(&relay)[0];
    assert_eq!(newest["by"], "ilbud");
    assert_eq!(
        newest["reason"],
        "nobody has confirmed revision 2: back to revision 1"
    );
    assert_eq!(newest["summary"], "1 room added (room-c)");
    assert_eq!(standing(&relay), ["3 in force", "2 past", "1 past"]);
}

/// Waits until the revision in force may no longer be confirmed, without a command that would look.
fn let_its_time_pass(relay: &Relay) {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let until: i64 = store
        .query_row("SELECT max(until) FROM confirmation", [], |row| row.get(0))
        .unwrap();
    wait::until("its time is over", || Timestamp::now().as_millis() > until);
}

#[test]
fn what_nobody_confirmed_is_taken_back_by_the_next_start() {
    let mut relay = Setup::three_rooms().start();
    apply(&relay, "ab", &["--confirm", "1s"]);
    relay.kill();
    let_its_time_pass(&relay);
    relay.start();
    // Never a moment with the table that was not confirmed.
    assert!(takes(&relay, "c"));
    assert_eq!(standing(&relay), ["3 in force", "2 past", "1 past"]);
}

#[test]
fn where_no_relay_runs_the_next_command_takes_it_back() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let before = exported(&relay);
    apply(&relay, "ab", &["--confirm", "1s"]);
    let_its_time_pass(&relay);
    let output = relay.run(&["route", "confirm"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("nobody has confirmed revision 2 in time: the table of revision 1 is in force again, as revision 3"),
        "{said}"
    );
    assert!(said.contains("no revision waits"), "{said}");
    assert_eq!(exported(&relay), before);
}

#[test]
fn a_whole_table_over_an_unconfirmed_one_stays() {
    let relay = Setup::three_rooms().start();
    apply(&relay, "ab", &["--confirm", "1s"]);
    apply(&relay, "abd", &[]);
    let_its_time_pass(&relay);
    // A later one whose time is up at the same table shows that the relay has looked.
    apply(&relay, "abde", &["--confirm", "1s"]);
    wait::until("the last one is taken back", || {
        standing(&relay).len() == 5 && exported(&relay) == relay.done(&["route", "show", "3"])
    });
    assert_eq!(
        standing(&relay),
        ["5 in force", "4 past", "3 past", "2 past", "1 past"]
    );
}

#[test]
fn one_unconfirmed_after_another_goes_back_to_what_was_confirmed_last() {
    let relay = Setup::three_rooms().start();
    let before = exported(&relay);
    apply(&relay, "ab", &["--confirm", "1h"]);
    let told = apply(&relay, "abd", &["--confirm", "1s"]);
    assert!(told.contains("Revision 1 comes back at "), "{told}");
    wait::until("taken back", || exported(&relay) == before);
    assert_eq!(
        standing(&relay),
        ["4 in force", "3 past", "2 past", "1 past"]
    );
}

#[test]
fn what_cannot_be_taken_back_is_refused() {
    let relay = Setup::three_rooms().prepare();
    let said = relay.fails(1, &["route", "apply", "routes.toml", "--confirm", "10m"]);
    assert!(said.contains("--confirm"), "{said}");
    assert!(history(&relay).is_empty());
    for bad in ["0s", "25h", "ten minutes"] {
        let said = relay.fails(2, &["route", "apply", "routes.toml", "--confirm", bad]);
        assert!(said.contains("--confirm"), "{said}");
    }
}

#[test]
fn a_clock_set_back_makes_no_confirmation_wait_longer() {
    if !all_here(&["faketime"]) {
        return;
    }
    let clock = Clock::new();
    let relay = clock.run(Setup::three_rooms());
    let fake = clock.environment();
    let fake: Vec<&str> = fake.iter().map(String::as_str).collect();
    write(&relay, "ab");
    let applied = relay.run_under(&fake, &["route", "apply", "new.toml", "--confirm", "4s"]);
    assert!(applied.status.success(), "{applied:?}");
    wait::until("in force", || !takes(&relay, "c"));
    clock.set(-HOUR);
    wait::until("taken back", || takes(&relay, "c"));
}

/// Runs a command as somebody else, through `sudo` as far as Ilbud can see.
fn as_another(relay: &Relay, arguments: &[&str]) -> Output {
    relay.run_under(&["env", "SUDO_USER=daemon"], arguments)
}

fn done_by_another(relay: &Relay, arguments: &[&str]) -> String {
    peer::succeeded(
        "a command of somebody else's",
        &as_another(relay, arguments),
    )
}

fn that_needs_approval() -> Relay {
    Setup::three_rooms().settings(APPROVAL).start()
}

#[test]
fn a_change_waits_for_a_second_person() {
    if !all_here(&["root"]) {
        return;
    }
    let relay = that_needs_approval();
    // The first table is imported, and waits for nobody.
    assert_eq!(standing(&relay), ["1 in force"]);
    let before = exported(&relay);
    let told = apply(&relay, "ab", &["--reason", "c closes"]);
    assert!(
        told.contains("waits for somebody else's approval (ilbud route approve 2)"),
        "{told}"
    );
    assert_eq!(standing(&relay), ["2 waiting", "1 in force"]);
    assert_eq!(exported(&relay), before);
    let said = relay.fails(1, &["route", "approve", "2"]);
    assert!(
        said.contains("revision 2 was proposed by") && said.contains("somebody else has to"),
        "{said}"
    );
    assert!(takes(&relay, "c"));
    let told = done_by_another(&relay, &["route", "approve", "2", "--reason", "agreed"]);
    assert_eq!(told, "Revision 2 is in force.\n");
    assert!(wait::within(Duration::from_secs(1), || !takes(&relay, "c")));
    let newest = &history(&relay)[0];
    assert_eq!(newest["approved_by"], "daemon");
    assert_eq!(newest["decision_reason"], "agreed");
    assert_eq!(newest["by"], peer::login());
    let said = relay.fails(1, &["route", "reject", "2"]);
    assert!(said.contains("was approved by daemon already"), "{said}");
}

#[test]
fn what_is_rejected_never_counts() {
    let relay = that_needs_approval();
    apply(&relay, "ab", &[]);
    assert_eq!(
        relay.done(&["route", "reject", "2", "--reason", "not today"]),
        "Revision 2 is rejected.\n"
    );
    assert_eq!(standing(&relay), ["2 rejected", "1 in force"]);
    let said = relay.fails(1, &["route", "approve", "2"]);
    assert!(said.contains("was rejected by"), "{said}");
    assert!(takes(&relay, "c"));
}

#[test]
fn what_was_overtaken_is_approved_by_nobody() {
    if !all_here(&["root"]) {
        return;
    }
    let relay = that_needs_approval();
    apply(&relay, "ab", &[]);
    apply(&relay, "abd", &[]);
    assert_eq!(standing(&relay), ["3 waiting", "2 waiting", "1 in force"]);
    done_by_another(&relay, &["route", "approve", "3"]);
    assert_eq!(standing(&relay), ["3 in force", "2 overtaken", "1 past"]);
    let refused = as_another(&relay, &["route", "approve", "2"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.contains("revision 2 was made from revision 1, and revision 3 is in force now")
            && said.contains("ilbud route diff 3 2")
            && said.contains("ilbud route revert 2, which takes back what has come since"),
        "{said}"
    );
    wait::until("the approved table", || takes(&relay, "d"));
}

#[test]
fn the_time_to_confirm_begins_with_the_approval() {
    if !all_here(&["root"]) {
        return;
    }
    let relay = that_needs_approval();
    let before = exported(&relay);
    apply(&relay, "ab", &["--confirm", "2s"]);
    assert_eq!(standing(&relay), ["2 waiting", "1 in force"]);
    let told = done_by_another(&relay, &["route", "approve", "2"]);
    assert!(told.contains("Revision 1 comes back at "), "{told}");
    wait::until("taken back", || {
        standing(&relay) == ["3 in force", "2 past", "1 past"]
    });
    assert_eq!(exported(&relay), before);
}

#[test]
fn a_strict_change_with_something_to_warn_of_changes_nothing() {
    let relay = Setup::three_rooms().start();
    let unused = "accepts_from = []\n[[room.workstation]]\nnetwork = \"127.0.1.0/25\"\n";
    let overlapping = [table("ab"), room("d", "maildir:mail/d", unused)].concat();
    std::fs::write(relay.path("new.toml"), overlapping).unwrap();
    let said = relay.fails(1, &["route", "apply", "new.toml", "--strict"]);
    assert!(said.contains("127.0.1.0/25"), "{said}");
    assert_eq!(standing(&relay), ["1 in force"]);
    relay.done(&["route", "apply", "new.toml"]);
    assert_eq!(standing(&relay), ["2 in force", "1 past"]);
}
