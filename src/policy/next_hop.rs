//! Where a room's mail is handed over, written as a URL.
//!
//! Parsing is strict: what is not understood is a fault, never ignored, and so are options that undo
//! each other. A hop prints in one canonical way, `Display` without the password, [`NextHop::url`]
//! with it. Whoever names a `ca` or a `pin` means it: such a hop is verified or not delivered to.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::mail::Domain;
use crate::nearest::nearest;

/// RFC 5321 §4.5.4.2, RFC 8314 §7.3, and LMTP's usual one (RFC 2033 names none).
const SMTP_PORT: u16 = 25;
const SMTPS_PORT: u16 = 465;
const LMTP_PORT: u16 = 24;

/// What is told in the place of what may be a password.
const HIDDEN: &str = "…";

pub(super) const SCHEMES: [&str; 5] = ["smtp", "smtps", "lmtp", "mx", "maildir"];
const OPTIONS: [&str; 5] = ["tls", "ca", "pin", "client_certificate", "client_key"];
const PIN: &str = "sha256:";

/// Where a room's mail is handed over. Prints as it was written, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    Smtp(HopServer),
    /// TLS from the first byte.
    Smtps(HopServer),
    Lmtp(HopServer),
    LmtpSocket(PathBuf),
    /// The servers that a domain names; `host` is the domain, and the rest holds for each of them.
    Mx(HopServer),
    Maildir(PathBuf),
}

/// A server to connect to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HopServer {
    /// A name in A-labels, or an IP address (IPv6 without its brackets).
    pub host: String,
    pub port: u16,
    pub tls: HopTls,
    pub credentials: Option<(String, String)>,
    /// PEM: the relay's certificate towards this hop, those between it and its root, and its key.
    pub client_certificate: Option<PathBuf>,
    /// PEM: the key, where it has a file of its own.
    pub client_key: Option<PathBuf>,
    /// PEM: who vouches for this hop, in the place of those that vouch for all.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the certificate it must show. With it alone, name and dates no longer matter; a `ca`
    /// beside it must vouch as well.
    pub pin: Option<[u8; 32]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HopTls {
    /// Plain text, whatever the server offers.
    Off,
    /// STARTTLS when offered; the certificate is not checked, since plain text would do. Usual, but
    /// where a password is shown.
    Opportunistic,
    /// STARTTLS with a certificate that verifies, or no delivery. TLS from the first byte is always
    /// this.
    Required,
}

impl NextHop {
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|why| without_secrets(text, why))
    }

    fn read(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            format!("{text:?} is no next hop; write for example \"smtp://10.1.0.5:25\"")
        })?;
        match scheme {
            "maildir" => path(rest).map(Self::Maildir),
            "mx" => exchangers(rest).map(Self::Mx),
            "lmtp" if !rest.starts_with("//") => absolute(rest).map(Self::LmtpSocket),
            "lmtp" => server(rest, LMTP_PORT, HopTls::Opportunistic).map(Self::Lmtp),
            "smtp" => server(rest, SMTP_PORT, HopTls::Opportunistic).map(Self::Smtp),
            "smtps" => server(rest, SMTPS_PORT, HopTls::Required)
                .and_then(always_secure)
                .map(Self::Smtps),
            _ => Err(unknown("scheme", scheme, &SCHEMES)),
        }
    }

    /// Whole, with the password: for an export.
    pub fn url(&self) -> String {
        self.written(|user, password| format!("{}:{}@", encoded(user), encoded(password)))
    }

    /// The server behind it, for those that have one.
    pub const fn server(&self) -> Option<&HopServer> {
        match self {
            Self::Smtp(server) | Self::Smtps(server) | Self::Lmtp(server) | Self::Mx(server) => {
                Some(server)
            }
            Self::LmtpSocket(_) | Self::Maildir(_) => None,
        }
    }

    /// Whether a password is shown to whoever answers, since no certificate is asked for.
    pub fn exposes_password(&self) -> bool {
        self.server()
            .is_some_and(|it| it.credentials.is_some() && it.tls != HopTls::Required)
    }

    fn written(&self, credentials: impl Fn(&str, &str) -> String) -> String {
        match self {
            Self::Smtp(server) => server.written("smtp", server.usual_tls(), credentials),
            Self::Smtps(server) => server.written("smtps", HopTls::Required, credentials),
            Self::Lmtp(server) => server.written("lmtp", server.usual_tls(), credentials),
            Self::LmtpSocket(path) => format!("lmtp:{}", path.display()),
            Self::Mx(server) => server.domain_written(),
            Self::Maildir(path) => format!("maildir:{}", path.display()),
        }
    }
}

