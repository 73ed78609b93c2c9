//! Payloads that answer a command.
//!
//! ```text
//! OK     00 | length-encoded rows | length-encoded id | u16 status | u16 warnings
//! EOF    fe | u16 warnings | u16 status
//! ERR    ff | u16 code | '#' SQLSTATE (5) | message
//! rows   count | column * n | EOF | row * m | EOF
//! ```

use crate::wire::server_error::ERR_HEADER;

/// Autocommit is on, as in every session of ours.
const STATUS: [u8; 2] = [0x02, 0x00];

/// Longest message of an ERR packet; servers cut theirs, too (`MYSQL_ERRMSG_SIZE` less the NUL).
pub const MESSAGE_LENGTH: usize = 511;

/// Why a command is refused, with the number that a MySQL server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's number, as in the manual's "Server Error Message Reference".
    pub code: u16,
    /// Its SQLSTATE.
    pub sqlstate: &'static str,
    /// The text.
    pub message: String,
}

impl Refusal {
    /// An error without an SQLSTATE of its own.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self::with_state(code, "HY000", message)
    }

    /// An error with its SQLSTATE, five characters.
    pub fn with_state(code: u16, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            sqlstate,
            message: message.into(),
        }
    }

    /// The ERR packet. Messages are cut at [`MESSAGE_LENGTH`] bytes.
    pub fn packet(&self) -> Vec<u8> {
        let mut cut = self.message.len().min(MESSAGE_LENGTH);
        while !self.message.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut packet = vec![ERR_HEADER];
        packet.extend_from_slice(&self.code.to_le_bytes());
        packet.push(b'#');
        packet.extend_from_slice(self.sqlstate.as_bytes());
        packet.extend_from_slice(self.message.get(..cut).unwrap_or_default().as_bytes());
        packet
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (error {})", self.message, self.code)
    }
}

/// Done, without rows.
pub const OK: &[u8] = &[0x00, 0, 0, STATUS[0], STATUS[1], 0, 0];

/// The end of columns, of rows, and of a dump.
pub const EOF: &[u8] = &[0xfe, 0, 0, STATUS[0], STATUS[1]];

/// The packets that begin a result: how many columns, their names.
pub fn head(columns: &[&str]) -> Vec<Vec<u8>> {
    let mut packets = Vec::with_capacity(columns.len() + 2);
    let mut count = Vec::new();
    put_length(columns.len() as u64, &mut count);
    packets.push(count);
    packets.extend(columns.iter().map(|name| column(name)));
    packets.push(EOF.to_vec());
    packets
}

/// The packet of a row, whose values may be any bytes.
pub fn row(values: &[&[u8]]) -> Vec<u8> {
    let length: usize = values.iter().map(|value| value.len() + 9).sum();
    let mut packet = Vec::with_capacity(length);
    for value in values {
        put_bytes(value, &mut packet);
    }
    packet
}

/// The packets of a result: names of the columns, rows of text values.
pub fn rows(columns: &[String], rows: &[Vec<Option<String>>]) -> Vec<Vec<u8>> {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut packets = head(&names);
    for row in rows {
        let mut packet = Vec::new();
        for value in row {
            match value {
                Some(text) => put_bytes(text.as_bytes(), &mut packet),
                None => packet.push(0xfb),
            }
        }
        packets.push(packet);
    }
    packets.push(EOF.to_vec());
    packets
}

/// A column of text: `catalog, schema, table, org_table, name, org_name`, then twelve bytes of
/// character set, length, type, flags and decimals.
fn column(name: &str) -> Vec<u8> {
    const UTF8MB4_GENERAL_CI: u16 = 45;
    const VAR_STRING: u8 = 253;
    let mut packet = Vec::new();
    for text in ["def", "", "", "", name, ""] {
        put_bytes(text.as_bytes(), &mut packet);
    }
    packet.push(12);
    packet.extend_from_slice(&UTF8MB4_GENERAL_CI.to_le_bytes());
    packet.extend_from_slice(&65_535_u32.to_le_bytes());
    packet.push(VAR_STRING);
    packet.extend_from_slice(&[0, 0, 31, 0, 0]);
    packet
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_length(length: u64, out: &mut Vec<u8>) {
    let bytes = length.to_le_bytes();
    let (prefix, size) = match length {
        0..=0xfa => (None, 1),
        0xfb..=0xffff => (Some(0xfc), 2),
        0x1_0000..=0xff_ffff => (Some(0xfd), 3),
        _ => (Some(0xfe), 8),
    };
    out.extend(prefix);
    out.extend_from_slice(bytes.get(..size).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::wire::result_set::{Progress, TextResult};
    use crate::wire::server_error::ServerError;

    #[test]
    fn our_own_client_reads_the_rows() {
        let long = "x".repeat(70_000);
        let values = vec![
            vec![Some("a".to_owned()), None],
            vec![Some(long.clone()), Some(String::new())],
        ];
        let packets = rows(&["one".to_owned(), "@two".to_owned()], &values);
        let mut result = TextResult::new(&Limits::default());
        let mut read = Vec::new();
        for packet in &packets {
            if let Progress::Row(row) = result.handle(packet, "").unwrap() {
                let row = row.values().unwrap().into_iter();
                read.push(
                    row.map(|value| value.map(|text| String::from_utf8(text.to_vec()).unwrap()))
                        .collect::<Vec<_>>(),
                );
            }
        }
        assert_eq!(read, values);
        assert_eq!(result.column_names(), ["one", "@two"]);
    }

    #[test]
    fn a_long_message_is_cut_as_a_server_cuts_it() {
        let refusal = Refusal::new(1236, "ä".repeat(400));
        let packet = refusal.packet();
        let error = ServerError::parse(&packet).unwrap();
        assert_eq!((error.code, error.message.len()), (1236, 510));
    }
}
