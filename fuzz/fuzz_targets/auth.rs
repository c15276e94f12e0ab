//! Whatever is said to a mechanism, nobody is let in who was not found right.
#![no_main]

use ilbud::credential::Verifiers;
use ilbud::smtp::auth::{Answer, Exchange, Means, Question, Turn};
use libfuzzer_sys::fuzz_target;

const MECHANISMS: [&str; 5] = [
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "PLAIN",
    "LOGIN",
    "EXTERNAL",
];

fuzz_target!(|input: &[u8]| {
    let Some((&choice, said)) = input.split_first() else {
        return;
    };
    let means = Means {
        binding: (choice & 8 == 0).then_some([7; 32]),
        names: ["ws1.a.test".to_owned()].into(),
    };
    let word = MECHANISMS[usize::from(choice) % MECHANISMS.len()];
    let Some(mechanism) = means.mechanism(word) else {
        return;
    };
    let mut lines = said.split(|octet| *octet == b'\n');
    let initial = lines.next().and_then(|it| std::str::from_utf8(it).ok());
    let (mut exchange, mut turn) = Exchange::begin(mechanism, means, initial);
    loop {
        let (next, then) = match turn {
            Turn::Challenge(base64) => {
                assert!(base64.len() < 480 && base64.is_ascii());
                let Some(line) = lines.next() else { return };
                exchange.respond(line)
            }
            Turn::Ask(question) => {
                assert!((1..=255).contains(&question.user().len()) || !question.user().is_ascii());
                let answer = match question {
                    Question::Keys { user } => Answer::Keys {
                        verifiers: Box::new(Verifiers::of_nobody(&user, b"secret")),
                        nonce: "NONCE".to_owned(),
                    },
                    Question::Password { .. } => Answer::IsRight(false),
                };
                exchange.answer(answer)
            }
            Turn::Done(login) => {
                assert_eq!((word, login.name()), ("EXTERNAL", "ws1.a.test"));
                return;
            }
            Turn::Wrong { .. } | Turn::Unreadable => return,
            Turn::Limited { .. } | Turn::Unknown { .. } => unreachable!("it was answered"),
        };
        (exchange, turn) = (next, then);
    }
});
