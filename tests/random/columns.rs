//! Types of all kinds and widths, and values for them.

use crate::dice::Dice;
use crate::model::Column;

/// Declarations; `(..)` is replaced by so many members.
const TYPES: &[&str] = &[
    "TINYINT",
    "TINYINT UNSIGNED",
    "TINYINT(1)",
    "TINYINT(3) ZEROFILL",
    "SMALLINT",
    "SMALLINT UNSIGNED",
    "MEDIUMINT",
    "MEDIUMINT UNSIGNED",
    "INT",
    "INT UNSIGNED",
    "INT(6) ZEROFILL",
    "BIGINT",
    "BIGINT UNSIGNED",
    "BIGINT(18) ZEROFILL",
    "DECIMAL(1,0)",
    "DECIMAL(5,2)",
    "DECIMAL(10)",
    "DECIMAL(18,9)",
    "DECIMAL(30,10)",
    "DECIMAL(65,30)",
    "DECIMAL(9,9)",
    "DECIMAL(65)",
    "DECIMAL(12,4) UNSIGNED",
    "DECIMAL(8,3) ZEROFILL",
    "FLOAT",
    "FLOAT UNSIGNED",
    "FLOAT(7,3)",
    "FLOAT(30)",
    "DOUBLE",
    "DOUBLE UNSIGNED",
    "DOUBLE(10,2)",
    "BIT",
    "BIT(7)",
    "BIT(8)",
    "BIT(9)",
    "BIT(33)",
    "BIT(64)",
    "YEAR",
    "DATE",
    "TIME",
    "TIME(1)",
    "TIME(2)",
    "TIME(3)",
    "TIME(5)",
    "TIME(6)",
    "DATETIME",
    "DATETIME(1)",
    "DATETIME(3)",
    "DATETIME(4)",
    "DATETIME(6)",
    "TIMESTAMP",
    "TIMESTAMP(2)",
    "TIMESTAMP(3)",
    "TIMESTAMP(5)",
    "TIMESTAMP(6)",
    "CHAR(0)",
    "CHAR(1)",
    "CHAR(10)",
    "CHAR(60)",
    "CHAR(64)",
    "CHAR(255)",
    "CHAR(10) CHARACTER SET latin1",
    "CHAR(255) CHARACTER SET latin1",
    "CHAR(20) CHARACTER SET ascii",
    "CHAR(128) CHARACTER SET utf16",
    "CHAR(12) CHARACTER SET utf8mb3",
    "VARCHAR(1)",
    "VARCHAR(20)",
    "VARCHAR(63)",
    "VARCHAR(64)",
    "VARCHAR(300)",
    "VARCHAR(2000)",
    "VARCHAR(255) CHARACTER SET latin1",
    "VARCHAR(256) CHARACTER SET latin1",
    "VARCHAR(40) CHARACTER SET latin2",
    "VARCHAR(40) CHARACTER SET cp1251",
    "VARCHAR(40) CHARACTER SET koi8r",
    "VARCHAR(40) CHARACTER SET greek",
    "VARCHAR(40) CHARACTER SET hebrew",
    "VARCHAR(40) CHARACTER SET ucs2",
    "VARCHAR(40) CHARACTER SET utf16le",
    "VARCHAR(40) CHARACTER SET utf32",
    "VARCHAR(40) CHARACTER SET utf8mb3",
    "VARCHAR(40) CHARACTER SET gbk",
    "VARCHAR(40) CHARACTER SET sjis",
    "VARCHAR(40) CHARACTER SET gb18030",
    "VARCHAR(40) COLLATE utf8mb4_bin",
    "VARCHAR(40) COLLATE utf8mb4_general_ci",
    "VARCHAR(40) COLLATE utf8mb4_unicode_520_ci",
    "VARCHAR(40) COLLATE utf8mb4_0900_as_cs",
    "TINYTEXT",
    "TEXT",
    "TEXT(70)",
    "MEDIUMTEXT",
    "LONGTEXT",
    "TEXT CHARACTER SET latin2",
    "MEDIUMTEXT CHARACTER SET utf16",
    "TEXT CHARACTER SET cp1250",
    "BINARY(1)",
    "BINARY(16)",
    "BINARY(255)",
    "VARBINARY(1)",
    "VARBINARY(255)",
    "VARBINARY(256)",
    "VARBINARY(2000)",
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
    "ENUM('a','b','Zebra')",
    "ENUM('x') CHARACTER SET latin1",
    "ENUM('été','naïve','жук') CHARACTER SET utf8mb4",
    "ENUM(300)",
    "SET('a','b','c')",
    "SET(9)",
    "SET(17)",
    "SET(25)",
    "SET(33)",
    "SET(64)",
    "SET('été','ü') CHARACTER SET latin1",
    "JSON",
    "JSON",
    "JSON",
    "GEOMETRY",
    "POINT",
    "POINT SRID 4326",
    "LINESTRING",
    "POLYGON SRID 0",
    "MULTIPOINT",
    "GEOMETRYCOLLECTION",
    "VECTOR(3)",
    "VECTOR(16)",
];

