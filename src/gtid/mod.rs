//! Global transaction identifiers: one of them, and sets of them.
//!
//! A GTID names a transaction by the [`Tsid`] of its source (a server or group [`Uuid`], and since
//! 8.3.0 an optional [`Tag`]) and a number ([`Gtid::gno`]). A [`GtidSet`] is what a server has
//! executed, lost or needs; recovery is arithmetic on such sets.
//!
//! - `id`: UUID, tag, TSID, GTID;
//! - `set`: the interval algebra;
//! - `text`: the manual's text form, as `@@gtid_executed` prints it and mysqld reads it;
//! - `binary`: the forms of COM_BINLOG_DUMP_GTID and of the previous-GTIDs event;
//! - `varlen`: the integers of some of them.

mod binary;
mod id;
mod set;
mod text;
pub(crate) mod varlen;

pub use binary::Encoding;
pub use id::{Gtid, MAX_GNO, Tag, Tsid, Uuid};
pub use set::{GtidSet, Interval};
pub use text::ParseGtidError;
