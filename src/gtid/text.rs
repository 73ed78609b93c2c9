//! The text form: `uuid[:tag]:interval[:interval...][:tag:interval...], ...`.
//!
//! What is accepted is what mysqld 9.7 accepts (measured): white space and empty items anywhere,
//! UUIDs with or without dashes or in braces, tags in any case, a reversed interval as empty, a UUID
//! or tag without intervals as nothing. A tag applies until the next tag.

use std::fmt;
use std::str::FromStr;

use super::{Gtid, GtidSet, Interval, MAX_GNO, Tag, Tsid, Uuid};

/// A text that is no UUID, GTID or GTID set; says which part, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not a valid {expected}")]
pub struct ParseGtidError {
    part: String,
    expected: &'static str,
}

fn invalid(part: &str, expected: &'static str) -> ParseGtidError {
    ParseGtidError {
        // The text may be a hostile server's; a person needs only its beginning.
        part: part.chars().take(80).collect(),
        expected,
    }
}

impl FromStr for Uuid {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let error = || invalid(text, "UUID");
        let inner = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(error)?,
            None => text,
        };
        let dashed = inner.len() == 36;
        let mut digits = inner
            .bytes()
            .enumerate()
            .filter(|(i, byte)| !(dashed && *byte == b'-' && matches!(i, 8 | 13 | 18 | 23)));
        let mut digit = || {
            digits
                .next()
                .and_then(|(_, byte)| char::from(byte).to_digit(16))
                .map(|value| value as u8)
        };
        let mut uuid = Uuid::default();
        for byte in &mut uuid.0 {
            let high = digit().ok_or_else(error)?;
            *byte = high << 4 | digit().ok_or_else(error)?;
        }
        match digits.next() {
            None => Ok(uuid),
            Some(_) => Err(error()),
        }
    }
}

impl FromStr for Gtid {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let set: GtidSet = text.parse()?;
        let mut intervals = set.intervals();
        match (intervals.next(), intervals.next()) {
            (Some((tsid, interval)), None) if interval.count() == 1 => Ok(Gtid {
                tsid: *tsid,
                gno: interval.start,
            }),
            _ => Err(invalid(text, "GTID")),
        }
    }
}

impl FromStr for GtidSet {
    type Err = ParseGtidError;

    fn from_str(text: &str) -> Result<Self, ParseGtidError> {
        let mut set = GtidSet::new();
        for item in text.split(',') {
            let item: String = item.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            if item.is_empty() {
                continue;
            }
            let mut parts = item.split(':');
            let mut tsid = Tsid {
                uuid: parts.next().unwrap_or_default().parse()?,
                tag: Tag::NONE,
            };
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    set.insert_interval(tsid, interval(part)?);
                } else {
                    tsid.tag = Tag::new(part.as_bytes())
                        .filter(|tag| !tag.is_none())
                        .ok_or_else(|| invalid(part, "tag or interval"))?;
                }
            }
        }
        Ok(set)
    }
}

fn interval(part: &str) -> Result<Interval, ParseGtidError> {
    let number = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|gno| (1..=MAX_GNO).contains(gno) && !text.starts_with('+'))
            .ok_or_else(|| invalid(part, "interval of transaction numbers"))
    };
    let (start, last) = match part.split_once('-') {
        Some((start, last)) => (number(start)?, number(last)?),
        None => (number(part)?, number(part)?),
    };
    Ok(Interval {
        start,
        end: (last + 1).max(start),
    })
}

/// As mysqld prints it, on one line; with `{:#}` each UUID begins a line of its own.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if f.alternate() { ",\n" } else { "," };
        let mut previous: Option<Uuid> = None;
        for (tsid, list) in self.sources() {
            if previous != Some(tsid.uuid) {
                if previous.is_some() {
                    f.write_str(separator)?;
                }
                write!(f, "{}", tsid.uuid)?;
                previous = Some(tsid.uuid);
            }
            if !tsid.tag.is_none() {
                write!(f, ":{}", tsid.tag)?;
            }
            for interval in list {
                write!(f, ":{}", interval.start)?;
                if interval.count() > 1 {
                    write!(f, "-{}", interval.end - 1)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn canonical(text: &str) -> String {
        text.replace('U', U)
            .parse::<GtidSet>()
            .map_or_else(|error| format!("error: {error}"), |set| set.to_string())
            .replace(U, "U")
    }

    /// Each line measured on mysqld 9.7.
    #[test]
    fn reads_what_mysqld_reads() {
        for (text, expected) in [
            ("", ""),
            (" , ,", ""),
            ("U:5-1", ""),
            ("U", ""),
            ("U:tag", ""),
            ("U:1:tag", "U:1"),
            ("U:007", "U:7"),
            ("U:t:1:1-3:T:2-5", "U:t:1-5"),
            ("U:3,U:1-2", "U:1-3"),
            ("U: 1 - 3", "U:1-3"),
            ("U:1-5:7", "U:1-5:7"),
            ("U:9223372036854775806", "U:9223372036854775806"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
        for text in [
            "U:",
            "U:0",
            "U:9223372036854775807",
            "U:1-",
            "U:-1",
            "U:1--2",
            "U:1-+2",
            "U:a-b",
            "3e11fa47:1",
            "U:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1",
        ] {
            assert!(canonical(text).starts_with("error"), "{text}");
        }
    }

    #[test]
    fn uuids_with_and_without_dashes_are_equal() {
        let plain = U.replace('-', "");
        assert_eq!(plain.parse::<Uuid>(), U.parse());
        assert_eq!(format!("{{{U}}}").parse::<Uuid>(), U.parse());
        assert!(
            "-e11fa47-71ca-11e1-9e33-c80aa9429562"
                .parse::<Uuid>()
                .is_err()
        );
    }

    #[test]
    fn prints_tags_behind_their_uuid() {
        let other = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        let text = format!("{U}:1-3:blue:2:red:4-5,{other}:7");
        let set: GtidSet = text.parse().unwrap();
        assert_eq!(set.to_string(), text);
        assert_eq!(format!("{set:#}"), text.replace(',', ",\n"));
        assert_eq!(set.source_count(), 4);
    }
}