/// Types of key columns, and the length of the prefix where only part of a value is in the key.
pub const KEYS: &[(&str, Option<usize>)] = &[
    ("INT", None),
    ("INT", None),
    ("BIGINT", None),
    ("INT UNSIGNED", None),
    ("TINYINT", None),
    ("SMALLINT UNSIGNED", None),
    ("MEDIUMINT", None),
    ("BIGINT UNSIGNED", None),
    ("DECIMAL(12,4)", None),
    ("DECIMAL(30,10)", None),
    ("DOUBLE", None),
    ("FLOAT", None),
    ("BIT(12)", None),
    ("YEAR", None),
    ("DATE", None),
    ("TIME(3)", None),
    ("DATETIME(6)", None),
    ("TIMESTAMP(2)", None),
    ("ENUM('zebra','ant','cow')", None),
    ("SET('z','a','c')", None),
    ("BINARY(8)", None),
    ("VARBINARY(30)", None),
    ("CHAR(12)", None),
    ("VARCHAR(40)", None),
    ("VARCHAR(40)", None),
    ("VARCHAR(40) COLLATE utf8mb4_bin", None),
    ("VARCHAR(40) COLLATE utf8mb4_0900_bin", None),
    ("VARCHAR(40) COLLATE utf8mb4_general_ci", None),
    ("VARCHAR(40) COLLATE utf8mb4_unicode_ci", None),
    ("VARCHAR(40) COLLATE utf8mb4_unicode_520_ci", None),
    ("VARCHAR(40) COLLATE utf8mb4_0900_as_cs", None),
    ("VARCHAR(40) COLLATE utf8mb4_0900_as_ci", None),
    ("CHAR(20) CHARACTER SET latin1", None),
    (
        "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
        None,
    ),
    ("VARCHAR(20) CHARACTER SET cp1251", None),
    ("VARCHAR(20) CHARACTER SET utf8mb3", None),
    ("CHAR(20) CHARACTER SET utf16 COLLATE utf16_bin", None),
    ("VARCHAR(40)", Some(3)),
    ("TEXT", Some(5)),
    ("BLOB", Some(4)),
    ("VARCHAR(20) CHARACTER SET latin1", Some(2)),
];

pub fn declaration(dice: &mut Dice) -> String {
    let declared = *dice.pick(TYPES);
    for kind in ["ENUM(", "SET("] {
        if let Some(count) = declared
            .strip_prefix(kind)
            .and_then(|rest| rest.strip_suffix(')'))
            && let Ok(count) = count.parse::<usize>()
        {
            let members: Vec<String> = (1..=count).map(|at| format!("'m{at}'")).collect();
            return format!("{kind}{})", members.join(","));
        }
    }
    declared.to_owned()
}

