//! Nothing leaves: nobody outside the registered rooms is accepted as a recipient, however spelt.

use crate::client::{letter, vakt};
use crate::relay::Setup;
use crate::sink::Sink;

/// What follows `RCPT TO:`.
const OUTSIDE: &[&str] = &[
    "<x@example.com>",
    "<x@nodnett.test>",
    "<x@xb.nodnett.test>",
    "<x@sub.b.nodnett.test>",
    "<x@b.nodnett.test.example.com>",
    "<x@B.NODNETT.TEST.>",
    "<@b.nodnett.test:x@example.com>",
    "<@example.com:vakt@b.nodnett.test>",
    "<@example.com,@b.nodnett.test:vakt@b.nodnett.test>",
    "<x%example.com@b.nodnett.test>",
    "<\"x%example.com\"@b.nodnett.test>",
    "<example.com!x@b.nodnett.test>",
    "<\"example.com!x\"@b.nodnett.test>",
    "<\"x@example.com\"@b.nodnett.test>",
    "<x@example.com@b.nodnett.test>",
    "<x@[127.0.0.1]>",
    "<x@[IPv6:::1]>",
    "<x@127.0.0.1>",
    "<x@b\u{ff0e}example.com>",
    "<x@b.nodnett.te\u{17f}t.example.com>",
    "<x>",
    "<>",
    "<@b.nodnett.test>",
    "<x@>",
    "<x@b.nodnett.test\0.example.com>",
    "<vakt@b.nodnett.test> <x@example.com>",
    "<vakt@b.nodnett.test>,<x@example.com>",
    "x@example.com",
];

#[test]
fn no_spelling_of_an_outside_address_is_accepted() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    for recipient in OUTSIDE {
        let mut client = relay.client("a");
        assert_eq!(
            client.say("MAIL FROM:<vakt@a.nodnett.test> SMTPUTF8").code,
            250
        );
        let reply = client.say(format!("RCPT TO:{recipient}"));
        assert!((500..=599).contains(&reply.code), "{recipient:?}: {reply}");
        reply.reference();
        let data = client.say("DATA");
        assert!((500..=599).contains(&data.code), "{recipient:?}: {data}");
    }
    assert_eq!(sink.count(), 0);
    assert_eq!(relay.rows(&["queue", "list"]), [] as [serde_json::Value; 0]);
}

#[test]
fn the_refusal_names_the_address_and_is_a_row() {
    let relay = Setup::three_rooms().start();
    let reply = relay.client("a").send(&vakt("a"), &["x@example.com"], b"");
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    assert!(reply.text().contains("x@example.com"), "{reply}");
    let row = relay.refusal(&reply.reference());
    let told = ["sender", "sender_room", "recipient"].map(|field| row[field].as_str().unwrap());
    assert_eq!(told, ["vakt@a.nodnett.test", "room-a", "x@example.com"]);
    assert!(
        row["reply"].as_str().unwrap().starts_with("550 5.7.1"),
        "{row}"
    );
    assert_eq!(relay.events(&reply.reference()), ["refused"]);
}

#[test]
fn every_spelling_of_a_registered_domain_is_that_room() {
    let sink = Sink::start();
    let domains = "domains = [\"b.nodnett.test\", \"\u{f8}ksnes.nodnett.test\"]";
    let room_b =
        crate::relay::room("b", &sink.hop(), "").replace("domains = [\"b.nodnett.test\"]", domains);
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .routes(&room_b)
        .start();
    for recipient in [
        "vakt@b.nodnett.test",
        "VAKT@B.Nodnett.TEST",
        "\"vakt\"@b.nodnett.test",
        "vakt@\u{f8}ksnes.nodnett.test",
        "vakt@\u{d8}KSNES.nodnett.test",
        "vakt@xn--ksnes-uua.nodnett.test",
        "vakt@XN--KSNES-UUA.nodnett.test",
    ] {
        let mut client = relay.client("a");
        let refused = client.envelope(&vakt("a"), &[recipient], " SMTPUTF8");
        assert_eq!(refused, None, "{recipient}");
    }
}

#[test]
fn a_room_that_is_removed_while_mail_waits_gets_nothing_more() {
    let port = crate::relay::free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}")).start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.apply(&crate::relay::room("a", "maildir:mail/a", ""));
    let sink = Sink::on(port, |_, _, _| crate::sink::Step::Agree);
    crate::wait::until("the end of the waiting", || {
        relay.run(&["queue", "retry", "--all"]);
        relay
            .rows(&["log", "search", &reply.reference()])
            .iter()
            .all(|row| row["status"] == "failed" || row["status"] == "deferred")
    });
    assert_eq!(sink.count(), 0);
}
