//! Programs that others wrote send: swaks, curl and Python's smtplib.

use std::fs;
use std::process::{Output, Stdio};

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

/// Room `a` is where these programs connect from.
const HERE: &str = "[[room.workstation]]\nnetwork = \"127.0.0.1/32\"\n";

fn relay(tls: &str) -> Relay {
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", HERE)
        .room("b", "maildir:mail/b")
        .tls(tls)
        .prepare();
    let mut relay = relay;
    if tls == "implicit" {
        relay.launch();
        wait::until("the listener", || {
            std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
        });
    } else {
        relay.start();
    }
    relay
}

/// The only message that room `b` got.
fn only_mail(relay: &Relay, mailbox: &str) -> String {
    wait::until("the mail", || relay.maildir("b", mailbox).len() == 1);
    let address = format!("{mailbox}@b.nodnett.test");
    wait::until("its row", || {
        let rows = relay.rows(&["log", "search", "--recipient", &address]);
        column(&rows, "status") == ["delivered"]
    });
    String::from_utf8(relay.maildir("b", mailbox).remove(0)).unwrap()
}

fn swaks(relay: &Relay, more: &[&str]) -> Output {
    peer::command("swaks")
        .args(["--server", "127.0.0.1", "--port", &relay.port.to_string()])
        .args([
            "--from",
            &vakt("a"),
            "--header-Subject",
            "prøve",
            "--ehlo",
            "ws.test",
        ])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn swaks_sends_in_the_clear() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("off");
    let dialogue = peer::succeeded("swaks", &swaks(&relay, &["--to", &vakt("b")]));
    assert!(dialogue.contains("250 2.0.0"), "{dialogue}");
    assert!(only_mail(&relay, "vakt").contains("with ESMTP"));
}

#[test]
fn swaks_sends_over_starttls() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("required");
    let authority = relay.path("certs/ca.pem");
    let tls = [
        "--tls",
        "--tls-verify",
        "--tls-ca-path",
        authority.to_str().unwrap(),
    ];
    let to = vakt("b");
    peer::succeeded(
        "swaks",
        &swaks(&relay, &[&["--to", &to][..], &tls].concat()),
    );
    assert!(only_mail(&relay, "vakt").contains("with ESMTPS"));
}

#[test]
fn swaks_sends_over_implicit_tls() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("implicit");
    peer::succeeded(
        "swaks",
        &swaks(&relay, &["--to", &vakt("b"), "--tls-on-connect"]),
    );
    assert!(only_mail(&relay, "vakt").contains("with ESMTPS"));
}

#[test]
fn swaks_is_refused_an_outside_recipient() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("off");
    let output = swaks(&relay, &["--to", "x@example.com"]);
    assert_eq!(output.status.code(), Some(24), "all recipients refused");
    assert!(String::from_utf8_lossy(&output.stdout).contains("550 5.7.1"));
}

#[test]
fn swaks_sends_utf8() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("off");
    let output = swaks(&relay, &["--to", &vakt("b"), "--body", "blålys æøå 🚑"]);
    peer::succeeded("swaks", &output);
    let mail = only_mail(&relay, "vakt");
    assert!(
        mail.contains("blålys æøå 🚑") && mail.contains("Subject: prøve"),
        "{mail}"
    );
}

#[test]
fn curl_sends() {
    if !peer::all_here(&["curl"]) {
        return;
    }
    let relay = relay("starttls");
    let message = letter(&vakt("a"), &vakt("b"));
    let file = relay.path("message.eml");
    fs::write(&file, &message).unwrap();
    let authority = relay.path("certs/ca.pem");
    let url = format!("smtp://127.0.0.1:{}/ws.test", relay.port);
    for tls in [
        &[][..],
        &["--ssl-reqd", "--cacert", authority.to_str().unwrap()],
    ] {
        let output = peer::command("curl")
            .args(["--silent", "--show-error", "--url", &url])
            .args(["--mail-from", &vakt("a"), "--mail-rcpt", &vakt("b")])
            .arg("--upload-file")
            .arg(&file)
            .args(tls)
            .output()
            .unwrap();
        peer::succeeded("curl", &output);
    }
    wait::until("both", || relay.maildir("b", "vakt").len() == 2);
}

const SMTPLIB: &str = r#"
import email.policy, smtplib, ssl, sys
from email.message import EmailMessage
port, authority, to = int(sys.argv[1]), sys.argv[2], sys.argv[3]
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "vakt@a.nodnett.test", to, "prøve"
m.set_content("blålys 🚑\n")
m.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="kart.bin")
with smtplib.SMTP("127.0.0.1", port) as s:
    s.starttls(context=ssl.create_default_context(cafile=authority))
    refused = s.send_message(m)
    assert refused == {}, refused
    try:
        s.sendmail("vakt@a.nodnett.test", ["x@example.com"], b"")
        raise SystemExit("an outside recipient was accepted")
    except smtplib.SMTPRecipientsRefused as e:
        code, text = e.recipients["x@example.com"]
        assert code == 550 and text.startswith(b"5.7.1"), (code, text)
    s.sendmail("vakt@a.nodnett.test", [to], m.as_bytes(policy=email.policy.SMTP), ["SMTPUTF8"])
"#;

#[test]
fn smtplib_sends() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = relay("starttls");
    let authority = relay.path("certs/ca.pem");
    let port = relay.port.to_string();
    for (to, mailbox) in [
        (vakt("b"), "vakt"),
        ("øystein@b.nodnett.test".to_owned(), "øystein"),
    ] {
        peer::python(SMTPLIB, &[&port, authority.to_str().unwrap(), &to]);
        wait::until("both", || relay.maildir("b", mailbox).len() == 2);
    }
}

const TLS_VERSION: &str = r#"
import smtplib, ssl, sys
port, authority, version = int(sys.argv[1]), sys.argv[2], ssl.TLSVersion[sys.argv[3]]
context = ssl.create_default_context(cafile=authority)
context.minimum_version = context.maximum_version = version
with smtplib.SMTP("127.0.0.1", port) as s:
    s.starttls(context=context)
    print(s.sock.version())
"#;

#[test]
fn two_versions_of_tls_are_spoken() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = relay("starttls");
    let authority = relay.path("certs/ca.pem");
    let port = relay.port.to_string();
    for (asked, spoken) in [("TLSv1_2", "TLSv1.2\n"), ("TLSv1_3", "TLSv1.3\n")] {
        let version = peer::python(TLS_VERSION, &[&port, authority.to_str().unwrap(), asked]);
        assert_eq!(version, spoken);
    }
}

#[test]
fn openssl_trusts_what_certs_dev_makes() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = Setup::three_rooms().tls("starttls").prepare();
    let certs = relay.path("certs");
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let authority = file("ca.pem");
    let verify = |more: &[&str]| {
        peer::run(
            "openssl",
            &[&["verify", "-x509_strict", "-CAfile", &authority], more].concat(),
        )
    };
    verify(&[
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "relay.nodnett.test",
        &file("relay.pem"),
    ]);
    verify(&[
        "-purpose",
        "sslserver",
        "-verify_ip",
        "127.0.0.1",
        &file("relay.pem"),
    ]);
    let hello = peer::command("openssl")
        .args(["pkey", "-noout", "-in", &file("relay.key")])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(hello.success());
}
