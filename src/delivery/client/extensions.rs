//! What a hop offers in its answer to EHLO, and the commands of one transaction, which say what the
//! message asks for as far as the hop understands it.
//!
//! Pure. A message that needs what the hop does not offer is a `Lacks`, with the status that says
//! so: lasting, unless another hop offers it. So is content with octets beyond ASCII that was
//! declared as such, towards a hop without 8BITMIME: RFC 6152 §3 leaves a relay the choice between
//! rewriting it, which we never do, and failing. What was not declared goes out as it came in.
//!
//! A room's own server is where its mail is delivered, so a time that the sender named (RFC 2852) is
//! kept when that server has the message in time. It hears of the time where it offers DELIVERBY; one
//! that does not gets the message all the same, unlike a relay on the way (§4.2), since a room would
//! otherwise be out of reach for what is most urgent.

use super::{Connection, Dialect, Guard, Letter, Setback};
use crate::delivery::answers::Spoken;
use crate::delivery::outcome::{Stage, Trouble};
use crate::mail::{Address, ByMode, Content, DeliverBy, Timestamp, headers};
use crate::spool::store::Waiting;

/// What the hop offers in its answer to EHLO or LHLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    pub pipelining: bool,
    pub starttls: bool,
    pub chunking: bool,
    pub dsn: bool,
    pub auth_plain: bool,
    pub auth_login: bool,
    eight_bit_mime: bool,
    smtputf8: bool,
    mt_priority: bool,
    requiretls: bool,
    size: Option<Size>,
    deliver_by: Option<Least>,
}

/// The largest message the hop takes (RFC 1870 §4); 0 is no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size(usize);

/// The least time, in seconds, within which it takes messages to be returned (RFC 2852 §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Least(i64);

impl Least {
    /// It limits what is to be returned, for which a second at least must be left; not what the
    /// sender is only to be told of.
    fn allows(self, by: DeliverBy, now: Timestamp) -> bool {
        by.mode == ByMode::Notify || self.0.max(1) <= seconds_left(by, now)
    }
}

/// What matters of the connection for what may be said on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    dialect: Dialect,
    guard: Guard,
}

impl Connection {
    pub(super) const fn ground(&self) -> Ground {
        Ground {
            dialect: self.dialect,
            guard: self.guard,
        }
    }
}

impl Offers {
    pub fn read(answer: &Spoken) -> Self {
        let keywords = answer.lines.iter().skip(1); // the first line is a greeting
        keywords.fold(Self::default(), |mut offers, line| {
            let line = line.to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default() {
                "PIPELINING" => offers.pipelining = true,
                "STARTTLS" => offers.starttls = true,
                "CHUNKING" => offers.chunking = true,
                "DSN" => offers.dsn = true,
                "8BITMIME" => offers.eight_bit_mime = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "MT-PRIORITY" => offers.mt_priority = true,
                "REQUIRETLS" => offers.requiretls = true,
                "SIZE" => offers.size = Some(Size(number(words.next()))),
                "DELIVERBY" => offers.deliver_by = Some(Least(number(words.next()))),
                "AUTH" => words.for_each(|word| match word {
                    "PLAIN" => offers.auth_plain = true,
                    "LOGIN" => offers.auth_login = true,
                    _ => {}
                }),
                _ => {}
            }
            offers
        })
    }
}

