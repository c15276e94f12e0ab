//! The store is locked or broken: the client hears 4xx, the relay lives, and recovers by itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup};
use crate::wait;

const LOCKER: &str = r#"
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
store.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
store.execute("ROLLBACK")
"#;

/// Another process that holds the store until told to let go.
pub struct Lock(Child);

impl Lock {
    pub fn on(relay: &Relay) -> Self {
        let mut child = peer::command("python3")
            .args(["-c", LOCKER])
            .arg(relay.path("ilbud.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said, "locked\n");
        Self(child)
    }

    pub fn release(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_locked_store_is_temporary_trouble() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let mut relay = Setup::three_rooms().start();
    let lock = Lock::on(&relay);
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "451 4.3.0", "{reply}");
    reply.reference();
    assert!(relay.is_running());
    lock.release();
    wait::until("a recovered relay", || {
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.code / 100 % 2, 0, "never a 5xx: {reply}");
        reply.code == 250
    });
    wait::until("the mail", || !relay.maildir("b", "vakt").is_empty());
}

#[test]
fn people_can_read_while_the_store_is_locked() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = Setup::three_rooms().start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait::until("the mail", || !relay.maildir("b", "vakt").is_empty());
    let lock = Lock::on(&relay);
    let rows = relay.rows(&["log", "search", &reply.reference()]);
    assert_eq!(rows.len(), 1);
    for reading in [
        &["log", "show", &reply.reference()][..],
        &["queue", "list"],
        &["route", "export"],
        &["route", "history"],
        &["route", "explain", &vakt("a"), &vakt("b")],
        &["check"],
    ] {
        relay.done(reading);
    }
    lock.release();
}

#[test]
fn a_relay_that_cannot_complain_carries_mail_all_the_same() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let mut relay = Setup::three_rooms()
        .under(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"])
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let lock = Lock::on(&relay);
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "451 4.3.0", "{reply}");
    lock.release();
    wait::until("a recovered relay", || {
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        reply.code == 250
    });
    assert!(relay.is_running());
}

#[test]
fn no_message_said_to_be_kept_is_lost_to_a_lock() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    let mut kept = 0;
    for round in 0..6 {
        let lock = (round % 2 == 1).then(|| Lock::on(&relay));
        let reply = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        kept += usize::from(reply.code == 250);
        if let Some(lock) = lock {
            lock.release();
        }
    }
    assert!(kept >= 1);
    wait::until("what was kept", || relay.maildir("b", "vakt").len() >= kept);
}
