//! Until when a client is waited for (RFC 5321 §4.5.3.2), and why no longer. Pure; whoever waits
//! does so.
//!
//! A command has a time for all of it. Content has a pace: its octets buy time, never more than
//! [`Timeouts::block`] ahead, so that a stall is borne and a trickle is not. Whatever is said, a
//! session lives only so long without a message.

use std::time::Duration;

use tokio::time::Instant;

use super::session::Awaiting;
use crate::mail::Reply;

/// `[limits.timeouts]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a load balancer to say on whose behalf it connects: it does that before all else.
    pub proxy_header: Duration,
    /// For all of a TLS handshake.
    pub handshake: Duration,
    /// For a whole command (RFC 5321 §4.5.3.2.7).
    pub command: Duration,
    /// For each answer within AUTH.
    pub login: Duration,
    /// For the next octets of content (§4.5.3.2.5).
    pub block: Duration,
    /// Octets of content a second, on average.
    pub pace: u32,
    /// For the content of one transaction, however it comes and whatever is said between its chunks.
    pub content: Duration,
    /// For a client to take what we say.
    pub replies: Duration,
    /// For a session to bring a message, and the next one.
    pub without_mail: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            proxy_header: Duration::from_secs(5),
            handshake: Duration::from_secs(30),
            command: Duration::from_secs(300),
            login: Duration::from_secs(60),
            block: Duration::from_secs(180),
            pace: 512,
            content: Duration::from_secs(3600),
            replies: Duration::from_secs(180),
            without_mail: Duration::from_secs(1800),
        }
    }
}

/// What a client took too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A command, or any octet of content.
    Word,
    /// Content that comes, but too slowly.
    Content,
    Mail,
}

impl Overdue {
    /// What it hears for that.
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Word => Reply::timed_out(),
            Self::Content => Reply::too_slow(),
            Self::Mail => Reply::too_long_without_mail(),
        }
    }
}

/// Until when we wait.
#[derive(Debug)]
pub(super) struct Patience {
    word_until: Instant,
    mail_until: Instant,
    content: Option<Content>,
}

/// Until when the content of a transaction is waited for.
#[derive(Debug)]
struct Content {
    whole_until: Instant,
    /// Moved on by what comes.
    next_until: Instant,
    has_come: bool,
}

impl Patience {
    pub(super) fn new(timeouts: &Timeouts, now: Instant) -> Self {
        Self {
            word_until: now + timeouts.command,
            mail_until: now + timeouts.without_mail,
            content: None,
        }
    }

    /// A transaction begins, and none of its content has come.
    pub(super) fn begin(&mut self) {
        self.content = None;
    }

    /// A message was taken.
    pub(super) fn kept(&mut self, timeouts: &Timeouts, now: Instant) {
        self.mail_until = now + timeouts.without_mail;
    }

    /// So many octets were heard.
    pub(super) fn heard(&mut self, octets: usize, timeouts: &Timeouts, now: Instant) {
        if let Some(content) = &mut self.content {
            let worth = octets as f64 / f64::from(timeouts.pace.max(1));
            let bought = content.next_until + Duration::from_secs_f64(worth).min(timeouts.content);
            content.next_until = bought.min(now + timeouts.block);
            content.has_come = true;
        }
    }

    /// The client waited for us, which is not its fault.
    pub(super) fn excuse(&mut self, wait: Duration) {
        if let Some(content) = &mut self.content {
            content.next_until += wait;
            content.whole_until += wait;
        }
    }

    /// Until when the next bytes must come: for a command that is the time for all of it. `progressed`:
    /// something has happened since it was asked last.
    pub(super) fn until(
        &mut self,
        awaiting: Awaiting,
        holds_content: bool,
        progressed: bool,
        timeouts: &Timeouts,
        now: Instant,
    ) -> (Instant, Overdue) {
        if progressed && awaiting != Awaiting::Content {
            self.word_until = match awaiting {
                Awaiting::Login => now + timeouts.login,
                Awaiting::Command | Awaiting::Content => now + timeouts.command,
            };
        }
        let word = (self.word_until, Overdue::Word);
        if awaiting != Awaiting::Content && !holds_content {
            self.content = None;
            return earlier(word, (self.mail_until, Overdue::Mail));
        }
        let content = self.content.get_or_insert(Content {
            whole_until: now + timeouts.content,
            next_until: now + timeouts.block,
            has_come: false,
        });
        let why = match content.has_come {
            true => Overdue::Content,
            false => Overdue::Word,
        };
        let until = (content.next_until.min(content.whole_until), why);
        match awaiting {
            Awaiting::Content => until,
            Awaiting::Command | Awaiting::Login => earlier(word, until),
        }
    }
}

