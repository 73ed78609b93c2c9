//! The command line over logs: filters, totals, refusals, standard input.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rejoin::binlog::{ChecksumAlgorithm, FormatDescription};
use serde_json::Value;

use super::{data, logs};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.arg("inspect").args(arguments);
    command
}

fn inspect(arguments: &[&str], files: &[&Path]) -> Output {
    command(arguments).args(files).output().unwrap()
}

/// The lines of a run that ends well: the events, and the totals.
fn lines(arguments: &[&str], files: &[&Path]) -> (Vec<Value>, Value) {
    let output = inspect(&[&["--json"], arguments].concat(), files);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    parse(&output)
}

fn parse(output: &Output) -> (Vec<Value>, Value) {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["event"], "summary");
    (lines, summary)
}

fn of_type<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

#[test]
fn every_event_is_listed_as_the_server_lists_it() {
    for variant in super::VARIANTS {
        for log in logs(variant) {
            let (lines, summary) = lines(&[], &[&log]);
            let mut expected = log.into_os_string();
            expected.push(".events");
            let expected = fs::read_to_string(expected).unwrap();
            let listed: Vec<String> = lines
                .iter()
                .map(|line| format!("{}\t{}", line["offset"], line["type"].as_str().unwrap()))
                .collect();
            let expected: Vec<String> = expected
                .lines()
                .map(|line| line.split('\t').take(2).collect::<Vec<_>>().join("\t"))
                .collect();
            assert_eq!(listed, expected);
            assert_eq!(summary["events"], listed.len());
            assert_eq!(summary["checksum_errors"], 0);
            assert_eq!(summary["undecoded"], 0);
        }
    }
}

#[test]
fn several_files_have_one_total() {
    let [first, second] = logs("crc32-minimal");
    let (_, one) = lines(&[], &[&first]);
    let (_, two) = lines(&[], &[&second]);
    let (_, both) = lines(&[], &[&first, &second]);
    for key in ["events", "transactions"] {
        let sum = one[key].as_u64().unwrap() + two[key].as_u64().unwrap();
        assert_eq!(both[key], sum, "{key}");
    }
}

