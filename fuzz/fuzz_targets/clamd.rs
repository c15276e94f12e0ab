//! Whatever clamd answers, it is clean in one case only; what is told of it is one line of ASCII; and
//! no text makes an identity with signatures of the future.
#![no_main]

use ilbud::mail::{Timestamp, Verdict};
use ilbud::scan::{clamd, identity};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_795_500_000_000);
const TWO_DAYS: i64 = 2 * 86_400_000;

fuzz_target!(|heard: &[u8]| {
    for whole in [true, false] {
        let verdict = clamd::answer::verdict(heard, whole);
        let lines = heard.split(|it| matches!(it, 0 | b'\n'));
        let said = lines.filter(|line| line.iter().any(|it| *it != b'\r'));
        let said: Vec<&[u8]> = said.collect();
        match &verdict {
            Verdict::Clean => {
                let [only] = said.as_slice() else {
                    panic!("clean is one answer");
                };
                assert!(whole && only.starts_with(b"stream: OK"));
                assert!(only.iter().skip(10).all(|it| *it == b'\r'));
            }
            Verdict::Infected(found) => assert!(whole && !found.is_empty()),
            Verdict::Unscannable(gap) => assert!(gap.begun),
        }
        let told = verdict.to_string();
        assert!(told.bytes().all(|it| matches!(it, b' '..=b'~')), "{told:?}");
    }
    let identity = identity::read(heard, NOW);
    for text in [identity.version, identity.signatures]
        .into_iter()
        .flatten()
    {
        assert!(!text.is_empty() && text.is_ascii());
    }
    if let Some(at) = identity.signatures_at {
        assert!(at.as_millis() - NOW.as_millis() < TWO_DAYS);
    }
});
