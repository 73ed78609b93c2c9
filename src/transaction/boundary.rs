//! Where transactions begin and end: the rules of the server's own boundary parser.
//!
//! ```text
//!            GTID event              BEGIN, XA START
//!   Outside ------------> AfterGtid ------------------> Open
//!      ^                   |  |                          | changes: stays
//!      |    one statement  |  | Intvar, Rand, User var   |
//!      +-------------------+  v                          |
//!      |    one statement  AfterVariables                |
//!      +---------------------+                           |
//!      |    Xid, XA_prepare, COMMIT, ROLLBACK            |
//!      +-------------------------------------------------+
//! ```
//!
//! Two rules are stricter than the server's: every transaction has a GTID (the server also lets
//! transactions without one pass), and row events need a BEGIN (the server takes a table map right
//! behind a GTID for a whole transaction).

use crate::binlog::EventType;

/// Where in a transaction the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Between transactions.
    #[default]
    Outside,
    /// Behind the GTID event.
    AfterGtid,
    /// Behind variables of a statement that is a transaction by itself.
    AfterVariables,
    /// Behind BEGIN or XA START.
    Open,
}

/// What an event means for the boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A GTID event.
    Gtid,
    /// BEGIN, XA START.
    Begin,
    /// Xid, COMMIT, ROLLBACK.
    End,
    /// XA_prepare.
    XaPrepare,
    /// XA ROLLBACK.
    XaRollback,
    /// Intvar, Rand, User var.
    Variable,
    /// Another statement: a transaction by itself, or part of an open one.
    Statement,
    /// Part of an open transaction, and only that: rows and what belongs to them.
    Change,
    /// A view change: a transaction by itself in old logs, or part of an open one.
    ViewChange,
    /// May stand anywhere in a transaction and changes nothing: the text of a statement.
    Remark,
}

/// What an event did to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    Inside,
    /// It is whole.
    Complete,
}

impl State {
    /// Takes the next part; `None` where it may not stand here.
    #[inline]
    pub(super) fn step(&mut self, part: Part) -> Option<Step> {
        use State::{AfterGtid, AfterVariables, Open, Outside};
        let (next, step) = match (*self, part) {
            (Outside, Part::Gtid) => (AfterGtid, Step::Inside),
            (AfterGtid, Part::Begin) => (Open, Step::Inside),
            (AfterGtid | AfterVariables, Part::Variable) => (AfterVariables, Step::Inside),
            (AfterGtid | AfterVariables, Part::Statement | Part::ViewChange) => {
                (Outside, Step::Complete)
            }
            (AfterGtid | Open, Part::XaRollback) => (Outside, Step::Complete),
            (Open, Part::End | Part::XaPrepare) => (Outside, Step::Complete),
            (Open, Part::Variable | Part::Statement | Part::Change | Part::ViewChange) => {
                (Open, Step::Inside)
            }
            (state @ (AfterGtid | AfterVariables | Open), Part::Remark) => (state, Step::Inside),
            _ => return None,
        };
        *self = next;
        Some(step)
    }

    /// Where the stream is, for an error message.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Outside => "between transactions",
            Self::AfterGtid => "behind a GTID event",
            Self::AfterVariables => "behind a statement's variables",
            Self::Open => "in an open transaction",
        }
    }
}

/// What a statement means for the boundaries, by the same comparisons as the server's.
#[inline]
pub(super) fn statement_part(statement: &[u8]) -> Part {
    match statement {
        b"BEGIN" => Part::Begin,
        b"COMMIT" => Part::End,
        _ if statement.starts_with(b"XA START") => Part::Begin,
        _ if statement.starts_with(b"XA ROLLBACK") => Part::XaRollback,
        _ if is_rollback(statement) => Part::End,
        _ => Part::Statement,
    }
}

/// Whether the statement takes back the whole transaction.
pub(crate) fn is_rollback(statement: &[u8]) -> bool {
    statement.starts_with(b"ROLLBACK") && !statement.starts_with(b"ROLLBACK TO ")
}

/// What an event of `event_type` means; `None` for statements, and for all that belongs to no
/// transaction.
#[inline]
pub(super) fn event_part(event_type: EventType) -> Option<Part> {
    Some(match event_type {
        EventType::XID => Part::End,
        EventType::XA_PREPARE => Part::XaPrepare,
        EventType::INTVAR | EventType::RAND | EventType::USER_VAR => Part::Variable,
        EventType::TABLE_MAP
        | EventType::WRITE_ROWS
        | EventType::UPDATE_ROWS
        | EventType::DELETE_ROWS
        | EventType::PARTIAL_UPDATE_ROWS
        | EventType::WRITE_ROWS_V1
        | EventType::UPDATE_ROWS_V1
        | EventType::DELETE_ROWS_V1
        | EventType::BEGIN_LOAD_QUERY
        | EventType::APPEND_BLOCK
        | EventType::DELETE_FILE => Part::Change,
        EventType::EXECUTE_LOAD_QUERY => Part::Statement,
        EventType::ROWS_QUERY => Part::Remark,
        EventType::VIEW_CHANGE => Part::ViewChange,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(parts: &[Part]) -> Option<Vec<Step>> {
        let mut state = State::default();
        parts.iter().map(|part| state.step(*part)).collect()
    }

    #[test]
    fn the_shapes_that_a_real_server_writes_are_whole_transactions() {
        for shape in [
            &[Part::Gtid, Part::Begin, Part::Change, Part::End][..],
            &[
                Part::Gtid,
                Part::Begin,
                Part::Statement,
                Part::Change,
                Part::End,
            ],
            &[Part::Gtid, Part::Begin, Part::End],
            &[Part::Gtid, Part::Statement],
            &[Part::Gtid, Part::Variable, Part::Variable, Part::Statement],
            &[
                Part::Gtid,
                Part::Begin,
                Part::Change,
                Part::Statement,
                Part::XaPrepare,
            ],
            &[Part::Gtid, Part::XaRollback],
            &[Part::Gtid, Part::Begin, Part::ViewChange, Part::End],
        ] {
            let steps = run(shape).unwrap();
            let complete = steps.iter().filter(|step| **step == Step::Complete).count();
            assert_eq!(
                (complete, steps.last()),
                (1, Some(&Step::Complete)),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn broken_shapes_are_refused() {
        for shape in [
            &[Part::Begin][..],
            &[Part::Gtid, Part::Gtid],
            &[Part::Gtid, Part::Change],
            &[Part::Gtid, Part::End],
            &[Part::Gtid, Part::Begin, Part::Begin],
            &[Part::Gtid, Part::Begin, Part::Gtid],
            &[Part::Change],
            &[Part::Remark],
        ] {
            assert_eq!(run(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn a_change_leaves_a_transaction_open() {
        // The grouping passes over `step` where it is so.
        let mut state = State::Open;
        assert_eq!(state.step(Part::Change), Some(Step::Inside));
        assert_eq!(state, State::Open);
    }

    #[test]
    fn a_rollback_to_a_savepoint_does_not_end_the_transaction() {
        assert_eq!(statement_part(b"ROLLBACK TO `sp`"), Part::Statement);
        assert_eq!(statement_part(b"ROLLBACK"), Part::End);
        assert_eq!(
            statement_part(b"ROLLBACK /* added by mysqlbinlog */"),
            Part::End
        );
    }
}
