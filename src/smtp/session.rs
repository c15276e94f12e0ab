//! The server's side of one SMTP dialogue, as a state machine: bytes and answers in, steps out.
//!
//! Decides the order of things (RFC 5321 §4.1.4, RFC 2920, RFC 3030, RFC 3207, RFC 4954) and what is offered to
//! whom, and asks policy; what may be sent to whom is policy's. It never touches a socket, a clock or the store: whoever drives
//! it does what a [`Step`] says and brings the answer back. Nothing of a transaction that was broken
//! off remains. It cannot fail: what a client does wrong is a reply, and our own trouble is a 4xx.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use super::auth::{Answer, Exchange, Means, Question, Turn};
use super::command::{self, Auth, Bdat, Command, Fault, Mail, Offer, Rcpt, Verb};
use super::data::{Reader, Unfit};
use super::line::{Line, Lines};
use super::transaction::{Attempt, Outline, Place, Request, Transaction, Verdict};
use crate::mail::{
    BodyKind, Certificate, DeliverBy, Facts, Login, Origin, Peer, Priority, Protocol, Received,
    Reference, Refusal, Reply, Terms, Timestamp, TlsSession, headers,
};
use crate::policy::table::RoutingTable;
use crate::spool::Receipt;
use crate::spool::store::StoreError;

/// Errors before a client hears 421. product.md promises at least 20.
const MOST_ERRORS: u32 = 50;
/// Commands without a message before a client hears 421. product.md promises at least 1,000.
const MOST_COMMANDS: u32 = 1024;
/// Logins refused before a client hears 421, and how long it waits for the first refusal; for each
/// other twice as long.
const MOST_REFUSED_LOGINS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Memory asked for at first, when the client announces no size; and at most, when it does.
const FIRST_SHARE: usize = 8 * 1024;
const FIRST_SHARE_ANNOUNCED: usize = 64 * 1024;
/// A chunk past this is not read to its end: nobody means it, and it would never end.
const ABSURD_CHUNK: u64 = 1 << 32;

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
    /// Is this origin within its rates? [`Session::admitted`].
    Admit(Origin),
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
    Close,
}

/// For what a session waits when it needs bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaiting {
    Command,
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
    /// Waiting for [`Session::admitted`].
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

/// Content on its way in.
#[derive(Debug)]
struct Intake {
    reader: Reader,
    /// Octets of memory that were granted.
    granted: usize,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// DATA; 354 has been said or not.
    Data {
        invited: bool,
    },
    Chunk {
        octets: u64,
        left: u64,
        last: bool,
    },
}

/// Content that is thrown away.
#[derive(Debug)]
struct Discarding {
    rest: Rest,
    /// Said at its end.
    reply: Reply,
    then: State,
}

/// What is yet to come of it.
#[derive(Debug)]
enum Rest {
    Data(Reader),
    Chunk(u64),
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

    /// The relay is going down: a transaction in hand is finished, a new one is refused.
    pub const fn shutting_down(&mut self) {
        self.shutting_down = true;
    }

    /// Nothing more is heard or done: the last word, and the end.
    pub fn end(&mut self, last_word: Reply, now: Timestamp) {
        self.now = now;
        self.break_off(last_word);
    }

    /// The client hung up. What it was in the middle of is a row of the log.
    pub fn vanished(&mut self, now: Timestamp) {
        self.end(Reply::client_vanished(), now);
    }

