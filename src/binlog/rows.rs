//! Row events: inserted, updated and deleted rows of one table.
//!
//! ```text
//! u48 table id | u16 flags | (version 2) u16 length of extra info, itself included, and that info
//! packed width w | (w + 7) / 8 bytes: columns present in each image, lowest bit first
//! (updates) the same again for the images after the change
//! row images to the end; updates have one before and one after the change in turn
//!
//! image: (present + 7) / 8 bytes: which of the present columns are NULL | values back to back
//! after image of a partial update: packed options, (options & 1) one bit for each JSON column of
//!   the table: it holds differences instead of a document | image as above
//! ```
//!
//! [`RowsEvent::rows`] walks the images. For each it gives the bytes of the whole image and one
//! [`Cell`] for each column of the table; nothing is copied, nothing allocated.

use super::column::Column;

use super::reader::{Reader, bit, put_packed};
use super::table_map::MAX_COLUMNS;
use super::{ColumnKind, EventHeader, EventType, FormatDescription};
use crate::{Error, ErrorKind, Result};

/// What a row event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowsKind {
    /// One image a row: the new row.
    Insert,
    /// Two images a row: before and after.
    Update,
    /// One image a row: the row that goes.
    Delete,
    /// As update; JSON columns of the image after may be given as differences.
    PartialUpdate,
}

/// Which state of a row an image shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// Before the change (update, delete).
    Before,
    /// After the change (insert, update).
    After,
}

/// Where one column's value is in a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// The image does not have the column (`binlog_row_image` MINIMAL or NOBLOB).
    Absent,
    /// NULL.
    Null,
    /// The value is `image[start..end]`, its length prefix included.
    Value {
        /// First byte in the image.
        start: u32,
        /// Byte behind the last one.
        end: u32,
    },
    /// As `Value`, for a JSON column that is given as differences from the image before.
    Partial {
        /// First byte in the image.
        start: u32,
        /// Byte behind the last one.
        end: u32,
    },
}

impl Cell {
    /// The value's bytes in `image`, length prefix included; `None` where absent or NULL.
    #[inline]
    pub fn bytes<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        match *self {
            Self::Absent | Self::Null => None,
            Self::Value { start, end } | Self::Partial { start, end } => {
                image.get(start as usize..end as usize)
            }
        }
    }
}

/// One row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowImage<'a> {
    /// Before or after.
    pub kind: ImageKind,
    /// The image: NULL bitmap, then the values. With all columns present this is the form in which
    /// a row can be stored as it is.
    pub bytes: &'a [u8],
    /// The columns that are present, lowest bit first.
    pub columns: &'a [u8],
}

/// A row event of any kind and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsEvent<'a> {
    /// What it does.
    pub kind: RowsKind,
    /// The table map that it belongs to.
    pub table_id: u64,
    /// [`RowsEvent::STMT_END`] and others; unknown bits are kept.
    pub flags: u16,
    /// How many columns the table has.
    pub width: usize,
    /// Columns present in before images; in inserts, those of the new row.
    pub columns_before: &'a [u8],
    /// Columns present in after images; the same as `columns_before` but in updates.
    pub columns_after: &'a [u8],
    rows: &'a [u8],
    event_type: EventType,
    /// Extra row info without its length; `None` in version 1.
    extra: Option<&'a [u8]>,
    short_id: bool,
}

/// What the extra info of a row event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtraRowInfo<'a> {
    /// Format and data of the NDB storage engine.
    pub ndb: Option<(u8, &'a [u8])>,
    /// The partition that the rows are (or go) in.
    pub partition_id: Option<u16>,
    /// The partition that updated rows come from.
    pub source_partition_id: Option<u16>,
}

impl<'a> RowsEvent<'a> {
    /// Last row event of the statement: its table maps end here.
    pub const STMT_END: u16 = 1;
    /// `foreign_key_checks` was off.
    pub const NO_FOREIGN_KEY_CHECKS: u16 = 2;
    /// `unique_checks` was off.
    pub const RELAXED_UNIQUE_CHECKS: u16 = 4;
    /// Every image has every column.
    pub const COMPLETE_ROWS: u16 = 8;
    /// Foreign keys are handled by the SQL layer (9.6 and later).
    pub const USE_SQL_FOREIGN_KEY: u16 = 0x10;
    /// The table id of an event that carries nothing but the end of a statement.
    pub const DUMMY_TABLE_ID: u64 = 0xff_ffff;

