#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use explain::visitor;

const TABLE: &str = r#"
    [[room]]
    id = "amk-oslo"
    name = "AMK Oslo"
    kind = "amk"
    phone = "+47 00 00 00 01"
    domains = ["amk-oslo.test", "ålesund.test"]
    next_hops = ["smtp://ilbud:hemmelig@10.1.0.5:25?tls=required", "maildir:data/oslo"]
    recipients = ["vakt", "leder", "bjørn", "postmaster"]
    [[room.workstation]]
    network = "10.1.0.0/24"
    [[room.workstation]]
    certificate = "WS1.amk-oslo.test"
    [[room.workstation]]
    user = "oslo-ws3"

    [[room]]
    id = "hamar"
    name = "Legevakt Hamar"
    phone = "+47 00 00 00 02"
    domains = ["hamar.test"]
    next_hops = ["maildir:data/hamar"]
    accepts_from = ["amk-oslo"]
    [[room.workstation]]
    network = "10.2.0.0/24"
    [[room.workstation]]
    network = "2001:db8::/32"

    [[room]]
    id = "bergen"
    name = "Akuttmottak Bergen"
    domains = ["bergen.test"]
    next_hops = ["maildir:data/bergen"]
    [[room.workstation]]
    network = "10.2.0.128/25"
    [[room.workstation]]
    network = "10.3.0.1"

    [[group]]
    address = "alle@gruppe.test"
    members = ["vakt@amk-oslo.test", "vest@gruppe.test", "vakt@hamar.test", "VAKT@bergen.test"]
    [[group]]
    address = "vest@gruppe.test"
    members = ["vakt@bergen.test"]
    [[group]]
    address = "bare-hamar@gruppe.test"
    members = ["vakt@hamar.test"]
    [[group]]
    address = "tom@gruppe.test"
    members = []

    [[gateway]]
    name = "inn"
    network = "10.250.0.10/32"
    [[gateway]]
    name = "delt"
    network = "10.3.0.0/24"

    [[redirect]]
    room = "hamar"
    to = "bergen"
    from = 2026-11-22T20:00:00+01:00
    until = 2026-11-23T07:00:00+01:00
    reason = "Flytting"
    [[redirect]]
    room = "bergen"
    to = "amk-oslo"
    from = 2026-11-23T06:00:00+01:00
    until = 2026-11-24T06:00:00+01:00
"#;

fn table() -> RoutingTable {
    RoutingTable::parse(TABLE, 7)
        .unwrap_or_else(|it| panic!("{it:?}"))
        .0
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn peer(client: &str) -> Peer {
    visitor(&Client::from(client), &table())
}

fn proving(names: &[&str]) -> Certificate {
    let names = names.iter().map(|it| (*it).to_owned());
    Certificate::new(names, None, None)
}

fn room(id: &str) -> Origin {
    Origin::Room(RoomId::new(id))
}

fn gateway(name: &str) -> Origin {
    Origin::Gateway(name.to_owned())
}

/// `room:amk-oslo`, `gateway:inn` or the basic code of the refusal.
fn told<T>(result: Result<Origin, Refused>, as_text: impl Fn(u16) -> T) -> Result<Origin, T> {
    result.map_err(|refused| {
        assert_eq!(refused.revision, 7);
        assert!(!refused.rule.is_empty());
        as_text(refused.reply.code)
    })
}

#[test]
fn a_peer_sends_only_as_its_room() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        // client           sender                      could identify  answer
        ("10.1.0.7",        "vakt@amk-oslo.test",       false,  Ok(room("amk-oslo"))),
        ("10.1.0.7",        "VAKT@AMK-Oslo.TEST",       false,  Ok(room("amk-oslo"))),
        ("10.1.0.7",        "ukjent@amk-oslo.test",     false,  Ok(room("amk-oslo"))),
        ("10.1.0.7",        "vakt@xn--lesund-hua.test", false,  Ok(room("amk-oslo"))),
        ("::ffff:10.1.0.7", "vakt@amk-oslo.test",       false,  Ok(room("amk-oslo"))),
        ("2001:db8::7",     "vakt@hamar.test",          false,  Ok(room("hamar"))),
        ("10.1.0.7",        "",                         false,  Ok(room("amk-oslo"))),
        ("10.1.0.7",        "vakt@hamar.test",          false,  Err(550)),
        ("10.1.0.7",        "vakt@hamar.test",          true,   Err(550)),
        ("10.1.0.7",        "ola@example.com",          false,  Err(550)),
        ("10.1.0.7",        "vakt@sub.amk-oslo.test",   false,  Err(550)),
        ("10.1.0.7",        "alle@gruppe.test",         false,  Err(550)),
        ("10.9.0.7",        "vakt@amk-oslo.test",       false,  Err(550)),
        ("10.9.0.7",        "vakt@amk-oslo.test",       true,   Err(530)),
        ("10.9.0.7",        "",                         false,  Err(550)),
        ("10.9.0.7",        "",                         true,   Err(530)),
        // two rooms in one network
        ("10.2.0.7",        "vakt@hamar.test",          false,  Ok(room("hamar"))),
        ("10.2.0.7",        "vakt@bergen.test",         false,  Err(550)),
        ("10.2.0.200",      "vakt@hamar.test",          false,  Ok(room("hamar"))),
        ("10.2.0.200",      "vakt@bergen.test",         false,  Ok(room("bergen"))),
        ("10.2.0.200",      "vakt@amk-oslo.test",       false,  Err(550)),
        // gateways
        ("10.250.0.10",     "ola@example.com",          false,  Ok(gateway("inn"))),
        ("10.250.0.10",     "",                         false,  Ok(gateway("inn"))),
        ("10.250.0.10",     "vakt@amk-oslo.test",       false,  Err(550)),
        ("10.250.0.10",     "vakt@XN--LESUND-HUA.test", false,  Err(550)),
        ("10.250.0.10",     "alle@gruppe.test",         false,  Err(550)),
        ("10.250.0.11",     "ola@example.com",          false,  Err(550)),
        // a gateway that is also a workstation: the sender's domain tells
        ("10.3.0.1",        "ola@example.com",          false,  Ok(gateway("delt"))),
        ("10.3.0.1",        "vakt@bergen.test",         false,  Ok(room("bergen"))),
        ("10.3.0.1",        "vakt@hamar.test",          false,  Err(550)),
        ("10.3.0.1",        "",                         false,  Ok(room("bergen"))),
        ("10.3.0.2",        "vakt@bergen.test",         false,  Err(550)),
    ];
    for (client, from, could_identify, answer) in cases {
        let from = (!from.is_empty()).then(|| address(from));
        let found = sender(&peer(client), from.as_ref(), could_identify, &table);
        let found = found.map(|it| it.station.origin);
        assert_eq!(told(found, |code| code), answer, "{client} {from:?}");
    }
}

