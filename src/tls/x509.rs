//! What certificates and revocation lists say of themselves: who, by whom, from when until when.
//!
//! Reads and believes: nothing here is verified, and nothing that is decided about a client may rest on
//! it alone. The crate `x509-parser` lives here and nowhere else. What cannot be read is `None`.

use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};

use crate::mail::Timestamp;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    /// The distinguished name, for people.
    pub name: String,
    /// The same, as it is encoded.
    pub subject: Vec<u8>,
    /// The public key's bits, without its kind.
    pub key: Vec<u8>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

pub(super) fn certificate(der: &[u8]) -> Option<Outline> {
    let (_, it) = X509Certificate::from_der(der).ok()?;
    Some(Outline {
        name: it.subject().to_string(),
        subject: it.subject().as_raw().to_vec(),
        key: it.public_key().subject_public_key.data.to_vec(),
        not_before: moment(it.validity().not_before),
        not_after: moment(it.validity().not_after),
    })
}

/// A certificate revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListOutline {
    /// The distinguished name, for people.
    pub name: String,
    /// The same, as it is encoded.
    pub issuer: Vec<u8>,
    /// With extensions, as it must be today; those of version 1 have none.
    pub is_version_2: bool,
    pub made_at: Timestamp,
    /// By when the next one is to be there.
    pub next_at: Option<Timestamp>,
    /// What is signed, and the signature.
    pub signed: Vec<u8>,
    pub signature: Vec<u8>,
}

pub(super) fn list(der: &[u8]) -> Option<ListOutline> {
    let (_, it) = CertificateRevocationList::from_der(der).ok()?;
    Some(ListOutline {
        name: it.issuer().to_string(),
        issuer: it.issuer().as_raw().to_vec(),
        is_version_2: it.version().is_some(),
        made_at: moment(it.last_update()),
        next_at: it.next_update().map(moment),
        signed: it.tbs_cert_list.as_ref().to_vec(),
        signature: it.signature_value.data.to_vec(),
    })
}

fn moment(time: ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1000))
}
