//! Values packed for a column, as the server stores them there.

use super::data_type::DataType;
use super::decimal::Decimal;
use super::definition::ColumnDefinition;
use super::temporal::{DateTime, Time, Timestamp};
use super::text;
use super::value::{Plain, Session, big_endian};

/// The packed value, length prefix included, or why it cannot be written exactly.
pub(crate) type Written = Result<Vec<u8>, String>;

pub(crate) fn no_fit<T>() -> Result<T, String> {
    Err("a value does not fit".to_owned())
}

/// What a number is made of.
enum Number {
    Exact(Decimal),
    Real(f64),
}

impl ColumnDefinition {
    /// Packs a value for this column.
    pub(crate) fn write_plain(&self, value: &Plain, session: Session) -> Written {
        match &self.data_type {
            DataType::TinyInt
            | DataType::SmallInt
            | DataType::MediumInt
            | DataType::Int
            | DataType::BigInt => self.write_integer(value, session),
            DataType::Decimal(precision, scale) => {
                self.write_decimal(value, *precision, *scale, session)
            }
            DataType::Float(digits) => {
                let number = fixed(self.real(value, session)?, *digits) as f32;
                self.check_real(number.into())?;
                Ok(number.to_le_bytes().to_vec())
            }
            DataType::Double(digits) => {
                let number = fixed(self.real(value, session)?, *digits);
                self.check_real(number)?;
                Ok(number.to_le_bytes().to_vec())
            }
            DataType::Bit(bits) => self.write_bits(value, *bits, session),
            DataType::Year => self.write_year(value),
            DataType::Date | DataType::Time(_) | DataType::DateTime(_) | DataType::Timestamp(_) => {
                self.write_temporal(value, session)
            }
            DataType::Char(_)
            | DataType::VarChar(_)
            | DataType::Text(_)
            | DataType::Binary(_)
            | DataType::VarBinary(_)
            | DataType::Blob(_) => self.write_string(value, session),
            DataType::Enum(members) => self.write_enum(value, members),
            DataType::Set(members) => self.write_set(value, members),
            _ => self.no_conversion(),
        }
    }

    pub(crate) fn no_conversion<T>(&self) -> Result<T, String> {
        Err(format!("no exact conversion to {:?}", self.data_type))
    }

    /// The value as a number. Dates are their digits; what they have of a fraction has to fit.
    fn number(&self, value: &Plain, session: Session) -> Result<Number, String> {
        let digits = |date: DateTime| format!("{:04}{:02}{:02}", date.year, date.month, date.day);
        let clock = |value: DateTime, fraction: u32| {
            let text = value.to_text(fraction);
            let clock: String = text[11..].split(':').collect();
            format!("{}{clock}", digits(value))
        };
        let text = match value {
            Plain::Exact(number) | Plain::Named(number, _) => {
                return Ok(Number::Exact(number.clone()));
            }
            Plain::Real(number, _) => return Ok(Number::Real(*number)),
            Plain::Text(text) => text.clone(),
            Plain::Date(date) => digits(*date),
            Plain::DateTime(value, fraction) => clock(*value, *fraction),
            Plain::Timestamp(value, fraction) => {
                clock(value.to_datetime(session.zone()?), *fraction)
            }
            Plain::Time(value, fraction) => value.to_text(*fraction).split(':').collect(),
            Plain::Bytes(bytes) => match big_endian(bytes) {
                Some(number) => return Ok(Number::Exact(Decimal::from_integer(number))),
                None => return no_fit(),
            },
            Plain::Encoded(_) => return self.no_conversion(),
        };
        let Some(number) = Decimal::parse(&text) else {
            return no_fit();
        };
        // The server rounds a time before it takes its digits.
        if !matches!(value, Plain::Text(_))
            && !matches!(self.data_type, DataType::Decimal(..))
            && number.has_fraction()
        {
            return no_fit();
        }
        Ok(Number::Exact(number))
    }

    fn real(&self, value: &Plain, session: Session) -> Result<f64, String> {
        Ok(match self.number(value, session)? {
            Number::Exact(number) => number.to_f64(),
            Number::Real(number) => number,
        })
    }

    fn check_real(&self, number: f64) -> Result<(), String> {
        if number.is_finite() && !(self.unsigned && number < 0.0) {
            Ok(())
        } else {
            no_fit()
        }
    }

