//! The report to a sender whose message failed (RFC 3464), for an operator in a hurry.
//!
//! Decides to whom a report may go: to a sender in a registered room, never outside and never for
//! a report. Pure, the MIME boundary included. The crate `mail-builder` lives here.

use std::net::IpAddr;
use std::time::Duration;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Mailbox;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};

use super::Occasion;
use crate::delivery::outcome::{Attempt, Cause, Outcome};
use crate::mail::headers::header_section;
use crate::mail::{
    Address, Answer, Content, Details, Event, EventKind, Facts, Language, Reference, RoomId, State,
    Terms, Wishes,
};
use crate::policy::table::Room;
use crate::spool::store::{NewMessage, NewRecipient, Waiting};

/// How the relay signs what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letterhead {
    pub hostname: String,
    pub language: Language,
}

/// A recipient that did not get the message, and why.
#[derive(Debug, Clone)]
pub struct Failure {
    pub waiting: Waiting,
    pub attempt: Attempt,
    /// Set where it was given up after trying for this long.
    pub tried_for: Option<Duration>,
}

/// How much of the original's header section a report carries.
const HEADERS: usize = 32 * 1024;
/// How much of a hop's words fits a line of the report (RFC 5322 §2.1.1 allows 998).
const WORDS: usize = 400;

impl Failure {
    pub const fn new(waiting: Waiting, attempt: Attempt, tried_for: Option<Duration>) -> Self {
        Self {
            waiting,
            attempt,
            tried_for,
        }
    }

    fn answer(&self) -> Option<&Answer> {
        match &self.attempt.outcome {
            Outcome::Delivered(answer)
            | Outcome::Deferred(Cause::Said(answer))
            | Outcome::Failed(Cause::Said(answer))
            | Outcome::PossiblyDelivered(Cause::Said(answer)) => Some(answer),
            Outcome::Deferred(_) | Outcome::Failed(_) | Outcome::PossiblyDelivered(_) => None,
        }
    }

    fn words(&self) -> String {
        match &self.attempt.outcome {
            Outcome::Delivered(answer) => answer.to_string(),
            Outcome::Deferred(cause)
            | Outcome::Failed(cause)
            | Outcome::PossiblyDelivered(cause) => cause.to_string(),
        }
    }

    /// RFC 3463: the hop's own code where it gave one.
    fn status(&self) -> String {
        if self.tried_for.is_some() {
            return "4.4.7".into();
        }
        let answer = self.answer();
        let given = answer.and_then(|it| it.enhanced.clone());
        given.unwrap_or_else(|| match answer.map(|it| it.code) {
            Some(550 | 551 | 553) => "5.1.1".into(),
            Some(552) => "5.3.4".into(),
            _ => "5.0.0".into(),
        })
    }

    fn why(&self) -> Why {
        if matches!(self.attempt.outcome, Outcome::PossiblyDelivered(_)) {
            return Why::Unsure;
        }
        if let Some(length) = self.tried_for {
            return Why::Late(length);
        }
        match self.status().as_str() {
            "5.1.1" | "5.1.0" | "5.1.10" | "5.1.6" | "5.2.1" => Why::NoMailbox,
            "5.2.2" => Why::MailboxFull,
            "5.2.3" | "5.3.4" => Why::TooLarge,
            "5.6.7" => Why::Letters,
            _ => Why::Refused,
        }
    }
}

/// The causes that a sender hears, each a sentence in two languages.
enum Why {
    NoMailbox,
    MailboxFull,
    TooLarge,
    Letters,
    Refused,
    Late(Duration),
    Unsure,
}

