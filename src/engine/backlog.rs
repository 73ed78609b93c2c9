//! A backlog: transactions that wait for the applier, in their order; the head in memory, the tail on
//! disk.
//!
//! ```text
//!            head, at most `budget` bytes          tail: unread part of a relay log
//! next() <- | batch | batch | ... | batch | <- - - | ............................ | <- push()
//! ```
//!
//! As long as nothing is on disk and memory has room, what comes goes to the head; after that it goes
//! to the disk until all of that has been read back. Without a relay log everything stays in memory,
//! and whoever fills the backlog has to look whether it [has room](Backlog::has_room).
//!
//! Parts of a large transaction always go to the disk, and are one transaction when the last one has
//! come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Result;
use crate::gtid::{Gtid, GtidSet, Tag, Tsid, Uuid};
use crate::journal::Load;
use crate::journal::relay_log::RelayLog;
use crate::transaction::{Batch, Part, Piece};

/// In the place of a set that is not known: no server has executed it, so that a relay log that comes behind
/// it is never gone on with.
const NOWHERE: Gtid = Gtid {
    tsid: Tsid {
        uuid: Uuid([0; 16]),
        tag: Tag::NONE,
    },
    gno: 1,
};

#[derive(Debug)]
pub(super) struct Backlog {
    /// Parts wait here only for [`begin`](Self::begin).
    head: VecDeque<Piece>,
    head_bytes: usize,
    budget: usize,
    log: Option<RelayLog>,
    /// Everything that was ever pushed and all that comes before it: what has to be executed before
    /// the next transaction. Nothing can be written before it is known.
    pushed: Option<GtidSet>,
    /// What came before the first one is not known: [`NOWHERE`] stands for it.
    is_somewhere: bool,
    /// Bytes ever pushed that went to the disk alone.
    spilled_bytes: u64,
}

impl Backlog {
    /// An empty backlog, or with what `log` holds; `budget` is in bytes, of which one batch may use
    /// more.
    pub(super) fn new(budget: usize, log: Option<RelayLog>) -> Self {
        Self {
            head: VecDeque::new(),
            head_bytes: 0,
            budget,
            log,
            pushed: None,
            is_somewhere: false,
            spilled_bytes: 0,
        }
    }

    /// What is pushed from now on, and what was pushed and has not been written, comes behind
    /// `previous`: the relay log can be written. What was in it is thrown away.
    pub(super) fn begin(&mut self, previous: GtidSet, now: Duration) -> Result<()> {
        if let Some(log) = &mut self.log {
            log.clear()?;
        }
        self.pushed = Some(previous);
        self.head_bytes = 0;
        for piece in std::mem::take(&mut self.head) {
            match piece {
                Piece::Batch(batch) => self.push(batch, now)?,
                Piece::Part(part) => self.push_part(part, now)?,
                Piece::Abandoned => self.abandon_parts()?,
            }
        }
        Ok(())
    }

    /// As [`begin`](Self::begin), where it is not known yet what comes before. What does not fit in
    /// memory can go to the disk from now on, but is of no use to a later run. A relay log that is to
    /// outlive a crash waits until it is [known](Self::begin_late).
    pub(super) fn begin_somewhere(&mut self, now: Duration) -> Result<()> {
        if self.log.as_ref().is_some_and(|log| !log.takes_all()) {
            self.begin([NOWHERE].into_iter().collect(), now)?;
            self.is_somewhere = true;
        }
        Ok(())
    }

    /// Now it is known: everything that came before the first one is in `executed`.
    pub(super) fn begin_late(&mut self, executed: GtidSet, now: Duration) -> Result<()> {
        if !std::mem::take(&mut self.is_somewhere) {
            return self.begin(executed, now);
        }
        if let Some(pushed) = &mut self.pushed {
            *pushed = pushed.subtract(&[NOWHERE].into_iter().collect());
            pushed.extend(&executed);
        }
        Ok(())
    }

    /// Whether [`begin`](Self::begin) was called, or will not have to be.
    pub(super) fn has_begun(&self) -> bool {
        self.pushed.is_some() && !self.is_somewhere
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.head.clear();
        self.head_bytes = 0;
        match &mut self.log {
            Some(log) => log.clear(),
            None => Ok(()),
        }
    }

    /// Adds transactions at the end.
    pub(super) fn push(&mut self, batch: Batch, now: Duration) -> Result<()> {
        let bytes = batch.byte_size();
        let has_room = self.has_room();
        if let (Some(log), Some(pushed)) = (&mut self.log, &mut self.pushed) {
            if log.takes_all() || !has_room {
                // A log that does not hold everything must not go on behind a gap: the next
                // transactions to be written are the first ones of a new log.
                if !log.is_begun() || (!log.takes_all() && log.unread() == 0) {
                    log.begin(pushed.clone(), now)?;
                }
                log.append(&batch, has_room)?;
            }
            pushed.extend(&batch.gtids());
            if !has_room {
                self.spilled_bytes += bytes as u64;
                return Ok(());
            }
        }
        self.head_bytes += bytes;
        self.head.push_back(Piece::Batch(batch));
        Ok(())
    }

