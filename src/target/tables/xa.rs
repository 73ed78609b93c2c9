//! XA transactions: prepared ones are kept until their second phase, over restarts, too.
//!
//! The log has an XA transaction in two parts with a GTID each: `XA START` to `XA_prepare`, and
//! later the statement `XA COMMIT` or `XA ROLLBACK`. The rows of the first part are locked on the source
//! in between, so that nothing here can touch them either, and they can be changed when the second part
//! comes.

use std::sync::Arc;

use crate::binlog::{ChecksumAlgorithm, EventHeader};
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Limits, Result};

/// Identifies an XA transaction: format number, global part, branch part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Xid {
    pub(crate) format_id: u32,
    pub(crate) gtrid: Vec<u8>,
    pub(crate) bqual: Vec<u8>,
}

/// The first part of an XA transaction: a batch of one transaction, to be executed by XA COMMIT.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) batch: Arc<Batch>,
}

impl Prepared {
    /// The transaction as it is kept in files: `u32` length, Format_description event | its events,
    /// without checksums.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where there is none.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let Some(transaction) = self.batch.first() else {
            return Err(Error::new(
                ErrorKind::Internal,
                "prepared XA transaction without events",
            ));
        };
        let format = (**transaction.format()).clone();
        let mut event = Vec::new();
        let format = format.with_checksum(ChecksumAlgorithm::None);
        format.encode(0, 0, false, &mut event);
        out.extend_from_slice(&(event.len() as u32).to_le_bytes());
        out.extend_from_slice(&event);
        out.extend_from_slice(transaction.bytes());
        Ok(())
    }

    /// # Errors
    /// [`ErrorKind::TargetCorrupt`] where the bytes are no whole transaction, and those of its events.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(not_whole)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (format, mut events) = rest.split_at_checked(length).ok_or_else(not_whole)?;
        assembler.push(format)?;
        while !events.is_empty() {
            let header = EventHeader::decode(events)?;
            let length = header.length as usize;
            let (event, rest) = events.split_at_checked(length).ok_or_else(not_whole)?;
            assembler.push(event)?;
            events = rest;
        }
        let batch = assembler.take(Batch::new());
        if batch.len() != 1 {
            return Err(not_whole());
        }
        Ok(Self {
            batch: Arc::new(batch),
        })
    }
}

#[cold]
fn not_whole() -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        "a prepared XA transaction is not whole",
    )
}

/// The second part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecondPhase {
    Commit(Xid),
    Rollback(Xid),
}

/// Reads `XA COMMIT X'..',X'..',n` and `XA ROLLBACK ...` as servers log them; `None` for anything else.
///
/// # Errors
/// [`ErrorKind::Malformed`] where one of these does not name its transaction in this form: passed over, it
/// would leave the transaction prepared for ever.
pub(crate) fn second_phase(statement: &[u8]) -> Result<Option<SecondPhase>> {
    let text = String::from_utf8_lossy(statement);
    let mut words = text.trim().splitn(3, char::is_whitespace);
    let is_xa = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("XA"));
    let verb = words.next().filter(|_| is_xa).unwrap_or_default();
    let end = if verb.eq_ignore_ascii_case("COMMIT") {
        SecondPhase::Commit
    } else if verb.eq_ignore_ascii_case("ROLLBACK") {
        SecondPhase::Rollback
    } else {
        return Ok(None);
    };
    match words.next().and_then(xid) {
        Some(xid) => Ok(Some(end(xid))),
        None => Err(Error::new(
            ErrorKind::Malformed,
            format!("the XA transaction cannot be told from: {text}"),
        )),
    }
}

fn xid(text: &str) -> Option<Xid> {
    let mut parts = text.split(',').map(str::trim);
    let gtrid = hex_literal(parts.next()?)?;
    let bqual = parts.next().map_or(Some(Vec::new()), hex_literal)?;
    let format_id = parts
        .next()
        .map_or(Some(1), |number| number.parse::<u64>().ok())?;
    parts.next().is_none().then_some(Xid {
        // The statement has the whole number, the event of its preparation the lower half.
        format_id: format_id as u32,
        gtrid,
        bqual,
    })
}

/// The bytes of `X'6162'`.
fn hex_literal(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix(['X', 'x'])?
        .strip_prefix('\'')?
        .strip_suffix('\'')?;
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_that_servers_log_are_read() {
        let xid = Xid {
            format_id: 1,
            gtrid: b"abc".to_vec(),
            bqual: Vec::new(),
        };
        assert_eq!(
            second_phase(b"XA COMMIT X'616263',X'',1").unwrap(),
            Some(SecondPhase::Commit(xid.clone()))
        );
        assert_eq!(
            second_phase(b"XA ROLLBACK X'616263',X'',1").unwrap(),
            Some(SecondPhase::Rollback(xid))
        );
        let Some(SecondPhase::Commit(large)) =
            second_phase(b"XA COMMIT X'61',X'62',5000000000").unwrap()
        else {
            panic!("it is a commit");
        };
        assert_eq!(large.format_id, 705_032_704, "as four bytes hold it");
        for other in [&b"XA END X'616263',X'',1"[..], b"COMMIT", b"\xff"] {
            assert_eq!(second_phase(other).unwrap(), None);
        }
        for unclear in [
            &b"XA COMMIT abc"[..],
            b"XA ROLLBACK X'6',X'',1",
            b"XA COMMIT",
        ] {
            assert_eq!(
                second_phase(unclear).unwrap_err().kind(),
                ErrorKind::Malformed
            );
        }
    }
}
