//! `route explain` tells each rule that was tried, where mail would go at a moment, and, asked to, whether
//! each next hop would take it: as delivery would go there, and without any mail.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::client::vakt;
use crate::fake_hop::{self, ALL, At, FakeHop, Fault, Manner};
use crate::hop_security::Forward;
use crate::names::Dnsmasq;
use crate::peer;
use crate::postfix::Postfix;
use crate::relay::{Relay, Setup, free_port, room};

/// A table in force, and no relay that runs: nothing is needed for an explanation but the store.
fn applied(setup: Setup) -> Relay {
    let relay = setup.prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    relay
}

fn to_b(relay: &Relay, options: &[&str]) -> Value {
    let (from, to) = (vakt("a"), vakt("b"));
    let command = [&["route", "explain", &from, &to], options].concat();
    relay.rows(&command).remove(0)
}

/// What probing the only next hop of room `b` finds.
fn probed(relay: &Relay) -> Value {
    let told = to_b(relay, &["--probe"]);
    assert_eq!(told["decision"], "accept", "{told}");
    told["hops"][0].clone()
}

fn steps(hop: &Value) -> Vec<String> {
    let steps = hop["servers"][0]["steps"].as_array().unwrap().iter();
    steps
        .map(|it| it["step"].as_str().unwrap().to_owned())
        .collect()
}

