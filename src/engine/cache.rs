//! The cache thread: everything that waits for the applier, on its way there.
//!
//! ```text
//! Feed::deliver =lock-free queue=> feed: backlog, held in phase 1,      --+
//!                                  released in phase 2 and from then on   +=bounded channel=> applier
//! receiver      =bounded channel=> donor: backlog, passed on at once    --+
//! ```
//!
//! Each backlog has its head in memory and its tail in a relay log: of the channel
//! `group_replication_applier`, which a later run goes on with, and of `group_replication_recovery`,
//! which is dropped at each new donor. A member without a directory for relay logs has no tails: its
//! feed refuses more than fits in memory, and its donors wait.
//!
//! The thread waits in one place, at the queue, whose bell is rung by the [`Gate`](super::gate::Gate),
//! by receivers that have sent something, by the applier when it has taken something so that there is
//! room again, and by the controller when something is [due](Cache::due).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::backlog::Backlog;
use super::gate::Order;
use super::overflow::Overflow;
use super::shared::{Fact, Shared, Source, Turn, Work};
use crate::Result;
use crate::journal::Load;
use crate::journal::relay_log::RelayLogDirectory;
use crate::queue::Consumer;
use crate::transaction::{Batch, Part, Piece, Transaction};

/// Batches that are taken in before the cache looks at anything else.
const MOST_AT_ONCE: usize = 64;
/// How often relay logs are looked at for what may go.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Cache {
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Sender<Fact>,
    pub(super) queue: Consumer<Piece>,
    /// Its disconnection ends the thread.
    pub(super) orders: Receiver<Order>,
    pub(super) feed: Backlog,
    pub(super) donor: Overflow,
    /// Nobody else sends there.
    pub(super) applier: Sender<Work>,
    pub(super) passes: Passes,
    /// Bytes that the queue still counts although they were taken from it.
    pub(super) owed: u64,
    /// When the relay logs were looked at.
    pub(super) looked: Duration,
    /// Keeps other processes out.
    pub(super) _directory: Option<RelayLogDirectory>,
}

