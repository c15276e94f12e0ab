//! `ilbud workstation list`: who was met, by what it was known, and what it would fail.

use serde_json::{Value, json};

use crate::client::{Client, letter, letter_saying, vakt};
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

fn listed(relay: &Relay, name: &str) -> Option<Value> {
    let rows = relay.rows(&["workstation", "list"]);
    rows.into_iter().find(|row| row["name"] == name)
}

/// As soon as it was seen, and has `would_fail`.
fn seen(relay: &Relay, name: &str, would_fail: &[&str]) -> Value {
    wait::find(&format!("{name} with {would_fail:?}"), || {
        let row = listed(relay, name)?;
        (row["last_seen"].is_string() && row["would_fail"] == json!(would_fail)).then_some(row)
    })
}

fn send(client: &mut Client, from: &str) {
    let kept = client.send(from, &[&vakt("b")], &letter(from, &vakt("b")));
    assert_eq!(kept.said(), "250 2.0.0", "{kept}");
}

fn secure(relay: &Relay, from: &str) -> Client {
    let mut client = Client::greeted(relay.port, from);
    client.start_tls(&relay.path("certs"));
    client.say("EHLO ws.test");
    client
}

const LINES: &str = "[[room.workstation]]\nnetwork = \"127.0.1.0/24\"\n\
    [[room.workstation]]\ncertificate = \"ws1.amk-oslo.nodnett.test\"\n\
    [[room.workstation]]\ncertificate = \"ws2.a.nodnett.test\"\n\
    [[room.workstation]]\nuser = \"ws3\"\n";
const GATEWAYS: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.8.0/24\"\n\
    [[gateway]]\nname = \"ute\"\nnetwork = \"127.0.7.7/32\"\n";

#[test]
fn a_workstation_is_listed_by_what_it_was_known() {
    let mut relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", LINES)
        .room("b", "maildir:mail/b")
        .routes(GATEWAYS)
        .tls("starttls")
        .prepare();
    relay.start();
    let never = relay.rows(&["workstation", "list"]);
    assert_eq!(
        column(&never, "name"),
        [
            "ws1.amk-oslo.nodnett.test",
            "ws2.a.nodnett.test",
            "127.0.1.0/24",
            "ws3",
            "127.0.2.0/24",
            "127.0.8.0/24",
            "127.0.7.7/32"
        ]
    );
    assert!(
        never.iter().all(|row| row["last_seen"].is_null()),
        "{never:?}"
    );
    let output = relay.told(&["credential", "set", "ws3"], "correct horse\n");
    assert!(output.status.success());

    send(&mut relay.client("a"), &vakt("a"));
    send(&mut secure(&relay, "127.0.1.10"), &vakt("a"));
    let mut user = secure(&relay, "127.0.77.9");
    assert_eq!(
        user.say("AUTH PLAIN AHdzMwBjb3JyZWN0IGhvcnNl").said(),
        "235 2.7.0"
    );
    send(&mut user, &vakt("a"));
    let mut certified = Client::greeted(relay.port, "127.0.78.9");
    certified.say("STARTTLS");
    certified.shake_hands_as(&relay.path("certs"), "ws-ws1.amk-oslo.nodnett.test");
    certified.say("EHLO ws.test");
    send(&mut certified, &vakt("a"));
    send(
        &mut Client::greeted(relay.port, "127.0.8.1"),
        "x@example.com",
    );

    for (name, kind, address, tls, would_fail) in [
        (
            "127.0.1.9",
            "address",
            "127.0.1.9",
            Value::Null,
            &["missing_tls"][..],
        ),
        ("127.0.1.10", "address", "127.0.1.10", json!("TLSv1.3"), &[]),
        ("ws3", "user", "127.0.77.9", json!("TLSv1.3"), &[]),
        (
            "ws1.amk-oslo.nodnett.test",
            "certificate",
            "127.0.78.9",
            json!("TLSv1.3"),
            &[],
        ),
    ] {
        let row = seen(&relay, name, would_fail);
        assert_eq!(
            (&row["kind"], &row["address"]),
            (&json!(kind), &json!(address)),
            "{row}"
        );
        assert_eq!(
            (&row["room"], &row["tls"]),
            (&json!("room-a"), &tls),
            "{row}"
        );
        assert_eq!(row["first_seen"], row["last_seen"], "{row}");
        // `certs dev` makes them for two years and a quarter.
        let left = row["certificate_days_left"].as_i64();
        assert_eq!(left.is_some(), kind == "certificate", "{row}");
        assert!(left.is_none_or(|it| (700..825).contains(&it)), "{row}");
    }
    let gateway = seen(&relay, "127.0.8.1", &[]);
    assert_eq!(
        (&gateway["room"], &gateway["gateway"]),
        (&Value::Null, &json!("inn"))
    );

    // The same when it does not run, room by room, and in a table for people.
    relay.stop();
    let names = [
        "127.0.1.9",
        "127.0.1.10",
        "ws1.amk-oslo.nodnett.test",
        "ws3",
        "ws2.a.nodnett.test",
        "127.0.2.0/24",
        "127.0.8.1",
        "127.0.7.7/32",
    ];
    assert_eq!(column(&relay.rows(&["workstation", "list"]), "name"), names);
    let of_room = relay.rows(&["workstation", "list", "--room", "room-a"]);
    assert_eq!(column(&of_room, "name"), names[..5]);
    let of_room = relay.rows(&["workstation", "list", "--room", "room-b"]);
    assert_eq!(column(&of_room, "name"), ["127.0.2.0/24"]);
    let complaint = relay.fails(1, &["workstation", "list", "--room", "room-aa"]);
    assert!(
        complaint.contains("did you mean \"room-a\"?"),
        "{complaint}"
    );
    let table = relay.done(&["workstation", "list"]);
    for word in [
        "would fail",
        "user ws3",
        "never",
        "gateway inn",
        "TLSv1.3",
        "none",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    relay.start();
    assert_eq!(column(&relay.rows(&["workstation", "list"]), "name"), names);
}

#[test]
fn a_certificate_that_proves_nothing_has_no_days_left() {
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", LINES)
        .room("b", "maildir:mail/b")
        .tls("starttls")
        .start();
    let name = "ws1.amk-oslo.nodnett.test";
    relay.done(&["certs", "dev", "--folder", "stranger", name]);
    let mut client = Client::greeted(relay.port, "127.0.1.11");
    client.say("STARTTLS");
    client.shake_hands_as(&relay.path("certs"), &format!("../stranger/ws-{name}"));
    client.say("EHLO ws.test");
    send(&mut client, &vakt("a"));
    let row = seen(&relay, "127.0.1.11", &[]);
    assert!(row["certificate_days_left"].is_null(), "{row}");
}

#[test]
fn what_a_workstation_would_fail_is_remembered() {
    let lax = "strictness = { bare_newlines = \"report\", unknown_workstations = \"report\" }\n";
    let tables = |lines: &str| {
        room("a", "maildir:mail/a", &format!("{lax}{lines}")) + &room("b", "maildir:mail/b", "")
    };
    let own = "[[room.workstation]]\nnetwork = \"127.0.1.0/24\"\n";
    let mut relay = Setup::no_rooms()
        .routes(&tables(own))
        .tls("starttls")
        .prepare();
    relay.start();
    let crooked = letter_saying(&vakt("a"), &vakt("b"), "one\ntwo\r\n");
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &crooked);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    seen(&relay, "127.0.1.9", &["missing_tls", "bare_newlines"]);
    // One good message proves nothing.
    send(&mut secure(&relay, "127.0.1.9"), &vakt("a"));
    let row = wait::find("the new TLS", || {
        listed(&relay, "127.0.1.9").filter(|row| row["tls"] == "TLSv1.3")
    });
    assert_eq!(row["would_fail"], json!(["missing_tls", "bare_newlines"]));
    assert!(row["failed_at"]["bare_newlines"].is_string(), "{row}");

    send(&mut secure(&relay, "127.0.9.9"), &vakt("a"));
    seen(&relay, "127.0.9.9", &["unknown_workstation"]);
    // A line for it, and it is none any more.
    relay.apply(&tables(&format!(
        "{own}[[room.workstation]]\nnetwork = \"127.0.9.9\"\n"
    )));
    seen(&relay, "127.0.9.9", &[]);
}

