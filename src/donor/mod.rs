//! The serving side: a member's binary logs, and its rows, for other joiners.
//!
//! ```text
//! listener ("rejoin-donor") -> one thread a client ("rejoin-donor-N"):
//!     login -> statements of a replica -> dump: files -> events -> packets -> socket
//!                               |                          ^--- Throttle, shared by all
//!                               +-> clone: rows of one snapshot -> chunks -> packets -> socket
//! BinlogDirectory or MemberLog ---------^
//! ```
//!
//! A client may be another `rejoin`, a MySQL server (`CHANGE REPLICATION SOURCE TO ...
//! SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1`), or `mysqlbinlog`: they see what a source of version
//! 9.7 would send for the same files, errors included. To another `rejoin` that needs it, a donor with a
//! store behind its logs also gives the rows themselves, a snapshot with its GTID set.
//!
//! What a client costs is bounded: a thread with buffers of fixed size, whatever the sizes of events
//! and however slowly it reads. A slow client holds up its own thread and nobody else.
//!
//! - `server`: the listener, the clients, the handle of it all;
//! - `session`: one client, from greeting to good-bye;
//! - `variables`: what is answered to its questions;
//! - `dump`: the stream of events;
//! - `clone`, `snapshots`: the rows, for joiners that clone;
//! - `source`: where the events come from;
//! - `throttle`: how fast they may go;
//! - `shared`: what all clients share.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used))]

mod clone;
mod dump;
mod options;
mod server;
mod session;
mod shared;
mod snapshots;
mod source;
mod throttle;
mod variables;

pub use options::DonorOptions;
pub use server::{Donor, DonorStatus, DumpStatus};
pub use source::{BinlogDirectory, LogEnd, LogFile, LogSource, MemberLog, SourceIdentity};

pub use crate::wire::server::login::Account;

#[cfg(test)]
mod tests;