    fn integer(&self, value: &Plain, session: Session) -> Result<i128, String> {
        match self.number(value, session)? {
            Number::Exact(number) => number.to_integer().map_or_else(no_fit, Ok),
            // Halves go to the even neighbour, as rint() has them.
            Number::Real(number) if number.abs() < 1e30 => Ok(number.round_ties_even() as i128),
            Number::Real(_) => no_fit(),
        }
    }

    fn write_integer(&self, value: &Plain, session: Session) -> Written {
        let number = self.integer(value, session)?;
        let bytes = match self.data_type {
            DataType::TinyInt => 1,
            DataType::SmallInt => 2,
            DataType::MediumInt => 3,
            DataType::Int => 4,
            _ => 8,
        };
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

    fn write_decimal(&self, value: &Plain, precision: u8, scale: u8, session: Session) -> Written {
        let number = match self.number(value, session)? {
            Number::Exact(number) => Some(number),
            // The shortest digits that stand for the number.
            Number::Real(number) => Decimal::parse(&number.to_string()),
        };
        let mut out = Vec::new();
        match number {
            Some(number)
                if number.pack(precision, scale, &mut out)
                    && !(self.unsigned && number.is_negative()) =>
            {
                Ok(out)
            }
            _ => no_fit(),
        }
    }

    fn write_bits(&self, value: &Plain, bits: u8, session: Session) -> Written {
        let number = self.integer(value, session)?;
        if !(0..1i128 << bits).contains(&number) {
            return no_fit();
        }
        let length = usize::from(bits).div_ceil(8);
        Ok(number.to_be_bytes()[16 - length..].to_vec())
    }

    fn write_year(&self, value: &Plain) -> Written {
        let (number, text) = match value {
            Plain::Exact(number) | Plain::Named(number, _) => (number.to_integer(), None),
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
        let cut = session.cut_fractions;
        let mut out = Vec::new();
        match &self.data_type {
            DataType::Date => {
                let value = self.calendar(value, session)?;
                if value.microsecond != 0 {
                    return no_fit();
                }
                value.pack_date(&mut out);
            }
            DataType::DateTime(fraction) => {
                let value = self.calendar(value, session)?;
                match value.round(u32::from(*fraction), cut) {
                    Some(value) => value.pack(u32::from(*fraction), &mut out),
                    None => return no_fit(),
                }
            }
            DataType::Timestamp(fraction) => {
                let value = match value {
                    Plain::Timestamp(value, _) => *value,
                    _ => {
                        let local = self.calendar(value, session)?;
                        let zone = if local.is_zero() { 0 } else { session.zone()? };
                        match Timestamp::from_datetime(local, zone) {
                            Some(value) => value,
                            None => return no_fit(),
                        }
                    }
                };
                let value = value.round(u32::from(*fraction), cut);
                if !value.pack(u32::from(*fraction), &mut out) {
                    return no_fit();
                }
            }
            DataType::Time(fraction) => {
                let value = match value {
                    Plain::Time(value, _) => *value,
                    Plain::Text(text) => Time::parse(text).ok_or("a text is no time")?,
                    _ => Time(self.calendar(value, session)?.clock_microseconds()),
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

    /// The value as a point of the calendar, in the session's time.
    fn calendar(&self, value: &Plain, session: Session) -> Result<DateTime, String> {
        match value {
            Plain::Date(value) | Plain::DateTime(value, _) => Ok(*value),
            Plain::Timestamp(value, _) => Ok(value.to_datetime(session.zone()?)),
            Plain::Text(text) => {
                DateTime::parse(text).ok_or_else(|| "a text is no date".to_owned())
            }
            _ => self.no_conversion(),
        }
    }

    fn write_string(&self, value: &Plain, session: Session) -> Written {
        let text = match value {
            Plain::Bytes(bytes) => return self.pack_string(bytes.clone(), false),
            Plain::Encoded(bytes) => return self.pack_string(bytes.clone(), true),
            Plain::Text(text) | Plain::Real(_, text) | Plain::Named(_, text) => text.clone(),
            Plain::Exact(number) => number.to_text(),
            Plain::Date(date) => date.date_text(),
            Plain::DateTime(value, fraction) => value.to_text(*fraction),
            Plain::Time(value, fraction) => value.to_text(*fraction),
            Plain::Timestamp(value, fraction) => {
                value.to_datetime(session.zone()?).to_text(*fraction)
            }
        };
        let charset = self.charset();
        match text::encode(charset, &text) {
            Some(bytes) => self.pack_string(bytes, true),
            None => Err(format!("a text is not representable in {charset}")),
        }
    }

    /// Length prefix and bytes; blanks at the end that do not fit are dropped, as the server does. The
    /// bytes are checked to be text unless they are `known` to be.
    fn pack_string(&self, mut bytes: Vec<u8>, known: bool) -> Written {
        let charset = self.charset();
        let Some(physical) = &self.physical else {
            return self.no_conversion();
        };
        let space = text::encode(charset, " ").unwrap_or_default();
        let limit = match self.data_type {
            DataType::Char(length)
            | DataType::VarChar(length)
            | DataType::Binary(length)
            | DataType::VarBinary(length) => length as usize,
            _ => usize::MAX,
        };
        // The log has CHAR and BINARY without what fills them up.
        match self.data_type {
            DataType::Char(_) => while !space.is_empty() && strip(&mut bytes, &space) {},
            DataType::Binary(_) => while strip(&mut bytes, &[0]) {},
            _ => {}
        }
        let characters = |bytes: &[u8]| match charset {
            "binary" => Some(bytes.len()),
            _ => text::decode(charset, bytes).map(|text| text.chars().count()),
        };
        // No text has more characters than bytes.
        while !known || bytes.len() > limit {
            match characters(&bytes) {
                None => return Err(format!("bytes are no text in {charset}")),
                Some(count) if count <= limit => break,
                Some(_) if charset != "binary" && strip(&mut bytes, &space) => {}
                Some(_) => return no_fit(),
            }
        }
        let width = match self.data_type {
            DataType::Text(width) | DataType::Blob(width) => usize::from(width),
            _ if physical.meta > 255 => 2,
            _ => 1,
        };
        if bytes.len() as u64 >> (8 * width) != 0 {
            return no_fit();
        }
        let mut out = (bytes.len() as u64).to_le_bytes()[..width].to_vec();
        out.append(&mut bytes);
        Ok(out)
    }

    fn write_enum(&self, value: &Plain, members: &[String]) -> Written {
        let (Plain::Text(text) | Plain::Named(_, text)) = value else {
            return self.no_conversion();
        };
        match self.find_member(members, text.trim_end_matches(' ')) {
            Some(position) => Ok((position + 1).to_le_bytes()[..enum_width(members)].to_vec()),
            None => no_fit(),
        }
    }

    fn write_set(&self, value: &Plain, members: &[String]) -> Written {
        let (Plain::Text(text) | Plain::Named(_, text)) = value else {
            return self.no_conversion();
        };
        let mut bits = 0u64;
        let parts = text.trim_end_matches(' ').split(',');
        for part in parts.filter(|_| !text.is_empty()) {
            match self.find_member(members, part) {
                Some(position) => bits |= 1 << position,
                None => return no_fit(),
            }
        }
        Ok(bits.to_le_bytes()[..self.set_width()].to_vec())
    }

    /// Bytes of a SET's value.
    pub(crate) fn set_width(&self) -> usize {
        let width = self.physical.as_ref().map_or(8, |physical| physical.meta);
        width.min(8) as usize
    }

    /// Members compare by collation on the server: what is equal byte for byte is equal there too, and by a
    /// collation that passes over case, so is what differs in the case of ASCII letters alone.
    fn find_member(&self, members: &[String], text: &str) -> Option<usize> {
        let exact = members.iter().position(|member| member == text);
        let any_case = super::charset::by_id(self.collation)
            .is_some_and(|collation| collation.name.ends_with("_ci"));
        exact.or_else(|| {
            let mut members = members.iter();
            members.position(|member| any_case && member.eq_ignore_ascii_case(text))
        })
    }
}

pub(crate) fn enum_width(members: &[String]) -> usize {
    if members.len() < 256 { 1 } else { 2 }
}

/// Takes `end` from the end of `bytes`; false where it is not there.
fn strip(bytes: &mut Vec<u8>, end: &[u8]) -> bool {
    let found = bytes.ends_with(end);
    if found {
        bytes.truncate(bytes.len() - end.len());
    }
    found
}

/// A number rounded to the decimals of the old FLOAT(m,d), the way the server does it
/// (`Field_real::truncate`).
fn fixed(number: f64, digits: Option<(u8, u8)>) -> f64 {
    let Some((_, decimals)) = digits else {
        return number;
    };
    let power = 10f64.powi(decimals.into());
    let whole = number.floor();
    whole + ((number - whole) * power).round_ties_even() / power
}
