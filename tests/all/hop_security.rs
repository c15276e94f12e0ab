//! TLS towards next hops: whom the relay believes, what it shows of itself, and that nothing of a
//! message is said to a hop that does not prove who it is.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, free_port, room};
use crate::wait;

/// A room's mail server that has a certificate, may want to see one, and keeps what it hears.
struct Guarded {
    port: u16,
    tls: Arc<Mutex<Arc<ServerConfig>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Guarded {
    /// Shows `relay.pem` of `certs`, and wants a certificate that `clients` vouches for.
    fn start(certs: &Path, clients: Option<&Path>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let guarded = Self {
            port: listener.local_addr().unwrap().port(),
            tls: Arc::new(Mutex::new(configured(certs, clients))),
            heard: Arc::default(),
        };
        let (tls, heard) = (Arc::clone(&guarded.tls), Arc::clone(&guarded.heard));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, heard) = (tls.lock().unwrap().clone(), Arc::clone(&heard));
                std::thread::spawn(move || converse(stream.unwrap(), tls, &heard));
            }
        });
        guarded
    }

    fn hop(&self, options: &str) -> String {
        format!("smtp://127.0.0.1:{}{options}", self.port)
    }

    /// From now on it shows another certificate.
    fn change(&self, certs: &Path) {
        *self.tls.lock().unwrap() = configured(certs, None);
    }

    /// Commands, each with how it was said: `plain EHLO`, `tls MAIL`.
    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn heard_mail(&self, how: &str) -> bool {
        self.heard().contains(&format!("{how} MAIL"))
    }
}

