//! Our certificate, the authorities of theirs and what those have revoked, read again when they change.
//!
//! Each of the three is taken up by itself, so that a broken revocation list does not keep a renewed
//! certificate out, nor the other way round. New files that cannot be used leave the old ones in force,
//! with an alarm, which is repeated every hour; they are tried again until they can. What is in force and
//! needs a person's eye, such as an overdue list, is said at the start, when it comes up, and every hour.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_rustls::rustls::server::ResolvesServerCert;

use super::revocation::{self, List};
use super::workstations::{Authority, Workstations};
use super::{Incoming, Settings, TlsFault, own, provider, workstation_authorities};
use crate::mail::Timestamp;
use crate::stamp::{self, Stamp};

/// How often what needs a person's eye is said again.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

/// Files that are used together, and what was made of them.
#[derive(Debug)]
struct Part<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    /// What is on disk could not be taken up yet.
    behind: Option<Behind>,
    value: T,
}

/// Why not, and when that was said.
#[derive(Debug, PartialEq, Eq)]
struct Behind {
    fault: String,
    said_at: Instant,
}

impl<T> Part<T> {
    fn load(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl FnOnce() -> Result<T, TlsFault>,
    ) -> Result<Self, TlsFault> {
        Ok(Self {
            what,
            stamps: stamps(&files),
            files,
            behind: None,
            value: load()?,
        })
    }

    /// Whether something new is in use.
    fn look_again(&mut self, now: Instant, load: impl FnOnce() -> Result<T, TlsFault>) -> bool {
        let stamps = stamps(&self.files);
        let is_news = stamps != self.stamps;
        if !is_news && self.behind.is_none() {
            return false;
        }
        self.stamps = stamps;
        let what = self.what;
        match load() {
            Ok(value) => {
                self.value = value;
                tracing::info!(files = ?self.files, "a new {what} is in use");
                self.behind = None;
            }
            // Often the second file has only not been written yet, or may not be read yet.
            Err(fault) => self.stays_behind(fault.to_string(), is_news, now),
        }
        self.behind.is_none()
    }

    /// Says so, unless just that was said within the hour.
    fn stays_behind(&mut self, fault: String, is_news: bool, now: Instant) {
        let is_said = self.behind.as_ref().is_some_and(|it| {
            it.fault == fault && now.saturating_duration_since(it.said_at) < SAY_AGAIN
        });
        if is_said && !is_news {
            return;
        }
        tracing::error!(%fault, "the {} in use stays in use", self.what);
        self.behind = Some(Behind {
            fault,
            said_at: now,
        });
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    stamp::of_all(files.iter().map(PathBuf::as_path))
}

/// What the listeners shake hands with, and the files that it comes from.
#[derive(Debug)]
pub struct Reloading {
    settings: Settings,
    own: Part<Arc<dyn ResolvesServerCert>>,
    authorities: Part<Vec<Authority>>,
    lists: Part<Vec<Arc<List>>>,
    current: watch::Sender<Arc<Incoming>>,
}

impl Reloading {
    pub fn load(settings: &Settings) -> Result<Self, TlsFault> {
        let files = vec![settings.certificate.clone(), settings.private_key.clone()];
        let own = Part::load("certificate", files, || own(settings))?;
        let files = settings.client_ca.iter().cloned().collect();
        let authorities = Part::load("list of authorities", files, || authorities(settings))?;
        let files = settings.client_crl.clone();
        let lists = Part::load("revocation list", files, || {
            lists(settings, &authorities.value)
        })?;
        let workstations = workstations(&authorities.value, &lists.value);
        let incoming = incoming(&own.value, workstations);
        Ok(Self {
            settings: settings.clone(),
            own,
            authorities,
            lists,
            current: watch::Sender::new(incoming),
        })
    }

    /// What the next handshake is to be done with.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Incoming>> {
        self.current.subscribe()
    }

    pub fn now_in_use(&self) -> Arc<Incoming> {
        Arc::clone(&self.current.borrow())
    }

