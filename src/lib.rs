#![doc = include_str!("../README.md")]
//!
//! # The house
//!
//! A module uses only floors below its own.
//!
//! | floor | module | is |
//! |---|---|---|
//! | 1 | [`gtid`], [`error`], [`limits`] | GTIDs and their sets; one error type, told apart by who is at fault; a bound on everything |
//! | 2 | [`binlog`] | bytes to events and back: headers, checksums, every event, rows and column types |
//! | 2 | [`wire`] | the MySQL protocol without I/O: packets, login, commands, result sets |
//! | 3 | [`transaction`] | events to whole transactions, and the batches that travel between threads |
//! | 3 | [`net`] | the only sockets: connections, TLS, a donor's event stream |
//! | 3 | `queue` | the lock-free queue from the group's delivery threads to the engine's cache; below `group`, whose feed is its entrance |
//! | 3 | [`journal`] | durable segment files of transactions in binary log format |
//! | 4 | [`group`] | members, views, the feed of the group's transactions |
//! | 4 | [`target`] | where transactions are applied; `target::store` is the embedded default |
//! | 5 | `clone` | snapshots of another server's data, for a target to take in |
//! | 5 | [`recovery`] | the heart: a pure state machine from facts and the time to actions |
//! | 6 | [`engine`] | the threads that do what the machine says, and the handle of a member |
//! | 6 | [`verify`] | a store against a member, row by row |
//! | 6 | [`donor`] | the serving side: binary logs and rows for other joiners |
//! | 7 | `cli` | the command line |
//!
//! ```text
//! donor socket -> net -> wire (packets) -> binlog (events) -> transaction (Assembler) =batches=> engine's cache
//! group feed   -> queue -> engine's cache (held until phase 1 is over; memory, then relay logs) =batches=> engine's applier -> target
//! recovery::Machine: facts from all of them in -> actions out (ask this donor, sleep, start phase 2, declare ONLINE, give up)
//! ```

pub mod error;
pub mod gtid;
pub mod limits;

pub mod binlog;
pub mod wire;

pub mod journal;
pub mod net;
pub(crate) mod queue;
pub mod transaction;

pub mod group;
pub mod target;

mod clone;

pub mod recovery;

pub mod donor;
pub mod engine;
pub mod verify;

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

#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/damage.rs"]
pub(crate) mod damage;
