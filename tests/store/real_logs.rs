//! Logs of a real server, applied to a store: its tables are what `mysql -BN` printed of the server's,
//! and the store's own log says the same to MySQL's reader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rejoin::binlog::{ChecksumAlgorithm, LogReader};
use rejoin::target::Target;
use rejoin::target::schema::TableName;
use rejoin::target::store::{Store, StoreOptions};
use rejoin::transaction::{Assembler, Batch};
use rejoin::{ErrorKind, Limits};

/// Full images; minimal images with full metadata; compressed, without unchanged BLOBs.
const VARIANTS: [&str; 3] = ["crc32-minimal", "none-full", "compressed-full"];
/// Tables of which the workload logs every change as rows.
const TABLES: [&str; 5] = ["num", "tmp", "txt", "js", "misc"];

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/binlog")
        .join(path)
}

/// All transactions of the logs in a directory.
fn transactions(logs: &[PathBuf]) -> Batch {
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    for log in logs {
        let mut reader = LogReader::open(log, &Limits::default()).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            assembler.push(event.bytes).unwrap();
        }
    }
    assembler.take(Batch::new())
}

/// Applies everything that is logged as rows; how many transactions were statements that only a server
/// can execute, or built on these.
fn apply_what_can_be(store: &mut Store, batch: &Batch) -> usize {
    let mut left_out = 0;
    for transaction in batch.iter() {
        let mut alone = Batch::new();
        alone.push(&transaction);
        if let Err(error) = store.apply(&alone) {
            let allowed = [ErrorKind::Unsupported, ErrorKind::Conflict];
            assert!(allowed.contains(&error.kind()), "{error:?}");
            assert_eq!(error.gtid(), Some(transaction.gtid()));
            left_out += 1;
        }
    }
    left_out
}

fn check_tables(store: &Store, variant: &str) {
    let snapshot = store.reader().snapshot();
    for table in TABLES {
        let expected = fs::read(data(&format!("values/v.{table}.tsv"))).unwrap();
        let mut dump = Vec::new();
        let name = TableName::new("v", table);
        snapshot.dump(&name, &mut dump).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&dump),
            String::from_utf8_lossy(&expected),
            "{variant} {table}"
        );
    }
}

#[test]
fn tables_are_what_the_server_prints() {
    for variant in VARIANTS {
        let logs = [1, 2].map(|number| data(&format!("{variant}/binlog.{number:06}")));
        let batch = transactions(&logs);
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let left_out = apply_what_can_be(&mut store, &batch);
        assert!(
            left_out * 8 < batch.len(),
            "{variant}: {left_out} of {}",
            batch.len()
        );
        check_tables(&store, variant);
        for checkpoint in [false, true] {
            if checkpoint {
                store.checkpoint().unwrap();
            }
            drop(store);
            store = Store::open(directory.path()).unwrap();
            check_tables(&store, variant);
        }
    }
}

/// MySQL's own reader goes through every event of the store's log and finds the same statements and rows
/// in it as in the server's.
#[test]
#[allow(clippy::print_stderr)]
fn mysqlbinlog_reads_the_stores_log() {
    if std::env::var("REJOIN_SKIP_MYSQL").as_deref() == Ok("1") {
        eprintln!("1 test skipped: REJOIN_SKIP_MYSQL=1");
        return;
    }
    let fetched = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mysql/fetch"))
        .output()
        .unwrap();
    assert!(
        fetched.status.success(),
        "MySQL 9.7 cannot be had; REJOIN_SKIP_MYSQL=1 leaves this test out"
    );
    let prefix = PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim());
    let rows_in = |logs: &[PathBuf]| {
        let output = Command::new(prefix.join("bin/mysqlbinlog"))
            .args([
                "--verify-binlog-checksum",
                "-vv",
                "--base64-output=DECODE-ROWS",
            ])
            .args(logs)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept = text
            .lines()
            .filter(|line| line.starts_with("###") || line.starts_with("SET @@SESSION.GTID_NEXT"));
        let kept = kept.map(str::to_owned).collect::<Vec<_>>();
        assert!(!text.contains("ERROR"), "{text}");
        kept
    };
    for variant in VARIANTS {
        let logs = [1, 2].map(|number| data(&format!("{variant}/binlog.{number:06}")));
        let batch = transactions(&logs);
        let directory = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::default();
        options.journal.segment_bytes = 20_000;
        let mut store = Store::open_with(directory.path(), options).unwrap();
        let left_out = apply_what_can_be(&mut store, &batch);
        let executed = store.gtid_executed();
        let segments = store.log_position().segment;
        drop(store);
        let own: Vec<_> = (1..=segments)
            .map(|number| directory.path().join(format!("binlog.{number:06}")))
            .collect();
        assert!(segments > 1, "{variant}");
        let ours = rows_in(&own);
        let mut theirs = rows_in(&logs);
        // Without what was left out, transaction by transaction.
        let mut keep = true;
        theirs.retain(|line| {
            if let Some(rest) = line.strip_prefix("SET @@SESSION.GTID_NEXT= '") {
                let gtid = rest.split('\'').next().unwrap_or_default();
                keep = gtid.parse().is_ok_and(|gtid| executed.contains(&gtid));
            }
            keep
        });
        let automatic = |line: &String| !line.contains("AUTOMATIC");
        let ours: Vec<_> = ours.into_iter().filter(automatic).collect();
        theirs.retain(automatic);
        assert!(left_out > 0 && theirs.len() > 1000, "{variant}");
        let first = ours.iter().zip(&theirs).find(|(a, b)| a != b);
        assert_eq!(first, None, "{variant}");
        assert_eq!(ours.len(), theirs.len(), "{variant}");
    }
}
