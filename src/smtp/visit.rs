//! One connection: its stream, its session, and all that is held for it.
//!
//! Does what the session says and brings the answers back; decides nothing about mail. A client that
//! is silent, slow or gone costs its own task and the few KiB it holds, and ends nothing but itself.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::auth::{self, Answer, Question};
use super::patience::Patience;
use super::server::{ListenerSettings, ListenerTls, Parts};
use super::session::{Awaiting, Session, Step};
use crate::limits::Tab;
use crate::mail::{Login, Received, Reply, Timestamp};
use crate::spool::store::{Known, StoreError};
use crate::spool::{BodyPermit, Spool};
use crate::tls;

/// For a client to take what we say.
const WRITE: Duration = Duration::from_secs(180);
const HANDSHAKE: Duration = Duration::from_secs(30);
/// For transactions in hand, once the relay goes down.
pub(super) const GRACE: Duration = Duration::from_secs(20);
/// For a client to close after the last word.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// Octets of a message from which on its analysis may hold up others.
const LARGE: usize = 512 * 1024;
/// For others to give memory back, before the client hears 452.
const MEMORY: Duration = Duration::from_secs(10);
/// For a password to be checked, those of others first.
const CHECK: Duration = Duration::from_secs(10);
/// How exactly it is remembered when a user last logged in: each time is a write.
const LAST_LOGIN: Duration = Duration::from_secs(60);
/// What a connection reads into: while it waits, and while content comes.
const BUFFER: usize = 8 * 1024;
const CONTENT_BUFFER: usize = 16 * 1024;
/// Replies to pipelined commands are sent together, as long as they are not too many.
const OUTPUT: usize = 32 * 1024;

/// One connection, and all that is held for it.
pub(super) struct Visit {
    parts: Arc<Parts>,
    listener: ListenerSettings,
    session: Session,
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
}

/// Why a conversation paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    StartTls,
    Closed,
}

/// From the first byte to the last. What goes wrong ends this connection and nothing else.
pub(super) async fn attend(mut visit: Visit, stream: TcpStream) {
    let client = visit.session.peer().address;
    tracing::debug!(%client, listener = visit.listener.name, "connected");
    match visit.serve(stream).await {
        Ok(()) => tracing::debug!(%client, "closed"),
        Err(fault) => tracing::debug!(%client, %fault, "broken off"),
    }
}

impl Visit {
    pub(super) fn new(parts: Arc<Parts>, listener: ListenerSettings, session: Session) -> Self {
        Self {
            stop: parts.stop.clone(),
            parts,
            listener,
            session,
            input: BytesMut::new(),
            output: Vec::new(),
            permit: BodyPermit::default(),
            waited: Duration::ZERO,
            tab: None,
            going_down: None,
            nobody: false,
            patience: Patience::new(Instant::now()),
        }
    }

    /// It is a load balancer itself.
    pub(super) fn of_nobody(self) -> Self {
        Self {
            nobody: true,
            ..self
        }
    }

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
        self.session.tls_started(
            accepted.session,
            accepted.certificate_names,
            accepted.binding,
        );
        Ok(Box::new(accepted.stream))
    }

    /// Does what the session says until it closes or TLS is to begin.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Pause>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut progressed = true;
        loop {
            let now = Timestamp::now();
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
                self.tab = None;
                let table = match self.nobody {
                    true => Arc::default(),
                    false => Arc::clone(&self.parts.table.borrow()),
                };
                let reference = self.parts.spool.next_reference();
                self.session.begun(reference, table, now);
            }
            Step::Admit(_) | Step::AdmitRecipients(_) | Step::Weigh(_) | Step::Count => {
                self.limit(step, now);
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
            Step::Count => {
                if let Some(tab) = self.tab.take() {
                    tab.settle();
                }
            }
            _ => {}
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
        let tab = self.tab.take();
        match self.parts.spool.accept(received, permit).await {
            Ok(receipt) => {
                if let Some(tab) = tab {
                    tab.settle();
                }
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
        if !self.session.is_in_transaction() {
            self.tab = None;
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
