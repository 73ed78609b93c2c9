//! Which members may be asked, in which order.
//!
//! As MySQL 9.7 (`build_donor_list`): every ONLINE member but ourselves whose version is not above
//! ours (or shares our long-term support series), shuffled, one taken from the back for each
//! attempt. What a donor has purged is not looked at; trying it costs an attempt.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::group::{GroupMember, View};
use crate::gtid::Uuid;
use crate::net::ServerVersion;

/// The donors that have not been asked since the list was last built.
#[derive(Debug, Clone, Default)]
pub(super) struct DonorList {
    waiting: Vec<GroupMember>,
}

impl DonorList {
    /// Builds the list anew from a view: donors already tried are in it again.
    pub(super) fn rebuild(&mut self, view: &View, own: &Uuid, random: &mut StdRng) {
        self.waiting = view
            .online()
            .filter(|member| member.uuid != *own && may_serve(member.version))
            .cloned()
            .collect();
        self.waiting.shuffle(random);
    }

    /// Takes the next donor.
    pub(super) fn pop(&mut self) -> Option<GroupMember> {
        self.waiting.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The version whose behaviour this crate has.
pub(super) const OWN_VERSION: ServerVersion = ServerVersion {
    major: 9,
    minor: 7,
    patch: 4,
};

/// No newer donor, but within the long-term support series, of which 9.7 is the only one that counts.
/// A version that could not be read is given the benefit of the doubt; the attempt will show.
fn may_serve(donor: Option<ServerVersion>) -> bool {
    donor.is_none_or(|donor| donor <= OWN_VERSION || (donor.major, donor.minor) == (9, 7))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::testing::{member, uuid};
    use super::*;
    use crate::group::MemberState;

    fn order(view: &View, seed: u64) -> Vec<Uuid> {
        let mut list = DonorList::default();
        list.rebuild(view, &uuid(9), &mut StdRng::seed_from_u64(seed));
        std::iter::from_fn(|| list.pop().map(|member| member.uuid)).collect()
    }

    #[test]
    fn only_online_members_of_a_fitting_version_and_never_ourselves() {
        let mut view = View {
            members: vec![
                member(1, MemberState::Online),
                member(2, MemberState::Recovering),
                member(3, MemberState::Online),
                member(4, MemberState::Online),
                member(9, MemberState::Online),
            ],
        };
        view.members[2].version = Some(ServerVersion::parse("9.8.0"));
        view.members[3].version = Some(ServerVersion::parse("9.7.99"));
        let mut donors = order(&view, 1);
        donors.sort();
        assert_eq!(donors, [uuid(1), uuid(4)]);
    }

    /// Every donor comes first about equally often (chi-square, 2 degrees of freedom, p < 0.001).
    #[test]
    fn the_choice_is_uniform() {
        let view = View {
            members: (1..=3).map(|n| member(n, MemberState::Online)).collect(),
        };
        let mut first = [0f64; 3];
        for seed in 0..3000 {
            let number = order(&view, seed)[0].0[0];
            first[usize::from(number) - 1] += 1.0;
        }
        let chi: f64 = first.iter().map(|n| (n - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 13.8, "{first:?}");
    }
}
