//! The main job as a story on the terminal (tests/demo).

use std::sync::Arc;
use std::time::Instant;

use rejoin::gtid::GtidSet;
use serde_json::Value;

use crate::support::group::Group;
use crate::support::rejoin::{self as tool, Running};
use crate::support::workload::{self, Writer};
use crate::support::{compare, prefix, reaper};

/// Tells the story; the process ends with an error where the story does not hold.
pub fn run() {
    if let Err(reason) = prefix::mysql() {
        eprintln!("error: {reason}");
        std::process::exit(1);
    }
    let started = Instant::now();
    let tell = |line: String| println!("{:6.1} s  {line}", started.elapsed().as_secs_f32());

    tell("starting a group of three MySQL servers with 100,000 transactions (the first time takes longer)".into());
    let group = Arc::new(Group::loaded(3, &workload::MIXED));
    for member in group.members() {
        let executed: GtidSet = member.executed().parse().expect("a GTID set");
        tell(format!(
            "  member 127.0.0.1:{} is ONLINE with {} transactions",
            member.port,
            executed.count()
        ));
    }
    let writer = Writer::start(&group);
    tell("a client writes to the primary, and goes on writing".into());

    let directory = reaper::directory();
    let store = directory.path().join("store");
    let mut command = tool::recover(&group.url(), &store);
    tell("rejoin recover --group mysql://... --store DIR    (an empty store)".into());
    let mut running = Running::start(command.args(["--recovery-reconnect-interval", "1"]));
    let told = |event: &Value| {
        if event["event"] != "progress" {
            tell(format!("  {}", sentence(event)));
        }
    };
    let donor = running.wait_for(|event| {
        told(event);
        (event["event"] == "donor").then(|| event["port"].as_u64())
    });
    let port = donor.flatten().and_then(|port| u16::try_from(port).ok());
    if let Some(port) = port {
        group.member(port).kill_in_mid_transfer(0);
        tell(format!(
            "  (mysqld on port {port}, the donor, was killed when it had sent half)"
        ));
    }
    running.wait_for(|event| -> Option<()> {
        told(event);
        None
    });
    let outcome = running.wait();
    if outcome.code != Some(0) {
        eprintln!("{}", outcome.story());
        std::process::exit(1);
    }
    let written = writer.stop();
    tell(format!(
        "the client stops after {written} transactions; rejoin fetches what came after ONLINE"
    ));
    let executed = group.settle();
    let last = tool::run(&mut tool::recover(&group.url(), &store));
    tell(format!("  {}", sentence(last.expect_online())));

    let member = group.online().expect("two members are left");
    compare::assert_same_gtids(member, &tool::executed(&store), &executed);
    let rows = compare::assert_same_rows(&store, member);
    let tables = compare::tables(member).len();
    tell(format!(
        "same GTID set, and all {rows} rows of {tables} tables are byte for byte those of member {}",
        member.port
    ));
}

fn sentence(event: &Value) -> String {
    let text = |key: &str| match &event[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match event["event"].as_str() {
        Some("plan") => format!(
            "plan: {} transactions are missing, by {}",
            text("missing"),
            text("method")
        ),
        Some("donor") => format!(
            "attempt {}: donor {}:{}",
            text("attempt"),
            text("host"),
            text("port")
        ),
        Some("failover") => format!(
            "failover from {}:{} after {} transactions: {}",
            text("host"),
            text("port"),
            text("transactions"),
            text("reason")
        ),
        Some("sleep") => format!("every donor was tried: sleeping {} s", text("seconds")),
        Some("online") => {
            format!(
                "ONLINE: {} transactions in {:.2} s, {} attempts",
                text("transactions"),
                event["seconds"].as_f64().unwrap_or_default(),
                text("attempts")
            )
        }
        _ => event.to_string(),
    }
}
