//! Recovery that cannot succeed: it ends with the right exit code within the attempts asked for, says
//! why in one message, and leaves the store as it was.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::support::group::{GROUP_NAME, Group};
use crate::support::reaper::{self, Directory};
use crate::support::rejoin::{self as tool, Outcome};
use crate::support::server::{self, RECOVERY_PASSWORD, RECOVERY_USER, Server};
use crate::support::{Scenario, compare, prefix};

pub const SCENARIOS: &[Scenario] = &[
    (
        "failures::wrong_password_of_the_seed",
        wrong_password_of_the_seed,
    ),
    ("failures::unreachable_seed", unreachable_seed),
    (
        "failures::certificate_of_nobody_we_trust",
        certificate_of_nobody_we_trust,
    ),
    (
        "failures::password_over_plain_text",
        password_over_plain_text,
    ),
    (
        "failures::wrong_password_of_the_donors",
        wrong_password_of_the_donors,
    ),
    (
        "failures::server_outside_of_any_group",
        server_outside_of_any_group,
    ),
    ("failures::errant_transaction", errant_transaction),
    ("failures::no_member_online", no_member_online),
    ("failures::purged_on_every_donor", purged_on_every_donor),
];

/// Attempts allowed in these scenarios, and the sleep between rounds.
const ATTEMPTS: u64 = 3;
const BOUNDED: [&str; 4] = [
    "--recovery-retry-count",
    "3",
    "--recovery-reconnect-interval",
    "1",
];
/// Far more than three attempts take, far less than the default ten with their sleeps of a minute.
const SOON: Duration = Duration::from_secs(30);

/// Two members and a store that holds all but their last transaction.
struct Bed {
    group: Group,
    store: PathBuf,
    _directory: Directory,
}

static BED: OnceLock<Mutex<Option<Bed>>> = OnceLock::new();

impl Bed {
    fn new() -> Bed {
        let group = Group::start(2);
        let directory = reaper::directory();
        let store = directory.path().join("store");
        group.members()[0].sql(
            "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(40));
             INSERT INTO d.t VALUES (1, 'one'), (2, 'two')",
        );
        group.settle();
        tool::run(&mut tool::recover(&group.url(), &store)).expect_online();
        compare::assert_same_rows(&store, &group.members()[0]);
        group.members()[0].sql("INSERT INTO d.t VALUES (3, 'still missing in the store')");
        group.settle();
        Bed {
            group,
            store,
            _directory: directory,
        }
    }

