//! One value between two columns, or between a constant and a column.
//!
//! Reading takes a packed value out of its old column, writing packs it for its new one. Whatever the
//! server would have to cut, guess or warn about is refused: a value is written exactly or not at all.

use std::borrow::Cow;

use crate::{Error, ErrorKind, Result as Outcome};

use super::charset;
use super::context::StatementContext;
use super::data_type::DataType;
use super::decimal::Decimal;
use super::definition::{ColumnDefault, ColumnDefinition, Literal};
use super::temporal::{self, DateTime, Time, Timestamp};
use super::text;
use super::token::sql_mode;

/// A value without a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Exact(Decimal),
    Single(f32),
    Double(f64),
    Text(String),
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
    cut_fractions: bool,
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

    fn zone(&self) -> Result<i64, String> {
        self.zone
            .ok_or_else(|| "the offset of the statement's time zone is not known".to_owned())
    }
}

type Written = Result<Vec<u8>, String>;

fn no_fit<T>() -> Result<T, String> {
    Err("a value does not fit".to_owned())
}

/// A fixed-width little-endian integer, sign-extended where it has a sign.
fn little_endian(bytes: &[u8], signed: bool) -> i128 {
    let mut wide = [0u8; 16];
    let length = bytes.len().min(16);
    wide[..length].copy_from_slice(&bytes[..length]);
    if signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
        wide[length..].fill(0xff);
    }
    i128::from_le_bytes(wide)
}

fn integer_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::TinyInt => 1,
        DataType::SmallInt => 2,
        DataType::MediumInt => 3,
        DataType::Int => 4,
        _ => 8,
    }
}

