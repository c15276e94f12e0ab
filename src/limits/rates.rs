//! How fast a workstation, a room and a gateway may send: messages, recipients, bytes.
//!
//! `120/min` lets 120 messages pass at once and then one every half second. What is urgent goes on
//! into a reserve; what may yet turn out to be urgent is let in on trial. A message that comes to
//! nothing is given back. Who passes as a room without being known to it uses up what strangers of
//! that room have, and nothing of the room's own. What is used is in memory only: a restart begins with full buckets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bounded::Bounded;
use super::buckets::Buckets;
use super::rate::Rate;
use super::trials::{Place, Trials};
use super::{Settings, network};
use crate::mail::{Account, Admission, Counted, Origin, OverLimit, Urgency, Weight, Workstation};

/// Messages that the reserve has room for at least. Of recipients and bytes: for one message.
const RESERVE: u64 = 5;
/// A limit is reached anew, when nothing was refused by it for so long.
const QUIET: Duration = Duration::from_secs(600);

/// `[limits.rates]` and the like; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateSettings {
    pub workstation: Option<Rate>,
    pub room: Option<Rate>,
    pub gateway: Option<Rate>,
}

impl RateSettings {
    fn of(&self, account: &Account) -> Option<Rate> {
        match account {
            Account::Workstation(_) => self.workstation,
            Account::Room(_) | Account::Strangers(_) => self.room,
            Account::Gateway(_) => self.gateway,
        }
    }
}

/// The rates in force, and what everybody has used of them.
#[derive(Debug)]
pub struct Rates {
    limits: [Limits; 3],
    trials: Arc<Trials>,
    /// Until when it is known that somebody is over a limit.
    told: Mutex<Bounded<(Counted, Account, bool), Instant>>,
}

/// Those of one counted.
#[derive(Debug)]
struct Limits {
    counted: Counted,
    rates: RateSettings,
    workstation: Option<Buckets<Account>>,
    room: Option<Buckets<Account>>,
    gateway: Option<Buckets<Account>>,
}

impl Limits {
    fn new(counted: Counted, settings: &Settings) -> Self {
        let rates = settings.rates_of(counted);
        let buckets = |rate: Option<Rate>| {
            let rate = rate?;
            let least = match counted {
                Counted::Messages => RESERVE,
                Counted::Recipients => settings.recipients as u64,
                Counted::Bytes => rate.units(settings.message_size as u64),
            };
            let reserve = rate.share(settings.urgent_reserve).max(least);
            Buckets::new(rate, u32::try_from(reserve).unwrap_or(u32::MAX))
        };
        Self {
            counted,
            workstation: buckets(rates.workstation),
            room: buckets(rates.room),
            gateway: buckets(rates.gateway),
            rates: rates.clone(),
        }
    }

    /// The rate and the buckets that `account` has one of.
    fn of(&self, account: &Account) -> Option<(Rate, &Buckets<Account>)> {
        let buckets = match account {
            Account::Workstation(_) => self.workstation.as_ref(),
            Account::Room(_) | Account::Strangers(_) => self.room.as_ref(),
            Account::Gateway(_) => self.gateway.as_ref(),
        };
        Some((self.rates.of(account)?, buckets?))
    }
}

