//! Table maps and rows as JSON.
//!
//! Integers, BIT, YEAR, FLOAT and DOUBLE are numbers; DECIMAL, times, text and JSON documents are
//! strings as MySQL prints them; ENUM and SET the names where the log has them and numbers where not;
//! VECTOR an array; and what is no text a string `0x...`. A column that an image does not have is left
//! out; its key is its name where the log has names, else `@1`, `@2`, ....

use super::columns::{
    bits, collation_name, floats, member_text, members, plain_text, type_name, utf8,
};
use super::json::{Container, float, hex, string};
use super::names::{ROWS_FLAGS, TABLE_FLAGS, flags};
use super::seen::Seen;
use crate::binlog::{
    Cell, Column, ImageKind, JsonOperation, MappedTable, RowsEvent, RowsKind, TableMap, Value,
    json_diffs,
};
use crate::{Limits, Result};

pub(super) fn fill_table_map(
    map: &TableMap<'_>,
    seen: &Seen<'_>,
    body: &mut Container<'_>,
) -> Result<(), String> {
    body.number("table_id", map.table_id);
    body.text("database", map.database);
    body.text("table", map.table);
    body.strings("flags", &flags(map.flags, TABLE_FLAGS));
    let table = table(seen)?;
    let keys: Vec<String> = match map.primary_key() {
        Ok(key) => key
            .iter()
            .map(|(index, _)| column_key(&table.columns, *index))
            .collect(),
        Err(error) => return Err(error.to_string()),
    };
    {
        let mut columns = Container::array(body.value("columns"));
        for column in &table.columns {
            let mut object = Container::object(columns.element());
            if let Some(name) = &column.name {
                object.text("name", name);
            }
            object.string("type", &type_name(column));
            object.boolean("nullable", column.nullable);
            if let Some(name) = collation_name(column) {
                object.string("collation", name);
            }
            if column.members.is_some() {
                object.strings("members", &members(column));
            }
            if column.visible == Some(false) {
                object.boolean("visible", false);
            }
        }
    }
    if !keys.is_empty() {
        body.strings("primary_key", &keys);
    }
    Ok(())
}

fn table<'a>(seen: &Seen<'a>) -> Result<&'a MappedTable, String> {
    match seen.table {
        Some(Ok(table)) => Ok(table),
        Some(Err(cause)) => Err(cause.to_owned()),
        None => Err("it has no table".to_owned()),
    }
}

/// What a column is called in a row.
fn column_key(columns: &[Column], index: usize) -> String {
    match columns.get(index).and_then(|column| column.name.as_deref()) {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => format!("@{}", index + 1),
    }
}

pub(super) fn fill_rows(
    rows: &RowsEvent<'_>,
    seen: &Seen<'_>,
    with_rows: bool,
    body: &mut Container<'_>,
) -> Result<(), String> {
    let kind = match rows.kind {
        RowsKind::Insert => "insert",
        RowsKind::Update => "update",
        RowsKind::Delete => "delete",
        RowsKind::PartialUpdate => "partial_update",
    };
    body.string("kind", kind);
    body.number("table_id", rows.table_id);
    body.strings("flags", &flags(rows.flags, ROWS_FLAGS));
    let info = rows.extra_info().map_err(|error| error.to_string())?;
    if let Some(partition) = info.partition_id {
        body.number("partition_id", partition);
    }
    if let Some(partition) = info.source_partition_id {
        body.number("source_partition_id", partition);
    }
    if rows.width == 0 {
        return Ok(());
    }
    let table = table(seen)?;
    body.text("database", &table.database);
    body.text("table", &table.table);
    if with_rows {
        let result = fill_images(rows, table, seen.limits, body);
        return result.map_err(|error| error.to_string());
    }
    let count = row_count(rows, table).map_err(|error| error.to_string())?;
    body.number("row_count", count);
    Ok(())
}

/// How many rows the event has; an update of a row counts once.
pub(super) fn row_count(rows: &RowsEvent<'_>, table: &MappedTable) -> Result<u64> {
    let mut images = rows.rows(&table.columns)?;
    let mut cells = Vec::new();
    let mut count = 0;
    while let Some(image) = images.next_image(&mut cells)? {
        count += u64::from(image.kind == ImageKind::After || rows.kind == RowsKind::Delete);
    }
    Ok(count)
}

