//! One attempt against next hops that misbehave: each stage, each fault, each recipient its outcome.

use std::time::Duration;

use ilbud::delivery::client::Timeouts;
use ilbud::delivery::outcome::Attempt;
use ilbud::policy::table::{HopTls, NextHop};

use crate::attempt::{Worker, hop, known, rows, server, told, word, words};
use crate::fake_hop::{ALL, At, FakeHop, Fault, Manner, Offers};

const PLAIN: &[&str] = &[];

/// How a hop is spoken to in the table.
#[derive(Debug, Clone, Copy)]
struct Variant {
    lmtp: bool,
    offers: Offers,
}

const DATA: Variant = Variant {
    lmtp: false,
    offers: &[
        "STARTTLS",
        "AUTH PLAIN LOGIN",
        "PIPELINING",
        "8BITMIME",
        "SIZE 0",
    ],
};
const ONE_BY_ONE: Variant = Variant {
    lmtp: false,
    offers: &["STARTTLS", "AUTH LOGIN"],
};
const BDAT: Variant = Variant {
    lmtp: false,
    offers: &["STARTTLS", "AUTH PLAIN", "PIPELINING", "CHUNKING"],
};
const BDAT_ONE_BY_ONE: Variant = Variant {
    lmtp: false,
    offers: &["STARTTLS", "AUTH PLAIN", "CHUNKING"],
};
const LMTP: Variant = Variant {
    lmtp: true,
    offers: &["STARTTLS", "AUTH PLAIN", "PIPELINING"],
};
const LMTP_BDAT: Variant = Variant {
    lmtp: true,
    offers: &["STARTTLS", "AUTH PLAIN", "PIPELINING", "CHUNKING"],
};

/// A hop of this variant with faults, and how it is called: with TLS and a password.
async fn misbehaving(variant: Variant, faults: &[(At, Fault)]) -> (FakeHop, NextHop) {
    let manner = Manner {
        lmtp: variant.lmtp,
        tls: true,
        implicit: false,
    };
    let fake = FakeHop::with(manner, variant.offers, faults).await;
    let server = known(server(fake.port, HopTls::Required), "ilbud", "secret");
    let hop = match variant.lmtp {
        true => NextHop::Lmtp(server),
        false => NextHop::Smtp(server),
    };
    (fake, hop)
}

/// Short only where the hop will say nothing at all.
fn impatient(stage: At) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let wait = match stage {
        At::Greeting => &mut timeouts.greeting,
        At::Ehlo | At::StartTls | At::Handshake | At::Auth => &mut timeouts.hello,
        At::Mail | At::Rcpt | At::Rset => &mut timeouts.envelope,
        At::Data => &mut timeouts.data,
        At::Content | At::Chunk => &mut timeouts.block,
        At::Dot => &mut timeouts.final_dot,
    };
    *wait = Duration::from_millis(50);
    timeouts
}

fn letter(attempt: &Attempt) -> char {
    match word(attempt) {
        "delivered" => 'D',
        word => word.chars().next().unwrap(),
    }
}

fn timeouts_for(fault: &Fault, stage: At) -> Timeouts {
    let timeouts = match fault {
        Fault::Stall | Fault::Trickle => impatient(stage),
        _ => Timeouts::default(),
    };
    Timeouts {
        quit: Duration::from_millis(50),
        ..timeouts
    }
}

