//! Order and equality of strings by collation.

use std::fmt::Write as _;

use rejoin::target::key::KeyEncoder;
use rejoin::target::schema::{Catalog, StatementContext, TableName};

use crate::Numbers;
use crate::support::Scenario;
use crate::support::server::Server;

pub const SCENARIOS: &[Scenario] = &[
    ("order::strings_of_unicode", strings_of_unicode),
    ("order::strings_of_single_bytes", strings_of_single_bytes),
    (
        "order::rows_by_keys_of_many_types",
        rows_by_keys_of_many_types,
    ),
];

const STRINGS: usize = 3000;

/// Code points at which collations differ: letters with and without marks, marks alone, ligatures,
/// scripts with contractions or reordering in some standards, ideographs, planes above the first.
const POINTS: &[(u32, u32)] = &[
    (0x20, 0x20),
    (0x20, 0x7e),
    (0x41, 0x5a),
    (0x61, 0x7a),
    (0x00, 0x1f),
    (0xa0, 0x17f),
    (0x180, 0x24f),
    (0x300, 0x345),
    (0x370, 0x3ff),
    (0x400, 0x4ff),
    (0x5d0, 0x5ea),
    (0x621, 0x652),
    (0x915, 0x94d),
    (0xe01, 0xe4e),
    (0xe81, 0xec4),
    (0xf40, 0xfbc),
    (0x1100, 0x11ff),
    (0x1e00, 0x1eff),
    (0x2000, 0x206f),
    (0x3041, 0x30ff),
    (0x4e00, 0x4e20),
    (0xac00, 0xac40),
    (0xf900, 0xfb06),
    (0xfe70, 0xfefc),
    (0xff01, 0xff5e),
    (0x1d400, 0x1d433),
    (0x1f600, 0x1f64f),
    (0x20000, 0x20010),
    (0xe000, 0xe010),
    (0x10fff0, 0x10ffff),
];

fn strings(numbers: &mut Numbers, widest: usize) -> Vec<Vec<u8>> {
    let mut strings: Vec<Vec<u8>> = vec![Vec::new()];
    while strings.len() < STRINGS {
        let mut text = String::new();
        // Few scripts a string, so that many begin alike.
        let scripts: Vec<usize> = (0..1 + numbers.below(2))
            .map(|_| numbers.below(POINTS.len()))
            .collect();
        for _ in 0..numbers.below(6) {
            let (first, last) = match numbers.below(4) {
                0 => POINTS[0],
                1 => (0x61, 0x63),
                _ => POINTS[scripts[numbers.below(scripts.len())]],
            };
            let point = first + numbers.below((last - first + 1) as usize) as u32;
            let character = char::from_u32(point).unwrap();
            if character.len_utf8() <= widest {
                text.push(character);
            }
        }
        // Near relatives of strings that are there.
        if numbers.below(3) == 0 {
            let other = numbers.below(strings.len());
            text = String::from_utf8(strings[other].clone()).unwrap();
            text = match numbers.below(3) {
                0 => text.to_uppercase(),
                1 => format!("{text} "),
                _ => text.to_lowercase(),
            };
            text.retain(|character| character.len_utf8() <= widest);
        }
        if text.chars().count() <= 20 {
            strings.push(text.into_bytes());
        }
    }
    strings
}

/// Our key of each string in a table `t (s VARCHAR(20))` with this key definition.
fn our_keys(collation: &str, charset: &str, part: &str, strings: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut catalog = Catalog::new();
    let context = StatementContext {
        default_database: b"d",
        ..Default::default()
    };
    catalog.apply(b"CREATE DATABASE d", &context).unwrap();
    let create = format!(
        "CREATE TABLE t (s VARCHAR(20) CHARACTER SET {charset} COLLATE {collation} NOT NULL, PRIMARY KEY ({part}))"
    );
    catalog.apply(create.as_bytes(), &context).unwrap();
    let encoder = KeyEncoder::new(catalog.table(&TableName::new("d", "t")).unwrap()).unwrap();
    strings
        .iter()
        .map(|string| {
            let mut value = vec![string.len() as u8];
            value.extend_from_slice(string);
            let mut key = Vec::new();
            encoder.encode_values([value.as_slice()], &mut key).unwrap();
            key
        })
        .collect()
}

