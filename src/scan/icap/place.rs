//! Where an ICAP service is: `icap://host:port/service` (RFC 3507 §4.2).
//!
//! Pure. Decides what such a URL may look like. Fails in words that say what is wrong with it.

use std::fmt;
use std::str::FromStr;

/// For `icap://` (RFC 3507 §4.1).
const PORT: u16 = 1344;
/// For `icaps://`, as most services have it.
const TLS_PORT: u16 = 11_344;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `icaps`: TLS from the first octet.
    pub is_secure: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// With its query, without the slash before it.
    pub service: String,
}

impl Place {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "icaps" } else { "icap" };
        write!(f, "{scheme}://{}/{}", self.authority(), self.service)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be a URL such as \"icap://10.1.0.9:1344/avscan\"";
        if !text.bytes().all(|octet| octet.is_ascii_graphic()) || text.contains('#') {
            return Err(FORM);
        }
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "icap" => false,
            "icaps" => true,
            _ => return Err(FORM),
        };
        let (authority, service) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("must not have a user or a password in it");
        }
        let (host, port) = split(authority).ok_or(FORM)?;
        let usual = if is_secure { TLS_PORT } else { PORT };
        let port = match port {
            None => usual,
            Some(port) => port
                .parse()
                .ok()
                .filter(|it| *it > 0)
                .ok_or("must have a port from 1 to 65535")?,
        };
        Ok(Self {
            is_secure,
            host: host.to_owned(),
            port,
            service: service.to_owned(),
        })
    }
}

/// Host and port; the host is not empty.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, after) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            authority.split_at_checked(end)?
        }
    };
    let port = match after {
        "" => None,
        after => Some(after.strip_prefix(':')?),
    };
    (!host.is_empty() && !host.contains('?')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_services() {
        #[rustfmt::skip]
        let cases = [
            ("icap://10.1.0.9:1344/avscan", Some("icap://10.1.0.9:1344/avscan")),
            ("icap://av.example", Some("icap://av.example:1344/")),
            ("ICAP://av.example/", Some("icap://av.example:1344/")),
            ("icaps://av.example/av/respmod", Some("icaps://av.example:11344/av/respmod")),
            ("icap://[::1]/virus_scan?sizelimit=off", Some("icap://[::1]:1344/virus_scan?sizelimit=off")),
            ("icap://[::1]:99/x", Some("icap://[::1]:99/x")),
            ("http://10.1.0.9/avscan", None),
            ("10.1.0.9:1344", None),
            ("icap://", None),
            ("icap:///x", None),
            ("icap://:1344/x", None),
            ("icap://a:0/x", None),
            ("icap://a:65536/x", None),
            ("icap://a:x/x", None),
            ("icap://[::1/x", None),
            ("icap://[a]/x", None),
            ("icap://a?x", None),
            ("icap://u:p@a/x", None),
            ("icap://a/x y", None),
            ("icap://a/x\r\nHost: b", None),
            ("icap://a/x#y", None),
        ];
        for (text, url) in cases {
            let read = text.parse::<Place>().ok().map(|it| it.to_string());
            assert_eq!(read.as_deref(), url, "{text}");
        }
    }
}
