//! Where in a transaction each event of a log stands.
//!
//! The rules are those of the assembler of transactions, without its strictness: old logs have
//! transactions without GTIDs, statements without BEGIN, and ends without a beginning.

use crate::binlog::{Event, QueryEvent};
use crate::gtid::Gtid;

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between transactions.
    Outside,
    /// A transaction begins with it.
    First,
    /// A transaction goes on with it.
    Inside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Outside,
    /// Behind a GTID or variables; one statement makes it whole.
    Begun,
    /// Behind BEGIN.
    Open,
}

/// What an event does to the transaction that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Gtid,
    Begin,
    End,
    Statement,
    /// Belongs to a statement that comes later.
    Before,
    /// Rows and what describes them.
    Change,
    /// A compressed transaction: its events follow.
    Payload,
    /// Belongs to the log, not to a transaction.
    Log,
    Remark,
}

/// Follows the transactions of one log.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: State,
    gtid: Option<Gtid>,
}

impl Places {
    /// Takes the next event. The GTID is known from here on, [`leave`](Self::leave) forgets it.
    pub(super) fn enter(&mut self, event: &Event<'_>) -> Place {
        let before = self.state;
        match part(event) {
            Part::Gtid => {
                self.state = State::Begun;
                self.gtid = match event {
                    Event::Gtid(gtid) if !gtid.is_anonymous() => Some(gtid.gtid),
                    _ => None,
                };
                return Place::First;
            }
            Part::Begin => {
                self.state = State::Open;
                // A BEGIN in an open transaction: the one before it has no end in this log.
                if before != State::Begun {
                    self.gtid = None;
                    return Place::First;
                }
            }
            Part::Log => {
                if matches!(event, Event::FormatDescription(_)) {
                    self.state = State::Outside;
                    self.gtid = None;
                }
                return Place::Outside;
            }
            Part::Change => self.state = State::Open,
            Part::Before | Part::Statement | Part::Payload => {
                self.state = before.max(State::Begun);
            }
            Part::End | Part::Remark => {}
        }
        match before {
            State::Outside if self.state == State::Outside => Place::Outside,
            State::Outside => Place::First,
            _ => Place::Inside,
        }
    }

    /// The GTID of the transaction that the event belongs to.
    pub(super) fn gtid(&self) -> Option<Gtid> {
        self.gtid
    }

    /// Whether `event`, which was entered, makes a transaction whole.
    pub(super) fn leave(&mut self, event: &Event<'_>) -> bool {
        let whole = match (part(event), self.state) {
            (Part::End, State::Begun | State::Open) | (Part::Statement, State::Begun) => true,
            (Part::End, State::Outside) => false,
            _ => return false,
        };
        self.state = State::Outside;
        self.gtid = None;
        whole
    }
}

impl State {
    fn max(self, other: Self) -> Self {
        if self == Self::Outside { other } else { self }
    }
}

fn part(event: &Event<'_>) -> Part {
    match event {
        Event::Gtid(_) => Part::Gtid,
        Event::Query(query) => statement(query),
        Event::Xid(_) | Event::XaPrepare(_) => Part::End,
        Event::ExecuteLoadQuery(_) | Event::ViewChange(_) => Part::Statement,
        Event::Intvar(_)
        | Event::Rand(_)
        | Event::UserVar(_)
        | Event::BeginLoadQuery(_)
        | Event::AppendBlock(_)
        | Event::DeleteFile(_) => Part::Before,
        Event::TableMap(_) | Event::Rows(_) | Event::RowsQuery(_) => Part::Change,
        Event::TransactionPayload(_) => Part::Payload,
        Event::FormatDescription(_)
        | Event::PreviousGtids(_)
        | Event::Rotate(_)
        | Event::Stop
        | Event::Heartbeat(_) => Part::Log,
        _ => Part::Remark,
    }
}

/// As [`QueryEvent`] tells, by the comparisons of the server's own boundary parser.
fn statement(query: &QueryEvent<'_>) -> Part {
    match query.statement {
        b"BEGIN" => Part::Begin,
        b"COMMIT" => Part::End,
        text if text.starts_with(b"XA START") => Part::Begin,
        text if text.starts_with(b"XA ROLLBACK") => Part::End,
        text if text.starts_with(b"ROLLBACK TO ") => Part::Statement,
        text if text.starts_with(b"ROLLBACK") => Part::End,
        _ => Part::Statement,
    }
}
