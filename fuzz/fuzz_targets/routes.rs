//! A table that is taken exports as one that is the same, and decides about any address.
#![no_main]

use ilbud::mail::{Address, Origin, Timestamp};
use ilbud::policy::decide::{self, Decision};
use ilbud::policy::table::RoutingTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let table = match RoutingTable::parse(text, 1) {
        Ok((table, _)) => table,
        Err(faults) => {
            assert!(!faults.is_empty());
            assert!(faults.iter().all(|fault| !fault.text.contains('\n')));
            return;
        }
    };
    let exported = table.export();
    let (again, _) = RoutingTable::parse(&exported, 2).expect("an export is a sound table");
    assert_eq!(again.export(), exported);
    assert_eq!(again.summary(Some(&table)), "nothing changed");

    let now = Timestamp::from_millis(1_795_000_000_000);
    for room in table.rooms() {
        assert!(decide::route(&room.id, &table, now).is_some());
    }
    let groups = table
        .groups()
        .into_iter()
        .map(|group| group.address.clone());
    let outside = Address::parse("ola@outside.example.com").expect("an address");
    for address in groups.chain([outside]) {
        let decision = decide::decide(&Origin::Relay, None, &address.to_string(), &table, now);
        if let Decision::Accept(accepted) = decision {
            let inside = |it: &Address| table.room_of(it.domain()).is_some();
            assert!(accepted.recipients.iter().all(|it| inside(&it.address)));
        }
    }
});
