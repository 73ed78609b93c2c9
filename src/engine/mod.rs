//! The threads of a member, and the handle that a host holds.
//!
//! ```text
//! rejoin-recv   donor socket -> batches of whole transactions --+
//!                                                               v
//! group feed -> rejoin-cache (held until phase 1 is over; more than fits in memory: relay logs)
//!                                                               v
//! a donor's snapshot (rejoin-clone-N) ------------->  rejoin-apply -> Target
//! rejoin-ctl    runs the recovery machine: facts from all of them in, actions out
//! rejoin-group  asks the group, so that a slow member never delays the controller
//! ```
//!
//! Plain named threads over bounded channels. A panic in one becomes the member's error. Stopping is
//! prompt: the socket that a thread reads from is shut, every wait ends, every thread is joined.

mod applier;
mod backlog;
mod cache;
mod cloning;
mod controller;
mod event;
#[cfg(test)]
mod full_disk;
mod gate;
mod intake;
mod overflow;
mod parts;
mod receiver;
mod shared;
#[cfg(test)]
mod simulation;
mod status;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use log::warn;
use parking_lot::Mutex;

use event::Subscribers;
pub use event::{CloneState, Event, Events};
pub use status::Status;

use crate::group::Group;
use crate::gtid::Uuid;
use crate::journal::SyncRelayLog;
use crate::recovery::{Phase, Settings};
use crate::target::Target;
use crate::{Error, ErrorKind, Limits, Result};
use parts::Parts;
use shared::{Clock, Fact, Shared};

/// How the member presents itself to donors when nothing else is set.
const DEFAULT_SERVER_ID: u32 = 0x7E_7015;
/// What the group delivers during phase 1 is held up to this many bytes.
const CACHE_BYTES: usize = 256 << 20;
/// `replica_transaction_retries`.
const TRANSACTION_RETRIES: u32 = 10;
const MAX_RELAY_LOG_SIZE: u64 = 64 << 20;
const DONOR_NET_WRITE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a member is to be made of; [`Member::builder`] begins one.
pub struct MemberBuilder {
    group: Box<dyn Group>,
    target: Box<dyn Target>,
    settings: Settings,
    limits: Limits,
    server_id: u32,
    uuid: Option<Uuid>,
    cache_bytes: usize,
    transaction_retries: u32,
    relay_log_directory: Option<PathBuf>,
    sync_relay_log: SyncRelayLog,
    max_relay_log_size: u64,
    donor_net_write_timeout: Duration,
    subscribers: Subscribers,
}

impl fmt::Debug for MemberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberBuilder")
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .field("server_id", &self.server_id)
            .field("uuid", &self.uuid)
            .field("cache_bytes", &self.cache_bytes)
            .field("relay_log_directory", &self.relay_log_directory)
            .field("sync_relay_log", &self.sync_relay_log)
            .field("max_relay_log_size", &self.max_relay_log_size)
            .field("donor_net_write_timeout", &self.donor_net_write_timeout)
            .finish_non_exhaustive()
    }
}

impl MemberBuilder {
    /// All settings of recovery at once.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Attempts over all donors together; default 10
    /// (`group_replication_recovery_retry_count`).
    #[must_use]
    pub fn recovery_retry_count(mut self, count: u32) -> Self {
        self.settings.recovery_retry_count = count;
        self
    }

    /// The sleep when every donor was tried; default 60 s
    /// (`group_replication_recovery_reconnect_interval`).
    #[must_use]
    pub fn recovery_reconnect_interval(mut self, interval: Duration) -> Self {
        self.settings.recovery_reconnect_interval = interval;
        self
    }

    /// Bounds on what donors may send.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The `server_id` shown to donors, which must differ from theirs.
    #[must_use]
    pub fn server_id(mut self, server_id: u32) -> Self {
        self.server_id = server_id;
        self
    }

    /// The server UUID of this member; random for each start unless it is set.
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = Some(uuid);
        self
    }

    /// How many bytes of the group's transactions may wait in memory; default 256 MiB. More than that
    /// goes to the relay log; in a member without one the feed refuses, until half of them are
    /// applied.
    ///
    /// A transaction of more than a sixteenth of it streams through the relay log, and the target
    /// takes it [from there](Target::apply_stored).
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How often a transaction is tried again that the target cannot execute
    /// [now](crate::ErrorKind::Transient); default 10 (`replica_transaction_retries`).
    #[must_use]
    pub fn transaction_retries(mut self, retries: u32) -> Self {
        self.transaction_retries = retries;
        self
    }

    /// Where the member keeps its relay logs: what the group and donors have sent, is not applied yet
    /// and does not fit in memory. Default: where the [target](Target::relay_log_directory) says. The
    /// directory is created where it does not exist, and belongs to one member at a time.
    ///
    /// What a run leaves in the relay log of the group's transactions is applied first by the next
    /// one, if all that comes before it has been executed, and else comes again from the group.
    #[must_use]
    pub fn relay_log_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.relay_log_directory = Some(directory.into());
        self
    }

    /// What is written to the relay log of the group's transactions, and when it waits for the disk
    /// (`sync_relay_log`); default [`SyncRelayLog::Never`]: only what does not fit in memory is
    /// written.
    #[must_use]
    pub fn sync_relay_log(mut self, sync: SyncRelayLog) -> Self {
        self.sync_relay_log = sync;
        self
    }

    /// A file of a relay log takes nothing more once it has this many bytes (`max_relay_log_size`);
    /// default 64 MiB. Files are removed when everything in them is applied.
    #[must_use]
    pub fn max_relay_log_size(mut self, bytes: u64) -> Self {
        self.max_relay_log_size = bytes;
        self
    }

    /// How long a donor waits for this member to read before it drops the connection: the session's
    /// `net_write_timeout`, in whole seconds; default 1 hour. The member reads on, whatever its applier
    /// does, so that this is for networks that stand still.
    #[must_use]
    pub fn donor_net_write_timeout(mut self, timeout: Duration) -> Self {
        self.donor_net_write_timeout = timeout;
        self
    }

    /// A subscription to everything that the member will do, from its first step on.
    pub fn events(&self) -> Events {
        self.subscribers.subscribe()
    }

    /// Starts the threads; recovery begins at once.
    ///
    /// # Errors
    /// A setting out of its range, a relay log that cannot be opened, or a thread that cannot be
    /// started.
    pub fn start(self) -> Result<Member> {
        Parts::assemble(self, Clock::Real(Instant::now()))?.start()
    }
}

