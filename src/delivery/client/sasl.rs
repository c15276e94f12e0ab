//! Logging in to a next hop with user and password (RFC 4954): PLAIN, or LOGIN where only that is
//! offered.
//!
//! Over TLS only; that is seen to before. Whatever the hop says against it is our own affair and
//! nothing against the message, so it names the user, and never the password.

use super::{Connection, Setback};
use crate::delivery::answers::Spoken;
use crate::delivery::outcome::{Stage, Trouble};

impl Connection {
    pub(super) async fn log_in(&mut self, user: &str, password: &str) -> Result<(), Setback> {
        let secrets = [
            password.to_owned(),
            base64(password.as_bytes()),
            initial(user, password),
        ];
        let answer = self.said_to(user, password).await;
        let mut answer = answer.map_err(|setback| without(&secrets, setback))?;
        if answer.code == 235 {
            return Ok(());
        }
        if repeats(&secrets, &answer.lines.join(" ")) {
            answer.lines = hidden(&answer.lines);
        }
        match answer.code {
            421 => answer.expect(Stage::Auth, 235..=235).map(drop),
            _ => Err(refused(user, answer)),
        }
    }

    /// The last answer of a login.
    async fn said_to(&mut self, user: &str, password: &str) -> Result<Spoken, Setback> {
        if self.offers.auth_plain {
            let message = initial(user, password);
            self.auth(&format!("AUTH PLAIN {message}\r\n")).await
        } else if self.offers.auth_login {
            self.log_in_in_turns(user, password).await
        } else {
            Err(no_way_in(user))
        }
    }

    /// In which way `user` could log in; nobody does.
    pub(super) fn could_log_in(&self, user: &str) -> Result<String, Setback> {
        let way = match (self.offers.auth_plain, self.offers.auth_login) {
            (true, _) => "PLAIN",
            (false, true) => "LOGIN",
            (false, false) => return Err(no_way_in(user)),
        };
        Ok(format!("{way} is offered; user {user:?} was not logged in"))
    }

    /// Asked for the user, then for the password; anything else than a question ends it.
    async fn log_in_in_turns(&mut self, user: &str, password: &str) -> Result<Spoken, Setback> {
        let mut answer = self.auth("AUTH LOGIN\r\n").await?;
        for secret in [user, password] {
            if answer.code != 334 {
                break;
            }
            answer = self
                .auth(&format!("{}\r\n", base64(secret.as_bytes())))
                .await?;
        }
        Ok(answer)
    }

    async fn auth(&mut self, line: &str) -> Result<Spoken, Setback> {
        let wait = self.timeouts.hello;
        self.say(line.as_bytes(), Stage::Auth, wait).await
    }
}

fn no_way_in(user: &str) -> Setback {
    let words = format!(
        "the next hop offers neither AUTH PLAIN nor AUTH LOGIN, so user {user:?} cannot log in"
    );
    Setback::new(Stage::Auth, Trouble::NotLetIn(words))
}

/// RFC 4616 §2: no other identity than the user's own.
fn initial(user: &str, password: &str) -> String {
    base64(format!("\0{user}\0{password}").as_bytes())
}

const HIDDEN: &str = "(its words repeat the password)";

fn repeats(secrets: &[String], words: &str) -> bool {
    secrets.iter().any(|secret| words.contains(secret.as_str()))
}

/// With the status code, where the words begin with one.
fn hidden(lines: &[String]) -> Vec<String> {
    let status = lines.first().and_then(|line| line.split(' ').next());
    let is_status = |word: &&str| word.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    match status.filter(is_status) {
        Some(status) => vec![format!("{status} {HIDDEN}")],
        None => vec![HIDDEN.to_owned()],
    }
}

fn without(secrets: &[String], setback: Setback) -> Setback {
    match &setback.trouble {
        Trouble::Nonsense(words) if repeats(secrets, words) => {
            Setback::new(setback.stage, Trouble::Nonsense(HIDDEN.to_owned()))
        }
        _ => setback,
    }
}

fn refused(user: &str, answer: Spoken) -> Setback {
    let answer = answer.into_answer();
    let words = format!("the next hop does not let user {user:?} log in: {answer}");
    Setback::new(Stage::Auth, Trouble::NotLetIn(words))
}

/// RFC 4648 §4.
fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or_default())
        });
        for at in 0..4 {
            let place = (bits >> (18 - 6 * at) & 0x3f) as usize;
            let letter = LETTERS.get(place).filter(|_| at <= group.len());
            text.push(letter.map_or('=', |&letter| char::from(letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    #[test]
    fn base64_is_written_as_the_rfc_has_it() {
        for (octets, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{ff}\u{3ff}?>", "w7/Pvz8+"),
        ] {
            assert_eq!(base64(octets.as_bytes()), expected, "{octets:?}");
        }
    }
}
