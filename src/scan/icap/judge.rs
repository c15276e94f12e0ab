//! A service's answer → what it says of the object.
//!
//! Pure. Clean is what the service lets through as it is: 204, or 200 with the very octets that it was
//! given. Infected is what it names, or replaces by a page of its own or a redirect. All else is
//! unscannable, and so is what a service says that it could not open. Nothing here fails.
//!
//! The header fields that name what was found were read of: Kaspersky, ESET, Trend Micro, Bitdefender,
//! c-icap (`X-Infection-Found`, `X-Virus-ID`, `X-Violations-Found`), Sophos (`X-Virus-ID`, `X-Blocked`
//! in the page's head), F-Secure (`X-FSecure-…`), McAfee Web Gateway (`X-Virus-ID`,
//! `X-Virus-Name`, `X-Block-Reason`, once its rules set them), OPSWAT (`X-Blocked-Reason`).

use bytes::Bytes;

use super::answer::{Fields, Head};
use crate::mail::{Malware, Unscannable, Verdict, Why};

/// What is said of malware without a name.
pub const NAMELESS: &str = "blocked by the ICAP service";

/// Fields that name what was found, the best first.
const NAMES: [&str; 10] = [
    "x-infection-found",
    "x-virus-id",
    "x-virus-name",
    "x-fsecure-infection-name",
    "x-threat-name",
    "x-violations-found",
    "x-block-reason",
    "x-blocked-reason",
    "x-blocked",
    "x-block-result",
];

/// Fields that say what was done, and words in them that say it was stopped.
const DEEDS: [&str; 2] = ["x-response-info", "x-fsecure-scan-result"];
const STOPPED: [&str; 5] = ["blocked", "infected", "suspicious", "denied", "replaced"];

/// What stands in such a field where nothing was found.
const NOTHING: [&str; 10] = [
    "",
    "-",
    "0",
    "none",
    "no",
    "false",
    "clean",
    "no threats",
    "no virus",
    "not found",
];

/// How long a name may be.
const NAME: usize = 160;
/// How many are told.
const MOST_NAMES: usize = 16;

/// One object, and what was said of it so far.
#[derive(Debug)]
pub struct Judge<'a> {
    sent: Bytes,
    content_type: &'static str,
    /// More fields that name what was found, in lower case.
    more_names: &'a [String],
    is_c_icap: bool,
    /// How much of the object has come back, octet for octet; None: nothing can.
    returned: Option<usize>,
    is_ours: bool,
}

impl<'a> Judge<'a> {
    pub const fn new(
        sent: Bytes,
        content_type: &'static str,
        more_names: &'a [String],
        is_c_icap: bool,
    ) -> Self {
        Self {
            sent,
            content_type,
            more_names,
            is_c_icap,
            returned: None,
            is_ours: false,
        }
    }

    /// `Some`: that is the end of it, whatever follows.
    pub fn icap(&mut self, head: &Head) -> Option<Verdict> {
        if let Some(found) = self.found(&head.fields) {
            return Some(found);
        }
        match head.status {
            Some(200 | 201 | 204) => None,
            // A page in its place; without one it is us that may not ask.
            Some(403) if is_filled(&head.fields) => None,
            _ => Some(Verdict::Unscannable(refusal(head))),
        }
    }

