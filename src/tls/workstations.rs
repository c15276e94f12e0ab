//! Certificates of workstations: asked for, never demanded, and believed only when they verify.
//!
//! A certificate that is unknown, expired, revoked or from elsewhere proves nothing and breaks nothing,
//! since workstations carry certificates for other purposes too: the handshake goes on, whatever it is,
//! and whoever asks afterwards hears why it proves nothing. That the client holds the key is checked in
//! the handshake and remembered with its certificate, which without that proves nothing either. What
//! was revoked is asked of every list that its authority, or one in between, has signed; an authority
//! without a list revokes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::revocation::List;
use super::x509::{self, Outline};
use crate::mail::{Certificate, Doubt, Timestamp};

/// Certificates that come with a client's: those between it and its authority. With more of them
/// nothing is proved, so that a list of one of them cannot be hidden behind the others.
const MOST_BETWEEN: usize = 16;
/// With more of them there is no handshake: the TLS library keeps each for as long as the connection
/// lasts, however small.
const MOST_SHOWN: usize = 100;
/// Octets of a client's certificates that are kept, to look at them again, though they prove nothing.
const MOST_KEPT: usize = 8 * 1024;
/// Moments that a certificate out of time is looked at in, to find whose it is.
const MOST_LOOKS: usize = 4;

/// A trust anchor of workstations.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    anchor: TrustAnchor<'static>,
    hint: DistinguishedName,
    outline: Option<Outline>,
}

impl Authority {
    /// `Err` says what is wrong with it.
    pub(super) fn new(certificate: &CertificateDer<'static>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate.clone())
            .map_err(|it| it.to_string())?;
        let hint = roots.subjects().pop();
        let anchor = roots.roots.pop();
        let (hint, anchor) = hint.zip(anchor).ok_or("is no authority")?;
        Ok(Self {
            anchor,
            hint,
            outline: x509::certificate(certificate),
        })
    }

    pub(super) fn is_in_the_name_of(&self, list: &List) -> bool {
        let outline = self.outline.as_ref();
        outline.is_some_and(|it| list.is_in_the_name_of(&it.subject))
    }

    pub(super) fn has_signed(&self, list: &List, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        has_signed(self.outline.as_ref(), list, algorithms)
    }

    fn name(&self) -> &str {
        self.outline
            .as_ref()
            .map_or("without a name", |it| &it.name)
    }
}

fn has_signed(
    issuer: Option<&Outline>,
    list: &List,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    issuer.is_some_and(|it| {
        list.is_in_the_name_of(&it.subject) && list.is_signed_with(&it.key, algorithms)
    })
}

/// Who vouches for workstations, and what they have revoked.
#[derive(Debug)]
pub(super) struct Workstations {
    authorities: Vec<(Authority, Vec<Arc<List>>)>,
    /// Lists of nobody whom we know by itself.
    others: Vec<Arc<List>>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether there is a `client_crl` at all.
    is_revocable: bool,
}

