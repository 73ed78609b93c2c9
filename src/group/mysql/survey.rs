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
    /// What keeps this user from cloning it, if he is let in at all.
    pub no_clone: Option<Error>,
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
                        no_clone: None,
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
    let mut no_clone = None;
    for endpoint in &member.recovery_endpoints {
        outcome = inner.connect_as(endpoint, &inner.donor_options).and_then(
            |(mut connection, _tracking)| {
                let grants = Grants::read(&mut connection)?;
                no_clone = grants.check_clone().err();
                grants.check_dump()?;
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
        no_clone,
        logs,
    }
}

/// The user's privileges everywhere, those of active roles included.
struct Grants(Vec<String>);

impl Grants {
    fn read(connection: &mut Connection) -> Result<Self> {
        let shown = connection.query("SHOW GRANTS")?;
        let mut privileges = Vec::new();
        for row in 0..shown.len() {
            privileges.extend(global_privileges(shown.text(row, 0)?));
        }
        Ok(Self(privileges))
    }

    fn has(&self, privilege: &str) -> bool {
        let mut granted = self.0.iter();
        granted.any(|granted| granted == privilege || granted == "ALL PRIVILEGES")
    }

    fn check_dump(&self) -> Result<()> {
        if self.has("REPLICATION SLAVE") {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::Privilege, "the user may not replicate")
                .remedy("GRANT REPLICATION SLAVE ON *.* to it on every member"),
        )
    }

    fn check_clone(&self) -> Result<()> {
        if self.has("SELECT") && (self.has("RELOAD") || self.has("FLUSH_TABLES")) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Privilege,
            "the user may not read every table, or not hold it still for a moment",
        )
        .remedy("GRANT SELECT, RELOAD ON *.* to it on every member"))
    }
}

/// The privileges that one line of SHOW GRANTS gives on everything.
fn global_privileges(grant: &str) -> impl Iterator<Item = String> {
    let list = grant
        .strip_prefix("GRANT ")
        .and_then(|rest| rest.split_once(" ON *.* TO "))
        .map_or("", |(list, _)| list);
    list.split(',').map(|privilege| privilege.trim().to_owned())
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
    fn only_what_is_granted_on_everything_counts() {
        let grants = |lines: &[&str]| {
            Grants(
                lines
                    .iter()
                    .flat_map(|line| global_privileges(line))
                    .collect(),
            )
        };
        let usual = grants(&[
            "GRANT REPLICATION SLAVE ON *.* TO `recovery`@`%`",
            "GRANT SELECT ON `performance_schema`.* TO `recovery`@`%`",
        ]);
        assert!(usual.check_dump().is_ok());
        assert!(usual.check_clone().is_err());
        let cloning = grants(&[
            "GRANT SELECT, RELOAD ON *.* TO `recovery`@`%`",
            "GRANT REPLICATION SLAVE ON `d`.* TO `recovery`@`%`",
        ]);
        assert!(cloning.check_dump().is_err());
        assert!(cloning.check_clone().is_ok());
        let dynamic = grants(&[
            "GRANT SELECT ON *.* TO `recovery`@`%`",
            "GRANT BACKUP_ADMIN,FLUSH_TABLES ON *.* TO `recovery`@`%`",
        ]);
        assert!(dynamic.check_clone().is_ok());
        let all = grants(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]);
        assert!(all.check_dump().is_ok() && all.check_clone().is_ok());
        assert!(
            grants(&["GRANT `role`@`%` TO `recovery`@`%`"])
                .check_dump()
                .is_err()
        );
    }

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