    pub fn http(&mut self, head: &Head) -> Option<Verdict> {
        if let Some(found) = self.found(&head.fields) {
            return Some(found);
        }
        let kind = head.fields.value("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        self.is_ours = kind.eq_ignore_ascii_case(self.content_type);
        match head.status {
            // The head of a request may come before the answer to it.
            None | Some(200) => self.returned = Some(0),
            Some(401 | 404 | 405 | 407 | 500..=599) => {
                let what = format!("the page in its place says {}", words(head));
                return Some(broken(what));
            }
            Some(408) => return Some(gap(Why::Timeout, words(head))),
            Some(413) => return Some(gap(Why::TooLarge, words(head))),
            Some(400) => return Some(broken(words(head))),
            Some(_) => return Some(nameless()),
        }
        None
    }

    pub fn body(&mut self, octets: &[u8]) -> Option<Verdict> {
        let Some(at) = self.returned else {
            return Some(broken("it sent a body that belongs to nothing"));
        };
        let end = at.saturating_add(octets.len());
        if self.sent.get(at..end) == Some(octets) {
            self.returned = Some(end);
            return None;
        }
        Some(self.changed())
    }

    /// The answer, whose status is this, is complete.
    pub fn end(&self, status: u16) -> Verdict {
        match (status, self.returned) {
            (204, _) => Verdict::Clean,
            (200 | 201, Some(at)) if at == self.sent.len() => Verdict::Clean,
            // c-icap has begun to give it back, and stops: `partiallyblocked`.
            (200, Some(at)) if self.is_c_icap && at > 0 => nameless(),
            (200 | 201, Some(_)) => self.changed(),
            _ => broken(format!("{status} came without the message or a page")),
        }
    }

    /// It is not what was sent. A page in its place is of another type.
    fn changed(&self) -> Verdict {
        match self.is_ours {
            true => broken("it gave back other content, and no reason"),
            false => nameless(),
        }
    }

    /// What the fields say was found.
    fn found(&self, fields: &Fields) -> Option<Verdict> {
        let own = self.more_names.iter().map(String::as_str);
        let mut said: Vec<Find> = Vec::new();
        for name in own.chain(NAMES) {
            let values = fields.all(name);
            said = values.flat_map(|value| finds(name, value)).collect();
            if !said.is_empty() {
                break;
            }
        }
        said.truncate(MOST_NAMES);
        let was_stopped = DEEDS.iter().flat_map(|name| fields.all(name)).any(|value| {
            let value = value.trim().to_ascii_lowercase();
            STOPPED.iter().any(|it| value.starts_with(it))
        });
        let malware = said.iter().filter(|it| it.gap.is_none());
        let malware: Vec<Malware> = malware.map(|it| Malware::named(&it.name)).collect();
        match said.first() {
            _ if !malware.is_empty() => Some(Verdict::Infected(malware)),
            Some(Find {
                name,
                gap: Some(why),
            }) => Some(gap(*why, name.clone())),
            _ => was_stopped.then(nameless),
        }
    }
}

/// One thing that a field names.
struct Find {
    name: String,
    /// It is not malware, but why it could not be scanned.
    gap: Option<Why>,
}

fn finds(field: &str, value: &str) -> Vec<Find> {
    match field {
        "x-infection-found" => infection(value).into_iter().collect(),
        "x-violations-found" => violations(value),
        "x-block-result" => named(value)
            .map(|_| plain(NAMELESS.into()))
            .into_iter()
            .collect(),
        _ => named(value).map(plain).into_iter().collect(),
    }
}

/// `Type=0; Resolution=2; Threat=Eicar-Test-Signature;` Of type 2 is what could not be opened, or is too
/// large (draft-stecher-icap-subid-00 §3.6).
fn infection(value: &str) -> Option<Find> {
    let piece = |wanted: &str| {
        value.split(';').find_map(|it| {
            let (key, value) = it.split_once('=')?;
            key.trim().eq_ignore_ascii_case(wanted).then_some(value)
        })
    };
    let kind = piece("type").map_or("", str::trim);
    if piece("threat").is_none() && piece("type").is_none() {
        return named(value).map(plain);
    }
    let name = piece("threat").and_then(named);
    let name = name.unwrap_or_else(|| NAMELESS.to_owned());
    Some(match kind {
        "2" => Find {
            gap: Some(container(&name)),
            name,
        },
        "1" if container(&name) == Why::Encrypted => Find {
            gap: Some(Why::Encrypted),
            name,
        },
        _ => plain(name),
    })
}

/// `2`, and for each a file, a name, a number and what was done, a line each. The file is a `-` where
/// there is none.
fn violations(value: &str) -> Vec<Find> {
    let mut lines = value.lines().map(str::trim);
    let count = lines.next().unwrap_or_default();
    if NOTHING.contains(&count.to_ascii_lowercase().as_str()) {
        return Vec::new();
    }
    let lines: Vec<&str> = lines.collect();
    let names = lines.chunks(4).filter_map(|it| it.get(1));
    let mut found: Vec<Find> = Vec::new();
    for name in names.filter_map(|it| named(it)) {
        if found.len() < MOST_NAMES && found.iter().all(|it| it.name != name) {
            found.push(plain(name));
        }
    }
    if found.is_empty() {
        found.push(plain(NAMELESS.to_owned()));
    }
    found
}

/// A name, or why there is none: engines have names for what they could not look into.
fn plain(name: String) -> Find {
    let gap = match name.as_str() {
        it if it.starts_with("Heuristics.Encrypted") => Some(Why::Encrypted),
        it if it.starts_with("Heuristics.Limits.Exceeded") => Some(Why::Limit),
        "Encrypted Archive" | "Encrypted container violation" => Some(Why::Encrypted),
        "Container size violation" => Some(Why::TooLarge),
        _ => None,
    };
    Find { name, gap }
}

fn container(name: &str) -> Why {
    let name = name.to_ascii_lowercase();
    match name {
        it if it.contains("crypt") || it.contains("password") => Why::Encrypted,
        it if it.contains("size") || it.contains("large") => Why::TooLarge,
        _ => Why::Limit,
    }
}

/// A name as it is told: in one line, and not too long.
fn named(value: &str) -> Option<String> {
    let value = value.trim().trim_matches('"').trim();
    if NOTHING.contains(&value.to_ascii_lowercase().as_str()) {
        return None;
    }
    let clean = |it: char| if it.is_control() { ' ' } else { it };
    Some(value.chars().map(clean).take(NAME).collect())
}

/// Whether an answer has HTTP in it.
fn is_filled(fields: &Fields) -> bool {
    let encapsulated = fields.value("encapsulated").unwrap_or_default();
    encapsulated.contains("-hdr")
}

/// Why the service has no verdict, by its status (RFC 3507 §4.3.3).
fn refusal(head: &Head) -> Unscannable {
    let said = words(head);
    match head.status {
        // It has not looked at it.
        Some(401 | 403 | 404 | 405 | 407 | 501 | 503 | 505) => Unscannable::before(Why::Down, said),
        Some(408 | 504) => Unscannable::during(Why::Timeout, said),
        Some(413) => Unscannable::during(Why::TooLarge, said),
        _ => Unscannable::during(Why::Broken, said),
    }
}

/// `ICAP 404 Service not found`
fn words(head: &Head) -> String {
    let status = head.status.unwrap_or_default();
    let said = format!("{status} {}", head.reason);
    named(&said).unwrap_or_default()
}

fn nameless() -> Verdict {
    Verdict::Infected(vec![Malware::named(NAMELESS)])
}

fn gap(why: Why, detail: String) -> Verdict {
    Verdict::Unscannable(Unscannable::during(why, detail))
}

/// The answer makes no sense.
pub fn broken(detail: impl Into<String>) -> Verdict {
    Verdict::Unscannable(Unscannable::during(Why::Broken, detail))
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Answer, Step};
    use super::*;
    use bytes::BytesMut;

