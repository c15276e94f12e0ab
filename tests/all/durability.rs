//! A 250 is a promise, seen from outside: the store is on disk before it is said.

use std::fs;

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

/// What matters in a trace of the relay's system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The end of a message came in.
    Dot,
    /// A sync of the store's files was finished.
    Synced,
    /// A client was told that its message is kept.
    Promised,
}

const CALLS: &str = "trace=fsync,fdatasync,recvfrom,read,sendto,write,writev,sendmsg";

fn traced() -> Relay {
    let trace = tempfile::Builder::new()
        .suffix(".strace")
        .tempfile()
        .unwrap();
    let (_, file) = trace.keep().unwrap();
    let file = file.to_str().unwrap();
    let under = [
        "strace", "-D", "-f", "-y", "-s", "4096", "-e", CALLS, "-o", file,
    ];
    let relay = Setup::three_rooms().under(&under).start();
    fs::rename(file, relay.path("trace")).unwrap();
    relay
}

fn seen(relay: &Relay) -> Vec<Seen> {
    let trace = fs::read(relay.path("trace")).unwrap();
    let trace = String::from_utf8_lossy(&trace);
    let mut syncing: Vec<&str> = Vec::new();
    trace
        .lines()
        .filter_map(|line| classify(line, &mut syncing))
        .collect()
}

/// `syncing`: threads whose sync of the store has begun.
fn classify<'a>(line: &'a str, syncing: &mut Vec<&'a str>) -> Option<Seen> {
    let (thread, call) = line.split_once(' ')?;
    let call = call.trim_start();
    if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
        if !call.contains("ilbud.db") {
            return None;
        }
        if call.contains("<unfinished") {
            syncing.push(thread);
            return None;
        }
        return call.ends_with("= 0").then_some(Seen::Synced);
    }
    if call.contains("sync resumed") {
        let begun = syncing.iter().position(|it| *it == thread)?;
        syncing.remove(begun);
        return call.ends_with("= 0").then_some(Seen::Synced);
    }
    let data = call.split_once('"')?.1;
    if data.contains("\\r\\n.\\r\\n\"") || data.starts_with(".\\r\\n\"") {
        return Some(Seen::Dot);
    }
    let promised = data.starts_with("250 2.0.0") && !call.starts_with("re");
    promised.then_some(Seen::Promised)
}

/// All that happened, once the relay has ended and the trace is whole.
fn story(mut relay: Relay, promised: usize) -> Vec<Seen> {
    assert!(relay.stop().success());
    wait::find("the whole trace", || {
        let story = seen(&relay);
        let count = story.iter().filter(|it| **it == Seen::Promised).count();
        (count >= promised).then_some(story)
    })
}

#[test]
fn with_one_client_each_promise_follows_a_sync_of_its_own() {
    if !peer::all_here(&["strace"]) {
        return;
    }
    let relay = traced();
    let mut client = relay.client("a");
    for n in 1..=10 {
        let reply = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
        wait::until("rest", || {
            column(
                &relay.rows(&["log", "search", "--status", "delivered"]),
                "ref",
            )
            .len()
                == n
        });
    }
    client.say("QUIT");
    let story = story(relay, 10);
    let dots: Vec<usize> = (0..story.len())
        .filter(|&at| story[at] == Seen::Dot)
        .collect();
    assert_eq!(dots.len(), 10, "{story:?}");
    for dot in dots {
        let rest = &story[dot..];
        let promise = rest.iter().position(|it| *it == Seen::Promised).unwrap();
        assert!(
            rest[..promise].contains(&Seen::Synced),
            "a 250 before the disk: {story:?}"
        );
    }
}

#[test]
fn with_many_clients_one_sync_carries_many_promises() {
    const CLIENTS: usize = 40;
    const EACH: usize = 5;
    if !peer::all_here(&["strace"]) {
        return;
    }
    let relay = traced();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = relay.client("a");
                for _ in 0..EACH {
                    let message = letter(&vakt("a"), &vakt("b"));
                    let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
                    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
                }
            });
        }
    });
    let story = story(relay, CLIENTS * EACH);
    let most = story
        .split(|it| *it == Seen::Synced)
        .map(|between| between.iter().filter(|it| **it == Seen::Promised).count())
        .max();
    assert!(most >= Some(5), "at most {most:?} promises after one sync");
    let synced_first = story.iter().position(|it| *it == Seen::Synced);
    let promised_first = story.iter().position(|it| *it == Seen::Promised);
    assert!(synced_first < promised_first);
}
