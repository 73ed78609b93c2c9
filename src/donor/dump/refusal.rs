//! The errors of a dump, with the numbers and texts of mysqld 9.7: replicas print them, and some
//! tools tell them apart by text.

use crate::donor::source::Dispute;
use crate::gtid::GtidSet;
use crate::wire::server::answer::{MESSAGE_LENGTH, Refusal};
use crate::wire::server_error::ER_SOURCE_FATAL_ERROR_READING_BINLOG;
use crate::{Error, ErrorKind};

const PURGED: &str = "Cannot replicate because the source purged required binary logs. Replicate the \
    missing transactions from elsewhere, or provision a new replica from backup. Consider \
    increasing the source's binary log expiration period. ";

// The doubled word is the server's.
const AHEAD: &str = "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This \
    may indicate that the the last binary log file was truncated or lost, e.g., after a power \
    failure when sync_binlog != 1. The source may have rolled back transactions that were already \
    replicated to the replica. Replicate any transactions that source has rolled back from replica \
    to source, and/or commit empty transactions on source to account for transactions that have \
    been committed on source but are not included in GTID_EXECUTED.";

/// Where a dump stands, for the end of its error messages.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// As the client asked for it.
    pub(super) start_file: String,
    pub(super) start_position: u64,
    pub(super) file: String,
    /// Where the last event read ends.
    pub(super) event_end: u64,
}

/// Error 1236.
pub(super) fn fatal(text: impl Into<String>) -> Refusal {
    Refusal::new(ER_SOURCE_FATAL_ERROR_READING_BINLOG, text)
}

/// Error 1236 in the middle of a file.
pub(super) fn fatal_at(text: &str, place: &Place) -> Refusal {
    let Place {
        start_file,
        start_position,
        file,
        event_end,
    } = place;
    fatal(format!(
        "{text}; the first event '{start_file}' at {start_position}, the last event read from \
         './{file}' at {event_end}, the last byte read from './{file}' at {event_end}."
    ))
}

/// Why nothing can be sent at all.
pub(super) fn disputed(dispute: &Dispute, replica: &GtidSet) -> Refusal {
    match dispute {
        Dispute::Ahead(_) => fatal(AHEAD),
        Dispute::Purged(missing) => purged(replica, missing),
    }
}

/// The replica lacks what the logs no longer have.
pub(super) fn purged(replica: &GtidSet, missing: &GtidSet) -> Refusal {
    let mut sets = format!(
        "The GTID set sent by the replica is '{replica}', and the missing transactions are \
         '{missing}'"
    );
    if PURGED.len() + sets.len() > MESSAGE_LENGTH + 1 {
        "The GTID sets and the missing purged transactions are too long to print in this message. \
         For more information, please see the source's error log or the manual for GTID_SUBTRACT"
            .clone_into(&mut sets);
    }
    fatal(format!("{PURGED}{sets}"))
}

/// What reading the files has run into.
pub(super) fn unreadable(error: &Error, place: &Place) -> Refusal {
    match error.kind() {
        ErrorKind::Checksum => fatal_at("event read from binlog did not pass crc check", place),
        ErrorKind::Limit => fatal_at(
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
            place,
        ),
        ErrorKind::Malformed => fatal_at("bogus data in log event", place),
        ErrorKind::Unsupported => fatal(error.to_string()),
        _ => fatal_at("I/O error reading log event", place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::wire::server_error::ServerError;

    fn kind(refusal: &Refusal) -> ErrorKind {
        ServerError::parse(&refusal.packet()).unwrap().kind()
    }

    #[test]
    fn our_own_client_tells_them_apart() {
        let place = Place::default();
        let set = GtidSet::new();
        assert_eq!(kind(&purged(&set, &set)), ErrorKind::Purged);
        assert_eq!(
            kind(&disputed(&Dispute::Ahead(GtidSet::new()), &set)),
            ErrorKind::Ahead
        );
        for source in [ErrorKind::Checksum, ErrorKind::Limit, ErrorKind::Malformed] {
            let refusal = unreadable(&Error::new(source, ""), &place);
            assert_eq!(kind(&refusal), source, "{refusal}");
        }
    }

    #[test]
    fn long_sets_are_left_out_of_the_message() {
        let short: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap();
        let long: GtidSet = (1..200)
            .map(|n| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{}", 2 * n))
            .collect::<Vec<_>>()
            .join(",")
            .parse()
            .unwrap();
        assert!(purged(&short, &short).message.ends_with(":1-5'"));
        assert!(purged(&short, &long).message.ends_with("GTID_SUBTRACT"));
    }
}
