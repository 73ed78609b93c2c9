//! The cache thread: holds what the group delivers until phase 1 is over, then passes it on.
//!
//! ```text
//! Feed::deliver =lock-free queue=> cache: held =bounded channel=> applier
//!                                         in phase 1; released in phase 2 and from then on
//! ```
//!
//! The thread waits in one place, at the queue, whose bell is rung by the [`Gate`], and by the applier
//! when it has taken something so that there is room again. What is in the queue and what is held count together
//! against the queue's budget of bytes, until the applier has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::shared::{Shared, Source, Turn, Work};
use crate::queue::{Bell, Consumer};
use crate::transaction::Batch;

/// Batches that are taken in before the cache looks at anything else.
const MOST_AT_ONCE: usize = 64;

pub(super) struct Cache {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Consumer<Batch>,
    /// One message releases the cache; its disconnection ends the thread.
    pub(super) release: Receiver<()>,
    pub(super) is_released: bool,
    pub(super) held: VecDeque<Batch>,
    pub(super) applier: Sender<Work>,
}

/// The controller's hold on the cache, which ends when this is dropped.
pub(super) struct Gate {
    /// Emptied only by drop.
    release: Option<Sender<()>>,
    bell: Bell<Batch>,
}

impl Gate {
    /// A gate, and the end of it that the cache looks at when `bell` rings.
    pub(super) fn new(bell: Bell<Batch>) -> (Self, Receiver<()>) {
        let (release, released) = bounded(1);
        let release = Some(release);
        (Self { release, bell }, released)
    }

    /// Lets the cache pass on what it holds.
    pub(super) fn open(&self) {
        if let Some(release) = &self.release {
            // The cache thread is gone only after a panic, which is told.
            let _ = release.try_send(());
        }
        self.bell.ring();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.release.take());
        self.bell.ring();
    }
}

impl Cache {
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Turn::Worked => {}
                Turn::Idle => self.queue.wait(),
                Turn::Ended => return,
            }
        }
    }

    /// Takes in what was delivered, and passes one batch on if it may and can.
    pub(super) fn turn(&mut self) -> Turn {
        let mut turn = Turn::Idle;
        match self.release.try_recv() {
            Ok(()) => {
                self.is_released = true;
                turn = Turn::Worked;
            }
            Err(TryRecvError::Empty) => {}
            // The member is stopping.
            Err(TryRecvError::Disconnected) => return Turn::Ended,
        }
        for _ in 0..MOST_AT_ONCE {
            let Some(batch) = self.queue.try_pop() else {
                break;
            };
            self.keep(batch);
            turn = Turn::Worked;
        }
        match self.offer() {
            Turn::Idle => turn,
            other => other,
        }
    }

    fn keep(&mut self, batch: Batch) {
        {
            let mut delivered = self.shared.delivered.lock();
            for transaction in batch.iter() {
                delivered.insert(transaction.gtid());
            }
        }
        self.shared
            .feed_delivered
            .fetch_add(batch.len() as u64, Relaxed);
        self.held.push_back(batch);
    }

    /// Passes the next batch on, if the applier can take one.
    fn offer(&mut self) -> Turn {
        if !self.is_released {
            return Turn::Idle;
        }
        let Some(batch) = self.held.pop_front() else {
            return Turn::Idle;
        };
        let bytes = batch.byte_size() as u64;
        let work = Work {
            source: Source::Feed,
            batch,
        };
        match self.applier.try_send(work) {
            Ok(()) => {
                self.queue.release(bytes);
                Turn::Worked
            }
            Err(TrySendError::Full(work)) => {
                self.held.push_front(work.batch);
                Turn::Idle
            }
            Err(TrySendError::Disconnected(_)) => Turn::Ended,
        }
    }
}
