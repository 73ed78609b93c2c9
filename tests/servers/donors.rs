//! Donors that fail in the middle of a transfer from a real group of three, each in its own way.
//!
//! What makes the middle last: the donor holds a table locked, so that it has received the group's
//! last transaction and cannot apply it. The joiner waits for it, as for every donor that lags.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rejoin::ErrorKind;
use rejoin::engine::{Event, Member as Joiner};
use rejoin::group::MySqlGroup;
use rejoin::net::Url;
use rejoin::target::store::Store;
use serde_json::Value;

use crate::support::group::{Group, Member};
use crate::support::reaper::{self, Directory};
use crate::support::rejoin::{self as tool, Outcome, Running};
use crate::support::server::{self, Session, wait_until};
use crate::support::{Scenario, compare, prefix};

pub const SCENARIOS: &[Scenario] = &[
    ("donors::stalled", stalled),
    ("donors::leaving", leaving),
    ("donors::all_gone_and_back", all_gone_and_back),
    ("donors::retry_count_lowered", retry_count_lowered),
    ("donors::purged_on_one", purged_on_one),
    ("donors::conflicting_row_on_one", conflicting_row_on_one),
];

/// Far more than an expelled member takes to see it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A group and a store that holds all of it.
struct Bed {
    group: Group,
    store: PathBuf,
    _directory: Directory,
}

static BED: OnceLock<Mutex<Option<Bed>>> = OnceLock::new();

impl Bed {
    fn new() -> Bed {
        let group = Group::start(3);
        let directory = reaper::directory();
        let store = directory.path().join("store");
        group.members()[0].sql(
            "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(40));
             INSERT INTO d.t VALUES (1, 'one'), (2, 'two')",
        );
        group.settle();
        tool::run(&mut tool::recover(&group.url(), &store)).expect_online();
        Bed {
            group,
            store,
            _directory: directory,
        }
    }

    /// A copy of the store, so that in each scenario something is missing.
    fn copy(&self) -> (Directory, PathBuf) {
        let directory = reaper::directory();
        let store = directory.path().join("store");
        prefix::copy(&self.store, &store);
        (directory, store)
    }

    /// A secondary: the donor that is asked first.
    fn victim(&self) -> &Member {
        let primary = self.group.wait_primary().port;
        let mut members = self.group.members().iter().rev();
        members
            .find(|member| member.port != primary)
            .expect("there are three")
    }

    /// The group's URL in which `victim` stands last, so that the group is not looked at through it.
    fn url(&self, victim: &Member) -> String {
        let mut ports = self.group.ports();
        ports.retain(|port| *port != victim.port);
        ports.push(victim.port);
        server::url(&ports)
    }

    /// `rejoin recover` that asks `victim` first.
    fn recover(&self, victim: &Member, store: &std::path::Path) -> std::process::Command {
        let mut command = tool::recover(&self.url(victim), store);
        command.arg(format!("--donor-prefer=member:{}", victim.uuid()));
        command
    }

    /// Writes a transaction that `victim` receives and cannot apply while the session lives.
    fn hold_back(&self, victim: &Member) -> Session {
        let mut session = victim.session();
        session.number("LOCK TABLES d.t READ; SELECT 1");
        self.write();
        session
    }

    fn write(&self) {
        self.group
            .wait_primary()
            .sql("INSERT INTO d.t SELECT MAX(a) + 1, 'more' FROM d.t");
    }

    /// The group is whole again, and the store has its rows.
    fn check(&self, store: &std::path::Path, outcome: &Outcome) {
        outcome.expect_online();
        self.group.settle();
        tool::run(&mut tool::recover(&self.group.url(), store)).expect_online();
        compare::assert_same_rows(store, self.group.wait_primary());
    }
}

/// Runs `scenario` with the bed that all of them share.
fn with_bed(scenario: impl FnOnce(&Bed)) {
    let bed = BED.get_or_init(Mutex::default);
    let mut bed = bed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let bed = bed.get_or_insert_with(Bed::new);
    bed.group.heal();
    scenario(bed);
}

/// Stops the bed's servers, where they were started.
pub fn stop_bed() {
    if let Some(bed) = BED.get() {
        bed.lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
    }
}

