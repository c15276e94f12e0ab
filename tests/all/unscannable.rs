//! What cannot be scanned, and does not get better by waiting: who is told what, and who may let it out.

use std::time::Duration;

use crate::client::vakt;
use crate::fake_scanner::{EICAR, FakeScanner, Fault};
use crate::quarantine::with_file;
use crate::relay::{Relay, Setup};
use crate::scans::{engine, receipts, relay, saying, send, status, wait_for_status, waiting};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

const SECRET: &str = "FORTROLIG";

/// Five scans take half a minute, since the pauses between them grow.
const FIVE_SCANS: Duration = Duration::from_secs(120);

fn until_reason(relay: &Relay, reference: &str, begins: &str) -> String {
    let found = wait::find_within(FIVE_SCANS, || {
        let (_, reason) = waiting(relay, reference)?;
        reason.starts_with(begins).then_some(reason)
    });
    found.unwrap_or_else(|| panic!("waited in vain for {begins}"))
}

#[test]
fn what_no_engine_takes_is_held_with_the_true_reason_and_let_out_by_a_named_person() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(Fault::Say("INSTREAM size limit exceeded. ERROR"));
    let relay = relay(&sink, &engine(&scanner, "one", "2s"));
    let reference = send(&relay, &saying(SECRET)).reference();
    assert_eq!(status(&relay, &reference), "unscanned");
    let reason = until_reason(
        &relay,
        &reference,
        "held: it cannot be scanned, tried 5 times: too large",
    );
    assert!(!reason.contains("answered for others"), "{reason}");
    assert_eq!(status(&relay, &reference), "held");
    let rows = relay.rows(&["log", "show", &reference]);
    let alarm = rows.iter().find(|row| row["event"] == "alarm").unwrap();
    assert_eq!(alarm["reason"], *reason);

    let complaint = relay.fails(1, &["quarantine", "release", &reference]);
    assert!(
        complaint.contains("still fails its scan (unscannable: too large"),
        "{complaint}"
    );
    let release = ["quarantine", "release", &reference, "--force", "--reason"];
    relay.done(&[&release[..], &["the lab waits for it"]].concat());
    wait_for_status(&relay, &reference, "delivered");
    let field = sink.wait_for(1)[0].text().replace("\r\n ", " ");
    assert!(
        field.contains("X-Ilbud-Scan: unscannable; too large; released by "),
        "{field}"
    );
    assert!(field.contains("the lab waits for it"), "{field}");
    let rows = relay.rows(&["log", "show", &reference]);
    let released = rows.iter().find(|row| row["event"] == "released").unwrap();
    assert_eq!(released["reason"], "the lab waits for it");
}

#[test]
fn what_an_engine_was_to_scan_is_not_let_through_by_taking_the_engine_away() {
    let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
    let settings = engine(&scanner, "one", "2s");
    let mut relay = relay(&sink, &settings);
    scanner.refuse();
    let waits = send(&relay, &saying("hei")).reference();
    let another = send(&relay, &saying("hei")).reference();
    assert_eq!(status(&relay, &waits), "unscanned");
    relay.stop();
    let path = relay.path("ilbud.toml");
    let all = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, all.replace(&settings, "")).unwrap();
    relay.start();
    // What comes now is the settings' to decide.
    let new = send(&relay, &saying("hei")).reference();
    wait_for_status(&relay, &new, "delivered");
    let words = "waits for its scan: down: the settings name no engine any more";
    until_reason(&relay, &waits, words);
    assert_eq!(status(&relay, &waits), "unscanned");
    assert_eq!(sink.count(), 1);
    let is_told = relay.log().contains("2 messages wait for an engine");
    assert!(is_told, "{}", relay.log());
    assert_eq!(relay.rows(&["scan", "status"])[0]["queue"], 2);
    let complaint = relay.fails(1, &["quarantine", "release", &waits]);
    assert!(
        complaint.contains("the settings name no engine"),
        "{complaint}"
    );
    let release = ["quarantine", "release", &waits, "--force", "--reason"];
    relay.done(&[&release[..], &["read out over the phone"]].concat());
    wait_for_status(&relay, &waits, "delivered");
    relay.done(&[
        "scan",
        "exception",
        "open",
        "--for",
        "5m",
        "--reason",
        "no engine",
    ]);
    wait_for_status(&relay, &another, "delivered");
}

