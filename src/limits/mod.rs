//! How much one client, room or gateway may send: settings, connections, rates, and wrong logins.
//!
//! Nothing here blocks or fails; who is over a limit is told how long to wait.

use std::net::IpAddr;

mod buckets;
mod checks;
mod connections;
mod failed_logins;
mod rate;
mod rates;

pub use checks::Checks;
pub use connections::{Connections, Guest, Seat};
pub use failed_logins::{FailedLoginSettings, FailedLogins};
pub use rate::{Rate, RateFault};
pub use rates::{RateSettings, Rates};

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
    pub rates: RateSettings,
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
            failed_logins: FailedLoginSettings::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// What one client can have all of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}
