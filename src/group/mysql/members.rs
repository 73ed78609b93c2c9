//! What members tell about themselves and each other through SQL.

use std::thread;

use log::debug;

use super::Inner;
use crate::group::{GroupMember, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Connection, Endpoint, ServerVersion};
use crate::{Error, ErrorKind, Result};

const MEMBERS: &str = "SELECT MEMBER_ID, MEMBER_HOST, MEMBER_PORT, MEMBER_STATE, MEMBER_ROLE, \
     MEMBER_VERSION FROM performance_schema.replication_group_members \
     WHERE CHANNEL_NAME = 'group_replication_applier'";

/// What is certified and received counts as the group's, though this member may not have applied it.
const EXECUTED: &str = "SELECT @@GLOBAL.gtid_executed, COALESCE((SELECT RECEIVED_TRANSACTION_SET \
     FROM performance_schema.replication_connection_status \
     WHERE CHANNEL_NAME = 'group_replication_applier'), '')";

const PURGED: &str = "SELECT @@GLOBAL.gtid_purged, COALESCE((SELECT VARIABLE_VALUE \
     FROM performance_schema.global_variables \
     WHERE VARIABLE_NAME = 'group_replication_advertise_recovery_endpoints'), 'DEFAULT')";

/// The members as this one sees them.
///
/// # Errors
/// [`ErrorKind::GroupUnavailable`] if this server takes no part in a group.
pub(super) fn read_view(connection: &mut Connection) -> Result<View> {
    let answer = connection.query("SELECT @@GLOBAL.server_uuid")?;
    let own = answer.text(0, 0)?;
    let rows = connection.query(MEMBERS)?;
    let mut members = Vec::new();
    for row in 0..rows.len() {
        // A server that has never been in a group shows one row without an identity.
        let Ok(uuid) = rows.text(row, 0)?.parse::<Uuid>() else {
            continue;
        };
        let port = rows.text(row, 2)?;
        let port = port.parse().map_err(|_| {
            Error::new(
                ErrorKind::Malformed,
                format!("member {uuid} has port {port:?}"),
            )
        })?;
        let address = Endpoint::new(rows.text(row, 1)?, port);
        let state = rows.text(row, 3)?;
        let state = MemberState::from_name(state).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("member {uuid} is in a state that is not known: {state:?}"),
            )
        })?;
        members.push(GroupMember {
            uuid,
            recovery_endpoints: vec![address.clone()],
            address,
            state,
            primary: rows.text(row, 4)? == "PRIMARY",
            version: Some(ServerVersion::parse(rows.text(row, 5)?)),
            executed: None,
            purged: None,
        });
    }
    members.sort_by_key(|member| member.uuid);
    let itself = members.iter().find(|member| own == member.uuid.to_string());
    match itself.map(|member| member.state) {
        Some(MemberState::Online | MemberState::Recovering) => Ok(View { members }),
        state => Err(Error::new(
            ErrorKind::GroupUnavailable,
            match state {
                Some(state) => format!("the server is in state {state}, not a working member"),
                None => "the server takes no part in a group".into(),
            },
        )
        .remedy("name seeds that are ONLINE members, or run START GROUP_REPLICATION there")),
    }
}

/// What this member has executed or received from the group.
pub(super) fn read_executed(connection: &mut Connection) -> Result<GtidSet> {
    let rows = connection.query(EXECUTED)?;
    let mut set = gtid_set(rows.text(0, 0)?)?;
    set.extend(&gtid_set(rows.text(0, 1)?)?);
    Ok(set)
}

fn gtid_set(text: &str) -> Result<GtidSet> {
    text.parse().map_err(|error| {
        Error::new(ErrorKind::Malformed, "a member's GTID set cannot be read").caused_by(error)
    })
}

/// Asks every member that may matter for its sets and recovery endpoints, all at once. A member that
/// does not answer keeps them unknown.
pub(super) fn read_sets(inner: &Inner, view: &mut View) {
    thread::scope(|scope| {
        for member in &mut view.members {
            if matches!(member.state, MemberState::Online | MemberState::Recovering) {
                scope.spawn(|| {
                    if let Err(error) = read_member(inner, member) {
                        debug!("member {} tells no sets: {error}", member.address);
                    }
                });
            }
        }
    });
}

fn read_member(inner: &Inner, member: &mut GroupMember) -> Result<()> {
    let (mut connection, _tracking) = inner.connect(&member.address)?;
    member.executed = Some(read_executed(&mut connection)?);
    let rows = connection.query(PURGED)?;
    member.purged = Some(gtid_set(rows.text(0, 0)?)?);
    member.recovery_endpoints = endpoints(rows.text(0, 1)?, &member.address);
    Ok(())
}

/// The endpoints that a member advertises. A list that cannot be read gives none, which costs the
/// donor its attempt; there is no falling back to the member's address.
fn endpoints(advertised: &str, address: &Endpoint) -> Vec<Endpoint> {
    if advertised.eq_ignore_ascii_case("DEFAULT") || advertised.is_empty() {
        return vec![address.clone()];
    }
    let parsed: Option<Vec<Endpoint>> = advertised
        .split(',')
        .map(|part| {
            let endpoint: Endpoint = part.trim().parse().ok()?;
            // A port is not left out here: no default stands for it.
            (endpoint.to_string() == part.trim()).then_some(endpoint)
        })
        .collect();
    parsed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_endpoints_in_order_and_no_falling_back() {
        let own: Endpoint = "db1:3306".parse().unwrap();
        let texts = |advertised| -> Vec<String> {
            endpoints(advertised, &own)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(texts("DEFAULT"), ["db1:3306"]);
        assert_eq!(
            texts("[::1]:33060, 127.0.0.1:3306"),
            ["[::1]:33060", "127.0.0.1:3306"]
        );
        assert_eq!(texts("127.0.0.1:3306,nonsense"), [""; 0]);
    }
}
