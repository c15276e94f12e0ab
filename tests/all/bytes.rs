//! Accepted, then delivered as it came: our header fields on top, and not a byte changed below.

use crate::client::{Client, letter, letter_saying, stuffed, vakt};
use crate::relay::{Relay, Setup, column};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

fn deliver(relay: &Relay, sink: &Sink, message: &[u8]) -> (String, String) {
    let before = sink.count();
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let arrived = sink.wait_for(before + 1);
    (reply.reference(), arrived[before].above(message))
}

#[test]
fn a_message_arrives_as_it_came_and_the_log_says_so() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let (reference, above) = deliver(&relay, &sink, &letter(&vakt("a"), &vakt("b")));
    assert!(above.starts_with("Received: from "), "{above}");
    assert!(above.contains("relay.nodnett.test"), "{above}");
    assert!(above.contains(&reference), "{above}");
    assert!(sink.kept()[0].sender.starts_with("<vakt@a.nodnett.test>"));
    assert_eq!(sink.kept()[0].recipients, ["<vakt@b.nodnett.test>"]);
    relay.expect_events(&reference, &["accepted", "delivered"]);
    let rows = relay.rows(&["log", "search", &reference]);
    assert_eq!(column(&rows, "status"), ["delivered"]);
    assert_eq!(column(&rows, "sender_room"), ["room-a"]);
    assert_eq!(column(&rows, "recipient_room"), ["room-b"]);
}

#[test]
fn bytes_that_others_change_are_left_alone() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let head = "From: vakt@a.nodnett.test\r\nSubject: x\r\n";
    for rest in [
        "\r\n",
        "\r\nhei",
        "\r\n\r\n\r\n",
        "\r\n.\r\n..\r\n...\r\n.hei\r\n",
        "\r\n.\r\n",
        "\r\ntrailing space \r\n\ttab\t\r\n",
        "\r\n\u{e6}\u{f8}\u{e5} \u{1f691}\r\n",
        "X-Odd:   kept   \r\nx-odd: twice\r\n\r\nFrom here\r\n",
        "\r\n\u{0}\u{1}\u{7f}\r\n",
    ] {
        let rest = match rest.strip_suffix("hei") {
            Some(whole) => format!("{whole}hei\r\n"),
            None => rest.to_owned(),
        };
        deliver(&relay, &sink, format!("{head}{rest}").as_bytes());
    }
    let latin1 = [head.as_bytes(), b"\r\n\xe6\xf8\xe5 \xff\xfe\r\n"].concat();
    deliver(&relay, &sink, &latin1);
    let long_line = letter_saying(&vakt("a"), &vakt("b"), &format!("{}\r\n", "x".repeat(990)));
    deliver(&relay, &sink, &long_line);
    let megabytes = format!("{}\r\n", "0123456789".repeat(7)).repeat(60_000);
    deliver(
        &relay,
        &sink,
        &letter_saying(&vakt("a"), &vakt("b"), &megabytes),
    );
}

#[test]
fn chunks_make_one_message() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let message = letter_saying(&vakt("a"), &vakt("b"), ".\r\n.dot\r\n.\r\n");
    let mut client = relay.client("a");
    assert_eq!(
        client.envelope(&vakt("a"), &[&vakt("b")], " BODY=8BITMIME"),
        None
    );
    let (first, rest) = message.split_at(31);
    client.put(format!("BDAT {}\r\n", first.len()).as_bytes());
    client.put(first);
    assert_eq!(client.reply().code, 250);
    client.put(format!("BDAT {}\r\n", rest.len()).as_bytes());
    client.put(rest);
    assert_eq!(client.reply().code, 250);
    let reply = client.say("BDAT 0 LAST");
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    sink.wait_for(1)[0].above(&message);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
}

