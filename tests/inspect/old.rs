//! Logs in the manner of servers from 5.0 to 9.7, made here byte by byte: which types they knew, which
//! checksums they wrote, and what has been refused since.
//!
//! ```text
//! types: 5.0 18, 5.1 26 or 27, 5.6 35, 5.7 38, 8.0.17 39, 8.0.18 40, 8.0.26 41, 8.3 42
//! checksums: from 5.6.1 on; the format description has one even where the events have none
//! ```

use std::fs;

use crate::oracle;
use crate::support::{Scenario, reaper};

pub const SCENARIOS: &[Scenario] = &[
    ("old::of_every_version", every_version),
    ("old::what_is_refused", refused),
    ("old::in_relay_logs", relay_logs),
    ("old::with_longer_headers", longer_headers),
];

/// Lengths of the fixed parts, by type - 1.
const FIXED: [u8; 42] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0,
    10, 10, 10, 25, 25, 0, 18, 52, 0, 10, 40, 0, 0,
];

/// Version, number of event types, checksum algorithm (`None`: the server knew none).
const VERSIONS: [(&str, usize, Option<u8>); 17] = [
    ("5.0.16-debug-log", 18, None),
    ("5.0.86-log", 18, None),
    ("5.1.23-rc-log", 26, None),
    ("5.1.73-log", 27, None),
    ("5.5.62-log", 27, None),
    ("5.6.0-m4", 27, None),
    ("5.6.4-m7-log", 35, Some(0)),
    ("5.6.41-log", 35, Some(1)),
    ("5.7.2-m12-log", 35, Some(1)),
    ("5.7.25-log", 38, Some(1)),
    ("8.0.2-dmr", 38, Some(1)),
    ("8.0.17", 39, Some(1)),
    ("8.0.20", 40, Some(1)),
    ("8.0.30", 41, Some(1)),
    ("8.3.0", 42, Some(0)),
    ("9.0.0", 42, Some(1)),
    ("9.7.4", 42, Some(1)),
];

/// A log under construction.
struct Log {
    bytes: Vec<u8>,
    has_checksums: bool,
    offsets: Vec<usize>,
}

impl Log {
    fn new(version: &str, types: usize, checksum: Option<u8>, in_use: bool) -> Self {
        let mut log = Self {
            bytes: b"\xfebin".to_vec(),
            has_checksums: checksum.is_some(),
            offsets: Vec::new(),
        };
        let mut body = vec![4, 0];
        let mut field = [0; 50];
        field[..version.len()].copy_from_slice(version.as_bytes());
        body.extend(field);
        body.extend(1_600_000_000u32.to_le_bytes());
        body.push(19);
        let mut fixed = FIXED[..types].to_vec();
        if types >= 38 {
            fixed[32] = 42;
            fixed[33] = 42;
        }
        body.extend(fixed);
        body.extend(checksum);
        log.event(15, 0, &body);
        log.has_checksums = checksum == Some(1);
        if in_use {
            log.bytes[4 + 17] |= 1;
        }
        log
    }

    fn event(&mut self, event_type: u8, flags: u16, body: &[u8]) {
        let start = self.bytes.len();
        self.offsets.push(start);
        let length = 19 + body.len() + if self.has_checksums { 4 } else { 0 };
        self.bytes.extend(1_600_000_000u32.to_le_bytes());
        self.bytes.push(event_type);
        self.bytes.extend(1u32.to_le_bytes());
        self.bytes.extend((length as u32).to_le_bytes());
        self.bytes.extend(((start + length) as u32).to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(body);
        self.checksum(start);
    }

    /// Whole events of another log, as they stand there.
    fn append(&mut self, events: &[u8]) {
        let mut rest = events;
        while let Some(length) = rest.get(9..13) {
            let length = u32::from_le_bytes(length.try_into().unwrap());
            self.offsets.push(self.bytes.len());
            let (event, behind) = rest.split_at(length as usize);
            self.bytes.extend(event);
            rest = behind;
        }
    }

    fn checksum(&mut self, start: usize) {
        if self.has_checksums {
            let checksum = crc32fast::hash(&self.bytes[start..]);
            self.bytes.extend(checksum.to_le_bytes());
        }
    }
}

fn query(statement: &[u8]) -> Vec<u8> {
    // Flags, sql_mode, catalog.
    let mut status = vec![0, 0, 0x40, 0, 0, 1];
    status.extend([0; 8]);
    status.extend(b"\x06\x03std");
    let mut body = 5u32.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0, 4, 0, 0, status.len() as u8, 0]);
    body.extend(status);
    body.extend(b"test\0");
    body.extend(statement);
    body
}

fn table_map(types: &[u8], metadata: &[u8]) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0];
    body.extend(b"\x04test\0\x01t\0");
    body.push(types.len() as u8);
    body.extend(types);
    body.push(metadata.len() as u8);
    body.extend(metadata);
    body.push(3);
    body
}

fn rows(is_update: bool, extra: &[u8], images: &[u8]) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0];
    body.extend((2 + extra.len() as u16).to_le_bytes());
    body.extend(extra);
    body.extend([2, 0xff]);
    if is_update {
        body.push(0xff);
    }
    body.extend(images);
    body
}

