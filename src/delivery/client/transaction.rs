//! One message handed over: MAIL, RCPT, then DATA or BDAT, and what the hop says in the end.
//!
//! Gives each recipient a fate. Commands go out together where the hop takes pipelining (RFC 2920),
//! content with BDAT where it takes chunks (RFC 3030), byte for byte and without dots to double; a
//! message is never sent along with its envelope, so that a connection that dies under the envelope
//! has not taken it. LMTP gives an answer for each recipient (RFC 2033 §4.2): those that were
//! answered stay as they are when the rest is lost.

use super::extensions::Script;
use super::{Connection, Dialect, Letter, Setback};
use crate::delivery::answers::Spoken;
use crate::delivery::outcome::{Fate, Handover, Outcome, Stage, Trouble};
use crate::mail::Content;
use crate::smtp::data;

/// Larger messages are sent piece by piece instead of from one buffer.
const ONE_BUFFER: usize = 256 * 1024;
/// How much is gathered before it is written.
const BLOCK: usize = 64 * 1024;
/// How much of a larger message goes in one BDAT: a hop can refuse it after each.
const CHUNK: usize = 1024 * 1024;

impl Connection {
    /// One transaction: a fate for each recipient, in order. `None`: a kept connection had died
    /// before the hop heard anything of this message.
    pub async fn transact(&mut self, letter: &Letter<'_>) -> Option<Vec<Fate>> {
        let mut fates = vec![None; letter.recipients.len()];
        let rest = match self.run(letter, &mut fates).await {
            Ok(rest) => rest,
            Err(setback) if self.rested && setback.is_parting() => {
                self.broken = true;
                return None;
            }
            Err(setback) => {
                let fate = setback.fate();
                self.broken |= !fate.in_step;
                fate
            }
        };
        let fates = fates.into_iter();
        Some(
            fates
                .map(|fate| fate.unwrap_or_else(|| rest.clone()))
                .collect(),
        )
    }

    /// Sets the fates of recipients that the hop answered one by one; gives the fate of the rest.
    async fn run(
        &mut self,
        letter: &Letter<'_>,
        fates: &mut [Option<Fate>],
    ) -> Result<Fate, Setback> {
        let script = Script::new(letter, &self.offers, self.ground())?;
        self.expect_silence(Stage::Mail).await?;
        if std::mem::take(&mut self.begun) {
            self.reset().await?;
        }
        if self.offers.pipelining {
            let wait = self.timeouts.envelope;
            self.write(&script.text, Stage::Mail, wait).await?;
        }
        let accepted = self.envelope(&script, fates).await?;
        if self.offers.chunking {
            if accepted == 0 {
                return Ok(nobody());
            }
        } else if !self.data(&script, accepted).await? {
            return Ok(nobody());
        }
        self.content(letter.content).await?;
        // It has the whole message: whatever time is left, sooner it would only be sent again.
        self.patience.lasts(self.timeouts.final_dot);
        match self.dialect {
            Dialect::Smtp => self.verdict().await,
            Dialect::Lmtp => self.verdicts(fates).await,
        }
    }

    /// RSET after a transaction that was not carried through. A hop that does not take it has
    /// parted from us, and says nothing about the next message.
    async fn reset(&mut self) -> Result<(), Setback> {
        let wait = self.timeouts.envelope;
        let parted = |_| Setback::new(Stage::Mail, Trouble::Closed);
        let answer = self.say(b"RSET\r\n", Stage::Mail, wait).await;
        let answer = answer.map_err(parted)?;
        answer
            .expect(Stage::Mail, 200..=299)
            .map_err(parted)
            .map(drop)
    }

    /// MAIL and each RCPT; how many recipients were taken.
    async fn envelope(
        &mut self,
        script: &Script,
        fates: &mut [Option<Fate>],
    ) -> Result<usize, Setback> {
        let wait = self.timeouts.envelope;
        self.begun = true;
        let answer = self.ask(script.mail(), Stage::Mail, wait).await?;
        if let Err(setback) = answer.expect(Stage::Mail, 200..=299) {
            if self.offers.pipelining {
                self.pass_over(fates.len()).await;
            }
            return Err(setback);
        }
        let mut accepted = 0;
        for (number, fate) in fates.iter_mut().enumerate() {
            let answer = self
                .ask(script.recipient(number), Stage::Rcpt, wait)
                .await?;
            match answer.expect(Stage::Rcpt, 200..=299) {
                Ok(_) => accepted += 1,
                Err(setback) => {
                    let settled = setback.clone().fate();
                    if !settled.in_step {
                        return Err(setback);
                    }
                    *fate = Some(settled);
                }
            }
        }
        Ok(accepted)
    }

