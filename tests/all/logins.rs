//! Workstations that log in: passwords set and removed while the relay runs, every mechanism, and what
//! guessing comes to. Real clients too: swaks, msmtp, curl, smtplib, and openssl typed into by hand.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdout, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::client::{Client, Reply, letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

const USER: &str = "[[room.workstation]]\nuser = \"ws3\"\n";
const PASSWORD: &str = "correct horse";
/// Of no room.
const ELSEWHERE: &str = "127.0.77.9";

fn relay(tls: &str) -> Relay {
    let mut relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", USER)
        .room("b", "maildir:mail/b")
        .tls(tls)
        .prepare();
    relay.launch();
    wait::until("the listener", || {
        std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
    });
    set(&relay, "ws3", PASSWORD);
    relay
}

fn set(relay: &Relay, user: &str, password: &str) {
    let output = relay.told(&["credential", "set", user], &format!("{password}\n"));
    assert!(output.status.success(), "{output:?}");
}

/// Under TLS, greeted.
fn client(relay: &Relay, source: &str) -> Client {
    let mut client = Client::greeted(relay.port, source);
    client.start_tls(&relay.path("certs"));
    assert_eq!(client.say("EHLO ws.test").code, 250);
    client
}

fn plain(user: &str, password: &str) -> String {
    format!(
        "AUTH PLAIN {}",
        BASE64.encode(format!("\0{user}\0{password}"))
    )
}

fn keyed(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// SCRAM from the client's side, with this header and what binds it; gives the last reply.
fn scram(
    say: &mut dyn FnMut(String) -> Reply,
    mechanism: &str,
    header: &str,
    binding: &[u8],
    user: (&str, &str),
) -> String {
    let reply = prove(say, mechanism, header, binding, user);
    match reply.code {
        334 => say(String::new()).said(),
        _ => reply.said(),
    }
}

/// Unbound, up to the relay's last word, which the client has to nod at.
pub fn scram_until_the_nod(
    say: &mut dyn FnMut(String) -> Reply,
    user: &str,
    password: &str,
) -> Reply {
    prove(say, "SCRAM-SHA-256", "n,,", &[], (user, password))
}

fn prove(
    say: &mut dyn FnMut(String) -> Reply,
    mechanism: &str,
    header: &str,
    binding: &[u8],
    (user, password): (&str, &str),
) -> Reply {
    let bare = format!("n={user},r=clientnonce");
    let first = BASE64.encode(format!("{header}{bare}"));
    let reply = say(format!("AUTH {mechanism} {first}"));
    if reply.code != 334 {
        return reply;
    }
    let said = String::from_utf8(BASE64.decode(reply.text()).unwrap()).unwrap();
    let parts: Vec<&str> = said.split(',').map(|it| &it[2..]).collect();
    let salt = BASE64.decode(parts[1]).unwrap();
    let mut salted = [0; 32];
    let rounds = parts[2].parse().unwrap();
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, rounds, &mut salted);
    let bound = BASE64.encode([header.as_bytes(), binding].concat());
    let rest = format!("c={bound},r={}", parts[0]);
    let dialogue = format!("{bare},{said},{rest}");
    let key = keyed(&salted, b"Client Key");
    let signature = keyed(&Sha256::digest(&key), dialogue.as_bytes());
    let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let last = BASE64.encode(format!("{rest},p={}", BASE64.encode(proof)));
    let reply = say(last);
    if reply.code == 334 {
        let server = keyed(&keyed(&salted, b"Server Key"), dialogue.as_bytes());
        let expected = BASE64.encode(format!("v={}", BASE64.encode(server)));
        assert_eq!(reply.text(), expected, "the relay knows the password too");
    }
    reply
}

