//! Writes rows of two tables, and knows which there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::RngExt;
use rejoin::Result;
use rejoin::binlog::Value;
use rejoin::group::local::{ColumnType, LocalGroup, LocalTable};
use rejoin::gtid::Gtid;
use rejoin::target::store::Reader;

use crate::member::WAIT;

pub struct Shop {
    group: LocalGroup,
    items: LocalTable,
    notes: LocalTable,
    /// Rows of `items` with how many times each was changed, and how many rows `notes` has. The lock
    /// is the order of the writers.
    rows: Mutex<(BTreeMap<i64, i64>, i64)>,
}

impl Shop {
    pub fn open(group: &LocalGroup) -> Self {
        let items = [
            ("id", ColumnType::BigInt),
            ("name", ColumnType::VarChar(80)),
            ("n", ColumnType::Int),
        ];
        let notes = [
            ("id", ColumnType::Int),
            ("text", ColumnType::Text),
            ("weight", ColumnType::Double),
        ];
        let shop = Self {
            group: group.clone(),
            items: LocalTable::new("shop", "items", &items).unwrap(),
            notes: LocalTable::new("shop", "notes", &notes).unwrap(),
            rows: Mutex::default(),
        };
        group.create_database("shop").unwrap();
        group.create_table(&shop.items).unwrap();
        group.create_table(&shop.notes).unwrap();
        shop
    }

    /// A transaction of some inserts, updates and deletions.
    pub fn write(&self, changes: usize) -> Result<Gtid> {
        let (rows, traces) = &mut *self.rows.lock().unwrap();
        let mut random = rand::rng();
        let mut transaction = self.group.begin();
        for _ in 0..changes {
            let id = random.random_range(0..1000);
            let name = format!("item {id} äß\t€");
            let row = |n| [Value::Int(id), Value::Bytes(name.as_bytes()), Value::Int(n)];
            match rows.get(&id).copied() {
                None => {
                    transaction.insert(&self.items, &row(0))?;
                    rows.insert(id, 0);
                }
                Some(n) if random.random_bool(0.3) => {
                    transaction.delete(&self.items, &row(n))?;
                    rows.remove(&id);
                }
                Some(n) => {
                    transaction.update(&self.items, &row(n), &row(n + 1))?;
                    rows.insert(id, n + 1);
                }
            }
        }
        // Every transaction leaves a trace, so that none can be lost or come twice unseen.
        *traces += 1;
        let text = "§".repeat(random.random_range(0..200));
        let trace = [
            Value::Int(*traces),
            Value::Bytes(text.as_bytes()),
            Value::Double(random.random_range(-1.0..1.0)),
        ];
        transaction.insert(&self.notes, &trace)?;
        transaction.commit()
    }
}

/// A thread that writes until it is stopped, or the test fails.
pub struct Load {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Writes through one member, as a client does: its next transaction comes when that member has
    /// applied the last one.
    pub fn through(shop: &Arc<Shop>, member: &Reader) -> Self {
        let (shop, member) = (Arc::clone(shop), member.clone());
        Self::start(move || {
            let gtid = shop.write(1).unwrap();
            member
                .wait_for(&std::iter::once(gtid).collect(), WAIT)
                .unwrap();
        })
    }

    /// Writes with this pause in between, whoever keeps up.
    pub fn paced(shop: &Arc<Shop>, pause: Duration) -> Self {
        let shop = Arc::clone(shop);
        Self::start(move || {
            shop.write(3).unwrap();
            std::thread::sleep(pause);
        })
    }

    fn start(write: impl Fn() + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                write();
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }

    pub fn stop(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
