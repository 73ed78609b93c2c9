//! The queue beside what could take its place.
//!
//! ```text
//! queue-rates turns                    throughput in rounds that take turns, so that whoever else
//!                                      uses the machine disturbs all alike
//! queue-rates latency PACE_NS          what a push takes, one every PACE_NS, while the consumer
//!                                      writes the transactions to a file and syncs it
//! queue-rates deliver PACE_NS COUNT    what `Feed::deliver` takes of a host's thread, one transaction of
//!                                      1 KiB every PACE_NS, COUNT in all, while the member's cache
//!                                      writes them to its relay log and its applier runs
//! queue-rates push NAME COUNT          COUNT pushes and pops by one thread, for callgrind
//! queue-rates transfer NAME COUNT      COUNT items from thread to thread, for strace
//! ```

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rejoin::transaction::Batch;
use rejoin_benches::deliver::{Batches, Delivering};
use rejoin_benches::hand_over::{Cost, HandOver, TRANSACTION, item, transfer};
use rejoin_benches::histogram::{Histogram, involuntary_switches};
use rejoin_benches::with_each;

type Costs = Vec<(&'static str, Vec<Cost>)>;

const COUNT: u64 = 50_000;
const ROUNDS: usize = 101;

fn turn<H: HandOver>(producers: u64, costs: &mut Costs) {
    let cost = transfer::<H>(producers, COUNT);
    match costs.iter_mut().find(|(name, _)| *name == H::NAME) {
        Some((_, costs)) => costs.push(cost),
        None => costs.push((H::NAME, vec![cost])),
    }
}

fn turns(producers: u64) {
    let mut costs = Costs::new();
    for _ in 0..ROUNDS {
        with_each!(turn(producers, &mut costs));
    }
    println!("{producers} producers:");
    let items = producers * COUNT;
    for (name, costs) in costs {
        let per_item = |of: fn(&Cost) -> Duration| {
            let mut nanos: Vec<u64> = costs
                .iter()
                .map(|cost| of(cost).as_nanos() as u64)
                .collect();
            nanos.sort_unstable();
            move |rank: usize| nanos[rank] as f64 / items as f64
        };
        let elapsed = per_item(|cost| cost.elapsed);
        let processor = per_item(|cost| cost.processor);
        println!(
            "  {name:24} million items a second: best {:5.1}, median {:5.1}; processor time of an item: median {:5.1} ns",
            1e3 / elapsed(0),
            1e3 / elapsed(ROUNDS / 2),
            processor(ROUNDS / 2),
        );
    }
}

/// Takes `count` items and writes the transactions to a file, 64 KiB at a time, synced every 4 MiB.
fn write<H: HandOver>(mut receiver: H::Receiver, count: u64) {
    let path = std::env::temp_dir().join(format!("queue-rates-{}", std::process::id()));
    let mut file = File::create(&path).expect("a file");
    let mut buffer = Vec::new();
    let mut unsynced = 0;
    for _ in 0..count {
        let item = H::pop(&mut receiver);
        buffer.resize(buffer.len() + TRANSACTION as usize, item[0] as u8);
        if buffer.len() >= 64 << 10 {
            file.write_all(&buffer).expect("room on the disk");
            unsynced += buffer.len();
            buffer.clear();
        }
        if unsynced >= 4 << 20 {
            file.sync_data().expect("a disk");
            unsynced = 0;
        }
    }
    std::fs::remove_file(path).expect("it was there");
}

/// Rounds of a millisecond. One in which the kernel took the pushing thread off its processor says
/// nothing of the queue, and is left out, and so is the one behind it, before which nothing was
/// pushed for long.
fn latency<H: HandOver>(pace: Duration) {
    const PUSHES: u64 = 100_000;
    let each = (Duration::from_millis(1).as_nanos() / pace.as_nanos()).max(1) as u64;
    let rounds = PUSHES / each;
    let (sender, receiver) = H::make();
    let consumer = thread::spawn(move || write::<H>(receiver, rounds * each));
    let mut histogram = Histogram::default();
    let mut round = Vec::with_capacity(each as usize);
    let mut disturbed = 0;
    let mut was_disturbed = false;
    for number in 0..rounds {
        round.clear();
        let before = involuntary_switches();
        let mut due = Instant::now();
        for value in 0..each {
            due += pace;
            while Instant::now() < due {}
            let item = item(value);
            let start = Instant::now();
            H::push(&sender, item);
            round.push(start.elapsed().as_nanos() as u64);
        }
        let is_disturbed = involuntary_switches() != before;
        if is_disturbed || was_disturbed {
            disturbed += 1;
        } else if number >= rounds / 20 {
            // The first rounds fetch memory.
            histogram.add(&round);
        }
        was_disturbed = is_disturbed;
    }
    consumer.join().expect("the consumer");
    let name = H::NAME;
    println!("  {name:24} {histogram}; {disturbed} of {rounds} rounds disturbed");
}

/// As [`latency`], of the whole feed.
fn deliver(pace: Duration, count: u64) {
    let each = (Duration::from_millis(1).as_nanos() / pace.as_nanos()).max(1) as u64;
    let rounds = count / each;
    let member = Delivering::start();
    let mut batches = Batches::new().expect("a format");
    let mut histogram = Histogram::default();
    let mut round = Vec::with_capacity(each as usize);
    let (mut disturbed, mut was_disturbed, mut refused) = (0, false, 0_u64);
    for number in 0..rounds {
        // A host has its transactions: to make them is not measured.
        let made: Vec<Batch> = (0..each)
            .map(|_| batches.make().expect("a transaction"))
            .collect();
        round.clear();
        let before = involuntary_switches();
        let mut due = Instant::now();
        for batch in made {
            due += pace;
            while Instant::now() < due {}
            let start = Instant::now();
            let delivered = member.feed.deliver(batch);
            round.push(start.elapsed().as_nanos() as u64);
            refused += u64::from(delivered.is_err());
        }
        let is_disturbed = involuntary_switches() != before;
        if is_disturbed || was_disturbed {
            disturbed += 1;
        } else if number >= rounds / 20 {
            histogram.add(&round);
        }
        was_disturbed = is_disturbed;
    }
    while member.applied.load(Relaxed) + refused < rounds * each {
        thread::sleep(Duration::from_millis(1));
    }
    println!(
        "  {:24} {histogram}; {disturbed} of {rounds} rounds disturbed, {refused} refused",
        "deliver"
    );
}

fn push<H: HandOver>(name: &str, count: u64) {
    if H::NAME == name {
        let (sender, mut receiver) = H::make();
        for value in 0..count {
            H::push(&sender, item(value));
            black_box(H::try_pop(&mut receiver));
        }
    }
}

fn only<H: HandOver>(name: &str, count: u64) {
    if H::NAME == name {
        println!("{name}: {:?}", transfer::<H>(1, count));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match arguments[..] {
        ["turns"] => [1, 2].into_iter().for_each(turns),
        ["latency", pace] => {
            println!("one push every {pace} ns, time of a push in ns with the clock's own:");
            let pace = Duration::from_nanos(number(pace));
            with_each!(latency(pace));
        }
        ["deliver", pace, count] => deliver(Duration::from_nanos(number(pace)), number(count)),
        ["push", name, count] => {
            let count = number(count);
            with_each!(push(name, count));
        }
        ["transfer", name, count] => {
            let count = number(count);
            with_each!(only(name, count));
        }
        _ => panic!(
            "turns | latency PACE_NS | deliver PACE_NS COUNT | push NAME COUNT | transfer NAME COUNT"
        ),
    }
}
