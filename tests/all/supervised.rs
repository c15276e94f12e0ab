//! What a service manager hears (sd_notify(3)): ready when mail can come, alive only while it is so,
//! and that it stops.

use std::fs::File;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::client::{letter, next_id, vakt};
use crate::peer;
use crate::relay::{Relay, Setup};
use crate::wait;

/// Takes the part of the service manager.
struct Manager {
    socket: String,
    heard: Arc<Mutex<Vec<String>>>,
    _home: tempfile::TempDir,
}

impl Manager {
    fn at_file() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("notify");
        let socket = UnixDatagram::bind(&file).unwrap();
        Self::hearing(socket, file.to_str().unwrap().to_owned(), home)
    }

    fn at_abstract_name() -> Self {
        let name = format!("ilbud-test-{}-{}", std::process::id(), next_id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::hearing(socket, format!("@{name}"), tempfile::tempdir().unwrap())
    }

    fn hearing(socket: UnixDatagram, name: String, home: tempfile::TempDir) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram) {
                let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
                keep.lock().unwrap().push(text);
            }
        });
        Self {
            socket: name,
            heard,
            _home: home,
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How often a message with this line was heard.
    fn count(&self, line: &str) -> usize {
        let heard = self.heard();
        let with = |it: &&String| it.lines().any(|said| said == line);
        heard.iter().filter(with).count()
    }

    /// A relay that it started, and that it wants to hear of within three seconds, or not at all.
    fn setup(&self, watchdog: &[&str]) -> Setup {
        let socket = format!("NOTIFY_SOCKET={}", self.socket);
        let under = [&["env", socket.as_str()], watchdog].concat();
        Setup::three_rooms().under(&under)
    }
}

const THREE_SECONDS: &[&str] = &["WATCHDOG_USEC=3000000"];

fn send(relay: &Relay) -> String {
    let message = letter(&vakt("a"), &vakt("b"));
    relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &message)
        .said()
}

#[test]
fn it_is_ready_when_mail_can_come_and_says_that_it_stops() {
    for manager in [Manager::at_file(), Manager::at_abstract_name()] {
        let mut relay = manager.setup(THREE_SECONDS).prepare();
        relay.launch();
        wait::until("READY", || manager.count("READY=1") == 1);
        assert_eq!(send(&relay), "250 2.0.0");
        wait::until("two signs of life", || manager.count("WATCHDOG=1") >= 2);
        assert_eq!(manager.count("STOPPING=1"), 0);
        let status = format!(
            "STATUS=carrying mail between 3 rooms (routing table 1), on 127.0.0.1:{} (workstations)",
            relay.port
        );
        assert_eq!(manager.heard()[0], format!("READY=1\n{status}"));
        assert!(relay.stop().success());
        wait::until("STOPPING", || manager.count("STOPPING=1") == 1);
        assert_eq!(manager.count("READY=1"), 1);
    }
}

#[test]
fn a_relay_that_cannot_start_is_never_ready() {
    let other = Setup::three_rooms().start();
    let manager = Manager::at_file();
    let mut relay = manager.setup(THREE_SECONDS).prepare();
    let settings = std::fs::read_to_string(relay.path("ilbud.toml")).unwrap();
    let taken = settings.replace(&relay.port.to_string(), &other.port.to_string());
    std::fs::write(relay.path("ilbud.toml"), taken).unwrap();
    relay.launch();
    assert!(!relay.ended().success());
    assert!(manager.heard().is_empty(), "{:?}", manager.heard());
}

#[test]
fn nobody_is_told_that_it_lives_who_does_not_ask() {
    for watchdog in [&[][..], &["WATCHDOG_USEC=3000000", "WATCHDOG_PID=1"]] {
        let manager = Manager::at_file();
        let mut relay = manager.setup(watchdog).start();
        assert!(relay.stop().success());
        wait::until("STOPPING", || manager.count("STOPPING=1") == 1);
        let told: Vec<_> = manager.heard().into_iter().collect();
        assert_eq!(told.len(), 2, "{told:?}");
    }
    let manager = Manager::at_file();
    let nowhere = "NOTIFY_SOCKET=/nonexistent/notify";
    let mut relay = manager.setup(&[nowhere]).start();
    assert_eq!(
        send(&relay),
        "250 2.0.0",
        "nobody listens, and it works all the same"
    );
    assert!(relay.stop().success());
}

/// Holds up every sync of the relay's for as long as it lives, as a dead disk would.
struct DeadDisk(Child);

impl DeadDisk {
    fn under(relay: &Relay) -> Self {
        let words = relay.path("strace.log");
        let child = Command::new("strace")
            .args(["-f", "-p", &relay.id().to_string(), "-o", "/dev/null"])
            .args(["-e", "trace=fsync,fdatasync"])
            .args(["-e", "inject=fsync,fdatasync:delay_enter=120000000"])
            .stdin(Stdio::null())
            .stderr(File::create(&words).unwrap())
            .spawn()
            .unwrap();
        let disk = Self(child);
        wait::until("strace", || {
            std::fs::read_to_string(&words)
                .unwrap()
                .contains("attached")
        });
        disk
    }

    fn revive(mut self) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap();
    }
}

impl Drop for DeadDisk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_store_that_does_not_answer_is_a_relay_that_does_not_live() {
    if !peer::all_here(&["strace", "root"]) {
        return;
    }
    let manager = Manager::at_file();
    let relay = Arc::new(manager.setup(THREE_SECONDS).start());
    wait::until("a sign of life", || manager.count("WATCHDOG=1") >= 1);
    let disk = DeadDisk::under(&relay);
    let sender = {
        let relay = Arc::clone(&relay);
        thread::spawn(move || send(&relay))
    };
    let trouble = "STATUS=in trouble: the store does not answer";
    wait::until("trouble, twice", || manager.count(trouble) >= 2);
    let heard = manager.heard();
    let since = heard.iter().position(|it| it == trouble).unwrap();
    let alive = |it: &&String| it.contains("WATCHDOG=1");
    assert_eq!(heard[since..].iter().find(alive), None);
    assert!(relay.log().contains("the store does not answer"));

    disk.revive();
    assert_eq!(sender.join().unwrap(), "250 2.0.0");
    let before = heard.iter().filter(alive).count();
    wait::until("life again", || manager.count("WATCHDOG=1") > before);
}
