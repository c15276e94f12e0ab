//! The protocol abused around STARTTLS and AUTH: what is said too early, in one breath with something
//! else, in another's name, or after it has stopped being true, is never believed. Judged by the bytes on
//! the wire and the rows in the log.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::client::{Client, Reply, letter, vakt};
use crate::relay::{Relay, Setup, room, source};
use crate::wait;

const USER: &str = "[[room.workstation]]\nuser = \"ws3\"\n";
const PASSWORD: &str = "correct horse";
/// Of no room.
const ELSEWHERE: &str = "127.0.77.9";

/// Room `a` has a user and no network; `b` has its network.
fn setup(tls: &str) -> Setup {
    Setup::no_rooms()
        .room_with("a", "maildir:mail/a", USER)
        .room("b", "maildir:mail/b")
        .tls(tls)
}

fn relay(tls: &str) -> Relay {
    let relay = setup(tls).start();
    set(&relay, "ws3", PASSWORD);
    relay
}

fn set(relay: &Relay, user: &str, password: &str) {
    let output = relay.told(&["credential", "set", user], &format!("{password}\n"));
    assert!(output.status.success(), "{output:?}");
}

fn under_tls(relay: &Relay, source: &str) -> Client {
    let mut client = Client::greeted(relay.port, source);
    client.start_tls(&relay.path("certs"));
    assert_eq!(client.say("EHLO ws.test").code, 250);
    client
}

fn logged_in(relay: &Relay, source: &str) -> Client {
    let mut client = under_tls(relay, source);
    assert_eq!(client.say(plain("", "ws3", PASSWORD)).said(), "235 2.7.0");
    client
}

fn plain(acting_for: &str, user: &str, password: &str) -> String {
    let said = format!("{acting_for}\0{user}\0{password}");
    format!("AUTH PLAIN {}", BASE64.encode(said))
}

fn mail_from(room: &str) -> String {
    format!("MAIL FROM:<{}>", vakt(room))
}

fn sends(client: &mut Client, room: &str) -> Reply {
    client.send(&vakt(room), &[&vakt("b")], &letter(&vakt(room), &vakt("b")))
}

/// The replies to so many commands put on the wire at once.
fn replies(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let together: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    client.put(together.as_bytes());
    lines.iter().map(|_| client.reply().said()).collect()
}

const INJECTED: &str = "EHLO x.test\r\nMAIL FROM:<smuggled@b.nodnett.test>\r\n\
    RCPT TO:<vakt@b.nodnett.test>\r\nDATA\r\nFrom: smuggled@b.nodnett.test\r\n\r\nsmuggled\r\n.\r\n";

/// CVE-2011-0411, from a workstation that could send all of it.
#[test]
fn nothing_injected_behind_starttls_is_obeyed() {
    let relay = relay("starttls");
    let certs = relay.path("certs");
    for at in [0, 1, 5, 13, 14, 60, INJECTED.len()] {
        let mut client = Client::greeted(relay.port, &source("b"));
        let (same_segment, later) = INJECTED.split_at(at);
        client.put(format!("STARTTLS\r\n{same_segment}").as_bytes());
        let ready = client.reply();
        assert_eq!(ready.said(), "220 2.0.0", "{at}: {ready}");
        client.put(later.as_bytes());
        // What comes later is no handshake, and breaks it.
        let shaken = catch_unwind(AssertUnwindSafe(|| client.shake_hands(&certs))).is_ok();
        assert_eq!(shaken, later.is_empty(), "split at {at}");
        if shaken {
            // The next reply is the answer to this, and the session knows of no greeting and no mail.
            assert_eq!(
                client.say("RCPT TO:<vakt@b.nodnett.test>").said(),
                "503 5.5.1"
            );
            assert_eq!(client.say(mail_from("b")).said(), "503 5.5.1");
            assert_eq!(client.say("EHLO ws.test").code, 250);
            assert_eq!(sends(&mut client, "b").said(), "250 2.0.0");
        }
    }
    assert!(relay.rows(&["log", "search", "smuggled"]).is_empty());
}

