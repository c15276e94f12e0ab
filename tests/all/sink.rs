//! A room's mail server that keeps what it is sent, byte for byte, and misbehaves when told to.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::relay::free_port;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Connect,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Dot,
}

/// What the sink does at a stage instead of saying yes.
#[derive(Debug, Clone)]
pub enum Step {
    Agree,
    Say(&'static str),
    HangUp,
    /// Says yes once the gate is open.
    WaitFor(Arc<Gate>),
    /// Says yes, slowly.
    AfterAWhile(Duration),
}

/// The n-th time that a stage is reached, from 1, and the line that reached it.
type Script = dyn Fn(Stage, usize, &str) -> Step + Send + Sync;

/// Closed until somebody opens it.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.open.lock().unwrap()
    }

    pub fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(
            self.opened
                .wait_timeout_while(open, PATIENCE, |open| !*open),
        );
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

#[derive(Debug, Clone)]
pub struct Message {
    pub sender: String,
    pub recipients: Vec<String>,
    pub data: Vec<u8>,
    /// Which of the relay's lives it came in (`Sink::next_life`).
    pub life: usize,
}

impl Message {
    /// The header fields above `original`; panics unless `original` stands below them unchanged.
    pub fn above(&self, original: &[u8]) -> String {
        let above = self.data.strip_suffix(original).unwrap_or_else(|| {
            panic!(
                "changed on the way:\n{}\nis not\n{}",
                String::from_utf8_lossy(&self.data),
                String::from_utf8_lossy(original)
            )
        });
        String::from_utf8(above.to_vec()).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// The first header field of that name.
    pub fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
    }
}

struct Shared {
    script: Box<Script>,
    kept: Mutex<Vec<Message>>,
    arrived: Condvar,
    counts: Mutex<HashMap<Stage, usize>>,
    open: AtomicUsize,
    life: AtomicUsize,
    closed: AtomicBool,
}

pub struct Sink {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Sink {
    pub fn start() -> Self {
        Self::scripted(|_, _, _| Step::Agree)
    }

    pub fn scripted(script: impl Fn(Stage, usize, &str) -> Step + Send + Sync + 'static) -> Self {
        // Another program may take the port between the look and the bind.
        let listener = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", free_port())));
        Self::at(listener.flatten().next().unwrap(), script)
    }

    pub fn on(
        port: u16,
        script: impl Fn(Stage, usize, &str) -> Step + Send + Sync + 'static,
    ) -> Self {
        Self::at(TcpListener::bind(("127.0.0.1", port)).unwrap(), script)
    }

    fn at(
        listener: TcpListener,
        script: impl Fn(Stage, usize, &str) -> Step + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            kept: Mutex::default(),
            arrived: Condvar::new(),
            counts: Mutex::default(),
            open: AtomicUsize::new(0),
            life: AtomicUsize::new(1),
            closed: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        std::thread::spawn(move || listen(&listener, &listening));
        Self { port, shared }
    }

    /// As a next hop in the routing table.
    pub fn hop(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn kept(&self) -> Vec<Message> {
        self.shared.kept.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.kept.lock().unwrap().len()
    }

    /// Waits for `n` messages; gives all there are.
    pub fn wait_for(&self, n: usize) -> Vec<Message> {
        let kept = self.wait_within(PATIENCE, n);
        assert!(kept.len() >= n, "{} of {n} messages arrived", kept.len());
        kept
    }

    pub fn wait_within(&self, patience: Duration, n: usize) -> Vec<Message> {
        let kept = self.shared.kept.lock().unwrap();
        let waited = self
            .shared
            .arrived
            .wait_timeout_while(kept, patience, |kept| kept.len() < n);
        waited.unwrap().0.clone()
    }

    /// How many times a stage has been reached.
    pub fn reached(&self, stage: Stage) -> usize {
        *self.shared.counts.lock().unwrap().get(&stage).unwrap_or(&0)
    }

    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// From now on, what is kept came in the relay's next life.
    pub fn next_life(&self) {
        self.shared.life.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        shared.open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            drop(Dialogue::new(stream, &shared).map(Dialogue::run));
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One connection. It ends by an error, or when the other side has no more to say.
struct Dialogue<'a> {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    shared: &'a Shared,
    sender: String,
    recipients: Vec<String>,
}

impl<'a> Dialogue<'a> {
    fn new(stream: TcpStream, shared: &'a Shared) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
            shared,
            sender: String::new(),
            recipients: Vec::new(),
        })
    }

