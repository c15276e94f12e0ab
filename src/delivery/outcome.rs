//! A hop's trouble to a recipient's outcome: one exhaustive match, and the only one.
//!
//! Decides whose fault a trouble is, whom it concerns, whether another next hop may be asked, and
//! whether the conversation can go on. Pure. The rule: only a 5xx that the hop said about the
//! message, or a need of the message that the hop declares it cannot meet, is `Failed`; network,
//! TLS, names, silence and nonsense are `Deferred`, and what happens after the final dot without a
//! clear answer is `PossiblyDelivered`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::Answer;

/// What one attempt came to, for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub outcome: Outcome,
    /// The next hop as configured, and which of a domain's servers; `None` when none was asked.
    pub hop: Option<Arc<str>>,
    /// TLS version and cipher suite, or `none`; absent where no connection came about.
    pub tls: Option<Arc<str>>,
    /// Whether a next hop was ready to take mail, so that another message to the room is worth an
    /// attempt. False: nobody there answered, or none could be spoken with.
    pub reached: bool,
    /// What it means for the sender, where it was delivered.
    pub handover: Handover,
    pub duration: Duration,
}

impl Attempt {
    /// Whether it ended because the relay stops. That tells nothing of the message or of the hop.
    pub fn was_cut_short(&self) -> bool {
        match &self.outcome {
            Outcome::Deferred(Cause::Found(words))
            | Outcome::PossiblyDelivered(Cause::Found(words)) => words.starts_with(STOPPING),
            _ => false,
        }
    }
}

/// What a delivery hands over, and with it the duty to report it (RFC 3461 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handover {
    /// Into the mailbox: a Maildir, or LMTP.
    Mailbox,
    /// To a server that promises to report what was asked for.
    Reporting,
    /// To a server that reports nothing.
    #[default]
    Relayed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered(Answer),
    Deferred(Cause),
    Failed(Cause),
    /// The whole message was sent, and no answer came that could be understood.
    PossiblyDelivered(Cause),
}

/// Why: in the hop's words or in ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    Said(Answer),
    Found(String),
    /// The message needs what no next hop can give, or the domain takes no mail at all; with the
    /// status (RFC 3463) that says so.
    Unfit {
        status: &'static str,
        reason: String,
    },
}

/// How far the conversation had come. In order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before any connection: the name, the kind of hop, the disk.
    Prepare,
    Connect,
    Greeting,
    Hello,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// While the message was being sent.
    Content,
    /// After the whole message was sent.
    FinalDot,
}

/// What stood in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// An answer other than the one that lets the conversation go on.
    Said(Answer),
    /// It hung up before it answered.
    Closed,
    /// No answer within this time.
    Silent(Duration),
    /// What it sent is no SMTP reply.
    Nonsense(String),
    Network(String),
    Tls(String),
    /// There is no such name.
    NoSuchName(String),
    /// Whether there is such a name could not be asked.
    Unresolved(String),
    Disk(String),
    /// The domain says that it takes no mail (RFC 7505).
    TakesNoMail(String),
    /// The message needs what this hop does not offer: the status (RFC 3463), and why in words.
    Lacks {
        status: &'static str,
        reason: String,
    },
    /// This relay could not show the hop who it is, or was not believed.
    NotLetIn(String),
    /// Our own fault, never the message's.
    Ours(String),
    /// The relay stops, and its grace is over.
    Stopping,
}

/// Why something was not done, or not waited for to its end.
pub const STOPPING: &str = "the relay is stopping";

impl Trouble {
    /// In the system's words, without the number that only programmers read.
    pub fn network(error: &io::Error) -> Self {
        let words = error.to_string();
        let plain = words.split(" (os error ").next().unwrap_or_default();
        Self::Network(plain.to_owned())
    }
}

/// The consequence of a trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    pub outcome: Outcome,
    /// Whether another next hop may be asked in this attempt.
    pub elsewhere: bool,
    /// Whether the conversation is still in step, so that the connection can be used on.
    pub in_step: bool,
    /// Too many recipients for one transaction: this one is for another, and nothing else is wrong.
    pub crowd: bool,
    /// As in [`Attempt`].
    pub reached: bool,
    pub handover: Handover,
}

