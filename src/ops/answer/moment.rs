//! Moments and lengths as people say them.

use std::time::Duration;

use super::Telling;
use super::words::{Moments, say};
use crate::mail::{Shown, Timestamp};

impl Telling<'_> {
    /// When something happened: `kl. 14:02:11`.
    pub(super) fn when(&self, at: Timestamp) -> String {
        self.moment(at, &self.words.at)
    }

    /// The same after "since" or "until".
    pub(super) fn bare(&self, at: Timestamp) -> String {
        self.moment(at, &self.words.bare)
    }

    /// After "since" or "until", from RFC 3339, as events have it.
    pub(super) fn written(&self, at: &str) -> String {
        at.parse()
            .map_or_else(|_| at.to_owned(), |at| self.bare(at))
    }

    /// The same, for when something happens.
    pub(super) fn written_when(&self, at: &str) -> String {
        at.parse()
            .map_or_else(|_| at.to_owned(), |at| self.when(at))
    }

    fn moment(&self, at: Timestamp, moments: &Moments) -> String {
        let here = (self.known.zone)(at);
        let now = (self.known.zone)(self.known.now);
        let minute = here
            .clock
            .get(..5)
            .map_or_else(|| here.clock.clone(), str::to_owned);
        let minute = marked(&minute, &here);
        match here.days - now.days {
            0 => say!(moments.today, clock = marked(&here.clock, &here)),
            -1 => say!(moments.yesterday, clock = minute),
            1 => say!(moments.tomorrow, clock = minute),
            _ if here.year == now.year => say!(
                moments.this_year,
                day = here.day,
                month = self.month(&here),
                clock = minute
            ),
            _ => say!(
                moments.another_year,
                day = here.day,
                month = self.month(&here),
                year = here.year,
                clock = minute
            ),
        }
    }

    fn month(&self, here: &Shown) -> &'static str {
        let place = usize::try_from(here.month).unwrap_or_default();
        let month = self.words.months.get(place.saturating_sub(1));
        month.copied().unwrap_or_default()
    }

    /// `1,3 s`, `45 s`, `12 min`, `5 t`.
    pub(super) fn length(&self, length: Duration) -> String {
        let lengths = &self.words.lengths;
        let (tenths, seconds) = ((length.as_millis() + 50) / 100, length.as_secs());
        match seconds {
            _ if tenths == 0 => lengths.next_to_nothing.to_owned(),
            _ if tenths < 100 => {
                let n = format!("{}{}{}", tenths / 10, lengths.decimal, tenths % 10);
                say!(lengths.seconds, n = n)
            }
            0..120 => say!(lengths.seconds, n = seconds),
            120..7_200 => say!(lengths.minutes, n = seconds / 60),
            7_200..172_800 => say!(lengths.hours, n = seconds / 3_600),
            _ => say!(lengths.days, n = seconds / 86_400),
        }
    }
}

/// With the zone, where that is not to be taken for granted.
fn marked(clock: &str, here: &Shown) -> String {
    match &here.zone {
        Some(zone) => format!("{clock} ({zone})"),
        None => clock.to_owned(),
    }
}
