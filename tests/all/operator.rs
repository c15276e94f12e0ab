//! Whose name stands in the log beside an order: the login name of who gave it, whatever the
//! environment says.

use std::process::Command;

use crate::peer;
use crate::relay::{Relay, Setup, column};

/// Nobody has it.
const STRAY: &str = "54321";

/// Opens a block as somebody, who says to be others; the name that the log has for that.
fn known_as(relay: &Relay, under: &[&str]) -> String {
    let opened = relay.run_under(under, &["outbreak", "block", "--file", "*.scr"]);
    peer::succeeded("a block", &opened);
    let listed = relay.run_under(under, &["outbreak", "list", "--json"]);
    let listed = peer::succeeded("a list", &listed);
    let last = serde_json::from_str(listed.lines().last().unwrap()).unwrap();
    column(&[last], "by").remove(0)
}

/// `env`, with what people are known by elsewhere.
fn env<'a>(claims: &[&'a str]) -> Vec<&'a str> {
    let gone = ["-u", "SUDO_USER", "-u", "USER", "-u", "LOGNAME"];
    [&["env"], &gone[..], claims].concat()
}

#[test]
fn the_name_in_the_log_is_not_what_the_environment_says() {
    let relay = Setup::three_rooms().prepare();
    let me = peer::login();
    for claims in [
        &[][..],
        &["USER=kari", "LOGNAME=kari"],
        &["SUDO_USER=kari-that-is-nobody", "USER=kari"],
        &["SUDO_USER=roo\nt", "USER=a\tb"],
        &["SUDO_USER="],
    ] {
        assert_eq!(known_as(&relay, &env(claims)), me, "{claims:?}");
    }
}

#[test]
fn root_is_known_by_the_name_that_it_came_from() {
    if !peer::all_here(&["root"]) {
        return;
    }
    let relay = Setup::three_rooms().prepare();
    assert_eq!(known_as(&relay, &env(&["SUDO_USER=daemon"])), "daemon");
}

/// An account that several use, of whom each has logged in as themselves.
#[test]
fn whoever_has_become_another_is_known_by_the_name_they_logged_in_with() {
    const AS_DAEMON: &str = "echo 1 >/proc/self/loginuid; exec \"$0\" \"$@\"";
    let under = ["sh", "-c", AS_DAEMON];
    let tried = Command::new(under[0])
        .args(&under[1..])
        .args(["cat", "/proc/self/loginuid"])
        .output()
        .unwrap();
    if !peer::all_here(&["root"]) || tried.stdout != b"1" {
        return;
    }
    let relay = Setup::three_rooms().prepare();
    assert_eq!(
        known_as(&relay, &[&under[..], &env(&["USER=kari"])].concat()),
        "daemon"
    );
}

#[test]
fn another_is_known_by_their_own_name_or_number() {
    if !peer::all_here(&["root", "setpriv"]) || peer::logged_in().is_some() {
        return;
    }
    let relay = Setup::three_rooms().prepare();
    let claims = env(&["SUDO_USER=daemon", "USER=root"]);
    for (uid, expected) in [("1", "daemon"), (STRAY, "uid 54321")] {
        let mut chown = Command::new("chown");
        let status = chown.args(["-R", uid]).arg(relay.home()).status();
        assert!(status.unwrap().success());
        let setpriv = ["setpriv", "--reuid", uid, "--clear-groups"];
        let under = [&setpriv[..], &claims].concat();
        assert_eq!(known_as(&relay, &under), expected);
    }
}
