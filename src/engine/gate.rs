//! The controller's hold on the cache thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::gtid::GtidSet;
use crate::queue::Bell;
use crate::transaction::Piece;

/// What the cache is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Pass on what an earlier run has left in the relay log.
    ApplyRelayLog,
    /// The group delivers what comes behind this set.
    Begin(GtidSet),
    /// The group delivers, and nobody can say yet behind which set.
    BeginSomewhere,
    /// Pass on what the group has delivered and will deliver.
    Release,
}

/// Orders go through it; the cache ends when it is dropped.
pub(super) struct Gate {
    /// Emptied only by drop.
    orders: Option<Sender<Order>>,
    bell: Arc<Bell<Piece>>,
}

impl Gate {
    /// A gate, and the end of it that the cache looks at when `bell` rings.
    pub(super) fn new(bell: Arc<Bell<Piece>>) -> (Self, Receiver<Order>) {
        let (orders, inbox) = unbounded();
        let orders = Some(orders);
        (Self { orders, bell }, inbox)
    }

    pub(super) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The cache thread is gone only after an error or a panic, which are told.
            let _ = orders.send(order);
        }
        self.bell.ring();
    }

    /// Makes the cache look what there is to do.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    /// What wakes the cache when a receiver has sent something.
    pub(super) fn bell(&self) -> Arc<Bell<Piece>> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.bell.ring();
    }
}
