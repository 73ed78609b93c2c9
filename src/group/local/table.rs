//! Tables as a writer knows them: typed columns, and from them the statement that creates the table,
//! its table map and its row images.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::binlog::{Value, put_packed};
use crate::{Error, ErrorKind, Result};

/// utf8mb4_0900_ai_ci, the collation of every text column.
const TEXT_COLLATION: u64 = 255;
/// Bytes without a character set.
const BINARY_COLLATION: u64 = 63;
/// Bytes of a character of utf8mb4 at most.
const CHARACTER_BYTES: u16 = 4;
/// The bounds of the server.
const MAX_COLUMNS: usize = 4096;
const MAX_NAME_BYTES: usize = 192;
const MAX_VARCHAR: u16 = 16_383;

/// The type of a column of a [`LocalTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// `INT`, signed; its values are [`Value::Int`].
    Int,
    /// `BIGINT`, signed; its values are [`Value::Int`].
    BigInt,
    /// `DOUBLE`; its values are [`Value::Double`].
    Double,
    /// `VARCHAR` of so many characters of utf8mb4, up to 16383; its values are [`Value::Bytes`].
    VarChar(u16),
    /// `LONGTEXT` of utf8mb4; its values are [`Value::Bytes`].
    Text,
    /// `LONGBLOB`; its values are [`Value::Bytes`].
    Blob,
}

impl ColumnType {
    /// As `CREATE TABLE` names it.
    fn sql(self) -> String {
        match self {
            Self::Int => "INT".into(),
            Self::BigInt => "BIGINT".into(),
            Self::Double => "DOUBLE".into(),
            Self::VarChar(length) => format!("VARCHAR({length})"),
            Self::Text => "LONGTEXT".into(),
            Self::Blob => "LONGBLOB".into(),
        }
    }

    /// The type byte of a table map, and its metadata.
    fn in_table_map(self) -> (u8, Vec<u8>) {
        match self {
            Self::Int => (3, vec![]),
            Self::BigInt => (8, vec![]),
            Self::Double => (5, vec![8]),
            Self::VarChar(length) => (15, (length * CHARACTER_BYTES).to_le_bytes().to_vec()),
            Self::Text | Self::Blob => (252, vec![4]),
        }
    }

    fn collation(self) -> Option<u64> {
        match self {
            Self::Int | Self::BigInt | Self::Double => None,
            Self::VarChar(_) | Self::Text => Some(TEXT_COLLATION),
            Self::Blob => Some(BINARY_COLLATION),
        }
    }

    fn is_integer(self) -> bool {
        matches!(self, Self::Int | Self::BigInt)
    }

    /// Appends a value as it stands in a row image; `false` where the column cannot have it.
    fn encode(self, value: &Value<'_>, image: &mut Vec<u8>) -> bool {
        match (self, value) {
            (Self::Int, Value::Int(number)) => match i32::try_from(*number) {
                Ok(number) => image.extend_from_slice(&number.to_le_bytes()),
                Err(_) => return false,
            },
            (Self::BigInt, Value::Int(number)) => image.extend_from_slice(&number.to_le_bytes()),
            // The server stores no number that is none.
            (Self::Double, Value::Double(number)) if number.is_finite() => {
                image.extend_from_slice(&number.to_le_bytes());
            }
            (Self::VarChar(length), Value::Bytes(text)) => {
                let fits = std::str::from_utf8(text)
                    .is_ok_and(|text| text.chars().count() <= usize::from(length));
                if !fits {
                    return false;
                }
                let prefix = (text.len() as u16).to_le_bytes();
                let width = if length * CHARACTER_BYTES > 255 { 2 } else { 1 };
                image.extend_from_slice(&prefix[..width]);
                image.extend_from_slice(text);
            }
            (Self::Text | Self::Blob, Value::Bytes(bytes)) => {
                let is_good = self == Self::Blob || std::str::from_utf8(bytes).is_ok();
                let Some(length) = u32::try_from(bytes.len()).ok().filter(|_| is_good) else {
                    return false;
                };
                image.extend_from_slice(&length.to_le_bytes());
                image.extend_from_slice(bytes);
            }
            _ => return false,
        }
        true
    }
}

/// A table that transactions of a [`LocalGroup`](super::LocalGroup) write to.
///
/// The first column is its primary key, an integer that is not NULL; the others may be NULL. It is
/// an InnoDB table in utf8mb4.
///
/// ```
/// use rejoin::group::local::{ColumnType, LocalTable};
///
/// let items = LocalTable::new(
///     "shop",
///     "items",
///     &[("id", ColumnType::BigInt), ("name", ColumnType::VarChar(100))],
/// )?;
/// assert_eq!(
///     items.create_statement(),
///     "CREATE TABLE `items` (`id` BIGINT NOT NULL, `name` VARCHAR(100), PRIMARY KEY (`id`)) \
///      ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
/// );
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTable {
    database: String,
    name: String,
    columns: Vec<(String, ColumnType)>,
}

