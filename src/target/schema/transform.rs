//! Stored rows from one definition of a table to the next.
//!
//! A stored row is a full row image: `[null bitmap][values of the columns that are not NULL]`. A
//! [`RowTransform`] has one step for each new column; each takes its value from an old column, as it is or
//! converted, or is a constant.

use crate::binlog::Column;
use crate::{Error, ErrorKind, Result};

use super::charset;
use super::context::StatementContext;
use super::cursor::Parse;
use super::data_type::DataType;
use super::definition::{ColumnDefinition, Generated, TableDefinition, Unclassified, same_name};
use super::evolve::Successor;
use super::token::{self, Token, sql_mode};
use super::value::{Plain, Session};
use super::write::enum_width;

/// Rewrites the stored rows of a table for one ALTER TABLE.
///
/// ```
/// use rejoin::target::schema::{Catalog, SchemaChange, StatementContext};
///
/// let mut catalog = Catalog::new();
/// let context = StatementContext { default_database: b"d", ..Default::default() };
/// catalog.apply(b"CREATE DATABASE d", &context)?;
/// catalog.apply(b"CREATE TABLE t (a TINYINT)", &context)?;
/// let changes = catalog.apply(b"ALTER TABLE t MODIFY a INT, ADD b CHAR(2) DEFAULT 'x' FIRST", &context)?;
/// let [SchemaChange::AlterTable { transform: Some(transform), .. }] = &changes[..] else { panic!() };
/// let mut row = Vec::new();
/// transform.apply(&[0, 0xff], &mut row)?;
/// assert_eq!(row, [0, 1, b'x', 0xff, 0xff, 0xff, 0xff]);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowTransform {
    /// The columns of the rows that come in.
    old: Vec<Column>,
    steps: Vec<Step>,
    /// Why no row can be rewritten at all.
    blocked: Option<String>,
    /// The statement, for errors.
    statement: String,
    session: Session,
}

/// Where a new column's value comes from.
#[derive(Debug, Clone)]
struct Step {
    /// The new column, for errors.
    name: String,
    source: Source,
    /// NULL is no value of the new column though it was one of the old.
    refuses_null: bool,
    /// AUTO_INCREMENT is new, and numbers the rows that have 0.
    refuses_zero: bool,
}

#[derive(Debug, Clone)]
enum Source {
    /// The value of an old column as it is.
    Copy(usize),
    /// The value of an old column, in another form.
    Convert(usize, Box<Conversion>),
    /// The same for every row; `None` is NULL.
    Constant(Option<Vec<u8>>),
}

#[derive(Debug, Clone)]
struct Conversion {
    old: ColumnDefinition,
    new: ColumnDefinition,
    /// A generated column that is made of the value: it has to stay what it is.
    read_by: Option<String>,
}

impl RowTransform {
    /// What has to happen to rows of `old` to become rows of the `successors`; `None`: nothing.
    pub(crate) fn plan(
        old: &TableDefinition,
        successors: &[Successor],
        rows_change: Option<String>,
        context: &StatementContext<'_>,
        statement: &str,
    ) -> Parse<Option<Self>> {
        let columns = old
            .physical_columns()
            .ok_or_else(|| Unclassified::new("the columns of the rows are not known"))?;
        let mut blocked = rows_change.map(|clause| changed_by(&clause));
        let mut steps = Vec::with_capacity(successors.len());
        for successor in successors {
            let step = match successor.from {
                Some(from) => carry(from, &old.columns[from], &successor.column),
                None => successor
                    .column
                    .packed_default(context)
                    .map(Source::Constant),
            };
            let before = successor.from.and_then(|from| old.columns.get(from));
            let refuses_null =
                before.is_some_and(|before| before.nullable) && !successor.column.nullable;
            // A column that had AUTO_INCREMENT before keeps its zeros (`copy_data_between_tables`,
            // sql_table.cc).
            let refuses_zero = context.sql_mode & sql_mode::NO_AUTO_VALUE_ON_ZERO == 0
                && successor.column.auto_increment
                && before.is_some_and(|before| !before.auto_increment);
            match step {
                Ok(source) => steps.push(Step {
                    name: successor.column.name.clone(),
                    source,
                    refuses_null,
                    refuses_zero,
                }),
                Err(reason) => {
                    let name = &successor.column.name;
                    blocked.get_or_insert_with(|| format!("column {name}: {reason}"));
                }
            }
        }
        if blocked.is_none() {
            blocked = keep_generated(old, successors, &mut steps);
        }
        let as_it_was = |(index, step): (usize, &Step)| {
            matches!(step.source, Source::Copy(from) if from == index)
                && !step.refuses_null
                && !step.refuses_zero
        };
        if blocked.is_none()
            && steps.len() == columns.len()
            && steps.iter().enumerate().all(as_it_was)
        {
            return Ok(None);
        }
        Ok(Some(Self {
            old: columns,
            steps,
            blocked,
            statement: statement.to_owned(),
            session: Session::of(context),
        }))
    }

