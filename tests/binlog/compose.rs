//! Events made by hand.

use rejoin::binlog::{ChecksumAlgorithm, EventHeader, EventType, FormatDescription};

/// An event with its checksum.
pub(crate) fn event(
    event_type: EventType,
    flags: u16,
    body: &[u8],
    checksum: ChecksumAlgorithm,
) -> Vec<u8> {
    let header = EventHeader {
        timestamp: 7,
        event_type,
        server_id: 3,
        length: (EventHeader::SIZE + body.len() + checksum.size()) as u32,
        end_log_pos: 0,
        flags,
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(body);
    checksum.append(0, &mut bytes);
    bytes
}

/// The format description of a server.
pub(crate) fn format(version: &str, checksum: ChecksumAlgorithm) -> FormatDescription {
    FormatDescription::new(version, checksum).unwrap()
}

/// The event of [`format`].
pub(crate) fn format_event(version: &str, checksum: ChecksumAlgorithm) -> Vec<u8> {
    let mut bytes = Vec::new();
    format(version, checksum).encode(7, 3, false, &mut bytes);
    bytes
}

/// The body of a rotate event.
pub(crate) fn rotate(file: &str, position: u64) -> Vec<u8> {
    let mut body = position.to_le_bytes().to_vec();
    body.extend_from_slice(file.as_bytes());
    body
}

/// A rotate event that no file has.
pub(crate) fn fake_rotate(file: &str, checksum: ChecksumAlgorithm) -> Vec<u8> {
    let body = rotate(file, 4);
    event(EventType::ROTATE, EventHeader::ARTIFICIAL, &body, checksum)
}

/// The body of a Gtid event of 5.6: flags, uuid, gno.
pub(crate) fn gtid(gno: u64) -> Vec<u8> {
    let mut body = vec![1];
    body.extend_from_slice(&[0xaa; 16]);
    body.extend_from_slice(&gno.to_le_bytes());
    body
}

/// The body of a Query event.
pub(crate) fn query(statement: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend_from_slice(&[1, 0, 0, 0, 0, b'd', 0]);
    body.extend_from_slice(statement.as_bytes());
    body
}

/// The body of a table map of table `d.t` with id 5: types, metadata, optional metadata.
pub(crate) fn table_map(types: &[u8], metadata: &[u8], optional: &[u8]) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0];
    body.extend_from_slice(b"\x01d\0\x01t\0");
    body.push(types.len() as u8);
    body.extend_from_slice(types);
    body.push(metadata.len() as u8);
    body.extend_from_slice(metadata);
    body.extend(std::iter::repeat_n(0xff, types.len().div_ceil(8)));
    body.extend_from_slice(optional);
    body
}

/// The body of a row event, version 2, of table id 5: width and bitmaps are for all columns.
pub(crate) fn rows(width: u8, bitmaps: usize, images: &[u8]) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, width];
    body.extend(std::iter::repeat_n(
        0xff,
        bitmaps * usize::from(width).div_ceil(8),
    ));
    body.extend_from_slice(images);
    body
}
