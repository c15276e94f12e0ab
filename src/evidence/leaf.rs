//! The fields of a row, each committed to by itself.
//!
//! A commitment hides what it is made of, since its salt cannot be guessed, and can be made of nothing else.
//! So a field can be masked for good: its salt goes, its bare commitment stays, and the row's hash is the
//! same. The salts of a row come from one seed, which goes when the first field does.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::hash::{Digest, Hasher, in_hex};

/// How what stands in the place of a masked field begins, unless nothing stands there. Anything else has
/// been put there by somebody.
pub const MASKED: &str = "masked";

/// What the salts of a row come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl Seed {
    pub fn salt(&self, name: &str) -> Salt {
        let whole = Hasher::of("salt").and(&self.0).and(name.as_bytes()).end();
        let mut salt = [0; 16];
        salt.iter_mut()
            .zip(whole.0)
            .for_each(|(to, from)| *to = from);
        Salt(salt)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// Written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 16]);

in_hex!(Salt);

/// A field as it stands in the store: text as it is, numbers in digits. What is not there is no field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field<'a> {
    pub name: Cow<'a, str>,
    pub value: Cow<'a, [u8]>,
}

impl<'a> Field<'a> {
    pub fn new(name: impl Into<Cow<'a, str>>, value: &'a str) -> Self {
        Self {
            name: name.into(),
            value: Cow::Borrowed(value.as_bytes()),
        }
    }

    pub fn owned(name: impl Into<Cow<'a, str>>, value: impl ToString) -> Self {
        Self {
            name: name.into(),
            value: Cow::Owned(value.to_string().into_bytes()),
        }
    }

    /// Whether it may stand where a field was masked.
    pub fn is_mask(&self) -> bool {
        let value = self.value.strip_prefix(b"\"").unwrap_or(&self.value);
        value.is_empty() || value == b"\"" || value.starts_with(MASKED.as_bytes())
    }

    fn commitment(&self, salt: Salt) -> Digest {
        Hasher::of("field")
            .and(&salt.0)
            .and(self.name.as_bytes())
            .and(&self.value)
            .end()
    }
}

/// A field's commitment, and what it is made of, unless that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    pub name: Cow<'a, str>,
    pub commitment: Digest,
    pub open: Option<(Salt, Cow<'a, [u8]>)>,
}

impl<'a> Leaf<'a> {
    pub fn open(field: Field<'a>, salt: Salt) -> Self {
        Self {
            commitment: field.commitment(salt),
            name: field.name,
            open: Some((salt, field.value)),
        }
    }

    pub const fn bare(name: Cow<'a, str>, commitment: Digest) -> Self {
        Self {
            name,
            commitment,
            open: None,
        }
    }

    /// A short piece of the commitment: it tells which field of a changed row was changed.
    pub const fn mark(&self) -> [u8; 2] {
        let [first, second, ..] = self.commitment.0;
        [first, second]
    }
}

/// What is kept of the salts of a row of which fields were masked, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Salt(Salt),
    Commitment(Digest),
}

/// The leaves of a row of which nothing was masked, sorted by name.
pub fn sealed<'a>(seed: &Seed, fields: Vec<Field<'a>>) -> Vec<Leaf<'a>> {
    let leaves = fields.into_iter().map(|field| {
        let salt = seed.salt(&field.name);
        Leaf::open(field, salt)
    });
    sorted(leaves.collect())
}

pub fn sorted(mut leaves: Vec<Leaf<'_>>) -> Vec<Leaf<'_>> {
    leaves.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    leaves
}

/// The hash of a row, of its leaves in the order of their names.
pub fn row_hash(leaves: &[Leaf<'_>]) -> Digest {
    let mut hasher = Hasher::of("fields");
    for leaf in leaves {
        hasher.add(leaf.name.as_bytes());
        hasher.add(&leaf.commitment.0);
    }
    hasher.end()
}

pub fn marks(leaves: &[Leaf<'_>]) -> Vec<u8> {
    leaves.iter().flat_map(Leaf::mark).collect()
}

/// Which fields are not as they were when the marks were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strange {
    /// By name; changed, or added.
    pub fields: Vec<String>,
    /// How many there were that are not there now, the changed ones included.
    pub missing: usize,
    /// How many are as they were.
    pub known: usize,
}

pub fn strange(leaves: &[Leaf<'_>], marks: &[u8]) -> Strange {
    let mut left: Vec<&[u8]> = marks.chunks(2).collect();
    let mut strange = Strange::default();
    for leaf in leaves {
        match left.iter().position(|it| *it == leaf.mark()) {
            Some(place) => {
                left.swap_remove(place);
                strange.known += 1;
            }
            None => strange.fields.push(leaf.name.clone().into_owned()),
        }
    }
    strange.missing = left.len();
    strange
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields() -> Vec<Field<'static>> {
        vec![
            Field::new("kind", "accepted"),
            Field::new("at", "2026-11-22T19:00:00.000Z"),
            Field::owned("details.size", 17),
        ]
    }

    #[test]
    fn a_row_is_its_fields_whatever_their_order() {
        let seed = Seed([7; 16]);
        let mut other = fields();
        other.reverse();
        let one = sealed(&seed, fields());
        assert_eq!(row_hash(&one), row_hash(&sealed(&seed, other)));
        assert_ne!(row_hash(&one), row_hash(&sealed(&Seed([8; 16]), fields())));
    }

    #[test]
    fn a_masked_field_leaves_the_hash_as_it_was() {
        let whole = sealed(&Seed([7; 16]), fields());
        let masked = whole.iter().cloned().map(|leaf| match &*leaf.name {
            "details.size" => Leaf::bare(leaf.name, leaf.commitment),
            _ => leaf,
        });
        assert_eq!(row_hash(&masked.collect::<Vec<_>>()), row_hash(&whole));
    }

    #[test]
    fn marks_tell_which_field_was_changed() {
        let seed = Seed([7; 16]);
        let marks = marks(&sealed(&seed, fields()));
        let mut changed = fields();
        changed.pop();
        changed.push(Field::owned("details.size", 18));
        changed.push(Field::new("recipient", "vakt@b.test"));
        let found = strange(&sealed(&seed, changed), &marks);
        assert_eq!(found.fields, ["details.size", "recipient"]);
        assert_eq!((found.known, found.missing), (2, 1));
    }

    #[test]
    fn what_stands_where_a_field_was_masked() {
        for (value, is_mask) in [
            ("", true),
            ("\"\"", true),
            ("masked", true),
            ("\"masked-7f\"", true),
            ("masked-7f@masked.invalid", true),
            ("Hei", false),
            ("\"Hei\"", false),
            ("\"\"x", false),
        ] {
            assert_eq!(Field::new("x", value).is_mask(), is_mask, "{value}");
        }
    }
}
