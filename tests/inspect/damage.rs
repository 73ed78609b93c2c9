//! The same verdict at the same offset, wherever a log is damaged.

use std::fs;

use crate::support::{Scenario, reaper};
use crate::{data, oracle};

pub const SCENARIOS: &[Scenario] = &[
    ("damage::of_every_event", every_event),
    ("damage::of_the_beginning", beginning),
];

/// One byte of every seventh event changed, and the log cut in it.
fn every_event() {
    let scratch = reaper::directory();
    let file = scratch.path().join("damaged");
    let log = &data()[0];
    let bytes = fs::read(log).expect("it is in the repository");
    let events = oracle::ours(log).events;
    for (index, event) in events.iter().enumerate().step_by(7) {
        let (offset, size) = (event.offset as usize, event.size.unwrap() as usize);
        if bytes[offset + 9..offset + 13] != (size as u32).to_le_bytes() {
            // Out of a compressed transaction: it is not in the file.
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[offset + 19 + index % (size - 19)] ^= 0x10;
        fs::write(&file, &damaged).expect("it can be written");
        let verdict = oracle::agree(&format!("event {index} changed"), &file);
        assert_eq!(verdict.damage, Some(event.offset));
        assert_eq!(verdict.events.len(), index, "the good ones before it");

        let cut = offset + 1 + index % (size - 1);
        fs::write(&file, &bytes[..cut]).expect("it can be written");
        let verdict = oracle::agree(&format!("cut in event {index}"), &file);
        assert_eq!(verdict.damage, Some(event.offset));
    }
}

fn beginning() {
    let scratch = reaper::directory();
    let file = scratch.path().join("damaged");
    let bytes = fs::read(&data()[0]).expect("it is in the repository");
    for (what, damaged) in [
        ("only the magic", bytes[..4].to_vec()),
        ("part of the first header", bytes[..14].to_vec()),
        ("part of the format description", bytes[..60].to_vec()),
        ("first event of no known type", {
            let mut damaged = bytes.clone();
            damaged[8] = 48;
            damaged
        }),
        ("length below a header", {
            let mut damaged = bytes.clone();
            damaged[127 + 9] = 18;
            damaged
        }),
        ("stray bytes at the end", [&bytes[..], &[0; 9]].concat()),
    ] {
        fs::write(&file, &damaged).expect("it can be written");
        oracle::agree(what, &file);
    }
}
