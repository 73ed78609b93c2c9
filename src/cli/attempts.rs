//! The attempts of a recovery, as JSON and as a table for people.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::recovery::AttemptRecord;

pub(super) fn as_json(records: &[AttemptRecord]) -> Value {
    records.iter().map(record_as_json).collect()
}

pub(super) fn record_as_json(record: &AttemptRecord) -> Value {
    let end = record.end.as_ref();
    json!({
        "attempt": record.number,
        "host": record.donor.address.host,
        "port": record.donor.address.port,
        "uuid": record.donor.uuid.to_string(),
        "endpoint": record.endpoint.as_ref().map(ToString::to_string),
        "began_s": record.began.as_secs_f64(),
        "ended_s": record.ended.as_secs_f64(),
        "transactions": record.applied,
        "class": end.map(|end| end.kind.name()),
        "reason": end.map(|end| end.message.as_str()),
        "remedy": end.and_then(|end| end.remedy.as_deref()),
    })
}

/// A line for each attempt under a line that names the columns; nothing without attempts.
pub(super) fn table(records: &[AttemptRecord]) -> String {
    let mut lines =
        vec![["attempt", "donor", "from", "to", "transactions", "end"].map(String::from)];
    lines.extend(records.iter().map(|record| {
        let at = record.endpoint.as_ref().unwrap_or(&record.donor.address);
        [
            record.number.to_string(),
            at.to_string(),
            format!("{:.1} s", record.began.as_secs_f64()),
            format!("{:.1} s", record.ended.as_secs_f64()),
            record.applied.to_string(),
            record.end.as_ref().map_or_else(
                || "brought all that was missing".into(),
                |end| format!("{}: {}", end.kind, end.message),
            ),
        ]
    }));
    if records.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for [attempt, donor, from, to, transactions, end] in &lines {
        let [a, d, f, t, n] = widths;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{attempt:>a$}  {donor:<d$}  {from:>f$}  {to:>t$}  {transactions:>n$}  {end}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ErrorKind;
    use crate::group::{GroupMember, MemberState};
    use crate::gtid::Uuid;
    use crate::net::Endpoint;
    use crate::recovery::{AttemptEnd, FailureClass};

    fn records() -> Vec<AttemptRecord> {
        let donor = GroupMember {
            uuid: Uuid([1; 16]),
            address: Endpoint::new("db1", 3306),
            state: MemberState::Online,
            primary: false,
            version: None,
            recovery_endpoints: Vec::new(),
            executed: None,
            purged: None,
        };
        let failed = AttemptRecord {
            number: 9,
            donor: donor.clone(),
            endpoint: None,
            began: Duration::from_millis(40),
            ended: Duration::from_millis(1250),
            applied: 0,
            end: Some(AttemptEnd {
                kind: ErrorKind::Purged,
                class: FailureClass::Purged,
                message: "it is gone".into(),
                remedy: None,
            }),
        };
        let good = AttemptRecord {
            number: 10,
            endpoint: Some(Endpoint::new("db1.example", 33061)),
            ended: Duration::from_secs(61),
            applied: 12345,
            end: None,
            ..failed.clone()
        };
        vec![failed, good]
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let expected = "\
attempt  donor               from      to  transactions  end
      9  db1:3306           0.0 s   1.2 s             0  purged: it is gone
     10  db1.example:33061  0.0 s  61.0 s         12345  brought all that was missing
";
        assert_eq!(table(&records()), expected);
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn json_tells_what_is_not_known_as_null() {
        let json = as_json(&records());
        assert_eq!(json[0]["class"], "purged");
        assert_eq!(json[0]["endpoint"], Value::Null);
        assert_eq!(json[1]["endpoint"], "db1.example:33061");
        assert_eq!(json[1]["reason"], Value::Null);
        assert_eq!(json[1]["transactions"], 12345);
        assert_eq!(json[1]["ended_s"], 61.0);
    }
}
