//! Names of next hops, asked of a real name server: the servers of a domain in their order, both kinds
//! of addresses, and "there is no such name" kept apart from "it could not be asked".

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use ilbud::delivery::outcome::Trouble;
use ilbud::delivery::resolve::{Resolver, Settings};

use crate::client::{letter, vakt};
use crate::hop_security::Forward;
use crate::peer;
use crate::relay::{Relay, Setup, free_port};
use crate::sink::{Sink, Stage, Step};
use crate::wait;

/// A name server of one's own, for the zone `test`.
pub struct Dnsmasq {
    port: u16,
    home: tempfile::TempDir,
    program: Child,
}

impl Dnsmasq {
    pub fn serving(records: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        // A port that was free a moment ago may be somebody's by now.
        let (port, program) = wait::find("dnsmasq", || {
            let port = free_port();
            Some((port, started(&home, port, records)?))
        });
        Self {
            port,
            home,
            program,
        }
    }

    /// Other records from now on.
    fn change(&mut self, records: &[&str]) {
        self.stop();
        let started = || started(&self.home, self.port, records);
        self.program = wait::find("dnsmasq again", started);
    }

    fn stop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn resolver(&self) -> Resolver {
        resolver(self.address())
    }

    pub fn settings(&self) -> String {
        format!("[resolver]\nname_servers = [\"{}\"]", self.address())
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `None` when it ended before it answered.
fn started(home: &tempfile::TempDir, port: u16, records: &[&str]) -> Option<Child> {
    let mut settings = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n\
         local=/test/\nlocal-ttl=300\nuser=\n"
    );
    for record in records {
        settings.push_str(record);
        settings.push('\n');
    }
    let file = home.path().join("dnsmasq.conf");
    fs::write(&file, settings).unwrap();
    let mut program = peer::command("dnsmasq")
        .arg("--keep-in-foreground")
        .arg(format!("--conf-file={}", file.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let asking = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let patience = Duration::from_millis(100);
    asking.set_read_timeout(Some(patience)).unwrap();
    wait::find("dnsmasq's answer or end", || {
        // RFC 1035 §4.1.1: a question for the root's addresses.
        let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";
        drop(asking.send_to(question, (Ipv4Addr::LOCALHOST, port)));
        let answers = asking.recv(&mut [0; 512]).is_ok();
        (answers || program.try_wait().unwrap().is_some()).then_some(answers)
    })
    .then_some(program)
}

fn resolver(server: SocketAddr) -> Resolver {
    Resolver::new(Settings {
        name_servers: vec![server],
        timeout: Duration::from_millis(500),
        attempts: 1,
        hosts_file: true,
    })
}

#[tokio::test]
async fn servers_of_a_domain_come_in_its_order_of_preference() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let dnsmasq = Dnsmasq::serving(&[
        "mx-host=a.test,second.a.test,20",
        "mx-host=a.test,first.a.test,10",
        "mx-host=a.test,third.a.test,30",
        "mx-host=null.test,.,0",
        "mx-host=null-and-more.test,.,0",
        "mx-host=null-and-more.test,mx.a.test,10",
        "host-record=bare.test,127.0.0.1",
        "cname=alias.test,a.test",
    ]);
    let resolver = dnsmasq.resolver();
    for (domain, servers) in [
        (
            "a.test",
            &["first.a.test", "second.a.test", "third.a.test"][..],
        ),
        (
            "alias.test",
            &["first.a.test", "second.a.test", "third.a.test"],
        ),
        // RFC 5321 §5.1: no MX record, so the domain itself.
        ("bare.test", &["bare.test"]),
        ("null-and-more.test", &["mx.a.test"]),
    ] {
        assert_eq!(
            resolver.exchangers(domain, "relay.test").await.unwrap(),
            servers,
            "{domain}"
        );
    }
    // RFC 5321 §5.1: mail must not come back.
    let before = resolver.exchangers("a.test", "second.a.test").await;
    assert_eq!(before, Ok(vec!["first.a.test".to_owned()]));
    let own = resolver.exchangers("bare.test", "bare.test").await;
    assert!(matches!(own, Err(Trouble::Ours(_))), "{own:?}");
    let nowhere = resolver.exchangers("null.test", "relay.test").await;
    assert_eq!(nowhere, Err(Trouble::TakesNoMail("null.test".into())));
    let missing = resolver.exchangers("missing.test", "relay.test").await;
    assert_eq!(missing, Err(Trouble::NoSuchName("missing.test".into())));
}

#[tokio::test]
async fn both_kinds_of_addresses_are_found() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let dnsmasq = Dnsmasq::serving(&[
        "host-record=both.test,127.0.0.1,::1",
        "host-record=four.test,127.0.0.2",
        "host-record=six.test,::1",
        "mx-host=mailonly.test,four.test,10",
    ]);
    let resolver = dnsmasq.resolver();
    for (host, expected) in [
        ("both.test", &["::1", "127.0.0.1"][..]),
        ("four.test", &["127.0.0.2"]),
        ("six.test", &["::1"]),
    ] {
        let found = resolver.addresses(host).await.unwrap();
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{host}");
    }
    for host in ["missing.test", "mailonly.test"] {
        let missing = resolver.addresses(host).await;
        assert_eq!(missing, Err(Trouble::NoSuchName(host.into())));
    }
}

#[tokio::test]
async fn a_name_server_that_cannot_tell_is_no_sign_that_the_name_is_missing() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    // Nobody to ask for names outside `test`: REFUSED.
    let dnsmasq = Dnsmasq::serving(&[]);
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    for server in [dnsmasq.address(), silent.local_addr().unwrap(), dead] {
        let resolver = resolver(server);
        let asked = [
            resolver.addresses("b.elsewhere.example").await.map(|_| ()),
            resolver
                .exchangers("b.elsewhere.example", "relay.test")
                .await
                .map(|_| ()),
        ];
        for answer in asked {
            assert!(
                matches!(answer, Err(Trouble::Unresolved(_))),
                "{server}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_is_kept_and_a_no_not_for_long() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let mut dnsmasq = Dnsmasq::serving(&["host-record=a.test,127.0.0.1"]);
    let resolver = dnsmasq.resolver();
    let first = resolver.addresses("a.test").await.unwrap();
    dnsmasq.change(&["host-record=a.test,127.0.0.2"]);
    assert_eq!(resolver.addresses("a.test").await, Ok(first));
    dnsmasq.stop();
    assert!(resolver.addresses("a.test").await.is_ok());
}

/// A relay where room `b` is wherever `domain` says, at the port of `sink`.
fn relay(domain: &str, sink: &Sink, dnsmasq: &Dnsmasq) -> Relay {
    Setup::from_a_to(&format!("mx:{domain}:{}", sink.port))
        .settings(&dnsmasq.settings())
        .start()
}

fn send(relay: &Relay) -> String {
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

#[test]
fn a_dead_first_server_is_passed_over_for_the_second() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let dnsmasq = Dnsmasq::serving(&[
        "mx-host=b.test,first.b.test,10",
        "mx-host=b.test,second.b.test,20",
        "mx-host=b.test,third.b.test,30",
        // Nobody listens there.
        "host-record=first.b.test,127.0.0.77",
        "host-record=third.b.test,127.0.0.78",
        "host-record=second.b.test,127.0.0.1",
    ]);
    let sink = Sink::start();
    let relay = relay("b.test", &sink, &dnsmasq);
    relay.expect_events(&send(&relay), &["accepted", "delivered"]);
    assert_eq!(sink.count(), 1);
}

#[test]
fn a_server_is_reached_by_either_kind_of_address() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let sink = Sink::start();
    let far = Forward::from("::1", sink.port);
    for (records, port) in [
        // Nobody listens there over IPv6, so IPv4 is tried.
        (&["host-record=b.test,127.0.0.1,::1"], sink.port),
        (&["host-record=b.test,::1"], far.port),
    ] {
        let dnsmasq = Dnsmasq::serving(records);
        for hop in [format!("mx:b.test:{port}"), format!("smtp://b.test:{port}")] {
            let before = sink.count();
            let relay = Setup::from_a_to(&hop).settings(&dnsmasq.settings()).start();
            relay.expect_events(&send(&relay), &["accepted", "delivered"]);
            assert_eq!(sink.count(), before + 1);
        }
    }
}

#[test]
fn a_server_that_defers_passes_the_mail_on_to_the_next() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let dnsmasq = Dnsmasq::serving(&[
        "mx-host=b.test,busy.b.test,10",
        "mx-host=b.test,idle.b.test,20",
        "host-record=busy.b.test,127.0.0.1",
        "host-record=idle.b.test,127.0.0.1",
    ]);
    // The first connection is the busy one's.
    let sink = Sink::scripted(|stage, count, _| match (stage, count) {
        (Stage::Mail, 1) => Step::Say("451 4.3.2 busy"),
        _ => Step::Agree,
    });
    let relay = relay("b.test", &sink, &dnsmasq);
    relay.expect_events(&send(&relay), &["accepted", "delivered"]);
    assert_eq!(sink.count(), 1);
}

#[test]
fn mail_for_a_domain_that_takes_none_fails_at_once_and_says_so() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let dnsmasq = Dnsmasq::serving(&["mx-host=b.test,.,0"]);
    let relay = relay("b.test", &Sink::start(), &dnsmasq);
    relay.expect_events(&send(&relay), &["accepted", "failed", "bounced"]);
    wait::until("the report", || relay.maildir("a", "vakt").len() == 1);
    let report = String::from_utf8(relay.maildir("a", "vakt").remove(0)).unwrap();
    assert!(report.contains("takes no mail"), "{report}");
}

