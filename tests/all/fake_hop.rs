//! A next hop that misbehaves by a list: at a stage, a fault; where the list says nothing, it takes
//! mail like any other server and keeps what it was sent, byte for byte.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Where in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Greeting,
    Ehlo,
    StartTls,
    Mail,
    Rcpt,
    Data,
    Dot,
    Rset,
}

/// What goes wrong there, once.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This instead of the right answer; CRLF is added.
    Say(&'static str),
    /// The right answer, after all.
    Right,
    /// Hang up without a word.
    Drop,
    /// Half an answer, then hang up.
    Half,
    /// Say nothing until [`FakeHop::go_on`].
    Stall,
    /// These bytes, as they are.
    Raw(&'static [u8]),
    /// The right answer in several lines, an octet at a time.
    Split,
    /// The right answer, and then hang up.
    SayAndDrop,
}

/// A message as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub mail: String,
    pub recipients: Vec<String>,
    /// Dot-unstuffed.
    pub content: Vec<u8>,
}

#[derive(Debug, Default)]
struct Record {
    faults: VecDeque<(At, Fault)>,
    taken: Vec<Taken>,
    /// Every command, and `.` for an end of DATA, in order; `connect` for each connection.
    heard: Vec<String>,
}

#[derive(Debug)]
pub struct FakeHop {
    pub port: u16,
    record: Arc<Mutex<Record>>,
    go_on: Arc<Notify>,
}

pub const ALL: &[&str] = &["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0"];

impl FakeHop {
    /// Takes the faults for a stage in the order of the list, one each time the stage is reached.
    pub async fn start(offers: &'static [&'static str], faults: &[(At, Fault)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Record {
            faults: faults.to_vec().into(),
            ..Record::default()
        }));
        let go_on = Arc::new(Notify::new());
        let (shared, bell) = (Arc::clone(&record), Arc::clone(&go_on));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let conversation = Conversation {
                    stream: BufReader::new(stream),
                    offers,
                    record: Arc::clone(&shared),
                    go_on: Arc::clone(&bell),
                };
                tokio::spawn(conversation.hold());
            }
        });
        Self {
            port,
            record,
            go_on,
        }
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.record.lock().unwrap().taken.clone()
    }

    pub fn heard(&self) -> Vec<String> {
        self.record.lock().unwrap().heard.clone()
    }

    /// Ends the stalls.
    pub fn go_on(&self) {
        self.go_on.notify_waiters();
    }
}

struct Conversation {
    stream: BufReader<TcpStream>,
    offers: &'static [&'static str],
    record: Arc<Mutex<Record>>,
    go_on: Arc<Notify>,
}

/// The connection is over.
struct Over;

impl Conversation {
    async fn hold(mut self) {
        self.hear("connect");
        // However it ends, it is over.
        let _ = self.converse().await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        self.answer(At::Greeting, "220 fake ESMTP").await?;
        let (mut mail, mut recipients) = (None, Vec::new());
        loop {
            let line = self.line().await?;
            self.hear(&line);
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let last = self.offers.len();
                    let mut text = if last == 0 {
                        "250 fake".into()
                    } else {
                        "250-fake".to_owned()
                    };
                    for (number, offer) in self.offers.iter().enumerate() {
                        let sign = if number + 1 == last { ' ' } else { '-' };
                        text.push_str(&format!("\r\n250{sign}{offer}"));
                    }
                    self.answer(At::Ehlo, &text).await?;
                }
                "HELO" => self.say("250 fake").await?,
                "STARTTLS" => {
                    self.answer(At::StartTls, "454 4.7.0 not now").await?;
                }
                "MAIL" => {
                    if self.answer(At::Mail, "250 2.1.0 ok").await? {
                        mail = Some(line);
                    }
                    recipients.clear();
                }
                "RCPT" if mail.is_none() => self.say("503 5.5.1 MAIL first").await?,
                "RCPT" => {
                    if self.answer(At::Rcpt, "250 2.1.5 ok").await? {
                        recipients.push(line);
                    }
                }
                "DATA" if recipients.is_empty() => {
                    self.answer(At::Data, "503 5.5.1 RCPT first").await?;
                    if self.heard_last_answer_was_354() {
                        let _ = self.content().await?;
                        self.say("554 5.5.1 nobody").await?;
                    }
                }
                "DATA" => {
                    if !self.answer(At::Data, "354 go").await? {
                        continue;
                    }
                    let content = self.content().await?;
                    let taken = Taken {
                        mail: mail.take().unwrap_or_default(),
                        recipients: std::mem::take(&mut recipients),
                        content,
                    };
                    if self.answer(At::Dot, "250 2.0.0 kept").await? {
                        self.record.lock().unwrap().taken.push(taken);
                    }
                }
                "RSET" => {
                    (mail, recipients) = (None, Vec::new());
                    self.answer(At::Rset, "250 2.0.0 ok").await?;
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    return Ok(());
                }
                _ => self.say("500 5.5.2 what").await?,
            }
        }
    }

    fn hear(&self, line: &str) {
        self.record.lock().unwrap().heard.push(line.to_owned());
    }

    fn heard_last_answer_was_354(&self) -> bool {
        let record = self.record.lock().unwrap();
        record.heard.last().is_some_and(|it| it == "(354)")
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => Err(Over),
            Ok(_) => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
    }

    async fn content(&mut self) -> Result<Vec<u8>, Over> {
        let mut content = Vec::new();
        loop {
            let mut line = Vec::new();
            match self.stream.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return Err(Over),
                Ok(_) if line == b".\r\n" => {
                    self.hear(".");
                    return Ok(content);
                }
                Ok(_) => content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line)),
            }
        }
    }

    fn fault(&self, at: At) -> Fault {
        let mut record = self.record.lock().unwrap();
        let place = record.faults.iter().position(|(stage, _)| *stage == at);
        place.map_or(Fault::Right, |it| record.faults.remove(it).unwrap().1)
    }

    /// Answers, or does what the list says. Whether the command was taken.
    async fn answer(&mut self, at: At, right: &str) -> Result<bool, Over> {
        match self.fault(at) {
            Fault::Right => {
                self.say(right).await?;
                Ok(right.starts_with(['2', '3']))
            }
            Fault::Say(text) => {
                if text.starts_with("354") {
                    self.hear("(354)");
                }
                self.say(text).await?;
                Ok(text.starts_with(['2', '3']))
            }
            Fault::Drop => Err(Over),
            Fault::Half => {
                self.send(&right.as_bytes()[..2]).await?;
                Err(Over)
            }
            Fault::Stall => {
                let go_on = Arc::clone(&self.go_on);
                go_on.notified().await;
                Err(Over)
            }
            Fault::Raw(bytes) => {
                self.send(bytes).await?;
                // Nothing sensible can follow; it hangs up on whatever does.
                let _ = self.stream.read(&mut [0; 1024]).await;
                Err(Over)
            }
            Fault::Split => {
                let (code, text) = right.split_at(3);
                let lines = format!("{code}-first\r\n{code}{text}\r\n");
                for octet in lines.bytes() {
                    self.send(&[octet]).await?;
                }
                Ok(true)
            }
            Fault::SayAndDrop => {
                self.say(right).await?;
                Err(Over)
            }
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), Over> {
        self.send(format!("{text}\r\n").as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).await.map_err(|_| Over)?;
        stream.flush().await.map_err(|_| Over)
    }
}