#[test]
fn what_comes_in_the_place_of_a_handshake_is_not_answered_in_the_clear() {
    let relay = relay("starttls");
    let mut client = Client::greeted(relay.port, &source("b"));
    assert_eq!(client.say("STARTTLS").code, 220);
    client.put(INJECTED.as_bytes());
    let answer = client.line().unwrap_or_default();
    assert!(
        !answer.starts_with(|it: char| it.is_ascii_digit()),
        "{answer:?}"
    );
    assert!(relay.rows(&["log", "search", "smuggled"]).is_empty());
}

#[test]
fn starttls_is_taken_at_its_time_and_once() {
    let relay = relay("starttls");
    let mut client = Client::silent(relay.port, &source("b")).unwrap();
    client.reply();
    assert_eq!(
        client.say("STARTTLS").said(),
        "503 5.5.1",
        "before any greeting"
    );
    client.say("EHLO ws.test");
    assert_eq!(client.say("STARTTLS now").said(), "501 5.5.4");
    client.start_tls(&relay.path("certs"));
    assert_eq!(
        client.say("STARTTLS").said(),
        "503 5.5.1",
        "before the greeting"
    );
    assert!(!client.say("EHLO ws.test").text().contains("STARTTLS"));
    assert_eq!(client.say(plain("", "ws3", PASSWORD)).said(), "235 2.7.0");
    assert_eq!(client.say("STARTTLS").said(), "503 5.5.1", "a second time");
    assert_eq!(
        sends(&mut client, "a").said(),
        "250 2.0.0",
        "still logged in"
    );

    let off = setup("off").start();
    assert_eq!(off.client("b").say("STARTTLS").said(), "502 5.5.1");
}

#[test]
fn starttls_ends_a_transaction_wherever_it_stands() {
    let relay = relay("starttls");
    for before in [
        &[][..],
        &["RCPT TO:<vakt@b.nodnett.test>"][..],
        &["RCPT TO:<vakt@b.nodnett.test>", "BDAT 6\r\nFrom: "][..],
    ] {
        let mut client = Client::greeted(relay.port, &source("b"));
        assert_eq!(client.say(mail_from("b")).code, 250);
        for line in before {
            // The octets of a chunk are the end of what is put, and no line.
            client.put(line.as_bytes());
            if !line.starts_with("BDAT") {
                client.put(b"\r\n");
            }
            assert_eq!(client.reply().code, 250, "{line}");
        }
        client.start_tls(&relay.path("certs"));
        for line in ["RCPT TO:<vakt@b.nodnett.test>", "DATA", "BDAT 0 LAST"] {
            assert_eq!(client.say(line).code, 503, "{before:?}: {line}");
            if line.starts_with("BDAT") {
                break;
            }
        }
    }
    assert!(relay.maildir("b", "vakt").is_empty());
}

#[test]
fn what_is_pipelined_behind_a_login_is_judged_by_what_it_came_to() {
    let relay = relay("starttls");
    let (right, wrong) = (plain("", "ws3", PASSWORD), plain("", "ws3", "wrong horse"));
    let (a, b) = (mail_from("a"), mail_from("b"));
    let user = BASE64.encode("ws3");
    let password = BASE64.encode(PASSWORD);
    #[rustfmt::skip]
    let cases: [(&[&str], &[&str]); 6] = [
        (&[&right, &a, "RSET"],                             &["235 2.7.0", "250 2.1.0", "250 2.0.0"]),
        (&[&wrong, &a, "NOOP"],                             &["535 5.7.8", "530 5.7.0", "250 2.0.0"]),
        (&["AUTH LOGIN", &user, &password, &a, &b],         &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0", "250 2.1.0", "503 5.5.1"]),
        // a command is no answer to a challenge, and is not obeyed in the middle of a login
        (&["AUTH PLAIN", &a, "NOOP", &a],                   &["334 ", "501 5.5.2", "250 2.0.0", "530 5.7.0"]),
        (&["AUTH LOGIN", &user, &a, &a],                    &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "501 5.5.2", "530 5.7.0"]),
        (&["AUTH PLAIN", "*", &a],                          &["334 ", "501 5.7.0", "530 5.7.0"]),
    ];
    for (lines, said) in cases {
        let mut client = under_tls(&relay, ELSEWHERE);
        assert_eq!(replies(&mut client, lines), said, "{lines:?}");
    }
}

