//! The table maps of a stream, each taken apart once.
//!
//! A server repeats the same table map in front of every statement: in a log of small transactions a
//! third of all events. A map whose bytes were seen under the same id is found again by comparing
//! them, and nothing is parsed or allocated.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::reader::Reader;
use super::{Column, EventType, FormatDescription, RowsEvent, TableMap};
use crate::{Error, ErrorKind, Limits, Result};

/// A table as its map describes it.
#[derive(Debug, Clone)]
pub struct MappedTable {
    /// Body of the event that it comes from.
    body: Vec<u8>,
    /// [`TableMap::REFERRED_FK_DB`] and others.
    pub flags: u16,
    /// Name of the database.
    pub database: Box<[u8]>,
    /// Name of the table.
    pub table: Box<[u8]>,
    /// Its columns on the source.
    pub columns: Vec<Column>,
}

/// Finds tables by the ids that row events carry.
///
/// ```no_run
/// # fn example(format: &rejoin::binlog::FormatDescription, events: &[&[u8]]) -> rejoin::Result<()> {
/// use rejoin::Limits;
/// use rejoin::binlog::{EventHeader, EventType, RowsEvent, TableMaps};
///
/// let mut tables = TableMaps::new(&Limits::default());
/// let mut cells = Vec::new();
/// for event in events {
///     let event_type = EventHeader::decode(event)?.event_type;
///     if event_type == EventType::TABLE_MAP {
///         tables.add(format, event)?;
///     } else if event_type.is_rows() {
///         let rows = RowsEvent::decode(format, event)?;
///         let table = tables.of(&rows)?;
///         let mut images = rows.rows(&table.columns)?;
///         while let Some(image) = images.next_image(&mut cells)? {
///             for (column, cell) in table.columns.iter().zip(&cells) {
///                 if let Some(bytes) = cell.bytes(image.bytes) {
///                     println!("{:?}", column.decode(bytes)?);
///                 }
///             }
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TableMaps {
    tables: Vec<MappedTable>,
    /// Places in `tables`.
    by_id: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    /// The ids of the last table maps, by their lowest bits, and their places: row events mean one of these.
    recent: [(u64, u32); RECENT],
    limit: usize,
}

/// A power of two.
const RECENT: usize = 16;
/// The place of no table.
const NOWHERE: u32 = u32::MAX;

impl TableMaps {
    /// Without any table.
    pub fn new(limits: &Limits) -> Self {
        Self {
            tables: Vec::new(),
            by_id: HashMap::default(),
            recent: [(0, NOWHERE); RECENT],
            limit: limits.table_maps,
        }
    }

    /// Takes a table map event (without its checksum) and returns its table. A table that had the
    /// same id is forgotten.
    ///
    /// # Errors
    /// What [`TableMap::decode`] and [`TableMap::columns`] say.
    #[inline]
    pub fn add(&mut self, format: &FormatDescription, event: &[u8]) -> Result<&MappedTable> {
        let reader = Reader::at(event, format.body_offset(EventType::TABLE_MAP))?;
        let body = reader.rest();
        let id = id_of(format, body)?;
        let mut place = self.place(id);
        let is_known = matches!(self.tables.get(place as usize), Some(table) if table.body == body);
        if !is_known {
            place = self.learn(format, event, body, id)?;
        }
        if let Some(recent) = self.recent.get_mut(id as usize % RECENT) {
            *recent = (id, place);
        }
        let table = self.tables.get(place as usize);
        table.ok_or_else(|| Error::new(ErrorKind::Internal, "a table map was not kept"))
    }

    #[cold]
    fn learn(
        &mut self,
        format: &FormatDescription,
        event: &[u8],
        body: &[u8],
        id: u64,
    ) -> Result<u32> {
        let map = TableMap::decode(format, event)?;
        let table = MappedTable {
            body: body.to_vec(),
            flags: map.flags,
            database: map.database.into(),
            table: map.table.into(),
            columns: map.columns()?,
        };
        let place = self.place(id);
        if let Some(known) = self.tables.get_mut(place as usize) {
            *known = table;
            return Ok(place);
        }
        if self.tables.len() >= self.limit {
            // Ids only grow, so most of these will not come again; a statement of more tables than
            // this does not find its first ones, which is an error then.
            self.clear();
        }
        let place = self.tables.len() as u32;
        self.tables.push(table);
        self.by_id.insert(id, place);
        Ok(place)
    }

    /// The table with this id.
    #[inline]
    pub fn get(&self, table_id: u64) -> Option<&MappedTable> {
        self.tables.get(self.place(table_id) as usize)
    }

    /// Where the table with this id is, or [`NOWHERE`].
    #[inline]
    fn place(&self, id: u64) -> u32 {
        match self.recent.get(id as usize % RECENT) {
            Some((recent, place)) if *recent == id => *place,
            _ => self.old_place(id),
        }
    }

    #[cold]
    fn old_place(&self, id: u64) -> u32 {
        self.by_id.get(&id).copied().unwrap_or(NOWHERE)
    }

    /// The table that a row event belongs to.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where there was no table map for it.
    #[inline]
    pub fn of(&self, rows: &RowsEvent<'_>) -> Result<&MappedTable> {
        self.get(rows.table_id).ok_or_else(|| rows.without_map())
    }

    /// Forgets all tables: at the start of a stream or file, whose ids are its own.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.by_id.clear();
        self.recent = [(0, NOWHERE); RECENT];
    }
}

/// The table id at the front of a table map's body.
#[inline]
fn id_of(format: &FormatDescription, body: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(body);
    if format.post_header_length(EventType::TABLE_MAP) == Some(6) {
        reader.u32("table id").map(u64::from)
    } else {
        reader.u48("table id")
    }
}

/// Table ids count up: their lowest bits spread well by themselves, once moved to where the map looks.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
