//! The answer to a text query, packet by packet.
//!
//! ```text
//! OK                                            a statement without rows
//! ERR                                           refused
//! column count | column * n | EOF | row* | EOF  rows (ERR possible in place of any row)
//! ```
//!
//! [`TextResult`] is the state machine; the session has neither CLIENT_DEPRECATE_EOF nor multiple
//! statements.

use super::reader::Reader;
use super::server_error::{ERR_HEADER, ServerError};
use crate::{Error, ErrorKind, Limits, Result};

const OK_HEADER: u8 = 0x00;
const EOF_HEADER: u8 = 0xfe;
const LOCAL_INFILE_HEADER: u8 = 0xfb;

/// What one packet of the answer meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Names of columns, or their end: read on.
    More,
    /// One row.
    Row(TextRow<'a>),
    /// The answer is complete.
    Complete,
}

/// One row of text values, borrowed from its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRow<'a> {
    packet: &'a [u8],
    columns: usize,
}

impl<'a> TextRow<'a> {
    /// The values: as many as the result has columns, `None` for NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the packet does not hold exactly that many.
    pub fn values(&self) -> Result<Vec<Option<&'a [u8]>>> {
        let mut reader = Reader::new(self.packet, "row of a query");
        let mut values = Vec::with_capacity(self.columns);
        for _ in 0..self.columns {
            values.push(reader.nullable_bytes()?);
        }
        if !reader.is_empty() {
            return Err(reader.malformed("the end of the row"));
        }
        Ok(values)
    }
}

/// Reads the packets that answer one COM_QUERY.
#[derive(Debug)]
pub struct TextResult {
    state: State,
    names: Vec<String>,
    columns: usize,
    columns_limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Columns,
    EndOfColumns,
    Rows,
    Complete,
}

impl TextResult {
    /// Waits for the first packet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::First,
            names: Vec::new(),
            columns: 0,
            columns_limit: limits.columns,
        }
    }

    /// The names of the columns; all of them once the first row has come.
    pub fn column_names(&self) -> &[String] {
        &self.names
    }

    /// Takes the names out, at the end.
    pub fn into_column_names(self) -> Vec<String> {
        self.names
    }

    /// Takes in one packet. `action` names the statement in an error.
    ///
    /// # Errors
    /// What the server refuses it with; [`ErrorKind::Malformed`], [`ErrorKind::Limit`] (columns), and
    /// [`ErrorKind::Unsupported`] for a request to send a local file.
    pub fn handle<'a>(&mut self, packet: &'a [u8], action: &str) -> Result<Progress<'a>> {
        if packet.first() == Some(&ERR_HEADER) {
            return Err(ServerError::parse(packet)?.into_error(action));
        }
        match self.state {
            State::First => self.first(packet),
            State::Columns => {
                self.names.push(column_name(packet)?);
                if self.names.len() == self.columns {
                    self.state = State::EndOfColumns;
                }
                Ok(Progress::More)
            }
            State::EndOfColumns if is_eof(packet) => {
                self.state = State::Rows;
                Ok(Progress::More)
            }
            State::Rows if is_eof(packet) => self.complete(eof_status(packet)?),
            State::Rows => Ok(Progress::Row(TextRow {
                packet,
                columns: self.columns,
            })),
            State::EndOfColumns | State::Complete => {
                Err(Reader::new(packet, "query result").malformed("the end of the column list"))
            }
        }
    }

    fn first<'a>(&mut self, packet: &'a [u8]) -> Result<Progress<'a>> {
        let mut reader = Reader::new(packet, "query result");
        match packet.first() {
            Some(&OK_HEADER) => {
                reader.u8()?;
                reader.length_encoded()?;
                reader.length_encoded()?;
                self.complete(reader.u16()?)
            }
            Some(&LOCAL_INFILE_HEADER) => Err(Error::new(
                ErrorKind::Unsupported,
                "the server asked for a file of this machine, which is never sent",
            )),
            _ => {
                let columns = reader.length_encoded()?;
                if columns == 0 || !reader.is_empty() {
                    return Err(reader.malformed("a number of columns"));
                }
                if columns > self.columns_limit as u64 {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        format!(
                            "query result has {columns} columns, more than {} (columns)",
                            self.columns_limit
                        ),
                    ));
                }
                self.columns = columns as usize;
                self.state = State::Columns;
                Ok(Progress::More)
            }
        }
    }

    fn complete<'a>(&mut self, status: u16) -> Result<Progress<'a>> {
        const SERVER_MORE_RESULTS_EXISTS: u16 = 8;
        if status & SERVER_MORE_RESULTS_EXISTS != 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the statement gives more than one result",
            ));
        }
        self.state = State::Complete;
        Ok(Progress::Complete)
    }
}

