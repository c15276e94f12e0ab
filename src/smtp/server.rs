//! The listeners: who connects, on whose behalf, and whether there is a place.
//!
//! Decides who finds the house full; what is said to whom has one is its visit's. Each is a task of
//! its own, which never holds up another. No trouble with one connection, and none with accepting
//! them, ends a listener.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::proxy::{self, Source};
use super::session::{self, Session, Tls};
use super::visit::{FAREWELL, GRACE, Visit, attend};
use crate::limits::{self, Acquaintances, Checks, Connections, FailedLogins, Guest, Rates, Seat};
use crate::mail::{Refusal, Reply, Timestamp};
use crate::policy::table::RoutingTable;
use crate::scan::Gate;
use crate::spool::Spool;
use crate::supervisor::Pulse;
use crate::tls::Incoming;

/// Between attempts to accept while that fails, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener shows that it lives at least this often.
const BEAT: Duration = Duration::from_millis(250);

const BACKLOG: i32 = 4096;
/// Octets that the kernel keeps of what we say, for a client that does not listen. Replies are short.
const UNHEARD: usize = 64 * 1024;

/// One `[[listener]]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    pub name: String,
    pub address: SocketAddr,
    pub tls: ListenerTls,
    /// The load balancers that connect here, and nobody else does; none: clients do.
    pub proxy_from: Vec<IpNet>,
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
    socket.set_send_buffer_size(UNHEARD)?;
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
pub struct Parts {
    pub hostname: String,
    pub limits: limits::Settings,
    pub connections: Arc<Connections>,
    pub rates: Arc<Rates>,
    pub failed_logins: FailedLogins,
    /// Who has shown who it is, and from where.
    pub acquaintances: Acquaintances,
    /// Passwords that may be checked at once.
    pub checks: Checks,
    pub spool: Spool,
    /// Scans what comes, before it is kept and after.
    pub gate: Arc<Gate>,
    /// The routing table in force.
    pub table: watch::Receiver<Arc<RoutingTable>>,
    /// Our certificate; needed by every listener whose TLS is not `off`.
    pub tls: Option<watch::Receiver<Arc<Incoming>>>,
    /// True once the relay goes down.
    pub stop: watch::Receiver<bool>,
}

/// Serves until the relay goes down and the transactions in hand are finished.
/// As long as connections can be accepted, `pulse` beats.
pub async fn run(listener: Listener, parts: Arc<Parts>, pulse: Pulse) {
    let Listener {
        settings, socket, ..
    } = listener;
    let (working, mut all_done) = mpsc::channel::<()>(1);
    let door = Arc::new(Door {
        session: Arc::new(session::Settings {
            hostname: parts.hostname.clone(),
            message_size: parts.limits.message_size,
            recipients: parts.limits.recipients,
        }),
        settings,
        parts,
        pulse,
    });
    let mut stop = door.parts.stop.clone();
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
    parts: Arc<Parts>,
    pulse: Pulse,
}

impl Door {
    /// Every connection is attended in a task that holds a clone of `working`.
    async fn welcome(self: &Arc<Self>, socket: &TcpListener, working: mpsc::Sender<()>) {
        loop {
            let (stream, address) = self.accept(socket).await;
            match self.seat(address.ip()) {
                Ok(seat) => {
                    let (door, working) = (Arc::clone(self), working.clone());
                    tokio::spawn(async move {
                        door.receive(stream, address, seat).await;
                        drop(working);
                    });
                }
                Err(reply) => self.turn_away(stream, address, reply),
            }
        }
    }

    /// A place for who connects. A load balancer's has no name before it says whose it is.
    fn seat(&self, from: IpAddr) -> Result<Seat, Reply> {
        let balancers = &self.settings.proxy_from;
        let seat = match balancers.is_empty() {
            true => {
                let guest = self.guest(from);
                self.parts.connections.take(from, guest, Instant::now())
            }
            false if balancers.iter().any(|it| it.contains(&from)) => {
                self.parts.connections.take_unnamed(Instant::now())
            }
            false => return Err(Reply::only_through_a_balancer()),
        };
        seat.ok_or_else(Reply::too_many_connections)
    }

