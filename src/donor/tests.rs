//! A donor on loopback and a client of a few lines, over logs that a real server wrote.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::binlog::{EventHeader, EventType, HeartbeatEvent, LogReader, RotateEvent};
use crate::gtid::{Encoding, GtidSet, Uuid};
use crate::net::{BinlogStream, ConnectOptions, Connection, DumpRequest, Endpoint, SslMode};
use crate::sample::Source;
use crate::target::Target;
use crate::target::store::{Store, StoreOptions};
use crate::transaction::Assembler;
use crate::wire::command::{self, DumpFlags};
use crate::wire::compression::Compression;
use crate::wire::dump::{self, DumpPacket};
use crate::wire::login::{AwaitGreeting, Encryption, Greeted, LoginOptions, Verdict};
use crate::wire::packet::{PacketReader, write_packet};
use crate::{ErrorKind, Limits};

const FILES: [&str; 2] = ["binlog.000001", "binlog.000002"];

/// A directory with logs of `tests/data/binlog`, as mysqld leaves it.
fn directory(content: &str) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/binlog");
    let directory = tempfile::tempdir().unwrap();
    for file in FILES {
        fs::copy(from.join(content).join(file), directory.path().join(file)).unwrap();
    }
    write_index(directory.path(), &FILES);
    directory
}

fn write_index(directory: &Path, files: &[&str]) {
    let lines: String = files.iter().map(|file| format!("./{file}\n")).collect();
    fs::write(directory.join("binlog.index"), lines).unwrap();
}

fn donor_with(directory: &Path, change: impl FnOnce(&mut DonorOptions)) -> Donor {
    let source = BinlogDirectory::open(directory).unwrap();
    let mut options = DonorOptions::new(vec![
        Account::new("recovery", b"secret"),
        Account::new("reader", b"other").without_replication(),
    ]);
    options.require_secure_transport = false;
    change(&mut options);
    Donor::start("127.0.0.1:0", Arc::new(source), options).unwrap()
}

fn donor(directory: &Path) -> Donor {
    donor_with(directory, |_| {})
}

/// The events of both files, each with its file.
fn events(directory: &Path) -> Vec<(usize, EventHeader, Vec<u8>)> {
    let mut events = Vec::new();
    for (number, file) in FILES.iter().enumerate() {
        let mut reader = LogReader::open(directory.join(file), &Limits::default()).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            events.push((number, event.header, event.bytes.to_vec()));
        }
    }
    events
}

/// A client that sends what it is told to.
struct Client {
    socket: TcpStream,
    reader: PacketReader,
}

impl Client {
    /// Without TLS, as `user`.
    fn connect(donor: &Donor, user: &str, password: &str) -> Self {
        let mut client = Self::raw(donor);
        let options = LoginOptions {
            user: user.into(),
            password: password.into(),
            encryption: Encryption::Never,
            public_key: None,
            get_public_key: false,
            max_packet_bytes: 1 << 24,
            attributes: Default::default(),
            compression: Compression::Uncompressed,
        };
        let greeted = AwaitGreeting::new(options).handle(client.receive().unwrap());
        let Greeted::Respond { response, mut next } = greeted.unwrap() else {
            panic!("no TLS was asked for");
        };
        client.send(&response);
        loop {
            match next.handle(client.receive().unwrap()).unwrap() {
                Verdict::Wait(wait) => next = wait,
                Verdict::Accepted(_) => return client,
                Verdict::Send { .. } => panic!("the password is right"),
            }
        }
    }

    fn raw(donor: &Donor) -> Self {
        let socket = TcpStream::connect(donor.local_addr()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            socket,
            reader: PacketReader::new(1 << 16, 1 << 30),
        }
    }

    fn send(&mut self, payload: &[u8]) {
        let mut bytes = Vec::new();
        let next = write_packet(self.reader.sequence(), payload, &mut bytes);
        self.reader.set_sequence(next);
        self.socket.write_all(&bytes).unwrap();
    }

    /// `None` at the end of the connection.
    fn receive(&mut self) -> Option<&[u8]> {
        while !self.reader.advance().unwrap() {
            let count = self.socket.read(self.reader.space()).unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.reader.received(count);
        }
        Some(self.reader.packet())
    }

    fn command(&mut self, payload: &[u8]) -> Vec<u8> {
        self.reader.set_sequence(0);
        self.send(payload);
        self.receive().expect("an answer").to_vec()
    }

