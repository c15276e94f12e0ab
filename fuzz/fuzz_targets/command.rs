//! Any line is a command or a refusal; nothing that could end a line gets through.
#![no_main]

use ilbud::smtp::command::{self, Command, Offer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    match command::parse(line, Offer::Guarded) {
        Ok(Command::Mail(mail)) => {
            check(line, mail.sender);
            let envelope_id = mail.envelope_id.unwrap_or("-");
            assert!(envelope_id.bytes().all(|octet| octet.is_ascii_graphic()));
            assert!((1..=100).contains(&envelope_id.len()));
        }
        Ok(Command::Rcpt(rcpt)) => {
            assert!(!rcpt.recipient.is_empty());
            check(line, rcpt.recipient);
            let original = rcpt.original.unwrap_or("rfc822;-");
            assert!(!original.contains([' ', '=']) && original.contains(';'));
            check(line, rcpt.original.unwrap_or_default());
        }
        Ok(Command::Ehlo(name) | Command::Helo(name)) => check(line, name),
        Ok(_) => {}
        Err(fault) => {
            assert!(fault.reply.code >= 500);
            let wire = fault.reply.wire();
            assert!(wire.ends_with(b"\r\n"));
            for reply_line in wire.split_inclusive(|octet| *octet == b'\n') {
                assert!(reply_line.len() <= 512);
            }
        }
    }
});

/// What is given on stands in the line as it is, and holds no control characters.
fn check(line: &[u8], text: &str) {
    assert!(!text.chars().any(char::is_control));
    assert!(
        text.is_empty()
            || line
                .windows(text.len())
                .any(|window| window == text.as_bytes())
    );
}
