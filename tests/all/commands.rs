//! The command line as scripts rely on it: fields, exit statuses, and every mistake at once.

use std::fs;

use serde_json::Value;

use crate::client::{is_reference, letter, vakt};
use crate::relay::{Setup, free_port, room};
use crate::sink::Sink;
use crate::wait;

fn lacks(row: &Value, fields: &str) -> Vec<String> {
    fields
        .split(' ')
        .filter(|field| row.get(field).is_none())
        .map(str::to_owned)
        .collect()
}

#[test]
fn listings_have_the_fields_that_scripts_rely_on() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop())
        .room("c", &format!("smtp://127.0.0.1:{}", free_port()))
        .start();
    let mut client = relay.client("a");
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    let refused = client.send(&vakt("a"), &["x@example.com"], b"");
    client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    relay.refusal(&refused.reference());
    wait::until("an attempt", || {
        relay.rows(&["queue", "list"])[0]["attempts"] == 1
    });
    let sent = sent.reference();
    let log = "ref at status sender sender_room recipient recipient_room subject size message_id client reply";
    let none: [String; 0] = [];
    for (listing, fields) in [
        (&["log", "search"][..], log),
        (&["log", "search", &sent], log),
        (&["log", "search", "--status", "refused"], log),
        (&["log", "show", &sent], "ref at event"),
        (
            &["queue", "list"],
            "ref recipient room state attempts accepted_at next_attempt_at last_reply",
        ),
        (&["route", "history"], "revision at by reason summary"),
        (
            &[
                "route",
                "explain",
                "vakt@a.nodnett.test",
                "vakt@b.nodnett.test",
            ],
            "decision rule revision recipient_room next_hops reply",
        ),
    ] {
        let rows = relay.rows(listing);
        assert!(!rows.is_empty(), "{listing:?}");
        for row in &rows {
            assert_eq!(lacks(row, fields), none, "{listing:?}: {row}");
        }
    }
    let row = &relay.rows(&["log", "search", &sent])[0];
    assert!(is_reference(row["ref"].as_str().unwrap()));
    assert!(row["at"].as_str().unwrap().ends_with('Z'));
    assert!(row["subject"].as_str().unwrap().starts_with("pr\u{f8}ve"));
}

#[test]
fn a_search_finds_by_each_of_its_conditions() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    let message = String::from_utf8(letter(&vakt("a"), &vakt("b"))).unwrap();
    let message = message.replace("Subject: pr\u{f8}ve", "Subject: Bl\u{e5}lys til Ringerike");
    let id = message.split(['<', '>']).nth(1).unwrap();
    let wanted = client
        .send(&vakt("a"), &[&vakt("b")], message.as_bytes())
        .reference();
    client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    wait::until("both", || relay.rows(&["log", "search"]).len() == 2);
    let lower = wanted.to_lowercase();
    for conditions in [
        &[wanted.as_str()][..],
        &[&lower],
        &["bl\u{e5}lys"],
        &["ringerike", "bl\u{e5}lys"],
        &["--recipient", "vakt@b.nodnett.test"],
        &["--sender", "vakt@a.nodnett.test", "--room", "room-b"],
        &["--subject", "Ringerike"],
        &["--message-id", id],
        &["--client", "127.0.1.9", "Ringerike"],
        &[
            "--status",
            "delivered",
            "--recipient",
            "vakt@b.nodnett.test",
        ],
        &["--since", "2020-01-01T00:00:00Z", "Ringerike"],
    ] {
        wait::until(&format!("{conditions:?}"), || {
            let rows = relay.rows(&[&["log", "search"], conditions].concat());
            rows.len() == 1 && rows[0]["ref"] == wanted.as_str()
        });
    }
    for conditions in [
        &["--status", "refused"][..],
        &["--until", "2020-01-01T00:00:00Z"],
        &["brannbil"],
        &["--room", "room-x"],
    ] {
        let rows = relay.rows(&[&["log", "search"], conditions].concat());
        assert!(rows.is_empty(), "{conditions:?}: {rows:?}");
    }
    assert_eq!(relay.rows(&["log", "search", "--limit", "1"]).len(), 1);
}

#[test]
fn wrong_usage_ends_with_two() {
    let relay = Setup::three_rooms().prepare();
    for arguments in [
        &["log", "nonsense"][..],
        &["nonsense"],
        &["log", "search", "--limit", "many"],
        &["route", "apply"],
        &["route", "explain", "vakt@a.nodnett.test"],
        &["queue", "hold"],
    ] {
        relay.fails(2, arguments);
    }
}

#[test]
fn commands_work_with_no_relay_and_no_store_yet() {
    let relay = Setup::three_rooms().prepare();
    assert!(!relay.path("ilbud.db").exists());
    for listing in [
        &["log", "search"][..],
        &["queue", "list"],
        &["route", "history"],
    ] {
        assert!(relay.rows(listing).is_empty(), "{listing:?}");
    }
    relay.done(&["check"]);
    relay.done(&["route", "apply", "routes.toml"]);
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
    assert!(relay.done(&["route", "export"]).contains("room-c"));
}

