//! Where each room's mail goes, remembered to see when that changes.
//!
//! Pure. A new table, and a redirect that begins or ends by the clock, turn a room's mail elsewhere;
//! what waits for the old next hops has no reason to wait then. Fails never.

use std::collections::HashMap;
use std::sync::Arc;

use crate::mail::{RoomId, Timestamp};
use crate::policy::decide;
use crate::policy::table::{NextHop, RoutingTable};

/// The next hops of each room, as of the last look.
#[derive(Debug)]
pub(super) struct Ways {
    table: Arc<RoutingTable>,
    hops: HashMap<RoomId, Vec<NextHop>>,
}

impl Ways {
    pub(super) fn of(table: Arc<RoutingTable>, now: Timestamp) -> Self {
        let hops = table
            .rooms()
            .filter_map(|room| Some((room.id.clone(), decide::route(&room.id, &table, now)?)))
            .map(|(room, route)| (room, route.next_hops))
            .collect();
        Self { table, hops }
    }

    /// The rooms whose mail goes elsewhere since the last look, or has somewhere to go again.
    pub(super) fn turned(&mut self, table: &Arc<RoutingTable>, now: Timestamp) -> Vec<RoomId> {
        let is_same = Arc::ptr_eq(table, &self.table);
        if is_same && table.redirects().next().is_none() {
            return Vec::new();
        }
        let before = std::mem::replace(self, Self::of(Arc::clone(table), now)).hops;
        let here = self.hops.iter();
        here.filter(|(room, hops)| before.get(*room) != Some(hops))
            .map(|(room, _)| room.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn table(redirects: &str, hop_of_b: &str) -> Arc<RoutingTable> {
        let room = |id: &str, hop: &str| {
            format!(
                "[[room]]\nid = \"{id}\"\nname = \"{id}\"\nkind = \"amk\"\n\
                 domains = [\"{id}.nodnett.test\"]\nnext_hops = [\"{hop}\"]\n"
            )
        };
        let (a, b) = (room("a", "maildir:mail/a"), room("b", hop_of_b));
        let text = format!("{a}{b}{redirects}");
        Arc::new(RoutingTable::parse(&text, 1).unwrap().0)
    }

    #[test]
    fn a_room_turns_when_its_next_hops_do() {
        let now: Timestamp = NOW.parse().unwrap();
        let redirect = "[[redirect]]\nroom = \"b\"\nto = \"a\"\n\
            from = 2026-11-22T12:00:10Z\nuntil = 2026-11-22T12:00:20Z\n";
        let same = table(redirect, "smtp://127.0.0.1:25");
        let moved = table("", "smtp://127.0.0.1:26");
        let mut ways = Ways::of(Arc::clone(&same), now);
        for (table, seconds, expected) in [
            (&same, 9, &[][..]),
            (&same, 10, &["b"]),
            (&same, 19, &[]),
            (&same, 20, &["b"]),
            (&moved, 21, &["b"]),
            (&moved, 22, &[]),
        ] {
            let turned = ways.turned(table, now.after(Duration::from_secs(seconds)));
            let turned: Vec<&str> = turned.iter().map(RoomId::as_str).collect();
            assert_eq!(turned, expected, "after {seconds} s");
        }
    }
}
