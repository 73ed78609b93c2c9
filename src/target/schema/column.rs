//! Column definitions as CREATE TABLE and ALTER TABLE write them.
//!
//! ```text
//! name type[(..)] [UNSIGNED | ZEROFILL | BINARY | CHARACTER SET x | COLLATE x]
//!      [NOT NULL | NULL] [DEFAULT .. | GENERATED ALWAYS AS (..) [VIRTUAL | STORED]] [ON UPDATE ..]
//!      [AUTO_INCREMENT] [UNIQUE [KEY] | [PRIMARY] KEY] [VISIBLE | INVISIBLE] [COMMENT '..'] ..
//! ```
//! Attributes come in any order; those that say nothing about rows are passed over.

use super::charset;
use super::context::StatementContext;
use super::cursor::{Cursor, Parse};
use super::data_type::DataType;
use super::definition::{ColumnDefault, ColumnDefinition, Generated, Literal, Unclassified};
use super::token::{Token, sql_mode};

/// A column definition before the table's character set is known.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    data_type: SpecType,
    unsigned: bool,
    zerofill: bool,
    /// `UNSIGNED` width or length in parentheses.
    width: Option<u16>,
    text: TextAttributes,
    nullable: Option<bool>,
    default: Option<ColumnDefault>,
    updates_itself: bool,
    auto_increment: bool,
    generated: Option<Generated>,
    visible: bool,
    pub(crate) primary: bool,
    pub(crate) unique: bool,
}

/// What a definition says about its characters.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextAttributes {
    pub(crate) charset: Option<String>,
    pub(crate) collation: Option<String>,
    /// `BINARY`: the character set's `_bin` collation.
    pub(crate) binary: bool,
}

