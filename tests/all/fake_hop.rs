//! A next hop that misbehaves by a list: at a stage, a fault; where the list says nothing, it takes
//! mail like any other server and keeps what it was sent, byte for byte. It speaks SMTP or LMTP,
//! over TCP or a Unix socket, and TLS where it is given a certificate.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, empty,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Where in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Greeting,
    /// EHLO and LHLO.
    Ehlo,
    StartTls,
    /// Right after the answer to STARTTLS.
    Handshake,
    /// The last answer of a login.
    Auth,
    Mail,
    Rcpt,
    Data,
    /// When the message begins, with DATA or BDAT.
    Content,
    /// The answer to a BDAT that is not the last.
    Chunk,
    /// The answer after the whole message; over LMTP one for each recipient.
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
    /// This, and then neither a word nor an ear until [`FakeHop::go_on`].
    SayAndStall(&'static str),
    /// The right answer after [`FakeHop::go_on`].
    Late,
    /// A line that never ends.
    Long,
    /// A reply that never ends, as fast as it is read.
    Endless,
    /// A reply that never ends, an octet now and then.
    Trickle,
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

/// How it is spoken to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    pub lmtp: bool,
    /// It shows [`certificate`] after STARTTLS.
    pub tls: bool,
    /// TLS from the first byte.
    pub implicit: bool,
}

#[derive(Debug)]
pub struct FakeHop {
    pub port: u16,
    record: Arc<Mutex<Record>>,
    go_on: Arc<Notify>,
}

/// What it says in answer to EHLO.
pub type Offers = &'static [&'static str];

pub const ALL: Offers = &["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0"];

/// Offered under TLS only.
const GUARDED: &[&str] = &["AUTH", "REQUIRETLS"];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Proof {
    authority: PathBuf,
    acceptor: TlsAcceptor,
    _home: tempfile::TempDir,
}

static PROOF: LazyLock<Proof> = LazyLock::new(|| {
    let names = ["127.0.0.1", "localhost"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let home = tempfile::tempdir().unwrap();
    let authority = home.path().join("hop.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Proof {
        authority,
        acceptor: TlsAcceptor::from(Arc::new(config)),
        _home: home,
    }
});

/// The certificate that it shows, for 127.0.0.1 and localhost, signed by itself.
pub fn certificate() -> &'static Path {
    &PROOF.authority
}

impl FakeHop {
    /// Takes the faults for a stage in the order of the list, one each time the stage is reached.
    pub async fn start(offers: Offers, faults: &[(At, Fault)]) -> Self {
        Self::with(Manner::default(), offers, faults).await
    }

    pub async fn with(manner: Manner, offers: Offers, faults: &[(At, Fault)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Small, so that a large message does not fit into it unread.
        socket2::SockRef::from(&listener)
            .set_recv_buffer_size(64 * 1024)
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let hop = Self::new(port, faults);
        let (record, go_on) = (Arc::clone(&hop.record), Arc::clone(&hop.go_on));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let stream: Box<dyn Stream> = Box::new(stream);
                let conversation =
                    Conversation::new(stream, manner, offers, Arc::clone(&record), &go_on);
                tokio::spawn(conversation.hold());
            }
        });
        hop
    }

    /// LMTP over a Unix socket.
    pub fn at_socket(path: &Path, offers: Offers, faults: &[(At, Fault)]) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let hop = Self::new(0, faults);
        let (record, go_on) = (Arc::clone(&hop.record), Arc::clone(&hop.go_on));
        let manner = Manner {
            lmtp: true,
            ..Manner::default()
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream: Box<dyn Stream> = Box::new(stream);
                let conversation =
                    Conversation::new(stream, manner, offers, Arc::clone(&record), &go_on);
                tokio::spawn(conversation.hold());
            }
        });
        hop
    }

    fn new(port: u16, faults: &[(At, Fault)]) -> Self {
        Self {
            port,
            record: Arc::new(Mutex::new(Record {
                faults: faults.to_vec().into(),
                ..Record::default()
            })),
            go_on: Arc::new(Notify::new()),
        }
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.record.lock().unwrap().taken.clone()
    }

    pub fn heard(&self) -> Vec<String> {
        self.record.lock().unwrap().heard.clone()
    }

    /// How often a command was heard whose beginning this is.
    pub fn count(&self, beginning: &str) -> usize {
        let heard = self.heard();
        heard.iter().filter(|it| it.starts_with(beginning)).count()
    }

    /// Ends the stalls.
    pub fn go_on(&self) {
        self.go_on.notify_waiters();
    }
}

struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
    manner: Manner,
    offers: Offers,
    record: Arc<Mutex<Record>>,
    go_on: Arc<Notify>,
    secure: bool,
    mail: Option<String>,
    recipients: Vec<String>,
    /// What came with BDAT so far; `None` after a chunk was refused.
    chunks: Option<Vec<u8>>,
}

/// The connection is over.
struct Over;

impl Conversation {
    fn new(
        stream: Box<dyn Stream>,
        manner: Manner,
        offers: Offers,
        record: Arc<Mutex<Record>>,
        go_on: &Arc<Notify>,
    ) -> Self {
        Self {
            stream: BufReader::new(stream),
            manner,
            offers,
            record,
            go_on: Arc::clone(go_on),
            secure: false,
            mail: None,
            recipients: Vec::new(),
            chunks: Some(Vec::new()),
        }
    }

    async fn hold(mut self) {
        self.hear("connect");
        // However it ends, it is over.
        let _ = self.converse().await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        if self.manner.implicit {
            self.shake_hands().await?;
        }
        self.answer(At::Greeting, "220 fake ESMTP").await?;
        loop {
            let line = self.line().await?;
            self.hear(&line);
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            match (verb.as_str(), self.manner.lmtp) {
                ("EHLO", false) | ("LHLO", true) => {
                    let offers = self.offered();
                    self.answer(At::Ehlo, &offers).await?;
                }
                ("HELO", false) => self.say("250 fake").await?,
                ("STARTTLS", _) => self.start_tls().await?,
                ("AUTH", _) => self.log_in(&line).await?,
                ("MAIL", _) => {
                    self.reset();
                    if self.answer(At::Mail, "250 2.1.0 ok").await? {
                        self.mail = Some(line);
                    }
                }
                ("RCPT", _) if self.mail.is_none() => self.say("503 5.5.1 MAIL first").await?,
                ("RCPT", _) => {
                    if self.answer(At::Rcpt, "250 2.1.5 ok").await? {
                        self.recipients.push(line);
                    }
                }
                ("DATA", _) if self.recipients.is_empty() => {
                    self.answer(At::Data, "503 5.5.1 RCPT first").await?;
                    if self.heard_last_answer_was_354() {
                        let _ = self.content().await?;
                        self.say("554 5.5.1 nobody").await?;
                    }
                }
                ("DATA", _) => self.data().await?,
                ("BDAT", _) => self.chunk(&line).await?,
                ("RSET", _) => {
                    self.reset();
                    self.answer(At::Rset, "250 2.0.0 ok").await?;
                }
                ("QUIT", _) => {
                    self.say("221 2.0.0 bye").await?;
                    return Ok(());
                }
                _ => self.say("500 5.5.2 what").await?,
            }
        }
    }

    fn reset(&mut self) {
        (self.mail, self.recipients) = (None, Vec::new());
        self.chunks = Some(Vec::new());
    }

    fn offered(&self) -> String {
        let offers = self.offers.iter().filter(|offer| {
            let guarded = GUARDED.iter().any(|it| offer.starts_with(it));
            let upgrade = **offer == "STARTTLS";
            (self.secure || !guarded) && !(self.secure && upgrade)
        });
        let lines: Vec<&str> = std::iter::once("fake").chain(offers.copied()).collect();
        let (last, others) = lines.split_last().unwrap();
        let others: String = others.iter().map(|it| format!("250-{it}\r\n")).collect();
        format!("{others}250 {last}")
    }

    async fn start_tls(&mut self) -> Result<(), Over> {
        if !self.manner.tls {
            self.answer(At::StartTls, "454 4.7.0 not now").await?;
            return Ok(());
        }
        if !self.answer(At::StartTls, "220 2.0.0 go").await? {
            return Ok(());
        }
        match self.fault(At::Handshake) {
            Fault::Right => self.shake_hands().await,
            fault => self.misbehave(fault, "").await.map(drop),
        }
    }