/// A packet that begins like EOF but is longer is a row whose first value is 16 MiB or more.
fn is_eof(packet: &[u8]) -> bool {
    packet.first() == Some(&EOF_HEADER) && packet.len() < 9
}

fn eof_status(packet: &[u8]) -> Result<u16> {
    let mut reader = Reader::new(packet, "EOF packet");
    reader.u8()?;
    let _warnings = reader.u16()?;
    reader.u16()
}

/// `catalog, schema, table, org_table, name, ...`, each with its length.
fn column_name(packet: &[u8]) -> Result<String> {
    let mut reader = Reader::new(packet, "column of a query");
    for _ in 0..4 {
        reader.length_encoded_bytes()?;
    }
    let name = reader.length_encoded_bytes()?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    const EOF: &[u8] = b"\xfe\0\0\x02\0";

    fn run(packets: &[&[u8]]) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
        let mut result = TextResult::new(&Limits::default());
        let mut rows = Vec::new();
        for packet in packets {
            match result.handle(packet, "SELECT 1")? {
                Progress::More => {}
                Progress::Row(row) => rows.push(
                    row.values()?
                        .into_iter()
                        .map(|value| value.map(<[u8]>::to_vec))
                        .collect(),
                ),
                Progress::Complete => return Ok(rows),
            }
        }
        panic!("incomplete")
    }

    #[test]
    fn rows_with_nulls_and_empty_strings() {
        let rows = run(&[b"\x02", COLUMN, COLUMN, EOF, b"\x02hi\xfb", b"\0\x01x", EOF]).unwrap();
        assert_eq!(
            rows,
            [
                [Some(b"hi".to_vec()), None],
                [Some(vec![]), Some(b"x".to_vec())]
            ]
        );
        assert!(run(&[b"\0\0\0\x02\0\0\0"]).unwrap().is_empty());
    }

    #[test]
    fn a_row_may_begin_like_an_eof_packet() {
        let mut long = b"\xfe\x00\x00\x00\x01\0\0\0\0".to_vec();
        long.resize(9 + (1 << 24), b'y');
        let rows = run(&[b"\x01", COLUMN, EOF, &long, EOF]).unwrap();
        assert_eq!(rows[0][0].as_ref().unwrap().len(), 1 << 24);
    }

    #[test]
    fn errors_come_in_place_of_any_row() {
        let err = b"\xff\x25\x05#70100Query execution was interrupted";
        assert_eq!(run(&[err]).unwrap_err().kind(), ErrorKind::Stopped);
        let error = run(&[b"\x01", COLUMN, EOF, b"\x01x", err]).unwrap_err();
        assert!(error.message().starts_with("SELECT 1 was refused: Query"));
    }

    #[test]
    fn odd_answers_are_errors() {
        for (packets, kind) in [
            (&[&b"\xfb/etc/passwd"[..]][..], ErrorKind::Unsupported),
            (&[b"\0\0\0\x0a\0\0\0"], ErrorKind::Unsupported),
            (&[b""], ErrorKind::Malformed),
            (&[b"\xfd\xff\xff\xff"], ErrorKind::Limit),
            (&[b"\x01", b"\x03de"], ErrorKind::Malformed),
            (&[b"\x01", COLUMN, b"\x01x"], ErrorKind::Malformed),
            (&[b"\x01", COLUMN, EOF, b"\x05x"], ErrorKind::Malformed),
            (&[b"\x01", COLUMN, EOF, b"\x01x\x01y"], ErrorKind::Malformed),
        ] {
            assert_eq!(run(packets).unwrap_err().kind(), kind, "{packets:?}");
        }
    }
}