fn words(hop: &Value, step: &str) -> String {
    let steps = hop["servers"][0]["steps"].as_array().unwrap();
    let found = steps.iter().find(|it| it["step"] == step);
    found.unwrap_or_else(|| panic!("no {step}: {hop}"))["words"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn trouble(hop: &Value) -> String {
    assert_eq!(hop["ready"], false, "{hop}");
    hop["trouble"].as_str().unwrap().to_owned()
}

/// It was spoken to, and nothing like mail or a login was said.
fn heard_no_mail(hop: &FakeHop) {
    for verb in ["MAIL", "RCPT", "DATA", "BDAT", "AUTH", "RSET"] {
        assert_eq!(hop.count(verb), 0, "{:?}", hop.heard());
    }
}

#[test]
fn each_rule_that_was_tried_is_told_with_what_it_came_to() {
    let redirect = "[[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\n\
        from = 2026-11-22T20:00:00+01:00\nuntil = 2026-11-23T07:00:00+01:00\nreason = \"Flytting\"\n";
    let relay = applied(
        Setup::no_rooms()
            .room("a", "maildir:mail/a")
            .room_with("b", "maildir:mail/b", "accepts_from = [\"room-a\"]")
            .routes(redirect),
    );
    let told = to_b(
        &relay,
        &["--at", "2026-11-22T19:00:00Z", "--client", "127.0.1.9"],
    );
    for field in [
        "decision",
        "rule",
        "revision",
        "recipient_room",
        "next_hops",
        "reply",
    ] {
        assert!(!told[field].is_null(), "{field}: {told}");
    }
    assert_eq!(told["next_hops"], json!(["maildir:mail/a"]));
    let steps = told["steps"].as_array().unwrap().iter();
    let steps: Vec<String> = steps
        .map(|it| {
            format!("{} {} {}", it["about"], it["result"], it["rule"])
                .replace("\\\"", "'")
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        steps,
        [
            "sender decided network 127.0.1.0/24 is room 'room-a'",
            "recipient passed it is not <postmaster>",
            "recipient passed it is one address, and names no way",
            "recipient passed no group is vakt@b.nodnett.test",
            "recipient passed room 'room-b' has the domain b.nodnett.test",
            "recipient passed room 'room-b' has this mailbox",
            "recipient decided room 'room-b' accepts from room-a; recipients are not limited",
            "route decided room 'room-b' is redirected to 'room-a' until 2026-11-23T06:00:00.000Z: Flytting",
        ]
    );
    // Before and after, it goes to the room itself.
    for at in [
        "2026-11-22T18:59:59Z",
        "2026-11-23T06:00:00Z",
        "2026-11-23 23:59",
    ] {
        let told = to_b(&relay, &["--at", at]);
        assert_eq!(told["next_hops"], json!(["maildir:mail/b"]), "{at}");
    }
    let told = relay.done(&[
        "route",
        "explain",
        &vakt("b"),
        &vakt("b"),
        "--client",
        "127.0.2.9",
    ]);
    for line in [
        "refuse: room \"room-b\" accepts from room-a, not from \"room-b\"\n",
        "  passed     recipient: no group is vakt@b.nodnett.test\n",
        "  decided    recipient: room \"room-b\" accepts from room-a, not from \"room-b\"\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let complaint = relay.fails(
        2,
        &["route", "explain", &vakt("a"), &vakt("b"), "--at", "soon"],
    );
    assert!(
        complaint.contains("is no time; write 07:00 (the next)"),
        "{complaint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_is_up_is_spoken_with_and_hears_of_no_mail() {
    let fake = FakeHop::start(ALL, &[]).await;
    let relay = applied(Setup::from_a_to(&format!("smtp://127.0.0.1:{}", fake.port)));
    // Nobody is connected to, unless it is asked for.
    let told = to_b(&relay, &[]);
    assert_eq!(
        told["hops"][0]["servers"][0]["addresses"],
        json!(["127.0.0.1"])
    );
    assert!(fake.heard().is_empty(), "{:?}", fake.heard());
    let hop = probed(&relay);
    assert_eq!(hop["ready"], true, "{hop}");
    assert_eq!(steps(&hop), ["connect", "greeting", "EHLO", "QUIT"]);
    assert_eq!(words(&hop, "greeting"), "220 fake ESMTP");
    assert!(words(&hop, "EHLO").contains("8BITMIME"), "{hop}");
    assert_eq!(words(&hop, "QUIT"), "221 2.0.0 bye");
    assert_eq!(fake.heard(), ["connect", "EHLO relay.nodnett.test", "QUIT"]);
    let told = relay.done(&["route", "explain", &vakt("a"), &vakt("b"), "--probe"]);
    assert!(
        told.contains("    ready: it would take mail now\n"),
        "{told}"
    );
    assert!(told.contains(" ms  220 fake ESMTP\n"), "{told}");
    heard_no_mail(&fake);
}

#[test]
fn a_hop_that_is_down_is_told_in_the_words_of_the_network() {
    let port = free_port();
    let relay = applied(Setup::from_a_to(&format!("smtp://127.0.0.1:{port}")));
    let hop = probed(&relay);
    assert_eq!(trouble(&hop), "Connection refused (while connecting)");
    assert_eq!(
        words(&hop, "connect"),
        format!("127.0.0.1:{port}: Connection refused (while connecting)")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hop_says_against_us_is_told_in_its_own_words() {
    let shy = "554 5.3.2 no service today";
    #[rustfmt::skip]
    let cases = [
        (At::Greeting, Fault::Say(shy), "554 5.3.2 no service today (waiting for the greeting)"),
        (At::Ehlo, Fault::Say("550 5.7.1 not you"), "550 5.7.1 not you (after EHLO)"),
        (At::Greeting, Fault::Drop, "the connection was closed without an answer (waiting for the greeting)"),
        (At::Greeting, Fault::Raw(b"SSH-2.0-OpenSSH\r\n"), "the answer makes no sense"),
        (At::Greeting, Fault::Stall, "no answer within 1 s (waiting for the greeting)"),
        (At::Ehlo, Fault::Stall, "no answer within 1 s (after EHLO)"),
    ];
    for (at, fault, expected) in cases {
        let fake = FakeHop::start(ALL, &[(at, fault)]).await;
        let setup = Setup::from_a_to(&format!("smtp://127.0.0.1:{}", fake.port));
        let times = "[delivery.timeouts]\ngreeting = \"1s\"\nhello = \"1s\"";
        let hop = probed(&applied(setup.delivery(times)));
        assert!(trouble(&hop).starts_with(expected), "{expected}: {hop}");
        heard_no_mail(&fake);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_asked_for_as_delivery_would() {
    const TLS: Manner = Manner {
        lmtp: false,
        tls: true,
        implicit: false,
    };
    let offers = &["STARTTLS", "AUTH PLAIN", "8BITMIME"];
    let ca = fake_hop::certificate().display().to_string();
    let fake = FakeHop::with(TLS, offers, &[]).await;
    let (port, elsewhere) = (fake.port, Forward::from("127.0.0.9", fake.port).port);
    let whole = [
        "connect", "greeting", "EHLO", "STARTTLS", "TLS", "EHLO", "QUIT",
    ];
    let with_auth = [
        "connect", "greeting", "EHLO", "STARTTLS", "TLS", "EHLO", "AUTH", "QUIT",
    ];
    #[rustfmt::skip]
    let cases = [
        (format!("smtp://127.0.0.1:{port}"), Ok((&whole[..], "; the certificate was not checked"))),
        (format!("smtp://127.0.0.1:{port}?ca={ca}"), Ok((&whole[..], ", and the certificate proves who it is"))),
        (format!("smtp://127.0.0.1:{port}?tls=off"), Ok((&["connect", "greeting", "EHLO", "QUIT"][..], ""))),
        (format!("smtp://u:s3cret@127.0.0.1:{port}?ca={ca}"), Ok((&with_auth[..], ", and the certificate proves who it is"))),
        (format!("smtp://127.0.0.1:{port}?tls=required"), Err("TLS: ")),
        (format!("smtp://127.0.0.9:{elsewhere}?ca={ca}"), Err("127.0.0.9")),
    ];
    for (hop, expected) in cases {
        let told = probed(&applied(Setup::from_a_to(&hop)));
        match expected {
            Ok((expected, end)) => {
                assert_eq!(steps(&told), expected, "{told}");
                assert!(
                    end.is_empty() || words(&told, "TLS").ends_with(end),
                    "{told}"
                );
                assert!(!told.to_string().contains("s3cret"), "{told}");
            }
            Err(why) => {
                let trouble = trouble(&told);
                assert!(
                    trouble.contains(why) && trouble.ends_with("(while starting TLS)"),
                    "{told}"
                );
            }
        }
        heard_no_mail(&fake);
    }
    let told = probed(&applied(Setup::from_a_to(&format!(
        "smtp://u:s3cret@127.0.0.1:{port}?ca={ca}"
    ))));
    assert_eq!(
        words(&told, "AUTH"),
        "PLAIN is offered; user \"u\" was not logged in"
    );
    let plain = FakeHop::start(ALL, &[]).await;
    let told = probed(&applied(Setup::from_a_to(&format!(
        "smtp://127.0.0.1:{}?tls=required",
        plain.port
    ))));
    assert!(
        trouble(&told).contains("STARTTLS is not offered, and the routing table requires it"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_is_greeted_as_lmtp() {
    const LMTP: Manner = Manner {
        lmtp: true,
        tls: false,
        implicit: false,
    };
    let fake = FakeHop::with(LMTP, ALL, &[]).await;
    let told = probed(&applied(Setup::from_a_to(&format!(
        "lmtp://127.0.0.1:{}",
        fake.port
    ))));
    assert_eq!(steps(&told), ["connect", "greeting", "LHLO", "QUIT"]);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lmtp");
    let relay = applied(Setup::from_a_to(&format!("lmtp:{}", path.display())));
    assert!(
        trouble(&probed(&relay)).starts_with("No such file or directory"),
        "{}",
        probed(&relay)
    );
    let socket = FakeHop::at_socket(&path, ALL, &[]);
    let told = probed(&relay);
    assert_eq!(steps(&told), ["connect", "greeting", "LHLO", "QUIT"]);
    assert_eq!(told["ready"], true, "{told}");
    heard_no_mail(&socket);
}

#[test]
fn a_maildir_is_looked_at_and_not_made() {
    let relay = applied(Setup::from_a_to("maildir:mail/b"));
    assert_eq!(probed(&relay)["ready"], true);
    assert!(
        !relay.path("mail").exists(),
        "who asks may be another than the relay"
    );
    fs::write(relay.path("mail"), "in the way").unwrap();
    assert_eq!(trouble(&probed(&relay)), "./mail is a file and no folder");
    fs::remove_file(relay.path("mail")).unwrap();
    fs::create_dir(relay.path("mail")).unwrap();
    fs::set_permissions(relay.path("mail"), fs::Permissions::from_mode(0o555)).unwrap();
    let told = probed(&relay);
    // Root may write anywhere.
    let is_root = fs::write(relay.path("mail/x"), "").is_ok();
    match is_root {
        true => assert_eq!(told["ready"], true, "{told}"),
        false => assert_eq!(
            trouble(&told),
            "./mail cannot be written: Permission denied (os error 13)"
        ),
    }
    fs::set_permissions(relay.path("mail"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn names_are_told_as_they_resolve_now() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let records = [
        "mx-host=a.test,two.test,20",
        "mx-host=a.test,one.test,10",
        "address=/one.test/127.0.0.1",
        "address=/two.test/127.0.0.2",
    ];
    let dnsmasq = Dnsmasq::serving(&records);
    let hop = format!(
        "mx:a.test:{0}\", \"smtp://one.test:{0}\", \"smtp://nowhere.test",
        free_port()
    );
    let relay = applied(Setup::from_a_to(&hop).settings(&dnsmasq.settings()));
    let told = to_b(&relay, &[]);
    let servers = |hop: usize| -> Vec<String> {
        let servers = told["hops"][hop]["servers"].as_array().unwrap().iter();
        servers
            .map(|it| format!("{} {}", it["host"], it["addresses"]).replace('"', ""))
            .collect()
    };
    assert_eq!(servers(0), ["one.test [127.0.0.1]", "two.test [127.0.0.2]"]);
    assert_eq!(servers(1), ["one.test [127.0.0.1]"]);
    assert_eq!(
        told["hops"][2]["trouble"],
        "there is no host named nowhere.test"
    );
    assert!(
        told["hops"][0].get("ready").is_none(),
        "nobody was asked: {told}"
    );
    let printed = relay.done(&["route", "explain", &vakt("a"), &vakt("b")]);
    assert!(printed.contains("    two.test is 127.0.0.2\n"), "{printed}");
    assert!(
        printed.contains("    trouble: there is no host named nowhere.test\n"),
        "{printed}"
    );
    drop(dnsmasq);
    let told = to_b(&relay, &[]);
    let trouble = told["hops"][1]["trouble"].as_str().unwrap();
    assert!(
        trouble.starts_with("the name could not be looked up: "),
        "{told}"
    );
}

#[test]
fn a_real_server_answers_a_probe_and_keeps_nothing() {
    if !peer::all_here(&["postfix", "root"]) {
        return;
    }
    let home = Setup::no_rooms().tls("starttls").prepare();
    let postfix = Postfix::serving("b.nodnett.test", &home.path("certs"));
    let hop = format!("smtp://127.0.0.1:{}?tls=required", postfix.port);
    home.apply(&[room("a", "maildir:mail/a", ""), room("b", &hop, "")].concat());
    let told = probed(&home);
    assert_eq!(told["ready"], true, "{told}");
    assert!(words(&told, "TLS").contains("TLSv1.3"), "{told}");
    assert!(words(&told, "QUIT").starts_with("221 2.0.0"), "{told}");
    assert!(postfix.maildir("vakt").is_empty());
}