    /// Whether a message is coming in right now.
    pub const fn is_taking(&self) -> bool {
        matches!(&self.state, State::Taking(..))
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
                for row in outline.rows(&verdict, &self.peer, self.now) {
                    self.note(row);
                }
                verdict.reply.with_reference(outline.attempt.reference)
            }
            None => last_word,
        };
        self.steps.push_back(Step::Say(last_word));
        self.close();
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

    /// What the client says to the mechanism.
    fn read_response(&mut self, bytes: &mut BytesMut) -> bool {
        let found = self.lines.find_response(bytes);
        if found == Line::Incomplete {
            return false;
        }
        let State::LoggingIn(exchange) = self.take_state() else {
            return false;
        };
        self.state = State::Idle(None);
        let whole = match found {
            Line::Complete { whole, .. }
            | Line::TooLong { whole, .. }
            | Line::BareNewline { whole, .. } => whole,
            Line::Incomplete => 0,
        };
        if self.counts_command() {
            match found {
                Line::Complete { text, .. } => {
                    self.respond(*exchange, bytes.get(..text).unwrap_or_default());
                }
                Line::TooLong { .. } => self.say(Reply::login_line_too_long()),
                _ => self.say(Reply::login_unreadable()),
            }
        }
        forget(bytes, whole);
        true
    }

    fn respond(&mut self, exchange: Exchange, line: &[u8]) {
        if line == b"*" {
            return self.say(Reply::login_cancelled());
        }
        let (exchange, turn) = exchange.respond(line);
        self.turn(exchange, turn);
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
            self.break_off(Reply::too_many_commands());
        }
        self.commands <= MOST_COMMANDS
    }
}

/// The verbs.
impl Session {
    fn obey(&mut self, command: Command<'_>, now: Timestamp) {
        match command {
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => self.helo(name),
            Command::Mail(mail) => self.mail(mail, now),
            Command::Rcpt(rcpt) => self.rcpt(rcpt, now),
            Command::Data => self.data(now),
            Command::Bdat(chunk) => self.bdat(chunk, now),
            Command::Rset => self.rset(),
            Command::Noop => self.say(Reply::noop()),
            Command::Vrfy => self.vrfy(),
            Command::Help => self.say(Reply::help()),
            Command::StartTls => self.start_tls(),
            Command::Auth(auth) => self.auth(auth),
            Command::Quit => self.quit(),
        }
    }

    fn ehlo(&mut self, name: &str) {
        self.greet(name, Protocol::Esmtp);
        let mut extensions = vec![
            "PIPELINING".to_owned(),
            format!("SIZE {}", self.settings.message_size),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "CHUNKING".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
            // RFC 9422 §4.
            format!("LIMITS RCPTMAX={}", self.settings.recipients),
            "DSN".to_owned(),
            "DELIVERBY".to_owned(),
            "MT-PRIORITY".to_owned(),
        ];
        if self.offer() >= Offer::Guarded {
            extensions.push("REQUIRETLS".to_owned());
            extensions.push(format!("AUTH {}", self.means.offered()));
        }
        if self.tls != Tls::NotOffered {
            extensions.push("STARTTLS".to_owned());
        }
        extensions.push("HELP".to_owned());
        self.say(Reply::extensions(&self.settings.hostname, name, extensions));
    }

    /// The parameters that the last greeting made known.
    const fn offer(&self) -> Offer {
        match (self.peer.protocol, &self.peer.tls) {
            // What is asked before any greeting is refused for that, and not for what it asks.
            _ if self.peer.helo.is_empty() => Offer::Guarded,
            (Protocol::Smtp, _) => Offer::Nothing,
            (Protocol::Esmtp, None) => Offer::Extensions,
            (Protocol::Esmtp, Some(_)) => Offer::Guarded,
        }
    }

    fn helo(&mut self, name: &str) {
        self.greet(name, Protocol::Smtp);
        self.say(Reply::hello(&self.settings.hostname, name));
    }

    /// RFC 5321 §4.1.4: a transaction under way is broken off.
    fn greet(&mut self, name: &str, protocol: Protocol) {
        name.clone_into(&mut self.peer.helo);
        self.peer.protocol = protocol;
        self.state = State::Idle(None);
    }

    /// The client's own wish: what it had begun is forgotten.
    fn quit(&mut self) {
        self.state = State::Idle(None);
        self.break_off(Reply::bye(&self.settings.hostname));
    }

    fn rset(&mut self) {
        self.state = State::Idle(None);
        self.say(Reply::reset());
    }

    fn vrfy(&mut self) {
        self.say(match self.tls {
            Tls::Required => Reply::tls_first(),
            Tls::NotOffered | Tls::Offered => Reply::not_verified(),
        });
    }

