//! `Feed::deliver` as a host calls it: into a member whose cache thread writes everything to its relay log,
//! and whose applier runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rejoin::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent, QueryEvent,
};
use rejoin::engine::Member;
use rejoin::group::{Cut, Feed, Group, GroupMember, Joined, MemberState, View};
use rejoin::gtid::{Gtid, GtidSet, Tag, Tsid, Uuid};
use rejoin::journal::SyncRelayLog;
use rejoin::net::{ConnectOptions, Endpoint};
use rejoin::target::Target;
use rejoin::transaction::{Assembler, Batch};
use rejoin::{Error, Limits};

use crate::hand_over::TRANSACTION;

/// A group of one member that is never asked.
struct Host(Sender<Feed>);

impl Host {
    fn view() -> View {
        let address = Endpoint::new("127.0.0.1", 1);
        View {
            members: vec![GroupMember {
                uuid: Uuid([0xd1; 16]),
                recovery_endpoints: vec![address.clone()],
                address,
                state: MemberState::Online,
                primary: true,
                version: None,
                executed: None,
                purged: None,
            }],
        }
    }
}

impl Group for Host {
    fn join(&self, feed: Feed) -> Result<Joined, Error> {
        let _ = self.0.send(feed);
        Ok(Joined {
            view: Self::view(),
            cut: Cut::Gtids(GtidSet::new()),
        })
    }

    fn read(&self) -> Result<View, Error> {
        Ok(Self::view())
    }

    fn executed(&self) -> Result<GtidSet, Error> {
        Ok(GtidSet::new())
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions::new("recovery", "secret")
    }

    fn leave(&self) {}
}

/// Reads every event.
struct Reading(GtidSet, Arc<AtomicU64>);

impl Target for Reading {
    fn gtid_executed(&self) -> GtidSet {
        self.0.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        for transaction in batch.iter() {
            std::hint::black_box(transaction.events().count());
            self.0.insert(transaction.gtid());
        }
        self.1.fetch_add(batch.len() as u64, Relaxed);
        Ok(())
    }
}

/// A member that is ONLINE, and the way to deliver to it.
pub struct Delivering {
    pub feed: Feed,
    pub applied: Arc<AtomicU64>,
    _member: Member,
    _relay_logs: RelayLogs,
}

/// Removed with their content.
struct RelayLogs(std::path::PathBuf);

impl Drop for RelayLogs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Delivering {
    /// Every transaction is written, and the disk waited for ten times a second.
    pub fn start() -> Self {
        let directory = format!("deliver-{}", std::process::id());
        let relay_logs = RelayLogs(std::env::temp_dir().join(directory));
        let (joined, feeds) = channel();
        let applied = Arc::new(AtomicU64::new(0));
        let target = Reading(GtidSet::new(), Arc::clone(&applied));
        let member = Member::builder(Host(joined), target)
            .relay_log_directory(&relay_logs.0)
            .sync_relay_log(SyncRelayLog::Interval(Duration::from_millis(100)))
            .start()
            .expect("the member starts");
        let feed = feeds.recv().expect("it joins");
        member
            .wait_online(Duration::from_secs(10))
            .expect("it is ONLINE");
        Self {
            feed,
            applied,
            _member: member,
            _relay_logs: relay_logs,
        }
    }
}

/// Makes batches of one transaction.
pub struct Batches {
    format: FormatDescription,
    assembler: Assembler,
    statement: Vec<u8>,
    number: u64,
}

impl Batches {
    pub fn new() -> Result<Self, Error> {
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None)?;
        let mut event = Vec::new();
        format.encode(0, 1, false, &mut event);
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
        assembler.push(&event)?;
        Ok(Self {
            format,
            assembler,
            statement: vec![b'x'; TRANSACTION as usize - 150],
            number: 0,
        })
    }

    /// The next one.
    pub fn make(&mut self) -> Result<Batch, Error> {
        self.number += 1;
        let header = |event_type| EventHeader::new(event_type, 0, 1);
        let uuid = Uuid([0xab; 16]);
        let tag = Tag::NONE;
        let mut gtid = GtidEvent::new(Gtid {
            tsid: Tsid { uuid, tag },
            gno: self.number,
        });
        gtid.last_committed = self.number as i64 - 1;
        gtid.sequence_number = self.number as i64;
        let query = QueryEvent {
            thread_id: 1,
            execution_time: 0,
            error_code: 0,
            status_bytes: &[],
            database: b"",
            statement: &self.statement,
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        Event::Gtid(Box::new(gtid)).encode(&self.format, &header(EventType::GTID), &mut first);
        Event::Query(query).encode(&self.format, &header(EventType::QUERY), &mut second);
        self.assembler.push(&first)?;
        self.assembler.push(&second)?;
        Ok(self.assembler.take(Batch::new()))
    }
}
