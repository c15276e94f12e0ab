//! Bad input to the commands that handle outbreaks, quarantine, exceptions and what waits: each time one clear error
//! that says what to do, and nothing is done.

use std::sync::Arc;
use std::time::Duration;

use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::Store;

use crate::quarantine::with_file;
use crate::relay::{Relay, Setup};

const HASH: &str = "abababababababababababababababababababababababababababababababab";
const UNKNOWN: &str = "K7F3-2QXM-9A1B";

/// How many events there are.
async fn events(relay: &Relay) -> u64 {
    let path = relay.path("ilbud.db");
    let keep_bodies = Duration::ZERO;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&Settings { path, keep_bodies }).unwrap());
    store.last_event().await.unwrap()
}

/// The one error that a command prints.
fn error(relay: &Relay, arguments: &[&str]) -> (Option<i32>, String) {
    let output = relay.run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    let is_error = |line: &&str| line.starts_with("error:") || line.starts_with("ilbud:");
    let errors = text.lines().filter(is_error).count();
    assert_eq!(errors, 1, "{arguments:?}: {text}");
    (output.status.code(), text)
}

#[tokio::test]
async fn bad_input_is_one_clear_error_that_says_what_to_do_and_nothing_is_done() {
    let relay = Setup::three_rooms()
        .settings("[scan.rules]\nfile_name = \"quarantine\"\nfile_names = [\"*.scr\"]")
        .start();
    let message = with_file("hei", "x.scr", "x");
    let sent = relay.client("a").send(
        &crate::client::vakt("a"),
        &[&crate::client::vakt("b")],
        &message,
    );
    let caught = sent.reference();
    relay.expect_events(&caught, &["accepted", "quarantined", "bounced"]);
    crate::wait::until("the report", || !relay.maildir("a", "vakt").is_empty());
    let long = "a".repeat(300);
    let letters = HASH.replace('a', "g");
    let reasons = "a reason is one line of 1 to 255 characters";
    #[rustfmt::skip]
    let cases: &[(i32, &[&str], &str)] = &[
        (2, &["outbreak", "block"], "--hash"),
        (2, &["outbreak", "block", "--hash", "abab"], "64 digits"),
        (2, &["outbreak", "block", "--hash", &letters], "64 digits"),
        (2, &["outbreak", "block", "--hash", HASH, "--file", "x"], "cannot be used with"),
        (2, &["outbreak", "block", "--file", ""], "1 to 255"),
        (2, &["outbreak", "block", "--file", "*"], "hold-attachments"),
        (2, &["outbreak", "block", "--file", &long], "1 to 255"),
        (2, &["outbreak", "block", "--file", "a\u{7}.scr"], "control characters"),
        (2, &["outbreak", "block", "--subject", "x"], "3 to 255"),
        (2, &["outbreak", "block", "--subject", "to\nlinjer"], "control characters"),
        (2, &["outbreak", "block", "--sender", "vakt"], "@ and a domain"),
        (2, &["outbreak", "block", "--file", "x", "--for", "0s"], "30m, 2h or 1d"),
        (2, &["outbreak", "block", "--file", "x", "--for", "400d"], "at most 90d"),
        (2, &["outbreak", "block", "--file", "x", "--for", "99999999999999999999d"], "30m, 2h or 1d"),
        (2, &["outbreak", "block", "--file", "x", "--for=-1h"], "30m, 2h or 1d"),
        (2, &["outbreak", "block", "--file", "x", "--reason", ""], reasons),
        (2, &["outbreak", "block", "--file", "x", "--reason", "a\u{1b}[2Jb"], reasons),
        (2, &["outbreak", "block", "--file", "x", "--reason", "to\nlinjer"], reasons),
        (2, &["outbreak", "block", "--file", "x", "--reason", &long], reasons),
        (1, &["outbreak", "hold-attachments", "--room", "room_b"], "did you mean \"room-b\""),
        (1, &["outbreak", "hold-attachments", "--room", ""], "route export"),
        (2, &["outbreak", "hold-attachments", "--for", "0m"], "30m, 2h or 1d"),
        (1, &["outbreak", "end", "99"], "ilbud outbreak list"),
        (2, &["outbreak", "end", "one"], "NUMBER"),
        (2, &["outbreak", "end"], "NUMBER"),
        (2, &["outbreak", "rescan"], "REF"),
        (2, &["outbreak", "rescan", "K7F3"], "REF"),
        (1, &["outbreak", "rescan", UNKNOWN], "ilbud log show"),
        (2, &["outbreak", "rescan", &caught, "--all"], "cannot be used with"),
        (2, &["outbreak", "rescan", "--all", "--reason", " "], reasons),
        (2, &["outbreak", "hunt"], "HASH, NAME or MALWARE"),
        (2, &["outbreak", "hunt", " "], "name a file, a SHA-256 or malware"),
        (2, &["outbreak", "hunt", "x", "--since", "then"], "write 2h (ago)"),
        (2, &["outbreak", "hunt", "x", "--json", "--csv"], "cannot be used with"),
        (2, &["quarantine", "show"], "REF"),
        (2, &["quarantine", "show", "K7F3"], "REF"),
        (1, &["quarantine", "show", UNKNOWN], "ilbud log show"),
        (1, &["quarantine", "show", UNKNOWN, "--message"], "ilbud log show"),
        (1, &["quarantine", "release", UNKNOWN], "ilbud log show"),
        (1, &["quarantine", "release", &caught], "--force --reason TEXT"),
        (2, &["quarantine", "release", &caught, "--force"], "--reason"),
        (2, &["quarantine", "release", &caught, "--force", "--reason", " "], reasons),
        (2, &["quarantine", "release", &caught, "--force", "--reason", "a\nb"], reasons),
        (1, &["quarantine", "delete", UNKNOWN], "ilbud log show"),
        (2, &["quarantine", "delete", &caught, "--reason", ""], reasons),
        (2, &["quarantine", "delete", &caught, "--reason", "a\u{1b}b"], reasons),
        (2, &["quarantine", "list", "--limit", "many"], "--limit"),
        (2, &["queue", "hold", "--all", "--reason", ""], reasons),
        (2, &["queue", "hold", "--all", "--reason", "a\u{1b}[2Jb"], reasons),
        (2, &["queue", "hold", "--all", "--reason", &long], reasons),
        (2, &["queue", "cancel", "--all", "--reason", " "], reasons),
        (2, &["queue", "cancel", "--all", "--reason", "to\nlinjer"], reasons),
        (2, &["route", "apply", "routes.toml", "--reason", ""], reasons),
        (2, &["route", "apply", "routes.toml", "--reason", "a\u{7}b"], reasons),
        (2, &["scan", "exception", "open", "--for", "30m"], "--reason"),
        (2, &["scan", "exception", "open", "--reason", "x"], "--for"),
        (2, &["scan", "exception", "open", "--for", "30m", "--reason", ""], reasons),
        (2, &["scan", "exception", "open", "--for", "30m", "--reason", "a\rb"], reasons),
        (2, &["scan", "exception", "open", "--for", "0s", "--reason", "x"], "30m, 2h or 1d"),
        (2, &["scan", "exception", "open", "--for", "25h", "--reason", "x"], "at most 1d"),
        (1, &["scan", "exception", "close"], "ilbud scan exception list"),
        (1, &["scan", "exception", "close", "99"], "ilbud scan exception list"),
        (2, &["scan", "exception", "close", "it"], "NUMBER"),
    ];
    let before = events(&relay).await;
    for (status, arguments, hint) in cases {
        let (code, text) = error(&relay, arguments);
        assert_eq!(code, Some(*status), "{arguments:?}: {text}");
        assert!(text.contains(hint), "{arguments:?}: {text}");
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{7}'),
            "{text:?}"
        );
    }
    assert_eq!(events(&relay).await, before);
    assert!(relay.rows(&["outbreak", "list", "--all"]).is_empty());
    assert!(
        relay
            .rows(&["scan", "exception", "list", "--all"])
            .is_empty()
    );
    assert_eq!(relay.rows(&["quarantine", "list"]).len(), 1);
}
