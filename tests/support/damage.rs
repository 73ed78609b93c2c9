//! Random damage to real bytes, the same in every run: a fuzzer without feedback that needs no build
//! of its own.

/// Xorshift.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from any seed.
    pub fn new(seed: u64) -> Self {
        Random(seed << 1 | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// A few bytes changed, removed, repeated or made extreme.
    pub fn damage(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfe, 0xff][self.below(8)],
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                _ => {
                    let end = (at + 1 + self.below(16)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
        bytes
    }
}

/// Hands the seeds to `target`, whole, and then damaged as many times as `REJOIN_FUZZ_ROUNDS` says (300
/// unless told).
pub fn run(seed: u64, seeds: &[Vec<u8>], target: fn(&[u8])) {
    let rounds = std::env::var("REJOIN_FUZZ_ROUNDS").ok();
    let rounds: usize = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(300);
    let mut random = Random::new(seed);
    assert!(!seeds.is_empty());
    for seed in seeds {
        target(seed);
    }
    for _ in 0..rounds {
        let seed = &seeds[random.below(seeds.len())];
        target(&random.damage(seed));
    }
}
