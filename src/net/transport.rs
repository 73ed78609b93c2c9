//! A TCP socket, plain or under TLS, with its timeouts.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::closer::Attachment;
use super::tls::TlsSession;
use super::{Closer, Compression, ConnectOptions, Endpoint};
use crate::wire::compression::Frames;
use crate::{Error, ErrorKind, Result};

/// How often a thread that waits for a TCP connection looks whether it was told to stop.
const CLOSE_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Bytes out and in, whatever is below them.
#[derive(Debug)]
pub(super) struct Transport {
    socket: TcpStream,
    tls: Option<Box<TlsSession>>,
    closer: Closer,
    attachment: Attachment,
    timeout: Duration,
    /// Until the login is done: the time by which all of it must be over.
    deadline: Option<Instant>,
    received_bytes: u64,
    /// Once the login has agreed on them.
    frames: Option<Box<Compressed>>,
}

/// The frames of a compressed connection, and where the socket is read into.
#[derive(Debug)]
struct Compressed {
    frames: Frames,
    space: Vec<u8>,
}

/// Read at once of a compressed connection.
const COMPRESSED_BYTES: usize = 64 << 10;

impl Transport {
    /// Connects to the first address of `endpoint` that answers.
    pub(super) fn connect(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        closer: Closer,
    ) -> Result<Self> {
        let socket = dial(endpoint, options.connect_timeout, &closer)?;
        let attachment = closer.attach(&socket)?;
        // A command is one small write that the server waits for.
        let _ = socket.set_nodelay(true);
        let mut transport = Self {
            socket,
            tls: None,
            closer,
            attachment,
            timeout: options.connect_timeout,
            deadline: Some(Instant::now() + options.connect_timeout),
            received_bytes: 0,
            frames: None,
        };
        transport.set_timeout(options.connect_timeout)?;
        Ok(transport)
    }

    pub(super) fn closer(&self) -> &Closer {
        &self.closer
    }

    pub(super) fn tls_description(&self) -> Option<String> {
        self.tls.as_ref().map(|tls| tls.description())
    }

    /// What comes and goes from now on is in frames.
    pub(super) fn start_compression(&mut self, compression: Compression) {
        if compression != Compression::Uncompressed {
            self.frames = Some(Box::new(Compressed {
                frames: Frames::new(compression),
                space: vec![0; COMPRESSED_BYTES],
            }));
        }
    }

    /// A command begins.
    pub(super) fn begin_command(&mut self) {
        if let Some(compressed) = &mut self.frames {
            compressed.frames.begin_command();
        }
    }

    /// Bytes of the protocol received, after decryption and before they are expanded.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The login is done: from now on only silence is bounded.
    pub(super) fn end_of_login(&mut self, read_timeout: Duration) -> Result<()> {
        self.deadline = None;
        self.set_timeout(read_timeout)
    }

