//! A transaction that is written while it comes, because it is too large to be held.
//!
//! ```text
//! ... the last commit | Gtid | part | part | ...          `end` stays in front of it, no reader goes on
//!                     ^ end
//! ... the last commit | Gtid | part | part | last part |  the GTID event gets the length, `end` moves
//!                                                      ^ end
//! ```

use super::Journal;
use crate::transaction::{Events, PartSlice};
use crate::{Error, ErrorKind, Result};

/// Space that a transaction that is written while it comes gets at a time: what its source says of its
/// length takes no more than this for nothing.
const RESERVED_AHEAD: u64 = 64 << 20;

impl Journal {
    /// Writes part of a transaction that is too large to be held, behind what was appended before. With
    /// its last part it is committed; until then it is as if it were not there, and nothing else can be
    /// appended. A first part takes the place of parts that are no whole transaction.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], and the journal takes nothing more; [`ErrorKind::Internal`] for a part
    /// without those before it.
    pub(in crate::journal) fn append_part(&mut self, part: PartSlice<'_>) -> Result<()> {
        self.check_usable()?;
        if part.is_first {
            self.abandon_parts()?;
        }
        let mut events = Events::of(part.bytes);
        let mut in_parts = match self.in_parts.take() {
            None if part.is_first => {
                self.commit()?;
                self.prepare(part.format)?;
                self.clock.follow(part.format);
                self.pending
                    .begin_parts(part.format, &mut events, &mut self.clock)?
            }
            Some(in_parts) => in_parts,
            None => return Err(misplaced()),
        };
        self.failed = true;
        self.pending.part(&mut in_parts, events)?;
        let behind = self.pending.offset();
        if let Some((from, length)) = in_parts.reserve(behind, RESERVED_AHEAD) {
            self.reserve(from, length)?;
        }
        self.write_pending()?;
        self.pending.restart(behind);
        if !part.is_last {
            self.failed = false;
            self.in_parts = Some(in_parts);
            return Ok(());
        }
        let start = in_parts.start;
        if let Some(event) = in_parts.gtid_event() {
            self.disk
                .patch(&self.file, start, &event)
                .map_err(|error| self.io_error("write to the log", error))?;
        }
        if self.options.sync {
            self.sync_file()?;
        }
        self.failed = false;
        self.end.offset = behind;
        self.pending_gtids.push(*part.gtid);
        self.committed();
        Ok(())
    }

    /// Whether parts of a transaction are written, and its last one is not.
    pub(in crate::journal) fn is_in_parts(&self) -> bool {
        self.in_parts.is_some()
    }

    /// Takes back a transaction of which not all parts were written, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], and the journal takes nothing more.
    pub(in crate::journal) fn abandon_parts(&mut self) -> Result<()> {
        self.check_usable()?;
        if self.in_parts.take().is_some() {
            self.failed = true;
            self.disk
                .cut(&self.file, self.end.offset)
                .map_err(|error| self.io_error("cut the log", error))?;
            self.ahead = self.ahead.min(self.end.offset);
            self.failed = false;
            self.roll_back();
        }
        Ok(())
    }
}

#[cold]
pub(super) fn misplaced() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a part of a transaction is out of its order",
    )
}
