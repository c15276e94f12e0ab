//! What an engine or a sender said, made fit for one line of the log and of a reply. Pure; it cannot fail.

/// Longer than any name of malware that is in use.
const MOST: usize = 200;

/// Printable ASCII of it, with a question mark for each character that is none, and its end left out
/// where it is long.
pub(super) fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let printable = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    let mut said: String = text.chars().take(MOST).map(printable).collect();
    if text.chars().nth(MOST).is_some() {
        said.push_str("...");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_short_line_of_ascii() {
        assert_eq!(said(b" Win.Test.EICAR_HDB-1\r\n"), "Win.Test.EICAR_HDB-1");
        assert_eq!(said(b"a\r\n550 b\x1b[2J\xff\xc3\xb8"), "a??550 b?[2J??");
        assert_eq!(said("ø".repeat(500).as_bytes()).len(), MOST + 3);
        assert_eq!(said(b"\0\0"), "??");
    }
}