    /// Refuses every row of a table: a clause changes them without row events.
    pub(crate) fn refusing(clause: &str, context: &StatementContext<'_>, statement: &str) -> Self {
        Self {
            old: Vec::new(),
            steps: Vec::new(),
            blocked: Some(changed_by(clause)),
            statement: statement.to_owned(),
            session: Session::of(context),
        }
    }

    /// Appends the row that `old_image` becomes to `new_image`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], naming the clause, where the row cannot be rewritten exactly as the
    /// server did; [`ErrorKind::Malformed`] where `old_image` is no row of the table.
    pub fn apply(&self, old_image: &[u8], new_image: &mut Vec<u8>) -> Result<()> {
        if let Some(reason) = &self.blocked {
            return Err(self.refuse(reason));
        }
        let values = self.split(old_image)?;
        let start = new_image.len();
        let bitmap = self.steps.len().div_ceil(8);
        new_image.resize(start + bitmap, 0);
        for (index, step) in self.steps.iter().enumerate() {
            let value_start = new_image.len();
            let null = match &step.source {
                Source::Copy(from) => match values[*from] {
                    Some(value) => {
                        new_image.extend_from_slice(value);
                        false
                    }
                    None => true,
                },
                Source::Convert(from, conversion) => match values[*from] {
                    Some(value) => {
                        let converted = self.convert(conversion, &self.old[*from], value);
                        let converted = converted.map_err(|reason| {
                            self.refuse(&format!("column {}: {reason}", step.name))
                        })?;
                        new_image.extend_from_slice(&converted);
                        false
                    }
                    None => true,
                },
                Source::Constant(Some(value)) => {
                    new_image.extend_from_slice(value);
                    false
                }
                Source::Constant(None) => true,
            };
            if null {
                if step.refuses_null {
                    return Err(self.refuse(&format!("column {}: a row has NULL", step.name)));
                }
                new_image[start + index / 8] |= 1 << (index % 8);
            } else if step.refuses_zero && new_image[value_start..].iter().all(|byte| *byte == 0) {
                return Err(self.refuse(&format!(
                    "column {}: AUTO_INCREMENT numbers a row that has 0",
                    step.name
                )));
            }
        }
        Ok(())
    }

