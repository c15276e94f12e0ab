//! The mechanisms of AUTH (RFC 4954): octets and answers in, turns out.
//!
//! Decides what each mechanism's messages mean (SCRAM: RFC 5802, RFC 7677, RFC 9266; PLAIN: RFC 4616;
//! EXTERNAL: RFC 4422 appendix A; LOGIN as everybody speaks it), and when somebody is who it says. Who a
//! user is and whether a password is right is asked of whoever drives the session. Nobody acts for
//! another: an authorization identity is the user's own, or none. The crate `rsasl` is not used: it tells
//! an unknown user from a wrong password, wants the store in the middle of a step, and makes its own
//! randomness. Pure. An unknown user goes through the same turns as a known one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::credential::{self, Password, Verifiers};
use crate::mail::Login;

/// RFC 4616 §2.
const LONGEST_NAME: usize = 255;
/// A nonce of ours and of the client: the challenge must fit a line.
const LONGEST_NONCE: usize = 128;
const BINDING: &str = "tls-exporter";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    ScramPlus,
    Scram,
    Plain,
    Login,
    External,
}

impl Mechanism {
    /// The strongest first.
    const ALL: [(Self, &'static str); 5] = [
        (Self::ScramPlus, "SCRAM-SHA-256-PLUS"),
        (Self::Scram, "SCRAM-SHA-256"),
        (Self::Plain, "PLAIN"),
        (Self::Login, "LOGIN"),
        (Self::External, "EXTERNAL"),
    ];
}

/// What TLS gave for it.
#[derive(Debug, Clone, Default)]
pub struct Means {
    /// `tls-exporter` of the session.
    pub binding: Option<[u8; 32]>,
    /// Names that the client's certificate proves.
    pub names: std::sync::Arc<[String]>,
}

impl Means {
    fn allow(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::ScramPlus => self.binding.is_some(),
            Mechanism::External => !self.names.is_empty(),
            Mechanism::Scram | Mechanism::Plain | Mechanism::Login => true,
        }
    }

    /// As EHLO offers them.
    pub fn offered(&self) -> String {
        let can_work = Mechanism::ALL.into_iter().filter(|it| self.allow(it.0));
        let words: Vec<&str> = can_work.map(|(_, word)| word).collect();
        words.join(" ")
    }

    /// The mechanism of that name, where it can work.
    pub fn mechanism(&self, word: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|(it, name)| name.eq_ignore_ascii_case(word) && self.allow(*it))
            .map(|(it, _)| it)
    }
}

/// What only others know.
#[derive(Debug)]
pub enum Question {
    /// SCRAM's keys of this user, and a nonce.
    Keys { user: String },
    /// Is this the user's password?
    Password { user: String, password: Password },
}

impl Question {
    pub fn user(&self) -> &str {
        match self {
            Self::Keys { user } | Self::Password { user, .. } => user,
        }
    }
}

#[derive(Debug)]
pub enum Answer {
    Keys {
        verifiers: Box<Verifiers>,
        /// Printable, no comma, never used before.
        nonce: String,
    },
    IsRight(bool),
    /// Too many were wrong of late: how long to wait.
    Limited(Duration),
    /// Our own trouble.
    Unknown,
}

/// What comes next.
#[derive(Debug)]
pub enum Turn {
    /// In base64.
    Challenge(String),
    Ask(Question),
    Done(Login),
    /// Not who it says.
    Wrong {
        user: String,
    },
    Limited {
        user: String,
        wait: Duration,
    },
    Unknown {
        user: String,
    },
    Unreadable,
}

/// One login under way.
#[derive(Debug)]
pub struct Exchange {
    means: Means,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The client's first message is awaited.
    First(Mechanism),
    LoginPassword {
        user: String,
    },
    Checking {
        user: String,
    },
    Looking {
        user: String,
        first: ScramFirst,
    },
    Proof {
        user: String,
        first: ScramFirst,
        said: String,
        nonce: String,
        verifiers: Box<Verifiers>,
    },
    /// SCRAM's last word was said; the client nods.
    Nod {
        user: String,
    },
}

/// What is needed of SCRAM's first message.
#[derive(Debug)]
struct ScramFirst {
    /// The header, and what binds it to the session.
    binding: Vec<u8>,
    bare: String,
    nonce: String,
}

