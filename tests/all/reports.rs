//! Nobody is left guessing: what is late, what arrived and what never will is told once, to who
//! wants to hear it; and a report that nobody takes waits for an operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ilbud::delivery::outcome::{Attempt, Cause, Handover, Outcome};
use ilbud::lifecycle::report::Letterhead;
use ilbud::lifecycle::retry::Schedule;
use ilbud::lifecycle::{Occasion, attempted};
use ilbud::mail::{
    Address, Answer, Content, Language, Notify, Reference, Return, RoomId, State, Terms, Timestamp,
    Wishes,
};
use ilbud::policy::table::RoutingTable;
use ilbud::spool::store::{NewMessage, OfLate, RecipientId, Told, Waiting};
use serde_json::{Value, json};

use crate::client::{Reply, letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column, room};
use crate::sink::{Message, Sink, Stage, Step};
use crate::wait;

const NOW: Timestamp = Timestamp::from_millis(1_795_345_200_000);

/// Reads a report as any mail program would.
const READER: &str = r#"
import email, email.policy, json, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts = list(m.iter_parts())
blocks = parts[1].get_payload()
print(json.dumps({
    "type": m.get_content_type(),
    "report": m["Content-Type"].params.get("report-type"),
    "subject": m["Subject"],
    "defects": [str(d) for p in m.walk() for d in p.defects],
    "parts": [p.get_content_type() for p in parts],
    "text": parts[0].get_content(),
    "message": dict(blocks[0].items()),
    "recipients": [dict(b.items()) for b in blocks[1:]],
    "original": parts[2].as_string(),
}))
"#;

fn read(report: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.eml");
    std::fs::write(&file, report).unwrap();
    serde_json::from_str(&peer::python(READER, &[file.to_str().unwrap()])).unwrap()
}

/// One recipient of a message that asks for everything, and an attempt that came to `outcome`.
fn tried(number: u32, outcome: Outcome) -> (Waiting, Attempt) {
    let mailbox = |text: &str| Address::parse(text).unwrap();
    let waiting = Waiting {
        waiver: None,
        id: RecipientId {
            reference: Reference::from_number(5),
            number,
        },
        recipient: mailbox(&format!("vakt{number}@b.nodnett.test")),
        room: RoomId::new("room-b"),
        state: State::Queued,
        attempts: 3,
        accepted_at: NOW.before(Duration::from_secs(310)),
        waits_since: NOW.before(Duration::from_secs(310)),
        next_attempt_at: NOW,
        last_reply: None,
        told: Told::default(),
        is_doubtful: false,
        of_late: OfLate::default(),
        wishes: Wishes {
            notify: Some(Notify {
                success: true,
                failure: true,
                delay: true,
            }),
            original: Some("rfc822;alle+2Bvakt@gruppe.nodnett.test".to_owned()),
        },
        terms: Terms {
            ret: Some(Return::Full),
            envelope_id: Some("vakt+3D17".to_owned()),
            ..Terms::default()
        },
        is_ours: false,
        awaits_scan: false,
        sender: Some(mailbox("vakt@a.nodnett.test")),
        sender_room: Some(RoomId::new("room-a")),
        smtputf8: false,
        eight_bit: true,
        size: 100,
        subject: Some("Blålys på vei".to_owned()),
        message_id: Some("<1@ws.test>".to_owned()),
    };
    let attempt = Attempt {
        outcome,
        hop: Some("smtp://10.1.0.5:25".into()),
        tls: None,
        reached: true,
        handover: Handover::Mailbox,
        duration: Duration::ZERO,
    };
    (waiting, attempt)
}

fn said(code: u16, enhanced: &str) -> Answer {
    Answer {
        code,
        enhanced: Some(enhanced.to_owned()),
        text: "words".to_owned(),
    }
}

