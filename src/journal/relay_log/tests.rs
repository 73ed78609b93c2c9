mod parts;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::sample::{Change, Item, Source};
use crate::transaction::OwnedKind;

pub(super) const CHANNEL: &str = "group_replication_applier";

/// A directory without the waiting for a disk, where the machine has one.
fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn options(directory: &Path) -> RelayLogOptions {
    RelayLogOptions {
        directory: directory.to_owned(),
        segment_bytes: 3000,
        server_id: 7,
        large_bytes: 400,
        limits: Limits::default(),
    }
}

fn directory(path: &Path) -> RelayLogDirectory {
    RelayLogDirectory::open(options(path)).unwrap()
}

/// Transactions of the sample source's, in order: what a log gave back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Contents(pub(super) Vec<(u64, Vec<u8>)>);

impl Contents {
    /// GTIDs and events, without what a log makes anew: positions, and the whole GTID event.
    pub(super) fn add(&mut self, batch: &Batch) {
        for transaction in batch.iter() {
            let mut bytes = Vec::new();
            for (_, event) in transaction.events().skip(1) {
                let start = bytes.len();
                bytes.extend_from_slice(event);
                bytes[start + 13..start + 17].fill(0);
            }
            self.0.push((transaction.gtid().gno, bytes));
        }
    }

    pub(super) fn read_all(log: &mut RelayLog) -> Result<Self> {
        let mut contents = Self::default();
        while let Some(load) = read(log)? {
            contents.add(&loaded(load)?);
        }
        Ok(contents)
    }
}

/// The next load, however often it takes to ask for it.
pub(super) fn read(log: &mut RelayLog) -> Result<Option<Load>> {
    loop {
        let found = log.read(Batch::new())?;
        if found.is_some() || log.unread() == 0 {
            return Ok(found);
        }
    }
}

/// What was read, all of it in memory; a large transaction has to be the same by its events.
pub(super) fn loaded(load: Load) -> Result<Batch> {
    let mut stored = match load {
        Load::Batch(batch) => return Ok(batch),
        Load::Stored(stored) => stored,
    };
    let batch = stored.load()?;
    let whole = batch.first().unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!((stored.gtid(), stored.kind()), (whole.gtid(), whole.kind()));
    for _ in 0..2 {
        let mut bytes = Vec::new();
        let mut events = stored.events()?;
        while let Some((header, event)) = events.next_event()? {
            assert_eq!(header.length as usize, event.len());
            bytes.extend_from_slice(event);
        }
        assert_eq!(bytes, whole.bytes());
    }
    Ok(batch)
}

/// A batch of some transactions of different sizes.
fn batch(source: &mut Source, random: &mut StdRng, most: usize) -> Batch {
    for _ in 0..random.random_range(1..=most) {
        let id = random.random_range(0..1000);
        let length = [3, 40, 240][random.random_range(0..3)];
        source.rows(&[Change::Insert(Item::new(id, vec![b'x'; length]))]);
    }
    source.take()
}

/// Appends the transactions, some of them whole and some in parts; of these, some a second time because
/// the first stream ended in the middle.
fn append(log: &mut RelayLog, batch: &Batch, random: &mut StdRng) -> Result<()> {
    for transaction in batch.iter() {
        let size = random.random_range(1..300);
        let parts: Vec<Part> = PartSlice::of(&transaction, size).map(own).collect();
        let mut whole = Batch::new();
        whole.push(&transaction);
        match random.random_range(0..3) {
            0 => log.append(&whole, false)?,
            1 => parts.iter().try_for_each(|part| log.append_part(part))?,
            _ => {
                let last = random.random_range(0..parts.len());
                let unread = log.unread();
                let mut first = parts[..last].iter();
                first.try_for_each(|part| log.append_part(part))?;
                log.write(Duration::ZERO)?;
                assert_eq!(log.unread(), unread, "it is not whole");
                log.abandon_parts()?;
                // What comes of it after that is nothing.
                if last > 0 {
                    log.append_part(&parts[last])?;
                }
                assert_eq!(log.unread(), unread);
                parts.iter().try_for_each(|part| log.append_part(part))?;
            }
        }
    }
    Ok(())
}

pub(super) fn own(part: PartSlice<'_>) -> Part {
    Part {
        gtid: *part.gtid,
        format: part.format.clone(),
        bytes: part.bytes.to_vec(),
        is_first: part.is_first,
        end: part.is_last.then_some(OwnedKind::Dml),
    }
}

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

