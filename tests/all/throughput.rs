//! Thousands of messages by Postfix's own load tools: none lost, none doubled.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::peer;
use crate::relay::{Relay, Setup, free_port};
use crate::sink::Sink;
use crate::wait;

const HERE: &str = "[[room.workstation]]\nnetwork = \"127.0.0.1/32\"\n";
const SESSIONS: usize = 20;

/// Sends by smtp-source: a connection a message, or kept connections.
fn send(relay: &Relay, messages: usize, kept_connections: bool) {
    let (sessions, messages) = (SESSIONS.to_string(), messages.to_string());
    let mut command = peer::command("smtp-source");
    command
        .args(["-s", &sessions, "-m", &messages, "-l", "4096"])
        .args(["-f", "vakt@a.nodnett.test", "-t", "vakt@b.nodnett.test"]);
    if kept_connections {
        command.arg("-d");
    }
    let output = command
        .arg(format!("127.0.0.1:{}", relay.port))
        .output()
        .unwrap();
    peer::succeeded("smtp-source", &output);
}

fn relay_to(hop: &str) -> Relay {
    Setup::no_rooms()
        .room_with("a", "maildir:mail/a", HERE)
        .room("b", hop)
        .start()
}

/// How often each Message-ID arrived.
fn tally<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut tally = BTreeMap::new();
    for id in ids {
        *tally.entry(id).or_insert(0) += 1;
    }
    tally
}

fn message_id(message: &str) -> &str {
    message
        .lines()
        .find_map(|line| line.strip_prefix("Message-Id: "))
        .expect("a Message-Id")
}

fn none_lost_none_doubled(messages: &[String], expected: usize) {
    assert_eq!(messages.len(), expected);
    let tally = tally(messages.iter().map(|message| message_id(message)));
    let doubled: Vec<_> = tally.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(doubled, [], "doubled");
    assert_eq!(tally.len(), expected, "lost");
}

#[test]
fn thousands_from_smtp_source_reach_our_sink_once_each() {
    if !peer::all_here(&["postfix"]) {
        return;
    }
    let sink = Sink::start();
    let relay = relay_to(&sink.hop());
    send(&relay, 1500, false);
    send(&relay, 1500, true);
    sink.wait_for(3000);
    wait::until("an empty queue", || relay.queue_is_empty());
    let messages: Vec<String> = sink.kept().iter().map(|message| message.text()).collect();
    none_lost_none_doubled(&messages, 3000);
    let rows = relay.rows(&["log", "search", "--status", "delivered", "--limit", "10000"]);
    assert_eq!(rows.len(), 3000);
}

/// Postfix's smtp-sink, writing each message to a file.
struct SmtpSink {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl SmtpSink {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = peer::command("smtp-sink");
        if peer::is_root() {
            // It gives its privileges up, and must still be able to write.
            peer::run("chown", &["nobody", folder.path().to_str().unwrap()]);
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg("-d")
            .arg(folder.path().join("message."))
            .args([&format!("127.0.0.1:{port}"), "1000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait::until("smtp-sink", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            folder,
            port,
        }
    }

    fn kept(&self) -> Vec<String> {
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| read(&entry.unwrap().path()))
            .collect()
    }

    fn count(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn thousands_from_smtp_source_reach_smtp_sink_once_each() {
    if !peer::all_here(&["postfix"]) {
        return;
    }
    let sink = SmtpSink::start();
    let relay = relay_to(&format!("smtp://127.0.0.1:{}", sink.port));
    send(&relay, 1000, false);
    send(&relay, 1000, true);
    wait::until("all of them", || sink.count() >= 2000);
    wait::until("an empty queue", || relay.queue_is_empty());
    none_lost_none_doubled(&sink.kept(), 2000);
}