impl ColumnDefinition {
    fn charset(&self) -> &'static str {
        charset::by_id(self.collation).map_or("binary", |collation| collation.charset)
    }

    /// Reads a value without its length prefix; `None` where its bytes are no value of the type.
    pub(crate) fn read_plain(&self, content: &[u8]) -> Option<Plain> {
        Some(match &self.data_type {
            data_type if data_type.is_integer() => {
                let value = little_endian(content, !self.unsigned);
                Plain::Exact(Decimal::from_integer(value))
            }
            DataType::Decimal(precision, scale) => {
                Plain::Exact(Decimal::unpack(content, *precision, *scale)?)
            }
            DataType::Float(_) => Plain::Single(f32::from_le_bytes(content.try_into().ok()?)),
            DataType::Double(_) => Plain::Double(f64::from_le_bytes(content.try_into().ok()?)),
            DataType::Bit(_) => Plain::Exact(Decimal::from_integer(big_endian(content)?)),
            DataType::Year => {
                let offset = i128::from(*content.first()?);
                let year = if offset == 0 { 0 } else { offset + 1900 };
                Plain::Exact(Decimal::from_integer(year))
            }
            DataType::Date => Plain::Date(DateTime::unpack_date(content)?),
            DataType::Time(fraction) => {
                let fraction = u32::from(*fraction);
                Plain::Time(Time::unpack(content, fraction)?, fraction)
            }
            DataType::DateTime(fraction) => {
                let fraction = u32::from(*fraction);
                Plain::DateTime(DateTime::unpack(content, fraction)?, fraction)
            }
            DataType::Timestamp(fraction) => {
                let fraction = u32::from(*fraction);
                Plain::Timestamp(Timestamp::unpack(content, fraction)?, fraction)
            }
            DataType::Char(_) | DataType::VarChar(_) | DataType::Text(_) => {
                Plain::Text(text::decode(self.charset(), content)?)
            }
            DataType::Binary(length) => {
                // The log drops the zeros at the end.
                let mut bytes = content.to_vec();
                bytes.resize((*length as usize).max(bytes.len()), 0);
                Plain::Bytes(bytes)
            }
            DataType::VarBinary(_) | DataType::Blob(_) => Plain::Bytes(content.to_vec()),
            DataType::Enum(members) => {
                let number = little_endian(content, false) as usize;
                Plain::Text(match number {
                    0 => String::new(),
                    number => members.get(number - 1)?.clone(),
                })
            }
            DataType::Set(members) => {
                let bits = little_endian(content, false) as u64;
                Plain::Text(set_text(bits, members)?)
            }
            _ => return None,
        })
    }

    /// Packs a value for this column, length prefix included; the error says why it cannot be done.
    pub(crate) fn write_plain(&self, value: &Plain, session: Session) -> Written {
        let value = self.as_this_kind(value)?;
        match &self.data_type {
            data_type if data_type.is_integer() => self.write_integer(&value),
            DataType::Decimal(precision, scale) => match value.as_ref() {
                Plain::Exact(number) => {
                    let mut out = Vec::new();
                    let fits = number.pack(*precision, *scale, &mut out);
                    if fits && !(self.unsigned && number.is_negative()) {
                        Ok(out)
                    } else {
                        no_fit()
                    }
                }
                _ => self.no_conversion(),
            },
            DataType::Float(digits) => {
                let value = match value.as_ref() {
                    Plain::Exact(number) => round_digits(number, *digits) as f32,
                    Plain::Single(value) if digits.is_none() => *value,
                    Plain::Double(value) if digits.is_none() => *value as f32,
                    _ => return self.no_conversion(),
                };
                if value.is_finite() && !(self.unsigned && value < 0.0) {
                    Ok(value.to_le_bytes().to_vec())
                } else {
                    no_fit()
                }
            }
            DataType::Double(digits) => {
                let value = match value.as_ref() {
                    Plain::Exact(number) => round_digits(number, *digits),
                    Plain::Single(value) if digits.is_none() => f64::from(*value),
                    Plain::Double(value) if digits.is_none() => *value,
                    _ => return self.no_conversion(),
                };
                if value.is_finite() && !(self.unsigned && value < 0.0) {
                    Ok(value.to_le_bytes().to_vec())
                } else {
                    no_fit()
                }
            }
            DataType::Bit(bits) => self.write_bits(&value, *bits),
            DataType::Year => self.write_year(&value),
            DataType::Date | DataType::Time(_) | DataType::DateTime(_) | DataType::Timestamp(_) => {
                self.write_temporal(&value, session)
            }
            DataType::Char(_)
            | DataType::VarChar(_)
            | DataType::Text(_)
            | DataType::Binary(_)
            | DataType::VarBinary(_)
            | DataType::Blob(_) => self.write_string(&value, session),
            DataType::Enum(members) => self.write_enum(&value, members),
            DataType::Set(members) => self.write_set(&value, members),
            _ => self.no_conversion(),
        }
    }

    /// A text that has to become a number is one, or it is refused.
    fn as_this_kind<'a>(&self, value: &'a Plain) -> Result<Cow<'a, Plain>, String> {
        let numeric = self.data_type.is_number() || matches!(self.data_type, DataType::Bit(_));
        match value {
            Plain::Text(text) if numeric => match Decimal::parse(text) {
                Some(number) => Ok(Cow::Owned(Plain::Exact(number))),
                None => no_fit(),
            },
            _ => Ok(Cow::Borrowed(value)),
        }
    }

    fn no_conversion<T>(&self) -> Result<T, String> {
        Err(format!("no exact conversion to {:?}", self.data_type))
    }

    fn write_integer(&self, value: &Plain) -> Written {
        let number = match value {
            Plain::Exact(number) => number.to_integer(),
            Plain::Bytes(bytes) => big_endian(bytes),
            _ => return self.no_conversion(),
        };
        let Some(number) = number else {
            return no_fit();
        };
        let bytes = integer_bytes(&self.data_type);
        let bits = 8 * bytes as u32;
        let range = if self.unsigned {
            0..=(1i128 << bits) - 1
        } else {
            -(1i128 << (bits - 1))..=(1i128 << (bits - 1)) - 1
        };
        if range.contains(&number) {
            Ok(number.to_le_bytes()[..bytes].to_vec())
        } else {
            no_fit()
        }
    }

    fn write_bits(&self, value: &Plain, bits: u8) -> Written {
        let number = match value {
            Plain::Exact(number) => number.to_integer(),
            Plain::Bytes(bytes) => big_endian(bytes),
            _ => return self.no_conversion(),
        };
        match number {
            Some(number) if (0..1i128 << bits).contains(&number) => {
                let length = usize::from(bits).div_ceil(8);
                Ok(number.to_be_bytes()[16 - length..].to_vec())
            }
            _ => no_fit(),
        }
    }

    fn write_year(&self, value: &Plain) -> Written {
        let (number, text) = match value {
            Plain::Exact(number) => (number.to_integer(), None),
            Plain::Text(text) => (text.trim().parse().ok(), Some(text.trim())),
            _ => return self.no_conversion(),
        };
        let year = match number {
            // '0' and '00' are the year 2000, the number 0 is the year 0000; so is '0000'.
            Some(0) if text.is_some_and(|text| text.len() < 3) => 2000,
            Some(0) => return Ok(vec![0]),
            Some(number @ 1..=69) => 2000 + number,
            Some(number @ 70..=99) => 1900 + number,
            Some(number) => number,
            None => return no_fit(),
        };
        if (1901..=2155).contains(&year) {
            Ok(vec![(year - 1900) as u8])
        } else {
            no_fit()
        }
    }

    fn write_temporal(&self, value: &Plain, session: Session) -> Written {
        let mut out = Vec::new();
        let cut = session.cut_fractions;
        let parsed = |text: &str| DateTime::parse(text).ok_or_else(|| "no date".to_owned());
        match (&self.data_type, value) {
            (DataType::Date, Plain::Date(date)) => date.pack_date(&mut out),
            (DataType::Date, Plain::DateTime(value, _)) if value.microsecond == 0 => {
                value.pack_date(&mut out);
            }
            (DataType::Date, Plain::Text(text)) => parsed(text)?.pack_date(&mut out),
            (DataType::DateTime(fraction), _) => {
                let value = match value {
                    Plain::Date(value) | Plain::DateTime(value, _) => *value,
                    Plain::Timestamp(value, _) => value.to_datetime(session.zone()?),
                    Plain::Text(text) => parsed(text)?,
                    _ => return self.no_conversion(),
                };
                match value.round(u32::from(*fraction), cut) {
                    Some(value) => value.pack(u32::from(*fraction), &mut out),
                    None => return no_fit(),
                }
            }
            (DataType::Timestamp(fraction), _) => {
                let value = match value {
                    Plain::Timestamp(value, _) => *value,
                    Plain::Date(value) | Plain::DateTime(value, _) => timestamp(*value, session)?,
                    Plain::Text(text) => timestamp(parsed(text)?, session)?,
                    _ => return self.no_conversion(),
                };
                let value = value.round(u32::from(*fraction), cut);
                if !value.pack(u32::from(*fraction), &mut out) {
                    return no_fit();
                }
            }
            (DataType::Time(fraction), _) => {
                let value = match value {
                    Plain::Time(value, _) => *value,
                    Plain::DateTime(value, _) => Time(value.clock_microseconds()),
                    Plain::Text(text) => Time::parse(text).ok_or("no time")?,
                    _ => return self.no_conversion(),
                };
                match value.round(u32::from(*fraction), cut) {
                    Some(value) => value.pack(u32::from(*fraction), &mut out),
                    None => return no_fit(),
                }
            }
            _ => return self.no_conversion(),
        }
        Ok(out)
    }

    fn write_string(&self, value: &Plain, session: Session) -> Written {
        let charset = self.charset();
        let text = match value {
            Plain::Bytes(bytes) => return self.pack_string(bytes.clone()),
            Plain::Text(text) => text.clone(),
            Plain::Exact(number) => number.to_text(),
            Plain::Date(date) => date.date_text(),
            Plain::DateTime(value, fraction) => value.to_text(*fraction),
            Plain::Time(value, fraction) => value.to_text(*fraction),
            Plain::Timestamp(value, fraction) => {
                value.to_datetime(session.zone()?).to_text(*fraction)
            }
            Plain::Single(_) | Plain::Double(_) => return self.no_conversion(),
        };
        match text::encode(charset, &text) {
            Some(bytes) => self.pack_string(bytes),
            None => Err(format!("a text is not representable in {charset}")),
        }
    }

    /// Length prefix and bytes; blanks at the end that do not fit are dropped, as the server does.
    fn pack_string(&self, mut bytes: Vec<u8>) -> Written {
        let charset = self.charset();
        let Some(physical) = &self.physical else {
            return self.no_conversion();
        };
        let characters = |bytes: &[u8]| {
            if charset == "binary" {
                return Some(bytes.len());
            }
            text::decode(charset, bytes).map(|text| text.chars().count())
        };
        let (limit, pad) = match self.data_type {
            DataType::Char(length) => (Some(length), Some(b' ')),
            DataType::VarChar(length) => (Some(length), None),
            DataType::Binary(length) => (Some(length), Some(0)),
            DataType::VarBinary(length) => (Some(length), None),
            _ => (None, None),
        };
        if let Some(pad) = pad {
            let kept = bytes
                .iter()
                .rposition(|byte| *byte != pad)
                .map_or(0, |at| at + 1);
            bytes.truncate(kept);
        }
        if let Some(limit) = limit {
            loop {
                match characters(&bytes) {
                    None => return Err(format!("bytes are no text in {charset}")),
                    Some(count) if count <= limit as usize => break,
                    Some(_) if charset != "binary" && bytes.last() == Some(&b' ') => {
                        bytes.pop();
                    }
                    Some(_) => return no_fit(),
                }
            }
        }
        let width = match self.data_type {
            DataType::Text(width) | DataType::Blob(width) => usize::from(width),
            _ if physical.meta > 255 => 2,
            _ => 1,
        };
        if width < 8 && bytes.len() as u64 >> (8 * width) != 0 {
            return no_fit();
        }
        let mut out = (bytes.len() as u64).to_le_bytes()[..width].to_vec();
        out.append(&mut bytes);
        Ok(out)
    }

    fn write_enum(&self, value: &Plain, members: &[String]) -> Written {
        let width = if members.len() < 256 { 1 } else { 2 };
        let number = match value {
            Plain::Text(text) => match find_member(members, text.trim_end_matches(' ')) {
                Some(position) => position + 1,
                None => return no_fit(),
            },
            _ => return self.no_conversion(),
        };
        Ok(number.to_le_bytes()[..width].to_vec())
    }

    fn write_set(&self, value: &Plain, members: &[String]) -> Written {
        let Some(physical) = &self.physical else {
            return self.no_conversion();
        };
        let mut bits = 0u64;
        match value {
            Plain::Text(text) if text.is_empty() => {}
            Plain::Text(text) => {
                for part in text.trim_end_matches(' ').split(',') {
                    match find_member(members, part) {
                        Some(position) => bits |= 1 << position,
                        None => return no_fit(),
                    }
                }
            }
            _ => return self.no_conversion(),
        }
        Ok(bits.to_le_bytes()[..(physical.meta as usize).min(8)].to_vec())
    }

    /// The value that a row gets where an INSERT does not name the column (an image of
    /// `binlog_row_image=MINIMAL` omits it), as it stands in a row image; `None` is NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where it depends on more than the definition and the session: expressions,
    /// generated columns, AUTO_INCREMENT, dates in a time zone that is not known here.
    pub fn default_value(&self, context: &StatementContext<'_>) -> Outcome<Option<Vec<u8>>> {
        self.packed_default(context).map_err(|reason| {
            Error::new(
                ErrorKind::Unsupported,
                format!("default of column {}: {reason}", self.name),
            )
            .remedy("set binlog_row_image=FULL on every member")
        })
    }

    /// The packed value of the default; `Ok(None)` is NULL. The error says why the value cannot be told: it depends on more than the statement.
    pub(crate) fn packed_default(
        &self,
        context: &StatementContext<'_>,
    ) -> Result<Option<Vec<u8>>, String> {
        let session = Session::of(context);
        if self.generated.is_some() {
            return Err("the value of a generated column is computed".to_owned());
        }
        if self.auto_increment {
            return Err("AUTO_INCREMENT numbers the rows".to_owned());
        }
        match &self.default {
            ColumnDefault::Null => Ok(None),
            ColumnDefault::None if self.nullable => Ok(None),
            ColumnDefault::None => self.implicit_default(session).map(Some),
            ColumnDefault::Expression(text) => Err(format!("the default is the expression {text}")),
            ColumnDefault::CurrentTimestamp => self.current_timestamp(context).map(Some),
            ColumnDefault::Constant(literal) => {
                let value = match literal {
                    Literal::Text(text) => Plain::Text(text.clone()),
                    Literal::Bytes(bytes) | Literal::Bits(bytes) => Plain::Bytes(bytes.clone()),
                    Literal::Number(text) => match Decimal::parse(text) {
                        Some(number) => Plain::Exact(number),
                        None => return Err(format!("the default is {text}")),
                    },
                };
                self.write_default(&value, session).map(Some)
            }
        }
    }

    /// A constant may say less than a value of a row: numbers for members and dates.
    fn write_default(&self, value: &Plain, session: Session) -> Written {
        let number = match value {
            Plain::Exact(number) => number.to_integer(),
            _ => None,
        };
        match (&self.data_type, number) {
            (DataType::Enum(members), Some(number)) if number as usize <= members.len() => {
                let width = if members.len() < 256 { 1 } else { 2 };
                Ok(number.to_le_bytes()[..width].to_vec())
            }
            (DataType::Set(_), Some(number)) => {
                let width = self.physical.as_ref().map_or(8, |physical| physical.meta);
                Ok(number.to_le_bytes()[..(width as usize).min(8)].to_vec())
            }
            (DataType::Date | DataType::DateTime(_) | DataType::Timestamp(_), Some(number)) => {
                match number_date(number) {
                    Some(value) => self.write_plain(&Plain::DateTime(value, 0), session),
                    None => no_fit(),
                }
            }
            (DataType::Time(_), Some(number)) => {
                let hms = number.abs();
                let seconds = hms / 10_000 * 3600 + hms / 100 % 100 * 60 + hms % 100;
                let value = Time((seconds * number.signum() * 1_000_000) as i64);
                self.write_plain(&Plain::Time(value, 0), session)
            }
            _ => self.write_plain(value, session),
        }
    }

    fn implicit_default(&self, session: Session) -> Written {
        let zero = || Plain::Exact(Decimal::from_integer(0));
        let zero_date = || DateTime::parse("0000-00-00").ok_or("no date");
        match &self.data_type {
            DataType::Enum(members) => Ok(1u64.to_le_bytes()[..enum_width(members)].to_vec()),
            DataType::Date | DataType::DateTime(_) | DataType::Timestamp(_) => {
                self.write_plain(&Plain::DateTime(zero_date()?, 0), session)
            }
            DataType::Time(_) => self.write_plain(&Plain::Time(Time(0), 0), session),
            data_type if data_type.is_number() => self.write_plain(&zero(), session),
            DataType::Bit(_) | DataType::Year => self.write_plain(&zero(), session),
            DataType::Json | DataType::Geometry(_) | DataType::Vector(_) => self.no_conversion(),
            _ => self.write_plain(&Plain::Text(String::new()), session),
        }
    }

    fn current_timestamp(&self, context: &StatementContext<'_>) -> Written {
        let session = Session::of(context);
        let fraction = match self.data_type {
            DataType::DateTime(fraction) | DataType::Timestamp(fraction) => u32::from(fraction),
            DataType::Date | DataType::Time(_) => 0,
            _ => return self.no_conversion(),
        };
        let now = Timestamp::now(context, fraction);
        match self.data_type {
            DataType::Timestamp(_) => self.write_plain(&Plain::Timestamp(now, fraction), session),
            _ => {
                let local = now.to_datetime(session.zone()?);
                self.write_plain(&Plain::DateTime(local, fraction), session)
            }
        }
    }
}