    fn run(mut self) -> std::io::Result<()> {
        if !self.step(Stage::Connect, "", "220 sink ESMTP")? {
            return Ok(());
        }
        loop {
            let line = self.line()?;
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            match text.get(..4).unwrap_or("").to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let offers =
                        "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0";
                    self.step(Stage::Ehlo, &text, offers)?;
                }
                "HELO" => drop(self.step(Stage::Ehlo, &text, "250 sink")?),
                "MAIL" => self.mail(&text)?,
                "RCPT" => self.rcpt(&text)?,
                "DATA" => self.data(&text)?,
                "RSET" => {
                    self.recipients.clear();
                    self.say("250 ok")?;
                }
                "NOOP" => self.say("250 ok")?,
                "QUIT" => return self.say("221 bye"),
                _ => self.say("502 what")?,
            }
        }
    }

    fn mail(&mut self, text: &str) -> std::io::Result<()> {
        self.recipients.clear();
        if self.step(Stage::Mail, text, "250 2.1.0 ok")? {
            self.sender = text["MAIL FROM:".len()..].to_owned();
        }
        Ok(())
    }

    fn rcpt(&mut self, text: &str) -> std::io::Result<()> {
        if self.step(Stage::Rcpt, text, "250 2.1.5 ok")? {
            self.recipients.push(text["RCPT TO:".len()..].to_owned());
        }
        Ok(())
    }

    fn data(&mut self, text: &str) -> std::io::Result<()> {
        if self.recipients.is_empty() {
            return self.say("503 5.5.1 no recipients");
        }
        if !self.step(Stage::Data, text, "354 go")? {
            return Ok(());
        }
        let mut data = Vec::new();
        loop {
            let line = self.line()?;
            if line == b".\r\n" {
                break;
            }
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        let message = Message {
            sender: self.sender.clone(),
            recipients: std::mem::take(&mut self.recipients),
            data,
            life: self.shared.life.load(Ordering::SeqCst),
        };
        self.dot(message)
    }

    /// Kept before it is said, as an honest server does.
    fn dot(&mut self, message: Message) -> std::io::Result<()> {
        let reply = match self.asked(Stage::Dot, "")? {
            Some(refusal) if !refusal.starts_with('2') => return self.say(refusal),
            Some(said) => said,
            None => "250 2.0.0 kept",
        };
        self.shared.kept.lock().unwrap().push(message);
        self.shared.arrived.notify_all();
        self.say(reply)
    }

    /// What the script says here instead of yes.
    fn asked(&mut self, stage: Stage, line: &str) -> std::io::Result<Option<&'static str>> {
        let n = {
            let mut counts = self.shared.counts.lock().unwrap();
            let n = counts.entry(stage).or_insert(0);
            *n += 1;
            *n
        };
        match (self.shared.script)(stage, n, line) {
            Step::Agree => Ok(None),
            Step::Say(reply) => Ok(Some(reply)),
            Step::HangUp => Err(std::io::ErrorKind::ConnectionAborted.into()),
            Step::WaitFor(gate) => {
                gate.pass();
                Ok(None)
            }
            Step::AfterAWhile(pause) => {
                std::thread::sleep(pause);
                Ok(None)
            }
        }
    }

    /// Answers as the script says or with `yes`; whether that was a yes.
    fn step(&mut self, stage: Stage, line: &str, yes: &str) -> std::io::Result<bool> {
        let asked = self.asked(stage, line)?;
        let reply = asked.unwrap_or(yes);
        self.say(reply)?;
        Ok(reply.starts_with(['2', '3']))
    }

    fn say(&mut self, reply: &str) -> std::io::Result<()> {
        self.writer.write_all(format!("{reply}\r\n").as_bytes())
    }

    fn line(&mut self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