impl HopServer {
    const fn new(host: String, port: u16, tls: HopTls) -> Self {
        Self {
            host,
            port,
            tls,
            credentials: None,
            client_certificate: None,
            client_key: None,
            ca: None,
            pin: None,
        }
    }

    /// What holds where nothing is said: whoever stands in between must not get a password.
    const fn usual_tls(&self) -> HopTls {
        match self.credentials {
            Some(_) => HopTls::Required,
            None => HopTls::Opportunistic,
        }
    }

    fn written(
        &self,
        scheme: &str,
        usual: HopTls,
        credentials: impl Fn(&str, &str) -> String,
    ) -> String {
        let who = self.credentials.as_ref();
        let who = who.map_or_else(String::new, |(user, password)| credentials(user, password));
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        format!(
            "{scheme}://{who}{host}:{}{}",
            self.port,
            self.options(usual)
        )
    }

    fn domain_written(&self) -> String {
        let port = match self.port {
            SMTP_PORT => String::new(),
            port => format!(":{port}"),
        };
        format!(
            "mx:{}{port}{}",
            self.host,
            self.options(HopTls::Opportunistic)
        )
    }

    /// Those that are not as `usual`, in one order, with the `?` before them.
    fn options(&self, usual: HopTls) -> String {
        let path = |path: &PathBuf| encoded(&path.to_string_lossy());
        let written = [
            (
                "tls",
                (self.tls != usual).then(|| self.tls.word().to_owned()),
            ),
            ("ca", self.ca.as_ref().map(path)),
            ("pin", self.pin.as_ref().map(pin_written)),
            (
                "client_certificate",
                self.client_certificate.as_ref().map(path),
            ),
            ("client_key", self.client_key.as_ref().map(path)),
        ];
        let written = written
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        match written.collect::<Vec<_>>().join("&") {
            none if none.is_empty() => none,
            some => format!("?{some}"),
        }
    }
}

impl HopTls {
    const WORDS: [(&str, Self); 3] = [
        ("off", Self::Off),
        ("opportunistic", Self::Opportunistic),
        ("required", Self::Required),
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(|user, _| format!("{}@", encoded(user))))
    }
}

/// Without the password.
impl fmt::Debug for HopServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HopServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("client_certificate", &self.client_certificate)
            .field("client_key", &self.client_key)
            .field("ca", &self.ca)
            .field("pin", &self.pin.as_ref().map(pin_written))
            .finish()
    }
}

/// Why a hop is not understood may be printed anywhere; what stands before an `@` may be a password.
fn without_secrets(text: &str, why: String) -> String {
    let Some((before, _)) = text.rsplit_once('@') else {
        return why;
    };
    if format!("{text:?}") != format!("\"{text}\"") {
        return "user, password or host is not understood; odd characters are written as %XX"
            .into();
    }
    let before = before.split_once(':').map_or(before, |(_, rest)| rest);
    let is_secret = |word: &str| word.contains('@') || !word.is_empty() && before.contains(word);
    let quoted = why.split('"').enumerate();
    let shown = quoted.map(|(place, word)| match place % 2 == 1 && is_secret(word) {
        true => HIDDEN,
        false => word,
    });
    shown.collect::<Vec<_>>().join("\"")
}

fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("unknown {what} {word:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {word:?}; it is one of {}", known.join(", ")),
    }
}

/// `//user:password@host:port?options`, the scheme already gone.
fn server(rest: &str, port: u16, tls: HopTls) -> Result<HopServer, String> {
    let rest = rest
        .strip_prefix("//")
        .ok_or("write // between the scheme and the host")?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((who, place)) => (Some(user_and_password(who)?), place),
        None => (None, authority),
    };
    let (host, port) = host_and_port(place, port)?;
    let mut server = HopServer::new(host, port, tls);
    server.credentials = credentials;
    with_options(server, query)
}

/// `domain:port?options`, the scheme already gone.
fn exchangers(rest: &str) -> Result<HopServer, String> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
    let port = port.strip_prefix(':').map_or(Ok(SMTP_PORT), port_number)?;
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("{name:?} is no domain; write smtp://{name}"));
    }
    with_options(
        HopServer::new(domain(name)?, port, HopTls::Opportunistic),
        query,
    )
}

