//! Mail from outside: through a registered gateway only, to rooms only, and in no room's name, however
//! that is spelt, in the envelope or in a field that says whom a message is from.

use std::fs;
use std::net::TcpStream;

use crate::client::{Client, letter, letter_from_fields, vakt};
use crate::relay::{Relay, Setup, free_port, room, source};
use crate::sink::Sink;
use crate::wait;

const GATEWAY: &str = "127.0.9.1";
/// A gateway that is in room c's network.
const INSIDE: &str = "127.0.3.7";
const OUTSIDE: &str = "lege@example.com";
const ROUTES: &str = "\
[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n\
[[gateway]]\nname = \"indre\"\nnetwork = \"127.0.3.7/32\"\n\
[[group]]\naddress = \"alle@gruppe.nodnett.test\"\nmembers = [\"vakt@a.nodnett.test\", \"vakt@b.nodnett.test\"]\n";

/// Rooms `a` (with a domain that is not ASCII), `b` at `hop`, and `c`; gateways and a group.
fn setup(hop: &str) -> Setup {
    let domains = "domains = [\"a.nodnett.test\", \"\u{f8}ksnes.nodnett.test\"]";
    let a = room("a", "maildir:mail/a", "").replace("domains = [\"a.nodnett.test\"]", domains);
    Setup::no_rooms()
        .routes(&a)
        .room("b", hop)
        .room("c", "maildir:mail/c")
        .routes(ROUTES)
}

fn honest() -> Vec<u8> {
    letter(OUTSIDE, &vakt("b"))
}

#[test]
fn nobody_but_a_gateway_brings_mail_in() {
    let relay = setup("maildir:mail/b").start();
    for client in ["127.0.77.9", "127.0.10.1", &source("a"), "127.0.3.8"] {
        let mut client = Client::greeted(relay.port, client);
        let reply = client.send(OUTSIDE, &[&vakt("b")], &honest());
        assert_eq!(reply.said(), "550 5.7.1", "{reply}");
        assert_eq!(relay.refusal(&reply.reference())["sender"], OUTSIDE);
    }
    for client in [GATEWAY, INSIDE] {
        let mut client = Client::greeted(relay.port, client);
        let reply = client.send(OUTSIDE, &[&vakt("b")], &honest());
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    }
}

#[test]
fn a_gateway_brings_mail_to_rooms_and_groups_alone() {
    let relay = setup("maildir:mail/b").start();
    let mut client = Client::greeted(relay.port, GATEWAY);
    for recipient in [
        "annen@example.org",
        OUTSIDE,
        "x@nodnett.test",
        "x@sub.a.nodnett.test",
        "x@gruppe.nodnett.test",
        "x%example.org@a.nodnett.test",
    ] {
        let reply = client.send(OUTSIDE, &[recipient], b"");
        assert_eq!(reply.said(), "550 5.7.1", "{recipient}: {reply}");
        assert_eq!(relay.refusal(&reply.reference())["recipient"], recipient);
    }
    let reply = client.send(OUTSIDE, &["alle@gruppe.nodnett.test"], &honest());
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    wait::until("both members' mail", || {
        ["a", "b"]
            .iter()
            .all(|it| relay.maildir(it, "vakt").len() == 1)
    });
}

/// A room's mailbox or a group's, in every spelling.
const OURS: &[&str] = &[
    "vakt@a.nodnett.test",
    "VAKT@A.Nodnett.TEST",
    "hvem-som-helst@a.nodnett.test",
    "\"vakt\"@a.nodnett.test",
    "\"va kt\"@a.nodnett.test",
    "vakt@a.nodnett.test.",
    "vakt@\u{f8}ksnes.nodnett.test",
    "vakt@\u{d8}KSNES.nodnett.test",
    "vakt@xn--ksnes-uua.nodnett.test",
    "vakt@XN--KSNES-UUA.nodnett.test",
    "vakt@a\u{3002}nodnett.test",
    "vakt@\u{ff41}.nodnett.test",
    "x%a.nodnett.test@example.com",
    "a.nodnett.test!vakt@example.com",
    "\"vakt@a.nodnett.test\"@example.com",
    "vakt@a.nodnett.test@example.com",
    "@example.com:vakt@a.nodnett.test",
    "alle@gruppe.nodnett.test",
    "ALLE@gruppe.nodnett.TEST",
    // As the relay itself reports.
    "MAILER-DAEMON@relay.nodnett.test",
    "postmaster@Relay.Nodnett.TEST",
];

