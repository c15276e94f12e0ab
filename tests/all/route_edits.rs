//! Small edits of the routing table from the command line: each one in the running relay, in the history
//! and in the table that is exported; and why one was not made.

use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::Timestamp;
use serde_json::Value;

use crate::client::{Client, letter, vakt};
use crate::relay::{Relay, Setup, column, free_port, room};
use crate::wait;

const PROMISED: Duration = Duration::from_secs(1);
const GROUP: &str = "alle@gruppe.nodnett.test";

/// What the relay answers to RCPT TO: `250 2.1.5`.
fn answer(relay: &Relay, recipient: &str) -> String {
    let refused = relay.client("a").envelope(&vakt("a"), &[recipient], "");
    refused.map_or_else(|| "taken".to_owned(), |reply| reply.said())
}

/// Makes an edit, and waits for the relay to answer so.
fn after(relay: &Relay, edit: &[&str], recipient: &str, expected: &str) {
    relay.done(&[&["route"], edit].concat());
    assert!(
        wait::within(PROMISED, || answer(relay, recipient) == expected),
        "{edit:?}: {} and not {expected}",
        answer(relay, recipient)
    );
}

fn send(relay: &Relay, recipient: &str) -> String {
    let message = letter(&vakt("a"), recipient);
    let reply = relay.client("a").send(&vakt("a"), &[recipient], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

fn summaries(relay: &Relay) -> Vec<String> {
    let mut told = column(&relay.rows(&["route", "history"]), "summary");
    told.reverse();
    told.split_off(1)
}

#[test]
fn a_room_comes_changes_and_goes() {
    let relay = Setup::three_rooms().start();
    let (to, other) = (vakt("d"), "leder@d.nodnett.test");
    assert_eq!(answer(&relay, &to), "550 5.7.1");
    #[rustfmt::skip]
    let steps: [(&[&str], &str, &str); 6] = [
        (&["room", "add", "room-d", "--name", "Rom D", "--domain", "d.nodnett.test", "--next-hop", "maildir:mail/d", "--network", "127.0.4.0/24", "--phone", "113"], &to, "taken"),
        (&["room", "set", "room-d", "--recipients", "leder,drift"], &to, "550 5.1.1"),
        (&["room", "set", "room-d", "--unset", "recipients"], &to, "taken"),
        (&["room", "set", "room-d", "--accepts-from", "room-b,room-c"], other, "550 5.7.1"),
        (&["room", "set", "room-d", "--accepts-from", "any", "--missing-tls", "warn"], other, "taken"),
        (&["room", "remove", "room-d"], &to, "550 5.7.1"),
    ];
    for (edit, recipient, expected) in steps {
        after(&relay, edit, recipient, expected);
    }
    let expected = [
        "1 room added (room-d)",
        "1 room changed (room-d)",
        "1 room changed (room-d)",
        "1 room changed (room-d)",
        "1 room changed (room-d)",
        "1 room removed (room-d)",
    ];
    assert_eq!(summaries(&relay), expected);
    let table = |revision: &str| relay.done(&["route", "show", revision]);
    assert_eq!(table("1"), table("7"));
    assert_eq!(table("2"), table("4"));
    let told = relay.done(&["route", "diff", "5", "6"]);
    for line in [
        "accepts_from [\"room-b\", \"room-c\"] → \"any\"",
        "strictness.missing_tls not said → \"warn\"",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_room_begins_a_table() {
    let relay = Setup::no_rooms().prepare();
    let told = relay.fails(1, &["route", "room", "disable", "room-a"]);
    assert!(told.contains("there is no routing table yet"), "{told}");
    relay.done(&[
        "route",
        "room",
        "add",
        "room-a",
        "--name",
        "A",
        "--domain",
        "a.test",
        "--next-hop",
        "maildir:mail/a",
    ]);
    let told = relay.done(&["route", "history"]);
    assert!(told.contains("the first table: 1 room, "), "{told}");
}

#[test]
fn a_disabled_room_takes_no_mail_and_still_sends() {
    let relay = Setup::three_rooms().start();
    after(
        &relay,
        &["room", "disable", "room-b", "--reason", "Ombygging"],
        &vakt("b"),
        "550 5.2.1",
    );
    let refused = relay.client("a").send(&vakt("a"), &[&vakt("b")], b"");
    let told =
        "<vakt@b.nodnett.test>: Rom B takes no mail at the moment; call +47 00 00 00 02 instead";
    assert!(refused.text().contains(told), "{refused}");
    let row = relay.refusal(&refused.reference());
    assert_eq!(row["recipient_room"], "room-b");
    let events = relay.rows(&["log", "show", &refused.reference()]);
    assert_eq!(events[0]["rule"], "room \"room-b\" is disabled");
    assert_eq!(events[0]["revision"], 2);
    let explained = relay.rows(&["route", "explain", &vakt("a"), &vakt("b")]);
    assert_eq!(column(&explained, "decision"), ["refuse"]);
    assert_eq!(explained[0]["rule"], "room \"room-b\" is disabled");

    let message = letter(&vakt("b"), &vakt("c"));
    let sent = relay.client("b").send(&vakt("b"), &[&vakt("c")], &message);
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);

    let redirect = ["redirect", "open", "room-b", "to", "room-c", "until", "2h"];
    after(&relay, &redirect, &vakt("b"), "taken");
    let redirected = send(&relay, &vakt("b"));
    relay.expect_events(&redirected, &["accepted", "delivered"]);
    assert_eq!(relay.maildir("c", "vakt").len(), 2);
    after(
        &relay,
        &["redirect", "close", "room-b"],
        &vakt("b"),
        "550 5.2.1",
    );
    after(&relay, &["room", "enable", "room-b"], &vakt("b"), "taken");
    let history = relay.rows(&["route", "history"]);
    assert_eq!(history[3]["reason"], "Ombygging");
}

#[test]
fn mail_that_was_taken_before_waits_while_its_room_is_disabled() {
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", free_port()))
        .delivery("retry = [\"1h\"]")
        .start();
    let reference = send(&relay, &vakt("b"));
    let last = || column(&relay.rows(&["queue", "list"]), "last_reply").concat();
    wait::until("an attempt", || last().contains("(while connecting)"));
    relay.done(&["route", "room", "disable", "room-b"]);
    wait::until("the room is disabled", || {
        last() == "room \"room-b\" is disabled"
    });
    assert_eq!(
        column(&relay.rows(&["queue", "list"]), "state"),
        ["deferred"]
    );
    relay.done(&[
        "route",
        "room",
        "set",
        "room-b",
        "--next-hop",
        "maildir:mail/b",
    ]);
    relay.done(&["route", "room", "enable", "room-b"]);
    wait::until("the end", || relay.queue_is_empty());
    let events = relay.events(&reference);
    assert_eq!(events.first().unwrap(), "accepted");
    assert_eq!(events.last().unwrap(), "delivered");
    assert_eq!(relay.maildir("b", "vakt").len(), 1);
}

#[test]
fn a_plan_tells_whose_mail_a_disabled_room_would_refuse() {
    let relay = Setup::three_rooms().start();
    send(&relay, &vakt("b"));
    let rows = relay.rows(&["route", "room", "disable", "room-b", "--plan"]);
    assert_eq!(column(&rows, "kind"), ["change", "traffic"]);
    assert_eq!(rows[0]["summary"], "room changed: disabled not said → true");
    assert_eq!(rows[1]["after"], "refuse: room \"room-b\" is disabled");
    let told = relay.done(&["route", "room", "disable", "room-b", "--plan"]);
    let last = told.lines().last().unwrap();
    assert_eq!(
        last,
        "Revision 1 is in force. To apply this: the same without --plan, and with --expect 1"
    );
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
    assert_eq!(answer(&relay, &vakt("b")), "taken");
}

#[test]
fn a_workstation_is_let_in_and_out() {
    let relay = Setup::three_rooms().start();
    let says = || {
        let mut client = Client::greeted(relay.port, "127.0.8.1");
        client.say(format!("MAIL FROM:<{}>", vakt("a"))).code
    };
    assert_eq!(says(), 550);
    let source = ["room-a", "--network", "127.0.8.1"];
    relay.done(&[&["route", "workstation", "add"], &source[..]].concat());
    assert!(wait::within(PROMISED, || says() == 250));
    relay.done(&[&["route", "workstation", "remove"], &source[..]].concat());
    assert!(wait::within(PROMISED, || says() == 550));
    let table = |revision: &str| relay.done(&["route", "show", revision]);
    assert_eq!(table("1"), table("3"));
    relay.done(&[
        "route",
        "workstation",
        "add",
        "room-a",
        "--user",
        "a1",
        "--certificate",
        "WS1.a.test",
    ]);
    let export = relay.done(&["route", "export"]);
    assert!(export.contains("user = \"a1\""), "{export}");
    assert!(export.contains("certificate = \"ws1.a.test\""), "{export}");
}

#[test]
fn a_group_comes_changes_and_goes() {
    let relay = Setup::three_rooms().start();
    let (b, c) = (vakt("b"), vakt("c"));
    after(&relay, &["group", "add", GROUP, &b], GROUP, "taken");
    after(
        &relay,
        &["group", "join", GROUP, &c, &vakt("a")],
        GROUP,
        "taken",
    );
    after(&relay, &["group", "leave", GROUP, &b], GROUP, "taken");
    wait::until("a message for both members", || {
        let reference = send(&relay, GROUP);
        let mut rows = column(&relay.rows(&["log", "search", &reference]), "recipient");
        rows.sort();
        rows == [vakt("a"), vakt("c")]
    });
    after(&relay, &["group", "remove", GROUP], GROUP, "550 5.7.1");
    let expected =
        ["added", "changed", "changed", "removed"].map(|it| format!("1 group {it} ({GROUP})"));
    assert_eq!(summaries(&relay), expected);
}

#[test]
fn a_redirect_is_opened_in_the_words_of_people_and_closed() {
    let relay = Setup::three_rooms().start();
    let open = ["route", "redirect", "open", "room-b", "to", "room-c"];
    relay.done(&[&open[..], &["until", "7:00", "--reason", "Flytting"]].concat());
    assert!(wait::within(PROMISED, || {
        send(&relay, &vakt("b"));
        wait::until("delivery", || relay.queue_is_empty());
        !relay.maildir("c", "vakt").is_empty()
    }));
    let export = relay.done(&["route", "export"]);
    assert!(
        export.contains("room = \"room-b\"\nto = \"room-c\"\nuntil = 20"),
        "{export}"
    );
    assert!(export.contains("reason = \"Flytting\""), "{export}");
    let history = relay.rows(&["route", "history"]);
    assert_eq!(history[0]["reason"], "Flytting");
    let told = relay.done(&[&open[..], &["until", "7:00", "--reason", "Flytting"]].concat());
    assert_eq!(told, "No difference: revision 2 stays in force.\n");

    relay.done(&["route", "redirect", "close", "room-b"]);
    assert!(!relay.done(&["route", "export"]).contains("redirect"));
    let later = ["--to", "room-c", "--from", "2h", "--until", "2h"];
    relay.done(&[&open[..4], &later[..]].concat());
    let told = relay.fails(1, &["route", "redirect", "close", "room-b"]);
    assert!(
        told.contains("no redirect of room \"room-b\" is open now; --all takes these out: "),
        "{told}"
    );
    relay.done(&["route", "redirect", "close", "room-b", "--all"]);
    assert_eq!(
        relay.done(&["route", "show", "1"]),
        relay.done(&["route", "export"])
    );
}

#[test]
fn an_edit_that_changes_nothing_says_so() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    for edit in [
        &["room", "enable", "room-a"][..],
        &["room", "set", "room-a", "--name", "Rom A"],
        &["room", "set", "room-a", "--unset", "recipients"],
        &["workstation", "add", "room-a", "--network", "127.0.1.0/24"],
    ] {
        let told = relay.done(&[&["route"], edit].concat());
        assert_eq!(
            told, "No difference: revision 1 stays in force.\n",
            "{edit:?}"
        );
    }
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn each_mistake_is_told_in_words_of_the_edit() {
    let group = format!(
        "[[group]]\naddress = \"{GROUP}\"\nmembers = [\"{}\"]\n",
        vakt("b")
    );
    let relay = Setup::three_rooms().routes(&group).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let export = relay.done(&["route", "export"]);
    #[rustfmt::skip]
    let cases: [(i32, &[&str], &str); 12] = [
        (1, &["room", "disable", "room-bb"], "there is no room \"room-bb\"; did you mean \"room-b\"?"),
        (1, &["room", "set", "room-a", "--kind", "amkk"], "\"kind\": \"amkk\" is not known; it is one of amk, legevakt, akuttmottak, other"),
        (1, &["room", "set", "room-a", "--next-hop", "http://x"], "\"http\""),
        (1, &["room", "set", "room-a", "--domain", "b.nodnett.test"], "domain \"b.nodnett.test\" already belongs to room \"room-b\"; it can have only one"),
        (1, &["room", "set", "room-b", "--recipients", "leder"], "unknown member vakt@b.nodnett.test: it is not among the recipients of room \"room-b\""),
        (1, &["room", "remove", "room-b"], "room \"room-b\" cannot be removed: group alle@gruppe.nodnett.test has the member vakt@b.nodnett.test"),
        (1, &["group", "join", GROUP, GROUP], "groups in a circle"),
        (1, &["redirect", "open", "room-a", "to", "room-a"], "redirects in a circle"),
        (1, &["workstation", "remove", "room-a", "--network", "127.0.1.0/25"], "room \"room-a\" has no workstation network 127.0.1.0/25; did you mean network 127.0.1.0/24?"),
        (2, &["room", "set", "room-a", "--unset", "phon"], "did you mean phone?"),
        (2, &["room", "set", "room-a"], "required"),
        (2, &["redirect", "open", "room-a", "to", "room-b", "until", "tomorrow"], "is no time; write 07:00"),
    ];
    for (status, edit, expected) in cases {
        let told = relay.fails(status, &[&["route"], edit].concat());
        assert!(told.contains(expected), "{edit:?}: {told}");
        assert!(!told.contains("line "), "{edit:?}: {told}");
    }
    assert_eq!(relay.done(&["route", "export"]), export);
    relay.done(&["route", "room", "remove", "room-b", "--with-mentions"]);
    assert!(!relay.done(&["route", "export"]).contains("b.nodnett.test"));
}

#[test]
fn an_edit_is_careful_with_what_others_have_done() {
    let relay = Setup::three_rooms().start();
    relay.done(&["route", "room", "disable", "room-a", "--expect", "1"]);
    let late = relay.fails(1, &["route", "room", "disable", "room-b", "--expect", "1"]);
    assert!(late.contains("is at revision 2, not 1"), "{late}");
    relay.done(&["route", "room", "enable", "room-a", "--confirm", "1h"]);
    let told = relay.fails(1, &["route", "room", "disable", "room-b"]);
    assert!(told.contains("revision 3 may be taken back yet"), "{told}");
    relay.done(&["route", "confirm"]);
    let strict = relay.fails(
        1,
        &[
            "route", "redirect", "open", "room-b", "to", "room-c", "--strict",
        ],
    );
    assert!(
        strict.contains("the redirect of room \"room-b\" has no \"until\": it never ends"),
        "{strict}"
    );
    assert!(strict.contains("nothing was changed"), "{strict}");
    let row = relay.rows(&["route", "room", "disable", "room-b"]);
    assert_eq!(row[0]["revision"], 4);
    assert_eq!(row[0]["summary"], "1 room changed (room-b)");
}

#[test]
fn an_edit_may_wait_for_a_second_person() {
    let relay = Setup::three_rooms()
        .settings("[routes]\napproval = true\n")
        .start();
    let told = relay.done(&["route", "room", "disable", "room-b"]);
    assert!(
        told.contains("waits for somebody else's approval"),
        "{told}"
    );
    assert!(!relay.done(&["route", "export"]).contains("disabled"));
}

#[test]
fn what_many_administrators_edit_at_once_all_lands() {
    const EACH: usize = 4;
    let relay = Arc::new(Setup::three_rooms().start());
    let edits = |who: usize| {
        let relay = Arc::clone(&relay);
        std::thread::spawn(move || {
            for at in 0..EACH {
                let (user, member) = (
                    format!("u{who}-{at}"),
                    format!("x{who}-{at}@c.nodnett.test"),
                );
                relay.done(&["route", "workstation", "add", "room-a", "--user", &user]);
                relay.done(&["route", "room", "set", "room-b", "--phone", &user]);
                relay.done(&[
                    "route",
                    "group",
                    "add",
                    &format!("g{who}-{at}@g.test"),
                    &member,
                ]);
            }
        })
    };
    let people: Vec<_> = (0..3).map(edits).collect();
    for who in people {
        who.join().unwrap();
    }
    let export = relay.done(&["route", "export"]);
    for who in 0..3 {
        for at in 0..EACH {
            assert!(
                export.contains(&format!("user = \"u{who}-{at}\"")),
                "{export}"
            );
            assert!(
                export.contains(&format!("[\"x{who}-{at}@c.nodnett.test\"]")),
                "{export}"
            );
        }
    }
    let history: Vec<Value> = relay.rows(&["route", "history"]);
    assert_eq!(history.len(), 1 + 3 * 3 * EACH);
    assert_eq!(answer(&relay, "g0-0@g.test"), "taken");
}

#[test]
fn a_table_that_is_written_by_hand_is_edited_too() {
    let relay = Setup::no_rooms().prepare();
    let file = relay.path("hand.toml");
    let table = [
        "# Ring drift.\n",
        &room("a", "maildir:mail/a", ""),
        "group = [] # ingen\n",
    ];
    std::fs::write(&file, [table[2], table[0], table[1]].concat()).unwrap();
    relay.done(&["route", "apply", "hand.toml"]);
    relay.done(&["route", "group", "add", GROUP, &vakt("a")]);
    let export = relay.done(&["route", "export"]);
    assert!(
        export.contains(&format!("address = \"{GROUP}\"")),
        "{export}"
    );
}

#[test]
fn an_edit_that_says_two_things_is_refused() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    #[rustfmt::skip]
    let cases: [(&[&str], &str); 4] = [
        (&["set", "room-a", "--phone", "113", "--unset", "phone"], "phone is to be set and to be unset: leave out one of them"),
        (&["set", "room-a", "--missing-tls", "warn", "--unset", "strictness"], "strictness is to be set and to be unset: leave out one of them"),
        (&["set", "room-a", "--domain", "a.nodnett.test", "--domain", "A.nodnett.test"], "domain \"A.nodnett.test\" is given twice"),
        (&["add", "room-d", "--name", "D", "--domain", "d.test", "--domain", "d.test", "--next-hop", "maildir:d"], "domain \"d.test\" is given twice"),
    ];
    for (edit, expected) in cases {
        let told = relay.fails(1, &[&["route", "room"], edit].concat());
        assert_eq!(told, format!("ilbud: {expected}\n"), "{edit:?}");
    }
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn a_space_after_a_comma_is_no_part_of_a_mailbox() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    relay.done(&[
        "route",
        "room",
        "set",
        "room-a",
        "--recipients",
        "vakt, leder",
    ]);
    let export = relay.done(&["route", "export"]);
    assert!(
        export.contains("recipients = [\"vakt\", \"leder\"]\n"),
        "{export}"
    );
}

#[test]
fn a_plan_of_an_edit_expects_what_the_edit_would() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let edit = ["route", "room", "disable", "room-b", "--plan", "--expect"];
    let told = relay.fails(1, &[&edit[..], &["2"]].concat());
    assert!(told.contains("is at revision 1, not 2"), "{told}");
    let told = relay.done(&[&edit[..], &["1"]].concat());
    assert!(told.contains("room room-b changed"), "{told}");
}

#[test]
fn a_gateway_comes_changes_and_goes() {
    const OUTSIDE: &str = "lege@example.com";
    let relay = Setup::three_rooms().start();
    let passes = |source: &str| {
        let mut client = Client::greeted(relay.port, source);
        client.envelope(OUTSIDE, &[&vakt("b")], "").is_none()
    };
    let gateway = |words: &str| -> Vec<String> {
        let words = words.split(' ').map(str::to_owned);
        ["route", "gateway"]
            .map(str::to_owned)
            .into_iter()
            .chain(words)
            .collect()
    };
    let done = |words: &str| {
        let words = gateway(words);
        relay.done(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let fails = |status: i32, words: &str| {
        let words = gateway(words);
        relay.fails(
            status,
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    assert!(!passes("127.0.9.1"));
    let told = done("add inn --network 127.0.9.1 --priority-ceiling 3 --plan");
    assert!(told.contains("gateway inn added"), "{told}");
    done("add inn --network 127.0.9.1 --priority-ceiling 3");
    assert!(wait::within(PROMISED, || passes("127.0.9.1")));
    done("set inn --network 127.0.9.2 --unset priority_ceiling");
    assert!(wait::within(PROMISED, || passes("127.0.9.2") && !passes("127.0.9.1")));
    let told = done("set inn --user helsenett");
    assert!(told.contains("1 gateway changed (inn)"), "{told}");
    let export = relay.done(&["route", "export"]);
    let entry = "[[gateway]]\nname = \"inn\"\nuser = \"helsenett\"\n";
    assert!(export.ends_with(entry), "{export}");
    for (status, words, expected) in [
        (
            1,
            "add inn --network 127.0.9.3",
            "there is a gateway \"inn\" already",
        ),
        (
            1,
            "set ind --network 127.0.9.3",
            "there is no gateway \"ind\"; did you mean \"inn\"?",
        ),
        (
            1,
            "remove in",
            "there is no gateway \"in\"; did you mean \"inn\"?",
        ),
        (1, "set inn --network 127.0.9", "\"127.0.9\" is no network"),
        (
            1,
            "set inn --unset priority_ceiling --priority-ceiling 2",
            "is to be set and to be unset",
        ),
        (2, "set inn", "required"),
        (2, "add ny", "required"),
        (
            2,
            "add ny --network 127.0.9.3 --user x",
            "cannot be used with",
        ),
    ] {
        let told = fails(status, words);
        assert!(told.contains(expected), "{words}: {told}");
    }
    done("remove inn");
    let expected = [
        "1 gateway added (inn)",
        "1 gateway changed (inn)",
        "1 gateway changed (inn)",
        "1 gateway removed (inn)",
    ];
    assert_eq!(summaries(&relay), expected);
    let table = |revision: &str| relay.done(&["route", "show", revision]);
    assert_eq!(table("1"), table("5"));
}

#[test]
fn what_a_room_says_of_the_scan_is_set_and_unset() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let set = |more: &[&str]| relay.done(&[&["route", "room", "set", "room-b"], more].concat());
    set(&["--scan", "on_failure=reject", "--scan", "macros=refuse"]);
    let export = relay.done(&["route", "export"]);
    for key in [
        "[room.scan]\n",
        "on_failure = \"reject\"\n",
        "macros = \"refuse\"\n",
    ] {
        assert!(export.contains(key), "{export}");
    }
    set(&["--scan", "macros=mark", "--unset", "scan.on_failure"]);
    let export = relay.done(&["route", "export"]);
    assert!(
        export.contains("[room.scan]\nmacros = \"mark\"\n"),
        "{export}"
    );
    for (status, scan, expected) in [
        (2, "makros=refuse", "did you mean macros?"),
        (2, "macros", "write for example macros=refuse"),
        (
            1,
            "macros=reject",
            "\"macros\": \"reject\" is not known; it is one of",
        ),
    ] {
        let told = relay.fails(status, &["route", "room", "set", "room-b", "--scan", scan]);
        assert!(told.contains(expected), "{scan}: {told}");
    }
    set(&["--unset", "scan"]);
    assert_eq!(
        relay.done(&["route", "export"]),
        relay.done(&["route", "show", "1"])
    );
}

#[test]
fn a_bad_domain_is_told_and_not_what_follows_from_it() {
    let group = format!(
        "[[group]]\naddress = \"{GROUP}\"\nmembers = [\"{}\"]\n",
        vakt("b")
    );
    let relay = Setup::three_rooms().routes(&group).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let told = relay.fails(1, &["route", "room", "set", "room-b", "--domain", "b x"]);
    assert_eq!(told, "ilbud: \"domains\": \"b x\" is no domain name\n");
    // One that is sound, and another one, leaves the group without its member.
    let told = relay.fails(1, &["route", "room", "set", "room-b", "--domain", "x.test"]);
    assert!(
        told.contains("unknown member vakt@b.nodnett.test"),
        "{told}"
    );
    let twice = relay.done(&["route", "export"]).replace(
        "[\"b.nodnett.test\"]",
        "[\"b.nodnett.test\", \"B.nodnett.test\"]",
    );
    std::fs::write(relay.path("new.toml"), twice).unwrap();
    let told = relay.fails(1, &["route", "apply", "new.toml"]);
    assert!(
        told.ends_with(": domain \"B.nodnett.test\" stands twice in this room; once is enough\n"),
        "{told}"
    );
}

#[test]
fn a_redirect_that_is_opened_tells_which_seven_o_clock_it_is() {
    let at = |local: &str| Timestamp::from_local(local).unwrap().local();
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let open = |more: &[&str]| {
        let told = relay.done(
            &[
                &["route", "redirect", "open", "room-b", "to", "room-c"],
                more,
            ]
            .concat(),
        );
        told.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(
        open(&["until", "2099-03-01 07:00", "--plan"]),
        format!(
            "Mail for room-b would go to room-c until {}.",
            at("2099-03-01 07:00")
        )
    );
    for (times, expected) in [
        (
            &["from", "2098-03-01 06:00", "until", "2098-03-01 07:00"][..],
            format!(
                "from {} until {}",
                at("2098-03-01 06:00"),
                at("2098-03-01 07:00")
            ),
        ),
        (
            &["until", "2097-03-01 07:00"],
            format!("until {}", at("2097-03-01 07:00")),
        ),
    ] {
        assert_eq!(
            open(times),
            format!("Mail for room-b goes to room-c {expected}.")
        );
    }
    relay.done(&["route", "redirect", "close", "room-b", "--all"]);
    assert_eq!(
        open(&[]),
        "Mail for room-b goes to room-c until it is closed: ilbud route redirect close room-b"
    );
}

#[test]
fn a_second_redirect_of_a_room_is_told_as_opened() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let open = ["route", "redirect", "open", "room-b", "to"];
    let later = "from 2030-01-01T00:00:00Z until 2030-01-02T00:00:00Z";
    let later: Vec<&str> = later.split(' ').collect();
    let first = [&open[..], &["room-c", "until", "2h"]].concat();
    let second = [&open[..], &["room-a"], &later].concat();
    relay.done(&first);
    let planned = relay.rows(&[&second[..], &["--plan"]].concat());
    assert_eq!(column(&planned, "summary"), ["redirect added"]);
    relay.done(&second);
    relay.done(&["route", "redirect", "close", "room-b"]);
    relay.done(&second);
    relay.done(&first);
    relay.done(&["route", "redirect", "close", "room-b", "--all"]);
    let expected = [
        "1 redirect added (room-b)",
        "1 redirect added (room-b)",
        "1 redirect removed (room-b)",
        "1 redirect added (room-b)",
        "2 redirects removed (room-b, room-b)",
    ];
    assert_eq!(summaries(&relay), expected);
}
