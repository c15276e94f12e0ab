//! How long a routing table takes to answer, in nanoseconds: whether a workstation may send (MAIL), and
//! what becomes of a recipient (RCPT). `cargo bench --bench lookup -- FILE`; `benches/routing` makes such a file.
//!
//! Each workstation of the table asks once, in no order, as itself and with a recipient in another room. A
//! line for each kind of question: median and 99th percentile, the clock's own time included.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use ilbud::mail::{Address, Certificate, Login, Origin, Peer, Protocol, Timestamp};
use ilbud::policy::decide;
use ilbud::policy::table::{Room, RoutingTable, Source};

/// Nobody's network.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
/// Prime, so that every place is met once.
const STRIDE: usize = 7_368_787;

fn main() {
    let file = std::env::args().skip(1).find(|it| !it.starts_with("--"));
    let file = file.unwrap_or_else(|| panic!("name the file of a routing table"));
    let text = std::fs::read_to_string(&file).unwrap();
    let (table, _) = RoutingTable::parse(&text, 1).unwrap_or_else(|faults| panic!("{faults:?}"));
    let rooms: Vec<&Room> = table.rooms().collect();
    let stations = rooms.iter().enumerate();
    let stations = stations.flat_map(|(at, room)| room.workstations.iter().map(move |it| (at, it)));
    let stations: Vec<(usize, &Source)> = stations.collect();
    for kind in ["network", "certificate", "user"] {
        let asked: Vec<Question> = (0..stations.len())
            .map(|n| stations[n * STRIDE % stations.len()])
            .filter(|(_, source)| word(source) == kind)
            .map(|(at, source)| {
                Question::new(source, rooms[at], rooms[(at + STRIDE) % rooms.len()])
            })
            .collect();
        let of_all = |ask: &dyn Fn(&Question)| {
            asked.iter().for_each(ask);
            asked.iter().map(|it| timed(|| ask(it))).collect()
        };
        report(
            &format!("MAIL, known by {kind}"),
            of_all(&|it| it.mail(&table)),
        );
        report("RCPT, a mailbox", of_all(&|it| it.rcpt(&table)));
        report("both", of_all(&|it| (it.mail(&table), it.rcpt(&table)).1));
    }
    let origin = Origin::Room(rooms[0].id.clone());
    let groups = table.groups().into_iter();
    let groups: Vec<String> = groups.map(|it| it.address.to_string()).collect();
    let now = Timestamp::from_millis(0);
    let ask = |group: &String| {
        black_box(decide::decide(&origin, None, group, &table, now));
    };
    groups.iter().for_each(ask);
    report(
        "RCPT, a group",
        groups.iter().map(|it| timed(|| ask(it))).collect(),
    );
}

/// What one workstation asks.
struct Question {
    peer: Peer,
    sender: Address,
    origin: Origin,
    recipient: String,
}

impl Question {
    fn new(source: &Source, room: &Room, other: &Room) -> Self {
        let peer = Peer {
            address: SocketAddr::new(ELSEWHERE, 40_000),
            helo: "ws".to_owned(),
            protocol: Protocol::Esmtp,
            tls: None,
            certificate: None,
            user: None,
        };
        let peer = match source {
            Source::Network(network) => Peer {
                address: SocketAddr::new(network.hosts().next().unwrap(), 40_000),
                ..peer
            },
            Source::Certificate(name) => Peer {
                certificate: Some(Certificate::new([name.clone()], None, None)),
                ..peer
            },
            Source::User(name) => Peer {
                user: Some(Login::User(name.clone())),
                ..peer
            },
        };
        Self {
            peer,
            sender: Address::parse(&mailbox(room)).unwrap(),
            origin: Origin::Room(room.id.clone()),
            recipient: mailbox(other),
        }
    }

    fn mail(&self, table: &RoutingTable) {
        let admitted = decide::sender(&self.peer, Some(&self.sender), false, table);
        assert!(black_box(admitted).is_ok());
    }

    fn rcpt(&self, table: &RoutingTable) {
        let now = Timestamp::from_millis(0);
        let sender = Some(&self.sender);
        black_box(decide::decide(
            &self.origin,
            sender,
            &self.recipient,
            table,
            now,
        ));
    }
}

fn mailbox(room: &Room) -> String {
    let listed = room.recipients.as_ref().and_then(|it| it.listed().first());
    let local = listed.map_or("vakt", |it| it.local());
    format!("{local}@{}", room.domains[0])
}

const fn word(source: &Source) -> &'static str {
    match source {
        Source::Network(_) => "network",
        Source::Certificate(_) => "certificate",
        Source::User(_) => "user",
    }
}

fn timed(ask: impl FnOnce()) -> u128 {
    let start = Instant::now();
    ask();
    start.elapsed().as_nanos()
}

fn report(what: &str, mut times: Vec<u128>) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100);
    if let (Some(median), Some(p99)) = (at(50), at(99)) {
        println!(
            "{what}: median {median} ns, p99 {p99} ns, of {}",
            times.len()
        );
    }
}
