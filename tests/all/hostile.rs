//! Clients that are slow, endless or deaf: each is cut and leaves a row, while an honest one sends
//! its mail as if nothing were the matter.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::StreamOwned;

use crate::client::{Client, Wire, connection, letter, trusting, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, column};
use crate::wait;

/// How long a hostile client waits for a word between two of its own.
const BETWEEN: Duration = Duration::from_millis(40);
/// Rounds after which a client should have been cut long ago.
const ROUNDS: usize = 2000;
const TIMEOUTS: &str = "[limits.timeouts]\ncommand = \"3s\"\nlogin = \"3s\"\nblock = \"3s\"\n\
                        replies = \"3s\"\nhandshake = \"3s\"\n";

fn relay(settings: &str) -> Relay {
    Setup::three_rooms()
        .tls("starttls")
        .settings(settings)
        .start()
}

/// A connection from `source`, whatever was said on it before.
struct Hostile {
    socket: TcpStream,
    wire: Box<dyn Wire>,
    heard: Vec<u8>,
}

impl Hostile {
    fn new(client: Client) -> Self {
        let (socket, wire) = client.into_wire();
        Self::over(socket, wire)
    }

    fn over(socket: TcpStream, wire: Box<dyn Wire>) -> Self {
        socket.set_read_timeout(Some(BETWEEN)).unwrap();
        socket.set_write_timeout(Some(BETWEEN)).unwrap();
        let heard = Vec::new();
        Self {
            socket,
            wire,
            heard,
        }
    }

