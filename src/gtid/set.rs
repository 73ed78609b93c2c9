//! Sets of GTIDs, held as sorted intervals by TSID.

use std::collections::BTreeMap;

use super::{Gtid, MAX_GNO, Tsid};

/// Transaction numbers `start..end` (the end is not part of it), both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first number.
    pub start: u64,
    /// One past the last number.
    pub end: u64,
}

impl Interval {
    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.end - self.start
    }
}

/// A set of GTIDs.
///
/// Equal sets have equal representations: intervals are sorted, never empty, never touching.
///
/// ```
/// use rejoin::gtid::GtidSet;
/// let group: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100".parse()?;
/// let own: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-40:45".parse()?;
/// let missing = group.subtract(&own);
/// assert_eq!(missing.count(), 59);
/// assert!(own.is_subset(&group));
/// # Ok::<(), rejoin::gtid::ParseGtidError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct GtidSet {
    sources: BTreeMap<Tsid, Vec<Interval>>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds no GTID.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many GTIDs it holds. (A set cannot hold more than 2^63 of one source; the sum saturates.)
    pub fn count(&self) -> u64 {
        self.intervals()
            .fold(0, |sum, (_, interval)| sum.saturating_add(interval.count()))
    }

    /// How many intervals it holds.
    pub fn interval_count(&self) -> usize {
        self.sources.values().map(Vec::len).sum()
    }

    /// All sources with their intervals, in order of UUID, then tag.
    pub fn sources(&self) -> impl Iterator<Item = (&Tsid, &[Interval])> {
        self.sources
            .iter()
            .map(|(tsid, list)| (tsid, list.as_slice()))
    }

    /// How many sources it names.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Every interval with its source, in order.
    pub fn intervals(&self) -> impl Iterator<Item = (&Tsid, Interval)> {
        self.sources
            .iter()
            .flat_map(|(tsid, list)| list.iter().map(move |interval| (tsid, *interval)))
    }

    /// Whether any source has a tag (older servers cannot read such a set).
    pub fn has_tags(&self) -> bool {
        self.sources.keys().any(|tsid| !tsid.tag.is_none())
    }

    /// Whether the GTID is in the set.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sources.get(&gtid.tsid).is_some_and(|list| {
            let after = list.partition_point(|interval| interval.start <= gtid.gno);
            after
                .checked_sub(1)
                .and_then(|i| list.get(i))
                .is_some_and(|interval| gtid.gno < interval.end)
        })
    }

    /// Adds one GTID; `false` if it was there already.
    pub fn insert(&mut self, gtid: &Gtid) -> bool {
        let list = self.sources.entry(gtid.tsid).or_default();
        // Nearly always the next number of a source that is being followed.
        if let Some(last) = list.last_mut()
            && last.end == gtid.gno
        {
            last.end += 1;
            return true;
        }
        let after = list.partition_point(|interval| interval.start <= gtid.gno);
        let covered = after
            .checked_sub(1)
            .and_then(|i| list.get(i))
            .is_some_and(|interval| gtid.gno < interval.end);
        if !covered {
            add_to(
                list,
                Interval {
                    start: gtid.gno,
                    end: gtid.gno + 1,
                },
            );
        }
        !covered
    }

    /// Adds all numbers of `interval` of one source. Empty intervals and numbers outside
    /// 1..=[`MAX_GNO`] are not added.
    pub fn insert_interval(&mut self, tsid: Tsid, interval: Interval) {
        let interval = Interval {
            start: interval.start.max(1),
            end: interval.end.min(MAX_GNO + 1),
        };
        if interval.start < interval.end {
            add_to(self.sources.entry(tsid).or_default(), interval);
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &GtidSet) {
        for (tsid, interval) in other.intervals() {
            add_to(self.sources.entry(*tsid).or_default(), interval);
        }
    }

    /// All GTIDs of either set.
    #[must_use]
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut all = self.clone();
        all.extend(other);
        all
    }

    /// The GTIDs that are in both sets.
    #[must_use]
    pub fn intersect(&self, other: &GtidSet) -> GtidSet {
        self.combine(other, |ours, theirs| {
            let (mut i, mut j) = (0, 0);
            let mut both = Vec::new();
            while let (Some(a), Some(b)) = (ours.get(i), theirs.get(j)) {
                let shared = Interval {
                    start: a.start.max(b.start),
                    end: a.end.min(b.end),
                };
                if shared.start < shared.end {
                    both.push(shared);
                }
                if a.end <= b.end {
                    i += 1;
                } else {
                    j += 1;
                }
            }
            both
        })
    }

    /// The GTIDs of this set that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        self.combine(other, |ours, theirs| {
            let mut rest = Vec::new();
            let mut j = 0;
            for interval in ours {
                let mut start = interval.start;
                while theirs.get(j).is_some_and(|cut| cut.end <= start) {
                    j += 1;
                }
                let mut k = j;
                while let Some(cut) = theirs.get(k).filter(|cut| cut.start < interval.end) {
                    if start < cut.start {
                        rest.push(Interval {
                            start,
                            end: cut.start,
                        });
                    }
                    start = cut.end;
                    k += 1;
                }
                if start < interval.end {
                    rest.push(Interval {
                        start,
                        end: interval.end,
                    });
                }
            }
            rest
        })
    }

    /// Whether every GTID of this set is in `other`.
    pub fn is_subset(&self, other: &GtidSet) -> bool {
        self.sources.iter().all(|(tsid, list)| {
            let theirs = other.sources.get(tsid).map_or(&[][..], Vec::as_slice);
            list.iter().all(|interval| {
                let after = theirs.partition_point(|have| have.start <= interval.start);
                after
                    .checked_sub(1)
                    .and_then(|i| theirs.get(i))
                    .is_some_and(|have| interval.end <= have.end)
            })
        })
    }

    /// Whether the two sets share a GTID.
    pub fn intersects(&self, other: &GtidSet) -> bool {
        !self.intersect(other).is_empty()
    }

    /// For each source of `self`, what `work` makes of its intervals and the other's.
    fn combine(
        &self,
        other: &GtidSet,
        work: impl Fn(&[Interval], &[Interval]) -> Vec<Interval>,
    ) -> GtidSet {
        let sources = self
            .sources
            .iter()
            .map(|(tsid, ours)| {
                let theirs = other.sources.get(tsid).map_or(&[][..], Vec::as_slice);
                (*tsid, work(ours, theirs))
            })
            .filter(|(_, list)| !list.is_empty())
            .collect();
        GtidSet { sources }
    }
}

