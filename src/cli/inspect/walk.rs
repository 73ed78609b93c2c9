//! One log from its first event to its last, or to the first one that cannot be read.

use std::io::Read;

use super::filter::{Choice, Filter, Relevance};
use super::place::{Place, Places};
use super::seen::{Seen, Totals};
use super::{Form, Output, json_event, text};
use crate::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, LogEvent, LogReader,
    PayloadDecoder, QueryEvent, TableMaps, Tail, in_payload, split_nested,
};
use crate::{Error, ErrorKind, Limits, Result};

/// Whether the reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    /// The filter wants nothing of what follows.
    Enough,
    /// Nobody reads the output any more.
    Closed,
}

/// What is shown of a transaction as soon as it is known that it is wanted.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    events: u64,
    /// Where in `bytes` the text of a statement begins whose rows have not come yet.
    announcement: Option<usize>,
}

pub(super) struct Walk<'a> {
    limits: &'a Limits,
    filter: &'a mut Filter,
    v1_rows: bool,
    totals: &'a mut Totals,
    places: Places,
    tables: TableMaps,
    decoder: PayloadDecoder,
    expanded: Vec<u8>,
    /// What the filter says about the transaction at hand.
    choice: Choice,
    held: Held,
    line: Vec<u8>,
    warning: Option<String>,
}

