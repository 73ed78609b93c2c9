//! Logins, TLS modes and the recovery channel against real servers.

use std::time::{Duration, Instant};

use rejoin::binlog::{ChecksumAlgorithm, EventHeader, EventType, FormatDescription};
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{
    BinlogStream, Closer, Compression, ConnectOptions, Connection, DumpRequest, Endpoint, SslMode,
    TlsVersions,
};
use rejoin::{Error, ErrorKind, Limits};

use crate::support::Scenario;
use crate::support::server::{RECOVERY_PASSWORD, RECOVERY_USER, Server, wait_until};

pub const SCENARIOS: &[Scenario] = &[
    (
        "connection::every_way_to_log_in_works_or_says_why_not",
        every_way_to_log_in_works_or_says_why_not,
    ),
    (
        "connection::ssl_modes_trust_what_they_should",
        ssl_modes_trust_what_they_should,
    ),
    (
        "connection::servers_without_tls_and_with_tls_1_2_only",
        servers_without_tls_and_with_tls_1_2_only,
    ),
    (
        "connection::the_stream_is_the_binary_log_byte_for_byte",
        the_stream_is_the_binary_log_byte_for_byte,
    ),
    (
        "connection::compressed_streams_hold_the_same_bytes",
        compressed_streams_hold_the_same_bytes,
    ),
    (
        "connection::streams_end_with_a_reason",
        streams_end_with_a_reason,
    ),
];

fn options(user: &str, password: &str, ssl_mode: SslMode) -> ConnectOptions {
    ConnectOptions {
        ssl_mode,
        connect_timeout: Duration::from_secs(20),
        ..ConnectOptions::new(user, password)
    }
}

fn connect(server: &Server, options: &ConnectOptions) -> Result<Connection, Error> {
    let endpoint = Endpoint::new("127.0.0.1", server.port);
    let connection = Connection::connect(&endpoint, options, &Limits::default());
    if let Err(error) = &connection {
        assert_eq!(error.donor(), Some(endpoint.to_string().as_str()));
    }
    connection
}

/// Logs in and asks who we are.
#[track_caller]
fn works(server: &Server, options: &ConnectOptions) -> Connection {
    let mut connection = connect(server, options)
        .unwrap_or_else(|error| panic!("{error}; {:?}", error.remedy_text()));
    let rows = connection.query("SELECT CURRENT_USER()").unwrap();
    let user = rows.text(0, 0).unwrap();
    assert!(user.starts_with(&format!("{}@", options.user)), "{user}");
    connection
}

