//! Clones: the controller's side of one that runs in the applier's thread, where the target is.

use std::sync::Arc;

use parking_lot::Mutex;

use super::shared::Fact;
use crate::clone::ServerDonor;
use crate::group::GroupMember;
use crate::net::{Closer, ConnectOptions, Endpoint};
use crate::target::{CloneDonor, CloneFailure, CloneProgress, Target};
use crate::{Error, ErrorKind, Limits};

/// What the applier is asked to do.
pub(super) struct CloneJob(Box<dyn CloneDonor + Send>);

/// What clones copy from.
pub(super) trait CloneDonors: Send {
    /// `donor` is how `member` would be copied as a server.
    fn open(&mut self, member: &GroupMember, donor: ServerDonor) -> Box<dyn CloneDonor + Send>;
}

/// MySQL servers, and other donors that speak like them.
pub(super) struct Servers;

impl CloneDonors for Servers {
    fn open(&mut self, _member: &GroupMember, donor: ServerDonor) -> Box<dyn CloneDonor + Send> {
        Box::new(donor)
    }
}

impl CloneJob {
    /// Replaces the target's data.
    pub(super) fn run(self, target: &mut dyn Target) -> Fact {
        let received = match target.clone_recipient() {
            Some(recipient) => recipient.receive(&*self.0),
            None => Err(CloneFailure::from(Error::new(
                ErrorKind::CloneNeeded,
                "this target's data cannot be replaced",
            ))),
        };
        match received {
            Ok(()) => Fact::Cloned,
            Err(failure) => Fact::CloneFailed(failure),
        }
    }
}

/// A clone that is under way.
pub(super) struct Cloning {
    pub(super) donor: GroupMember,
    closer: Closer,
    progress: Arc<Mutex<CloneProgress>>,
}

impl Cloning {
    /// A clone of `donor`, and the work that it is for the applier.
    pub(super) fn begin(
        donors: &mut dyn CloneDonors,
        donor: GroupMember,
        endpoint: Endpoint,
        options: ConnectOptions,
        limits: Limits,
        server_id: u32,
    ) -> (Self, CloneJob) {
        let closer = Closer::new();
        let progress = Arc::<Mutex<CloneProgress>>::default();
        let told = Arc::clone(&progress);
        let server = ServerDonor {
            endpoint,
            options,
            limits,
            closer: closer.clone(),
            server_id,
            tell: Box::new(move |progress| *told.lock() = progress),
        };
        let job = CloneJob(donors.open(&donor, server));
        let cloning = Self {
            donor,
            closer,
            progress,
        };
        (cloning, job)
    }

    pub(super) fn progress(&self) -> CloneProgress {
        *self.progress.lock()
    }

    /// Stops it, wherever it is; the applier tells that it has failed.
    pub(super) fn stop(&self) {
        self.closer.close();
    }
}
