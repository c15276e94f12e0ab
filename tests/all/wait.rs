//! Waiting for a condition, the only kind of waiting in these tests.

use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What `look` finds, as soon as it finds something; panics with `what` when patience ends.
pub fn find<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    find_within(PATIENCE, look).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

pub fn find_within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    find(what, || holds().then_some(()));
}

/// Whether it came to hold in time.
pub fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    find_within(patience, || holds().then_some(())).is_some()
}