    /// Reads what a hop says to the RCPTs and DATA that were sent along with a refused MAIL.
    async fn pass_over(&mut self, recipients: usize) {
        let wait = self.timeouts.envelope;
        for _ in 0..recipients {
            if self.answer(Stage::Rcpt, wait).await.is_err() {
                self.broken = true;
                return;
            }
        }
        if !self.offers.chunking {
            // 354 to DATA without a sender: closing is the clean way out.
            let data = self.answer(Stage::Data, wait).await;
            self.broken |= data.map_or(true, |answer| answer.code < 400);
        }
    }

    /// DATA; `false` when there is nobody to send anything for.
    async fn data(&mut self, script: &Script, accepted: usize) -> Result<bool, Setback> {
        if accepted == 0 && !self.offers.pipelining {
            return Ok(false);
        }
        let waits = self.timeouts;
        let answer = self.ask(script.data(), Stage::Data, waits.data).await?;
        if accepted > 0 {
            return answer.expect(Stage::Data, 354..=354).map(|_| true);
        }
        if answer.code == 354 && self.dialect == Dialect::Smtp {
            // RFC 2920 §3.1: it took DATA with nobody to deliver to.
            self.write(b".\r\n", Stage::Content, waits.block).await?;
            self.answer(Stage::Content, waits.final_dot).await?;
        } else if answer.code == 354 {
            // RFC 2033 §4.2 forbids it, and nobody would answer for nobody.
            self.broken = true;
        }
        Ok(false)
    }

    /// The answer for all that were taken.
    async fn verdict(&mut self) -> Result<Fate, Setback> {
        let answer = self
            .answer(Stage::FinalDot, self.timeouts.final_dot)
            .await?;
        self.begun = self.is_open_after(&answer);
        let answer = answer.expect(Stage::FinalDot, 200..=299)?;
        Ok(self.delivered(answer))
    }

    /// RFC 2033 §4.2: an answer for each recipient that was taken, in order. Gives the fate of those
    /// that were not answered.
    async fn verdicts(&mut self, fates: &mut [Option<Fate>]) -> Result<Fate, Setback> {
        let (stage, wait) = (Stage::FinalDot, self.timeouts.final_dot);
        let mut open = false;
        for fate in fates.iter_mut().filter(|fate| fate.is_none()) {
            let answer = self.answer(stage, wait).await?;
            open |= self.is_open_after(&answer);
            let settled = match answer.expect(stage, 200..=299) {
                Ok(answer) => self.delivered(answer),
                Err(setback) => setback.fate(),
            };
            self.broken |= !settled.in_step;
            if matches!(settled.outcome, Outcome::PossiblyDelivered(_)) {
                // Whose answer the next one would be, nobody knows.
                return Ok(settled);
            }
            *fate = Some(settled);
        }
        self.begun = open;
        Ok(nobody())
    }

    /// RFC 3030 §2: a refused BDAT leaves the transaction to be ended by RSET.
    const fn is_open_after(&self, answer: &Spoken) -> bool {
        self.offers.chunking && answer.code >= 300
    }

    fn delivered(&self, answer: Spoken) -> Fate {
        Fate {
            outcome: Outcome::Delivered(answer.into_answer()),
            elsewhere: false,
            in_step: true,
            crowd: false,
            reached: true,
            handover: match self.dialect {
                Dialect::Lmtp => Handover::Mailbox,
                Dialect::Smtp if self.offers.dsn => Handover::Reporting,
                Dialect::Smtp => Handover::Relayed,
            },
        }
    }

