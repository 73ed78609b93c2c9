//! A directory of binary logs: of mysqld, running or not, or of a store.
//!
//! The index file (`NAME.index`) says which files there are; it is read again when it has changed. The
//! end is the size of the newest file; of a store, which may be open in another process, what that
//! process has synced (`NAME.synced`). Nobody tells when something is appended, so one of those who
//! wait looks every few milliseconds and wakes the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};

use super::{LogEnd, LogFile, LogSource, SourceIdentity};
use crate::binlog::{EventHeader, LogReader};
use crate::gtid::Uuid;
use crate::journal::JournalOptions;
use crate::journal::disk::io_error;
use crate::journal::synced;
use crate::target::store::{Snapshot, Store};
use crate::{Error, ErrorKind, Limits, Result};

/// How often a directory is looked at while somebody waits for it to grow.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often a store is read that changes underneath.
const READ_TRIES: u32 = 5;
/// How long the disk of a store is waited for.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// Binary logs in a directory.
///
/// ```no_run
/// use rejoin::donor::{BinlogDirectory, LogSource};
///
/// let source = BinlogDirectory::open("/var/lib/mysql")?;
/// println!("{} files", source.files()?.len());
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct BinlogDirectory {
    directory: PathBuf,
    index: PathBuf,
    /// Where a store says how far it is synced; mysqld has none.
    synced: PathBuf,
    /// Of a store, whose rows can be read as well.
    store: Option<PathBuf>,
    identity: SourceIdentity,
    known: Mutex<Known>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    /// Modification time and size of the index when it was read.
    index_version: Option<(SystemTime, u64)>,
    files: Vec<LogFile>,
    end: Option<LogEnd>,
    looked: Option<Instant>,
    /// Somebody looks for all who wait.
    is_watched: bool,
}

