//! Any octets are a PROXY header or a fault; what is believed is an address that a client can have.
#![no_main]

use ilbud::smtp::proxy::{BEGINNING, Beginning, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Some((beginning, rest)) = octets.split_first_chunk::<BEGINNING>() else {
        return;
    };
    let Ok(beginning) = Beginning::parse(beginning) else {
        return;
    };
    assert!(beginning.rest() <= 2048);
    let rest = rest.get(..beginning.rest()).unwrap_or(rest);
    if let Ok(Source::Client(client)) = beginning.source(rest) {
        assert!(!client.ip().is_unspecified());
        assert_eq!(client.ip(), client.ip().to_canonical());
    }
});
