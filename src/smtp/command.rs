//! One command line to a [`Command`], or to the [`Reply`] that refuses it.
//!
//! Decides syntax only (RFC 5321 §4.1.1, RFC 1870, RFC 2852, RFC 3030, RFC 3461, RFC 6152, RFC 6531,
//! RFC 6710, RFC 8689): it gives what stands between `<` and `>` exactly as it was written, and says
//! nothing about what it means. Parameters that were not offered are not known. The crate
//! `smtp-proto` is not used, since it strips source routes and quotes and gives `<postmaster>` and
//! `<>` the same value, which policy must be able to tell apart. Never fails but with a reply.

use super::xtext;
use crate::mail::{BodyKind, ByMode, Notify, Priority, Reply, Return};

/// What the client was offered beside SIZE, BODY and SMTPUTF8, which even HELO may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offer {
    Nothing,
    /// DSN, DELIVERBY and MT-PRIORITY: after EHLO.
    Extensions,
    /// REQUIRETLS (RFC 8689 §2) and AUTH (RFC 4954 §5) as well: after EHLO under TLS.
    Guarded,
}

/// A line that makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Mail(Mail<'a>),
    Rcpt(Rcpt<'a>),
    Data,
    Bdat(Bdat),
    Rset,
    Noop,
    Vrfy,
    Help,
    StartTls,
    Auth(Auth<'a>),
    Quit,
}

/// AUTH (RFC 4954 §4). What a client says to log in is not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    pub mechanism: &'a str,
    /// In base64, as it came.
    pub initial: Option<&'a str>,
}

impl std::fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({})", self.mechanism)
    }
}

/// MAIL FROM and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mail<'a> {
    /// What stands between `<` and `>`; empty is the null sender.
    pub sender: &'a str,
    /// What the client believes the message's size to be (RFC 1870).
    pub size: Option<u64>,
    pub body: Option<BodyKind>,
    pub smtputf8: bool,
    pub ret: Option<Return>,
    /// ENVID, in xtext as it came.
    pub envelope_id: Option<&'a str>,
    pub by: Option<By>,
    pub priority: Option<Priority>,
    pub require_tls: bool,
}

/// By when it is to be delivered, counted from this command on (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By {
    pub seconds: i64,
    pub mode: ByMode,
    pub trace: bool,
}

/// RCPT TO and its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rcpt<'a> {
    /// What stands between `<` and `>`; never empty.
    pub recipient: &'a str,
    pub notify: Option<Notify>,
    /// ORCPT as it came; letters beyond ASCII stand only in an address of the type `utf-8`.
    pub original: Option<&'a str>,
}

/// A chunk is to follow (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bdat {
    pub octets: u64,
    pub last: bool,
}

/// The first word of a line, as far as it matters for what is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Mail,
    Rcpt,
    Data,
    Bdat,
    Auth,
    Other,
}

/// A line that makes no sense, and what is said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub verb: Verb,
    /// The path of MAIL or RCPT, where it could be read.
    pub path: Option<String>,
    pub reply: Reply,
}

impl Verb {
    /// The verb of a line, however broken the rest of it is.
    pub fn of(line: &[u8]) -> Self {
        let word = line
            .split(|octet| *octet == b' ')
            .next()
            .unwrap_or_default();
        [
            (Self::Mail, "MAIL"),
            (Self::Rcpt, "RCPT"),
            (Self::Data, "DATA"),
            (Self::Bdat, "BDAT"),
            (Self::Auth, "AUTH"),
        ]
        .into_iter()
        .find(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map_or(Self::Other, |(verb, _)| verb)
    }

    fn fault(self, reply: Reply) -> Fault {
        Fault {
            verb: self,
            path: None,
            reply,
        }
    }
}

/// Reads one line, given without its CRLF, of a client that was offered this.
pub fn parse(line: &[u8], offer: Offer) -> Result<Command<'_>, Fault> {
    let verb = Verb::of(line);
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| verb.fault(Reply::bad_character()))?;
    let (word, rest) = match text.split_once(' ') {
        Some((word, rest)) => (word, rest.trim_matches(' ')),
        None => (text, ""),
    };
    match verb {
        Verb::Mail => mail(rest, offer),
        Verb::Rcpt => rcpt(rest, offer),
        Verb::Data => bare(rest, "DATA", Command::Data).map_err(|reply| verb.fault(reply)),
        Verb::Bdat => bdat(rest).map_err(|reply| verb.fault(reply)),
        Verb::Auth => auth(rest).map_err(|reply| verb.fault(reply)),
        Verb::Other => other(word, rest).map_err(|reply| verb.fault(reply)),
    }
}

