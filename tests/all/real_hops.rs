//! Servers that others wrote receive: a real Postfix with TLS, logins and client certificates, and a
//! real Dovecot over LMTP.

use ilbud::mail::{Notify, Return, Terms, Wishes};
use ilbud::policy::table::NextHop;

use crate::attempt::{BYTES, Worker, rows, rows_under, told, words};
use crate::client::{letter, letter_saying, vakt};
use crate::dovecot::Dovecot;
use crate::peer;
use crate::postfix::Postfix;
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

const DOMAIN: &str = "b.nodnett.test";

/// A relay with certificates in `certs`, rooms still to come.
fn home() -> Relay {
    Setup::no_rooms().tls("starttls").prepare()
}

/// The relay started, room `b` at `hop`.
fn towards(hop: &str, mut home: Relay) -> Relay {
    home.apply(&[room("a", "maildir:mail/a", ""), room("b", hop, "")].concat());
    home.start();
    home
}

fn send(relay: &Relay, recipients: &[&str]) -> (String, Vec<u8>) {
    let message = letter(&vakt("a"), recipients[0]);
    let reply = relay.client("a").send(&vakt("a"), recipients, &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    (reply.reference(), message)
}

/// Waits for an attempt that delivered nothing; gives why.
fn put_off(relay: &Relay) -> String {
    let row = wait::find("an attempt", || {
        let row = relay.rows(&["queue", "list"]).pop()?;
        (row["state"] == "deferred").then_some(row)
    });
    row["last_reply"].as_str().unwrap().to_owned()
}

fn expect_nothing_at(postfix: &Postfix) {
    assert!(postfix.maildir("vakt").is_empty());
    let log = postfix.log();
    assert!(
        !log.contains("client=") && !log.contains("status=sent"),
        "{log}"
    );
}

#[test]
fn postfix_takes_mail_over_verified_tls() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let postfix = Postfix::serving(DOMAIN, &home.path("certs"));
    let hop = format!("smtp://127.0.0.1:{}?tls=required", postfix.port);
    let relay = towards(&hop, home);
    let message = letter_saying(&vakt("a"), &vakt("b"), "bl\u{e5}lys\r\n.\r\n..to\r\n");
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let delivered = relay.story(&reply.reference()).remove(1);
    assert!(
        delivered["tls"].as_str().unwrap().contains("TLSv1.3"),
        "{delivered}"
    );
    wait::until("Postfix's delivery", || postfix.maildir("vakt").len() == 1);
    let kept = String::from_utf8(postfix.maildir("vakt").remove(0)).unwrap();
    let sent = String::from_utf8(message).unwrap().replace("\r\n", "\n");
    assert!(kept.ends_with(&sent), "{kept}");
    assert!(kept.contains("using TLSv1.3"), "{kept}");
}

#[test]
fn postfix_with_a_certificate_of_another_authority_gets_nothing() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let strange = home.make_certificates("strange");
    let postfix = Postfix::serving(DOMAIN, &strange);
    let hop = format!("smtp://127.0.0.1:{}?tls=required", postfix.port);
    let relay = towards(&hop, home);
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    wait::until("an attempt", || {
        column(&relay.rows(&["queue", "list"]), "state") == ["deferred"]
    });
    let row = &relay.rows(&["queue", "list"])[0];
    assert!(
        row["last_reply"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("certificate"),
        "{row}"
    );
    assert_eq!(relay.events(&reply.reference())[1], "deferred");
    assert!(postfix.maildir("vakt").is_empty());
    assert!(!postfix.log().contains("status=sent"), "{}", postfix.log());
}

#[test]
fn postfix_takes_mail_over_tls_from_the_first_byte() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let postfix = Postfix::serving(DOMAIN, &home.path("certs"));
    let relay = towards(&format!("smtps://127.0.0.1:{}", postfix.secure_port), home);
    let (reference, _) = send(&relay, &[&vakt("b")]);
    relay.expect_events(&reference, &["accepted", "delivered"]);
    wait::until("Postfix's delivery", || postfix.maildir("vakt").len() == 1);
}

#[test]
fn postfix_with_another_certificate_than_the_pinned_one_gets_nothing() {
    if !peer::all_here(&["postfix", "root", "openssl"]) {
        return;
    }
    let home = home();
    let (ours, strange) = (home.path("certs"), home.make_certificates("strange"));
    let pin = |folder: &std::path::Path| {
        let file = folder.join("relay.pem").to_str().unwrap().to_owned();
        let printed = peer::run(
            "openssl",
            &["x509", "-in", &file, "-noout", "-fingerprint", "-sha256"],
        );
        printed.trim().rsplit('=').next().unwrap().to_owned()
    };
    let postfix = Postfix::serving(DOMAIN, &strange);
    let hop = |pin: &str| format!("smtp://127.0.0.1:{}?pin=sha256:{pin}", postfix.port);
    let mut relay = towards(&hop(&pin(&ours)), home);
    send(&relay, &[&vakt("b")]);
    let reason = put_off(&relay);
    assert!(reason.contains("not the pinned one"), "{reason}");
    expect_nothing_at(&postfix);

    relay.stop();
    let relay = towards(&hop(&pin(&strange)), relay);
    wait::until("Postfix's delivery", || postfix.maildir("vakt").len() == 1);
    assert!(relay.queue_is_empty() || put_off(&relay).is_empty());
}

