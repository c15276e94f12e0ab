//! What an engine says of itself → its [`Identity`].
//!
//! Two ways of writing it are known: ClamAV's (clamd's VERSION and `clamscan --version` say the same)
//! and that of McAfee's and Trellix's `uvscan --version`; of any other the first line is the version.
//! Both write the time of their signatures without a zone: it is taken to be in the zone of this
//! machine. A time that is no time, or that lies further ahead than zones can explain, is left out:
//! signatures of tomorrow would never grow old. Pure; it cannot fail.

use std::time::Duration;

use super::said::said;
use crate::mail::{Identity, Timestamp};

/// How far ahead a time may lie that was written in another zone.
const ZONES_APART: Duration = Duration::from_secs(26 * 3600);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const UVSCAN_SIGNATURES: &str = "Dat set version:";

/// Whoever it is.
pub fn read(text: &[u8], now: Timestamp) -> Identity {
    let text = String::from_utf8_lossy(text);
    let lines = || text.lines().map(str::trim).filter(|it| !it.is_empty());
    let first = lines().next().unwrap_or_default();
    if first.starts_with("ClamAV ") {
        return clamav(first, now);
    }
    let signatures = lines().find_map(|line| line.strip_prefix(UVSCAN_SIGNATURES));
    let (signatures, at) = signatures.map_or((None, None), |it| uvscan(it, now));
    Identity {
        version: filled(first),
        signatures,
        signatures_at: at,
    }
}

/// `ClamAV 1.4.3/27600/Tue Nov 24 08:00:00 2026`; without its own signatures only the first part.
fn clamav(line: &str, now: Timestamp) -> Identity {
    let mut parts = line.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    Identity {
        version: filled(part()),
        signatures: filled(part()),
        signatures_at: moment(part(), now),
    }
}

/// ` 9118 created Dec 26 2018`
fn uvscan(line: &str, now: Timestamp) -> (Option<String>, Option<Timestamp>) {
    let (signatures, at) = line.split_once("created").unwrap_or((line, ""));
    (filled(signatures), moment(at, now))
}

fn filled(text: &str) -> Option<String> {
    Some(said(text.as_bytes())).filter(|it| !it.is_empty())
}

/// `Tue Nov 24 08:00:00 2026`, with or without the day of the week and the time of day.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (mut month, mut day, mut year, mut time) = (None, None, None, "00:00:00");
    for word in text.split_whitespace() {
        if let Some(at) = MONTHS.iter().position(|it| *it == word) {
            month = Some(at + 1);
        } else if word.contains(':') {
            time = word;
        } else if let Ok(number) = word.parse::<u16>() {
            match word.len() {
                1 | 2 => day = Some(number),
                4 => year = Some(number),
                _ => return None,
            }
        }
    }
    let is_time = time.len() == 8 && time.bytes().all(|it| it.is_ascii_digit() || it == b':');
    let written = format!("{:04}-{:02}-{:02} {time}", year?, month?, day?);
    let moment = Timestamp::from_local(&written)
        .or_else(|fault| fault.about().ok_or(fault))
        .ok()
        .filter(|_| is_time)?;
    let is_past = Timestamp::from_millis(0) < moment && moment <= now.after(ZONES_APART);
    is_past.then_some(moment)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn local(text: &str) -> Option<Timestamp> {
        Some(Timestamp::from_local(text).unwrap())
    }

    #[test]
    fn understands_clamav_and_uvscan() {
        let now = local("2026-11-24 09:00:00").unwrap();
        let uvscan = "McAfee VirusScan Command Line for Linux64 Version: 6.0.4.564\n\
                      Copyright (C) 2013 McAfee, Inc.\n\n\
                      AV Engine version: 5600.1067 for Linux64.\n\
                      Dat set version: 9118 created Dec 26 2018\n\
                      Scanning for 668680 viruses, trojans and variants.\n";
        let first = "McAfee VirusScan Command Line for Linux64 Version: 6.0.4.564";
        #[rustfmt::skip]
        let cases = [
            ("ClamAV 1.4.3/27600/Tue Nov 24 08:00:00 2026", "ClamAV 1.4.3", "27600", local("2026-11-24 08:00:00")),
            ("ClamAV 1.4.3/27600/Tue Nov  3 08:00:00 2026\n", "ClamAV 1.4.3", "27600", local("2026-11-03 08:00:00")),
            ("ClamAV 1.4.3", "ClamAV 1.4.3", "", None),
            ("ClamAV 1.4.3/27600", "ClamAV 1.4.3", "27600", None),
            ("ClamAV 1.4.3//", "ClamAV 1.4.3", "", None),
            ("", "", "", None),
            ("\n\nEngine 5\nmore", "Engine 5", "", None),
            (uvscan, first, "9118", local("2018-12-26 00:00:00")),
            ("X\nDat set version: 1 created", "X", "1", None),
            ("X\nDat set version:", "X", "", None),
        ];
        for (text, version, signatures, at) in cases {
            let identity = read(text.as_bytes(), now);
            let [said_version, said_signatures] =
                [&identity.version, &identity.signatures].map(|it| it.clone().unwrap_or_default());
            assert_eq!(said_version, version, "{text}");
            assert_eq!(said_signatures, signatures, "{text}");
            assert_eq!(identity.signatures_at, at, "{text}");
        }
    }

    #[test]
    fn a_wrong_time_is_none() {
        let now = local("2026-11-24 09:00:00").unwrap();
        let ahead = |text| read(format!("ClamAV 1/2/{text}").as_bytes(), now).signatures_at;
        for text in [
            "Tue Feb 30 08:00:00 2026",
            "Tue Nov 24 25:00:00 2026",
            "Tue Nov 24 08:00:00 99999999999999999999",
            "Tue Nov 24 08:00:00 0000",
            "Tue Nov 24 08:00:00 1969",
            "Tue Nov 24 08:00:00",
            "Tue Nov 99 08:00:00 2026",
            "Tue Nov -1 08:00:00 2026",
            "Tue November 24 08:00:00 2026",
            "Nov 24 08:00:00+99 2026",
            "Nov 24 ::::::::::: 2026",
            "2026-11-24T08:00:00Z",
            "tomorrow",
            // The clock of whoever made them is wrong.
            "Thu Nov 26 12:00:00 2026",
            "Tue Nov 24 08:00:00 2037",
        ] {
            assert_eq!(ahead(text), None, "{text}");
        }
        assert!(ahead("Wed Nov 25 10:00:00 2026").is_some());
    }
}
