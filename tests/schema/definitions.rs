//! Awkward DDL: what the scanner makes of the logged statements is what information_schema says.

use std::collections::{BTreeMap, BTreeSet};

use rejoin::target::schema::{
    Catalog, ColumnDefault, ColumnDefinition, DataType, StatementContext, TableDefinition,
    TableName,
};

use crate::log::{Logged, Place};
use crate::support::Scenario;
use crate::support::server::Server;

pub const SCENARIOS: &[Scenario] = &[(
    "definitions::scanned_statements_make_the_servers_tables",
    scanned_statements_make_the_servers_tables,
)];

/// Statements in order, one a line; those that the server refuses fail the test.
const STATEMENTS: &str = include_str!("statements.sql");

/// All columns and all indexes.
const QUESTIONS: &str = "
SET NAMES utf8mb4;
SELECT 'columns';
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, IF(COLUMN_TYPE = 'tinyint(1)', 'tinyint', COLUMN_TYPE),
    COALESCE(COLLATION_NAME, '-'), IS_NULLABLE, IF(COLUMN_DEFAULT IS NULL, 'no', 'default'),
    TRIM(REGEXP_REPLACE(EXTRA, '(on update CURRENT_TIMESTAMP([(][0-9][)])?|DEFAULT_GENERATED) ?', ''))
FROM information_schema.COLUMNS JOIN information_schema.TABLES USING (TABLE_SCHEMA, TABLE_NAME)
WHERE TABLE_TYPE = 'BASE TABLE'
AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION;
SELECT 'indexes';
SELECT TABLE_SCHEMA, TABLE_NAME, LOWER(INDEX_NAME), 1 - NON_UNIQUE, SEQ_IN_INDEX,
    COALESCE(LOWER(COLUMN_NAME), '-'), COALESCE(SUB_PART, '-'), COALESCE(COLLATION, '-'), INDEX_TYPE
FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema');
";

fn scanned_statements_make_the_servers_tables() {
    let server = Server::standalone(&["--sql-mode=", "--log-bin-trust-function-creators=ON"]);
    let mut place = Place::default();
    let mut catalog = Catalog::new();
    let mut checked = 0;
    let mut differences = Differences::new();
    for statement in STATEMENTS.split(";;\n").map(str::trim) {
        if statement.is_empty() {
            continue;
        }
        let asked = server.try_sql(&format!("USE mysql;\n{statement};\n{QUESTIONS}"));
        let (_, answer) = match &asked {
            Ok(answer) => answer.split_once("columns\n").expect("it is selected"),
            Err(error) => {
                differences.insert(error.clone(), statement.to_owned());
                continue;
            }
        };
        for logged in place.read(&server) {
            match logged {
                Logged::Statement(logged) => {
                    let query = logged.query();
                    let context = StatementContext::of(&query, logged.timestamp).unwrap();
                    if let Err(error) = catalog.apply(query.statement, &context) {
                        differences.insert(error.to_string(), statement.to_owned());
                    }
                    let mut bytes = Vec::new();
                    catalog.encode(&mut bytes);
                    assert_eq!(Catalog::decode(&bytes).unwrap(), catalog);
                }
                Logged::Row { table, columns, .. } => {
                    let Some(definition) = catalog.table_mut(&table) else {
                        differences.insert(format!("{table} is not known"), statement.to_owned());
                        continue;
                    };
                    let declared: Vec<_> = definition.physical_columns().unwrap();
                    for (column, logged) in declared.iter().zip(&columns) {
                        if (column.collation, column.nullable)
                            != (logged.collation, logged.nullable)
                        {
                            differences.insert(
                                format!("{table}: {column:?} {logged:?}"),
                                statement.to_owned(),
                            );
                        }
                    }
                    if let Err(error) = definition.bind(&columns) {
                        differences.insert(format!("{table}: {error}"), statement.to_owned());
                    }
                }
            }
        }
        compare(answer, &catalog, statement, &mut differences);
        checked += 1;
    }
    let list: Vec<String> = differences
        .iter()
        .map(|(line, after)| format!("{line} after {after}"))
        .collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
    assert!(checked > 100, "{checked} statements");
}

/// All tables, column by column and index by index.
fn compare(answer: &str, catalog: &Catalog, statement: &str, differences: &mut Differences) {
    let mut differ = |line: String| {
        differences
            .entry(line)
            .or_insert_with(|| statement.to_owned());
    };
    let (columns, indexes) = answer.split_once("indexes").expect("it is selected");
    let theirs: Vec<&str> = columns.lines().collect();
    let mut ours = Vec::new();
    let mut tables: Vec<(&TableName, &TableDefinition)> = catalog.tables().collect();
    tables.sort_by_key(|(name, _)| (name.database.clone(), name.table.clone()));
    for (name, table) in &tables {
        if let Some(reason) = &table.unknown {
            differ(format!("{name}: {reason}"));
        }
        for column in &table.columns {
            ours.push(format!(
                "{}\t{}",
                name.to_string().replacen('.', "\t", 1),
                describe(column)
            ));
        }
    }
    let known: BTreeSet<&str> = theirs.iter().copied().collect();
    for our in &ours {
        if !known.contains(our.as_str()) {
            differ(format!("we: {our}"));
        }
    }
    for (at, their) in theirs.iter().enumerate() {
        match ours.iter().position(|our| our == their) {
            None => differ(format!("they: {their}")),
            Some(position) if position != at && ours.len() == theirs.len() => {
                differ(format!("order: {their}"))
            }
            _ => {}
        }
    }

    // Expressions and other than ordered indexes have no parts here, and foreign keys' own indexes are not
    // known; every unique index has to be there, and no index that is not.
    let mut theirs = BTreeSet::new();
    let mut special = BTreeSet::new();
    for line in indexes.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields[5] == "-" || fields[8] != "BTREE" {
            special.insert(fields[..3].join("\t"));
        }
        theirs.insert(fields[..8].join("\t"));
    }
    for (name, table) in &tables {
        let name = name.to_string().replacen('.', "\t", 1);
        for index in &table.indexes {
            let head = format!("{name}\t{}", index.name.to_lowercase());
            let Some(parts) = &index.parts else {
                if !special.contains(&head) {
                    differ(format!("we: index {head}"));
                }
                theirs.retain(|line| !line.starts_with(&format!("{head}\t")));
                continue;
            };
            for (sequence, part) in parts.iter().enumerate() {
                let line = format!(
                    "{head}\t{}\t{}\t{}\t{}\t{}",
                    u8::from(index.unique),
                    sequence + 1,
                    table.columns[part.column].name.to_lowercase(),
                    part.prefix_length
                        .map_or("-".to_owned(), |length| length.to_string()),
                    if part.descending { "D" } else { "A" }
                );
                if !theirs.remove(&line) {
                    differ(format!("we: index {line}"));
                }
            }
        }
    }
    theirs.retain(|line| line.split('\t').nth(3) == Some("1"));
    for line in theirs {
        differ(format!("they: index {line}"));
    }
}

