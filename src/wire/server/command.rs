//! Commands of clients.
//!
//! ```text
//! 01                COM_QUIT
//! 03 | statement    COM_QUERY (never with query attributes: they are not offered)
//! 0e                COM_PING
//! 12 | u32 position | u16 flags | u32 server_id | file name            COM_BINLOG_DUMP
//! 15 | u32 server_id | u8 len, host | u8 len, user | u8 len, password
//!    | u16 port | u32 rank | u32 source_id                             COM_REGISTER_REPLICA
//! 1e | u16 flags | u32 server_id | u32 len, file name | u64 position
//!    | u32 len, GTID set                                               COM_BINLOG_DUMP_GTID
//! ```

use super::answer::Refusal;
use crate::Limits;
use crate::gtid::GtidSet;
use crate::wire::reader::Reader;

/// BINLOG_DUMP_NON_BLOCK: end at the end of the last file.
const NON_BLOCK: u16 = 1;
/// USE_HEARTBEAT_EVENT_V2.
const HEARTBEAT_V2: u16 = 2;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// It says good-bye.
    Quit,
    /// Is anybody there?
    Ping,
    /// Forget what the session has set.
    ResetConnection,
    /// Any command that is answered with OK and changes nothing here.
    Accepted,
    /// A statement.
    Query(&'a [u8]),
    /// It names itself as a replica.
    RegisterReplica(ReplicaAddress),
    /// It wants the binary log.
    Dump(DumpCommand),
    /// A command by its number that a donor has no use for.
    Unknown(u8),
}

/// How a replica can be reached, as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaAddress {
    /// Its server ID.
    pub server_id: u32,
    /// `report_host`.
    pub host: String,
    /// `report_port`.
    pub port: u16,
}

/// From where on the binary log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpCommand {
    /// The client's server ID; tools without one send 0 and do not wait for more.
    pub server_id: u32,
    /// The first file; empty: by GTIDs, or the oldest.
    pub file: Vec<u8>,
    /// Where in that file.
    pub position: u64,
    /// What the client has, with COM_BINLOG_DUMP_GTID.
    pub gtid_set: Option<GtidSet>,
    /// Whether to end at the end of the last file.
    pub non_blocking: bool,
    /// Whether the client knows heartbeats of the second version.
    pub heartbeat_v2: bool,
}

impl<'a> Command<'a> {
    /// Reads one packet.
    ///
    /// # Errors
    /// 1835 for a malformed packet, 1773 for a malformed GTID set.
    pub fn parse(packet: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        let Some((&number, body)) = packet.split_first() else {
            return Err(malformed());
        };
        let reader = Reader::new(body, "command");
        Ok(match number {
            0x01 => Self::Quit,
            // COM_INIT_DB, COM_SET_OPTION.
            0x02 | 0x1b => Self::Accepted,
            0x03 => Self::Query(body),
            0x0e => Self::Ping,
            0x12 => Self::Dump(dump(reader).map_err(|_| malformed())?),
            0x15 => Self::RegisterReplica(register(reader).map_err(|_| malformed())?),
            0x1e => Self::Dump(dump_gtid(reader, limits)?),
            0x1f => Self::ResetConnection,
            other => Self::Unknown(other),
        })
    }
}

fn malformed() -> Refusal {
    Refusal::new(1835, "Malformed communication packet.")
}

fn register(mut reader: Reader<'_>) -> crate::Result<ReplicaAddress> {
    let server_id = reader.u32()?;
    let mut texts = [&b""[..]; 3];
    for text in &mut texts {
        let length = reader.u8()?;
        *text = reader.take(usize::from(length))?;
    }
    let [host, _user, _password] = texts;
    let port = reader.u16()?;
    let (_rank, _source_id) = (reader.u32()?, reader.u32()?);
    Ok(ReplicaAddress {
        server_id,
        host: String::from_utf8_lossy(host).into_owned(),
        port,
    })
}

