//! Dates and times.
//!
//! ```text
//! DATE       3 bytes, little-endian: year << 9 | month << 5 | day
//! TIME       3 bytes and fraction, big-endian, as one number biased by 0x800000 << fraction bits:
//!            (hours << 12 | minutes << 6 | seconds) << fraction bits | fraction
//! DATETIME   5 bytes and fraction, big-endian, biased by 0x8000000000:
//!            (year * 13 + month) << 22 | day << 17 | hours << 12 | minutes << 6 | seconds
//! TIMESTAMP  4 bytes and fraction, big-endian: seconds since 1970 UTC
//! fraction   of 1-2, 3-4, 5-6 digits: 1, 2, 3 bytes, in units of 10^-2, 10^-4, 10^-6 s
//! ```
//!
//! Invalid calendar values (month 0, 31 February) are legal where the server's `sql_mode` let them in.

use std::io::Write;

/// A DATE; all zero for `0000-00-00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// 0 to 9999.
    pub year: u16,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A TIME: a time span of up to 838:59:59.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    /// Whether it is below zero.
    pub is_negative: bool,
    /// 0 to 838.
    pub hours: u16,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub microseconds: u32,
    /// Digits of the fraction that the column has, 0 to 6.
    pub fraction_digits: u8,
}

/// A DATETIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// 0 to 999,999.
    pub microseconds: u32,
    /// Digits of the fraction that the column has, 0 to 6.
    pub fraction_digits: u8,
}

/// A TIMESTAMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Seconds since 1970 UTC; 0 with no microseconds for `0000-00-00 00:00:00`.
    pub seconds: u32,
    /// 0 to 999,999.
    pub microseconds: u32,
    /// Digits of the fraction that the column has, 0 to 6.
    pub fraction_digits: u8,
}

impl Date {
    #[inline]
    pub(super) fn from_packed(bytes: [u8; 3]) -> Self {
        let [a, b, c] = bytes;
        let packed = u32::from_le_bytes([a, b, c, 0]);
        Self {
            year: (packed >> 9) as u16,
            month: (packed >> 5 & 15) as u8,
            day: (packed & 31) as u8,
        }
    }

    /// Appends `YYYY-MM-DD`.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail; the same below.
        let _ = write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day);
    }
}

/// Big-endian number of up to 8 bytes.
#[inline]
fn big_endian(bytes: &[u8]) -> u64 {
    // The lengths that columns have, each as a few shifts.
    match *bytes {
        [a, b, c] => u64::from_be_bytes([0, 0, 0, 0, 0, a, b, c]),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e] => u64::from_be_bytes([0, 0, 0, a, b, c, d, e]),
        [a, b, c, d, e, f] => u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
        _ => bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

/// The first bytes, which every value of the type has, and the fraction behind them.
#[inline]
fn split_or_zero<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    match bytes.split_first_chunk() {
        Some((front, fraction)) => (*front, fraction),
        None => ([0; N], &[]),
    }
}

/// Microseconds of a fraction of up to three bytes, big-endian.
#[inline]
fn fraction_of(bytes: &[u8]) -> u32 {
    match *bytes {
        [] => 0,
        [a] => u32::from(a) * 10_000,
        [a, b] => u32::from(u16::from_be_bytes([a, b])) * 100,
        [a, b, c, ..] => u32::from_be_bytes([0, a, b, c]),
    }
}

/// Microseconds of a fraction of so many bytes.
#[inline]
fn microseconds(fraction: u64, bytes: u32) -> u32 {
    let unit = match bytes {
        0 => return 0,
        1 => 10_000,
        2 => 100,
        _ => 1,
    };
    (fraction * unit) as u32
}

