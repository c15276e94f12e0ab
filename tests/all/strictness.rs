//! Strictness by steps: what a room lets pass, what its clients are told, what the log remembers.

use std::fs;

use serde_json::json;

use crate::client::{Client, letter, letter_saying, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, room};
use crate::sink::Sink;
use crate::wait;

/// In no room's network.
const STRANGER: &str = "127.0.9.9";

/// Rooms a, b and c, of which one thing is reported, warned of and enforced.
fn by_steps(key: &str) -> Setup {
    let mut setup = Setup::no_rooms();
    for (letter, measure) in [("a", "report"), ("b", "warn"), ("c", "enforce")] {
        let strictness = format!("[room.strictness]\n{key} = \"{measure}\"\n");
        setup = setup.room_with(letter, &format!("maildir:mail/{letter}"), &strictness);
    }
    setup.room("d", "maildir:mail/d")
}

fn send(client: &mut Client, from: &str) -> crate::client::Reply {
    client.send(from, &[&vakt("d")], &letter(from, &vakt("d")))
}

/// The first event of a message, which has been delivered, after this story.
fn accepted(relay: &Relay, reference: &str, story: &[&str]) -> serde_json::Value {
    relay.expect_events(reference, story);
    relay.rows(&["log", "show", reference])[0].clone()
}

#[test]
fn plain_text_is_reported_warned_of_and_refused() {
    let relay = by_steps("missing_tls").tls("starttls").start();
    for (letter, story) in [
        ("a", &["accepted", "delivered"][..]),
        ("b", &["accepted", "tolerated", "delivered"]),
    ] {
        let mut client = relay.client(letter);
        let mail = client.say(format!("MAIL FROM:<{}>", vakt(letter)));
        assert_eq!(mail.said(), "250 2.1.0", "{mail}");
        let is_warned = mail.text().contains("soon refused (no TLS)");
        assert_eq!((is_warned, mail.lines.len()), (letter == "b", 1), "{mail}");
        let reference = mail.reference();
        client.say(format!("RCPT TO:<{}>", vakt("d")));
        let kept = client.data(&letter_saying(&vakt(letter), &vakt("d"), "hei\r\n"));
        assert_eq!(
            (kept.said(), kept.reference()),
            ("250 2.0.0".into(), reference)
        );
        // Most clients show nothing but the last reply.
        let is_warned = kept.text().contains("soon refused (no TLS)");
        assert_eq!(is_warned, letter == "b", "{kept}");
        let event = accepted(&relay, &kept.reference(), story);
        assert_eq!(event["tolerated"], json!(["missing_tls"]));
        let told = &relay.rows(&["log", "show", &kept.reference()])[1];
        if letter == "b" {
            assert_eq!(told["tolerated"], json!(["missing_tls"]));
            assert_eq!(
                (&told["room"], &told["client"]),
                (&json!("room-b"), &json!("127.0.2.9"))
            );
        }
    }
    let mut client = relay.client("c");
    let refused = client.say(format!("MAIL FROM:<{}>", vakt("c")));
    assert_eq!(refused.said(), "530 5.7.0", "{refused}");
    let row = relay.refusal(&refused.reference());
    assert_eq!(row["sender_room"], "room-c");
    let event = &relay.rows(&["log", "show", &refused.reference()])[0];
    assert!(
        event["rule"]
            .as_str()
            .unwrap()
            .contains("enforces missing_tls"),
        "{event}"
    );
    client.start_tls(&relay.path("certs"));
    client.say("EHLO ws.test");
    let kept = send(&mut client, &vakt("c"));
    let event = accepted(&relay, &kept.reference(), &["accepted", "delivered"]);
    assert_eq!(event.get("tolerated"), None, "{event}");
}

#[test]
fn where_tls_is_not_offered_plain_text_is_refused_for_good() {
    let relay = by_steps("missing_tls").start();
    let refused = relay.client("c").say(format!("MAIL FROM:<{}>", vakt("c")));
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    let null = relay.client("c").say("MAIL FROM:<>");
    assert_eq!(null.said(), "550 5.7.1", "{null}");
}