/// The sample source's GTIDs from `first` to `last`.
pub(super) fn gtids(first: u64, last: u64) -> GtidSet {
    let source = Source::new();
    (first..=last).map(|gno| source.gtid(gno)).collect()
}

#[test]
fn it_gives_back_what_it_took_while_it_grows_rotates_and_is_purged() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let place = memory_directory();
        let sync = [SyncRelayLog::Never, SyncRelayLog::Each][random.random_range(0..2)];
        let directory = directory(place.path());
        let mut log = directory.empty_log(CHANNEL, sync).unwrap();
        log.begin(GtidSet::new(), Duration::ZERO).unwrap();
        let mut source = Source::new();
        let mut expected = VecDeque::new();
        let mut given = Contents::default();
        let mut wanted = Contents::default();
        let mut executed = GtidSet::new();
        let mut segments = 0;
        for _ in 0..200 {
            match random.random_range(0..8) {
                0..3 => {
                    let batch = batch(&mut source, &mut random, 4);
                    append(&mut log, &batch, &mut random).unwrap();
                    let mut contents = Contents::default();
                    contents.add(&batch);
                    expected.extend(contents.0);
                }
                // A copy of what somebody has in memory.
                3 if log.unread() == 0 => {
                    let batch = batch(&mut source, &mut random, 4);
                    log.append(&batch, true).unwrap();
                    executed.extend(&batch.gtids());
                }
                4 => log.write(Duration::ZERO).unwrap(),
                5 => {
                    log.purge(&executed).unwrap();
                    segments += fs::read_dir(place.path()).unwrap().count();
                }
                _ => {
                    if let Some(load) = read(&mut log).unwrap() {
                        let batch = loaded(load).unwrap();
                        given.add(&batch);
                        executed.extend(&batch.gtids());
                        wanted.0.extend(expected.drain(..batch.len()));
                    }
                }
            }
            assert_eq!(log.unread(), expected.len() as u64);
        }
        assert_eq!(given, wanted, "seed {seed}");
        let rest = Contents::read_all(&mut log).unwrap();
        assert_eq!(rest.0, expected.into_iter().collect::<Vec<_>>());
        log.write(Duration::ZERO).unwrap();
        assert!(log.is_executed(&log_gtids(&mut source)));
        log.purge(&log_gtids(&mut source)).unwrap();
        let left = fs::read_dir(place.path()).unwrap().count();
        assert_eq!(left, 3, "the lock, the index, the last segment");
        let last = format!(
            "relay-bin-{CHANNEL}.{:06}",
            log.open.as_ref().unwrap().journal.end().segment
        );
        let length = fs::metadata(place.path().join(last)).unwrap().len();
        assert!(segments > 0 && log.byte_size() == length);
    }
}

/// Everything that the source has made.
fn log_gtids(source: &mut Source) -> GtidSet {
    source.statement("FLUSH TABLES");
    let last = source.take().last().unwrap().gtid().gno;
    gtids(1, last)
}

/// What is in the log when it is opened again, having executed this.
fn reopened(path: &Path, executed: &GtidSet) -> Result<(RelayLog, GtidSet)> {
    directory(path).reopen_log(CHANNEL, SyncRelayLog::Each, executed)
}

#[test]
fn what_was_not_applied_is_there_after_a_restart() {
    let place = memory_directory();
    let mut random = StdRng::seed_from_u64(1);
    let mut source = Source::new();
    source.skip_to(100);
    let mut expected = Contents::default();
    {
        let directory = directory(place.path());
        let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Each).unwrap();
        log.begin(gtids(1, 100), Duration::ZERO).unwrap();
        for _ in 0..30 {
            let batch = batch(&mut source, &mut random, 3);
            log.append(&batch, false).unwrap();
            expected.add(&batch);
            log.write(Duration::ZERO).unwrap();
        }
    }
    let last = expected.0.last().unwrap().0;
    // All of it; then what a first run has left.
    for done in [100, 110] {
        let (mut log, unapplied) = reopened(place.path(), &gtids(1, done)).unwrap();
        assert_eq!(unapplied, gtids(done + 1, last));
        assert_eq!(Contents::read_all(&mut log).unwrap(), expected);
        log.purge(&gtids(1, done)).unwrap();
    }
    // What comes before it is not there: it can not be applied.
    let copy = memory_directory();
    for file in fs::read_dir(place.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let (log, unapplied) = reopened(copy.path(), &gtids(1, 99)).unwrap();
    assert!(unapplied.is_empty() && log.unread() == 0 && !log.is_begun());
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 1, "the lock");
    // Everything is executed.
    let (log, unapplied) = reopened(place.path(), &gtids(1, last)).unwrap();
    assert!(unapplied.is_empty() && log.unread() == 0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "the lock");
}