/// Whatever only looks like one.
const THEIRS: &[&str] = &[
    "vakt@sub.a.nodnett.test",
    "vakt@a.nodnett.test.example.com",
    "vakt@xa.nodnett.test",
    "vakt@nodnett.test",
    "a.nodnett.test@example.com",
    "annen@gruppe.nodnett.test",
];

#[test]
fn a_gateway_is_no_room_in_the_envelope() {
    let relay = setup("maildir:mail/b").start();
    for sender in OURS {
        let mut client = Client::greeted(relay.port, GATEWAY);
        let reply = client.say(format!("MAIL FROM:<{sender}> SMTPUTF8"));
        assert!((500..=599).contains(&reply.code), "{sender}: {reply}");
        relay.refusal(&reply.reference());
        assert_eq!(client.say("RCPT TO:<vakt@b.nodnett.test>").code / 100, 5);
    }
    for sender in THEIRS {
        let mut client = Client::greeted(relay.port, GATEWAY);
        let reply = client.say(format!("MAIL FROM:<{sender}>"));
        assert_eq!(reply.code, 250, "{sender}: {reply}");
    }
}

#[test]
fn a_gateway_is_no_room_in_any_field() {
    let sink = Sink::start();
    let relay = setup(&sink.hop()).start();
    let mut client = Client::greeted(relay.port, GATEWAY);
    let mut send = |fields: &str| {
        let message = letter_from_fields(&format!("{fields}\r\n"));
        // A client hears 421 after so many errors.
        if client.say("NOOP").code != 250 {
            client = Client::greeted(relay.port, GATEWAY);
        }
        client.send(OUTSIDE, &[&vakt("b")], &message)
    };
    let fields = |field: &str, mailbox: &str| match field {
        "From" => format!("From: {mailbox}"),
        _ => format!("From: {OUTSIDE}\r\n{field}: {mailbox}"),
    };
    for field in ["From", "Sender", "Resent-From", "Resent-Sender"] {
        for mailbox in OURS {
            let shown = [
                (*mailbox).to_owned(),
                format!("Vakt <{mailbox}>"),
                format!("\"{}\" <{OUTSIDE}>", mailbox.replace('"', "")),
            ];
            for shown in shown {
                let reply = send(&fields(field, &shown));
                assert_eq!(reply.said(), "550 5.7.1", "{field}: {shown}: {reply}");
            }
        }
        let forged = send(&fields(field, &vakt("a")));
        let row = relay.refusal(&forged.reference());
        assert_eq!(row["sender_room"], serde_json::Value::Null);
        assert!(
            forged.text().contains(&format!("The {field} field")),
            "{forged}"
        );
    }
    assert_eq!(sink.count(), 0);
    for field in ["From", "Sender", "Resent-From", "Resent-Sender"] {
        for mailbox in THEIRS {
            let reply = send(&fields(field, mailbox));
            assert_eq!(reply.said(), "250 2.0.0", "{field}: {mailbox}: {reply}");
        }
    }
}

#[test]
fn a_report_through_a_gateway_names_no_room() {
    let relay = setup("maildir:mail/b").start();
    let report = |fields: &str, to: &str| {
        let mut client = Client::greeted(relay.port, GATEWAY);
        client.send("", &[to], &letter_from_fields(&format!("{fields}\r\n")))
    };
    let daemon = "From: MAILER-DAEMON@mail.example.com (Mail Delivery System)";
    let good = report(daemon, &vakt("b"));
    assert_eq!(good.said(), "250 2.0.0", "{good}");
    relay.expect_events(&good.reference(), &["accepted", "delivered"]);
    assert_eq!(report(daemon, OUTSIDE).said(), "550 5.7.1");
    for fields in [
        "From: MAILER-DAEMON@a.nodnett.test (Mail Delivery System)".to_owned(),
        format!("{daemon}\r\nSender: vakt@a.nodnett.test"),
        format!("{daemon}\r\nResent-From: vakt@xn--ksnes-uua.nodnett.test"),
        "From: alle@gruppe.nodnett.test".to_owned(),
        "X-From: nobody".to_owned(),
    ] {
        let reply = report(&fields, &vakt("b"));
        assert_eq!(reply.said(), "550 5.7.1", "{fields}: {reply}");
    }
}

