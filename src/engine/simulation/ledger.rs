//! The target: it keeps account of what it was given, and checks it against the group's history.

use std::sync::Arc;

use parking_lot::Mutex;

use super::history::Verdict;
use super::world::World;
use crate::gtid::GtidSet;
use crate::target::Target;
use crate::transaction::Batch;
use crate::{Error, ErrorKind};

/// What is durable: it outlives the joiner's process.
#[derive(Default)]
pub(super) struct Account {
    pub(super) executed: GtidSet,
    pub(super) count: u64,
    /// The process dies in the next group commit, when this many transactions are durable.
    pub(super) dies_after: Option<usize>,
    pub(super) has_died: bool,
    /// What was wrong, if anything ever was.
    pub(super) finding: Option<String>,
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
            if account.dies_after.is_some_and(|last| number >= last) {
                account.dies_after = None;
                account.has_died = true;
                return Err(Error::new(ErrorKind::Internal, "killed"));
            }
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
                // The row that it changes is not there: as a real target, it sees that.
                return Err(Error::new(ErrorKind::Conflict, "row is missing").at_gtid(*gtid));
            }
            if !account.executed.insert(gtid) {
                account.find(format!("{gtid} was applied twice"));
            }
            account.count += 1;
        }
        Ok(())
    }
}

impl Account {
    pub(super) fn find(&mut self, finding: String) {
        self.finding.get_or_insert(finding);
    }
}
