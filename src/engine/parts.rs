//! The parts of a member, put together and connected, but without threads.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver as Inbox, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::applier::Applier;
use super::backlog::Backlog;
use super::cache::{Cache, Passes};
use super::cloning::Servers;
use super::controller::{self, Controller, Request, Window};
use super::gate::Gate;
use super::overflow::Overflow;
use super::receiver::ReceiverThreads;
use super::shared::{self, BATCH_BYTES, Clock, Fact, Shared};
use super::{Member, MemberBuilder, Status};
use crate::Result;
use crate::group::{Feed, Group};
use crate::gtid::{GtidSet, Uuid};
use crate::journal::SyncRelayLog;
use crate::journal::relay_log::{
    APPLIER_CHANNEL, RECOVERY_CHANNEL, RelayLog, RelayLogDirectory, RelayLogOptions,
};
use crate::queue::queue;
use crate::recovery::{Machine, Phase, Settings};

pub(super) struct Parts {
    pub(super) applier: Applier,
    pub(super) cache: Cache,
    pub(super) controller: Controller,
    pub(super) group: Arc<dyn Group>,
    /// What the controller asks of the group.
    pub(super) requests: Inbox<Request>,
    pub(super) facts: Sender<Fact>,
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Mutex<Status>>,
    settings: Settings,
}

impl Parts {
    pub(super) fn assemble(mut builder: MemberBuilder, clock: Clock) -> Result<Self> {
        builder.settings.validate()?;
        let uuid = builder
            .uuid
            .unwrap_or_else(|| Uuid::from_random(rand::random()));
        let executed = builder.target.gtid_executed();
        let can_clone = builder.target.clone_recipient().is_some();
        let logs = RelayLogs::open(&builder, &executed)?;
        let shared = Arc::new(Shared::new(executed.clone(), builder.subscribers, clock));
        let status = Arc::new(Mutex::new(Status {
            phase: Phase::Joining,
            donor: None,
            attempts: 0,
            attempt_records: Vec::new(),
            exit_state_action: None,
            gtid_executed: executed,
            transactions: 0,
            received_bytes: 0,
            overflow_bytes: 0,
            stalled: Duration::ZERO,
            relay_log_bytes: 0,
            missing: 0,
            queued: 0,
            rate: 0,
            eta: None,
            clone: None,
            elapsed: Duration::ZERO,
        }));
        let (facts_sender, facts) = unbounded();
        let (news_sender, news) = unbounded();
        let (request_sender, requests) = bounded(4);
        let (fences, fence_inbox) = bounded(1);
        let (clones, clone_inbox) = bounded(1);
        let (work, work_inbox) = controller::work_channel();
        // What waits in it costs memory, too.
        let (received, receivers_inbox) = bounded(2);
        let large_bytes = logs.large_bytes;
        let (recycle, recycled) = bounded(8);
        shared.feed_delivered.store(logs.feed_unread(), Relaxed);
        // Where there is a disk behind it, most of the memory is for what was taken from the queue.
        let from_donor = (builder.cache_bytes / 8).min(2 * BATCH_BYTES);
        let for_feed = builder.cache_bytes - from_donor;
        let in_queue = if logs.feed.is_some() {
            for_feed / 4
        } else {
            for_feed
        };
        let (transactions, delivered) = queue(in_queue as u64);
        let (gate, orders) = Gate::new(Arc::new(delivered.bell()));
        let group: Arc<dyn Group> = Arc::from(builder.group);
        Ok(Self {
            applier: Applier {
                target: builder.target,
                shared: Arc::clone(&shared),
                transaction_retries: builder.transaction_retries,
                work: work_inbox,
                fences: fence_inbox,
                clones: clone_inbox,
                recycle,
                taken: delivered.bell(),
                facts: facts_sender.clone(),
                next: None,
                feed_failed: false,
            },
            cache: Cache {
                shared: Arc::clone(&shared),
                facts: facts_sender.clone(),
                queue: delivered,
                orders,
                feed: Backlog::new(for_feed - in_queue, logs.feed),
                donor: Overflow::new(receivers_inbox, from_donor, logs.donor)?,
                applier: work,
                passes: Passes::Nothing,
                owed: 0,
                looked: Duration::ZERO,
                _directory: logs.directory,
            },
            controller: Controller {
                machine: Machine::new(builder.settings.clone(), uuid, rand::random()),
                group: Arc::clone(&group),
                shared: Arc::clone(&shared),
                status: Arc::clone(&status),
                facts,
                facts_sender: facts_sender.clone(),
                news,
                requests: request_sender,
                feed: Some(Feed {
                    transactions,
                    news: news_sender,
                    large_bytes,
                }),
                gate,
                unapplied: logs.unapplied,
                fences,
                clones,
                clone_donors: Box::new(Servers),
                can_clone,
                cloning: None,
                received,
                large_bytes,
                recycled,
                limits: builder.limits,
                server_id: builder.server_id,
                net_write_timeout: builder.donor_net_write_timeout,
                uuid,
                connection: 0,
                receivers: Box::new(ReceiverThreads::new(facts_sender.clone())),
                cut: GtidSet::new(),
                window: Window::default(),
            },
            group,
            requests,
            facts: facts_sender,
            shared,
            status,
            settings: builder.settings,
        })
    }