impl LocalTable {
    /// A table of `database`, with its columns' names and types.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where a name is empty or too long, there are no columns or more
    /// than 4096, the first is no integer, or a VARCHAR is longer than 16383.
    pub fn new(database: &str, name: &str, columns: &[(&str, ColumnType)]) -> Result<Self> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Configuration, what));
        let names = columns.iter().map(|(name, _)| *name);
        for name in [database, name].into_iter().chain(names) {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                return wrong(format!("name '{name}': 1 to {MAX_NAME_BYTES} bytes"));
            }
        }
        if !columns.first().is_some_and(|(_, first)| first.is_integer()) {
            return wrong(format!("table {name}: the first column is no integer"));
        }
        if columns.len() > MAX_COLUMNS {
            return wrong(format!("table {name}: more than {MAX_COLUMNS} columns"));
        }
        for (column, column_type) in columns {
            if matches!(column_type, ColumnType::VarChar(length) if *length > MAX_VARCHAR) {
                return wrong(format!("column {column}: VARCHAR up to {MAX_VARCHAR}"));
            }
        }
        let columns = columns.iter().map(|(name, kind)| ((*name).into(), *kind));
        Ok(Self {
            database: database.into(),
            name: name.into(),
            columns: columns.collect(),
        })
    }

    /// The database that it is in.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The statement that makes it, when its database is the default one.
    pub fn create_statement(&self) -> String {
        let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
        let mut columns = String::new();
        for (index, (name, column_type)) in self.columns.iter().enumerate() {
            let not_null = if index == 0 { " NOT NULL" } else { "" };
            columns += &format!("{} {}{not_null}, ", quote(name), column_type.sql());
        }
        let key = self.columns.first().map_or("", |(name, _)| name);
        format!(
            "CREATE TABLE {} ({columns}PRIMARY KEY ({})) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
            quote(&self.name),
            quote(key)
        )
    }

    /// The body of its table map event, with all that `binlog_row_metadata=FULL` says.
    pub(super) fn table_map(&self, table_id: u64) -> Vec<u8> {
        let mut body = table_id.to_le_bytes()[..6].to_vec();
        body.extend_from_slice(&1u16.to_le_bytes());
        for name in [&self.database, &self.name] {
            put_name(name, &mut body);
            body.push(0);
        }
        put_packed(self.columns.len() as u64, &mut body);
        let (types, metadata): (Vec<u8>, Vec<Vec<u8>>) =
            self.columns.iter().map(|(_, t)| t.in_table_map()).unzip();
        body.extend_from_slice(&types);
        put_field(&metadata.concat(), &mut body);
        let mut nullable = bits(self.columns.len());
        nullable[0] &= !1;
        body.extend_from_slice(&nullable);

        let numeric = self.columns.iter().filter(|(_, t)| t.collation().is_none());
        body.push(1);
        put_field(&vec![0; numeric.count().div_ceil(8)], &mut body);
        let mut field = Vec::new();
        for collation in self.columns.iter().filter_map(|(_, t)| t.collation()) {
            put_packed(collation, &mut field);
        }
        if !field.is_empty() {
            body.push(3);
            put_field(&field, &mut body);
        }
        field.clear();
        for (name, _) in &self.columns {
            put_name(name, &mut field);
        }
        body.push(4);
        put_field(&field, &mut body);
        // The primary key is column 0.
        body.push(8);
        put_field(&[0], &mut body);
        body
    }

    /// The head of the body of a row event, in front of its rows.
    pub(super) fn rows_head(&self, table_id: u64, has_two_images: bool) -> Vec<u8> {
        let mut body = table_id.to_le_bytes()[..6].to_vec();
        body.extend_from_slice(&1u16.to_le_bytes());
        // The length of the extra information: its own two bytes.
        body.extend_from_slice(&2u16.to_le_bytes());
        put_packed(self.columns.len() as u64, &mut body);
        for _ in 0..if has_two_images { 2 } else { 1 } {
            body.extend_from_slice(&bits(self.columns.len()));
        }
        body
    }

    /// Appends the full image of a row; gives a number that is equal for rows of the same key.
    pub(super) fn image(&self, row: &[Value<'_>], image: &mut Vec<u8>) -> Result<u64> {
        let refused = |what: String| {
            Err(Error::new(
                ErrorKind::Configuration,
                format!("row for {}.{}: {what}", self.database, self.name),
            ))
        };
        if row.len() != self.columns.len() {
            let (have, want) = (row.len(), self.columns.len());
            return refused(format!("{have} values for {want} columns"));
        }
        let start = image.len();
        // Bits behind the last column are 1, as the server has them.
        image.resize(start + row.len().div_ceil(8), 0xff);
        for (index, (value, (name, column_type))) in row.iter().zip(&self.columns).enumerate() {
            if *value == Value::Null && index > 0 {
                continue;
            }
            image[start + index / 8] &= !(1 << (index % 8));
            if !column_type.encode(value, image) {
                image.truncate(start);
                let sql = column_type.sql();
                return refused(format!("column {name} of type {sql} cannot have {value:?}"));
            }
        }
        let mut hasher = DefaultHasher::new();
        let key = row.first().and_then(|key| match key {
            Value::Int(key) => Some(*key),
            _ => None,
        });
        (&self.database, &self.name, key).hash(&mut hasher);
        Ok(hasher.finish())
    }
}