fn other<'a>(word: &str, rest: &'a str) -> Result<Command<'a>, Reply> {
    match word.to_ascii_uppercase().as_str() {
        "EHLO" => hello(rest, "EHLO your.name").map(Command::Ehlo),
        "HELO" => hello(rest, "HELO your.name").map(Command::Helo),
        "RSET" => bare(rest, "RSET", Command::Rset),
        "QUIT" => bare(rest, "QUIT", Command::Quit),
        "STARTTLS" => bare(rest, "STARTTLS", Command::StartTls),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(Reply::syntax("VRFY address")),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" | "TURN" | "ETRN" => Err(Reply::not_implemented()),
        _ => Err(Reply::unknown_command()),
    }
}

fn auth(rest: &str) -> Result<Command<'_>, Reply> {
    let mut words = words(rest);
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth(Auth { mechanism, initial })),
        _ => Err(Reply::syntax("AUTH mechanism [initial response in base64]")),
    }
}

/// A command that takes nothing.
fn bare<'a>(rest: &str, usage: &str, command: Command<'a>) -> Result<Command<'a>, Reply> {
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(Reply::syntax(usage))
    }
}

/// A domain or an address literal (RFC 5321 §4.1.1.1), read kindly: workstations have names with
/// underscores and without dots, and the name is only noted.
fn hello<'a>(name: &'a str, usage: &str) -> Result<&'a str, Reply> {
    let literal = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let sound = match literal {
        Some(inner) => {
            !inner.is_empty()
                && inner
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '%'))
        }
        None => {
            let labels = name.strip_suffix('.').unwrap_or(name);
            labels.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .chars()
                        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            })
        }
    };
    if sound && name.len() <= 255 {
        Ok(name)
    } else {
        Err(Reply::syntax(usage))
    }
}

const MAIL_USAGE: &str = "MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME] [SMTPUTF8]";
const RCPT_USAGE: &str = "RCPT TO:<address>";

fn mail(rest: &str, offer: Offer) -> Result<Command<'_>, Fault> {
    let fault = |reply| Verb::Mail.fault(reply);
    let rest = after_keyword(rest, "FROM:").ok_or_else(|| fault(Reply::syntax(MAIL_USAGE)))?;
    let (sender, parameters) = path(rest).ok_or_else(|| fault(Reply::syntax(MAIL_USAGE)))?;
    mail_parameters(sender, parameters, offer)
        .map(Command::Mail)
        .map_err(|reply| Fault {
            verb: Verb::Mail,
            path: Some(sender.to_owned()),
            reply,
        })
}

fn rcpt(rest: &str, offer: Offer) -> Result<Command<'_>, Fault> {
    let fault = |reply| Verb::Rcpt.fault(reply);
    let rest = after_keyword(rest, "TO:").ok_or_else(|| fault(Reply::syntax(RCPT_USAGE)))?;
    let (recipient, parameters) = path(rest).ok_or_else(|| fault(Reply::syntax(RCPT_USAGE)))?;
    let read = if recipient.is_empty() {
        Err(Reply::recipient_syntax("", "an address is missing"))
    } else {
        rcpt_parameters(recipient, parameters, offer)
    };
    read.map(Command::Rcpt).map_err(|reply| Fault {
        verb: Verb::Rcpt,
        path: Some(recipient.to_owned()),
        reply,
    })
}

/// What follows `FROM:` or `TO:`; the space that old clients put after the colon is tolerated.
fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(keyword.len())?;
    start
        .eq_ignore_ascii_case(keyword)
        .then(|| rest.trim_start_matches(' '))
}

/// Splits `<path>[ parameters]` at the `>` that closes it, which is the first one outside quotes.
fn path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = closing_bracket(inner)?;
    let (path, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
    (rest.is_empty() || rest.starts_with(' ')).then_some((path, rest))
}

/// Where `>` closes the path. Outside a quoted string neither `<` nor a space may stand before it.
fn closing_bracket(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in inner.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            b'<' | b' ' if !quoted => return None,
            _ => {}
        }
    }
    None
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// A parameter that we know.
struct Parameter {
    keyword: &'static str,
    /// The least that must have been offered.
    offer: Offer,
    usage: &'static str,
}

