//! Transactions as they stand in a segment: the logical clock is made anew, and the rest as in any binary
//! log.

use std::sync::Arc;

use crate::binlog::{ChecksumAlgorithm, EventHeader, FormatDescription, GtidEvent, LogComposer};
pub(crate) use crate::binlog::{FORMAT_FLAGS_OFFSET, MAGIC};
use crate::gtid::GtidSet;
use crate::transaction::{Events, Transaction};
use crate::{Error, ErrorKind, Result};

/// The checksum behind each event of our files.
pub(crate) const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// Bytes that are going to be written to a segment, and where.
#[derive(Debug)]
pub(crate) struct Composer {
    log: LogComposer,
}

impl Default for Composer {
    fn default() -> Self {
        Self {
            log: LogComposer::new(CHECKSUM),
        }
    }
}

impl Composer {
    /// Forgets all bytes, keeps the memory, and goes on at `start`.
    pub(crate) fn restart(&mut self, start: u64) {
        self.log.restart(start);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.log.bytes()
    }

    /// Offset in the file behind the bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.log.offset()
    }

    /// Gives memory back that an unusually large group took.
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        self.log.shrink_to(capacity);
    }

    /// The beginning of a segment: magic, format description, the GTIDs of all segments before it.
    pub(crate) fn segment_head(
        &mut self,
        format: &FormatDescription,
        previous: &GtidSet,
        own: &EventHeader,
    ) {
        self.log.head(format, previous, own, true);
    }

    /// The last event of a segment.
    pub(crate) fn rotate(&mut self, next_file: &str, own: &EventHeader) {
        self.log.rotate(next_file, own);
    }

    /// All events of a transaction.
    ///
    /// # Errors
    /// Nothing is appended then: [`ErrorKind::Limit`] where an event with its checksum is longer than
    /// its header can say, and what reading the GTID event says.
    pub(crate) fn transaction(
        &mut self,
        transaction: &Transaction<'_>,
        clock: &mut Clock,
    ) -> Result<()> {
        let mut events = transaction.events();
        let Some((gtid_header, gtid_event)) = events.next() else {
            return Err(Error::new(
                ErrorKind::Internal,
                "transaction without events",
            ));
        };
        let mut gtid = GtidEvent::decode(transaction.format(), gtid_event)?;
        let before = (clock.sequence_number, clock.floor, clock.source_number);
        (gtid.last_committed, gtid.sequence_number) =
            clock.next(gtid.last_committed, gtid.sequence_number);
        let appended = self.log.transaction(&gtid_header, gtid, events);
        if appended.is_err() {
            (clock.sequence_number, clock.floor, clock.source_number) = before;
        }
        appended
    }

    /// The GTID event of a transaction that is written while it comes, so that its length is not known
    /// yet: it says what the source has said.
    pub(crate) fn begin_parts(
        &mut self,
        format: &FormatDescription,
        events: &mut Events<'_>,
        clock: &mut Clock,
    ) -> Result<InParts> {
        let Some((header, gtid_event)) = events.next() else {
            return Err(Error::new(
                ErrorKind::Internal,
                "transaction without events",
            ));
        };
        let mut gtid = GtidEvent::decode(format, gtid_event)?;
        (gtid.last_committed, gtid.sequence_number) =
            clock.next(gtid.last_committed, gtid.sequence_number);
        let before = self.bytes().len();
        let start = self.log.offset();
        self.log.event(&header, &gtid.body())?;
        Ok(InParts {
            start,
            header,
            gtid,
            length: self.bytes().len() - before,
            rest: 0,
            reserved: start,
        })
    }

    /// Events of a transaction that is written while it comes, behind its GTID event.
    pub(crate) fn part(&mut self, in_parts: &mut InParts, events: Events<'_>) -> Result<()> {
        let before = self.bytes().len();
        for (header, event) in events {
            let body = event.get(EventHeader::SIZE..).unwrap_or_default();
            self.log.event(&header, body)?;
        }
        in_parts.rest += (self.bytes().len() - before) as u64;
        Ok(())
    }
}

/// A transaction that is written while it comes.
#[derive(Debug)]
pub(crate) struct InParts {
    /// Where it begins in the file.
    pub(crate) start: u64,
    header: EventHeader,
    gtid: GtidEvent,
    /// Bytes of its GTID event.
    length: usize,
    /// Bytes of the events behind that.
    rest: u64,
    /// Where the space ends that it was given.
    reserved: u64,
}

