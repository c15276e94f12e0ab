//! Who a peer is: the lines of the routing table that its address, certificate or user matches.
//!
//! Fast for any number of networks: a walk down a tree of prefixes. It finds every line that matches, not
//! only the narrowest, since any of them may name the room that the peer sends as. Whoever has logged in is who it says, wherever it is: while the table has a line
//! for that user or name, no network and no other name of its certificate counts. The crate `prefix_trie`
//! lives here.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::mail::{Login, Peer};

use super::table::{Gateway, Room};

/// One line of a room's workstations or of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Network(IpNet),
    /// A DNS name in a verified client certificate, lower-case.
    Certificate(String),
    /// SMTP AUTH.
    User(String),
}

impl Source {
    /// The key of a workstation or gateway, and what it says.
    pub fn entry(&self) -> (&'static str, String) {
        match self {
            Self::Network(network) => ("network", network.to_string()),
            Self::Certificate(name) => ("certificate", name.clone()),
            Self::User(name) => ("user", name.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "network {network}"),
            Self::Certificate(name) => write!(f, "certificate {name:?}"),
            Self::User(name) => write!(f, "user {name:?}"),
        }
    }
}

/// Whom a line of the table names.
#[derive(Debug, Clone)]
pub enum Holder {
    Room(Arc<Room>),
    Gateway(Arc<Gateway>),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => write!(f, "room \"{}\"", room.id),
            Self::Gateway(gateway) => write!(f, "gateway {:?}", gateway.name),
        }
    }
}

impl Holder {
    /// By what it is told apart from others. Gateways of one name count as one.
    fn key(&self) -> (bool, &str) {
        match self {
            Self::Gateway(gateway) => (false, &gateway.name),
            Self::Room(room) => (true, room.id.as_str()),
        }
    }
}

/// A line, and whom it names.
#[derive(Debug, Clone)]
pub struct Line {
    pub source: Source,
    pub holder: Holder,
}

/// The line that a login is about. A password never stands for a certificate, nor the other way round.
fn proved(login: &Login) -> Source {
    match login {
        Login::User(name) => Source::User(name.clone()),
        Login::Certificate(name) => Source::Certificate(name.to_ascii_lowercase()),
    }
}

/// Every line of a table, by what it matches.
#[derive(Debug, Default)]
pub struct Sources {
    /// Those of one source stand together, as they were written.
    lines: Vec<Line>,
    /// Certificates and users.
    named: HashMap<Source, Place>,
    ipv4: PrefixMap<Ipv4Net, Place>,
    ipv6: PrefixMap<Ipv6Net, Place>,
}

/// Where the lines of one source stand. Small, so that a tree of many stays near the processor.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: u32,
    count: u32,
}