#[test]
fn a_login_is_the_room_s_workstation_wherever_it_is() {
    let relay = relay("starttls");
    // Room b's own network: whoever logs in is who it says all the same.
    for source in [ELSEWHERE, "127.0.2.9"] {
        let mut client = client(&relay, source);
        assert_eq!(client.say(plain("ws3", PASSWORD)).said(), "235 2.7.0");
        let other = client.say(format!("MAIL FROM:<{}>", vakt("b")));
        assert_eq!(other.said(), "550 5.7.1", "{other}");
        let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        assert_eq!(sent.said(), "250 2.0.0", "{sent}");
        relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
        let story = relay.rows(&["log", "show", &sent.reference()]);
        assert_eq!(story[0]["user"], "ws3");
    }
    let kept = String::from_utf8(relay.maildir("b", "vakt").remove(0)).unwrap();
    assert!(kept.contains("with ESMTPSA"), "{kept}");
}

#[test]
fn scram_works_bound_and_unbound_and_cannot_be_talked_down() {
    let relay = relay("starttls");
    let know = ("ws3", PASSWORD);
    let bound = "p=tls-exporter,,";
    let ask = |mechanism: &str, header: &str, user, is_ours: bool| {
        let mut client = client(&relay, ELSEWHERE);
        let binding = if header.starts_with('p') {
            client.binding.to_vec()
        } else {
            Vec::new()
        };
        let binding = if is_ours { binding } else { vec![7; 32] };
        scram(
            &mut |line| client.say(line),
            mechanism,
            header,
            &binding,
            user,
        )
    };
    for (mechanism, header, user, is_ours, said) in [
        ("SCRAM-SHA-256", "n,,", know, true, "235 2.7.0"),
        ("SCRAM-SHA-256-PLUS", bound, know, true, "235 2.7.0"),
        ("SCRAM-SHA-256-PLUS", bound, know, false, "535 5.7.8"),
        ("SCRAM-SHA-256", "y,,", know, true, "535 5.7.8"),
        (
            "SCRAM-SHA-256",
            "n,,",
            ("ws3", "wrong horse"),
            true,
            "535 5.7.8",
        ),
        (
            "SCRAM-SHA-256",
            "n,,",
            ("nobody", PASSWORD),
            true,
            "535 5.7.8",
        ),
    ] {
        assert_eq!(
            ask(mechanism, header, user, is_ours),
            said,
            "{mechanism} {header} {user:?}"
        );
    }
}

#[test]
fn an_unknown_user_is_asked_with_the_same_salt_every_time() {
    let mut relay = relay("starttls");
    let challenge = |relay: &Relay, user: &str| {
        let mut client = client(relay, ELSEWHERE);
        let first = BASE64.encode(format!("n,,n={user},r=x"));
        let reply = client.say(format!("AUTH SCRAM-SHA-256 {first}"));
        let said = String::from_utf8(BASE64.decode(reply.text()).unwrap()).unwrap();
        said.split_once(',').unwrap().1.to_owned()
    };
    let [known, nobody] = ["ws3", "nobody"].map(|it| challenge(&relay, it));
    assert_eq!(known.len(), nobody.len());
    assert_eq!(known.split(",i=").nth(1), nobody.split(",i=").nth(1));
    relay.stop();
    relay.start();
    assert_eq!(challenge(&relay, "nobody"), nobody);
    assert_ne!(challenge(&relay, "nobody2"), nobody);
}

