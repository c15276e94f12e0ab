//! What a service says that it does (RFC 3507 §4.10.2), and who it says it is.
//!
//! Pure. Decides how it is asked: the method, how much it is shown first, how many connections it gets.
//! A service that says nothing, or nonsense, is asked in the plainest way, and scans all the same.
//!
//! Of signatures: `X-Definition-Info` (Symantec: `20261120.003`; F-Secure: `2026-11-20_01`) names
//! them and their day, as does F-Secure's ISTag. The ISTag of others is all that names what they have
//! loaded; it has no time in it (c-icap's is a digest).

use std::time::Duration;

use super::answer::{Fields, Head};
use super::request::Method;
use crate::mail::{Identity, Timestamp};

/// How long it holds, where it does not say so, and at most.
const HOLDS: Duration = Duration::from_secs(300);
const HOLDS_AT_MOST: Duration = Duration::from_secs(3600);
/// No more is shown first, whatever it asks for.
const PREVIEW: usize = 64 * 1024;
/// As `virus_scan` wants it.
const C_ICAP_PREVIEW: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    pub method: Method,
    /// How much it wants to see first.
    preview: Option<usize>,
    whole: Endings,
    ignored: Endings,
    pub most_connections: Option<usize>,
    pub hold: Duration,
    /// What it answers is read with what is known of c-icap's `virus_scan`.
    pub is_c_icap: bool,
}

impl Abilities {
    /// Of a service that has not said anything.
    pub fn plain(method: Option<Method>) -> Self {
        Self {
            method: method.unwrap_or(Method::Respmod),
            preview: None,
            whole: Endings::default(),
            ignored: Endings::default(),
            most_connections: None,
            hold: HOLDS,
            is_c_icap: false,
        }
    }

    /// `None`: it does not say anything that helps.
    pub fn read(head: &Head, method: Option<Method>) -> Option<Self> {
        if head.status != Some(200) {
            return None;
        }
        let fields = &head.fields;
        let number = |name| fields.value(name).and_then(|it| it.parse::<u64>().ok());
        let hold = number("options-ttl").map_or(HOLDS, Duration::from_secs);
        let preview = number("preview").map(|it| usize::try_from(it).unwrap_or(PREVIEW));
        let connections = number("max-connections").filter(|it| *it > 0);
        let said = Self {
            method: method.unwrap_or_else(|| offered(fields)),
            preview: preview.map(|it| it.min(PREVIEW)),
            whole: Endings::read(fields, "transfer-complete"),
            ignored: Endings::read(fields, "transfer-ignore"),
            most_connections: connections.map(|it| usize::try_from(it).unwrap_or(usize::MAX)),
            hold: hold.clamp(Duration::from_secs(1), HOLDS_AT_MOST),
            is_c_icap: false,
        };
        Some(match is_c_icap(fields) {
            true => said.of_c_icap(),
            false => said,
        })
    }

    /// The same of what turns out to be c-icap.
    #[must_use]
    pub fn of_c_icap(&self) -> Self {
        Self {
            preview: self.preview.filter(|it| *it > 0).or(Some(C_ICAP_PREVIEW)),
            is_c_icap: true,
            ..self.clone()
        }
    }

    /// How much of what is called so is shown first; None: all of it at once.
    pub fn preview(&self, name: &str, length: usize) -> Option<usize> {
        match self.is_c_icap {
            // Never all of it: only who then asks for more says that it looks at it at all.
            true => self.preview.map(|it| it.min(length.saturating_sub(1))),
            false => self.preview.filter(|_| !self.whole.have(name)),
        }
    }

    /// Whether it does not want to see what is called so.
    pub fn ignores(&self, name: &str) -> bool {
        self.ignored.have(name)
    }
}

/// Whether c-icap says this.
pub fn is_c_icap(fields: &Fields) -> bool {
    let is_named = |name| {
        let mut values = fields.all(name);
        values.any(|it| it.to_ascii_lowercase().contains("c-icap"))
    };
    is_named("service") || is_named("server")
}

fn offered(fields: &Fields) -> Method {
    match fields.says("methods", "reqmod") && !fields.says("methods", "respmod") {
        true => Method::Reqmod,
        false => Method::Respmod,
    }
}

/// The endings of file names in a `Transfer-…` list, in lower case. That all others are meant (`*`)
/// says nothing about one of them, and is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Endings(Vec<String>);

impl Endings {
    fn read(fields: &Fields, name: &str) -> Self {
        let listed = fields.all(name).flat_map(|value| value.split(','));
        let listed = listed.map(|it| it.trim().trim_start_matches('.').to_ascii_lowercase());
        Self(listed.filter(|it| !it.is_empty() && it != "*").collect())
    }

    fn have(&self, name: &str) -> bool {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| self.0.iter().any(|it| it.eq_ignore_ascii_case(ending)))
    }
}

/// Who it says it is.
pub fn identity(fields: &Fields) -> Identity {
    let value = |name| fields.value(name).map(tidy).filter(|it| !it.is_empty());
    let tag = value("istag");
    let definitions = value("x-definition-info");
    let dated = definitions.as_deref().or_else(|| {
        let tag = tag.as_deref()?;
        tag.strip_prefix("FSAV-")
    });
    Identity {
        version: value("service").or_else(|| value("server")),
        signatures_at: dated.and_then(day),
        signatures: definitions.or(tag),
    }
}

