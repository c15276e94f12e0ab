//! Whatever is taken for an address prints as one that is the same, and names one mailbox only.
#![no_main]

use ilbud::mail::{Address, Domain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(address) = Address::parse(text) {
        for written in [address.to_string(), address.wire()] {
            let again = Address::parse(&written).expect("what is printed parses");
            assert_eq!(again, address);
            assert_eq!(again.to_string(), address.to_string());
        }
        assert!(!address.local().contains(['@', '%', '!', '\r', '\n', '\0']));
        assert!(address.wire().len() <= 254);
    }
    if let Ok(domain) = Domain::parse(text) {
        assert!(domain.ascii().is_ascii() && domain.ascii().len() <= 253);
        assert_eq!(Domain::parse(domain.ascii()).as_ref(), Ok(&domain));
        assert_eq!(Domain::parse(&domain.unicode()), Ok(domain));
    }
});
