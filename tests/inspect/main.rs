//! `rejoin inspect` against mysqlbinlog 9.7: the same events, the same values, the same verdict.
//!
//! ```text
//! oracle     mysqlbinlog and rejoin, run over one file, and what each says about it
//! lists      events of the logs in `tests/data/binlog`, of a fresh server, and of one that was killed
//! values     the rows of those logs, value by value
//! damage     every event of a log cut and changed
//! old        logs in the manner of servers from 5.0 on
//! mutations  all of them, changed at random
//! written    logs that were written by `rejoin`
//! collection logs of your own, where `REJOIN_LOGS` names a directory
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod collection;
mod damage;
mod lists;
mod mutations;
mod old;
mod oracle;
mod values;
mod written;

use std::path::PathBuf;

fn main() {
    let scenarios = [
        lists::SCENARIOS,
        values::SCENARIOS,
        damage::SCENARIOS,
        old::SCENARIOS,
        mutations::SCENARIOS,
        written::SCENARIOS,
        collection::scenarios(),
    ]
    .concat();
    support::run(&scenarios, || {});
}

/// The logs of `tests/data/binlog`, by variant.
fn data() -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for variant in ["crc32-minimal", "none-full", "compressed-full"] {
        for number in 1..=2 {
            logs.push(
                PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/data/binlog")
                    .join(variant)
                    .join(format!("binlog.{number:06}")),
            );
        }
    }
    logs
}
