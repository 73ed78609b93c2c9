//! The list of segments: `binlog.index`, one `./binlog.000001` a line, as mysqld writes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, io_error};
use crate::{Error, ErrorKind, Result};

/// The segments of one log, oldest first, and where they are.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    directory: PathBuf,
    base_name: String,
    segments: Vec<u64>,
}

impl Index {
    /// Reads the index; one without segments where there is no file.
    pub(crate) fn read(directory: &Path, base_name: &str) -> Result<Self> {
        let mut index = Self {
            directory: directory.to_owned(),
            base_name: base_name.to_owned(),
            segments: Vec::new(),
        };
        let path = index.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(index),
            Err(error) => return Err(io_error("read the index of the log", &path, error)),
        };
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let number = index.number_in(line).filter(|number| {
                let last = index.segments.last();
                last.is_none_or(|last| last < number)
            });
            let Some(number) = number else {
                return Err(Error::new(
                    ErrorKind::TargetCorrupt,
                    format!(
                        "the index of the log names {:?}",
                        String::from_utf8_lossy(line)
                    ),
                )
                .in_file(path.display().to_string()));
            };
            index.segments.push(number);
        }
        Ok(index)
    }

    fn number_in(&self, line: &[u8]) -> Option<u64> {
        let name = line.strip_prefix(b"./").unwrap_or(line);
        let digits = name
            .strip_prefix(self.base_name.as_bytes())?
            .strip_prefix(b".")?;
        let valid = digits.len() >= 6 && digits.iter().all(u8::is_ascii_digit);
        let number = valid.then(|| std::str::from_utf8(digits).ok()?.parse().ok());
        number.flatten().filter(|number| *number > 0)
    }

    /// Writes the list anew with other segments; the old list stays if that fails.
    pub(crate) fn store(&mut self, disk: &Disk, segments: Vec<u64>) -> Result<()> {
        let text: String = segments
            .iter()
            .map(|number| format!("./{}\n", self.file_name(*number)))
            .collect();
        let path = self.path();
        disk.replace(&path, text.as_bytes())
            .map_err(|error| io_error("write the index of the log", &path, error))?;
        self.segments = segments;
        Ok(())
    }

    /// Numbers of the segments, oldest first.
    pub(crate) fn segments(&self) -> &[u64] {
        &self.segments
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn base_name(&self) -> &str {
        &self.base_name
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.index", self.base_name))
    }

    /// `binlog.000001`
    pub(crate) fn file_name(&self, number: u64) -> String {
        format!("{}.{number:06}", self.base_name)
    }

    pub(crate) fn file_path(&self, number: u64) -> PathBuf {
        self.directory.join(self.file_name(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let mut index = Index::read(directory.path(), "binlog").unwrap();
        assert!(index.segments().is_empty());
        index
            .store(&Disk::default(), vec![1, 2, 1_000_000])
            .unwrap();
        let again = Index::read(directory.path(), "binlog").unwrap();
        assert_eq!(again.segments(), [1, 2, 1_000_000]);
        for wrong in [
            "./other.000001\n",
            "./binlog.1\n",
            "./binlog.000002\n./binlog.000001\n",
        ] {
            fs::write(directory.path().join("binlog.index"), wrong).unwrap();
            let error = Index::read(directory.path(), "binlog").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TargetCorrupt);
        }
    }
}
