//! The target: it keeps account of what it was given, and checks it against the group's history.

use std::sync::Arc;

use parking_lot::Mutex;

use super::history::Verdict;
use super::world::World;
use crate::gtid::GtidSet;
use crate::target::{CloneDonor, CloneFailure, CloneRecipient, Target};
use crate::transaction::Batch;
use crate::{Error, ErrorKind};

/// What is durable: it outlives the joiner's process.
#[derive(Default)]
pub(super) struct Account {
    pub(super) executed: GtidSet,
    pub(super) count: u64,
    /// The first place of the history that is not executed.
    next: usize,
    /// Whether all of it can be replaced with a donor's, and if so, whether what was there goes first.
    pub(super) can_clone: bool,
    pub(super) drops_first: bool,
    /// What goes wrong in the next group commit, when this many transactions are durable.
    pub(super) breaks: Option<(usize, Break)>,
    pub(super) has_died: bool,
    pub(super) is_full: bool,
    /// What was wrong, if anything ever was.
    pub(super) finding: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Break {
    /// The process dies.
    Dies,
    /// The disk is full.
    Full,
}

pub(super) struct Ledger {
    pub(super) account: Arc<Mutex<Account>>,
    pub(super) world: Arc<Mutex<World>>,
}

impl Target for Ledger {
    fn gtid_executed(&self) -> GtidSet {
        self.account.lock().executed.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut account = self.account.lock();
        let world = self.world.lock();
        let account = &mut *account;
        for (number, transaction) in batch.iter().enumerate() {
            account.break_after(number)?;
            let gtid = transaction.gtid();
            let Some(place) = world.history.place(gtid) else {
                account.find(format!("{gtid} is no transaction of the group"));
                return Err(Error::new(ErrorKind::Internal, "finding"));
            };
            let known = world.history.get(place);
            match world.history.judge(place, transaction.bytes()) {
                Verdict::Right => {}
                Verdict::Conflict => {
                    return Err(Error::new(ErrorKind::Conflict, "other data").at_gtid(*gtid));
                }
                Verdict::Wrong => account.find(format!("{gtid} has other bytes")),
            }
            if let Some(needs) = known.needs
                && !account.executed.contains(&world.history.get(needs).gtid)
            {
                if !world.withheld.contains(&needs) {
                    account.find(format!("{gtid} came before what it needs"));
                }
                // The row that it changes is not there: as a real target, it sees that.
                return Err(Error::new(ErrorKind::Conflict, "row is missing").at_gtid(*gtid));
            }
            if !account.executed.insert(gtid) {
                account.find(format!("{gtid} was applied twice"));
            }
            account.count += 1;
            account.check_order(place, &world);
        }
        Ok(())
    }

    fn clone_recipient(&mut self) -> Option<&mut dyn CloneRecipient> {
        let can_clone = self.account.lock().can_clone;
        can_clone.then_some(self)
    }
}

impl CloneRecipient for Ledger {
    fn receive(&mut self, donor: &dyn CloneDonor) -> Result<(), CloneFailure> {
        let nothing = GtidSet::new();
        let executed = donor.snapshot(&nothing)?.gtid_executed().clone();
        let drops_first = self.account.lock().drops_first;
        if drops_first {
            self.account.lock().replace(&nothing);
        }
        let copied = donor.transactions(&nothing, &executed, &mut |_| Ok(()));
        copied.map_err(|error| CloneFailure {
            error,
            data_dropped: drops_first,
        })?;
        self.account.lock().replace(&executed);
        Ok(())
    }
}

impl Account {
    pub(super) fn find(&mut self, finding: String) {
        self.finding.get_or_insert(finding);
    }

    /// From now on it holds the first transactions of the history: these.
    pub(super) fn replace(&mut self, executed: &GtidSet) {
        self.executed.clone_from(executed);
        self.count = executed.count();
        self.next = executed.count() as usize;
    }

    fn break_after(&mut self, number: usize) -> Result<(), Error> {
        let Some((_, broken)) = self.breaks.filter(|(last, _)| number >= *last) else {
            return Ok(());
        };
        self.breaks = None;
        match broken {
            Break::Dies => {
                self.has_died = true;
                Err(Error::new(ErrorKind::Internal, "killed"))
            }
            Break::Full => {
                self.is_full = true;
                Err(Error::new(ErrorKind::TargetIo, "no space left"))
            }
        }
    }

    /// Whatever comes earlier in the group's order is there, unless a donor left it out.
    fn check_order(&mut self, place: usize, world: &World) {
        let is_there = |place: usize, account: &Self| {
            account.executed.contains(&world.history.get(place).gtid)
        };
        if let Some(left_out) = (self.next..place)
            .find(|earlier| !is_there(*earlier, self) && !world.withheld.contains(earlier))
        {
            self.find(format!("{place} came before {left_out}"));
        }
        while self.next < world.history.len() && is_there(self.next, self) {
            self.next += 1;
        }
    }
}
