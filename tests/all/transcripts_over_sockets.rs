//! The same dialogues against the real relay, in the clear and over TLS from the first byte.
//!
//! What a dialogue needs of the inside (a store that fails, memory that is short, a clock) only the
//! pure driver can give; those are left to it. Octets arrive here as the network pleases.

use std::net::TcpStream;

use crate::client::Client;
use crate::relay::{Relay, Setup};
use crate::transcript::{self, Act, Line, ROUTES, References, Transcript};
use crate::wait;

#[test]
fn every_dialogue_goes_as_written_over_a_socket() {
    play_all("off", |_| true);
}

#[test]
fn every_dialogue_goes_as_written_over_tls() {
    // Within TLS there is no STARTTLS to speak of.
    play_all("implicit", |transcript| !speaks_of_starttls(transcript));
}

fn play_all(listener: &str, fits: impl Fn(&Transcript) -> bool) {
    let transcripts = transcript::all();
    let played = transcripts
        .iter()
        .filter(|it| is_for_anybody(it) && fits(it))
        .inspect(|transcript| play(transcript, listener))
        .count();
    assert!(played > 20, "only {played} were played");
}

fn speaks_of_starttls(transcript: &Transcript) -> bool {
    let says = |octets: &[u8]| {
        octets
            .windows(8)
            .any(|it| it.eq_ignore_ascii_case(b"STARTTLS"))
    };
    let is_said = |act: &Act| matches!(act, Act::Send(octets) if says(octets));
    transcript.setting("tls").is_some() || transcript.acts.iter().any(|(_, act)| is_said(act))
}

/// Whether it can be played without a hand inside the relay.
fn is_for_anybody(transcript: &Transcript) -> bool {
    let inside = ["memory", "store", "messages", "login"];
    let needs = |act: &Act| matches!(act, Act::Stop | Act::Timeout | Act::Later(_));
    inside.iter().all(|key| transcript.setting(key).is_none())
        && !transcript.acts.iter().any(|(_, act)| needs(act))
}

fn relay_for(transcript: &Transcript, listener: &str) -> Relay {
    let number = |key: &str, default: &str| transcript.setting(key).unwrap_or(default).to_owned();
    let limits = format!(
        "[limits]\nmessage_size = \"{} B\"\nrecipients = {}\n",
        number("message_size", "100000"),
        number("recipients", "100"),
    );
    let mut relay = Setup::no_rooms()
        .routes(ROUTES)
        .settings(&limits)
        .tls(transcript.setting("tls").unwrap_or(listener))
        .prepare();
    relay.launch();
    wait::until("the listener", || {
        TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
    });
    relay
}

fn play(transcript: &Transcript, listener: &str) {
    let relay = relay_for(transcript, listener);
    let source = transcript.setting("client").unwrap_or("127.0.1.9");
    let mut client = Client::silent(relay.port, source).unwrap();
    let mut in_tls = listener == "implicit";
    if in_tls {
        client.shake_hands(&relay.path("certs"));
    }
    let mut references = References::default();
    for (number, act) in &transcript.acts {
        let place = format!("{} line {number}, listener {listener}", transcript.name);
        match act {
            Act::Send(octets) => client.put(octets),
            Act::Hear(lines) => {
                for Line { pattern, .. } in lines.iter().filter(|it| in_tls || !it.only_in_tls) {
                    let line = client.line().unwrap_or_default();
                    assert!(
                        references.matches(pattern, &line),
                        "{place}:\n  heard {line}\n  not   {pattern}"
                    );
                }
            }
            Act::Tls => {
                client.shake_hands(&relay.path("certs"));
                in_tls = true;
            }
            Act::Bye => assert_eq!(client.line(), None, "{place}"),
            // The log is the pure driver's to compare, row by row.
            Act::Row(_) | Act::Kept { .. } | Act::Stop | Act::Timeout | Act::Later(_) => {}
        }
    }
}