/// Waits until `running` is in the middle of a transfer from `victim`.
fn wait_for_transfer(running: &mut Running, victim: &Member) {
    let port = running
        .wait_for(|event| (event["event"] == "donor").then(|| event["port"].clone()))
        .expect("a donor is asked");
    assert_eq!(port, victim.port);
    running
        .wait_for(|event| {
            let waits = event["event"] == "progress" && event["phase"] == 1;
            (waits && event["missing"] == 1).then_some(())
        })
        .expect("it waits for the last transaction");
}

/// The only failover, which must have been from `victim` for one of these reasons.
fn expect_failover(outcome: &Outcome, victim: &Member, classes: &[&str]) {
    let failover = outcome.events("failover");
    assert_eq!(failover.len(), 1, "{}", outcome.story());
    assert_eq!(failover[0]["port"], victim.port, "{}", outcome.story());
    let class = failover[0]["class"].as_str().unwrap_or_default();
    assert!(classes.contains(&class), "{}", outcome.story());
    let online = outcome.expect_online();
    assert_eq!(online["attempts"], 2, "{}", outcome.story());
    // The records of both attempts are told in the end.
    let records = online["attempt_records"].as_array().expect("a list");
    let class_of = |record: &Value| record["class"].as_str().map(String::from);
    assert_eq!(records.len(), 2, "{online}");
    assert_eq!(class_of(&records[0]).as_deref(), Some(class), "{online}");
    assert_eq!(class_of(&records[1]), None, "{online}");
    assert!(outcome.events("sleep").is_empty(), "{}", outcome.story());
}

/// A machine that hangs: the connection stays open and nothing comes.
fn stalled() {
    with_bed(|bed| {
        let victim = bed.victim();
        let held = bed.hold_back(victim);
        let (_directory, store) = bed.copy();
        let mut running = Running::start(&mut bed.recover(victim, &store));
        wait_for_transfer(&mut running, victim);
        victim.stop_process();
        let outcome = running.wait();
        drop(held);
        victim.cont();
        // The group expels it long before the silence is too long; it learns of it only now.
        expect_failover(&outcome, victim, &["donor_left", "timed_out"]);
        wait_until("the member knows that it was expelled", PATIENCE, || {
            victim.state().as_deref() == Some("ERROR")
        });
        bed.group.heal();
        bed.check(&store, &outcome);
    });
}

fn leaving() {
    with_bed(|bed| {
        let victim = bed.victim();
        let held = bed.hold_back(victim);
        let (_directory, store) = bed.copy();
        let mut running = Running::start(&mut bed.recover(victim, &store));
        wait_for_transfer(&mut running, victim);
        let outcome = thread::scope(|scope| {
            // It leaves at once, and then waits for its applier, which waits for the lock.
            let leaving = scope.spawn(|| victim.stop_group_replication());
            let outcome = running.wait();
            drop(held);
            leaving.join().expect("it leaves");
            outcome
        });
        expect_failover(&outcome, victim, &["donor_left", "stopped"]);
        bed.group.heal();
        bed.check(&store, &outcome);
    });
}

fn all_gone_and_back() {
    with_bed(|bed| {
        let victim = bed.victim();
        let held = bed.hold_back(victim);
        let (_directory, store) = bed.copy();
        let mut command = bed.recover(victim, &store);
        command.args([
            "--recovery-retry-count=1000",
            "--recovery-reconnect-interval=1",
        ]);
        let mut running = Running::start(&mut command);
        wait_for_transfer(&mut running, victim);
        for member in bed.group.members() {
            member.kill();
        }
        drop(held);
        // Every donor was tried and found dead.
        running
            .wait_for(|event| (event["event"] == "sleep").then_some(()))
            .expect("it sleeps");
        bed.group.heal();
        let outcome = running.wait();
        for failover in outcome.events("failover") {
            let class = failover["class"].as_str().unwrap_or_default();
            // A server that is starting shuts the door in its own ways.
            assert!(
                [
                    "network",
                    "stopped",
                    "refused",
                    "donor_left",
                    "timed_out",
                    "authentication"
                ]
                .contains(&class),
                "{failover}"
            );
        }
        let failovers = outcome.events("failover").len();
        assert!(failovers >= 3, "{}", outcome.story());
        let online = outcome.expect_online();
        // However often the list was built anew, the count is one.
        assert!(
            online["attempts"].as_u64() > Some(failovers as u64),
            "{online}"
        );
        bed.check(&store, &outcome);
    });
}

