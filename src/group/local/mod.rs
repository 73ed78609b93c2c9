//! A group within one process: for demos, tests, and embedders who want to try.
//!
//! All members are in one process, and their order is a lock: this is no group communication, and
//! nothing for several machines. There, the group is MySQL Group Replication itself, and
//! [`MySqlGroup`](super::MySqlGroup) joins it; a host server with a total order of its own
//! implements [`Group`].
//!
//! ```text
//! LocalTransaction::commit --+
//! LocalMember::join ---------+--> Order: GTID, logical clock, view id --> Feed of each member
//! LocalMember::leave --------+         (one lock)                         in the same order
//! ```
//!
//! What a member sees is what it sees in a Group Replication group of 8.0 to 8.2:
//!
//! - Transactions come in one order, the same for all members, with GTIDs of the group's UUID.
//! - A join is an event of that order: every member that is present logs it as a transaction with a
//!   View_change event, and the joiner recovers up to that event from a donor's binary log
//!   ([`Cut::ViewId`](super::Cut::ViewId)). The first member is alone and gets it itself.
//! - A member is RECOVERING until it has caught up, then ONLINE; ERROR where it could not.
//! - The joiner's donors are the other members, at the endpoint that each has given: usually a
//!   [`Donor`](crate::donor::Donor) with the [log](crate::donor::MemberLog) of its store.
//!
//! Where it differs: transactions are not certified, because there is nothing to certify. They are
//! composed from rows that the caller gives, under the lock that orders them; a writer that reads
//! first has to see for itself that nobody writes in between. And [`LocalTransaction::commit`]
//! returns when the transaction is ordered, not when members have applied it: to read one's own
//! writes, wait for the GTID ([`Reader::wait_for`](crate::target::store::Reader::wait_for)).
//!
//! Flow control: while the cache of a member is full, writers wait.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use rejoin::binlog::Value;
//! use rejoin::donor::{Account, Donor, DonorOptions, MemberLog, SourceIdentity};
//! use rejoin::engine::Member;
//! use rejoin::group::local::{ColumnType, LocalGroup, LocalMemberOptions, LocalTable, MemberSets};
//! use rejoin::gtid::{GtidSet, Uuid};
//! use rejoin::net::{ConnectOptions, Endpoint};
//! use rejoin::target::store::Store;
//!
//! # let directory = std::env::temp_dir().join(format!("rejoin-doc-group-{}", std::process::id()));
//! let group = LocalGroup::new(Uuid([9; 16]), ConnectOptions::new("recovery", "secret"))?;
//!
//! let uuid = Uuid([1; 16]);
//! let store = Store::open(&directory)?;
//! let reader = store.reader();
//! let identity = SourceIdentity { server_id: 1, server_uuid: uuid };
//! let log = Arc::new(MemberLog::new(store.binary_log(), identity));
//! let accounts = vec![Account::new("recovery", b"secret")];
//! let donor = Donor::start("127.0.0.1:0", log, DonorOptions::new(accounts))?;
//! let endpoint = Endpoint::new("127.0.0.1", donor.local_addr().port());
//! let executed = reader.clone();
//! let seat = group.member(LocalMemberOptions::new(uuid, endpoint, move || MemberSets {
//!     executed: executed.snapshot().gtid_executed().clone(),
//!     purged: donor.gtid_purged().unwrap_or_default(),
//! }));
//! let member = Member::builder(seat, store).uuid(uuid).start()?;
//! member.wait_online(Duration::from_secs(10))?;
//!
//! let items = LocalTable::new("shop", "items", &[("id", ColumnType::BigInt)])?;
//! group.create_database("shop")?;
//! group.create_table(&items)?;
//! let mut transaction = group.begin();
//! transaction.insert(&items, &[Value::Int(1)])?;
//! let gtid = transaction.commit()?;
//!
//! let own: GtidSet = std::iter::once(gtid).collect();
//! let snapshot = reader.wait_for(&own, Duration::from_secs(10)).expect("it is applied");
//! assert_eq!(snapshot.tables().count(), 1);
//! # drop(member);
//! # std::fs::remove_dir_all(&directory).unwrap();
//! # Ok::<(), rejoin::Error>(())
//! ```