/// Writes the report on these failures of one message; or says why there is none.
pub fn report(failures: &[Failure], occasion: &Occasion<'_>) -> Result<NewMessage, String> {
    let first = failures.first().ok_or("nothing failed")?;
    // RFC 5321 §6.1: never a report on a report.
    let sender = first.waiting.sender.as_ref();
    let sender = sender.ok_or("the message has the null sender")?;
    let room = occasion
        .table
        .room_of(sender.domain())
        .ok_or_else(|| format!("{sender} is outside the registered rooms, and nothing leaves"))?;
    let letter = Letter {
        failures,
        first: &first.waiting,
        sender,
        occasion,
    };
    Ok(letter.addressed_to(&room.id))
}

struct Letter<'a> {
    failures: &'a [Failure],
    first: &'a Waiting,
    sender: &'a Address,
    occasion: &'a Occasion<'a>,
}

impl Letter<'_> {
    fn addressed_to(&self, room: &RoomId) -> NewMessage {
        let Occasion { now, .. } = *self.occasion;
        let report = self.occasion.report();
        let bytes = self.written();
        let message = NewMessage {
            reference: report,
            accepted_at: now,
            sender: None,
            sender_room: None,
            client: String::new(),
            smtputf8: self.sender.needs_smtputf8() || self.speaks_utf8(),
            eight_bit: !bytes.is_ascii(),
            terms: Terms {
                priority: self.first.terms.priority,
                require_tls: self.first.terms.require_tls, // RFC 8689 §5
                ..Terms::default()
            },
            facts: Facts {
                subject: Some(self.subject()),
                message_id: Some(self.message_id()),
                attachments: Vec::new(),
            },
            content: Content {
                trace: bytes::Bytes::new(),
                bytes: bytes.into(),
            },
            recipients: vec![NewRecipient {
                address: self.sender.clone(),
                room: room.clone(),
                wishes: Wishes::default(),
                state: State::Queued,
                next_attempt_at: now,
                leased_until: now,
            }],
            events: Vec::new(),
            left_out: Vec::new(),
        };
        let accepted = self.acceptance(room, message.content.len());
        NewMessage {
            events: vec![accepted],
            ..message
        }
    }

    fn acceptance(&self, room: &RoomId, size: usize) -> Event {
        Event {
            reference: self.occasion.report(),
            at: self.occasion.now,
            kind: EventKind::Accepted,
            recipient: Some(self.sender.clone()),
            details: Details {
                room: Some(room.to_string()),
                rule: Some("report to the sender".into()),
                revision: Some(self.occasion.table.revision()),
                size: u64::try_from(size).ok(),
                reason: Some(format!("{} failed", self.first.id.reference)),
                ..Details::default()
            },
        }
    }

    /// The whole message, as bytes with CRLF.
    fn written(&self) -> Vec<u8> {
        let hostname = &self.occasion.letterhead.hostname;
        let mut builder = MessageBuilder::new()
            .from(Mailbox::new_address(
                Some("Ilbud"),
                format!("MAILER-DAEMON@{hostname}"),
            ))
            .to(Mailbox::new_address(None::<&str>, self.sender.wire()))
            .subject(self.subject())
            .header("Date", Raw::new(self.occasion.now.rfc5322()))
            .message_id(self.message_id())
            .header("Auto-Submitted", Raw::new("auto-replied")); // RFC 3834 §5
        if let Some(original) = self.original_id() {
            builder = builder.in_reply_to(original.clone()).references(original);
        }
        let mut bytes = Vec::new();
        builder.body(self.parts()).serialize(&mut bytes);
        bytes
    }

    fn original_id(&self) -> Option<String> {
        let id = self.first.message_id.as_deref()?;
        let bare = id.trim().trim_start_matches('<').trim_end_matches('>');
        let sound = bare.len() < 250 && bare.bytes().all(|octet| octet.is_ascii_graphic());
        (sound && !bare.is_empty()).then(|| bare.to_owned())
    }

    fn message_id(&self) -> String {
        let hostname = &self.occasion.letterhead.hostname;
        format!("{}@{hostname}", self.occasion.report())
    }

    /// Whether the machine-readable part names an address that is not ASCII (RFC 6533 §3).
    fn speaks_utf8(&self) -> bool {
        let mut recipients = self.failures.iter().map(|it| &it.waiting.recipient);
        recipients.any(Address::needs_smtputf8)
    }

    fn subject(&self) -> String {
        let subject = self.first.subject.as_deref().map(str::trim);
        let subject: String = subject.unwrap_or_default().chars().take(200).collect();
        match (self.occasion.letterhead.language, subject.is_empty()) {
            (Language::Nb, false) => format!("Ikke levert: {subject}"),
            (Language::Nb, true) => "Ikke levert: (uten emne)".into(),
            (Language::En, false) => format!("Not delivered: {subject}"),
            (Language::En, true) => "Not delivered: (no subject)".into(),
        }
    }

    fn parts(&self) -> MimePart<'static> {
        let kind = ContentType::new("multipart/report")
            .attribute("report-type", "delivery-status")
            .attribute("boundary", boundary(self.occasion.report()));
        let human = MimePart::new(
            ContentType::new("text/plain").attribute("charset", "utf-8"),
            BodyPart::Text(self.human().into()),
        );
        MimePart::new(kind, vec![human, self.machine_part(), self.headers_part()])
    }

    fn machine_part(&self) -> MimePart<'static> {
        let (kind, encoding) = if self.speaks_utf8() {
            ("message/global-delivery-status", "8bit")
        } else {
            ("message/delivery-status", "7bit")
        };
        MimePart::new(
            ContentType::new(kind),
            BodyPart::Binary(self.machine().into_bytes().into()),
        )
        .transfer_encoding(encoding)
    }

    fn headers_part(&self) -> MimePart<'static> {
        let headers = match self.occasion.content {
            Some(content) => header_section(content, HEADERS).to_vec(),
            None => Vec::new(),
        };
        MimePart::new(
            ContentType::new("text/rfc822-headers"),
            BodyPart::Binary(headers.into()),
        )
    }

    /// RFC 3464 §2: a block on the message, and one on each recipient.
    fn machine(&self) -> String {
        let mut text = format!(
            "Reporting-MTA: dns; {}\r\nArrival-Date: {}\r\n",
            self.occasion.letterhead.hostname,
            self.first.accepted_at.rfc5322(),
        );
        for failure in self.failures {
            text.push_str("\r\n");
            text.push_str(&self.machine_block(failure));
        }
        text
    }

    fn machine_block(&self, failure: &Failure) -> String {
        let recipient = &failure.waiting.recipient;
        let kind = if recipient.needs_smtputf8() {
            "utf-8"
        } else {
            "rfc822"
        };
        let mut block = format!(
            "Final-Recipient: {kind}; {}\r\nAction: failed\r\nStatus: {}\r\n",
            recipient.wire(),
            failure.status(),
        );
        if let (Some(_), Some(host)) = (failure.answer(), remote(failure)) {
            block.push_str(&format!("Remote-MTA: dns; {host}\r\n"));
        }
        let kind = if failure.answer().is_some() {
            "smtp"
        } else {
            "X-Ilbud"
        };
        let words = ascii(&failure.words());
        block.push_str(&format!("Diagnostic-Code: {kind}; {words}\r\n"));
        let last_at = self.occasion.now.rfc5322();
        block.push_str(&format!("Last-Attempt-Date: {last_at}\r\n"));
        block
    }

    fn human(&self) -> String {
        let nb = self.occasion.letterhead.language == Language::Nb;
        let (date, time) = self.first.accepted_at.local_parts();
        let subject = self.first.subject.as_deref().map(one_line);
        let reference = self.first.id.reference;
        let mut text = if nb {
            format!(
                "Meldingen din er IKKE levert.\r\n\r\n\
                 Emne:       {}\r\nSendt:      {date} kl. {time}\r\nReferanse:  {reference}\r\n\r\n\
                 Ikke levert til:\r\n",
                subject.unwrap_or_else(|| "(uten emne)".into()),
            )
        } else {
            format!(
                "Your message was NOT delivered.\r\n\r\n\
                 Subject:    {}\r\nSent:       {date} at {time}\r\nReference:  {reference}\r\n\r\n\
                 Not delivered to:\r\n",
                subject.unwrap_or_else(|| "(no subject)".into()),
            )
        };
        for failure in self.failures {
            text.push_str(&self.human_block(failure, nb));
        }
        text.push_str(if nb {
            "\r\nVi prøver ikke flere ganger. Skal meldingen fram, må den sendes på nytt.\r\n\
             Oppgi referansen når du kontakter brukerstøtten.\r\n"
        } else {
            "\r\nWe will not try again. If the message is still needed, it must be sent anew.\r\n\
             Give the reference when you contact the service desk.\r\n"
        });
        text
    }

    fn human_block(&self, failure: &Failure, nb: bool) -> String {
        let waiting = &failure.waiting;
        let room = self.occasion.table.room(&waiting.room);
        let name = room.map_or_else(|| waiting.room.to_string(), |room| room.name.clone());
        let why = if nb {
            failure.why().nb()
        } else {
            failure.why().en()
        };
        let (cause, answer) = if nb {
            ("Hvorfor", "Siste svar")
        } else {
            ("Why", "Last answer")
        };
        format!(
            "\r\n  {} ({name})\r\n  {}\r\n  {cause}: {why}\r\n  {answer}: {}\r\n",
            waiting.recipient,
            call(room, &name, nb),
            one_line(&failure.words()),
        )
    }
}

