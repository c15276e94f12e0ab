//! Whether a room's next hops, which can be spoken with, take mail at all.
//!
//! Pure. A full disk or a restart behind a hop shows as one temporary answer after the other, each
//! about one message, and each message is put off by its schedule. When such a hop takes a message
//! again, the others need not wait for their time; and that it does is found out by trying one of them
//! now and then. One recipient that is put off again and again (a full mailbox, greylisting) says
//! nothing of its hop. Fails never.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::outcome::Cause;
use crate::mail::{Address, Answer, Reference};

/// So many recipients, with none taken in between, speak for the hop whatever it says of each.
const MANY: usize = 3;
/// The pauses before one that waits is tried, to see whether the hop takes mail again; the last one
/// repeats.
const PROBES: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// How long before all that waits is tried out of turn once more.
const REST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Mood {
    /// The hop said of itself that it takes nothing now.
    is_said: bool,
    /// Recipients that were put off since the last one was taken, each with its message; no more than
    /// count.
    put_off: Vec<(Reference, Address)>,
    rested_from: Option<Instant>,
    /// When one was last tried to see whether it takes mail again, or when that was first thought
    /// of; and how often it was.
    probed: Option<(Instant, usize)>,
}

impl Mood {
    pub(super) fn put_off(&mut self, message: Reference, recipient: &Address, cause: &Cause) {
        let is_of_the_mailbox = match cause {
            Cause::Said(answer) => !is_of_the_hop(answer),
            // A conversation that broke off is never about one mailbox.
            Cause::Found(_) | Cause::Unfit { .. } => false,
        };
        self.is_said |= matches!(cause, Cause::Said(_)) && !is_of_the_mailbox;
        let mut known = self.put_off.iter();
        let is_known = known.any(|(earlier, other)| {
            other == recipient && (is_of_the_mailbox || *earlier == message)
        });
        if self.put_off.len() < MANY && !is_known {
            self.put_off.push((message, recipient.clone()));
        }
    }

    fn is_ill(&self) -> bool {
        self.is_said || self.put_off.len() >= MANY
    }

    /// Whether one of those that wait is to be tried now, whatever its time. While only one or two wait
    /// their own times are soon enough.
    pub(super) fn wants_a_probe(&mut self, now: Instant) -> bool {
        if self.put_off.len() < MANY {
            self.probed = None;
            return false;
        }
        let (since, probes) = *self.probed.get_or_insert((now, 0));
        let [.., longest] = PROBES;
        let pause = PROBES.get(probes).copied().unwrap_or(longest);
        let is_time = pause <= now.duration_since(since);
        if is_time {
            self.probed = Some((now, probes + 1));
        }
        is_time
    }

    /// A recipient was taken. Whether what is put off should be tried now.
    pub(super) fn took_one(&mut self, now: Instant) -> bool {
        if !self.is_ill() {
            self.put_off.clear();
            return false;
        }
        let rests = self.rested_from;
        if rests.is_some_and(|from| now.duration_since(from) < REST) {
            return false;
        }
        *self = Self {
            rested_from: Some(now),
            ..Self::default()
        };
        true
    }
}

/// Whether a temporary answer speaks of the whole server (RFC 5321 §4.2.3, RFC 3463 §3.4), and not of
/// one mailbox or message.
fn is_of_the_hop(answer: &Answer) -> bool {
    let is_of_system = |status: &str| status.starts_with("4.3.");
    match answer.code {
        421 => true,
        // Insufficient system storage, unless it is the mailbox that is full.
        452 => answer.enhanced.as_deref().is_none_or(is_of_system),
        _ => answer.enhanced.as_deref().is_some_and(is_of_system),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(code: u16, enhanced: Option<&str>) -> Cause {
        Cause::Said(Answer {
            code,
            enhanced: enhanced.map(str::to_owned),
            text: "later".to_owned(),
        })
    }

    fn address(local: &str) -> Address {
        Address::parse(&format!("{local}@b.nodnett.test")).unwrap()
    }

    #[test]
    fn one_recipient_says_nothing_of_its_hop() {
        let found = || Cause::Found("the connection was closed".to_owned());
        #[rustfmt::skip]
        let cases: [(&[(&str, Cause)], bool); 11] = [
            (&[],                                                   false),
            (&[("x", answer(451, Some("4.7.1")))],                  false),
            (&[("x", answer(450, Some("4.2.0"))), ("x", answer(450, Some("4.2.0"))),
               ("x", answer(450, Some("4.2.0"))), ("y", answer(450, Some("4.2.0")))], false),
            (&[("x", answer(452, Some("4.2.2")))],                  false),
            (&[("x", found())],                                     false),
            (&[("x", found()), ("x", found()), ("x", found())],     true),
            (&[("x", answer(452, Some("4.3.1")))],                  true),
            (&[("x", answer(452, None))],                           true),
            (&[("x", answer(421, Some("4.7.0")))],                  true),
            (&[("x", answer(451, Some("4.3.0")))],                  true),
            (&[("x", found()), ("y", found()), ("z", found())],     true),
        ];
        for (heard, expected) in cases {
            let mut mood = Mood::default();
            for ((recipient, cause), number) in heard.iter().zip(1..) {
                let message = Reference::from_number(number);
                mood.put_off(message, &address(recipient), cause);
            }
            assert_eq!(mood.took_one(Instant::now()), expected, "{heard:?}");
            assert!(!mood.took_one(Instant::now()), "once");
        }
    }

    #[test]
    fn while_it_takes_nothing_one_is_tried_now_and_then() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut mood = Mood::default();
        for number in [1, 2, 2, 2, 3] {
            assert!(!mood.wants_a_probe(start), "{number}");
            let message = Reference::from_number(number);
            mood.put_off(message, &address("x"), &answer(452, None));
        }
        let probes = (0..100).filter(|second| mood.wants_a_probe(at(*second)));
        assert_eq!(probes.collect::<Vec<_>>(), [5, 15, 45, 75]);
        assert!(mood.took_one(at(100)));
        assert!((100..200).all(|second| !mood.wants_a_probe(at(second))));
    }

    #[test]
    fn what_waits_is_tried_out_of_turn_once_in_a_while() {
        let start = Instant::now();
        let mut mood = Mood::default();
        let full = answer(452, None);
        let message = Reference::from_number(1);
        mood.put_off(message, &address("x"), &full);
        assert!(mood.took_one(start));
        mood.put_off(message, &address("x"), &full);
        assert!(!mood.took_one(start + REST / 2));
        assert!(mood.took_one(start + REST), "it was not forgotten");
    }
}