    fn start_tls(&mut self) {
        if self.peer.tls.is_some() {
            self.say(Reply::tls_already());
        } else if self.tls == Tls::NotOffered {
            self.say(Reply::tls_not_offered());
        } else if self.peer.helo.is_empty() {
            self.say(Reply::hello_first());
        } else {
            self.state = State::Idle(None);
            self.say(Reply::ready_for_tls());
            self.steps.push_back(Step::StartTls);
        }
    }

    fn mail(&mut self, mail: Mail<'_>, now: Timestamp) {
        let too_large = |size| size > self.settings.message_size as u64;
        let refused = if let Some(reply) = self.too_early() {
            Some(reply)
        } else if matches!(self.state, State::Open(..)) {
            Some(Reply::mail_already())
        } else if mail.size.is_some_and(too_large) {
            // RFC 1870 §6.1.
            Some(Reply::too_large(self.settings.message_size))
        } else {
            None
        };
        match refused {
            Some(reply) => {
                let path = Some(mail.sender.to_owned());
                let verb = Verb::Mail;
                self.refuse_fault(Fault { verb, path, reply }, now);
            }
            None => self.begin(Beginning::Mail(request(&mail, now))),
        }
    }

    /// RFC 4954 §4.
    fn auth(&mut self, auth: Auth<'_>) {
        let mechanism = self.means.mechanism(auth.mechanism);
        let refused = match (&self.peer.tls, mechanism) {
            (None, _) if self.tls != Tls::NotOffered => Reply::tls_first(),
            (None, _) => Reply::login_needs_tls(),
            _ if self.offer() != Offer::Guarded || self.peer.helo.is_empty() => {
                Reply::hello_first()
            }
            _ if self.peer.user.is_some() => Reply::login_already(),
            _ if matches!(self.state, State::Open(..)) => Reply::mail_already(),
            (Some(_), None) => Reply::unknown_mechanism(),
            (Some(_), Some(mechanism)) => {
                let (exchange, turn) = Exchange::begin(mechanism, self.means.clone(), auth.initial);
                return self.turn(exchange, turn);
            }
        };
        self.say(refused);
    }

    /// What the mechanism came to.
    fn turn(&mut self, exchange: Exchange, turn: Turn) {
        self.state = State::Idle(None);
        match turn {
            Turn::Challenge(base64) => {
                self.say(Reply::challenge(base64));
                if matches!(self.state, State::Idle(_)) {
                    self.state = State::LoggingIn(Box::new(exchange));
                }
            }
            Turn::Ask(question) => {
                self.state = State::Asking(Box::new(exchange));
                self.steps.push_back(Step::Ask(Box::new(question)));
            }
            // Revoked while the login was under way.
            Turn::Done(Login::Certificate(name)) if !self.means.names.contains(&name) => {
                self.refuse_login(name, Reply::login_refused());
            }
            Turn::Done(login) => {
                self.peer.user = Some(login.clone());
                self.steps.push_back(Step::LoggedIn(login));
                self.say(Reply::logged_in());
            }
            Turn::Wrong { user } => {
                self.steps.push_back(Step::WrongLogin(user.clone()));
                self.refuse_login(user, Reply::login_refused());
            }
            Turn::Limited { user, wait } => {
                self.refuse_login(user, Reply::too_many_failed_logins(wait));
            }
            Turn::Unknown { user } => self.refuse_login(user, Reply::login_impossible()),
            Turn::Unreadable => self.say(Reply::login_unreadable()),
        }
    }

