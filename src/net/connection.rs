//! A session with a server: connect, log in, ask.

use std::collections::HashMap;

use super::options::SslMode;
use super::transport::Transport;
use super::{Closer, Compression, ConnectOptions, Endpoint, Rows, ServerInfo};
use crate::wire::command;
use crate::wire::login::{AwaitGreeting, Encryption, Greeted, LoginOptions, Verdict};
use crate::wire::packet::{PacketReader, write_packet};
use crate::wire::result_set::{Progress, TextResult, TextRow};
use crate::wire::server_error::ERR_HEADER;
use crate::{Error, ErrorKind, Limits, Result};

/// Receive buffer of a session that asks small questions.
const QUERY_BUFFER_BYTES: usize = 16 << 10;

/// Largest packet of a login, from a server that has not accepted us yet. Greetings, keys and
/// refusals take less than 2 KiB.
const LOGIN_PACKET_BYTES: usize = 64 << 10;

/// Characters of a statement that an error shows.
const SHOWN_STATEMENT: usize = 100;

/// A logged-in session with one server.
///
/// One thread at a time uses it; [`closer`](Self::closer) ends it from any other. Dropping it says
/// good-bye to the server.
///
/// ```no_run
/// use rejoin::Limits;
/// use rejoin::net::{ConnectOptions, Connection, Endpoint};
///
/// let options = ConnectOptions::new("recovery", "secret");
/// let mut donor = Connection::connect(&Endpoint::new("db1", 3306), &options, &Limits::default())?;
/// let rows = donor.query("SELECT @@GLOBAL.gtid_executed")?;
/// println!("{}", rows.text(0, 0)?);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    transport: Transport,
    reader: PacketReader,
    server: ServerInfo,
    limits: Limits,
    read_timeout: std::time::Duration,
    /// Between commands: the server listens, nothing of an answer is outstanding.
    idle: bool,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Each names the server and a remedy. [`ErrorKind::Network`] and [`ErrorKind::TimedOut`]: not
    /// reached. [`ErrorKind::Tls`], [`ErrorKind::Authentication`]: reached and refused.
    /// [`ErrorKind::Configuration`]: a file that cannot be read. [`ErrorKind::Unsupported`]: not a
    /// MySQL server.
    pub fn connect(endpoint: &Endpoint, options: &ConnectOptions, limits: &Limits) -> Result<Self> {
        Self::connect_with(endpoint, options, limits, &Closer::new())
    }

    /// Connects and logs in, and can be stopped by `closer` from the very beginning.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`ErrorKind::Interrupted`] when closed.
    pub fn connect_with(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        limits: &Limits,
        closer: &Closer,
    ) -> Result<Self> {
        Self::connect_and_log_in(endpoint, options, limits, closer)
            .map_err(|error| error.at_donor(endpoint.to_string()))
    }

    fn connect_and_log_in(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        limits: &Limits,
        closer: &Closer,
    ) -> Result<Self> {
        let login = login_options(options, limits)?;
        let transport = Transport::connect(endpoint, options, closer.clone())?;
        let mut connection = Self {
            endpoint: endpoint.clone(),
            transport,
            reader: PacketReader::new(
                QUERY_BUFFER_BYTES,
                limits.packet_bytes.min(LOGIN_PACKET_BYTES),
            ),
            server: ServerInfo::default(),
            limits: limits.clone(),
            read_timeout: options.read_timeout,
            idle: false,
        };
        connection.log_in(login, options)?;
        connection.transport.end_of_login(options.read_timeout)?;
        if options.compression != Compression::Uncompressed {
            connection.transport.start_compression(options.compression);
            connection.reader.ignore_order();
        }
        connection.reader.set_limit(limits.packet_bytes);
        connection.idle = true;
        log::debug!(
            "connected to {endpoint}: version {}, connection {}, {}, {}",
            connection.server.version_text,
            connection.server.connection_id,
            connection
                .transport
                .tls_description()
                .as_deref()
                .unwrap_or("not encrypted"),
            options.compression.name(),
        );
        Ok(connection)
    }

    fn log_in(&mut self, login: LoginOptions, options: &ConnectOptions) -> Result<()> {
        self.fill_to_packet()?;
        let greeted = AwaitGreeting::new(login).handle(self.reader.packet())?;
        let (response, mut state) = match greeted {
            Greeted::Respond { response, next } => (response, next),
            Greeted::StartTls { request, next } => {
                self.send(&request)?;
                if self.reader.has_bytes() {
                    // Bytes before the handshake would be taken for bytes inside it.
                    return Err(Error::new(
                        ErrorKind::Tls,
                        "the server spoke before the TLS handshake",
                    ));
                }
                self.transport.start_tls(&self.endpoint.host, options)?;
                next.encrypted()?
            }
        };
        self.send(&response)?;
        loop {
            self.fill_to_packet()?;
            state = match state.handle(self.reader.packet())? {
                Verdict::Send { packet, next } => {
                    self.send(&packet)?;
                    next
                }
                Verdict::Wait(next) => next,
                Verdict::Accepted(server) => {
                    self.server = server;
                    return Ok(());
                }
            };
        }
    }

    /// The server's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the server said about itself.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// Whether the session is under TLS.
    pub fn is_encrypted(&self) -> bool {
        self.transport.tls_description().is_some()
    }

    /// The bounds that this session was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A handle that ends this session from any thread.
    pub fn closer(&self) -> Closer {
        self.transport.closer().clone()
    }

    /// Asks and gives all rows.
    ///
    /// # Errors
    /// What the server refuses it with; [`ErrorKind::Limit`] for more than
    /// [`Limits::result_rows`](crate::Limits::result_rows) or
    /// [`Limits::packet_bytes`](crate::Limits::packet_bytes) in total.
    pub fn query(&mut self, statement: &str) -> Result<Rows> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let limits = self.limits.clone();
        let columns = self.query_each(statement, |row| {
            let values = row.values()?;
            bytes += values
                .iter()
                .flatten()
                .map(|value| value.len())
                .sum::<usize>();
            if rows.len() == limits.result_rows || bytes > limits.packet_bytes {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!(
                        "the result of {} has more than {} rows (result_rows) or {} bytes \
                         (packet_bytes)",
                        shown(statement),
                        limits.result_rows,
                        limits.packet_bytes
                    ),
                ));
            }
            rows.push(
                values
                    .into_iter()
                    .map(|value| value.map(<[u8]>::to_vec))
                    .collect(),
            );
            Ok(())
        })?;
        Ok(Rows { columns, rows })
    }

    /// Asks and hands each row to `each` as it arrives; gives the names of the columns. Nothing
    /// bounds the number of rows.
    ///
    /// # Errors
    /// What the server refuses it with, or the first error of `each`; the session is of no more use
    /// after the latter.
    pub fn query_each(
        &mut self,
        statement: &str,
        mut each: impl FnMut(TextRow<'_>) -> Result<()>,
    ) -> Result<Vec<String>> {
        self.begin(&command::query(statement))?;
        self.read_answer(&shown(statement), &mut each)
            .map_err(|error| error.at_donor(self.endpoint.to_string()))
    }

    /// Reads the answer to the command sent last, which errors call `action`.
    fn read_answer(
        &mut self,
        action: &str,
        each: &mut dyn FnMut(TextRow<'_>) -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut result = TextResult::new(&self.limits);
        loop {
            self.fill_to_packet()?;
            let packet = self.reader.packet();
            match result.handle(packet, action) {
                Ok(Progress::More) => {}
                Ok(Progress::Row(row)) => each(row)?,
                Ok(Progress::Complete) => {
                    self.idle = true;
                    return Ok(result.into_column_names());
                }
                Err(error) => {
                    // A refusal ends the answer; after anything else its end cannot be known.
                    self.idle = packet.first() == Some(&ERR_HEADER);
                    return Err(error);
                }
            }
        }
    }

    /// Executes a statement whose rows, if any, do not matter.
    ///
    /// # Errors
    /// As [`query_each`](Self::query_each).
    pub fn execute(&mut self, statement: &str) -> Result<()> {
        self.query_each(statement, |_| Ok(())).map(drop)
    }

    /// Sends a command that is answered with OK or ERR.
    pub(super) fn command(&mut self, payload: &[u8], action: &str) -> Result<()> {
        self.begin(payload)?;
        let no_rows = || {
            Error::new(
                ErrorKind::Malformed,
                format!("{action} was answered with rows"),
            )
        };
        self.read_answer(action, &mut |_| Err(no_rows()))
            .map(drop)
            .map_err(|error| error.at_donor(self.endpoint.to_string()))
    }

    /// Sends a command; its answer is the caller's to read.
    pub(super) fn begin(&mut self, payload: &[u8]) -> Result<()> {
        if !self.idle {
            return Err(Error::new(
                ErrorKind::Network,
                "the session was broken by an earlier error",
            )
            .at_donor(self.endpoint.to_string()));
        }
        self.idle = false;
        self.reader.set_sequence(0);
        self.transport.begin_command();
        self.send(payload)
            .map_err(|error| error.at_donor(self.endpoint.to_string()))
    }

    fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        let next = write_packet(self.reader.sequence(), payload, &mut bytes);
        self.reader.set_sequence(next);
        self.transport.write_all(&bytes)
    }

    /// Reads until a packet is whole and makes it the current one.
    #[inline]
    pub(super) fn fill_to_packet(&mut self) -> Result<()> {
        self.fill_to_checked_packet(|_, _| Ok(()))
    }

    /// As [`fill_to_packet`](Self::fill_to_packet); `check` sees the length and the part so far of
    /// every packet that has to be waited for.
    #[inline]
    pub(super) fn fill_to_checked_packet(
        &mut self,
        check: impl Fn(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !self.reader.advance()? {
            if let Some((length, body)) = self.reader.incomplete() {
                check(length, body)?;
            }
            let count = self.transport.read(self.reader.space())?;
            self.reader.received(count);
        }
        Ok(())
    }

    /// The packets, for the stream.
    #[inline]
    pub(super) fn reader(&self) -> &PacketReader {
        &self.reader
    }

    pub(super) fn grow_buffer(&mut self, bytes: usize) {
        self.reader.grow(bytes);
    }

    pub(super) fn read_timeout(&self) -> std::time::Duration {
        self.read_timeout
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.transport.received_bytes()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without it the server counts an aborted client and notes it in its log.
        if self.idle && !self.transport.closer().is_closed() {
            self.reader.set_sequence(0);
            self.transport.begin_command();
            let _ = self.send(command::QUIT);
        }
    }
}

fn login_options(options: &ConnectOptions, limits: &Limits) -> Result<LoginOptions> {
    let public_key = match &options.server_public_key_path {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "server-public-key-path {} cannot be read: {error}",
                    path.display()
                ),
            )
            .remedy("give the public_key.pem of the server's data directory")
        })?),
    };
    let attributes = [
        ("_client_name", "rejoin".to_owned()),
        ("_client_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("_os", std::env::consts::OS.to_owned()),
        ("_platform", std::env::consts::ARCH.to_owned()),
        ("_pid", std::process::id().to_string()),
        ("program_name", "rejoin".to_owned()),
    ];
    Ok(LoginOptions {
        user: options.user.clone(),
        password: options.password.clone(),
        encryption: match options.ssl_mode {
            SslMode::Disabled => Encryption::Never,
            SslMode::Preferred => Encryption::IfOffered,
            SslMode::Required | SslMode::VerifyCa | SslMode::VerifyIdentity => Encryption::Required,
        },
        public_key,
        get_public_key: options.get_server_public_key,
        max_packet_bytes: u32::try_from(limits.packet_bytes).unwrap_or(u32::MAX),
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<HashMap<_, _>>(),
        compression: options.compression,
    })
}

/// A statement as errors show it.
fn shown(statement: &str) -> String {
    match statement.char_indices().nth(SHOWN_STATEMENT) {
        None => statement.to_owned(),
        Some((end, _)) => format!("{}...", statement.get(..end).unwrap_or_default()),
    }
}
