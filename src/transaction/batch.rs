//! Batches: whole transactions in one buffer, the unit in which work moves between threads.
//!
//! ```text
//! bytes:   | Gtid | Query BEGIN | Table_map | Write_rows | Xid || Gtid | Query DDL || ...
//! entries:  0 ----------------------------------------------->   -------------->
//! ```
//!
//! Events stand back to back without checksums, the length in each header reduced accordingly, as
//! in a Transaction_payload event. A batch that has been used is given back to the
//! [`Assembler`](super::Assembler), so that its memory serves again.

use std::sync::Arc;

use crate::binlog::{EventHeader, FormatDescription};
use crate::gtid::{Gtid, GtidSet};

/// What a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionKind<'a> {
    /// BEGIN, changes, commit: mostly row events; statements where the source logs them.
    Dml,
    /// One statement: DDL, XA COMMIT, XA ROLLBACK, account management, FLUSH.
    Statement,
    /// An XA transaction up to its XA PREPARE; XA COMMIT or XA ROLLBACK follow as statements.
    XaPrepare,
    /// A view of the group was installed; groups of 8.0 to 8.2 log it.
    ViewChange {
        /// The view's id, as `<epoch>:<number>`.
        view_id: &'a [u8],
    },
    /// BEGIN and COMMIT without anything between: it only uses up its GTID.
    Empty,
}

/// [`TransactionKind`] with the view id as a range of the batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredKind {
    Dml,
    Statement,
    XaPrepare,
    ViewChange { start: usize, end: usize },
    Empty,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) gtid: Gtid,
    pub(super) kind: StoredKind,
    pub(super) last_committed: i64,
    pub(super) sequence_number: i64,
    pub(super) immediate_commit_timestamp: u64,
    pub(super) original_commit_timestamp: u64,
    /// Index into the batch's formats.
    pub(super) format: usize,
}

/// Whole transactions in the order in which they were committed.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// One for each file of the source.
    pub(super) formats: Vec<Arc<FormatDescription>>,
}

impl Batch {
    /// A batch without transactions and without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all transactions.
    pub fn byte_size(&self) -> usize {
        self.entries
            .iter()
            .map(|entry| entry.end - entry.start)
            .sum()
    }

    /// Bytes of memory that it has for events.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The transactions in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Transaction<'_>> + ExactSizeIterator {
        self.entries
            .iter()
            .map(|entry| Transaction { batch: self, entry })
    }

    /// The transaction at `index`.
    pub fn get(&self, index: usize) -> Option<Transaction<'_>> {
        self.entries
            .get(index)
            .map(|entry| Transaction { batch: self, entry })
    }

    /// The first transaction.
    pub fn first(&self) -> Option<Transaction<'_>> {
        self.get(0)
    }

    /// The last transaction.
    pub fn last(&self) -> Option<Transaction<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Drops the transactions for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&Transaction<'_>) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keep(&Transaction { batch: self, entry }));
        self.entries = entries;
    }

    /// Keeps the first `length` transactions.
    pub fn truncate(&mut self, length: usize) {
        self.entries.truncate(length);
    }

    /// Drops all transactions and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.formats.clear();
    }

    /// The GTIDs of all transactions.
    pub fn gtids(&self) -> GtidSet {
        self.entries.iter().map(|entry| entry.gtid).collect()
    }

    /// Appends a copy of `transaction`, which may be of another batch.
    pub fn push(&mut self, transaction: &Transaction<'_>) {
        let start = self.bytes.len();
        let source = transaction.entry;
        self.bytes.extend_from_slice(transaction.bytes());
        let mut entry = source.clone();
        entry.start = start;
        entry.end = self.bytes.len();
        if let StoredKind::ViewChange {
            start: from,
            end: to,
        } = source.kind
        {
            entry.kind = StoredKind::ViewChange {
                start: from - source.start + start,
                end: to - source.start + start,
            };
        }
        entry.format = self.intern(transaction.format());
        self.entries.push(entry);
    }

    /// The index of `format`, which becomes the last one if it is of another file.
    pub(super) fn intern(&mut self, format: &Arc<FormatDescription>) -> usize {
        match self.formats.last() {
            Some(last) if Arc::ptr_eq(last, format) => {}
            _ => self.formats.push(Arc::clone(format)),
        }
        self.formats.len() - 1
    }
}

/// One whole transaction of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    batch: &'a Batch,
    entry: &'a Entry,
}

impl<'a> Transaction<'a> {
    /// Its GTID.
    #[inline]
    pub fn gtid(&self) -> &'a Gtid {
        &self.entry.gtid
    }

    /// What it is.
    #[inline]
    pub fn kind(&self) -> TransactionKind<'a> {
        match self.entry.kind {
            StoredKind::Dml => TransactionKind::Dml,
            StoredKind::Statement => TransactionKind::Statement,
            StoredKind::XaPrepare => TransactionKind::XaPrepare,
            StoredKind::Empty => TransactionKind::Empty,
            StoredKind::ViewChange { start, end } => TransactionKind::ViewChange {
                view_id: self.batch.bytes.get(start..end).unwrap_or_default(),
            },
        }
    }

    /// Sequence number of the newest transaction of the same file that must be committed before
    /// this one starts; 0 where there is none.
    pub fn last_committed(&self) -> i64 {
        self.entry.last_committed
    }

    /// Number of the transaction in the donor's file.
    pub fn sequence_number(&self) -> i64 {
        self.entry.sequence_number
    }

    /// When the server that ran it first committed it, in microseconds since 1970; 0 where unknown.
    pub fn original_commit_timestamp(&self) -> u64 {
        self.entry.original_commit_timestamp
    }

    /// When the donor committed it, in microseconds since 1970; 0 where unknown.
    pub fn immediate_commit_timestamp(&self) -> u64 {
        self.entry.immediate_commit_timestamp
    }

    /// How its events are read.
    #[inline]
    pub fn format(&self) -> &'a Arc<FormatDescription> {
        // An entry is only ever made with the index of a format of the same batch.
        &self.batch.formats[self.entry.format]
    }

    /// All its events, back to back, without checksums; the first is the GTID event.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.batch
            .bytes
            .get(self.entry.start..self.entry.end)
            .unwrap_or_default()
    }

    /// The transaction, one of rows, in a batch of its own, with others, one or several, in the place of some
    /// of its events, which are given by their number. The length that its GTID event says is that of before:
    /// whoever writes it to a log sets it.
    pub(crate) fn with_events(&self, others: &[(usize, Vec<u8>)]) -> Batch {
        let mut batch = Batch::new();
        batch.push(self);
        batch.bytes.clear();
        for (number, (_, event)) in self.events().enumerate() {
            let other = others.iter().find(|(at, _)| *at == number);
            let event = other.map_or(event, |(_, event)| event);
            batch.bytes.extend_from_slice(event);
        }
        if let Some(entry) = batch.entries.first_mut() {
            entry.end = batch.bytes.len();
        }
        batch
    }

    /// Its events one by one.
    #[inline]
    pub fn events(&self) -> Events<'a> {
        Events { rest: self.bytes() }
    }
}

/// The events of a [`Transaction`].
#[derive(Debug, Clone)]
pub struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Events<'a> {
    /// Whole events, back to back, without checksums.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = (EventHeader, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // The assembler made these bytes: lengths that do not add up cannot be.
        let header = EventHeader::decode(self.rest).ok()?;
        let (event, rest) = self.rest.split_at_checked(header.length as usize)?;
        self.rest = rest;
        Some((header, event))
    }
}
