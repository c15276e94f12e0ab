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
    (
        "a second one behind a line that is no field",
        "From: vakt@a.nodnett.test\r\nIngen linje\r\n From: vakt@b.nodnett.test\r\n",
    ),
    (
        "a second one behind a colon",
        "From: vakt@a.nodnett.test\r\n:From: vakt@b.nodnett.test\r\n",
    ),
    (
        "a second one with a letter from elsewhere",
        "From: vakt@a.nodnett.test\r\nFr\u{43e}m: vakt@b.nodnett.test\r\n",
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

/// Fields that say who has sent a message, beside an honest From; `{}` is one of their names.
const FORGED_SENDERS: &[&str] = &[
    "{}: vakt@b.nodnett.test",
    "{}: x@example.com",
    "{}: vakt@x.a.nodnett.test",
    "{} : Vakt B <vakt@b.nodnett.test>",
    "{}\t: vakt@b.nodnett.test",
    "{}:\r\n\tvakt@b.nodnett.test",
    "{}: \"vakt@b.nodnett.test\" <vakt@a.nodnett.test>",
    "{}: =?utf-8?q?vakt=40b.nodnett.test?= <vakt@a.nodnett.test>",
    "{}: =?utf-8?b?dmFrdEBiLm5vZG5ldHQudGVzdA==?= <vakt@a.nodnett.test>",
    "{}: vakt@a.nodnett.test (vakt@b.nodnett.test)",
    "{}: (vakt@a.nodnett.test) vakt@b.nodnett.test",
    "{}: alle: vakt@b.nodnett.test;",
    "{}: alle:;",
    "{}: vakt@a.nodnett.test, vakt@b.nodnett.test",
    "{}: vakt@b.nodnett.test@a.nodnett.test",
    "{}: vakt%b.nodnett.test@a.nodnett.test",
    "{}:",
    "{}: <>",
    "{}: Vakt A",
    "{}: Va\0kt <vakt@a.nodnett.test>",
    "{}: \"tset.ttendon.b@tkav\u{202e}\" <vakt@a.nodnett.test>",
    ":{}: vakt@b.nodnett.test",
    "Ingen linje\r\n{}: vakt@a.nodnett.test",
    "Ingen linje\r\n {}: vakt@b.nodnett.test",
    "Subject: x\r\n \r\n{}: vakt@a.nodnett.test",
    "{}\u{a0}: vakt@b.nodnett.test",
    "\u{feff}{}: vakt@b.nodnett.test",
    "{}\u{ff1a} vakt@b.nodnett.test",
    "X-A: x\u{2028}{}: vakt@b.nodnett.test",
];

#[test]
fn no_field_names_another_room_as_the_sender() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let refused = |fields: &str| {
        let message = letter_from_fields(&format!("From: vakt@a.nodnett.test\r\n{fields}\r\n"));
        let mut client = relay.client("a");
        let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "550 5.7.1", "{fields:?}: {reply}");
        reply
    };
    for name in ["Sender", "Resent-From", "Resent-Sender", "sEnDeR"] {
        for fields in FORGED_SENDERS {
            refused(&fields.replace("{}", name));
        }
        let long = format!("X-A: {}{name}: vakt@b.nodnett.test", "x".repeat(990));
        refused(&long);
    }
    for fields in [
        "Sender: vakt@a.nodnett.test\r\nSender: vakt@a.nodnett.test",
        "Sender: vakt@a.nodnett.test, leder@a.nodnett.test",
        "Sender: alle: vakt@a.nodnett.test;",
        "Resent-Sender: vakt@a.nodnett.test, leder@a.nodnett.test",
        "Resent-From: vakt@a.nodnett.test\r\nResent-From: vakt@b.nodnett.test",
        "Resent-From: vakt@a.nodnett.test\r\nResent-Sender: vakt@b.nodnett.test",
    ] {
        refused(fields);
    }
    assert_eq!(sink.count(), 0);
}

#[test]
fn the_refusal_names_the_field_and_the_rule() {
    let relay = Setup::three_rooms().start();
    for (fields, said, rule) in [
        (
            "Sender: vakt@b.nodnett.test",
            "The Sender field names <vakt@b.nodnett.test>, which is not an address of room-a",
            "room \"room-a\" may not name vakt@b.nodnett.test in Sender",
        ),
        (
            "Resent-From: vakt@c.nodnett.test",
            "The Resent-From field names <vakt@c.nodnett.test>, which is not an address of room-a",
            "room \"room-a\" may not name vakt@c.nodnett.test in Resent-From",
        ),
        (
            "Sender:",
            "The Sender field names no mailbox",
            "a message has one Sender field at most, which names one mailbox",
        ),
        (
            "Resent-Sender: x",
            "The Resent-Sender field names no mailbox",
            "a Resent-Sender field names one mailbox",
        ),
    ] {
        let message = letter_from_fields(&format!("From: vakt@a.nodnett.test\r\n{fields}\r\n"));
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        assert!(reply.text().contains(said), "{fields}: {reply}");
        let row = relay.refusal(&reply.reference());
        assert_eq!(row["recipient"], "vakt@b.nodnett.test");
        let story = relay.rows(&["log", "show", &reply.reference()]);
        assert_eq!(story[0]["rule"], rule, "{fields}");
    }
}

