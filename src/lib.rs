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
