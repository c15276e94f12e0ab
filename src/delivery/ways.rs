//! Which ways to next hops are known to be silent, for all connections alike.
//!
//! A way is a next hop, or one of the servers of a domain. Remembers that nobody could be spoken
//! with there until somebody answers, so that mail does not wait for it where there is another way.
//! Decides nothing about a message, and never connects. Forgets ways that no table names any more
//! before it takes up too many; what it cannot remember is asked in its turn, as if it answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::policy::table::{NextHop, RoutingTable};

/// Far more than a table has next hops.
const CAPACITY: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WayName {
    pub hop: NextHop,
    /// Which of the servers of a domain; `None`: any.
    pub exchanger: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// Who names next hops; nobody: each is taken to be named.
    table: Option<watch::Receiver<Arc<RoutingTable>>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    silent: HashMap<WayName, Silent>,
    turns: u64,
}

/// Since when, as a number, and whether somebody looks after it.
#[derive(Debug)]
struct Silent {
    turn: u64,
    watched: bool,
}

/// Proof that this one, and nobody else, looks after a silent way. Dropped, another may.
#[derive(Debug)]
pub struct Watch {
    ways: Ways,
    pub way: WayName,
    turn: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(it) = self.ways.known().silent.get_mut(&self.way)
            && it.turn == self.turn
        {
            it.watched = false;
        }
    }
}

impl Watch {
    /// Whether it is still silent, and named by the table; what is not named is forgotten.
    pub fn is_needed(&self) -> bool {
        if !self.ways.is_named(&self.way) {
            self.ways.known().silent.remove(&self.way);
        }
        let known = self.ways.known();
        known
            .silent
            .get(&self.way)
            .is_some_and(|it| it.turn == self.turn)
    }
}

impl Ways {
    pub fn named_in(table: watch::Receiver<Arc<RoutingTable>>) -> Self {
        Self {
            table: Some(table),
            ..Self::default()
        }
    }

    pub fn is_silent(&self, way: &WayName) -> bool {
        self.known().silent.contains_key(way)
    }

    /// Nobody could be spoken with there.
    pub fn is_found_silent(&self, way: WayName) {
        if !self.make_room() {
            return;
        }
        let known = &mut *self.known();
        known.turns += 1;
        let turn = known.turns;
        known.silent.entry(way).or_insert(Silent {
            turn,
            watched: false,
        });
    }

    /// Whether it had been silent.
    pub fn has_answered(&self, way: &WayName) -> bool {
        self.known().silent.remove(way).is_some()
    }

    /// To look after a silent way, where nobody does.
    pub fn watch(&self, way: &WayName) -> Option<Watch> {
        let known = &mut *self.known();
        let it = known.silent.get_mut(way).filter(|it| !it.watched)?;
        it.watched = true;
        Some(Watch {
            ways: self.clone(),
            way: way.clone(),
            turn: it.turn,
        })
    }

    fn make_room(&self) -> bool {
        let known = &mut *self.known();
        if known.silent.len() >= CAPACITY {
            known.silent.retain(|way, _| self.is_named(way));
        }
        known.silent.len() < CAPACITY
    }

    fn is_named(&self, way: &WayName) -> bool {
        self.table.as_ref().is_none_or(|table| {
            let table = Arc::clone(&table.borrow());
            table.rooms().any(|room| room.next_hops.contains(&way.hop))
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn way(port: usize) -> WayName {
        WayName {
            hop: NextHop::parse(&format!("smtp://a.test:{port}")).unwrap(),
            exchanger: None,
        }
    }

    #[test]
    fn one_watches_at_a_time_until_it_answers() {
        let ways = Ways::default();
        assert!(!ways.is_silent(&way(1)) && ways.watch(&way(1)).is_none());
        ways.is_found_silent(way(1));
        ways.is_found_silent(way(1));
        let watch = ways.watch(&way(1)).unwrap();
        assert!(ways.is_silent(&way(1)) && ways.watch(&way(1)).is_none());
        drop(watch);
        let watch = ways.watch(&way(1)).unwrap();
        assert!(watch.is_needed());
        assert!(ways.has_answered(&way(1)) && !ways.has_answered(&way(1)));
        ways.is_found_silent(way(1));
        // It is silent anew, and somebody else's to look after.
        assert!(!watch.is_needed());
        let anew = ways.watch(&way(1)).unwrap();
        drop(watch);
        assert!(ways.watch(&way(1)).is_none() && anew.is_needed());
    }

    #[test]
    fn what_no_table_names_is_forgotten() {
        let table = watch::Sender::new(Arc::new(RoutingTable::parse("", 1).unwrap().0));
        let ways = Ways::named_in(table.subscribe());
        ways.is_found_silent(way(1));
        assert!(!ways.watch(&way(1)).unwrap().is_needed());
        assert!(!ways.is_silent(&way(1)));
        for port in 1..=3 * CAPACITY {
            ways.is_found_silent(way(port));
        }
        assert!(ways.known().silent.len() <= CAPACITY);
        assert!(ways.is_silent(&way(3 * CAPACITY)));
        let unnamed = Ways::default();
        for port in 1..=CAPACITY + 1 {
            unnamed.is_found_silent(way(port));
        }
        assert!(!unnamed.is_silent(&way(CAPACITY + 1)));
    }
}
