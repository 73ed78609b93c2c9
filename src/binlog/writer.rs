//! A log that is written: files one after another, and the list of them.
//!
//! ```text
//! DIR/binlog.index      ./binlog.000001     one line a file, oldest first
//! DIR/binlog.000001     magic, Format_description, Previous_gtids, transactions, Rotate
//! DIR/binlog.000002     magic, Format_description, Previous_gtids, transactions, Stop
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::compose::FORMAT_FLAGS_OFFSET;
use super::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent, LogComposer,
};
use crate::gtid::GtidSet;
use crate::{Error, ErrorKind, Result};

/// Writes binary logs that mysqlbinlog reads and any replica takes.
///
/// What belongs to the files is made here: positions, lengths, checksums, the logical clock (one
/// transaction after another), the length of each transaction, and the GTIDs in front of each file. The
/// file that is written to bears the mark "in use" until it is closed, as with mysqld.
///
/// ```
/// use rejoin::binlog::{ChecksumAlgorithm, Event, FormatDescription, GtidEvent, LogWriter, QueryEvent};
/// use rejoin::gtid::{Gtid, GtidSet};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path();
/// let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32)?;
/// let mut log = LogWriter::create(directory, "binlog", format, GtidSet::new(), 1)?;
/// let gtid: Gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1".parse()?;
/// let statement = QueryEvent::new(b"", b"CREATE DATABASE shop");
/// log.transaction(1_700_000_000, GtidEvent::new(gtid), &[Event::Query(statement)])?;
/// let executed = log.close()?;
/// assert_eq!(executed.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:1");
/// # assert!(directory.join("binlog.000001").exists() && directory.join("binlog.index").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    base_name: String,
    format: FormatDescription,
    server_id: u32,
    file_bytes: u64,
    /// Number of the file that is written to.
    number: u64,
    file: File,
    log: LogComposer,
    /// What the files hold, and what came before them.
    executed: GtidSet,
    /// Transactions in this file.
    sequence_number: i64,
    /// A write failed: what the file holds is not known.
    failed: bool,
}

