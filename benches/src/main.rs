//! One run over one log: `binlog-rates LOG WALK [LIMIT_BYTES]`. Also what callgrind counts.

use std::time::Instant;

use rejoin_benches::{Seen, checksums, headers, mysql_common_walk, transactions, values};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("LOG");
    let walk = arguments.next().expect("WALK");
    let mut log = std::fs::read(&path).expect("the log can be read");
    if let Some(limit) = arguments.next() {
        let limit: usize = limit.parse().expect("bytes");
        // Cut between two events, which LogReader would otherwise leave unread.
        log.truncate(limit);
    }
    let run: fn(&[u8]) -> Seen = match walk.as_str() {
        "headers" => |log| headers(log).expect("a sound log"),
        "checksums" => |log| checksums(log).expect("a sound log"),
        "transactions" => |log| transactions(log).expect("a sound log"),
        "values" => |log| values(log).expect("a sound log"),
        "mysql_common_read" => mysql_common_walk::read,
        "mysql_common_values" => mysql_common_walk::values,
        other => panic!("no walk {other}"),
    };
    let repeats = if std::env::var_os("ONCE").is_some() {
        1
    } else {
        5
    };
    let mut best = f64::MAX;
    let mut seen = Seen::default();
    for _ in 0..repeats {
        let start = Instant::now();
        seen = run(&log);
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{walk}: {:.0} MB/s, {:.2} M events/s, {seen:?}",
        log.len() as f64 / best / 1e6,
        seen.events as f64 / best / 1e6
    );
}