fn dump(mut reader: Reader<'_>) -> crate::Result<DumpCommand> {
    let position = reader.u32()?;
    let flags = reader.u16()?;
    let server_id = reader.u32()?;
    Ok(command(
        flags,
        server_id,
        reader.rest(),
        u64::from(position),
        None,
    ))
}

fn dump_gtid(mut reader: Reader<'_>, limits: &Limits) -> Result<DumpCommand, Refusal> {
    let mut fields = || {
        let flags = reader.u16()?;
        let server_id = reader.u32()?;
        let length = reader.u32()?;
        let file = reader.take(length as usize)?;
        let position = reader.u64()?;
        let length = reader.u32()?;
        Ok::<_, crate::Error>((
            flags,
            server_id,
            file,
            position,
            reader.take(length as usize)?,
        ))
    };
    let (flags, server_id, file, position, set) = fields().map_err(|_| malformed())?;
    let set = GtidSet::decode(set, limits)
        .map_err(|_| Refusal::new(1773, "Malformed GTID set encoding."))?;
    Ok(command(flags, server_id, file, position, Some(set)))
}

fn command(
    flags: u16,
    server_id: u32,
    file: &[u8],
    position: u64,
    gtid_set: Option<GtidSet>,
) -> DumpCommand {
    DumpCommand {
        server_id,
        file: file.to_vec(),
        position,
        gtid_set,
        // A client without a server ID is no replica and would never be told apart from another.
        non_blocking: flags & NON_BLOCK != 0 || server_id == 0,
        heartbeat_v2: flags & HEARTBEAT_V2 != 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gtid::Encoding;
    use crate::wire::command::{self as client, DumpFlags};

    fn parse(packet: &[u8]) -> Result<Command<'_>, Refusal> {
        Command::parse(packet, &Limits::default())
    }

    #[test]
    fn what_our_own_client_sends_is_understood() {
        assert_eq!(parse(client::QUIT), Ok(Command::Quit));
        assert_eq!(
            parse(&client::query("SELECT 1")),
            Ok(Command::Query(b"SELECT 1"))
        );
        assert_eq!(
            parse(&client::register_replica(7, "db7", 3307)),
            Ok(Command::RegisterReplica(ReplicaAddress {
                server_id: 7,
                host: "db7".into(),
                port: 3307
            }))
        );
        let set: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:blue:7"
            .parse()
            .unwrap();
        let flags = DumpFlags {
            non_block: true,
            heartbeat_v2: true,
        };
        let packet = client::binlog_dump_gtid(81, flags, &set, Encoding::Shortest);
        assert_eq!(
            parse(&packet),
            Ok(Command::Dump(DumpCommand {
                server_id: 81,
                file: Vec::new(),
                position: 4,
                gtid_set: Some(set),
                non_blocking: true,
                heartbeat_v2: true,
            }))
        );
    }

    #[test]
    fn a_position_dump_has_its_file_at_the_end() {
        let packet = b"\x12\x04\0\0\0\x02\0\x51\0\0\0binlog.000002";
        let Ok(Command::Dump(dump)) = parse(packet) else {
            panic!("a dump");
        };
        assert_eq!(dump.file, b"binlog.000002");
        assert_eq!((dump.position, dump.server_id), (4, 0x51));
        assert!(!dump.non_blocking && dump.heartbeat_v2 && dump.gtid_set.is_none());
    }

    #[test]
    fn malformed_commands_have_the_servers_numbers() {
        assert_eq!(parse(b"").unwrap_err().code, 1835);
        assert_eq!(parse(b"\x15\x01").unwrap_err().code, 1835);
        assert_eq!(parse(b"\x12\x01").unwrap_err().code, 1835);
        let mut packet = b"\x1e\x02\0\x51\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x08\0\0\0".to_vec();
        assert_eq!(parse(&packet).unwrap_err().code, 1835);
        packet.extend_from_slice(b"\x01\0\0\0\0\0\0\0");
        assert_eq!(parse(&packet).unwrap_err().code, 1773);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(number in 0u8..0x22, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut packet = vec![number];
            packet.extend_from_slice(&body);
            let _ = parse(&packet);
        }
    }
}
