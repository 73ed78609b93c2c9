//! The lock-free queue by itself, for loom (`--cfg loom`), miri and sanitizers.
//!
//! `tests/loom/run` runs them all.
#![allow(dead_code, unused_imports)]

#[path = "../../src/queue/mod.rs"]
mod queue;
