//! Workstations as people see them: which were met, how they speak, and what keeps them from strict
//! ground; and which lines of the routing table nobody has come by yet.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::routes;
use crate::mail::{Lapse, Origin, Station, StationKind, Timestamp};
use crate::nearest::nearest;
use crate::policy::table::{Fault, Gateway, Measure, RoutingTable, Source};
use crate::spool::store::{Store, StoreError, Workstation};

/// What it did in the week before it was last seen it would do again. Newlines depend on the message, so
/// that one good message proves nothing.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// As many names as a warning lists.
const NAMES: usize = 8;

/// A workstation or gateway; field names are the contract's. What nobody has come by was never seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub room: Option<String>,
    pub gateway: Option<String>,
    /// `certificate`, `user` or `address`; `network` for a gateway that nobody has come by.
    pub kind: &'static str,
    pub name: String,
    pub address: Option<String>,
    pub first_seen: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    pub tls: Option<String>,
    pub certificate_days_left: Option<i64>,
    /// What its room would refuse if it enforced everything.
    pub would_fail: Vec<&'static str>,
    /// When it last did each of these.
    pub failed_at: BTreeMap<&'static str, Timestamp>,
}

/// Rooms by id, then gateways; of each first what was seen.
pub async fn list(store: &Arc<dyn Store>, now: Timestamp) -> Result<Vec<Listed>, StoreError> {
    let table = routes::current(store).await?.map(|(_, table)| table);
    let table = table.unwrap_or_default();
    let seen = store.workstations().await?;
    let missing = missing(&table, &seen);
    let mut listed: Vec<Listed> = seen.iter().map(|it| met(it, &table, now)).collect();
    listed.extend(missing);
    listed.sort_by(in_order);
    Ok(listed)
}

fn in_order(one: &Listed, other: &Listed) -> Ordering {
    let key = |it: &Listed| {
        let address: Option<IpAddr> = it.name.parse().ok();
        let place = (it.room.is_none(), it.room.clone(), it.gateway.clone());
        (
            place,
            it.first_seen.is_none(),
            it.kind,
            address,
            it.name.clone(),
        )
    };
    key(one).cmp(&key(other))
}

fn met(workstation: &Workstation, table: &RoutingTable, now: Timestamp) -> Listed {
    let Station { origin, kind, name } = &workstation.station;
    let since = workstation.last_seen_at.before(WEEK);
    let failed = |lapse: Lapse| match lapse {
        // The table of today knows better than what was met.
        Lapse::UnknownWorkstation => !is_named(&workstation.station, table),
        lapse => workstation
            .failed
            .iter()
            .any(|(it, at)| *it == lapse && since <= *at),
    };
    let would_fail = Lapse::ALL.into_iter().filter(|it| failed(*it));
    let days_left = |at: Timestamp| (at.as_millis() - now.as_millis()).div_euclid(DAY_MILLIS);
    Listed {
        address: Some(workstation.address.clone()),
        first_seen: Some(workstation.first_seen_at),
        last_seen: Some(workstation.last_seen_at),
        tls: workstation.tls.clone(),
        certificate_days_left: workstation.certificate_ends_at.map(days_left),
        // There are no steps for gateways, and nothing that one would fail.
        would_fail: match origin {
            Origin::Room(_) => would_fail.map(Lapse::word).collect(),
            Origin::Gateway(_) | Origin::Relay => Vec::new(),
        },
        failed_at: workstation
            .failed
            .iter()
            .map(|(lapse, at)| (lapse.word(), *at))
            .collect(),
        ..never(origin, kind.word(), name)
    }
}

/// Whether a line of its room names it today.
fn is_named(station: &Station, table: &RoutingTable) -> bool {
    let room = station.origin.room().and_then(|id| table.room(id));
    let address: Option<IpAddr> = station.name.parse().ok();
    let names = |source: &Source| match (station.kind, source) {
        (StationKind::Certificate, Source::Certificate(name))
        | (StationKind::User, Source::User(name)) => *name == station.name,
        (StationKind::Address, Source::Network(network)) => {
            address.is_some_and(|it| network.contains(&it))
        }
        _ => false,
    };
    room.is_some_and(|room| room.workstations.iter().any(names))
}

/// Not seen yet.
fn never(origin: &Origin, kind: &'static str, name: &str) -> Listed {
    let (room, gateway) = match origin {
        Origin::Room(id) => (Some(id.to_string()), None),
        Origin::Gateway(name) => (None, Some(name.clone())),
        Origin::Relay => (None, None),
    };
    Listed {
        room,
        gateway,
        kind,
        name: name.to_owned(),
        address: None,
        first_seen: None,
        last_seen: None,
        tls: None,
        certificate_days_left: None,
        would_fail: Vec::new(),
        failed_at: BTreeMap::new(),
    }
}

