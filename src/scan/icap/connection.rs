//! A connection to a service, and those that are kept for the next message.
//!
//! It reads and writes at once, so that a service that answers before it has read everything, or that
//! reads slowly, holds up nobody. A kept connection is used only while it is silent: what came without
//! being asked for is believed by nobody, and the connection is closed. Dropped, a connection is
//! closed. Fails in the network's words.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::place::Place;
use super::request::Outgoing;

/// How much is read at once.
const PIECE: usize = 16 * 1024;
/// How many connections are kept without being used, and for how long.
const MOST_IDLE: usize = 16;
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Stream {
    fn duplex(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// What came and was not read yet.
    pub buffer: BytesMut,
    /// How many octets have come since the last request began.
    pub heard: usize,
    /// It has served a request before.
    pub is_used: bool,
    /// The answer was read to its end, and another may follow.
    pub is_in_step: bool,
    /// The other side takes nothing more.
    is_deaf: bool,
    is_unflushed: bool,
}

impl Wire {
    pub async fn connect(place: &Place, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        // Requests are waited for. Without it they are only slower.
        let _ = stream.set_nodelay(true);
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = ServerName::try_from(place.host.clone()).map_err(io::Error::other)?;
                let shaken = TlsConnector::from(config).connect(name, stream).await?;
                Stream::Tls(Box::new(shaken))
            }
        };
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            heard: 0,
            is_used: false,
            is_in_step: false,
            is_deaf: false,
            is_unflushed: false,
        })
    }

    /// Reads something, or sends something of `out`, whichever can be done first. `false`: the other
    /// side has hung up. That it takes nothing more is no failure, since it may have said why.
    pub async fn turn(&mut self, out: &mut Outgoing) -> io::Result<bool> {
        poll_fn(|context| self.poll_turn(context, out)).await
    }

    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Outgoing,
    ) -> Poll<io::Result<bool>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        if let Poll::Ready(read) = self.stream.duplex().poll_read(context, &mut piece) {
            read?;
            self.heard = self.heard.saturating_add(piece.filled().len());
            self.buffer.extend_from_slice(piece.filled());
            return Poll::Ready(Ok(!piece.filled().is_empty()));
        }
        if self.is_deaf {
            return Poll::Pending;
        }
        let sent = match out.is_sent() {
            false => ready!(self.stream.duplex().poll_write(context, out.next())),
            true if self.is_unflushed => {
                ready!(self.stream.duplex().poll_flush(context)).map(|()| 0)
            }
            true => return Poll::Pending,
        };
        match sent {
            Ok(sent) => {
                self.is_unflushed = !out.is_sent();
                out.advance(sent);
                self.is_deaf = sent == 0 && !out.is_sent();
            }
            Err(_) => self.is_deaf = true,
        }
        Poll::Ready(Ok(true))
    }

    /// Whether something more than blank lines has come after what was read.
    pub fn says_more(&self) -> bool {
        let is_blank = self.buffer.iter().all(|it| b"\r\n".contains(it));
        let is_plain = matches!(self.stream, Stream::Plain(_));
        !is_blank || is_plain && matches!(self.peek(), Ok(1..))
    }

    /// Nothing has come, and the other side has not hung up.
    fn is_silent(&self) -> bool {
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.buffer.is_empty() && self.peek().is_err_and(nothing)
    }

    /// Asks the system itself, since what tokio knows may be older.
    fn peek(&self) -> io::Result<usize> {
        let mut octet = [MaybeUninit::uninit(); 1];
        SockRef::from(self.stream.socket()).peek(&mut octet)
    }
}

/// The connections to one service.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<(Instant, Wire)>>,
    places: Mutex<(Option<usize>, Arc<Semaphore>)>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            places: Mutex::new((None, places(None))),
        }
    }
}

fn places(most: Option<usize>) -> Arc<Semaphore> {
    let most = most.unwrap_or(Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}

impl Pool {
    /// Waits until one more may be used, of so many.
    pub async fn place(&self, most: Option<usize>) -> Option<OwnedSemaphorePermit> {
        let semaphore = {
            let mut places_now = lock(&self.places);
            if places_now.0 != most {
                *places_now = (most, places(most));
            }
            Arc::clone(&places_now.1)
        };
        semaphore.acquire_owned().await.ok()
    }

    /// One that is kept, and silent.
    pub fn take(&self) -> Option<Wire> {
        let mut idle = lock(&self.idle);
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        while let Some((_, wire)) = idle.pop() {
            if wire.is_silent() {
                return Some(wire);
            }
        }
        None
    }

    /// Keeps it, if its last answer was read to the end.
    pub fn give_back(&self, mut wire: Wire) {
        if !wire.is_in_step {
            return;
        }
        wire.is_used = true;
        wire.is_in_step = false;
        let mut idle = lock(&self.idle);
        if idle.len() < MOST_IDLE {
            idle.push((Instant::now(), wire));
        }
    }

    /// Closes those that are kept.
    pub fn clear(&self) {
        lock(&self.idle).clear();
    }
}

/// A panic elsewhere has left it as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