/// A wider or otherwise different type to which every value of `column` may be converted.
pub fn successor(dice: &mut Dice, column: &Column) -> Option<String> {
    let charset = column.charset.as_deref();
    let in_charset = charset.map_or(String::new(), |name| format!(" CHARACTER SET {name}"));
    let unsigned = if column.declared.contains("unsigned") {
        " UNSIGNED"
    } else {
        ""
    };
    let choices: Vec<String> = match column.kind.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
            ["SMALLINT", "MEDIUMINT", "INT", "BIGINT", "DECIMAL(25,3)"]
                .map(|name| format!("{name}{unsigned}"))
                .to_vec()
        }
        "decimal" if column.precision < 50 => vec![format!(
            "DECIMAL({},{}){unsigned}",
            column.precision + 4,
            column.scale + 2
        )],
        "float" => vec!["DOUBLE".into()],
        "bit" => vec!["BIT(64)".into()],
        "time" | "datetime" | "timestamp" => {
            vec![format!("{}(6)", column.kind), format!("{}(3)", column.kind)]
        }
        "char" | "varchar" => vec![
            format!("VARCHAR({}){in_charset}", column.max_characters + 50),
            format!("CHAR(255){in_charset}"),
            format!("TEXT{in_charset}"),
            format!("MEDIUMTEXT{in_charset}"),
            "VARCHAR(600) CHARACTER SET utf8mb4".into(),
            "VARCHAR(700) CHARACTER SET utf16".into(),
        ],
        "tinytext" | "text" | "mediumtext" => vec![
            format!("LONGTEXT{in_charset}"),
            "LONGTEXT CHARACTER SET utf8mb4".into(),
        ],
        "binary" | "varbinary" => vec![
            format!("VARBINARY({})", column.max_characters + 50),
            "BLOB".into(),
            "LONGBLOB".into(),
        ],
        "tinyblob" | "blob" => vec!["MEDIUMBLOB".into(), "LONGBLOB".into()],
        "enum" | "set" => {
            let list = column.declared.strip_suffix(')')?;
            vec![
                format!("{list},'later','last'){in_charset}"),
                format!("{list}){in_charset}"),
            ]
        }
        "json" => vec!["LONGTEXT".into()],
        _ => vec![],
    };
    if choices.is_empty() {
        None
    } else {
        Some(dice.pick(&choices).clone())
    }
}

/// A literal for the column: mostly of its type and range.
pub fn value(dice: &mut Dice, column: &Column) -> String {
    if column.nullable && dice.percent(12) {
        return "NULL".into();
    }
    if column.has_default && dice.percent(6) {
        return "DEFAULT".into();
    }
    literal(dice, column)
}

/// A literal that is not NULL.
pub fn literal(dice: &mut Dice, column: &Column) -> String {
    let unsigned = column.declared.contains("unsigned");
    let bits = |bytes: u32| 8 * bytes;
    match column.kind.as_str() {
        "tinyint" => integer(dice, bits(1), unsigned),
        "smallint" => integer(dice, bits(2), unsigned),
        "mediumint" => integer(dice, bits(3), unsigned),
        "int" => integer(dice, bits(4), unsigned),
        "bigint" => integer(dice, bits(8), unsigned),
        "decimal" => decimal(dice, column, unsigned),
        "float" | "double" => float(dice, column, unsigned),
        "bit" => {
            let mask = u64::MAX >> (64 - column.precision.clamp(1, 64));
            format!("{}", small_or_any(dice) & mask)
        }
        "year" => format!(
            "{}",
            if dice.percent(10) {
                0
            } else {
                dice.between(1901, 2155)
            }
        ),
        "date" => format!("'{}'", date(dice)),
        "time" => {
            let sign = if dice.percent(40) { "-" } else { "" };
            format!(
                "'{sign}{:02}:{:02}:{:02}{}'",
                dice.below(839),
                dice.below(60),
                dice.below(60),
                fraction(dice)
            )
        }
        "datetime" => format!("'{} {}'", date(dice), clock(dice)),
        "timestamp" => {
            let year = dice.between(1971, 2037);
            format!(
                "'{year}-{:02}-{:02} {}'",
                dice.between(1, 12),
                dice.between(1, 28),
                clock(dice)
            )
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            bytes(dice, column)
        }
        "enum" => format!("{}", 1 + dice.below(members(column))),
        "set" => {
            let mask = u64::MAX >> (64 - members(column).min(64));
            format!("{}", dice.bits() & mask)
        }
        "json" => document(dice),
        "vector" => {
            let dimensions = column
                .declared
                .trim_start_matches("vector(")
                .trim_end_matches(')')
                .parse()
                .unwrap_or(1);
            let numbers: Vec<String> = (0..dimensions).map(|_| float_text(dice)).collect();
            format!("STRING_TO_VECTOR('[{}]')", numbers.join(","))
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(dice, column),
        _ => geometry(dice, column),
    }
}

fn small_or_any(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => dice.bits(),
        1 => dice.bits() >> dice.below(64),
        _ => dice.below(300) as u64,
    }
}

