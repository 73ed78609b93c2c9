//! Dates and times: text, calendar, and the packed forms of the log.
//!
//! ```text
//! DATETIME2   5 bytes BE: 1 sign | 17 year * 13 + month | 5 day | 5 hour | 6 minute | 6 second
//! TIMESTAMP2  4 bytes BE: seconds since 1970, UTC
//! TIME2       3 bytes BE: (1 sign | 1 | 10 hour | 6 minute | 6 second) + 0x800000
//! DATE        3 bytes LE: 15 year | 4 month | 5 day
//! fraction    (digits + 1) / 2 bytes BE behind the first three
//! ```

use super::context::StatementContext;

/// A point of the calendar, as DATETIME holds it; day and month may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DateTime {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    pub(crate) microsecond: u32,
}

const MICROSECONDS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Microseconds of the last digit of a fraction of so many digits.
fn unit(fraction: u32) -> i64 {
    10i64.pow(6 - fraction.min(6))
}

/// Bytes of a fraction of so many digits.
fn fraction_bytes(fraction: u32) -> usize {
    fraction.div_ceil(2) as usize
}

fn push_fraction(microseconds: u32, fraction: u32, out: &mut Vec<u8>) {
    let bytes = fraction_bytes(fraction);
    let value = microseconds / 10u32.pow(6 - 2 * bytes as u32);
    out.extend_from_slice(&value.to_be_bytes()[4 - bytes..]);
}

/// `value` microseconds to a multiple of `unit`: halves away from zero, or cut.
fn round_to(value: i64, unit: i64, cut: bool) -> i64 {
    let remainder = value % unit;
    let down = value - remainder;
    if !cut && remainder.abs() * 2 >= unit {
        down + unit * value.signum()
    } else {
        down
    }
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_shifted = (month + 9) % 12;
    let day_of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl DateTime {
    /// `0000-00-00 00:00:00`.
    pub(crate) const ZERO: Self = Self {
        year: 0,
        month: 0,
        day: 0,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: 0,
    };

    /// The calendar's view of microseconds since 1970.
    pub(crate) fn from_microseconds(value: i64) -> Self {
        let seconds = value.div_euclid(MICROSECONDS);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_SECONDS));
        let of_day = seconds.rem_euclid(DAY_SECONDS) as u32;
        Self {
            year: year as u32,
            month: month as u32,
            day: day as u32,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            microsecond: value.rem_euclid(MICROSECONDS) as u32,
        }
    }

    /// Microseconds since 1970; `None` for what is no day of the calendar.
    pub(crate) fn to_microseconds(self) -> Option<i64> {
        if self.month == 0 || self.day == 0 {
            return None;
        }
        let days = days_from_civil(self.year.into(), self.month.into(), self.day.into());
        let of_day = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60;
        let seconds = days * DAY_SECONDS + of_day + i64::from(self.second);
        Some(seconds * MICROSECONDS + i64::from(self.microsecond))
    }

    /// Rounded to so many digits of the fraction; `None` where rounding leaves the calendar.
    pub(crate) fn round(self, fraction: u32, cut: bool) -> Option<Self> {
        if i64::from(self.microsecond) % unit(fraction) == 0 {
            return Some(self);
        }
        let value = round_to(self.to_microseconds()?, unit(fraction), cut);
        let rounded = Self::from_microseconds(value);
        (rounded.year <= 9999).then_some(rounded)
    }

    /// `YYYY-MM-DD[ hh:mm:ss[.ffffff]]`, as the server prints it and as constants are written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, time) = match text.find([' ', 'T']) {
            Some(at) => (&text[..at], text[at + 1..].trim_start()),
            None => (text, ""),
        };
        let mut fields = date.splitn(3, |c: char| !c.is_ascii_digit());
        let year_text = fields.next()?;
        let field = |text: &str| (text.len() <= 2).then(|| text.parse().ok())?;
        let mut parsed = Self {
            year: (year_text.len() == 4).then(|| year_text.parse().ok())??,
            month: field(fields.next()?)?,
            day: field(fields.next()?)?,
            hour: 0,
            minute: 0,
            second: 0,
            microsecond: 0,
        };
        if !time.is_empty() {
            let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
            let mut fields = clock.splitn(3, ':');
            parsed.hour = field(fields.next()?)?;
            parsed.minute = field(fields.next()?)?;
            parsed.second = field(fields.next().unwrap_or("0"))?;
            parsed.microsecond = parse_fraction(fraction)?;
        }
        let valid = parsed.month <= 12
            && parsed.day <= days_of_month(parsed.year, parsed.month)
            && parsed.hour < 24
            && parsed.minute < 60
            && parsed.second < 60;
        valid.then_some(parsed)
    }

    pub(crate) fn to_text(self, fraction: u32) -> String {
        let Self {
            hour,
            minute,
            second,
            ..
        } = self;
        let mut text = format!("{} {hour:02}:{minute:02}:{second:02}", self.date_text());
        push_fraction_text(self.microsecond, fraction, &mut text);
        text
    }

    pub(crate) fn date_text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    pub(crate) fn pack(self, fraction: u32, out: &mut Vec<u8>) {
        let ymd = u64::from((self.year * 13 + self.month) << 5 | self.day);
        let hms = u64::from(self.hour << 12 | self.minute << 6 | self.second);
        let packed = (ymd << 17 | hms) + 0x80_0000_0000;
        out.extend_from_slice(&packed.to_be_bytes()[3..]);
        push_fraction(self.microsecond, fraction, out);
    }

    pub(crate) fn pack_date(self, out: &mut Vec<u8>) {
        let packed = self.year << 9 | self.month << 5 | self.day;
        out.extend_from_slice(&packed.to_le_bytes()[..3]);
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The time of the day.
    pub(crate) fn clock_microseconds(self) -> i64 {
        let seconds = self.hour * 3600 + self.minute * 60 + self.second;
        i64::from(seconds) * MICROSECONDS + i64::from(self.microsecond)
    }
}