/// A bitmap with a 1 for each column.
fn bits(columns: usize) -> Vec<u8> {
    let mut bitmap = vec![0; columns.div_ceil(8)];
    for index in 0..columns {
        bitmap[index / 8] |= 1 << (index % 8);
    }
    bitmap
}

fn put_name(name: &str, out: &mut Vec<u8>) {
    put_field(name.as_bytes(), out);
}

/// Bytes behind their length.
fn put_field(bytes: &[u8], out: &mut Vec<u8>) {
    put_packed(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::{ChecksumAlgorithm, ColumnKind, EventHeader, FormatDescription, TableMap};

    fn table() -> LocalTable {
        let columns = [
            ("id", ColumnType::BigInt),
            ("count", ColumnType::Int),
            ("price", ColumnType::Double),
            ("name", ColumnType::VarChar(100)),
            ("short", ColumnType::VarChar(10)),
            ("note", ColumnType::Text),
            ("raw", ColumnType::Blob),
        ];
        LocalTable::new("shop", "it`ems", &columns).unwrap()
    }

    #[test]
    fn the_table_map_says_what_the_parser_reads() {
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None).unwrap();
        let mut event = vec![0; EventHeader::SIZE];
        event.extend_from_slice(&table().table_map(7));
        let map = TableMap::decode(&format, &event).unwrap();
        assert_eq!((map.table_id, map.database), (7, &b"shop"[..]));
        assert_eq!(map.table, b"it`ems");
        assert_eq!(map.primary_key().unwrap(), [(0, 0)]);
        let columns = map.columns().unwrap();
        let shapes: Vec<_> = columns
            .iter()
            .map(|column| (column.kind, column.meta, column.nullable, column.collation))
            .collect();
        assert_eq!(
            shapes,
            [
                (ColumnKind::BigInt, 0, false, None),
                (ColumnKind::Int, 0, true, None),
                (ColumnKind::Double, 0, true, None),
                (ColumnKind::VarChar, 400, true, Some(255)),
                (ColumnKind::VarChar, 40, true, Some(255)),
                (ColumnKind::Blob, 4, true, Some(255)),
                (ColumnKind::Blob, 4, true, Some(63)),
            ]
        );
        assert!(columns.iter().take(3).all(|c| c.unsigned == Some(false)));
        assert_eq!(columns[6].name.as_deref(), Some(&b"raw"[..]));
    }

    #[test]
    fn what_a_column_cannot_have_is_refused_with_its_name() {
        let table = table();
        let good = [
            Value::Int(1),
            Value::Int(-2),
            Value::Double(0.5),
            Value::Bytes("ä".as_bytes()),
            Value::Null,
            Value::Bytes(b""),
            Value::Bytes(&[0xff]),
        ];
        let mut image = Vec::new();
        let key = table.image(&good, &mut image).unwrap();
        let mut other = good;
        other[1] = Value::Null;
        assert_eq!(table.image(&other, &mut image).unwrap(), key);
        let length = image.len();
        for (column, value) in [
            (0, Value::Null),
            (1, Value::Int(1 << 40)),
            (2, Value::Double(f64::NAN)),
            (3, Value::Int(1)),
            (4, Value::Bytes(b"eleven long")),
            (5, Value::Bytes(&[0xff])),
        ] {
            let mut bad = good;
            bad[column] = value;
            let error = table.image(&bad, &mut image).unwrap_err();
            let name = &table.columns[column].0;
            assert!(error.message().contains(name.as_str()), "{error}");
            assert_eq!(image.len(), length);
        }
        assert!(table.image(&good[..3], &mut image).is_err());
        assert!(LocalTable::new("a", "b", &[("c", ColumnType::Text)]).is_err());
    }
}