/// What is left out, or is no number, limits nothing.
fn number<N: std::str::FromStr + Default>(word: Option<&str>) -> N {
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// The commands of one transaction, ready to be sent together or one by one.
#[derive(Debug)]
pub struct Script {
    pub text: Vec<u8>,
    /// Where each command ends: MAIL, each RCPT; DATA is the rest.
    ends: Vec<usize>,
}

impl Script {
    pub fn new(letter: &Letter<'_>, offers: &Offers, ground: Ground) -> Result<Self, Setback> {
        letter
            .check(offers, ground)
            .map_err(|trouble| Setback::new(Stage::Mail, trouble))?;
        let mut script = Self {
            text: Vec::with_capacity(96 + 64 * letter.recipients.len()),
            ends: Vec::with_capacity(1 + letter.recipients.len()),
        };
        script.push_mail(letter, offers, ground);
        for recipient in &letter.recipients {
            script.push_recipient(recipient, offers, ground);
        }
        if !offers.chunking {
            script.text.extend_from_slice(b"DATA\r\n");
        }
        Ok(script)
    }

    fn push_mail(&mut self, letter: &Letter<'_>, offers: &Offers, ground: Ground) {
        let (message, terms) = (letter.message, &letter.message.terms);
        self.push_path("MAIL FROM:<", message.sender.as_ref());
        if offers.size.is_some() {
            self.push(&format!(" SIZE={}", letter.content.len())); // RFC 1870 §6
        }
        if offers.eight_bit_mime && (message.eight_bit || !is_ascii(letter.content)) {
            self.push(" BODY=8BITMIME"); // RFC 6152 §3
        }
        if offers.smtputf8 && letter.asks_smtputf8() {
            self.push(" SMTPUTF8"); // RFC 6531 §3.4
        }
        if offers.mt_priority && terms.priority.level() != 0 {
            self.push(&format!(" MT-PRIORITY={}", terms.priority)); // RFC 6710 §4.3
        }
        if let (Some(least), Some(by)) = (offers.deliver_by, terms.deliver_by)
            && least.allows(by, letter.now)
        {
            self.push(&format!(" BY={}", by_value(by, letter.now))); // RFC 2852 §4
        }
        if ground.reports(offers) {
            if let Some(ret) = terms.ret {
                self.push(&format!(" RET={}", ret.word())); // RFC 3461 §4.3
            }
            if let Some(id) = &terms.envelope_id {
                self.push(&format!(" ENVID={id}")); // RFC 3461 §4.4
            }
        }
        if terms.require_tls && ground.guard == Guard::Verified {
            self.push(" REQUIRETLS"); // RFC 8689 §4.2.1
        }
        self.end();
    }

    fn push_recipient(&mut self, recipient: &Waiting, offers: &Offers, ground: Ground) {
        self.push_path("RCPT TO:<", Some(&recipient.recipient));
        if ground.reports(offers) {
            if let Some(notify) = recipient.wishes.notify {
                self.push(&format!(" NOTIFY={notify}")); // RFC 3461 §4.1
            }
            if let Some(original) = &recipient.wishes.original {
                self.push(&format!(" ORCPT={original}")); // RFC 3461 §4.2
            }
        }
        self.end();
    }

    fn push_path(&mut self, verb: &str, address: Option<&Address>) {
        self.push(verb);
        if let Some(address) = address {
            self.push(&address.wire());
        }
        self.push(">");
    }

    fn push(&mut self, words: &str) {
        self.text.extend_from_slice(words.as_bytes());
    }

    fn end(&mut self) {
        self.push("\r\n");
        self.ends.push(self.text.len());
    }

    pub fn mail(&self) -> &[u8] {
        self.between(0, self.ends.first())
    }

    pub fn recipient(&self, number: usize) -> &[u8] {
        let start = self.ends.get(number).copied().unwrap_or_default();
        self.between(start, self.ends.get(number + 1))
    }

    pub fn data(&self) -> &[u8] {
        self.between(self.ends.last().copied().unwrap_or_default(), None)
    }

    fn between(&self, start: usize, end: Option<&usize>) -> &[u8] {
        let end = end.copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }
}

impl Ground {
    /// Whether wishes for reports are passed on. An LMTP server's answer is the delivery, and the
    /// report on it is ours to make.
    fn reports(self, offers: &Offers) -> bool {
        offers.dsn && self.dialect == Dialect::Smtp
    }
}

impl Letter<'_> {
    /// Whether a hop with these offers can take the message at all.
    fn check(&self, offers: &Offers, ground: Ground) -> Result<(), Trouble> {
        self.check_size(offers)?;
        self.check_letters(offers)?;
        self.check_octets(offers)?;
        self.check_guard(offers, ground)
    }

    fn check_size(&self, offers: &Offers) -> Result<(), Trouble> {
        let Size(limit) = offers.size.unwrap_or_default();
        let size = self.content.len();
        if limit == 0 || size <= limit {
            return Ok(());
        }
        // RFC 1870 §6.1
        let words =
            format!("the message has {size} octets, and the next hop takes at most {limit}");
        Err(lacks("5.3.4", words))
    }

    /// A sender may have said SMTPUTF8 by habit; what counts is an address or a header field that
    /// has more than ASCII (RFC 6531 §3.2).
    fn check_letters(&self, offers: &Offers) -> Result<(), Trouble> {
        if offers.smtputf8 {
            return Ok(());
        }
        if let Some(address) = self.address_beyond_ascii() {
            let words = format!(
                "the next hop does not take SMTPUTF8, which the address {} needs",
                address.wire()
            );
            return Err(lacks("5.6.7", words)); // RFC 6531 §3.5
        }
        if self.message.smtputf8 && !headers::header_section(self.content, usize::MAX).is_ascii() {
            let words = "the next hop does not take SMTPUTF8, which a header field needs";
            return Err(lacks("5.6.9", words.into())); // RFC 6531 §3.5
        }
        Ok(())
    }

    fn check_octets(&self, offers: &Offers) -> Result<(), Trouble> {
        if offers.eight_bit_mime || !self.message.eight_bit || is_ascii(self.content) {
            return Ok(());
        }
        let words = "the next hop does not take 8BITMIME, which the message needs";
        Err(lacks("5.6.3", words.into())) // RFC 6152 §3
    }

    /// RFC 8689 §4.2.1: TLS with a server that proves who it is, and promises the same.
    fn check_guard(&self, offers: &Offers, ground: Ground) -> Result<(), Trouble> {
        if !self.message.terms.require_tls {
            return Ok(());
        }
        match ground.guard {
            Guard::Local => Ok(()),
            Guard::Verified if offers.requiretls => Ok(()),
            Guard::Verified => {
                let words = "the next hop does not promise TLS all the way (REQUIRETLS), which the \
                             message requires";
                Err(lacks("5.7.30", words.into())) // RFC 8689 §5
            }
            Guard::PlainText | Guard::Unverified => {
                let words = "there is no proof of who the next hop is, and the message requires it";
                Err(lacks("5.7.10", words.into())) // RFC 8689 §5
            }
        }
    }

    fn address_beyond_ascii(&self) -> Option<&Address> {
        let recipients = self.recipients.iter().map(|it| &it.recipient);
        let mut addresses = self.message.sender.iter().chain(recipients);
        addresses.find(|address| address.needs_smtputf8())
    }

    fn asks_smtputf8(&self) -> bool {
        self.message.smtputf8 || self.address_beyond_ascii().is_some()
    }
}

