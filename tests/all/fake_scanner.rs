//! A clamd that misbehaves by a list: for each stream that it is sent, a fault. Where the list says
//! nothing, it finds EICAR and what it was told to find, and says that anything else is clean. It keeps
//! what it was given, byte for byte. The relay's own self-tests get the right answer, whatever the list
//! says, and are counted apart.
//!
//! A message is a stream, and each of its attachments another; it is one command a connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What is found where nobody said anything else. In two halves, or this file would be found itself.
pub const EICAR: &str = concat!(
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR",
    "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
);
pub const EICAR_NAME: &str = "Eicar-Signature";

/// What it does with one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The right answer, after all.
    Right,
    /// Finds this, whatever it is given.
    Found(&'static str),
    /// This as the whole answer; the terminator is added.
    Say(&'static str),
    /// These bytes as the whole answer, as they are.
    Raw(&'static [u8]),
    /// Hangs up as soon as it is connected to.
    HangUp,
    /// Reads some of the stream, and hangs up.
    DieMidStream,
    /// Reads all of it, and hangs up without an answer.
    Silent,
    /// Half of the right answer, then hangs up.
    Half,
    /// Reads nothing and says nothing until [`FakeScanner::go_on`], and then does what is right.
    Deaf,
    /// Reads all, and answers after [`FakeScanner::go_on`]: as while it loads new signatures.
    Stall,
    /// The right answer twice.
    Twice,
    /// That it is clean, before it has read more than the command; then it reads the rest. Of a small
    /// message nobody can see for certain that this came too early: on a busy machine it may come late.
    Early,
    /// The same, and it reads no more until the other side hangs up.
    EarlyAndDeaf,
    /// The same, and it hangs up with the rest unread.
    EarlyAndGone,
    /// That it is too large, after the first octets; then it hangs up with the rest unread.
    TooLarge,
    /// Reads a little at a time, and then does what is right.
    Slow,
    /// An answer that never ends.
    Endless,
    /// The right answer, and it does not hang up.
    Stay,
}

impl Fault {
    /// Whether what it says in the end is right, and all that it says.
    const fn is_honest(&self) -> bool {
        matches!(
            self,
            Self::Right | Self::Deaf | Self::Stall | Self::Slow | Self::Stay
        )
    }
}

const CLEAN: &str = "stream: OK";

/// A connection at which nobody stays longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between looks at whether to go on.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Record {
    script: VecDeque<Fault>,
    /// After the script.
    always: Option<Fault>,
    /// It hangs up without an answer when it has read this.
    killer: Option<String>,
    kills: usize,
    /// It answers to no stream that has one of these in it.
    held: Vec<String>,
    /// Found in whatever contains it.
    finds: Vec<(Vec<u8>, String)>,
    version: String,
    /// Streams that were begun.
    scans: usize,
    /// Those that were read to their end.
    given: Vec<Vec<u8>>,
    /// Those that it was right to say were clean, and that it did say so of.
    passed: Vec<Vec<u8>>,
    versions: usize,
    /// Self-tests that were begun, and those of which the attachment is still to come.
    self_tests: usize,
    self_tests_open: usize,
    /// It says clean of what it has not looked into.
    is_blind: bool,
    connections: usize,
    /// Who hung up before they were answered.
    given_up: usize,
    /// How often [`FakeScanner::go_on`] was called.
    gone_on: usize,
    /// It listens no more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
}

/// Where it listens.
#[derive(Debug, Clone)]
enum Place {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

#[derive(Debug)]
pub struct FakeScanner {
    place: Place,
    shared: Arc<Shared>,
    listener: Option<thread::JoinHandle<()>>,
}

impl FakeScanner {
    /// At a port of its own.
    pub fn start() -> Self {
        Self::at(Place::Tcp(([127, 0, 0, 1], 0).into()))
    }

    /// At a socket, which it makes.
    pub fn at_socket(path: &Path) -> Self {
        Self::at(Place::Socket(path.to_owned()))
    }

    fn at(place: Place) -> Self {
        let shared = Arc::new(Shared::default());
        shared.record.lock().unwrap().finds = vec![(EICAR.into(), EICAR_NAME.into())];
        shared.record.lock().unwrap().version =
            "ClamAV 1.4.3/27600/Mon Nov 23 08:00:00 2026".into();
        let mut scanner = Self {
            place,
            shared,
            listener: None,
        };
        scanner.listen();
        scanner
    }

    /// As it stands in the settings.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Socket(path) => path.display().to_string(),
        }
    }

    /// A `[[scan.engine]]` for the settings.
    pub fn engine(&self) -> String {
        let address = self.address();
        format!("[[scan.engine]]\nkind = \"clamd\"\naddress = \"{address}\"\n")
    }

    /// What it does with the next streams, one each; added to what is left of the list.
    pub fn script(&self, faults: &[Fault]) {
        self.record(|it| it.script.extend(faults.iter().cloned()));
    }

    /// What it does with every stream after the list; `None`: what is right.
    pub fn always(&self, fault: impl Into<Option<Fault>>) {
        let fault = fault.into();
        self.record(|it| it.always = fault);
    }

    /// Finds `name` in whatever contains `pattern`.
    pub fn find(&self, pattern: &str, name: &str) {
        self.record(|it| it.finds.push((pattern.into(), name.into())));
    }

    /// What contains this kills it, each time; nothing: nothing does.
    pub fn kill_by(&self, pattern: &str) {
        let killer = (!pattern.is_empty()).then(|| pattern.to_owned());
        self.record(|it| it.killer = killer);
    }

    /// Reads what contains this, and answers after [`FakeScanner::let_go`].
    pub fn hold(&self, pattern: &str) {
        self.record(|it| it.held.push(pattern.to_owned()));
    }

    pub fn let_go(&self, pattern: &str) {
        self.record(|it| it.held.retain(|held| held != pattern));
        self.shared.changed.notify_all();
    }

    /// How often it was killed.
    pub fn kills(&self) -> usize {
        self.record(|it| it.kills)
    }

    /// Finds nothing any more, EICAR neither.
    pub fn find_nothing(&self) {
        self.record(|it| it.finds.clear());
    }

    /// What it answers to VERSION; nothing: it hangs up instead.
    pub fn version(&self, version: &str) {
        self.record(|it| it.version = version.into());
    }

    /// Streams that were begun, whatever became of them.
    pub fn scans(&self) -> usize {
        self.record(|it| it.scans)
    }

    /// The streams that it has read to their end.
    pub fn given(&self) -> Vec<Vec<u8>> {
        self.record(|it| it.given.clone())
    }

    /// The streams of which it has said, once and after their end, that they are clean.
    pub fn passed(&self) -> Vec<Vec<u8>> {
        self.record(|it| it.passed.clone())
    }

    /// How often it was asked who it is.
    pub fn versions(&self) -> usize {
        self.record(|it| it.versions)
    }

    /// Says clean of what is nested deeper than it looks, or that it has not looked.
    pub fn be_blind(&self, is_blind: bool) {
        self.record(|it| it.is_blind = is_blind);
    }

    /// How often it was tested with EICAR.
    pub fn self_tests(&self) -> usize {
        self.record(|it| it.self_tests)
    }

    pub fn connections(&self) -> usize {
        self.record(|it| it.connections)
    }

    /// How many hung up while it stalled, before they were answered.
    pub fn given_up(&self) -> usize {
        self.record(|it| it.given_up)
    }

    /// Ends what stalls now: [`Fault::Deaf`], [`Fault::Stall`].
    pub fn go_on(&self) {
        self.record(|it| it.gone_on += 1);
        self.shared.changed.notify_all();
    }

    /// Connections are refused from now on.
    pub fn refuse(&mut self) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        self.record(|it| it.closed = true);
        let is_woken = match &self.place {
            Place::Tcp(address) => TcpStream::connect(address).is_ok(),
            Place::Socket(path) => UnixStream::connect(path).is_ok(),
        };
        // Nobody can reach it where its folder is gone.
        if is_woken {
            listener.join().unwrap();
        }
        if let Place::Socket(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }

    /// And taken again, at the same address.
    pub fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        self.record(|it| it.closed = false);
        let shared = Arc::clone(&self.shared);
        self.listener = Some(match &mut self.place {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(*address).unwrap();
                // Small, so that a large message does not fit into it unread.
                let socket = socket2::SockRef::from(&listener);
                socket.set_recv_buffer_size(64 * 1024).unwrap();
                *address = listener.local_addr().unwrap();
                thread::spawn(move || {
                    serve(&shared, || listener.accept().map(|(stream, _)| stream));
                })
            }
            Place::Socket(path) => {
                let listener = UnixListener::bind(path).unwrap();
                thread::spawn(move || {
                    serve(&shared, || listener.accept().map(|(stream, _)| stream));
                })
            }
        });
    }

    fn record<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.shared.record.lock().unwrap())
    }
}