impl FromIterator<Gtid> for GtidSet {
    fn from_iter<I: IntoIterator<Item = Gtid>>(gtids: I) -> Self {
        let mut set = GtidSet::new();
        for gtid in gtids {
            set.insert(&gtid);
        }
        set
    }
}

/// Adds a non-empty interval, merging what it touches.
fn add_to(list: &mut Vec<Interval>, new: Interval) {
    let first = list.partition_point(|have| have.end < new.start);
    let beyond = list.partition_point(|have| have.start <= new.end);
    let merged = list
        .get(first..beyond)
        .unwrap_or_default()
        .iter()
        .fold(new, |sum, have| Interval {
            start: sum.start.min(have.start),
            end: sum.end.max(have.end),
        });
    list.splice(first..beyond, [merged]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::gtid::{Tag, Uuid};

    fn source(number: u8) -> Tsid {
        Tsid {
            uuid: Uuid([number / 2; 16]),
            tag: if number.is_multiple_of(2) {
                Tag::NONE
            } else {
                Tag::new(b"t").unwrap()
            },
        }
    }

    fn naive(set: &GtidSet) -> BTreeSet<Gtid> {
        set.intervals()
            .flat_map(|(tsid, interval)| {
                (interval.start..interval.end).map(|gno| Gtid { tsid: *tsid, gno })
            })
            .collect()
    }

    fn any_set() -> impl Strategy<Value = GtidSet> {
        prop::collection::vec((0u8..4, 1u64..60, 0u64..9), 0..24).prop_map(|list| {
            let mut set = GtidSet::new();
            for (number, start, length) in list {
                set.insert_interval(
                    source(number),
                    Interval {
                        start,
                        end: start + length,
                    },
                );
            }
            set
        })
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_plain_sets(a in any_set(), b in any_set(), gno in 1u64..70, number in 0u8..4) {
            let (na, nb) = (naive(&a), naive(&b));
            prop_assert_eq!(naive(&a.union(&b)), na.union(&nb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(naive(&a.subtract(&b)), na.difference(&nb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(naive(&a.intersect(&b)), na.intersection(&nb).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(a.is_subset(&b), na.is_subset(&nb));
            prop_assert_eq!(a.intersects(&b), !na.is_disjoint(&nb));
            prop_assert_eq!(a.count(), na.len() as u64);
            let gtid = Gtid { tsid: source(number), gno };
            prop_assert_eq!(a.contains(&gtid), na.contains(&gtid));
            let mut more = a.clone();
            prop_assert_eq!(more.insert(&gtid), !na.contains(&gtid));
            prop_assert!(more.contains(&gtid));
            // One representation: building the same set one by one gives the same value.
            prop_assert_eq!(na.iter().rev().copied().collect::<GtidSet>(), a);
        }
    }

    #[test]
    fn the_largest_number_is_kept_and_larger_ones_are_not() {
        let mut set = GtidSet::new();
        set.insert_interval(
            source(0),
            Interval {
                start: MAX_GNO,
                end: u64::MAX,
            },
        );
        assert_eq!(set.count(), 1);
        assert!(set.contains(&Gtid {
            tsid: source(0),
            gno: MAX_GNO
        }));
    }
}
