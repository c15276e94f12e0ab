//! What was caught after its 250: who is told, who may let it out, and when it is gone.

use crate::client::{letter_saying, vakt};
use crate::fake_scanner::{EICAR, FakeScanner, Fault};
use crate::relay::{Relay, Setup, column};
use crate::sink::Sink;
use crate::wait;

const SECRET: &str = "LIVSFARLIG";

/// A message with one file beside its text.
pub fn with_file(text: &str, name: &str, content: &str) -> Vec<u8> {
    let id = crate::client::next_id();
    format!(
        "From: {}\r\nTo: {}\r\nSubject: melding {id}\r\nMessage-ID: <{id}@ws.test>\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"skille\"\r\n\r\n\
         --skille\r\n\r\n{text}\r\n--skille\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{content}\r\n--skille--\r\n",
        vakt("a"),
        vakt("b")
    )
    .into_bytes()
}

fn setup(scanner: &FakeScanner, hop: &str, more: &str) -> Setup {
    Setup::from_a_to(hop).settings(&format!(
        "[scan]\ninline_deadline = \"100ms\"\n{more}\n{}",
        scanner.engine()
    ))
}

/// Sends what the scanner finds something in only after the 250; its reference.
fn caught(relay: &Relay, scanner: &FakeScanner, wishes: &str) -> String {
    scanner.find(SECRET, "Trojan.Test");
    scanner.always(Fault::Stall);
    let mut client = relay.client("a");
    let message = letter_saying(&vakt("a"), &vakt("b"), &format!("{SECRET}\r\n"));
    client.say(format!("MAIL FROM:<{}> {wishes}", vakt("a")));
    client.say(format!("RCPT TO:<{}>", vakt("b")));
    let reply = client.data(&message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    scanner.always(None);
    scanner.go_on();
    let reference = reply.reference();
    relay.expect_events(
        &reference,
        &["accepted", "scanned", "quarantined", "bounced"],
    );
    reference
}

#[test]
fn malware_found_after_the_250_is_kept_from_everybody_and_its_sender_is_told() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = setup(&scanner, &sink.hop(), "").start();
    let reference = caught(&relay, &scanner, "RET=FULL");
    wait::until("the report", || !relay.maildir("a", "vakt").is_empty());
    let report = String::from_utf8(relay.maildir("a", "vakt").remove(0)).unwrap();
    assert!(report.contains("Trojan.Test"), "{report}");
    assert!(!report.contains(SECRET), "{report}");
    let rows = relay.rows(&["quarantine", "list"]);
    assert_eq!(column(&rows, "ref"), [reference.as_str()]);
    assert_eq!(rows[0]["sender"], vakt("a"));
    assert_eq!(rows[0]["recipients"][0], vakt("b"));
    assert_eq!(rows[0]["malware"], "Trojan.Test");
    assert_eq!(rows[0]["engine"], "clamd");
    assert_eq!(rows[0]["reason"], "clamd found Trojan.Test");
    assert!(rows[0]["at"].is_string());
    for event in relay
        .story(&reference)
        .iter()
        .filter(|it| it["event"] == "quarantined" || it["event"] == "scanned")
    {
        assert_eq!(event["malware"][0], "Trojan.Test", "{event}");
    }
    // Whoever handles the queue does not see it, and cannot let it out.
    assert!(relay.queue_is_empty());
    relay.fails(1, &["queue", "release", &reference]);
    relay.fails(1, &["queue", "retry", &reference]);
    assert_eq!(sink.count(), 0);
    let read = relay.done(&["quarantine", "show", &reference, "--message"]);
    assert!(read.contains(SECRET));
    assert_eq!(relay.events(&reference).last().unwrap(), "viewed");
    let hunted = relay.rows(&["outbreak", "hunt", "Trojan.Test"]);
    assert_eq!(column(&hunted, "status"), ["quarantined"]);
}

#[test]
fn what_still_fails_its_scan_is_released_by_force_alone_and_says_so() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = setup(&scanner, &sink.hop(), "").start();
    let reference = caught(&relay, &scanner, "");
    let complaint = relay.fails(1, &["quarantine", "release", &reference]);
    assert!(complaint.contains("clamd found Trojan.Test"), "{complaint}");
    relay.fails(2, &["quarantine", "release", &reference, "--force"]);
    relay.fails(
        2,
        &[
            "quarantine",
            "release",
            &reference,
            "--force",
            "--reason",
            " ",
        ],
    );
    assert_eq!(sink.count(), 0);
    let reason = "asked for by the lab";
    relay.done(&[
        "quarantine",
        "release",
        &reference,
        "--force",
        "--reason",
        reason,
    ]);
    let text = sink.wait_for(1)[0].text();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    assert!(
        head.contains("X-Ilbud-Scan: infected; Trojan.Test; released by "),
        "{head}"
    );
    assert!(head.contains(reason), "{head}");
    assert_eq!(head.matches("X-Ilbud-Scan").count(), 1, "{head}");
    wait::until("the end", || {
        relay.events(&reference).contains(&"delivered".to_owned())
    });
    let story = relay.story(&reference);
    let released = story.iter().find(|it| it["event"] == "released").unwrap();
    assert_eq!(released["reason"], reason);
    assert!(relay.rows(&["quarantine", "list"]).is_empty());
}