/// What of the feed's backlog may go to the applier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    Nothing,
    /// What an earlier run has left. Nothing is delivered before all of that is executed.
    RelayLog,
    Everything,
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

    /// Takes in what was delivered and sent, and passes one batch on if it may and can.
    pub(super) fn turn(&mut self) -> Turn {
        self.try_turn().unwrap_or_else(|error| {
            // A controller that is gone has stopped caring.
            let _ = self.facts.send(Fact::RelayLogFailed(error));
            Turn::Ended
        })
    }

    fn try_turn(&mut self) -> Result<Turn> {
        let now = self.shared.now();
        let mut turn = Turn::Idle;
        match self.orders.try_recv() {
            Ok(order) => {
                self.obey(order, now)?;
                turn = Turn::Worked;
            }
            Err(TryRecvError::Empty) => {}
            // The member is stopping.
            Err(TryRecvError::Disconnected) => {
                self.feed.close(now)?;
                return Ok(Turn::Ended);
            }
        }
        for _ in 0..MOST_AT_ONCE {
            let Some(piece) = self.queue.try_pop() else {
                break;
            };
            match piece {
                Piece::Batch(batch) => self.keep(batch, now)?,
                Piece::Part(part) => self.keep_part(part, now)?,
                Piece::Abandoned => self.feed.abandon_parts()?,
            }
            turn = Turn::Worked;
        }
        if self.donor.take_in(&self.shared, now)? {
            turn = Turn::Worked;
        }
        // The applier first: what it takes from memory need not wait for the disk.
        match self.offer()? {
            Turn::Idle => {}
            other => turn = other,
        }
        self.feed.write(now)?;
        if self.feed.can_spill() {
            // What does not fit is on the disk: the queue may fill up anew.
            self.queue.release(std::mem::take(&mut self.owed));
        }
        self.look(now)?;
        let due = self.due().map_or(u64::MAX, |due| due.as_nanos() as u64);
        self.shared.cache_due.store(due, Relaxed);
        Ok(turn)
    }

    fn obey(&mut self, order: Order, now: Duration) -> Result<()> {
        match order {
            Order::ApplyRelayLog => self.passes = Passes::RelayLog,
            Order::Begin(previous) => self.feed.begin(previous, now)?,
            Order::BeginSomewhere => self.feed.begin_somewhere(now)?,
            Order::Release => {
                if !self.feed.has_begun() {
                    // The cut was no GTID set; all before it is executed by now.
                    let executed = self.shared.executed.lock().clone();
                    self.feed.begin_late(executed, now)?;
                }
                self.passes = Passes::Everything;
                self.donor.clear()?;
            }
        }
        Ok(())
    }

    /// Takes in what was delivered, without what is executed already.
    fn keep(&mut self, mut batch: Batch, now: Duration) -> Result<()> {
        {
            let mut delivered = self.shared.delivered.lock();
            for transaction in batch.iter() {
                delivered.insert(transaction.gtid());
            }
        }
        self.owed += batch.byte_size() as u64;
        let before = batch.byte_size();
        {
            let executed = self.shared.executed.lock();
            let is_new = |transaction: &Transaction<'_>| !executed.contains(transaction.gtid());
            if !batch.iter().all(|transaction| is_new(&transaction)) {
                batch.retain(is_new);
            }
        }
        self.give_back(before - batch.byte_size());
        if batch.is_empty() {
            return Ok(());
        }
        self.shared
            .feed_delivered
            .fetch_add(batch.len() as u64, Relaxed);
        self.feed.push(batch, now)
    }

    /// Takes in part of a transaction that was delivered. The applier skips it if it is executed.
    fn keep_part(&mut self, part: Box<Part>, now: Duration) -> Result<()> {
        self.owed += part.bytes.len() as u64;
        if part.end.is_some() {
            self.shared.delivered.lock().insert(&part.gtid);
            self.shared.feed_delivered.fetch_add(1, Relaxed);
        }
        self.feed.push_part(part, now)
    }

    /// The queue need not count these bytes any more.
    fn give_back(&mut self, bytes: usize) {
        let bytes = self.owed.min(bytes as u64);
        self.owed -= bytes;
        self.queue.release(bytes);
    }

    /// Passes the next batch on, if the applier can take one.
    fn offer(&mut self) -> Result<Turn> {
        if self.applier.is_full() {
            return Ok(Turn::Idle);
        }
        let work = match self.donor.next(&self.shared)? {
            Some((source, load)) => Work { source, load },
            None if self.donor.has_next() => return Ok(Turn::Worked),
            None if self.passes == Passes::Nothing => return Ok(Turn::Idle),
            None => {
                let Some(load) = self.feed.next()? else {
                    let is_over = self.feed.is_empty();
                    return Ok(if is_over { Turn::Idle } else { Turn::Worked });
                };
                if self.passes == Passes::RelayLog && self.feed.is_empty() {
                    self.passes = Passes::Nothing;
                }
                if let Load::Batch(batch) = &load {
                    self.give_back(batch.byte_size());
                }
                Work {
                    source: Source::Feed,
                    load,
                }
            }
        };
        match self.applier.send(work) {
            Ok(()) => Ok(Turn::Worked),
            Err(_) => Ok(Turn::Ended),
        }
    }

    /// Now and then: lets go of what is executed.
    fn look(&mut self, now: Duration) -> Result<()> {
        if !self.has_files() || now < self.looked + LOOK {
            return Ok(());
        }
        self.looked = now;
        let executed = self.shared.executed.lock().clone();
        self.feed.purge(&executed)?;
        self.donor.purge(&executed)?;
        let bytes = self.feed.disk_bytes();
        self.shared.relay_log_bytes.store(bytes, Relaxed);
        Ok(())
    }

    /// Whether there are files that may have something to purge.
    fn has_files(&self) -> bool {
        self.feed.has_files() || self.donor.has_files()
    }

    /// When there is something to do though nothing happens.
    pub(super) fn due(&self) -> Option<Duration> {
        let look = self.has_files().then_some(self.looked + LOOK);
        [self.feed.sync_due(), self.donor.due(), look]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a turn would do something.
    #[cfg(test)]
    pub(super) fn is_ready(&mut self) -> bool {
        let now = self.shared.now();
        let can_pass_on = self.passes != Passes::Nothing && !self.feed.is_empty();
        self.queue.has_next()
            || !self.orders.is_empty()
            || self.due().is_some_and(|due| due <= now)
            || self.donor.takes(now)
            || (!self.applier.is_full() && (can_pass_on || self.donor.has_next()))
    }
}
