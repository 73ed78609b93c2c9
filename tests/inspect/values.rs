//! The same values of rows.

use std::path::Path;

use crate::lists::WORKLOAD;
use crate::oracle;
use crate::support::Scenario;
use crate::support::server::Server;

// The logs in the repository hold what mysqlbinlog gives up on (geometries) or prints as an expression
// (JSON differences); their values are compared with the server's own print of the tables.
pub const SCENARIOS: &[Scenario] = &[("values::of_a_fresh_server", fresh)];

fn fresh() {
    let server = Server::standalone(&[]);
    server.sql(WORKLOAD);
    let compared: usize = server.binary_logs().iter().map(|log| compare(log)).sum();
    assert!(compared > 100, "{compared}");
}

/// The row lines of a tool's text: of each its column and value, or the line itself.
fn rows(text: &str) -> Vec<(Option<usize>, String)> {
    let mut rows = Vec::new();
    let is_row = |line: &&str| line.starts_with("### ") && !line.starts_with("### Extra row info");
    for line in text.lines().filter(is_row) {
        let value = line.strip_prefix("###   @").and_then(|rest| {
            let (number, rest) = rest.split_once('=')?;
            Some((Some(number.parse().ok()?), rest.to_owned()))
        });
        rows.push(value.unwrap_or((None, line.trim_end().to_owned())));
    }
    rows
}

/// Compares the rows of `log` as both tools print them; how many values were the same.
fn compare(log: &Path) -> usize {
    let theirs = oracle::mysqlbinlog(&[], log);
    let ours = oracle::rejoin(&[], log);
    assert!(theirs.status.success() && ours.status.success());
    let theirs = rows(&String::from_utf8_lossy(&theirs.stdout));
    let ours = rows(&String::from_utf8_lossy(&ours.stdout));
    let mut ours = ours.iter().peekable();
    let mut compared = 0;
    for (column, value) in &theirs {
        let Some(column) = column else {
            // What it cannot decode ends a row for mysqlbinlog, not for us.
            while ours.peek().is_some_and(|(column, _)| column.is_some()) {
                ours.next();
            }
            let (_, line) = ours.next().expect("as many rows");
            assert_eq!(line, value, "{}", log.display());
            continue;
        };
        let next = ours.next_if(|(ours, _)| *ours == Some(*column));
        if value.starts_with("!! Don't know how to handle column type") {
            continue;
        }
        let (_, our) = next.unwrap_or_else(|| panic!("{}: no @{column}", log.display()));
        if let Some((theirs, ours)) = comparable(value, our) {
            assert_eq!(ours, theirs, "{}: @{column}: {our} {value}", log.display());
            compared += 1;
        }
    }
    compared
}

/// Both values in one form; `None` where they cannot be brought into one (names of ENUM, text in
/// other character sets, binary strings).
fn comparable(theirs: &str, ours: &str) -> Option<(String, String)> {
    let (theirs, their_type) = theirs.rsplit_once(" /* ")?;
    let (ours, our_type) = ours.rsplit_once(" /* ")?;
    let kind = their_type.split([' ', '(']).next()?;
    let plain = |text: &str| text.trim().to_owned();
    if theirs == "NULL" || ours == "NULL" {
        return Some((plain(theirs), plain(ours)));
    }
    Some(match kind {
        "TINYINT" | "SHORTINT" | "MEDIUMINT" | "INT" | "LONGINT" => {
            // Of negative numbers both readings; we know which one it is.
            let (signed, unsigned) = match theirs.split_once(" (") {
                Some((signed, unsigned)) => (signed, unsigned.trim_end_matches(')')),
                None => (theirs, theirs),
            };
            let reading = if our_type.contains("UNSIGNED") {
                unsigned
            } else {
                signed
            };
            (plain(reading), plain(ours))
        }
        // Theirs has six digits.
        "FLOAT" => {
            let digits = |text: &str| {
                let number: f32 = text.trim().parse().unwrap();
                format!("{number:.5e}")
            };
            (digits(theirs), digits(ours))
        }
        "DOUBLE" => {
            let bits = |text: &str| text.trim().parse::<f64>().unwrap().to_string();
            (bits(theirs), bits(ours))
        }
        "DECIMAL" | "BIT" | "YEAR" | "TIME" | "DATETIME" => (plain(theirs), plain(ours)),
        "DATE" => (theirs.replace(':', "-"), plain(ours)),
        "TIMESTAMP" => return None,
        // Theirs has the bytes of a SET in the order of the log, ours the bits of the number.
        "SET" => return None,
        "ENUM" if ours.starts_with('\'') => return None,
        "ENUM" => (plain(theirs), plain(ours)),
        "JSON" if ours.starts_with("JSON_") => return None,
        "STRING" | "VARSTRING" | "JSON" if theirs.is_ascii() && ours.is_ascii() => {
            if theirs.contains('\\') || ours.contains('\\') || ours.starts_with("X'") {
                return None;
            }
            (plain(theirs), plain(ours))
        }
        _ => return None,
    })
}