    fn refuse_login(&mut self, user: String, reply: Reply) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.refused_logins);
        self.refused_logins += 1;
        self.steps.push_back(Step::Pause(pause));
        self.begin(Beginning::Login { user, reply });
    }

    /// The row of a refused login, and its reply.
    fn login_refused(&mut self, user: String, reply: Reply, reference: Reference, now: Timestamp) {
        let attempt = Attempt {
            reference,
            sender: None,
            room: None,
            put_off: false,
        };
        let verdict = Verdict::protocol(reply, None);
        let row = verdict.row(&attempt, &self.peer, now);
        self.note(Refusal {
            user: Some(user),
            ..row
        });
        self.state = State::Idle(None);
        self.say(verdict.reply.with_reference(reference));
        let is_open = matches!(self.state, State::Idle(_));
        if is_open && self.refused_logins >= MOST_REFUSED_LOGINS {
            self.break_off(Reply::too_many_refused_logins());
        }
    }

    /// Why no mail is taken yet.
    fn too_early(&self) -> Option<Reply> {
        if self.tls == Tls::Required {
            Some(Reply::tls_first())
        } else if self.peer.helo.is_empty() {
            Some(Reply::hello_first())
        } else {
            None
        }
    }

    /// Why a command that belongs to a transaction is refused without one. What is pipelined behind
    /// a temporary refusal is put off as well, since clients give up at the first 5xx they see.
    fn no_transaction(&self, usual: fn() -> Reply) -> Reply {
        match &self.state {
            State::Idle(Some(attempt)) if attempt.put_off => Reply::put_off(),
            _ => self.too_early().unwrap_or_else(usual),
        }
    }

    fn rcpt(&mut self, rcpt: Rcpt<'_>, now: Timestamp) {
        let most = self.settings.recipients;
        let answer = match &mut self.state {
            State::Open(transaction, None) => transaction.add(&rcpt, most, now),
            State::Open(_, Some(_)) => Err(refused_recipient(Reply::chunks_only(), rcpt.recipient)),
            _ => {
                let reply = self.no_transaction(Reply::mail_first);
                Err(refused_recipient(reply, rcpt.recipient))
            }
        };
        match answer {
            Ok(reply) => self.say_with_reference(reply),
            Err(verdict) => self.refuse(verdict, After::Nothing, now),
        }
    }

    fn data(&mut self, now: Timestamp) {
        let refused = match &self.state {
            State::Open(transaction, None) => transaction.ready_for_content().err(),
            State::Open(_, Some(_)) => Some(Reply::chunks_only()),
            _ => Some(self.no_transaction(Reply::mail_first)),
        };
        if let Some(reply) = refused {
            self.refuse(Verdict::protocol(reply, None), After::Nothing, now);
        } else if let State::Open(transaction, _) = self.take_state() {
            let first = first_share(&transaction, self.settings.message_size);
            let intake = self.intake(Form::Data { invited: false });
            self.reserve(transaction, intake, first);
        }
    }

    fn bdat(&mut self, chunk: Bdat, now: Timestamp) {
        let refused = match &self.state {
            State::Open(transaction, intake) => {
                let so_far = intake.as_ref().map_or(0, |it| it.reader.len() as u64);
                let in_all = so_far.saturating_add(chunk.octets);
                let limit = self.settings.message_size;
                let large = || (in_all > limit as u64).then(|| Reply::too_large(limit));
                transaction.ready_for_content().err().or_else(large)
            }
            State::Idle(Some(attempt)) if !attempt.put_off => {
                Some(self.too_early().unwrap_or_else(Reply::chunk_refused))
            }
            _ => Some(self.no_transaction(Reply::mail_first)),
        };
        match refused {
            Some(reply) => self.refuse_chunk(reply, chunk, now),
            None => self.take_chunk(chunk),
        }
    }

    fn take_chunk(&mut self, Bdat { octets, last }: Bdat) {
        if let State::Open(transaction, begun) = self.take_state() {
            let form = Form::Chunk {
                octets,
                left: octets,
                last,
            };
            if octets > 0 {
                // Content, which is bounded by its own limits, and no command without mail.
                self.commands = self.commands.saturating_sub(1);
            }
            let mut intake = begun.unwrap_or_else(|| self.intake(form));
            intake.form = form;
            self.state = State::Taking(transaction, intake);
        }
    }

    /// RFC 3030 §2: the octets of a refused chunk are thrown away, and its message with them.
    fn refuse_chunk(&mut self, reply: Reply, chunk: Bdat, now: Timestamp) {
        let after = if chunk.octets > ABSURD_CHUNK {
            After::Close
        } else {
            After::DiscardChunk(chunk.octets)
        };
        let verdict = Verdict::protocol(reply, None);
        match self.take_state() {
            State::Open(transaction, intake) if transaction.ready_for_content().is_ok() => {
                let facts = intake.map_or_else(Facts::default, |it| facts_so_far(&it.reader));
                let outline = transaction.outline(facts, None);
                self.refuse_content(*outline, &verdict, after, now);
            }
            state => {
                self.state = state;
                self.refuse(verdict, after, now);
            }
        }
    }

    fn intake(&self, form: Form) -> Box<Intake> {
        Box::new(Intake {
            reader: Reader::new(self.settings.message_size),
            granted: 0,
            form,
        })
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

/// What MAIL asks for, heard at `now`.
fn request(mail: &Mail<'_>, now: Timestamp) -> Request {
    // RFC 2852 §4: the seconds are counted from this command on.
    let by_when = |seconds: i64| now.as_millis().saturating_add(seconds.saturating_mul(1000));
    Request {
        sender: mail.sender.to_owned(),
        body: mail.body.unwrap_or(BodyKind::SevenBit),
        smtputf8: mail.smtputf8,
        size: mail.size,
        priority: mail.priority,
        terms: Terms {
            priority: Priority::ROUTINE,
            require_tls: mail.require_tls,
            deliver_by: mail.by.map(|by| DeliverBy {
                at: Timestamp::from_millis(by_when(by.seconds)),
                mode: by.mode,
                trace: by.trace,
            }),
            ret: mail.ret,
            envelope_id: mail.envelope_id.map(str::to_owned),
        },
    }
}

fn refused_recipient(reply: Reply, recipient: &str) -> Box<Verdict> {
    Verdict::protocol(reply, Some(recipient.to_owned()))
}

/// Memory is given as content comes; what a client announces is believed a little.
fn first_share(transaction: &Transaction, limit: usize) -> usize {
    transaction
        .announced_size()
        .map_or(FIRST_SHARE, |size| size.clamp(1, FIRST_SHARE_ANNOUNCED))
        .min(limit)
}

/// Subject and the like of content that is not complete.
fn facts_so_far(reader: &Reader) -> Facts {
    const ENOUGH: usize = 64 * 1024;
    let body = reader.body();
    let start = body.get(..ENOUGH).unwrap_or(body);
    headers::read(&Bytes::copy_from_slice(start)).facts
}

/// Content.
impl Session {
    fn take_content(
        &mut self,
        transaction: Box<Transaction>,
        mut intake: Box<Intake>,
        bytes: &mut BytesMut,
        now: Timestamp,
    ) -> bool {
        let available = intake.available(bytes.len());
        if let Some(share) = intake.share_for(available, self.settings.message_size) {
            self.reserve(transaction, intake, share);
            return true;
        }
        let (taken, ended) = intake.take(bytes.get(..available).unwrap_or_default());
        bytes.advance(taken.min(bytes.len()));
        match (self.refusal_of(intake.reader.unfit()), ended) {
            (Some(reply), _) => self.give_up_content(&transaction, *intake, ended, reply, now),
            (None, true) => self.end_of_content(transaction, intake, now),
            (None, false) => self.state = State::Taking(transaction, intake),
        }
        ended || taken > 0
    }

    fn refusal_of(&self, unfit: Option<Unfit>) -> Option<Reply> {
        Some(match unfit? {
            Unfit::TooLarge => Reply::too_large(self.settings.message_size),
            Unfit::BareNewline => Reply::bare_newlines(),
        })
    }

    /// What came is unfit, or there is no room for it: the rest is thrown away.
    fn give_up_content(
        &mut self,
        transaction: &Transaction,
        intake: Intake,
        ended: bool,
        reply: Reply,
        now: Timestamp,
    ) {
        let outline = transaction.outline(facts_so_far(&intake.reader), None);
        let verdict = Verdict::protocol(reply, None);
        let after = match intake.form {
            Form::Chunk { left, .. } => After::DiscardChunk(left),
            Form::Data { .. } if ended => After::Nothing,
            Form::Data { .. } => {
                let mut reader = intake.reader;
                reader.discard();
                After::DiscardData(reader)
            }
        };
        self.refuse_content(*outline, &verdict, after, now);
    }

    fn end_of_content(
        &mut self,
        transaction: Box<Transaction>,
        intake: Box<Intake>,
        now: Timestamp,
    ) {
        if let Form::Chunk {
            octets,
            last: false,
            ..
        } = intake.form
        {
            let reference = transaction.attempt.reference;
            self.state = State::Open(transaction, Some(intake));
            return self.say(Reply::chunk_ok(octets).with_reference(reference));
        }
        let place = Place {
            hostname: &self.settings.hostname,
            peer: &self.peer,
        };
        match transaction.complete(intake.reader.into_body(), &place, now) {
            (outline, Ok(received)) => {
                self.state = State::Keeping(outline);
                self.steps.push_back(Step::Keep(Box::new(received)));
            }
            (outline, Err(verdict)) => {
                self.refuse_content(*outline, &verdict, After::Nothing, now);
            }
        }
    }

    fn discard(&mut self, mut discarding: Box<Discarding>, bytes: &mut BytesMut) -> bool {
        let (taken, ended) = discarding.rest.take(bytes);
        bytes.advance(taken.min(bytes.len()));
        if ended {
            self.state = discarding.then;
            self.say(discarding.reply);
        } else {
            self.state = State::Discarding(discarding);
        }
        ended
    }

    fn reserve(&mut self, transaction: Box<Transaction>, intake: Box<Intake>, share: usize) {
        self.state = State::Reserving(transaction, intake, share);
        self.steps.push_back(Step::Reserve(share));
    }
}

impl Rest {
    /// How many octets were thrown away, and whether those were the last.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Data(reader) => match reader.read(bytes) {
                Some(taken) => (taken, true),
                None => (bytes.len(), false),
            },
            Self::Chunk(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |it| it.min(bytes.len()));
                *left -= taken as u64;
                (taken, *left == 0)
            }
        }
    }
}

