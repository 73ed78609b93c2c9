//! The parts of a member, put together and connected, but without threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver as Inbox, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::applier::Applier;
use super::cache::{Cache, Gate};
use super::controller::{self, Controller, Request, Window};
use super::receiver::ReceiverThreads;
use super::shared::{self, Clock, Fact, Shared};
use super::{Member, MemberBuilder, Status};
use crate::Result;
use crate::group::{Feed, Group};
use crate::gtid::{GtidSet, Uuid};
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
    pub(super) fn assemble(builder: MemberBuilder, clock: Clock) -> Result<Self> {
        builder.settings.validate()?;
        let uuid = builder
            .uuid
            .unwrap_or_else(|| Uuid::from_random(rand::random()));
        let mut target = builder.target;
        let executed = target.gtid_executed();
        let can_clone = target.clone_recipient().is_some();
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
        let (recycle, recycled) = bounded(8);
        let (transactions, delivered) = queue(builder.cache_bytes as u64);
        let (gate, released) = Gate::new(delivered.bell());
        let group: Arc<dyn Group> = Arc::from(builder.group);
        Ok(Self {
            applier: Applier {
                target,
                shared: Arc::clone(&shared),
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
                queue: delivered,
                release: released,
                is_released: false,
                held: VecDeque::new(),
                applier: work.clone(),
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
                }),
                gate,
                fences,
                clones,
                can_clone,
                cloning: None,
                work,
                recycled,
                limits: builder.limits,
                server_id: builder.server_id,
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
