//! Start and end: what is made on a fresh machine, and SIGTERM with a transaction in hand.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{letter, stuffed, vakt};
use crate::relay::Setup;
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

#[test]
fn sigterm_finishes_the_transaction_in_hand_and_refuses_new_ones() {
    let mut relay = Setup::three_rooms().start();
    let mut busy = relay.client("a");
    let mut idle = relay.client("b");
    assert_eq!(busy.envelope(&vakt("a"), &[&vakt("b")], ""), None);
    assert_eq!(busy.say("DATA").code, 354);
    relay.terminate();
    // An idle client is told without having asked.
    let refused = idle.reply();
    assert_eq!(refused.code, 421, "{refused}");
    let message = letter(&vakt("a"), &vakt("b"));
    busy.put(&[&stuffed(&message), &b".\r\n"[..]].concat());
    let reply = busy.reply();
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    assert!([0, 421].contains(&busy.say("MAIL FROM:<vakt@a.nodnett.test>").code));
    assert!(relay.ended().success(), "{}", relay.log());
    relay.start();
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
}

#[test]
fn a_client_that_never_ends_does_not_keep_it_alive() {
    let mut relay = Setup::three_rooms().start();
    let mut stuck = relay.client("a");
    assert_eq!(stuck.envelope(&vakt("a"), &[&vakt("b")], ""), None);
    assert_eq!(stuck.say("DATA").code, 354);
    stuck.put(b"From: vakt@a.nodnett.test\r\n");
    relay.terminate();
    let bound = Duration::from_secs(60);
    assert!(wait::within(bound, || !relay.is_running()), "still running");
    assert!(relay.ended().success());
}

#[test]
fn an_idle_relay_ends_at_once_when_told_to() {
    let mut relay = Setup::three_rooms().start();
    assert!(relay.stop().success());
}

#[test]
fn a_fresh_machine_gets_what_is_missing() {
    let relay = Setup::three_rooms().tls("starttls").prepare();
    std::fs::remove_dir_all(relay.path("certs")).unwrap();
    let mut relay = relay;
    relay.start();
    assert!(relay.path("ilbud.db").is_file());
    assert!(relay.path("certs/relay.pem").is_file());
    assert_eq!(relay.rows(&["route", "history"])[0]["revision"], 1);
    let log = relay.log();
    for made in ["ilbud.db", "certs", "routes.toml"] {
        assert!(log.contains(made), "says nothing of {made}: {log}");
    }
    let sent = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn a_second_relay_on_the_same_store_is_refused() {
    let relay = Setup::three_rooms().start();
    let settings = std::fs::read_to_string(relay.path("ilbud.toml")).unwrap();
    let second = relay.path("second.toml");
    let elsewhere = settings.replace(
        &relay.port.to_string(),
        &crate::relay::free_port().to_string(),
    );
    std::fs::write(&second, elsewhere).unwrap();
    let output = std::process::Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_ilbud"), "serve", "--config"])
        .arg(&second)
        .current_dir(relay.home())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("ilbud.db"), "{complaint}");
    let sent = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "the first goes on: {sent}");
}

#[test]
fn a_port_in_use_is_named() {
    let relay = Setup::three_rooms().start();
    let other = Setup::three_rooms().prepare();
    let settings = std::fs::read_to_string(other.path("ilbud.toml")).unwrap();
    let taken = settings.replace(&other.port.to_string(), &relay.port.to_string());
    std::fs::write(other.path("ilbud.toml"), taken).unwrap();
    let complaint = other.fails(1, &["serve"]);
    assert!(complaint.contains(&relay.port.to_string()), "{complaint}");
}

#[test]
fn a_client_that_hangs_up_in_mid_message_leaves_a_row() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    assert_eq!(client.envelope(&vakt("a"), &[&vakt("b")], ""), None);
    assert_eq!(client.say("DATA").code, 354);
    client.put(b"From: vakt@a.nodnett.test\r\nSubject: halv\r\n\r\nhei");
    drop(client);
    let row = wait::find("the row", || {
        let rows = relay.rows(&["log", "search", "--status", "refused"]);
        rows.into_iter().next()
    });
    assert_eq!(row["recipient"], vakt("b"));
    assert!(row["reply"].as_str().unwrap().starts_with("421 4.4.2"));
    assert!(relay.queue_is_empty());
}

#[test]
fn a_stop_does_not_wait_for_a_hop_that_says_nothing() {
    let gate = Arc::new(Gate::default());
    let shut = Arc::clone(&gate);
    let mute = Sink::scripted(move |stage, _, _| match stage {
        Stage::Connect => Step::WaitFor(Arc::clone(&shut)),
        _ => Step::Agree,
    });
    let mut relay = Setup::from_a_to(&mute.hop()).start();
    relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    wait::until("a connection", || mute.reached(Stage::Connect) == 1);
    assert!(relay.stop().success());
    assert!(
        !relay.log().contains("did not end in time"),
        "{}",
        relay.log()
    );
    gate.open();
}
