//! Short forms for the tests of this room.

use super::donor_list::OWN_VERSION;
use crate::group::{GroupMember, MemberState};
use crate::gtid::{GtidSet, Uuid};
use crate::net::Endpoint;

pub(super) fn uuid(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// A set of the group's own transactions from its intervals, `1-3:5`.
pub(super) fn gtids(intervals: &str) -> GtidSet {
    format!("{}:{intervals}", uuid(0xaa))
        .replace(":,", ",")
        .trim_end_matches(':')
        .parse()
        .unwrap()
}

pub(super) fn member(number: u8, state: MemberState) -> GroupMember {
    let address = Endpoint::new(format!("db{number}"), 3306);
    GroupMember {
        uuid: uuid(number),
        recovery_endpoints: vec![address.clone()],
        address,
        state,
        primary: false,
        version: Some(OWN_VERSION),
        executed: None,
        purged: None,
    }
}
