//! Places: connections that are open, in all and from each address, and who leaves when places get
//! short.
//!
//! A part of the places is kept for whoever the routing table names: strangers never have them all.
//! When places get short, the one that has been longest without a transaction makes room, strangers
//! first; nobody leaves in the middle of a message. Who comes from a load balancer, not yet named, has
//! no workstation leave: if only that would help, it stands at the door until it says who it is.
//! Nothing here waits or fails: who finds no place is told so by the caller, and who is to leave hears
//! of it in [`Seat::is_needed`].

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Settings, network};

/// Places are short when more than this part of them is taken.
const MANY: (usize, usize) = (4, 5);
/// How long one may be there without a transaction while places are short.
const STRANGER_WHEN_SHORT: Duration = Duration::from_secs(10);
const KNOWN_WHEN_SHORT: Duration = Duration::from_secs(60);
/// The same when no place is left, and somebody stands at the door whom the table names.
const STRANGER_WHEN_FULL: Duration = Duration::from_secs(1);
const KNOWN_WHEN_FULL: Duration = Duration::from_secs(10);
/// So many leave for one that comes, so that places become fewer.
const LEAVE_AT_ONCE: usize = 2;
/// So many may be on their way out: they still hold what a connection holds.
const MOST_LEAVING: usize = 500;
/// So many may stand at the door, beyond all places.
const MOST_AT_DOOR: usize = 100;

/// Who connects, for all that is known before it says a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guest {
    Stranger,
    /// The routing table names its address, or it has shown who it is.
    Known,
}

/// Connections that are open, in all and from each address (of IPv6: from each /64).
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_strangers: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those without a transaction, in the order in which they make room.
    idle: Line,
    /// Not yet named, and without a place.
    at_door: usize,
    /// Those that were told to leave; they hold no place any more.
    leaving: usize,
    taken: u64,
}

/// Who makes room, and in which order: strangers, and those that are known.
#[derive(Debug, Default)]
struct Line {
    strangers: BTreeMap<Turn, Arc<Notify>>,
    known: BTreeMap<Turn, Arc<Notify>>,
}

/// When it is whose turn to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    guest: Guest,
    since: Instant,
    number: u64,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    connections: Arc<Connections>,
    /// Unknown at first behind a load balancer.
    address: Option<IpAddr>,
    needed: Arc<Notify>,
    guest: Guest,
    number: u64,
    is_at_door: bool,
    /// While it has no transaction, and until it makes room.
    turn: Option<Turn>,
}