/// Settles what a trouble at a stage means. Whom it concerns is told by the stage: at `Rcpt` an
/// answer concerns its recipient; everything else concerns all that have no outcome yet.
pub fn judge(stage: Stage, trouble: Trouble) -> Fate {
    let is_ours = matches!(
        trouble,
        Trouble::Lacks { .. } | Trouble::Disk(_) | Trouble::Ours(_) | Trouble::Stopping
    );
    Fate {
        reached: stage >= Stage::Mail || is_ours,
        ..weigh(stage, trouble)
    }
}

fn weigh(stage: Stage, trouble: Trouble) -> Fate {
    match trouble {
        Trouble::Said(answer) => judge_answer(stage, answer),
        Trouble::Closed => lost(stage, "the connection was closed without an answer".into()),
        Trouble::Silent(wait) => lost(stage, format!("no answer within {} s", wait.as_secs())),
        Trouble::Nonsense(what) => lost(stage, format!("the answer makes no sense: {what}")),
        Trouble::Network(cause) => lost(stage, cause),
        Trouble::Tls(cause) => lost(stage, format!("TLS: {cause}")),
        Trouble::NoSuchName(host) => put_off(format!("there is no host named {host}")),
        Trouble::Unresolved(cause) => put_off(format!("the name could not be looked up: {cause}")),
        Trouble::Disk(cause) => put_off(format!("could not be written: {cause}")),
        Trouble::NotLetIn(what) => put_off(what),
        Trouble::Ours(cause) => put_off(cause),
        Trouble::Stopping => lost(stage, STOPPING.into()),
        Trouble::TakesNoMail(domain) => unfit(
            "5.1.10", // RFC 7505 §4.2
            format!("{domain} takes no mail (null MX)"),
        ),
        Trouble::Lacks { status, reason } => unfit(status, reason),
    }
}

fn unfit(status: &'static str, reason: String) -> Fate {
    Fate {
        outcome: Outcome::Failed(Cause::Unfit { status, reason }),
        elsewhere: true,
        in_step: true,
        crowd: false,
        reached: true,
        handover: Handover::Relayed,
    }
}

fn judge_answer(stage: Stage, answer: Answer) -> Fate {
    let about_message = stage >= Stage::Mail;
    match answer.code {
        // RFC 5321 §3.8: the hop is closing the connection.
        421 => said(answer, false),
        // RFC 5321 §4.5.3.1.10: "too many recipients" is to be taken as temporary, 552 too.
        452 | 552 if stage == Stage::Rcpt && is_crowd(&answer) => Fate {
            crowd: true,
            ..said(answer, true)
        },
        400..=499 => said(answer, about_message),
        // We have not shown who we are, or not in the right way: nothing about the message.
        500..=599 if stage == Stage::Mail && is_about_us(&answer) => said(answer, true),
        // A greeting, EHLO or STARTTLS refused says nothing about the message.
        500..=599 if about_message => Fate {
            outcome: Outcome::Failed(Cause::Said(answer)),
            elsewhere: false,
            in_step: true,
            crowd: false,
            reached: true,
            handover: Handover::Relayed,
        },
        500..=599 => said(answer, false),
        _ => lost(stage, format!("{answer} is no answer to this")),
    }
}

/// RFC 3463 §3.6 has X.5.3 for it, and those that give no such code may mean it.
fn is_crowd(answer: &Answer) -> bool {
    let status = answer.enhanced.as_deref();
    status.is_none_or(|it| matches!(it, "4.5.3" | "5.5.3"))
}

/// RFC 4954 §6, RFC 3207 §4: a login or STARTTLS is wanted before MAIL.
fn is_about_us(answer: &Answer) -> bool {
    let words = answer.text.to_ascii_lowercase();
    let wants = ["authenticat", "starttls", "log in", "login"];
    answer.code == 530
        || answer.enhanced.as_deref() == Some("5.7.0") && wants.iter().any(|it| words.contains(it))
}

