//! The lock-free queue between the threads that deliver a group's transactions and the cache thread.
//!
//! Many producers, one consumer, first in first out. A producer never takes a lock, never waits for
//! anybody, and in the steady state never calls the allocator nor the system; the consumer parks
//! when there is nothing for it. The queue is not bounded in items but in *bytes*: what was pushed
//! and not yet [released](Consumer::release) counts against a budget, and a queue that has used it
//! up refuses.
//!
//! ```text
//!            taken, reusable        head                                   tail (tickets claimed)
//!                    v               v                                       v
//!  oldest -> [ block 7 ] <-> [ block 8: taken, taken, READY, claimed, READY, -, - ] <-> [ block 9 ]
//!                 |                                         (not written yet)              ^
//!                 +--> spare blocks --> installed behind the last block         `block`: newest in use
//! ```
//!
//! **Push.** One addition to `tail` claims a ticket, and tells at the same time whether the queue is
//! closed and whether the consumer sleeps; it is the only locked instruction. Ticket / [`SLOTS`] is
//! the number of the block, the rest the slot in it. The producer writes the value and then the
//! slot's stamp, ticket + 1, which tells the consumer that the value is there. Stamps never repeat,
//! so that a slot needs no cleaning before it is used again.
//!
//! **Finding the block.** `block` points at the newest block that any producer has reached. Whoever
//! holds a ticket beyond it goes forward, installs what is missing and moves `block` along; whoever
//! was stopped between claiming and looking goes back over `previous`. Nobody goes further than the
//! few blocks that were claimed at the same moment.
//!
//! **Reusing a block** must wait until no producer can hold a pointer to it. The producer that moves
//! `block` past a block reads `tail` afterwards and leaves it in the block as `last_visitor`: any
//! producer that still found the block through `block` has a smaller ticket. Once the consumer has
//! taken all smaller tickets, their producers have written their slots, after which they touch no
//! block. So `head >= last_visitor` suffices, without hazard pointers or epochs.
//!
//! **Sleep.** To wake a thread is a system call, which takes longer than everything else that a
//! producer does. A consumer that runs dry therefore [dozes](DOZE) at first: it parks for a moment
//! and looks again, and producers need not know. Only when nothing has come for a while it sets
//! [`ASLEEP`] in `tail`, and learns from it how many tickets were claimed before. None but those it
//! has taken: it parks, and the next to claim sees the bit and wakes it. All changes of one atomic
//! have one order, so that no wake-up is lost, and nobody wakes a consumer that is awake. If there is
//! a ticket whose value is not there yet, its producer is between two instructions, or was taken off
//! its processor there, and does not know that it is waited for: the consumer goes on dozing. To be
//! told would cost every push a second locked instruction, which is about half of all it costs.
//!
//! **Bytes.** Each producer borrows bytes from the budget in advance, [`CREDIT`] or so, and pays its
//! pushes from that: the account is exact, but for what is lent, and changes once in many pushes.

// The values lie in memory that producers and the consumer hand to each other by stamps: the
// compiler cannot follow that. Everything unsafe of this crate is in this room.
#![allow(unsafe_code)]

mod consumer;
#[cfg(all(test, loom))]
mod models;
mod prefetch;
mod spares;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

pub(crate) use consumer::{Bell, Consumer};
use spares::Spares;
use sync::{Arc, AtomicPtr, AtomicU64, AtomicUsize, Thread, UnsafeCell, planted};

/// Slots of a block: one block in so many pushes is fetched from the spare ones.
const SLOTS: usize = if cfg!(loom) { 2 } else { 64 };
/// How many slots ahead a producer has its memory fetched. Measured: two are too few, with 16 the
/// consumer reads what was fetched before it is written.
const AHEAD: usize = 4;
/// What a producer borrows from the budget at least, in bytes; less where the budget is small, so
/// that a thousand idle producers cannot hold all of it.
const CREDIT: u64 = 64 << 10;