#[test]
fn new_signatures_take_nothing_out_by_themselves_but_make_a_release_plain() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = setup(&scanner, &sink.hop(), "").start();
    let reference = caught(&relay, &scanner, "");
    scanner.find_nothing();
    let said = relay.done(&[
        "outbreak",
        "rescan",
        "--quarantine",
        "--reason",
        "new signatures",
    ]);
    assert_eq!(said, "1 to be scanned again.\n");
    wait::until("the scan", || {
        let rows = relay.rows(&["log", "show", &reference]);
        rows.iter()
            .any(|it| it["event"] == "scanned" && it["verdict"] == "clean")
    });
    assert_eq!(relay.rows(&["quarantine", "list"]).len(), 1);
    assert_eq!(sink.count(), 0);
    relay.done(&["quarantine", "release", &reference]);
    let text = sink.wait_for(1)[0].text();
    assert!(text.contains("X-Ilbud-Scan: clean;"), "{text}");
}

#[test]
fn what_is_deleted_is_gone_and_so_is_what_was_kept_long_enough() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let mut relay = setup(&scanner, &sink.hop(), "quarantine = \"1ms\"").start();
    let first = caught(&relay, &scanner, "");
    relay.done(&["quarantine", "delete", &first, "--reason", "done with"]);
    let row = relay.story(&first).pop().unwrap();
    assert_eq!(
        (&row["event"], &row["reason"]),
        (&"cancelled".into(), &"done with".into())
    );
    relay.fails(1, &["quarantine", "show", &first, "--message"]);
    let second = caught(&relay, &scanner, "");
    relay.stop();
    relay.start();
    wait::until("its end", || relay.rows(&["quarantine", "list"]).is_empty());
    let row = relay.story(&second).pop().unwrap();
    assert_eq!(row["event"], "cancelled");
    assert_eq!(row["reason"], "kept in quarantine for 1ms");
    relay.fails(1, &["quarantine", "release", &second]);
    assert_eq!(sink.count(), 0);
}

#[test]
fn who_was_sent_refused_malware_is_found_by_its_name() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&scanner.engine())
        .start();
    scanner.find(SECRET, "Trojan.Test");
    for (text, name) in [(SECRET, "Trojan.Test"), (EICAR, "Eicar")] {
        let message = with_file("hei", "a.txt", text);
        let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
        assert_eq!(reply.said(), "550 5.7.1", "{reply}");
        assert!(reply.text().contains(name), "{reply}");
        relay.refusal(&reply.reference());
        let rows = relay.rows(&["outbreak", "hunt", name]);
        let found: Vec<_> = rows
            .iter()
            .filter(|it| it["ref"] == reply.reference())
            .collect();
        assert!(!found.is_empty(), "{rows:?}");
        assert_eq!(found[0]["status"], "refused");
        assert_eq!(found[0]["recipient"], vakt("b"));
        assert!(
            found[0]["malware"].as_str().unwrap().contains(name),
            "{rows:?}"
        );
    }
}

#[test]
fn a_room_may_want_it_quarantined_what_others_refuse() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    scanner.find_nothing();
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room_with("b", &sink.hop(), "[room.scan]\neicar = \"quarantine\"")
        .settings(&scanner.engine())
        .start();
    let mut client = relay.client("a");
    client.say(format!("MAIL FROM:<{}> RET=FULL", vakt("a")));
    client.say(format!("RCPT TO:<{}>", vakt("b")));
    let reply = client.data(&with_file(SECRET, "a.txt", EICAR));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let reference = reply.reference();
    relay.expect_events(&reference, &["accepted", "quarantined", "bounced"]);
    assert_eq!(relay.rows(&["quarantine", "list"])[0]["engine"], "rules");
    wait::until("the report", || !relay.maildir("a", "vakt").is_empty());
    let report = String::from_utf8(relay.maildir("a", "vakt").remove(0)).unwrap();
    assert!(
        !report.contains(SECRET) && !report.contains(EICAR),
        "{report}"
    );
    assert_eq!(sink.count(), 0);
}

#[test]
fn a_report_on_what_has_no_verdict_carries_nothing_of_it() {
    let (sink, mut scanner) = (Sink::start(), FakeScanner::start());
    scanner.refuse();
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("retry = [\"1s\"]\nwarn_after = \"1s\"\ngive_up_after = \"4s\"")
        .settings(&scanner.engine())
        .start();
    let send = || {
        let mut client = relay.client("a");
        client.say(format!("MAIL FROM:<{}> RET=FULL", vakt("a")));
        client.say(format!("RCPT TO:<{}>", vakt("b")));
        let message = letter_saying(&vakt("a"), &vakt("b"), &format!("{SECRET}\r\n"));
        client.data(&message).reference()
    };
    let (cancelled, _) = (send(), send());
    relay.done(&["queue", "cancel", &cancelled, "--report"]);
    // One that it was cancelled, one that it is late, one that it was given up.
    wait::until("the reports", || relay.maildir("a", "vakt").len() >= 3);
    for report in relay.maildir("a", "vakt") {
        let report = String::from_utf8(report).unwrap();
        assert!(!report.contains(SECRET), "{report}");
    }
    assert_eq!(sink.count(), 0);
}
