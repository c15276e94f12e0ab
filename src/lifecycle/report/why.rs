//! Causes in plain words: what a sender hears of an answer, or of no answer.

use super::super::scanning;
use super::{Failure, Last, News, Notice};
use crate::delivery::outcome::Cause;
use crate::mail::{Answer, Language, State};
use crate::spool::store::Waiting;

macro_rules! causes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident: $nb:literal, $en:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant,)* }

        impl $name {
            pub const fn sentence(self, language: Language) -> &'static str {
                match self { $(Self::$variant => language.choose($nb, $en),)* }
            }
        }
    };
}

causes! {
    /// What stands in the way, as a person would say it.
    Why {
        NoMailbox:
            "Adressen finnes ikke hos mottakeren. Sjekk at den er riktig skrevet.",
            "The recipient's mail system has no such address. Check the spelling.";
        MailboxClosed:
            "Postkassen til mottakeren er stengt.",
            "The recipient's mailbox is closed.";
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
        Sender:
            "Mottakerens e-postsystem godtar ikke adressen din som avsender.",
            "The recipient's mail system does not accept your address as a sender.";
        Suspect:
            "Mottakerens e-postsystem stoppet meldingen som søppelpost eller skadelig innhold.",
            "The recipient's mail system stopped the message as junk or harmful.";
        Rules:
            "Mottakerens e-postsystem har regler som stoppet meldingen.",
            "The recipient's mail system has rules that stopped the message.";
        Refused:
            "Mottakerens e-postsystem avviste meldingen.",
            "The recipient's mail system refused the message.";
        Busy:
            "Mottakerens e-postsystem kan ikke ta imot meldingen akkurat nå.",
            "The recipient's mail system cannot take the message just now.";
        Later:
            "Mottakerens e-postsystem ber oss prøve igjen om litt.",
            "The recipient's mail system asks us to try again in a while.";
        NoSpace:
            "Mottakerens e-postsystem har ikke plass til meldingen akkurat nå.",
            "The recipient's mail system has no space for the message just now.";
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
        Disabled:
            "Mottakerens sentral tar ikke imot e-post for øyeblikket.",
            "The recipient's control room takes no mail at the moment.";
        Ours:
            "Feilen ligger hos oss, ikke hos mottakeren.",
            "The fault is ours, not the recipient's.";
        Unsure:
            "Forbindelsen ble brutt rett etter at vi hadde sendt meldingen. Vi vet ikke om den \
             kom fram.",
            "The connection was lost just after the message had been sent. We do not know \
             whether it arrived.";
        Unknown:
            "Vi får ikke levert til mottakerens e-postsystem.",
            "We cannot deliver to the recipient's mail system.";
        InLine:
            "Det er kø av meldinger til denne mottakeren.",
            "Many messages are waiting for this recipient.";
        Held:
            "Brukerstøtten holder meldingen tilbake. Den sendes når de frigir den.",
            "The message is being held by the service desk. It will be sent when they release it.";
        Cancelled:
            "Brukerstøtten stoppet sendingen.",
            "The service desk cancelled the message.";
        Caught:
            "Meldingen ble stoppet av viruskontrollen. Den er ikke levert, og ligger hos \
             brukerstøtten.",
            "The message was stopped by the virus scan. It was not delivered, and lies with the \
             service desk.";
        CaughtLate:
            "Meldingen var sluppet gjennom, og ble så stoppet av viruskontrollen. Så vidt vi vet er den \
             ikke levert. Den ligger hos brukerstøtten.",
            "The message had been let through, and was then stopped by the virus scan. As far as we \
             know it was not delivered. It lies with the service desk.";
        Unscanned:
            "Meldingen er ikke viruskontrollert ennå. Den sendes så snart det er gjort, hvis ingenting \
             blir funnet.",
            "The message has not been scanned for viruses yet. It will be sent as soon as that is \
             done, unless something is found.";
        NeverScanned:
            "Den rakk ikke å bli viruskontrollert.",
            "It was not scanned for viruses in time.";
        Unscannable:
            "Meldingen kunne ikke viruskontrolleres. Brukerstøtten må avgjøre om den skal sendes.",
            "The message could not be scanned for viruses. The service desk has to decide whether \
             it is sent.";
        HeldBack:
            "Meldinger med vedlegg holdes tilbake for tiden, som et føre var-tiltak. Etterpå \
             kontrolleres den på nytt, og sendes hvis ingenting blir funnet.",
            "Messages with attachments are being held back for now, as a precaution. Afterwards it \
             is scanned again, and sent unless something is found.";
        WasHeld:
            "Den ble holdt tilbake.",
            "It was held back.";
    }
}

