//! The server's side of a connection: packets from a client, packets to it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Closer;
use super::closer::Attachment;
use super::tls::{ServerTls, TlsSession};
use crate::wire::packet::{PacketReader, write_packet};
use crate::{Error, ErrorKind, Result};

/// Receive buffer: clients send small commands.
const RECEIVE_BUFFER_BYTES: usize = 4 << 10;

/// Largest packet of a client that has not logged in.
const LOGIN_PACKET_BYTES: usize = 64 << 10;

/// A client that has connected to us.
///
/// One thread uses it; a [`Closer`] ends it from any other. Nothing is buffered for sending: a client
/// that does not read holds up the thread that serves it, until the write timeout, and takes no
/// memory.
#[derive(Debug)]
pub struct Accepted {
    socket: TcpStream,
    tls: Option<Box<TlsSession>>,
    peer: SocketAddr,
    local: SocketAddr,
    reader: PacketReader,
    closer: Closer,
    attachment: Attachment,
    /// Until the login is done: the time by which all of it must be over.
    deadline: Option<Instant>,
    sent_bytes: u64,
}

/// What a client that should be silent has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Silent,
    /// It has sent something.
    Spoke,
    /// It has gone.
    Closed,
}

impl Accepted {
    /// Takes over a socket that a listener has accepted. The login must be over within
    /// `login_timeout`; `closer` closes this connection, too.
    ///
    /// # Errors
    /// [`ErrorKind::Network`], and [`ErrorKind::Interrupted`] where `closer` was closed already.
    pub fn new(socket: TcpStream, closer: &Closer, login_timeout: Duration) -> Result<Self> {
        let failed =
            |error: io::Error| Error::new(ErrorKind::Network, format!("accepted socket: {error}"));
        let peer = socket.peer_addr().map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket
            .set_write_timeout(Some(login_timeout))
            .map_err(failed)?;
        let attachment = closer.attach(&socket)?;
        Ok(Self {
            socket,
            tls: None,
            peer,
            local,
            reader: PacketReader::new(RECEIVE_BUFFER_BYTES, LOGIN_PACKET_BYTES),
            closer: closer.clone(),
            attachment,
            deadline: Some(Instant::now() + login_timeout),
            sent_bytes: 0,
        })
    }

    /// Where the client is.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where the client has reached us.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether the connection is under TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Bytes sent so far, before encryption.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Makes the TLS handshake that the client has asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Tls`], [`ErrorKind::TimedOut`], [`ErrorKind::Network`].
    pub fn start_tls(&mut self, tls: &ServerTls) -> Result<()> {
        let deadline = self.deadline;
        // Clients begin the handshake without waiting for anything: its first bytes may be here already.
        let received = self.reader.take_bytes();
        let session = TlsSession::accept(tls, &received, &mut self.socket, |socket| {
            keep_deadline(socket, deadline)
        });
        match session {
            Ok(session) => {
                self.tls = Some(Box::new(session));
                Ok(())
            }
            Err(error) => Err(error.into_error(|error| self.error(&error))),
        }
    }

    /// The login is done: from now on packets may have `packet_bytes`.
    pub fn end_of_login(&mut self, packet_bytes: usize) {
        self.deadline = None;
        self.reader.set_limit(packet_bytes);
    }

    /// How long the client may leave what we send unread.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a time of zero.
    pub fn set_write_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.socket
            .set_write_timeout(Some(timeout))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    format!("write timeout of {timeout:?} cannot be set: {error}"),
                )
            })
    }

    /// Waits for the first packet of a new command.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_command(&mut self, idle_timeout: Duration) -> Result<&[u8]> {
        self.reader.set_sequence(0);
        // A time of zero would be an error of the system's.
        let timeout = idle_timeout.max(Duration::from_millis(1));
        let _ = self.socket.set_read_timeout(Some(timeout));
        self.receive()
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], [`ErrorKind::Network`] (the end of the stream, too),
    /// [`ErrorKind::Tls`], [`ErrorKind::Interrupted`], [`ErrorKind::Malformed`] and
    /// [`ErrorKind::Limit`] for packets out of order and too large ones.
    pub fn receive(&mut self) -> Result<&[u8]> {
        while !self.reader.advance()? {
            if self.deadline.is_some() {
                keep_deadline(&self.socket, self.deadline)?;
            }
            let read = match &mut self.tls {
                Some(tls) => tls.read(&mut self.socket, self.reader.space()),
                None => self.socket.read(self.reader.space()),
            };
            match read {
                Ok(0) => return Err(self.error(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.reader.received(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(&error)),
            }
        }
        Ok(self.reader.packet())
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// As [`send_raw`](Self::send_raw).
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        let next = write_packet(self.reader.sequence(), payload, &mut bytes);
        self.reader.set_sequence(next);
        self.send_raw(&bytes)
    }

    /// The sequence number of the packet that is sent next.
    pub fn sequence(&self) -> u8 {
        self.reader.sequence()
    }

    /// Sets the sequence number after packets that were put together by the caller.
    pub fn set_sequence(&mut self, sequence: u8) {
        self.reader.set_sequence(sequence);
    }

    /// Sends bytes that are packets already.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] where the client does not read, [`ErrorKind::Network`],
    /// [`ErrorKind::Interrupted`].
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.tls {
            Some(tls) => tls.write_all(&mut self.socket, bytes),
            None => self.socket.write_all(bytes),
        };
        self.sent_bytes += bytes.len() as u64;
        written.map_err(|error| self.error(&error))
    }

    /// Looks, without waiting, whether the client has sent something or has gone.
    pub fn input(&self) -> Input {
        if self.reader.has_bytes() {
            return Input::Spoke;
        }
        if self.socket.set_nonblocking(true).is_err() {
            return Input::Closed;
        }
        let peeked = self.socket.peek(&mut [0]);
        if self.socket.set_nonblocking(false).is_err() {
            return Input::Closed;
        }
        match peeked {
            Ok(0) => Input::Closed,
            Ok(_) => Input::Spoke,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Input::Silent,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Input::Silent,
            Err(_) => Input::Closed,
        }
    }

    #[cold]
    fn error(&self, error: &io::Error) -> Error {
        if self.closer.is_closed() {
            return Closer::interrupted();
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Error::new(ErrorKind::TimedOut, "the client did nothing for too long")
            }
            io::ErrorKind::InvalidData => {
                Error::new(ErrorKind::Tls, format!("TLS failed: {error}"))
            }
            io::ErrorKind::UnexpectedEof => {
                Error::new(ErrorKind::Network, "the client closed the connection")
            }
            _ => Error::new(ErrorKind::Network, format!("the connection broke: {error}")),
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.closer.detach(&self.attachment);
    }
}

/// Bounds the next read by what is left until the deadline.
fn keep_deadline(socket: &TcpStream, deadline: Option<Instant>) -> Result<()> {
    let Some(deadline) = deadline else {
        return Ok(());
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::new(
            ErrorKind::TimedOut,
            "the client did not log in in time",
        ));
    }
    // Fails only for a duration of zero.
    let _ = socket.set_read_timeout(Some(left));
    Ok(())
}