#[test]
fn a_certificate_logs_in_with_external() {
    let line = "[[room.workstation]]\ncertificate = \"ws1.amk-oslo.nodnett.test\"\n";
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", line)
        .room("b", "maildir:mail/b")
        .tls("starttls")
        .start();
    // In room b's network, and logged in as room a's workstation.
    let mut client = Client::greeted(relay.port, "127.0.2.9");
    client.say("STARTTLS");
    client.shake_hands_as(&relay.path("certs"), "ws-ws1.amk-oslo.nodnett.test");
    let offer = client.say("EHLO ws.test").text();
    assert!(offer.contains(" LOGIN EXTERNAL"), "{offer}");
    assert_eq!(client.say("AUTH EXTERNAL =").said(), "235 2.7.0");
    let other = client.say(format!("MAIL FROM:<{}>", vakt("b")));
    assert_eq!(other.said(), "550 5.7.1", "{other}");
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn what_is_removed_or_changed_counts_at_the_next_login() {
    let relay = relay("starttls");
    let login = |password: &str| client(&relay, ELSEWHERE).say(plain("ws3", password)).said();
    assert_eq!(login(PASSWORD), "235 2.7.0");
    set(&relay, "ws3", "another horse");
    assert_eq!(login(PASSWORD), "535 5.7.8");
    assert_eq!(login("another horse"), "235 2.7.0");
    wait::until("the last login", || {
        let rows = relay.rows(&["credential", "list"]);
        rows[0]["last_login_at"].is_string()
    });
    let rows = relay.rows(&["credential", "list"]);
    assert_eq!(
        (&rows[0]["user"], &rows[0]["rooms"][0]),
        (&"ws3".into(), &"room-a".into())
    );
    relay.done(&["credential", "remove", "ws3"]);
    assert_eq!(login("another horse"), "535 5.7.8");
    assert!(
        relay
            .fails(1, &["credential", "remove", "ws3"])
            .contains("ws3")
    );
    assert!(relay.rows(&["credential", "list"]).is_empty());
}

#[test]
fn passwords_are_taken_from_stdin_and_weak_ones_refused() {
    let relay = Setup::three_rooms().prepare();
    for (password, complaint) in [
        ("", "the password is empty"),
        ("\n", "the password is empty"),
        ("short\n", "too short"),
        ("some-user\n", "user's name"),
    ] {
        let output = relay.told(&["credential", "set", "some-user"], password);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{password:?}");
        assert!(
            said.contains(complaint) && said.lines().count() == 1,
            "{said}"
        );
    }
    let output = relay.told(&["credential", "set", "some-user"], "correct horse\r\n");
    assert!(output.status.success());
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(warned.starts_with("warning: no room"), "{warned}");
    assert_eq!(
        relay
            .run(&["credential", "set", "x", "secret"])
            .status
            .code(),
        Some(2)
    );
    for file in ["ilbud.db", "ilbud.db-wal"] {
        let octets = fs::read(relay.path(file)).unwrap_or_default();
        assert!(
            !octets.windows(13).any(|it| it == b"correct horse"),
            "{file}"
        );
    }
}

const TERMINAL: &str = r#"
import os, pty, signal, sys
signal.alarm(60)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
def until(text):
    global shown
    while text not in shown:
        shown += os.read(terminal, 1024)
for question, answer in ((b"ws3: ", b"correct horse"), (b"more: ", b"correct horse")):
    until(question)
    os.write(terminal, answer + b"\n")
until(b"can log in.")
_, status = os.waitpid(pid, 0)
assert status == 0 and b"horse" not in shown, (status, shown)
"#;

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = Setup::three_rooms().prepare();
    let settings = relay.path("ilbud.toml");
    let mut python = peer::command("python3");
    python.current_dir(relay.home()).args(["-c", TERMINAL]);
    python.args([
        env!("CARGO_BIN_EXE_ilbud"),
        "credential",
        "set",
        "ws3",
        "--config",
    ]);
    peer::succeeded("python3", &python.arg(settings).output().unwrap());
}

#[test]
fn wrong_logins_are_rows_and_the_third_ends_it() {
    let relay = relay("starttls");
    let mut client = client(&relay, ELSEWHERE);
    let first = client.say(plain("ws3", "wrong horse"));
    let second = client.say(plain("nobody", "wrong horse"));
    assert_eq!(
        (first.said(), second.said()),
        ("535 5.7.8".into(), "535 5.7.8".into())
    );
    client.put(format!("{}\r\n", plain("ws3", "wrong horse")).as_bytes());
    let third = client.reply();
    assert_eq!(
        (third.said().as_str(), client.reply().code),
        ("535 5.7.8", 421)
    );
    assert_eq!(client.reply().code, 0, "closed");
    for (reply, user) in [(first, "ws3"), (second, "nobody"), (third, "ws3")] {
        let row = relay.refusal(&reply.reference());
        assert_eq!(
            (&row["user"], &row["client"]),
            (&user.into(), &ELSEWHERE.into())
        );
        assert!(
            row["reply"].as_str().unwrap().starts_with("535 5.7.8"),
            "{row}"
        );
    }
    let rows = relay.rows(&["log", "search", "nobody"]);
    assert_eq!(column(&rows, "status"), ["refused"]);
    assert!(!relay.log().contains("horse"));
}

