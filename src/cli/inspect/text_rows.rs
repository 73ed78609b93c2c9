//! Table maps and rows as text.

use std::io::Write;

use super::columns::{
    as_unsigned, collation_name, floats, member_text, members, plain_text, type_name, utf8,
};
use super::names::{ROWS_FLAGS, TABLE_FLAGS, flags};
use super::seen::Seen;
use super::text_form::{Hex, escape, line};
use crate::binlog::{
    Cell, Column, ImageKind, JsonOperation, MappedTable, RowImage, RowsEvent, RowsKind, TableMap,
    Value, json_diffs,
};
use crate::{Limits, Result};

pub(super) fn table_map(
    map: &TableMap<'_>,
    seen: &Seen<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let _ = write!(
        out,
        "# {} mapped to number {}",
        quoted(map.database, map.table),
        map.table_id
    );
    if map.flags != 0 {
        let _ = write!(out, ", flags {}", flags(map.flags, TABLE_FLAGS).join(" "));
    }
    out.push(b'\n');
    let table = table(seen)?;
    let columns: Vec<String> = table.columns.iter().map(declaration).collect();
    line!(out, "# columns ({})", columns.join(", "));
    let key = map.primary_key().map_err(|error| error.to_string())?;
    if !key.is_empty() {
        let key: Vec<String> = key
            .iter()
            .map(|(index, _)| column_name(&table.columns, *index))
            .collect();
        line!(out, "# primary key ({})", key.join(", "));
    }
    Ok(())
}

fn quoted(database: &[u8], table: &[u8]) -> String {
    format!(
        "`{}`.`{}`",
        String::from_utf8_lossy(database),
        String::from_utf8_lossy(table)
    )
}

fn column_name(columns: &[Column], index: usize) -> String {
    match columns.get(index).and_then(|column| column.name.as_deref()) {
        Some(name) => format!("`{}`", String::from_utf8_lossy(name)),
        None => format!("@{}", index + 1),
    }
}

fn declaration(column: &Column) -> String {
    let mut text = match &column.name {
        Some(name) => format!("`{}` ", String::from_utf8_lossy(name)),
        None => String::new(),
    };
    text.push_str(&type_name(column));
    if column.members.is_some() {
        let members: Vec<String> = members(column)
            .iter()
            .map(|member| format!("'{}'", escape(member)))
            .collect();
        text.push_str(&format!("({})", members.join(",")));
    }
    if let Some(name) = collation_name(column) {
        text.push_str(&format!(" COLLATE {name}"));
    }
    if !column.nullable {
        text.push_str(" NOT NULL");
    }
    if column.visible == Some(false) {
        text.push_str(" INVISIBLE");
    }
    text
}

fn table<'a>(seen: &Seen<'a>) -> Result<&'a MappedTable, String> {
    match seen.table {
        Some(Ok(table)) => Ok(table),
        Some(Err(cause)) => Err(cause.to_owned()),
        None => Err("it has no table".to_owned()),
    }
}

pub(super) fn rows(
    event: &RowsEvent<'_>,
    seen: &Seen<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let _ = write!(out, "# table id {}", event.table_id);
    if event.flags != 0 {
        let _ = write!(out, ", flags {}", flags(event.flags, ROWS_FLAGS).join(" "));
    }
    let info = event.extra_info();
    if let Ok(info) = &info {
        if let Some((format, data)) = info.ndb {
            let _ = write!(out, ", NDB info of format {format}: {}", Hex(data));
        }
        if let Some(partition) = info.partition_id {
            let _ = write!(out, ", partition {partition}");
        }
        if let Some(partition) = info.source_partition_id {
            let _ = write!(out, ", from partition {partition}");
        }
    }
    out.push(b'\n');
    info.map_err(|error| error.to_string())?;
    if event.width == 0 {
        return Ok(());
    }
    let table = table(seen)?;
    images(event, table, seen.limits, out).map_err(|error| error.to_string())
}