#[test]
fn a_report_may_be_of_whomever_a_peer_is_a_server_of() {
    let table = table();
    let oslo = Some(Login::User("oslo-ws3".to_owned()));
    #[rustfmt::skip]
    let cases = [
        ("10.1.0.7",    None,   vec![room("amk-oslo")]),
        ("10.2.0.7",    None,   vec![room("hamar")]),
        ("10.2.0.200",  None,   vec![room("bergen"), room("hamar")]),
        ("10.2.0.200",  oslo,   vec![room("amk-oslo")]),
        ("10.3.0.1",    None,   vec![room("bergen"), gateway("delt")]),
    ];
    for (client, user, expected) in cases {
        let peer = Peer {
            user,
            ..peer(client)
        };
        let first = sender(&peer, None, false, &table).unwrap().station.origin;
        let others = other_reporters(&peer, &first, &table);
        let others = others.into_iter().map(|it| it.station.origin);
        let all: Vec<Origin> = std::iter::once(first).chain(others).collect();
        assert_eq!(all, expected, "{client}");
    }
}

#[test]
fn a_peer_is_known_by_certificate_or_user() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        (vec![],                            None,               Err(550)),
        (vec!["ws1.amk-oslo.test"],         None,               Ok(room("amk-oslo"))),
        (vec!["x.test", "WS1.AMK-OSLO.test"], None,             Ok(room("amk-oslo"))),
        (vec!["ws2.amk-oslo.test"],         None,               Err(550)),
        (vec![],                            Some("oslo-ws3"),   Ok(room("amk-oslo"))),
        (vec![],                            Some("OSLO-WS3"),   Err(550)),
    ];
    for (names, user, answer) in cases {
        let peer = Peer {
            certificate: Some(proving(&names)),
            user: user.map(|it| Login::User(it.to_owned())),
            ..peer("10.9.0.7")
        };
        let found = sender(&peer, Some(&address("vakt@amk-oslo.test")), false, &table);
        let found = found.map(|it| it.station.origin);
        assert_eq!(told(found, |code| code), answer, "{names:?} {user:?}");
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_no_name_but_a_reason() {
    let table = table();
    let names = || ["ws1.amk-oslo.test".to_owned()];
    let asked = |client: &str, certificate| {
        let peer = Peer {
            certificate: Some(certificate),
            ..peer(client)
        };
        let from = address("vakt@amk-oslo.test");
        sender(&peer, Some(&from), false, &table).map_err(|it| (it.reply.to_string(), it.rule))
    };
    for (doubt, words) in [
        (Doubt::Revoked, "was revoked"),
        (
            Doubt::UnknownAuthority,
            "is of an authority that is not known here",
        ),
        (Doubt::KeyUnproved, "has a key that could not be checked"),
        (
            Doubt::Expired(Timestamp::default()),
            "expired at 1970-01-01T00:00:00.000Z",
        ),
    ] {
        // From nowhere, and from the network of another room.
        for client in ["10.9.0.7", "10.2.0.7"] {
            let doubted = Certificate::new(names(), None, Some(doubt.clone()));
            let (reply, rule) = asked(client, doubted).unwrap_err();
            let said = format!("Your certificate ws1.amk-oslo.test {words}");
            assert!(
                reply.starts_with("550 5.7.1 ") && reply.ends_with(&said),
                "{reply}"
            );
            let reason = format!("; its certificate ws1.amk-oslo.test {words}");
            assert!(rule.ends_with(&reason), "{rule}");
        }
    }
    let oslo = asked("10.9.0.7", proving(&["ws1.amk-oslo.test"]));
    assert_eq!(oslo.map(|it| it.station.origin), Ok(room("amk-oslo")));
    let (reply, rule) = asked("10.9.0.7", proving(&["ws9.test"])).unwrap_err();
    assert!(!reply.contains("certificate"), "{reply}");
    assert!(rule.ends_with("; its certificate is ws9.test"), "{rule}");
}

#[test]
fn a_login_wins_over_network_and_certificate() {
    let table = table();
    let user = |name: &str| Some(Login::User(name.to_owned()));
    let proved = |name: &str| Some(Login::Certificate(name.to_owned()));
    #[rustfmt::skip]
    let cases = [
        ("10.2.0.7", None,                            "vakt@hamar.test",    Ok(room("hamar"))),
        ("10.2.0.7", user("oslo-ws3"),                "vakt@amk-oslo.test", Ok(room("amk-oslo"))),
        ("10.2.0.7", user("oslo-ws3"),                "vakt@hamar.test",    Err(550)),
        ("10.2.0.7", user("oslo-ws3"),                "",                   Ok(room("amk-oslo"))),
        ("10.2.0.7", proved("ws1.amk-oslo.test"),     "vakt@hamar.test",    Err(550)),
        ("10.2.0.7", proved("WS1.amk-oslo.test"),     "vakt@amk-oslo.test", Ok(room("amk-oslo"))),
        // a password is no certificate, a certificate no password
        ("10.9.0.7", user("ws1.amk-oslo.test"),       "vakt@amk-oslo.test", Err(550)),
        ("10.9.0.7", proved("oslo-ws3"),              "vakt@amk-oslo.test", Err(550)),
        // of no room: as good as anybody who has not logged in
        ("10.2.0.7", user("somebody"),                "vakt@hamar.test",    Ok(room("hamar"))),
        ("10.9.0.7", user("somebody"),                "vakt@hamar.test",    Err(550)),
    ];
    for (client, user, from, answer) in cases {
        let from = (!from.is_empty()).then(|| address(from));
        let peer = Peer {
            user: user.clone(),
            ..peer(client)
        };
        let found = sender(&peer, from.as_ref(), true, &table);
        let found = found.map(|it| it.station.origin);
        assert_eq!(
            told(found, |code| code),
            answer,
            "{client} {user:?} {from:?}"
        );
    }
}

fn asked(origin: &Origin, recipient: &str, table: &RoutingTable) -> String {
    match decide(origin, None, recipient, table, Timestamp::default()) {
        Decision::Accept(accepted) => {
            let to = accepted.recipients.iter().map(|it| it.address.to_string());
            let mut text = to.collect::<Vec<_>>().join(" ");
            for (address, _) in accepted.left_out {
                text.push_str(&format!(" -{address}"));
            }
            text
        }
        Decision::Refuse(refused) | Decision::Defer(refused) => {
            let enhanced = refused.reply.enhanced_code().unwrap_or_default();
            format!("{} {enhanced}", refused.reply.code)
        }
    }
}

#[test]
fn nothing_leaves_however_it_is_spelt() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        ("ola@example.com",                     "550 5.7.1"),
        ("vakt@sub.amk-oslo.test",              "550 5.7.1"),
        ("vakt@test",                           "550 5.7.1"),
        ("vakt@gruppe.test",                    "550 5.7.1"),
        ("@example.com:vakt@amk-oslo.test",     "550 5.7.1"),
        ("@amk-oslo.test:ola@example.com",      "550 5.7.1"),
        ("ola%example.com@amk-oslo.test",       "550 5.7.1"),
        ("example.com!ola@amk-oslo.test",       "550 5.7.1"),
        ("\"ola@example.com\"@amk-oslo.test",   "550 5.7.1"),
        ("\"ola%example.com\"@amk-oslo.test",   "550 5.7.1"),
        ("ola@example.com@amk-oslo.test",       "550 5.7.1"),
        ("vakt@[10.1.0.5]",                     "550 5.7.1"),
        ("vakt@amk-oslo.test.",                 "550 5.7.1"),
        ("vakt@example.com.",                   "550 5.7.1"),
        ("vakt@xn--a.test",                     "550 5.7.1"),
        ("vakt",                                "501 5.1.3"),
        ("",                                    "501 5.1.3"),
        ("vakt@",                               "501 5.1.3"),
        ("vakt@amk-oslo.test ola@example.com",  "550 5.7.1"),
        ("vakt@amk-oslo.test,ola",              "550 5.7.1"),
        ("vakt\u{0}@amk-oslo.test",             "501 5.1.3"),
        ("vakt@amk-oslo.test",                  "vakt@amk-oslo.test"),
        ("VAKT@AMK-OSLO.TEST",                  "VAKT@amk-oslo.test"),
        ("\"vakt\"@amk-oslo.test",              "vakt@amk-oslo.test"),
        ("leder@ÅLESUND.test",                  "leder@ålesund.test"),
        ("leder@xn--lesund-hua.test",           "leder@ålesund.test"),
        ("BJØRN@amk-oslo.test",                 "BJØRN@amk-oslo.test"),
        ("hvem-som-helst@bergen.test",          "hvem-som-helst@bergen.test"),
        ("postmaster@amk-oslo.test",            "postmaster@amk-oslo.test"),
        ("postmaster@bergen.test",              "postmaster@bergen.test"),
        ("vatk@amk-oslo.test",                  "550 5.1.1"),
        ("vakt+x@amk-oslo.test",                "550 5.1.1"),
    ];
    for (recipient, answer) in cases {
        assert_eq!(
            asked(&room("amk-oslo"), recipient, &table),
            answer,
            "{recipient}"
        );
    }
}

