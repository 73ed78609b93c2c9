//! A look at every possible donor before recovery begins: can it be logged in at, may the user
//! replicate, how much does it hold. Nothing is changed, not even a replica registered.

use std::thread;

use super::{Inner, MySqlGroup};
use crate::group::{Group, GroupMember, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Connection, Endpoint};
use crate::{Error, ErrorKind, Result};

/// What a look at the group has shown.
#[derive(Debug)]
pub struct Survey {
    /// The members, with their sets where they could be asked.
    pub view: View,
    /// What the group has executed: where phase 1 of a recovery that began now would end.
    pub cut: GtidSet,
    /// The possible donors that were visited, with what came of it.
    pub visits: Vec<Visit>,
}

/// A visit to one member with the recovery channel's user.
#[derive(Debug)]
pub struct Visit {
    /// The member.
    pub uuid: Uuid,
    /// Where it was reached; what kept it from serving us otherwise.
    pub outcome: Result<Endpoint>,
    /// Bytes and transactions of its binary logs, where the user may see them: the measure by which
    /// the cost of what is missing can be estimated.
    pub logs: Option<Logs>,
}

/// The size of a member's binary logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logs {
    /// Bytes of all files.
    pub bytes: u64,
    /// Transactions in them.
    pub transactions: u64,
}

impl Logs {
    /// About how many bytes so many transactions take.
    pub fn estimate(&self, transactions: u64) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(transactions);
        u64::try_from(bytes / u128::from(self.transactions.max(1))).unwrap_or(u64::MAX)
    }
}

impl MySqlGroup {
    /// Looks at the group and visits every ONLINE member as a joiner would, without changing
    /// anything anywhere.
    ///
    /// # Errors
    /// No member can be reached, or none is ONLINE.
    pub fn survey(&self) -> Result<Survey> {
        let view = self.read()?;
        let cut = self.executed()?;
        let online = view
            .members
            .iter()
            .filter(|member| member.state == MemberState::Online);
        let visits = thread::scope(|scope| {
            let visits: Vec<_> = online
                .map(|member| (member.uuid, scope.spawn(|| visit(&self.inner, member))))
                .collect();
            visits
                .into_iter()
                .map(|(uuid, visit)| {
                    visit.join().unwrap_or_else(|_| Visit {
                        uuid,
                        outcome: Err(Error::new(ErrorKind::Internal, "the visit panicked")),
                        logs: None,
                    })
                })
                .collect()
        });
        Ok(Survey { view, cut, visits })
    }
}

fn visit(inner: &Inner, member: &GroupMember) -> Visit {
    let mut outcome = Err(Error::new(
        ErrorKind::Refused,
        "the member advertises no usable recovery endpoint",
    )
    .remedy("set group_replication_advertise_recovery_endpoints there"));
    let mut logs = None;
    for endpoint in &member.recovery_endpoints {
        outcome = inner.connect_as(endpoint, &inner.donor_options).and_then(
            |(mut connection, _tracking)| {
                check_privilege(&mut connection)?;
                logs = measure(&mut connection, member);
                Ok(endpoint.clone())
            },
        );
        if outcome.is_ok() {
            break;
        }
    }
    Visit {
        uuid: member.uuid,
        outcome,
        logs,
    }
}

/// Whether the user's grants, active roles included, let it replicate.
fn check_privilege(connection: &mut Connection) -> Result<()> {
    let grants = connection.query("SHOW GRANTS")?;
    for row in 0..grants.len() {
        let grant = grants.text(row, 0)?;
        let global = grant.contains(" ON *.* ");
        if global && (grant.contains("REPLICATION SLAVE") || grant.contains("ALL PRIVILEGES")) {
            return Ok(());
        }
    }
    Err(
        Error::new(ErrorKind::Privilege, "the user may not replicate")
            .remedy("GRANT REPLICATION SLAVE ON *.* to it on every member"),
    )
}

/// The sum of the member's binary logs; `None` where the user may not see them.
fn measure(connection: &mut Connection, member: &GroupMember) -> Option<Logs> {
    let files = connection.query("SHOW BINARY LOGS").ok()?;
    let bytes = (0..files.len())
        .filter_map(|row| files.text(row, 1).ok()?.parse::<u64>().ok())
        .sum();
    let (executed, purged) = (member.executed.as_ref()?, member.purged.as_ref()?);
    Some(Logs {
        bytes,
        transactions: executed.subtract(purged).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_proportional_and_never_overflow() {
        let logs = Logs {
            bytes: 1000,
            transactions: 10,
        };
        assert_eq!(logs.estimate(3), 300);
        assert_eq!(logs.estimate(0), 0);
        let none = Logs {
            bytes: u64::MAX,
            transactions: 0,
        };
        assert_eq!(none.estimate(u64::MAX), u64::MAX);
    }
}
