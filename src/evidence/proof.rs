//! What a person takes along: the rows of one message or refusal, and what shows that they are the relay's.
//!
//! A proof is checked with nothing but itself and the relay's public key. Each octet of its file counts:
//! there is one way to write a proof, and all that stands in it is bound to what was signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash::{Digest, link};
use super::head::Head;
use super::key::PublicKey;
use super::leaf::{Field, Leaf, Salt, row_hash, sorted};
use super::tree;
use crate::mail::reply::harmless_json;

/// The number of this way of writing a proof.
const VERSION: u32 = 1;

/// The rows of one reference, with what leads from each to a signed head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub ilbud_proof: u32,
    #[serde(rename = "ref")]
    pub reference: String,
    pub key: PublicKey,
    pub rows: Vec<ProvenRow>,
    pub heads: Vec<Head>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenRow {
    pub sequence: u64,
    /// The head that covers it.
    pub head: u64,
    /// The digest of the row before it.
    pub before: Digest,
    pub fields: BTreeMap<String, ProvenField>,
    pub path: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProvenField {
    Open {
        value: String,
        salt: Salt,
    },
    /// It was masked for good before the proof was made.
    Masked {
        commitment: Digest,
    },
}

impl ProvenRow {
    /// `None`: a field is no text.
    pub fn new(
        sequence: u64,
        before: Digest,
        leaves: &[Leaf<'_>],
        head: &Head,
        window: &[Digest],
    ) -> Option<Self> {
        let fields = leaves.iter().map(|leaf| {
            let field = match &leaf.open {
                Some((salt, value)) => ProvenField::Open {
                    value: String::from_utf8(value.to_vec()).ok()?,
                    salt: *salt,
                },
                None => ProvenField::Masked {
                    commitment: leaf.commitment,
                },
            };
            Some((leaf.name.clone().into_owned(), field))
        });
        let place = usize::try_from(sequence.checked_sub(head.first)?).ok()?;
        Some(Self {
            sequence,
            head: head.head,
            before,
            fields: fields.collect::<Option<_>>()?,
            path: tree::path(window, place)?,
        })
    }

    fn digest(&self) -> Digest {
        let leaves = self.fields.iter().map(|(name, field)| match field {
            ProvenField::Open { value, salt } => {
                Leaf::open(Field::new(name.as_str(), value), *salt)
            }
            ProvenField::Masked { commitment } => Leaf::bare(name.as_str().into(), *commitment),
        });
        let hash = row_hash(&sorted(leaves.collect()));
        link(self.before, self.sequence, hash)
    }

    /// What stands in a field, unless it was masked.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.fields.get(name)? {
            ProvenField::Open { value, .. } => Some(value),
            ProvenField::Masked { .. } => None,
        }
    }

    /// Whether the head has signed it.
    fn is_under(&self, head: &Head) -> bool {
        let place = self.sequence.checked_sub(head.first);
        let root =
            place.and_then(|place| tree::climb(self.digest(), place, head.rows(), &self.path));
        root == Some(head.root)
    }
}

impl Proof {
    pub fn new(reference: String, key: PublicKey, rows: Vec<ProvenRow>, heads: Vec<Head>) -> Self {
        Self {
            ilbud_proof: VERSION,
            reference,
            key,
            rows,
            heads,
        }
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = harmless_json(serde_json::to_string_pretty(self).unwrap_or_default());
        text.push('\n');
        text
    }

    /// Reads a proof and checks it; every reason why it proves nothing. `keys`: those that are trusted; none: the
    /// one that it names itself.
    pub fn check(text: &str, keys: &[PublicKey]) -> Result<Self, Vec<String>> {
        let proof: Self = serde_json::from_str(text).map_err(|fault| {
            vec![format!(
                "this is no proof that ilbud log export wrote: {fault}"
            )]
        })?;
        let faults = proof.faults(text, keys);
        match faults.is_empty() {
            true => Ok(proof),
            false => Err(faults),
        }
    }

    fn faults(&self, text: &str, keys: &[PublicKey]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.ilbud_proof != VERSION {
            faults.push(format!(
                "it is a proof of version {}, and this ilbud knows {VERSION}",
                self.ilbud_proof
            ));
        }
        if self.text() != text {
            faults.push("its file is not as it was written".to_owned());
        }
        if self.rows.is_empty() {
            faults.push("there is no row in it".to_owned());
        }
        if !keys.is_empty() && !keys.contains(&self.key) {
            let trusted: Vec<String> = keys.iter().map(PublicKey::id).collect();
            faults.push(format!(
                "it is signed with key {}, not with {}",
                self.key.id(),
                trusted.join(" or ")
            ));
        }
        faults.extend(self.heads.iter().filter_map(|it| self.fault_of_head(it)));
        faults.extend(self.rows.iter().filter_map(|it| self.fault_of_row(it)));
        let is_in_order = self
            .rows
            .is_sorted_by(|one, next| one.sequence < next.sequence);
        if !is_in_order || !self.heads.is_sorted_by(|one, next| one.head < next.head) {
            faults.push("its rows, or heads, are not in order".to_owned());
        }
        faults
    }

    fn fault_of_head(&self, head: &Head) -> Option<String> {
        let number = head.head;
        if head.key != self.key {
            return Some(format!(
                "head {number} is signed with another key than the proof names"
            ));
        }
        if !head.is_signed() {
            return Some(format!(
                "head {number}: its signature does not fit what it says"
            ));
        }
        let is_of_this_log = self.heads.first().is_some_and(|it| it.log == head.log);
        let is_used = self.rows.iter().any(|it| it.head == number);
        (!is_of_this_log || !is_used)
            .then(|| format!("head {number} has nothing to do with the rows"))
    }

    fn fault_of_row(&self, row: &ProvenRow) -> Option<String> {
        let sequence = row.sequence;
        let Some(head) = self.heads.iter().find(|it| it.head == row.head) else {
            return Some(format!(
                "row {sequence}: head {} is not in the proof",
                row.head
            ));
        };
        if !row.is_under(head) {
            return Some(format!(
                "row {sequence} is not the row that head {} signed",
                head.head
            ));
        }
        let is_of_it = row.value("reference") == Some(&self.reference);
        (!is_of_it).then(|| format!("row {sequence} is not of {}", self.reference))
    }
}
