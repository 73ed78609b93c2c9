//! A directory of binary logs: of mysqld, running or not, or of a store.
//!
//! The index file (`NAME.index`) says which files there are; it is read again when it has changed. The
//! end is the size of the newest file. Nobody tells when something is appended, so one of those who
//! wait looks every few milliseconds and wakes the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};

use super::{LogEnd, LogFile, LogSource, SourceIdentity};
use crate::binlog::{EventHeader, LogReader};
use crate::gtid::Uuid;
use crate::journal::disk::io_error;
use crate::{Error, ErrorKind, Limits, Result};

/// How often a directory is looked at while somebody waits for it to grow.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

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
        let newest = known.files.last().ok_or_else(|| self.no_files())?;
        let bytes = fs::metadata(&newest.path)
            .map_err(|error| io_error("look at the log", &newest.path, error))?
            .len();
        let end = LogEnd {
            file: newest.name.clone(),
            bytes,
        };
        known.looked = Some(now);
        if known.end.as_ref() != Some(&end) {
            known.end = Some(end);
            self.grown.notify_all();
        }
        Ok(())
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
