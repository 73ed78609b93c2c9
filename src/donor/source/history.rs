//! Which GTIDs the files hold, and where a replica has to begin.
//!
//! ```text
//! file            Previous_gtids      holds           a replica with 1-25 begins
//! binlog.000003   1-10                11-20
//! binlog.000004   1-20                21-30           here: the newest whose previous GTIDs it has
//! binlog.000005   1-30                31-33
//! purged: 1-10    executed: 1-33
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::events::{EventFile, Next};
use super::{LogFile, LogSource};
use crate::binlog::{
    ChecksumAlgorithm, EventHeader, EventType, FormatDescription, GtidEvent, PreviousGtidsEvent,
};
use crate::gtid::{GtidSet, Uuid};
use crate::{Error, ErrorKind, Limits, Result};

/// What is known about the GTIDs of a source.
#[derive(Debug)]
pub(in crate::donor) struct History {
    source: Arc<dyn LogSource>,
    limits: Limits,
    /// The heads of files by name; they never change.
    heads: Mutex<HashMap<String, Arc<Head>>>,
    /// How far the newest file was read.
    progress: Mutex<Option<Progress>>,
}

/// The first two events of a file.
#[derive(Debug)]
struct Head {
    format: FormatDescription,
    previous: GtidSet,
}

#[derive(Debug)]
struct Progress {
    file: String,
    offset: u64,
    executed: GtidSet,
}

/// Why a replica cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::donor) enum Dispute {
    /// It lacks these, and the files no longer have them.
    Purged(GtidSet),
    /// It has these of the donor's own, which the donor does not have.
    Ahead(GtidSet),
}

impl History {
    pub(in crate::donor) fn new(source: Arc<dyn LogSource>, limits: Limits) -> Self {
        Self {
            source,
            limits,
            heads: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    /// What came before the oldest file.
    pub(in crate::donor) fn purged(&self) -> Result<GtidSet> {
        match self.source.files()?.first() {
            Some(oldest) => Ok(self.head(oldest)?.previous.clone()),
            None => Ok(GtidSet::new()),
        }
    }

    /// Everything up to the end of the newest file.
    pub(in crate::donor) fn executed(&self) -> Result<GtidSet> {
        let files = self.source.files()?;
        let end = self.source.end()?;
        let Some(newest) = files.iter().find(|file| file.name == end.file) else {
            return Ok(GtidSet::new());
        };
        let head = self.head(newest)?;
        let mut progress = self.progress.lock();
        let known = match progress.take() {
            Some(known) if known.file == newest.name && known.offset <= end.bytes => known,
            _ => Progress {
                file: newest.name.clone(),
                offset: 4,
                executed: head.previous.clone(),
            },
        };
        let known = self.read_on(newest, &head.format, known, end.bytes)?;
        Ok(progress.insert(known).executed.clone())
    }

    /// Whether events have checksums, in the newest file.
    pub(in crate::donor) fn checksum(&self) -> Result<ChecksumAlgorithm> {
        match self.source.files()?.last() {
            Some(newest) => Ok(self.head(newest)?.format.checksum()),
            None => Ok(ChecksumAlgorithm::Crc32),
        }
    }

    /// The newest file that begins with nothing that the replica lacks.
    pub(in crate::donor) fn start_for(
        &self,
        replica: &GtidSet,
        own: Uuid,
    ) -> Result<Result<LogFile, Dispute>> {
        let ours = restricted(replica, own);
        if !ours.is_empty() {
            let ahead = ours.subtract(&self.executed()?);
            if !ahead.is_empty() {
                return Ok(Err(Dispute::Ahead(ahead)));
            }
        }
        let files = self.source.files()?;
        for file in files.iter().rev() {
            if self.head(file)?.previous.is_subset(replica) {
                return Ok(Ok(file.clone()));
            }
        }
        Ok(Err(Dispute::Purged(self.purged()?.subtract(replica))))
    }

    fn head(&self, file: &LogFile) -> Result<Arc<Head>> {
        if let Some(head) = self.heads.lock().get(&file.name) {
            return Ok(Arc::clone(head));
        }
        let head = Arc::new(self.read_head(file)?);
        let mut heads = self.heads.lock();
        if heads.len() > 2 * self.source.files()?.len() {
            // Of files that were purged long ago.
            heads.clear();
        }
        heads.insert(file.name.clone(), Arc::clone(&head));
        Ok(head)
    }

    fn read_head(&self, file: &LogFile) -> Result<Head> {
        let mut events = EventFile::open(file, &self.limits)?;
        let size = events.size()?;
        let format = match events.next(size)? {
            Next::Event(_) => FormatDescription::decode(events.whole().unwrap_or_default())
                .map_err(|error| error.in_file(&file.name).at_offset(4))?,
            Next::Beyond(_) => return Err(too_short(file)),
        };
        let previous = match events.next(size)? {
            Next::Event(header) if header.event_type == EventType::PREVIOUS_GTIDS => {
                let offset = events.offset();
                let body = events.copy()?;
                format
                    .verify(&body)
                    .and_then(|event| PreviousGtidsEvent::decode(&format, event))
                    .and_then(|event| event.gtids(&self.limits))
                    .map_err(|error| error.in_file(&file.name).at_offset(offset))?
            }
            Next::Event(_) => GtidSet::new(),
            Next::Beyond(_) => return Err(too_short(file)),
        };
        Ok(Head { format, previous })
    }

    /// Adds the GTIDs behind what is known, of whole transactions only.
    fn read_on(
        &self,
        file: &LogFile,
        format: &FormatDescription,
        mut known: Progress,
        end: u64,
    ) -> Result<Progress> {
        let mut events = EventFile::open(file, &self.limits)?;
        events.seek(known.offset)?;
        // A transaction whose length the server does not tell is there when the next event is.
        let mut open = None;
        loop {
            let Next::Event(header) = events.next(end)? else {
                break;
            };
            if let Some(gtid) = open.take() {
                known.executed.insert(&gtid);
            }
            known.offset = events.offset();
            if !is_gtid(&header) {
                continue;
            }
            let gtid = decode_gtid(&events, format)?;
            if gtid.transaction_length == 0 {
                open = Some(gtid.gtid);
                continue;
            }
            let behind = events.offset() + gtid.transaction_length;
            if behind > end {
                break;
            }
            known.executed.insert(&gtid.gtid);
            known.offset = behind;
            events.seek(behind)?;
        }
        Ok(known)
    }
}

/// Whether the event starts a transaction with a GTID.
pub(in crate::donor) fn is_gtid(header: &EventHeader) -> bool {
    matches!(header.event_type, EventType::GTID | EventType::GTID_TAGGED)
}

/// The GTID event that was given out last.
pub(in crate::donor) fn decode_gtid(
    events: &EventFile,
    format: &FormatDescription,
) -> Result<GtidEvent> {
    events
        .whole()
        .ok_or_else(|| Error::new(ErrorKind::Malformed, "Gtid event of an impossible length"))
        .and_then(|event| format.verify(event))
        .and_then(|event| GtidEvent::decode(format, event))
        .map_err(|error| {
            error
                .in_file(&events.source().name)
                .at_offset(events.offset())
        })
}

/// What of `set` comes from one server.
fn restricted(set: &GtidSet, uuid: Uuid) -> GtidSet {
    let mut own = GtidSet::new();
    for (tsid, interval) in set.intervals() {
        if tsid.uuid == uuid {
            own.insert_interval(*tsid, interval);
        }
    }
    own
}

fn too_short(file: &LogFile) -> Error {
    Error::new(ErrorKind::Malformed, "the file ends within its head").in_file(&file.name)
}
