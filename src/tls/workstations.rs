//! Certificates of workstations: asked for, never demanded, and believed only when they verify.
//!
//! A certificate that is unknown, expired or from elsewhere proves nothing and breaks nothing, since
//! workstations carry certificates for other purposes too: the handshake goes on, and whoever asks
//! afterwards hears no names. That the client holds the key is always checked by the handshake.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

/// Lets every certificate pass the handshake, and says afterwards which names it proves.
#[derive(Debug)]
pub(super) struct Workstations {
    strict: Arc<dyn ClientCertVerifier>,
}

impl Workstations {
    /// `Err` says what is wrong with the authorities.
    pub(super) fn new(
        authorities: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, String> {
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .build()
            .map_err(|cause| cause.to_string())?;
        Ok(Arc::new(Self { strict }))
    }

    /// The DNS names that a client's certificates prove, in lower case; none if they do not verify.
    pub(super) fn names(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Vec<String> {
        match chain.split_first() {
            Some((own, others)) if self.strict.verify_client_cert(own, others, now).is_ok() => {
                dns_names(own)
            }
            _ => Vec::new(),
        }
    }
}

impl ClientCertVerifier for Workstations {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// The dNSName entries of the subjectAltName (RFC 5280 §4.2.1.6).
fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    webpki::EndEntityCert::try_from(certificate)
        .map(|it| it.valid_dns_names().map(str::to_ascii_lowercase).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn signed_by(
        authority: &CertifiedIssuer<'_, KeyPair>,
        names: &[&str],
    ) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names)
            .unwrap()
            .signed_by(&KeyPair::generate().unwrap(), authority)
            .unwrap()
            .der()
            .clone()
    }

    fn trusting(authority: &CertifiedIssuer<'_, KeyPair>) -> Arc<Workstations> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Workstations::new(roots, Arc::new(aws_lc_rs::default_provider())).unwrap()
    }

    #[test]
    fn believes_the_names_that_our_authority_signed() {
        let ours = authority();
        let workstations = trusting(&ours);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        for (names, proved) in [
            (
                &["WS1.a.nodnett.test", "10.0.0.1", "ws2.a.nodnett.test"][..],
                &["ws1.a.nodnett.test", "ws2.a.nodnett.test"][..],
            ),
            (&["10.0.0.1"], &[]),
            (&[], &[]),
        ] {
            let certificate = signed_by(&ours, names);
            assert_eq!(workstations.names(&[certificate], now), proved, "{names:?}");
        }
        assert!(workstations.names(&[], now).is_empty());
    }

    #[test]
    fn believes_nothing_else_but_lets_it_pass() {
        let (ours, theirs) = (authority(), authority());
        let workstations = trusting(&ours);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let foreign = signed_by(&theirs, &["ws1.a.nodnett.test"]);
        assert!(workstations.verify_client_cert(&foreign, &[], now).is_ok());
        assert!(workstations.names(&[foreign], now).is_empty());

        let in_time = signed_by(&ours, &["ws1.a.nodnett.test"]);
        let the_year_9000 = UnixTime::since_unix_epoch(Duration::from_secs(221_845_392_000));
        assert!(workstations.names(&[in_time], the_year_9000).is_empty());
        assert!(
            workstations
                .names(&[CertificateDer::from(vec![0x30])], now)
                .is_empty()
        );
    }
}