impl Why {
    pub(super) fn of(notice: &Notice) -> Self {
        match (&notice.news, &notice.last) {
            (News::Held(_), _) => Self::of_a_hold(&notice.waiting),
            (News::Failed(Failure::Cancelled(_)), _) => Self::Cancelled,
            (News::Failed(Failure::Caught(_)), _) => Self::Caught,
            (News::Failed(Failure::CaughtLate(_)), _) => Self::CaughtLate,
            (News::Delayed(_), _) if notice.waiting.state == State::Unscanned => Self::Unscanned,
            (News::Failed(Failure::GivenUp(_) | Failure::Expired(_)), _)
                if matches!(notice.waiting.state, State::Unscanned | State::Held) =>
            {
                Self::of_what_never_went(&notice.waiting)
            }
            // Nobody has tried it yet.
            (News::Delayed(_) | News::Failed(Failure::GivenUp(_)), None) => Self::InLine,
            (_, None) => Self::Unknown,
            // A 5xx before the message was spoken of, as in a greeting, refuses nothing.
            (News::Failed(Failure::Refused), Some(last)) => Self::of_last(last, true),
            (_, Some(last)) => Self::of_last(last, false),
        }
    }

    fn of_a_hold(waiting: &Waiting) -> Self {
        match waiting {
            _ if scanning::is_left_to_a_person(waiting) => Self::Unscannable,
            _ if scanning::is_held_by_us(waiting) => Self::HeldBack,
            _ => Self::Held,
        }
    }

    /// Its time was over before it was let through.
    fn of_what_never_went(waiting: &Waiting) -> Self {
        match Self::of_a_hold(waiting) {
            Self::Unscannable => Self::NeverScanned,
            _ if waiting.state == State::Unscanned => Self::NeverScanned,
            _ => Self::WasHeld,
        }
    }

    /// It says why what was never tried never went.
    pub(super) const fn is_of_what_never_went(self) -> bool {
        matches!(self, Self::NeverScanned | Self::WasHeld)
    }

    /// By the words of an attempt as the log keeps them: a hop's answer, or a trouble in ours. `is_final`:
    /// nobody tries it again because of them.
    pub fn of_words(words: &str, is_final: bool) -> Self {
        match read(words) {
            Cause::Said(answer) => said(&answer, is_final),
            Cause::Unfit { status, .. } => unfit(status),
            Cause::Found(words) if is_final && words.ends_with("(null MX)") => Self::NoMail,
            // What ends it in our own words is that no next hop can take it.
            Cause::Found(_) if is_final => Self::Unfit,
            Cause::Found(words) => found(&words),
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

    /// RFC 3463, for a cause that no hop put a number on.
    pub(super) const fn status(self) -> Option<&'static str> {
        Some(match self {
            Self::NoMailbox => "5.1.1",
            Self::Sender => "5.1.8",
            Self::TooLarge => "5.3.4",
            Self::Suspect | Self::Rules => "5.7.1",
            Self::Later => "4.7.0",
            Self::NoSpace => "4.3.1",
            Self::NoContact | Self::Silent => "4.4.1",
            Self::BrokenOff | Self::Unsure => "4.4.2",
            Self::NoNames => "4.4.3",
            Self::NoHost | Self::NoRoom => "4.4.4",
            Self::Disabled => "4.2.1",
            Self::Nonsense => "4.5.0",
            Self::Tls => "4.7.5",
            Self::NotLetIn => "4.7.0",
            Self::InLine => "4.4.5", // congestion
            Self::Ours => "4.3.0",
            _ => return None,
        })
    }

    /// The same, where there is one of this class.
    pub(super) fn status_in(self, class: char) -> Option<&'static str> {
        match (self, class) {
            (Self::MailboxFull, '4') => Some("4.2.2"),
            (Self::MailboxFull, _) => Some("5.2.2"),
            _ => self.status().filter(|status| status.starts_with(class)),
        }
    }
}

