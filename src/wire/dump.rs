//! Packets of a binary log dump.
//!
//! ```text
//! 00 | event        one event, with its checksum if the file has them
//! ff ...            ERR: the dump has failed
//! fe ... (< 9)      EOF: the dump has ended (non-blocking dump at its end, or a killed session)
//! ```
//!
//! Semi-synchronous sources put two bytes between `00` and the event, but only for replicas that ask
//! for it with `@rpl_semi_sync_replica`. Recovery never does: a donor with the plugin serves it like
//! any asynchronous replica.

use super::server_error::{ERR_HEADER, ServerError};
use crate::binlog::EventHeader;
use crate::{Error, ErrorKind, Result};

/// One packet of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpPacket<'a> {
    /// The bytes of one event.
    Event(&'a [u8]),
    /// The source ended the dump without an error.
    End,
}

/// Tells the packets of a dump apart.
///
/// # Errors
/// What the donor reports in an ERR packet ([`ServerError::kind`]); [`ErrorKind::Malformed`] for
/// anything that is none of the three.
#[inline]
pub fn parse(packet: &[u8]) -> Result<DumpPacket<'_>> {
    match packet.split_first() {
        Some((0, event)) => Ok(DumpPacket::Event(event)),
        _ => parse_end(packet),
    }
}

/// Checks a packet of which only a part has come: the event in it says how long it is.
///
/// A packet's own header has no checksum. If it claims too much, the packets behind it, heartbeats
/// among them, would be taken for its body, and waited for without end.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the packet's `length` is not that of its event.
pub fn check_incomplete(length: usize, body: &[u8]) -> Result<()> {
    let Some((0, event)) = body.split_first() else {
        return Ok(());
    };
    match EventHeader::decode(event) {
        Ok(header) if header.length as usize + 1 != length => Err(Error::new(
            ErrorKind::Malformed,
            format!(
                "packet of {length} bytes for an event of {} bytes",
                header.length
            ),
        )),
        // One that is too short to say so yet, or damaged, shows when the packet is whole.
        _ => Ok(()),
    }
}

#[cold]
fn parse_end(packet: &[u8]) -> Result<DumpPacket<'_>> {
    match packet.first() {
        Some(&ERR_HEADER) => Err(ServerError::parse(packet)?.into_error("the binary log dump")),
        Some(0xfe) if packet.len() < 9 => Ok(DumpPacket::End),
        first => Err(Error::new(
            ErrorKind::Malformed,
            match first {
                Some(byte) => format!("packet of the dump begins with the unknown byte {byte:02x}"),
                None => "packet of the dump is empty".to_owned(),
            },
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_claims_too_much_is_seen_before_it_is_whole() {
        let header = EventHeader {
            timestamp: 0,
            event_type: crate::binlog::EventType::HEARTBEAT,
            server_id: 1,
            length: 40,
            end_log_pos: 0,
            flags: 0,
        };
        let mut body = vec![0];
        body.extend_from_slice(&header.encode());
        assert!(check_incomplete(41, &body).is_ok());
        let error = check_incomplete(41 + (1 << 20), &body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(check_incomplete(1 << 20, &body[..19]).is_ok());
        assert!(check_incomplete(1 << 20, b"\xffmessage of an error that is still coming").is_ok());
        assert!(check_incomplete(1 << 20, b"").is_ok());
    }

    #[test]
    fn event_end_and_error_are_told_apart() {
        assert_eq!(parse(b"\0ev").unwrap(), DumpPacket::Event(b"ev"));
        // Both forms of EOF: of this protocol, and the OK packet that replaces it.
        for end in [
            &b"\xfe\0\0\0\0"[..],
            b"\xfe\0\0\x02\0\0\0",
            b"\xfe",
            b"\xfe\0\0\x02\0\0\0\0",
        ] {
            assert_eq!(parse(end).unwrap(), DumpPacket::End);
        }
        let error = parse(b"\xff\xd4\x04#HY000Cannot replicate").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        for odd in [&b""[..], b"\x01x", b"\xfe123456789"] {
            assert_eq!(parse(odd).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }
}
