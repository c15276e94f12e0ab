//! TLS in both directions: certificates from disk to configurations.
//!
//! Decides which versions and which trust: TLS 1.2 and 1.3 with the provider's default suites, our
//! certificate towards clients, `client_ca` for theirs and `client_crl` for what was revoked of them; what
//! goes towards next hops is [`Outgoing`]. No session of a client is resumed: nobody is known by what was
//! shown in another connection. Files are read again when they
//! change ([`Reloading`]). A private key that others may read is not used. Faults name the file and say
//! what is wrong with it.

mod next_hops;
mod reloading;
mod revocation;
mod workstations;
mod x509;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use crate::mail::{Certificate, Timestamp, TlsSession};
use crate::secrecy;
pub use next_hops::{Identity, Outgoing, Voucher};
pub use reloading::Reloading;
pub use tokio_rustls::rustls::ClientConfig;
use workstations::{Authority, Span, Witness, Workstations};

/// `[tls]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// PEM: our certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
    /// PEM: trust anchors of the workstations' certificates, and of next hops that name no other.
    pub client_ca: Option<PathBuf>,
    /// PEM or DER: what the authorities in `client_ca`, and those below them, have revoked.
    pub client_crl: Vec<PathBuf>,
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
    provider: Arc<CryptoProvider>,
    own: Arc<dyn ResolvesServerCert>,
    workstations: Option<Arc<Workstations>>,
}

/// A client with whom the handshake is done.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TlsStream<TcpStream>,
    pub session: TlsSession,
    pub shown: Option<Shown>,
    /// What names this very session (`tls-exporter`, RFC 9266 §4.2). In TLS 1.2 it need not be
    /// unique, and is not used.
    pub binding: Option<[u8; 32]>,
}

/// What a client has shown of itself, and what that comes to. That is looked at again for as long as
/// the session lasts, since it may outlive the certificate.
#[derive(Debug)]
pub struct Shown {
    /// None: it is not looked at again.
    chain: Vec<CertificateDer<'static>>,
    holds_key: bool,
    certificate: Certificate,
    judges: Arc<Workstations>,
    /// When it comes to the same by itself.
    span: Span,
}

impl Shown {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        holds_key: bool,
        judges: Arc<Workstations>,
        now: Timestamp,
    ) -> Self {
        let certificate = judges.judge(&chain, holds_key, now);
        let is_kept = workstations::is_worth_keeping(&chain, &certificate);
        Self {
            certificate,
            span: Span::around(now, &chain),
            chain: if is_kept { chain } else { Vec::new() },
            holds_key,
            judges,
        }
    }

    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Looks again if anything has changed since. `Some`: it comes to something else now.
    pub fn look_again(&mut self, incoming: &Incoming, now: Timestamp) -> Option<&Certificate> {
        let judges = incoming.workstations.as_ref().unwrap_or(&self.judges);
        if Arc::ptr_eq(judges, &self.judges) && self.span.holds(now) {
            return None;
        }
        if self.chain.is_empty() {
            self.judges = Arc::clone(judges);
            return None;
        }
        let before = self.certificate.clone();
        let chain = std::mem::take(&mut self.chain);
        *self = Self::new(chain, self.holds_key, Arc::clone(judges), now);
        (self.certificate != before).then_some(&self.certificate)
    }
}

/// Reads what the settings name.
pub fn load(settings: &Settings) -> Result<Arc<Incoming>, TlsFault> {
    Reloading::load(settings).map(|it| it.now_in_use())
}

impl Incoming {
    /// Shakes hands. The caller sets the time limit.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let workstations = self.workstations.as_ref();
        let witness = workstations.map(|it| Arc::new(Witness::new(Arc::clone(it))));
        let config = self.config(witness.clone()).map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let stream = acceptor.accept(stream).await?;
        let connection = stream.get_ref().1;
        let shown = witness.as_ref().zip(connection.peer_certificates());
        let shown = shown.map(|(witness, chain)| {
            let chain = chain.iter().map(|it| it.clone().into_owned()).collect();
            let judges = Arc::clone(witness.workstations());
            Shown::new(chain, witness.holds_key(), judges, Timestamp::now())
        });
        Ok(Accepted {
            session: facts(connection),
            shown,
            binding: binding(connection),
            stream,
        })
    }

    /// For one handshake, which `witness` sees.
    fn config(&self, witness: Option<Arc<Witness>>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::clone(&self.provider);
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match witness {
            Some(witness) => builder.with_client_cert_verifier(witness),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.own));
        // The strongest suite that both have, whatever a client would like best.
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// What people should look after, though it breaks nothing yet.
    pub fn doubts(&self, now: Timestamp) -> Vec<String> {
        let workstations = self.workstations.as_ref();
        workstations.map_or_else(Vec::new, |it| it.doubts(now))
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

/// Our certificate and its key.
fn own(settings: &Settings) -> Result<Arc<dyn ResolvesServerCert>, TlsFault> {
    let chain = certificates(&settings.certificate)?;
    let key = private_key(&settings.private_key)?;
    let own = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|cause| mismatch(&settings.certificate, &settings.private_key, &cause))?;
    Ok(Arc::new(SingleCertAndKey::from(own)))
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

/// Who vouches for workstations.
fn workstation_authorities(file: &Path) -> Result<Vec<Authority>, TlsFault> {
    let certificates = certificates(file)?;
    let authorities = certificates.iter().map(Authority::new);
    authorities
        .collect::<Result<_, _>>()
        .map_err(|cause| TlsFault::new(file, cause))
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
