//! The receiver without its socket: a donor's events in, batches of whole transactions out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::Receiver as Pool;

use super::shared::{BATCH_BYTES, BATCH_TRANSACTIONS, Shared};
use crate::binlog::ChecksumAlgorithm;
use crate::transaction::{Assembler, Batch};
use crate::{Limits, Result};

pub(super) struct Intake {
    assembler: Assembler,
    shared: Arc<Shared>,
    recycled: Pool<Batch>,
}

impl Intake {
    pub(super) fn new(
        limits: Limits,
        initial_checksum: ChecksumAlgorithm,
        shared: Arc<Shared>,
        recycled: Pool<Batch>,
    ) -> Self {
        Self {
            assembler: Assembler::new(limits, initial_checksum),
            shared,
            recycled,
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

    /// Whether a batch should go to the applier now: it is full, or there is nothing to wait for.
    /// `more` says whether another event is here already.
    pub(super) fn is_due(&self, more: impl FnOnce() -> bool) -> bool {
        let ready = self.assembler.ready();
        ready.len() >= BATCH_TRANSACTIONS
            || self.assembler.byte_size() >= BATCH_BYTES
            || (!ready.is_empty() && !more())
    }

    /// The whole transactions so far.
    pub(super) fn take(&mut self) -> Batch {
        let empty = self.recycled.try_recv().unwrap_or_default();
        self.assembler.take(empty)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn byte_size(&self) -> usize {
        self.assembler.byte_size()
    }
}
