//! Whatever stands in a header, if room A may send it then no reader, however lax, sees room B named
//! in a field that says whom the message is from.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use ilbud::mail::headers;
use ilbud::mail::{self, Origin, RoomId};
use ilbud::policy::decide;
use ilbud::policy::table::RoutingTable;
use libfuzzer_sys::fuzz_target;
use mail_parser::{Addr, Address, HeaderValue, MessageParser};

const ROUTES: &str = r#"
    [[room]]
    id = "a"
    name = "A"
    domains = ["a.test", "å.test"]
    next_hops = ["maildir:a"]
    [[room]]
    id = "b"
    name = "B"
    domains = ["b.test", "ø.test"]
    next_hops = ["maildir:b"]
"#;
/// Domains of room B as they can be written.
const OTHERS: [&str; 3] = ["b.test", "ø.test", "xn--pda.test"];
const FIELDS: [&str; 4] = ["from", "sender", "resent-from", "resent-sender"];

/// Who sends it: a message, and no report.
static SENDER: LazyLock<mail::Address> =
    LazyLock::new(|| mail::Address::parse("vakt@a.test").expect("an address"));
static TABLE: LazyLock<RoutingTable> =
    LazyLock::new(|| RoutingTable::parse(ROUTES, 1).expect("a sound table").0);

fuzz_target!(|octets: &[u8]| {
    // Bare newlines are refused before anybody looks at the header.
    let mut message = Vec::new();
    for line in octets.split(|octet| *octet == b'\n') {
        message.extend(line.iter().filter(|octet| **octet != b'\r'));
        message.extend_from_slice(b"\r\n");
    }
    let claims = headers::read(&Bytes::from(message.clone())).claims;
    let may = |origin: &Origin| decide::author(origin, Some(&SENDER), &claims, &TABLE).is_ok();
    let by_room = may(&Origin::Room(RoomId::new("a")));
    if !by_room && !may(&Origin::Gateway("inn".to_owned())) {
        return;
    }
    let shown = String::from_utf8_lossy(&message).into_owned();
    for value in naive(&shown).into_iter().chain(parsed(&message)) {
        for text in readings(&value) {
            assert!(!names(&text, &OTHERS), "{value:?} as {text:?} in {shown:?}");
        }
    }
    if by_room {
        assert!(!decide_twice(&claims), "a gateway and a room at once");
    }
});

/// What is of room A is not of the outside as well.
fn decide_twice(claims: &[headers::Claim]) -> bool {
    decide::author(
        &Origin::Gateway("inn".to_owned()),
        Some(&SENDER),
        claims,
        &TABLE,
    )
    .is_ok()
}

/// The values of the fields, as a reader sees them that knows lines, folding and colons and nothing else.
fn naive(message: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let mut is_wanted = false;
    for line in message.split("\r\n") {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) && is_wanted {
            if let Some(value) = values.last_mut() {
                value.push_str(line);
            }
            continue;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        is_wanted = FIELDS.contains(&name.trim().to_lowercase().as_str());
        if is_wanted {
            values.push(value.to_owned());
        }
    }
    values
}

/// The same by a reader that many programs are made with.
fn parsed(message: &[u8]) -> Vec<String> {
    let Some(message) = MessageParser::new().parse(message) else {
        return Vec::new();
    };
    let mut values = Vec::new();
    for header in message.headers() {
        if !FIELDS.contains(&header.name().to_lowercase().as_str()) {
            continue;
        }
        if let HeaderValue::Address(address) = &header.value {
            let shown = |it: &Addr<'_>| {
                let part = |text: &Option<std::borrow::Cow<'_, str>>| {
                    text.as_deref().unwrap_or_default().to_owned()
                };
                [part(&it.name), part(&it.address)]
            };
            match address {
                Address::List(list) => values.extend(list.iter().flat_map(shown)),
                Address::Group(groups) => {
                    values.extend(
                        groups
                            .iter()
                            .filter_map(|it| it.name.as_deref().map(str::to_owned)),
                    );
                    values.extend(groups.iter().flat_map(|it| &it.addresses).flat_map(shown));
                }
            }
        }
    }
    values
}

/// What a value comes to when encoded words are decoded or not, and quotes, comments, escapes and
/// spaces left out or not.
fn readings(value: &str) -> Vec<String> {
    let decoded = decoded(value);
    let mut all = vec![value.to_owned(), decoded];
    for at in 0..all.len() {
        let text = all[at].clone();
        let unquoted: String = text.chars().filter(|c| !"\"\\".contains(*c)).collect();
        let compact: String = around_at(&unquoted);
        all.extend([unquoted, compact]);
    }
    all
}

/// Without the spaces on both sides of an `@`.
fn around_at(text: &str) -> String {
    let parts: Vec<&str> = text.split('@').map(str::trim).collect();
    parts.join("@")
}

/// Whether `text` shows a mailbox of one of these domains.
fn names(text: &str, domains: &[&str]) -> bool {
    let text = text.to_lowercase();
    let is_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
    let shows = |at: usize, found: &str| {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        // A longer domain is another one.
        let label = after.strip_prefix(['.', '。', '．', '｡']).unwrap_or(after);
        before.ends_with(|c| is_name(c) || "\"'+.".contains(c)) && !label.starts_with(is_name)
    };
    let mut wanted = domains.iter().map(|domain| format!("@{domain}"));
    wanted.any(|it| text.match_indices(&it).any(|(at, found)| shows(at, found)))
}

/// Every encoded word, wherever it stands, by hand.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, word)) = rest.split_once("=?") {
        out.push_str(before);
        let mut parts = word.splitn(4, '?');
        let (charset, encoding, body, end) =
            (parts.next(), parts.next(), parts.next(), parts.next());
        match (charset, encoding, body, end) {
            (Some(_), Some(encoding), Some(body), Some(end)) if end.starts_with('=') => {
                let octets = match encoding {
                    "q" | "Q" => quoted_printable(body),
                    "b" | "B" => base64(body),
                    _ => Vec::new(),
                };
                out.push_str(&String::from_utf8_lossy(&octets));
                rest = end[1..].trim_start_matches([' ', '\t']);
                if !rest.starts_with("=?") {
                    rest = &end[1..];
                }
            }
            _ => {
                out.push_str("=?");
                rest = word;
            }
        }
    }
    out + rest
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let octets = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        let hex = octets
            .get(at + 1..at + 3)
            .and_then(|it| std::str::from_utf8(it).ok());
        match (octet, hex.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'=', Some(value)) => {
                out.push(value);
                at += 3;
            }
            (b'_', _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(octet);
                at += 1;
            }
        }
    }
    out
}

fn base64(text: &str) -> Vec<u8> {
    let value = |octet: u8| match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for six in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
