//! ERR packets, and what recovery makes of them.
//!
//! ```text
//! ff | u16 code | '#' SQLSTATE (5) | message        (before the login: no SQLSTATE)
//! ```
//!
//! A donor reports nearly every reason to end a dump as error 1236, told apart by text only. The
//! texts are those of the server's English messages, which the stream asks for; in another
//! `lc_messages` they give the general kind.

use std::borrow::Cow;

use super::reader::Reader;
use crate::{Error, ErrorKind, Result};

/// First byte of an ERR packet.
pub const ERR_HEADER: u8 = 0xff;

/// ER_SOURCE_FATAL_ERROR_READING_BINLOG: everything that ends a dump.
pub const ER_SOURCE_FATAL_ERROR_READING_BINLOG: u16 = 1236;

const ER_ACCESS_DENIED_ERROR: u16 = 1045;

const GRANT: &str = "grant the user what is missing: REPLICATION SLAVE for the binary log, SELECT on \
                     performance_schema for the members";

/// An ERR packet, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError<'a> {
    /// The error's number, as in the manual's "Server Error Message Reference".
    pub code: u16,
    /// The SQLSTATE, five characters, where the packet has one.
    pub sqlstate: Option<&'a [u8]>,
    /// The text, in the server's language.
    pub message: &'a [u8],
}

impl<'a> ServerError<'a> {
    /// Reads a packet that begins with [`ERR_HEADER`].
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for any other packet or one without a code.
    pub fn parse(packet: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(packet, "ERR packet");
        if reader.u8()? != ERR_HEADER {
            return Err(reader.malformed("the byte ff"));
        }
        let code = reader.u16()?;
        let text = reader.rest();
        let (sqlstate, message) = match text.split_first() {
            Some((b'#', state)) if state.len() >= 5 => {
                let (state, message) = state.split_at(5);
                (Some(state), message)
            }
            _ => (None, text),
        };
        Ok(Self {
            code,
            sqlstate,
            message,
        })
    }