/// The relay has proved that it knows the password; the client has yet to nod.
#[test]
fn a_command_in_the_place_of_the_nod_leaves_nobody_logged_in() {
    let relay = relay("starttls");
    for instead in ["MAIL FROM:<vakt@a.nodnett.test>", "NOOP", "=", "AAAA", "*"] {
        let mut client = under_tls(&relay, ELSEWHERE);
        let nodded =
            crate::logins::scram_until_the_nod(&mut |line| client.say(line), "ws3", PASSWORD);
        assert_eq!(nodded.code, 334, "{nodded}");
        let reply = client.say(instead);
        assert!([501, 535].contains(&reply.code), "{instead}: {reply}");
        assert_eq!(client.say(mail_from("a")).said(), "530 5.7.0", "{instead}");
    }
}

#[test]
fn nothing_is_smuggled_through_an_initial_response() {
    let relay = relay("starttls");
    let coded = |text: &str| format!("AUTH PLAIN {}", BASE64.encode(text));
    let long = format!("AUTH PLAIN {}", "A".repeat(12_300));
    #[rustfmt::skip]
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (coded("\0ws3\0correct horse\r\nMAIL FROM:<vakt@a.nodnett.test>").into(),   "535 5.7.8"),
        (coded("\0ws3\r\n250 2.0.0 OK\0correct horse").into(),                      "535 5.7.8"),
        (coded("\0ws3\0correct horse\0").into(),                                    "501 5.5.2"),
        (coded("\0\0correct horse").into(),                                         "501 5.5.2"),
        (coded("\0ws3\0").into(),                                                   "501 5.5.2"),
        (coded("").into(),                                                          "334 "),
        (b"AUTH PLAIN =".to_vec(),                                                  "501 5.5.2"),
        (b"AUTH PLAIN *".to_vec(),                                                  "501 5.5.2"),
        (b"AUTH PLAIN AHdzMwBjb3JyZWN0IGhvcnNl=".to_vec(),                          "501 5.5.2"),
        (b"AUTH PLAIN AHdzMwBjb3Jy ZWN0IGhvcnNl".to_vec(),                          "501 5.5.4"),
        (b"AUTH PLAIN AHdzMwBjb3JyZWN0IGhvcnNl\rMAIL FROM:<x>".to_vec(),            "500 5.5.2"),
        (b"AUTH PLAIN \0AHdzMwBjb3JyZWN0IGhvcnNl".to_vec(),                         "500 5.5.2"),
        (b"AUTH PLAIN AHdzMwBjb3JyZWN0IGhvcnNl\xff".to_vec(),                       "500 5.5.2"),
        (b"AUTH".to_vec(),                                                          "501 5.5.4"),
        (b"AUTH CRAM-MD5".to_vec(),                                                 "504 5.5.4"),
        (b"AUTH EXTERNAL =".to_vec(),                                               "504 5.5.4"),
        (long.into_bytes(),                                                         "500 5.5.2"),
    ];
    for (line, said) in cases {
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let mut client = under_tls(&relay, ELSEWHERE);
        let reply = client.say(line);
        assert_eq!(reply.said(), said, "{shown:?}: {reply}");
        assert_eq!(reply.lines.len(), 1, "{shown:?}: {reply}");
        if reply.code == 334 {
            assert_eq!(client.say("*").code, 501);
        }
        assert_eq!(
            client.say("NOOP").code,
            250,
            "{shown:?}: one reply to one line"
        );
        assert_eq!(client.say(mail_from("a")).said(), "530 5.7.0", "{shown:?}");
    }
    // A name with line ends in it is one line of the log.
    let rows = relay.rows(&[
        "log", "search", "--client", ELSEWHERE, "--status", "refused",
    ]);
    assert!(!rows.is_empty());
    let printed = relay.done(&[
        "log", "search", "--client", ELSEWHERE, "--status", "refused",
    ]);
    assert!(
        !printed.lines().any(|line| line.starts_with("250 ")),
        "{printed}"
    );
}