impl TextAttributes {
    /// The collation that the attributes make of the one that is inherited.
    pub(crate) fn resolve(
        &self,
        inherited: u16,
        context: &StatementContext<'_>,
    ) -> Parse<&'static charset::Collation> {
        if let Some(collation) = &self.collation {
            return charset::by_name(collation);
        }
        let collation = match &self.charset {
            Some(name) => charset::default_of(name, context.default_collation_for_utf8mb4)?,
            None => charset::by_id(inherited)
                .ok_or_else(|| Unclassified::new(format!("unknown collation {inherited}")))?,
        };
        if self.binary {
            return charset::binary_of(collation.charset)
                .ok_or_else(|| Unclassified::new("BINARY attribute"));
        }
        Ok(collation)
    }

    /// Reads one attribute, if one stands here.
    pub(crate) fn accept(&mut self, cursor: &mut Cursor<'_>) -> Parse<bool> {
        if cursor.accept_all(&["CHARACTER", "SET"])
            || cursor.accept_all(&["CHAR", "SET"])
            || cursor.accept("CHARSET")
        {
            cursor.accept_symbol(b'=');
            self.charset = Some(cursor.charset_word()?);
        } else if cursor.accept("COLLATE") {
            cursor.accept_symbol(b'=');
            self.collation = Some(cursor.charset_word()?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// A type whose final form may depend on the character set.
#[derive(Debug, Clone)]
enum SpecType {
    Final(DataType),
    /// `TEXT(m)`, `BLOB(m)`: the smallest type that holds so many characters.
    Sized {
        text: bool,
        length: u32,
    },
}

pub(crate) fn column(cursor: &mut Cursor<'_>) -> Parse<ColumnSpec> {
    let name = cursor.name()?;
    let mut spec = ColumnSpec {
        name,
        data_type: SpecType::Final(DataType::Other),
        unsigned: false,
        zerofill: false,
        width: None,
        text: TextAttributes::default(),
        nullable: None,
        default: None,
        updates_itself: false,
        auto_increment: false,
        generated: None,
        visible: true,
        primary: false,
        unique: false,
    };
    spec.read_type(cursor)?;
    while !cursor.at_end() && !cursor.is_any(&["FIRST", "AFTER", "PARTITION", "REMOVE"]) {
        spec.read_attribute(cursor)?;
    }
    Ok(spec)
}

/// The length in parentheses behind a type.
fn length(cursor: &mut Cursor<'_>) -> Parse<Option<u32>> {
    match cursor.group() {
        Some(mut group) => group.integer().map(Some),
        None => Ok(None),
    }
}

/// Two numbers in parentheses; the second is 0 unless it is said.
fn two_lengths(cursor: &mut Cursor<'_>) -> Parse<Option<(u8, Option<u8>)>> {
    let Some(mut group) = cursor.group() else {
        return Ok(None);
    };
    let first = group.integer()?;
    let second = if group.accept_symbol(b',') {
        Some(group.integer()?)
    } else {
        None
    };
    Ok(Some((first, second)))
}

impl ColumnSpec {
    fn read_type(&mut self, cursor: &mut Cursor<'_>) -> Parse<()> {
        let Some(Token::Word(word)) = cursor.peek() else {
            return Err(cursor.unclassified("a type"));
        };
        let word = String::from_utf8_lossy(word).to_ascii_uppercase();
        let before = *cursor;
        cursor.next();
        let data_type = match word.as_str() {
            "TINYINT" | "INT1" => self.integer(cursor, DataType::TinyInt)?,
            "BOOL" | "BOOLEAN" => DataType::TinyInt,
            "SMALLINT" | "INT2" => self.integer(cursor, DataType::SmallInt)?,
            "MEDIUMINT" | "INT3" | "MIDDLEINT" => self.integer(cursor, DataType::MediumInt)?,
            "INT" | "INTEGER" | "INT4" => self.integer(cursor, DataType::Int)?,
            "BIGINT" | "INT8" => self.integer(cursor, DataType::BigInt)?,
            "SERIAL" => {
                self.serial();
                DataType::BigInt
            }
            "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => {
                let (precision, scale) = two_lengths(cursor)?.unwrap_or((10, None));
                // A precision of 0 stands for the default.
                let precision = if precision == 0 { 10 } else { precision };
                DataType::Decimal(precision, scale.unwrap_or(0))
            }
            "FLOAT" | "FLOAT4" => match two_lengths(cursor)? {
                Some((digits, Some(decimals))) => DataType::Float(Some((digits, decimals))),
                Some((bits, None)) if bits > 24 => DataType::Double(None),
                _ => DataType::Float(None),
            },
            "DOUBLE" | "FLOAT8" | "REAL" => {
                cursor.accept("PRECISION");
                let digits = two_lengths(cursor)?
                    .and_then(|(digits, decimals)| decimals.map(|decimals| (digits, decimals)));
                let float = cursor.context.sql_mode & sql_mode::REAL_AS_FLOAT != 0;
                if word == "REAL" && float {
                    DataType::Float(digits)
                } else {
                    DataType::Double(digits)
                }
            }
            "BIT" => DataType::Bit(length(cursor)?.unwrap_or(1).try_into().unwrap_or(u8::MAX)),
            "YEAR" => {
                length(cursor)?;
                DataType::Year
            }
            "DATE" => DataType::Date,
            "TIME" => DataType::Time(fraction(cursor)?),
            "DATETIME" => DataType::DateTime(fraction(cursor)?),
            "TIMESTAMP" => DataType::Timestamp(fraction(cursor)?),
            "JSON" => DataType::Json,
            "VECTOR" => DataType::Vector(length(cursor)?.unwrap_or(2048)),
            "ENUM" => DataType::Enum(cursor.expect_group()?.strings()?),
            // A column may be called `set`; here a type is expected.
            "SET" => DataType::Set(cursor.expect_group()?.strings()?),
            "GEOMETRY" => DataType::Geometry(0),
            "POINT" => DataType::Geometry(1),
            "LINESTRING" => DataType::Geometry(2),
            "POLYGON" => DataType::Geometry(3),
            "MULTIPOINT" => DataType::Geometry(4),
            "MULTILINESTRING" => DataType::Geometry(5),
            "MULTIPOLYGON" => DataType::Geometry(6),
            "GEOMETRYCOLLECTION" | "GEOMCOLLECTION" => DataType::Geometry(7),
            _ => {
                *cursor = before;
                self.data_type = self.read_string_type(cursor)?;
                return Ok(());
            }
        };
        self.data_type = SpecType::Final(data_type);
        Ok(())
    }

    fn integer(&mut self, cursor: &mut Cursor<'_>, data_type: DataType) -> Parse<DataType> {
        if let Some(width) = length(cursor)? {
            self.width = Some(width.min(255) as u16);
        }
        Ok(data_type)
    }

    /// CHAR, VARCHAR, BINARY, TEXT, BLOB and all their synonyms.
    fn read_string_type(&mut self, cursor: &mut Cursor<'_>) -> Parse<SpecType> {
        let unclassified = cursor.unclassified("a type");
        let national = cursor.accept("NATIONAL");
        let Some(Token::Word(word)) = cursor.next() else {
            return Err(unclassified);
        };
        let word = String::from_utf8_lossy(word).to_ascii_uppercase();
        if national || word.starts_with('N') {
            self.text.charset = Some("utf8mb3".to_owned());
        }
        let sized = |cursor: &mut Cursor<'_>, text: bool| {
            Ok(match length(cursor)? {
                Some(length) => SpecType::Sized { text, length },
                None if text => SpecType::Final(DataType::Text(2)),
                None => SpecType::Final(DataType::Blob(2)),
            })
        };
        Ok(SpecType::Final(match word.as_str() {
            "CHAR" | "CHARACTER" | "NCHAR" => {
                if cursor.accept("VARYING") || cursor.accept("VARCHAR") {
                    DataType::VarChar(length(cursor)?.unwrap_or(1))
                } else {
                    DataType::Char(length(cursor)?.unwrap_or(1))
                }
            }
            "VARCHAR" | "VARCHARACTER" | "NVARCHAR" => {
                DataType::VarChar(length(cursor)?.unwrap_or(1))
            }
            "BINARY" => DataType::Binary(length(cursor)?.unwrap_or(1)),
            "VARBINARY" => DataType::VarBinary(length(cursor)?.unwrap_or(1)),
            "TINYBLOB" => DataType::Blob(1),
            "BLOB" => return sized(cursor, false),
            "MEDIUMBLOB" => DataType::Blob(3),
            "LONGBLOB" => DataType::Blob(4),
            "TINYTEXT" => DataType::Text(1),
            "TEXT" => return sized(cursor, true),
            "MEDIUMTEXT" => DataType::Text(3),
            "LONGTEXT" => DataType::Text(4),
            "LONG" if cursor.accept("VARBINARY") => DataType::Blob(3),
            "LONG" => {
                let _ = cursor.accept_all(&["CHAR", "VARYING"])
                    || cursor.accept_all(&["CHARACTER", "VARYING"])
                    || cursor.accept_any(&["VARCHAR", "VARCHARACTER"]);
                DataType::Text(3)
            }
            _ => return Err(unclassified),
        }))
    }

    fn serial(&mut self) {
        self.unsigned = true;
        self.nullable = Some(false);
        self.auto_increment = true;
        self.unique = true;
    }

    fn read_attribute(&mut self, cursor: &mut Cursor<'_>) -> Parse<()> {
        if cursor.accept("UNSIGNED") {
            self.unsigned = true;
        } else if cursor.accept("ZEROFILL") {
            self.unsigned = true;
            self.zerofill = true;
        } else if cursor.accept("BINARY") {
            self.text.binary = true;
        } else if cursor.accept("ASCII") {
            self.text.charset = Some("latin1".to_owned());
        } else if cursor.accept("UNICODE") {
            self.text.charset = Some("ucs2".to_owned());
        } else if cursor.accept("BYTE") {
            self.text.charset = Some("binary".to_owned());
        } else if self.text.accept(cursor)? {
        } else if cursor.accept_all(&["NOT", "NULL"]) {
            self.nullable = Some(false);
        } else if cursor.accept("NULL") {
            self.nullable = Some(true);
        } else if cursor.accept("NOT") {
            // NOT SECONDARY.
            cursor.skip();
        } else if cursor.accept("DEFAULT") {
            self.default = Some(default_value(cursor)?);
        } else if cursor.accept("SERIAL") {
            // SERIAL DEFAULT VALUE.
            cursor.accept_all(&["DEFAULT", "VALUE"]);
            self.nullable = Some(false);
            self.auto_increment = true;
            self.unique = true;
        } else if cursor.accept("ON") {
            // ON UPDATE, with CURRENT_TIMESTAMP or one of its synonyms.
            cursor.accept("UPDATE");
            self.updates_itself = current_timestamp(cursor);
        } else if cursor.accept("AUTO_INCREMENT") {
            self.auto_increment = true;
        } else if cursor.accept_all(&["UNIQUE", "KEY"]) || cursor.accept("UNIQUE") {
            self.unique = true;
        } else if cursor.accept_all(&["PRIMARY", "KEY"])
            || cursor.accept("PRIMARY")
            || cursor.accept("KEY")
        {
            self.primary = true;
        } else if cursor.accept_all(&["GENERATED", "ALWAYS"]) {
            // The rest is read at AS.
        } else if cursor.accept("AS") {
            let inside = cursor.expect_group()?;
            self.generated = Some(Generated {
                stored: false,
                expression: inside.rest(),
            });
        } else if cursor.is_any(&["STORED", "PERSISTENT"]) {
            cursor.skip();
            if let Some(generated) = &mut self.generated {
                generated.stored = true;
            }
        } else if cursor.accept("INVISIBLE") {
            self.visible = false;
        } else if cursor.accept("REFERENCES") {
            references(cursor)?;
        } else if cursor.accept_any(&["COLUMN_FORMAT", "STORAGE"]) {
            // The value may be DEFAULT.
            cursor.skip();
        } else {
            // COMMENT 'x', CHECK (x), SRID n, and what is yet to come: word by
            // word, groups as one.
            cursor.skip();
        }
        Ok(())
    }

    /// The column in a table whose default collation is `inherited`.
    pub(crate) fn resolve(
        self,
        inherited: u16,
        context: &StatementContext<'_>,
    ) -> Parse<ColumnDefinition> {
        let mut data_type = match &self.data_type {
            SpecType::Final(data_type) => data_type.clone(),
            // Replaced below, once the character set is known.
            SpecType::Sized { text: true, .. } => DataType::Text(2),
            SpecType::Sized { text: false, .. } => DataType::Blob(2),
        };
        let mut collation = charset::BINARY;
        let mut max_bytes = 1;
        if data_type.is_text() {
            let resolved = self.text.resolve(inherited, context)?;
            collation = resolved.id;
            max_bytes = u32::from(resolved.max_bytes);
        }
        if let SpecType::Sized { text, length } = self.data_type {
            let width = length_width(u64::from(length) * u64::from(max_bytes));
            data_type = if text {
                DataType::Text(width)
            } else {
                DataType::Blob(width)
            };
        }
        if collation == charset::BINARY {
            data_type = match data_type {
                DataType::Char(length) => DataType::Binary(length),
                DataType::VarChar(length) => DataType::VarBinary(length),
                DataType::Text(width) => DataType::Blob(width),
                other => other,
            };
        }
        // What no VARCHAR holds becomes a text type where sql_mode is not strict.
        match data_type {
            DataType::VarChar(length) if length.saturating_mul(max_bytes) > 65_535 => {
                let bytes = u64::from(length) * u64::from(max_bytes);
                data_type = DataType::Text(length_width(bytes));
            }
            DataType::VarBinary(length) if length > 65_535 => {
                data_type = DataType::Blob(length_width(length.into()));
            }
            _ => {}
        }
        let mut nullable = self.nullable.unwrap_or(!self.primary);
        let mut default = self.default;
        if matches!(data_type, DataType::Timestamp(_)) && !context.explicit_defaults_for_timestamp {
            // The first TIMESTAMP's implied default is set by the table, which knows which is first.
            nullable = self.nullable == Some(true);
        }
        if self.primary {
            nullable = false;
        }
        if self.generated.is_some() || self.auto_increment {
            default = None;
        }
        let mut definition = ColumnDefinition {
            name: self.name,
            zerofill: self
                .zerofill
                .then(|| zerofill_width(&data_type, self.width)),
            data_type,
            unsigned: self.unsigned,
            collation,
            nullable,
            default: match default {
                Some(default) => default,
                None if nullable => ColumnDefault::Null,
                None => ColumnDefault::None,
            },
            auto_increment: self.auto_increment,
            generated: self.generated,
            visible: self.visible,
            physical: None,
        };
        definition.physical = Some(definition.declared_physical()?);
        definition.settle_default(context);
        Ok(definition)
    }

    /// Whether neither a default nor ON UPDATE is said: what the first TIMESTAMP column needs to get both
    /// where `explicit_defaults_for_timestamp` is off.
    pub(crate) fn is_bare_timestamp(&self) -> bool {
        matches!(self.data_type, SpecType::Final(DataType::Timestamp(_)))
            && self.nullable != Some(true)
            && self.default.is_none()
            && !self.updates_itself
            && self.generated.is_none()
    }
}

fn fraction(cursor: &mut Cursor<'_>) -> Parse<u8> {
    Ok(length(cursor)?.unwrap_or(0).min(7) as u8)
}

/// Bytes of the length of the smallest TEXT or BLOB for `length` bytes.
pub(crate) fn length_width(length: u64) -> u8 {
    match length {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x100_0000 => 3,
        _ => 4,
    }
}

/// The display width, said or usual, to which ZEROFILL fills.
fn zerofill_width(data_type: &DataType, said: Option<u16>) -> u16 {
    match data_type {
        DataType::Decimal(precision, scale) => u16::from(*precision) + u16::from(*scale > 0),
        DataType::Float(Some((digits, _))) | DataType::Double(Some((digits, _))) => {
            u16::from(*digits)
        }
        DataType::Float(None) => 12,
        DataType::Double(None) => 22,
        _ => said.unwrap_or(match data_type {
            DataType::TinyInt => 3,
            DataType::SmallInt => 5,
            DataType::MediumInt => 8,
            DataType::Int => 10,
            _ => 20,
        }),
    }
}

/// Passes over `table (columns) [MATCH ..] [ON DELETE ..] [ON UPDATE ..]`.
pub(crate) fn references(cursor: &mut Cursor<'_>) -> Parse<()> {
    cursor.table_name()?;
    cursor.group();
    loop {
        if cursor.accept("MATCH") {
            cursor.skip();
        } else if cursor.accept_all(&["ON", "DELETE"]) || cursor.accept_all(&["ON", "UPDATE"]) {
            if !cursor.accept_all(&["SET", "NULL"])
                && !cursor.accept_all(&["SET", "DEFAULT"])
                && !cursor.accept_all(&["NO", "ACTION"])
            {
                cursor.skip();
            }
        } else {
            return Ok(());
        }
    }
}

/// `CURRENT_TIMESTAMP` or a synonym, with or without digits of a fraction.
fn current_timestamp(cursor: &mut Cursor<'_>) -> bool {
    let found = cursor.accept_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]);
    if found {
        cursor.group();
    }
    found
}

