//! Who is asked for the keys of tables that no statement of the log has made.

use std::fmt;

use super::schema::{TableDefinition, TableName};
use crate::Error;
use crate::gtid::GtidSet;

/// Tells an embedded store of a table what neither the log nor a clone has told it: the definition that a
/// member of the group has of it. [`MySqlGroup::key_source`](crate::group::MySqlGroup::key_source) gives one
/// that asks a group's members.
///
/// The store asks once for a table of which it has nothing but a table map without a key, on the thread
/// that applies transactions: an answer must come within a bounded time. The member says what the table is
/// now, and the store takes the key with a transaction of which that is as sure: the columns are those of
/// the table map, all that the member had executed is here and nothing that it had not, and the table is
/// older than the statement by a second. Then the key is written into the table map in the store's own
/// log. Without an answer all is as without a source: rows are found by all of their columns.
///
/// ```
/// use rejoin::Error;
/// use rejoin::gtid::GtidSet;
/// use rejoin::target::schema::{Catalog, StatementContext, TableName};
/// use rejoin::target::store::Store;
/// use rejoin::target::{GroupTable, KeySource};
///
/// /// A host that knows its one table.
/// #[derive(Debug)]
/// struct Host;
///
/// impl KeySource for Host {
///     fn table(&mut self, name: &TableName, at_least: &GtidSet) -> Result<Option<GroupTable>, Error> {
///         let mut catalog = Catalog::new();
///         let context = StatementContext { default_database: b"shop", ..StatementContext::default() };
///         catalog.apply(b"CREATE DATABASE shop", &context)?;
///         catalog.apply(b"CREATE TABLE items (id BIGINT PRIMARY KEY, name TEXT)", &context)?;
///         Ok(catalog.table(name).map(|definition| GroupTable {
///             definition: definition.clone(),
///             create_time: 1_700_000_000,
///             gtid_executed: at_least.clone(),
///         }))
///     }
/// }
///
/// # let directory = std::env::temp_dir().join(format!("rejoin-keys-{}", std::process::id()));
/// let store = Store::open(&directory)?.with_key_source(Host);
/// # drop(store);
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), Error>(())
/// ```
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The table as a member has it that has executed `at_least`; `None` where it has no such table.
    ///
    /// # Errors
    /// Any: they are told in a warning, and the table is asked for again when its columns have changed or a
    /// statement about it has come.
    fn table(&mut self, name: &TableName, at_least: &GtidSet) -> Result<Option<GroupTable>, Error>;
}

/// A table as a member of the group has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTable {
    /// Its definition, as SHOW CREATE TABLE says it.
    pub definition: TableDefinition,
    /// `CREATE_TIME` of `information_schema.TABLES`, in seconds since 1970.
    pub create_time: u64,
    /// What the member had executed behind the moment of the definition.
    pub gtid_executed: GtidSet,
}
