//! One error type, told apart by who is at fault.
//!
//! Recovery does not read error texts. It asks an [`Error`] whose [fault](Error::fault) it is and
//! which [kind](Error::kind) it is of: a donor's fault moves recovery to another donor, a fault of
//! the target or of the configuration ends it. The text is for people; it names the cause, where it
//! was met (GTID, donor, file and offset) and what can be done about it.

use std::fmt;

use crate::gtid::Gtid;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to change for the error to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The member that serves us: its server, its data, or the way to it.
    Donor,
    /// The group as a whole, or what it has become.
    Group,
    /// Where transactions are applied: its data, its disk.
    Target,
    /// What was asked for: addresses, users, settings.
    Configuration,
    /// This program.
    Ourselves,
}

/// What went wrong, as a class that decides the reaction.
///
/// The name of a kind in `--json` output is [`ErrorKind::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection could not be made, broke, or was closed by the peer.
    Network,
    /// Nothing came within the time allowed.
    TimedOut,
    /// The donor serves, but less than what was asked for as a minimum.
    TooSlow,
    /// The login was refused, or could not be made safely.
    Authentication,
    /// TLS could not be agreed on, or the certificate was not accepted.
    Tls,
    /// The user may not do what is needed (for example no REPLICATION SLAVE).
    Privilege,
    /// The donor no longer has the binary logs that are needed.
    Purged,
    /// We hold transactions of the donor's own UUID that the donor does not have.
    Ahead,
    /// The donor refused a command for another reason; the message has its code and text.
    Refused,
    /// The stream was ended by the donor (its administrator, or a second replica with our identity).
    Stopped,
    /// The donor left the group while it was serving us.
    DonorLeft,
    /// Bytes that break the format.
    Malformed,
    /// Bytes that differ from their checksum.
    Checksum,
    /// Well-formed, but nothing that this version can execute.
    Unsupported,
    /// One of [`Limits`](crate::Limits) was reached.
    Limit,
    /// A row to insert is there already, or a row to change is not: the data differs.
    Conflict,
    /// A schema change or row event does not fit the schema that the target knows.
    Schema,
    /// The target cannot do it now and may a moment later: the transaction is tried again.
    Transient,
    /// The target's disk failed or is full, or the memory that it may use.
    TargetIo,
    /// The target's files are damaged.
    TargetCorrupt,
    /// Another process uses the target.
    TargetLocked,
    /// No usable donor is left and all attempts are used up.
    NoDonor,
    /// The group cannot be reached, or is in no state to be joined.
    GroupUnavailable,
    /// The target holds transactions that the group does not know.
    Errant,
    /// The missing transactions are in nobody's binary logs any more.
    CloneNeeded,
    /// The group has executed transactions that neither a donor nor its feed has sent.
    Gap,
    /// A setting or option has a value that cannot be used.
    Configuration,
    /// The caller or an administrator asked to stop.
    Interrupted,
    /// A broken promise of our own code.
    Internal,
}

