//! Throughput of the queue between the group's delivery threads and the cache thread, beside what
//! could take its place. `queue-rates` measures the same in rounds that take turns, what a push
//! costs, and its latency.
//!
//! # Notes
//! On two cores of a virtual Intel Xeon, everything else stopped. What counts is one run's ratios, the
//! time of the processors, and instructions.
//!
//! | | own | SegQueue | concurrent-queue | unbounded | std mpsc | bounded(1024) |
//! |---|---|---|---|---|---|---|
//! | instructions, push and pop | 107 | 280 | 311 | 368 | 375 | 261 |
//! | calls of malloc in 1000 pushes | 0 | 32 | 32 | 32 | 32 | 0 |
//! | 1 producer, median, million items a second | 25.7 | 14.6 | 14.5 | 14.1 | 15.5 | 9.1 |
//! | the same, 2 producers | 21.8 | 13.4 | 10.7 | 14.2 | 11.7 | 10.9 |
//! | processor time of an item, 1 producer, median, ns | 32 | 116 | 114 | 109 | 105 | 140 |
//! | the same, 2 producers | 74 | 123 | 153 | 105 | 136 | 157 |
//! | push every 4 us, p50, ns | 44 | 68 | 57 | 183 | 68 | 232 |
//! | p99.9 | 1440 | 2480 | 1556 | 4647 | 4412 | 7666 |
//!
//! - Instructions: `valgrind --tool=callgrind queue-rates push own 110000`, less those of `10000`, by
//!   100,000. SegQueue and concurrent-queue have the waiting and the account of bytes of our own
//!   around them, the channels have no account.
//! - Calls of malloc: `valgrind queue-rates push own 11000`, less those of `1000`.
//! - Throughput and processor time: `queue-rates turns`. Before slots were fetched for writing ahead of
//!   their use, an item took 115 ns from thread to thread, 90 % of a producer's time in the locked
//!   addition, which waits for the stores of the push before it.
//! - Push every 4 us: `queue-rates latency 4000`, 250 MB/s into a file meanwhile. Rounds in which the
//!   kernel took the pushing thread off its processor are left out, one in fifty here. A bounded
//!   channel that is full waits.
//! - System calls of the pushing thread: `strace -f queue-rates transfer own 1000000` shows no futex
//!   call, only the pauses of the bench (clock_nanosleep) that keep the backlog short; no memory is
//!   fetched after the first blocks.
//! - The whole feed: `queue-rates deliver 4000 200000` calls `Feed::deliver` of a member that writes
//!   everything to its relay log, syncs it ten times a second, and applies it. Five runs, with the
//!   clock's own time in it: p50 54 to 69 ns, p99.9 0.8, 0.9, 1.0, 1.9 and 2.4 us. `strace -f`
//!   of 20,000 deliveries, one every 20 us, shows 48 futex calls of the delivering thread, for a cache
//!   that had gone to sleep; all its other calls are the bench's (`/proc`, memory for the transactions).

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
