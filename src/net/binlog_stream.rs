//! The recovery channel: a donor's binary log as a stream of events.
//!
//! [`BinlogStream::open`] says to the donor, statement by statement and in the same order, what a
//! MySQL 9.7 replica says, and adds two things of its own before it registers: a look at
//! `gtid_purged`, for an error that names what is missing in full, and session variables: English
//! messages, because the donor tells the ends of a dump apart by text alone, and a larger
//! `net_write_timeout`, because it drops a client that does not read for 60 s.

use std::time::Duration;

use super::{Closer, Connection, Endpoint, ServerVersion};
use crate::binlog::ChecksumAlgorithm;
use crate::gtid::{Encoding, GtidSet, Uuid};
use crate::wire::command::{self, DumpFlags, replica};
use crate::wire::dump::{self, DumpPacket};
use crate::{Error, ErrorKind, Result};

/// Receive buffer of a stream: packets are slices of it, one read brings thousands of small events.
const STREAM_BUFFER_BYTES: usize = 512 << 10;

/// What to ask a donor for, and as whom.
///
/// ```
/// use rejoin::gtid::{GtidSet, Uuid};
/// use rejoin::net::DumpRequest;
///
/// let request = DumpRequest::new(17, Uuid([7; 16]), GtidSet::new());
/// assert_eq!(request.heartbeat_period.as_secs(), 30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpRequest {
    /// Our server ID; must differ from the donor's and from those of its other replicas.
    pub server_id: u32,
    /// Our server UUID. The donor ends an older stream of the same UUID.
    pub replica_uuid: Uuid,
    /// What we have: the donor sends every transaction that is not in it.
    pub gtid_set: GtidSet,
    /// Silence after which the donor sends a heartbeat; zero for none. Default 30 s, half of the
    /// default read timeout. Must be shorter than the read timeout.
    pub heartbeat_period: Duration,
    /// How long the donor waits for us to read before it drops us. Default 1 hour.
    pub net_write_timeout: Duration,
    /// The host that SHOW REPLICAS on the donor names for us; may be empty.
    pub report_host: String,
    /// The port that SHOW REPLICAS on the donor names for us.
    pub report_port: u16,
    /// Whether the stream ends with the donor's last binary log instead of waiting for more.
    pub non_blocking: bool,
}

impl DumpRequest {
    /// A request with the defaults.
    pub fn new(server_id: u32, replica_uuid: Uuid, gtid_set: GtidSet) -> Self {
        Self {
            server_id,
            replica_uuid,
            gtid_set,
            heartbeat_period: Duration::from_secs(30),
            net_write_timeout: Duration::from_secs(3600),
            report_host: String::new(),
            report_port: 0,
            non_blocking: false,
        }
    }
}

/// A donor's events, as they come.
///
/// ```no_run
/// use rejoin::Limits;
/// use rejoin::gtid::{GtidSet, Uuid};
/// use rejoin::net::{BinlogStream, ConnectOptions, Connection, DumpRequest, Endpoint};
///
/// let options = ConnectOptions::new("recovery", "secret");
/// let donor = Connection::connect(&Endpoint::new("db1", 3306), &options, &Limits::default())?;
/// let request = DumpRequest::new(17, Uuid([7; 16]), GtidSet::new());
/// let mut stream = BinlogStream::open(donor, &request)?;
/// while let Some(event) = stream.next_event()? {
///     println!("{} bytes", event.len());
/// }
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct BinlogStream {
    connection: Connection,
    initial_checksum: ChecksumAlgorithm,
    source_uuid: Uuid,
    /// The donor has said that nothing follows.
    ended: bool,
}

impl BinlogStream {
    /// Starts the stream on a fresh connection.
    ///
    /// # Errors
    /// Every error names the donor. [`ErrorKind::Purged`], [`ErrorKind::Privilege`] and what else the
    /// donor answers; [`ErrorKind::Configuration`] where the donor has our server ID or UUID, or the
    /// heartbeat period is not shorter than the read timeout; [`ErrorKind::Refused`] where its
    /// gtid_mode is not ON.
    pub fn open(connection: Connection, request: &DumpRequest) -> Result<Self> {
        let donor = connection.endpoint().to_string();
        Self::negotiate(connection, request).map_err(|error| error.at_donor(donor))
    }