#[test]
fn nobody_acts_for_another() {
    let relay = relay("starttls");
    set(&relay, "ws4", "another horse");
    for (acting_for, said) in [
        ("ws4", "535 5.7.8"),
        ("vakt@b.nodnett.test", "535 5.7.8"),
        ("ws3", "235 2.7.0"),
    ] {
        let mut client = under_tls(&relay, ELSEWHERE);
        let reply = client.say(plain(acting_for, "ws3", PASSWORD));
        assert_eq!(reply.said(), said, "{acting_for}: {reply}");
        if reply.code == 535 {
            assert_eq!(relay.refusal(&reply.reference())["user"], "ws3");
            assert_eq!(client.say(mail_from("a")).said(), "530 5.7.0");
        }
    }
    // RFC 4954 §5: whom MAIL names there is believed by nobody.
    let mut client = logged_in(&relay, ELSEWHERE);
    let reply = client.say(format!("{} AUTH={}", mail_from("b"), vakt("b")));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
}

#[test]
fn a_password_in_plain_text_is_neither_taken_nor_written_anywhere() {
    for (tls, said) in [
        ("starttls", "530 5.7.0"),
        ("required", "530 5.7.0"),
        ("off", "538 5.7.11"),
    ] {
        let mut relay = setup(tls).under(&["env", "ILBUD_LOG=debug"]).start();
        set(&relay, "ws3", PASSWORD);
        let mut client = Client::greeted(relay.port, ELSEWHERE);
        assert!(!client.say("EHLO ws.test").text().contains("AUTH"));
        assert_eq!(client.say(plain("", "ws3", PASSWORD)).said(), said);
        // What a client says that does not listen.
        let answers = replies(
            &mut client,
            &["AUTH LOGIN", "d3Mz", &BASE64.encode(PASSWORD)],
        );
        assert_eq!(answers, [said, "500 5.5.1", "500 5.5.1"], "{tls}");
        let refused = client.say(mail_from("a"));
        assert!([530, 550].contains(&refused.code), "{tls}: {refused}");
        relay.refusal(&refused.reference());
        let rows = relay.done(&["log", "search", "--json"]);
        relay.stop();
        let mut written = vec![rows.into_bytes(), relay.log().into_bytes()];
        for file in ["ilbud.db", "ilbud.db-wal"] {
            written.push(std::fs::read(relay.path(file)).unwrap_or_default());
        }
        let secrets = [
            PASSWORD.to_owned(),
            BASE64.encode(PASSWORD),
            plain("", "ws3", PASSWORD)[11..].to_owned(),
        ];
        for secret in secrets {
            let is_there =
                |it: &Vec<u8>| it.windows(secret.len()).any(|it| it == secret.as_bytes());
            assert!(!written.iter().any(is_there), "{tls}: {secret}");
        }
    }
}

