//! The server's side of one SMTP dialogue, as a state machine: bytes and answers in, steps out.
//!
//! Decides the order of things (RFC 5321 §4.1.4, RFC 2920, RFC 3030, RFC 3207, RFC 4954) and what is offered to
//! whom, and asks policy; what may be sent to whom is policy's. It never touches a socket, a clock or the store: whoever drives
//! it does what a [`Step`] says and brings the answer back. Nothing of a transaction that was broken
//! off remains. It cannot fail: what a client does wrong is a reply, and our own trouble is a 4xx.
//!
//! Here are the states and the reading of lines; `verbs` obeys them, `login` is AUTH, `content` is all
//! that follows DATA and BDAT, `speaking` says and notes what came of it.

mod content;
mod login;
mod speaking;
mod verbs;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};

use self::content::{Discarding, Intake, facts_so_far};
use super::auth::{Exchange, Means, Question};
use super::command::{self, Fault, Verb};
use super::data::Reader;
use super::line::{Line, Lines};
use super::transaction::{Attempt, Outline, Request, Transaction, Verdict};
use crate::mail::{
    Admission, Certificate, Facts, Login, Peer, Protocol, Received, Refusal, Reply, Sighting,
    Timestamp, TlsSession, Weight,
};

/// Errors before a client hears 421. product.md promises at least 20.
const MOST_ERRORS: u32 = 50;
/// Commands without a message before a client hears 421. product.md promises at least 1,000.
const MOST_COMMANDS: u32 = 1024;

/// What every session of the relay is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub hostname: String,
    /// Octets of content.
    pub message_size: usize,
    /// Recipients of one message.
    pub recipients: usize,
}

/// Where a session stands with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not offered: there is none here, or it is in use already.
    NotOffered,
    Offered,
    /// Offered, and no mail is taken before it.
    Required,
}

/// What the session wants done. Answers come back through the method named.
#[derive(Debug)]
pub enum Step {
    Say(Reply),
    /// [`Session::read`] with more bytes.
    NeedBytes,
    /// Shake hands, once everything said has been sent: [`Session::tls_started`].
    StartTls,
    /// A transaction begins, or is refused before it began: [`Session::begun`].
    Begin,
    /// A message is to come: is who sends it within its limits? [`Session::admitted`].
    Admit(Box<Admission>),
    /// The same for so many recipients of it. [`Session::recipients_admitted`].
    AdmitRecipients(u64),
    /// The same for all of it. [`Session::weighed`].
    Weigh(Weight),
    /// It was refused for good, and counts as a message all the same, with so many octets of it. More
    /// of it may be counted later.
    Count(u64),
    /// Memory for so many more octets: [`Session::reserved`].
    Reserve(usize),
    /// What a login wants to know: [`Session::answered`].
    Ask(Box<Question>),
    /// Somebody is not the user it says.
    WrongLogin(String),
    LoggedIn(Login),
    /// The client is to wait for what is said next; nobody else is.
    Pause(Duration),
    /// Keep it: [`Session::kept`].
    Keep(Box<Received>),
    /// A row for the log.
    Note(Box<Refusal>),
    /// A workstation was let in.
    Seen(Box<Sighting>),
    Close,
}

/// Why a login counts no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InVain {
    /// The user's password was changed or removed.
    Changed,
    /// Our own trouble: it cannot be told.
    Unknown,
}

/// For what a session waits when it needs bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaiting {
    Command,
    /// What the client says within AUTH.
    Login,
    Content,
}

/// One dialogue.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    peer: Peer,
    tls: Tls,
    state: State,
    lines: Lines,
    steps: VecDeque<Step>,
    errors: u32,
    /// Commands since the last message.
    commands: u32,
    refused_logins: u32,
    means: Means,
    shutting_down: bool,
    /// The time at which it was last told anything.
    now: Timestamp,
}

#[derive(Debug)]
enum State {
    /// No transaction; what was refused last gives its reference to what was pipelined behind it.
    Idle(Option<Attempt>),
    /// Waiting for [`Session::begun`].
    Beginning(Beginning),
    /// Waiting for [`Session::admitted`] or [`Session::recipients_admitted`].
    Admitting(Box<Transaction>),
    /// In the middle of a login, whose next line is awaited.
    LoggingIn(Box<Exchange>),
    /// Waiting for [`Session::answered`].
    Asking(Box<Exchange>),
    /// MAIL was accepted; with an intake, chunks of content have come already.
    Open(Box<Transaction>, Option<Box<Intake>>),
    /// Waiting for [`Session::reserved`], before content or within it.
    Reserving(Box<Transaction>, Box<Intake>, usize),
    /// Reading content.
    Taking(Box<Transaction>, Box<Intake>),
    /// Reading content to its true end, to refuse it then.
    Discarding(Box<Discarding>),
    /// Waiting for [`Session::weighed`].
    Weighing(Box<Outline>, Box<Received>),
    /// Waiting for [`Session::kept`].
    Keeping(Box<Outline>),
    Closed,
}