impl Time {
    /// From 3 to 6 bytes.
    #[inline]
    pub(super) fn from_packed(bytes: &[u8], fraction_digits: u8) -> Self {
        let fraction_bytes = u32::from(fraction_digits.min(6)).div_ceil(2);
        let biased = big_endian(bytes) as i64 - (0x80_0000 << (8 * fraction_bytes));
        let magnitude = biased.unsigned_abs();
        let hms = magnitude >> (8 * fraction_bytes);
        let fraction = magnitude & ((1 << (8 * fraction_bytes)) - 1);
        Self {
            is_negative: biased < 0,
            hours: (hms >> 12 & 0x3ff) as u16,
            minutes: (hms >> 6 & 63) as u8,
            seconds: (hms & 63) as u8,
            microseconds: microseconds(fraction, fraction_bytes),
            fraction_digits,
        }
    }

    /// From the form before 5.6: a signed HHMMSS.
    pub(super) fn from_old(bytes: [u8; 3]) -> Self {
        let [a, b, c] = bytes;
        // The sign is in the highest of the three bytes.
        let number = i32::from_le_bytes([0, a, b, c]) >> 8;
        let magnitude = number.unsigned_abs();
        Self {
            is_negative: number < 0,
            hours: (magnitude / 10_000) as u16,
            minutes: (magnitude / 100 % 100) as u8,
            seconds: (magnitude % 100) as u8,
            microseconds: 0,
            fraction_digits: 0,
        }
    }

    /// From the number in a JSON document: `(h << 12 | m << 6 | s) << 24 | microseconds`, negated
    /// where below zero.
    pub(crate) fn from_json(packed: i64) -> Self {
        let magnitude = packed.unsigned_abs();
        let hms = magnitude >> 24;
        Self {
            is_negative: packed < 0,
            hours: (hms >> 12 & 0x3ff) as u16,
            minutes: (hms >> 6 & 63) as u8,
            seconds: (hms & 63) as u8,
            microseconds: (magnitude & 0xff_ffff) as u32,
            fraction_digits: 6,
        }
    }

    /// Appends `[-]HH:MM:SS[.fraction]`.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        if self.is_negative {
            out.push(b'-');
        }
        let _ = write!(
            out,
            "{:02}:{:02}:{:02}",
            self.hours, self.minutes, self.seconds
        );
        write_fraction(self.microseconds, self.fraction_digits, out);
    }
}

fn write_fraction(microseconds: u32, digits: u8, out: &mut Vec<u8>) {
    if digits == 0 {
        return;
    }
    let digits = u32::from(digits.min(6));
    let _ = write!(
        out,
        ".{:0width$}",
        microseconds / 10u32.pow(6 - digits),
        width = digits as usize
    );
}

impl DateTime {
    /// From 5 to 8 bytes.
    #[inline]
    pub(super) fn from_packed(bytes: &[u8], fraction_digits: u8) -> Self {
        let ([a, b, c, d, e], fraction) = split_or_zero(bytes);
        // The highest bit is the sign, which is always set.
        Self::from_parts(
            u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) & 0x7f_ffff_ffff,
            fraction_of(fraction),
            fraction_digits,
        )
    }

    #[inline]
    fn from_parts(whole: u64, microseconds: u32, fraction_digits: u8) -> Self {
        let year_month = whole >> 22;
        Self {
            date: Date {
                year: (year_month / 13) as u16,
                month: (year_month % 13) as u8,
                day: (whole >> 17 & 31) as u8,
            },
            hours: (whole >> 12 & 31) as u8,
            minutes: (whole >> 6 & 63) as u8,
            seconds: (whole & 63) as u8,
            microseconds,
            fraction_digits,
        }
    }

    /// From the number in a JSON document: the packed form without its bias, `<< 24`, and
    /// microseconds.
    pub(crate) fn from_json(packed: i64) -> Self {
        let magnitude = packed.unsigned_abs();
        Self::from_parts(magnitude >> 24, (magnitude & 0xff_ffff) as u32, 6)
    }

    /// From the form before 5.6: YYYYMMDDhhmmss.
    pub(super) fn from_old(number: u64) -> Self {
        let part = |divisor: u64, modulus: u64| number / divisor % modulus;
        Self {
            date: Date {
                year: part(10_000_000_000, 10_000) as u16,
                month: part(100_000_000, 100) as u8,
                day: part(1_000_000, 100) as u8,
            },
            hours: part(10_000, 100) as u8,
            minutes: part(100, 100) as u8,
            seconds: part(1, 100) as u8,
            microseconds: 0,
            fraction_digits: 0,
        }
    }

    /// Appends `YYYY-MM-DD HH:MM:SS[.fraction]`.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        self.date.write_text(out);
        let _ = write!(
            out,
            " {:02}:{:02}:{:02}",
            self.hours, self.minutes, self.seconds
        );
        write_fraction(self.microseconds, self.fraction_digits, out);
    }
}

