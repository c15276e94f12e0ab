//! One request and its answer, over one connection.
//!
//! Decides when what the service says counts: a verdict on a message that it has not had in full is none,
//! unless it has found something; two answers are none either. A connection is in step again only
//! where the answer was read to its end. Whatever goes wrong is a verdict, and never clean.

use std::io;

use super::answer::{Answer, Fields, Garbage, Head, Step};
use super::connection::Wire;
use super::judge::{self, Judge};
use super::options;
use super::place::Place;
use super::request::{self, Outgoing, Request};
use crate::mail::{Unscannable, Verdict, Why};

/// What came of asking.
#[derive(Debug)]
pub enum Told {
    /// And whether the answer was c-icap's.
    Verdict(Verdict, bool),
    /// It was let pass by its beginning; the rest was not looked at.
    LetPass,
}

impl Told {
    const fn verdict(verdict: Verdict) -> Self {
        Self::Verdict(verdict, false)
    }
}

/// A connection that was kept has ended before a word of the answer: the service had closed it.
#[derive(Debug)]
pub struct Stale;

/// Asks what is to be said of an object.
pub async fn ask(wire: &mut Wire, request: &Request, judge: &mut Judge<'_>) -> Result<Told, Stale> {
    let mut exchange = Exchange::new(wire, request.opening());
    let mut rest = request.rest();
    let mut last = None;
    loop {
        let verdict = match exchange.next().await? {
            Err(verdict) => return Ok(Told::verdict(verdict)),
            Ok(Step::More) => continue,
            Ok(Step::Icap(head)) if head.status == Some(100) => {
                let Some(more) = rest.take().filter(|_| exchange.out.is_sent()) else {
                    return Ok(Told::verdict(judge::broken(
                        "it asks for more when there is no more",
                    )));
                };
                exchange.go_on(more);
                continue;
            }
            Ok(Step::Icap(head)) => {
                let verdict = judge.icap(&head);
                if verdict.is_none() && head.status == Some(204) && !exchange.out.is_sent() {
                    return Ok(Told::verdict(too_early()));
                }
                last = Some(head);
                verdict
            }
            Ok(Step::Http(head)) => judge.http(&head),
            Ok(Step::Body(octets)) => judge.body(&octets),
            Ok(Step::End) => break,
        };
        if let Some(verdict) = verdict {
            return Ok(Told::verdict(verdict));
        }
    }
    let Some(head) = last else {
        return Ok(Told::verdict(judge::broken("it ended without an answer")));
    };
    let status = head.status.unwrap_or_default();
    let verdict = match judge.end(status) {
        Verdict::Clean if exchange.wire.says_more() => judge::broken("it answered twice"),
        Verdict::Clean if !exchange.out.is_sent() => too_early(),
        verdict => verdict,
    };
    exchange.close(&head.fields);
    match verdict {
        Verdict::Clean if status == 204 && rest.is_some() => Ok(Told::LetPass),
        verdict => Ok(Told::Verdict(verdict, options::is_c_icap(&head.fields))),
    }
}

fn too_early() -> Verdict {
    judge::broken("it answered before it had the whole of it")
}

/// Asks what the service does. `Err`: it cannot be understood.
pub async fn options(wire: &mut Wire, place: &Place) -> Result<Result<Head, Verdict>, Stale> {
    let mut exchange = Exchange::new(wire, request::options(place));
    let mut last = None;
    loop {
        match exchange.next().await? {
            Err(verdict) => return Ok(Err(verdict)),
            Ok(Step::Icap(head)) => last = Some(head),
            Ok(Step::Body(octets)) => {
                exchange.spare = exchange.spare.saturating_sub(octets.len());
                if exchange.spare == 0 {
                    return Ok(Err(judge::broken("its answer to OPTIONS is too long")));
                }
            }
            Ok(Step::More | Step::Http(_)) => {}
            Ok(Step::End) => break,
        }
    }
    let Some(head) = last else {
        return Ok(Err(judge::broken("it ended without an answer")));
    };
    if exchange.wire.says_more() {
        return Ok(Err(judge::broken("it answered OPTIONS twice")));
    }
    exchange.close(&head.fields);
    Ok(Ok(head))
}

struct Exchange<'w> {
    wire: &'w mut Wire,
    out: Outgoing,
    answer: Answer,
    /// How much of a body that nobody needs is read.
    spare: usize,
}

impl<'w> Exchange<'w> {
    fn new(wire: &'w mut Wire, out: Outgoing) -> Self {
        wire.heard = 0;
        wire.is_in_step = false;
        Self {
            wire,
            out,
            answer: Answer::default(),
            spare: 64 * 1024,
        }
    }

    /// Sends more; another answer is due.
    fn go_on(&mut self, more: Outgoing) {
        self.out = more;
        self.answer = Answer::default();
    }

    /// The next step of the answer; [`Step::More`] where something was sent or has come.
    async fn next(&mut self) -> Result<Result<Step, Verdict>, Stale> {
        match self.answer.read(&mut self.wire.buffer) {
            Err(Garbage(why)) => return Ok(Err(judge::broken(why))),
            Ok(Step::More) => {}
            Ok(step) => return Ok(Ok(step)),
        }
        match self.wire.turn(&mut self.out).await {
            Ok(true) => Ok(Ok(Step::More)),
            _ if self.wire.is_used && self.wire.heard == 0 => Err(Stale),
            Ok(false) => Ok(Err(self.lost("the service has hung up"))),
            Err(error) => Ok(Err(self.lost(&error.to_string()))),
        }
    }

    fn lost(&self, how: &str) -> Verdict {
        let what = match self.wire.heard {
            0 => "before its answer",
            _ => "in the middle of its answer",
        };
        let detail = format!("{how}, {what}");
        Verdict::Unscannable(Unscannable::during(Why::Down, detail))
    }

    /// The answer is complete: whether the connection can be used again.
    fn close(&mut self, fields: &Fields) {
        self.wire.is_in_step = self.answer.is_in_step()
            && self.out.is_sent()
            && self.wire.buffer.is_empty()
            && !fields.says("connection", "close");
    }
}

/// Nobody could be spoken with.
pub fn unreachable(error: &io::Error) -> Verdict {
    Verdict::Unscannable(Unscannable::before(Why::Down, error.to_string()))
}
