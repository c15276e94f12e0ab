//! Whoever writes to the relay wants a row not to be found, or the search to be slow or to fail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::{next_id, vakt};
use crate::relay::{Relay, Setup, column};
use crate::wait;

/// RFC 2047, in words of 45 octets.
fn encoded(text: &str) -> String {
    let words = text.as_bytes().chunks(45);
    let words = words.map(|it| format!("=?utf-8?B?{}?=", STANDARD.encode(it)));
    words.collect::<Vec<_>>().join("\r\n ")
}

fn send(relay: &Relay, subject: &str, file: &str) -> String {
    let id = next_id();
    let message = format!(
        "From: {0}\r\nTo: {1}\r\nMessage-ID: <{id}@ws.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=x\r\nSubject: {2}\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n\
         hei\r\n--x\r\nContent-Type: text/plain\r\n\
         Content-Disposition: attachment; filename=\"{3}\"\r\n\r\nnotat\r\n--x--\r\n",
        vakt("a"),
        vakt("b"),
        encoded(subject),
        encoded(file)
    );
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], message.as_bytes());
    reply.reference()
}

/// How many events the index is behind is nobody's business: it is there and done when both of these find it.
fn is_found(relay: &Relay, query: &[&str], reference: &str) -> bool {
    let query = [&["log", "search"], query].concat();
    column(&relay.rows(&query), "ref")
        .iter()
        .any(|it| it == reference)
}

#[test]
fn a_word_is_found_in_whatever_form_it_was_written() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&[&str]]); 10] = [
        // As a Mac writes names: letters and marks apart.
        ("Bla\u{30a}lys pa\u{30a} Bodø", "A\u{30a}rsrapport.pdf",
            &[&["Blålys"], &["blåly"], &["--subject", "blålys"], &["Bla\u{30a}lys"], &["Årsrapport.pdf"],
              &["--attachment", "årsrapport"], &["vedlegg:Årsrapport.pdf"], &["bodø"], &["emne:\"blålys på\""]]),
        // As Windows writes them, sought as a Mac writes.
        ("Røykvarsel på tåg", "Brå.pdf", &[&["ta\u{30a}g"], &["--attachment", "bra\u{30a}"]]),
        ("epi\u{ad}krise til for\u{200b}mann", "vakt\u{ad}li\u{200d}\u{2060}ste.xlsx",
            &[&["epikrise"], &["formann"], &["--subject", "epikrise"], &["vaktliste.xlsx"], &["--attachment", "vaktliste"]]),
        ("\u{202e}hemmelig\u{202c} \u{2066}melding\u{2069}", "x", &[&["hemmelig"], &["melding"], &["hemmelig melding"]]),
        ("\u{39f}\u{394}\u{39f}\u{3a3} \u{3a3}", "\u{39f}\u{394}\u{39f}\u{3a3}.txt",
            &[&["\u{39f}\u{394}\u{39f}\u{3a3}"], &["\u{3bf}\u{3b4}\u{3bf}\u{3c2}"], &["\u{3bf}\u{3b4}\u{3bf}\u{3c3}"],
              &["--attachment", "\u{39f}\u{394}\u{39f}\u{3a3}"], &["--subject", "\u{3a3}"]]),
        ("\u{fb01}nale \u{ff21}\u{ff2d}\u{ff2b} ring \u{ff11}\u{ff12}\u{ff13}\u{ff14}", "x",
            &[&["finale"], &["\u{fb01}nale"], &["emne:amk"], &["emne:1234"]]),
        ("\u{130}stanbul STRASSE gra\u{df}", "x", &[&["\u{130}stanbul"], &["stanbul"], &["strasse"], &["gra\u{df}"]]),
        ("\u{212a}ode \u{212a}4711", "x", &[&["kode"], &["k4711"]]),
        ("Zalgo\u{301}\u{302}\u{303}\u{304} her", "x", &[&["her"], &["Zalg"]]),
        ("=AND OR NOT NEAR(\"a b\") ^kode* 'x' {y} col:z", "x", &[&["--subject", "AND"], &["--subject", "NEAR"], &["^kode*"]]),
    ];
    let sent: Vec<String> = cases
        .iter()
        .map(|(subject, file, _)| send(&relay, subject, file))
        .collect();
    let last = send(&relay, "den siste", "x");
    wait::until("delivery", || relay.queue_is_empty());
    wait::until("the last one", || is_found(&relay, &["siste"], &last));
    let mut lost = Vec::new();
    // By the index, and without it.
    for is_there in [true, false] {
        for ((_, _, queries), reference) in cases.iter().zip(&sent) {
            for query in *queries {
                if !is_found(&relay, query, reference) {
                    lost.push(format!("{query:?} (index: {is_there})"));
                }
            }
        }
        if is_there {
            std::fs::remove_file(relay.path("ilbud.db-search")).unwrap();
        }
    }
    assert!(lost.is_empty(), "not found: {lost:#?}");
}

