//! The tables of the seed's database, as information_schema shows them: what the server refused needs
//! no thought.

use crate::session::Session;

#[derive(Debug, Clone)]
pub struct Table {
    /// Quoted.
    pub name: String,
    pub columns: Vec<Column>,
    pub indexes: Vec<String>,
    pub has_primary_key: bool,
    pub rows: u64,
    /// `HASH`, `RANGE`, ...; nothing where it has no partitions.
    pub partitioning: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Column {
    /// Quoted.
    pub name: String,
    /// `varchar`.
    pub kind: String,
    /// `varchar(20)`.
    pub declared: String,
    pub max_characters: u64,
    pub precision: u64,
    pub scale: u64,
    pub charset: Option<String>,
    pub nullable: bool,
    pub has_default: bool,
    pub generated: bool,
    pub auto_increment: bool,
    pub in_key: bool,
    pub srid: Option<String>,
}

impl Table {
    /// Columns that a statement may set.
    pub fn settable(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.generated)
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub fn read(session: &mut Session) -> Vec<Table> {
    let rows = session.query(
        "SELECT t.table_name, c.column_name, c.data_type, c.column_type,
            IFNULL(c.character_maximum_length, 0),
            IFNULL(c.numeric_precision, IFNULL(c.datetime_precision, 0)),
            IFNULL(c.numeric_scale, 0), IFNULL(c.character_set_name, ''), c.is_nullable = 'YES',
            c.column_default IS NOT NULL, c.extra LIKE '%GENERATED%' AND c.extra NOT LIKE '%DEFAULT_GENERATED%',
            c.extra LIKE '%auto_increment%', c.column_key = 'PRI', IFNULL(c.srs_id, ''),
            IFNULL((SELECT MAX(p.partition_method) FROM information_schema.partitions p
                WHERE p.table_schema = t.table_schema AND p.table_name = t.table_name), '')
         FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
         WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE'
         ORDER BY t.table_name, c.ordinal_position",
    );
    let mut tables: Vec<Table> = Vec::new();
    for row in rows.iter() {
        let text = |at: usize| {
            let bytes = row[at].as_deref().unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let number = |at: usize| text(at).parse().unwrap_or(0);
        let said = |at: usize| text(at) == "1";
        let some = |at: usize| Some(text(at)).filter(|text| !text.is_empty());
        let name = quoted(&text(0));
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table {
                name,
                columns: Vec::new(),
                indexes: Vec::new(),
                has_primary_key: false,
                rows: 0,
                partitioning: some(14),
            });
        }
        let table = tables.last_mut().expect("it was pushed");
        table.has_primary_key |= said(12);
        table.columns.push(Column {
            name: quoted(&text(1)),
            kind: text(2),
            declared: text(3),
            max_characters: number(4),
            precision: number(5),
            scale: number(6),
            charset: some(7),
            nullable: said(8),
            has_default: said(9),
            generated: said(10),
            auto_increment: said(11),
            in_key: said(12),
            srid: some(13),
        });
    }
    for table in &mut tables {
        let shown = session.query(&format!("SHOW INDEX FROM {}", table.name));
        for row in shown.iter() {
            let name = quoted(&String::from_utf8_lossy(
                row[2].as_deref().unwrap_or_default(),
            ));
            if !table.indexes.contains(&name) {
                table.indexes.push(name);
            }
        }
        let count = session.query(&format!("SELECT COUNT(*) FROM {}", table.name));
        table.rows = count
            .text(0, 0)
            .expect("a count")
            .parse()
            .expect("a number");
    }
    tables
}
