//! The files beside the store: the relay's key, its public half, and the heads once more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use super::{Fault, Settings};
use crate::evidence::{Head, PublicKey, SigningKey};
use crate::mail::part::hex;
use crate::secrecy;

/// No head is longer than this.
const LONGEST: u64 = 4096;

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub key: PathBuf,
    pub public: PathBuf,
    pub heads: PathBuf,
}

impl From<&Settings> for Files {
    fn from(settings: &Settings) -> Self {
        let mut public = settings.key.as_os_str().to_owned();
        public.push(".pub");
        Self {
            key: settings.key.clone(),
            public: public.into(),
            heads: settings.heads.clone(),
        }
    }
}

fn fault(file: &Path, fault: impl std::fmt::Display) -> Fault {
    Fault::File(format!("{}: {fault}", file.display()))
}

impl Files {
    /// The relay's key, if there is one.
    pub fn signing_key(&self) -> Result<Option<SigningKey>, Fault> {
        let mut file = match File::open(&self.key) {
            Ok(file) => file,
            Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(it) => return Err(fault(&self.key, it)),
        };
        let metadata = file.metadata().map_err(|it| fault(&self.key, it))?;
        if let Some(open) = secrecy::fault(&self.key, &metadata, "the relay's key for its log") {
            return Err(fault(&self.key, open));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .map_err(|it| fault(&self.key, it))?;
        let key = SigningKey::parse(&text).map_err(|it| fault(&self.key, it))?;
        Ok(Some(key))
    }

    /// The relay's key, made where there is none, with its public half beside it.
    pub fn key_for_signing(&self) -> Result<SigningKey, Fault> {
        let key = match self.signing_key()? {
            Some(key) => key,
            None => self.make_key()?,
        };
        let public = format!("{}\n", key.public());
        if fs::read_to_string(&self.public).ok().as_deref() != Some(&public) {
            fs::write(&self.public, public).map_err(|it| fault(&self.public, it))?;
        }
        Ok(key)
    }

    fn make_key(&self) -> Result<SigningKey, Fault> {
        let mut seed = [0; 32];
        let drawn = getrandom(&mut seed, GetRandomFlags::empty());
        if !drawn.is_ok_and(|octets| octets == seed.len()) {
            return Err(fault(&self.key, "the system gives no random numbers"));
        }
        let key =
            SigningKey::from_seed(&seed).ok_or_else(|| fault(&self.key, "no key could be made"))?;
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&self.key)?;
            file.write_all(format!("{}\n", hex(&seed)).as_bytes())?;
            file.sync_all()
        };
        write().map_err(|it| fault(&self.key, it))?;
        Ok(key)
    }

    /// The public half, wherever it stands.
    pub fn public_key(&self) -> Result<Option<PublicKey>, Fault> {
        match fs::read_to_string(&self.public) {
            Ok(text) => {
                let key = text.trim().parse().map_err(|it| fault(&self.public, it))?;
                Ok(Some(key))
            }
            Err(it) if it.kind() == io::ErrorKind::NotFound => {
                Ok(self.signing_key()?.map(|it| it.public()))
            }
            Err(it) => Err(fault(&self.public, it)),
        }
    }

    /// The number of the last head in the file; 0: there is none. What a power cut has left of a line at its end
    /// is taken away.
    pub fn last_head(&self) -> Result<u64, Fault> {
        let last = || -> io::Result<u64> {
            let mut file = match OpenOptions::new().read(true).write(true).open(&self.heads) {
                Ok(file) => file,
                Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(it) => return Err(it),
            };
            let length = file.metadata()?.len();
            let from = length.saturating_sub(2 * LONGEST);
            file.seek(SeekFrom::Start(from))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            let whole = end
                .iter()
                .rposition(|it| *it == b'\n')
                .map_or(0, |it| it + 1);
            if whole < end.len() {
                file.set_len(from + whole as u64)?;
            }
            end.truncate(whole);
            let last = end.split(|it| *it == b'\n').rfind(|it| !it.is_empty());
            let head: Option<Head> = last.and_then(|it| serde_json::from_slice(it).ok());
            Ok(head.map_or(0, |it| it.head))
        };
        last().map_err(|it| fault(&self.heads, it))
    }

    /// Adds heads at the end, and sees to it that they are on the disk.
    pub fn add_heads(&self, heads: &[String]) -> Result<(), Fault> {
        let write = || {
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&self.heads)?;
            let lines: String = heads.iter().map(|it| format!("{it}\n")).collect();
            file.write_all(lines.as_bytes())?;
            file.sync_data()
        };
        write().map_err(|it| fault(&self.heads, it))
    }
}

/// A line of a file of heads, with its number.
pub(super) type Line = (usize, Result<Head, String>);

/// The heads in a file, in its order. `None`: there is no such file.
pub(super) fn heads_in(
    file: &Path,
) -> Result<Option<impl Iterator<Item = Result<Line, Fault>>>, Fault> {
    let open = match File::open(file) {
        Ok(open) => BufReader::new(open),
        Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(it) => return Err(fault(file, it)),
    };
    let file = file.to_owned();
    let lines = open.split(b'\n').zip(1..).map(move |(line, number)| {
        let line = line.map_err(|it| fault(&file, it))?;
        let head = serde_json::from_slice(&line).map_err(|it| it.to_string());
        Ok((number, head))
    });
    Ok(Some(lines))
}
