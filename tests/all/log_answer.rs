//! Did they get it: the answer of `ilbud log answer`, judged by what it prints of real messages.

use serde_json::Value;

use crate::client::{letter, letter_from_fields, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::relay::{Relay, Setup};
use crate::route_live::{by_hand, write_garbage};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

const SECRET: &str = "LIVSFARLIG";

/// Sends from room a to `vakt` in b; the reference.
fn sent(relay: &Relay) -> String {
    let (from, to) = (vakt("a"), vakt("b"));
    let reply = relay.client("a").send(&from, &[&to], &letter(&from, &to));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

fn answer(relay: &Relay, reference: &str) -> Value {
    relay.rows(&["log", "answer", reference]).remove(0)
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap()
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn what_was_delivered_is_told_in_one_sentence_in_the_language_of_the_settings() {
    let sink = Sink::start();
    let relay = Setup::from_a_to(&sink.hop()).language("nb").start();
    let reference = sent(&relay);
    relay.expect_events(&reference, &["accepted", "delivered"]);
    let told = answer(&relay, &reference);
    assert_eq!(text(&told, "ref"), reference);
    holds(
        text(&told, "sentence"),
        &[
            "Levert til Rom B kl. ",
            " etter sending; uten vedlegg, kontrollert med de innebygde reglene, uten funn. Kvittering: 250 ",
        ],
    );
    holds(text(&told, "advice"), &["postkassen vakt@b.nodnett.test"]);
    holds(
        text(&told, "about"),
        &["Melding fra Rom A (vakt@a.nodnett.test)", "emne: "],
    );
    let recipients = told["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 1);
    assert_eq!(recipients[0]["recipient"], vakt("b"));
    assert_eq!(recipients[0]["state"], "delivered");
    holds(text(&recipients[0], "sentence"), &["Levert til Rom B kl. "]);
    let events: Vec<&str> = told["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(it, "event"))
        .collect();
    assert_eq!(events, ["session", "accepted", "scanned", "delivered"]);
    holds(
        text(&told["timeline"][0], "text"),
        &[
            "Kom inn: fra 127.0.1.9; presenterte seg som ",
            "; uten kryptering",
        ],
    );
    holds(
        text(&told["timeline"][1], "text"),
        &["regel: room \"room-b\"", "rutetabell 1"],
    );
    holds(
        text(&told["timeline"][3], "text"),
        &["forsøk 1; via smtp://127.0.0.1:", "svar: 250 "],
    );
    let english = relay.done(&["log", "answer", &reference, "--language", "en"]);
    assert!(english.starts_with("Delivered to Rom B at "), "{english}");
    // Read kindly, and show begins with the same.
    let spoken = reference.to_lowercase().replace('-', " ");
    let shown = relay.done(&["log", "show", &spoken]);
    assert!(shown.starts_with("Levert til Rom B kl. "), "{shown}");
    holds(
        &shown,
        &["Reference   ", "accepted          vakt@b.nodnett.test"],
    );
    relay.fails(2, &["log", "answer", &reference, "--language", "nn"]);
}

#[test]
fn what_waits_is_told_with_its_reason_and_what_to_do() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("450 4.2.0 \u{1b}[2Jgreylisted"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop())
        .delivery("retry = [\"1h\"]")
        .start();
    let reference = sent(&relay);
    relay.expect_events(&reference, &["accepted", "deferred"]);
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "deferred");
    holds(
        text(&told, "sentence"),
        &[
            "Not delivered yet to Rom B: ",
            "; tried once, next attempt ",
            "The answer was: 450 4.2.0 ",
        ],
    );
    let retry = format!("ilbud queue retry {reference}");
    holds(
        text(&told, "advice"),
        &["Is it urgent? Call Rom B: +47 00 00 00 02.", &retry],
    );
    let printed = relay.done(&["log", "answer", &reference]);
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
    relay.done(&["queue", "hold", &reference, "--reason", "waits for Hamar"]);
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "held");
    holds(
        text(&told, "sentence"),
        &["held back by ", "They wrote: waits for Hamar"],
    );
    let release = format!("ilbud queue release {reference}");
    holds(text(&told, "advice"), &[&release]);
    let printed = relay.done(&["log", "answer", &reference]);
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
    relay.done(&["queue", "cancel", &reference, "--reason", "by mistake"]);
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "cancelled");
    holds(
        text(&told, "sentence"),
        &[
            "Not delivered to Rom B: cancelled by ",
            "They wrote: by mistake",
        ],
    );
}

#[test]
fn what_the_hop_refused_is_told_in_its_own_words() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.1.1 No such user"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&sink.hop()).language("nb").start();
    let reference = sent(&relay);
    relay.expect_events(&reference, &["accepted", "failed", "bounced"]);
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "failed");
    holds(
        text(&told, "sentence"),
        &[
            "Ikke levert til Rom B: adressen finnes ikke hos mottakeren; avsluttet kl. ",
            "Svaret var: 550 5.1.1 No such user",
        ],
    );
    holds(
        text(&told, "advice"),
        &[
            "Ring Rom B: +47 00 00 00 02.",
            "Avsenderen har fått beskjed (",
        ],
    );
    // The report that the sender got is told as ours.
    let report = relay.story(&reference).pop().unwrap();
    let report = answer(&relay, text(&report, "report"));
    let about = format!("Dette er en rapport fra oss om {reference}. ");
    assert!(text(&report, "sentence").starts_with(&about), "{report}");
}

