//! Tests with real threads and blocks of the real size; loom's are in `models`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::spares::SPARES;
use super::{Consumer, Refused, SLOTS, queue};

/// Many times round through the spare blocks, but for miri, which is a thousand times slower.
const MANY: usize = if cfg!(miri) { 300 } else { 200_000 };

fn take<T>(consumer: &mut Consumer<T>) -> T {
    loop {
        if let Some(value) = consumer.try_pop() {
            return value;
        }
        consumer.wait();
    }
}

#[test]
fn values_come_out_in_order_through_many_blocks() {
    let (producer, mut consumer) = queue(u64::MAX);
    assert_eq!(consumer.try_pop(), None);
    let mut next = 0;
    for value in 0..MANY {
        producer.push(value, 1).unwrap();
        // The backlog grows to a few blocks and shrinks again.
        if value % (4 * SLOTS) >= 2 * SLOTS {
            for _ in 0..2 {
                if let Some(value) = consumer.try_pop() {
                    assert_eq!(value, next);
                    next += 1;
                }
            }
        }
    }
    while next < MANY {
        assert!(consumer.has_next());
        assert_eq!(consumer.try_pop(), Some(next));
        next += 1;
    }
    assert!(!consumer.has_next());
    assert_eq!(consumer.try_pop(), None);
}

#[test]
fn each_producers_values_keep_their_order() {
    let (producer, mut consumer) = queue(u64::MAX);
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let producer = producer.clone();
            thread::spawn(move || {
                for value in 0..MANY / 3 {
                    producer.push((number, value), 1).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 3];
    while next.iter().sum::<usize>() < 3 * (MANY / 3) {
        let (number, value) = take(&mut consumer);
        let next: &mut usize = &mut next[number];
        assert_eq!(value, *next);
        *next += 1;
    }
    assert_eq!(next, [MANY / 3; 3]);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// Both threads wait for each other each time: whoever loses a wake-up hangs. From time to time the
/// pause is long enough for the consumer to sleep deeply.
#[test]
fn a_waiting_consumer_is_woken_each_time() {
    let (producer, mut consumer) = queue(u64::MAX);
    let (answer, answers) = mpsc::channel();
    let rounds = if cfg!(miri) { 10 } else { 2000 };
    let echo = thread::spawn(move || {
        for _ in 0..rounds {
            answer.send(take(&mut consumer)).unwrap();
        }
    });
    for value in 0..rounds {
        if value % 100 == 99 {
            thread::sleep(Duration::from_millis(5));
        }
        producer.push(value, 1).unwrap();
        assert_eq!(answers.recv().unwrap(), value);
    }
    echo.join().unwrap();
}

#[test]
fn a_bell_ends_the_wait_that_it_finds_or_the_next() {
    let (_producer, mut consumer) = queue::<()>(u64::MAX);
    let bell = consumer.bell();
    bell.ring();
    bell.ring();
    consumer.wait();
    // Dozing, then deep asleep.
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let (ring, ringing) = mpsc::channel();
        let bell = consumer.bell();
        let began = Instant::now();
        let thread = thread::spawn(move || {
            thread::sleep(pause);
            bell.ring();
            ring.send(Instant::now()).unwrap();
        });
        consumer.wait();
        assert!(began.elapsed() >= pause);
        assert!(ringing.recv().unwrap() >= began + pause);
        thread.join().unwrap();
    }
}

#[test]
fn a_used_up_budget_refuses_until_bytes_are_released() {
    let (producer, mut consumer) = queue(100);
    let other = producer.clone();
    producer.push("small", 60).unwrap();
    // Whatever reaches the budget is taken whole: a large transaction must come through.
    other.push("large", 5_000).unwrap();
    assert_eq!(producer.push("third", 1), Err(("third", Refused::Full)));
    assert_eq!(other.push("third", 1), Err(("third", Refused::Full)));
    assert_eq!(producer.outstanding(), 5_060);
    assert_eq!(consumer.try_pop(), Some("small"));
    consumer.release(60);
    assert_eq!(producer.push("third", 1), Err(("third", Refused::Full)));
    assert_eq!(consumer.try_pop(), Some("large"));
    consumer.release(5_000);
    producer.push("third", 1).unwrap();
    assert_eq!(producer.outstanding(), 1);
    // What weighs nothing is always taken.
    producer.push("empty", 0).unwrap();
}

#[test]
fn producers_give_back_what_they_borrowed() {
    let budget = 1 << 30;
    let (producer, mut consumer) = queue(budget);
    producer.push((), 1).unwrap();
    assert!(producer.outstanding() > 1);
    let other = producer.clone();
    drop(producer);
    assert_eq!(other.outstanding(), 1);
    consumer.try_pop().unwrap();
    consumer.release(1);
    assert_eq!(other.outstanding(), 0);
}

#[test]
fn a_queue_without_its_consumer_refuses() {
    let (producer, consumer) = queue(1 << 30);
    producer.push(1, 1).unwrap();
    let lent = producer.outstanding();
    drop(consumer);
    assert_eq!(producer.push(2, 1), Err((2, Refused::Closed)));
    assert_eq!(producer.push(3, 1), Err((3, Refused::Closed)));
    assert_eq!(
        producer.outstanding(),
        lent,
        "what is refused costs nothing"
    );
}

#[test]
fn values_are_dropped_once_with_either_end() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let count = 5 * SLOTS + 3;
    for consumer_first in [true, false] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (producer, mut consumer) = queue(u64::MAX);
        for _ in 0..count {
            let value = Counted(Arc::clone(&dropped));
            assert!(producer.push(value, 1).is_ok());
        }
        drop(consumer.try_pop());
        assert_eq!(dropped.load(Relaxed), 1);
        if consumer_first {
            drop(consumer);
            // Nobody can take them any more: they must not wait for the last handle.
            assert_eq!(dropped.load(Relaxed), count);
            drop(producer);
        } else {
            drop(producer);
            assert_eq!(dropped.load(Relaxed), 1);
            drop(consumer);
        }
        assert_eq!(dropped.load(Relaxed), count);
    }
}

/// A backlog that comes and goes is held in the same blocks each time.
#[test]
fn blocks_are_used_again() {
    let (producer, mut consumer) = queue(u64::MAX);
    let blocks = if cfg!(miri) { 4 } else { SPARES / 2 };
    let backlog = blocks * SLOTS;
    let mut addresses = std::collections::HashSet::new();
    for _ in 0..if cfg!(miri) { 3 } else { 50 } {
        for value in 0..backlog {
            producer.push(value, 1).unwrap();
            addresses.insert(producer.shared.producing.0.block.load(Relaxed));
        }
        for value in 0..backlog {
            assert_eq!(consumer.try_pop(), Some(value));
        }
    }
    assert!(
        addresses.len() <= blocks + 3,
        "{} blocks were in use",
        addresses.len()
    );
}

/// A consumer that waits for a value that is claimed and not written looks again by itself.
#[test]
fn a_value_in_flight_is_waited_for() {
    let (producer, mut consumer) = queue(u64::MAX);
    let (claim, claimed) = mpsc::channel();
    let stopped = thread::spawn(move || {
        let stop = || {
            claim.send(()).unwrap();
            thread::sleep(Duration::from_millis(20));
        };
        producer.shared.push(7, stop).unwrap();
    });
    claimed.recv().unwrap();
    let began = Instant::now();
    assert_eq!(take(&mut consumer), 7);
    assert!(began.elapsed() >= Duration::from_millis(10));
    stopped.join().unwrap();
}
