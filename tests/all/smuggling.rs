//! One message in is one message out: no second one hides behind a crooked line end or TLS.

use crate::client::{Client, letter, vakt};
use crate::relay::Setup;
use crate::sink::Sink;

const HIDDEN: &str = "MAIL FROM:<vakt@a.nodnett.test>\r\nRCPT TO:<vakt@b.nodnett.test>\r\nDATA\r\n\
    From: vakt@a.nodnett.test\r\nSubject: smuggled\r\n\r\nsmuggled\r\n";

/// What stands where `<CRLF>.<CRLF>` ought to.
const CROOKED: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\r.\r\n",
    b"\n.\r\n.\n",
];

#[test]
fn a_crooked_end_of_data_never_makes_two_messages() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).start();
    for end in CROOKED {
        let mut client = relay.client("a");
        assert_eq!(client.envelope(&vakt("a"), &[&vakt("b")], ""), None);
        assert_eq!(client.say("DATA").code, 354);
        let visible = "From: vakt@a.nodnett.test\r\nSubject: seen\r\n\r\nseen";
        client.put(&[visible.as_bytes(), end, HIDDEN.as_bytes(), b".\r\n"].concat());
        let reply = client.reply();
        let shown = String::from_utf8_lossy(end).escape_default().to_string();
        if *end == b"\r\n.\0\r\n" {
            assert_eq!(reply.code, 250, "{shown}: only text: {reply}");
        } else {
            assert_eq!(reply.said(), "550 5.6.0", "{shown}: {reply}");
            let row = relay.refusal(&reply.reference());
            assert_eq!(row["recipient"], "vakt@b.nodnett.test");
        }
        let quit = client.say("QUIT");
        assert_eq!(
            quit.code, 221,
            "{shown}: one reply for one message, then {quit}"
        );
    }
    let good = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &good);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let expected = 1 + usize::from(CROOKED.contains(&&b"\r\n.\0\r\n"[..]));
    let kept = sink.wait_for(expected);
    assert_eq!(kept.len(), expected);
    assert!(
        kept.iter()
            .all(|m| m.field("Subject") != Some("smuggled".to_owned()))
    );
}

#[test]
fn where_newlines_are_normalised_a_crooked_end_is_content_of_one_message() {
    let sink = Sink::start();
    let lax = "strictness = { bare_newlines = \"report\" }\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", lax)
        .room("b", &sink.hop())
        .start();
    for (number, end) in CROOKED.iter().enumerate() {
        let shown = String::from_utf8_lossy(end).escape_default().to_string();
        let visible = format!("From: vakt@a.nodnett.test\r\nSubject: {number}\r\n\r\nseen");
        let wire = [visible.as_bytes(), end, HIDDEN.as_bytes(), b".\r\n"].concat();
        // Cut where it hurts: within the crooked end.
        let cut = visible.len() + 1 + number % end.len();
        let mut client = relay.client("a");
        assert_eq!(client.envelope(&vakt("a"), &[&vakt("b")], ""), None);
        assert_eq!(client.say("DATA").code, 354);
        client.put(&wire[..cut]);
        client.put(&wire[cut..]);
        let reply = client.reply();
        assert_eq!(reply.said(), "250 2.0.0", "{shown}: {reply}");
        let quit = client.say("QUIT");
        assert_eq!(quit.code, 221, "{shown}: one reply, then {quit}");
        let kept = sink.wait_for(number + 1);
        assert_eq!(kept.len(), number + 1, "{shown}");
        let taken = kept.last().unwrap();
        let subject = taken.field("Subject");
        assert_eq!(subject, Some(number.to_string()), "{shown}");
        let text = taken.text();
        assert!(text.ends_with("\r\nsmuggled\r\n"), "{shown}: {text:?}");
        assert!(
            text.contains("MAIL FROM:<vakt@a.nodnett.test>\r\nRCPT"),
            "{shown}: {text:?}"
        );
        let straight = text.replace("\r\n", "");
        assert!(!straight.contains(['\r', '\n']), "{shown}: {text:?}");
    }
    assert_eq!(sink.count(), CROOKED.len());
}

#[test]
fn a_bare_line_feed_inside_is_refused_after_the_true_end() {
    let relay = Setup::three_rooms().start();
    for body in ["one\ntwo\r\n", "one\rtwo\r\n", "one\r\r\n", "\n\r\n"] {
        let mut client = relay.client("a");
        let message = crate::client::letter_saying(&vakt("a"), &vakt("b"), body);
        let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "550 5.6.0", "{body:?}: {reply}");
        assert_eq!(client.say("NOOP").code, 250, "{body:?}");
    }
    let mut client = relay.client("a");
    client.envelope(&vakt("a"), &[&vakt("b")], "");
    let message = crate::client::letter_saying(&vakt("a"), &vakt("b"), "one\ntwo\r\n");
    client.put(format!("BDAT {} LAST\r\n", message.len()).as_bytes());
    client.put(&message);
    let reply = client.reply();
    assert_eq!(reply.said(), "550 5.6.0", "BDAT: {reply}");
}

#[test]
fn what_was_said_before_the_handshake_is_thrown_away() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let mut client = Client::greeted(relay.port, "127.0.1.9");
    client.put(b"STARTTLS\r\nMAIL FROM:<vakt@a.nodnett.test>\r\n");
    let ready = client.reply();
    if ready.code == 220 {
        client.shake_hands(&relay.path("certs"));
        // Had the line been kept, its reply would be read here first.
        let help = client.say("EHLO ws.test");
        assert!(help.lines.len() > 1, "{help}");
        assert!(!help.text().contains("STARTTLS"), "{help}");
        assert_eq!(client.say("RCPT TO:<vakt@b.nodnett.test>").code, 503);
    } else {
        assert!(ready.code >= 500, "{ready}");
    }
}

#[test]
fn what_was_said_before_the_handshake_counts_for_nothing_after() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let mut client = Client::greeted(relay.port, "127.0.1.9");
    assert_eq!(client.say("MAIL FROM:<vakt@a.nodnett.test>").code, 250);
    client.start_tls(&relay.path("certs"));
    assert_eq!(client.say("RCPT TO:<vakt@b.nodnett.test>").code, 503);
}
