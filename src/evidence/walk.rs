//! A walk along the chain, row by row, that names what was done to it.
//!
//! Most rows follow the one before them, and are forgotten. Those that do not are kept, up to a bound, until
//! the end: only then is it known where a row that stands in the wrong place has stood. Nothing is decided
//! from names or times: a row stood where its digest fits.

use std::collections::VecDeque;

use super::finding::{Finding, Name};
use super::hash::{Digest, Start, link};
use super::head::{Before, Head};
use super::key::PublicKey;
use super::leaf::{Leaf, marks, row_hash, strange};
use super::tree::Tree;

/// Rows that do not fit of which each is named.
const NAMED: usize = 200;
/// Rows before one that does not fit that it may have followed.
const RECENT: usize = 8;
/// By how much numbers of rows may have been moved.
const FAR: i64 = 64;

/// A row as it stands in the store.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: Name,
    pub digest: Option<Digest>,
    pub marks: Vec<u8>,
    pub fields: Fields,
}

/// What is to be known of a row's fields.
#[derive(Debug, Clone)]
pub enum Fields {
    /// In the order of their names. `misplaced`: what stands where something was masked for good.
    Leaves {
        leaves: Vec<Leaf<'static>>,
        misplaced: Vec<String>,
    },
    /// Of a row that was purged only its hash is left.
    Purged(Digest),
    /// Why they make no sense.
    Unreadable(String),
}

/// A row that follows the one before it.
#[derive(Debug, Clone)]
struct Link {
    name: Name,
    digest: Digest,
    /// Its place when it was written.
    place: u64,
}

/// A row that does not.
#[derive(Debug, Clone)]
struct Trouble {
    row: Row,
    hash: Option<Digest>,
    /// What its digest would be.
    expected: Option<Digest>,
    /// The rows before the first of several that do not fit.
    before: Vec<Link>,
    is_after_gap: bool,
    /// Rows are numbered so much higher before it, and after it.
    shift: (i64, i64),
}

/// What came of a walk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    pub findings: Vec<Finding>,
    pub rows: u64,
    /// The last row's place.
    pub last: u64,
    /// The last head that fits: its number, its last row, when, and with which key.
    pub signed: Option<(u64, u64, String, PublicKey)>,
    /// Rows of which something was masked for good, and rows that were purged.
    pub masked: u64,
    pub purged: u64,
}

/// The walk so far.
#[derive(Debug)]
pub struct Walk {
    start: Start,
    keys: Vec<PublicKey>,
    /// The digest of the row before, as stored, and its number.
    before: Digest,
    number: u64,
    shift: i64,
    recent: VecDeque<Link>,
    troubles: Vec<Trouble>,
    /// How many of them came before the last row that fits.
    region: usize,
    more: u64,
    gaps: Vec<(u64, u64)>,
    heads: VecDeque<Head>,
    /// What the next head follows; `None`: the last one says nothing that can be trusted.
    last_head: Option<Before>,
    has_other_key: bool,
    tree: Tree,
    is_troubled: bool,
    /// The first head that signed something else, and how many did after it.
    refuted: Option<(u64, u64, u64)>,
    good: Option<(u64, u64)>,
    walked: Walked,
}