#[test]
fn a_stranger_sends_as_a_room_only_where_that_room_lets_it() {
    let relay = by_steps("unknown_workstations")
        .routes("[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.8.0/24\"\n")
        .tls("starttls")
        .start();
    for (letter, story) in [
        ("a", &["accepted", "delivered"][..]),
        ("b", &["accepted", "tolerated", "delivered"]),
    ] {
        let mut client = Client::greeted(relay.port, STRANGER);
        let mail = client.say(format!("MAIL FROM:<{}>", vakt(letter)));
        assert_eq!(mail.said(), "250 2.1.0", "{mail}");
        let is_warned = mail.text().contains("not a registered workstation");
        assert_eq!(is_warned, letter == "b", "{mail}");
        client.say("RSET");
        let kept = send(&mut client, &vakt(letter));
        assert_eq!(kept.said(), "250 2.0.0", "{kept}");
        let event = accepted(&relay, &kept.reference(), story);
        assert_eq!(
            event["tolerated"],
            json!(["missing_tls", "unknown_workstation"])
        );
        let row = &relay.rows(&["log", "search", &kept.reference()])[0];
        assert_eq!(row["sender_room"], format!("room-{letter}"));
        // It is bound to that room like any workstation of it.
        let forged = letter_saying(&vakt("c"), &vakt("d"), "hei\r\n");
        let refused = client.send(&vakt(letter), &[&vakt("d")], &forged);
        assert_eq!(refused.said(), "550 5.7.1", "{refused}");
        let outside = client.send(&vakt(letter), &["x@example.com"], b"");
        assert_eq!(outside.said(), "550 5.7.1", "{outside}");
    }
    // Unknown in a room that enforces, of no room, or without a sender; and not unknown at all.
    for (client, sender, said) in [
        (STRANGER, vakt("c"), "530 5.7.0"),
        (STRANGER, vakt("d"), "530 5.7.0"),
        (STRANGER, "x@example.com".to_owned(), "530 5.7.0"),
        (STRANGER, String::new(), "530 5.7.0"),
        ("127.0.3.9", vakt("a"), "550 5.7.1"),
        ("127.0.8.9", vakt("a"), "550 5.7.1"),
    ] {
        let reply = Client::greeted(relay.port, client).say(format!("MAIL FROM:<{sender}>"));
        assert_eq!(reply.said(), said, "{client} {sender}: {reply}");
        assert_eq!(relay.refusal(&reply.reference())["client"], client);
    }
}