fn images(
    event: &RowsEvent<'_>,
    table: &MappedTable,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<()> {
    let name = quoted(&table.database, &table.table);
    let mut images = event.rows(&table.columns)?;
    let mut cells = Vec::new();
    while let Some(row) = images.next_image(&mut cells)? {
        match (event.kind, row.kind) {
            (RowsKind::Insert, _) => line!(out, "### INSERT INTO {name}\n### SET"),
            (RowsKind::Delete, _) => line!(out, "### DELETE FROM {name}\n### WHERE"),
            (_, ImageKind::Before) => line!(out, "### UPDATE {name}\n### WHERE"),
            (_, ImageKind::After) => line!(out, "### SET"),
        }
        image(&row, &table.columns, &cells, limits, out)?;
    }
    Ok(())
}

fn image(
    image: &RowImage<'_>,
    columns: &[Column],
    cells: &[Cell],
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<()> {
    for (index, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if *cell == Cell::Absent {
            continue;
        }
        let bytes = cell.bytes(image.bytes).unwrap_or_default();
        let text = match cell {
            Cell::Null | Cell::Absent => "NULL".to_owned(),
            Cell::Value { .. } => literal(column, &column.decode(bytes)?)?,
            Cell::Partial { .. } => differences(column.content(bytes)?, limits)?,
        };
        line!(
            out,
            "###   @{}={text} /* {} */",
            index + 1,
            declaration(column)
        );
    }
    Ok(())
}

fn differences(content: &[u8], limits: &Limits) -> Result<String> {
    let mut calls = Vec::new();
    for diff in json_diffs(content) {
        let diff = diff?;
        let mut text = Vec::new();
        if let Some(value) = diff.value {
            value.write_text(limits, &mut text)?;
        }
        let path = escape(&String::from_utf8_lossy(diff.path));
        let text = escape(&String::from_utf8_lossy(&text));
        calls.push(match diff.operation {
            JsonOperation::Replace => format!("JSON_REPLACE('{path}', '{text}')"),
            JsonOperation::Insert => format!("JSON_INSERT('{path}', '{text}')"),
            JsonOperation::Remove => format!("JSON_REMOVE('{path}')"),
        });
    }
    Ok(calls.join(" "))
}

/// A value as it can be read in a statement.
fn literal(column: &Column, value: &Value<'_>) -> Result<String> {
    let plain = plain_text(value)?;
    Ok(match *value {
        Value::Null => "NULL".to_owned(),
        // Before 8.0.1 a source does not say whether its integers are UNSIGNED: then both readings.
        Value::Int(number) if number < 0 && column.unsigned.is_none() => {
            format!("{plain} ({})", as_unsigned(column, number))
        }
        Value::Int(_)
        | Value::UnsignedInt(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Decimal(_)
        | Value::Year(_) => plain,
        Value::Bit(bytes) => {
            let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            let unused = bits.len().saturating_sub(column.meta as usize);
            format!("b'{}'", bits.get(unused..).unwrap_or(&bits))
        }
        Value::Bytes(bytes) => match utf8(column.collation, bytes) {
            Some(text) => format!("'{}'", escape(&text)),
            None => binary(bytes),
        },
        Value::Binary { bytes, .. } => binary(bytes),
        Value::Geometry(bytes) => format!("X'{}'", Hex(bytes)),
        Value::Vector(bytes) => {
            let numbers: Result<Vec<String>> = floats(bytes)
                .map(|number| plain_text(&Value::Float(number)))
                .collect();
            format!("'[{}]'", numbers?.join(","))
        }
        Value::Enum(_) => match member_text(column, value) {
            Some(text) => format!("'{}'", escape(&text)),
            None => plain,
        },
        Value::Set(bits) => match member_text(column, value) {
            Some(text) => format!("'{}'", escape(&text)),
            None => format!("b'{bits:0width$b}'", width = 8 * column.meta as usize),
        },
        Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Timestamp(_)
        | Value::Json(_) => format!("'{}'", escape(&plain)),
    })
}

/// A binary string: printable ones can be read, others as hexadecimal digits.
fn binary(bytes: &[u8]) -> String {
    let printable = |byte: &u8| matches!(byte, 0x20..=0x7e);
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(printable) => format!("'{}'", escape(text)),
        _ => format!("X'{}'", Hex(bytes)),
    }
}
