//! The applier thread: batches in, group commits of the target out.
//!
//! What waits in the channel is put together into one group commit, up to
//! [`BATCH_TRANSACTIONS`] and [`BATCH_BYTES`]: a lone transaction is durable at once, a backlog
//! shares its syncs.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, never};
use log::debug;

use super::cloning::CloneJob;
use super::shared::{BATCH_BYTES, BATCH_TRANSACTIONS, Fact, Shared, Source, Turn, Work};
use crate::Error;
use crate::queue::Bell;
use crate::target::Target;
use crate::transaction::{Batch, TransactionKind};

pub(super) struct Applier {
    pub(super) target: Box<dyn Target>,
    pub(super) shared: Arc<Shared>,
    /// Ends when every sender is gone.
    pub(super) work: Receiver<Work>,
    /// Answered when nothing is being applied: what was cancelled before is gone then.
    pub(super) fences: Receiver<()>,
    /// Nothing is applied while the target's data is replaced.
    pub(super) clones: Receiver<CloneJob>,
    pub(super) recycle: Sender<Batch>,
    /// Tells the cache that there is room again in `work`.
    pub(super) taken: Bell<Batch>,
    pub(super) facts: Sender<Fact>,
    /// What was taken out of `work` and did not fit any more.
    pub(super) next: Option<Work>,
    /// Set when one of the group's own transactions failed: nothing may be applied behind it.
    pub(super) feed_failed: bool,
}

impl Applier {
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Turn::Worked => {}
                Turn::Idle => self.wait(),
                Turn::Ended => return,
            }
        }
    }

    /// Answers a fence, or applies what waits, up to one group commit.
    pub(super) fn turn(&mut self) -> Turn {
        if let Some(work) = self.next.take() {
            self.take(work);
            return Turn::Worked;
        }
        match self.fences.try_recv() {
            Ok(()) => {
                self.tell(Fact::Fenced);
                return Turn::Worked;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.fences = never(),
        }
        match self.clones.try_recv() {
            Ok(job) => {
                self.clone_donor(job);
                return Turn::Worked;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.clones = never(),
        }
        match self.work.try_recv() {
            Ok(work) => {
                self.take(work);
                Turn::Worked
            }
            Err(TryRecvError::Empty) => Turn::Idle,
            Err(TryRecvError::Disconnected) => Turn::Ended,
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.fences);
        select.recv(&self.clones);
        select.recv(&self.work);
        select.ready();
    }

    fn clone_donor(&mut self, job: CloneJob) {
        let fact = job.run(&mut *self.target);
        *self.shared.executed.lock() = self.target.gtid_executed();
        self.tell(fact);
    }

    fn take(&mut self, work: Work) {
        if self.is_cancelled(work.source) {
            self.taken.ring();
            return self.recycle(work.batch);
        }
        let Work { source, mut batch } = work;
        self.next = self.gather(source, &mut batch);
        self.taken.ring();
        self.apply(source, batch);
    }

    /// Adds to `batch` what waits behind it. Gives back the first work that did not fit.
    fn gather(&self, source: Source, batch: &mut Batch) -> Option<Work> {
        loop {
            if batch.len() >= BATCH_TRANSACTIONS || batch.byte_size() >= BATCH_BYTES {
                return None;
            }
            match self.work.try_recv() {
                Ok(work) if work.source == source => {
                    for transaction in work.batch.iter() {
                        batch.push(&transaction);
                    }
                    self.recycle(work.batch);
                }
                Ok(work) => return Some(work),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    fn apply(&mut self, source: Source, mut batch: Batch) {
        let delivered = batch.len() as u64;
        {
            let executed = self.shared.executed.lock();
            if batch
                .iter()
                .any(|transaction| executed.contains(transaction.gtid()))
            {
                batch.retain(|transaction| !executed.contains(transaction.gtid()));
            }
        }
        let result = if batch.is_empty() {
            Ok(())
        } else {
            self.target.apply(&batch)
        };
        match result {
            Ok(()) => {
                {
                    let mut executed = self.shared.executed.lock();
                    for transaction in batch.iter() {
                        executed.insert(transaction.gtid());
                    }
                }
                self.shared.applied.fetch_add(batch.len() as u64, Relaxed);
                if source == Source::Feed {
                    self.shared.feed_applied.fetch_add(delivered, Relaxed);
                }
                self.tell_view_changes(&batch);
                self.tell_executed();
                self.recycle(batch);
            }
            Err(error) => self.failed(source, &batch, error),
        }
    }

    /// Tells of the view changes that have been applied with `batch`, of which the beginning alone
    /// may be executed.
    fn tell_view_changes(&self, batch: &Batch) {
        for transaction in batch.iter() {
            if let TransactionKind::ViewChange { view_id } = transaction.kind()
                && self.shared.executed.lock().contains(transaction.gtid())
            {
                let id = String::from_utf8_lossy(view_id).into_owned();
                self.tell(Fact::ViewChangeApplied(id));
            }
        }
    }

    fn failed(&mut self, source: Source, batch: &Batch, error: Error) {
        *self.shared.executed.lock() = self.target.gtid_executed();
        self.tell_view_changes(batch);
        match source {
            Source::Donor(connection) => {
                self.shared.cancelled.fetch_max(connection, AcqRel);
            }
            Source::Feed => self.feed_failed = true,
        }
        debug!("applying failed: {error}");
        self.tell_executed();
        self.tell(Fact::ApplyFailed { source, error });
    }

    fn is_cancelled(&self, source: Source) -> bool {
        match source {
            Source::Donor(connection) => connection <= self.shared.cancelled.load(Acquire),
            Source::Feed => self.feed_failed,
        }
    }

    /// One such fact waits for the controller at most: it reads the set when it gets there.
    fn tell_executed(&self) {
        if !self.shared.executed_told.swap(true, AcqRel) {
            self.tell(Fact::Executed);
        }
    }

    fn tell(&self, fact: Fact) {
        // A controller that is gone has stopped caring.
        let _ = self.facts.send(fact);
    }

    fn recycle(&self, mut batch: Batch) {
        batch.clear();
        // A full pool needs no more buffers.
        let _ = self.recycle.try_send(batch);
    }
}
