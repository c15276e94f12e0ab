//! A listener behind load balancers: the PROXY header (version 2) says who the client is, from them
//! alone, and on no other listener.

use std::fs;
use std::net::{IpAddr, TcpStream};

use crate::client::{Client, letter, vakt};
use crate::relay::{Relay, Setup, free_port};
use crate::wait;

const BALANCER: &str = "127.9.0.5";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// What a balancer says that connects for `client`.
fn for_client(client: &str) -> Vec<u8> {
    let ports = [0xc3, 0x50, 0, 25];
    match client.parse().unwrap() {
        IpAddr::V4(it) => header(
            0x21,
            0x11,
            &[&it.octets()[..], &[127, 0, 0, 1], &ports].concat(),
        ),
        IpAddr::V6(it) => header(0x21, 0x21, &[&it.octets()[..], &[0; 16], &ports].concat()),
    }
}

/// A relay with a second listener, whose port is given, for the balancer alone. Room `d` is on IPv6,
/// and the balancer itself is in room `a`'s network.
fn relay(tls: &str, settings: &str) -> (Relay, u16) {
    let port = free_port();
    let own = |network: &str| format!("[[room.workstation]]\nnetwork = \"{network}\"\n");
    let here = own("127.0.1.0/24") + &own("127.9.0.0/24");
    let relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &here)
        .room("b", "maildir:mail/b")
        .room_with("d", "maildir:mail/d", &own("2001:db8:4::/64"))
        .tls(tls)
        .settings(settings)
        .prepare();
    let file = relay.path("ilbud.toml");
    let written = fs::read_to_string(&file).unwrap();
    let listener = format!(
        "[[listener]]\nname = \"behind\"\naddress = \"127.0.0.1:{port}\"\ntls = \"{tls}\"\n\
         proxy_from = [\"127.9.0.0/24\"]\n"
    );
    fs::write(&file, written + &listener).unwrap();
    let mut relay = relay;
    relay.launch();
    wait::until("both listeners", || {
        [relay.port, port]
            .iter()
            .all(|it| TcpStream::connect(("127.0.0.1", *it)).is_ok())
    });
    (relay, port)
}

fn behind(port: u16, header: &[u8]) -> Client {
    let mut client = Client::silent(port, BALANCER).unwrap();
    client.put(header);
    client
}

fn sent_by(client: &mut Client, room: &str) -> crate::client::Reply {
    assert_eq!(client.say("EHLO ws.test").code, 250);
    client.send(&vakt(room), &[&vakt("b")], &letter(&vakt(room), &vakt("b")))
}

#[test]
fn the_client_is_whom_the_balancer_says() {
    let (relay, port) = relay("off", "");
    for (room, address) in [
        ("a", "127.0.1.9"),
        ("b", "127.0.2.9"),
        ("d", "2001:db8:4::9"),
        ("b", "::ffff:127.0.2.9"),
    ] {
        let mut client = behind(port, &for_client(address));
        assert_eq!(client.reply().code, 220, "{address}");
        let sent = sent_by(&mut client, room);
        assert_eq!(sent.said(), "250 2.0.0", "{address}: {sent}");
        let row = &relay.rows(&["log", "search", &sent.reference()])[0];
        assert_eq!(row["client"], address.trim_start_matches("::ffff:"));
        let mut client = behind(port, &for_client(address));
        client.reply();
        let other = if room == "a" { "b" } else { "a" };
        let refused = sent_by(&mut client, other);
        assert_eq!(refused.said(), "550 5.7.1", "{address}: {refused}");
    }
}

#[test]
fn a_header_may_be_split_anywhere_and_carry_more() {
    let (_relay, port) = relay("off", "");
    let (whole, rest) = (for_client("127.0.1.9"), b"EHLO ws.test\r\n");
    let mut longer = header(0x21, 0x11, &[&whole[16..], &[4; 300]].concat());
    longer.extend_from_slice(rest);
    for octets in [&longer[..], &[&whole[..], rest].concat()] {
        for at in (0..40).chain([octets.len()]) {
            let at = at.min(octets.len());
            let mut client = behind(port, &octets[..at]);
            client.put(&octets[at..]);
            assert_eq!(client.reply().code, 220, "split at {at}");
            assert_eq!(client.reply().code, 250, "split at {at}");
        }
    }
}

