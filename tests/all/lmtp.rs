//! LMTP next hops (RFC 2033): an answer for each recipient, over TCP and over a Unix socket.

use std::time::Duration;

use ilbud::delivery::client::Timeouts;
use ilbud::delivery::outcome::{Attempt, Handover};
use ilbud::policy::table::{HopTls, NextHop};

use crate::attempt::{Worker, server, words};
use crate::fake_hop::{ALL, At, FakeHop, Fault, Manner};

const CHUNKING: &[&str] = &["PIPELINING", "8BITMIME", "CHUNKING"];
const LMTP: Manner = Manner {
    lmtp: true,
    tls: false,
    implicit: false,
};

const FOUR: [&str; 4] = [
    "a@b.nodnett.test",
    "b@b.nodnett.test",
    "c@b.nodnett.test",
    "d@b.nodnett.test",
];

fn tcp(fake: &FakeHop) -> NextHop {
    NextHop::Lmtp(server(fake.port, HopTls::Opportunistic))
}

fn impatient() -> Timeouts {
    Timeouts {
        final_dot: Duration::from_millis(200),
        ..Timeouts::default()
    }
}

/// A letter a recipient: d(eferred), f(ailed), p(ossibly delivered), D(elivered).
fn letters(attempts: &[Attempt]) -> String {
    let letter = |word: &str| match word {
        "delivered" => 'D',
        word => word.chars().next().unwrap(),
    };
    words(attempts).into_iter().map(letter).collect()
}

#[tokio::test]
async fn each_recipient_has_the_answer_that_is_its_own() {
    use Fault::{Drop, Half, Raw, Right, Say, Split, Stall};
    #[rustfmt::skip]
    let cases: [(&[(At, Fault)], &str); 14] = [
        (&[], "DDDD"),
        (&[(At::Dot, Split), (At::Dot, Split)], "DDDD"),
        (&[(At::Dot, Right), (At::Dot, Say("452 4.2.2 full")), (At::Dot, Say("550 5.1.1 gone"))], "DdfD"),
        (&[(At::Dot, Say("552 5.2.2 full"))], "fDDD"),
        // Those that were answered stay as they are; nobody knows about the others.
        (&[(At::Dot, Drop)], "pppp"),
        (&[(At::Dot, Right), (At::Dot, Drop)], "Dppp"),
        (&[(At::Dot, Right), (At::Dot, Say("550 5.1.1 gone")), (At::Dot, Half)], "Dfpp"),
        (&[(At::Dot, Say("451 4.3.0 later")), (At::Dot, Stall)], "dppp"),
        (&[(At::Dot, Right), (At::Dot, Raw(b"HTTP/1.1 200 OK\r\n"))], "Dppp"),
        (&[(At::Dot, Right), (At::Dot, Say("354 go"))], "Dppp"),
        (&[(At::Dot, Right), (At::Dot, Say("421 4.3.2 closing"))], "DdDD"),
        (&[(At::Dot, Say("421 4.3.2 closing")), (At::Dot, Drop)], "dppp"),
        // Who was refused at RCPT is not answered again.
        (&[(At::Rcpt, Say("550 5.1.1 gone")), (At::Dot, Right), (At::Dot, Say("450 4.2.1 busy"))], "fDdD"),
        (&[(At::Data, Say("451 4.3.0 later"))], "dddd"),
    ];
    for offers in [ALL, CHUNKING, &[]] {
        for (faults, expected) in &cases {
            if offers == CHUNKING && faults.iter().any(|(at, _)| *at == At::Data) {
                continue;
            }
            let fake = FakeHop::with(LMTP, offers, faults).await;
            let mut worker = Worker::with(impatient());
            let attempts = worker.attempt(&FOUR, &[tcp(&fake)]).await;
            assert_eq!(letters(&attempts), *expected, "{faults:?}, {offers:?}");
            assert!(attempts.iter().all(|it| it.reached));
            let kept: usize = fake.taken().iter().map(|it| it.recipients.len()).sum();
            let delivered = expected.matches('D').count();
            assert!(kept >= delivered, "{faults:?}, {offers:?}");
            fake.go_on();
        }
    }
}

#[tokio::test]
async fn who_was_deferred_is_taken_to_the_next_hop_and_no_one_else() {
    let faults = [
        (At::Dot, Fault::Right),
        (At::Dot, Fault::Say("452 4.2.2 full")),
        (At::Dot, Fault::Say("550 5.1.1 gone")),
        (At::Dot, Fault::Drop),
    ];
    let one = FakeHop::with(LMTP, ALL, &faults).await;
    let two = FakeHop::with(LMTP, ALL, &[]).await;
    let hops = [tcp(&one), tcp(&two)];
    let attempts = Worker::new().attempt(&FOUR, &hops).await;
    assert_eq!(letters(&attempts), "DDfp");
    assert_eq!(two.taken()[0].recipients, ["RCPT TO:<b@b.nodnett.test>"]);
}

#[tokio::test]
async fn a_unix_socket_is_a_next_hop_and_its_connection_is_used_again() {
    let home = tempfile::tempdir().unwrap();
    for (name, offers) in [("all", ALL), ("chunking", CHUNKING), ("none", &[])] {
        let path = home.path().join(name);
        let faults = [(At::Rcpt, Fault::Say("550 5.1.1 gone"))];
        let fake = FakeHop::at_socket(&path, offers, &faults);
        let hops = [NextHop::LmtpSocket(path)];
        let mut worker = Worker::new();
        let first = worker.attempt(&FOUR, &hops).await;
        let second = worker.attempt(&FOUR, &hops).await;
        assert_eq!((&*letters(&first), &*letters(&second)), ("fDDD", "DDDD"));
        assert_eq!((fake.count("connect"), fake.count("LHLO")), (1, 1));
        assert_eq!(fake.taken().len(), 2);
        assert!(second.iter().all(|it| it.handover == Handover::Mailbox));
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_can_be_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let hops = [NextHop::LmtpSocket(home.path().join("gone"))];
    let attempts = Worker::new().attempt(&FOUR, &hops).await;
    assert_eq!(letters(&attempts), "dddd");
    assert!(attempts.iter().all(|it| !it.reached));
}

#[tokio::test]
async fn a_hop_that_speaks_smtp_is_no_lmtp_hop() {
    let fake = FakeHop::start(ALL, &[]).await;
    let attempts = Worker::new().attempt(&FOUR, &[tcp(&fake)]).await;
    assert_eq!(letters(&attempts), "dddd");
    assert_eq!(fake.count("HELO"), 0, "SMTP's way back is not LMTP's");
}

#[tokio::test]
async fn tls_is_started_where_it_is_offered() {
    let manner = Manner { tls: true, ..LMTP };
    let fake = FakeHop::with(manner, &["PIPELINING", "STARTTLS"], &[]).await;
    let hops = [NextHop::Lmtp(server(fake.port, HopTls::Required))];
    let attempts = Worker::new().attempt(&FOUR, &hops).await;
    assert_eq!(letters(&attempts), "DDDD", "{attempts:?}");
    assert!(attempts[0].tls.as_deref().unwrap().starts_with("TLSv1"));
    assert_eq!(fake.count("LHLO"), 2);
}