#[track_caller]
fn fails(server: &Server, options: &ConnectOptions, kind: ErrorKind) -> Error {
    let error = connect(server, options).expect_err("it must not connect");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

fn every_way_to_log_in_works_or_says_why_not() {
    let server = Server::standalone(&[]);
    let long = "x".repeat(230);
    server.sql(&format!(
        "CREATE USER cached IDENTIFIED BY 'c-1';
         CREATE USER fetched IDENTIFIED BY 'f-2';
         CREATE USER given IDENTIFIED BY 'g-3';
         CREATE USER old IDENTIFIED WITH sha256_password BY 'o-4';
         CREATE USER bare IDENTIFIED BY '';
         CREATE USER bare_old IDENTIFIED WITH sha256_password BY '';
         CREATE USER long_one IDENTIFIED BY '{long}';
         CREATE USER locked IDENTIFIED BY 'l-5' ACCOUNT LOCK;
         CREATE USER expired IDENTIFIED BY 'e-6' PASSWORD EXPIRE;
         CREATE USER elsewhere@'192.0.2.1' IDENTIFIED BY 'w-7';"
    ));
    let plain = |user, password| options(user, password, SslMode::Disabled);
    let encrypted = |user, password| options(user, password, SslMode::Required);

    // Nothing cached yet, no TLS, no key: the password must stay here.
    let error = fails(&server, &plain("cached", "c-1"), ErrorKind::Authentication);
    assert!(error.remedy_text().unwrap().contains("server-public-key"));
    // Full login inside TLS, then the fast path, with and without TLS.
    assert!(works(&server, &encrypted("cached", "c-1")).is_encrypted());
    assert!(works(&server, &encrypted("cached", "c-1")).is_encrypted());
    assert!(!works(&server, &plain("cached", "c-1")).is_encrypted());

    // RSA with the key that the server sends, and with that of a file.
    let fetching = |user, password| ConnectOptions {
        get_server_public_key: true,
        ..plain(user, password)
    };
    let given = |user, password| ConnectOptions {
        server_public_key_path: Some(server.data().join("public_key.pem")),
        ..plain(user, password)
    };
    works(&server, &fetching("fetched", "f-2"));
    works(&server, &given("given", "g-3"));
    let error = fails(
        &server,
        &fetching("long_one", &long),
        ErrorKind::Authentication,
    );
    assert!(error.message().contains("too short"), "{error}");
    works(&server, &encrypted("long_one", &long));

    fails(&server, &plain("old", "o-4"), ErrorKind::Authentication);
    works(&server, &encrypted("old", "o-4"));
    works(&server, &fetching("old", "o-4"));
    works(&server, &given("old", "o-4"));
    for user in ["bare", "bare_old"] {
        works(&server, &plain(user, ""));
        works(&server, &encrypted(user, ""));
    }

    for options in [
        encrypted("cached", "wrong"),
        plain("cached", "wrong"),
        fetching("fetched", "wrong"),
        encrypted("old", "wrong"),
        fetching("old", "wrong"),
        encrypted("bare", "wrong"),
        encrypted("cached", ""),
        encrypted("nobody", "x"),
        encrypted("locked", "l-5"),
        encrypted("elsewhere", "w-7"),
    ] {
        let error = connect(&server, &options);
        let error = error.expect_err(&format!("{options:?}"));
        // A wrong password ends the fast path; a full login that is not allowed is refused here.
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        assert!(error.remedy_text().is_some());
    }
    // Such an account may log in, and do nothing.
    let error = connect(&server, &encrypted("expired", "e-6"))
        .and_then(|mut connection| connection.query("SELECT 1"))
        .expect_err("the password has expired");
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");

    let error = fails(
        &server,
        &ConnectOptions {
            server_public_key_path: Some("/nowhere".into()),
            ..plain("given", "g-3")
        },
        ErrorKind::Configuration,
    );
    assert!(error.message().contains("/nowhere"));
}

fn ssl_modes_trust_what_they_should() {
    let server = Server::standalone(&["--require-secure-transport=ON"]);
    server.sql(
        "CREATE USER certified IDENTIFIED BY 'x-1' REQUIRE X509;
         CREATE USER plain IDENTIFIED BY 'p-2';",
    );
    let mode = |mode| options("plain", "p-2", mode);
    for mode in [mode(SslMode::Preferred), mode(SslMode::Required)] {
        assert!(works(&server, &mode).is_encrypted());
    }
    let error = fails(&server, &mode(SslMode::Disabled), ErrorKind::Tls);
    assert!(error.remedy_text().unwrap().contains("REQUIRED"));

    let with_ca = |mode, file: &str| ConnectOptions {
        ssl_ca: Some(server.data().join(file)),
        ..options("plain", "p-2", mode)
    };
    works(&server, &with_ca(SslMode::VerifyCa, "ca.pem"));
    let error = fails(
        &server,
        &with_ca(SslMode::VerifyCa, "client-cert.pem"),
        ErrorKind::Tls,
    );
    assert!(error.message().contains("not signed by ssl-ca"), "{error}");
    let error = fails(
        &server,
        &with_ca(SslMode::VerifyIdentity, "ca.pem"),
        ErrorKind::Tls,
    );
    assert!(error.message().contains("subjectAltName"), "{error}");
    assert!(error.remedy_text().unwrap().contains("VERIFY_CA"));
    fails(
        &server,
        &with_ca(SslMode::VerifyCa, "missing.pem"),
        ErrorKind::Configuration,
    );
    fails(
        &server,
        &with_ca(SslMode::VerifyCa, "server-key.pem"),
        ErrorKind::Configuration,
    );
    fails(&server, &mode(SslMode::VerifyCa), ErrorKind::Configuration);

    let certified = options("certified", "x-1", SslMode::Required);
    fails(&server, &certified, ErrorKind::Authentication);
    let with_certificate = ConnectOptions {
        ssl_cert: Some(server.data().join("client-cert.pem")),
        ssl_key: Some(server.data().join("client-key.pem")),
        ..certified
    };
    works(&server, &with_certificate);
    let half = ConnectOptions {
        ssl_key: None,
        ..with_certificate
    };
    fails(&server, &half, ErrorKind::Configuration);
}

fn servers_without_tls_and_with_tls_1_2_only() {
    let recovery = |mode| options(RECOVERY_USER, RECOVERY_PASSWORD, mode);
    let server = Server::standalone(&["--tls-version="]);
    let error = fails(&server, &recovery(SslMode::Required), ErrorKind::Tls);
    assert!(error.message().contains("does not offer TLS"), "{error}");
    let preferred = ConnectOptions {
        get_server_public_key: true,
        ..recovery(SslMode::Preferred)
    };
    assert!(!works(&server, &preferred).is_encrypted());
    drop(server);

    let server = Server::standalone(&["--tls-version=TLSv1.2"]);
    assert!(works(&server, &recovery(SslMode::Required)).is_encrypted());
    let with_ca = ConnectOptions {
        ssl_ca: Some(server.data().join("ca.pem")),
        ..recovery(SslMode::VerifyCa)
    };
    works(&server, &with_ca);
    // As group_replication_recovery_tls_version.
    let only = |tls_versions| ConnectOptions {
        tls_versions,
        ..recovery(SslMode::Required)
    };
    works(&server, &only(TlsVersions::Only12));
    fails(&server, &only(TlsVersions::Only13), ErrorKind::Tls);
}

fn request(gtid_set: GtidSet) -> DumpRequest {
    DumpRequest::new(4_000_000_000, Uuid([0x77; 16]), gtid_set)
}

fn recovery(ssl_mode: SslMode) -> ConnectOptions {
    ConnectOptions {
        get_server_public_key: true,
        ..options(RECOVERY_USER, RECOVERY_PASSWORD, ssl_mode)
    }
}

fn open(server: &Server, options: &ConnectOptions, request: &DumpRequest) -> BinlogStream {
    let connection = connect(server, options).unwrap();
    BinlogStream::open(connection, request).unwrap()
}

/// Reads to the end of a non-blocking stream; gives the events that are in the files, as bytes.
fn read_all(mut stream: BinlogStream) -> Vec<u8> {
    let mut checksum = stream.initial_checksum();
    let mut bytes = Vec::new();
    while let Some(event) = stream.next_event().unwrap() {
        let header = EventHeader::decode(event).unwrap();
        if header.event_type == EventType::FORMAT_DESCRIPTION {
            let format = FormatDescription::decode(event).unwrap();
            format.verify(event).unwrap();
            checksum = format.checksum();
        } else {
            checksum.verify(event).unwrap();
        }
        let made_up = header.has(EventHeader::ARTIFICIAL) || header.end_log_pos == 0;
        let heartbeat = matches!(
            header.event_type,
            EventType::HEARTBEAT | EventType::HEARTBEAT_V2
        );
        if !made_up && !heartbeat {
            bytes.extend_from_slice(event);
        }
    }
    bytes
}

/// The binary log files without their magic numbers; the first ended before the first transaction,
/// and a donor begins with the last file that holds nothing we have.
fn files(server: &Server) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in &server.binary_logs()[1..] {
        bytes.extend_from_slice(&std::fs::read(file).unwrap()[4..]);
    }
    bytes
}

