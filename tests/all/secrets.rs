//! Passwords of next hops: wherever the relay speaks, whatever goes wrong, they are not said.

use std::fs;
use std::path::Path;

use crate::client::{letter, vakt};
use crate::fake_hop::{At, FakeHop, Fault, Manner};
use crate::relay::{Relay, Setup, free_port, room};
use crate::wait;

const PASSWORD: &str = "hem-melig-42";
/// As it goes over the wire: with the user, and alone.
const IN_BASE64: [&str; 2] = ["AGlsYnVkAGhlbS1tZWxpZy00Mg==", "aGVtLW1lbGlnLTQy"];

const TLS: Manner = Manner {
    lmtp: false,
    tls: true,
    implicit: false,
};

fn assert_silent(what: &str, text: &str) {
    for secret in [PASSWORD, "melig", IN_BASE64[0], IN_BASE64[1]] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what}");
    }
}

fn said(relay: &Relay, arguments: &[&str]) -> String {
    let output = relay.run(arguments);
    [output.stdout, output.stderr]
        .map(|it| String::from_utf8(it).unwrap())
        .concat()
}

/// Everything in a folder, however deep.
fn whole(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => whole(&path),
            false => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_says_a_password() {
    let offers = &["STARTTLS", "AUTH PLAIN"];
    let echo = Fault::Say("535 5.7.8 what is AGlsYnVkAGhlbS1tZWxpZy00Mg==?");
    let repeat = Fault::Say("421 4.7.0 hem-melig-42 is wrong");
    let good = FakeHop::with(TLS, offers, &[]).await;
    let echoing = FakeHop::with(TLS, offers, &[(At::Auth, echo)]).await;
    let repeating = FakeHop::with(TLS, offers, &[(At::Auth, repeat)]).await;
    let plain = FakeHop::start(&["AUTH PLAIN"], &[]).await;
    let hop = |port: u16| format!("smtp://ilbud:{PASSWORD}@127.0.0.1:{port}");
    let (nobody, unverified) = (free_port(), good.port);
    let hops = [
        ("b", hop(good.port) + "?tls=opportunistic"),
        ("c", hop(echoing.port) + "?tls=opportunistic"),
        ("d", hop(repeating.port) + "?tls=opportunistic"),
        ("e", hop(plain.port)),
        ("f", hop(nobody)),
        ("g", hop(unverified) + "?tls=required"),
        ("h", hop(free_port()).replace("smtp:", "lmtp:")),
    ];
    let mut setup = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .delivery("retry = [\"1s\"]\nwarn_after = \"1s\"\ngive_up_after = \"4s\"")
        .under(&["env", "ILBUD_LOG=trace"]);
    for (letter, hop) in &hops {
        setup = setup.room(letter, hop);
    }
    let relay = setup.start();
    let mut client = relay.client("a");
    let mut references = Vec::new();
    for (to, _) in &hops {
        let sent = client.send(&vakt("a"), &[&vakt(to)], &letter(&vakt("a"), &vakt(to)));
        references.push(sent.reference());
    }
    wait::until("a login", || {
        good.count("AUTH PLAIN AGlsYnVkAGhlbS1tZWxpZy00Mg==") > 0
    });
    wait::until("deferrals, for the listings", || {
        relay.rows(&["queue", "list"]).len() >= 4
    });
    for listing in [&["queue", "list"][..], &["queue", "list", "--json"]] {
        assert_silent("queue list", &said(&relay, listing));
    }
    wait::until("the end of all", || relay.queue_is_empty());
    wait::until("reports", || relay.maildir("a", "vakt").len() >= 5);

    for reference in &references {
        for more in [&[][..], &["--json"]] {
            let listing = [&["log", "show", reference.as_str()], more].concat();
            assert_silent("log show", &said(&relay, &listing));
        }
    }
    for listing in [
        &["log", "search"][..],
        &["log", "search", "--json"],
        &["route", "history"],
        &["route", "history", "--json"],
        &["check"],
    ] {
        assert_silent(&listing.join(" "), &said(&relay, listing));
    }
    for (to, _) in &hops {
        let question = ["route", "explain", &vakt("a"), &vakt(to)];
        assert_silent("route explain", &said(&relay, &question));
        let question = [&question[..], &["--json"]].concat();
        assert_silent("route explain", &said(&relay, &question));
    }
    assert_silent("reports", &whole(&relay.path("mail/a")));
    let log = relay.log();
    assert!(log.contains("TRACE"), "{log}");
    assert_silent("serve", &log);
    // An export is the file that can be applied again, whole.
    assert!(said(&relay, &["route", "export"]).contains(PASSWORD));
}

#[test]
fn what_is_said_of_a_mistyped_hop_leaves_the_password_out() {
    let relay = Setup::three_rooms().prepare();
    for mistyped in [
        "smtp://ilbud:hem-melig?42@127.0.0.1",
        "smtp://ilbud:hem-melig%4@127.0.0.1",
        "smpt://ilbud:hem-melig-42@127.0.0.1",
        "smtp:ilbud:hem-melig-42@127.0.0.1",
        "mx:ilbud:hem-melig-42@b.test",
        "ilbud:hem-melig-42@127.0.0.1",
        "hem-melig-42@127.0.0.1:25",
        "smtp://ilbud:hem-melig-42@127.0.0.1?tls=off",
        "smtp://ilbud:hem-melig-42@127.0.0.1:99999",
        "smtp://ilbud:hem-melig-42@127.0.0.1\\u0007",
    ] {
        let table = relay.path("mistyped.toml");
        fs::write(
            &table,
            room("a", "maildir:x", "") + &room("b", mistyped, ""),
        )
        .unwrap();
        let complaint = relay.fails(1, &["route", "apply", "mistyped.toml"]);
        assert!(complaint.contains("next_hops"), "{complaint}");
        assert_silent(mistyped, &complaint);

        fs::write(relay.path("routes.toml"), fs::read(&table).unwrap()).unwrap();
        for command in ["check", "serve"] {
            let complaint = relay.fails(1, &[command]);
            assert_silent(mistyped, &complaint);
        }
    }
}
