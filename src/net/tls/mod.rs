//! TLS over a socket, by rustls with ring; the only folder that knows rustls.
//!
//! ```text
//! socket -> raw (one large read) -> rustls (decrypts records) -> the caller's buffer
//! ```
//!
//! rustls would read the socket 4 KiB at a time; it reads from `raw` instead.
//!
//! - `client`: which certificates of a server pass;
//! - `server`: the certificate that we show to clients.

mod client;
mod server;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConnection, Connection, ServerConnection};

use super::ConnectOptions;
use crate::{Error, ErrorKind, Result};

pub use server::ServerTls;

/// Bytes read from a server's socket at a time: many records of up to 16 KiB.
const RAW_BYTES: usize = 256 << 10;
/// The same of a client's, which sends small commands.
const SERVER_RAW_BYTES: usize = 8 << 10;

/// An encrypted session; the socket stays the caller's.
pub(super) struct TlsSession {
    connection: Connection,
    raw: Box<[u8]>,
    start: usize,
    end: usize,
}

impl TlsSession {
    /// Makes the handshake with a server on `socket`. Timeouts are the socket's.
    pub(super) fn handshake(
        host: &str,
        options: &ConnectOptions,
        socket: &mut TcpStream,
        before_read: impl FnMut(&TcpStream) -> Result<()>,
    ) -> Result<Self, HandshakeError> {
        let config = client::config(options).map_err(HandshakeError::Other)?;
        let name = client::server_name(host, options.ssl_mode).map_err(HandshakeError::Other)?;
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(HandshakeError::Tls)?;
        Self::complete(
            connection.into(),
            vec![0; RAW_BYTES],
            0,
            socket,
            before_read,
        )
    }

    /// Makes the handshake with a client on `socket`, of which `received` was read already. Timeouts
    /// are the socket's.
    pub(super) fn accept(
        tls: &ServerTls,
        received: &[u8],
        socket: &mut TcpStream,
        before_read: impl FnMut(&TcpStream) -> Result<()>,
    ) -> Result<Self, HandshakeError> {
        let connection = ServerConnection::new(tls.config()).map_err(HandshakeError::Tls)?;
        let mut raw = received.to_vec();
        raw.resize(SERVER_RAW_BYTES.max(received.len()), 0);
        Self::complete(connection.into(), raw, received.len(), socket, before_read)
    }

    fn complete(
        connection: Connection,
        raw: Vec<u8>,
        end: usize,
        socket: &mut TcpStream,
        mut before_read: impl FnMut(&TcpStream) -> Result<()>,
    ) -> Result<Self, HandshakeError> {
        let mut session = Self {
            connection,
            raw: raw.into_boxed_slice(),
            start: 0,
            end,
        };
        while session.connection.is_handshaking() {
            session.flush(socket).map_err(HandshakeError::Io)?;
            if !session.connection.is_handshaking() {
                break;
            }
            if session.start == session.end {
                before_read(socket).map_err(HandshakeError::Other)?;
                if session.fill(socket).map_err(HandshakeError::Io)? == 0 {
                    let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(HandshakeError::Io(closed));
                }
            }
            if let Err(error) = session.decrypt() {
                // The peer is owed an alert that says why; it may be gone already.
                let _ = session.flush(socket);
                return Err(HandshakeError::Tls(error));
            }
        }
        session.flush(socket).map_err(HandshakeError::Io)?;
        Ok(session)
    }

    /// Reads at least one decrypted byte, and as many as have arrived; 0 is the end of the stream.
    pub(super) fn read(&mut self, socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        loop {
            match self
                .connection
                .reader()
                .read(into.get_mut(count..).unwrap_or_default())
            {
                Ok(0) => return Ok(count),
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if count == into.len() {
                return Ok(count);
            }
            if self.start == self.end {
                if count > 0 {
                    return Ok(count);
                }
                if self.fill(socket)? == 0 {
                    return Ok(0);
                }
            }
            if let Err(error) = self.decrypt() {
                let _ = self.flush(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            // Answers of TLS itself, as to a key update.
            self.flush(socket)?;
        }
    }

    /// Encrypts and sends all of `bytes`.
    pub(super) fn write_all(&mut self, socket: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Takes in no more than its buffer holds, until that is flushed.
            let count = self.connection.writer().write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
            self.flush(socket)?;
        }
        Ok(())
    }

    /// Version and cipher suite, for the log.
    pub(super) fn description(&self) -> String {
        let version = self.connection.protocol_version().map(|v| v.as_str());
        let suite = self.connection.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str());
        format!(
            "{} {}",
            version.flatten().unwrap_or("TLS"),
            suite.unwrap_or("")
        )
    }

    fn fill(&mut self, socket: &mut TcpStream) -> io::Result<usize> {
        self.start = 0;
        self.end = 0;
        self.end = socket.read(&mut self.raw)?;
        Ok(self.end)
    }

    fn decrypt(&mut self) -> Result<(), rustls::Error> {
        let mut raw = self.raw.get(self.start..self.end).unwrap_or_default();
        let before = raw.len();
        let read = self.connection.read_tls(&mut raw);
        self.start += before - raw.len();
        // Reading from memory fails only where rustls holds too much plaintext, which is taken out
        // after each call.
        read.map_err(|error| rustls::Error::General(error.to_string()))?;
        self.connection.process_new_packets()?;
        Ok(())
    }

    fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(socket)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").finish_non_exhaustive()
    }
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    Io(io::Error),
    Tls(rustls::Error),
    Other(Error),
}

impl HandshakeError {
    /// The error for people, where it is not the socket's.
    pub(super) fn into_error(self, from_io: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Io(error) => from_io(error),
            Self::Other(error) => error,
            Self::Tls(error) => {
                let (why, remedy) = explain(&error);
                Error::new(ErrorKind::Tls, format!("TLS handshake failed: {why}"))
                    .remedy(remedy)
                    .caused_by(error)
            }
        }
    }
}

fn explain(error: &rustls::Error) -> (String, &'static str) {
    match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => (
                "the server's certificate is not signed by ssl-ca".to_owned(),
                "give the ca.pem of the server's data directory, or the CA that signed its ssl_cert, \
                 as ssl-ca",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "the server's certificate does not name the host in subjectAltName".to_owned(),
                    "use ssl-mode=VERIFY_CA (mysqld's own certificates name no host), or give the server \
                 a certificate with its name",
                )
            }
            other => (
                format!("the server's certificate is not acceptable: {other}"),
                "renew the server's certificate",
            ),
        },
        rustls::Error::AlertReceived(alert) => (
            format!("the server refused with the alert {alert:?}"),
            "check tls_version and ssl_cipher of the server: TLS 1.2 or 1.3 is needed; and ssl-cert, \
             where the server asks for one",
        ),
        other => (
            other.to_string(),
            "check that no proxy stands between, and tls_version of the server",
        ),
    }
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(option, path, &error.to_string()))
}

fn unreadable(option: &str, path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("{option} {} cannot be read: {why}", path.display()),
    )
    .remedy("check the path, and that the file is PEM")
}
