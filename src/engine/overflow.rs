//! What donors have sent and the applier has not taken: the recovery channel on its way.
//!
//! A donor that cannot write drops the connection after its `net_write_timeout`, so that a receiver
//! may not wait for the applier without end. It may wait for a moment, though: most of the time the
//! applier is only slower than the donor, and what the donor keeps need not be written to a disk here.
//! So a receiver waits at most [`PATIENCE`], and then [`ALLOWANCE`] goes to the disk, again and again,
//! until the applier has taken everything from there.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, never};

use super::backlog::Backlog;
use super::shared::{Received, Shared, Source};
use crate::Result;
use crate::gtid::GtidSet;
use crate::journal::Load;
use crate::journal::relay_log::RelayLog;
use crate::transaction::Piece;

/// How long a receiver waits for the applier at most, where there is a relay log.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that go to the disk after each wait: enough to keep a donor busy whose buffers are large.
const ALLOWANCE: usize = 16 << 20;
/// Pieces that are taken in at once: parts of a large transaction never fill the memory.
const MOST_AT_ONCE: usize = 16;

pub(super) struct Overflow {
    inbox: Receiver<Received>,
    backlog: Backlog,
    /// The connection that everything in the backlog came from.
    connection: u32,
    /// Since when there has been no room, or when the last allowance was given.
    full_since: Option<Duration>,
    /// Bytes that may still go to the disk.
    allowance: usize,
    /// Up to when the time was counted in which a receiver had to wait.
    waited_until: Option<Duration>,
}

impl Overflow {
    /// `budget` is in bytes of memory; those that wait in the inbox and for the applier come on top.
    ///
    /// # Errors
    /// Where `log` cannot be emptied.
    pub(super) fn new(
        inbox: Receiver<Received>,
        budget: usize,
        log: Option<RelayLog>,
    ) -> Result<Self> {
        let mut backlog = Backlog::new(budget, log);
        // The log is dropped with its connection: it may begin with anything.
        backlog.begin(GtidSet::new(), Duration::ZERO)?;
        Ok(Self {
            inbox,
            backlog,
            connection: 0,
            full_since: None,
            allowance: 0,
            waited_until: None,
        })
    }