/// Compares one collation: the server's ranks against ours, and the order of its index.
fn compare(server: &Server, collation: &str, charset: &str, strings: &[Vec<u8>]) {
    let mut sql = format!(
        "DROP DATABASE IF EXISTS d; CREATE DATABASE d; USE d;
         CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20) CHARACTER SET {charset} COLLATE {collation} NOT NULL, KEY s (s),
         l VARCHAR(2) CHARACTER SET {charset} COLLATE {collation} AS (LEFT(s, 2)) STORED, KEY l (l));\n"
    );
    for (chunk_index, chunk) in strings.chunks(500).enumerate() {
        sql.push_str("INSERT INTO t (id, s) VALUES ");
        for (index, string) in chunk.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let hex: String = string.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(
                sql,
                "{comma}({},_{charset} x'{hex}')",
                chunk_index * 500 + index
            )
            .unwrap();
        }
        sql.push_str(";\n");
    }
    server.sql(&sql);
    let whole = ranks(server, "s", strings.len());
    let prefix = ranks(server, "l", strings.len());
    for (part, ranks, descending) in [
        ("s", &whole, false),
        ("s DESC", &whole, true),
        ("s(2)", &prefix, false),
    ] {
        let keys = our_keys(collation, charset, part, strings);
        check_ranks(collation, strings, &keys, ranks, descending);
    }
}

/// The rank of each string in the order of the index on `column`, equal strings having the same: an index
/// compares strings, where a sort compares padded weights, and for a few collations the two differ.
fn ranks(server: &Server, column: &str, count: usize) -> Vec<u64> {
    let answer = server.sql(&format!(
        "USE d; CREATE TABLE o (p INT AUTO_INCREMENT PRIMARY KEY, id INT);
         INSERT INTO o (id) SELECT id FROM t FORCE INDEX ({column}) ORDER BY {column};
         SELECT b.id, COALESCE(x.{column} = y.{column}, 0) FROM o b JOIN t y ON y.id = b.id
         LEFT JOIN o a ON a.p = b.p - 1 LEFT JOIN t x ON x.id = a.id ORDER BY b.p;
         DROP TABLE o;"
    ));
    let mut ranks = vec![0; count];
    let mut rank = 0;
    for line in answer.lines() {
        let (id, same) = line.split_once('\t').unwrap();
        rank += u64::from(same == "0");
        ranks[id.parse::<usize>().unwrap()] = rank;
    }
    assert!(ranks.iter().all(|rank| *rank > 0));
    ranks
}

fn check_ranks(
    collation: &str,
    strings: &[Vec<u8>],
    keys: &[Vec<u8>],
    ranks: &[u64],
    descending: bool,
) {
    let mut order: Vec<usize> = (0..strings.len()).collect();
    order.sort_by_key(|&index| (ranks[index], &keys[index]));
    for pair in order.windows(2) {
        let (left, right) = (pair[0], pair[1]);
        let expected = ranks[left].cmp(&ranks[right]);
        let expected = if descending {
            expected.reverse()
        } else {
            expected
        };
        assert_eq!(
            keys[left].cmp(&keys[right]),
            expected,
            "{collation}: {:02x?} {:?} and {:02x?} {:?}",
            strings[left],
            String::from_utf8_lossy(&strings[left]),
            strings[right],
            String::from_utf8_lossy(&strings[right])
        );
    }
}

fn strings_of_unicode() {
    let server = Server::standalone(&["--disable-log-bin"]);
    for (charset, widest, collations) in [
        (
            "utf8mb4",
            4,
            &[
                "utf8mb4_0900_ai_ci",
                "utf8mb4_0900_as_ci",
                "utf8mb4_0900_as_cs",
                "utf8mb4_0900_bin",
                "utf8mb4_bin",
                "utf8mb4_general_ci",
                "utf8mb4_unicode_ci",
                "utf8mb4_unicode_520_ci",
            ][..],
        ),
        (
            "utf8mb3",
            3,
            &[
                "utf8mb3_bin",
                "utf8mb3_general_ci",
                "utf8mb3_unicode_ci",
                "utf8mb3_unicode_520_ci",
            ],
        ),
        (
            "utf16",
            4,
            &[
                "utf16_bin",
                "utf16_general_ci",
                "utf16_unicode_ci",
                "utf16_unicode_520_ci",
            ],
        ),
        ("utf16le", 4, &["utf16le_bin", "utf16le_general_ci"]),
        (
            "utf32",
            4,
            &["utf32_bin", "utf32_general_ci", "utf32_unicode_520_ci"],
        ),
        (
            "ucs2",
            3,
            &["ucs2_bin", "ucs2_general_ci", "ucs2_unicode_ci"],
        ),
    ] {
        let mut strings = strings(&mut Numbers::new(charset.len() as u64), widest);
        strings
            .iter_mut()
            .for_each(|string| *string = encoded(charset, string));
        for collation in collations {
            compare(&server, collation, charset, &strings);
        }
    }
}