#[tokio::test]
async fn each_fault_at_each_stage_has_its_outcome() {
    use Fault::{Drop, Endless, Half, Long, Raw, Say, SayAndDrop, Split, Stall, Trickle};
    const STAGES: [At; 9] = [
        At::Greeting,
        At::Ehlo,
        At::StartTls,
        At::Handshake,
        At::Auth,
        At::Mail,
        At::Rcpt,
        At::Data,
        At::Dot,
    ];
    // A letter a stage: d(eferred), f(ailed), p(ossibly delivered), D(elivered); in their order, so
    // that the first five are about the way there, and the next four about the message.
    #[rustfmt::skip]
    let table = [
        (Say("421 4.3.2 closing"),              "ddd-d dddd"),
        (Say("451 4.3.0 later"),                "ddd-d dddd"),
        (Say("450"),                            "ddd-d dddd"),
        (Say("535 5.7.8 who?"),                 "ddd-d ffff"),
        (Say("550 5.7.1 no"),                   "ddd-d ffff"),
        (Say("500 what?"),                      "ddd-d ffff"),
        // Codes that are no answer to this.
        (Say("250 ok"),                         "ddd-d DDdD"),
        (Say("354 go"),                         "ddd-d ddDp"),
        (Say("220 hello"),                      "DdD-d DDdD"),
        (Say("600 what"),                       "ddd-d dddp"),
        (Say("hello there"),                    "ddd-d dddp"),
        (Drop,                                  "ddddd dddp"),
        (Half,                                  "ddd-d dddp"),
        (SayAndDrop,                            "ddd-- d--D"),
        (Raw(b"\x00\xff\x16\x03 garbage\r\n"), "ddddd dddp"),
        (Raw(b"250-one\r\n550 two\r\n"),        "ddddd dddp"),
        (Long,                                  "ddd-d dddp"),
        (Endless,                               "ddd-d dddp"),
        (Split,                                 "DDD-D DDDD"),
        (Stall,                                 "ddddd dddp"),
        (Trickle,                               "ddd-d dddp"),
    ];
    for (fault, row) in table {
        let expected = row.chars().filter(|it| *it != ' ');
        for (stage, expected) in STAGES.into_iter().zip(expected) {
            for variant in [DATA, ONE_BY_ONE, BDAT, LMTP, LMTP_BDAT] {
                let chunks = variant.offers.contains(&"CHUNKING");
                if expected == '-' || chunks && stage == At::Data {
                    continue;
                }
                let (fake, hop) = misbehaving(variant, &[(stage, fault.clone())]).await;
                let mut worker = Worker::with(timeouts_for(&fault, stage));
                let attempts = worker.attempt(&["vakt@b.nodnett.test"], &[hop]).await;
                let what = format!("{fault:?} at {stage:?}, {variant:?}: {attempts:?}");
                assert_eq!(letter(&attempts[0]), expected, "{what}");
                let ready = expected == 'D' || STAGES[5..].contains(&stage);
                assert_eq!(attempts[0].reached, ready, "{what}");
                assert!(!what.contains("secret"), "{what}");
                if stage != At::Dot {
                    assert_eq!(fake.taken().len(), usize::from(expected == 'D'), "{what}");
                }
                fake.go_on();
            }
        }
    }
}

#[tokio::test]
async fn each_fault_while_a_large_message_is_sent_has_its_outcome() {
    use Fault::{Drop, Endless, Half, Long, Raw, Say, SayAndDrop, Split, Stall, Trickle};
    let line = [b"x".repeat(900).as_slice(), b"\r\n"].concat();
    // More than any buffer takes unread; and three times BDAT.
    let (large, middling) = (line.repeat(6_000), line.repeat(2_500));
    let rows = rows(&["vakt@b.nodnett.test"]);
    // As above: when the message begins with DATA and with BDAT, and after the first BDAT; `-` where
    // there is nothing to say.
    #[rustfmt::skip]
    let table = [
        (Say("421 4.3.2 closing"),        "ddd"),
        (Say("452 4.3.1 full"),           "ddd"),
        (Say("552 5.3.4 too large"),      "fff"),
        (Say("354 go"),                   "--d"),
        (Say("250 more"),                 "--D"),
        (Say("hello there"),              "--d"),
        (Drop,                            "ddd"),
        (Half,                            "--d"),
        (SayAndDrop,                      "--d"),
        (Raw(b"250-one\r\n550 two\r\n"),  "--d"),
        (Long,                            "--d"),
        (Endless,                         "--d"),
        (Split,                           "--D"),
        (Stall,                           "ddd"),
        (Trickle,                         "--d"),
    ];
    for (fault, row) in table {
        for (column, expected) in row.chars().enumerate() {
            let (stage, variants, bytes) = match column {
                0 => (At::Content, [DATA, LMTP], &large),
                1 => (At::Content, [BDAT, BDAT_ONE_BY_ONE], &large),
                _ => (At::Chunk, [BDAT_ONE_BY_ONE, LMTP_BDAT], &middling),
            };
            for variant in variants.into_iter().filter(|_| expected != '-') {
                let (fake, hop) = misbehaving(variant, &[(stage, fault.clone())]).await;
                let mut worker = Worker::with(timeouts_for(&fault, stage));
                let attempts = worker.carry(&rows, bytes, &[hop]).await;
                let what = format!("{fault:?} at {stage:?}, {variant:?}: {attempts:?}");
                assert_eq!(letter(&attempts[0]), expected, "{what}");
                assert!(attempts[0].reached, "{what}");
                assert_eq!(fake.taken().len(), usize::from(expected == 'D'), "{what}");
                fake.go_on();
            }
        }
    }
}