#[test]
fn what_was_caught_is_told_with_what_was_found() {
    let (sink, scanner) = (Sink::start(), FakeScanner::start());
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&format!(
            "[scan]\ninline_deadline = \"100ms\"\n{}",
            scanner.engine()
        ))
        .start();
    scanner.find(SECRET, "Trojan.Test");
    scanner.always(Fault::Stall);
    let (from, to) = (vakt("a"), vakt("b"));
    let message = crate::client::letter_saying(&from, &to, &format!("{SECRET}\r\n"));
    let reply = relay.client("a").send(&from, &[&to], &message);
    let reference = reply.reference();
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "unscanned", "{told}");
    holds(text(&told, "sentence"), &["it waits for the virus scan"]);
    scanner.always(None);
    scanner.go_on();
    relay.expect_events(
        &reference,
        &["accepted", "scanned", "quarantined", "bounced"],
    );
    let told = answer(&relay, &reference);
    assert_eq!(told["recipients"][0]["state"], "quarantined");
    holds(
        text(&told, "sentence"),
        &[
            "Not delivered to Rom B: put in quarantine at ",
            "clamd found Trojan.Test.",
        ],
    );
    let show = format!("ilbud quarantine show {reference}");
    holds(text(&told, "advice"), &["not to send it again", &show]);
    let scan = told["timeline"].as_array().unwrap().iter();
    let scan = scan.rev().find(|it| it["event"] == "scanned").unwrap();
    holds(
        text(scan, "text"),
        &["Virus scan: infected; by clamd (", "found: Trojan.Test"],
    );
}

#[test]
fn what_was_refused_is_told_with_its_rule_and_the_nearest_address() {
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room_with("b", "maildir:mail/b", "recipients = [\"vakt\"]")
        .language("nb")
        .start();
    let mut client = relay.client("a");
    client.say(format!("MAIL FROM:<{}>", vakt("a")));
    let typo = client.say("RCPT TO:<vatk@b.nodnett.test>").reference();
    let row = relay.refusal(&typo);
    assert_eq!(row["recipient"], "vatk@b.nodnett.test");
    let told = answer(&relay, &typo);
    holds(
        text(&told, "sentence"),
        &[
            "Melding fra Rom A (vakt@a.nodnett.test) til vatk@b.nodnett.test ble avvist kl. ",
            ": sentralen har ingen slik postkasse. Regel: sentralen \"room-b\" har ikke \"vatk\" blant mottakerne ",
            "(rutetabell 1). Vi svarte: 550 5.1.1 ",
        ],
    );
    // Below it stands what was written down.
    let written = "regel: room \"room-b\": recipients do not include \"vatk\"";
    let timeline = told["timeline"].as_array().unwrap();
    let last = timeline.last().unwrap()["text"].as_str().unwrap();
    assert!(last.to_lowercase().contains(written), "{last}");
    let event = relay.rows(&["log", "show", &typo]).pop().unwrap();
    let rule = event["rule"].as_str().unwrap();
    assert!(rule.starts_with("room \"room-b\": recipients"), "{rule}");
    holds(text(&told, "advice"), &["Mente de vakt@b.nodnett.test?"]);
    assert_eq!(told["recipients"][0]["state"], "refused");
    drop(client);
    // A message of which nothing was kept has its subject, which is harmless on a terminal.
    let mut client = relay.client("a");
    let fields = "From: x@c.nodnett.test\r\nSubject: =?utf-8?Q?=1B[2Jhei?=\r\n";
    let to = vakt("b");
    let reply = client.send(&vakt("a"), &[&to], &letter_from_fields(fields));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    let reference = reply.reference();
    relay.refusal(&reference);
    let printed = relay.done(&["log", "answer", &reference]);
    holds(
        &printed,
        &["avsenderadressen hører ikke til sentralen", "emne: "],
    );
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

#[test]
fn of_several_recipients_it_is_told_how_many_got_it_and_who_did_not() {
    let sink = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("450 4.2.0 Not now"),
        _ => Step::Agree,
    });
    let relay = Setup::three_rooms()
        .room("d", &sink.hop())
        .delivery("retry = [\"1h\"]")
        .start();
    let (from, to) = (vakt("a"), [vakt("b"), vakt("c"), vakt("d")]);
    let all: Vec<&str> = to.iter().map(String::as_str).collect();
    let reply = relay.client("a").send(&from, &all, &letter(&from, &to[0]));
    let reference = reply.reference();
    wait::until("two deliveries and one attempt", || {
        let events = relay.events(&reference);
        let count = |word: &str| events.iter().filter(|it| *it == word).count();
        (count("delivered"), count("deferred")) == (2, 1)
    });
    let told = answer(&relay, &reference);
    holds(
        text(&told, "sentence"),
        &["Delivered to 2 of 3; not to Rom D (tried again)"],
    );
    holds(text(&told, "advice"), &["Call Rom D: +47 00 00 00 04."]);
    let printed = relay.done(&["log", "answer", &reference]);
    holds(&printed, &["\nvakt@b.nodnett.test  Delivered to Rom B at "]);
}