const fn lacks(status: &'static str, reason: String) -> Trouble {
    Trouble::Lacks { status, reason }
}

fn is_ascii(content: &Content) -> bool {
    content.trace.is_ascii() && content.bytes.is_ascii()
}

/// How long a message may still take; less than nothing when it is late.
fn seconds_left(by: DeliverBy, now: Timestamp) -> i64 {
    const MOST: i64 = 999_999_999; // RFC 2852 §4: nine digits
    let left = by.at.as_millis().saturating_sub(now.as_millis());
    left.div_euclid(1000).clamp(-MOST, MOST)
}

fn by_value(by: DeliverBy, now: Timestamp) -> String {
    let mode = match by.mode {
        ByMode::Return => "R",
        ByMode::Notify => "N",
    };
    let trace = if by.trace { "T" } else { "" };
    format!("{};{mode}{trace}", seconds_left(by, now))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Answers;
    use super::*;

    fn spoken(text: &str) -> Spoken {
        let mut answers = Answers::default();
        answers.unread().extend_from_slice(text.as_bytes());
        answers.complete().unwrap().unwrap()
    }

    #[test]
    fn offers_are_read_from_the_answer_to_ehlo() {
        let none = Offers::default();
        let some = Offers {
            pipelining: true,
            starttls: true,
            size: Some(Size(1000)),
            eight_bit_mime: true,
            smtputf8: true,
            ..none
        };
        let more = Offers {
            chunking: true,
            dsn: true,
            mt_priority: true,
            requiretls: true,
            size: Some(Size(0)),
            deliver_by: Some(Least(0)),
            ..none
        };
        let auth = Offers {
            auth_plain: true,
            auth_login: true,
            ..none
        };
        let least = Offers {
            deliver_by: Some(Least(240)),
            ..none
        };
        #[rustfmt::skip]
        let cases = [
            ("250 hop\r\n", none),
            ("250 PIPELINING\r\n", none),
            ("250-hop\r\n250-X-PIPELINING\r\n250 \r\n", none),
            ("250-hop\r\n250-pipelining\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SmtpUtf8\r\n", some),
            ("250-hop\r\n250-CHUNKING\r\n250-DSN\r\n250-MT-PRIORITY MIXER\r\n250-REQUIRETLS\r\n250-SIZE x\r\n250 DELIVERBY\r\n", more),
            ("250-hop\r\n250 AUTH SCRAM-SHA-1 plain LOGIN\r\n", auth),
            ("250-hop\r\n250 AUTH=PLAIN\r\n", none),
            ("250-hop\r\n250 DELIVERBY 240\r\n", least),
        ];
        for (text, expected) in cases {
            assert_eq!(Offers::read(&spoken(text)), expected, "{text:?}");
        }
    }
}