impl Workstations {
    pub(super) fn new(
        authorities: &[Authority],
        lists: &[Arc<List>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let is_strange =
            |list: &&Arc<List>| !authorities.iter().any(|it| it.is_in_the_name_of(list));
        let with_lists = authorities.iter().map(|authority| {
            let own = lists
                .iter()
                .filter(|it| authority.has_signed(it, &algorithms));
            (authority.clone(), own.cloned().collect())
        });
        Self {
            authorities: with_lists.collect(),
            others: lists.iter().filter(is_strange).cloned().collect(),
            hints: authorities.iter().map(|it| it.hint.clone()).collect(),
            algorithms,
            is_revocable: !lists.is_empty(),
        }
    }

    /// What people should look after, though it breaks nothing.
    pub(super) fn doubts(&self, now: Timestamp) -> Vec<String> {
        let mut doubts = Vec::new();
        for (authority, own) in &self.authorities {
            if self.is_revocable && own.is_empty() {
                doubts.push(format!(
                    "client_crl has no revocation list of the authority {}: nothing that it signed can be revoked",
                    authority.name()
                ));
            }
            let outline = authority.outline.as_ref();
            if let Some(it) = outline.filter(|it| it.not_after < now) {
                doubts.push(format!(
                    "client_ca: the authority {} expired at {}; what it signed is still believed",
                    it.name, it.not_after
                ));
            }
            // Only the newest counts.
            doubts.extend(own.first().and_then(|it| it.doubt(now)));
        }
        for list in &self.others {
            doubts.push(list.is_unknown());
            doubts.extend(list.doubt(now));
        }
        doubts
    }

    /// What a client's certificates come to.
    pub(super) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        holds_key: bool,
        now: Timestamp,
    ) -> Certificate {
        let Some((own, others)) = chain.split_first() else {
            return Certificate::new([], None, Some(Doubt::Unreadable));
        };
        let not_after = x509::certificate(own).map(|it| it.not_after);
        let doubt = match EndEntityCert::try_from(own) {
            Err(_) => Some(Doubt::Unreadable),
            // Anybody can show what everybody may see; no more work is done for it.
            Ok(_) if !holds_key => Some(Doubt::KeyUnproved),
            Ok(own) => self.verify(&own, others, now).err(),
        };
        let own = EndEntityCert::try_from(own).ok();
        let mut names = own.iter().flat_map(dns_names).peekable();
        let nameless = names.peek().is_none().then_some(Doubt::Nameless);
        Certificate::new(names, not_after, doubt.or(nameless))
    }