#[test]
fn two_processes_never_share_a_directory() {
    let place = memory_directory();
    let _first = directory(place.path());
    let error = RelayLogDirectory::open(options(place.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetLocked);
}

#[test]
fn it_is_synced_as_the_setting_says() {
    let mut random = StdRng::seed_from_u64(1);
    let second = Duration::from_secs(1);
    // How many of ten writes, one transaction and one second each, wait for the disk.
    let cases = [
        (SyncRelayLog::Never, 0),
        (SyncRelayLog::Each, 10),
        (SyncRelayLog::Transactions(3), 3),
        (SyncRelayLog::Interval(2 * second), 5),
    ];
    for (sync, expected) in cases {
        let place = memory_directory();
        let mut options = options(place.path());
        options.segment_bytes = 1 << 20;
        let disk = Disk::default();
        let directory = RelayLogDirectory::open_on(disk.clone(), options).unwrap();
        let mut log = directory.empty_log(CHANNEL, sync).unwrap();
        log.begin(GtidSet::new(), Duration::ZERO).unwrap();
        let mut source = Source::new();
        let before = disk.syncs();
        for number in 1..=10 {
            log.append(&batch(&mut source, &mut random, 1), false)
                .unwrap();
            log.write(second * number).unwrap();
            let waits = matches!(sync, SyncRelayLog::Interval(_));
            assert_eq!(
                log.sync_due().is_some(),
                waits && log.open.as_ref().unwrap().unsynced > 0
            );
        }
        assert_eq!(disk.syncs() - before, expected, "{sync:?}");
    }
}

/// A small log cut at every byte, of its last segment or with that segment gone: whole transactions
/// from its beginning on, and nothing that was synced is missing.
#[test]
fn a_log_cut_at_any_byte_gives_its_first_whole_transactions() {
    let place = memory_directory();
    let mut random = StdRng::seed_from_u64(4);
    let mut source = Source::new();
    let mut expected = Contents::default();
    let mut ends = Vec::new();
    let last_segment;
    {
        let directory = directory(place.path());
        let mut log = directory
            .empty_log(CHANNEL, SyncRelayLog::Transactions(2))
            .unwrap();
        log.begin(GtidSet::new(), Duration::ZERO).unwrap();
        for _ in 0..14 {
            let batch = batch(&mut source, &mut random, 1);
            log.append(&batch, false).unwrap();
            log.write(Duration::ZERO).unwrap();
            expected.add(&batch);
            let open = log.open.as_ref().unwrap();
            ends.push((open.journal.end(), open.unsynced == 0));
        }
        last_segment = ends.last().unwrap().0.segment;
        assert!(last_segment > 1);
    }
    let name = format!("relay-bin-{CHANNEL}.{last_segment:06}");
    let whole = fs::read(place.path().join(&name)).unwrap();
    // A segment is named by the index only when its head is on the disk.
    let head = 4 + [&whole[4..], &whole[4 + event_length(&whole[4..])..]]
        .iter()
        .map(|event| event_length(event))
        .sum::<usize>();
    for cut in head..=whole.len() {
        let copy = copy_of(place.path());
        fs::write(copy.path().join(&name), &whole[..cut]).unwrap();
        let (mut log, unapplied) = reopened(copy.path(), &GtidSet::new()).unwrap();
        let is_there = |end: &Position| end.segment < last_segment || end.offset <= cut as u64;
        let count = ends.iter().take_while(|(end, _)| is_there(end)).count();
        let found = Contents::read_all(&mut log).unwrap();
        assert_eq!(found.0, expected.0[..count], "cut at {cut}");
        assert_eq!(unapplied, gtids(1, count as u64));
    }
}

/// All files of a log, in another directory.
fn copy_of(place: &Path) -> tempfile::TempDir {
    let copy = memory_directory();
    for file in fs::read_dir(place).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn event_length(event: &[u8]) -> usize {
    u32::from_le_bytes(event[9..13].try_into().unwrap()) as usize
}

/// Makes the nth operation on the disk fail, for every n: what was synced is there after a restart,
/// and what is there is a prefix of what was delivered.
#[test]
fn no_fault_of_the_disk_loses_what_was_synced() {
    for for_good in [false, true] {
        for n in 0..10_000 {
            let place = memory_directory();
            let disk = Disk::failing_at(n, for_good);
            let mut delivered = Contents::default();
            let (mut synced, mut executed) = (0, GtidSet::new());
            let outcome = (|| {
                let mut random = StdRng::seed_from_u64(9);
                let mut source = Source::new();
                let options = options(place.path());
                let directory = RelayLogDirectory::open_on(disk.clone(), options)?;
                let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Each)?;
                log.begin(GtidSet::new(), Duration::ZERO)?;
                for round in 0..12 {
                    let batch = batch(&mut source, &mut random, 3);
                    delivered.add(&batch);
                    append(&mut log, &batch, &mut random)?;
                    log.write(Duration::ZERO)?;
                    synced = delivered.0.len();
                    if round % 3 == 2 {
                        while let Some(load) = read(&mut log)? {
                            let batch = loaded(load)?;
                            executed.extend(&batch.gtids());
                        }
                        log.purge(&executed)?;
                    }
                }
                Ok::<_, Error>(())
            })();
            if !disk.has_failed() {
                assert!(outcome.is_ok() && n > 20);
                break;
            }
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::TargetIo, "operation {n}: {error}");
                assert!(error.remedy_text().is_some());
            }
            let (mut log, unapplied) = reopened(place.path(), &executed).unwrap();
            let found = Contents::read_all(&mut log).unwrap();
            let end = (executed.count() + unapplied.count()) as usize;
            assert!(end >= synced, "operation {n}");
            assert!(delivered.0[..end].ends_with(&found.0), "operation {n}");
        }
    }
}

