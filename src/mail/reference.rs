//! The reference: the name of one transaction, short enough to be read out over a telephone.
//!
//! Twelve characters of Crockford base32 in groups of four (`K7F3-2QXM-9A1B`), 60 bits: 42 bits of
//! milliseconds and 18 bits that start at random and count up within the millisecond, so that
//! references sort by the time they were made. Reading one is forgiving (case, dashes, spaces, and
//! the letters people confuse: O is 0, I and L are 1); printing one never varies.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use super::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bits below the millisecond: a random start that counts up.
const SEQUENCE_BITS: u32 = 18;
const BITS: u32 = 60;
const MASK: u64 = (1 << BITS) - 1;

/// The name of one transaction and of the message it became. Always below 2^60.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(u64);

/// Why a text is not a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceFault {
    /// Not twelve characters, dashes and spaces apart.
    Length(usize),
    /// A character that Crockford base32 does not have, even taken kindly.
    Character(char),
}

impl Reference {
    /// The number behind the name; the store keeps this. Bits above the sixtieth are dropped.
    pub const fn from_number(number: u64) -> Self {
        Self(number & MASK)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    /// The least that a reference made at `moment` can be.
    pub const fn first_at(moment: Timestamp) -> Self {
        let millis = moment.as_millis();
        Self((if millis > 0 { millis as u64 } else { 0 } << SEQUENCE_BITS) & MASK)
    }

    /// Those that differ from it as what is misheard or mistyped does: in one character, or in two
    /// neighbours that changed places.
    pub fn near(self) -> impl Iterator<Item = Self> {
        let of = move |place: u32| (self.0 >> (5 * place)) & 31;
        let with = move |place: u32, value: u64| (value ^ of(place)) << (5 * place);
        let other = (0..12).flat_map(move |place| (0..32).map(move |it| with(place, it)));
        let swapped =
            (0..11).map(move |place| with(place, of(place + 1)) | with(place + 1, of(place)));
        let changes = other.chain(swapped).filter(|it| *it != 0);
        changes.map(move |it| Self(self.0 ^ it))
    }

    /// The moment at which this reference was made, to the millisecond.
    pub const fn made_at(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> SEQUENCE_BITS) as i64)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 14];
        let mut rest = self.0;
        for place in [13, 12, 11, 10, 8, 7, 6, 5, 3, 2, 1, 0] {
            if let (Some(slot), Some(letter)) =
                (text.get_mut(place), ALPHABET.get((rest & 31) as usize))
            {
                *slot = *letter;
            }
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = ReferenceFault;

    fn from_str(text: &str) -> Result<Self, ReferenceFault> {
        let mut number = 0_u64;
        let mut length = 0;
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            number = (number << 5) | u64::from(digit(c).ok_or(ReferenceFault::Character(c))?);
            length += 1;
            if length > 12 {
                return Err(ReferenceFault::Length(length));
            }
        }
        if length == 12 {
            Ok(Self(number))
        } else {
            Err(ReferenceFault::Length(length))
        }
    }
}

/// One character's five bits; letters that are easily confused are taken as meant.
fn digit(c: char) -> Option<u8> {
    let upper = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET
        .iter()
        .position(|&letter| char::from(letter) == upper)
        .and_then(|place| u8::try_from(place).ok())
}

impl fmt::Display for ReferenceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(
                f,
                "a reference has 12 letters and digits (K7F3-2QXM-9A1B), this has {n}"
            ),
            Self::Character(c) => write!(f, "a reference never has the character {c:?}"),
        }
    }
}

impl std::error::Error for ReferenceFault {}

/// Makes references: each greater than the one before, also when the clock goes back.
///
/// The caller brings the time and the randomness, so that tests and replays are exact.
#[derive(Debug)]
pub struct References {
    last: Mutex<u64>,
}

impl References {
    /// `last`: the greatest reference already in use, from the store.
    pub const fn after(last: Option<Reference>) -> Self {
        Self {
            last: Mutex::new(match last {
                Some(reference) => reference.0,
                None => 0,
            }),
        }
    }

    /// The next reference at `now`; `noise` sets the start within the millisecond.
    pub fn next(&self, now: Timestamp, noise: u32) -> Reference {
        let start = u64::from(noise) & ((1 << (SEQUENCE_BITS - 1)) - 1);
        let wanted = ((now.as_millis().max(0) as u64) << SEQUENCE_BITS | start) & MASK;
        let mut last = match self.last.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        *last = wanted.max(*last + 1) & MASK;
        Reference(*last)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prints_and_reads_back() {
        for number in [0, 1, 31, 32, 0x0fff_ffff_ffff_ffff, 0x0123_4567_89ab_cdef] {
            let reference = Reference::from_number(number);
            assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }
        assert_eq!(
            Reference::from_number(31).to_string(),
            "0000-0000-000Z".to_owned()
        );
    }

    #[test]
    fn is_read_kindly() {
        let meant: Reference = "K1F0-2QXM-9A1B".parse().unwrap();
        for said in ["k1f02qxm9a1b", "KLFO 2QXM 9AIB", "kif0-2qxm-9alb"] {
            assert_eq!(said.parse::<Reference>(), Ok(meant), "{said}");
        }
        assert_eq!("K1F0".parse::<Reference>(), Err(ReferenceFault::Length(4)));
        assert_eq!(
            "U1F0-2QXM-9A1B".parse::<Reference>(),
            Err(ReferenceFault::Character('U'))
        );
    }

    #[test]
    fn what_is_near_differs_by_one_slip() {
        let meant: Reference = "K7F3-2QXM-9A1B".parse().unwrap();
        let near: Vec<String> = meant.near().map(|it| it.to_string()).collect();
        for said in [
            "K7F3-2QXN-9A1B",
            "07F3-2QXM-9A1B",
            "K7F3-2QXM-9AB1",
            "7KF3-2QXM-9A1B",
        ] {
            assert!(near.iter().any(|it| it == said), "{said}");
        }
        assert!(!near.contains(&meant.to_string()));
        assert!(!near.iter().any(|it| it == "K7F3-2QXN-9A1C"));
        assert_eq!(near.len(), 12 * 31 + 11);
    }

    #[test]
    fn grows_when_the_clock_goes_back() {
        let references = References::after(None);
        let first = references.next(Timestamp::from_millis(1_800_000_000_000), 7);
        let second = references.next(Timestamp::from_millis(1_700_000_000_000), 9);
        assert!(first < second);
        assert_eq!(first.made_at(), Timestamp::from_millis(1_800_000_000_000));
    }
}