    fn set_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.timeout = timeout;
        let set = |timeout| {
            self.socket.set_read_timeout(timeout)?;
            self.socket.set_write_timeout(timeout)
        };
        set(Some(timeout)).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("timeout of {timeout:?} cannot be set: {error}"),
            )
        })
    }

    /// Puts TLS on the socket.
    pub(super) fn start_tls(&mut self, host: &str, options: &ConnectOptions) -> Result<()> {
        let deadline = self.deadline;
        let session = TlsSession::handshake(host, options, &mut self.socket, |socket| {
            keep_deadline(socket, deadline)
        });
        match session {
            Ok(session) => {
                self.tls = Some(Box::new(session));
                Ok(())
            }
            Err(error) => {
                Err(error.into_error(|error| self.error(&error, "during the TLS handshake")))
            }
        }
    }

    /// Reads at least one byte.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`], [`ErrorKind::Network`] (the end of the stream too),
    /// [`ErrorKind::Tls`], [`ErrorKind::Interrupted`].
    #[inline]
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self.frames.take() {
            None => self.receive(into),
            Some(mut compressed) => {
                let read = self.read_frames(&mut compressed, into);
                self.frames = Some(compressed);
                read
            }
        }
    }

    fn read_frames(&mut self, compressed: &mut Compressed, into: &mut [u8]) -> Result<usize> {
        loop {
            let count = compressed.frames.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            let received = self.receive(&mut compressed.space)?;
            let bytes = compressed.space.get(..received).unwrap_or_default();
            compressed.frames.received(bytes);
        }
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            if self.deadline.is_some() {
                keep_deadline(&self.socket, self.deadline)?;
            }
            let read = match &mut self.tls {
                Some(tls) => tls.read(&mut self.socket, into),
                None => self.socket.read(into),
            };
            match read {
                Ok(0) => {
                    let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(self.error(&closed, "while waiting for an answer"));
                }
                Ok(count) => {
                    self.received_bytes += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(&error, "while waiting for an answer")),
            }
        }
    }

    /// Sends all of `packets`.
    pub(super) fn write_all(&mut self, packets: &[u8]) -> Result<()> {
        let framed;
        let bytes = match &mut self.frames {
            None => packets,
            Some(compressed) => {
                framed = compressed.frames.wrap(packets);
                &framed
            }
        };
        let written = match &mut self.tls {
            Some(tls) => tls.write_all(&mut self.socket, bytes),
            None => self.socket.write_all(bytes),
        };
        written.map_err(|error| self.error(&error, "while sending a command"))
    }

    #[cold]
    fn error(&self, error: &io::Error, when: &str) -> Error {
        if self.closer.is_closed() {
            return Closer::interrupted();
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(self.timeout, when),
            io::ErrorKind::InvalidData => {
                Error::new(ErrorKind::Tls, format!("TLS failed {when}: {error}"))
                    .remedy("check that no proxy stands between")
            }
            io::ErrorKind::UnexpectedEof => Error::new(
                ErrorKind::Network,
                format!("the server closed the connection {when}"),
            )
            .remedy("look into the server's error log: it may have been shut down or restarted"),
            _ => Error::new(
                ErrorKind::Network,
                format!("the connection broke {when}: {error}"),
            ),
        }
    }
}

impl Drop for Transport {
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
            "the login took longer than connect-timeout",
        )
        .remedy("raise connect-timeout, or look what keeps the server busy"));
    }
    // Fails only for a duration of zero.
    let _ = socket.set_read_timeout(Some(left));
    Ok(())
}

#[cold]
fn timed_out(timeout: Duration, when: &str) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!("no sign of the server for {timeout:?} {when}"),
    )
    .remedy("check the network and the server's load, or raise the timeout")
}

/// Resolves and connects within `timeout`, on a thread of its own, so that neither a name server nor
/// a silent address can hold up a stop. The thread ends by itself, at the latest with the timeout of
/// the system's resolver.
fn dial(endpoint: &Endpoint, timeout: Duration, closer: &Closer) -> Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let target = endpoint.clone();
    std::thread::Builder::new()
        .name("rejoin-dial".to_owned())
        .spawn(move || {
            // Nobody waits for it any more where this fails.
            let _ = sender.send(dial_addresses(&target, deadline));
        })
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot start a thread").caused_by(error)
        })?;
    loop {
        if closer.is_closed() {
            return Err(Closer::interrupted());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(CLOSE_CHECK_INTERVAL)) {
            Ok(connected) => return connected,
            // A moment more than the deadline lets the thread report what it tried.
            Err(RecvTimeoutError::Timeout)
                if Instant::now() < deadline + 2 * CLOSE_CHECK_INTERVAL => {}
            Err(_) => return Err(unreachable(&[], ErrorKind::TimedOut)),
        }
    }
}

fn dial_addresses(endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (endpoint.host.as_str(), endpoint.port)
        .to_socket_addrs()
        .map_err(|error| {
            Error::new(
                ErrorKind::Network,
                format!("host {} cannot be resolved: {error}", endpoint.host),
            )
            .remedy("check the host's name")
        })?
        .collect();
    let mut tried = Vec::new();
    let mut kind = ErrorKind::TimedOut;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // A silent address leaves its share of the time to those behind it.
        let share = left / (addresses.len() - index) as u32;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                if error.kind() != io::ErrorKind::TimedOut {
                    kind = ErrorKind::Network;
                }
                tried.push(format!("{address}: {error}"));
            }
        }
    }
    Err(unreachable(&tried, kind))
}

#[cold]
fn unreachable(tried: &[String], kind: ErrorKind) -> Error {
    let why = match tried {
        [] => "no answer within connect-timeout".to_owned(),
        tried => tried.join("; "),
    };
    Error::new(kind, format!("cannot connect: {why}"))
        .remedy("check that mysqld runs there, and that its port is open to this machine")
}