#[test]
fn the_option_config_stands_anywhere() {
    let relay = Setup::three_rooms().prepare();
    let settings = relay.path("ilbud.toml");
    let settings = settings.to_str().unwrap();
    for arguments in [
        ["--config", settings, "queue", "list"],
        ["queue", "--config", settings, "list"],
        ["queue", "list", "--config", settings],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ilbud"))
            .args(arguments)
            .current_dir(relay.home())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
    }
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    for (wrong, right) in [
        ("[limitz]\nrecipients = 5", "limits"),
        ("[limits]\nrecipient = 5", "recipients"),
        ("[limits.rates]\nworkstations = \"1/min\"", "workstation"),
    ] {
        let relay = Setup::three_rooms().settings(wrong).prepare();
        for command in ["check", "serve"] {
            let complaint = relay.fails(1, &[command]);
            assert!(complaint.contains(right), "{command}: {complaint}");
        }
    }
}

#[test]
fn check_tells_every_mistake_at_once() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nmessage_size = \"huge\"\nrecipients = -1\n[limitz]\nx = 1")
        .prepare();
    let settings = fs::read_to_string(relay.path("ilbud.toml")).unwrap();
    let broken = settings
        .replace("language = \"en\"", "language = \"xx\"")
        .replace("tls = \"off\"", "tls = \"maybe\"");
    fs::write(relay.path("ilbud.toml"), broken).unwrap();
    let complaint = relay.fails(1, &["check"]);
    for word in ["message_size", "recipients", "limitz", "language", "tls"] {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
}

#[test]
fn check_looks_at_certificates_and_the_table_too() {
    let relay = Setup::three_rooms().tls("starttls").prepare();
    relay.done(&["check"]);
    fs::write(relay.path("certs/relay.pem"), "not a certificate").unwrap();
    fs::write(relay.path("certs/ca.pem"), "neither").unwrap();
    let complaint = relay.fails(1, &["check"]);
    for word in ["relay.pem", "ca.pem"] {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
}

#[test]
fn the_shipped_settings_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    for file in ["ilbud.toml", "routes.toml"] {
        fs::copy(format!("{shipped}/{file}"), config.join(file)).unwrap();
    }
    for arguments in [
        &["certs", "dev"][..],
        &["check"],
        &["route", "apply", "config/routes.toml"],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ilbud"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
    }
}

/// Each message once, wherever a table or settings are looked at; and nothing of it is an error.
#[test]
fn times_that_silence_the_warning_are_told() {
    let late = room("b", "maildir:mail/b", "warn_after = \"2h\"");
    let brief = room("c", "maildir:mail/c", "give_up_after = \"5m\"");
    let own = "warn_after = \"2h\"\ngive_up_after = \"90s\"";
    let both = room("d", "maildir:mail/d", own);
    let sound = "warn_after = \"10m\"\ngive_up_after = \"11m\"";
    let sound = room("e", "maildir:mail/e", sound);
    let mut relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .routes(&[late, brief, both, sound].concat())
        .delivery("warn_after = \"5m\"\ngive_up_after = \"2h\"")
        .prepare();
    let expected = [
        "room \"room-b\": nobody is warned, since its warn_after (2h) is not before the give_up_after of the settings (2h)",
        "room \"room-c\": nobody is warned, since its give_up_after (5m) is not after the warn_after of the settings (5m)",
        "room \"room-d\": nobody is warned, since its warn_after (2h) is not before its give_up_after (90s)",
    ];
    let told = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        for line in expected {
            assert_eq!(text.matches(line).count(), 1, "{line}\n{text}");
        }
        assert_eq!(text.matches("nobody is warned").count(), 3, "{text}");
    };
    let output = relay.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    told(&output.stderr);
    relay.start();
    told(relay.log().as_bytes());
    assert!(relay.stop().success());
    std::fs::remove_file(relay.path("serve.log")).unwrap();
    relay.start();
    told(relay.log().as_bytes());
    let output = relay.run(&["route", "apply", "routes.toml"]);
    assert_eq!(output.status.code(), Some(0));
    told(&output.stderr);
}

#[test]
fn settings_that_silence_every_warning_are_told_once() {
    let mut relay = Setup::three_rooms()
        .delivery("warn_after = \"1h\"\ngive_up_after = \"1h\"")
        .prepare();
    let line =
        "[delivery]: nobody is warned, since warn_after (1h) is not before give_up_after (1h)";
    let output = relay.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("nobody is warned").count(), 1, "{said}");
    assert!(said.contains(line), "{said}");
    relay.start();
    assert!(relay.log().contains(line), "{}", relay.log());
}