fn integer(dice: &mut Dice, bits: u32, unsigned: bool) -> String {
    let any = small_or_any(dice) & (u64::MAX >> (64 - bits));
    if unsigned {
        return any.to_string();
    }
    let high = (1u128 << (bits - 1)) as i128;
    let value = i128::from(any);
    let value = if value >= high {
        value - 2 * high
    } else {
        value
    };
    let value = if dice.percent(20) { -value } else { value };
    value.clamp(-high, high - 1).to_string()
}

fn digits(dice: &mut Dice, count: u64) -> String {
    let used = dice.below(count as usize + 1);
    (0..used)
        .map(|_| char::from(b'0' + dice.below(10) as u8))
        .collect()
}

fn decimal(dice: &mut Dice, column: &Column, unsigned: bool) -> String {
    let whole = digits(dice, column.precision - column.scale);
    let part = digits(dice, column.scale);
    let sign = if !unsigned && dice.percent(40) {
        "-"
    } else {
        ""
    };
    format!("{sign}0{whole}.{part}0")
}

fn float_text(dice: &mut Dice) -> String {
    let mantissa = dice.below(2_000_001) as f64 - 1_000_000.0;
    let scale = *dice.pick(&[1.0, 8.0, 1000.0, 1e5, 3.0, 7e-3, 1e-12]);
    format!("{:e}", mantissa / scale)
}

fn float(dice: &mut Dice, column: &Column, unsigned: bool) -> String {
    let text = if column.declared.contains('(') {
        format!("{:.3}", dice.below(9_000_000) as f64 / 1000.0 - 4500.0)
    } else {
        float_text(dice)
    };
    if unsigned {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// Dates that no calendar has (2026-00-10, 2025-02-31) are left out: where the server copies a table for
/// ALTER TABLE or OPTIMIZE TABLE, which it decides by itself, it zeroes those that `sql_mode` does not allow,
/// and the log does not say so.
fn date(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => "0000-00-00".into(),
        1 => "9999-12-31".into(),
        _ => format!(
            "{:04}-{:02}-{:02}",
            dice.between(1000, 2100),
            dice.between(1, 12),
            dice.between(1, 28)
        ),
    }
}

fn fraction(dice: &mut Dice) -> String {
    if dice.percent(50) {
        format!(".{:06}", dice.below(1_000_000))
    } else {
        String::new()
    }
}

fn clock(dice: &mut Dice) -> String {
    let time = format!(
        "{:02}:{:02}:{:02}",
        dice.below(24),
        dice.below(60),
        dice.below(60)
    );
    time + &fraction(dice)
}

fn members(column: &Column) -> usize {
    column.declared.matches("','").count() + 1
}

fn bytes(dice: &mut Dice, column: &Column) -> String {
    let length = length(dice, column.max_characters);
    let odd = dice.percent(30);
    let hex: String = (0..length)
        .map(|_| {
            if odd {
                *dice.pick(&["00", "FF", "20", "27", "5C", "0A", "09"])
            } else {
                "61"
            }
        })
        .collect();
    format!("x'{hex}'")
}

fn length(dice: &mut Dice, most: u64) -> usize {
    let most = most as usize;
    match dice.below(20) {
        0 => most.min(3000),
        1 => most.saturating_sub(1).min(500),
        2 => 0,
        3 => dice.below(most.min(400) + 1),
        _ => dice.below(most.min(12) + 1),
    }
}

fn text(dice: &mut Dice, column: &Column) -> String {
    const ASCII: &str = "abcABCxyzXYZ019  _-%'\\";
    const LATIN: &str = "éÉüößàîñÅ";
    const CYRILLIC: &str = "жукЖУКёя";
    let pool = match column.charset.as_deref().unwrap_or_default() {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" => {
            format!("{ASCII}{LATIN}{CYRILLIC}łΩאक日本한😀ﬃ\t\n")
        }
        "utf8mb3" | "ucs2" => format!("{ASCII}{LATIN}{CYRILLIC}łΩא日本\n"),
        "latin1" => format!("{ASCII}{LATIN}€Ž\t"),
        "latin2" | "cp1250" => format!("{ASCII}łŁóźęčř"),
        "cp1251" | "koi8r" => format!("{ASCII}{CYRILLIC}"),
        "greek" => format!("{ASCII}αβΩς"),
        "hebrew" => format!("{ASCII}אבש"),
        // Its backslash is a wide one.
        "sjis" => ASCII.replace('\\', "/"),
        _ => ASCII.to_owned(),
    };
    let pool: Vec<char> = pool.chars().collect();
    let widest = if column.kind.ends_with("text") {
        column.max_characters / 4
    } else {
        column.max_characters
    };
    let length = length(dice, widest);
    let hex: String = (0..length)
        .flat_map(|_| dice.pick(&pool).to_string().into_bytes())
        .map(|byte| format!("{byte:02X}"))
        .collect();
    // As hexadecimal: right under every sql_mode.
    format!("_utf8mb4 x'{hex}'")
}