/// What to do now: call.
fn call(room: Option<&Room>, name: &str, nb: bool) -> String {
    match (room.and_then(|room| room.phone.as_deref()), nb) {
        (Some(phone), true) => format!("Haster det? Ring {name}: {phone}"),
        (Some(phone), false) => format!("Is it urgent? Call {name}: {phone}"),
        (None, true) => format!("Haster det? Ring {name}. (Telefonnummeret er ikke registrert.)"),
        (None, false) => format!("Is it urgent? Call {name}. (No phone number is registered.)"),
    }
}

impl Why {
    fn nb(&self) -> String {
        match self {
            Self::NoMailbox => "Adressen finnes ikke hos mottakeren.".into(),
            Self::MailboxFull => "Postkassen til mottakeren er full.".into(),
            Self::TooLarge => "Meldingen er for stor for mottakeren.".into(),
            Self::Letters => {
                "Mottakerens e-postsystem tar ikke imot adresser med æ, ø, å eller lignende.".into()
            }
            Self::Refused => "Mottakerens e-postsystem avviste meldingen.".into(),
            Self::Late(length) => format!(
                "Vi har forsøkt i {}, men fikk ikke levert til mottakerens e-postsystem.",
                counted(
                    *length,
                    [
                        ("time", "timer"),
                        ("minutt", "minutter"),
                        ("sekund", "sekunder")
                    ]
                )
            ),
            Self::Unsure => "Forbindelsen ble brutt rett etter at meldingen var sendt. \
                             Vi vet ikke om den kom fram."
                .into(),
        }
    }

