//! `rejoin dump`: rows in primary key order, as `mysql -BN` prints them.

use std::io::{BufWriter, ErrorKind as IoErrorKind, Write};

use super::arguments::Dump;
use crate::target::schema::TableName;
use crate::target::store::Store;
use crate::{Error, ErrorKind, Result};

pub(super) fn run(options: &Dump) -> Result<()> {
    let snapshot = Store::open_read_only(&options.store)?;
    let mut out = BufWriter::with_capacity(1 << 16, Pipe(std::io::stdout().lock()));
    match &options.table {
        Some(text) => {
            let wanted = |table: &&TableName| table.to_string() == *text;
            let table = snapshot.tables().find(wanted).ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("the store has no table {text}"),
                )
                .remedy("`rejoin status` lists the tables")
            })?;
            snapshot.dump(table, &mut out)?;
        }
        None => {
            for table in snapshot.tables() {
                writeln!(out, "-- {table}").map_err(|error| failed(&error))?;
                snapshot.dump(table, &mut out)?;
            }
        }
    }
    out.flush().map_err(|error| failed(&error))
}

/// Lets the reader go away early: `rejoin dump | head` is no failure.
struct Pipe<W>(W);

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::TargetIo,
        format!("cannot write to stdout: {error}"),
    )
}