fn document(dice: &mut Dice) -> String {
    let mut text = String::new();
    json(dice, 3, &mut text);
    format!("'{text}'")
}

fn json(dice: &mut Dice, depth: usize, out: &mut String) {
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0 => out.push_str("null"),
        1 => out.push_str(dice.word(&["true", "false"])),
        2 => out.push_str(&integer(dice, 64, false)),
        3 => out.push_str(&float_text(dice)),
        4 => out.push_str(dice.word(&[
            "\"\"",
            "\"été\"",
            "\"plain text\"",
            "1.5",
            "18446744073709551615",
        ])),
        5 => {
            let length = if dice.percent(8) {
                5000
            } else {
                dice.below(40)
            };
            out.push_str(&format!("\"{}\"", "z".repeat(length)));
        }
        6 => {
            out.push('[');
            for at in 0..dice.below(6) {
                if at > 0 {
                    out.push(',');
                }
                json(dice, depth - 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for at in 0..dice.below(6) {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&format!("\"{}\":", ["a", "b", "list", "été", "c", "d"][at]));
                json(dice, depth - 1, out);
            }
            out.push('}');
        }
    }
}

/// An expression that changes a document in part, which a server may log as differences.
pub fn changed_document(dice: &mut Dice, column: &Column) -> String {
    let name = &column.name;
    let path = *dice.pick(&["$.a", "$.list[1]", "$[0]", "$.b.c", "$.list", "$.\"été\""]);
    match dice.below(5) {
        0 => format!("JSON_REMOVE({name}, '{path}')"),
        1 => format!("JSON_REPLACE({name}, '{path}', {})", dice.below(1000)),
        2 => format!(
            "JSON_SET(JSON_SET({name}, '{path}', 'x'), '$.d', REPEAT('y', {}))",
            dice.below(30)
        ),
        3 => format!(
            "JSON_SET({name}, '{path}', CAST('{}' AS DECIMAL(9,3)))",
            dice.below(1000)
        ),
        _ => format!("JSON_REPLACE({name}, '{path}', JSON_ARRAY(1, NULL, 'x'))"),
    }
}

fn geometry(dice: &mut Dice, column: &Column) -> String {
    let point = |dice: &mut Dice| format!("{} {}", dice.below(80), dice.below(80) as f64 / 4.0);
    let text = match column.kind.as_str() {
        "linestring" => format!("LINESTRING({},{})", point(dice), point(dice)),
        "polygon" => "POLYGON((0 0,10 0,10 10,0 10,0 0))".to_owned(),
        "multipoint" => format!("MULTIPOINT({},{})", point(dice), point(dice)),
        "geomcollection" | "geometrycollection" => {
            format!("GEOMETRYCOLLECTION(POINT({}))", point(dice))
        }
        _ => format!("POINT({})", point(dice)),
    };
    format!(
        "ST_GeomFromText('{text}', {})",
        column.srid.as_deref().unwrap_or("0")
    )
}
