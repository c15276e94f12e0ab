//! What a message asks for is said to a hop that offers it, and fails clearly where a hop that it
//! needs it from does not.

use std::time::Duration;

use ilbud::delivery::client::Timeouts;
use ilbud::delivery::outcome::Handover;
use ilbud::mail::{Address, ByMode, DeliverBy, Notify, Priority, Return, Terms, Timestamp, Wishes};
use ilbud::policy::table::{HopServer, HopTls, NextHop};
use ilbud::spool::store::Waiting;

use crate::attempt::{BYTES, NOW, Worker, hop, rows, rows_under, server, told, words};
use crate::fake_hop::{ALL, At, FakeHop, Fault, Manner, Offers};

const TO: &[&str] = &["vakt@b.nodnett.test"];
const NONE: &[&str] = &[];
const FROM: &str = "MAIL FROM:<vakt@a.nodnett.test>";
const TLS: Manner = Manner {
    lmtp: false,
    tls: true,
    implicit: false,
};
const LMTP: Manner = Manner {
    lmtp: true,
    tls: false,
    implicit: false,
};

fn due(seconds: i64, mode: ByMode, trace: bool) -> Option<DeliverBy> {
    let at = Timestamp::from_millis(NOW.as_millis() + seconds * 1000 + 500);
    Some(DeliverBy { at, mode, trace })
}

fn by(seconds: i64, mode: ByMode) -> Terms {
    Terms {
        deliver_by: due(seconds, mode, false),
        ..Terms::default()
    }
}

fn guarded() -> Terms {
    Terms {
        require_tls: true,
        ..Terms::default()
    }
}

#[tokio::test]
async fn what_is_asked_is_said_where_it_is_offered() {
    let everything = Terms {
        priority: Priority::HIGH,
        deliver_by: due(600, ByMode::Notify, true),
        ret: Some(Return::Headers),
        envelope_id: Some("QQ314159".into()),
        ..Terms::default()
    };
    let nothing = Terms::default();
    let late = by(-30, ByMode::Notify);
    let soon = by(60, ByMode::Return);
    let gone = by(0, ByMode::Return);
    #[rustfmt::skip]
    let cases: [(&Terms, Offers, &str, &str); 12] = [
        (&nothing,    &["DSN", "MT-PRIORITY", "DELIVERBY", "REQUIRETLS"], "", ""),
        (&nothing,    &["SIZE"],            " SIZE=39",           ""),
        (&nothing,    &["SIZE 39"],         " SIZE=39",           ""),
        (&everything, NONE,                 "",                   ""),
        (&everything, &["MT-PRIORITY STANAG4406"], " MT-PRIORITY=4", ""),
        (&everything, &["DELIVERBY"],       " BY=600;NT",         ""),
        (&everything, &["DSN"],             " RET=HDRS ENVID=QQ314159",
            " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Vakt@b.nodnett.test"),
        (&everything, &["DSN", "SIZE 0", "PIPELINING", "CHUNKING", "MT-PRIORITY", "DELIVERBY 60"],
            " SIZE=39 MT-PRIORITY=4 BY=600;NT RET=HDRS ENVID=QQ314159",
            " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Vakt@b.nodnett.test"),
        (&late,       &["DELIVERBY 60"],    " BY=-30;N",          ""),
        (&soon,       &["DELIVERBY 60"],    " BY=60;R",           ""),
        (&soon,       &["DELIVERBY 61"],    "",                   ""),
        // RFC 2852 §4: R needs a time above nothing.
        (&gone,       &["DELIVERBY"],       "",                   ""),
    ];
    for (terms, offers, mail, rcpt) in cases {
        let fake = FakeHop::start(offers, &[]).await;
        let mut rows = rows_under(terms, TO);
        if terms.ret.is_some() {
            rows[0].wishes = Wishes {
                notify: Some(Notify {
                    success: true,
                    failure: false,
                    delay: true,
                }),
                original: Some("rfc822;Vakt@b.nodnett.test".into()),
            };
        }
        let attempts = Worker::new().carry(&rows, BYTES, &[hop(fake.port)]).await;
        assert_eq!(words(&attempts), ["delivered"], "{offers:?}: {attempts:?}");
        let reporting = match offers.contains(&"DSN") {
            true => Handover::Reporting,
            false => Handover::Relayed,
        };
        assert_eq!(attempts[0].handover, reporting, "{offers:?}");
        let taken = &fake.taken()[0];
        assert_eq!(taken.mail, format!("{FROM}{mail}"), "{offers:?}");
        let expected = format!("RCPT TO:<vakt@b.nodnett.test>{rcpt}");
        assert_eq!(taken.recipients, [expected], "{offers:?}");
    }
}