mod compose;
mod order;
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

pub use order::MemberSets;
pub use table::{ColumnType, LocalTable};

use super::{Feed, Group, GroupMember, Joined, MemberState, View};
use crate::binlog::Value;
use crate::gtid::{Gtid, GtidSet, Uuid};
use crate::net::{ConnectOptions, Endpoint};
use crate::{Error, ErrorKind, Result};
use compose::{Changes, RowsKind};
use order::{Order, Sets};

/// Members at a time, as in Group Replication.
pub const MAX_MEMBERS: usize = 9;
/// How often a writer looks whether a full member has room again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A group within one process. Clones are handles of the same group.
///
/// See the [module](self) for what it is and what it is not.
#[derive(Debug, Clone)]
pub struct LocalGroup {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    order: Mutex<Order>,
    /// Members have left, or changed their state.
    changed: Condvar,
    login: ConnectOptions,
}

/// What a member brings to its group.
#[derive(Clone)]
pub struct LocalMemberOptions {
    uuid: Uuid,
    endpoint: Endpoint,
    sets: Sets,
}

impl LocalMemberOptions {
    /// A member with this server UUID, which serves joiners at `endpoint`. `sets` is asked whenever a
    /// view is made, and must not call the group.
    pub fn new(
        uuid: Uuid,
        endpoint: Endpoint,
        sets: impl Fn() -> MemberSets + Send + Sync + 'static,
    ) -> Self {
        Self {
            uuid,
            endpoint,
            sets: Arc::new(sets),
        }
    }
}

impl fmt::Debug for LocalMemberOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalMemberOptions")
            .field("uuid", &self.uuid)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl LocalGroup {
    /// A group without members. `uuid` is its name, the source of its GTIDs; `login` is how joiners
    /// log in at donors.
    ///
    /// # Errors
    /// None but those of a defect in this crate.
    pub fn new(uuid: Uuid, login: ConnectOptions) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                order: Mutex::new(Order::new(uuid)?),
                changed: Condvar::new(),
                login,
            }),
        })
    }

    /// A seat in the group, for [`Member::builder`](crate::engine::Member::builder), whose start is
    /// the join.
    pub fn member(&self, options: LocalMemberOptions) -> LocalMember {
        LocalMember {
            group: self.clone(),
            options,
            seat: AtomicU64::new(0),
        }
    }

    /// All members as they are now.
    pub fn view(&self) -> View {
        self.shared.order.lock().view(None)
    }

    /// The identifier of the present view, `<epoch>:<number>`.
    pub fn view_id(&self) -> String {
        self.shared.order.lock().view_id()
    }

    /// Everything that was ordered so far.
    pub fn executed(&self) -> GtidSet {
        self.shared.order.lock().executed().clone()
    }

    /// Takes a member out that cannot leave any more, as a group does with one that it does not hear
    /// from.
    pub fn expel(&self, uuid: &Uuid) {
        let mut order = self.shared.order.lock();
        if let Some(seat) = order.seat_of(uuid) {
            order.leave(seat);
        }
        self.shared.changed.notify_all();
    }

    /// Begins a transaction; it is nothing to anybody until it is committed.
    pub fn begin(&self) -> LocalTransaction {
        LocalTransaction {
            group: self.clone(),
            changes: Changes::default(),
            is_empty: true,
        }
    }

    /// Has every member execute `CREATE DATABASE`.
    ///
    /// # Errors
    /// [`ErrorKind::GroupUnavailable`] where no member is ONLINE.
    pub fn create_database(&self, name: &str) -> Result<Gtid> {
        let statement = format!("CREATE DATABASE `{}`", name.replace('`', "``"));
        self.order(|order| order.execute(|c, gtid| c.statement(gtid, name, &statement)))
    }

    /// Has every member execute the table's `CREATE TABLE`.
    ///
    /// # Errors
    /// [`ErrorKind::GroupUnavailable`] where no member is ONLINE.
    pub fn create_table(&self, table: &LocalTable) -> Result<Gtid> {
        let statement = table.create_statement();
        self.order(|order| order.execute(|c, gtid| c.statement(gtid, table.database(), &statement)))
    }

    /// Changes the order when every member has room, and stays until every member has it.
    fn order<T>(&self, change: impl FnOnce(&mut Order) -> Result<T>) -> Result<T> {
        let mut order = self.shared.order.lock();
        self.settle(&mut order, |_| false);
        let done = change(&mut order)?;
        self.settle(&mut order, |_| false);
        Ok(done)
    }

    /// Waits until everything ordered is handed over, or `gives_up`.
    fn settle(&self, order: &mut MutexGuard<'_, Order>, gives_up: impl Fn(&Order) -> bool) {
        while !order.flush() && !gives_up(order) {
            self.shared.changed.wait_for(order, LOOK_AGAIN);
        }
    }
}

