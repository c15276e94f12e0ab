//! Limits: what is too large, too many or too fast is said so, in the words of the contract.

use crate::client::{Client, letter, letter_saying, vakt};
use crate::relay::{Setup, source};

#[test]
fn a_message_too_large_is_refused_at_mail_and_after_data() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nmessage_size = \"64 KiB\"")
        .start();
    let ehlo = relay.client("a").say("EHLO again");
    assert!(ehlo.lines.contains(&"SIZE 65536".to_owned()), "{ehlo}");
    let announced = relay
        .client("a")
        .say("MAIL FROM:<vakt@a.nodnett.test> SIZE=65537");
    assert_eq!(announced.said(), "552 5.3.4", "{announced}");

    let message = letter_saying(&vakt("a"), &vakt("b"), &"x\r\n".repeat(40_000));
    let mut client = relay.client("a");
    let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "552 5.3.4", "{reply}");
    assert_eq!(
        relay.refusal(&reply.reference())["recipient"],
        "vakt@b.nodnett.test"
    );
    let after = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(
        after.said(),
        "250 2.0.0",
        "the dialogue stays in step: {after}"
    );
}

#[test]
fn one_recipient_too_many_is_told_to_come_again() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nrecipients = 3")
        .start();
    let mut client = relay.client("a");
    assert!(client.say("EHLO again").text().contains("RCPTMAX=3"));
    client.say("MAIL FROM:<vakt@a.nodnett.test>");
    for n in 1..=3 {
        assert_eq!(
            client.say(format!("RCPT TO:<r{n}@b.nodnett.test>")).code,
            250
        );
    }
    let reply = client.say("RCPT TO:<r4@b.nodnett.test>");
    assert_eq!(reply.said(), "452 4.5.3", "{reply}");
    relay.refusal(&reply.reference());
    let sent = client.data(&letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn a_workstation_that_sends_too_fast_is_slowed_down_alone() {
    let relay = Setup::three_rooms()
        .settings("[limits.rates]\nworkstation = \"5/min\"")
        .start();
    let send = |from: &str, source: &str| {
        let message = letter(&vakt(from), &vakt("c"));
        Client::greeted(relay.port, source).send(&vakt(from), &[&vakt("c")], &message)
    };
    let replies: Vec<_> = (0..8).map(|_| send("a", "127.0.1.9")).collect();
    let slowed = replies
        .iter()
        .find(|reply| reply.code != 250)
        .expect("a refusal");
    assert_eq!(slowed.said(), "450 4.7.1", "{slowed}");
    assert_eq!(relay.refusal(&slowed.reference())["client"], "127.0.1.9");
    assert!(replies.iter().filter(|reply| reply.code == 250).count() >= 5);
    assert_eq!(
        send("a", "127.0.1.10").code,
        250,
        "another workstation of the room"
    );
    assert_eq!(send("b", "127.0.2.9").code, 250, "another room");
}

#[test]
fn an_address_with_too_many_connections_hears_421_and_others_are_let_in() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nconnections_per_address = 3")
        .start();
    let mut held: Vec<Client> = (0..3).map(|_| relay.client("a")).collect();
    let mut fourth = Client::silent(relay.port, &source("a")).unwrap();
    let reply = fourth.reply();
    assert_eq!(reply.said(), "421 4.7.0", "{reply}");
    relay.client("b");
    assert_eq!(held.pop().unwrap().say("QUIT").code, 221);
    crate::wait::until("room for one more", || {
        Client::silent(relay.port, &source("a"))
            .unwrap()
            .reply()
            .code
            == 220
    });
}

#[test]
fn a_full_house_says_421() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nconnections = 2")
        .start();
    crate::wait::until("an empty house", || {
        let held = ["a", "b"].map(|l| Client::silent(relay.port, &source(l)).unwrap());
        let mut third = Client::silent(relay.port, &source("c")).unwrap();
        let codes = held.map(|mut client| client.reply().code);
        codes == [220, 220] && third.reply().said() == "421 4.7.0"
    });
}

#[test]
fn twenty_errors_and_a_thousand_commands_are_borne() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    for n in 0..20 {
        assert_eq!(client.say("NONSENSE").code / 100, 5, "error {n}");
    }
    let mut client = relay.client("a");
    for n in 0..990 {
        assert_eq!(client.say("NOOP").code, 250, "command {n}");
    }
    let mut client = relay.client("a");
    let last = (0..2000)
        .map(|_| client.say("NONSENSE"))
        .find(|reply| reply.code / 100 != 5);
    assert_eq!(last.expect("an end").code, 421);
}

#[test]
fn a_line_too_long_is_refused_and_the_dialogue_goes_on() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    let reply = client.say(format!("NOOP {}", "x".repeat(100_000)));
    assert_eq!(reply.code, 500, "{reply}");
    assert_eq!(client.say("NOOP").code, 250);
}