/// In `tail`: the queue takes nothing more.
const CLOSED: u64 = 1 << 63;
/// In `tail`: the consumer sleeps, or is about to.
const ASLEEP: u64 = 1 << 62;
/// In `tail`: the tickets claimed.
const TICKETS: u64 = ASLEEP - 1;
/// In `last_visitor`: producers still find the block.
const REACHABLE: u64 = u64::MAX;

/// In `bell`: nothing has happened.
const QUIET: usize = 0;
/// In `bell`: the consumer dozes or sleeps, and is to be woken by the one who rings.
const WAITING: usize = 1;
/// In `bell`: it was rung, and the consumer has not answered yet.
const RUNG: usize = 2;

/// Makes a queue whose items may weigh `budget` bytes together.
pub(crate) fn queue<T>(budget: u64) -> (Producer<T>, Consumer<T>) {
    let first = Block::boxed();
    let shared = Arc::new(Shared {
        producing: Padded(Producing {
            tail: AtomicU64::new(0),
            block: AtomicPtr::new(first),
            borrowed: AtomicU64::new(0),
        }),
        consuming: Padded(Consuming {
            released: AtomicU64::new(0),
            bell: AtomicUsize::new(QUIET),
            cursor: UnsafeCell::new(Cursor {
                head: 0,
                block: first,
                oldest: first,
            }),
        }),
        spares: Padded(Spares::new()),
        sleeper: UnsafeCell::new(None),
        budget,
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        credit: Cell::new(0),
    };
    (producer, Consumer::new(shared))
}

/// Why a value was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The budget is used up.
    Full,
    /// The consumer is gone.
    Closed,
}

/// Keeps what is inside away from the cache lines of others; two lines, because processors fetch
/// them in pairs.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared<T> {
    producing: Padded<Producing<T>>,
    consuming: Padded<Consuming<T>>,
    spares: Padded<Spares<T>>,
    /// The consumer's thread. Written once, by [`Consumer::attach`], before ASLEEP or WAITING is
    /// ever set; read only by those who have seen one of them.
    sleeper: UnsafeCell<Option<Thread>>,
    budget: u64,
}

/// What producers change, all in one cache line.
struct Producing<T> {
    /// Tickets claimed, [`ASLEEP`] and [`CLOSED`].
    /// - A producer adds one. Acquire: from [`Shared::pass`], so that it finds `block` moved; from
    ///   the consumer that set ASLEEP, so that it finds `sleeper`. It releases nothing: the stamp
    ///   does.
    /// - The producer that moves `block` adds nothing (Release: gives the move).
    /// - The consumer sets ASLEEP (Release: gives `sleeper`).
    /// - ASLEEP is taken out by whoever wakes the consumer, or by itself. Relaxed: hands over nothing.
    /// - The consumer sets CLOSED when it goes. Relaxed: refused producers are handed nothing.
    tail: AtomicU64,
    /// The newest block that a producer has reached; only moves forward. Release when moved,
    /// Acquire when read: with the pointer comes what is in the block.
    block: AtomicPtr<Block<T>>,
    /// Bytes that producers ever borrowed from the budget, less those they have given back unused.
    /// A number, by which nothing is handed over: Relaxed.
    borrowed: AtomicU64,
}

/// What the consumer changes.
struct Consuming<T> {
    /// Bytes ever released: written by the consumer alone, read for accounting. Relaxed.
    released: AtomicU64,
    /// [`QUIET`], [`WAITING`] or [`RUNG`]. Who rings gives what it did before (Release) and, where
    /// the consumer waits, gets `sleeper` (Acquire); the consumer gives `sleeper` when it begins to
    /// wait (Release), and gets what was done before the ring when it answers (Acquire).
    bell: AtomicUsize,
    /// The consumer's alone, until the queue is dropped.
    cursor: UnsafeCell<Cursor<T>>,
}

struct Cursor<T> {
    /// The ticket to be taken next.
    head: u64,
    /// The block in which the previous ticket was; `head` is in it or in the one behind it.
    block: *mut Block<T>,
    /// The first block that is neither spare nor freed: all blocks from here on are linked.
    oldest: *mut Block<T>,
}