#[test]
fn newlines_that_stand_alone_are_normalised_or_refused() {
    let sink = Sink::start();
    let mut setup = Setup::no_rooms().room("d", &sink.hop());
    for (letter, measure) in [("a", "report"), ("b", "warn"), ("c", "enforce")] {
        let strictness = format!("strictness = {{ bare_newlines = \"{measure}\" }}\n");
        setup = setup.room_with(letter, "maildir:mail/x", &strictness);
    }
    let relay = setup
        .routes("[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.8.0/24\"\n")
        .start();
    for (letter, story) in [
        ("a", &["accepted", "altered", "delivered"][..]),
        ("b", &["accepted", "altered", "tolerated", "delivered"]),
    ] {
        let message = letter_saying(&vakt(letter), &vakt("d"), "one\ntwo\rthree\r\n\n.\r\n");
        let mut client = relay.client(letter);
        client.envelope(&vakt(letter), &[&vakt("d")], "");
        client.say("DATA");
        client.put(&[&message[..], b".\r\n"].concat());
        let kept = client.reply();
        assert_eq!(kept.said(), "250 2.0.0", "{kept}");
        assert_eq!(
            kept.text().contains("soon refused"),
            letter == "b",
            "{kept}"
        );
        let event = accepted(&relay, &kept.reference(), story);
        assert_eq!(event["tolerated"], json!(["missing_tls", "bare_newlines"]));
        let altered = &relay.rows(&["log", "show", &kept.reference()])[1];
        assert!(
            altered["reason"].as_str().unwrap().ends_with("3 times"),
            "{altered}"
        );
        let found = sink.wait_for(if letter == "a" { 1 } else { 2 });
        let text = found.last().unwrap().text();
        assert!(
            text.ends_with("\r\n\r\none\r\ntwo\r\nthree\r\n\r\n.\r\n"),
            "{text:?}"
        );
    }
    for (client, from) in [
        ("127.0.3.9", vakt("c")),
        ("127.0.8.9", "x@example.com".to_owned()),
    ] {
        let message = letter_saying(&from, &vakt("d"), "one\ntwo\r\n");
        let reply = Client::greeted(relay.port, client).send(&from, &[&vakt("d")], &message);
        assert_eq!(reply.said(), "550 5.6.0", "{from}: {reply}");
        let row = relay.refusal(&reply.reference());
        assert_eq!(row["recipient"], vakt("d"), "{row}");
    }
    let mut client = relay.client("a");
    client.put(b"MAIL FROM:<vakt@a.nodnett.test>\n");
    assert_eq!(
        client.reply().said(),
        "500 5.5.2",
        "commands end in CRLF for everybody"
    );
}

#[test]
fn chunks_are_normalised_across_their_borders() {
    let sink = Sink::start();
    let strictness = "strictness = { bare_newlines = \"report\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", strictness)
        .room("d", &sink.hop())
        .start();
    let mut client = relay.client("a");
    client.envelope(&vakt("a"), &[&vakt("d")], "");
    let head = "From: vakt@a.nodnett.test\r\nSubject: biter\r\n\r\n";
    let chunks = [head, "one\r", "\ntwo\r", "three\n.\r\n.", "four\r"];
    for (number, chunk) in chunks.iter().enumerate() {
        let last = if number + 1 == chunks.len() {
            " LAST"
        } else {
            ""
        };
        client.put(format!("BDAT {}{last}\r\n{chunk}", chunk.len()).as_bytes());
        let reply = client.reply();
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    }
    let text = sink.wait_for(1)[0].text();
    let expected = format!("{head}one\r\ntwo\r\nthree\r\n.\r\n.four\r\n");
    assert!(text.ends_with(&expected), "{text:?}");
}

#[test]
fn what_hides_behind_a_newline_is_judged_like_any_header_field() {
    let strictness = "strictness = { bare_newlines = \"report\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", strictness)
        .room("b", "maildir:mail/b")
        .start();
    for (head, said) in [
        ("Subject: x\nFrom: vakt@a.nodnett.test\r\n\r\n", "250 2.0.0"),
        ("Subject: x\rFrom: vakt@a.nodnett.test\r\n\r\n", "250 2.0.0"),
        (
            "From: vakt@a.nodnett.test\r\nSubject: x\nFrom: vakt@b.nodnett.test\r\n\r\n",
            "550 5.7.1",
        ),
        (
            "From: vakt@a.nodnett.test\r\nSubject: x\rFrom: vakt@b.nodnett.test\r\n\r\n",
            "550 5.7.1",
        ),
        ("Subject: x\nFrom: vakt@b.nodnett.test\r\n\r\n", "550 5.7.1"),
        (
            "From: vakt@a.nodnett.test,\n vakt@b.nodnett.test\r\n\r\n",
            "550 5.7.1",
        ),
        // An empty line ends the header, whatever it is made of.
        (
            "Subject: x\n\nFrom: vakt@a.nodnett.test\r\n\r\n",
            "550 5.7.1",
        ),
        (
            "Subject: x\r\rFrom: vakt@a.nodnett.test\r\n\r\n",
            "550 5.7.1",
        ),
    ] {
        let message = format!("{head}hei\r\n");
        let mut client = relay.client("a");
        let reply = client.send(&vakt("a"), &[&vakt("b")], message.as_bytes());
        assert_eq!(reply.said(), said, "{head:?}: {reply}");
    }
}

