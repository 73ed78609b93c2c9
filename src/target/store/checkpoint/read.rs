//! Reading a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::super::tree::{Builder, Tree};
use super::super::{State, Table};
use super::{MAGIC, kind};
use crate::gtid::GtidSet;
use crate::journal::Position;
use crate::journal::disk::io_error;
use crate::target::schema::{Catalog, TableName};
use crate::target::tables::layout::Layout;
use crate::target::tables::rows::keyless_key;
use crate::target::tables::xa::{Prepared, Xid};
use crate::{Error, ErrorKind, Limits, Result};

/// Reads a whole checkpoint.
///
/// # Errors
/// [`ErrorKind::TargetIo`], [`ErrorKind::TargetCorrupt`] where the file is not whole.
pub(super) fn read(path: &Path) -> Result<State> {
    let mut blocks = Blocks::open(path)?;
    let mut loading: Option<Loading> = None;
    loop {
        let kind = blocks.next()?;
        let mut content = Content(&blocks.content);
        match (&mut loading, kind) {
            (None, kind::HEAD) => loading = Some(Loading::of(content.head()?)),
            (Some(loading), kind::PREPARED) => {
                let (xid, prepared) = content.prepared()?;
                loading.prepared.insert(xid, prepared);
            }
            (Some(loading), kind::TABLE) => {
                loading.finish_table()?;
                loading.begin_table(&mut content)?;
            }
            (Some(loading), kind::ROWS) => loading.rows(&mut content)?,
            (Some(_), kind::END) => {
                let rows = content.u64()?;
                let loading = loading.take();
                let loading = loading.ok_or_else(|| damaged("it has no head"))?;
                return loading.finish(rows);
            }
            _ => return Err(damaged("its blocks are not in order")),
        }
    }
}

/// Reads every block of a checkpoint and compares it with its checksum, and the number of rows that it
/// names at its end.
///
/// # Errors
/// As [`read`].
pub(super) fn check(path: &Path, rows: u64) -> Result<()> {
    let mut blocks = Blocks::open(path)?;
    while blocks.next()? != kind::END {}
    let named = Content(&blocks.content).u64()?;
    if named != rows || blocks.left != 0 {
        return Err(damaged("it has other rows than were written"));
    }
    Ok(())
}

#[cold]
fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("the checkpoint is damaged: {what}"),
    )
}

struct Blocks<'a> {
    path: &'a Path,
    file: BufReader<File>,
    /// Bytes of the file that were not read yet.
    left: u64,
    content: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let failed = |error| io_error("read a checkpoint", path, error);
        let file = File::open(path).map_err(failed)?;
        let left = file.metadata().map_err(failed)?.len();
        let mut blocks = Self {
            path,
            file: BufReader::with_capacity(1 << 20, file),
            left,
            content: Vec::new(),
        };
        let mut magic = [0; MAGIC.len()];
        blocks.exactly(&mut magic)?;
        if magic != MAGIC {
            return Err(damaged("it has another magic or version"));
        }
        Ok(blocks)
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<()> {
        let length = bytes.len() as u64;
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| damaged("it ends too early"))?;
        self.file
            .read_exact(bytes)
            .map_err(|error| io_error("read a checkpoint", self.path, error))
    }

    /// Reads a block to `content`; its kind.
    fn next(&mut self) -> Result<u8> {
        let mut head = [0; 5];
        self.exactly(&mut head)?;
        let [l0, l1, l2, l3, kind] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length as u64 > self.left {
            return Err(damaged("it ends too early"));
        }
        let mut content = std::mem::take(&mut self.content);
        content.resize(length, 0);
        self.exactly(&mut content)?;
        let mut sent = [0; 4];
        self.exactly(&mut sent)?;
        let mut hasher = libdeflater::Crc::new();
        hasher.update(&[kind]);
        hasher.update(&content);
        self.content = content;
        if hasher.sum() != u32::from_le_bytes(sent) {
            return Err(damaged("a block differs from its checksum"));
        }
        Ok(kind)
    }
}

