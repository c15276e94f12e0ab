//! Limits: what is too large, too many or too fast is said so, in the words of the contract.
//!
//! Rates are by the hour here, so that nothing flows in while a test runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::client::{Client, Reply, letter, letter_saying, vakt};
use crate::relay::{Relay, Setup, source};
use crate::wait;

/// Where the gateway `gw` is, and who writes through it.
const GATEWAY: &str = "127.0.250.9";
const OUTSIDE: &str = "x@example.org";
/// Known to be routine at MAIL.
const ROUTINE: &str = " MT-PRIORITY=0";

/// Three rooms, a gateway, and these settings.
fn limited(settings: &str) -> Relay {
    let gateway = format!("[[gateway]]\nname = \"gw\"\nnetwork = \"{GATEWAY}/32\"\n");
    let setup = Setup::three_rooms().routes(&gateway);
    setup.settings(settings).start()
}

/// A letter from `a` to `c` with these header fields on top.
fn marked(fields: &str) -> Vec<u8> {
    [fields.as_bytes(), &letter(&vakt("a"), &vakt("c"))].concat()
}

/// To one recipient in `c`; what refuses it, or takes it.
fn to_c(client: &mut Client, from: &str, parameters: &str) -> Reply {
    let refused = client.envelope(from, &[&vakt("c")], parameters);
    refused.unwrap_or_else(|| client.data(&letter(from, &vakt("c"))))
}

/// A letter without MT-PRIORITY.
fn unsaid(client: &mut Client, message: &[u8]) -> Reply {
    client.send(&vakt("a"), &[&vakt("c")], message)
}

fn is_taken(reply: &Reply) {
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
}

/// Put off, with when to come back, and a row that names the limit.
fn is_put_off(relay: &Relay, reply: &Reply, rule: &str) {
    assert_eq!(reply.said(), "450 4.7.1", "{reply}");
    assert!(reply.text().contains("; try again in "), "{reply}");
    relay.refusal(&reply.reference());
    let events = relay.rows(&["log", "show", &reply.reference()]);
    assert_eq!(events[0]["event"], "refused");
    assert_eq!(events[0]["rule"], rule);
}

#[test]
fn a_message_too_large_is_refused_at_mail_and_after_data() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nmessage_size = \"64 KiB\"")
        .start();
    let ehlo = relay.client("a").say("EHLO again");
    assert!(ehlo.lines.contains(&"SIZE 65536".to_owned()), "{ehlo}");
    let announced = relay
        .client("a")
        .say("MAIL FROM:<vakt@a.nodnett.test> SIZE=65537");
    assert_eq!(announced.said(), "552 5.3.4", "{announced}");

    let message = letter_saying(&vakt("a"), &vakt("b"), &"x\r\n".repeat(40_000));
    let mut client = relay.client("a");
    let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "552 5.3.4", "{reply}");
    assert_eq!(
        relay.refusal(&reply.reference())["recipient"],
        "vakt@b.nodnett.test"
    );
    let after = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(
        after.said(),
        "250 2.0.0",
        "the dialogue stays in step: {after}"
    );
}

