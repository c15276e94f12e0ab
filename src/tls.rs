//! TLS in both directions: certificates from disk to configurations.
//!
//! Decides which versions and which trust: TLS 1.2 and 1.3 with the provider's default suites, our
//! certificate towards clients and `client_ca` for theirs; what goes towards next hops is [`Outgoing`].
//! Files are read again when they change; a new pair that cannot be used leaves the old one in force,
//! with an alarm. A private key that others may read is not used. Faults name the file and say what is
//! wrong with it.

mod next_hops;
mod workstations;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::{self, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use crate::mail::TlsSession;
use crate::secrecy;
use crate::stamp::{self, Stamp};
pub use next_hops::{Identity, Outgoing, Voucher};
pub use tokio_rustls::rustls::ClientConfig;
use workstations::Workstations;

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

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct TlsFault {
    file: PathBuf,
    cause: String,
    /// Others on this machine may read what is nobody else's.
    pub is_exposed: bool,
}

impl TlsFault {
    fn new(file: &Path, cause: impl ToString) -> Self {
        Self {
            file: file.to_owned(),
            cause: cause.to_string(),
            is_exposed: false,
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.cause)
    }
}

impl std::error::Error for TlsFault {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Octets that nobody can guess.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut octets)
        .map_err(|_| io::Error::other("the system gives no random octets"))?;
    Ok(octets)
}

/// Our side of TLS towards clients.
#[derive(Debug)]
pub struct Incoming {
    config: Arc<ServerConfig>,
    workstations: Option<Arc<Workstations>>,
}

/// A client with whom the handshake is done.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TlsStream<TcpStream>,
    pub session: TlsSession,
    /// DNS names that the client's certificate proves.
    pub certificate_names: Arc<[String]>,
    /// What names this very session (`tls-exporter`, RFC 9266 §4.2). In TLS 1.2 it need not be
    /// unique, and is not used.
    pub binding: Option<[u8; 32]>,
}

/// Reads what the settings name.
pub fn load(settings: &Settings) -> Result<Arc<Incoming>, TlsFault> {
    let chain = certificates(&settings.certificate)?;
    let key = private_key(&settings.private_key)?;
    let workstations = match &settings.client_ca {
        Some(file) => Some(
            Workstations::new(authorities(file)?, provider())
                .map_err(|cause| TlsFault::new(file, cause))?,
        ),
        None => None,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|cause| TlsFault::new(&settings.certificate, cause))?;
    let builder = match &workstations {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|cause| mismatch(&settings.certificate, &settings.private_key, &cause))?;
    // The strongest suite that both have, whatever a client would like best.
    config.ignore_client_order = true;
    Ok(Arc::new(Incoming {
        config: Arc::new(config),
        workstations,
    }))
}

impl Incoming {
    /// Shakes hands. The caller sets the time limit.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept(stream).await?;
        let connection = stream.get_ref().1;
        Ok(Accepted {
            session: facts(connection),
            certificate_names: self.names(connection).into(),
            binding: binding(connection),
            stream,
        })
    }

    fn names(&self, connection: &ServerConnection) -> Vec<String> {
        match (&self.workstations, connection.peer_certificates()) {
            (Some(workstations), Some(chain)) => workstations.names(chain, UnixTime::now()),
            _ => Vec::new(),
        }
    }
}

fn binding(connection: &ServerConnection) -> Option<[u8; 32]> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let label = b"EXPORTER-Channel-Binding";
    connection
        .export_keying_material([0; 32], label, Some(b""))
        .ok()
}

/// For the `Received` field (RFC 8314 §4.3) and the log.
fn facts(connection: &ServerConnection) -> TlsSession {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("unknown");
    TlsSession {
        version: version.to_owned(),
        cipher: cipher.to_owned(),
    }
}

fn mismatch(certificate: &Path, key: &Path, cause: &rustls::Error) -> TlsFault {
    match cause {
        rustls::Error::InconsistentKeys(_) => TlsFault::new(
            certificate,
            format!("does not belong to the key {}", key.display()),
        ),
        other => TlsFault::new(certificate, other),
    }
}

/// A key that others may read is nobody's proof of anything, and is not used.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let opened = File::open(file).map_err(|cause| TlsFault::new(file, cause))?;
    let metadata = opened.metadata();
    let metadata = metadata.map_err(|cause| TlsFault::new(file, cause))?;
    let key = PrivateKeyDer::from_pem_reader(opened);
    let key = key.map_err(|cause| TlsFault::new(file, cause))?;
    match secrecy::fault(file, &metadata, "a private key") {
        Some(cause) => Err(TlsFault {
            is_exposed: true,
            ..TlsFault::new(file, cause)
        }),
        None => Ok(key),
    }
}

/// Every certificate in a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|cause| TlsFault::new(file, cause))?;
    match found.is_empty() {
        true => Err(TlsFault::new(file, "has no certificate in it")),
        false => Ok(found),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|cause| TlsFault::new(file, cause))?;
    }
    Ok(roots)
}

/// Our certificate and the authorities of theirs, read again when they change on disk.
#[derive(Debug)]
pub struct Reloading {
    settings: Settings,
    stamps: Vec<Stamp>,
    /// What is on disk could not be taken up yet.
    is_behind: bool,
    current: watch::Sender<Arc<Incoming>>,
}

impl Reloading {
    pub fn load(settings: &Settings) -> Result<Self, TlsFault> {
        let stamps = stamps(settings);
        let current = watch::Sender::new(load(settings)?);
        Ok(Self {
            settings: settings.clone(),
            stamps,
            is_behind: false,
            current,
        })
    }

    /// What the next handshake is to be done with.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Incoming>> {
        self.current.subscribe()
    }

    /// Looks at the files for as long as the relay lives.
    pub async fn watch_files(mut self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let stamps = stamps(&self.settings);
            let is_news = stamps != self.stamps;
            if is_news || self.is_behind {
                self.stamps = stamps;
                self.is_behind = !self.reload(is_news);
            }
        }
    }

    /// Whether the files on disk are now in use.
    fn reload(&self, is_news: bool) -> bool {
        match load(&self.settings) {
            Ok(incoming) => {
                self.current.send_replace(incoming);
                tracing::info!(file = %self.settings.certificate.display(), "a new certificate is in use");
                true
            }
            // Often the second file has only not been written yet, or may not be read yet.
            Err(fault) => {
                if is_news {
                    tracing::error!(%fault, "the certificate in use stays in use");
                }
                false
            }
        }
    }
}

fn stamps(settings: &Settings) -> Vec<Stamp> {
    let files = [&settings.certificate, &settings.private_key];
    let files = files.into_iter().chain(&settings.client_ca);
    stamp::of_all(files.map(PathBuf::as_path))
}
