//! What the controller asks for: receivers and clones, carried out by the joiner's own steps.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::Result;
use crate::engine::receiver::{Receiver, Receivers};
use crate::net::Closer;

/// A clone that the applier has not carried out yet.
pub(super) struct Pending {
    pub(super) due: u64,
    pub(super) closer: Closer,
}

impl Pending {
    /// When it is over: at once where it was told to stop.
    pub(super) fn due(&self) -> u64 {
        if self.closer.is_closed() { 0 } else { self.due }
    }
}

/// What the controller has asked for since it was last looked at.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) stop: bool,
    pub(super) start: Option<Receiver>,
    pub(super) clone: Option<Pending>,
}

pub(super) struct SimReceivers(pub(super) Arc<Mutex<Orders>>);

impl Receivers for SimReceivers {
    fn start(&mut self, receiver: Receiver) -> Result<()> {
        let mut orders = self.0.lock();
        assert!(orders.start.is_none(), "two receivers at once");
        orders.start = Some(receiver);
        Ok(())
    }

    fn stop(&mut self) {
        let mut orders = self.0.lock();
        orders.stop = true;
        orders.start = None;
    }
}
