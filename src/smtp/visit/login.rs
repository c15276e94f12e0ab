//! What a login needs of others: the store, a turn to have a password checked, how many were wrong of late.
//!
//! Decides nothing about a mechanism, and remembers no password. Where the store cannot be asked, nobody is
//! let in and nobody is refused for good.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Visit;
use crate::credential::Verifiers;
use crate::mail::Timestamp;
use crate::smtp::auth::{self, Answer, Question};
use crate::smtp::session::InVain;
use crate::spool::Spool;
use crate::spool::store::{Known, StoreError};
use crate::tls;

/// For a password to be checked, those of others first.
const CHECK: Duration = Duration::from_secs(10);
/// How exactly it is remembered when a user last logged in: each time is a write.
const LAST_LOGIN: Duration = Duration::from_secs(60);

impl Visit {
    /// What a login wants to know, unless too many were wrong of late.
    pub(super) async fn answer(&mut self, question: Question) -> Answer {
        let client = self.session.peer().address.ip();
        if let Err(wait) = self.parts.failed_logins.check(client, question.user()) {
            return Answer::Limited(wait);
        }
        self.find_out(question).await.unwrap_or_else(|fault| {
            tracing::warn!(%client, %fault, "a login could not be checked");
            Answer::Unknown
        })
    }

    async fn find_out(&mut self, question: Question) -> Result<Answer, StoreError> {
        let user = question.user().to_owned();
        let known = in_time(self.parts.spool.store().credential(user.clone())).await??;
        self.checked_against.clone_from(&known.verifiers.scram.salt);
        let Question::Password { password, .. } = question else {
            let octets = tls::random::<18>().map_err(|fault| down(&fault))?;
            return Ok(Answer::Keys {
                verifiers: Box::new(known.verifiers),
                nonce: auth::nonce(&octets),
            });
        };
        let client = self.session.peer().address.ip();
        let checks = &self.parts.checks;
        let turn = in_time(checks.turn(client, self.seat.guest())).await?;
        let turn = turn.map_err(|fault| down(&fault))?;
        // Others may have been wrong while this one stood in line.
        if let Err(wait) = self.parts.failed_logins.check(client, &user) {
            return Ok(Answer::Limited(wait));
        }
        let verifiers = known.verifiers;
        // However long it takes: the turn is over when the work is, and every result counts.
        let is_right = tokio::task::spawn_blocking(move || verifiers.accept(&password))
            .await
            .map_err(|fault| down(&fault))?;
        drop(turn);
        checks.remember(client, is_right, Instant::now().into_std());
        Ok(Answer::IsRight(is_right))
    }

    /// Mail is to begin on the strength of a password: is it still the user's?
    pub(super) async fn login_in_vain(&self) -> Option<InVain> {
        let user = self.session.relies_on()?.to_owned();
        let known = timeout(CHECK, self.parts.spool.store().credential(user.clone()));
        match known.await {
            Ok(Ok(known)) => {
                let Verifiers {
                    scram, are_real, ..
                } = known.verifiers;
                let is_same = are_real && scram.salt == self.checked_against;
                (!is_same).then_some(InVain::Changed)
            }
            Ok(Err(fault)) => {
                tracing::warn!(user, %fault, "whether a login still counts could not be found out");
                Some(InVain::Unknown)
            }
            Err(_) => Some(InVain::Unknown),
        }
    }
}

fn down(fault: &dyn fmt::Display) -> StoreError {
    StoreError::Down(fault.to_string())
}

/// What others have to do first does not take for ever.
async fn in_time<T>(waiting: impl Future<Output = T>) -> Result<T, StoreError> {
    let late = |_| StoreError::Busy("too many logins at once".to_owned());
    timeout(CHECK, waiting).await.map_err(late)
}

/// Remembers when a user last logged in. Nothing waits for it, and nothing depends on it.
pub(super) async fn remember(spool: Spool, user: String, now: Timestamp) {
    let store = spool.store();
    let is_news = |known: &Known| known.used_at.is_none_or(|at| at.after(LAST_LOGIN) <= now);
    let remembered = match store.credential(user.clone()).await {
        Ok(known) if is_news(&known) => store.credential_used(user, now).await,
        Ok(_) => Ok(()),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = remembered {
        tracing::debug!(%fault, "when a user last logged in is not remembered");
    }
}
