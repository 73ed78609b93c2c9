//! Real MySQL servers for tests: single servers, whole groups, workloads, and the `rejoin` binary
//! run against them.
//!
//! ```text
//! prefix    MySQL as unpacked by tests/mysql/fetch, and data directories prepared once
//! server    one mysqld: start, SQL, kill, freeze, restart
//! group     one to five of them as a Group Replication group
//! workload  what is loaded, and a writer that keeps writing
//! rejoin    the binary under test, its JSON lines and exit code
//! donating  `rejoin donate` under test, and real replicas of it
//! damage    real bytes changed at random
//! peak      the most memory that this process has had
//! compare   a store's dump against a member's rows, byte for byte
//! reaper    stops what was started and removes its files, however this process ends
//! ```
//! A test binary of real-server tests has no libtest of its own; it hands its scenarios to [`run`],
//! which knows how to leave them out loudly and never passes one that was not run.
#![allow(dead_code, unreachable_pub, clippy::print_stdout, clippy::print_stderr)]

pub mod compare;
pub mod damage;
pub mod donating;
pub mod group;
pub mod peak;
pub mod prefix;
pub mod reaper;
pub mod rejoin;
pub mod server;
pub mod workload;

use libtest_mimic::{Arguments, Failed, Trial};

/// A scenario: its name, and what it does; it fails by panicking.
pub type Scenario = (&'static str, fn());

/// Runs scenarios one after another (they share servers and two cores), stops by `stop` what they
/// shared, and ends the process.
///
/// With `REJOIN_SKIP_MYSQL=1` none is run and none passes: they are counted as ignored. Where the
/// servers cannot be had, each fails with the same single line.
pub fn run(scenarios: &[Scenario], stop: impl FnOnce()) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let skipped = std::env::var("REJOIN_SKIP_MYSQL").is_ok_and(|value| value == "1");
    if skipped {
        eprintln!(
            "REJOIN_SKIP_MYSQL=1: {} real-server tests skipped",
            scenarios.len()
        );
    }
    let trials = scenarios
        .iter()
        .map(|&(name, body)| {
            Trial::test(name, move || {
                prefix::mysql().map_err(Failed::from)?;
                body();
                Ok(())
            })
            .with_ignored_flag(skipped)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    stop();
    conclusion.exit()
}