    /// Says something; an error is that nobody listens any more, which shows in what is heard.
    fn say(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// Hears what has come; true once the relay has closed.
    fn is_closed(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.wire.read(&mut chunk) {
            Ok(0) => true,
            Ok(octets) => {
                self.heard.extend_from_slice(&chunk[..octets]);
                false
            }
            Err(fault) => !matches!(
                fault.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    /// Goes on with `nuisance` until it is cut; gives all that it heard.
    fn until_cut(mut self, mut nuisance: impl FnMut(&mut Self, usize)) -> String {
        let cut = (0..ROUNDS).any(|round| {
            nuisance(&mut self, round);
            self.is_closed()
        });
        let heard = String::from_utf8_lossy(&self.heard).into_owned();
        assert!(cut, "still there after {ROUNDS} rounds: {heard}");
        heard
    }
}

/// The replies in the rows about this client.
fn rows(relay: &Relay, client: &str) -> Vec<String> {
    column(&relay.rows(&["log", "search", "--client", client]), "reply")
}

fn row(relay: &Relay, client: &str, reply: &str) {
    wait::find(&format!("the row of {client} with {reply:?}"), || {
        rows(relay, client)
            .iter()
            .any(|it| it.contains(reply))
            .then_some(())
    });
}

/// Sends a message from room a to room b, and sees it arrive.
fn honest_mail(relay: &Relay) {
    let mut client = Client::greeted(relay.port, "127.0.1.200");
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    relay.expect_events(&sent.reference(), &["accepted", "delivered"]);
}

/// What one hostile client does, given its address, until it is cut; gives all that it heard.
type Nuisance = fn(&Relay, &str) -> String;

fn endless(relay: &Relay, source: &str, command: &str) -> String {
    let many = format!("{command}\r\n").repeat(50);
    Hostile::new(Client::greeted(relay.port, source)).until_cut(|it, _| it.say(many.as_bytes()))
}

fn in_data(relay: &Relay, source: &str) -> Hostile {
    let mut client = Client::greeted(relay.port, source);
    assert!(client.envelope(&vakt("a"), &[&vakt("b")], "").is_none());
    assert_eq!(client.say("DATA").code, 354);
    Hostile::new(client)
}

fn under_tls(relay: &Relay, source: &str) -> Client {
    let mut client = Client::greeted(relay.port, source);
    client.start_tls(&relay.path("certs"));
    assert_eq!(client.say("EHLO ws.test").code, 250);
    client
}

/// A connection whose kernel takes next to nothing for it.
fn with_small_ears(relay: &Relay, source: &str) -> Hostile {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let from: std::net::IpAddr = source.parse().unwrap();
    socket
        .bind(&std::net::SocketAddr::new(from, 0).into())
        .unwrap();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], relay.port));
    socket.connect(&to.into()).unwrap();
    let socket = TcpStream::from(socket);
    let wire = Box::new(socket.try_clone().unwrap());
    Hostile::over(socket, wire)
}

#[rustfmt::skip]
const NUISANCES: &[(&str, Nuisance, &str)] = &[
    ("silence after the greeting", |relay, source| {
        Hostile::new(Client::silent(relay.port, source).unwrap()).until_cut(|_, _| {})
    }, "421 4.4.2"),
    ("a command octet by octet", |relay, source| {
        Hostile::new(Client::greeted(relay.port, source)).until_cut(|it, _| it.say(b"N"))
    }, "421 4.4.2"),
    ("a command octet by octet, each a TLS record", |relay, source| {
        Hostile::new(under_tls(relay, source)).until_cut(|it, _| it.say(b"N"))
    }, "421 4.4.2"),
    ("content octet by octet", |relay, source| {
        in_data(relay, source).until_cut(|it, _| it.say(b"x"))
    }, "421 4.4.2 The message comes too slowly"),
    ("content that does not come", |relay, source| {
        in_data(relay, source).until_cut(|_, _| {})
    }, "421 4.4.2 Nothing was heard"),
    ("refused content octet by octet", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        client.put(b"BDAT 100000\r\n");
        Hostile::new(client).until_cut(|it, _| it.say(b"x"))
    }, "421 4.4.2 The message comes too slowly"),
    ("chunks of an octet, slowly", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert!(client.envelope(&vakt("a"), &[&vakt("b")], "").is_none());
        Hostile::new(client).until_cut(|it, _| {
            it.say(b"BDAT 1\r\nx");
            it.is_closed();
        })
    }, "421 4.4.2 The message comes too slowly"),
    ("chunks of an octet, at once", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert!(client.envelope(&vakt("a"), &[&vakt("b")], "").is_none());
        let many = b"BDAT 1\r\nx".repeat(200);
        Hostile::new(client).until_cut(|it, _| it.say(&many))
    }, "421 4.7.0 Too many commands"),
    ("endless EHLO", |relay, source| endless(relay, source, "EHLO again"), "421 4.7.0 Too many commands"),
    ("endless HELO", |relay, source| endless(relay, source, "HELO again"), "421 4.7.0 Too many commands"),
    ("endless NOOP", |relay, source| endless(relay, source, "NOOP"), "421 4.7.0 Too many commands"),
    ("endless RSET", |relay, source| endless(relay, source, "RSET"), "421 4.7.0 Too many commands"),
    ("endless VRFY", |relay, source| endless(relay, source, "VRFY vakt"), "421 4.7.0 Too many commands"),
    ("endless HELP", |relay, source| endless(relay, source, "HELP"), "421 4.7.0 Too many commands"),
    ("endless MAIL and RSET", |relay, source| {
        endless(relay, source, "MAIL FROM:<vakt@a.nodnett.test>\r\nRSET")
    }, "421 4.7.0 Too many commands"),
    ("endless nonsense", |relay, source| endless(relay, source, "NONSENSE"), "421 4.7.0 Too many errors"),
    ("endless recipients nobody has", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert!(client.envelope(&vakt("a"), &[&vakt("b")], "").is_none());
        let many = "RCPT TO:<x@example.com>\r\n".repeat(20);
        Hostile::new(client).until_cut(|it, _| it.say(many.as_bytes()))
    }, "421 4.7.0 Too many errors"),
    ("replies that nobody reads", |relay, source| {
        let mut hostile = with_small_ears(relay, source);
        // Less than a session may say, and more than the two kernels take.
        hostile.say(&b"EHLO a-name-that-is-said-back-to-whoever-does-not-listen\r\n".repeat(1000));
        // Looks only whether it is still connected.
        let gone = wait::within(Duration::from_secs(60), || hostile.socket.take_error().unwrap().is_some());
        assert!(gone, "still there");
        String::new()
    }, "421 4.4.2 The client takes no replies"),
    ("replies that nobody reads, with a recipient", |relay, source| {
        let mut hostile = with_small_ears(relay, source);
        hostile.say(b"EHLO x\r\nMAIL FROM:<vakt@a.nodnett.test>\r\nRCPT TO:<vakt@b.nodnett.test>\r\n");
        hostile.say(&b"HELP\r\n".repeat(1000));
        let gone = wait::within(Duration::from_secs(60), || hostile.socket.take_error().unwrap().is_some());
        assert!(gone, "still there");
        wait::until("a row for the recipient", || {
            let search = ["log", "search", "--client", source, "--recipient", "vakt@b.nodnett.test"];
            column(&relay.rows(&search), "status") == ["refused"]
        });
        String::new()
    }, "421 4.4.2 The client takes no replies"),
    ("a login left hanging", |relay, source| {
        let mut client = under_tls(relay, source);
        assert_eq!(client.say("AUTH LOGIN").code, 334);
        Hostile::new(client).until_cut(|_, _| {})
    }, "421 4.4.2"),
    ("a login octet by octet", |relay, source| {
        let mut client = under_tls(relay, source);
        assert_eq!(client.say("AUTH LOGIN").code, 334);
        Hostile::new(client).until_cut(|it, _| it.say(b"a"))
    }, "421 4.4.2"),
    ("a handshake that does not begin", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert_eq!(client.say("STARTTLS").code, 220);
        Hostile::new(client).until_cut(|_, _| {})
    }, "421 4.4.2 The TLS handshake"),
    ("a handshake octet by octet", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert_eq!(client.say("STARTTLS").code, 220);
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
        Hostile::new(client).until_cut(|it, round| it.say(hello.get(round..=round).unwrap_or_default()))
    }, "421 4.4.2 The TLS handshake"),
    ("no TLS where TLS was to begin", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert_eq!(client.say("STARTTLS").code, 220);
        client.put(b"EHLO in the clear\r\n");
        Hostile::new(client).until_cut(|_, _| {})
    }, "421 4.7.0 TLS with the client failed"),
    ("a flood of new keys", |relay, source| {
        let mut client = Client::greeted(relay.port, source);
        assert_eq!(client.say("STARTTLS").code, 220);
        let (socket, _) = client.into_wire();
        let mut tls = StreamOwned::new(connection(trusting(&relay.path("certs"))), socket.try_clone().unwrap());
        tls.write_all(b"EHLO ws.test\r\n").unwrap();
        for _ in 0..100 {
            let _ = tls.conn.refresh_traffic_keys().map(|()| tls.flush());
        }
        Hostile::over(socket, Box::new(tls)).until_cut(|_, _| {})
    }, "421 4.7.0 TLS with the client failed"),
];