/// A hop that is asked late hears of less time, and one that would be asked too late is not asked.
#[tokio::test]
async fn time_that_another_hop_took_is_not_promised_again() {
    let timeouts = Timeouts {
        envelope: Duration::from_millis(1600),
        quit: Duration::from_millis(50),
        ..Timeouts::default()
    };
    for (seconds, mode, asked) in [
        (600, ByMode::Return, true),
        (1, ByMode::Return, false),
        (1, ByMode::Notify, true),
    ] {
        let slow = FakeHop::start(NONE, &[(At::Mail, Fault::Stall)]).await;
        let quick = FakeHop::start(&["DELIVERBY"], &[]).await;
        let rows = rows_under(&by(seconds, mode), TO);
        let hops = [hop(slow.port), hop(quick.port)];
        let mut worker = Worker::with(timeouts);
        let attempts = worker.carry(&rows, BYTES, &hops).await;
        assert_eq!(words(&attempts) == ["delivered"], asked, "{attempts:?}");
        assert_eq!(quick.count("connect"), usize::from(asked));
        let promised = format!("BY={seconds};");
        assert!(!format!("{:?}", quick.taken()).contains(&promised));
        slow.go_on();
    }
}

/// RFC 2033: an LMTP server has the mailbox; what is reported of it is ours to report.
#[tokio::test]
async fn an_lmtp_hop_is_asked_for_no_reports_and_for_no_haste() {
    let terms = Terms {
        ret: Some(Return::Full),
        ..by(60, ByMode::Return)
    };
    let fake = FakeHop::with(LMTP, &["DSN", "PIPELINING"], &[]).await;
    let hops = [NextHop::Lmtp(server(fake.port, HopTls::Opportunistic))];
    let attempts = Worker::new()
        .carry(&rows_under(&terms, TO), BYTES, &hops)
        .await;
    assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
    assert_eq!(attempts[0].handover, Handover::Mailbox);
    assert_eq!(fake.taken()[0].mail, FROM);
}

/// A message whose flags, sender and recipient these are.
fn flagged(eight_bit: bool, smtputf8: bool, sender: &str, recipient: &str) -> Vec<Waiting> {
    let mut rows = rows(&[recipient]);
    for row in &mut rows {
        row.sender = Some(Address::parse(sender).unwrap());
        (row.eight_bit, row.smtputf8) = (eight_bit, smtputf8);
    }
    rows
}