    /// The bytes of each old value, length prefix included; `None` is NULL.
    fn split<'a>(&self, image: &'a [u8]) -> Result<Vec<Option<&'a [u8]>>> {
        let cut = || Error::new(ErrorKind::Malformed, "stored row is cut");
        let bitmap_length = self.old.len().div_ceil(8);
        let (bitmap, mut rest) = image.split_at_checked(bitmap_length).ok_or_else(cut)?;
        let mut values = Vec::with_capacity(self.old.len());
        for (index, column) in self.old.iter().enumerate() {
            if bitmap[index / 8] >> (index % 8) & 1 != 0 {
                values.push(None);
                continue;
            }
            let length = column.value_length(rest)?;
            let (value, tail) = rest.split_at_checked(length).ok_or_else(cut)?;
            rest = tail;
            values.push(Some(value));
        }
        if rest.is_empty() {
            Ok(values)
        } else {
            Err(Error::new(
                ErrorKind::Malformed,
                "stored row is longer than its columns",
            ))
        }
    }

    fn convert(
        &self,
        conversion: &Conversion,
        column: &Column,
        value: &[u8],
    ) -> Result<Vec<u8>, String> {
        let (old, new) = (&conversion.old, &conversion.new);
        let plain = if is_text(&old.data_type)
            && (is_bytes(&new.data_type)
                || is_text(&new.data_type) && old.charset() == new.charset())
        {
            let content = column.content(value).map_err(|error| error.to_string())?;
            if is_text(&new.data_type) {
                Plain::Encoded(content.to_vec())
            } else {
                Plain::Bytes(content.to_vec())
            }
        } else {
            old.read_plain(value)
                .ok_or("a stored value cannot be read")?
        };
        let converted = match (&old.data_type, &new.data_type, &plain) {
            // The error value of an ENUM is no member, and stays what it is.
            (DataType::Enum(_), DataType::Enum(members), Plain::Named(number, _))
                if number.to_integer() == Some(0) =>
            {
                vec![0; enum_width(members)]
            }
            _ => new.write_plain(&plain, self.session)?,
        };
        match &conversion.read_by {
            Some(generated) if !conversion.keeps(value, &converted) => Err(format!(
                "a value changes, and the generated column {generated} is computed anew"
            )),
            _ => Ok(converted),
        }
    }

    #[cold]
    fn refuse(&self, reason: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "stored rows cannot be rewritten exactly ({reason}) for the statement: {}",
                self.statement
            ),
        )
        .remedy("clone a member to get past this statement")
    }
}

impl Generated {
    /// Whether the expression has the name of this column in it, as a name or as a word.
    fn may_read(&self, column: &str) -> bool {
        let text = self.expression.as_bytes();
        let Ok(lexemes) = token::lex(text, 0) else {
            return true;
        };
        let is_called = |place: usize| {
            let next = lexemes.get(place + 1);
            next.is_some_and(|next| next.token == Token::Symbol(b'('))
        };
        let mut lexemes_in_order = lexemes.iter().enumerate();
        lexemes_in_order.any(|(place, lexeme)| {
            let name = match &lexeme.token {
                Token::Word(name) if !is_called(place) => *name,
                Token::Name(name) => name,
                // With ANSI_QUOTES, which may have been set when this was written, these enclose names.
                Token::String(name) if text.get(lexeme.start) == Some(&b'"') => name,
                _ => return false,
            };
            same_name(&String::from_utf8_lossy(name), column)
        })
    }
}

fn changed_by(clause: &str) -> String {
    format!("rows change without row events by {clause}")
}

impl Conversion {
    /// Whether an expression makes the same of the value `after` as of the value `before`: they are one
    /// value of one kind, and compare with others as they did.
    fn keeps(&self, before: &[u8], after: &[u8]) -> bool {
        self.old.collation == self.new.collation
            && self.old.read_plain(before) == self.new.read_plain(after)
    }
}

/// Has the `steps` refuse values whose change would change generated columns, which are carried as they
/// are; why no row can be carried, where that cannot be told from the values.
fn keep_generated(
    old: &TableDefinition,
    successors: &[Successor],
    steps: &mut [Step],
) -> Option<String> {
    for reader in successors {
        let Some(generated) = reader
            .column
            .generated
            .as_ref()
            .filter(|_| reader.from.is_some())
        else {
            continue;
        };
        for (read, step) in successors.iter().zip(&mut *steps) {
            if !generated.may_read(&read.column.name) {
                continue;
            }
            let before = read.from.and_then(|from| old.columns.get(from));
            match &mut step.source {
                Source::Convert(_, conversion) => {
                    conversion.read_by = Some(reader.column.name.clone());
                }
                Source::Copy(_)
                    if before.is_some_and(|old| old.collation == read.column.collation) => {}
                Source::Constant(_) if old.column_index(&read.column.name).is_none() => {}
                _ => {
                    return Some(format!(
                        "column {}: the generated column {} is computed anew",
                        read.column.name, reader.column.name
                    ));
                }
            }
        }
    }
    None
}

