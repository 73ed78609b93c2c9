//! The most memory that this process has had.

use std::fs;

/// Begins to measure anew.
pub fn reset() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux forgets the peak");
}

/// Resident bytes, the most since the last [`reset`].
pub fn bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes
        .and_then(|number| number.trim().parse().ok())
        .expect("VmHWM is a number");
    kilobytes << 10
}

/// Whether proofs of bounded memory run at the sizes and times that are promised
/// (`REJOIN_FULL_SIZES=1`), and not at small ones that take seconds.
pub fn is_full_size() -> bool {
    std::env::var("REJOIN_FULL_SIZES").is_ok_and(|value| value == "1")
}