impl Connections {
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            most: settings.connections,
            most_strangers: settings
                .connections
                .saturating_sub(settings.connections_kept),
            most_per_address: settings.connections_per_address,
            open: Mutex::default(),
        })
    }

    /// A place for one more from `address`; `None`: the house, or the address's share, is full.
    pub fn take(self: &Arc<Self>, address: IpAddr, guest: Guest, now: Instant) -> Option<Seat> {
        if !self.has_share(&self.open(), address) {
            return None;
        }
        let mut seat = self.take_place(guest, now)?;
        seat.name(address, guest, now).then_some(seat)
    }

    /// A place, or one at the door, for a load balancer's connection, of whose client nothing is known
    /// yet; `None`: the house is full.
    pub fn take_unnamed(self: &Arc<Self>, now: Instant) -> Option<Seat> {
        let mut open = self.open();
        self.make_room(&mut open, Guest::Stranger, now);
        if !self.has_room(&open, Guest::Known) {
            open.send_one_away(Guest::Stranger, now);
        }
        let has_room = self.has_room(&open, Guest::Known);
        let may_wait = open.at_door < MOST_AT_DOOR && open.due(Guest::Known, now).is_some();
        if !has_room && !may_wait {
            return None;
        }
        let mut seat = self.seat(&mut open, Guest::Known);
        match has_room {
            true => seat.sit_down(&mut open, now),
            false => {
                open.at_door += 1;
                seat.is_at_door = true;
            }
        }
        Some(seat)
    }

    fn take_place(self: &Arc<Self>, guest: Guest, now: Instant) -> Option<Seat> {
        let mut open = self.open();
        self.make_room(&mut open, guest, now);
        if !self.has_room(&open, guest) {
            return None;
        }
        let mut seat = self.seat(&mut open, guest);
        seat.sit_down(&mut open, now);
        Some(seat)
    }

    fn seat(self: &Arc<Self>, open: &mut Open, guest: Guest) -> Seat {
        open.taken += 1;
        Seat {
            connections: Arc::clone(self),
            address: None,
            needed: Arc::default(),
            guest,
            number: open.taken,
            is_at_door: false,
            turn: None,
        }
    }

    fn has_room(&self, open: &Open, guest: Guest) -> bool {
        open.all < self.most && (guest == Guest::Known || open.strangers < self.most_strangers)
    }

    fn has_share(&self, open: &Open, address: IpAddr) -> bool {
        let mine = open.by_address.get(&network(address));
        mine.copied().unwrap_or(0) < self.most_per_address
    }

    /// Sends away whom it is time for.
    fn make_room(&self, open: &mut Open, guest: Guest, now: Instant) {
        let (part, whole) = MANY;
        for _ in 0..LEAVE_AT_ONCE {
            if open.all * whole >= self.most * part {
                open.send_away(guest, STRANGER_WHEN_SHORT, KNOWN_WHEN_SHORT, now);
            } else if open.strangers * whole >= self.most_strangers * part {
                let only = Guest::Stranger;
                open.send_away(only, STRANGER_WHEN_SHORT, KNOWN_WHEN_SHORT, now);
            }
        }
        if guest == Guest::Known && !self.has_room(open, guest) {
            open.send_one_away(guest, now);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&mut self, guest: Guest) {
        self.all += 1;
        if guest == Guest::Stranger {
            self.strangers += 1;
        }
    }

    fn uncount(&mut self, guest: Guest) {
        self.all = self.all.saturating_sub(1);
        if guest == Guest::Stranger {
            self.strangers = self.strangers.saturating_sub(1);
        }
    }

    /// The next one makes room for `newcomer`, if it has been idle for long enough.
    fn send_away(&mut self, newcomer: Guest, stranger: Duration, known: Duration, now: Instant) {
        let Some(turn) = self.idle.first() else {
            return;
        };
        let patience = match turn.guest {
            Guest::Stranger => stranger,
            Guest::Known => known,
        };
        if turn.guest <= newcomer && turn.is_due(patience, now) {
            self.dismiss(turn);
        }
    }

    /// The house is full. Strangers that have only just come do not cover for those behind them.
    fn send_one_away(&mut self, newcomer: Guest, now: Instant) {
        let stranger = self.due(Guest::Stranger, now);
        let known = || self.due(Guest::Known, now);
        let turn = stranger.or_else(|| (newcomer == Guest::Known).then(known)?);
        if let Some(turn) = turn {
            self.dismiss(turn);
        }
    }

    /// The first of these in line, if it has been idle for long enough to leave a full house.
    fn due(&self, guest: Guest, now: Instant) -> Option<Turn> {
        let patience = match guest {
            Guest::Stranger => STRANGER_WHEN_FULL,
            Guest::Known => KNOWN_WHEN_FULL,
        };
        let first = self.idle.first_of(guest);
        first.filter(|turn| turn.is_due(patience, now))
    }

    fn dismiss(&mut self, turn: Turn) {
        if self.leaving < MOST_LEAVING
            && let Some(needed) = self.idle.remove(&turn)
        {
            needed.notify_one();
            self.uncount(turn.guest);
            self.leaving += 1;
        }
    }
}

impl Turn {
    fn is_due(&self, patience: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= patience
    }
}

impl Line {
    /// Strangers go first.
    fn first(&self) -> Option<Turn> {
        let known = || self.first_of(Guest::Known);
        self.first_of(Guest::Stranger).or_else(known)
    }

    fn first_of(&self, guest: Guest) -> Option<Turn> {
        let turns = match guest {
            Guest::Stranger => &self.strangers,
            Guest::Known => &self.known,
        };
        turns.first_key_value().map(|(turn, _)| *turn)
    }

    fn insert(&mut self, turn: Turn, needed: Arc<Notify>) {
        self.of(turn.guest).insert(turn, needed);
    }

    fn remove(&mut self, turn: &Turn) -> Option<Arc<Notify>> {
        self.of(turn.guest).remove(turn)
    }

    const fn of(&mut self, guest: Guest) -> &mut BTreeMap<Turn, Arc<Notify>> {
        match guest {
            Guest::Stranger => &mut self.strangers,
            Guest::Known => &mut self.known,
        }
    }
}

