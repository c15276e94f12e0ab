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
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::auth::{self, Answer, Question};
use super::proxy::{self, Source};
use super::session::{self, Awaiting, Session, Step, Tls};
use crate::limits::{self, Connections, FailedLogins, Rates, Seat};
use crate::mail::{Certificate, Doubt, Login, Received, Refusal, Reply, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{Known, StoreError};
use crate::spool::{BodyPermit, Spool};
use crate::supervisor::Pulse;
use crate::tls::{self, Incoming, Shown};

/// For a whole command (RFC 5321 §4.5.3.2.7).
const COMMAND: Duration = Duration::from_secs(300);
/// For the next octets of content (§4.5.3.2.5), and for all of it.
const BLOCK: Duration = Duration::from_secs(180);
const WHOLE_CONTENT: Duration = Duration::from_secs(3600);
/// For a client to take what we say.
const WRITE: Duration = Duration::from_secs(180);
const HANDSHAKE: Duration = Duration::from_secs(30);
/// For a load balancer to say on whose behalf it connects: it does that before all else.
const HEADER: Duration = Duration::from_secs(5);
/// Octets of a message from which on its analysis may hold up others.
const LARGE: usize = 512 * 1024;
/// For others to give memory back, before the client hears 452.
const MEMORY: Duration = Duration::from_secs(10);
/// For a password to be checked, those of others first.
const CHECK: Duration = Duration::from_secs(10);
/// How exactly it is remembered when a user last logged in: each time is a write.
const LAST_LOGIN: Duration = Duration::from_secs(60);
/// For transactions in hand, once the relay goes down.
const GRACE: Duration = Duration::from_secs(20);
/// For a client to close after the last word.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between attempts to accept while that fails, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener shows that it lives at least this often.
const BEAT: Duration = Duration::from_millis(250);

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
    pub rates: Rates,
    pub failed_logins: FailedLogins,
    /// Passwords that may be checked at once: they take a processor each, and mail needs some too.
    pub checks: Semaphore,
    pub spool: Spool,
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
            true => self.parts.connections.take(from),
            false if balancers.iter().any(|it| it.contains(&from)) => {
                self.parts.connections.take_unnamed()
            }
            false => return Err(Reply::only_through_a_balancer()),
        };
        seat.ok_or_else(Reply::too_many_connections)
    }

    /// Finds out who it is, and attends to it.
    async fn receive(&self, mut stream: TcpStream, from: SocketAddr, mut seat: Seat) {
        if self.settings.proxy_from.is_empty() {
            return attend(self.visit(from), stream).await;
        }
        match introduced(&mut stream).await {
            Ok(Source::Client(client)) if seat.name(client.ip()) => {
                attend(self.visit(client), stream).await;
            }
            Ok(Source::Client(client)) => {
                self.turn_away(stream, client, Reply::too_many_connections());
            }
            Ok(Source::Balancer) => {
                let mut visit = self.visit(from);
                visit.nobody = true;
                attend(visit, stream).await;
            }
            Err(fault) => {
                tracing::warn!(balancer = %from, %fault, "a load balancer does not say for whom it connects");
                self.turn_away(stream, from, Reply::only_through_a_balancer());
            }
        }
        drop(seat);
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

    fn visit(&self, address: SocketAddr) -> Visit {
        let tls = match self.settings.tls {
            ListenerTls::Off | ListenerTls::Implicit => Tls::NotOffered,
            ListenerTls::StartTls => Tls::Offered,
            ListenerTls::Required => Tls::Required,
        };
        Visit {
            parts: Arc::clone(&self.parts),
            listener: self.settings.clone(),
            session: Session::new(Arc::clone(&self.session), address, tls),
            input: BytesMut::new(),
            output: Vec::new(),
            permit: BodyPermit::default(),
            waited: Duration::ZERO,
            stop: self.parts.stop.clone(),
            going_down: None,
            nobody: false,
            patience: Patience::new(Instant::now()),
            shown: None,
        }
    }
}

/// On whose behalf a load balancer connects. Not an octet more is read than that takes: what follows
/// may be a TLS handshake.
async fn introduced(stream: &mut TcpStream) -> io::Result<Source> {
    let header = async {
        let mut beginning = [0; proxy::BEGINNING];
        stream.read_exact(&mut beginning).await?;
        let beginning = proxy::Beginning::parse(&beginning).map_err(io::Error::other)?;
        let mut rest = vec![0; beginning.rest()];
        stream.read_exact(&mut rest).await?;
        beginning.source(&rest).map_err(io::Error::other)
    };
    timeout(HEADER, header).await?
}