    /// A statement without rows: what it is answered with.
    fn execute(&mut self, statement: &str) -> Vec<u8> {
        self.command(&command::query(statement))
    }

    /// Starts a dump and reads it to its end or to an error.
    fn dump(&mut self, payload: &[u8]) -> (Vec<Vec<u8>>, Option<crate::Error>) {
        self.reader.set_sequence(0);
        self.send(payload);
        let mut events = Vec::new();
        loop {
            match dump::parse(self.receive().expect("the donor stays")) {
                Ok(DumpPacket::Event(event)) => events.push(event.to_vec()),
                Ok(DumpPacket::End) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }
}

fn by_gtids(have: &GtidSet) -> Vec<u8> {
    let flags = DumpFlags {
        non_block: true,
        heartbeat_v2: true,
    };
    command::binlog_dump_gtid(9, flags, have, Encoding::Shortest)
}

fn by_position(file: &str, position: u32) -> Vec<u8> {
    let mut payload = vec![0x12];
    payload.extend_from_slice(&position.to_le_bytes());
    payload.extend_from_slice(&1u16.to_le_bytes());
    payload.extend_from_slice(&9u32.to_le_bytes());
    payload.extend_from_slice(file.as_bytes());
    payload
}

fn number_of(packet: &[u8]) -> u16 {
    assert_eq!(packet[0], 0xff, "an error: {}", packet.escape_ascii());
    u16::from_le_bytes([packet[1], packet[2]])
}

const CRC32: &str = "SET @source_binlog_checksum = 'CRC32'";

#[test]
fn all_events_come_as_they_stand_in_the_files() {
    for content in ["crc32-minimal", "none-full", "compressed-full"] {
        let directory = directory(content);
        let donor = donor(directory.path());
        let mut client = Client::connect(&donor, "recovery", "secret");
        client.execute("SET @source_binlog_checksum = @@global.binlog_checksum");
        for payload in [by_gtids(&GtidSet::new()), by_position(FILES[0], 4)] {
            let (sent, error) = client.dump(&payload);
            assert!(error.is_none(), "{content}: {error:?}");
            let mut sent = sent.into_iter();
            let mut file = usize::MAX;
            for (number, _, bytes) in events(directory.path()) {
                if number != file {
                    file = number;
                    let rotate = sent.next().unwrap();
                    let header = EventHeader::decode(&rotate).unwrap();
                    assert!(header.has(EventHeader::ARTIFICIAL));
                    let name = RotateEvent::decode(&rotate[..19 + 8 + 13]).unwrap();
                    assert_eq!(name.file, FILES[number].as_bytes());
                }
                assert_eq!(sent.next().unwrap(), bytes, "{content}");
            }
            assert!(sent.next().is_none());
        }
    }
}

#[test]
fn our_own_client_brings_every_transaction_inside_tls() {
    let directory = directory("crc32-minimal");
    let donor = donor_with(directory.path(), |options| {
        options.require_secure_transport = true;
    });
    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        ..ConnectOptions::new("recovery", "secret")
    };
    let endpoint = Endpoint::new("127.0.0.1", donor.local_addr().port());
    let limits = Limits::default();
    let mut asking = Connection::connect(&endpoint, &options, &limits).unwrap();
    assert!(asking.is_encrypted());
    let executed = asking.query("SELECT @@GLOBAL.gtid_executed").unwrap();
    let executed: GtidSet = executed.text(0, 0).unwrap().parse().unwrap();
    assert!(executed.count() > 10);
    // Whatever is skipped, exactly the rest comes.
    let (tsid, interval) = executed.intervals().next().unwrap();
    let mut half = GtidSet::new();
    for gno in (interval.start..interval.end).step_by(2) {
        half.insert(&crate::gtid::Gtid { tsid: *tsid, gno });
    }
    for have in [GtidSet::new(), half, executed.clone()] {
        let connection = Connection::connect(&endpoint, &options, &limits).unwrap();
        let request = DumpRequest {
            non_blocking: true,
            ..DumpRequest::new(9, Uuid([9; 16]), have.clone())
        };
        let mut stream = BinlogStream::open(connection, &request).unwrap();
        let mut assembler = Assembler::new(limits.clone(), stream.initial_checksum());
        while let Some(event) = stream.next_event().unwrap() {
            assembler.push(event).unwrap();
        }
        assert_eq!(assembler.ready().gtids(), executed.subtract(&have));
    }
    let plain = ConnectOptions {
        ssl_mode: SslMode::Disabled,
        ..options
    };
    let error = Connection::connect(&endpoint, &plain, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[test]
fn checksums_are_as_negotiated() {
    let with = directory("crc32-minimal");
    let without = directory("none-full");
    let first_two = |directory: &Path, set: Option<&str>| {
        let donor = donor(directory);
        let mut client = Client::connect(&donor, "recovery", "secret");
        if let Some(value) = set {
            client.execute(&format!("SET @master_binlog_checksum = {value}"));
        }
        let (events, error) = client.dump(&by_gtids(&GtidSet::new()));
        (events, error.map(|error| error.to_string()))
    };
    let (events, error) = first_two(with.path(), None);
    assert_eq!(events.len(), 1, "a rotate and no format description");
    assert!(
        error
            .unwrap()
            .contains("Replica can not handle replication events")
    );
    // Length of the first rotate: name, position and header are 40 bytes.
    for (directory, value, rotate) in [
        (&with, "'CRC32'", 44),
        (&with, "'NONE'", 40),
        (&with, "'SHA'", 40),
        (&without, "'CRC32'", 44),
        (&without, "NULL", 40),
    ] {
        let (events, error) = first_two(directory.path(), Some(value));
        assert_eq!(error, None, "{value}");
        assert_eq!(events[0].len(), rotate, "{value}");
        assert_eq!(events[1][4], EventType::FORMAT_DESCRIPTION.0);
    }
}

#[test]
fn errors_have_the_servers_numbers_and_texts() {
    let directory = directory("crc32-minimal");
    let donor = donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    for (payload, text) in [
        (by_position("binlog.000009", 4), "Could not find first log"),
        (by_position(FILES[0], 3), "position < 4"),
        (by_position(FILES[0], 1 << 30), "position > file size"),
        (by_position(FILES[0], 5), "log event entry exceeded"),
    ] {
        let (_, error) = client.dump(&payload);
        let error = error.unwrap();
        assert!(error.message().contains(text), "{error}");
        assert!(error.message().contains("1236"), "{error}");
    }
    assert_eq!(number_of(&client.command(b"\x15\x01")), 1835);
    assert_eq!(number_of(&client.command(b"\x1e\x01")), 1835);
    assert_eq!(number_of(&client.execute("DROP TABLE t")), 1235);
    assert_eq!(
        number_of(&client.execute("SELECT @@rpl_semi_sync_source_enabled")),
        1193
    );
    assert_eq!(number_of(&client.command(b"\x07")), 1047);
    assert_eq!(client.command(b"\x0e")[0], 0);

    // More of the donor's own than it has, and less than it still has.
    let uuid = BinlogDirectory::open(directory.path())
        .unwrap()
        .identity()
        .server_uuid;
    let (_, error) = client.dump(&by_gtids(&format!("{uuid}:1-5").parse().unwrap()));
    assert_eq!(error.unwrap().kind(), ErrorKind::Ahead);
    drop(donor);
    write_index(directory.path(), &FILES[1..]);
    let donor = super::tests::donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    let (events, error) = client.dump(&by_gtids(&GtidSet::new()));
    assert_eq!(
        (events.len(), error.unwrap().kind()),
        (0, ErrorKind::Purged)
    );
    // By position nobody asks what is missing.
    assert!(client.dump(&by_position(FILES[1], 4)).1.is_none());

    let mut reader = Client::connect(&donor, "reader", "other");
    assert_eq!(number_of(&reader.command(&by_gtids(&GtidSet::new()))), 1227);
    let register = command::register_replica(1, "", 0);
    assert_eq!(number_of(&reader.command(&register)), 1045);
}

#[test]
fn damage_is_told_and_not_sent() {
    let directory = directory("crc32-minimal");
    let path = directory.path().join(FILES[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&path, &bytes).unwrap();
    let donor = donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    let (sent, error) = client.dump(&by_gtids(&GtidSet::new()));
    assert!(!sent.is_empty());
    assert!(matches!(
        error.unwrap().kind(),
        ErrorKind::Checksum | ErrorKind::Malformed
    ));
    bytes[middle] ^= 0x40;
    bytes.truncate(bytes.len() - 7);
    fs::write(&path, &bytes).unwrap();
    let (_, error) = client.dump(&by_gtids(&GtidSet::new()));
    let error = error.unwrap();
    assert!(
        error
            .message()
            .contains("binlog truncated in the middle of event"),
        "{error}"
    );
}

#[test]
fn a_hole_between_files_is_refused_when_it_is_met() {
    // The second file alone behind an empty first one, as after SET GLOBAL gtid_purged.
    let directory = directory("crc32-minimal");
    let first = events(directory.path());
    let mut bytes = crate::binlog::MAGIC.to_vec();
    for (number, header, event) in &first {
        let is_head = matches!(
            header.event_type,
            EventType::FORMAT_DESCRIPTION | EventType::PREVIOUS_GTIDS | EventType::ROTATE
        );
        if *number == 0 && is_head {
            bytes.extend_from_slice(event);
        }
    }
    fs::write(directory.path().join(FILES[0]), bytes).unwrap();
    let donor = donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    let (sent, error) = client.dump(&by_gtids(&GtidSet::new()));
    assert_eq!(error.unwrap().kind(), ErrorKind::Purged);
    assert!(sent.iter().all(|event| event[4] != EventType::GTID.0));
}

#[test]
fn what_is_appended_comes_at_once_and_silence_brings_heartbeats() {
    let directory = directory("crc32-minimal");
    let path = directory.path().join(FILES[1]);
    let whole = fs::read(&path).unwrap();
    let list = events(directory.path());
    let second: Vec<_> = list.iter().filter(|(number, ..)| *number == 1).collect();
    // All but the last transactions, and half of the next one.
    let gtids: Vec<usize> = second
        .iter()
        .scan(4, |offset, (_, header, bytes)| {
            let at = *offset;
            *offset += bytes.len();
            Some((at, header.event_type))
        })
        .filter(|(_, event_type)| *event_type == EventType::GTID)
        .map(|(at, _)| at)
        .collect();
    let cut = gtids[gtids.len() / 2];
    fs::write(&path, &whole[..cut + 100]).unwrap();
    let donor = donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    client.execute("SET @source_heartbeat_period = 200000000");
    let flags = DumpFlags {
        non_block: false,
        heartbeat_v2: true,
    };
    let payload = command::binlog_dump_gtid(9, flags, &GtidSet::new(), Encoding::Shortest);
    client.reader.set_sequence(0);
    client.send(&payload);
    let mut last_end = 0;
    let started = Instant::now();
    loop {
        let event = client.receive().unwrap()[1..].to_vec();
        let header = EventHeader::decode(&event).unwrap();
        if header.event_type == EventType::HEARTBEAT_V2 {
            let format = crate::binlog::FormatDescription::new(
                "9.7.4",
                crate::binlog::ChecksumAlgorithm::Crc32,
            )
            .unwrap();
            let event = format.verify(&event).unwrap();
            let heartbeat = HeartbeatEvent::decode(&format, event).unwrap();
            assert_eq!(heartbeat.file, FILES[1].as_bytes());
            assert_eq!(heartbeat.position, last_end);
            assert_eq!(
                heartbeat.position, cut as u64,
                "not a part of a transaction"
            );
            break;
        }
        last_end = u64::from(header.end_log_pos);
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole[cut + 100..]).unwrap();
    let rest: Vec<&[u8]> = second
        .iter()
        .scan(4, |offset, (_, _, bytes)| {
            let at = *offset;
            *offset += bytes.len();
            Some((at, bytes.as_slice()))
        })
        .filter(|(at, _)| *at >= cut)
        .map(|(_, bytes)| bytes)
        .collect();
    // Silence is no longer than what the donor needs to look.
    let mut heartbeats = 0;
    for expected in rest {
        loop {
            let event = &client.receive().unwrap()[1..];
            if event[4] != EventType::HEARTBEAT_V2.0 {
                assert_eq!(event, expected);
                break;
            }
            heartbeats += 1;
        }
    }
    assert!(heartbeats < 10, "{heartbeats} periods of silence");
    // A client that leaves while it waits gives its place back.
    drop(client);
    let gone = Instant::now();
    while donor.status().connections > 0 {
        assert!(gone.elapsed() < Duration::from_secs(100));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(donor.status().dumps.is_empty());
}

#[test]
fn a_second_dump_of_the_same_replica_ends_the_first() {
    let directory = directory("crc32-minimal");
    let donor = donor(directory.path());
    let waiting = command::binlog_dump_gtid(
        9,
        DumpFlags {
            non_block: false,
            heartbeat_v2: true,
        },
        &GtidSet::new(),
        Encoding::Shortest,
    );
    let replica = || {
        let mut client = Client::connect(&donor, "recovery", "secret");
        client.execute(CRC32);
        client.execute("SET @replica_uuid = '3e11fa47-71ca-11e1-9e33-c80aa9429562'");
        client
    };
    let mut old = replica();
    old.reader.set_sequence(0);
    old.send(&waiting);
    assert_eq!(old.receive().unwrap()[0], 0);
    let mut new = replica();
    new.reader.set_sequence(0);
    new.send(&waiting);
    assert_eq!(new.receive().unwrap()[0], 0);
    let error = loop {
        if let Err(error) = dump::parse(old.receive().unwrap()) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    let status = donor.status();
    assert_eq!(status.dumps.len(), 1);
    // Stopping ends whoever waits.
    donor.stop();
    while new.receive().is_some() {}
}

#[test]
fn connections_and_idle_time_are_bounded() {
    let directory = directory("crc32-minimal");
    let donor = donor_with(directory.path(), |options| {
        options.max_connections = 2;
        // Long enough for three to connect, on a busy machine as well.
        options.wait_timeout = Duration::from_secs(3);
        options.connect_timeout = Duration::from_secs(3);
        options.command_bytes = 1000;
    });
    let mut idle = Client::connect(&donor, "recovery", "secret");
    let mut silent = Client::raw(&donor);
    assert_eq!(silent.receive().unwrap()[0], 10);
    let mut third = Client::raw(&donor);
    assert_eq!(number_of(third.receive().unwrap()), 1040);
    assert!(third.receive().is_none());
    // One is silent after the login, the other before it.
    idle.reader.set_sequence(0);
    assert_eq!(number_of(idle.receive().unwrap()), 4031);
    assert!(idle.receive().is_none());
    assert!(silent.receive().is_none());
    let mut large = Client::connect(&donor, "recovery", "secret");
    large.send(&vec![0x03; 2000]);
    assert!(large.receive().is_none());
}

#[test]
fn the_rate_is_kept_and_raised_meanwhile() {
    let directory = directory("none-full");
    let size: u64 = FILES
        .iter()
        .map(|file| fs::metadata(directory.path().join(file)).unwrap().len())
        .sum();
    // Slow enough for half a second at least.
    let donor = donor_with(directory.path(), |options| options.max_rate = Some(size));
    let mut client = Client::connect(&donor, "recovery", "secret");
    let started = Instant::now();
    let (_, error) = client.dump(&by_gtids(&GtidSet::new()));
    assert!(error.is_none());
    assert!(
        started.elapsed() >= Duration::from_millis(300),
        "{:?}",
        started.elapsed()
    );
    // By this rate it would take a day, by none it ends.
    donor.set_max_rate(Some(1));
    donor.set_max_rate(None);
    for _ in 0..3 {
        assert!(client.dump(&by_gtids(&GtidSet::new())).1.is_none());
    }
}

/// A store is written, rotated and purged while a joiner reads from it.
#[test]
fn a_member_serves_its_own_log_while_it_writes_it() {
    let mut options = StoreOptions::default();
    options.journal.sync = false;
    serves_its_own_log(options);
}

#[test]
fn a_member_serves_its_own_log_while_it_writes_ahead() {
    let mut options = StoreOptions::default();
    options.journal.write_ahead_bytes = 900;
    serves_its_own_log(options);
}

fn serves_its_own_log(mut options: StoreOptions) {
    let directory = tempfile::tempdir().unwrap();
    options.journal.segment_bytes = 2000;
    options.journal.keep_bytes = Some(6000);
    let mut store = Store::open_with(directory.path(), options).unwrap();
    let identity = SourceIdentity {
        server_id: 5,
        server_uuid: Uuid([5; 16]),
    };
    let log = MemberLog::new(store.binary_log(), identity);
    let options = DonorOptions::new(vec![Account::new("recovery", b"secret")]);
    let donor = Donor::start("127.0.0.1:0", Arc::new(log), options).unwrap();

    let mut source = Source::new();
    source.statement("CREATE DATABASE d");
    source.statement("CREATE TABLE d.items (id BIGINT PRIMARY KEY, name VARCHAR(255))");
    store.apply(&source.take()).unwrap();
    let endpoint = Endpoint::new("127.0.0.1", donor.local_addr().port());
    let login = ConnectOptions::new("recovery", "secret");
    let limits = Limits::default();
    let connection = Connection::connect(&endpoint, &login, &limits).unwrap();
    let request = DumpRequest::new(9, Uuid([9; 16]), GtidSet::new());
    let mut stream = BinlogStream::open(connection, &request).unwrap();
    let mut assembler = Assembler::new(limits.clone(), stream.initial_checksum());
    let mut received = 0;
    for number in 0..200 {
        source.statement(&format!("CREATE DATABASE d{number}"));
        store.apply(&source.take()).unwrap();
        if number % 50 == 49 {
            store.checkpoint().unwrap();
        }
        // What was applied comes at once, through all rotations.
        while number % 10 == 9 && received < number + 3 {
            assembler
                .push(stream.next_event().unwrap().unwrap())
                .unwrap();
            received = assembler.ready().len() as i32;
        }
    }
    assert_eq!(assembler.ready().gtids(), store.gtid_executed());
    let segments = store.binary_log().segments().unwrap();
    assert!(segments[0] > 1, "the oldest were purged: {segments:?}");
    // Who comes now and has nothing is told so; who has the purged ones is served.
    for (have, served) in [(GtidSet::new(), false), (store.gtid_executed(), true)] {
        let connection = Connection::connect(&endpoint, &login, &limits).unwrap();
        let request = DumpRequest {
            non_blocking: true,
            ..DumpRequest::new(10, Uuid([10; 16]), have)
        };
        let opened = BinlogStream::open(connection, &request);
        match opened {
            Ok(mut stream) => {
                while stream.next_event().unwrap().is_some() {}
                assert!(served);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Purged, "{error}");
                assert!(!served);
            }
        }
    }
}

/// What is written ahead is nothing to a donor in another process.
#[test]
fn a_log_that_is_written_ahead_ends_where_its_transactions_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::default();
    options.journal.write_ahead_bytes = 100_000;
    let mut store = Store::open_with(directory.path(), options).unwrap();
    let mut source = Source::new();
    source.statement("CREATE DATABASE d");
    store.apply(&source.take()).unwrap();
    let file = fs::metadata(directory.path().join(FILES[0])).unwrap();
    assert_eq!(file.len(), 100_000);
    let end = store.log_position().offset;
    let donor = donor(directory.path());
    let mut client = Client::connect(&donor, "recovery", "secret");
    client.execute(CRC32);
    let (events, error) = client.dump(&by_position(FILES[0], 4));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events.last().unwrap()[4], EventType::QUERY.0);
    let (_, error) = client.dump(&by_position(FILES[0], u32::try_from(end).unwrap() + 1));
    assert!(error.unwrap().message().contains("position > file size"));
}

#[test]
fn a_directory_without_logs_is_a_configuration_error() {
    let empty = tempfile::tempdir().unwrap();
    let error = BinlogDirectory::open(empty.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let two = directory("none-full");
    fs::copy(
        two.path().join("binlog.index"),
        two.path().join("other.index"),
    )
    .unwrap();
    let error = BinlogDirectory::open(two.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn hostile_bytes_end_their_own_connection_only(
        logged_in in any::<bool>(),
        packets in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..120)), 1..6),
        raw in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        static DONOR: std::sync::OnceLock<(tempfile::TempDir, Donor)> = std::sync::OnceLock::new();
        let (_, donor) = DONOR.get_or_init(|| {
            let directory = directory("crc32-minimal");
            let donor = donor_with(directory.path(), |options| {
                options.connect_timeout = Duration::from_secs(5);
            });
            (directory, donor)
        });
        let mut client = if logged_in {
            Client::connect(donor, "recovery", "secret")
        } else {
            Client::raw(donor)
        };
        for (number, body) in packets {
            // Mostly commands that are known.
            let number = match number {
                0..=40 => 0x1e,
                41..=80 => 0x12,
                81..=120 => 0x15,
                121..=200 => 0x03,
                other => other,
            };
            let mut payload = vec![number];
            payload.extend_from_slice(&body);
            let mut bytes = Vec::new();
            write_packet(0, &payload, &mut bytes);
            // It may have closed the connection already.
            let _ = client.socket.write_all(&bytes);
        }
        let _ = client.socket.write_all(&raw);
        drop(client);
        let mut other = Client::connect(donor, "recovery", "secret");
        assert_eq!(other.command(b"\x0e")[0], 0);
    }
}
