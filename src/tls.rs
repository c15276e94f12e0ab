//! NOTE FROM THE LEAD (21:24): I am writing tls.rs myself (on main); leave this file as it is. In server.rs take
//! `tls: Option<tokio::sync::watch::Receiver<Arc<tokio_rustls::rustls::ServerConfig>>>` in `Context` (newest value per new handshake).
//! relay.rs on main (git show main:src/relay.rs) shows how I call you: server::bind(&ListenerSettings) -> io::Result<Listener>,
//! Listener::{name(), address(), tls()}, server::run(listener, Arc<Context>) (returns when stopped and its sessions have ended),
//! Context {hostname, limits, rates, spool, table: watch::Receiver<Arc<RoutingTable>>, tls, stop: watch::Receiver<bool>}.
//! limits::Settings on main has a new field `memory`. Commit session+server as soon as they compile; tests after.
//! TLS in both directions: certificates from disk to configurations.

use std::path::PathBuf;

/// `[tls]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// PEM: our certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
    /// PEM: trust anchors of the workstations' certificates, and of next hops that name no other.
    pub client_ca: Option<PathBuf>,
}
