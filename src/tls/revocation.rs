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
        let outline = x509::list(der).ok_or_else(|| fault("cannot be read"))?;
        if !outline.is_version_2 {
            return Err(fault(
                "is of version 1; make one of version 2, with a crlNumber (openssl: crl_extensions)",
            ));
        }
        if outline.next_at.is_none() {
            return Err(fault("does not say when the next one is due (nextUpdate)"));
        }
        let revoked = OwnedCertRevocationList::from_der(der).map_err(|it| fault(&words(&it)))?;
        Ok(Self {
            outline,
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
        Error::UnsupportedDeltaCrl => {
            "says only what has changed; put the whole one here".to_owned()
        }
        Error::UnsupportedIndirectCrl => {
            "speaks for other authorities than its own; put one of each authority here".to_owned()
        }
        other => format!("cannot be read: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
        date_time_ymd,
    };
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::CertificateDer;

    use super::super::workstations::Workstations;
    use super::*;
    use crate::mail::Doubt;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const INTERMEDIATE: u64 = 70;
    const WORKSTATION: u64 = 71;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn algorithms() -> WebPkiSupportedAlgorithms {
        aws_lc_rs::default_provider().signature_verification_algorithms
    }

    fn authority_params(name: &str, serial: u64) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params
    }

    fn root(name: &str) -> Issuer {
        Issuer::self_signed(authority_params(name, 1), KeyPair::generate().unwrap()).unwrap()
    }

    fn below(root: &Issuer, name: &str) -> Issuer {
        let params = authority_params(name, INTERMEDIATE);
        Issuer::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
    }

    fn workstation(issuer: &Issuer) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["ws1.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(WORKSTATION));
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, issuer).unwrap().der().clone()
    }

    /// In DER; made and due in January of these years.
    fn made_by(issuer: &Issuer, revoked: &[u64], (made, due): (i32, i32)) -> Vec<u8> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(made, 1, 1),
            next_update: date_time_ymd(due, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().der().to_vec()
    }

    const IN_TIME: (i32, i32) = (2026, 2040);

    fn list(der: &[u8]) -> List {
        List::read(Path::new("a.crl"), der).unwrap()
    }

    fn workstations(roots: &[&Issuer], lists: Vec<List>) -> Workstations {
        let authorities = roots.iter().map(|it| Authority::new(it.der()).unwrap());
        let authorities: Vec<_> = authorities.collect();
        let lists: Vec<_> = lists.into_iter().map(Arc::new).collect();
        Workstations::new(&authorities, &lists, algorithms())
    }

    #[test]
    fn each_authority_revokes_what_it_has_signed_and_nobody_else() {
        let (top, stranger) = (root("Root"), root("Stranger"));
        let middle = below(&top, "Middle");
        let impostor = below(&stranger, "Middle");
        let directly = vec![workstation(&top)];
        let through = vec![workstation(&middle), middle.der().clone()];
        let both = [INTERMEDIATE, WORKSTATION];
        for (what, list_of, directly_revoked, through_revoked) in [
            ("no list", None, false, false),
            ("nothing", Some((&top, &[][..])), false, false),
            ("another serial", Some((&top, &[7][..])), false, false),
            ("by the root", Some((&top, &[WORKSTATION][..])), true, false),
            (
                "the one between",
                Some((&top, &[INTERMEDIATE][..])),
                false,
                true,
            ),
            (
                "by the one between",
                Some((&middle, &both[..])),
                false,
                true,
            ),
            ("by a stranger", Some((&stranger, &both[..])), false, false),
            (
                "in the name of the one between",
                Some((&impostor, &both[..])),
                false,
                false,
            ),
        ] {
            let lists = list_of.map(|(by, serials)| list(&made_by(by, serials, IN_TIME)));
            let workstations = workstations(&[&top], lists.into_iter().collect());
            for (chain, is_revoked) in [(&directly, directly_revoked), (&through, through_revoked)]
            {
                let judged = workstations.judge(chain, true, NOW);
                let doubt = is_revoked.then_some(&Doubt::Revoked);
                assert_eq!(
                    judged.doubt(),
                    doubt,
                    "{what}, {} certificates",
                    chain.len()
                );
            }
        }
    }

    #[test]
    fn a_list_of_one_between_cannot_be_hidden_behind_others() {
        let top = root("Root");
        let middle = below(&top, "Middle");
        let lists = vec![list(&made_by(&middle, &[WORKSTATION], IN_TIME))];
        let workstations = workstations(&[&top], lists);
        for others in [0, 3, 15, 16, 60] {
            let mut chain = vec![workstation(&middle)];
            chain.extend((0..others).map(|_| top.der().clone()));
            chain.push(middle.der().clone());
            let judged = workstations.judge(&chain, true, NOW);
            assert!(judged.names().is_empty(), "{others}");
        }
    }

    #[test]
    fn authorities_of_one_name_are_told_apart_by_their_keys() {
        let (old, new) = (root("Root"), root("Root"));
        let lists = || {
            vec![
                list(&made_by(&new, &[], (2026, 2040))),
                list(&made_by(&old, &[WORKSTATION], (2025, 2040))),
            ]
        };
        let both = workstations(&[&old, &new], lists());
        let of_old = both.judge(&[workstation(&old)], true, NOW);
        let of_new = both.judge(&[workstation(&new)], true, NOW);
        assert_eq!(
            (of_old.doubt(), of_new.doubt()),
            (Some(&Doubt::Revoked), None)
        );
        assert!(both.doubts(NOW).is_empty(), "{:?}", both.doubts(NOW));

        // A list in the name of somebody else is never taken for theirs.
        let only_new = workstations(&[&new], lists());
        assert_eq!(
            only_new.judge(&[workstation(&new)], true, NOW).doubt(),
            None
        );
        let authorities = [Authority::new(new.der()).unwrap()];
        let fault = expose_strangers(&lists(), &authorities, &algorithms()).unwrap_err();
        assert!(
            fault.to_string().ends_with("is not signed by it"),
            "{fault}"
        );
        let authorities = [&old, &new].map(|it| Authority::new(it.der()).unwrap());
        expose_strangers(&lists(), &authorities, &algorithms()).unwrap();
    }

    #[test]
    fn what_needs_a_person_is_said_and_changes_nothing() {
        let (top, other) = (root("Root"), root("Other"));
        let overdue = list(&made_by(&top, &[WORKSTATION], (2020, 2021)));
        let strange = list(&made_by(&root("Stranger"), &[], IN_TIME));
        let workstations = workstations(&[&top, &other], vec![overdue, strange]);
        let judged = workstations.judge(&[workstation(&top)], true, NOW);
        assert_eq!(judged.doubt(), Some(&Doubt::Revoked));
        assert_eq!(
            workstations
                .judge(&[workstation(&other)], true, NOW)
                .doubt(),
            None
        );
        let doubts = workstations.doubts(NOW);
        let [overdue, without, strange] = &doubts[..] else {
            unreachable!("{doubts:?}")
        };
        assert!(
            overdue.contains("should have been replaced by 2021-01-01"),
            "{overdue}"
        );
        assert!(
            without.contains("no revocation list of the authority"),
            "{without}"
        );
        assert!(
            strange.contains("is of none of the authorities in client_ca"),
            "{strange}"
        );
    }

    #[test]
    fn a_list_that_was_changed_is_nobody_s() {
        let top = root("Root");
        let sound = made_by(&top, &[WORKSTATION], IN_TIME);
        let authority = Authority::new(top.der()).unwrap();
        assert!(authority.has_signed(&list(&sound), &algorithms()));
        for at in 0..sound.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = sound.clone();
                changed[at] ^= change;
                if let Ok(list) = List::read(Path::new("a.crl"), &changed) {
                    let is_signed = authority.has_signed(&list, &algorithms());
                    assert!(!is_signed, "{at} {change}");
                }
            }
            assert!(List::read(Path::new("a.crl"), &sound[..at]).is_err());
        }
    }
}