fn turned_away(client: IpAddr, reply: &Reply) -> Option<Refusal> {
    Some(Refusal {
        reference: reply.reference?,
        at: Timestamp::now(),
        client,
        helo: String::new(),
        user: None,
        sender: None,
        sender_room: None,
        recipient: None,
        recipient_room: None,
        subject: None,
        message_id: None,
        size: None,
        reply: reply.to_string(),
        rule: None,
        revision: None,
        count: 1,
    })
}

/// One connection, and all that is held for it.
struct Visit {
    parts: Arc<Parts>,
    listener: ListenerSettings,
    session: Session,
    input: BytesMut,
    output: Vec<u8>,
    /// Memory for the content at hand, and how long this client waited for it.
    permit: BodyPermit,
    waited: Duration,
    stop: watch::Receiver<bool>,
    /// Once the relay goes down: until when the transaction in hand may go on.
    going_down: Option<Instant>,
    /// A load balancer that looks whether we live: it is nobody's workstation, whatever its address.
    nobody: bool,
    patience: Patience,
    /// The certificate that the client has shown.
    shown: Option<Shown>,
}

/// Until when we wait.
#[derive(Debug)]
struct Patience {
    command_until: Instant,
    /// For the content of one transaction, however it comes and whatever is said between its chunks.
    content_until: Option<Instant>,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self {
            command_until: now + COMMAND,
            content_until: None,
        }
    }

    /// A transaction begins, and none of its content has come.
    const fn begin(&mut self) {
        self.content_until = None;
    }

    /// Until when the next bytes must come: for a command that is the time for all of it.
    fn until(
        &mut self,
        awaiting: Awaiting,
        holds_content: bool,
        progressed: bool,
        now: Instant,
    ) -> Instant {
        if awaiting == Awaiting::Command && progressed {
            self.command_until = now + COMMAND;
        }
        let next = match awaiting {
            Awaiting::Command => self.command_until,
            Awaiting::Content => now + BLOCK,
        };
        if awaiting == Awaiting::Content || holds_content {
            next.min(*self.content_until.get_or_insert(now + WHOLE_CONTENT))
        } else {
            self.content_until = None;
            next
        }
    }
}

/// Why a conversation paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    StartTls,
    Closed,
}

/// From the first byte to the last. What goes wrong ends this connection and nothing else.
async fn attend(mut visit: Visit, stream: TcpStream) {
    let client = visit.session.peer().address;
    tracing::debug!(%client, listener = visit.listener.name, "connected");
    match visit.serve(stream).await {
        Ok(()) => tracing::debug!(%client, "closed"),
        Err(fault) => tracing::debug!(%client, %fault, "broken off"),
    }
}

impl Visit {
    async fn serve(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if self.listener.tls != ListenerTls::Implicit
            && self.converse(&mut stream).await? == Pause::Closed
        {
            return Ok(());
        }
        let mut stream = self.shake_hands(stream).await?;
        self.converse(&mut stream).await.map(drop)
    }

    async fn shake_hands(&mut self, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        let Some(incoming) = &self.parts.tls else {
            return Err(io::Error::other("this listener has no certificate"));
        };
        let incoming = Arc::clone(&incoming.borrow());
        let accepted = tokio::select! {
            accepted = timeout(HANDSHAKE, incoming.accept(stream)) => accepted??,
            _ = self.stop.wait_for(|stop| *stop) => {
                return Err(io::Error::other("the relay goes down"));
            }
        };
        let certificate = accepted.shown.as_ref().map(|it| it.certificate().clone());
        if let Some(certificate) = &certificate {
            tell_of(certificate, self.session.peer().address);
        }
        self.shown = accepted.shown;
        self.session
            .tls_started(accepted.session, certificate, accepted.binding);
        Ok(Box::new(accepted.stream))
    }

    /// The client's certificate may have been revoked, or have expired, since it was shown.
    fn look_at_certificate(&mut self, now: Timestamp) {
        let (Some(shown), Some(incoming)) = (&mut self.shown, &self.parts.tls) else {
            return;
        };
        let incoming = Arc::clone(&incoming.borrow());
        if let Some(certificate) = shown.look_again(&incoming, now) {
            tell_of(certificate, self.session.peer().address);
            self.session.certificate_is(certificate.clone());
        }
    }