impl Rates {
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            limits: Counted::ALL.map(|counted| Limits::new(counted, settings)),
            trials: Arc::default(),
            told: Mutex::default(),
        })
    }

    /// MAIL: may this message come in, as far as is known of it?
    pub fn admit(self: &Arc<Self>, admission: Admission) -> Result<Tab, OverLimit> {
        let mut tab = Tab {
            rates: Arc::clone(self),
            accounts: accounts(
                admission.origin,
                admission.workstation,
                admission.is_stranger,
            ),
            urgency: admission.urgency,
            charges: Vec::new(),
            messages: 0,
            recipients: 0,
            unpaid: 0,
            trial: None,
        };
        let is_urgent = admission.urgency.is_urgent();
        // Where nothing is left, not even a small one is let in.
        let octets = admission.octets.max(1);
        let answer = tab
            .look(Counted::Bytes, octets, is_urgent)
            .and_then(|()| tab.charge(Counted::Messages, 1, is_urgent));
        match answer {
            Ok(()) => tab.messages = 1,
            Err(over) => tab.try_anyway(over)?,
        }
        Ok(tab)
    }

    fn buckets(&self, counted: Counted, account: &Account) -> Option<(Rate, &Buckets<Account>)> {
        let mut limits = self.limits.iter();
        limits.find(|it| it.counted == counted)?.of(account)
    }

    /// Gives how many units were taken, or would be.
    fn ask(
        &self,
        counted: Counted,
        account: &Account,
        amount: u64,
        (is_urgent, is_look): (bool, bool),
    ) -> Result<u32, OverLimit> {
        let Some((rate, buckets)) = self.buckets(counted, account) else {
            return Ok(0);
        };
        let units = rate.units(amount);
        let answer = match is_look {
            true => buckets.look(account, units, is_urgent),
            false => buckets.take(account, units, is_urgent),
        };
        answer.map_err(|wait| {
            let over = OverLimit {
                counted,
                account: account.clone(),
                rate: rate.to_string(),
                urgent: is_urgent,
                wait,
            };
            self.tell(&over);
            over
        })
    }

    /// Says so, once: what follows is a flood.
    fn tell(&self, over: &OverLimit) {
        let key = (over.counted, over.account.clone(), over.urgent);
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = told.get(&key).is_some_and(|until| until > now);
        told.insert(key, now + QUIET, now);
        drop(told);
        if !is_known {
            tracing::warn!("{over}: what comes beyond it is told to come again");
        }
    }
}

/// Who is counted for what this one sends.
fn accounts(origin: Origin, workstation: Workstation, is_stranger: bool) -> Vec<Account> {
    let workstation = match workstation {
        Workstation::Address(address) => Workstation::Address(network(address)),
        known => known,
    };
    match origin {
        Origin::Room(room) => {
            let house = match is_stranger {
                true => Account::Strangers(room),
                false => Account::Room(room),
            };
            vec![Account::Workstation(workstation), house]
        }
        Origin::Gateway(name) => vec![Account::Gateway(name)],
        Origin::Relay => Vec::new(),
    }
}

/// What one message has been charged with. Dropped, it is given back, unless it was settled.
#[derive(Debug)]
pub struct Tab {
    rates: Arc<Rates>,
    accounts: Vec<Account>,
    urgency: Urgency,
    charges: Vec<Charge>,
    /// Charged so far.
    messages: u64,
    recipients: u64,
    /// Recipients that were let in on trial.
    unpaid: u64,
    /// Nothing is charged before its end, where it shows whether it is urgent.
    trial: Option<Place>,
}

#[derive(Debug)]
struct Charge {
    counted: Counted,
    account: Account,
    units: u32,
}

impl Tab {
    /// RCPT: may so many recipients be added?
    pub fn add_recipients(&mut self, count: u64) -> Result<(), OverLimit> {
        if self.trial.is_some() {
            self.unpaid += count;
            return Ok(());
        }
        match self.charge(Counted::Recipients, count, self.urgency.is_urgent()) {
            Ok(()) => self.recipients += count,
            // Some are in already, and shall not be refused with this one.
            Err(over) if self.recipients > 0 => return Err(over),
            Err(over) => {
                self.try_anyway(over)?;
                self.unpaid = count;
            }
        }
        Ok(())
    }

    /// The end of the content: all that was not charged yet.
    pub fn weigh(&mut self, weight: Weight) -> Result<(), OverLimit> {
        let is_urgent = weight.urgency.is_urgent();
        let recipients = weight.recipients.saturating_sub(self.recipients);
        let all = [
            (Counted::Messages, 1 - self.messages.min(1)),
            (Counted::Recipients, recipients),
            (Counted::Bytes, weight.octets),
        ];
        // Looked at first, so that nobody else is put off by what is given back at once.
        for (counted, amount) in all {
            self.look(counted, amount, is_urgent)?;
        }
        for (counted, amount) in all {
            self.take(counted, amount, is_urgent)?;
        }
        Ok(())
    }

    /// It was taken: it counts.
    pub fn settle(mut self) {
        self.charges.clear();
    }

