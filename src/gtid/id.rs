//! The names: UUID, tag, TSID (both together), GTID.

use std::fmt;

/// The largest transaction number that a server gives: 2^63 − 2.
pub const MAX_GNO: u64 = i64::MAX as u64 - 1;

/// A server's or group's UUID, 16 bytes as they stand in events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A random UUID (version 4) from 16 random bytes.
    ///
    /// ```
    /// let uuid = rejoin::gtid::Uuid::from_random([7; 16]);
    /// assert_eq!(uuid.to_string(), "07070707-0707-4707-8707-070707070707");
    /// ```
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A GTID's tag: up to 32 characters `[a-z_][a-z0-9_]*`, or none (the empty tag).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag {
    // Zero behind the end, so that the derived order is the order of the texts.
    bytes: [u8; Tag::MAX_LENGTH],
    length: u8,
}

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LENGTH: usize = 32;

    /// No tag.
    pub const NONE: Self = Self {
        bytes: [0; Tag::MAX_LENGTH],
        length: 0,
    };

    /// A tag from its text; upper case is folded as mysqld does. `None` if it is not a valid tag.
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.len() > Self::MAX_LENGTH {
            return None;
        }
        let mut tag = Self::NONE;
        for (i, (to, from)) in tag.bytes.iter_mut().zip(text).enumerate() {
            let byte = from.to_ascii_lowercase();
            let valid =
                byte.is_ascii_lowercase() || byte == b'_' || (i > 0 && byte.is_ascii_digit());
            if !valid {
                return None;
            }
            *to = byte;
        }
        tag.length = text.len() as u8;
        Some(tag)
    }

    /// Whether there is no tag.
    pub fn is_none(&self) -> bool {
        self.length == 0
    }

    /// The tag's text; empty where there is none.
    pub fn as_str(&self) -> &str {
        let bytes = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Transaction source identifier: UUID and tag. Sets are ordered by it, UUID first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tsid {
    /// The server's or group's UUID.
    pub uuid: Uuid,
    /// The tag, or [`Tag::NONE`].
    pub tag: Tag,
}

impl fmt::Display for Tsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uuid)?;
        if !self.tag.is_none() {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One transaction's identifier.
///
/// ```
/// use rejoin::gtid::Gtid;
/// let gtid: Gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23".parse()?;
/// assert_eq!(gtid.gno, 23);
/// # Ok::<(), rejoin::gtid::ParseGtidError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// Who gave it.
    pub tsid: Tsid,
    /// Its number there, 1 to [`MAX_GNO`].
    pub gno: u64,
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tsid, self.gno)
    }
}

impl fmt::Debug for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