#[test]
fn a_report_is_as_strict_as_the_room_that_it_turns_out_to_be_of() {
    let network = "[[room.workstation]]\nnetwork = \"127.0.9.9/32\"\n";
    let lax = "strictness = { bare_newlines = \"report\" }\n";
    let strict = "strictness = { missing_tls = \"enforce\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &format!("{lax}{network}"))
        .room_with("b", "maildir:mail/b", network)
        .room_with("c", "maildir:mail/c", &format!("{strict}{network}"))
        .start();
    for (from, body, said) in [
        ("a", "one\ntwo\r\n", "250 2.0.0"),
        ("b", "one\r\ntwo\r\n", "250 2.0.0"),
        ("b", "one\ntwo\r\n", "550 5.6.0"),
        ("c", "one\r\ntwo\r\n", "550 5.7.1"),
    ] {
        let message = letter_saying(&vakt(from), &vakt("a"), body);
        let mut client = Client::greeted(relay.port, STRANGER);
        let reply = client.send("", &[&vakt("a")], &message);
        assert_eq!(reply.said(), said, "{from} {body:?}: {reply}");
    }
}

#[test]
fn what_newlines_grow_to_counts_against_the_limit() {
    let strictness = "strictness = { bare_newlines = \"report\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", strictness)
        .room("b", "maildir:mail/b")
        .settings("[limits]\nmessage_size = \"64 KiB\"")
        .start();
    for (newlines, said) in [(20_000, "250 2.0.0"), (40_000, "552 5.3.4")] {
        let message = letter_saying(&vakt("a"), &vakt("b"), &"\n".repeat(newlines));
        let mut client = relay.client("a");
        let reply = client.send(&vakt("a"), &[&vakt("b")], &[&message[..], b"\r\n"].concat());
        assert_eq!(reply.said(), said, "{reply}");
        assert_eq!(client.say("NOOP").code, 250);
        client.envelope(&vakt("a"), &[&vakt("b")], "");
        client.put(format!("BDAT {} LAST\r\n", message.len()).as_bytes());
        client.put(&message);
        let reply = client.reply();
        assert_eq!(reply.said(), said, "BDAT: {reply}");
    }
}

#[test]
fn a_table_that_enforces_is_obeyed_from_the_next_mail_on() {
    let with = |strictness: &str| {
        room("a", "maildir:mail/a", strictness) + &room("d", "maildir:mail/d", "")
    };
    let mut relay = Setup::no_rooms().routes(&with("")).prepare();
    relay.start();
    let mut client = relay.client("a");
    assert_eq!(client.say(format!("MAIL FROM:<{}>", vakt("a"))).code, 250);
    relay.apply(&with("[room.strictness]\nmissing_tls = \"enforce\"\n"));
    wait::until("the new table", || {
        let mut other = relay.client("a");
        other.say(format!("MAIL FROM:<{}>", vakt("a"))).code == 550
    });
    // What had begun goes on under the table that it began with.
    assert_eq!(client.say(format!("RCPT TO:<{}>", vakt("d"))).code, 250);
    let kept = client.data(&letter(&vakt("a"), &vakt("d")));
    assert_eq!(kept.said(), "250 2.0.0", "{kept}");
    let refused = client.say(format!("MAIL FROM:<{}>", vakt("a")));
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    relay.apply(&with("strictness = { missing_tls = \"report\" }\n"));
    wait::until("the old measure", || {
        client.say("RSET");
        client.say(format!("MAIL FROM:<{}>", vakt("a"))).code == 250
    });
}

