//! `client_crl`: which certificates of workstations were revoked, as their authorities say.
//!
//! Decides which lists can be used at all, and whose each is. A list in the name of one of our
//! authorities that it has not signed is a stranger's, and a fault of the file. A list of anybody else
//! may be that of an authority in between, whose certificate only the clients bring: it counts where
//! such a one has signed it. A list that is overdue counts too, and is a doubt: that nobody has made
//! the next one in time must not silence a room.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::WebPkiSupportedAlgorithms;
use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::TlsFault;
use super::workstations::Authority;
use super::x509::{self, ListOutline};
use crate::mail::Timestamp;

/// One list that can be used.
#[derive(Debug)]
pub(super) struct List {
    outline: ListOutline,
    pub revoked: CertRevocationList<'static>,
    file: PathBuf,
}

impl List {
    fn read(file: &Path, der: &[u8]) -> Result<Self, TlsFault> {
        let fault = |cause: &str| TlsFault::new(file, format!("a revocation list {cause}"));
        let revoked = OwnedCertRevocationList::from_der(der).map_err(|it| fault(&words(&it)))?;
        Ok(Self {
            outline: x509::list(der).ok_or_else(|| fault("cannot be read"))?,
            revoked: revoked.into(),
            file: file.to_owned(),
        })
    }

    /// Whether it speaks in the name of whoever has this distinguished name.
    pub fn is_in_the_name_of(&self, subject: &[u8]) -> bool {
        self.outline.issuer == subject
    }

    /// Whether the holder of this key has signed it.
    pub fn is_signed_with(&self, key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let ListOutline {
            signed, signature, ..
        } = &self.outline;
        let mut algorithms = algorithms.all.iter();
        algorithms.any(|it| it.verify_signature(key, signed, signature).is_ok())
    }

    /// That the next one should be there already.
    pub fn doubt(&self, now: Timestamp) -> Option<String> {
        let next_at = self.outline.next_at.filter(|it| *it < now)?;
        Some(format!(
            "{}: the revocation list of {} should have been replaced by {next_at}; it is used until a newer one is there",
            self.file.display(),
            self.outline.name,
        ))
    }

    /// That nobody whom we know has made it.
    pub fn is_unknown(&self) -> String {
        format!(
            "{}: the revocation list of {} is of none of the authorities in client_ca; it counts for certificates that come with that one's certificate",
            self.file.display(),
            self.outline.name,
        )
    }
}

/// Every list in these files, the newest first.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<List>, TlsFault> {
    let mut lists = Vec::new();
    for file in files {
        for der in encoded(file)? {
            lists.push(List::read(file, &der)?);
        }
    }
    lists.sort_by_key(|it| std::cmp::Reverse(it.outline.made_at));
    Ok(lists)
}

/// No list may speak in the name of an authority that has not signed it.
pub(super) fn expose_strangers(
    lists: &[List],
    authorities: &[Authority],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), TlsFault> {
    for list in lists {
        let of_that_name = || authorities.iter().filter(|it| it.is_in_the_name_of(list));
        if of_that_name().count() > 0 && !of_that_name().any(|it| it.has_signed(list, algorithms)) {
            let name = &list.outline.name;
            let cause = format!("a revocation list in the name of {name} is not signed by it");
            return Err(TlsFault::new(&list.file, cause));
        }
    }
    Ok(())
}

/// The lists in a file, which is PEM, or one list in DER.
fn encoded(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    let content = fs::read(file).map_err(|cause| TlsFault::new(file, cause))?;
    if content.first() == Some(&0x30) {
        return Ok(vec![content.into()]);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|cause| TlsFault::new(file, cause))?;
    match lists.is_empty() {
        true => Err(TlsFault::new(file, "has no revocation list in it")),
        false => Ok(lists),
    }
}

/// Reads on after "a revocation list".
fn words(error: &webpki::Error) -> String {
    use webpki::Error;
    match error {
        Error::UnsupportedCrlVersion => {
            "is of version 1; make it of version 2, with a crlNumber (openssl: crl_extensions)"
                .to_owned()
        }
        Error::UnsupportedDeltaCrl => {
            "says only what has changed; put the whole one here".to_owned()
        }
        Error::UnsupportedIndirectCrl => {
            "speaks for other authorities than its own; put one of each authority here".to_owned()
        }
        other => format!("cannot be read: {other:?}"),
    }
}
