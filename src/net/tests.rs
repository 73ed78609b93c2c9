//! Connections and streams against scripted servers on loopback.

use std::io::Write;
use std::time::{Duration, Instant};

use super::testing::{ANSWERS, FakeServer, options};
use super::*;
use crate::binlog::ChecksumAlgorithm;
use crate::gtid::{GtidSet, Uuid};
use crate::{Error, ErrorKind, Limits};

fn connect(server: &FakeServer, options: &ConnectOptions) -> Result<Connection, Error> {
    let connected = Connection::connect(&server.endpoint, options, &Limits::default());
    if let Err(error) = &connected {
        assert_eq!(error.donor(), Some(server.endpoint.to_string().as_str()));
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    connected
}

fn request() -> DumpRequest {
    DumpRequest {
        heartbeat_period: Duration::from_secs(2),
        ..DumpRequest::new(17, Uuid([7; 16]), GtidSet::new())
    }
}

fn open(server: &FakeServer) -> Result<BinlogStream, Error> {
    BinlogStream::open(connect(server, &options()).unwrap(), &request())
}

#[test]
fn a_refused_login_names_cause_and_remedy() {
    let server = FakeServer::start(|session| {
        session.greet(false);
        session.receive();
        session.send(b"\xff\x15\x04#28000Access denied for user 'recovery'");
    });
    let error = connect(&server, &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(
        error
            .message()
            .contains("Access denied for user 'recovery'")
    );
    assert!(error.remedy_text().unwrap().contains("password"));
}

#[test]
fn a_server_that_does_not_greet_is_given_up_after_the_connect_timeout() {
    let server = FakeServer::start(|session| session.wait_for_close());
    let options = ConnectOptions {
        connect_timeout: Duration::from_millis(300),
        ..options()
    };
    let start = Instant::now();
    let error = connect(&server, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_greeting_that_drips_does_not_prolong_the_login() {
    let server = FakeServer::start(|session| {
        session.socket.write_all(b"\xc8\0\0\0").unwrap();
        for _ in 0..40 {
            if session.socket.write_all(b"x").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let options = ConnectOptions {
        connect_timeout: Duration::from_millis(300),
        ..options()
    };
    let start = Instant::now();
    let error = connect(&server, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn tls_is_required_and_the_server_has_none() {
    let server = FakeServer::start(|session| session.greet(false));
    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        ..options()
    };
    let error = connect(&server, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.remedy_text().unwrap().contains("ssl-mode"));
}

#[test]
fn a_server_that_breaks_the_tls_handshake_is_a_tls_error() {
    let server = FakeServer::start(|session| {
        session.greet(true);
        session.receive();
        session.socket.write_all(b"this is not TLS at all").unwrap();
        session.wait_for_close();
    });
    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        ..options()
    };
    let error = connect(&server, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
}

#[test]
fn bytes_smuggled_in_before_tls_are_refused() {
    let server = FakeServer::start(|session| {
        session.greet(true);
        session.send(b"\0\0\0\x02\0\0\0");
        session.wait_for_close();
    });
    std::thread::sleep(Duration::from_millis(50));
    let options = ConnectOptions {
        ssl_mode: SslMode::Required,
        ..options()
    };
    let error = connect(&server, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
}

#[test]
fn the_password_is_not_sent_to_a_clear_password_plugin() {
    let server = FakeServer::start(|session| {
        session.greet(false);
        session.receive();
        session.send(b"\xfemysql_clear_password\0");
        let sent = session.receive();
        assert!(sent.is_empty(), "the client answered {sent:?}");
    });
    let error = connect(&server, &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("mysql_clear_password"));
}

#[test]
fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let endpoint = Endpoint::new("localhost", port);
    let error = Connection::connect(&endpoint, &options(), &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    // Every address of the name was tried.
    assert!(error.message().contains(&format!("127.0.0.1:{port}")));
    assert!(error.to_string().contains(&format!("localhost:{port}")));

    let endpoint = Endpoint::new("no-such-host.invalid", 3306);
    let error = Connection::connect(&endpoint, &options(), &Limits::default()).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::Network | ErrorKind::TimedOut
    ));
}

#[test]
fn queries_give_rows_and_refusals_leave_the_session_usable() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        session.receive();
        session.answer("one");
        session.receive();
        session.send(b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist");
        session.receive();
        session.ok();
        assert_eq!(session.receive(), [0x01], "COM_QUIT ends the session");
    });
    let mut connection = connect(&server, &options()).unwrap();
    assert_eq!(connection.server().connection_id, 7);
    let rows = connection.query("SELECT 'one'").unwrap();
    assert_eq!((rows.len(), rows.text(0, 0).unwrap()), (1, "one"));
    let error = connection.query("SELECT * FROM a.b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().starts_with("SELECT * FROM a.b was refused"));
    connection.execute("DO 1").unwrap();
}

#[test]
fn a_donor_that_falls_silent_is_given_up_after_the_read_timeout() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        session.receive();
        session.wait_for_close();
    });
    let options = ConnectOptions {
        read_timeout: Duration::from_millis(200),
        ..options()
    };
    let mut connection = connect(&server, &options).unwrap();
    let error = connection.query("SELECT 1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let error = connection.query("SELECT 1").unwrap_err();
    assert!(error.message().contains("broken by an earlier error"));
}

#[test]
fn the_stream_is_opened_as_a_replica_opens_it() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        let asked = session.accept_replica(ANSWERS);
        let expected = [
            "SELECT UNIX_TIMESTAMP()",
            "SELECT @@GLOBAL.SERVER_ID",
            "SET @master_heartbeat_period = 2000000000, @source_heartbeat_period = 2000000000",
            "SET @master_binlog_checksum = @@global.binlog_checksum, \
             @source_binlog_checksum = @@global.binlog_checksum",
            "SELECT @source_binlog_checksum",
            "SELECT @@GLOBAL.GTID_MODE",
            "SELECT @@GLOBAL.SERVER_UUID",
            "SET @slave_uuid = '07070707-0707-0707-0707-070707070707', \
             @replica_uuid = '07070707-0707-0707-0707-070707070707'",
            "SELECT @@GLOBAL.GTID_PURGED",
            "SET SESSION lc_messages = 'en_US', SESSION net_write_timeout = 3600",
            "command 15",
        ];
        assert_eq!(asked[..expected.len()], expected);
        assert!(asked[expected.len()].starts_with("[1e, 02, 00, 11, 00, 00, 00, "));
        session.send(b"\0first event");
        session.send(b"\0second event");
        session.send(b"\xfe\0\0\x02\0");
    });
    let mut stream = open(&server).unwrap();
    assert_eq!(stream.initial_checksum(), ChecksumAlgorithm::Crc32);
    assert_eq!(stream.source_uuid(), Uuid([0xaa; 16]));
    assert_eq!(stream.next_event().unwrap(), Some(&b"first event"[..]));
    assert_eq!(stream.next_event().unwrap(), Some(&b"second event"[..]));
    assert_eq!(stream.next_event().unwrap(), None);
    assert_eq!(stream.next_event().unwrap(), None);
}

#[test]
fn errors_in_the_stream_are_classified_and_name_the_donor() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        session.accept_replica(ANSWERS);
        session.send(b"\0event");
        session.send(
            b"\xff\xd4\x04#HY000Cannot replicate because the source purged required binary logs.",
        );
    });
    let mut stream = open(&server).unwrap();
    assert!(stream.next_event().unwrap().is_some());
    let error = stream.next_event().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Purged);
    assert_eq!(error.donor(), Some(server.endpoint.to_string().as_str()));
}

