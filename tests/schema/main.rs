//! Schemas, row transformations and keys against a real mysqld.
//!
//! ```text
//! order        strings of every collation: order and equality of our keys and of the server
//! definitions  awkward DDL: definitions scanned from the log and information_schema
//! rows         ALTER TABLE: rows transformed by us and rows as the server logs them afterwards
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod definitions;
mod log;
mod order;
mod rows;

fn main() {
    let scenarios = [order::SCENARIOS, definitions::SCENARIOS, rows::SCENARIOS].concat();
    support::run(&scenarios, || {});
}

/// A random number generator that gives the same numbers everywhere.
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