/// Lines of rooms and gateways that nobody has come by.
fn missing(table: &RoutingTable, seen: &[Workstation]) -> Vec<Listed> {
    let came_from = |origin: &Origin, network: &IpNet| {
        let of = |it: &Station| it.origin == *origin && it.kind == StationKind::Address;
        let within = |it: &Station| {
            it.name
                .parse()
                .is_ok_and(|it: IpAddr| network.contains(&it))
        };
        seen.iter().any(|it| of(&it.station) && within(&it.station))
    };
    let known = |origin: &Origin, kind, name: &str| {
        let same = |it: &Station| it.origin == *origin && it.kind == kind && it.name == name;
        seen.iter().any(|it| same(&it.station))
    };
    let line = |origin: &Origin, source: &Source| match source {
        Source::Network(network) => {
            (!came_from(origin, network)).then(|| never(origin, "network", &network.to_string()))
        }
        Source::Certificate(name) | Source::User(name) => {
            let kind = match source {
                Source::User(_) => StationKind::User,
                _ => StationKind::Certificate,
            };
            (!known(origin, kind, name)).then(|| never(origin, kind.word(), name))
        }
    };
    let of_rooms = table.rooms().flat_map(|room| {
        let origin = Origin::Room(room.id.clone());
        let lines = room.workstations.iter();
        lines.filter_map(move |it| line(&origin, it))
    });
    let gateway = |gateway: &Gateway| line(&Origin::Gateway(gateway.name.clone()), &gateway.source);
    of_rooms
        .chain(table.gateways().filter_map(gateway))
        .collect()
}

/// Users in the table that have no password, and so cannot log in.
pub async fn doubt_users(
    store: &Arc<dyn Store>,
    table: &RoutingTable,
) -> Result<Vec<Fault>, StoreError> {
    let credentials = store.credentials().await?;
    let known: HashSet<&str> = credentials.iter().map(|it| it.user.as_str()).collect();
    Ok(by_holder(table, |sources| {
        let users = sources.filter_map(|source| match source {
            Source::User(name) if !known.contains(name.as_str()) => Some(name.as_str()),
            _ => None,
        });
        let users: Vec<&str> = users.collect();
        (!users.is_empty()).then(|| {
            let advice = "set one with: ilbud credential set USER";
            format!("no password for user {}; {advice}", few(&users))
        })
    }))
}

fn certificate(source: &Source) -> Option<&str> {
    match source {
        Source::Certificate(name) => Some(name),
        Source::Network(_) | Source::User(_) => None,
    }
}

/// Certificates in the table, where no authority is named that could have signed one.
pub fn doubt_certificates(table: &RoutingTable) -> Vec<Fault> {
    by_holder(table, |sources| {
        let names: Vec<&str> = sources.filter_map(certificate).collect();
        (!names.is_empty()).then(|| {
            format!(
                "nobody can show certificate {}, since [tls] has no client_ca",
                few(&names)
            )
        })
    })
}

/// Names in the table of certificates that nobody has come with. One that somebody came with before, and
/// that is no longer in the table, is probably what was meant.
pub async fn doubt_names(
    store: &Arc<dyn Store>,
    table: &RoutingTable,
) -> Result<Vec<Fault>, StoreError> {
    let seen = store.workstations().await?;
    let shown = seen.iter().map(|it| &it.station);
    let shown = shown.filter(|it| it.kind == StationKind::Certificate);
    let shown: HashSet<&str> = shown.map(|it| it.name.as_str()).collect();
    Ok(unshown(table, &shown))
}

fn unshown(table: &RoutingTable, shown: &HashSet<&str>) -> Vec<Fault> {
    let of_rooms = table.rooms().flat_map(|it| &it.workstations);
    let of_gateways = table.gateways().map(|it| &it.source);
    let named: HashSet<&str> = of_rooms
        .chain(of_gateways)
        .filter_map(certificate)
        .collect();
    let left_over: Vec<&str> = shown.difference(&named).copied().collect();
    by_holder(table, |sources| {
        let names = sources.filter_map(certificate);
        let names: Vec<&str> = names.filter(|name| !shown.contains(name)).collect();
        let first = names.first()?;
        let advice = match nearest(first, left_over.iter().copied()) {
            Some(near) if names.len() == 1 => format!("did you mean {near:?}?"),
            _ => "see: ilbud workstation list".to_owned(),
        };
        Some(format!(
            "nobody has come with certificate {} yet; {advice}",
            few(&names)
        ))
    })
}

/// Rooms that take nothing in plain text, where nothing else is to be had.
pub fn doubt_tls(table: &RoutingTable) -> Vec<Fault> {
    let enforcing = table
        .rooms()
        .filter(|room| room.strictness.missing_tls == Measure::Enforce);
    enforcing
        .map(|room| Fault {
            line: table.line_of(&room.id),
            text: format!(
                "room \"{}\" enforces missing_tls, and no listener has TLS: nobody can send as it",
                room.id
            ),
        })
        .collect()
}