/// The reports that one attempt for these recipients makes.
fn written(tried: Vec<(Waiting, Attempt)>) -> Vec<NewMessage> {
    let routes = [room("a", "maildir:x", ""), room("b", "maildir:y", "")].concat();
    let (table, _) = RoutingTable::parse(&routes, 1).unwrap();
    let letterhead = Letterhead {
        hostname: "relay.nodnett.test".to_owned(),
        language: Language::Nb,
    };
    let schedule = Schedule {
        retry: vec![Duration::from_secs(30)],
        warn_after: Duration::from_secs(300),
        give_up_after: Duration::from_secs(14_400),
    };
    let content = Content {
        trace: b"Received: by relay.nodnett.test\r\n".as_slice().into(),
        bytes: "Subject: prøve\r\nMessage-ID: <1@ws.test>\r\n\r\nblålys\r\n"
            .as_bytes()
            .to_vec()
            .into(),
    };
    let occasion = Occasion {
        now: NOW,
        noise: 0,
        schedule: &schedule,
        letterhead: &letterhead,
        table: &table,
        content: Some(&content),
        reports: [9, 10, 11].map(Reference::from_number),
        route: None,
        start: NOW,
        up_for: Duration::ZERO,
    };
    attempted(&tried, &occasion).messages
}

#[test]
fn another_program_reads_each_kind() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let reports = written(vec![
        tried(0, Outcome::Failed(Cause::Said(said(550, "5.1.1")))),
        tried(1, Outcome::Deferred(Cause::Said(said(451, "4.3.2")))),
        tried(2, Outcome::Delivered(said(250, "2.0.0"))),
        tried(3, Outcome::Failed(Cause::Found("blått".to_owned()))),
    ]);
    let until = NOW.after(Duration::from_secs(14_400 - 310)).rfc5322();
    let expected = [
        (
            "Ikke levert: Blålys på vei",
            vec![(0, "failed", "5.1.1"), (3, "failed", "5.0.0")],
            "message/rfc822",
        ),
        (
            "Forsinket: Blålys på vei",
            vec![(1, "delayed", "4.3.2")],
            "text/rfc822-headers",
        ),
        (
            "Levert: Blålys på vei",
            vec![(2, "delivered", "2.0.0")],
            "text/rfc822-headers",
        ),
    ];
    assert_eq!(reports.len(), expected.len());
    for (report, (subject, recipients, third)) in reports.iter().zip(expected) {
        let report = read(&report.content.bytes);
        assert_eq!(report["defects"], json!([]), "{subject}");
        assert_eq!(report["type"], "multipart/report");
        assert_eq!(report["report"], "delivery-status");
        assert_eq!(report["subject"], subject);
        let parts = json!(["text/plain", "message/delivery-status", third]);
        assert_eq!(report["parts"], parts);
        assert_eq!(report["message"]["Original-Envelope-Id"], "vakt=17");
        assert_eq!(
            report["message"]["Reporting-MTA"],
            "dns; relay.nodnett.test"
        );
        let blocks = report["recipients"].as_array().unwrap();
        assert_eq!(blocks.len(), recipients.len(), "{subject}");
        for (block, (number, action, status)) in blocks.iter().zip(recipients) {
            let mailbox = format!("rfc822; vakt{number}@b.nodnett.test");
            assert_eq!(block["Final-Recipient"], mailbox.as_str());
            let original = "rfc822; alle+vakt@gruppe.nodnett.test";
            assert_eq!(block["Original-Recipient"], original);
            assert_eq!(block["Action"], action);
            assert_eq!(block["Status"], status);
            let retry = (action == "delayed").then_some(until.as_str());
            assert_eq!(block.get("Will-Retry-Until").and_then(Value::as_str), retry);
        }
        let original = report["original"].as_str().unwrap();
        assert!(original.contains("<1@ws.test>"), "{original}");
        let text = report["text"].as_str().unwrap();
        assert!(text.starts_with("Meldingen din er "), "{text}");
        assert!(text.lines().next().unwrap().contains(" til "), "{text}");
        assert!(text.contains("Blålys på vei"), "{text}");
    }
}