    /// Whether the routing table names this address, or somebody has shown there who it is.
    fn guest(&self, address: IpAddr) -> Guest {
        let is_named = self.parts.table.borrow().names(address);
        match is_named || self.parts.acquaintances.have(address, Instant::now()) {
            true => Guest::Known,
            false => Guest::Stranger,
        }
    }

    /// Gives a client from behind a load balancer a place of its own.
    fn name(&self, seat: &mut Seat, client: IpAddr) -> bool {
        seat.name(client, self.guest(client), Instant::now())
    }

    /// Finds out who it is, and attends to it.
    async fn receive(&self, mut stream: TcpStream, from: SocketAddr, mut seat: Seat) {
        if self.settings.proxy_from.is_empty() {
            return attend(self.visit(from, seat), stream).await;
        }
        let patience = self.parts.limits.timeouts.proxy_header;
        match introduced(&mut stream, patience).await {
            Ok(Source::Client(client)) if self.name(&mut seat, client.ip()) => {
                attend(self.visit(client, seat), stream).await;
            }
            Ok(Source::Client(client)) => {
                self.turn_away(stream, client, Reply::too_many_connections());
            }
            Ok(Source::Balancer) => {
                attend(self.visit(from, seat).of_nobody(), stream).await;
            }
            Err(fault) => {
                tracing::warn!(balancer = %from, %fault, "a load balancer does not say for whom it connects");
                self.turn_away(stream, from, Reply::only_through_a_balancer());
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
            let Ok(accepted) = timeout(BEAT, socket.accept()).await else {
                self.pulse.beat();
                continue;
            };
            match accepted {
                Ok((stream, address)) => {
                    self.pulse.beat();
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
        let reply = reply.with_reference(self.parts.spool.next_reference());
        if let Some(row) = turned_away(address.ip(), &reply) {
            self.parts.spool.note(row);
        }
        if self.settings.tls != ListenerTls::Implicit
            && let Ok(mut stream) = stream.into_std()
        {
            // Nothing was sent to this socket yet, so that a line of text always fits.
            let _ = stream.write(&reply.wire());
        }
    }

    fn visit(&self, address: SocketAddr, seat: Seat) -> Visit {
        let tls = match self.settings.tls {
            ListenerTls::Off | ListenerTls::Implicit => Tls::NotOffered,
            ListenerTls::StartTls => Tls::Offered,
            ListenerTls::Required => Tls::Required,
        };
        let session = Session::new(Arc::clone(&self.session), address, tls);
        Visit::new(
            Arc::clone(&self.parts),
            self.settings.clone(),
            session,
            seat,
        )
    }
}

/// On whose behalf a load balancer connects. Not an octet more is read than that takes: what follows
/// may be a TLS handshake.
async fn introduced(stream: &mut TcpStream, patience: Duration) -> io::Result<Source> {
    let header = async {
        let mut beginning = [0; proxy::BEGINNING];
        stream.read_exact(&mut beginning).await?;
        let beginning = proxy::Beginning::parse(&beginning).map_err(io::Error::other)?;
        let mut rest = vec![0; beginning.rest()];
        stream.read_exact(&mut rest).await?;
        beginning.source(&rest).map_err(io::Error::other)
    };
    timeout(patience, header).await?
}

fn turned_away(client: IpAddr, reply: &Reply) -> Option<Refusal> {
    Some(Refusal {
        reference: reply.reference?,
        at: Timestamp::now(),
        client,
        helo: String::new(),
        user: None,
        certificate: None,
        sender: None,
        sender_room: None,
        recipient: None,
        recipient_room: None,
        subject: None,
        message_id: None,
        size: None,
        attachments: Arc::default(),
        files_left_out: 0,
        malware: Vec::new(),
        reply: reply.to_string(),
        rule: None,
        revision: None,
        count: 1,
    })
}
