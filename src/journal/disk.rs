//! The few operations on files that durability rests on, all in one place so that tests can make
//! the nth of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
#[cfg(test)]
use std::sync::{Arc, atomic::AtomicI64, atomic::Ordering};

use crate::{Error, ErrorKind};

/// What zeros are written from.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Does writes, syncs, renames and removals; every clone counts on the same fault.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    fault: Option<Arc<Fault>>,
    /// Files that were synced.
    #[cfg(test)]
    syncs: Arc<AtomicI64>,
}

/// An operation that fails, for tests.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Fault {
    /// Operations that still succeed; below 0 after the fault.
    remaining: AtomicI64,
    /// Whether everything behind the fault fails, too (a disk that is full or gone).
    for_good: bool,
}

impl Disk {
    /// A disk whose operation number `n` (from 0) fails, and all behind it if `for_good`.
    #[cfg(test)]
    pub(crate) fn failing_at(n: i64, for_good: bool) -> Self {
        Self {
            fault: Some(Arc::new(Fault {
                remaining: AtomicI64::new(n),
                for_good,
            })),
            ..Self::default()
        }
    }

    /// How often a file was synced.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> i64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Whether the operation that was to fail has been reached.
    #[cfg(test)]
    pub(crate) fn has_failed(&self) -> bool {
        let fault = self.fault.as_ref();
        fault.is_some_and(|fault| fault.remaining.load(Ordering::Relaxed) < 0)
    }

    #[cfg_attr(not(test), allow(clippy::unused_self, clippy::unnecessary_wraps))]
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(fault) = &self.fault {
            let before = fault.remaining.fetch_sub(1, Ordering::Relaxed);
            if before == 0 || (before < 0 && fault.for_good) {
                return Err(io::Error::other("injected fault"));
            }
        }
        Ok(())
    }

    /// An empty file for reading and writing, in place of any that is there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// An existing file, to be written to at `end`; it is cut at `length`, which is not before that.
    pub(crate) fn open_at(&self, path: &Path, end: u64, length: u64) -> io::Result<File> {
        self.step()?;
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(end))?;
        Ok(file)
    }

    /// Writes all bytes where the file stands.
    pub(crate) fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            // What a crash or a full disk leaves of a write: its first part.
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        file.write_all(bytes)
    }

    /// Writes zeros from one offset up to another, and comes back to where the file stood.
    pub(crate) fn write_zeros(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        self.step()?;
        elsewhere(file, from, |mut file| {
            let mut left = to.saturating_sub(from);
            while left > 0 {
                let count = left.min(ZEROS.len() as u64);
                file.write_all(&ZEROS[..count as usize])?;
                left -= count;
            }
            Ok(())
        })
    }

    /// Takes the space for `length` bytes from `offset` on, without a change of the file's length, so
    /// that a disk that is too full says so before anything is written. Where the file system cannot
    /// do that, the write will tell.
    pub(crate) fn reserve(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.step()?;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::Errno;
            match fallocate(file, FallocateFlags::KEEP_SIZE, offset, length) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (file, offset, length);
        Ok(())
    }

    /// Writes bytes in place of those at `offset`, and comes back to where the file stood.
    pub(crate) fn patch(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        elsewhere(file, offset, |mut file| file.write_all(bytes))
    }

    /// Cuts a file at `end`, where it stands then.
    pub(crate) fn cut(&self, mut file: &File, end: u64) -> io::Result<()> {
        self.step()?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end)).map(drop)
    }

    /// Waits until the file's content, and the length needed to read it, are on the disk.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        #[cfg(test)]
        self.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_data()
    }

    /// Gives a file another name, in place of any that has it.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)
    }

    /// Removes a file that nothing names any more: one that stays takes space, no more.
    pub(crate) fn discard(&self, path: &Path) {
        if let Err(error) = self.remove(path) {
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    /// Waits until the names in a directory are on the disk.
    pub(crate) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.step()?;
        File::open(directory)?.sync_all()
    }

    /// Puts `bytes` where `path` is, so that after a crash there is the old file or the new one.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        let file = self.create(temporary)?;
        self.write(&file, bytes)?;
        self.sync(&file)?;
        self.rename(temporary, path)?;
        match path.parent() {
            Some(directory) => self.sync_directory(directory),
            None => Ok(()),
        }
    }
}

/// Lets `write` write at `offset`, and comes back to where the file stood.
fn elsewhere(
    mut file: &File,
    offset: u64,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let position = file.stream_position()?;
    file.seek(SeekFrom::Start(offset))?;
    write(file)?;
    file.seek(SeekFrom::Start(position)).map(drop)
}

/// An error of the disk, with what was being done to which file.
#[cold]
pub(crate) fn io_error(doing: &str, path: &Path, error: io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "free space on the disk, then start again"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "give this process the right to write there"
        }
        _ => "check the disk, then start again",
    };
    Error::new(ErrorKind::TargetIo, format!("cannot {doing}: {error}"))
        .in_file(path.display().to_string())
        .remedy(remedy)
        .caused_by(error)
}