impl InParts {
    /// The space to be given to it, offset and length, before it is written up to `behind`, if it has not
    /// enough: `step` more than it needs now, but not more than its source says of its length.
    pub(crate) fn reserve(&mut self, behind: u64, step: u64) -> Option<(u64, u64)> {
        if behind <= self.reserved {
            return None;
        }
        let announced = self.start.saturating_add(self.gtid.transaction_length);
        let to = announced.min(behind + step).max(behind);
        let from = std::mem::replace(&mut self.reserved, to);
        Some((from, to - from))
    }

    /// The GTID event with the length that the transaction was found to have. `None` where it says so
    /// already, and where it would not fit in its place (its numbers have as many bytes as they need):
    /// nobody depends on this one.
    pub(crate) fn gtid_event(mut self) -> Option<Vec<u8>> {
        let announced = self.gtid.transaction_length;
        if announced == 0 {
            return None;
        }
        self.gtid.set_transaction_length(self.rest, CHECKSUM.size());
        let mut composer = LogComposer::new(CHECKSUM);
        composer.restart(self.start);
        composer.event(&self.header, &self.gtid.body()).ok()?;
        let event = composer.bytes();
        (self.gtid.transaction_length != announced && event.len() == self.length)
            .then(|| event.to_vec())
    }
}

/// The logical clock of a segment: which transactions may run beside each other.
///
/// Numbers count from 1 in each segment. `last_committed` of a transaction names the newest one that
/// must be committed before it starts; the distance between both is kept from the source as long as
/// its transactions come without a gap, and never reaches behind the place where they did not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// The number that was given last.
    sequence_number: i64,
    /// No distance reaches behind this one.
    floor: i64,
    /// The last number in the source's log.
    source_number: i64,
    /// The source's format description: another one is another file or server, with a clock of its own.
    source: Option<Arc<FormatDescription>>,
}

impl Clock {
    /// A clock that has given `sequence_number` numbers.
    pub(crate) fn at(sequence_number: u64) -> Self {
        let number = i64::try_from(sequence_number).unwrap_or(i64::MAX - 1);
        Self {
            sequence_number: number,
            floor: number,
            source_number: 0,
            source: None,
        }
    }

    pub(crate) fn sequence_number(&self) -> u64 {
        self.sequence_number as u64
    }

    /// Tells which log the transactions come from.
    pub(crate) fn follow(&mut self, source: &Arc<FormatDescription>) {
        let same = self.source.as_ref();
        if !same.is_some_and(|same| Arc::ptr_eq(same, source)) {
            self.source = Some(Arc::clone(source));
            self.source_number = 0;
            self.floor = self.sequence_number;
        }
    }

    /// `last_committed` and `sequence_number` here of a transaction that has these in its source.
    fn next(&mut self, last_committed: i64, sequence_number: i64) -> (i64, i64) {
        let before = self.sequence_number;
        self.sequence_number += 1;
        let follows = self.source_number.checked_add(1) == Some(sequence_number);
        self.source_number = sequence_number;
        if !follows || sequence_number < 1 {
            self.floor = before;
        }
        let known = last_committed >= 0 && last_committed < sequence_number;
        let here = if known {
            let distance = sequence_number - last_committed;
            (self.sequence_number - distance).max(self.floor)
        } else {
            before
        };
        (here, self.sequence_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_kept_while_the_source_counts_on() {
        let mut clock = Clock::at(0);
        assert_eq!(clock.next(0, 1), (0, 1));
        assert_eq!(clock.next(0, 2), (0, 2));
        assert_eq!(clock.next(1, 3), (1, 3));
        // 4 was skipped: 5 may run beside 4, but what stands before the gap must be finished.
        assert_eq!(clock.next(1, 5), (3, 4));
        assert_eq!(clock.next(3, 6), (3, 5));
        assert_eq!(clock.next(5, 7), (4, 6));
        // A new file of the source.
        assert_eq!(clock.next(0, 1), (6, 7));
        assert_eq!(clock.next(0, 2), (6, 8));
        // No clock at all.
        assert_eq!(clock.next(0, 0), (8, 9));
        assert_eq!(clock.next(0, 0), (9, 10));
    }

    #[test]
    fn a_reopened_segment_counts_on_without_reaching_back() {
        let mut clock = Clock::at(41);
        assert_eq!(clock.next(3, 4), (41, 42));
        assert_eq!(clock.next(3, 5), (41, 43));
    }
}