#[test]
fn standard_input_is_read() {
    let [first, _] = logs("compressed-full");
    let output = command(&["--json", "-"])
        .stdin(File::open(&first).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(parse(&output), lines(&[], &[&first]));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let [_, second] = logs("none-full");
    let mut child = command(&[])
        .arg(&second)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn row_values_by_column() {
    let [first, _] = logs("compressed-full");
    let (lines, _) = lines(&["--rows"], &[&first]);
    let row = &of_type(&lines, "Write_rows")[0]["body"]["rows"][0]["after"];
    for (column, expected) in [
        ("id", Value::from(1)),
        ("biu", Value::from(u64::MAX)),
        ("fl", Value::from(1.5)),
        ("de", Value::from("-1234.5678")),
        ("bt", Value::from(0b1_0101_0101_0101)),
        ("tm6", Value::from("838:59:58.999999")),
        ("vc", Value::from("héllo")),
        ("lt", Value::from("lt")),
        ("bn", Value::from("0x6162000000")),
        ("en", Value::from("b")),
        ("se", Value::from("p,r,z")),
        ("ve", Value::from(vec![1.0, 2.5, -3.0, 4e10])),
    ] {
        // Numbers are compared as numbers: 1 and 1.0 are the same.
        let same = match (row[column].as_f64(), expected.as_f64()) {
            (Some(left), Some(right)) => left == right,
            _ => {
                row[column].to_string().replace(".0", "") == expected.to_string().replace(".0", "")
            }
        };
        assert!(same, "{column}: {} {expected}", row[column]);
    }
    let partial = of_type(&lines, "Update_rows_partial")[0];
    let diff = &partial["body"]["rows"][0]["after"]["js"]["diff"];
    assert_eq!(diff[0]["op"], "replace");
    assert_eq!(diff[0]["path"], "$.dec");
    assert_eq!(diff[0]["value"], "2");
}

#[test]
fn transactions_are_chosen_by_gtid() {
    let [first, _] = logs("crc32-minimal");
    let (all, total) = lines(&[], &[&first]);
    let gtid = of_type(&all, "Gtid")[3]["gtid"].as_str().unwrap();
    let (source, _) = gtid.rsplit_once(':').unwrap();
    let set = format!("{source}:2-3");
    let (some, summary) = lines(&["--include-gtids", &set], &[&first]);
    assert_eq!(summary["transactions"], 2);
    let outside = |lines: &[Value]| lines.iter().filter(|line| line["gtid"].is_null()).count();
    assert_eq!(outside(&some), outside(&all), "the frame of the log stays");
    for line in some.iter().filter(|line| !line["gtid"].is_null()) {
        let gtid = line["gtid"].as_str().unwrap();
        assert!(gtid.ends_with(":2") || gtid.ends_with(":3"), "{gtid}");
    }
    let (rest, summary) = lines(&["--exclude-gtids", &set], &[&first]);
    assert_eq!(
        summary["transactions"],
        total["transactions"].as_u64().unwrap() - 2
    );
    assert_eq!(rest.len() + some.len(), all.len() + outside(&all));
}

#[test]
fn transactions_are_chosen_by_time() {
    let [first, _] = logs("crc32-minimal");
    let (all, _) = lines(&[], &[&first]);
    let times: Vec<u64> = of_type(&all, "Gtid")
        .iter()
        .map(|line| line["timestamp"].as_u64().unwrap())
        .collect();
    let middle = times[times.len() / 2];
    let at = |time: u64| {
        // All of the log is of one day.
        let of_day = time % 86_400;
        assert_eq!(time - of_day, 1_795_219_200);
        format!(
            "2026-11-21 {:02}:{:02}:{:02}",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60
        )
    };
    let (_, from) = lines(&["--start-datetime", &at(middle)], &[&first]);
    let (_, to) = lines(&["--stop-datetime", &at(middle)], &[&first]);
    let early = times.iter().take_while(|time| **time < middle).count();
    assert_eq!(to["transactions"], early);
    assert_eq!(
        from["transactions"].as_u64().unwrap() + to["transactions"].as_u64().unwrap(),
        lines(&[], &[&first]).1["transactions"].as_u64().unwrap()
    );
}

#[test]
fn transactions_are_chosen_by_table() {
    for variant in super::VARIANTS {
        let [first, _] = logs(variant);
        let (lines, summary) = lines(&["--rows", "--table", "t1.part"], &[&first]);
        let rows: Vec<&Value> = lines
            .iter()
            .filter(|line| !line["body"]["table"].is_null())
            .collect();
        assert!(rows.len() > 5);
        for line in &rows {
            assert_eq!(line["body"]["table"], "part", "{line}");
        }
        let statements: Vec<&str> = of_type(&lines, "Query")
            .iter()
            .filter_map(|line| line["body"]["statement"].as_str())
            .filter(|statement| statement.starts_with("create table"))
            .collect();
        assert_eq!(statements.len(), 1, "{statements:?}");
        let whole = of_type(&lines, "Gtid").len() + of_type(&lines, "Gtid_tagged_log_event").len();
        assert_eq!(summary["transactions"], whole, "each is shown whole");
        assert_eq!(summary["events"], lines.len());
    }
}

#[test]
fn a_damaged_log_ends_with_its_place_and_code_5() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("damaged");
    let [first, _] = logs("crc32-minimal");
    let mut bytes = fs::read(&first).unwrap();
    bytes[700] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let output = inspect(&["--json"], &[&file, &first]);
    assert_eq!(output.status.code(), Some(5));
    let (lines, summary) = parse(&output);
    assert_eq!(
        lines.len(),
        7,
        "the good ones before it, and nothing of the next file"
    );
    assert_eq!(summary["checksum_errors"], 1);
    let message = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = message
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1);
    for part in ["checksum", "offset 637", "damaged"] {
        assert!(errors[0].contains(part), "{part}: {message}");
    }
}

#[test]
fn what_is_no_log_of_mysql_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let mut mariadb = b"\xfebin".to_vec();
    FormatDescription::new("10.11.6-MariaDB-log", ChecksumAlgorithm::Crc32)
        .unwrap()
        .encode(1, 1, false, &mut mariadb);
    for (bytes, expected) in [
        (&b"\xfdbin\x01"[..], "encrypted"),
        (&mariadb[..], "MariaDB"),
        (b"", "no binary log"),
        (b"-- MySQL dump", "no binary log"),
    ] {
        fs::write(&file, bytes).unwrap();
        let output = inspect(&[], &[&file]);
        assert_eq!(output.status.code(), Some(5), "{expected}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn options_that_cannot_be_understood_are_named() {
    let log = data("crc32-minimal/binlog.000001");
    for arguments in [
        ["--include-gtids", "1-2"],
        ["--exclude-gtids", "x"],
        ["--start-datetime", "yesterday"],
        ["--stop-datetime", "2026-13-01"],
        ["--table", "part"],
    ] {
        let output = inspect(&arguments, &[&log]);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(arguments[0]), "{message}");
    }
    assert_eq!(command(&[]).output().unwrap().status.code(), Some(2));
    let missing = inspect(&[], &[Path::new("/nowhere/binlog.000001")]);
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn text_shows_rows_as_statements() {
    let [first, _] = logs("crc32-minimal");
    let output = inspect(&[], &[&first]);
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "# at 1995\n",
        "  Write_rows  GTID ",
        "### INSERT INTO `t1`.`alltypes`\n### SET\n###   @1=1 /* INT UNSIGNED NOT NULL */\n",
        "###   @26='héllo' /* VARCHAR(80) COLLATE utf8mb4_0900_ai_ci */\n",
        "# 182 events, 40 transactions, 0 checksum errors\n",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
}