/// The password has what a URL must hide: `s@k:r/t`.
const LOGIN: &str = "ilbud:s%40k%3Ar%2Ft@";

#[test]
fn postfix_lets_a_relay_in_by_user_and_password() {
    if !peer::all_here(&["postfix", "dovecot", "root"]) {
        return;
    }
    let home = home();
    let certs = home.path("certs");
    let dovecot = Dovecot::serving(DOMAIN, &certs);
    let logins = format!("smtpd_sasl_path = {}", dovecot.logins().display());
    let postfix = Postfix::set(
        DOMAIN,
        &certs,
        &[
            "smtpd_sasl_auth_enable = yes",
            "smtpd_sasl_type = dovecot",
            "smtpd_tls_auth_only = yes",
            "smtpd_client_restrictions = permit_sasl_authenticated, reject",
            &logins,
        ],
    );
    let mut relay = home;
    for (count, hop) in [
        format!("smtp://{LOGIN}127.0.0.1:{}", postfix.port),
        format!("smtps://{LOGIN}127.0.0.1:{}", postfix.secure_port),
    ]
    .iter()
    .enumerate()
    {
        relay = towards(hop, relay);
        let (reference, _) = send(&relay, &[&vakt("b")]);
        relay.expect_events(&reference, &["accepted", "delivered"]);
        wait::until("Postfix's delivery", || {
            postfix.maildir("vakt").len() == count + 1
        });
        relay.stop();
    }
    assert!(
        postfix.log().contains("sasl_username=ilbud"),
        "{}",
        postfix.log()
    );

    let wrong = format!("smtps://ilbud:galt@127.0.0.1:{}", postfix.secure_port);
    let relay = towards(&wrong, relay);
    let reason = put_off_after_sending(&relay);
    assert!(reason.contains("535 5.7.8"), "{reason}");
    assert!(!relay.log().contains("galt") && !reason.contains("galt"));
}

fn put_off_after_sending(relay: &Relay) -> String {
    send(relay, &[&vakt("b")]);
    put_off(relay)
}

#[test]
fn postfix_lets_a_relay_in_by_its_certificate() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    home.done(&["certs", "dev", "ilbud.hop.test"]);
    let certs = home.path("certs");
    let authority = format!("smtpd_tls_CAfile = {}", certs.join("ca.pem").display());
    let postfix = Postfix::set(
        DOMAIN,
        &certs,
        &[
            "smtpd_tls_security_level = encrypt",
            "smtpd_tls_req_ccert = yes",
            &authority,
        ],
    );
    let without = format!("smtps://127.0.0.1:{}", postfix.secure_port);
    let mut relay = towards(&without, home);
    put_off_after_sending(&relay);
    expect_nothing_at(&postfix);
    relay.stop();

    let pair =
        "client_certificate=certs/ws-ilbud.hop.test.pem&client_key=certs/ws-ilbud.hop.test.key";
    for (count, hop) in [
        format!("{without}?{pair}"),
        format!("smtp://127.0.0.1:{}?tls=required&{pair}", postfix.port),
    ]
    .iter()
    .enumerate()
    {
        relay = towards(hop, relay);
        if count > 0 {
            send(&relay, &[&vakt("b")]);
        }
        wait::until("Postfix's delivery", || {
            postfix.maildir("vakt").len() == count + 1
        });
        relay.stop();
    }
}

#[tokio::test]
async fn postfix_is_told_which_reports_are_wanted() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let hold = ["smtpd_client_restrictions = check_client_access static:HOLD"];
    let postfix = Postfix::set(DOMAIN, &home.path("certs"), &hold);
    let hop = NextHop::parse(&format!("smtp://127.0.0.1:{}", postfix.port)).unwrap();
    let mut rows = rows(&["vakt@b.nodnett.test"]);
    rows[0].terms = Terms {
        ret: Some(Return::Headers),
        envelope_id: Some("a+3Db".into()),
        ..Terms::default()
    };
    rows[0].wishes = Wishes {
        notify: Some(Notify {
            success: true,
            failure: true,
            delay: false,
        }),
        original: Some("rfc822;leder@a.nodnett.test".into()),
    };
    let attempts = Worker::new().carry(&rows, BYTES, &[hop]).await;
    assert_eq!(words(&attempts), ["delivered"]);
    let held = postfix.held();
    for attribute in [
        "notify_flags=6",
        "ret_flags=2",
        "envelope_id=a=b",
        "dsn_orig_rcpt=rfc822;leder@a.nodnett.test",
    ] {
        assert!(
            held.lines().any(|line| line.ends_with(attribute)),
            "{attribute}: {held}"
        );
    }
}

