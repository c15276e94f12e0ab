//! Names to the servers and addresses behind them: literals at once, names by the name servers of the
//! settings or the system's, the hosts file before them.
//!
//! The crate `hickory-resolver` lives here. Decides in which order the servers of a domain are tried.
//! "There is no such name" is kept apart from "it could not be asked"; neither loses mail. Answers are
//! kept as long as they say, a "no" for half a minute at most, so that a name put right is noticed;
//! the system's files are read again when they change.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::outcome::Trouble;
use crate::stamp::{self, Stamp};

/// `[resolver]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask; nobody named: the system's.
    pub name_servers: Vec<SocketAddr>,
    /// How long one question may take.
    pub timeout: Duration,
    /// How often a question is asked before it is given up.
    pub attempts: usize,
    /// Whether the system's hosts file goes before the name servers.
    pub hosts_file: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            hosts_file: true,
        }
    }
}

/// How long a "no" may be kept at most.
const NO_IS_KEPT: Duration = Duration::from_secs(30);
/// Servers of one domain, or addresses of one host, that are tried at most; RFC 5321 §5.1 wants two.
const CHOICES: usize = 20;
const SYSTEM_SERVERS: &str = "/etc/resolv.conf";
const SYSTEM_HOSTS: &str = "/etc/hosts";

/// Looks up names; keeps answers as long as they may be kept.
#[derive(Default)]
pub struct Resolver {
    settings: Settings,
    asking: Mutex<Option<Asking>>,
}

/// What asks, and the system's files as they were when it was made.
struct Asking {
    resolver: TokioResolver,
    stamps: Vec<Stamp>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// The addresses of `host`, at least one, in the order in which to try them.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Trouble> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let (resolver, name) = (self.resolver()?, absolute(host));
        let (six, four) = tokio::join!(
            resolver.lookup(name.as_str(), RecordType::AAAA),
            resolver.lookup(name.as_str(), RecordType::A),
        );
        either(host, addresses_in(six), addresses_in(four))
    }

    /// The servers that take mail for `domain`, at least one, in the order in which to try them
    /// (RFC 5321 §5.1). `own`: what this relay is called, which leaves out itself and all that is
    /// preferred no more.
    pub async fn exchangers(&self, domain: &str, own: &str) -> Result<Vec<String>, Trouble> {
        let resolver = self.resolver()?;
        match resolver.mx_lookup(complete(domain)).await {
            // Anew each time: servers that are preferred alike share the load.
            Ok(answer) => {
                let exchangers = before(exchangers_in(&answer), own);
                let exchangers = exchangers.ok_or_else(|| itself(domain))?;
                chosen(domain, exchangers, &RandomState::new())
            }
            Err(error) if error.is_nx_domain() => Err(trouble(domain, &error)),
            // A domain without MX records is its own server.
            Err(error) if error.is_no_records_found() => {
                let alone = before(vec![(0, domain.to_owned())], own);
                alone
                    .map(|_| vec![domain.to_owned()])
                    .ok_or_else(|| itself(domain))
            }
            Err(error) => Err(trouble(domain, &error)),
        }
    }

    /// Made when first asked, and again when the system's files have changed.
    fn resolver(&self) -> Result<TokioResolver, Trouble> {
        let stamps = stamp::of_all([SYSTEM_SERVERS, SYSTEM_HOSTS].map(Path::new));
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        match asking.as_ref() {
            Some(it) if it.stamps == stamps => Ok(it.resolver.clone()),
            _ => {
                let resolver = self.settings.build()?;
                *asking = Some(Asking {
                    resolver: resolver.clone(),
                    stamps,
                });
                Ok(resolver)
            }
        }
    }
}

impl Settings {
    fn build(&self) -> Result<TokioResolver, Trouble> {
        let mut builder = if self.name_servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(
                    "{SYSTEM_SERVERS}: {error}; only literals and hosts files are understood"
                );
                asking(Vec::new())
            })
        } else {
            asking(self.name_servers.iter().map(name_server).collect())
        };
        self.set_options(builder.options_mut());
        builder
            .build()
            .map_err(|error| Trouble::Unresolved(error.to_string()))
    }

    fn set_options(&self, options: &mut ResolverOpts) {
        options.timeout = self.timeout;
        // It counts from the second one.
        options.attempts = self.attempts.saturating_sub(1);
        options.negative_max_ttl = Some(NO_IS_KEPT);
        options.use_hosts_file = if self.hosts_file {
            ResolveHosts::Always
        } else {
            ResolveHosts::Never
        };
    }
}

