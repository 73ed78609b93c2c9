//! What is answered to the questions of clients: system variables, user variables, a few functions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::shared::Shared;
use crate::Error;
use crate::binlog::ChecksumAlgorithm;
use crate::wire::server::answer::Refusal;
use crate::wire::server::statement::{Expression, Target, is_like};

/// User variables that a session may have, and bytes of each.
const USER_VARIABLES: usize = 64;
const USER_VARIABLE_BYTES: usize = 4096;

/// Variables that clients may set for their session and that change nothing here.
const HARMLESS: &[&str] = &[
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "interactive_timeout",
    "lc_messages",
    "lock_wait_timeout",
    "max_allowed_packet",
    "net_read_timeout",
    "session_track_system_variables",
    "sql_log_bin",
    "sql_mode",
    "time_zone",
    "transaction_isolation",
    "tx_isolation",
    "wait_timeout",
];

/// What a session has set.
#[derive(Debug, Default)]
pub(super) struct Variables {
    user: BTreeMap<String, Option<String>>,
    net_write_timeout: Option<Duration>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection_id: u32,
    /// `name@host`.
    pub(super) user: &'a str,
}

type Answer<T> = Result<T, Refusal>;

impl Variables {
    /// Executes one assignment.
    pub(super) fn set(
        &mut self,
        target: &Target,
        value: &Expression,
        asker: Asker<'_>,
    ) -> Answer<()> {
        let value = match value {
            // SET autocommit = ON
            Expression::Name(word) => Some(word.clone()),
            other => self.value(other, asker)?,
        };
        match target {
            Target::Names => {}
            Target::User(name) => {
                let length = name.len() + value.as_ref().map_or(0, String::len);
                let is_new = !self.user.contains_key(name);
                if length > USER_VARIABLE_BYTES || is_new && self.user.len() == USER_VARIABLES {
                    return Err(Refusal::with_state(
                        1235,
                        "42000",
                        format!(
                            "This version of MySQL doesn't yet support more than {USER_VARIABLES} \
                             user variables of {USER_VARIABLE_BYTES} bytes"
                        ),
                    ));
                }
                self.user.insert(name.clone(), value);
            }
            Target::Session(name) if name == "net_write_timeout" => {
                let seconds = value.and_then(|text| text.parse().ok());
                let Some(seconds) = seconds.filter(|seconds| (1..=31_536_000).contains(seconds))
                else {
                    return Err(Refusal::with_state(
                        1231,
                        "42000",
                        "Variable 'net_write_timeout' can't be set to this value",
                    ));
                };
                self.net_write_timeout = Some(Duration::from_secs(seconds));
            }
            Target::Session(name) if HARMLESS.contains(&name.as_str()) => {}
            Target::Session(name) => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Evaluates an expression.
    pub(super) fn value(
        &self,
        expression: &Expression,
        asker: Asker<'_>,
    ) -> Answer<Option<String>> {
        Ok(match expression {
            Expression::Literal(text) => Some(text.clone()),
            Expression::Name(name) => {
                return Err(Refusal::with_state(
                    1054,
                    "42S22",
                    format!("Unknown column '{name}' in 'field list'"),
                ));
            }
            Expression::Null => None,
            Expression::User(name) => self.user.get(name).cloned().flatten(),
            Expression::System(name) => Some(self.system(name, asker)?),
            Expression::Call(name) => match name.as_str() {
                "unix_timestamp" => Some(now_seconds()),
                "version" => Some(asker.shared.options.server_version.clone()),
                "connection_id" => Some(asker.connection_id.to_string()),
                "user" | "current_user" | "session_user" => Some(asker.user.to_owned()),
                "database" | "schema" => None,
                _ => {
                    return Err(Refusal::with_state(
                        1305,
                        "42000",
                        format!("FUNCTION {name} does not exist"),
                    ));
                }
            },
        })
    }

    /// Names and values of the system variables that fit a pattern, in order.
    pub(super) fn matching(
        &self,
        pattern: Option<&str>,
        asker: Asker<'_>,
    ) -> Answer<Vec<(String, String)>> {
        let fits = |name: &&&str| pattern.is_none_or(|pattern| is_like(name, pattern));
        NAMES
            .iter()
            .filter(fits)
            .map(|name| Ok(((*name).to_owned(), self.system(name, asker)?)))
            .collect()
    }

    fn system(&self, name: &str, asker: Asker<'_>) -> Answer<String> {
        let shared = asker.shared;
        let identity = shared.source.identity();
        let broken = |error: Error| {
            log::warn!("a client's question cannot be answered: {error}");
            Refusal::new(1105, format!("Unknown error: {error}"))
        };
        Ok(match name {
            "server_id" => identity.server_id.to_string(),
            "server_uuid" => identity.server_uuid.to_string(),
            "gtid_executed" => shared.history.executed().map_err(broken)?.to_string(),
            "gtid_purged" => shared.history.purged().map_err(broken)?.to_string(),
            "binlog_checksum" => match shared.history.checksum().map_err(broken)? {
                ChecksumAlgorithm::Crc32 => "CRC32".to_owned(),
                ChecksumAlgorithm::None => "NONE".to_owned(),
            },
            "version" => shared.options.server_version.clone(),
            "net_write_timeout" => self.write_timeout(shared).as_secs().to_string(),
            "wait_timeout" | "interactive_timeout" => {
                shared.options.wait_timeout.as_secs().to_string()
            }
            "max_allowed_packet" => shared.options.command_bytes.to_string(),
            _ => {
                let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name);
                fixed.ok_or_else(|| unknown(name))?.1.to_owned()
            }
        })
    }

    /// How long this client may leave unread what is sent.
    pub(super) fn write_timeout(&self, shared: &Shared) -> Duration {
        self.net_write_timeout
            .unwrap_or(shared.options.net_write_timeout)
    }

    /// `@source_heartbeat_period`, which is in nanoseconds.
    pub(super) fn heartbeat_period(&self) -> Option<Duration> {
        let nanoseconds = self.first_of("source_heartbeat_period", "master_heartbeat_period")?;
        let nanoseconds: u64 = nanoseconds.parse().ok()?;
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// `@source_binlog_checksum`; a name that is not known counts as none, as on a server.
    pub(super) fn checksum(&self) -> Option<ChecksumAlgorithm> {
        let name = self.first_of("source_binlog_checksum", "master_binlog_checksum")?;
        Some(ChecksumAlgorithm::from_name(&name).unwrap_or_default())
    }

    /// `@replica_uuid`, empty where it is not set.
    pub(super) fn replica_uuid(&self) -> String {
        self.first_of("replica_uuid", "slave_uuid")
            .unwrap_or_default()
    }

    fn first_of(&self, name: &str, older: &str) -> Option<String> {
        let value = |name| self.user.get(name).cloned().flatten();
        value(name).or_else(|| value(older))
    }
}

/// Variables whose value never changes here.
const FIXED: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("autocommit", "1"),
    ("binlog_format", "ROW"),
    ("binlog_row_image", "FULL"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_0900_ai_ci"),
    ("enforce_gtid_consistency", "ON"),
    ("gtid_mode", "ON"),
    ("lc_messages", "en_US"),
    ("log_bin", "1"),
    ("lower_case_table_names", "0"),
    ("read_only", "1"),
    ("sql_mode", ""),
    ("super_read_only", "1"),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("version_comment", "rejoin donor"),
];

/// All variables, as SHOW VARIABLES lists them.
const NAMES: &[&str] = &[
    "auto_increment_increment",
    "autocommit",
    "binlog_checksum",
    "binlog_format",
    "binlog_row_image",
    "enforce_gtid_consistency",
    "gtid_executed",
    "gtid_mode",
    "gtid_purged",
    "log_bin",
    "lower_case_table_names",
    "max_allowed_packet",
    "net_write_timeout",
    "read_only",
    "server_id",
    "server_uuid",
    "super_read_only",
    "version",
    "version_comment",
    "wait_timeout",
];

fn unknown(name: &str) -> Refusal {
    Refusal::new(1193, format!("Unknown system variable '{name}'"))
}

/// Seconds since 1970.
fn now_seconds() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs()).to_string()
}
