//! The binary log: this crate, its rival and the limits of the machine, over the same bytes.
//!
//! `REJOIN_BENCH_LOG=FILE cargo bench` takes a log of one's own (uncompressed, with checksums); without
//! it the small one of the tests serves, whose events are of every kind.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rejoin::Limits;
use rejoin::binlog::{Event, LogBytes};
use rejoin_benches::{checksums, headers, mysql_common_walk, transactions, values};

fn log() -> Vec<u8> {
    let path = std::env::var("REJOIN_BENCH_LOG").unwrap_or_else(|_| {
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/data/binlog/crc32-minimal/binlog.000002"
        )
        .into()
    });
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every event read and written back.
fn encode(log: &[u8], out: &mut Vec<u8>) -> rejoin::Result<()> {
    let mut reader = LogBytes::new(log, &Limits::default())?;
    while let Some(event) = reader.next_event()? {
        out.clear();
        let decoded = Event::decode(event.format, event.verify()?)?;
        decoded.encode(event.format, &event.header, out);
        black_box(&out);
    }
    Ok(())
}

fn binlog(criterion: &mut Criterion) {
    let log = log();
    let mut copy = vec![0; log.len()];
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("binlog");
    group.throughput(Throughput::Bytes(log.len() as u64));
    group.bench_function("limit: memcpy", |bencher| {
        bencher.iter(|| copy.copy_from_slice(black_box(&log)));
    });
    group.bench_function("limit: crc32fast in one piece", |bencher| {
        bencher.iter(|| crc32fast::hash(black_box(&log)));
    });
    group.bench_function("headers", |bencher| {
        bencher.iter(|| headers(black_box(&log)))
    });
    group.bench_function("checksums", |bencher| {
        bencher.iter(|| checksums(black_box(&log)))
    });
    group.bench_function("transactions", |bencher| {
        bencher.iter(|| transactions(black_box(&log)));
    });
    group.bench_function("values", |bencher| bencher.iter(|| values(black_box(&log))));
    group.bench_function("decode and encode", |bencher| {
        bencher.iter(|| encode(black_box(&log), &mut out));
    });
    group.bench_function("mysql_common: read", |bencher| {
        bencher.iter(|| mysql_common_walk::read(black_box(&log)));
    });
    group.bench_function("mysql_common: values, no checksums", |bencher| {
        bencher.iter(|| mysql_common_walk::values(black_box(&log)));
    });
    group.finish();
}

criterion_group!(benches, binlog);
criterion_main!(benches);
