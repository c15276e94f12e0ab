//! Who a peer is: the lines of the routing table that its address, certificate or user matches.
//!
//! Fast for any number of networks: a hash look-up for each prefix length that the table has. It
//! finds every line that matches, not only the narrowest, since any of them may name the room that
//! the peer sends as. Whoever has logged in is who it says, wherever it is: while the table has a line
//! for that user or name, no network and no other name of its certificate counts.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

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
    lines: HashMap<Source, Vec<Line>>,
    /// Prefix lengths that occur, longest first.
    ipv4: Vec<u8>,
    ipv6: Vec<u8>,
}

impl Sources {
    pub fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut sources = Self::default();
        let (mut ipv4, mut ipv6) = (BTreeSet::new(), BTreeSet::new());
        for line in lines {
            match line.source {
                Source::Network(IpNet::V4(network)) => drop(ipv4.insert(network.prefix_len())),
                Source::Network(IpNet::V6(network)) => drop(ipv6.insert(network.prefix_len())),
                Source::Certificate(_) | Source::User(_) => {}
            }
            let same = sources.lines.entry(line.source.clone()).or_default();
            same.push(line);
        }
        sources.ipv4 = ipv4.into_iter().rev().collect();
        sources.ipv6 = ipv6.into_iter().rev().collect();
        sources
    }

    /// Every line that this peer matches: as whom it has logged in, or else by certificate, then
    /// networks from the narrowest.
    pub fn matching<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a Line> {
        let login = peer.user.as_ref().map(proved);
        let login = login.map_or(&[][..], |source| self.lines_of(&source));
        let others = login.is_empty().then(|| {
            peer.certificate_names()
                .iter()
                .map(|name| Source::Certificate(name.to_ascii_lowercase()))
                .flat_map(|source| self.lines_of(&source))
                .chain(self.around(peer.address.ip(), 128))
        });
        login.iter().chain(others.into_iter().flatten())
    }

    /// Every line whose network holds `address` and is at most `longest` bits long.
    pub fn around(&self, address: IpAddr, longest: u8) -> impl Iterator<Item = &Line> {
        let address = address.to_canonical();
        let lengths = if address.is_ipv4() {
            &self.ipv4
        } else {
            &self.ipv6
        };
        lengths
            .iter()
            .filter(move |length| **length <= longest)
            .filter_map(move |length| IpNet::new(address, *length).ok())
            .flat_map(|network| self.lines_of(&Source::Network(network.trunc())))
    }

    /// Every line that matches whoever `source` matches: the same one, or a wider network.
    pub fn overlapping(&self, source: &Source) -> Vec<&Line> {
        match source {
            Source::Network(network) => self.around(network.addr(), network.prefix_len()).collect(),
            Source::Certificate(_) | Source::User(_) => self.lines_of(source).iter().collect(),
        }
    }

    fn lines_of(&self, source: &Source) -> &[Line] {
        self.lines.get(source).map_or(&[], Vec::as_slice)
    }
}