#[test]
fn a_room_chooses_whom_it_accepts() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        (room("amk-oslo"),  "vakt@hamar.test",          "vakt@hamar.test"),
        (room("bergen"),    "vakt@hamar.test",          "550 5.7.1"),
        (room("hamar"),     "vakt@hamar.test",          "550 5.7.1"),
        (gateway("inn"),    "vakt@hamar.test",          "vakt@hamar.test"),
        (Origin::Relay,     "vakt@hamar.test",          "vakt@hamar.test"),
        (gateway("inn"),    "ola@example.com",          "550 5.7.1"),
        (Origin::Relay,     "ola@example.com",          "550 5.7.1"),
        (room("amk-oslo"),  "ALLE@gruppe.test",         "vakt@amk-oslo.test vakt@bergen.test vakt@hamar.test"),
        (room("bergen"),    "alle@gruppe.test",         "vakt@amk-oslo.test vakt@bergen.test -vakt@hamar.test"),
        (room("bergen"),    "bare-hamar@gruppe.test",   "550 5.7.1"),
        (gateway("inn"),    "bare-hamar@gruppe.test",   "vakt@hamar.test"),
        (gateway("inn"),    "tom@gruppe.test",          "550 5.7.1"),
    ];
    for (origin, recipient, answer) in cases {
        assert_eq!(
            asked(&origin, recipient, &table),
            answer,
            "{origin:?} {recipient}"
        );
    }
}

