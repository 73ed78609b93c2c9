//! Keeps a second process out of a directory of logs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use super::disk::io_error;
use crate::{Error, ErrorKind, Result};

/// The lock on a directory, held for as long as this lives.
///
/// The operating system gives it back however the process ends; the file stays and means nothing.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child process that another thread is just starting has the
        // descriptor too until its program is loaded, and with it the lock.
        if let Err(error) = self.file.unlock() {
            log::warn!("the lock of the directory cannot be given back: {error}");
        }
    }
}

impl Lock {
    /// Makes the directory where it does not exist, and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::TargetLocked`] where another process has it, [`ErrorKind::TargetIo`].
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .map_err(|error| io_error("make the directory", directory, error))?;
        let path = directory.join("rejoin.lock");
        let failed = |error| io_error("lock the directory", &path, error);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::TargetLocked,
                "another process uses the directory",
            )
            .in_file(path.display().to_string())
            .remedy("stop the other process, or give each member a directory of its own")),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
