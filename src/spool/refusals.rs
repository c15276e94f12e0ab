//! Refusals on their way to the log: gathered, summed up when they flood, written behind the mail.
//!
//! The refusals of a client are rows of their own, some hundreds at once and some dozens a second.
//! What goes beyond is a flood and is summed up: a row for each kind of reply, with a count, and apart for messages
//! with attachments, some of whose names it has. Memory is bounded by that: what is
//! kept is a row for each quiet refusal not yet written and a sum for each noisy client and reply.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::mail::{Attachment, Refusal, Timestamp};

/// Rows of its own that a client gets at once, and how fast it gets new ones.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 20.0;
/// Rows that may wait to be written; more are summed up whoever they come from.
const BACKLOG: usize = 10_000;
/// Clients remembered at a time.
const CLIENTS: usize = 10_000;

/// Attachments that a sum knows of, each once.
const SUMMED_ATTACHMENTS: usize = 32;
/// Attachments that may wait to be written; of messages that come then only the first few are known.
const ATTACHMENTS: usize = 20_000;
const FEW_ATTACHMENTS: usize = 4;

/// What is to be written, and who has been noisy.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rows: Vec<Refusal>,
    /// Of these rows; those of one message are counted once.
    attachments: usize,
    /// By client, kind of reply, and whether there are attachments.
    sums: HashMap<(IpAddr, String, bool), Refusal>,
    heard: HashMap<IpAddr, Bucket>,
}

/// Rows that a client may still have, as of a moment.
#[derive(Debug)]
struct Bucket {
    rows: f64,
    at: Timestamp,
}

impl Bucket {
    /// Whether there is one more; a clock that goes back only gives nothing.
    fn take(&mut self, now: Timestamp) -> bool {
        let refill = now.since(self.at).as_secs_f64() * PER_SECOND;
        self.rows = (self.rows + refill).min(BURST);
        self.at = now;
        let is_quiet = self.rows >= 1.0;
        if is_quiet {
            self.rows -= 1.0;
        }
        is_quiet
    }
}

impl Refusals {
    pub(super) fn add(&mut self, refusal: Refusal) {
        if self.is_quiet(&refusal) && self.rows.len() < BACKLOG {
            self.push(refusal);
        } else {
            self.sum_up(refusal);
        }
    }

    fn push(&mut self, mut refusal: Refusal) {
        let last = self.rows.last();
        // The rows of one message share them.
        let are_shared = last.is_some_and(|it| Arc::ptr_eq(&it.attachments, &refusal.attachments));
        if !are_shared {
            if ATTACHMENTS < self.attachments + refusal.attachments.len() {
                cut(&mut refusal, FEW_ATTACHMENTS);
            }
            self.attachments += refusal.attachments.len();
        }
        self.rows.push(refusal);
    }

    /// All that is to be written now.
    pub(super) fn take(&mut self) -> Vec<Refusal> {
        self.attachments = 0;
        let mut rows = std::mem::take(&mut self.rows);
        rows.extend(self.sums.drain().map(|(_, sum)| sum));
        rows
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, rows: Vec<Refusal>) {
        for row in rows {
            if self.rows.len() < BACKLOG {
                self.push(row);
            } else {
                self.sum_up(row);
            }
        }
    }

    fn is_quiet(&mut self, refusal: &Refusal) -> bool {
        if CLIENTS <= self.heard.len() {
            let now = refusal.at;
            self.heard.retain(|_, bucket| {
                bucket.rows + now.since(bucket.at).as_secs_f64() * PER_SECOND < BURST
            });
        }
        if CLIENTS <= self.heard.len() {
            return false;
        }
        let full = || Bucket {
            rows: BURST,
            at: refusal.at,
        };
        self.heard
            .entry(refusal.client)
            .or_insert_with(full)
            .take(refusal.at)
    }

    fn sum_up(&mut self, mut refusal: Refusal) {
        cut(&mut refusal, SUMMED_ATTACHMENTS);
        // Code and enhanced code: what kind of refusal it is.
        let kind = refusal
            .reply
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let has_attachments = !refusal.attachments.is_empty();
        self.sums
            .entry((refusal.client, kind, has_attachments))
            .and_modify(|sum| add_up(sum, &refusal))
            .or_insert(refusal);
    }
}

/// Rows to be written together: so many, and with as many attachments, unless one row has more.
pub(super) fn portions<'a>(
    rows: &'a [Refusal],
    size: usize,
) -> impl Iterator<Item = &'a [Refusal]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let (mut weight, mut last): (usize, Option<&Refusal>) = (0, None);
        let mut fits = |row: &'a Refusal| {
            let are_shared = last.is_some_and(|it| Arc::ptr_eq(&it.attachments, &row.attachments));
            weight += if are_shared {
                1
            } else {
                1 + row.attachments.len()
            };
            last = Some(row);
            weight <= size
        };
        let count = left.iter().take_while(|row| fits(row)).count().max(1);
        let (portion, rest) = left.split_at_checked(count)?;
        left = rest;
        Some(portion)
    })
}

/// Leaves the first attachments.
fn cut(refusal: &mut Refusal, most: usize) {
    if let Some((first, rest)) = refusal.attachments.split_at_checked(most) {
        let members = rest.iter().filter(|it| it.within.is_some());
        refusal.files_left_out += members.count() as u64;
        refusal.attachments = first.into();
    }
}

