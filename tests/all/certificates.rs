//! Who a workstation's certificate says it is: believed while it is good, in open sessions too, and
//! never in the way of a session that needs none. Lists of revocation are made as certs/README.md says.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::{Client, letter, vakt};
use crate::clock_steps::Clock;
use crate::peer;
use crate::postfix::Postfix;
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

/// The workstation that certs/README.md revokes.
const NAME: &str = "ws1.amk-oslo.nodnett.test";
const FILE: &str = "ws-ws1.amk-oslo.nodnett.test";
/// An address of no room.
const ELSEWHERE: &str = "127.0.9.9";
const DAY: i64 = 24 * 3600;

/// Room `a` with a workstation that is known by its certificate, from wherever, and one by its address.
fn setup(tls: &str) -> Setup {
    let workstations = format!(
        "[[room.workstation]]\ncertificate = \"{NAME}\"\n\
         [[room.workstation]]\nnetwork = \"127.0.1.0/24\"\n"
    );
    Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &workstations)
        .room("b", "maildir:mail/b")
        .tls(tls)
}

/// The same, with a revocation list that is empty yet.
fn revocable(setup: Setup) -> Relay {
    let relay = setup.settings("client_crl = \"certs/ca.crl\"").prepare();
    follow_the_readme(&relay, "cat >crl.cnf");
    relay
}

fn started(mut relay: Relay) -> Relay {
    relay.start();
    relay
}

/// Runs the commands of certs/README.md that hold `mark`.
fn follow_the_readme(relay: &Relay, mark: &str) {
    let page = include_str!("../../certs/README.md");
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.map(|it| it.split("```").next().unwrap());
    let commands = blocks.find(|it| it.contains(mark)).unwrap();
    let output = peer::command("sh")
        .args(["-ec", commands])
        .current_dir(relay.home())
        .output()
        .unwrap();
    peer::succeeded("certs/README.md", &output);
}

fn openssl(folder: &Path, arguments: &[&str]) -> Output {
    peer::command("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn make(folder: &Path, arguments: &[&str]) {
    peer::succeeded("openssl", &openssl(folder, arguments));
}

/// A list of the development authority with these dates, of what is revoked so far.
fn make_list(relay: &Relay, file: &str, more: &[&str]) {
    let usual = ["ca", "-config", "crl.cnf", "-gencrl", "-out", file];
    make(&relay.path("certs"), &[&usual[..], more].concat());
}

fn revoke(relay: &Relay) {
    fs::copy(relay.path("certs/ca.crl"), relay.path("certs/empty.crl")).unwrap();
    follow_the_readme(relay, "-revoke");
}

fn put_in_place(relay: &Relay, new: &str, file: &str) {
    let certs = relay.path("certs");
    fs::rename(certs.join(new), certs.join(file)).unwrap();
}

/// A session in which the certificate of `file` was shown.
fn shown(relay: &Relay, source: &str, file: &str) -> Client {
    let mut client = Client::greeted(relay.port, source);
    assert_eq!(client.say("STARTTLS").code, 220);
    client.shake_hands_as(&relay.path("certs"), file);
    assert_eq!(client.say("EHLO ws.test").code, 250);
    client
}

fn mail_from_a(client: &mut Client) -> String {
    let reply = client.say(format!("MAIL FROM:<{}>", vakt("a")));
    client.say("RSET");
    format!("{} {}", reply.code, reply.text())
}

/// The certificate that the log has of what was sent.
fn expect_sent(relay: &Relay, client: &mut Client) -> Option<String> {
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    let story = relay.rows(&["log", "show", &sent.reference()]);
    story[0]["certificate"].as_str().map(str::to_owned)
}

fn wait_until_revoked(relay: &Relay) {
    wait::until("the revocation", || {
        mail_from_a(&mut shown(relay, ELSEWHERE, FILE)).contains("was revoked")
    });
}

#[test]
fn what_is_revoked_proves_nothing_until_it_is_good_again() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = started(revocable(setup("starttls")));
    let mut open = shown(&relay, ELSEWHERE, FILE);
    let certificate = expect_sent(&relay, &mut open);
    assert_eq!(certificate.as_deref(), Some(NAME));
    let mut at_home = shown(&relay, "127.0.1.9", FILE);
    let mut under_way = shown(&relay, ELSEWHERE, FILE);
    assert!(under_way.envelope(&vakt("a"), &[&vakt("b")], "").is_none());

    revoke(&relay);
    wait_until_revoked(&relay);
    // A session that was open, and one that is new.
    for client in [&mut open, &mut shown(&relay, ELSEWHERE, FILE)] {
        let refused = client.say(format!("MAIL FROM:<{}>", vakt("a")));
        assert_eq!(refused.said().get(..3), Some("530"), "{refused}");
        let words = format!("Your certificate {NAME} was revoked");
        assert!(refused.text().contains(&words), "{refused}");
        let row = relay.refusal(&refused.reference());
        assert!(row["reply"].as_str().unwrap().contains(&words), "{row}");
        let story = relay.rows(&["log", "show", &refused.reference()]);
        let rule = story[0]["rule"].as_str().unwrap();
        let told = format!("{NAME} (was revoked)");
        assert_eq!(
            (&story[0]["certificate"], &row["certificate"]),
            (&told.as_str().into(), &told.as_str().into())
        );
        // By it the refusal is found.
        let found = column(&relay.rows(&["log", "search", NAME]), "ref");
        assert!(found.contains(&refused.reference()), "{found:?}");
        assert!(
            rule.ends_with(&format!("; its certificate {NAME} was revoked")),
            "{rule}"
        );
    }
    let found = relay.rows(&["log", "search", "ws1.amk-oslo"]);
    assert!(found.len() >= 2, "{found:?}");
    assert!(
        relay
            .log()
            .contains(&format!("the certificate {NAME} was revoked"))
    );
    // What it is known by besides still counts, and what was accepted before is taken.
    let certificate = expect_sent(&relay, &mut at_home);
    assert_eq!(certificate, Some(format!("{NAME} (was revoked)")));
    let kept = under_way.data(&letter(&vakt("a"), &vakt("b")));
    assert_eq!(kept.said(), "250 2.0.0", "{kept}");

    put_in_place(&relay, "empty.crl", "ca.crl");
    wait::until("the way back", || {
        mail_from_a(&mut shown(&relay, ELSEWHERE, FILE)).starts_with("250")
    });
    expect_sent(&relay, &mut open);
}