fn enum_width(members: &[String]) -> usize {
    if members.len() < 256 { 1 } else { 2 }
}

fn timestamp(value: DateTime, session: Session) -> Result<Timestamp, String> {
    let zone = if value.is_zero() { 0 } else { session.zone()? };
    Timestamp::from_datetime(value, zone).ok_or_else(|| "a value does not fit".to_owned())
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 15 {
        return None;
    }
    Some(
        bytes
            .iter()
            .fold(0, |value, byte| value << 8 | i128::from(*byte)),
    )
}

fn round_digits(number: &Decimal, digits: Option<(u8, u8)>) -> f64 {
    match digits {
        Some((_, decimals)) => number.clone().round(usize::from(decimals)).to_f64(),
        None => number.to_f64(),
    }
}

/// `YYYYMMDD` or `YYYYMMDDhhmmss`.
fn number_date(number: i128) -> Option<DateTime> {
    let number = u64::try_from(number).ok()?;
    let (date, clock) = if number > 99_999_999 {
        (number / 1_000_000, number % 1_000_000)
    } else {
        (number, 0)
    };
    DateTime::parse(&format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date / 10_000,
        date / 100 % 100,
        date % 100,
        clock / 10_000,
        clock / 100 % 100,
        clock % 100
    ))
}

/// Members compare by collation on the server; what is equal byte for byte is equal there too, and where
/// nothing is, letter case alone is passed over.
fn find_member(members: &[String], text: &str) -> Option<usize> {
    let exact = members.iter().position(|member| member == text);
    exact.or_else(|| {
        members
            .iter()
            .position(|member| member.eq_ignore_ascii_case(text))
    })
}

fn set_text(bits: u64, members: &[String]) -> Option<String> {
    let mut names = Vec::new();
    for bit in (0..64).filter(|bit| bits >> bit & 1 != 0) {
        names.push(members.get(bit)?.as_str());
    }
    Some(names.join(","))
}
