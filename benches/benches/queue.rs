//! Throughput of the queue between the group's delivery threads and the cache thread, beside what
//! could take its place. `queue-rates` measures the same in rounds that take turns, what a push
//! costs, and its latency.
//!
//! # Notes
//! On two cores of an AMD EPYC shared with other work (load 20 to 25), where a time of the clock says
//! little: what counts is one run's ratios, the time of the processors, and instructions.
//!
//! | | own | SegQueue | concurrent-queue | unbounded | std mpsc | bounded(1024) |
//! |---|---|---|---|---|---|---|
//! | instructions, push and pop | 100 | 280 | 311 | 368 | 375 | 261 |
//! | calls of malloc in 1000 pushes | 0 | 32 | 32 | 32 | 32 | 0 |
//! | processor time of an item, 1 producer, median, ns | 25 | 49 | 49 | 175 | 47 | 56 |
//! | the same, 2 producers | 25 | 73 | 71 | 81 | 64 | 300 |
//! | push every 4 us, p50, ns | 30 | 40 | 40 | 40 | 40 | 30 |
//! | p99.9 | 461 | 611 | 762 | 671 | 9184 | 180 |
//!
//! - Instructions: `valgrind --tool=callgrind queue-rates push own 110000`, less those of `10000`, by
//!   100,000. SegQueue and concurrent-queue have the waiting and the account of bytes of our own
//!   around them, the channels have no account.
//! - Calls of malloc: `valgrind queue-rates push own 11000`, less those of `1000`.
//! - Processor time: `queue-rates turns`. A second run gave 27, 49, 49, 212, 47, 50.
//! - Push every 4 us: `queue-rates latency 4000`, 250 MB/s into a file meanwhile. Rounds in which the
//!   kernel took the pushing thread off its processor are left out, more than half of them here. A
//!   bounded channel that is full waits; this one never was.
//! - System calls of the pushing thread: `strace -f queue-rates transfer own 1000000` shows one futex
//!   call, at the start, and the pauses of the bench (clock_nanosleep) that keep the backlog short;
//!   no memory is fetched after the first blocks.
//! - The whole feed: `queue-rates deliver 4000 100000` calls `Feed::deliver` of a member that writes
//!   everything to its relay log, syncs it ten times a second, and applies it. In five runs, at a load
//!   of 30 to 40: p50 67 to 78 ns, p99.9 1.0 to 2.0 us, with the clock's own time in it. `strace -f` of
//!   20,000 deliveries shows six futex calls of the delivering thread, for a cache that had gone to
//!   sleep; all its other calls are the bench's (`/proc`, memory for the transactions).

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rejoin_benches::hand_over::{HandOver, transfer};
use rejoin_benches::with_each;

const COUNT: u64 = 200_000;

fn one<H: HandOver>(criterion: &mut Criterion) {
    for producers in [1, 2] {
        let mut group = criterion.benchmark_group(format!("{producers} producers"));
        group
            .throughput(Throughput::Elements(producers * COUNT))
            .sample_size(20)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3));
        group.bench_function(H::NAME, |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| transfer::<H>(producers, COUNT).elapsed)
                    .sum()
            });
        });
        group.finish();
    }
}

fn all(criterion: &mut Criterion) {
    with_each!(one(criterion));
}

criterion_group!(queue, all);
criterion_main!(queue);
