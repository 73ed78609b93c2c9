//! Throughput of the queue between the group's delivery threads and the cache thread, beside what
//! could take its place. `queue-rates` measures the same in rounds that take turns, what a push
//! costs, and its latency; its notes say what came out.

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