fn gtid(gno: u64, types: usize, has_times: bool) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(0..16);
    body.extend(gno.to_le_bytes());
    if types >= 38 {
        body.push(2);
        body.extend(0u64.to_le_bytes());
        body.extend(1u64.to_le_bytes());
    }
    if has_times {
        body.extend(&1_600_000_000_000_000u64.to_le_bytes()[..7]);
        body.extend(b"\xfc\x00\x02");
    }
    body
}

/// One image of `INT, VARCHAR(20)`.
const ROW: &[u8] = b"\xfc\x01\0\0\0\x03abc";

/// Events of every type that the version knows, in an order that a server could write.
fn every_event(version: &str, types: usize, checksum: Option<u8>, in_use: bool) -> Log {
    const IGNORABLE: u16 = 0x80;
    let mut log = Log::new(version, types, checksum, in_use);
    log.event(2, 0, &query(b"create table t (a int)"));
    log.event(5, 0, b"\x02\x07\0\0\0\0\0\0\0");
    log.event(13, 0, &[7; 16]);
    log.event(14, 0, b"\x01\0\0\0a\0\0\x21\0\0\0\x03\0\0\0xyz");
    log.event(14, 0, b"\x01\0\0\0n\x01");
    log.event(2, 0, &query(b"insert into t values (1)"));
    log.event(17, 0, b"\x03\0\0\x001\n2\n");
    log.event(9, 0, b"\x03\0\0\x003\n");
    let load = query(b"LOAD DATA INFILE 'x' INTO TABLE t");
    let place = [3, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 0];
    log.event(18, 0, &[&load[..13], &place, &load[13..]].concat());
    log.event(11, 0, b"\x03\0\0\0");
    log.event(2, 0, &query(b"BEGIN"));
    log.event(2, 0, &query(b"insert into t values (2)"));
    log.event(16, 0, &77u64.to_le_bytes());
    if types >= 26 {
        log.event(26, 0, b"\x01\0\x04lost");
    }
    if types >= 35 {
        log.event(35, IGNORABLE, &[0; 8]);
        log.event(33, 0, &gtid(1, types, version.starts_with(['8', '9'])));
        log.event(2, 0, &query(b"BEGIN"));
        log.event(29, IGNORABLE, b"\x05insert");
        log.event(19, 0, &table_map(b"\x03\x0f", b"\x14\0"));
        log.event(30, 0, &rows(false, b"", ROW));
        log.event(31, 0, &rows(true, b"", &[ROW, ROW].concat()));
        log.event(32, 0, &rows(false, b"\0\x04\0\x07\x07", ROW));
        log.event(16, 0, &78u64.to_le_bytes());
        log.event(34, 0, &gtid(0, types, false));
        log.event(2, 0, &query(b"drop table t"));
        log.event(28, IGNORABLE, b"zzz");
    } else if types >= 26 {
        log.event(2, 0, &query(b"BEGIN"));
        log.event(19, 0, &table_map(b"\x03\x0f", b"\x14\0"));
    }
    if types >= 37 {
        log.event(
            36,
            0,
            b"\x02\x03\0\0\0\x01\x08\0\0\0\x01\0\0\0\x01\0\0\0uu\0\0\0\0\0\0\0\0\x02\0ab\x01\0c",
        );
        let mut view = b"15:3".to_vec();
        view.resize(40, 0);
        view.extend(b"\x05\0\0\0\0\0\0\0\x01\0\0\0\x02\0kk\x03\0\0\0vvv");
        log.event(37, 0, &view);
    }
    if types >= 38 {
        log.event(38, 0, b"\0\x01\0\0\0\x02\0\0\0\x01\0\0\0ggb");
    }
    if types >= 39 {
        log.event(19, 0, &table_map(b"\x03\xf5", b"\x04"));
        let images = b"\xfc\x01\0\0\0\0\0\0\0\0\xfc\x01\0\0\0\0\0\0\0";
        log.event(39, 0, &rows(true, b"", images));
    }
    log.event(4, 0, b"\x04\0\0\0\0\0\0\0binlog.000002");
    log
}

/// A relay log: the receiver's own format description, then what the source sent, with its name for
/// the file and its own format description in front, twice.
fn relay_log(version: &str, types: usize, checksum: Option<u8>) -> Log {
    let mut source = every_event(version, types, checksum, false);
    let last = source.offsets[source.offsets.len() - 1];
    source.bytes.truncate(last);
    let format = source.bytes[4..source.offsets[1]].to_vec();

    let mut log = Log::new("9.7.4", 42, Some(1), false);
    log.event(35, 0x80, &[0; 8]);
    log.event(4, 0x20, b"\x04\0\0\0\0\0\0\0binlog.000007");
    log.append(&source.bytes[4..]);
    log.has_checksums = checksum == Some(1);
    log.event(4, 0x20, b"\x04\0\0\0\0\0\0\0binlog.000008");
    log.append(&format);
    log.event(2, 0, &query(b"drop table t"));
    log.event(3, 0, b"");
    log
}

