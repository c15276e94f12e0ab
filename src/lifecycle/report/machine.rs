//! The part of a report that programs read (RFC 3464 §2): a block on the message, and one on each
//! recipient.

use std::fmt::Write;
use std::net::IpAddr;

use super::why::{self, Why};
use super::{Failure, Kind, Letter, News, Notice, Outlook, one_line};
use crate::delivery::outcome::Cause;
use crate::mail::{Address, Answer, Wishes};
use crate::smtp::xtext;

/// What fits a line beside the field's name (RFC 5322 §2.1.1).
const VALUE: usize = 900;

impl Letter<'_> {
    pub(super) fn machine(&self) -> String {
        let mut block = Block::default();
        let terms = &self.first.terms;
        // RFC 3464 §2.2.1: as it was given, decoded.
        if let Some(id) = terms.envelope_id.as_deref().and_then(decoded) {
            block.field("Original-Envelope-Id", &id);
        }
        let hostname = &self.occasion.letterhead.hostname;
        block.field("Reporting-MTA", &format!("dns; {hostname}"));
        block.field("Arrival-Date", &self.first.accepted_at.rfc5322());
        if let Some(by) = terms.deliver_by {
            block.field("Deliver-By-Date", &by.at.rfc5322()); // RFC 2852 §5
        }
        for notice in self.notices {
            block.text.push_str("\r\n");
            self.recipient(&mut block, notice);
        }
        block.text
    }

    fn recipient(&self, block: &mut Block, notice: &Notice) {
        let recipient = &notice.waiting.recipient;
        if let Some(original) = original(&notice.waiting.wishes, self.speaks_utf8()) {
            block.field("Original-Recipient", &original);
        }
        block.field(
            "Final-Recipient",
            &final_recipient(recipient, self.speaks_utf8()),
        );
        block.field("Action", notice.action());
        block.field("Status", &notice.status());
        let remote = notice.answer().and_then(|_| remote(notice));
        if let Some(host) = &remote {
            block.field("Remote-MTA", &format!("dns; {host}"));
        }
        // What we did ourselves, into a Maildir, needs no diagnosis.
        let is_news = remote.is_some() || notice.kind() != Kind::Success;
        if let Some(words) = notice
            .last
            .as_ref()
            .and_then(why::words)
            .filter(|_| is_news)
        {
            let kind = notice.answer().map_or("X-Ilbud", |_| "smtp");
            block.field("Diagnostic-Code", &format!("{kind}; {}", ascii(&words)));
        }
        if let Some(at) = notice.last.as_ref().and_then(|last| last.at) {
            block.field("Last-Attempt-Date", &at.rfc5322());
        }
        // RFC 3464 §2.3.9: only where it is delayed.
        if let News::Delayed(Outlook {
            until: Some(until), ..
        }) = notice.news
        {
            block.field("Will-Retry-Until", &until.rfc5322());
        }
    }
}

/// Fields, each a line of its own.
#[derive(Default)]
struct Block {
    text: String,
}

impl Block {
    fn field(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{name}: {value}\r\n");
    }
}

impl Notice {
    /// RFC 3464 §2.3.3.
    const fn action(&self) -> &'static str {
        match self.news {
            News::Failed(_) => "failed",
            News::Delayed(_) | News::Held(_) => "delayed",
            News::Delivered => "delivered",
            News::Relayed => "relayed",
        }
    }

    /// RFC 3463: the hop's own code where it gave one of the right class.
    pub(super) fn status(&self) -> String {
        let fixed = match self.news {
            News::Failed(Failure::GivenUp(_)) => "4.4.7",
            News::Failed(Failure::Expired(_)) => "5.4.7", // RFC 2852 §4.1.1
            News::Failed(Failure::Cancelled(_)) => "5.3.0",
            News::Failed(Failure::Caught(_) | Failure::CaughtLate(_)) => "5.7.1",
            News::Held(None) => "4.3.0",
            News::Held(Some(_)) => "4.4.7", // RFC 2852 §4.1.2
            News::Delayed(Outlook {
                overdue: Some(_), ..
            }) => "4.4.7", // RFC 2852 §4.1.2
            News::Delayed(_) => return self.status_of_class('4', "4.4.7"),
            News::Failed(Failure::Refused) => return self.status_of_class('5', "5.0.0"),
            News::Delivered | News::Relayed => return self.status_of_class('2', "2.0.0"),
        };
        fixed.to_owned()
    }

    fn status_of_class(&self, class: char, otherwise: &str) -> String {
        let cause = self.last.as_ref().map(|last| &last.cause);
        let said = match cause {
            Some(Cause::Said(answer)) => given(answer, class)
                .or_else(|| Why::of(self).status_in(class))
                .or_else(|| usual(answer)),
            Some(Cause::Unfit { status, .. }) => Some(*status),
            Some(Cause::Found(_)) => Why::of(self).status(),
            None => None,
        };
        let said = said.filter(|status| status.starts_with(class));
        said.unwrap_or(otherwise).to_owned()
    }
}

/// The hop's own code, if it is one: three numbers, the first of them the class.
fn given(answer: &Answer, class: char) -> Option<&str> {
    let status = answer.enhanced.as_deref()?;
    let numbers: Vec<&str> = status.split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit())
    };
    let is_status = numbers.len() == 3 && numbers.iter().all(is_number);
    (is_status && status.starts_with(class)).then_some(status)
}