#[test]
fn whoever_of_the_own_room_sent_it_may_be_named() {
    let relay = Setup::three_rooms().start();
    for fields in [
        "Sender: Vakt A <vakt@a.nodnett.test>",
        "Sender: =?utf-8?q?Vakt_=C3=98st?= <leder@A.nodnett.test>",
        "sender:\r\n\t\"Vakt, A\" <vakt@a.nodnett.test>",
        "Resent-From: vakt@a.nodnett.test\r\nResent-To: vakt@b.nodnett.test",
        "Resent-From: vakt@a.nodnett.test, leder@a.nodnett.test\r\nResent-Sender: leder@a.nodnett.test\r\n\
         Resent-From: vakt@a.nodnett.test",
        // not whom it is from, but where answers go, and what lists and programs say of themselves
        "Reply-To: vakt@c.nodnett.test\r\nX-Sender: vakt@c.nodnett.test\r\nList-Post: <mailto:x@example.com>",
    ] {
        let message = letter_from_fields(&format!("From: vakt@a.nodnett.test\r\n{fields}\r\n"));
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "250 2.0.0", "{fields:?}: {reply}");
    }
}

/// What the servers in rooms write over their reports.
const REPORTS: &[&str] = &[
    // Postfix
    "Received: by mail.a.nodnett.test (Postfix)\r\n\tid 4F7C320A1B; Sun, 22 Nov 2026 12:00:00 +0100 (CET)\r\n\
     Date: Sun, 22 Nov 2026 12:00:00 +0100 (CET)\r\n\
     From: MAILER-DAEMON@a.nodnett.test (Mail Delivery System)\r\n\
     Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
     Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"x\"\r\n",
    // Exchange
    "From: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@a.nodnett.test>\r\n\
     Sender: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@a.nodnett.test>\r\n\
     Subject: =?utf-8?B?S2FuIGlra2UgbGV2ZXJlczogcHLDuHZl?=\r\nX-MS-Exchange-Message-Is-Ndr:\r\n\
     Content-Type: multipart/report; report-type=delivery-status; boundary=\"x\"\r\n",
    // Exchange, for a mailbox that sends on
    "From: Microsoft Outlook\r\n\t<MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@a.nodnett.test>\r\n\
     Resent-From: <leder@a.nodnett.test>\r\nSubject: Undeliverable: hei\r\n",
    // Exim
    "From: Mail Delivery System <Mailer-Daemon@a.nodnett.test>\r\nAuto-Submitted: auto-replied\r\n\
     X-Failed-Recipients: x@a.nodnett.test\r\nSubject: Mail delivery failed: returning message to sender\r\n",
    // Dovecot
    "Message-ID: <dovecot-1@mail.a.nodnett.test>\r\nFrom: Postmaster <postmaster@a.nodnett.test>\r\n\
     Subject: Automatically rejected mail\r\nAuto-Submitted: auto-replied (rejected)\r\nPrecedence: bulk\r\n",
];

#[test]
fn reports_of_rooms_servers_come_through_as_they_are() {
    let relay = Setup::three_rooms().start();
    for fields in REPORTS {
        let message = letter_from_fields(fields);
        let reply = relay.client("a").send("", &[&vakt("b")], &message);
        assert_eq!(reply.said(), "250 2.0.0", "{fields}: {reply}");
        let rows = relay.rows(&["log", "search", &reply.reference()]);
        assert_eq!(rows[0]["sender_room"], "room-a");
        let forged = letter_from_fields(&format!("{fields}Resent-Sender: vakt@c.nodnett.test\r\n"));
        let refused = relay.client("a").send("", &[&vakt("b")], &forged);
        assert_eq!(refused.said(), "550 5.7.1", "{fields}: {refused}");
    }
}

/// As Postfix writes it where `myorigin` is the host's name.
#[test]
fn a_rooms_server_reports_in_the_name_of_its_host_and_nothing_else_does() {
    let relay = Setup::three_rooms().start();
    let message =
        letter_from_fields("From: MAILER-DAEMON@mail.a.nodnett.test (Mail Delivery System)\r\n");
    let sent = relay.client("a").send("", &[&vakt("b")], &message);
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    for (room, sender) in [("a", vakt("a")), ("b", String::new())] {
        let refused = relay.client(room).send(&sender, &[&vakt("c")], &message);
        assert_eq!(refused.said(), "550 5.7.1", "{room} {sender}: {refused}");
    }
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
