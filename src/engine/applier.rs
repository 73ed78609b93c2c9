//! The applier thread: batches in, group commits of the target out.
//!
//! What waits in the channel is put together into one group commit, as large as the target
//! [likes](Target::group_commit): a lone transaction is durable at once, a backlog shares its syncs.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, never};
use log::{debug, warn};

use super::cloning::CloneJob;
use super::shared::{BATCH_BYTES, Fact, Shared, Source, Turn, Work};
use crate::gtid::{Gtid, GtidSet};
use crate::journal::{Load, StoredTransaction};
use crate::queue::Bell;
use crate::target::Target;
use crate::transaction::{Batch, Piece, TransactionKind};
use crate::{Error, ErrorKind};

/// The pause before the first retry of a transaction; each further one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// And at most this long, as a replica's is.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a pause goes without a look at whether the member is being stopped.
const NAP: Duration = Duration::from_millis(50);

pub(super) struct Applier {
    pub(super) target: Box<dyn Target>,
    pub(super) shared: Arc<Shared>,
    /// How often a transaction is tried again that the target cannot execute now.
    pub(super) transaction_retries: u32,
    /// Ends when every sender is gone.
    pub(super) work: Receiver<Work>,
    /// Answered when nothing is being applied: what was cancelled before is gone then.
    pub(super) fences: Receiver<()>,
    /// Nothing is applied while the target's data is replaced.
    pub(super) clones: Receiver<CloneJob>,
    pub(super) recycle: Sender<Batch>,
    /// Tells the cache that there is room again in `work`.
    pub(super) taken: Bell<Piece>,
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
        let Work { source, load } = work;
        let is_cancelled = self.is_cancelled(source);
        match load {
            Load::Batch(mut batch) => {
                if !is_cancelled {
                    self.next = self.gather(source, &mut batch);
                }
                self.taken.ring();
                if is_cancelled {
                    self.recycle(batch);
                } else {
                    self.apply(source, batch);
                }
            }
            Load::Stored(transaction) => {
                self.taken.ring();
                if !is_cancelled {
                    self.apply_stored(source, transaction);
                }
            }
        }
    }

    /// Adds to `batch` what waits behind it. Gives back the first work that did not fit.
    fn gather(&self, source: Source, batch: &mut Batch) -> Option<Work> {
        let group = self.target.group_commit();
        loop {
            if batch.len() >= group.transactions || batch.byte_size() >= group.bytes {
                return None;
            }
            match self.work.try_recv() {
                Ok(Work {
                    source: from,
                    load: Load::Batch(more),
                }) if from == source => {
                    for transaction in more.iter() {
                        batch.push(&transaction);
                    }
                    self.recycle(more);
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
        match self.execute(source, &batch) {
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
            Err(error) => {
                *self.shared.executed.lock() = self.target.gtid_executed();
                self.tell_view_changes(&batch);
                self.failed(source, error);
            }
        }
    }

    /// Applies a transaction that is too large for a batch.
    fn apply_stored(&mut self, source: Source, mut transaction: StoredTransaction) {
        let gtid = *transaction.gtid();
        let is_executed = self.shared.executed.lock().contains(&gtid);
        if !is_executed {
            if let Err(error) = self.execute_stored(source, &mut transaction) {
                *self.shared.executed.lock() = self.target.gtid_executed();
                return self.failed(source, error);
            }
            self.shared.executed.lock().insert(&gtid);
            self.shared.applied.fetch_add(1, Relaxed);
        }
        if source == Source::Feed {
            self.shared.feed_applied.fetch_add(1, Relaxed);
        }
        self.tell_view_change(transaction.kind(), &gtid);
        self.tell_executed();
    }

    /// Has the target execute a batch; what it cannot do now is tried again.
    fn execute(&mut self, source: Source, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let result = self.target.apply(batch);
        self.retry(source, result, |target, executed| {
            let mut rest = batch.clone();
            rest.retain(|transaction| !executed.contains(transaction.gtid()));
            target.apply(&rest)
        })
    }

    fn execute_stored(
        &mut self,
        source: Source,
        transaction: &mut StoredTransaction,
    ) -> Result<(), Error> {
        let result = self.target.apply_stored(transaction);
        self.retry(source, result, |target, executed| {
            if executed.contains(transaction.gtid()) {
                return Ok(());
            }
            target.apply_stored(transaction)
        })
    }

    /// Tries again what the target cannot do now, as often as the setting says.
    fn retry(
        &mut self,
        source: Source,
        mut result: Result<(), Error>,
        mut again: impl FnMut(&mut dyn Target, &GtidSet) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for retry in 0..self.transaction_retries {
            match &result {
                Err(error) if error.kind() == ErrorKind::Transient => {
                    warn!("to be tried again: {error}");
                }
                _ => return result,
            }
            let pause = RETRY_PAUSE.saturating_mul(1 << retry.min(16));
            if !self.pause(source, pause.min(RETRY_PAUSE_MAX)) {
                return result;
            }
            let executed = self.target.gtid_executed();
            result = again(&mut *self.target, &executed);
        }
        result
    }

    /// Waits; false where nobody wants the work any more.
    fn pause(&self, source: Source, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if self.shared.stopping.load(Relaxed) || self.is_cancelled(source) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(NAP));
        }
    }

    /// Tells of the view changes that have been applied with `batch`, of which the beginning alone
    /// may be executed.
    fn tell_view_changes(&self, batch: &Batch) {
        for transaction in batch.iter() {
            self.tell_view_change(transaction.kind(), transaction.gtid());
        }
    }

    fn tell_view_change(&self, kind: TransactionKind<'_>, gtid: &Gtid) {
        if let TransactionKind::ViewChange { view_id } = kind
            && self.shared.executed.lock().contains(gtid)
        {
            let id = String::from_utf8_lossy(view_id).into_owned();
            self.tell(Fact::ViewChangeApplied(id));
        }
    }

    fn failed(&mut self, source: Source, error: Error) {
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
        if batch.capacity() > 2 * BATCH_BYTES {
            // Of an unusually large transaction: the memory of many such must not be kept.
            return;
        }
        // A full pool needs no more buffers.
        let _ = self.recycle.try_send(batch);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::super::event::Subscribers;
    use super::super::shared::Clock;
    use super::*;
    use crate::queue::queue;
    use crate::sample::{CREATE_TABLE, Source as Log};

    /// Executes one transaction a call, and cannot go on a few times.
    struct Busy {
        executed: GtidSet,
        refusals: u32,
    }

    impl Target for Busy {
        fn gtid_executed(&self) -> GtidSet {
            self.executed.clone()
        }

        fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
            for transaction in batch.iter() {
                assert!(
                    !self.executed.contains(transaction.gtid()),
                    "executed twice"
                );
                if self.refusals > 0 && !self.executed.is_empty() {
                    self.refusals -= 1;
                    return Err(Error::new(ErrorKind::Transient, "busy"));
                }
                self.executed.insert(transaction.gtid());
            }
            Ok(())
        }
    }

    fn run(refusals: u32) -> (Vec<Fact>, u64) {
        let mut log = Log::new();
        log.statement("CREATE DATABASE shop");
        log.statement(CREATE_TABLE);
        let (work, taken) = unbounded();
        let (recycle, _pool) = unbounded();
        let (facts, told) = unbounded();
        let (_group, delivered) = queue(1 << 20);
        let clock = Clock::Real(Instant::now());
        let shared = Shared::new(GtidSet::new(), Subscribers::default(), clock);
        let mut applier = Applier {
            target: Box::new(Busy {
                executed: GtidSet::new(),
                refusals,
            }),
            shared: Arc::new(shared),
            transaction_retries: 2,
            work: taken,
            fences: never(),
            clones: never(),
            recycle,
            taken: delivered.bell(),
            facts,
            next: None,
            feed_failed: false,
        };
        let load = Load::Batch(log.take());
        let source = Source::Feed;
        work.send(Work { source, load }).unwrap();
        assert_eq!(applier.turn(), Turn::Worked);
        let executed = applier.target.gtid_executed().count();
        drop(applier);
        (told.iter().collect(), executed)
    }

    #[test]
    fn what_a_target_cannot_do_now_is_tried_again_but_not_for_ever() {
        let (facts, executed) = run(2);
        assert!(matches!(facts[..], [Fact::Executed]), "{facts:?}");
        assert_eq!(executed, 2);
        let (facts, executed) = run(3);
        let [Fact::Executed, Fact::ApplyFailed { error, .. }] = &facts[..] else {
            panic!("{facts:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Transient);
        assert_eq!(executed, 1);
    }
}
