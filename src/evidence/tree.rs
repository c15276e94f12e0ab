//! The tree over the rows that one head covers (RFC 6962 §2.1): its root stands in the head, and a path
//! shows that a row is one of them without showing any other.

use super::hash::{Digest, Hasher};

fn leaf(row: Digest) -> Digest {
    Hasher::of("ilbud leaf").and(&row.0).end()
}

fn node(left: Digest, right: Digest) -> Digest {
    Hasher::of("ilbud node").and(&left.0).and(&right.0).end()
}

/// Grows a leaf at a time and keeps no more than a digest for each level.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Roots of whole subtrees with their sizes, the largest first.
    peaks: Vec<(u64, Digest)>,
}

impl Tree {
    pub fn add(&mut self, row: Digest) {
        let (mut size, mut root) = (1, leaf(row));
        while let Some((_, left)) = self.peaks.pop_if(|(other, _)| *other == size) {
            root = node(left, root);
            size *= 2;
        }
        self.peaks.push((size, root));
    }

    /// `None`: nothing is in it.
    pub fn root(&self) -> Option<Digest> {
        let mut peaks = self.peaks.iter().rev().map(|(_, root)| *root);
        let last = peaks.next()?;
        Some(peaks.fold(last, |right, left| node(left, right)))
    }
}

pub fn root(rows: &[Digest]) -> Option<Digest> {
    let mut tree = Tree::default();
    rows.iter().for_each(|row| tree.add(*row));
    tree.root()
}

/// The largest power of two below `size`, which is at least two.
const fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

/// What has to be known beside the row at `place` to come to the root, from the leaf upward.
pub fn path(rows: &[Digest], place: usize) -> Option<Vec<Digest>> {
    match rows.len() {
        size if place >= size => None,
        1 => Some(Vec::new()),
        size => {
            let (left, right) = rows.split_at_checked(split(size))?;
            let (mut path, other) = match place.checked_sub(left.len()) {
                None => (path(left, place)?, right),
                Some(place) => (path(right, place)?, left),
            };
            path.push(root(other)?);
            Some(path)
        }
    }
}

/// The root to which a path leads from a row at `place` of `size`; `None` where it is too long or too short.
pub fn climb(row: Digest, place: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    match (size, path.split_last()) {
        (0, _) => None,
        _ if place >= size => None,
        (1, None) => Some(leaf(row)),
        (1, Some(_)) | (_, None) => None,
        (_, Some((other, rest))) => {
            let left = split(usize::try_from(size).ok()?) as u64;
            match place.checked_sub(left) {
                None => Some(node(climb(row, place, left, rest)?, *other)),
                Some(place) => Some(node(*other, climb(row, place, size - left, rest)?)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn rows(size: usize) -> Vec<Digest> {
        let digest = |n: usize| Hasher::of("test").and(&n.to_be_bytes()).end();
        (0..size).map(digest).collect()
    }

    /// RFC 6962 §2.1, word for word.
    fn by_the_book(rows: &[Digest]) -> Digest {
        match rows {
            [row] => leaf(*row),
            _ => {
                let (left, right) = rows.split_at(split(rows.len()));
                node(by_the_book(left), by_the_book(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc() {
        assert_eq!(root(&[]), None);
        for size in 1..70 {
            let rows = rows(size);
            assert_eq!(root(&rows), Some(by_the_book(&rows)), "{size}");
        }
    }

    proptest! {
        #[test]
        fn a_path_leads_to_the_root_from_its_place_alone(size in 1_usize..300, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
            let rows = rows(size);
            let place = at.index(size);
            let path = path(&rows, place).unwrap();
            let root = root(&rows);
            let whole = size as u64;
            prop_assert_eq!(climb(rows[place], place as u64, whole, &path), root);
            let elsewhere = other.index(size);
            if elsewhere != place {
                prop_assert_ne!(climb(rows[place], elsewhere as u64, whole, &path), root);
                prop_assert_ne!(climb(rows[elsewhere], place as u64, whole, &path), root);
            }
            prop_assert_eq!(climb(rows[place], whole, whole, &path), None);
        }

        #[test]
        fn no_other_path_leads_there(size in 2_usize..300, at in any::<prop::sample::Index>(), step in any::<prop::sample::Index>(), octet in 0_usize..32, bit in 0_u8..8) {
            let rows = rows(size);
            let place = at.index(size);
            let path = path(&rows, place).unwrap();
            let (root, whole) = (root(&rows), size as u64);
            let mut bent = path.clone();
            let step = step.index(path.len());
            bent[step].0[octet] ^= 1 << bit;
            prop_assert_ne!(climb(rows[place], place as u64, whole, &bent), root);
            prop_assert_eq!(climb(rows[place], place as u64, whole, &path[1..]), None);
            let longer = [&path[..], &[rows[place]]].concat();
            prop_assert_eq!(climb(rows[place], place as u64, whole, &longer), None);
        }
    }
}