/// A room whose server is busy until it is told otherwise.
fn busy() -> (Sink, Arc<AtomicBool>) {
    let is_free = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&is_free);
    let sink = Sink::scripted(move |stage, _, _| match stage {
        Stage::Rcpt if !shared.load(Ordering::SeqCst) => Step::Say("451 4.3.2 not now"),
        _ => Step::Agree,
    });
    (sink, is_free)
}

const IMPATIENT: &str = "retry = [\"1s\"]\nwarn_after = \"1s\"";

fn send(relay: &Relay, mail: &str, rcpt: &str) -> Reply {
    let mut client = relay.client("a");
    let said = client.say(format!("MAIL FROM:<{}>{mail}", vakt("a")));
    assert_eq!(said.code, 250, "{said}");
    let said = client.say(format!("RCPT TO:<{}>{rcpt}", vakt("b")));
    assert_eq!(said.code, 250, "{said}");
    let kept = client.data(&letter(&vakt("a"), &vakt("b")));
    assert_eq!(kept.code, 250, "{kept}");
    kept
}

/// The events of a message, deferrals left out, once the last of `expected` is there.
fn story(relay: &Relay, reference: &str, expected: &[&str]) {
    let told = || {
        let mut events = relay.events(reference);
        events.retain(|event| event != "deferred");
        events
    };
    wait::until("the end of the story", || {
        told().last().map(String::as_str) == expected.last().copied()
    });
    assert_eq!(told(), expected);
}

fn has(report: &Message, lines: &[&str]) {
    let text = report.text();
    for line in lines {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}

#[test]
fn a_sender_hears_once_that_it_is_late_and_then_it_arrives() {
    let (away, is_free) = busy();
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery(IMPATIENT)
        .start();
    let reference = send(&relay, "", "").reference();
    let report = home.wait_for(1).remove(0);
    has(
        &report,
        &[
            "Subject: =?utf-8?Q?Delayed:_pr",
            "Your message is delayed to vakt@b.nodnett.test. It is not delivered yet,",
            "Is it urgent? Call Rom B: +47 00 00 00 02",
            "Next attempt:",
            "Trying until:",
            "451 4.3.2 not now",
            "Action: delayed\r\nStatus: 4.3.2\r\n",
            "Will-Retry-Until: ",
        ],
    );
    let heard = away.reached(Stage::Rcpt);
    wait::until("two more attempts", || {
        away.reached(Stage::Rcpt) >= heard + 2
    });
    is_free.store(true, Ordering::SeqCst);
    story(&relay, &reference, &["accepted", "warned", "delivered"]);
    assert_eq!(home.count(), 1);
    assert!(relay.queue_is_empty());
}

#[test]
fn a_sender_who_asked_hears_that_it_was_delivered() {
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", "maildir:mail/b")
        .start();
    let reply = send(
        &relay,
        " RET=FULL ENVID=QQ+2B1",
        " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;vakt@b.nodnett.test",
    );
    let expected = ["accepted", "delivered", "confirmed"];
    relay.expect_events(&reply.reference(), &expected);
    let report = home.wait_for(1).remove(0);
    has(
        &report,
        &[
            "Subject: =?utf-8?Q?Delivered:_pr",
            "Your message was delivered to vakt@b.nodnett.test.",
            "Original-Envelope-Id: QQ+1\r\n",
            "Original-Recipient: rfc822; vakt@b.nodnett.test\r\n",
            "Action: delivered\r\nStatus: 2.",
            "Content-Type: text/rfc822-headers",
        ],
    );
}

#[test]
fn who_asked_not_to_be_told_is_not_told() {
    let home = Sink::start();
    let away = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.2.1 mailbox is closed"),
        _ => Step::Agree,
    });
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .start();
    for (rcpt, last) in [
        (" NOTIFY=NEVER", "not bounced"),
        (" NOTIFY=SUCCESS,DELAY", "not bounced"),
        (" NOTIFY=FAILURE", "bounced"),
        ("", "bounced"),
    ] {
        let reference = send(&relay, "", rcpt).reference();
        relay.expect_events(&reference, &["accepted", "failed", last]);
    }
    assert_eq!(home.wait_for(2).len(), 2);
}