    /// Gives each part its thread.
    pub(super) fn start(self) -> Result<Member> {
        let Self {
            applier,
            cache,
            controller,
            group,
            requests,
            facts,
            shared,
            status,
            settings,
        } = self;
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let group_facts = facts.clone();
        let threads = vec![
            shared::spawn("rejoin-apply", &facts, move || applier.run())?,
            shared::spawn("rejoin-cache", &facts, move || cache.run())?,
            shared::spawn("rejoin-group", &facts, move || {
                controller::run_group(&*group, &requests, &group_facts);
            })?,
            // The controller last: when it ends, its ends of the channels end the others.
            shared::spawn("rejoin-ctl", &facts, move || {
                let _ending = controller.ending();
                *slot.lock() = Some(controller.run());
            })?,
        ];
        Ok(Member {
            facts,
            shared,
            status,
            settings: Mutex::new(settings),
            threads,
            result,
        })
    }
}

/// A transaction is large that takes more than this part of the memory for what waits: several of that
/// size are on their way from thread to thread at once.
const LARGE_PART: usize = 16;

/// The relay logs of a member, where it has a directory for them.
struct RelayLogs {
    directory: Option<RelayLogDirectory>,
    feed: Option<RelayLog>,
    donor: Option<RelayLog>,
    /// What an earlier run has left.
    unapplied: GtidSet,
    /// A transaction of so many bytes streams through them.
    large_bytes: usize,
}

impl RelayLogs {
    fn open(builder: &MemberBuilder, executed: &GtidSet) -> Result<Self> {
        let place = builder.relay_log_directory.clone();
        let Some(place) = place.or_else(|| builder.target.relay_log_directory()) else {
            return Ok(Self {
                directory: None,
                feed: None,
                donor: None,
                unapplied: GtidSet::new(),
                large_bytes: usize::MAX,
            });
        };
        let large_bytes = (builder.cache_bytes / LARGE_PART).max(1);
        let directory = RelayLogDirectory::open(RelayLogOptions {
            directory: place,
            segment_bytes: builder.max_relay_log_size,
            server_id: builder.server_id,
            large_bytes,
            limits: builder.limits.clone(),
        })?;
        let (feed, unapplied) =
            directory.reopen_log(APPLIER_CHANNEL, builder.sync_relay_log, executed)?;
        let donor = directory.empty_log(RECOVERY_CHANNEL, SyncRelayLog::Never)?;
        Ok(Self {
            directory: Some(directory),
            feed: Some(feed),
            donor: Some(donor),
            unapplied,
            large_bytes,
        })
    }

    fn feed_unread(&self) -> u64 {
        self.feed.as_ref().map_or(0, RelayLog::unread)
    }
}
