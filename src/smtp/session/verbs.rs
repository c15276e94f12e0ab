//! What each command of the dialogue does, but for AUTH and content.

use std::sync::Arc;

use super::{After, Beginning, InVain, Session, State, Step, Tls};
use crate::mail::{
    BodyKind, DeliverBy, Login, OverLimit, Priority, Protocol, Reference, Reply, Terms, Timestamp,
};
use crate::policy::table::RoutingTable;
use crate::smtp::command::{Command, Fault, Mail, Offer, Rcpt, Verb};
use crate::smtp::transaction::{Attempt, Chances, Request, Transaction, Verdict};

/// The verbs.
impl Session {
    pub(super) fn obey(&mut self, command: Command<'_>, now: Timestamp) {
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
    pub(super) const fn offer(&self) -> Offer {
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

    /// Why no mail is taken yet.
    pub(super) fn too_early(&self) -> Option<Reply> {
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
    pub(super) fn no_transaction(&self, usual: fn() -> Reply) -> Reply {
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
            Ok(newcomers) => self.admit_recipients(newcomers),
            Err(verdict) => self.refuse(verdict, After::Nothing, now),
        }
    }

    fn admit_recipients(&mut self, newcomers: u64) {
        if let State::Open(transaction, _) = self.take_state() {
            self.state = State::Admitting(transaction);
            self.steps.push_back(Step::AdmitRecipients(newcomers));
        }
    }

    /// Answers [`Step::AdmitRecipients`].
    pub fn recipients_admitted(&mut self, answer: Result<(), OverLimit>, now: Timestamp) {
        let mut transaction = match self.take_state() {
            State::Admitting(transaction) => transaction,
            state => {
                self.state = state;
                return;
            }
        };
        let answer = match answer {
            Ok(()) => transaction.take().ok_or_else(|| {
                // Nobody asked for them: the client hears of it all the same.
                Verdict::protocol(Reply::our_trouble(), None)
            }),
            Err(over) => Err(transaction.put_off(&over)),
        };
        self.state = State::Open(transaction, None);
        match answer {
            Ok(reply) => self.say_with_reference(reply),
            Err(verdict) => self.refuse(verdict, After::Nothing, now),
        }
    }
}

/// What MAIL comes to.
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

    /// Answers [`Step::Begin`] where the login that mail relies on counts no longer, or nobody can tell.
    pub fn begun_in_vain(&mut self, why: InVain, reference: Reference, now: Timestamp) {
        let request = match self.take_state() {
            State::Beginning(Beginning::Mail(request)) => request,
            state => {
                self.state = state;
                return;
            }
        };
        let user = self.peer.user.as_ref().map_or("", Login::name);
        let (reply, after) = match why {
            // Nothing of the message is wrong: the client is to come back, and be asked anew.
            InVain::Changed => (Reply::login_over(user), After::Close),
            InVain::Unknown => (Reply::our_trouble(), After::Nothing),
        };
        let attempt = Attempt {
            reference,
            sender: Some(request.sender),
            room: None,
            put_off: true,
        };
        let then = State::Idle(Some(attempt.clone()));
        let verdict = Verdict::protocol(reply, None);
        self.refuse_attempt(&attempt, &verdict, after, then, now);
    }

    fn open(
        &mut self,
        request: Request,
        reference: Reference,
        table: Arc<RoutingTable>,
        now: Timestamp,
    ) {
        let chances = Chances {
            start_tls: self.tls != Tls::NotOffered,
            log_in: self.peer.tls.is_some() && self.offer() == Offer::Guarded,
        };
        match Transaction::begin(request, reference, &self.peer, chances, table) {
            Ok(transaction) => {
                let admission = Box::new(transaction.admission(&self.peer));
                self.state = State::Admitting(Box::new(transaction));
                self.steps.push_back(Step::Admit(admission));
            }
            Err((attempt, verdict)) => {
                let then = State::Idle(Some(attempt.clone()));
                self.refuse_attempt(&attempt, &verdict, After::Nothing, then, now);
            }
        }
    }

    /// Answers [`Step::Admit`].
    pub fn admitted(&mut self, answer: Result<(), OverLimit>, now: Timestamp) {
        match (self.take_state(), answer) {
            (State::Admitting(transaction), Ok(())) => {
                let reply = transaction.welcome();
                let sighting = transaction.first_sighting(&self.peer, now);
                let seen = sighting.map(|it| Step::Seen(Box::new(it)));
                self.steps.extend(seen);
                self.state = State::Open(transaction, None);
                self.say_with_reference(reply);
            }
            (State::Admitting(transaction), Err(over)) => {
                let verdict = Verdict::over_limit(&over, None);
                let attempt = transaction.attempt.refused_with(&verdict.reply);
                let then = State::Idle(Some(attempt.clone()));
                self.refuse_attempt(&attempt, &verdict, After::Nothing, then, now);
            }
            (state, _) => self.state = state,
        }
    }
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