    /// Does what the session says until it closes or TLS is to begin.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Pause>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut progressed = true;
        loop {
            let now = Timestamp::now();
            self.look_at_certificate(now);
            match self.step(now) {
                Step::Say(reply) => self.say(&reply, stream).await?,
                Step::NeedBytes => {
                    self.send(stream).await?;
                    self.hear(stream, progressed).await?;
                    progressed = false;
                    continue;
                }
                Step::StartTls => {
                    self.send(stream).await?;
                    return Ok(Pause::StartTls);
                }
                Step::Close => {
                    self.send(stream).await?;
                    farewell(stream).await;
                    return Ok(Pause::Closed);
                }
                step => self.obey(step, now).await,
            }
            progressed = true;
        }
    }

    /// The steps that have nothing to do with the stream.
    async fn obey(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::Begin => {
                self.patience.begin();
                let table = match self.nobody {
                    true => Arc::default(),
                    false => Arc::clone(&self.parts.table.borrow()),
                };
                let reference = self.parts.spool.next_reference();
                self.session.begun(reference, table, now);
            }
            Step::Admit(origin) => {
                let client = self.session.peer().address.ip();
                let answer = self.parts.rates.check(&origin, client);
                self.session.admitted(answer, now);
            }
            Step::Reserve(octets) => self.reserve(octets).await,
            Step::Keep(received) => self.keep(*received).await,
            Step::Note(row) => self.parts.spool.note(*row),
            Step::Ask(question) => {
                let answer = self.answer(*question).await;
                self.session.answered(answer, Timestamp::now());
            }
            Step::WrongLogin(user) => {
                let client = self.session.peer().address.ip();
                self.parts.failed_logins.add(client, &user);
            }
            Step::LoggedIn(login) => {
                let client = self.session.peer().address;
                tracing::debug!(%client, user = login.name(), "logged in");
                if let Login::User(user) = login {
                    tokio::spawn(remember_login(self.parts.spool.clone(), user, now));
                }
            }
            Step::Pause(pause) => tokio::select! {
                () = sleep(pause) => {}
                _ = self.stop.wait_for(|stop| *stop) => {}
            },
            Step::Say(_) | Step::NeedBytes | Step::StartTls | Step::Close => {}
        }
    }

    /// What a login wants to know, unless too many were wrong of late.
    async fn answer(&self, question: Question) -> Answer {
        let client = self.session.peer().address.ip();
        if let Err(wait) = self.parts.failed_logins.check(client, question.user()) {
            return Answer::Limited(wait);
        }
        match timeout(CHECK, self.find_out(question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                tracing::warn!(%client, %fault, "a login could not be checked");
                Answer::Unknown
            }
            Err(_) => {
                tracing::warn!(%client, "too many logins at once: one could not be checked in time");
                Answer::Unknown
            }
        }
    }

    async fn find_out(&self, question: Question) -> Result<Answer, StoreError> {
        let down = |fault: &dyn fmt::Display| StoreError::Down(fault.to_string());
        let user = question.user().to_owned();
        let known = self.parts.spool.store().credential(user.clone()).await?;
        let Question::Password { password, .. } = question else {
            let octets = tls::random::<18>().map_err(|fault| down(&fault))?;
            return Ok(Answer::Keys {
                verifiers: Box::new(known.verifiers),
                nonce: auth::nonce(&octets),
            });
        };
        let seat = self.parts.checks.acquire().await;
        let seat = seat.map_err(|fault| down(&fault))?;
        let verifiers = known.verifiers.clone();
        let is_right = tokio::task::spawn_blocking(move || verifiers.accept(&password))
            .await
            .map_err(|fault| down(&fault))?;
        drop(seat);
        Ok(Answer::IsRight(is_right))
    }

    /// The session's next step. To analyse a large message takes a while: others go on meanwhile.
    fn step(&mut self, now: Timestamp) -> Step {
        let (session, input) = (&mut self.session, &mut self.input);
        if session.content_len() < LARGE {
            return session.read(input, now);
        }
        tokio::task::block_in_place(|| session.read(input, now))
    }

    async fn reserve(&mut self, octets: usize) {
        let (left, asked_at) = (
            self.memory_patience().saturating_sub(self.waited),
            Instant::now(),
        );
        let permit = self.parts.spool.reserve(octets, left).await;
        self.waited += asked_at.elapsed();
        let granted = permit.is_some();
        if let Some(permit) = permit {
            self.permit.merge(permit);
        } else {
            let client = self.session.peer().address;
            tracing::warn!(%client, octets, "no memory for a message");
        }
        self.session.reserved(granted, Timestamp::now());
    }

    /// How long a message may wait for memory. Clients that hold a part of it and wait for more are
    /// not given up all at once: those that go first leave theirs to the others.
    fn memory_patience(&self) -> Duration {
        let share = f64::from(self.session.peer().address.port()) / f64::from(u16::MAX);
        MEMORY.mul_f64(0.5 + share)
    }

    async fn keep(&mut self, received: Received) {
        let reference = received.envelope.reference;
        let permit = std::mem::take(&mut self.permit);
        match self.parts.spool.accept(received, permit).await {
            Ok(receipt) => self.session.kept(Ok(receipt), Timestamp::now()),
            Err(fault) => {
                tracing::warn!(%reference, %fault, "a message could not be kept");
                self.session.kept(Err(&fault), Timestamp::now());
            }
        }
    }
}