/// What differs, and the first statement after which it did.
type Differences = BTreeMap<String, String>;

/// A column as [`QUESTIONS`] has it.
fn describe(column: &ColumnDefinition) -> String {
    let collation = match column.data_type.is_text() && column.collation != 63 {
        true => collation_name(column.collation),
        false => match column.data_type {
            DataType::Enum(_) | DataType::Set(_) => "binary".to_owned(),
            _ => "-".to_owned(),
        },
    };
    let nullable = if column.nullable { "YES" } else { "NO" };
    let default = match column.default {
        ColumnDefault::None | ColumnDefault::Null => "no",
        _ => "default",
    };
    let mut extra = Vec::new();
    if column.auto_increment {
        extra.push("auto_increment");
    }
    if let Some(generated) = &column.generated {
        extra.push(if generated.stored {
            "STORED GENERATED"
        } else {
            "VIRTUAL GENERATED"
        });
    }
    if !column.visible {
        extra.push("INVISIBLE");
    }
    format!(
        "{}\t{}\t{collation}\t{nullable}\t{default}\t{}",
        column.name,
        type_text(column),
        extra.join(" ")
    )
}

fn collation_name(id: u16) -> String {
    let list = include_str!("../../src/target/schema/collations.tsv");
    let line = list
        .lines()
        .find(|line| line.starts_with(&format!("{id}\t")))
        .unwrap();
    line.split('\t').nth(1).unwrap().to_owned()
}

fn type_text(column: &ColumnDefinition) -> String {
    let fraction = |name: &str, digits: u8| match digits {
        0 => name.to_owned(),
        digits => format!("{name}({digits})"),
    };
    let digits = |name: &str, digits: &Option<(u8, u8)>| match digits {
        Some((digits, decimals)) => format!("{name}({digits},{decimals})"),
        None => name.to_owned(),
    };
    let members = |members: &[String]| {
        let quoted: Vec<String> = members
            .iter()
            .map(|member| format!("'{}'", member.replace('\'', "''").replace('\n', "\\\\n")))
            .collect();
        quoted.join(",")
    };
    // Integers show a width with ZEROFILL only.
    let integer = |name: &str| match column.zerofill {
        Some(width) => format!("{name}({width})"),
        None => name.to_owned(),
    };
    let mut text = match &column.data_type {
        DataType::TinyInt => integer("tinyint"),
        DataType::SmallInt => integer("smallint"),
        DataType::MediumInt => integer("mediumint"),
        DataType::Int => integer("int"),
        DataType::BigInt => integer("bigint"),
        DataType::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Float(said) => digits("float", said),
        DataType::Double(said) => digits("double", said),
        DataType::Bit(bits) => format!("bit({bits})"),
        DataType::Year => "year".to_owned(),
        DataType::Date => "date".to_owned(),
        DataType::Time(digits) => fraction("time", *digits),
        DataType::DateTime(digits) => fraction("datetime", *digits),
        DataType::Timestamp(digits) => fraction("timestamp", *digits),
        DataType::Char(length) => format!("char({length})"),
        DataType::VarChar(length) => format!("varchar({length})"),
        DataType::Binary(length) => format!("binary({length})"),
        DataType::VarBinary(length) => format!("varbinary({length})"),
        DataType::Text(width) => {
            ["tinytext", "text", "mediumtext", "longtext"][*width as usize - 1].to_owned()
        }
        DataType::Blob(width) => {
            ["tinyblob", "blob", "mediumblob", "longblob"][*width as usize - 1].to_owned()
        }
        DataType::Enum(list) => format!("enum({})", members(list)),
        DataType::Set(list) => format!("set({})", members(list)),
        DataType::Json => "json".to_owned(),
        DataType::Geometry(subtype) => [
            "geometry",
            "point",
            "linestring",
            "polygon",
            "multipoint",
            "multilinestring",
            "multipolygon",
            "geomcollection",
        ][*subtype as usize]
            .to_owned(),
        DataType::Vector(dimensions) => format!("vector({dimensions})"),
        other => format!("{other:?}"),
    };
    if column.unsigned {
        text.push_str(" unsigned");
    }
    if column.zerofill.is_some() {
        text.push_str(" zerofill");
    }
    text
}