#[test]
fn a_missing_name_waits_and_is_noticed_when_it_is_put_right() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let mut dnsmasq = Dnsmasq::serving(&[]);
    let sink = Sink::start();
    let relay = relay("b.test", &sink, &dnsmasq);
    let reference = send(&relay);
    let reason = first_reason(&relay, &reference);
    assert!(reason.contains("no host named b.test"), "{reason}");

    dnsmasq.change(&["host-record=b.test,127.0.0.1"]);
    wait::until("the delivery", || sink.count() == 1);
}

#[test]
fn a_dead_name_server_is_our_trouble_and_not_the_name_s() {
    if !peer::all_here(&["dnsmasq"]) {
        return;
    }
    let mut dnsmasq = Dnsmasq::serving(&["host-record=b.test,127.0.0.1"]);
    dnsmasq.stop();
    let sink = Sink::start();
    let relay = relay("b.test", &sink, &dnsmasq);
    let reference = send(&relay);
    let reason = first_reason(&relay, &reference);
    assert!(reason.contains("could not be looked up"), "{reason}");
    dnsmasq.change(&["host-record=b.test,127.0.0.1"]);
    wait::until("the delivery", || sink.count() == 1);
}

fn first_reason(relay: &Relay, reference: &str) -> String {
    wait::find("an attempt", || {
        let rows = relay.rows(&["log", "show", reference]);
        let row = rows.iter().find(|row| row["event"] == "deferred")?;
        Some(row["reason"].as_str().unwrap().to_owned())
    })
}