/// Why a reference is needed.
#[derive(Debug)]
enum Beginning {
    Mail(Request),
    Refuse(Refused),
    /// A login is refused.
    Login {
        user: String,
        reply: Reply,
    },
}

/// A command refused outside a transaction.
#[derive(Debug)]
struct Refused {
    verdict: Box<Verdict>,
    sender: Option<String>,
    after: After,
}

/// What follows a refused command.
#[derive(Debug)]
enum After {
    Nothing,
    /// The octets of a chunk, to be thrown away.
    DiscardChunk(u64),
    /// The rest of DATA, to be thrown away.
    DiscardData(Reader),
    /// We cannot know where the next command starts.
    Close,
}

/// Starting and stopping.
impl Session {
    pub fn new(settings: Arc<Settings>, address: SocketAddr, tls: Tls) -> Self {
        let greeting = Step::Say(Reply::greeting(&settings.hostname));
        Self {
            settings,
            peer: Peer {
                address,
                helo: String::new(),
                protocol: Protocol::Smtp,
                tls: None,
                certificate: None,
                user: None,
            },
            tls,
            state: State::Idle(None),
            lines: Lines::default(),
            steps: VecDeque::from([greeting]),
            errors: 0,
            commands: 0,
            refused_logins: 0,
            means: Means::default(),
            shutting_down: false,
            now: Timestamp::from_millis(0),
        }
    }

    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub const fn awaiting(&self) -> Awaiting {
        match &self.state {
            State::Taking(..) | State::Discarding(..) => Awaiting::Content,
            State::LoggingIn(_) => Awaiting::Login,
            _ => Awaiting::Command,
        }
    }

    /// Whether memory that was granted is still in use.
    pub const fn holds_content(&self) -> bool {
        matches!(
            &self.state,
            State::Taking(..) | State::Reserving(..) | State::Open(_, Some(_))
        )
    }

    /// TLS before the first byte, or in answer to [`Step::StartTls`]. All that was known of the
    /// client is forgotten (RFC 3207 §4.2). `binding`: what names this very TLS session.
    pub fn tls_started(
        &mut self,
        tls: TlsSession,
        certificate: Option<Certificate>,
        binding: Option<[u8; 32]>,
    ) {
        self.peer.tls = Some(tls);
        self.peer.certificate = certificate;
        let names = self.peer.certificate_names().into();
        self.means = Means { binding, names };
        self.peer.user = None;
        self.peer.helo.clear();
        self.tls = Tls::NotOffered;
        self.state = State::Idle(None);
    }

    /// The client's certificate has expired, was revoked, or is good again: from now on it counts for
    /// what it comes to now, and whoever logged in with a name that it no longer proves is logged out.
    pub fn certificate_is(&mut self, certificate: Certificate) {
        self.means.names = certificate.names().into();
        self.peer.certificate = Some(certificate);
        if let Some(Login::Certificate(name)) = &self.peer.user
            && !self.means.names.contains(name)
        {
            self.peer.user = None;
        }
    }

    /// Whose password mail relies on that is to begin: it may have been changed or removed meanwhile.
    pub fn relies_on(&self) -> Option<&str> {
        match (&self.state, &self.peer.user) {
            (State::Beginning(Beginning::Mail(_)), Some(Login::User(name))) => Some(name),
            _ => None,
        }
    }

    /// The relay is going down: a transaction in hand is finished, a new one is refused.
    pub const fn shutting_down(&mut self) {
        self.shutting_down = true;
    }

    /// Nothing more is heard or done: the last word, and the end.
    pub fn end(&mut self, last_word: Reply, now: Timestamp) {
        self.now = now;
        self.break_off(last_word);
    }

    /// Nothing more is heard, and that is a row of the log, whatever was under way.
    pub fn cut(&mut self, last_word: Reply, now: Timestamp) {
        self.now = now;
        self.cut_off(last_word);
    }

    /// The client is gone, whether it hung up or its line broke. A message that somebody was to have is a
    /// row of the log; who had begun nothing is missed by nobody.
    pub fn vanished(&mut self, now: Timestamp) {
        match self.has_recipients() {
            true => self.end(Reply::client_vanished(), now),
            false => self.close(),
        }
    }

    /// Whether a transaction is under way: a message is about to come, or coming in.
    pub const fn has_transaction(&self) -> bool {
        match &self.state {
            State::Admitting(_)
            | State::Open(..)
            | State::Reserving(..)
            | State::Taking(..)
            | State::Weighing(..)
            | State::Keeping(_) => true,
            State::Discarding(discarding) => discarding.leads_back(),
            State::Idle(_)
            | State::Beginning(_)
            | State::LoggingIn(_)
            | State::Asking(_)
            | State::Closed => false,
        }
    }

    /// Whether it is a bad moment to send the client away: it would not hear what becomes of a message.
    pub fn is_busy(&self) -> bool {
        self.has_transaction() || self.awaiting() == Awaiting::Content
    }

