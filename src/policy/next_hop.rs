//! Where a room's mail is handed over, written as a URL.
//!
//! Parsing is strict: what is not understood is a fault, never ignored. A hop prints in one
//! canonical way, `Display` without the password, [`NextHop::url`] with it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::mail::Domain;
use crate::nearest::nearest;

/// RFC 5321 §4.5.4.2, RFC 8314 §7.3, and LMTP's usual one (RFC 2033 names none).
const SMTP_PORT: u16 = 25;
const SMTPS_PORT: u16 = 465;
const LMTP_PORT: u16 = 24;

const SCHEMES: [&str; 5] = ["smtp", "smtps", "lmtp", "mx", "maildir"];
const OPTIONS: [&str; 2] = ["tls", "client_certificate"];

/// Where a room's mail is handed over. Prints as it was written, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    Smtp(HopServer),
    /// TLS from the first byte.
    Smtps(HopServer),
    Lmtp(HopServer),
    LmtpSocket(PathBuf),
    /// The servers that a domain names; `host` is the domain.
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
    pub client_certificate: Option<PathBuf>,
    /// PEM: who vouches for this hop, in the place of those that vouch for all.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the certificate it must show, whoever vouches for it.
    pub pin: Option<[u8; 32]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HopTls {
    /// Plain text, whatever the server offers.
    Off,
    /// STARTTLS when offered; the certificate is not checked, since plain text would do.
    Opportunistic,
    /// STARTTLS with a certificate that verifies, or no delivery. TLS from the first byte is always
    /// this.
    Required,
}

impl NextHop {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            format!("{text:?} is no next hop; write for example \"smtp://10.1.0.5:25\"")
        })?;
        match scheme {
            "maildir" => path(rest).map(Self::Maildir),
            "mx" => domain(rest).map(Self::exchangers),
            "lmtp" if !rest.starts_with("//") => absolute(rest).map(Self::LmtpSocket),
            "lmtp" => server(rest, LMTP_PORT, HopTls::Opportunistic).map(Self::Lmtp),
            "smtp" => server(rest, SMTP_PORT, HopTls::Opportunistic).map(Self::Smtp),
            "smtps" => server(rest, SMTPS_PORT, HopTls::Required).map(Self::Smtps),
            _ => Err(unknown("scheme", scheme, &SCHEMES)),
        }
    }

    fn exchangers(domain: String) -> Self {
        Self::Mx(HopServer {
            host: domain,
            port: SMTP_PORT,
            tls: HopTls::Opportunistic,
            credentials: None,
            client_certificate: None,
            ca: None,
            pin: None,
        })
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

    /// Whether a password may go over the wire without TLS.
    pub fn exposes_password(&self) -> bool {
        self.server()
            .is_some_and(|it| it.credentials.is_some() && it.tls == HopTls::Opportunistic)
    }

    fn written(&self, credentials: impl Fn(&str, &str) -> String) -> String {
        match self {
            Self::Smtp(server) => server.written("smtp", HopTls::Opportunistic, credentials),
            Self::Smtps(server) => server.written("smtps", HopTls::Required, credentials),
            Self::Lmtp(server) => server.written("lmtp", HopTls::Opportunistic, credentials),
            Self::LmtpSocket(path) => format!("lmtp:{}", path.display()),
            Self::Mx(server) => format!("mx:{}", server.host),
            Self::Maildir(path) => format!("maildir:{}", path.display()),
        }
    }
}

impl HopServer {
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
        let mut options = Vec::new();
        if self.tls != usual {
            options.push("tls=required".to_owned());
        }
        if let Some(path) = &self.client_certificate {
            let path = encoded(&path.to_string_lossy());
            options.push(format!("client_certificate={path}"));
        }
        let query = if options.is_empty() { "" } else { "?" };
        let options = options.join("&");
        format!("{scheme}://{who}{host}:{}{query}{options}", self.port)
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
            .finish()
    }
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
    let server = HopServer {
        host,
        port,
        tls,
        credentials,
        client_certificate: None,
        ca: None,
        pin: None,
    };
    query
        .split('&')
        .filter(|option| !option.is_empty())
        .try_fold(server, with_option)
}

fn with_option(mut server: HopServer, option: &str) -> Result<HopServer, String> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    match key {
        "tls" if value == "required" => server.tls = HopTls::Required,
        "tls" => {
            return Err(format!(
                "tls={value} is not known; it is tls=required, or left out"
            ));
        }
        "client_certificate" => server.client_certificate = Some(path(&decoded(value)?)?),
        _ => return Err(unknown("option", key, &OPTIONS)),
    }
    Ok(server)
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

fn port_number(text: &str) -> Result<u16, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain && number > 0 => Ok(number),
        _ => Err(format!(
            "{text:?} is no port; it is a number from 1 to 65535"
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
            ("smtp://a.test?client_certificate=certs/a%26b.pem&tls=required",
                "smtp://a.test:25?tls=required&client_certificate=certs/a%26b.pem",
                "smtp://a.test:25?tls=required&client_certificate=certs/a%26b.pem"),
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
            ("smtp://a.test?tls=maybe",     "tls=maybe is not known; it is tls=required, or left out"),
            ("smtp://a.test?tsl=required",  "unknown option \"tsl\"; did you mean \"tls\"?"),
            ("smtp://user@a.test",          "a user needs a password: user:password@host"),
            ("smtp://:x@a.test",            "neither user nor password may be empty"),
            ("smtp://u:%4@a.test",          "\"%4\": after % come two hexadecimal digits"),
            ("smtp://u:%00@a.test",         "\"%00\" is not plain text"),
            ("lmtp:run/lmtp.sock",          "write lmtp://host:port, or lmtp: and a path that starts with /"),
            ("maildir:",                    "the path is missing"),
            ("mx:",                         "\"\" is no host name"),
        ];
        for (written, why) in cases {
            assert_eq!(NextHop::parse(written), Err(why.to_owned()), "{written}");
        }
    }

    #[test]
    fn never_shows_a_password() {
        let hop = NextHop::parse("smtp://ilbud:hemmelig@a.test").unwrap();
        assert!(!format!("{hop} {hop:?}").contains("hemmelig"));
        assert!(hop.exposes_password());
        assert!(
            !NextHop::parse("smtps://ilbud:x@a.test")
                .unwrap()
                .exposes_password()
        );
    }
}