#[test]
fn a_donor_that_goes_away_is_a_network_error() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        session.accept_replica(ANSWERS);
        // Half a packet.
        session.socket.write_all(b"\x09\0\0\x01\0ev").unwrap();
    });
    let error = open(&server).unwrap().next_event().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.is_donor_fault());
}

#[test]
fn donors_that_cannot_serve_are_refused_before_the_dump() {
    for (answer, kind) in [
        (("SERVER_ID", "17"), ErrorKind::Configuration),
        (("GTID_MODE", "ON_PERMISSIVE"), ErrorKind::Refused),
        (
            ("SERVER_UUID", "07070707-0707-0707-0707-070707070707"),
            ErrorKind::Configuration,
        ),
        (
            ("SELECT @source_binlog_checksum", "SHA"),
            ErrorKind::Unsupported,
        ),
        (
            ("GTID_PURGED", "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1-5"),
            ErrorKind::Purged,
        ),
    ] {
        let server = FakeServer::start(move |session| {
            session.accept_login();
            let mut answers = vec![answer];
            answers.extend_from_slice(ANSWERS);
            let asked = session.accept_replica(&answers);
            assert!(!asked.iter().any(|command| command.starts_with('[')));
        });
        assert_eq!(open(&server).unwrap_err().kind(), kind, "{answer:?}");
    }
}

