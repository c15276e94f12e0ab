//! Any octets can be looked into: it ends, within the bounds, and the same is found again.
#![no_main]

use ilbud::mail::FileType;
use ilbud::scan::rules::inside::{Bounds, Budget, look};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds {
    depth: 4,
    entries: 200,
    unpacked: 4 * 1024 * 1024,
    member: 1024 * 1024,
    ratio: 250,
    memory: 8 * 1024 * 1024,
};

fuzz_target!(|bytes: &[u8]| {
    let once = findings(bytes);
    assert_eq!(once, findings(bytes));
    assert!(once.len() <= 40);
    for what in once {
        assert!(!what.contains(char::is_control), "{what:?}");
        assert!(what.chars().count() <= 400, "{what:?}");
    }
});

fn findings(bytes: &[u8]) -> Vec<String> {
    let (mut members, mut octets) = (0, 0);
    let findings = look("x.zip", bytes, &mut Budget::new(BOUNDS), &mut |member| {
        members += 1;
        octets += member.bytes.len();
        assert_eq!(member.file_type, FileType::of(member.bytes));
    });
    assert!(members <= BOUNDS.entries);
    assert!(octets <= BOUNDS.unpacked);
    findings
        .into_iter()
        .map(|it| format!("{}: {}", it.rule, it.what))
        .collect()
}