#[test]
fn postmaster_is_the_operator_of_the_relay() {
    let set = |to: &str| table().with_postmaster(Some(address(to)));
    let from = room("bergen");
    assert_eq!(asked(&from, "Postmaster", &table()), "550 5.1.1");
    assert_eq!(
        asked(&from, "POSTMASTER", &set("drift@hamar.test")),
        "drift@hamar.test"
    );
    assert_eq!(
        asked(&from, "postmaster", &set("drift@example.com")),
        "451 4.3.0"
    );
}

#[test]
fn a_refusal_says_what_to_do() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        ("vatk@amk-oslo.test",  "vakt@amk-oslo.test",   "recipients do not include \"vatk\""),
        ("ledr@ålesund.test",   "leder@ålesund.test",   "room \"amk-oslo\""),
        ("ola@example.com",     "ola@example.com",      "no registered room has the domain example.com"),
        ("vakt@hamar.test",     "+47 00 00 00 02",      "room \"hamar\" accepts from amk-oslo, not from \"bergen\""),
    ];
    for (recipient, reply, rule) in cases {
        let decision = decide(
            &room("bergen"),
            None,
            recipient,
            &table,
            Timestamp::default(),
        );
        let Decision::Refuse(refused) = decision else {
            panic!("{recipient} is accepted");
        };
        assert!(
            refused.reply.to_string().contains(reply),
            "{}",
            refused.reply
        );
        assert!(refused.rule.contains(rule), "{}", refused.rule);
    }
}

