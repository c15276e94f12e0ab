//! Addresses and domains: parse, print, compare.
//!
//! Parsing is strict (RFC 5321 §4.1.2, RFC 6531 §3.3) and refuses every spelling that has ever been
//! used to slip past a relay. A domain has one canonical form, lower-case A-labels, so that A-labels,
//! U-labels and mixed case of one domain are equal. Local parts are kept as they were written and
//! compared without regard to case and Unicode normal form. Nothing here knows which domains are
//! ours. The crate `idna` lives here.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use idna::uts46::{DnsLength, Hyphens, Uts46};

/// RFC 5321 §4.5.3.1.1.
const LOCAL_OCTETS: usize = 64;
/// RFC 1035 §2.3.4, as written with dots.
const DOMAIN_OCTETS: usize = 253;
const LABEL_OCTETS: usize = 63;
/// RFC 5321 §4.5.3.1.3: a path of 256, less `<` and `>`.
const ADDRESS_OCTETS: usize = 254;
/// A domain written in U-labels may be longer than its A-labels; past this nobody means a domain.
const WRITTEN_OCTETS: usize = 1024;

/// What UTS 46 §2.3 takes for a full stop.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// A domain name in canonical form: lower-case A-labels, no trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// A mailbox. Compares without regard to the case of the local part.
#[derive(Clone)]
pub struct Address {
    local: Arc<str>,
    domain: Domain,
}

/// Why a text is no address that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    /// Not the grammar of RFC 5321 §4.1.2.
    Syntax,
    /// Over 64 octets of local part, 255 of domain or 254 in all (§4.5.3.1).
    TooLong,
    /// `@a,@b:user@c` (§4.1.1.3, appendix F.2).
    SourceRoute,
    /// `user%outside@room`.
    PercentHack,
    /// `outside!user@room`.
    BangPath,
    /// `"user@outside"@room`, and the same without its quotes.
    QuotedAt,
    /// `user@[127.0.0.1]`.
    AddressLiteral,
    /// `user@room.`
    TrailingDot,
    /// A domain that UTS 46 does not allow.
    Domain,
}

impl Domain {
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        if text.is_empty() || text.chars().any(is_invisible) {
            return Err(AddressFault::Syntax);
        }
        if text.starts_with('[') {
            return Err(AddressFault::AddressLiteral);
        }
        if text.ends_with(DOTS) {
            return Err(AddressFault::TrailingDot);
        }
        if text.len() > WRITTEN_OCTETS {
            return Err(AddressFault::TooLong);
        }
        let ascii = canonical(text)?;
        check_labels(&ascii)?;
        Ok(Self(ascii.into()))
    }

    /// Canonical form, ASCII only.
    pub fn ascii(&self) -> &str {
        &self.0
    }

    /// Whether it is a subdomain of `other`, at any depth.
    pub fn is_below(&self, other: &Self) -> bool {
        let above = self.0.strip_suffix(&*other.0);
        above.is_some_and(|it| it.ends_with('.'))
    }

    /// For people: `ålesund.nodnett.test`.
    pub fn unicode(&self) -> String {
        self.readable().into_owned()
    }

    fn readable(&self) -> Cow<'_, str> {
        if !has_a_label(&self.0) {
            return Cow::Borrowed(&self.0);
        }
        match idna::domain_to_unicode(&self.0) {
            // What is printed must read back.
            (text, Ok(())) if !text.chars().any(is_invisible) => Cow::Owned(text),
            _ => Cow::Borrowed(&self.0),
        }
    }
}

/// Lower-case A-labels of `text`, whichever way it is written (RFC 5890 §2.3.2.1, UTS 46 §4).
fn canonical(text: &str) -> Result<Cow<'_, str>, AddressFault> {
    if text.is_ascii() && !has_a_label(text) {
        return Ok(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        });
    }
    Uts46::new()
        .to_ascii(
            text.as_bytes(),
            idna::AsciiDenyList::STD3,
            Hyphens::Check,
            DnsLength::Ignore,
        )
        .map_err(|_| AddressFault::Domain)
}