#[test]
fn one_recipient_too_many_is_told_to_come_again() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nrecipients = 3")
        .start();
    let mut client = relay.client("a");
    assert!(client.say("EHLO again").text().contains("RCPTMAX=3"));
    client.say("MAIL FROM:<vakt@a.nodnett.test>");
    for n in 1..=3 {
        assert_eq!(
            client.say(format!("RCPT TO:<r{n}@b.nodnett.test>")).code,
            250
        );
    }
    let reply = client.say("RCPT TO:<r4@b.nodnett.test>");
    assert_eq!(reply.said(), "452 4.5.3", "{reply}");
    relay.refusal(&reply.reference());
    let sent = client.data(&letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn a_workstation_that_sends_too_fast_is_slowed_down_alone() {
    let relay = Setup::three_rooms()
        .settings("[limits.rates]\nworkstation = \"5/min\"")
        .start();
    let send = |from: &str, source: &str| {
        let message = letter(&vakt(from), &vakt("c"));
        Client::greeted(relay.port, source).send(&vakt(from), &[&vakt("c")], &message)
    };
    let replies: Vec<_> = (0..8).map(|_| send("a", "127.0.1.9")).collect();
    let slowed = replies
        .iter()
        .find(|reply| reply.code != 250)
        .expect("a refusal");
    assert_eq!(slowed.said(), "450 4.7.1", "{slowed}");
    assert_eq!(relay.refusal(&slowed.reference())["client"], "127.0.1.9");
    assert!(replies.iter().filter(|reply| reply.code == 250).count() >= 5);
    assert_eq!(
        send("a", "127.0.1.10").code,
        250,
        "another workstation of the room"
    );
    assert_eq!(send("b", "127.0.2.9").code, 250, "another room");
}

#[test]
fn an_address_with_too_many_connections_hears_421_and_others_are_let_in() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nconnections_per_address = 3")
        .start();
    let mut held: Vec<Client> = (0..3).map(|_| relay.client("a")).collect();
    let mut fourth = Client::silent(relay.port, &source("a")).unwrap();
    let reply = fourth.reply();
    assert_eq!(reply.said(), "421 4.7.0", "{reply}");
    relay.client("b");
    assert_eq!(held.pop().unwrap().say("QUIT").code, 221);
    crate::wait::until("room for one more", || {
        Client::silent(relay.port, &source("a"))
            .unwrap()
            .reply()
            .code
            == 220
    });
}

#[test]
fn a_full_house_says_421() {
    let relay = Setup::three_rooms()
        .settings("[limits]\nconnections = 2")
        .start();
    crate::wait::until("an empty house", || {
        let held = ["a", "b"].map(|l| Client::silent(relay.port, &source(l)).unwrap());
        let mut third = Client::silent(relay.port, &source("c")).unwrap();
        let codes = held.map(|mut client| client.reply().code);
        codes == [220, 220] && third.reply().said() == "421 4.7.0"
    });
}

#[test]
fn twenty_errors_and_a_thousand_commands_are_borne() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    for n in 0..20 {
        assert_eq!(client.say("NONSENSE").code / 100, 5, "error {n}");
    }
    let mut client = relay.client("a");
    for n in 0..990 {
        assert_eq!(client.say("NOOP").code, 250, "command {n}");
    }
    let mut client = relay.client("a");
    let last = (0..2000)
        .map(|_| client.say("NONSENSE"))
        .find(|reply| reply.code / 100 != 5);
    assert_eq!(last.expect("an end").code, 421);
}

#[test]
fn a_line_too_long_is_refused_and_the_dialogue_goes_on() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    let reply = client.say(format!("NOOP {}", "x".repeat(100_000)));
    assert_eq!(reply.code, 500, "{reply}");
    assert_eq!(client.say("NOOP").code, 250);
}

#[test]
fn every_measure_is_limited_for_workstation_room_and_gateway() {
    let measures = [
        ("rates", "messages", ["2/h", "3/h", "1/h"]),
        ("recipient_rates", "recipients", ["2/h", "3/h", "1/h"]),
        ("byte_rates", "bytes", ["2 KiB/h", "3 KiB/h", "1 KiB/h"]),
    ];
    for (table, measure, [workstation, room, gateway]) in measures {
        let relay = limited(&format!(
            "[limits.{table}]\nworkstation = \"{workstation}\"\nroom = \"{room}\"\ngateway = \"{gateway}\""
        ));
        let rule = |rate: &str, who: &str| {
            format!("limits.{table}: more than {rate} {measure} from {who}")
        };
        let send = |source: &str, from: &str| {
            let mut client = Client::greeted(relay.port, source);
            to_c(&mut client, from, ROUTINE)
        };
        let (a, b) = (vakt("a"), vakt("b"));
        is_taken(&send("127.0.1.9", &a));
        is_taken(&send("127.0.1.9", &a));
        let reply = send("127.0.1.9", &a);
        is_put_off(&relay, &reply, &rule(workstation, "workstation 127.0.1.9"));
        assert!(
            reply
                .text()
                .contains(&format!("from this workstation ({workstation})"))
        );
        is_taken(&send("127.0.1.10", &a));
        let reply = send("127.0.1.10", &a);
        is_put_off(&relay, &reply, &rule(room, "room room-a"));
        is_taken(&send("127.0.2.9", &b));
        is_taken(&send(GATEWAY, OUTSIDE));
        let reply = send(GATEWAY, OUTSIDE);
        is_put_off(&relay, &reply, &rule(gateway, "gateway gw"));
    }
}