/// Speaking and listening.
impl Visit {
    async fn say<S: AsyncWrite + Unpin>(
        &mut self,
        reply: &Reply,
        stream: &mut S,
    ) -> io::Result<()> {
        self.output.extend_from_slice(&reply.wire());
        if self.output.len() > OUTPUT {
            self.send(stream).await?;
        }
        Ok(())
    }

    /// Sends all that was said. A client that does not take it is given up.
    async fn send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = &self.output;
        timeout(WRITE, async {
            stream.write_all(output).await?;
            stream.flush().await
        })
        .await??;
        self.output.clear();
        Ok(())
    }

    /// Waits for bytes, for the end of patience, or for the relay to go down.
    async fn hear<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        progressed: bool,
    ) -> io::Result<()> {
        if !self.session.holds_content() {
            self.permit = BodyPermit::default();
            self.waited = Duration::ZERO;
        }
        self.make_room();
        let deadline = self.deadline(progressed);
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop), if self.going_down.is_none() => {
                self.going_down = Some(Instant::now() + GRACE);
                self.session.shutting_down();
                Ok(())
            }
            read = stream.read_buf(&mut self.input) => match read? {
                0 if self.session.is_taking() => {
                    self.session.vanished(Timestamp::now());
                    Ok(())
                }
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            },
            () = sleep_until(deadline) => {
                let last_word = match self.going_down {
                    Some(_) => Reply::shutting_down(),
                    None => Reply::timed_out(),
                };
                self.session.end(last_word, Timestamp::now());
                Ok(())
            }
        }
    }

    /// A small buffer while a client is idle, a larger one for content.
    fn make_room(&mut self) {
        let content = self.session.awaiting() == Awaiting::Content;
        if !content && self.input.is_empty() && self.input.capacity() > BUFFER {
            self.input = BytesMut::new();
        }
        if self.input.capacity() - self.input.len() < BUFFER / 2 {
            self.input
                .reserve(if content { CONTENT_BUFFER } else { BUFFER });
        }
    }

    fn deadline(&mut self, progressed: bool) -> Instant {
        let (awaiting, holds_content) = (self.session.awaiting(), self.session.holds_content());
        let now = Instant::now();
        let until = self
            .patience
            .until(awaiting, holds_content, progressed, now);
        self.going_down.map_or(until, |grace| until.min(grace))
    }
}

/// Why a client is not who its certificate says is found here, even if it never sends anything.
fn tell_of(certificate: &Certificate, client: SocketAddr) {
    match certificate.doubt() {
        Some(doubt @ Doubt::UnknownAuthority) => {
            tracing::debug!(%client, "the certificate {certificate} {doubt}");
        }
        Some(doubt) => tracing::info!(%client, "the certificate {certificate} {doubt}"),
        None => tracing::debug!(%client, "the certificate {certificate} is good"),
    }
}

/// Remembers when a user last logged in. Nothing waits for it, and nothing depends on it.
async fn remember_login(spool: Spool, user: String, now: Timestamp) {
    let store = spool.store();
    let is_news = |known: &Known| known.used_at.is_none_or(|at| at.after(LAST_LOGIN) <= now);
    let remembered = match store.credential(user.clone()).await {
        Ok(known) if is_news(&known) => store.credential_used(user, now).await,
        Ok(_) => Ok(()),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = remembered {
        tracing::debug!(%fault, "when a user last logged in is not remembered");
    }
}

/// Closes our side and lets the client close its own, so that the last word is not lost to a reset.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let mut rest = [0; 512];
    let _ = timeout(FAREWELL, async {
        stream.shutdown().await?;
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_between_chunks_buy_no_time_for_content() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let end = start + WHOLE_CONTENT;
        patience.until(Awaiting::Content, true, true, start);
        for minutes in 1..120 {
            let now = start + Duration::from_secs(60 * minutes);
            assert!(patience.until(Awaiting::Command, true, true, now) <= end);
            assert!(patience.until(Awaiting::Content, true, true, now) <= end);
        }
    }

    #[test]
    fn every_transaction_has_its_own_time_for_content() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        for hour in 0..10 {
            let now = start + WHOLE_CONTENT * hour;
            patience.begin();
            assert_eq!(
                patience.until(Awaiting::Content, true, true, now),
                now + BLOCK
            );
        }
        let now = start + WHOLE_CONTENT * 20;
        assert_eq!(
            patience.until(Awaiting::Command, false, true, now),
            now + COMMAND
        );
        let later = now + BLOCK;
        assert_eq!(
            patience.until(Awaiting::Command, false, false, later),
            now + COMMAND
        );
        assert_eq!(
            patience.until(Awaiting::Content, true, true, later),
            later + BLOCK
        );
    }
}
