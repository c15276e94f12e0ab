//! A relay of one's own: the real binary, in a folder of its own, on ports of its own.
//!
//! Rooms are named by letters: room `a` has the id `room-a`, the domain `a.nodnett.test`, the phone
//! number `+47 00 00 00 01` and workstations in 127.0.1.0/24; `b` is 127.0.2.0/24, and so on.

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::wait;

pub const BINARY: &str = env!("CARGO_BIN_EXE_ilbud");

/// A port that nobody listens on, below those that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (0..22_000)
        .map(|_| FIRST.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000)
        .map(|n| 10_000 + u16::try_from(n).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A room's place in the alphabet: its network, and the last digit of its phone number.
pub fn number(room: &str) -> u8 {
    room.as_bytes()[0] - b'a' + 1
}

/// The `[[room]]` entry of a lettered room.
pub fn room(letter: &str, next_hop: &str, extra: &str) -> String {
    let n = number(letter);
    let name = letter.to_uppercase();
    let network = if extra.contains("[[room.workstation]]") {
        String::new()
    } else {
        format!("[[room.workstation]]\nnetwork = \"127.0.{n}.0/24\"\n")
    };
    format!(
        "[[room]]\nid = \"room-{letter}\"\nname = \"Rom {name}\"\nkind = \"amk\"\n\
         phone = \"+47 00 00 00 0{n}\"\ndomains = [\"{letter}.nodnett.test\"]\n\
         next_hops = [\"{next_hop}\"]\n{extra}\n{network}\n"
    )
}

/// What a relay is to be, before it runs.
pub struct Setup {
    routes: String,
    settings: String,
    delivery: String,
    language: String,
    postmaster: String,
    tls: String,
    /// A command that runs the relay as its own: `strace`, `unshare`.
    under: Vec<String>,
    store: Option<PathBuf>,
}

impl Setup {
    /// Three rooms that keep what they get in `mail/` of the relay's folder.
    pub fn three_rooms() -> Self {
        let mut setup = Self::no_rooms();
        for letter in ["a", "b", "c"] {
            setup = setup.room(letter, &format!("maildir:mail/{letter}"));
        }
        setup
    }

    pub fn no_rooms() -> Self {
        Self {
            routes: String::new(),
            settings: String::new(),
            delivery: "retry = [\"1s\", \"1s\", \"2s\"]".to_owned(),
            language: "en".to_owned(),
            postmaster: String::new(),
            tls: "off".to_owned(),
            under: Vec::new(),
            store: None,
        }
    }

    /// Rooms `a` and `b`; `a` keeps its mail in a Maildir, `b` is at `next_hop`.
    pub fn from_a_to(next_hop: &str) -> Self {
        Self::no_rooms()
            .room("a", "maildir:mail/a")
            .room("b", next_hop)
    }

    pub fn room(self, letter: &str, next_hop: &str) -> Self {
        self.room_with(letter, next_hop, "")
    }

    pub fn room_with(mut self, letter: &str, next_hop: &str, extra: &str) -> Self {
        self.routes.push_str(&room(letter, next_hop, extra));
        self
    }

    pub fn routes(mut self, more: &str) -> Self {
        self.routes.push_str(more);
        self
    }

    pub fn settings(mut self, more: &str) -> Self {
        writeln!(self.settings, "{more}").unwrap();
        self
    }

    pub fn delivery(mut self, lines: &str) -> Self {
        self.delivery = lines.to_owned();
        self
    }

    pub fn language(mut self, language: &str) -> Self {
        self.language = language.to_owned();
        self
    }

    pub fn postmaster(mut self, address: &str) -> Self {
        self.postmaster = format!("postmaster = \"{address}\"\n");
        self
    }

    pub fn tls(mut self, mode: &str) -> Self {
        self.tls = mode.to_owned();
        self
    }

    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub fn store_in(mut self, folder: &Path) -> Self {
        self.store = Some(folder.to_owned());
        self
    }

    /// Writes settings and routing table, and applies the latter unless the store is elsewhere.
    pub fn prepare(self) -> Relay {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let console = free_port();
        let store = self.store.as_deref().unwrap_or(home.path());
        let tls = if self.tls == "off" {
            ""
        } else {
            "[tls]\ncertificate = \"certs/relay.pem\"\nprivate_key = \"certs/relay.key\"\n\
             client_ca = \"certs/ca.pem\"\n"
        };
        let settings = format!(
            "hostname = \"relay.nodnett.test\"\nlanguage = \"{}\"\n{}\
             [store]\nurl = \"sqlite:{}/ilbud.db\"\n\
             [[listener]]\nname = \"workstations\"\naddress = \"127.0.0.1:{port}\"\ntls = \"{}\"\n\
             [delivery]\n{}\n[console]\naddress = \"127.0.0.1:{console}\"\n{tls}{}",
            self.language,
            self.postmaster,
            store.display(),
            self.tls,
            self.delivery,
            self.settings,
        );
        fs::write(home.path().join("ilbud.toml"), settings).unwrap();
        let routes = home.path().join("routes.toml");
        fs::write(&routes, self.routes).unwrap();
        // There may be passwords in it.
        fs::set_permissions(&routes, fs::Permissions::from_mode(0o600)).unwrap();
        let relay = Relay {
            home,
            port,
            under: self.under,
            program: None,
        };
        if self.tls != "off" {
            relay.done(&["certs", "dev"]);
        }
        relay
    }

    pub fn start(self) -> Relay {
        let mut relay = self.prepare();
        relay.start();
        relay
    }
}

/// A relay, running or not.
pub struct Relay {
    home: tempfile::TempDir,
    pub port: u16,
    under: Vec<String>,
    program: Option<Child>,
}

impl Relay {
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("ilbud.toml"))
            .current_dir(self.home())
            // Root would be known by it.
            .env_remove("SUDO_USER")
            .stdin(Stdio::null());
        command
    }

    fn serve(&self) -> Command {
        let Some((program, arguments)) = self.under.split_first() else {
            return self.command(&["serve"]);
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args([BINARY, "serve", "--config"])
            .arg(self.path("ilbud.toml"))
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// Starts it without waiting for anything.
    pub fn launch(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("serve.log"))
            .unwrap();
        let child = self
            .serve()
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.program = Some(child);
    }

    /// Starts it, and waits until it greets.
    pub fn start(&mut self) {
        self.launch();
        wait::until("the relay's greeting", || {
            let ended = self.program.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "serve ended: {ended:?}\n{}", self.log());
            self.greets()
        });
    }

    fn greets(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let mut line = String::new();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("220 ")
    }

    /// What it has said of itself so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("serve.log")).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.program.as_ref().unwrap().id()
    }

    pub fn is_running(&mut self) -> bool {
        self.program
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.program.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.terminate();
        self.ended()
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let status = wait::find("the relay's end", || {
            self.program.as_mut().unwrap().try_wait().unwrap()
        });
        self.program = None;
        status
    }

    /// Runs a command against this relay's store.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command of Ilbud's under one of others: `env`, `setpriv`.
    pub fn run_under(&self, under: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new(under[0]);
        command
            .args(&under[1..])
            .arg(BINARY)
            .args(arguments)
            .arg("--config")
            .arg(self.path("ilbud.toml"))
            .current_dir(self.home())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs a command that reads this from stdin.
    pub fn told(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A command that has seen enough hears no more.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed; gives what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must end with `status`; gives what it complained of.
    pub fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {complaint}"
        );
        complaint
    }

    /// A listing, row by row.
    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let listing = self.done(&[arguments, &["--json"]].concat());
        listing
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Makes development certificates in a folder, which is given.
    pub fn make_certificates(&self, folder: &str) -> PathBuf {
        self.done(&["certs", "dev", "--folder", folder]);
        self.path(folder)
    }

    /// Writes a routing table and applies it.
    pub fn apply(&self, routes: &str) {
        let file = self.path("applied.toml");
        fs::write(&file, routes).unwrap();
        self.done(&["route", "apply", file.to_str().unwrap()]);
    }

    /// What happened to a message or refusal so far. That a scan found nothing is in every story, and
    /// left out here.
    pub fn story(&self, reference: &str) -> Vec<Value> {
        let mut rows = self.rows(&["log", "show", reference]);
        rows.retain(|row| row["event"] != "scanned" || row["verdict"] != "clean");
        rows
    }

    /// Its events alone, in order.
    pub fn events(&self, reference: &str) -> Vec<String> {
        column(&self.story(reference), "event")
    }

    /// Waits for the last of `expected`, then compares the whole story.
    pub fn expect_events(&self, reference: &str, expected: &[&str]) {
        let last = expected.last().unwrap();
        let told = wait::find_within(Duration::from_secs(60), || {
            let events = self.events(reference);
            (events.len() >= expected.len() && events.last().is_some_and(|it| it == last))
                .then_some(())
        });
        let events = self.events(reference);
        assert!(
            told.is_some() || events == expected,
            "{reference}: {events:?}, not {expected:?}"
        );
        assert_eq!(events, expected, "{reference}");
    }

    /// The one refusal that a search finds once it is there: `status sender recipient reply`.
    pub fn refusal(&self, reference: &str) -> Value {
        wait::find("the refusal's row", || {
            self.rows(&["log", "search", reference])
                .into_iter()
                .find(|row| row["status"] == "refused")
        })
    }

    pub fn queue_is_empty(&self) -> bool {
        self.rows(&["queue", "list"]).is_empty()
    }

    /// A connection from a workstation of a lettered room, greeted.
    pub fn client(&self, letter: &str) -> Client {
        Client::greeted(self.port, &source(letter))
    }

    /// The messages in a room's Maildir, in no particular order.
    pub fn maildir(&self, letter: &str, local: &str) -> Vec<Vec<u8>> {
        let folder = self.path("mail").join(letter).join(local).join("new");
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("the relay's last words, newest first:\n{}", tail.join("\n"));
        }
        self.kill();
    }
}

/// Where a lettered room's workstations are.
pub fn source(letter: &str) -> String {
    format!("127.0.{}.9", number(letter))
}

/// One field of each row, as text.
pub fn column(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter()
        .map(|row| match &row[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}
