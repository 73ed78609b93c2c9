//! `rejoin plan`: says what recover would do, and does nothing.

use std::path::Path;

use crate::support::group::{self, Group};
use crate::support::reaper;
use crate::support::rejoin::{self as tool, Outcome};
use crate::support::server;
use crate::support::{Scenario, compare};

pub const SCENARIOS: &[Scenario] = &[
    (
        "plan::says_what_recover_would_do_and_does_nothing",
        says_what_recover_would_do_and_does_nothing,
    ),
    (
        "plan::names_what_stands_in_the_way",
        names_what_stands_in_the_way,
    ),
];

fn plan(url: &str, store: &Path, password: Option<&str>) -> Outcome {
    let mut command = tool::command("plan", store);
    command.args(["--group", url, "--json"]);
    if let Some(password) = password {
        command
            .args(["--donor-user", server::RECOVERY_USER])
            .env("REJOIN_DONOR_PASSWORD", password);
    }
    tool::run(&mut command)
}

fn says_what_recover_would_do_and_does_nothing() {
    let group = group::shared();
    let directory = reaper::directory();
    let store = directory.path().join("store");
    // What a user may see of the binary logs is what the estimate of bytes is made of.
    let without = plan(&group.url(), &store, None);
    assert!(without.last()["bytes"].is_null(), "{}", without.story());
    group.wait_primary().sql(&format!(
        "GRANT REPLICATION CLIENT ON *.* TO {}",
        server::RECOVERY_USER
    ));
    let executed = group.settle();
    let replicas = |member: &server::Server| member.sql("SHOW REPLICAS");
    let before: Vec<String> = group.members().iter().map(|one| replicas(one)).collect();

    let outcome = plan(&group.url(), &store, None);
    assert_eq!(outcome.code, Some(0), "{}", outcome.story());
    let told = outcome.last();
    assert_eq!(told["method"], "binlog", "{told}");
    assert!(told["missing"].as_u64() >= Some(100_000), "{told}");
    let missing = told["missing_gtid_set"].as_str().expect("a set");
    compare::assert_same_gtids(&group.members()[0], missing, &executed);
    assert_eq!(told["errant"], 0, "{told}");
    // The workload takes about a kilobyte a transaction.
    let bytes = told["bytes"].as_u64().expect("the root of the estimate");
    assert!((50_000_000..1_000_000_000).contains(&bytes), "{told}");
    let members = told["members"].as_array().expect("members");
    assert_eq!(members.len(), 3);
    for member in members {
        assert_eq!(member["state"], "ONLINE", "{member}");
        assert_eq!(member["usable"], true, "{member}");
        assert_eq!(member["purged"], "", "{member}");
    }
    let primaries = members.iter().filter(|member| member["primary"] == true);
    assert_eq!(primaries.count(), 1);

    // The store was not made, and no member knows of a replica.
    assert!(!store.exists());
    let after: Vec<String> = group.members().iter().map(|one| replicas(one)).collect();
    assert_eq!(before, after);
}

fn names_what_stands_in_the_way() {
    let group = group::shared();
    let directory = reaper::directory();
    let store = directory.path().join("store");

    // Nobody lets the recovery channel in.
    let refused = plan(&group.url(), &store, Some("not the password"));
    let error = refused.expect_error(4);
    assert_eq!(error["class"], "no_donor", "{error}");
    for member in refused.events("plan")[0]["members"]
        .as_array()
        .expect("members")
    {
        assert_eq!(member["usable"], false, "{member}");
        let reason = member["reason"].as_str().expect("a reason");
        assert!(reason.contains("Access denied"), "{reason}");
    }

    // A store that belongs to another group.
    let stranger = Group::from_template(
        1,
        &server::initialised(),
        "99999999-5a1e-4d0c-9a3e-7e50a1a0c0de",
    );
    stranger.members()[0].sql("CREATE DATABASE elsewhere");
    tool::run(&mut tool::recover(&stranger.url(), &store)).expect_online();
    let errant = plan(&group.url(), &store, None);
    let error = errant.expect_error(6);
    assert_eq!(error["class"], "errant", "{error}");
    let told = errant.events("plan")[0]["errant_gtid_set"].clone();
    assert!(
        told.as_str()
            .is_some_and(|set| set.starts_with("99999999-5a1e-4d0c-9a3e-7e50a1a0c0de:")),
        "{told}"
    );
}