impl Intake {
    /// How many of the octets in the buffer are content, for all we can know.
    fn available(&self, buffered: usize) -> usize {
        match self.form {
            Form::Data { .. } => buffered,
            Form::Chunk { left, .. } => {
                usize::try_from(left).map_or(buffered, |it| it.min(buffered))
            }
        }
    }

    /// The memory to ask for before `more` octets are taken: doubling, so that asking stays rare.
    fn share_for(&self, more: usize, limit: usize) -> Option<usize> {
        let needed = self.reader.len().saturating_add(more).min(limit);
        let wanted = needed
            .max(self.granted.saturating_mul(2))
            .max(FIRST_SHARE)
            .min(limit);
        (needed > self.granted).then(|| wanted - self.granted)
    }

    /// How many octets were taken, and whether that was the end of the message or chunk.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match &mut self.form {
            Form::Data { .. } => match self.reader.read(bytes) {
                Some(taken) => (taken, true),
                None => (bytes.len(), false),
            },
            Form::Chunk { left, last, .. } => {
                self.reader.read_chunk(bytes);
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 && *last {
                    self.reader.end_chunks();
                }
                (bytes.len(), *left == 0)
            }
        }
    }
}

/// Answers to steps.
impl Session {
    /// Answers [`Step::Begin`]: the transaction's reference, and the table that judges all of it.
    pub fn begun(&mut self, reference: Reference, table: Arc<RoutingTable>, now: Timestamp) {
        match self.take_state() {
            State::Beginning(Beginning::Mail(request)) => self.open(request, reference, table, now),
            State::Beginning(Beginning::Login { user, reply }) => {
                self.login_refused(user, reply, reference, now);
            }
            State::Beginning(Beginning::Refuse(refused)) => {
                let attempt = Attempt {
                    reference,
                    sender: refused.sender,
                    room: None,
                    put_off: refused.verdict.reply.is_temporary(),
                };
                let then = State::Idle(Some(attempt.clone()));
                self.refuse_attempt(&attempt, &refused.verdict, refused.after, then, now);
            }
            state => self.state = state,
        }
    }