fn the_stream_is_the_binary_log_byte_for_byte() {
    let server = Server::standalone(&["--max-allowed-packet=128M"]);
    // A row event of 33 MB takes two packets.
    server.sql(
        "CREATE DATABASE d;
         CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB);
         INSERT INTO d.t (b) VALUES ('small');
         INSERT INTO d.t (b) VALUES (REPEAT('a', 33000000));
         FLUSH BINARY LOGS;
         INSERT INTO d.t (b) VALUES (REPEAT('b', 64)), (REPEAT('c', 70000));
         SET binlog_transaction_compression = ON;
         INSERT INTO d.t (b) VALUES (REPEAT('d', 1000000));",
    );
    // Around 2^24 - 1 bytes with the packet's first byte, at which an empty packet follows.
    for length in [16_777_169, 16_777_170, 16_777_171] {
        server.sql(&format!(
            "INSERT INTO d.t (b) VALUES (REPEAT('e', {length}))"
        ));
    }
    server.sql("SET GLOBAL binlog_checksum = NONE; INSERT INTO d.t (b) VALUES ('unchecked')");
    let expected = files(&server);
    let lengths = event_lengths(&expected);
    assert!(
        [0xff_fffd, 0xff_fffe, 0xff_ffff]
            .iter()
            .all(|length| lengths.contains(length))
    );
    for ssl_mode in [SslMode::Disabled, SslMode::Required] {
        let request = DumpRequest {
            non_blocking: true,
            ..request(GtidSet::new())
        };
        let received = read_all(open(&server, &recovery(ssl_mode), &request));
        assert_eq!(received.len(), expected.len(), "{ssl_mode}");
        assert!(in_use_cleared(received) == in_use_cleared(expected.clone()));
    }

    // Nothing is sent twice: only what is missing, and here that is nothing.
    let executed: GtidSet = server.executed().parse().unwrap();
    let request = DumpRequest {
        non_blocking: true,
        ..request(executed)
    };
    let mut stream = open(&server, &recovery(SslMode::Disabled), &request);
    assert_eq!(stream.initial_checksum(), ChecksumAlgorithm::None);
    while let Some(event) = stream.next_event().unwrap() {
        let event_type = EventHeader::decode(event).unwrap().event_type;
        assert_ne!(event_type, EventType::GTID);
    }
}