/// The last day of a month; month 0 is taken for the longest.
fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn parse_fraction(digits: &str) -> Option<u32> {
    if digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<6}").parse().ok()
}

fn push_fraction_text(microseconds: u32, fraction: u32, text: &mut String) {
    if fraction > 0 {
        let digits = format!("{microseconds:06}");
        text.push('.');
        text.push_str(&digits[..fraction.min(6) as usize]);
    }
}

/// A TIME, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

impl Time {
    /// The largest TIME, 838:59:59.
    const LARGEST: i64 = (838 * 3600 + 59 * 60 + 59) * MICROSECONDS;

    pub(crate) fn round(self, fraction: u32, cut: bool) -> Option<Self> {
        let rounded = round_to(self.0, unit(fraction), cut);
        (rounded.abs() <= Self::LARGEST).then_some(Self(rounded))
    }

    /// `[-]hh:mm[:ss[.ffffff]]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fields: Vec<i64> = clock
            .split(':')
            .map(|field| field.parse().ok().filter(|value| (0..=838).contains(value)))
            .collect::<Option<_>>()?;
        let (hours, minutes, seconds) = match fields[..] {
            [hours, minutes, seconds] => (hours, minutes, seconds),
            [hours, minutes] => (hours, minutes, 0),
            _ => return None,
        };
        if minutes > 59 || seconds > 59 {
            return None;
        }
        let fraction = i64::from(parse_fraction(fraction)?);
        let value = (hours * 3600 + minutes * 60 + seconds) * MICROSECONDS + fraction;
        let value = if negative { -value } else { value };
        (value.abs() <= Self::LARGEST).then_some(Self(value))
    }

    pub(crate) fn to_text(self, fraction: u32) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let value = self.0.unsigned_abs();
        let seconds = value / 1_000_000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut text = format!("{sign}{hour:02}:{minute:02}:{second:02}");
        push_fraction_text((value % 1_000_000) as u32, fraction, &mut text);
        text
    }

    pub(crate) fn pack(self, fraction: u32, out: &mut Vec<u8>) {
        let bytes = fraction_bytes(fraction);
        let value = self.0.unsigned_abs();
        let seconds = value / 1_000_000;
        let hms = (seconds / 3600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
        let fraction = value % 1_000_000 / 10u64.pow(6 - 2 * bytes as u32);
        let magnitude = (hms << (8 * bytes) | fraction) as i64;
        let signed = if self.0 < 0 { -magnitude } else { magnitude };
        let packed = signed + (0x80_0000 << (8 * bytes));
        out.extend_from_slice(&packed.to_be_bytes()[5 - bytes..]);
    }
}

/// A TIMESTAMP, in microseconds since 1970 UTC; 0 seconds is the zero date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp(pub(crate) i64);

impl Timestamp {
    /// When the statement began, cut to so many digits of the fraction as NOW(n) is.
    pub(crate) fn now(context: &StatementContext<'_>, fraction: u32) -> Self {
        let value = i64::from(context.timestamp) * MICROSECONDS + i64::from(context.microseconds);
        Self(round_to(value, unit(fraction), true))
    }

    pub(crate) fn round(self, fraction: u32, cut: bool) -> Self {
        Self(round_to(self.0, unit(fraction), cut))
    }

    /// False where the seconds do not fit.
    #[must_use]
    pub(crate) fn pack(self, fraction: u32, out: &mut Vec<u8>) -> bool {
        let Ok(seconds) = u32::try_from(self.0.div_euclid(MICROSECONDS)) else {
            return false;
        };
        out.extend_from_slice(&seconds.to_be_bytes());
        push_fraction(self.0.rem_euclid(MICROSECONDS) as u32, fraction, out);
        true
    }

    pub(crate) fn from_datetime(value: DateTime, zone: i64) -> Option<Self> {
        if value.is_zero() {
            return Some(Self(0));
        }
        Some(Self(value.to_microseconds()? - zone * MICROSECONDS))
    }

