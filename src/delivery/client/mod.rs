//! One connection to a next hop, by SMTP or LMTP: opened, secured, used for transactions, kept or
//! closed.
//!
//! `opening` leads to a connection that is ready for mail, `probe` tells how, `sasl` logs in, `extensions` says what a
//! hop offers and what a message asks of it, `transaction` hands one message over, and `wire` is
//! the bytes, where the crate `mail-send` lives: it connects and starts TLS. The conversation is our
//! own, since each recipient has an outcome of its own and content goes out byte for byte. Decides
//! nothing about outcomes: whatever stands in the way is named with its stage and judged in
//! [`outcome`](super::outcome). Every wait has an end, and a stage's timeout is for the whole of what
//! is waited for, however slowly it trickles in.

mod extensions;
mod opening;
mod probe;
mod sasl;
mod transaction;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answers::{Answers, Spoken};
use super::maildir::Writers;
use super::outcome::{Fate, Outcome, Stage, Trouble, judge};
use super::patience::Patience;
use super::resolve::Resolver;
use super::trust::Trust;
use super::ways::Ways;
use crate::mail::{Content, Timestamp};
use crate::spool::store::Waiting;

use extensions::Offers;
pub use opening::Call;
pub use probe::{Probe, Step};
use wire::Wire;

/// How long each stage may take. RFC 5321 §4.5.3.2 gives the values beside them for a world of
/// slow links; a control room's hop that needs longer is tried again instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// §4.5.3.2.1: 5 min.
    pub greeting: Duration,
    /// For EHLO, STARTTLS with its handshake, and AUTH, each.
    pub hello: Duration,
    /// §4.5.3.2.2, §4.5.3.2.3: 5 min.
    pub envelope: Duration,
    /// §4.5.3.2.4: 2 min.
    pub data: Duration,
    /// §4.5.3.2.5: 3 min a block.
    pub block: Duration,
    /// §4.5.3.2.6: 10 min.
    pub final_dot: Duration,
    /// For the farewell.
    pub quit: Duration,
    /// A whole attempt, all next hops together.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(30),
            hello: Duration::from_secs(30),
            envelope: Duration::from_secs(60),
            data: Duration::from_secs(60),
            block: Duration::from_secs(60),
            final_dot: Duration::from_secs(300),
            quit: Duration::from_secs(2),
            whole: Duration::from_secs(900),
        }
    }
}

/// Where the conversation broke, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    pub stage: Stage,
    pub trouble: Trouble,
}

impl Setback {
    pub const fn new(stage: Stage, trouble: Trouble) -> Self {
        Self { stage, trouble }
    }

    pub fn fate(self) -> Fate {
        judge(self.stage, self.trouble)
    }

    /// What stood in the way, as an attempt would tell it.
    pub fn words(&self) -> String {
        match self.clone().fate().outcome {
            Outcome::Delivered(answer) => answer.to_string(),
            Outcome::Deferred(cause)
            | Outcome::Failed(cause)
            | Outcome::PossiblyDelivered(cause) => cause.to_string(),
        }
    }

    /// A kept connection that the hop had closed, or closes instead of hearing MAIL, or that has
    /// fallen out of step.
    fn is_parting(&self) -> bool {
        self.stage == Stage::Mail
            && match &self.trouble {
                Trouble::Closed | Trouble::Network(_) => true,
                Trouble::Nonsense(what) => what == UNASKED,
                Trouble::Said(answer) => answer.code == 421,
                _ => false,
            }
    }
}

/// What one transaction carries.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// Any of its recipients: what is the same for all of them.
    pub message: &'a Waiting,
    pub recipients: Vec<&'a Waiting>,
    pub content: &'a Content,
    pub now: Timestamp,
}

/// What all connections share.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Said with EHLO.
    pub hostname: String,
    pub trust: Trust,
    pub resolver: Arc<Resolver>,
    pub timeouts: Timeouts,
    /// What was found out about the ways there.
    pub ways: Ways,
    /// Those that write to Maildirs.
    pub writers: Writers,
}

/// What is spoken. LMTP (RFC 2033) is SMTP with another greeting and an answer per recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Smtp,
    Lmtp,
}

impl Dialect {
    const fn hello(self) -> &'static str {
        match self {
            Self::Smtp => "EHLO",
            Self::Lmtp => "LHLO", // RFC 2033 §4.1
        }
    }
}

/// How what is sent is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    PlainText,
    /// It never leaves this machine.
    Local,
    /// TLS with a server that did not prove who it is.
    Unverified,
    Verified,
}