fn compressed_streams_hold_the_same_bytes() {
    let server = Server::standalone(&["--max-allowed-packet=128M"]);
    // Larger than a frame, many in one frame, and what cannot be compressed.
    server.sql(
        "CREATE DATABASE d;
         CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB);
         INSERT INTO d.t (b) VALUES (REPEAT('a', 33000000));
         INSERT INTO d.t (b) VALUES (RANDOM_BYTES(1000));",
    );
    server.sql(&"INSERT INTO d.t (b) VALUES ('small');".repeat(500));
    let expected = files(&server);
    let algorithms = [
        Compression::Zlib,
        Compression::Zstd { level: 1 },
        Compression::Zstd { level: 22 },
    ];
    for compression in algorithms {
        for ssl_mode in [SslMode::Disabled, SslMode::Required] {
            let options = ConnectOptions {
                compression,
                ..recovery(ssl_mode)
            };
            let mut connection = works(&server, &options);
            let status = connection
                .query("SHOW SESSION STATUS LIKE 'Compression%'")
                .unwrap();
            let status: Vec<_> = (0..status.len())
                .map(|row| status.text(row, 1).unwrap().to_owned())
                .collect();
            assert_eq!(&status[..2], ["ON", compression.name()], "{status:?}");
            if let Compression::Zstd { level } = compression {
                assert_eq!(status[2], level.to_string());
            }
            let request = DumpRequest {
                non_blocking: true,
                ..request(GtidSet::new())
            };
            let stream = open(&server, &options, &request);
            let received = read_all(stream);
            assert_eq!(received.len(), expected.len(), "{compression:?} {ssl_mode}");
            assert!(in_use_cleared(received) == in_use_cleared(expected.clone()));
        }
    }
    server.sql("SET GLOBAL protocol_compression_algorithms = 'zlib,uncompressed'");
    let zstd = ConnectOptions {
        compression: Compression::Zstd { level: 3 },
        ..recovery(SslMode::Required)
    };
    let error = fails(&server, &zstd, ErrorKind::Unsupported);
    assert!(
        error
            .remedy_text()
            .unwrap()
            .contains("protocol_compression_algorithms")
    );
}

fn event_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let length = EventHeader::decode(bytes).unwrap().length as usize;
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

/// The flag of the file that is being written is not sent; all else is.
fn in_use_cleared(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at < bytes.len() {
        let header = EventHeader::decode(&bytes[at..]).unwrap();
        if header.event_type == EventType::FORMAT_DESCRIPTION {
            bytes[at + 17] &= !1;
        }
        at += header.length as usize;
    }
    bytes
}