impl Seat {
    /// Whose it is is known now. `false`: that address's share is full, or strangers have no place left.
    pub fn name(&mut self, address: IpAddr, guest: Guest, now: Instant) -> bool {
        let connections = Arc::clone(&self.connections);
        let mut open = connections.open();
        if self.address.is_some() || !connections.has_share(&open, address) {
            return false;
        }
        if self.is_at_door {
            connections.make_room(&mut open, guest, now);
            if !connections.has_room(&open, guest) {
                return false;
            }
            self.come_in(guest, &mut open, now);
        } else if guest != self.guest {
            connections.make_room(&mut open, guest, now);
            if guest == Guest::Stranger && open.strangers >= connections.most_strangers {
                return false;
            }
            self.become_guest(guest, &mut open);
        }
        let address = network(address);
        *open.by_address.entry(address).or_default() += 1;
        drop(open);
        self.address = Some(address);
        true
    }

    pub const fn guest(&self) -> Guest {
        self.guest
    }

    /// It has shown who it is.
    pub fn is_known(&mut self) {
        if self.guest == Guest::Stranger {
            let connections = Arc::clone(&self.connections);
            self.become_guest(Guest::Known, &mut connections.open());
        }
    }

    /// A transaction is under way, or not: nobody leaves in the middle of one.
    pub fn is_busy(&mut self, is_busy: bool, now: Instant) {
        if is_busy == self.turn.is_some() && !self.is_at_door {
            let connections = Arc::clone(&self.connections);
            let mut open = connections.open();
            match is_busy {
                true => self.leave_line(&mut open),
                false => self.wait_in(&mut open, now),
            }
        }
    }

    /// It brought a message, and goes to the end of the line.
    pub fn has_served(&mut self, now: Instant) {
        self.is_busy(true, now);
        self.is_busy(false, now);
    }

    /// Ready when another needs the place.
    pub async fn is_needed(&self) {
        self.needed.notified().await;
    }

    fn come_in(&mut self, guest: Guest, open: &mut Open, now: Instant) {
        open.at_door = open.at_door.saturating_sub(1);
        self.is_at_door = false;
        self.guest = guest;
        self.sit_down(open, now);
    }

    fn sit_down(&mut self, open: &mut Open, now: Instant) {
        open.count(self.guest);
        self.wait_in(open, now);
    }

    fn wait_in(&mut self, open: &mut Open, now: Instant) {
        let turn = Turn {
            guest: self.guest,
            since: now,
            number: self.number,
        };
        open.idle.insert(turn, Arc::clone(&self.needed));
        self.turn = Some(turn);
    }

    /// Whoever was told to leave has no turn in the line, and keeps it.
    fn leave_line(&mut self, open: &mut Open) {
        if self
            .turn
            .is_some_and(|turn| open.idle.remove(&turn).is_some())
        {
            self.turn = None;
        }
    }