/// What is to be said of the lines of each room and gateway.
fn by_holder(
    table: &RoutingTable,
    doubt: impl Fn(&mut dyn Iterator<Item = &Source>) -> Option<String>,
) -> Vec<Fault> {
    let rooms = table.rooms().filter_map(|it| {
        let words = doubt(&mut it.workstations.iter())?;
        Some(Fault {
            line: table.line_of(&it.id),
            text: format!("room \"{}\": {words}", it.id),
        })
    });
    let gateways = table.gateways().filter_map(|it| {
        let words = doubt(&mut std::iter::once(&it.source))?;
        Some(Fault {
            line: table.line_of_gateway(&it.name),
            text: format!("gateway {:?}: {words}", it.name),
        })
    });
    rooms.chain(gateways).collect()
}

fn few(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES)
        .map(|it| format!("{it:?}"))
        .collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::RoomId;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const TABLE: &str = "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:x\"]\n\
        [[room.workstation]]\nnetwork = \"10.1.0.0/24\"\n[[room.workstation]]\ncertificate = \"ws1.a.test\"\n\
        [[room.workstation]]\nuser = \"ws3\"\n";

    fn days(count: u64) -> Duration {
        Duration::from_secs(count * 24 * 60 * 60)
    }

    fn workstation(origin: Origin, kind: StationKind, name: &str) -> Workstation {
        Workstation {
            station: Station {
                origin,
                kind,
                name: name.to_owned(),
            },
            address: "10.1.0.7".to_owned(),
            first_seen_at: NOW.before(days(90)),
            last_seen_at: NOW.before(days(30)),
            tls: None,
            certificate_ends_at: None,
            failed: Vec::new(),
        }
    }

    #[test]
    fn what_would_fail_is_of_the_last_week_and_of_the_table_of_today() {
        let table = RoutingTable::parse(TABLE, 1).unwrap().0;
        let room = |id: &str| Origin::Room(RoomId::new(id));
        let (address, user) = (StationKind::Address, StationKind::User);
        #[rustfmt::skip]
        let cases = [
            (room("a"), address, "10.1.0.7", 36, vec!["missing_tls"]),
            (room("a"), address, "10.1.0.7", 38, vec![]),
            (room("a"), address, "10.2.0.7", 38, vec!["unknown_workstation"]),
            (room("b"), address, "10.1.0.7", 38, vec!["unknown_workstation"]),
            (room("a"), user, "ws3", 30, vec!["missing_tls"]),
            (room("a"), user, "ws4", 38, vec!["unknown_workstation"]),
            (room("a"), StationKind::Certificate, "ws1.a.test", 38, vec![]),
            (room("a"), StationKind::Certificate, "ws3", 38, vec!["unknown_workstation"]),
            (Origin::Gateway("inn".to_owned()), address, "10.9.0.7", 30, vec![]),
        ];
        for (origin, kind, name, failed, expected) in cases {
            let met_then = Workstation {
                failed: vec![(Lapse::MissingTls, NOW.before(days(failed)))],
                ..workstation(origin, kind, name)
            };
            let listed = met(&met_then, &table, NOW);
            assert_eq!(listed.would_fail, expected, "{met_then:?}");
            assert_eq!(listed.failed_at.len(), 1);
        }
    }

    #[test]
    fn certificates_that_nobody_has_come_with() {
        let table = RoutingTable::parse(TABLE, 1).unwrap().0;
        let two = TABLE.replace(
            "[[room.workstation]]\nuser = \"ws3\"",
            "[[room.workstation]]\ncertificate = \"ws9.a.test\"",
        );
        let two = RoutingTable::parse(&two, 1).unwrap().0;
        #[rustfmt::skip]
        let cases = [
            (&table, vec![], vec!["line 1: room \"a\": nobody has come with certificate \"ws1.a.test\" yet; see: ilbud workstation list"]),
            (&table, vec!["ws1a.test", "x"], vec!["line 1: room \"a\": nobody has come with certificate \"ws1.a.test\" yet; did you mean \"ws1a.test\"?"]),
            (&table, vec!["ws1.a.test"], vec![]),
            (&two, vec![], vec!["line 1: room \"a\": nobody has come with certificate \"ws1.a.test\", \"ws9.a.test\" yet; see: ilbud workstation list"]),
            (&two, vec!["ws1.a.test"], vec!["line 1: room \"a\": nobody has come with certificate \"ws9.a.test\" yet; see: ilbud workstation list"]),
        ];
        for (table, shown, expected) in cases {
            let found = unshown(table, &shown.iter().copied().collect());
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{shown:?}");
        }
    }

    #[test]
    fn days_left_are_whole_and_run_below_nothing() {
        let table = RoutingTable::default();
        let hour = Duration::from_secs(3600);
        for (ends_at, left) in [
            (NOW.after(days(30)), 30),
            (NOW.after(days(30)).before(hour), 29),
            (NOW, 0),
            (NOW.before(hour), -1),
        ] {
            let origin = Origin::Room(RoomId::new("a"));
            let shown = Workstation {
                certificate_ends_at: Some(ends_at),
                ..workstation(origin, StationKind::Certificate, "ws1.a.test")
            };
            let listed = met(&shown, &table, NOW);
            assert_eq!(listed.certificate_days_left, Some(left));
        }
    }
}