/// UTF-8 in another character set of Unicode.
fn encoded(charset: &str, string: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(string).unwrap();
    let units = || text.encode_utf16();
    match charset {
        "utf16" | "ucs2" => units().flat_map(u16::to_be_bytes).collect(),
        "utf16le" => units().flat_map(u16::to_le_bytes).collect(),
        "utf32" => text
            .chars()
            .flat_map(|character| u32::from(character).to_be_bytes())
            .collect(),
        _ => string.to_vec(),
    }
}

fn strings_of_single_bytes() {
    let server = Server::standalone(&["--disable-log-bin"]);
    let collations = server.sql(
        "SELECT c.COLLATION_NAME, c.CHARACTER_SET_NAME FROM information_schema.COLLATIONS c
         JOIN information_schema.CHARACTER_SETS s USING (CHARACTER_SET_NAME) WHERE s.MAXLEN = 1
         AND c.COLLATION_NAME NOT IN ('binary', 'latin2_czech_cs', 'cp1250_czech_cs', 'tis620_thai_ci')",
    );
    let mut numbers = Numbers::new(1);
    let mut compared = 0;
    for line in collations.lines() {
        let (collation, charset) = line.split_once('\t').unwrap();
        let strings: Vec<Vec<u8>> = (0..500)
            .map(|_| {
                let byte = |numbers: &mut Numbers| match numbers.below(4) {
                    0 => b' ',
                    1 => b'a' + numbers.below(3) as u8,
                    _ if charset == "ascii" => numbers.below(128) as u8,
                    _ => numbers.below(256) as u8,
                };
                (0..numbers.below(5)).map(|_| byte(&mut numbers)).collect()
            })
            .collect();
        compare(&server, collation, charset, &strings);
        compared += 1;
    }
    assert!(compared > 60, "{compared} collations");
}

