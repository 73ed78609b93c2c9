//! A real Group Replication group of one to five members on loopback.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{self, RECOVERY_PASSWORD, RECOVERY_USER, Server, wait_until};
use super::workload::Workload;

/// `group_replication_group_name` unless a test needs two different groups.
pub const GROUP_NAME: &str = "4b17a5e0-5a1e-4d0c-9a3e-7e50a1a0c0de";

/// Joining, electing and expelling on a machine that others load.
const PATIENCE: Duration = Duration::from_secs(180);

const BYTES_SENT: &str = "SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Bytes_sent'";

/// A member: a server with its place in a group.
#[derive(Debug)]
pub struct Member {
    server: Server,
}

impl Deref for Member {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Member {
    /// Joins the group that its options name.
    pub fn start_group_replication(&self) {
        self.sql(&format!(
            "START GROUP_REPLICATION USER = '{RECOVERY_USER}', PASSWORD = '{RECOVERY_PASSWORD}'"
        ));
    }

    /// Leaves the group; the server goes on as a server outside of it.
    pub fn stop_group_replication(&self) {
        self.sql("STOP GROUP_REPLICATION");
    }

    /// Founds the group.
    pub fn bootstrap(&self) {
        self.sql("SET GLOBAL group_replication_bootstrap_group = ON");
        self.start_group_replication();
        self.sql("SET GLOBAL group_replication_bootstrap_group = OFF");
        self.wait_online();
    }

    /// Kills it where it runs, starts it and joins the group again.
    pub fn restart(&self) {
        self.server.restart();
        self.start_group_replication();
    }

    /// Waits until it has sent half of its binary log, then SIGKILL.
    ///
    /// `sent_before` is what it had [sent](Self::bytes_sent) before the transfer began.
    pub fn kill_in_mid_transfer(&self, sent_before: u64) {
        let log: u64 = self
            .binary_logs()
            .iter()
            .map(|file| file.metadata().expect("the file is there").len())
            .sum();
        let mut session = self.session();
        let end = Instant::now() + PATIENCE;
        // Asked without a pause: the whole transfer may take less than a second.
        while session.number(BYTES_SENT).saturating_sub(sent_before) < log / 2 {
            assert!(Instant::now() < end, "it never sent half of its binary log");
        }
        self.kill();
    }

    /// Bytes that it has sent to all its clients, dump threads among them.
    pub fn bytes_sent(&self) -> u64 {
        self.session().number(BYTES_SENT)
    }

    /// Its own view of its own state: `ONLINE`, `RECOVERING`, ...; nothing where it does not answer.
    pub fn state(&self) -> Option<String> {
        if self.process_id().is_none() || self.is_frozen() {
            return None;
        }
        self.try_sql(
            "SELECT member_state FROM performance_schema.replication_group_members
             WHERE member_id = @@server_uuid",
        )
        .ok()
    }

    /// Waits until it is ONLINE.
    pub fn wait_online(&self) {
        wait_until("the member is ONLINE", PATIENCE, || {
            self.state().as_deref() == Some("ONLINE")
        });
    }
}

/// The members, in the order of their starting; the first one founded the group.
#[derive(Debug)]
pub struct Group {
    members: Vec<Member>,
}

impl Group {
    /// A group of `count` members without any data.
    pub fn start(count: usize) -> Group {
        Group::from_template(count, &server::initialised(), GROUP_NAME)
    }

    /// A group of `count` members of which each has all of `workload`, in rows and binary logs.
    pub fn loaded(count: usize, workload: &Workload) -> Group {
        Group::from_template(count, &workload.template(), GROUP_NAME)
    }

    /// A group of `count` members, each on a copy of a prepared data directory.
    pub fn from_template(count: usize, template: &Path, name: &str) -> Group {
        assert!((1..=5).contains(&count));
        let addresses: Vec<String> = (0..count)
            .map(|_| format!("127.0.0.1:{}", server::free_port()))
            .collect();
        let seeds = addresses.join(",");
        // Copying waits for the disk, starting for the processor: all members at once.
        let starting: Vec<_> = addresses
            .iter()
            .map(|address| {
                let options = member_options(name, address, &seeds);
                let template = template.to_owned();
                thread::spawn(move || {
                    let options: Vec<&str> = options.iter().map(String::as_str).collect();
                    Member {
                        server: Server::from_template(&template, &options),
                    }
                })
            })
            .collect();
        let members: Vec<Member> = starting
            .into_iter()
            .map(|one| one.join().expect("the member started"))
            .collect();
        members[0].bootstrap();
        thread::scope(|scope| {
            for member in &members[1..] {
                scope.spawn(|| member.start_group_replication());
            }
        });
        let group = Group { members };
        group.wait_online();
        group
    }