fn asking(servers: Vec<NameServerConfig>) -> ResolverBuilder<TokioRuntimeProvider> {
    let config = ResolverConfig::from_name_servers(servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut it| {
        it.port = address.port();
        it
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// A name with a dot is complete; one without may be the system's own (`localhost`, a short name).
fn absolute(host: &str) -> String {
    if host.contains('.') {
        complete(host)
    } else {
        host.to_owned()
    }
}

/// Looked up as it is, and under no domain of the system's.
fn complete(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

type Addresses = Result<Vec<IpAddr>, NetError>;

fn addresses_in(answer: Result<Lookup, NetError>) -> Addresses {
    let addresses = |it: Lookup| {
        it.answers()
            .iter()
            .filter_map(|it| it.data.ip_addr())
            .collect()
    };
    answer.map(addresses)
}

/// Both kinds of addresses. That there is no such name must have been said of both.
fn either(host: &str, six: Addresses, four: Addresses) -> Result<Vec<IpAddr>, Trouble> {
    let mut found = Vec::new();
    let mut error = None;
    for answer in [six, four] {
        match answer {
            // Neither kind crowds out the other.
            Ok(addresses) => found.extend(addresses.into_iter().take(CHOICES / 2)),
            Err(no) if no.is_no_records_found() => error = error.or(Some(no)),
            Err(unknown) => error = Some(unknown),
        }
    }
    match error {
        _ if !found.is_empty() => Ok(found),
        Some(error) => Err(trouble(host, &error)),
        None => Err(Trouble::NoSuchName(host.to_owned())),
    }
}

/// Preference and server.
type Exchanger = (u16, String);

fn exchangers_in(answer: &Lookup) -> Vec<Exchanger> {
    let exchangers = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
            _ => None,
        });
    let bare =
        exchangers.map(|(preference, host)| (preference, host.trim_end_matches('.').to_owned()));
    bare.collect()
}

/// RFC 5321 §5.1: those that are preferred to this relay itself, where it is among them. `None`:
/// there is nobody but it.
fn before(mut exchangers: Vec<Exchanger>, own: &str) -> Option<Vec<Exchanger>> {
    let is_own = |host: &str| host.eq_ignore_ascii_case(own.trim_end_matches('.'));
    let own = exchangers.iter().filter(|(_, host)| is_own(host));
    let Some(limit) = own.map(|(preference, _)| *preference).min() else {
        return Some(exchangers);
    };
    exchangers.retain(|(preference, _)| *preference < limit);
    Some(exchangers).filter(|it| !it.is_empty())
}

fn itself(domain: &str) -> Trouble {
    let words = "names this relay as its mail server, so that mail would come back";
    Trouble::Ours(format!(
        "{domain} {words}: name another next hop, or put its MX records right"
    ))
}

/// In order of preference; those that are preferred alike in the order of the noise.
fn chosen(
    domain: &str,
    mut exchangers: Vec<Exchanger>,
    noise: &impl BuildHasher,
) -> Result<Vec<String>, Trouble> {
    let is_empty = exchangers.is_empty();
    // RFC 7505 §3: the root, which is no server; beside real ones it says nothing.
    exchangers.retain(|(_, host)| !host.is_empty());
    if exchangers.is_empty() && !is_empty {
        return Err(Trouble::TakesNoMail(domain.to_owned()));
    }
    if is_empty {
        return Ok(vec![domain.to_owned()]);
    }
    exchangers.sort_by_cached_key(|(preference, host)| (*preference, noise.hash_one(host)));
    exchangers.truncate(CHOICES);
    Ok(exchangers.into_iter().map(|(_, host)| host).collect())
}

fn trouble(name: &str, error: &NetError) -> Trouble {
    match error {
        _ if error.is_no_records_found() => Trouble::NoSuchName(name.to_owned()),
        NetError::NoConnections => {
            let words = "no name server is known or can be spoken to";
            Trouble::Unresolved(format!("{name}: {words}"))
        }
        NetError::Timeout => Trouble::Unresolved(format!("{name}: the name servers do not answer")),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Trouble::Unresolved(format!("{name}: the name server says {code}"))
        }
        other => Trouble::Unresolved(format!("{name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn literals_and_the_hosts_file_need_no_name_server() {
        let resolver = Resolver::default();
        for (host, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[127.0.0.1]", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
        ] {
            let expected: IpAddr = expected.parse().unwrap();
            assert_eq!(resolver.addresses(host).await, Ok(vec![expected]), "{host}");
        }
        let found = resolver.addresses("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    /// As on a machine without settings for name servers.
    #[tokio::test]
    async fn names_of_this_machine_need_no_name_server_at_all() {
        let resolver = asking(Vec::new()).build().unwrap();
        let found = resolver.lookup("localhost", RecordType::A).await.unwrap();
        assert_eq!(addresses_in(Ok(found)).unwrap().len(), 1);
        let unknown = resolver.lookup("a.test.", RecordType::A).await.unwrap_err();
        let words = "a.test: no name server is known or can be spoken to";
        assert_eq!(
            trouble("a.test", &unknown),
            Trouble::Unresolved(words.into())
        );
    }

    fn exchanger((preference, host): &(u16, &str)) -> Exchanger {
        (*preference, (*host).to_owned())
    }

    #[test]
    fn servers_are_tried_in_the_order_that_the_domain_prefers() {
        let noise = RandomState::new();
        #[rustfmt::skip]
        let cases = [
            (&[(20, "b.test"), (10, "a.test")][..],          &["a.test", "b.test"][..]),
            (&[(0, "a.test"), (0, "")],                      &["a.test"]),
            (&[(65535, "b.test"), (0, "c.test")],            &["c.test", "b.test"]),
            (&[],                                            &["x.test"]), // RFC 5321 §5.1: itself
        ];
        for (records, order) in cases {
            let records: Vec<_> = records.iter().map(exchanger).collect();
            let order = order.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(chosen("x.test", records, &noise), Ok(order));
        }
        let null = vec![(0, String::new())];
        let taken = Err(Trouble::TakesNoMail("x.test".into()));
        assert_eq!(chosen("x.test", null, &noise), taken);
    }

    #[test]
    fn mail_does_not_come_back_to_the_relay() {
        #[rustfmt::skip]
        let cases = [
            (&[(10, "a.test"), (20, "b.test")][..],                      Some(&["a.test", "b.test"][..])),
            (&[(10, "a.test"), (20, "Own.test"), (30, "b.test")],        Some(&["a.test"])),
            (&[(10, "a.test"), (20, "b.test"), (20, "own.test")],        Some(&["a.test"])),
            (&[(10, "own.test"), (20, "b.test")],                        None),
            (&[(10, "own.test"), (10, "b.test")],                        None),
            (&[],                                                        Some(&[])),
        ];
        for (records, expected) in cases {
            let left = before(records.iter().map(exchanger).collect(), "own.test.");
            let left = left.map(|it| it.into_iter().map(|(_, host)| host).collect::<Vec<_>>());
            let expected = expected.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
            assert_eq!(left, expected, "{records:?}");
        }
    }

    #[test]
    fn neither_kind_of_addresses_crowds_out_the_other() {
        let six = (0..40u16)
            .map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]))
            .collect();
        let four: Vec<_> = (0..40u8).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let found = either("a.test", Ok(six), Ok(four)).unwrap();
        let of_four = found.iter().filter(|it| it.is_ipv4()).count();
        assert_eq!((found.len(), of_four), (CHOICES, CHOICES / 2));
    }

    #[test]
    fn those_preferred_alike_share_the_load_and_the_rest_keep_their_place() {
        let records = [(5, "first"), (10, "a"), (10, "b"), (10, "c"), (20, "last")];
        let mut seconds = std::collections::HashSet::new();
        for _ in 0..200 {
            let records = records.iter().map(exchanger).collect();
            let order = chosen("x.test", records, &RandomState::new()).unwrap();
            assert_eq!(order.first().unwrap(), "first");
            assert_eq!(order.last().unwrap(), "last");
            seconds.extend(order.into_iter().nth(1));
        }
        assert_eq!(seconds.len(), 3);
    }

    #[test]
    fn a_domain_with_a_thousand_servers_is_tried_at_a_few() {
        let many = (0..1000).map(|n| (n, format!("mx{n}.test"))).collect();
        let order = chosen("x.test", many, &RandomState::new()).unwrap();
        assert_eq!(order.len(), CHOICES);
    }

    #[test]
    fn no_such_name_must_be_said_of_both_kinds() {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let no = || {
            let query = hickory_resolver::proto::op::Query::default();
            let none = hickory_resolver::net::NoRecords::new(
                query,
                hickory_resolver::proto::op::ResponseCode::NXDomain,
            );
            Err(NetError::from(none))
        };
        let cases = [
            (Ok(vec![address]), no(), Ok(vec![address])),
            (Err(NetError::Timeout), Ok(vec![address]), Ok(vec![address])),
            (no(), no(), Err(Trouble::NoSuchName("a.test".into()))),
            (
                Ok(Vec::new()),
                Ok(Vec::new()),
                Err(Trouble::NoSuchName("a.test".into())),
            ),
            (
                no(),
                Err(NetError::Timeout),
                Err(Trouble::Unresolved(
                    "a.test: the name servers do not answer".into(),
                )),
            ),
            (
                Err(NetError::Timeout),
                no(),
                Err(Trouble::Unresolved(
                    "a.test: the name servers do not answer".into(),
                )),
            ),
        ];
        for (six, four, expected) in cases {
            assert_eq!(either("a.test", six, four), expected);
        }
    }
}