#[tokio::test]
async fn what_a_hop_lacks_is_a_clear_failure() {
    const A: &str = "vakt@a.nodnett.test";
    const B: &str = "vakt@b.nodnett.test";
    const UTF8: &[u8] = "Subject: bl\u{e5}b\u{e6}r\r\n\r\nhei\r\n".as_bytes();
    const EIGHT: &[u8] = b"Subject: x\r\n\r\nbl\xe5\r\n";
    #[rustfmt::skip]
    let cases: [(Vec<Waiting>, &[u8], Offers, &str); 15] = [
        (rows(TO), BYTES, &["SIZE 38"], "5.3.4 the message has 39 octets, and the next hop takes at most 38"),
        (rows(TO), BYTES, &["SIZE 39"], "250 2.0.0 kept"),
        // Said by habit, and needed by nothing.
        (flagged(true, true, A, B), BYTES, NONE, "250 2.0.0 kept"),
        (flagged(true, false, A, B), EIGHT, NONE, "5.6.3 the next hop does not take 8BITMIME, which the message needs"),
        (flagged(true, false, A, B), EIGHT, &["8BITMIME"], "250 2.0.0 kept"),
        // Not declared, and so sent as it came.
        (flagged(false, false, A, B), EIGHT, NONE, "250 2.0.0 kept"),
        (flagged(false, true, A, B), UTF8, &["8BITMIME"], "5.6.9 the next hop does not take SMTPUTF8, which a header field needs"),
        (flagged(false, true, A, B), UTF8, ALL, "250 2.0.0 kept"),
        (flagged(false, true, A, "bl\u{e5}@b.nodnett.test"), BYTES, &["8BITMIME"],
            "5.6.7 the next hop does not take SMTPUTF8, which the address bl\u{e5}@b.nodnett.test needs"),
        (flagged(false, true, "bl\u{e5}@a.nodnett.test", B), BYTES, NONE,
            "5.6.7 the next hop does not take SMTPUTF8, which the address bl\u{e5}@a.nodnett.test needs"),
        // A room's own server has it in time, whatever it knows of RFC 2852.
        (rows_under(&by(60, ByMode::Return), TO), BYTES, ALL, "250 2.0.0 kept"),
        (rows_under(&by(60, ByMode::Return), TO), BYTES, &["DELIVERBY 61"], "250 2.0.0 kept"),
        (rows_under(&by(60, ByMode::Return), TO), BYTES, &["DELIVERBY 60"], "250 2.0.0 kept"),
        (rows_under(&by(60, ByMode::Notify), TO), BYTES, NONE, "250 2.0.0 kept"),
        (rows_under(&guarded(), TO), BYTES, &["REQUIRETLS"],
            "5.7.10 TLS towards the next hop is not offered, and the message requires it"),
    ];
    for (rows, bytes, offers, expected) in cases {
        let fake = FakeHop::start(offers, &[]).await;
        let mut worker = Worker::new();
        let attempts = worker.carry(&rows, bytes, &[hop(fake.port)]).await;
        assert_eq!(told(&attempts[0]), expected, "{offers:?}");
        assert!(attempts[0].reached, "{expected}");
        let sent = usize::from(expected.starts_with("250"));
        assert_eq!((fake.count("MAIL"), fake.taken().len()), (sent, sent));
    }
}

#[tokio::test]
async fn what_one_hop_lacks_another_may_offer() {
    let rows = rows(TO);
    let poor = FakeHop::start(&["SIZE 38"], &[]).await;
    let rich = FakeHop::start(&["SIZE 39"], &[]).await;
    let gone = NextHop::Smtp(server(1, HopTls::Off));
    for (hops, expected) in [
        (vec![hop(poor.port), hop(rich.port)], "delivered"),
        (vec![hop(poor.port), gone.clone()], "deferred"),
        (vec![gone, hop(poor.port)], "deferred"),
        (vec![hop(poor.port)], "failed"),
    ] {
        let attempts = Worker::new().carry(&rows, BYTES, &hops).await;
        assert_eq!(words(&attempts), [expected], "{hops:?}: {attempts:?}");
        assert!(attempts[0].reached, "one of them was");
    }
}

/// RFC 8689 §4.2.1.
#[tokio::test]
async fn a_message_that_requires_tls_goes_only_to_a_hop_that_proves_and_promises_it() {
    let promising: &[&str] = &["STARTTLS", "REQUIRETLS", "PIPELINING"];
    let other = |server: HopServer| HopServer {
        host: "127.0.0.2".into(),
        ..server
    };
    for (offers, expected) in [
        (promising, "250 2.0.0 kept"),
        (
            &["STARTTLS"],
            "5.7.30 the next hop does not promise TLS all the way (REQUIRETLS), which the message requires",
        ),
    ] {
        let fake = FakeHop::with(TLS, offers, &[]).await;
        let rows = rows_under(&guarded(), TO);
        let attempts = Worker::new().carry(&rows, BYTES, &[hop(fake.port)]).await;
        assert_eq!(told(&attempts[0]), expected);
        assert_eq!(
            fake.count("MAIL FROM:<vakt@a.nodnett.test> REQUIRETLS"),
            fake.taken().len()
        );
    }
    // A certificate for another name proves nothing, and may be put right.
    let fake = FakeHop::with(TLS, promising, &[]).await;
    let hops = [NextHop::Smtp(other(server(
        fake.port,
        HopTls::Opportunistic,
    )))];
    let rows = rows_under(&guarded(), TO);
    let attempts = Worker::new().carry(&rows, BYTES, &hops).await;
    assert_eq!(words(&attempts), ["deferred"], "{attempts:?}");
    assert_eq!(fake.taken(), []);
}