fn has_a_label(text: &str) -> bool {
    text.split('.').any(|label| {
        label
            .as_bytes()
            .first_chunk::<4>()
            .is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"))
    })
}

/// RFC 5321 §4.1.2 sub-domain, RFC 1035 §2.3.4.
fn check_labels(ascii: &str) -> Result<(), AddressFault> {
    if ascii.len() > DOMAIN_OCTETS {
        return Err(AddressFault::TooLong);
    }
    for label in ascii.split('.') {
        if label.len() > LABEL_OCTETS {
            return Err(AddressFault::TooLong);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if label.is_empty()
            || label.starts_with('-')
            || label.ends_with('-')
            || !label.bytes().all(plain)
        {
            return Err(AddressFault::Domain);
        }
    }
    Ok(())
}

impl Address {
    /// Parses what stands between `<` and `>`.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let (written, domain) = split(text)?;
        let local = match written.strip_prefix('"') {
            Some(rest) => unquote(rest)?,
            None => dot_atom(written)?,
        };
        refuse_rerouting(&local)?;
        refuse_rerouting(domain)?;
        let domain = Domain::parse(domain)?;
        if written.len() > LOCAL_OCTETS || written.len() + 1 + domain.0.len() > ADDRESS_OCTETS {
            return Err(AddressFault::TooLong);
        }
        Ok(Self {
            local: local.into(),
            domain,
        })
    }

    /// As written, quotes removed.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// As it must be written: quoted where it must be.
    pub fn written_local(&self) -> Cow<'_, str> {
        quoted(&self.local)
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The same local part at another domain.
    #[must_use]
    pub fn at(&self, domain: &Domain) -> Self {
        Self {
            local: Arc::clone(&self.local),
            domain: domain.clone(),
        }
    }

    /// For a command on the wire: quoted where it must be, the domain as A-labels.
    pub fn wire(&self) -> String {
        format!("{}@{}", quoted(&self.local), self.domain.0)
    }

    /// Whether the local part needs SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

impl FromStr for Address {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, AddressFault> {
        Self::parse(text)
    }
}

/// The local part as written, and the domain. The `@` between them is the last one, or the one
/// after the closing quote.
fn split(text: &str) -> Result<(&str, &str), AddressFault> {
    if text.starts_with('@') && text.contains(':') {
        return Err(AddressFault::SourceRoute);
    }
    let at = if text.starts_with('"') {
        closing_quote(text)
    } else {
        text.rfind('@')
    };
    let Some((local, domain)) = at.and_then(|at| text.split_at_checked(at)) else {
        if !text.starts_with('"') {
            refuse_rerouting(text)?;
        }
        return Err(AddressFault::Syntax);
    };
    let domain = domain.strip_prefix('@').ok_or(AddressFault::Syntax)?;
    Ok((local, domain))
}

/// The place after the quote that closes the one at the start.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(place + 1),
            _ => {}
        }
    }
    None
}

/// RFC 5321 §4.1.2 Dot-string, RFC 6531 §3.3 atext.
fn dot_atom(text: &str) -> Result<Cow<'_, str>, AddressFault> {
    if text.contains('@') {
        return Err(AddressFault::QuotedAt);
    }
    if text.split('.').any(str::is_empty) || !text.chars().all(|c| c == '.' || is_atext(c)) {
        return Err(AddressFault::Syntax);
    }
    Ok(Cow::Borrowed(text))
}

/// RFC 5321 §4.1.2 Quoted-string, the opening quote already gone. An empty one names no mailbox.
fn unquote(rest: &str) -> Result<Cow<'_, str>, AddressFault> {
    let inside = rest.strip_suffix('"').ok_or(AddressFault::Syntax)?;
    if inside.is_empty() {
        return Err(AddressFault::Syntax);
    }
    let mut local = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(mut c) = chars.next() {
        if c == '\\' {
            c = chars.next().ok_or(AddressFault::Syntax)?;
        }
        if c != ' ' && is_invisible(c) {
            return Err(AddressFault::Syntax);
        }
        local.push(c);
    }
    Ok(Cow::Owned(local))
}