    const MESSAGE: &str = "Subject: x\r\n\r\nhello\r\n";

    fn verdict(text: &str, is_c_icap: bool) -> String {
        let more = ["x-our-virus".to_owned()];
        let mut judge = Judge::new(MESSAGE.into(), "message/rfc822", &more, is_c_icap);
        let (mut answer, mut buffer) = (Answer::default(), BytesMut::from(text));
        let mut status = 0;
        loop {
            let verdict = match answer.read(&mut buffer) {
                Ok(Step::Icap(head)) => {
                    status = head.status.unwrap_or_default();
                    judge.icap(&head)
                }
                Ok(Step::Http(head)) => judge.http(&head),
                Ok(Step::Body(octets)) => judge.body(&octets),
                Ok(Step::End) => Some(judge.end(status)),
                Ok(Step::More) => return "more".into(),
                Err(garbage) => return garbage.0.into(),
            };
            if let Some(verdict) = verdict {
                return verdict.to_string();
            }
        }
    }

    fn icap(lines: &str) -> String {
        verdict(&format!("ICAP/1.0 {lines}\r\n\r\n"), false)
    }

    fn page(http: &str, body: &str) -> String {
        let chunk = match body {
            "" => String::new(),
            body => format!("{:x}\r\n{body}\r\n", body.len()),
        };
        format!(
            "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=1\r\n\r\n{http}\r\n\r\n{chunk}0\r\n\r\n"
        )
    }

