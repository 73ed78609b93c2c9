#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rejoin::wire::fuzzing::packet_framing(data));