fn streams_end_with_a_reason() {
    // Its messages are German but where a session asks for English ones.
    let server = Server::standalone(&["--lc-messages=de_DE"]);
    server.sql(
        "CREATE USER reader IDENTIFIED BY 'r-1';
         CREATE DATABASE d;",
    );

    // No REPLICATION SLAVE.
    let connection = connect(&server, &options("reader", "r-1", SslMode::Required)).unwrap();
    let error = BinlogStream::open(connection, &request(GtidSet::new()))
        .and_then(|mut stream| stream.next_event().map(|_| ()))
        .expect_err("reader may not");
    assert_eq!(error.kind(), ErrorKind::Privilege, "{error}");
    assert!(error.donor().is_some());

    // Heartbeats keep a silent stream alive, and a closer ends it, under TLS too.
    for ssl_mode in [SslMode::Disabled, SslMode::Required] {
        let with_heartbeats = DumpRequest {
            heartbeat_period: Duration::from_millis(200),
            ..request(GtidSet::new())
        };
        let quick = ConnectOptions {
            read_timeout: Duration::from_secs(2),
            ..recovery(ssl_mode)
        };
        let mut stream = open(&server, &quick, &with_heartbeats);
        let mut heartbeats = 0;
        while heartbeats < 3 {
            let event = stream.next_event().unwrap().expect("it goes on");
            let event_type = EventHeader::decode(event).unwrap().event_type;
            heartbeats += usize::from(event_type == EventType::HEARTBEAT_V2);
        }
        let closer = stream.closer();
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            closer.close();
            Instant::now()
        });
        let error = drain(&mut stream);
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        assert!(closing.join().unwrap().elapsed() < Duration::from_secs(1));
    }

    // The administrator kills the dump: an EOF packet; the session: the end of the connection.
    for (kill, ended) in [("KILL QUERY", None), ("KILL", Some(ErrorKind::Network))] {
        let mut stream = open(
            &server,
            &recovery(SslMode::Required),
            &request(GtidSet::new()),
        );
        assert!(stream.next_event().unwrap().is_some());
        let id = dump_thread(&server);
        server.sql(&format!("{kill} {id}"));
        let end = loop {
            match stream.next_event() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(end, ended, "{kill}");
    }

    // A second replica with our UUID takes the stream over.
    let mut first = open(
        &server,
        &recovery(SslMode::Required),
        &request(GtidSet::new()),
    );
    assert!(first.next_event().unwrap().is_some());
    let second = open(
        &server,
        &recovery(SslMode::Required),
        &request(GtidSet::new()),
    );
    let error = drain(&mut first);
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    drop(second);

    // A machine that hangs.
    let quick = ConnectOptions {
        read_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..recovery(SslMode::Required)
    };
    let with_heartbeats = DumpRequest {
        heartbeat_period: Duration::from_millis(300),
        ..request(GtidSet::new())
    };
    let mut stream = open(&server, &quick, &with_heartbeats);
    server.stop_process();
    assert_eq!(drain(&mut stream).kind(), ErrorKind::TimedOut);
    assert_eq!(
        connect(&server, &quick).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    let endpoint = Endpoint::new("127.0.0.1", server.port);
    let closer = Closer::new();
    closer.close();
    let error = Connection::connect_with(&endpoint, &quick, &Limits::default(), &closer);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Interrupted);
    server.cont();

    // Our identity is the donor's.
    let uuid: Uuid = server.uuid().parse().unwrap();
    for request in [
        DumpRequest::new(u32::from(server.port), Uuid([0x77; 16]), GtidSet::new()),
        DumpRequest::new(5, uuid, GtidSet::new()),
    ] {
        let connection = connect(&server, &recovery(SslMode::Required)).unwrap();
        let error = BinlogStream::open(connection, &request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }

    // Purged: by our own look, and, for what the donor alone can know, by its text.
    server.sql("FLUSH BINARY LOGS; CREATE DATABASE e; FLUSH BINARY LOGS");
    let newest = server.binary_logs().pop().unwrap();
    let newest = newest.file_name().unwrap().to_str().unwrap();
    server.sql(&format!("PURGE BINARY LOGS TO '{newest}'"));
    let connection = connect(&server, &recovery(SslMode::Required)).unwrap();
    let error = BinlogStream::open(connection, &request(GtidSet::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Purged, "{error}");
    assert!(error.message().contains(&server.uuid()), "{error}");

    // We hold a transaction of the donor's own that it does not have.
    let ahead = format!("{}:1-99", server.uuid()).parse().unwrap();
    let mut stream = open(&server, &recovery(SslMode::Required), &request(ahead));
    let error = drain(&mut stream);
    assert_eq!(error.kind(), ErrorKind::Ahead, "{error}");

    let gone = connect(&server, &recovery(SslMode::Required)).unwrap();
    server.kill();
    let mut gone = gone;
    assert_eq!(
        gone.query("SELECT 1").unwrap_err().kind(),
        ErrorKind::Network
    );
}

/// Reads until the stream fails.
fn drain(stream: &mut BinlogStream) -> Error {
    loop {
        match stream.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(error) => return error,
        }
    }
}

/// The id of the thread that serves our stream.
fn dump_thread(server: &Server) -> String {
    let mut id = String::new();
    wait_until("the dump thread shows", Duration::from_secs(20), || {
        id = server.sql(
            "SELECT PROCESSLIST_ID FROM performance_schema.threads
             WHERE PROCESSLIST_COMMAND = 'Binlog Dump GTID' ORDER BY 1 DESC LIMIT 1",
        );
        !id.is_empty()
    });
    id
}
