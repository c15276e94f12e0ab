//! An ICAP service that misbehaves by a list: for each request the next fault; where the list says
//! nothing it scans as a service should, and finds EICAR in what it was sent. A thread a connection.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

pub const EICAR: &str = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

pub const CLEAN: &str = "ICAP/1.0 204 No Content\r\nISTag: \"fake\"\r\n\r\n";
pub const INFECTED: &str = "ICAP/1.0 200 OK\r\nISTag: \"fake\"\r\n\
    X-Infection-Found: Type=0; Resolution=2; Threat=Fake.Eicar;\r\n\
    Encapsulated: res-hdr=0, res-body=26\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n3\r\nno!\r\n0\r\n\r\n";

/// What goes wrong, once.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Nothing, after all.
    Right,
    /// This in the place of the right answer, when it has had the request.
    Say(&'static str),
    /// This, an octet at a time.
    Dribble(&'static str),
    /// This, and then it hangs up.
    SayAndClose(&'static str),
    /// It hangs up when it has had the request.
    Close,
    /// It hangs up when it has had the head.
    CloseEarly,
    /// It reads the request and says nothing, until [`FakeIcap::go_on`].
    Hang,
    /// This when it has had the head, and then it neither reads nor writes until [`FakeIcap::go_on`].
    Early(&'static str),
    /// This when it has had the head; then it reads the rest.
    EarlyAndRead(&'static str),
    /// This in answer to the beginning.
    AtPreview(&'static str),
    /// It gives back, chunk by chunk, what it reads, as it reads it.
    Echo,
    /// The right answer, and this when [`FakeIcap::go_on`] is called; then it hangs up.
    RightAndLater(&'static str),
    /// The right answer, and it hangs up without having said so.
    RightAndClose,
}

/// A request as it was read.
#[derive(Debug, Clone)]
pub struct Asked {
    /// ICAP's head and those of HTTP.
    pub head: String,
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Record {
    faults: VecDeque<Fault>,
    asked: Vec<Asked>,
    connections: usize,
    open: usize,
    most_open: usize,
    options: String,
    options_asked: usize,
    released: usize,
    said_later: bool,
}

#[derive(Debug)]
struct Shared {
    record: Mutex<Record>,
    moved: Condvar,
}

#[derive(Debug)]
pub struct FakeIcap {
    pub port: u16,
    shared: Arc<Shared>,
}

/// What an ordinary service answers to OPTIONS.
pub const OPTIONS: &str = "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nService: Fake AV 1.0\r\nISTag: \"fake\"\r\n\
    Allow: 204\r\nOptions-TTL: 600\r\nEncapsulated: null-body=0\r\n\r\n";

impl FakeIcap {
    /// `options` is its answer to OPTIONS; empty: it hangs up at once when it is asked.
    pub fn start(options: &str, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Small, so that a large message does not fit into it unread.
        socket2::SockRef::from(&listener)
            .set_recv_buffer_size(64 * 1024)
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            record: Mutex::new(Record {
                faults: faults.to_vec().into(),
                options: options.to_owned(),
                ..Record::default()
            }),
            moved: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                stream.set_nodelay(true).unwrap();
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || Conversation::new(stream, shared).hold());
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("icap://127.0.0.1:{}/av", self.port)
    }

    /// The requests, without OPTIONS.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.record.lock().unwrap().asked.clone()
    }

    /// How often it was asked for OPTIONS.
    pub fn options_asked(&self) -> usize {
        self.shared.record.lock().unwrap().options_asked
    }

    pub fn connections(&self) -> usize {
        self.shared.record.lock().unwrap().connections
    }

    /// How many connections there are now, and were at most.
    pub fn open(&self) -> (usize, usize) {
        let record = self.shared.record.lock().unwrap();
        (record.open, record.most_open)
    }

    pub fn add(&self, faults: &[Fault]) {
        self.shared.record.lock().unwrap().faults.extend(faults);
    }

    /// Whether [`Fault::RightAndLater`] has said what it had to say.
    pub fn said_later(&self) -> bool {
        self.shared.record.lock().unwrap().said_later
    }

    /// Ends one stall.
    pub fn go_on(&self) {
        self.shared.record.lock().unwrap().released += 1;
        self.shared.moved.notify_all();
    }
}

struct Conversation {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    shared: Arc<Shared>,
}

/// The connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Conversation {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        {
            let mut record = shared.record.lock().unwrap();
            record.connections += 1;
            record.open += 1;
            record.most_open = record.most_open.max(record.open);
        }
        Self {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
            shared,
        }
    }

    fn hold(mut self) {
        while self.answer_one().is_ok() {}
        let _ = self.stream.shutdown(Shutdown::Both);
        self.shared.record.lock().unwrap().open -= 1;
    }

    fn answer_one(&mut self) -> Result<(), Over> {
        let head = self.head()?;
        if head.starts_with("OPTIONS ") {
            let options = {
                let mut record = self.shared.record.lock().unwrap();
                record.options_asked += 1;
                record.options.clone()
            };
            if options.is_empty() {
                return Err(Over);
            }
            return self.say(&options);
        }
        // The heads of HTTP within it.
        let heads = head.matches("-hdr=").count();
        let mut full = head.clone();
        for _ in 0..heads {
            full.push_str(&self.head()?);
        }
        let fault = self.shared.record.lock().unwrap().faults.pop_front();
        match fault.unwrap_or(Fault::Right) {
            Fault::CloseEarly => return Err(Over),
            Fault::Early(words) => {
                self.say(words)?;
                self.stall();
                return Err(Over);
            }
            Fault::EarlyAndRead(words) => {
                self.say(words)?;
                self.take(full)?;
            }
            Fault::AtPreview(words) => {
                let (body, _) = self.chunks(false)?;
                self.note(full, body);
                self.say(words)?;
            }
            Fault::Echo => {
                self.say(
                    "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=48\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\n\r\n",
                )?;
                let (body, _) = self.chunks(true)?;
                self.note(full, body);
                self.say("0\r\n\r\n")?;
            }
            Fault::Right => {
                let right = self.take(full)?;
                self.say(right)?;
            }
            Fault::RightAndLater(words) => {
                let right = self.take(full)?;
                self.say(right)?;
                self.stall();
                self.say(words)?;
                self.shared.record.lock().unwrap().said_later = true;
                self.stall();
                return Err(Over);
            }
            Fault::RightAndClose => {
                let right = self.take(full)?;
                self.say(right)?;
                return Err(Over);
            }
            Fault::Say(words) => {
                self.take(full)?;
                self.say(words)?;
            }
            Fault::Dribble(words) => {
                self.take(full)?;
                for octet in words.bytes() {
                    self.stream.write_all(&[octet])?;
                }
            }
            Fault::SayAndClose(words) => {
                self.take(full)?;
                self.say(words)?;
                return Err(Over);
            }
            Fault::Close => {
                self.take(full)?;
                return Err(Over);
            }
            Fault::Hang => {
                self.take(full)?;
                self.stall();
                return Err(Over);
            }
        }
        Ok(())
    }

    /// Reads the whole body, after a preview too; gives the right answer.
    fn take(&mut self, head: String) -> Result<&'static str, Over> {
        let (mut body, was_all) = self.chunks(false)?;
        if head.contains("\r\nPreview: ") && !was_all {
            self.say("ICAP/1.0 100 Continue\r\n\r\n")?;
            body.extend(self.chunks(false)?.0);
        }
        let is_infected = contains(&body, EICAR.as_bytes());
        self.note(head, body);
        Ok(if is_infected { INFECTED } else { CLEAN })
    }

    fn note(&self, head: String, body: Vec<u8>) {
        let mut record = self.shared.record.lock().unwrap();
        record.asked.push(Asked { head, body });
    }

    fn stall(&self) {
        let record = self.shared.record.lock().unwrap();
        let mut record = self
            .shared
            .moved
            .wait_while(record, |it| it.released == 0)
            .unwrap();
        record.released -= 1;
    }

    /// A head with its blank line.
    fn head(&mut self) -> Result<String, Over> {
        let mut head = String::new();
        loop {
            let start = head.len();
            if self.reader.read_line(&mut head)? == 0 {
                return Err(Over);
            }
            if head[start..] == *"\r\n" {
                return Ok(head);
            }
        }
    }

    /// A body, and whether it said `ieof`.
    fn chunks(&mut self, is_echoed: bool) -> Result<(Vec<u8>, bool), Over> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            if self.reader.read_line(&mut size)? == 0 {
                return Err(Over);
            }
            let digits = size.split(';').next().unwrap().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| Over)?;
            let mut chunk = vec![0; length + 2];
            self.reader.read_exact(&mut chunk)?;
            if length == 0 {
                return Ok((body, size.contains("ieof")));
            }
            if is_echoed {
                self.say(&format!("{length:x}\r\n"))?;
                self.stream.write_all(&chunk)?;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    fn say(&mut self, words: &str) -> Result<(), Over> {
        Ok(self.stream.write_all(words.as_bytes())?)
    }
}

pub fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|it| it == wanted)
}
