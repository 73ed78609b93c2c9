//! One walk over one log, once: `binlog-rates LOG WALK [LIMIT_BYTES]`. What a profiler is put on.
//!
//! The difference between two limits is free of what starting costs:
//! `valgrind --tool=callgrind target/release/binlog-rates LOG values 4000000`, then 8000000.

use rejoin_benches::{Seen, ours, rivals};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("LOG");
    let walk = arguments.next().expect("WALK");
    let mut log = std::fs::read(&path).expect("the log can be read");
    if let Some(limit) = arguments.next() {
        // Behind the last whole event nothing is read.
        log.truncate(limit.parse().expect("bytes"));
    }
    let run: fn(&[u8]) -> Seen = match walk.as_str() {
        "nothing" => |_| Seen::default(),
        "headers" => |log| ours::headers(log).expect("a sound log"),
        "checksums" => |log| ours::checksums(log).expect("a sound log"),
        "transactions" => |log| ours::transactions(log).expect("a sound log"),
        "received" => |packets| ours::received(packets).expect("a sound log"),
        "values" => |log| ours::values(log).expect("a sound log"),
        "mysql_common-read" => rivals::mysql_common::read,
        "mysql_common" => rivals::mysql_common::values,
        "connector" => rivals::connector::values,
        "mysql_cdc" => rivals::mysql_cdc::values,
        other => panic!("no walk {other}"),
    };
    if walk == "received" {
        log = ours::sent(&log).expect("a sound log");
    }
    println!("{walk}: {:?}", run(&log));
}