/// What a reply without a code of its own usually means.
const fn usual(answer: &Answer) -> Option<&'static str> {
    match answer.code {
        421 => Some("4.3.2"),
        450..=459 => Some("4.0.0"),
        _ => None,
    }
}

/// RFC 3464 §2.3.2, and RFC 6533 §3 for letters: as they are where the whole part may have them.
fn final_recipient(recipient: &Address, is_utf8: bool) -> String {
    let wire = recipient.wire();
    if !recipient.needs_smtputf8() {
        return format!("rfc822; {wire}");
    }
    let written = xtext::original(&wire);
    let in_ascii = written.split_once(';').map_or("", |(_, address)| address);
    format!("utf-8; {}", if is_utf8 { &wire } else { in_ascii })
}

/// ORCPT (RFC 3461 §4.2) as `Original-Recipient`: the kind as it came, the address decoded. Letters
/// beyond ASCII stand only where the whole part may have them (RFC 6533 §3).
fn original(wishes: &Wishes, is_utf8: bool) -> Option<String> {
    let (kind, address) = wishes.original.as_deref()?.split_once(';')?;
    let is_atom = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    let address = if !kind.eq_ignore_ascii_case("utf-8") {
        decoded(address)
    } else if !xtext::is_utf8_address(address) {
        None
    } else if is_utf8 {
        Some(address.to_owned())
    } else {
        Some(xtext::in_ascii(address))
    };
    let address = address.filter(|it| !it.is_empty() && it.len() <= VALUE)?;
    is_atom(kind).then(|| format!("{kind}; {address}"))
}

/// xtext (RFC 3461 §4) read back: `+2B` is `+`. `None` unless printable ASCII comes of it, which
/// cannot break out of its line.
fn decoded(xtext: &str) -> Option<String> {
    let mut pieces = xtext.split('+');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let octet = u8::from_str_radix(piece.get(..2)?, 16).ok()?;
        text.push(char::from(octet));
        text.push_str(piece.get(2..)?);
    }
    let is_printable = text.bytes().all(|it| it == b' ' || it.is_ascii_graphic());
    (is_printable && !text.is_empty() && text.len() <= VALUE).then_some(text)
}

/// The host of the hop that answered: `smtp://10.1.0.5:25` is `[10.1.0.5]`, and of `mx:b.test
/// (mx1.b.test)` it is the one in brackets.
fn remote(notice: &Notice) -> Option<String> {
    let hop = notice.last.as_ref()?.hop.as_deref()?;
    let host = match hop.strip_prefix("mx:") {
        Some(servers) => servers.split_once(" (")?.1.strip_suffix(')')?,
        None => host_of(hop)?,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some(match bare.parse() {
        Ok(IpAddr::V4(address)) => format!("[{address}]"),
        Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"), // RFC 5321 §4.1.3
        Err(_) if bare.is_empty() => return None,
        Err(_) => ascii(bare),
    })
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split(['/', '?']).next()?;
    let host = rest.rsplit('@').next()?;
    let has_port = !host.ends_with(']');
    let without = host.rsplit_once(':').filter(|_| has_port);
    Some(without.map_or(host, |(host, _)| host))
}

fn ascii(text: &str) -> String {
    let line = one_line(text);
    line.chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn xtext_is_read_back_or_not_used() {
        for (xtext, expected) in [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3Dc", Some("a+b=c")),
            ("two+20words", Some("two words")),
            ("line+0D+0ABcc: x", None),
            ("bl+C3+A5", None),
            ("+", None),
            ("+4", None),
            ("+4G", None),
            ("+-1", None),
            ("", None),
        ] {
            assert_eq!(decoded(xtext).as_deref(), expected, "{xtext:?}");
        }
    }

    #[test]
    fn original_recipients_are_told_where_they_are_safe() {
        for (original_, is_utf8, expected) in [
            (
                "rfc822;vakt+2Bnatt@b.test",
                false,
                Some("rfc822; vakt+natt@b.test"),
            ),
            ("RFC822;x@b.test", false, Some("RFC822; x@b.test")),
            ("rfc822;x+0Ay", false, None),
            ("rfc822;", false, None),
            ("no semicolon", false, None),
            ("x y;z", false, None),
            (
                "utf-8;bl\u{e5}@b.test",
                true,
                Some("utf-8; bl\u{e5}@b.test"),
            ),
            (
                "utf-8;bl\u{e5}@b.test",
                false,
                Some("utf-8; bl\\x{E5}@b.test"),
            ),
            (
                "utf-8;bl\\x{E5}@b.test",
                false,
                Some("utf-8; bl\\x{E5}@b.test"),
            ),
            ("utf-8;a\u{85}b", true, None),
        ] {
            let wishes = Wishes {
                notify: None,
                original: Some(original_.into()),
            };
            let found = original(&wishes, is_utf8);
            assert_eq!(found.as_deref(), expected, "{original_:?} {is_utf8}");
        }
    }

    #[test]
    fn only_a_status_of_the_right_class_is_taken_over() {
        let answer = |enhanced: &str| Answer {
            code: 550,
            enhanced: Some(enhanced.into()),
            text: String::new(),
        };
        for (enhanced, expected) in [
            ("5.1.1", Some("5.1.1")),
            ("5.7.512", Some("5.7.512")),
            ("4.1.1", None),
            ("5.1", None),
            ("5.1.1234", None),
            ("5.1.x", None),
            ("5.1.1.1", None),
        ] {
            assert_eq!(given(&answer(enhanced), '5'), expected, "{enhanced}");
        }
    }
}