#[test]
fn urgent_mail_passes_beyond_a_rate_until_its_reserve_is_used_up() {
    let relay = limited("[limits.rates]\nworkstation = \"2/h\"");
    let mut client = relay.client("a");
    is_taken(&to_c(&mut client, &vakt("a"), ROUTINE));
    is_taken(&unsaid(&mut client, &marked("")));
    for fields in [
        "X-Priority: 1 (Highest)\r\n",
        "Importance: high\r\n",
        "Priority: urgent\r\n",
        "X-MSMail-Priority: High\r\n",
    ] {
        let refused = to_c(&mut client, &vakt("a"), ROUTINE);
        assert_eq!(refused.said(), "450 4.7.1", "before {fields}{refused}");
        is_taken(&unsaid(&mut client, &marked(fields)));
    }
    is_taken(&to_c(&mut client, &vakt("a"), " MT-PRIORITY=9"));
    let rule = "limits.rates: more than 2/h messages from workstation 127.0.1.9, the reserve for \
                urgent mail included";
    let reply = to_c(&mut client, &vakt("a"), " MT-PRIORITY=4");
    is_put_off(&relay, &reply, rule);
    wait::until("a word to the operator", || relay.log().contains(rule));
    let reply = unsaid(&mut client, &marked("X-Priority: 1\r\n"));
    is_put_off(&relay, &reply, rule);
}

/// A little urgent, or urgent in a room that may not be.
#[test]
fn what_is_not_urgent_enough_is_refused_at_once() {
    let settings = "[limits.rates]\nworkstation = \"1/h\"";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", "priority_ceiling = 3")
        .room("c", "maildir:mail/c")
        .settings(settings)
        .start();
    let mut client = relay.client("a");
    is_taken(&to_c(&mut client, &vakt("a"), ""));
    for parameters in ["", " MT-PRIORITY=3", " MT-PRIORITY=9"] {
        let reply = client.say(format!("MAIL FROM:<{}>{parameters}", vakt("a")));
        assert_eq!(reply.said(), "450 4.7.1", "{parameters}: {reply}");
    }
    let relay = limited(settings);
    let mut client = relay.client("a");
    is_taken(&to_c(&mut client, &vakt("a"), ""));
    for parameters in [" MT-PRIORITY=3", " MT-PRIORITY=-4"] {
        let reply = client.say(format!("MAIL FROM:<{}>{parameters}", vakt("a")));
        assert_eq!(reply.said(), "450 4.7.1", "{parameters}: {reply}");
    }
    let reply = unsaid(&mut client, &marked("X-Priority: 2\r\n"));
    assert_eq!(reply.said(), "450 4.7.1", "{reply}");
}

