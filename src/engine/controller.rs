//! The controller thread: turns the machine's actions into work, and what comes of it into facts.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use crossbeam_channel::{Receiver as Inbox, Sender, bounded};
use log::{debug, info, warn};
use parking_lot::Mutex;

use super::cloning::{CloneDonors, CloneJob, Cloning};
use super::event::{CloneState, Event};
use super::gate::{Gate, Order};
use super::receiver::{Receiver, Receivers};
use super::shared::{Fact, Received, Shared, Source, Work};
use super::status::Status;
use crate::group::{Cut, Feed, Group, GroupMember, MemberState, News};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Closer, DumpRequest, Endpoint};
use crate::recovery::{Action, Input, Machine, Phase};
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Limits, Result};

/// How often progress is measured, and the queue looked at while catching up.
const TICK: Duration = Duration::from_millis(20);
/// The window over which rates are measured.
const WINDOW: Duration = Duration::from_secs(1);

/// What the group thread is asked to do.
pub(super) enum Request {
    Join(Feed),
    Read,
    Executed,
}

/// Answers the controller's requests one after another, so that a slow member of the group never
/// keeps the controller from stopping.
pub(super) fn run_group(group: &dyn Group, requests: &Inbox<Request>, facts: &Sender<Fact>) {
    for request in requests {
        if facts.send(answer(group, request)).is_err() {
            return;
        }
    }
}

pub(super) fn answer(group: &dyn Group, request: Request) -> Fact {
    match request {
        Request::Join(feed) => match group.join(feed) {
            Ok(joined) => Fact::Joined(Box::new(joined)),
            Err(error) => Fact::JoinFailed(error),
        },
        Request::Read => group.read().map_or_else(Fact::ReadFailed, Fact::Read),
        Request::Executed => group
            .executed()
            .map_or_else(Fact::ReadFailed, Fact::GroupExecuted),
    }
}

pub(super) struct Controller {
    pub(super) machine: Machine,
    pub(super) group: Arc<dyn Group>,
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) facts: Inbox<Fact>,
    pub(super) facts_sender: Sender<Fact>,
    pub(super) news: Inbox<News>,
    pub(super) requests: Sender<Request>,
    /// Handed to the group when it is joined.
    pub(super) feed: Option<Feed>,
    /// The cache ends with it.
    pub(super) gate: Gate,
    /// What the relay log held that was not applied when the member was started.
    pub(super) unapplied: GtidSet,
    pub(super) fences: Sender<()>,
    pub(super) clones: Sender<CloneJob>,
    pub(super) clone_donors: Box<dyn CloneDonors>,
    /// Whether the target's data can be replaced.
    pub(super) can_clone: bool,
    pub(super) cloning: Option<Cloning>,
    /// For receivers: to the cache.
    pub(super) received: Sender<Received>,
    /// A transaction of so many bytes goes there in parts.
    pub(super) large_bytes: usize,
    pub(super) recycled: Inbox<Batch>,
    pub(super) limits: Limits,
    /// How the recovery channel presents itself to donors.
    pub(super) server_id: u32,
    pub(super) net_write_timeout: Duration,
    pub(super) uuid: Uuid,
    /// The number of the latest connection to a donor. Attempts do not serve: one may connect twice.
    pub(super) connection: u32,
    pub(super) receivers: Box<dyn Receivers>,
    pub(super) cut: GtidSet,
    pub(super) window: Window,
}

/// Counters at the beginning of the present window, and what the last whole one held.
#[derive(Debug, Default)]
pub(super) struct Window {
    began: Duration,
    applied: u64,
    feed_applied: u64,
    received: u64,
    last_applied: u64,
    last_feed_applied: u64,
}

/// When dropped, the member has ended.
pub(super) struct Ending(Arc<Shared>, Arc<Mutex<Status>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.1.lock().phase = Phase::Ended;
        self.0.phase_changed.notify_all();
    }
}

