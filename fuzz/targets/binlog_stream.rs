#![no_main]

use rejoin::binlog::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::stream(data);
    fuzzing::expanded(data);
});