fn configured(certs: &Path, clients: Option<&Path>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(authority)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_file(certs.join("relay.key")).unwrap();
    let chain = vec![certificate(&certs.join("relay.pem"))];
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn fingerprint(file: &Path) -> String {
    let octets: [u8; 32] = Sha256::digest(certificate(file)).into();
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// The other side may hang up at any point.
fn converse(stream: TcpStream, tls: Arc<ServerConfig>, heard: &Mutex<Vec<String>>) {
    let mut plain = BufReader::new(stream);
    if serve(&mut plain, "plain", true, heard).is_none() {
        return;
    }
    let connection = ServerConnection::new(tls).unwrap();
    let mut secret = BufReader::new(StreamOwned::new(connection, plain.into_inner()));
    serve(&mut secret, "tls", false, heard);
}

/// `Some` when TLS is to begin.
fn serve<S: Read + Write>(
    stream: &mut BufReader<S>,
    how: &str,
    greets: bool,
    heard: &Mutex<Vec<String>>,
) -> Option<()> {
    let say = |stream: &mut BufReader<S>, text: &str| {
        let stream = stream.get_mut();
        stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        stream.flush().ok()
    };
    if greets {
        say(stream, "220 guarded ESMTP")?;
    }
    loop {
        let verb = line(stream)?.split([' ', ':']).next()?.to_owned();
        heard.lock().unwrap().push(format!("{how} {verb}"));
        match verb.as_str() {
            "EHLO" if greets => say(stream, "250-guarded\r\n250-8BITMIME\r\n250 STARTTLS")?,
            "STARTTLS" => return say(stream, "220 2.0.0 go"),
            "DATA" => {
                say(stream, "354 go")?;
                while line(stream)? != "." {}
                // One message, and it hangs up: each comes with a handshake of its own.
                return say(stream, "250 2.0.0 kept").and(None);
            }
            "EHLO" => say(stream, "250-guarded\r\n250 8BITMIME")?,
            _ => say(stream, "250 2.0.0 ok")?,
        }
    }
}

fn line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}

/// A relay with an authority of its own in `certs`, and one that nobody told it of in `strange`.
fn relay() -> Relay {
    let relay = Setup::no_rooms().tls("starttls").prepare();
    relay.make_certificates("strange");
    relay
}

/// Starts the relay with room `a`, and rooms `b`, `c`, … at these hops.
fn start(relay: &mut Relay, hops: &[String]) {
    let others = ('b'..).zip(hops);
    let others = others.map(|(letter, hop)| room(&letter.to_string(), hop, ""));
    let table: String = others.chain([room("a", "maildir:mail/a", "")]).collect();
    relay.apply(&table);
    relay.start();
}

/// Sends to a room; gives the reference.
fn send(relay: &Relay, letter_of_room: char) -> String {
    let to = vakt(&letter_of_room.to_string());
    let message = letter(&vakt("a"), &to);
    let reply = relay.client("a").send(&vakt("a"), &[&to], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

/// The words of the first attempt, which did not deliver.
fn deferral(relay: &Relay, reference: &str) -> String {
    wait::find("an attempt", || {
        let rows = relay.rows(&["log", "show", reference]);
        let row = rows.iter().find(|row| row["event"] == "deferred")?;
        Some(row["reason"].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_hop_that_proves_who_it_is_gets_mail_over_tls() {
    let mut relay = relay();
    let (ours, strange) = (relay.path("certs"), relay.path("strange"));
    let pin = fingerprint(&strange.join("relay.pem"));
    let cases = [
        (&ours, "?tls=required".to_owned(), "tls"),
        (&strange, "?ca=strange/ca.pem".to_owned(), "tls"),
        (&strange, format!("?pin=sha256:{pin}"), "tls"),
        (
            &strange,
            format!("?ca=strange/ca.pem&pin=sha256:{pin}"),
            "tls",
        ),
        (&strange, String::new(), "tls"),
        (&strange, "?tls=off".to_owned(), "plain"),
    ];
    let guarded = cases
        .each_ref()
        .map(|(certs, ..)| Guarded::start(certs, None));
    let hops = cases.iter().zip(&guarded);
    let hops: Vec<String> = hops
        .map(|((_, options, _), hop)| hop.hop(options))
        .collect();
    start(&mut relay, &hops);
    for (letter, (hop, (_, options, how))) in ('b'..).zip(guarded.iter().zip(&cases)) {
        let reference = send(&relay, letter);
        relay.expect_events(&reference, &["accepted", "delivered"]);
        let row = relay.story(&reference).remove(1);
        assert!(hop.heard_mail(how), "{options}: {:?}", hop.heard());
        assert_eq!(row["tls"] == "none", *how == "plain", "{options}: {row}");
    }
}

#[test]
fn a_hop_that_does_not_prove_who_it_is_gets_nothing() {
    let mut relay = relay();
    let strange = relay.path("strange");
    let pin = fingerprint(&relay.path("certs/relay.pem"));
    let cases = [
        ("?tls=required".to_owned(), "certificate"),
        ("?ca=certs/ca.pem".to_owned(), "certificate"),
        (
            format!("?pin=sha256:{pin}"),
            "TLS: the certificate is not the pinned one",
        ),
        (
            format!("?ca=strange/ca.pem&pin=sha256:{pin}"),
            "TLS: the certificate is not the pinned one",
        ),
    ];
    let hop = Guarded::start(&strange, None);
    start(
        &mut relay,
        &cases.each_ref().map(|(options, _)| hop.hop(options)),
    );
    for (letter, (options, words)) in ('b'..).zip(&cases) {
        let reason = deferral(&relay, &send(&relay, letter));
        assert!(reason.contains(words), "{options}: {reason}");
    }
    assert!(
        !hop.heard_mail("plain") && !hop.heard_mail("tls"),
        "{:?}",
        hop.heard()
    );
}

#[test]
fn a_pin_is_not_asked_for_a_name_but_an_authority_is() {
    let mut relay = relay();
    let hop = Guarded::start(&relay.path("strange"), None);
    let pin = fingerprint(&relay.path("strange/relay.pem"));
    // 127.0.0.9 is not among the names in the certificate.
    let port = Forward::from("127.0.0.9", hop.port).port;
    start(
        &mut relay,
        &[
            format!("smtp://127.0.0.9:{port}?ca=strange/ca.pem"),
            format!("smtp://127.0.0.9:{port}?pin=sha256:{pin}"),
        ],
    );
    let reason = deferral(&relay, &send(&relay, 'b'));
    assert!(reason.contains("127.0.0.9"), "{reason}");
    relay.expect_events(&send(&relay, 'c'), &["accepted", "delivered"]);
}

/// The same server at another address.
pub struct Forward {
    pub port: u16,
}

impl Forward {
    pub fn from(address: &str, to: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
                for (mut from, mut into) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    std::thread::spawn(move || std::io::copy(&mut from, &mut into));
                }
            }
        });
        Self { port }
    }
}

#[test]
fn a_missing_authority_is_our_own_trouble_until_it_is_there() {
    let mut relay = relay();
    let hop = Guarded::start(&relay.path("strange"), None);
    start(&mut relay, &[hop.hop("?ca=later.pem")]);
    let reason = deferral(&relay, &send(&relay, 'b'));
    assert!(reason.contains("later.pem"), "{reason}");
    assert!(!hop.heard_mail("plain") && !hop.heard_mail("tls"));

    fs::copy(relay.path("strange/ca.pem"), relay.path("later.pem")).unwrap();
    wait::until("an empty queue", || relay.queue_is_empty());
    assert!(hop.heard_mail("tls"));
}

#[test]
fn authorities_exchanged_on_disk_are_taken_up() {
    for (option, file) in [
        ("?ca=own.pem", "own.pem"),
        ("?tls=required", "certs/ca.pem"),
    ] {
        let mut relay = relay();
        let file = relay.path(file);
        if !file.exists() {
            fs::copy(relay.path("certs/ca.pem"), &file).unwrap();
        }
        let hop = Guarded::start(&relay.path("certs"), None);
        start(&mut relay, &[hop.hop(option)]);
        relay.expect_events(&send(&relay, 'b'), &["accepted", "delivered"]);

        // What was good stays in force while the file is not.
        fs::write(&file, "not a certificate").unwrap();
        relay.expect_events(&send(&relay, 'b'), &["accepted", "delivered"]);
        let words = "what was read before stays in use";
        wait::until("a word about it", || relay.log().contains(words));

        fs::copy(relay.path("strange/ca.pem"), &file).unwrap();
        hop.change(&relay.path("strange"));
        relay.expect_events(&send(&relay, 'b'), &["accepted", "delivered"]);
    }
}

#[test]
fn the_relay_shows_its_certificate_where_it_is_asked_to() {
    let mut relay = relay();
    relay.done(&["certs", "dev", "--folder", "strange", "ilbud.hop.test"]);
    let strange = relay.path("strange");
    let certificate = fs::read_to_string(strange.join("ws-ilbud.hop.test.pem")).unwrap();
    let key = fs::read_to_string(strange.join("ws-ilbud.hop.test.key")).unwrap();
    let both = relay.path("both.pem");
    fs::write(&both, format!("{certificate}{key}")).unwrap();
    fs::set_permissions(&both, fs::Permissions::from_mode(0o600)).unwrap();
    let pair =
        "client_certificate=strange/ws-ilbud.hop.test.pem&client_key=strange/ws-ilbud.hop.test.key";
    let hop = Guarded::start(&strange, Some(&strange.join("ca.pem")));
    start(
        &mut relay,
        &[
            hop.hop("?ca=strange/ca.pem"),
            hop.hop("?ca=strange/ca.pem&client_certificate=both.pem"),
            hop.hop(&format!("?ca=strange/ca.pem&{pair}")),
            hop.hop("?client_certificate=both.pem"),
        ],
    );
    deferral(&relay, &send(&relay, 'b'));
    assert!(!hop.heard_mail("plain") && !hop.heard_mail("tls"));
    for letter in ['c', 'd', 'e'] {
        relay.expect_events(&send(&relay, letter), &["accepted", "delivered"]);
    }
    assert!(!hop.heard_mail("plain"), "{:?}", hop.heard());
}

#[test]
fn check_warns_of_what_next_hops_name_and_cannot_be_used() {
    let relay = relay();
    relay.done(&["certs", "dev", "--folder", "strange", "ilbud.hop.test"]);
    let pair = "client_certificate=strange/ws-ilbud.hop.test.pem&client_key";
    for (options, words) in [
        ("?ca=nowhere.pem".to_owned(), "nowhere.pem: "),
        (
            "?ca=strange/ca.key".to_owned(),
            "strange/ca.key: has no certificate in it",
        ),
        (
            "?client_certificate=strange/relay.pem".to_owned(),
            "strange/relay.pem: ",
        ),
        (
            format!("?{pair}=strange/relay.key"),
            "does not belong to the key strange/relay.key",
        ),
    ] {
        let hop = format!("smtp://127.0.0.1:25{options}");
        relay.apply(&[room("a", "maildir:mail/a", ""), room("b", &hop, "")].concat());
        let output = relay.run(&["check"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{complaint}");
        let line = complaint.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{options}: {complaint}"));
        assert!(line.contains("room \"room-b\""), "{line}");
    }
}