    fn open(
        &mut self,
        request: Request,
        reference: Reference,
        table: Arc<RoutingTable>,
        now: Timestamp,
    ) {
        let could_log_in = self.peer.tls.is_some() && self.offer() == Offer::Guarded;
        let could_identify = self.tls != Tls::NotOffered || could_log_in;
        match Transaction::begin(request, reference, &self.peer, could_identify, table) {
            Ok(transaction) => {
                let origin = transaction.origin.clone();
                self.state = State::Admitting(Box::new(transaction));
                self.steps.push_back(Step::Admit(origin));
            }
            Err((attempt, verdict)) => {
                let then = State::Idle(Some(attempt.clone()));
                self.refuse_attempt(&attempt, &verdict, After::Nothing, then, now);
            }
        }
    }

    /// Answers [`Step::Admit`]; `Err` is how long the client should wait.
    pub fn admitted(&mut self, answer: Result<(), Duration>, now: Timestamp) {
        match (self.take_state(), answer) {
            (State::Admitting(transaction), Ok(())) => {
                let reply = transaction.welcome();
                self.state = State::Open(transaction, None);
                self.say_with_reference(reply);
            }
            (State::Admitting(transaction), Err(wait)) => {
                let verdict = Verdict::protocol(Reply::rate_limited(wait), None);
                let attempt = transaction.attempt.refused_with(&verdict.reply);
                let then = State::Idle(Some(attempt.clone()));
                self.refuse_attempt(&attempt, &verdict, After::Nothing, then, now);
            }
            (state, _) => self.state = state,
        }
    }