#[test]
fn nobody_writes_as_another() {
    let table = table();
    let sender = address("vakt@amk-oslo.test");
    let named =
        |names: &[&str]| Author::Mailboxes(names.iter().map(|it| (*it).to_owned()).collect());
    let (oslo, inn) = (room("amk-oslo"), gateway("inn"));
    #[rustfmt::skip]
    let cases = [
        (&oslo,     named(&["vakt@amk-oslo.test"]),                         true),
        (&oslo,     named(&["hvem@AMK-OSLO.test", "x@xn--lesund-hua.test"]), true),
        (&oslo,     named(&["vakt@amk-oslo.test", "vakt@hamar.test"]),      false),
        (&oslo,     named(&["vakt@hamar.test"]),                            false),
        (&oslo,     named(&["ola@example.com"]),                            false),
        (&oslo,     named(&["vakt@sub.amk-oslo.test"]),                     false),
        (&oslo,     named(&["vakt"]),                                       false),
        (&oslo,     named(&["vakt@amk-oslo.test."]),                        false),
        (&oslo,     named(&["x%hamar.test@amk-oslo.test"]),                 false),
        (&oslo,     named(&[]),                                             false),
        (&oslo,     Author::Missing,                                        false),
        (&oslo,     Author::Doubled,                                        false),
        (&oslo,     Author::Unclear,                                        false),
        (&oslo,     Author::Several,                                        false),
        (&inn,      named(&["ola@example.com"]),                            true),
        (&inn,      named(&["ola@example.com", "vakt@hamar.test"]),         false),
        (&inn,      named(&["vakt@ÅLESUND.test"]),                          false),
        (&inn,      named(&["alle@gruppe.test"]),                           false),
        (&inn,      Author::Missing,                                        false),
        (&Origin::Relay, Author::Missing,                                   true),
    ];
    let good = |origin: &Origin| match origin {
        Origin::Gateway(_) => named(&["ola@example.com"]),
        _ => named(&["vakt@amk-oslo.test"]),
    };
    let claim = |field, author| Claim { field, author };
    for (origin, from, allowed) in cases {
        let answer = author(
            origin,
            Some(&sender),
            &[claim(Origination::From, from.clone())],
            &table,
        );
        assert_eq!(answer.is_ok(), allowed, "{origin:?} {from:?}");
        if let Err(refused) = answer {
            assert_eq!(refused.reply.code, 550);
        }
        for field in Origination::ALL {
            let claims = [
                claim(Origination::From, good(origin)),
                claim(field, from.clone()),
            ];
            let answer = author(origin, Some(&sender), &claims, &table);
            assert_eq!(answer.is_ok(), allowed, "{origin:?} {field:?} {from:?}");
        }
    }
    assert!(
        author(
            &oslo,
            Some(&sender),
            &[claim(Origination::Sender, good(&oslo))],
            &table
        )
        .is_err()
    );
}

#[test]
fn a_redirect_changes_where_mail_goes() {
    let table = table();
    #[rustfmt::skip]
    let cases = [
        ("2026-11-22T19:59:59+01:00", "hamar"),
        ("2026-11-22T20:00:00+01:00", "bergen"),
        ("2026-11-23T05:59:59+01:00", "bergen"),
        ("2026-11-23T06:30:00+01:00", "amk-oslo"),
        ("2026-11-23T07:00:00+01:00", "hamar"),
    ];
    for (now, via) in cases {
        let route = route(&RoomId::new("hamar"), &table, now.parse().unwrap()).unwrap();
        assert_eq!(route.via.as_str(), via, "{now}");
        assert_eq!(route.next_hops, table.room(&route.via).unwrap().next_hops);
    }
    assert_eq!(
        route(&RoomId::new("nowhere"), &table, Timestamp::default()),
        None
    );
}

#[test]
fn a_disabled_room_takes_no_mail_unless_it_is_redirected() {
    let disable = |table: &str, id: &str| {
        let id = format!("id = \"{id}\"\n");
        table.replace(&id, &format!("{id}disabled = true\n"))
    };
    let hamar = disable(TABLE, "hamar");
    let both = disable(&hamar, "bergen");
    let closed = "550 5.2.1 <vakt@hamar.test>: Legevakt Hamar takes no mail at the moment; call +47 00 00 00 02 instead";
    let unknown = "550 5.1.1";
    #[rustfmt::skip]
    let cases = [
        // table, when, sender's room, recipient, reply, rule
        (&hamar, "2026-11-22T19:00:00+01:00", "amk-oslo", "vakt@hamar.test", closed, "room \"hamar\" is disabled"),
        (&hamar, "2026-11-22T21:00:00+01:00", "amk-oslo", "vakt@hamar.test", "250 2.1.5", ""),
        (&hamar, "2026-11-22T19:00:00+01:00", "bergen", "vakt@hamar.test", "550 5.7.1", "room \"hamar\" accepts from amk-oslo, not from \"bergen\""),
        (&hamar, "2026-11-22T19:00:00+01:00", "hamar", "vakt@bergen.test", "250 2.1.5", ""),
        (&hamar, "2026-11-22T19:00:00+01:00", "amk-oslo", "bare-hamar@gruppe.test", "550 5.7.1", "group bare-hamar@gruppe.test has no member that accepts this"),
        (&both, "2026-11-22T21:00:00+01:00", "amk-oslo", "vakt@hamar.test", closed,
            "room \"hamar\" is redirected to \"bergen\" until 2026-11-23T06:00:00.000Z: Flytting; room \"bergen\" is disabled"),
        (&both, "2026-11-23T06:30:00+01:00", "amk-oslo", "vakt@hamar.test", "250 2.1.5", ""),
        (&hamar, "2026-11-22T19:00:00+01:00", "amk-oslo", "vakt@amk-oslo.testt", "550 5.7.1", "no registered room has the domain amk-oslo.testt"),
        (&disable(TABLE, "amk-oslo"), "2026-11-22T19:00:00+01:00", "bergen", "vkat@amk-oslo.test", unknown, "room \"amk-oslo\": recipients do not include \"vkat\""),
    ];
    for (toml, now, from, to, reply, rule) in cases {
        let (table, _) = RoutingTable::parse(toml, 7).unwrap();
        let now: Timestamp = now.parse().unwrap();
        let told = match decide(&room(from), None, to, &table, now) {
            Decision::Accept(accepted) => {
                let first = accepted.recipients.first().unwrap();
                let route = route(&first.room, &table, now).unwrap();
                assert!(!route.next_hops.is_empty(), "{route:?}");
                (Reply::recipient_ok().to_string(), String::new())
            }
            Decision::Refuse(refused) => (refused.reply.to_string(), refused.rule),
            Decision::Defer(_) => panic!("{to} is put off"),
        };
        assert!(told.0.starts_with(reply), "{now} {to}: {}", told.0);
        assert_eq!(told.1, rule, "{now} {to}");
    }
}