#[test]
fn where_strangers_pass_who_shows_what_was_revoked_is_none() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let lines = format!(
        "[[room.workstation]]\ncertificate = \"{NAME}\"\n\
         [room.strictness]\nunknown_workstations = \"report\"\n"
    );
    let setup = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &lines)
        .room("b", "maildir:mail/b")
        .tls("starttls");
    let relay = started(revocable(setup));
    let mut open = shown(&relay, ELSEWHERE, FILE);
    expect_sent(&relay, &mut open);
    revoke(&relay);
    wait_until_revoked(&relay);
    let refused = open.say(format!("MAIL FROM:<{}>", vakt("a")));
    assert_eq!(refused.said(), "530 5.7.0", "{refused}");
    let certificate = expect_sent(&relay, &mut Client::greeted(relay.port, ELSEWHERE));
    assert_eq!(certificate, None);
}

#[test]
fn a_login_with_a_certificate_ends_with_it() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = started(revocable(setup("starttls")));
    let logged_in = || {
        let mut client = shown(&relay, ELSEWHERE, FILE);
        assert_eq!(client.say("AUTH EXTERNAL =").said(), "235 2.7.0");
        client
    };
    let mut open = logged_in();
    let mut under_way = shown(&relay, ELSEWHERE, FILE);
    assert_eq!(under_way.say("AUTH EXTERNAL").code, 334);
    expect_sent(&relay, &mut open);
    revoke(&relay);
    wait_until_revoked(&relay);
    let refused = mail_from_a(&mut open);
    assert!(refused.contains("was revoked"), "{refused}");
    let refused = under_way.say("");
    assert_eq!(refused.said(), "535 5.7.8", "{refused}");
    for mut client in [open, under_way, shown(&relay, ELSEWHERE, FILE)] {
        let offered = client.say("EHLO ws.test");
        assert!(!offered.text().contains("EXTERNAL"), "{offered}");
        let refused = client.say("AUTH EXTERNAL =");
        assert_eq!(refused.code, 504, "{refused}");
        assert!(refused.text().contains("was revoked"), "{refused}");
    }
}

