//! What to do about the difference between the member and its group, before the first byte moves.
//!
//! The decision table is that of MySQL 9.7 (`check_clone_preconditions`): a clone where the gap
//! reaches `clone_threshold` or where no ONLINE member still has what is missing in its binary
//! logs, binary logs otherwise.

use crate::group::{Cut, GroupMember, MemberState, View};
use crate::gtid::GtidSet;
use crate::net::ServerVersion;

use super::Settings;
use super::policy::still_has;

/// The oldest version that a group accepts as the donor of a clone.
const CLONE_DONOR_VERSION: ServerVersion = ServerVersion {
    major: 8,
    minor: 4,
    patch: 0,
};

/// How the missing transactions are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Nothing is missing.
    Nothing,
    /// From a donor's binary logs.
    BinaryLog,
    /// A copy of a donor's data, then the rest from binary logs.
    Clone,
    /// Nobody has what is missing, and nobody can be cloned.
    Impossible,
}

impl Method {
    /// The stable name used in `--json` output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::BinaryLog => "binlog",
            Self::Clone => "clone",
            Self::Impossible => "impossible",
        }
    }
}

/// What recovery is going to do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The way chosen.
    pub method: Method,
    /// Why it was chosen, for people.
    pub reason: String,
    /// What the group has and the member has not.
    pub missing: GtidSet,
    /// What the member has and the group has not; recovery does not begin unless it is empty.
    pub errant: GtidSet,
}

impl Plan {
    /// The plan of a member that is alone in its group.
    pub(super) fn alone() -> Self {
        Self {
            method: Method::Nothing,
            reason: "alone in the group".into(),
            missing: GtidSet::new(),
            errant: GtidSet::new(),
        }
    }

    /// Compares `own` with the group, whose members but this one are in `view`. `can_clone` says
    /// whether this member's data can be replaced with a donor's.
    pub fn new(
        own: &GtidSet,
        view: &View,
        cut: &Cut,
        settings: &Settings,
        can_clone: bool,
    ) -> Self {
        let mut group = view.executed();
        if let Cut::Gtids(set) = cut {
            group.extend(set);
        }
        let missing = group.subtract(own);
        let knows_group =
            matches!(cut, Cut::Gtids(_)) || view.members.iter().any(|m| m.executed.is_some());
        let errant = if knows_group {
            own.subtract(&group)
        } else {
            GtidSet::new()
        };
        let sides = Sides::new(own, view, cut);
        let (method, reason) = match cut {
            // The end of phase 1 is itself a transaction that only a donor can send.
            Cut::Gtids(_) if missing.is_empty() => (Method::Nothing, "nothing is missing".into()),
            _ => sides.choose(missing.count(), settings, can_clone),
        };
        Self {
            method,
            reason,
            missing,
            errant,
        }
    }
}

/// Who could help, in the terms of the decision table.
struct Sides {
    /// What those that could be cloned have and we have not: the table's measure of the gap.
    gap: u64,
    /// ONLINE members that could be cloned.
    clone_donors: usize,
    /// ONLINE members that still have the gap in their binary logs.
    donors: usize,
    /// RECOVERING members that still have it: they may be ONLINE soon.
    recovering: usize,
}

impl Sides {
    fn new(own: &GtidSet, view: &View, cut: &Cut) -> Self {
        let mut theirs = GtidSet::new();
        let mut clone_donors = 0;
        for member in view.online().filter(|member| can_be_cloned(member)) {
            clone_donors += 1;
            match (&member.executed, cut) {
                (Some(executed), _) => theirs.extend(executed),
                (None, Cut::Gtids(cut)) => theirs.extend(cut),
                (None, Cut::ViewId(_)) => {}
            }
        }
        let gap = theirs.subtract(own);
        let with_logs = |state| {
            view.members
                .iter()
                .filter(|member| member.state == state && still_has(member, &gap))
                .count()
        };
        Self {
            clone_donors,
            donors: with_logs(MemberState::Online),
            recovering: with_logs(MemberState::Recovering),
            gap: gap.count(),
        }
    }

    fn choose(&self, missing: u64, settings: &Settings, can_clone: bool) -> (Method, String) {
        let breach = self.gap >= settings.clone_threshold;
        let wants_clone = self.clone_donors > 0 && (breach || self.donors == 0);
        if wants_clone && can_clone {
            let reason = if breach {
                format!(
                    "{} transactions are missing, at least clone_threshold {}",
                    self.gap, settings.clone_threshold
                )
            } else {
                format!(
                    "no ONLINE member has the {missing} missing transactions in its binary logs"
                )
            };
            return (Method::Clone, reason);
        }
        if self.donors > 0 {
            let mut reason = format!(
                "ONLINE members that have the {missing} missing transactions: {}",
                self.donors
            );
            if wants_clone {
                reason.push_str("; a clone would be preferred but is not available here");
            }
            return (Method::BinaryLog, reason);
        }
        if self.recovering > 0 {
            let reason = format!(
                "only members that are RECOVERING have the {missing} missing transactions; \
                 waiting for one to be ONLINE"
            );
            return (Method::BinaryLog, reason);
        }
        let reason = if self.clone_donors > 0 {
            format!(
                "the {missing} missing transactions are purged from the binary logs of every \
                 member, and a clone is not available here"
            )
        } else {
            "no member of the group is ONLINE or RECOVERING".into()
        };
        (Method::Impossible, reason)
    }
}

