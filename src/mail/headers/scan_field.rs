//! The field that tells a reader of the message what its scan came to: `X-Ilbud-Scan`.
//!
//! It is written among our trace fields, above the message as it came. ASCII, folded (RFC 5322 §2.2.3); what
//! senders chose, such as the names of attachments, can neither end it nor write another one.

use bytes::Bytes;

use super::line_length;

const NAME: &str = "X-Ilbud-Scan";
/// Of one part of it, so that no line gets too long (RFC 5322 §2.1.1).
const MOST: usize = 200;

/// The field with its line end: parts on lines of their own, the first behind the name.
pub fn scan_field(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| harmless(part)).collect();
    format!("{NAME}: {}\r\n", parts.join(";\r\n "))
}

fn harmless(part: &str) -> String {
    let visible = |c: char| match c {
        ';' => ',',
        ' '..='~' => c,
        _ => '?',
    };
    part.chars().take(MOST).map(visible).collect()
}

/// The trace fields with this one, in the place of any that they had.
pub fn with_scan_field(trace: &[u8], field: &str) -> Bytes {
    let mut kept = Vec::with_capacity(trace.len() + field.len());
    let (mut rest, mut is_ours) = (trace, false);
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_length(rest).clamp(1, rest.len()));
        let goes_on = line.starts_with(b" ") || line.starts_with(b"\t");
        is_ours = (goes_on && is_ours) || (!goes_on && names_ours(line));
        if !is_ours {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    kept.extend_from_slice(field.as_bytes());
    kept.into()
}

fn names_ours(line: &[u8]) -> bool {
    line.strip_prefix(NAME.as_bytes())
        .is_some_and(|rest| rest.starts_with(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_senders_chose_stays_within_the_field() {
        let parts = ["clean", "mark: x\r\nTo: y;z\u{202e}æ in a.zip"].map(str::to_owned);
        assert_eq!(
            scan_field(&parts),
            "X-Ilbud-Scan: clean;\r\n mark: x??To: y,z?? in a.zip\r\n"
        );
    }

    #[test]
    fn a_message_has_one_such_field() {
        let received = "Received: from a\r\n by b\r\n";
        let first = with_scan_field(received.as_bytes(), "X-Ilbud-Scan: one;\r\n two\r\n");
        let second = with_scan_field(&first, "X-Ilbud-Scan: three\r\n");
        assert_eq!(second, format!("{received}X-Ilbud-Scan: three\r\n"));
    }
}