#[test]
fn mail_for_a_disabled_room_has_no_next_hop() {
    let toml = TABLE.replace("id = \"bergen\"\n", "id = \"bergen\"\ndisabled = true\n");
    let (table, _) = RoutingTable::parse(&toml, 7).unwrap();
    let now = "2026-11-22T21:00:00+01:00".parse().unwrap();
    for (id, via, rule) in [
        ("bergen", "bergen", "room \"bergen\" is disabled"),
        (
            "hamar",
            "bergen",
            "room \"hamar\" is redirected to \"bergen\" until 2026-11-23T06:00:00.000Z: Flytting; room \"bergen\" is disabled",
        ),
    ] {
        let route = route(&RoomId::new(id), &table, now).unwrap();
        assert_eq!((route.via.as_str(), route.rule.as_str()), (via, rule));
        assert_eq!(route.next_hops, []);
    }
}

#[test]
fn a_member_in_a_disabled_room_is_left_out() {
    let toml = TABLE.replace("id = \"bergen\"\n", "id = \"bergen\"\ndisabled = true\n");
    let (table, _) = RoutingTable::parse(&toml, 7).unwrap();
    let now = "2026-11-22T19:00:00+01:00".parse().unwrap();
    let told: Vec<_> = explain("vakt@amk-oslo.test", "alle@gruppe.test", None, &table, now)
        .into_iter()
        .map(|it| (it.decision, it.recipient, it.reply))
        .collect();
    let ok = Reply::recipient_ok().to_string();
    let closed = "550 5.2.1 <vakt@bergen.test>: Akuttmottak Bergen takes no mail at the moment";
    let expected = [
        ("accept", "vakt@amk-oslo.test", ok.as_str()),
        ("accept", "vakt@hamar.test", ok.as_str()),
        ("refuse", "vakt@bergen.test", closed),
    ]
    .map(|(decision, recipient, reply)| (decision, recipient.to_owned(), reply.to_owned()));
    assert_eq!(told, expected);
}