impl Exchange {
    /// Begins, with the client's initial response if there is one, in base64 as it came.
    pub fn begin(mechanism: Mechanism, means: Means, initial: Option<&str>) -> (Self, Turn) {
        let exchange = Self {
            means,
            state: State::First(mechanism),
        };
        match (initial, mechanism) {
            // RFC 4954 §4: nothing, and not none.
            (Some("="), _) => exchange.hear(&[]),
            (Some(initial), _) => exchange.respond(initial.as_bytes()),
            (None, Mechanism::Login) => exchange.challenge(b"Username:"),
            (None, _) => exchange.challenge(b""),
        }
    }

    /// A line of the client's, in base64.
    pub fn respond(self, line: &[u8]) -> (Self, Turn) {
        match BASE64.decode(line) {
            Ok(octets) => {
                let octets = zeroize::Zeroizing::new(octets);
                self.hear(&octets)
            }
            Err(_) => (self, Turn::Unreadable),
        }
    }

    fn challenge(self, octets: &[u8]) -> (Self, Turn) {
        (self, Turn::Challenge(BASE64.encode(octets)))
    }

    fn hear(self, octets: &[u8]) -> (Self, Turn) {
        let means = self.means;
        let unreadable = |means| {
            let state = State::First(Mechanism::Plain);
            (Self { means, state }, Turn::Unreadable)
        };
        let Ok(text) = std::str::from_utf8(octets) else {
            return unreadable(means);
        };
        let next = match self.state {
            State::First(Mechanism::Plain) => plain(text),
            State::First(Mechanism::Login) => login_name(text),
            State::First(Mechanism::External) => external(text, &means),
            State::First(Mechanism::Scram) => scram_first(text, false, &means),
            State::First(Mechanism::ScramPlus) => scram_first(text, true, &means),
            State::LoginPassword { user } => Some(check(user, text)),
            State::Proof {
                user,
                first,
                said,
                nonce,
                verifiers,
            } => scram_proof(text, user, &first, &said, &nonce, &verifiers),
            State::Nod { user } if text.is_empty() => {
                let login = Login::User(user.clone());
                Some((State::Nod { user }, Turn::Done(login)))
            }
            State::Nod { .. } | State::Checking { .. } | State::Looking { .. } => None,
        };
        match next {
            Some((state, turn)) => (Self { means, state }, turn),
            None => unreadable(means),
        }
    }

    /// What was asked is known.
    pub fn answer(self, answer: Answer) -> (Self, Turn) {
        let means = self.means;
        let (state, turn) = match (self.state, answer) {
            (State::Checking { user }, Answer::IsRight(is_right)) => {
                let turn = match is_right {
                    true => Turn::Done(Login::User(user.clone())),
                    false => Turn::Wrong { user: user.clone() },
                };
                (State::Checking { user }, turn)
            }
            (State::Looking { user, first }, Answer::Keys { verifiers, nonce }) => {
                scram_challenge(user, first, verifiers, &nonce)
            }
            (state, answer) => {
                let user = match &state {
                    State::Checking { user } | State::Looking { user, .. } => user.clone(),
                    _ => String::new(),
                };
                let turn = match answer {
                    Answer::Limited(wait) => Turn::Limited { user, wait },
                    _ => Turn::Unknown { user },
                };
                (state, turn)
            }
        };
        (Self { means, state }, turn)
    }
}

/// A name in the form in which it is known; one that nobody has stays as it is.
fn prepared(name: &str) -> Option<String> {
    let is_sound = !name.is_empty() && name.len() <= LONGEST_NAME;
    is_sound.then(|| credential::user_name(name).unwrap_or_else(|| name.to_owned()))
}

fn wrong(user: String) -> (State, Turn) {
    let turn = Turn::Wrong { user: user.clone() };
    (State::Checking { user }, turn)
}

fn check(user: String, password: &str) -> (State, Turn) {
    let turn = Turn::Ask(Question::Password {
        user: user.clone(),
        password: Password::new(password.to_owned()),
    });
    (State::Checking { user }, turn)
}