struct Block<T> {
    /// Its place in the queue: it holds the tickets from number * SLOTS on. Written by the owner
    /// before the block is linked.
    number: UnsafeCell<u64>,
    /// The block before it. Written as `number`. Only followed by producers whose ticket lies
    /// before this block, so that the block before it cannot have been taken.
    previous: UnsafeCell<*mut Block<T>>,
    /// The block behind it, null until a producer installs it (Release; read with Acquire: with the
    /// pointer come `number` and `previous`). Set once.
    next: AtomicPtr<Block<T>>,
    /// [`REACHABLE`] as long as `block` has not moved past it, then a ticket: producers with this
    /// one or later ones never see this block. Written once by the producer that moved `block`
    /// (Release: it is the last thing it does to the block), read by the consumer (Acquire).
    last_visitor: AtomicU64,
    slots: [Slot<T>; SLOTS],
}

struct Slot<T> {
    /// Ticket + 1 once the value of this ticket is there; anything else is from an earlier use.
    /// Written by the ticket's producer (Release), read by the consumer (Acquire): this is what
    /// hands over the value, and with it all that the producer has done to any block.
    stamp: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: values go from the producers' threads to the consumer's or the last owner's, hence T:
// Send; no thread ever gets a reference to a value that another one can see.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above. What is shared is atomic, or accessed under the rules that its fields state.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Block<T> {
    /// A block numbered 0, not linked with others.
    fn boxed() -> *mut Self {
        Box::into_raw(Box::new(Self {
            number: UnsafeCell::new(0),
            previous: UnsafeCell::new(ptr::null_mut()),
            next: AtomicPtr::new(ptr::null_mut()),
            last_visitor: AtomicU64::new(REACHABLE),
            slots: std::array::from_fn(|_| Slot {
                stamp: AtomicU64::new(0),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            }),
        }))
    }
}

/// The number of a ticket's block.
#[inline(always)]
fn block_number(ticket: u64) -> u64 {
    ticket / SLOTS as u64
}

/// The place of a ticket's slot in its block.
#[inline(always)]
fn slot_index(ticket: u64) -> usize {
    (ticket % SLOTS as u64) as usize
}

/// `ordering`, unless the models plant this fault.
#[inline(always)]
fn unless_planted(fault: &str, ordering: Ordering) -> Ordering {
    if planted(fault) { Relaxed } else { ordering }
}

impl<T> Shared<T> {
    /// Appends the value; gives it back if the queue is closed. `between` is called where a producer
    /// that is taken off its processor is waited for.
    #[inline(always)]
    fn push(&self, value: T, between: impl FnOnce()) -> Result<(), T> {
        let tail = &self.producing.0.tail;
        let claimed = tail.fetch_add(1, unless_planted("claim", Acquire));
        if claimed & CLOSED != 0 {
            return Err(value);
        }
        let ticket = claimed & TICKETS;
        between();
        let block = self.find(block_number(ticket));
        let index = slot_index(ticket);
        // SAFETY: `find` answers the block of our ticket, which stays ours until we stamp the slot.
        let slot = unsafe { &(&(*block).slots)[index] };
        if index + AHEAD < SLOTS {
            prefetch::for_writing(ptr::from_ref(slot).wrapping_add(AHEAD));
        }
        // SAFETY: a ticket is claimed once, and the consumer comes to the slot only by the stamp.
        slot.value.with_mut(|value_at| unsafe {
            (*value_at).write(value);
        });
        slot.stamp
            .store(ticket + 1, unless_planted("publish", Release));
        // From here on no block may be touched.
        if claimed & ASLEEP != 0 {
            self.wake();
        }
        Ok(())
    }

    #[cold]
    fn wake(&self) {
        // Of several that come here, one takes the bit out and wakes.
        if self.producing.0.tail.fetch_and(!ASLEEP, Relaxed) & ASLEEP != 0 {
            self.unpark();
        }
    }