/// An event's bytes (without checksum) and where they are.
struct Found<'a> {
    offset: u64,
    payload_offset: Option<u64>,
    header: EventHeader,
    checksum: Option<u32>,
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        limits: &'a Limits,
        filter: &'a mut Filter,
        v1_rows: bool,
        totals: &'a mut Totals,
    ) -> Self {
        Self {
            limits,
            filter,
            v1_rows,
            totals,
            places: Places::default(),
            tables: TableMaps::new(limits),
            decoder: PayloadDecoder::new(),
            expanded: Vec::new(),
            choice: Choice::Show,
            held: Held::default(),
            line: Vec::new(),
            warning: None,
        }
    }

    /// What is odd about the log and no damage.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    pub(super) fn run<R: Read>(
        &mut self,
        reader: &mut LogReader<R>,
        output: &mut Output<'_>,
    ) -> Result<Flow> {
        loop {
            let event = match reader.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => {
                    self.end(reader)?;
                    return Ok(Flow::On);
                }
                Err(error) => return Err(self.count(error)),
            };
            let offset = event.offset;
            let flow = self
                .event(&event, output)
                .map_err(|error| self.count(error).at_offset(offset))?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
    }

    fn count(&mut self, error: Error) -> Error {
        if error.kind() == ErrorKind::Checksum {
            self.totals.checksum_errors += 1;
        }
        error
    }

    /// Behind the last whole event.
    fn end<R: Read>(&mut self, reader: &LogReader<R>) -> Result<()> {
        let offset = reader.offset();
        let what = match reader.tail() {
            Tail::Nothing => return Ok(()),
            Tail::PartOfHeader(bytes) => {
                format!("ends {bytes} bytes into the header of an event")
            }
            Tail::PartOfEvent { header, available } => format!(
                "ends {available} bytes into a {} event of {} bytes",
                header.event_type, header.length
            ),
        };
        if reader.format().is_some_and(|format| format.in_use()) {
            self.warning = Some(format!(
                "the log is being written, or its server crashed: it {what} (offset {offset})"
            ));
            return Ok(());
        }
        Err(Error::new(ErrorKind::Malformed, format!("the log {what}"))
            .at_offset(offset)
            .remedy("it was closed, so it is not whole: copy it again, and check the disk"))
    }

    fn event(&mut self, log: &LogEvent<'_>, output: &mut Output<'_>) -> Result<Flow> {
        let bytes = log.verify()?;
        check_type(log.format, &log.header, self.v1_rows)?;
        let with_plain_headers;
        let mut format: &FormatDescription = log.format;
        if format.header_length() != EventHeader::SIZE {
            // mysqlbinlog reads all other events as if their headers were of the usual length.
            with_plain_headers = format.clone().with_plain_headers();
            format = &with_plain_headers;
        }
        let event = decode(format, &log.header, bytes, self.v1_rows)?;
        let found = Found {
            offset: log.offset,
            payload_offset: None,
            header: log.header,
            checksum: checksum(log, bytes.len()),
            bytes,
        };
        let Event::TransactionPayload(payload) = &event else {
            return self.show(format, &found, &event, output);
        };
        let mut expanded = std::mem::take(&mut self.expanded);
        expanded.clear();
        let whole = match self.decoder.expand(payload, self.limits, &mut expanded) {
            // Damaged from its beginning on: nothing of the transaction is shown.
            Err(error) if expanded.is_empty() => return Err(error),
            whole => whole,
        };
        let mut flow = self.show(format, &found, &event, output)?;
        if flow == Flow::On {
            flow = self.payload(format, log, &expanded, output)?;
        }
        self.expanded = expanded;
        whole.map(|()| flow)
    }

    /// The events inside a compressed transaction.
    fn payload(
        &mut self,
        format: &FormatDescription,
        log: &LogEvent<'_>,
        expanded: &[u8],
        output: &mut Output<'_>,
    ) -> Result<Flow> {
        let mut rest = expanded;
        let mut flow = Flow::On;
        while !rest.is_empty() && flow == Flow::On {
            let (header, bytes) = split_nested(rest)?;
            rest = rest.get(bytes.len()..).unwrap_or_default();
            check_type(format, &header, self.v1_rows).map_err(in_payload)?;
            let event = decode(format, &header, bytes, self.v1_rows).map_err(in_payload)?;
            let found = Found {
                offset: u64::from(log.header.end_log_pos),
                payload_offset: Some(log.offset),
                header,
                checksum: None,
                bytes,
            };
            flow = self.show(format, &found, &event, output)?;
        }
        Ok(flow)
    }

    /// Shows one event, or holds it back, or passes it over, as the filter says.
    fn show(
        &mut self,
        format: &FormatDescription,
        found: &Found<'_>,
        event: &Event<'_>,
        output: &mut Output<'_>,
    ) -> Result<Flow> {
        let place = self.places.enter(event);
        let gtid = self.places.gtid();
        let choice = match place {
            Place::Outside => self.filter.outside(&found.header),
            Place::First => {
                self.held = Held::default();
                self.choice = self.filter.transaction(gtid.as_ref(), &found.header);
                self.choice
            }
            Place::Inside => self.choice,
        };
        if choice == Choice::Enough {
            return Ok(Flow::Enough);
        }
        let table = self.table(format, found, event);
        let mut flow = Flow::On;
        let deed = self.deed(choice, event, &table);
        if deed != Deed::Pass {
            let seen = Seen {
                offset: found.offset,
                payload_offset: found.payload_offset,
                header: found.header,
                checksum: found.checksum,
                gtid,
                event,
                table: match &table {
                    Table::None => None,
                    Table::Id(id) => Some(self.tables.get(*id).ok_or("no table map came before")),
                    Table::Unreadable(error) => Some(Err(error)),
                },
                limits: self.limits,
            };
            self.line.clear();
            let undecoded = match output.form {
                Form::Text => text::event(&seen, &mut self.line),
                Form::Json { rows } => json_event::event(&seen, rows, &mut self.line),
            };
            self.totals.undecoded += u64::from(undecoded);
            flow = self.deliver(deed, event, output)?;
        }
        if self.places.leave(event) {
            if matches!(self.choice, Choice::Show | Choice::Found) {
                self.totals.transactions += 1;
            }
            self.held = Held::default();
        }
        Ok(flow)
    }

    /// Learns the table of a table map; finds that of a row event.
    fn table(&mut self, format: &FormatDescription, found: &Found<'_>, event: &Event<'_>) -> Table {
        match event {
            Event::TableMap(map) => match self.tables.add(format, found.bytes) {
                Ok(_) => Table::Id(map.table_id),
                Err(error) => Table::Unreadable(error.to_string()),
            },
            Event::Rows(rows) => Table::Id(rows.table_id),
            _ => Table::None,
        }
    }

    /// What happens to an event of a transaction of this choice.
    fn deed(&mut self, choice: Choice, event: &Event<'_>, table: &Table) -> Deed {
        match choice {
            Choice::Skip | Choice::Enough => return Deed::Pass,
            Choice::Show => return Deed::Show,
            Choice::Search | Choice::Found => {}
        }
        let mapped = match table {
            Table::Id(id) => self.tables.get(*id),
            _ => None,
        };
        match self.filter.relevance(event, mapped) {
            Relevance::Wanted => {
                self.choice = Choice::Found;
                Deed::Show
            }
            Relevance::Frame if choice == Choice::Found => Deed::Show,
            Relevance::Frame | Relevance::Announcement => Deed::Hold,
            Relevance::Other => {
                self.held.drop_announcement();
                Deed::Pass
            }
        }
    }

    /// Puts out the line that was made, behind what was held back; or holds it back.
    fn deliver(&mut self, deed: Deed, event: &Event<'_>, output: &mut Output<'_>) -> Result<Flow> {
        if deed == Deed::Hold {
            self.held.hold(event, &self.line);
            return Ok(Flow::On);
        }
        if self.held.events > 0 {
            let held = std::mem::take(&mut self.held);
            self.totals.events += held.events;
            if output.put(&held.bytes)? == Flow::Closed {
                return Ok(Flow::Closed);
            }
        }
        self.totals.events += 1;
        output.put(&self.line)
    }
}

/// What happens to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Show,
    /// Shown if its transaction turns out to be wanted.
    Hold,
    Pass,
}

/// Which table an event speaks of.
enum Table {
    None,
    Id(u64),
    /// Its map's columns cannot be read, for this cause.
    Unreadable(String),
}

impl Held {
    fn hold(&mut self, event: &Event<'_>, line: &[u8]) {
        self.announcement = matches!(event, Event::RowsQuery(_)).then_some(self.bytes.len());
        self.bytes.extend_from_slice(line);
        self.events += 1;
    }