/// `authzid NUL authcid NUL passwd`.
fn plain(text: &str) -> Option<(State, Turn)> {
    let mut parts = text.split('\0');
    let (other, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || password.is_empty() {
        return None;
    }
    let user = prepared(user)?;
    match other.is_empty() || prepared(other).as_ref() == Some(&user) {
        true => Some(check(user, password)),
        false => Some(wrong(user)),
    }
}

fn login_name(text: &str) -> Option<(State, Turn)> {
    let user = prepared(text)?;
    let turn = Turn::Challenge(BASE64.encode("Password:"));
    Some((State::LoginPassword { user }, turn))
}

/// As one of the names in the certificate; unsaid, as the first.
fn external(text: &str, means: &Means) -> Option<(State, Turn)> {
    let known = means
        .names
        .iter()
        .find(|name| text.is_empty() || name.eq_ignore_ascii_case(text));
    let user = match known {
        Some(name) => name.clone(),
        None => return Some(wrong(prepared(text)?)),
    };
    let turn = Turn::Done(Login::Certificate(user.clone()));
    Some((State::Checking { user }, turn))
}

/// `gs2-header n=user,r=nonce` (RFC 5802 §7).
fn scram_first(text: &str, is_plus: bool, means: &Means) -> Option<(State, Turn)> {
    let (flag, rest) = text.split_once(',')?;
    let (other, bare) = rest.split_once(',')?;
    let mut attributes = bare.split(',');
    let user = prepared(&saslname(attributes.next()?.strip_prefix("n=")?)?)?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    let is_nonce = |it: u8| it.is_ascii_graphic();
    if nonce.is_empty() || nonce.len() > LONGEST_NONCE || !nonce.bytes().all(is_nonce) {
        return None;
    }
    let is_own = match other.strip_prefix("a=") {
        Some(other) => prepared(&saslname(other)?).as_ref() == Some(&user),
        None if other.is_empty() => true,
        None => return None,
    };
    let mut binding = format!("{flag},{other},").into_bytes();
    let is_bound = match (flag, is_plus) {
        ("n", false) => true,
        // It could, and believes that we cannot: somebody took PLUS out of our offer.
        ("y", false) => means.binding.is_none(),
        ("n" | "y", true) => false,
        (flag, is_plus) => {
            let name = flag.strip_prefix("p=")?;
            binding.extend(means.binding.iter().flatten());
            is_plus && name == BINDING && means.binding.is_some()
        }
    };
    if !is_own || !is_bound {
        return Some(wrong(user));
    }
    let turn = Turn::Ask(Question::Keys { user: user.clone() });
    let first = ScramFirst {
        binding,
        bare: bare.to_owned(),
        nonce: nonce.to_owned(),
    };
    Some((State::Looking { user, first }, turn))
}

/// `=2C` is a comma and `=3D` an equals sign; nothing else follows one.
fn saslname(written: &str) -> Option<String> {
    let mut name = String::with_capacity(written.len());
    let mut pieces = written.split('=');
    name.push_str(pieces.next()?);
    for piece in pieces {
        let (sign, rest) = match piece.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

fn scram_challenge(
    user: String,
    first: ScramFirst,
    verifiers: Box<Verifiers>,
    ours: &str,
) -> (State, Turn) {
    let nonce = format!("{}{ours}", first.nonce);
    let salt = BASE64.encode(&verifiers.scram.salt);
    let said = format!("r={nonce},s={salt},i={}", verifiers.scram.rounds);
    let turn = Turn::Challenge(BASE64.encode(&said));
    let state = State::Proof {
        user,
        first,
        said,
        nonce,
        verifiers,
    };
    (state, turn)
}

/// `c=binding,r=nonce,p=proof`.
fn scram_proof(
    text: &str,
    user: String,
    first: &ScramFirst,
    said: &str,
    nonce: &str,
    verifiers: &Verifiers,
) -> Option<(State, Turn)> {
    let (rest, proof) = text.rsplit_once(",p=")?;
    let mut attributes = rest.split(',');
    let binding = BASE64.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
    let is_same = attributes.next()?.strip_prefix("r=")? == nonce && binding == first.binding;
    let proof = BASE64.decode(proof).ok()?;
    let dialogue = format!("{},{said},{rest}", first.bare);
    let proved = verifiers.scram.prove(&proof, dialogue.as_bytes());
    Some(match proved.filter(|_| is_same && verifiers.are_real) {
        Some(ours) => {
            let last = format!("v={}", BASE64.encode(ours));
            (State::Nod { user }, Turn::Challenge(BASE64.encode(last)))
        }
        None => wrong(user),
    })
}

/// Octets as a nonce.
pub fn nonce(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::credential::ScramKeys;

    fn turn(mechanism: Mechanism, means: &Means, message: &str) -> Turn {
        let message = BASE64.encode(message);
        let message = if message.is_empty() { "=" } else { &message };
        Exchange::begin(mechanism, means.clone(), Some(message)).1
    }

    /// The example of RFC 7677 §3.
    #[test]
    fn scram_speaks_as_the_rfc_does() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut verifiers = Verifiers::of_nobody("user", b"x");
        verifiers.are_real = true;
        verifiers.scram = ScramKeys::of(b"pencil", &salt, 4096);
        let first = BASE64.encode("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (exchange, _) = Exchange::begin(Mechanism::Scram, Means::default(), Some(&first));
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let verifiers = Box::new(verifiers);
        let (exchange, challenge) = exchange.answer(Answer::Keys { verifiers, nonce });
        let Turn::Challenge(challenge) = challenge else {
            panic!("{challenge:?}")
        };
        let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(challenge, BASE64.encode(expected));
        let last = BASE64.encode(
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        let (exchange, verdict) = exchange.respond(last.as_bytes());
        let Turn::Challenge(verdict) = verdict else {
            panic!("{verdict:?}")
        };
        let server = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(verdict, BASE64.encode(server));
        let (_, done) = exchange.respond(b"");
        assert!(matches!(done, Turn::Done(Login::User(user)) if user == "user"));
    }

    #[test]
    fn first_messages_are_read_strictly() {
        let bound = Means {
            binding: Some([7; 32]),
            names: ["ws1.a.test".to_owned()].into(),
        };
        #[rustfmt::skip]
        let cases = [
            (Mechanism::Plain,     "\0ws3\0secret",                  "ask ws3"),
            (Mechanism::Plain,     "ws3\0ws3\0secret",               "ask ws3"),
            (Mechanism::Plain,     "ws4\0ws3\0secret",               "wrong ws3"),
            (Mechanism::Plain,     "\0ws3\0",                        "unreadable"),
            (Mechanism::Plain,     "\0\0secret",                     "unreadable"),
            (Mechanism::Plain,     "ws3\0secret",                    "unreadable"),
            (Mechanism::Plain,     "\0ws3\0secret\0",                "unreadable"),
            (Mechanism::Login,     "ws3",                            "challenge"),
            (Mechanism::Login,     "",                               "unreadable"),
            (Mechanism::External,  "",                               "done ws1.a.test"),
            (Mechanism::External,  "WS1.a.test",                     "done ws1.a.test"),
            (Mechanism::External,  "ws2.a.test",                     "wrong ws2.a.test"),
            (Mechanism::Scram,     "n,,n=a=2Cb=3Dc,r=x",             "ask a,b=c"),
            (Mechanism::Scram,     "n,a=ws3,n=ws3,r=x",              "ask ws3"),
            (Mechanism::Scram,     "n,a=ws4,n=ws3,r=x",              "wrong ws3"),
            (Mechanism::Scram,     "y,,n=ws3,r=x",                   "wrong ws3"),
            (Mechanism::Scram,     "p=tls-exporter,,n=ws3,r=x",      "wrong ws3"),
            (Mechanism::Scram,     "n,,m=x,n=ws3,r=x",               "unreadable"),
            (Mechanism::Scram,     "n,,n=a=2cb,r=x",                 "unreadable"),
            (Mechanism::Scram,     "n,,n=ws3,r=",                    "unreadable"),
            (Mechanism::ScramPlus, "p=tls-exporter,,n=ws3,r=x",      "ask ws3"),
            (Mechanism::ScramPlus, "p=tls-unique,,n=ws3,r=x",        "wrong ws3"),
            (Mechanism::ScramPlus, "n,,n=ws3,r=x",                   "wrong ws3"),
        ];
        for (mechanism, message, expected) in cases {
            let told = match turn(mechanism, &bound, message) {
                Turn::Ask(question) => format!("ask {}", question.user()),
                Turn::Wrong { user } => format!("wrong {user}"),
                Turn::Done(login) => format!("done {}", login.name()),
                Turn::Challenge(_) => "challenge".to_owned(),
                Turn::Unreadable => "unreadable".to_owned(),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{message:?}");
        }
    }
}
