//! What a statement means beyond its text: the session state that its Query event carries.

use crate::Result;
use crate::binlog::{QueryEvent, StatusVariable};

use super::charset::{self, UTF8MB4_0900_AI_CI};

/// The session in which a statement was executed, from its Query event.
///
/// ```
/// use rejoin::target::schema::StatementContext;
///
/// let context = StatementContext { default_database: b"shop", ..Default::default() };
/// assert_eq!(context.server_collation, 255);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementContext<'a> {
    /// The database of names without one.
    pub default_database: &'a [u8],
    /// `sql_mode` (status variable 1).
    pub sql_mode: u64,
    /// When the statement began, in seconds since 1970: the event header's timestamp.
    pub timestamp: u32,
    /// Microseconds of that time (status variable 13).
    pub microseconds: u32,
    /// Collation of `character_set_client`, in which the statement is written (status variable 4).
    pub client_collation: u16,
    /// `collation_server`, the default of new databases (status variable 4).
    pub server_collation: u16,
    /// `default_collation_for_utf8mb4` (status variable 18).
    pub default_collation_for_utf8mb4: u16,
    /// `explicit_defaults_for_timestamp` (status variable 16).
    pub explicit_defaults_for_timestamp: bool,
    /// `time_zone` (status variable 5); empty where the statement did not need one.
    pub time_zone: &'a [u8],
    /// The error with which the statement ended on the source after it had changed something.
    pub error_code: u16,
}

impl Default for StatementContext<'_> {
    /// A session with the defaults of MySQL 8.0 and later, at the beginning of 1970.
    fn default() -> Self {
        Self {
            default_database: b"",
            sql_mode: 0,
            timestamp: 0,
            microseconds: 0,
            client_collation: UTF8MB4_0900_AI_CI,
            server_collation: UTF8MB4_0900_AI_CI,
            default_collation_for_utf8mb4: UTF8MB4_0900_AI_CI,
            explicit_defaults_for_timestamp: true,
            time_zone: b"",
            error_code: 0,
        }
    }
}

impl StatementContext<'_> {
    /// The character set of the statement's text.
    pub(crate) fn client_charset(&self) -> &'static str {
        charset::by_id(self.client_collation).map_or("utf8mb4", |collation| collation.charset)
    }
}

impl<'a> StatementContext<'a> {
    /// The session of a Query event whose header has `timestamp`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) where a status variable is cut.
    pub fn of(query: &QueryEvent<'a>, timestamp: u32) -> Result<Self> {
        let mut context = Self {
            default_database: query.database,
            timestamp,
            error_code: query.error_code,
            ..Self::default()
        };
        for variable in query.status() {
            match variable? {
                StatusVariable::SqlMode(mode) => context.sql_mode = mode,
                StatusVariable::Charset { client, server, .. } => {
                    context.client_collation = client;
                    context.server_collation = server;
                }
                StatusVariable::TimeZone(zone) => context.time_zone = zone,
                StatusVariable::Microseconds(microseconds) => context.microseconds = microseconds,
                StatusVariable::ExplicitDefaultsForTimestamp(explicit) => {
                    context.explicit_defaults_for_timestamp = explicit != 0;
                }
                StatusVariable::DefaultCollationForUtf8mb4(collation) => {
                    context.default_collation_for_utf8mb4 = collation;
                }
                _ => {}
            }
        }
        Ok(context)
    }
}