#[test]
fn postfix_takes_chunks_and_an_address_beyond_ascii() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let postfix = Postfix::serving(DOMAIN, &home.path("certs"));
    let mut relay = towards(&format!("smtp://127.0.0.1:{}", postfix.port), home);
    let to = format!("øystein@{DOMAIN}");
    let mut client = relay.client("a");
    let mail = client.say(format!("MAIL FROM:<{}> SMTPUTF8 BODY=8BITMIME", vakt("a")));
    assert_eq!(mail.code, 250, "{mail}");
    assert_eq!(client.say(format!("RCPT TO:<{to}>")).code, 250);
    let message = letter(&vakt("a"), &to);
    let reply = client.data(&message);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    wait::until("Postfix's delivery", || postfix.maildir("vakt").len() == 1);
    let kept = String::from_utf8(postfix.maildir("vakt").remove(0)).unwrap();
    let sent = String::from_utf8(message).unwrap().replace("\r\n", "\n");
    assert!(kept.ends_with(&sent), "{kept}");
    assert!(kept.contains("with UTF8SMTPS"), "RFC 6531 §4.3: {kept}");
    relay.stop();
    wait::until("the count of commands", || postfix.log().contains("bdat=1"));
}

/// RFC 8689 §4.2.1: nor any other server that does not promise the same.
#[tokio::test]
async fn postfix_without_requiretls_gets_no_message_that_asks_for_it() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = home();
    let certs = home.path("certs");
    let postfix = Postfix::serving(DOMAIN, &certs);
    let authority = certs.join("ca.pem");
    let hop = format!(
        "smtps://127.0.0.1:{}?ca={}",
        postfix.secure_port,
        authority.display()
    );
    let hop = NextHop::parse(&hop).unwrap();
    let terms = Terms {
        require_tls: true,
        ..Terms::default()
    };
    let rows = rows_under(&terms, &["vakt@b.nodnett.test"]);
    let attempts = Worker::new().carry(&rows, BYTES, &[hop]).await;
    assert_eq!(words(&attempts), ["failed"]);
    assert!(
        told(&attempts[0]).contains("REQUIRETLS"),
        "{}",
        told(&attempts[0])
    );
    assert!(!postfix.log().contains("mail=1"), "{}", postfix.log());
}

#[test]
fn dovecot_answers_for_each_recipient() {
    if !peer::all_here(&["dovecot", "root"]) {
        return;
    }
    let home = home();
    let dovecot = Dovecot::serving(DOMAIN, &home.path("certs"));
    let mut relay = home;
    for (count, hop) in [
        format!("lmtp://127.0.0.1:{}?tls=off", dovecot.port),
        format!("lmtp://127.0.0.1:{}?tls=required", dovecot.port),
        format!("lmtp:{}", dovecot.socket().display()),
    ]
    .iter()
    .enumerate()
    {
        relay = towards(hop, relay);
        let (known, unknown, full) = (
            vakt("b"),
            format!("ukjent@{DOMAIN}"),
            format!("full@{DOMAIN}"),
        );
        let (reference, message) = send(&relay, &[&known, &unknown, &full]);
        wait::until("an end of it", || relay.queue_is_empty());
        for (recipient, event, answer) in [
            (&known, "delivered", "250 2.0.0"),
            (&unknown, "failed", "550 5.1.1"),
            (&full, "failed", "552 5.2.2"),
        ] {
            let rows = relay.rows(&["log", "show", &reference]);
            let row = rows
                .iter()
                .find(|row| row["recipient"] == **recipient && row["event"] == event);
            let row = row.unwrap_or_else(|| panic!("{hop}: {recipient} {event}: {rows:?}"));
            assert!(row["reply"].as_str().unwrap().starts_with(answer), "{row}");
            let is_secret = row["tls"].as_str().is_some_and(|it| it.starts_with("TLS"));
            assert_eq!(is_secret, hop.contains("required"), "{hop}: {row}");
        }
        assert_eq!(dovecot.maildir("vakt").len(), count + 1);
        let kept = dovecot.maildir("vakt");
        assert!(
            kept.iter().any(|kept| kept.ends_with(&message)),
            "the bytes are as they were"
        );
        assert!(dovecot.maildir("full").is_empty());
        relay.stop();
    }
}