    #[test]
    fn what_is_named_is_infected() {
        #[rustfmt::skip]
        let cases = [
            // c-icap, Bitdefender, Trend Micro
            ("200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test-Signature;", "infected: Eicar-Test-Signature"),
            ("200 OK\r\nX-Infection-Found: Type=0; Resolution=0; Threat=EICAR Test String;\r\nX-Virus-ID: other", "infected: EICAR Test String"),
            ("200 OK\r\nX-Infection-Found: Eicar", "infected: Eicar"),
            ("200 OK\r\nX-Infection-Found: Type=0; Resolution=2;", "infected: blocked by the ICAP service"),
            ("201 Created\r\nX-Virus-ID: W32.Nimda.A@mm", "infected: W32.Nimda.A@mm"),
            // Sophos, McAfee, F-Secure, OPSWAT
            ("200 OK\r\nX-Virus-ID: Troj/DocDl-OYC", "infected: Troj/DocDl-OYC"),
            ("200 OK\r\nX-Virus-Name: EICAR test file\r\nX-Block-Reason: Malware found", "infected: EICAR test file"),
            ("200 OK\r\nX-Block-Reason: Malware found", "infected: Malware found"),
            ("200 OK\r\nX-Block-Result: 80", "infected: blocked by the ICAP service"),
            ("200 OK\r\nX-FSecure-Scan-Result: infected\r\nX-FSecure-Infection-Name: \"Malware.W97M/Agent\"", "infected: Malware.W97M/Agent"),
            ("200 OK\r\nX-FSecure-Scan-Result: suspicious", "infected: blocked by the ICAP service"),
            ("200 OK\r\nX-Violations-Found: 2\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n\ta.zip\r\n\tOther\r\n\t0\r\n\t0", "infected: Eicar, Other"),
            ("200 OK\r\nX-Violations-Found: 1", "infected: blocked by the ICAP service"),
            ("200 OK\r\nX-Our-Virus: Ours\r\nX-Virus-ID: Theirs", "infected: Ours"),
            // Whatever the status.
            ("204 No Content\r\nX-Virus-ID: Eicar", "infected: Eicar"),
            ("403 Forbidden\r\nX-Virus-ID: Eicar", "infected: Eicar"),
            ("500 Oops\r\nX-Virus-ID: Eicar", "infected: Eicar"),
            // Kaspersky
            ("200 OK\r\nX-Virus-ID: no threats\r\nX-Response-Info: blocked", "infected: blocked by the ICAP service"),
            ("204 No Content\r\nX-Virus-ID: no threats\r\nX-Response-Info: passed", "clean"),
            ("204 No Content\r\nX-Violations-Found: 0\r\nX-Infection-Found: \r\nX-Response-Info: Allowed", "clean"),
            ("204 No Content\r\nX-FSecure-Scan-Result: clean", "clean"),
        ];
        for (lines, said) in cases {
            assert_eq!(icap(lines), said, "{lines}");
        }
        let long = format!("204 OK\r\nX-Virus-ID: {}", "x".repeat(5000));
        assert_eq!(icap(&long), format!("infected: {}", "x".repeat(NAME)));
    }