    /// Takes in what receivers have sent, as far as there is room or it has waited long enough.
    /// Whether there was something.
    pub(super) fn take_in(&mut self, shared: &Shared, now: Duration) -> Result<bool> {
        let mut has_worked = false;
        for _ in 0..MOST_AT_ONCE {
            if !self.is_willing(now) {
                break;
            }
            match self.inbox.try_recv() {
                Ok(received) => self.push(received, shared, now)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.inbox = never();
                    break;
                }
            }
            has_worked = true;
        }
        self.backlog.write(now)?;
        self.count_wait(shared, now);
        Ok(has_worked)
    }

    fn push(&mut self, received: Received, shared: &Shared, now: Duration) -> Result<()> {
        let Received { connection, piece } = received;
        if connection != self.connection {
            self.clear()?;
            self.connection = connection;
        }
        let spilled = self.backlog.spilled_bytes();
        match piece {
            Piece::Batch(batch) => self.backlog.push(batch, now)?,
            Piece::Part(part) => self.backlog.push_part(part, now)?,
            Piece::Abandoned => self.backlog.abandon_parts()?,
        }
        let spilled = self.backlog.spilled_bytes() - spilled;
        shared.overflow_bytes.fetch_add(spilled, Relaxed);
        self.allowance = self.allowance.saturating_sub(spilled as usize);
        Ok(())
    }

    /// Whether the next batch may be taken.
    fn is_willing(&mut self, now: Duration) -> bool {
        if self.backlog.has_room() {
            self.full_since = None;
            self.allowance = 0;
            return true;
        }
        if !self.backlog.can_spill() {
            return false;
        }
        let since = *self.full_since.get_or_insert(now);
        if now >= since + PATIENCE {
            self.full_since = Some(now);
            self.allowance = ALLOWANCE;
        }
        self.allowance > 0
    }

    /// Whether a receiver waits although it could be spared that.
    fn is_full(&self) -> bool {
        !self.inbox.is_empty() && !self.backlog.has_room() && self.allowance == 0
    }

    fn count_wait(&mut self, shared: &Shared, now: Duration) {
        if let Some(from) = self.waited_until.take() {
            let time = now.saturating_sub(from).as_nanos() as u64;
            shared.stalled_nanos.fetch_add(time, Relaxed);
        }
        self.waited_until = self.is_full().then_some(now);
    }

    /// When [`take_in`](Self::take_in) has to be called though nothing comes.
    pub(super) fn due(&self) -> Option<Duration> {
        if !self.is_full() || !self.backlog.can_spill() {
            return None;
        }
        self.full_since.map(|since| since + PATIENCE)
    }

    /// The oldest transactions, and where they are from.
    pub(super) fn next(&mut self, shared: &Shared) -> Result<Option<(Source, Load)>> {
        if self.backlog.is_empty() {
            return Ok(None);
        }
        if self.connection <= shared.cancelled.load(Acquire) {
            self.clear()?;
            return Ok(None);
        }
        let source = Source::Donor(self.connection);
        Ok(self.backlog.next()?.map(|load| (source, load)))
    }

    /// Removes files whose content is executed.
    pub(super) fn purge(&mut self, executed: &GtidSet) -> Result<()> {
        self.backlog.purge(executed)
    }

    /// Whether there are files that may have something to purge.
    pub(super) fn has_files(&self) -> bool {
        self.backlog.has_files()
    }

    /// Forgets everything, as at each new donor.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.full_since = None;
        self.allowance = 0;
        self.backlog.clear()
    }

    /// Whether [`take_in`](Self::take_in) would find something.
    #[cfg(test)]
    pub(super) fn takes(&mut self, now: Duration) -> bool {
        !self.inbox.is_empty() && self.is_willing(now)
    }

    /// Whether [`next`](Self::next) would find something, or begin to look at it.
    pub(super) fn has_next(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Bytes held in memory.
    #[cfg(test)]
    pub(super) fn head_bytes(&self) -> usize {
        self.backlog.head_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crossbeam_channel::unbounded;

    use super::super::event::Subscribers;
    use super::super::shared::Clock;
    use super::*;
    use crate::Limits;
    use crate::journal::SyncRelayLog;
    use crate::journal::relay_log::{RECOVERY_CHANNEL, RelayLogDirectory, RelayLogOptions};
    use crate::sample::{Change, Item, Source as Log};
    use crate::transaction::{OwnedKind, Part, PartSlice};

    fn own(part: PartSlice<'_>) -> Piece {
        Piece::Part(Box::new(Part {
            gtid: *part.gtid,
            format: part.format.clone(),
            bytes: part.bytes.to_vec(),
            is_first: part.is_first,
            end: part.is_last.then_some(OwnedKind::Dml),
        }))
    }

    /// A donor is given up while it sends a large transaction, of which the next parts are on their way
    /// already: they are nothing, and the next donor's are a transaction.
    #[test]
    fn parts_behind_what_was_thrown_away_are_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let options = RelayLogOptions {
            directory: place.path().to_owned(),
            segment_bytes: 1 << 20,
            server_id: 1,
            large_bytes: 100,
            limits: Limits::default(),
        };
        let directory = RelayLogDirectory::open(options).unwrap();
        let log = directory.empty_log(RECOVERY_CHANNEL, SyncRelayLog::Never);
        let (sender, inbox) = unbounded();
        let mut overflow = Overflow::new(inbox, 10_000, Some(log.unwrap())).unwrap();
        let clock = Clock::Real(Instant::now());
        let shared = Shared::new(GtidSet::new(), Subscribers::default(), clock);
        let mut source = Log::new();
        source.rows(&[Change::Insert(Item::new(1, [b'x'; 200]))]);
        let batch = source.take();
        let whole = batch.first().unwrap();
        let send = |connection, from: usize, to: usize| {
            let parts = PartSlice::of(&whole, 50).map(own);
            for piece in parts.take(to).skip(from) {
                sender.send(Received { connection, piece }).unwrap();
            }
        };
        send(1, 0, 2);
        assert!(overflow.take_in(&shared, Duration::ZERO).unwrap());
        overflow.clear().unwrap();
        send(1, 2, 9);
        assert!(overflow.take_in(&shared, Duration::ZERO).unwrap());
        assert!(overflow.next(&shared).unwrap().is_none());
        send(2, 0, 9);
        assert!(overflow.take_in(&shared, Duration::ZERO).unwrap());
        let found =
            std::iter::repeat_with(|| overflow.next(&shared).unwrap()).find_map(|next| next);
        let Some((Source::Donor(2), Load::Stored(mut stored))) = found else {
            panic!("no large transaction");
        };
        assert_eq!(stored.load().unwrap().gtids(), batch.gtids());
        assert!(overflow.next(&shared).unwrap().is_none());
    }
}
