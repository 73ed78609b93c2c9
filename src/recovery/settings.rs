//! What can be set, with the names and defaults of the `group_replication_*` variables.

use std::time::Duration;

use super::{ChannelSettings, DonorPolicy, Reactions, SlowDonor};
use crate::{Error, ErrorKind, Result};

/// When a member with an almost empty queue is declared ONLINE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnlineRule {
    /// As MySQL 9.7: what remains is no more than what is applied in one
    /// [`flow_control_period`](Settings::flow_control_period), and then everything that had been
    /// delivered at that moment has been applied. Ends under constant load.
    #[default]
    FitsWindow,
    /// The queue was seen empty. Under constant load this may never happen.
    QueueEmpty,
}

/// What a member's server does when recovery has failed (`group_replication_exit_state_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExitStateAction {
    /// It refuses writes.
    ReadOnly,
    /// It refuses every client but administrators.
    #[default]
    OfflineMode,
    /// It shuts down.
    AbortServer,
}

impl ExitStateAction {
    /// The variable's value for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "READ_ONLY",
            Self::OfflineMode => "OFFLINE_MODE",
            Self::AbortServer => "ABORT_SERVER",
        }
    }
}

/// The settings of recovery. Each says when a change takes effect.
///
/// ```
/// use rejoin::recovery::Settings;
/// let settings = Settings { recovery_retry_count: 3, ..Settings::default() };
/// assert_eq!(settings.recovery_reconnect_interval.as_secs(), 60);
/// settings.validate()?;
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `group_replication_recovery_retry_count`: attempts over all donors together, 0 to 31,536,000;
    /// default 10. Read before each attempt (not again after the sleep in front of it).
    pub recovery_retry_count: u32,
    /// `group_replication_recovery_reconnect_interval`: how long to sleep when every donor was
    /// tried, 0 to 31,536,000 s; default 60 s. Read when a sleep begins.
    pub recovery_reconnect_interval: Duration,
    /// How the recovery channel connects: `group_replication_recovery_use_ssl` and its kin. Read at
    /// every connection.
    pub recovery_channel: ChannelSettings,
    /// `group_replication_clone_threshold`: from this number of missing transactions on a clone is
    /// preferred, 1 to 2^63 − 1; default 2^63 − 1. Read at the join.
    pub clone_threshold: u64,
    /// `group_replication_components_stop_timeout`: how long a failover waits for the applier to
    /// finish what it is at before recovery fails, 2 to 31,536,000 s; default 300 s. Read when a
    /// donor is stopped.
    pub components_stop_timeout: Duration,
    /// `group_replication_exit_state_action`; default OFFLINE_MODE. Read when recovery fails.
    pub exit_state_action: ExitStateAction,
    /// `group_replication_unreachable_majority_timeout`: how long a group whose majority cannot be
    /// reached is waited for before the member fails, 0 to 31,536,000 s; default 0, which waits
    /// for ever. Read whenever the time is up.
    pub unreachable_majority_timeout: Duration,
    /// When the member is declared ONLINE. Read while catching up.
    pub online_rule: OnlineRule,
    /// `group_replication_flow_control_period`: the window of [`OnlineRule::FitsWindow`], 1 to 60 s;
    /// default 1 s. Read while catching up.
    pub flow_control_period: Duration,
    /// Which donors are asked, and in which order; as MySQL, at random, by default. Read whenever
    /// the list of donors is built, and before each attempt.
    pub donor_policy: DonorPolicy,
    /// What follows a failure, by its class; another donor, as MySQL, by default. Read at each
    /// failure.
    pub reactions: Reactions,
    /// From when on a donor is too slow; never by default. Read once a second.
    pub slow_donor: Option<SlowDonor>,
}

