//! The engine `icap`: each fault of a service has its verdict, and never is that clean.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilbud::mail::{Identity, Unscannable, Verdict, Why};
use ilbud::scan::icap::{Icap, Method, Settings};
use ilbud::scan::{Part, Scanner, Specimen};
use ilbud::tls::{Outgoing, Voucher};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::fake_icap::{CLEAN, EICAR, FakeIcap, Fault, INFECTED, OPTIONS};
use crate::wait;

const HARMLESS: &str = "Subject: hello\r\n\r\nAll is quiet.\r\n";

fn engine(url: &str) -> Icap {
    Icap::new(Settings::at(url.parse().unwrap()))
}

fn specimen(message: impl Into<Bytes>) -> Arc<Specimen> {
    Arc::new(Specimen::whole(message.into()))
}

/// A scan that comes to an end.
async fn scan(icap: &Icap, specimen: Arc<Specimen>) -> Verdict {
    let patience = Duration::from_secs(60);
    let verdict = tokio::time::timeout(patience, icap.scan(specimen)).await;
    verdict.expect("the scan comes to an end")
}

async fn harmless(icap: &Icap) -> String {
    scan(icap, specimen(HARMLESS)).await.to_string()
}

fn with_preview(size: usize) -> String {
    OPTIONS.replace("Allow", &format!("Preview: {size}\r\nAllow"))
}