#[test]
fn explains_itself() {
    let table = table();
    let now = "2026-11-22T21:00:00+01:00".parse().unwrap();
    let ask = |from: &str, to: &str, client: Option<&str>| {
        let client = client.map(Client::from);
        explain(from, to, client.as_ref(), &table, now)
            .iter()
            .map(|it| format!("{} {} {:?}", it.decision, it.rule, it.next_hops))
            .collect::<Vec<_>>()
    };
    #[rustfmt::skip]
    let cases = [
        ("vakt@bergen.test", "<vakt@amk-oslo.test>", None, vec![
            "accept room \"amk-oslo\" accepts from any; recipients include \"vakt\" [\"smtp://ilbud@10.1.0.5:25\", \"maildir:data/oslo\"]"]),
        ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.1.0.7"), vec![
            "accept room \"hamar\" accepts from amk-oslo; recipients are not limited; room \"hamar\" is redirected to \"bergen\" until 2026-11-23T06:00:00.000Z: Flytting [\"maildir:data/bergen\"]"]),
        ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.2.0.7"), vec![
            "refuse network 10.2.0.0/24 is room \"hamar\", which may not send as vakt@amk-oslo.test []"]),
        ("vakt@bergen.test", "vakt@bergen.test", Some("oslo-ws3"), vec![
            "refuse user \"oslo-ws3\" is room \"amk-oslo\", which may not send as vakt@bergen.test []"]),
        ("vakt@amk-oslo.test", "vakt@bergen.test", Some("ws1.amk-oslo.test"), vec![
            "accept room \"bergen\" accepts from any; recipients are not limited [\"maildir:data/bergen\"]"]),
        ("vakt@amk-oslo.test", "vakt@bergen.test", Some("ws9"), vec!["refuse no workstation is user \"ws9\" []"]),
        ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.9.0.7"), vec![
            "refuse no workstation or gateway is 10.9.0.7 []"]),
        ("ola@example.com", "vakt@example.com", None, vec![
            "refuse no registered room has the domain example.com []"]),
        ("<>", "vakt@bergen.test", None, vec![
            "accept room \"bergen\" accepts from any; recipients are not limited [\"maildir:data/bergen\"]"]),
        ("ola", "vakt@bergen.test", None, vec!["refuse a sender is written as an address []"]),
        ("alle@gruppe.test", "vakt@bergen.test", None, vec![
            "refuse no room and no gateway may send as this address []"]),
        ("vakt@bergen.test", "alle@gruppe.test", None, vec![
            "accept group alle@gruppe.test; room \"amk-oslo\" accepts from any; recipients include \"vakt\" [\"smtp://ilbud@10.1.0.5:25\", \"maildir:data/oslo\"]",
            "accept group alle@gruppe.test; room \"bergen\" accepts from any; recipients are not limited [\"maildir:data/bergen\"]",
            "refuse room \"hamar\" accepts from amk-oslo, not from \"bergen\" []"]),
    ];
    for (from, to, client, lines) in cases {
        assert_eq!(ask(from, to, client), lines, "{from} {to} {client:?}");
    }
}

const FIRST_REDIRECT: &str = "2026-11-22T21:00:00Z";

fn told_steps(explanation: &Explanation) -> Vec<String> {
    let steps = explanation.steps.iter();
    let told = steps.map(|it| format!("{} {}: {}", it.about, it.result.word(), it.rule));
    told.collect()
}

#[test]
fn each_rule_that_was_tried_is_told() {
    let table = table();
    let now: Timestamp = FIRST_REDIRECT.parse().unwrap();
    let presumed =
        "sender decided: no client is named: one that may send for room \"amk-oslo\" is presumed";
    let asked = [
        "recipient passed: it is not <postmaster>",
        "recipient passed: it is one address, and names no way",
    ];
    #[rustfmt::skip]
    let cases = [
        ("vakt@amk-oslo.test", "postmaster", None, vec![
            presumed, "recipient decided: <postmaster> stands for the setting \"postmaster\", which is not set"]),
        ("vakt@amk-oslo.test", "x@example.com", None, vec![
            presumed, asked[0], asked[1], "recipient passed: no group is x@example.com",
            "recipient decided: no registered room has the domain example.com"]),
        ("vakt@amk-oslo.test", "vakt@hamar.test", None, vec![
            presumed, asked[0], asked[1], "recipient passed: no group is vakt@hamar.test",
            "recipient passed: room \"hamar\" has the domain hamar.test",
            "recipient passed: room \"hamar\" has this mailbox",
            "recipient decided: room \"hamar\" accepts from amk-oslo; recipients are not limited",
            "route decided: room \"hamar\" is redirected to \"bergen\" until 2026-11-23T06:00:00.000Z: Flytting",
            "route passed: room \"bergen\" is redirected to \"amk-oslo\" until 2026-11-24T05:00:00.000Z: it begins at 2026-11-23T05:00:00.000Z"]),
        ("vakt@bergen.test", "vakt@hamar.test", Some("10.2.0.130"), vec![
            "sender decided: network 10.2.0.128/25 is room \"bergen\"",
            asked[0], asked[1], "recipient passed: no group is vakt@hamar.test",
            "recipient passed: room \"hamar\" has the domain hamar.test",
            "recipient passed: room \"hamar\" has this mailbox",
            "recipient decided: room \"hamar\" accepts from amk-oslo, not from \"bergen\""]),
        ("vakt@hamar.test", "nobody@amk-oslo.test", Some("10.2.0.130"), vec![
            "sender passed: network 10.2.0.128/25 is room \"bergen\", not whom vakt@hamar.test is of",
            "sender decided: network 10.2.0.0/24 is room \"hamar\"",
            asked[0], asked[1], "recipient passed: no group is nobody@amk-oslo.test",
            "recipient passed: room \"amk-oslo\" has the domain amk-oslo.test",
            "recipient decided: room \"amk-oslo\": recipients do not include \"nobody\""]),
        ("vakt@hamar.test", "vakt@bergen.test", Some("10.9.0.1"), vec![
            "sender decided: no workstation or gateway is 10.9.0.1"]),
    ];
    for (from, to, client, expected) in cases {
        let client = client.map(Client::from);
        let found = explain(from, to, client.as_ref(), &table, now);
        assert_eq!(
            told_steps(found.first().unwrap()),
            expected,
            "{from} {to} {client:?}"
        );
    }
}