/// A transaction of a [`LocalGroup`] that is being put together.
///
/// Rows are given whole, one value a column in the table's order; those of an update or a deletion
/// must be what the members have, or their recovery ends in a conflict.
#[derive(Debug)]
pub struct LocalTransaction {
    group: LocalGroup,
    changes: Changes,
    is_empty: bool,
}

impl LocalTransaction {
    /// Inserts a row.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where the table cannot have the row; the transaction is as it
    /// was.
    pub fn insert(&mut self, table: &LocalTable, row: &[Value<'_>]) -> Result<()> {
        self.change(table, RowsKind::Write, &[row])
    }

    /// Changes a row into another one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn update(
        &mut self,
        table: &LocalTable,
        old: &[Value<'_>],
        new: &[Value<'_>],
    ) -> Result<()> {
        self.change(table, RowsKind::Update, &[old, new])
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn delete(&mut self, table: &LocalTable, row: &[Value<'_>]) -> Result<()> {
        self.change(table, RowsKind::Delete, &[row])
    }

    fn change(&mut self, table: &LocalTable, kind: RowsKind, rows: &[&[Value<'_>]]) -> Result<()> {
        self.changes.row(table, kind, rows)?;
        self.is_empty = false;
        Ok(())
    }

    /// Orders the transaction, behind everything that was ordered before. Waits while a member's
    /// cache is full.
    ///
    /// # Errors
    /// [`ErrorKind::GroupUnavailable`] where no member is ONLINE, [`ErrorKind::Configuration`] for a
    /// transaction without changes; nobody gets it then.
    pub fn commit(self) -> Result<Gtid> {
        if self.is_empty {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a transaction without changes",
            ));
        }
        let changes = self.changes;
        self.group
            .order(|order| order.execute(|composer, gtid| composer.rows(gtid, changes)))
    }
}

/// A member's seat in a [`LocalGroup`]; dropped, it leaves.
#[derive(Debug)]
pub struct LocalMember {
    group: LocalGroup,
    options: LocalMemberOptions,
    /// The number that the order gave at the join, written once by it; 0 before. Whoever reads an
    /// older value acts as if before the join, so that no ordering is needed.
    seat: AtomicU64,
}

impl LocalMember {
    fn seat(&self) -> u64 {
        self.seat.load(Ordering::Relaxed)
    }
}

impl Group for LocalMember {
    fn join(&self, feed: Feed) -> Result<Joined> {
        let mut order = self.group.shared.order.lock();
        let (seat, joined) = order.join(&self.options, feed)?;
        self.seat.store(seat, Ordering::Relaxed);
        self.group.settle(&mut order, |order| !order.is_taken(seat));
        Ok(joined)
    }

    fn read(&self) -> Result<View> {
        let order = self.group.shared.order.lock();
        Ok(order.view(Some(&self.options.uuid)))
    }

    fn executed(&self) -> Result<GtidSet> {
        Ok(self.group.executed())
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        self.group.shared.login.clone()
    }

    fn state_changed(&self, state: MemberState) {
        let mut order = self.group.shared.order.lock();
        order.set_state(self.seat(), state);
    }

    fn leave(&self) {
        self.group.shared.order.lock().leave(self.seat());
        self.group.shared.changed.notify_all();
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        self.leave();
    }
}