fn earlier(one: (Instant, Overdue), other: (Instant, Overdue)) -> (Instant, Overdue) {
    if other.0 < one.0 { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A client that has `octets` every `every` seconds, until it is given up: after how long, and why.
    fn trickle(awaiting: Awaiting, octets: usize, every: u64) -> Option<(u64, Overdue)> {
        let timeouts = Timeouts::default();
        let start = Instant::now();
        let mut patience = Patience::new(&timeouts, start);
        let mut progressed = true;
        for second in (0..10_000).step_by(usize::try_from(every).unwrap_or(1)) {
            let now = start + seconds(second);
            let is_content = awaiting == Awaiting::Content;
            let (until, why) = patience.until(awaiting, is_content, progressed, &timeouts, now);
            progressed = false;
            if now + seconds(every) >= until {
                return Some(((until - start).as_secs(), why));
            }
            patience.heard(octets, &timeouts, now + seconds(every));
        }
        None
    }

    #[test]
    fn a_trickle_is_cut_and_a_slow_line_is_not() {
        use Awaiting::{Command, Content, Login};
        #[rustfmt::skip]
        let cases = [
            // octets, every so many seconds: given up after so many seconds, for what
            (Command, 1,       60,  Some((300,  Overdue::Word))),
            (Command, 100,     10,  Some((300,  Overdue::Word))),
            (Login,   1,       10,  Some((60,   Overdue::Word))),
            (Content, 1,       60,  Some((180,  Overdue::Content))),
            (Content, 1,       1,   Some((180,  Overdue::Content))),
            (Content, 1,       181, Some((180,  Overdue::Word))),
            (Content, 256,     1,   Some((359,  Overdue::Content))),
            (Content, 511,     1,   Some((3600, Overdue::Content))),
            // 9,600 bits a second, and blocks with long stalls between them, for as long as a whole content may take.
            (Content, 960,     1,   Some((3600, Overdue::Content))),
            (Content, 100_000, 170, Some((3600, Overdue::Content))),
            (Content, 1_000,   170, Some((181,  Overdue::Content))),
        ];
        for (awaiting, octets, every, cut) in cases {
            let what = format!("{octets} octets every {every} s: {awaiting:?}");
            assert_eq!(trickle(awaiting, octets, every), cut, "{what}");
        }
    }

    #[test]
    fn octets_buy_no_time_ahead() {
        let timeouts = Timeouts::default();
        let start = Instant::now();
        let mut patience = Patience::new(&timeouts, start);
        patience.until(Awaiting::Content, true, true, &timeouts, start);
        patience.heard(20 << 20, &timeouts, start);
        let (until, why) = patience.until(Awaiting::Content, true, true, &timeouts, start);
        assert_eq!((until, why), (start + timeouts.block, Overdue::Content));
        patience.excuse(seconds(7));
        let (until, _) = patience.until(Awaiting::Content, true, true, &timeouts, start);
        assert_eq!(until, start + timeouts.block + seconds(7));
    }

    #[test]
    fn commands_between_chunks_buy_no_time_for_content() {
        let timeouts = Timeouts::default();
        let start = Instant::now();
        let mut patience = Patience::new(&timeouts, start);
        let end = start + timeouts.content;
        patience.until(Awaiting::Content, true, true, &timeouts, start);
        for minutes in 1..120 {
            let now = start + seconds(60 * minutes);
            patience.heard(100_000, &timeouts, now);
            for awaiting in [Awaiting::Command, Awaiting::Content] {
                let (until, _) = patience.until(awaiting, true, true, &timeouts, now);
                assert!(until <= end);
            }
        }
    }

    #[test]
    fn every_transaction_has_its_own_time_for_content() {
        let timeouts = Timeouts::default();
        let start = Instant::now();
        let mut patience = Patience::new(&timeouts, start);
        for hour in 0..10 {
            let now = start + timeouts.content * hour;
            patience.begin();
            patience.kept(&timeouts, now);
            let (until, _) = patience.until(Awaiting::Content, true, true, &timeouts, now);
            assert_eq!(until, now + timeouts.block);
        }
        let now = start + timeouts.content * 20;
        patience.kept(&timeouts, now);
        let later = now + timeouts.block;
        for (now, progressed) in [(now, true), (later, false)] {
            let (until, _) = patience.until(Awaiting::Command, false, progressed, &timeouts, now);
            assert_eq!(until, start + timeouts.content * 20 + timeouts.command);
        }
        let (until, _) = patience.until(Awaiting::Content, true, true, &timeouts, later);
        assert_eq!(until, later + timeouts.block);
    }

    #[test]
    fn a_session_lives_only_so_long_without_a_message() {
        let timeouts = Timeouts::default();
        let start = Instant::now();
        let mut patience = Patience::new(&timeouts, start);
        let mut until_at = |minute: u64, is_kept: bool| {
            let now = start + seconds(60 * minute);
            if is_kept {
                patience.kept(&timeouts, now);
            }
            patience.begin();
            patience.until(Awaiting::Command, false, true, &timeouts, now)
        };
        let at = |minute: u64| start + seconds(60 * minute);
        assert_eq!(until_at(24, false), (at(29), Overdue::Word));
        assert_eq!(until_at(28, false), (at(30), Overdue::Mail));
        assert_eq!(until_at(29, true), (at(34), Overdue::Word));
        assert_eq!(until_at(58, false), (at(59), Overdue::Mail));
    }
}