    async fn content(&mut self, content: &Content) -> Result<(), Setback> {
        self.expect_silence(Stage::Data).await?;
        let sent = if self.offers.chunking {
            self.send_chunks(content).await
        } else {
            self.send_stuffed(content).await
        };
        let Err(setback) = sent else {
            return Ok(());
        };
        match setback.trouble {
            Trouble::Said(_) => Err(setback),
            Trouble::Closed | Trouble::Network(_) | Trouble::Silent(_) => {
                Err(self.last_words(setback).await)
            }
            _ => {
                self.broken = true;
                Err(setback)
            }
        }
    }

    /// A hop may say why before it hangs up, or reads no further.
    async fn last_words(&mut self, setback: Setback) -> Setback {
        self.broken = true;
        match self.answer(Stage::Content, self.timeouts.quit).await {
            Ok(answer) if answer.code >= 400 => {
                Setback::new(Stage::Content, Trouble::Said(answer.into_answer()))
            }
            _ => setback,
        }
    }

    async fn send_stuffed(&mut self, content: &Content) -> Result<(), Setback> {
        let wait = self.timeouts.block;
        if content.len() <= ONE_BUFFER {
            let wire = data::stuff(content);
            return self.write(&wire, Stage::Content, wait).await;
        }
        let mut block = Vec::with_capacity(2 * BLOCK);
        for piece in data::pieces(content) {
            for part in piece.chunks(BLOCK) {
                block.extend_from_slice(part);
                if block.len() >= BLOCK {
                    self.write(&block, Stage::Content, wait).await?;
                    block.clear();
                }
            }
        }
        self.write(&block, Stage::Content, wait).await
    }

    /// RFC 3030 §2. The last chunk goes out only when all before it were taken; among the others one
    /// may be under way where the hop takes pipelining (§4.2).
    async fn send_chunks(&mut self, content: &Content) -> Result<(), Setback> {
        let whole = content.len();
        if whole <= ONE_BUFFER {
            let mut block = Vec::with_capacity(whole + 32);
            block.extend_from_slice(format!("BDAT {whole} LAST\r\n").as_bytes());
            block.extend_from_slice(&content.trace);
            block.extend_from_slice(&content.bytes);
            let wait = self.timeouts.block;
            return self.write(&block, Stage::Content, wait).await;
        }
        let mut unheard = 0;
        for start in (0..whole).step_by(CHUNK) {
            let end = whole.min(start + CHUNK);
            let ahead = usize::from(self.offers.pipelining && end < whole);
            self.hear(&mut unheard, ahead).await?;
            if end == whole {
                self.expect_silence(Stage::Content).await?;
            }
            self.send_chunk(content, start, end).await?;
            unheard += 1;
        }
        Ok(())
    }

    async fn send_chunk(
        &mut self,
        content: &Content,
        start: usize,
        end: usize,
    ) -> Result<(), Setback> {
        let (stage, wait) = (Stage::Content, self.timeouts.block);
        let last = if end == content.len() { " LAST" } else { "" };
        let command = format!("BDAT {}{last}\r\n", end - start);
        self.write(command.as_bytes(), stage, wait).await?;
        let trace = content.trace.len();
        for (part, start, end) in [
            (&content.trace, start.min(trace), end.min(trace)),
            (
                &content.bytes,
                start.saturating_sub(trace),
                end.saturating_sub(trace),
            ),
        ] {
            for block in part.get(start..end).unwrap_or_default().chunks(BLOCK) {
                self.write(block, stage, wait).await?;
            }
        }
        Ok(())
    }

    /// Hears what is said of chunks until only `ahead` of them are unheard of. After a refusal no
    /// more are sent, and what is said of those already under way does not matter.
    async fn hear(&mut self, unheard: &mut usize, ahead: usize) -> Result<(), Setback> {
        let (stage, wait) = (Stage::Content, self.timeouts.block);
        while *unheard > ahead {
            let answer = self.answer(stage, wait).await?;
            *unheard -= 1;
            let Err(setback) = answer.expect(stage, 200..=299) else {
                continue;
            };
            for _ in 0..*unheard {
                let rest = self.answer(stage, self.timeouts.quit).await;
                self.broken |= rest.is_err();
            }
            return Err(setback);
        }
        Ok(())
    }
}

/// The fate of the rest where there is no rest: every recipient was answered on its own.
fn nobody() -> Fate {
    Setback::new(Stage::Rcpt, Trouble::Ours("nobody was left".into())).fate()
}
