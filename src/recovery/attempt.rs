//! What became of each attempt to recover from a donor.

use std::collections::VecDeque;
use std::time::Duration;

use super::FailureClass;
use crate::group::GroupMember;
use crate::net::Endpoint;
use crate::{Error, ErrorKind};

/// Why an attempt ended without reaching the end of phase 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// What failed.
    pub kind: ErrorKind,
    /// The class of failures that it belongs to, which decides the
    /// [reaction](super::Reactions).
    pub class: FailureClass,
    /// The failure, for people.
    pub message: String,
    /// What can be done about it, where that is known.
    pub remedy: Option<String>,
}

impl AttemptEnd {
    pub(super) fn of(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            class: FailureClass::of(error.kind()),
            message: error.to_string(),
            remedy: error.remedy_text().map(String::from),
        }
    }
}

/// One attempt to recover from a donor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number, from 1, over all donors.
    pub number: u32,
    /// The member that was asked.
    pub donor: GroupMember,
    /// Where it was connected to, or was tried last; `None` where it advertises no endpoint.
    pub endpoint: Option<Endpoint>,
    /// When it began, on the clock of the machine's owner.
    pub began: Duration,
    /// When it ended, on the same clock.
    pub ended: Duration,
    /// Transactions that were applied during it.
    pub applied: u64,
    /// Why it ended; `None` when it brought all that was missing.
    pub end: Option<AttemptEnd>,
}

/// How many records are kept; older ones have told their story in the log.
const KEPT: usize = 256;

/// The latest attempts, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    records: VecDeque<AttemptRecord>,
}

impl History {
    pub(super) fn push(&mut self, record: AttemptRecord) {
        if self.records.len() == KEPT {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.records.iter()
    }

    /// The error with which recovery ends when the attempts are used up: the last failure of each
    /// donor, and the remedy of the latest one that has one.
    pub(super) fn exhausted(&self, why: &str) -> Error {
        let mut donors: Vec<(&AttemptRecord, &AttemptEnd, usize)> = Vec::new();
        for record in &self.records {
            let Some(end) = &record.end else { continue };
            match donors
                .iter_mut()
                .find(|(known, ..)| known.donor.uuid == record.donor.uuid)
            {
                Some(entry) => *entry = (record, end, entry.2 + 1),
                None => donors.push((record, end, 1)),
            }
        }
        let all_purged = !donors.is_empty()
            && donors
                .iter()
                .all(|(_, end, _)| end.kind == ErrorKind::Purged);
        let kind = if all_purged {
            ErrorKind::CloneNeeded
        } else {
            ErrorKind::NoDonor
        };
        let mut message = String::from(why);
        for (record, end, times) in &donors {
            let times = if *times == 1 {
                "once"
            } else {
                &format!("{times} times")
            };
            let at = record.endpoint.as_ref().unwrap_or(&record.donor.address);
            message.push_str(&format!(
                "; {at} failed {times}, at last with {}: {}",
                end.kind, end.message
            ));
        }
        let error = Error::new(kind, message);
        match donors
            .iter()
            .rev()
            .find_map(|(_, end, _)| end.remedy.as_ref())
        {
            Some(remedy) => error.remedy(remedy),
            None if all_purged => error.remedy(
                "the needed transactions are in no member's binary logs any more: \
                 start again from a backup or a clone",
            ),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::MemberState;
    use crate::recovery::testing::member;

    fn failed(donor: u8, error: &Error) -> AttemptRecord {
        AttemptRecord {
            number: donor.into(),
            donor: member(donor, MemberState::Online),
            endpoint: None,
            began: Duration::ZERO,
            ended: Duration::ZERO,
            applied: 0,
            end: Some(AttemptEnd::of(error)),
        }
    }

    fn exhausted(failures: &[(u8, Error)]) -> Error {
        let mut history = History::default();
        for (donor, error) in failures {
            history.push(failed(*donor, error));
        }
        history.exhausted("the end")
    }

    #[test]
    fn a_clone_is_needed_only_where_every_donor_has_purged() {
        let purged = || Error::new(ErrorKind::Purged, "gone");
        let network = || Error::new(ErrorKind::Network, "cut");
        let all = exhausted(&[(1, purged()), (2, purged())]);
        assert_eq!(all.kind(), ErrorKind::CloneNeeded);
        assert!(all.remedy_text().unwrap().contains("backup"));
        let some = exhausted(&[(1, purged()), (2, network())]);
        assert_eq!(some.kind(), ErrorKind::NoDonor);
        assert_eq!(some.remedy_text(), None);
        let none = exhausted(&[]);
        assert_eq!(none.kind(), ErrorKind::NoDonor);
        assert_eq!(none.to_string(), "the end");
    }

    #[test]
    fn the_remedy_of_the_latest_failure_counts() {
        let error = exhausted(&[
            (1, Error::new(ErrorKind::Purged, "gone").remedy("first")),
            (2, Error::new(ErrorKind::Purged, "gone").remedy("second")),
            (1, Error::new(ErrorKind::Purged, "gone again")),
        ]);
        assert_eq!(error.remedy_text(), Some("second"));
        assert!(error.to_string().contains("db1:3306 failed 2 times"));
        assert!(error.to_string().contains("db2:3306 failed once"));
    }
}