/// Whose answer the next one would be, nobody knows: it must not pass for that to the message.
#[tokio::test]
async fn an_answer_to_nothing_delivers_nothing() {
    let refused = (At::Dot, Fault::Say("554 5.6.0 no"));
    for (stage, twice) in [
        (At::Greeting, "220 fake\r\n220 again"),
        (At::Ehlo, "250 fake\r\n250 again"),
        (At::Mail, "250 2.1.0 ok\r\n250 2.1.0 again"),
        (At::Rcpt, "250 2.1.5 ok\r\n250 2.1.5 again"),
        (At::Data, "354 go\r\n250 2.0.0 kept"),
    ] {
        for variant in [DATA, ONE_BY_ONE, BDAT, BDAT_ONE_BY_ONE, LMTP, LMTP_BDAT] {
            if stage == At::Data && variant.offers.contains(&"CHUNKING") {
                continue;
            }
            let faults = [(stage, Fault::Say(twice)), refused.clone()];
            let fake = FakeHop::with(plain(variant), &variant.offers[2..], &faults).await;
            let mut worker = Worker::new();
            let hops = [called(variant, &fake)];
            let attempts = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
            let what = format!("{stage:?}, {variant:?}: {attempts:?}");
            assert!(matches!(letter(&attempts[0]), 'd' | 'f'), "{what}");
        }
    }
}

#[tokio::test]
async fn a_word_too_many_is_not_the_answer_to_the_next_message() {
    for variant in [DATA, ONE_BY_ONE, BDAT, BDAT_ONE_BY_ONE, LMTP, LMTP_BDAT] {
        let faults = [
            (At::Dot, Fault::Say("250 2.0.0 kept\r\n250 2.0.0 again")),
            (At::Dot, Fault::Say("554 5.6.0 no")),
        ];
        let fake = FakeHop::with(plain(variant), &variant.offers[2..], &faults).await;
        let mut worker = Worker::new();
        let hops = [called(variant, &fake)];
        let first = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
        let second = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
        let given = (letter(&first[0]), letter(&second[0]));
        assert_eq!(given, ('D', 'f'), "{variant:?}: {second:?}");
        assert_eq!(fake.count("connect"), 2);
    }
}

fn plain(variant: Variant) -> Manner {
    Manner {
        lmtp: variant.lmtp,
        ..Manner::default()
    }
}

fn called(variant: Variant, fake: &FakeHop) -> NextHop {
    let server = server(fake.port, HopTls::Off);
    match variant.lmtp {
        true => NextHop::Lmtp(server),
        false => NextHop::Smtp(server),
    }
}

