//! The queue between the group's delivery threads and the cache thread, and what could take its
//! place: the same items, the same consumer.
//!
//! The queues of crates have no way to wait: they get the waiting of ours, and its account of bytes.
//! The channels come as they are, without an account.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

#[allow(dead_code, unused_imports)]
#[path = "../../src/queue/mod.rs"]
mod own;

/// As large as a `Batch`: three vectors.
pub type Item = [u64; 9];

/// What an item stands for, in bytes.
pub const TRANSACTION: u64 = 1024;

/// Nobody is to be refused.
const BUDGET: u64 = 1 << 50;

/// An item that the compiler knows nothing of.
pub fn item(value: u64) -> Item {
    black_box([value; 9])
}

/// Hands items from threads to one thread.
pub trait HandOver: 'static {
    type Sender: Clone + Send + 'static;
    type Receiver: Send + 'static;
    const NAME: &'static str;

    fn make() -> (Self::Sender, Self::Receiver);
    fn push(sender: &Self::Sender, item: Item);
    /// The next item, if it is there.
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item>;
    /// Waits for the next item.
    fn pop(receiver: &mut Self::Receiver) -> Item;
}

/// This crate's queue.
pub struct Own;

#[derive(Clone)]
pub struct OwnSender(own::Producer<Item>);
pub struct OwnReceiver(own::Consumer<Item>);

impl HandOver for Own {
    type Sender = OwnSender;
    type Receiver = OwnReceiver;
    const NAME: &'static str = "own";

    fn make() -> (Self::Sender, Self::Receiver) {
        let (producer, consumer) = own::queue(BUDGET);
        (OwnSender(producer), OwnReceiver(consumer))
    }

    #[inline]
    fn push(sender: &Self::Sender, item: Item) {
        let _ = sender.0.push(item, TRANSACTION);
    }

    #[inline]
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item> {
        let item = receiver.0.try_pop();
        if item.is_some() {
            receiver.0.release(TRANSACTION);
        }
        item
    }

    #[inline]
    fn pop(receiver: &mut Self::Receiver) -> Item {
        loop {
            if let Some(item) = Self::try_pop(receiver) {
                return item;
            }
            receiver.0.wait();
        }
    }
}

/// A queue of a crate, without a way to wait.
pub trait Queue: Send + Sync + 'static {
    const NAME: &'static str;

    fn make() -> Self;
    fn put(&self, item: Item);
    fn take(&self) -> Option<Item>;
}

impl Queue for crossbeam_queue::SegQueue<Item> {
    const NAME: &'static str = "SegQueue";

    fn make() -> Self {
        Self::new()
    }

    #[inline]
    fn put(&self, item: Item) {
        self.push(item);
    }

    #[inline]
    fn take(&self) -> Option<Item> {
        self.pop()
    }
}

impl Queue for concurrent_queue::ConcurrentQueue<Item> {
    const NAME: &'static str = "concurrent-queue";

    fn make() -> Self {
        Self::unbounded()
    }

    #[inline]
    fn put(&self, item: Item) {
        let _ = self.push(item);
    }

    #[inline]
    fn take(&self) -> Option<Item> {
        self.pop().ok()
    }
}

/// The waiting of our queue around another one.
pub struct Parked<Q> {
    queue: Q,
    /// Bytes ever pushed, and [`ASLEEP`].
    ledger: AtomicU64,
    sleeper: OnceLock<Thread>,
}

const ASLEEP: u64 = 1 << 63;

impl<Q: Queue> HandOver for Parked<Q> {
    type Sender = Arc<Self>;
    type Receiver = Arc<Self>;
    const NAME: &'static str = Q::NAME;

    fn make() -> (Self::Sender, Self::Receiver) {
        let shared = Arc::new(Self {
            queue: Q::make(),
            ledger: AtomicU64::new(0),
            sleeper: OnceLock::new(),
        });
        (Arc::clone(&shared), shared)
    }

    #[inline]
    fn push(sender: &Self::Sender, item: Item) {
        sender.queue.put(item);
        if sender.ledger.fetch_add(TRANSACTION, AcqRel) & ASLEEP != 0
            && sender.ledger.fetch_and(!ASLEEP, AcqRel) & ASLEEP != 0
            && let Some(thread) = sender.sleeper.get()
        {
            thread.unpark();
        }
    }

    #[inline]
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item> {
        receiver.queue.take()
    }

    fn pop(receiver: &mut Self::Receiver) -> Item {
        for look in 0_u32.. {
            if let Some(item) = receiver.queue.take() {
                return item;
            }
            match look {
                0..16 => spin_loop(),
                16..32 => thread::park_timeout(Duration::from_micros(100)),
                _ => {
                    receiver.sleeper.get_or_init(thread::current);
                    receiver.ledger.fetch_or(ASLEEP, AcqRel);
                    let item = receiver.queue.take();
                    if item.is_none() {
                        thread::park();
                    }
                    receiver.ledger.fetch_and(!ASLEEP, Relaxed);
                    if let Some(item) = item {
                        return item;
                    }
                }
            }
        }
        unreachable!("it looks for ever")
    }
}