    /// For those who have acquired ASLEEP or WAITING.
    fn unpark(&self) {
        // SAFETY: the consumer wrote its handle before it set what the caller has acquired, and
        // never writes it again.
        self.sleeper.with(|sleeper| unsafe {
            if let Some(thread) = &*sleeper {
                thread.unpark();
            }
        });
    }

    /// Borrows `bytes` or more from the budget; 0 when it is used up.
    #[cold]
    fn borrow(&self, bytes: u64) -> u64 {
        if self.outstanding() >= self.budget {
            return 0;
        }
        let bytes = bytes.max(CREDIT.min(self.budget / 1024));
        self.producing.0.borrowed.fetch_add(bytes, Relaxed);
        bytes
    }

    /// Bytes borrowed and not released.
    fn outstanding(&self) -> u64 {
        let released = self.consuming.0.released.load(Relaxed);
        self.producing
            .0
            .borrowed
            .load(Relaxed)
            .saturating_sub(released)
    }

    /// The block with this number, for a producer that holds an unwritten ticket of it.
    #[inline]
    fn find(&self, number: u64) -> *mut Block<T> {
        let mut block = self.producing.0.block.load(Acquire);
        loop {
            // SAFETY: we hold an unwritten ticket, so that `head` stays at or below it. What
            // `block` pointed at after we had claimed, and the blocks that lie from there to ours
            // in either direction, have a `last_visitor` above our ticket (see `pass`) or lie
            // behind `head`'s: none of them is reused.
            let at = unsafe { (*block).number.with(|number| *number) };
            if at == number {
                return block;
            }
            block = if at < number {
                self.pass(block)
            } else {
                // SAFETY: as above; a block behind ours was linked behind another one.
                unsafe { (*block).previous.with(|previous| *previous) }
            };
        }
    }

    /// Goes to the block behind `block`, and moves the shared pointer there if it has not moved.
    #[cold]
    fn pass(&self, block: *mut Block<T>) -> *mut Block<T> {
        let producing = &self.producing.0;
        let next = self.next(block);
        if producing
            .block
            .compare_exchange(block, next, unless_planted("pass", Release), Relaxed)
            .is_ok()
        {
            // A claim that comes later in the order of `tail` acquires from this change, hence it
            // finds the pointer moved. It must be a change: a mere load could be an old value.
            let last_visitor = producing.tail.fetch_add(0, Release) & TICKETS;
            // SAFETY: as in `find`; and nobody reuses the block before this store.
            unsafe { (*block).last_visitor.store(last_visitor, Release) };
            // SAFETY: as in `find`; a place in it is computed, not accessed.
            let first = unsafe { &raw const (*next).slots }.cast::<Slot<T>>();
            (0..AHEAD).for_each(|slot| prefetch::for_writing(first.wrapping_add(slot)));
        }
        next
    }

    /// The block behind `block`, installed if there is none yet.
    fn next(&self, block: *mut Block<T>) -> *mut Block<T> {
        // SAFETY: as in `find`.
        let behind = unsafe { &(*block).next };
        let next = behind.load(Acquire);
        if !next.is_null() {
            return next;
        }
        let spare = self.spares.0.take();
        // SAFETY: the spare block is ours alone until it is linked; `block` as in `find`.
        unsafe {
            let number = (*block).number.with(|number| *number);
            (*spare).number.with_mut(|at| *at = number + 1);
            (*spare).previous.with_mut(|at| *at = block);
            (*spare).next.store(ptr::null_mut(), Relaxed);
            (*spare).last_visitor.store(REACHABLE, Relaxed);
        }
        let link = unless_planted("link", Release);
        match behind.compare_exchange(ptr::null_mut(), spare, link, Acquire) {
            Ok(_) => spare,
            Err(installed) => {
                self.spares.0.put(spare);
                installed
            }
        }
    }

    /// The slot of the next ticket, if its value is there. For the consumer, and for the last owner.
    #[inline]
    fn ready(&self, cursor: &mut Cursor<T>) -> Option<&Slot<T>> {
        let head = cursor.head;
        let index = slot_index(head);
        if index == 0 && head != 0 && !self.advance(cursor) {
            return None;
        }
        // SAFETY: the cursor's block is not reused before the cursor has left it, which takes
        // another call of the one that has the cursor.
        let slot = unsafe { &(&(*cursor.block).slots)[index] };
        (slot.stamp.load(Acquire) == head + 1).then_some(slot)
    }

