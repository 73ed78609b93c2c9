//! From events to whole transactions, and the batches in which transactions travel.
//!
//! ```text
//! events of a stream or file -> Assembler -> Batch (whole transactions) -> applier, journal
//! ```
//!
//! The [`Assembler`] verifies every event, copies it once into the batch that it fills, and knows by
//! the server's own rules where a transaction begins and ends. It has no socket, no thread and no
//! clock.

mod assembler;
mod batch;
mod boundary;
mod grouping;
mod part;

pub use assembler::{Assembler, Progress};
pub use batch::{Batch, Events, Transaction, TransactionKind};
pub(crate) use boundary::is_rollback;
pub(crate) use part::{OwnedKind, Part, PartSlice, Piece};