const fn parameter(keyword: &'static str, offer: Offer, usage: &'static str) -> Parameter {
    Parameter {
        keyword,
        offer,
        usage,
    }
}

const MAIL_PARAMETERS: [Parameter; 9] = [
    parameter("SIZE", Offer::Nothing, "SIZE=octets, once"),
    parameter("BODY", Offer::Nothing, "BODY=7BIT or BODY=8BITMIME, once"),
    parameter("SMTPUTF8", Offer::Nothing, "SMTPUTF8, once, no value"),
    parameter("RET", Offer::Extensions, "RET=FULL or RET=HDRS, once"),
    parameter(
        "ENVID",
        Offer::Extensions,
        "ENVID=text, once, at most 100 printable characters in xtext (+HH for + and =)",
    ),
    parameter(
        "BY",
        Offer::Extensions,
        "BY=seconds;R or BY=seconds;N, once, T may follow; seconds has at most 9 digits and is more than 0 with R",
    ),
    parameter(
        "MT-PRIORITY",
        Offer::Extensions,
        "MT-PRIORITY=number from -9 to 9, once",
    ),
    parameter(
        "AUTH",
        Offer::Guarded,
        "AUTH=<> or AUTH=address, once, at most 500 printable characters in xtext (+HH for + and =)",
    ),
    parameter("REQUIRETLS", Offer::Guarded, "REQUIRETLS, once, no value"),
];

const RCPT_PARAMETERS: [Parameter; 2] = [
    parameter(
        "NOTIFY",
        Offer::Extensions,
        "NOTIFY=NEVER, or some of NOTIFY=SUCCESS,FAILURE,DELAY, once",
    ),
    parameter(
        "ORCPT",
        Offer::Extensions,
        "ORCPT=rfc822;address, once, at most 500 printable characters in xtext (+HH for + and =)",
    ),
];

/// Keyword and value of a parameter, and what we know of it (RFC 5321 §4.1.1.11).
fn recognized<'a, 'p>(
    word: &'a str,
    known: &'p [Parameter],
    offer: Offer,
) -> Result<(&'p Parameter, Option<&'a str>), Reply> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    known
        .iter()
        .find(|it| it.keyword.eq_ignore_ascii_case(keyword) && it.offer <= offer)
        .map(|it| (it, value))
        .ok_or_else(|| Reply::unknown_parameter(word))
}

/// Whether there is a value, and none was there before.
fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    value.is_some_and(|value| place.replace(value).is_none())
}

/// Whether there is no value, and the word was not there before.
const fn raise(flag: &mut bool, value: Option<&str>) -> bool {
    value.is_none() && !std::mem::replace(flag, true)
}

fn mail_parameters<'a>(
    sender: &'a str,
    parameters: &'a str,
    offer: Offer,
) -> Result<Mail<'a>, Reply> {
    let mut mail = Mail {
        sender,
        ..Mail::default()
    };
    let mut author = None;
    for word in words(parameters) {
        let (parameter, value) = recognized(word, &MAIL_PARAMETERS, offer)?;
        let is_sound = match parameter.keyword {
            "SIZE" => fill(&mut mail.size, value.and_then(decimal)),
            "BODY" => match value.map(|it| body_kind(it).ok_or(it)) {
                Some(Err(_)) => return Err(Reply::unknown_parameter(word)),
                kind => fill(&mut mail.body, kind.and_then(Result::ok)),
            },
            "SMTPUTF8" => raise(&mut mail.smtputf8, value),
            "RET" => fill(&mut mail.ret, value.and_then(|it| it.parse().ok())),
            "ENVID" => fill(&mut mail.envelope_id, value.filter(|it| is_envelope_id(it))),
            "BY" => fill(&mut mail.by, value.and_then(by)),
            // RFC 4954 §5: whom the client believes to be the author. We believe nobody's word for it.
            "AUTH" => fill(&mut author, value.filter(|it| is_author(it))),
            "MT-PRIORITY" => fill(&mut mail.priority, value.and_then(priority)),
            _ => raise(&mut mail.require_tls, value),
        };
        if !is_sound {
            return Err(Reply::syntax(parameter.usage));
        }
    }
    Ok(mail)
}