impl Drop for FakeScanner {
    fn drop(&mut self) {
        self.refuse();
    }
}

trait Connection: Read + Write + AsFd + Send + Sized + 'static {
    fn set_patience(&self, patience: Duration);

    /// What has come and was not read; nothing where that cannot be seen.
    fn ahead(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether the other side has hung up. What it sent before must have been read.
    fn is_alone(&self) -> bool {
        let peeked = socket2::SockRef::from(self).peek(&mut [MaybeUninit::uninit()]);
        match peeked {
            Ok(octets) => octets == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

impl Connection for TcpStream {
    fn ahead(&self) -> Vec<u8> {
        let mut ahead = vec![0; 256];
        let octets = self.peek(&mut ahead).unwrap_or(0);
        ahead.truncate(octets);
        ahead
    }

    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
        let _ = self.set_nodelay(true);
    }
}

impl Connection for UnixStream {
    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }
}

fn serve<C: Connection>(shared: &Arc<Shared>, accept: impl Fn() -> io::Result<C>) {
    while let Ok(stream) = accept() {
        if shared.record.lock().unwrap().closed {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            stream.set_patience(PATIENCE);
            // However it ends, it is over.
            let _ = Visit { stream, shared }.receive();
        });
    }
}

struct Visit<C> {
    stream: C,
    shared: Arc<Shared>,
}

