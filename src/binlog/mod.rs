//! Bytes to events and back: headers, checksums, every event, row images and every column type.
//!
//! ```text
//! log --LogReader, LogBytes--> bytes of one event --verify--> event without checksum --Event::decode--> view
//! log --ExpandedLog--> events without checksums, those of payloads too
//! TableMap --columns()--> Vec<Column>; RowsEvent --rows(&columns)--> cells --Column::decode--> Value
//! ```
//!
//! Everything here borrows from the bytes that it reads and copies nothing. No byte from a peer can
//! make it panic, read out of bounds or allocate what is merely claimed.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used))]

mod checksum;
mod column;
mod commit;
mod compose;
mod control;
mod event;
mod event_type;
mod expanded;
mod file;
mod format;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod group;
mod gtid_event;
mod header;
mod json;
mod payload;
mod query;
mod reader;
mod row_values;
mod rows;
mod statement;
mod table_map;
mod table_maps;
mod value;
mod varlen;
mod writer;

pub use checksum::ChecksumAlgorithm;
pub use column::{Column, ColumnKind};
pub use commit::{XaPrepareEvent, XidEvent};
pub(crate) use compose::FORMAT_FLAGS_OFFSET;
pub use compose::LogComposer;
pub use control::{HeartbeatEvent, IncidentEvent, PreviousGtidsEvent, RotateEvent};
pub use event::Event;
pub(crate) use event::not_understood;
pub use event_type::EventType;
pub use expanded::{ExpandedEvent, ExpandedLog};
pub use file::{LogBytes, LogEvent, LogReader, MAGIC, Tail};
pub use format::FormatDescription;
pub(crate) use format::open;
pub use group::{TransactionContextEvent, ViewChangeEvent};
pub use gtid_event::{GtidEvent, UNDEFINED_SERVER_VERSION};
pub use header::EventHeader;
pub(crate) use json::document_from_text;
pub use json::{JsonContainer, JsonDiff, JsonDocument, JsonOperation, JsonValue, json_diffs};
#[cfg(feature = "cli")]
pub(crate) use payload::in_payload;
pub(crate) use payload::split_nested;
pub use payload::{PayloadCompression, PayloadDecoder, TransactionPayload};
pub use query::{QueryEvent, StatusVariable};
pub(crate) use reader::put_packed;
pub use row_values::CellValue;
pub use rows::{Cell, ExtraRowInfo, ImageKind, RowImage, Rows, RowsEvent, RowsKind};
pub use statement::{
    DeleteFileEvent, ExecuteLoadQueryEvent, FileBlockEvent, IntvarEvent, RandEvent, RowsQueryEvent,
    UserVarEvent, UserVarValue,
};
pub use table_map::TableMap;
pub use table_maps::{MappedTable, TableMaps};
pub use value::{Date, DateTime, Decimal, TextStyle, Time, Timestamp, Value, write_escaped};
pub use writer::LogWriter;
