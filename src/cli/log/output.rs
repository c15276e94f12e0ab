//! Where an export goes: to stdout, into a file, or into what is there and is no file.
//!
//! A file appears whole or not at all, for its owner alone: it is written beside itself, and renamed, so that a link
//! or somebody else's file in its place is not written to. A pipe or a device is written to as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::Failure;

pub(super) enum Output {
    Stdout,
    Other(PathBuf),
    /// Gone with this, unless it is renamed.
    File(NamedTempFile, PathBuf),
}

impl Output {
    /// `None`: stdout.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        let kind = fs::metadata(path).map(|it| it.file_type());
        match kind {
            Ok(it) if it.is_dir() => Err(failed(path, &io::ErrorKind::IsADirectory.into())),
            Ok(it) if !it.is_file() || is_of_the_system(path) => Ok(Self::Other(path.to_owned())),
            _ => {
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
                let beside = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
                let beside = beside.map_err(|fault| failed(path, &fault))?;
                Ok(Self::File(beside, path.to_owned()))
            }
        }
    }

    pub(super) fn writer(&self) -> Result<BufWriter<Box<dyn Write>>, Failure> {
        let out: Box<dyn Write> = match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Other(path) => {
                let opened = OpenOptions::new().write(true).open(path);
                Box::new(Named::of(opened, path)?)
            }
            Self::File(beside, path) => Box::new(Named::of(beside.as_file().try_clone(), path)?),
        };
        Ok(BufWriter::new(out))
    }

    /// All of it is written.
    pub(super) fn keep(self) -> Result<(), Failure> {
        let Self::File(beside, path) = self else {
            return Ok(());
        };
        let kept = beside.as_file().sync_all();
        let kept = kept.and_then(|()| beside.persist(&path).map(drop).map_err(|it| it.error));
        kept.map_err(|fault| failed(&path, &fault))
    }
}

/// A file whose trouble has its name.
struct Named {
    file: File,
    path: PathBuf,
}

impl Named {
    fn of(file: io::Result<File>, path: &Path) -> Result<Self, Failure> {
        let file = file.map_err(|fault| failed(path, &fault))?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    fn told(&self, fault: &io::Error) -> io::Error {
        io::Error::new(fault.kind(), format!("{}: {fault}", self.path.display()))
    }
}

impl Write for Named {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.file.write(octets).map_err(|fault| self.told(&fault))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|fault| self.told(&fault))
    }
}

/// `/dev/stdout` is a file where stdout is one: it is not to be replaced by another.
fn is_of_the_system(path: &Path) -> bool {
    let is_there = |it: &Path| it.starts_with("/dev") || it.starts_with("/proc");
    is_there(path) || fs::read_link(path).is_ok_and(|it| is_there(&it))
}

fn failed(path: &Path, fault: &io::Error) -> Failure {
    Failure::new(format!("{}: {fault}", path.display()))
}
