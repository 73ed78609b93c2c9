//! What follows a failure, by its class: an addition to MySQL, which treats all alike.
//!
//! MySQL's recovery goes to another donor whatever has happened, and asks the donor that failed
//! again when the list is used up. That is the default for every class: someone may purge less,
//! grant a privilege or mend a row meanwhile, and an attempt tells. A setting can spare attempts
//! that are known to be in vain.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// Failures of an attempt that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The donor has purged what is missing.
    Purged,
    /// The donor's data or transactions contradict ours.
    Conflict,
    /// The login was refused, could not be made safely, or may do too little.
    Authentication,
    /// No connection, a broken connection, silence.
    Network,
    /// Bytes that break their checksum or format.
    Damaged,
    /// It serves, but too slowly ([`SlowDonor`]).
    Slow,
    /// An administrator has ended the stream or the donor.
    Stopped,
    /// Anything else.
    Other,
}

impl FailureClass {
    /// The class of an error.
    pub fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Purged => Self::Purged,
            ErrorKind::Conflict | ErrorKind::Schema | ErrorKind::Ahead => Self::Conflict,
            ErrorKind::Authentication | ErrorKind::Privilege | ErrorKind::Tls => {
                Self::Authentication
            }
            ErrorKind::Network | ErrorKind::TimedOut => Self::Network,
            ErrorKind::Checksum | ErrorKind::Malformed => Self::Damaged,
            ErrorKind::TooSlow => Self::Slow,
            ErrorKind::Stopped => Self::Stopped,
            _ => Self::Other,
        }
    }
}

/// What follows a failure of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reaction {
    /// As MySQL: the next donor of the list, and this one again when the list is used up.
    #[default]
    AnotherDonor,
    /// The next donor of the list, and this one never again in this recovery. When no other is left,
    /// recovery ends instead of sleeping.
    GiveDonorUp,
    /// Recovery ends.
    End,
}

/// A [`Reaction`] for each [`FailureClass`].
///
/// Where the target or the configuration is at fault, recovery always ends: no donor can help.
///
/// ```
/// use rejoin::recovery::{Reaction, Reactions};
///
/// // A wrong password does not become right by asking every donor ten times.
/// let reactions = Reactions { authentication: Reaction::End, ..Reactions::default() };
/// assert_eq!(reactions.network, Reaction::AnotherDonor);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reactions {
    /// To [`FailureClass::Purged`].
    pub purged: Reaction,
    /// To [`FailureClass::Conflict`].
    pub conflict: Reaction,
    /// To [`FailureClass::Authentication`].
    pub authentication: Reaction,
    /// To [`FailureClass::Network`]. A connection that breaks is always tried once more at once.
    pub network: Reaction,
    /// To [`FailureClass::Damaged`].
    pub damaged: Reaction,
    /// To [`FailureClass::Slow`].
    pub slow: Reaction,
    /// To [`FailureClass::Stopped`].
    pub stopped: Reaction,
    /// To [`FailureClass::Other`].
    pub other: Reaction,
}

impl Reactions {
    /// The reaction to a failure of this class.
    pub fn to(&self, class: FailureClass) -> Reaction {
        let mut copy = *self;
        *copy.of(class)
    }

    /// Changes the reaction to failures of this class.
    pub fn set(&mut self, class: FailureClass, reaction: Reaction) {
        *self.of(class) = reaction;
    }

    fn of(&mut self, class: FailureClass) -> &mut Reaction {
        match class {
            FailureClass::Purged => &mut self.purged,
            FailureClass::Conflict => &mut self.conflict,
            FailureClass::Authentication => &mut self.authentication,
            FailureClass::Network => &mut self.network,
            FailureClass::Damaged => &mut self.damaged,
            FailureClass::Slow => &mut self.slow,
            FailureClass::Stopped => &mut self.stopped,
            FailureClass::Other => &mut self.other,
        }
    }
}

/// From when on a donor that serves is too slow.
///
/// It is given up for another one, an attempt like any other, when it has sent less than this
/// for this long although the applier was waiting. Where there is no other donor it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowDonor {
    /// Bytes of events a second, 1 to 2^40.
    pub bytes_per_second: u64,
    /// How long, 1 to 86,400 s.
    pub patience: Duration,
}

impl SlowDonor {
    pub(super) fn validate(&self) -> Result<()> {
        let refuse =
            |message: &str| Err(Error::new(ErrorKind::Configuration, String::from(message)));
        if !(1..=1 << 40).contains(&self.bytes_per_second) {
            return refuse("slow_donor: bytes_per_second must be 1 to 1099511627776");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.patience) {
            return refuse("slow_donor: patience must be 1 to 86400 seconds");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_reaction() {
        use FailureClass::{
            Authentication, Conflict, Damaged, Network, Other, Purged, Slow, Stopped,
        };
        let classes = [
            (ErrorKind::Purged, Purged),
            (ErrorKind::Schema, Conflict),
            (ErrorKind::Ahead, Conflict),
            (ErrorKind::Tls, Authentication),
            (ErrorKind::Privilege, Authentication),
            (ErrorKind::TimedOut, Network),
            (ErrorKind::Malformed, Damaged),
            (ErrorKind::TooSlow, Slow),
            (ErrorKind::Stopped, Stopped),
            (ErrorKind::Refused, Other),
        ];
        for (kind, class) in classes {
            assert_eq!(FailureClass::of(kind), class);
            let mut reactions = Reactions::default();
            assert_eq!(reactions.to(class), Reaction::AnotherDonor);
            let field = match class {
                Purged => &mut reactions.purged,
                Conflict => &mut reactions.conflict,
                Authentication => &mut reactions.authentication,
                Network => &mut reactions.network,
                Damaged => &mut reactions.damaged,
                Slow => &mut reactions.slow,
                Stopped => &mut reactions.stopped,
                Other => &mut reactions.other,
            };
            *field = Reaction::End;
            assert_eq!(reactions.to(class), Reaction::End);
            let mut set = Reactions::default();
            set.set(class, Reaction::End);
            assert_eq!(set, reactions);
            let ends = classes
                .iter()
                .filter(|(_, class)| reactions.to(*class) == Reaction::End);
            assert!(ends.into_iter().all(|(_, other)| *other == class));
        }
    }

    #[test]
    fn bounds_of_slowness() {
        let with = |bytes_per_second, seconds| {
            let patience = Duration::from_secs(seconds);
            SlowDonor {
                bytes_per_second,
                patience,
            }
            .validate()
            .is_ok()
        };
        assert!(with(1, 1) && with(1 << 40, 86_400));
        assert!(!with(0, 1) && !with((1 << 40) + 1, 1));
        assert!(!with(1, 0) && !with(1, 86_401));
    }
}
