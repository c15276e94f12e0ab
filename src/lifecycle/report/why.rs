//! Causes in plain words: what a sender hears of an answer, or of no answer.

use super::{Failure, Last, News, Notice};
use crate::delivery::outcome::Cause;
use crate::mail::{Answer, Language};

macro_rules! causes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident: $nb:literal, $en:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $($variant,)* }

        impl $name {
            pub(super) const fn sentence(self, language: Language) -> &'static str {
                match self { $(Self::$variant => language.choose($nb, $en),)* }
            }
        }
    };
}

causes! {
    /// What stands in the way, as a person would say it.
    Why {
        NoMailbox:
            "Adressen finnes ikke hos mottakeren.",
            "The recipient's mail system has no such address.";
        MailboxFull:
            "Postkassen til mottakeren er full.",
            "The recipient's mailbox is full.";
        TooLarge:
            "Meldingen er for stor for mottakeren.",
            "The message is too large for the recipient.";
        Letters:
            "Mottakerens e-postsystem tar ikke imot adresser med æ, ø, å eller lignende.",
            "The recipient's mail system takes no addresses with letters beyond a to z.";
        NoMail:
            "Mottakerens adresse tar ikke imot e-post.",
            "No mail is taken at the recipient's address.";
        Unguarded:
            "Meldingen krever sikker overføring hele veien. Det kan ikke mottakerens \
             e-postsystem tilby.",
            "The message must be guarded all the way, which the recipient's mail system cannot \
             promise.";
        Unfit:
            "Mottakerens e-postsystem kan ikke ta imot en slik melding.",
            "The recipient's mail system cannot take such a message.";
        Refused:
            "Mottakerens e-postsystem avviste meldingen.",
            "The recipient's mail system refused the message.";
        Busy:
            "Mottakerens e-postsystem kan ikke ta imot meldingen akkurat nå.",
            "The recipient's mail system cannot take the message just now.";
        NoContact:
            "Vi får ikke kontakt med mottakerens e-postsystem.",
            "We cannot get in touch with the recipient's mail system.";
        Silent:
            "Mottakerens e-postsystem svarer ikke.",
            "The recipient's mail system does not answer.";
        BrokenOff:
            "Forbindelsen til mottakerens e-postsystem ble brutt.",
            "The connection to the recipient's mail system was lost.";
        Nonsense:
            "Vi forstår ikke det mottakerens e-postsystem svarer.",
            "We do not understand what the recipient's mail system answers.";
        NoHost:
            "Vi finner ikke mottakerens e-postsystem i nettverket.",
            "We cannot find the recipient's mail system in the network.";
        NoNames:
            "Vi får ikke slått opp hvor mottakerens e-postsystem er.",
            "We cannot look up where the recipient's mail system is.";
        Tls:
            "Vi får ikke en sikker forbindelse til mottakerens e-postsystem.",
            "We cannot get a secure connection to the recipient's mail system.";
        NotLetIn:
            "Vi får ikke logget inn hos mottakerens e-postsystem.",
            "We cannot log in to the recipient's mail system.";
        NoRoom:
            "Mottakerens sentral er ikke registrert hos oss for øyeblikket.",
            "The recipient's control room is not registered with us at the moment.";
        Ours:
            "Feilen ligger hos oss, ikke hos mottakeren.",
            "The fault is ours, not the recipient's.";
        Unsure:
            "Forbindelsen ble brutt rett etter at meldingen var sendt. Vi vet ikke om den kom \
             fram.",
            "The connection was lost just after the message had been sent. We do not know \
             whether it arrived.";
        Unknown:
            "Vi får ikke levert til mottakerens e-postsystem.",
            "We cannot deliver to the recipient's mail system.";
        InLine:
            "Det er kø av meldinger til denne mottakeren.",
            "Many messages are waiting for this recipient.";
        Held:
            "Meldingen holdes tilbake av driftspersonell. Den sendes når de frigir den.",
            "The message is being held by the service desk. It will be sent when they release it.";
        Cancelled:
            "Sendingen ble stoppet av driftspersonell.",
            "The message was cancelled by the service desk.";
    }
}

impl Why {
    pub(super) fn of(notice: &Notice) -> Self {
        match (&notice.news, &notice.last) {
            (News::Held(_), _) => Self::Held,
            (News::Failed(Failure::Cancelled(_)), _) => Self::Cancelled,
            // Nobody has tried it yet.
            (News::Delayed(_) | News::Failed(Failure::GivenUp(_)), None) => Self::InLine,
            (_, None) => Self::Unknown,
            // A 5xx before the message was spoken of, as in a greeting, refuses nothing.
            (News::Failed(Failure::Refused), Some(last)) => Self::of_last(last, true),
            (_, Some(last)) => Self::of_last(last, false),
        }
    }

