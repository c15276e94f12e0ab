//! AUTH in the dialogue (RFC 4954): when it is taken, what the mechanism comes to, and how long who
//! was wrong waits for the answer.
//!
//! Nothing may be pipelined behind AUTH (§4). Where it is all the same, a line that comes in the middle
//! of a login is what the client says to the mechanism, and never obeyed; one behind the last is a command,
//! obeyed when it is known who has logged in.

use std::time::Duration;

use bytes::BytesMut;

use super::{Beginning, Session, State, Step, Tls, forget};
use crate::mail::{Login, Reference, Refusal, Reply, Timestamp};
use crate::smtp::auth::{Answer, Exchange, Turn};
use crate::smtp::command::{Auth, Offer};
use crate::smtp::line::Line;
use crate::smtp::transaction::{Attempt, Verdict};

/// Logins refused before a client hears 421, and how long it waits for the first refusal; for each
/// other twice as long.
const MOST_REFUSED_LOGINS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

impl Session {
    /// RFC 4954 §4.
    pub(super) fn auth(&mut self, auth: Auth<'_>) {
        let mechanism = self.means.mechanism(auth.mechanism);
        let refused = match (&self.peer.tls, mechanism) {
            (None, _) if self.tls != Tls::NotOffered => Reply::tls_first(),
            (None, _) => Reply::login_needs_tls(),
            _ if self.offer() != Offer::Guarded || self.peer.helo.is_empty() => {
                Reply::hello_first()
            }
            _ if self.peer.user.is_some() => Reply::login_already(),
            _ if matches!(self.state, State::Open(..)) => Reply::mail_already(),
            (Some(_), None) => self.unknown_mechanism(auth.mechanism),
            (Some(_), Some(mechanism)) => {
                let (exchange, turn) = Exchange::begin(mechanism, self.means.clone(), auth.initial);
                return self.turn(exchange, turn);
            }
        };
        self.say(refused);
    }

    /// Whoever wants to be who its certificate says is to hear why it cannot.
    fn unknown_mechanism(&self, word: &str) -> Reply {
        let certificate = self.peer.certificate.as_ref();
        let certificate = certificate.filter(|_| word.eq_ignore_ascii_case("EXTERNAL"));
        let unknown = Reply::unknown_mechanism();
        match certificate.and_then(|it| Some((it, it.doubt()?))) {
            Some((it, doubt)) => unknown.adding(Reply::certificate_proves_nothing(it, doubt)),
            None => unknown,
        }
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
    pub(super) fn login_refused(
        &mut self,
        user: String,
        reply: Reply,
        reference: Reference,
        now: Timestamp,
    ) {
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

    /// What the client says to the mechanism.
    pub(super) fn read_response(&mut self, bytes: &mut BytesMut) -> bool {
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
}