#[test]
fn a_client_that_goes_round_and_round_uses_up_no_reserve_and_few_places() {
    let relay = limited("[limits.rates]\nworkstation = \"1/h\"\nroom = \"1/h\"");
    let mut client = relay.client("a");
    is_taken(&unsaid(&mut client, &marked("")));
    let rule = "limits.rates: more than 1/h messages from workstation 127.0.1.9";
    let mut looping: Vec<Client> = (0..4).map(|_| relay.client("a")).collect();
    let mail = format!("MAIL FROM:<{}>", vakt("a"));
    for _ in 0..2 {
        for one in &mut looping {
            let refused = one.envelope(&vakt("a"), &[&vakt("c")], "");
            assert_eq!(refused, None, "on trial");
            assert_eq!(one.say("DATA").code, 354);
        }
        is_put_off(&relay, &client.say(&mail), rule);
        for one in &mut looping {
            one.put(&marked(""));
            one.put(b".\r\n");
        }
        for one in &mut looping {
            is_put_off(&relay, &one.reply(), rule);
        }
    }
    // All of the reserve is there, and so are the places.
    for _ in 0..5 {
        is_taken(&unsaid(&mut client, &marked("Importance: high\r\n")));
    }
    let warned = relay.log().matches(rule).count();
    assert_eq!(warned, 1, "{}", relay.log());
}

/// Nothing of a transaction is left over for a handshake, least of all one that does not come.
#[test]
fn who_is_to_shake_hands_holds_no_place() {
    let relay = Setup::three_rooms()
        .tls("starttls")
        .settings("[limits.rates]\nworkstation = \"1/h\"")
        .start();
    let mut client = relay.client("a");
    is_taken(&unsaid(&mut client, &marked("")));
    let mut waiting: Vec<Client> = (0..4).map(|_| relay.client("a")).collect();
    let (a, c) = (vakt("a"), vakt("c"));
    let pipelined = format!("MAIL FROM:<{a}>\r\nRCPT TO:<{c}>\r\nSTARTTLS\r\n");
    for one in &mut waiting {
        one.put(pipelined.as_bytes());
        assert_eq!([(); 3].map(|()| one.reply().code), [250, 250, 220]);
    }
    assert_eq!(client.envelope(&a, &[&c], ""), None, "on trial");
}

#[test]
fn chunks_and_pipelined_commands_are_limited_too() {
    let relay = limited("[limits.rates]\nworkstation = \"1/h\"");
    let mut client = relay.client("a");
    is_taken(&unsaid(&mut client, &marked("")));
    let commands = |parameters: &str| {
        let (a, c) = (vakt("a"), vakt("c"));
        format!("MAIL FROM:<{a}>{parameters}\r\nRCPT TO:<{c}>\r\n").into_bytes()
    };
    let chunk = |message: &[u8]| {
        let command = format!("BDAT {} LAST\r\n", message.len());
        [command.as_bytes(), message].concat()
    };
    client.put(&[commands(ROUTINE), b"DATA\r\nNOOP\r\n".to_vec()].concat());
    let codes = [(); 4].map(|()| client.reply().code);
    assert_eq!(codes[0], 450);
    assert!(codes[1..3].iter().all(|code| code / 100 == 4), "{codes:?}");
    assert_eq!(codes[3], 250);
    let rule = "limits.rates: more than 1/h messages from workstation 127.0.1.9";
    client.put(&[commands(""), chunk(&marked(""))].concat());
    assert_eq!([client.reply().code, client.reply().code], [250, 250]);
    is_put_off(&relay, &client.reply(), rule);
    client.put(&[commands(""), chunk(&marked("X-Priority: 1\r\n"))].concat());
    assert_eq!([client.reply().code, client.reply().code], [250, 250]);
    is_taken(&client.reply());
}