/// Whether this member is of a version that a group takes as the donor of a clone: 8.4.0 or later. One
/// that could not be read is none.
pub fn can_be_cloned(member: &GroupMember) -> bool {
    member
        .version
        .is_some_and(|version| version >= CLONE_DONOR_VERSION)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gtids, member};
    use super::*;

    fn plan(
        members: &[(MemberState, &str, &str)],
        own: &str,
        threshold: u64,
        clone_available: bool,
    ) -> Plan {
        let view = View {
            members: members
                .iter()
                .zip(1..)
                .map(|((state, purged, version), number)| {
                    let mut member = member(number, *state);
                    member.executed = Some(gtids("1-100"));
                    member.purged = Some(gtids(purged));
                    member.version = Some(ServerVersion::parse(version));
                    member
                })
                .collect(),
        };
        let settings = Settings {
            clone_threshold: threshold,
            ..Settings::default()
        };
        Plan::new(
            &gtids(own),
            &view,
            &Cut::Gtids(gtids("1-100")),
            &settings,
            clone_available,
        )
    }

    /// The rows of the decision table, with a clone to be had and without.
    #[test]
    fn the_decision_table() {
        use MemberState::{Online, Recovering};
        let good = (Online, "", "9.7.4");
        let purged = (Online, "1-60", "9.7.4");
        let old = (Online, "1-60", "8.3.0");
        let edge = (Online, "1-60", "8.4.0");
        let joining = (Recovering, "", "9.7.4");
        let lagging = (Recovering, "100", "9.7.4");
        let lost = (MemberState::Unreachable, "", "9.7.4");
        let failed = (MemberState::Error, "", "9.7.4");
        for (members, threshold, with_clone, without) in [
            // breach, clone donors
            (&[good, good][..], 50, Method::Clone, Method::BinaryLog),
            (&[good, good], 51, Method::BinaryLog, Method::BinaryLog),
            // nobody ONLINE has the logs
            (&[purged, purged], 1000, Method::Clone, Method::Impossible),
            (&[purged, good], 1000, Method::BinaryLog, Method::BinaryLog),
            // too old to be cloned from: the table sees no gap then, an attempt will show it
            (&[old], 1000, Method::BinaryLog, Method::BinaryLog),
            (&[old, joining], 10, Method::BinaryLog, Method::BinaryLog),
            (&[edge], 1000, Method::Clone, Method::Impossible),
            (&[edge], 50, Method::Clone, Method::Impossible),
            // one that is RECOVERING may be ONLINE soon
            (&[purged, joining], 1000, Method::Clone, Method::BinaryLog),
            (&[joining], 1000, Method::BinaryLog, Method::BinaryLog),
            (&[purged, lagging], 1000, Method::Clone, Method::Impossible),
            // nobody
            (&[lost, failed], 1, Method::Impossible, Method::Impossible),
        ] {
            for (available, expected) in [(true, with_clone), (false, without)] {
                let plan = plan(members, "1-50", threshold, available);
                assert_eq!(
                    plan.method, expected,
                    "{members:?} {threshold} {available}: {}",
                    plan.reason
                );
            }
        }
    }

    #[test]
    fn purged_transactions_that_we_have_do_not_matter() {
        let plan = plan(
            &[(MemberState::Online, "1-50", "9.7.4")],
            "1-50",
            1000,
            false,
        );
        assert_eq!(plan.method, Method::BinaryLog);
        assert_eq!(plan.missing, gtids("51-100"));
    }

    #[test]
    fn a_view_change_event_must_come_from_a_donor() {
        let mut only = member(1, MemberState::Online);
        only.executed = Some(gtids("1-5"));
        let mut view = View {
            members: vec![only],
        };
        let cut = Cut::ViewId("17:4".into());
        let settings = Settings::default();
        let plan = Plan::new(&gtids("1-6"), &view, &cut, &settings, true);
        assert_eq!(plan.method, Method::BinaryLog);
        assert_eq!(plan.errant, gtids("6"));
        // Of a group that tells nothing, nothing can be said.
        view.members[0].executed = None;
        let plan = Plan::new(&gtids("1-6"), &view, &cut, &settings, true);
        assert_eq!(plan.method, Method::BinaryLog);
        assert!(plan.errant.is_empty());
    }

    #[test]
    fn what_clone_donors_do_not_tell_is_taken_from_the_cut() {
        let mut only = member(1, MemberState::Online);
        only.purged = Some(gtids("90"));
        let view = View {
            members: vec![only],
        };
        let cut = Cut::Gtids(gtids("1-100"));
        let plan = Plan::new(&gtids("1-50"), &view, &cut, &Settings::default(), true);
        assert_eq!(plan.method, Method::Clone);
    }

    #[test]
    fn a_group_whose_members_have_all_left_is_no_way_to_be_alone() {
        for cut in [Cut::Gtids(gtids("1-100")), Cut::ViewId("17:4".into())] {
            let (own, view) = (gtids("1-50"), View::default());
            let plan = Plan::new(&own, &view, &cut, &Settings::default(), true);
            assert_eq!(plan.method, Method::Impossible);
        }
    }

    #[test]
    fn nothing_missing_and_errant() {
        let all = plan(&[(MemberState::Online, "", "9.7.4")], "1-100", 1, true);
        assert_eq!((all.method, all.errant.is_empty()), (Method::Nothing, true));
        let errant = plan(&[(MemberState::Online, "", "9.7.4")], "1-101", 1, true);
        assert_eq!(errant.errant, gtids("101"));
    }
}