/// What the dialogue says, and by which rule.
fn said(
    (client, from, to): (&str, &str, &str),
    table: &RoutingTable,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mail_from = (!from.is_empty()).then(|| address(from));
    let admitted = match sender(
        &visitor(&Client::from(client), table),
        mail_from.as_ref(),
        false,
        table,
    ) {
        Ok(admitted) => admitted,
        Err(refused) => return vec![("refuse", refused.rule)],
    };
    match decide(&admitted.station.origin, mail_from.as_ref(), to, table, now) {
        Decision::Refuse(it) => vec![("refuse", it.rule)],
        Decision::Defer(it) => vec![("defer", it.rule)],
        Decision::Accept(it) => {
            let members = it.recipients.into_iter().map(|it| ("accept", it.rule));
            let left_out = it.left_out.into_iter().map(|(_, rule)| ("refuse", rule));
            members.chain(left_out).collect()
        }
    }
}

/// What is explained is what is decided, whoever asks for whatever; and what decided is told last.
#[test]
fn an_explanation_decides_as_the_dialogue_does() {
    let table = table();
    #[rustfmt::skip]
    let senders = ["", "vakt@amk-oslo.test", "x@hamar.test", "x@bergen.test", "x@example.com", "alle@gruppe.test"];
    #[rustfmt::skip]
    let recipients = [
        "postmaster", "vakt@amk-oslo.test", "nobody@amk-oslo.test", "vakt@ålesund.test", "x@hamar.test", "x@bergen.test",
        "alle@gruppe.test", "bare-hamar@gruppe.test", "tom@gruppe.test", "x@example.com", "a%b@hamar.test", "", "@",
    ];
    #[rustfmt::skip]
    let clients = [
        "10.1.0.7", "10.2.0.7", "10.2.0.130", "10.3.0.1", "10.250.0.10", "10.9.9.9", "oslo-ws3", "ws1.amk-oslo.test", "x",
    ];
    let moments = [
        "2026-11-22T12:00:00Z",
        FIRST_REDIRECT,
        "2026-11-23T05:30:00Z",
    ];
    let pairs = senders
        .iter()
        .flat_map(|from| recipients.map(|to| (*from, to)));
    let clients = clients
        .iter()
        .flat_map(|client| moments.map(|now| (*client, now)));
    let clients: Vec<_> = clients.collect();
    for ((from, to), (client, now)) in
        pairs.flat_map(|pair| clients.iter().map(move |it| (pair, *it)))
    {
        let now: Timestamp = now.parse().unwrap();
        let found = explain(from, to, Some(&Client::from(client)), &table, now);
        let last = |it: &Explanation| {
            let mut steps = it.steps.iter().filter(|it| it.about != "route");
            let last = steps.next_back().unwrap();
            assert_eq!(last.result, Tried::Decided);
            last.rule.clone()
        };
        let told: Vec<_> = found.iter().map(|it| (it.decision, last(it))).collect();
        assert_eq!(
            told,
            said((client, from, to), &table, now),
            "{from} {to} {client} {now}"
        );
        for it in found.iter().filter(|it| it.decision == "accept") {
            let room = it.recipient_room.as_ref().unwrap();
            assert_eq!(it.hops, route(room, &table, now).unwrap().next_hops);
        }
    }
}

#[test]
fn a_room_may_accept_from_thousands_and_its_rule_names_the_first_of_them() {
    let room = |id: &str, extra: &str| {
        format!(
            "[[room]]\nid = \"{id}\"\nname = \"{id}\"\ndomains = [\"{id}.test\"]\nnext_hops = [\"maildir:x\"]\n{extra}"
        )
    };
    let ids: Vec<String> = (0..2000).rev().map(|n| format!("r{n}")).collect();
    let listed = format!("accepts_from = [\"{}\"]\n", ids.join("\", \""));
    let others: String = ids.iter().map(|id| room(id, "")).collect();
    let toml = room("a", &listed) + &room("b", "") + &others;
    let table = RoutingTable::parse(&toml, 1).unwrap().0;
    assert!(table.export().contains(&listed), "as written");
    let first: Vec<String> = ids.iter().take(20).cloned().collect();
    let first = first.join(", ");
    let ask = |from: &str| {
        let origin = Origin::Room(RoomId::new(from));
        decide(&origin, None, "x@a.test", &table, Timestamp::from_millis(0))
    };
    for from in ["r0", "r1999"] {
        let Decision::Accept(accepted) = ask(from) else {
            panic!("{from}");
        };
        let rule =
            format!("room \"a\" accepts from {first} and 1980 more; recipients are not limited");
        assert_eq!(accepted.recipients.first().unwrap().rule, rule);
    }
    let Decision::Refuse(refused) = ask("b") else {
        panic!("b");
    };
    let rule = format!("room \"a\" accepts from {first} and 1980 more, not from \"b\"");
    assert_eq!(refused.rule, rule);
}
