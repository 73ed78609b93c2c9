//! Which exit code an error gives.

use crate::{Error, ErrorKind};

/// The arguments could not be understood.
pub(super) const USAGE: u8 = 2;
/// Ended by SIGINT or SIGTERM before the work was done.
const INTERRUPTED: u8 = 130;

pub(super) fn code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Configuration
        | ErrorKind::Authentication
        | ErrorKind::Tls
        | ErrorKind::Privilege => 3,
        ErrorKind::NoDonor
        | ErrorKind::GroupUnavailable
        | ErrorKind::Network
        | ErrorKind::TimedOut
        | ErrorKind::Purged
        | ErrorKind::Ahead
        | ErrorKind::Refused
        | ErrorKind::Stopped
        | ErrorKind::DonorLeft
        | ErrorKind::Gap
        | ErrorKind::TooSlow => 4,
        ErrorKind::Conflict
        | ErrorKind::Schema
        | ErrorKind::Unsupported
        | ErrorKind::Malformed
        | ErrorKind::Checksum
        | ErrorKind::Limit
        | ErrorKind::Transient
        | ErrorKind::TargetIo
        | ErrorKind::TargetCorrupt
        | ErrorKind::TargetLocked => 5,
        ErrorKind::Errant | ErrorKind::CloneNeeded => 6,
        ErrorKind::Interrupted => INTERRUPTED,
        ErrorKind::Internal => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_others_script_against() {
        for (kind, expected) in [
            (ErrorKind::Authentication, 3),
            (ErrorKind::NoDonor, 4),
            (ErrorKind::GroupUnavailable, 4),
            (ErrorKind::TargetCorrupt, 5),
            (ErrorKind::Errant, 6),
            (ErrorKind::CloneNeeded, 6),
            (ErrorKind::Interrupted, 130),
            (ErrorKind::Internal, 1),
        ] {
            assert_eq!(code(&Error::new(kind, "")), expected, "{kind}");
        }
    }
}
