//! The relay shows a next hop who it is: user and password, or a certificate, and never without TLS.

use std::path::PathBuf;

use ilbud::policy::table::{HopServer, HopTls, NextHop};

use crate::attempt::{Worker, known, server, told, words};
use crate::fake_hop::{At, FakeHop, Fault, Manner, Offers};

const TLS: Manner = Manner {
    lmtp: false,
    tls: true,
    implicit: false,
};
const TO: &[&str] = &["vakt@b.nodnett.test"];

type Mishap = Option<(At, Fault)>;

fn with_password(server: HopServer) -> HopServer {
    known(server, "ilbud", "hemmelig")
}

#[tokio::test]
async fn user_and_password_are_said_under_tls_in_the_way_that_is_offered() {
    #[rustfmt::skip]
    let cases: [(&[&str], &[&str]); 4] = [
        (&["STARTTLS", "AUTH PLAIN"],           &["AUTH PLAIN AGlsYnVkAGhlbW1lbGln"]),
        (&["STARTTLS", "AUTH LOGIN PLAIN"],     &["AUTH PLAIN AGlsYnVkAGhlbW1lbGln"]),
        (&["STARTTLS", "AUTH LOGIN"],           &["AUTH LOGIN", "aWxidWQ=", "aGVtbWVsaWc="]),
        (&["STARTTLS", "AUTH CRAM-MD5 LOGIN"],  &["AUTH LOGIN", "aWxidWQ=", "aGVtbWVsaWc="]),
    ];
    for (offers, expected) in cases {
        for tls in [HopTls::Opportunistic, HopTls::Required] {
            let fake = FakeHop::with(TLS, offers.to_vec().leak(), &[]).await;
            let hops = [NextHop::Smtp(with_password(server(fake.port, tls)))];
            let mut worker = Worker::new();
            for _ in 0..2 {
                let attempts = worker.attempt(TO, &hops).await;
                assert_eq!(words(&attempts), ["delivered"], "{offers:?}: {attempts:?}");
            }
            let heard = fake.heard();
            let after_tls = heard.iter().skip_while(|it| *it != "STARTTLS").skip(2);
            let said: Vec<&String> = after_tls.take(expected.len()).collect();
            assert_eq!(said, expected);
            assert_eq!((fake.count("connect"), fake.count("AUTH")), (1, 1));
        }
    }
}

#[tokio::test]
async fn tls_from_the_first_byte_will_do() {
    let manner = Manner {
        implicit: true,
        ..TLS
    };
    let fake = FakeHop::with(manner, &["AUTH PLAIN"], &[]).await;
    let hops = [NextHop::Smtps(with_password(server(
        fake.port,
        HopTls::Required,
    )))];
    let attempts = Worker::new().attempt(TO, &hops).await;
    assert_eq!(words(&attempts), ["delivered"], "{attempts:?}");
}

#[tokio::test]
async fn what_keeps_the_relay_out_names_the_user_and_never_the_password() {
    let plain = Manner::default();
    let refused = Fault::Say("535 5.7.8 no such user");
    let careless = Fault::Say("535 5.7.8 hemmelig is wrong");
    let encoded = Fault::Say("535 AGlsYnVkAGhlbW1lbGln is wrong");
    let parting = Fault::Say("421 4.7.0 aGVtbWVsaWc= is wrong, goodbye");
    let garbled = Fault::Say("?? hemmelig");
    let elsewhere = Fault::Say("334 VXNlcm5hbWU6");
    #[rustfmt::skip]
    let cases: [(Manner, HopTls, Offers, Mishap, &str); 12] = [
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, refused)),
            r#"the next hop does not let user "ilbud" log in: 535 5.7.8 no such user"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, careless)),
            r#"the next hop does not let user "ilbud" log in: 535 5.7.8 (its words repeat the password)"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, encoded)),
            r#"the next hop does not let user "ilbud" log in: 535 (its words repeat the password)"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, parting)),
            "421 4.7.0 (its words repeat the password)"),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, garbled)),
            "the answer makes no sense: (its words repeat the password)"),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, elsewhere)),
            r#"the next hop does not let user "ilbud" log in: 334 VXNlcm5hbWU6"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Auth, Fault::Drop)),
            "the connection was closed without an answer (while logging in)"),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH GSSAPI"], None,
            r#"the next hop offers neither AUTH PLAIN nor AUTH LOGIN, so user "ilbud" cannot log in"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS"], None,
            r#"the next hop offers neither AUTH PLAIN nor AUTH LOGIN, so user "ilbud" cannot log in"#),
        (plain, HopTls::Opportunistic, &["AUTH PLAIN"], None,
            r#"TLS is not offered, and the password of user "ilbud" is never sent in plain text: let the server offer STARTTLS, or take user and password out of the next hop"#),
        (plain, HopTls::Off,           &["STARTTLS", "AUTH PLAIN"], None,
            r#"TLS is switched off, and the password of user "ilbud" is never sent in plain text: let the server offer STARTTLS, or take user and password out of the next hop"#),
        (TLS,   HopTls::Opportunistic, &["STARTTLS", "AUTH PLAIN"], Some((At::Handshake, Fault::Drop)),
            "TLS: "),
    ];
    for (manner, tls, offers, fault, expected) in cases {
        let faults: Vec<_> = fault.into_iter().collect();
        let fake = FakeHop::with(manner, offers, &faults).await;
        let hops = [NextHop::Smtp(with_password(server(fake.port, tls)))];
        let attempts = Worker::new().attempt(TO, &hops).await;
        assert_eq!(words(&attempts), ["deferred"], "{offers:?} {faults:?}");
        assert!(!attempts[0].reached, "{attempts:?}");
        let told = told(&attempts[0]);
        assert!(told.starts_with(expected), "{told}");
        assert!(
            !["hemmelig", "aGVtbWVsaWc", "hlbW1lbGln"]
                .iter()
                .any(|it| format!("{attempts:?}").contains(it)),
            "{attempts:?}"
        );
        assert_eq!(fake.count("MAIL"), 0);
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_shown_is_said() {
    for (tls, expected) in [
        (HopTls::Opportunistic, "TLS is not offered, and without it"),
        (HopTls::Off, "TLS is switched off, and without it"),
    ] {
        let fake = FakeHop::start(&["PIPELINING"], &[]).await;
        let server = HopServer {
            client_certificate: Some(PathBuf::from("relay.pem")),
            ..server(fake.port, tls)
        };
        let attempts = Worker::new().attempt(TO, &[NextHop::Smtp(server)]).await;
        assert_eq!(words(&attempts), ["deferred"]);
        let told = told(&attempts[0]);
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(fake.taken(), []);
    }
}