#[test]
fn each_is_cut_with_a_row_while_honest_mail_flows() {
    let relay = relay(TIMEOUTS);
    thread::scope(|scope| {
        let hostile: Vec<_> = (1..)
            .zip(NUISANCES)
            .map(|(number, (what, nuisance, last_word))| {
                let (relay, source) = (&relay, format!("127.0.1.{number}"));
                scope.spawn(move || {
                    let heard = nuisance(relay, &source);
                    row(relay, &source, last_word);
                    let is_said = heard.contains(last_word) || heard.is_empty();
                    assert!(
                        is_said || !last_word.contains("421 4.7.0 Too"),
                        "{what}: {heard}"
                    );
                })
            })
            .collect();
        while hostile.iter().any(|it| !it.is_finished()) {
            honest_mail(&relay);
        }
        let outcomes = hostile.into_iter().zip(NUISANCES);
        for (outcome, (what, ..)) in outcomes.map(|(it, what)| (it.join(), what)) {
            assert!(outcome.is_ok(), "{what}");
        }
    });
}

#[test]
fn two_hundred_that_trickle_take_nothing_from_the_others() {
    let relay = relay(&format!("{TIMEOUTS}[limits]\nconnections = 300\n"));
    let mut hostile: Vec<_> = (0..200)
        .map(|n| {
            Hostile::new(Client::greeted(
                relay.port,
                &format!("127.66.{}.{}", n % 5, 1 + n / 5),
            ))
        })
        .collect();
    let mut rounds = 0;
    while !hostile.is_empty() {
        honest_mail(&relay);
        rounds += 1;
        assert!(rounds < ROUNDS, "{} are still there", hostile.len());
        hostile.retain_mut(|it| {
            it.socket.set_nonblocking(true).unwrap();
            it.say(b"x");
            !it.is_closed()
        });
    }
    row(&relay, "127.66.0.1", "421 4.4.2");
}

#[test]
fn a_session_that_brings_no_mail_ends_and_one_that_does_goes_on() {
    let relay = relay("[limits.timeouts]\nwithout_mail = \"4s\"\n");
    let mut honest = relay.client("b");
    let mut idler = Hostile::new(relay.client("a"));
    let mut rounds = 0;
    wait::until("the end of who brings nothing", || {
        let sent = honest.send(&vakt("b"), &[&vakt("c")], &letter(&vakt("b"), &vakt("c")));
        assert_eq!(sent.said(), "250 2.0.0", "{sent}");
        // Not so often that it would be cut for that.
        if rounds % 20 == 0 {
            idler.say(b"NOOP\r\nMAIL FROM:<vakt@a.nodnett.test>\r\nRSET\r\n");
        }
        rounds += 1;
        idler.is_closed()
    });
    row(&relay, "127.0.1.9", "421 4.7.0 No message for too long");
}

/// How a client is gone, and whether it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    HungUp,
    Reset,
}