fn fill_images(
    rows: &RowsEvent<'_>,
    table: &MappedTable,
    limits: &Limits,
    body: &mut Container<'_>,
) -> Result<()> {
    let columns = &table.columns;
    let names: Vec<String> = (0..columns.len())
        .map(|index| column_key(columns, index))
        .collect();
    let mut images = rows.rows(columns)?;
    let mut cells = Vec::new();
    let mut array = Container::array(body.value("rows"));
    while let Some(image) = images.next_image(&mut cells)? {
        let mut row = Container::object(array.element());
        let key = match image.kind {
            ImageKind::Before => "before",
            ImageKind::After => "after",
        };
        fill_image(&mut row, key, columns, &names, &cells, image.bytes, limits)?;
        if image.kind == ImageKind::Before
            && rows.kind != RowsKind::Delete
            && let Some(image) = images.next_image(&mut cells)?
        {
            fill_image(
                &mut row,
                "after",
                columns,
                &names,
                &cells,
                image.bytes,
                limits,
            )?;
        }
    }
    Ok(())
}

fn fill_image(
    row: &mut Container<'_>,
    key: &str,
    columns: &[Column],
    names: &[String],
    cells: &[Cell],
    image: &[u8],
    limits: &Limits,
) -> Result<()> {
    let mut object = Container::object(row.value(key));
    for ((column, name), cell) in columns.iter().zip(names).zip(cells) {
        match cell {
            Cell::Absent => {}
            Cell::Null => object.null(name),
            Cell::Value { .. } => {
                let value = column.decode(cell.bytes(image).unwrap_or_default())?;
                write_value(Some(column), &value, object.value(name))?;
            }
            Cell::Partial { .. } => {
                let content = column.content(cell.bytes(image).unwrap_or_default())?;
                write_diffs(content, limits, object.value(name))?;
            }
        }
    }
    Ok(())
}

/// Differences as `{"diff":[{"op":..,"path":..,"value":..}]}`.
fn write_diffs(content: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    let mut object = Container::object(out);
    let mut array = Container::array(object.value("diff"));
    for diff in json_diffs(content) {
        let diff = diff?;
        let mut text = Vec::new();
        if let Some(value) = diff.value {
            value.write_text(limits, &mut text)?;
        }
        let operation = match diff.operation {
            JsonOperation::Replace => "replace",
            JsonOperation::Insert => "insert",
            JsonOperation::Remove => "remove",
        };
        let mut object = Container::object(array.element());
        object.string("op", operation);
        object.text("path", diff.path);
        if diff.value.is_some() {
            object.text("value", &text);
        }
    }
    Ok(())
}

/// Writes a value; where it cannot be decoded, `null`.
pub(super) fn write_value(
    column: Option<&Column>,
    value: &Value<'_>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let text = match plain_text(value) {
        Ok(text) => text,
        Err(error) => {
            out.extend_from_slice(b"null");
            return Err(error);
        }
    };
    let collation = column.and_then(|column| column.collation);
    match *value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Int(_) | Value::UnsignedInt(_) => out.extend_from_slice(text.as_bytes()),
        Value::Year(year) => out.extend_from_slice(year.to_string().as_bytes()),
        Value::Float(number) => float(f64::from(number), &text, out),
        Value::Double(number) => float(number, &text, out),
        Value::Bit(bytes) => out.extend_from_slice(bits(bytes).to_string().as_bytes()),
        Value::Bytes(bytes) => match utf8(collation, bytes) {
            Some(text) => string(&text, out),
            None => hex(bytes, out),
        },
        Value::Binary { bytes, length } => {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().max(usize::from(length)), 0);
            hex(&padded, out);
        }
        Value::Geometry(bytes) => hex(bytes, out),
        Value::Vector(bytes) => {
            let mut array = Container::array(out);
            for number in floats(bytes) {
                let text = plain_text(&Value::Float(number))?;
                float(f64::from(number), &text, array.element());
            }
        }
        Value::Enum(_) | Value::Set(_) => {
            match column.and_then(|column| member_text(column, value)) {
                Some(name) => string(&name, out),
                None => out.extend_from_slice(text.as_bytes()),
            }
        }
        Value::Decimal(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Timestamp(_)
        | Value::Json(_) => string(&text, out),
    }
    Ok(())
}