/// The largest number of seconds that the variables take, and the largest retry count: those of a
/// year.
const YEAR_S: u32 = 31_536_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            recovery_retry_count: 10,
            recovery_reconnect_interval: Duration::from_secs(60),
            recovery_channel: ChannelSettings::default(),
            clone_threshold: i64::MAX as u64,
            components_stop_timeout: Duration::from_secs(300),
            exit_state_action: ExitStateAction::default(),
            unreachable_majority_timeout: Duration::ZERO,
            online_rule: OnlineRule::default(),
            flow_control_period: Duration::from_secs(1),
            donor_policy: DonorPolicy::default(),
            reactions: Reactions::default(),
            slow_donor: None,
        }
    }
}

impl Settings {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] naming the setting and its range.
    pub fn validate(&self) -> Result<()> {
        let year = u64::from(YEAR_S);
        in_range(
            "recovery_retry_count",
            u64::from(self.recovery_retry_count),
            0..=year,
            "",
        )?;
        in_range(
            "clone_threshold",
            self.clone_threshold,
            1..=i64::MAX as u64,
            "",
        )?;
        for (name, value, least, most) in [
            (
                "recovery_reconnect_interval",
                self.recovery_reconnect_interval,
                0,
                year,
            ),
            (
                "components_stop_timeout",
                self.components_stop_timeout,
                2,
                year,
            ),
            (
                "unreachable_majority_timeout",
                self.unreachable_majority_timeout,
                0,
                year,
            ),
            ("flow_control_period", self.flow_control_period, 1, 60),
        ] {
            // A part of a second above the largest value is above it as well.
            let seconds = value.as_secs() + u64::from(value.subsec_nanos() > 0);
            in_range(name, seconds, least..=most, " seconds")?;
        }
        self.recovery_channel.validate()?;
        self.donor_policy.validate()?;
        match &self.slow_donor {
            Some(slow) => slow.validate(),
            None => Ok(()),
        }
    }
}

fn in_range(
    name: &str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    unit: &str,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Configuration,
        format!("{name} must be {} to {}{unit}", range.start(), range.end()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_variables() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate()
        };
        const SECOND: Duration = Duration::from_secs(1);
        assert!(with(|_| ()).is_ok());
        assert!(with(|s| s.recovery_retry_count = 0).is_ok());
        assert!(with(|s| s.recovery_retry_count = 31_536_000).is_ok());
        assert!(with(|s| s.recovery_retry_count = 31_536_001).is_err());
        assert!(with(|s| s.recovery_reconnect_interval = Duration::ZERO).is_ok());
        assert!(with(|s| s.recovery_reconnect_interval = 31_536_000 * SECOND).is_ok());
        assert!(with(|s| s.recovery_reconnect_interval = 31_536_001 * SECOND).is_err());
        assert!(
            with(|s| s.recovery_reconnect_interval = 31_536_000 * SECOND + Duration::from_nanos(1))
                .is_err()
        );
        assert!(with(|s| s.clone_threshold = 0).is_err());
        assert!(with(|s| s.clone_threshold = 1).is_ok());
        assert!(with(|s| s.clone_threshold = (1 << 63) - 1).is_ok());
        assert!(with(|s| s.clone_threshold = 1 << 63).is_err());
        assert!(with(|s| s.components_stop_timeout = SECOND).is_err());
        assert!(with(|s| s.components_stop_timeout = 2 * SECOND).is_ok());
        assert!(with(|s| s.components_stop_timeout = 31_536_001 * SECOND).is_err());
        assert!(with(|s| s.unreachable_majority_timeout = 31_536_001 * SECOND).is_err());
        assert!(with(|s| s.flow_control_period = Duration::ZERO).is_err());
        assert!(with(|s| s.flow_control_period = 60 * SECOND).is_ok());
        assert!(with(|s| s.flow_control_period = 61 * SECOND).is_err());
        let error = with(|s| s.flow_control_period = 61 * SECOND).unwrap_err();
        assert_eq!(
            error.to_string(),
            "flow_control_period must be 1 to 60 seconds"
        );
    }
}
