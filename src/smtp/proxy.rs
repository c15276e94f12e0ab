//! The PROXY header, version 2, with which a load balancer says on whose behalf it connects.
//!
//! Pure, and strict: the fixed beginning, then as many octets as it announces, which are bounded. It
//! decides what of it is believed: TCP over IPv4 and IPv6, and a balancer's own connections (LOCAL).
//! Version 1, Unix sockets, datagrams and the unspecified are faults. What follows the addresses (TLVs)
//! is skipped. Never decides who may send one: that is the listener's affair. Fails with a [`Fault`],
//! after which nothing of the connection is understood.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
pub const BEGINNING: usize = 16;
/// Far more than the addresses and what balancers add to them.
const LONGEST: usize = 2048;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP_IPV4: u8 = 0x11;
const TCP_IPV6: u8 = 0x21;

/// On whose behalf a balancer connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Client(SocketAddr),
    /// Its own: it looks whether we live.
    Balancer,
}

/// Why octets are no header that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    NoHeader,
    Command,
    Family,
    TooLong,
    /// It announces fewer octets than its addresses have.
    TooShort,
    /// No client can have this address.
    Nobody,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "no PROXY header of version 2",
            Self::Command => "a PROXY header with an unknown version or command",
            Self::Family => "a PROXY header of something else than TCP over IPv4 or IPv6",
            Self::TooLong => "a PROXY header that is too long",
            Self::TooShort => "a PROXY header without its addresses",
            Self::Nobody => "a PROXY header with a source that nobody can have",
        })
    }
}

impl std::error::Error for Fault {}

/// The fixed beginning, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    command: u8,
    family: u8,
    rest: usize,
}

impl Beginning {
    pub fn parse(octets: &[u8; BEGINNING]) -> Result<Self, Fault> {
        let &[ref signature @ .., command, family, high, low] = octets;
        if *signature != SIGNATURE {
            return Err(Fault::NoHeader);
        }
        let rest = usize::from(u16::from_be_bytes([high, low]));
        match (command, family) {
            (LOCAL, _) | (PROXY, TCP_IPV4 | TCP_IPV6) if rest > LONGEST => Err(Fault::TooLong),
            (LOCAL, _) | (PROXY, TCP_IPV4 | TCP_IPV6) => Ok(Self {
                command,
                family,
                rest,
            }),
            (PROXY, _) => Err(Fault::Family),
            _ => Err(Fault::Command),
        }
    }

    /// How many octets follow that belong to the header.
    pub const fn rest(&self) -> usize {
        self.rest
    }

    /// What the whole header says, given the octets that follow.
    pub fn source(&self, rest: &[u8]) -> Result<Source, Fault> {
        if self.command == LOCAL {
            return Ok(Source::Balancer);
        }
        let (address, port) = match self.family {
            TCP_IPV4 => {
                let [a, b, c, d, _, _, _, _, port @ .., _, _] = first::<12>(rest)?;
                (IpAddr::from(Ipv4Addr::new(a, b, c, d)), port)
            }
            _ => {
                let from = first::<16>(rest)?;
                let [.., high, low, _, _] = first::<36>(rest)?;
                (Ipv6Addr::from(from).to_canonical(), [high, low])
            }
        };
        if address.is_unspecified() || address.is_multicast() {
            return Err(Fault::Nobody);
        }
        let port = u16::from_be_bytes(port);
        Ok(Source::Client(SocketAddr::new(address, port)))
    }
}

fn first<const N: usize>(octets: &[u8]) -> Result<[u8; N], Fault> {
    octets.first_chunk().copied().ok_or(Fault::TooShort)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(octets: &[u8]) -> Result<Source, Fault> {
        let (beginning, rest) = octets.split_first_chunk().unwrap();
        Beginning::parse(beginning)?.source(rest)
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const IPV4: &[u8] = &[10, 1, 0, 9, 10, 9, 9, 9, 0xc3, 0x50, 0, 25];

    fn ipv6(from: &str) -> Vec<u8> {
        let from: Ipv6Addr = from.parse().unwrap();
        [&from.octets()[..], &[0; 16], &[0x04, 0x01, 0, 25]].concat()
    }

    #[test]
    fn says_on_whose_behalf() {
        let client = |text: &str| Ok(Source::Client(text.parse().unwrap()));
        let with_tlvs = [IPV4, &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        #[rustfmt::skip]
        let cases = [
            (header(PROXY, TCP_IPV4, IPV4),                         client("10.1.0.9:50000")),
            (header(PROXY, TCP_IPV4, &with_tlvs),                   client("10.1.0.9:50000")),
            (header(PROXY, TCP_IPV6, &ipv6("2001:db8::9")),         client("[2001:db8::9]:1025")),
            (header(PROXY, TCP_IPV6, &ipv6("::ffff:10.1.0.9")),     client("10.1.0.9:1025")),
            (header(LOCAL, 0x00, &[]),                              Ok(Source::Balancer)),
            (header(LOCAL, TCP_IPV4, IPV4),                         Ok(Source::Balancer)),
            (header(PROXY, TCP_IPV4, IPV4.split_last().unwrap().1), Err(Fault::TooShort)),
            (header(PROXY, TCP_IPV6, IPV4),                         Err(Fault::TooShort)),
            (header(PROXY, TCP_IPV4, &[0; 12]),                     Err(Fault::Nobody)),
            (header(PROXY, TCP_IPV6, &ipv6("::")),                  Err(Fault::Nobody)),
            (header(PROXY, TCP_IPV6, &ipv6("ff02::1")),             Err(Fault::Nobody)),
            (header(PROXY, TCP_IPV6, &ipv6("::ffff:0.0.0.0")),      Err(Fault::Nobody)),
            (header(PROXY, 0x00, &[]),                              Err(Fault::Family)),
            (header(PROXY, 0x12, IPV4),                             Err(Fault::Family)),
            (header(PROXY, 0x31, &[1; 216]),                        Err(Fault::Family)),
            (header(0x22, TCP_IPV4, IPV4),                          Err(Fault::Command)),
            (header(0x11, TCP_IPV4, IPV4),                          Err(Fault::Command)),
            (header(0x00, TCP_IPV4, IPV4),                          Err(Fault::Command)),
            (header(PROXY, TCP_IPV4, &[1; LONGEST + 1]),            Err(Fault::TooLong)),
            (header(LOCAL, 0, &[0; LONGEST + 1]),                   Err(Fault::TooLong)),
            (b"PROXY TCP4 10.1.0.9 10.9.9.9 50000 25\r\n".to_vec(), Err(Fault::NoHeader)),
            (b"EHLO workstation.test\r\n".to_vec(),                 Err(Fault::NoHeader)),
            (vec![0; 16],                                           Err(Fault::NoHeader)),
        ];
        for (octets, expected) in cases {
            assert_eq!(read(&octets), expected, "{octets:?}");
        }
    }
}