    async fn shake_hands(&mut self) -> Result<(), Over> {
        let nothing: Box<dyn Stream> = Box::new(tokio::io::join(empty(), tokio::io::sink()));
        let plain = std::mem::replace(&mut self.stream, BufReader::new(nothing)).into_inner();
        let secure = PROOF.acceptor.accept(plain).await.map_err(|_| Over)?;
        self.stream = BufReader::new(Box::new(secure));
        self.secure = true;
        Ok(())
    }

    async fn log_in(&mut self, line: &str) -> Result<(), Over> {
        if line == "AUTH LOGIN" {
            for question in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                self.say(question).await?;
                let line = self.line().await?;
                self.hear(&line);
            }
        }
        self.answer(At::Auth, "235 2.7.0 come in").await.map(drop)
    }

    async fn data(&mut self) -> Result<(), Over> {
        if !self.answer(At::Data, "354 go").await? {
            return Ok(());
        }
        self.begin_content().await?;
        let content = self.content().await?;
        self.finish(content).await
    }

    async fn chunk(&mut self, line: &str) -> Result<(), Over> {
        let mut words = line.split(' ').skip(1);
        let size: usize = words.next().unwrap().parse().unwrap();
        let last = words.next() == Some("LAST");
        if self.chunks.as_ref().is_some_and(Vec::is_empty) {
            self.begin_content().await?;
        }
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).await.map_err(|_| Over)?;
        let Some(chunks) = &mut self.chunks else {
            return self.say("503 5.5.1 RSET first").await;
        };
        chunks.extend(chunk);
        if last {
            let content = std::mem::take(chunks);
            return self.finish(content).await;
        }
        if !self.answer(At::Chunk, "250 2.0.0 more").await? {
            self.chunks = None;
        }
        Ok(())
    }

    async fn begin_content(&mut self) -> Result<(), Over> {
        match self.fault(At::Content) {
            Fault::Right => Ok(()),
            Fault::Say(text) => {
                self.say(text).await?;
                // It listens no more, and hears the other side hang up.
                tokio::io::copy(&mut self.stream, &mut tokio::io::sink())
                    .await
                    .map_err(|_| Over)?;
                Err(Over)
            }
            fault => self.misbehave(fault, "").await.map(drop),
        }
    }

    async fn finish(&mut self, content: Vec<u8>) -> Result<(), Over> {
        let recipients = std::mem::take(&mut self.recipients);
        let mail = self.mail.take().unwrap_or_default();
        let mut taken = Taken {
            mail,
            recipients: Vec::new(),
            content,
        };
        if !self.manner.lmtp {
            taken.recipients = recipients;
            if self.answer(At::Dot, "250 2.0.0 kept").await? {
                self.record.lock().unwrap().taken.push(taken);
            }
            return Ok(());
        }
        let place = self.record.lock().unwrap().taken.len();
        for recipient in recipients {
            if self.answer(At::Dot, "250 2.0.0 kept").await? {
                taken.recipients.push(recipient);
                let record = &mut *self.record.lock().unwrap();
                record.taken.truncate(place);
                record.taken.push(taken.clone());
            }
        }
        Ok(())
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
        let fault = self.fault(at);
        self.misbehave(fault, right).await
    }

    async fn misbehave(&mut self, fault: Fault, right: &str) -> Result<bool, Over> {
        match fault {
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
            Fault::SayAndStall(text) => {
                let go_on = Arc::clone(&self.go_on);
                self.say(text).await?;
                go_on.notified().await;
                Err(Over)
            }
            Fault::Late => {
                let go_on = Arc::clone(&self.go_on);
                go_on.notified().await;
                self.say(right).await?;
                Ok(right.starts_with(['2', '3']))
            }
            Fault::Long => loop {
                self.send(&[b'2'; 1024]).await?;
            },
            Fault::Endless => loop {
                self.send(b"250-and more\r\n").await?;
            },
            Fault::Trickle => loop {
                for octet in *b"250-more\r\n" {
                    self.send(&[octet]).await?;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            },
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
