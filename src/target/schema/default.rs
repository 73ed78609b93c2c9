//! What a column holds where a statement does not say: its default as bytes of a row.

use crate::{Error, ErrorKind, Result as Outcome};

use super::context::StatementContext;
use super::data_type::DataType;
use super::decimal::Decimal;
use super::definition::{ColumnDefault, ColumnDefinition, Literal};
use super::temporal::{DateTime, Time, Timestamp};
use super::value::{Plain, Session};
use super::write::{Written, enum_width, no_fit};

impl ColumnDefinition {
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

    /// The packed value of the default; `Ok(None)` is NULL. The error says why it cannot be told.
    pub(crate) fn packed_default(
        &self,
        context: &StatementContext<'_>,
    ) -> Result<Option<Vec<u8>>, String> {
        if self.generated.is_some() {
            return Err("the value of a generated column is computed".to_owned());
        }
        if self.auto_increment {
            return Err("AUTO_INCREMENT numbers the rows".to_owned());
        }
        match &self.default {
            ColumnDefault::Null => Ok(None),
            ColumnDefault::None if self.nullable => Ok(None),
            ColumnDefault::None => self.implicit_default(Session::of(context)).map(Some),
            ColumnDefault::Unknown => Err("it is not known".to_owned()),
            ColumnDefault::Expression(text) => Err(format!("the default is the expression {text}")),
            ColumnDefault::CurrentTimestamp => self.current_timestamp(context).map(Some),
            ColumnDefault::Constant(literal) => {
                let session = match self.data_type {
                    // See `settle_default`.
                    DataType::Timestamp(_) => Session::in_utc(context),
                    _ => Session::of(context),
                };
                self.write_constant(&plain(literal)?, session).map(Some)
            }
        }
    }

    /// A constant that stands for a TIMESTAMP is one in the time zone of the statement that declares it,
    /// whatever that of a later INSERT is: from here on it is one in UTC.
    pub(crate) fn settle_default(&mut self, context: &StatementContext<'_>) {
        let DataType::Timestamp(fraction) = self.data_type else {
            return;
        };
        let ColumnDefault::Constant(literal) = &self.default else {
            return;
        };
        let settled = plain(literal)
            .and_then(|value| self.write_constant(&value, Session::of(context)))
            .map(|packed| self.read_plain(&packed));
        self.default = match settled {
            Ok(Some(Plain::Timestamp(value, _))) => {
                let text = value.to_datetime(0).to_text(fraction.into());
                ColumnDefault::Constant(Literal::Text(text))
            }
            Ok(Some(_)) => return,
            Ok(None) | Err(_) => ColumnDefault::Expression(format!(
                "{literal:?} in time zone {}",
                String::from_utf8_lossy(context.time_zone)
            )),
        };
    }

    /// Packs a value that belongs to no statement.
    pub(crate) fn write_in_utc(&self, value: &Plain) -> Written {
        let session = Session::in_utc(&StatementContext::default());
        self.write_constant(value, session)
    }

    /// A constant may say less than a value of a row: numbers for members and dates.
    fn write_constant(&self, value: &Plain, session: Session) -> Written {
        let number = match value {
            Plain::Exact(number) => number.to_integer(),
            _ => None,
        };
        match (&self.data_type, number) {
            (DataType::Enum(members), Some(number))
                if usize::try_from(number).is_ok_and(|number| number <= members.len()) =>
            {
                Ok(number.to_le_bytes()[..enum_width(members)].to_vec())
            }
            (DataType::Set(_), Some(number)) if u64::try_from(number).is_ok() => {
                Ok(number.to_le_bytes()[..self.set_width()].to_vec())
            }
            (DataType::Date | DataType::DateTime(_) | DataType::Timestamp(_), Some(number)) => {
                match number_date(number) {
                    Some(value) => self.write_plain(&Plain::DateTime(value, 0), session),
                    None => no_fit(),
                }
            }
            (DataType::Time(_), Some(number)) if number.abs() <= 8_385_959 => {
                let hms = number.abs();
                let seconds = hms / 10_000 * 3600 + hms / 100 % 100 * 60 + hms % 100;
                let value = Time((seconds * number.signum() * 1_000_000) as i64);
                self.write_plain(&Plain::Time(value, 0), session)
            }
            _ => self.write_plain(value, session),
        }
    }

    /// What rows that are there get in a new column that is NOT NULL and has no DEFAULT.
    fn implicit_default(&self, session: Session) -> Written {
        let zero = || Plain::Exact(Decimal::from_integer(0));
        match &self.data_type {
            DataType::Enum(members) => Ok(1u64.to_le_bytes()[..enum_width(members)].to_vec()),
            DataType::Date | DataType::DateTime(_) | DataType::Timestamp(_) => {
                self.write_plain(&Plain::DateTime(DateTime::ZERO, 0), session)
            }
            DataType::Time(_) => self.write_plain(&Plain::Time(Time(0), 0), session),
            DataType::Bit(_) | DataType::Year => self.write_plain(&zero(), session),
            data_type if data_type.is_number() => self.write_plain(&zero(), session),
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

fn plain(literal: &Literal) -> Result<Plain, String> {
    Ok(match literal {
        Literal::Text(text) => Plain::Text(text.clone()),
        Literal::Bytes(bytes) | Literal::Bits(bytes) => Plain::Bytes(bytes.clone()),
        Literal::Number(text) => match Decimal::parse(text) {
            Some(number) => Plain::Exact(number),
            None => return Err(format!("the default is {text}")),
        },
    })
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