/// A log of every version, with and without checksums, and in a relay log.
pub fn logs() -> Vec<(String, Vec<u8>)> {
    let mut logs = Vec::new();
    for (version, types, checksum) in VERSIONS {
        let mut add = |what: &str, log: Log| logs.push((format!("{version}{what}"), log.bytes));
        add("", every_event(version, types, checksum, false));
        add(", relay log", relay_log(version, types, checksum));
        if checksum == Some(1) {
            add(", NONE", every_event(version, types, Some(0), true));
        }
    }
    logs
}

fn relay_logs() {
    let scratch = reaper::directory();
    let file = scratch.path().join("log");
    for (version, types, checksum) in VERSIONS {
        let log = relay_log(version, types, checksum);
        fs::write(&file, &log.bytes).expect("it can be written");
        let verdict = oracle::agree(version, &file);
        assert_eq!(verdict.damage, None, "{version}: {}", verdict.messages);
        assert_eq!(verdict.events.len(), log.offsets.len(), "{version}");
    }
}

fn every_version() {
    let scratch = reaper::directory();
    for (version, types, checksum) in VERSIONS {
        for in_use in [false, true] {
            let log = every_event(version, types, checksum, in_use);
            let file = scratch.path().join(version);
            fs::write(&file, &log.bytes).expect("it can be written");
            let verdict = oracle::agree(version, &file);
            assert_eq!(verdict.damage, None, "{version}: {}", verdict.messages);
            assert_eq!(verdict.events.len(), log.offsets.len(), "{version}");
        }
    }
}

/// What the servers of then wrote and mysqlbinlog 9.7 does not read any more, or never could.
fn refused() {
    let scratch = reaper::directory();
    let file = scratch.path().join("log");
    let rows_v1 = [&[9, 0, 0, 0, 0, 0, 1, 0, 2, 0xff], ROW].concat();
    for (what, version, types, checksum, event_type, body) in [
        (
            "rows of version 1",
            "5.1.73-log",
            27,
            None,
            23,
            rows_v1.clone(),
        ),
        (
            "rows of version 1 in 5.6",
            "5.6.41-log",
            35,
            Some(1),
            25,
            rows_v1.clone(),
        ),
        (
            "rows of 5.1 before its release",
            "5.1.5-alpha",
            26,
            None,
            20,
            rows_v1,
        ),
        (
            "a type that the version does not know",
            "5.0.86-log",
            18,
            None,
            19,
            table_map(b"\x03\x0f", b"\x14\0"),
        ),
        (
            "an incident of another number",
            "5.1.30-log",
            27,
            None,
            26,
            b"\x42\0\x04lost".to_vec(),
        ),
        ("LOAD of 4.0", "5.0.86-log", 18, None, 6, vec![0; 40]),
        ("a type of the future", "9.7.4", 42, Some(1), 43, vec![0; 8]),
        (
            "a heartbeat",
            "9.7.4",
            42,
            Some(1),
            27,
            b"binlog.000001".to_vec(),
        ),
        (
            "a GTID without its number",
            "5.7.25-log",
            38,
            Some(1),
            33,
            gtid(0, 38, false),
        ),
        (
            "an XA name that is too long",
            "8.0.30",
            41,
            Some(1),
            38,
            vec![1; 30],
        ),
        (
            "a previous-GTIDs event of 4 bytes",
            "5.7.25-log",
            38,
            Some(1),
            35,
            vec![0; 4],
        ),
    ] {
        let mut log = Log::new(version, types, checksum, false);
        log.event(2, 0, &query(b"BEGIN"));
        log.event(19, 0, &table_map(b"\x03\x0f", b"\x14\0"));
        if version.starts_with("5.0") {
            log = Log::new(version, types, checksum, false);
        }
        log.event(event_type, 0, &body);
        let offset = log.offsets[log.offsets.len() - 1] as u64;
        log.event(3, 0, b"");
        fs::write(&file, &log.bytes).expect("it can be written");
        let verdict = oracle::agree(what, &file);
        assert_eq!(verdict.damage, Some(offset), "{what}: {}", verdict.messages);
    }
}

/// Google's servers of 5.1 put a group's id behind the header of every event, and said so.
fn longer_headers() {
    let scratch = reaper::directory();
    let file = scratch.path().join("log");
    for extra in [4, 8, 12] {
        let mut log = Log::new("5.1.63-google-log", 27, None, false);
        // Behind the header, the version of the format, that of the server, and the time.
        log.bytes[4 + 19 + 2 + 50 + 4] += extra;
        let id = vec![0x5e; usize::from(extra)];
        for statement in [&b"create table t (id int)"[..], b"drop table t"] {
            log.event(2, 0, &[&id[..], &query(statement)].concat());
        }
        fs::write(&file, &log.bytes).expect("it can be written");
        let verdict = oracle::agree(&format!("{extra} more"), &file);
        assert_eq!(verdict.damage, Some(log.offsets[1] as u64));
    }
}