/// An open connection, past EHLO and whatever comes with it.
pub struct Connection {
    wire: Wire,
    dialect: Dialect,
    answers: Answers,
    offers: Offers,
    timeouts: Timeouts,
    patience: Patience,
    guard: Guard,
    tls: Arc<str>,
    /// A transaction was begun and not ended: RSET comes before the next.
    begun: bool,
    /// Out of step, or closed: not to be used again.
    broken: bool,
    /// It was kept, so that the hop may have closed it since.
    rested: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("dialect", &self.dialect)
            .field("offers", &self.offers)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Connection {
    fn new(wire: Wire, dialect: Dialect, timeouts: Timeouts, deadline: Instant) -> Self {
        let guard = match wire {
            Wire::Socket(_) => Guard::Local,
            _ => Guard::PlainText,
        };
        Self {
            wire,
            dialect,
            answers: Answers::default(),
            offers: Offers::default(),
            timeouts,
            patience: Patience::until(deadline),
            guard,
            tls: "none".into(),
            begun: false,
            broken: false,
            rested: false,
        }
    }

    /// TLS version and cipher suite, or `none`.
    pub fn tls(&self) -> Arc<str> {
        Arc::clone(&self.tls)
    }

    /// Whether another transaction may follow.
    pub const fn is_usable(&self) -> bool {
        !self.broken
    }

    /// Whether a message may be sent that must not be read on the way (RFC 8689 §4.2.1).
    pub const fn is_guarded(&self) -> bool {
        matches!(self.guard, Guard::Local | Guard::Verified)
    }

    /// Belongs to an attempt from now on.
    pub fn serve(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Takes up a connection that was kept.
    pub fn resume(&mut self, patience: Patience) {
        self.patience = patience;
        self.rested = true;
    }

    /// Says QUIT and waits a moment for the answer (RFC 5321 §4.1.1.10).
    pub async fn quit(self) {
        // Whatever it answers, this was the end.
        drop(self.part().await);
    }

    /// The same; gives the answer, where one came.
    async fn part(mut self) -> Option<Spoken> {
        let wait = self.timeouts.quit;
        self.patience = Patience::until(Instant::now() + wait);
        if self.broken || self.write(b"QUIT\r\n", Stage::Mail, wait).await.is_err() {
            return None;
        }
        self.answer(Stage::Mail, wait).await.ok()
    }

    /// The answer to a command, which was already written where the hop takes pipelining.
    async fn ask(
        &mut self,
        command: &[u8],
        stage: Stage,
        wait: Duration,
    ) -> Result<Spoken, Setback> {
        if self.offers.pipelining {
            return self.answer(stage, wait).await;
        }
        self.say(command, stage, wait).await
    }

    /// Writes a command and hears the answer.
    async fn say(
        &mut self,
        command: &[u8],
        stage: Stage,
        wait: Duration,
    ) -> Result<Spoken, Setback> {
        self.expect_silence(stage).await?;
        self.write(command, stage, wait).await?;
        self.answer(stage, wait).await
    }

    async fn write(&mut self, bytes: &[u8], stage: Stage, wait: Duration) -> Result<(), Setback> {
        match self.patience.wait(wait, self.wire.write(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Setback::new(stage, lost(&error))),
            Err(trouble) => Err(Setback::new(stage, trouble)),
        }
    }

    async fn answer(&mut self, stage: Stage, wait: Duration) -> Result<Spoken, Setback> {
        let (wire, answers) = (&mut self.wire, &mut self.answers);
        let heard = self.patience.wait(wait, hear(wire, answers)).await;
        heard
            .and_then(|it| it)
            .map_err(|it| Setback::new(stage, it))
    }
}

/// What is said of an answer to nothing.
const UNASKED: &str = "it answered what was not asked";

impl Connection {
    /// Whoever has said more than was asked may be taken to have said yes to what comes next: then
    /// nothing more goes out. Does not wait for anything.
    async fn expect_silence(&mut self, stage: Stage) -> Result<(), Setback> {
        let fault = |trouble| Err(Setback::new(stage, trouble));
        if self.answers.is_empty() {
            let unread = self.answers.unread();
            unread.reserve(1024);
            tokio::select! {
                biased;
                read = self.wire.read(unread) => match read {
                    Ok(0) => return fault(Trouble::Closed),
                    Ok(_) => {}
                    Err(error) => return fault(lost(&error)),
                },
                () = std::future::ready(()) => return Ok(()),
            }
        }
        match self.answers.complete() {
            // RFC 5321 §3.8: 421 may be said at any time; and a message may be refused early.
            Ok(Some(answer))
                if answer.code == 421 || stage >= Stage::Data && answer.code >= 400 =>
            {
                fault(Trouble::Said(answer.into_answer()))
            }
            _ => fault(Trouble::Nonsense(UNASKED.to_owned())),
        }
    }
}

/// The next answer, however long it takes.
async fn hear(wire: &mut Wire, answers: &mut Answers) -> Result<Spoken, Trouble> {
    loop {
        if let Some(answer) = answers.complete().map_err(Trouble::Nonsense)? {
            return Ok(answer);
        }
        let unread = answers.unread();
        unread.reserve(1024);
        match wire.read(unread).await {
            Ok(0) => return Err(Trouble::Closed),
            Ok(_) => {}
            Err(error) => return Err(lost(&error)),
        }
    }
}

fn lost(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Trouble::Closed,
        _ => Trouble::network(error),
    }
}

impl Spoken {
    fn expect(self, stage: Stage, codes: std::ops::RangeInclusive<u16>) -> Result<Self, Setback> {
        if codes.contains(&self.code) {
            Ok(self)
        } else {
            Err(Setback::new(stage, Trouble::Said(self.into_answer())))
        }
    }
}
