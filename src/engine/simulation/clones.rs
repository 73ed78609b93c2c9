//! Clones: what members have at one moment, and what goes wrong on the way to it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use rand::RngExt;

use super::orders::{Orders, Pending};
use super::world::{SECOND, World, number};
use crate::clone::ServerDonor;
use crate::engine::cloning::CloneDonors;
use crate::group::GroupMember;
use crate::gtid::GtidSet;
use crate::net::Closer;
use crate::target::schema::Catalog;
use crate::target::{CloneDonor, CloneProgress, CloneReader, CloneSnapshot};
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Result};

/// The longest that a clone takes.
const LONGEST: u64 = 30 * SECOND;

pub(super) struct SimClones {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) orders: Arc<Mutex<Orders>>,
    pub(super) clock: Arc<AtomicU64>,
}

impl CloneDonors for SimClones {
    fn open(&mut self, member: &GroupMember, server: ServerDonor) -> Box<dyn CloneDonor + Send> {
        let mut world = self.world.lock();
        let (refuse, cut) = (world.faults.clone_refuse, world.faults.clone_cut);
        let due = self.clock.load(Relaxed) + world.random.random_range(0..LONGEST);
        let closer = server.closer;
        self.orders.lock().clone = Some(Pending {
            due,
            closer: closer.clone(),
        });
        Box::new(SimDonor {
            number: number(&member.uuid),
            is_refused: world.chance(refuse),
            is_cut: world.chance(cut),
            closer,
            world: Arc::clone(&self.world),
        })
    }
}

struct SimDonor {
    number: usize,
    is_refused: bool,
    /// It breaks when some of its data has been copied.
    is_cut: bool,
    closer: Closer,
    world: Arc<Mutex<World>>,
}

impl SimDonor {
    fn check(&self) -> Result<()> {
        if self.closer.is_closed() {
            return Err(Closer::interrupted());
        }
        if !self.world.lock().members[self.number].is_in {
            return Err(Error::new(ErrorKind::Network, "connection lost"));
        }
        Ok(())
    }
}

impl CloneDonor for SimDonor {
    fn snapshot(&self, _at_least: &GtidSet) -> Result<Box<dyn CloneSnapshot + '_>> {
        self.check()?;
        if self.is_refused {
            return Err(Error::new(ErrorKind::Privilege, "RELOAD is needed"));
        }
        let world = self.world.lock();
        let executed = world.members[self.number].executed;
        Ok(Box::new(Snapshot {
            executed: world.history.executed(executed).clone(),
            catalog: Catalog::default(),
        }))
    }

    fn transactions(
        &self,
        _from: &GtidSet,
        _until: &GtidSet,
        _each: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<()> {
        if self.is_cut {
            return Err(Error::new(ErrorKind::Network, "connection lost"));
        }
        self.check()
    }

    fn progress(&self, _progress: CloneProgress) {}

    fn pause(&self, _failures: u32) -> bool {
        false
    }

    fn is_stopped(&self) -> bool {
        self.closer.is_closed()
    }
}

struct Snapshot {
    executed: GtidSet,
    catalog: Catalog,
}

impl CloneSnapshot for Snapshot {
    fn gtid_executed(&self) -> &GtidSet {
        &self.executed
    }

    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn readers(&mut self) -> Vec<&mut (dyn CloneReader + '_)> {
        Vec::new()
    }
}