fn add_up(sum: &mut Refusal, refusal: &Refusal) {
    sum.count = sum.count.saturating_add(refusal.count);
    sum.files_left_out = sum.files_left_out.saturating_add(refusal.files_left_out);
    let room = SUMMED_ATTACHMENTS.saturating_sub(sum.attachments.len());
    let is_new = |it: &&Attachment| !sum.attachments.contains(it);
    let new = refusal.attachments.iter().filter(is_new).take(room);
    let new: Vec<Attachment> = new.cloned().collect();
    if !new.is_empty() {
        sum.attachments = sum.attachments.iter().cloned().chain(new).collect();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::{FileType, Reference};

    fn refusal(client: &str, reply: &str, second: i64) -> Refusal {
        Refusal {
            reference: Reference::from_number(7),
            at: Timestamp::from_millis(1_800_000_000_000 + second * 1000),
            client: client.parse().unwrap(),
            helo: String::new(),
            user: None,
            certificate: None,
            sender: None,
            sender_room: None,
            recipient: None,
            recipient_room: None,
            subject: None,
            message_id: None,
            size: None,
            attachments: Arc::default(),
            files_left_out: 0,
            malware: Vec::new(),
            reply: reply.to_owned(),
            rule: None,
            revision: None,
            count: 1,
        }
    }

    #[test]
    fn a_flood_is_summed_up_and_nothing_is_uncounted() {
        let mut refusals = Refusals::default();
        for _ in 0..5000 {
            refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 0));
        }
        refusals.add(refusal("127.0.2.9", "550 5.7.1 no", 1));
        let rows = refusals.take();
        assert_eq!(rows.len(), 300 + 1 + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 5001);
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn a_flood_with_attachments_says_which() {
        let mut refusals = Refusals::default();
        for n in 0..350 {
            let name = format!("{}.scr", n % 40);
            let attachment = Attachment {
                name,
                within: None,
                size: Some(3),
                sha256: Some("ab".repeat(32)),
                kind: FileType::Text,
            };
            refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 0));
            refusals.add(Refusal {
                attachments: [attachment].into(),
                ..refusal("127.0.1.9", "550 5.7.1 no", 0)
            });
        }
        let rows = refusals.take();
        let mut sums: Vec<_> = rows.iter().filter(|row| row.count > 1).collect();
        sums.sort_by_key(|row| row.attachments.len());
        let counts: Vec<_> = sums
            .iter()
            .map(|row| (row.count, row.attachments.len()))
            .collect();
        assert_eq!(counts, [(200, 0), (200, SUMMED_ATTACHMENTS)]);
    }

    #[test]
    fn what_is_written_together_is_bounded() {
        let of = |n: usize| Refusal {
            attachments: (0..n)
                .map(|_| Attachment {
                    name: String::new(),
                    within: None,
                    size: Some(0),
                    sha256: None,
                    kind: FileType::Text,
                })
                .collect(),
            ..refusal("127.0.1.9", "550 5.7.1 no", 0)
        };
        let (none, five, thirty) = (of(0), of(5), of(30));
        for (rows, expected) in [
            (vec![], vec![]),
            (vec![&none; 11], vec![10, 1]),
            (vec![&thirty, &none, &none], vec![1, 2]),
            // The rows of one message share its attachments.
            (vec![&five, &five, &five, &none, &five], vec![4, 1]),
        ] {
            let rows: Vec<Refusal> = rows.into_iter().cloned().collect();
            let sizes: Vec<usize> = portions(&rows, 10).map(<[Refusal]>::len).collect();
            assert_eq!(sizes, expected);
        }
    }

    #[test]
    fn attachments_that_wait_are_bounded() {
        let of = |n: usize| -> Arc<[Attachment]> {
            let one = |n| Attachment {
                name: format!("{n}.scr"),
                within: None,
                size: Some(3),
                sha256: Some("ab".repeat(32)),
                kind: FileType::Text,
            };
            (0..n).map(one).collect()
        };
        let mut refusals = Refusals::default();
        let shared = of(15_000);
        for attachments in [&shared, &shared, &of(5_000), &of(1), &of(900)] {
            refusals.add(Refusal {
                attachments: Arc::clone(attachments),
                ..refusal("127.0.1.9", "550 5.7.1 no", 0)
            });
        }
        let known = |rows: &[Refusal]| -> Vec<usize> {
            rows.iter().map(|row| row.attachments.len()).collect()
        };
        assert_eq!(known(&refusals.take()), [15_000, 15_000, 5_000, 1, 4]);
        refusals.add(Refusal {
            attachments: shared,
            ..refusal("127.0.1.9", "550 5.7.1 no", 0)
        });
        assert_eq!(known(&refusals.take()), [15_000]);
    }

    #[test]
    fn a_client_is_quiet_again_after_a_while() {
        let mut refusals = Refusals::default();
        for _ in 0..302 {
            refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 0));
        }
        assert_eq!(refusals.take().len(), 301);
        for _ in 0..20 {
            refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 1));
        }
        let rows = refusals.take();
        assert_eq!(rows.len(), 20);
        assert!(rows.iter().all(|row| row.count == 1));
    }

    #[test]
    fn what_could_not_be_written_comes_again() {
        let mut refusals = Refusals::default();
        refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 0));
        let rows = refusals.take();
        refusals.put_back(rows.clone());
        assert_eq!(refusals.take(), rows);
    }
}