    fn verify(
        &self,
        own: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Doubt> {
        if others.len() > MOST_BETWEEN {
            let count = others.len();
            return Err(Doubt::Unfit(format!("{count} others come with it")));
        }
        let between = self.lists_between(others);
        let mut answer = Err(Doubt::UnknownAuthority);
        for (authority, lists) in &self.authorities {
            let lists: Vec<_> = lists.iter().chain(&between).map(|it| &it.revoked).collect();
            match self.verify_in_time(authority, &lists, own, others, now) {
                // Whoever else vouches for it.
                Err(Doubt::Revoked) => return Err(Doubt::Revoked),
                Ok(()) => answer = Ok(()),
                Err(doubt) if answer == Err(Doubt::UnknownAuthority) => answer = Err(doubt),
                Err(_) => {}
            }
        }
        answer
    }

    /// That it is out of time is said of a certificate before anybody has looked who signed it. Then it
    /// is looked at as it was in its time: a stranger's is a stranger's, and one that was revoked is that.
    fn verify_in_time(
        &self,
        authority: &Authority,
        lists: &[&CertRevocationList<'_>],
        own: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Doubt> {
        let first = self.verify_under(authority, lists, own, others, now);
        let mut found = first.clone();
        for _ in 0..MOST_LOOKS {
            let then = match found {
                Err(Doubt::Expired(then) | Doubt::NotYetValid(then)) => then,
                Ok(()) => return first,
                Err(doubt) => return Err(doubt),
            };
            found = self.verify_under(authority, lists, own, others, then);
        }
        Err(Doubt::UnknownAuthority)
    }

    fn verify_under(
        &self,
        authority: &Authority,
        lists: &[&CertRevocationList<'_>],
        own: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Doubt> {
        let revocation = RevocationOptionsBuilder::new(lists)
            .ok()
            .map(|it| it.with_status_policy(UnknownStatusPolicy::Allow).build());
        let anchors = std::slice::from_ref(&authority.anchor);
        let usage = KeyUsage::client_auth();
        own.verify_for_usage(
            self.algorithms.all,
            anchors,
            others,
            unix(now),
            usage,
            revocation,
            None,
        )
        .map(drop)
        .map_err(|error| doubt(&error))
    }

    /// Lists that authorities in between have signed.
    fn lists_between(&self, others: &[CertificateDer<'_>]) -> Vec<Arc<List>> {
        if self.others.is_empty() {
            return Vec::new();
        }
        let between = others.iter().filter_map(|it| x509::certificate(it));
        let between: Vec<_> = between.collect();
        let is_signed = |list: &&Arc<List>| {
            let mut signers = between.iter();
            signers.any(|it| has_signed(Some(it), list, &self.algorithms))
        };
        self.others.iter().filter(is_signed).cloned().collect()
    }
}

/// Whether these may come to something else while the session lasts, and are not too much to be kept
/// until then.
pub(super) fn is_worth_keeping(chain: &[CertificateDer<'_>], comes_to: &Certificate) -> bool {
    match comes_to.doubt() {
        None => true,
        // Whatever is vouched for or revoked.
        Some(Doubt::KeyUnproved | Doubt::Unreadable) => false,
        Some(_) => {
            let octets: usize = chain.iter().map(|it| it.len()).sum();
            chain.len() <= 1 + MOST_BETWEEN && octets <= MOST_KEPT
        }
    }
}

/// From when until when certificates come to the same by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Span {
    pub(super) fn around(now: Timestamp, chain: &[CertificateDer<'_>]) -> Self {
        let outlines = chain.iter().filter_map(|it| x509::certificate(it));
        // The last second is valid to its end.
        let after = |it: Timestamp| it.after(Duration::from_secs(1));
        let moments = outlines.flat_map(|it| [it.not_before, after(it.not_after)]);
        let (past, future): (Vec<_>, Vec<_>) = moments.partition(|it| *it <= now);
        Self {
            from: past.into_iter().max(),
            until: future.into_iter().min(),
        }
    }

    pub(super) fn holds(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|it| it <= now) && self.until.is_none_or(|it| now < it)
    }
}

fn unix(moment: Timestamp) -> UnixTime {
    let millis = u64::try_from(moment.as_millis()).unwrap_or_default();
    UnixTime::since_unix_epoch(Duration::from_millis(millis))
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::default().after(Duration::from_secs(time.as_secs()))
}

fn doubt(error: &webpki::Error) -> Doubt {
    use webpki::Error;
    match error {
        Error::CertExpired { not_after, .. } => Doubt::Expired(timestamp(*not_after)),
        Error::CertNotValidYet { not_before, .. } => Doubt::NotYetValid(timestamp(*not_before)),
        Error::CertRevoked => Doubt::Revoked,
        // Signed by another of the same name.
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Doubt::UnknownAuthority,
        Error::RequiredEkuNotFoundContext(_) => Doubt::NotForClients,
        other => Doubt::Unfit(words(other)),
    }
}

/// What else may speak against a certificate.
fn words(error: &webpki::Error) -> String {
    use webpki::Error;
    let words = match error {
        Error::CaUsedAsEndEntity => "it is that of an authority",
        Error::EndEntityUsedAsCa => "one that is no authority's has signed it",
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            "too many authorities stand above it"
        }
        Error::NameConstraintViolation => "its authority may not vouch for names such as these",
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "its signature is of a kind that is not used here"
        }
        Error::UnsupportedCriticalExtension => "it says something critical that is not known here",
        Error::IssuerNotCrlSigner => "its authority has signed a revocation list, and may not",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

/// One handshake: every certificate passes it, and whether the client holds the key is remembered.
#[derive(Debug)]
pub(super) struct Witness {
    workstations: Arc<Workstations>,
    holds_key: AtomicBool,
}

impl Witness {
    pub(super) fn new(workstations: Arc<Workstations>) -> Self {
        Self {
            workstations,
            holds_key: AtomicBool::new(false),
        }
    }

    pub(super) const fn workstations(&self) -> &Arc<Workstations> {
        &self.workstations
    }

    /// Whether the client has shown that it holds the key of the certificate that it has shown.
    pub(super) fn holds_key(&self) -> bool {
        self.holds_key.load(Ordering::Acquire)
    }

    /// A key of a kind that we cannot check breaks nothing either.
    fn note(&self, verified: &Result<HandshakeSignatureValid, Error>) -> HandshakeSignatureValid {
        if let Err(cause) = verified {
            tracing::debug!(%cause, "a client has not shown that it holds the key of its certificate");
        }
        self.holds_key.store(verified.is_ok(), Ordering::Release);
        HandshakeSignatureValid::assertion()
    }
}

impl ClientCertVerifier for Witness {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.workstations.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match others.len() > MOST_SHOWN {
            true => Err(Error::General("too many certificates".to_owned())),
            false => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.workstations.algorithms;
        Ok(self.note(&verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.workstations.algorithms;
        Ok(self.note(&verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.workstations.algorithms.supported_schemes()
    }
}

/// The dNSName entries of the subjectAltName (RFC 5280 §4.2.1.6); at most 253 octets each.
fn dns_names<'a>(certificate: &EndEntityCert<'a>) -> impl Iterator<Item = String> + use<'a> {
    certificate.valid_dns_names().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
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

    fn trusting(authority: &CertifiedIssuer<'_, KeyPair>) -> Workstations {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let authority = Authority::new(authority.der()).unwrap();
        Workstations::new(&[authority], &[], algorithms)
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn believes_the_names_that_our_authority_signed() {
        let ours = authority();
        let workstations = trusting(&ours);
        for (names, proved) in [
            (
                &["WS1.a.nodnett.test", "10.0.0.1", "ws2.a.nodnett.test"][..],
                &["ws1.a.nodnett.test", "ws2.a.nodnett.test"][..],
            ),
            (&["10.0.0.1"], &[]),
            (&[], &[]),
        ] {
            let certificate = workstations.judge(&[signed_by(&ours, names)], true, NOW);
            assert_eq!(certificate.names(), proved, "{names:?}");
            let doubt = proved.is_empty().then_some(&Doubt::Nameless);
            assert_eq!(certificate.doubt(), doubt, "{names:?}");
            // rcgen's own default.
            let the_year_4096 = "4096-01-01T00:00:00Z".parse().ok();
            assert_eq!(certificate.not_after(), the_year_4096);
        }
    }

    /// 20,000 names fit into a handshake, and each costs memory for as long as the connection lasts.
    #[test]
    fn of_a_certificate_that_proves_nothing_few_names_are_kept() {
        let (ours, theirs) = (authority(), authority());
        let names = vec!["a.test"; 2_000];
        let workstations = trusting(&ours);
        for (signer, holds_key) in [(&theirs, true), (&ours, false)] {
            let judged = workstations.judge(&[signed_by(signer, &names)], holds_key, NOW);
            assert!(judged.doubt().is_some());
            assert!(judged.claims().len() <= 8, "{}", judged.claims().len());
            assert_eq!(judged.to_string(), "a.test and 1999 others");
        }
        // Whoever our authority has given many names has them all.
        let judged = workstations.judge(&[signed_by(&ours, &names)], true, NOW);
        assert_eq!(judged.names().len(), 2_000);
    }

    #[test]
    fn of_certificates_that_prove_nothing_little_is_kept() {
        let (ours, theirs) = (authority(), authority());
        let (few, many) = (vec!["a.test"; 10], vec!["a.test"; 2_000]);
        let unreadable = CertificateDer::from(vec![0x30]);
        for (chain, holds_key, is_kept) in [
            (vec![signed_by(&ours, &few)], true, true),
            (vec![signed_by(&ours, &many)], true, true),
            (vec![signed_by(&ours, &few)], false, false),
            (vec![signed_by(&theirs, &few)], true, true),
            (vec![signed_by(&theirs, &many)], true, false),
            (vec![signed_by(&theirs, &few); 18], true, false),
            (vec![unreadable], true, false),
        ] {
            let judged = trusting(&ours).judge(&chain, holds_key, NOW);
            assert_eq!(is_worth_keeping(&chain, &judged), is_kept, "{judged:?}");
        }
    }

    #[test]
    fn a_handshake_with_very_many_certificates_fails() {
        let ours = authority();
        let witness = Witness::new(Arc::new(trusting(&ours)));
        let own = signed_by(&ours, &["ws1.a.nodnett.test"]);
        let time = unix(NOW);
        for (count, passes) in [(0, true), (100, true), (101, false)] {
            let others = vec![CertificateDer::from(Vec::new()); count];
            let verified = witness.verify_client_cert(&own, &others, time);
            assert_eq!(verified.is_ok(), passes, "{count}");
        }
    }

    #[test]
    fn what_a_stranger_shows_out_of_time_is_still_a_stranger_s() {
        let (ours, theirs) = (authority(), authority());
        let foreign = signed_by(&theirs, &["ws1.a.nodnett.test"]);
        for now in [
            Timestamp::default(),
            Timestamp::from_millis(221_845_392_000_000),
        ] {
            let judged = trusting(&ours).judge(std::slice::from_ref(&foreign), true, now);
            assert_eq!(judged.doubt(), Some(&Doubt::UnknownAuthority), "{now}");
        }
    }

    #[test]
    fn believes_nothing_else_and_says_why() {
        let (ours, theirs) = (authority(), authority());
        let workstations = trusting(&ours);
        let names = ["ws1.a.nodnett.test"];
        let foreign = signed_by(&theirs, &names);
        let own = signed_by(&ours, &names);
        let the_year_9000 = Timestamp::from_millis(221_845_392_000_000);
        let malformed = CertificateDer::from(vec![0x30]);
        for (certificate, holds_key, now, doubt) in [
            (foreign, true, NOW, Doubt::UnknownAuthority),
            (own.clone(), false, NOW, Doubt::KeyUnproved),
            (
                own.clone(),
                true,
                the_year_9000,
                Doubt::Expired("4096-01-01T00:00:00Z".parse().unwrap()),
            ),
            (
                own,
                true,
                Timestamp::default(),
                Doubt::NotYetValid("1975-01-01T00:00:00Z".parse().unwrap()),
            ),
            (malformed, true, NOW, Doubt::Unreadable),
        ] {
            let judged = workstations.judge(&[certificate], holds_key, now);
            assert!(judged.names().is_empty(), "{doubt:?}");
            assert_eq!(judged.doubt(), Some(&doubt));
        }
        let nothing = workstations.judge(&[], true, NOW);
        assert_eq!(nothing.doubt(), Some(&Doubt::Unreadable));
    }

    #[test]
    fn an_octet_that_was_changed_proves_nothing() {
        let ours = authority();
        let workstations = trusting(&ours);
        let sound = signed_by(&ours, &["ws1.a.nodnett.test"]);
        for at in 0..sound.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = sound.to_vec();
                changed[at] ^= change;
                let judged = workstations.judge(&[changed.into()], true, NOW);
                assert!(judged.names().is_empty(), "{at} {change}: {judged:?}");
            }
            let cut = CertificateDer::from(sound[..at].to_vec());
            assert!(workstations.judge(&[cut], true, NOW).names().is_empty());
        }
    }

    #[test]
    fn a_span_reaches_to_the_nearest_bounds_of_any_of_them() {
        let dated = |from: i32, until: i32| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let unreadable = CertificateDer::from(vec![0x30]);
        let chain = [dated(2020, 2040), unreadable, dated(2030, 2035)];
        let bounds = [
            "2020-01-01T00:00:00Z",
            "2030-01-01T00:00:00Z",
            "2035-01-01T00:00:01Z",
            "2040-01-01T00:00:01Z",
        ];
        let bounds: Vec<Timestamp> = bounds.iter().map(|it| it.parse().unwrap()).collect();
        for (now, from, until) in [
            ("2010-01-01T00:00:00Z", None, Some(0)),
            ("2025-01-01T00:00:00Z", Some(0), Some(1)),
            ("2030-01-01T00:00:00Z", Some(1), Some(2)),
            ("2035-01-01T00:00:01Z", Some(2), Some(3)),
            ("2050-01-01T00:00:00Z", Some(3), None),
        ] {
            let [from, until] = [from, until].map(|it: Option<usize>| it.map(|at| bounds[at]));
            let now = now.parse().unwrap();
            let span = Span::around(now, &chain);
            assert_eq!(span, Span { from, until }, "{now}");
            assert!(span.holds(now));
            assert!(until.is_none_or(|it| !span.holds(it)), "set forward");
            assert!(from.is_none_or(|it| span.holds(it)));
            let before = from.map(|it| Timestamp::from_millis(it.as_millis() - 1));
            assert!(before.is_none_or(|it| !span.holds(it)), "set back");
        }
    }
}
