//! Bad news: a report that an operator in a hurry understands and a program can read.

use serde_json::Value;

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

/// Reads a report as any mail program would.
const READER: &str = r#"
import email, email.policy, json, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts = list(m.iter_parts())
status = parts[1].get_payload()
print(json.dumps({
    "type": m.get_content_type(),
    "report": m["Content-Type"].params.get("report-type"),
    "to": m["To"].addresses[0].addr_spec,
    "from": m["From"].addresses[0].addr_spec,
    "subject": m["Subject"],
    "auto": m["Auto-Submitted"],
    "defects": [str(d) for p in m.walk() for d in p.defects],
    "parts": [p.get_content_type() for p in parts],
    "text": parts[0].get_content(),
    "message": dict(status[0].items()),
    "recipient": dict(status[1].items()),
    "original": parts[2].as_string(),
}))
"#;

fn read(relay: &Relay, report: &[u8]) -> Value {
    let file = relay.path("report.eml");
    std::fs::write(&file, report).unwrap();
    serde_json::from_str(&peer::python(READER, &[file.to_str().unwrap()])).unwrap()
}

fn refusing() -> Sink {
    Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.2.1 mailbox is closed"),
        _ => Step::Agree,
    })
}

/// What room `a` is told when room `b` refuses a message, and the reference of that message.
fn told(language: &str) -> (Value, String) {
    let (away, home) = (refusing(), Sink::start());
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .language(language)
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    relay.expect_events(&reply.reference(), &["accepted", "failed", "bounced"]);
    let report = home.wait_for(1).remove(0);
    assert!(report.sender.starts_with("<>"), "{}", report.sender);
    assert_eq!(report.recipients, ["<vakt@a.nodnett.test>"]);
    let events = relay.rows(&["log", "show", &reply.reference()]);
    let reference = events.last().unwrap()["report"].as_str().unwrap();
    relay.expect_events(reference, &["accepted", "delivered"]);
    (read(&relay, &report.data), reply.reference())
}

fn is_sound(report: &Value, reference: &str) {
    assert_eq!(report["type"], "multipart/report");
    assert_eq!(report["report"], "delivery-status");
    assert_eq!(report["defects"], serde_json::json!([]));
    assert_eq!(report["to"], "vakt@a.nodnett.test");
    assert!(report["auto"].as_str().unwrap().starts_with("auto-"));
    assert_eq!(report["parts"][0], "text/plain");
    assert_eq!(report["parts"][1], "message/delivery-status");
    let third = report["parts"][2].as_str().unwrap();
    assert!(
        ["message/rfc822", "text/rfc822-headers"].contains(&third),
        "{third}"
    );
    assert_eq!(
        report["message"]["Reporting-MTA"],
        "dns; relay.nodnett.test"
    );
    let recipient = &report["recipient"];
    assert_eq!(recipient["Final-Recipient"], "rfc822; vakt@b.nodnett.test");
    assert_eq!(recipient["Action"], "failed");
    assert_eq!(recipient["Status"], "5.2.1");
    let diagnostic = recipient["Diagnostic-Code"].as_str().unwrap();
    assert!(
        diagnostic.contains("550 5.2.1 mailbox is closed"),
        "{diagnostic}"
    );
    let text = report["text"].as_str().unwrap();
    for word in ["vakt@b.nodnett.test", "Rom B", "+47 00 00 00 02", reference] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    assert!(report["original"].as_str().unwrap().contains("Message-ID"));
}

#[test]
fn a_refusal_is_reported_in_norwegian() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let (report, reference) = told("nb");
    is_sound(&report, &reference);
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("ikke") && text.contains("Ring"), "{text}");
}

#[test]
fn a_refusal_is_reported_in_english() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let (report, reference) = told("en");
    is_sound(&report, &reference);
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("not") && !text.contains("ikke"), "{text}");
}

#[test]
fn a_sender_is_told_when_it_is_given_up() {
    let home = Sink::start();
    let away = format!("smtp://127.0.0.1:{}", crate::relay::free_port());
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away)
        .delivery("retry = [\"1s\"]\ngive_up_after = \"3s\"")
        .start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    let report = home.wait_for(1).remove(0).text();
    for words in ["Action: failed", "Status: 4.4.7", "+47 00 00 00 02"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    wait::until("the end", || relay.queue_is_empty());
    let rows = relay.rows(&["log", "search", &reply.reference()]);
    assert_eq!(rows[0]["status"], "failed");
}

#[test]
fn a_loop_ends() {
    let relay = Setup::three_rooms().start();
    let trace = "Received: from x by y; Sun, 22 Nov 2026 12:00:00 +0100\r\n".repeat(200);
    let message = [trace.into_bytes(), letter(&vakt("a"), &vakt("b"))].concat();
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.code / 100, 5, "{reply}");
    relay.refusal(&reply.reference());
}
