//! What to do about the difference between the member and its group, before the first byte moves.
//!
//! The decision table is that of MySQL 9.7 (`check_clone_preconditions`): a clone where the gap
//! reaches `clone_threshold` or where no ONLINE member still has what is missing in its binary
//! logs, binary logs otherwise.

use crate::group::{Cut, GroupMember, MemberState, View};
use crate::gtid::GtidSet;
use crate::net::ServerVersion;

use super::Settings;

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
            Self::BinaryLog => "binary_log",
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
    /// Compares `own` with the group. `clone_available` says whether this member can clone at all.
    pub fn new(
        own: &GtidSet,
        view: &View,
        cut: &Cut,
        settings: &Settings,
        clone_available: bool,
    ) -> Self {
        let mut group = view.executed();
        if let Cut::Gtids(set) = cut {
            group.extend(set);
        }
        let missing = group.subtract(own);
        let errant = own.subtract(&group);
        let (method, reason) = choose(&missing, view, settings, clone_available);
        Self {
            method,
            reason,
            missing,
            errant,
        }
    }
}

fn choose(
    missing: &GtidSet,
    view: &View,
    settings: &Settings,
    clone_available: bool,
) -> (Method, String) {
    let count = missing.count();
    if count == 0 {
        return (Method::Nothing, "nothing is missing".into());
    }
    let still_has = |member: &&GroupMember| {
        member
            .purged
            .as_ref()
            .is_none_or(|purged| !purged.intersects(missing))
    };
    let with_logs = view.online().filter(still_has).count();
    let recovering_with_logs = view
        .members
        .iter()
        .filter(|member| member.state == MemberState::Recovering)
        .filter(still_has)
        .count();
    let clone_donors = view
        .online()
        .filter(|member| {
            member
                .version
                .is_some_and(|version| version >= CLONE_DONOR_VERSION)
        })
        .count();
    let breach = count >= settings.clone_threshold;
    let wants_clone = clone_donors > 0 && (breach || with_logs == 0);
    if wants_clone && clone_available {
        let reason = if breach {
            format!(
                "{count} transactions are missing, at least clone_threshold {}",
                settings.clone_threshold
            )
        } else {
            format!("no ONLINE member has the {count} missing transactions in its binary logs")
        };
        return (Method::Clone, reason);
    }
    if with_logs > 0 {
        let mut reason =
            format!("{with_logs} ONLINE members have the {count} missing transactions");
        if wants_clone {
            reason.push_str("; a clone would be preferred but is not available here");
        }
        return (Method::BinaryLog, reason);
    }
    if recovering_with_logs > 0 {
        return (
            Method::BinaryLog,
            format!(
                "only members that are RECOVERING have the {count} missing transactions; \
                 waiting for one to be ONLINE"
            ),
        );
    }
    (
        Method::Impossible,
        format!(
            "the {count} missing transactions are purged from the binary logs of every member, \
             and a clone is not available here"
        ),
    )
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
        let joining = (Recovering, "", "9.7.4");
        for (members, threshold, with_clone, without) in [
            // breach, clone donors
            (&[good, good][..], 50, Method::Clone, Method::BinaryLog),
            (&[good, good], 51, Method::BinaryLog, Method::BinaryLog),
            // nobody ONLINE has the logs
            (&[purged, purged], 1000, Method::Clone, Method::Impossible),
            (&[purged, good], 1000, Method::BinaryLog, Method::BinaryLog),
            // too old to be cloned from
            (&[old], 1000, Method::Impossible, Method::Impossible),
            (&[old, joining], 1000, Method::BinaryLog, Method::BinaryLog),
            (&[purged, joining], 1000, Method::Clone, Method::BinaryLog),
            (&[old, joining], 10, Method::BinaryLog, Method::BinaryLog),
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
    fn nothing_missing_and_errant() {
        let all = plan(&[(MemberState::Online, "", "9.7.4")], "1-100", 1, true);
        assert_eq!((all.method, all.errant.is_empty()), (Method::Nothing, true));
        let errant = plan(&[(MemberState::Online, "", "9.7.4")], "1-101", 1, true);
        assert_eq!(errant.errant, gtids("101"));
    }
}