/// A hop that says why, and then reads no further.
#[tokio::test]
async fn why_a_message_is_refused_is_heard_even_where_the_rest_is_not_read() {
    let bytes = [b"x".repeat(900).as_slice(), b"\r\n"]
        .concat()
        .repeat(6_000);
    for (says, expected) in [("552 5.3.4 too large", 'f'), ("452 4.3.1 full", 'd')] {
        for variant in [DATA, BDAT, BDAT_ONE_BY_ONE, LMTP] {
            let faults = [(At::Content, Fault::SayAndStall(says))];
            let fake = FakeHop::with(plain(variant), &variant.offers[2..], &faults).await;
            let mut worker = Worker::with(timeouts_for(&Fault::Stall, At::Content));
            let hops = [called(variant, &fake)];
            let rows = rows(&["vakt@b.nodnett.test"]);
            let attempts = worker.carry(&rows, &bytes, &hops).await;
            assert_eq!(letter(&attempts[0]), expected, "{variant:?}: {attempts:?}");
            assert_eq!(told(&attempts[0]), says, "{variant:?}");
            fake.go_on();
        }
    }
}

/// Once a hop has the whole message, its answer is awaited for as long as it may take: whatever time
/// the attempt has left, it would only be sent again.
#[tokio::test]
async fn the_final_answer_is_awaited_beyond_the_end_of_the_attempt() {
    let whole = Duration::from_secs(2);
    let mut worker = Worker::with(Timeouts {
        whole,
        ..Timeouts::default()
    });
    let fake = FakeHop::start(ALL, &[(At::Dot, Fault::Late)]).await;
    let hops = [hop(fake.port)];
    let answered = async {
        while fake.count(".") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(whole).await;
        fake.go_on();
    };
    let attempt = worker.attempt(&["vakt@b.nodnett.test"], &hops);
    let (attempts, ()) = tokio::join!(attempt, answered);
    assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
}

#[tokio::test]
async fn no_fault_between_two_messages_harms_the_second() {
    use Fault::{Drop, Endless, Half, Long, Raw, Right, Say, SayAndDrop, Split, Stall, Trickle};
    for (fault, connections) in [
        (Right, 1),
        (Split, 1),
        (Say("421 4.3.2 closing"), 2),
        (Say("451 4.3.0 later"), 2),
        (Say("550 5.7.1 no"), 2),
        (Say("354 go"), 2),
        (Drop, 2),
        (Half, 2),
        (SayAndDrop, 2),
        (Raw(b"\x00 garbage\r\n"), 2),
        (Long, 2),
        (Endless, 2),
        (Stall, 2),
        (Trickle, 2),
    ] {
        for variant in [DATA, ONE_BY_ONE, BDAT, LMTP] {
            let faults = [(At::Rcpt, Say("450 4.2.1 busy")), (At::Rset, fault.clone())];
            let (fake, hop) = misbehaving(variant, &faults).await;
            let mut worker = Worker::with(timeouts_for(&fault, At::Rset));
            let hops = [hop];
            let first = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
            let second = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
            let given = (letter(&first[0]), letter(&second[0]));
            assert_eq!(given, ('d', 'D'), "{fault:?}, {variant:?}: {second:?}");
            assert_eq!(fake.count("connect"), connections, "{fault:?}, {variant:?}");
            fake.go_on();
        }
    }
}

#[tokio::test]
async fn the_next_hop_is_asked_unless_that_could_double_or_contradict() {
    for (fault, first, second) in [
        ((At::Greeting, Fault::Say("554 no service")), "delivered", 1),
        ((At::Greeting, Fault::Drop), "delivered", 1),
        ((At::Mail, Fault::Say("451 4.3.0 later")), "delivered", 1),
        ((At::Rcpt, Fault::Say("550 5.1.1 unknown")), "failed", 0),
        ((At::Dot, Fault::Say("452 4.3.1 full")), "delivered", 1),
        ((At::Dot, Fault::Say("554 5.7.1 no")), "failed", 0),
        ((At::Dot, Fault::Drop), "possibly", 0),
    ] {
        let one = FakeHop::start(ALL, std::slice::from_ref(&fault)).await;
        let two = FakeHop::start(ALL, &[]).await;
        let hops = [hop(one.port), hop(two.port)];
        let attempts = Worker::new().attempt(&["vakt@b.nodnett.test"], &hops).await;
        assert_eq!(words(&attempts), [first], "{fault:?}");
        assert_eq!(two.taken().len(), second, "{fault:?}");
    }
}

