//! Users of workstations: their names, and what is kept in the place of their passwords.
//!
//! A password is never kept. Two things are made of it, one for each way in which it can be checked.
//! SCRAM (RFC 5802, RFC 7677) never shows it to us, so its salted keys must be there; whoever steals
//! the store can try passwords against them, and the number of [`ROUNDS`] is what each try costs.
//! PLAIN and LOGIN show it, so it is checked against argon2id, which makes a guess over the wire dear in
//! memory and not only in time, and which remains when SCRAM is no longer wanted. The keys could serve PLAIN
//! as well; then one number of rounds would have to suit both the workstation, which pays for it with SCRAM,
//! and us.
//!
//! An unknown user is checked like a known one, against verifiers made of a secret of the store: always
//! the same for one name, and never met. Names and passwords are prepared with SASLprep (RFC 4013), so
//! that they are the same however they are typed. Pure; salts and secrets are given. Nothing here shows a
//! password or a key, whichever way it is printed.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of SHA-256, and of everything that SCRAM-SHA-256 makes with it.
pub const KEY: usize = 32;
pub const SALT: usize = 16;
/// Rounds of PBKDF2 for SCRAM (RFC 7677 §4: at least 4096). Each login costs the workstation that many, a
/// twentieth of a second or so; it costs us nothing.
pub const ROUNDS: u32 = 100_000;
/// RFC 4616 §2 allows a name so many octets.
const LONGEST_NAME: usize = 255;
/// Characters that a new password has at least.
const SHORTEST: usize = 8;

/// A password as it was typed. Wiped when it is dropped, and never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn new(typed: String) -> Self {
        Self(Zeroizing::new(typed))
    }

    /// Whether both were typed the same.
    pub fn is_same(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    /// SASLprep; `None`: no password is written like this.
    fn prepared(&self) -> Option<Zeroizing<String>> {
        let prepared = stringprep::saslprep(&self.0).ok()?.into_owned();
        Some(Zeroizing::new(prepared))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordFault {
    Empty,
    Short,
    IsTheName,
    OneCharacter,
    Unfit,
}

impl fmt::Display for PasswordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty"),
            Self::Short => write!(
                f,
                "the password is too short: {SHORTEST} characters at least"
            ),
            Self::IsTheName => f.write_str("the password is too weak: it is the user's name"),
            Self::OneCharacter => f.write_str("the password is too weak: it is one character"),
            Self::Unfit => {
                f.write_str("the password has characters in it that cannot be typed everywhere")
            }
        }
    }
}

/// A user's name in the form in which names are compared; `None`: nobody is called so.
pub fn user_name(written: &str) -> Option<String> {
    let name = stringprep::saslprep(written).ok()?.into_owned();
    let is_sound = !name.is_empty() && name.len() <= LONGEST_NAME;
    is_sound.then_some(name)
}

/// What SCRAM-SHA-256 needs to know of a password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub salt: Vec<u8>,
    pub rounds: u32,
    pub stored: [u8; KEY],
    pub server: [u8; KEY],
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({} rounds)", self.rounds)
    }
}

impl ScramKeys {
    /// Of a prepared password. Takes a while.
    pub fn of(password: &[u8], salt: &[u8], rounds: u32) -> Self {
        let mut salted = Zeroizing::new([0; KEY]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, salted.as_mut());
        let client = Zeroizing::new(keyed(salted.as_ref(), &[b"Client Key"]));
        Self {
            salt: salt.to_owned(),
            rounds,
            stored: Sha256::digest(client.as_ref()).into(),
            server: keyed(salted.as_ref(), &[b"Server Key"]),
        }
    }

    /// Whether `proof` shows that the client knows the password, everything said being `dialogue`; if so,
    /// what shows that we know it.
    pub fn prove(&self, proof: &[u8], dialogue: &[u8]) -> Option<[u8; KEY]> {
        let mut client: [u8; KEY] = proof.try_into().ok()?;
        for (octet, other) in client.iter_mut().zip(keyed(&self.stored, &[dialogue])) {
            *octet ^= other;
        }
        let stored: [u8; KEY] = Sha256::digest(client).into();
        bool::from(stored.ct_eq(&self.stored)).then(|| keyed(&self.server, &[dialogue]))
    }
}

