//! `rejoin dump`: rows in primary key order, as `mysql -BN` prints them.

use std::io::{BufWriter, ErrorKind as IoErrorKind, Write};

use super::arguments::Dump;
use crate::target::schema::TableName;
use crate::target::store::Store;
use crate::{Error, ErrorKind, Result};

pub(super) fn run(options: &Dump) -> Result<()> {
    let snapshot = Store::open_read_only(&options.store)?;
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let result = match &options.table {
        Some(text) => {
            let wanted = |table: &&TableName| table.to_string() == *text;
            let table = snapshot.tables().find(wanted).ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("the store has no table {text}"),
                )
                .remedy("`rejoin status` lists the tables")
            })?;
            snapshot.dump(table, &mut out)
        }
        None => snapshot.tables().try_for_each(|table| {
            writeln!(out, "-- {table}").map_err(|error| failed(&error))?;
            snapshot.dump(table, &mut out)
        }),
    };
    result?;
    match out.flush() {
        // `rejoin dump | head` is no failure.
        Err(error) if error.kind() == IoErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(failed(&error)),
        Ok(()) => Ok(()),
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::TargetIo,
        format!("cannot write to stdout: {error}"),
    )
}
