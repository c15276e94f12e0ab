//! Files with secrets that others on the machine may read: they are refused, and it is said how to
//! close them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client::{letter, vakt};
use crate::relay::Setup;
use crate::wait;

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_the_relay_makes_is_its_own() {
    let relay = Setup::three_rooms().tls("starttls").prepare();
    relay.done(&["check"]);
    for secret in ["certs/relay.key", "certs/ca.key", "ilbud.db"] {
        assert_eq!(mode(&relay.path(secret)), 0o600, "{secret}");
    }
}

#[test]
fn a_key_that_others_may_read_stops_the_start() {
    let relay = Setup::three_rooms().tls("starttls").prepare();
    let key = relay.path("certs/relay.key");
    for open in [0o644, 0o604, 0o620, 0o666] {
        set_mode(&key, open);
        for command in ["serve", "check"] {
            let complaint = relay.fails(1, &[command]);
            let lines = complaint.lines().filter(|it| it.contains("relay.key"));
            let lines: Vec<&str> = lines.collect();
            assert_eq!(lines.len(), 1, "{command}, {open:o}: {complaint}");
            assert!(lines[0].contains("chmod 600 certs/relay.key"), "{lines:?}");
        }
    }
    set_mode(&key, 0o400);
    relay.done(&["check"]);
}

#[test]
fn a_key_opened_to_others_while_the_relay_runs_is_not_read_again() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let certs = relay.path("certs");
    let key = certs.join("relay.key");
    let shown = || relay.client("a").start_tls(&certs);
    let first = shown();

    let draft = relay.make_certificates("draft");
    set_mode(&draft.join("relay.key"), 0o644);
    for file in ["relay.key", "relay.pem"] {
        fs::rename(draft.join(file), certs.join(file)).unwrap();
    }
    wait::until("an alarm", || {
        let log = relay.log();
        let mut lines = log.lines();
        lines.any(|it| it.contains("ERROR") && it.contains("chmod 600 certs/relay.key"))
    });
    assert_eq!(shown(), first);
    set_mode(&key, 0o600);
    wait::until("the new certificate", || {
        relay.log().contains("a new certificate is in use")
    });
}

#[test]
fn a_key_towards_a_next_hop_holds_up_that_room_alone() {
    let options = "?client_certificate=strange/ws-hop.test.pem&client_key=strange/ws-hop.test.key";
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hop = format!("smtps://127.0.0.1:{port}{options}");
    let mut relay = Setup::from_a_to(&hop).room("c", "maildir:mail/c").prepare();
    relay.done(&["certs", "dev", "--folder", "strange", "hop.test"]);
    let key = relay.path("strange/ws-hop.test.key");
    relay.done(&["check"]);
    set_mode(&key, 0o644);
    let complaint = relay.fails(1, &["check"]);
    assert!(complaint.contains("room \"room-b\""), "{complaint}");
    assert!(
        complaint.contains("chmod 600 strange/ws-hop.test.key"),
        "{complaint}"
    );

    relay.start();
    let mut client = relay.client("a");
    let held_up = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    let others = client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    relay.expect_events(&others.reference(), &["accepted", "delivered"]);
    wait::until("why it waits", || {
        let rows = relay.rows(&["queue", "list"]);
        rows.iter().any(|row| {
            row["ref"] == held_up.reference() && row["last_reply"].to_string().contains("chmod 600")
        })
    });
}

#[test]
fn a_table_with_passwords_is_read_by_nobody_else() {
    let hop = "smtps://ilbud:hemmelig@127.0.0.1:1";
    let mut relay = Setup::from_a_to(hop).prepare();
    let table = relay.path("routes.toml");
    set_mode(&table, 0o644);
    for command in ["serve", "check"] {
        let complaint = relay.fails(1, &[command]);
        assert!(complaint.contains("chmod 600"), "{command}: {complaint}");
        assert!(!complaint.contains("hemmelig"), "{complaint}");
    }
    let warned = relay.run(&["route", "apply", "routes.toml"]);
    let words = String::from_utf8(warned.stderr).unwrap();
    assert!(warned.status.success(), "{words}");
    assert!(
        words.contains("warning") && words.contains("chmod 600 routes.toml"),
        "{words}"
    );
    // It is in the store now, and the file of no use any more.
    relay.start();

    let plain = Setup::three_rooms().prepare();
    set_mode(&plain.path("routes.toml"), 0o644);
    plain.done(&["check"]);
}