impl BinlogDirectory {
    /// Opens the directory, which has exactly one index file for binary logs. The identity is that
    /// of the server which wrote them: the UUID of its `auto.cnf` and the server ID of its newest
    /// file.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where there is no index or more than one,
    /// [`ErrorKind::TargetIo`] where something cannot be read, and what
    /// [`LogReader`] says about a file that is no binary log.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::open_index(find_index(directory.as_ref())?)
    }

    /// Opens the log of which `index` is the index file, whatever else lies beside it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_index(index: impl AsRef<Path>) -> Result<Self> {
        let index = index.as_ref();
        let mut source = Self {
            directory: index.parent().unwrap_or(Path::new("")).to_owned(),
            index: index.to_owned(),
            synced: synced::path_beside(index),
            store: None,
            identity: SourceIdentity {
                server_id: 0,
                server_uuid: Uuid::default(),
            },
            known: Mutex::default(),
            grown: Condvar::new(),
        };
        source.identity = source.written_by()?;
        Ok(source)
    }

    /// Opens the log and the rows of a store, which another process may write meanwhile. Rows are read
    /// from the disk for a joiner that clones, and held in memory until it has them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_store(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let name = JournalOptions::default().base_name;
        let mut source = Self::open_index(directory.join(format!("{name}.index")))?;
        source.store = Some(directory.to_owned());
        Ok(source)
    }

    /// Serves under another identity.
    #[must_use]
    pub fn with_identity(mut self, identity: SourceIdentity) -> Self {
        self.identity = identity;
        self
    }

    fn written_by(&self) -> Result<SourceIdentity> {
        let files = self.files()?;
        let newest = files.last().ok_or_else(|| self.no_files())?;
        let mut reader = LogReader::open(&newest.path, &Limits::default())?;
        let first = reader
            .next_event()
            .map_err(|error| error.in_file(&newest.name))?;
        let server_uuid = match server_uuid(&self.directory) {
            Some(uuid) => uuid,
            // Replicas remember it: the same directory has the same one at the next start.
            None => self.made_up_uuid()?,
        };
        let [a, b, c, d, ..] = server_uuid.0;
        let server_id = match first.map_or(0, |event| event.header.server_id) {
            0 => u32::from_le_bytes([a, b, c, d]) | 1,
            server_id => server_id,
        };
        Ok(SourceIdentity {
            server_id,
            server_uuid,
        })
    }

    fn made_up_uuid(&self) -> Result<Uuid> {
        let path = fs::canonicalize(&self.index)
            .map_err(|error| io_error("find the index of the log", &self.index, error))?;
        let hash: [u8; 32] = Sha256::digest(path.as_os_str().as_encoded_bytes()).into();
        Ok(Uuid::from_random(
            hash.first_chunk().copied().unwrap_or_default(),
        ))
    }

    /// Looks at the directory, unless that was done a moment ago.
    fn look(&self, known: &mut Known) -> Result<()> {
        let now = Instant::now();
        let recently = |looked: Instant| now.duration_since(looked) < LOOK_INTERVAL;
        if known.end.is_some() && known.looked.is_some_and(recently) {
            return Ok(());
        }
        let failed = |error| io_error("read the index of the log", &self.index, error);
        let metadata = fs::metadata(&self.index).map_err(failed)?;
        let version = (metadata.modified().map_err(failed)?, metadata.len());
        // A change within the clock's resolution leaves the time as it was: young indexes are read again.
        let is_young = version.0.elapsed().is_ok_and(|age| age.as_secs() < 2);
        if is_young || known.index_version != Some(version) {
            let text = fs::read_to_string(&self.index).map_err(failed)?;
            known.files = self.named_in(&text);
            known.index_version = Some(version);
        }
        let named = known.files.len();
        let end = self.end_of(&mut known.files)?;
        if known.files.len() < named {
            // The index is ahead of the mark for a moment: it has to be read again.
            known.index_version = None;
        }
        known.looked = Some(now);
        if known.end.as_ref() != Some(&end) {
            known.end = Some(end);
            self.grown.notify_all();
        }
        Ok(())
    }

    /// The end of the newest of `files`, which loses those that are not on the disk for good.
    fn end_of(&self, files: &mut Vec<LogFile>) -> Result<LogEnd> {
        if let Some((segment, bytes)) = synced::read(&self.synced) {
            let number = |file: &LogFile| file.name.rsplit('.').next()?.parse::<u64>().ok();
            let index = files.iter().position(|file| number(file) == Some(segment));
            // Of a file that is not named any more, the mark is one from before a crash of the
            // machine; since then nobody has written.
            if let Some(index) = index {
                files.truncate(index + 1);
                if let Some(newest) = files.last() {
                    let file = newest.name.clone();
                    return Ok(LogEnd { file, bytes });
                }
            }
        }
        let newest = files.last().ok_or_else(|| self.no_files())?;
        let bytes = fs::metadata(&newest.path)
            .map_err(|error| io_error("look at the log", &newest.path, error))?
            .len();
        Ok(LogEnd {
            file: newest.name.clone(),
            bytes,
        })
    }

    /// The files of an index. Paths are relative to the data directory, or absolute; where that is
    /// on another machine's disk, the file lies beside the index.
    fn named_in(&self, index: &str) -> Vec<LogFile> {
        index
            .lines()
            .filter(|line| !line.is_empty())
            .filter_map(|line| {
                let name = Path::new(line).file_name()?.to_str()?.to_owned();
                let beside = self.directory.join(&name);
                let path = if beside.exists() {
                    beside
                } else {
                    self.directory.join(line)
                };
                Some(LogFile { name, path })
            })
            .collect()
    }

    fn no_files(&self) -> Error {
        Error::new(ErrorKind::TargetIo, "the index names no binary log")
            .in_file(self.index.display().to_string())
    }

    /// Waits until all that `rows` show is on the disk for good; whether that was so in time.
    fn wait_for_disk(&self, rows: &Snapshot) -> Result<bool> {
        let until = Instant::now() + DISK_PATIENCE;
        let wanted = rows.position();
        loop {
            let end = self.end()?;
            let number = end.file.rsplit('.').next().and_then(|n| n.parse().ok());
            let there = (number.unwrap_or(0_u64), end.bytes);
            if there >= (wanted.segment, wanted.offset) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(&end, left);
        }
    }

    fn current_end(&self, known: &mut Known) -> Result<LogEnd> {
        self.look(known)?;
        known.end.clone().ok_or_else(|| self.no_files())
    }
}

impl LogSource for BinlogDirectory {
    fn identity(&self) -> SourceIdentity {
        self.identity
    }

    fn files(&self) -> Result<Vec<LogFile>> {
        let mut known = self.known.lock();
        self.look(&mut known)?;
        Ok(known.files.clone())
    }

    fn end(&self) -> Result<LogEnd> {
        self.current_end(&mut self.known.lock())
    }

