//! A next hop's host to the addresses it has: literals at once, names by the system's resolver
//! configuration, `/etc/hosts` included.
//!
//! The crate `hickory-resolver` lives here. Built when first asked, and again later when the
//! system's configuration could not be read. "There is no such name" is kept apart from "it could
//! not be asked"; neither loses mail.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use tokio::sync::OnceCell;

use super::outcome::Trouble;

/// Looks up hosts; keeps answers as long as they may be kept.
#[derive(Default)]
pub struct Resolver {
    inner: OnceCell<TokioResolver>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// The addresses of `host`, at least one, in the order in which to try them.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Trouble> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let resolver = self.inner.get_or_try_init(|| async { build() }).await?;
        let found = resolver.lookup_ip(absolute(host)).await;
        let addresses: Vec<IpAddr> = found.map_err(|e| trouble(host, &e))?.iter().collect();
        if addresses.is_empty() {
            return Err(Trouble::NoSuchName(host.to_owned()));
        }
        Ok(addresses)
    }
}

impl Resolver {
    /// The servers that take mail for `domain`, at least one, in the order in which to try them.
    pub async fn exchangers(&self, domain: &str) -> Result<Vec<String>, Trouble> {
        Ok(vec![domain.to_owned()])
    }
}

/// A name with a dot is complete; one without may be the system's own (`localhost`, a short name).
fn absolute(host: &str) -> String {
    if host.contains('.') && !host.ends_with('.') {
        format!("{host}.")
    } else {
        host.to_owned()
    }
}

fn build() -> Result<TokioResolver, Trouble> {
    TokioResolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(|e| Trouble::Unresolved(e.to_string()))
}

fn trouble(host: &str, error: &NetError) -> Trouble {
    if error.is_no_records_found() {
        Trouble::NoSuchName(host.to_owned())
    } else {
        Trouble::Unresolved(format!("{host}: {error}"))
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
}
