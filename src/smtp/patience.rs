//! Until when a client is waited for (RFC 5321 §4.5.3.2). Pure; whoever waits does so.

use std::time::Duration;

use tokio::time::Instant;

use super::session::Awaiting;

/// For a whole command (RFC 5321 §4.5.3.2.7).
const COMMAND: Duration = Duration::from_secs(300);
/// For the next octets of content (§4.5.3.2.5), and for all of it.
const BLOCK: Duration = Duration::from_secs(180);
const WHOLE_CONTENT: Duration = Duration::from_secs(3600);

/// Until when we wait.
#[derive(Debug)]
pub(super) struct Patience {
    command_until: Instant,
    /// For the content of one transaction, however it comes and whatever is said between its chunks.
    content_until: Option<Instant>,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            command_until: now + COMMAND,
            content_until: None,
        }
    }

    /// A transaction begins, and none of its content has come.
    pub(super) const fn begin(&mut self) {
        self.content_until = None;
    }

    /// Until when the next bytes must come: for a command that is the time for all of it.
    pub(super) fn until(
        &mut self,
        awaiting: Awaiting,
        holds_content: bool,
        progressed: bool,
        now: Instant,
    ) -> Instant {
        if awaiting == Awaiting::Command && progressed {
            self.command_until = now + COMMAND;
        }
        let next = match awaiting {
            Awaiting::Command => self.command_until,
            Awaiting::Content => now + BLOCK,
        };
        if awaiting == Awaiting::Content || holds_content {
            next.min(*self.content_until.get_or_insert(now + WHOLE_CONTENT))
        } else {
            self.content_until = None;
            next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_between_chunks_buy_no_time_for_content() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let end = start + WHOLE_CONTENT;
        patience.until(Awaiting::Content, true, true, start);
        for minutes in 1..120 {
            let now = start + Duration::from_secs(60 * minutes);
            assert!(patience.until(Awaiting::Command, true, true, now) <= end);
            assert!(patience.until(Awaiting::Content, true, true, now) <= end);
        }
    }

    #[test]
    fn every_transaction_has_its_own_time_for_content() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        for hour in 0..10 {
            let now = start + WHOLE_CONTENT * hour;
            patience.begin();
            assert_eq!(
                patience.until(Awaiting::Content, true, true, now),
                now + BLOCK
            );
        }
        let now = start + WHOLE_CONTENT * 20;
        assert_eq!(
            patience.until(Awaiting::Command, false, true, now),
            now + COMMAND
        );
        let later = now + BLOCK;
        assert_eq!(
            patience.until(Awaiting::Command, false, false, later),
            now + COMMAND
        );
        assert_eq!(
            patience.until(Awaiting::Content, true, true, later),
            later + BLOCK
        );
    }
}