    fn snapshot(&self) -> Result<Option<Snapshot>> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let mut tries = 0;
        let rows = loop {
            // A checkpoint or a segment may go while it is being read.
            match Store::open_read_only(store) {
                Err(error) if tries < READ_TRIES => {
                    tries += 1;
                    log::info!("the store is read again: {error}");
                    std::thread::sleep(LOOK_INTERVAL);
                }
                read => break read?,
            }
        };
        if self.wait_for_disk(&rows)? {
            return Ok(Some(rows));
        }
        Err(Error::new(
            ErrorKind::TimedOut,
            "the store's newest transactions do not get to the disk",
        ))
    }

    fn wait(&self, seen: &LogEnd, timeout: Duration) {
        let until = Instant::now() + timeout;
        let mut known = self.known.lock();
        let mut watches = false;
        loop {
            let changed = match self.current_end(&mut known) {
                Ok(end) => end != *seen,
                // Whoever waits asks next, and gets the error.
                Err(_) => true,
            };
            let left = until.saturating_duration_since(Instant::now());
            if changed || left.is_zero() {
                break;
            }
            watches |= !std::mem::replace(&mut known.is_watched, true);
            let pause = if watches {
                left.min(LOOK_INTERVAL)
            } else {
                left
            };
            self.grown.wait_for(&mut known, pause);
        }
        if watches {
            known.is_watched = false;
            // One of the others has to go on looking.
            self.grown.notify_one();
        }
    }
}

/// The one index that names binary logs: a data directory has one for relay logs, too.
fn find_index(directory: &Path) -> Result<PathBuf> {
    let failed = |error| io_error("read the directory", directory, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_index = path
            .extension()
            .is_some_and(|extension| extension == "index");
        if is_index && !is_relay_log(&path, directory) {
            found.push(path);
        }
    }
    match found.as_slice() {
        [index] => Ok(index.clone()),
        [] => Err(Error::new(
            ErrorKind::Configuration,
            format!("{} holds no index of binary logs", directory.display()),
        )
        .remedy("name the directory with the files of log_bin and their .index file")),
        several => Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "{} holds {} indexes of binary logs",
                directory.display(),
                several.len()
            ),
        )
        .remedy("keep the logs of one server in a directory")),
    }
}

/// Whether the newest file of an index says that it is a relay log.
fn is_relay_log(index: &Path, directory: &Path) -> bool {
    let newest = fs::read_to_string(index).ok().and_then(|text| {
        let name = Path::new(text.lines().last()?).file_name()?.to_owned();
        LogReader::open(directory.join(name), &Limits::default()).ok()
    });
    let Some(mut reader) = newest else {
        return false;
    };
    let first = reader.next_event();
    first.is_ok_and(|event| event.is_some_and(|event| event.header.has(EventHeader::RELAY_LOG)))
}

/// The UUID that mysqld keeps in its data directory.
fn server_uuid(directory: &Path) -> Option<Uuid> {
    let text = fs::read_to_string(directory.join("auto.cnf")).ok()?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("server-uuid="))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sample::{CREATE_TABLE, Source};
    use crate::target::Target;

    #[test]
    fn of_a_store_only_what_is_synced_is_served() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let source = BinlogDirectory::open(directory.path()).unwrap();
        let end_of_store = |store: &Store| LogEnd {
            file: "binlog.000001".into(),
            bytes: store.log_position().offset,
        };
        assert_eq!(source.end().unwrap(), end_of_store(&store));
        let mut transactions = Source::new();
        transactions.statement("CREATE DATABASE shop");
        transactions.statement(CREATE_TABLE);
        store.apply(&transactions.take()).unwrap();
        source.wait(&source.end().unwrap(), Duration::from_millis(50));
        let end = end_of_store(&store);
        assert_eq!(source.end().unwrap(), end);

        // What another process has written and not synced yet.
        let segment = directory.path().join("binlog.000001");
        let file = fs::OpenOptions::new().append(true).open(&segment);
        file.unwrap().write_all(&[0xee; 100]).unwrap();
        let next = directory.path().join("binlog.000002");
        fs::copy(&segment, next).unwrap();
        let index = directory.path().join("binlog.index");
        fs::write(&index, "./binlog.000001\n./binlog.000002\n").unwrap();
        std::thread::sleep(2 * LOOK_INTERVAL);
        assert_eq!(source.end().unwrap(), end);
        assert_eq!(source.files().unwrap().len(), 1);

        // Without a mark, as beside mysqld, the system's word counts.
        fs::remove_file(directory.path().join("binlog.synced")).unwrap();
        std::thread::sleep(2 * LOOK_INTERVAL);
        assert_eq!(source.end().unwrap().file, "binlog.000002");
        assert_eq!(source.end().unwrap().bytes, end.bytes + 100);
    }
}
