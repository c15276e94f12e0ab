//! One connection: its stream, its session, and all that is held for it.
//!
//! Does what the session says and brings the answers back; decides nothing about mail. A client that
//! is silent, slow or gone costs its own task and the few KiB it holds, and ends nothing but itself:
//! it is cut when its time is over, or earlier when others need the place, and a row of the log says why.

mod login;

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::patience::{Overdue, Patience};
use super::server::{ListenerSettings, ListenerTls, Parts};
use super::session::{Session, Step};
use crate::lifecycle::Ruling;
use crate::limits::{Seat, Tab};
use crate::mail::{Certificate, Doubt, Login, Received, Reply, Timestamp};
use crate::spool::BodyPermit;
use crate::tls::Shown;

/// For transactions in hand, once the relay goes down.
pub(super) const GRACE: Duration = Duration::from_secs(20);
/// For a client to close after the last word.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// Octets of a message from which on its analysis may hold up others.
const LARGE: usize = 512 * 1024;
/// For others to give memory back, before the client hears 452.
const MEMORY: Duration = Duration::from_secs(10);
/// Octets read at once. Who waits has no buffer at all.
const AT_ONCE: usize = 16 * 1024;
/// Replies to pipelined commands are sent together, as long as they are not too many.
const OUTPUT: usize = 32 * 1024;

/// One connection, and all that is held for it.
pub(super) struct Visit {
    parts: Arc<Parts>,
    listener: ListenerSettings,
    session: Session,
    seat: Seat,
    input: BytesMut,
    output: Vec<u8>,
    /// Memory for the content at hand, and how long this client waited for it.
    permit: BodyPermit,
    waited: Duration,
    /// What the limits have granted to the transaction at hand.
    tab: Option<Tab>,
    stop: watch::Receiver<bool>,
    /// Once the relay goes down: until when the transaction in hand may go on.
    going_down: Option<Instant>,
    /// A load balancer that looks whether we live: it is nobody's workstation, whatever its address.
    nobody: bool,
    patience: Patience,
    /// The certificate that the client has shown.
    shown: Option<Shown>,
    /// The salt of whatever the last login was checked against: another one, another password.
    checked_against: Vec<u8>,
    /// Its time is over: it hears the last word at once, or not at all.
    is_cut: bool,
}

/// What is the client's fault, and ends its connection with a row of the log.
#[derive(Debug)]
enum Fault {
    Handshake,
    Replies,
    Tls(String),
    /// Somebody else needs its place.
    Place,
}

impl Fault {
    fn reply(&self) -> Reply {
        match self {
            Self::Handshake => Reply::handshake_too_slow(),
            Self::Replies => Reply::replies_not_taken(),
            Self::Tls(cause) => Reply::tls_failed(cause),
            Self::Place => Reply::place_needed(),
        }
    }
}

/// How a connection ends before its time.
#[derive(Debug)]
enum Broken {
    /// By the network, or by us: nobody is told.
    Io(io::Error),
    Cut(Fault),
}

impl From<io::Error> for Broken {
    /// The TLS library tells of what breaks its rules as invalid data.
    fn from(fault: io::Error) -> Self {
        match fault.kind() {
            io::ErrorKind::InvalidData => Self::Cut(Fault::Tls(fault.to_string())),
            _ => Self::Io(fault),
        }
    }
}

/// Why a conversation paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    StartTls,
    Closed,
}

/// What came while a client was listened to.
enum Heard {
    /// None: it hung up.
    Octets(usize),
    Nothing,
    PlaceNeeded,
    /// The relay goes down.
    Stop,
}

/// From the first byte to the last. What goes wrong ends this connection and nothing else.
pub(super) async fn attend(mut visit: Visit, stream: TcpStream) {
    let client = visit.session.peer().address;
    tracing::debug!(%client, listener = visit.listener.name, "connected");
    match visit.serve(stream).await {
        Ok(()) => tracing::debug!(%client, "closed"),
        Err(Broken::Io(fault)) => {
            tracing::debug!(%client, %fault, "broken off");
            visit.note_vanished();
        }
        Err(Broken::Cut(fault)) => {
            tracing::debug!(%client, ?fault, "cut");
            visit.note_cut(fault.reply());
        }
    }
}

