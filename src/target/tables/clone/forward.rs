//! Brings the parts of a copy forward to the newest snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::Rows;
use super::super::apply::ends_with_rollback;
use super::super::layout::Layout;
use super::super::rows::{self, Scratch};
use super::copy::{Share, TableCopy};
use crate::Result;
use crate::binlog::{EventType, QueryEvent, RowsEvent, TableMap};
use crate::gtid::GtidSet;
use crate::target::schema::{Concerns, StatementContext, TableName, concerns};
use crate::transaction::{Batch, Transaction, TransactionKind};

pub(super) struct Forward<'a, R: Rows> {
    sets: &'a mut [GtidSet],
    tables: &'a mut BTreeMap<TableName, TableCopy<R>>,
    /// What comes behind it is not wanted.
    newest: &'a GtidSet,
    /// Tables by the ids of their maps; `None` for those that are not copied.
    maps: HashMap<u64, Option<TableName>>,
    scratch: Scratch,
    /// Whether a table has to be begun anew.
    is_whole: bool,
}

impl<'a, R: Rows> Forward<'a, R> {
    pub(super) fn new(
        sets: &'a mut [GtidSet],
        tables: &'a mut BTreeMap<TableName, TableCopy<R>>,
        newest: &'a GtidSet,
    ) -> Self {
        Self {
            sets,
            tables,
            newest,
            maps: HashMap::new(),
            scratch: Scratch::default(),
            is_whole: true,
        }
    }

    /// Whether all tables could be brought forward.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// # Errors
    /// Those of a transaction that does not fit; parts may hold half of it then.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<()> {
        for transaction in batch.iter() {
            let gtid = transaction.gtid();
            if !self.newest.contains(gtid) {
                continue;
            }
            let missing: Vec<bool> = self.sets.iter().map(|set| !set.contains(gtid)).collect();
            self.transaction(&transaction, &missing)
                .map_err(|error| error.at_gtid(*gtid))?;
            for set in &mut *self.sets {
                set.insert(gtid);
            }
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction<'_>, missing: &[bool]) -> Result<()> {
        match transaction.kind() {
            TransactionKind::Empty | TransactionKind::ViewChange { .. } => return Ok(()),
            _ if ends_with_rollback(transaction) => return Ok(()),
            // Its changes come with another transaction, and snapshots in between do not show them.
            TransactionKind::XaPrepare => {
                self.give_up(missing, |_| true);
                return Ok(());
            }
            _ => {}
        }
        let format = transaction.format();
        for (header, event) in transaction.events() {
            match header.event_type {
                EventType::TABLE_MAP => {
                    self.table_map(&TableMap::decode(format, event)?, missing)?
                }
                EventType::QUERY => {
                    let query = QueryEvent::decode(format, event)?;
                    let context = StatementContext::of(&query, header.timestamp)?;
                    self.statement(query.statement, &context, missing);
                }
                event_type if event_type.is_rows() => {
                    let event = RowsEvent::decode(format, event)?;
                    self.rows(&event, header.timestamp, missing)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn table_map(&mut self, map: &TableMap<'_>, missing: &[bool]) -> Result<()> {
        let name = TableName::new(map.database, map.table);
        let table = self.tables.get_mut(&name);
        let table = table.filter(|table| !matches!(table.share(missing), Share::Nothing));
        let Some(table) = table else {
            self.maps.insert(map.table_id, None);
            return Ok(());
        };
        let table = table.table_mut();
        let columns = map.columns()?;
        if table.layout.columns() != columns {
            let mut definition = table.layout.definition.clone();
            definition.bind(&columns)?;
            table.layout = Arc::new(Layout::new(definition)?);
        }
        self.maps.insert(map.table_id, Some(name));
        Ok(())
    }

    fn rows(&mut self, event: &RowsEvent<'_>, timestamp: u32, missing: &[bool]) -> Result<()> {
        if event.is_dummy() {
            return Ok(());
        }
        let Some(name) = self.maps.get(&event.table_id) else {
            return Err(event.without_map());
        };
        let Some(table) = name.as_ref().and_then(|name| self.tables.get_mut(name)) else {
            return Ok(());
        };
        let share = table.share(missing);
        let table = table.table_mut();
        match share {
            Share::Nothing => return Ok(()),
            Share::Everything => rows::apply(table, event, timestamp, &mut self.scratch)?,
            Share::Keys(bounds) => {
                let holds = |key: &[u8]| bounds.hold(key);
                rows::apply_where(table, event, timestamp, &mut self.scratch, &holds)?;
            }
        }
        table.rows.relieve()
    }

    /// Tables that a statement changes are begun anew.
    fn statement(&mut self, statement: &[u8], context: &StatementContext<'_>, missing: &[bool]) {
        match concerns(statement, context) {
            Concerns::Nothing => {}
            Concerns::Tables(names) => self.give_up(missing, |name| names.contains(name)),
            Concerns::Database(database) => {
                self.give_up(missing, |name| name.database == database);
            }
            Concerns::Everything => self.give_up(missing, |_| true),
        }
    }

    fn give_up(&mut self, missing: &[bool], concerned: impl Fn(&TableName) -> bool) {
        for (name, table) in &mut *self.tables {
            if concerned(name) && !matches!(table.share(missing), Share::Nothing) {
                table.reset();
                self.is_whole = false;
            }
        }
    }
}