/// The words of the last attempt, unless they are for our own people: those may name paths and users
/// of this relay, and stand in the log.
pub(super) fn words(last: &Last) -> Option<String> {
    let why = Why::of_last(last, false);
    let words = (!matches!(why, Why::Ours | Why::NotLetIn)).then(|| last.cause.to_string());
    words.filter(|it| !it.is_empty())
}

/// By the hop's own code (RFC 3463), or else by its reply.
fn said(answer: &Answer, is_final: bool) -> Why {
    let enhanced = answer.enhanced.as_deref().unwrap_or_default();
    let detail = enhanced.split_once('.').map_or("", |(_, rest)| rest);
    let is_about = |subject: &str| detail.starts_with(subject);
    match detail {
        "" => by_words(answer, is_final),
        "2.2" => Why::MailboxFull,
        "2.3" | "3.4" => Why::TooLarge,
        "3.1" if !is_final => Why::NoSpace,
        _ if !is_final && is_about("7.") => Why::Later,
        _ if !is_final => Why::Busy,
        "1.0" | "1.1" | "1.2" | "1.3" | "1.6" => Why::NoMailbox,
        "1.7" | "1.8" => Why::Sender,
        "1.10" => Why::NoMail,
        "2.1" => Why::MailboxClosed,
        "6.7" => Why::Letters,
        "7.30" => Why::Unguarded, // RFC 8689 §7
        _ if is_about("7.") && has(answer, &SUSPECT) => Why::Suspect,
        _ if is_about("7.") => Why::Rules,
        _ => Why::Refused,
    }
}

const SUSPECT: [&str; 7] = [
    "spam",
    "junk",
    "virus",
    "malware",
    "infected",
    "phish",
    "søppelpost",
];
const RULES: [&str; 9] = [
    "relay",
    "policy",
    "denied",
    "not allowed",
    "not permitted",
    "prohibit",
    "blocked",
    "blacklist",
    "blocklist",
];
const FULL: [&str; 4] = ["quota", "mailbox full", "mailbox is full", "storage alloc"];
const ADDRESS: [&str; 11] = [
    "unknown",
    "no such",
    "not found",
    "does not exist",
    "doesn't exist",
    "mailbox",
    "recipient",
    "user",
    "address",
    "ukjent",
    "finnes ikke",
];

/// A reply without a code of its own is used for anything: what it says about an address, about the
/// sender, or about the content is told by its words alone.
fn by_words(answer: &Answer, is_final: bool) -> Why {
    let of_size = ["size", "too large", "too big"];
    match answer.code {
        _ if has(answer, &FULL) => Why::MailboxFull,
        552 if is_final => Why::TooLarge,
        _ if is_final && has(answer, &of_size) => Why::TooLarge,
        _ if is_final && has(answer, &SUSPECT) => Why::Suspect,
        _ if is_final && has(answer, &RULES) => Why::Rules,
        _ if is_final && has(answer, &["sender"]) => Why::Sender,
        // RFC 5321 §3.4: the user is not there.
        551 if is_final => Why::NoMailbox,
        _ if is_final && has(answer, &ADDRESS) => Why::NoMailbox,
        _ if is_final => Why::Refused,
        _ if has(answer, &["greylist", "graylist", "grey-list"]) => Why::Later,
        _ if has(answer, &["disk full", "insufficient"]) => Why::NoSpace,
        _ => Why::Busy,
    }
}

fn has(answer: &Answer, words: &[&str]) -> bool {
    let text = answer.text.to_lowercase();
    words.iter().any(|word| text.contains(word))
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
        _ if words.starts_with("room ") && words.ends_with(" is disabled") => Why::Disabled,
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