    fn en(&self) -> String {
        match self {
            Self::NoMailbox => "The recipient's mail system has no such address.".into(),
            Self::MailboxFull => "The recipient's mailbox is full.".into(),
            Self::TooLarge => "The message is too large for the recipient.".into(),
            Self::Letters => {
                "The recipient's mail system takes no addresses with letters beyond a to z.".into()
            }
            Self::Refused => "The recipient's mail system refused the message.".into(),
            Self::Late(length) => format!(
                "We tried for {}, but could not deliver to the recipient's mail system.",
                counted(
                    *length,
                    [
                        ("hour", "hours"),
                        ("minute", "minutes"),
                        ("second", "seconds")
                    ]
                )
            ),
            Self::Unsure => "The connection was lost just after the message had been sent. \
                             We do not know whether it arrived."
                .into(),
        }
    }
}

/// `4 timer`, `1 minutt`: the largest unit that fits; `units` from hours down, one and many.
fn counted(length: Duration, units: [(&str, &str); 3]) -> String {
    let [hours, minutes, seconds] = units;
    let (count, (one, many)) = match length.as_secs() {
        length if length >= 3_600 => (length / 3_600, hours),
        length if length >= 60 => (length / 60, minutes),
        length => (length, seconds),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The host of the hop that answered: `smtp://10.1.0.5:25` is `[10.1.0.5]`.
fn remote(failure: &Failure) -> Option<String> {
    let (_, rest) = failure.attempt.hop.as_deref()?.split_once("://")?;
    let rest = rest.rsplit('@').next()?;
    let host = rest.split(['/', '?']).next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let literal = bare.parse::<IpAddr>().is_ok();
    (!bare.is_empty()).then(|| {
        if literal {
            format!("[{bare}]")
        } else {
            ascii(bare)
        }
    })
}

/// One line without control characters, cut where it grows long.
fn one_line(text: &str) -> String {
    let plain = text.chars().take(WORDS);
    plain
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn ascii(text: &str) -> String {
    let line = one_line(text);
    line.chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

fn boundary(reference: Reference) -> String {
    format!("report-{reference}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::retry::Schedule;
    use super::*;
    use crate::delivery::outcome::Handover;
    use crate::mail::{State, Timestamp};
    use crate::policy::table::RoutingTable;
    use crate::spool::store::{RecipientId, Told};

    const NOW: Timestamp = Timestamp::from_millis(1_795_345_200_000);

    const TABLE: &str = r#"
        [[room]]
        id = "room-a"
        name = "Rom A"
        domains = ["a.nodnett.test"]
        next_hops = ["smtp://127.0.0.1:25"]
        [[room]]
        id = "room-b"
        name = "Rom B"
        phone = "+47 00 00 00 02"
        domains = ["b.nodnett.test"]
        next_hops = ["smtp://127.0.0.1:25"]
    "#;

    fn failure(recipient: &str, outcome: Outcome, tried_for: Option<Duration>) -> Failure {
        let waiting = Waiting {
            id: RecipientId {
                reference: Reference::from_number(5),
                number: 0,
            },
            recipient: Address::parse(recipient).unwrap(),
            room: RoomId::new("room-b"),
            state: State::Queued,
            attempts: 0,
            accepted_at: NOW,
            next_attempt_at: NOW,
            last_reply: None,
            waits_since: NOW,
            told: Told::default(),
            wishes: Wishes::default(),
            terms: Terms::default(),
            sender: Some(Address::parse("vakt@a.nodnett.test").unwrap()),
            sender_room: None,
            smtputf8: false,
            eight_bit: false,
            size: 10,
            subject: Some("pr\u{f8}ve".into()),
            message_id: Some("<1@a.nodnett.test>".into()),
        };
        let attempt = Attempt {
            outcome,
            hop: Some("smtp://10.1.0.5:25".into()),
            tls: None,
            reached: true,
            handover: Handover::Relayed,
            duration: Duration::ZERO,
        };
        Failure::new(waiting, attempt, tried_for)
    }

    fn said(code: u16, enhanced: Option<&str>) -> Cause {
        Cause::Said(Answer {
            code,
            enhanced: enhanced.map(str::to_owned),
            text: "no such user".into(),
        })
    }

    fn written(failures: &[Failure], language: Language) -> (NewMessage, String) {
        let table = RoutingTable::parse(TABLE, 7).unwrap().0;
        let letterhead = Letterhead {
            hostname: "relay.nodnett.test".into(),
            language,
        };
        let schedule = Schedule {
            retry: Vec::new(),
            warn_after: Duration::from_secs(300),
            give_up_after: Duration::ZERO,
        };
        let content = Content {
            trace: b"Received: by relay\r\n".as_slice().into(),
            bytes: b"Subject: x\r\n\r\nsecret\r\n".as_slice().into(),
        };
        let occasion = Occasion {
            now: NOW,
            noise: 0,
            schedule: &schedule,
            letterhead: &letterhead,
            table: &table,
            content: Some(&content),
            reports: [Reference::from_number(9); crate::lifecycle::REPORTS],
            redirect: None,
        };
        let message = report(failures, &occasion).unwrap();
        let letter = Letter {
            failures,
            first: &failures.first().unwrap().waiting,
            sender: failures.first().unwrap().waiting.sender.as_ref().unwrap(),
            occasion: &occasion,
        };
        (message, letter.human())
    }

    #[test]
    fn an_operator_in_a_hurry_reads_it_in_norwegian() {
        let refused = Outcome::Failed(said(550, Some("5.1.1")));
        let (_, text) = written(
            &[failure("vakt@b.nodnett.test", refused, None)],
            Language::Nb,
        );
        let (date, time) = NOW.local_parts();
        let expected = format!(
            "Meldingen din er IKKE levert.\r\n\
             \r\n\
             Emne:       pr\u{f8}ve\r\n\
             Sendt:      {date} kl. {time}\r\n\
             Referanse:  0000-0000-0005\r\n\
             \r\n\
             Ikke levert til:\r\n\
             \r\n  vakt@b.nodnett.test (Rom B)\
             \r\n  Haster det? Ring Rom B: +47 00 00 00 02\
             \r\n  Hvorfor: Adressen finnes ikke hos mottakeren.\
             \r\n  Siste svar: 550 5.1.1 no such user\r\n\
             \r\n\
             Vi pr\u{f8}ver ikke flere ganger. Skal meldingen fram, m\u{e5} den sendes p\u{e5} nytt.\r\n\
             Oppgi referansen n\u{e5}r du kontakter brukerst\u{f8}tten.\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn and_in_english() {
        let late = Outcome::Deferred(Cause::Found("connection refused".into()));
        let four_hours = Some(Duration::from_secs(4 * 3_600));
        let (_, text) = written(
            &[failure("vakt@b.nodnett.test", late, four_hours)],
            Language::En,
        );
        let (date, time) = NOW.local_parts();
        let expected = format!(
            "Your message was NOT delivered.\r\n\
             \r\n\
             Subject:    pr\u{f8}ve\r\n\
             Sent:       {date} at {time}\r\n\
             Reference:  0000-0000-0005\r\n\
             \r\n\
             Not delivered to:\r\n\
             \r\n  vakt@b.nodnett.test (Rom B)\
             \r\n  Is it urgent? Call Rom B: +47 00 00 00 02\
             \r\n  Why: We tried for 4 hours, but could not deliver to the recipient's mail system.\
             \r\n  Last answer: connection refused\r\n\
             \r\n\
             We will not try again. If the message is still needed, it must be sent anew.\r\n\
             Give the reference when you contact the service desk.\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_cause_is_a_plain_sentence() {
        let failed = |code, enhanced| Outcome::Failed(said(code, enhanced));
        for (outcome, expected) in [
            (
                failed(550, Some("5.1.1")),
                "The recipient's mail system has no such address.",
            ),
            (
                failed(550, None),
                "The recipient's mail system has no such address.",
            ),
            (
                failed(552, Some("5.2.2")),
                "The recipient's mailbox is full.",
            ),
            (
                failed(552, None),
                "The message is too large for the recipient.",
            ),
            (
                failed(550, Some("5.6.7")),
                "The recipient's mail system takes no addresses with letters beyond a to z.",
            ),
            (
                failed(554, Some("5.7.1")),
                "The recipient's mail system refused the message.",
            ),
            (
                failed(554, None),
                "The recipient's mail system refused the message.",
            ),
            (
                Outcome::PossiblyDelivered(Cause::Found("gone".into())),
                "The connection was lost just after the message had been sent. We do not know whether it arrived.",
            ),
        ] {
            let failure = failure("vakt@b.nodnett.test", outcome.clone(), None);
            assert_eq!(failure.why().en(), expected, "{outcome:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_words() {
        let units = [
            ("time", "timer"),
            ("minutt", "minutter"),
            ("sekund", "sekunder"),
        ];
        for (seconds, expected) in [
            (0, "0 sekunder"),
            (1, "1 sekund"),
            (59, "59 sekunder"),
            (60, "1 minutt"),
            (3_599, "59 minutter"),
            (3_600, "1 time"),
            (14_400, "4 timer"),
        ] {
            assert_eq!(counted(Duration::from_secs(seconds), units), expected);
        }
    }

    #[test]
    fn a_machine_reads_it_too() {
        let failures = [
            failure(
                "vakt@b.nodnett.test",
                Outcome::Failed(said(550, Some("5.1.1"))),
                None,
            ),
            failure(
                "lege@b.nodnett.test",
                Outcome::Deferred(Cause::Found("bl\u{e5}tt\r\nX: y".into())),
                Some(Duration::from_secs(60)),
            ),
        ];
        let (message, _) = written(&failures, Language::Nb);
        let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
        let date = NOW.rfc5322();
        let blocks = format!(
            "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             Reporting-MTA: dns; relay.nodnett.test\r\nArrival-Date: {date}\r\n\r\n\
             Final-Recipient: rfc822; vakt@b.nodnett.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Remote-MTA: dns; [10.1.0.5]\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
             Last-Attempt-Date: {date}\r\n\r\n\
             Final-Recipient: rfc822; lege@b.nodnett.test\r\nAction: failed\r\nStatus: 4.4.7\r\n\
             Diagnostic-Code: X-Ilbud; bl?tt  X: y\r\nLast-Attempt-Date: {date}\r\n"
        );
        assert!(text.contains(&blocks), "{text}");
        for line in [
            "To: <vakt@a.nodnett.test>\r\n",
            "Auto-Submitted: auto-replied\r\n",
            "Message-ID: <0000-0000-0009@relay.nodnett.test>\r\n",
            "In-Reply-To: <1@a.nodnett.test>\r\n",
            "Content-Type: text/rfc822-headers",
            "report-type=",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(text.starts_with("From: "), "{text}");
        assert!(text.ends_with("--\r\n"), "{text}");
        assert!(
            !text.replace("\r\n", "").contains(['\r', '\n']),
            "bare CR or LF"
        );
        assert!(text.is_ascii() && !message.eight_bit);
        assert!(!text.contains("secret"), "never the text of the message");
    }

    #[test]
    fn norwegian_letters_in_an_address_stay_letters() {
        let refused = Outcome::Failed(said(550, None));
        let (message, _) = written(
            &[failure("bl\u{e5}@b.nodnett.test", refused, None)],
            Language::Nb,
        );
        let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
        assert!(message.smtputf8 && message.eight_bit);
        for line in [
            "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n",
            "Final-Recipient: utf-8; bl\u{e5}@b.nodnett.test\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }

    #[test]
    fn the_host_that_answered_is_named() {
        for (hop, expected) in [
            ("smtp://10.1.0.5:25", Some("[10.1.0.5]")),
            ("smtp://mx.b.test:25", Some("mx.b.test")),
            ("smtp://mx.b.test:25?tls=required", Some("mx.b.test")),
            ("smtps://[::1]:465", Some("[::1]")),
            ("smtp://user@mx.b.test:25", Some("mx.b.test")),
            ("maildir:/srv/mail", None),
        ] {
            let mut failure = failure(
                "vakt@b.nodnett.test",
                Outcome::Failed(said(550, None)),
                None,
            );
            failure.attempt.hop = Some(hop.into());
            assert_eq!(remote(&failure).as_deref(), expected, "{hop}");
        }
    }
}