#[tokio::test]
async fn a_hop_that_is_not_there_gives_way_to_one_that_is() {
    let gone = FakeHop::start(ALL, &[]).await.port;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    let attempts = Worker::new()
        .attempt(&["vakt@b.nodnett.test"], &[hop(closed), hop(gone)])
        .await;
    assert_eq!(words(&attempts), ["delivered"]);
    let label = format!("smtp://127.0.0.1:{gone}");
    assert!(
        attempts[0].hop.as_deref().unwrap().starts_with(&label),
        "{attempts:?}"
    );
}

#[tokio::test]
async fn a_hop_known_to_be_silent_is_passed_over_until_it_answers() {
    let to = &["vakt@b.nodnett.test"];
    let one = FakeHop::start(ALL, &[(At::Greeting, Fault::Stall)]).await;
    let two = FakeHop::start(ALL, &[]).await;
    let hops = [hop(one.port), hop(two.port)];
    let mut worker = Worker::with(impatient(At::Greeting));
    while one.taken().is_empty() {
        let attempts = worker.attempt(to, &hops).await;
        assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
        worker.kept = None;
    }
    // Found silent, knocked at, and then used; no message but the first waited for it.
    assert_eq!(one.count("connect"), 3, "{:?}", one.heard());
}

#[tokio::test]
async fn each_recipient_has_its_own_outcome() {
    for offers in [ALL, PLAIN] {
        let faults = [
            (At::Rcpt, Fault::Right),
            (At::Rcpt, Fault::Say("450 4.2.1 busy")),
            (At::Rcpt, Fault::Say("550 5.1.1 unknown")),
        ];
        let fake = FakeHop::start(offers, &faults).await;
        let recipients = [
            "a@b.nodnett.test",
            "b@b.nodnett.test",
            "c@b.nodnett.test",
            "d@b.nodnett.test",
        ];
        let attempts = Worker::new().attempt(&recipients, &[hop(fake.port)]).await;
        assert_eq!(
            words(&attempts),
            ["delivered", "deferred", "failed", "delivered"]
        );
        let taken = fake.taken();
        assert_eq!(
            taken[0].recipients,
            ["RCPT TO:<a@b.nodnett.test>", "RCPT TO:<d@b.nodnett.test>"]
        );
    }
}

#[tokio::test]
async fn those_that_were_too_many_for_one_transaction_are_sent_in_the_next() {
    let to = ["a@b.nodnett.test", "b@b.nodnett.test", "c@b.nodnett.test"];
    for (second, expected, transactions) in [
        ("452 4.5.3 too many recipients", ["delivered"; 3], 2),
        ("452 too many recipients", ["delivered"; 3], 2),
        ("552 too many recipients", ["delivered"; 3], 2),
        (
            "452 4.2.2 mailbox full",
            ["delivered", "deferred", "delivered"],
            1,
        ),
    ] {
        for variant in [DATA, ONE_BY_ONE, BDAT, LMTP] {
            let faults = [(At::Rcpt, Fault::Right), (At::Rcpt, Fault::Say(second))];
            let fake = FakeHop::with(plain(variant), variant.offers, &faults).await;
            let attempts = Worker::new().attempt(&to, &[called(variant, &fake)]).await;
            assert_eq!(words(&attempts), expected, "{second} {variant:?}");
            assert_eq!(fake.taken().len(), transactions, "{second} {variant:?}");
            assert_eq!(fake.count("connect"), 1);
        }
    }
    // A hop that takes nobody has more against it than a crowd.
    let full = vec![(At::Rcpt, Fault::Say("452 4.5.3 too many")); 3];
    let fake = FakeHop::start(ALL, &full).await;
    let attempts = Worker::new().attempt(&to, &[hop(fake.port)]).await;
    assert_eq!(words(&attempts), ["deferred"; 3]);
}

