//! The receiver without its socket: a donor's events in, batches of whole transactions out, and parts of
//! those that are too large to be held.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Receiver as Pool;

use super::shared::{BATCH_BYTES, BATCH_TRANSACTIONS, Shared};
use crate::binlog::ChecksumAlgorithm;
use crate::transaction::{Assembler, Batch, Piece};
use crate::{Limits, Result};

pub(super) struct Intake {
    assembler: Assembler,
    shared: Arc<Shared>,
    recycled: Pool<Batch>,
    /// A transaction of so many bytes goes out in parts.
    large: usize,
}

impl Intake {
    pub(super) fn new(
        limits: Limits,
        initial_checksum: ChecksumAlgorithm,
        shared: Arc<Shared>,
        recycled: Pool<Batch>,
        large: usize,
    ) -> Self {
        Self {
            assembler: Assembler::new(limits, initial_checksum),
            shared,
            recycled,
            large,
        }
    }

    /// Takes the stream's next event.
    pub(super) fn push(&mut self, event: &[u8]) -> Result<()> {
        // One receiver runs at a time and nobody else writes the number: no locked addition for each
        // event is needed.
        let received = &self.shared.received_bytes;
        received.store(received.load(Relaxed) + event.len() as u64, Relaxed);
        self.assembler.push(event)?;
        Ok(())
    }

    /// What should go to the cache now, to be asked for after each event until there is nothing: whole
    /// transactions when they are enough for a batch or there is nothing to wait for (`more` says
    /// whether another event is here already), then part of a large transaction.
    #[inline]
    pub(super) fn take(&mut self, more: impl FnOnce() -> bool) -> Option<Piece> {
        let ready = self.assembler.ready();
        if !ready.is_empty() {
            let is_due = ready.len() >= BATCH_TRANSACTIONS
                || self.assembler.byte_size() >= BATCH_BYTES
                || !more();
            return is_due.then(|| {
                let empty = self.recycled.try_recv().unwrap_or_default();
                Piece::Batch(self.assembler.take(empty))
            });
        }
        let enough = if self.assembler.is_in_parts() {
            BATCH_BYTES.min(self.large)
        } else {
            self.large
        };
        if self.assembler.open_bytes() < enough && !self.assembler.has_last_part() {
            return None;
        }
        let part = self.assembler.take_part(Vec::new())?;
        Some(Piece::Part(Box::new(part)))
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn byte_size(&self) -> usize {
        self.assembler.byte_size()
    }
}
