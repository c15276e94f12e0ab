//! How much one client, room or gateway may send: settings, connections, rates, wrong logins, and how
//! many passwords are checked at once.
//!
//! Nothing here fails, and only [`Checks::turn`] waits; who is over a limit is told how long to wait.

use std::net::IpAddr;

use crate::mail::Counted;

mod acquaintances;
mod bounded;
mod buckets;
mod checks;
mod connections;
mod failed_logins;
mod rate;
mod rates;
mod trials;

pub use acquaintances::{Acquaintances, REMEMBERED};
pub use checks::Checks;
pub use connections::{Connections, Guest, Seat};
pub use failed_logins::{FailedLoginSettings, FailedLogins};
pub use rate::{ByteRateFault, Rate, RateFault};
pub use rates::{RateSettings, Rates, Tab};

use crate::smtp::patience::Timeouts;

/// `[limits]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Octets of content.
    pub message_size: usize,
    /// Recipients of one message.
    pub recipients: usize,
    pub connections: usize,
    pub connections_per_address: usize,
    /// Of `connections`, those that strangers never have.
    pub connections_kept: usize,
    /// Octets for the bodies of messages in hand.
    pub memory: usize,
    /// Messages, recipients and bytes.
    pub rates: RateSettings,
    pub recipient_rates: RateSettings,
    pub byte_rates: RateSettings,
    /// What urgent mail has on top of each rate, in percent of it.
    pub urgent_reserve: u8,
    pub failed_logins: FailedLoginSettings,
    pub timeouts: Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            message_size: 25 * 1024 * 1024,
            recipients: 100,
            connections: 5000,
            connections_per_address: 100,
            connections_kept: 500,
            memory: 512 << 20,
            rates: RateSettings::default(),
            recipient_rates: RateSettings::default(),
            byte_rates: RateSettings::default(),
            urgent_reserve: 20,
            failed_logins: FailedLoginSettings::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Settings {
    const fn rates_of(&self, counted: Counted) -> &RateSettings {
        match counted {
            Counted::Messages => &self.rates,
            Counted::Recipients => &self.recipient_rates,
            Counted::Bytes => &self.byte_rates,
        }
    }

    /// What can hardly be meant.
    pub fn doubts(&self) -> Vec<String> {
        let of = |counted| self.doubts_of(counted);
        Counted::ALL.into_iter().flat_map(of).collect()
    }

    fn doubts_of(&self, counted: Counted) -> Vec<String> {
        let (table, rates) = (counted.setting(), self.rates_of(counted));
        let one_message = match counted {
            Counted::Messages => ("a message", 1),
            Counted::Recipients => ("recipients", self.recipients as u64),
            Counted::Bytes => ("message_size", self.message_size as u64),
        };
        let (what, amount) = one_message;
        let too_small = |(key, rate): (&str, Option<Rate>)| {
            let rate = rate.filter(|it| it.units(amount) > u64::from(it.size().get()))?;
            Some(format!(
                "[limits.{table}] {key} = \"{rate}\" is less than {what} allows for one message: a message that \
                 is larger passes only when nothing was sent before it"
            ))
        };
        let each = [
            ("workstation", rates.workstation),
            ("room", rates.room),
            ("gateway", rates.gateway),
        ];
        let mut doubts: Vec<String> = each.into_iter().filter_map(too_small).collect();
        if let (Some(workstation), Some(room)) = (rates.workstation, rates.room)
            && workstation.exceeds(room)
        {
            doubts.push(format!(
                "[limits.{table}] workstation = \"{workstation}\" is more than room = \"{room}\": one workstation can \
                 use up what its whole room may send"
            ));
        }
        doubts
    }
}

/// What one client can have all of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}