#[tokio::test]
async fn only_those_without_a_final_answer_are_taken_to_the_next_hop() {
    let faults = [
        (At::Rcpt, Fault::Right),
        (At::Rcpt, Fault::Say("450 4.2.1 busy")),
        (At::Rcpt, Fault::Say("550 5.1.1 unknown")),
    ];
    let one = FakeHop::start(ALL, &faults).await;
    let two = FakeHop::start(ALL, &[]).await;
    let recipients = ["a@b.nodnett.test", "b@b.nodnett.test", "c@b.nodnett.test"];
    let hops = [hop(one.port), hop(two.port)];
    let attempts = Worker::new().attempt(&recipients, &hops).await;
    assert_eq!(words(&attempts), ["delivered", "delivered", "failed"]);
    assert_eq!(two.taken()[0].recipients, ["RCPT TO:<b@b.nodnett.test>"]);
}

#[tokio::test]
async fn a_connection_is_used_again_and_reset_after_a_refusal() {
    let faults = [
        (At::Rcpt, Fault::Right),
        (At::Rcpt, Fault::Say("550 5.1.1 unknown")),
    ];
    for offers in [ALL, PLAIN] {
        let fake = FakeHop::start(offers, &faults).await;
        let mut worker = Worker::new();
        let hops = [hop(fake.port)];
        let mut given = Vec::new();
        for _ in 0..3 {
            given.extend(words(
                &worker.attempt(&["vakt@b.nodnett.test"], &hops).await,
            ));
        }
        assert_eq!(given, ["delivered", "failed", "delivered"]);
        let heard = fake.heard();
        let count = |what: &str| heard.iter().filter(|it| *it == what).count();
        assert_eq!((count("connect"), count("RSET")), (1, 1), "{heard:?}");
        assert_eq!(fake.taken().len(), 2);
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_silently() {
    for fault in [Fault::Drop, Fault::Say("421 4.4.2 idle for too long")] {
        let fake = FakeHop::start(ALL, &[(At::Mail, Fault::Right), (At::Mail, fault)]).await;
        let mut worker = Worker::new();
        let hops = [hop(fake.port)];
        for _ in 0..2 {
            let attempts = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
            assert_eq!(words(&attempts), ["delivered"]);
        }
        assert_eq!(fake.taken().len(), 2);
        let connections = fake.heard().iter().filter(|it| *it == "connect").count();
        assert_eq!(connections, 2);
    }
}

#[tokio::test]
async fn data_taken_for_nobody_ends_with_a_lone_dot() {
    let faults = [
        (At::Rcpt, Fault::Say("550 5.1.1 unknown")),
        (At::Data, Fault::Say("354 go")),
    ];
    let fake = FakeHop::start(ALL, &faults).await;
    let mut worker = Worker::new();
    let hops = [hop(fake.port)];
    let first = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
    let second = worker.attempt(&["vakt@b.nodnett.test"], &hops).await;
    assert_eq!(
        (words(&first), words(&second)),
        (vec!["failed"], vec!["delivered"])
    );
    assert_eq!(fake.taken().len(), 1);
}

#[tokio::test]
async fn bytes_arrive_as_they_are() {
    let large: Vec<u8> = b".leading dot\r\n..\r\nplain\r\n".repeat(40_000);
    for bytes in [
        &b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n"[..],
        b".first\r\n",
        b"bl\xe5 \x00 \xff\r\n",
        &large,
    ] {
        let fake = FakeHop::start(ALL, &[]).await;
        let rows = rows(&["vakt@b.nodnett.test"]);
        let attempts = Worker::new().carry(&rows, bytes, &[hop(fake.port)]).await;
        assert_eq!(words(&attempts), ["delivered"]);
        let expected = [b"Received: by relay\r\n".as_slice(), bytes].concat();
        assert!(
            fake.taken()[0].content == expected,
            "{} octets",
            bytes.len()
        );
    }
}

#[tokio::test]
async fn parameters_are_said_where_they_are_offered() {
    for (offers, expected) in [
        (
            ALL,
            "MAIL FROM:<vakt@a.nodnett.test> SIZE=39 BODY=8BITMIME SMTPUTF8",
        ),
        (PLAIN, "MAIL FROM:<vakt@a.nodnett.test>"),
    ] {
        let fake = FakeHop::start(offers, &[]).await;
        let mut rows = rows(&["vakt@b.nodnett.test"]);
        for row in &mut rows {
            (row.smtputf8, row.eight_bit) = (true, true);
        }
        let bytes = b"Subject: x\r\n\r\nhei\r\n";
        let attempts = Worker::new().carry(&rows, bytes, &[hop(fake.port)]).await;
        assert_eq!(words(&attempts), ["delivered"]);
        assert_eq!(fake.taken()[0].mail, expected);
    }
}

#[tokio::test]
async fn letters_that_a_hop_does_not_take_are_a_lasting_failure() {
    let fake = FakeHop::start(PLAIN, &[]).await;
    let attempts = Worker::new()
        .attempt(&["bl\u{e5}@b.nodnett.test"], &[hop(fake.port)])
        .await;
    assert_eq!(words(&attempts), ["failed"]);
    assert!(format!("{attempts:?}").contains("5.6.7"), "{attempts:?}");
}

#[tokio::test]
async fn a_crowd_is_sent_in_groups_that_every_hop_takes() {
    let fake = FakeHop::start(ALL, &[]).await;
    let addresses: Vec<String> = (0..250).map(|n| format!("u{n}@b.nodnett.test")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let attempts = Worker::new().attempt(&recipients, &[hop(fake.port)]).await;
    assert!(attempts.iter().all(|it| word(it) == "delivered"));
    let groups: Vec<usize> = fake.taken().iter().map(|it| it.recipients.len()).collect();
    assert_eq!(groups, [100, 100, 50]);
}

#[tokio::test]
async fn tls_that_is_required_is_never_done_without() {
    let offered: &[&str] = &["STARTTLS"];
    for (offers, fault) in [
        (ALL, None),
        (offered, None),
        (offered, Some((At::StartTls, Fault::SayAndDrop))),
        (
            offered,
            Some((At::StartTls, Fault::Raw(b"220 go\r\n250 injected\r\n"))),
        ),
        (offered, Some((At::StartTls, Fault::Raw(b"220 go\r\n")))),
    ] {
        let faults: Vec<_> = fault.clone().into_iter().collect();
        let fake = FakeHop::start(offers, &faults).await;
        let required = NextHop::Smtp(server(fake.port, HopTls::Required));
        let attempts = Worker::new()
            .attempt(&["vakt@b.nodnett.test"], &[required])
            .await;
        assert_eq!(words(&attempts), ["deferred"], "{fault:?}");
        assert_eq!(fake.taken(), [], "{fault:?}");
    }
}

#[tokio::test]
async fn opportunistic_tls_that_fails_is_done_without_and_said_so() {
    for (fault, expected) in [
        (Fault::Right, "none (STARTTLS refused)"),
        (Fault::Raw(b"220 go\r\n"), "none (handshake failed)"),
        (Fault::Stall, "none (handshake failed)"),
        (Fault::Say("421 4.3.2 closing"), "none (handshake failed)"),
    ] {
        let timeouts = timeouts_for(&fault, At::StartTls);
        let fake = FakeHop::start(&["STARTTLS"], &[(At::StartTls, fault)]).await;
        let mut worker = Worker::with(timeouts);
        let attempts = worker
            .attempt(&["vakt@b.nodnett.test"], &[hop(fake.port)])
            .await;
        assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
        assert_eq!(attempts[0].tls.as_deref(), Some(expected));
    }
}
