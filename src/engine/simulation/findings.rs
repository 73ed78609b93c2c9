//! What the simulation has found, each by itself, so that it stays found whatever the seeds become.
//! What was the machine's own is pinned among the scenarios (`gap_behind_view_change`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::history::{self, History};
use crate::binlog::ChecksumAlgorithm;
use crate::engine::Member;
use crate::engine::parts::Parts;
use crate::engine::shared::{Clock, Fact, Received};
use crate::group::{Feed, Group, GroupMember, Joined, View};
use crate::gtid::GtidSet;
use crate::net::ConnectOptions;
use crate::target::Target;
use crate::transaction::{Assembler, Batch, Piece};
use crate::{Error, ErrorKind, Limits, Result};

/// A group that nobody asks anything.
struct NoGroup;

impl Group for NoGroup {
    fn join(&self, _feed: Feed) -> Result<Joined> {
        Err(Error::new(ErrorKind::GroupUnavailable, "no group"))
    }

    fn read(&self) -> Result<View> {
        Err(Error::new(ErrorKind::GroupUnavailable, "no group"))
    }

    fn executed(&self) -> Result<GtidSet> {
        Err(Error::new(ErrorKind::GroupUnavailable, "no group"))
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions::default()
    }

    fn leave(&self) {}
}

/// Applies the first transaction that it is given and fails at the second.
struct OnlyOne(GtidSet);

impl Target for OnlyOne {
    fn gtid_executed(&self) -> GtidSet {
        self.0.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<()> {
        for (number, transaction) in batch.iter().enumerate() {
            if number == 1 {
                return Err(Error::new(ErrorKind::Conflict, "the row is there"));
            }
            self.0.insert(transaction.gtid());
        }
        Ok(())
    }
}

/// One bit of a stream is flipped on its way (seed 184: a format description said then that events have
/// no checksums, and four bytes of each became part of what was executed).
#[test]
fn no_flipped_bit_goes_unseen() {
    let mut history = History::new();
    history.commit(true, 1, 20, false);
    history.commit(false, 1, 20, false);
    let mut bytes = history.preamble(b"binlog.000001");
    bytes.extend_from_slice(&history.get(0).bytes);
    bytes.extend_from_slice(&history.get(1).bytes);
    let sent: Vec<Vec<u8>> = history::events(&bytes).map(<[u8]>::to_vec).collect();
    let assemble = |events: &[Vec<u8>]| {
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::Crc32);
        for event in events {
            assembler.push(event)?;
        }
        let batch = assembler.take(Batch::new());
        let transactions = batch.iter();
        Ok::<_, Error>(
            transactions
                .map(|one| one.bytes().to_vec())
                .collect::<Vec<_>>(),
        )
    };
    let whole = assemble(&sent).expect("our own events");
    for event in 0..sent.len() {
        for bit in 0..8 * sent[event].len() {
            let mut damaged = sent.clone();
            damaged[event][bit / 8] ^= 1 << (bit % 8);
            if let Ok(transactions) = assemble(&damaged) {
                assert_eq!(transactions, whole, "bit {bit} of event {event}");
            }
        }
    }
}

/// The batch that holds the end of phase 1 fails behind it: the donor is given up, and no other one
/// would ever send that view change again (seed 12600: phase 1 never ended).
#[test]
fn the_view_change_is_told_though_its_batch_fails() {
    let mut history = History::new();
    history.commit_view("17:4");
    history.commit(false, 1, 20, false);
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::Crc32);
    let preamble = history.preamble(b"binlog.000001");
    let transactions = (0..2).flat_map(|place| history.get(place).bytes.clone());
    let bytes: Vec<u8> = preamble.into_iter().chain(transactions).collect();
    for event in history::events(&bytes) {
        assembler.push(event).expect("our own events");
    }
    let builder = Member::builder(NoGroup, OnlyOne(GtidSet::new()));
    let clock = Clock::Virtual(Arc::new(AtomicU64::new(0)));
    let mut parts = Parts::assemble(builder, clock).expect("settings in their ranges");
    parts
        .controller
        .received
        .send(Received {
            connection: 1,
            piece: Piece::Batch(assembler.take(Batch::new())),
        })
        .expect("there is room");
    parts.cache.turn();
    parts.applier.turn();
    let told: Vec<Fact> = parts.controller.facts.try_iter().collect();
    assert!(
        matches!(
            &told[..],
            [
                Fact::ViewChangeApplied(id),
                Fact::Executed,
                Fact::ApplyFailed { .. }
            ] if id == "17:4"
        ),
        "{told:?}"
    );
}
