//! Row values: the logs' rows, replayed, are what `mysql -BN` printed of the tables.

use std::collections::{BTreeMap, HashMap};

use rejoin::Limits;
use rejoin::binlog::{
    Cell, ChecksumAlgorithm, Column, Event, ImageKind, JsonDocument, LogReader, RowsKind, TableMap,
    TextStyle, Value, write_escaped,
};
use rejoin::transaction::{Assembler, Transaction};

use super::{VARIANTS, data, logs, read};

/// The bytes of a cell as in the log; `None` for NULL.
type Stored = Option<Vec<u8>>;

#[derive(Default)]
struct Table {
    columns: Vec<Column>,
    /// By the text of the first column, which is the primary key of all tables that are compared.
    rows: BTreeMap<u64, Vec<Stored>>,
}

#[derive(Default)]
struct Tables {
    by_name: HashMap<String, Table>,
}

impl Tables {
    fn apply(&mut self, transaction: &Transaction<'_>) {
        let mut maps: HashMap<u64, (String, Vec<Column>)> = HashMap::new();
        for (_, event) in transaction.events() {
            match Event::decode(transaction.format(), event).unwrap() {
                Event::TableMap(map) => {
                    maps.insert(map.table_id, (name(&map), map.columns().unwrap()));
                }
                Event::Rows(rows) => {
                    let (name, columns) = &maps[&rows.table_id];
                    let table = self.by_name.entry(name.clone()).or_default();
                    table.columns.clone_from(columns);
                    let mut cursor = rows.rows(columns).unwrap();
                    let mut cells = Vec::new();
                    let mut before = None;
                    while let Some(image) = cursor.next_image(&mut cells).unwrap() {
                        assert_eq!(cells.len(), columns.len());
                        let row: Vec<(Cell, Stored)> = cells
                            .iter()
                            .map(|cell| (*cell, cell.bytes(image.bytes).map(<[u8]>::to_vec)))
                            .collect();
                        match (rows.kind, image.kind) {
                            (RowsKind::Insert, _) => table.insert(&row),
                            (RowsKind::Delete, _) => table.delete(&row),
                            (_, ImageKind::Before) => before = Some(row),
                            (_, ImageKind::After) => {
                                table.update(&before.take().expect("comes first"), &row);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn name(map: &TableMap<'_>) -> String {
    format!(
        "{}.{}",
        String::from_utf8_lossy(map.database),
        String::from_utf8_lossy(map.table)
    )
}

/// The first four bytes are the key in all tables here but those without one.
fn key(row: &[(Cell, Stored)]) -> u64 {
    let bytes = row[0].1.as_ref().map_or(&[][..], Vec::as_slice);
    let mut key = [0; 8];
    key[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
    u64::from_le_bytes(key)
}

impl Table {
    fn insert(&mut self, row: &[(Cell, Stored)]) {
        /// The only column with a default other than NULL: `inv int invisible default 7`.
        const INV: usize = 43;
        let value = |(index, (cell, value)): (usize, &(Cell, Stored))| match cell {
            Cell::Absent if index == INV => Some(vec![7, 0, 0, 0]),
            _ => value.clone(),
        };
        let values = row.iter().enumerate().map(value).collect();
        self.rows.insert(key(row), values);
    }

    fn delete(&mut self, row: &[(Cell, Stored)]) {
        self.rows.remove(&key(row)).expect("the row is there");
    }

    fn update(&mut self, before: &[(Cell, Stored)], after: &[(Cell, Stored)]) {
        let mut row = self.rows.remove(&key(before)).expect("the row is there");
        for (index, (cell, value)) in before.iter().enumerate() {
            if *cell != Cell::Absent {
                let column = &self.columns[index];
                assert_eq!(
                    comparable(column, &row[index]),
                    comparable(column, value),
                    "before image of column {index}"
                );
            }
        }
        for (index, (cell, value)) in after.iter().enumerate() {
            match cell {
                Cell::Absent => {}
                Cell::Partial { .. } => {
                    let whole = |value: &Stored| value.as_ref().unwrap()[4..].to_vec();
                    let (document, diffs) = (whole(&row[index]), whole(value));
                    let mut changed = vec![0; 4];
                    JsonDocument::new(&document)
                        .apply(&diffs, &Limits::default(), &mut changed)
                        .unwrap();
                    let length = changed.len() as u32 - 4;
                    changed[..4].copy_from_slice(&length.to_le_bytes());
                    row[index] = Some(changed);
                }
                _ => row[index].clone_from(value),
            }
        }
        let key = key(&[(Cell::Null, row[0].clone())]);
        self.rows.insert(key, row);
    }
}

/// The value as it can be compared: the server changes JSON documents in place and leaves holes.
fn comparable(column: &Column, value: &Stored) -> Stored {
    let bytes = value.as_ref()?;
    match column.decode(bytes).unwrap() {
        Value::Json(document) => {
            let mut text = Vec::new();
            document.write_text(&Limits::default(), &mut text).unwrap();
            Some(text)
        }
        _ => value.clone(),
    }
}

fn replay(variant: &str) -> Tables {
    let mut tables = Tables::default();
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    for log in logs(variant) {
        let mut reader = LogReader::open(&log, &Limits::default()).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            assembler.push(event.bytes).unwrap();
        }
    }
    for transaction in assembler.ready().iter() {
        tables.apply(&transaction);
    }
    tables
}

/// What only the declarations say: display widths and decimals, by table and name of the column.
fn declared(table: &str, column: &str) -> TextStyle<'static> {
    let mut style = TextStyle::default();
    match (table, column) {
        ("v.num", "s") => style.decimals = Some(3),
        ("v.num", "t") => style.decimals = Some(4),
        ("v.num", "u") => style.zerofill = Some(8),
        _ => {}
    }
    style
}

/// UTF-16 and Latin 1 to UTF-8, as the server does it for the client.
fn to_utf8(collation: Option<u16>, bytes: &[u8]) -> Vec<u8> {
    match collation {
        Some(54 | 55 | 101..=124) => {
            let units = bytes
                .chunks(2)
                .map(|pair| u16::from_be_bytes(pair.try_into().unwrap()));
            String::from_utf16(&units.collect::<Vec<_>>())
                .unwrap()
                .into_bytes()
        }
        Some(8) => bytes
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .into_bytes(),
        _ => bytes.to_vec(),
    }
}

/// A row as the client prints it. `declarations` is the same table with all that full metadata says.
fn print(table: &str, row: &[Stored], columns: &[Column], declarations: &[Column]) -> Vec<u8> {
    let mut line = Vec::new();
    for ((value, column), declaration) in row.iter().zip(columns).zip(declarations) {
        if declaration.visible == Some(false) {
            continue;
        }
        let members: Vec<String> = declaration
            .members
            .iter()
            .flatten()
            .map(|member| String::from_utf8(to_utf8(declaration.collation, member)).unwrap())
            .collect();
        let name = declaration.name.as_deref().unwrap();
        let style = TextStyle {
            members: &members,
            ..declared(table, std::str::from_utf8(name).unwrap())
        };
        if !line.is_empty() {
            line.push(b'\t');
        }
        let Some(bytes) = value else {
            write_escaped(None, &mut line);
            continue;
        };
        let mut text = Vec::new();
        match column.decode(bytes).unwrap() {
            Value::Bytes(bytes) => text = to_utf8(column.collation, bytes),
            other => other.write_text(&style, &mut text).unwrap(),
        }
        write_escaped(Some(&text), &mut line);
    }
    line
}

#[test]
fn values_print_as_the_client_prints_them() {
    let declarations = replay("none-full");
    for variant in VARIANTS {
        let tables = replay(variant);
        for table in ["v.num", "v.tmp", "v.txt", "v.js", "v.misc", "t1.alltypes"] {
            let expected = read(&data(&format!("values/{table}.tsv")));
            let expected: Vec<&[u8]> = expected
                .strip_suffix(b"\n")
                .unwrap()
                .split(|byte| *byte == b'\n')
                .collect();
            let Table { columns, rows } = &tables.by_name[table];
            let mut compared = 0;
            for (key, row) in rows {
                let prefix = format!("{key}\t");
                let line = expected
                    .iter()
                    .find(|line| line.starts_with(prefix.as_bytes()))
                    .unwrap_or_else(|| panic!("{table}: no row {key}"));
                let printed = print(table, row, columns, &declarations.by_name[table].columns);
                assert_eq!(
                    String::from_utf8_lossy(&printed),
                    String::from_utf8_lossy(line),
                    "{variant} {table}"
                );
                compared += 1;
            }
            // Two rows were inserted by statements, one has differences.
            let missing = expected.len() - compared;
            assert!(
                missing <= if table == "t1.alltypes" { 3 } else { 0 },
                "{table}"
            );
        }
    }
}