impl Timestamp {
    /// From 4 to 7 bytes.
    #[inline]
    pub(super) fn from_packed(bytes: &[u8], fraction_digits: u8) -> Self {
        let (seconds, fraction) = split_or_zero(bytes);
        Self {
            seconds: u32::from_be_bytes(seconds),
            microseconds: fraction_of(fraction),
            fraction_digits,
        }
    }

    /// The calendar's day and time at `utc_offset_s` seconds east of UTC.
    pub fn to_date_time(&self, utc_offset_s: i32) -> DateTime {
        let zero = self.seconds == 0 && self.microseconds == 0;
        let seconds = if zero {
            None
        } else {
            Some(i64::from(self.seconds) + i64::from(utc_offset_s))
        };
        let (date, of_day) = match seconds {
            Some(seconds) => (
                civil_from_days(seconds.div_euclid(86_400)),
                seconds.rem_euclid(86_400),
            ),
            None => (
                Date {
                    year: 0,
                    month: 0,
                    day: 0,
                },
                0,
            ),
        };
        DateTime {
            date,
            hours: (of_day / 3600) as u8,
            minutes: (of_day / 60 % 60) as u8,
            seconds: (of_day % 60) as u8,
            microseconds: self.microseconds,
            fraction_digits: self.fraction_digits,
        }
    }
}

/// The day so many days after 1970-01-01. Years begin in March here, so that the day that leap years
/// add is the last of a year, and 400 years have the same number of days always.
fn civil_from_days(days: i64) -> Date {
    const DAYS_TO_1970: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date {
        year: year as u16,
        month: month as u8,
        day: day as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn negative_times_borrow_from_the_whole_part() {
        let time = Time::from_packed(&[0x7f, 0xff, 0xff, 0xec, 0x78], 3);
        assert_eq!(text(|out| time.write_text(out)), "-00:00:00.500");
        let time = Time::from_packed(&[0x80, 0, 0], 0);
        assert_eq!(text(|out| time.write_text(out)), "00:00:00");
    }

    #[test]
    fn timestamps_are_shown_in_the_time_zone_asked_for() {
        let timestamp = Timestamp {
            seconds: 1_795_222_923,
            microseconds: 450_000,
            fraction_digits: 2,
        };
        let shown = |offset| text(|out| timestamp.to_date_time(offset).write_text(out));
        assert_eq!(shown(0), "2026-11-21 01:02:03.45");
        assert_eq!(shown(-3600 * 2), "2026-11-20 23:02:03.45");
        let zero = Timestamp {
            seconds: 0,
            microseconds: 0,
            fraction_digits: 0,
        };
        assert_eq!(
            text(|out| zero.to_date_time(3600).write_text(out)),
            "0000-00-00 00:00:00"
        );
    }

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (24_855, (2038, 1, 19)),
        ] {
            let date = civil_from_days(days);
            assert_eq!((date.year, date.month, date.day), expected);
        }
    }

    #[test]
    fn the_forms_before_5_6_are_plain_decimal_numbers() {
        let time = Time::from_old((-123_456i32).to_le_bytes()[..3].try_into().unwrap());
        assert_eq!(text(|out| time.write_text(out)), "-12:34:56");
        let datetime = DateTime::from_old(20_261_121_010_203);
        assert_eq!(text(|out| datetime.write_text(out)), "2026-11-21 01:02:03");
    }
}
