//! The cache thread: holds what the group delivers until phase 1 is over, then passes it on.
//!
//! ```text
//! Feed::deliver =bounded channel= cache: queue (bytes accounted in Room) =bounded channel= applier
//!                                       held in phase 1, released in phase 2 and from then on
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, select};

use super::shared::{Shared, Source, Work};
use crate::group::Room;
use crate::transaction::Batch;

/// How long the cache offers a batch to a busy applier before it looks at the feed again.
const OFFER: Duration = Duration::from_millis(20);

pub(super) struct Cache {
    pub(super) shared: Arc<Shared>,
    pub(super) room: Arc<Room>,
    pub(super) feed: Receiver<Batch>,
    /// One message releases the cache; its disconnection ends the thread.
    pub(super) release: Receiver<()>,
    pub(super) applier: Sender<Work>,
}

impl Cache {
    pub(super) fn run(self) {
        let mut queue = VecDeque::new();
        loop {
            select! {
                recv(self.feed) -> batch => match batch {
                    Ok(batch) => self.keep(&mut queue, batch),
                    Err(_) => return,
                },
                recv(self.release) -> released => match released {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
        loop {
            while let Ok(batch) = self.feed.try_recv() {
                self.keep(&mut queue, batch);
            }
            match queue.pop_front() {
                Some(batch) => {
                    if !self.offer(&mut queue, batch) {
                        return;
                    }
                }
                None => select! {
                    recv(self.feed) -> batch => match batch {
                        Ok(batch) => self.keep(&mut queue, batch),
                        Err(_) => return,
                    },
                    // Nothing more is ever sent there: this is the member stopping.
                    recv(self.release) -> _ => return,
                },
            }
        }
    }

    fn keep(&self, queue: &mut VecDeque<Batch>, batch: Batch) {
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
        queue.push_back(batch);
    }

    /// Passes the batch on, or puts it back at the head of the queue. `false` when nobody is there
    /// to take it any more.
    fn offer(&self, queue: &mut VecDeque<Batch>, batch: Batch) -> bool {
        let bytes = batch.byte_size();
        let work = Work {
            source: Source::Feed,
            batch,
        };
        match self.applier.send_timeout(work, OFFER) {
            Ok(()) => {
                self.room.subtract(bytes);
                true
            }
            Err(SendTimeoutError::Timeout(work)) => {
                queue.push_front(work.batch);
                true
            }
            Err(SendTimeoutError::Disconnected(_)) => false,
        }
    }
}