    /// Answers [`Step::Ask`].
    pub fn answered(&mut self, answer: Answer, now: Timestamp) {
        self.now = now;
        match self.take_state() {
            State::Asking(exchange) => {
                let (exchange, turn) = exchange.answer(answer);
                self.turn(exchange, turn);
            }
            state => self.state = state,
        }
    }

    /// Answers [`Step::Reserve`].
    pub fn reserved(&mut self, granted: bool, now: Timestamp) {
        match (self.take_state(), granted) {
            (State::Reserving(transaction, mut intake, share), true) => {
                intake.granted += share;
                intake.reader.reserve(intake.granted);
                let invited = std::mem::replace(&mut intake.form, Form::Data { invited: true });
                match invited {
                    Form::Data { invited: false } => self.say(Reply::send_data()),
                    form => intake.form = form,
                }
                self.state = State::Taking(transaction, intake);
            }
            (State::Reserving(transaction, intake, _), false) => {
                self.memory_short(transaction, *intake, now);
            }
            (state, _) => self.state = state,
        }
    }

    fn memory_short(&mut self, transaction: Box<Transaction>, intake: Intake, now: Timestamp) {
        if intake.form == (Form::Data { invited: false }) {
            let outline = transaction.outline(Facts::default(), None);
            let verdict = Verdict::protocol(Reply::memory_short(), None);
            self.refuse_content(*outline, &verdict, After::Nothing, now);
        } else {
            self.give_up_content(&transaction, intake, false, Reply::memory_short(), now);
        }
    }

    /// Answers [`Step::Keep`]. Only a receipt makes a 250.
    pub fn kept(&mut self, answer: Result<Receipt, &StoreError>, now: Timestamp) {
        match (self.take_state(), answer) {
            (State::Keeping(_), Ok(receipt)) => {
                self.state = State::Idle(None);
                self.commands = 0;
                self.errors = 0;
                self.say(Reply::kept().with_reference(receipt.reference()));
            }
            (State::Keeping(outline), Err(fault)) => {
                let verdict = Verdict::protocol(apology(fault), None);
                self.refuse_content(*outline, &verdict, After::Nothing, now);
            }
            (state, _) => self.state = state,
        }
    }
}

/// Our own trouble is temporary, whatever it is.
fn apology(fault: &StoreError) -> Reply {
    match fault {
        StoreError::Full(_) => Reply::store_full(),
        StoreError::Busy(_)
        | StoreError::Down(_)
        | StoreError::Corrupt(_)
        | StoreError::Conflict(_) => Reply::our_trouble(),
    }
}

