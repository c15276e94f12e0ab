//! Where mail would go at this moment: what the next hops of a room resolve to, and whether they answer.
//!
//! Asked the way that delivery asks, through the same code: the same names, trust, certificates and manners.
//! No mail is ever offered, nobody logs in, no folder is made, and every wait has an end. Trouble is what
//! was asked for, and so a value; only trust that cannot be set up fails.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::delivery::client::{Call, Caller, Probe, Setback, Timeouts};
use crate::delivery::maildir::Writers;
use crate::delivery::outcome::{Stage, Trouble};
use crate::delivery::resolve::{self, Resolver};
use crate::delivery::trust::Trust;
use crate::delivery::ways::Ways;
use crate::policy::table::{HopServer, NextHop};

/// How long a name may be looked up, and one server be asked.
const LOOK_UP: Duration = Duration::from_secs(5);
const PROBE: Duration = Duration::from_secs(15);

/// How it is asked.
#[derive(Debug, Clone)]
pub struct Manner {
    pub hostname: String,
    pub resolver: resolve::Settings,
    pub client_ca: Option<PathBuf>,
    pub timeouts: Timeouts,
}

/// A next hop as it is now; field names are the listing's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub hop: String,
    /// Those behind it, in the order in which they would be asked.
    pub servers: Vec<Server>,
    /// Why mail would have to wait, as far as was looked.
    pub trouble: Option<String>,
    /// Whether it would take mail; left out where nobody asked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    pub host: String,
    pub addresses: Vec<IpAddr>,
    pub trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
}

/// One step of a conversation with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub step: &'static str,
    pub ms: u64,
    pub words: String,
}

/// Looks up each of these next hops, all at once, and asks them where `probes`.
pub async fn hops(hops: Vec<NextHop>, manner: Manner, probes: bool) -> Result<Vec<Hop>, String> {
    let client_ca = manner.client_ca.as_deref().filter(|_| probes);
    let caller = Caller {
        hostname: manner.hostname,
        trust: Trust::new(client_ca).map_err(|fault| fault.to_string())?,
        resolver: Arc::new(Resolver::new(manner.resolver)),
        timeouts: manner.timeouts,
        ways: Ways::default(),
        writers: Writers::default(),
    };
    let mut asked = JoinSet::new();
    for (place, hop) in hops.into_iter().enumerate() {
        let caller = caller.clone();
        asked.spawn(async move { (place, look(&hop, &caller, probes).await) });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, hop)| hop).collect())
}

async fn look(hop: &NextHop, caller: &Caller, probes: bool) -> Hop {
    let (servers, trouble) = match hop {
        NextHop::Maildir(root) => {
            let trouble = unwritable(root).filter(|_| probes);
            return settled(hop, Vec::new(), trouble, probes);
        }
        NextHop::LmtpSocket(path) if probes => (vec![ask_socket(path, caller).await], None),
        NextHop::LmtpSocket(_) => (Vec::new(), None),
        NextHop::Mx(domain) => match exchangers(domain, caller).await {
            Ok(servers) => (look_at_all(hop, servers, caller, probes).await, None),
            Err(words) => (Vec::new(), Some(words)),
        },
        NextHop::Smtp(server) | NextHop::Smtps(server) | NextHop::Lmtp(server) => (
            look_at_all(hop, vec![server.clone()], caller, probes).await,
            None,
        ),
    };
    settled(hop, servers, trouble, probes)
}

/// One server that is well is enough.
fn settled(hop: &NextHop, servers: Vec<Server>, trouble: Option<String>, probes: bool) -> Hop {
    let troubles = || servers.iter().map(|it| it.trouble.as_ref());
    let of_last = troubles().next_back().flatten().cloned();
    let trouble = trouble.or(of_last.filter(|_| troubles().all(|it| it.is_some())));
    Hop {
        hop: hop.to_string(),
        ready: probes.then_some(trouble.is_none()),
        servers,
        trouble,
    }
}

async fn exchangers(domain: &HopServer, caller: &Caller) -> Result<Vec<HopServer>, String> {
    let found = caller.resolver.exchangers(&domain.host, &caller.hostname);
    let server = |host| HopServer {
        host,
        ..domain.clone()
    };
    let found = in_time(found).await?;
    Ok(found.into_iter().map(server).collect())
}

async fn in_time<T>(look_up: impl Future<Output = Result<T, Trouble>>) -> Result<T, String> {
    let silent = || {
        Err(Trouble::Unresolved(
            "the name servers do not answer".to_owned(),
        ))
    };
    let found = timeout(LOOK_UP, look_up).await.unwrap_or_else(|_| silent());
    found.map_err(|trouble| Setback::new(Stage::Prepare, trouble).words())
}

async fn look_at_all(
    hop: &NextHop,
    servers: Vec<HopServer>,
    caller: &Caller,
    probes: bool,
) -> Vec<Server> {
    let mut found = Vec::with_capacity(servers.len());
    for server in servers {
        let looked_up = match in_time(caller.resolver.addresses(&server.host)).await {
            Ok(addresses) => Server {
                addresses,
                ..unasked(server.host.clone())
            },
            Err(words) => Server {
                trouble: Some(words),
                ..unasked(server.host.clone())
            },
        };
        found.push(match probes && looked_up.trouble.is_none() {
            true => {
                let call = match hop {
                    NextHop::Smtps(_) => Call::Smtps(&server),
                    NextHop::Lmtp(_) => Call::Lmtp(&server),
                    _ => Call::Smtp(&server),
                };
                asked(looked_up, caller.probe(call, Instant::now() + PROBE).await)
            }
            false => looked_up,
        });
    }
    found
}

async fn ask_socket(path: &Path, caller: &Caller) -> Server {
    let host = path.display().to_string();
    let probe = caller.probe(Call::LmtpSocket(path), Instant::now() + PROBE);
    asked(unasked(host), probe.await)
}

const fn unasked(host: String) -> Server {
    Server {
        host,
        addresses: Vec::new(),
        trouble: None,
        steps: None,
    }
}

fn asked(server: Server, probe: Probe) -> Server {
    let steps = probe.steps.into_iter().map(|it| Step {
        step: it.name,
        ms: u64::try_from(it.took.as_millis()).unwrap_or(u64::MAX),
        words: it.words,
    });
    Server {
        trouble: probe.trouble,
        steps: Some(steps.collect()),
        ..server
    }
}

/// Why nothing could be kept below `root` by who asks. It is not made where it is missing: it would be the
/// folder of who asks, and not of the relay.
fn unwritable(root: &Path) -> Option<String> {
    let there = match root {
        relative if relative.is_relative() => Path::new(".").join(relative),
        absolute => absolute.to_owned(),
    };
    let there = there.ancestors().find(|it| it.exists())?;
    if !there.is_dir() {
        return Some(format!("{} is a file and no folder", there.display()));
    }
    let fault = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let words = std::io::Error::from(fault).to_string();
    Some(format!("{} cannot be written: {words}", there.display()))
}