    /// All members, whatever their state.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member that listens on `port`.
    pub fn member(&self, port: u16) -> &Member {
        self.members
            .iter()
            .find(|member| member.port == port)
            .expect("the port is a member's")
    }

    /// The URL for `rejoin --group` with every member as a seed.
    pub fn url(&self) -> String {
        server::url(&self.ports())
    }

    /// The ports of all members.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// The first member that is ONLINE.
    pub fn online(&self) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.state().as_deref() == Some("ONLINE"))
    }

    /// The member that takes writes, where the group has one at this moment.
    pub fn primary(&self) -> Option<&Member> {
        let port = self
            .online()?
            .try_sql(
                "SELECT member_port FROM performance_schema.replication_group_members
                 WHERE member_role = 'PRIMARY' AND member_state = 'ONLINE'",
            )
            .ok()?
            .parse()
            .ok()?;
        let primary = self.member(port);
        // A killed primary is listed until the group has noticed.
        primary.process_id().is_some().then_some(primary)
    }

    /// Waits for a primary: after a kill the group takes some seconds to agree on another one.
    pub fn wait_primary(&self) -> &Member {
        wait_until("the group has a primary", PATIENCE, || {
            self.primary().is_some()
        });
        self.primary().expect("it had one a moment ago")
    }

    /// Waits until every member is ONLINE in the eyes of every member.
    pub fn wait_online(&self) {
        let all = self.members.len().to_string();
        wait_until("all members are ONLINE", PATIENCE, || {
            self.members.iter().all(|member| {
                member
                    .try_sql(
                        "SELECT COUNT(*) FROM performance_schema.replication_group_members
                         WHERE member_state = 'ONLINE'",
                    )
                    .is_ok_and(|online| online == all)
            })
        });
    }

    /// Brings back every member that was killed, frozen or stopped, and waits for all.
    pub fn heal(&self) {
        for member in &self.members {
            if member.is_frozen() {
                member.cont();
            }
            if member.process_id().is_none() {
                member.launch();
            }
        }
        if self.online().is_none() {
            self.members[0].bootstrap();
        }
        for member in &self.members {
            if !matches!(member.state().as_deref(), Some("ONLINE" | "RECOVERING")) {
                // A member that the group expelled keeps itself read-only in state ERROR.
                let _ = member.try_sql("STOP GROUP_REPLICATION");
                member.sql("SET GLOBAL offline_mode = OFF");
                member.start_group_replication();
            }
        }
        self.wait_online();
    }

    /// Waits until all living members have executed the same, and gives that set.
    pub fn settle(&self) -> String {
        let living = || {
            self.members
                .iter()
                .filter(|member| member.state().as_deref() == Some("ONLINE"))
        };
        wait_until("the members have executed the same", PATIENCE, || {
            let sets: Vec<String> = living().map(|member| member.executed()).collect();
            sets.windows(2).all(|pair| pair[0] == pair[1])
        });
        self.online().expect("one is ONLINE").executed()
    }
}

fn member_options(name: &str, address: &str, seeds: &str) -> Vec<String> {
    // The plugin is not loaded while a data directory is initialised: loose.
    [
        ("group_name", name),
        ("local_address", address),
        ("group_seeds", seeds),
        ("start_on_boot", "OFF"),
        ("bootstrap_group", "OFF"),
        // A killed member leaves the view as soon as it is suspected.
        ("member_expel_timeout", "0"),
        ("autorejoin_tries", "0"),
        ("message_cache_size", "134217728"),
    ]
    .iter()
    .map(|(option, value)| format!("--loose-group_replication_{option}={value}"))
    .collect()
}

static SHARED: Mutex<Option<Arc<Group>>> = Mutex::new(None);

/// The three members with the mixed workload that scenarios share, whole and ONLINE.
///
/// A scenario may kill and freeze members and write more; it may not purge their binary logs.
pub fn shared() -> Arc<Group> {
    let mut shared = SHARED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(group) = shared.as_ref() {
        group.heal();
        return Arc::clone(group);
    }
    let group = Arc::new(Group::loaded(3, &super::workload::MIXED));
    *shared = Some(Arc::clone(&group));
    group
}

/// Stops the shared group, where one was started.
pub fn stop_shared() {
    SHARED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .take();
}