/// Speaking.
impl Session {
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Closed)
    }

    fn begin(&mut self, beginning: Beginning) {
        self.state = State::Beginning(beginning);
        self.steps.push_back(Step::Begin);
    }

    /// Says a reply, and counts it if it is an error.
    fn say(&mut self, reply: Reply) {
        let reply = match self.speaks_utf8() {
            true => reply,
            false => reply.in_ascii(),
        };
        let is_error = reply.code >= 500;
        self.steps.push_back(Step::Say(reply));
        if is_error {
            self.errors += 1;
            if self.errors >= MOST_ERRORS {
                self.break_off(Reply::too_many_errors());
            }
        }
    }

    /// RFC 6531 §3.7.4.2: replies hold UTF-8 only where the client has asked for it.
    const fn speaks_utf8(&self) -> bool {
        match &self.state {
            State::Open(transaction, _) => transaction.is_utf8(),
            _ => false,
        }
    }

    /// Says what accepts a command of the transaction under way.
    fn say_with_reference(&mut self, reply: Reply) {
        let reply = match self.attempt() {
            Some(attempt) => {
                let reference = attempt.reference;
                reply.with_reference(reference)
            }
            None => reply,
        };
        self.say(reply);
    }

    /// The transaction under way, or the one refused just now.
    fn attempt(&self) -> Option<&Attempt> {
        match &self.state {
            State::Open(transaction, _) => Some(&transaction.attempt),
            State::Idle(attempt) => attempt.as_ref(),
            _ => None,
        }
    }

    /// A line that makes no sense, or comes at the wrong time.
    fn refuse_fault(&mut self, fault: Fault, now: Timestamp) {
        let Fault { verb, path, reply } = fault;
        match verb {
            Verb::Auth | Verb::Other => self.say(reply),
            Verb::Mail if matches!(self.state, State::Idle(_)) => {
                self.begin(Beginning::Refuse(Refused {
                    verdict: Verdict::protocol(reply, None),
                    sender: path,
                    after: After::Nothing,
                }));
            }
            Verb::Mail | Verb::Data => {
                self.refuse(Verdict::protocol(reply, None), After::Nothing, now);
            }
            Verb::Rcpt => self.refuse(Verdict::protocol(reply, path), After::Nothing, now),
            // Whatever follows are octets of a chunk that we could mistake for commands.
            Verb::Bdat => self.refuse(Verdict::protocol(reply, None), After::Close, now),
        }
    }

    /// Refuses a command of MAIL's family; outside a transaction a reference is asked for first.
    fn refuse(&mut self, verdict: Box<Verdict>, after: After, now: Timestamp) {
        match self.attempt().cloned() {
            Some(attempt) => {
                let then = self.take_state();
                self.refuse_attempt(&attempt, &verdict, after, then, now);
            }
            None => self.begin(Beginning::Refuse(Refused {
                verdict,
                sender: None,
                after,
            })),
        }
    }

    fn refuse_attempt(
        &mut self,
        attempt: &Attempt,
        verdict: &Verdict,
        after: After,
        then: State,
        now: Timestamp,
    ) {
        self.note(verdict.row(attempt, &self.peer, now));
        self.finish(
            verdict.reply.clone().with_reference(attempt.reference),
            after,
            then,
        );
    }

    /// Refuses a message as a whole, a row for each of its recipients.
    fn refuse_content(
        &mut self,
        outline: Outline,
        verdict: &Verdict,
        after: After,
        now: Timestamp,
    ) {
        for row in outline.rows(verdict, &self.peer, now) {
            self.note(row);
        }
        let reply = verdict
            .reply
            .clone()
            .with_reference(outline.attempt.reference);
        let attempt = outline.attempt.refused_with(&reply);
        self.finish(reply, after, State::Idle(Some(attempt)));
    }

    fn note(&mut self, row: Refusal) {
        self.steps.push_back(Step::Note(Box::new(row)));
    }

    /// Says what refuses, as soon as what is to be thrown away has come.
    fn finish(&mut self, reply: Reply, after: After, then: State) {
        let rest = match after {
            After::DiscardChunk(left) if left > 0 => Rest::Chunk(left),
            After::DiscardData(reader) => Rest::Data(reader),
            After::Nothing | After::DiscardChunk(_) => {
                self.state = then;
                return self.say(reply);
            }
            After::Close => {
                self.say(reply);
                return self.close();
            }
        };
        self.state = State::Discarding(Box::new(Discarding { rest, reply, then }));
    }
}
