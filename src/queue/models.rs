//! loom's models of the queue: every order of the threads' steps, and every value that the memory
//! orderings allow a load to see.
//!
//! Blocks have two slots here and one of them is kept spare, so that few values cross blocks and
//! use them again. loom may silently explore a single order (it does not look at alternatives of a
//! load that is a new thread's first step), so that each model states how many it has seen, and
//! `tests/loom/run` plants mistakes that the models must find.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::{Consumer, Refused, queue};

/// Explores `body`, with at most this many involuntary switches from thread to thread, and demands
/// that at least `least` different executions were seen.
fn explore(switches: usize, least: usize, body: impl Fn() + Sync + Send + 'static) {
    static EXECUTIONS: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = EXECUTIONS.lock();
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        body();
    });
    let seen = executions.load(Relaxed);
    let name = std::thread::current().name().unwrap_or("").to_owned();
    std::eprintln!("{name}: {seen} executions");
    assert!(
        seen >= least,
        "only {seen} executions, {least} are expected"
    );
}

fn take<T>(consumer: &mut Consumer<T>) -> T {
    loop {
        if let Some(value) = consumer.try_pop() {
            return value;
        }
        consumer.wait();
    }
}

/// A value that counts how often it is dropped.
struct Counted(std::sync::Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Push and pop: three values of two producers cross from one block into the next. Each arrives
/// once, each producer's in its order.
#[test]
fn two_producers_across_blocks() {
    explore(2, 1000, || {
        let (producer, mut consumer) = queue(100);
        let other = producer.clone();
        let first = thread::spawn(move || {
            producer.push(10, 1).unwrap();
            producer.push(11, 1).unwrap();
        });
        let second = thread::spawn(move || other.push(20, 1).unwrap());
        let mut values = [
            take(&mut consumer),
            take(&mut consumer),
            take(&mut consumer),
        ];
        let of_first: Vec<usize> = values.iter().copied().filter(|value| *value < 20).collect();
        assert_eq!(of_first, [10, 11]);
        values.sort_unstable();
        assert_eq!(values, [10, 11, 20]);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(consumer.try_pop(), None);
    });
}

/// What one producer sees of another's push comes behind it, in whatever blocks they are.
#[test]
fn order_across_producers() {
    explore(2, 100, || {
        let (producer, mut consumer) = queue(100);
        let other = producer.clone();
        producer.push(0, 1).unwrap();
        let told = loom::sync::Arc::new(AtomicBool::new(false));
        let tell = loom::sync::Arc::clone(&told);
        let first = thread::spawn(move || {
            producer.push(1, 1).unwrap();
            tell.store(true, std::sync::atomic::Ordering::Release);
        });
        let second = thread::spawn(move || {
            let behind = told.load(std::sync::atomic::Ordering::Acquire);
            other.push(2, 1).unwrap();
            behind
        });
        first.join().unwrap();
        let behind = second.join().unwrap();
        let values: Vec<usize> = std::iter::from_fn(|| consumer.try_pop()).collect();
        assert_eq!(values.len(), 3);
        if behind {
            assert_eq!(values, [0, 1, 2]);
        }
    });
}

/// Blocks are used again while a producer, stopped anywhere, may still look at them: this thread
/// pushes and takes through several blocks meanwhile.
#[test]
fn reuse_of_blocks() {
    explore(2, 1000, || {
        let (producer, mut consumer) = queue(100);
        let other = producer.clone();
        let stopped = thread::spawn(move || {
            other.push(20, 1).unwrap();
            other.push(21, 1).unwrap();
        });
        let mut values = Vec::new();
        for value in 0..7 {
            producer.push(value, 1).unwrap();
            values.extend(consumer.try_pop());
        }
        stopped.join().unwrap();
        values.extend(std::iter::from_fn(|| consumer.try_pop()));
        let (of_stopped, own): (Vec<usize>, Vec<usize>) =
            values.into_iter().partition(|value| *value >= 20);
        assert_eq!(own, (0..7).collect::<Vec<_>>());
        assert_eq!(of_stopped, [20, 21]);
    });
}

/// Park and unpark: a consumer that finds nothing and a producer that comes at that moment. A lost
/// wake-up is a deadlock, which loom reports.
#[test]
fn park_and_unpark() {
    explore(3, 100, || {
        let (producer, mut consumer) = queue(100);
        let pushing = thread::spawn(move || {
            producer.push(1, 1).unwrap();
            producer.push(2, 1).unwrap();
        });
        let taking = thread::spawn(move || {
            assert_eq!(take(&mut consumer), 1);
            assert_eq!(take(&mut consumer), 2);
        });
        pushing.join().unwrap();
        taking.join().unwrap();
    });
}

/// A bell wakes as a push does, and what was done before it is seen.
#[test]
fn bell() {
    explore(3, 20, || {
        let (_producer, mut consumer) = queue::<usize>(100);
        let bell = consumer.bell();
        let word = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let told = loom::sync::Arc::clone(&word);
        let ringing = thread::spawn(move || {
            told.store(7, Relaxed);
            bell.ring();
        });
        let waiting = thread::spawn(move || {
            consumer.wait();
            assert_eq!(word.load(Relaxed), 7);
        });
        ringing.join().unwrap();
        waiting.join().unwrap();
    });
}

/// Both at once, for a consumer that sleeps: neither is lost to the other.
#[test]
fn bell_and_push() {
    explore(2, 100, || {
        let (producer, mut consumer) = queue::<usize>(100);
        let bell = consumer.bell();
        let has_rung = loom::sync::Arc::new(AtomicBool::new(false));
        let rings = loom::sync::Arc::clone(&has_rung);
        let ringing = thread::spawn(move || {
            rings.store(true, Relaxed);
            bell.ring();
        });
        let pushing = thread::spawn(move || producer.push(1, 1).unwrap());
        let mut value = None;
        while value.is_none() || !has_rung.load(Relaxed) {
            consumer.wait();
            value = value.or(consumer.try_pop());
        }
        ringing.join().unwrap();
        pushing.join().unwrap();
    });
}

/// The consumer goes while a producer pushes: each value is refused or dropped with the queue, and
/// those that were taken are the first.
#[test]
fn closed_by_the_consumer() {
    explore(3, 100, || {
        let dropped = std::sync::Arc::new(AtomicUsize::new(0));
        let (producer, mut consumer) = queue(100);
        let count = std::sync::Arc::clone(&dropped);
        let pushing = thread::spawn(move || {
            let mut refused = 0;
            for _ in 0..3 {
                match producer.push(Counted(std::sync::Arc::clone(&count)), 1) {
                    Ok(()) => assert_eq!(refused, 0, "taken again after it was closed"),
                    Err((_value, Refused::Closed)) => refused += 1,
                    Err((_, Refused::Full)) => panic!("there is room"),
                }
            }
        });
        let taking = thread::spawn(move || drop(consumer.try_pop()));
        pushing.join().unwrap();
        taking.join().unwrap();
        assert_eq!(dropped.load(Relaxed), 3);
    });
}

/// Both ends go while values are left and one is being pushed: each is dropped once.
#[test]
fn dropped_with_values_left() {
    explore(3, 100, || {
        let dropped = std::sync::Arc::new(AtomicUsize::new(0));
        let (producer, mut consumer) = queue(100);
        let other = producer.clone();
        for _ in 0..2 {
            let value = Counted(std::sync::Arc::clone(&dropped));
            assert!(producer.push(value, 1).is_ok());
        }
        let count = std::sync::Arc::clone(&dropped);
        let pushing = thread::spawn(move || drop(other.push(Counted(count), 1)));
        let taking = thread::spawn(move || drop(consumer.try_pop()));
        pushing.join().unwrap();
        taking.join().unwrap();
        drop(producer);
        assert_eq!(dropped.load(Relaxed), 3);
    });
}

/// The budget: what is released makes room, and the account never shows more than was pushed.
#[test]
fn budget() {
    explore(3, 20, || {
        let (producer, mut consumer) = queue(2);
        let pushing = thread::spawn(move || {
            producer.push(1, 2).unwrap();
            let pushed = producer.push(2, 2).is_ok();
            assert!(producer.outstanding() <= 4);
            pushed
        });
        let taking = thread::spawn(move || {
            assert_eq!(take(&mut consumer), 1);
            consumer.release(2);
            consumer
        });
        let pushed = pushing.join().unwrap();
        let mut consumer = taking.join().unwrap();
        assert_eq!(consumer.try_pop(), pushed.then_some(2));
        assert_eq!(consumer.outstanding(), if pushed { 2 } else { 0 });
    });
}