#[test]
fn norwegian_letters_work_from_end_to_end() {
    let sink = Sink::start();
    let domain = "domains = [\"b.nodnett.test\", \"b\u{e5}t.nodnett.test\"]";
    let room_b =
        crate::relay::room("b", &sink.hop(), "").replace("domains = [\"b.nodnett.test\"]", domain);
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .routes(&room_b)
        .start();
    let to = "\u{f8}ystein@B\u{c5}T.nodnett.test";
    let message = letter_saying(&vakt("a"), to, "bl\u{e5}lys\r\n");
    let mut client = relay.client("a");
    assert_eq!(
        client.envelope(&vakt("a"), &[to], " SMTPUTF8 BODY=8BITMIME"),
        None
    );
    let reply = client.data(&message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let arrived = &sink.wait_for(1)[0];
    arrived.above(&message);
    assert!(arrived.sender.contains("SMTPUTF8"), "{}", arrived.sender);
    let found = relay.rows(&[
        "log",
        "search",
        "--recipient",
        "\u{f8}ystein@xn--bt-yia.nodnett.test",
    ]);
    assert_eq!(column(&found, "ref"), [reply.reference()]);
}

#[test]
fn pipelined_transactions_are_answered_in_order() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    let message = letter(&vakt("a"), &vakt("b"));
    let mut client = Client::silent(relay.port, "127.0.1.9").unwrap();
    assert_eq!(client.reply().code, 220);
    assert_eq!(client.say("EHLO ws.test").code, 250);
    let (from, to) = (vakt("a"), vakt("b"));
    client.put(
        format!("MAIL FROM:<{from}>\r\nRCPT TO:<x@example.com>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
            .as_bytes(),
    );
    let codes: Vec<u16> = (0..4).map(|_| client.reply().code).collect();
    assert_eq!(codes, [250, 550, 250, 354]);
    client.put(&[&stuffed(&message), &b".\r\nQUIT\r\n"[..]].concat());
    assert_eq!([client.reply().code, client.reply().code], [250, 221]);
    sink.wait_for(1)[0].above(&message);
}

#[test]
fn each_recipient_gets_its_own_outcome() {
    let sink = Sink::scripted(|stage, _, line| match stage {
        crate::sink::Stage::Rcpt if line.contains("ingen") => {
            crate::sink::Step::Say("550 5.1.1 no such mailbox")
        }
        _ => crate::sink::Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).start();
    let reply = relay.client("a").send(
        &vakt("a"),
        &[&vakt("b"), "ingen@b.nodnett.test", &vakt("a")],
        &letter(&vakt("a"), &vakt("b")),
    );
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let fates = || {
        let rows = relay.rows(&["log", "search", &reply.reference()]);
        let mut fates: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", row["recipient"], row["status"]).replace('"', ""))
            .collect();
        fates.sort();
        fates
    };
    let expected = [
        "ingen@b.nodnett.test failed",
        "vakt@a.nodnett.test delivered",
        "vakt@b.nodnett.test delivered",
    ];
    wait::until("three outcomes", || fates() == expected);
    assert_eq!(sink.wait_for(1)[0].recipients, ["<vakt@b.nodnett.test>"]);
}

#[test]
fn a_room_without_a_server_keeps_its_mail_in_a_maildir() {
    let relay = Setup::three_rooms().start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let kept = relay.maildir("b", "vakt");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].starts_with(b"Return-Path:") || kept[0].starts_with(b"Received:"));
    let unix = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    assert!(unix(&kept[0]).ends_with(&unix(&message)));
}

#[test]
fn odd_octets_in_other_header_fields_do_no_harm() {
    let relay = Setup::three_rooms().start();
    for field in [
        "Subject: \u{1b}[31mred",
        "X-Y: a\u{1}b",
        "Subject: a\u{7f}b",
    ] {
        let from = vakt("a");
        let message = format!("From: {from}\r\n{field}\r\n\r\nhei\r\n").into_bytes();
        let reply = relay.client("a").send(&from, &[&vakt("b")], &message);
        assert_eq!(reply.said(), "250 2.0.0", "{field:?}: {reply}");
    }
}

/// product.md: 8-bit content without BODY=8BITMIME is kept as it came, and a hop that offers nothing
/// gets it so.
#[test]
fn undeclared_octets_reach_a_hop_that_offers_nothing() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Ehlo => Step::Say("250 sink"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).start();
    let message = [&letter(&vakt("a"), &vakt("b"))[..], b"bl\xe5b\xe6r\r\n"].concat();
    deliver(&relay, &sink, &message);
}