impl Walk {
    /// `keys`: those that may have signed; none: any may.
    pub fn new(start: Start, keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            before: start.digest(),
            number: start.first.saturating_sub(1),
            shift: 0,
            recent: VecDeque::new(),
            troubles: Vec::new(),
            region: 0,
            more: 0,
            gaps: Vec::new(),
            heads: VecDeque::new(),
            last_head: Some(Before::none(&start)),
            has_other_key: false,
            tree: Tree::default(),
            is_troubled: false,
            refuted: None,
            good: None,
            walked: Walked::default(),
            start,
        }
    }

    /// How many heads are in hand that no row has come to yet.
    pub fn heads_ahead(&self) -> usize {
        self.heads.len()
    }

    /// The next head of the store.
    pub fn head(&mut self, head: Head) {
        if !head.is_signed() {
            return self.bad_head(head.head);
        }
        if !self.keys.is_empty() && !self.keys.contains(&head.key) {
            if !self.has_other_key {
                let finding = Finding::another_key(head.head, &head.key, &self.keys);
                self.walked.findings.push(finding);
            }
            self.has_other_key = true;
        }
        if let Some(before) = self.last_head.filter(|it| !head.follows(it)) {
            let finding = Finding::head_does_not_follow(head.head, before.head);
            self.walked.findings.push(finding);
        }
        self.last_head = Some(head.before_next());
        self.heads.push_back(head);
    }

    /// The next head of the store is none, or has been changed.
    pub fn bad_head(&mut self, head: u64) {
        self.walked.findings.push(Finding::head_changed(head));
        self.last_head = None;
    }

    /// The next row of the store.
    pub fn row(&mut self, row: Row) {
        let number = row.name.sequence;
        let is_after_gap = number > self.number.saturating_add(1);
        if is_after_gap {
            self.gap(self.number.saturating_add(1), number.saturating_sub(1));
        }
        let hash = match &row.fields {
            Fields::Leaves { leaves, .. } => Some(row_hash(leaves)),
            Fields::Purged(hash) => Some(*hash),
            Fields::Unreadable(_) => None,
        };
        let digest = match &row.fields {
            Fields::Purged(hash) => Some(link(self.before, self.place(number), *hash)),
            _ => row.digest,
        };
        let fits = self.fits(number, hash, digest);
        let place = self.place(number);
        let expected = hash.map(|hash| link(self.before, place, hash));
        self.enter_window(place);
        self.walked.rows += 1;
        self.number = number;
        self.before = digest.or(expected).unwrap_or(self.before);
        self.tree.add(self.before);
        let name = row.name.clone();
        match fits {
            true => self.linked(row, place),
            false => {
                self.walked.last = place;
                self.trouble(row, hash, expected, is_after_gap);
            }
        }
        self.leave_window(place, digest);
        if fits {
            self.region = self.troubles.len();
            let digest = self.before;
            self.recent.push_back(Link {
                name,
                digest,
                place,
            });
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
    }

    fn place(&self, number: u64) -> u64 {
        number.saturating_add_signed(self.shift.saturating_neg())
    }

    fn gap(&mut self, first: u64, last: u64) {
        self.is_troubled = true;
        if self.gaps.len() < NAMED {
            self.gaps.push((first, last));
        }
    }

    /// Whether the row follows the one before it; where the numbers of all rows from here on were moved, by
    /// how much is found out.
    fn fits(&mut self, number: u64, hash: Option<Digest>, digest: Option<Digest>) -> bool {
        let (Some(hash), Some(digest)) = (hash, digest) else {
            return false;
        };
        if link(self.before, self.place(number), hash) == digest {
            return true;
        }
        if self.troubles.len() >= NAMED {
            return false;
        }
        let shifts = (-FAR..=FAR).map(|by| self.shift.saturating_add(by));
        let fits = |shift: &i64| {
            let place = number.saturating_add_signed(shift.saturating_neg());
            link(self.before, place, hash) == digest
        };
        let Some(shift) = shifts.into_iter().find(fits) else {
            return false;
        };
        self.shift = shift;
        let region = self.troubles.iter_mut().skip(self.region);
        region.for_each(|it| it.shift.1 = shift);
        true
    }

    fn linked(&mut self, row: Row, place: u64) {
        self.walked.last = place;
        match row.fields {
            Fields::Leaves { leaves, misplaced } => {
                let is_masked = leaves.iter().any(|it| it.open.is_none());
                self.walked.masked += u64::from(is_masked);
                if !misplaced.is_empty() {
                    let finding = Finding::in_place_of_masked(&row.name, misplaced);
                    self.add(finding);
                } else if marks(&leaves) != row.marks {
                    self.add(Finding::changed(&row.name, vec!["marks".to_owned()], 0));
                }
            }
            Fields::Purged(_) => self.walked.purged += 1,
            Fields::Unreadable(_) => {}
        }
    }

    fn add(&mut self, finding: Finding) {
        match self.walked.findings.len() < NAMED {
            true => self.walked.findings.push(finding),
            false => self.more += 1,
        }
    }

    fn trouble(
        &mut self,
        row: Row,
        hash: Option<Digest>,
        expected: Option<Digest>,
        is_after_gap: bool,
    ) {
        self.is_troubled = true;
        if self.troubles.len() >= NAMED {
            self.more += 1;
            return;
        }
        self.troubles.push(Trouble {
            hash,
            expected,
            before: self.recent.iter().cloned().collect(),
            is_after_gap,
            shift: (self.shift, self.shift),
            row,
        });
    }

    fn enter_window(&mut self, place: u64) {
        if self.heads.front().is_some_and(|it| it.first == place) {
            self.tree = Tree::default();
            self.is_troubled = false;
        }
    }

    /// Compares with the head that was signed here.
    fn leave_window(&mut self, place: u64, digest: Option<Digest>) {
        while let Some(head) = self.heads.pop_front_if(|it| it.last <= place) {
            let is_same = digest == Some(head.digest) && self.tree.root() == Some(head.root);
            let is_known = head.last == place && is_same;
            match (&mut self.refuted, is_known) {
                (None, true) => {
                    self.good = Some((head.head, head.last));
                    self.walked.signed = Some((head.head, head.last, head.at, head.key));
                }
                // What was done to its rows is named row by row.
                (None, false) if self.is_troubled => {}
                (None, false) => self.refuted = Some((head.head, head.last, 0)),
                (Some((_, _, more)), false) => *more += 1,
                (Some(_), true) => {}
            }
        }
    }

    /// All that was found.
    pub fn end(mut self) -> Walked {
        self.judge();
        if let Some((head, row, more)) = self.refuted {
            let finding = Finding::rewritten(self.good, head, row, more);
            self.walked.findings.push(finding);
        }
        if let Some(head) = self.heads.pop_back() {
            let last = self.walked.last;
            let finding = Finding::tail_cut(head.head, &head.at, head.last, last, "");
            self.walked.findings.push(finding);
        }
        if self.more > 0 {
            self.walked.findings.push(Finding::more(self.more));
        }
        self.walked
    }

    /// Says of each row that does not fit what was done.
    fn judge(&mut self) {
        let troubles = std::mem::take(&mut self.troubles);
        let origins: Vec<Option<Origin>> = troubles
            .iter()
            .map(|it| self.origin(it, &troubles))
            .collect();
        let moved: Vec<u64> = troubles
            .iter()
            .zip(&origins)
            .filter_map(|(it, origin)| {
                origin
                    .as_ref()
                    .filter(|origin| !it.may_stand_at(origin.place))
            })
            .map(|origin| origin.place)
            .collect();
        let findings = &mut self.walked.findings;
        for (first, last) in missing(&self.gaps, &moved) {
            findings.push(Finding::removed(first, last));
        }
        let mut closed = 0;
        for (at, (trouble, origin)) in troubles.iter().zip(&origins).enumerate() {
            let next = origins.get(at + 1).and_then(Option::as_ref);
            trouble.judge(origin.as_ref(), next, &mut closed, findings);
        }
        // Whatever it was, it does not go unsaid.
        if let (Some(first), true) = (troubles.first(), findings.is_empty()) {
            findings.push(Finding::changed(&first.row.name, Vec::new(), 0));
        }
    }

    /// Where a row stood when it was written, if that can be found out.
    fn origin(&self, trouble: &Trouble, all: &[Trouble]) -> Option<Origin> {
        let (hash, digest) = (trouble.hash?, trouble.row.digest?);
        let follows = |before: Digest, place: u64| link(before, place, hash) == digest;
        if follows(self.start.digest(), self.start.first) {
            let rows = trouble.before.iter().rev();
            return Some(Origin {
                inserted: rows.map(|it| it.name.clone()).collect(),
                ..Origin::at(self.start.first)
            });
        }
        for other in all {
            let mut links = other.before.iter().rev().enumerate();
            let found = links.find(|(_, it)| follows(it.digest, it.place.saturating_add(1)));
            if let Some((depth, before)) = found {
                let is_own = std::ptr::eq(other, trouble);
                let rows = other.before.iter().rev().take(depth);
                return Some(Origin {
                    place: before.place.saturating_add(1),
                    inserted: match is_own {
                        true => rows.map(|it| it.name.clone()).collect(),
                        false => Vec::new(),
                    },
                    by_expected: false,
                });
            }
        }
        let places = || all.iter().flat_map(Trouble::places);
        for other in all {
            for (before, by_expected) in [(other.row.digest, false), (other.expected, true)] {
                let Some(before) = before else { continue };
                if let Some(place) = places().find(|place| follows(before, *place)) {
                    return Some(Origin {
                        by_expected,
                        ..Origin::at(place)
                    });
                }
            }
        }
        None
    }
}