    /// Takes the value of the next ticket, if it is there.
    #[inline]
    fn take(&self, cursor: &mut Cursor<T>) -> Option<T> {
        let slot = self.ready(cursor)?;
        cursor.head += 1;
        // SAFETY: the stamp says that the value of this ticket was written, and it is taken once:
        // `head` never comes back.
        let value = slot
            .value
            .with(|value| unsafe { (*value).assume_init_read() });
        Some(value)
    }

    /// Moves the cursor into the block of `head`, its slot 0; `false` if that is not there yet.
    fn advance(&self, cursor: &mut Cursor<T>) -> bool {
        // SAFETY: the cursor's block is not reused before the cursor has left it.
        let (number, next) = unsafe {
            let block = &*cursor.block;
            (block.number.with(|number| *number), &block.next)
        };
        if number != block_number(cursor.head) {
            let next = next.load(Acquire);
            if next.is_null() {
                return false;
            }
            cursor.block = next;
            self.retire(cursor);
        }
        true
    }

    /// Makes spare blocks of those that the cursor has left and no producer can see.
    fn retire(&self, cursor: &mut Cursor<T>) {
        while cursor.oldest != cursor.block {
            let block = cursor.oldest;
            // SAFETY: blocks from `oldest` on are linked, and neither spare nor freed.
            let (last_visitor, next) = unsafe {
                let block = &*block;
                (block.last_visitor.load(Acquire), block.next.load(Relaxed))
            };
            if last_visitor > cursor.head && !planted("retire") {
                return;
            }
            cursor.oldest = next;
            self.spares.0.put(block);
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.consuming.0.cursor.with_mut(|cursor| {
            // SAFETY: nobody else has the queue any more.
            let cursor = unsafe { &mut *cursor };
            // Every claimed ticket was written, or claimed after closing: values end where the
            // first stamp is missing.
            while !planted("drop") && self.take(cursor).is_some() {}
            let mut block = cursor.oldest;
            while !block.is_null() {
                // SAFETY: all blocks from `oldest` on are linked and come from `Block::boxed`.
                let boxed = unsafe { Box::from_raw(block) };
                block = boxed.next.load(Relaxed);
            }
        });
    }
}

/// An end that pushes, for one thread. Clones push into the same queue.
pub(crate) struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Bytes borrowed and not used.
    credit: Cell<u64>,
}

impl<T> Producer<T> {
    /// Appends `value`, which weighs `bytes`. Never waits.
    ///
    /// The value that reaches the budget is taken whole, and so is one of each producer that pushes
    /// at the same moment.
    ///
    /// # Errors
    /// Gives the value back with the reason.
    #[inline]
    pub(crate) fn push(&self, value: T, bytes: u64) -> Result<(), (T, Refused)> {
        let mut credit = self.credit.get();
        if bytes > credit {
            let lent = self.shared.borrow(bytes);
            if lent == 0 {
                return Err((value, Refused::Full));
            }
            credit += lent;
        }
        match self.shared.push(value, || ()) {
            Ok(()) => {
                self.credit.set(credit - bytes);
                Ok(())
            }
            Err(value) => {
                self.credit.set(credit);
                Err((value, Refused::Closed))
            }
        }
    }

    /// Bytes pushed and not released, with what producers have borrowed for their next pushes.
    pub(crate) fn outstanding(&self) -> u64 {
        self.shared.outstanding()
    }

    /// The bytes that may be outstanding.
    pub(crate) fn budget(&self) -> u64 {
        self.shared.budget
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            credit: Cell::new(0),
        }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        let borrowed = &self.shared.producing.0.borrowed;
        borrowed.fetch_sub(self.credit.get(), Relaxed);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("outstanding", &self.outstanding())
            .field("budget", &self.budget())
            .finish()
    }
}
