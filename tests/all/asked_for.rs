//! What senders ask for beside the transport itself: offered, granted as far as it may be, and
//! written down; and what they send twice.

use crate::client::{Client, letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::store_trouble::Lock;
use crate::wait;

const OFFERED: [&str; 3] = ["DSN", "DELIVERBY", "MT-PRIORITY"];

fn offers(client: &mut Client) -> Vec<String> {
    client.say("EHLO ws.test").lines
}

/// Sends one message with parameters at MAIL and fields on top; what was said to MAIL, and in the end.
fn sent(client: &mut Client, parameters: &str, fields: &str) -> (String, String) {
    let message = [fields.as_bytes(), &letter(&vakt("a"), &vakt("b"))].concat();
    let mail = client.say(format!("MAIL FROM:<{}>{parameters}", vakt("a")));
    assert_eq!(client.say(format!("RCPT TO:<{}>", vakt("b"))).code, 250);
    let kept = client.data(&message);
    assert_eq!(kept.code, 250, "{kept}");
    (mail.to_string(), kept.reference())
}

#[test]
fn what_can_be_asked_for_is_offered_and_tls_is_required_only_within_tls() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let mut client = relay.client("a");
    let clear = offers(&mut client);
    client.start_tls(&relay.path("certs"));
    let guarded = offers(&mut client);
    for word in OFFERED {
        assert!(clear.iter().any(|it| it == word), "{word}: {clear:?}");
        assert!(guarded.iter().any(|it| it == word), "{word}: {guarded:?}");
    }
    assert!(!clear.iter().any(|it| it == "REQUIRETLS"), "{clear:?}");
    assert!(guarded.iter().any(|it| it == "REQUIRETLS"), "{guarded:?}");
    let (mail, _) = sent(&mut client, " REQUIRETLS BY=600;N RET=HDRS ENVID=QQ1", "");
    assert!(mail.starts_with("250 2.1.0 "), "{mail}");
}

/// The priority that the relay wrote into the message it delivered under this reference.
fn written_priority(relay: &Relay, reference: &str) -> Option<String> {
    relay.expect_events(reference, &["accepted", "delivered"]);
    let kept = relay.maildir("b", "vakt").into_iter().find_map(|it| {
        let text = String::from_utf8_lossy(&it).into_owned();
        text.contains(&format!("id {reference}")).then_some(text)
    });
    let field = kept.unwrap_or_else(|| panic!("{reference} is not in the Maildir"));
    let trace = field.split("From: ").next().unwrap_or_default();
    let line = trace
        .lines()
        .find_map(|it| it.trim().strip_prefix("PRIORITY "));
    line.map(|it| it.trim_end_matches(';').to_owned())
}

#[test]
fn mail_is_as_urgent_as_its_sender_says_and_no_more_than_the_room_may() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    for (parameters, fields, said, written) in [
        ("", "", "250 2.1.0 Sender OK", None),
        (
            " MT-PRIORITY=0",
            "X-Priority: 1\r\n",
            "250 2.1.0 Sender OK",
            None,
        ),
        (" MT-PRIORITY=3", "", "250 2.1.0 Sender OK", Some("3")),
        (
            " MT-PRIORITY=9",
            "",
            "250 2.3.6 4 is the priority",
            Some("4"),
        ),
        (
            "",
            "X-Priority: 1 (Highest)\r\n",
            "250 2.1.0 Sender OK",
            Some("4"),
        ),
        ("", "Importance: High\r\n", "250 2.1.0 Sender OK", Some("4")),
        ("", "Priority: urgent\r\n", "250 2.1.0 Sender OK", Some("4")),
        (
            "",
            "Priority: non-urgent\r\n",
            "250 2.1.0 Sender OK",
            Some("-4"),
        ),
        ("", "Priority: at once!\r\n", "250 2.1.0 Sender OK", None),
    ] {
        let (mail, reference) = sent(&mut client, parameters, fields);
        assert!(mail.starts_with(said), "{parameters} {fields}: {mail}");
        let found = written_priority(&relay, &reference);
        assert_eq!(found.as_deref(), written, "{parameters} {fields}");
    }
}