    /// Reads `event` (without its checksum); rows are read later, by [`RowsEvent::rows`].
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it breaks the format or is no row event.
    // Handed back through memory, in pieces of other sizes than it was written in, it would cost as much as
    // two of its columns.
    #[inline(always)]
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let event_type = EventHeader::decode(event)?.event_type;
        let Some((kind, version_2)) = kind_and_version(event_type) else {
            return Err(no_rows_event(event_type));
        };
        let mut reader = Reader::at(event, format.body_offset(event_type))?;
        let short_id = format.post_header_length(event_type) == Some(6);
        let table_id = if short_id {
            u64::from(reader.u32("table id")?)
        } else {
            reader.u48("table id")?
        };
        let flags = reader.u16("rows flags")?;
        let mut extra = None;
        if version_2 {
            let length = reader.u16("length of extra row info")?;
            // A length that does not even count itself is none, as for servers.
            let length = usize::from(length).saturating_sub(2);
            extra = Some(reader.take(length, "extra row info")?);
        }
        let width = reader.packed("row width")?;
        if width > MAX_COLUMNS || (width == 0 && table_id != Self::DUMMY_TABLE_ID) {
            return Err(reader.malformed(format_args!("rows of {width} columns")));
        }
        let width = width as usize;
        let columns_before = reader.take(width.div_ceil(8), "columns bitmap")?;
        let columns_after = match kind {
            RowsKind::Update | RowsKind::PartialUpdate => {
                reader.take(width.div_ceil(8), "columns bitmap after the change")?
            }
            RowsKind::Insert | RowsKind::Delete => columns_before,
        };
        Ok(Self {
            kind,
            table_id,
            flags,
            width,
            columns_before,
            columns_after,
            rows: reader.take_rest(),
            event_type,
            extra,
            short_id,
        })
    }

    /// Whether the statement's last rows are in this event.
    pub fn ends_statement(&self) -> bool {
        self.flags & Self::STMT_END != 0
    }

    /// Whether it has no table and no rows: it only ends a statement.
    pub(crate) fn is_dummy(&self) -> bool {
        self.width == 0 && self.table_id == Self::DUMMY_TABLE_ID
    }

    /// That the table map of its table is not known.
    #[cold]
    pub(crate) fn without_map(&self) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "row event for table id {} without its table map",
                self.table_id
            ),
        )
    }

    /// The bytes of all row images.
    pub fn row_bytes(&self) -> &'a [u8] {
        self.rows
    }

    /// What the extra info says; kinds that are not known end the reading of it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is cut short.
    pub fn extra_info(&self) -> Result<ExtraRowInfo<'a>> {
        const NDB: u8 = 0;
        const PARTITION: u8 = 1;
        let mut info = ExtraRowInfo::default();
        let mut reader = Reader::new(self.extra.unwrap_or_default());
        while !reader.is_empty() {
            match reader.u8("kind of extra row info")? {
                NDB => {
                    let length = reader.u8("length of NDB info")?;
                    let format = reader.u8("format of NDB info")?;
                    let Some(length) = usize::from(length).checked_sub(2) else {
                        return Err(reader.malformed("NDB info shorter than its head"));
                    };
                    info.ndb = Some((format, reader.take(length, "NDB info")?));
                }
                PARTITION => {
                    info.partition_id = Some(reader.u16("partition id")?);
                    if matches!(self.kind, RowsKind::Update | RowsKind::PartialUpdate) {
                        info.source_partition_id = Some(reader.u16("source partition id")?);
                    }
                }
                _ => break,
            }
        }
        Ok(info)
    }

    /// A cursor over the row images; `columns` are those of the event's table map.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the event's width is not the number of columns.
    #[inline]
    pub fn rows<'c>(&self, columns: &'c [Column]) -> Result<Rows<'a, 'c>> {
        if self.width != columns.len() {
            return Err(other_width(self.width, columns.len()));
        }
        Ok(Rows {
            reader: Reader::new(self.rows),
            columns,
            kind: self.kind,
            columns_before: self.columns_before,
            columns_after: self.columns_after,
            next: match self.kind {
                RowsKind::Insert => ImageKind::After,
                _ => ImageKind::Before,
            },
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        let id = self.table_id.to_le_bytes();
        let id_length = if self.short_id { 4 } else { 6 };
        out.extend_from_slice(id.get(..id_length).unwrap_or_default());
        out.extend_from_slice(&self.flags.to_le_bytes());
        if let Some(extra) = self.extra {
            out.extend_from_slice(&(extra.len() as u16 + 2).to_le_bytes());
            out.extend_from_slice(extra);
        }
        put_packed(self.width as u64, out);
        out.extend_from_slice(self.columns_before);
        if matches!(self.kind, RowsKind::Update | RowsKind::PartialUpdate) {
            out.extend_from_slice(self.columns_after);
        }
        out.extend_from_slice(self.rows);
    }

    pub(super) fn event_type(&self) -> EventType {
        self.event_type
    }
}

fn kind_and_version(event_type: EventType) -> Option<(RowsKind, bool)> {
    Some(match event_type {
        EventType::WRITE_ROWS => (RowsKind::Insert, true),
        EventType::UPDATE_ROWS => (RowsKind::Update, true),
        EventType::DELETE_ROWS => (RowsKind::Delete, true),
        EventType::PARTIAL_UPDATE_ROWS => (RowsKind::PartialUpdate, true),
        EventType::WRITE_ROWS_V1 => (RowsKind::Insert, false),
        EventType::UPDATE_ROWS_V1 => (RowsKind::Update, false),
        EventType::DELETE_ROWS_V1 => (RowsKind::Delete, false),
        _ => return None,
    })
}

#[cold]
fn no_rows_event(event_type: EventType) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("{event_type} event where a row event was expected"),
    )
}

