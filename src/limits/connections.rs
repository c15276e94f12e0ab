//! Connections that are open, in all and from each address: a place is taken, and given back when dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;

/// Connections that are open, in all and from each address.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    /// Unknown at first behind a load balancer.
    address: Option<IpAddr>,
}

impl Connections {
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            most: settings.connections,
            most_per_address: settings.connections_per_address,
            open: Mutex::default(),
        })
    }

    /// A place for one more from `address`; `None`: the house, or the address's share, is full.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut seat = self.take_unnamed()?;
        seat.name(address).then_some(seat)
    }

    /// A place for one more, whose address is not known yet; `None`: the house is full.
    pub fn take_unnamed(self: &Arc<Self>) -> Option<Seat> {
        let mut open = self.open();
        if open.all >= self.most {
            return None;
        }
        open.all += 1;
        Some(Seat {
            connections: Arc::clone(self),
            address: None,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whose it is is known now. `false`: that address's share is full.
    pub fn name(&mut self, address: IpAddr) -> bool {
        let mut open = self.connections.open();
        let mine = open.by_address.get(&address).copied().unwrap_or(0);
        if self.address.is_some() || mine >= self.connections.most_per_address {
            return false;
        }
        open.by_address.insert(address, mine + 1);
        drop(open);
        self.address = Some(address);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all = open.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(mine) = open.by_address.get_mut(&address) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn seats_are_counted_in_all_and_by_address() {
        let connections = Connections::new(&Settings {
            connections: 3,
            connections_per_address: 2,
            ..Settings::default()
        });
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|it| it.parse().unwrap());
        let first = connections.take(one).unwrap();
        let second = connections.take(one).unwrap();
        assert!(connections.take(one).is_none(), "the address's share");
        let third = connections.take(two).unwrap();
        assert!(connections.take(two).is_none(), "the house");
        drop(first);
        let fourth = connections.take(two).unwrap();
        assert!(connections.take(one).is_none(), "the house again");
        drop((second, third, fourth));
        assert!(connections.open().by_address.is_empty());
    }
}