/// One machine may be a gateway and stand in a room: each message is one or the other.
#[test]
fn a_gateway_in_a_room_is_one_of_both_and_never_a_mixture() {
    let relay = setup("maildir:mail/b").start();
    let (own, other) = (vakt("c"), vakt("a"));
    let both = format!("{OUTSIDE}\r\nSender: {own}");
    let room = Some("room-c");
    #[rustfmt::skip]
    let cases = [
        (&*own,   &*own,    Ok(room)),
        (OUTSIDE, OUTSIDE,  Ok(None)),
        ("",      &*own,    Ok(room)),
        ("",      OUTSIDE,  Ok(None)),
        (OUTSIDE, &*own,    Err("550 5.7.1")),
        (&*own,   OUTSIDE,  Err("550 5.7.1")),
        (OUTSIDE, &*both,   Err("550 5.7.1")),
        (&*own,   &*both,   Err("550 5.7.1")),
        ("",      &*both,   Err("550 5.7.1")),
        ("",      &*other,  Err("550 5.7.1")),
        (&*other, &*other,  Err("550 5.7.1")),
    ];
    for (sender, from, answer) in cases {
        let mut client = Client::greeted(relay.port, INSIDE);
        let message = letter_from_fields(&format!("From: {from}\r\n"));
        let reply = client.send(sender, &[&vakt("b")], &message);
        let expected = answer.err().unwrap_or("250 2.0.0");
        assert_eq!(reply.said(), expected, "<{sender}> {from:?}: {reply}");
        if let Ok(room) = answer {
            let row = &relay.rows(&["log", "search", &reply.reference()])[0];
            assert_eq!(row["sender_room"].as_str(), room, "<{sender}> {from:?}");
        }
    }
}

/// A relay with a second listener, whose port is given, for load balancers in the gateway's network.
fn balanced() -> (Relay, u16) {
    let port = free_port();
    let mut relay = setup("maildir:mail/b").prepare();
    let file = relay.path("ilbud.toml");
    let listener = format!(
        "[[listener]]\nname = \"behind\"\naddress = \"127.0.0.1:{port}\"\ntls = \"off\"\n\
         proxy_from = [\"127.0.9.0/24\"]\n"
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &listener).unwrap();
    relay.launch();
    wait::until("both listeners", || {
        [relay.port, port]
            .iter()
            .all(|it| TcpStream::connect(("127.0.0.1", *it)).is_ok())
    });
    (relay, port)
}

/// A connection of the balancer's, which says that it is for `client`, or for nobody.
fn behind(port: u16, client: Option<[u8; 4]>) -> Client {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match client {
        Some(client) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(client);
            header.extend([127, 0, 0, 1, 0xc3, 0x50, 0, 25]);
        }
        None => header.extend([0x20, 0, 0, 0]),
    }
    let mut connection = Client::silent(port, GATEWAY).unwrap();
    connection.put(&header);
    assert_eq!(connection.reply().code, 220);
    assert_eq!(connection.say("EHLO mx.example.com").code, 250);
    connection
}

#[test]
fn behind_a_balancer_a_gateway_is_who_the_balancer_says() {
    let (_relay, port) = balanced();
    let gateway = Some([127, 0, 9, 1]);
    let mut client = behind(port, gateway);
    let sent = client.send(OUTSIDE, &[&vakt("b")], &honest());
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    let forged = letter_from_fields(&format!("From: {OUTSIDE}\r\nSender: {}\r\n", vakt("a")));
    for (sender, message) in [(vakt("a"), honest()), (OUTSIDE.to_owned(), forged)] {
        let reply = behind(port, gateway).send(&sender, &[&vakt("b")], &message);
        assert_eq!(reply.said(), "550 5.7.1", "{sender}: {reply}");
    }
    // The balancer's own address is the gateway's, and counts for nothing here.
    for client in [Some([127, 0, 1, 9]), Some([127, 0, 77, 9]), None] {
        let reply = behind(port, client).send(OUTSIDE, &[&vakt("b")], &honest());
        assert_eq!(reply.said(), "550 5.7.1", "{client:?}: {reply}");
    }
}