    /// The message as text.
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.message)
    }

    /// The class of the error, from its code and, for 1236, from its text.
    pub fn kind(&self) -> ErrorKind {
        self.verdict().0
    }

    /// The error for people, for a refused connection or login, which `action` names.
    pub fn into_login_error(self, action: &str) -> Error {
        self.error(action, self.verdict())
    }

    /// The error for people, for a refused command; `action` names it ("SELECT 1", ...).
    pub fn into_error(self, action: &str) -> Error {
        match self.code {
            // COM_REGISTER_REPLICA without REPLICATION SLAVE has the text of a refused login.
            ER_ACCESS_DENIED_ERROR => self.error(action, (ErrorKind::Privilege, GRANT)),
            _ => self.error(action, self.verdict()),
        }
    }

    fn error(&self, action: &str, (kind, remedy): (ErrorKind, &str)) -> Error {
        let state = match self.sqlstate {
            Some(state) => format!(", SQLSTATE {}", String::from_utf8_lossy(state)),
            None => String::new(),
        };
        let error = Error::new(
            kind,
            format!(
                "{action} was refused: {} (error {}{state})",
                self.text().trim_end_matches('.'),
                self.code,
            ),
        );
        match remedy {
            "" => error,
            remedy => error.remedy(remedy),
        }
    }

    fn verdict(&self) -> (ErrorKind, &'static str) {
        use ErrorKind::{
            Authentication, Limit, Network, Privilege, Refused, Stopped, TimedOut, Tls, Unsupported,
        };
        match self.code {
            ER_SOURCE_FATAL_ERROR_READING_BINLOG => self.dump_verdict(),
            // Access denied, with and without a password; by the account's state; by plugin.
            ER_ACCESS_DENIED_ERROR | 1698 | 3118 | 3955 => (
                Authentication,
                "check user and password, and that the account exists for the host we connect from",
            ),
            1130 => (
                Authentication,
                "create the account for the host we connect from (the host part of 'user'@'host')",
            ),
            1129 => (
                Authentication,
                "run TRUNCATE TABLE performance_schema.host_cache on the donor, after mending the cause",
            ),
            1524 | 1251 | 2059 => (
                Authentication,
                "give the account the caching_sha2_password plugin (ALTER USER ... IDENTIFIED WITH)",
            ),
            1820 | 1862 => (
                Authentication,
                "the account's password has expired: set a new one with ALTER USER",
            ),
            3159 => (Tls, "use ssl-mode=REQUIRED or stronger"),
            1227 | 1044 | 1142 | 1143 | 1370 => (Privilege, GRANT),
            1040 | 1203 | 1226 => (
                Network,
                "raise max_connections or the account's limits on the donor, or wait",
            ),
            1158..=1161 | 1152 | 1184 | 2002 | 2003 | 2006 | 2013 => (Network, ""),
            1053 | 1077 | 3032 => (
                Stopped,
                "the donor is shutting down; choose another or wait",
            ),
            1317 | 3169 | 1927 => (Stopped, "an administrator killed the session on the donor"),
            4031 => (TimedOut, ""),
            1153 => (Limit, "raise max_allowed_packet on the donor"),
            1235 => (
                Unsupported,
                "use a donor of the same version that serves its rows as well as its binary logs",
            ),
            3634 => (Refused, "wait until other joiners have cloned this donor"),
            _ => (Refused, ""),
        }
    }

    /// Why a dump ended. Checked against the texts of 9.7 and, where they differ, 8.0.
    fn dump_verdict(&self) -> (ErrorKind, &'static str) {
        let text = self.text().to_ascii_lowercase();
        let has = |part: &str| text.contains(part);
        if has("purged required binary logs") || has("purged binary logs containing gtids") {
            return (
                ErrorKind::Purged,
                "another donor may still have them; if none has, clone the data \
                 or restore a newer backup",
            );
        }
        if has("has more gtids than") {
            return (
                ErrorKind::Ahead,
                "the store holds transactions that this donor lost: compare both before going on",
            );
        }
        if has("has connected to the") {
            return (
                ErrorKind::Stopped,
                "another replica uses our server UUID or server ID: give each member its own",
            );
        }
        if has("did not pass crc") || has("checksum verification") {
            return (
                ErrorKind::Checksum,
                "the donor's binary log is damaged: use another donor",
            );
        }
        if has("binlog truncated") || has("bogus data in log event") {
            return (
                ErrorKind::Malformed,
                "the donor's binary log is damaged: use another donor",
            );
        }
        if has("exceeded max_allowed_packet") {
            return (
                ErrorKind::Limit,
                "raise max_allowed_packet on the donor, or use another donor",
            );
        }
        if has("can not handle replication events with the checksum") {
            return (ErrorKind::Unsupported, "");
        }
        if has("anonymous transaction") || has("auto_position mode") {
            return (
                ErrorKind::Refused,
                "set gtid_mode=ON on the donor; its binary logs must hold only GTID transactions",
            );
        }
        (ErrorKind::Refused, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u16, text: &str) -> Vec<u8> {
        let mut packet = vec![ERR_HEADER];
        packet.extend_from_slice(&code.to_le_bytes());
        packet.extend_from_slice(b"#HY000");
        packet.extend_from_slice(text.as_bytes());
        packet
    }

    #[test]
    fn dump_errors_are_told_apart_by_their_text() {
        for (text, kind) in [
            (
                "Cannot replicate because the source purged required binary logs. Replicate the \
                 missing transactions from elsewhere",
                ErrorKind::Purged,
            ),
            (
                "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the \
                 master has purged binary logs containing GTIDs that the slave requires.",
                ErrorKind::Purged,
            ),
            (
                "Replica has more GTIDs than the source has, using the source's SERVER_UUID.",
                ErrorKind::Ahead,
            ),
            (
                "A replica with the same server_uuid/server_id as this replica has connected to \
                 the source; the first event '' at 4",
                ErrorKind::Stopped,
            ),
            (
                "event read from binlog did not pass crc check; the first event 'b.1' at 4",
                ErrorKind::Checksum,
            ),
            (
                "binlog truncated in the middle of event; consider out of disk space on source",
                ErrorKind::Malformed,
            ),
            (
                "log event entry exceeded max_allowed_packet; Increase max_allowed_packet",
                ErrorKind::Limit,
            ),
            (
                "The replication sender thread cannot start in AUTO_POSITION mode: this server \
                 has GTID_MODE = OFF instead of ON.",
                ErrorKind::Refused,
            ),
            ("etwas in einer anderen Sprache", ErrorKind::Refused),
        ] {
            let packet = packet(1236, text);
            assert_eq!(
                ServerError::parse(&packet).unwrap().kind(),
                kind,
                "text: {text}"
            );
        }
    }

    #[test]
    fn the_message_has_text_code_state_and_remedy() {
        let packet = packet(1045, "Access denied for user 'r'@'h' (using password: YES)");
        let error = ServerError::parse(&packet)
            .unwrap()
            .into_login_error("the login");
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert_eq!(
            error.message(),
            "the login was refused: Access denied for user 'r'@'h' (using password: YES) \
             (error 1045, SQLSTATE HY000)"
        );
        assert!(error.remedy_text().unwrap().contains("password"));
        let error = ServerError::parse(&packet).unwrap().into_error("SELECT 1");
        assert_eq!(error.kind(), ErrorKind::Privilege);
    }

    #[test]
    fn an_error_before_the_login_has_no_sqlstate() {
        let error = ServerError::parse(b"\xff\x69\x04Host '10.0.0.1' is blocked").unwrap();
        assert_eq!((error.code, error.sqlstate), (1129, None));
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(ServerError::parse(b"\xff\x01").is_err());
    }
}
