//! A GTID set that is read prints as a text that reads as the same set.
#![no_main]

use rejoin::gtid::GtidSet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(set) = text.parse::<GtidSet>() {
        let again: GtidSet = set.to_string().parse().expect("it was printed");
        assert_eq!(again, set);
    }
});
