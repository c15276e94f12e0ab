//! Nodemailer, which many web services send with: STARTTLS, logins, attachments, several messages on one
//! connection, a client certificate, and whom it names as the sender.

use std::io::{Seek, Write};

use serde_json::{Value, json};

use crate::client::vakt;
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

const PASSWORD: &str = "correct horse";
/// Of no room.
const ELSEWHERE: &str = "127.0.77.9";
const LINES: &str = "[[room.workstation]]\nuser = \"ws3\"\n\
    [[room.workstation]]\ncertificate = \"ws1.amk-oslo.nodnett.test\"\n";

/// Sends each message in its turn, and prints what came of each.
const PROGRAM: &str = r#"
const { transport, messages } = JSON.parse(require("fs").readFileSync(0));
const sender = require("nodemailer").createTransport(transport);
Promise.all(messages.map(message => sender.sendMail(message).then(
  sent => sent.response,
  refused => `${refused.code} ${refused.responseCode} ${refused.response}`,
))).then(answers => {
  answers.forEach(answer => console.log(answer));
  sender.close();
});
"#;

fn relay(tls: &str) -> Relay {
    let mut relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", LINES)
        .room("b", "maildir:mail/b")
        .tls(tls)
        .under(&["env", "ILBUD_LOG=debug"])
        .prepare();
    relay.launch();
    wait::until("the listener", || {
        std::net::TcpStream::connect(("127.0.0.1", relay.port)).is_ok()
    });
    let output = relay.told(&["credential", "set", "ws3"], PASSWORD);
    assert!(output.status.success(), "{output:?}");
    relay
}

/// Nodemailer's settings, and some more.
fn transport(relay: &Relay, more: &Value) -> Value {
    let authority = std::fs::read_to_string(relay.path("certs/ca.pem")).unwrap();
    let mut all = json!({
        "host": "127.0.0.1", "port": relay.port, "localAddress": ELSEWHERE, "name": "ws.test",
        "requireTLS": true, "tls": { "ca": authority, "servername": "relay.nodnett.test" },
    });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

fn login(mechanism: &str, password: &str) -> Value {
    json!({ "authMethod": mechanism, "auth": { "user": "ws3", "pass": password } })
}

fn message(more: &Value) -> Value {
    let mut all =
        json!({ "from": vakt("a"), "to": vakt("b"), "subject": "pr\u{f8}ve", "text": "hei\n" });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

/// What came of each message.
fn sent(transport: &Value, messages: &[Value]) -> Vec<String> {
    let told = json!({ "transport": transport, "messages": messages }).to_string();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(told.as_bytes()).unwrap();
    file.rewind().unwrap();
    let output = peer::command("node")
        .env("NODE_PATH", "/usr/share/nodejs")
        .args(["-e", PROGRAM])
        .stdin(file)
        .output()
        .unwrap();
    let printed = peer::succeeded("node", &output);
    printed.lines().map(str::to_owned).collect()
}

fn delivered(relay: &Relay, messages: usize) -> Vec<String> {
    wait::until("the mail", || relay.maildir("b", "vakt").len() == messages);
    let text = |it: Vec<u8>| String::from_utf8_lossy(&it).into_owned();
    relay.maildir("b", "vakt").into_iter().map(text).collect()
}

#[test]
fn nodemailer_logs_in() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("starttls");
    for mechanism in ["PLAIN", "LOGIN"] {
        let good = transport(&relay, &login(mechanism, PASSWORD));
        let answers = sent(&good, &[message(&json!({}))]);
        assert!(
            answers[0].starts_with("250 2.0.0 "),
            "{mechanism}: {answers:?}"
        );
        let wrong = transport(&relay, &login(mechanism, "wrong horse"));
        let answers = sent(&wrong, &[message(&json!({}))]);
        assert!(
            answers[0].starts_with("EAUTH 535 535 5.7.8 "),
            "{mechanism}: {answers:?}"
        );
    }
    let plain_text = json!({ "requireTLS": false, "ignoreTLS": true });
    let mut clear = transport(&relay, &login("PLAIN", PASSWORD));
    for (key, value) in plain_text.as_object().unwrap() {
        clear[key] = value.clone();
    }
    let answers = sent(&clear, &[message(&json!({}))]);
    assert!(
        answers[0].contains(" 530 "),
        "a login in plain text: {answers:?}"
    );
    for kept in delivered(&relay, 2) {
        assert!(kept.contains("with ESMTPSA"), "{kept}");
    }
    assert!(!relay.log().contains("horse"));
}

#[test]
fn nodemailer_logs_in_under_implicit_tls() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("implicit");
    let mut secure = transport(&relay, &login("PLAIN", PASSWORD));
    secure["secure"] = true.into();
    let answers = sent(&secure, &[message(&json!({}))]);
    assert!(answers[0].starts_with("250 2.0.0 "), "{answers:?}");
    delivered(&relay, 1);
}

