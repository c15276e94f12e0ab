//! Rooms that are dead, in every way a hop can be, and the others, which feel nothing.

use std::sync::Arc;

use crate::client::{letter_saying, vakt};
use crate::relay::{Relay, Setup, free_port};
use crate::sink::{Gate, Sink, Stage, Step};
use crate::wait;

const MESSAGES: usize = 5;

/// A hop that takes connections and never says a word.
fn mute(gate: &Arc<Gate>) -> Sink {
    let gate = Arc::clone(gate);
    Sink::scripted(move |stage, _, _| match stage {
        Stage::Connect => Step::WaitFor(Arc::clone(&gate)),
        _ => Step::Agree,
    })
}

fn relay_with(refusing: &[char], mute: &[(char, Sink)], live: &[(char, Sink)]) -> Relay {
    let mut setup = Setup::no_rooms().room("a", "maildir:mail/a");
    for room in refusing {
        let away = format!("smtp://127.0.0.1:{}", free_port());
        setup = setup.room(&room.to_string(), &away);
    }
    for (room, sink) in mute.iter().chain(live) {
        setup = setup.room(&room.to_string(), &sink.hop());
    }
    // Large messages for all the dead ones would take more than this.
    setup
        .delivery("retry = [\"1h\"]")
        .settings("[limits]\nmemory = \"8MB\"\nmessage_size = \"2MB\"")
        // Whoever waits at a mute hop does so to the end of the test, however slow the machine is.
        .settings("[delivery.timeouts]\ngreeting = \"10m\"")
        .start()
}

#[test]
fn the_living_feel_nothing() {
    let gate = Arc::new(Gate::default());
    let refusing: Vec<char> = ('b'..='g').collect();
    let silent: Vec<(char, Sink)> = ('h'..='m').map(|room| (room, mute(&gate))).collect();
    let live: Vec<(char, Sink)> = ('n'..='s').map(|room| (room, Sink::start())).collect();
    let relay = relay_with(&refusing, &silent, &live);
    let mut client = relay.client("a");
    let body = format!("{}\r\n", "x".repeat(76)).repeat(10_000);
    for _ in 0..MESSAGES {
        for room in 'b'..='s' {
            let to = vakt(&room.to_string());
            let message = letter_saying(&vakt("a"), &to, &body);
            let reply = client.send(&vakt("a"), &[&to], &message);
            assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        }
    }
    for (_, sink) in &live {
        sink.wait_for(MESSAGES);
    }
    for (room, sink) in &silent {
        assert_eq!(sink.count(), 0);
        assert!(sink.open_connections() <= 1, "one goes alone to {room}");
    }
    let deferred = || relay.rows(&["queue", "list", "--state", "deferred"]).len();
    wait::until("deferrals", || deferred() == refusing.len() * MESSAGES);
    gate.open();
    for (_, sink) in &silent {
        sink.wait_for(MESSAGES);
    }
}