    pub(crate) fn to_datetime(self, zone: i64) -> DateTime {
        if self.0 == 0 {
            return DateTime::ZERO;
        }
        DateTime::from_microseconds(self.0 + zone * MICROSECONDS)
    }
}

/// Seconds that the statement's time zone is ahead of UTC; `None` for a zone whose offset is not known
/// here. `SYSTEM` is this machine's, as a replica has it, and is known where that is UTC.
pub(crate) fn zone_offset(zone: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(zone).ok()?;
    match text {
        "UTC" | "Etc/UTC" | "GMT" => return Some(0),
        "SYSTEM" | "" => return system_is_utc().then_some(0),
        _ => {}
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = minutes.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Whether this machine's local time is UTC: by TZ, else by the rule at the end of /etc/localtime.
fn system_is_utc() -> bool {
    if let Some(zone) = std::env::var_os("TZ").filter(|zone| !zone.is_empty()) {
        return ["UTC", "UTC0", ":UTC", "Etc/UTC", ":Etc/UTC", "GMT", "GMT0"]
            .iter()
            .any(|name| zone == *name);
    }
    match std::fs::read("/etc/localtime") {
        Ok(rules) => rules.ends_with(b"\nUTC0\n") || rules.ends_with(b"\nGMT0\n"),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::{Column, ColumnKind, TextStyle};

    #[test]
    fn calendar_and_seconds_agree() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29 12:34:56", 951_827_696),
            ("2038-01-19 03:14:07", 2_147_483_647),
            ("1000-01-01 00:00:00", -30_610_224_000),
            ("9999-12-31 23:59:59", 253_402_300_799),
        ] {
            let value = DateTime::parse(text).unwrap();
            assert_eq!(value.to_microseconds(), Some(seconds * MICROSECONDS));
            assert_eq!(DateTime::from_microseconds(seconds * MICROSECONDS), value);
            assert_eq!(value.to_text(0), text);
        }
    }

    fn printed(kind: ColumnKind, fraction: u32, bytes: &[u8]) -> String {
        let column = Column::new(kind, fraction).unwrap();
        let mut text = Vec::new();
        let value = column.decode(bytes).unwrap();
        value.write_text(&TextStyle::default(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn packed_forms_come_back() {
        for fraction in 0..=6 {
            let value = DateTime::parse("2026-11-21 02:18:07.123456").unwrap();
            let value = value.round(fraction, true).unwrap();
            let mut out = Vec::new();
            value.pack(fraction, &mut out);
            assert_eq!(
                printed(ColumnKind::DateTime, fraction, &out),
                value.to_text(fraction)
            );

            let stamp = Timestamp(value.to_microseconds().unwrap());
            let mut out = Vec::new();
            assert!(stamp.pack(fraction, &mut out));
            assert_eq!(
                printed(ColumnKind::Timestamp, fraction, &out),
                value.to_text(fraction)
            );

            for text in [
                "-00:00:00.5",
                "838:59:58.999999",
                "-12:34:56.789012",
                "00:00:00",
            ] {
                let time = Time::parse(text).unwrap().round(fraction, true).unwrap();
                let mut out = Vec::new();
                time.pack(fraction, &mut out);
                assert_eq!(
                    printed(ColumnKind::Time, fraction, &out),
                    time.to_text(fraction)
                );
            }
        }
        let mut out = Vec::new();
        DateTime::parse("2020-02-29").unwrap().pack_date(&mut out);
        assert_eq!(printed(ColumnKind::Date, 0, &out), "2020-02-29");
        let mut out = Vec::new();
        Time::parse("-00:00:00.5").unwrap().pack(3, &mut out);
        assert_eq!(out, [0x7f, 0xff, 0xff, 0xec, 0x78]);
        assert_eq!(DateTime::parse("2021-02-29"), None);
    }

    #[test]
    fn fractions_round_up_into_the_next_year_or_are_cut() {
        let value = DateTime::parse("1999-12-31 23:59:59.996").unwrap();
        assert_eq!(
            value.round(2, false).unwrap().to_text(2),
            "2000-01-01 00:00:00.00"
        );
        assert_eq!(
            value.round(2, true).unwrap().to_text(2),
            "1999-12-31 23:59:59.99"
        );
        let last = DateTime::parse("9999-12-31 23:59:59.9").unwrap();
        assert_eq!(last.round(0, false), None);
        assert_eq!(
            Time::parse("-01:00:00.5")
                .unwrap()
                .round(0, false)
                .unwrap()
                .to_text(0),
            "-01:00:01"
        );
    }

    #[test]
    fn zones_by_offset() {
        assert_eq!(zone_offset(b"+05:30"), Some(19_800));
        assert_eq!(zone_offset(b"-08:00"), Some(-28_800));
        assert_eq!(zone_offset(b"Europe/Berlin"), None);
    }
}