/// What argon2id (RFC 9106) made of a password, and with how much work.
#[derive(Clone, PartialEq, Eq)]
pub struct Argon2id {
    pub salt: Vec<u8>,
    pub kibibytes: u32,
    pub passes: u32,
    pub lanes: u32,
    pub hash: [u8; KEY],
}

impl fmt::Debug for Argon2id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Argon2id({} KiB, {} passes)",
            self.kibibytes, self.passes
        )
    }
}

impl Argon2id {
    /// The work of today, and nothing made with it yet.
    fn unmade(salt: &[u8]) -> Self {
        Self {
            salt: salt.to_owned(),
            kibibytes: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
            hash: [0; KEY],
        }
    }

    /// Takes a while, and the memory it says. `None`: numbers that argon2id does not know.
    fn hash(&self, password: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
        let work = Params::new(self.kibibytes, self.passes, self.lanes, Some(KEY)).ok()?;
        let mut hash = Zeroizing::new([0; KEY]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, work)
            .hash_password_into(password, &self.salt, hash.as_mut())
            .ok()?;
        Some(hash)
    }
}

/// All that is kept of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifiers {
    pub scram: ScramKeys,
    pub argon2id: Argon2id,
    /// Somebody's; otherwise they look so and nothing ever meets them.
    pub are_real: bool,
}

impl Verifiers {
    /// Of a new password for `user`, with two salts never used before. Takes a while.
    pub fn of(
        user: &str,
        password: &Password,
        salts: [[u8; SALT]; 2],
    ) -> Result<Self, PasswordFault> {
        Self::with_rounds(user, password, salts, ROUNDS)
    }

    /// The same with other work for SCRAM.
    pub fn with_rounds(
        user: &str,
        password: &Password,
        [scram, argon2id]: [[u8; SALT]; 2],
        rounds: u32,
    ) -> Result<Self, PasswordFault> {
        let prepared = fit(user, password)?;
        let mut argon2id = Argon2id::unmade(&argon2id);
        argon2id.hash = *argon2id
            .hash(prepared.as_bytes())
            .ok_or(PasswordFault::Unfit)?;
        Ok(Self {
            scram: ScramKeys::of(prepared.as_bytes(), &scram, rounds),
            argon2id,
            are_real: true,
        })
    }

    /// What a user who does not exist is checked against: as good as random, and always the same.
    pub fn of_nobody(user: &str, secret: &[u8]) -> Self {
        let made = |of: &[u8]| keyed(secret, &[of, b"\0", user.as_bytes()]);
        let salt = |of: &[u8]| made(of).into_iter().take(SALT).collect::<Vec<u8>>();
        Self {
            scram: ScramKeys {
                salt: salt(b"scram salt"),
                rounds: ROUNDS,
                stored: made(b"stored key"),
                server: made(b"server key"),
            },
            argon2id: Argon2id {
                hash: made(b"hash"),
                ..Argon2id::unmade(&salt(b"argon2id salt"))
            },
            are_real: false,
        }
    }

    /// Whether this is the password. Takes as long when it is not, or could not be.
    pub fn accept(&self, password: &Password) -> bool {
        let prepared = password.prepared();
        let octets = prepared.as_ref().map_or("", |it| it.as_str()).as_bytes();
        let made = self.argon2id.hash(octets);
        let is_same = made.is_some_and(|it| bool::from(it.ct_eq(&self.argon2id.hash)));
        is_same && prepared.is_some() && self.are_real
    }
}