/// Whatever fails of a write (the space is reserved, then it is written, then synced): nothing more is
/// taken, and a sync that has failed is not tried again, because it might succeed without having written
/// what the first one lost.
#[test]
fn a_failed_write_or_sync_is_never_tried_again() {
    let mut failed = Vec::new();
    for n in 0..100 {
        let place = memory_directory();
        let disk = Disk::failing_at(n, false);
        let options = options(place.path());
        let Ok(directory) = RelayLogDirectory::open_on(disk.clone(), options) else {
            continue;
        };
        let Ok(mut log) = directory.empty_log(CHANNEL, SyncRelayLog::Each) else {
            continue;
        };
        if log.begin(GtidSet::new(), Duration::ZERO).is_err() {
            continue;
        }
        let mut source = Source::new();
        source.statement("CREATE TABLE t (a INT)");
        let batch = source.take();
        log.append(&batch, false).unwrap();
        let Err(error) = log.write(Duration::ZERO) else {
            break;
        };
        assert_eq!(error.kind(), ErrorKind::TargetIo);
        failed.push(error.to_string());
        let syncs = disk.syncs();
        for again in [
            log.write(Duration::ZERO),
            log.sync(Duration::ZERO),
            log.append(&batch, false),
        ] {
            let again = again.unwrap_err().to_string();
            assert!(again.contains("takes nothing more"), "{again}");
        }
        assert_eq!(disk.syncs(), syncs);
        drop(log);
        drop(directory);
        let (log, unapplied) = reopened(place.path(), &GtidSet::new()).unwrap();
        assert!(unapplied.count() <= 1 && log.unread() == unapplied.count());
    }
    assert_eq!(failed.len(), 3, "{failed:?}");
    for (failed, doing) in failed.iter().zip(["reserve space", "write", "sync"]) {
        assert!(failed.contains(&format!("cannot {doing}")), "{failed}");
    }
}

#[test]
fn a_damaged_log_says_what_to_do() {
    let place = memory_directory();
    let mut random = StdRng::seed_from_u64(4);
    {
        let directory = directory(place.path());
        let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Each).unwrap();
        log.begin(GtidSet::new(), Duration::ZERO).unwrap();
        let mut source = Source::new();
        for _ in 0..30 {
            log.append(&batch(&mut source, &mut random, 2), false)
                .unwrap();
            log.write(Duration::ZERO).unwrap();
        }
    }
    let path = place.path().join(format!("relay-bin-{CHANNEL}.000002"));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = reopened(place.path(), &set("")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetCorrupt);
    assert!(error.remedy_text().unwrap().starts_with("remove "));
}
