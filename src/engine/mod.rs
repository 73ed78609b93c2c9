//! The threads of a member, and the handle that a host holds.
//!
//! ```text
//! rejoin-recv   donor socket -> batches of whole transactions ---+
//!                                                                +=> rejoin-apply -> Target
//! group feed -> rejoin-cache (held until phase 1 is over) -------+
//! a donor's snapshot (rejoin-clone-N) ---------------------------+
//! rejoin-ctl    runs the recovery machine: facts from all of them in, actions out
//! rejoin-group  asks the group, so that a slow member never delays the controller
//! ```
//!
//! Plain named threads over bounded channels. A panic in one becomes the member's error. Stopping is
//! prompt: the socket that a thread reads from is shut, every wait ends, every thread is joined.

mod applier;
mod cache;
mod cloning;
mod controller;
mod event;
mod intake;
mod parts;
mod receiver;
mod shared;
#[cfg(test)]
mod simulation;
mod status;

use std::fmt;
use std::sync::Arc;
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
use crate::recovery::{Phase, Settings};
use crate::target::Target;
use crate::{Error, ErrorKind, Limits, Result};
use parts::Parts;
use shared::{Clock, Fact, Shared};

/// How the member presents itself to donors when nothing else is set.
const DEFAULT_SERVER_ID: u32 = 0x7E_7015;
/// What the group delivers during phase 1 is held up to this many bytes.
const CACHE_BYTES: usize = 256 << 20;

/// What a member is to be made of; [`Member::builder`] begins one.
pub struct MemberBuilder {
    group: Box<dyn Group>,
    target: Box<dyn Target>,
    settings: Settings,
    limits: Limits,
    server_id: u32,
    uuid: Option<Uuid>,
    cache_bytes: usize,
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

    /// How many bytes of the group's transactions may wait in memory; default 256 MiB. A feed that
    /// reaches it pauses until half of them are applied.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// A subscription to everything that the member will do, from its first step on.
    pub fn events(&self) -> Events {
        self.subscribers.subscribe()
    }

    /// Starts the threads; recovery begins at once.
    ///
    /// # Errors
    /// A setting out of its range, or a thread that cannot be started.
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
        *self.settings.lock() = settings.clone();
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