impl Visit {
    pub(super) fn new(
        parts: Arc<Parts>,
        listener: ListenerSettings,
        session: Session,
        seat: Seat,
    ) -> Self {
        Self {
            stop: parts.stop.clone(),
            patience: Patience::new(&parts.limits.timeouts, Instant::now()),
            parts,
            listener,
            session,
            seat,
            input: BytesMut::new(),
            output: Vec::new(),
            permit: BodyPermit::default(),
            waited: Duration::ZERO,
            tab: None,
            going_down: None,
            nobody: false,
            is_cut: false,
            shown: None,
            checked_against: Vec::new(),
        }
    }

    /// It is a load balancer itself.
    pub(super) fn of_nobody(self) -> Self {
        Self {
            nobody: true,
            ..self
        }
    }

    async fn serve(&mut self, mut stream: TcpStream) -> Result<(), Broken> {
        stream.set_nodelay(true)?;
        if self.listener.tls != ListenerTls::Implicit {
            let paused = self.converse(&mut stream).await;
            if forgotten_if_cut(paused, &stream)? == Pause::Closed {
                return Ok(());
            }
        }
        // In a box: what a handshake needs is nothing that a connection keeps.
        let mut stream = Box::pin(self.shake_hands(stream)).await?;
        let closed = self.converse(&mut stream).await;
        forgotten_if_cut(closed, stream.get_ref().0).map(drop)
    }

    async fn shake_hands(
        &mut self,
        stream: TcpStream,
    ) -> Result<Box<TlsStream<TcpStream>>, Broken> {
        let Some(incoming) = &self.parts.tls else {
            let cause = "this listener has no certificate";
            return Err(Broken::Io(io::Error::other(cause)));
        };
        let incoming = Arc::clone(&incoming.borrow());
        let patience = self.parts.limits.timeouts.handshake;
        let accepted = tokio::select! {
            accepted = timeout(patience, incoming.accept(stream)) => {
                accepted.map_err(|_| Broken::Cut(Fault::Handshake))??
            }
            () = self.seat.is_needed() => return Err(Broken::Cut(Fault::Place)),
            _ = self.stop.wait_for(|stop| *stop) => {
                return Err(Broken::Io(io::Error::other("the relay goes down")));
            }
        };
        let certificate = accepted.shown.as_ref().map(|it| it.certificate().clone());
        if let Some(certificate) = &certificate {
            tell_of(certificate, self.session.peer().address);
            if !certificate.names().is_empty() {
                self.has_shown_itself();
            }
        }
        self.shown = accepted.shown;
        self.session
            .tls_started(accepted.session, certificate, accepted.binding);
        Ok(Box::new(accepted.stream))
    }

