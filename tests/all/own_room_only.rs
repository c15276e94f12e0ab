//! Nobody speaks for another room: envelope sender and From header, in every guise.

use crate::client::{Client, letter, letter_from_fields, vakt};
use crate::relay::{Setup, source};
use crate::sink::Sink;

#[test]
fn a_sender_of_another_room_is_refused_at_once() {
    let relay = Setup::three_rooms().start();
    for sender in [
        "vakt@b.nodnett.test",
        "x@example.com",
        "vakt@sub.a.nodnett.test",
    ] {
        let reply = relay.client("a").say(format!("MAIL FROM:<{sender}>"));
        assert_eq!(reply.said(), "550 5.7.1", "{sender}: {reply}");
        let row = relay.refusal(&reply.reference());
        assert_eq!(row["sender"], sender);
        assert_eq!(row["sender_room"], "room-a");
    }
}

#[test]
fn an_unknown_workstation_is_refused_at_mail() {
    let relay = Setup::three_rooms().start();
    let mut client = crate::client::Client::greeted(relay.port, "127.0.9.9");
    let reply = client.say("MAIL FROM:<vakt@a.nodnett.test>");
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    assert_eq!(relay.refusal(&reply.reference())["client"], "127.0.9.9");
}

const FORGED: &[(&str, &str)] = &[
    ("missing", ""),
    ("another room", "From: vakt@b.nodnett.test\r\n"),
    ("outside", "From: x@example.com\r\n"),
    (
        "twice",
        "From: vakt@a.nodnett.test\r\nFrom: vakt@a.nodnett.test\r\n",
    ),
    (
        "twice, the second forged",
        "From: vakt@a.nodnett.test\r\nFROM: vakt@b.nodnett.test\r\n",
    ),
    (
        "one of two",
        "From: vakt@a.nodnett.test, vakt@b.nodnett.test\r\n",
    ),
    ("in a group", "From: alle: vakt@b.nodnett.test;\r\n"),
    ("folded", "From: \"Vakt A\"\r\n <vakt@b.nodnett.test>\r\n"),
    ("folded inside", "From:\r\n\tvakt@b.nodnett.test\r\n"),
    (
        "behind a name that looks right",
        "From: \"vakt@a.nodnett.test\" <vakt@b.nodnett.test>\r\n",
    ),
    (
        "behind a comment",
        "From: (vakt@a.nodnett.test) vakt@b.nodnett.test\r\n",
    ),
    ("a group of nobody", "From: alle:;\r\n"),
    ("a name only", "From: Vakt A\r\n"),
    ("nothing", "From: \r\n"),
    ("space before the colon", "From : vakt@b.nodnett.test\r\n"),
    ("a subdomain", "From: vakt@x.a.nodnett.test\r\n"),
    (
        "two at signs",
        "From: vakt@b.nodnett.test@a.nodnett.test\r\n",
    ),
    (
        "an encoded mailbox",
        "From: =?utf-8?q?vakt=40b.nodnett.test?=\r\n",
    ),
    (
        "an encoded mailbox in brackets",
        "From: Vakt <=?utf-8?q?vakt=40b.nodnett.test?=>\r\n",
    ),
];

#[test]
fn no_forged_from_header_is_accepted() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    for (what, fields) in FORGED {
        let message = letter_from_fields(fields);
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "550 5.7.1", "{what}: {reply}");
        assert_eq!(
            relay.refusal(&reply.reference())["recipient"],
            "vakt@b.nodnett.test"
        );
    }
    assert_eq!(sink.count(), 0);
}

#[test]
fn an_honest_from_header_is_accepted_in_every_dress() {
    let relay = Setup::three_rooms().start();
    for from in [
        "From: vakt@a.nodnett.test",
        "from: leder@A.NODNETT.TEST",
        "From: Vakt A <vakt@a.nodnett.test>",
        "From: =?utf-8?q?Vakt_=C3=98st?= <vakt@a.nodnett.test>",
        "From: \"Vakt, A\" <vakt@a.nodnett.test>, leder@a.nodnett.test",
        "From: (nattvakt) vakt@a.nodnett.test",
        "From:\r\n Vakt\r\n <vakt@a.nodnett.test>",
        "From: vakt@b.nodnett.test <vakt@a.nodnett.test>",
    ] {
        let message = letter_from_fields(&format!("{from}\r\n"));
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        if from.contains("b.nodnett.test") {
            // A bare mailbox as a display name is no valid phrase: refused or taken, never misread.
            assert!([250, 550].contains(&reply.code), "{from}: {reply}");
        } else {
            assert_eq!(reply.said(), "250 2.0.0", "{from}: {reply}");
        }
    }
}

#[test]
fn reports_have_no_sender_and_go_to_rooms_only() {
    let relay = Setup::three_rooms().start();
    let message = letter_from_fields("From: MAILER-DAEMON@a.nodnett.test\r\n");
    let reply = relay.client("a").send("", &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let outside = relay.client("a").send("", &["x@example.com"], b"");
    assert_eq!(outside.said(), "550 5.7.1", "{outside}");
}

const GATEWAY: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n";

#[test]
fn a_gateway_brings_mail_in_and_never_speaks_for_a_room() {
    let relay = Setup::three_rooms().routes(GATEWAY).start();
    let gateway = || crate::client::Client::greeted(relay.port, "127.0.9.1");
    let outside = "lege@example.com";
    let reply = gateway().send(outside, &[&vakt("b")], &letter(outside, &vakt("b")));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);

    let as_room = gateway().say("MAIL FROM:<vakt@a.nodnett.test>");
    assert_eq!(as_room.said(), "550 5.7.1", "{as_room}");
    let forged = gateway().send(outside, &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(forged.said(), "550 5.7.1", "{forged}");
    let onward = gateway().send(outside, &["annen@example.org"], b"");
    assert_eq!(onward.said(), "550 5.7.1", "{onward}");
}

#[test]
fn a_network_belongs_to_the_room_that_names_it() {
    let relay = Setup::three_rooms().start();
    for letter_of in ["a", "b", "c"] {
        let mut client = crate::client::Client::greeted(relay.port, &source(letter_of));
        assert_eq!(
            client.say(format!("MAIL FROM:<{}>", vakt(letter_of))).code,
            250
        );
    }
}

#[test]
fn a_server_of_two_rooms_reports_for_each_of_them() {
    let network = "[[room.workstation]]\nnetwork = \"127.0.9.9/32\"";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", network)
        .room_with("b", "maildir:mail/b", network)
        .start();
    for room in ["a", "b", "a"] {
        let from = vakt(room);
        let message = format!("From: {from}\r\nSubject: rapport\r\n\r\nhei\r\n").into_bytes();
        let mut client = Client::greeted(relay.port, "127.0.9.9");
        let reply = client.send("", &[&vakt("a")], &message);
        assert_eq!(reply.said(), "250 2.0.0", "{room}: {reply}");
        let rows = relay.rows(&["log", "search", &reply.reference()]);
        assert_eq!(rows[0]["sender_room"], format!("room-{room}"));
    }
}
