//! The commands that a replica sends, as packet payloads.

use crate::gtid::{Encoding, GtidSet, Uuid};

/// COM_QUIT: the client is about to close the connection.
pub const QUIT: &[u8] = &[0x01];

/// COM_QUERY with one statement, for a session without CLIENT_QUERY_ATTRIBUTES.
pub fn query(statement: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + statement.len());
    payload.push(0x03);
    payload.extend_from_slice(statement.as_bytes());
    payload
}

/// COM_REGISTER_REPLICA: makes us visible in SHOW REPLICAS.
///
/// ```text
/// 15 | u32 server_id | u8 len, host | u8 len, user | u8 len, password | u16 port | u32 0 | u32 0
/// ```
///
/// User and password are for show on the source and stay empty, as a replica without
/// `report_user` leaves them. `report_host` is cut to the 60 characters that the source keeps.
pub fn register_replica(server_id: u32, report_host: &str, report_port: u16) -> Vec<u8> {
    let mut cut = report_host.len().min(60);
    while !report_host.is_char_boundary(cut) {
        cut -= 1;
    }
    let host = report_host.get(..cut).unwrap_or_default();
    let mut payload = vec![0x15];
    payload.extend_from_slice(&server_id.to_le_bytes());
    payload.push(host.len() as u8);
    payload.extend_from_slice(host.as_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&report_port.to_le_bytes());
    payload.extend_from_slice(&[0; 8]);
    payload
}

/// How the binary log is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpFlags {
    /// BINLOG_DUMP_NON_BLOCK: an EOF packet at the end of the last file instead of waiting.
    pub non_block: bool,
    /// USE_HEARTBEAT_EVENT_V2: heartbeats whose position may exceed 4 GiB. Servers before 8.0.26
    /// do not know it and send heartbeats of version 1.
    pub heartbeat_v2: bool,
}

/// COM_BINLOG_DUMP_GTID: send every transaction that is not in `executed`.
///
/// ```text
/// 1e | u16 flags | u32 server_id | u32 0 (no file name) | u64 4 | u32 length | GTID set
/// ```
pub fn binlog_dump_gtid(
    server_id: u32,
    flags: DumpFlags,
    executed: &GtidSet,
    encoding: Encoding,
) -> Vec<u8> {
    let mut set = Vec::new();
    executed.encode(encoding, &mut set);
    let bits = u16::from(flags.non_block) | u16::from(flags.heartbeat_v2) << 1;
    let mut payload = vec![0x1e];
    payload.extend_from_slice(&bits.to_le_bytes());
    payload.extend_from_slice(&server_id.to_le_bytes());
    payload.extend_from_slice(&0_u32.to_le_bytes());
    payload.extend_from_slice(&4_u64.to_le_bytes());
    payload.extend_from_slice(&(set.len() as u32).to_le_bytes());
    payload.extend_from_slice(&set);
    payload
}

/// The statements that a 9.7 replica sends before it registers, in its order, and their reading.
pub mod replica {
    use super::Uuid;

    /// Asks for the source's clock.
    pub const CLOCK: &str = "SELECT UNIX_TIMESTAMP()";
    /// Asks for the source's server ID, which must differ from ours.
    pub const SERVER_ID: &str = "SELECT @@GLOBAL.SERVER_ID";
    /// Says that we verify checksums, so that events are sent with those of the binary log.
    pub const SET_CHECKSUM: &str = "SET @master_binlog_checksum = @@global.binlog_checksum, \
                                    @source_binlog_checksum = @@global.binlog_checksum";
    /// Asks which algorithm was agreed on.
    pub const CHECKSUM: &str = "SELECT @source_binlog_checksum";
    /// Asks for the GTID mode, which must be ON.
    pub const GTID_MODE: &str = "SELECT @@GLOBAL.GTID_MODE";
    /// Asks for the source's UUID, which must differ from ours.
    pub const SERVER_UUID: &str = "SELECT @@GLOBAL.SERVER_UUID";

    /// Sets how long the source may be silent before it sends a heartbeat.
    pub fn set_heartbeat_period(period: std::time::Duration) -> String {
        let nanoseconds = period.as_nanos();
        format!(
            "SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}"
        )
    }

    /// Names us; the source ends an older dump of the same UUID.
    pub fn set_replica_uuid(uuid: &Uuid) -> String {
        format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_command_is_byte_for_byte_that_of_a_real_replica() {
        // Captured from a 9.7.4 replica with server_id 81 and nothing executed.
        let flags = DumpFlags {
            non_block: false,
            heartbeat_v2: true,
        };
        let payload = binlog_dump_gtid(0x51, flags, &GtidSet::new(), Encoding::Shortest);
        let captured = [
            0x1e, 0x02, 0, 0x51, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0,
        ];
        assert_eq!(payload, captured);
    }

    #[test]
    fn a_long_report_host_is_cut_at_a_character() {
        let payload = register_replica(1, &"ä".repeat(40), 3306);
        assert_eq!(payload[5], 60);
        assert_eq!(payload.len(), 1 + 4 + 1 + 60 + 2 + 2 + 8);
        let payload = register_replica(1, &format!("x{}", "ä".repeat(40)), 3306);
        assert_eq!(payload[5], 59);
    }
}