#[cold]
fn other_width(width: usize, columns: usize) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("row event of {width} columns for a table map of {columns}"),
    )
}

/// The images of one row event, in their order.
#[derive(Debug, Clone)]
pub struct Rows<'a, 'c> {
    reader: Reader<'a>,
    columns: &'c [Column],
    kind: RowsKind,
    columns_before: &'a [u8],
    columns_after: &'a [u8],
    next: ImageKind,
}

impl<'a, 'c> Rows<'a, 'c> {
    /// The next image, and in `cells` one entry for each column of the table; `None` behind the
    /// last one.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where a value reaches beyond the event, or an update ends without
    /// its after image.
    #[inline]
    pub fn next_image(&mut self, cells: &mut Vec<Cell>) -> Result<Option<RowImage<'a>>> {
        let Some(front) = self.front()? else {
            return Ok(None);
        };
        let width = self.columns.len();
        if cells.len() != width {
            cells.clear();
            cells.resize(width, Cell::Absent);
        }
        let Front {
            present,
            partial,
            nulls,
            bytes,
            ..
        } = front;
        let end = if front.is_full {
            full_image(self.columns, nulls, bytes, cells)?
        } else {
            some_columns(self.columns, nulls, present, partial, bytes, cells)?
        };
        self.pass(&front, end).map(Some)
    }

    /// What the next image begins with, and all bytes that are left; `None` behind the last image.
    #[inline]
    pub(super) fn front(&mut self) -> Result<Option<Front<'a>>> {
        if self.reader.is_empty() && !(self.is_update() && self.next == ImageKind::After) {
            return Ok(None);
        }
        let present = match self.next {
            ImageKind::Before => self.columns_before,
            ImageKind::After => self.columns_after,
        };
        let partial = if self.kind == RowsKind::PartialUpdate && self.next == ImageKind::After {
            self.partial_bits()?
        } else {
            &[]
        };
        let bytes = self.reader.rest();
        let width = self.columns.len();
        let has_all = has_all(present, width);
        let count = if has_all {
            width
        } else {
            present_count(present, width)
        };
        Ok(Some(Front {
            present,
            partial,
            is_full: has_all && partial.is_empty(),
            nulls: self
                .reader
                .take(count.div_ceil(8), "NULL bitmap of a row")?,
            bytes,
        }))
    }

    /// Goes on behind an image that ends at `end`.
    #[inline]
    pub(super) fn pass(&mut self, front: &Front<'a>, end: usize) -> Result<RowImage<'a>> {
        let kind = self.next;
        if end == 0 && (self.kind == RowsKind::Insert || kind == ImageKind::Before) {
            // It would repeat for ever. (An update may well set no column.)
            return Err(self.reader.malformed("row image without columns"));
        }
        self.reader.take(end - front.nulls.len(), "row image")?;
        if self.is_update() {
            self.next = match kind {
                ImageKind::Before => ImageKind::After,
                ImageKind::After => ImageKind::Before,
            };
        }
        Ok(RowImage {
            kind,
            bytes: front.bytes.get(..end).unwrap_or_default(),
            columns: front.present,
        })
    }

    fn is_update(&self) -> bool {
        matches!(self.kind, RowsKind::Update | RowsKind::PartialUpdate)
    }

    /// The columns of the table.
    pub(super) fn columns(&self) -> &'c [Column] {
        self.columns
    }

    /// Which JSON columns of the after image that follows are given as differences.
    fn partial_bits(&mut self) -> Result<&'a [u8]> {
        match self.reader.packed("row value options")? {
            0 => Ok(&[]),
            1 => {
                let json = self
                    .columns
                    .iter()
                    .filter(|column| column.kind == ColumnKind::Json)
                    .count();
                self.reader.take(json.div_ceil(8), "partial JSON bits")
            }
            options => Err(self
                .reader
                .malformed(format_args!("row value options {options:#x}"))),
        }
    }
}