fn is_gone(client: Client, how: Gone) {
    let (socket, wire) = client.into_wire();
    if how == Gone::Reset {
        let socket = socket2::SockRef::from(&socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop((socket, wire));
}

/// Whoever loses its line in the middle of a message says no goodbye, not even that of TLS.
#[test]
fn a_message_that_breaks_off_leaves_a_row_for_each_recipient_however_it_does() {
    let relay = relay("");
    let addressed = |source: &str, is_tls: bool| {
        let mut client = match is_tls {
            true => under_tls(&relay, source),
            false => Client::greeted(relay.port, source),
        };
        let refused = client.envelope(&vakt("a"), &[&vakt("b"), &vakt("c")], "");
        assert_eq!(refused, None);
        client
    };
    for how in [Gone::HungUp, Gone::Reset] {
        is_gone(Client::greeted(relay.port, "127.0.1.20"), how);
        let mut client = addressed("127.0.1.20", false);
        assert_eq!(client.say("RSET").code, 250);
        is_gone(client, how);
        let mut client = addressed("127.0.1.20", false);
        assert_eq!(client.say("QUIT").code, 221);
        is_gone(client, how);
        let mut client = Client::greeted(relay.port, "127.0.1.20");
        let mail = client.say(format!("MAIL FROM:<{}>", vakt("a")));
        assert_eq!(mail.code, 250, "nobody was to hear anything");
        is_gone(client, how);
    }
    let said: [&[&str]; 3] = [&[], &["DATA", "Subject: half"], &["BDAT 3\r\nx"]];
    let ways = [Gone::HungUp, Gone::Reset];
    let ways = ways.iter().flat_map(|&how| [(how, false), (how, true)]);
    let cases = ways.flat_map(|way| said.iter().map(move |said| (way, said)));
    let mut sources = Vec::new();
    for (n, ((how, is_tls), said)) in cases.enumerate() {
        let source = format!("127.0.1.{}", 30 + n);
        let mut client = addressed(&source, is_tls);
        if let [first, rest @ ..] = said {
            assert!(matches!(client.say(first).code, 250 | 354), "{first}");
            rest.iter().for_each(|it| client.put(it.as_bytes()));
        }
        is_gone(client, how);
        wait::until(&format!("rows: {how:?}, TLS {is_tls}, {said:?}"), || {
            rows(&relay, &source).len() >= 2
        });
        sources.push(source);
    }
    for source in sources {
        let rows = rows(&relay, &source);
        assert_eq!(rows.len(), 2, "{rows:?}");
        let is_told = |it: &String| it.contains("The client hung up before the end");
        assert!(rows.iter().all(is_told), "{rows:?}");
    }
    assert_eq!(rows(&relay, "127.0.1.20"), Vec::<String>::new());
}

/// The chunk that we cannot find the end of, as the last of too many errors.
#[test]
fn the_last_error_is_followed_by_the_last_word_whatever_it_was() {
    let relay = relay("");
    let mut client = Client::greeted(relay.port, "127.0.1.20");
    for _ in 0..49 {
        assert_eq!(client.say("NONSENSE").code, 500);
    }
    let refused = client.say("BDAT much");
    assert_eq!(refused.code, 501, "{refused}");
    let last = client.reply();
    assert_eq!(last.said(), "421 4.7.0", "{last}");
    relay.refusal(&last.reference());
    assert_eq!(client.reply().code, 0);
    row(&relay, "127.0.1.20", "421 4.7.0 Too many errors");
}

#[test]
fn a_workstation_gets_in_however_many_strangers_sit_there() {
    let relay =
        relay("[limits]\nconnections = 200\nconnections_kept = 20\nconnections_per_address = 40\n");
    let stranger = |n: usize| {
        let mut client =
            Client::silent(relay.port, &format!("127.88.{}.{}", n % 9, 1 + n / 9)).unwrap();
        let code = client.reply().code;
        (client, code)
    };
    let mut strangers: Vec<Client> = Vec::new();
    let turned_away = wait::find("a stranger that is turned away", || {
        let (client, code) = stranger(strangers.len());
        match code {
            220 => strangers.push(client),
            _ => return Some(code),
        }
        None
    });
    assert_eq!((turned_away, strangers.len()), (421, 180));
    let workstations: Vec<Client> = (0..30)
        .map(|n| {
            wait::find("a place for a workstation", || {
                let mut client =
                    Client::silent(relay.port, &format!("127.0.1.{}", 100 + n % 2)).unwrap();
                (client.reply().code == 220).then_some(client)
            })
        })
        .collect();
    honest_mail(&relay);
    // Those that were there longest made room, and were told so.
    let told = strangers[0].reply();
    assert_eq!(told.said(), "421 4.7.0", "{told}");
    assert!(told.text().contains("makes room"), "{told}");
    assert_eq!(relay.refusal(&told.reference())["client"], "127.88.0.1");
    let last = strangers.last_mut().unwrap();
    assert_eq!(last.say("NOOP").code, 250, "who came last is still there");
    drop(workstations);
}

/// It is refused once, and who insists is waited for no longer than anybody else.
#[test]
fn renegotiation_is_no_way_to_stay() {
    if !peer::all_here(&["openssl"]) {
        return;
    }
    let relay = relay(TIMEOUTS);
    let address = format!("127.0.0.1:{}", relay.port);
    let mut client = peer::command("openssl")
        .args([
            "s_client",
            "-starttls",
            "smtp",
            "-tls1_2",
            "-connect",
            &address,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut typed = client.stdin.take().unwrap();
    wait::until("the end of openssl", || {
        // A line that is R alone asks for new keys.
        let _ = typed.write_all(b"R\n");
        client.try_wait().unwrap().is_some()
    });
    row(&relay, "127.0.0.1", "421 4.4.2 Nothing was heard");
    honest_mail(&relay);
}

#[test]
fn a_crowd_that_guesses_keeps_nobody_from_logging_in() {
    const RIGHT: &str = "AUTH PLAIN AHdzAGEtbG9uZy1wYXNzd29yZA==";
    const WRONG: &str = "AUTH PLAIN AHdzAHdyb25nLXBhc3N3b3Jk";
    let relay = Setup::three_rooms()
        .room_with(
            "d",
            "maildir:mail/d",
            "[[room.workstation]]\nuser = \"ws\"\n",
        )
        .tls("starttls")
        .start();
    let set = relay.told(&["credential", "set", "ws"], "a-long-password\n");
    assert!(set.status.success(), "{set:?}");
    let log_in = |source: &str, line: &str| under_tls(&relay, source).say(line).code;
    assert_eq!(log_in("127.71.0.1", RIGHT), 235);
    let is_over = AtomicBool::new(false);
    let guesses = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 1..=60 {
            let (log_in, is_over, guesses) = (&log_in, &is_over, &guesses);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert_ne!(log_in(&format!("127.70.0.{n}"), WRONG), 235);
                    guesses.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let codes: Vec<u16> = (0..10).map(|_| log_in("127.71.0.1", RIGHT)).collect();
        honest_mail(&relay);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(codes, [235; 10]);
    });
    assert!(guesses.into_inner() >= 60);
}

/// A place is given before anybody can show a certificate: what counts is having been here before.
#[test]
fn a_workstation_without_a_network_finds_a_place_where_it_has_been_before() {
    const NAME: &str = "ws1.amk-oslo.nodnett.test";
    let line = format!("[[room.workstation]]\ncertificate = \"{NAME}\"\n");
    let mut relay = Setup::no_rooms()
        .room_with("a", "maildir:mail/a", &line)
        .room("b", "maildir:mail/b")
        .tls("starttls")
        .settings("[limits]\nconnections = 40\nconnections_kept = 10\n")
        .start();
    let source = "127.0.9.9";
    let certified = |relay: &Relay| {
        let mut client = Client::silent(relay.port, source).unwrap();
        if client.reply().code == 421 {
            return None;
        }
        client.say("EHLO ws.test");
        client.say("STARTTLS");
        client.shake_hands_as(&relay.path("certs"), &format!("ws-{NAME}"));
        client.say("EHLO ws.test");
        Some(client)
    };
    let send = |client: &mut Client| {
        let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    };
    let crowd = |relay: &Relay| {
        let mut strangers = Vec::new();
        wait::until("a stranger that is turned away", || {
            let source = format!("127.88.0.{}", 1 + strangers.len());
            let mut stranger = Client::silent(relay.port, &source).unwrap();
            let is_full = stranger.reply().code == 421;
            strangers.push(stranger);
            is_full
        });
        strangers
    };
    let strangers = crowd(&relay);
    assert!(certified(&relay).is_none(), "nobody knows it yet");
    drop(strangers);

    send(&mut wait::find("a place", || certified(&relay)));
    wait::until("the sighting", || {
        let listed = relay.rows(&["workstation", "list"]);
        listed.iter().any(|it| it["address"] == source)
    });
    let strangers = crowd(&relay);
    send(&mut certified(&relay).unwrap());
    drop(strangers);

    relay.stop();
    relay.start();
    let strangers = crowd(&relay);
    send(&mut certified(&relay).unwrap());
    drop(strangers);
}
