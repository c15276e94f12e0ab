//! Sightings of workstations on their way to the store: only what is news, and behind the mail.
//!
//! A workstation that sends all day is written once a minute; what is new about it (that it is there,
//! where, how it speaks, what it lacks) within a second. What waits is one row for each workstation, and
//! both what waits and what is remembered are bounded: past that, sightings are lost, and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use crate::mail::{Lapse, Sighting, Station, Timestamp};

/// A workstation about which nothing is new is written this often.
const AGAIN: Duration = Duration::from_secs(60);
/// Workstations remembered, and those that may wait to be written; half of the latter may be strangers.
const MOST: usize = 10_000;
const MOST_STRANGERS: usize = MOST / 2;

/// What is to be written, and what was written last.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    waiting: HashMap<Station, Sighting>,
    strangers: usize,
    written: HashMap<Station, Written>,
}

/// What the store knows of one.
#[derive(Debug)]
struct Written {
    last: Sighting,
    /// When each lapse was last written.
    failed: Vec<(Lapse, Timestamp)>,
}

impl Written {
    /// Whether the store is to hear of it. A clock that was set makes everything news.
    fn is_news(&self, sighting: &Sighting) -> bool {
        let is_old =
            |at: Timestamp| at.after(AGAIN) <= sighting.at || sighting.at.after(AGAIN) <= at;
        let fresh = |lapse| {
            self.failed
                .iter()
                .any(|(it, at)| *it == lapse && !is_old(*at))
        };
        is_old(self.last.at)
            || self.last.address != sighting.address
            || self.last.tls != sighting.tls
            || self.last.certificate_ends_at != sighting.certificate_ends_at
            || sighting.lapses.iter().any(|lapse| !fresh(lapse))
    }
}

impl Sightings {
    /// Whether it is to be written.
    pub(super) fn add(&mut self, sighting: Sighting) -> bool {
        if let Some(waiting) = self.waiting.get_mut(&sighting.station) {
            let lapses = waiting
                .lapses
                .iter()
                .chain(sighting.lapses.iter())
                .collect();
            *waiting = Sighting { lapses, ..sighting };
            return true;
        }
        let written = self.written.get(&sighting.station);
        if !written.is_none_or(|it| it.is_news(&sighting)) {
            return false;
        }
        let is_stranger = sighting.lapses.has(Lapse::UnknownWorkstation);
        if self.waiting.len() >= MOST || (is_stranger && self.strangers >= MOST_STRANGERS) {
            return false;
        }
        self.strangers += usize::from(is_stranger);
        self.waiting.insert(sighting.station.clone(), sighting);
        true
    }

    /// All that is to be written now.
    pub(super) fn take(&mut self) -> Vec<Sighting> {
        self.strangers = 0;
        self.waiting.drain().map(|(_, sighting)| sighting).collect()
    }

    /// These are in the store.
    pub(super) fn written(&mut self, sightings: &[Sighting]) {
        for sighting in sightings {
            if self.written.len() >= MOST && !self.written.contains_key(&sighting.station) {
                self.make_room(sighting.at);
            }
            let written = self.written.entry(sighting.station.clone());
            let written = written.or_insert_with(|| Written {
                last: sighting.clone(),
                failed: Vec::new(),
            });
            written.last = sighting.clone();
            written.failed.retain(|(it, _)| !sighting.lapses.has(*it));
            let failed = sighting.lapses.iter().map(|it| (it, sighting.at));
            written.failed.extend(failed);
        }
    }

    /// Whatever is not known here is only written once more.
    fn make_room(&mut self, now: Timestamp) {
        self.written.retain(|_, it| now < it.last.at.after(AGAIN));
        if self.written.len() >= MOST {
            self.written.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Lapses, Origin, RoomId, StationKind};

    fn sighting(name: &str, second: i64, lapses: &[Lapse]) -> Sighting {
        Sighting {
            station: Station {
                origin: Origin::Room(RoomId::new("a")),
                kind: StationKind::Address,
                name: name.to_owned(),
            },
            at: Timestamp::from_millis(1_800_000_000_000 + second * 1000),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            tls: None,
            certificate_ends_at: None,
            lapses: lapses.iter().copied().collect(),
        }
    }

    fn write(sightings: &mut Sightings) -> usize {
        let rows = sightings.take();
        sightings.written(&rows);
        rows.len()
    }

    #[test]
    fn only_news_is_written() {
        let mut sightings = Sightings::default();
        let (tls, bare) = (Lapse::MissingTls, Lapse::BareNewlines);
        for (second, lapses, is_news) in [
            (0, &[tls][..], true),
            (1, &[tls], false),
            (2, &[tls, bare], true),
            (3, &[tls], false),
            (4, &[], false),
            (5, &[tls, bare], false),
            (59, &[tls], false),
            (62, &[tls, bare], true),
            (63, &[tls, bare], false),
            (10, &[tls], false),
            // The clock was set back.
            (-100, &[tls], true),
            (-99, &[tls], false),
        ] {
            let found = sightings.add(sighting("10.1.0.7", second, lapses));
            assert_eq!(found, is_news, "{second}");
            assert_eq!(write(&mut sightings), usize::from(is_news));
        }
        let moved = Sighting {
            tls: Some("TLSv1.3".to_owned()),
            ..sighting("10.1.0.7", 64, &[])
        };
        assert!(sightings.add(moved));
    }

    #[test]
    fn what_waits_is_one_row_for_each() {
        let mut sightings = Sightings::default();
        sightings.add(sighting("10.1.0.7", 0, &[Lapse::BareNewlines]));
        sightings.add(sighting("10.1.0.7", 1, &[Lapse::MissingTls]));
        let rows = sightings.take();
        let expected = Lapses::NONE.and(Lapse::MissingTls).and(Lapse::BareNewlines);
        assert_eq!(rows.len(), 1);
        assert!(rows.iter().all(|it| it.lapses == expected));
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_others() {
        let mut sightings = Sightings::default();
        let stranger =
            |n: usize| sighting(&format!("stranger {n}"), 0, &[Lapse::UnknownWorkstation]);
        let taken = (0..30_000).filter(|n| sightings.add(stranger(*n))).count();
        assert_eq!(taken, MOST_STRANGERS);
        assert!(sightings.add(sighting("10.1.0.7", 0, &[])));
        for _ in 0..4 {
            let rows: Vec<_> = (0..MOST).map(stranger).collect();
            sightings.written(&rows);
            assert!(sightings.written.len() <= MOST);
        }
    }
}
