//! The numbers and names of events.

use std::fmt;

/// The type of an event: the byte at offset 4 of its header.
///
/// A number that has no name here is kept as it is: whether it can be passed over depends on the
/// event's flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u8);

macro_rules! event_types {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal;)*) => {
        impl EventType {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*

            /// The name that SHOW BINLOG EVENTS gives it; `None` where the number is not known.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    /// Start of a log of servers before 5.0.
    START_V3 = 1, "Start_v3";
    /// A statement: BEGIN, COMMIT, DDL, or a change in statement format.
    QUERY = 2, "Query";
    /// Orderly end of the server; last event of a file.
    STOP = 3, "Stop";
    /// The log goes on in another file.
    ROTATE = 4, "Rotate";
    /// LAST_INSERT_ID or INSERT_ID of the statement that follows.
    INTVAR = 5, "Intvar";
    /// LOAD DATA of servers before 5.0.
    LOAD = 6, "Load";
    /// Never written.
    SLAVE = 7, "Slave";
    /// LOAD DATA of servers before 5.0.3.
    CREATE_FILE = 8, "Create_file";
    /// A block of the file of a LOAD DATA.
    APPEND_BLOCK = 9, "Append_block";
    /// LOAD DATA of servers before 5.0.3.
    EXEC_LOAD = 10, "Exec_load";
    /// Drops the file of a LOAD DATA.
    DELETE_FILE = 11, "Delete_file";
    /// LOAD DATA of servers before 5.0.3.
    NEW_LOAD = 12, "New_load";
    /// Seeds of RAND() of the statement that follows.
    RAND = 13, "RAND";
    /// A user variable of the statement that follows.
    USER_VAR = 14, "User var";
    /// What the events of this file look like.
    FORMAT_DESCRIPTION = 15, "Format_desc";
    /// Commit of a transactional engine.
    XID = 16, "Xid";
    /// First block of the file of a LOAD DATA.
    BEGIN_LOAD_QUERY = 17, "Begin_load_query";
    /// Executes a LOAD DATA.
    EXECUTE_LOAD_QUERY = 18, "Execute_load_query";
    /// Which table, with which columns, the row events that follow belong to.
    TABLE_MAP = 19, "Table_map";
    /// Rows of 5.1 before its release.
    PRE_GA_WRITE_ROWS = 20, "Pre_ga_write_rows";
    /// Rows of 5.1 before its release.
    PRE_GA_UPDATE_ROWS = 21, "Pre_ga_update_rows";
    /// Rows of 5.1 before its release.
    PRE_GA_DELETE_ROWS = 22, "Pre_ga_delete_rows";
    /// Inserted rows, version 1 (5.1 to 5.5).
    WRITE_ROWS_V1 = 23, "Write_rows_v1";
    /// Updated rows, version 1 (5.1 to 5.5).
    UPDATE_ROWS_V1 = 24, "Update_rows_v1";
    /// Deleted rows, version 1 (5.1 to 5.5).
    DELETE_ROWS_V1 = 25, "Delete_rows_v1";
    /// Something was lost on the source.
    INCIDENT = 26, "Incident";
    /// The source is alive; on the wire only.
    HEARTBEAT = 27, "Heartbeat";
    /// May be passed over.
    IGNORABLE = 28, "Ignorable";
    /// The statement that made the row events that follow.
    ROWS_QUERY = 29, "Rows_query";
    /// Inserted rows.
    WRITE_ROWS = 30, "Write_rows";
    /// Updated rows.
    UPDATE_ROWS = 31, "Update_rows";
    /// Deleted rows.
    DELETE_ROWS = 32, "Delete_rows";
    /// Start of a transaction with a GTID.
    GTID = 33, "Gtid";
    /// Start of a transaction without a GTID.
    ANONYMOUS_GTID = 34, "Anonymous_Gtid";
    /// GTIDs in all files before this one.
    PREVIOUS_GTIDS = 35, "Previous_gtids";
    /// Certification data inside Group Replication.
    TRANSACTION_CONTEXT = 36, "Transaction_context";
    /// A view of the group was installed (8.0 to 8.2).
    VIEW_CHANGE = 37, "View_change";
    /// XA PREPARE, or XA COMMIT ... ONE PHASE.
    XA_PREPARE = 38, "XA_prepare";
    /// Updated rows whose JSON columns may be given as differences.
    PARTIAL_UPDATE_ROWS = 39, "Update_rows_partial";
    /// A whole transaction, compressed.
    TRANSACTION_PAYLOAD = 40, "Transaction_payload";
    /// The source is alive, with a position above 4 GiB; on the wire only.
    HEARTBEAT_V2 = 41, "Heartbeat";
    /// Start of a transaction whose GTID may have a tag (8.3 and later).
    GTID_TAGGED = 42, "Gtid_tagged_log_event";
    /// MariaDB.
    MARIADB_ANNOTATE_ROWS = 160, "MariaDB Annotate_rows";
    /// MariaDB.
    MARIADB_BINLOG_CHECKPOINT = 161, "MariaDB Binlog_checkpoint";
    /// MariaDB.
    MARIADB_GTID = 162, "MariaDB Gtid";
    /// MariaDB.
    MARIADB_GTID_LIST = 163, "MariaDB Gtid_list";
    /// MariaDB.
    MARIADB_START_ENCRYPTION = 164, "MariaDB Start_encryption";
}

impl EventType {
    /// Whether only MariaDB writes such events.
    pub const fn is_mariadb(self) -> bool {
        matches!(self.0, 160..=171)
    }

    /// Whether it carries rows in a version that is understood.
    pub const fn is_rows(self) -> bool {
        matches!(self.0, 23..=25 | 30..=32 | 39)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}