#[test]
fn a_table_with_steps_is_exported_without_what_goes_unsaid() {
    let steps = "[room.strictness]\nmissing_tls = \"report\"\nunknown_workstations = \"warn\"\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", steps)
        .room_with(
            "b",
            "maildir:mail/b",
            "strictness = { missing_tls = \"report\" }\n",
        )
        .prepare();
    let output = relay.run(&["route", "apply", "routes.toml"]);
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(
        warned.contains("\"room-a\" does not enforce unknown_workstations"),
        "{warned}"
    );
    assert!(relay.run(&["check"]).status.success());
    let checked = String::from_utf8(relay.run(&["check"]).stderr).unwrap();
    assert!(
        checked.contains("\"room-a\" does not enforce unknown_workstations"),
        "{checked}"
    );
    let exported = relay.done(&["route", "export"]);
    let said = "[room.strictness]\nunknown_workstations = \"warn\"\n";
    assert_eq!(exported.matches("strictness").count(), 1, "{exported}");
    assert!(exported.contains(said), "{exported}");
    relay.apply(&exported);
    assert_eq!(relay.done(&["route", "export"]), exported);
    relay.apply(&exported.replace("warn", "report"));
    let history = relay.rows(&["route", "history"]);
    assert_eq!(history[0]["summary"], "1 room changed (room-a)");
}

#[test]
fn a_login_without_a_line_stays_refused_where_strangers_pass() {
    let mut relay = Setup::no_rooms()
        .room_with(
            "a",
            "maildir:mail/a",
            "strictness = { unknown_workstations = \"report\" }\n",
        )
        .tls("starttls")
        .prepare();
    relay.start();
    let output = relay.told(&["credential", "set", "nobody"], "correct horse\n");
    assert!(output.status.success(), "{output:?}");
    let mut client = Client::greeted(relay.port, STRANGER);
    client.start_tls(&relay.path("certs"));
    client.say("EHLO ws.test");
    assert_eq!(client.say(format!("MAIL FROM:<{}>", vakt("a"))).code, 250);
    client.say("RSET");
    let plain = "AUTH PLAIN AG5vYm9keQBjb3JyZWN0IGhvcnNl";
    assert_eq!(client.say(plain).said(), "235 2.7.0");
    let refused = client.say(format!("MAIL FROM:<{}>", vakt("a")));
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
}

/// curl sends a file as it is.
#[test]
fn curl_with_a_text_file_is_moved_step_by_step() {
    if !peer::all_here(&["curl"]) {
        return;
    }
    let table = |measure: &str| {
        let strictness = format!(
            "strictness = {{ bare_newlines = \"{measure}\" }}\n\
             [[room.workstation]]\nnetwork = \"127.0.0.1/32\"\n"
        );
        room("a", "maildir:mail/a", &strictness) + &room("b", "maildir:mail/b", "")
    };
    let relay = Setup::no_rooms().routes(&table("report")).start();
    let file = relay.path("letter.txt");
    let text = "From: vakt@a.nodnett.test\nSubject: fra fil\n\n.\nhei\n";
    fs::write(&file, text).unwrap();
    let send = || {
        let output = peer::command("curl")
            .args(["--silent", "--show-error", "--verbose"])
            .arg(format!("smtp://127.0.0.1:{}/ws.test", relay.port))
            .args(["--mail-from", &vakt("a"), "--mail-rcpt", &vakt("b")])
            .arg("--upload-file")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    let (sent, said) = send();
    assert!(sent && !said.contains("soon refused"), "{said}");
    wait::until("the message", || relay.maildir("b", "vakt").len() == 1);
    let kept = String::from_utf8(relay.maildir("b", "vakt").remove(0)).unwrap();
    let straight = text.replace('\n', "\r\n");
    assert!(kept.contains(&straight), "{kept:?}");
    relay.apply(&table("warn"));
    wait::until("a warning", || {
        let (sent, said) = send();
        assert!(sent, "{said}");
        said.contains("soon refused (line ends that are not CRLF)")
    });
    relay.apply(&table("enforce"));
    wait::until("the refusal", || {
        let (sent, said) = send();
        !sent && said.contains("550 5.6.0")
    });
}