impl<C: Connection> Visit<C> {
    fn receive(mut self) -> io::Result<()> {
        self.record(|it| it.connections += 1);
        let hangs_up = |it: &mut Record| {
            let hangs_up = it.script.front().or(it.always.as_ref()) == Some(&Fault::HangUp);
            if hangs_up {
                it.script.pop_front();
                it.scans += 1;
            }
            hangs_up
        };
        if self.record(hangs_up) {
            return Ok(());
        }
        let command = self.command()?;
        match command.get(1..) {
            Some(b"INSTREAM") => self.scan(),
            Some(b"VERSION") => {
                let version = self.record(|it| {
                    it.versions += 1;
                    it.version.clone()
                });
                match version.is_empty() {
                    true => Ok(()),
                    false => self.say(&version),
                }
            }
            Some(b"PING") => self.say("PONG"),
            _ => self.say("UNKNOWN COMMAND"),
        }
    }

    fn record<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.shared.record.lock().unwrap())
    }

    /// `zCOMMAND\0` or `nCOMMAND\n`.
    fn command(&mut self) -> io::Result<Vec<u8>> {
        let mut command = Vec::new();
        loop {
            let mut octet = [0];
            self.stream.read_exact(&mut octet)?;
            match octet {
                [0 | b'\n'] => return Ok(command),
                [octet] => command.push(octet),
            }
        }
    }

    /// The other self-test, with EICAR in more archives than it looks into; so is what is attached to it.
    fn is_deep_test(&self) -> bool {
        let ahead = self.stream.ahead();
        let has = |mark: &[u8]| ahead.windows(mark.len()).any(|it| it == mark);
        let is_file = ahead
            .get(4..)
            .is_some_and(|it| it.starts_with(b"PK\x03\x04"));
        has(b"eicar.zip") && (is_file || has(b"Self-test of the scan"))
    }

    /// The relay's self-test: a message, and then what is attached to it.
    fn is_self_test(&self) -> bool {
        let ahead = self.stream.ahead();
        let content = ahead.get(4..).unwrap_or_default();
        let is_message = content.starts_with(b"Subject: Self-test of the scan");
        let is_file = content.starts_with(EICAR.as_bytes());
        self.record(|it| {
            it.self_tests += usize::from(is_message);
            it.self_tests_open += usize::from(is_message);
            let is_file = is_file && it.self_tests_open > 0;
            it.self_tests_open -= usize::from(is_file);
            is_message || is_file
        })
    }

    fn scan(mut self) -> io::Result<()> {
        if self.is_deep_test() {
            self.content(64 * 1024)?;
            return match self.record(|it| it.is_blind) {
                true => self.say(CLEAN),
                false => self.say("stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND"),
            };
        }
        if self.is_self_test() {
            let content = self.content(64 * 1024)?;
            let right = self.right_answer(&content);
            return self.say(&right);
        }
        let fault = self.record(|it| {
            it.scans += 1;
            let next = it.script.pop_front().or_else(|| it.always.clone());
            next.unwrap_or(Fault::Right)
        });
        match fault {
            Fault::Deaf => self.wait()?,
            Fault::Early => self.say("stream: OK")?,
            Fault::EarlyAndDeaf => {
                self.say("stream: OK")?;
                return self.wait();
            }
            Fault::EarlyAndGone => return self.say("stream: OK"),
            Fault::DieMidStream => return self.stream.read_exact(&mut [0; 8]),
            Fault::TooLarge => {
                self.stream.read_exact(&mut [0; 8])?;
                return self.say("INSTREAM size limit exceeded. ERROR");
            }
            _ => {}
        }
        let content = self.content(match fault {
            Fault::Slow => 512,
            _ => 64 * 1024,
        })?;
        let is_killed = self.record(|it| {
            let killer = it.killer.as_deref().map(str::as_bytes);
            let is_killed = killer.is_some_and(|killer| has(&content, killer));
            it.kills += usize::from(is_killed);
            is_killed
        });
        if is_killed {
            return Ok(());
        }
        let right = self.right_answer(&content);
        let passed = (right == CLEAN && fault.is_honest()).then(|| content.clone());
        self.record(|it| it.given.push(content.clone()));
        self.wait_while(|it| it.held.iter().any(|held| has(&content, held.as_bytes())))?;
        if let Some(passed) = passed {
            self.record(|it| it.passed.push(passed));
        }
        self.answer(fault, &right)
    }

    /// What it says to a stream that it has read.
    fn answer(mut self, fault: Fault, right: &str) -> io::Result<()> {
        match fault {
            Fault::Right | Fault::Slow | Fault::Deaf => self.say(right),
            Fault::Found(name) => self.say(&format!("stream: {name} FOUND")),
            Fault::Say(text) => self.say(text),
            Fault::Raw(bytes) => self.stream.write_all(bytes),
            Fault::Half => self.stream.write_all(&right.as_bytes()[..right.len() / 2]),
            Fault::Stall => {
                self.wait()?;
                self.say(right)
            }
            Fault::Twice => {
                self.say(right)?;
                self.say(right)
            }
            Fault::Endless => loop {
                self.stream.write_all(&[b'x'; 1024])?;
            },
            Fault::Stay => {
                self.say(right)?;
                self.stream.read_to_end(&mut Vec::new()).map(drop)
            }
            Fault::Silent
            | Fault::HangUp
            | Fault::Early
            | Fault::EarlyAndDeaf
            | Fault::EarlyAndGone
            | Fault::DieMidStream
            | Fault::TooLarge => Ok(()),
        }
    }

    /// The stream to its end, in pieces of this size at most.
    fn content(&mut self, piece: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut left = u32::from_be_bytes(length) as usize;
            if left == 0 {
                return Ok(content);
            }
            while left > 0 {
                let from = content.len();
                content.resize(from + left.min(piece), 0);
                self.stream.read_exact(&mut content[from..])?;
                left -= content.len() - from;
                if piece < 1024 {
                    thread::yield_now();
                }
            }
        }
    }

    fn right_answer(&self, content: &[u8]) -> String {
        let finds = self.record(|it| it.finds.clone());
        let found = finds.iter().find(|(pattern, _)| has(content, pattern));
        match found {
            Some((_, name)) => format!("stream: {name} FOUND"),
            None => CLEAN.to_owned(),
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\0").as_bytes())
    }

    /// Until [`FakeScanner::go_on`], or until the other side hangs up, which is remembered.
    fn wait(&mut self) -> io::Result<()> {
        let begun = self.record(|it| it.gone_on);
        self.wait_while(|it| it.gone_on == begun)
    }

    fn wait_while(&mut self, mut stalls: impl FnMut(&Record) -> bool) -> io::Result<()> {
        self.stream.set_patience(LOOK);
        loop {
            let record = self.shared.record.lock().unwrap();
            let (mut record, _) = self
                .shared
                .changed
                .wait_timeout_while(record, LOOK, |it| stalls(it))
                .unwrap();
            if !stalls(&record) {
                break;
            }
            if record.closed || self.stream.is_alone() {
                record.given_up += 1;
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        self.stream.set_patience(PATIENCE);
        Ok(())
    }
}

fn has(content: &[u8], pattern: &[u8]) -> bool {
    content.windows(pattern.len()).any(|it| it == pattern)
}