/// A second address hidden in the first one, also by look-alikes of `@`, `%` and `!`.
fn refuse_rerouting(text: &str) -> Result<(), AddressFault> {
    let found = text.chars().find_map(|c| match c {
        '@' | '\u{ff20}' | '\u{fe6b}' => Some(AddressFault::QuotedAt),
        '%' | '\u{ff05}' | '\u{fe6a}' => Some(AddressFault::PercentHack),
        '!' | '\u{ff01}' | '\u{fe57}' => Some(AddressFault::BangPath),
        _ => None,
    });
    found.map_or(Ok(()), Err)
}

/// RFC 5322 §3.2.3, and RFC 6531 §3.3 for what is not ASCII.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !is_invisible(c) && !is_fullwidth_sign(c)
    }
}

/// Controls, spaces, and characters that take no room or turn the direction of the text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// Full-width and small twins of ASCII signs, which some readers fold into ASCII.
fn is_fullwidth_sign(c: char) -> bool {
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            !char::from_u32(u32::from(c) - 0xfee0).is_some_and(|twin| twin.is_ascii_alphanumeric())
        }
        '\u{fe50}'..='\u{fe6b}' | '\u{3002}' | '\u{ff61}' => true,
        _ => false,
    }
}

/// A local part as it must be written: a dot-atom as it is, anything else in quotes.
fn quoted(local: &str) -> Cow<'_, str> {
    if dot_atom(local).is_ok() {
        return Cow::Borrowed(local);
    }
    let mut text = String::with_capacity(local.len() + 2);
    text.push('"');
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    Cow::Owned(text)
}

/// One spelling for all that count as the same local part. UTS 46 mapping folds case and normal
/// form at once; what it does not allow is only lower-cased.
fn folded(local: &str) -> String {
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    match Uts46::new().to_unicode(local.as_bytes(), idna::AsciiDenyList::EMPTY, Hyphens::Allow) {
        (text, Ok(())) => text.into_owned(),
        (_, Err(_)) => local.to_lowercase(),
    }
}

fn same_local(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        one.eq_ignore_ascii_case(other)
    } else {
        folded(one).eq_ignore_ascii_case(&folded(other))
    }
}

/// For people and for the store: `vakt@ålesund.nodnett.test`, quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.local))?;
        f.write_str("@")?;
        f.write_str(&self.domain.readable())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// For people: as U-labels.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.readable())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && same_local(&self.local, &other.local)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.domain.hash(state);
        if self.local.is_ascii() {
            hash_lowered(&self.local, state);
        } else {
            hash_lowered(&folded(&self.local), state);
        }
    }
}

fn hash_lowered<H: Hasher>(text: &str, state: &mut H) {
    for byte in text.bytes() {
        state.write_u8(byte.to_ascii_lowercase());
    }
    state.write_u8(0xff);
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "it is not written as an address: name@domain",
            Self::TooLong => "it is too long: 64 octets of name, 254 in all",
            Self::SourceRoute => "source routes are not taken",
            Self::PercentHack => "an address with % in it is not taken",
            Self::BangPath => "an address with ! in it is not taken",
            Self::QuotedAt => "an address with a second @ in it is not taken",
            Self::AddressLiteral => "an IP address in place of the domain is not taken",
            Self::TrailingDot => "the domain ends with a dot",
            Self::Domain => "the domain is not a valid name",
        })
    }
}

impl std::error::Error for AddressFault {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::HashSet;

    use super::*;

    /// A label with a joiner in it is valid, but its U-label would not be read again.
    #[test]
    fn what_is_printed_reads_back() {
        for text in ["a@xn--ab-fsf604u.test", "a@xn--bt-yia.test", "vakt@b.test"] {
            let Ok(address) = Address::parse(text) else {
                continue;
            };
            assert_eq!(Address::parse(&address.to_string()), Ok(address), "{text}");
        }
    }