#[test]
fn guessing_is_limited_and_holds_nobody_else_up() {
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", USER)
        .settings("[limits.failed_logins]\naddress = \"2/h\"\nuser = \"2/h\"")
        .tls("starttls")
        .start();
    set(&relay, "ws3", PASSWORD);
    for _ in 0..3 {
        let reply = client(&relay, ELSEWHERE).say(plain("ws3", "wrong horse"));
        assert_eq!(reply.said(), "535 5.7.8", "{reply}");
    }
    let limited = client(&relay, ELSEWHERE).say(plain("ws3", PASSWORD));
    assert_eq!(limited.said(), "454 4.7.0", "{limited}");
    assert!(limited.text().contains("seconds"), "{limited}");
    assert_eq!(relay.refusal(&limited.reference())["user"], "ws3");
    let honest = client(&relay, "127.0.78.9").say(plain("ws3", PASSWORD));
    assert_eq!(honest.said(), "235 2.7.0", "{honest}");
}

#[test]
fn lines_of_a_login_may_be_long_and_not_longer() {
    let relay = relay("starttls");
    let mut client = client(&relay, ELSEWHERE);
    for (octets, said) in [
        (12_284, "501 5.5.2"),
        (12_287, "500 5.5.6"),
        (100_000, "500 5.5.6"),
    ] {
        assert_eq!(client.say("AUTH PLAIN").code, 334);
        let reply = client.say("A".repeat(octets));
        assert_eq!(reply.said(), said, "{octets}: {reply}");
        assert_eq!(client.say("NOOP").code, 250);
    }
}

#[test]
fn nothing_said_in_the_clear_counts_after_starttls() {
    let relay = relay("starttls");
    let mut client = Client::greeted(relay.port, ELSEWHERE);
    let smuggled = format!("STARTTLS\r\nEHLO x.test\r\n{}\r\n", plain("ws3", PASSWORD));
    client.put(smuggled.as_bytes());
    assert_eq!(client.reply().code, 220);
    // What was smuggled is gone or breaks the handshake; it is never believed.
    let certs = relay.path("certs");
    let shaken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        client.shake_hands(&certs);
    }));
    if shaken.is_ok() {
        assert_eq!(client.say("EHLO ws.test").code, 250);
        let mail = client.say(format!("MAIL FROM:<{}>", vakt("a")));
        assert_eq!(mail.said(), "530 5.7.0", "{mail}");
    }
}

fn delivered(relay: &Relay, messages: usize) {
    wait::until("the mail", || relay.maildir("b", "vakt").len() == messages);
    let kept = relay.maildir("b", "vakt");
    assert!(
        kept.iter()
            .all(|it| String::from_utf8_lossy(it).contains("with ESMTPSA"))
    );
}

#[test]
fn swaks_logs_in() {
    if !peer::all_here(&["swaks"]) {
        return;
    }
    let relay = relay("starttls");
    let port = relay.port.to_string();
    let swaks = |mechanism: &str, password: &str| {
        peer::command("swaks")
            .args(["--server", "127.0.0.1", "--port", &port, "--tls"])
            .args([
                "--from",
                &vakt("a"),
                "--to",
                &vakt("b"),
                "--ehlo",
                "ws.test",
            ])
            .args([
                "--auth",
                mechanism,
                "--auth-user",
                "ws3",
                "--auth-password",
                password,
            ])
            .output()
            .unwrap()
    };
    for mechanism in ["PLAIN", "LOGIN"] {
        peer::succeeded("swaks", &swaks(mechanism, PASSWORD));
        let refused = swaks(mechanism, "wrong horse");
        assert_eq!(refused.status.code(), Some(28), "{mechanism}");
    }
    delivered(&relay, 2);
}