/// RFC 2852 §4.1, mode N, where `warn_after` is far away.
#[test]
fn a_sender_hears_that_the_time_it_named_has_passed() {
    let (away, is_free) = busy();
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery("retry = [\"1s\"]")
        .start();
    let reference = send(&relay, " BY=2;N", "").reference();
    let report = home.wait_for(1).remove(0);
    has(
        &report,
        &[
            "Deadline:       You asked for delivery by ",
            "Deliver-By-Date: ",
            "Action: delayed\r\nStatus: 4.4.7\r\n",
        ],
    );
    is_free.store(true, Ordering::SeqCst);
    story(&relay, &reference, &["accepted", "warned", "delivered"]);
    assert_eq!(home.count(), 1);
}

/// RFC 2852 §4.1, mode R.
#[test]
fn what_was_not_delivered_in_time_comes_back() {
    let (away, _) = busy();
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery("retry = [\"1s\"]")
        .start();
    let reference = send(&relay, " BY=2;R", "").reference();
    let report = home.wait_for(1).remove(0);
    has(
        &report,
        &[
            "You asked that it not be delivered later than ",
            "Action: failed\r\nStatus: 5.4.7\r\n",
        ],
    );
    story(&relay, &reference, &["accepted", "failed", "bounced"]);
    assert_eq!(away.count(), 0);
}

#[test]
fn a_report_that_cannot_be_delivered_is_held_and_makes_no_report() {
    let closed = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.2.1 mailbox is closed"),
        _ => Step::Agree,
    });
    let relay = Setup::no_rooms()
        .room("a", &closed.hop())
        .room("b", &closed.hop())
        .start();
    let reference = send(&relay, "", "").reference();
    relay.expect_events(&reference, &["accepted", "failed", "bounced"]);
    let events = relay.rows(&["log", "show", &reference]);
    let report = events.last().unwrap()["report"].as_str().unwrap();
    relay.expect_events(report, &["accepted", "held"]);
    let waiting = relay.rows(&["queue", "list"]);
    assert_eq!(column(&waiting, "ref"), [report]);
    assert_eq!(column(&waiting, "state"), ["held"]);
    let reason = "a report that could not be delivered: 550 5.2.1 mailbox is closed";
    assert_eq!(column(&waiting, "last_reply"), [reason]);
    relay.done(&["queue", "release", report]);
    relay.expect_events(report, &["accepted", "held", "released", "held"]);
    relay.done(&["queue", "cancel", report]);
    wait::until("an empty queue", || relay.queue_is_empty());
}

#[test]
fn a_room_may_have_times_of_its_own() {
    let (away, _) = busy();
    let home = Sink::start();
    let own = "warn_after = \"1s\"\ngive_up_after = \"3s\"";
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room_with("b", &away.hop(), own)
        .delivery("retry = [\"1s\"]")
        .start();
    let reference = send(&relay, "", "").reference();
    let reports = home.wait_for(2);
    has(&reports[0], &["Action: delayed\r\n", "Will-Retry-Until: "]);
    has(&reports[1], &["Action: failed\r\nStatus: 4.4.7\r\n"]);
    story(
        &relay,
        &reference,
        &["accepted", "warned", "failed", "bounced"],
    );
}

#[test]
fn a_sender_hears_once_that_a_message_is_held() {
    let (away, _) = busy();
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery("retry = [\"1h\"]\nwarn_after = \"3s\"")
        .start();
    let reference = send(&relay, "", "").reference();
    relay.expect_events(&reference, &["accepted", "deferred"]);
    relay.done(&["queue", "hold", &reference]);
    let report = home.wait_for(1).remove(0);
    has(
        &report,
        &[
            "Action: delayed\r\n",
            "held by the service desk",
            "+47 00 00 00 02",
        ],
    );
    story(&relay, &reference, &["accepted", "held", "warned"]);
    let row = &relay.rows(&["queue", "list"])[0];
    assert_eq!(
        (&row["state"], &row["told_late"]),
        (&"held".into(), &true.into())
    );
}

