//! What mysqlbinlog says about a file, and what rejoin says.

use std::fmt::Debug;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rejoin::binlog::EventType;
use serde_json::Value;

use crate::support::{prefix, reaper};

/// One event of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub offset: u64,
    /// Not known of events that mysqlbinlog prints without their header.
    pub event_type: Option<String>,
    pub size: Option<u64>,
}

/// What a tool made of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub events: Vec<Listed>,
    /// Whether it is damaged.
    pub is_damaged: bool,
    /// Where, as far as it is said: mysqlbinlog does not of compressed transactions.
    pub damage: Option<u64>,
    /// What was said on stderr.
    pub messages: String,
}

/// mysqlbinlog with `arguments` over `file`.
pub fn mysqlbinlog(arguments: &[&str], file: &Path) -> Output {
    // Files of LOAD DATA are written out; they go with the directory.
    let scratch = reaper::directory();
    Command::new(prefix::program("mysqlbinlog"))
        .args(["--no-defaults", "-vv", "--base64-output=decode-rows"])
        .arg("--verify-binlog-checksum")
        .arg(format!("--local-load={}", scratch.path().display()))
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("mysqlbinlog starts")
}

/// rejoin inspect with `arguments` over `file`.
pub fn rejoin(arguments: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rejoin"))
        .arg("inspect")
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("rejoin starts")
}

/// The list and the verdict of mysqlbinlog.
pub fn theirs(file: &Path) -> Verdict {
    let output = mysqlbinlog(&["--hexdump"], file);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut events: Vec<Listed> = Vec::new();
    let mut after_head = false;
    for line in text.lines() {
        // What it cannot print ends without a line's end.
        let line = match line.rfind("# at ") {
            Some(at) if line.starts_with("### ") => &line[at..],
            _ => line,
        };
        if let Some(offset) = line.strip_prefix("# at ").and_then(|at| at.parse().ok()) {
            events.push(Listed {
                offset,
                event_type: None,
                size: None,
            });
        } else if after_head && let Some(event) = events.last_mut() {
            // # 00000004 93 08 01 6b   0f   0b 00 00 00   7b 00 00 00   7f 00 00 00   00 00
            let fields: Vec<&str> = line.split_whitespace().collect();
            let byte = |index: usize| u8::from_str_radix(fields[index], 16).unwrap();
            let number = EventType(byte(6));
            event.event_type = Some(number.to_string());
            let size = u32::from_le_bytes([byte(11), byte(12), byte(13), byte(14)]);
            event.size = Some(u64::from(size));
        }
        after_head = line.starts_with("# Position ");
    }
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_damaged = !output.status.success();
    let offset = messages.split("Could not read entry at offset ").nth(1);
    let damage = offset.map(|rest| rest.split(':').next().unwrap().parse().unwrap());
    assert!(
        is_damaged == damage.is_some() || is_damaged && messages.contains("Payload"),
        "mysqlbinlog says no offset: {messages}"
    );
    Verdict {
        events,
        is_damaged,
        damage,
        messages,
    }
}

/// The lines of `rejoin inspect --json`, and the run.
pub fn lines(arguments: &[&str], file: &Path) -> (Vec<Value>, Output) {
    let output = rejoin(&[&["--json"], arguments].concat(), file);
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    (lines, output)
}

/// The list and the verdict of rejoin.
pub fn ours(file: &Path) -> Verdict {
    let (mut lines, output) = lines(&[], file);
    let summary = lines.pop().expect("there is a last line");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["events"], lines.len());
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let damage = match output.status.code() {
        Some(0) => None,
        Some(5) => {
            assert!(messages.contains(&file.display().to_string()), "{messages}");
            assert_eq!(messages.matches("error: ").count(), 1, "{messages}");
            // Of an encrypted log no offset is said.
            let offset = messages.rsplit_once("offset ");
            offset.map(|(_, rest)| rest.split(')').next().unwrap().parse().unwrap())
        }
        other => panic!("exit code {other:?}: {messages}"),
    };
    let events = lines
        .iter()
        .map(|line| Listed {
            offset: line["offset"].as_u64().unwrap(),
            event_type: Some(line["type"].as_str().unwrap().to_owned()),
            size: line["size"].as_u64(),
        })
        .collect();
    Verdict {
        events,
        is_damaged: !output.status.success(),
        damage,
        messages,
    }
}

/// Asserts that both say the same about `file`.
pub fn agree(what: &str, file: &Path) -> Verdict {
    let (theirs, ours) = (theirs(file), ours(file));
    same(what, &theirs, &ours);
    ours
}

/// Asserts that two verdicts are one.
pub fn same(what: &str, theirs: &Verdict, ours: &Verdict) {
    if let Err(difference) = compare(theirs, ours) {
        panic!("{what}: {difference}");
    }
}

/// Compares two verdicts; in what they differ.
pub fn compare(theirs: &Verdict, ours: &Verdict) -> Result<(), String> {
    let equal = |what: &str, our: &dyn Debug, their: &dyn Debug| {
        let (our, their) = (format!("{our:?}"), format!("{their:?}"));
        if our == their {
            return Ok(());
        }
        Err(format!(
            "{what}: rejoin {our}, mysqlbinlog {their}\nrejoin: {}mysqlbinlog: {}",
            ours.messages, theirs.messages
        ))
    };
    equal("damaged", &ours.is_damaged, &theirs.is_damaged)?;
    if theirs.damage.is_some() {
        equal("offset of the damage", &ours.damage, &theirs.damage)?;
    }
    let offsets = |verdict: &Verdict| -> Vec<u64> {
        verdict.events.iter().map(|event| event.offset).collect()
    };
    equal("events", &offsets(ours), &offsets(theirs))?;
    for (our, their) in ours.events.iter().zip(&theirs.events) {
        if their.event_type.is_some() {
            equal("type", &our.event_type, &their.event_type)?;
        }
        // To events of compressed transactions mysqlbinlog adds checksums that are not there.
        if let (Some(size), Some(claimed)) = (our.size, their.size)
            && claimed != size + 4
        {
            equal("size", &size, &claimed)?;
        }
    }
    Ok(())
}