fn with_options(mut server: HopServer, query: &str) -> Result<HopServer, String> {
    let mut said = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        if said.contains(&key) {
            return Err(format!("{key} is said twice"));
        }
        said.push(key);
        set_option(&mut server, key, value)?;
    }
    if server.credentials.is_some() && !said.contains(&"tls") {
        server.tls = server.usual_tls();
    }
    agreed(server)
}

fn set_option(server: &mut HopServer, key: &str, value: &str) -> Result<(), String> {
    let file = || path(&decoded(value)?).map_err(|why| format!("{key}: {why}"));
    match key {
        "tls" => server.tls = tls(value)?,
        "ca" => server.ca = Some(file()?),
        "pin" => server.pin = Some(pin(value)?),
        "client_certificate" => server.client_certificate = Some(file()?),
        "client_key" => server.client_key = Some(file()?),
        _ => return Err(unknown("option", key, &OPTIONS)),
    }
    Ok(())
}

/// The options taken together: none may undo another.
fn agreed(mut server: HopServer) -> Result<HopServer, String> {
    let is_judged = server.ca.is_some() || server.pin.is_some();
    let shows = server.credentials.is_some() || server.client_certificate.is_some();
    if server.tls == HopTls::Off && (is_judged || shows) {
        let words = "a password, ca, pin and client_certificate need TLS, which tls=off rules out";
        return Err(words.to_owned());
    }
    if server.client_key.is_some() && server.client_certificate.is_none() {
        return Err("client_key is of no use without client_certificate".to_owned());
    }
    if is_judged {
        server.tls = HopTls::Required;
    }
    Ok(server)
}

fn always_secure(server: HopServer) -> Result<HopServer, String> {
    match server.tls {
        HopTls::Required => Ok(server),
        other => Err(format!(
            "smtps is TLS from the first byte; for tls={} write smtp://",
            other.word()
        )),
    }
}

fn tls(word: &str) -> Result<HopTls, String> {
    let known = HopTls::WORDS.into_iter().find(|(it, _)| *it == word);
    known
        .map(|(_, tls)| tls)
        .ok_or_else(|| unknown("tls", word, &HopTls::WORDS.map(|(word, _)| word)))
}

/// `sha256:` and 64 hexadecimal digits, with or without colons between the octets.
fn pin(text: &str) -> Result<[u8; 32], String> {
    let fault =
        || "pin is sha256: and the 64 hexadecimal digits of a certificate's SHA-256".to_owned();
    let digits = text.strip_prefix(PIN).ok_or_else(fault)?;
    let digits: Vec<u8> = digits
        .chars()
        .filter(|c| *c != ':')
        .map(|c| {
            c.to_digit(16)
                .and_then(|it| u8::try_from(it).ok())
                .ok_or_else(fault)
        })
        .collect::<Result<_, _>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    let octets: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    octets
        .try_into()
        .ok()
        .filter(|_| odd.is_empty())
        .ok_or_else(fault)
}

fn pin_written(pin: &[u8; 32]) -> String {
    let digits: String = pin.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{PIN}{digits}")
}

fn user_and_password(text: &str) -> Result<(String, String), String> {
    let (user, password) = text
        .split_once(':')
        .ok_or("a user needs a password: user:password@host")?;
    if user.is_empty() || password.is_empty() {
        return Err("neither user nor password may be empty".to_owned());
    }
    Ok((decoded(user)?, decoded(password)?))
}

fn host_and_port(text: &str, usual: u16) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or("the bracket [ is not closed")?;
            let address: IpAddr = inside
                .parse()
                .ok()
                .filter(IpAddr::is_ipv6)
                .ok_or_else(|| format!("{inside:?} is no IPv6 address"))?;
            (address.to_string(), after)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (host_name(host)?, port)
        }
    };
    match port.strip_prefix(':') {
        Some(number) => Ok((host, port_number(number)?)),
        None if port.is_empty() => Ok((host, usual)),
        None => Err(format!("{port:?} after the host is not understood")),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the host is missing".to_owned());
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => domain(text),
    }
}

/// Where the host was forgotten, a password stands in the place of the port.
fn shown_port(text: &str) -> &str {
    let number = text.split('/').next().unwrap_or_default();
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '+');
    if is_number { text } else { HIDDEN }
}

fn port_number(text: &str) -> Result<u16, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain && number > 0 => Ok(number),
        _ => Err(format!(
            "{:?} is no port; it is a number from 1 to 65535",
            shown_port(text)
        )),
    }
}