    /// The rows of the statement that was held last are not wanted.
    fn drop_announcement(&mut self) {
        if let Some(start) = self.announcement.take() {
            self.bytes.truncate(start);
            self.events -= 1;
        }
    }
}

/// Types that mysqlbinlog does not know (any more) in a file: it passes them over where they are
/// marked as ignorable.
fn is_unknown(event_type: EventType, v1_rows: bool) -> bool {
    match event_type {
        EventType::HEARTBEAT | EventType::HEARTBEAT_V2 => true,
        EventType(23..=25) => !v1_rows,
        _ => false,
    }
}

/// What the log's own format description does not have, mysqlbinlog does not read either; nor the
/// rows and statements of formats that ended with 5.6 and 5.0, nor the statements of servers that
/// others had given longer headers.
fn check_type(format: &FormatDescription, header: &EventHeader, v1_rows: bool) -> Result<()> {
    /// Length of a Query event's fixed part in servers without status variables.
    const QUERY_WITHOUT_STATUS: usize = 11;
    let event_type = header.event_type;
    let known = format.post_header_lengths().len();
    // What is MariaDB's and may not be passed over is refused by its name.
    let is_named = event_type.is_mariadb() && !header.has(EventHeader::IGNORABLE);
    if usize::from(event_type.0) > known && !is_named {
        return Err(Error::new(
            ErrorKind::Malformed,
            format!(
                "{event_type} event (type {}) in a log whose format description has {known} types",
                event_type.0
            ),
        ));
    }
    if event_type == EventType::QUERY && format.header_length() != EventHeader::SIZE {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "Query event with a header of {} bytes: every server of MySQL's own writes {}",
                format.header_length(),
                EventHeader::SIZE
            ),
        ));
    }
    let is_passed_over = header.has(EventHeader::IGNORABLE);
    if matches!(event_type.0, 23..=25) && !v1_rows && !is_passed_over {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{event_type} event: rows as servers before 5.6 wrote them"),
        )
        .remedy("--v1-rows reads them all the same; mysqlbinlog and mysqld do not from 8.4 on"));
    }
    if matches!(event_type, EventType::HEARTBEAT | EventType::HEARTBEAT_V2) && !is_passed_over {
        return Err(Error::new(
            ErrorKind::Malformed,
            "Heartbeat event in a file: it belongs on a connection only",
        ));
    }
    if event_type == EventType::QUERY
        && format
            .post_header_length(event_type)
            .is_some_and(|length| length <= QUERY_WITHOUT_STATUS)
    {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "Query event without status variables, as servers before 5.0 wrote it",
        ));
    }
    Ok(())
}

/// The event, with the parts checked that are read on demand otherwise.
fn decode<'a>(
    format: &FormatDescription,
    header: &EventHeader,
    bytes: &'a [u8],
    v1_rows: bool,
) -> Result<Event<'a>> {
    if is_unknown(header.event_type, v1_rows) && header.has(EventHeader::IGNORABLE) {
        let body = bytes.get(format.header_length()..).unwrap_or_default();
        return Ok(Event::Ignorable {
            event_type: header.event_type,
            body,
        });
    }
    let mut bytes = bytes;
    if header.event_type == EventType::GTID_TAGGED && !format.has_own_checksum() {
        // Where a log does not know of checksums mysqlbinlog takes the end of this event for one.
        bytes = bytes
            .get(..bytes.len().saturating_sub(4))
            .unwrap_or_default();
    }
    let event = Event::decode(format, bytes)?;
    match &event {
        Event::Rows(rows) => drop(rows.extra_info()?),
        Event::Query(query) => {
            check_query(query)?;
            check_statement(format, query)?;
        }
        Event::ExecuteLoadQuery(load) => check_query(&load.query)?,
        _ => {}
    }
    Ok(event)
}

fn check_query(query: &QueryEvent<'_>) -> Result<()> {
    for variable in query.status() {
        variable?;
    }
    if query.statement.is_empty() {
        return Err(Error::new(
            ErrorKind::Malformed,
            "Query event without a statement",
        ));
    }
    Ok(())
}

/// mysqlbinlog reckons the length of a statement with the length of the event's fixed part that the
/// format description announces, though it reads what servers write there.
fn check_statement(format: &FormatDescription, query: &QueryEvent<'_>) -> Result<()> {
    const FIXED_LENGTH: usize = 13;
    let announced = format.post_header_length(EventType::QUERY);
    let announced = announced.unwrap_or(FIXED_LENGTH);
    let length = (query.statement.len() + FIXED_LENGTH).saturating_sub(announced);
    if length == 0 || length > query.statement.len() {
        return Err(Error::new(
            ErrorKind::Malformed,
            format!(
                "Query event without room for the {announced} bytes that the format description announces"
            ),
        ));
    }
    Ok(())
}

/// The checksum as it stands in the file.
fn checksum(log: &LogEvent<'_>, body_length: usize) -> Option<u32> {
    if log.format.checksum() != ChecksumAlgorithm::Crc32 {
        return None;
    }
    let stored = log.bytes.get(body_length..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*stored))
}