    /// It was refused for good after so many octets of its content: it counts, as far as anything is
    /// left of a rate. Called again: more of the same message has come.
    pub fn count(&mut self, octets: u64) {
        self.charges.clear();
        self.trial = None;
        self.drain(Counted::Messages, 1 - self.messages.min(1));
        self.messages = 1;
        let unpaid = std::mem::take(&mut self.unpaid);
        self.drain(Counted::Recipients, unpaid);
        self.drain(Counted::Bytes, octets);
    }

    fn drain(&self, counted: Counted, amount: u64) {
        for account in self.accounts.iter().filter(|_| amount > 0) {
            if let Some((rate, buckets)) = self.rates.buckets(counted, account) {
                buckets.drain(account, rate.units(amount), self.urgency.is_urgent());
            }
        }
    }

    /// Over a limit, but perhaps urgent.
    fn try_anyway(&mut self, over: OverLimit) -> Result<(), OverLimit> {
        if self.urgency != Urgency::Unsaid {
            return Err(over);
        }
        let place = self.rates.trials.take(&self.accounts, Instant::now());
        self.trial = Some(place.ok_or(over)?);
        self.give_back(0);
        (self.messages, self.recipients) = (0, 0);
        Ok(())
    }

    /// Whether there is so much; nothing is charged.
    fn look(&self, counted: Counted, amount: u64, is_urgent: bool) -> Result<(), OverLimit> {
        let ask = |account| {
            let looked = self.rates.ask(counted, account, amount, (is_urgent, true));
            looked.map(|_| ())
        };
        self.accounts.iter().try_for_each(ask)
    }

    /// Looks first, so that nobody else is put off by what is given back at once.
    fn charge(&mut self, counted: Counted, amount: u64, is_urgent: bool) -> Result<(), OverLimit> {
        self.look(counted, amount, is_urgent)?;
        self.take(counted, amount, is_urgent)
    }

    /// Charges everybody, or nobody.
    fn take(&mut self, counted: Counted, amount: u64, is_urgent: bool) -> Result<(), OverLimit> {
        let before = self.charges.len();
        for account in self.accounts.clone() {
            match self
                .rates
                .ask(counted, &account, amount, (is_urgent, false))
            {
                Ok(units) => self.charges.push(Charge {
                    counted,
                    account,
                    units,
                }),
                Err(over) => {
                    self.give_back(before);
                    return Err(over);
                }
            }
        }
        Ok(())
    }