#[test]
fn a_recipient_over_the_limit_is_put_off_beside_those_that_stand() {
    let group = "[[group]]\naddress = \"alle@gruppe.nodnett.test\"\nmembers = \
                 [\"vakt@b.nodnett.test\", \"vakt@c.nodnett.test\", \"leder@c.nodnett.test\"]\n";
    let relay = Setup::three_rooms()
        .routes(group)
        .settings("[limits]\nrecipients = 4\n[limits.recipient_rates]\nworkstation = \"5/h\"")
        .start();
    let mut client = relay.client("a");
    let rule = "limits.recipient_rates: more than 5/h recipients from workstation 127.0.1.9";
    client.say(format!("MAIL FROM:<{}>", vakt("a")));
    let group = "RCPT TO:<alle@gruppe.nodnett.test>";
    let rcpt = |to: &str| format!("RCPT TO:<{to}@b.nodnett.test>");
    assert_eq!(client.say(rcpt("r1")).code, 250);
    assert_eq!(
        client.say(rcpt("r1")).code,
        250,
        "the same again is no other"
    );
    assert_eq!(client.say(rcpt("r2")).code, 250);
    assert_eq!(client.say(rcpt("r3")).code, 250);
    assert_eq!(client.say("RSET").code, 250);

    client.say(format!("MAIL FROM:<{}>", vakt("a")));
    assert_eq!(client.say(group).code, 250);
    assert_eq!(client.say(rcpt("r1")).code, 250);
    let reply = client.say(group);
    assert_eq!(reply.code, 250, "all of it is in already: {reply}");
    let sent = client.data(&letter(&vakt("a"), &vakt("b")));
    is_taken(&sent);

    // One is left.
    client.say(format!("MAIL FROM:<{}>{ROUTINE}", vakt("a")));
    let reply = client.say(group);
    is_put_off(&relay, &reply, rule);
    let row = relay.refusal(&reply.reference());
    assert_eq!(row["recipient"], "alle@gruppe.nodnett.test");
    assert_eq!(client.say(rcpt("r1")).code, 250);
    let reply = client.say(rcpt("r2"));
    is_put_off(&relay, &reply, rule);
    let sent = client.data(&letter(&vakt("a"), &vakt("b")));
    is_taken(&sent);
    wait::until("the one that stands", || {
        relay.maildir("b", "r1").len() == 2
    });
    assert!(relay.maildir("b", "r2").is_empty());

    // None is: whatever comes first is looked at, and only what is urgent goes to all.
    let all = ["alle@gruppe.nodnett.test", "r9@b.nodnett.test"];
    let reply = client.send(&vakt("a"), &all, &marked(""));
    assert_eq!(reply.said(), "450 4.7.1", "{reply}");
    let reply = client.send(&vakt("a"), &all, &marked("Priority: urgent\r\n"));
    is_taken(&reply);
    wait::until("the urgent one", || relay.maildir("b", "r9").len() == 1);
}

#[test]
fn bytes_are_refused_before_they_come_where_their_size_is_said() {
    let relay =
        limited("[limits]\nmessage_size = \"64 KiB\"\n[limits.byte_rates]\nroom = \"32 KiB/h\"");
    let mut client = relay.client("a");
    let rule = "limits.byte_rates: more than 32 KiB/h bytes from room room-a";
    let large = letter_saying(&vakt("a"), &vakt("c"), &"x\r\n".repeat(15_000));
    let send = |client: &mut Client, message: &[u8], parameters: &str| {
        let refused = client.envelope(&vakt("a"), &[&vakt("c")], parameters);
        refused.unwrap_or_else(|| client.data(message))
    };
    let sized = format!(" SIZE={}{ROUTINE}", large.len());
    is_taken(&send(&mut client, &large, &sized));
    let reply = client.say(format!("MAIL FROM:<{}>{sized}", vakt("a")));
    is_put_off(&relay, &reply, rule);
    let reply = send(&mut client, &marked(""), ROUTINE);
    is_put_off(&relay, &reply, rule);
    let urgent = sized.replace(ROUTINE, " MT-PRIORITY=4");
    is_taken(&send(&mut client, &large, &urgent));
    let relay = limited("[limits.byte_rates]\nworkstation = \"32 KiB/h\"");
    let mut client = relay.client("a");
    is_taken(&send(&mut client, &marked(""), ROUTINE));
    let reply = send(&mut client, &large, ROUTINE);
    assert_eq!(
        reply.said(),
        "450 4.7.1",
        "it is larger, and something was sent: {reply}"
    );
    is_taken(&send(&mut client, &marked(""), ROUTINE));
}