fn said(answer: Answer, in_step: bool) -> Fate {
    Fate {
        outcome: Outcome::Deferred(Cause::Said(answer)),
        elsewhere: true,
        in_step,
        crowd: false,
        reached: true,
        handover: Handover::Relayed,
    }
}

fn put_off(reason: String) -> Fate {
    Fate {
        outcome: Outcome::Deferred(Cause::Found(reason)),
        elsewhere: true,
        in_step: false,
        crowd: false,
        reached: true,
        handover: Handover::Relayed,
    }
}

/// The conversation broke: before the final dot nothing was handed over, after it nobody knows.
fn lost(stage: Stage, reason: String) -> Fate {
    let cause = Cause::Found(format!("{reason} ({stage})"));
    let sent = stage == Stage::FinalDot;
    Fate {
        outcome: if sent {
            Outcome::PossiblyDelivered(cause)
        } else {
            Outcome::Deferred(cause)
        },
        elsewhere: !sent,
        in_step: false,
        crowd: false,
        reached: true,
        handover: Handover::Relayed,
    }
}

impl Outcome {
    /// Another next hop has nothing to add.
    pub const fn is_settled(&self) -> bool {
        !matches!(self, Self::Deferred(_))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(answer) => answer.fmt(f),
            Self::Found(reason) | Self::Unfit { reason, .. } => f.write_str(reason),
        }
    }
}