/// A new password, prepared; or why it is not taken.
fn fit(user: &str, password: &Password) -> Result<Zeroizing<String>, PasswordFault> {
    if password.0.is_empty() {
        return Err(PasswordFault::Empty);
    }
    let prepared = password.prepared().ok_or(PasswordFault::Unfit)?;
    let mut characters = prepared.chars();
    let first = characters.next();
    if prepared.chars().count() < SHORTEST {
        Err(PasswordFault::Short)
    } else if prepared.to_lowercase() == user.to_lowercase() {
        Err(PasswordFault::IsTheName)
    } else if characters.all(|it| Some(it) == first) {
        Err(PasswordFault::OneCharacter)
    } else {
        Ok(prepared)
    }
}

/// HMAC-SHA-256 over all the pieces.
fn keyed(key: &[u8], pieces: &[&[u8]]) -> [u8; KEY] {
    // A key of any length will do; were it refused, nothing would ever match.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; KEY];
    };
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verifiers(user: &str, password: &str) -> Result<Verifiers, PasswordFault> {
        let password = Password::new(password.to_owned());
        Verifiers::with_rounds(user, &password, [[1; SALT], [2; SALT]], 4096)
    }

    #[test]
    fn a_password_is_known_again_however_it_is_typed() {
        let kept = verifiers("ws3", "bl\u{e5}b\u{e6}r \u{2168}").unwrap();
        for (typed, is_right) in [
            ("bl\u{e5}b\u{e6}r \u{2168}", true),
            ("bla\u{30a}b\u{e6}r IX", true),
            ("bl\u{e5}b\u{e6}r\u{a0}IX", true),
            ("bl\u{e5}b\u{e6}r ix", false),
            ("bl\u{e5}b\u{e6}r \u{7}", false),
            ("", false),
        ] {
            let typed = Password::new(typed.to_owned());
            assert_eq!(kept.accept(&typed), is_right, "{typed:?}");
        }
    }

    #[test]
    fn weak_passwords_are_refused() {
        for (password, fault) in [
            ("", PasswordFault::Empty),
            ("1234567", PasswordFault::Short),
            (
                "\u{ad}\u{ad}\u{ad}\u{ad}\u{ad}\u{ad}\u{ad}\u{ad}",
                PasswordFault::Short,
            ),
            ("AMK-Oslo-WS3", PasswordFault::IsTheName),
            ("aaaaaaaaaaaa", PasswordFault::OneCharacter),
            ("with\u{7}bell inside", PasswordFault::Unfit),
        ] {
            assert_eq!(
                verifiers("amk-oslo-ws3", password),
                Err(fault),
                "{password:?}"
            );
        }
    }

    #[test]
    fn names_are_one_however_they_are_typed() {
        for (written, name) in [
            ("amk-oslo-ws3", Some("amk-oslo-ws3")),
            ("Ws3", Some("Ws3")),
            ("a\u{30a}lesund", Some("\u{e5}lesund")),
            ("w\u{ad}s", Some("ws")),
            ("", None),
            ("\u{ad}", None),
            ("a\0b", None),
            ("a\u{202e}b", None),
        ] {
            assert_eq!(user_name(written).as_deref(), name, "{written:?}");
        }
        assert_eq!(user_name(&"x".repeat(256)), None);
    }

    #[test]
    fn nobody_is_always_the_same_and_never_met() {
        let nobody = Verifiers::of_nobody("x", b"secret");
        assert_eq!(nobody, Verifiers::of_nobody("x", b"secret"));
        assert_ne!(
            nobody.scram.salt,
            Verifiers::of_nobody("y", b"secret").scram.salt
        );
        assert_ne!(
            nobody.scram.salt,
            Verifiers::of_nobody("x", b"other").scram.salt
        );
        assert!(!nobody.accept(&Password::new("correct horse".to_owned())));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let kept = verifiers("ws3", "correct horse").unwrap();
        let password = Password::new("correct horse".to_owned());
        let printed = format!("{kept:?} {password:?}");
        assert_eq!(
            printed,
            "Verifiers { scram: ScramKeys(4096 rounds), argon2id: Argon2id(19456 KiB, 2 passes), \
             are_real: true } Password(…)"
        );
    }
}
