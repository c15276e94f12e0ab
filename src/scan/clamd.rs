//! The engine behind a clamd socket (clamd(8), INSTREAM).
//!
//! The message goes to it as it came, and then each attachment, decoded: what clamd's own reading of
//! MIME may miss is seen then, and the name of the attachment is known in which something is. Every
//! stream has a connection of its own. What clamd has said so far is looked at while it is still being
//! written to, and once more before the end of the stream, which is held back for a moment: an answer
//! that comes before is not for this stream, nor is one after which the rest of the stream lies unread. So no
//! answer is waited for that is already there, and an engine that has stopped reading holds nobody up.
//!
//! The crate `clamav-client` does not serve: it reads only after it has written everything, so that an
//! early answer looks like a right one, "size limit exceeded" is lost in a write error, and an
//! engine that stops reading blocks; and what it reads has no bound.
//!
//! It fails as `Down`, begun or not, where it is not reached or breaks off, and as `Broken` where its
//! answer makes no sense. It waits as long as its caller does.

pub mod answer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::said::said;
use super::{Answering, Part, Scanner, Specimen, identity, search};
use crate::mail::{Identity, Timestamp, Unscannable, Verdict, Why};

/// Octets of a stream that follow one length.
const CHUNK: usize = 64 * 1024;

/// What is held together before it is written: all of a small message.
const BUFFER: usize = 16 * 1024;

/// Of an answer.
const MOST_HEARD: usize = 64 * 1024;

/// For an answer that is not for this stream, before the stream's end is sent. What is sent of a small
/// message lies in the kernel's buffers at once, and an answer takes a thread of the engine's to be run.
const HELD_BACK: Duration = Duration::from_millis(3);

/// Between two knocks at a socket whose queue is full.
const FULL_QUEUE: Duration = Duration::from_millis(10);

/// For a second answer, where clamd does not hang up after the first.
const SECOND_ANSWER: Duration = Duration::from_millis(250);

/// Attachments of one message that it is given at the same time. It takes a stream whole before it scans,
/// so that most of them wait for what is held back and not for a thread of the engine's.
const AT_ONCE: usize = 8;

/// `kind = "clamd"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub address: Address,
}

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
}

/// The text is no address of a clamd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    NoPort,
    Port,
    Host,
    LongPath,
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "must be a socket's path with a / in it, or host:port",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Host => "the host must be a name, or an address (IPv6 in [ ])",
            Self::LongPath => "the path of a socket has 107 octets at most",
        })
    }
}

impl std::error::Error for AddressFault {}

/// What sockaddr_un has room for.
const LONGEST_PATH: usize = 107;