    /// Looks at the files for as long as the relay lives.
    pub async fn watch_files(mut self, every: Duration) {
        let mut doubts = Doubts::default();
        loop {
            doubts.say(&self.now_in_use());
            tokio::time::sleep(every).await;
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        let settings = &self.settings;
        let now = Instant::now();
        let is_own_new = self.own.look_again(now, || own(settings));
        let are_authorities_new = self.authorities.look_again(now, || authorities(settings));
        let known = &self.authorities.value;
        let are_lists_new = self.lists.look_again(now, || lists(settings, known));
        let workstations = match are_authorities_new || are_lists_new {
            true => workstations(known, &self.lists.value),
            // The same, so that open sessions see that nothing has changed for them.
            false if is_own_new => self.current.borrow().workstations.clone(),
            false => return,
        };
        let incoming = incoming(&self.own.value, workstations);
        self.current.send_replace(incoming);
    }
}

fn authorities(settings: &Settings) -> Result<Vec<Authority>, TlsFault> {
    let file = settings.client_ca.as_deref();
    file.map_or_else(|| Ok(Vec::new()), workstation_authorities)
}

fn lists(settings: &Settings, authorities: &[Authority]) -> Result<Vec<Arc<List>>, TlsFault> {
    let lists = revocation::read(&settings.client_crl)?;
    let algorithms = provider().signature_verification_algorithms;
    revocation::expose_strangers(&lists, authorities, &algorithms)?;
    Ok(lists.into_iter().map(Arc::new).collect())
}

/// None where clients are not asked for certificates.
fn workstations(authorities: &[Authority], lists: &[Arc<List>]) -> Option<Arc<Workstations>> {
    let algorithms = provider().signature_verification_algorithms;
    let workstations = || Arc::new(Workstations::new(authorities, lists, algorithms));
    (!authorities.is_empty()).then(workstations)
}

fn incoming(
    own: &Arc<dyn ResolvesServerCert>,
    workstations: Option<Arc<Workstations>>,
) -> Arc<Incoming> {
    Arc::new(Incoming {
        provider: provider(),
        own: Arc::clone(own),
        workstations,
    })
}

/// What was said, and when.
#[derive(Debug, Default)]
struct Doubts {
    said: Vec<String>,
    said_at: Option<Instant>,
}

impl Doubts {
    fn say(&mut self, incoming: &Incoming) {
        let doubts = incoming.doubts(Timestamp::now());
        let is_time = self.said_at.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        for doubt in &doubts {
            if is_time || !self.said.contains(doubt) {
                tracing::warn!("{doubt}");
            }
        }
        if is_time {
            self.said_at = Some(Instant::now());
        }
        self.said = doubts;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_said_every_hour_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crl");
        let load = || {
            let content = fs::read(&file).map_err(|cause| TlsFault::new(&file, cause))?;
            let broken = || TlsFault::new(Path::new("ca.crl"), "is broken");
            content
                .starts_with(b"good")
                .then_some(())
                .ok_or_else(broken)
        };
        fs::write(&file, "good").unwrap();
        let mut part = Part::load("revocation list", vec![file.clone()], load).unwrap();
        let start = Instant::now();
        let minutes = |it: u64| start + Duration::from_secs(60 * it);
        let said = |part: &Part<()>| part.behind.as_ref().map(|it| it.said_at);
        assert!(!part.look_again(minutes(0), load));
        assert_eq!(said(&part), None);

        fs::write(&file, "broken").unwrap();
        for (now, said_at) in [(1, 1), (2, 1), (60, 1), (61, 61), (120, 61), (121, 121)] {
            assert!(!part.look_again(minutes(now), load));
            assert_eq!(said(&part), Some(minutes(said_at)), "{now}");
        }
        fs::remove_file(&file).unwrap();
        assert!(!part.look_again(minutes(122), load));
        assert_eq!(said(&part), Some(minutes(122)), "it is another fault");
        fs::write(&file, "good again").unwrap();
        assert!(part.look_again(minutes(123), load));
        assert_eq!(said(&part), None);
    }
}