#[test]
fn an_older_donor_gets_no_heartbeats_when_none_are_wanted_and_a_bad_period_is_refused() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        let asked = session.accept_replica(ANSWERS);
        assert!(!asked.iter().any(|text| text.contains("heartbeat_period")));
    });
    let mut connection = connect(&server, &options()).unwrap();
    connection.execute("DO 0").unwrap();
    let request = DumpRequest {
        heartbeat_period: Duration::ZERO,
        ..request()
    };
    drop(BinlogStream::open(connection, &request).unwrap());
    drop(server);

    let server = FakeServer::start(|session| {
        session.accept_login();
        session.wait_for_close();
    });
    let request = DumpRequest {
        heartbeat_period: Duration::from_secs(5),
        ..request
    };
    let connection = connect(&server, &options()).unwrap();
    let error = BinlogStream::open(connection, &request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn has_buffered_event_tells_whether_the_next_one_is_here() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let server = FakeServer::start(move |session| {
        session.accept_login();
        session.accept_replica(ANSWERS);
        let mut bytes = Vec::new();
        let next = crate::wire::packet::write_packet(1, b"\0one", &mut bytes);
        let next = crate::wire::packet::write_packet(next, b"\0two", &mut bytes);
        bytes.extend_from_slice(b"\x06\0\0");
        session.socket.write_all(&bytes).unwrap();
        wait.recv().unwrap();
        let mut rest = vec![next];
        rest.extend_from_slice(b"\0three");
        session.socket.write_all(&rest).unwrap();
    });
    let mut stream = open(&server).unwrap();
    assert_eq!(stream.next_event().unwrap(), Some(&b"one"[..]));
    assert!(stream.has_buffered_event());
    assert_eq!(stream.next_event().unwrap(), Some(&b"two"[..]));
    assert!(!stream.has_buffered_event());
    go_on.send(()).unwrap();
    assert_eq!(stream.next_event().unwrap(), Some(&b"three"[..]));
}

#[test]
fn one_closer_ends_several_connections_and_refuses_more() {
    let script = |session: &mut super::testing::FakeSession| {
        session.accept_login();
        session.wait_for_close();
    };
    let servers = [FakeServer::start(script), FakeServer::start(script)];
    let closer = Closer::new();
    let connect = |server: &FakeServer| {
        Connection::connect_with(&server.endpoint, &options(), &Limits::default(), &closer)
    };
    let first = connect(&servers[0]).unwrap();
    let mut second = connect(&servers[1]).unwrap();
    drop(first);
    closes_promptly(closer.clone(), || second.query("SELECT 1").unwrap_err());
    let error = connect(&servers[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_server_not_logged_in_to_cannot_fill_our_memory() {
    let server = FakeServer::start(|session| {
        session.socket.write_all(b"\xff\xff\xff\0").unwrap();
        session.wait_for_close();
    });
    let error = connect(&server, &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

/// Runs `blocked` while another thread closes after a moment; it must end at once.
fn closes_promptly(closer: Closer, blocked: impl FnOnce() -> Error) {
    let handle = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        closer.close();
        Instant::now()
    });
    let error = blocked();
    let ended = Instant::now();
    let closed = handle.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert!(ended.saturating_duration_since(closed) < Duration::from_secs(1));
}

#[test]
fn a_closer_wakes_a_thread_that_reads() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        session.accept_replica(ANSWERS);
        session.wait_for_close();
    });
    let mut stream = open(&server).unwrap();
    closes_promptly(stream.closer(), || stream.next_event().unwrap_err());
}

#[test]
fn a_closer_wakes_a_thread_that_logs_in() {
    let server = FakeServer::start(|session| session.wait_for_close());
    let closer = Closer::new();
    closes_promptly(closer.clone(), || {
        Connection::connect_with(&server.endpoint, &options(), &Limits::default(), &closer)
            .unwrap_err()
    });
}

#[test]
fn a_closer_that_outlives_its_connection_does_not_keep_it_open() {
    let server = FakeServer::start(|session| {
        session.accept_login();
        // Ends by the close of the client, not by the timeout.
        let start = Instant::now();
        session.wait_for_close();
        assert!(start.elapsed() < Duration::from_secs(5));
    });
    let closer = connect(&server, &options()).unwrap().closer();
    drop(server);
    closer.close();
}
