//! What can be set, with the names and defaults of the `group_replication_*` variables.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// When a member with an almost empty queue is declared ONLINE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnlineRule {
    /// As MySQL 9.7: what remains is no more than what was applied in the last second, and then
    /// everything that had been delivered at that moment has been applied. Ends under constant load.
    #[default]
    FitsWindow,
    /// The queue was seen empty. Under constant load this may never happen.
    QueueEmpty,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `group_replication_recovery_retry_count`: attempts over all donors together, 0 to 31,536,000;
    /// default 10. Read before each attempt.
    pub recovery_retry_count: u32,
    /// `group_replication_recovery_reconnect_interval`: how long to sleep when every donor was
    /// tried, 0 to 31,536,000 s; default 60 s. Read when a sleep begins.
    pub recovery_reconnect_interval: Duration,
    /// `group_replication_clone_threshold`: from this number of missing transactions on a clone is
    /// preferred, 1 to 2^63 − 1; default 2^63 − 1. Read at the join.
    pub clone_threshold: u64,
    /// When the member is declared ONLINE. Read while catching up.
    pub online_rule: OnlineRule,
}

/// The largest retry count and interval in seconds that the variables take: a year of seconds.
const YEAR_S: u32 = 31_536_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            recovery_retry_count: 10,
            recovery_reconnect_interval: Duration::from_secs(60),
            clone_threshold: i64::MAX as u64,
            online_rule: OnlineRule::default(),
        }
    }
}

impl Settings {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] naming the setting and its range.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, range: &str| {
            Err(Error::new(
                ErrorKind::Configuration,
                format!("{name} must be {range}"),
            ))
        };
        if self.recovery_retry_count > YEAR_S {
            return refuse("recovery_retry_count", "0 to 31536000");
        }
        if self.recovery_reconnect_interval > Duration::from_secs(YEAR_S.into()) {
            return refuse("recovery_reconnect_interval", "0 to 31536000 seconds");
        }
        if !(1..=i64::MAX as u64).contains(&self.clone_threshold) {
            return refuse("clone_threshold", "1 to 9223372036854775807");
        }
        Ok(())
    }
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
        assert!(with(|_| ()).is_ok());
        assert!(with(|s| s.recovery_retry_count = 0).is_ok());
        assert!(with(|s| s.recovery_retry_count = 31_536_000).is_ok());
        assert!(with(|s| s.recovery_retry_count = 31_536_001).is_err());
        assert!(with(|s| s.recovery_reconnect_interval = Duration::from_secs(31_536_000)).is_ok());
        assert!(with(|s| s.recovery_reconnect_interval = Duration::from_secs(31_536_001)).is_err());
        assert!(with(|s| s.clone_threshold = 0).is_err());
        assert!(with(|s| s.clone_threshold = 1).is_ok());
        assert!(with(|s| s.clone_threshold = 1 << 63).is_err());
    }
}
