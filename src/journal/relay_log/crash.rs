//! A process that writes, rotates, reads and purges a relay log is killed at random moments, and runs
//! against limits of the disk: what is there afterwards is a prefix of what was delivered, whole
//! transactions only, and nothing that was acknowledged as synced is missing.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use crossbeam_channel::bounded;

use super::tests::{CHANNEL, Contents, gtids, loaded, own, read as read_next};
use super::*;
use crate::sample::{Change, Item, Source};

/// Where the writing process finds its log; only it has this in its environment.
const DIRECTORY: &str = "REJOIN_RELAY_DIRECTORY";
/// How many transactions the target of that process has executed when it starts.
const EXECUTED: &str = "REJOIN_RELAY_EXECUTED";
/// How long its segments are.
const SEGMENT: &str = "REJOIN_RELAY_SEGMENT";

fn options(directory: &Path, segment_bytes: u64) -> RelayLogOptions {
    RelayLogOptions {
        directory: directory.to_owned(),
        segment_bytes,
        server_id: 7,
        large_bytes: 1000,
        limits: Limits::default(),
    }
}

/// Transaction `number`, always the same, but the numbers are different.
fn add(source: &mut Source, number: u64) {
    let length = (number * 7919 % 1400) as usize;
    let changes = (0..=number % 3).map(|row| {
        Change::Insert(Item {
            note: Some(vec![b'a' + (number % 26) as u8; length]),
            ..Item::new(number as i64 * 3 + row as i64, "row")
        })
    });
    source.skip_to(number - 1);
    source.rows(&changes.collect::<Vec<_>>());
}

fn expected(first: u64, last: u64) -> Contents {
    let mut source = Source::new();
    for number in first..=last {
        add(&mut source, number);
    }
    let mut contents = Contents::default();
    contents.add(&source.take());
    contents
}

fn tell(what: &str, value: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    writeln!(out, "{what} {value}").unwrap();
    out.flush().unwrap();
}

/// The writing process. It tells `safe N` when transaction N is synced, `executed N` before it purges
/// up to N, and `failed ...` with the error that ends it.
#[test]
fn writer() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    if let Err(error) = write(Path::new(&directory)) {
        assert_eq!(error.kind(), ErrorKind::TargetIo);
        tell(
            "failed",
            format!("{error}; {}", error.remedy_text().unwrap()),
        );
    }
}

fn write(directory: &Path) -> Result<()> {
    let number = |variable| env::var(variable).unwrap().parse::<u64>().unwrap();
    let mut executed = number(EXECUTED);
    let directory = RelayLogDirectory::open(options(directory, number(SEGMENT)))?;
    let (mut log, unapplied) =
        directory.reopen_log(CHANNEL, SyncRelayLog::Each, &gtids(1, executed))?;
    let mut last = executed + unapplied.count();
    if !log.is_begun() {
        log.begin(gtids(1, executed), Duration::ZERO)?;
    }
    let mut source = Source::new();
    let mut read = executed;
    loop {
        for _ in 0..=last % 5 {
            last += 1;
            add(&mut source, last);
        }
        let batch = source.take();
        if last % 4 == 1 {
            // As a large transaction comes.
            for part in batch
                .iter()
                .flat_map(|whole| PartSlice::of(&whole, 300).map(own))
            {
                log.append_part(&part)?;
            }
        } else {
            log.append(&batch, false)?;
        }
        log.write(Duration::ZERO)?;
        tell("safe", last);
        if last % 3 == 0 {
            while let Some(load) = read_next(&mut log)? {
                let batch = loaded(load)?;
                read = read.max(batch.last().unwrap().gtid().gno);
            }
            executed = read;
            tell("executed", executed);
            log.purge(&gtids(1, executed))?;
        }
    }
}

/// What the writing process was heard to say.
#[derive(Default)]
struct Heard {
    safe: u64,
    executed: u64,
    failed: Option<String>,
}

/// When the writing process ends.
#[derive(Clone, Copy)]
enum End {
    /// It is killed so long after it was started.
    Killed(Duration),
    /// It is killed so long after it has synced something for the first time.
    KilledAtWork(Duration),
    /// At a limit of the length of files.
    Limited,
}

