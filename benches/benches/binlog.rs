//! The binary log: this crate, its rivals and the limits of the machine, over the same bytes.
//!
//! `cargo bench` takes the log of small transactions that `benches/logs` makes; `REJOIN_BENCH_LOG=FILE`
//! names another (uncompressed, with checksums, and without BINARY columns, at which `mysql_cdc`
//! fails). `benches/run` measures more logs and prints ratios.

use std::hint::black_box;
use std::process::{Command, Stdio};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rejoin_benches::{limits, ours, rivals};

fn log() -> Vec<u8> {
    let path = std::env::var("REJOIN_BENCH_LOG").unwrap_or_else(|_| {
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/logs"))
            .stderr(Stdio::inherit())
            .output()
            .expect("benches/logs can be run");
        assert!(made.status.success(), "benches/logs has failed");
        format!(
            "{}/oltp.binlog",
            String::from_utf8_lossy(&made.stdout).trim()
        )
    });
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn binlog(criterion: &mut Criterion) {
    let log = log();
    let decoded = ours::decoded(&log).expect("a sound log");
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("binlog");
    // A second and more for each walk of a rival.
    group.sample_size(10);
    group.throughput(Throughput::Bytes(log.len() as u64));
    let mut bench = |name: &str, run: &mut dyn FnMut(&[u8])| {
        group.bench_function(name, |bencher| bencher.iter(|| run(black_box(&log))));
    };
    bench("limit: copying", &mut |log| {
        _ = black_box(limits::copy(log))
    });
    bench("limit: one checksum", &mut |log| {
        _ = black_box(limits::checksum(log))
    });
    bench("headers", &mut |log| _ = black_box(ours::headers(log)));
    bench("checksums", &mut |log| _ = black_box(ours::checksums(log)));
    bench("transactions", &mut |log| {
        _ = black_box(ours::transactions(log))
    });
    bench("values", &mut |log| _ = black_box(ours::values(log)));
    bench("encode", &mut |_| ours::encode(&decoded, &mut out));
    bench("mysql_common: events", &mut |log| {
        _ = black_box(rivals::mysql_common::read(log))
    });
    bench("mysql_common: values", &mut |log| {
        _ = black_box(rivals::mysql_common::values(log))
    });
    bench("connector: values", &mut |log| {
        _ = black_box(rivals::connector::values(log))
    });
    bench("mysql_cdc: values", &mut |log| {
        _ = black_box(rivals::mysql_cdc::values(log))
    });
    group.finish();
}

criterion_group!(benches, binlog);
criterion_main!(benches);
