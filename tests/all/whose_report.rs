//! A report (`<>`) of a server that stands in the networks of several rooms: whose it is, its content
//! alone tells, and then everything is as if that had been known at MAIL.

use serde_json::{Value, json};

use crate::client::{Client, Reply, letter, letter_saying, vakt};
use crate::relay::{Relay, Setup, room};
use crate::wait;

/// The server of rooms a and b, and a gateway where there is one.
const SERVER: &str = "127.0.1.9";
const OUTSIDE: &str = "lege@example.com";

/// Rooms a and b with a server in common, each with what it says of strictness.
fn sharing(of_a: &str, of_b: &str) -> Setup {
    let one = |letter: &str, strictness: &str| {
        let more = format!(
            "strictness = {{ {strictness} }}\n[[room.workstation]]\nnetwork = \"{SERVER}\""
        );
        room(letter, &format!("maildir:mail/{letter}"), &more)
    };
    let both = format!("{}{}", one("a", of_a), one("b", of_b));
    Setup::no_rooms().routes(&both).room("d", "maildir:mail/d")
}

/// Room c, which accepts from one room only.
fn closed(setup: Setup, to_all_but: &str) -> Setup {
    let accepts = format!("accepts_from = [\"{to_all_but}\"]");
    setup.room_with("c", "maildir:mail/c", &accepts)
}

fn report(client: &mut Client, from: &str, to: &[&str]) -> Reply {
    client.send("", to, &letter(from, &vakt("d")))
}

fn found(relay: &Relay, reply: &Reply) -> Value {
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay.rows(&["log", "search", &reply.reference()])[0].clone()
}

/// The events of a message, once it is delivered.
fn story(relay: &Relay, reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    wait::find("its delivery", || {
        let events = relay.rows(&["log", "show", &reply.reference()]);
        let is_delivered = events.iter().any(|it| it["event"] == "delivered");
        is_delivered.then_some(events)
    })
}

#[test]
fn a_report_of_one_room_is_not_accepted_as_that_of_another() {
    let relay = closed(sharing("", ""), "room-a").start();
    let mut client = Client::greeted(relay.port, SERVER);
    let refused = client.send(&vakt("b"), &[&vakt("c")], &letter(&vakt("b"), &vakt("c")));
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    let both = [&*vakt("d"), &*vakt("c")];
    let refused = report(&mut client, &vakt("b"), &both);
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    assert!(refused.text().contains("Rom C"), "{refused}");
    let rows = wait::find("a row for each", || {
        let rows = relay.rows(&["log", "search", &refused.reference()]);
        (rows.len() == 2).then_some(rows)
    });
    for row in &rows {
        let whose = (&row["status"], &row["sender_room"]);
        assert_eq!(whose, (&json!("refused"), &json!("room-b")), "{row}");
    }
    let kept = report(&mut client, &vakt("a"), &both);
    assert_eq!(found(&relay, &kept)["sender_room"], "room-a");
    story(&relay, &kept);
    wait::until("one copy for each", || {
        ["c", "d"].map(|it| relay.maildir(it, "vakt").len()) == [1, 1]
    });
}

#[test]
fn a_report_reaches_whom_its_own_room_may_reach() {
    let group = "alle@gruppe.nodnett.test";
    let relay = closed(sharing("", ""), "room-b")
        .routes(&format!(
            "[[group]]\naddress = \"{group}\"\nmembers = [\"{}\", \"{}\"]\n",
            vakt("c"),
            vakt("d")
        ))
        .start();
    let mut client = Client::greeted(relay.port, SERVER);
    let kept = report(&mut client, &vakt("b"), &[&vakt("c")]);
    assert_eq!(found(&relay, &kept)["sender_room"], "room-b");
    let refused = report(&mut client, &vakt("a"), &[&vakt("c")]);
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    // A member that does not accept it is left out of a group, as ever.
    for (letter, left_out) in [("a", 1), ("b", 0)] {
        let kept = report(&mut client, &vakt(letter), &[group]);
        let events = story(&relay, &kept);
        let found = events.iter().filter(|it| it["event"] == "left out");
        assert_eq!(found.count(), left_out, "{events:?}");
    }
    wait::until("all copies", || {
        ["c", "d"].map(|it| relay.maildir(it, "vakt").len()) == [2, 2]
    });
    // Nobody's: neither room may write as another.
    let refused = report(&mut client, &vakt("d"), &[&vakt("d")]);
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
}

