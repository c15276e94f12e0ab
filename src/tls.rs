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