#[test]
fn msmtp_logs_in_with_scram() {
    if !peer::all_here(&["msmtp"]) {
        return;
    }
    for (listener, starttls) in [("starttls", "on"), ("implicit", "off")] {
        let relay = relay(listener);
        let file = relay.path("msmtprc");
        let authority = relay.path("certs/ca.pem");
        let settings = format!(
            "account default\nhost 127.0.0.1\nport {}\ntls on\ntls_starttls {starttls}\n\
             tls_trust_file {}\nauth scram-sha-256\nuser ws3\npassword \"{PASSWORD}\"\nfrom {}\n",
            relay.port,
            authority.display(),
            vakt("a"),
        );
        fs::write(&file, settings).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let message = relay.path("message.eml");
        fs::write(&message, letter(&vakt("a"), &vakt("b"))).unwrap();
        let output = peer::command("msmtp")
            .args(["-C", file.to_str().unwrap(), &vakt("b")])
            .stdin(fs::File::open(&message).unwrap())
            .output()
            .unwrap();
        peer::succeeded("msmtp", &output);
        delivered(&relay, 1);
    }
}

#[test]
fn curl_logs_in() {
    if !peer::all_here(&["curl"]) {
        return;
    }
    let relay = relay("starttls");
    let file = relay.path("message.eml");
    fs::write(&file, letter(&vakt("a"), &vakt("b"))).unwrap();
    let authority = relay.path("certs/ca.pem");
    let url = format!("smtp://127.0.0.1:{}/ws.test", relay.port);
    for mechanism in ["PLAIN", "LOGIN"] {
        let output = peer::command("curl")
            .args(["--silent", "--show-error", "--ssl-reqd", "--url", &url])
            .args(["--cacert", authority.to_str().unwrap()])
            .args(["--user", &format!("ws3:{PASSWORD}")])
            .args(["--login-options", &format!("AUTH={mechanism}")])
            .args([
                "--mail-from",
                &vakt("a"),
                "--mail-rcpt",
                &vakt("b"),
                "--upload-file",
            ])
            .arg(&file)
            .output()
            .unwrap();
        peer::succeeded("curl", &output);
    }
    delivered(&relay, 2);
}

/// `openssl s_client`, into which somebody types.
struct ByHand {
    program: std::process::Child,
    said: BufReader<ChildStdout>,
}

impl ByHand {
    fn under_tls(relay: &Relay, more: &[&str]) -> Self {
        let mut program = peer::command("openssl")
            .args([
                "s_client",
                "-quiet",
                "-crlf",
                "-ign_eof",
                "-starttls",
                "smtp",
            ])
            .args(["-connect", &format!("127.0.0.1:{}", relay.port)])
            .args(["-bind", &format!("{ELSEWHERE}:0"), "-verify_return_error"])
            .args(["-servername", "relay.nodnett.test", "-CAfile"])
            .arg(relay.path("certs/ca.pem"))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(program.stdout.take().unwrap());
        let mut hand = Self { program, said };
        let mut offer = hand.say("EHLO ws.test".to_owned());
        if offer.lines.len() == 1 {
            // Some versions show the end of the answer to the EHLO that they said themselves.
            offer = hand.reply();
        }
        assert!(offer.text().contains("AUTH "), "{offer}");
        hand
    }

