#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rejoin::binlog::fuzzing::payload(data));
