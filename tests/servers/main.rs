//! Tests against real MySQL servers: the test bed itself, and recovery from real groups.
//!
//! `cargo test --test servers [FILTER]`. See `tests/support` for what they stand on.
#![allow(clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod bed;

fn main() {
    support::run(bed::SCENARIOS);
}
