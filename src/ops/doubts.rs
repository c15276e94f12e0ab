//! What is worth knowing of a routing table together with the settings, the users, and who has come so far.
//!
//! Beside what `policy::checks` sees in the table alone. Files are looked at; nobody is connected to, no
//! name is looked up, and nothing is changed. A doubt is a warning: it never means that mail is refused.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::{routes, workstations};
use crate::delivery;
use crate::delivery::trust::{self, Doubt};
use crate::mail::{Address, Timestamp};
use crate::policy::table::{Fault, HopServer, NextHop, Room, RoutingTable};
use crate::smtp::server::{ListenerSettings, ListenerTls};
use crate::spool::store::{Store, StoreError};

/// What of the settings a table is looked at with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub hostname: &'a str,
    pub postmaster: Option<&'a Address>,
    pub delivery: &'a delivery::Settings,
    pub listeners: &'a [ListenerSettings],
    /// Client certificates can be told from forged ones.
    pub has_client_ca: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doubts {
    /// Others on this machine may read a key that a next hop names.
    pub exposed: Vec<Fault>,
    /// Of entries of the table.
    pub of_table: Vec<Fault>,
    /// Of the settings, as far as the table shows.
    pub of_settings: Vec<String>,
}

/// Looks at a table.
pub async fn of(
    store: &Arc<dyn Store>,
    table: &RoutingTable,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Result<Doubts, StoreError> {
    let mut doubts = Doubts::default();
    doubts.of_table.extend(table.stale(now));
    for room in table.rooms() {
        let line = table.line_of(&room.id);
        for text in of_hops(room, around) {
            doubts.of_table.push(of_room(room, line, &text));
        }
        for (text, is_exposed) in of_files(room) {
            let found = match is_exposed {
                true => &mut doubts.exposed,
                false => &mut doubts.of_table,
            };
            found.push(of_room(room, line, &text));
        }
    }
    let (of_settings, of_rooms) = routes::doubt_times(table, around.delivery);
    doubts.of_table.extend(of_rooms);
    doubts.of_settings.extend(of_settings);
    doubts
        .of_table
        .extend(workstations::doubt_users(store, table).await?);
    doubts.of_table.extend(match around.has_client_ca {
        true => workstations::doubt_names(store, table).await?,
        false => workstations::doubt_certificates(table),
    });
    if around.listeners.iter().all(|it| it.tls == ListenerTls::Off) {
        doubts.of_table.extend(workstations::doubt_tls(table));
    }
    let postmaster = around.postmaster;
    let postmaster = postmaster.and_then(|it| routes::doubt_postmaster(table, it));
    doubts.of_settings.extend(postmaster);
    // By line, and what has none at the end.
    doubts
        .of_table
        .sort_by_key(|it| it.line.unwrap_or(usize::MAX));
    Ok(doubts)
}

fn of_room(room: &Room, line: Option<usize>, text: &str) -> Fault {
    Fault {
        line,
        text: format!("room \"{}\", next hop {text}", room.id),
    }
}

fn of_hops(room: &Room, around: &Surroundings<'_>) -> Vec<String> {
    let doubt = |hop: &NextHop| match hop {
        NextHop::Smtp(server) | NextHop::Smtps(server) | NextHop::Lmtp(server) => {
            let own = around
                .listeners
                .iter()
                .find(|it| leads_to(server, it, around.hostname))?;
            Some(format!(
                "{hop}: that is this relay's own listener {:?}, so that mail would come back",
                own.name
            ))
        }
        NextHop::Maildir(root) => in_the_way(root).map(|file| {
            format!(
                "{hop}: {} is a file and no folder, so that nothing can be kept there",
                file.display()
            )
        }),
        NextHop::LmtpSocket(_) | NextHop::Mx(_) => None,
    };
    room.next_hops.iter().filter_map(doubt).collect()
}

/// Whether a next hop is one of our listeners, as far as can be told without looking up a name.
fn leads_to(server: &HopServer, listener: &ListenerSettings, hostname: &str) -> bool {
    if server.port != listener.address.port() {
        return false;
    }
    let own = listener.address.ip();
    match server.host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address == own || own.is_unspecified() && address.is_loopback()
        }
        Err(_) if server.host == "localhost" => own.is_loopback() || own.is_unspecified(),
        Err(_) => server.host.eq_ignore_ascii_case(hostname),
    }
}

/// What stands where a folder would have to be.
fn in_the_way(root: &Path) -> Option<&Path> {
    let there = root.ancestors().find(|it| it.exists())?;
    (!there.is_dir()).then_some(there)
}

/// Files that next hops name and that cannot be used as they are; and whether because others may read them.
fn of_files(room: &Room) -> Vec<(String, bool)> {
    let servers = room.next_hops.iter().filter_map(NextHop::server);
    let doubt = |server: &HopServer| {
        let (words, is_exposed) = match trust::doubt(server)? {
            Doubt::Exposed(words) => (words, true),
            Doubt::Unusable(words) => (words, false),
        };
        Some((format!("{}: {words}", server.host), is_exposed))
    };
    let with_files = servers.filter(|it| it.ca.is_some() || it.client_certificate.is_some());
    with_files.filter_map(doubt).collect()
}