impl Stage {
    /// The step of a conversation that it stands for.
    pub const fn step(self) -> &'static str {
        match self {
            Self::Prepare => "look up",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "message",
            Self::FinalDot => "end of message",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "before connecting",
            Self::Connect => "while connecting",
            Self::Greeting => "waiting for the greeting",
            Self::Hello => "after EHLO",
            Self::StartTls => "while starting TLS",
            Self::Auth => "while logging in",
            Self::Mail => "after MAIL",
            Self::Rcpt => "after RCPT",
            Self::Data => "after DATA",
            Self::Content => "while sending the message",
            Self::FinalDot => "after the whole message was sent",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STAGES: [Stage; 11] = [
        Stage::Prepare,
        Stage::Connect,
        Stage::Greeting,
        Stage::Hello,
        Stage::StartTls,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Content,
        Stage::FinalDot,
    ];

    fn lacks() -> Trouble {
        Trouble::Lacks {
            status: "5.6.7",
            reason: "SMTPUTF8 is not offered".into(),
        }
    }

    fn answer(code: u16) -> Trouble {
        enhanced(code, None)
    }

    fn wanting(status: &str) -> Trouble {
        Trouble::Said(Answer {
            code: 554,
            enhanced: Some(status.to_owned()),
            text: "Authentication required".into(),
        })
    }

    fn enhanced(code: u16, enhanced: Option<&str>) -> Trouble {
        Trouble::Said(Answer {
            code,
            enhanced: enhanced.map(str::to_owned),
            text: "words".into(),
        })
    }

    /// One letter a stage: d(eferred), F(ailed), p(ossibly delivered); upper-case D stays in step.
    fn row(trouble: &Trouble) -> String {
        STAGES
            .into_iter()
            .map(|stage| {
                let fate = judge(stage, trouble.clone());
                match (&fate.outcome, fate.in_step) {
                    (Outcome::Deferred(_), false) => 'd',
                    (Outcome::Deferred(_), true) => 'D',
                    (Outcome::Failed(_), true) => 'F',
                    (Outcome::PossiblyDelivered(_), false) => 'p',
                    _ => '!',
                }
            })
            .collect()
    }

    #[test]
    fn each_trouble_at_each_stage() {
        for (trouble, expected) in [
            (answer(421), "ddddddddddd"),
            (answer(450), "ddddddDDDDD"),
            (answer(451), "ddddddDDDDD"),
            (answer(499), "ddddddDDDDD"),
            (answer(500), "ddddddFFFFF"),
            (answer(550), "ddddddFFFFF"),
            (answer(554), "ddddddFFFFF"),
            (answer(599), "ddddddFFFFF"),
            (answer(552), "ddddddFDFFF"),
            (enhanced(552, Some("5.5.3")), "ddddddFDFFF"),
            (enhanced(552, Some("5.2.2")), "ddddddFFFFF"),
            (answer(530), "ddddddDFFFF"),
            (wanting("5.7.0"), "ddddddDFFFF"),
            (wanting("5.7.1"), "ddddddFFFFF"),
            (answer(220), "ddddddddddp"),
            (answer(354), "ddddddddddp"),
            (answer(250), "ddddddddddp"),
            (Trouble::Closed, "ddddddddddp"),
            (Trouble::Silent(Duration::from_secs(1)), "ddddddddddp"),
            (Trouble::Nonsense("x".into()), "ddddddddddp"),
            (Trouble::Network("reset".into()), "ddddddddddp"),
            (Trouble::Tls("alert".into()), "ddddddddddp"),
            (Trouble::NoSuchName("x".into()), "ddddddddddd"),
            (Trouble::Unresolved("x".into()), "ddddddddddd"),
            (Trouble::Disk("full".into()), "ddddddddddd"),
            (Trouble::NotLetIn("x".into()), "ddddddddddd"),
            (Trouble::Ours("x".into()), "ddddddddddd"),
            (Trouble::Stopping, "ddddddddddp"),
            (lacks(), "FFFFFFFFFFF"),
        ] {
            assert_eq!(row(&trouble), expected, "{trouble:?}");
        }
    }

    #[test]
    fn another_hop_is_asked_unless_it_could_double_or_was_refused() {
        for (stage, trouble, elsewhere) in [
            (Stage::Connect, Trouble::Closed, true),
            (Stage::Greeting, answer(554), true),
            (Stage::Greeting, answer(421), true),
            (Stage::Mail, answer(451), true),
            (Stage::Rcpt, answer(550), false),
            (Stage::Content, Trouble::Closed, true),
            (Stage::FinalDot, answer(452), true),
            (Stage::FinalDot, answer(554), false),
            (Stage::FinalDot, Trouble::Closed, false),
            (Stage::FinalDot, answer(354), false),
            (Stage::Mail, lacks(), true),
        ] {
            let fate = judge(stage, trouble.clone());
            assert_eq!(fate.elsewhere, elsewhere, "{stage:?} {trouble:?}");
        }
    }

    /// R(eached), or not: whether another message to the room is worth an attempt.
    #[test]
    fn a_hop_is_reached_when_it_is_ready_for_mail_or_says_what_it_cannot_carry() {
        for (trouble, expected) in [
            (answer(421), "......RRRRR"),
            (answer(550), "......RRRRR"),
            (Trouble::Closed, "......RRRRR"),
            (Trouble::Silent(Duration::from_secs(1)), "......RRRRR"),
            (Trouble::Tls("alert".into()), "......RRRRR"),
            (lacks(), "RRRRRRRRRRR"),
            (Trouble::Disk("full".into()), "RRRRRRRRRRR"),
            (Trouble::Ours("x".into()), "RRRRRRRRRRR"),
            (Trouble::Stopping, "RRRRRRRRRRR"),
        ] {
            let reached = |stage| judge(stage, trouble.clone()).reached;
            let row = STAGES.map(|stage| if reached(stage) { 'R' } else { '.' });
            assert_eq!(String::from_iter(row), expected, "{trouble:?}");
        }
        for trouble in [
            Trouble::NotLetIn("x".into()),
            Trouble::NoSuchName("x".into()),
            Trouble::Unresolved("x".into()),
        ] {
            assert!(!judge(Stage::Auth, trouble.clone()).reached, "{trouble:?}");
        }
    }

    #[test]
    fn words_say_where_it_broke() {
        let fate = judge(Stage::Rcpt, Trouble::Silent(Duration::from_secs(60)));
        let Outcome::Deferred(cause) = fate.outcome else {
            unreachable!("silence is temporary");
        };
        assert_eq!(cause.to_string(), "no answer within 60 s (after RCPT)");
    }
}