/// The front of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front<'a> {
    /// Columns that are present, lowest bit first.
    pub(super) present: &'a [u8],
    /// JSON columns that are given as differences.
    pub(super) partial: &'a [u8],
    /// Every column is present, none as differences.
    pub(super) is_full: bool,
    /// The NULL bitmap.
    pub(super) nulls: &'a [u8],
    /// The image from its NULL bitmap on, and what follows it.
    pub(super) bytes: &'a [u8],
}

/// Finds the values of an image that has every column, behind its NULL bitmap, and returns where the
/// image ends.
#[inline]
pub(super) fn full_image(
    columns: &[Column],
    nulls: &[u8],
    bytes: &[u8],
    cells: &mut [Cell],
) -> Result<usize> {
    let mut position = nulls.len();
    for ((columns, cells), null_bits) in columns.chunks(8).zip(cells.chunks_mut(8)).zip(nulls) {
        let mut null_bits = *null_bits;
        for (column, cell) in columns.iter().zip(cells) {
            if null_bits & 1 == 1 {
                *cell = Cell::Null;
            } else {
                let start = position;
                position += column.value_length(bytes.get(start..).unwrap_or_default())?;
                *cell = Cell::Value {
                    start: start as u32,
                    end: position as u32,
                };
            }
            null_bits >>= 1;
        }
    }
    Ok(position)
}

/// The same for an image that lacks some columns, or has some JSON columns as differences.
pub(super) fn some_columns(
    columns: &[Column],
    nulls: &[u8],
    present: &[u8],
    partial: &[u8],
    bytes: &[u8],
    cells: &mut [Cell],
) -> Result<usize> {
    let mut position = nulls.len();
    let mut image_index = 0;
    let mut json_index = 0;
    for (index, (column, cell)) in columns.iter().zip(cells).enumerate() {
        let is_partial = column.kind == ColumnKind::Json && {
            json_index += 1;
            bit(partial, json_index - 1)
        };
        if !bit(present, index) {
            *cell = Cell::Absent;
            continue;
        }
        image_index += 1;
        if bit(nulls, image_index - 1) {
            *cell = Cell::Null;
            continue;
        }
        let start = position;
        position += column.value_length(bytes.get(start..).unwrap_or_default())?;
        let (start, end) = (start as u32, position as u32);
        *cell = if is_partial {
            Cell::Partial { start, end }
        } else {
            Cell::Value { start, end }
        };
    }
    Ok(position)
}

/// Whether every column is present, as in most images; bits beyond the width do not count.
#[inline]
fn has_all(bitmap: &[u8], width: usize) -> bool {
    let mask = !(0xff << (width % 8)) as u8;
    match bitmap.split_at_checked(width / 8) {
        Some((whole, odd)) => {
            whole.iter().all(|byte| *byte == 0xff)
                && odd.first().map_or(mask == 0, |byte| byte & mask == mask)
        }
        None => false,
    }
}

/// Columns that are present; bits beyond the width do not count.
fn present_count(bitmap: &[u8], width: usize) -> usize {
    let whole = width / 8;
    let full: u32 = bitmap
        .iter()
        .take(whole)
        .map(|byte| byte.count_ones())
        .sum();
    let odd = bitmap
        .get(whole)
        .map_or(0, |byte| (byte & ((1 << (width % 8)) - 1)).count_ones());
    (full + odd) as usize
}