/// The reference is in the reply to MAIL, so that a client can write a Message-ID like ours.
#[test]
fn what_only_looks_like_a_report_of_ours_is_none() {
    let closed = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.2.1 mailbox is closed"),
        _ => Step::Agree,
    });
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room("b", &closed.hop())
        .start();
    let mut client = relay.client("a");
    let reference = client.say("MAIL FROM:<>").reference();
    client.say(format!("RCPT TO:<{}>", vakt("b")));
    let message = format!(
        "From: MAILER-DAEMON@a.nodnett.test\r\nMessage-ID: <{reference}@relay.nodnett.test>\r\n\
         Subject: nei\r\n\r\nnei\r\n"
    );
    let kept = client.data(message.as_bytes());
    assert_eq!((kept.code, kept.reference()), (250, reference.clone()));
    relay.expect_events(&reference, &["accepted", "failed", "not bounced"]);
    assert!(relay.queue_is_empty());
}

#[test]
fn a_report_names_the_phone_that_is_answered() {
    let away = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.1.1 no such user"),
        _ => Step::Agree,
    });
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", "maildir:mail/b")
        .room("c", &away.hop())
        .routes("[[redirect]]\nroom = \"room-b\"\nto = \"room-c\"\n")
        .start();
    let reference = send(&relay, "", "").reference();
    has(
        &home.wait_for(1).remove(0),
        &[
            "  vakt@b.nodnett.test (Rom B)\r\n  Mail to Rom B now goes to Rom C.\r\n  \
             Is it urgent? Call Rom C: +47 00 00 00 03\r\n",
        ],
    );
    relay.expect_events(&reference, &["accepted", "failed", "bounced"]);
}

#[test]
fn a_report_that_is_late_makes_no_report_for_it_is_one() {
    let away = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.1.1 no such user"),
        _ => Step::Agree,
    });
    let (home, _) = busy();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery(IMPATIENT)
        .start();
    let reference = send(&relay, "", "").reference();
    relay.expect_events(&reference, &["accepted", "failed", "bounced"]);
    let events = relay.rows(&["log", "show", &reference]);
    let report = events.last().unwrap()["report"].as_str().unwrap();
    let untold = || {
        let mut rows = relay.rows(&["log", "show", report]);
        rows.retain(|row| row["event"] == "not bounced");
        column(&rows, "reason")
    };
    wait::until("nobody to tell", || !untold().is_empty());
    assert_eq!(
        untold(),
        ["not told that it is late: it is a report itself, and has no sender"]
    );
}

#[test]
fn what_an_operator_did_is_not_what_the_hop_said() {
    let (away, _) = busy();
    let home = Sink::start();
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .delivery("retry = [\"1h\"]\nwarn_after = \"3s\"")
        .start();
    let reference = send(&relay, "", "").reference();
    relay.expect_events(&reference, &["accepted", "deferred"]);
    relay.done(&["queue", "hold", &reference, "--reason", "hemmelig"]);
    let warning = home.wait_for(1).remove(0);
    relay.done(&[
        "queue", "cancel", &reference, "--report", "--reason", "ringt",
    ]);
    let failure = home.wait_for(2).remove(1);
    has(
        &warning,
        &["held by the service desk", "Action: delayed\r\nStatus: 4."],
    );
    has(
        &failure,
        &["They write: ringt", "Action: failed\r\nStatus: 5."],
    );
    for report in [warning, failure] {
        let text = report.text();
        for word in [
            "hemmelig",
            "held by ",
            "cancelled by ",
            "Diagnostic-Code",
            "Technical:",
        ] {
            let is_ours = word == "held by " && text.contains("being held by the service desk");
            assert!(is_ours || !text.contains(word), "{word:?} is in:\n{text}");
        }
    }
}
