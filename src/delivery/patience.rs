//! How long an attempt may wait: until its deadline, and no longer than a grace once the relay stops.
//!
//! Decides nothing about what a wait means that was cut short: it is a [`Trouble`] like any other.
//! Never cuts what is done without waiting.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::outcome::Trouble;

/// Hears that the relay stops. The grace begins for all clones when the first of them hears it.
#[derive(Debug, Clone)]
pub struct Stop {
    stopping: watch::Receiver<bool>,
    grace: Duration,
    end: Arc<OnceLock<Instant>>,
}

impl Stop {
    pub fn new(stopping: watch::Receiver<bool>, grace: Duration) -> Self {
        Self {
            stopping,
            grace,
            end: Arc::default(),
        }
    }

    pub fn is_told(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ready when the relay stops; never when whoever would tell is gone.
    pub async fn told(&mut self) {
        if self.stopping.wait_for(|it| *it).await.is_err() {
            std::future::pending().await
        }
    }

    /// Ready when the grace is over.
    async fn is_over(&mut self) {
        self.told().await;
        let end = *self.end.get_or_init(|| Instant::now() + self.grace);
        sleep_until(end).await;
    }
}

#[derive(Debug, Clone)]
pub struct Patience {
    deadline: Instant,
    stop: Option<Stop>,
}

impl Patience {
    pub const fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            stop: None,
        }
    }

    pub fn with(self, stop: &Stop) -> Self {
        Self {
            stop: Some(stop.clone()),
            ..self
        }
    }

    /// From now on there are at least so long, whatever the deadline was.
    pub fn lasts(&mut self, wait: Duration) {
        self.deadline = self.deadline.max(Instant::now() + wait);
    }

    /// What the work gives, unless it takes longer than `wait`.
    pub async fn wait<T>(
        &self,
        wait: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Trouble> {
        let until = self.deadline.min(Instant::now() + wait);
        let mut stop = self.stop.clone();
        let cut = async {
            match &mut stop {
                Some(stop) => stop.is_over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = sleep_until(until) => Err(Trouble::Silent(wait)),
            () = cut => Err(Trouble::Stopping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(3600);

    fn patience(left: Duration, stop: &Stop) -> Patience {
        Patience::until(Instant::now() + left).with(stop)
    }

    async fn forever(patience: &Patience, wait: Duration) -> Result<(), Trouble> {
        patience.wait(wait, std::future::pending()).await
    }

    #[tokio::test]
    async fn a_wait_ends_with_its_time_or_the_deadline() {
        let stopping = watch::Sender::new(false);
        let stop = Stop::new(stopping.subscribe(), LONG);
        let patient = patience(LONG, &stop);
        assert_eq!(
            forever(&patient, MOMENT).await,
            Err(Trouble::Silent(MOMENT))
        );
        let mut spent = patience(Duration::ZERO, &stop);
        assert_eq!(forever(&spent, LONG).await, Err(Trouble::Silent(LONG)));
        assert_eq!(spent.wait(LONG, async { 1 }).await, Ok(1));
        spent.lasts(LONG);
        assert_eq!(forever(&spent, MOMENT).await, Err(Trouble::Silent(MOMENT)));
    }

    #[tokio::test]
    async fn after_a_stop_waits_end_with_the_grace() {
        let stopping = watch::Sender::new(false);
        let [brief, long] = [MOMENT, LONG].map(|it| Stop::new(stopping.subscribe(), it));
        let tell = async { stopping.send_replace(true) };
        let brief = patience(LONG, &brief);
        let (cut, _) = tokio::join!(forever(&brief, LONG), tell);
        assert_eq!(cut, Err(Trouble::Stopping));
        assert_eq!(forever(&brief, LONG).await, Err(Trouble::Stopping));
        // What is there already is taken all the same.
        assert_eq!(brief.wait(LONG, async { 1 }).await, Ok(1));
        let within = forever(&patience(LONG, &long), MOMENT).await;
        assert_eq!(within, Err(Trouble::Silent(MOMENT)));
    }

    #[tokio::test]
    async fn one_that_can_no_longer_be_told_cuts_nothing() {
        let (gone, stopping) = watch::channel(false);
        drop(gone);
        let stop = Stop::new(stopping, Duration::ZERO);
        let cut = forever(&patience(LONG, &stop), MOMENT).await;
        assert_eq!(cut, Err(Trouble::Silent(MOMENT)));
    }
}