#[test]
fn a_certificate_that_expires_takes_its_session_along() {
    if !peer::all_here(&["faketime"]) {
        return;
    }
    let clock = Clock::new();
    let relay = clock.run(setup("starttls"));
    let mut open = shown(&relay, ELSEWHERE, FILE);
    assert_eq!(open.say("AUTH EXTERNAL =").said(), "235 2.7.0");
    expect_sent(&relay, &mut open);
    clock.set(1000 * DAY);
    for client in [&mut open, &mut shown(&relay, ELSEWHERE, FILE)] {
        let refused = mail_from_a(client);
        assert!(
            refused.contains(&format!("Your certificate {NAME} expired at 20")),
            "{refused}"
        );
    }
    // Good again, in the session that had seen it end too.
    clock.set(0);
    for client in [&mut open, &mut shown(&relay, ELSEWHERE, FILE)] {
        expect_sent(&relay, client);
    }
    clock.set(-1000 * DAY);
    let refused = mail_from_a(&mut shown(&relay, ELSEWHERE, FILE));
    assert!(refused.contains("is not valid before 20"), "{refused}");
}

/// openssl, from an address, with more arguments; it says this in the session and hears the rest.
fn s_client(relay: &Relay, source: &str, arguments: &[&str], said: &str) -> Output {
    let mut child = peer::command("openssl")
        .args(["s_client", "-starttls", "smtp", "-quiet", "-crlf"])
        .args(["-connect", &format!("127.0.0.1:{}", relay.port)])
        .args(["-bind", &format!("{source}:0")])
        .args(arguments)
        .current_dir(relay.path("certs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // Where the handshake has failed nobody listens.
    let _ = pipe.write_all(said.as_bytes());
    drop(pipe);
    child.wait_with_output().unwrap()
}

fn dialogue() -> String {
    let letter = String::from_utf8(letter(&vakt("a"), &vakt("b"))).unwrap();
    format!(
        "EHLO ws.test\nMAIL FROM:<{}>\nRCPT TO:<{}>\nDATA\n{}.\nQUIT\n",
        vakt("a"),
        vakt("b"),
        letter.replace("\r\n", "\n"),
    )
}

/// What the relay said after the handshake.
fn heard(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A message from `source` with the certificate and key of `file`, by openssl; the last word about it.
fn by_openssl(relay: &Relay, source: &str, file: &str, version: &str) -> String {
    let (certificate, key) = (format!("{file}.pem"), format!("{file}.key"));
    let shows = ["-cert", &certificate, "-key", &key, version];
    let weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    heard(&s_client(
        relay,
        source,
        &[&shows[..], &weak].concat(),
        &dialogue(),
    ))
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// Certificates that are nothing to us: `openssl req` makes them with these arguments.
const STRANGE: [(&str, &[&str]); 10] = [
    ("rsa", &["-newkey", "rsa:2048"]),
    ("rsa1024", &["-newkey", "rsa:1024"]),
    (
        "rsa-pss",
        &["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    ("sha1", &["-newkey", "rsa:2048", "-sha1"]),
    (
        "p384",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ),
    (
        "p521",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
    ),
    (
        "secp256k1",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
    ),
    (
        "brainpool",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:brainpoolP256r1",
        ],
    ),
    ("ed25519", &["-newkey", "ed25519"]),
    ("ed448", &["-newkey", "ed448"]),
];

fn make_strange(certs: &Path, name: &str, arguments: &[&str]) {
    let (key, file) = (format!("{name}.key"), format!("{name}.pem"));
    let usual = [
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=strange",
        "-days",
        "30",
        "-keyout",
        &key,
        "-out",
        &file,
        "-addext",
        "subjectAltName=DNS:ws1.amk-oslo.nodnett.test",
    ];
    make(certs, &[&usual[..], arguments].concat());
}

/// A certificate without extensions, which is of version 1.
fn make_ancient(certs: &Path) {
    let ask = [
        "req",
        "-new",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-subj",
        "/CN=ancient",
    ];
    make(
        certs,
        &[&ask[..], &["-keyout", "v1.key", "-out", "v1.csr"]].concat(),
    );
    let sign = [
        "x509", "-req", "-in", "v1.csr", "-signkey", "v1.key", "-days", "30",
    ];
    make(certs, &[&sign[..], &["-out", "v1.pem"]].concat());
}

/// Signed by the development authority, as `change` wants it; with a key of its own.
fn sign(certs: &Path, file: &str, change: impl FnOnce(&mut CertificateParams)) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    change(&mut params);
    let signed = params.signed_by(&key, &authority(certs)).unwrap();
    fs::write(certs.join(format!("{file}.pem")), signed.pem()).unwrap();
    fs::write(certs.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

fn authority(certs: &Path) -> Issuer<'static, KeyPair> {
    let read = |file: &str| fs::read_to_string(certs.join(file)).unwrap();
    let key = KeyPair::from_pem(&read("ca.key")).unwrap();
    Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap()
}

/// Signed by the development authority, with a key of this kind.
fn sign_kind(certs: &Path, file: &str, kind: &[&str]) {
    let (key, ask, pem) = (
        format!("{file}.key"),
        format!("{file}.csr"),
        format!("{file}.pem"),
    );
    let name = format!("subjectAltName=DNS:{NAME}");
    let usual = [
        "req", "-new", "-nodes", "-subj", "/CN=ws1", "-addext", &name,
    ];
    make(
        certs,
        &[&usual[..], &["-keyout", &key, "-out", &ask], kind].concat(),
    );
    let usual = [
        "x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
    ];
    let files = ["-copy_extensions", "copy", "-in", &ask, "-out", &pem];
    make(certs, &[&usual[..], &files].concat());
}

#[test]
fn a_strange_certificate_is_in_nobody_s_way() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = setup("starttls").start();
    let certs = relay.path("certs");
    let mut files = vec!["v1".to_owned()];
    make_ancient(&certs);
    for (name, arguments) in STRANGE {
        make_strange(&certs, name, arguments);
        files.push(name.to_owned());
    }
    for file in &files {
        for version in VERSIONS {
            let known = by_openssl(&relay, "127.0.1.9", file, version);
            assert!(known.contains("\n250 2.0.0 "), "{file} {version}: {known}");
            let unknown = by_openssl(&relay, ELSEWHERE, file, version);
            assert!(
                unknown.contains("530 5.7.0 ") || unknown.contains("530-5.7.0 "),
                "{file} {version}: {unknown}"
            );
            assert!(
                !unknown.contains("250 2.1.0"),
                "{file} {version}: {unknown}"
            );
        }
    }
}

#[test]
fn each_doubt_is_told_and_nothing_of_it_breaks_the_session() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = setup("starttls").start();
    let certs = relay.path("certs");
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    sign(&certs, "expired", |it| it.not_after = year(2020));
    sign(&certs, "future", |it| it.not_before = year(2090));
    sign(&certs, "nameless", |it| it.subject_alt_names.clear());
    sign(&certs, "server", |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    sign_kind(&certs, "short", &["-newkey", "rsa:1024"]);
    sign_kind(&certs, "sha1", &["-newkey", "rsa:2048"]);
    let again = [
        "x509", "-req", "-sha1", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
    ];
    let files = [
        "-copy_extensions",
        "copy",
        "-in",
        "sha1.csr",
        "-out",
        "sha1.pem",
    ];
    make(&certs, &[&again[..], &files].concat());
    make_strange(&certs, "self", &["-newkey", "rsa:2048"]);
    make_ancient(&certs);
    relay.done(&["certs", "dev", "--folder", "stranger", NAME]);
    let foreign = format!("../stranger/{FILE}");
    for (file, name, doubt) in [
        ("expired", NAME, "expired at 2020-01-01T00:00:00.000Z"),
        (
            "future",
            NAME,
            "is not valid before 2090-01-01T00:00:00.000Z",
        ),
        ("nameless", "without a DNS name", "has no DNS name in it"),
        ("server", NAME, "is not meant for clients"),
        ("short", NAME, "has a key that could not be checked"),
        (
            "sha1",
            NAME,
            "is not fit: its signature is of a kind that is not used here",
        ),
        ("self", NAME, "is not fit: it is that of an authority"),
        (&foreign, NAME, "is of an authority that is not known here"),
        ("v1", "without a DNS name", "cannot be read"),
    ] {
        for version in VERSIONS {
            let refused = by_openssl(&relay, ELSEWHERE, file, version);
            let words = format!("Your certificate {name} {doubt}");
            assert!(refused.contains(&words), "{file} {version}: {refused}");
            let known = by_openssl(&relay, "127.0.1.9", file, version);
            assert!(known.contains("\n250 2.0.0 "), "{file} {version}: {known}");
        }
    }
}

#[test]
fn a_good_certificate_may_have_any_key_that_can_be_checked() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = setup("starttls").start();
    let certs = relay.path("certs");
    for (name, kind) in STRANGE {
        if ["rsa", "p384", "p521", "ed25519"].contains(&name) {
            sign_kind(&certs, name, kind);
            for version in VERSIONS {
                let sent = by_openssl(&relay, ELSEWHERE, name, version);
                assert!(sent.contains("\n250 2.0.0 "), "{name} {version}: {sent}");
            }
        }
    }
}

#[test]
fn a_certificate_without_its_key_or_without_sense_proves_nothing() {
    let relay = setup("starttls").start();
    let certs = relay.path("certs");
    let own = CertificateDer::from_pem_file(certs.join(format!("{FILE}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(certs.join(format!("{FILE}.key"))).unwrap();
    let another = PrivateKeyDer::from_pem_file(certs.join("relay.key")).unwrap();
    let malformed = CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff, 7]);
    let many = vec![own.clone(); 40];
    let few = vec![own.clone(); 16];
    for (chain, key, said) in [
        (
            vec![own.clone()],
            &another,
            "has a key that could not be checked",
        ),
        (vec![malformed.clone()], &key, "cannot be read"),
        (
            vec![CertificateDer::from(Vec::new())],
            &key,
            "cannot be read",
        ),
        (vec![own.clone(), malformed], &key, "250 2.1.0 "),
        (few, &key, "250 2.1.0 "),
        (many, &key, "is not fit: 39 others come with it"),
    ] {
        for source in [ELSEWHERE, "127.0.1.9"] {
            let mut client = Client::greeted(relay.port, source);
            assert_eq!(client.say("STARTTLS").code, 220);
            client.shake_hands_showing(&certs, chain.clone(), key.clone_key());
            assert_eq!(client.say("EHLO ws.test").code, 250);
            let answer = mail_from_a(&mut client);
            let said = match source {
                ELSEWHERE => said,
                _ => "250 2.1.0 ",
            };
            assert!(answer.contains(said), "{source} {said}: {answer}");
        }
    }
}

#[test]
fn only_what_our_authority_has_signed_leaves_a_line_in_the_log() {
    let relay = setup("starttls").start();
    let certs = relay.path("certs");
    relay.done(&["certs", "dev", "--folder", "stranger", NAME]);
    for folder in [&certs, &relay.path("stranger")] {
        sign(folder, "expired", |it| {
            it.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
    }
    let own = CertificateDer::from_pem_file(certs.join(format!("{FILE}.pem"))).unwrap();
    let another = PrivateKeyDer::from_pem_file(certs.join("relay.key")).unwrap();
    let mut client = Client::greeted(relay.port, ELSEWHERE);
    assert_eq!(client.say("STARTTLS").code, 220);
    client.shake_hands_showing(&certs, vec![own], another);
    assert_eq!(client.say("EHLO ws.test").code, 250);
    for file in ["../stranger/expired", "expired"] {
        shown(&relay, ELSEWHERE, file);
    }
    let lines = || {
        let log = relay.log();
        let lines = log.lines().filter(|it| it.contains("the certificate "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let line = format!("the certificate {NAME} expired at 2020-01-01");
    wait::until("its line", || lines().iter().any(|it| it.contains(&line)));
    assert_eq!(lines().len(), 1, "{:?}", lines());
}

#[test]
fn openssl_is_known_by_its_certificate_until_it_is_revoked() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    for (listener, starttls) in [("starttls", true), ("implicit", false)] {
        let mut relay = revocable(setup(listener));
        relay.launch();
        wait::until("the listener", || {
            std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
        });
        let say = |version: &str| match starttls {
            true => by_openssl(&relay, ELSEWHERE, FILE, version),
            false => directly(&relay, FILE, version),
        };
        for version in VERSIONS {
            let sent = say(version);
            assert!(sent.contains("\n250 2.0.0 "), "{version}: {sent}");
        }
        revoke(&relay);
        for version in VERSIONS {
            wait::until("the revocation", || say(version).contains("was revoked"));
        }
    }
}

/// TLS from the first byte.
fn directly(relay: &Relay, file: &str, version: &str) -> String {
    let mut child = peer::command("openssl")
        .args(["s_client", "-quiet", "-crlf", version])
        .args(["-connect", &format!("127.0.0.1:{}", relay.port)])
        .args(["-bind", &format!("{ELSEWHERE}:0")])
        .args([
            "-cert",
            &format!("{file}.pem"),
            "-key",
            &format!("{file}.key"),
        ])
        .current_dir(relay.path("certs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(dialogue().as_bytes()).unwrap();
    drop(pipe);
    heard(&child.wait_with_output().unwrap())
}

const SMTPLIB: &str = r#"
import smtplib, ssl, sys
port, certs, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=certs + "/ca.pem")
context.load_cert_chain(certs + "/" + name + ".pem", certs + "/" + name + ".key")
with smtplib.SMTP("localhost", port, source_address=("127.0.9.9", 0)) as s:
    s.starttls(context=context)
    s.ehlo()
    print(s.esmtp_features["auth"])
    try:
        s.sendmail("vakt@a.nodnett.test", ["vakt@b.nodnett.test"], "From: vakt@a.nodnett.test\r\n\r\nhei\r\n")
        print("sent")
    except smtplib.SMTPSenderRefused as e:
        print(e.smtp_code, e.smtp_error.decode())
"#;

#[test]
fn smtplib_is_known_by_its_certificate_until_it_is_revoked() {
    if !peer::all_here(&["openssl", "python3"]) {
        return;
    }
    let relay = started(revocable(setup("starttls")));
    let (port, certs) = (relay.port.to_string(), relay.path("certs"));
    let say = || peer::python(SMTPLIB, &[&port, certs.to_str().unwrap(), FILE]);
    let sent = say();
    assert!(sent.contains("EXTERNAL") && sent.contains("sent"), "{sent}");
    revoke(&relay);
    wait_until_revoked(&relay);
    let refused = say();
    assert!(!refused.contains("EXTERNAL"), "{refused}");
    assert!(
        refused.contains("530") && refused.contains("was revoked"),
        "{refused}"
    );
}

#[test]
fn swaks_is_known_by_its_certificate_until_it_is_revoked() {
    if !peer::all_here(&["openssl", "swaks"]) {
        return;
    }
    let relay = started(revocable(setup("starttls")));
    let port = relay.port.to_string();
    let (certificate, key) = (format!("{FILE}.pem"), format!("{FILE}.key"));
    let swaks = || {
        peer::command("swaks")
            .args(["--server", "127.0.0.1", "--port", &port, "--tls"])
            .args(["--local-interface", ELSEWHERE, "--ehlo", "ws.test"])
            .args(["--tls-cert", &certificate, "--tls-key", &key])
            .args(["--from", &vakt("a"), "--to", &vakt("b")])
            .current_dir(relay.path("certs"))
            .output()
            .unwrap()
    };
    peer::succeeded("swaks", &swaks());
    revoke(&relay);
    wait_until_revoked(&relay);
    let refused = swaks();
    // MAIL was refused.
    assert_eq!(refused.status.code(), Some(23), "{}", heard(&refused));
    assert!(
        heard(&refused).contains("was revoked"),
        "{}",
        heard(&refused)
    );
}

#[test]
fn postfix_is_a_gateway_by_its_certificate_until_it_is_revoked() {
    if !peer::all_here(&["openssl", "postfix", "root"]) {
        return;
    }
    let relay = revocable(Setup::no_rooms().tls("required"));
    let gateway = format!("[[gateway]]\nname = \"inn\"\ncertificate = \"{NAME}\"\n");
    relay.apply(&(room("b", "maildir:mail/b", "") + &gateway));
    let relay = started(relay);
    let certs = relay.path("certs");
    let file = |end: &str| certs.join(format!("{FILE}.{end}")).display().to_string();
    let postfix = Postfix::set(
        "nobody.test",
        &certs,
        &[
            &format!("relayhost = [127.0.0.1]:{}", relay.port),
            "smtp_tls_security_level = encrypt",
            "smtp_tls_loglevel = 1",
            "smtp_tls_session_cache_database = btree:${data_directory}/sessions",
            &format!("smtp_tls_cert_file = {}", file("pem")),
            &format!("smtp_tls_key_file = {}", file("key")),
        ],
    );
    let bring = |from: &str| {
        let mut client = Client::greeted(postfix.port, "127.0.0.1");
        let sent = client.send(from, &[&vakt("b")], &letter(from, &vakt("b")));
        assert_eq!(sent.code, 250, "{sent}");
    };
    bring("one@elsewhere.test");
    wait::until("what came in", || relay.maildir("b", "vakt").len() == 1);
    revoke(&relay);
    wait_until_revoked(&relay);
    bring("two@elsewhere.test");
    let words = format!("Your certificate {NAME} was revoked");
    wait::until("the refusal", || postfix.log().contains(&words));
    let refused = |row: &serde_json::Value| {
        row["sender"].to_string().contains("two@elsewhere.test")
            && row["reply"].to_string().contains(&words)
    };
    wait::until("its row", || {
        relay
            .rows(&["log", "search", "revoked"])
            .iter()
            .any(refused)
    });
    put_in_place(&relay, "empty.crl", "ca.crl");
    wait::until("the way back", || {
        let mut client = shown(&relay, ELSEWHERE, FILE);
        client.say("MAIL FROM:<x@elsewhere.test>").code == 250
    });
    bring("three@elsewhere.test");
    wait::until("what came in", || relay.maildir("b", "vakt").len() == 2);
}

/// The start and `check` fail, and name the file and this.
fn expect_fault(relay: &Relay, words: &str) {
    for command in ["check", "serve"] {
        let complaint = relay.fails(1, &[command]);
        assert!(
            complaint.contains(words),
            "{command}: {complaint}, not {words}"
        );
        assert!(complaint.contains("certs/ca.crl"), "{command}: {complaint}");
    }
}

#[test]
fn a_list_that_cannot_be_used_stops_the_start() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = revocable(setup("starttls"));
    let list = relay.path("certs/ca.crl");
    relay.done(&["check"]);
    for (content, words) in [
        (&b""[..], "has no revocation list in it"),
        (b"not a list", "has no revocation list in it"),
        (b"\x30\x03\x02\x01\x01", "a revocation list cannot be read"),
        (
            b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n",
            "certs/ca.crl",
        ),
    ] {
        fs::write(&list, content).unwrap();
        expect_fault(&relay, words);
    }
    fs::remove_file(&list).unwrap();
    expect_fault(&relay, "No such file");

    let settings = fs::read_to_string(relay.path("certs/crl.cnf")).unwrap();
    let without = settings.replace("crl_extensions = list\n", "");
    let without = without.replace("crlnumber = crlnumber\n", "");
    fs::write(relay.path("certs/crl.cnf"), without).unwrap();
    make_list(&relay, "ca.crl", &[]);
    expect_fault(&relay, "a revocation list is of version 1");

    // Somebody else's, in the same name.
    fs::write(relay.path("certs/crl.cnf"), settings).unwrap();
    let stranger = relay.make_certificates("stranger");
    let (certificate, key) = (stranger.join("ca.pem"), stranger.join("ca.key"));
    let stranger = [
        "-cert",
        certificate.to_str().unwrap(),
        "-keyfile",
        key.to_str().unwrap(),
    ];
    make_list(&relay, "ca.crl", &stranger);
    expect_fault(&relay, "is not signed by it");

    make_list(&relay, "ca.crl", &[]);
    relay.done(&["check"]);
    make(
        &relay.path("certs"),
        &["crl", "-in", "ca.crl", "-outform", "DER", "-out", "ca.der"],
    );
    put_in_place(&relay, "ca.der", "ca.crl");
    relay.done(&["check"]);
}

#[test]
fn a_list_that_cannot_be_used_leaves_the_old_one_in_force_and_keeps_nothing_else_out() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = revocable(setup("starttls"));
    revoke(&relay);
    let relay = started(relay);
    let refused = || mail_from_a(&mut shown(&relay, ELSEWHERE, FILE)).contains("was revoked");
    assert!(refused());
    fs::copy(relay.path("certs/ca.crl"), relay.path("certs/good.crl")).unwrap();
    fs::write(relay.path("certs/ca.crl"), "not a list").unwrap();
    wait::until("an alarm", || {
        let log = relay.log();
        let mut lines = log.lines();
        lines.any(|it| it.contains("ERROR") && it.contains("ca.crl"))
    });
    assert!(refused());

    let draft = relay.path("draft");
    fs::create_dir(&draft).unwrap();
    for file in ["ca.pem", "ca.key"] {
        fs::copy(relay.path("certs").join(file), draft.join(file)).unwrap();
    }
    relay.make_certificates("draft");
    for file in ["relay.key", "relay.pem"] {
        fs::rename(draft.join(file), relay.path("certs").join(file)).unwrap();
    }
    wait::until("the new certificate", || {
        relay.log().contains("a new certificate is in use")
    });
    assert!(refused());
    put_in_place(&relay, "empty.crl", "ca.crl");
    wait::until("a list that can be used", || !refused());
}

#[test]
fn what_needs_a_person_is_a_warning_and_silences_nobody() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = revocable(setup("starttls"));
    revoke(&relay);
    let past = [
        "-crl_lastupdate",
        "20200101000000Z",
        "-crl_nextupdate",
        "20200201000000Z",
    ];
    make_list(&relay, "ca.crl", &past);
    // A second authority, which has no list.
    let other = relay.make_certificates("other");
    let both = [relay.path("certs/ca.pem"), other.join("ca.pem")]
        .map(|it| fs::read_to_string(it).unwrap())
        .concat();
    fs::write(relay.path("certs/ca.pem"), both).unwrap();
    let checked = relay.run(&["check"]);
    assert!(checked.status.success(), "{}", heard(&checked));
    let relay = started(relay);
    // People are told local time, which this machine's zone decides; a log of the machine's is in UTC.
    for (told, when) in [
        (heard(&checked), "2020-0"),
        (relay.log(), "2020-02-01T00:00:00.000Z"),
    ] {
        let expected = format!("should have been replaced by {when}");
        assert!(told.contains(&expected), "{told}");
    }
    // Overdue, and still used.
    let refused = mail_from_a(&mut shown(&relay, ELSEWHERE, FILE));
    assert!(refused.contains("was revoked"), "{refused}");
}

#[test]
fn several_files_may_be_named_but_not_without_an_authority() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = revocable(setup("starttls"));
    let settings = fs::read_to_string(relay.path("ilbud.toml")).unwrap();
    let set = |from: &str, to: &str| {
        assert!(settings.contains(from));
        fs::write(relay.path("ilbud.toml"), settings.replace(from, to)).unwrap();
    };
    set("client_ca = \"certs/ca.pem\"\n", "");
    let complaint = relay.fails(1, &["check"]);
    assert!(complaint.contains("client_ca is missing"), "{complaint}");

    fs::copy(relay.path("certs/ca.crl"), relay.path("certs/first.crl")).unwrap();
    set(
        "\"certs/ca.crl\"",
        "[\"certs/first.crl\", \"certs/ca.crl\"]",
    );
    // The newest list of an authority counts.
    let date = [
        "-crl_lastupdate",
        "20350101000000Z",
        "-crl_nextupdate",
        "20350201000000Z",
    ];
    make(
        &relay.path("certs"),
        &[
            "ca",
            "-config",
            "crl.cnf",
            "-revoke",
            &format!("{FILE}.pem"),
        ],
    );
    make_list(&relay, "ca.crl", &date);
    let relay = started(relay);
    let refused = mail_from_a(&mut shown(&relay, ELSEWHERE, FILE));
    assert!(refused.contains("was revoked"), "{refused}");
}

#[test]
fn no_session_is_resumed() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = setup("starttls").start();
    let (certificate, key) = (format!("{FILE}.pem"), format!("{FILE}.key"));
    let connect = |version: &str, more: &[&str]| {
        let output = peer::command("openssl")
            .args(["s_client", "-starttls", "smtp", "-ign_eof", "-nocommands"])
            .args(["-connect", &format!("127.0.0.1:{}", relay.port)])
            .args(["-bind", &format!("{ELSEWHERE}:0"), version])
            .args(["-cert", &certificate, "-key", &key])
            .args(more)
            .current_dir(relay.path("certs"))
            .stdin(fs::File::open(relay.path("quit")).unwrap())
            .output()
            .unwrap();
        heard(&output)
    };
    fs::write(relay.path("quit"), "QUIT\r\n").unwrap();
    for version in VERSIONS {
        let session = format!("session{version}");
        let first = connect(version, &["-sess_out", &session]);
        assert!(first.contains("\nNew, TLSv1."), "{version}: {first}");
        let ticket = "Post-Handshake New Session Ticket";
        assert!(!first.contains(ticket), "{version}: {first}");
        if relay.path("certs").join(&session).exists() {
            let second = connect(version, &["-sess_in", &session]);
            assert!(second.contains("\nNew, TLSv1."), "{version}: {second}");
        }
    }
}

#[test]
fn nothing_old_or_weak_is_spoken() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = setup("starttls").start();
    let attempt = |arguments: &[&str]| {
        let said = s_client(&relay, "127.0.1.9", arguments, "EHLO ws.test\nQUIT\n");
        let heard = heard(&said);
        let (is_spoken, is_refused) = (heard.contains("221 2.0.0"), heard.contains(" alert "));
        assert!(is_spoken != is_refused, "{arguments:?}: {heard}");
        is_spoken
    };
    let all = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    let weak = "ALL:COMPLEMENTOFALL:!ECDHE+AESGCM:!ECDHE+CHACHA20:@SECLEVEL=0";
    for (arguments, is_spoken) in [
        (&["-tls1", "-cipher", all][..], false),
        (&["-tls1_1", "-cipher", all], false),
        (&["-tls1_2", "-cipher", weak], false),
        (&["-tls1_2", "-cipher", all], true),
        (&["-tls1_3"], true),
        (
            &[
                "-tls1_3",
                "-ciphersuites",
                "TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256",
            ],
            false,
        ),
        (
            &["-tls1_2", "-curves", "secp192r1:secp224r1", "-cipher", all],
            false,
        ),
    ] {
        assert_eq!(attempt(arguments), is_spoken, "{arguments:?}");
    }
}
