//! What is measured: the same walks through a log, by this crate, by its rivals, and by what limits both;
//! and in [`hand_over`] the queue of the group's feed, beside what could take its place.

pub mod deliver;
pub mod hand_over;
pub mod histogram;
pub mod limits;
pub mod ours;
pub mod rivals;

/// What a walk has seen, so that walks can be compared and are not optimised away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Events, those in payloads included where they are expanded.
    pub events: u64,
    /// Row images.
    pub images: u64,
    /// Cells that have a value.
    pub values: u64,
    /// Transactions.
    pub transactions: u64,
}