#[test]
fn a_reference_that_nothing_is_known_of_is_told_with_the_nearest_idea() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = sent(&relay);
    let (before, last) = reference.split_at(reference.len() - 1);
    let other = if last == "X" { "Y" } else { "X" };
    let complaint = relay.fails(1, &["log", "answer", &format!("{before}{other}")]);
    let idea = format!("did they mean {reference}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    holds(&complaint, &["nothing is known of ", &idea]);
    let complaint = relay.fails(1, &["log", "answer", "ZZZZ-ZZZZ-ZZZZ"]);
    holds(
        &complaint,
        &["it would have been made at ", "which cannot be"],
    );
    let complaint = relay.fails(1, &["log", "show", "ZZZZ-ZZZZ-ZZZZ"]);
    holds(&complaint, &["nothing is known of ZZZZ-ZZZZ-ZZZZ"]);
    let complaint = relay.fails(2, &["log", "answer", "K7F3"]);
    holds(&complaint, &["12 letters and digits"]);
}

/// What a command says beside its output, and what it puts out.
fn both(relay: &Relay, arguments: &[&str]) -> (String, String) {
    let output = relay.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stderr), text(output.stdout))
}

#[test]
fn rooms_keep_their_names_where_the_table_was_broken_by_hand() {
    let relay = Setup::three_rooms().language("nb").start();
    let reference = sent(&relay);
    relay.expect_events(&reference, &["accepted", "delivered"]);
    write_garbage(&relay);
    let warnings = |said: &str| said.matches("warning: ").count();
    for command in [
        &["log", "answer", &reference][..],
        &["log", "show", &reference],
        // Understood by the table, and then answered by it.
        &["log", "search", "til Rom B"],
        &["log", "search", &reference],
    ] {
        let (said, printed) = both(&relay, command);
        holds(&printed, &["Levert til Rom B kl. "]);
        holds(
            &said,
            &[
                "routing table, revision 2: line 1: ",
                ": names of rooms and telephones are as in revision 1; put a good table in force with: ",
            ],
        );
        assert_eq!(warnings(&said), 1, "{command:?}: {said}");
    }
    // Nobody who needs no room's name is bothered with the table.
    for command in [
        &["log", "search", &reference, "--json"][..],
        &["log", "search", "levert siste time", "--json"],
        &["log", "search", "fra:vakt@a.nodnett.test", "--json"],
        &["log", "search", "--recipient", &vakt("b"), "--json"],
        &["log", "show", &reference, "--json"],
        &["log", "export", "--room", "room-b", "--json"],
    ] {
        let (said, printed) = both(&relay, command);
        assert_eq!(said, "", "{command:?}");
        holds(&printed, &[&reference]);
    }
    // Whether it is a room, nobody knows.
    let (said, _) = both(&relay, &["log", "search", "--room", "lost"]);
    assert!(!said.contains("there is no room"), "{said}");
}

#[test]
fn a_table_of_which_no_revision_can_be_read_costs_no_answer() {
    let relay = Setup::three_rooms().language("nb").start();
    let reference = sent(&relay);
    relay.expect_events(&reference, &["accepted", "delivered"]);
    by_hand(
        &relay,
        "UPDATE revision SET routes = CAST(x'ff00fe' AS TEXT)",
    );
    for command in [["log", "answer", &reference], ["log", "search", "til:b"]] {
        let (said, printed) = both(&relay, &command);
        holds(&printed, &["Levert til room-b kl. "]);
        holds(
            &said,
            &[
                "warning: ",
                ": rooms are told by their ids alone, since no revision can be read; put a good",
            ],
        );
    }
}