/// A connection whose certificate was not looked at is not used for a message that requires it.
#[tokio::test]
async fn a_connection_without_proof_gives_way_to_one_with() {
    let fake = FakeHop::with(TLS, &["STARTTLS", "REQUIRETLS", "PIPELINING"], &[]).await;
    let hops = [hop(fake.port)];
    let mut worker = Worker::new();
    for (terms, connections) in [
        (Terms::default(), 1),
        (Terms::default(), 1),
        (guarded(), 2),
        (guarded(), 2),
        (Terms::default(), 2),
    ] {
        let attempts = worker.carry(&rows_under(&terms, TO), BYTES, &hops).await;
        assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
        assert_eq!(fake.count("connect"), connections);
    }
}

#[tokio::test]
async fn what_never_leaves_the_machine_needs_no_tls() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let _fake = FakeHop::at_socket(&path, ALL, &[]);
    let maildir = NextHop::Maildir(home.path().join("mail"));
    for hop in [NextHop::LmtpSocket(path), maildir] {
        let rows = rows_under(&guarded(), TO);
        let attempts = Worker::new().carry(&rows, BYTES, &[hop]).await;
        assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
        assert_eq!(attempts[0].handover, Handover::Mailbox);
    }
}

#[tokio::test]
async fn chunks_carry_every_octet_as_it_is() {
    let line = b".leading dot\r\n..\r\nbl\xe5 \x00 and no end".as_slice();
    let chunking: &[&[&str]] = &[&["CHUNKING"], &["CHUNKING", "PIPELINING", "8BITMIME"]];
    for offers in chunking {
        for (repeat, bdats) in [(1, 1), (100, 1), (10_000, 1), (80_000, 3), (120_000, 4)] {
            let fake = FakeHop::start(offers.to_vec().leak(), &[]).await;
            let bytes = line.repeat(repeat);
            let rows = rows(TO);
            let attempts = Worker::new().carry(&rows, &bytes, &[hop(fake.port)]).await;
            assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
            let expected = [b"Received: by relay\r\n".as_slice(), &bytes].concat();
            assert!(fake.taken()[0].content == expected, "{repeat} times");
            assert_eq!((fake.count("BDAT"), fake.count("DATA")), (bdats, 0));
        }
    }
}

/// Whoever asks whether a hop is back keeps the connection for the message that goes there first.
#[tokio::test]
async fn a_knock_leaves_the_door_open() {
    let fake = FakeHop::start(ALL, &[]).await;
    let gone = hop(1);
    let mut worker = Worker::new();
    let shut = worker.knock(std::slice::from_ref(&gone)).await.unwrap_err();
    assert_eq!(words(std::slice::from_ref(&shut)), ["deferred"]);
    assert_eq!(
        (shut.hop.as_deref(), shut.reached),
        (Some("smtp://127.0.0.1:1"), false)
    );
    assert!(worker.kept.is_none());
    let hops = [gone, hop(fake.port)];
    worker.knock(&hops).await.unwrap();
    assert_eq!(fake.count("EHLO"), 1);
    let attempts = worker.attempt(TO, &hops).await;
    assert_eq!(words(&attempts), ["delivered"]);
    assert_eq!(fake.count("connect"), 1);
}

#[tokio::test]
async fn a_knock_at_a_maildir_asks_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let mut worker = Worker::new();
    let good = NextHop::Maildir(home.path().join("mail"));
    worker.knock(&[good]).await.unwrap();
    let shut = worker.knock(&[NextHop::Maildir(file)]).await.unwrap_err();
    assert_eq!(
        (words(std::slice::from_ref(&shut)), shut.reached),
        (vec!["deferred"], false)
    );
    let nowhere = worker.knock(&[]).await.unwrap_err();
    assert!(!nowhere.reached);
}