fn rcpt_parameters<'a>(
    recipient: &'a str,
    parameters: &'a str,
    offer: Offer,
) -> Result<Rcpt<'a>, Reply> {
    let mut rcpt = Rcpt {
        recipient,
        ..Rcpt::default()
    };
    for word in words(parameters) {
        let (parameter, value) = recognized(word, &RCPT_PARAMETERS, offer)?;
        let is_sound = match parameter.keyword {
            "NOTIFY" => fill(&mut rcpt.notify, value.and_then(|it| it.parse().ok())),
            _ => fill(&mut rcpt.original, value.filter(|it| is_original(it))),
        };
        if !is_sound {
            return Err(Reply::syntax(parameter.usage));
        }
    }
    Ok(rcpt)
}

fn is_author(value: &str) -> bool {
    value == "<>" || ((1..=500).contains(&value.len()) && xtext::is_printable(value))
}

/// RFC 3461 §4.4.
fn is_envelope_id(value: &str) -> bool {
    (1..=100).contains(&value.len()) && xtext::is_printable(value)
}

/// `type;address` (RFC 3461 §4.2); an address of the type `utf-8` has an alphabet of its own
/// (RFC 6533 §3).
fn is_original(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_sound = if kind.eq_ignore_ascii_case("utf-8") {
        xtext::is_utf8_address(address)
    } else {
        xtext::is_printable(address)
    };
    // As long as it is once it is put into ASCII.
    let length = value.chars().map(xtext::width).sum::<usize>();
    is_atom(kind) && !address.is_empty() && is_sound && length <= 500
}

/// RFC 5322 §3.2.3.
fn is_atom(text: &str) -> bool {
    let atext = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&it);
    !text.is_empty() && text.bytes().all(atext)
}

/// `seconds;mode` (RFC 2852 §4). A message that is to be returned must have some time.
fn by(value: &str) -> Option<By> {
    let (time, mode) = value.split_once(';')?;
    let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    let seconds = time.parse().ok().filter(|_| is_number)?;
    let (mode, trace) = match mode.as_bytes() {
        [b'R' | b'r', rest @ ..] => (ByMode::Return, rest),
        [b'N' | b'n', rest @ ..] => (ByMode::Notify, rest),
        _ => return None,
    };
    let trace = match trace {
        [] => false,
        [b'T' | b't'] => true,
        _ => return None,
    };
    (mode == ByMode::Notify || seconds > 0).then_some(By {
        seconds,
        mode,
        trace,
    })
}

/// RFC 6710 §7: neither a plus nor a leading or negative zero.
fn priority(value: &str) -> Option<Priority> {
    let is_sound = match value.as_bytes() {
        [b'0'] => true,
        [digit] | [b'-', digit] => (b'1'..=b'9').contains(digit),
        _ => false,
    };
    value
        .parse()
        .ok()
        .filter(|_| is_sound)
        .and_then(Priority::new)
}

/// RFC 6152 §2. BINARYMIME is not offered.
fn body_kind(word: &str) -> Option<BodyKind> {
    if word.eq_ignore_ascii_case("7BIT") {
        Some(BodyKind::SevenBit)
    } else if word.eq_ignore_ascii_case("8BITMIME") {
        Some(BodyKind::EightBitMime)
    } else {
        None
    }
}