fn domain(text: &str) -> Result<String, String> {
    Domain::parse(text)
        .map(|domain| domain.ascii().to_owned())
        .map_err(|_| format!("{text:?} is no host name"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("the path is missing".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    if !Path::new(text).is_absolute() {
        return Err("write lmtp://host:port, or lmtp: and a path that starts with /".to_owned());
    }
    path(text)
}

/// RFC 3986 §2.1.
fn decoded(text: &str) -> Result<String, String> {
    let fault = || format!("{text:?}: after % come two hexadecimal digits");
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            octets.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
        octets.push(
            value
                .and_then(|it| u8::try_from(it).ok())
                .ok_or_else(fault)?,
        );
    }
    String::from_utf8(octets)
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| format!("{text:?} is not plain text"))
}

/// RFC 3986 §2.3: what is unreserved stays as it is; so does `/`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn prints_in_one_way() {
        #[rustfmt::skip]
        let cases = [
            // written                                  shown                               exported
            ("smtp://10.1.0.5:25",                      "smtp://10.1.0.5:25",               "smtp://10.1.0.5:25"),
            ("smtp://10.1.0.5",                         "smtp://10.1.0.5:25",               "smtp://10.1.0.5:25"),
            ("smtp://Mail.A.test:2525",                 "smtp://mail.a.test:2525",          "smtp://mail.a.test:2525"),
            ("smtp://ålesund.test",                     "smtp://xn--lesund-hua.test:25",    "smtp://xn--lesund-hua.test:25"),
            ("smtp://[::1]:2525",                       "smtp://[::1]:2525",                "smtp://[::1]:2525"),
            ("smtp://[2001:db8:0::1]",                  "smtp://[2001:db8::1]:25",          "smtp://[2001:db8::1]:25"),
            ("smtp://a.test?tls=required",              "smtp://a.test:25?tls=required",    "smtp://a.test:25?tls=required"),
            ("smtps://a.test",                          "smtps://a.test:465",               "smtps://a.test:465"),
            ("smtps://a.test?tls=required",             "smtps://a.test:465",               "smtps://a.test:465"),
            ("smtp://ilbud:s%40k%3Ar%2Ft@a.test",       "smtp://ilbud@a.test:25",           "smtp://ilbud:s%40k%3Ar/t@a.test:25"),
            ("smtp://il%C3%A5:x@a.test",                "smtp://il%C3%A5@a.test:25",        "smtp://il%C3%A5:x@a.test:25"),
            ("smtp://u:p@a.test?tls=required",          "smtp://u@a.test:25",               "smtp://u:p@a.test:25"),
            ("smtp://u:p@a.test?tls=opportunistic",     "smtp://u@a.test:25?tls=opportunistic", "smtp://u:p@a.test:25?tls=opportunistic"),
            ("lmtp://u:p@a.test?tls=opportunistic",     "lmtp://u@a.test:24?tls=opportunistic", "lmtp://u:p@a.test:24?tls=opportunistic"),
            ("lmtp://u:p@a.test",                       "lmtp://u@a.test:24",               "lmtp://u:p@a.test:24"),
            ("smtps://u:p@a.test",                      "smtps://u@a.test:465",             "smtps://u:p@a.test:465"),
            ("smtp://u:p@a.test?ca=b.pem",              "smtp://u@a.test:25?ca=b.pem",      "smtp://u:p@a.test:25?ca=b.pem"),
            ("smtp://a.test?client_certificate=certs/a%26b.pem&tls=required",
                "smtp://a.test:25?tls=required&client_certificate=certs/a%26b.pem",
                "smtp://a.test:25?tls=required&client_certificate=certs/a%26b.pem"),
            ("smtp://a.test?tls=off",                   "smtp://a.test:25?tls=off",         "smtp://a.test:25?tls=off"),
            ("smtp://a.test?tls=opportunistic",         "smtp://a.test:25",                 "smtp://a.test:25"),
            ("smtp://a.test?ca=certs/b.pem",
                "smtp://a.test:25?tls=required&ca=certs/b.pem",
                "smtp://a.test:25?tls=required&ca=certs/b.pem"),
            ("smtps://u:p@a.test?client_key=k%20y.pem&client_certificate=c.pem&ca=b.pem",
                "smtps://u@a.test:465?ca=b.pem&client_certificate=c.pem&client_key=k%20y.pem",
                "smtps://u:p@a.test:465?ca=b.pem&client_certificate=c.pem&client_key=k%20y.pem"),
            ("lmtp://[::1]?tls=required",               "lmtp://[::1]:24?tls=required",     "lmtp://[::1]:24?tls=required"),
            ("lmtp://[::1]?tls=off",                    "lmtp://[::1]:24?tls=off",          "lmtp://[::1]:24?tls=off"),
            ("mx:A.test:25",                            "mx:a.test",                        "mx:a.test"),
            ("mx:A.test:2525?tls=off",                  "mx:a.test:2525?tls=off",           "mx:a.test:2525?tls=off"),
            ("mx:ålesund.test?ca=b.pem",
                "mx:xn--lesund-hua.test?tls=required&ca=b.pem",
                "mx:xn--lesund-hua.test?tls=required&ca=b.pem"),
            ("lmtp://127.0.0.1",                        "lmtp://127.0.0.1:24",              "lmtp://127.0.0.1:24"),
            ("lmtp:/run/lmtp.sock",                     "lmtp:/run/lmtp.sock",              "lmtp:/run/lmtp.sock"),
            ("mx:A.test",                               "mx:a.test",                        "mx:a.test"),
            ("maildir:data/mail/amk-oslo",              "maildir:data/mail/amk-oslo",       "maildir:data/mail/amk-oslo"),
            ("maildir:/srv/post i hus",                 "maildir:/srv/post i hus",          "maildir:/srv/post i hus"),
        ];
        for (written, shown, exported) in cases {
            let hop = NextHop::parse(written).unwrap_or_else(|why| panic!("{written}: {why}"));
            assert_eq!(hop.to_string(), shown);
            assert_eq!(hop.url(), exported);
            assert_eq!(NextHop::parse(&hop.url()), Ok(hop));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        #[rustfmt::skip]
        let cases = [
            ("10.1.0.5",                    "\"10.1.0.5\" is no next hop; write for example \"smtp://10.1.0.5:25\""),
            ("smpt://10.1.0.5",             "unknown scheme \"smpt\"; did you mean \"smtp\"?"),
            ("http://10.1.0.5",             "unknown scheme \"http\"; it is one of smtp, smtps, lmtp, mx, maildir"),
            ("SMTP://10.1.0.5",             "unknown scheme \"SMTP\"; did you mean \"smtp\"?"),
            ("smtp:10.1.0.5",               "write // between the scheme and the host"),
            ("smtp://",                     "the host is missing"),
            ("smtp://:25",                  "the host is missing"),
            ("smtp://a.test:0",             "\"0\" is no port; it is a number from 1 to 65535"),
            ("smtp://a.test:+25",           "\"+25\" is no port; it is a number from 1 to 65535"),
            ("smtp://a.test:65536",         "\"65536\" is no port; it is a number from 1 to 65535"),
            ("smtp://a.test:25/x",          "\"25/x\" is no port; it is a number from 1 to 65535"),
            ("smtp://::1",                  "the host is missing"),
            ("smtp://[::1",                 "the bracket [ is not closed"),
            ("smtp://[10.1.0.5]",           "\"10.1.0.5\" is no IPv6 address"),
            ("smtp://[::1]25",              "\"25\" after the host is not understood"),
            ("smtp://a test",               "\"a test\" is no host name"),
            ("smtp://a.test?tls=maybe",     "unknown tls \"maybe\"; it is one of off, opportunistic, required"),
            ("smtp://a.test?tls=require",   "unknown tls \"require\"; did you mean \"required\"?"),
            ("smtp://a.test?tls",           "unknown tls \"\"; it is one of off, opportunistic, required"),
            ("smtp://a.test?tls=off&tls=required", "tls is said twice"),
            ("smtp://a.test?tls=off&ca=b.pem", "a password, ca, pin and client_certificate need TLS, which tls=off rules out"),
            ("smtp://a.test?tls=off&client_certificate=b.pem", "a password, ca, pin and client_certificate need TLS, which tls=off rules out"),
            ("smtp://u:p@a.test?tls=off",   "a password, ca, pin and client_certificate need TLS, which tls=off rules out"),
            ("smtp://a.test?client_key=b.key", "client_key is of no use without client_certificate"),
            ("smtp://a.test?ca=",           "ca: the path is missing"),
            ("smtp://a.test?pin=sha256:12", "pin is sha256: and the 64 hexadecimal digits of a certificate's SHA-256"),
            ("smtp://a.test?pin=12",        "pin is sha256: and the 64 hexadecimal digits of a certificate's SHA-256"),
            ("smtps://a.test?tls=off",      "smtps is TLS from the first byte; for tls=off write smtp://"),
            ("smtps://a.test?tls=opportunistic", "smtps is TLS from the first byte; for tls=opportunistic write smtp://"),
            ("smtp://a.test?tsl=required",  "unknown option \"tsl\"; did you mean \"tls\"?"),
            ("smtp://user@a.test",          "a user needs a password: user:password@host"),
            ("smtp://:x@a.test",            "neither user nor password may be empty"),
            ("smtp://u:%4@a.test",          "\"…\": after % come two hexadecimal digits"),
            ("smtp://u:%00@a.test",         "\"…\" is not plain text"),
            ("mx:u:p@a.b",                  "\"…\" is no port; it is a number from 1 to 65535"),
            ("hemmelig@a.b",                "\"…\" is no next hop; write for example \"smtp://10.1.0.5:25\""),
            ("smtp://u:hem?melig@a.b",      "\"…\" is no port; it is a number from 1 to 65535"),
            ("smtp://u:hem\"?melig@a.b",    "user, password or host is not understood; odd characters are written as %XX"),
            ("smpt://u:p@a.b",              "unknown scheme \"smpt\"; did you mean \"smtp\"?"),
            ("smtp://u:p@a.b:x",            "\"…\" is no port; it is a number from 1 to 65535"),
            ("lmtp:run/lmtp.sock",          "write lmtp://host:port, or lmtp: and a path that starts with /"),
            ("maildir:",                    "the path is missing"),
            ("mx:",                         "\"\" is no host name"),
            ("mx:a.test:x",                 "\"…\" is no port; it is a number from 1 to 65535"),
            ("mx:10.1.0.5",                 "\"10.1.0.5\" is no domain; write smtp://10.1.0.5"),
            ("mx:a.test?tsl=off",           "unknown option \"tsl\"; did you mean \"tls\"?"),
        ];
        for (written, why) in cases {
            assert_eq!(NextHop::parse(written), Err(why.to_owned()), "{written}");
        }
    }

    #[test]
    fn a_pin_is_64_digits_however_they_are_set() {
        let digits = "0123456789abcdef".repeat(4);
        let colons = digits.to_ascii_uppercase();
        let colons: Vec<&str> = (0..32)
            .filter_map(|at| colons.get(at * 2..at * 2 + 2))
            .collect();
        for written in [
            digits.clone(),
            digits.to_ascii_uppercase(),
            colons.join(":"),
        ] {
            let hop = NextHop::parse(&format!("smtp://a.test?pin=sha256:{written}")).unwrap();
            let server = hop.server().unwrap();
            assert_eq!(
                server.pin.unwrap().first_chunk(),
                Some(&[0x01, 0x23, 0x45, 0x67])
            );
            assert_eq!(server.tls, HopTls::Required);
            assert_eq!(
                hop.url(),
                format!("smtp://a.test:25?tls=required&pin=sha256:{digits}")
            );
            assert_eq!(NextHop::parse(&hop.url()).as_ref(), Ok(&hop));
        }
        for wrong in [
            &digits[1..],
            &format!("{digits}0"),
            &format!("{digits}00"),
            &digits.replace('f', "g"),
        ] {
            assert!(NextHop::parse(&format!("smtp://a.test?pin=sha256:{wrong}")).is_err());
        }
    }

    /// Each hop that the shipped table shows in its comments can be typed as it stands.
    #[test]
    fn takes_what_is_shown_to_administrators() {
        let shipped = include_str!("../../config/routes.toml");
        let shown = shipped.lines().filter_map(|line| line.strip_prefix("#   "));
        let hops: Vec<&str> = shown
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(hops.len() > 5, "{hops:?}");
        for hop in hops {
            assert!(NextHop::parse(hop).is_ok(), "{:?}", NextHop::parse(hop));
        }
    }

    #[test]
    fn never_shows_a_password() {
        let hop = NextHop::parse("smtp://ilbud:hemmelig@a.test").unwrap();
        assert!(!format!("{hop} {hop:?}").contains("hemmelig"));
        for (hop, expected) in [
            ("smtp://ilbud:x@a.test", false),
            ("lmtp://ilbud:x@a.test", false),
            ("smtps://ilbud:x@a.test", false),
            ("smtp://ilbud:x@a.test?tls=opportunistic", true),
            ("smtp://ilbud:x@a.test?tls=opportunistic&ca=b.pem", false),
        ] {
            let exposes = NextHop::parse(hop).unwrap().exposes_password();
            assert_eq!(exposes, expected, "{hop}");
        }
    }
}
