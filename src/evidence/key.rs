//! The relay's key for its log: Ed25519 (RFC 8032). The crate `aws-lc-rs` lives here, which TLS uses too.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::hash::{Digest, Hasher, in_hex, octets};

/// What heads are signed with. Made of 32 octets that nobody can guess.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// `None`: no key can be made of these.
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// As its file has it: 64 digits of lower-case hex.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "there is no key in it: 64 digits of lower-case hex";
        let seed = octets(text.trim()).map_err(|_| wrong)?;
        Self::from_seed(&seed).ok_or(wrong)
    }

    pub fn public(&self) -> PublicKey {
        let octets = self.0.public_key().as_ref().try_into();
        PublicKey(octets.unwrap_or_default())
    }

    pub(super) fn sign(&self, digest: Digest) -> Signature {
        let octets = self.0.sign(&digest.0);
        Signature(octets.as_ref().try_into().unwrap_or([0; 64]))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

/// What signatures are checked with. Written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Short enough to be read out: four groups of four.
    pub fn id(&self) -> String {
        let digits = Hasher::of("ilbud key").and(&self.0).end().to_string();
        let groups = digits.as_bytes().chunks(4).take(4);
        let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
        groups.join("-")
    }

    pub(super) fn verifies(&self, digest: Digest, signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(&digest.0, &signature.0).is_ok()
    }
}

in_hex!(PublicKey);

/// Written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Of what is not signed yet.
    pub(super) const NONE: Self = Self([0; 64]);
}

in_hex!(Signature);
