//! Latencies, and whether they were disturbed.

use std::fmt;

/// Times in nanoseconds.
#[derive(Debug, Default)]
pub struct Histogram {
    times: Vec<u64>,
}

impl Histogram {
    pub fn add(&mut self, times: &[u64]) {
        self.times.extend_from_slice(times);
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.times.clone();
        times.sort_unstable();
        let Some(last) = times.len().checked_sub(1) else {
            return f.write_str("every round was disturbed");
        };
        for (name, share) in [
            ("p50", 0.5),
            ("p90", 0.9),
            ("p99", 0.99),
            ("p99.9", 0.999),
            ("p99.99", 0.9999),
        ] {
            write!(f, "{name} {:5}  ", times[(last as f64 * share) as usize])?;
        }
        write!(f, "of {}", times.len())
    }
}

/// How often the kernel took this thread off its processor although it had work.
pub fn involuntary_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .expect("a count of switches")
}