    fn say(&mut self, line: String) -> Reply {
        let keyboard = self.program.stdin.as_mut().unwrap();
        keyboard.write_all((line + "\n").as_bytes()).unwrap();
        keyboard.flush().unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.said.read_line(&mut line).unwrap();
            let line = line.trim_end();
            let (code, rest) = line.split_at(line.len().min(3));
            lines.push(rest.get(1..).unwrap_or("").to_owned());
            if !rest.starts_with('-') {
                let code = code.parse().unwrap_or(0);
                return Reply { code, lines };
            }
        }
    }

    /// A message of room a's, by hand.
    fn sends(&mut self) -> String {
        let fields = format!("From: {}\nSubject: for h\u{e5}nd\n\nhei\n.", vakt("a"));
        for line in [
            format!("MAIL FROM:<{}>", vakt("a")),
            format!("RCPT TO:<{}>", vakt("b")),
            "DATA".to_owned(),
        ] {
            let reply = self.say(line);
            assert!([250, 354].contains(&reply.code), "{reply}");
        }
        self.say(fields).said()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn every_mechanism_can_be_spoken_by_hand() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = relay("starttls");
    let coded = |text: &str| BASE64.encode(text);
    let (user, password) = (coded("ws3"), coded(PASSWORD));
    let whole = coded(&format!("\0ws3\0{PASSWORD}"));
    for lines in [
        &[&*format!("AUTH PLAIN {whole}")][..],
        &["AUTH PLAIN", &whole],
        &["auth plain", &whole],
        &["AUTH LOGIN", &user, &password],
        &[&*format!("AUTH LOGIN {user}"), &password],
    ] {
        let mut hand = ByHand::under_tls(&relay, &[]);
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(hand.say((*line).to_owned()).code, 334, "{lines:?}");
        }
        assert_eq!(
            hand.say((*last).to_owned()).said(),
            "235 2.7.0",
            "{lines:?}"
        );
        assert_eq!(hand.sends(), "250 2.0.0", "{lines:?}");
    }
    let mut hand = ByHand::under_tls(&relay, &[]);
    let know = ("ws3", PASSWORD);
    let said = scram(
        &mut |line| hand.say(line),
        "SCRAM-SHA-256",
        "n,,",
        &[],
        know,
    );
    assert_eq!(
        (said.as_str(), hand.sends().as_str()),
        ("235 2.7.0", "250 2.0.0")
    );
    delivered(&relay, 6);
}

#[test]
fn external_can_be_spoken_by_hand() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let name = "ws1.amk-oslo.nodnett.test";
    let line = format!("[[room.workstation]]\ncertificate = \"{name}\"\n");
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &line)
        .room("b", "maildir:mail/b")
        .tls("starttls")
        .start();
    let file = |end: &str| relay.path(&format!("certs/ws-{name}.{end}"));
    let (certificate, key) = (file("pem"), file("key"));
    let shown = [
        "-cert",
        certificate.to_str().unwrap(),
        "-key",
        key.to_str().unwrap(),
    ];
    for lines in [
        vec!["AUTH EXTERNAL =".to_owned()],
        vec![format!("AUTH EXTERNAL {}", BASE64.encode(name))],
        vec!["AUTH EXTERNAL".to_owned(), String::new()],
    ] {
        let mut hand = ByHand::under_tls(&relay, &shown);
        let replies: Vec<Reply> = lines.into_iter().map(|line| hand.say(line)).collect();
        assert_eq!(replies.last().unwrap().said(), "235 2.7.0", "{replies:?}");
        assert_eq!(hand.sends(), "250 2.0.0");
    }
    let mut hand = ByHand::under_tls(&relay, &shown);
    let other = format!(
        "AUTH EXTERNAL {}",
        BASE64.encode("ws2.amk-oslo.nodnett.test")
    );
    assert_eq!(hand.say(other).said(), "535 5.7.8");
    let mut nobody = ByHand::under_tls(&relay, &[]);
    assert_eq!(nobody.say("AUTH EXTERNAL =".to_owned()).said(), "504 5.5.4");
    delivered(&relay, 3);
}

const SMTPLIB: &str = r#"
import smtplib, ssl, sys
port, authority, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with smtplib.SMTP("127.0.0.1", port) as s:
    try:
        s.login("ws3", password)
        raise SystemExit("a login in plain text was possible")
    except smtplib.SMTPNotSupportedError:
        pass
    s.starttls(context=ssl.create_default_context(cafile=authority))
    try:
        s.login("ws3", "wrong horse")
        raise SystemExit("a wrong password was taken")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
with smtplib.SMTP("127.0.0.1", port) as s:
    s.starttls(context=ssl.create_default_context(cafile=authority))
    s.login("ws3", password)
    s.sendmail("vakt@a.nodnett.test", ["vakt@b.nodnett.test"], "From: vakt@a.nodnett.test\r\n\r\nhei\r\n")
"#;

#[test]
fn smtplib_logs_in() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let relay = relay("starttls");
    let port = relay.port.to_string();
    let authority = relay.path("certs/ca.pem");
    peer::python(SMTPLIB, &[&port, authority.to_str().unwrap(), PASSWORD]);
    delivered(&relay, 1);
}
