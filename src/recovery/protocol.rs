//! What the machine is told, and what it asks for.

use std::time::Duration;

use super::{AttemptRecord, ExitStateAction, Plan};
use crate::Error;
use crate::group::{Cut, GroupMember, MemberState, View};
use crate::gtid::GtidSet;
use crate::net::Endpoint;

/// A fact that the owner of the machine tells it.
#[derive(Debug)]
pub enum Input {
    /// What the target holds: the answer to [`Action::ReadOwn`].
    Own {
        /// What it has executed.
        executed: GtidSet,
        /// Whole transactions in its relay log that are not executed yet.
        unapplied: GtidSet,
        /// Whether its data can be replaced with a donor's.
        can_clone: bool,
    },
    /// The group was joined, its feed delivers from `cut` on: an answer to [`Action::Join`].
    Joined {
        /// The membership, with what each member has executed and purged.
        view: View,
        /// Where phase 1 ends.
        cut: Cut,
    },
    /// The group refused to be joined: the other answer to [`Action::Join`].
    JoinFailed(Error),
    /// The membership has changed, or was read again for [`Action::ReadGroup`].
    View(View),
    /// No member could answer [`Action::ReadGroup`] or [`Action::ReadGroupExecuted`] just now.
    ReadFailed(Error),
    /// No member of the group has answered for long.
    GroupUnreachable(Error),
    /// A clone is complete: the target holds the donor's data.
    Cloned,
    /// A clone has failed or was stopped: the other answer to [`Action::Clone`].
    CloneFailed {
        /// Why.
        error: Error,
        /// Whether the target's own data is gone, so that there is no way back.
        data_dropped: bool,
    },
    /// The donor of this attempt serves us.
    Connected {
        /// The attempt's number.
        attempt: u32,
    },
    /// What came from the donor of this attempt in the last second.
    Received {
        /// The attempt's number.
        attempt: u32,
        /// Bytes of events.
        bytes: u64,
        /// Whether it was the applier that kept the receiver from taking more.
        held_back: bool,
    },
    /// Receiving from, or applying what came from, the donor of this attempt has failed.
    DonorFailed {
        /// The attempt's number.
        attempt: u32,
        /// What failed.
        error: Error,
    },
    /// Nothing more comes from the donor of this attempt, and nothing of it is left to be applied:
    /// the answer to [`Action::StopDonor`].
    DonorStopped {
        /// The attempt's number.
        attempt: u32,
    },
    /// What the target has executed by now.
    Executed(GtidSet),
    /// The transaction with this view-change event has been applied.
    ViewChangeApplied(String),
    /// How the queue stands, told about once a second while catching up and whenever it is empty.
    Queue {
        /// Transactions delivered and not yet applied.
        queued: u64,
        /// Transactions applied in the last second.
        applied_last_second: u64,
        /// All that the group has delivered since the cut.
        delivered: GtidSet,
    },
    /// What the group has executed: the answer to [`Action::ReadGroupExecuted`].
    GroupExecuted(GtidSet),
    /// The applier of the relay log or of the group's own transactions has failed, or the owner
    /// itself.
    Failed(Error),
    /// The owner wants to stop.
    Stop,
    /// Time has passed.
    Tick,
}

/// What the owner of the machine has to do.
#[derive(Debug)]
pub enum Action {
    /// Tell what the target holds ([`Input::Own`]).
    ReadOwn,
    /// Apply what the relay log still holds from an earlier run; [`Input::Executed`] shows when all
    /// of it is there.
    ApplyRelayLog,
    /// Join the group ([`Input::Joined`] or [`Input::JoinFailed`]).
    Join,
    /// Read the members' states and sets again ([`Input::View`] or [`Input::ReadFailed`]).
    ReadGroup,
    /// The plan was made.
    Planned(Plan),
    /// Replace the target's data with this donor's ([`Input::Cloned`] or [`Input::CloneFailed`]).
    Clone {
        /// The member to clone.
        donor: GroupMember,
        /// Where it serves.
        endpoint: Endpoint,
    },
    /// The donor of the clone has left: stop it ([`Input::CloneFailed`]).
    StopClone,
    /// Ask this donor for everything that the target has not executed ([`Input::Connected`] or
    /// [`Input::DonorFailed`]).
    Connect {
        /// The attempt's number, from 1.
        attempt: u32,
        /// The number of attempts allowed.
        of: u32,
        /// The member to ask.
        donor: GroupMember,
        /// Where to connect to: one of its recovery endpoints.
        endpoint: Endpoint,
        /// Whether this goes on with an attempt that has begun: at the donor's next endpoint, or
        /// where its connection broke a moment ago.
        again: bool,
    },
    /// Close this attempt's connection, drop what is not applied yet ([`Input::DonorStopped`]).
    StopDonor {
        /// The attempt's number.
        attempt: u32,
    },
    /// An attempt has failed; the next action says what follows.
    Failover(AttemptRecord),
    /// Every donor was tried: nothing happens for this long. The end is in
    /// [`Machine::next_wakeup`](super::Machine::next_wakeup).
    Sleep(Duration),
    /// Phase 1 is over: apply what the group has delivered, and everything that it delivers from
    /// now on.
    StartCatchUp,
    /// Ask a member what the group has executed ([`Input::GroupExecuted`] or
    /// [`Input::ReadFailed`]).
    ReadGroupExecuted,
    /// The member is ONLINE.
    DeclareOnline,
    /// Recovery has ended. The last action.
    End(End),
}

/// How recovery ended.
#[derive(Debug)]
pub struct End {
    /// `Ok` where the owner asked for it; why it could not go on otherwise.
    pub result: Result<(), Error>,
    /// The member's state from now on: OFFLINE when it was stopped or never joined, ERROR when
    /// recovery failed.
    pub state: MemberState,
    /// What `exit_state_action` asks of the member's server. `None` where MySQL takes none: after a
    /// stop, and when the group was not joined (START GROUP_REPLICATION itself fails then).
    pub exit_state_action: Option<ExitStateAction>,
}

/// Where recovery stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Applying what the relay log held from an earlier run.
    RelayLog,
    /// Reading its own state, joining, planning.
    Joining,
    /// Replacing its data with a donor's.
    Cloning,
    /// Phase 1: state transfer from a donor.
    Transfer,
    /// Phase 1, sleeping because every donor was tried.
    Sleeping,
    /// Phase 2: applying what the group delivered meanwhile.
    CatchUp,
    /// A member like any other.
    Online,
    /// Ended.
    Ended,
}
