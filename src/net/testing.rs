//! A server of a few lines on loopback, for the tests of this room.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ConnectOptions, Endpoint, SslMode};
use crate::wire::packet::write_packet;

/// One scripted server; dropping it waits for its script.
pub(super) struct FakeServer {
    pub(super) endpoint: Endpoint,
    script: Option<JoinHandle<()>>,
}

/// The server's side of one connection.
pub(super) struct FakeSession {
    pub(super) socket: TcpStream,
    sequence: u8,
}

impl FakeServer {
    /// Accepts one connection and runs `script` on it.
    pub(super) fn start(script: impl FnOnce(&mut FakeSession) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            script(&mut FakeSession {
                socket,
                sequence: 0,
            });
        });
        Self {
            endpoint: Endpoint::new("127.0.0.1", port),
            script: Some(script),
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let ended = self.script.take().unwrap().join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the script failed"
        );
    }
}

impl FakeSession {
    pub(super) fn send(&mut self, payload: &[u8]) {
        let mut bytes = Vec::new();
        self.sequence = write_packet(self.sequence, payload, &mut bytes);
        // The client may have gone: then its own error is what the test looks at.
        let _ = self.socket.write_all(&bytes);
    }

    pub(super) fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        if self.socket.read_exact(&mut header).is_err() {
            return Vec::new();
        }
        self.sequence = header[3].wrapping_add(1);
        let mut payload =
            vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        self.socket.read_exact(&mut payload).unwrap();
        payload
    }

    /// Waits until the client closes its side.
    pub(super) fn wait_for_close(&mut self) {
        let mut byte = [0];
        while matches!(self.socket.read(&mut byte), Ok(1)) {}
    }

    pub(super) fn greet(&mut self, tls: bool) {
        let capabilities: u32 = if tls { 0xdfff_ffff } else { 0xdfff_f7ff };
        let mut packet = b"\x0a9.7.4\0\x07\0\0\x0012345678\0".to_vec();
        packet.extend_from_slice(&(capabilities as u16).to_le_bytes());
        packet.extend_from_slice(b"\xff\x02\0");
        packet.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
        packet.extend_from_slice(b"\x15\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0caching_sha2_password\0");
        self.send(&packet);
    }

    pub(super) fn ok(&mut self) {
        self.send(b"\0\0\0\x02\0\0\0");
    }

    /// Greets and accepts whatever account.
    pub(super) fn accept_login(&mut self) {
        self.greet(false);
        self.receive();
        self.send(b"\x01\x03");
        self.ok();
    }

    /// Answers a query with one value.
    pub(super) fn answer(&mut self, value: &str) {
        self.send(b"\x01");
        self.send(b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0");
        self.send(b"\xfe\0\0\x02\0");
        let mut row = vec![value.len() as u8];
        row.extend_from_slice(value.as_bytes());
        self.send(&row);
        self.send(b"\xfe\0\0\x02\0");
    }

    /// Answers what a replica asks, up to its dump command; gives all that was asked.
    pub(super) fn accept_replica(&mut self, answers: &[(&str, &str)]) -> Vec<String> {
        let mut asked = Vec::new();
        loop {
            let command = self.receive();
            let text = String::from_utf8_lossy(command.get(1..).unwrap_or_default()).into_owned();
            match command.first() {
                None | Some(0x01) => return asked,
                Some(0x03) => match answers.iter().find(|(part, _)| text.contains(part)) {
                    Some((_, value)) => self.answer(value),
                    None => self.ok(),
                },
                Some(0x15) => self.ok(),
                Some(_) => {
                    asked.push(format!("{:02x?}", command));
                    return asked;
                }
            }
            asked.push(match command[0] {
                0x03 => text,
                other => format!("command {other:02x}"),
            });
        }
    }
}

/// What a donor of 9.7 answers.
pub(super) const ANSWERS: &[(&str, &str)] = &[
    ("UNIX_TIMESTAMP", "1"),
    ("SERVER_ID", "9"),
    ("SELECT @source_binlog_checksum", "CRC32"),
    ("GTID_MODE", "ON"),
    ("SERVER_UUID", "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"),
    ("GTID_PURGED", ""),
];

/// Short times, no TLS.
pub(super) fn options() -> ConnectOptions {
    ConnectOptions {
        ssl_mode: SslMode::Disabled,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(5),
        ..ConnectOptions::new("recovery", "secret")
    }
}
