//! Which members may be asked, in which order.
//!
//! As MySQL 9.7 (`build_donor_list`): every ONLINE member but ourselves whose version is not above
//! ours (or shares our long-term support series), shuffled, one taken from the back for each
//! attempt. What a donor has purged is not looked at; trying it costs an attempt.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::DonorPolicy;
use crate::group::{GroupMember, View};
use crate::gtid::Uuid;
use crate::net::ServerVersion;

/// The donors that have not been asked since the list was last built.
#[derive(Debug, Clone, Default)]
pub(super) struct DonorList {
    /// The next one stands last.
    waiting: Vec<GroupMember>,
}

impl DonorList {
    /// Builds the list anew from a view: donors already tried are in it again, those `given_up` are
    /// not.
    pub(super) fn rebuild(
        &mut self,
        view: &View,
        policy: &DonorPolicy,
        given_up: &[Uuid],
        random: &mut StdRng,
    ) {
        self.waiting = candidates(view, policy)
            .filter(|member| !given_up.contains(&member.uuid))
            .cloned()
            .collect();
        shuffle(&mut self.waiting, policy, random);
    }

    /// Takes the next donor.
    pub(super) fn pop(&mut self) -> Option<GroupMember> {
        self.waiting.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops the donors for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&GroupMember) -> bool) {
        self.waiting.retain(keep);
    }
}

/// The members of `view` that may be asked.
pub(super) fn candidates<'a>(
    view: &'a View,
    policy: &'a DonorPolicy,
) -> impl Iterator<Item = &'a GroupMember> {
    view.online()
        .filter(|member| may_serve(member.version) && !policy.excludes(member))
}

/// Brings the donors into a random order in which the preferred stand last and, among equals, those
/// of more weight tend to.
fn shuffle(donors: &mut [GroupMember], policy: &DonorPolicy, random: &mut StdRng) {
    donors.shuffle(random);
    if !policy.weights.is_empty() {
        // The smallest of exponential times at rates w comes first with a probability proportional
        // to w; the sum of the rates need not be known.
        donors.sort_by_cached_key(|member| {
            let uniform: f64 = random.random();
            let time = uniform.ln().abs() / f64::from(policy.weight(member));
            // Of numbers that are not negative, the bits have the order of the numbers.
            std::cmp::Reverse(time.to_bits())
        });
    }
    if !policy.prefer.is_empty() {
        donors.sort_by_key(|member| std::cmp::Reverse(policy.rank(member)));
    }
}

/// The version whose behaviour this crate has.
pub(super) const OWN_VERSION: ServerVersion = ServerVersion {
    major: 9,
    minor: 7,
    patch: 4,
};

/// Whether a member of this version may be our donor: no newer one, but within the long-term support
/// series, of which 9.7 is the only one that counts.
///
/// A version that could not be read is given the benefit of the doubt; the attempt will show.
pub fn may_serve(donor: Option<ServerVersion>) -> bool {
    let series = |version: ServerVersion| (version.major, version.minor);
    donor.is_none_or(|donor| series(donor) <= series(OWN_VERSION))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::Selector;
    use super::super::testing::{member, uuid};
    use super::*;
    use crate::group::MemberState;

    fn order(view: &View, policy: &DonorPolicy, given_up: &[Uuid], seed: u64) -> Vec<Uuid> {
        let mut list = DonorList::default();
        list.rebuild(view, policy, given_up, &mut StdRng::seed_from_u64(seed));
        std::iter::from_fn(|| list.pop().map(|member| member.uuid)).collect()
    }

    fn three() -> View {
        View {
            members: (1..=3).map(|n| member(n, MemberState::Online)).collect(),
        }
    }

    /// How often each of three members came first in 3000 lists.
    fn first(policy: &DonorPolicy) -> [f64; 3] {
        let mut first = [0f64; 3];
        for seed in 0..3000 {
            let number = order(&three(), policy, &[], seed)[0].0[0];
            first[usize::from(number) - 1] += 1.0;
        }
        first
    }

    #[test]
    fn only_online_members_of_a_fitting_version() {
        let mut view = View {
            members: vec![
                member(1, MemberState::Online),
                member(2, MemberState::Recovering),
                member(3, MemberState::Online),
                member(4, MemberState::Online),
                member(5, MemberState::Online),
                member(6, MemberState::Online),
            ],
        };
        for (index, version) in [(2, "9.8.0"), (3, "9.7.99"), (4, "8.7.1")] {
            view.members[index].version = Some(ServerVersion::parse(version));
        }
        view.members[5].version = None;
        let mut donors = order(&view, &DonorPolicy::default(), &[uuid(5)], 1);
        donors.sort();
        assert_eq!(donors, [uuid(1), uuid(4), uuid(6)]);
    }

    /// Every donor comes first about equally often (chi-square, 2 degrees of freedom, p < 0.001).
    #[test]
    fn the_choice_is_uniform() {
        let first = first(&DonorPolicy::default());
        let chi: f64 = first.iter().map(|n| (n - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 13.8, "{first:?}");
    }

    #[test]
    fn weights_are_proportions() {
        let first = first(&DonorPolicy {
            weights: vec![
                (Selector::Member(uuid(1)), 3),
                (Selector::Member(uuid(2)), 2),
            ],
            ..DonorPolicy::default()
        });
        let chi: f64 = first
            .iter()
            .zip([1500.0, 1000.0, 500.0])
            .map(|(n, expected)| (n - expected).powi(2) / expected)
            .sum();
        assert!(chi < 13.8, "{first:?}");
    }

    #[test]
    fn the_preferred_come_first_and_the_excluded_not_at_all() {
        let policy = DonorPolicy {
            exclude: vec![Selector::Host("db1".into())],
            prefer: vec![Selector::Member(uuid(3)), Selector::Secondary],
            weights: vec![(Selector::Member(uuid(2)), 1_000_000)],
            ..DonorPolicy::default()
        };
        for seed in 0..50 {
            assert_eq!(order(&three(), &policy, &[], seed), [uuid(3), uuid(2)]);
        }
        assert_eq!(order(&three(), &policy, &[uuid(3)], 0), [uuid(2)]);
    }
}