    /// A copy of the store, so that no scenario sees what another one did.
    fn copy(&self) -> (Directory, PathBuf) {
        let directory = reaper::directory();
        let store = directory.path().join("store");
        prefix::copy(&self.store, &store);
        (directory, store)
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

/// Runs it on a copy of the bed's store, and checks that the store has not changed.
fn run_and_keep_the_store(bed: &Bed, build: impl FnOnce(&std::path::Path) -> Command) -> Outcome {
    let (_directory, store) = bed.copy();
    let executed = tool::executed(&store);
    let rows = tool::dump(&store, "d.t");
    let outcome = tool::run(&mut build(&store));
    assert_eq!(tool::executed(&store), executed, "{}", outcome.story());
    assert_eq!(tool::dump(&store, "d.t"), rows, "{}", outcome.story());
    assert!(
        outcome.took < SOON,
        "{:?}: {}",
        outcome.took,
        outcome.story()
    );
    // And it is still a store that recovery goes on with.
    if bed.group.online().is_some() {
        tool::run(&mut tool::recover(&bed.group.url(), &store)).expect_online();
        compare::assert_same_rows(&store, &bed.group.members()[0]);
    }
    outcome
}

fn bounded(url: &str, store: &std::path::Path) -> Command {
    let mut command = tool::recover(url, store);
    command.args(BOUNDED);
    command
}

fn wrong_password_of_the_seed() {
    with_bed(|bed| {
        let ports = bed.group.ports();
        let url = server::url_as(RECOVERY_USER, "not-it", &ports);
        let outcome = run_and_keep_the_store(bed, |store| bounded(&url, store));
        let error = outcome.expect_error(3);
        assert_eq!(error["class"], "authentication", "{error}");
        names(error, &[&ports[0].to_string(), RECOVERY_USER]);
        assert!(
            !outcome.stderr.contains("not-it"),
            "the password is told: {}",
            outcome.stderr
        );
    });
}

fn unreachable_seed() {
    with_bed(|bed| {
        let port = server::free_port();
        let outcome = run_and_keep_the_store(bed, |store| bounded(&server::url(&[port]), store));
        let code = outcome.code.unwrap_or_default();
        assert!(matches!(code, 3 | 4), "{}", outcome.story());
        names(outcome.expect_error(code), &[&port.to_string()]);
    });
}

fn certificate_of_nobody_we_trust() {
    with_bed(|bed| {
        // mysqld signed its certificate itself, and it names no host.
        for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
            let url = format!("{}?ssl-mode={mode}", bed.group.url());
            let outcome = run_and_keep_the_store(bed, |store| bounded(&url, store));
            let code = outcome.code.unwrap_or_default();
            assert!(matches!(code, 3 | 4), "{}", outcome.story());
            names(outcome.expect_error(code), &["ssl-"]);
        }
        let ca = bed.group.members()[0].data().join("ca.pem");
        let url = format!(
            "{}?ssl-mode=VERIFY_CA&ssl-ca={}",
            bed.group.url(),
            ca.display()
        );
        let (_directory, store) = bed.copy();
        tool::run(&mut bounded(&url, &store)).expect_online();
    });
}

fn password_over_plain_text() {
    with_bed(|bed| {
        // A user who never logged in: the server cannot check a scrambled password from its cache.
        let primary = bed.group.wait_primary();
        primary.sql(
            "CREATE USER IF NOT EXISTS fresh@'%' IDENTIFIED BY 'Fr3sh-one';
             GRANT REPLICATION SLAVE, SELECT ON *.* TO fresh@'%'",
        );
        bed.group.settle();
        let url = server::url_as("fresh", "Fr3sh-one", &bed.group.ports());
        let plain = format!("{url}?ssl-mode=DISABLED");
        let outcome = run_and_keep_the_store(bed, |store| bounded(&plain, store));
        let code = outcome.code.unwrap_or_default();
        assert!(matches!(code, 3 | 4), "{}", outcome.story());
        names(outcome.expect_error(code), &["get-server-public-key"]);

        let (_directory, store) = bed.copy();
        let asking = format!("{plain}&get-server-public-key=true");
        tool::run(&mut bounded(&asking, &store)).expect_online();
    });
}

fn wrong_password_of_the_donors() {
    with_bed(|bed| {
        let outcome = run_and_keep_the_store(bed, |store| {
            let mut command = bounded(&bed.group.url(), store);
            command
                .args(["--donor-user", RECOVERY_USER])
                .env("REJOIN_DONOR_PASSWORD", "not-it");
            command
        });
        let error = outcome.expect_error(4);
        assert_eq!(error["class"], "no_donor", "{error}");
        names(error, &["attempts made: 3", "Access denied"]);
        let records = error["attempt_records"].as_array().expect("a list");
        assert_eq!(records.len() as u64, ATTEMPTS, "{error}");
        assert_eq!(
            outcome.events("donor").len() as u64,
            ATTEMPTS,
            "{}",
            outcome.story()
        );
        assert_eq!(
            outcome.events("failover").len() as u64,
            ATTEMPTS,
            "{}",
            outcome.story()
        );
        for failover in outcome.events("failover") {
            assert_eq!(failover["class"], "authentication", "{failover}");
        }
        // Two donors, three attempts: one sleep, before the third.
        assert_eq!(outcome.events("sleep").len(), 1, "{}", outcome.story());
        assert!(
            !outcome.stderr.contains("not-it"),
            "the password is told: {}",
            outcome.stderr
        );

        // The right one in the same place.
        let (_directory, store) = bed.copy();
        let mut command = bounded(&bed.group.url(), &store);
        command
            .args(["--donor-user", RECOVERY_USER])
            .env("REJOIN_DONOR_PASSWORD", RECOVERY_PASSWORD);
        tool::run(&mut command).expect_online();
    });
}

fn server_outside_of_any_group() {
    with_bed(|bed| {
        let alone = Server::standalone(&[]);
        let outcome = run_and_keep_the_store(bed, |store| bounded(&alone.url(), store));
        let error = outcome.expect_error(4);
        assert_eq!(error["class"], "group_unavailable", "{error}");
        names(error, &[&alone.port.to_string(), "ONLINE"]);
    });
}

fn errant_transaction() {
    with_bed(|bed| {
        // A store of another group: its transactions are nobody's here.
        let other = Group::from_template(
            1,
            &server::initialised(),
            "0badc0de-0000-4000-8000-00000000e44a",
        );
        assert_ne!(GROUP_NAME, "0badc0de-0000-4000-8000-00000000e44a");
        other.members()[0].sql("CREATE DATABASE other; CREATE TABLE other.t (a INT PRIMARY KEY)");
        let directory = reaper::directory();
        let store = directory.path().join("store");
        tool::run(&mut tool::recover(&other.url(), &store)).expect_online();
        let executed = tool::executed(&store);
        let outcome = tool::run(&mut bounded(&bed.group.url(), &store));
        let error = outcome.expect_error(6);
        assert_eq!(error["class"], "errant", "{error}");
        names(error, &["0badc0de-0000-4000-8000-00000000e44a:1-2"]);
        assert!(outcome.events("donor").is_empty(), "{}", outcome.story());
        assert!(outcome.took < SOON);
        assert_eq!(tool::executed(&store), executed);
        // It goes on where it belongs.
        other.members()[0].sql("INSERT INTO other.t VALUES (1)");
        tool::run(&mut tool::recover(&other.url(), &store)).expect_online();
        compare::assert_same_rows(&store, &other.members()[0]);
    });
}

fn no_member_online() {
    with_bed(|bed| {
        for member in bed.group.members() {
            member.stop_group_replication();
        }
        let outcome = run_and_keep_the_store(bed, |store| bounded(&bed.group.url(), store));
        let error = outcome.expect_error(4);
        assert_eq!(error["class"], "group_unavailable", "{error}");
        names(error, &["ONLINE"]);
    });
}

/// The last one with this bed: what is purged stays purged.
fn purged_on_every_donor() {
    with_bed(|bed| {
        bed.group
            .wait_primary()
            .sql("INSERT INTO d.t VALUES (4, 'purged at once')");
        bed.group.settle();
        for member in bed.group.members() {
            member.sql("FLUSH BINARY LOGS");
            let last = member.sql("SHOW BINARY LOG STATUS");
            let file = last.split('\t').next().expect("a file name");
            member.sql(&format!("PURGE BINARY LOGS TO '{file}'"));
        }
        let (_directory, store) = bed.copy();
        let executed = tool::executed(&store);
        let outcome = tool::run(&mut bounded(&bed.group.url(), &store));
        let error = outcome.expect_error(6);
        assert_eq!(error["class"], "clone_needed", "{error}");
        // Both could be cloned, but for the privilege to hold them still for a moment.
        let clones = outcome.events("clone");
        let failed = clones.iter().filter(|clone| clone["state"] == "failed");
        let failed: Vec<_> = failed.map(|clone| &clone["class"]).collect();
        assert_eq!(failed, ["privilege", "privilege"], "{}", outcome.story());
        names(error, &["RELOAD"]);
        assert_eq!(tool::executed(&store), executed);
        assert!(outcome.took < SOON);

        let empty = reaper::directory();
        tool::run(&mut bounded(&bed.group.url(), &empty.path().join("store"))).expect_error(6);
    });
}

/// Checks that the error's message or remedy names what a person needs to know.
fn names(error: &serde_json::Value, wanted: &[&str]) {
    let told = format!("{} {}", error["message"], error["remedy"]);
    for &word in wanted {
        assert!(
            told.contains(word),
            "the error does not name {word}: {told}"
        );
    }
}
