//! The donor's side of a clone as the joiner sees it: snapshots of another server's data.
//!
//! ```text
//! ServerDonor --- a MySQL server ---> mysql     by SQL: a consistent logical snapshot of all tables of
//!             |                                 users, read by several sessions
//!             +-- another `rejoin` -> rejoin    the rows of its store at one commit number, in chunks
//! ```
//!
//! What is done with it is the target's: see [`crate::target::CloneRecipient`].

mod mysql;
mod rejoin;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use mysql::table_now;

use crate::gtid::{GtidSet, Uuid};
use crate::net::{BinlogStream, Closer, ConnectOptions, Connection, DumpRequest, Endpoint};
use crate::target::schema::Catalog;
use crate::target::{CloneDonor, CloneProgress, CloneReader, CloneSnapshot};
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Limits, Result};

/// Connections that may break one after the other without a row coming.
const FAILURES: u32 = 6;
/// Largest batch of transactions that is handed over at once, in bytes.
const BATCH_BYTES: usize = 4 << 20;
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(10);
/// How often it is looked whether a pause is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What tells a clone's owner how far it is.
pub(crate) type Tell = Box<dyn Fn(CloneProgress) + Send + Sync>;

/// A server of either kind; which, it says itself.
pub(crate) struct ServerDonor {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: ConnectOptions,
    pub(crate) limits: Limits,
    /// Ends everything, wherever it is.
    pub(crate) closer: Closer,
    /// As which replica it asks for transactions.
    pub(crate) server_id: u32,
    pub(crate) tell: Tell,
}

impl ServerDonor {
    fn connect(&self) -> Result<Connection> {
        Connection::connect_with(&self.endpoint, &self.options, &self.limits, &self.closer)
    }
}

/// What a server of either kind shows at one GTID set.
struct Snapshot<R> {
    executed: GtidSet,
    catalog: Catalog,
    /// Sessions in it.
    readers: Vec<R>,
}

impl<R: CloneReader> CloneSnapshot for Snapshot<R> {
    fn gtid_executed(&self) -> &GtidSet {
        &self.executed
    }

    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn readers(&mut self) -> Vec<&mut (dyn CloneReader + '_)> {
        self.readers.iter_mut().map(|reader| reader as _).collect()
    }
}

impl CloneDonor for ServerDonor {
    fn snapshot(&self, at_least: &GtidSet) -> Result<Box<dyn CloneSnapshot + '_>> {
        let mut control = self.connect()?;
        let rows = control.query("SELECT @@version_comment")?;
        if rows.text(0, 0)?.starts_with("rejoin") {
            rejoin::snapshot(self, control, at_least)
        } else {
            mysql::snapshot(self, control, at_least)
        }
    }

    fn transactions(
        &self,
        from: &GtidSet,
        until: &GtidSet,
        each: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<()> {
        let connection = self.connect()?;
        let replica = Uuid::from_random(rand::random());
        let mut request = DumpRequest::new(self.server_id, replica, from.clone());
        request.heartbeat_period = HEARTBEAT_PERIOD;
        let mut stream = BinlogStream::open(connection, &request)?;
        let mut assembler = Assembler::new(self.limits.clone(), stream.initial_checksum());
        let mut seen = from.clone();
        let mut batch = Batch::new();
        while !until.is_subset(&seen) {
            let Some(event) = stream.next_event()? else {
                return Err(Error::new(ErrorKind::Stopped, "the donor ended the stream"));
            };
            assembler.push(event)?;
            let full = assembler.byte_size() >= BATCH_BYTES;
            if assembler.ready().is_empty() || (!full && stream.has_buffered_event()) {
                continue;
            }
            batch.clear();
            batch = assembler.take(batch);
            each(&batch)?;
            seen.extend(&batch.gtids());
        }
        Ok(())
    }

    fn progress(&self, progress: CloneProgress) {
        (self.tell)(progress);
    }

    fn pause(&self, failures: u32) -> bool {
        let end = Instant::now() + Duration::from_secs(u64::from(failures));
        while Instant::now() < end && !self.is_stopped() {
            thread::sleep(LOOK);
        }
        failures < FAILURES && !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.closer.is_closed()
    }
}