/// README: what counts is what is taken, or refused for good after its content.
#[test]
fn bytes_that_are_refused_for_good_count() {
    let relay = limited("[limits.byte_rates]\nworkstation = \"32 KiB/h\"");
    let mut client = relay.client("a");
    let body = "x\r\n".repeat(9_000);
    let in_another_name = letter_saying(&vakt("b"), &vakt("c"), &body);
    let mut send = |parameters: &str| {
        let refused = client.envelope(&vakt("a"), &[&vakt("c")], parameters);
        refused.unwrap_or_else(|| client.data(&in_another_name))
    };
    for _ in 0..2 {
        assert_eq!(send(ROUTINE).said(), "550 5.7.1");
    }
    let rule = "limits.byte_rates: more than 32 KiB/h bytes from workstation 127.0.1.9";
    is_put_off(&relay, &send(ROUTINE), rule);
    assert_eq!(send(" MT-PRIORITY=4").said(), "550 5.7.1", "the reserve");
}

/// What is too large is thrown away to its end, and all that came of it counts.
#[test]
fn bytes_that_are_thrown_away_count() {
    let relay = limited(
        "[limits]\nmessage_size = \"4 KiB\"\n[limits.byte_rates]\nworkstation = \"32 KiB/h\"",
    );
    let mut client = relay.client("a");
    let large = letter_saying(&vakt("a"), &vakt("c"), &"x\r\n".repeat(12_000));
    let refused = client.envelope(&vakt("a"), &[&vakt("c")], ROUTINE);
    assert_eq!(refused, None);
    assert_eq!(client.data(&large).said(), "552 5.3.4");
    let rule = "limits.byte_rates: more than 32 KiB/h bytes from workstation 127.0.1.9";
    is_put_off(&relay, &to_c(&mut client, &vakt("a"), ROUTINE), rule);
}

#[test]
fn a_stranger_does_not_use_up_what_its_room_may_send() {
    let relay = Setup::no_rooms()
        .room_with(
            "a",
            "maildir:mail/a",
            "strictness = { unknown_workstations = \"report\" }",
        )
        .room("c", "maildir:mail/c")
        .settings("[limits.rates]\nroom = \"1/h\"")
        .start();
    let send = |from: &str| to_c(&mut Client::greeted(relay.port, from), &vakt("a"), ROUTINE);
    is_taken(&send("127.0.77.9"));
    let rule = "limits.rates: more than 1/h messages from strangers of room-a";
    is_put_off(&relay, &send("127.0.77.10"), rule);
    is_taken(&send("127.0.1.9"));
    let rule = "limits.rates: more than 1/h messages from room room-a";
    is_put_off(&relay, &send("127.0.1.9"), rule);
}

#[test]
fn what_comes_to_nothing_counts_for_nothing() {
    let relay = limited("[limits.rates]\nworkstation = \"2/h\"");
    let mut client = relay.client("a");
    let mail = format!("MAIL FROM:<{}>{ROUTINE}", vakt("a"));
    for end in ["RSET", "EHLO again", "RCPT TO:<x@example.org>"] {
        for _ in 0..3 {
            let reply = client.say(&mail);
            assert_eq!(reply.code, 250, "{end}: {reply}");
            client.say(end);
            client.say("RSET");
        }
    }
    for _ in 0..3 {
        let mut gone = relay.client("a");
        assert_eq!(gone.say(&mail).code, 250);
        assert_eq!(gone.say("QUIT").code, 221);
        assert_eq!(gone.reply().code, 0);
    }
    // What has come in whole and is refused for good counts.
    client.say(&mail);
    client.say(format!("RCPT TO:<{}>", vakt("c")));
    let reply = client.data(&letter(&vakt("b"), &vakt("c")));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    is_taken(&to_c(&mut client, &vakt("a"), ROUTINE));
    let reply = client.say(&mail);
    assert_eq!(reply.said(), "450 4.7.1", "{reply}");
}

