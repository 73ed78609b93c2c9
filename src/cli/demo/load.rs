//! The clients of the demo's group: orders are inserted, changed and deleted all the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;

use crate::binlog::Value;
use crate::group::local::{ColumnType, LocalGroup, LocalTable};
use crate::gtid::{Gtid, GtidSet};
use crate::target::store::Reader;
use crate::{Error, ErrorKind, Result};

/// Between two transactions of the load.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a client waits for its member before it looks whether that one is still there.
const WAIT: Duration = Duration::from_millis(100);
/// Changes of a transaction while the load is heavy.
const CHANGES: usize = 100;
const NOTE: &str = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod \
    tempor invidunt ut labore et dolore magna aliquyam erat, sed diam voluptua.";

/// Writes orders, and knows which there are.
pub(super) struct Orders {
    group: LocalGroup,
    table: LocalTable,
    /// How many times each order was changed.
    present: BTreeMap<i64, i64>,
    next: i64,
}

impl Orders {
    /// Makes the database and the table.
    pub(super) fn create(group: &LocalGroup) -> Result<Self> {
        let columns = [
            ("id", ColumnType::BigInt),
            ("customer", ColumnType::VarChar(60)),
            ("amount", ColumnType::Double),
            ("changes", ColumnType::Int),
            ("note", ColumnType::Text),
        ];
        let table = LocalTable::new("shop", "orders", &columns)?;
        group.create_database("shop")?;
        group.create_table(&table)?;
        Ok(Self {
            group: group.clone(),
            table,
            present: BTreeMap::new(),
            next: 1,
        })
    }

    /// A transaction: some new orders, and sometimes an old one changed or deleted.
    pub(super) fn write(&mut self, inserts: usize) -> Result<Gtid> {
        let mut random = rand::rng();
        let mut transaction = self.group.begin();
        let old = self.present.range(random.random_range(0..=self.next)..);
        let old = old.map(|(id, changes)| (*id, *changes)).next();
        if let Some((id, changes)) = old {
            let before = Order::new(id, changes);
            if random.random_bool(0.1) {
                transaction.delete(&self.table, &before.row())?;
                self.present.remove(&id);
            } else if random.random_bool(0.4) {
                let after = Order::new(id, changes + 1);
                transaction.update(&self.table, &before.row(), &after.row())?;
                self.present.insert(id, changes + 1);
            }
        }
        for _ in 0..inserts {
            transaction.insert(&self.table, &Order::new(self.next, 0).row())?;
            self.present.insert(self.next, 0);
            self.next += 1;
        }
        transaction.commit()
    }

    /// A transaction that changes many old orders and makes none.
    fn change_many(&mut self) -> Result<Gtid> {
        let mut transaction = self.group.begin();
        let from = rand::rng().random_range(0..self.next);
        let behind = self.present.range_mut(from..);
        for (id, changes) in behind.take(CHANGES) {
            let (before, after) = (Order::new(*id, *changes), Order::new(*id, *changes + 1));
            transaction.update(&self.table, &before.row(), &after.row())?;
            *changes += 1;
        }
        transaction.commit()
    }

    /// How many rows the table has now.
    pub(super) fn rows(&self) -> usize {
        self.present.len()
    }
}

/// A row; all of it follows from its key and its version.
struct Order {
    id: i64,
    changes: i64,
    customer: String,
}

impl Order {
    fn new(id: i64, changes: i64) -> Self {
        Self {
            id,
            changes,
            customer: format!("customer {} of Ljubljana, Łódź and Αθήνα", id % 997),
        }
    }

    fn row(&self) -> [Value<'_>; 5] {
        [
            Value::Int(self.id),
            Value::Bytes(self.customer.as_bytes()),
            Value::Double(self.id as f64 / 100.0 + self.changes as f64),
            Value::Int(self.changes),
            if self.id % 5 == 0 {
                Value::Null
            } else {
                Value::Bytes(NOTE.as_bytes())
            },
        ]
    }
}

/// A client that writes on and on, through whichever member is there.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Orders>>,
}

#[derive(Default)]
struct Shared {
    /// Members that a client can be connected to.
    members: Mutex<Vec<(String, Reader)>>,
    written: AtomicU64,
    is_heavy: AtomicBool,
    is_over: AtomicBool,
    failed: Mutex<Option<Error>>,
}

impl Load {
    pub(super) fn start(mut orders: Orders, members: Vec<(String, Reader)>) -> Result<Self> {
        let shared = Arc::new(Shared {
            members: Mutex::new(members),
            ..Shared::default()
        });
        let client = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("demo-load".to_owned())
            .spawn(move || {
                while !client.is_over.load(Ordering::Relaxed) {
                    if let Err(error) = client.write(&mut orders) {
                        *client.failed.lock() = Some(error);
                        break;
                    }
                    if !client.is_heavy.load(Ordering::Relaxed) {
                        std::thread::sleep(PAUSE);
                    }
                }
                orders
            })
            .map_err(|error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("cannot start a thread: {error}"),
                )
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// No client goes to this member any more.
    pub(super) fn disconnect(&self, name: &str) {
        self.shared
            .members
            .lock()
            .retain(|(known, _)| known != name);
    }

    /// From now on the binary logs grow fast, or as before.
    pub(super) fn set_heavy(&self, is_heavy: bool) {
        self.shared.is_heavy.store(is_heavy, Ordering::Relaxed);
    }

    /// Transactions so far.
    pub(super) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Why it could not go on.
    ///
    /// # Errors
    /// That.
    pub(super) fn check(&self) -> Result<()> {
        match self.shared.failed.lock().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Ends the load; gives what it knows of the rows.
    pub(super) fn stop(mut self) -> Result<Orders> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let orders = self.thread.take().and_then(|thread| thread.join().ok());
        self.check()?;
        orders.ok_or_else(|| Error::new(ErrorKind::Internal, "the load's thread has panicked"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Commits, and waits for the member it is connected to, as a client does.
    fn write(&self, orders: &mut Orders) -> Result<()> {
        let gtid = match self.is_heavy.load(Ordering::Relaxed) {
            // Behind the last order there may be none to change.
            true if orders.rows() > 0 => orders.change_many().or_else(|_| orders.write(1))?,
            _ => orders.write(1)?,
        };
        self.written.fetch_add(1, Ordering::Relaxed);
        let own: GtidSet = std::iter::once(gtid).collect();
        while !self.is_over.load(Ordering::Relaxed) {
            let member = self.members.lock().first().cloned();
            let Some((_, reader)) = member else {
                return Err(Error::new(
                    ErrorKind::GroupUnavailable,
                    "no member is left for the clients",
                ));
            };
            if reader.wait_for(&own, WAIT).is_some() {
                break;
            }
        }
        Ok(())
    }
}
