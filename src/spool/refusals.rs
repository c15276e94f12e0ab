//! Refusals on their way to the log: gathered, summed up when they flood, written behind the mail.
//!
//! The first refusals of a client in a while are rows of their own. A client that goes on is summed
//! up: one row a second for each kind of reply, with a count. Memory is bounded by that: what is
//! kept is a row for each quiet refusal not yet written and a sum for each noisy client and reply.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::mail::{Refusal, Timestamp};

/// Rows of its own that a client gets within [`WHILE`].
const QUIET: u32 = 100;
const WHILE: Duration = Duration::from_secs(60);
/// Rows that may wait to be written; more are summed up whoever they come from.
const BACKLOG: usize = 10_000;
/// Clients remembered within a while.
const CLIENTS: usize = 10_000;

/// What is to be written, and who has been noisy.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rows: Vec<Refusal>,
    sums: HashMap<(IpAddr, String), Refusal>,
    heard: HashMap<IpAddr, u32>,
    heard_since: Timestamp,
}

impl Refusals {
    pub(super) fn add(&mut self, refusal: Refusal) {
        if self.is_quiet(&refusal) && self.rows.len() < BACKLOG {
            self.rows.push(refusal);
        } else {
            self.sum_up(refusal);
        }
    }

    /// All that is to be written now.
    pub(super) fn take(&mut self) -> Vec<Refusal> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.extend(self.sums.drain().map(|(_, sum)| sum));
        rows
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, rows: Vec<Refusal>) {
        for row in rows {
            if self.rows.len() < BACKLOG {
                self.rows.push(row);
            } else {
                self.sum_up(row);
            }
        }
    }

    fn is_quiet(&mut self, refusal: &Refusal) -> bool {
        let elapsed = refusal.at.since(self.heard_since);
        if WHILE < elapsed || refusal.at < self.heard_since || CLIENTS < self.heard.len() {
            self.heard.clear();
            self.heard_since = refusal.at;
        }
        let heard = self.heard.entry(refusal.client).or_default();
        *heard = heard.saturating_add(1);
        *heard <= QUIET
    }

    fn sum_up(&mut self, refusal: Refusal) {
        // Code and enhanced code: what kind of refusal it is.
        let kind = refusal
            .reply
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        self.sums
            .entry((refusal.client, kind))
            .and_modify(|sum| sum.count = sum.count.saturating_add(refusal.count))
            .or_insert(refusal);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::Reference;

    fn refusal(client: &str, reply: &str, second: i64) -> Refusal {
        Refusal {
            reference: Reference::from_number(7),
            at: Timestamp::from_millis(1_800_000_000_000 + second * 1000),
            client: client.parse().unwrap(),
            helo: String::new(),
            sender: None,
            sender_room: None,
            recipient: None,
            recipient_room: None,
            subject: None,
            message_id: None,
            size: None,
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
        assert_eq!(rows.len(), 100 + 1 + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 5001);
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn a_client_is_quiet_again_after_a_while() {
        let mut refusals = Refusals::default();
        for _ in 0..101 {
            refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 0));
        }
        refusals.add(refusal("127.0.1.9", "550 5.7.1 no", 61));
        let rows = refusals.take();
        assert_eq!(rows.len(), 102);
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
