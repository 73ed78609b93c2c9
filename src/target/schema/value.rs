//! Values without a column: what conversions and constants speak of.
//!
//! Reading (here) takes a packed value out of its old column, writing (`write`) packs it for its new one.
//! Whatever the server would have to cut, guess or warn about is refused: a value is written exactly or
//! not at all.

use crate::binlog::{self, TextStyle, Value};

use super::charset;
use super::context::StatementContext;
use super::data_type::DataType;
use super::decimal::Decimal;
use super::definition::ColumnDefinition;
use super::temporal::{self, DateTime, Time, Timestamp};
use super::text;
use super::token::sql_mode;

/// A value without a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Exact(Decimal),
    /// FLOAT or DOUBLE, and as it prints.
    Real(f64, String),
    /// A number that prints otherwise: YEAR, ENUM, SET.
    Named(Decimal, String),
    Text(String),
    /// A text in the character set of the column that it is for.
    Encoded(Vec<u8>),
    Bytes(Vec<u8>),
    Date(DateTime),
    /// With the digits of its fraction, as far as it prints.
    DateTime(DateTime, u32),
    Time(Time, u32),
    Timestamp(Timestamp, u32),
}

/// What of a session conversions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// Fractions of seconds are cut, not rounded.
    pub(crate) cut_fractions: bool,
    /// Seconds ahead of UTC, where that is known.
    zone: Option<i64>,
}

impl Session {
    pub(crate) fn of(context: &StatementContext<'_>) -> Self {
        Self {
            cut_fractions: context.sql_mode & sql_mode::TIME_TRUNCATE_FRACTIONAL != 0,
            zone: temporal::zone_offset(context.time_zone),
        }
    }

    /// The same session, had it set `time_zone` to UTC.
    pub(crate) fn in_utc(context: &StatementContext<'_>) -> Self {
        Self {
            zone: Some(0),
            ..Self::of(context)
        }
    }

    pub(crate) fn zone(&self) -> Result<i64, String> {
        self.zone
            .ok_or_else(|| "the offset of the statement's time zone is not known".to_owned())
    }
}

/// A big-endian number; `None` where it has more than 15 bytes.
pub(crate) fn big_endian(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 15 {
        return None;
    }
    let digits = bytes.iter();
    Some(digits.fold(0, |value, byte| value << 8 | i128::from(*byte)))
}

impl ColumnDefinition {
    pub(crate) fn charset(&self) -> &'static str {
        charset::by_id(self.collation).map_or("binary", |collation| collation.charset)
    }

    /// Reads a value as it stands in a row image; `None` where its bytes are no value of the type, or one
    /// that has no other form.
    pub(crate) fn read_plain(&self, bytes: &[u8]) -> Option<Plain> {
        let value = self.physical.as_ref()?.decode(bytes).ok()?;
        let integer = |number: i128| Plain::Exact(Decimal::from_integer(number));
        Some(match value {
            Value::Int(number) => integer(number.into()),
            Value::UnsignedInt(number) => integer(number.into()),
            Value::Bit(bits) => integer(big_endian(bits)?),
            Value::Decimal(_) => Plain::Exact(Decimal::parse(&self.print(&value)?)?),
            Value::Float(number) => Plain::Real(number.into(), self.print(&value)?),
            Value::Double(number) => Plain::Real(number, self.print(&value)?),
            Value::Year(year) => {
                Plain::Named(Decimal::from_integer(year.into()), self.print(&value)?)
            }
            Value::Enum(number) => {
                Plain::Named(Decimal::from_integer(number.into()), self.member(number)?)
            }
            Value::Set(bits) => {
                Plain::Named(Decimal::from_integer(bits.into()), self.members(bits)?)
            }
            Value::Date(date) => Plain::Date(calendar(date, 0, 0, 0, 0)),
            Value::DateTime(value) => Plain::DateTime(
                calendar(
                    value.date,
                    value.hours,
                    value.minutes,
                    value.seconds,
                    value.microseconds,
                ),
                value.fraction_digits.into(),
            ),
            Value::Timestamp(value) => Plain::Timestamp(
                Timestamp(i64::from(value.seconds) * 1_000_000 + i64::from(value.microseconds)),
                value.fraction_digits.into(),
            ),
            Value::Time(value) => {
                let minutes = i64::from(value.hours) * 60 + i64::from(value.minutes);
                let seconds = minutes * 60 + i64::from(value.seconds);
                let magnitude = seconds * 1_000_000 + i64::from(value.microseconds);
                let signed = if value.is_negative {
                    -magnitude
                } else {
                    magnitude
                };
                Plain::Time(Time(signed), value.fraction_digits.into())
            }
            Value::Bytes(bytes) if self.data_type.is_text() => {
                Plain::Text(text::decode(self.charset(), bytes)?)
            }
            Value::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
            Value::Binary { bytes, length } => {
                let mut bytes = bytes.to_vec();
                bytes.resize(usize::from(length).max(bytes.len()), 0);
                Plain::Bytes(bytes)
            }
            Value::Json(_) => Plain::Text(self.print(&value)?),
            _ => return None,
        })
    }

    /// A value as the server prints it.
    fn print(&self, value: &Value<'_>) -> Option<String> {
        let style = TextStyle {
            decimals: match self.data_type {
                DataType::Float(digits) | DataType::Double(digits) => {
                    digits.map(|(_, decimals)| decimals)
                }
                _ => None,
            },
            ..TextStyle::default()
        };
        let mut text = Vec::new();
        value.write_text(&style, &mut text).ok()?;
        String::from_utf8(text).ok()
    }

    /// The name of an ENUM's member; the error value is an empty string.
    fn member(&self, number: u16) -> Option<String> {
        match (&self.data_type, number) {
            (_, 0) => Some(String::new()),
            (DataType::Enum(members), number) => members.get(usize::from(number) - 1).cloned(),
            _ => None,
        }
    }

    fn members(&self, bits: u64) -> Option<String> {
        let DataType::Set(members) = &self.data_type else {
            return None;
        };
        let set = (0..64).filter(|bit| bits >> bit & 1 != 0);
        let names: Option<Vec<&str>> = set
            .map(|bit| members.get(bit).map(String::as_str))
            .collect();
        names.map(|names| names.join(","))
    }
}

fn calendar(date: binlog::Date, hour: u8, minute: u8, second: u8, microsecond: u32) -> DateTime {
    DateTime {
        year: date.year.into(),
        month: date.month.into(),
        day: date.day.into(),
        hour: hour.into(),
        minute: minute.into(),
        second: second.into(),
        microsecond,
    }
}