/// A running member: it recovers, is declared ONLINE, and stays up to date until it is stopped.
///
/// Dropping it stops it and waits for its threads.
///
/// ```no_run
/// use std::time::Duration;
/// use rejoin::engine::Member;
/// use rejoin::group::MySqlGroup;
/// use rejoin::target::store::Store;
///
/// let group = MySqlGroup::connect("mysql://recovery:secret@db1:3306,db2:3306")?;
/// let store = Store::open("replica")?;
/// let member = Member::builder(group, store).recovery_retry_count(10).start()?;
/// member.wait_online(Duration::from_secs(600))?;
/// # Ok::<(), rejoin::Error>(())
/// ```
pub struct Member {
    facts: Sender<Fact>,
    shared: Arc<Shared>,
    status: Arc<Mutex<Status>>,
    settings: Mutex<Settings>,
    threads: Vec<JoinHandle<()>>,
    result: Arc<Mutex<Option<Result<()>>>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("status", &*self.status.lock())
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Begins a member that recovers `target` from `group`.
    pub fn builder(group: impl Group + 'static, target: impl Target + 'static) -> MemberBuilder {
        MemberBuilder {
            group: Box::new(group),
            target: Box::new(target),
            settings: Settings::default(),
            limits: Limits::default(),
            server_id: DEFAULT_SERVER_ID,
            uuid: None,
            cache_bytes: CACHE_BYTES,
            transaction_retries: TRANSACTION_RETRIES,
            relay_log_directory: None,
            sync_relay_log: SyncRelayLog::default(),
            max_relay_log_size: MAX_RELAY_LOG_SIZE,
            donor_net_write_timeout: DONOR_NET_WRITE_TIMEOUT,
            subscribers: Subscribers::default(),
        }
    }

    /// How the member stands. Costs a copy of its executed GTID set.
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// A subscription to what happens from now on.
    pub fn events(&self) -> Events {
        self.shared.subscribers.subscribe()
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings.lock().clone()
    }

    /// Changes the settings while recovery goes on; each takes effect as it says.
    ///
    /// # Errors
    /// A value out of its range; nothing is changed then.
    pub fn set_settings(&self, settings: Settings) -> Result<()> {
        settings.validate()?;
        // Held until they are on their way: what was set last is in force, whoever else sets some.
        let mut known = self.settings.lock();
        known.clone_from(&settings);
        // A member that has ended needs no settings.
        let _ = self.facts.send(Fact::Settings(Box::new(settings)));
        Ok(())
    }

    /// Waits until the member is ONLINE.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] after `timeout`; [`ErrorKind::NoDonor`] and others when recovery
    /// has ended before (the whole error is what [`join`](Member::join) returns).
    pub fn wait_online(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut status = self.status.lock();
        loop {
            let phase = status.phase;
            match phase {
                Phase::Online => return Ok(()),
                Phase::Ended => {
                    return Err(match &*self.result.lock() {
                        Some(Err(error)) => Error::new(error.kind(), error.to_string()),
                        _ => Error::new(ErrorKind::Interrupted, "stopped before it was ONLINE"),
                    });
                }
                _ if self
                    .shared
                    .phase_changed
                    .wait_until(&mut status, deadline)
                    .timed_out() =>
                {
                    return Err(Error::new(
                        ErrorKind::TimedOut,
                        format!("not ONLINE after {} s", timeout.as_secs()),
                    ));
                }
                _ => {}
            }
        }
    }

    /// Whether the member has ended: stopped, or failed.
    pub fn is_ended(&self) -> bool {
        self.threads.last().is_none_or(JoinHandle::is_finished)
    }

    /// Asks the member to stop, and returns at once.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Relaxed);
        // A member that has ended has stopped.
        let _ = self.facts.send(Fact::Stop);
    }

    /// Waits until the member has ended and gives its result: `Ok` when it was
    /// [stopped](Member::stop).
    ///
    /// # Errors
    /// Why recovery could not go on.
    pub fn join(mut self) -> Result<()> {
        self.join_threads();
        self.result
            .lock()
            .take()
            .unwrap_or_else(|| Err(controller::lost()))
    }

    fn join_threads(&mut self) {
        for thread in self.threads.drain(..).rev() {
            if thread.join().is_err() {
                warn!("a thread had panicked");
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
        self.join_threads();
    }
}
