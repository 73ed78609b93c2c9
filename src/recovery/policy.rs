//! Which donors are preferred: an addition to MySQL, whose choice is random and stays the default.

use std::fmt;
use std::str::FromStr;

use crate::group::GroupMember;
use crate::gtid::{GtidSet, Uuid};
use crate::{Error, ErrorKind, Result};

/// Picks members of a group.
///
/// ```
/// use rejoin::recovery::Selector;
///
/// assert_eq!("role:primary".parse::<Selector>()?, Selector::Primary);
/// assert_eq!(Selector::Host("db1".into()).to_string(), "host:db1");
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// The member with this server UUID (`member:UUID`).
    Member(Uuid),
    /// Every member on this host (`host:NAME`).
    Host(String),
    /// Every member that bears this label (`label:NAME`); [`DonorPolicy::labels`] gives it.
    Label(String),
    /// Every primary (`role:primary`).
    Primary,
    /// Every secondary (`role:secondary`).
    Secondary,
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::new(
                ErrorKind::Configuration,
                format!("'{text}' selects no members"),
            )
            .remedy("use member:UUID, host:NAME, label:NAME, role:primary or role:secondary")
        };
        match text.split_once(':') {
            Some(("member", uuid)) => uuid.parse().map(Self::Member).map_err(|_| refuse()),
            Some(("host", name)) if !name.is_empty() => Ok(Self::Host(name.into())),
            Some(("label", name)) if !name.is_empty() => Ok(Self::Label(name.into())),
            Some(("role", "primary")) => Ok(Self::Primary),
            Some(("role", "secondary")) => Ok(Self::Secondary),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(uuid) => write!(f, "member:{uuid}"),
            Self::Host(name) => write!(f, "host:{name}"),
            Self::Label(name) => write!(f, "label:{name}"),
            Self::Primary => f.write_str("role:primary"),
            Self::Secondary => f.write_str("role:secondary"),
        }
    }
}

/// Rules for the choice of a donor. With none, as by default, every donor is as likely as any other.
///
/// They only order and narrow the list: how attempts are counted and when recovery sleeps stays as it
/// is.
///
/// ```
/// use rejoin::recovery::{DonorPolicy, Selector};
///
/// // Never the primary; first of all a member in our own data centre.
/// let policy = DonorPolicy {
///     labels: vec![("near".into(), Selector::Host("db2".into()))],
///     exclude: vec![Selector::Primary],
///     prefer: vec![Selector::Label("near".into())],
///     ..DonorPolicy::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DonorPolicy {
    /// Labels, and which members bear each.
    pub labels: Vec<(String, Selector)>,
    /// Members that are never asked.
    pub exclude: Vec<Selector>,
    /// Members that are asked before all others; those of an earlier entry before those of a later.
    pub prefer: Vec<Selector>,
    /// How likely a member is to be asked before others of the same preference, 1 to 1,000,000; the
    /// first entry that fits counts, 1 where none does.
    pub weights: Vec<(Selector, u32)>,
    /// Whether the members are read again before each attempt, and those passed over that have
    /// purged what is missing. That costs such a donor no attempt.
    pub must_have_missing: bool,
}

/// The largest weight.
const MAX_WEIGHT: u32 = 1_000_000;

