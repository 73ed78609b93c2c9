//! Members and views: what a joiner sees of a group.

use std::fmt;

use crate::gtid::{GtidSet, Uuid};
use crate::net::{Endpoint, ServerVersion};

/// A member's state, as `performance_schema.replication_group_members` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// A full member, able to be a donor.
    Online,
    /// In distributed recovery itself.
    Recovering,
    /// In the group's configuration, but not taking part.
    Offline,
    /// Left after a failure.
    Error,
    /// The other members do not hear from it.
    Unreachable,
}

impl MemberState {
    /// Reads the server's name for it; `None` for a name no version uses.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ONLINE" => Self::Online,
            "RECOVERING" => Self::Recovering,
            "OFFLINE" => Self::Offline,
            "ERROR" => Self::Error,
            "UNREACHABLE" => Self::Unreachable,
            _ => return None,
        })
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "ONLINE",
            Self::Recovering => "RECOVERING",
            Self::Offline => "OFFLINE",
            Self::Error => "ERROR",
            Self::Unreachable => "UNREACHABLE",
        })
    }
}

/// A member of the group as a view shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its server UUID.
    pub uuid: Uuid,
    /// `MEMBER_HOST:MEMBER_PORT`.
    pub address: Endpoint,
    /// Its state in this view.
    pub state: MemberState,
    /// Whether it is a primary.
    pub primary: bool,
    /// Its version; unknown where it could not be read.
    pub version: Option<ServerVersion>,
    /// Where it serves joiners, in the order in which they are tried
    /// (`group_replication_advertise_recovery_endpoints`); usually just its address.
    pub recovery_endpoints: Vec<Endpoint>,
    /// What it has executed or received from the group; unknown where it could not be asked.
    pub executed: Option<GtidSet>,
    /// What it has executed but no longer has in its binary logs.
    pub purged: Option<GtidSet>,
}

/// The membership of the group at one moment, without the joiner itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// All other members.
    pub members: Vec<GroupMember>,
}

impl View {
    /// The member with this UUID.
    pub fn member(&self, uuid: &Uuid) -> Option<&GroupMember> {
        self.members.iter().find(|member| member.uuid == *uuid)
    }

    /// The members in state ONLINE.
    pub fn online(&self) -> impl Iterator<Item = &GroupMember> {
        self.members
            .iter()
            .filter(|member| member.state == MemberState::Online)
    }

    /// Whether most of the members can be reached: without a majority, a group decides nothing.
    pub fn has_majority(&self) -> bool {
        let unreachable = self
            .members
            .iter()
            .filter(|member| member.state == MemberState::Unreachable)
            .count();
        unreachable == 0 || self.members.len() > 2 * unreachable
    }

    /// Everything that any member is known to have executed or received.
    pub fn executed(&self) -> GtidSet {
        let mut all = GtidSet::new();
        for set in self
            .members
            .iter()
            .filter_map(|member| member.executed.as_ref())
        {
            all.extend(set);
        }
        all
    }
}

/// The point in the group's total order at which the joiner joined: the end of phase 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Groups in which every member is 8.3.0 or later: what the group had executed.
    Gtids(GtidSet),
    /// Older groups, and groups in process: the view-change event with this view identifier.
    ViewId(String),
}
