//! One GTID set on both sides.
//!
//! A server does not say which GTID set a consistent snapshot shows. In a pause of its transactions it is
//! known all the same: what was executed before the snapshot was opened and is executed still, a moment
//! later, is what the snapshot shows (the moment is for transactions that are committed in the storage
//! engine and not yet in `gtid_executed`). Where there is no pause, a global read lock makes one.

use std::thread;
use std::time::Duration;

use crate::gtid::{GtidSet, Uuid};
use crate::net::{BinlogStream, Connection, DumpRequest};
use crate::target::store::Snapshot;
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Limits, Result};

/// How often a pause is waited for before the lock is asked for.
const PAUSES_TRIED: usize = 5;
/// Longer than a commit stays between the storage engine and `gtid_executed`.
const MOMENT: Duration = Duration::from_millis(200);
/// What is fetched is applied in pieces of this size.
const BATCH_BYTES: usize = 1 << 20;

/// Opens a consistent snapshot in the session and brings a copy of the store's to the same GTID set.
pub(super) fn meet(
    session: &mut Connection,
    connect: impl Fn() -> Result<Connection>,
    store: &Snapshot,
    patience: Duration,
) -> Result<(GtidSet, Snapshot)> {
    for statement in [
        "SET NAMES utf8mb4",
        "SET SESSION sql_mode = '', time_zone = '+00:00'",
        // Values come as they are stored.
        "SET SESSION character_set_results = NULL",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    ] {
        session.execute(statement)?;
    }
    wait_for_the_store(session, store.gtid_executed(), patience)?;
    let executed = match in_a_pause(session)? {
        Some(executed) => executed,
        None => under_a_lock(session, &mut connect()?)?,
    };
    let store = follow(connect, store, &executed)?;
    Ok((executed, store))
}

fn executed(session: &mut Connection) -> Result<GtidSet> {
    let rows = session.query("SELECT @@GLOBAL.gtid_executed")?;
    rows.text(0, 0)?.parse().map_err(|error| {
        Error::new(ErrorKind::Malformed, format!("gtid_executed: {error}")).caused_by(error)
    })
}

/// A secondary may be behind the store: it has to come up first.
fn wait_for_the_store(session: &mut Connection, has: &GtidSet, patience: Duration) -> Result<()> {
    if !has.is_subset(&executed(session)?) {
        session.query(&format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET('{has}', {})",
            patience.as_secs_f64()
        ))?;
    }
    let errant = has.subtract(&executed(session)?);
    if errant.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Errant,
        format!("the store has executed what the member has not: {errant}"),
    )
    .remedy("name a member that is up to date; a store with transactions of its own has to be made anew"))
}

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

fn in_a_pause(session: &mut Connection) -> Result<Option<GtidSet>> {
    for _ in 0..PAUSES_TRIED {
        let before = executed(session)?;
        session.execute(BEGIN)?;
        thread::sleep(MOMENT);
        if executed(session)? == before {
            return Ok(Some(before));
        }
        session.execute("ROLLBACK")?;
    }
    Ok(None)
}

/// As `mysqldump --single-transaction --source-data` does it.
fn under_a_lock(session: &mut Connection, locking: &mut Connection) -> Result<GtidSet> {
    log::info!("transactions never pause on the member: locking it for a moment");
    locking.execute("SET SESSION lock_wait_timeout = 10")?;
    locking
        .execute("FLUSH TABLES WITH READ LOCK")
        .map_err(|error| {
            Error::new(
                error.kind(),
                format!(
                    "transactions never pause on the member, and it cannot be locked: {}",
                    error.message()
                ),
            )
            .remedy("GRANT FLUSH_TABLES ON *.* to the user, or verify against a member at rest")
            .caused_by(error)
        })?;
    session.execute(BEGIN)?;
    let executed = executed(locking)?;
    locking.execute("UNLOCK TABLES")?;
    Ok(executed)
}

/// The store's tables at a GTID set that is not behind them.
fn follow(
    connect: impl Fn() -> Result<Connection>,
    store: &Snapshot,
    executed: &GtidSet,
) -> Result<Snapshot> {
    let mut store = store.clone();
    if executed.is_subset(store.gtid_executed()) {
        return Ok(store);
    }
    let lacking = executed.subtract(store.gtid_executed()).count();
    log::info!("the store lacks {lacking} transactions: applying them to a copy of its tables");
    let request = DumpRequest {
        non_blocking: true,
        ..DumpRequest::new(
            // Apart from the group's own, which are small, and from other readers.
            rand::random_range(1 << 31..u32::MAX),
            Uuid(rand::random()),
            store.gtid_executed().clone(),
        )
    };
    let mut stream = BinlogStream::open(connect()?, &request)?;
    let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
    let mut ended = false;
    while !ended && !executed.is_subset(store.gtid_executed()) {
        match stream.next_event()? {
            Some(event) => drop(assembler.push(event)?),
            None => ended = true,
        }
        if ended || assembler.byte_size() > BATCH_BYTES {
            store = apply(store, &assembler.take(Batch::new()), executed)?;
        }
    }
    if executed.is_subset(store.gtid_executed()) {
        return Ok(store);
    }
    Err(Error::new(
        ErrorKind::Purged,
        format!(
            "the member did not send {}",
            executed.subtract(store.gtid_executed())
        ),
    ))
}

/// Applies what belongs to the set; what follows was executed behind the member's snapshot.
fn apply(store: Snapshot, batch: &Batch, executed: &GtidSet) -> Result<Snapshot> {
    let mut wanted = Batch::new();
    for transaction in batch.iter() {
        if executed.contains(transaction.gtid()) {
            wanted.push(&transaction);
        }
    }
    store.after(&wanted)
}