    /// It is no stranger, now and when it comes again.
    fn has_shown_itself(&mut self) {
        self.seat.is_known();
        let address = self.session.peer().address.ip();
        let now = Instant::now().into_std();
        self.parts.acquaintances.add(address, now);
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
    async fn converse<S>(&mut self, stream: &mut S) -> Result<Pause, Broken>
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
                    // Nothing is left of a transaction, and the handshake may take its time.
                    self.tab = None;
                    self.permit = BodyPermit::default();
                    self.waited = Duration::ZERO;
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
                self.tab = None;
                let table = match self.nobody {
                    true => Arc::default(),
                    false => Arc::clone(&self.parts.table.borrow()),
                };
                let reference = self.parts.spool.next_reference();
                match self.login_in_vain().await {
                    Some(why) => self.session.begun_in_vain(why, reference, now),
                    None => self.session.begun(reference, table, now),
                }
            }
            Step::Admit(_) | Step::AdmitRecipients(_) | Step::Weigh(_) | Step::Count(_) => {
                self.limit(step, now);
            }
            Step::Reserve(octets) => self.reserve(octets).await,
            Step::Keep(received) => self.keep(*received).await,
            Step::Note(row) => self.parts.spool.note(*row),
            Step::Seen(sighting) => self.parts.spool.saw(*sighting),
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
                self.has_shown_itself();
                if let Login::User(user) = login {
                    tokio::spawn(login::remember(self.parts.spool.clone(), user, now));
                }
            }
            Step::Pause(pause) => tokio::select! {
                () = sleep(pause) => {}
                _ = self.stop.wait_for(|stop| *stop) => {}
            },
            Step::Say(_) | Step::NeedBytes | Step::StartTls | Step::Close => {}
        }
    }

    /// The steps that the limits answer.
    fn limit(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::Admit(admission) => {
                let admitted = self.parts.rates.admit(*admission);
                let answer = admitted.map(|tab| self.tab = Some(tab));
                self.session.admitted(answer, now);
            }
            Step::AdmitRecipients(count) => {
                let answer = self.tab.as_mut();
                let answer = answer.map_or(Ok(()), |it| it.add_recipients(count));
                self.session.recipients_admitted(answer, now);
            }
            Step::Weigh(weight) => {
                let answer = self.tab.as_mut().map_or(Ok(()), |it| it.weigh(weight));
                if answer.is_err() {
                    self.tab = None;
                }
                self.session.weighed(answer, now);
            }
            Step::Count(octets) => {
                if let Some(tab) = &mut self.tab {
                    tab.count(octets);
                }
            }
            _ => {}
        }
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
        let spool = &self.parts.spool;
        let granted = spool.reserve_more(&mut self.permit, octets, left).await;
        self.waited += asked_at.elapsed();
        self.patience.excuse(asked_at.elapsed());
        if !granted {
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

    /// Scans it, and keeps it if that lets it through.
    async fn keep(&mut self, received: Received) {
        let reference = received.envelope.reference;
        let mut permit = std::mem::take(&mut self.permit);
        let tab = self.tab.take();
        let (ruling, mut unfinished) = self.parts.gate.before_it_is_kept(&received).await;
        if let Some(unfinished) = &mut unfinished {
            unfinished.permit = std::mem::take(&mut permit);
        }
        let keeping = match ruling {
            Ruling::Refused(refused) => {
                if let Some(unfinished) = unfinished {
                    let message = &received.content.bytes;
                    self.parts.gate.set_aside(message, unfinished);
                }
                return self.session.not_passed(*refused, Timestamp::now());
            }
            Ruling::Kept(keeping) => keeping,
        };
        match self.parts.spool.accept(received, &keeping, permit).await {
            Ok(receipt) => {
                if let Some(unfinished) = unfinished {
                    self.parts.gate.take_over(reference, unfinished);
                } else if keeping.scan.is_some() {
                    self.parts.gate.wake();
                }
                if let Some(tab) = tab {
                    tab.settle();
                }
                let now = Instant::now();
                self.patience.kept(&self.parts.limits.timeouts, now);
                self.seat.has_served(now.into_std());
                self.session.kept(Ok(receipt), Timestamp::now());
            }
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
    ) -> Result<(), Broken> {
        self.output.extend_from_slice(&reply.wire());
        if self.output.len() > OUTPUT {
            self.send(stream).await?;
        }
        Ok(())
    }

    /// Sends all that was said. A client that does not take it is given up.
    async fn send<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), Broken> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let patience = match self.is_cut {
            true => FAREWELL,
            false => self.parts.limits.timeouts.replies,
        };
        let sent = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        tokio::select! {
            biased;
            sent = timeout(patience, sent) => match sent {
                Ok(sent) => Ok(sent?),
                Err(_) if self.is_cut => Err(Broken::Io(io::ErrorKind::TimedOut.into())),
                Err(_) => Err(Broken::Cut(Fault::Replies)),
            },
            () = self.seat.is_needed(), if !self.is_cut && !self.session.is_busy() => {
                Err(Broken::Cut(Fault::Place))
            }
        }
    }

    /// Waits for bytes, for the end of patience, for others to need the place, or for the relay to go
    /// down.
    async fn hear<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        progressed: bool,
    ) -> Result<(), Broken> {
        if !self.session.holds_content() {
            self.permit = BodyPermit::default();
            self.waited = Duration::ZERO;
        }
        if !self.session.is_busy() {
            self.tab = None;
        }
        if self.input.is_empty() {
            // Nobody knows for how long nothing comes: until then nothing is kept for it.
            self.input = BytesMut::new();
        }
        let is_busy = self.session.is_busy();
        let (deadline, overdue) = self.deadline(is_busy, progressed);
        let heard = tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop), if self.going_down.is_none() => Heard::Stop,
            read = read(stream, &mut self.input) => Heard::Octets(read?),
            () = self.seat.is_needed(), if !is_busy => Heard::PlaceNeeded,
            () = sleep_until(deadline) => Heard::Nothing,
        };
        let now = Timestamp::now();
        match heard {
            Heard::Octets(0) if self.session.has_recipients() => {
                self.is_cut = true;
                self.session.vanished(now);
            }
            Heard::Octets(0) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
            Heard::Octets(octets) => {
                let timeouts = &self.parts.limits.timeouts;
                self.patience.heard(octets, timeouts, Instant::now());
            }
            Heard::Stop => {
                self.going_down = Some(Instant::now() + GRACE);
                self.session.shutting_down();
            }
            Heard::Nothing if self.going_down.is_some() => {
                self.session.end(Reply::shutting_down(), now);
            }
            Heard::Nothing => self.cut(overdue.reply()),
            Heard::PlaceNeeded => self.cut(Reply::place_needed()),
        }
        Ok(())
    }

    fn cut(&mut self, last_word: Reply) {
        self.is_cut = true;
        self.session.cut(last_word, Timestamp::now());
    }

    fn deadline(&mut self, is_busy: bool, progressed: bool) -> (Instant, Overdue) {
        let (awaiting, holds_content) = (self.session.awaiting(), self.session.holds_content());
        let now = Instant::now();
        self.seat.is_busy(is_busy, now.into_std());
        let timeouts = &self.parts.limits.timeouts;
        let until = self
            .patience
            .until(awaiting, holds_content, progressed, timeouts, now);
        match self.going_down {
            Some(grace) => (until.0.min(grace), until.1),
            None => until,
        }
    }

    /// The rows of a client that hears nothing any more, whatever it was in the middle of.
    fn note_cut(&mut self, last_word: Reply) {
        let now = Timestamp::now();
        self.session.cut(last_word, now);
        self.note_what_is_left(now);
    }

    /// The rows of a client that is gone. Where they are written already, there are no more of them.
    fn note_vanished(&mut self) {
        let now = Timestamp::now();
        self.session.vanished(now);
        self.note_what_is_left(now);
    }

    /// Of a session that is over: nobody hears what it says.
    fn note_what_is_left(&mut self, now: Timestamp) {
        let spool = &self.parts.spool;
        loop {
            match self.session.read(&mut self.input, now) {
                Step::Note(row) => spool.note(*row),
                Step::Begin => {
                    let reference = spool.next_reference();
                    self.session.begun(reference, Arc::default(), now);
                }
                Step::NeedBytes | Step::Close => return,
                _ => {}
            }
        }
    }
}