    fn of_last(last: &Last, is_final: bool) -> Self {
        match &last.cause {
            _ if last.is_unsure => Self::Unsure,
            Cause::Said(answer) => said(answer, is_final),
            Cause::Unfit { status, .. } => unfit(status),
            Cause::Found(words) => found(words),
        }
    }

    /// RFC 3463, for a delay whose cause no hop put a number on.
    pub(super) const fn status(self) -> Option<&'static str> {
        Some(match self {
            Self::NoContact | Self::Silent => "4.4.1",
            Self::BrokenOff | Self::Unsure => "4.4.2",
            Self::NoNames => "4.4.3",
            Self::NoHost | Self::NoRoom => "4.4.4",
            Self::Nonsense => "4.5.0",
            Self::Tls => "4.7.5",
            Self::NotLetIn => "4.7.0",
            Self::InLine => "4.4.5", // congestion
            Self::Ours => "4.3.0",
            _ => return None,
        })
    }
}

/// The words of the last attempt, unless they are for our own people: those may name paths and users
/// of this relay, and stand in the log.
pub(super) fn words(last: &Last) -> Option<String> {
    let why = Why::of_last(last, false);
    (!matches!(why, Why::Ours | Why::NotLetIn)).then(|| last.cause.to_string())
}

/// By the hop's own code (RFC 3463), or else by its reply.
fn said(answer: &Answer, is_final: bool) -> Why {
    let enhanced = answer.enhanced.as_deref().unwrap_or_default();
    let subject = enhanced.split_once('.').map_or("", |(_, rest)| rest);
    match (subject, answer.code) {
        ("2.2", _) => Why::MailboxFull,
        ("2.3" | "3.4", _) => Why::TooLarge,
        ("1.0" | "1.1" | "1.6" | "1.10" | "2.1", _) if is_final => Why::NoMailbox,
        ("6.7", _) if is_final => Why::Letters,
        ("", 550 | 551 | 553) if is_final => Why::NoMailbox,
        ("", 552) if is_final => Why::TooLarge,
        _ if is_final => Why::Refused,
        _ => Why::Busy,
    }
}

fn unfit(status: &str) -> Why {
    match status {
        "5.1.10" => Why::NoMail,
        "5.3.4" => Why::TooLarge,
        "5.6.7" => Why::Letters,
        status if status.starts_with("5.7.") => Why::Unguarded, // RFC 8689 §7
        _ => Why::Unfit,
    }
}

/// By the words in which `delivery` puts a trouble. What they do not tell is [`Why::Unknown`].
fn found(words: &str) -> Why {
    const BEGINNINGS: [(&str, Why); 8] = [
        ("TLS: ", Why::Tls),
        ("there is no host named ", Why::NoHost),
        ("the name could not be looked up", Why::NoNames),
        ("no answer within ", Why::Silent),
        ("the answer makes no sense", Why::Nonsense),
        ("could not be written", Why::Ours),
        ("the message cannot be read", Why::Ours),
        ("the store has no bytes", Why::Ours),
    ];
    let begins = |(beginning, _): &&(&str, Why)| words.starts_with(beginning);
    if let Some((_, why)) = BEGINNINGS.iter().find(begins) {
        return *why;
    }
    match words {
        _ if words.ends_with("is no longer in the routing table") => Why::NoRoom,
        _ if words.contains("our fault") => Why::Ours,
        _ if words.contains(" log in") => Why::NotLetIn,
        _ if words.contains("never sent in plain text") => Why::NotLetIn,
        _ if words.contains("cannot show its certificate") => Why::NotLetIn,
        _ if words.contains(" is no answer to this") => Why::Nonsense,
        _ if words.ends_with("(while connecting)") => Why::NoContact,
        _ if words.ends_with(')') => Why::BrokenOff,
        _ => Why::Unknown,
    }
}

/// A listed reply as the cause it was: a hop's answer begins with its code.
pub(super) fn read(reply: &str) -> Cause {
    let (code, text) = reply.split_once(' ').unwrap_or((reply, ""));
    let code = match code.parse::<u16>() {
        Ok(number) if code.len() == 3 => number,
        _ => return Cause::Found(reply.to_owned()),
    };
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_status = first.split('.').count() == 3
        && first
            .bytes()
            .all(|octet| octet.is_ascii_digit() || octet == b'.');
    let (enhanced, text) = if is_status {
        (Some(first.to_owned()), rest)
    } else {
        (None, text)
    };
    Cause::Said(Answer {
        code,
        enhanced,
        text: text.to_owned(),
    })
}