    fn negotiate(mut connection: Connection, request: &DumpRequest) -> Result<Self> {
        if request.heartbeat_period >= connection.read_timeout() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "heartbeat period {:?} is not shorter than the read timeout {:?}",
                    request.heartbeat_period,
                    connection.read_timeout()
                ),
            )
            .remedy("raise read-timeout, or lower the heartbeat period"));
        }
        connection.query(replica::CLOCK)?;
        check_server_id(&connection.query(replica::SERVER_ID)?, request.server_id)?;
        if !request.heartbeat_period.is_zero() {
            connection.execute(&replica::set_heartbeat_period(request.heartbeat_period))?;
        }
        connection.execute(replica::SET_CHECKSUM)?;
        let rows = connection.query(replica::CHECKSUM)?;
        let initial_checksum = checksum_algorithm(rows.text(0, 0)?)?;
        check_gtid_mode(connection.query(replica::GTID_MODE)?.text(0, 0)?)?;
        let rows = connection.query(replica::SERVER_UUID)?;
        let source_uuid = check_server_uuid(rows.text(0, 0)?, &request.replica_uuid)?;
        connection.execute(&replica::set_replica_uuid(&request.replica_uuid))?;

        check_purged(&mut connection, &request.gtid_set)?;
        connection.execute(&format!(
            "SET SESSION lc_messages = 'en_US', SESSION net_write_timeout = {}",
            request.net_write_timeout.as_secs().max(1)
        ))?;

        connection.command(
            &command::register_replica(
                request.server_id,
                &request.report_host,
                request.report_port,
            ),
            "to register as a replica",
        )?;
        let encoding = if connection.server().version < ServerVersion::TAGGED_GTIDS {
            Encoding::Untagged
        } else {
            Encoding::Shortest
        };
        let flags = DumpFlags {
            non_block: request.non_blocking,
            heartbeat_v2: true,
        };
        connection.grow_buffer(STREAM_BUFFER_BYTES);
        connection.begin(&command::binlog_dump_gtid(
            request.server_id,
            flags,
            &request.gtid_set,
            encoding,
        ))?;
        Ok(Self {
            connection,
            initial_checksum,
            source_uuid,
            ended: false,
        })
    }

    /// The next event, with its checksum if it has one; `None` when the donor has ended the stream
    /// without an error (its last binary log in a non-blocking stream, or a killed session).
    ///
    /// Waits for it as long as the donor shows signs of life.
    ///
    /// # Errors
    /// What the donor ends the stream with, and everything that can happen to a connection; all name
    /// the donor.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<&[u8]>> {
        if self.ended {
            return Ok(None);
        }
        if let Err(error) = self
            .connection
            .fill_to_checked_packet(dump::check_incomplete)
        {
            return Err(error.at_donor(self.connection.endpoint().to_string()));
        }
        match dump::parse(self.connection.reader().packet()) {
            Ok(DumpPacket::Event(event)) => Ok(Some(event)),
            Ok(DumpPacket::End) => {
                self.ended = true;
                Ok(None)
            }
            Err(error) => {
                self.ended = true;
                Err(error.at_donor(self.connection.endpoint().to_string()))
            }
        }
    }

    /// Whether the next packet is here already, so that [`next_event`](Self::next_event) will not
    /// wait.
    #[inline]
    pub fn has_buffered_event(&self) -> bool {
        self.connection.reader().has_packet()
    }

    /// How the first event, a rotate that the donor makes up, is checksummed. Later ones follow the
    /// format description before them.
    pub fn initial_checksum(&self) -> ChecksumAlgorithm {
        self.initial_checksum
    }

    /// The donor's server UUID.
    pub fn source_uuid(&self) -> Uuid {
        self.source_uuid
    }

    /// The donor's address.
    pub fn endpoint(&self) -> &Endpoint {
        self.connection.endpoint()
    }

    /// A handle that ends the stream from any thread.
    pub fn closer(&self) -> Closer {
        self.connection.closer()
    }

    /// Bytes received on this connection so far, after decryption.
    pub fn received_bytes(&self) -> u64 {
        self.connection.received_bytes()
    }
}

fn check_server_id(rows: &super::Rows, ours: u32) -> Result<()> {
    let text = rows.text(0, 0)?;
    if text.parse() == Ok(ours) {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("the donor has our own server ID, {ours}"),
        )
        .remedy("choose a server ID that no other member has"));
    }
    Ok(())
}

fn checksum_algorithm(name: &str) -> Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::from_name(name).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("the donor's binlog_checksum '{name}' is unknown"),
        )
        .remedy("set binlog_checksum to CRC32 on the donor")
    })
}

fn check_gtid_mode(mode: &str) -> Result<()> {
    if mode.eq_ignore_ascii_case("ON") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!("the donor has gtid_mode={mode}, which cannot serve by GTID"),
    )
    .remedy("set gtid_mode=ON on the donor"))
}

fn check_server_uuid(text: &str, ours: &Uuid) -> Result<Uuid> {
    let uuid: Uuid = text.parse().map_err(|_| {
        Error::new(
            ErrorKind::Malformed,
            format!("the donor's server UUID '{text}' is not a UUID"),
        )
    })?;
    if uuid == *ours {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("the donor has our own server UUID, {ours}"),
        )
        .remedy("give each member a UUID of its own"));
    }
    Ok(uuid)
}

/// Whether the donor has lost transactions that we lack.
fn check_purged(connection: &mut Connection, executed: &GtidSet) -> Result<()> {
    let rows = connection.query("SELECT @@GLOBAL.GTID_PURGED")?;
    let purged: GtidSet = rows.text(0, 0)?.parse().map_err(|error| {
        Error::new(
            ErrorKind::Malformed,
            "the donor's gtid_purged cannot be read",
        )
        .caused_by(error)
    })?;
    let missing = purged.subtract(executed);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Purged,
        format!("the donor has purged the binary logs with the transactions {missing}"),
    )
    .remedy(
        "another donor may still have them; if none has, clone the data or restore a newer backup",
    ))
}