/// Runs the writing process to its end.
fn run_writer(directory: &Path, executed: u64, segment: u64, end: End) -> Heard {
    let program = env::current_exe().unwrap();
    let mut command = Command::new("sh");
    // In blocks of 512 bytes. The signal that comes with the limit would end the process.
    let limit = match end {
        End::Limited => "trap '' XFSZ; ulimit -f 256; ",
        _ => "",
    };
    command.args(["-c", &format!("{limit}exec \"$0\" \"$@\"")]);
    let mut writer = command
        .arg(program)
        .args([
            "journal::relay_log::crash::writer",
            "--exact",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env(EXECUTED, executed.to_string())
        .env(SEGMENT, segment.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let (at_work, works) = bounded(1);
    let reading = thread::spawn(move || {
        let mut heard = Heard::default();
        for line in lines.map_while(std::result::Result::ok) {
            // The harness's own words may stand before the first line.
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [.., "safe", number] => {
                    heard.safe = number.parse().unwrap_or(heard.safe);
                    let _ = at_work.try_send(());
                }
                [.., "executed", number] => {
                    heard.executed = number.parse().unwrap_or(heard.executed);
                }
                _ if line.contains("failed ") => heard.failed = Some(line),
                _ => {}
            }
        }
        heard
    });
    match end {
        End::Limited => {}
        End::Killed(time) => {
            thread::sleep(time);
            writer.kill().unwrap();
        }
        End::KilledAtWork(time) => {
            works.recv().unwrap();
            thread::sleep(time);
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    reading.join().unwrap()
}

/// Opens the log as a new process would, and gives the number of the last transaction in it.
fn check(directory: &Path, executed: u64, safe: u64, segment: u64) -> u64 {
    let directory = RelayLogDirectory::open(options(directory, segment)).unwrap();
    let (mut log, unapplied) = directory
        .reopen_log(CHANNEL, SyncRelayLog::Each, &gtids(1, executed))
        .unwrap();
    let last = executed + unapplied.count();
    assert_eq!(unapplied, gtids(executed + 1, last), "no gap");
    assert!(last >= safe, "{safe} were synced, {last} are there");
    let found = Contents::read_all(&mut log).unwrap();
    if let Some((first, _)) = found.0.first() {
        assert_eq!(found, expected(*first, last));
    }
    last
}

#[test]
fn killed_at_any_moment_it_has_what_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let segment = 6000;
    let (mut executed, mut last) = (0, 0);
    for round in 0..200u64 {
        let time = Duration::from_micros(round * round * 97 % 20_000);
        let end = if round % 3 == 0 {
            End::Killed(time)
        } else {
            End::KilledAtWork(time)
        };
        let heard = run_writer(directory.path(), executed, segment, end);
        executed = executed.max(heard.executed);
        last = check(directory.path(), executed, heard.safe.max(last), segment);
        if round % 7 == 3 {
            // The target has executed some of it meanwhile.
            executed += (last - executed) / 2;
        }
    }
    assert!(last > 300, "only {last} transactions in all rounds");
}

#[test]
fn a_limit_of_the_disk_ends_it_with_a_clear_error_and_a_whole_log() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than the limit on files, so that no rotation comes before it.
    let segment = 1 << 30;
    let heard = run_writer(directory.path(), 0, segment, End::Limited);
    let failed = heard.failed.unwrap();
    for part in [
        "cannot write to the log",
        "File too large",
        "relay-bin-",
        "free space",
    ] {
        assert!(failed.contains(part), "{failed}");
    }
    assert!(heard.safe > 10);
    let last = check(directory.path(), heard.executed, heard.safe, segment);
    // With room again it goes on.
    let end = End::KilledAtWork(Duration::from_millis(100));
    let heard = run_writer(directory.path(), heard.executed, segment, end);
    check(
        directory.path(),
        heard.executed,
        heard.safe.max(last),
        segment,
    );
    assert!(heard.safe > last && heard.failed.is_none());
}
