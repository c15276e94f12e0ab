//! Settings are read or refused with lines that a person can read, whatever stands in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(faults) = ilbud::config::parse(text) {
        assert!(!faults.is_empty());
        for fault in faults {
            assert!(!fault.text.contains('\n'), "{fault}");
            assert!(
                fault
                    .line
                    .is_none_or(|line| line <= text.split('\n').count())
            );
        }
    }
});
