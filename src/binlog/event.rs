//! One event of any type, read and written.

use super::*;
use crate::{Error, ErrorKind, Result};

/// The content of an event, borrowed from its bytes.
///
/// ```
/// use rejoin::binlog::{ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription};
///
/// let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None)?;
/// let header = EventHeader {
///     timestamp: 0,
///     event_type: EventType::ROTATE,
///     server_id: 1,
///     length: 19 + 8 + 13,
///     end_log_pos: 0,
///     flags: EventHeader::ARTIFICIAL,
/// };
/// let mut bytes = header.encode().to_vec();
/// bytes.extend_from_slice(&4u64.to_le_bytes());
/// bytes.extend_from_slice(b"binlog.000002");
/// let event = Event::decode(&format, format.verify(&bytes)?)?;
/// let Event::Rotate(rotate) = &event else { panic!() };
/// assert_eq!((rotate.position, rotate.file), (4, &b"binlog.000002"[..]));
///
/// let mut again = Vec::new();
/// event.encode(&format, &header, &mut again);
/// assert_eq!(again, bytes);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Event<'a> {
    FormatDescription(Box<FormatDescription>),
    PreviousGtids(PreviousGtidsEvent<'a>),
    Rotate(RotateEvent<'a>),
    Stop,
    Heartbeat(HeartbeatEvent<'a>),
    Incident(IncidentEvent<'a>),
    Gtid(Box<GtidEvent>),
    Query(QueryEvent<'a>),
    Xid(XidEvent),
    XaPrepare(XaPrepareEvent<'a>),
    TableMap(Box<TableMap<'a>>),
    Rows(Box<RowsEvent<'a>>),
    RowsQuery(RowsQueryEvent<'a>),
    TransactionPayload(TransactionPayload<'a>),
    Intvar(IntvarEvent),
    Rand(RandEvent),
    UserVar(UserVarEvent<'a>),
    /// First block of a file to be loaded.
    BeginLoadQuery(FileBlockEvent<'a>),
    /// Another block of it.
    AppendBlock(FileBlockEvent<'a>),
    DeleteFile(DeleteFileEvent),
    ExecuteLoadQuery(Box<ExecuteLoadQueryEvent<'a>>),
    ViewChange(ViewChangeEvent<'a>),
    TransactionContext(TransactionContextEvent<'a>),
    /// An event that may be passed over, of a type that is not known here or is just that.
    Ignorable {
        event_type: EventType,
        body: &'a [u8],
    },
}

impl<'a> Event<'a> {
    /// Reads an event of a file or stream in `format`; `event` is without its checksum, as
    /// [`FormatDescription::verify`] returns it. What a newer source may have put behind the content
    /// known here is passed over, as servers do.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it breaks the format; [`ErrorKind::Unsupported`] where its type
    /// is not understood and it is not marked as ignorable.
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let header = EventHeader::decode(event)?;
        Self::body(format, &header, event)
            .map_err(|error| in_event(error, header.event_type, event.len()))
    }

    fn body(format: &FormatDescription, header: &EventHeader, event: &'a [u8]) -> Result<Self> {
        Ok(match header.event_type {
            EventType::FORMAT_DESCRIPTION => Self::FormatDescription(Box::new(
                FormatDescription::decode_without_checksum(event)?,
            )),
            EventType::PREVIOUS_GTIDS => {
                Self::PreviousGtids(PreviousGtidsEvent::decode(format, event)?)
            }
            EventType::ROTATE => Self::Rotate(RotateEvent::decode(event)?),
            EventType::STOP => Self::Stop,
            EventType::HEARTBEAT | EventType::HEARTBEAT_V2 => {
                Self::Heartbeat(HeartbeatEvent::decode(format, event)?)
            }
            EventType::INCIDENT => Self::Incident(IncidentEvent::decode(format, event)?),
            EventType::GTID | EventType::ANONYMOUS_GTID | EventType::GTID_TAGGED => {
                Self::Gtid(Box::new(GtidEvent::decode(format, event)?))
            }
            EventType::QUERY => Self::Query(QueryEvent::decode(format, event)?),
            EventType::XID => Self::Xid(XidEvent::decode(format, event)?),
            EventType::XA_PREPARE => Self::XaPrepare(XaPrepareEvent::decode(format, event)?),
            EventType::TABLE_MAP => Self::TableMap(Box::new(TableMap::decode(format, event)?)),
            event_type if event_type.is_rows() => {
                Self::Rows(Box::new(RowsEvent::decode(format, event)?))
            }
            EventType::ROWS_QUERY => Self::RowsQuery(RowsQueryEvent::decode(format, event)?),
            EventType::TRANSACTION_PAYLOAD => {
                Self::TransactionPayload(TransactionPayload::decode(format, event)?)
            }
            EventType::INTVAR => Self::Intvar(IntvarEvent::decode(format, event)?),
            EventType::RAND => Self::Rand(RandEvent::decode(format, event)?),
            EventType::USER_VAR => Self::UserVar(UserVarEvent::decode(format, event)?),
            EventType::BEGIN_LOAD_QUERY => {
                Self::BeginLoadQuery(FileBlockEvent::decode(format, event)?)
            }
            EventType::APPEND_BLOCK => Self::AppendBlock(FileBlockEvent::decode(format, event)?),
            EventType::DELETE_FILE => Self::DeleteFile(DeleteFileEvent::decode(format, event)?),
            EventType::EXECUTE_LOAD_QUERY => {
                Self::ExecuteLoadQuery(Box::new(ExecuteLoadQueryEvent::decode(format, event)?))
            }
            EventType::VIEW_CHANGE => Self::ViewChange(ViewChangeEvent::decode(format, event)?),
            EventType::TRANSACTION_CONTEXT => {
                Self::TransactionContext(TransactionContextEvent::decode(format, event)?)
            }
            event_type if header.has(EventHeader::IGNORABLE) => Self::Ignorable {
                event_type,
                body: event
                    .get(format.body_offset(event_type)..)
                    .unwrap_or_default(),
            },
            event_type => return Err(not_understood(event_type)),
        })
    }

    /// The type of the event.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::FormatDescription(_) => EventType::FORMAT_DESCRIPTION,
            Self::PreviousGtids(_) => EventType::PREVIOUS_GTIDS,
            Self::Rotate(_) => EventType::ROTATE,
            Self::Stop => EventType::STOP,
            Self::Heartbeat(heartbeat) if heartbeat.is_v2 => EventType::HEARTBEAT_V2,
            Self::Heartbeat(_) => EventType::HEARTBEAT,
            Self::Incident(_) => EventType::INCIDENT,
            Self::Gtid(gtid) => gtid.event_type(),
            Self::Query(_) => EventType::QUERY,
            Self::Xid(_) => EventType::XID,
            Self::XaPrepare(_) => EventType::XA_PREPARE,
            Self::TableMap(_) => EventType::TABLE_MAP,
            Self::Rows(rows) => rows.event_type(),
            Self::RowsQuery(_) => EventType::ROWS_QUERY,
            Self::TransactionPayload(_) => EventType::TRANSACTION_PAYLOAD,
            Self::Intvar(_) => EventType::INTVAR,
            Self::Rand(_) => EventType::RAND,
            Self::UserVar(_) => EventType::USER_VAR,
            Self::BeginLoadQuery(_) => EventType::BEGIN_LOAD_QUERY,
            Self::AppendBlock(_) => EventType::APPEND_BLOCK,
            Self::DeleteFile(_) => EventType::DELETE_FILE,
            Self::ExecuteLoadQuery(_) => EventType::EXECUTE_LOAD_QUERY,
            Self::ViewChange(_) => EventType::VIEW_CHANGE,
            Self::TransactionContext(_) => EventType::TRANSACTION_CONTEXT,
            Self::Ignorable { event_type, .. } => *event_type,
        }
    }

    /// Appends the event as it stands in a file or stream in `format`, with its checksum. Of
    /// `header` everything is kept but the type and the length.
    pub fn encode(&self, format: &FormatDescription, header: &EventHeader, out: &mut Vec<u8>) {
        let start = out.len();
        let mut header = EventHeader {
            event_type: self.event_type(),
            ..*header
        };
        out.extend_from_slice(&header.encode());
        let body_offset = format.body_offset(header.event_type);
        out.resize(start + body_offset.max(EventHeader::SIZE), 0);
        self.encode_body(format, out);
        let has_checksum = match self {
            Self::FormatDescription(format) => format.has_own_checksum(),
            _ => format.checksum() == ChecksumAlgorithm::Crc32,
        };
        header.length = (out.len() - start) as u32 + if has_checksum { 4 } else { 0 };
        if let Some(place) = out.get_mut(start..start + EventHeader::SIZE) {
            place.copy_from_slice(&header.encode());
        }
        if !has_checksum {
            return;
        }
        match self {
            Self::FormatDescription(_) => format::append_checksum(start, out),
            _ => ChecksumAlgorithm::Crc32.append(start, out),
        }
    }

    fn encode_body(&self, format: &FormatDescription, out: &mut Vec<u8>) {
        match self {
            Self::FormatDescription(event) => event.encode_body(out),
            Self::PreviousGtids(event) => event.encode_body(out),
            Self::Rotate(event) => event.encode_body(out),
            Self::Stop => {}
            Self::Heartbeat(event) => event.encode_body(out),
            Self::Incident(event) => event.encode_body(out),
            Self::Gtid(event) => event.encode_body(out),
            Self::Query(event) => event.encode_body(format, out),
            Self::Xid(event) => event.encode_body(out),
            Self::XaPrepare(event) => event.encode_body(out),
            Self::TableMap(event) => event.encode_body(out),
            Self::Rows(event) => event.encode_body(out),
            Self::RowsQuery(event) => event.encode_body(out),
            Self::TransactionPayload(event) => event.encode_body(out),
            Self::Intvar(event) => event.encode_body(out),
            Self::Rand(event) => event.encode_body(out),
            Self::UserVar(event) => event.encode_body(out),
            Self::BeginLoadQuery(event) | Self::AppendBlock(event) => event.encode_body(out),
            Self::DeleteFile(event) => event.encode_body(out),
            Self::ExecuteLoadQuery(event) => event.encode_body(out),
            Self::ViewChange(event) => event.encode_body(out),
            Self::TransactionContext(event) => event.encode_body(out),
            Self::Ignorable { body, .. } => out.extend_from_slice(body),
        }
    }
}

/// Names the event in an error that was met in its body.
#[cold]
fn in_event(error: Error, event_type: EventType, length: usize) -> Error {
    if error.kind() == ErrorKind::Unsupported {
        return error;
    }
    Error::new(
        error.kind(),
        format!("{event_type} event of {length} bytes: {}", error.message()),
    )
}

/// An event that cannot be passed over and is not understood.
#[cold]
pub(crate) fn not_understood(event_type: EventType) -> Error {
    let number = event_type.0;
    if event_type.is_mariadb() {
        return Error::new(
            ErrorKind::Unsupported,
            format!("event of type {number}: the log is of a MariaDB server"),
        )
        .remedy("MariaDB's binary log differs from MySQL's; use a MySQL server");
    }
    Error::new(
        ErrorKind::Unsupported,
        format!("{event_type} event (type {number}) is not understood"),
    )
}
