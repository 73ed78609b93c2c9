//! The MySQL client/server protocol, without any I/O.
//!
//! Bytes of a socket go in, packets, states and results come out; [`net`](crate::net) owns the
//! socket and the clock. Everything here reads what a peer sent, so nothing here indexes unchecked,
//! panics on odd bytes, or allocates what a length merely claims.
//!
//! ```text
//! socket bytes -> packet::PacketReader -> one packet
//!                 (compression::Frames before it, where the login has agreed on them)
//!                    login::AwaitGreeting .. AwaitVerdict   while connecting
//!                    result_set::TextResult                 after COM_QUERY
//!                    dump::DumpPacket                       after COM_BINLOG_DUMP_GTID
//! command::*, packet::write_packet -> socket bytes
//! ```
//!
//! - `packet`: framing over one receive buffer, sequence numbers, the 16 MiB rule;
//! - `login`: greeting, TLS request, authentication plugins, refusals;
//! - `compression`: the frames of the compressed protocol;
//! - `command`: the few commands that a replica sends;
//! - `result_set`: rows of a text query;
//! - `clone`: a clone between two of our own;
//! - `dump`: event, ERR and EOF packets told apart;
//! - `server`: the other side, for donors;
//! - `server_error`: ERR packets as [`Error`](crate::Error)s of the right kind.
//!
//! The protocol is that of the manual's "MySQL Client/Server Protocol" part of the source
//! documentation; behaviour was checked against 9.7.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used))]

pub(crate) mod clone;
pub mod command;
pub mod compression;
pub mod dump;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod login;
pub mod packet;
pub mod result_set;
pub mod server;
pub mod server_error;

mod reader;
