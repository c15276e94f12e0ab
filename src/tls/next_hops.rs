//! Our side of TLS towards next hops: whom we believe about them, and how we show who we are.
//!
//! A certificate is judged by authorities, by its own fingerprint, by both, or not at all where plain
//! text would do as well (RFC 7435); that the other side holds its key is checked always. Never
//! decides whether TLS is used. Fails with the file that cannot be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::{TlsFault, authorities, certificates, mismatch, private_key, provider};

/// What a handshake with a next hop rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outgoing {
    pub voucher: Voucher,
    /// SHA-256 of the certificate that the hop must show.
    pub pin: Option<[u8; 32]>,
    pub identity: Option<Identity>,
}

/// Whose word is taken for who the other side is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Voucher {
    /// Nobody's is needed.
    Nobody,
    /// The system's roots', and those in the settings' `client_ca`.
    Usual(Option<PathBuf>),
    /// Those in this file, and no others.
    Own(PathBuf),
}

/// How we show who we are: PEM, as in [`HopServer`](crate::policy::table::HopServer).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: Option<PathBuf>,
}

impl Identity {
    fn key(&self) -> &Path {
        self.key.as_ref().unwrap_or(&self.certificate)
    }
}

impl Outgoing {
    /// Every file that it rests on.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let vouching = match &self.voucher {
            Voucher::Nobody | Voucher::Usual(None) => None,
            Voucher::Usual(Some(file)) | Voucher::Own(file) => Some(file.as_path()),
        };
        let identity = self.identity.as_ref();
        let certificate = identity.map(|it| it.certificate.as_path());
        let key = identity.and_then(|it| it.key.as_deref());
        vouching.into_iter().chain(certificate).chain(key)
    }

    /// Reads the files.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsFault> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsFault::new(Path::new("TLS"), cause))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.judge()?));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    certificates(&identity.certificate)?,
                    private_key(identity.key())?,
                )
                .map_err(|cause| mismatch(&identity.certificate, identity.key(), &cause))?,
        };
        Ok(Arc::new(config))
    }

    fn judge(&self) -> Result<Judge, TlsFault> {
        let vouching = match &self.voucher {
            Voucher::Nobody => None,
            Voucher::Usual(client_ca) => Some((
                usual_authorities(client_ca.as_deref())?,
                client_ca.as_deref(),
            )),
            Voucher::Own(file) => Some((authorities(file)?, Some(file.as_path()))),
        };
        Ok(Judge {
            authorities: vouching
                .map(|(roots, file)| believing(roots, file))
                .transpose()?,
            pin: self.pin,
            provider: provider(),
        })
    }
}

fn usual_authorities(client_ca: Option<&Path>) -> Result<RootCertStore, TlsFault> {
    let mut roots = match client_ca {
        Some(file) => authorities(file)?,
        None => RootCertStore::empty(),
    };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(roots)
}

/// `None` where there is no authority at all: then nobody can be believed.
fn believing(roots: RootCertStore, file: Option<&Path>) -> Result<Authorities, TlsFault> {
    if roots.is_empty() {
        return Ok(Authorities(None));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map(|verifier| Authorities(Some(verifier)))
        .map_err(|cause| TlsFault::new(file.unwrap_or(Path::new("TLS")), cause))
}

/// Those whose signatures are believed; `None` where there are none on this machine.
#[derive(Debug)]
struct Authorities(Option<Arc<WebPkiServerVerifier>>);

/// Takes the certificate that is pinned and vouched for, as far as either is asked for; and never a
/// handshake that its key did not sign.
#[derive(Debug)]
struct Judge {
    authorities: Option<Authorities>,
    pin: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    fn check_pin(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let shown: [u8; 32] = Sha256::digest(certificate).into();
        match self.pin {
            Some(pin) if pin != shown => {
                let shown: String = shown.iter().map(|octet| format!("{octet:02x}")).collect();
                let words = format!("the certificate is not the pinned one, but sha256:{shown}");
                Err(rustls::Error::General(words))
            }
            _ => Ok(()),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check_pin(certificate)?;
        match &self.authorities {
            None => Ok(ServerCertVerified::assertion()),
            Some(Authorities(Some(verifier))) => {
                verifier.verify_server_cert(certificate, others, name, ocsp, now)
            }
            Some(Authorities(None)) => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