/// How an old column's values get into the column that follows it.
fn carry(from: usize, old: &ColumnDefinition, new: &ColumnDefinition) -> Result<Source, String> {
    if let Some(generated) = &new.generated {
        let same = old
            .generated
            .as_ref()
            .is_some_and(|before| before.expression == generated.expression);
        if !same {
            return Err("its expression is computed for every row".to_owned());
        }
    }
    if new.auto_increment && !old.auto_increment && old.nullable {
        return Err("AUTO_INCREMENT numbers the rows that had none".to_owned());
    }
    if has_same_form(old, new) {
        return Ok(Source::Copy(from));
    }
    if new.generated.is_some() && !(is_text(&old.data_type) && is_text(&new.data_type)) {
        // What its value was rounded to is not what the expression gives for the new type.
        return Err("the generated column is computed anew for another type".to_owned());
    }
    if !is_convertible(&old.data_type, &new.data_type) {
        return Err(format!(
            "no exact conversion from {:?} to {:?}",
            old.data_type, new.data_type
        ));
    }
    Ok(Source::Convert(
        from,
        Box::new(Conversion {
            old: old.clone(),
            new: new.clone(),
            read_by: None,
        }),
    ))
}

/// Whether values stay as they are, byte for byte.
fn has_same_form(old: &ColumnDefinition, new: &ColumnDefinition) -> bool {
    let (Some(before), Some(after)) = (&old.physical, &new.physical) else {
        return false;
    };
    if before.kind != after.kind || before.meta != after.meta || old.unsigned != new.unsigned {
        return false;
    }
    match (&old.data_type, &new.data_type) {
        (DataType::Enum(before), DataType::Enum(after))
        | (DataType::Set(before), DataType::Set(after)) => after.starts_with(before),
        (DataType::Float(before), DataType::Float(after))
        | (DataType::Double(before), DataType::Double(after)) => after.is_none() || before == after,
        (before, _) if before.is_text() || new.data_type.is_text() => {
            let charset = |id| charset::by_id(id).map(|collation| collation.charset);
            charset(old.collation) == charset(new.collation) && old.data_type == new.data_type
        }
        _ => true,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Char(_) | DataType::VarChar(_) | DataType::Text(_)
    )
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary(_) | DataType::VarBinary(_) | DataType::Blob(_)
    )
}

/// Whether values of one type have an exact counterpart in the other, at least some of them.
fn is_convertible(old: &DataType, new: &DataType) -> bool {
    use DataType as T;
    let number = |data_type: &T| data_type.is_number() || matches!(data_type, T::Bit(_));
    let printed = is_text(new) || is_bytes(new);
    match old {
        T::TinyInt | T::SmallInt | T::MediumInt | T::Int | T::BigInt | T::Decimal(..) => {
            number(new) || *new == T::Year || printed
        }
        T::Float(_) | T::Double(_) => new.is_number() || printed,
        T::Bit(_) => number(new),
        T::Year => number(new) || printed,
        T::Char(_) | T::VarChar(_) | T::Text(_) => {
            new.is_number()
                || matches!(new, T::Enum(_) | T::Set(_) | T::Year)
                || is_temporal(new)
                || printed
        }
        T::Binary(_) | T::VarBinary(_) | T::Blob(_) => printed,
        T::Enum(_) => matches!(new, T::Enum(_)) || number(new) || is_text(new),
        T::Set(_) => matches!(new, T::Set(_)) || number(new) || is_text(new),
        // A TIME becomes a date by way of the current one.
        T::Time(_) => matches!(new, T::Time(_)) || new.is_number() || printed,
        T::Date | T::DateTime(_) | T::Timestamp(_) => {
            is_temporal(new) || new.is_number() || printed
        }
        T::Json => printed,
        _ => false,
    }
}

fn is_temporal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date | DataType::Time(_) | DataType::DateTime(_) | DataType::Timestamp(_)
    )
}
