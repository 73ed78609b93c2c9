//! Parts: a transaction that is too large to be held comes piece by piece.
//!
//! ```text
//! | Gtid | Query BEGIN | Table_map | Write_rows || Write_rows | Write_rows || Write_rows | Xid |
//! first part                                    part                      last part: what it was
//! ```

use std::sync::Arc;

use super::{Batch, Transaction, TransactionKind};
use crate::binlog::{EventHeader, FormatDescription};
use crate::gtid::Gtid;

/// [`TransactionKind`] of a transaction whose bytes are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnedKind {
    Dml,
    Statement,
    XaPrepare,
    ViewChange(Vec<u8>),
    Empty,
}

impl OwnedKind {
    #[cfg(test)]
    pub(crate) fn of(kind: TransactionKind<'_>) -> Self {
        match kind {
            TransactionKind::Dml => Self::Dml,
            TransactionKind::Statement => Self::Statement,
            TransactionKind::XaPrepare => Self::XaPrepare,
            TransactionKind::ViewChange { view_id } => Self::ViewChange(view_id.to_vec()),
            TransactionKind::Empty => Self::Empty,
        }
    }

    pub(crate) fn as_kind(&self) -> TransactionKind<'_> {
        match self {
            Self::Dml => TransactionKind::Dml,
            Self::Statement => TransactionKind::Statement,
            Self::XaPrepare => TransactionKind::XaPrepare,
            Self::ViewChange(view_id) => TransactionKind::ViewChange { view_id },
            Self::Empty => TransactionKind::Empty,
        }
    }
}

/// Some whole events of one transaction, with those of the parts before it its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) gtid: Gtid,
    pub(crate) format: Arc<FormatDescription>,
    /// Events back to back, without checksums; those of the first part begin with the GTID event.
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_first: bool,
    /// What the transaction is: known with its last part.
    pub(crate) end: Option<OwnedKind>,
}

impl Part {
    pub(crate) fn as_slice(&self) -> PartSlice<'_> {
        PartSlice {
            gtid: &self.gtid,
            format: &self.format,
            bytes: &self.bytes,
            is_first: self.is_first,
            is_last: self.end.is_some(),
        }
    }
}

/// What a stream gives.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Whole transactions.
    Batch(Batch),
    /// The next part of one that is too large to be held; in a box, because a piece travels by value and
    /// nearly all of them are batches.
    Part(Box<Part>),
    /// The stream has ended within a transaction, whose parts are of no use.
    Abandoned,
}

impl Piece {
    /// Bytes of the events.
    pub(crate) fn byte_size(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.byte_size(),
            Self::Part(part) => part.bytes.len(),
            Self::Abandoned => 0,
        }
    }
}

/// A [`Part`], for those who write it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartSlice<'a> {
    pub(crate) gtid: &'a Gtid,
    pub(crate) format: &'a Arc<FormatDescription>,
    pub(crate) bytes: &'a [u8],
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

impl<'a> PartSlice<'a> {
    /// A whole transaction in parts of `size` bytes or one event more.
    pub(crate) fn of(
        transaction: &Transaction<'a>,
        size: usize,
    ) -> impl Iterator<Item = PartSlice<'a>> + use<'a> {
        let (gtid, format) = (transaction.gtid(), transaction.format());
        let mut rest = transaction.bytes();
        let mut is_first = true;
        std::iter::from_fn(move || {
            let mut end = 0;
            while end < size
                && let Some(Ok(header)) = rest.get(end..).map(EventHeader::decode)
            {
                end += header.length as usize;
            }
            let (bytes, behind) = rest.split_at_checked(end).filter(|_| end > 0)?;
            rest = behind;
            Some(PartSlice {
                gtid,
                format,
                bytes,
                is_first: std::mem::replace(&mut is_first, false),
                is_last: behind.is_empty(),
            })
        })
    }
}
