//! Whether a configuration makes sense.

use core::time::Duration;

use super::Config;
use crate::candidate::TypePreferences;

/// What is wrong with a [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A duration is out of its range.
    #[error("{field} is {value:?}, which is not within {least:?} to {most:?}")]
    Duration {
        /// Name of the value.
        field: &'static str,
        /// The value.
        value: Duration,
        /// The least allowed one.
        least: Duration,
        /// The greatest allowed one.
        most: Duration,
    },
    /// A number is out of its range.
    #[error("{field} is {value}, which is not within {least} to {most}")]
    Number {
        /// Name of the value.
        field: &'static str,
        /// The value.
        value: u64,
        /// The least allowed one.
        least: u64,
        /// The greatest allowed one.
        most: u64,
    },
    /// Type preferences are above 126, equal, or put server-reflexive candidates above peer-reflexive ones.
    #[error("type preferences have to be distinct, at most 126, and peer-reflexive above server-reflexive: {0:?}")]
    TypePreferences(TypePreferences),
}

impl Config {
    /// Checks every value against its range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let ms = Duration::from_millis;
        let durations = [
            ("ta", self.ta, ms(5), ms(10_000)),
            ("rto", self.rto, ms(500), ms(60_000)),
            ("max_rto", self.max_rto, ms(500), ms(60_000)),
            ("consent_interval", self.consent_interval, ms(5000), ms(20_000)),
            ("detection", self.detection, ms(8000), ms(30_000)),
            ("gathering_timeout", self.gathering_timeout, ms(1000), ms(60_000)),
            ("standby_interval", self.standby_interval, ms(5000), ms(25_000)),
            ("idle_interval", self.idle_interval, ms(5000), ms(600_000)),
            ("retry_interval", self.retry_interval, ms(1000), ms(3_600_000)),
            ("keepalive_interval", self.keepalive_interval, ms(15_000), ms(3_600_000)),
        ];
        for (field, value, least, most) in durations {
            if value < least || value > most {
                return Err(ConfigError::Duration { field, value, least, most });
            }
        }
        let numbers = [
            ("rc", u64::from(self.rc), 1, 16),
            ("rm", u64::from(self.rm), 1, 64),
            ("max_pairs", self.max_pairs as u64, 1, 10_000),
            ("max_remote_candidates", self.max_remote_candidates as u64, 1, 10_000),
            ("max_peer_reflexive", self.max_peer_reflexive as u64, 0, 10_000),
            ("max_connections", self.max_connections as u64, 1, 10_000),
            ("max_connections_per_address", self.max_connections_per_address as u64, 1, 10_000),
            ("max_early_checks", self.max_early_checks as u64, 0, 1_000),
            ("standby_pairs", self.standby_pairs as u64, 0, 10),
            ("unauthenticated_replies", u64::from(self.unauthenticated_replies), 0, 1_000),
        ];
        for (field, value, least, most) in numbers {
            if value < least || value > most {
                return Err(ConfigError::Number { field, value, least, most });
            }
        }
        if !self.type_preferences.are_valid() {
            return Err(ConfigError::TypePreferences(self.type_preferences));
        }
        Ok(())
    }
}