#[test]
fn a_login_outlives_rset_and_greetings_and_stays_of_one_room() {
    let relay = relay("starttls");
    // From room b's own network, too.
    for source in [ELSEWHERE, &source("b")] {
        let mut client = logged_in(&relay, source);
        for between in ["RSET", "EHLO other.test", "HELO other.test", "NOOP"] {
            client.say(between);
            assert_eq!(client.say(mail_from("b")).said(), "550 5.7.1", "{between}");
            assert_eq!(
                client.say(plain("", "ws3", PASSWORD)).said(),
                "503 5.5.1",
                "{between}: twice"
            );
            assert_eq!(client.say(mail_from("a")).code, 250, "{between}");
            assert_eq!(client.say("RSET").code, 250);
        }
        assert_eq!(sends(&mut client, "a").said(), "250 2.0.0");
        assert_eq!(client.say("QUIT").code, 221);
        // No login is remembered beyond its connection.
        let mut next = under_tls(&relay, ELSEWHERE);
        assert_eq!(next.say(mail_from("a")).said(), "530 5.7.0");
    }
}

#[test]
fn auth_is_taken_after_ehlo_and_outside_a_transaction() {
    let relay = relay("starttls");
    let login = plain("", "ws3", PASSWORD);
    let mut client = Client::greeted(relay.port, &source("b"));
    client.start_tls(&relay.path("certs"));
    assert_eq!(
        client.say(&login).said(),
        "503 5.5.1",
        "before the greeting"
    );
    client.say("HELO ws.test");
    assert_eq!(client.say(&login).said(), "503 5.5.1", "after HELO");
    client.say("EHLO ws.test");
    assert_eq!(client.say(mail_from("b")).code, 250);
    assert_eq!(client.say(&login).said(), "503 5.5.1", "in a transaction");
    // … which is still room b's.
    assert_eq!(client.say("RCPT TO:<vakt@b.nodnett.test>").code, 250);
    assert_eq!(
        client.data(&letter(&vakt("b"), &vakt("b"))).said(),
        "250 2.0.0"
    );
    assert_eq!(client.say(&login).said(), "235 2.7.0");
}

#[test]
fn who_has_no_password_any_more_sends_nothing_more() {
    for change in ["removed", "changed"] {
        let relay = relay("starttls");
        let mut idle = logged_in(&relay, ELSEWHERE);
        let mut busy = logged_in(&relay, ELSEWHERE);
        assert_eq!(sends(&mut idle, "a").said(), "250 2.0.0");
        assert_eq!(busy.say(mail_from("a")).code, 250);
        match change {
            "removed" => drop(relay.done(&["credential", "remove", "ws3"])),
            _ => set(&relay, "ws3", "another horse"),
        }
        let reply = idle.say(mail_from("a"));
        assert_eq!(reply.said(), "421 4.7.0", "{change}: {reply}");
        assert_eq!(idle.reply().code, 0, "{change}: closed");
        let row = relay.refusal(&reply.reference());
        assert_eq!(
            (&row["sender"], &row["user"]),
            (&vakt("a").into(), &"ws3".into())
        );
        // What was begun before goes on, and nothing after it.
        assert_eq!(busy.say("RCPT TO:<vakt@b.nodnett.test>").code, 250);
        assert_eq!(
            busy.data(&letter(&vakt("a"), &vakt("b"))).said(),
            "250 2.0.0"
        );
        assert_eq!(busy.say(mail_from("a")).said(), "421 4.7.0", "{change}");
    }
}

#[test]
fn a_user_who_is_taken_out_of_the_table_sends_nothing_more() {
    let relay = relay("starttls");
    let mut client = logged_in(&relay, ELSEWHERE);
    assert_eq!(sends(&mut client, "a").said(), "250 2.0.0");
    let without = room("a", "maildir:mail/a", "") + &room("b", "maildir:mail/b", "");
    relay.apply(&without);
    let refused = wait::find("the new table", || {
        let reply = client.say(mail_from("a"));
        client.say("RSET");
        (reply.code != 250).then_some(reply)
    });
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    assert!(refused.text().contains("ws3"), "{refused}");
    assert_eq!(relay.refusal(&refused.reference())["user"], "ws3");
}
