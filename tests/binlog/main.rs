//! The parser against real logs of mysqld 9.7, and against what that server says about them.
//!
//! `tests/data/binlog` holds the same workload (`types.sql` and statements of every kind) logged in
//! three ways: with CRC32 and minimal metadata; without checksums, with full metadata and minimal row
//! images; compressed, with full metadata and without unchanged BLOBs. Beside each log stands what
//! SHOW BINLOG EVENTS answered for it, and in `values/` what `mysql -BN` printed of the tables.

mod compose;
mod events;
mod inspect;
mod properties;
mod regressions;
mod replay;
mod round_trip;
mod stream;

use std::fs;
use std::path::PathBuf;

/// The ways in which the workload was logged.
const VARIANTS: [&str; 3] = ["crc32-minimal", "none-full", "compressed-full"];

fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/binlog")
        .join(path)
}

/// The two logs of a variant.
fn logs(variant: &str) -> [PathBuf; 2] {
    [1, 2].map(|number| data(&format!("{variant}/binlog.{number:06}")))
}

fn read(path: &PathBuf) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
