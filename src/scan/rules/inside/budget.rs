//! How much work one message may cost, and how much of that is left.
//!
//! Pure. Whatever is unpacked or listed is paid for here before it is done. What a file declares of
//! itself is never believed: only octets that have come out count.

/// What is looked at of one message before a scan gives up on the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Archives within archives.
    pub depth: usize,
    /// Members of all archives together.
    pub entries: usize,
    /// Octets that all members unpack to.
    pub unpacked: usize,
    /// Octets of one member.
    pub member: usize,
    /// How many times its packed size one member may have, once it has [`Bounds::SMALL`].
    pub ratio: usize,
    /// Octets that a decompressor may remember (its dictionary or window).
    pub memory: usize,
}

impl Bounds {
    /// What is as small as this may be packed as well as it likes.
    pub const SMALL: usize = 1024 * 1024;
}

/// About a second of one CPU and a few tens of MiB for the worst of messages.
impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: 8,
            entries: 10_000,
            unpacked: 64 * 1024 * 1024,
            member: 32 * 1024 * 1024,
            ratio: 250,
            memory: 64 * 1024 * 1024,
        }
    }
}

/// What is left for one whole message.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    entries: usize,
    unpacked: usize,
}

impl Budget {
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            entries: bounds.entries,
            unpacked: bounds.unpacked,
            bounds,
        }
    }

    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Octets that may still be unpacked.
    pub const fn left(&self) -> usize {
        self.unpacked
    }

    /// One more member; `false`: there were enough.
    pub(super) const fn entry(&mut self) -> bool {
        let more = self.entries > 0;
        self.entries = self.entries.saturating_sub(1);
        more
    }

    /// Work that was worth so many octets.
    pub(super) const fn spend(&mut self, octets: usize) {
        self.unpacked = self.unpacked.saturating_sub(octets);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}
