//! Sockets, TLS and deadlines around the pure session.
//!
//! Decides how long to wait for whom (RFC 5321 §4.5.3.2) and who finds the house full; everything
//! that is said about mail is the session's. A connection is a task of its own, which never holds up
//! another; a client that is silent, slow or gone costs its own task and the few KiB it holds. No
//! trouble with one connection, and none with accepting them, ends a listener.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use super::session::{self, Awaiting, Session, Step, Tls};
use crate::limits::{self, Connections, Rates, Seat};
use crate::mail::{Received, Refusal, Reply, Timestamp, TlsSession};
use crate::policy::table::RoutingTable;
use crate::spool::{BodyPermit, Spool};

/// For a whole command (RFC 5321 §4.5.3.2.7).
const COMMAND: Duration = Duration::from_secs(300);
/// For the next octets of content (§4.5.3.2.5), and for all of it.
const BLOCK: Duration = Duration::from_secs(180);
const WHOLE_CONTENT: Duration = Duration::from_secs(3600);
/// For a client to take what we say.
const WRITE: Duration = Duration::from_secs(180);
const HANDSHAKE: Duration = Duration::from_secs(30);
/// For others to give memory back, before the client hears 452.
const MEMORY: Duration = Duration::from_secs(10);
/// For transactions in hand, once the relay goes down.
const GRACE: Duration = Duration::from_secs(20);
/// For a client to close after the last word.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between attempts to accept while that fails, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const BACKLOG: i32 = 4096;
/// What a connection reads into: while it waits, and while content comes.
const BUFFER: usize = 8 * 1024;
const CONTENT_BUFFER: usize = 16 * 1024;
/// Replies to pipelined commands are sent together, as long as they are not too many.
const OUTPUT: usize = 32 * 1024;

/// One `[[listener]]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    pub name: String,
    pub address: SocketAddr,
    pub tls: ListenerTls,
}

/// What a listener does about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerTls {
    Off,
    /// STARTTLS is offered.
    StartTls,
    /// STARTTLS is offered, and nothing is taken before it.
    Required,
    /// TLS from the first byte (RFC 8314 §3.3).
    Implicit,
}

impl ListenerTls {
    pub const ALL: [Self; 4] = [Self::Off, Self::StartTls, Self::Required, Self::Implicit];

    /// The word in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::StartTls => "starttls",
            Self::Required => "required",
            Self::Implicit => "implicit",
        }
    }
}

impl fmt::Display for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ListenerTls {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// A listener that is bound and does not serve yet.
#[derive(Debug)]
pub struct Listener {
    settings: ListenerSettings,
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The address in use; the port is the real one when the settings say 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub const fn tls(&self) -> ListenerTls {
        self.settings.tls
    }
}

/// Binds, so that what is wrong with an address is known at the start. Needs a runtime.
pub fn bind(settings: &ListenerSettings) -> io::Result<Listener> {
    let address = settings.address;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    Ok(Listener {
        settings: settings.clone(),
        address: socket.local_addr()?,
        socket,
    })
}

/// What all listeners share.
#[derive(Debug)]
pub struct Context {
    pub hostname: String,
    pub limits: limits::Settings,
    pub connections: Arc<Connections>,
    pub rates: Rates,
    pub spool: Spool,
    /// The routing table in force.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// Our certificate; needed by every listener whose TLS is not `off`.
    pub tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// True once the relay goes down.
    pub stop: watch::Receiver<bool>,
}

/// Serves until the relay goes down and the transactions in hand are finished.
pub async fn run(listener: Listener, context: Arc<Context>) {
    let Listener { settings, socket, .. } = listener;
    let (working, mut all_done) = mpsc::channel::<()>(1);
    let door = Door {
        session: Arc::new(session::Settings {
            hostname: context.hostname.clone(),
            message_size: context.limits.message_size,
            recipients: context.limits.recipients,
        }),
        settings,
        context,
    };
    let mut stop = door.context.stop.clone();
    tokio::select! {
        () = door.welcome(&socket, working) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    tokio::select! {
        () = door.turn_all_away(&socket) => {}
        _ = all_done.recv() => {}
        () = sleep(GRACE + FAREWELL) => {}
    }
}

/// One listener at work.
struct Door {
    settings: ListenerSettings,
    session: Arc<session::Settings>,
    context: Arc<Context>,
}

impl Door {
    /// Every connection is attended in a task that holds a clone of `working`.
    async fn welcome(&self, socket: &TcpListener, working: mpsc::Sender<()>) {
        loop {
            let (stream, address) = self.accept(socket).await;
            match self.context.connections.take(address.ip()) {
                Some(seat) => {
                    let visit = self.visit(address);
                    let working = working.clone();
                    tokio::spawn(async move {
                        attend(visit, stream).await;
                        drop((seat, working));
                    });
                }
                None => self.turn_away(stream, address, Reply::too_many_connections()),
            }
        }
    }

    async fn turn_all_away(&self, socket: &TcpListener) {
        loop {
            let (stream, address) = self.accept(socket).await;
            self.turn_away(stream, address, Reply::shutting_down());
        }
    }

    /// The next connection, however long accepting fails.
    async fn accept(&self, socket: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            match socket.accept().await {
                Ok((stream, address)) => {
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    return (stream, address);
                }
                Err(fault) => {
                    tracing::warn!(listener = self.settings.name, %fault, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Says why, without waiting for anything, and closes.
    fn turn_away(&self, stream: TcpStream, address: SocketAddr, reply: Reply) {
        tracing::debug!(client = %address, %reply, "turned away");
        let reply = reply.with_reference(self.context.spool.next_reference());
        self.context.spool.note(turned_away(address.ip(), &reply));
        if self.settings.tls != ListenerTls::Implicit
            && let Ok(mut stream) = stream.into_std()
        {
            // Nothing was sent to this socket yet, so that a line of text always fits.
            let _ = stream.write(&reply.wire());
        }
    }

    fn visit(&self, address: SocketAddr) -> Visit {
        let tls = match self.settings.tls {
            ListenerTls::Off | ListenerTls::Implicit => Tls::NotOffered,
            ListenerTls::StartTls => Tls::Offered,
            ListenerTls::Required => Tls::Required,
        };
        Visit {
            context: Arc::clone(&self.context),
            listener: self.settings.clone(),
            session: Session::new(Arc::clone(&self.session), address, tls),
            input: BytesMut::new(),
            output: Vec::new(),
            permit: BodyPermit::default(),
            stop: self.context.stop.clone(),
            going_down: None,
            command_until: Instant::now() + COMMAND,
            content_until: None,
        }
    }
}