impl DonorPolicy {
    /// Checks that every label is given to members and every weight is in its range.
    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        for (label, members) in &self.labels {
            if matches!(members, Selector::Label(_)) {
                return refuse(format!("label {label} is given to another label"));
            }
        }
        let used = self.exclude.iter().chain(&self.prefer);
        for selector in used.chain(self.weights.iter().map(|(selector, _)| selector)) {
            if let Selector::Label(name) = selector
                && !self.labels.iter().any(|(label, _)| label == name)
            {
                return refuse(format!("no member bears the label {name}"));
            }
        }
        match self
            .weights
            .iter()
            .find(|(_, weight)| !(1..=MAX_WEIGHT).contains(weight))
        {
            Some((selector, _)) => refuse(format!(
                "the weight of {selector} must be 1 to {MAX_WEIGHT}"
            )),
            None => Ok(()),
        }
    }

    /// Whether this member is never asked.
    pub fn excludes(&self, member: &GroupMember) -> bool {
        self.exclude.iter().any(|s| self.matches(s, member))
    }

    /// The position of the first preference that fits; smaller is asked earlier.
    pub(super) fn rank(&self, member: &GroupMember) -> usize {
        self.prefer
            .iter()
            .position(|s| self.matches(s, member))
            .unwrap_or(self.prefer.len())
    }

    pub(super) fn weight(&self, member: &GroupMember) -> u32 {
        self.weights
            .iter()
            .find(|(s, _)| self.matches(s, member))
            .map_or(1, |(_, weight)| *weight)
    }

    fn matches(&self, selector: &Selector, member: &GroupMember) -> bool {
        match selector {
            Selector::Member(uuid) => member.uuid == *uuid,
            Selector::Host(name) => member.address.host.eq_ignore_ascii_case(name),
            Selector::Label(name) => {
                self.labels
                    .iter()
                    .filter(|(label, _)| label == name)
                    .any(|(_, members)| {
                        !matches!(members, Selector::Label(_)) && self.matches(members, member)
                    })
            }
            Selector::Primary => member.primary,
            Selector::Secondary => !member.primary,
        }
    }
}

/// Whether `member` still has all of `missing` in its binary logs, as far as is known.
pub(super) fn still_has(member: &GroupMember, missing: &GtidSet) -> bool {
    member
        .purged
        .as_ref()
        .is_none_or(|purged| !purged.intersects(missing))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{member, uuid};
    use super::*;
    use crate::group::MemberState::Online;

    #[test]
    fn selectors_read_as_they_are_written() {
        for text in [
            "member:01010101-0101-0101-0101-010101010101",
            "host:db1.example",
            "label:frankfurt",
            "role:primary",
            "role:secondary",
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        for text in ["", "db1", "host:", "label:", "role:arbiter", "member:1"] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        }
    }

    #[test]
    fn each_selector_picks_its_members() {
        let policy = DonorPolicy {
            labels: vec![
                ("near".into(), Selector::Host("db1".into())),
                ("near".into(), Selector::Member(uuid(2))),
            ],
            ..DonorPolicy::default()
        };
        let mut members: Vec<_> = (1..=3).map(|n| member(n, Online)).collect();
        members[2].primary = true;
        for (selector, picked) in [
            ("host:DB1", [true, false, false]),
            ("label:near", [true, true, false]),
            ("label:far", [false, false, false]),
            ("role:primary", [false, false, true]),
            ("role:secondary", [true, true, false]),
        ] {
            let selector = selector.parse().unwrap();
            let found: Vec<bool> = members
                .iter()
                .map(|member| policy.matches(&selector, member))
                .collect();
            assert_eq!(found, picked, "{selector}");
        }
    }

    #[test]
    fn labels_that_nobody_bears_and_weights_out_of_range_are_refused() {
        let with = |change: fn(&mut DonorPolicy)| {
            let mut policy = DonorPolicy {
                labels: vec![("near".into(), Selector::Primary)],
                ..DonorPolicy::default()
            };
            change(&mut policy);
            policy.validate()
        };
        assert!(with(|p| p.prefer = vec![Selector::Label("near".into())]).is_ok());
        assert!(with(|p| p.prefer = vec![Selector::Label("far".into())]).is_err());
        assert!(with(|p| p.weights = vec![(Selector::Label("far".into()), 1)]).is_err());
        assert!(with(|p| p.labels[0].1 = Selector::Label("near".into())).is_err());
        for (weight, good) in [(0, false), (1, true), (1_000_000, true), (1_000_001, false)] {
            let policy = DonorPolicy {
                weights: vec![(Selector::Primary, weight)],
                ..DonorPolicy::default()
            };
            assert_eq!(policy.validate().is_ok(), good, "{weight}");
        }
    }
}