impl FromStr for Address {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, AddressFault> {
        if text.contains('/') {
            return match text.len() <= LONGEST_PATH {
                true => Ok(Self::Socket(text.into())),
                false => Err(AddressFault::LongPath),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressFault::NoPort)?;
        let port = port.parse().ok().filter(|it| *it > 0);
        let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_host = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let is_fit = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
                !host.is_empty() && host.chars().all(is_fit)
            }
        };
        if !is_host {
            return Err(AddressFault::Host);
        }
        Ok(Self::Tcp {
            host: inner.unwrap_or(host).to_owned(),
            port: port.ok_or(AddressFault::Port)?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

impl Address {
    async fn connect(&self) -> io::Result<Box<dyn Stream + Unpin>> {
        Ok(match self {
            Self::Socket(path) => Box::new(connect_to_socket(path).await?),
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// A socket whose queue is full for now is no engine that is down.
async fn connect_to_socket(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE).await,
            connected => return connected,
        }
    }
}

#[derive(Debug)]
pub struct Clamd {
    address: Arc<Address>,
}

impl Clamd {
    pub fn new(settings: Settings) -> Self {
        Self {
            address: Arc::new(settings.address),
        }
    }
}

impl Scanner for Clamd {
    fn scan(&self, specimen: Arc<Specimen>) -> Answering<Verdict> {
        let address = Arc::clone(&self.address);
        Box::pin(async move { scan(&address, &specimen).await })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        let address = Arc::clone(&self.address);
        Box::pin(async move { identify(&address).await })
    }
}

async fn scan(address: &Arc<Address>, specimen: &Arc<Specimen>) -> Verdict {
    let whole = stream(address, &specimen.message).await;
    let ask = |_, part: Part| {
        let address = Arc::clone(address);
        async move { stream(&address, &part.bytes).await }
    };
    search::attachments(specimen, whole, AT_ONCE, ask).await
}

async fn identify(address: &Address) -> Result<Identity, String> {
    let stream = address.connect().await;
    let stream = stream.map_err(|error| format!("{address}: {error}"))?;
    let mut conversation = Conversation::new(stream);
    conversation
        .command(b"zVERSION\0")
        .await
        .map_err(|error| format!("{address}: {error}"))?;
    conversation.hear().await;
    let heard = conversation.heard.as_slice();
    let heard = heard.split(|it| *it == 0).next().unwrap_or_default();
    if heard.is_empty() || heard.ends_with(b"ERROR") || heard.starts_with(b"UNKNOWN COMMAND") {
        return Err(format!("{address}: VERSION was answered {:?}", said(heard)));
    }
    Ok(identity::read(heard, Timestamp::now()))
}

/// What clamd says of some octets.
async fn stream(address: &Address, content: &Bytes) -> Verdict {
    match address.connect().await {
        Ok(stream) => Conversation::new(stream).scan(content).await,
        Err(error) => Verdict::Unscannable(Unscannable::before(
            Why::Down,
            format!("{address}: {error}"),
        )),
    }
}

struct Conversation {
    reader: ReadHalf<Box<dyn Stream + Unpin>>,
    writer: BufWriter<WriteHalf<Box<dyn Stream + Unpin>>>,
    heard: Vec<u8>,
}

/// Why there is nothing more to hear for now.
enum Pause {
    /// An answer is complete.
    Answered,
    Closed,
    Failed(io::Error),
    TooMuch,
}

impl Conversation {
    fn new(stream: Box<dyn Stream + Unpin>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer: BufWriter::with_capacity(BUFFER, writer),
            heard: Vec::with_capacity(1024),
        }
    }

    async fn command(&mut self, command: &[u8]) -> io::Result<()> {
        self.writer.write_all(command).await?;
        self.writer.flush().await
    }

    async fn hear(&mut self) -> Pause {
        hear(&mut self.reader, &mut self.heard).await
    }

    async fn scan(mut self, content: &[u8]) -> Verdict {
        let (reader, heard) = (&mut self.reader, &mut self.heard);
        let (sent, pause) = tokio::select! {
            biased;
            pause = hear(reader, heard) => (Ok(false), Some(pause)),
            sent = send(&mut self.writer, content) => (sent.map(|()| true), None),
        };
        // Part of an answer may be there already.
        let mut whole = sent.as_ref().is_ok_and(|it| *it) && self.heard.is_empty();
        let mut pause = match pause {
            Some(pause) => pause,
            None => self.hear().await,
        };
        if matches!(pause, Pause::Answered) {
            pause = self.listen_on().await;
            // Whoever breaks a connection off has not read what was in it.
            whole &= !matches!(pause, Pause::Failed(_));
        }
        self.verdict(whole, sent, pause)
    }

    /// Whether more comes after the answer.
    async fn listen_on(&mut self) -> Pause {
        // Past the buffer: what is still in there would be waited for. It fails where clamd has hung up.
        let _ = self.writer.get_mut().shutdown().await;
        let rest = async {
            loop {
                match self.hear().await {
                    Pause::Answered => {}
                    end => return end,
                }
            }
        };
        timeout(SECOND_ANSWER, rest)
            .await
            .unwrap_or(Pause::Answered)
    }

    fn verdict(&self, whole: bool, sent: io::Result<bool>, pause: Pause) -> Verdict {
        if matches!(pause, Pause::TooMuch) {
            let detail = format!("it answered without an end: {:?}", said(&self.heard));
            return Verdict::Unscannable(Unscannable::during(Why::Broken, detail));
        }
        if !self.heard.is_empty() {
            return answer::verdict(&self.heard, whole);
        }
        let detail = match (sent, pause) {
            (_, Pause::Failed(error)) | (Err(error), _) => format!("it broke off: {error}"),
            _ => "it hung up without an answer".to_owned(),
        };
        Verdict::Unscannable(Unscannable::during(Why::Down, detail))
    }
}

/// Adds to `heard` until an answer is complete, or nothing more comes. What was heard stays heard where this
/// is given up.
async fn hear(reader: &mut (impl AsyncRead + Unpin), heard: &mut Vec<u8>) -> Pause {
    loop {
        if heard.len() > MOST_HEARD {
            return Pause::TooMuch;
        }
        match reader.read_buf(heard).await {
            Ok(0) => return Pause::Closed,
            Ok(_) if heard.ends_with(b"\0") || heard.ends_with(b"\n") => return Pause::Answered,
            Ok(_) => {}
            Err(error) => return Pause::Failed(error),
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), content: &[u8]) -> io::Result<()> {
    writer.write_all(b"zINSTREAM\0").await?;
    for chunk in content.chunks(CHUNK) {
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        writer.write_all(&length.to_be_bytes()).await?;
        writer.write_all(chunk).await?;
    }
    writer.flush().await?;
    sleep(HELD_BACK).await;
    writer.write_all(&0_u32.to_be_bytes()).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_host_with_a_port() {
        #[rustfmt::skip]
        let cases = [
            ("/run/clamav/clamd.ctl", "/run/clamav/clamd.ctl"),
            ("./clamd", "./clamd"),
            ("127.0.0.1:3310", "127.0.0.1:3310"),
            ("clamd.nodnett.test:3310", "clamd.nodnett.test:3310"),
            ("[::1]:3310", "[::1]:3310"),
            ("::1:3310", "the host must be a name, or an address (IPv6 in [ ])"),
            ("[clamd]:3310", "the host must be a name, or an address (IPv6 in [ ])"),
            (":3310", "the host must be a name, or an address (IPv6 in [ ])"),
            ("a b:3310", "the host must be a name, or an address (IPv6 in [ ])"),
            ("clamd", "must be a socket's path with a / in it, or host:port"),
            ("clamd:", "the port must be a number from 1 to 65535"),
            ("clamd:0", "the port must be a number from 1 to 65535"),
            ("clamd:65536", "the port must be a number from 1 to 65535"),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Address>();
            let read = read.map_or_else(|fault| fault.to_string(), |it| it.to_string());
            assert_eq!(read, expected, "{text}");
        }
        let long = format!("/{}", "x".repeat(LONGEST_PATH));
        assert_eq!(long.parse::<Address>(), Err(AddressFault::LongPath));
    }
}
