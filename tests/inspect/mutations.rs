//! The same verdict at the same offset behind the same events, wherever the logs of this repository and
//! logs of every version are changed at random. `REJOIN_FUZZ_ROUNDS` says how often (100 each unless
//! told).

use std::fs;

use crate::oracle::{self, Verdict};
use crate::support::damage::Random;
use crate::support::{Scenario, reaper};
use crate::{data, old};

pub const SCENARIOS: &[Scenario] = &[
    ("mutations::of_any_bytes", any_bytes),
    ("mutations::behind_right_checksums", right_checksums),
    ("mutations::of_every_bit_in_front", every_bit_in_front),
];

/// What rejoin calls damage at an earlier event than mysqlbinlog, or alone, and why it is right.
const STRICTER: &[(&str, &str)] = &[
    // mysqlbinlog reads such a format description as if it were of version 4.
    ("binlog version ", "an event that only version 4 has"),
    // mysqlbinlog reads checksums that it takes for CRC-32, or none, and stops at the next event.
    ("checksum algorithm ", "nobody knows how to verify the log"),
    // mysqlbinlog looks for the version and the checksum of such a format description where headers
    // of that length would end, though this event's own header always has 19 bytes.
    ("in the format description", "headers of another length"),
    // It then takes the log for one without checksums, and does not verify it.
    ("Format_desc event of", "its checksum differs"),
    // mysqlbinlog cuts it after 511 bytes.
    ("file name of ", "no file has so long a name"),
    // mysqlbinlog reads a byte behind the event then, and stops at the first where that does not do.
    (
        "that the format description announces",
        "the statement ends behind the event",
    ),
    // mysqlbinlog reads on with the format of its own version.
    (
        "format description was expected",
        "nothing says how to read it",
    ),
];

fn rounds() -> usize {
    let rounds = std::env::var("REJOIN_FUZZ_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(100)
}

/// What the changes are made to: the shorter of the logs in the repository, and old ones.
fn bases() -> Vec<(String, Vec<u8>)> {
    let mut bases = old::logs();
    for log in data().iter().step_by(2) {
        let bytes = fs::read(log).expect("it is in the repository");
        bases.push((log.display().to_string(), bytes));
    }
    bases
}

/// Offset, length and type of each event.
fn events(log: &[u8]) -> Vec<(usize, usize, u8)> {
    let mut events = Vec::new();
    let mut offset = 4;
    while let Some(header) = log.get(offset..offset + 19) {
        let length = u32::from_le_bytes(header[9..13].try_into().unwrap()) as usize;
        events.push((offset, length, header[4]));
        offset += length;
    }
    events
}

fn any_bytes() {
    run(1, |bytes, random| {
        let damaged = random.damage(&bytes[4..]);
        bytes.truncate(4);
        bytes.extend(damaged);
        if bytes.len() > 21 && random.below(3) == 0 {
            // As of a server that is running: what is cut at the end is no damage then.
            bytes[21] |= 1;
        }
    });
}

fn right_checksums() {
    run(2, |bytes, random| {
        let events = events(bytes);
        let format = events[0];
        let has_checksums = bytes[format.0 + format.1 - 5] == 1;
        let (offset, length, event_type) = events[random.below(events.len())];
        let end = offset + length - if has_checksums { 4 } else { 0 };
        // Seldom in the header, and never its length: the events behind it stay what they are.
        let from = offset + if random.below(5) == 0 { 13 } else { 19 };
        if end > from {
            let at = from + random.below(end - from);
            bytes[at] = match random.below(3) {
                0 => bytes[at] ^ 1 << random.below(8),
                1 => random.below(256) as u8,
                _ => [0, 1, 2, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff][random.below(10)],
            };
        }
        if has_checksums {
            let in_use = bytes[offset + 17];
            if event_type == 15 {
                bytes[offset + 17] &= !1;
            }
            let checksum = crc32fast::hash(&bytes[offset..end]);
            bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
            bytes[offset + 17] = in_use;
        }
    });
}

fn run(seed: u64, change: impl Fn(&mut Vec<u8>, &mut Random)) {
    let scratch = reaper::directory();
    let file = scratch.path().join("log");
    let bases = bases();
    let mut random = Random::new(seed);
    let (mut damaged, mut stricter) = (0, 0);
    for round in 0..rounds() {
        let (name, base) = &bases[random.below(bases.len())];
        let mut bytes = base.clone();
        change(&mut bytes, &mut random);
        fs::write(&file, &bytes).expect("it can be written");
        let (theirs, ours) = (oracle::theirs(&file), oracle::ours(&file));
        damaged += usize::from(theirs.is_damaged);
        if is_stricter(&theirs, &ours) {
            stricter += 1;
        } else {
            oracle::same(&format!("round {round}, {name}"), &theirs, &ours);
        }
    }
    assert!(damaged * 20 > rounds(), "only {damaged} were damaged");
    assert!(stricter * 20 <= rounds(), "{stricter} verdicts differ");
}

/// Every bit of what a file begins with, the format description and the previous GTIDs, is flipped; of
/// all these logs together as many as there are rounds, spread evenly.
fn every_bit_in_front() {
    let scratch = reaper::directory();
    let file = scratch.path().join("log");
    let mut flips = Vec::new();
    for log in data() {
        let bytes = fs::read(&log).expect("it is in the repository");
        let (offset, length, _) = events(&bytes)[1];
        let name = log.display().to_string();
        flips.extend((4 * 8..(offset + length) * 8).map(|bit| (name.clone(), bit)));
    }
    let rounds = rounds().min(flips.len());
    let mut differing = Vec::new();
    for round in 0..rounds {
        let (name, bit) = &flips[round * flips.len() / rounds];
        let mut bytes = fs::read(name).expect("it was there");
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).expect("it can be written");
        let (theirs, ours) = (oracle::theirs(&file), oracle::ours(&file));
        if let Err(difference) = oracle::compare(&theirs, &ours)
            && !is_stricter(&theirs, &ours)
        {
            differing.push(format!(
                "{name}, bit {} of byte {}: {difference}",
                bit % 8,
                bit / 8
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {rounds} flips differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

fn is_stricter(theirs: &Verdict, ours: &Verdict) -> bool {
    let is_earlier = match (ours.damage, theirs.damage) {
        (Some(ours), Some(theirs)) => ours < theirs,
        (Some(_), None) => !theirs.is_damaged,
        (None, _) => false,
    };
    is_earlier
        && STRICTER
            .iter()
            .any(|(message, _)| ours.messages.contains(message))
}
