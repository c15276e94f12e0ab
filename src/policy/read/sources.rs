//! What a workstation or a gateway is known by, as it is written.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Draft;
use crate::credential;
use crate::document::{Table, Value};
use crate::mail::Domain;
use crate::policy::sources::Source;

impl Draft {
    pub(super) fn read_workstation(&mut self, mut entry: Table<'_>) -> Option<Source> {
        let found = self.read_sources(&mut entry);
        one_source(&entry, found)
    }

    pub(super) fn read_sources(&mut self, entry: &mut Table<'_>) -> Vec<Option<Source>> {
        let network = entry.take("network").map(|it| self.read_network(it));
        let certificate = entry.take("certificate");
        let certificate = certificate.map(|it| it.parse(certificate_name).map(Source::Certificate));
        let user = entry.take("user");
        let user = user.map(|it| it.parse(user_name).map(Source::User));
        [network, certificate, user].into_iter().flatten().collect()
    }

    fn read_network(&mut self, value: Value<'_>) -> Option<Source> {
        let line = value.line();
        let network = value.parse(network)?;
        if network.prefix_len() == 0 {
            self.warn(
                Some(line),
                format!("network {network} is every address there is"),
            );
        }
        if network != network.trunc() {
            let meant = network.trunc();
            self.warn(Some(line), format!("network {network} is taken as {meant}"));
        }
        Some(Source::Network(network.trunc()))
    }
}

pub(super) fn one_source(entry: &Table<'_>, found: Vec<Option<Source>>) -> Option<Source> {
    if found.len() != 1 {
        entry.fault("write exactly one of \"network\", \"certificate\" and \"user\" in each entry");
    }
    found.into_iter().next().flatten()
}

fn network(text: &str) -> Result<IpNet, String> {
    let whole = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(whole).ok_or_else(|| {
        format!("{text:?} is no network; write for example \"10.1.0.0/24\" or \"10.1.0.7\"")
    })
}

fn certificate_name(text: &str) -> Result<String, String> {
    let domain = Domain::parse(text).map_err(|_| format!("{text:?} is no DNS name"))?;
    Ok(domain.ascii().to_owned())
}

fn user_name(text: &str) -> Result<String, String> {
    credential::user_name(text).ok_or_else(|| format!("{text:?} is no user's name"))
}

/// What a key of a workstation says: `network`, `certificate` or `user`.
pub(in crate::policy) fn source(key: &str, text: &str) -> Result<Source, String> {
    match key {
        "network" => network(text).map(|it| Source::Network(it.trunc())),
        "certificate" => certificate_name(text).map(Source::Certificate),
        "user" => user_name(text).map(Source::User),
        _ => Err(format!("{key:?} is nothing that a workstation is known by")),
    }
}
