//! What tests of scanning share: engines in the settings, and what the log and the queue say of a scan.

use serde_json::Value;

use crate::client::{Reply, letter_saying, vakt};
use crate::fake_scanner::FakeScanner;
use crate::relay::{Relay, Setup};
use crate::sink::Sink;
use crate::wait;

/// A `[[scan.engine]]` with a name, which waits so long for its answers.
pub fn engine(scanner: &FakeScanner, name: &str, timeout: &str) -> String {
    format!(
        "{}name = \"{name}\"\ntimeout = \"{timeout}\"\n",
        scanner.engine()
    )
}

/// A relay between rooms `a` and `b`, whose settings for scanning are these.
pub fn relay(sink: &Sink, settings: &str) -> Relay {
    Setup::from_a_to(&sink.hop()).settings(settings).start()
}

/// A message with this text, from `a` to `b`: what its sender hears.
pub fn send(relay: &Relay, message: &[u8]) -> Reply {
    relay.client("a").send(&vakt("a"), &[&vakt("b")], message)
}

pub fn saying(text: &str) -> Vec<u8> {
    letter_saying(&vakt("a"), &vakt("b"), &format!("{text}\r\n"))
}

/// A message with a file attached, as base64.
pub fn attaching(name: &str, file: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(file);
    let lines = encoded.as_bytes().chunks(76);
    let lines: Vec<&str> = lines.map(|it| std::str::from_utf8(it).unwrap()).collect();
    format!(
        "From: {}\r\nTo: {}\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nhei\r\n\
         --b\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        vakt("a"),
        vakt("b"),
        lines.join("\r\n")
    )
    .into_bytes()
}

/// The receipts of a message, the oldest first.
pub fn receipts(relay: &Relay, reference: &str) -> Vec<Value> {
    let mut rows = relay.rows(&["log", "show", reference]);
    rows.retain(|row| row["event"] == "scanned");
    rows
}

/// Where a message stands in the queue, and why. Nothing: it waits no more.
pub fn waiting(relay: &Relay, reference: &str) -> Option<(String, String)> {
    let rows = relay.rows(&["queue", "list"]);
    let row = rows.iter().find(|row| row["ref"] == reference)?;
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Some((text("state"), text("last_reply")))
}

/// What a search says of it.
pub fn status(relay: &Relay, reference: &str) -> String {
    let rows = relay.rows(&["log", "search", reference]);
    rows[0]["status"].as_str().unwrap().to_owned()
}

pub fn wait_for_status(relay: &Relay, reference: &str, expected: &str) {
    wait::until(expected, || status(relay, reference) == expected);
}