/// `crossbeam_channel::bounded(1024)`.
pub struct Bounded;

impl HandOver for Bounded {
    type Sender = crossbeam_channel::Sender<Item>;
    type Receiver = crossbeam_channel::Receiver<Item>;
    const NAME: &'static str = "crossbeam bounded(1024)";

    fn make() -> (Self::Sender, Self::Receiver) {
        crossbeam_channel::bounded(1024)
    }

    #[inline]
    fn push(sender: &Self::Sender, item: Item) {
        let _ = sender.send(item);
    }

    #[inline]
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item> {
        receiver.try_recv().ok()
    }

    #[inline]
    fn pop(receiver: &mut Self::Receiver) -> Item {
        receiver.recv().expect("a sender is there")
    }
}

/// `crossbeam_channel::unbounded`.
pub struct Unbounded;

impl HandOver for Unbounded {
    type Sender = crossbeam_channel::Sender<Item>;
    type Receiver = crossbeam_channel::Receiver<Item>;
    const NAME: &'static str = "crossbeam unbounded";

    fn make() -> (Self::Sender, Self::Receiver) {
        crossbeam_channel::unbounded()
    }

    #[inline]
    fn push(sender: &Self::Sender, item: Item) {
        let _ = sender.send(item);
    }

    #[inline]
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item> {
        receiver.try_recv().ok()
    }

    #[inline]
    fn pop(receiver: &mut Self::Receiver) -> Item {
        receiver.recv().expect("a sender is there")
    }
}

/// `std::sync::mpsc::channel`.
pub struct Std;

impl HandOver for Std {
    type Sender = std::sync::mpsc::Sender<Item>;
    type Receiver = std::sync::mpsc::Receiver<Item>;
    const NAME: &'static str = "std mpsc";

    fn make() -> (Self::Sender, Self::Receiver) {
        std::sync::mpsc::channel()
    }

    #[inline]
    fn push(sender: &Self::Sender, item: Item) {
        let _ = sender.send(item);
    }

    #[inline]
    fn try_pop(receiver: &mut Self::Receiver) -> Option<Item> {
        receiver.try_recv().ok()
    }

    #[inline]
    fn pop(receiver: &mut Self::Receiver) -> Item {
        receiver.recv().expect("a sender is there")
    }
}

/// Calls `$call::<H>(arguments)` for each of them.
#[macro_export]
macro_rules! with_each {
    ($call:ident $arguments:tt) => {
        $call::<$crate::hand_over::Own> $arguments;
        $call::<$crate::hand_over::Parked<crossbeam_queue::SegQueue<$crate::hand_over::Item>>> $arguments;
        $call::<$crate::hand_over::Parked<concurrent_queue::ConcurrentQueue<$crate::hand_over::Item>>> $arguments;
        $call::<$crate::hand_over::Unbounded> $arguments;
        $call::<$crate::hand_over::Std> $arguments;
        $call::<$crate::hand_over::Bounded> $arguments;
    };
}

/// No producer is further ahead of the consumer than this many items: a queue is measured in its
/// steady state, not the kernel giving it memory. As many as our blocks kept for reuse hold, and so
/// many that a producer that has slept for the kernel's shortest time finds work left for the
/// consumer. Looked at once in [`STRIDE`] items.
const WINDOW: u64 = 8192;
const STRIDE: u64 = 64;

/// What a [`transfer`] took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cost {
    /// Until everything had come out at the other end.
    pub elapsed: Duration,
    /// Time of the processors, of all producers and the consumer together.
    pub processor: Duration,
}

/// Moves `count` items of each of `producers` threads to one consumer.
pub fn transfer<H: HandOver>(producers: u64, count: u64) -> Cost {
    let (sender, mut receiver) = H::make();
    let received = Arc::new(AtomicU64::new(0));
    let receiving = Arc::clone(&received);
    let consumer = thread::spawn(move || {
        let before = processor_time();
        for number in 1..=producers * count {
            black_box(H::pop(&mut receiver));
            if number % STRIDE == 0 {
                receiving.store(number, Relaxed);
            }
        }
        processor_time() - before
    });
    let work = move || {
        let before = processor_time();
        for value in 0..count {
            if value % STRIDE == 0 {
                while value * producers > received.load(Relaxed) + WINDOW * producers {
                    thread::sleep(Duration::from_micros(10));
                }
            }
            H::push(&sender, item(value));
        }
        processor_time() - before
    };
    let began = Instant::now();
    let others: Vec<_> = (1..producers)
        .map(|_| thread::spawn(work.clone()))
        .collect();
    let mut processor = work();
    for other in others {
        processor += other.join().expect("a producer");
    }
    processor += consumer.join().expect("the consumer");
    Cost {
        elapsed: began.elapsed(),
        processor,
    }
}

/// How long this thread has had a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.expect("a time"))
}
