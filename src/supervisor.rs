//! What the service manager is told: that the relay is ready, lives, or stops (sd_notify(3)).
//!
//! One datagram for each word, to the socket that the environment names, be it a file or abstract;
//! without one nobody is told, and nothing else changes. Whether the relay lives is not decided here:
//! each long-lived part has a [`Pulse`] that beats as its loop turns, and [`Pulses`] says whose did
//! not. It never waits and never fails: a word that cannot be said is a warning.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHED: &str = "WATCHDOG_PID";

/// The relay can take and deliver mail.
pub const READY: &str = "READY=1";
pub const ALIVE: &str = "WATCHDOG=1";
pub const STOPPING: &str = "STOPPING=1\nWATCHDOG=1";

/// Whoever started this process and wants to hear of it.
#[derive(Debug)]
pub struct Supervisor {
    line: Option<(UnixDatagram, SocketAddr)>,
    patience: Option<Duration>,
}

impl Supervisor {
    pub fn of_environment() -> Self {
        let line = env::var_os(SOCKET)
            .filter(|it| !it.is_empty())
            .and_then(|name| {
                let line = line_to(&name);
                line.inspect_err(|fault| {
                    tracing::warn!(%fault, socket = %name.display(), "the service manager cannot be told anything");
                })
                .ok()
            });
        let patience = line.as_ref().and_then(|_| patience());
        Self { line, patience }
    }

    /// How long it waits for [`ALIVE`] before it takes the relay for dead; `None`: it does not wait.
    pub const fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// A word (none: an empty one), and how things stand in a sentence.
    pub fn tell(&self, word: &str, status: &str) {
        let Some((socket, to)) = &self.line else {
            return;
        };
        let status = status.replace(char::is_control, " ");
        let message = format!("{word}\nSTATUS={status}");
        if let Err(fault) = socket.send_to_addr(message.trim_start().as_bytes(), to) {
            tracing::warn!(%fault, "the service manager did not take a word");
        }
    }
}

fn line_to(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// What is said of the watchdog may be meant for another process (sd_watchdog_enabled(3)).
fn patience() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_meant =
        env::var_os(WATCHED).is_none() || number(WATCHED) == Some(u64::from(std::process::id()));
    let micros = number(WATCHDOG).filter(|&it| is_meant && it > 0)?;
    Some(Duration::from_micros(micros))
}

/// The sign of life of one part: it beats whenever the part's loop turns.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The parts that have a pulse.
#[derive(Debug, Default)]
pub struct Pulses(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: String,
    pulse: Pulse,
    felt: u64,
}

impl Pulses {
    /// A pulse for one more part.
    pub fn add(&mut self, name: impl Into<String>) -> Pulse {
        let pulse = Pulse::default();
        self.0.push(Part {
            name: name.into(),
            pulse: pulse.clone(),
            felt: 0,
        });
        pulse
    }

    /// The parts that have not beaten since this was last asked.
    pub fn silent(&mut self) -> Vec<&str> {
        let mut silent = Vec::new();
        for part in &mut self.0 {
            let beats = part.pulse.0.load(Ordering::Relaxed);
            if beats == part.felt {
                silent.push(part.name.as_str());
            }
            part.felt = beats;
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_beat_is_named() {
        let mut pulses = Pulses::default();
        let (queue, listener) = (pulses.add("queue"), pulses.add("listener"));
        assert_eq!(pulses.silent(), ["queue", "listener"]);
        queue.beat();
        assert_eq!(pulses.silent(), ["listener"]);
        listener.beat();
        listener.beat();
        queue.beat();
        assert!(pulses.silent().is_empty());
        assert_eq!(pulses.silent(), ["queue", "listener"]);
    }
}