    /// Whether a message is about to come, or coming in, that somebody is to have.
    pub fn has_recipients(&self) -> bool {
        match &self.state {
            State::Open(transaction, _)
            | State::Reserving(transaction, ..)
            | State::Taking(transaction, _) => transaction.ready_for_content().is_ok(),
            _ => false,
        }
    }

    /// Octets of content that have come so far.
    pub fn content_len(&self) -> usize {
        match &self.state {
            State::Taking(_, intake) => intake.reader.len(),
            _ => 0,
        }
    }

    /// A transaction that is cut off leaves a row for each of its recipients, and its reference is
    /// in the last word.
    fn break_off(&mut self, last_word: Reply) {
        let last_word = match self.in_hand() {
            Some(outline) => {
                let verdict = Verdict::protocol(last_word, None);
                let rows = outline.rows(&verdict, &self.peer, self.now);
                if rows.is_empty() {
                    self.note(verdict.row(&outline.attempt, &self.peer, self.now));
                }
                for row in rows {
                    self.note(row);
                }
                verdict.reply.with_reference(outline.attempt.reference)
            }
            None => last_word,
        };
        self.steps.push_back(Step::Say(last_word));
        self.close();
    }

    /// The same where no transaction is under way: a row that says why.
    fn cut_off(&mut self, last_word: Reply) {
        match self.has_transaction() {
            true => self.break_off(last_word),
            false => self.refuse(Verdict::protocol(last_word, None), After::Close, self.now),
        }
    }

    /// What the log should know of the transaction under way.
    fn in_hand(&self) -> Option<Box<Outline>> {
        match &self.state {
            State::Open(transaction, None) => Some(transaction.outline(Facts::default(), None)),
            State::Open(transaction, Some(intake))
            | State::Taking(transaction, intake)
            | State::Reserving(transaction, intake, _) => {
                Some(transaction.outline(facts_so_far(&intake.reader), None))
            }
            _ => None,
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.steps.push_back(Step::Close);
    }
}

/// Reading.
impl Session {
    /// Takes from `bytes` what it can and says what is to be done next.
    pub fn read(&mut self, bytes: &mut BytesMut, now: Timestamp) -> Step {
        self.now = now;
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            if self.shutting_down && matches!(self.state, State::Idle(_)) {
                self.break_off(Reply::shutting_down());
            } else if !self.advance(bytes, now) {
                return Step::NeedBytes;
            }
        }
    }

    /// One command, or as much content as there is. False: more bytes or an answer are needed.
    fn advance(&mut self, bytes: &mut BytesMut, now: Timestamp) -> bool {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Taking(transaction, intake) => {
                return self.take_content(transaction, intake, bytes, now);
            }
            State::Discarding(discarding) => return self.discard(discarding, bytes),
            state => self.state = state,
        }
        match &self.state {
            State::Idle(_) | State::Open(..) => self.read_line(bytes, now),
            State::LoggingIn(_) => self.read_response(bytes),
            State::Closed => {
                self.steps.push_back(Step::Close);
                true
            }
            _ => false,
        }
    }

    fn read_line(&mut self, bytes: &mut BytesMut, now: Timestamp) -> bool {
        let whole = match self.lines.find(bytes) {
            Line::Incomplete => return false,
            Line::TooLong { verb, whole } => {
                self.refuse_line(verb, Reply::line_too_long(), now);
                whole
            }
            Line::BareNewline { verb, whole } => {
                self.refuse_line(verb, Reply::bad_character(), now);
                whole
            }
            Line::Complete { text, whole } => {
                self.obey_line(bytes.get(..text).unwrap_or_default(), now);
                whole
            }
        };
        forget(bytes, whole);
        if matches!(self.steps.back(), Some(Step::StartTls)) {
            // RFC 3207 §4.2, CVE-2011-0411: nothing said in the clear is believed after STARTTLS.
            bytes.clear();
        }
        true
    }

    fn refuse_line(&mut self, verb: Verb, reply: Reply, now: Timestamp) {
        if self.counts_command() {
            let path = None;
            self.refuse_fault(Fault { verb, path, reply }, now);
        }
    }

    fn obey_line(&mut self, line: &[u8], now: Timestamp) {
        if self.counts_command() {
            match command::parse(line, self.offer()) {
                Ok(command) => self.obey(command, now),
                Err(fault) => self.refuse_fault(fault, now),
            }
        }
    }

    /// False: it was one too many, and the session has ended.
    fn counts_command(&mut self) -> bool {
        self.commands += 1;
        if self.commands > MOST_COMMANDS {
            self.cut_off(Reply::too_many_commands());
        }
        self.commands <= MOST_COMMANDS
    }
}

/// Takes a line from the buffer; what may have been a password does not stay behind it.
fn forget(bytes: &mut BytesMut, whole: usize) {
    let whole = whole.min(bytes.len());
    if let Some(line) = bytes.get_mut(..whole) {
        zeroize::Zeroize::zeroize(line);
    }
    bytes.advance(whole);
}