/// What stands behind DEFAULT.
pub(crate) fn default_value(cursor: &mut Cursor<'_>) -> Parse<ColumnDefault> {
    if let Some(mut inside) = cursor.group() {
        let expression = inside.rest();
        // An expression that is no more than a constant is one. Nobody encloses one deeper than this.
        for _ in 0..8 {
            let mut next = inside;
            match next.group() {
                Some(group) if next.at_end() => inside = group,
                _ => break,
            }
        }
        if !inside.is_symbol(b'(')
            && let Ok(value) = default_value(&mut inside)
            && inside.at_end()
        {
            return Ok(value);
        }
        return Ok(ColumnDefault::Expression(expression));
    }
    if cursor.accept("NULL") {
        return Ok(ColumnDefault::Null);
    }
    if cursor.accept("TRUE") {
        return Ok(ColumnDefault::Constant(Literal::Number("1".to_owned())));
    }
    if cursor.accept("FALSE") {
        return Ok(ColumnDefault::Constant(Literal::Number("0".to_owned())));
    }
    if current_timestamp(cursor) {
        return Ok(ColumnDefault::CurrentTimestamp);
    }
    match cursor.literal()? {
        Some(literal) => Ok(ColumnDefault::Constant(literal)),
        None => Err(cursor.unclassified("a default")),
    }
}