/// The content of a block.
struct Content<'a>(&'a [u8]);

impl<'a> Content<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| damaged("a block ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes
            .first_chunk()
            .copied()
            .ok_or_else(|| damaged("a block ends too early"))
    }

    fn u16(&mut self) -> Result<u16> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn head(&mut self) -> Result<State> {
        let mut state = State::empty(());
        state.commit_number = self.u64()?;
        state.position = Position {
            segment: self.u64()?,
            offset: self.u64()?,
            sequence_number: self.u64()?,
        };
        let limits = Limits {
            gtid_intervals: usize::MAX,
            ..Limits::default()
        };
        state.gtid_executed = GtidSet::decode(self.bytes()?, &limits)?;
        state.catalog = Arc::new(Catalog::decode(self.take(self.0.len())?)?);
        Ok(state)
    }

    fn prepared(&mut self) -> Result<(Xid, Prepared)> {
        let xid = Xid {
            format_id: self.u32()?,
            gtrid: self.bytes()?.to_vec(),
            bqual: self.bytes()?.to_vec(),
        };
        Ok((xid, Prepared::decode(self.take(self.0.len())?)?))
    }
}

/// What was read so far.
struct Loading {
    state: State,
    prepared: BTreeMap<Xid, Prepared>,
    table: Option<LoadingTable>,
    rows: u64,
}

struct LoadingTable {
    name: TableName,
    layout: Layout,
    next_row: u64,
    /// Rows that the table is said to have.
    count: u64,
    rows: Rows,
}

enum Rows {
    Keyed(Builder),
    Keyless(Tree),
}

impl Loading {
    fn of(state: State) -> Self {
        Self {
            state,
            prepared: BTreeMap::new(),
            table: None,
            rows: 0,
        }
    }

    fn begin_table(&mut self, content: &mut Content<'_>) -> Result<()> {
        let name = TableName::new(content.bytes()?, content.bytes()?);
        let Some(definition) = self.state.catalog.table(&name) else {
            return Err(damaged("a table has no definition"));
        };
        let layout = Layout::new(definition.clone())?;
        self.table = Some(LoadingTable {
            rows: if layout.encoder().is_some() {
                Rows::Keyed(Builder::new())
            } else {
                Rows::Keyless(Tree::new())
            },
            name,
            layout,
            next_row: content.u64()?,
            count: content.u64()?,
        });
        Ok(())
    }

    fn rows(&mut self, content: &mut Content<'_>) -> Result<()> {
        let Some(table) = &mut self.table else {
            return Err(damaged("rows without a table"));
        };
        while !content.0.is_empty() {
            let (key, row) = (content.u16()?, content.u32()?);
            let key = content.take(usize::from(key))?;
            let row = content.take(row as usize)?;
            let done = match &mut table.rows {
                Rows::Keyed(builder) => builder.push(key, row),
                Rows::Keyless(tree) => {
                    let number = key
                        .first_chunk()
                        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    tree.insert(&keyless_key(&table.layout, row, number)?, row)
                }
            };
            if !done {
                return Err(damaged("rows are not in order"));
            }
        }
        Ok(())
    }

    fn finish_table(&mut self) -> Result<()> {
        let Some(table) = self.table.take() else {
            return Ok(());
        };
        let rows = match table.rows {
            Rows::Keyed(builder) => builder.finish(),
            Rows::Keyless(tree) => tree,
        };
        if rows.len() != table.count {
            return Err(damaged("rows of a table are missing"));
        }
        self.rows += table.count;
        self.state.put_table(Table {
            name: Arc::new(table.name),
            layout: Arc::new(table.layout),
            rows,
            next_row: table.next_row,
        });
        Ok(())
    }

    fn finish(mut self, rows: u64) -> Result<State> {
        self.finish_table()?;
        if self.rows != rows {
            return Err(damaged("tables are missing"));
        }
        self.state.prepared = Arc::new(self.prepared);
        Ok(self.state)
    }
}