    /// Adds part of a transaction at the end. Only for those who [can spill](Self::can_spill), or will.
    pub(super) fn push_part(&mut self, part: Box<Part>, now: Duration) -> Result<()> {
        let (Some(log), Some(pushed)) = (&mut self.log, &mut self.pushed) else {
            self.head_bytes += part.bytes.len();
            self.head.push_back(Piece::Part(part));
            return Ok(());
        };
        if part.is_first {
            // As in `push`.
            if !log.is_begun() || (!log.takes_all() && log.unread() == 0) {
                log.begin(pushed.clone(), now)?;
            }
        }
        log.append_part(&part)?;
        self.spilled_bytes += part.bytes.len() as u64;
        if part.end.is_some() {
            pushed.insert(&part.gtid);
        }
        Ok(())
    }

    /// Takes back a transaction whose last part will not come, if there is one.
    pub(super) fn abandon_parts(&mut self) -> Result<()> {
        match &mut self.log {
            Some(log) if self.pushed.is_some() => log.abandon_parts(),
            Some(_) => {
                self.head.push_back(Piece::Abandoned);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The oldest transactions. `None` although it is not empty: a large one on the disk was looked at
    /// in part, and the next call goes on.
    pub(super) fn next(&mut self) -> Result<Option<Load>> {
        while let Some(piece) = self.head.pop_front() {
            self.head_bytes -= piece.byte_size();
            if let Piece::Batch(batch) = piece {
                return Ok(Some(Load::Batch(batch)));
            }
        }
        match &mut self.log {
            Some(log) => log.read(Batch::new()),
            None => Ok(None),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.unread() == 0
    }

    /// Whether what comes next stays in memory.
    pub(super) fn has_room(&self) -> bool {
        self.head_bytes < self.budget && self.unread() == 0
    }

    /// Whether what does not fit in memory can go to the disk.
    pub(super) fn can_spill(&self) -> bool {
        self.log.is_some() && self.pushed.is_some()
    }

    /// Transactions that are on the disk alone.
    pub(super) fn unread(&self) -> u64 {
        self.log.as_ref().map_or(0, RelayLog::unread)
    }

    /// Writes what was pushed, and waits for the disk when the relay log's setting says so.
    pub(super) fn write(&mut self, now: Duration) -> Result<()> {
        match &mut self.log {
            Some(log) => log.write(now),
            None => Ok(()),
        }
    }

    /// When [`write`](Self::write) has to be called again though nothing is pushed.
    pub(super) fn sync_due(&self) -> Option<Duration> {
        self.log.as_ref().and_then(RelayLog::sync_due)
    }

    /// Waits for the disk, for the last time, where the setting asks for syncs at all.
    pub(super) fn close(&mut self, now: Duration) -> Result<()> {
        match &mut self.log {
            Some(log) if log.takes_all() => log.sync(now),
            _ => Ok(()),
        }
    }

    /// Whether there are files that may have something to purge.
    pub(super) fn has_files(&self) -> bool {
        self.log.as_ref().is_some_and(RelayLog::is_begun)
    }

    /// Removes files whose content is executed.
    pub(super) fn purge(&mut self, executed: &GtidSet) -> Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if log.unread() == 0 && !log.takes_all() && log.is_executed(executed) {
            return log.clear();
        }
        log.purge(executed)
    }

    /// Bytes of the files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, RelayLog::byte_size)
    }

    /// Bytes that were ever pushed and went to the disk alone.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    /// Bytes held in memory.
    #[cfg(test)]
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::Limits;
    use crate::journal::SyncRelayLog;
    use crate::journal::relay_log::{APPLIER_CHANNEL, RelayLogDirectory, RelayLogOptions};
    use crate::sample::{Change, Item, Source};

    fn directory(place: &std::path::Path) -> RelayLogDirectory {
        RelayLogDirectory::open(RelayLogOptions {
            directory: place.to_owned(),
            segment_bytes: 5000,
            server_id: 1,
            large_bytes: 400,
            limits: Limits::default(),
        })
        .unwrap()
    }

    fn next_of(backlog: &mut Backlog) -> Option<Load> {
        loop {
            let found = backlog.next().unwrap();
            if found.is_some() || backlog.is_empty() {
                return found;
            }
        }
    }

    fn loaded(load: Load) -> Batch {
        match load {
            Load::Batch(batch) => batch,
            Load::Stored(mut stored) => stored.load().unwrap(),
        }
    }

    /// The numbers of the transactions in a batch.
    fn numbers(batch: &Batch) -> Vec<u64> {
        batch
            .iter()
            .map(|transaction| transaction.gtid().gno)
            .collect()
    }

    /// Nobody knows what comes before: memory is bounded all the same, but the next run has nothing of
    /// it, until it is known.
    #[test]
    fn a_backlog_that_begins_somewhere_is_of_no_use_to_the_next_run() {
        for is_known in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let log = directory(place.path())
                .empty_log(APPLIER_CHANNEL, SyncRelayLog::Never)
                .unwrap();
            let mut backlog = Backlog::new(500, Some(log));
            let mut source = Source::new();
            source.skip_to(10);
            backlog.begin_somewhere(Duration::ZERO).unwrap();
            assert!(backlog.can_spill() && !backlog.has_begun());
            let push = |backlog: &mut Backlog, source: &mut Source| {
                source.rows(&[Change::Insert(Item::new(1, [b'x'; 200]))]);
                backlog.push(source.take(), Duration::ZERO).unwrap();
            };
            for _ in 0..5 {
                push(&mut backlog, &mut source);
            }
            assert!(backlog.head_bytes() < 1000 && backlog.unread() > 2);
            let before: GtidSet = (1..=10).map(|gno| source.gtid(gno)).collect();
            let mut executed = before.clone();
            if is_known {
                backlog.begin_late(before, Duration::ZERO).unwrap();
                assert!(backlog.has_begun());
                while let Some(load) = next_of(&mut backlog) {
                    executed.extend(&loaded(load).gtids());
                }
                assert_eq!(executed.count(), 15);
                for _ in 0..5 {
                    push(&mut backlog, &mut source);
                }
                // What is in memory is gone with the process, if it is not executed.
                while backlog.head_bytes() > 0 {
                    let load = next_of(&mut backlog).unwrap();
                    executed.extend(&loaded(load).gtids());
                }
                assert!(backlog.unread() > 0);
            }
            backlog.write(Duration::ZERO).unwrap();
            let unread = backlog.unread();
            drop(backlog);
            let (_, unapplied) = directory(place.path())
                .reopen_log(APPLIER_CHANNEL, SyncRelayLog::Never, &executed)
                .unwrap();
            let expected = if is_known { unread } else { 0 };
            assert_eq!(unapplied.count(), expected);
        }
    }

    /// Whatever is pushed, taken and written in whatever turn: the order is kept, and memory bounded.
    /// At the end the process dies, and the next one finds what it may apply.
    #[test]
    fn everything_comes_out_in_order_and_memory_is_bounded() {
        let (mut found, mut spilled) = (0, 0);
        for seed in 0..100 {
            let mut random = StdRng::seed_from_u64(seed);
            let place =
                tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
            let sync = [SyncRelayLog::Never, SyncRelayLog::Each][random.random_range(0..2)];
            let log = directory(place.path())
                .empty_log(APPLIER_CHANNEL, sync)
                .unwrap();
            let budget = random.random_range(500..5000);
            let mut backlog = Backlog::new(budget, Some(log));
            let mut source = Source::new();
            let (mut pushed, mut taken) = (0, 0);
            let mut executed = GtidSet::new();
            let mut largest = 0;
            let begins_at = random.random_range(0..20);
            for step in 0..150 {
                if step == begins_at {
                    backlog.begin(GtidSet::new(), Duration::ZERO).unwrap();
                }
                if random.random_range(0..2) == 0 {
                    for _ in 0..random.random_range(1..4) {
                        pushed += 1;
                        let length = random.random_range(0..250);
                        source.rows(&[Change::Insert(Item::new(1, vec![b'x'; length]))]);
                    }
                    let batch = source.take();
                    largest = largest.max(batch.byte_size());
                    backlog.push(batch, Duration::ZERO).unwrap();
                } else if step >= begins_at
                    && let Some(load) = next_of(&mut backlog)
                {
                    let batch = loaded(load);
                    for number in numbers(&batch) {
                        taken += 1;
                        assert_eq!(number, taken, "seed {seed}");
                    }
                    executed.extend(&batch.gtids());
                }
                if random.random_range(0..4) == 0 {
                    backlog.write(Duration::ZERO).unwrap();
                    backlog.purge(&executed).unwrap();
                }
                if step >= begins_at {
                    assert!(backlog.head_bytes() < budget + largest);
                }
            }
            spilled += backlog.spilled_bytes();
            backlog.write(Duration::ZERO).unwrap();
            let rest: u64 = pushed - taken;
            drop(backlog);
            let (log, unapplied) = directory(place.path())
                .reopen_log(APPLIER_CHANNEL, sync, &executed)
                .unwrap();
            // A log that takes everything has it; another one has it only if nothing before it was
            // in memory.
            let all = unapplied.count() == rest;
            assert!(all || sync == SyncRelayLog::Never, "seed {seed}");
            assert!(all || unapplied.is_empty(), "seed {seed}");
            let mut backlog = Backlog::new(budget, Some(log));
            let mut next = Vec::new();
            while let Some(load) = next_of(&mut backlog) {
                next.extend(numbers(&loaded(load)));
            }
            next.retain(|number| *number > taken);
            assert_eq!(next.len() as u64, unapplied.count());
            assert!(
                next.iter()
                    .copied()
                    .eq(taken + 1..=taken + unapplied.count())
            );
            found += unapplied.count();
        }
        assert!(found > 100 && spilled > 100_000, "{found} {spilled}");
    }
}
