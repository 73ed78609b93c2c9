//! What all threads of a donor share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::DonorOptions;
use super::dump::DumpTicket;
use super::snapshots::Snapshots;
use super::source::{History, LogSource};
use super::throttle::Throttle;
use crate::net::{Closer, ServerTls};
use crate::wire::server::login::LoginPolicy;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: Arc<dyn LogSource>,
    pub(super) history: History,
    pub(super) options: DonorOptions,
    pub(super) policy: LoginPolicy,
    pub(super) tls: ServerTls,
    pub(super) throttle: Throttle,
    /// What joiners that clone are reading.
    pub(super) snapshots: Snapshots,
    /// Closes every connection; closed: the donor stops.
    pub(super) stop: Closer,
    pub(super) clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) next_id: u32,
    pub(super) threads: BTreeMap<u32, JoinHandle<()>>,
    pub(super) dumps: BTreeMap<u32, Arc<DumpTicket>>,
}
