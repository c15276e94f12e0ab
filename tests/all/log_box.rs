//! The box: what a caller says, typed as it is, finds the message and says how it was taken.

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup};
use crate::wait;

/// Two messages from a: to b with a subject of its own, and to c. The reference of the first.
fn two_messages(relay: &Relay) -> String {
    let mut client = relay.client("a");
    let message = String::from_utf8(letter(&vakt("a"), &vakt("b"))).unwrap();
    let message = message.replace("Subject: pr\u{f8}ve", "Subject: Epikrise levert Hamar");
    let sent = client.send(&vakt("a"), &[&vakt("b")], message.as_bytes());
    let other = client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    relay.expect_events(&other.reference(), &["accepted", "delivered"]);
    wait::until("both", || relay.rows(&["log", "search"]).len() == 2);
    sent.reference()
}

/// Another last letter, which no reference beside it has.
fn misheard(reference: &str) -> String {
    let (rest, last) = reference.split_at(reference.len() - 1);
    let other = if last == "Z" { "Y" } else { "Z" };
    format!("{rest}{other}")
}

#[test]
fn what_a_caller_says_finds_the_message() {
    let relay = Setup::three_rooms().language("nb").start();
    let wanted = two_messages(&relay);
    let spoken = wanted.to_lowercase().replace('-', " ");
    for typed in [
        wanted.as_str(),
        &spoken,
        "Epikrise",
        "til vakt@b.nodnett.test siste time",
        "Rom B",
        "rom:b levert",
        "fra vakt@a.nodnett.test til \"Rom B\"",
        "fra:a til:b",
        "2h epikrise 127.0.1.9",
        "\"epikrise levert\"",
        "emne:\"levert hamar\" last 30 min",
        "delivered epikrise since yesterday",
    ] {
        let in_words: Vec<&str> = typed.split(' ').collect();
        for arguments in [&[typed][..], &in_words] {
            let rows = relay.rows(&[&["log", "search"], arguments].concat());
            let found: Vec<&str> = rows.iter().map(|it| it["ref"].as_str().unwrap()).collect();
            assert_eq!(found, [wanted.as_str()], "{arguments:?}");
        }
    }
    for typed in [
        "avvist epikrise",
        "i fjor epikrise",
        "epikrise \"levert epikrise\"",
    ] {
        let rows = relay.rows(&["log", "search", typed]);
        assert!(rows.is_empty(), "{typed}: {rows:?}");
    }
}

#[test]
fn people_are_told_how_it_was_taken_and_what_became_of_the_one() {
    let relay = Setup::three_rooms().language("nb").start();
    let wanted = two_messages(&relay);
    let printed = relay.done(&["log", "search", "epikrise", "siste", "time"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("Tolket som: etter "), "{printed}");
    assert!(
        lines[0].ends_with("; «epikrise» hvor som helst"),
        "{printed}"
    );
    assert!(lines[2].starts_with("ref "), "{printed}");
    assert!(lines[3].starts_with(&wanted), "{printed}");
    assert!(lines[5].starts_with("Levert til Rom B kl. "), "{printed}");
    // Two are no answer, and all of them are no question.
    for typed in [&["siste time"][..], &[]] {
        let printed = relay.done(&[&["log", "search"], typed].concat());
        assert!(!printed.contains("Levert til"), "{printed}");
        assert_eq!(
            printed.contains("Tolket som"),
            !typed.is_empty(),
            "{printed}"
        );
    }
}

#[test]
fn a_reference_that_was_misheard_is_found_and_said() {
    let relay = Setup::three_rooms().language("nb").start();
    let wanted = two_messages(&relay);
    let misheard = misheard(&wanted);
    let printed = relay.done(&["log", "search", &misheard]);
    let taken = format!("Tolket som: referansen {wanted} (");
    assert!(printed.starts_with(&taken), "{printed}");
    assert!(printed.contains(" er tatt som "), "{printed}");
    assert!(printed.contains("Levert til Rom B kl. "), "{printed}");
    // A program gets what it asked for, and a person beside it the idea.
    let output = relay.run(&["log", "search", &misheard, "--json"]);
    assert!(output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("did they mean {wanted}?")), "{said}");
}

#[test]
fn what_only_the_words_find_is_found_as_words() {
    let relay = Setup::three_rooms().start();
    let wanted = two_messages(&relay);
    // No message has failed; a subject says that one has.
    let message = String::from_utf8(letter(&vakt("a"), &vakt("b"))).unwrap();
    let message = message.replace("Subject: pr\u{f8}ve", "Subject: alarm failed");
    let sent = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], message.as_bytes());
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    let output = relay.run(&["log", "search", "alarm", "failed", "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("nothing was found taken as: status failed"),
        "{said}"
    );
    let row = String::from_utf8(output.stdout).unwrap();
    assert!(
        row.contains(&sent.reference()) && !row.contains(&wanted),
        "{row}"
    );
    // Where they find nothing either, the operator sees why, once.
    let output = relay.run(&["log", "search", "nothing", "failed"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "Taken as: status failed; \"nothing\" anywhere\n\nNothing was found.\n"
    );
}

#[test]
fn what_a_caller_says_is_found_by_the_words_that_say_something() {
    let relay = Setup::three_rooms().start();
    let message = String::from_utf8(letter(&vakt("a"), &vakt("b"))).unwrap();
    let message = message.replace("Subject: pr\u{f8}ve", "Subject: Epikrise fra natt");
    let sent = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], message.as_bytes());
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    let asked = "jeg sendte epikrisen nettopp, kom den fram?";
    let output = relay.run(&["log", "search", asked]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("nothing was found taken as: after "),
        "{said}"
    );
    assert!(
        said.ends_with("; this has \"epikris\" anywhere\n"),
        "{said}"
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(&sent.reference()), "{printed}");
    assert!(printed.contains("Delivered to "), "{printed}");
    // A program gets what was asked for.
    let output = relay.run(&["log", "search", asked, "--json"]);
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn what_cannot_be_meant_is_said_and_nothing_is_searched() {
    let relay = Setup::three_rooms().start();
    for (typed, said) in [
        ("frra:vakt", "no field \"frra\": did you mean fra: ?"),
        ("status:lost", "no status is called \"lost\""),
        ("i går i dag", "the times exclude each other"),
    ] {
        let complaint = relay.fails(1, &["log", "search", typed]);
        assert!(complaint.contains(said), "{complaint}");
    }
    let hostile = format!("\u{1b}[2J\u{202e}{}", "x ".repeat(20_000));
    let printed = relay.done(&["log", "search", &hostile]);
    assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed}");
}
