//! What numbers of the log are called, and times as text.

use std::fmt::Write;

use crate::binlog::{EventHeader, RowsEvent, TableMap, Timestamp};

/// Flags of event headers.
pub(super) const HEADER_FLAGS: &[(u16, &str)] = &[
    (EventHeader::BINLOG_IN_USE, "BINLOG_IN_USE"),
    (EventHeader::THREAD_SPECIFIC, "THREAD_SPECIFIC"),
    (EventHeader::SUPPRESS_USE, "SUPPRESS_USE"),
    (EventHeader::ARTIFICIAL, "ARTIFICIAL"),
    (EventHeader::RELAY_LOG, "RELAY_LOG"),
    (EventHeader::IGNORABLE, "IGNORABLE"),
    (EventHeader::NO_FILTER, "NO_FILTER"),
    (EventHeader::MTS_ISOLATE, "MTS_ISOLATE"),
];

/// Flags of row events.
pub(super) const ROWS_FLAGS: &[(u16, &str)] = &[
    (RowsEvent::STMT_END, "STMT_END"),
    (RowsEvent::NO_FOREIGN_KEY_CHECKS, "NO_FOREIGN_KEY_CHECKS"),
    (RowsEvent::RELAXED_UNIQUE_CHECKS, "RELAXED_UNIQUE_CHECKS"),
    (RowsEvent::COMPLETE_ROWS, "COMPLETE_ROWS"),
    (RowsEvent::USE_SQL_FOREIGN_KEY, "USE_SQL_FOREIGN_KEY"),
];

/// Flags of table maps.
pub(super) const TABLE_FLAGS: &[(u16, &str)] = &[
    (TableMap::BIT_LEN_EXACT, "BIT_LEN_EXACT"),
    (TableMap::REFERRED_FK_DB, "REFERRED_FK_DB"),
    (TableMap::GENERATED_INVISIBLE_PK, "GENERATED_INVISIBLE_PK"),
];

/// Session variables that share one number in Query events: the bit, the name, and the value that
/// the bit stands for.
pub(super) const SESSION_BITS: &[(u32, &str, bool)] = &[
    (1 << 26, "foreign_key_checks", false),
    (1 << 14, "sql_auto_is_null", true),
    (1 << 27, "unique_checks", false),
    (1 << 19, "autocommit", false),
];

/// The names of the flags that are set, and the number of what has none.
pub(super) fn flags(flags: u16, names: &[(u16, &'static str)]) -> Vec<String> {
    let mut unknown = flags;
    let mut found = Vec::new();
    for (flag, name) in names {
        if flags & flag != 0 {
            found.push((*name).to_owned());
            unknown &= !flag;
        }
    }
    if unknown != 0 {
        found.push(format!("{unknown:#06x}"));
    }
    found
}

/// `YYYY-MM-DD hh:mm:ss` in UTC.
pub(super) fn time(seconds: u32, out: &mut Vec<u8>) {
    let timestamp = Timestamp {
        seconds,
        microseconds: 0,
        fraction_digits: 0,
    };
    timestamp.to_date_time(0).write_text(out);
}

/// Microseconds since 1970 as `YYYY-MM-DD hh:mm:ss.ffffff` in UTC.
pub(super) fn time_us(microseconds: u64, out: &mut Vec<u8>) {
    let Ok(seconds) = u32::try_from(microseconds / 1_000_000) else {
        return out.extend_from_slice(b"after 2106");
    };
    let timestamp = Timestamp {
        seconds,
        microseconds: (microseconds % 1_000_000) as u32,
        fraction_digits: 6,
    };
    timestamp.to_date_time(0).write_text(out);
}

/// Seconds since 1970 of `YYYY-MM-DD[ hh:mm[:ss]]` (or with `T`) in UTC.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, time),
        None => (text, "0:0:0"),
    };
    let numbers = |text: &str, separator| -> Option<Vec<i64>> {
        text.split(separator)
            .map(|part| {
                let digits =
                    (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| part.parse().ok()).flatten()
            })
            .collect()
    };
    let date = numbers(date, '-')?;
    let [year, month @ 1..=12, day @ 1..=31] = date[..] else {
        return None;
    };
    let mut time = numbers(time, ':')?;
    time.resize(time.len().max(3), 0);
    let [hour @ 0..=23, minute @ 0..=59, second @ 0..=59] = time[..] else {
        return None;
    };
    // Days of the civil calendar, counted in years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A UUID's text form, or an event's number of a server's version as `9.7.4`.
pub(super) fn server_version(number: u32) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{}.{}.{}",
        number / 10_000,
        number / 100 % 100,
        number % 100
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_they_are_written() {
        for (text, expected) in [
            ("1970-01-01 00:00:00", Some(0)),
            ("2026-11-21 02:57:20", Some(1_795_229_840)),
            ("2024-02-29T23:59:59", Some(1_709_251_199)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2024-13-01", None),
            ("2024-1", None),
            ("2024-01-01 24:00:00", None),
            ("2024-01-01 1:2:3:4", None),
            ("+2024-01-01", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        let mut out = Vec::new();
        time(1_795_229_840, &mut out);
        assert_eq!(out, b"2026-11-21 02:57:20");
    }

    #[test]
    fn unknown_flags_are_shown_as_a_number() {
        assert_eq!(flags(0x8081, ROWS_FLAGS), ["STMT_END", "0x8080"]);
    }
}