/// The removed rows of which none was moved elsewhere.
fn missing(gaps: &[(u64, u64)], moved: &[u64]) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    for (first, last) in gaps {
        let mut first = *first;
        let mut inside: Vec<u64> = moved
            .iter()
            .copied()
            .filter(|it| (first..=*last).contains(it))
            .collect();
        inside.sort_unstable();
        for place in inside {
            if first < place {
                missing.push((first, place - 1));
            }
            first = place.saturating_add(1);
        }
        if first <= *last {
            missing.push((first, *last));
        }
    }
    missing
}

/// Where a row stood.
#[derive(Debug, Clone)]
struct Origin {
    place: u64,
    /// Rows that fit what they follow, and stand between it and the row that it followed.
    inserted: Vec<Name>,
    /// It followed a row that has another digest now, and nothing else.
    by_expected: bool,
}

impl Origin {
    const fn at(place: u64) -> Self {
        Self {
            place,
            inserted: Vec::new(),
            by_expected: false,
        }
    }
}

impl Trouble {
    /// Where it could have stood, by its number.
    fn places(&self) -> impl Iterator<Item = u64> {
        let number = self.row.name.sequence;
        let shifted = |by: i64| number.saturating_add_signed(by.saturating_neg());
        [
            shifted(self.shift.0),
            shifted(self.shift.1),
            number,
            number.saturating_add(1),
        ]
        .into_iter()
    }