    #[test]
    fn what_could_not_be_opened_is_unscannable() {
        #[rustfmt::skip]
        let cases = [
            ("200 OK\r\nX-Infection-Found: Type=2; Resolution=2; Threat=Container size violation", "unscannable: too large: Container size violation"),
            ("200 OK\r\nX-Infection-Found: Type=2; Resolution=2; Threat=Encrypted container violation;", "unscannable: encrypted: Encrypted container violation"),
            ("200 OK\r\nX-Infection-Found: Type=1; Resolution=2; Threat=Encrypted Archive;", "unscannable: encrypted: Encrypted Archive"),
            ("200 OK\r\nX-Infection-Found: Type=1; Resolution=2; Threat=Banned word;", "infected: Banned word"),
            ("200 OK\r\nX-Infection-Found: Type=2; Resolution=0; Threat=Archive depth;", "unscannable: limit: Archive depth"),
            ("200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Heuristics.Encrypted.Zip;", "unscannable: encrypted: Heuristics.Encrypted.Zip"),
            ("200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Heuristics.Limits.Exceeded.MaxFileSize;", "unscannable: limit: Heuristics.Limits.Exceeded.MaxFileSize"),
        ];
        for (lines, said) in cases {
            assert_eq!(icap(lines), said, "{lines}");
        }
    }

    #[test]
    fn a_status_alone_is_never_clean_but_204() {
        #[rustfmt::skip]
        let cases = [
            ("204 No Content", "clean"),
            ("200 OK", "unscannable: broken: 200 came without the message or a page"),
            ("200 OK\r\nEncapsulated: null-body=0", "unscannable: broken: 200 came without the message or a page"),
            ("206 Partial Content", "unscannable: broken: 206 Partial Content"),
            ("302 Found", "unscannable: broken: 302 Found"),
            ("400 Bad request", "unscannable: broken: 400 Bad request"),
            ("403 Forbidden", "unscannable: down: 403 Forbidden"),
            ("404 ICAP Service not found", "unscannable: down: 404 ICAP Service not found"),
            ("405 Method not allowed", "unscannable: down: 405 Method not allowed"),
            ("408 Request timeout", "unscannable: timeout: 408 Request timeout"),
            ("413 Too large", "unscannable: too large: 413 Too large"),
            ("500 Server error", "unscannable: broken: 500 Server error"),
            ("503 Service overloaded", "unscannable: down: 503 Service overloaded"),
        ];
        for (lines, said) in cases {
            assert_eq!(icap(lines), said, "{lines}");
        }
    }

    #[test]
    fn what_is_given_back_is_compared() {
        let ours = "HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nVia: x";
        let theirs = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8";
        let beginning = &MESSAGE[..5];
        let more = format!("{MESSAGE}x");
        let other = "unscannable: broken: it gave back other content, and no reason";
        let blocked = "infected: blocked by the ICAP service";
        #[rustfmt::skip]
        let cases = [
            (page(ours, MESSAGE), "clean"),
            (page("HTTP/1.1 200 OK", MESSAGE), "clean"),
            (page("POST / HTTP/1.1", MESSAGE), "clean"),
            (page(ours, &more), other),
            (page(ours, beginning), other),
            (page(ours, ""), other),
            (page(ours, "Subject: y\r\n\r\nhello\r\n"), other),
            (page(theirs, "<h1>Virus</h1>"), blocked),
            (page(theirs, ""), blocked),
            (page("HTTP/1.1 403 Forbidden", ""), blocked),
            (page("HTTP/1.0 403 VirusFound\r\nX-Blocked: Virus found during virus scan", ""), "infected: Virus found during virus scan"),
            (page("HTTP/1.0 307 Temporary Redirect\r\nX-Virus-ID: {HEX}EICAR", ""), "infected: {HEX}EICAR"),
            (page("HTTP/1.0 307 Temporary Redirect", ""), blocked),
            (page("HTTP/1.1 403 Forbidden", MESSAGE), blocked),
            (page("HTTP/1.1 500 Internal Server Error", "-69"), "unscannable: broken: the page in its place says 500 Internal Server Error"),
            (page("HTTP/1.1 413 Too large", ""), "unscannable: too large: 413 Too large"),
            (page("HTTP/1.1 400 Bad Request", ""), "unscannable: broken: 400 Bad Request"),
            (page("HTTP/1.1 404 Not Found", ""), "unscannable: broken: the page in its place says 404 Not Found"),
        ];
        for (text, said) in cases {
            assert_eq!(verdict(&text, false), said, "{text}");
        }
        assert_eq!(verdict(&page(ours, beginning), true), blocked);
        assert_eq!(verdict(&page(ours, MESSAGE), true), "clean");
    }
}