#[test]
fn nodemailer_s_attachments_arrive_as_they_were() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("starttls");
    let text = "en\r\n.\r\n..to\r\nFrom: vakt@b.nodnett.test\r\n".repeat(5000);
    let files = json!({ "attachments": [
        { "filename": "pr\u{f8}ve.txt", "content": text },
        { "filename": "bilde.bin", "content": "AAECAwQFBgcICQ==", "encoding": "base64" },
    ] });
    let answers = sent(
        &transport(&relay, &login("PLAIN", PASSWORD)),
        &[message(&files)],
    );
    assert!(answers[0].starts_with("250 2.0.0 "), "{answers:?}");
    let kept = delivered(&relay, 1).remove(0);
    assert!(kept.contains("AAECAwQFBgcICQ=="), "{kept}");
    let rows = relay.rows(&["log", "search", "--attachment", "pr\u{f8}ve.txt"]);
    assert_eq!(column(&rows, "status"), ["delivered"]);
}

#[test]
fn nodemailer_s_pool_sends_all_on_one_connection() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("starttls");
    let mut pool = transport(&relay, &login("LOGIN", PASSWORD));
    pool["pool"] = true.into();
    pool["maxConnections"] = 1.into();
    let honest = |n: u32| message(&json!({ "subject": format!("nummer {n}") }));
    let all: Vec<Value> = (1..=5).map(honest).collect();
    let answers = sent(&pool, &all);
    let is_taken = |it: &String| it.starts_with("250 2.0.0 ");
    assert!(
        answers.len() == 5 && answers.iter().all(is_taken),
        "{answers:?}"
    );
    delivered(&relay, 5);
    let logins = || relay.log().matches("logged in").count();
    wait::until("the login", || logins() == 1);
    // One that is refused keeps none of the others.
    let answers = sent(
        &pool,
        &[honest(6), message(&json!({ "from": vakt("b") })), honest(7)],
    );
    assert!(
        is_taken(&answers[0]) && is_taken(&answers[2]),
        "{answers:?}"
    );
    assert!(
        answers[1].starts_with("EENVELOPE 550 550 5.7.1 "),
        "{answers:?}"
    );
    delivered(&relay, 7);
}

#[test]
fn nodemailer_shows_a_certificate() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("starttls");
    let file = |name: &str| std::fs::read_to_string(relay.path("certs").join(name)).unwrap();
    let mut shown = transport(&relay, &json!({}));
    shown["tls"]["cert"] = file("ws-ws1.amk-oslo.nodnett.test.pem").into();
    shown["tls"]["key"] = file("ws-ws1.amk-oslo.nodnett.test.key").into();
    let forged = json!({ "from": vakt("b") });
    let answers = sent(&shown, &[message(&json!({})), message(&forged)]);
    assert!(answers[0].starts_with("250 2.0.0 "), "{answers:?}");
    assert!(
        answers[1].starts_with("EENVELOPE 550 550 5.7.1 "),
        "{answers:?}"
    );
    let answers = sent(&transport(&relay, &json!({})), &[message(&json!({}))]);
    assert!(
        answers[0].contains(" 530 5.7.0 "),
        "without one: {answers:?}"
    );
    delivered(&relay, 1);
}

#[test]
fn nodemailer_names_nobody_else_as_the_sender() {
    if !peer::all_here(&["nodemailer"]) {
        return;
    }
    let relay = relay("starttls");
    let with = transport(&relay, &login("PLAIN", PASSWORD));
    let envelope = json!({ "from": vakt("a"), "to": vakt("b") });
    let (a, b) = (vakt("a"), vakt("b"));
    #[rustfmt::skip]
    let cases = [
        (json!({ "sender": "leder@a.nodnett.test" }),                           "250 2.0.0 "),
        (json!({ "sender": b, "envelope": envelope }),                          "EMESSAGE 550 550 5.7.1 "),
        (json!({ "sender": format!("\"{b}\" <{a}>"), "envelope": envelope }),   "EMESSAGE 550 550 5.7.1 "),
        (json!({ "from": format!("\"{b}\" <{a}>"), "envelope": envelope }),     "EMESSAGE 550 550 5.7.1 "),
        (json!({ "from": [&a, &b], "envelope": envelope }),                     "EMESSAGE 550 550 5.7.1 "),
        (json!({ "headers": { "Resent-From": b } }),                            "EMESSAGE 550 550 5.7.1 "),
        (json!({ "headers": { "Resent-Sender": a }, "replyTo": b }),            "250 2.0.0 "),
    ];
    for (more, said) in cases {
        let answers = sent(&with, &[message(&more)]);
        assert!(answers[0].starts_with(said), "{more}: {answers:?}");
    }
    delivered(&relay, 2);
}
