//! The end that takes, how it waits, and how it is woken.

use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::sync::{self, Arc, ThreadId, planted};
use super::{ASLEEP, CLOSED, Cursor, QUIET, RUNG, Shared, TICKETS, WAITING, unless_planted};

/// Spare blocks that the consumer provides, one each time that it sleeps, so that the first backlog
/// costs no call either.
const PROVIDED: usize = if cfg!(loom) {
    0
} else if cfg!(miri) {
    2
} else {
    128
};
/// How often the consumer looks before it parks; each look is a pause instruction, all together
/// take some hundred nanoseconds.
const LOOKS: usize = if cfg!(loom) { 1 } else { 16 };
/// How long the consumer parks without asking to be woken.
const DOZE: Duration = Duration::from_micros(100);
/// How often it does so before it asks: with the system's own slack of 50 us for each, producers
/// that push at least every 2 ms wake nobody.
const DOZES: usize = if cfg!(loom) { 1 } else { 16 };

/// Wakes the consumer for something that is not in the queue.
pub(crate) struct Bell<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Bell<T> {
    /// Makes [`Consumer::wait`] return, once for any number of rings that it has not answered yet.
    pub(crate) fn ring(&self) {
        let bell = &self.shared.consuming.0.bell;
        if bell.swap(RUNG, unless_planted("ring", AcqRel)) == WAITING {
            self.shared.unpark();
        }
    }
}

/// The end that takes. Dropping it closes the queue.
pub(crate) struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The thread that has waited, and that will be woken.
    thread: Option<ThreadId>,
}

impl<T> Consumer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        let thread = None;
        Self { shared, thread }
    }

    /// A bell for this consumer.
    pub(crate) fn bell(&self) -> Bell<T> {
        Bell {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The next value if it is there. Never waits.
    #[inline]
    pub(crate) fn try_pop(&mut self) -> Option<T> {
        self.with_cursor(|shared, cursor| shared.take(cursor))
    }

    /// Whether [`try_pop`](Self::try_pop) has a value.
    #[inline]
    pub(crate) fn has_next(&mut self) -> bool {
        self.with_cursor(|shared, cursor| shared.ready(cursor).is_some())
    }

    fn with_cursor<R>(&mut self, work: impl FnOnce(&Shared<T>, &mut Cursor<T>) -> R) -> R {
        let shared = &*self.shared;
        // SAFETY: the cursor is the consumer's, and there is one, borrowed mutably.
        shared
            .consuming
            .0
            .cursor
            .with_mut(|cursor| work(shared, unsafe { &mut *cursor }))
    }

    /// Waits until there is a value or a [`Bell`] was rung, which this return answers.
    ///
    /// Looks for some hundred nanoseconds, then parks. Always to be called on the same thread.
    pub(crate) fn wait(&mut self) {
        if !self.look_for_a_moment() {
            self.sleep();
        }
        // Answered by a change, so that the ring whose data we see is the one that is answered.
        let bell = &self.shared.consuming.0.bell;
        bell.swap(QUIET, Acquire);
    }

    fn look_for_a_moment(&mut self) -> bool {
        for _ in 0..LOOKS {
            if self.is_wanted() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn sleep(&mut self) {
        self.attach();
        self.shared.spares.0.provide(PROVIDED);
        let bell = &self.shared.consuming.0.bell;
        if bell
            .compare_exchange(QUIET, WAITING, unless_planted("wait", Release), Relaxed)
            .is_err()
        {
            return;
        }
        for _ in 0..DOZES {
            sync::park_timeout(DOZE);
            if self.is_wanted() {
                return;
            }
        }
        loop {
            let tail = &self.shared.producing.0.tail;
            let tail = tail.fetch_or(ASLEEP, unless_planted("sleep", Release));
            if !self.is_in_flight(tail) || planted("in-flight") {
                // Whoever claims next wakes us, and so does a ring.
                sync::park();
            } else if !self.has_next() {
                sync::park_timeout(DOZE);
            }
            // We may have been woken by an old unpark, or by time, or not have slept at all.
            let tail = &self.shared.producing.0.tail;
            tail.fetch_and(!ASLEEP, Relaxed);
            if self.is_wanted() {
                return;
            }
        }
    }

    /// Whether there is a value or a ring.
    #[inline]
    fn is_wanted(&mut self) -> bool {
        self.shared.consuming.0.bell.load(Relaxed) == RUNG || self.has_next()
    }

    /// Whether a ticket that was not taken had been claimed when `tail` was read.
    fn is_in_flight(&mut self, tail: u64) -> bool {
        self.with_cursor(|_, cursor| tail & TICKETS > cursor.head)
    }

    /// Makes this the thread that is woken.
    ///
    /// # Panics
    /// Another thread has waited before: it would be the one that is woken.
    fn attach(&mut self) {
        let current = sync::current();
        match self.thread {
            Some(thread) => assert_eq!(thread, current.id(), "a consumer waits on one thread"),
            None => {
                self.thread = Some(current.id());
                // SAFETY: nobody reads it before ASLEEP or WAITING is set, which only the consumer
                // does, after this; and this is done once.
                self.shared.sleeper.with_mut(|sleeper| unsafe {
                    *sleeper = Some(current);
                });
            }
        }
    }

    /// Bytes pushed and not released, with what producers have borrowed for their next pushes.
    pub(crate) fn outstanding(&self) -> u64 {
        self.shared.outstanding()
    }

    /// Frees `bytes` of what was taken in the account.
    pub(crate) fn release(&mut self, bytes: u64) {
        // Nobody else writes it.
        let released = &self.shared.consuming.0.released;
        released.store(released.load(Relaxed) + bytes, Relaxed);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.producing.0.tail.fetch_or(CLOSED, Relaxed);
        // Producers may keep the queue for long, but need not keep what is in it. A value that is
        // being written right now goes with the queue.
        self.with_cursor(|shared, cursor| while shared.take(cursor).is_some() {});
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