/// The library's handle: what is set while recovery runs takes effect at the next attempt.
fn retry_count_lowered() {
    with_bed(|bed| {
        let (_directory, store) = bed.copy();
        bed.write();
        bed.group.settle();
        let url: Url = bed.group.url().parse().expect("a URL");
        let group = MySqlGroup::with_options(url.endpoints, url.options)
            .expect("the group answers")
            .donor_login(|mut login| {
                login.password = "not-it".into();
                login
            });
        let builder = Joiner::builder(group, Store::open(&store).expect("a store"))
            .recovery_retry_count(1000)
            .recovery_reconnect_interval(Duration::from_secs(1));
        let events = builder.events();
        let joiner = builder.start().expect("the member starts");
        let mut failovers = 0;
        for event in events {
            failovers += u32::from(matches!(event, Event::Failover(_)));
            // Behind the first sleep.
            if failovers == 5 {
                let mut settings = joiner.settings();
                settings.recovery_retry_count = 2;
                joiner.set_settings(settings).expect("it is in its range");
                assert_eq!(joiner.settings().recovery_retry_count, 2);
            }
        }
        let error = joiner
            .wait_online(Duration::from_secs(30))
            .expect_err("no password fits");
        assert_eq!(error.kind(), ErrorKind::NoDonor, "{error}");
        let status = joiner.status();
        assert_eq!(status.attempts, failovers);
        // The one that was under way, and one whose beginning crossed with the setting.
        assert!((5..=7).contains(&failovers), "{failovers} attempts");
        assert_eq!(status.attempt_records.len() as u32, failovers);
        joiner.join().expect_err("no password fits");
    });
}

fn purged_on_one() {
    with_bed(|bed| {
        let victim = bed.victim();
        bed.write();
        bed.group.settle();
        victim.sql("FLUSH BINARY LOGS");
        let last = victim.sql("SHOW BINARY LOG STATUS");
        let file = last.split('\t').next().expect("a file name");
        victim.sql(&format!("PURGE BINARY LOGS TO '{file}'"));
        let (_directory, store) = bed.copy();
        let outcome = tool::run(&mut bed.recover(victim, &store));
        expect_failover(&outcome, victim, &["purged"]);
        bed.check(&store, &outcome);

        // Where it is asked for, such a donor is not even tried.
        let (_directory, store) = bed.copy();
        let outcome = tool::run(bed.recover(victim, &store).arg("--donor-must-have-missing"));
        assert_eq!(
            outcome.expect_online()["attempts"],
            1,
            "{}",
            outcome.story()
        );
        assert_ne!(outcome.events("donor")[0]["port"], victim.port);
    });
}

/// Under the same GTID, one member inserts a row that everybody else has already. The last one with
/// this bed: the member's rows stay different.
fn conflicting_row_on_one() {
    const GTID: &str = "c04f11c7-0000-4000-8000-000000000001:1";
    with_bed(|bed| {
        let victim = bed.victim();
        bed.group.settle();
        let (_directory, store) = bed.copy();
        // Only the conflict is missing: an earlier scenario may have purged the rest.
        tool::run(&mut tool::recover(&bed.group.url(), &store)).expect_online();
        victim.stop_group_replication();
        victim.sql(&format!(
            "SET GLOBAL super_read_only = OFF;
             SET sql_log_bin = OFF; DELETE FROM d.t WHERE a = 1; SET sql_log_bin = ON;
             SET gtid_next = '{GTID}'; INSERT INTO d.t VALUES (1, 'mine'); SET gtid_next = AUTOMATIC"
        ));
        bed.group.wait_primary().sql(&format!(
            "SET gtid_next = '{GTID}'; INSERT INTO d.t VALUES (1000000, 'theirs');
             SET gtid_next = AUTOMATIC"
        ));
        victim.start_group_replication();
        bed.group.wait_online();
        bed.group.settle();
        let outcome = tool::run(&mut bed.recover(victim, &store));
        expect_failover(&outcome, victim, &["conflict"]);
        bed.check(&store, &outcome);
    });
}