/// Asks a service with this fault of a harmless message; the service is fine afterwards.
async fn under(options: &str, fault: Fault) -> Verdict {
    // Where it hangs up without a word it is asked once more, on a connection of its own.
    let times = match fault {
        Fault::Close | Fault::CloseEarly => 2,
        _ => 1,
    };
    let fake = FakeIcap::start(options, &vec![fault; times]);
    let icap = engine(&fake.url());
    let verdict = scan(&icap, specimen(HARMLESS)).await;
    fake.go_on();
    assert_eq!(harmless(&icap).await, "clean", "after {fault:?}");
    assert_eq!(
        scan(&icap, specimen(EICAR)).await.to_string(),
        "infected: Fake.Eicar",
        "after {fault:?}"
    );
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_faults_finds_what_is_there() {
    let ordinary = OPTIONS.to_owned();
    for options in [
        ordinary,
        with_preview(0),
        with_preview(10),
        with_preview(4096),
    ] {
        let fake = FakeIcap::start(&options, &[]);
        let icap = engine(&fake.url());
        assert_eq!(harmless(&icap).await, "clean");
        let infected = scan(&icap, specimen(EICAR)).await;
        assert_eq!(infected.to_string(), "infected: Fake.Eicar");
        assert_eq!(harmless(&icap).await, "clean");
        let bodies: Vec<_> = fake.asked().into_iter().map(|it| it.body).collect();
        assert_eq!(
            bodies,
            [HARMLESS, EICAR, HARMLESS].map(|it| it.as_bytes().to_vec())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_verdict() {
    #[rustfmt::skip]
    let cases = [
        (Fault::Close, "unscannable: down: the service has hung up, before its answer"),
        (Fault::SayAndClose("ICAP/1.0 20"), "unscannable: down: the service has hung up, in the middle of its answer"),
        (Fault::SayAndClose("ICAP/1.0 204 No Content\r\n"), "unscannable: down: the service has hung up, in the middle of its answer"),
        (Fault::Say("PONG\r\n\r\n"), "unscannable: broken: its first line is no ICAP status"),
        (Fault::Say("HTTP/1.1 204 No Content\r\n\r\n"), "unscannable: broken: its first line is no ICAP status"),
        (Fault::Say("ICAP/1.0 204 No Content\r\n\r\nICAP/1.0 204 No Content\r\n\r\n"), "unscannable: broken: it answered twice"),
        (Fault::Say("ICAP/1.0 204 No Content\r\n\r\nICAP/1.0 200 OK\r\nX-Virus-ID: other"), "unscannable: broken: it answered twice"),
        (Fault::Say("ICAP/1.0 204 No Content\r\n\r\n\r\n"), "clean"),
        (Fault::Dribble(CLEAN), "clean"),
        (Fault::Dribble(INFECTED), "infected: Fake.Eicar"),
        (Fault::SayAndClose(CLEAN), "clean"),
        (Fault::SayAndClose("ICAP/1.0 204 No Content\r\nConnection: close\r\n\r\n"), "clean"),
        (Fault::Say("ICAP/1.0 100 Continue\r\n\r\n"), "unscannable: broken: it asks for more when there is no more"),
        (Fault::SayAndClose("ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar\r\n\r\n"), "infected: Eicar"),
        (Fault::SayAndClose("ICAP/1.0 200 OK\r\n\r\n"), "unscannable: broken: 200 came without the message or a page"),
        (Fault::SayAndClose("ICAP/1.0 404 ICAP Service not found\r\n\r\n"), "unscannable: down: 404 ICAP Service not found"),
        (Fault::Say("ICAP/1.0 500 Server error\r\nEncapsulated: null-body=0\r\n\r\n"), "unscannable: broken: 500 Server error"),
        (Fault::SayAndClose("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=26\r\n\r\nHTTP/1.1 403 VirusFound\r\n\r\n"), "infected: blocked by the ICAP service"),
        // Of another message.
        (Fault::Say("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=48\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\n\r\n\
                     5\r\nother\r\n0\r\n\r\n"), "unscannable: broken: it gave back other content, and no reason"),
        (Fault::Echo, "clean"),
    ];
    for (fault, verdict) in cases {
        assert_eq!(
            under(OPTIONS, fault).await.to_string(),
            verdict,
            "{fault:?}"
        );
    }
}

/// Whether the message itself may be to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_service_has_seen_can_be_to_blame() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("icap://{}/av", unused.local_addr().unwrap());
    drop(unused);
    let Verdict::Unscannable(Unscannable { why, begun, .. }) =
        scan(&engine(&url), specimen(HARMLESS)).await
    else {
        panic!("nobody is there");
    };
    assert_eq!((why, begun), (Why::Down, false));
    let closed = under(OPTIONS, Fault::CloseEarly).await;
    assert!(
        matches!(
            closed,
            Verdict::Unscannable(Unscannable {
                why: Why::Down,
                begun: true,
                ..
            })
        ),
        "{closed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_say_nothing_are_in_nobodys_way() {
    for options in [
        "",
        CLEAN,
        "ICAP/1.0 404 ICAP Service not found\r\n\r\n",
        "ICAP/1.0 405 Method not allowed\r\nEncapsulated: null-body=0\r\n\r\n",
        "ICAP/1.0 200 OK\r\n\r\n",
        "ICAP/1.0 200 OK\r\nMethods: \r\nPreview: much\r\nMax-Connections: none\r\nOptions-TTL: -1\r\nEncapsulated: null-body=0\r\n\r\n",
        "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nEncapsulated: opt-body=0\r\n\r\n4\r\nwhat\r\n0\r\n\r\n",
        "hello\r\n\r\n",
        // It waits for something else.
        "ICAP/1.0 200",
    ] {
        let fake = FakeIcap::start(options, &[]);
        let icap = engine(&fake.url());
        assert_eq!(harmless(&icap).await, "clean", "{options:?}");
        let infected = scan(&icap, specimen(EICAR)).await;
        assert_eq!(infected.to_string(), "infected: Fake.Eicar", "{options:?}");
        let asked = fake.asked();
        assert!(asked.iter().all(|it| it.head.starts_with("RESPMOD ")));
        assert!(
            asked
                .iter()
                .all(|it| it.head.contains("\r\nAllow: 204\r\n"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_method_is_what_the_service_does_or_the_settings_say() {
    let reqmod = OPTIONS.replace("RESPMOD", "REQMOD");
    let fake = FakeIcap::start(&reqmod, &[]);
    assert_eq!(harmless(&engine(&fake.url())).await, "clean");
    let mut settings = Settings::at(fake.url().parse().unwrap());
    settings.method = Some(Method::Respmod);
    assert_eq!(harmless(&Icap::new(settings)).await, "clean");
    let heads = fake.asked();
    assert!(heads[0].head.starts_with("REQMOD "), "{}", heads[0].head);
    assert!(
        heads[0].head.contains("\r\nPOST http://"),
        "{}",
        heads[0].head
    );
    assert!(heads[1].head.starts_with("RESPMOD "), "{}", heads[1].head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_is_shown_where_it_is_asked_for() {
    let fake = FakeIcap::start(&with_preview(10), &[]);
    let icap = engine(&fake.url());
    assert_eq!(harmless(&icap).await, "clean");
    assert_eq!(scan(&icap, specimen("short")).await.to_string(), "clean");
    let asked = fake.asked();
    assert!(asked[0].head.contains("\r\nPreview: 10\r\n"));
    assert!(asked[1].head.contains("\r\nPreview: 5\r\n"));
    assert_eq!(asked[1].body, b"short");

    let options = with_preview(10);
    #[rustfmt::skip]
    let cases = [
        // It has found something in it.
        (Fault::AtPreview(INFECTED), "infected: Fake.Eicar"),
        // It need not see more: then it is given all of it.
        (Fault::AtPreview(CLEAN), "clean"),
        (Fault::AtPreview("ICAP/1.0 500 Server error\r\n\r\n"), "unscannable: broken: 500 Server error"),
        // It does not wait for the rest.
        (Fault::AtPreview("ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 No Content\r\n\r\n"), "unscannable: broken: it answered before it had the whole of it"),
        (Fault::AtPreview("ICAP/1.0 204 No Content\r\n\r\nICAP/1.0 204 No Content\r\n\r\n"), "unscannable: broken: it answered twice"),
        (Fault::AtPreview("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=48\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\n\r\n"),
            "unscannable: broken: it gave back other content, and no reason"),
    ];
    for (fault, verdict) in cases {
        assert_eq!(
            under(&options, fault).await.to_string(),
            verdict,
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_that_passes_is_not_the_whole() {
    let fake = FakeIcap::start(&with_preview(10), &[Fault::AtPreview(CLEAN)]);
    let icap = engine(&fake.url());
    let message = format!("{HARMLESS}{EICAR}");
    let verdict = scan(&icap, specimen(message.clone())).await;
    assert_eq!(verdict.to_string(), "infected: Fake.Eicar");
    let asked = fake.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, &message.as_bytes()[..10]);
    assert_eq!(asked[1].body, message.as_bytes());
    assert!(!asked[1].head.contains("Preview"));
}

/// c-icap says 204 to a beginning where it does not scan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_c_icap_lets_pass_is_not_clean() {
    let options =
        with_preview(4096).replace("Fake AV 1.0", "C-ICAP/0.5.10 server - Antivirus service");
    let fake = FakeIcap::start(&options, &[Fault::AtPreview(CLEAN)]);
    let icap = engine(&fake.url());
    let passed = harmless(&icap).await;
    assert!(
        passed.starts_with("unscannable: limit: c-icap let it pass"),
        "{passed}"
    );
    assert_eq!(harmless(&icap).await, "clean");
    let asked = fake.asked();
    let shown = format!("\r\nPreview: {}\r\n", HARMLESS.len() - 1);
    assert!(asked[1].head.contains(&shown), "{}", asked[1].head);
    assert_eq!(asked[1].body, HARMLESS.as_bytes());

    // It does not say so by OPTIONS, but in its answer: then it is asked as c-icap is.
    let said = Fault::Say("ICAP/1.0 204 Unmodified\r\nServer: C-ICAP/0.5.10\r\n\r\n");
    let fake = FakeIcap::start("", &[said, Fault::AtPreview(CLEAN)]);
    let icap = engine(&fake.url());
    let passed = harmless(&icap).await;
    assert!(
        passed.starts_with("unscannable: limit: c-icap let it pass"),
        "{passed}"
    );
    assert_eq!(harmless(&icap).await, "clean");
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_settings_say_is_not_shown() {
    let fake = FakeIcap::start(OPTIONS, &[]);
    let mut settings = Settings::at(fake.url().parse().unwrap());
    settings.max_size = Some(HARMLESS.len() as u64);
    let icap = Icap::new(settings);
    assert_eq!(harmless(&icap).await, "clean");
    let more = format!("{HARMLESS}.");
    let size = more.len();
    assert_eq!(
        scan(&icap, specimen(more)).await.to_string(),
        format!(
            "unscannable: too large: {size} octets, and max_size is {}",
            size - 1
        )
    );
    assert_eq!(fake.asked().len(), 1);
}

/// Puts TLS in front of a port; gives the port where it is, and who vouches for it.
async fn with_tls(target: u16, home: &Path) -> (u16, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authority = home.join("av.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut here) = acceptor.accept(stream).await else {
                    return;
                };
                let there = tokio::net::TcpStream::connect(("127.0.0.1", target)).await;
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there.unwrap()).await;
            });
        }
    });
    (port, authority)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_spoken_with_under_tls() {
    let home = tempfile::tempdir().unwrap();
    let fake = FakeIcap::start(&with_preview(10), &[]);
    let (port, authority) = with_tls(fake.port, home.path()).await;
    let mut settings = Settings::at(format!("icaps://localhost:{port}/av").parse().unwrap());
    settings.tls = Some(Outgoing {
        voucher: Voucher::Own(authority),
        pin: None,
        identity: None,
    });
    let icap = Icap::new(settings.clone());
    for _ in 0..5 {
        assert_eq!(harmless(&icap).await, "clean");
    }
    assert_eq!(scan(&icap, specimen(large())).await.to_string(), "clean");
    assert_eq!(fake.connections(), 1);
    assert_eq!(
        scan(&icap, specimen(EICAR)).await.to_string(),
        "infected: Fake.Eicar"
    );

    // Nobody vouches for it under that name.
    settings.place.host = "127.0.0.1".into();
    let said = harmless(&Icap::new(settings)).await;
    assert!(said.starts_with("unscannable: down: "), "{said}");
    assert!(said.contains("certificate"), "{said}");
}

/// OPTIONS that hang do not use up every scan's time anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_are_not_asked_for_again_by_each_scan() {
    let fake = FakeIcap::start("ICAP/1.0 200", &[]);
    let icap = engine(&fake.url());
    let first = icap.scan(specimen(HARMLESS));
    let given_up = tokio::time::timeout(Duration::ZERO, first).await;
    assert!(given_up.is_err());
    for _ in 0..3 {
        assert_eq!(harmless(&icap).await, "clean");
    }
    assert!(fake.options_asked() <= 1, "{}", fake.options_asked());

    let fake = FakeIcap::start(OPTIONS, &[]);
    let icap = engine(&fake.url());
    for _ in 0..3 {
        assert_eq!(harmless(&icap).await, "clean");
    }
    assert_eq!(fake.options_asked(), 1);
    let brief = OPTIONS.replace("600", "0");
    let fake = FakeIcap::start(&brief, &[]);
    let icap = engine(&fake.url());
    let asked_again = || {
        let scan = icap.scan(specimen(HARMLESS));
        assert_eq!(awaited(scan).to_string(), "clean");
        fake.options_asked() > 1
    };
    wait::until("OPTIONS to be asked for again", asked_again);
}

fn awaited<T>(it: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(it))
}

fn large() -> Bytes {
    let line = "0123456789 0123456789 0123456789 0123456789 0123456789 012345\r\n";
    format!("Subject: large\r\n\r\n{}", line.repeat(130_000)).into()
}

/// Neither waits for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_holds_up_nobody() {
    #[rustfmt::skip]
    let cases = [
        (Fault::Early("ICAP/1.0 503 Service overloaded\r\n\r\n"), "unscannable: down: 503 Service overloaded"),
        (Fault::Early(INFECTED), "infected: Fake.Eicar"),
        (Fault::Early(CLEAN), "unscannable: broken: it answered before it had the whole of it"),
        (Fault::EarlyAndRead(CLEAN), "unscannable: broken: it answered before it had the whole of it"),
        (Fault::Echo, "clean"),
        (Fault::Right, "clean"),
    ];
    for (fault, verdict) in cases {
        let fake = FakeIcap::start(OPTIONS, &[fault]);
        let icap = engine(&fake.url());
        let said = scan(&icap, specimen(large())).await;
        assert_eq!(said.to_string(), verdict, "{fault:?}");
        fake.go_on();
        assert_eq!(harmless(&icap).await, "clean", "after {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hangs_is_given_up_with_its_connection() {
    let fake = FakeIcap::start(OPTIONS, &[Fault::Hang]);
    let icap = engine(&fake.url());
    let scan = tokio::spawn(icap.scan(specimen(HARMLESS)));
    let asked = || fake.asked().len() == 1;
    wait::until("the request", asked);
    scan.abort();
    assert!(scan.await.unwrap_err().is_cancelled());
    fake.go_on();
    wait::until("its end", || fake.open().0 == 0);
    assert_eq!(harmless(&icap).await, "clean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_used_again_while_they_are_in_step() {
    let fake = FakeIcap::start(OPTIONS, &[]);
    let icap = engine(&fake.url());
    for _ in 0..20 {
        assert_eq!(harmless(&icap).await, "clean");
    }
    assert_eq!(fake.connections(), 1);
    // What was found is not read to its end.
    assert_eq!(
        scan(&icap, specimen(EICAR)).await.to_string(),
        "infected: Fake.Eicar"
    );
    assert_eq!(harmless(&icap).await, "clean");
    assert_eq!(fake.connections(), 2);

    fake.add(&[Fault::RightAndClose]);
    assert_eq!(harmless(&icap).await, "clean");
    wait::until("the service hangs up", || fake.open().0 == 0);
    assert_eq!(harmless(&icap).await, "clean");
    assert_eq!(fake.connections(), 3);

    // Once it was closed while the request was on its way.
    fake.add(&[Fault::CloseEarly]);
    assert_eq!(harmless(&icap).await, "clean");
    assert_eq!(fake.connections(), 4);
    // And never twice.
    fake.add(&[Fault::Close, Fault::Close]);
    assert_eq!(
        harmless(&icap).await,
        "unscannable: down: the service has hung up, before its answer"
    );
    assert_eq!(harmless(&icap).await, "clean");
}

/// An answer that was there before the question is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_unasked_is_believed_by_nobody() {
    let fake = FakeIcap::start(OPTIONS, &[Fault::RightAndLater(CLEAN)]);
    let icap = engine(&fake.url());
    assert_eq!(harmless(&icap).await, "clean");
    fake.go_on();
    // It has been said when the second stall begins; the hearer's side of loopback has it then.
    wait::until("the words are there", || fake.said_later());
    let infected = scan(&icap, specimen(EICAR)).await;
    assert_eq!(infected.to_string(), "infected: Fake.Eicar");
    assert_eq!(fake.connections(), 2);
    fake.go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_are_named_and_seen_decoded() {
    let fake = FakeIcap::start(
        &OPTIONS.replace("Allow", "Transfer-Ignore: jpg\r\nAllow"),
        &[],
    );
    let icap = engine(&fake.url());
    let part = |name: &str, bytes: &'static str| Part::new(name, bytes.into());
    let specimen = Arc::new(Specimen {
        parts: vec![
            part("plan ø.pdf", "a plan"),
            part("invoice.com", EICAR),
            part("empty", ""),
            part("picture.jpg", "a picture"),
        ],
        ..Specimen::whole(HARMLESS.into())
    });
    assert_eq!(
        scan(&icap, Arc::clone(&specimen)).await.to_string(),
        "infected: Fake.Eicar in invoice.com"
    );
    let asked = fake.asked();
    let mut lines: Vec<&str> = asked
        .iter()
        .map(|it| {
            it.head
                .lines()
                .find(|line| line.starts_with("GET "))
                .unwrap()
        })
        .collect();
    // They come at once, the message before them.
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "GET http://ilbud.invalid/message.eml HTTP/1.1",
            "GET http://ilbud.invalid/attachment-4 HTTP/1.1",
            "GET http://ilbud.invalid/invoice.com HTTP/1.1",
            "GET http://ilbud.invalid/plan%20%C3%B8.pdf HTTP/1.1",
        ]
    );
    // Both in the message and in the attachment: told once.
    let both = Arc::new(Specimen {
        parts: vec![part("a.com", EICAR)],
        ..Specimen::whole(EICAR.into())
    });
    assert_eq!(
        scan(&icap, both).await.to_string(),
        "infected: Fake.Eicar in a.com"
    );

    let mut settings = Settings::at(fake.url().parse().unwrap());
    settings.attachments = false;
    assert_eq!(
        scan(&Icap::new(settings), specimen).await.to_string(),
        "clean"
    );

    let before = fake.asked().len();
    let numbered = |it: usize| Part::new("x", (it % 600).to_string().into());
    let many = Arc::new(Specimen {
        parts: (0..10_000).map(numbered).collect(),
        ..Specimen::whole(HARMLESS.into())
    });
    assert_eq!(scan(&icap, many).await.to_string(), "clean");
    assert_eq!(fake.asked().len() - before, 601, "each content once");
}

/// Found is found, though the service hangs before it has said in what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_is_said_though_the_attachment_is_not() {
    let fake = FakeIcap::start(OPTIONS, &[Fault::Say(INFECTED), Fault::Hang]);
    let specimen = Arc::new(Specimen {
        parts: vec![Part::new("a.zip", "a".into())],
        ..Specimen::whole(HARMLESS.into())
    });
    assert_eq!(
        scan(&engine(&fake.url()), specimen).await.to_string(),
        "infected: Fake.Eicar"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_the_service_takes() {
    let options = OPTIONS.replace("Allow", "Max-Connections: 2\r\nAllow");
    let fake = FakeIcap::start(&options, &[]);
    let icap = engine(&fake.url());
    let scans: Vec<_> = (0..30)
        .map(|_| tokio::spawn(icap.scan(specimen(HARMLESS))))
        .collect();
    for scan in scans {
        assert_eq!(scan.await.unwrap().to_string(), "clean");
    }
    assert!(fake.open().1 <= 2, "{:?}", fake.open());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_who_it_is() {
    let fake = FakeIcap::start(
        &OPTIONS.replace("Allow", "X-Definition-Info: 20261120.003\r\nAllow"),
        &[],
    );
    let identity = engine(&fake.url()).identify().await;
    assert_eq!(
        identity,
        Ok(Identity {
            version: Some("Fake AV 1.0".into()),
            signatures: Some("20261120.003".into()),
            signatures_at: Some("2026-11-20T00:00:00Z".parse().unwrap()),
        })
    );
    let fake = FakeIcap::start("ICAP/1.0 404 Not here\r\n\r\n", &[]);
    let unknown = engine(&fake.url()).identify().await;
    assert_eq!(
        unknown,
        Err("OPTIONS was answered with 404 Not here".into())
    );
}