impl LogWriter {
    /// Begins a log in `directory`, which must not have one of that name: `BASE_NAME.000001` and
    /// `BASE_NAME.index`. `previous` is what was executed before it; `server_id` stands in all events.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; [`ErrorKind::Configuration`] where there is such a log already, or the
    /// format has headers of another length than 19 bytes.
    pub fn create(
        directory: impl AsRef<Path>,
        base_name: &str,
        format: FormatDescription,
        previous: GtidSet,
        server_id: u32,
    ) -> Result<Self> {
        if format.header_length() != EventHeader::SIZE {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("event headers of {} bytes", format.header_length()),
            ));
        }
        let directory = directory.as_ref().to_owned();
        let index = directory.join(format!("{base_name}.index"));
        if index.exists() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("there is a log already: {}", index.display()),
            )
            .remedy("name another directory, or another name of the log"));
        }
        let mut log = LogComposer::new(format.checksum());
        let file = begin(
            &directory, base_name, 1, &format, &previous, server_id, &mut log,
        )?;
        Ok(Self {
            directory,
            base_name: base_name.to_owned(),
            format,
            server_id,
            file_bytes: 1 << 30,
            number: 1,
            file,
            log,
            executed: previous,
            sequence_number: 0,
            failed: false,
        })
    }

    /// Sets how many bytes a file has at which the next transaction begins another one
    /// (`max_binlog_size`; default 1 GiB).
    #[must_use]
    pub fn with_file_bytes(mut self, file_bytes: u64) -> Self {
        self.file_bytes = file_bytes;
        self
    }

    /// Writes a transaction that was committed at `timestamp` (seconds since 1970): its GTID event, and
    /// the events behind it, which must be one whole transaction (a single statement; or BEGIN, changes
    /// and Xid or COMMIT). Gives the offset in the file at which it begins.
    ///
    /// Of `gtid` the place in the logical clock and the length of the transaction are set here.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where its GTID is in the log already or it has no events;
    /// [`ErrorKind::Limit`] for an event that is too large; [`ErrorKind::TargetIo`]: the log takes
    /// nothing more then.
    pub fn transaction(
        &mut self,
        timestamp: u32,
        mut gtid: GtidEvent,
        events: &[Event<'_>],
    ) -> Result<u64> {
        self.check_usable()?;
        if events.is_empty() || !gtid.is_anonymous() && self.executed.contains(&gtid.gtid) {
            return Err(Error::new(
                ErrorKind::Configuration,
                if events.is_empty() {
                    format!("transaction {} has no events", gtid.gtid)
                } else {
                    format!("transaction {} is in the log already", gtid.gtid)
                },
            ));
        }
        if self.log.offset() >= self.file_bytes && self.sequence_number > 0 {
            self.rotate()?;
        }
        gtid.last_committed = self.sequence_number;
        gtid.sequence_number = self.sequence_number + 1;
        // Any length but 0, which means that it is not known.
        gtid.transaction_length = 1;

        let plain = self.format.clone().with_checksum(ChecksumAlgorithm::None);
        let mut bytes = Vec::new();
        let mut parts = Vec::with_capacity(events.len());
        for event in events {
            let start = bytes.len();
            let mut header = EventHeader::new(event.event_type(), timestamp, self.server_id);
            if matches!(event, Event::RowsQuery(_) | Event::Ignorable { .. }) {
                header.flags |= EventHeader::IGNORABLE;
            }
            event.encode(&plain, &header, &mut bytes);
            parts.push((header, start..bytes.len()));
        }
        let whole = parts
            .iter()
            .map(|(header, range)| (*header, bytes.get(range.clone()).unwrap_or_default()));
        let header = EventHeader::new(gtid.event_type(), timestamp, self.server_id);
        let offset = self.log.offset();
        self.log.transaction(&header, gtid, whole)?;
        self.write()?;
        self.sequence_number += 1;
        if !gtid.is_anonymous() {
            self.executed.insert(&gtid.gtid);
        }
        Ok(offset)
    }

    /// Ends the file and begins the next one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]: the log takes nothing more then.
    pub fn rotate(&mut self) -> Result<()> {
        self.check_usable()?;
        let next = self.number + 1;
        let own = EventHeader::new(EventType::ROTATE, 0, self.server_id);
        self.log.rotate(&file_name(&self.base_name, next), &own);
        self.finish_file()?;
        self.failed = true;
        self.file = begin(
            &self.directory,
            &self.base_name,
            next,
            &self.format,
            &self.executed,
            self.server_id,
            &mut self.log,
        )?;
        self.number = next;
        self.sequence_number = 0;
        self.failed = false;
        Ok(())
    }

    /// Ends the log as a server does that shuts down. Gives what is executed where it has been read.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`].
    pub fn close(mut self) -> Result<GtidSet> {
        self.check_usable()?;
        let own = EventHeader::new(EventType::STOP, 0, self.server_id);
        self.log.event(&own, &[])?;
        self.finish_file()?;
        Ok(self.executed)
    }

    /// What the files hold, and what came before them.
    pub fn executed(&self) -> &GtidSet {
        &self.executed
    }

    /// The file that is written to.
    pub fn path(&self) -> PathBuf {
        self.directory.join(file_name(&self.base_name, self.number))
    }

    /// Writes what was composed.
    fn write(&mut self) -> Result<()> {
        self.failed = true;
        let result = self.file.write_all(self.log.bytes());
        result.map_err(|error| io_error("write", &self.path(), error))?;
        self.failed = false;
        self.log.restart(self.log.offset());
        Ok(())
    }

    /// Writes the file's last event, takes the mark away and waits for the disk.
    fn finish_file(&mut self) -> Result<()> {
        self.write()?;
        self.failed = true;
        let closed = (|| {
            self.file.seek(SeekFrom::Start(FORMAT_FLAGS_OFFSET))?;
            self.file.write_all(&0_u16.to_le_bytes())?;
            self.file.sync_data()
        })();
        closed.map_err(|error| io_error("close", &self.path(), error))?;
        self.failed = false;
        Ok(())
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                ErrorKind::TargetIo,
                "the log takes nothing more, because an earlier write to it failed",
            )
            .in_file(self.path().display().to_string()));
        }
        Ok(())
    }
}

/// Makes a file with its head, and enters it in the index.
fn begin(
    directory: &Path,
    base_name: &str,
    number: u64,
    format: &FormatDescription,
    previous: &GtidSet,
    server_id: u32,
    log: &mut LogComposer,
) -> Result<File> {
    let name = file_name(base_name, number);
    let path = directory.join(&name);
    log.head(
        format,
        previous,
        &EventHeader::new(EventType::FORMAT_DESCRIPTION, 0, server_id),
        true,
    );
    let made = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(log.bytes())?;
        file.sync_data()?;
        Ok(file)
    })();
    let file = made.map_err(|error| io_error("begin", &path, error))?;
    log.restart(log.offset());

    let path = directory.join(format!("{base_name}.index"));
    let entered = (|| {
        let mut index = OpenOptions::new().append(true).create(true).open(&path)?;
        writeln!(index, "./{name}")?;
        index.sync_data()?;
        File::open(directory)?.sync_all()
    })();
    entered.map_err(|error| io_error("enter a file in", &path, error))?;
    Ok(file)
}

fn file_name(base_name: &str, number: u64) -> String {
    format!("{base_name}.{number:06}")
}