impl Sources {
    pub fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut lines: Vec<Line> = lines.into_iter().collect();
        lines.sort_by(|one, other| one.source.cmp(&other.source));
        let mut sources = Self::default();
        let mut first = 0_u32;
        for same in lines.chunk_by(|one, other| one.source == other.source) {
            let count = u32::try_from(same.len()).unwrap_or(u32::MAX);
            if let Some(line) = same.first() {
                sources.put(&line.source, Place { first, count });
            }
            first = first.saturating_add(count);
        }
        sources.lines = lines;
        sources
    }

    fn put(&mut self, source: &Source, place: Place) {
        match source {
            Source::Network(IpNet::V4(network)) => drop(self.ipv4.insert(*network, place)),
            Source::Network(IpNet::V6(network)) => drop(self.ipv6.insert(*network, place)),
            _ => drop(self.named.insert(source.clone(), place)),
        }
    }

    fn at(&self, place: Place) -> &[Line] {
        let first = place.first as usize;
        let end = first.saturating_add(place.count as usize);
        self.lines.get(first..end).unwrap_or_default()
    }

    /// Every line that this peer matches: as whom it has logged in, or else by certificate, then
    /// networks from the narrowest.
    pub fn matching<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a Line> {
        let login = peer.user.as_ref().map(proved);
        let login = login.map_or(&[][..], |source| self.named(&source));
        let others = login.is_empty().then(|| {
            peer.certificate_names()
                .iter()
                .map(|name| Source::Certificate(name.to_ascii_lowercase()))
                .flat_map(|source| self.named(&source))
                .chain(self.around(peer.address.ip(), 128))
        });
        login.iter().chain(others.into_iter().flatten())
    }

    /// Every line whose network holds `address` and is at most `longest` bits long, from the narrowest.
    pub fn around(&self, address: IpAddr, longest: u8) -> impl Iterator<Item = &Line> {
        let places = self.networks_around(address, longest).into_iter();
        places.flat_map(|place| self.at(place))
    }

    /// Where the lines of each such network stand.
    fn networks_around(&self, address: IpAddr, longest: u8) -> Vec<Place> {
        let mut found: Vec<Place> = match address.to_canonical() {
            IpAddr::V4(address) => {
                let whole = Ipv4Net::new(address, longest.min(32)).unwrap_or_default();
                self.ipv4.cover_values(&whole).copied().collect()
            }
            IpAddr::V6(address) => {
                let whole = Ipv6Net::new(address, longest.min(128)).unwrap_or_default();
                self.ipv6.cover_values(&whole).copied().collect()
            }
        };
        found.reverse();
        found
    }

    /// Two holders that one peer could be, each pair once: the one of `lines` that shows it, and that which
    /// it is also. Of many that say the same, each is paired with the first of them.
    pub fn overlaps<'a, T: Copy>(&'a self, lines: &'a [(T, Line)]) -> Vec<(T, &'a Line, &'a Line)> {
        let mut told = HashSet::new();
        let mut found = Vec::new();
        for (at, line) in lines {
            let own = line.holder.key();
            for place in self.overlapping(&line.source) {
                let mut same = self.at(place).iter();
                let Some(other) = same.find(|it| it.holder.key() != own) else {
                    continue;
                };
                let key = other.holder.key();
                if told.insert((own.min(key), own.max(key))) {
                    found.push((*at, line, other));
                }
            }
        }
        found
    }

    /// Where the lines are that match whoever `source` matches: of the same one, and of each wider network.
    fn overlapping(&self, source: &Source) -> Vec<Place> {
        match source {
            Source::Network(network) => self.networks_around(network.addr(), network.prefix_len()),
            Source::Certificate(_) | Source::User(_) => {
                self.named.get(source).copied().into_iter().collect()
            }
        }
    }

    fn named(&self, source: &Source) -> &[Line] {
        let place = self.named.get(source);
        place.map_or(&[], |place| self.at(*place))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::mail::Priority;

    fn line(source: Source, gateway: usize) -> Line {
        Line {
            holder: Holder::Gateway(Arc::new(Gateway {
                name: gateway.to_string(),
                source: source.clone(),
                priority_ceiling: Priority::HIGH,
            })),
            source,
        }
    }

    fn network(text: &str) -> Source {
        Source::Network(text.parse::<IpNet>().unwrap().trunc())
    }

    /// Numbers that look like chance.
    fn chance() -> impl FnMut(u32) -> u32 {
        let mut state = 1_u64;
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(state >> 33).unwrap() % below
        }
    }

    /// As one would do it with all the time in the world.
    fn searched(lines: &[Line], address: IpAddr, longest: u8) -> Vec<&Line> {
        let holds = |line: &&Line| match line.source {
            Source::Network(it) => it.contains(&address) && it.prefix_len() <= longest,
            _ => false,
        };
        let mut found: Vec<&Line> = lines.iter().filter(holds).collect();
        found.sort_by_key(|line| match line.source {
            Source::Network(it) => std::cmp::Reverse(it.prefix_len()),
            _ => std::cmp::Reverse(0),
        });
        found
    }

    #[test]
    fn every_network_around_an_address_is_found_from_the_narrowest() {
        let mut next = chance();
        let lines: Vec<Line> = (0..600)
            .map(|n| {
                let (a, b, c) = (next(3), next(4), next(256));
                let text = match next(3) {
                    0 => format!("2001:db8:{a}:{b}::{c}/{}", next(129)),
                    _ => format!("10.{a}.{b}.{c}/{}", next(33)),
                };
                line(network(&text), n)
            })
            .collect();
        let sources = Sources::new(lines.iter().cloned());
        let told = |lines: Vec<&Line>| -> Vec<String> {
            lines
                .iter()
                .map(|it| format!("{} {}", it.source, it.holder))
                .collect()
        };
        for _ in 0..400 {
            let (a, b, c) = (next(4), next(5), next(256));
            let address: IpAddr = match next(2) {
                0 => format!("2001:db8:{a}:{b}::{c}").parse().unwrap(),
                _ => format!("10.{a}.{b}.{c}").parse().unwrap(),
            };
            let longest = u8::try_from(next(129)).unwrap();
            for longest in [longest, 128] {
                let found = sources.around(address, longest).collect();
                assert_eq!(
                    told(found),
                    told(searched(&lines, address, longest)),
                    "{address}"
                );
            }
        }
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let plain = "10.0.0.1".parse().unwrap();
        let found: Vec<&Line> = sources.around(mapped, 128).collect();
        assert_eq!(told(found), told(searched(&lines, plain, 128)));
    }

    #[test]
    fn many_that_say_the_same_are_paired_with_the_first() {
        let say = |count: usize, source: &str| -> Vec<(usize, Line)> {
            (0..count).map(|n| (n, line(network(source), n))).collect()
        };
        let pairs = |lines: &[(usize, Line)]| -> Vec<String> {
            let sources = Sources::new(lines.iter().map(|(_, line)| line.clone()));
            let found = sources.overlaps(lines).into_iter();
            found
                .map(|(at, line, other)| format!("{at}: {} {}", line.holder, other.holder))
                .collect()
        };
        assert_eq!(
            pairs(&say(4, "10.0.0.0/24")),
            [
                "0: gateway \"0\" gateway \"1\"",
                "2: gateway \"2\" gateway \"0\"",
                "3: gateway \"3\" gateway \"0\""
            ]
        );
        let mut wide = say(1, "10.0.0.0/8");
        assert_eq!(pairs(&wide), [""; 0]);
        // Once for each pair, and not for two lines of one holder.
        wide.push((7, line(network("10.1.0.0/16"), 1)));
        wide.push((8, line(network("10.1.2.0/24"), 1)));
        wide.push((9, line(network("10.9.0.0/16"), 0)));
        assert_eq!(pairs(&wide), ["7: gateway \"1\" gateway \"0\""]);
        assert_eq!(pairs(&say(2_000, "10.0.0.0/24")).len(), 1_999);
    }
}