#[test]
fn a_gateway_has_a_ceiling_of_its_own_and_sends_twice_as_others_do() {
    let relay = Setup::three_rooms()
        .routes("[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n")
        .start();
    let outside = "lege@sykehus.test";
    let message = letter(outside, &vakt("b"));
    let send = || {
        let mut client = Client::greeted(relay.port, "127.0.9.9");
        let mail = client.say(format!("MAIL FROM:<{outside}> MT-PRIORITY=9"));
        assert!(mail.to_string().starts_with("250 2.3.6 4 "), "{mail}");
        assert_eq!(client.say(format!("RCPT TO:<{}>", vakt("b"))).code, 250);
        client.data(&message).reference()
    };
    assert_eq!(remark(&relay, &send()), None);
    assert!(remark(&relay, &send()).is_some());
}

/// The one remark in a message's log that it came before: for whom, and in which words.
fn remark(relay: &Relay, reference: &str) -> Option<(String, String)> {
    let rows = wait::find("the message's delivery", || {
        let rows = relay.rows(&["log", "show", reference]);
        column(&rows, "event")
            .contains(&"delivered".to_owned())
            .then_some(rows)
    });
    let mut remarks = rows.iter().filter(|it| it["event"] == "duplicate");
    let text = |field: &serde_json::Value| field.as_str().unwrap_or_default().to_owned();
    let remark = remarks
        .next()
        .map(|it| (text(&it["recipient"]), text(&it["reason"])));
    assert!(remarks.next().is_none(), "{rows:?}");
    remark
}

#[test]
fn the_same_message_id_for_the_same_recipient_is_remarked_upon_even_after_a_crash() {
    let mut relay = Setup::three_rooms().start();
    let message = letter(&vakt("a"), &vakt("b"));
    let send = |relay: &Relay, from: &str, to: &[&str]| {
        let text = String::from_utf8_lossy(&message).replace(&vakt("a"), &vakt(from));
        let reply = relay.client(from).send(&vakt(from), to, text.as_bytes());
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        reply.reference()
    };
    let expect = |relay: &Relay, again: &str, earlier: &str| {
        let (recipient, reason) = remark(relay, again).expect("a remark");
        assert_eq!(recipient, vakt("b"));
        assert!(reason.starts_with("the same Message-ID came for this recipient at 20"));
        assert!(reason.ends_with(&format!(" as {earlier}")), "{reason}");
    };
    let first = send(&relay, "a", &[&vakt("b")]);
    assert_eq!(remark(&relay, &first), None);
    // Twice in one transaction is once.
    let second = send(&relay, "a", &[&vakt("b"), &vakt("c"), &vakt("b")]);
    expect(&relay, &second, &first);
    // Another room may write the same, and so may another message.
    assert_eq!(remark(&relay, &send(&relay, "c", &[&vakt("b")])), None);
    let other = letter(&vakt("a"), &vakt("b"));
    let other = relay.client("a").send(&vakt("a"), &[&vakt("b")], &other);
    assert_eq!(remark(&relay, &other.reference()), None);

    relay.kill();
    relay.start();
    let third = send(&relay, "a", &[&vakt("b")]);
    expect(&relay, &third, &second);
    let fourth = send(&relay, "a", &[&vakt("b")]);
    expect(&relay, &fourth, &third);
}

#[test]
fn what_was_not_kept_did_not_come_before() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = Setup::three_rooms().start();
    let message = letter(&vakt("a"), &vakt("b"));
    let send = || relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    let lock = Lock::on(&relay);
    assert_eq!(send().said(), "451 4.3.0");
    lock.release();
    let kept = wait::find("a recovered relay", || {
        Some(send()).filter(|it| it.code == 250)
    });
    assert_eq!(remark(&relay, &kept.reference()), None);
}