impl ErrorKind {
    /// The stable snake_case name used in `--json` output (`class`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::TimedOut => "timed_out",
            Self::TooSlow => "too_slow",
            Self::Authentication => "authentication",
            Self::Tls => "tls",
            Self::Privilege => "privilege",
            Self::Purged => "purged",
            Self::Ahead => "ahead",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
            Self::DonorLeft => "donor_left",
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::Unsupported => "unsupported",
            Self::Limit => "limit",
            Self::Conflict => "conflict",
            Self::Schema => "schema",
            Self::Transient => "transient",
            Self::TargetIo => "target_io",
            Self::TargetCorrupt => "target_corrupt",
            Self::TargetLocked => "target_locked",
            Self::NoDonor => "no_donor",
            Self::GroupUnavailable => "group_unavailable",
            Self::Errant => "errant",
            Self::CloneNeeded => "clone_needed",
            Self::Gap => "gap",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
        }
    }

    /// Who has to change for an error of this kind to go away.
    pub fn fault(self) -> Fault {
        match self {
            Self::Network
            | Self::TimedOut
            | Self::TooSlow
            | Self::Authentication
            | Self::Tls
            | Self::Privilege
            | Self::Purged
            | Self::Ahead
            | Self::Refused
            | Self::Stopped
            | Self::DonorLeft
            | Self::Malformed
            | Self::Checksum
            | Self::Unsupported
            | Self::Limit
            // Another member may hold data that agrees with ours (manual, 20.5.4.4).
            | Self::Conflict
            | Self::Schema => Fault::Donor,
            Self::NoDonor | Self::GroupUnavailable | Self::CloneNeeded | Self::Gap => Fault::Group,
            Self::Transient
            | Self::TargetIo
            | Self::TargetCorrupt
            | Self::TargetLocked
            | Self::Errant => Fault::Target,
            Self::Configuration | Self::Interrupted => Fault::Configuration,
            Self::Internal => Fault::Ourselves,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What failed, where, why, and what can be done about it.
///
/// ```
/// use rejoin::{Error, ErrorKind, Fault};
///
/// let error = Error::new(ErrorKind::Network, "connection refused")
///     .at_donor("db1:3306")
///     .remedy("check that mysqld runs there and that its port is reachable");
/// assert_eq!(error.fault(), Fault::Donor);
/// assert!(error.is_donor_fault());
/// assert_eq!(error.to_string(), "connection refused (donor db1:3306)");
/// ```
pub struct Error(Box<Report>);

#[derive(Debug)]
struct Report {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    gtid: Option<Gtid>,
    donor: Option<String>,
    file: Option<String>,
    offset: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`, with a message that says what happened (no trailing full stop).
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Report {
            kind,
            message: message.into(),
            remedy: None,
            gtid: None,
            donor: None,
            file: None,
            offset: None,
            source: None,
        }))
    }

    /// Adds what the reader of the message can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds the transaction in which it happened, unless one is known already.
    #[must_use]
    pub fn at_gtid(mut self, gtid: Gtid) -> Self {
        self.0.gtid.get_or_insert(gtid);
        self
    }

    /// Adds the donor (`host:port`) from which it came, unless one is known already.
    #[must_use]
    pub fn at_donor(mut self, donor: impl Into<String>) -> Self {
        self.0.donor.get_or_insert_with(|| donor.into());
        self
    }

    /// Adds the file in which it was met, unless one is known already.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// Adds the byte offset in the file or stream, unless one is known already.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Adds the error below this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Who has to change for it to go away.
    pub fn fault(&self) -> Fault {
        self.0.kind.fault()
    }

    /// The message alone, without where it happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What can be done about it, where that is known.
    pub fn remedy_text(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// The transaction in which it happened.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.0.gtid.as_ref()
    }

    /// The donor from which it came, as `host:port`.
    pub fn donor(&self) -> Option<&str> {
        self.0.donor.as_deref()
    }

    /// The byte offset at which it was met.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Whether another donor may do better: recovery fails over instead of ending.
    pub fn is_donor_fault(&self) -> bool {
        self.fault() == Fault::Donor
    }

    /// Whether the same donor may do better a moment later (its data and ours are not in question).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Network | ErrorKind::TimedOut | ErrorKind::Stopped | ErrorKind::Refused
        )
    }

    /// Whether only a clone can bring the missing transactions.
    pub fn needs_clone(&self) -> bool {
        self.0.kind == ErrorKind::CloneNeeded
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.0;
        f.write_str(&report.message)?;
        let mut separator = " (";
        if let Some(gtid) = &report.gtid {
            write!(f, "{separator}GTID {gtid}")?;
            separator = ", ";
        }
        if let Some(donor) = &report.donor {
            write!(f, "{separator}donor {donor}")?;
            separator = ", ";
        }
        if let Some(file) = &report.file {
            write!(f, "{separator}file {file}")?;
            separator = ", ";
        }
        if let Some(offset) = report.offset {
            write!(f, "{separator}offset {offset}")?;
            separator = ", ";
        }
        if separator == ", " {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_named_is_kept() {
        let error = Error::new(ErrorKind::Checksum, "event differs from its checksum")
            .at_donor("a:1")
            .at_donor("b:2")
            .at_offset(4);
        assert_eq!(
            error.to_string(),
            "event differs from its checksum (donor a:1, offset 4)"
        );
    }

    #[test]
    fn a_conflict_moves_to_another_donor_and_a_full_disk_does_not() {
        assert!(Error::new(ErrorKind::Conflict, "x").is_donor_fault());
        assert!(!Error::new(ErrorKind::TargetIo, "x").is_donor_fault());
    }
}
