//! `rejoin demo`, run as a machine would run it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The demo, which has `directory` for its files.
fn start(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rejoin"))
        .args(["demo", "--json"])
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_empty(directory: &Path) -> bool {
    directory.read_dir().unwrap().next().is_none()
}

fn events(child: &mut Child) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(
            event["event"].is_string() && event["ts"].is_number(),
            "{event}"
        );
        event
    })
}

#[test]
fn the_demo_shows_what_it_promises() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(directory.path());
    let events: Vec<Value> = events(&mut demo).collect();
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}\n{events:#?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(is_empty(directory.path()));

    let of_kind = |kind: &str| -> Vec<&Value> {
        let events = events.iter();
        events.filter(|event| event["event"] == kind).collect()
    };
    let acts: Vec<&Value> = of_kind("act")
        .into_iter()
        .map(|act| &act["number"])
        .collect();
    assert_eq!(acts, [1, 2, 3, 4, 5, 6]);
    let of_db4 = |kind: &str| -> Vec<&Value> {
        let events = of_kind(kind).into_iter();
        events.filter(|event| event["member"] == "db4").collect()
    };
    // The first donor is the one that was killed, in the middle; the second brought the rest.
    let (plan, donors, failovers) = (of_db4("plan"), of_db4("donor"), of_db4("failover"));
    assert_eq!((donors.len(), failovers.len()), (2, 1));
    assert_eq!(failovers[0]["port"], donors[0]["port"]);
    assert_eq!(failovers[0]["port"], of_kind("killed")[0]["port"]);
    assert_ne!(donors[1]["port"], donors[0]["port"]);
    let (missing, before) = (&plan[0]["missing"], &failovers[0]["transactions"]);
    let (missing, before) = (missing.as_u64().unwrap(), before.as_u64().unwrap());
    assert!(0 < before && before < missing, "{before} of {missing}");
    assert!(!of_db4("progress").is_empty());
    let online = of_db4("online");
    assert_eq!(online[0]["attempts"], 2);
    // More than what was missing at the join: the group went on.
    assert!(online[0]["transactions"].as_u64().unwrap() > missing);

    assert!(of_kind("overflow")[0]["relay_log_bytes"].as_u64() > Some(0));

    // Nobody has the logs that db5 lacks.
    let of_db5 = |kind: &str| -> Vec<&Value> {
        let events = of_kind(kind).into_iter();
        events.filter(|event| event["member"] == "db5").collect()
    };
    let plan = of_db5("plan");
    assert_eq!((plan.len(), &plan[0]["method"]), (1, &"clone".into()));
    let cloned = of_db5("clone");
    let last = cloned.last().unwrap();
    assert_eq!(last["state"], "complete");
    assert!(last["rows"].as_u64() > Some(10_000), "{last}");
    assert!(of_db5("online")[0]["transactions"].as_u64() < Some(missing));

    let rows = of_kind("rows");
    assert_eq!(rows.len(), 5);
    assert!(
        rows.iter()
            .all(|r| r["sha256"] == rows[0]["sha256"] && r["rows"] == rows[0]["rows"])
    );
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["members"]),
        (&Value::from("verified"), &5.into())
    );
    assert_eq!(last["rows"], rows[0]["rows"]);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(directory.path());
    let pid = demo.id().to_string();
    let mut last = Value::Null;
    for event in events(&mut demo) {
        if event["event"] == "act" && event["number"] == 2 {
            let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
            assert!(sent.success());
        }
        last = event;
    }
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert_eq!(
        (&last["event"], &last["class"]),
        (&"error".into(), &"interrupted".into())
    );
    assert!(is_empty(directory.path()));
}