    #[test]
    fn equal_addresses_have_equal_hashes() {
        let texts = [
            "xn--blbr-roah@a.test",
            "blåbær@a.test",
            "BLÅBÆR@a.test",
            "a.b@a.test",
            "\"a。b\"@a.test",
            "A.B@a.test",
        ];
        let addresses = texts.map(|it| Address::parse(it).unwrap());
        for one in &addresses {
            for other in &addresses {
                let together = HashSet::from([one.clone(), other.clone()]);
                assert_eq!(one == other, together.len() == 1, "{one} {other}");
            }
        }
    }
    use AddressFault as Fault;

    #[test]
    fn takes_what_is_an_address() {
        #[rustfmt::skip]
        let cases = [
            // written                          local            domain on the wire
            ("vakt@a.nodnett.test",             "vakt",          "a.nodnett.test"),
            ("Vakt.Leder+1@A.Nodnett.TEST",     "Vakt.Leder+1",  "a.nodnett.test"),
            ("\"vakt\"@a.test",                 "vakt",          "a.test"),
            ("\"vakt rom\"@a.test",             "vakt rom",      "a.test"),
            ("\"a\\\"b\\\\c\"@a.test",          "a\"b\\c",       "a.test"),
            ("\"a..b\"@a.test",                 "a..b",          "a.test"),
            ("\"a.\"@a.test",                   "a.",            "a.test"),
            ("bjørn@a.test",                    "bjørn",         "a.test"),
            ("vakt@ålesund.test",               "vakt",          "xn--lesund-hua.test"),
            ("vakt@ÅLESUND.test",               "vakt",          "xn--lesund-hua.test"),
            ("vakt@a\u{30a}lesund.test",        "vakt",          "xn--lesund-hua.test"),
            ("vakt@XN--lesund-HUA.test",        "vakt",          "xn--lesund-hua.test"),
            ("vakt@ａ.test",                    "vakt",          "a.test"),
            ("vakt@a。test",                    "vakt",          "a.test"),
            ("vakt@localhost",                  "vakt",          "localhost"),
            ("/etc/passwd@a.test",              "/etc/passwd",   "a.test"),
            ("#$&'*+-/=?^_`{|}~@a.test",        "#$&'*+-/=?^_`{|}~", "a.test"),
            ("vakt@127.0.0.1",                  "vakt",          "127.0.0.1"),
        ];
        for (written, local, domain) in cases {
            let address = Address::parse(written).unwrap_or_else(|f| panic!("{written}: {f:?}"));
            assert_eq!(address.local(), local, "{written}");
            assert_eq!(address.domain().ascii(), domain, "{written}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = |count: usize| "x".repeat(count);
        #[rustfmt::skip]
        let cases = [
            ("".to_owned(),                             Fault::Syntax),
            ("vakt".to_owned(),                         Fault::Syntax),
            ("@a.test".to_owned(),                      Fault::Syntax),
            ("vakt@".to_owned(),                        Fault::Syntax),
            ("<vakt@a.test>".to_owned(),                Fault::Syntax),
            ("vakt @a.test".to_owned(),                 Fault::Syntax),
            ("vakt@ a.test".to_owned(),                 Fault::Syntax),
            ("vakt@a.test ".to_owned(),                 Fault::Syntax),
            ("va kt@a.test".to_owned(),                 Fault::Syntax),
            (".vakt@a.test".to_owned(),                 Fault::Syntax),
            ("vakt.@a.test".to_owned(),                 Fault::Syntax),
            ("va..kt@a.test".to_owned(),                Fault::Syntax),
            ("va\0kt@a.test".to_owned(),                Fault::Syntax),
            ("vakt@a\0.test".to_owned(),                Fault::Syntax),
            ("vakt@a.test\r\nRCPT TO:x".to_owned(), Fault::Syntax),
            ("\"va\rkt\"@a.test".to_owned(),            Fault::Syntax),
            ("\"va\\\nkt\"@a.test".to_owned(),          Fault::Syntax),
            ("va\u{7f}kt@a.test".to_owned(),            Fault::Syntax),
            ("va\u{85}kt@a.test".to_owned(),            Fault::Syntax),
            ("va\u{200b}kt@a.test".to_owned(),          Fault::Syntax),
            ("va\u{202e}kt@a.test".to_owned(),          Fault::Syntax),
            ("va\u{3000}kt@a.test".to_owned(),          Fault::Syntax),
            ("vakt@a\u{ad}.test".to_owned(),            Fault::Syntax),
            ("\"vakt@a.test".to_owned(),                Fault::Syntax),
            ("\"vakt\"x@a.test".to_owned(),             Fault::Syntax),
            ("\"vakt\\\"@a.test".to_owned(),            Fault::Syntax),
            ("\"\"@a.test".to_owned(),                  Fault::Syntax),
            ("\"va\"kt\"@a.test".to_owned(),            Fault::Syntax),
            ("vakt(kommentar)@a.test".to_owned(),       Fault::Syntax),
            ("va,kt@a.test".to_owned(),                 Fault::Syntax),
            ("va;kt@a.test".to_owned(),                 Fault::Syntax),
            ("@b.test:vakt@a.test".to_owned(),          Fault::SourceRoute),
            ("@b.test,@c.test:vakt@a.test".to_owned(),  Fault::SourceRoute),
            ("vakt%b.test@a.test".to_owned(),           Fault::PercentHack),
            ("\"vakt%b.test\"@a.test".to_owned(),       Fault::PercentHack),
            ("vakt%b.test".to_owned(),                  Fault::PercentHack),
            ("vakt@a.test%b.test".to_owned(),           Fault::PercentHack),
            ("vakt％b.test@a.test".to_owned(),          Fault::Syntax),
            ("\"vakt％b.test\"@a.test".to_owned(),      Fault::PercentHack),
            ("b.test!vakt@a.test".to_owned(),           Fault::BangPath),
            ("b.test!vakt".to_owned(),                  Fault::BangPath),
            ("\"b.test!vakt\"@a.test".to_owned(),       Fault::BangPath),
            ("\"vakt@b.test\"@a.test".to_owned(),       Fault::QuotedAt),
            ("\"vakt\\@b.test\"@a.test".to_owned(),     Fault::QuotedAt),
            ("vakt@b.test@a.test".to_owned(),           Fault::QuotedAt),
            ("\"vakt\"@b.test@a.test".to_owned(),       Fault::QuotedAt),
            ("vakt＠b.test@a.test".to_owned(),          Fault::Syntax),
            ("vakt@b.test＠a.test".to_owned(),          Fault::QuotedAt),
            ("vakt@[127.0.0.1]".to_owned(),             Fault::AddressLiteral),
            ("vakt@[IPv6:::1]".to_owned(),              Fault::AddressLiteral),
            ("vakt@a.test.".to_owned(),                 Fault::TrailingDot),
            ("vakt@a.test。".to_owned(),                Fault::TrailingDot),
            ("vakt@a..test".to_owned(),                 Fault::Domain),
            ("vakt@.a.test".to_owned(),                 Fault::Domain),
            ("vakt@-a.test".to_owned(),                 Fault::Domain),
            ("vakt@a-.test".to_owned(),                 Fault::Domain),
            ("vakt@a_b.test".to_owned(),                Fault::Domain),
            ("vakt@a/b.test".to_owned(),                Fault::Domain),
            ("vakt@a.test:25".to_owned(),               Fault::Domain),
            ("vakt@a.test,b.test".to_owned(),           Fault::Domain),
            ("vakt@xn--a.test".to_owned(),              Fault::Domain),
            ("vakt@xn--.test".to_owned(),               Fault::Domain),
            ("vakt@xn--a-.test".to_owned(),             Fault::Domain),
            ("vakt@xn--xn--fa-hialesund-hua.test".to_owned(), Fault::Domain),
            ("vakt@a\u{2100}b.test".to_owned(),         Fault::Domain),
            (format!("{}@a.test", long(65)),            Fault::TooLong),
            (format!("vakt@{}.test", long(64)),         Fault::TooLong),
            (format!("vakt@{}test", "xxxxxxxxx.".repeat(25)), Fault::TooLong),
            (format!("{}@{}test", long(64), "xxxxxxxxx.".repeat(19)), Fault::TooLong),
        ];
        for (written, fault) in cases {
            assert_eq!(Address::parse(&written), Err(fault), "{written:?}");
        }
        assert!(Address::parse(&format!("{}@a.test", long(64))).is_ok());
        assert!(Address::parse(&format!("vakt@{}.test", long(63))).is_ok());
    }

    #[test]
    fn compares_as_people_do() {
        #[rustfmt::skip]
        let cases = [
            ("vakt@a.test",             "VAKT@A.TEST",          true),
            ("\"vakt\"@a.test",         "vakt@a.test",          true),
            ("vakt@ålesund.test",       "vakt@xn--LESUND-hua.test", true),
            ("bjørn@a.test",            "BJØRN@a.test",         true),
            ("a\u{30a}se@a.test",       "\u{c5}SE@a.test",      true),
            ("vakt@a.test",             "vakt@b.test",          false),
            ("vakt@a.test",             "vakt1@a.test",         false),
            ("bjørn@a.test",            "bjorn@a.test",         false),
        ];
        for (one, other, same) in cases {
            let (one, other) = (Address::parse(one).unwrap(), Address::parse(other).unwrap());
            assert_eq!(one == other, same, "{one} {other}");
            let set = HashSet::from([one]);
            assert_eq!(set.contains(&other), same, "{other} by hash");
        }
    }

    #[test]
    fn prints_what_it_parses_again() {
        #[rustfmt::skip]
        let cases = [
            // written                      for people                  on the wire
            ("Vakt@A.test",                 "Vakt@a.test",              "Vakt@a.test"),
            ("\"vakt\"@a.test",             "vakt@a.test",              "vakt@a.test"),
            ("\"va kt\"@a.test",            "\"va kt\"@a.test",         "\"va kt\"@a.test"),
            ("\"a\\\"\\\\\\b\"@a.test",     "\"a\\\"\\\\b\"@a.test",    "\"a\\\"\\\\b\"@a.test"),
            ("\"a.\"@a.test",               "\"a.\"@a.test",            "\"a.\"@a.test"),
            ("bjørn@xn--lesund-hua.test",   "bjørn@ålesund.test",       "bjørn@xn--lesund-hua.test"),
        ];
        for (written, readable, wire) in cases {
            let address = Address::parse(written).unwrap();
            assert_eq!(address.to_string(), readable);
            assert_eq!(address.wire(), wire);
            assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
            assert_eq!(Address::parse(&address.wire()), Ok(address));
        }
    }

    /// Every text of a few letters from the signs that matter: what parses, prints and parses back,
    /// has one domain, and no second way out in it.
    #[test]
    fn holds_for_every_short_text() {
        let signs = [
            "a", "@", "\"", "\\", ".", "%", "!", " ", ":", "[", "Å", "。", "-", "xn--",
        ];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let last = texts.clone();
            texts = last
                .iter()
                .flat_map(|text| signs.iter().map(move |sign| format!("{text}{sign}")))
                .filter(|text| text.len() < 3 || text.contains('@'))
                .collect();
            for address in texts.iter().filter_map(|text| Address::parse(text).ok()) {
                assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
                assert_eq!(Address::parse(&address.wire()), Ok(address.clone()));
                assert!(!address.local().contains(['@', '%', '!']), "{address}");
                assert!(address.domain().ascii().is_ascii());
                assert_eq!(address.to_string().matches('@').count(), 1);
            }
        }
    }
}
