//! The cache thread: holds what the group delivers until phase 1 is over, then passes it on.
//!
//! ```text
//! Feed::deliver =bounded channel= cache: queue (bytes accounted in Room) =bounded channel= applier
//!                                       held in phase 1, released in phase 2 and from then on
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError, never};

use super::shared::{Shared, Source, Turn, Work};
use crate::group::Room;
use crate::transaction::Batch;

pub(super) struct Cache {
    pub(super) shared: Arc<Shared>,
    pub(super) room: Arc<Room>,
    pub(super) feed: Receiver<Batch>,
    /// One message releases the cache; its disconnection ends the thread.
    pub(super) release: Receiver<()>,
    pub(super) is_released: bool,
    pub(super) queue: VecDeque<Batch>,
    pub(super) applier: Sender<Work>,
}

impl Cache {
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Turn::Worked => {}
                Turn::Idle => self.wait(),
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
        loop {
            match self.feed.try_recv() {
                Ok(batch) => self.keep(batch),
                Err(TryRecvError::Empty) => break,
                // The group has left; what it delivered is still to be passed on.
                Err(TryRecvError::Disconnected) => {
                    self.feed = never();
                    break;
                }
            }
            turn = Turn::Worked;
        }
        match self.offer() {
            Turn::Idle => turn,
            other => other,
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.feed);
        select.recv(&self.release);
        if self.is_released && !self.queue.is_empty() {
            select.send(&self.applier);
        }
        select.ready();
    }

    fn keep(&mut self, batch: Batch) {
        self.room.add(batch.byte_size());
        {
            let mut delivered = self.shared.delivered.lock();
            for transaction in batch.iter() {
                delivered.insert(transaction.gtid());
            }
        }
        self.shared
            .feed_delivered
            .fetch_add(batch.len() as u64, Relaxed);
        self.queue.push_back(batch);
    }

    /// Passes the next batch on, if the applier can take one.
    fn offer(&mut self) -> Turn {
        if !self.is_released {
            return Turn::Idle;
        }
        let Some(batch) = self.queue.pop_front() else {
            return Turn::Idle;
        };
        let bytes = batch.byte_size();
        let work = Work {
            source: Source::Feed,
            batch,
        };
        match self.applier.try_send(work) {
            Ok(()) => {
                self.room.subtract(bytes);
                Turn::Worked
            }
            Err(TrySendError::Full(work)) => {
                self.queue.push_front(work.batch);
                Turn::Idle
            }
            Err(TrySendError::Disconnected(_)) => Turn::Ended,
        }
    }
}
