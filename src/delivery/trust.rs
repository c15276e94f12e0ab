//! Whom the relay believes at the other end, and how it shows who it is.
//!
//! Gives the TLS configuration for one next hop, made once for all hops that ask for the same, and
//! again when a file has changed on disk. Decides nothing about whether TLS is used. A file that
//! cannot be used is our own trouble, named; where it could be used before, what was read then stays
//! in force, with a warning.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outcome::Trouble;
use crate::policy::table::HopServer;
use crate::stamp::{self, Stamp};
use crate::tls::{ClientConfig, Identity, Outgoing, TlsFault, Voucher};

/// Far more than a table has next hops with certificates of their own.
const CAPACITY: usize = 1_000;

/// What all next hops are judged by.
#[derive(Debug, Clone)]
pub struct Trust {
    client_ca: Option<PathBuf>,
    made: Arc<Mutex<HashMap<Outgoing, Made>>>,
}

/// A configuration and the files it was read from, as they were.
#[derive(Debug, Clone)]
struct Made {
    config: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
    /// The files as they were when they were last complained of.
    complained: Option<Vec<Stamp>>,
}

impl Trust {
    /// `client_ca`: whom hops are judged by that name no authority of their own. Fails where that
    /// file cannot be used.
    pub fn new(client_ca: Option<&Path>) -> Result<Self, TlsFault> {
        let trust = Self {
            client_ca: client_ca.map(Path::to_owned),
            made: Arc::default(),
        };
        trust.make(&Outgoing {
            voucher: Voucher::Usual(trust.client_ca.clone()),
            pin: None,
            identity: None,
        })?;
        Ok(trust)
    }

    /// How to shake hands with `server`. `verified`: its certificate must prove that it is the one
    /// meant; otherwise any will do, since plain text would do.
    pub fn config(&self, server: &HopServer, verified: bool) -> Result<Arc<ClientConfig>, Trouble> {
        self.make(&outgoing(server, verified.then_some(&self.client_ca)))
            .map_err(|fault| Trouble::Ours(fault.to_string()))
    }

    fn make(&self, outgoing: &Outgoing) -> Result<Arc<ClientConfig>, TlsFault> {
        let stamps = stamp::of_all(outgoing.files());
        let before = self.made().get(outgoing).cloned();
        match before {
            Some(made) if made.stamps == stamps => Ok(made.config),
            before => self.read(outgoing, stamps, before),
        }
    }

    fn read(
        &self,
        outgoing: &Outgoing,
        stamps: Vec<Stamp>,
        before: Option<Made>,
    ) -> Result<Arc<ClientConfig>, TlsFault> {
        let made = match (outgoing.load(), before) {
            (Ok(config), _) => Made {
                config,
                stamps,
                complained: None,
            },
            (Err(fault), None) => return Err(fault),
            // Often the second file has only not been written yet.
            (Err(fault), Some(made)) => {
                if made.complained.as_ref() != Some(&stamps) {
                    tracing::error!(%fault, "what was read before stays in use towards next hops");
                }
                Made {
                    complained: Some(stamps),
                    ..made
                }
            }
        };
        let config = Arc::clone(&made.config);
        self.keep(outgoing, made);
        Ok(config)
    }

    fn keep(&self, outgoing: &Outgoing, made: Made) {
        let mut all = self.made();
        if all.len() >= CAPACITY {
            all.clear();
        }
        all.insert(outgoing.clone(), made);
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Outgoing, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with the files that `server` names, as far as it can be seen from here.
pub fn doubt(server: &HopServer) -> Option<Doubt> {
    let outgoing = outgoing(server, None);
    let fault = outgoing.load().err()?;
    let words = format!("{fault}; until then its mail waits");
    Some(match fault.is_exposed {
        true => Doubt::Exposed(words),
        false => Doubt::Unusable(words),
    })
}

/// Why a next hop cannot be spoken with until its files are put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Others on this machine may read its private key.
    Exposed(String),
    Unusable(String),
}

/// What a handshake with `server` rests on. `usual`: who vouches for hops that name nobody; `None`
/// where nobody needs to.
fn outgoing(server: &HopServer, usual: Option<&Option<PathBuf>>) -> Outgoing {
    Outgoing {
        voucher: match (&server.ca, usual) {
            (Some(file), _) => Voucher::Own(file.clone()),
            (None, Some(client_ca)) if server.pin.is_none() => Voucher::Usual(client_ca.clone()),
            (None, _) => Voucher::Nobody,
        },
        pin: server.pin,
        identity: server.client_certificate.as_ref().map(|file| Identity {
            certificate: file.clone(),
            key: server.client_key.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::policy::table::NextHop;

    fn write_certificate(file: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(file, certificate.pem() + &key.serialize_pem()).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn server(hop: &str) -> HopServer {
        NextHop::parse(hop).unwrap().server().unwrap().clone()
    }

    #[test]
    fn what_is_asked_for_alike_is_made_once_until_a_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        write_certificate(&file);
        let trust = Trust::new(None).unwrap();
        let own = format!("?ca={0}&client_certificate={0}", file.display());
        let config = |hop: &str| trust.config(&server(hop), true).unwrap();
        let first = config(&format!("smtp://a.test{own}"));
        assert!(Arc::ptr_eq(&first, &config(&format!("smtp://b.test{own}"))));
        assert!(!Arc::ptr_eq(&first, &config("smtp://a.test")));

        fs::write(&file, "nothing").unwrap();
        assert!(Arc::ptr_eq(&first, &config(&format!("smtp://a.test{own}"))));
        fs::remove_file(&file).unwrap();
        assert!(Arc::ptr_eq(&first, &config(&format!("smtp://a.test{own}"))));
        write_certificate(&file);
        assert!(!Arc::ptr_eq(
            &first,
            &config(&format!("smtp://a.test{own}"))
        ));
    }

    #[test]
    fn a_file_that_was_never_good_is_our_own_trouble_and_named() {
        let trust = Trust::new(None).unwrap();
        for option in ["ca", "client_certificate"] {
            let server = server(&format!("smtp://a.test?{option}=/nowhere/a.pem"));
            match trust.config(&server, true) {
                Err(Trouble::Ours(words)) => {
                    assert!(words.starts_with("/nowhere/a.pem: "), "{words}")
                }
                other => panic!("{option}: {other:?}"),
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let trust = Trust::new(None).unwrap();
        for n in 0..=CAPACITY {
            let pin = format!("{n:064x}");
            trust
                .config(&server(&format!("smtp://a.test?pin=sha256:{pin}")), true)
                .unwrap();
        }
        assert!(trust.made().len() <= CAPACITY);
    }
}