#[test]
fn a_balancer_that_looks_whether_we_live_is_no_workstation() {
    let (_relay, port) = relay("off", "");
    let mut client = behind(port, &header(0x20, 0, &[]));
    assert_eq!(client.reply().code, 220);
    let refused = sent_by(&mut client, "a");
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    assert_eq!(client.say("QUIT").code, 221);
}

#[test]
fn whatever_else_a_balancer_says_is_turned_away_with_a_row() {
    let (relay, port) = relay("off", "");
    let mut unfinished = for_client("127.0.1.9");
    unfinished.pop();
    let cases = [
        b"PROXY TCP4 127.0.1.9 127.0.0.1 50000 25\r\n".to_vec(),
        b"EHLO workstation.test\r\n".to_vec(),
        vec![0x16; 64],
        header(0x21, 0x31, &[1; 216]),
        header(0x21, 0x00, &[]),
        header(0x22, 0x11, &[1; 12]),
        header(0x21, 0x11, &[1; 11]),
        header(0x21, 0x11, &[1; 4000]),
        header(0x21, 0x11, &[0; 12]),
        unfinished,
        Vec::new(),
    ];
    let count = cases.len();
    let mut clients: Vec<_> = cases.iter().map(|octets| behind(port, octets)).collect();
    for (client, octets) in clients.iter_mut().zip(&cases) {
        let reply = client.reply();
        // What we did not read makes the system forget what we said.
        assert!([421, 0].contains(&reply.code), "{octets:?}: {reply}");
    }
    wait::until("a row for each", || {
        turned_away(&relay, BALANCER) == count as u64
    });
    assert_eq!(relay.client("a").say("NOOP").code, 250);
}

/// How many of a client's connections were turned away, as the log has it.
fn turned_away(relay: &Relay, client: &str) -> u64 {
    let rows = relay.rows(&["log", "search", "--status", "refused", "--client", client]);
    rows.iter()
        .map(|row| row["count"].as_u64().unwrap_or(1))
        .sum()
}

#[test]
fn nobody_else_is_believed() {
    let (relay, port) = relay("off", "");
    for source in ["127.0.1.9", "127.0.0.1", "127.8.0.5"] {
        let mut client = Client::silent(port, source).unwrap();
        client.put(&for_client("127.0.2.9"));
        assert!([421, 0].contains(&client.reply().code), "{source}");
        wait::until("the row", || turned_away(&relay, source) == 1);
        let mut client = Client::silent(port, source).unwrap();
        let told = client.reply();
        assert_eq!(told.said(), "421 4.7.0", "{source}: {told}");
        told.reference();
    }
    // A header on a listener for clients is what any other nonsense is, even a balancer's.
    let mut client = Client::silent(relay.port, BALANCER).unwrap();
    client.put(&for_client("127.0.2.9"));
    assert_eq!(client.reply().code, 220);
    assert_eq!(client.reply().code / 100, 5);
}

#[test]
fn tls_from_the_first_byte_begins_after_the_header() {
    let (relay, port) = relay("implicit", "");
    let mut client = behind(port, &for_client("127.0.1.9"));
    client.shake_hands(&relay.path("certs"));
    assert_eq!(client.reply().code, 220);
    let sent = sent_by(&mut client, "a");
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
}

#[test]
fn limits_are_the_clients_and_never_the_balancers() {
    let (relay, port) = relay(
        "off",
        "[limits]\nconnections = 8\nconnections_per_address = 2",
    );
    let open = |address: &str| {
        let mut client = behind(port, &for_client(address));
        (client.reply().code, client)
    };
    // The looks at the start leave their places when the relay has seen that they ended.
    let mut held = wait::find("places for all", || {
        let held: Vec<_> = [
            "127.0.1.1",
            "127.0.1.1",
            "127.0.1.2",
            "127.0.1.2",
            "127.0.1.3",
        ]
        .map(open)
        .into();
        held.iter().all(|(code, _)| *code == 220).then_some(held)
    });
    assert_eq!(open("127.0.1.1").0, 421, "a third of one address");
    wait::until("a full house, of which some have said nothing yet", || {
        held.push((0, behind(port, &[])));
        let mut client = Client::silent(relay.port, "127.0.2.9").unwrap();
        client.reply().said() == "421 4.7.0"
    });
    wait::until("those who say nothing are gone", || {
        let mut client = Client::silent(relay.port, "127.0.2.9").unwrap();
        client.reply().code == 220
    });
    assert_eq!(held[0].1.say("NOOP").code, 250);
}