#[test]
fn in_plain_text_a_report_is_judged_by_its_own_room() {
    for (of_a, of_b) in [("enforce", "report"), ("report", "enforce")] {
        for (tls, said) in [("starttls", "530 5.7.0"), ("off", "550 5.7.1")] {
            let measure = |it| format!("missing_tls = \"{it}\"");
            let relay = sharing(&measure(of_a), &measure(of_b)).tls(tls).start();
            let mut client = Client::greeted(relay.port, SERVER);
            let (strict, lax) = match of_a {
                "enforce" => ("a", "b"),
                _ => ("b", "a"),
            };
            let kept = report(&mut client, &vakt(lax), &[&vakt("d")]);
            let events = story(&relay, &kept);
            assert_eq!(events[0]["tolerated"], json!(["missing_tls"]));
            let refused = report(&mut client, &vakt(strict), &[&vakt("d")]);
            assert_eq!(refused.said(), said, "{refused}");
            let row = relay.refusal(&refused.reference());
            assert_eq!(row["sender_room"], format!("room-{strict}"));
        }
    }
    let enforce = "missing_tls = \"enforce\"";
    let relay = sharing(enforce, enforce).tls("starttls").start();
    let refused = Client::greeted(relay.port, SERVER).say("MAIL FROM:<>");
    assert_eq!(refused.said(), "530 5.7.0", "no room would take it");
}

#[test]
fn bare_newlines_in_a_report_are_judged_by_its_own_room() {
    let (report, enforce) = ("bare_newlines = \"report\"", "bare_newlines = \"enforce\"");
    for (of_a, of_b, strict, lax) in [(enforce, report, "a", "b"), (report, enforce, "b", "a")] {
        let relay = sharing(of_a, of_b).start();
        let mut client = Client::greeted(relay.port, SERVER);
        let mut send = |from: &str| {
            let crooked = letter_saying(&vakt(from), &vakt("d"), "one\ntwo\r\n");
            client.send("", &[&vakt("d")], &crooked)
        };
        let kept = send(lax);
        let events = story(&relay, &kept);
        assert_eq!(
            events[0]["tolerated"],
            json!(["missing_tls", "bare_newlines"])
        );
        let refused = send(strict);
        assert_eq!(refused.said(), "550 5.6.0", "{refused}");
    }
}

#[test]
fn who_sends_a_report_is_warned_once_it_is_known_whose_it_is() {
    let (report_it, warn) = ("missing_tls = \"report\"", "missing_tls = \"warn\"");
    // A report of b: whether it is told at MAIL, and whether at the end.
    for (of_a, of_b, at_mail, at_end) in [
        (warn, report_it, false, false),
        (report_it, warn, false, true),
        (warn, warn, true, true),
    ] {
        let relay = sharing(of_a, of_b).start();
        let mut client = Client::greeted(relay.port, SERVER);
        let mail = client.say("MAIL FROM:<>");
        client.say(format!("RCPT TO:<{}>", vakt("d")));
        let kept = client.data(&letter(&vakt("b"), &vakt("d")));
        let told = [&mail, &kept].map(|it| it.text().contains("soon refused (no TLS)"));
        assert_eq!(told, [at_mail, at_end], "{mail} {kept}");
        let events = story(&relay, &kept);
        let tolerated = events.iter().find(|it| it["event"] == "tolerated");
        let room = tolerated.map(|it| &it["room"]);
        let expected = json!("room-b");
        assert_eq!(room, (at_mail || at_end).then_some(&expected), "{events:?}");
    }
}

#[test]
fn whose_report_it_was_is_who_was_seen() {
    let gateway = format!("[[gateway]]\nname = \"inn\"\nnetwork = \"{SERVER}\"\n");
    let relay = sharing("", "").routes(&gateway).start();
    let mut client = Client::greeted(relay.port, SERVER);
    let listed = |kind: &str, name: &str| {
        let rows = relay.rows(&["workstation", "list"]);
        let is_it = |it: &&Value| it[kind] == name && it["last_seen"].is_string();
        rows.iter().any(|it| is_it(&it))
    };
    let kept = report(&mut client, OUTSIDE, &[&vakt("d")]);
    let events = story(&relay, &kept);
    assert_eq!(events[0].get("tolerated"), None, "{events:?}");
    wait::until("the gateway", || listed("gateway", "inn"));
    report(&mut client, &vakt("b"), &[&vakt("d")]);
    wait::until("room b", || listed("room", "room-b"));
    assert!(!listed("room", "room-a"));
}