    fn become_guest(&mut self, guest: Guest, open: &mut Open) {
        let turn = self.turn;
        self.leave_line(open);
        match (turn, self.turn) {
            // It was told to leave, and holds no place.
            (_, Some(_)) => return,
            (Some(turn), None) => {
                open.uncount(self.guest);
                self.guest = guest;
                self.wait_in(open, turn.since);
            }
            (None, None) => {
                open.uncount(self.guest);
                self.guest = guest;
            }
        }
        open.count(guest);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        match self.turn {
            Some(turn) if open.idle.remove(&turn).is_none() => {
                open.leaving = open.leaving.saturating_sub(1);
            }
            _ if self.is_at_door => open.at_door = open.at_door.saturating_sub(1),
            _ => open.uncount(self.guest),
        }
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn connections(most: usize, kept: usize, per_address: usize) -> Arc<Connections> {
        Connections::new(&Settings {
            connections: most,
            connections_kept: kept,
            connections_per_address: per_address,
            ..Settings::default()
        })
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn is_sent_away(seat: &Seat) -> bool {
        let open = seat.connections.open();
        seat.turn.is_some_and(|it| {
            !open.idle.strangers.contains_key(&it) && !open.idle.known.contains_key(&it)
        })
    }

    fn sent_away(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len())
            .filter(|at| is_sent_away(&seats[*at]))
            .collect()
    }

    /// So many come at once, each from an address of its own.
    fn come(house: &Arc<Connections>, guest: Guest, many: u32, now: Instant) -> Vec<Seat> {
        let first = u32::try_from(house.open().taken).unwrap();
        let numbers = first..first + many;
        numbers
            .filter_map(|it| house.take(address(it), guest, now))
            .collect()
    }

    #[test]
    fn seats_are_counted_in_all_and_by_address() {
        let (house, now) = (connections(3, 0, 2), Instant::now());
        let take = |number| house.take(address(number), Guest::Known, now);
        let first = take(1).unwrap();
        let second = take(1).unwrap();
        assert!(take(1).is_none(), "the address's share");
        let third = take(2).unwrap();
        assert!(take(2).is_none(), "the house");
        drop(first);
        let fourth = take(2).unwrap();
        assert!(take(1).is_none(), "the house again");
        drop((second, third, fourth));
        let open = house.open();
        assert!(open.by_address.is_empty() && open.idle.first().is_none());
        assert_eq!((open.all, open.strangers, open.leaving), (0, 0, 0));
    }

    #[test]
    fn of_ipv6_a_network_has_one_share() {
        let (house, now) = (connections(9, 0, 1), Instant::now());
        let take = |it: &str| house.take(it.parse().unwrap(), Guest::Stranger, now);
        let held = take("2001:db8::1").unwrap();
        assert!(take("2001:db8::ffff:2").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(take("2001:db8::3").is_some());
    }

    #[test]
    fn strangers_never_have_all_places() {
        let (house, now) = (connections(100, 10, 1), Instant::now());
        let strangers = come(&house, Guest::Stranger, 200, now);
        assert_eq!(strangers.len(), 90);
        let known = come(&house, Guest::Known, 200, now);
        assert_eq!(known.len(), 10, "and no stranger was there for long");
        assert!(sent_away(&strangers).is_empty());
    }

    #[test]
    fn strangers_that_idle_make_room() {
        let (house, start) = (connections(100, 10, 1), Instant::now());
        let strangers = come(&house, Guest::Stranger, 90, start);
        let later = start + STRANGER_WHEN_FULL;
        let known = come(&house, Guest::Known, 30, later);
        assert_eq!(known.len(), 30);
        assert_eq!(sent_away(&strangers), (0..20).collect::<Vec<_>>());
        assert!(come(&house, Guest::Stranger, 1, later).is_empty() || house.open().all <= 100);
        let much_later = start + STRANGER_WHEN_SHORT;
        let more = come(&house, Guest::Stranger, 10, much_later);
        assert_eq!(more.len(), 10);
        assert!(
            sent_away(&known).is_empty(),
            "a stranger never takes the place of a workstation"
        );
        drop((strangers, known, more));
        let open = house.open();
        assert_eq!((open.all, open.strangers, open.leaving), (0, 0, 0));
    }

    #[test]
    fn while_places_are_many_nobody_leaves() {
        let (house, start) = (connections(100, 10, 1), Instant::now());
        let strangers = come(&house, Guest::Stranger, 70, start);
        let later = start + Duration::from_secs(100_000);
        assert_eq!(come(&house, Guest::Known, 1, later).len(), 1);
        assert!(sent_away(&strangers).is_empty());
    }

    #[test]
    fn among_the_known_the_longest_idle_goes_and_nobody_in_a_transaction() {
        let (house, start) = (connections(10, 0, 1), Instant::now());
        let mut seats = come(&house, Guest::Known, 10, start);
        seats[0].is_busy(true, start);
        seats[1].has_served(start + Duration::from_secs(30));
        assert!(come(&house, Guest::Known, 1, start + Duration::from_secs(9)).is_empty());
        let now = start + KNOWN_WHEN_FULL;
        let newcomer = come(&house, Guest::Known, 1, now);
        assert_eq!((newcomer.len(), sent_away(&seats)), (1, vec![2]));
        let newcomers = come(&house, Guest::Known, 7, now);
        assert_eq!((newcomers.len(), sent_away(&seats)), (7, (2..10).collect()));
        // The last of them begins a transaction while it is told.
        seats[9].is_busy(true, now);
        seats[9].is_busy(false, now);
        assert!(is_sent_away(&seats[9]));
        let later = now + KNOWN_WHEN_SHORT;
        assert_eq!(come(&house, Guest::Stranger, 2, later).len(), 0);
        assert!(!is_sent_away(&seats[0]) && !is_sent_away(&seats[1]));
        drop((seats, newcomer, newcomers));
        let open = house.open();
        assert_eq!((open.all, open.strangers, open.leaving), (0, 0, 0));
    }

    #[test]
    fn who_shows_who_it_is_is_a_stranger_no_more() {
        let (house, start) = (connections(10, 2, 1), Instant::now());
        let mut strangers = come(&house, Guest::Stranger, 8, start);
        strangers[0].is_known();
        assert_eq!(house.open().strangers, 7);
        let now = start + Duration::from_secs(20);
        assert_eq!(come(&house, Guest::Stranger, 1, now).len(), 1);
        assert_eq!(sent_away(&strangers), [1]);
        strangers[1].is_known();
        drop(strangers);
        assert_eq!(house.open().all, 0);
    }

    #[test]
    fn behind_a_balancer_a_stranger_is_one_once_it_is_named() {
        let (house, now) = (connections(10, 5, 1), Instant::now());
        let strangers = come(&house, Guest::Stranger, 5, now);
        let mut seat = house.take_unnamed(now).unwrap();
        assert!(!seat.name(address(90), Guest::Stranger, now));
        drop(seat);
        let mut seat = house.take_unnamed(now).unwrap();
        assert!(seat.name(address(91), Guest::Known, now));
        assert!(!seat.name(address(92), Guest::Known, now), "once");
        drop((strangers, seat));
        assert_eq!(house.open().all, 0);
    }

    #[test]
    fn behind_a_balancer_a_stranger_takes_no_workstation_s_place() {
        let (house, start) = (connections(10, 5, 1), Instant::now());
        let known = come(&house, Guest::Known, 10, start);
        let now = start + KNOWN_WHEN_SHORT;
        assert!(house.take(address(90), Guest::Stranger, now).is_none());
        let mut seat = house.take_unnamed(now).unwrap();
        assert!(sent_away(&known).is_empty(), "it may be anybody");
        assert!(!seat.name(address(91), Guest::Stranger, now));
        assert!(sent_away(&known).is_empty());
        drop(seat);
        let mut seat = house.take_unnamed(now).unwrap();
        assert!(seat.name(address(92), Guest::Known, now));
        assert!(!sent_away(&known).is_empty(), "a workstation is let in");
        drop((known, seat));
        let open = house.open();
        assert_eq!((open.all, open.leaving, open.at_door), (0, 0, 0));
    }

    #[test]
    fn behind_a_balancer_idle_strangers_make_room_for_whoever_it_is() {
        let (house, start) = (connections(10, 0, 1), Instant::now());
        let strangers = come(&house, Guest::Stranger, 10, start);
        assert!(house.take_unnamed(start).is_none(), "nobody could leave");
        let mut seat = house.take_unnamed(start + STRANGER_WHEN_FULL).unwrap();
        assert_eq!(sent_away(&strangers), [0]);
        assert!(seat.name(address(90), Guest::Known, start + STRANGER_WHEN_FULL));
        assert_eq!(house.open().all, 10);
    }

    #[test]
    fn strangers_that_come_and_go_do_not_keep_a_workstation_out() {
        let (house, start) = (connections(10, 5, 1), Instant::now());
        let known = come(&house, Guest::Known, 5, start);
        let now = start + KNOWN_WHEN_FULL;
        let strangers = come(&house, Guest::Stranger, 5, now);
        assert_eq!((known.len(), strangers.len()), (5, 5));
        assert_eq!(come(&house, Guest::Known, 1, now).len(), 1);
        assert_eq!(
            (sent_away(&known), sent_away(&strangers)),
            (vec![0], vec![])
        );
    }

    #[test]
    fn only_so_many_are_on_their_way_out() {
        let (house, start) = (connections(2000, 0, 1), Instant::now());
        let idle = come(&house, Guest::Stranger, 2000, start);
        let now = start + STRANGER_WHEN_SHORT;
        let newcomers = come(&house, Guest::Stranger, 2000, now);
        assert_eq!(sent_away(&idle).len(), MOST_LEAVING);
        assert_eq!(newcomers.len(), MOST_LEAVING);
    }

    #[test]
    fn who_is_told_hears_it_even_later() {
        let (house, start) = (connections(1, 0, 1), Instant::now());
        let first = house.take(address(1), Guest::Stranger, start).unwrap();
        let _second = house.take(address(2), Guest::Known, start + STRANGER_WHEN_FULL);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(first.is_needed());
    }
}