/// One to twenty digits (RFC 1870 §4); what is past counting is as large as can be.
fn decimal(digits: &str) -> Option<u64> {
    let sound = (1..=20).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    sound.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn bdat<'a>(rest: &str) -> Result<Command<'a>, Reply> {
    let usage = || Reply::syntax("BDAT octets [LAST]");
    let mut words = words(rest);
    let octets = words.next().and_then(decimal).ok_or_else(usage)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(usage()),
    };
    match words.next() {
        None => Ok(Command::Bdat(Bdat { octets, last })),
        Some(_) => Err(usage()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(command: &Command<'_>) -> String {
        match command {
            Command::Mail(mail) => format!(
                "Mail <{}> {:?} {:?} {}",
                mail.sender,
                mail.size,
                mail.body.unwrap_or(BodyKind::SevenBit),
                mail.smtputf8
            ),
            Command::Rcpt(rcpt) => format!("Rcpt({:?})", rcpt.recipient),
            Command::Bdat(bdat) => format!("Bdat {} {}", bdat.octets, bdat.last),
            other => format!("{other:?}"),
        }
    }

    fn told(input: &[u8]) -> String {
        match parse(input, Offer::Nothing) {
            Ok(command) => line(&command),
            Err(fault) => format!(
                "{} {} {:?}",
                fault.reply.code,
                fault.reply.enhanced_code().unwrap(),
                fault.verb
            ),
        }
    }

    #[test]
    fn reads_every_command() {
        for (input, expected) in [
            ("EHLO relay.test", "Ehlo(\"relay.test\")"),
            ("ehlo ws1", "Ehlo(\"ws1\")"),
            ("EHLO ws_1.local.", "Ehlo(\"ws_1.local.\")"),
            ("EHLO ålesund.test", "Ehlo(\"ålesund.test\")"),
            ("EHLO [127.0.0.1]", "Ehlo(\"[127.0.0.1]\")"),
            ("EHLO [IPv6:::1]", "Ehlo(\"[IPv6:::1]\")"),
            ("EHLO relay.test ", "Ehlo(\"relay.test\")"),
            ("HELO x", "Helo(\"x\")"),
            ("DATA", "Data"),
            ("data ", "Data"),
            ("RSET", "Rset"),
            ("QUIT", "Quit"),
            ("STARTTLS", "StartTls"),
            ("NOOP", "Noop"),
            ("NOOP any thing", "Noop"),
            ("HELP", "Help"),
            ("HELP MAIL", "Help"),
            ("VRFY vakt", "Vrfy"),
            ("BDAT 0", "Bdat 0 false"),
            ("BDAT 86 LAST", "Bdat 86 true"),
            ("bdat 86  last ", "Bdat 86 true"),
            (
                "BDAT 99999999999999999999",
                "Bdat 18446744073709551615 false",
            ),
            ("EHLO", "501 5.5.4 Other"),
            ("EHLO a b", "501 5.5.4 Other"),
            ("EHLO a..b", "501 5.5.4 Other"),
            ("EHLO .", "501 5.5.4 Other"),
            ("EHLO []", "501 5.5.4 Other"),
            ("EHLO <script>", "501 5.5.4 Other"),
            ("HELO", "501 5.5.4 Other"),
            ("DATA now", "501 5.5.4 Data"),
            ("RSET x", "501 5.5.4 Other"),
            ("QUIT x", "501 5.5.4 Other"),
            ("STARTTLS x", "501 5.5.4 Other"),
            ("VRFY", "501 5.5.4 Other"),
            ("EXPN all", "502 5.5.1 Other"),
            ("AUTH PLAIN AAAA", "Auth(Auth(PLAIN))"),
            ("auth login", "Auth(Auth(login))"),
            ("AUTH", "501 5.5.4 Auth"),
            ("AUTH PLAIN AAAA BBBB", "501 5.5.4 Auth"),
            ("BDAT", "501 5.5.4 Bdat"),
            ("BDAT x", "501 5.5.4 Bdat"),
            ("BDAT -1", "501 5.5.4 Bdat"),
            ("BDAT +1", "501 5.5.4 Bdat"),
            ("BDAT 1 FIRST", "501 5.5.4 Bdat"),
            ("BDAT 1 LAST LAST", "501 5.5.4 Bdat"),
            ("BDAT 123456789012345678901", "501 5.5.4 Bdat"),
            ("", "500 5.5.1 Other"),
            (" NOOP", "500 5.5.1 Other"),
            ("XYZZY", "500 5.5.1 Other"),
            ("MAILFROM:<a@b>", "500 5.5.1 Other"),
            ("GET / HTTP/1.1", "500 5.5.1 Other"),
        ] {
            assert_eq!(told(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn reads_mail_and_its_parameters() {
        for (input, expected) in [
            ("MAIL FROM:<a@b>", "Mail <a@b> None SevenBit false"),
            ("mail from:<A@b>", "Mail <A@b> None SevenBit false"),
            ("MAIL FROM: <a@b>", "Mail <a@b> None SevenBit false"),
            ("MAIL FROM:<>", "Mail <> None SevenBit false"),
            (
                "MAIL FROM:<a@b> SIZE=12",
                "Mail <a@b> Some(12) SevenBit false",
            ),
            (
                "MAIL FROM:<a@b>  size=0  ",
                "Mail <a@b> Some(0) SevenBit false",
            ),
            (
                "MAIL FROM:<a@b> BODY=8BITMIME",
                "Mail <a@b> None EightBitMime false",
            ),
            (
                "MAIL FROM:<a@b> BODY=7bit",
                "Mail <a@b> None SevenBit false",
            ),
            ("MAIL FROM:<å@b> SMTPUTF8", "Mail <å@b> None SevenBit true"),
            (
                "MAIL FROM:<a@b> SMTPUTF8 BODY=8BITMIME SIZE=99999999999999999999",
                "Mail <a@b> Some(18446744073709551615) EightBitMime true",
            ),
            (
                "MAIL FROM:<\"a>b\"@c>",
                "Mail <\"a>b\"@c> None SevenBit false",
            ),
            (
                "MAIL FROM:<\"a\\\"> b\"@c>",
                "Mail <\"a\\\"> b\"@c> None SevenBit false",
            ),
            (
                "MAIL FROM:<@x,@y:a@b>",
                "Mail <@x,@y:a@b> None SevenBit false",
            ),
            ("MAIL", "501 5.5.4 Mail"),
            ("MAIL FROM", "501 5.5.4 Mail"),
            ("MAIL FROM:", "501 5.5.4 Mail"),
            ("MAIL FROM:a@b", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b", "501 5.5.4 Mail"),
            ("MAIL FROM:<a b@c>", "501 5.5.4 Mail"),
            ("MAIL FROM:<<a@b>>", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b>SIZE=1", "501 5.5.4 Mail"),
            ("MAIL FROM:<\"a@b>", "501 5.5.4 Mail"),
            ("MAIL TO:<a@b>", "501 5.5.4 Mail"),
            ("MAIL FROM :<a@b>", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SIZE", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SIZE=", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SIZE=-1", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SMTPUTF8=1", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> BODY", "501 5.5.4 Mail"),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", "555 5.5.4 Mail"),
            ("MAIL FROM:<a@b> RET=FULL", "555 5.5.4 Mail"),
            ("MAIL FROM:<a@b> RET=WHAT", "555 5.5.4 Mail"),
            ("MAIL FROM:<a@b> AUTH=<>", "555 5.5.4 Mail"),
        ] {
            assert_eq!(told(input.as_bytes()), expected, "{input:?}");
        }
    }

    /// What a sender asks for, where EHLO under TLS has offered everything.
    fn asked(input: &str) -> String {
        let by = |it: By| format!(" by {} {:?} {}", it.seconds, it.mode, it.trace);
        match parse(input.as_bytes(), Offer::Guarded) {
            Ok(Command::Mail(mail)) => [
                mail.ret.map(|it| format!(" ret {}", it.word())),
                mail.envelope_id.map(|it| format!(" envid {it}")),
                mail.by.map(by),
                mail.priority.map(|it| format!(" priority {it}")),
                mail.require_tls.then(|| " tls".to_owned()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Ok(Command::Rcpt(rcpt)) => [
                rcpt.notify.map(|it| format!(" notify {it}")),
                rcpt.original.map(|it| format!(" original {it}")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Ok(other) => format!("{other:?}"),
            Err(fault) => format!("{}", fault.reply.code),
        }
    }

    #[test]
    fn reads_what_is_asked_for_a_message() {
        let hundred = "x".repeat(100);
        #[rustfmt::skip]
        let cases = [
            ("",                            ""),
            // RFC 3461 §4.3, §4.4
            ("RET=FULL",                    " ret FULL"),
            ("ret=hdrs",                    " ret HDRS"),
            ("RET=",                        "501"),
            ("RET",                         "501"),
            ("RET=ALL",                     "501"),
            ("RET=FULL RET=HDRS",           "501"),
            ("ENVID=QQ+2Bx",                " envid QQ+2Bx"),
            ("ENVID=a=b",                   "501"),
            ("ENVID=a+0Ab",                 "501"),
            ("ENVID=å",                     "501"),
            ("ENVID=",                      "501"),
            ("ENVID",                       "501"),
            ("ENVID=a ENVID=a",             "501"),
            // RFC 2852 §4
            ("BY=60;R",                     " by 60 Return false"),
            ("BY=+60;rt",                   " by 60 Return true"),
            ("by=0;N",                      " by 0 Notify false"),
            ("BY=-999999999;NT",            " by -999999999 Notify true"),
            ("BY=0;R",                      "501"),
            ("BY=-5;R",                     "501"),
            ("BY=1234567890;N",             "501"),
            ("BY=;R",                       "501"),
            ("BY=-;N",                      "501"),
            ("BY=+-1;N",                    "501"),
            ("BY=1.5;N",                    "501"),
            ("BY=60",                       "501"),
            ("BY=60;",                      "501"),
            ("BY=60;TR",                    "501"),
            ("BY=60;RTT",                   "501"),
            ("BY=60;R;T",                   "501"),
            ("BY",                          "501"),
            ("BY=60;R BY=60;R",             "501"),
            // RFC 6710 §7
            ("MT-PRIORITY=0",               " priority 0"),
            ("mt-priority=9",               " priority 9"),
            ("MT-PRIORITY=-9",              " priority -9"),
            ("MT-PRIORITY=10",              "501"),
            ("MT-PRIORITY=-10",             "501"),
            ("MT-PRIORITY=+1",              "501"),
            ("MT-PRIORITY=-0",              "501"),
            ("MT-PRIORITY=01",              "501"),
            ("MT-PRIORITY=high",            "501"),
            ("MT-PRIORITY=",                "501"),
            ("MT-PRIORITY",                 "501"),
            ("MT-PRIORITY=1 MT-PRIORITY=1", "501"),
            // RFC 8689 §2
            // RFC 4954 §5
            ("AUTH=<>",                     ""),
            ("auth=vakt+2Bx@a.test",        ""),
            ("AUTH=",                       "501"),
            ("AUTH",                        "501"),
            ("AUTH=a=b",                    "501"),
            ("AUTH=<> AUTH=<>",             "501"),
            ("RequireTLS",                  " tls"),
            ("REQUIRETLS=",                 "501"),
            ("REQUIRETLS=1",                "501"),
            ("REQUIRETLS REQUIRETLS",       "501"),
            // all at once, in any order
            ("REQUIRETLS SIZE=1 MT-PRIORITY=4 BY=9;N ENVID=1 RET=FULL SMTPUTF8",
                                            " ret FULL envid 1 by 9 Notify false priority 4 tls"),
            ("RETURN=FULL",                 "555"),
            ("NOTIFY=NEVER",                "555"),
        ];
        for (parameters, expected) in cases {
            let line = format!("MAIL FROM:<a@b> {parameters}");
            assert_eq!(asked(&line), expected, "{line}");
        }
        let longest = format!("MAIL FROM:<a@b> ENVID={hundred}");
        assert_eq!(asked(&longest), format!(" envid {hundred}"));
        assert_eq!(asked(&format!("{longest}x")), "501");
    }

    #[test]
    fn reads_what_is_asked_for_a_recipient() {
        #[rustfmt::skip]
        let cases = [
            ("",                                    ""),
            // RFC 3461 §4.1
            ("NOTIFY=NEVER",                        " notify NEVER"),
            ("notify=success,Failure,DELAY",        " notify SUCCESS,FAILURE,DELAY"),
            ("NOTIFY=DELAY,DELAY",                  " notify DELAY"),
            ("NOTIFY=NEVER,DELAY",                  "501"),
            ("NOTIFY=DELAY,",                       "501"),
            ("NOTIFY=",                             "501"),
            ("NOTIFY",                              "501"),
            ("NOTIFY=DELAY NOTIFY=DELAY",           "501"),
            // RFC 3461 §4.2
            ("ORCPT=rfc822;Vakt+2B@b.test",         " original rfc822;Vakt+2B@b.test"),
            ("orcpt=RFC822;a",                      " original RFC822;a"),
            ("ORCPT=x400;/CN=x/",                   "501"),
            ("ORCPT=rfc822;",                       "501"),
            ("ORCPT=;a@b",                          "501"),
            ("ORCPT=a@b",                           "501"),
            ("ORCPT=r(f)c;a@b",                     "501"),
            ("ORCPT=rfc822;a+0D+0Ab",               "501"),
            ("ORCPT=rfc822;å@b",                    "501"),
            ("ORCPT",                               "501"),
            ("ORCPT=rfc822;a ORCPT=rfc822;a",       "501"),
            // RFC 6533 §3
            ("ORCPT=utf-8;å@b",                     " original utf-8;å@b"),
            ("ORCPT=UTF-8;\\x{E5}@b",               " original UTF-8;\\x{E5}@b"),
            ("ORCPT=utf-8;\\x{0A}@b",               "501"),
            ("ORCPT=utf-8;a+2Bb",                   "501"),
            ("RET=FULL",                            "555"),
            ("<c@d>",                               "555"),
        ];
        for (parameters, expected) in cases {
            let line = format!("RCPT TO:<a@b> {parameters}");
            assert_eq!(asked(&line), expected, "{line}");
        }
        for (original, expected) in [
            (format!("rfc822;{}", "x".repeat(493)), true),
            (format!("rfc822;{}", "x".repeat(494)), false),
            (format!("utf-8;{}", "å".repeat(82)), true),
            (format!("utf-8;{}", "å".repeat(83)), false),
        ] {
            let told = asked(&format!("RCPT TO:<a@b> ORCPT={original}"));
            assert_eq!(told != "501", expected, "{original}");
        }
    }

    #[test]
    fn what_was_not_offered_is_not_known() {
        for (line, least) in [
            ("MAIL FROM:<a@b> SIZE=1 BODY=7BIT SMTPUTF8", Offer::Nothing),
            ("MAIL FROM:<a@b> RET=FULL", Offer::Extensions),
            ("MAIL FROM:<a@b> ENVID=a", Offer::Extensions),
            ("MAIL FROM:<a@b> BY=1;R", Offer::Extensions),
            ("MAIL FROM:<a@b> MT-PRIORITY=1", Offer::Extensions),
            ("MAIL FROM:<a@b> REQUIRETLS", Offer::Guarded),
            ("RCPT TO:<a@b> NOTIFY=NEVER", Offer::Extensions),
            ("RCPT TO:<a@b> ORCPT=rfc822;a", Offer::Extensions),
        ] {
            for offer in [Offer::Nothing, Offer::Extensions, Offer::Guarded] {
                let refused = parse(line.as_bytes(), offer).err();
                let code = refused.map_or(250, |it| it.reply.code);
                let expected = if least <= offer { 250 } else { 555 };
                assert_eq!(code, expected, "{line} {offer:?}");
            }
        }
    }

    #[test]
    fn gives_the_recipient_exactly_as_written() {
        for (input, expected) in [
            ("RCPT TO:<vakt@b.test>", "Rcpt(\"vakt@b.test\")"),
            ("rcpt to: <Vakt@B.test> ", "Rcpt(\"Vakt@B.test\")"),
            ("RCPT TO:<postmaster>", "Rcpt(\"postmaster\")"),
            (
                "RCPT TO:<@out.test:vakt@b.test>",
                "Rcpt(\"@out.test:vakt@b.test\")",
            ),
            ("RCPT TO:<x%out.test@b.test>", "Rcpt(\"x%out.test@b.test\")"),
            (
                "RCPT TO:<\"x@out.test\"@b.test>",
                "Rcpt(\"\\\"x@out.test\\\"@b.test\")",
            ),
            ("RCPT TO:<blåbær@b.test>", "Rcpt(\"blåbær@b.test\")"),
            ("RCPT TO:<>", "501 5.1.3 Rcpt"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555 5.5.4 Rcpt"),
            ("RCPT TO:<a@b>x", "501 5.5.4 Rcpt"),
            ("RCPT TO:<a@b> <c@d>", "555 5.5.4 Rcpt"),
            ("RCPT TO:a@b", "501 5.5.4 Rcpt"),
            ("RCPT FROM:<a@b>", "501 5.5.4 Rcpt"),
            ("RCPT TO:å", "501 5.5.4 Rcpt"),
        ] {
            assert_eq!(told(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn refuses_octets_that_no_command_has() {
        for (input, verb) in [
            (b"NOOP \0".as_slice(), Verb::Other),
            (b"RCPT TO:<a\r@b>", Verb::Rcpt),
            (b"RCPT TO:<a\n@b>", Verb::Rcpt),
            (b"MAIL FROM:<a@b>\tSIZE=1", Verb::Mail),
            (b"MAIL FROM:<bl\xe5b@b>", Verb::Mail),
            (b"EHLO \x1b[31m", Verb::Other),
            (b"EHLO \xc2\x85", Verb::Other),
            (b"\xff\xf4\xff\xfd\x06", Verb::Other),
        ] {
            let fault = parse(input, Offer::Guarded).unwrap_err();
            assert_eq!((fault.reply.code, fault.verb), (500, verb), "{input:?}");
        }
    }

    #[test]
    fn a_fault_keeps_the_path_it_could_read() {
        let path = |input: &str| parse(input.as_bytes(), Offer::Nothing).unwrap_err().path;
        assert_eq!(path("MAIL FROM:<a@b> X=1").as_deref(), Some("a@b"));
        assert_eq!(path("RCPT TO:<c@d> X=1").as_deref(), Some("c@d"));
        assert_eq!(path("MAIL FROM:a@b"), None);
    }
}