/// Without quotes and control characters, and not too long.
fn tidy(value: &str) -> String {
    const LONGEST: usize = 120;
    let value = value.trim().trim_matches('"');
    value
        .chars()
        .filter(|it| !it.is_control())
        .take(LONGEST)
        .collect()
}

/// `20261120.003` and `2026-11-20_01` → the beginning of that day, UTC.
fn day(text: &str) -> Option<Timestamp> {
    let digits: String = match text.get(..10) {
        Some(date) if date.matches('-').count() == 2 => date.replace('-', ""),
        _ => text.get(..8)?.to_owned(),
    };
    if digits.len() != 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = digits.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    format!("{year}-{month}-{day}T00:00:00Z").parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::answer::{Answer, Step};
    use super::*;

    fn head(lines: &str) -> Head {
        let text = format!("ICAP/1.0 200 OK\r\n{lines}\r\n");
        match Answer::default().read(&mut text.as_bytes().into()) {
            Ok(Step::Icap(head)) => head,
            other => unreachable!("{other:?}"),
        }
    }

    fn read(lines: &str) -> Abilities {
        Abilities::read(&head(lines), None).unwrap()
    }

    #[test]
    fn a_service_is_asked_as_it_wants() {
        let it = read(
            "Methods: REQMOD, RESPMOD\r\nPreview: 1024\r\nMax-Connections: 8\r\nOptions-TTL: 60\r\n",
        );
        assert_eq!(it.method, Method::Respmod);
        assert_eq!(it.preview("message.eml", 100), Some(1024));
        assert_eq!(it.most_connections, Some(8));
        assert_eq!(it.hold, Duration::from_secs(60));
        assert!(!it.is_c_icap);

        let it =
            read("Methods: reqmod\r\nOptions-TTL: 0\r\nMax-Connections: 0\r\nPreview: lots\r\n");
        assert_eq!(it.method, Method::Reqmod);
        assert_eq!(it.preview("message.eml", 100), None);
        assert_eq!(it.most_connections, None);
        assert_eq!(it.hold, Duration::from_secs(1));

        let it = read("Preview: 99999999999999\r\nOptions-TTL: 999999999\r\n");
        assert_eq!(it.preview("message.eml", 100), Some(PREVIEW));
        assert_eq!(it.hold, HOLDS_AT_MOST);
        assert_eq!(read("").method, Method::Respmod);
    }

    #[test]
    fn lists_of_endings_are_heeded() {
        let it = read(
            "Preview: 10\r\nTransfer-Preview: *\r\nTransfer-Complete: eml, ZIP\r\nTransfer-Ignore: jpg\r\n",
        );
        assert_eq!(it.preview("message.eml", 100), None);
        assert_eq!(it.preview("a.zip", 100), None);
        assert_eq!(it.preview("a.pdf", 100), Some(10));
        assert!(it.ignores("x.JPG") && !it.ignores("jpg") && !it.ignores("x.pdf"));
        assert!(!read("Transfer-Ignore: *\r\n").ignores("x.pdf"));
    }

    #[test]
    fn c_icap_never_sees_all_of_it_first() {
        let it = read("Service: C-ICAP/0.5.10 server - Antivirus service\r\nPreview: 1024\r\n");
        assert!(it.is_c_icap);
        assert_eq!(it.preview("message.eml", 100), Some(99));
        assert_eq!(it.preview("message.eml", 9000), Some(1024));
        let it = read("Service: C-ICAP/0.5.10 server - x\r\nTransfer-Complete: eml\r\n");
        assert_eq!(it.preview("message.eml", 9000), Some(C_ICAP_PREVIEW));
    }

    #[test]
    fn engines_say_who_they_are() {
        #[rustfmt::skip]
        let cases = [
            ("Service: C-ICAP/0.5.10 server - Antivirus service\r\nISTag: \"CI0001-x\"\r\n",
                Some("C-ICAP/0.5.10 server - Antivirus service"), Some("CI0001-x"), None),
            ("Service: Symantec Protection Engine/9.2\r\nISTag: \"1A2B\"\r\nX-Definition-Info: 20261120.003\r\n",
                Some("Symantec Protection Engine/9.2"), Some("20261120.003"), Some("2026-11-20T00:00:00.000Z")),
            ("Server: F-Secure ICAP Server\r\nISTag: \"FSAV-2026-11-20_06\"\r\n",
                Some("F-Secure ICAP Server"), Some("FSAV-2026-11-20_06"), Some("2026-11-20T00:00:00.000Z")),
            ("X-Definition-Info: 20269999.003\r\n", None, Some("20269999.003"), None),
            ("Server: \u{7}\r\n", None, None, None),
        ];
        for (lines, version, signatures, at) in cases {
            let it = identity(&head(lines).fields);
            assert_eq!(it.version.as_deref(), version);
            assert_eq!(it.signatures.as_deref(), signatures);
            let expected = at.map(|it| it.parse::<Timestamp>().unwrap());
            assert_eq!(it.signatures_at, expected);
        }
    }
}