/// Why a client is not who its certificate says is found here, even if it never sends anything. What
/// anybody can show fills no log: only what our authority has signed is told of.
fn tell_of(certificate: &Certificate, client: SocketAddr) {
    match certificate.doubt() {
        Some(doubt @ (Doubt::Revoked | Doubt::Expired(_) | Doubt::NotYetValid(_))) => {
            tracing::info!(%client, "the certificate {certificate} {doubt}");
        }
        Some(doubt) => tracing::debug!(%client, "the certificate {certificate} {doubt}"),
        None => tracing::debug!(%client, "the certificate {certificate} is good"),
    }
}

/// Reads what has come into `input`, which needs no room before anything has.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, input: &mut BytesMut) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        let mut octets = [const { MaybeUninit::uninit() }; AT_ONCE];
        let mut read = ReadBuf::uninit(&mut octets);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        input.extend_from_slice(read.filled());
        // There may be a password in it.
        zeroize::Zeroize::zeroize(read.filled_mut());
        Ok(read.filled().len()).into()
    })
    .await
}

/// Of a client that is cut nothing is kept, not even by the kernel what it did not take.
fn forgotten_if_cut<T>(outcome: Result<T, Broken>, stream: &TcpStream) -> Result<T, Broken> {
    if let Err(Broken::Cut(_)) = outcome {
        let _ = stream.set_zero_linger();
    }
    outcome
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
