//! A GTID set that is read from bytes is written to bytes that read as the same set.
#![no_main]

use rejoin::Limits;
use rejoin::gtid::{Encoding, GtidSet};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(set) = GtidSet::decode(data, &Limits::default()) {
        for encoding in [Encoding::Tagged, Encoding::Compact] {
            let mut bytes = Vec::new();
            set.encode(encoding, &mut bytes);
            assert_eq!(
                GtidSet::decode(&bytes, &Limits::default()).expect("it was written"),
                set
            );
        }
    }
});