#[test]
fn workstations_that_log_in_are_counted_by_themselves_wherever_they_are() {
    let users = "[[room.workstation]]\nuser = \"ws3\"\n[[room.workstation]]\nuser = \"ws4\"\n";
    let mut relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", users)
        .room("c", "maildir:mail/c")
        .settings("[limits.rates]\nworkstation = \"1/h\"")
        .tls("starttls")
        .prepare();
    relay.launch();
    wait::until("the listener", || {
        std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
    });
    for user in ["ws3", "ws4"] {
        let output = relay.told(&["credential", "set", user], "correct horse\n");
        assert!(output.status.success(), "{output:?}");
    }
    let client = |source: &str, user: &str| {
        let mut client = Client::greeted(relay.port, source);
        client.start_tls(&relay.path("certs"));
        client.say("EHLO ws.test");
        let plain = BASE64.encode(format!("\0{user}\0correct horse"));
        let reply = client.say(format!("AUTH PLAIN {plain}"));
        assert_eq!(reply.said(), "235 2.7.0", "{reply}");
        client
    };
    let send = |client: &mut Client| to_c(client, &vakt("a"), ROUTINE);
    is_taken(&send(&mut client("127.0.77.9", "ws3")));
    is_taken(&send(&mut client("127.0.77.9", "ws4")));
    let reply = send(&mut client("127.0.77.10", "ws3"));
    let rule = "limits.rates: more than 1/h messages from workstation user \"ws3\"";
    is_put_off(&relay, &reply, rule);
    assert_eq!(relay.refusal(&reply.reference())["client"], "127.0.77.10");
}

#[test]
fn a_workstation_known_by_its_certificate_is_one_wherever_it_is() {
    let name = "ws1.amk-oslo.nodnett.test";
    let line = format!("[[room.workstation]]\ncertificate = \"{name}\"\n");
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &line)
        .room("c", "maildir:mail/c")
        .settings("[limits.rates]\nworkstation = \"1/h\"")
        .tls("starttls")
        .start();
    let send = |source: &str| {
        let mut client = Client::greeted(relay.port, source);
        client.say("STARTTLS");
        client.shake_hands_as(&relay.path("certs"), &format!("ws-{name}"));
        client.say("EHLO ws.test");
        to_c(&mut client, &vakt("a"), ROUTINE)
    };
    is_taken(&send("127.0.77.9"));
    let rule =
        format!("limits.rates: more than 1/h messages from workstation certificate {name:?}");
    is_put_off(&relay, &send("127.0.77.10"), &rule);
}

#[test]
fn a_flood_beyond_a_rate_is_summed_up_in_the_log() {
    let relay = limited("[limits.rates]\nworkstation = \"1/h\"");
    let mut client = relay.client("a");
    is_taken(&to_c(&mut client, &vakt("a"), ROUTINE));
    let mail = format!("MAIL FROM:<{}>{ROUTINE}\r\n", vakt("a"));
    client.put(mail.repeat(1000).as_bytes());
    let replies: Vec<Reply> = (0..1000).map(|_| client.reply()).collect();
    assert!(replies.iter().all(|reply| reply.said() == "450 4.7.1"));
    let rows = || relay.rows(&["log", "search", "--status", "refused", "--limit", "2000"]);
    let count = |row: &serde_json::Value| row["count"].as_u64().unwrap_or(1);
    wait::until("all to be in the log", || {
        rows().iter().map(count).sum::<u64>() == 1000
    });
    assert!(rows().len() < 900, "{}", rows().len());
}

#[test]
fn check_says_which_rates_can_hardly_be_meant() {
    let relay = Setup::three_rooms()
        .settings(
            "[limits.rates]\nworkstation = \"9/min\"\nroom = \"5/min\"\n\
             [limits.recipient_rates]\nroom = \"99/min\"\n\
             [limits.byte_rates]\ngateway = \"24 MiB/min\"",
        )
        .prepare();
    let output = relay.run(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    for line in [
        "[limits.rates] workstation = \"9/min\" is more than room = \"5/min\"",
        "[limits.recipient_rates] room = \"99/min\" is less than",
        "[limits.byte_rates] gateway = \"24 MiB/min\" is less than",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
    assert_eq!(told.matches("[limits.").count(), 3, "{told}");
}