#[test]
fn a_report_on_what_was_not_scanned_carries_its_header_alone() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Dot => Step::Say("554 5.6.0 no"),
        _ => Step::Agree,
    });
    let mut scanner = FakeScanner::start();
    let relay = relay(&sink, &engine(&scanner, "one", "2s"));
    let returned = |expected: bool| {
        let mut client = relay.client("a");
        client.say(format!("MAIL FROM:<{}> RET=FULL", vakt("a")));
        client.say(format!("RCPT TO:<{}>", vakt("b")));
        let reply = client.data(&saying(SECRET));
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        let about = format!("Reference:  {}", reply.reference());
        let report = wait::find("the report", || {
            let mails = relay.maildir("a", "vakt").into_iter();
            let mut mails = mails.map(|mail| String::from_utf8(mail).unwrap());
            mails.find(|mail| mail.contains(&about))
        });
        assert_eq!(report.contains(SECRET), expected, "{report}");
    };
    returned(true);
    scanner.refuse();
    relay.done(&[
        "scan",
        "exception",
        "open",
        "--for",
        "5m",
        "--reason",
        "no engine",
    ]);
    wait::until("the exception to be known", || {
        let row = send(&relay, &saying("hei")).reference();
        status(&relay, &row) != "unscanned"
    });
    wait::until("the reports on those", || relay.queue_is_empty());
    returned(false);
}

#[test]
fn what_the_rules_refuse_is_refused_though_no_engine_answers() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.always(Fault::Stall);
    let settings = format!(
        "[scan]\ninline_deadline = \"1h\"\n{}",
        engine(&scanner, "one", "1h")
    );
    let relay = relay(&sink, &settings);
    let reply = send(&relay, &with_file("hei", "a.txt", EICAR));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    assert!(reply.text().contains("a.txt"), "{reply}");
    scanner.go_on();
}

#[test]
fn what_takes_longer_than_its_sender_waits_is_taken_when_it_comes_again() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.script(&[Fault::Stall]);
    let settings = format!(
        "[scan]\ninline_deadline = \"100ms\"\non_failure = \"reject\"\n{}",
        engine(&scanner, "one", "1h")
    );
    let relay = relay(&sink, &settings);
    let message = saying("hei");
    // While its scan goes on it is not begun a second time.
    for _ in 0..2 {
        let reply = send(&relay, &message);
        assert_eq!(reply.said(), "451 4.3.0", "{reply}");
    }
    assert_eq!(scanner.scans(), 1);
    scanner.go_on();
    wait::until("it to be taken", || send(&relay, &message).code == 250);
    assert_eq!(scanner.scans(), 1);
    assert_eq!(scanner.passed(), [message]);
    let text = sink.wait_for(1)[0].text();
    assert!(text.contains("X-Ilbud-Scan: clean;"), "{text}");
}

#[test]
fn what_is_caught_while_it_is_being_delivered_is_not_told_to_be_undelivered() {
    let gate = std::sync::Arc::new(crate::sink::Gate::default());
    let held = std::sync::Arc::clone(&gate);
    let sink = Sink::scripted(move |stage, _, _| match stage {
        Stage::Dot => Step::WaitFor(std::sync::Arc::clone(&held)),
        _ => Step::Agree,
    });
    let scanner = FakeScanner::start();
    let relay = relay(&sink, &engine(&scanner, "one", "2s"));
    let reference = send(&relay, &saying(SECRET)).reference();
    wait::until("the attempt", || sink.reached(Stage::Dot) > 0);
    scanner.find(SECRET, "Worm.Late");
    relay.done(&["outbreak", "rescan", &reference]);
    wait_for_status(&relay, &reference, "quarantined");
    gate.open();
    wait_for_status(&relay, &reference, "delivered");
    let events = relay.events(&reference);
    assert!(events.contains(&"alarm".to_owned()), "{events:?}");
    assert!(!events.contains(&"bounced".to_owned()), "{events:?}");
    assert!(relay.rows(&["quarantine", "list"]).is_empty());
    assert!(relay.maildir("a", "vakt").is_empty());
    let hunted = relay.rows(&["outbreak", "hunt", "Worm.Late"]);
    assert_eq!(hunted[0]["status"], "delivered", "{hunted:?}");
    assert_eq!(receipts(&relay, &reference).len(), 2);
}

#[test]
fn an_operator_may_hold_what_a_measure_holds_already() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&scanner.engine())
        .start();
    relay.done(&["outbreak", "hold-attachments"]);
    let held = wait::find("what the measure holds", || {
        let reference = send(&relay, &with_file("hei", "a.txt", "x")).reference();
        let end = wait::find("where it ends", || {
            let state = status(&relay, &reference);
            ["held", "delivered"].contains(&&*state).then_some(state)
        });
        (end == "held").then_some(reference)
    });
    until_reason(&relay, &held, "held: hold attachments");
    relay.done(&["queue", "hold", &held, "--reason", "mine"]);
    until_reason(&relay, &held, "held by ");
    relay.done(&["outbreak", "end", "1"]);
    let other = send(&relay, &saying("hei")).reference();
    wait_for_status(&relay, &other, "delivered");
    assert_eq!(status(&relay, &held), "held");
    relay.done(&["queue", "release", &held]);
    wait_for_status(&relay, &held, "delivered");
}
