#![doc = include_str!("../README.md")]

pub mod error;
pub mod gtid;
pub mod limits;

pub mod binlog;
pub mod net;
pub mod transaction;
pub mod wire;

pub mod journal;

pub mod group;
pub mod recovery;
pub mod target;

pub mod engine;

#[cfg(feature = "cli")]
pub mod cli;

pub use error::{Error, ErrorKind, Fault, Result};
pub use limits::Limits;

// Shared with the tests in `tests/`, which name the crate from outside.
#[cfg(test)]
extern crate self as rejoin;

#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/sample.rs"]
pub(crate) mod sample;