#[cold]
fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::TargetIo,
        format!("cannot {doing} the log: {error}"),
    )
    .caused_by(error)
    .in_file(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::binlog::{LogReader, QueryEvent, XidEvent};
    use crate::transaction::{Assembler, Batch};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn create(directory: &Path, checksum: ChecksumAlgorithm) -> Result<LogWriter> {
        let format = FormatDescription::new("9.7.4", checksum)?;
        let previous = format!("{UUID}:1-3").parse().unwrap();
        LogWriter::create(directory, "log", format, previous, 5)
    }

    fn insert(log: &mut LogWriter, gtid: &str) -> Result<u64> {
        let gtid = GtidEvent::new(format!("{UUID}:{gtid}").parse().unwrap());
        let events = [
            Event::Query(QueryEvent::new(b"d", b"BEGIN")),
            Event::Query(QueryEvent::new(b"d", b"INSERT INTO t VALUES (1)")),
            Event::Xid(XidEvent { xid: 9 }),
        ];
        log.transaction(7, gtid, &events)
    }

    /// The transactions of a file as the assembler sees them: GTID, clock and length.
    fn read(path: &Path) -> (Vec<(String, i64, i64)>, bool) {
        let mut reader = LogReader::open(path, &Limits::default()).unwrap();
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
        let mut lengths = std::collections::HashMap::new();
        let mut open = None;
        while let Some(event) = reader.next_event().unwrap() {
            assert_eq!(
                u64::from(event.header.end_log_pos),
                event.offset + event.bytes.len() as u64
            );
            if let Event::Gtid(gtid) = Event::decode(event.format, event.verify().unwrap()).unwrap()
            {
                open = Some(gtid.gtid);
                lengths.insert(gtid.gtid, (gtid.transaction_length, 0));
            }
            if let Some((_, sum)) = open.and_then(|gtid| lengths.get_mut(&gtid)) {
                *sum += event.bytes.len() as u64;
            }
            assembler.push(event.bytes).unwrap();
            if matches!(event.header.event_type, EventType::XID) {
                open = None;
            }
        }
        assert!(lengths.values().all(|(claimed, sum)| claimed == sum));
        let in_use = reader.format().unwrap().in_use();
        let batch = assembler.take(Batch::new());
        let transactions = batch.iter().map(|transaction| {
            let (_, event) = transaction.events().next().unwrap();
            let gtid = GtidEvent::decode(transaction.format(), event).unwrap();
            let name = gtid.gtid.to_string();
            (
                name[37..].to_owned(),
                gtid.last_committed,
                gtid.sequence_number,
            )
        });
        (transactions.collect(), in_use)
    }

    #[test]
    fn files_follow_each_other_and_are_closed() {
        for checksum in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::None] {
            let directory = tempfile::tempdir().unwrap();
            let path = |number: u64| directory.path().join(format!("log.{number:06}"));
            let mut log = create(directory.path(), checksum).unwrap();
            insert(&mut log, "4").unwrap();
            insert(&mut log, "blue:1").unwrap();
            assert!(read(&path(1)).1, "the file is in use");
            log.rotate().unwrap();
            assert!(!read(&path(1)).1 && read(&path(2)).1);
            // The first transaction of a file goes in, however small the files are to be.
            let mut log = log.with_file_bytes(1);
            insert(&mut log, "5").unwrap();
            insert(&mut log, "6").unwrap();
            assert_eq!(log.path(), path(3));
            let executed = log.close().unwrap();
            assert_eq!(executed.to_string(), format!("{UUID}:1-6:blue:1"));

            let first = [("4".to_owned(), 0, 1), ("blue:1".to_owned(), 1, 2)];
            assert_eq!(read(&path(1)), (first.to_vec(), false));
            assert_eq!(read(&path(2)), (vec![("5".to_owned(), 0, 1)], false));
            assert_eq!(read(&path(3)), (vec![("6".to_owned(), 0, 1)], false));
            let index = std::fs::read_to_string(directory.path().join("log.index")).unwrap();
            assert_eq!(index, "./log.000001\n./log.000002\n./log.000003\n");

            let mut reader = LogReader::open(path(3), &Limits::default()).unwrap();
            reader.next_event().unwrap();
            let event = reader.next_event().unwrap().unwrap();
            let body = event.verify().unwrap();
            let Event::PreviousGtids(previous) = Event::decode(event.format, body).unwrap() else {
                panic!("{:?}", event.header);
            };
            let previous = previous.gtids(&Limits::default()).unwrap();
            assert_eq!(previous.to_string(), format!("{UUID}:1-5:blue:1"));
        }
    }

    #[test]
    fn nothing_is_written_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = create(directory.path(), ChecksumAlgorithm::Crc32).unwrap();
        assert!(insert(&mut log, "3").is_err(), "it came before the log");
        insert(&mut log, "4").unwrap();
        let end = std::fs::metadata(log.path()).unwrap().len();
        assert!(insert(&mut log, "4").is_err());
        assert!(
            log.transaction(7, GtidEvent::new(format!("{UUID}:5").parse().unwrap()), &[])
                .is_err()
        );
        assert_eq!(std::fs::metadata(log.path()).unwrap().len(), end);
        insert(&mut log, "5").unwrap();
        let error = create(directory.path(), ChecksumAlgorithm::Crc32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}