#[test]
fn a_flood_of_strangers_stays_bounded_and_pushes_out_nobody_else() {
    let strictness = "strictness = { unknown_workstations = \"report\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", strictness)
        .room("b", "maildir:mail/b")
        .start();
    send(&mut relay.client("a"), &vakt("a"));
    seen(&relay, "127.0.1.9", &["missing_tls"]);
    let mail = format!("MAIL FROM:<{}>", vakt("a"));
    for n in 0..2_300 {
        let from = format!("127.1.{}.{}", n / 250, n % 250 + 1);
        let mut client = Client::silent(relay.port, &from).unwrap();
        client.put(format!("EHLO x\r\n{mail}\r\n").as_bytes());
        let codes: Vec<u16> = (0..3).map(|_| client.reply().code).collect();
        assert_eq!(codes, [220, 250, 250], "{from}");
    }
    let last = "127.1.9.50";
    seen(&relay, last, &["missing_tls", "unknown_workstation"]);
    wait::until("the oldest strangers are forgotten", || {
        let listed = relay.rows(&["workstation", "list"]);
        listed.iter().filter(|it| it["kind"] == "address").count() == 2_001
    });
    assert!(listed(&relay, "127.0.1.9").is_some());
    assert!(listed(&relay, "127.1.0.1").is_none());
}

#[test]
fn lines_that_nobody_can_come_by_are_warned_of() {
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", LINES)
        .room_with(
            "b",
            "maildir:mail/b",
            "strictness = { missing_tls = \"enforce\" }\n",
        )
        .prepare();
    let warned = |arguments: &[&str]| {
        let output = relay.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let user = "room \"room-a\": no password for user \"ws3\"";
    let certificate = "room \"room-a\": nobody can show certificate \"ws1.amk-oslo.nodnett.test\"";
    let checked = warned(&["check"]);
    let nobody = "room \"room-b\" enforces missing_tls, and no listener has TLS";
    for warning in [user, certificate, nobody] {
        assert!(checked.contains(warning), "{warning}: {checked}");
    }
    assert!(warned(&["route", "apply", "routes.toml"]).contains(user));
    let output = relay.told(&["credential", "set", "ws3"], "correct horse\n");
    assert!(output.status.success());
    for arguments in [&["check"][..], &["route", "apply", "routes.toml"]] {
        assert!(!warned(arguments).contains("no password"));
    }
    let strict = format!("strictness = {{ missing_tls = \"enforce\" }}\n{LINES}");
    let with_tls = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &strict)
        .tls("starttls")
        .prepare();
    let checked = String::from_utf8(with_tls.run(&["check"]).stderr).unwrap();
    assert!(
        !checked.contains("nobody can show certificate"),
        "{checked}"
    );
    assert!(!checked.contains("missing_tls"), "{checked}");
}
