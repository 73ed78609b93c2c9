//! All of a state that is not rows, as records of the keyspace.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::DiskRows;
use super::space::{Changes, RECORD, Space, damaged, not_read};
use super::{State, Table};
use crate::gtid::{Encoding, GtidSet};
use crate::target::schema::{Catalog, TableName};
use crate::target::tables::Rows as _;
use crate::target::tables::layout::Layout;
use crate::target::tables::xa::{Prepared, Xid};
use crate::{Limits, Result};

const VERSION: u8 = 1;
const HEAD: &[u8] = &[RECORD, b'h'];
const GTIDS: &[u8] = &[RECORD, b'g'];
const CATALOG: &[u8] = &[RECORD, b'c'];
const TABLE: &[u8] = &[RECORD, b't'];
const PREPARED: &[u8] = &[RECORD, b'x'];

/// What is committed.
pub(super) fn load(space: &Arc<Space>) -> Result<State> {
    let mut state = State::empty(Arc::clone(space));
    let Some(head) = space.get(HEAD)? else {
        return Ok(state);
    };
    let mut head = Record(&head);
    if head.take(1)? != [VERSION] {
        return Err(damaged("it is of another version"));
    }
    state.commit_number = head.u64()?;
    let missing = || damaged("a record is missing");
    let limits = Limits {
        gtid_intervals: usize::MAX,
        ..Limits::default()
    };
    let gtids = space.get(GTIDS)?.ok_or_else(missing)?;
    state.gtid_executed = GtidSet::decode(&gtids, &limits)?;
    let catalog = space.get(CATALOG)?.ok_or_else(missing)?;
    let catalog = Catalog::decode(&catalog)?;
    for found in space.records(TABLE) {
        let (key, value) = found.into_inner().map_err(not_read)?;
        let number = key.get(TABLE.len()..).and_then(|bytes| bytes.first_chunk());
        let number = number.ok_or_else(|| damaged("a key is not whole"))?;
        state.put_table(table(space, &catalog, u32::from_be_bytes(*number), &value)?);
    }
    state.catalog = Arc::new(catalog);
    let mut prepared = BTreeMap::new();
    for found in space.records(PREPARED) {
        let (key, value) = found.into_inner().map_err(not_read)?;
        let xid = xid(key.get(PREPARED.len()..).unwrap_or_default())?;
        prepared.insert(xid, Prepared::decode(&value)?);
    }
    state.prepared = Arc::new(prepared);
    Ok(state)
}

fn table(space: &Arc<Space>, catalog: &Catalog, number: u32, value: &[u8]) -> Result<Table> {
    let mut record = Record(value);
    let name = TableName::new(record.bytes()?, record.bytes()?);
    let Some(definition) = catalog.table(&name) else {
        return Err(damaged("a table has no definition"));
    };
    let layout = Layout::new(definition.clone())?;
    let next_row = record.u64()?;
    let (length, bytes) = (record.u64()?, record.u64()?);
    Ok(Table {
        name: Arc::new(name),
        layout: Arc::new(layout),
        rows: DiskRows::stored(space, number, length, bytes),
        next_row,
    })
}

fn xid(key: &[u8]) -> Result<Xid> {
    let mut record = Record(key);
    Ok(Xid {
        format_id: u32::from_le_bytes(record.number()?),
        gtrid: record.bytes()?.to_vec(),
        bqual: record.bytes()?.to_vec(),
    })
}

/// Everything in which `after` differs from `before`, in the order of the keys.
pub(super) fn changes(before: &State, after: &State) -> Result<Changes> {
    let mut changes = Changes::new();
    let mut head = vec![VERSION];
    head.extend_from_slice(&after.commit_number.to_le_bytes());
    changes.push((HEAD.to_vec(), Some(head)));
    let mut gtids = Vec::new();
    after.gtid_executed.encode(Encoding::Tagged, &mut gtids);
    changes.push((GTIDS.to_vec(), Some(gtids)));
    if before.commit_number == 0 || !Arc::ptr_eq(&before.catalog, &after.catalog) {
        let mut catalog = Vec::new();
        after.catalog.encode(&mut catalog);
        changes.push((CATALOG.to_vec(), Some(catalog)));
    }
    if !Arc::ptr_eq(&before.prepared, &after.prepared) {
        prepared(before, after, &mut changes)?;
    }
    let changed = tables(before, after, &mut changes);
    for table in changed {
        table.rows.push_changes(&mut changes);
    }
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(changes)
}

fn prepared(before: &State, after: &State, changes: &mut Changes) -> Result<()> {
    for xid in before.prepared.keys() {
        if !after.prepared.contains_key(xid) {
            changes.push((prepared_key(xid), None));
        }
    }
    for (xid, prepared) in &*after.prepared {
        let known = before.prepared.get(xid);
        if known.is_none_or(|known| !Arc::ptr_eq(&known.batch, &prepared.batch)) {
            let mut value = Vec::new();
            prepared.encode(&mut value)?;
            changes.push((prepared_key(xid), Some(value)));
        }
    }
    Ok(())
}

fn prepared_key(xid: &Xid) -> Vec<u8> {
    let mut key = PREPARED.to_vec();
    key.extend_from_slice(&xid.format_id.to_le_bytes());
    push_bytes(&xid.gtrid, &mut key);
    push_bytes(&xid.bqual, &mut key);
    key
}

/// The records of tables that have changed; gives these tables.
fn tables<'a>(before: &State, after: &'a State, changes: &mut Changes) -> Vec<&'a Table> {
    let old: BTreeMap<u32, &Arc<Table>> = before
        .tables()
        .map(|table| (table.rows.number(), table))
        .collect();
    let mut gone = old.clone();
    let mut changed = Vec::new();
    for table in after.tables() {
        let number = table.rows.number();
        gone.remove(&number);
        if old.get(&number).is_some_and(|old| Arc::ptr_eq(old, table)) {
            continue;
        }
        let mut value = Vec::new();
        push_bytes(&table.name.database, &mut value);
        push_bytes(&table.name.table, &mut value);
        value.extend_from_slice(&table.next_row.to_le_bytes());
        value.extend_from_slice(&table.rows.len().to_le_bytes());
        value.extend_from_slice(&table.rows.bytes().to_le_bytes());
        changes.push((table_key(number), Some(value)));
        changed.push(&**table);
    }
    changes.extend(gone.into_keys().map(|number| (table_key(number), None)));
    changed
}

fn table_key(number: u32) -> Vec<u8> {
    let mut key = TABLE.to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What is left of a record.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let split = self.0.split_at_checked(length);
        let (head, rest) = split.ok_or_else(|| damaged("a record ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?.first_chunk();
        bytes
            .copied()
            .ok_or_else(|| damaged("a record ends too early"))
    }

    fn u64(&mut self) -> Result<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.number()?);
        self.take(length as usize)
    }
}