/// Whole keys of rows: every type that a key can have, several parts, descending ones.
fn rows_by_keys_of_many_types() {
    let server = Server::standalone(&["--sql-mode="]);
    let mut place = crate::log::Place::default();
    for (definition, values) in [
        (
            "a TINYINT, b INT UNSIGNED",
            "ELT(1+FLOOR(RAND(7)*3),-128,0,127), FLOOR(RAND(1)*5e9)",
        ),
        (
            "a BIGINT, b SMALLINT UNSIGNED",
            "FLOOR((RAND(3)-0.5)*1.8e19), FLOOR(RAND(4)*70000)",
        ),
        (
            "a MEDIUMINT, b BIGINT UNSIGNED",
            "FLOOR((RAND(3)-0.5)*3e7), FLOOR(RAND(4)*1.8e19)",
        ),
        (
            "a DECIMAL(20,6), b DECIMAL(5,0) UNSIGNED",
            "(RAND(5)-0.5)*2e13, RAND(6)*1e5",
        ),
        (
            "a DECIMAL(9,9), b DATE",
            "RAND(5)-0.5, '2000-01-01' + INTERVAL FLOOR((RAND(1)-0.5)*400000) DAY",
        ),
        (
            "a TIME(3), b DATETIME(6)",
            "SEC_TO_TIME((RAND(8)-0.5)*6e6), '2000-01-01' + INTERVAL (RAND(1)-0.5)*9e9 SECOND",
        ),
        (
            "a TIME, b DATETIME",
            "SEC_TO_TIME((RAND(8)-0.5)*6e6), '2000-01-01' + INTERVAL (RAND(1)-0.5)*9e9 SECOND",
        ),
        (
            "a TIMESTAMP(2), b YEAR",
            "FROM_UNIXTIME(RAND(2)*2e9), 1901+FLOOR(RAND(3)*250)",
        ),
        (
            "a FLOAT, b DOUBLE",
            "(RAND(1)-0.5)*POW(10,FLOOR(RAND(2)*70)-35), (RAND(1)-0.5)*POW(10,FLOOR(RAND(2)*600)-300)",
        ),
        (
            "a BIT(13), b BIT(64)",
            "FLOOR(RAND(1)*8192), FLOOR(RAND(2)*1.8e19)",
        ),
        (
            "a ENUM('z','b','A','c') , b SET('q','w','e')",
            "1+FLOOR(RAND(1)*4), FLOOR(RAND(2)*8)",
        ),
        (
            "a BINARY(4), b VARBINARY(10)",
            "UNHEX(HEX(FLOOR(RAND(1)*4e9))), UNHEX(HEX(FLOOR(RAND(2)*3e9)*256))",
        ),
        (
            "a CHAR(4) COLLATE latin1_swedish_ci, b VARCHAR(300)",
            "ELT(1+FLOOR(RAND(1)*5),'a','A ','b','\\t','a\\t'), HEX(RAND(2)*1e9)",
        ),
        (
            "a CHAR(4), b CHAR(3) COLLATE utf8mb4_0900_bin",
            "ELT(1+FLOOR(RAND(1)*7),'a','a\\t','a b','ab',_utf8mb4 x'6101','A ',_utf8mb4 x'617f'), ELT(1+FLOOR(RAND(2)*5),'x','x\\t','x!','x  ','X')",
        ),
        (
            "a BINARY(3), b VARBINARY(3)",
            "ELT(1+FLOOR(RAND(1)*6),'a',x'6100',x'610001',x'61ff','',x'00'), ELT(1+FLOOR(RAND(2)*6),'a',x'6100',x'610001',x'61ff','',x'00')",
        ),
        (
            "a VARCHAR(9) COLLATE utf8mb4_general_ci, b VARCHAR(9)",
            "ELT(1+FLOOR(RAND(1)*6),'a','A  ','b','a\\t','a  b','a b'), HEX(RAND(2)*1e9)",
        ),
    ] {
        for order in ["a, b", "a DESC, b", "b, a", "b DESC, a DESC"] {
            server.sql(&format!(
                "DROP DATABASE IF EXISTS d; CREATE DATABASE d; USE d;
                 CREATE TABLE t ({definition}, n INT, PRIMARY KEY ({order}));
                 INSERT IGNORE INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 300)
                 SELECT {values}, n FROM r;"
            ));
            let sorted = server.sql(&format!("SELECT n FROM d.t ORDER BY {order}"));
            let sorted: Vec<i32> = sorted.lines().map(|line| line.parse().unwrap()).collect();
            assert!(sorted.len() > 10, "{definition}: {} rows", sorted.len());
            let keys = keys_of_log(&server, &mut place);
            let ours: Vec<i32> = keys.iter().map(|(_, n)| *n).collect();
            assert_eq!(ours, sorted, "{definition} by {order}");
            assert!(keys.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}

/// The inserted rows of the log, by our keys: key and the value of the last column.
fn keys_of_log(server: &Server, place: &mut crate::log::Place) -> Vec<(Vec<u8>, i32)> {
    use crate::log::Logged;
    use rejoin::binlog::{Cell, RowsKind};

    let mut catalog = Catalog::new();
    let mut keys = Vec::new();
    for logged in place.read(server) {
        match logged {
            Logged::Statement(statement) => {
                let query = statement.query();
                if statement.text.starts_with(b"DROP") {
                    continue;
                }
                let context = StatementContext::of(&query, statement.timestamp).unwrap();
                catalog.apply(query.statement, &context).unwrap();
            }
            Logged::Row {
                table,
                columns,
                kind: RowsKind::Insert,
                image,
                ..
            } => {
                let definition = catalog.table_mut(&table).unwrap();
                definition.bind(&columns).unwrap();
                let encoder = KeyEncoder::new(definition).unwrap();
                let mut cells = Vec::new();
                let mut at = columns.len().div_ceil(8);
                for column in &columns {
                    let length = column.value_length(&image[at..]).unwrap();
                    let end = at + length;
                    cells.push(Cell::Value {
                        start: at as u32,
                        end: end as u32,
                    });
                    at = end;
                }
                let mut key = Vec::new();
                encoder.encode(&image, &cells, &mut key).unwrap();
                let last = &image[image.len() - 4..];
                keys.push((key, i32::from_le_bytes(last.try_into().unwrap())));
            }
            Logged::Row { .. } => {}
        }
    }
    keys.sort();
    keys
}
