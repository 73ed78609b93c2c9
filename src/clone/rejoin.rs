//! Another `rejoin` as the donor of a clone.
//!
//! ```text
//! session 1  CLONE SNAPSHOT ..       number, executed GTIDs, catalog: the donor holds its rows at that commit
//! session 2  CLONE SESSION OF n      the same rows
//! each       CLONE ROWS OF t BEHIND k   chunks, each compared with its checksum before a row is taken
//! ```
//!
//! See [`crate::wire::clone`] for the bytes.

use super::{ServerDonor, Snapshot};
use crate::gtid::GtidSet;
use crate::net::Connection;
use crate::target::schema::{Catalog, TableDefinition, TableName};
use crate::target::tables::layout::Layout;
use crate::target::{CloneReader, CloneSnapshot};
use crate::wire::clone::{ChunkReader, CloneRequest, unseal};
use crate::{Error, ErrorKind, Result};

/// Sessions that read at the same time: the donor takes rows from memory, and we have work with them.
const READERS: usize = 2;

/// Opens a snapshot of the member that `first` is connected to.
///
/// # Errors
/// As [`CloneDonor::snapshot`](crate::target::CloneDonor::snapshot).
pub(super) fn snapshot(
    donor: &ServerDonor,
    mut first: Connection,
    at_least: &GtidSet,
) -> Result<Box<dyn CloneSnapshot>> {
    prepare(&mut first)?;
    let at_least = at_least.clone();
    let rows = first.query(&CloneRequest::Snapshot { at_least }.statement())?;
    let malformed = |what: &str| {
        Error::new(
            ErrorKind::Malformed,
            format!("the clone's snapshot has {what}"),
        )
        .at_donor(donor.endpoint.to_string())
    };
    let id = rows
        .text(0, 0)?
        .parse()
        .map_err(|_| malformed("no number"))?;
    let executed = rows
        .text(0, 1)?
        .parse()
        .map_err(|_| malformed("no GTID set"))?;
    let sealed = rows.value(0, 2).ok_or_else(|| malformed("no catalog"))?;
    let catalog = unseal(sealed, "catalog of a clone")
        .and_then(|bytes| {
            Catalog::decode(bytes).map_err(|_| malformed("a catalog of another form"))
        })
        .map_err(|error| error.at_donor(donor.endpoint.to_string()))?;
    let mut readers = vec![Reader { connection: first }];
    while readers.len() < READERS {
        let mut connection = donor.connect()?;
        prepare(&mut connection)?;
        connection.execute(&CloneRequest::Session { snapshot: id }.statement())?;
        readers.push(Reader { connection });
    }
    Ok(Box::new(Snapshot {
        executed,
        catalog,
        readers,
    }))
}

/// We may be slower than the donor is patient.
fn prepare(connection: &mut Connection) -> Result<()> {
    connection.execute("SET SESSION net_write_timeout = 3600")
}

/// One session in a snapshot.
struct Reader {
    connection: Connection,
}

impl CloneReader for Reader {
    fn rows(
        &mut self,
        table: &TableName,
        definition: &TableDefinition,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let behind = after.map(|row| key_of(definition, row)).transpose()?;
        let request = CloneRequest::Rows {
            database: table.database.clone(),
            table: table.table.clone(),
            behind,
        };
        let mut chunks = ChunkReader::default();
        self.connection.query_each(&request.statement(), |row| {
            let values = row.values()?;
            let chunk = values.first().copied().flatten();
            chunks.read(chunk.unwrap_or_default(), each)
        })?;
        chunks.finish()
    }

    fn can_resume(&self, definition: &TableDefinition) -> bool {
        definition.has_key()
    }
}

/// The key of a row image.
fn key_of(definition: &TableDefinition, row: &[u8]) -> Result<Vec<u8>> {
    let layout = Layout::new(definition.clone())?;
    let Some(encoder) = layout.encoder() else {
        return Err(Error::new(
            ErrorKind::Internal,
            "a table without a key cannot be gone on with",
        ));
    };
    let (mut cells, mut key) = (Vec::new(), Vec::new());
    layout.cells(row, &mut cells)?;
    encoder.encode(row, &cells, &mut key)?;
    Ok(key)
}
