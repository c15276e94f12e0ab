//! How the session says what it has decided: replies are counted, refusals noted with the reference
//! that the reply carries.

use super::content::{Discarding, Rest};
use super::{After, Beginning, MOST_ERRORS, Refused, Session, State, Step};
use crate::mail::{Refusal, Reply, Timestamp};
use crate::smtp::command::{Fault, Verb};
use crate::smtp::transaction::{Attempt, Outline, Verdict};

impl Session {
    pub(super) fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Closed)
    }

    pub(super) fn begin(&mut self, beginning: Beginning) {
        self.state = State::Beginning(beginning);
        self.steps.push_back(Step::Begin);
    }

    /// Says a reply, and counts it if it is an error.
    pub(super) fn say(&mut self, reply: Reply) {
        let reply = match self.speaks_utf8() {
            true => reply,
            false => reply.in_ascii(),
        };
        let is_error = reply.code >= 500;
        self.steps.push_back(Step::Say(reply));
        if is_error {
            self.errors += 1;
            if self.errors >= MOST_ERRORS {
                self.cut_off(Reply::too_many_errors());
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
    pub(super) fn say_with_reference(&mut self, reply: Reply) {
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
    pub(super) fn refuse_fault(&mut self, fault: Fault, now: Timestamp) {
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
    pub(super) fn refuse(&mut self, verdict: Box<Verdict>, after: After, now: Timestamp) {
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

    pub(super) fn refuse_attempt(
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

    /// Refuses a message as a whole after so many octets of it, a row for each of its recipients.
    pub(super) fn refuse_content(
        &mut self,
        outline: Outline,
        verdict: &Verdict,
        after: After,
        octets: u64,
        now: Timestamp,
    ) {
        for row in outline.rows(verdict, &self.peer, now) {
            self.note(row);
        }
        if !verdict.reply.is_temporary() {
            self.steps.push_back(Step::Count(octets));
        }
        let reply = verdict
            .reply
            .clone()
            .with_reference(outline.attempt.reference);
        let attempt = outline.attempt.refused_with(&reply);
        self.finish(reply, after, State::Idle(Some(attempt)));
    }

    pub(super) fn note(&mut self, row: Refusal) {
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
                self.state = then;
                self.say(reply);
                // The last of too many errors has a last word of its own, which may be about to come.
                if !matches!(self.state, State::Beginning(_) | State::Closed) {
                    self.close();
                }
                return;
            }
        };
        self.state = State::Discarding(Box::new(Discarding {
            rest,
            octets: 0,
            reply,
            then,
        }));
    }
}
