//! TLS on the way in: each kind of listener, and certificates exchanged while the relay runs.

use std::fs;

use crate::client::{Client, letter, vakt};
use crate::relay::{Relay, Setup};
use crate::wait;

#[test]
fn each_kind_of_listener_keeps_its_word() {
    let offers = |relay: &Relay| {
        let mut client = relay.client("a");
        client.say("EHLO again").text().contains("STARTTLS")
    };
    assert!(!offers(&Setup::three_rooms().start()));
    assert!(offers(&Setup::three_rooms().tls("starttls").start()));

    let required = Setup::three_rooms().tls("required").start();
    assert!(offers(&required));
    let mut client = required.client("a");
    assert_eq!(
        client.say("MAIL FROM:<vakt@a.nodnett.test>").said(),
        "530 5.7.0"
    );
    client.start_tls(&required.path("certs"));
    assert_eq!(client.say("EHLO ws.test").code, 250);
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn implicit_tls_begins_with_the_handshake() {
    let mut relay = Setup::three_rooms().tls("implicit").prepare();
    relay.launch();
    wait::until("the listener", || {
        std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
    });
    let mut client = Client::silent(relay.port, "127.0.1.9").unwrap();
    client.shake_hands(&relay.path("certs"));
    assert_eq!(client.reply().code, 220);
    let ehlo = client.say("EHLO ws.test");
    assert!(!ehlo.text().contains("STARTTLS"), "{ehlo}");
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
    let kept = String::from_utf8(relay.maildir("b", "vakt").remove(0)).unwrap();
    assert!(kept.contains("with ESMTPS"), "{kept}");
}

#[test]
fn a_certificate_exchanged_on_disk_is_taken_up() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let certs = relay.path("certs");
    let shown = || {
        let mut client = relay.client("a");
        client.start_tls(&certs)
    };
    let first = shown();
    assert_eq!(shown(), first);

    let draft = relay.path("draft");
    fs::create_dir(&draft).unwrap();
    for file in ["ca.pem", "ca.key"] {
        fs::copy(certs.join(file), draft.join(file)).unwrap();
    }
    relay.make_certificates("draft");
    for file in ["relay.key", "relay.pem"] {
        fs::rename(draft.join(file), certs.join(file)).unwrap();
    }
    wait::until("the new certificate", || shown() != first);
}

#[test]
fn half_an_exchange_leaves_the_old_certificate_in_force() {
    let relay = Setup::three_rooms().tls("starttls").start();
    let certs = relay.path("certs");
    let shown = || relay.client("a").start_tls(&certs);
    let first = shown();
    fs::write(certs.join("relay.pem"), "not a certificate").unwrap();
    wait::until("a word about it", || relay.log().contains("relay.pem"));
    assert_eq!(shown(), first);
}