#[test]
fn no_query_breaks_the_box() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, "AND OR NOT hei", "x");
    wait::until("delivery", || relay.queue_is_empty());
    wait::until("the row", || is_found(&relay, &["hei"], &reference));
    let many: Vec<String> = (0..2_000).map(|n| format!("ord{n}")).collect();
    let many = many.join(" ");
    let (long, deep) = ("x".repeat(120_000), "(".repeat(100_000));
    for query in [
        "AND",
        "OR NOT",
        "NEAR(a b)",
        "NEAR/3",
        "^a*",
        "\"",
        "'",
        "''",
        "\"\"",
        ":",
        "(",
        ")",
        "()",
        "*",
        "a*",
        "{a b} : c",
        "a\"b\"c",
        "\"unclosed",
        "...",
        "!!!",
        "\u{1}",
        "\u{7f}",
        "\u{feff}",
        "%",
        "_",
        "\\",
        "a\\\"",
        "; DROP TABLE message",
        "2026-02-30",
        "31.2.",
        "25:00",
        "24:61",
        "1.1.1",
        "99999999999999999999h",
        "siste 99999999999999 timer",
        "siste -1 timer",
        "last 0 hours",
        "14-13",
        "0000-00-00",
        "9999-99-99",
        &many,
        &long,
        &deep,
    ] {
        let output = relay.run(&["log", "search", query]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let short: String = query.chars().take(40).collect();
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{short:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{short:?}: {said}");
        assert!(!said.contains("without its index"), "{short:?}: {said}");
        for flag in ["--subject", "--sender", "--attachment", "--reply"] {
            let output = relay.run(&["log", "search", &format!("{flag}={query}")]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{flag} {short:?}: {said}");
            assert!(
                !said.contains("without its index"),
                "{flag} {short:?}: {said}"
            );
            if query.len() > 1_000 {
                break;
            }
        }
    }
}

#[test]
fn a_time_that_is_out_of_reach_finds_nothing_else() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, "hei", "x");
    wait::until("delivery", || relay.queue_is_empty());
    for query in [
        &["31.12.9999"][..],
        &["9999-12-31"],
        &["30.12.9999"],
        &["etter 31.12.9999"],
        &["etter 9999-12-31"],
        &["før 0000-01-01"],
        &["før 1.1.0001"],
        &["--since", "9999-12-30"],
        &["--until", "0000-01-01"],
        &["--since", "9999-12-31T23:59:59Z"],
        &["--until", "-0001-01-01"],
    ] {
        let output = relay.run(&[&["log", "search"], query, &["--json"]].concat());
        assert!(output.stdout.is_empty(), "{query:?} finds {output:?}");
    }
    for query in [
        &["før 9998-12-31"][..],
        &["etter 0001-01-01"],
        &["--since", "0000-01-01"],
        &["--until", "9999-12-30"],
    ] {
        assert!(is_found(&relay, query, &reference), "{query:?}");
    }
}

#[test]
fn a_cursor_that_somebody_made_up_is_a_place_or_a_mistake() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let reference = send(&relay, "hei", "x");
    wait::until("delivery", || relay.queue_is_empty());
    let max = i64::MAX;
    for (cursor, rows) in [
        (format!("0000-0000-0000.{}.{}", i64::MIN, i64::MIN), Some(0)),
        ("0000-0000-0000.0.0".to_owned(), Some(0)),
        (format!("ZZZZ-ZZZZ-ZZZZ.{max}.{max}"), Some(1)),
        (format!("{reference}.{max}.-1"), Some(1)),
        (format!("{reference}.99999999999999999999.0"), None),
        (format!("{reference}.0"), None),
        (format!("{reference}.1.1.1"), None),
        ("..".to_owned(), None),
        ("' OR 1=1 --".to_owned(), None),
        (".".repeat(100_000), None),
    ] {
        for words in [&[][..], &["hei"]] {
            let query = [&["log", "search", "--json", "--before", &cursor], words].concat();
            match rows {
                Some(rows) => assert_eq!(relay.done(&query).lines().count(), rows, "{cursor}"),
                None => assert!(relay.fails(2, &query).contains("is no cursor"), "{cursor}"),
            }
        }
    }
    for limit in ["18446744073709551615", "9223372036854775807", "1"] {
        assert_eq!(
            relay.rows(&["log", "search", "--limit", limit]).len(),
            1,
            "{limit}"
        );
    }
    assert_eq!(relay.rows(&["log", "search", "--limit", "0"]).len(), 0);
}

/// Each message has as many words as it can, and none that another has.
#[test]
fn a_flood_of_words_neither_hides_a_row_nor_outgrows_the_log() {
    let relay = Setup::from_a_to("maildir:mail/b").start();
    let mut client = relay.client("a");
    let mut last = String::new();
    // Letters alone, so that each is found by any part of it.
    let word = |number: usize| -> String {
        let letters = (0..60).map(|it| number.pow(1 + it as u32 % 3) >> (it % 11) & 15);
        letters.map(|it| char::from(b'a' + it as u8)).collect()
    };
    for number in 0..150 {
        let words: Vec<String> = (0..90).map(|it| word(number * 90 + it)).collect();
        let message = format!(
            "From: {}\r\nSubject: {}\r\nMessage-ID: <{}@ws.test>\r\n\r\nhei\r\n",
            vakt("a"),
            words.join(" "),
            next_id()
        );
        last = client
            .send(&vakt("a"), &[&vakt("b")], message.as_bytes())
            .reference();
    }
    let needle = send(&relay, "Nål i høystakk", "x");
    wait::until("the needle", || {
        is_found(&relay, &["nål", "høystakk"], &needle)
    });
    let rows = relay.rows(&["log", "search", "--subject", &word(149 * 90)]);
    assert_eq!(column(&rows, "ref"), [last]);
    wait::until("delivery", || relay.queue_is_empty());
    let size = |name: &str| std::fs::metadata(relay.path(name)).map_or(0, |it| it.len());
    wait::until("an index that is folded", || {
        size("ilbud.db-search") < 4 * size("ilbud.db").max(1 << 20)
    });
}
