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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crossbeam_channel::never;

    use super::super::event::Subscribers;
    use super::super::shared::Clock;
    use super::*;
    use crate::binlog::{EventHeader, EventType, FormatDescription};
    use crate::gtid::{Gtid, GtidSet};
    use crate::sample::{Change, Item, Source};
    use crate::transaction::OwnedKind;

    fn intake(large: usize) -> Intake {
        let clock = Clock::Real(Instant::now());
        let shared = Arc::new(Shared::new(GtidSet::new(), Subscribers::default(), clock));
        let none = ChecksumAlgorithm::None;
        let mut intake = Intake::new(Limits::default(), none, shared, never(), large);
        let mut event = Vec::new();
        FormatDescription::new("9.7.4", none)
            .unwrap()
            .encode(0, 1, false, &mut event);
        intake.push(&event).unwrap();
        intake
    }

    /// Events of transactions of every kind and of different sizes.
    fn events() -> Vec<Vec<u8>> {
        let mut source = Source::new();
        let item = |id, length| {
            Change::Insert(Item {
                note: Some(vec![b'x'; length]),
                ..Item::new(id, "row")
            })
        };
        source.statement("CREATE TABLE t (a INT)");
        for rows in [1, 5, 2, 30, 1] {
            source.rows(&(0..rows).map(|id| item(id, 90)).collect::<Vec<_>>());
        }
        source.rows(&[]);
        source.statement(&format!("CREATE TABLE {} (a INT)", "t".repeat(500)));
        let batch = source.take();
        let mut events: Vec<Vec<u8>> = batch
            .iter()
            .flat_map(|transaction| transaction.events())
            .map(|(_, event)| event.to_vec())
            .collect();
        // A view change, with as much behind its view id as an old group puts there.
        source.statement("FLUSH TABLES");
        let gtid = source
            .take()
            .first()
            .unwrap()
            .events()
            .next()
            .unwrap()
            .1
            .to_vec();
        events.push(gtid);
        let mut body = [0; 40];
        body[..4].copy_from_slice(b"17:4");
        let mut body = body.to_vec();
        body.extend_from_slice(&7u64.to_le_bytes());
        body.extend_from_slice(&0u32.to_le_bytes());
        let mut header = EventHeader::new(EventType::VIEW_CHANGE, 0, 1);
        header.length = 19 + body.len() as u32;
        events.push([&header.encode()[..], &body].concat());
        events
    }

    type Transactions = Vec<(Gtid, OwnedKind, Vec<u8>)>;

    /// What comes out, put together, in how many parts, and the most that was held.
    fn run(large: usize) -> (Transactions, usize, usize) {
        let mut intake = intake(large);
        let (mut out, mut open) = (Transactions::new(), Vec::new());
        let (mut parts, mut most) = (0, 0);
        let events = events();
        for (number, event) in events.iter().enumerate() {
            intake.push(event).unwrap();
            most = most.max(intake.byte_size());
            while let Some(piece) = intake.take(|| number % 3 > 0) {
                match piece {
                    Piece::Batch(batch) => {
                        assert!(open.is_empty(), "within a transaction");
                        for transaction in batch.iter() {
                            let kind = OwnedKind::of(transaction.kind());
                            let bytes = transaction.bytes().to_vec();
                            out.push((*transaction.gtid(), kind, bytes));
                        }
                    }
                    Piece::Part(part) => {
                        assert_eq!(part.is_first, open.is_empty());
                        parts += 1;
                        open.extend_from_slice(&part.bytes);
                        if let Some(kind) = part.end {
                            out.push((part.gtid, kind, std::mem::take(&mut open)));
                        }
                    }
                    Piece::Abandoned => panic!("nobody said so"),
                }
            }
        }
        while let Some(Piece::Batch(batch)) = intake.take(|| false) {
            for transaction in batch.iter() {
                let kind = OwnedKind::of(transaction.kind());
                out.push((*transaction.gtid(), kind, transaction.bytes().to_vec()));
            }
        }
        (out, parts, most)
    }

    #[test]
    fn parts_of_any_size_make_the_same_transactions() {
        let (whole, parts, _) = run(usize::MAX);
        assert_eq!((whole.len(), parts), (9, 0));
        let kinds = [OwnedKind::Statement, OwnedKind::Dml, OwnedKind::Empty];
        for kind in kinds {
            assert!(whole.iter().any(|(_, known, _)| *known == kind), "{kind:?}");
        }
        let view = OwnedKind::ViewChange(b"17:4".to_vec());
        assert_eq!(whole.last().unwrap().1, view);
        for large in [1, 70, 100, 300, 1000, 4000] {
            let (out, parts, _) = run(large);
            assert!(out == whole, "large {large}");
            assert!(parts > 1, "large {large}");
        }
    }

    /// What is held of a large transaction does not grow with it, and nothing is copied again and again.
    #[test]
    fn little_of_a_large_transaction_is_held() {
        let mut intake = intake(64 << 10);
        let mut source = Source::new();
        let change = Change::Insert(Item {
            note: Some(vec![b'x'; 1000]),
            ..Item::new(1, "row")
        });
        source.rows(&vec![change; 20_000]);
        let batch = source.take();
        let transaction = batch.first().unwrap();
        assert!(transaction.bytes().len() > 20 << 20);
        let mut bytes = 0;
        for (_, event) in transaction.events() {
            intake.push(event).unwrap();
            assert!(intake.byte_size() < 66 << 10);
            while let Some(piece) = intake.take(|| true) {
                assert!(piece.byte_size() > 60 << 10 || bytes > 20 << 20);
                bytes += piece.byte_size();
            }
        }
        assert_eq!(bytes, transaction.bytes().len());
    }
}
