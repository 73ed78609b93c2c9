//! Logs of your own: `REJOIN_LOGS=DIRECTORY` names some, and the list, the verdict and its offset are
//! compared for every binary log there (and below). Without it the scenario is not there either.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::oracle;
use crate::support::Scenario;

const VARIABLE: &str = "REJOIN_LOGS";

/// What the environment asks for.
pub fn scenarios() -> &'static [Scenario] {
    if std::env::var_os(VARIABLE).is_some() {
        &[("collection::of_your_own", own)]
    } else {
        &[]
    }
}

fn own() {
    let directory = std::env::var_os(VARIABLE).expect("it was there");
    let mut logs = Vec::new();
    find(Path::new(&directory), &mut logs);
    assert!(!logs.is_empty(), "no binary log in {}", directory.display());
    logs.sort();
    let mut differing = Vec::new();
    for log in &logs {
        if let Some(difference) = difference(log) {
            differing.push(difference);
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {} logs differ:\n{}",
        differing.len(),
        logs.len(),
        differing.join("\n")
    );
}

/// Files that begin as binary logs do, encrypted ones included.
fn find(directory: &Path, logs: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let kind = entry.file_type().expect("it has a type");
        let mut magic = [0; 4];
        if kind.is_dir() {
            find(&entry.path(), logs);
        } else if kind.is_file()
            && fs::File::open(entry.path())
                .and_then(|mut file| file.read_exact(&mut magic))
                .is_ok()
            && matches!(&magic, b"\xfebin" | b"\xfdbin")
        {
            logs.push(entry.path());
        }
    }
}

/// What the two tools say differently about a log. MariaDB's are refused by name, whatever
/// mysqlbinlog makes of them, and so are encrypted ones, of which it says no offset.
fn difference(log: &Path) -> Option<String> {
    let ours = oracle::ours(log);
    let is_refused = ["MariaDB", "encrypted"]
        .iter()
        .any(|name| ours.messages.contains(name));
    if is_refused {
        return (!ours.is_damaged || !ours.events.is_empty())
            .then(|| format!("{}: events of a log that was refused", log.display()));
    }
    oracle::compare(&oracle::theirs(log), &ours)
        .err()
        .map(|difference| format!("{}: {difference}", log.display()))
}