    /// All charges from this one on.
    fn give_back(&mut self, from: usize) {
        for charge in self.charges.drain(from.min(self.charges.len())..) {
            let found = self.rates.buckets(charge.counted, &charge.account);
            if let Some((_, buckets)) = found {
                buckets.give_back(&charge.account, charge.units);
            }
        }
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::IpAddr;

    use super::*;
    use crate::mail::RoomId;

    /// Rates of `[limits.rates]`, `""` for none.
    fn settings(workstation: &str, room: &str, gateway: &str) -> RateSettings {
        RateSettings {
            workstation: workstation.parse().ok(),
            room: room.parse().ok(),
            gateway: gateway.parse().ok(),
        }
    }

    fn rates(workstation: &str, room: &str, gateway: &str) -> Arc<Rates> {
        Rates::new(&Settings {
            rates: settings(workstation, room, gateway),
            ..Settings::default()
        })
    }

    fn room(id: &str) -> Origin {
        Origin::Room(RoomId::new(id))
    }

    fn admission(origin: Origin, client: &str, urgency: Urgency) -> Admission {
        let address: IpAddr = client.parse().unwrap();
        Admission {
            origin,
            workstation: Workstation::Address(address),
            urgency,
            octets: 0,
            is_stranger: false,
        }
    }

    /// One routine message, taken or not.
    fn sends(rates: &Arc<Rates>, origin: Origin, client: &str) -> bool {
        let admitted = rates.admit(admission(origin, client, Urgency::Routine));
        admitted.map(Tab::settle).is_ok()
    }

    const fn weight(urgency: Urgency) -> Weight {
        Weight {
            urgency,
            recipients: 1,
            octets: 1000,
        }
    }

    #[test]
    fn counts_each_workstation_by_itself() {
        let rates = rates("2/h", "", "");
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(sends(&rates, room("a"), "::ffff:10.0.0.1"));
        let over = rates.admit(admission(room("a"), "10.0.0.1", Urgency::Routine));
        let over = over.unwrap_err();
        assert!(over.wait > Duration::ZERO && over.wait <= Duration::from_secs(1800));
        assert_eq!(
            over.to_string(),
            "limits.rates: more than 2/h messages from workstation 10.0.0.1"
        );
        assert!(sends(&rates, room("a"), "10.0.0.2"));
        assert!(sends(&rates, Origin::Gateway("g".into()), "10.0.0.1"));
        let user = |name: &str| Admission {
            workstation: Workstation::User(name.to_owned()),
            ..admission(room("a"), "10.0.0.1", Urgency::Routine)
        };
        assert!(
            rates.admit(user("ws1")).is_ok(),
            "who logs in counts by itself"
        );
        assert!(sends(&rates, room("a"), "2001:db8::1"));
        assert!(sends(&rates, room("a"), "2001:db8::2"));
        assert!(!sends(&rates, room("a"), "2001:db8::3"), "one network");
    }

    #[test]
    fn counts_a_room_over_all_its_workstations() {
        let rates = rates("9/h", "1/h", "");
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(!sends(&rates, room("a"), "::1"));
        assert!(sends(&rates, room("b"), "::1"));
        for _ in 0..7 {
            assert!(!sends(&rates, room("a"), "10.0.0.1"), "and not its own");
        }
        assert!(sends(&rates, room("c"), "10.0.0.1"));
    }

    #[test]
    fn strangers_of_a_room_use_up_nothing_of_its_own() {
        let rates = rates("", "2/h", "");
        let stranger = |urgency| {
            rates.admit(Admission {
                is_stranger: true,
                ..admission(room("a"), "10.0.0.9", urgency)
            })
        };
        for _ in 0..2 {
            stranger(Urgency::Routine).unwrap().settle();
        }
        let over = stranger(Urgency::Routine).unwrap_err();
        assert_eq!(
            over.to_string(),
            "limits.rates: more than 2/h messages from strangers of a"
        );
        let held: Vec<_> = (0..5).map(|_| stranger(Urgency::Unsaid)).collect();
        assert!(held.iter().any(Result::is_err), "no trial place is left");
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(!sends(&rates, room("a"), "10.0.0.1"));
        let tried = rates.admit(admission(room("a"), "10.0.0.1", Urgency::Unsaid));
        assert!(tried.is_ok());
    }

    #[test]
    fn what_is_refused_for_good_counts_with_all_its_octets() {
        let rates = Rates::new(&Settings {
            rates: settings("3/h", "", ""),
            byte_rates: RateSettings {
                room: Rate::of_bytes("10 KiB/h").ok(),
                ..RateSettings::default()
            },
            ..Settings::default()
        });
        let admit = |urgency| rates.admit(admission(room("a"), "10.0.0.1", urgency));
        let mut tab = admit(Urgency::Unsaid).unwrap();
        tab.count(6 * 1024);
        tab.count(3 * 1024);
        drop(tab);
        assert!(admit(Urgency::Routine).is_ok(), "1 KiB is left");
        admit(Urgency::Routine).unwrap().count(1 << 30);
        let over = admit(Urgency::Routine).unwrap_err();
        assert!(over.wait <= Duration::from_secs(360), "{over:?}");
        admit(Urgency::Unsaid).unwrap().count(1 << 30);
        assert!(admit(Urgency::Urgent).is_ok(), "the reserve is whole");
        let over = rates.admit(admission(room("b"), "10.0.0.1", Urgency::Routine));
        assert_eq!(over.unwrap_err().counted, Counted::Messages, "on trial too");
    }

    #[test]
    fn counts_gateways_and_never_the_relay() {
        let rates = rates("1/h", "1/h", "1/h");
        assert!(sends(&rates, Origin::Gateway("g".into()), "10.0.0.1"));
        assert!(!sends(&rates, Origin::Gateway("g".into()), "10.0.0.1"));
        assert!(sends(&rates, Origin::Relay, "10.0.0.1"));
        assert!(sends(&rates, Origin::Relay, "10.0.0.1"));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rates = rates("", "", "");
        assert!((0..1000).all(|_| sends(&rates, room("a"), "10.0.0.1")));
    }

    #[test]
    fn what_came_to_nothing_is_given_back() {
        let rates = rates("2/h", "2/h", "");
        for _ in 0..10 {
            drop(
                rates
                    .admit(admission(room("a"), "10.0.0.1", Urgency::Routine))
                    .unwrap(),
            );
        }
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(!sends(&rates, room("a"), "10.0.0.1"));
    }

    #[test]
    fn a_loop_of_routine_mail_leaves_the_reserve_to_what_is_urgent() {
        let rates = rates("2/h", "2/h", "");
        let admit = |urgency| rates.admit(admission(room("a"), "10.0.0.1", urgency));
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        assert!(sends(&rates, room("a"), "10.0.0.1"));
        for _ in 0..100 {
            let mut tab = admit(Urgency::Unsaid).unwrap();
            let over = tab.weigh(weight(Urgency::Routine)).unwrap_err();
            assert!(!over.urgent);
        }
        for urgency in [Urgency::Unsaid, Urgency::Urgent, Urgency::Unsaid] {
            let mut tab = admit(urgency).unwrap();
            tab.add_recipients(1).unwrap();
            tab.weigh(weight(Urgency::Urgent)).unwrap();
            tab.settle();
        }
        let held: Vec<_> = (0..4).map(|_| admit(Urgency::Unsaid)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert!(admit(Urgency::Unsaid).is_err(), "a few at a time");
        drop(held);
        for _ in 0..2 {
            admit(Urgency::Urgent).unwrap().settle();
        }
        let over = admit(Urgency::Urgent).unwrap_err();
        assert!(over.urgent);
        let over = admit(Urgency::Unsaid)
            .unwrap()
            .weigh(weight(Urgency::Urgent));
        assert!(over.unwrap_err().urgent, "the reserve has an end");
    }

    #[test]
    fn recipients_beside_those_that_stand_are_refused_and_a_first_one_is_tried() {
        let rates = Rates::new(&Settings {
            recipients: 3,
            recipient_rates: settings("4/h", "", ""),
            ..Settings::default()
        });
        let admit = || {
            rates
                .admit(admission(room("a"), "10.0.0.1", Urgency::Unsaid))
                .unwrap()
        };
        let mut tab = admit();
        tab.add_recipients(3).unwrap();
        assert!(tab.add_recipients(2).is_err());
        tab.add_recipients(1).unwrap();
        assert!(tab.add_recipients(1).is_err());
        let four = Weight {
            recipients: 4,
            ..weight(Urgency::Routine)
        };
        tab.weigh(four).unwrap();
        tab.settle();
        let mut tab = admit();
        tab.add_recipients(1).unwrap();
        tab.add_recipients(1).unwrap();
        let two = |urgency| Weight {
            recipients: 2,
            ..weight(urgency)
        };
        assert!(tab.weigh(two(Urgency::Routine)).is_err());
        tab.weigh(two(Urgency::Urgent)).unwrap();
    }

    #[test]
    fn bytes_are_looked_at_first_and_charged_at_the_end() {
        let rates = Rates::new(&Settings {
            byte_rates: RateSettings {
                room: Rate::of_bytes("10 KiB/h").ok(),
                ..RateSettings::default()
            },
            ..Settings::default()
        });
        let admit = |octets| {
            rates.admit(Admission {
                octets,
                ..admission(room("a"), "10.0.0.1", Urgency::Routine)
            })
        };
        for _ in 0..5 {
            assert!(admit(9 * 1024).is_ok(), "nothing is charged yet");
        }
        let mut tab = admit(0).unwrap();
        let heavy = Weight {
            octets: 6 * 1024,
            ..weight(Urgency::Routine)
        };
        tab.weigh(heavy).unwrap();
        tab.settle();
        assert!(admit(4 * 1024).is_ok());
        assert!(admit(4 * 1024 + 1).is_err());
        assert!(admit(0).unwrap().weigh(heavy).is_err());
        assert!(admit(4 * 1024).is_ok(), "what was refused is not charged");
    }
}