    /// Whether that is its place, as the rows around it are numbered.
    fn may_stand_at(&self, place: u64) -> bool {
        let number = self.row.name.sequence;
        let (before, after) = (
            self.shift.0.min(self.shift.1),
            self.shift.0.max(self.shift.1),
        );
        (before..=after).any(|by| number.saturating_add_signed(by.saturating_neg()) == place)
    }

    fn judge(
        &self,
        origin: Option<&Origin>,
        next: Option<&Origin>,
        closed: &mut i64,
        findings: &mut Vec<Finding>,
    ) {
        let name = &self.row.name;
        let grown = self.shift.1.saturating_sub(self.shift.0);
        if grown < 0 && *closed != self.shift.1 {
            *closed = self.shift.1;
            let before = self.before.last().map(|it| it.name.sequence);
            let count = grown.unsigned_abs();
            findings.push(Finding::removed_and_closed(count, before, name.sequence));
        }
        if let Some(origin) = origin {
            match self.may_stand_at(origin.place) {
                true => findings.extend(origin.inserted.iter().rev().map(Finding::inserted)),
                false => findings.push(Finding::moved(name, origin.place)),
            }
            return;
        }
        if grown > 0 {
            findings.push(Finding::inserted(name));
            return;
        }
        match &self.row.fields {
            Fields::Unreadable(why) => findings.push(Finding::unreadable(name, why)),
            Fields::Purged(_) => {}
            Fields::Leaves { leaves, .. } => {
                let strange = strange(leaves, &self.row.marks);
                let is_as_it_was = strange.fields.is_empty() && strange.missing == 0;
                match is_as_it_was {
                    true if self.is_after_gap || grown < 0 => {}
                    true => findings.push(self.with_other_digest(next)),
                    false if strange.known == 0 => findings.push(Finding::inserted(name)),
                    false => {
                        let finding = Finding::changed(name, strange.fields, strange.missing);
                        findings.push(finding);
                    }
                }
            }
        }
    }

    /// Its fields are as they were: either its digest is not, or the row before it.
    fn with_other_digest(&self, next: Option<&Origin>) -> Finding {
        let name = &self.row.name;
        match self.before.last() {
            _ if self.row.digest.is_none() => Finding::digest_changed(name),
            Some(before) if next.is_none_or(|it| !it.by_expected) => {
                Finding::one_of_two(&before.name, name)
            }
            _ => Finding::digest_changed(name),
        }
    }
}

#[cfg(test)]
mod tests;