impl Controller {
    /// Tells the end to those who wait for a phase, even if it is a panic.
    pub(super) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.shared), Arc::clone(&self.status))
    }

    /// Runs until recovery ends with an error or the owner stops it.
    pub(super) fn run(mut self) -> Result<()> {
        loop {
            if let Some(result) = self.turn() {
                return result;
            }
            if let Some(fact) = self.wait() {
                self.take(fact);
            }
        }
    }

    /// Takes in what was told, and does what follows from it, without waiting. The result when
    /// recovery has ended.
    pub(super) fn turn(&mut self) -> Option<Result<()>> {
        while let Ok(fact) = self.facts.try_recv() {
            self.take(fact);
        }
        while let Ok(news) = self.news.try_recv() {
            self.take_news(news);
        }
        if self.shared.now().as_nanos() as u64 >= self.shared.cache_due.load(Relaxed) {
            self.gate.wake();
        }
        self.look_at_queue();
        self.tell(Input::Tick);
        let result = self.perform();
        if let Some(result) = &result {
            self.receivers.stop();
            if let Some(cloning) = &self.cloning {
                cloning.stop();
            }
            if result.is_err() {
                self.group.state_changed(MemberState::Error);
            }
            self.group.leave();
            match result {
                Ok(()) => info!("stopped"),
                // Whoever joins the member gets it; saying it here as well would say it twice.
                Err(error) => debug!("recovery has ended: {error}"),
            }
        }
        self.refresh();
        if result.is_some() {
            self.shared.subscribers.close();
        }
        result
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.shared.now(), input);
    }

    fn wait(&self) -> Option<Fact> {
        let due = self
            .machine
            .next_wakeup()
            .map_or(TICK, |at| at.saturating_sub(self.shared.now()).min(TICK));
        // The controller holds a sender itself, so that the channel never ends.
        self.facts.recv_timeout(due).ok()
    }

    fn take(&mut self, fact: Fact) {
        let input = match fact {
            Fact::Joined(joined) => {
                self.cut = match &joined.cut {
                    Cut::Gtids(set) => {
                        self.gate.order(Order::Begin(set.clone()));
                        set.clone()
                    }
                    // Nearly: the view change itself may be behind it.
                    Cut::ViewId(_) => {
                        self.gate.order(Order::BeginSomewhere);
                        joined.view.executed()
                    }
                };
                Input::Joined {
                    view: joined.view,
                    cut: joined.cut,
                }
            }
            Fact::Read(view) => Input::View(view),
            Fact::GroupExecuted(set) => Input::GroupExecuted(set),
            Fact::JoinFailed(error) => Input::JoinFailed(error),
            Fact::ReadFailed(error) => Input::ReadFailed(error),
            Fact::RelayLogFailed(error) | Fact::Panicked(error) => Input::Failed(error),
            Fact::Connected { attempt } => Input::Connected { attempt },
            Fact::ReceiverFailed { attempt, error } => Input::DonorFailed { attempt, error },
            Fact::ApplyFailed {
                source: Source::Donor(_),
                error,
            } => Input::DonorFailed {
                attempt: self.machine.attempts(),
                error,
            },
            Fact::ApplyFailed {
                source: Source::Feed,
                error,
            } => Input::Failed(error),
            Fact::Fenced => Input::DonorStopped {
                attempt: self.machine.attempts(),
            },
            Fact::Cloned => {
                self.clone_ended(CloneState::Complete);
                Input::Cloned
            }
            Fact::CloneFailed(failure) => {
                self.clone_ended(CloneState::Failed {
                    kind: failure.error.kind(),
                    message: failure.error.to_string(),
                    data_dropped: failure.data_dropped,
                });
                Input::CloneFailed {
                    error: failure.error,
                    data_dropped: failure.data_dropped,
                }
            }
            Fact::Executed => {
                // Cleared before the set is read, so that a later change is told again.
                self.shared.executed_told.store(false, Release);
                let executed = self.shared.executed.lock().clone();
                Input::Executed(executed)
            }
            Fact::ViewChangeApplied(id) => Input::ViewChangeApplied(id),
            Fact::Settings(settings) => return self.machine.set_settings(*settings),
            Fact::Stop => Input::Stop,
        };
        self.tell(input);
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::View(view) => self.tell(Input::View(view)),
            News::Unreachable(error) => {
                warn!("{error}");
                self.tell(Input::GroupUnreachable(error));
            }
        }
    }

    fn look_at_queue(&mut self) {
        let now = self.shared.now();
        let applied = self.shared.applied.load(Relaxed);
        let feed_applied = self.shared.feed_applied.load(Relaxed);
        let whole = now.saturating_sub(self.window.began) >= WINDOW;
        if whole {
            self.tell_clone();
            let received = self.shared.received_bytes.load(Relaxed);
            self.tell(Input::Received {
                attempt: self.machine.attempts(),
                bytes: received - self.window.received,
                held_back: self.shared.held_back.swap(false, Relaxed),
            });
            self.window = Window {
                received,
                began: now,
                last_applied: applied - self.window.applied,
                last_feed_applied: feed_applied - self.window.feed_applied,
                applied,
                feed_applied,
            };
        }
        let queued = self.queued();
        if self.machine.phase() == Phase::CatchUp && (whole || queued == 0) {
            let delivered = self.shared.delivered.lock().clone();
            self.tell(Input::Queue {
                queued,
                applied_last_second: self.window.last_feed_applied,
                delivered,
            });
        }
    }

    fn queued(&self) -> u64 {
        // Applied is read first: a queue must not look shorter than it is.
        let applied = self.shared.feed_applied.load(Relaxed);
        self.shared
            .feed_delivered
            .load(Relaxed)
            .saturating_sub(applied)
    }

    /// Does what the machine asks for; the result when it has ended.
    fn perform(&mut self) -> Option<Result<()>> {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::ReadOwn => {
                    let executed = self.shared.executed.lock().clone();
                    info!("executed so far: {} transactions", executed.count());
                    self.tell(Input::Own {
                        executed,
                        unapplied: self.unapplied.clone(),
                        can_clone: self.can_clone,
                    });
                }
                Action::Join => {
                    if let Some(feed) = self.feed.take() {
                        self.request(Request::Join(feed));
                    }
                }
                Action::ReadGroup => self.request(Request::Read),
                Action::ReadGroupExecuted => self.request(Request::Executed),
                Action::Clone { donor, endpoint } => self.clone_donor(donor, endpoint),
                Action::StopClone => {
                    if let Some(cloning) = &self.cloning {
                        cloning.stop();
                    }
                }
                Action::ApplyRelayLog => {
                    info!(
                        "the relay log holds {} transactions that are not applied",
                        self.unapplied.count()
                    );
                    self.gate.order(Order::ApplyRelayLog);
                }
                Action::Planned(plan) => {
                    info!(
                        "{} transactions are missing; method: {} ({})",
                        plan.missing.count(),
                        plan.method.name(),
                        plan.reason
                    );
                    self.publish(Event::Planned(plan));
                }
                Action::Connect {
                    attempt,
                    of,
                    donor,
                    endpoint,
                    again,
                } => {
                    if !again {
                        self.publish(Event::Donor {
                            attempt,
                            of,
                            donor: donor.clone(),
                        });
                    }
                    if let Err(error) = self.connect(attempt, of, donor, endpoint) {
                        self.tell(Input::Failed(error));
                    }
                }
                Action::StopDonor { .. } => {
                    self.shared.cancelled.store(self.connection, Release);
                    self.receivers.stop();
                    // A panicked applier is told as a fact of its own.
                    let _ = self.fences.send(());
                }
                Action::Failover(record) => {
                    if let Some(end) = &record.end {
                        warn!(
                            "donor {} failed in attempt {} after {} transactions ({}): {}",
                            record.donor.address,
                            record.number,
                            record.applied,
                            end.kind,
                            end.message
                        );
                    }
                    self.publish(Event::Failover(record));
                }
                Action::Sleep(time) => {
                    info!("all donors were tried, sleeping {} s", time.as_secs());
                    self.publish(Event::Sleep(time));
                }
                Action::StartCatchUp => {
                    info!("phase 2: {} transactions are queued", self.queued());
                    self.status.lock().donor = None;
                    self.gate.order(Order::Release);
                    self.publish(Event::CatchUp);
                }
                Action::DeclareOnline => self.declare_online(),
                Action::End(end) => {
                    self.status.lock().exit_state_action = end.exit_state_action;
                    return Some(end.result);
                }
            }
        }
        None
    }

    fn request(&self, request: Request) {
        // The group thread is gone only after a panic, which is told.
        let _ = self.requests.send(request);
    }

    fn publish(&self, event: Event) {
        self.shared.subscribers.publish(&event);
    }

    fn connect(
        &mut self,
        attempt: u32,
        of: u32,
        donor: GroupMember,
        endpoint: Endpoint,
    ) -> Result<()> {
        info!(
            "asking donor {endpoint} ({}), attempt {attempt} of {of}",
            donor.uuid
        );
        self.group.donor_chosen(&donor.uuid);
        self.status.lock().donor = Some(endpoint.to_string());
        let mut options = self.group.donor_options(&donor);
        self.machine.settings().recovery_channel.apply(&mut options);
        self.connection += 1;
        let executed = self.shared.executed.lock().clone();
        let mut request = DumpRequest::new(self.server_id, self.uuid, executed);
        request.net_write_timeout = self.net_write_timeout;
        let receiver = Receiver {
            attempt,
            connection: self.connection,
            options,
            request,
            donor: donor.uuid,
            endpoint,
            limits: self.limits.clone(),
            shared: Arc::clone(&self.shared),
            closer: Closer::new(),
            received: self.received.clone(),
            bell: self.gate.bell(),
            large_bytes: self.large_bytes,
            recycled: self.recycled.clone(),
            facts: self.facts_sender.clone(),
        };
        self.receivers.start(receiver)
    }

    fn clone_donor(&mut self, donor: GroupMember, endpoint: Endpoint) {
        info!("cloning {endpoint} ({})", donor.uuid);
        self.group.donor_chosen(&donor.uuid);
        self.status.lock().donor = Some(endpoint.to_string());
        let mut options = self.group.donor_options(&donor);
        self.machine.settings().recovery_channel.apply(&mut options);
        let limits = self.limits.clone();
        let donors = &mut *self.clone_donors;
        let (cloning, job) =
            Cloning::begin(donors, donor, endpoint, options, limits, self.server_id);
        self.cloning = Some(cloning);
        self.tell_clone();
        // The applier is gone only after a panic, which is told.
        let _ = self.clones.send(job);
    }

    /// Tells how far the clone is, while there is one.
    fn tell_clone(&self) {
        if let Some(cloning) = &self.cloning {
            self.publish(Event::Clone {
                donor: cloning.donor.clone(),
                progress: cloning.progress(),
                state: CloneState::Copying,
            });
        }
    }

    fn clone_ended(&mut self, state: CloneState) {
        if let Some(cloning) = self.cloning.take() {
            self.publish(Event::Clone {
                progress: cloning.progress(),
                donor: cloning.donor,
                state,
            });
        }
    }

    fn declare_online(&mut self) {
        let gtid_executed = self.shared.executed.lock().clone();
        let transactions = self.shared.applied.load(Relaxed);
        let elapsed = self.shared.now();
        info!(
            "ONLINE after {:.1} s: {transactions} transactions applied, {} attempts",
            elapsed.as_secs_f64(),
            self.machine.attempts()
        );
        self.group.state_changed(MemberState::Online);
        self.refresh();
        self.publish(Event::Online {
            gtid_executed,
            transactions,
            elapsed,
            attempts: self.machine.attempts(),
        });
    }

    /// Brings the published status up to date.
    fn refresh(&mut self) {
        let gtid_executed = self.shared.executed.lock().clone();
        let missing = self.cut.subtract(&gtid_executed).count();
        let queued = self.queued();
        let rate = self.window.last_applied;
        let eta = match missing + queued {
            0 => Some(Duration::ZERO),
            _ if rate == 0 => None,
            rest => Some(Duration::from_secs(rest.div_ceil(rate))),
        };
        let mut status = self.status.lock();
        // Ended is told when the result is there to be read.
        if status.phase != self.machine.phase() && self.machine.phase() != Phase::Ended {
            status.phase = self.machine.phase();
            self.shared.phase_changed.notify_all();
        }
        status.attempts = self.machine.attempts();
        let records = self.machine.attempt_records();
        if status.attempt_records.last() != records.last() {
            status.attempt_records = self.machine.attempt_records().cloned().collect();
        }
        status.gtid_executed = gtid_executed;
        status.transactions = self.shared.applied.load(Relaxed);
        status.received_bytes = self.shared.received_bytes.load(Relaxed);
        status.overflow_bytes = self.shared.overflow_bytes.load(Relaxed);
        status.relay_log_bytes = self.shared.relay_log_bytes.load(Relaxed);
        status.stalled = Duration::from_nanos(self.shared.stalled_nanos.load(Relaxed));
        status.missing = missing;
        status.queued = queued;
        status.rate = rate;
        status.eta = eta;
        status.clone = self.cloning.as_ref().map(Cloning::progress);
        status.elapsed = self.shared.now();
    }
}

/// The channels between the threads are short: what waits in them is not applied yet and costs
/// memory; a batch holds a thousand transactions.
pub(super) fn work_channel() -> (Sender<Work>, Inbox<Work>) {
    bounded(4)
}

/// The error of a member whose threads are gone without a result.
pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "the controller thread has panicked")
}
