//! The disk under the store: how much of it new mail may take.
//!
//! New mail is refused a little before the disk is full, so that outcomes of what was accepted can
//! still be written, and with them room made again. Decides only that, and how long the write-ahead
//! log may get. What cannot be asked is found out by writing.

use std::path::{Path, PathBuf};

use super::super::store::StoreError;
use super::CHECKPOINT_PAGES;

/// Kept back for what was accepted; on a small disk a tenth of it.
const RESERVE: u64 = 64 << 20;
const PAGE: u64 = 4096;
/// The write-ahead log may take one part in so many of what is free.
const LOG_SHARE: u64 = 16;
const FEWEST_PAGES: u64 = 64;
/// A message is written to the write-ahead log, and from there to the file.
const TWICE: u64 = 2;

/// Where the store is.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    log: PathBuf,
}

/// What was free at one moment.
#[derive(Debug)]
pub(super) struct Space {
    free: u64,
    reserve: u64,
    /// Already in the write-ahead log, and perhaps not yet in the file.
    log: u64,
    folder: PathBuf,
}

impl Disk {
    pub(super) fn under(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self {
            folder,
            log: log.into(),
        }
    }

    /// A look at the disk: two calls to the kernel, a few microseconds.
    pub(super) fn look(&self) -> Option<Space> {
        let space = rustix::fs::statvfs(&self.folder).ok()?;
        let whole = space.f_blocks.saturating_mul(space.f_frsize);
        Some(Space {
            free: space.f_bavail.saturating_mul(space.f_frsize),
            reserve: RESERVE.min(whole / 10),
            log: std::fs::metadata(&self.log).map_or(0, |it| it.len()),
            folder: self.folder.clone(),
        })
    }
}

impl Disk {
    /// Whether what can be made anew may take some more: not near to where mail is refused.
    pub(super) fn has_room_for_more(&self) -> bool {
        self.look().is_none_or(|it| !it.is_short())
    }
}

impl Space {
    /// How long the write-ahead log may get, in pages. In steps, so that it changes seldom.
    pub(super) fn log_pages(&self) -> u64 {
        let pages = (self.free / PAGE / LOG_SHARE).max(1).next_power_of_two();
        pages.clamp(FEWEST_PAGES, u64::from(CHECKPOINT_PAGES))
    }

    /// Whether it is worth counting exactly.
    pub(super) const fn is_short(&self) -> bool {
        self.free < self.reserve.saturating_mul(4)
    }

    pub(super) const fn add_pages(&mut self, pages: u64) {
        self.free = self.free.saturating_add(pages.saturating_mul(PAGE));
    }

    /// Takes room for so many octets of new mail, or says why there is none.
    pub(super) fn take(&mut self, octets: u64) -> Result<(), StoreError> {
        let needed = octets.saturating_add(PAGE).saturating_mul(TWICE);
        let left = self.free.saturating_sub(needed);
        if left < self.reserve.saturating_add(self.log) {
            return Err(StoreError::Full(format!(
                "{} KiB are free under {}, of which {} KiB are kept back for what was accepted",
                self.free >> 10,
                self.folder.display(),
                (self.reserve + self.log) >> 10
            )));
        }
        self.free = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn space(free: u64, reserve: u64, log: u64) -> Space {
        Space {
            free,
            reserve,
            log,
            folder: PathBuf::from("data"),
        }
    }

    #[test]
    fn new_mail_leaves_the_reserve_alone() {
        let mut small = space(1 << 20, 600 << 10, 100 << 10);
        assert_eq!(small.take(100 << 10), Ok(()));
        assert!(matches!(small.take(100 << 10), Err(StoreError::Full(_))));
        assert_eq!(small.take(1 << 10), Ok(()));
    }

    #[test]
    fn the_log_is_short_where_there_is_little_room() {
        for (free, pages) in [(0, 64), (6 << 20, 128), (1 << 30, 8192), (1 << 40, 8192)] {
            assert_eq!(space(free, 0, 0).log_pages(), pages, "{free}");
        }
    }
}
